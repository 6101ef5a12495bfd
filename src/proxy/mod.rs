//! Serves clients: accepts them, counts them, and gives each a session of its own.
//!
//! Nothing that happens here ends the process. An error of `accept`, a thread that
//! cannot be started, a client above the cap: each costs at most that one client its
//! connection, is counted, and is logged at most once a second.

mod account;
mod calls;
mod cause;
mod connect;
pub(crate) mod counters;
pub(crate) mod gone;
pub(crate) mod listener;
mod parked;
mod pipes;
mod relay;
mod session;
pub(crate) mod sessions;
pub(crate) mod watch;
mod workers;

use std::io;
use std::net::SocketAddr;
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
use crate::proxy::cause::{Rejection, is_of_the_connection};
use crate::proxy::counters::Counters;
use crate::proxy::listener::Listener;
use crate::proxy::parked::Parked;
use crate::proxy::pipes::Pipes;
pub(crate) use crate::proxy::relay::Relay;
use crate::proxy::session::Session;
use crate::proxy::sessions::Sessions;
use crate::proxy::watch::{Settings, Watch};
pub(crate) use crate::proxy::workers::STACK;
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
    /// Buffers for bulk at a time.
    pub(crate) max_buffers: usize,
    /// What becomes of connections that nobody looks at.
    pub(crate) watch: Settings,
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
    parked: Parked<Session>,
    /// For all attempts of one client together.
    dial_timeout: Duration,
    times: Times,
    watch: Watch,
    rejected: [Tally; Rejection::ALL.len()],
    accept_errors: Tally,
    host_failures: Tally,
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
        access: Option<Arc<AccessLog>>,
    ) -> Self {
        Self {
            pool,
            monitor,
            guard,
            sessions: Sessions::new(bounds.max_connections),
            workers: Arc::new(Workers::new(bounds.times.worker_patience)),
            pipes: Pipes::new(bounds.max_pipes, bounds.times.splice_pause)
                .with_buffers(bounds.max_buffers),
            parked: Parked::new(bounds.times.wake_pause),
            dial_timeout: bounds.dial_timeout,
            times: bounds.times,
            watch: Watch::new(bounds.watch),
            rejected: [const { Tally::new() }; Rejection::ALL.len()],
            accept_errors: Tally::new(),
            host_failures: Tally::new(),
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
        let pause = accept_pause(error);
        self.counters.accept_failed(error);
        if let Some((count, suppressed)) = self.accept_errors.add() {
            log::warn(
                "proxy",
                "cannot accept",
                &[
                    ("listen", listener.addr.into()),
                    ("error", Plain(error).to_string().into()),
                    ("exhausted", dial::is_exhaustion(error).to_string().into()),
                    ("pause_seconds", pause.into()),
                    ("count", count.into()),
                    ("suppressed", suppressed.into()),
                ],
            );
        }
        std::thread::sleep(pause);
    }

    /// Notes that a client is rejected; its connection is reset when it closes.
    fn reject(&self, peer: SocketAddr, reason: Rejection, error: Option<&str>) {
        let Some(tally) = self.rejected.get(reason as usize) else {
            return;
        };
        if let Some((count, suppressed)) = tally.add() {
            let census = self.pool.census();
            let mut fields = vec![
                ("reason", reason.name().into()),
                ("client", peer.into()),
                ("connections", self.sessions.count().into()),
                ("active_endpoints", census.active.into()),
                ("endpoints", census.total.into()),
                ("count", count.into()),
                ("suppressed", suppressed.into()),
            ];
            fields.extend(error.map(|error| ("error", error.into())));
            log::warn("proxy", "rejected client", &fields);
        }
    }

    /// Notes that a connection was reset because a call of this host failed.
    fn host_failed(&self, client: SocketAddr, error: &io::Error) {
        if let Some((count, suppressed)) = self.host_failures.add() {
            log::warn(
                "proxy",
                "reset connection, this host failed",
                &[
                    ("client", client.into()),
                    ("error", Plain(error).to_string().into()),
                    ("exhausted", dial::is_exhaustion(error).to_string().into()),
                    ("count", count.into()),
                    ("suppressed", suppressed.into()),
                ],
            );
        }
    }

    /// Waits for sessions that are silent; the work of a thread.
    pub(crate) fn wait_for_silent(&self) {
        self.parked.run(Session::wake);
    }

    /// Reports endpoints that are no more, so that their connections end in time.
    pub(crate) fn removed(&self, addrs: Vec<SocketAddr>) {
        self.watch.removed(addrs);
    }

    /// Whether clients could be given so many threads now.
    ///
    /// # Errors
    /// What the host says, if it does not give them.
    pub(crate) fn check_workers(&self, count: usize) -> io::Result<()> {
        self.workers.check(count)
    }

    /// Clients rejected, by reason.
    pub(crate) fn rejections(&self) -> Vec<(&'static str, u64)> {
        let names = Rejection::ALL.into_iter().map(Rejection::name);
        let counts = self.rejected.iter();
        let counts = counts.map(|tally| tally.count.load(Ordering::Relaxed));
        names.zip(counts).collect()
    }

    /// How many clients were rejected so far.
    pub(crate) fn rejected(&self) -> u64 {
        self.rejections().iter().map(|(_, count)| count).sum()
    }
}

