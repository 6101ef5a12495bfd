//! One question to one server: UDP, TCP if the reply is truncated, once more without EDNS if the
//! server cannot do it (RFC 1035 section 4.2, RFC 5452, RFC 6891 section 7, RFC 7766).
//!
//! Against forged replies each query has an id from the operating system's entropy and a socket,
//! hence a source port, of its own, and a datagram counts only if it comes from the server asked
//! and repeats the question. Everything else is ignored, and the wait continues to the deadline; but
//! more than a certain number or size of such [`Strays`] ends the exchange, so that the next server is
//! asked. All waits of one exchange share that one deadline.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use super::error::{Class, Server};
use super::message::{self, Message, Query, Question, parse_reply};
use super::name::DecodeError;
use crate::deadline::{DeadlineStream, time_left};
use crate::sys::memory;

/// The largest possible datagram: a server may send more than was offered.
const MAX_DATAGRAM: usize = 65_535;
/// The shortest time to wait for a datagram: one that came during the wait for another exchange is
/// read even after the deadline.
const MIN_WAIT: Duration = Duration::from_millis(1);

/// How many messages that are not the reply are ignored. On a connection only the server can send them,
/// and empty ones cost it less to send than they cost to read. Datagrams can come from anybody who
/// guesses the port: more of them are ignored.
const MAX_STRAYS_TCP: usize = 16;
const MAX_STRAYS_UDP: usize = 64;
/// How many octets they may have in total.
const MAX_STRAY_OCTETS: usize = 256 << 10;

/// Fills octets from the operating system's entropy.
pub(super) type Random = fn(&mut [u8]) -> io::Result<()>;

/// How a server is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueryOptions {
    pub(super) server: SocketAddr,
    /// Over TCP from the start.
    pub(super) use_vc: bool,
    /// With EDNS, unless the server says that it cannot do it.
    pub(super) edns: bool,
    /// The deadline for the reply.
    pub(super) until: Instant,
}

/// A question to a server. Several can be started before the first is finished, and then run at the
/// same time.
pub(super) struct Exchange {
    options: QueryOptions,
    question: Question,
    random: Random,
    /// The id sent over UDP and the socket for the reply, or why nothing was sent; `None` if the
    /// question is sent over TCP.
    sent: Option<Result<(u16, UdpSocket), Class>>,
    /// Whether it was sent over TCP in the end.
    tcp: bool,
}

impl Exchange {
    /// Sends the question, unless over TCP.
    pub(super) fn start(options: QueryOptions, question: Question, random: Random) -> Self {
        let mut exchange = Self {
            options,
            question,
            random,
            sent: None,
            tcp: false,
        };
        exchange.send();
        exchange
    }

    /// Brings the deadline forward, if it is later.
    pub(super) fn hurry(&mut self, until: Instant) {
        self.options.until = self.options.until.min(until);
    }

    /// Waits for the reply, which is truncated only if it came over TCP; also returns how the server was
    /// asked.
    pub(super) fn finish(mut self) -> (Result<Message, Class>, Server) {
        let mut reply = self.round_trip();
        // RFC 6891 section 7: a server without EDNS says FORMERR or NOTIMP, one with another
        // version BADVERS.
        let without_edns = |message: &Message| {
            matches!(
                message.rcode,
                message::FORMERR | message::NOTIMP | message::BADVERS
            )
        };
        if self.options.edns && reply.as_ref().is_ok_and(without_edns) {
            self.options.edns = false;
            self.send();
            reply = self.round_trip();
        }
        let server = Server {
            address: self.options.server,
            tcp: self.tcp,
        };
        (reply, server)
    }

    /// A new id; without entropy there is no query, because a reply to it could be forged.
    fn new_id(&self) -> Result<u16, Class> {
        let mut id = [0; 2];
        (self.random)(&mut id).map_err(|error| Class::unable(&error))?;
        Ok(u16::from_be_bytes(id))
    }

