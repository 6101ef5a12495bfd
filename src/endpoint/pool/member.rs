//! One endpoint of the pool and what becomes of it by what dials, probes and checks tell. No clock is asked
//! here but for what is shown: when something happened is an input.
//!
//! What is known of an endpoint are three answers to three questions: can it be connected to ([`Reach`]), does
//! it say anything ([`Silence`]), is it healthy. Its [`Status`] follows from these.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::dial::{self, DialResult};
use crate::endpoint::history::{Hour, Transition};
use crate::endpoint::pick::Preference;
use crate::endpoint::stats::EndpointStats;
use crate::endpoint::status::Status;
use crate::endpoint::{Endpoint, Proof, retry};
use crate::log::{MAX_ERROR, shortened};

#[derive(Debug)]
pub(super) struct Member {
    pub(super) endpoint: Endpoint,
    reach: Reach,
    /// A dial is known to have waited too long for an answer, and has no outcome yet.
    slow: bool,
    silence: Option<Silence>,
    /// When it last became silent, and the time before.
    silences: [Option<Instant>; 2],
    unhealthy: bool,
    /// Since when somebody waits for an answer of it, and no probe has told yet whether it is silent.
    suspected: Option<Instant>,
    /// When it was last asked for a doubt, and when it was last probed for one.
    asked: Option<Instant>,
    probed: Option<Instant>,
    /// A time after which it has answered somebody, the latest that is known: a client, a probe, a proof, a
    /// health check.
    seen: Option<Instant>,
    /// Since when it has been active, and not doubted.
    serves: Option<Instant>,
    /// When the first of some connections was ended by it, and how many were since.
    ended: Option<(Instant, u32)>,
    /// When it is to be asked next, if it is.
    next: Option<Instant>,
    /// Failures in a row, up to now or to its return.
    failures: u32,
    /// When it became active.
    returned: Option<Instant>,
    last_success: Option<Instant>,
    /// When it last failed to prove who it is.
    rejected: Option<Instant>,
    /// When it was last found to be this gateway.
    looped: Option<Instant>,
    /// Since when it is in the state that it is in.
    pub(super) changed: Instant,
    /// When it last became unusable, or known.
    pub(super) away: Instant,
    pub(super) hour: Hour,
    /// What it last failed of, and when.
    pub(super) last_error: Option<(Instant, String)>,
    pub(super) stats: Arc<EndpointStats>,
}

/// Whether it can be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Untried,
    Active,
    Inactive(Cause),
}

/// Why an endpoint is inactive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// A dial failed.
    Down,
    /// It is this gateway.
    ThisGateway,
    /// It has not proven who it is.
    Unauthenticated,
}

/// It accepts connections and says nothing.
#[derive(Debug, Clone, Copy)]
struct Silence {
    /// Since when somebody has waited for it.
    since: Instant,
    /// Probes since then that it did not answer.
    probes: u32,
    /// Probes in a row that it has answered.
    answers: u32,
    /// How many have to be answered.
    needed: u32,
}

/// Connections that end within so long end at once.
const AT_ONCE: Duration = Duration::from_secs(1);

/// One that has become silent for the third time within [`FLAPPING`] has to answer so many times, this far
/// apart.
const ANSWERS: u32 = 3;
const ANSWERS_APART: Duration = Duration::from_secs(1);
const FLAPPING: Duration = Duration::from_secs(5 * 60);

/// How an endpoint is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Whether it can be connected to.
    Dial,
    /// Whether it is who it has to be.
    Prove,
    /// Whether it says anything.
    Probe,
}

/// The time of an event, and what is drawn for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Instant,
    /// Any number, drawn anew each time.
    pub(super) number: u32,
    /// `--retry-delay`.
    pub(super) retry_delay: Duration,
    /// How long an endpoint is not asked again for a doubt.
    pub(super) ask_again: Duration,
}

