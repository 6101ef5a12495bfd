//! From the members that the operator or DNS names to the endpoints that clients are forwarded to, for as long as
//! the gateway runs.
//!
//! A refresh asks for the `members` (from a list, the `endpoints_file` or `srv` records), resolves their names
//! (`resolved`), replaces the set of the pool by the addresses found, and has the sessions of endpoints that
//! were `removed` closed. The `schedule` says when: when the time to live of an answer is over, when every
//! endpoint is failing, when the resolver's files or `polled` files change, and when the operator asks for it
//! (SIGHUP). Only a good answer changes anything: what cannot be learned again stays as it was. An
//! address that would lead back to this gateway is ignored. The registry of `problems` logs and shows what
//! is wrong.
//!
//! Members that have to be authenticated (`auth`, by the authorities of `roots`) are at start, when they are new
//! or come back (by the pool and the monitor, through its gate), and, from here (`reauthenticate`), at each
//! change of the set or of the authorities, and every few minutes.
//!
//! One thread does all of this and owns all of its state.

pub(crate) mod auth;
pub(crate) mod endpoints_file;
mod listen;
mod member;
mod members;
mod parallel;
pub(crate) mod polled;
mod problems;
mod reauthenticate;
mod removed;
mod resolved;
pub(crate) mod roots;
mod schedule;
mod srv;

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::dns::Resolver;
use crate::endpoint::pool::{Change, Pool};
use crate::endpoint::{Authenticate, Endpoint, Proof};
use crate::log;
use crate::loop_guard;
use crate::sys::syscall::{self, PollFd};
use crate::sys::waker::Waker;
use crate::sys::{OsErrorText, memory, random};
use crate::times::Times;

pub(crate) use listen::listen_address;
pub(crate) use member::{Identity, Member, identity_of_domain};
use member::{MAX_ENDPOINTS, memory_for};
pub(crate) use members::Members;
pub(crate) use parallel::{limit_parallel, parallel_map};
pub(crate) use problems::Refreshes;
use problems::{Problem, Problems, Subject, texts};
use reauthenticate::{authenticate_all, reauthenticate_all, reauthenticate_serving};
use removed::RemovedEndpoints;
use resolved::PATIENCE;
use roots::Authorities;
use schedule::{Outcome, Schedule};
pub(crate) use srv::INSECURE;

/// How long a start with listed names waits for them: there may be others that serve meanwhile.
const START_PATIENCE: Duration = Duration::from_secs(5);

/// Keeps the endpoints up to date.
pub(crate) struct Discovery {
    resolver: Resolver,
    members: Members,
    /// Those that members are authenticated by, if they are.
    authorities: Option<Authorities>,
    times: Times,
    schedule: Schedule,
    /// How often the resolver's files had changed when they were last polled.
    resolver_changes: u64,
    /// A refresh was requested since the last one.
    asked: bool,
    /// An operator has requested it, so that its result is to be logged.
    log_result: bool,
    /// SRV records have given endpoints: from then on the last good ones stay, whatever
    /// comes, and `--endpoints` are not used any more.
    has_found: bool,
    /// Why `--endpoints` serve, if they do because nothing else may.
    fallback_reason: Option<String>,
    removed: RemovedEndpoints,
    problems: Problems,
    refreshes: Arc<Refreshes>,
}

/// What a refresh brings up to date, and what it needs for that.
struct Downstream<'a> {
    pool: &'a Pool,
    gate: Option<&'a dyn Authenticate>,
    /// How long an authentication may take.
    timeout: Duration,
    /// The addresses of this gateway.
    listeners: &'a [SocketAddr],
    /// Is called with the addresses that were certainly removed.
    on_removed: &'a dyn Fn(Vec<SocketAddr>),
}

/// What a start begins with.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) endpoints: Vec<Endpoint>,
    /// Those that have proven who they are, and by what.
    pub(crate) proven: Vec<(Endpoint, Proof)>,
}

