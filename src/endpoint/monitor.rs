//! One thread that finds out about endpoints what sessions cannot wait for.
//!
//! It does the tasks of the pool: it dials endpoints that are untried or inactive, and probes those
//! that are silent or suspected of it. It also watches dials that lost a session's race until they
//! have an outcome: an endpoint is inactive because a dial of it failed, never because another
//! was faster. All connections are watched at the same time,
//! so that one that hangs delays nothing, and each has a slot, so that there are never too many.
//!
//! A probe that was not answered in time stays open, as long as such probes have at most half of the slots: what
//! arrives on it later is the first sign that the member is back.
//!
//! [`Watch::step`] does what is to be done at one time and never waits; [`Monitor::run`] waits.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::dial::{self, Attempt, Dialled};
use crate::endpoint::pool::Pool;
use crate::endpoint::pool::admission::{Admission, AuthenticationTask};
use crate::endpoint::pool::tasks::Task;
use crate::endpoint::slots::Slot;
use crate::endpoint::watched::{Outcome, Watched};
use crate::log;
use crate::loop_guard::LoopGuard;
use crate::sync::lock;
use crate::sys::OsErrorText;
use crate::sys::memory;
use crate::sys::syscall::PollFd;
use crate::times::Times;

/// How long the monitor waits if something is due and no slot is free.
const SLOT_PAUSE: Duration = Duration::from_millis(50);

/// How long a question may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// A dial, or an authentication.
    pub(crate) dial: Duration,
    /// The answer to a probe, once it is connected.
    pub(crate) answer: Duration,
}

/// A dial of the monitor, and its slot, if it has one.
pub(crate) type Abandoned = (Attempt, Option<Slot>);

/// What other threads share with the monitor's.
#[derive(Debug)]
pub(crate) struct Monitor {
    times: Times,
    abandoned: Mutex<Vec<(Attempt, Slot)>>,
    /// Endpoints that are being authenticated, each in a thread.
    authenticating: Arc<Mutex<BTreeSet<SocketAddr>>>,
    /// Limits lines about threads that cannot be started.
    log: log::Limit,
}

impl Monitor {
    pub(crate) fn new(times: Times) -> Self {
        Self {
            times,
            abandoned: Mutex::default(),
            authenticating: Arc::default(),
            log: log::Limit::new(),
        }
    }

    /// Takes over dials that a session no longer waits for, as many as there are slots.
    pub(crate) fn adopt(&self, attempts: Vec<Abandoned>, pool: &Pool) {
        for (attempt, slot) in attempts {
            match slot.or_else(|| pool.slots().for_background()) {
                Some(slot) => {
                    lock(&self.abandoned).push((attempt, slot));
                    pool.monitor_waker().wake();
                }
                None => pool.unresolved(attempt.addr),
            }
        }
    }

    /// The thread's work.
    pub(crate) fn run(&self, pool: &Arc<Pool>, guard: &LoopGuard, patience: Patience) -> ! {
        let mut watch = Watch::new(self, pool, guard, patience);
        loop {
            let until = watch.step(Instant::now());
            if let Err(error) = watch.wait(until) {
                dial::cannot_wait("monitor", &error);
                std::thread::sleep(self.times.poll_pause);
            }
            pool.monitor_waker().clear();
        }
    }

