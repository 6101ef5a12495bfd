//! What SIGUSR1 is answered with: how the gateway is, one line a fact, in the log.
//!
//! The lines are written whatever `--log-level` says, because somebody has asked for them.
//! Each set of facts is read by itself, so a line is right as of the moment that it was
//! made; no lock is held while it is.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::texts;
use crate::discovery::Progress;
use crate::log::{self, Value};
use crate::proxy::Proxy;
use crate::sync::lock;

/// What is being served, and all that is known of it.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) proxy: Arc<Proxy>,
    pub(super) progress: Arc<Mutex<Progress>>,
    pub(super) listen: Vec<SocketAddr>,
    /// Set when it draws to its end.
    pub(super) closing: Arc<AtomicBool>,
    pub(super) since: Instant,
}

const CALLER: &str = "status";

impl Served {
    /// Logs the status.
    pub(super) fn log(&self) {
        let now = Instant::now();
        let (proxy, census) = (&self.proxy, self.proxy.pool.census());
        let state = if self.closing.load(Ordering::SeqCst) {
            "draining"
        } else {
            "serving"
        };
        log::answer(
            CALLER,
            "status",
            &[
                ("state", state.into()),
                ("uptime", seconds(now, self.since)),
                ("listen", texts(&self.listen).into()),
                ("connections", proxy.sessions.count().into()),
                ("max-connections", proxy.sessions.max().into()),
                ("refused", proxy.refused().into()),
                ("accept-errors", proxy.accept_errors().into()),
                ("active-endpoints", census.active.into()),
                ("endpoints", census.total.into()),
            ],
        );
        for (reason, count) in proxy.refusals().filter(|(_, count)| *count > 0) {
            log::answer(
                CALLER,
                "status of refusals",
                &[("reason", reason.into()), ("count", count.into())],
            );
        }
        for status in proxy.pool.status() {
            let mut fields = vec![
                ("address", status.endpoint.addr.into()),
                ("endpoint", status.endpoint.name.into()),
                ("state", status.state.into()),
                ("since", seconds(now, status.since)),
                ("priority", u64::from(status.endpoint.priority).into()),
                ("weight", u64::from(status.endpoint.weight).into()),
                ("connections", status.open.into()),
            ];
            fields.extend(status.last_error.map(|error| ("last-error", error.into())));
            log::answer(CALLER, "status of endpoint", &fields);
        }
        let progress = *lock(&self.progress);
        let mut fields = vec![("failures", u64::from(progress.failures).into())];
        let success = progress.last_success;
        fields.extend(success.map(|success| ("last-success", seconds(now, success))));
        log::answer(CALLER, "status of discovery", &fields);
    }
}

/// How long ago, in whole seconds: nobody needs more, and it is read by people.
fn seconds(now: Instant, then: Instant) -> Value {
    Duration::from_secs(now.saturating_duration_since(then).as_secs()).into()
}
