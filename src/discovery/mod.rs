//! From what the operator configured to the addresses that are dialled, for as long as
//! the gateway runs.
//!
//! Members come from SRV records, from a list or from a file with a list; each address of
//! each member becomes an endpoint. Records and names are asked for again when their time to
//! live is over, when every endpoint is failing, when the resolver's files change and when
//! the operator says so (SIGHUP). Only a good answer changes anything: what cannot be learned
//! anew stays as it was. An address that would lead back to this gateway is ignored.
//!
//! Where members have to be authenticated (`auth`), they are at start, when they are new
//! or come back (by the pool and the monitor, through its gate), and, from here, at each
//! change of the set or of the `authorities`, and every few minutes.
//!
//! One thread does all of this and owns all of its state.

pub(crate) mod auth;
pub(crate) mod authorities;
pub(crate) mod file;
mod listen;
pub(crate) mod listing;
mod member;
mod members;
mod parallel;
mod polled;
mod problems;
mod reauthenticate;
mod refreshes;
mod removed;
mod resolved;
pub(crate) mod roots;
mod schedule;
mod srv;
mod start;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::dns::Resolver;
use crate::endpoint::pool::{Change, Pool};
use crate::endpoint::{Endpoint, Gate};
use crate::log;
use crate::loop_guard;
use crate::sys::Plain;
use crate::sys::memory;
use crate::sys::random;
use crate::sys::syscall::{self, PollFd};
use crate::sys::waker::Waker;
use crate::times::Times;

use authorities::Authorities;
pub(crate) use listen::listen_address;
pub(crate) use members::{Identity, Source, given, identity_of};
use members::{endpoints, keep, names, unresolvable_zones};
pub(crate) use parallel::{limit_parallel, parallel_map};
pub(crate) use problems::INSECURE;
use problems::{Subject, Troubles};
use reauthenticate::{reauthenticate_all, reauthenticate_serving};
pub(crate) use refreshes::Refreshes;
use removed::RemovedEndpoints;
use resolved::{Freshness, ResolvedHosts};
use schedule::{Outcome, Schedule};
pub(crate) use start::Found;

/// How long lookups may take. With the defaults of resolv.conf(5), 5 s a server, this is
/// time for the third server to answer where the first two are dead.
const PATIENCE: Duration = Duration::from_secs(15);

/// Follows the members of one source.
pub(crate) struct Discovery {
    resolver: Resolver,
    source: Source,
    /// Those that members are authenticated by, if they are.
    authorities: Option<Authorities>,
    times: Times,
    schedule: Schedule,
    hosts: ResolvedHosts,
    /// What the resolver's files were when they were last asked by.
    files: u64,
    /// Since the last refresh somebody has asked for one.
    asked: bool,
    /// How the next refresh goes is to be logged: an operator has asked for it.
    to_tell: bool,
    /// SRV records have given endpoints: from then on the last good ones stay, whatever
    /// comes, and `--endpoints` are no alternative any more.
    has_found: bool,
    /// Why `--endpoints` serve, if they do because nothing else may.
    falling_back: Option<String>,
    /// How many endpoints there were at the last refresh, more than are used among them.
    found: usize,
    /// Endpoints that have left, until it is certain that they were removed.
    removed: RemovedEndpoints,
    /// Endpoints that are this gateway.
    looped: Vec<Endpoint>,
    /// Why the last refresh failed as a whole, if it did.
    failed: Option<Failed>,
    /// Why the last wait failed.
    poll_error: Option<String>,
    /// What there is trouble with, as far as it is logged.
    reported: Troubles,
    refreshes: Arc<Refreshes>,
}

/// Why a refresh failed as a whole.
enum Failed {
    Panicked,
    /// The host gave no memory for it; in words.
    Refused(String),
}

/// What discovery keeps in step.
struct Served<'a> {
    pool: &'a Pool,
    gate: Option<&'a dyn Gate>,
    /// How long an authentication may take.
    timeout: Duration,
    listeners: &'a [SocketAddr],
    /// Is given the addresses that were certainly removed.
    removed: &'a dyn Fn(Vec<SocketAddr>),
}

impl Discovery {
    pub(crate) fn new(source: Source, resolver: Resolver, times: Times) -> Self {
        Self {
            files: resolver.changes(),
            resolver,
            times,
            schedule: Schedule::new(Instant::now(), times, source.authenticates()),
            source,
            authorities: None,
            hosts: ResolvedHosts::default(),
            asked: false,
            to_tell: false,
            has_found: false,
            falling_back: None,
            found: 0,
            removed: RemovedEndpoints::default(),
            looped: Vec::new(),
            failed: None,
            poll_error: None,
            reported: Troubles::default(),
            refreshes: Arc::default(),
        }
    }

    /// The same, following these authorities too.
    pub(crate) fn trusting(self, authorities: Option<Authorities>) -> Self {
        Self {
            authorities,
            ..self
        }
    }