impl Moment {
    /// Whether a doubt comes too soon after something.
    fn is_soon_after(&self, then: Instant) -> bool {
        self.now.saturating_duration_since(then) < self.ask_again
    }

    /// When what has failed so many times in a row before is asked again.
    fn retry(&self, failures: u32) -> Instant {
        self.now + retry::delay(self.retry_delay, failures, self.number)
    }
}

impl Member {
    /// A new one is dialled at once.
    pub(super) fn new(endpoint: Endpoint, stats: Arc<EndpointStats>) -> Self {
        let now = Instant::now();
        stats.turned(Status::Untried, now);
        Self {
            endpoint,
            reach: Reach::Untried,
            slow: false,
            silence: None,
            silences: [None; 2],
            unhealthy: false,
            suspected: None,
            asked: None,
            probed: None,
            seen: None,
            serves: None,
            ended: None,
            next: Some(now),
            failures: 0,
            returned: None,
            last_success: None,
            rejected: None,
            looped: None,
            changed: now,
            away: now,
            hour: Hour::new(now, Status::Untried),
            last_error: None,
            stats,
        }
    }

    /// Takes over what its source says of it now, which may change its state. What is known of it stays.
    pub(super) fn described(&mut self, endpoint: Endpoint, now: Instant) -> Option<Transition> {
        let before = self.status();
        self.endpoint = endpoint;
        let has_changed = self.status() != before;
        let transition = has_changed.then(|| self.transition(now, before, self.status()));
        if has_changed {
            self.has_changed(now);
        }
        transition
    }

    pub(super) fn status(&self) -> Status {
        match self.known() {
            Status::Active | Status::Slow if self.endpoint.drains => Status::Draining,
            known => known,
        }
    }

    /// Its state as far as it is the endpoint's own, whatever its source says of it.
    fn known(&self) -> Status {
        match self.reach {
            Reach::Inactive(Cause::Down) => Status::Inactive,
            Reach::Inactive(Cause::ThisGateway) => Status::ThisGateway,
            Reach::Inactive(Cause::Unauthenticated) => Status::Unauthenticated,
            // What is said of it is said of one that has answered.
            Reach::Untried => Status::Untried,
            Reach::Active if self.silence.is_some() => Status::Silent,
            Reach::Active if self.unhealthy => Status::Unhealthy,
            Reach::Active if self.slow => Status::Slow,
            Reach::Active => Status::Active,
        }
    }

    /// Whether it has nothing to prove any more.
    pub(super) fn is_active(&self) -> bool {
        self.reach == Reach::Active
    }

    pub(super) fn is_this_gateway(&self) -> bool {
        self.reach == Reach::Inactive(Cause::ThisGateway)
    }

    pub(super) fn preference(&self) -> Preference {
        match self.known() {
            // Who has something to prove gets no client before, whatever else is down.
            Status::Untried if self.endpoint.identity.is_some() => Preference::Excluded,
            Status::Untried if self.slow => Preference::Slow,
            // That one drains is compared by itself.
            Status::Untried | Status::Active | Status::Draining => Preference::Active,
            Status::Slow => Preference::Slow,
            Status::Unhealthy => Preference::Unhealthy,
            Status::Silent => Preference::Silent,
            Status::Inactive => Preference::Inactive,
            // A dial to ourselves would only come back as one more client.
            Status::ThisGateway | Status::Unauthenticated | Status::Removed => Preference::Excluded,
        }
    }

    /// Whether clients are connected to it while there is a choice of such endpoints.
    pub(super) fn is_usable(&self) -> bool {
        self.preference() < Preference::Inactive
    }

    /// Whether it was found to be this gateway after a dial had begun, which may be that very dial:
    /// whatever comes of that tells nothing better.
    fn has_looped_since(&self, began: Instant) -> bool {
        self.looped.is_some_and(|looped| looped > began)
    }

