//! The set of endpoints with the state of each, shared by all sessions.
//!
//! An endpoint is active until a dial of it fails for a reason of its own, and inactive
//! until one succeeds, whoever dialled. A failure that is older than the endpoint's last
//! success changes nothing. State changes are logged here, once, when they happen.
//! Each pick comes with a [`Hold`], which counts as an open connection of that endpoint for as
//! long as it lives. Nothing is dialled here and no lock is held while something is logged.
//! Whoever dials reports it here, so this is also where dials are counted, each once, by its
//! outcome.

mod member;
pub(crate) mod view;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use member::Member;

use crate::config::Policy;
use crate::dial;
use crate::endpoint::ledger::Hold;
use crate::endpoint::pick::{Candidate, Standing, Turn};
use crate::endpoint::{Endpoint, Gate, Proof, retry};
use crate::log;
use crate::sync::lock;
use crate::sys::random;
use crate::sys::waker::Waker;

/// The endpoints and whose turn it is.
#[derive(Debug)]
pub(crate) struct Pool {
    policy: Policy,
    retry_delay: Duration,
    /// Called when an endpoint has become inactive and waits to be tried again.
    monitor: Waker,
    /// Called when no endpoint is active any more: there may be others by now.
    distress: Waker,
    /// Asked before an inactive endpoint with an identity carries clients.
    gate: Option<Arc<dyn Gate>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    members: Vec<Member>,
    /// Those that left while they were held, until they are not.
    departed: Vec<Member>,
    turn: Turn,
}

/// What a new set of endpoints changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) added: Vec<SocketAddr>,
    pub(crate) removed: Vec<SocketAddr>,
}

impl Change {
    /// Whether old set and new are the same.
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }
}

/// How many endpoints there are, and how many of them are active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) active: usize,
    pub(crate) total: usize,
}

