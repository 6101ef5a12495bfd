//! Which endpoints are doubted, and whether another endpoint would serve their clients better.
//!
//! A connection must not be reset because of a doubt unless another endpoint is known to be better: where all have
//! stopped, a client that waits gets its answer when they continue, and one that is reset gets an error.
//! An active endpoint may have failed since its last connection. So the other one
//! must have been active for a while, and have answered after the doubt began; if none has,
//! one is probed.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Pool;
use super::member::Member;
use crate::endpoint::state::EndpointState;
use crate::sync::lock;

/// A doubted endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Doubted {
    pub(crate) addr: SocketAddr,
    /// Silent or unhealthy.
    pub(crate) state: EndpointState,
    /// Since when a client waits for its answer, or it fails its health checks.
    pub(crate) since: Instant,
    /// Another is known to be better.
    pub(crate) another_is_better: bool,
}

impl Pool {
    /// The doubted endpoints. Another is better if it has been active for this time.
    pub(crate) fn doubted(&self, active_for: Duration) -> Vec<Doubted> {
        let now = Instant::now();
        let mut set = lock(&self.set);
        let is_better = |member: &Member| member.serves_since(now, active_for);
        let better = set.members.iter().filter(|member| is_better(member));
        let seen = better.filter_map(|member| member.seen).max();
        let doubted = |member: &Member| {
            let (state, since) = (member.state(), member.doubted_since());
            state.is_doubted().then(|| Doubted {
                addr: member.endpoint.addr,
                state,
                since,
                another_is_better: !member.answers_again() && seen.is_some_and(|seen| seen > since),
            })
        };
        let doubted: Vec<Doubted> = set.members.iter().filter_map(doubted).collect();
        // Health checks need no probe.
        let is_undecided = |doubted: &Doubted| {
            doubted.state == EndpointState::Silent && seen.is_none_or(|seen| seen <= doubted.since)
        };
        let mut better = set.members.iter_mut().filter(|member| is_better(member));
        let asked =
            doubted.iter().any(is_undecided) && better.any(|member| member.ask_for_probe(now, now));
        drop(set);
        if asked {
            self.monitor_waker.wake();
        }
        doubted
    }
}
