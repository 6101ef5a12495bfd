//! A stub resolver: SRV, A and AAAA from the servers of resolv.conf(5), the hosts file first.
//!
//! Takes the place of `getaddrinfo`, which knows no SRV, no deadline and, in a static binary, no
//! name service modules. It asks recursive servers and believes the ones it is told to ask; it
//! does not validate DNSSEC and caches nothing: with each answer comes the time that it is good
//! for, and the caller remembers. `localhost` and names below it never leave the machine.
//!
//! [`Resolver`] is used from any number of threads at once; no lock is held while it waits for
//! anything. `name`, `message` and `answer` are pure, and `resolv_conf` is but for the file that it is given;
//! `exchange` talks to servers, and `edns` remembers how; `lookup` is one question on its way; `watch`
//! and `hosts` read files.
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
#[cfg(test)]
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used
)]
pub(crate) mod tests;
mod watch;

use std::collections::HashSet;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use edns::Edns;
pub(crate) use error::{Class, Error};
use exchange::{Exchange, Random, Way};
use hosts::Hosts;
use lookup::{Heard, Lookup, keep_telling};
use name::Name;
use record::{Data, Srv, Type};
use resolv_conf::{Environment, ResolvConf};
use watch::Watched;

use crate::sys::memory;

/// The longest time that an answer is said to stand, and the time for an address that was given as
/// such: a day, as in the cache of Unbound.
const MAX_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// How long to go on waiting for one address family when the other is settled. There are networks
/// that drop the question for AAAA: that must not use up the time of whoever wants to connect.
const FAMILY_PATIENCE: Duration = Duration::from_secs(1);

/// Bytes of memory that a lookup may take: messages of 64 KiB, and the records in them.
const LOOKUP: usize = 1 << 20;

/// Where a resolver learns whom to ask.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    /// The path of resolv.conf.
    pub(crate) resolv_conf: PathBuf,
    /// The path of the hosts file.
    pub(crate) hosts: PathBuf,
    /// What else has a say; holds the servers' port.
    pub(crate) environment: Environment,
    /// How often the files are looked at, at most.
    pub(crate) look: Duration,
    /// How long it is remembered whether a server answers queries with EDNS.
    pub(crate) edns_memory: Duration,
}

impl Sources {
    /// Those of this machine and this process, with these intervals.
    pub(crate) fn of_system(look: Duration, edns_memory: Duration) -> Self {
        Self {
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            hosts: PathBuf::from("/etc/hosts"),
            environment: Environment::of_process(),
            look,
            edns_memory,
        }
    }
}

/// What was asked for, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found<T> {
    /// The name that has it: the one asked for, completed from the search list; none if it is not
    /// from DNS.
    pub(crate) owner: Option<Name>,
    /// SRV records, or addresses, IPv4 before IPv6; in the order of the server.
    pub(crate) data: Vec<T>,
    /// For how long it stands.
    pub(crate) ttl: Duration,
    /// Why an earlier name of the search list could not be looked up, if so: it may have others.
    pub(crate) doubt: Option<Error>,
    /// Why there may be more of this name: one of the two address families could not be learned, or
    /// this is a part of an answer ([`Found::is_part`]).
    pub(crate) missing: Option<Error>,
}

impl<T> Found<T> {
    /// Whether there was no more than a part of an answer, because the server truncated it over TCP too.
    pub(crate) fn is_part(&self) -> bool {
        let missing = self.missing.as_ref();
        missing.is_some_and(|error| error.class == Class::Truncated)
    }

    /// Why records of another name than `known` are not to be believed, if so: an earlier name of
    /// the search list was not answered, and may still be the one.
    pub(crate) fn doubt_of(&self, known: Option<&Name>) -> Option<&Error> {
        let is_other = known.is_some() && self.owner.is_some() && self.owner.as_ref() != known;
        self.doubt.as_ref().filter(|_| is_other)
    }

    fn map<U>(self, convert: impl Fn(T) -> Option<U>) -> Found<U> {
        Found {
            owner: self.owner,
            data: self.data.into_iter().filter_map(convert).collect(),
            ttl: self.ttl,
            doubt: self.doubt,
            missing: self.missing,
        }
    }
}

/// The resolver.
pub(crate) struct Resolver {
    conf: Watched<ResolvConf>,
    hosts: Watched<Hosts>,
    random: Random,
    /// Counts questions; with `rotate` it says which server comes first.
    rotation: AtomicUsize,
    edns: Edns,
    edns_memory: Duration,
}

