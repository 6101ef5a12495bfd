//! One thread that finds out what sessions cannot wait for.
//!
//! It dials inactive endpoints again every retry delay, and it keeps watching dials
//! that lost a session's race until they have an outcome of their own: an endpoint is
//! inactive because a dial of it failed, never because another was quicker. An endpoint that was
//! this gateway must keep a connection for a while before it counts as another: the guard's
//! verdict comes when the connection is accepted. All that is watched is watched side by side, so
//! that one that hangs delays nothing.
//!
//! What is done at some time is [`Watch::step`], which waits for nothing; [`Monitor::run`] does the
//! waiting.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::dial::{self, Attempt, Dialled, Outcome};
use crate::endpoint::pool::Pool;
use crate::log;
use crate::loop_guard::LoopGuard;
use crate::sync::lock;
use crate::sys::Plain;
use crate::sys::syscall::{self, PollFd};
use crate::times::Times;

/// Dials that wait for the monitor's thread.
#[derive(Debug)]
pub(crate) struct Monitor {
    times: Times,
    abandoned: Mutex<Vec<Attempt>>,
    /// Endpoints that are proving who they are, each in a thread.
    vetted: Arc<Mutex<BTreeSet<SocketAddr>>>,
    /// Of lines about threads that cannot be started.
    log: log::Limit,
}

impl Monitor {
    /// A monitor that has nothing to watch yet.
    pub(crate) fn new(times: Times) -> Self {
        Self {
            times,
            abandoned: Mutex::default(),
            vetted: Arc::default(),
            log: log::Limit::new(),
        }
    }

    /// Takes over dials that a session no longer waits for.
    pub(crate) fn adopt(&self, attempts: Vec<Attempt>, pool: &Pool) {
        if !attempts.is_empty() {
            lock(&self.abandoned).extend(attempts);
            pool.monitor().wake();
        }
    }

    /// The thread's work; `timeout` is what a dial gets.
    pub(crate) fn run(&self, pool: &Arc<Pool>, guard: &LoopGuard, timeout: Duration) -> ! {
        let mut watch = Watch::new(self, pool, guard, timeout);
        loop {
            let until = watch.step(Instant::now());
            if let Err(error) = watch.wait(until) {
                dial::cannot_wait("monitor", &error);
                std::thread::sleep(self.times.poll_pause);
            }
            pool.monitor().clear();
        }
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
        let thread = std::thread::Builder::new().name("vet".to_owned());
        if let Err(error) = thread.spawn(work)
            && let Some(suppressed) = self.log.admit(Instant::now())
        {
            log::warn(
                "monitor",
                "cannot start a thread, endpoint stays inactive for another interval",
                &[
                    ("address", addr.into()),
                    ("error", Plain(&error).to_string().into()),
                    ("suppressed", suppressed.into()),
                ],
            );
        }
    }
}

/// What the monitor's thread watches.
#[derive(Debug)]
struct Watch<'a> {
    monitor: &'a Monitor,
    pool: &'a Arc<Pool>,
    guard: &'a LoopGuard,
    /// What a dial gets.
    timeout: Duration,
    dials: Vec<Attempt>,
    trials: Vec<Trial>,
}

/// A connection to an endpoint that was this gateway, which closes those of its own.
#[derive(Debug)]
struct Trial {
    dialled: Dialled,
    started: Instant,
    /// When it has kept the connection for long enough.
    end: Instant,
}

impl Trial {
    /// Whether the other side has closed it; also if that cannot be found out.
    fn is_cut(&self) -> bool {
        let mut fds = [PollFd::peer_closed(self.dialled.stream.as_fd())];
        syscall::wait(&mut fds, Some(Duration::ZERO)).is_err() || fds.iter().any(PollFd::is_ready)
    }
}

impl<'a> Watch<'a> {
    fn new(
        monitor: &'a Monitor,
        pool: &'a Arc<Pool>,
        guard: &'a LoopGuard,
        timeout: Duration,
    ) -> Self {
        Self {
            monitor,
            pool,
            guard,
            timeout,
            dials: Vec::new(),
            trials: Vec::new(),
        }
    }

    /// Does what is to be done at `now`. Returns when there will be more to do, whatever
    /// happens until then; never, if nothing is watched and nothing is inactive.
    fn step(&mut self, now: Instant) -> Option<Instant> {
        for attempt in std::mem::take(&mut *lock(&self.monitor.abandoned)) {
            // One dial an endpoint tells as much as many, and holds one descriptor.
            if !self.has(attempt.addr) {
                self.dials.push(attempt);
            }
        }
        self.settle(now);
        let (due, next_due) = self.pool.due(now);
        for addr in due {
            if !self.has(addr) {
                self.dial(addr);
            }
        }
        let deadlines = self.dials.iter().map(|attempt| attempt.deadline);
        let ends = self.trials.iter().map(|trial| trial.end);
        deadlines.chain(ends).chain(next_due).min()
    }

    /// Waits until something watched may have an outcome, the monitor is called, or `until`.
    fn wait(&self, until: Option<Instant>) -> io::Result<()> {
        let called = std::iter::once(PollFd::readable(self.pool.monitor().fd()));
        let trials = self.trials.iter();
        let cut = trials.map(|trial| PollFd::peer_closed(trial.dialled.stream.as_fd()));
        dial::wait(self.dials.iter(), called.chain(cut), until)
    }

    /// Whether a connection to this endpoint is being watched.
    fn has(&self, addr: SocketAddr) -> bool {
        self.dials.iter().any(|attempt| attempt.addr == addr)
            || self
                .trials
                .iter()
                .any(|trial| trial.dialled.endpoint == addr)
    }

    /// Begins to find out whether an inactive endpoint is back.
    fn dial(&mut self, addr: SocketAddr) {
        if self.pool.needs_proof(addr) {
            return self.monitor.vet(self.pool, addr, self.timeout);
        }
        let started = Instant::now();
        match Attempt::start(addr, self.timeout, self.guard) {
            Ok(attempt) => self.dials.push(attempt),
            Err(error) => report_failure(self.pool, addr, started, &error),
        }
    }

    /// Reports what has an outcome and keeps the rest.
    fn settle(&mut self, now: Instant) {
        for trial in std::mem::take(&mut self.trials) {
            if trial.is_cut() {
                continue;
            }
            if now < trial.end {
                self.trials.push(trial);
            } else {
                self.pool.succeeded(trial.dialled.endpoint, trial.started);
            }
        }
        for attempt in std::mem::take(&mut self.dials) {
            let (addr, started) = (attempt.addr, attempt.started);
            match attempt.outcome(now) {
                Outcome::Connected(dialled) => {
                    self.pool.answered(addr, dialled.took);
                    if self.pool.needs_proof(addr) {
                        self.monitor.vet(self.pool, addr, self.timeout);
                    } else if self.pool.is_looped(addr) {
                        let end = now + self.monitor.times.loop_verdict;
                        self.trials.push(Trial {
                            dialled,
                            started,
                            end,
                        });
                    } else {
                        self.pool.succeeded(addr, started);
                    }
                }
                Outcome::Pending(pending) => self.dials.push(pending),
                Outcome::Failed(error) => report_failure(self.pool, addr, started, &error),
            }
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

#[cfg(test)]
mod tests;
