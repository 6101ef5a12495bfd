//! The running gateway as `admin` sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use crate::admin::{Clients, Discovery, Observed, Snapshot};
use crate::discovery::Refreshes;
use crate::log;
use crate::proxy::Proxy;

/// What there is to look at.
pub(super) struct Observer {
    pub(super) proxy: Arc<Proxy>,
    pub(super) refreshes: Arc<Refreshes>,
    pub(super) closing: Arc<AtomicBool>,
    pub(super) started: SystemTime,
    pub(super) listen: Vec<String>,
}

impl Observed for Observer {
    fn snapshot(&self) -> Snapshot {
        let counters = &self.proxy.counters;
        let access = self.proxy.access.as_ref();
        Snapshot {
            version: env!("CARGO_PKG_VERSION"),
            now: SystemTime::now(),
            started: self.started,
            draining: self.closing.load(Ordering::SeqCst),
            listen: self.listen.clone(),
            clients: Clients {
                accepted: counters.accepted.get(),
                active: self.proxy.sessions.count(),
                max: self.proxy.sessions.max(),
                rejected: self.proxy.refusals(),
                accept_errors: counters.accept_errors(),
                redispatches: counters.redispatches.get(),
                durations: counters.durations(),
            },
            endpoints: self.proxy.pool.views(),
            discovery: Discovery {
                refreshes: self.refreshes.counts(),
                last_success: self.refreshes.last_success(),
                problems: self.refreshes.problems(),
            },
            log_lines_dropped: log::dropped(),
            access_log_lines_dropped: access.map_or(0, |access| access.dropped()),
        }
    }
}
