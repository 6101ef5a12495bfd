//! One attempt to connect to one address.
//!
//! An attempt is begun without waiting for it, so that a caller can run several side by
//! side and take the first that connects; [`wait`] sleeps until one of them has an
//! outcome. A failure says whether it is the endpoint's (refused, unreachable, timed
//! out) or our own (no descriptors, ports or memory left), which tells nothing about
//! the endpoint. The words of an error are those of the reference: `dial tcp
//! 127.0.0.1:2379: connect: connection refused`.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::loop_guard::{self, LoopGuard, Ticket};
use crate::stats::Counter;
use crate::sys::Plain;
use crate::sys::syscall::{self, PollFd, errno};

/// Idle time before the first probe and between probes of keepalive, as the reference.
/// There is no TCP_USER_TIMEOUT: it would also cut a reader that keeps its window shut
/// although it answers every probe (tcp(7)), and an etcd client may do so for minutes.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Why an attempt failed.
#[derive(Debug)]
pub(crate) struct Error {
    addr: SocketAddr,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    /// The kernel's word on the connect.
    Connect(io::Error),
    /// A step of ours before or after the connect.
    Local(&'static str, io::Error),
    /// No answer within the attempt's time.
    TimedOut,
    /// The connection was accepted by this process.
    Loop,
    /// It ended before the endpoint had proven who it is.
    Unproven(String),
    /// The endpoint has not proven who it is.
    Rejected(String),
}

impl Error {
    /// An attempt that the kernel refused.
    pub(crate) fn connect(addr: SocketAddr, error: io::Error) -> Self {
        Self {
            addr,
            cause: Cause::Connect(error),
        }
    }

    /// An attempt that reached this very gateway.
    pub(crate) fn looped(addr: SocketAddr) -> Self {
        Self {
            addr,
            cause: Cause::Loop,
        }
    }

    /// An endpoint that broke off, or fell silent, while it was to prove who it is.
    pub(crate) fn unproven(addr: SocketAddr, reason: String) -> Self {
        Self {
            addr,
            cause: Cause::Unproven(reason),
        }
    }

    /// An endpoint that did not prove who it is.
    pub(crate) fn rejected(addr: SocketAddr, reason: String) -> Self {
        Self {
            addr,
            cause: Cause::Rejected(reason),
        }
    }

    /// Whether the endpoint answered, and is not who it has to be.
    pub(crate) fn is_rejected(&self) -> bool {
        matches!(self.cause, Cause::Rejected(_))
    }

    /// Whether the endpoint answered and has not proven who it is, for whatever reason.
    pub(crate) fn is_unauthenticated(&self) -> bool {
        matches!(self.cause, Cause::Rejected(_) | Cause::Unproven(_))
    }

    /// A step of ours that failed.
    pub(crate) fn local(addr: SocketAddr, step: &'static str, error: io::Error) -> Self {
        Self {
            addr,
            cause: Cause::Local(step, error),
        }
    }

    /// Whether the failure is ours and says nothing about the endpoint.
    pub(crate) fn is_local(&self) -> bool {
        match &self.cause {
            Cause::Local(..) => true,
            Cause::Connect(error) => {
                matches!(
                    error.kind(),
                    // EADDRNOTAVAIL and EAGAIN: no local port is left for this address.
                    io::ErrorKind::AddrNotAvailable | io::ErrorKind::WouldBlock
                ) || is_exhaustion(error)
            }
            Cause::TimedOut | Cause::Loop | Cause::Unproven(_) | Cause::Rejected(_) => false,
        }
    }

    /// What the failure counts as.
    pub(crate) fn verdict(&self) -> Verdict {
        use io::ErrorKind as Kind;
        match &self.cause {
            _ if self.is_local() => Verdict::Local,
            Cause::Connect(error) => match error.kind() {
                Kind::ConnectionRefused => Verdict::Refused,
                Kind::TimedOut => Verdict::TimedOut,
                Kind::HostUnreachable | Kind::NetworkUnreachable => Verdict::Unreachable,
                _ => Verdict::Other,
            },
            Cause::Local(..) => Verdict::Local,
            Cause::TimedOut => Verdict::TimedOut,
            Cause::Loop => Verdict::Loop,
            Cause::Unproven(_) | Cause::Rejected(_) => Verdict::Unauthenticated,
        }
    }

