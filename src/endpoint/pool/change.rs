//! A change of an endpoint's state by a report, and its line in the log.

use std::time::{Duration, Instant};

use super::member::Member;
use crate::endpoint::history::Transition;
use crate::endpoint::state::EndpointState;
use crate::log;

/// An endpoint before a report about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    state: EndpointState,
    is_usable: bool,
    next: Option<Instant>,
}

/// A change of one endpoint, and what it means for all.
#[derive(Debug)]
pub(super) struct Changed {
    pub(super) transition: Transition,
    pub(super) was_usable: bool,
    pub(super) is_usable: bool,
    /// How long it was unusable, if it is usable again.
    unusable_for: Duration,
    /// When it is asked again, if it is.
    interval: Option<Duration>,
    /// What it means for all endpoints: how many are active, of how many, and whether any is.
    pub(super) active: usize,
    pub(super) total: usize,
    pub(super) alarm: Option<Alarm>,
}

/// Whether any endpoint is active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alarm {
    /// None is active any more.
    Begun,
    /// One is active again, after this time.
    Over(Duration),
}

impl Before {
    pub(super) fn of(member: &Member) -> Self {
        Self {
            state: member.state(),
            is_usable: member.is_usable(),
            next: member.next(),
        }
    }

    /// Whether the endpoint is to be asked sooner now.
    pub(super) fn is_asked_sooner(&self, member: &Member) -> bool {
        let sooner = |now| self.next.is_none_or(|next| now < next);
        member.next().is_some_and(sooner)
    }

    /// The change of its state, if there is one.
    pub(super) fn changed(self, member: &mut Member, now: Instant) -> Option<Box<Changed>> {
        (member.state() != self.state).then(|| self.change(member, now))
    }

    #[cold]
    #[inline(never)]
    fn change(self, member: &mut Member, now: Instant) -> Box<Changed> {
        let is_usable = member.is_usable();
        let transition = member.transition(now, self.state);
        member.has_changed(now);
        let unusable_for = now.saturating_duration_since(member.unusable);
        if self.is_usable && !is_usable {
            member.unusable = now;
        }
        let left = |next: Instant| next.saturating_duration_since(now);
        Box::new(Changed {
            transition,
            was_usable: self.is_usable,
            is_usable,
            unusable_for,
            interval: member.next().map(left),
            active: 0,
            total: 0,
            alarm: None,
        })
    }
}

impl Member {
    /// The change to its present state, to be called before that is noted.
    fn transition(&self, at: Instant, from: EndpointState) -> Transition {
        let to = self.state();
        let error = self.last_error.as_ref().map(|(_, error)| error.clone());
        Transition {
            at,
            addr: self.endpoint.addr,
            name: self.endpoint.name.clone(),
            from,
            to,
            lasted: at.saturating_duration_since(self.changed),
            // An earlier failure is not the reason why it is active again or removed.
            reason: error.filter(|_| !to.is_active() && to != EndpointState::Removed),
        }
    }
}

impl Changed {
    /// Logs the change of one endpoint.
    #[cold]
    #[inline(never)]
    pub(super) fn log(&self) {
        let Transition {
            addr,
            name,
            from,
            to,
            lasted,
            reason,
            ..
        } = &self.transition;
        let mut fields: Vec<(&str, log::Value)> =
            vec![("address", (*addr).into()), ("name", name.clone().into())];
        let error = reason.clone().map(|error| ("error", error.into()));
        match (self.was_usable, self.is_usable) {
            (false, true) => {
                fields.push(("after_seconds", self.unusable_for.into()));
                log::info("pool", "activated", &fields);
            }
            (true, false) => {
                fields.push(("active_endpoints", self.active.into()));
                fields.push(("endpoints", self.total.into()));
                fields.extend(self.interval.map(|time| ("interval", time.into())));
                fields.extend(error);
                log::warn("pool", "deactivated endpoint", &fields);
            }
            _ if *to == EndpointState::Silent => {
                let message = "endpoint accepts connections and does not answer";
                log::warn("pool", message, &fields);
            }
            _ if *to == EndpointState::Unhealthy => {
                fields.extend(error);
                log::warn("pool", "endpoint fails its health checks", &fields);
            }
            _ if from.is_doubted() && to.is_active() => {
                let message = match from {
                    EndpointState::Silent => "endpoint answers again",
                    _ => "endpoint passes its health checks again",
                };
                fields.push(("after_seconds", (*lasted).into()));
                log::info("pool", message, &fields);
            }
            _ => {}
        }
    }
}
