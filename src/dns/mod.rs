//! A stub resolver: SRV, A and AAAA from the servers of resolv.conf(5), the hosts file first.
//!
//! Takes the place of `getaddrinfo`, which knows no SRV, no deadline and, in a static binary, no
//! name service modules. It asks recursive servers and believes the ones it is told to ask; it
//! does not validate DNSSEC and caches nothing: with each answer comes the time that it is good
//! for, and the caller remembers. `localhost` and names below it never leave the machine.
//!
//! [`Resolver`] is used from any number of threads at once; no lock is held while it waits for
//! anything. `name`, `message` and `answer` are pure, and `resolv_conf` is but for the file that it is given;
//! `exchange` talks to servers; `watch` and `hosts` read files.
#![deny(
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

pub(crate) mod answer;
mod error;
mod exchange;
pub(crate) mod hosts;
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

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use answer::{MAX_ALIASES, Step, interpret};
pub(crate) use error::{Class, Error};
use exchange::{Exchange, Random, Way};
use hosts::Hosts;
use message::Question;
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
}

impl Sources {
    /// Those of this machine and this process, files looked at no more often than once in `look`.
    pub(crate) fn of_system(look: Duration) -> Self {
        Self {
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            hosts: PathBuf::from("/etc/hosts"),
            environment: Environment::of_process(),
            look,
        }
    }
}

/// The SRV records of a service, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Services {
    /// The name that has them: the one asked for, completed from the search list.
    pub(crate) owner: Name,
    /// Why an earlier name of the search list could not be looked up, if so: it may have others.
    pub(crate) doubt: Option<Error>,
    /// The records in the order of the server.
    pub(crate) records: Vec<Srv>,
    /// For how long they stand.
    pub(crate) ttl: Duration,
}

/// The addresses of a host, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// IPv4 before IPv6, each in the order of the server.
    pub(crate) addresses: Vec<IpAddr>,
    /// As in [`Services`]; no owner if the addresses are not from DNS.
    pub(crate) owner: Option<Name>,
    pub(crate) doubt: Option<Error>,
    /// For how long they stand.
    pub(crate) ttl: Duration,
    /// Why one of the two families could not be learned, if so: there may be more addresses.
    pub(crate) missing: Option<Error>,
}

/// The resolver.
pub(crate) struct Resolver {
    conf: Watched<ResolvConf>,
    hosts: Watched<Hosts>,
    random: Random,
    /// Counts questions; with `rotate` it says which server comes first.
    rotation: AtomicUsize,
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
    pub(crate) fn lookup_srv(&self, owner: &str, deadline: Instant) -> Result<Services, Error> {
        let found = self.search(owner, &[Type::Srv], deadline)?;
        let record = |data| match data {
            Data::Srv(srv) => Some(srv),
            _ => None,
        };
        Ok(Services {
            owner: found.owner,
            doubt: found.doubt,
            records: found.data.into_iter().filter_map(record).collect(),
            ttl: found.ttl,
        })
    }

    /// The addresses of `host`: itself if it is an address, this machine if it is `localhost`,
    /// from the hosts file if it is there, else from DNS as in [`Resolver::lookup_srv`].
    pub(crate) fn lookup_host(&self, host: &str, deadline: Instant) -> Result<Addresses, Error> {
        if let Some((addresses, ttl)) = self.known(host) {
            return Ok(Addresses {
                addresses,
                owner: None,
                doubt: None,
                ttl,
                missing: None,
            });
        }
        let types: &[Type] = match self.conf.get(Instant::now()).no_aaaa {
            true => &[Type::A],
            false => &[Type::A, Type::Aaaa],
        };
        let found = self.search(host, types, deadline)?;
        let address = |data| match data {
            Data::A(ip) => Some(IpAddr::from(ip)),
            Data::Aaaa(ip) => Some(IpAddr::from(ip)),
            _ => None,
        };
        Ok(Addresses {
            addresses: found.data.into_iter().filter_map(address).collect(),
            owner: Some(found.owner),
            doubt: found.doubt,
            ttl: found.ttl,
            missing: found.missing,
        })
    }

