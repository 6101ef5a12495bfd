//! A member of the cluster as it is named, whatever names it: a list, a file or an SRV record.
//!
//! Pure but for the lookup of an interface's number. What a name resolves to is not known here.

use std::fmt;
use std::net::{SocketAddr, SocketAddrV6};

use crate::addr::{Host, HostPort};
use crate::dns::resolv_conf;
use crate::endpoint::Source;

/// The most endpoints that are used. No etcd cluster has a tenth of it; a longer answer is not worth
/// the time and the memory.
pub(super) const MAX_ENDPOINTS: usize = 1024;

/// Bytes of memory that may be needed to make endpoints of this many members, and to replace others by them.
pub(super) fn memory_for(members: usize) -> usize {
    const EACH: usize = 4096;
    const BASE: usize = 256 * 1024;
    BASE + members.min(MAX_ENDPOINTS) * EACH
}

/// A member that an operator or a record names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Where it is; the name of a record is absolute.
    pub(crate) at: HostPort,
    /// Its class, lowest first, as in an SRV record.
    pub(crate) priority: u16,
    /// Its share within the class, likewise.
    pub(crate) weight: u16,
    /// It gets no new connection while others serve: it is taken out for maintenance.
    pub(crate) drains: bool,
    /// The name that it has to prove; `None`: nothing to prove.
    pub(crate) identity: Option<String>,
    /// What names it.
    pub(crate) source: Source,
}

impl Member {
    /// One of `--endpoints`.
    pub(crate) fn given(at: &HostPort, identity: &Identity) -> Self {
        Self {
            at: at.clone(),
            priority: 0,
            weight: 0,
            drains: false,
            identity: identity.of(&at.host),
            source: Source::Endpoints,
        }
    }

    /// The name to resolve, if it has one.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.at.host {
            Host::Name(name) => Some(name),
            _ => None,
        }
    }

    /// The interface that its address is valid on, if it is valid on one only.
    pub(super) fn zone(&self) -> Option<&str> {
        match &self.at.host {
            Host::Ip6Zone(_, zone) => Some(zone),
            _ => None,
        }
    }
}

impl fmt::Display for Member {
    /// As it was written, but for the final dot that every name of a record has.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name().filter(|_| self.source == Source::Srv) {
            Some(name) => write!(f, "{}:{}", name.trim_end_matches('.'), self.at.port),
            None => self.at.fmt(f),
        }
    }
}

/// The address of a host that is not a name; `None` also if this host does not have its interface.
pub(super) fn literal(at: &HostPort) -> Option<SocketAddr> {
    match &at.host {
        Host::Ip(ip) => Some(SocketAddr::new(*ip, at.port)),
        Host::Ip6Zone(ip, zone) => {
            let number = zone.parse().ok();
            let scope = number.or_else(|| resolv_conf::interface_index(zone))?;
            Some(SocketAddrV6::new(*ip, at.port, 0, scope).into())
        }
        Host::Name(_) | Host::Wildcard => None,
    }
}

/// What the members of a list have to prove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Identity {
    /// Nothing.
    None,
    /// Each its own name or address, as it is written.
    Own,
    /// All of them this name.
    Named(String),
}

impl Identity {
    /// What the member on this host has to prove.
    pub(super) fn of(&self, host: &Host) -> Option<String> {
        match self {
            Self::None => None,
            Self::Named(name) => Some(name.clone()),
            Self::Own => Some(match host {
                Host::Ip(ip) => ip.to_string(),
                Host::Ip6Zone(ip, _) => ip.to_string(),
                Host::Name(name) => name.trim_end_matches('.').to_owned(),
                Host::Wildcard => String::new(),
            }),
        }
    }
}

/// The name that members found under a domain have to prove: the domain, as in the reference. Answers of
/// DNS are not trusted, so that the names in them prove nothing. Of `_service._tcp.domain` it is what
/// follows the two labels.
pub(crate) fn identity_of_domain(domain: &str) -> String {
    let mut name = domain.trim_end_matches('.');
    while let Some((label, rest)) = name.split_once('.')
        && label.starts_with('_')
    {
        name = rest;
    }
    name.to_owned()
}
