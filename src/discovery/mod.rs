//! From what the operator configured to the addresses that are dialled, for as long as
//! the gateway runs.
//!
//! Members come from SRV records, from a list or from a file with a list; each address of
//! each member becomes an endpoint. Records and names are asked for again when their time to
//! live is over, when every endpoint is failing, when the resolver's files change and when
//! the operator says so (SIGHUP). Only a good answer changes anything: what cannot be learned
//! anew stays as it was. An address that would lead back to this gateway is left out.
//!
//! Where members have to be authenticated (`auth`), they are at start, when they are new
//! or come back (by the pool and the monitor, through its gate), and, from here, at each
//! change of the set and every few minutes.
//!
//! One thread does all of this and owns all of its state.

pub(crate) mod auth;
pub(crate) mod file;
mod hosts;
pub(crate) mod listing;
mod members;
mod problems;
mod refreshes;
pub(crate) mod roots;
mod srv;

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::addr::{Host, HostPort};
use crate::dns::Resolver;
use crate::endpoint::pool::{Change, Pool};
use crate::endpoint::{Endpoint, Gate, Proof};
use crate::log;
use crate::loop_guard;
use crate::sync::lock;
use crate::sys::random;
use crate::sys::syscall::{self, PollFd};
use crate::sys::waker::Waker;

use hosts::{Freshness, Hosts};
pub(crate) use members::{Identity, List, Source, identity_of};
use members::{MAX_ENDPOINTS, Members, literal};
pub(crate) use problems::INSECURE;
pub(crate) use refreshes::Refreshes;
use srv::Target;

/// No answer is asked for again sooner: a TTL of 0 or 1 must not become a flood.
const MIN_REFRESH: Duration = Duration::from_secs(5);
/// And none later: a TTL of a day must not hide a change for a day.
const MAX_REFRESH: Duration = Duration::from_secs(5 * 60);
/// The longest pause after a refresh that failed; it begins at [`MIN_REFRESH`] and doubles.
const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// However often it is asked for, a refresh begins this long after the last at the earliest.
const MIN_PAUSE: Duration = Duration::from_secs(1);
/// How often the resolver's files are looked at: a little more than its own five seconds, so
/// that no look comes too early and is put off to the next.
const WATCH: Duration = Duration::from_millis(5100);
/// How long lookups may take. With the defaults of resolv.conf(5), 5 s a server, this is
/// time for the third server to answer where the first two are dead.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a start with configured names waits for them: there may be others that
/// serve meanwhile.
const START_PATIENCE: Duration = Duration::from_secs(5);
/// How often endpoints that serve have to prove again who they are.
const AUDIT: Duration = Duration::from_secs(5 * 60);
/// Lookups that run at the same time, each in a thread.
const SIDE_BY_SIDE: usize = 16;

/// What a look at the source found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) endpoints: Vec<Endpoint>,
    /// Why there are none, if there are none.
    pub(crate) nothing: Option<String>,
    /// Members that are not used because they speak no TLS.
    pub(crate) insecure: Vec<String>,
    /// Names that have no address, or not all of them, and why.
    pub(crate) unresolved: Vec<String>,
}

/// What a start begins with.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) endpoints: Vec<Endpoint>,
    /// Those that have proven who they are, and by what.
    pub(crate) proven: Vec<(Endpoint, Proof)>,
}

/// Discovery gave no endpoint that may serve, and nothing else was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NothingFound(String);

impl fmt::Display for NothingFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NothingFound {}

/// Follows the members of one source.
pub(crate) struct Discovery {
    resolver: Resolver,
    source: Source,
    hosts: Hosts,
    /// What the resolver's files were when they were last asked by.
    files: u64,
    /// Refreshes in a row that were not complete.
    failures: u32,
    next: Instant,
    /// SRV records have given endpoints: from then on the last good ones stay, whatever
    /// comes, and `--endpoints` are no alternative any more.
    found: bool,
    /// `--endpoints` serve because nothing else may.
    falling_back: bool,
    /// The last refresh left open which members there are.
    open: bool,
    /// Members that records name and that may not serve, because they speak no TLS.
    insecure: Vec<Target>,
    /// Endpoints that are this gateway, in words.
    looped: Vec<String>,
    /// How many endpoints there were at the last look, more than are used among them.
    counted: usize,
    /// The same of the fallback.
    counted_fallback: usize,
    /// When the endpoints that have proven who they are have to do so again.
    audit: Instant,
    refreshes: Arc<Refreshes>,
}

impl Discovery {
    pub(crate) fn new(source: Source, resolver: Resolver) -> Self {
        Self {
            files: resolver.changes(),
            resolver,
            source,
            hosts: Hosts::default(),
            failures: 0,
            next: Instant::now(),
            found: false,
            falling_back: false,
            open: false,
            insecure: Vec::new(),
            looped: Vec::new(),
            counted: 0,
            counted_fallback: 0,
            audit: Instant::now() + AUDIT,
            refreshes: Arc::default(),
        }
    }

