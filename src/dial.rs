//! One attempt to connect to one address.
//!
//! An attempt begins without waiting, so that a caller can run several at the same time
//! and take the first that connects; [`wait`] sleeps until one of them has an
//! outcome; [`connect`] waits for a single one. [`Error`] says whether the endpoint or this host is at fault.

mod error;

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::log;
use crate::loop_guard::{self, LoopGuard, Ticket};
use crate::stats::Counter;
use crate::sys::OsErrorText;
use crate::sys::errno;
use crate::sys::syscall::{self, PollFd};

pub(crate) use error::{DialResult, Error, ErrorKind, is_exhaustion};

/// Idle time before the first keepalive probe and between probes, as in the reference.
/// TCP_USER_TIMEOUT is not set: it would also cut a reader that keeps its window closed
/// although it answers every probe (tcp(7)), and an etcd client may do so for minutes. What
/// keepalive does not find, with bytes in flight, `proxy::relay::dead_peer` does.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// A connection to an endpoint, known to the loop guard while it lives.
#[derive(Debug)]
pub(crate) struct Dialled {
    pub(crate) endpoint: SocketAddr,
    /// Dropped before the socket closes: another dial may get its port then.
    pub(crate) ticket: Ticket,
    /// Counts the bytes that come from the endpoint, for the loop guard.
    pub(crate) received: Arc<Counter>,
    pub(crate) stream: TcpStream,
    /// How long the endpoint took to answer.
    pub(crate) took: Duration,
}

/// What has become of an attempt.
#[derive(Debug)]
pub(crate) enum Outcome {
    Connected(Dialled),
    Pending(Attempt),
    Failed(Error),
}

/// A connect under way.
#[derive(Debug)]
pub(crate) struct Attempt {
    ticket: Ticket,
    received: Arc<Counter>,
    socket: Socket,
    pub(crate) addr: SocketAddr,
    pub(crate) started: Instant,
    /// It has failed if it is not connected by then.
    pub(crate) deadline: Instant,
}

impl Attempt {
    /// Begins to connect to `addr` and gives it `timeout` from now.
    pub(crate) fn start(
        addr: SocketAddr,
        timeout: Duration,
        guard: &LoopGuard,
    ) -> Result<Self, Error> {
        let started = Instant::now();
        let socket = begin(addr)?;
        Self::of(socket, addr, started, started + timeout, guard)
    }

    /// Registers a connect that has begun with the guard. Fails if it is known to reach this gateway.
    fn of(
        socket: Socket,
        addr: SocketAddr,
        started: Instant,
        deadline: Instant,
        guard: &LoopGuard,
    ) -> Result<Self, Error> {
        let bound = socket
            .local_addr()
            .and_then(|bound| bound.as_socket().ok_or(io::ErrorKind::Unsupported.into()))
            .map_err(|error| ErrorKind::Local("getsockname", error).at(addr))?;
        if bound == addr {
            // Nothing listens on that port of this host, the kernel has chosen it for this very
            // dial, and TCP lets a socket connect to itself (RFC 9293 section 3.5).
            let refused = io::ErrorKind::ConnectionRefused.into();
            return Err(ErrorKind::Connect(refused).at(addr));
        }
        let received = Arc::default();
        let (ticket, is_loop) = guard.dialled(bound, addr, &received);
        if is_loop {
            return Err(ErrorKind::Loop.at(addr));
        }
        Ok(Self {
            socket,
            ticket,
            received,
            addr,
            started,
            deadline,
        })
    }