    fn query(&self, id: u16) -> Query<'_> {
        Query {
            id,
            question: &self.question,
            edns: self.options.edns,
        }
    }

    /// Sends the question, unless over TCP.
    fn send(&mut self) {
        let send = || {
            let id = self.new_id()?;
            let socket = send_datagram(self.options.server, &self.query(id));
            Ok((id, socket.map_err(|error| Class::unable(&error))?))
        };
        self.sent = (!self.options.use_vc).then(send);
        self.tcp = self.options.use_vc;
    }

    /// Waits for the reply over UDP, if the question was sent so, then asks over TCP if necessary.
    fn round_trip(&mut self) -> Result<Message, Class> {
        if let Some(sent) = self.sent.take() {
            let (id, socket) = sent?;
            let message = receive_datagram(&socket, &self.query(id), self.options.until)?;
            if !message.truncated {
                return Ok(message);
            }
            self.tcp = true;
        }
        let query = self.query(self.new_id()?);
        ask_over_tcp(self.options.server, &query, self.options.until)
    }
}

/// Counts messages that are not the reply.
#[derive(Default)]
struct Strays {
    messages: usize,
    octets: usize,
}

impl Strays {
    /// Counts a message of this many octets; an error if there are too many to ignore.
    fn add(&mut self, octets: usize, max_messages: usize) -> Result<(), Class> {
        self.messages = self.messages.saturating_add(1);
        self.octets = self.octets.saturating_add(octets);
        match self.messages >= max_messages || self.octets > MAX_STRAY_OCTETS {
            true => Err(Class::Flood),
            false => Ok(()),
        }
    }
}

/// A new socket, which the system binds to a port chosen at random, with the query sent.
fn send_datagram(server: SocketAddr, query: &Query<'_>) -> io::Result<UdpSocket> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    let message = query.compose();
    uninterrupted(|| socket.send(&message))?;
    Ok(socket)
}

/// Repeats a call that a signal interrupts.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

