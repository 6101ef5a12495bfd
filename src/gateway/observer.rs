//! The running gateway as `admin` sees it.

use std::io;

use super::status::Served;
use super::texts;
use crate::admin::{Clients, Discovery, Observed, Reloads, Snapshot};
use crate::log;
use crate::sys::{Plain, memory};

impl Served {
    fn reloads(&self) -> Reloads {
        let (draining_processes, draining_connections) = self.reloads.predecessors.draining();
        Reloads {
            succeeded: self.reloads.succeeded,
            failed: self.reloads.failed(),
            draining_processes,
            draining_connections,
        }
    }
}

impl Observed for Served {
    fn try_session(&self) -> Result<(), String> {
        if memory::is_short() {
            return Err("no client can be served: this host is short of memory".to_owned());
        }
        let tried = self.proxy.check_workers(1);
        tried.map_err(|error| {
            format!(
                "no client can be served: cannot start a thread: {}",
                Plain(&error)
            )
        })
    }

    fn snapshot(&self) -> io::Result<Snapshot> {
        self.room()?;
        let counters = &self.proxy.counters;
        let access = self.proxy.access.as_ref();
        Ok(Snapshot {
            version: env!("CARGO_PKG_VERSION"),
            now: self.now(),
            started: self.since,
            draining: self.is_draining(),
            reloads: self.reloads(),
            listen: texts(&self.listen),
            clients: Clients {
                accepted: counters.accepted.get(),
                active: self.proxy.sessions.count(),
                max: self.proxy.sessions.max(),
                rejected: self.proxy.rejections(),
                accept_errors: counters.accept_errors(),
                ended: counters.causes(),
                redispatches: counters.redispatches.get(),
                durations: counters.durations(),
            },
            endpoints: self.proxy.pool.views(),
            discovery: Discovery {
                refreshes: self.refreshes.counts(),
                last_success: self.refreshes.last_success(),
            },
            problems: self.problems(),
            threads_lost: self.threads.lost(),
            log_lines_dropped: log::dropped(),
            access_log_lines_dropped: access.map_or(0, |access| access.dropped()),
        })
    }
}
