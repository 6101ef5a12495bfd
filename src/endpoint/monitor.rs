//! One thread that finds out what sessions cannot wait for.
//!
//! It asks endpoints what the pool has due: it dials those that are untried or inactive, and probes those
//! that are suspected of being silent, or are. It keeps watching dials that lost a session's race until they
//! have an outcome of their own: an endpoint is inactive because a dial of it failed, never because another
//! was quicker. An endpoint that was this gateway must keep a connection for a while before it counts as
//! another: the guard's verdict comes when the connection is accepted. All that is watched is watched side by
//! side, so that one that hangs delays nothing, and each has a slot, so that there are never too many.
//!
//! A probe that was not answered in time stays open, as long as these take no more than half of the slots: what
//! comes on it later is the first sign that the member is back.
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
use crate::endpoint::pool::admission::{Admission, Proving};
use crate::endpoint::pool::tasks::Task;
use crate::endpoint::probe::{self, Patience, Probe};
use crate::endpoint::slots::Slot;
use crate::log;
use crate::loop_guard::LoopGuard;
use crate::sync::lock;
use crate::sys::Plain;
use crate::sys::memory;
use crate::sys::syscall::{self, PollFd};
use crate::times::Times;

/// How long it waits where something is due and no slot is free.
const SLOT_PAUSE: Duration = Duration::from_millis(50);

/// A dial that nobody else waits for, and its slot, if it has one.
pub(crate) type Abandoned = (Attempt, Option<Slot>);

/// Dials that wait for the monitor's thread.
#[derive(Debug)]
pub(crate) struct Monitor {
    times: Times,
    abandoned: Mutex<Vec<Abandoned>>,
    /// Endpoints that are proving who they are, each in a thread.
    proving: Arc<Mutex<BTreeSet<SocketAddr>>>,
    /// Of lines about threads that cannot be started.
    log: log::Limit,
}

impl Monitor {
    /// A monitor that has nothing to watch yet.
    pub(crate) fn new(times: Times) -> Self {
        Self {
            times,
            abandoned: Mutex::default(),
            proving: Arc::default(),
            log: log::Limit::new(),
        }
    }

