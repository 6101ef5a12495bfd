//! A stub resolver: SRV, A and AAAA from the servers of resolv.conf(5), the hosts file first.
//!
//! It replaces `getaddrinfo`, which has no SRV, no deadline and, in a static binary, no name service
//! modules. It asks recursive servers and trusts those that it is configured to ask; it does not
//! validate DNSSEC and caches nothing: each answer says for how long it is valid, and the caller
//! remembers it. `localhost` and names below it are never asked for in DNS.
//!
//! [`Resolver`] is used from any number of threads at once; no lock is held during a wait. `servers`
//! decides which server is asked when, with what `edns` remembers of it; `exchange` is one question to
//! one server; `lookup` is the state of one question; `name`, `record`, `message` and `answer` read
//! replies; `watch`, `resolv_conf` and `hosts` read files.
#![deny(
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

pub(crate) mod answer;
mod edns;
mod error;
mod exchange;
pub(crate) mod hosts;
mod lookup;
pub(crate) mod message;
pub(crate) mod name;
pub(crate) mod record;
pub(crate) mod resolv_conf;
mod servers;
#[cfg(test)]
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]
pub(crate) mod tests;
mod watch;

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use answer::MAX_TTL;
pub(crate) use answer::Resolved;
use error::keep_higher_ranked;
pub(crate) use error::{Class, Error};
use exchange::Random;
use hosts::HostsFile;
use lookup::Lookup;
use name::Name;
use record::{Data, Srv, Type};
use resolv_conf::{Environment, ResolvConf};
use servers::{Servers, half_way};
use watch::Watched;

use crate::sys::memory;

/// Bytes of memory that a lookup may take: messages of 64 KiB, and the records in them.
const LOOKUP: usize = 1 << 20;

/// The configuration of a resolver.
#[derive(Debug, Clone)]
pub(crate) struct ResolverConfig {
    /// The path of resolv.conf.
    pub(crate) resolv_conf: PathBuf,
    /// The path of the hosts file.
    pub(crate) hosts: PathBuf,
    pub(crate) environment: Environment,
    /// How often the files are checked, at most.
    pub(crate) check_interval: Duration,
    /// How long to remember whether a server answers queries with EDNS.
    pub(crate) edns_memory: Duration,
}

impl ResolverConfig {
    /// Those of this machine and this process, with these intervals.
    pub(crate) fn of_system(check_interval: Duration, edns_memory: Duration) -> Self {
        Self {
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            hosts: PathBuf::from("/etc/hosts"),
            environment: Environment::of_process(),
            check_interval,
            edns_memory,
        }
    }
}

/// The resolver.
pub(crate) struct Resolver {
    conf: Watched<ResolvConf>,
    hosts: Watched<HostsFile>,
    servers: Servers,
}

impl Resolver {
    /// Reads the files. `random` fills octets from the operating system's entropy.
    pub(crate) fn new(config: ResolverConfig, random: Random) -> Self {
        let now = Instant::now();
        let environment = config.environment;
        let empty = ResolvConf::parse("", &environment);
        let read = move |_: &_, file: &mut dyn Read| ResolvConf::read(file, &environment);
        let hosts = HostsFile::new(config.hosts.clone());
        Self {
            conf: Watched::new(config.resolv_conf, config.check_interval, now, empty, read),
            hosts: Watched::new(
                config.hosts,
                config.check_interval,
                now,
                hosts,
                |hosts, file| hosts.renewed(file),
            ),
            servers: Servers::new(random, config.edns_memory),
        }
    }

    /// How often resolv.conf or the hosts file has changed: when the number grows, earlier answers may
    /// not be valid any more. Checks the files if that is due.
    pub(crate) fn changes(&self) -> u64 {
        let now = Instant::now();
        self.conf.get(now);
        self.hosts.get(now);
        self.conf.changes().wrapping_add(self.hosts.changes())
    }

    /// The SRV records of `owner`, along the search list unless it ends in a dot.
    pub(crate) fn lookup_srv(
        &self,
        owner: &str,
        deadline: Instant,
    ) -> Result<Resolved<Srv>, Error> {
        self.search(owner, &[Type::SRV], deadline, |data| match data {
            Data::Srv(srv) => Some(srv),
            _ => None,
        })
    }

    /// The addresses of `host`: itself if it is an address, this machine if it is `localhost`,
    /// from the hosts file if it is there, else from DNS as in [`Resolver::lookup_srv`].
    pub(crate) fn lookup_host(
        &self,
        host: &str,
        deadline: Instant,
    ) -> Result<Resolved<IpAddr>, Error> {
        if let Some(data) = self.known(host) {
            // When the file changes, `changes` grows.
            return Ok(Resolved::new(None, data, MAX_TTL));
        }
        let types: &[Type] = match self.conf.get(Instant::now()).no_aaaa {
            true => &[Type::A],
            false => &[Type::A, Type::AAAA],
        };
        self.search(host, types, deadline, |data| match data {
            Data::A(ip) => Some(ip.into()),
            Data::Aaaa(ip) => Some(ip.into()),
            _ => None,
        })
    }

