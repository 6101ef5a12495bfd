//! Why a connection ended, in the words of the access log and of metrics: a closed set.

use std::io::{self, ErrorKind};

use crate::sys::errno;

/// One of the two peers of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Party {
    /// Who connected to us.
    Client,
    /// Whom we connected to.
    Endpoint,
}

/// Why a connection that was accepted is no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Both directions have ended as they should, this peer's first.
    Closed(Party),
    /// This peer's connection was reset or has timed out.
    Failed(Party),
    /// A call of this host's kernel failed that says nothing about either peer.
    Host,
    /// Its endpoint has left the set (`--close-removed`).
    Removed,
    /// Its endpoint was silent or unhealthy for too long (`--close-unhealthy`).
    Unhealthy,
    /// Its endpoint is silent and never answered it, and another is active.
    Unanswered,
    /// The gateway has ended before the connection did.
    Stopped,
    /// It was not served.
    Rejected(Rejection),
    /// A defect of the gateway's: a thread of the session has panicked.
    Internal,
}

impl Cause {
    /// Those of connections that were not rejected.
    pub(crate) const SERVED: [Self; 10] = [
        Self::Closed(Party::Client),
        Self::Closed(Party::Endpoint),
        Self::Failed(Party::Client),
        Self::Failed(Party::Endpoint),
        Self::Host,
        Self::Removed,
        Self::Unhealthy,
        Self::Unanswered,
        Self::Stopped,
        Self::Internal,
    ];

    /// The word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Closed(Party::Client) => "client_closed",
            Self::Closed(Party::Endpoint) => "endpoint_closed",
            Self::Failed(Party::Client) => "client_failed",
            Self::Failed(Party::Endpoint) => "endpoint_failed",
            Self::Host => "host_failed",
            Self::Removed => "removed",
            Self::Unhealthy => "unhealthy",
            Self::Unanswered => "unanswered",
            Self::Stopped => "stopped",
            Self::Rejected(reason) => reason.name(),
            Self::Internal => "internal",
        }
    }
}

/// Why a session ends with a reset.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) cause: Cause,
    /// What the kernel said, if this host failed.
    pub(crate) error: Option<io::Error>,
}

impl Failure {
    /// A call on this peer's connection failed. Whose failure that is, the error says.
    pub(crate) fn of(party: Party, error: io::Error) -> Self {
        if is_of_the_connection(&error) {
            Cause::Failed(party).into()
        } else {
            Self::of_this_host(error)
        }
    }

    /// A call failed that has to do with no peer.
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

/// Whether an error tells of one connection, or of the way to its peer: those that TCP reports of a
/// connection (tcp(7), ip(7)), which accept(2) passes on too. All others are of this host: its memory,
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
    /// No name of an endpoint could be resolved so far.
    NoEndpoint,
    /// Every endpoint is known to be this gateway, or has not proven who it is.
    NoEligibleEndpoint,
}

impl Rejection {
    pub(crate) const ALL: [Self; 7] = [
        Self::MaxConnections,
        Self::NoThread,
        Self::Loop,
        Self::Unreachable,
        Self::OutOfResources,
        Self::NoEndpoint,
        Self::NoEligibleEndpoint,
    ];

    /// The word for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::MaxConnections => "max_connections",
            Self::NoThread => "no_thread",
            Self::Loop => "loop",
            Self::Unreachable => "unreachable",
            Self::OutOfResources => "out_of_resources",
            Self::NoEndpoint => "no_endpoint",
            Self::NoEligibleEndpoint => "no_eligible_endpoint",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of asm-generic/errno.h.
    #[test]
    fn an_error_says_whose_it_is() {
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
        let rejected = Rejection::ALL.map(Cause::Rejected);
        let all = Cause::SERVED.iter().chain(&rejected);
        let mut names: Vec<&str> = all.map(|cause| cause.name()).collect();
        explained.sort_unstable();
        names.sort_unstable();
        assert_eq!(explained, names);
    }
}
