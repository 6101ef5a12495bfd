//! The authorities that members are authenticated by, followed on disk: the set in use, and what is told of
//! its changes.
//!
//! A set is replaced whole: whoever authenticates a member does so by one of them from beginning to end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::polled::Polled;
use super::roots::{Bundle, Error, Roots};
use crate::log;
use crate::sync::lock;
use crate::times::Times;
use crate::x509::Anchors;

/// The set in use, shared with those who authenticate by it.
#[derive(Debug, Clone)]
pub(crate) struct Trusted(Arc<Mutex<Arc<Anchors>>>);

impl Trusted {
    pub(crate) fn new(anchors: Anchors) -> Self {
        Self(Arc::new(Mutex::new(Arc::new(anchors))))
    }

    /// The set in use now.
    pub(crate) fn now(&self) -> Arc<Anchors> {
        Arc::clone(&lock(&self.0))
    }

    pub(super) fn replace(&self, anchors: Anchors) {
        // What it replaces is freed after the lock.
        let _old = std::mem::replace(&mut *lock(&self.0), Arc::new(anchors));
    }
}

/// Authorities that are followed.
#[derive(Debug)]
pub(crate) struct Authorities {
    bundle: Polled<Bundle>,
    trusted: Trusted,
}

impl Authorities {
    /// The authorities that there are now, and what is odd about them.
    ///
    /// # Errors
    /// If a named file is not a bundle of certificates, or the system has none.
    pub(crate) fn open(bundle: Bundle) -> Result<(Self, Vec<String>), Error> {
        let (bundle, roots) = Polled::open(bundle)?;
        let odd = roots.passed_over.iter().map(passed_over).collect();
        let trusted = Trusted::new(roots.anchors);
        Ok((Self { bundle, trusted }, odd))
    }

    /// The set in use, now and after each change.
    pub(crate) fn trusted(&self) -> Trusted {
        self.trusted.clone()
    }

    /// Why what is on disk now is not used.
    pub(super) fn refused(&self) -> Option<&str> {
        self.bundle.refused()
    }

    /// Where they are.
    pub(super) fn from(&self) -> String {
        self.bundle.place().to_string()
    }

    /// When the next look is due, from the last on.
    pub(super) fn pause(&self, times: &Times) -> Duration {
        self.bundle.pause(times)
    }

    /// Looks whether there are others on disk, and uses them; what is bad changes nothing. True if the set is
    /// another one.
    pub(super) fn look(&mut self, asked: bool) -> bool {
        let Some(Ok(roots)) = self.bundle.look(asked) else {
            return false;
        };
        let Roots {
            anchors,
            passed_over: odd,
        } = roots;
        for error in &odd {
            log::warn("discovery", &passed_over(error), &[]);
        }
        let before = self.trusted.now();
        let (added, removed) = (anchors.missing_from(&before), before.missing_from(&anchors));
        if added == 0 && removed == 0 {
            return false;
        }
        log::info(
            "discovery",
            "authorities changed; authenticating all members again",
            &[
                ("from", self.from().into()),
                ("authorities", anchors.len().into()),
                ("added", added.into()),
                ("removed", removed.into()),
            ],
        );
        self.trusted.replace(anchors);
        true
    }
}

fn passed_over(error: &Error) -> String {
    format!("certificate of an authority is ignored: {error}")
}
