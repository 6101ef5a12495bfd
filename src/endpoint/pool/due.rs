//! What endpoints are to be asked by the monitor, and when.

use std::net::SocketAddr;
use std::time::Instant;

use super::Pool;
use super::admission::Proving;
use super::member::{Kind, Member, Moment};
use crate::sync::lock;

/// What an endpoint is to be asked.
#[derive(Debug)]
pub(crate) enum Task {
    /// Whether it can be connected to.
    Dial(SocketAddr),
    /// Whether it is who it has to be.
    Prove(Proving),
    /// Whether it says anything.
    Probe(SocketAddr),
}

impl Pool {
    /// When the next endpoint is to be asked something, if any is.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let members = &mut lock(&self.state).members;
        let next = members.iter_mut().filter_map(|member| {
            member.patrol(self.retry_delay);
            member.next()
        });
        next.min()
    }

    /// What is to be asked by `now`, if anything; what has waited longest comes first, but for suspicions: a
    /// client waits. Each task is handed out once.
    pub(crate) fn next_task(&self, now: Instant) -> Option<Task> {
        let gated = self.gate.is_some();
        let at = Moment {
            now,
            ..self.moment()
        };
        let mut state = lock(&self.state);
        let is_due = |member: &&mut Member| member.next().is_some_and(|next| next <= now);
        let due = state.members.iter_mut().filter(is_due);
        let member = due.min_by_key(|member| (!member.is_suspected(), member.next()))?;
        let addr = member.endpoint.addr;
        Some(match member.due(at, gated)? {
            Kind::Dial => Task::Dial(addr),
            Kind::Prove => Task::Prove(Proving::of(&member.endpoint)),
            Kind::Probe => Task::Probe(addr),
        })
    }
}
