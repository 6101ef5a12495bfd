//! What is being served, as those see it who ask how it is: over HTTP (`admin`), by SIGUSR1, and the service manager. All
//! of them are told from one [`Snapshot`].
//!
//! The answer to SIGUSR1 is logged whatever `--log-level` says, because somebody has asked for it.
//! Each set of facts is read by itself, so it is right as of the moment that it was read; no lock is held while
//! anything is told.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use super::bounds::ConnectionLimits;
use super::handover::Reloads;
use super::listeners::texts;
use super::metrics::Metrics;
use super::threads::Threads;
use super::zones::Zones;
use crate::admin::{Clients, Connection, Discovery, Observed, Reloads as Reloaded, Snapshot};
use crate::date::Now;
use crate::discovery::Refreshes;
use crate::endpoint::history::TRANSITIONS;
use crate::log;
use crate::proxy::{Proxy, Relay};
use crate::sync::lock;
use crate::sys::{OsErrorText, memory};

/// What is being served, and all that is known of it.
#[derive(Debug)]
pub(super) struct Runtime {
    pub(super) proxy: Arc<Proxy>,
    pub(super) refreshes: Arc<Refreshes>,
    pub(super) threads: Arc<Threads>,
    pub(super) listen: Vec<SocketAddr>,
    pub(super) zones: Zones,
    pub(super) reloads: Reloads,
    pub(super) limits: ConnectionLimits,
    pub(super) metrics: Option<Arc<Metrics>>,
    pub(super) started: Instant,
    /// The name of this host; empty if it is not known.
    pub(super) host: String,
    /// What dates are worked out by.
    pub(super) clock: Mutex<Now>,
}

const CALLER: &str = "status";

/// What the longest answer takes for an endpoint, or a change of one: 30 lines of 100 bytes, and it grows by doubling.
const EACH: usize = 8 * 1024;

/// Said where there is no memory to say more.
const UNTOLD: &str = "status cannot be told";

impl Runtime {
    /// The present.
    pub(super) fn now(&self) -> Now {
        let mut clock = lock(&self.clock);
        Now::new(Instant::now(), SystemTime::now()).steadied(&mut clock)
    }

    /// Whether it draws to its end.
    pub(super) fn is_draining(&self) -> bool {
        self.threads.closing().load(Ordering::SeqCst)
    }

    /// What there is trouble with now, in words.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = self.threads.problems(Instant::now());
        problems.extend(self.reloads.problem());
        problems.extend(self.metrics.as_ref().and_then(|metrics| metrics.problem()));
        problems.extend(self.zones.problems());
        problems.extend(self.refreshes.problems());
        let census = self.proxy.pool.census();
        if census.total > 0 && census.draining == census.total {
            problems
                .push("every endpoint is marked drain: all are used as if none were".to_owned());
        }
        problems
    }

    /// Whether there is memory to tell all that is known.
    ///
    /// # Errors
    /// If there is not.
    pub(super) fn room(&self) -> io::Result<()> {
        /// So many endpoints may be told of from the reserve: somebody may want to know what is wrong.
        const FEW: usize = 8;
        match self.proxy.pool.census().total {
            0..=FEW => Ok(()),
            many => memory::room(many.saturating_mul(EACH)),
        }
    }

    /// The status in one line. Takes the locks that every session takes.
    pub(super) fn line(&self) -> String {
        match self.snapshot() {
            Ok(snapshot) => snapshot.line(),
            Err(error) => format!("{UNTOLD}: {}", OsErrorText(&error)),
        }
    }

    /// Logs the status.
    pub(super) fn log(&self) {
        match self.snapshot() {
            Ok(snapshot) => snapshot.facts(|message, fields| log::answer(CALLER, message, fields)),
            Err(error) => {
                let fields = [("error", OsErrorText(&error).to_string().into())];
                log::answer(CALLER, UNTOLD, &fields);
            }
        }
    }
}

impl Observed for Runtime {
    fn snapshot(&self) -> io::Result<Snapshot> {
        self.room()?;
        let counters = &self.proxy.counters;
        let access = self.proxy.access.as_ref();
        let (draining_processes, draining_connections) = self.reloads.predecessors.draining();
        // What has happened is not told from the reserve: how things are now is worth more.
        let transitions = match memory::room(TRANSITIONS * EACH) {
            Ok(()) => self.proxy.pool.transitions(),
            Err(_) => Vec::new(),
        };
        Ok(Snapshot {
            version: env!("CARGO_PKG_VERSION"),
            host: self.host.clone(),
            pid: std::process::id(),
            now: self.now(),
            started: self.started,
            draining: self.is_draining(),
            reloads: Reloaded {
                succeeded: self.reloads.succeeded,
                failed: self.reloads.failed(),
                draining_processes,
                draining_connections,
            },
            listen: texts(&self.listen),
            clients: Clients {
                accepted: counters.accepted.get(),
                active: self.proxy.sessions.count(),
                max: self.proxy.sessions.max(),
                rejected: counters.rejections(),
                accept_errors: counters.accept_errors(),
                ended: counters.causes(),
                redispatches: counters.redispatches.get(),
                durations: counters.durations(),
            },
            endpoints: self.proxy.pool.views(),
            transitions,
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

    fn connections(
        &self,
        endpoint: Option<SocketAddr>,
        mut limit: usize,
    ) -> io::Result<(Vec<Connection>, bool)> {
        // Some 700 bytes at most for one, in buffers that grow by doubling.
        while limit > 0 && memory::room(limit.saturating_mul(EACH)).is_err() {
            limit /= 2;
        }
        let mut shown = Vec::new();
        memory::carefully(|| shown.try_reserve_exact(limit))?;
        for session in self.proxy.sessions.all() {
            if endpoint.is_some() && session.endpoint() != endpoint {
                continue;
            }
            if shown.len() >= limit {
                return Ok((shown, false));
            }
            let arrival = &session.arrival;
            let (to_endpoint, to_client) = session.relay().map_or((0, 0), Relay::passed);
            shown.push(Connection {
                client: arrival.peer,
                listen: arrival.listen,
                since: arrival.at,
                endpoint: session.endpoint(),
                to_endpoint,
                to_client,
                idle: session.relay().and_then(Relay::idle),
            });
        }
        Ok((shown, true))
    }

    fn try_session(&self) -> Result<(), String> {
        if memory::is_short() {
            return Err("no client can be served: this host is short of memory".to_owned());
        }
        let tried = self.proxy.check_workers(1);
        tried.map_err(|error| {
            format!(
                "no client can be served: cannot start a thread: {}",
                OsErrorText(&error)
            )
        })
    }
}