    /// Where it counts what it does.
    pub(crate) fn refreshes(&self) -> Arc<Refreshes> {
        Arc::clone(&self.refreshes)
    }

    /// The endpoints that there are, for somebody who only looks.
    pub(crate) fn find(&mut self) -> Found {
        let endpoints = self.refresh(PATIENCE);
        let mut unresolved = match &self.source {
            Source::Srv { services, .. } => services.failures(),
            Source::List(_) | Source::File { .. } => Vec::new(),
        };
        unresolved.extend(self.hosts.failures());
        Found {
            nothing: endpoints.is_empty().then(|| self.nothing_found()),
            endpoints,
            insecure: self.insecure.iter().map(ToString::to_string).collect(),
            unresolved,
        }
    }

    /// Why there is no endpoint, and what to do about it.
    fn nothing_found(&self) -> String {
        let (services, identity) = match &self.source {
            Source::Srv {
                services, identity, ..
            } => (services, identity.is_some()),
            Source::List(_) => return self.no_address("--endpoints"),
            Source::File { file, .. } => {
                return self.no_address(&file.path().display().to_string());
            }
        };
        let targets = services.targets(identity).0.into_iter();
        let unresolved: Vec<String> = targets
            .filter_map(|target| {
                let reason = self.hosts.failure(&target.host)?;
                Some(format!("{target}: {reason}"))
            })
            .collect();
        if unresolved.is_empty() {
            return services.nothing_found(identity);
        }
        format!(
            "no endpoint found: what {} names has no address: {}; publish the addresses of these names",
            services.owners().join(" and "),
            unresolved.join("; ")
        )
    }

    fn no_address(&self, list: &str) -> String {
        format!(
            "no endpoint found: no name in {list} has an address: {}; correct the names, or see that \
             the servers in /etc/resolv.conf know them",
            self.hosts.failures().join("; ")
        )
    }

    /// The endpoints that serve if no others may.
    pub(crate) fn fallback(&mut self) -> Vec<Endpoint> {
        match &self.source {
            Source::Srv {
                fallback: Some(list),
                ..
            } => Members::List(list).endpoints(&self.hosts, &mut self.counted_fallback),
            _ => Vec::new(),
        }
    }

    /// The endpoints to start with; those that have to prove who they are have been asked,
    /// all at the same time and each within `timeout`.
    ///
    /// # Errors
    /// If none of them may serve, but for a list whose names cannot be resolved: that is
    /// logged and tried again.
    pub(crate) fn start(
        &mut self,
        gate: Option<&dyn Gate>,
        timeout: Duration,
    ) -> Result<Start, NothingFound> {
        let patience = if self.source.is_listed() {
            START_PATIENCE
        } else {
            PATIENCE
        };
        let mut endpoints = self.refresh(patience);
        self.found = !endpoints.is_empty();
        let (mut proven, mut refused) = prove(&endpoints, gate, timeout);
        let free =
            |endpoints: &[Endpoint]| endpoints.iter().any(|endpoint| endpoint.identity.is_none());
        if !free(&endpoints) && proven.is_empty() {
            let found = endpoints.len();
            self.fall_back(&mut endpoints);
            let others = endpoints.get(found..).unwrap_or_default();
            let (more_proven, more_refused) = prove(others, gate, timeout);
            proven.extend(more_proven);
            refused.extend(more_refused);
        }
        self.tell_problems();
        let patient = self.source.is_listed() && !self.source.authenticates();
        if endpoints.is_empty() && !patient {
            return Err(NothingFound(self.nothing_found()));
        }
        if !free(&endpoints) && proven.is_empty() && !endpoints.is_empty() {
            return Err(NothingFound(format!(
                "no endpoint could be authenticated: {}",
                refused.join("; ")
            )));
        }
        Ok(Start { endpoints, proven })
    }

