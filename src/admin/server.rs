//! Answers requests of several clients at once, in one thread that never waits for any of them.
//!
//! All sockets are non-blocking and poll(2) tells which can go on, so a client that sends a byte
//! a second, or takes one, holds up nobody. What bounds it, whatever clients do:
//!
//! - [`MAX_CONNECTIONS`] at a time. One more takes the place of the one that is least worth
//!   keeping, so that a crowd of silent connections does not shut out a scrape.
//! - A connection carries one exchange: its request has [`Times::admin_request`], the answer
//!   [`Times::admin_answer`]. Keep-alive would save a scraper one handshake a scrape and cost the
//!   framing of requests, which is where HTTP servers are attacked.
//! - What the kernel holds of an answer that is not read is [`SEND_BUFFER`], and is thrown away
//!   with the connection.
//! - The thread rests for as long as it worked, so it never takes more than half a processor.
//! - No lock is held while a client is read from or written to.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::http::{self, Parsed, Request, Response, Status};
use crate::log;
use crate::sys::Plain;
use crate::sys::syscall::{self, PollFd};
use crate::sys::waker::Waker;
use crate::times::Times;

/// Some scrapers, a browser and probes, with room to spare.
pub(crate) const MAX_CONNECTIONS: usize = 16;

/// What a client sends after its answer is read and thrown away, for a close with unread data is
/// a reset, which may overtake the answer (RFC 9112 section 9.6).
const LINGER_OCTETS: usize = 64 * 1024;

/// Where the kernel may put an answer. Left alone it takes megabytes, and keeps them after a close
/// for as long as the client's window is shut (tcp(7), `tcp_max_orphans`).
pub(super) const SEND_BUFFER: usize = 64 * 1024;

/// The longest rest after work: no round takes nearly as long, but for a process that was stopped.
const REST: Duration = Duration::from_secs(1);

/// Makes the answer to a request.
pub(super) trait Answers {
    ///
    /// # Errors
    /// If there is no memory for one: the connection is closed then.
    fn answer(&self, request: Request<'_>) -> io::Result<Response>;
    /// A response as it is sent.
    fn bytes(&self, response: &Response, head_only: bool) -> Vec<u8>;
}

/// Serves until it is to `stop`, and then those that are connected. The listener must not block.
pub(super) fn run(listener: &TcpListener, stop: &Waker, pages: &impl Answers, times: &Times) {
    let mut server = Server::new(listener, stop, pages, times);
    while !(server.stopped && server.clients.is_empty()) {
        let worked = server.round();
        std::thread::sleep(worked.min(REST));
    }
}

/// A listener and the clients that came by it.
struct Server<'a, P> {
    listener: &'a TcpListener,
    stop: &'a Waker,
    /// It accepts nobody any more.
    stopped: bool,
    pages: &'a P,
    times: &'a Times,
    clients: Vec<Client<'a>>,
    /// Nobody is accepted before that.
    accept_from: Instant,
    /// How long a wait is at most, if its listener is on one link alone: another socket may take its place, of
    /// which a wait for the old one is not told.
    look: Option<Duration>,
    complaints: log::Limit,
}

/// What can go on without waiting.
struct Ready {
    listener: bool,
    stop: bool,
    clients: Vec<bool>,
}

impl<'a, P: Answers> Server<'a, P> {
    fn new(listener: &'a TcpListener, stop: &'a Waker, pages: &'a P, times: &'a Times) -> Self {
        Self {
            listener,
            stop,
            stopped: false,
            pages,
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
        let ready = match self.wait() {
            Ok(ready) => ready,
            Err(error) => {
                self.complain("cannot poll", &error);
                std::thread::sleep(self.times.admin_pause);
                return Duration::ZERO;
            }
        };
        let began = Instant::now();
        let (pages, mut turns) = (self.pages, ready.clients.into_iter());
        self.clients.retain_mut(|client| {
            let is_ready = turns.next().unwrap_or_default();
            let goes_on = !is_ready || client.step(pages);
            goes_on && client.in_time(began, pages)
        });
        self.stopped |= ready.stop;
        if ready.listener
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
                ("error", Plain(error).to_string().into()),
                ("pause", self.times.admin_pause.into()),
                ("suppressed", suppressed.into()),
            ];
            log::warn("admin", what, &fields);
        }
    }

    /// Sleeps until something can go on or a client's time is over.
    fn wait(&self) -> io::Result<Ready> {
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
        let mut ready = fds.iter().map(PollFd::is_ready);
        Ok(Ready {
            listener: ready.next().unwrap_or_default(),
            stop: ready.next().unwrap_or_default(),
            clients: ready.collect(),
        })
    }

    /// Takes as many clients as there are places for; others wait until the next round.
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
            if client.step(self.pages) {
                if self.clients.len() >= MAX_CONNECTIONS {
                    make_room(&mut self.clients);
                }
                self.clients.push(client);
            }
        }
        Ok(())
    }
}

/// Drops the client that is least worth keeping: one that has its answer before one that owes
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
    /// When it ends if it is in this phase still.
    deadline: Instant,
    times: &'a Times,
}

enum Phase {
    /// What has been received of the request.
    Reading(Vec<u8>),
    /// The answer, and how much of it is sent.
    Writing { answer: Vec<u8>, sent: usize },
    /// All is sent; how much more is read and thrown away.
    Lingering(usize),
}

impl Client<'_> {
    fn interest(&self) -> PollFd<'_> {
        match self.phase {
            Phase::Writing { .. } => PollFd::writable(self.stream.as_fd()),
            Phase::Reading(_) | Phase::Lingering(_) => PollFd::readable(self.stream.as_fd()),
        }
    }

    /// Goes on for as long as nothing has to be waited for. False if that was the end.
    fn step(&mut self, pages: &impl Answers) -> bool {
        let mut chunk = [0; 2048];
        loop {
            let went_on = match &mut self.phase {
                Phase::Reading(received) => match self.stream.read(&mut chunk) {
                    Ok(0) => return false,
                    Ok(count) => {
                        received.extend(chunk.iter().take(count));
                        match reply(received, pages) {
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
            match went_on {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }

    /// False if its time is over. One that began a request is told so.
    fn in_time(&mut self, now: Instant, pages: &impl Answers) -> bool {
        if now < self.deadline {
            return true;
        }
        match &self.phase {
            Phase::Reading(received) if !received.is_empty() => {
                let late = Response::text(Status::RequestTimeout, "the request took too long");
                let answer = pages.bytes(&late, http::is_head(received));
                self.write(answer);
                self.step(pages)
            }
            _ => {
                self.abandon();
                false
            }
        }
    }

    /// Before it is dropped: what the client has not taken of an answer by now goes with it.
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
fn reply(received: &[u8], pages: &impl Answers) -> io::Result<Option<Vec<u8>>> {
    Ok(match http::parse(received) {
        Parsed::Incomplete => None,
        Parsed::Request(request) => Some(pages.bytes(&pages.answer(request)?, request.head_only)),
        Parsed::Refused(status) => {
            let line = match status {
                Status::MethodNotAllowed => "only GET and HEAD are served here",
                Status::ContentTooLarge => "no request with a body is served here",
                _ => status.line(),
            };
            Some(pages.bytes(&Response::text(status, line), http::is_head(received)))
        }
    })
}

#[cfg(test)]
mod tests;