impl Resolver {
    /// Reads the configuration. `random` fills octets from the operating system's entropy.
    pub(crate) fn new(sources: Sources, random: Random) -> Self {
        let now = Instant::now();
        let environment = sources.environment;
        let empty = ResolvConf::parse("", &environment);
        let read = move |_: &_, file: &mut dyn Read| ResolvConf::read(file, &environment);
        let hosts = Hosts::new(sources.hosts.clone());
        Self {
            conf: Watched::new(sources.resolv_conf, sources.look, now, empty, read),
            hosts: Watched::new(sources.hosts, sources.look, now, hosts, |hosts, file| {
                hosts.renewed(file)
            }),
            random,
            rotation: AtomicUsize::new(0),
            edns: Edns::default(),
            edns_memory: sources.edns_memory,
        }
    }

    /// How often resolv.conf or the hosts file was found changed: when the number grows, what was
    /// learned before may not hold any more. Looks at the files if they were not looked at lately.
    pub(crate) fn changes(&self) -> u64 {
        let now = Instant::now();
        self.conf.get(now);
        self.hosts.get(now);
        self.conf.changes().wrapping_add(self.hosts.changes())
    }

    /// The SRV records of `owner`, along the search list unless it ends in a dot.
    pub(crate) fn lookup_srv(&self, owner: &str, deadline: Instant) -> Result<Found<Srv>, Error> {
        let found = self.search(owner, &[Type::Srv], deadline)?;
        Ok(found.map(|data| match data {
            Data::Srv(srv) => Some(srv),
            _ => None,
        }))
    }

    /// The addresses of `host`: itself if it is an address, this machine if it is `localhost`,
    /// from the hosts file if it is there, else from DNS as in [`Resolver::lookup_srv`].
    pub(crate) fn lookup_host(
        &self,
        host: &str,
        deadline: Instant,
    ) -> Result<Found<IpAddr>, Error> {
        if let Some(data) = self.known(host) {
            return Ok(Found {
                owner: None,
                data,
                // When the file changes, `changes` says so.
                ttl: MAX_TTL,
                doubt: None,
                missing: None,
            });
        }
        let types: &[Type] = match self.conf.get(Instant::now()).no_aaaa {
            true => &[Type::A],
            false => &[Type::A, Type::Aaaa],
        };
        let found = self.search(host, types, deadline)?;
        Ok(found.map(|data| match data {
            Data::A(ip) => Some(ip.into()),
            Data::Aaaa(ip) => Some(ip.into()),
            _ => None,
        }))
    }

    /// What needs no server.
    fn known(&self, host: &str) -> Option<Vec<IpAddr>> {
        if let Ok(address) = host.parse() {
            return Some(vec![address]);
        }
        let hosts = self.hosts.get(Instant::now());
        let mut addresses = hosts.addresses(host);
        if Name::from_text(host).is_ok_and(|(name, _)| name.is_localhost()) {
            // The file may choose the family, but not another machine.
            addresses.retain(IpAddr::is_loopback);
            if addresses.is_empty() {
                addresses = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            }
        }
        (!addresses.is_empty()).then_some(addresses)
    }