impl Pool {
    /// An empty pool that chooses by `policy`, and whose inactive endpoints are due again
    /// `retry_delay` after they failed.
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
            monitor: Waker::new()?,
            distress: Waker::new()?,
            gate,
            state: Mutex::default(),
        })
    }

    /// What wakes the thread that tries inactive endpoints again.
    pub(crate) fn monitor(&self) -> &Waker {
        &self.monitor
    }

    /// What wakes the thread that looks for other endpoints.
    pub(crate) fn distress(&self) -> &Waker {
        &self.distress
    }

    /// Has an endpoint that is inactive prove its identity, if it has one, and makes it
    /// active if it does. Where endpoints have to, one that has been removed meanwhile is
    /// refused: nobody knows any more what it would have to prove.
    ///
    /// # Errors
    /// Why it may not carry clients.
    pub(crate) fn vet(&self, addr: SocketAddr, timeout: Duration) -> Result<(), dial::Error> {
        let Some(gate) = &self.gate else {
            return Ok(());
        };
        let unknown = || dial::Error::rejected(addr, "it is not an endpoint any more".to_owned());
        let asked = |member: &mut Member| (!member.is_active()).then(|| member.endpoint.clone());
        let Some(endpoint) = self.with(addr, asked).ok_or_else(unknown)? else {
            return Ok(());
        };
        if endpoint.identity.is_none() {
            return Ok(());
        }
        let began = Instant::now();
        let proof = gate.admit(&endpoint, timeout)?;
        if self.proven(&endpoint, began, proof) {
            return Ok(());
        }
        let refusal = |member: &mut Member| match &member.last_error {
            Some((_, error)) if member.endpoint.identity == endpoint.identity => {
                let reason = format!("refused meanwhile: {error}");
                dial::Error::rejected(addr, reason)
            }
            _ => unknown(),
        };
        Err(self.with(addr, refusal).unwrap_or_else(unknown))
    }

    /// Makes an endpoint active that has proven its identity, in a proof that `began` then.
    /// False if it is another by now, or was refused or found to be this gateway meanwhile.
    pub(crate) fn proven(&self, endpoint: &Endpoint, began: Instant, proof: Proof) -> bool {
        let addr = endpoint.addr;
        self.reaffirmed(addr, proof);
        let activated = self.change(addr, |member| member.proven(endpoint, began));
        log_activated(addr, activated);
        self.with(addr, |member| member.is_active()) == Some(true)
    }

    /// Counts the dial of a proof, which has succeeded, and keeps when that expires.
    pub(crate) fn reaffirmed(&self, addr: SocketAddr, proof: Proof) {
        self.with(addr, |member| member.reaffirmed(Instant::now(), proof));
    }

    /// Whether [`Pool::vet`] would have to ask the endpoint.
    pub(crate) fn needs_proof(&self, addr: SocketAddr) -> bool {
        // Of one that has been removed nobody knows, so it has to be asked.
        let unproven =
            |member: &mut Member| !member.is_active() && member.endpoint.identity.is_some();
        self.gate.is_some() && self.with(addr, unproven) != Some(false)
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

    /// Whether an address is an endpoint now.
    pub(crate) fn contains(&self, addr: SocketAddr) -> bool {
        self.with(addr, |_| ()).is_some()
    }

    /// Replaces the set whole. What stays keeps its state; what is new starts active, or,
    /// if it has an identity to prove, inactive until the monitor has seen the proof.
    pub(crate) fn replace(&self, endpoints: Vec<Endpoint>) -> Change {
        let mut state = lock(&self.state);
        // A refresh that changes nothing must not begin everybody's share anew.
        let same = state
            .members
            .iter()
            .map(|member| &member.endpoint)
            .eq(&endpoints);
        if same {
            return Change::default();
        }
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
                    member.endpoint = endpoint;
                    member
                }
                None => {
                    change.added.push(endpoint.addr);
                    let mut others = old.iter().chain(&state.departed);
                    let before = others.find(|other| other.endpoint.addr == endpoint.addr);
                    let ledger = before.map(|before| Arc::clone(&before.ledger));
                    Member::new(endpoint, ledger.unwrap_or_default())
                }
            };
            state.members.push(member);
        }
        state.turn.reset();
        self.monitor.wake();
        change.removed = old.iter().map(|member| member.endpoint.addr).collect();
        state.depart(old);
        change
    }

    /// The next endpoint to dial for a client that has `tried` these: the one whose turn
    /// it is among the active, then those that are slow to answer, then, when none of these
    /// has served, the inactive.
    pub(crate) fn pick(&self, tried: &[SocketAddr]) -> Option<(SocketAddr, Hold)> {
        let mut state = lock(&self.state);
        let candidates: Vec<_> = state
            .members
            .iter()
            .map(|member| Candidate {
                standing: if tried.contains(&member.endpoint.addr) {
                    Standing::Excluded
                } else {
                    member.standing()
                },
                priority: member.endpoint.priority,
                weight: member.endpoint.weight,
                open: member.ledger.held(),
            })
            .collect();
        let index = state.turn.next(self.policy, &candidates)?;
        let member = state.members.get(index)?;
        // Still under the lock: of a thousand clients at once each sees those before it.
        Some((member.endpoint.addr, member.ledger.hold()))
    }

    /// Notes that a dial waits for an answer longer than usual. The endpoint stays
    /// active until that dial's own outcome is reported, but is nobody's first choice.
    pub(crate) fn overdue(&self, addr: SocketAddr) {
        self.change(addr, |member| member.overdue = true);
    }

    /// Counts a dial that was answered after so long, which ends the doubt that such a dial may
    /// have raised, whatever comes of it. What else it means for the endpoint is for [`Pool::vet`]
    /// or [`Pool::succeeded`] to say.
    pub(crate) fn answered(&self, addr: SocketAddr, took: Duration) {
        self.change(addr, |member| member.answered(took));
    }

    /// Reports that a dial begun at `started` succeeded. An endpoint that has to prove who it is
    /// does not become active by that, nor one that was found to be this gateway since.
    pub(crate) fn succeeded(&self, addr: SocketAddr, started: Instant) {
        let gated = self.gate.is_some();
        let activated = self.change(addr, |member| {
            member.succeeded(started, Instant::now(), gated)
        });
        log_activated(addr, activated);
    }

    /// Reports that a dial begun at `started` failed. A failure of our own leaves the
    /// endpoint as it was, but for the doubt that such a dial may have raised.
    pub(crate) fn failed(&self, addr: SocketAddr, started: Instant, error: &dial::Error) {
        let retry_delay = retry::delay(self.retry_delay, random::number());
        let deactivated = self.change(addr, |member| {
            let now = Instant::now();
            member.failed(started, now, error, now + retry_delay);
        });
        if let Some(name) = deactivated {
            self.monitor.wake();
            if self.census().active == 0 {
                self.distress.wake();
            }
            log::warn(
                "pool",
                "deactivated endpoint",
                &[
                    ("address", addr.into()),
                    ("endpoint", name.into()),
                    ("interval", self.retry_delay.into()),
                    ("error", error.to_string().into()),
                ],
            );
        }
    }

    /// The inactive endpoints whose time to be tried again has come, and when the next
    /// one's comes. Each is handed out once a delay: its next time is set here.
    pub(crate) fn due(&self, now: Instant) -> (Vec<SocketAddr>, Option<Instant>) {
        let mut state = lock(&self.state);
        let again = |member: &mut Member| {
            let delay = retry::delay(self.retry_delay, random::number());
            member
                .is_due(now, now + delay)
                .then_some(member.endpoint.addr)
        };
        let due = state.members.iter_mut().filter_map(again).collect();
        (due, state.members.iter().filter_map(Member::retry_at).min())
    }

    /// Whether the endpoint is inactive because it is this gateway.
    pub(crate) fn is_looped(&self, addr: SocketAddr) -> bool {
        self.with(addr, |member| member.is_looped()) == Some(true)
    }

    /// How many endpoints there are and how many are active.
    pub(crate) fn census(&self) -> Census {
        let state = lock(&self.state);
        Census {
            active: state
                .members
                .iter()
                .filter(|member| member.is_active())
                .count(),
            total: state.members.len(),
        }
    }

    /// Acts on an endpoint, and returns its name if that turned it active or inactive.
    fn change(&self, addr: SocketAddr, act: impl FnOnce(&mut Member)) -> Option<String> {
        let mut state = lock(&self.state);
        let member = state
            .members
            .iter_mut()
            .find(|member| member.endpoint.addr == addr)?;
        let (before, status) = (member.is_active(), member.status());
        act(member);
        if member.status() != status {
            member.since = SystemTime::now();
        }
        let name = (member.is_active() != before).then(|| member.endpoint.name.clone());
        match (before, member.is_active()) {
            (false, true) => member.ledger.activations.add(1),
            (true, false) => member.ledger.deactivations.add(1),
            _ => {}
        }
        if name.is_some() {
            state.turn.reset();
        }
        name
    }

    fn with<T>(&self, addr: SocketAddr, act: impl FnOnce(&mut Member) -> T) -> Option<T> {
        lock(&self.state)
            .members
            .iter_mut()
            .find(|member| member.endpoint.addr == addr)
            .map(act)
    }
}

fn log_activated(addr: SocketAddr, activated: Option<String>) {
    if let Some(name) = activated {
        log::info(
            "pool",
            "activated",
            &[("address", addr.into()), ("endpoint", name.into())],
        );
    }
}

#[cfg(test)]
mod tests;
