//! The set of endpoints with the state of each, shared by all sessions.
//!
//! An endpoint is untried until a dial of it has an outcome; then it is active until a dial of it fails for
//! a reason of its own, and inactive until one succeeds, whoever dialled. A failure that is older than the
//! endpoint's last success changes nothing. An active one may be doubted: because a dial waits (slow),
//! because it accepts connections and says nothing (silent), because of its health checks (unhealthy). A
//! doubted one is used where none is better. One that drains is dialled by clients only where no other serves,
//! and in everything else treated like the others.
//!
//! Each pick comes with a [`Hold`], which counts as an open connection of that endpoint for as
//! long as it lives. Nothing is dialled here and no lock is held while something is logged.
//! Whoever dials reports it here, so this is also where dials are counted, each once, by its
//! outcome. State changes are logged once, when they happen (`tell`).

pub(crate) mod admission;
pub(crate) mod doubts;
pub(crate) mod due;
mod member;
mod tell;
pub(crate) mod view;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use member::{Member, Moment};
use tell::{Alarm, Before};

use crate::config::Policy;
use crate::dial::{self, DialResult};
use crate::endpoint::history::Transitions;
use crate::endpoint::pick::{self, Candidate, Preference, RoundRobin};
use crate::endpoint::slots::Slots;
use crate::endpoint::stats::{Checked, Hold, Probed};
use crate::endpoint::status::Status;
use crate::endpoint::{Endpoint, Gate};
use crate::log;
use crate::sync::lock;
use crate::sys::random;
use crate::sys::waker::Waker;
use crate::times::Times;

/// The endpoints and whose turn it is.
#[derive(Debug)]
pub(crate) struct Pool {
    policy: Policy,
    retry_delay: Duration,
    times: Times,
    /// Called when an endpoint is to be asked something.
    monitor: Waker,
    /// Called when no endpoint is active any more: there may be others by now.
    distress: Waker,
    /// Asked before an inactive endpoint with an identity carries clients.
    gate: Option<Arc<dyn Gate>>,
    slots: Slots,
    /// Of lines about no endpoint being active, and whether the last time was logged.
    alarms: log::Limit,
    alarm_logged: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    members: Vec<Member>,
    /// Those that left while they were held, until they are not.
    departed: Vec<Member>,
    round_robin: RoundRobin,
    transitions: Transitions,
    /// Since when no endpoint is active, if so.
    none_active: Option<Instant>,
}

impl State {
    /// The endpoints as a client sees them that has `tried` these.
    fn candidates(&self, tried: &[SocketAddr]) -> Vec<Candidate> {
        let now = Instant::now();
        let candidate = |member: &Member| Candidate {
            preference: if tried.contains(&member.endpoint.addr) {
                Preference::Excluded
            } else {
                member.preference()
            },
            drains: member.endpoint.drains,
            priority: member.endpoint.priority,
            weight: member.endpoint.weight,
            open: member.stats.load(now),
            ends_early: member.stats.ends_early(),
        };
        self.members.iter().map(candidate).collect()
    }
}

/// What a new set of endpoints changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) added: Vec<SocketAddr>,
    pub(crate) removed: Vec<SocketAddr>,
    /// Those that drain now, and did not before.
    pub(crate) draining: Vec<SocketAddr>,
    /// Those that stay, and do not drain any more.
    pub(crate) restored: Vec<SocketAddr>,
}

impl Change {
    /// Whether old set and new are the same.
    pub(crate) fn is_empty(&self) -> bool {
        let Self {
            added,
            removed,
            draining,
            restored,
        } = self;
        [added, removed, draining, restored]
            .iter()
            .all(|addrs| addrs.is_empty())
    }
}

/// How many endpoints there are, how many of them are active, of how many nothing is known yet, and how many are
/// to drain, whatever their state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) active: usize,
    pub(crate) untried: usize,
    pub(crate) draining: usize,
    pub(crate) total: usize,
}

