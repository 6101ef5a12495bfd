//! Why a dial failed, and whether the endpoint or this host is at fault.
//!
//! It is a failure of the endpoint if the error says something about the endpoint or the network path to it
//! (refused, unreachable, timed out), and of this host if it would have been the same for any
//! endpoint (no descriptor, port or memory left, a filter that forbids the call). Only the first
//! may deactivate an endpoint. The words are those of the reference: `dial tcp 127.0.0.1:2379:
//! connect: connection refused`.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::sys::OsErrorText;
use crate::sys::errno;

/// Why an attempt failed.
#[derive(Debug)]
pub(crate) struct Error {
    addr: SocketAddr,
    kind: ErrorKind,
}

/// How an attempt failed.
#[derive(Debug)]
pub(crate) enum ErrorKind {
    /// No socket could be opened.
    Socket(io::Error),
    /// The kernel's error for the connect.
    Connect(io::Error),
    /// A step before or after the connect that involves no peer.
    Local(&'static str, io::Error),
    /// No answer within the attempt's time.
    TimedOut,
    /// It reached this gateway itself.
    Loop,
    /// It ended before the endpoint had authenticated.
    Unproven(String),
    /// The endpoint answered and failed to authenticate.
    Rejected(String),
}

impl ErrorKind {
    /// The failure of an attempt to reach this address.
    pub(crate) fn at(self, addr: SocketAddr) -> Error {
        Error { addr, kind: self }
    }
}

impl Error {
    /// Whether the endpoint answered and failed to authenticate.
    pub(crate) fn is_rejected(&self) -> bool {
        matches!(self.kind, ErrorKind::Rejected(_))
    }

    /// Whether the endpoint answered and has not authenticated, for whatever reason.
    pub(crate) fn is_unauthenticated(&self) -> bool {
        self.result() == DialResult::Unauthenticated
    }

    /// Whether this host is at fault, so that nothing is known about the endpoint.
    pub(crate) fn is_local(&self) -> bool {
        self.result() == DialResult::Local
    }

    /// Whether the endpoint is the gateway itself.
    pub(crate) fn is_loop(&self) -> bool {
        self.result() == DialResult::Loop
    }

    /// What the failure is counted as.
    pub(crate) fn result(&self) -> DialResult {
        match &self.kind {
            // A kernel without its family cannot reach any such address.
            ErrorKind::Socket(error) if error.raw_os_error() == Some(errno::EAFNOSUPPORT) => {
                DialResult::Unreachable
            }
            ErrorKind::Socket(_) | ErrorKind::Local(..) => DialResult::Local,
            ErrorKind::Connect(error) => of_connect(error),
            ErrorKind::TimedOut => DialResult::TimedOut,
            ErrorKind::Loop => DialResult::Loop,
            ErrorKind::Unproven(_) | ErrorKind::Rejected(_) => DialResult::Unauthenticated,
        }
    }
}

/// What an error of connect(2) means (see also tcp(7) and ip(7)).
fn of_connect(error: &io::Error) -> DialResult {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => DialResult::Refused,
        Kind::TimedOut => DialResult::TimedOut,
        // EINVAL: an address that cannot be connected to, such as one of a link without its zone.
        Kind::HostUnreachable
        | Kind::NetworkUnreachable
        | Kind::NetworkDown
        | Kind::InvalidInput => DialResult::Unreachable,
        // No local port is left for this address (EADDRINUSE, EADDRNOTAVAIL), nor memory for a
        // route (EAGAIN).
        Kind::AddrInUse | Kind::AddrNotAvailable | Kind::WouldBlock => DialResult::Local,
        _ if is_exhaustion(error) || error.raw_os_error() == Some(errno::EIO) => DialResult::Local,
        // EACCES and EPERM among them: a firewall, here or on the way, rejects this address.
        _ => DialResult::Other,
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
        let (step, error) = match &self.kind {
            ErrorKind::Socket(error) => ("socket", error),
            ErrorKind::Connect(error) => ("connect", error),
            ErrorKind::Local(step, error) => (*step, error),
            ErrorKind::TimedOut => return write!(f, "dial tcp {addr}: i/o timeout"),
            ErrorKind::Loop => {
                return write!(f, "dial tcp {addr}: endpoint is this gateway itself");
            }
            ErrorKind::Unproven(reason) | ErrorKind::Rejected(reason) => {
                return write!(f, "authenticate {addr}: {reason}");
            }
        };
        write!(f, "dial tcp {addr}: {step}: {}", OsErrorText(error))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            ErrorKind::Socket(error) | ErrorKind::Connect(error) | ErrorKind::Local(_, error) => {
                Some(error)
            }
            _ => None,
        }
    }
}

/// How an attempt ended, as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DialResult {
    /// The endpoint answered.
    Ok,
    /// It refused, as a host does on whose port nothing listens.
    Refused,
    /// It did not answer in time.
    TimedOut,
    /// This host has no route to it.
    Unreachable,
    /// This host is at fault, whatever the endpoint is like.
    Local,
    /// The endpoint is this gateway.
    Loop,
    /// It did not authenticate.
    Unauthenticated,
    /// Anything else, such as a firewall that rejects it.
    Other,
}

impl DialResult {
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

    /// Its name in metrics.
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
        use DialResult::{Local as Host, Other, Refused, TimedOut, Unreachable};
        use ErrorKind::{Connect, Local, Socket};
        let cases = [
            // (step, error number, result, words)
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
        for (kind, number, result, words) in cases {
            let error = kind(of_kernel(number)).at(addr);
            assert_eq!(error.result(), result, "{error}");
            assert_eq!(error.is_local(), result == Host, "{error}");
            assert_eq!(error.to_string(), format!("dial tcp 127.0.0.1:1: {words}"));
            assert!(std::error::Error::source(&error).is_some(), "{error}");
        }
    }

    #[test]
    fn failures_without_a_system_call_are_distinguished() {
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        let why = || "why".to_owned();
        let cases = [
            // (error, result, rejected, unauthenticated, loop, words)
            (
                ErrorKind::TimedOut.at(addr),
                DialResult::TimedOut,
                [false; 3],
                "dial tcp 127.0.0.1:1: i/o timeout",
            ),
            (
                ErrorKind::Loop.at(addr),
                DialResult::Loop,
                [false, false, true],
                "dial tcp 127.0.0.1:1: endpoint is this gateway itself",
            ),
            (
                ErrorKind::Unproven(why()).at(addr),
                DialResult::Unauthenticated,
                [false, true, false],
                "authenticate 127.0.0.1:1: why",
            ),
            (
                ErrorKind::Rejected(why()).at(addr),
                DialResult::Unauthenticated,
                [true, true, false],
                "authenticate 127.0.0.1:1: why",
            ),
        ];
        for (error, result, is, words) in cases {
            assert_eq!(error.result(), result, "{error}");
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
    fn every_result_is_listed_at_its_number() {
        for (index, result) in DialResult::ALL.into_iter().enumerate() {
            assert_eq!(result as usize, index, "{result:?}");
        }
        let names = DialResult::ALL.map(DialResult::name);
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
