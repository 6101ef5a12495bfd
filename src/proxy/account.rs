//! What is told of one connection, once, when it has ended: the line of the access log.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use crate::access::AccessLog;
use crate::date::{self, Rfc3339};
use crate::log::Value;
use crate::proxy::cause::Cause;

/// Who came where, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// The client's address; IPv4 seen through an IPv6 socket is IPv4.
    pub(crate) peer: SocketAddr,
    /// The listener's.
    pub(crate) listen: SocketAddr,
    pub(crate) at: Instant,
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
#[derive(Debug)]
pub(super) struct Served {
    pub(super) address: SocketAddr,
    /// What was configured, as far as it is known still.
    pub(super) name: Option<String>,
    /// Other clients that are connected to it.
    pub(super) connections: u64,
    /// How long that endpoint took to answer.
    pub(super) dial: Duration,
    /// How long the client waited for an endpoint.
    pub(super) wait: Duration,
    pub(super) to_endpoint: u64,
    pub(super) to_client: u64,
}

/// The end of a connection.
#[derive(Debug)]
pub(super) struct End {
    /// How many endpoints were dialled for it.
    pub(super) attempts: u64,
    pub(super) served: Option<Served>,
    pub(super) cause: Cause,
    /// What the last dial met, if none was answered.
    pub(super) error: Option<String>,
    /// Other clients that have a connection.
    pub(super) connections: usize,
}

impl End {
    /// Writes the line of a connection that has ended now.
    pub(super) fn write(self, log: &AccessLog, arrival: &Arrival) {
        let now = SystemTime::now();
        let duration = arrival.elapsed();
        let start = date::since_1970(now).saturating_sub(duration);
        let mut fields: Vec<(&str, Value)> = vec![
            ("start", Rfc3339(start).to_string().into()),
            ("client", arrival.peer.into()),
            ("listen", arrival.listen.into()),
        ];
        let endpoint_connections = self.served.as_ref().map(|served| served.connections);
        if let Some(served) = self.served {
            fields.push(("address", served.address.into()));
            fields.extend(served.name.map(|name| ("name", name.into())));
            fields.extend([
                ("dial_seconds", served.dial.into()),
                ("wait_seconds", served.wait.into()),
                ("bytes_to_endpoint", served.to_endpoint.into()),
                ("bytes_to_client", served.to_client.into()),
            ]);
        }
        fields.extend([
            ("attempts", self.attempts.into()),
            ("duration_seconds", duration.into()),
            ("cause", self.cause.name().into()),
        ]);
        fields.extend(self.error.map(|error| ("error", error.into())));
        fields.push(("connections", self.connections.into()));
        fields.extend(endpoint_connections.map(|open| ("endpoint_connections", open.into())));
        log.record(now, "connection ended", &fields);
    }
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