/// What `check` shows.
#[derive(Debug)]
pub(crate) struct Discovered {
    pub(crate) endpoints: Vec<Endpoint>,
    /// Why there are none, if there are none.
    pub(crate) nothing: Option<String>,
    /// Members that are not used because they do not use TLS.
    pub(crate) insecure: Vec<String>,
    /// Names that have no address, or not all of them, and why.
    pub(crate) unresolved: Vec<String>,
    /// That there is more than is used.
    pub(crate) surplus: Vec<String>,
}

impl Discovery {
    /// The authorities are polled for changes too.
    pub(crate) fn new(
        members: Members,
        authorities: Option<Authorities>,
        resolver: Resolver,
        times: Times,
    ) -> Self {
        Self {
            resolver_changes: resolver.changes(),
            resolver,
            times,
            schedule: Schedule::new(Instant::now(), times, members.authenticates()),
            members,
            authorities,
            asked: false,
            log_result: false,
            has_found: false,
            fallback_reason: None,
            removed: RemovedEndpoints::default(),
            problems: Problems::default(),
            refreshes: Arc::default(),
        }
    }

    /// Where it counts what it does.
    pub(crate) fn refreshes(&self) -> Arc<Refreshes> {
        Arc::clone(&self.refreshes)
    }

    /// The endpoints that there are, for `check`.
    pub(crate) fn find(&mut self) -> Discovered {
        let (endpoints, outcome) = self.members.look_up(&self.resolver, PATIENCE);
        let problems = self.members.problems(outcome.found);
        let is_empty = endpoints.is_empty();
        Discovered {
            endpoints,
            nothing: is_empty.then(|| self.members.nothing_found()),
            insecure: self.members.insecure(),
            unresolved: texts(&problems, |subject| {
                matches!(subject, Subject::Service(_) | Subject::Host(_))
            }),
            surplus: texts(&problems, |subject| {
                matches!(subject, Subject::Targets | Subject::Endpoints)
            }),
        }
    }

    /// The endpoints that serve if no others may, for `check`.
    pub(crate) fn fallback(&self) -> Vec<Endpoint> {
        self.members.fallback_endpoints().0
    }

    /// The endpoints to start with; those that have to prove who they are have been asked,
    /// in parallel and each within `timeout`.
    ///
    /// # Errors
    /// Why none of them may serve, and what to do about it. That the names of a list cannot be resolved is
    /// no such error: it is logged, and they are resolved later.
    pub(crate) fn start(
        &mut self,
        gate: Option<&dyn Authenticate>,
        timeout: Duration,
    ) -> Result<Start, String> {
        let patience = match self.members.are_listed() {
            true => START_PATIENCE,
            false => PATIENCE,
        };
        let (mut candidates, mut outcome) = self.members.look_up(&self.resolver, patience);
        self.has_found = !candidates.is_empty();
        let (mut proven, mut refused) = authenticate_all(&candidates, gate, timeout);
        let is_free = |endpoint: &Endpoint| endpoint.identity.is_none();
        if proven.is_empty() && !candidates.iter().any(is_free) {
            let first = candidates.len();
            self.fall_back(&mut candidates, &mut outcome);
            let others = candidates.get(first..).unwrap_or_default();
            let (more_proven, more_refused) = authenticate_all(others, gate, timeout);
            proven.extend(more_proven);
            refused.extend(more_refused);
        }
        self.report_lookup(outcome.found, &[], false);
        self.plan(outcome, false);
        self.refreshes.add(outcome.complete);
        let can_wait = self.members.are_listed() && !self.members.authenticates();
        if candidates.is_empty() && !can_wait {
            return Err(self.members.nothing_found());
        }
        let is_refused = proven.is_empty() && !candidates.iter().any(is_free);
        if is_refused && !candidates.is_empty() {
            let reasons = refused.join("; ");
            return Err(format!("no endpoint could be authenticated: {reasons}"));
        }
        Ok(Start {
            endpoints: candidates,
            proven,
        })
    }

