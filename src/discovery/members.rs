//! Where members are found, what they have to prove, and the endpoints that they are.
//!
//! Pure but for the lookup of an interface's number and what is logged: what names resolve to is
//! a parameter.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::path::Path;
use std::time::Duration;

use super::file::{self, EndpointsFile};
use super::member::Member;
use super::polled::Polled;
use super::resolved::ResolvedHosts;
use super::schedule::resolver_pause;
use super::srv::Services;
use crate::addr::{Host, HostPort};
use crate::dns::resolv_conf;
use crate::endpoint::{self, Endpoint};
use crate::log;
use crate::times::Times;

/// The most endpoints that are used. No etcd cluster has a tenth of it; an answer that has
/// more is no reason to spend time and memory on it.
pub(super) const MAX_ENDPOINTS: usize = 1024;

/// Bytes of memory that it may take to make endpoints of so many members, and to put them in place of others.
pub(super) fn size(members: usize) -> usize {
    const EACH: usize = 4096;
    const BASE: usize = 256 * 1024;
    BASE + members.min(MAX_ENDPOINTS) * EACH
}

/// Where the members are found.
#[derive(Debug)]
pub(crate) enum Source {
    /// A list on the command line.
    List(Vec<Member>),
    /// The list in a file: the last good one.
    File {
        file: Box<Polled<EndpointsFile>>,
        identity: Identity,
        members: Vec<Member>,
    },
    /// SRV records, and the list to use as long as they give no member that may serve; it may be
    /// empty.
    Srv {
        services: Services,
        fallback: Vec<Member>,
    },
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
    /// Has these members prove it.
    fn demand(&self, mut members: Vec<Member>) -> Vec<Member> {
        for member in &mut members {
            member.identity = self.of(&member.at.host);
        }
        members
    }

