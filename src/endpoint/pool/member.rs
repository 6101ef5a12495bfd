//! One endpoint of the pool, and how reports of dials, probes, checks and clients change it. When something
//! happened is an input.
//!
//! Three questions are asked about an endpoint: can it be connected to ([`Reach`]), does it answer ([`Silence`]), and
//! is it healthy. Its [`EndpointState`] follows from the answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::dial::{self, DialResult};
use crate::endpoint::history::Hour;
use crate::endpoint::pick::Preference;
use crate::endpoint::state::EndpointState::{
    self, Active, Draining, Inactive, Removed, Silent, Slow, ThisGateway, Unauthenticated,
    Unhealthy, Untried,
};
use crate::endpoint::stats::EndpointStats;
use crate::endpoint::{Endpoint, Proof};
use crate::log::{MAX_ERROR, shortened};
use crate::sys::random;

#[derive(Debug)]
pub(super) struct Member {
    pub(super) endpoint: Endpoint,
    parameters: Parameters,
    reach: Reach,
    /// A dial has waited too long for an answer, and has no outcome yet.
    pub(super) slow: bool,
    silence: Option<Silence>,
    /// When it last became silent, and the time before.
    silences: [Option<Instant>; 2],
    unhealthy: bool,
    /// Since when a client waits for its answer, while no probe has shown yet whether it is silent.
    pub(super) suspected: Option<Instant>,
    /// When a doubt last caused a dial or a probe, and when a probe.
    asked: Option<Instant>,
    probed: Option<Instant>,
    /// The latest time after which it is known to have answered a client, a probe, an authentication or a health
    /// check.
    pub(super) seen: Option<Instant>,
    /// Since when it has been active, and not doubted.
    serves: Option<Instant>,
    /// When it ended the first of some connections.
    ended: Option<Instant>,
    /// When the monitor is to ask it next.
    next: Option<Instant>,
    /// Failures in a row; kept while it is active, for the case that it fails again soon.
    failures: u32,
    /// When it became active.
    returned: Option<Instant>,
    last_success: Option<Instant>,
    /// When it was last rejected, or found to be this gateway.
    refuted: Option<Instant>,
    /// Since when it has its present state.
    pub(super) changed: Instant,
    /// When it last became unusable, or was added.
    pub(super) unusable: Instant,
    pub(super) hour: Hour,
    /// The last failure, and when it was.
    pub(super) last_error: Option<(Instant, String)>,
    pub(super) stats: Arc<EndpointStats>,
}

/// What is the same for all endpoints.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parameters {
    /// `--retry-delay`.
    pub(super) retry_delay: Duration,
    /// How long after a doubt has caused a question another causes none.
    pub(super) ask_again: Duration,
    /// Endpoints that have an identity have to prove it.
    pub(super) authenticates: bool,
    /// Draws a random number, which spreads the retries of many gateways.
    pub(super) number: fn() -> u32,
}

impl Parameters {
    /// When to ask again after this many earlier failures in a row: in 1, 2, 4 … s, at most the retry delay,
    /// shortened by up to a tenth, so that many gateways that lost the same endpoint do not dial it in the same
    /// instant.
    fn retry(&self, now: Instant, failures: u32) -> Instant {
        // No delay that can be set takes more doublings.
        let doubled = FIRST_RETRY.saturating_mul(1 << failures.min(30));
        now + random::shortened(doubled.min(self.retry_delay), (self.number)())
    }
}

/// Whether it can be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Untried,
    Active,
    /// A dial failed.
    Down,
    ThisGateway,
    /// It has not proven its identity.
    Unauthenticated,
    /// It is not in the set any more.
    Removed,
}

/// It accepts connections and does not answer.
#[derive(Debug, Clone, Copy)]
struct Silence {
    /// Since when a client has waited for it.
    since: Instant,
    /// Probes since then that it did not answer.
    probes: u32,
    /// Probes in a row that it has answered.
    answers: u32,
    /// How many it has to answer.
    needed: u32,
}

/// The pause after the first failure.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// Connections that end within this time end together.
const TOGETHER: Duration = Duration::from_secs(1);

/// An endpoint that has become silent for the third time within [`FLAPPING`] has to answer this many probes, this far
/// apart.
const ANSWERS: u32 = 3;
const ANSWERS_APART: Duration = Duration::from_secs(1);
const FLAPPING: Duration = Duration::from_secs(5 * 60);