    /// Whether the endpoint is the gateway itself.
    pub(crate) fn is_loop(&self) -> bool {
        matches!(self.cause, Cause::Loop)
    }
}

/// Whether an error says that descriptors or kernel memory have run out.
pub(crate) fn is_exhaustion(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::OutOfMemory
        || matches!(
            error.raw_os_error(),
            Some(errno::EMFILE | errno::ENFILE | errno::ENOBUFS)
        )
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addr = self.addr;
        match &self.cause {
            Cause::Connect(error) => write!(f, "dial tcp {addr}: connect: {}", Plain(error)),
            Cause::Local(step, error) => write!(f, "dial tcp {addr}: {step}: {}", Plain(error)),
            Cause::TimedOut => write!(f, "dial tcp {addr}: i/o timeout"),
            Cause::Loop => write!(f, "dial tcp {addr}: endpoint is this gateway itself"),
            Cause::Unproven(reason) | Cause::Rejected(reason) => {
                write!(f, "authenticate {addr}: {reason}")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            Cause::Connect(error) | Cause::Local(_, error) => Some(error),
            Cause::TimedOut | Cause::Loop | Cause::Unproven(_) | Cause::Rejected(_) => None,
        }
    }
}

/// How an attempt ended, as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The endpoint answered.
    Ok,
    /// It refused, as a host does on whose port nobody listens.
    Refused,
    /// It did not answer in time.
    TimedOut,
    /// No way leads there.
    Unreachable,
    /// This host has run out of something; the endpoint is not at fault.
    Local,
    /// The endpoint is this gateway.
    Loop,
    /// It did not prove who it is.
    Unauthenticated,
    /// Anything else, such as a firewall of this host that forbids it.
    Other,
}

impl Verdict {
    /// All of them, each at the place of its number.
    pub(crate) const ALL: [Self; 8] = [
        Self::Ok,
        Self::Refused,
        Self::TimedOut,
        Self::Unreachable,
        Self::Local,
        Self::Loop,
        Self::Unauthenticated,
        Self::Other,
    ];

    /// The word for it in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::TimedOut => "timeout",
            Self::Unreachable => "unreachable",
            Self::Local => "local",
            Self::Loop => "loop",
            Self::Unauthenticated => "unauthenticated",
            Self::Other => "other",
        }
    }
}

/// A connection to an endpoint, known to the loop guard while it lives.
#[derive(Debug)]
pub(crate) struct Dialled {
    pub(crate) endpoint: SocketAddr,
    /// Given back before the socket closes: its port may belong to another dial then.
    pub(crate) ticket: Ticket,
    /// Where the loop guard wants the bytes counted that come from the endpoint.
    pub(crate) received: Arc<Counter>,
    pub(crate) stream: TcpStream,
    /// How long the endpoint took to answer.
    pub(crate) took: Duration,
}

/// What has become of an attempt.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The endpoint has answered.
    Connected(Dialled),
    /// Nothing is known yet.
    Pending(Attempt),
    /// There will be no connection.
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
    /// When it has failed if it is not connected.
    pub(crate) deadline: Instant,
}

impl Attempt {
    /// Begins to connect to `addr` and gives it `timeout` from now.
    pub(crate) fn start(
        addr: SocketAddr,
        timeout: Duration,
        guard: &LoopGuard,
    ) -> Result<Self, Error> {
        let failed = |cause| Error { addr, cause };
        let local = |step| move |error| failed(Cause::Local(step, error));
        let started = Instant::now();
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new_raw(Domain::for_address(addr), kind, Some(Protocol::TCP))
            // Not ours alone: a kernel without IPv6 cannot reach any such address.
            .map_err(|error| Error::connect(addr, error))?;
        match socket.connect(&addr.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(errno::EINPROGRESS) => {}
            // Not for want of a port: this host has no address of that family to send from,
            // where IPv6 is switched off, say. The endpoint cannot be reached from here.
            Err(error)
                if error.kind() == io::ErrorKind::AddrNotAvailable
                    && loop_guard::source_towards(addr).is_err() =>
            {
                return Err(Error::connect(
                    addr,
                    io::ErrorKind::NetworkUnreachable.into(),
                ));
            }
            Err(error) => return Err(Error::connect(addr, error)),
        }
        let bound = socket
            .local_addr()
            .map_err(local("getsockname"))?
            .as_socket()
            .ok_or_else(|| {
                failed(Cause::Local(
                    "getsockname",
                    io::ErrorKind::Unsupported.into(),
                ))
            })?;
        if bound == addr {
            // Nobody listens on a port of our own that the kernel then chose for this very
            // dial, and TCP lets a socket connect to itself (RFC 9293 section 3.5).
            return Err(Error::connect(
                addr,
                io::ErrorKind::ConnectionRefused.into(),
            ));
        }
        let received = Arc::default();
        let (ticket, looped) = guard.dialled(bound, addr, &received);
        if looped {
            return Err(Error::looped(addr));
        }
        Ok(Self {
            socket,
            ticket,
            received,
            addr,
            started,
            deadline: started + timeout,
        })
    }

