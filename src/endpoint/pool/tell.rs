//! What a change of an endpoint's state is: counted, logged once, and a call for whoever it concerns.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::member::Member;
use super::{Pool, State};
use crate::endpoint::status::Status;
use crate::log;

/// A change of one endpoint.
#[derive(Debug)]
pub(super) struct Changed {
    addr: SocketAddr,
    name: String,
    from: Status,
    to: Status,
    was_usable: bool,
    is_usable: bool,
    /// How long it was in the state that it has left.
    lasted: Duration,
    error: Option<String>,
    /// How long it is left alone, if it is.
    interval: Option<Duration>,
    pub(super) alarm: Option<Alarm>,
}

/// A change of them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alarm {
    /// None is active any more.
    Begun,
    /// One is again, after so long.
    Over(Duration),
}

impl Changed {
    /// An endpoint before something happens to it.
    pub(super) fn begin(member: &Member, now: Instant) -> Self {
        let status = member.status();
        Self {
            addr: member.endpoint.addr,
            name: String::new(),
            from: status,
            to: status,
            was_usable: member.is_usable(),
            is_usable: false,
            lasted: now.saturating_duration_since(member.changed),
            error: None,
            interval: None,
            alarm: None,
        }
    }

    /// Whether another set of endpoints is to be chosen from than before.
    pub(super) fn changes_choice(&self) -> bool {
        self.was_usable != self.is_usable || self.from.is_doubted() != self.to.is_doubted()
    }

    /// The same endpoint afterwards; `None` if its state is the same.
    pub(super) fn end(self, member: &mut Member) -> Option<Self> {
        let changed = Self {
            to: member.status(),
            is_usable: member.is_usable(),
            ..self
        };
        if changed.from == changed.to {
            return None;
        }
        member.has_changed(Instant::now());
        match (changed.was_usable, changed.is_usable) {
            (false, true) => member.ledger.activations.add(1),
            (true, false) => member.ledger.deactivations.add(1),
            _ => {}
        }
        let now = Instant::now();
        let interval = member
            .next()
            .map(|next| next.saturating_duration_since(now));
        let error = member.last_error.as_ref().map(|(_, error)| error.clone());
        Some(Self {
            name: member.endpoint.name.clone(),
            interval,
            error: error.filter(|_| !changed.to.is_active()),
            ..changed
        })
    }
}

impl State {
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
    pub(super) fn tell(&self, changed: Changed) {
        let alarm = changed.alarm;
        log_change(changed);
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
                    &[("after", after.into())],
                );
            }
            Some(Alarm::Over(_)) | None => {}
        }
    }
}

fn log_change(changed: Changed) {
    let Changed {
        from, to, lasted, ..
    } = changed;
    let mut fields: Vec<(&str, log::Value)> = vec![
        ("address", changed.addr.into()),
        ("endpoint", changed.name.into()),
    ];
    let error = changed.error.map(|error| ("error", error.into()));
    match (changed.was_usable, changed.is_usable) {
        (false, true) => log::info("pool", "activated", &fields),
        (true, false) => {
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
            fields.push(("after", lasted.into()));
            log::info("pool", message, &fields);
        }
        _ => {}
    }
}