/// What the monitor asks an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    /// Whether it can be connected to.
    Dial,
    /// Whether it has the identity that it must have.
    Authenticate,
    /// Whether it answers.
    Probe,
}

impl Member {
    /// A new endpoint, which is to be dialled at once.
    pub(super) fn new(
        endpoint: Endpoint,
        parameters: Parameters,
        stats: Arc<EndpointStats>,
    ) -> Self {
        let now = Instant::now();
        stats.state_changed(Untried, now);
        Self {
            endpoint,
            parameters,
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
            refuted: None,
            changed: now,
            unusable: now,
            hour: Hour::new(now, Untried),
            last_error: None,
            stats,
        }
    }

    pub(super) fn state(&self) -> EndpointState {
        match self.own_state() {
            Active | Slow if self.endpoint.drains => Draining,
            state => state,
        }
    }

    /// The state without the mark that it drains.
    fn own_state(&self) -> EndpointState {
        match self.reach {
            Reach::Down => Inactive,
            Reach::ThisGateway => ThisGateway,
            Reach::Unauthenticated => Unauthenticated,
            Reach::Removed => Removed,
            // Doubts are about an endpoint that has answered.
            Reach::Untried => Untried,
            Reach::Active if self.silence.is_some() => Silent,
            Reach::Active if self.unhealthy => Unhealthy,
            Reach::Active if self.slow => Slow,
            Reach::Active => Active,
        }
    }

    /// Whether it is connected to without authentication.
    pub(super) fn is_active(&self) -> bool {
        self.reach == Reach::Active
    }

    pub(super) fn is_this_gateway(&self) -> bool {
        self.reach == Reach::ThisGateway
    }

    /// Whether only an authentication makes it active.
    fn authenticates(&self) -> bool {
        self.parameters.authenticates && self.endpoint.identity.is_some()
    }

    /// Whether it has to be authenticated before it may carry a client.
    pub(super) fn needs_proof(&self) -> bool {
        self.authenticates() && !self.is_active()
    }

    pub(super) fn preference(&self) -> Preference {
        match self.own_state() {
            // An unauthenticated endpoint gets no client, even if all others are down.
            Untried if self.endpoint.identity.is_some() => Preference::Excluded,
            Untried if self.slow => Preference::Slow,
            // Selection compares by itself which endpoints drain.
            Untried | Active | Draining => Preference::Active,
            Slow => Preference::Slow,
            Unhealthy => Preference::Unhealthy,
            Silent => Preference::Silent,
            Inactive => Preference::Inactive,
            // A dial to this gateway would only come back as one more client.
            ThisGateway | Unauthenticated | Removed => Preference::Excluded,
        }
    }

    /// Whether clients are connected to it as long as there are such endpoints.
    pub(super) fn is_usable(&self) -> bool {
        self.preference() < Preference::Inactive
    }

    /// Whether it was rejected or found to be this gateway after a dial or an authentication had begun, which then
    /// proves nothing: that dial may be the loop itself.
    fn was_refuted_since(&self, began: Instant) -> bool {
        self.refuted.is_some_and(|refuted| refuted > began)
    }

    fn activate(&mut self, now: Instant) {
        if !self.is_active() {
            self.reach = Reach::Active;
            self.returned = Some(now);
            self.next = None;
            self.suspected = None;
        }
    }

    /// A dial was answered after this time.
    pub(super) fn answered(&mut self, took: Duration) {
        self.stats.dialled(DialResult::Ok, Some(took));
        // For a silent endpoint only the kernel of its host answers.
        if self.silence.is_none() {
            self.stats.answered_now();
        }
        self.is_not_slow();
    }

    /// A connection was made in time, which is what a slow dial left open.
    fn is_not_slow(&mut self) {
        let was_slow = std::mem::take(&mut self.slow);
        if was_slow && self.is_active() && self.silence.is_none() && self.suspected.is_none() {
            self.next = None;
        }
    }

    /// A slow dial has been given up without an outcome: another has to find out.
    pub(super) fn unresolved(&mut self, now: Instant) {
        if self.slow {
            self.next.get_or_insert(now);
        }
    }

    /// A dial that began at `started` has succeeded by `now`.
    pub(super) fn succeeded(&mut self, started: Instant, now: Instant) {
        self.last_success = Some(now);
        if !self.authenticates() && !self.was_refuted_since(started) {
            self.activate(now);
        }
    }

