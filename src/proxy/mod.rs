//! Serves clients: accepts them, counts them, and gives each a session of its own.
//!
//! The way of a connection, which is also the order in which to read the files:
//!
//! 1. A thread per listener accepts a client ([`Proxy::accept`], `listener`).
//! 2. `session` registers the client (`sessions`), hands it to a thread (`workers`), and stays until both connections
//!    have ended.
//! 3. `connect` picks endpoints and dials them; the first that answers is taken.
//! 4. `relay` moves bytes in both directions and passes on how each of them ends. All its system calls are in `calls`;
//!    bulk goes through `pipes`.
//! 5. `parked` waits for the sessions that are silent, with one thread for all of them.
//! 6. `watch` ends sessions whose peer is dead or whose endpoint was removed or is unhealthy (`notices` wakes it).
//! 7. When the session is dropped, its `cause` is counted (`counters`) and logged (`ended`).
//!
//! Nothing that happens here ends the process. An error of `accept`, a thread that
//! cannot be started, a client above the limit: each costs at most that one client its
//! connection, is counted, and is logged at most once a second.

mod calls;
mod cause;
mod connect;
pub(crate) mod counters;
mod ended;
pub(crate) mod listener;
mod notices;
mod parked;
mod pipes;
mod relay;
mod session;
mod sessions;
pub(crate) mod watch;
mod workers;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::access::AccessLog;
use crate::dial;
use crate::endpoint::monitor::Monitor;
use crate::endpoint::pool::Pool;
use crate::loop_guard::LoopGuard;
use crate::proxy::cause::is_of_the_connection;
use crate::proxy::counters::Counters;
use crate::proxy::listener::Listener;
use crate::proxy::notices::Notices;
use crate::proxy::parked::Parked;
use crate::proxy::pipes::Pipes;
pub(crate) use crate::proxy::relay::Relay;
use crate::proxy::session::{Arrival, Session};
pub(crate) use crate::proxy::session::{Bounds, Proxy};
use crate::proxy::sessions::Sessions;
pub(crate) use crate::proxy::workers::STACK;
use crate::proxy::workers::Workers;
use crate::sys::OsErrorText;

/// Pause after an `accept` that failed because descriptors or memory are used up: the client
/// stays in the queue, so trying again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Proxy {
    /// A proxy without sessions.
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
            pipes: Pipes::new(
                bounds.max_pipes,
                bounds.max_buffers,
                bounds.times.splice_pause,
            ),
            parked: Parked::new(bounds.times.wake_pause),
            notices: Notices::default(),
            counters: Counters::new(),
            bounds,
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
        self.counters.accept_failed(error, || {
            vec![
                ("listen", listener.addr.into()),
                ("error", OsErrorText(error).to_string().into()),
                ("exhausted", dial::is_exhaustion(error).to_string().into()),
                ("pause_seconds", pause.into()),
            ]
        });
        std::thread::sleep(pause);
    }

    /// Waits for silent sessions; the work of a thread.
    pub(crate) fn wait_for_silent(&self) {
        self.parked.run(Session::wake);
    }

    /// Reports removed endpoints, so that their connections end in time.
    pub(crate) fn removed(&self, addrs: Vec<SocketAddr>) {
        if self.bounds.close_removed.is_some() {
            self.notices.removed(addrs);
        }
    }

    /// Whether this many threads could be started for clients now.
    ///
    /// # Errors
    /// That of the host, if they could not.
    pub(crate) fn check_workers(&self, count: usize) -> io::Result<()> {
        self.workers.check(count)
    }

    /// How many clients were rejected so far.
    pub(crate) fn rejected(&self) -> u64 {
        let rejections = self.counters.rejections();
        rejections.iter().map(|(_, count)| count).sum()
    }
}

/// How long to pause after an error of accept(2): not at all if it concerns the one connection that was to
/// be accepted. EPERM and EACCES do not, whatever the manual page says about firewalls: on Linux they come
/// from security modules and filters of system calls, and leave the client in the queue.
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
    use crate::times::Times;

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
            answer_timeout: Duration::ZERO,
            close_removed: None,
            close_unhealthy: None,
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
