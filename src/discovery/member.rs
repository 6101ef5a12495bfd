//! A member of the cluster as its source names it, whatever the source.
//!
//! Pure: what a name resolves to is not known here.

use std::fmt;

use crate::addr::{Host, HostPort};
use crate::endpoint::Source;

/// A member that an operator or a record names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Where it is; the name of a record is absolute.
    pub(crate) at: HostPort,
    /// Its class, lowest first, as an SRV record has it.
    pub(crate) priority: u16,
    /// Its share within the class, likewise.
    pub(crate) weight: u16,
    /// It is to get no new connection while others serve: somebody takes it out for maintenance.
    pub(crate) drains: bool,
    /// The name that it has to prove; `None`: nothing to prove.
    pub(crate) identity: Option<String>,
    /// What names it.
    pub(crate) source: Source,
}

impl Member {
    /// The name to resolve, if it has one.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.at.host {
            Host::Name(name) => Some(name),
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