    /// It has proven by `now` that it has its identity; it does not become active by this.
    pub(super) fn reauthenticated(&mut self, now: Instant, proof: Proof) {
        self.last_success = Some(now);
        self.saw_answer(now);
        self.stats.dialled(DialResult::Ok, None);
        self.stats.answered_now();
        self.stats.authenticated(proof);
    }

    /// An authentication of `endpoint` that `began` then has succeeded by `now`.
    pub(super) fn authenticated(&mut self, endpoint: &Endpoint, began: Instant, now: Instant) {
        if self.endpoint.identity == endpoint.identity && !self.was_refuted_since(began) {
            self.activate(now);
        }
    }

    /// A dial that began at `started` has failed. The endpoint may be inactive by that, and is asked again after a
    /// delay.
    pub(super) fn failed(&mut self, started: Instant, error: &dial::Error, now: Instant) {
        self.stats.dialled(error.result(), None);
        self.last_error = Some((now, shortened(error.to_string(), MAX_ERROR)));
        // Whatever it says of the endpoint, that dial has its outcome now.
        self.slow = false;
        let refutes = error.is_loop() || error.is_unauthenticated();
        let was_refuted = self.was_refuted_since(started);
        if refutes {
            self.refuted = Some(now);
        }
        let stale = self.last_success.is_some_and(|success| success > started);
        if self.is_this_gateway() && was_refuted && !error.is_loop()
            || stale && !refutes
            || error.is_local()
        {
            return;
        }
        let unauthenticated = match self.reach {
            Reach::Untried => self.endpoint.identity.is_some(),
            reach => reach == Reach::Unauthenticated,
        };
        // An endpoint that was well for a while starts with the short delay; one that flaps keeps the longer one.
        let steady =
            |returned| now.saturating_duration_since(returned) >= self.parameters.retry_delay;
        if self.is_active() && self.returned.is_none_or(steady) {
            self.failures = 0;
        }
        self.next = Some(self.parameters.retry(now, self.failures));
        self.failures = self.failures.saturating_add(1);
        self.reach = if error.is_loop() {
            Reach::ThisGateway
        } else if error.is_rejected() || unauthenticated {
            // An endpoint that cannot be reached has proven nothing either.
            Reach::Unauthenticated
        } else {
            Reach::Down
        };
        (self.silence, self.suspected, self.unhealthy) = (None, None, false);
    }

    /// Whether a doubt comes too soon after something.
    fn is_soon(&self, now: Instant, then: Option<Instant>) -> bool {
        let ask_again = self.parameters.ask_again;
        then.is_some_and(|then| now.saturating_duration_since(then) < ask_again)
    }

    /// Has it asked because of a doubt, if it is known to serve and a doubt has not just done that `before`.
    fn ask(&mut self, before: Option<Instant>, now: Instant) -> bool {
        let serves = self.is_active() && self.silence.is_none();
        let asked = serves && !self.is_soon(now, before);
        if asked {
            self.asked = Some(now);
            self.next = Some(now);
        }
        asked
    }

    /// Has it probed, if it is known to serve. A dial that was made just before for a lesser doubt does not
    /// prevent that: an endpoint that resets connections all the time would never be probed.
    pub(super) fn ask_for_probe(&mut self, since: Instant, now: Instant) -> bool {
        let asked = self.ask(self.probed, now);
        if asked {
            self.probed = Some(now);
            self.suspected = Some(self.suspected.map_or(since, |first| first.min(since)));
        }
        asked
    }

    /// A client has waited since then for the answer to its first bytes. True if a probe is made because of
    /// that, or is not necessary.
    pub(super) fn suspect(&mut self, since: Instant, now: Instant) -> bool {
        if self.silence.is_some() || self.seen.is_some_and(|seen| seen >= since) {
            return true;
        }
        self.ask_for_probe(since, now)
    }

    /// It has reset a connection: it may be down, unless a dial has just been answered.
    pub(super) fn reset(&mut self, now: Instant) {
        if !self.is_soon(now, self.returned) {
            self.ask(self.asked, now);
        }
    }

    /// It has ended a connection, as it may, and this many are left. If none is left, and it has ended others
    /// just before, it may be down.
    pub(super) fn ended(&mut self, left: u64, now: Instant) {
        let together = |first: &Instant| now.saturating_duration_since(*first) < TOGETHER;
        let first = self.ended.filter(together);
        self.ended = first.or(Some(now));
        if first.is_some() && left == 0 {
            self.reset(now);
        }
    }

    /// Whether it has been active for this time, except for slow dials.
    pub(super) fn serves_since(&self, now: Instant, duration: Duration) -> bool {
        let long = |since| now.saturating_duration_since(since) >= duration;
        self.own_state() == Active && self.serves.is_some_and(long)
    }

