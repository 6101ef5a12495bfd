//! One end of a session: sends its stream, checks the other, and says what it saw.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use socket2::SockRef;

use super::plan::{Order, Plan, Side};
use super::stream::{Stream, WORD};

/// A peer that neither sends, takes nor ends anything for so long has been forgotten.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// What a slow reader reads at a time, and how many times, through a window that shuts. One that is smaller than two of
/// loopback's segments would take the kernel seconds for each.
const SIP: usize = 8 * 1024;
const WINDOW: usize = 128 * 1024;
const SIPS: u32 = 100;
const SIP_PAUSE: Duration = Duration::from_millis(1);

/// How the stream ended that one end was sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Seen {
    /// All bytes, and a clean end.
    All,
    /// A reset.
    Reset,
    /// Not at all: this end has reset the session, as it was to.
    Cut,
    /// A clean end too early.
    Short(String),
    /// A wrong byte, or nothing for too long.
    Never(String),
}

/// What one end saw.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) seen: Seen,
    /// A write was neither taken nor refused.
    pub(crate) stuck: bool,
}

/// How sending ended.
enum Sent {
    All,
    Refused,
    Stuck,
}

/// Resets the connection when its last handle is dropped.
fn reset_on_close(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

pub(crate) fn prepare(stream: &TcpStream, slow: bool) {
    for set in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
        set(stream, Some(PATIENCE)).expect("set a timeout");
    }
    if slow {
        let _ = SockRef::from(stream).set_recv_buffer_size(WINDOW);
    }
}

/// The client's end of a session.
pub(crate) fn client(address: SocketAddr, plan: &Plan) -> Report {
    let stream = match TcpStream::connect_timeout(&address, PATIENCE) {
        Ok(stream) => stream,
        Err(error) => return failed(&error, 0, plan.down).into(),
    };
    prepare(&stream, plan.slow == Some(Side::Client));
    if plan.order == Order::Pings {
        return ping(&stream, plan).into();
    }
    End::of(plan, Side::Client).play(&stream)
}

/// The endpoint's, which has read the first word.
pub(crate) fn endpoint(stream: &TcpStream, plan: &Plan) -> Report {
    prepare(stream, plan.slow == Some(Side::Endpoint));
    if plan.order == Order::Pings {
        return pong(stream, plan).into();
    }
    End::of(plan, Side::Endpoint).play(stream)
}

impl From<Seen> for Report {
    fn from(seen: Seen) -> Report {
        Report { seen, stuck: false }
    }
}

/// What an error of a read or a write says about the session.
fn failed(error: &io::Error, done: u64, all: u64) -> Seen {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Seen::Reset,
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            Seen::Never(format!("silence after {done} of {all} bytes"))
        }
        _ => Seen::Never(format!("{error} after {done} of {all} bytes")),
    }
}

/// One end, as its plan has it.
struct End {
    sends: Stream,
    length: u64,
    /// After the first word it waits for the other's end; or only with its own end; or not at all.
    waits: Waits,
    cut: Option<u64>,
    reads: Stream,
    wanted: u64,
    /// What was read before.
    had: u64,
    slow: bool,
}

#[derive(PartialEq)]
enum Waits {
    Never,
    WithItsEnd,
    WithAll,
}

impl End {
    fn of(plan: &Plan, side: Side) -> End {
        let (up, down) = (Stream::up(plan.session), Stream::down(plan.session));
        let cut = plan.cut.filter(|(cutter, _)| *cutter == side);
        let (sends, length, reads, wanted, had) = match side {
            Side::Client => (up, plan.up, down, plan.down, 0),
            Side::Endpoint => (down, plan.down, up, plan.up, WORD),
        };
        End {
            sends,
            length,
            waits: match (plan.order, side) {
                (Order::ClientFirst, Side::Endpoint) | (Order::EndpointFirst, Side::Client) => {
                    Waits::WithItsEnd
                }
                (Order::Answer, Side::Endpoint) | (Order::Greeting, Side::Client) => Waits::WithAll,
                _ => Waits::Never,
            },
            cut: cut.map(|(_, at)| at),
            reads,
            wanted,
            had,
            slow: plan.slow == Some(side),
        }
    }

    fn play(&self, stream: &TcpStream) -> Report {
        let (ended, end) = channel();
        let cutting = AtomicBool::new(false);
        let (seen, connected, sent) = std::thread::scope(|scope| {
            let cutting = &cutting;
            let sending = scope.spawn(move || self.send(stream, end, cutting));
            let (seen, connected) = self.read(stream, ended, cutting);
            (seen, connected, sending.join().expect("no panic"))
        });
        let refused = matches!(sent, Sent::Refused);
        Report {
            // The kernel tells of a reset once: if a write was told, a read finds an end.
            seen: match seen {
                Seen::All | Seen::Short(_) if refused && !connected => Seen::Reset,
                seen => seen,
            },
            stuck: matches!(sent, Sent::Stuck),
        }
    }