    fn activate(&mut self, now: Instant) {
        if self.reach != Reach::Active {
            self.reach = Reach::Active;
            self.returned = Some(now);
            self.next = None;
            self.suspected = None;
        }
    }

    /// A dial was answered after so long, which ends the doubt that it may have raised.
    pub(super) fn answered(&mut self, took: Duration) {
        self.stats.dialled(DialResult::Ok, Some(took));
        // Of one that is silent the kernel of its host answers, and nobody else.
        if self.silence.is_none() {
            self.stats.answered_now();
        }
        self.is_connected();
    }

    /// It can be connected to within its time, which is what a slow dial left open.
    fn is_connected(&mut self) {
        let was_slow = std::mem::take(&mut self.slow);
        if was_slow && self.is_active() && self.silence.is_none() && self.suspected.is_none() {
            self.next = None;
        }
    }

    /// A dial waits for an answer longer than usual.
    pub(super) fn waits(&mut self) {
        self.slow = true;
    }

    /// A dial that had waited so long has been given up without an outcome: another is to tell.
    pub(super) fn unresolved(&mut self, now: Instant) {
        if self.slow {
            self.next.get_or_insert(now);
        }
    }

    /// A dial that began at `started` has succeeded by `now`. `gated`: whether who has an identity
    /// is active by proving it alone.
    pub(super) fn succeeded(&mut self, started: Instant, now: Instant, gated: bool) {
        self.last_success = Some(now);
        let unproven = gated && self.endpoint.identity.is_some();
        if !unproven && !self.has_looped_since(started) {
            self.activate(now);
        }
    }

    /// It has proven by `now` that it is who it has to be.
    pub(super) fn reaffirmed(&mut self, now: Instant, proof: Proof) {
        self.last_success = Some(now);
        self.saw_answer(now);
        self.stats.dialled(DialResult::Ok, None);
        self.stats.answered_now();
        self.stats.proven(proof);
    }

    /// A proof that began then and is complete by `now` is of the identity that `endpoint` has.
    pub(super) fn proven(&mut self, endpoint: &Endpoint, began: Instant, now: Instant) {
        let rejected = self.rejected.is_some_and(|rejected| rejected > began);
        let spoilt = rejected || self.has_looped_since(began);
        if self.endpoint.identity == endpoint.identity && !spoilt {
            self.activate(now);
        }
    }

    /// A dial that began at `started` has failed. If that makes it inactive, or it is, it is left alone
    /// for a while.
    pub(super) fn failed(&mut self, started: Instant, error: &dial::Error, at: Moment) {
        self.stats.dialled(error.result(), None);
        self.last_error = Some((at.now, shortened(error.to_string(), MAX_ERROR)));
        // Whatever it says of the endpoint, that dial has its outcome now.
        self.slow = false;
        if error.is_unauthenticated() {
            self.rejected = Some(at.now);
        }
        if error.is_loop() {
            self.looped = Some(at.now);
        } else if self.is_this_gateway() && self.has_looped_since(started) {
            return;
        }
        let stale = self.last_success.is_some_and(|success| success > started);
        if stale && !error.is_loop() && !error.is_unauthenticated() || error.is_local() {
            return;
        }
        let unproven = match self.reach {
            Reach::Untried => self.endpoint.identity.is_some(),
            reach => reach == Reach::Inactive(Cause::Unauthenticated),
        };
        let cause = if error.is_loop() {
            Cause::ThisGateway
        } else if error.is_rejected() || unproven {
            // An endpoint that cannot be reached has proven nothing either.
            Cause::Unauthenticated
        } else {
            Cause::Down
        };
        // One that was well for a while begins anew; one that flaps is held to the longer delay.
        let steady = |returned| at.now.saturating_duration_since(returned) >= at.retry_delay;
        if self.is_active() && self.returned.is_none_or(steady) {
            self.failures = 0;
        }
        self.next = Some(at.retry(self.failures));
        self.failures = self.failures.saturating_add(1);
        self.reach = Reach::Inactive(cause);
        (self.silence, self.suspected, self.unhealthy) = (None, None, false);
    }