    /// Where it counts what it does.
    pub(crate) fn refreshes(&self) -> Arc<Refreshes> {
        Arc::clone(&self.refreshes)
    }

    /// Keeps `pool` in step for ever. A call of its `distress` asks for a refresh; `removed` is
    /// given the addresses that were certainly removed (`removed`).
    pub(crate) fn run(
        &mut self,
        pool: &Pool,
        gate: Option<&dyn Gate>,
        timeout: Duration,
        listeners: &[SocketAddr],
        removed: impl Fn(Vec<SocketAddr>),
    ) -> ! {
        let served = Served {
            pool,
            gate,
            timeout,
            listeners,
            removed: &removed,
        };
        loop {
            let woken = wait(pool.distress(), self.schedule.until());
            let failed = woken.is_err();
            self.step(woken, &served);
            if failed {
                std::thread::sleep(self.times.refresh_pause);
            }
        }
    }

    /// Does what is due after a wait, which tells whether somebody has asked for a refresh. A
    /// panic is a refresh that failed: what is known stays, and the next one comes.
    fn step(&mut self, woken: io::Result<bool>, served: &Served<'_>) {
        self.poll_error = woken.as_ref().err().map(|error| Plain(error).to_string());
        let woken = woken.unwrap_or(false);
        // Before the refresh that was asked for begins.
        self.to_tell |= self.refreshes.was_asked();
        let ended = catch_unwind(AssertUnwindSafe(|| self.turn(woken, served)));
        let ended = ended.unwrap_or_else(|_| Some(self.failed(Failed::Panicked)));
        if let Some(changed) = ended
            && std::mem::take(&mut self.to_tell)
        {
            self.tell_outcome(changed, served.pool.census().total);
        }
    }

    /// Whether a refresh has changed the set, if one was due.
    fn turn(&mut self, woken: bool, served: &Served<'_>) -> Option<bool> {
        let now = Instant::now();
        self.asked |= woken;
        let files = match self.source.asks() {
            true => self.resolver.changes(),
            false => self.files,
        };
        if woken || files != self.files {
            self.schedule.called(now);
        }
        self.files = files;
        let asked = self.asked && self.schedule.is_due(now);
        let mut trusts_others = false;
        if asked || self.schedule.look_is_due(now) {
            if self.source.look(asked) {
                self.schedule.called(now);
            }
            trusts_others = self.authorities.as_mut().is_some_and(|own| own.look(asked));
            self.schedule.looked(now, self.pause());
            self.report(|subject| asked && subject.is_on_disk());
        }
        let is_due = self.schedule.audit_is_due(now, random::number());
        if trusts_others {
            reauthenticate_all(served.pool, served.gate, served.timeout);
        } else if is_due {
            reauthenticate_serving(served.pool, served.gate, served.timeout);
        }
        self.schedule.is_due(now).then(|| {
            self.asked = false;
            let known = self.found.max(self.source.members().len());
            match memory::room(members::size(known)) {
                Ok(()) => self.follow(asked, served),
                Err(error) => self.failed(Failed::Refused(Plain(&error).to_string())),
            }
        })
    }

    /// How long no files are looked at; `None`: for ever.
    fn pause(&self) -> Option<Duration> {
        let authorities = self.authorities.as_ref();
        let pauses = [
            self.source.pause(&self.times),
            authorities.map(|authorities| authorities.pause(&self.times)),
        ];
        pauses.into_iter().flatten().min()
    }

    /// A refresh has failed as a whole: what is known stays, and the next one comes. False: nothing has changed.
    fn failed(&mut self, why: Failed) -> bool {
        self.failed = Some(why);
        let failed = Freshness {
            complete: false,
            ..Freshness::TIMELESS
        };
        self.plan(failed, false);
        self.report(|_| false);
        self.refreshes.add(false);
        false
    }

    /// Refreshes, and brings the pool in step with what was found; whether that changed it.
    fn follow(&mut self, asked: bool, served: &Served<'_>) -> bool {
        let (mut endpoints, freshness) = self.refresh(PATIENCE);
        self.has_found |= !endpoints.is_empty();
        let proven = served.pool.authenticated();
        let serves = |endpoint: &Endpoint| {
            endpoint.identity.is_none() || proven.iter().any(|proven| proven.addr == endpoint.addr)
        };
        if endpoints.iter().any(serves) {
            self.falling_back = None;
        } else if self.falling_back.is_some() || !self.has_found {
            self.fall_back(&mut endpoints);
        }
        self.remove_loops(&mut endpoints, served.listeners);
        self.failed = None;
        self.report(|subject| asked && matches!(subject, Subject::Loop(_)));
        // A good answer is never empty; without one, all that is known stays.
        let is_empty = endpoints.is_empty();
        let mut changed = false;
        if !is_empty {
            if freshness.inconclusive {
                keep(&mut endpoints, served.pool.endpoints());
            }
            changed = self.apply(endpoints, freshness.certain, served);
        }
        // What is not certain has to be asked for again, but no sooner than after other failures.
        let is_open = freshness.certain && !self.removed.is_empty();
        let census = served.pool.census();
        let is_urgent = is_open || census.active == 0 && census.untried == 0;
        self.plan(freshness, !is_empty && is_urgent);
        // Last: whoever sees the count sees what came of it.
        self.refreshes.add(freshness.complete);
        changed
    }