    /// Keeps `pool` in step for ever. A call of `wake` asks for a refresh; `removed` is
    /// told the addresses that are endpoints no more.
    pub(crate) fn run(
        mut self,
        pool: &Pool,
        gate: Option<&dyn Gate>,
        timeout: Duration,
        listeners: &[SocketAddr],
        removed: impl Fn(Vec<SocketAddr>),
    ) -> ! {
        let mut last = Instant::now();
        loop {
            let watch = match &self.source {
                Source::File { file, .. } => file.pause(),
                Source::List(_) | Source::Srv { .. } => WATCH,
            };
            let woken = wait(pool.distress(), self.next.min(Instant::now() + watch));
            let relisted = self.source.look(woken);
            self.tell_problems();
            let now = Instant::now();
            if gate.is_some() && now >= self.audit {
                self.audit = now + random::jittered(AUDIT);
                audit(pool, gate, timeout);
            }
            let files = self.resolver.changes();
            if woken || relisted || files != self.files {
                self.next = now.min(self.next).max(last + MIN_PAUSE);
            }
            self.files = files;
            if now < self.next {
                continue;
            }
            let mut endpoints = self.refresh(PATIENCE);
            last = Instant::now();
            self.found |= !endpoints.is_empty();
            let proven = pool.authenticated();
            let serves = |endpoint: &Endpoint| {
                endpoint.identity.is_none()
                    || proven.iter().any(|proven| proven.addr == endpoint.addr)
            };
            if endpoints.iter().any(serves) {
                self.falling_back = false;
            } else if self.falling_back || !self.found {
                self.fall_back(&mut endpoints);
            }
            self.looped.clear();
            endpoints.retain(|endpoint| {
                let looped = loop_guard::serves(listeners, endpoint.addr);
                if looped {
                    self.looped.push(problems::looped(endpoint));
                    log::warn(
                        "discovery",
                        "endpoint is this gateway itself, left out",
                        &[
                            ("address", endpoint.addr.into()),
                            ("endpoint", endpoint.name.as_str().into()),
                        ],
                    );
                }
                !looped
            });
            self.tell_problems();
            // A good answer is never empty; without one, all that is known stays.
            if endpoints.is_empty() {
                continue;
            }
            if self.open {
                let known = |old: &Endpoint| endpoints.iter().all(|new| new.addr != old.addr);
                // Or they would be more each time that others are found.
                let room = MAX_ENDPOINTS.saturating_sub(endpoints.len());
                let kept = pool.endpoints().into_iter().filter(known).take(room);
                endpoints.extend(kept.collect::<Vec<Endpoint>>());
            }
            let change = pool.replace(endpoints);
            if !change.is_empty() {
                log_change(&change);
                audit(pool, gate, timeout);
            }
            if !change.removed.is_empty() {
                removed(change.removed);
            }
            if pool.census().active == 0 {
                self.next = self.next.min(last + MIN_REFRESH);
            }
        }
    }

    /// Adds the list that was given for the case that nothing else may serve.
    fn fall_back(&mut self, endpoints: &mut Vec<Endpoint>) {
        let Source::Srv {
            fallback: Some(_), ..
        } = &self.source
        else {
            return;
        };
        if !self.falling_back {
            let reason = if endpoints.is_empty() {
                self.nothing_found()
            } else {
                "no member that they name could be authenticated".to_owned()
            };
            log::warn(
                "discovery",
                "SRV records give no endpoint, using --endpoints until they do",
                &[("reason", reason.into())],
            );
        }
        self.falling_back = true;
        self.next = self
            .next
            .min(Instant::now() + random::jittered(MIN_REFRESH));
        endpoints.extend(self.fallback());
    }

    /// Asks for everything again and sets the time of the next refresh.
    fn refresh(&mut self, patience: Duration) -> Vec<Endpoint> {
        let deadline = Instant::now() + patience;
        let mut freshness = Freshness::TIMELESS;
        let mut names = HashSet::new();
        let mut adrift = Vec::new();
        let members = match &mut self.source {
            Source::List(list) | Source::File { list, .. } => Members::List(list),
            Source::Srv {
                services,
                identity,
                fallback,
            } => {
                // Half of the time is for the addresses: a service that nobody answers for
                // must not use it up.
                let deadline = deadline.checked_sub(patience / 2).unwrap_or(deadline);
                services.refresh(&self.resolver, deadline, &mut freshness);
                if let Some(list) = fallback {
                    let members = Members::List(list);
                    names.extend(members.names());
                    adrift.extend(members.adrift());
                }
                let (targets, insecure) = services.targets(identity.is_some());
                if !insecure.is_empty() && insecure != self.insecure {
                    problems::log_insecure(&insecure);
                }
                self.insecure = insecure;
                Members::Targets { targets, identity }
            }
        };
        names.extend(members.names());
        adrift.extend(members.adrift());
        self.hosts
            .refresh(&self.resolver, &names, &adrift, deadline, &mut freshness);
        let endpoints = members.endpoints(&self.hosts, &mut self.counted);
        self.open = freshness.open;
        self.refreshes.add(freshness.complete);
        self.failures = if freshness.complete && !self.falling_back {
            0
        } else {
            self.failures.saturating_add(1)
        };
        let backoff = MIN_REFRESH
            .saturating_mul(1 << self.failures.saturating_sub(1).min(8))
            .min(MAX_BACKOFF);
        let ttl = freshness
            .ttl
            .unwrap_or(MAX_REFRESH)
            .clamp(MIN_REFRESH, MAX_REFRESH);
        let delay = if self.failures == 0 {
            ttl
        } else {
            backoff.min(ttl)
        };
        self.next = Instant::now() + random::jittered(delay);
        endpoints
    }
}

