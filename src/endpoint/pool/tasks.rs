//! What the monitor is to ask endpoints, and when.

use std::net::SocketAddr;
use std::time::Instant;

use super::Pool;
use super::admission::AuthenticationTask;
use super::member::{Member, Question};
use crate::sync::lock;

/// A question to an endpoint.
#[derive(Debug)]
pub(crate) enum Task {
    /// Whether it can be connected to.
    Dial(SocketAddr),
    /// Whether it has the identity that it must have.
    Authenticate(AuthenticationTask),
    /// Whether it answers.
    Probe(SocketAddr),
}

impl Pool {
    /// When the next task is due, if there is one.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let set = lock(&self.set);
        set.members.iter().filter_map(Member::next).min()
    }

    /// The next task that is due by `now`, if there is one: suspected endpoints first, because a
    /// client waits, then those that have waited longest. Each task is returned once.
    pub(crate) fn next_task(&self, now: Instant) -> Option<Task> {
        let mut set = lock(&self.set);
        let is_due = |member: &&mut Member| member.next().is_some_and(|next| next <= now);
        let due = set.members.iter_mut().filter(is_due);
        let member = due.min_by_key(|member| (member.suspected.is_none(), member.next()))?;
        let addr = member.endpoint.addr;
        Some(match member.due(now)? {
            Question::Dial => Task::Dial(addr),
            Question::Authenticate => Task::Authenticate(AuthenticationTask::of(&member.endpoint)),
            Question::Probe => Task::Probe(addr),
        })
    }
}
