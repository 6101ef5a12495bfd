//! The reloads of a service so far, and who watches it.

use std::ffi::OsString;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::inherit::Handover;
use super::predecessors::Predecessors;
use crate::sync::lock;

#[derive(Debug)]
pub(crate) struct Reloads {
    /// The processes that drain.
    pub(crate) predecessors: Predecessors,
    /// A service manager is notified of which process serves.
    pub(crate) is_managed: bool,
    /// The parent of this process watches the service by waiting for its end.
    pub(crate) is_watched: bool,
    /// How many succeeded; this process is the outcome of the last.
    pub(crate) succeeded: u64,
    failed: AtomicU64,
    /// Why the last one failed, if it did.
    last_error: Mutex<Option<String>>,
}

impl Reloads {
    /// Those of a service that begins, or those before this process.
    pub(crate) fn new(
        handover: Option<&mut Handover>,
        has_manager: bool,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Self {
        let state = handover.as_ref().map(|handover| handover.state);
        let is_managed = match state {
            Some(state) => state.is_managed,
            None => has_manager && is_main(std::process::id(), variable),
        };
        let predecessors = handover.map(|handover| {
            let mut all = std::mem::take(&mut handover.draining);
            all.push(Arc::clone(&handover.predecessor));
            all
        });
        Self {
            predecessors: Predecessors::new(predecessors.unwrap_or_default()),
            is_managed,
            is_watched: state.is_none() && !is_managed,
            succeeded: state.map_or(0, |state| state.succeeded.saturating_add(1)),
            failed: state.map_or(0, |state| state.failed).into(),
            last_error: Mutex::default(),
        }
    }

    /// How many failed.
    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// One more has failed.
    pub(crate) fn fail(&self, reason: &str) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        *lock(&self.last_error) = Some(reason.to_owned());
    }

    pub(crate) fn problem(&self) -> Option<String> {
        let last_error = lock(&self.last_error);
        let reason = last_error.as_ref()?;
        Some(format!(
            "the last reload failed, the settings before it are in use: {reason}"
        ))
    }
}

/// Whether a process is the one that the service manager watches and would replace by another. Process 1 of a container has to
/// stay; systemd names the process that it has started (systemd.exec(5), SYSTEMD_EXEC_PID), from which others may
/// have inherited NOTIFY_SOCKET.
fn is_main(process: u32, variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let named = variable("SYSTEMD_EXEC_PID");
    process != 1 && named.is_none_or(|named| named.to_str() == Some(&process.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_watched_by_a_manager_or_by_its_parent() {
        // (process, a manager listens, SYSTEMD_EXEC_PID, whether the manager watches it)
        for (process, has_manager, named, expected) in [
            (7, false, None, false),
            (7, false, Some("7"), false),
            (7, true, None, true),
            (7, true, Some("7"), true),
            (7, true, Some("8"), false),
            (7, true, Some(""), false),
            (1, true, None, false),
            (1, true, Some("1"), false),
        ] {
            let variable = |_: &str| named.map(OsString::from);
            let found = has_manager && is_main(process, variable);
            assert_eq!(found, expected, "{process} {has_manager} {named:?}");
        }
        let reloads = Reloads::new(None, false, |_| None);
        assert!(reloads.is_watched && !reloads.is_managed);
        let own = std::process::id().to_string();
        let reloads = Reloads::new(None, true, |_| Some(own.clone().into()));
        assert!(!reloads.is_watched && reloads.is_managed);
    }

    #[test]
    fn a_reload_that_failed_is_a_problem() {
        let reloads = Reloads::new(None, false, |_| None);
        assert_eq!((reloads.failed(), reloads.problem()), (0, None));
        reloads.fail("bad settings");
        let problem = reloads.problem().unwrap();
        assert!(problem.ends_with(": bad settings"), "{problem}");
        assert_eq!(reloads.failed(), 1);
    }
}