    fn of(&self, host: &Host) -> Option<String> {
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

/// The members that `--endpoints` names.
pub(crate) fn given(endpoints: &[HostPort], identity: &Identity) -> Vec<Member> {
    let member = |at: &HostPort| Member {
        at: at.clone(),
        priority: 0,
        weight: 0,
        drains: false,
        identity: identity.of(&at.host),
        source: endpoint::Source::Endpoints,
    };
    endpoints.iter().map(member).collect()
}

impl Source {
    /// SRV records of a domain, `--discovery-srv` and `--discovery-srv-name`. The `identity` is the
    /// name that every member has to prove; `None` takes them as they are.
    pub(crate) fn srv(
        domain: &str,
        name: &str,
        identity: Option<String>,
        fallback: Vec<Member>,
    ) -> Self {
        Self::Srv {
            services: Services::new(domain, name, identity),
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
        let (file, listing) = Polled::open(EndpointsFile::new(path))?;
        let place = file.place();
        let odd = listing.odd.iter().map(|odd| place.describe(odd)).collect();
        let source = Self::File {
            file: Box::new(file),
            members: identity.demand(listing.members),
            identity,
        };
        Ok((source, odd))
    }

    /// Looks whether the file, if there is one, has another list; one that is bad changes nothing.
    pub(super) fn look(&mut self, asked: bool) -> bool {
        let Self::File {
            file,
            identity,
            members,
        } = self
        else {
            return false;
        };
        let was_refused = file.refused().is_some();
        let Some(Ok(listing)) = file.look(asked) else {
            return false;
        };
        let listed = identity.demand(listing.members);
        if was_refused && listed == *members {
            log::info(
                "discovery",
                "endpoints file is usable again, its list has not changed",
                &[("file", file.place().path().display().to_string().into())],
            );
            return false;
        }
        for odd in &listing.odd {
            log::warn("discovery", &file.place().describe(odd), &[]);
        }
        *members = listed;
        log::info(
            "discovery",
            "endpoints file has changed, using its list",
            &[
                ("file", file.place().path().display().to_string().into()),
                ("endpoints", members.len().into()),
            ],
        );
        true
    }

    /// Where the file is, if there is one.
    pub(super) fn path(&self) -> Option<String> {
        match self {
            Self::File { file, .. } => Some(file.place().path().display().to_string()),
            Self::List(_) | Self::Srv { .. } => None,
        }
    }

    /// How long its files are not looked at; `None`: for ever, for there is no file that tells of it.
    pub(super) fn pause(&self, times: &Times) -> Option<Duration> {
        match self {
            Self::File { file, .. } => Some(file.pause(times)),
            Self::List(_) | Self::Srv { .. } => self.asks().then(|| resolver_pause(times)),
        }
    }

    /// Whether anything has to be looked up to find it.
    pub(super) fn asks(&self) -> bool {
        match self {
            Self::List(members) | Self::File { members, .. } => {
                members.iter().any(|member| member.name().is_some())
            }
            Self::Srv { .. } => true,
        }
    }

    /// Whether the address of a member depends on an interface of this host.
    pub(super) fn is_zoned(&self) -> bool {
        let is_zoned = |member: &Member| matches!(member.at.host, Host::Ip6Zone(..));
        match self {
            Self::List(members) | Self::File { members, .. } => members.iter().any(is_zoned),
            Self::Srv { fallback, .. } => fallback.iter().any(is_zoned),
        }
    }

    /// Whether the members are those that the operator named, rather than those that DNS does.
    pub(super) fn is_listed(&self) -> bool {
        matches!(self, Self::List(_) | Self::File { .. })
    }

    /// The names of the members that the operator lists, if the operator does.
    pub(super) fn listed(&self) -> Option<HashSet<String>> {
        let names = || self.members().iter().map(Member::to_string).collect();
        self.is_listed().then(names)
    }

    /// Whether any member has something to prove, those included that records may name yet.
    pub(crate) fn authenticates(&self) -> bool {
        let proves = |member: &Member| member.identity.is_some();
        match self {
            Self::List(members) | Self::File { members, .. } => members.iter().any(proves),
            Self::Srv { services, fallback } => {
                services.authenticates() || fallback.iter().any(proves)
            }
        }
    }

    /// Whether names may have to be looked up, those of a file that may yet come included.
    pub(crate) fn resolves(&self) -> bool {
        match self {
            Self::List(members) => members.iter().any(|member| member.name().is_some()),
            Self::File { .. } | Self::Srv { .. } => true,
        }
    }

    /// The members that it names now and that may serve.
    pub(super) fn members(&self) -> Vec<Member> {
        match self {
            Self::List(members) | Self::File { members, .. } => members.clone(),
            Self::Srv { services, .. } => services.members().0,
        }
    }

    /// The members to use if these may not serve.
    pub(super) fn fallback(&self) -> &[Member] {
        match self {
            Self::List(_) | Self::File { .. } => &[],
            Self::Srv { fallback, .. } => fallback,
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

/// The names to resolve.
pub(super) fn names(members: &[Member]) -> HashSet<String> {
    let names = members.iter().filter_map(Member::name);
    names.map(str::to_owned).collect()
}

/// Literal addresses that this host does not have now, and why.
pub(super) fn unresolvable_zones(members: &[Member]) -> Vec<(String, String)> {
    let unresolvable_zones = |member: &Member| match &member.at.host {
        Host::Ip6Zone(_, zone) if literal(&member.at).is_none() => Some((
            member.at.to_string(),
            format!("this host has no interface {zone}"),
        )),
        _ => None,
    };
    members.iter().filter_map(unresolvable_zones).collect()
}

/// All their addresses, each once: where several name one, the first has it; and how many
/// there are, which may be more than are used.
pub(super) fn endpoints(members: &[Member], hosts: &ResolvedHosts) -> (Vec<Endpoint>, usize) {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    let mut found: HashSet<SocketAddr> = HashSet::new();
    let mut beyond = 0_usize;
    for member in members {
        let name = member.name().unwrap_or_default();
        beyond = beyond.saturating_add(hosts.beyond(name));
        let resolved = hosts.addresses(name).iter();
        let resolved = resolved.map(|ip| SocketAddr::new(*ip, member.at.port));
        for addr in literal(&member.at).into_iter().chain(resolved) {
            // IPv4 written as IPv6 is IPv4, also to the loop guard.
            let addr = match addr.ip().to_canonical() {
                IpAddr::V4(ip) => SocketAddr::new(ip.into(), addr.port()),
                IpAddr::V6(_) => addr,
            };
            if found.insert(addr) && endpoints.len() < MAX_ENDPOINTS {
                endpoints.push(Endpoint {
                    addr,
                    name: member.to_string(),
                    priority: member.priority,
                    weight: member.weight,
                    drains: member.drains,
                    identity: member.identity.clone(),
                    source: member.source,
                });
            }
        }
    }
    (endpoints, found.len().saturating_add(beyond))
}

/// Adds those of `old` that are not among `endpoints`, as many as there is room for: where others
/// are found each time, they would be more and more.
pub(super) fn keep(endpoints: &mut Vec<Endpoint>, old: Vec<Endpoint>) {
    let known: HashSet<SocketAddr> = endpoints.iter().map(|new| new.addr).collect();
    let room = MAX_ENDPOINTS.saturating_sub(endpoints.len());
    let others = old.into_iter().filter(|old| !known.contains(&old.addr));
    endpoints.extend(others.take(room));
}

/// The address of a host that is not a name.
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
