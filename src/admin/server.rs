//! Answers requests of several clients at once, in one thread that never waits for any of them.
//!
//! All sockets are non-blocking, and poll(2) says which can continue, so a client that sends or reads a byte
//! per second does not delay clients. These limits hold whatever clients do:
//!
//! - [`MAX_CONNECTIONS`] at the same time. One more replaces the one that is least worth
//!   keeping, so that many silent connections do not prevent a scrape.
//! - A connection carries one exchange: its request has [`Times::admin_request`], the answer
//!   [`Times::admin_answer`]. Keep-alive would save a scraper one handshake per scrape and need the
//!   framing of requests, which is where HTTP servers are attacked.
//! - The kernel holds at most [`SEND_BUFFER`] of an answer that is not read, and discards it
//!   with the connection.
//! - The thread sleeps for as long as it worked, so it never uses more than half a processor.
//! - No lock is held while a client is read from or written to.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime};

use socket2::SockRef;

use super::http::{self, Request, Response, Status};
use crate::date::{self, HttpDate};
use crate::log;
use crate::sys::OsErrorText;
use crate::sys::syscall::{self, PollFd};
use crate::sys::waker::Waker;
use crate::times::Times;

/// Some scrapers, a browser and probes, with room to spare.
pub(crate) const MAX_CONNECTIONS: usize = 16;

/// What a client sends after its answer is read and discarded, up to this: a close with unread data is
/// a reset, which may overtake the answer (RFC 9112 section 9.6).
const LINGER_OCTETS: usize = 64 * 1024;

/// The send buffer of a connection. By default the kernel takes megabytes, and keeps them after a close
/// for as long as the client's window is closed (tcp(7), `tcp_max_orphans`).
pub(super) const SEND_BUFFER: usize = 64 * 1024;

/// The longest sleep after work. No round takes nearly as long, unless the process was stopped.
const REST: Duration = Duration::from_secs(1);

/// Makes the answer to a request. An error, which says that there is no memory for one, closes the connection.
pub(super) type Answer<'a> = dyn Fn(Request<'_>) -> io::Result<Response> + 'a;

/// Serves until `stop` is woken, and then those that are connected already. The listener must not block.
pub(super) fn run(listener: &TcpListener, stop: &Waker, answer: &Answer<'_>, times: &Times) {
    let mut server = Server::new(listener, stop, answer, times);
    while !(server.stopped && server.clients.is_empty()) {
        let worked = server.round();
        std::thread::sleep(worked.min(REST));
    }
}

/// A listener and the clients that came by it.
struct Server<'a> {
    listener: &'a TcpListener,
    stop: &'a Waker,
    /// It accepts no more clients.
    stopped: bool,
    answer: &'a Answer<'a>,
    times: &'a Times,
    clients: Vec<Client<'a>>,
    /// No client is accepted before that.
    accept_from: Instant,
    /// The longest wait, if the address of the listener has a zone: another socket may replace its file description
    /// when the interface comes back, and a wait for the old one does not notice.
    look: Option<Duration>,
    complaints: log::Limit,
}

impl<'a> Server<'a> {
    fn new(
        listener: &'a TcpListener,
        stop: &'a Waker,
        answer: &'a Answer<'a>,
        times: &'a Times,
    ) -> Self {
        Self {
            listener,
            stop,
            stopped: false,
            answer,
            times,
            clients: Vec::new(),
            accept_from: Instant::now(),
            look: matches!(listener.local_addr(), Ok(SocketAddr::V6(addr)) if addr.scope_id() != 0)
                .then_some(times.zone_look),
            complaints: log::Limit::new(),
        }
    }