    /// What to wait for.
    pub(crate) fn awaited(&self) -> PollFd<'_> {
        PollFd::writable(self.socket.as_fd())
    }

    /// What has become of the attempt by `now`.
    pub(crate) fn outcome(self, now: Instant) -> Outcome {
        let addr = self.addr;
        match self.socket.peer_addr() {
            Ok(_) => {}
            // Not yet connected, or no longer.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                return match self.socket.take_error() {
                    Ok(Some(error)) => Outcome::Failed(ErrorKind::Connect(error).at(addr)),
                    Ok(None) if now < self.deadline => Outcome::Pending(self),
                    Ok(None) => Outcome::Failed(ErrorKind::TimedOut.at(addr)),
                    Err(error) => Outcome::Failed(ErrorKind::Local("getsockopt", error).at(addr)),
                };
            }
            Err(error) => return Outcome::Failed(ErrorKind::Local("getpeername", error).at(addr)),
        }
        let stream = TcpStream::from(self.socket);
        let ready = prepare(SockRef::from(&stream)).and_then(|()| stream.set_nonblocking(false));
        match ready {
            Ok(()) => Outcome::Connected(Dialled {
                endpoint: addr,
                ticket: self.ticket,
                received: self.received,
                stream,
                took: now.saturating_duration_since(self.started),
            }),
            Err(error) => Outcome::Failed(ErrorKind::Local("socket options", error).at(addr)),
        }
    }
}

/// Connects to one address, and waits for it at most for `timeout`.
pub(crate) fn connect(
    addr: SocketAddr,
    timeout: Duration,
    guard: &LoopGuard,
) -> Result<Dialled, Error> {
    let mut attempt = Attempt::start(addr, timeout, guard)?;
    loop {
        match attempt.outcome(Instant::now()) {
            Outcome::Connected(dialled) => return Ok(dialled),
            Outcome::Pending(pending) => attempt = pending,
            Outcome::Failed(error) => return Err(error),
        }
        let until = Some(attempt.deadline);
        wait(std::iter::once(&attempt), None, until)
            .map_err(|error| ErrorKind::Local("poll", error).at(addr))?;
    }
}

/// Sets what both sockets of a session need: no delay for small messages, and probes that
/// find a dead peer. Sockets that a listener accepts inherit it (tcp(7)).
pub(crate) fn prepare(socket: SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE);
    socket.set_tcp_keepalive(&keepalive)
}

/// A socket that is being connected.
fn begin(addr: SocketAddr) -> Result<Socket, Error> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new_raw(Domain::for_address(addr), kind, Some(Protocol::TCP))
        .map_err(|error| ErrorKind::Socket(error).at(addr))?;
    match begin_connect(|| socket.connect(&addr.into())) {
        Ok(()) => Ok(socket),
        // Not because ports have run out: this host has no address of that family to send from,
        // for example because IPv6 is disabled. The endpoint cannot be reached from here.
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable && lacks_a_source(addr) => {
            let unreachable = io::Error::from_raw_os_error(errno::ENETUNREACH);
            Err(ErrorKind::Connect(unreachable).at(addr))
        }
        Err(error) => Err(ErrorKind::Connect(error).at(addr)),
    }
}

/// Begins a connect without waiting for it. If a signal interrupts the call, the connect continues
/// (connect(2)), so that the next call may find it in progress, or done.
fn begin_connect(connect: impl Fn() -> io::Result<()>) -> io::Result<()> {
    loop {
        let begun = connect();
        match begun.as_ref().map_err(io::Error::raw_os_error) {
            Err(Some(errno::EINTR)) => {}
            Err(Some(errno::EINPROGRESS | errno::EALREADY | errno::EISCONN)) => return Ok(()),
            _ => return begun,
        }
    }
}

/// Whether this host has no address to send from towards another.
fn lacks_a_source(addr: SocketAddr) -> bool {
    use io::ErrorKind::{AddrNotAvailable, NetworkUnreachable};
    loop_guard::source_towards(addr)
        .is_err_and(|error| matches!(error.kind(), AddrNotAvailable | NetworkUnreachable))
}

/// Sleeps until an attempt may have an outcome, one of the `others` is ready, or `until` has come.
pub(crate) fn wait<'a>(
    attempts: impl Iterator<Item = &'a Attempt>,
    others: impl IntoIterator<Item = PollFd<'a>>,
    until: Option<Instant>,
) -> io::Result<()> {
    let mut fds: Vec<PollFd<'_>> = attempts.map(Attempt::awaited).collect();
    fds.extend(others);
    let timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
    syscall::wait(&mut fds, timeout)
}

