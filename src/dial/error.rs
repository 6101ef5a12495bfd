//! Why a dial failed, and whose failure that is.
//!
//! A failure is the endpoint's if the error says something about the endpoint or the way to it
//! (refused, unreachable, timed out), and this host's if it would have been the same for any
//! endpoint (no descriptor, port or memory left, a filter that forbids the call). Only the first
//! may deactivate an endpoint. The words are those of the reference: `dial tcp 127.0.0.1:2379:
//! connect: connection refused`.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::sys::Plain;
use crate::sys::errno;

/// Why an attempt failed.
#[derive(Debug)]
pub(crate) struct Error {
    addr: SocketAddr,
    cause: Cause,
}

/// What an attempt met.
#[derive(Debug)]
pub(crate) enum Cause {
    /// There is no socket to connect.
    Socket(io::Error),
    /// The kernel's word on the connect.
    Connect(io::Error),
    /// A step before or after the connect that no peer has a part in.
    Local(&'static str, io::Error),
    /// No answer within the attempt's time.
    TimedOut,
    /// It reached this very gateway.
    Loop,
    /// It ended before the endpoint had proven who it is.
    Unproven(String),
    /// The endpoint has not proven who it is.
    Rejected(String),
}

impl Cause {
    /// The failure of an attempt to reach this address.
    pub(crate) fn at(self, addr: SocketAddr) -> Error {
        Error { addr, cause: self }
    }
}

impl Error {
    /// Whether the endpoint answered, and is not who it has to be.
    pub(crate) fn is_rejected(&self) -> bool {
        matches!(self.cause, Cause::Rejected(_))
    }

    /// Whether the endpoint answered and has not proven who it is, for whatever reason.
    pub(crate) fn is_unauthenticated(&self) -> bool {
        self.verdict() == Verdict::Unauthenticated
    }

    /// Whether the failure is this host's and says nothing about the endpoint.
    pub(crate) fn is_local(&self) -> bool {
        self.verdict() == Verdict::Local
    }

    /// Whether the endpoint is the gateway itself.
    pub(crate) fn is_loop(&self) -> bool {
        self.verdict() == Verdict::Loop
    }

    /// What the failure counts as.
    pub(crate) fn verdict(&self) -> Verdict {
        match &self.cause {
            // No such address can be reached from a kernel without its family.
            Cause::Socket(error) if error.raw_os_error() == Some(errno::EAFNOSUPPORT) => {
                Verdict::Unreachable
            }
            Cause::Socket(_) | Cause::Local(..) => Verdict::Local,
            Cause::Connect(error) => of_connect(error),
            Cause::TimedOut => Verdict::TimedOut,
            Cause::Loop => Verdict::Loop,
            Cause::Unproven(_) | Cause::Rejected(_) => Verdict::Unauthenticated,
        }
    }
}

/// What an error of a connect says (connect(2), tcp(7), ip(7)).
fn of_connect(error: &io::Error) -> Verdict {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => Verdict::Refused,
        Kind::TimedOut => Verdict::TimedOut,
        Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown => {
            Verdict::Unreachable
        }
        // EINVAL: an address that cannot be connected to, such as one of a link without its zone.
        Kind::InvalidInput => Verdict::Unreachable,
        // No local port is left for this address (EADDRINUSE, EADDRNOTAVAIL), nor memory for a
        // route (EAGAIN).
        Kind::AddrInUse | Kind::AddrNotAvailable | Kind::WouldBlock => Verdict::Local,
        _ if is_exhaustion(error) || error.raw_os_error() == Some(errno::EIO) => Verdict::Local,
        // EACCES and EPERM among them: a firewall, here or on the way, rejects this address.
        _ => Verdict::Other,
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
        let call = |f: &mut fmt::Formatter<'_>, step, error| {
            write!(f, "dial tcp {addr}: {step}: {}", Plain(error))
        };
        match &self.cause {
            Cause::Socket(error) => call(f, "socket", error),
            Cause::Connect(error) => call(f, "connect", error),
            Cause::Local(step, error) => call(f, step, error),
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
            Cause::Socket(error) | Cause::Connect(error) | Cause::Local(_, error) => Some(error),
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
    /// No way leads there from this host.
    Unreachable,
    /// This host failed, whatever the endpoint is like.
    Local,
    /// The endpoint is this gateway.
    Loop,
    /// It did not prove who it is.
    Unauthenticated,
    /// Anything else, such as a firewall that rejects it.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of_kernel(number: i32) -> io::Error {
        io::Error::from_raw_os_error(number)
    }

