//! The endpoints as somebody sees them who only looks: metrics and the status page.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::member::Member;
use super::{Pool, State};
use crate::endpoint::Endpoint;
use crate::endpoint::history::{MINUTES, Transition};
use crate::endpoint::stats::EndpointStats;
use crate::endpoint::status::Status;
use crate::sync::lock;

/// An endpoint and what is known of it.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) endpoint: Endpoint,
    pub(crate) status: Status,
    /// Since when.
    pub(crate) since: Instant,
    /// What it last failed of, and when.
    pub(crate) last_error: Option<(Instant, String)>,
    pub(crate) stats: Arc<EndpointStats>,
    /// Its worst state in each minute of the last hour, the oldest first; `None` where it was not known.
    pub(crate) hour: [Option<Status>; MINUTES],
}

impl Member {
    /// A change of its state, as long as the time of the last one is known still.
    pub(super) fn transition(&self, at: Instant, from: Status, to: Status) -> Transition {
        let error = self.last_error.as_ref().map(|(_, error)| error.clone());
        Transition {
            at,
            addr: self.endpoint.addr,
            name: self.endpoint.name.clone(),
            from,
            to,
            lasted: at.saturating_duration_since(self.changed),
            // What it failed of before is not why it is well, or gone.
            reason: error.filter(|_| !to.is_active() && to != Status::Removed),
        }
    }

    fn view(&self, status: Status, now: Instant) -> View {
        View {
            endpoint: self.endpoint.clone(),
            status,
            since: self.changed,
            last_error: self.last_error.clone(),
            stats: Arc::clone(&self.stats),
            hour: self.hour.at(now),
        }
    }
}

impl State {
    /// Keeps of those that left the ones that clients are connected to, or about to be; not those
    /// that are back or have been left by the last client.
    pub(super) fn depart(&mut self, mut old: Vec<Member>) {
        let now = Instant::now();
        let back = |addr: SocketAddr| {
            let mut members = self.members.iter();
            members.any(|member| member.endpoint.addr == addr)
        };
        for member in &mut old {
            let left = member.transition(now, member.status(), Status::Removed);
            self.transitions.push(left);
            member.changed = now;
            member.hour.changed(now, Status::Removed);
            // Nobody says anything of it any more.
            member.endpoint.drains = false;
            // One that is back has taken the stats over.
            if !back(member.endpoint.addr) {
                member.stats.turned(Status::Removed, now);
            }
        }
        self.departed.append(&mut old);
        self.departed
            .retain(|member| member.stats.held() > 0 && !back(member.endpoint.addr));
    }
}

impl Pool {
    /// All endpoints, then those that have left and still have connections.
    pub(crate) fn views(&self) -> Vec<View> {
        let mut state = lock(&self.state);
        let now = Instant::now();
        state.depart(Vec::new());
        let members = state.members.iter();
        let members = members.map(|member| member.view(member.status(), now));
        let departed = state.departed.iter();
        let departed = departed.map(|member| member.view(Status::Removed, now));
        members.chain(departed).collect()
    }

    /// The last changes of all endpoints, the latest first.
    pub(crate) fn transitions(&self) -> Vec<Transition> {
        lock(&self.state).transitions.latest()
    }
}