    /// Waits until something can be done, and does it; returns how long that took.
    fn round(&mut self) -> Duration {
        let mut ready = match self.wait() {
            Ok(ready) => ready.into_iter(),
            Err(error) => {
                self.complain("cannot poll", &error);
                std::thread::sleep(self.times.admin_pause);
                return Duration::ZERO;
            }
        };
        let (began, answer) = (Instant::now(), self.answer);
        let mut is_ready = || ready.next().unwrap_or_default();
        let (has_client, is_to_stop) = (is_ready(), is_ready());
        self.clients.retain_mut(|client| {
            let stays = !is_ready() || client.step(answer);
            stays && client.in_time(began, answer)
        });
        self.stopped |= is_to_stop;
        if has_client
            && !self.stopped
            && let Err(error) = self.accept()
        {
            self.accept_from = began + self.times.admin_pause;
            self.complain("cannot accept", &error);
        }
        began.elapsed()
    }

    fn complain(&self, what: &str, error: &io::Error) {
        if let Some(suppressed) = self.complaints.admit(Instant::now()) {
            let fields = [
                ("error", OsErrorText(error).to_string().into()),
                ("pause", self.times.admin_pause.into()),
                ("suppressed", suppressed.into()),
            ];
            log::warn("admin", what, &fields);
        }
    }

    /// Sleeps until something can continue or a client's time is over. Says what can continue without waiting: the
    /// listener, the stop, and each client.
    fn wait(&self) -> io::Result<Vec<bool>> {
        let now = Instant::now();
        let paused = self.accept_from > now;
        let watched = |fd, is_watched| match is_watched {
            true => PollFd::readable(fd),
            false => PollFd::nothing(fd),
        };
        let mut fds: Vec<PollFd<'_>> = vec![
            watched(self.listener.as_fd(), !paused && !self.stopped),
            watched(self.stop.fd(), !self.stopped),
        ];
        fds.extend(self.clients.iter().map(Client::interest));
        let ends = self.clients.iter().map(|client| client.deadline);
        let look = self.look.map(|look| now + look);
        let until = ends.chain(paused.then_some(self.accept_from));
        let until = until.chain(look).min();
        let timeout = until.map(|until| until.saturating_duration_since(now));
        syscall::wait(&mut fds, timeout)?;
        Ok(fds.iter().map(PollFd::is_ready).collect())
    }

    /// Accepts up to [`MAX_CONNECTIONS`] clients; others wait until the next round.
    fn accept(&mut self) -> io::Result<()> {
        for _ in 0..MAX_CONNECTIONS {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) => {
                    return match error.kind() {
                        ErrorKind::WouldBlock => Ok(()),
                        // accept(2): these belong to the one connection.
                        ErrorKind::Interrupted
                        | ErrorKind::ConnectionAborted
                        | ErrorKind::ConnectionReset => continue,
                        _ => Err(error),
                    };
                }
            };
            // Fails only on a connection that is gone already.
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            let mut client = Client {
                stream,
                phase: Phase::Reading(Vec::new()),
                deadline: Instant::now() + self.times.admin_request,
                times: self.times,
            };
            // The request has often come with the connection, and is answered before anybody
            // else can take its place.
            if client.step(self.answer) {
                if self.clients.len() >= MAX_CONNECTIONS {
                    make_room(&mut self.clients);
                }
                self.clients.push(client);
            }
        }
        Ok(())
    }
}

/// Drops the client that is least worth keeping: one that has its answer before one that has not sent
/// its request before one that is being answered, and of these the one that came first.
fn make_room(clients: &mut Vec<Client<'_>>) {
    let worth = |client: &Client<'_>| match client.phase {
        Phase::Lingering(_) => 0,
        Phase::Reading(_) => 1,
        Phase::Writing { .. } => 2,
    };
    let least = (0..clients.len()).min_by_key(|index| {
        let client = clients.get(*index);
        client.map(|client| (worth(client), client.deadline))
    });
    if let Some(least) = least {
        clients.swap_remove(least).abandon();
    }
}

/// One connection.
struct Client<'a> {
    stream: TcpStream,
    phase: Phase,
    /// When the connection ends if it is still in this phase.
    deadline: Instant,
    times: &'a Times,
}

