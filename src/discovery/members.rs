//! Where members are found, what they have to prove, and the endpoints that they are.
//!
//! Pure but for the lookup of an interface's number and what is logged: what names resolve to is
//! a parameter.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::path::Path;
use std::time::Duration;

use super::file::{self, Followed};
use super::hosts::Hosts;
use super::listing::Listed;
use super::schedule::resolver_pause;
use super::srv::{Services, Target};
use crate::addr::{Host, HostPort};
use crate::dns::resolv_conf;
use crate::endpoint::{self, Endpoint};
use crate::log;
use crate::times::Times;

/// The most endpoints that are used. No etcd cluster has a tenth of it; an answer that has
/// more is no reason to spend time and memory on it.
pub(super) const MAX_ENDPOINTS: usize = 1024;

/// Where the members are found.
#[derive(Debug)]
pub(crate) enum Source {
    /// A list on the command line.
    List(List),
    /// The list in a file: the last good one.
    File { file: Followed, list: List },
    /// SRV records, and the list to use as long as they give no member that may serve.
    Srv {
        services: Services,
        /// The name that every member has to prove; `None` takes them as they are.
        identity: Option<String>,
        fallback: Option<List>,
    },
}

/// Members as the operator wrote them.
#[derive(Debug)]
pub(crate) struct List {
    pub(crate) members: Vec<Listed>,
    pub(crate) identity: Identity,
    pub(crate) source: endpoint::Source,
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
    pub(super) fn of(&self, member: &HostPort) -> Option<String> {
        match self {
            Self::None => None,
            Self::Named(name) => Some(name.clone()),
            Self::Own => Some(match &member.host {
                Host::Ip(ip) => ip.to_string(),
                Host::Ip6Zone(ip, _) => ip.to_string(),
                Host::Name(name) => name.trim_end_matches('.').to_owned(),
                Host::Wildcard => String::new(),
            }),
        }
    }
}

impl Source {
    /// SRV records of a domain, `--discovery-srv` and `--discovery-srv-name`.
    pub(crate) fn srv(
        domain: &str,
        name: &str,
        identity: Option<String>,
        fallback: Option<List>,
    ) -> Self {
        Self::Srv {
            services: Services::new(domain, name),
            identity,
            fallback,
        }
    }

    /// The list in the file at `path`, and what is odd about it.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn file(
        path: &Path,
        identity: Identity,
    ) -> Result<(Self, Vec<String>), file::Error> {
        let (file, listing) = Followed::open(path)?;
        let odd = listing.odd.iter().map(|odd| file.describe(odd)).collect();
        let members = listing.members;
        let list = List {
            members,
            identity,
            source: endpoint::Source::File,
        };
        Ok((Self::File { file, list }, odd))
    }

    /// Looks whether the file, if there is one, has another list; one that is bad changes nothing.
    pub(super) fn look(&mut self, asked: bool) -> bool {
        let Self::File { file, list } = self else {
            return false;
        };
        let was_refused = file.refused().is_some();
        match file.look(asked) {
            Some(Ok(listing)) if was_refused && listing.members == list.members => {
                log::info(
                    "discovery",
                    "endpoints file is usable again, its list has not changed",
                    &[("file", file.path().display().to_string().into())],
                );
                false
            }
            Some(Ok(listing)) => {
                for odd in &listing.odd {
                    log::warn("discovery", &file.describe(odd), &[]);
                }
                list.members = listing.members;
                log::info(
                    "discovery",
                    "endpoints file has changed, using its list",
                    &[
                        ("file", file.path().display().to_string().into()),
                        ("endpoints", list.members.len().into()),
                    ],
                );
                true
            }
            Some(Err(_)) | None => false,
        }
    }

    /// How long its files are not looked at.
    pub(super) fn pause(&self, times: &Times) -> Duration {
        match self {
            Self::File { file, .. } => file.pause(times),
            Self::List(_) | Self::Srv { .. } => resolver_pause(times),
        }
    }

    /// Whether the members are those that the operator named, rather than those that DNS does.
    pub(super) fn is_listed(&self) -> bool {
        matches!(self, Self::List(_) | Self::File { .. })
    }

    /// Whether any member has something to prove.
    pub(crate) fn authenticates(&self) -> bool {
        match self {
            Self::List(list) | Self::File { list, .. } => list.identity != Identity::None,
            Self::Srv {
                identity, fallback, ..
            } => {
                let list = fallback.as_ref();
                identity.is_some() || list.is_some_and(|list| list.identity != Identity::None)
            }
        }
    }
}