    #[test]
    fn each_failure_is_blamed_on_the_endpoint_or_on_this_host() {
        use Cause::{Connect, Local, Socket};
        use Verdict::{Local as Host, Other, Refused, TimedOut, Unreachable};
        let cases = [
            // (step, error number, verdict, words)
            (
                Connect as fn(_) -> _,
                111,
                Refused,
                "connect: connection refused",
            ),
            (Connect, 110, TimedOut, "connect: connection timed out"),
            (Connect, 113, Unreachable, "connect: no route to host"),
            (Connect, 101, Unreachable, "connect: network is unreachable"),
            (Connect, 100, Unreachable, "connect: network is down"),
            // An address of a link without its zone: see `an_address_without_its_zone_...`.
            (Connect, 22, Unreachable, "connect: invalid argument"),
            // A firewall of this host, or one on the way (ICMPv6 code 1).
            (Connect, 1, Other, "connect: operation not permitted"),
            (Connect, 13, Other, "connect: permission denied"),
            // What a host on the way answers (ip(7)).
            (Connect, 71, Other, "connect: protocol error"),
            (Connect, 92, Other, "connect: protocol not available"),
            (Connect, 112, Other, "connect: host is down"),
            (Connect, 104, Other, "connect: connection reset by peer"),
            (Connect, 98, Host, "connect: address already in use"),
            (
                Connect,
                99,
                Host,
                "connect: cannot assign requested address",
            ),
            (
                Connect,
                11,
                Host,
                "connect: resource temporarily unavailable",
            ),
            (Connect, 5, Host, "connect: input/output error"),
            (Connect, 12, Host, "connect: cannot allocate memory"),
            (Connect, 24, Host, "connect: too many open files"),
            (Connect, 23, Host, "connect: too many open files in system"),
            (Connect, 105, Host, "connect: no buffer space available"),
            (
                Socket,
                97,
                Unreachable,
                "socket: address family not supported by protocol",
            ),
            (Socket, 13, Host, "socket: permission denied"),
            (Socket, 1, Host, "socket: operation not permitted"),
            (Socket, 22, Host, "socket: invalid argument"),
            (Socket, 93, Host, "socket: protocol not supported"),
            (Socket, 24, Host, "socket: too many open files"),
            (Socket, 23, Host, "socket: too many open files in system"),
            (Socket, 12, Host, "socket: cannot allocate memory"),
            (Socket, 105, Host, "socket: no buffer space available"),
            (
                |error| Local("getsockopt", error),
                97,
                Host,
                "getsockopt: address family not supported by protocol",
            ),
            (
                |error| Local("getpeername", error),
                111,
                Host,
                "getpeername: connection refused",
            ),
        ];
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        for (cause, number, verdict, words) in cases {
            let cause = cause(of_kernel(number));
            let error = Error { addr, cause };
            assert_eq!(error.verdict(), verdict, "{error}");
            assert_eq!(error.is_local(), verdict == Host, "{error}");
            assert_eq!(error.to_string(), format!("dial tcp 127.0.0.1:1: {words}"));
            assert!(std::error::Error::source(&error).is_some(), "{error}");
        }
    }

    #[test]
    fn what_no_call_says_is_told_apart_too() {
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        let why = || "why".to_owned();
        let cases = [
            // (error, verdict, rejected, unauthenticated, loop, words)
            (
                Cause::TimedOut.at(addr),
                Verdict::TimedOut,
                [false; 3],
                "dial tcp 127.0.0.1:1: i/o timeout",
            ),
            (
                Cause::Loop.at(addr),
                Verdict::Loop,
                [false, false, true],
                "dial tcp 127.0.0.1:1: endpoint is this gateway itself",
            ),
            (
                Cause::Unproven(why()).at(addr),
                Verdict::Unauthenticated,
                [false, true, false],
                "authenticate 127.0.0.1:1: why",
            ),
            (
                Cause::Rejected(why()).at(addr),
                Verdict::Unauthenticated,
                [true, true, false],
                "authenticate 127.0.0.1:1: why",
            ),
        ];
        for (error, verdict, is, words) in cases {
            assert_eq!(error.verdict(), verdict, "{error}");
            assert_eq!(
                [
                    error.is_rejected(),
                    error.is_unauthenticated(),
                    error.is_loop()
                ],
                is,
                "{error}"
            );
            assert!(!error.is_local() && error.to_string() == words, "{error}");
        }
    }

    #[test]
    fn every_verdict_is_listed_at_its_number() {
        for (index, verdict) in Verdict::ALL.into_iter().enumerate() {
            assert_eq!(verdict as usize, index, "{verdict:?}");
        }
        let names = Verdict::ALL.map(Verdict::name);
        let words = [
            "ok",
            "refused",
            "timeout",
            "unreachable",
            "local",
            "loop",
            "unauthenticated",
            "other",
        ];
        assert_eq!(names, words);
    }
}
