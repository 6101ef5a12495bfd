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
mod listen;
pub(crate) mod listing;
mod members;
mod problems;
mod proofs;
mod refreshes;
pub(crate) mod roots;
mod side_by_side;
mod srv;
mod start;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::dns::Resolver;
use crate::endpoint::pool::{Change, Pool};
use crate::endpoint::{Endpoint, Gate};
use crate::log;
use crate::loop_guard;
use crate::sys::random;
use crate::sys::syscall::{self, PollFd};
use crate::sys::waker::Waker;

use hosts::{Freshness, Hosts};
pub(crate) use listen::listen_address;
pub(crate) use members::{Identity, List, Source, identity_of};
use members::{Members, keep};
pub(crate) use problems::INSECURE;
use proofs::audit;
pub(crate) use refreshes::Refreshes;
pub(crate) use side_by_side::side_by_side;
use srv::Target;
pub(crate) use start::{Found, NothingFound};

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

/// How often endpoints that serve have to prove again who they are.
const AUDIT: Duration = Duration::from_secs(5 * 60);

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
        // Since the last refresh somebody has asked for one.
        let mut asked = false;
        loop {
            let watch = match &self.source {
                Source::File { file, .. } => file.pause(),
                Source::List(_) | Source::Srv { .. } => WATCH,
            };
            let woken = wait(pool.distress(), self.next.min(Instant::now() + watch));
            asked |= woken;
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
            self.leave_out_loops(&mut endpoints, listeners, std::mem::take(&mut asked));
            self.tell_problems();
            // A good answer is never empty; without one, all that is known stays.
            if endpoints.is_empty() {
                continue;
            }
            if self.open {
                keep(&mut endpoints, pool.endpoints());
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

    /// Takes out the endpoints that are this gateway. Each is logged once, and again if somebody has
    /// `asked`.
    fn leave_out_loops(
        &mut self,
        endpoints: &mut Vec<Endpoint>,
        listeners: &[SocketAddr],
        asked: bool,
    ) {
        let known = std::mem::take(&mut self.looped);
        endpoints.retain(|endpoint| {
            if !loop_guard::serves(listeners, endpoint.addr) {
                return true;
            }
            let looped = problems::looped(endpoint);
            if asked || !known.contains(&looped) {
                log::warn(
                    "discovery",
                    "endpoint is this gateway itself, left out",
                    &[
                        ("address", endpoint.addr.into()),
                        ("endpoint", endpoint.name.as_str().into()),
                    ],
                );
            }
            self.looped.push(looped);
            false
        });
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