enum Phase {
    /// What has been received of the request.
    Reading(Vec<u8>),
    /// The answer, and how much of it is sent.
    Writing { answer: Vec<u8>, sent: usize },
    /// All is sent; how much more is read and discarded.
    Lingering(usize),
}

impl Client<'_> {
    fn interest(&self) -> PollFd<'_> {
        match self.phase {
            Phase::Writing { .. } => PollFd::writable(self.stream.as_fd()),
            Phase::Reading(_) | Phase::Lingering(_) => PollFd::readable(self.stream.as_fd()),
        }
    }

    /// Continues for as long as nothing has to be waited for. False if the connection has ended.
    fn step(&mut self, answer: &Answer<'_>) -> bool {
        let mut chunk = [0; 2048];
        loop {
            let progress = match &mut self.phase {
                Phase::Reading(received) => match self.stream.read(&mut chunk) {
                    Ok(0) => return false,
                    Ok(count) => {
                        received.extend(chunk.iter().take(count));
                        match reply(received, answer) {
                            Ok(None) => {}
                            Ok(Some(answer)) => self.write(answer),
                            Err(_) => return false,
                        }
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
                Phase::Writing { answer, sent } => {
                    match self.stream.write(answer.get(*sent..).unwrap_or_default()) {
                        Ok(count) => {
                            *sent += count;
                            if *sent >= answer.len() && !self.linger() {
                                return false;
                            }
                            Ok(())
                        }
                        Err(error) => Err(error),
                    }
                }
                Phase::Lingering(left) => match self.stream.read(&mut chunk) {
                    Ok(count) if count > 0 && count <= *left => {
                        *left -= count;
                        Ok(())
                    }
                    Ok(_) => return false,
                    Err(error) => Err(error),
                },
            };
            match progress {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }

    /// False if its time is over. A client that has begun a request is answered first.
    fn in_time(&mut self, now: Instant, answer: &Answer<'_>) -> bool {
        if now < self.deadline {
            return true;
        }
        match &self.phase {
            Phase::Reading(received) if !received.is_empty() => {
                let late = Response::text(Status::REQUEST_TIMEOUT, "the request took too long");
                self.write(bytes(&late, http::is_head(received)));
                self.step(answer)
            }
            _ => {
                self.abandon();
                false
            }
        }
    }

    /// To be called before it is dropped: discards what the client has not read of its answer.
    fn abandon(&self) {
        if !matches!(self.phase, Phase::Reading(_)) {
            // Fails only on a connection that is gone already.
            let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }

    fn write(&mut self, answer: Vec<u8>) {
        self.phase = Phase::Writing { answer, sent: 0 };
        self.deadline = Instant::now() + self.times.admin_answer;
    }

    /// Ends our side. False if the connection is gone.
    fn linger(&mut self) -> bool {
        self.phase = Phase::Lingering(LINGER_OCTETS);
        self.deadline = Instant::now() + self.times.admin_linger;
        self.stream.shutdown(Shutdown::Write).is_ok()
    }
}

/// The answer, if what has been received is enough for one.
fn reply(received: &[u8], answer: &Answer<'_>) -> io::Result<Option<Vec<u8>>> {
    Ok(match http::parse(received) {
        Ok(None) => None,
        Ok(Some(request)) => Some(bytes(&answer(request)?, request.head_only)),
        Err(status) => {
            let line = match status {
                Status::METHOD_NOT_ALLOWED => "only GET and HEAD are served here",
                Status::CONTENT_TOO_LARGE => "no request with a body is served here",
                _ => status.line(),
            };
            let refusal = Response::text(status, line);
            Some(bytes(&refusal, http::is_head(received)))
        }
    })
}

/// A response as it is sent now.
fn bytes(response: &Response, head_only: bool) -> Vec<u8> {
    let now = date::since_1970(SystemTime::now());
    response.bytes(&HttpDate(now), head_only)
}

#[cfg(test)]
mod tests;
