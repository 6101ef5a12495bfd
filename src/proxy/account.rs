//! What is told of one connection, once, when it has ended: the line of the access log.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use crate::access::AccessLog;
use crate::date::{self, Rfc3339};
use crate::log::Value;
use crate::proxy::cause::Cause;

/// Who came where, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    /// The client's address; IPv4 seen through an IPv6 socket is IPv4.
    pub(super) peer: SocketAddr,
    /// The listener's.
    listen: SocketAddr,
    at: Instant,
}

impl Arrival {
    /// Of a client that was accepted just now.
    pub(super) fn now(peer: SocketAddr, listen: SocketAddr) -> Self {
        Self {
            peer: SocketAddr::new(peer.ip().to_canonical(), peer.port()),
            listen,
            at: Instant::now(),
        }
    }

    /// How long ago that was.
    pub(super) fn elapsed(&self) -> Duration {
        self.at.elapsed()
    }
}

/// What became of a client that got an endpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Served {
    pub(super) endpoint: SocketAddr,
    /// How long that endpoint took to answer.
    pub(super) dial: Duration,
    /// How long the client waited for an endpoint.
    pub(super) wait: Duration,
    pub(super) to_endpoint: u64,
    pub(super) to_client: u64,
}

/// Writes the line of a connection that has ended now; `attempts` endpoints were dialled for it.
pub(super) fn write(
    log: &AccessLog,
    arrival: &Arrival,
    attempts: u64,
    served: Option<Served>,
    cause: Cause,
) {
    let now = SystemTime::now();
    let duration = arrival.elapsed();
    let start = date::since_1970(now).saturating_sub(duration);
    let mut fields: Vec<(&str, Value)> = vec![
        ("start", Rfc3339(start).to_string().into()),
        ("client", arrival.peer.into()),
        ("listen", arrival.listen.into()),
    ];
    if let Some(served) = served {
        fields.extend([
            ("address", served.endpoint.into()),
            ("dial_seconds", served.dial.into()),
            ("wait_seconds", served.wait.into()),
            ("bytes_to_endpoint", served.to_endpoint.into()),
            ("bytes_to_client", served.to_client.into()),
        ]);
    }
    fields.extend([
        ("attempts", attempts.into()),
        ("duration_seconds", duration.into()),
        ("cause", cause.name().into()),
    ]);
    log.record(now, "connection ended", &fields);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_with_an_ipv4_address_is_shown_with_it_whatever_the_listener_is() {
        let listen = ([127, 0, 0, 1], 1).into();
        let mapped = "[::ffff:127.0.0.2]:5".parse().unwrap();
        assert_eq!(
            Arrival::now(mapped, listen).peer,
            ([127, 0, 0, 2], 5).into()
        );
        let other = "[::1]:5".parse().unwrap();
        assert_eq!(Arrival::now(other, listen).peer, other);
    }
}