impl Pool {
    /// An empty pool that chooses by `policy`, and whose inactive endpoints are due again
    /// `retry_delay` after they failed at the latest.
    ///
    /// # Errors
    /// If no descriptors are left.
    pub(crate) fn new(
        policy: Policy,
        retry_delay: Duration,
        gate: Option<Arc<dyn Gate>>,
    ) -> io::Result<Self> {
        Ok(Self {
            policy,
            retry_delay,
            times: Times::REAL,
            monitor: Waker::new()?,
            distress: Waker::new()?,
            gate,
            slots: Slots::default(),
            alarms: log::Limit::new(),
            alarm_logged: AtomicBool::new(false),
            state: Mutex::default(),
        })
    }

    /// The same pool with so many slots and these intervals.
    pub(crate) fn tuned(self, slots: usize, times: Times) -> Self {
        Self {
            slots: Slots::new(slots),
            times,
            ..self
        }
    }

    /// What bounds the connections that are no client's.
    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// What wakes the thread that asks endpoints.
    pub(crate) fn monitor(&self) -> &Waker {
        &self.monitor
    }

    /// What wakes the thread that looks for other endpoints.
    pub(crate) fn distress(&self) -> &Waker {
        &self.distress
    }

    /// The active endpoints with an identity, which have proven it at some time.
    pub(crate) fn authenticated(&self) -> Vec<Endpoint> {
        let state = lock(&self.state);
        let proven = state.members.iter().filter(|member| member.is_active());
        proven
            .map(|member| member.endpoint.clone())
            .filter(|endpoint| endpoint.identity.is_some())
            .collect()
    }

    /// All endpoints.
    pub(crate) fn endpoints(&self) -> Vec<Endpoint> {
        let state = lock(&self.state);
        state
            .members
            .iter()
            .map(|member| member.endpoint.clone())
            .collect()
    }

    /// What was configured as the endpoint that has an address, or had it and is used still.
    pub(crate) fn name(&self, addr: SocketAddr) -> Option<String> {
        let state = lock(&self.state);
        let mut known = state.members.iter().chain(&state.departed);
        let member = known.find(|member| member.endpoint.addr == addr)?;
        Some(member.endpoint.name.clone())
    }

    /// Whether an address is an endpoint now.
    pub(crate) fn contains(&self, addr: SocketAddr) -> bool {
        self.with(addr, |_| ()).is_some()
    }

    /// Replaces the set whole. What stays keeps its state; what is new is untried, and used at once unless
    /// it has an identity to prove.
    pub(crate) fn replace(&self, endpoints: Vec<Endpoint>) -> Change {
        let (change, alarm) = self.exchange(endpoints);
        self.sound(alarm);
        change
    }

    fn exchange(&self, endpoints: Vec<Endpoint>) -> (Change, Option<Alarm>) {
        let mut state = lock(&self.state);
        // A refresh that changes nothing must not begin everybody's share anew.
        let same = state
            .members
            .iter()
            .map(|member| &member.endpoint)
            .eq(&endpoints);
        if same {
            return (Change::default(), None);
        }
        let now = Instant::now();
        let mut old = std::mem::take(&mut state.members);
        let mut change = Change::default();
        for endpoint in endpoints {
            if state
                .members
                .iter()
                .any(|member| member.endpoint.addr == endpoint.addr)
            {
                continue;
            }
            // The same address under another name has another identity to prove.
            let known = old.iter().position(|member| {
                member.endpoint.addr == endpoint.addr
                    && member.endpoint.identity == endpoint.identity
            });
            let member = match known {
                Some(index) => {
                    let mut member = old.swap_remove(index);
                    match (member.endpoint.drains, endpoint.drains) {
                        (false, true) => change.draining.push(endpoint.addr),
                        (true, false) => change.restored.push(endpoint.addr),
                        _ => {}
                    }
                    if let Some(transition) = member.described(endpoint, now) {
                        state.transitions.push(transition);
                    }
                    member
                }
                None => {
                    change.added.push(endpoint.addr);
                    change
                        .draining
                        .extend(endpoint.drains.then_some(endpoint.addr));
                    let mut others = old.iter().chain(&state.departed);
                    let before = others.find(|other| other.endpoint.addr == endpoint.addr);
                    let stats = before.map(|before| Arc::clone(&before.stats));
                    Member::new(endpoint, stats.unwrap_or_default())
                }
            };
            state.members.push(member);
        }
        state.round_robin.reset();
        self.monitor.wake();
        change.removed = old.iter().map(|member| member.endpoint.addr).collect();
        state.depart(old);
        (change, state.alarm(now))
    }