/// Has endpoints prove who they are, side by side: those that have, and why the others have
/// not.
fn prove(
    endpoints: &[Endpoint],
    gate: Option<&dyn Gate>,
    timeout: Duration,
) -> (Vec<(Endpoint, Proof)>, Vec<String>) {
    let asked: Vec<&Endpoint> = endpoints
        .iter()
        .filter(|endpoint| endpoint.identity.is_some())
        .collect();
    let Some(gate) = gate else {
        return (Vec::new(), Vec::new());
    };
    let outcomes = side_by_side(&asked, |endpoint| gate.admit(endpoint, timeout));
    let (mut proven, mut refused) = (Vec::new(), Vec::new());
    for (endpoint, outcome) in asked.into_iter().zip(outcomes) {
        match outcome {
            Ok(proof) => proven.push((endpoint.clone(), proof)),
            Err(error) => refused.push(error.to_string()),
        }
    }
    (proven, refused)
}

/// Has the endpoints that serve prove again who they are: a certificate may have expired,
/// an address may have changed hands.
fn audit(pool: &Pool, gate: Option<&dyn Gate>, timeout: Duration) {
    let Some(gate) = gate else { return };
    let started = Instant::now();
    let serving = pool.authenticated();
    let outcomes = side_by_side(&serving, |endpoint| gate.admit(endpoint, timeout));
    for (endpoint, outcome) in serving.iter().zip(outcomes) {
        match outcome {
            Ok(proof) => pool.reaffirmed(endpoint.addr, proof),
            Err(error) => pool.failed(endpoint.addr, started, &error),
        }
    }
}

/// The address to bind for `--listen-addr`: a wildcard takes both families where the
/// host has both, as the reference does; of a name's addresses an IPv4 one is preferred.
pub(crate) fn listen_address(listen: &HostPort, resolver: &Resolver) -> io::Result<SocketAddr> {
    let wildcard = match &listen.host {
        Host::Wildcard => true,
        Host::Ip(ip) => ip.is_unspecified(),
        Host::Name(name) => {
            let deadline = Instant::now() + PATIENCE;
            let addresses = resolver
                .lookup_host(name, deadline)
                .map_err(|error| io::Error::other(error.to_string()))?
                .addresses;
            let preferred = addresses
                .iter()
                .find(|ip| ip.is_ipv4())
                .or(addresses.first());
            return preferred
                .map(|ip| SocketAddr::new(*ip, listen.port))
                .ok_or_else(|| io::ErrorKind::NotFound.into());
        }
        Host::Ip6Zone(..) => false,
    };
    if !wildcard {
        return literal(listen)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no interface of that name"));
    }
    let has_ipv6 = std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok();
    let ip = if has_ipv6 {
        IpAddr::from([0; 16])
    } else {
        IpAddr::from([0; 4])
    };
    Ok(SocketAddr::new(ip, listen.port))
}

/// Waits for a call or for a time; tells whether it was a call.
fn wait(wake: &Waker, until: Instant) -> bool {
    let mut fds = [PollFd::readable(wake.fd())];
    let timeout = until.saturating_duration_since(Instant::now());
    if let Err(error) = syscall::wait(&mut fds, Some(timeout)) {
        log::error(
            "discovery",
            "cannot poll",
            &[("error", error.to_string().into())],
        );
        std::thread::sleep(MIN_PAUSE);
    }
    let called = fds.iter().any(PollFd::is_ready);
    if called {
        // Only then: a call that comes after the poll is left for the next one.
        wake.clear();
    }
    called
}

/// Logs what a new set changed, one line a change.
pub(crate) fn log_change(change: &Change) {
    if !change.is_empty() {
        let texts =
            |addrs: &[SocketAddr]| addrs.iter().map(ToString::to_string).collect::<Vec<_>>();
        log::info(
            "discovery",
            "endpoints changed",
            &[
                ("added", texts(&change.added).into()),
                ("removed", texts(&change.removed).into()),
            ],
        );
    }
}

/// Does the same for all `items`, up to [`SIDE_BY_SIDE`] at a time; results in order. The
/// caller works too, so that all is done even where no thread can be had.
pub(crate) fn side_by_side<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let worker = || {
        while let Some((index, item)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            items.get(index).map(|item| (index, item))
        } {
            let result = work(item);
            lock(&results).push((index, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..items.len().min(SIDE_BY_SIDE) {
            let thread = std::thread::Builder::new().name("resolve".to_owned());
            // One less is slower, no more.
            let _ = thread.spawn_scoped(scope, worker);
        }
        worker();
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_unstable_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}