/// The name that members found under a domain have to prove: the domain, as the reference
/// has it, because an answer of DNS is not to be trusted, so that the names in it prove
/// nothing. Of `_service._tcp.domain` it is what follows the two labels.
pub(crate) fn identity_of(domain: &str) -> String {
    let mut name = domain.trim_end_matches('.');
    while let Some((_, rest)) = name
        .split_once('.')
        .filter(|(label, _)| label.starts_with('_'))
    {
        name = rest;
    }
    name.to_owned()
}

/// The members as they are configured or published.
pub(super) enum Members<'a> {
    List(&'a List),
    Targets {
        targets: Vec<Target>,
        identity: &'a Option<String>,
    },
}

impl Members<'_> {
    /// The names to resolve.
    pub(super) fn names(&self) -> HashSet<String> {
        let name = |endpoint: &HostPort| match &endpoint.host {
            Host::Name(name) => Some(name.clone()),
            _ => None,
        };
        match self {
            Self::List(list) => list.members.iter().filter_map(|m| name(&m.at)).collect(),
            Self::Targets { targets, .. } => {
                targets.iter().map(|target| target.host.clone()).collect()
            }
        }
    }

    /// Literal addresses that are none on this host now, and why.
    pub(super) fn adrift(&self) -> Vec<(String, String)> {
        let Self::List(list) = self else {
            return Vec::new();
        };
        let adrift = |member: &Listed| match &member.at.host {
            Host::Ip6Zone(_, zone) if literal(&member.at).is_none() => Some((
                member.at.to_string(),
                format!("this host has no interface {zone}"),
            )),
            _ => None,
        };
        list.members.iter().filter_map(adrift).collect()
    }

    /// All their addresses, each once: where several name one, the first has it; and how many
    /// there are, which may be more than are used.
    pub(super) fn endpoints(&self, hosts: &Hosts) -> (Vec<Endpoint>, usize) {
        let mut endpoints: Vec<Endpoint> = Vec::new();
        let mut found: HashSet<SocketAddr> = HashSet::new();
        let mut beyond = 0_usize;
        let mut add = |ip: IpAddr, endpoint: Endpoint| {
            // IPv4 written as IPv6 is IPv4, also to the loop guard.
            let addr = match ip.to_canonical() {
                IpAddr::V4(ip) => SocketAddr::new(ip.into(), endpoint.addr.port()),
                IpAddr::V6(_) => endpoint.addr,
            };
            if found.insert(addr) && endpoints.len() < MAX_ENDPOINTS {
                endpoints.push(Endpoint { addr, ..endpoint });
            }
        };
        match self {
            Self::List(list) => {
                for member in &list.members {
                    let endpoint = |addr| Endpoint {
                        addr,
                        name: member.at.to_string(),
                        priority: member.priority,
                        weight: member.weight,
                        identity: list.identity.of(&member.at),
                        source: list.source,
                    };
                    if let Some(addr) = literal(&member.at) {
                        add(addr.ip(), endpoint(addr));
                    }
                    if let Host::Name(name) = &member.at.host {
                        beyond = beyond.saturating_add(hosts.beyond(name));
                        for ip in hosts.addresses(name) {
                            add(*ip, endpoint(SocketAddr::new(*ip, member.at.port)));
                        }
                    }
                }
            }
            Self::Targets { targets, identity } => {
                for target in targets {
                    beyond = beyond.saturating_add(hosts.beyond(&target.host));
                    for ip in hosts.addresses(&target.host) {
                        let endpoint = Endpoint {
                            addr: SocketAddr::new(*ip, target.port),
                            name: target.to_string(),
                            priority: target.priority,
                            weight: target.weight,
                            identity: (*identity).clone(),
                            source: endpoint::Source::Srv,
                        };
                        add(*ip, endpoint);
                    }
                }
            }
        }
        (endpoints, found.len().saturating_add(beyond))
    }
}

/// Adds those of `old` that are not among `endpoints`, as many as there is room for: where others
/// are found each time, they would be more and more.
pub(super) fn keep(endpoints: &mut Vec<Endpoint>, old: Vec<Endpoint>) {
    let known: HashSet<SocketAddr> = endpoints.iter().map(|new| new.addr).collect();
    let room = MAX_ENDPOINTS.saturating_sub(endpoints.len());
    let others = old.into_iter().filter(|old| !known.contains(&old.addr));
    endpoints.extend(others.take(room));
}

/// The address of a host that is no name.
pub(super) fn literal(host_port: &HostPort) -> Option<SocketAddr> {
    match &host_port.host {
        Host::Ip(ip) => Some(SocketAddr::new(*ip, host_port.port)),
        Host::Ip6Zone(ip, zone) => {
            let scope = zone
                .parse()
                .ok()
                .or_else(|| resolv_conf::interface_index(zone))?;
            Some(SocketAddrV6::new(*ip, host_port.port, 0, scope).into())
        }
        Host::Name(_) | Host::Wildcard => None,
    }
}
