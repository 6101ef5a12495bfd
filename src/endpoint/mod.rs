//! The etcd members that clients are forwarded to: which there are, which of them are
//! active, whose turn it is, and how an inactive one comes back.

pub(crate) mod monitor;
mod pick;
pub(crate) mod pool;

use std::net::SocketAddr;

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
}