/// How long to accept nobody after an error. None if it belongs to the one connection that was to
/// be accepted (accept(2)). EPERM and EACCES do not, whatever the manual says of firewalls: Linux has
/// them from security modules and filters of system calls, which leave the client in the queue.
fn accept_pause(error: &io::Error) -> Duration {
    if is_of_the_connection(error) || error.kind() == io::ErrorKind::Interrupted {
        Duration::ZERO
    } else {
        ACCEPT_PAUSE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The errors of accept(2) on Linux; numbers of asm-generic/errno.h.
    #[test]
    fn errors_of_one_client_cost_no_pause() {
        // EINTR, ECONNABORTED, ENETDOWN, EPROTO, ENOPROTOOPT, EHOSTDOWN, ENONET,
        // EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH, ECONNRESET, ETIMEDOUT.
        for number in [4, 103, 100, 71, 92, 112, 64, 113, 95, 101, 104, 110] {
            let error = io::Error::from_raw_os_error(number);
            assert_eq!(accept_pause(&error), Duration::ZERO, "{error}");
        }
        // EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM, EACCES, EBADF, EINVAL, ENOTSOCK, EFAULT, EAGAIN.
        for number in [24, 23, 105, 12, 1, 13, 9, 22, 88, 14, 11] {
            let error = io::Error::from_raw_os_error(number);
            assert_eq!(accept_pause(&error), ACCEPT_PAUSE, "{error}");
        }
    }

    #[test]
    fn each_error_of_accept_is_counted_by_its_name() {
        let second = Duration::from_secs(1);
        let pool = Pool::new(crate::config::Policy::RoundRobin, second, None).unwrap();
        let bounds = Bounds {
            dial_timeout: second,
            max_connections: 1,
            max_pipes: 0,
            max_buffers: 0,
            watch: Settings {
                answer_timeout: Duration::ZERO,
                close_removed: None,
                close_unhealthy: None,
            },
            times: Times::REAL,
        };
        let monitor = Arc::new(Monitor::new(Times::REAL));
        let guard = LoopGuard::default();
        let proxy = Proxy::new(Arc::new(pool), monitor, guard, bounds, None);
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = Listener::own(socket).unwrap();
        // ECONNABORTED twice, EPROTO.
        for number in [103, 103, 71] {
            proxy.accept_failed(&listener, &io::Error::from_raw_os_error(number));
        }
        let counted: Vec<_> = proxy.counters.accept_errors();
        let counted: Vec<_> = counted
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(counted, [("ECONNABORTED", 2), ("other", 1)]);
    }
}