    fn send(&self, mut stream: &TcpStream, end: Receiver<()>, cutting: &AtomicBool) -> Sent {
        let mut sent = 0;
        let last = self.cut.unwrap_or(self.length);
        // The client's first word says which session it is, so it waits for nothing.
        let first = if self.had == 0 { WORD } else { 0 };
        let mut held = (self.waits == Waits::WithAll).then_some(first);
        // Also by very little at a time, where there is little.
        let chunk = if self.length > 50_000 { 40_000 } else { 777 };
        while sent < last {
            let until = held.unwrap_or(last).min(last);
            if sent == until {
                let _ = end.recv();
                held = None;
                continue;
            }
            let part = chunk.min(until - sent);
            let bytes = self
                .sends
                .bytes(sent, usize::try_from(part).expect("little"));
            match stream.write_all(&bytes) {
                Ok(()) => sent += part,
                Err(error) => {
                    return match error.kind() {
                        ErrorKind::WouldBlock | ErrorKind::TimedOut => Sent::Stuck,
                        _ => Sent::Refused,
                    };
                }
            }
        }
        if self.cut.is_some() {
            cutting.store(true, Ordering::SeqCst);
            reset_on_close(stream);
            // Wakes the reader without a word to the peer.
            let _ = stream.shutdown(Shutdown::Read);
            return Sent::All;
        }
        if self.waits == Waits::WithItsEnd {
            let _ = end.recv();
        }
        match stream.shutdown(Shutdown::Write) {
            Ok(()) => Sent::All,
            Err(_) => Sent::Refused,
        }
    }

    /// Reads to the end, and says so by `ended`; also whether it was connected then.
    fn read(
        &self,
        mut stream: &TcpStream,
        ended: Sender<()>,
        cutting: &AtomicBool,
    ) -> (Seen, bool) {
        let mut had = self.had;
        let mut sips = if self.slow { SIPS } else { 0 };
        let mut buffer = vec![0; 64 * 1024];
        let seen = loop {
            let room = if sips > 0 { SIP } else { buffer.len() };
            if sips > 0 {
                sips -= 1;
                std::thread::sleep(SIP_PAUSE);
            }
            match stream.read(&mut buffer[..room]) {
                Ok(0) if cutting.load(Ordering::SeqCst) => break Seen::Cut,
                Ok(0) if had == self.wanted => break Seen::All,
                Ok(0) => {
                    break Seen::Short(format!("a clean end after {had} of {} bytes", self.wanted));
                }
                Ok(count) => match self.reads.check(had, &buffer[..count]) {
                    Ok(()) => had += count as u64,
                    Err(wrong) => break Seen::Never(wrong),
                },
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) if cutting.load(Ordering::SeqCst) => break Seen::Cut,
                Err(error) => break failed(&error, had, self.wanted),
            }
        };
        let connected = stream.peer_addr().is_ok();
        match seen {
            Seen::All => {
                let _ = ended.send(());
            }
            // The writer need not wait for what will not be.
            Seen::Short(_) | Seen::Never(_) if connected => {
                reset_on_close(stream);
                let _ = stream.shutdown(Shutdown::Both);
            }
            _ => {}
        }
        (seen, connected)
    }
}

/// Sends a little, and waits for as much, until all is sent.
fn ping(mut stream: &TcpStream, plan: &Plan) -> Seen {
    let (up, down) = (Stream::up(plan.session), Stream::down(plan.session));
    let mut sizes = [8, 1, 300, 7, 2500].into_iter().cycle();
    let (mut sent, mut had) = (0, 0);
    let mut buffer = vec![0; 4096];
    while had < plan.down {
        let size = sizes.next().expect("they are endless").min(plan.up - sent);
        if let Err(error) =
            stream.write_all(&up.bytes(sent, usize::try_from(size).expect("little")))
        {
            return failed(&error, sent, plan.up);
        }
        sent += size;
        while had < sent {
            match stream.read(&mut buffer) {
                Ok(0) => return Seen::Short(format!("a clean end after {had} of {}", plan.down)),
                Ok(count) => match down.check(had, &buffer[..count]) {
                    Ok(()) => had += count as u64,
                    Err(wrong) => return Seen::Never(wrong),
                },
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return failed(&error, had, plan.down),
            }
        }
    }
    if stream.shutdown(Shutdown::Write).is_err() {
        return Seen::Reset;
    }
    match stream.read(&mut buffer) {
        Ok(0) => Seen::All,
        Ok(_) => Seen::Never("more than was sent".to_owned()),
        Err(error) => failed(&error, had, plan.down),
    }
}

/// Sends as much as it is sent, to the end.
fn pong(mut stream: &TcpStream, plan: &Plan) -> Seen {
    let (up, down) = (Stream::up(plan.session), Stream::down(plan.session));
    let (mut had, mut sent) = (WORD, 0);
    let mut buffer = vec![0; 4096];
    loop {
        while sent < had {
            let part = usize::try_from(had - sent).expect("little");
            if let Err(error) = stream.write_all(&down.bytes(sent, part)) {
                return failed(&error, sent, plan.down);
            }
            sent = had;
        }
        match stream.read(&mut buffer) {
            Ok(0) if had == plan.up => break,
            Ok(0) => return Seen::Short(format!("a clean end after {had} of {} bytes", plan.up)),
            Ok(count) => match up.check(had, &buffer[..count]) {
                Ok(()) => had += count as u64,
                Err(wrong) => return Seen::Never(wrong),
            },
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return failed(&error, had, plan.up),
        }
    }
    match stream.shutdown(Shutdown::Write) {
        Ok(()) => Seen::All,
        Err(_) => Seen::Reset,
    }
}
