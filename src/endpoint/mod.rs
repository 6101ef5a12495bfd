//! The etcd members that clients are forwarded to: which there are, which of them are
//! active, whose turn it is, and how an inactive one comes back.

pub(crate) mod history;
pub(crate) mod monitor;
mod pick;
pub(crate) mod pool;
mod recent;
pub(crate) mod slots;
pub(crate) mod stats;
pub(crate) mod status;
mod watched;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::dial;
use crate::endpoint::slots::Slot;

/// One address of one member. A name with several addresses is several endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Where it is dialled; what tells endpoints apart.
    pub(crate) addr: SocketAddr,
    /// The endpoint as the operator wrote it, for logs.
    pub(crate) name: String,
    /// Its class, lowest first, as an SRV record has it; 0 if configured by address.
    pub(crate) priority: u16,
    /// Its share within the class, likewise.
    pub(crate) weight: u16,
    /// It is to get no new connection while others serve: somebody takes it out for maintenance.
    pub(crate) drains: bool,
    /// The name that it has to prove before it may carry a client; `None`: nothing to prove.
    pub(crate) identity: Option<String>,
    /// How it came to be one.
    pub(crate) source: Source,
}

/// What named an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// `--endpoints`.
    Endpoints,
    /// `--endpoints-file`.
    File,
    /// SRV records.
    Srv,
}

impl Source {
    /// The word for it, the same in `check` and in the status.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Endpoints => "endpoints",
            Self::File => "file",
            Self::Srv => "srv",
        }
    }
}

/// What an endpoint has proven itself with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Proof {
    /// When its certificate expires, in seconds since 1970; `None` if it had to show none.
    pub(crate) not_after: Option<i64>,
}

/// Decides whether an endpoint that has an identity to prove may carry clients.
pub(crate) trait Gate: fmt::Debug + Send + Sync {
    /// Has the endpoint prove who it is, within `timeout`, over a connection that carries
    /// no client's bytes, and that has a slot.
    ///
    /// # Errors
    /// Why it may not: it cannot be reached, or what it shows is refused
    /// ([`dial::Error::is_rejected`]).
    fn admit(
        &self,
        endpoint: &Endpoint,
        timeout: Duration,
        slot: &Slot,
    ) -> Result<Proof, dial::Error>;
}