    /// Has it asked for a doubt that was last followed `before`, if it is known to serve and that was not just
    /// now.
    fn ask(&mut self, before: Option<Instant>, at: Moment) -> bool {
        let known = self.is_active() && self.silence.is_none();
        let asked = known && !before.is_some_and(|before| at.is_soon_after(before));
        if asked {
            self.asked = Some(at.now);
            self.next = Some(at.now);
        }
        asked
    }

    /// Has it probed, if it is known to serve. A dial that was made just before for a lesser doubt does not
    /// stand in the way: one that resets connections all the time would never be probed.
    pub(super) fn doubt(&mut self, since: Instant, at: Moment) -> bool {
        let asked = self.ask(self.probed, at);
        if asked {
            self.probed = Some(at.now);
            self.suspected = Some(self.suspected.map_or(since, |first| first.min(since)));
        }
        asked
    }

    /// Whether it may be silent, and no probe has told yet.
    pub(super) fn is_suspected(&self) -> bool {
        self.suspected.is_some()
    }

    /// A client has waited since then for the answer to its first bytes. True if the endpoint is asked for
    /// that, or need not be.
    pub(super) fn suspect(&mut self, since: Instant, at: Moment) -> bool {
        if self.silence.is_some() || self.seen.is_some_and(|seen| seen >= since) {
            return true;
        }
        self.doubt(since, at)
    }

    /// It has reset a connection: it may be gone. A dial that has just been answered says that it is not.
    pub(super) fn reset(&mut self, at: Moment) {
        if !self
            .returned
            .is_some_and(|returned| at.is_soon_after(returned))
        {
            self.ask(self.asked, at);
        }
    }

    /// It has ended a connection, as it may, and so many are left. If there is none, and others have ended
    /// just before, it may be gone.
    pub(super) fn ended(&mut self, left: u64, at: Moment) {
        let now = at.now;
        let recent = self
            .ended
            .filter(|(first, _)| now.saturating_duration_since(*first) < AT_ONCE);
        let (first, count) = recent.unwrap_or((now, 0));
        self.ended = Some((first, count.saturating_add(1)));
        if count > 0 && left == 0 {
            self.reset(at);
        }
    }

    /// Whether it has been active for so long, but for dials that waited.
    pub(super) fn serves_since(&self, now: Instant, duration: Duration) -> bool {
        let long = |since| now.saturating_duration_since(since) >= duration;
        self.known() == Status::Active && self.serves.is_some_and(long)
    }

    /// Notes that its state has changed: the one place for all changes but those of the set.
    pub(super) fn has_changed(&mut self, now: Instant) {
        self.changed = now;
        self.stats.turned(self.status(), now);
        self.hour.changed(now, self.status());
        self.serves = match self.status().is_active() {
            true => self.serves.or(Some(now)),
            false => None,
        };
    }

    /// Since when it is doubted: silent or unhealthy.
    pub(super) fn doubted_since(&self) -> Instant {
        let silent = self.silence.map(|silence| silence.since);
        silent.unwrap_or(self.changed)
    }

    /// A time after which it has answered somebody, the latest that is known.
    pub(super) fn seen(&self) -> Option<Instant> {
        self.seen
    }

    /// Whether it is silent, but has begun to answer.
    pub(super) fn answers_again(&self) -> bool {
        self.silence.is_some_and(|silence| silence.answers > 0)
    }

    /// It has answered somebody after this time.
    pub(super) fn saw_answer(&mut self, after: Instant) {
        self.seen = self.seen.max(Some(after));
    }

    /// A client has got its first answer, after this time.
    pub(super) fn answered_somebody(&mut self, after: Instant, now: Instant) {
        self.saw_answer(after);
        self.stirred(now);
    }

