//! One endpoint of the pool and what becomes of it by what dials tell. No clock is asked here: when
//! something happened is an input.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::dial::{self, Verdict};
use crate::endpoint::ledger::Ledger;
use crate::endpoint::pick::Standing;
use crate::endpoint::{Endpoint, Proof};

#[derive(Debug)]
pub(super) struct Member {
    pub(super) endpoint: Endpoint,
    pub(super) activity: Activity,
    last_success: Option<Instant>,
    /// When it last failed to prove who it is.
    refused: Option<Instant>,
    /// When it was last found to be this gateway.
    looped: Option<Instant>,
    /// A dial is known to have waited too long for an answer, and has no outcome yet.
    pub(super) overdue: bool,
    /// Since when it is in the state that it is in.
    pub(super) since: SystemTime,
    /// What it last failed of, and when.
    pub(super) last_error: Option<(SystemTime, String)>,
    pub(super) ledger: Arc<Ledger>,
}

#[derive(Debug)]
pub(super) enum Activity {
    Active,
    Inactive { cause: Cause, retry_at: Instant },
}

/// Why an endpoint is inactive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// A dial failed.
    Down,
    /// It is this gateway.
    Looped,
    /// It has not proven who it is, or not yet.
    Unproven,
}

/// An error keeps to this many characters: names in a certificate of somebody else's may stand
/// in it, and it is kept for as long as the endpoint.
const MAX_ERROR: usize = 500;

/// The beginning of a text.
pub(super) fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_ERROR) {
        text.truncate(end);
        text.push('…');
    }
    text
}

impl Member {
    /// A new one starts active, or, if it has an identity to prove, with that.
    pub(super) fn new(endpoint: Endpoint, ledger: Arc<Ledger>) -> Self {
        let activity = match endpoint.identity {
            None => Activity::Active,
            Some(_) => Activity::Inactive {
                cause: Cause::Unproven,
                retry_at: Instant::now(),
            },
        };
        Self {
            endpoint,
            activity,
            last_success: None,
            refused: None,
            looped: None,
            overdue: false,
            since: SystemTime::now(),
            last_error: None,
            ledger,
        }
    }

    pub(super) fn is_active(&self) -> bool {
        matches!(self.activity, Activity::Active)
    }

    /// Why it is inactive, if it is.
    pub(super) fn cause(&self) -> Option<Cause> {
        match self.activity {
            Activity::Active => None,
            Activity::Inactive { cause, .. } => Some(cause),
        }
    }

    pub(super) fn is_looped(&self) -> bool {
        self.cause() == Some(Cause::Looped)
    }

    pub(super) fn standing(&self) -> Standing {
        match self.cause() {
            None if self.overdue => Standing::Overdue,
            None => Standing::Active,
            Some(Cause::Down) => Standing::Inactive,
            // A dial to ourselves would only come back as one more client, and who is not
            // known gets none, whatever else is down.
            Some(Cause::Looped | Cause::Unproven) => Standing::Excluded,
        }
    }

    /// Whether it was found to be this gateway after a dial had begun, which may be that very dial:
    /// whatever comes of that tells nothing better.
    fn has_looped_since(&self, began: Instant) -> bool {
        self.looped.is_some_and(|looped| looped > began)
    }

    /// A dial was answered after so long, which ends the doubt that it may have raised.
    pub(super) fn answered(&mut self, took: Duration) {
        self.ledger.dialled(Verdict::Ok, Some(took));
        self.overdue = false;
    }

    /// A dial that began at `started` has succeeded by `now`. `gated`: whether who has an identity
    /// is active by proving it alone.
    pub(super) fn succeeded(&mut self, started: Instant, now: Instant, gated: bool) {
        self.last_success = Some(now);
        let unproven = gated && self.endpoint.identity.is_some();
        if !unproven && !self.has_looped_since(started) {
            self.activity = Activity::Active;
        }
    }

    /// It has proven by `now` that it is who it has to be.
    pub(super) fn reaffirmed(&mut self, now: Instant, proof: Proof) {
        self.last_success = Some(now);
        self.ledger.dialled(Verdict::Ok, None);
        self.ledger.proven(proof);
    }

    /// A proof that began then is of the identity that `endpoint` has.
    pub(super) fn proven(&mut self, endpoint: &Endpoint, began: Instant) {
        let refused = self.refused.is_some_and(|refused| refused > began);
        let spoilt = refused || self.has_looped_since(began);
        if self.endpoint.identity == endpoint.identity && !spoilt {
            self.activity = Activity::Active;
        }
    }

    /// A dial that began at `started` has failed by `now`. If that makes it inactive, it is left
    /// alone until `retry_at`.
    pub(super) fn failed(
        &mut self,
        started: Instant,
        now: Instant,
        error: &dial::Error,
        retry_at: Instant,
    ) {
        self.ledger.dialled(error.verdict(), None);
        self.last_error = Some((SystemTime::now(), shortened(error.to_string())));
        // Whatever it says of the endpoint, that dial has its outcome now.
        self.overdue = false;
        if error.is_unauthenticated() {
            self.refused = Some(now);
        }
        if error.is_loop() {
            self.looped = Some(now);
        } else if self.is_looped() && self.has_looped_since(started) {
            return;
        }
        let stale = self.last_success.is_some_and(|success| success > started);
        if stale && !error.is_loop() && !error.is_unauthenticated() || error.is_local() {
            return;
        }
        let cause = if error.is_loop() {
            Cause::Looped
        } else if error.is_rejected() || self.cause() == Some(Cause::Unproven) {
            // An endpoint that cannot be reached has proven nothing either.
            Cause::Unproven
        } else {
            Cause::Down
        };
        self.activity = Activity::Inactive { cause, retry_at };
    }

    /// Whether it is to be dialled again by `now`, which then is not due before `next`.
    pub(super) fn is_due(&mut self, now: Instant, next: Instant) -> bool {
        match &mut self.activity {
            Activity::Inactive { retry_at, .. } if *retry_at <= now => {
                *retry_at = next;
                true
            }
            _ => false,
        }
    }

    /// When it is to be dialled again, if it is inactive.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        match self.activity {
            Activity::Active => None,
            Activity::Inactive { retry_at, .. } => Some(retry_at),
        }
    }
}
