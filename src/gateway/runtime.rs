//! The running gateway, and its state for those who ask: over HTTP (`admin`), by SIGUSR1, and the service manager. All
//! of them get it from one [`Snapshot`].
//!
//! The answer to SIGUSR1 is logged whatever `--log-level` is, because an operator has asked for it.
//! Each set of facts is read by itself, so it is right as of the moment that it was read; no lock is held while
//! anything is written.

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

/// The parts of a running gateway.
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
    /// The last date that was computed: dates never go back.
    pub(super) clock: Mutex<Now>,
}

const CALLER: &str = "status";

/// Bytes that the longest answer takes for one endpoint or transition: 30 lines of 100 bytes, and the buffer grows by doubling.
const EACH: usize = 8 * 1024;

const NO_STATUS: &str = "no memory to report the status";

impl Runtime {
    /// What is wrong now, in words.
    fn problems(&self) -> Vec<String> {
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

    /// # Errors
    /// If there is no memory for a snapshot.
    fn check_memory(&self) -> io::Result<()> {
        /// This many endpoints may be reported from the reserve: an operator may want to see what is wrong.
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
            Err(error) => format!("{NO_STATUS}: {}", OsErrorText(&error)),
        }
    }

    /// Logs the status.
    pub(super) fn log(&self) {
        match self.snapshot() {
            Ok(snapshot) => snapshot.facts(|message, fields| log::answer(CALLER, message, fields)),
            Err(error) => {
                let fields = [("error", OsErrorText(&error).to_string().into())];
                log::answer(CALLER, NO_STATUS, &fields);
            }
        }
    }
}

impl Observed for Runtime {
    fn snapshot(&self) -> io::Result<Snapshot> {
        self.check_memory()?;
        let now = Now::new(Instant::now(), SystemTime::now());
        let counters = &self.proxy.counters;
        let access = self.proxy.access.as_ref();
        let (draining_processes, draining_connections) = self.reloads.predecessors.draining();
        // Transitions are not reported from the reserve: the present state is more important.
        let transitions = match memory::room(TRANSITIONS * EACH) {
            Ok(()) => self.proxy.pool.transitions(),
            Err(_) => Vec::new(),
        };
        Ok(Snapshot {
            version: env!("CARGO_PKG_VERSION"),
            host: self.host.clone(),
            pid: std::process::id(),
            now: now.steadied(&mut lock(&self.clock)),
            started: self.started,
            draining: self.threads.closing().load(Ordering::SeqCst),
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
        // At most some 700 bytes for each, in buffers that grow by doubling.
        while limit > 0 && memory::room(limit.saturating_mul(EACH)).is_err() {
            limit /= 2;
        }
        let mut connections = Vec::new();
        memory::carefully(|| connections.try_reserve_exact(limit))?;
        for session in self.proxy.sessions.all() {
            if endpoint.is_some() && session.endpoint() != endpoint {
                continue;
            }
            if connections.len() >= limit {
                return Ok((connections, false));
            }
            let arrival = &session.arrival;
            let (to_endpoint, to_client) = session.relay().map_or((0, 0), Relay::passed);
            connections.push(Connection {
                client: arrival.peer,
                listen: arrival.listen,
                since: arrival.at,
                endpoint: session.endpoint(),
                to_endpoint,
                to_client,
                idle: session.relay().and_then(Relay::idle),
            });
        }
        Ok((connections, true))
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