    /// The addresses of a host that needs no server.
    fn known(&self, host: &str) -> Option<Vec<IpAddr>> {
        if let Ok(address) = host.parse() {
            return Some(vec![address]);
        }
        let hosts = self.hosts.get(Instant::now());
        let mut addresses = hosts.addresses(host);
        if Name::from_text(host).is_ok_and(|(name, _)| name.is_localhost()) {
            // The file may choose the family, but not another host.
            addresses.retain(IpAddr::is_loopback);
            if addresses.is_empty() {
                addresses = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            }
        }
        (!addresses.is_empty()).then_some(addresses)
    }

    /// Asks for `text` and, as the search list says, for the names made from it, until one has records.
    /// After a name that does not exist, has no such records or gives an error the next one is tried, as
    /// in the C library. If no server replies about a name made from the list, no more of these are
    /// asked for; but the name as it was given always is: it may be one of a network that the servers
    /// cannot reach. Of the failures the one with the highest rank is returned, and of equal ones that of
    /// the name as it was given.
    fn search<T>(
        &self,
        text: &str,
        types: &[Type],
        deadline: Instant,
        convert: fn(Data) -> Option<T>,
    ) -> Result<Resolved<T>, Error> {
        let qtype = types.first().copied().unwrap_or(Type::A);
        let local = |class| Error {
            owner: text.escape_debug().to_string(),
            qtype,
            server: None,
            class,
            negative_ttl: None,
        };
        let (name, absolute) =
            Name::from_text(text).map_err(|error| local(Class::BadName(error)))?;
        if name.is_localhost() {
            return Err(local(Class::NxDomain));
        }
        memory::room(LOOKUP).map_err(|error| local(Class::unable(&error)))?;
        let conf = self.conf.get(Instant::now());
        let mut failure: Option<Error> = None;
        let mut silent = false;
        let candidates = conf.candidates(&name, absolute);
        for (candidate, after) in candidates.iter().zip((0..candidates.len()).rev()) {
            let as_given = *candidate == name;
            if silent && !as_given {
                continue;
            }
            let until = match after {
                0 => deadline,
                _ => half_way(Instant::now(), deadline),
            };
            match self.resolve(&conf, candidate, types, until, convert) {
                Ok(mut found) => {
                    // It outranks definite failures, so if there was one it is this.
                    found.earlier_failure = failure.filter(|error| !error.class.is_definite());
                    return Ok(found);
                }
                Err((error, answered)) => {
                    if failure.as_ref().is_none_or(|known| {
                        error.class.outranks(known.class) || error.class == known.class && as_given
                    }) {
                        failure = Some(error);
                    }
                    silent |= !answered && !as_given;
                }
            }
        }
        // There is always one candidate, the name itself.
        Err(failure.unwrap_or_else(|| local(Class::NxDomain)))
    }

    /// Asks for all `types` of `name` at the same time. A failure is returned with whether any of them
    /// was answered.
    fn resolve<T>(
        &self,
        conf: &ResolvConf,
        name: &Name,
        types: &[Type],
        deadline: Instant,
        convert: fn(Data) -> Option<T>,
    ) -> Result<Resolved<T>, (Error, bool)> {
        let lookups = types.iter().map(|qtype| Lookup::new(name, *qtype));
        let mut lookups: Vec<_> = lookups.collect();
        self.servers.ask(conf, &mut lookups, deadline);
        let mut found = Resolved::new(Some(name.clone()), Vec::new(), MAX_TTL);
        let mut failure: Option<Error> = None;
        let mut answered = false;
        for lookup in lookups {
            match lookup.into_outcome() {
                Ok(one) => {
                    found.data.extend(one.data.into_iter().filter_map(convert));
                    found.ttl = found.ttl.min(one.ttl);
                    found.missing = one.missing.or(found.missing);
                }
                Err(error) => {
                    answered |= error.class.was_answered();
                    keep_higher_ranked(&mut failure, error);
                }
            }
        }
        match failure {
            Some(error) if found.data.is_empty() => Err((error, answered)),
            failure => {
                // A truncated answer is reported first: it must not count as a whole one.
                found.missing = found
                    .missing
                    .or(failure.filter(|error| !error.class.is_definite()));
                Ok(found)
            }
        }
    }
}