    /// Takes over dials that a session no longer waits for, as many as there are slots.
    pub(crate) fn adopt(&self, attempts: Vec<Abandoned>, pool: &Pool) {
        for (attempt, slot) in attempts {
            match slot.or_else(|| pool.slots().for_background()) {
                Some(slot) => {
                    lock(&self.abandoned).push((attempt, Some(slot)));
                    pool.monitor().wake();
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
            pool.monitor().clear();
        }
    }

    /// Has an endpoint that answers prove who it is, in a thread of its own: that takes
    /// several round trips, and it may fall silent at any of them.
    fn prove(&self, pool: &Arc<Pool>, proving: Proving, timeout: Duration, slot: Slot) {
        let addr = proving.addr();
        if !lock(&self.proving).insert(addr) {
            return;
        }
        // Given back also by a thread that panics, or that cannot be started.
        let place = Place(Arc::clone(&self.proving), addr);
        let (pool, started) = (Arc::clone(pool), Instant::now());
        let work = move || {
            if let Err(error) = pool.prove(&proving, timeout, &slot) {
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
    patience: Patience,
    dials: Vec<(Attempt, Slot)>,
    trials: Vec<Trial>,
    probes: Vec<(Probe, Slot)>,
    /// Probes that were not answered in time, the oldest first.
    overdue: Vec<(Probe, Slot)>,
}

/// A connection to an endpoint that was this gateway, which closes those of its own.
#[derive(Debug)]
struct Trial {
    dialled: Dialled,
    started: Instant,
    /// When it has kept the connection for long enough.
    end: Instant,
    _slot: Slot,
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
        patience: Patience,
    ) -> Self {
        // What another thread watched before this one has no outcome any more.
        pool.forsaken();
        Self {
            monitor,
            pool,
            guard,
            patience,
            dials: Vec::new(),
            trials: Vec::new(),
            probes: Vec::new(),
            overdue: Vec::new(),
        }
    }

    /// Does what is to be done at `now`. Returns when there will be more to do, whatever
    /// happens until then; never, if nothing is watched and nothing is due.
    fn step(&mut self, now: Instant) -> Option<Instant> {
        for (attempt, slot) in std::mem::take(&mut *lock(&self.monitor.abandoned)) {
            // One dial an endpoint tells as much as many.
            if let Some(slot) = slot.filter(|_| !self.has(attempt.addr)) {
                self.dials.push((attempt, slot));
            }
        }
        self.settle(now);
        let next_due = self.ask(now);
        let deadlines = self.dials.iter().map(|(attempt, _)| attempt.deadline);
        let ends = self.trials.iter().map(|trial| trial.end);
        let answers = self.probes.iter().map(|(probe, _)| probe.deadline());
        let all = deadlines.chain(ends).chain(answers).chain(next_due);
        all.min()
    }

    /// Waits until something watched may have an outcome, the monitor is called, or `until`.
    fn wait(&self, until: Option<Instant>) -> io::Result<()> {
        let called = std::iter::once(PollFd::readable(self.pool.monitor().fd()));
        let trials = self.trials.iter();
        let cut = trials.map(|trial| PollFd::peer_closed(trial.dialled.stream.as_fd()));
        let probes = self.probes.iter().chain(&self.overdue);
        let answered = probes.map(|(probe, _)| probe.awaited());
        let dials = self.dials.iter().map(|(attempt, _)| attempt);
        dial::wait(dials, called.chain(cut).chain(answered), until)
    }

    /// Whether an endpoint is being asked already.
    fn has(&self, addr: SocketAddr) -> bool {
        let dials = self.dials.iter().map(|(attempt, _)| attempt.addr);
        let trials = self.trials.iter().map(|trial| trial.dialled.endpoint);
        let probes = self.probes.iter().map(|(probe, _)| probe.addr);
        dials.chain(trials).chain(probes).any(|asked| asked == addr)
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
                Some(Task::Dial(addr)) => self.dial(addr, slot),
                Some(Task::Prove(proving)) => {
                    self.monitor
                        .prove(self.pool, proving, self.patience.dial, slot);
                }
                Some(Task::Probe(addr)) => self.probe(addr, slot),
                None => {}
            }
        }
    }

    /// A free slot, if need be that of a probe that is not expected to be answered any more.
    fn slot(&mut self) -> Option<Slot> {
        let free = self.pool.slots().for_background();
        free.or_else(|| (!self.overdue.is_empty()).then(|| self.overdue.remove(0).1))
    }

    /// Begins to find out whether an endpoint can be connected to.
    fn dial(&mut self, addr: SocketAddr, slot: Slot) {
        if self.has(addr) {
            return;
        }
        let started = Instant::now();
        match Attempt::start(addr, self.patience.dial, self.guard) {
            Ok(attempt) => self.dials.push((attempt, slot)),
            Err(error) => report_failure(self.pool, addr, started, &error),
        }
    }

    /// Begins to find out whether an endpoint says anything.
    fn probe(&mut self, addr: SocketAddr, slot: Slot) {
        // Of two that wait, the new one tells more.
        self.overdue.retain(|(probe, _)| probe.addr != addr);
        if self.has(addr) {
            return;
        }
        let started = Instant::now();
        match Probe::start(addr, self.patience, self.guard) {
            Ok(probe) => self.probes.push((probe, slot)),
            Err(error) => self.pool.probe_failed(addr, started, &error),
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
                self.pool.kept(trial.dialled.endpoint, trial.started);
            }
        }
        for (attempt, slot) in std::mem::take(&mut self.dials) {
            let (addr, started) = (attempt.addr, attempt.started);
            match attempt.outcome(now) {
                Outcome::Connected(dialled) => self.connected(dialled, started, slot, now),
                Outcome::Pending(pending) => self.dials.push((pending, slot)),
                Outcome::Failed(error) => report_failure(self.pool, addr, started, &error),
            }
        }
        self.settle_probes(now);
    }

    /// What a dial that was answered means.
    fn connected(&mut self, dialled: Dialled, started: Instant, slot: Slot, now: Instant) {
        let addr = dialled.endpoint;
        match self.pool.connected(addr, started, dialled.took) {
            Admission::Ready => {}
            Admission::Prove(proving) => {
                // Over a connection of its own.
                drop(dialled);
                let timeout = self.patience.dial;
                self.monitor.prove(self.pool, proving, timeout, slot);
            }
            Admission::Keep => {
                let end = now + self.monitor.times.loop_verdict;
                self.trials.push(Trial {
                    dialled,
                    started,
                    end,
                    _slot: slot,
                });
            }
            Admission::Refused(error) => report_failure(self.pool, addr, started, &error),
        }
    }

    fn settle_probes(&mut self, now: Instant) {
        for (probe, slot) in std::mem::take(&mut self.probes) {
            let (addr, started) = (probe.addr, probe.started);
            match probe.outcome(now) {
                probe::Outcome::Pending(pending) => self.probes.push((pending, slot)),
                probe::Outcome::Answered(asked) => self.pool.probed(addr, Some(asked)),
                probe::Outcome::Silent(probe) => {
                    self.overdue.push((probe, slot));
                    // Whoever waits for a slot in another thread cannot take one of these.
                    if self.overdue.len() > self.pool.slots().for_idle() {
                        self.overdue.remove(0);
                    }
                    self.pool.probed(addr, None);
                }
                probe::Outcome::Failed(error) => {
                    self.pool.probe_failed(addr, started, &error);
                }
            }
        }
        let pool = self.pool;
        self.overdue.retain(|(probe, _)| {
            let stirs = probe.has_something();
            if stirs {
                pool.stirred(probe.addr);
            }
            !stirs
        });
    }
}

/// An endpoint's place among those that are proving who they are.
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
