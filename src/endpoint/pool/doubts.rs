//! Which endpoints are doubted, and whether what is connected to them would be better off elsewhere.
//!
//! A connection must not be reset for a doubt unless another endpoint is known to be better: where all have
//! stopped alike, a client that waits gets its answer when they go on, and one that is reset gets an error.
//! That an endpoint is active says little where nobody has connected to it since. So another
//! has to have been active for a while, and to have answered somebody after the doubt arose; if none has,
//! one is asked.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Pool;
use super::member::Member;
use crate::endpoint::status::Status;
use crate::sync::lock;

/// An endpoint that is doubted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Doubted {
    pub(crate) addr: SocketAddr,
    /// Silent or unhealthy.
    pub(crate) status: Status,
    /// Since when somebody waits for its answer, or it fails its health checks.
    pub(crate) since: Instant,
    /// Another is known to be better.
    pub(crate) is_outdone: bool,
}

impl Pool {
    /// The endpoints that are doubted. One is outdone by another that has been active for so long.
    pub(crate) fn doubted(&self, active_for: Duration) -> Vec<Doubted> {
        let at = self.moment();
        let mut state = lock(&self.state);
        let is_better = |member: &Member| member.serves_since(at.now, active_for);
        let better = state.members.iter().filter(|member| is_better(member));
        let seen = better.filter_map(Member::seen).max();
        let doubted = |member: &Member| {
            let (status, since) = (member.status(), member.doubted_since());
            status.is_doubted().then(|| Doubted {
                addr: member.endpoint.addr,
                status,
                since,
                is_outdone: !member.answers_again() && seen.is_some_and(|seen| seen > since),
            })
        };
        let doubted: Vec<Doubted> = state.members.iter().filter_map(doubted).collect();
        // A health check asks by itself.
        let is_open = |doubted: &Doubted| {
            doubted.status == Status::Silent && seen.is_none_or(|seen| seen <= doubted.since)
        };
        let mut better = state.members.iter_mut().filter(|member| is_better(member));
        let asked = doubted.iter().any(is_open) && better.any(|member| member.doubt(at.now, at));
        drop(state);
        if asked {
            self.monitor.wake();
        }
        doubted
    }
}