    /// Authenticates an endpoint in a thread of its own: that takes
    /// several round trips, and the endpoint may stop answering at any of them.
    fn authenticate(
        &self,
        pool: &Arc<Pool>,
        task: AuthenticationTask,
        timeout: Duration,
        slot: Slot,
    ) {
        let addr = task.addr();
        if !lock(&self.authenticating).insert(addr) {
            return;
        }
        // Removed also if the thread panics, or cannot be started.
        let place = Place(Arc::clone(&self.authenticating), addr);
        let (pool, started) = (Arc::clone(pool), Instant::now());
        let work = move || {
            if let Err(error) = pool.authenticate(&task, timeout, &slot) {
                report_failure(&pool, addr, started, &error);
            }
            drop(place);
        };
        let thread = std::thread::Builder::new().name("prove".to_owned());
        if let Err(error) = memory::room_for_thread().and_then(|()| thread.spawn(work))
            && let Some(suppressed) = self.log.admit(Instant::now())
        {
            log::warn(
                "monitor",
                "cannot start a thread, endpoint stays inactive for another interval",
                &[
                    ("address", addr.into()),
                    ("error", OsErrorText(&error).to_string().into()),
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
    patience: Patience,
    watched: Vec<(Watched, Slot)>,
    /// Probes that were not answered in time, the oldest first.
    overdue: Vec<(Watched, Slot)>,
}

impl<'a> Watch<'a> {
    fn new(
        monitor: &'a Monitor,
        pool: &'a Arc<Pool>,
        guard: &'a LoopGuard,
        patience: Patience,
    ) -> Self {
        // What an earlier thread watched will never have an outcome.
        pool.all_unresolved();
        Self {
            monitor,
            pool,
            guard,
            patience,
            watched: Vec::new(),
            overdue: Vec::new(),
        }
    }

    /// Does what is to be done at `now`. Returns when there will be more to do, whatever
    /// happens until then; `None` if nothing is watched and nothing is due.
    fn step(&mut self, now: Instant) -> Option<Instant> {
        for (attempt, slot) in std::mem::take(&mut *lock(&self.monitor.abandoned)) {
            // One dial per endpoint shows as much as many.
            if !self.has(attempt.addr) {
                self.watched.push((Watched::dial(attempt, None), slot));
            }
        }
        self.settle(now);
        let next_due = self.ask(now);
        let deadlines = self.watched.iter().map(|(watched, _)| watched.deadline());
        deadlines.chain(next_due).min()
    }

    /// Waits until something watched may have an outcome, the monitor is woken, or `until`.
    fn wait(&self, until: Option<Instant>) -> io::Result<()> {
        let woken = std::iter::once(PollFd::readable(self.pool.monitor_waker().fd()));
        let watched = self.watched.iter().chain(&self.overdue);
        let awaited = watched.map(|(watched, _)| watched.awaited());
        dial::wait(std::iter::empty(), woken.chain(awaited), until)
    }

    /// Whether an endpoint is being asked already.
    fn has(&self, addr: SocketAddr) -> bool {
        let mut watched = self.watched.iter();
        watched.any(|(watched, _)| watched.addr == addr)
    }

    /// Begins what is due, as far as there are slots; returns when there is more.
    fn ask(&mut self, now: Instant) -> Option<Instant> {
        loop {
            let next = self.pool.next_due()?;
            if next > now {
                return Some(next);
            }
            let Some(slot) = self.slot() else {
                return Some(now + SLOT_PAUSE);
            };
            match self.pool.next_task(now) {
                Some(Task::Dial(addr)) => self.connect(addr, false, slot),
                Some(Task::Probe(addr)) => {
                    // Of two probes, the new one shows more.
                    self.overdue.retain(|(probe, _)| probe.addr != addr);
                    self.connect(addr, true, slot);
                }
                Some(Task::Authenticate(task)) => {
                    self.monitor
                        .authenticate(self.pool, task, self.patience.dial, slot);
                }
                None => {}
            }
        }
    }

    /// A free slot, if necessary that of a probe that will probably not be answered any more.
    fn slot(&mut self) -> Option<Slot> {
        let free = self.pool.slots().for_background();
        free.or_else(|| (!self.overdue.is_empty()).then(|| self.overdue.remove(0).1))
    }

    /// Begins a dial or a probe.
    fn connect(&mut self, addr: SocketAddr, is_probe: bool, slot: Slot) {
        if self.has(addr) {
            return;
        }
        let started = Instant::now();
        match Attempt::start(addr, self.patience.dial, self.guard) {
            Ok(attempt) => {
                let answer = is_probe.then_some(self.patience.answer);
                self.watched.push((Watched::dial(attempt, answer), slot));
            }
            Err(error) => self.failed(addr, started, is_probe, &error),
        }
    }

    fn failed(&self, addr: SocketAddr, started: Instant, is_probe: bool, error: &dial::Error) {
        match is_probe {
            true => self.pool.probe_failed(addr, started, error),
            false => report_failure(self.pool, addr, started, error),
        }
    }

    /// Reports what has an outcome and keeps the rest.
    fn settle(&mut self, now: Instant) {
        let pool = self.pool;
        for (watched, slot) in std::mem::take(&mut self.watched) {
            let (addr, started, is_probe) = (watched.addr, watched.started, watched.is_probe());
            match watched.outcome(now) {
                Outcome::Pending(watched) => self.watched.push((watched, slot)),
                Outcome::Connected(dialled) => self.connected(dialled, started, slot, now),
                Outcome::Failed(error) => self.failed(addr, started, is_probe, &error),
                Outcome::Answered(sent) => pool.probed(addr, Some(sent)),
                Outcome::Silent(probe) => {
                    self.overdue.push((probe, slot));
                    // A thread that waits for a slot cannot take one of these.
                    if self.overdue.len() > pool.slots().for_idle() {
                        self.overdue.remove(0);
                    }
                    pool.probed(addr, None);
                }
                Outcome::Kept => pool.succeeded(addr, started),
                Outcome::Closed => {}
            }
        }
        for (probe, _) in self.overdue.extract_if(.., |(probe, _)| probe.is_ready()) {
            pool.late_answer(probe.addr);
        }
    }

    /// Acts on a dial that was answered.
    fn connected(&mut self, dialled: Dialled, started: Instant, slot: Slot, now: Instant) {
        let addr = dialled.endpoint;
        match self.pool.connected(addr, started, dialled.took) {
            Admission::Ready => {}
            Admission::Authenticate(task) => {
                // Over another connection.
                drop(dialled);
                let timeout = self.patience.dial;
                self.monitor.authenticate(self.pool, task, timeout, slot);
            }
            Admission::Trial => {
                let end = now + self.monitor.times.loop_verdict;
                self.watched
                    .push((Watched::keep(dialled, started, end), slot));
            }
            Admission::Rejected(error) => report_failure(self.pool, addr, started, &error),
        }
    }
}

/// An endpoint's place among those that are being authenticated.
#[derive(Debug)]
struct Place(Arc<Mutex<BTreeSet<SocketAddr>>>, SocketAddr);

impl Drop for Place {
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
