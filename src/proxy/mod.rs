//! Serves clients: accepts them, counts them, and gives each a session of its own.
//!
//! Nothing that happens here ends the process. An error of `accept`, a thread that
//! cannot be started, a client above the cap: each costs at most that one client its
//! connection, is counted, and is logged at most once a second.

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

use crate::dial::{self, Plain};
use crate::endpoint::monitor::Monitor;
use crate::endpoint::pool::Pool;
use crate::log;
use crate::loop_guard::LoopGuard;
use crate::proxy::counters::Counters;
use crate::proxy::listener::Listener;
use crate::proxy::pipes::Pipes;
use crate::proxy::removals::Removals;
use crate::proxy::sessions::Sessions;
use crate::proxy::workers::Workers;

/// Pause after an `accept` that failed for want of descriptors or memory: the client
/// stays in the queue, so trying again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a client was turned away; its connection is reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// As many connections as `--max-connections` allows are open.
    MaxConnections,
    /// The host has no thread left.
    NoThread,
    /// The client is this gateway.
    Loop,
    /// Every endpoint was tried and none answered in time.
    Unreachable,
    /// The host has no descriptor, port or memory left for the dial.
    OutOfResources,
    /// No name of an endpoint could be resolved so far.
    NoEndpoint,
}

impl Refusal {
    const ALL: [Self; 6] = [
        Self::MaxConnections,
        Self::NoThread,
        Self::Loop,
        Self::Unreachable,
        Self::OutOfResources,
        Self::NoEndpoint,
    ];

    /// The word for it in metrics.
    fn name(self) -> &'static str {
        match self {
            Self::MaxConnections => "max_connections",
            Self::NoThread => "no_thread",
            Self::Loop => "loop",
            Self::Unreachable => "unreachable",
            Self::OutOfResources => "out_of_resources",
            Self::NoEndpoint => "no_endpoint",
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::MaxConnections => "max-connections",
            Self::NoThread => "cannot start a thread",
            Self::Loop => "loop",
            Self::Unreachable => "no endpoint reachable",
            Self::OutOfResources => "out of local resources",
            Self::NoEndpoint => "no endpoint address known",
        }
    }
}

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
    /// Set if connections to endpoints that are removed are to be closed.
    removals: Option<Removals>,
    refused: [Tally; Refusal::ALL.len()],
    accept_errors: Tally,
    pub(crate) counters: Counters,
}

impl Proxy {
    /// A proxy that serves at most `max_connections` at a time, with at most `max_pipes`
    /// pipes for bulk.
    pub(crate) fn new(
        pool: Arc<Pool>,
        monitor: Arc<Monitor>,
        guard: LoopGuard,
        dial_timeout: Duration,
        max_connections: usize,
        max_pipes: usize,
        removals: Option<Removals>,
    ) -> Self {
        Self {
            pool,
            monitor,
            guard,
            sessions: Sessions::new(max_connections),
            workers: Arc::default(),
            pipes: Pipes::new(max_pipes),
            dial_timeout,
            removals,
            refused: [const { Tally::new() }; Refusal::ALL.len()],
            accept_errors: Tally::new(),
            counters: Counters::new(),
        }
    }

    /// Accepts clients until `closing` is set and the listener stopped.
    pub(crate) fn accept(self: &Arc<Self>, listener: &Listener, closing: &AtomicBool) {
        loop {
            match listener.accept() {
                Ok(client) => {
                    self.counters.accepted.add(1);
                    session::start(self, client);
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
    fn refuse(&self, client: &TcpStream, refusal: Refusal) {
        relay::reset_on_close(client);
        let Some(tally) = self.refused.get(refusal as usize) else {
            return;
        };
        if let Some((count, suppressed)) = tally.add() {
            let peer = client.peer_addr().map(|addr| addr.to_string());
            let census = self.pool.census();
            log::warn(
                "proxy",
                "refused client",
                &[
                    ("reason", refusal.reason().into()),
                    ("client", peer.unwrap_or_default().into()),
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