/// Logs that [`wait`] has failed, at most once per second: it may fail for every client.
pub(crate) fn cannot_wait(caller: &str, error: &io::Error) {
    static LIMIT: log::Limit = log::Limit::new();
    if let Some(suppressed) = LIMIT.admit(Instant::now()) {
        let error = OsErrorText(error).to_string();
        let fields = [("error", error.into()), ("suppressed", suppressed.into())];
        log::error(caller, "cannot poll", &fields);
    }
}

#[cfg(test)]
pub(crate) use tests::BlackHole;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::waker::Waker;
    use std::net::TcpListener;

    /// An address that drops handshakes.
    #[derive(Debug)]
    pub(crate) struct BlackHole {
        pub(crate) addr: SocketAddr,
        pub(crate) listener: Socket,
        _fillers: Vec<Attempt>,
    }

    impl BlackHole {
        /// A listener whose queue is full: it drops further handshakes in silence.
        pub(crate) fn new() -> Self {
            let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            listener.bind(&any.into()).unwrap();
            listener.listen(0).unwrap();
            let addr = listener.local_addr().unwrap().as_socket().unwrap();
            let start = || Attempt::start(addr, Duration::from_secs(3600), &LoopGuard::default());
            let mut fillers = vec![start().unwrap()];
            // Loopback answers before connect(2) returns.
            while fillers
                .last()
                .is_some_and(|last| last.socket.peer_addr().is_ok())
            {
                assert!(fillers.len() < 10, "the queue never filled");
                fillers.push(start().unwrap());
            }
            Self {
                addr,
                listener,
                _fillers: fillers,
            }
        }
    }

    fn finish(mut attempt: Attempt) -> Result<Dialled, Error> {
        loop {
            wait([&attempt].into_iter(), None, Some(attempt.deadline)).unwrap();
            match attempt.outcome(Instant::now()) {
                Outcome::Connected(dialled) => return Ok(dialled),
                Outcome::Pending(pending) => attempt = pending,
                Outcome::Failed(error) => return Err(error),
            }
        }
    }

    #[test]
    fn connects_with_the_options_of_a_session() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let attempt = Attempt::start(addr, Duration::from_secs(5), &LoopGuard::default()).unwrap();
        let dialled = finish(attempt).unwrap();
        let socket = SockRef::from(&dialled.stream);
        assert_eq!(dialled.stream.peer_addr().unwrap(), addr);
        assert!(dialled.stream.nodelay().unwrap());
        assert!(socket.keepalive().unwrap() && !socket.nonblocking().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEPALIVE);
    }

    #[test]
    fn a_refusal_is_the_endpoints_failure() {
        let addr = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        let error = Attempt::start(addr, Duration::from_secs(5), &LoopGuard::default())
            .and_then(finish)
            .unwrap_err();
        assert!(!error.is_local() && !error.is_loop());
        assert_eq!(
            error.to_string(),
            format!("dial tcp {addr}: connect: connection refused")
        );
    }

    #[test]
    fn an_attempt_that_is_not_answered_fails_at_its_deadline() {
        let hole = BlackHole::new();
        let timeout = Duration::from_secs(3600);
        let attempt = Attempt::start(hole.addr, timeout, &LoopGuard::default()).unwrap();
        let deadline = attempt.deadline;
        assert_eq!(deadline, attempt.started + timeout);
        let last = deadline - Duration::from_nanos(1);
        let Outcome::Pending(attempt) = attempt.outcome(last) else {
            panic!("it has time left");
        };
        let Outcome::Failed(error) = attempt.outcome(deadline) else {
            panic!("its time is over");
        };
        assert_eq!(error.result(), DialResult::TimedOut, "{error}");
    }

    /// The kernel needs to know the link of such an address, and says EINVAL: that is the address,
    /// not this host.
    #[test]
    fn an_address_without_its_zone_is_not_reachable() {
        let addr: SocketAddr = "[fe80::1]:1".parse().unwrap();
        let error = Attempt::start(addr, Duration::from_secs(5), &LoopGuard::default())
            .and_then(finish)
            .unwrap_err();
        assert_eq!(error.result(), DialResult::Unreachable, "{error}");
    }

    #[test]
    fn an_interrupted_connect_continues() {
        // (what the calls say, one after the other; what is made of it)
        let cases: [(&[i32], Option<i32>); 8] = [
            (&[0], None),
            (&[115], None),
            (&[4, 114], None),
            (&[4, 4, 106], None),
            (&[4, 0], None),
            (&[114], None),
            (&[111], Some(111)),
            (&[4, 113], Some(113)),
        ];
        for (calls, expected) in cases {
            let asked = std::cell::Cell::new(0);
            let connect = || match calls[asked.replace(asked.get() + 1)] {
                0 => Ok(()),
                number => Err(io::Error::from_raw_os_error(number)),
            };
            let outcome = begin_connect(connect)
                .err()
                .and_then(|error| error.raw_os_error());
            assert_eq!(outcome, expected, "{calls:?}");
            assert_eq!(asked.get(), calls.len(), "{calls:?}");
        }
    }

    #[test]
    fn a_wait_ends_with_an_outcome_a_wake_up_or_its_timeout() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (guard, hole) = (LoopGuard::default(), BlackHole::new());
        let start = |addr| Attempt::start(addr, Duration::from_secs(3600), &guard).unwrap();
        let (silent, waker) = (start(hole.addr), Waker::new().unwrap());
        let quick = start(listener.local_addr().unwrap());
        // Each of these would wait for an hour if what it is about went unnoticed.
        let hour = || Some(Instant::now() + Duration::from_secs(3600));
        let called = || Some(PollFd::readable(waker.fd()));
        wait([&silent].into_iter(), None, Some(Instant::now())).unwrap();
        wait([&silent, &quick].into_iter(), called(), hour()).unwrap();
        waker.wake();
        wait([&silent].into_iter(), called(), hour()).unwrap();
        wait([&silent].into_iter(), called(), None).unwrap();
        assert!(matches!(
            quick.outcome(Instant::now()),
            Outcome::Connected(_)
        ));
    }

    #[test]
    fn the_time_of_an_answer_is_measured_from_the_start() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        // Also later than its deadline: it has been answered.
        for took in [Duration::from_millis(40), Duration::from_secs(5)] {
            let attempt =
                Attempt::start(addr, Duration::from_secs(5), &LoopGuard::default()).unwrap();
            wait([&attempt].into_iter(), None, Some(attempt.deadline)).unwrap();
            let now = attempt.started + took;
            let Outcome::Connected(dialled) = attempt.outcome(now) else {
                panic!("it is connected");
            };
            assert_eq!((dialled.took, dialled.endpoint), (took, addr));
        }
    }

    #[test]
    fn a_dial_that_reaches_this_gateway_is_a_loop() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let guard = LoopGuard::default();
        let attempt = Attempt::start(
            listener.local_addr().unwrap(),
            Duration::from_secs(5),
            &guard,
        )
        .unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let (_ticket, found) = guard.accepted(&accepted).unwrap();
        assert_eq!(
            found,
            Some(attempt.addr),
            "it is known while it is under way"
        );
        let Outcome::Connected(dialled) = attempt.outcome(Instant::now()) else {
            panic!("it is connected");
        };
        assert_eq!(
            guard.accepted(&accepted).unwrap().1,
            Some(dialled.endpoint),
            "and once it is connected"
        );
        drop(dialled);
        assert_eq!(guard.accepted(&accepted).unwrap().1, None);
        // The same if it is accepted before the dial is noted.
        let (addr, now) = (listener.local_addr().unwrap(), Instant::now());
        let socket = begin(addr).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let (_ticket, _) = guard.accepted(&accepted).unwrap();
        let error = Attempt::of(socket, addr, now, now, &guard).unwrap_err();
        assert!(error.is_loop(), "{error}");
    }

    #[test]
    fn a_dial_that_connects_to_itself_is_refused() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any.into()).unwrap();
        let own = socket.local_addr().unwrap();
        socket.connect(&own).unwrap();
        let (addr, now) = (own.as_socket().unwrap(), Instant::now());
        let error = Attempt::of(socket, addr, now, now, &LoopGuard::default()).unwrap_err();
        assert_eq!(error.result(), DialResult::Refused, "{error}");
    }
}
