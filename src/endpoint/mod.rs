//! The etcd members that clients are forwarded to: the set of them with the state of each (`pool`), the thread that
//! finds out about them (`monitor`), and the selection of one for a client (`pick`).

pub(crate) mod history;
pub(crate) mod monitor;
mod pick;
pub(crate) mod pool;
mod recent;
pub(crate) mod slots;
pub(crate) mod state;
pub(crate) mod stats;
mod watched;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::dial;
use crate::endpoint::slots::Slot;

/// One address of one member. A name with several addresses is several endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Where it is dialled; identifies the endpoint.
    pub(crate) addr: SocketAddr,
    /// The endpoint as the operator wrote it, for logs.
    pub(crate) name: String,
    /// Priority as in an SRV record, the lowest first; 0 if configured by address.
    pub(crate) priority: u16,
    /// Its share among endpoints of the same priority, as in an SRV record.
    pub(crate) weight: u16,
    /// It gets no new connections while others serve, because of maintenance.
    pub(crate) drains: bool,
    /// The name that it has to prove before it may carry clients; `None` if it is not authenticated.
    pub(crate) identity: Option<String>,
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
    /// The word for it in `check`, metrics and pages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Endpoints => "endpoints",
            Self::File => "file",
            Self::Srv => "srv",
        }
    }
}

/// What an authentication has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Proof {
    /// When the certificate expires, in seconds since 1970; `None` if there was none.
    pub(crate) not_after: Option<i64>,
}

/// Authenticates endpoints. A trait because what implements this is in a layer above; tests have others.
pub(crate) trait Authenticate: fmt::Debug + Send + Sync {
    /// Has the endpoint prove its identity within `timeout`, over a connection that carries
    /// no client's bytes, and that has a slot.
    ///
    /// # Errors
    /// Why it may not carry clients: it cannot be reached, or is rejected
    /// ([`dial::Error::is_rejected`]).
    fn authenticate(
        &self,
        endpoint: &Endpoint,
        timeout: Duration,
        slot: &Slot,
    ) -> Result<Proof, dial::Error>;
}
