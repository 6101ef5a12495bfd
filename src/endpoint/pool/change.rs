//! A change of an endpoint's state: recorded, logged once, and reason to wake whoever depends on it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::member::Member;
use super::{Pool, Set};
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
    was_usable: bool,
    is_usable: bool,
    /// How long it was unusable, if it is usable again.
    unusable_for: Duration,
    /// When it is asked again, if it is.
    interval: Option<Duration>,
    alarm: Option<Alarm>,
}

/// Whether any endpoint is active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alarm {
    /// None is active any more.
    Begun,
    /// One is active again, after so long.
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
            alarm: None,
        })
    }
}

impl Set {
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
}

impl Pool {
    /// Logs a change.
    #[cold]
    #[inline(never)]
    pub(super) fn log_change(&self, changed: &Changed) {
        let Transition {
            addr,
            name,
            from,
            to,
            lasted,
            reason,
            ..
        } = &changed.transition;
        let mut fields: Vec<(&str, log::Value)> =
            vec![("address", (*addr).into()), ("name", name.clone().into())];
        let error = reason.clone().map(|error| ("error", error.into()));
        match (changed.was_usable, changed.is_usable) {
            (false, true) => {
                fields.push(("after_seconds", changed.unusable_for.into()));
                log::info("pool", "activated", &fields);
            }
            (true, false) => {
                let census = self.census();
                fields.push(("active_endpoints", census.active.into()));
                fields.push(("endpoints", census.total.into()));
                fields.extend(changed.interval.map(|time| ("interval", time.into())));
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
        self.raise(changed.alarm);
    }

    /// Logs that no endpoint is active, or that one is again, and has other endpoints looked for.
    pub(super) fn raise(&self, alarm: Option<Alarm>) {
        match alarm {
            Some(Alarm::Begun) => {
                self.refresh_waker.wake();
                let logged = self.alarms.admit(Instant::now());
                self.alarm_logged.store(logged.is_some(), Ordering::Relaxed);
                if let Some(suppressed) = logged {
                    let fields = [
                        ("endpoints", self.census().total.into()),
                        ("suppressed", suppressed.into()),
                    ];
                    log::error("pool", "no endpoint is active", &fields);
                }
            }
            // The end is logged if the beginning was.
            Some(Alarm::Over(after)) if self.alarm_logged.swap(false, Ordering::Relaxed) => {
                let fields = [("after_seconds", after.into())];
                log::info("pool", "an endpoint is active again", &fields);
            }
            Some(Alarm::Over(_)) | None => {}
        }
    }
}
