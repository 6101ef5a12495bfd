//! One thread that finds out what sessions cannot wait for.
//!
//! It dials inactive endpoints again every retry delay, and it keeps watching dials
//! that lost a session's race until they have an outcome of their own: an endpoint is
//! inactive because a dial of it failed, never because another was quicker. All its
//! dials run side by side, so that one that hangs delays nothing.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::dial::{self, Attempt, Dialled, Outcome};
use crate::endpoint::pool::Pool;
use crate::log;
use crate::loop_guard::LoopGuard;
use crate::sync::lock;

/// How long an endpoint that was this gateway must keep a connection before it counts
/// as another: the guard's verdict comes when the connection is accepted.
const LOOP_VERDICT: Duration = Duration::from_millis(500);

/// Dials that wait for the monitor's thread.
#[derive(Debug, Default)]
pub(crate) struct Monitor {
    abandoned: Mutex<Vec<Attempt>>,
    /// Endpoints that are proving who they are, each in a thread.
    vetted: Arc<Mutex<BTreeSet<SocketAddr>>>,
}

impl Monitor {
    /// Takes over dials that a session no longer waits for.
    pub(crate) fn adopt(&self, attempts: Vec<Attempt>, pool: &Pool) {
        if !attempts.is_empty() {
            lock(&self.abandoned).extend(attempts);
            pool.monitor().wake();
        }
    }

    /// The thread's work; `timeout` is what a dial gets.
    pub(crate) fn run(&self, pool: &Arc<Pool>, guard: &LoopGuard, timeout: Duration) -> ! {
        let mut watched: Vec<Attempt> = Vec::new();
        loop {
            for attempt in std::mem::take(&mut *lock(&self.abandoned)) {
                // One dial an endpoint tells as much as many, and holds one descriptor.
                if !watched.iter().any(|other| other.addr == attempt.addr) {
                    watched.push(attempt);
                }
            }
            let (due, next_due) = pool.due(Instant::now());
            for addr in due {
                if watched.iter().any(|other| other.addr == addr) {
                    continue;
                }
                if pool.needs_proof(addr) {
                    self.vet(pool, addr, timeout);
                    continue;
                }
                let started = Instant::now();
                match Attempt::start(addr, timeout, guard) {
                    Ok(attempt) => watched.push(attempt),
                    Err(error) => report_failure(pool, addr, started, &error),
                }
            }
            watched = self.settle(watched, pool, timeout);
            let until = watched
                .iter()
                .map(|attempt| attempt.deadline)
                .chain(next_due)
                .min();
            if let Err(error) = dial::wait(watched.iter(), Some(pool.monitor().fd()), until) {
                log::error(
                    "monitor",
                    "cannot poll",
                    &[("error", error.to_string().into())],
                );
                std::thread::sleep(Duration::from_secs(1));
            }
            pool.monitor().clear();
        }
    }

    /// Reports the dials that have an outcome and returns the others.
    fn settle(&self, watched: Vec<Attempt>, pool: &Arc<Pool>, timeout: Duration) -> Vec<Attempt> {
        let mut open = Vec::with_capacity(watched.len());
        for attempt in watched {
            let (addr, started) = (attempt.addr, attempt.started);
            match attempt.outcome(Instant::now()) {
                Outcome::Connected(dialled) => {
                    pool.answered(addr, dialled.took);
                    if pool.needs_proof(addr) {
                        self.vet(pool, addr, timeout);
                    } else if !pool.is_looped(addr) || !is_cut(&dialled) {
                        pool.succeeded(addr, started);
                    }
                }
                Outcome::Pending(pending) => open.push(pending),
                Outcome::Failed(error) => report_failure(pool, addr, started, &error),
            }
        }
        open
    }

    /// Has an endpoint that answers again prove who it is, in a thread of its own: that takes
    /// several round trips, and it may fall silent at any of them.
    fn vet(&self, pool: &Arc<Pool>, addr: SocketAddr, timeout: Duration) {
        if !lock(&self.vetted).insert(addr) {
            return;
        }
        // Given back also by a thread that panics, or that cannot be started.
        let place = Vetted(Arc::clone(&self.vetted), addr);
        let (pool, started) = (Arc::clone(pool), Instant::now());
        let work = move || {
            if let Err(error) = pool.vet(addr, timeout) {
                report_failure(&pool, addr, started, &error);
            }
            drop(place);
        };
        if let Err(error) = std::thread::Builder::new()
            .name("vet".to_owned())
            .spawn(work)
        {
            log::warn(
                "monitor",
                "cannot start a thread, endpoint stays inactive for another interval",
                &[
                    ("address", addr.into()),
                    ("error", error.to_string().into()),
                ],
            );
        }
    }
}

/// An endpoint's place among those that are proving who they are.
#[derive(Debug)]
struct Vetted(Arc<Mutex<BTreeSet<SocketAddr>>>, SocketAddr);

impl Drop for Vetted {
    fn drop(&mut self) {
        lock(&self.0).remove(&self.1);
    }
}

fn report_failure(pool: &Pool, addr: SocketAddr, started: Instant, error: &dial::Error) {
    // The reference repeats this as a warning every delay; the change was logged.
    log::debug(
        "monitor",
        "failed to activate endpoint (stay inactive for another interval)",
        &[
            ("address", addr.into()),
            ("error", error.to_string().into()),
        ],
    );
    pool.failed(addr, started, error);
}

/// Whether the other side closes within [`LOOP_VERDICT`], as this gateway does with a
/// connection of its own.
fn is_cut(dialled: &Dialled) -> bool {
    let mut stream = &dialled.stream;
    if stream.set_read_timeout(Some(LOOP_VERDICT)).is_err() {
        return true;
    }
    match stream.read(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Policy;
    use crate::endpoint::{Endpoint, Gate, Proof, Source};
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Panics when it is asked for the first time.
    #[derive(Debug, Default)]
    struct Shaky(AtomicBool);

    impl Gate for Shaky {
        fn admit(&self, _: &Endpoint, _: Duration) -> Result<Proof, dial::Error> {
            if !self.0.swap(true, Ordering::SeqCst) {
                std::panic::resume_unwind(Box::new("as this test wants"));
            }
            Ok(Proof { not_after: None })
        }
    }

    #[test]
    fn an_endpoint_is_asked_again_after_a_proof_that_has_panicked() {
        let (addr, patience) = (([127, 0, 0, 1], 1).into(), Duration::from_secs(10));
        let gate: Arc<dyn Gate> = Arc::new(Shaky::default());
        let pool = Pool::new(Policy::RoundRobin, patience, Some(gate)).unwrap();
        pool.replace(vec![Endpoint {
            addr,
            name: addr.to_string(),
            priority: 0,
            weight: 0,
            identity: Some("etcd.example".to_owned()),
            source: Source::Endpoints,
        }]);
        let (pool, monitor) = (Arc::new(pool), Monitor::default());
        let deadline = Instant::now() + patience;
        while pool.census().active == 0 {
            assert!(Instant::now() < deadline, "nobody asks it any more");
            monitor.vet(&pool, addr, patience);
            std::thread::yield_now();
        }
    }
}