    /// What needs no server.
    fn known(&self, host: &str) -> Option<(Vec<IpAddr>, Duration)> {
        if let Ok(address) = host.parse() {
            return Some((vec![address], MAX_TTL));
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
        // When the file changes, `changes` says so.
        (!addresses.is_empty()).then_some((addresses, MAX_TTL))
    }

    /// Asks for `text` and, as the search list says, for the names made from it, until one has
    /// records. A name that does not exist, has no such records or draws an error from the servers
    /// leads on to the next, as with the C library. Where the servers are silent about one that is
    /// made from the list there is no point in asking for more of these; but the name as it was
    /// given is always asked for, and may well be one of a network that they cannot reach. Of the
    /// failures the most telling is returned, and of equals that of the name as it was given.
    fn search(&self, text: &str, types: &[Type], deadline: Instant) -> Result<Found, Error> {
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
    ) -> Result<Found, (Error, bool)> {
        let mut lookups: Vec<Lookup> = types
            .iter()
            .map(|qtype| Lookup::new(name, *qtype))
            .collect();
        self.ask(conf, &mut lookups, deadline);
        let mut found = Found {
            owner: name.clone(),
            data: Vec::new(),
            ttl: MAX_TTL,
            missing: None,
            doubt: None,
        };
        let mut failure: Option<Error> = None;
        let mut answered = false;
        for lookup in lookups {
            match lookup.into_outcome() {
                Ok((data, ttl)) => {
                    found.data.extend(data);
                    found.ttl = found.ttl.min(Duration::from_secs(ttl.into()));
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
                found.missing = failure.filter(|error| !error.class.is_definite());
                Ok(found)
            }
        }
    }

    /// Goes through the servers, as often as configured, until every lookup has its outcome.
    fn ask(&self, conf: &ResolvConf, lookups: &mut [Lookup], deadline: Instant) {
        let count = conf.servers.len();
        let first = if conf.rotate {
            self.rotation.fetch_add(1, Ordering::Relaxed)
        } else {
            0
        };
        for rounds_left in (0..conf.attempts).rev() {
            let rotated = conf
                .servers
                .iter()
                .cycle()
                .skip(first.checked_rem(count).unwrap_or(0));
            for (server, after) in rotated.take(count).zip((0..count).rev()) {
                let hurry = lookups.iter().any(Lookup::suffices);
                let mut open: Vec<&mut Lookup> = lookups
                    .iter_mut()
                    .filter(|lookup| lookup.outcome.is_none())
                    .collect();
                let now = Instant::now();
                if open.is_empty() || now >= deadline {
                    return;
                }
                let left = deadline.saturating_duration_since(now);
                let share = share(left, after, rounds_left, conf.timeout);
                let way = Way {
                    server: *server,
                    use_vc: conf.use_vc,
                    // The last round is for servers and firewalls that drop what has EDNS, or
                    // garble it.
                    edns: rounds_left > 0 || conf.attempts == 1,
                    until: now.checked_add(share).unwrap_or(deadline),
                };
                self.ask_server(way, &mut open, hurry);
                if lookups.iter().any(Lookup::suffices) && lookups.iter().all(Lookup::is_over) {
                    return;
                }
            }
        }
    }

    /// Asks one server for all that is open, at the same time, and on for the targets of aliases.
    fn ask_server(&self, way: Way, open: &mut [&mut Lookup], mut hurry: bool) {
        let start = |lookup: &Lookup| Exchange::start(way, lookup.question.clone(), self.random);
        let exchanges: Vec<Exchange> = open.iter().map(|lookup| start(lookup)).collect();
        for (lookup, mut exchange) in open.iter_mut().zip(exchanges) {
            loop {
                let patience = Instant::now().checked_add(FAMILY_PATIENCE);
                if let (true, Some(until)) = (hurry, patience) {
                    exchange.hurry(until);
                }
                if !lookup.advance(exchange) {
                    break;
                }
                exchange = start(lookup);
            }
            hurry |= lookup.suffices();
        }
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

/// What a search brings.
struct Found {
    owner: Name,
    data: Vec<Data>,
    ttl: Duration,
    missing: Option<Error>,
    doubt: Option<Error>,
}

/// One question on its way along aliases and servers.
struct Lookup {
    /// What is asked for at present.
    question: Question,
    /// What was asked for at first.
    owner: Name,
    aliases_left: u8,
    /// The shortest TTL of the aliases so far.
    ttl: u32,
    outcome: Option<Result<(Vec<Data>, u32), Error>>,
    /// The most telling failure of a server so far.
    failure: Option<Error>,
}

impl Lookup {
    fn new(name: &Name, qtype: Type) -> Self {
        Self {
            question: Question {
                name: name.clone(),
                qtype,
            },
            owner: name.clone(),
            aliases_left: MAX_ALIASES,
            ttl: u32::MAX,
            outcome: None,
            failure: None,
        }
    }

    /// Takes in what `exchange` brings; true if that is an alias, whose target is now the question.
    fn advance(&mut self, exchange: Exchange) -> bool {
        let (message, server) = match exchange.finish() {
            Ok(reply) => reply,
            Err(failure) => {
                let mut error = self.error(failure.class);
                error.server = Some(failure.server);
                keep_telling(&mut self.failure, error);
                return false;
            }
        };
        match interpret(&self.question, &message, &mut self.aliases_left) {
            Ok(Step::Found(data, ttl)) => self.outcome = Some(Ok((data, ttl.min(self.ttl)))),
            Ok(Step::Alias(target, ttl)) => {
                self.ttl = ttl.min(self.ttl);
                self.question.name = target;
                return true;
            }
            Err(failure) => {
                let mut error = self.error(failure.class);
                error.server = Some(server);
                error.negative_ttl = failure.negative_ttl.map(|ttl| ttl.min(self.ttl));
                // Another server will not know better, nor untie a chain of aliases.
                if error.class.is_definite() || error.class == Class::AliasChain {
                    self.outcome = Some(Err(error));
                } else {
                    keep_telling(&mut self.failure, error);
                }
            }
        }
        false
    }

    /// Whether the other family is worth a short wait only: there are addresses, or there is no
    /// such name (RFC 8020). That AAAA has none proves nothing, since there are servers that say
    /// so of names with A alone (RFC 4074 section 4.2).
    fn suffices(&self) -> bool {
        match &self.outcome {
            Some(Ok(_)) => true,
            Some(Err(error)) => error.class == Class::NxDomain && self.question.qtype != Type::Aaaa,
            None => false,
        }
    }

    /// Whether it is settled, or has met with nothing but silence: enough if the other family
    /// suffices.
    fn is_over(&self) -> bool {
        let silence = |error: &Error| error.class == Class::Timeout;
        self.outcome.is_some() || self.failure.as_ref().is_some_and(silence)
    }

    /// What came of it; without a word from any server, that the time was up.
    fn into_outcome(self) -> Result<(Vec<Data>, u32), Error> {
        let timeout = self.error(Class::Timeout);
        self.outcome
            .unwrap_or_else(|| Err(self.failure.unwrap_or(timeout)))
    }

    fn error(&self, class: Class) -> Error {
        Error {
            owner: self.owner.to_string(),
            qtype: self.question.qtype,
            server: None,
            class,
            negative_ttl: None,
        }
    }
}

/// Replaces `known` by `error` if that tells more.
fn keep_telling(known: &mut Option<Error>, error: Error) {
    if known
        .as_ref()
        .is_none_or(|known| error.class.outranks(known.class))
    {
        *known = Some(error);
    }
}