    /// The next endpoint to dial for a client that has `tried` these: the one whose turn
    /// it is among the active, then those that drain, then those that are doubted, then, when none of these
    /// has served, the inactive. Not inlined: a session's stack is small, and its deepest call is another.
    #[inline(never)]
    pub(crate) fn pick(&self, tried: &[SocketAddr]) -> Option<(SocketAddr, Hold)> {
        let mut state = lock(&self.state);
        let candidates = state.candidates(tried);
        let index = state.round_robin.next(self.policy, &candidates)?;
        let member = state.members.get(index)?;
        let counted = match self.policy {
            Policy::RoundRobin => Duration::ZERO,
            Policy::LeastConnections => self.times.counted,
        };
        // Still under the lock: of a thousand clients at once each sees those before it.
        Some((member.endpoint.addr, member.stats.hold(counted)))
    }

    /// Whether a client that has `tried` these, and waits for the answers of some, is to wait a little longer:
    /// whoever is next drains, and one that it waits for does not.
    #[inline(never)]
    pub(crate) fn spares(
        &self,
        tried: &[SocketAddr],
        mut waits_for: impl Iterator<Item = SocketAddr>,
    ) -> bool {
        let state = lock(&self.state);
        let drains = |addr: SocketAddr| {
            let mut members = state.members.iter();
            members.any(|member| member.endpoint.addr == addr && member.endpoint.drains)
        };
        pick::is_draining_next(&state.candidates(tried)) && waits_for.any(|addr| !drains(addr))
    }

    /// Notes that a dial waits for an answer longer than usual. The endpoint stays usable until that dial's
    /// own outcome is reported, but is nobody's first choice.
    pub(crate) fn slow(&self, addr: SocketAddr) {
        self.change(addr, Member::waits);
    }

    /// Notes that such a dial was given up before it had an outcome: the endpoint is dialled again.
    pub(crate) fn unresolved(&self, addr: SocketAddr) {
        self.change(addr, |member| member.unresolved(Instant::now()));
    }

    /// Notes that whatever was under way in the background has been given up without an outcome.
    pub(crate) fn forsaken(&self) {
        let now = Instant::now();
        let members = &mut lock(&self.state).members;
        members.iter_mut().for_each(|member| member.unresolved(now));
    }

    /// Reports that a dial begun at `started` failed. A failure of our own leaves the
    /// endpoint as it was, but for the doubt that such a dial may have raised.
    pub(crate) fn failed(&self, addr: SocketAddr, started: Instant, error: &dial::Error) {
        let at = self.moment();
        self.change(addr, |member| member.failed(started, error, at));
    }

    /// Counts a client that has sent its first bytes and waits for too long for the answer.
    pub(crate) fn unanswered(&self, addr: SocketAddr) {
        self.with(addr, |member| member.stats.unanswered.add(1));
    }

    /// Has an endpoint probed that a client has waited for since then. False if it was asked too short a
    /// time ago: whoever waits is to say so again.
    pub(crate) fn suspect(&self, addr: SocketAddr, since: Instant) -> bool {
        let (mut settled, at) = (true, self.moment());
        self.change(addr, |member| settled = member.suspect(since, at));
        settled
    }

    /// A client has got the first bytes of its answer, some time after that.
    pub(crate) fn heard(&self, addr: SocketAddr, after: Instant) {
        self.change(addr, |member| {
            member.stats.answered_now();
            member.answered_somebody(after, Instant::now());
        });
    }

    /// An endpoint has reset a client's connection.
    pub(crate) fn reset(&self, addr: SocketAddr) {
        let at = self.moment();
        self.change(addr, |member| member.reset(at));
    }

    /// An endpoint has ended a client's connection; so many are left.
    pub(crate) fn ended(&self, addr: SocketAddr, left: u64) {
        let at = self.moment();
        self.change(addr, |member| member.ended(left, at));
    }