    /// What has become of the attempt by `now`.
    pub(crate) fn outcome(self, now: Instant) -> Outcome {
        let failed = |cause| {
            Outcome::Failed(Error {
                addr: self.addr,
                cause,
            })
        };
        // Not yet, or no longer, connected: the kernel knows which.
        if self.socket.peer_addr().is_err() {
            return match self.socket.take_error() {
                Ok(Some(error)) | Err(error) => failed(Cause::Connect(error)),
                Ok(None) if now < self.deadline => Outcome::Pending(self),
                Ok(None) => failed(Cause::TimedOut),
            };
        }
        let stream = TcpStream::from(self.socket);
        let ready = prepare(SockRef::from(&stream)).and_then(|()| stream.set_nonblocking(false));
        match ready {
            Ok(()) => Outcome::Connected(Dialled {
                endpoint: self.addr,
                ticket: self.ticket,
                received: self.received,
                stream,
                took: now.saturating_duration_since(self.started),
            }),
            Err(error) => failed(Cause::Local("socket options", error)),
        }
    }
}

/// What both sockets of a session need: no delay for small messages, and probes that
/// find a vanished peer. Set on a listener, accepted sockets inherit it (tcp(7)).
pub(crate) fn prepare(socket: SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE);
    socket.set_tcp_keepalive(&keepalive)
}

/// Sleeps until an attempt may have an outcome, `until` has come, or, where one is
/// given, `waker` has something to read.
pub(crate) fn wait<'a>(
    attempts: impl Iterator<Item = &'a Attempt>,
    waker: Option<std::os::fd::BorrowedFd<'_>>,
    until: Option<Instant>,
) -> io::Result<()> {
    let mut fds: Vec<PollFd<'_>> = attempts
        .map(|attempt| PollFd::writable(attempt.socket.as_fd()))
        .collect();
    fds.extend(waker.map(PollFd::readable));
    let timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
    syscall::wait(&mut fds, timeout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

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
    fn failures_are_told_apart() {
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        let connect = |code| Cause::Connect(io::Error::from_raw_os_error(code));
        let cases = [
            // (cause, ours, text)
            (connect(111), false, "connect: connection refused"),
            (connect(113), false, "connect: no route to host"),
            (connect(101), false, "connect: network is unreachable"),
            (connect(110), false, "connect: connection timed out"),
            (connect(1), false, "connect: operation not permitted"),
            (
                connect(99),
                true,
                "connect: cannot assign requested address",
            ),
            (
                connect(11),
                true,
                "connect: resource temporarily unavailable",
            ),
            (connect(12), true, "connect: cannot allocate memory"),
            (connect(24), true, "connect: too many open files"),
            (connect(23), true, "connect: too many open files in system"),
            (connect(105), true, "connect: no buffer space available"),
            (Cause::TimedOut, false, "i/o timeout"),
            (Cause::Loop, false, "endpoint is this gateway itself"),
        ];
        for (cause, ours, text) in cases {
            let error = Error { addr, cause };
            assert_eq!(error.is_local(), ours, "{error}");
            assert_eq!(error.to_string(), format!("dial tcp 127.0.0.1:1: {text}"));
        }
    }

    #[test]
    fn an_attempt_without_answer_times_out() {
        // A listener whose queue is full drops further handshakes in silence.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        socket.listen(0).unwrap();
        let addr = socket.local_addr().unwrap().as_socket().unwrap();
        let guard = LoopGuard::default();
        let mut fillers = Vec::new();
        let error = loop {
            let attempt = Attempt::start(addr, Duration::from_millis(200), &guard).unwrap();
            match finish(attempt) {
                Ok(dialled) => fillers.push(dialled),
                Err(error) => break error,
            }
            assert!(fillers.len() < 10, "the queue never filled");
        };
        assert!(!error.is_local());
        assert_eq!(error.to_string(), format!("dial tcp {addr}: i/o timeout"));
    }
}