fn receive_datagram(
    socket: &UdpSocket,
    query: &Query<'_>,
    deadline: Instant,
) -> Result<Message, Class> {
    // The address that the system uses: a server 0.0.0.0 answers as 127.0.0.1.
    let server = socket.peer_addr()?;
    let mut buffer = memory::zeroed(MAX_DATAGRAM)?;
    let mut strays = Strays::default();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let received = socket
            .set_read_timeout(Some(left.max(MIN_WAIT)))
            .and_then(|()| socket.recv_from(&mut buffer));
        match received {
            Ok((length, source)) => {
                // A datagram from elsewhere can have come before the socket was connected.
                if source.ip() == server.ip() && source.port() == server.port() {
                    let datagram = buffer.get(..length).unwrap_or_default();
                    if let Some(reply) = parse_reply(datagram, query) {
                        return reply.map_err(Class::Malformed);
                    }
                }
                strays.add(length, MAX_STRAYS_UDP)?;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
        if left.is_zero() {
            return Err(Class::Timeout);
        }
    }
}

/// Asks over a new connection (RFC 7766 section 6.2.1 allows keeping it, which is of no use to a
/// resolver that asks rarely).
fn ask_over_tcp(
    server: SocketAddr,
    query: &Query<'_>,
    deadline: Instant,
) -> Result<Message, Class> {
    let message = query.compose();
    let length =
        u16::try_from(message.len()).map_err(|_| Class::Io(ErrorKind::InvalidInput, None))?;
    let stream = TcpStream::connect_timeout(&server, time_left(deadline)?)?;
    let mut connection = DeadlineStream::new(&stream, deadline);
    // RFC 7766 section 8: length and message in one write.
    connection.write_all(&[&length.to_be_bytes(), message.as_slice()].concat())?;
    let mut strays = Strays::default();
    loop {
        let mut length = [0; 2];
        connection.read_exact(&mut length)?;
        let length = usize::from(u16::from_be_bytes(length));
        // No working server sends this, and nothing useful follows: the next server is asked at once.
        if length == 0 {
            return Err(Class::Malformed(DecodeError::TRUNCATED));
        }
        let mut message = memory::zeroed(length)?;
        connection.read_exact(&mut message)?;
        if let Some(reply) = parse_reply(&message, query) {
            return reply.map_err(Class::Malformed);
        }
        strays.add(message.len(), MAX_STRAYS_TCP)?;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use super::super::name::Name;
    use super::super::record::Type;
    use super::*;

    fn question() -> Question {
        Question {
            name: Name::from_text("a.example").unwrap().0,
            qtype: Type::A,
        }
    }

    fn query(question: &Question) -> Query<'_> {
        Query {
            id: 7,
            question,
            edns: false,
        }
    }

    fn reply(id: u16, rcode: u8) -> Vec<u8> {
        let question = question();
        let mut bytes = query(&question).compose();
        bytes.splice(..2, id.to_be_bytes());
        bytes.splice(2..4, [0x81, 0x80 | rcode]);
        bytes
    }

    /// Until a socket is connected it receives datagrams from anyone.
    #[test]
    fn datagrams_from_before_the_connect() {
        let question = question();
        let query = query(&question);
        let [socket, server, stranger] = [(); 3].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        let here = socket.local_addr().unwrap();
        stranger.send_to(&reply(7, 3), here).unwrap();
        socket.connect(server.local_addr().unwrap()).unwrap();
        server.send_to(&reply(7, 0), here).unwrap();
        let ample = Instant::now() + Duration::from_secs(10);
        let message = receive_datagram(&socket, &query, ample).unwrap();
        assert_eq!(message.rcode, message::NOERROR);
    }

    /// Datagrams that came before the deadline are read, later ones are not.
    #[test]
    fn datagrams_past_the_deadline() {
        let question = question();
        let [socket, server] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        socket.connect(server.local_addr().unwrap()).unwrap();
        let send = |id| server.send_to(&reply(id, 0), socket.local_addr().unwrap());
        let receive = || receive_datagram(&socket, &query(&question), Instant::now());
        send(7).unwrap();
        assert!(receive().is_ok(), "it was there in time");
        for _ in 0..3 {
            send(8).unwrap();
        }
        assert_eq!(receive(), Err(Class::Timeout));
        socket.set_nonblocking(true).unwrap();
        assert!(socket.recv(&mut [0; 99]).is_ok(), "the flood continues");
    }

    /// A server whose queue of connections is full, and one that has accepted and is silent.
    #[test]
    fn a_deadline_holds_over_tcp_too() {
        let soon = || Instant::now() + Duration::from_millis(30);
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let listener = listener.unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let server = listener.local_addr().unwrap().as_socket().unwrap();
        let question = question();
        let asked = ask_over_tcp(server, &query(&question), soon());
        assert_eq!(asked.err(), Some(Class::Timeout), "the kernel has accepted");
        let short = Duration::from_millis(30);
        let _more: Vec<_> = (0..8)
            .map(|_| TcpStream::connect_timeout(&server, short))
            .collect();
        let asked = ask_over_tcp(server, &query(&question), soon());
        assert_eq!(asked.err(), Some(Class::Timeout), "the queue is full");
    }

    #[test]
    fn strays_are_ignored_up_to_a_number_and_a_size() {
        for (octets, max_messages, ignored) in [
            (0, 16, 15),
            (1, 64, 63),
            (MAX_STRAY_OCTETS, 64, 1),
            (MAX_STRAY_OCTETS + 1, 64, 0),
            (65_535, 16, 4),
            (65_537, 16, 3),
        ] {
            let mut strays = Strays::default();
            let counted = (0..100).map_while(|_| strays.add(octets, max_messages).ok());
            assert_eq!(counted.count(), ignored, "{octets}");
        }
    }

    #[test]
    fn a_deadline_is_brought_forward_only() {
        let options = QueryOptions {
            server: ([127, 0, 0, 1], 1).into(),
            use_vc: true,
            edns: true,
            until: Instant::now(),
        };
        let second = Duration::from_secs(1);
        for (hurry, until) in [
            (options.until + second, options.until),
            (options.until - second, options.until - second),
        ] {
            let mut exchange = Exchange::start(options, question(), |_| Ok(()));
            exchange.hurry(hurry);
            assert_eq!(exchange.options.until, until);
        }
    }

    #[test]
    fn an_interrupted_call_is_repeated() {
        let cases: [(&[ErrorKind], Result<usize, ErrorKind>); 3] = [
            (&[], Ok(0)),
            (&[ErrorKind::Interrupted; 2], Ok(2)),
            (
                &[ErrorKind::Interrupted, ErrorKind::ConnectionRefused],
                Err(ErrorKind::ConnectionRefused),
            ),
        ];
        for (errors, expected) in cases {
            let mut calls = 0;
            let done = uninterrupted(|| match errors.get(calls) {
                Some(error) => {
                    calls += 1;
                    Err((*error).into())
                }
                None => Ok(calls),
            });
            assert_eq!(done.map_err(|error| error.kind()), expected);
        }
    }
}