    /// Asks for `text` and, as the search list says, for the names made from it, until one has
    /// records. A name that does not exist, has no such records or draws an error from the servers
    /// leads on to the next, as with the C library. Where the servers are silent about one that is
    /// made from the list there is no point in asking for more of these; but the name as it was
    /// given is always asked for, and may well be one of a network that they cannot reach. Of the
    /// failures the most telling is returned, and of equals that of the name as it was given.
    fn search(&self, text: &str, types: &[Type], deadline: Instant) -> Result<Found<Data>, Error> {
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
            match self.resolve(&conf, candidate, types, until) {
                Ok(mut found) => {
                    // An open failure outranks definite ones, so if there was one it is this.
                    found.doubt = failure.filter(|error| !error.class.is_definite());
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

    /// Asks for all `types` of `name` at the same time. A failure comes with whether any of them
    /// was answered.
    fn resolve(
        &self,
        conf: &ResolvConf,
        name: &Name,
        types: &[Type],
        deadline: Instant,
    ) -> Result<Found<Data>, (Error, bool)> {
        let mut lookups: Vec<Lookup> = types
            .iter()
            .map(|qtype| Lookup::new(name, *qtype))
            .collect();
        self.ask(conf, &mut lookups, deadline);
        let mut found = Found {
            owner: Some(name.clone()),
            data: Vec::new(),
            ttl: MAX_TTL,
            doubt: None,
            missing: None,
        };
        let mut failure: Option<Error> = None;
        let mut answered = false;
        for lookup in lookups {
            match lookup.into_outcome() {
                Ok((data, ttl, truncated)) => {
                    found.data.extend(data);
                    found.ttl = found.ttl.min(Duration::from_secs(ttl.into()));
                    found.missing = truncated.or(found.missing);
                }
                Err(error) => {
                    answered |= error.class.was_answered();
                    keep_telling(&mut failure, error);
                }
            }
        }
        match failure {
            Some(error) if found.data.is_empty() => Err((error, answered)),
            failure => {
                // That there is a part of an answer comes first: it must not pass for a whole one.
                found.missing = found
                    .missing
                    .or(failure.filter(|error| !error.class.is_definite()));
                Ok(found)
            }
        }
    }

    /// Goes through the servers, as often as configured, until every lookup has its outcome. The last
    /// attempt is without EDNS, for servers and firewalls that drop what has it, or garble it; a single
    /// attempt has a half with and a half without, as long as it is not known which is right.
    fn ask(&self, conf: &ResolvConf, lookups: &mut [Lookup], deadline: Instant) {
        let count = conf.servers.len();
        let first = if conf.rotate {
            self.rotation.fetch_add(1, Ordering::Relaxed)
        } else {
            0
        };
        let mut silent = HashSet::new();
        for rounds_left in (0..conf.attempts).rev() {
            let rotated = conf
                .servers
                .iter()
                .cycle()
                .skip(first.checked_rem(count).unwrap_or(0));
            for (server, after) in rotated.take(count).zip((0..count).rev()) {
                let now = Instant::now();
                let left = deadline.saturating_duration_since(now);
                let share = share(left, after, rounds_left, conf.timeout);
                let end = now.checked_add(share).unwrap_or(deadline);
                let known = self.edns.of(*server, now);
                let tries: &[bool] = match known {
                    Some(false) => &[false],
                    _ if rounds_left > 0 => &[true],
                    _ if conf.attempts > 1 => &[false],
                    Some(true) => &[true],
                    None => &[true, false],
                };
                for (edns, tries_left) in tries.iter().zip((0..tries.len()).rev()) {
                    let now = Instant::now();
                    if lookups.iter().all(Lookup::is_settled) || now >= deadline {
                        return;
                    }
                    let way = Way {
                        server: *server,
                        use_vc: conf.use_vc,
                        edns: *edns,
                        until: match tries_left {
                            0 => end,
                            _ => half_way(now, end),
                        },
                    };
                    let heard = self.ask_server(way, lookups);
                    self.learn(way, heard, known, &mut silent);
                    if lookups.iter().any(Lookup::suffices) && lookups.iter().all(Lookup::is_over) {
                        return;
                    }
                    if !matches!(heard, Heard::Silence | Heard::Garbled) {
                        break;
                    }
                }
            }
        }
    }

    /// Remembers what EDNS does at a server. One that has answered before is given another lookup: a
    /// datagram can be lost, and there are servers that leave records out without EDNS.
    fn learn(&self, way: Way, heard: Heard, known: Option<bool>, silent: &mut HashSet<SocketAddr>) {
        let works = match (heard, way.edns) {
            (Heard::Reply, true) => {
                silent.remove(&way.server);
                Some(true)
            }
            (Heard::Silence, true) => {
                if known.is_none() {
                    silent.insert(way.server);
                }
                None
            }
            (Heard::Reply, false) if silent.contains(&way.server) => Some(false),
            _ => return,
        };
        self.edns
            .note(way.server, works, Instant::now(), self.edns_memory);
    }

    /// Asks one server for all that is open, at the same time, and on for the targets of aliases.
    fn ask_server(&self, way: Way, lookups: &mut [Lookup]) -> Heard {
        let start = |lookup: &Lookup| Exchange::start(way, lookup.question().clone(), self.random);
        let mut hurry = lookups.iter().any(Lookup::suffices);
        let open = lookups.iter_mut().filter(|lookup| !lookup.is_settled());
        let open: Vec<_> = open.map(|lookup| (start(lookup), lookup)).collect();
        let mut heard = Heard::Nothing;
        for (mut exchange, lookup) in open {
            loop {
                let patience = Instant::now().checked_add(FAMILY_PATIENCE);
                if let (true, Some(until)) = (hurry, patience) {
                    exchange.hurry(until);
                }
                let (reply, server) = exchange.finish();
                heard = heard.max(Heard::of(&reply, way.use_vc == server.tcp));
                if !lookup.advance(reply, server) {
                    break;
                }
                exchange = start(lookup);
            }
            hurry |= lookup.suffices();
        }
        heard
    }
}

/// How long one server may take, which has `after` servers behind it in this round and `rounds_left`
/// rounds. A deadline that does not allow every server its full timeout is shared, so that one that
/// is dead does not use up the time of the others, nor a datagram that is lost that of all further
/// rounds, which have one share.
fn share(left: Duration, after: usize, rounds_left: u32, timeout: Duration) -> Duration {
    let shares = u32::try_from(after)
        .unwrap_or(u32::MAX)
        .saturating_add(1)
        .saturating_add(rounds_left.min(1));
    left.checked_div(shares).unwrap_or(left).min(timeout)
}

/// The middle of the time that is left: the other half is for what comes after.
fn half_way(now: Instant, deadline: Instant) -> Instant {
    let half = deadline.saturating_duration_since(now).checked_div(2);
    half.and_then(|half| now.checked_add(half))
        .unwrap_or(deadline)
}
