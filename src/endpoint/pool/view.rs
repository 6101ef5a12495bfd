//! The endpoints as metrics and pages show them.

use std::sync::Arc;
use std::time::Instant;

use super::Pool;
use super::member::Member;
use crate::endpoint::Endpoint;
use crate::endpoint::history::{MINUTES, Transition};
use crate::endpoint::state::EndpointState;
use crate::endpoint::stats::EndpointStats;
use crate::sync::lock;

/// An endpoint and what is known of it.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) endpoint: Endpoint,
    pub(crate) state: EndpointState,
    /// Since when it has this state.
    pub(crate) since: Instant,
    /// The last failure, and when it was.
    pub(crate) last_error: Option<(Instant, String)>,
    pub(crate) stats: Arc<EndpointStats>,
    /// Its worst state in each minute of the last hour, the oldest first; `None` where it was not known.
    pub(crate) hour: [Option<EndpointState>; MINUTES],
}

impl Member {
    fn view(&self, now: Instant) -> View {
        View {
            endpoint: self.endpoint.clone(),
            state: self.state(),
            since: self.changed,
            last_error: self.last_error.clone(),
            stats: Arc::clone(&self.stats),
            hour: self.hour.at(now),
        }
    }
}

impl Pool {
    /// All endpoints, then those that were removed and still have connections.
    pub(crate) fn views(&self) -> Vec<View> {
        let mut set = lock(&self.set);
        let now = Instant::now();
        set.forget_unused();
        let all = set.members.iter().chain(&set.removed);
        all.map(|member| member.view(now)).collect()
    }

    /// The last changes of all endpoints, the latest first.
    pub(crate) fn transitions(&self) -> Vec<Transition> {
        lock(&self.set).transitions.latest()
    }
}
