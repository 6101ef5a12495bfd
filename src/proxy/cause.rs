//! Why a connection ended: a closed set, with one name per cause for the log, metrics and the access log.

use std::io::{self, ErrorKind};

use crate::sys::errno;

/// One of the two peers of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Party {
    /// It connected to us.
    Client,
    /// We connected to it.
    Endpoint,
}

/// Why an accepted connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Both directions have ended in order, this peer's first.
    Closed(Party),
    /// This peer's connection was reset or has timed out.
    Failed(Party),
    /// A system call failed on this host, for a reason that is neither peer's.
    Host,
    /// Its endpoint was removed from the set (`--close-removed`).
    Removed,
    /// Its endpoint was silent or unhealthy for too long (`--close-unhealthy`).
    Unhealthy,
    /// Its endpoint is silent and never answered it, and another is active.
    Unanswered,
    /// The gateway ended before the connection did.
    Stopped,
    /// A defect of the gateway: a thread of the session has panicked.
    Internal,
    /// The client was not served.
    Rejected(Rejection),
}

impl Cause {
    /// Every cause and its name in the log, in metrics and in the access log; those of rejected clients are last.
    pub(crate) const ALL: [(Self, &'static str); 17] = [
        (Self::Closed(Party::Client), "client_closed"),
        (Self::Closed(Party::Endpoint), "endpoint_closed"),
        (Self::Failed(Party::Client), "client_failed"),
        (Self::Failed(Party::Endpoint), "endpoint_failed"),
        (Self::Host, "host_failed"),
        (Self::Removed, "removed"),
        (Self::Unhealthy, "unhealthy"),
        (Self::Unanswered, "unanswered"),
        (Self::Stopped, "stopped"),
        (Self::Internal, "internal"),
        (Self::Rejected(Rejection::MaxConnections), "max_connections"),
        (Self::Rejected(Rejection::NoThread), "no_thread"),
        (Self::Rejected(Rejection::Loop), "loop"),
        (Self::Rejected(Rejection::Unreachable), "unreachable"),
        (
            Self::Rejected(Rejection::OutOfResources),
            "out_of_resources",
        ),
        (Self::Rejected(Rejection::NoEndpoint), "no_endpoint"),
        (
            Self::Rejected(Rejection::NoEligibleEndpoint),
            "no_eligible_endpoint",
        ),
    ];

    pub(super) fn name(self) -> &'static str {
        let known = Self::ALL.iter().find(|(cause, _)| *cause == self);
        // Every cause is in the table.
        known.map_or("unknown", |(_, name)| name)
    }

    pub(super) fn is_rejection(self) -> bool {
        matches!(self, Self::Rejected(_))
    }
}

/// Why a client gets no connection to an endpoint; its own is reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// As many connections as `--max-connections` allows are open.
    MaxConnections,
    /// The host has no thread left.
    NoThread,
    /// The client is this gateway.
    Loop,
    /// Every endpoint was tried and none answered in time.
    Unreachable,
    /// The host has no memory left for the session, or no descriptor, port or memory for the dial.
    OutOfResources,
    /// No name of an endpoint has been resolved so far.
    NoEndpoint,
    /// Every endpoint is this gateway, or has not authenticated.
    NoEligibleEndpoint,
}

/// Why a session ends with a reset.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) cause: Cause,
    /// The error of the system call, if this host failed, or of the last dial, if no endpoint answered.
    pub(crate) error: Option<io::Error>,
}

impl Failure {
    /// A call on this peer's connection failed. The error says whether the peer or this host is at fault.
    pub(crate) fn of(party: Party, error: io::Error) -> Self {
        if is_of_the_connection(&error) {
            Cause::Failed(party).into()
        } else {
            Self::of_this_host(error)
        }
    }

    /// A call failed that concerns neither peer.
    pub(crate) fn of_this_host(error: io::Error) -> Self {
        Self {
            cause: Cause::Host,
            error: Some(error),
        }
    }
}

impl From<Cause> for Failure {
    fn from(cause: Cause) -> Self {
        Self { cause, error: None }
    }
}

/// Whether an error concerns one connection, or the network path to its peer: those that TCP reports for a
/// connection (tcp(7), ip(7)), which accept(2) returns too. All others concern this host: its memory,
/// a filter of system calls, a security module.
pub(super) fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionRefused
            | ErrorKind::BrokenPipe
            | ErrorKind::NotConnected
            | ErrorKind::TimedOut
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
    ) || matches!(
        error.raw_os_error(),
        Some(
            errno::ENONET
                | errno::EPROTO
                | errno::ENOPROTOOPT
                | errno::EOPNOTSUPP
                | errno::EHOSTDOWN
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of asm-generic/errno.h.
    #[test]
    fn an_error_says_whether_a_peer_or_this_host_failed() {
        let of_the_connection = [
            32, 64, 71, 92, 95, 100, 101, 103, 104, 107, 110, 111, 112, 113,
        ];
        let of_this_host = [1, 5, 12, 13, 14, 22, 23, 24, 38, 105];
        for party in [Party::Client, Party::Endpoint] {
            for number in of_the_connection {
                let failure = Failure::of(party, io::Error::from_raw_os_error(number));
                assert_eq!(failure.cause, Cause::Failed(party), "{number}");
                assert!(failure.error.is_none(), "{number}");
            }
            for number in of_this_host {
                let failure = Failure::of(party, io::Error::from_raw_os_error(number));
                assert_eq!(failure.cause, Cause::Host, "{number}");
                let said = failure.error.and_then(|error| error.raw_os_error());
                assert_eq!(said, Some(number));
            }
        }
    }

    #[test]
    fn every_cause_is_explained_and_no_other() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/deploy/man/etcd-gateway-logs.7.md"
        );
        let readme = std::fs::read_to_string(path).expect("the page is readable");
        let (_, table) = readme.split_once("| cause | the connection |").unwrap();
        let (table, _) = table.split_once("\n\n").unwrap();
        let rows = table.lines().filter_map(|row| row.strip_prefix("| `"));
        let mut explained: Vec<&str> = rows.filter_map(|row| row.split('`').next()).collect();
        let mut names = Cause::ALL.map(|(_, name)| name);
        explained.sort_unstable();
        names.sort_unstable();
        assert_eq!(explained, names);
    }
}