    /// Notes that its state has changed.
    pub(super) fn has_changed(&mut self, now: Instant) {
        let state = self.state();
        self.changed = now;
        self.stats.state_changed(state, now);
        self.hour.changed(now, state);
        self.serves = match state.is_active() {
            true => self.serves.or(Some(now)),
            false => None,
        };
    }

    /// It has left the set, so what its source said of it does not hold any more.
    pub(super) fn removed(&mut self) {
        self.reach = Reach::Removed;
        self.endpoint.drains = false;
    }

    /// Since when it is silent or unhealthy.
    pub(super) fn doubted_since(&self) -> Instant {
        let silent = self.silence.map(|silence| silence.since);
        silent.unwrap_or(self.changed)
    }

    /// Whether it is silent, but has begun to answer.
    pub(super) fn answers_again(&self) -> bool {
        self.silence.is_some_and(|silence| silence.answers > 0)
    }

    /// It has answered after this time.
    pub(super) fn saw_answer(&mut self, after: Instant) {
        self.seen = self.seen.max(Some(after));
    }

    /// It has sent something late: another probe finds out whether it is still silent.
    pub(super) fn sent_late(&mut self, now: Instant) {
        let silent = self.silence.is_some_and(|silence| silence.answers == 0);
        if silent && self.next.is_some_and(|next| next > now) {
            self.next = Some(now);
        }
    }

    /// It has answered a probe that was sent then.
    pub(super) fn answered_probe(&mut self, sent: Instant, now: Instant) {
        self.saw_answer(sent);
        self.is_not_slow();
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
    pub(super) fn ignored_probe(&mut self, now: Instant) {
        // It has become inactive meanwhile, which is worse.
        if !self.is_active() {
            return;
        }
        self.slow = false;
        let since = self.suspected.take().unwrap_or(now);
        let probes = match &mut self.silence {
            Some(silence) => {
                silence.answers = 0;
                silence.probes = silence.probes.saturating_add(1);
                silence.probes
            }
            None => {
                let recent = |then| now.saturating_duration_since(then) < FLAPPING;
                let flaps = self.silences.iter().all(|then| then.is_some_and(recent));
                self.silences = [Some(now), self.silences[0]];
                let error = "it accepts connections and does not answer a probe".to_owned();
                self.last_error = Some((now, error));
                self.silence = Some(Silence {
                    since,
                    probes: 0,
                    answers: 0,
                    needed: if flaps { ANSWERS } else { 1 },
                });
                0
            }
        };
        self.next = Some(self.parameters.retry(now, probes));
    }

    /// Takes the result of its health checks, and why the last one failed, if it did.
    pub(super) fn judge(&mut self, unhealthy: bool, error: Option<String>, now: Instant) {
        // One that cannot be connected to is not checked, and starts again when it returns.
        self.unhealthy = unhealthy && self.is_usable();
        if let Some(error) = error {
            self.last_error = Some((now, shortened(error, MAX_ERROR)));
        }
    }

    /// The question that is due now, if any. Each is returned once: the time of the next is
    /// set here, for the case that this one never has an outcome.
    pub(super) fn due(&mut self, now: Instant) -> Option<Question> {
        self.next().filter(|next| *next <= now)?;
        let doubted = self.suspected.is_some() || self.slow;
        self.next = match self.silence {
            _ if !self.is_active() => Some(self.parameters.retry(now, self.failures)),
            Some(silence) => Some(self.parameters.retry(now, silence.probes)),
            None if doubted => Some(self.parameters.retry(now, 0)),
            None => self.drain_dial(now),
        };
        Some(if self.needs_proof() {
            Question::Authenticate
        } else if self.is_active() && (self.suspected.is_some() || self.silence.is_some()) {
            Question::Probe
        } else {
            Question::Dial
        })
    }

    /// When the monitor is to ask it next. A draining endpoint is dialled now and then: clients do not dial it, so nothing
    /// else would show that it is down.
    pub(super) fn next(&self) -> Option<Instant> {
        let last = self.last_success.unwrap_or(self.changed);
        self.next.or_else(|| self.drain_dial(last))
    }

    fn drain_dial(&self, last: Instant) -> Option<Instant> {
        let drains = self.endpoint.drains && self.is_active();
        drains.then(|| last + self.parameters.retry_delay)
    }
}

#[cfg(test)]
mod tests;