    /// Keeps `pool` up to date and never returns. Its `refresh_waker` requests a refresh; `on_removed` is
    /// called with the addresses that were certainly removed (`removed`).
    pub(crate) fn run(
        &mut self,
        pool: &Pool,
        gate: Option<&dyn Authenticate>,
        timeout: Duration,
        listeners: &[SocketAddr],
        on_removed: impl Fn(Vec<SocketAddr>),
    ) -> ! {
        let downstream = Downstream {
            pool,
            gate,
            timeout,
            listeners,
            on_removed: &on_removed,
        };
        loop {
            let woken = wait(pool.refresh_waker(), self.schedule.until());
            let failed = woken.is_err();
            self.step(woken, &downstream);
            if failed {
                std::thread::sleep(self.times.refresh_pause);
            }
        }
    }

    /// Does what is due after a wait; `woken` says whether a refresh was requested. A
    /// panic is a refresh that failed: what is known stays, and the next one comes.
    fn step(&mut self, woken: io::Result<bool>, downstream: &Downstream<'_>) {
        let failed = woken.as_ref().err().map(|error| {
            let error = OsErrorText(error).to_string();
            Problem {
                subject: Subject::Wait,
                message: "cannot poll",
                fields: vec![("error", error.as_str().into())],
                shown: vec![format!("cannot poll: {error}")],
                detail: error,
            }
        });
        let failed = Vec::from_iter(failed);
        self.report(|subject| *subject == Subject::Wait, failed, false);
        // Before the refresh that was asked for begins.
        self.log_result |= self.refreshes.was_asked();
        let woken = woken.unwrap_or(false);
        let done = catch_unwind(AssertUnwindSafe(|| self.do_what_is_due(woken, downstream)));
        let done = done.unwrap_or_else(|_| {
            let text =
                "a refresh panicked, which is a defect of the gateway; what is known stays in use";
            Some(self.fail(Problem {
                subject: Subject::Panic,
                message: "a refresh panicked, will try again",
                fields: Vec::new(),
                detail: String::new(),
                shown: vec![text.to_owned()],
            }))
        });
        if let Some(changed) = done
            && std::mem::take(&mut self.log_result)
        {
            self.log_result(changed, downstream.pool.census().total);
        }
    }

    /// Polls files, has endpoints authenticate again and refreshes, each when it is due. Returns whether a
    /// refresh has changed the set, if one was due.
    fn do_what_is_due(&mut self, woken: bool, downstream: &Downstream<'_>) -> Option<bool> {
        let now = Instant::now();
        self.asked |= woken;
        let changes = match self.members.has_names() {
            true => self.resolver.changes(),
            false => self.resolver_changes,
        };
        if woken || changes != self.resolver_changes {
            self.schedule.request(now);
        }
        self.resolver_changes = changes;
        let asked = self.asked && self.schedule.is_due(now);
        let mut authorities_changed = false;
        if asked || self.schedule.poll_is_due(now) {
            authorities_changed = self.poll_files(asked, now);
        }
        let is_due = self.schedule.authentication_is_due(now, random::number());
        if authorities_changed {
            reauthenticate_all(downstream.pool, downstream.gate, downstream.timeout);
        } else if is_due {
            reauthenticate_serving(downstream.pool, downstream.gate, downstream.timeout);
        }
        self.schedule.is_due(now).then(|| {
            self.asked = false;
            let known = downstream.pool.census().total;
            let members = known.max(self.members.current().len());
            match memory::room(memory_for(members)) {
                Ok(()) => self.refresh(asked, downstream),
                Err(error) => {
                    let error = OsErrorText(&error).to_string();
                    self.fail(Problem {
                        subject: Subject::Memory,
                        message: "no memory for a refresh, will try again",
                        fields: vec![("error", error.as_str().into())],
                        detail: String::new(),
                        shown: vec![format!("a refresh: {error}; what is known stays in use")],
                    })
                }
            }
        })
    }

