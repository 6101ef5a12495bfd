//! Serves clients: accepts them, counts them, and gives each a session of its own.
//!
//! Nothing that happens here ends the process. An error of `accept`, a thread that
//! cannot be started, a client above the cap: each costs at most that one client its
//! connection, is counted, and is logged at most once a second.

mod account;
mod cause;
mod connect;
pub(crate) mod counters;
pub(crate) mod listener;
mod pipes;
mod relay;
pub(crate) mod removals;
mod session;
pub(crate) mod sessions;
mod workers;

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::access::AccessLog;
use crate::dial;
use crate::endpoint::monitor::Monitor;
use crate::endpoint::pool::Pool;
use crate::log;
use crate::loop_guard::LoopGuard;
use crate::proxy::account::Arrival;
use crate::proxy::cause::Refusal;
use crate::proxy::counters::Counters;
use crate::proxy::listener::Listener;
use crate::proxy::pipes::Pipes;
use crate::proxy::removals::Removals;
use crate::proxy::sessions::Sessions;
use crate::proxy::workers::Workers;
use crate::sys::Plain;
use crate::times::Times;

/// Pause after an `accept` that failed for want of descriptors or memory: the client
/// stays in the queue, so trying again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often one thing happened, and when it was last logged.
#[derive(Debug)]
struct Tally {
    count: AtomicU64,
    log: log::Limit,
}

impl Tally {
    const fn new() -> Self {
        Self {
            count: AtomicU64::new(0),
            log: log::Limit::new(),
        }
    }

    /// Counts, and returns the count with what was held back, if it is time to log.
    fn add(&self) -> Option<(u64, u64)> {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        Some((count, self.log.admit(Instant::now())?))
    }
}

/// How much there may be of what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// For all attempts of one client together.
    pub(crate) dial_timeout: Duration,
    /// Clients at a time.
    pub(crate) max_connections: usize,
    /// Pipes for bulk at a time.
    pub(crate) max_pipes: usize,
    pub(crate) times: Times,
}

/// All that sessions share.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) pool: Arc<Pool>,
    pub(crate) monitor: Arc<Monitor>,
    pub(crate) guard: LoopGuard,
    pub(crate) sessions: Sessions,
    workers: Arc<Workers>,
    pipes: Pipes,
    /// For all attempts of one client together.
    dial_timeout: Duration,
    times: Times,
    /// Set if connections to endpoints that are removed are to be closed.
    removals: Option<Removals>,
    refused: [Tally; Refusal::ALL.len()],
    accept_errors: Tally,
    pub(crate) counters: Counters,
    pub(crate) access: Option<Arc<AccessLog>>,
}

impl Proxy {
    /// A proxy that has served nobody yet.
    pub(crate) fn new(
        pool: Arc<Pool>,
        monitor: Arc<Monitor>,
        guard: LoopGuard,
        bounds: Bounds,
        removals: Option<Removals>,
        access: Option<Arc<AccessLog>>,
    ) -> Self {
        Self {
            pool,
            monitor,
            guard,
            sessions: Sessions::new(bounds.max_connections),
            workers: Arc::new(Workers::new(bounds.times.worker_patience)),
            pipes: Pipes::new(bounds.max_pipes),
            dial_timeout: bounds.dial_timeout,
            times: bounds.times,
            removals,
            refused: [const { Tally::new() }; Refusal::ALL.len()],
            accept_errors: Tally::new(),
            counters: Counters::new(),
            access,
        }
    }

    /// Accepts clients until `closing` is set and the listener stopped.
    pub(crate) fn accept(self: &Arc<Self>, listener: &Listener, closing: &AtomicBool) {
        loop {
            match listener.accept() {
                Ok((client, peer)) => {
                    self.counters.accepted.add(1);
                    session::start(self, client, Arrival::now(peer, listener.addr));
                }
                Err(_) if closing.load(Ordering::SeqCst) => return,
                Err(error) => self.accept_failed(listener, &error),
            }
        }
    }

    fn accept_failed(&self, listener: &Listener, error: &io::Error) {
        // accept(2): these belong to the one connection that was to be accepted.
        let of_the_client = matches!(
            error.kind(),
            io::ErrorKind::Interrupted
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::NetworkDown
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::HostUnreachable
        );
        let pause = if of_the_client {
            Duration::ZERO
        } else {
            ACCEPT_PAUSE
        };
        self.counters.accept_failed(error);
        if let Some((count, suppressed)) = self.accept_errors.add() {
            log::warn(
                "proxy",
                "cannot accept",
                &[
                    ("listen", listener.addr.into()),
                    ("error", Plain(error).to_string().into()),
                    ("exhausted", dial::is_exhaustion(error).to_string().into()),
                    ("pause", pause.into()),
                    ("count", count.into()),
                    ("suppressed", suppressed.into()),
                ],
            );
        }
        std::thread::sleep(pause);
    }

    /// Turns a client away: its connection is reset when the last handle is dropped.
    fn refuse(&self, client: &TcpStream, peer: SocketAddr, refusal: Refusal) {
        relay::reset_on_close(client);
        let Some(tally) = self.refused.get(refusal as usize) else {
            return;
        };
        if let Some((count, suppressed)) = tally.add() {
            let census = self.pool.census();
            log::warn(
                "proxy",
                "refused client",
                &[
                    ("reason", refusal.reason().into()),
                    ("client", peer.into()),
                    ("connections", self.sessions.count().into()),
                    ("active-endpoints", census.active.into()),
                    ("endpoints", census.total.into()),
                    ("count", count.into()),
                    ("suppressed", suppressed.into()),
                ],
            );
        }
    }

    /// Reports endpoints that are no more, so that their connections end in time.
    pub(crate) fn removed(&self, addrs: Vec<SocketAddr>) {
        if let Some(removals) = &self.removals {
            removals.note(addrs);
        }
    }

    /// Clients turned away, by reason.
    pub(crate) fn refusals(&self) -> Vec<(&'static str, u64)> {
        let names = Refusal::ALL.into_iter().map(Refusal::name);
        let counts = self.refused.iter();
        let counts = counts.map(|tally| tally.count.load(Ordering::Relaxed));
        names.zip(counts).collect()
    }

    /// How many clients were turned away so far.
    pub(crate) fn refused(&self) -> u64 {
        self.refusals().iter().map(|(_, count)| count).sum()
    }
}