    /// Reports a probe: when it was asked, if the endpoint has answered it in time.
    pub(crate) fn probed(&self, addr: SocketAddr, answered: Option<Instant>) {
        let at = self.moment();
        // Its connection was made in either case.
        self.with(addr, |member| member.stats.dialled(DialResult::Ok, None));
        self.change(addr, |member| match answered {
            Some(asked) => {
                member.stats.probed(Probed::Answered);
                member.answered_probe(asked, at.now);
            }
            None => {
                member.stats.probed(Probed::Silent);
                member.ignored_probe(at);
            }
        });
    }

    /// Something has come on a probe after its time.
    pub(crate) fn stirred(&self, addr: SocketAddr) {
        self.change(addr, |member| member.stirred(Instant::now()));
    }

    /// Reports a probe that could not be made, by the failure of its dial.
    pub(crate) fn probe_failed(&self, addr: SocketAddr, started: Instant, error: &dial::Error) {
        let probed = match error.is_local() {
            true => Probed::Local,
            false => Probed::Failed,
        };
        self.with(addr, |member| member.stats.probed(probed));
        self.failed(addr, started, error);
    }

    /// Reports a health check of an endpoint, whether it is doubted now, and why it failed, if it did.
    pub(crate) fn checked(
        &self,
        addr: SocketAddr,
        checked: Checked,
        doubts: bool,
        error: Option<String>,
    ) {
        self.change(addr, |member| {
            member.stats.checked(checked);
            if checked == Checked::Passed {
                member.saw_answer(Instant::now());
            }
            member.judge(doubts, error);
        });
    }

    /// The endpoints that clients may be connected to while there is a choice.
    pub(crate) fn usable(&self) -> Vec<SocketAddr> {
        let state = lock(&self.state);
        let usable = state.members.iter().filter(|member| member.is_usable());
        usable.map(|member| member.endpoint.addr).collect()
    }

    /// This moment.
    fn moment(&self) -> Moment {
        Moment {
            now: Instant::now(),
            number: random::number(),
            retry_delay: self.retry_delay,
            ask_again: self.times.ask_again,
        }
    }

    /// How many endpoints there are and how many are active.
    pub(crate) fn census(&self) -> Census {
        let state = lock(&self.state);
        let count = |of: fn(&Member) -> bool| {
            let all = state.members.iter();
            all.filter(|member| of(member)).count()
        };
        Census {
            active: count(|member| member.status().is_active()),
            untried: count(|member| member.status() == Status::Untried),
            draining: count(|member| member.endpoint.drains),
            total: state.members.len(),
        }
    }

    /// How many endpoints a client is connected to as far as is known; all if there is none.
    pub(crate) fn candidates(&self) -> usize {
        let state = lock(&self.state);
        let usable = state.members.iter().filter(|member| member.is_usable());
        match usable.count() {
            0 => state.members.len(),
            some => some,
        }
    }

    /// Acts on an endpoint, and tells what that changed.
    fn change(&self, addr: SocketAddr, act: impl FnOnce(&mut Member)) {
        let mut act = Some(act);
        self.act(addr, &mut |member| {
            if let Some(act) = act.take() {
                act(member);
            }
        });
    }

    /// The same once for all kinds of acts, and not inlined: sessions get here, whose stacks are small.
    #[inline(never)]
    fn act(&self, addr: SocketAddr, act: &mut dyn FnMut(&mut Member)) {
        let (sooner, changed) = {
            let mut state = lock(&self.state);
            let mut members = state.members.iter_mut();
            let Some(member) = members.find(|member| member.endpoint.addr == addr) else {
                return;
            };
            let before = Before::of(member);
            act(member);
            let sooner = before.is_asked_sooner(member);
            let changed = before.changed(member);
            (sooner, changed.map(|changed| state.took(changed)))
        };
        if sooner {
            self.monitor.wake();
        }
        if let Some(changed) = changed {
            self.tell(*changed);
        }
    }

    fn with<T>(&self, addr: SocketAddr, act: impl FnOnce(&mut Member) -> T) -> Option<T> {
        lock(&self.state)
            .members
            .iter_mut()
            .find(|member| member.endpoint.addr == addr)
            .map(act)
    }
}

#[cfg(test)]
mod tests;
