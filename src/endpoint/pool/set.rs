//! The endpoints of the pool: which there are, how a new set replaces them, and what all of them together are.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::change::{Alarm, Before, Changed};
use super::member::{Member, Parameters};
use crate::endpoint::Endpoint;
use crate::endpoint::history::{Transition, Transitions};
use crate::endpoint::pick::{Candidate, Preference, RoundRobin};
use crate::endpoint::state::EndpointState;

#[derive(Debug, Default)]
pub(super) struct Set {
    pub(super) members: Vec<Member>,
    /// Endpoints that were removed and still have connections.
    pub(super) removed: Vec<Member>,
    pub(super) round_robin: RoundRobin,
    pub(super) transitions: Transitions,
    none_active_since: Option<Instant>,
}

impl Set {
    /// The endpoints as choices for a client that has `tried` these.
    pub(super) fn candidates(&self, tried: &[SocketAddr]) -> Vec<Candidate> {
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

    pub(super) fn census(&self) -> Census {
        let count =
            |is: fn(&Member) -> bool| self.members.iter().filter(|member| is(member)).count();
        Census {
            active: count(|member| member.state().is_active()),
            untried: count(|member| member.state() == EndpointState::Untried),
            draining: count(|member| member.endpoint.drains),
            total: self.members.len(),
        }
    }

    pub(super) fn find(&mut self, addr: SocketAddr) -> Option<&mut Member> {
        let mut members = self.members.iter_mut();
        members.find(|member| member.endpoint.addr == addr)
    }

    /// Replaces the endpoints.
    pub(super) fn replace(
        &mut self,
        endpoints: Vec<Endpoint>,
        parameters: Parameters,
        now: Instant,
    ) -> Change {
        let mut change = Change::default();
        // The same address under another name has another identity to prove.
        let stays = |member: &mut Member| {
            let mut new = endpoints.iter();
            let new = new.find(|endpoint| endpoint.addr == member.endpoint.addr);
            new.is_some_and(|endpoint| endpoint.identity == member.endpoint.identity)
        };
        let mut old = std::mem::take(&mut self.members);
        let removed: Vec<Member> = old.extract_if(.., |member| !stays(member)).collect();
        for mut member in removed {
            change.removed.push(member.endpoint.addr);
            let before = Before::of(&member);
            member.removed();
            self.note(before, &mut member, now);
            self.removed.push(member);
        }
        for endpoint in endpoints {
            let addr = endpoint.addr;
            if self.find(addr).is_some() {
                continue;
            }
            let drains = endpoint.drains;
            let known = old.iter().position(|member| member.endpoint.addr == addr);
            let (member, drained) = match known {
                Some(index) => {
                    let mut member = old.swap_remove(index);
                    let before = Before::of(&member);
                    let old = std::mem::replace(&mut member.endpoint, endpoint);
                    self.note(before, &mut member, now);
                    (member, old.drains)
                }
                None => {
                    change.added.push(addr);
                    let mut removed = self.removed.iter().rev();
                    let removed = removed.find(|member| member.endpoint.addr == addr);
                    let stats = removed.map(|member| Arc::clone(&member.stats));
                    let stats = stats.unwrap_or_default();
                    (Member::new(endpoint, parameters, stats), false)
                }
            };
            match (drained, drains) {
                (false, true) => change.draining.push(addr),
                (true, false) => change.restored.push(addr),
                _ => {}
            }
            self.members.push(member);
        }
        self.round_robin.reset();
        self.forget_unused();
        change
    }

    /// Adds a change of state that is not logged to the history.
    fn note(&mut self, before: Before, member: &mut Member, now: Instant) {
        if let Some(changed) = before.changed(member, now) {
            self.transitions.push(changed.transition);
        }
    }

    /// Records a change.
    #[cold]
    #[inline(never)]
    pub(super) fn record(&mut self, mut changed: Box<Changed>, now: Instant) -> Box<Changed> {
        let Transition { from, to, .. } = changed.transition;
        // The choices are others now.
        if changed.was_usable != changed.is_usable || from.is_doubted() != to.is_doubted() {
            self.round_robin.reset();
        }
        self.transitions.push(changed.transition.clone());
        let census = self.census();
        (changed.active, changed.total) = (census.active, census.total);
        changed.alarm = self.alarm(now);
        changed
    }

    /// Whether it has changed that any endpoint is active. An untried one may be.
    pub(super) fn alarm(&mut self, now: Instant) -> Option<Alarm> {
        let mut states = self.members.iter().map(Member::state);
        let serves = |state: EndpointState| state.is_active() || state == EndpointState::Untried;
        let none = !self.members.is_empty() && !states.any(serves);
        match self.none_active_since {
            None if none => {
                self.none_active_since = Some(now);
                Some(Alarm::Begun)
            }
            Some(since) if !none => {
                self.none_active_since = None;
                Some(Alarm::Over(now.saturating_duration_since(since)))
            }
            _ => None,
        }
    }

    /// Forgets removed endpoints that have no connection any more, or are back in the set.
    pub(super) fn forget_unused(&mut self) {
        let Self {
            members, removed, ..
        } = self;
        removed.retain(|old| {
            let is_back = |member: &Member| member.endpoint.addr == old.endpoint.addr;
            old.stats.held() > 0 && !members.iter().any(is_back)
        });
    }
}

/// How many endpoints there are, how many of them are active or untried, and how many are
/// to drain, whatever their state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) active: usize,
    pub(crate) untried: usize,
    pub(crate) draining: usize,
    pub(crate) total: usize,
}

/// How a new set of endpoints differs from the old one.
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
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