    /// Polls the endpoints file and the authorities; whether the latter have changed.
    fn poll_files(&mut self, asked: bool, now: Instant) -> bool {
        if self.members.poll_file(asked) {
            self.schedule.request(now);
        }
        let authorities = self.authorities.as_mut();
        let authorities_changed = authorities.is_some_and(|own| own.poll(asked));
        let authorities = self.authorities.as_ref();
        let intervals = [
            self.members.poll_interval(&self.times),
            authorities.map(|own| own.poll_interval(&self.times)),
        ];
        let interval = intervals.into_iter().flatten().min();
        self.schedule.polled(now, interval);
        let mut problems = Vec::from_iter(self.members.file_problem());
        problems.extend(authorities.and_then(Authorities::problem));
        self.report(Subject::is_of_files, problems, asked);
        authorities_changed
    }

    /// A refresh has failed as a whole: what is known stays, and the next one comes. False: nothing has changed.
    fn fail(&mut self, problem: Problem) -> bool {
        let outcome = Outcome {
            complete: false,
            ..Outcome::NOTHING_ASKED
        };
        self.plan(outcome, false);
        let is_failure = |subject: &Subject| matches!(subject, Subject::Panic | Subject::Memory);
        self.report(is_failure, vec![problem], false);
        self.refreshes.add(false);
        false
    }

    /// Looks up all members and brings the pool up to date; whether that changed it.
    fn refresh(&mut self, asked: bool, downstream: &Downstream<'_>) -> bool {
        let (mut endpoints, mut outcome) = self.members.look_up(&self.resolver, PATIENCE);
        self.has_found |= !endpoints.is_empty();
        let authenticated = downstream.pool.authenticated();
        let may_serve = |endpoint: &Endpoint| {
            let mut authenticated = authenticated.iter();
            endpoint.identity.is_none() || authenticated.any(|known| known.addr == endpoint.addr)
        };
        if endpoints.iter().any(may_serve) {
            self.fallback_reason = None;
        } else if self.fallback_reason.is_some() || !self.has_found {
            self.fall_back(&mut endpoints, &mut outcome);
        }
        let is_loop =
            |endpoint: &mut Endpoint| loop_guard::serves(downstream.listeners, endpoint.addr);
        let loops: Vec<Endpoint> = endpoints.extract_if(.., is_loop).collect();
        self.report_lookup(outcome.found, &loops, asked);
        // A good answer is never empty; without one, all that is known stays.
        let is_empty = endpoints.is_empty();
        let changed = !is_empty && self.apply(endpoints, outcome, downstream);
        // What is not certain has to be asked for again, but no sooner than after other failures.
        let to_confirm = outcome.certain && !self.removed.is_empty();
        let census = downstream.pool.census();
        let is_urgent = to_confirm || census.active == 0 && census.untried == 0;
        outcome.urgent = !is_empty && is_urgent;
        self.plan(outcome, !loops.is_empty());
        // Last: when the count has changed, all else has.
        self.refreshes.add(outcome.complete);
        changed
    }

    /// Adds the endpoints that were given for the case that no others may serve, if any were.
    fn fall_back(&mut self, endpoints: &mut Vec<Endpoint>, outcome: &mut Outcome) {
        if self.members.fallback().is_empty() {
            return;
        }
        self.fallback_reason = Some(match endpoints.is_empty() {
            true => self.members.nothing_found(),
            false => "no member that they name could be authenticated".to_owned(),
        });
        let (others, found) = self.members.fallback_endpoints();
        outcome.found = outcome.found.max(found);
        endpoints.extend(others);
    }

    /// Replaces the endpoints of the pool; whether that changed it.
    fn apply(
        &mut self,
        mut endpoints: Vec<Endpoint>,
        outcome: Outcome,
        downstream: &Downstream<'_>,
    ) -> bool {
        let before = downstream.pool.endpoints();
        if outcome.inconclusive {
            keep_old(&mut endpoints, &before);
        }
        let change = downstream.pool.replace(endpoints);
        log_change(&change);
        if !change.removed.is_empty() || !self.removed.is_empty() {
            let names = self.members.listed_names();
            let is_listed = |name: &str| names.as_ref().is_none_or(|names| names.contains(name));
            let after = downstream.pool.endpoints();
            let removed = self
                .removed
                .update(before, &after, outcome.certain, is_listed);
            if !removed.is_empty() {
                (downstream.on_removed)(removed);
            }
        }
        if !change.is_empty() {
            reauthenticate_serving(downstream.pool, downstream.gate, downstream.timeout);
        }
        !change.is_empty()
    }

