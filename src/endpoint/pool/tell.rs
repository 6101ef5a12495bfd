//! What a change of an endpoint's state is: counted, logged once, and a call for whoever it concerns.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::member::Member;
use super::{Census, Pool, State};
use crate::endpoint::history::Transition;
use crate::endpoint::status::Status;
use crate::log;

/// An endpoint before something happens to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    status: Status,
    is_usable: bool,
    next: Option<Instant>,
}

/// A change of one endpoint.
#[derive(Debug)]
pub(super) struct Changed {
    transition: Transition,
    was_usable: bool,
    is_usable: bool,
    /// How long it was unusable, if it is usable again.
    away: Duration,
    /// How long it is left alone, if it is.
    interval: Option<Duration>,
    alarm: Option<Alarm>,
}

/// A change of them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alarm {
    /// None is active any more.
    Begun,
    /// One is again, after so long.
    Over(Duration),
}

impl Before {
    pub(super) fn of(member: &Member) -> Self {
        Self {
            status: member.status(),
            is_usable: member.is_usable(),
            next: member.next(),
        }
    }

    /// Whether the endpoint is to be asked sooner now.
    pub(super) fn is_asked_sooner(&self, member: &Member) -> bool {
        let sooner = |now| self.next.is_none_or(|next| now < next);
        member.next().is_some_and(sooner)
    }

    /// What has changed, if its state has.
    pub(super) fn changed(self, member: &mut Member) -> Option<Box<Changed>> {
        (member.status() != self.status).then(|| self.change(member))
    }

    #[cold]
    #[inline(never)]
    fn change(self, member: &mut Member) -> Box<Changed> {
        let now = Instant::now();
        let (to, is_usable) = (member.status(), member.is_usable());
        let transition = member.transition(now, self.status, to);
        member.has_changed(now);
        let away = now.saturating_duration_since(member.away);
        if self.is_usable && !is_usable {
            member.away = now;
        }
        let left = |next: Instant| next.saturating_duration_since(now);
        Box::new(Changed {
            transition,
            was_usable: self.is_usable,
            is_usable,
            away,
            interval: member.next().map(left),
            alarm: None,
        })
    }
}

impl State {
    /// Takes a change into account.
    #[cold]
    #[inline(never)]
    pub(super) fn took(&mut self, mut changed: Box<Changed>) -> Box<Changed> {
        let (from, to) = (changed.transition.from, changed.transition.to);
        // Another set of endpoints is to be chosen from.
        if changed.was_usable != changed.is_usable || from.is_doubted() != to.is_doubted() {
            self.round_robin.reset();
        }
        self.transitions.push(changed.transition.clone());
        changed.alarm = self.alarm(Instant::now());
        changed
    }

    /// Notes whether any endpoint is active; what has changed about that. It is not known while none has
    /// been tried.
    pub(super) fn alarm(&mut self, now: Instant) -> Option<Alarm> {
        let mut statuses = self.members.iter().map(Member::status);
        let serves = |status: Status| status.is_active() || status == Status::Untried;
        let none = !self.members.is_empty() && !statuses.any(serves);
        match self.none_active {
            None if none => {
                self.none_active = Some(now);
                Some(Alarm::Begun)
            }
            Some(since) if !none => {
                self.none_active = None;
                Some(Alarm::Over(now.saturating_duration_since(since)))
            }
            _ => None,
        }
    }
}

impl Pool {
    /// Logs a change, and calls whoever it concerns.
    #[cold]
    #[inline(never)]
    pub(super) fn tell(&self, changed: Changed) {
        let alarm = changed.alarm;
        log_change(changed, self.census());
        self.sound(alarm);
    }

    /// Logs that no endpoint is active, or that one is again, and has others looked for.
    pub(super) fn sound(&self, alarm: Option<Alarm>) {
        match alarm {
            Some(Alarm::Begun) => {
                self.distress.wake();
                let logged = self.alarms.admit(Instant::now());
                self.alarm_logged.store(logged.is_some(), Ordering::Relaxed);
                if let Some(suppressed) = logged {
                    let total = self.census().total;
                    log::error(
                        "pool",
                        "no endpoint is active",
                        &[
                            ("endpoints", total.into()),
                            ("suppressed", suppressed.into()),
                        ],
                    );
                }
            }
            // The end of what was logged is logged, too.
            Some(Alarm::Over(after)) if self.alarm_logged.swap(false, Ordering::Relaxed) => {
                log::info(
                    "pool",
                    "an endpoint is active again",
                    &[("after_seconds", after.into())],
                );
            }
            Some(Alarm::Over(_)) | None => {}
        }
    }
}

fn log_change(changed: Changed, census: Census) {
    let Transition {
        addr,
        name,
        from,
        to,
        lasted,
        reason,
        ..
    } = changed.transition;
    let mut fields: Vec<(&str, log::Value)> = vec![("address", addr.into()), ("name", name.into())];
    let error = reason.map(|error| ("error", error.into()));
    match (changed.was_usable, changed.is_usable) {
        (false, true) => {
            fields.push(("after_seconds", changed.away.into()));
            log::info("pool", "activated", &fields);
        }
        (true, false) => {
            fields.extend([
                ("active_endpoints", census.active.into()),
                ("endpoints", census.total.into()),
            ]);
            fields.extend(
                changed
                    .interval
                    .map(|interval| ("interval", interval.into())),
            );
            fields.extend(error);
            log::warn("pool", "deactivated endpoint", &fields);
        }
        _ if to == Status::Silent => log::warn(
            "pool",
            "endpoint accepts connections and does not answer",
            &fields,
        ),
        _ if to == Status::Unhealthy => {
            fields.extend(error);
            log::warn("pool", "endpoint fails its health checks", &fields);
        }
        _ if from.is_doubted() && to.is_active() => {
            let message = match from {
                Status::Silent => "endpoint answers again",
                _ => "endpoint passes its health checks again",
            };
            fields.push(("after_seconds", lasted.into()));
            log::info("pool", message, &fields);
        }
        _ => {}
    }
}