    /// Brings the pool in step with these endpoints; whether that changed it.
    fn apply(&mut self, endpoints: Vec<Endpoint>, is_certain: bool, served: &Served<'_>) -> bool {
        let before = served.pool.endpoints();
        let change = served.pool.replace(endpoints);
        log_change(&change);
        if !change.removed.is_empty() || !self.removed.is_empty() {
            let names = self.source.listed();
            let is_listed = |name: &str| names.as_ref().is_none_or(|names| names.contains(name));
            let after = served.pool.endpoints();
            let removed = self.removed.settle(before, &after, is_certain, is_listed);
            if !removed.is_empty() {
                (served.removed)(removed);
            }
        }
        if !change.is_empty() {
            reauthenticate_serving(served.pool, served.gate, served.timeout);
        }
        !change.is_empty()
    }

    /// Sets the time of the next refresh. It is urgent if no endpoint is active, or the next answer
    /// has something to confirm.
    fn plan(&mut self, freshness: Freshness, urgent: bool) {
        // That an address is this gateway, or the number of an interface, may be otherwise one day.
        let changes = !self.looped.is_empty() || self.source.is_zoned();
        let outcome = Outcome {
            complete: freshness.complete,
            ttl: freshness.ttl.or(changes.then_some(self.times.refresh_max)),
            urgent: urgent || self.falling_back.is_some(),
        };
        self.schedule
            .refreshed(Instant::now(), outcome, random::number());
    }

    /// Takes out the endpoints that are this gateway.
    fn remove_loops(&mut self, endpoints: &mut Vec<Endpoint>, listeners: &[SocketAddr]) {
        let is_loop = |endpoint: &mut Endpoint| loop_guard::serves(listeners, endpoint.addr);
        self.looped = endpoints.extract_if(.., is_loop).collect();
    }

    /// Adds the list that was given for the case that nothing else may serve.
    fn fall_back(&mut self, found: &mut Vec<Endpoint>) {
        if self.source.fallback().is_empty() {
            return;
        }
        let reason = if found.is_empty() {
            self.nothing_found()
        } else {
            "no member that they name could be authenticated".to_owned()
        };
        let (others, count) = endpoints(self.source.fallback(), &self.hosts);
        self.falling_back = Some(reason);
        self.found = self.found.max(count);
        found.extend(others);
    }

    /// Asks for everything again.
    fn refresh(&mut self, patience: Duration) -> (Vec<Endpoint>, Freshness) {
        let deadline = Instant::now() + patience;
        let mut freshness = Freshness::TIMELESS;
        if let Source::Srv { services, .. } = &mut self.source {
            // Half of the time is for the addresses: a service that nobody answers for must not
            // use it up.
            let deadline = deadline.checked_sub(patience / 2).unwrap_or(deadline);
            services.refresh(&self.resolver, deadline, &self.hosts, &mut freshness);
        }
        let members = self.source.members();
        let all = [&members, self.source.fallback()].concat();
        let (names, unresolvable_zones) = (names(&all), unresolvable_zones(&all));
        self.hosts.refresh(
            &self.resolver,
            &names,
            &unresolvable_zones,
            deadline,
            &mut freshness,
        );
        let (endpoints, found) = endpoints(&members, &self.hosts);
        self.found = found;
        (endpoints, freshness)
    }
}

/// Waits for a call or for a time, if there is one; whether it was a call.
fn wait(wake: &Waker, until: Option<Instant>) -> io::Result<bool> {
    let mut fds = [PollFd::readable(wake.fd())];
    let timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
    syscall::wait(&mut fds, timeout)?;
    let called = fds.iter().any(PollFd::is_ready);
    if called {
        // Only then: a call that comes after the poll is left for the next one.
        wake.clear();
    }
    Ok(called)
}

/// Logs what a new set changed, one line a change.
pub(crate) fn log_change(change: &Change) {
    if !change.is_empty() {
        let texts =
            |addrs: &[SocketAddr]| addrs.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut fields: Vec<(&str, log::Value)> = vec![
            ("added", texts(&change.added).into()),
            ("removed", texts(&change.removed).into()),
        ];
        let drains = [
            ("draining", &change.draining),
            ("restored", &change.restored),
        ];
        let drains = drains.iter().filter(|(_, addrs)| !addrs.is_empty());
        fields.extend(drains.map(|(name, addrs)| (*name, texts(addrs).into())));
        log::info("discovery", "endpoints changed", &fields);
    }
}