    /// Sets the time of the next refresh.
    fn plan(&mut self, mut outcome: Outcome, has_loops: bool) {
        // That an address is this gateway, or the number of an interface, may change one day.
        let may_change = has_loops || self.members.has_zones();
        let longest = may_change.then_some(self.times.refresh_max);
        outcome.ttl = outcome.ttl.or(longest);
        outcome.urgent |= self.fallback_reason.is_some();
        let now = Instant::now();
        self.schedule.refreshed(now, outcome, random::number());
    }

    /// Logs and shows the problems that there are now; others that `is_theirs` selects are over.
    fn report(&mut self, is_theirs: fn(&Subject) -> bool, now: Vec<Problem>, asked: bool) {
        let recovery = |problem: &Problem| self.members.recovery(problem);
        self.problems.update(is_theirs, now, asked, recovery);
        self.refreshes.set_problems(self.problems.texts());
    }

    /// Reports what is wrong with what a lookup found, among which this number of endpoints, and `loops`, which
    /// are this gateway.
    fn report_lookup(&mut self, found: usize, loops: &[Endpoint], asked: bool) {
        let mut problems = self.members.problems(found);
        if let Some(reason) = &self.fallback_reason {
            problems.push(self.members.fallback_problem(reason));
        }
        for endpoint in loops {
            let (addr, name) = (endpoint.addr, endpoint.name.as_str());
            let shown = format!("{name}: {addr} is this gateway itself, so it is ignored");
            problems.push(Problem {
                subject: Subject::Loop(addr),
                message: "endpoint is this gateway itself; ignored",
                fields: vec![("address", addr.into()), ("name", name.into())],
                detail: name.to_owned(),
                shown: vec![shown],
            });
        }
        self.report(Subject::is_of_refresh, problems, asked);
    }

    /// Logs the result of a refresh that an operator has requested.
    fn log_result(&self, changed: bool, endpoints: usize) {
        /// The most problems in the line, each of at most some hundred characters.
        const FEW: usize = 4;
        let authorities = self.authorities.as_ref().map(Authorities::location);
        let files = [self.members.file(), authorities].into_iter().flatten();
        let mut fields: Vec<(&str, log::Value)> = vec![
            ("endpoints", endpoints.into()),
            ("changed", if changed { "yes" } else { "no" }.into()),
            ("files", files.collect::<Vec<_>>().into()),
        ];
        let mut problems = self.refreshes.problems();
        if problems.is_empty() {
            return log::info("discovery", "refreshed endpoints", &fields);
        }
        if problems.len() > FEW {
            let more = problems.split_off(FEW).len();
            problems.push(format!("and {more} more"));
        }
        fields.push(("problems", problems.into()));
        log::warn("discovery", "refreshed endpoints, with problems", &fields);
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

/// Adds those of `old` that are not among `endpoints`, as many as there is room for: where others
/// are found each time, they would be more and more.
fn keep_old(endpoints: &mut Vec<Endpoint>, old: &[Endpoint]) {
    let known: HashSet<SocketAddr> = endpoints.iter().map(|new| new.addr).collect();
    let room = MAX_ENDPOINTS.saturating_sub(endpoints.len());
    let others = old.iter().filter(|old| !known.contains(&old.addr));
    endpoints.extend(others.take(room).cloned());
}

/// Logs what a new set changed, if anything.
fn log_change(change: &Change) {
    if change.is_empty() {
        return;
    }
    let texts = |addrs: &[SocketAddr]| addrs.iter().map(ToString::to_string).collect::<Vec<_>>();
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

#[cfg(test)]
mod tests;