    /// Something has come of it after its time: another probe tells whether it is silent no more.
    pub(super) fn stirred(&mut self, now: Instant) {
        let silent = self.silence.is_some_and(|silence| silence.answers == 0);
        if silent && self.next.is_some_and(|next| next > now) {
            self.next = Some(now);
        }
    }

    /// It has answered a probe that was asked then.
    pub(super) fn answered_probe(&mut self, asked: Instant, now: Instant) {
        self.saw_answer(asked);
        self.is_connected();
        let Some(silence) = &mut self.silence else {
            if self.suspected.take().is_some() && self.is_active() {
                self.next = None;
            }
            return;
        };
        silence.answers += 1;
        if silence.answers >= silence.needed {
            self.silence = None;
            self.next = None;
        } else {
            self.next = Some(now + ANSWERS_APART);
        }
    }

    /// It has not answered a probe in time.
    pub(super) fn ignored_probe(&mut self, at: Moment) {
        // It has become inactive meanwhile, which says more.
        if !self.is_active() {
            return;
        }
        self.slow = false;
        let since = self.suspected.take().unwrap_or(at.now);
        let probes = match &mut self.silence {
            Some(silence) => {
                silence.answers = 0;
                silence.probes = silence.probes.saturating_add(1);
                silence.probes
            }
            None => {
                let recent = |then| at.now.saturating_duration_since(then) < FLAPPING;
                let flaps = self.silences.iter().all(|then| then.is_some_and(recent));
                let needed = if flaps { ANSWERS } else { 1 };
                self.silences = [Some(at.now), self.silences[0]];
                let error = "it accepts connections and does not answer a probe".to_owned();
                self.last_error = Some((at.now, error));
                self.silence = Some(Silence {
                    since,
                    probes: 0,
                    answers: 0,
                    needed,
                });
                0
            }
        };
        self.next = Some(at.retry(probes));
    }

    /// What its health checks say of it, and why the last one failed, if it did.
    pub(super) fn judge(&mut self, unhealthy: bool, error: Option<String>) {
        // One that cannot be connected to is not asked, and begins anew when it is back.
        self.unhealthy = unhealthy && self.is_usable();
        if let Some(error) = error {
            self.last_error = Some((Instant::now(), shortened(error, MAX_ERROR)));
        }
    }

    /// What it is to be asked by now, if anything. Each question is handed out once: the time of the next is
    /// set here, for the case that nobody answers this one.
    pub(super) fn due(&mut self, at: Moment, gated: bool) -> Option<Kind> {
        self.next.filter(|next| *next <= at.now)?;
        let open = self.suspected.is_some() || self.slow;
        self.next = match (self.reach, self.silence) {
            (Reach::Active, Some(silence)) => Some(at.retry(silence.probes)),
            (Reach::Active, None) if open => Some(at.retry(0)),
            (Reach::Active, None) => self.patrolled(at.now, at.retry_delay),
            (Reach::Untried | Reach::Inactive(_), _) => Some(at.retry(self.failures)),
        };
        Some(
            if self.is_active() && (self.suspected.is_some() || self.silence.is_some()) {
                Kind::Probe
            } else if gated && !self.is_active() && self.endpoint.identity.is_some() {
                Kind::Prove
            } else {
                Kind::Dial
            },
        )
    }

    /// Sees to it that one that drains is dialled now and then: clients are not, and nobody else would notice that
    /// it is down.
    pub(super) fn patrol(&mut self, retry_delay: Duration) {
        let last = self.last_success.unwrap_or(self.changed);
        self.next = self.next.or(self.patrolled(last, retry_delay));
    }

    fn patrolled(&self, last: Instant, retry_delay: Duration) -> Option<Instant> {
        (self.endpoint.drains && self.is_active()).then(|| last + retry_delay)
    }

    /// When it is to be asked next, if it is.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }
}

#[cfg(test)]
mod tests;
