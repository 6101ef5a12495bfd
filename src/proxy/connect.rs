//! Connects one client: picks endpoints, dials them, and takes the first that answers.
//!
//! If a dial has not been answered after [`Times::head_start`], the next endpoint is dialled at the same time
//! (as RFC 8305 does for addresses), so that an endpoint that drops packets costs a
//! client no more than that. If a dial fails, the next begins at once. Dials that are still
//! open when a client is served or rejected go to the monitor, which waits for their
//! outcome. Each endpoint is tried once, and all within one deadline: where there are so many that the last
//! would not be dialled by then, each has a shorter head start.
//!
//! A draining endpoint is dialled while other dials are open only after [`DRAINING_HEAD_STARTS`], because the others
//! may only be slow; without open dials it is dialled at once.
//!
//! The client's first open dial needs no slot, nor does the connection that it becomes. Each further one needs a slot;
//! where none is free, it takes the place of the oldest.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::dial::{self, Attempt, Dialled, Outcome};
use crate::endpoint::monitor::Monitor;
use crate::endpoint::pool::Pool;
use crate::endpoint::pool::admission::{Admission, AuthenticationTask};
use crate::endpoint::slots::Slot;
use crate::endpoint::stats::InFlight;
use crate::log;
use crate::loop_guard::LoopGuard;
use crate::proxy::cause::Rejection;
use crate::stats::Counter;
use crate::sys::memory;
use crate::times::Times;

/// Why a client got no endpoint, and how its last dial failed.
type Unserved = (Rejection, Option<dial::Error>);

/// The shortest head start, however many endpoints there are.
const LEAST_HEAD_START: Duration = Duration::from_millis(10);

/// For this many head starts a draining endpoint is not dialled while other dials are open: longer than the second after
/// which a lost packet is retransmitted.
const DRAINING_HEAD_STARTS: u32 = 5;

/// What a client needs to be connected.
#[derive(Debug)]
pub(crate) struct Connector<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) monitor: &'a Monitor,
    pub(crate) guard: &'a LoopGuard,
    /// Counts this client's dials.
    pub(crate) attempts: &'a Counter,
    /// Counts dials beyond a client's first.
    pub(crate) redispatches: &'a Counter,
    /// For all attempts of one client together.
    pub(crate) timeout: Duration,
    pub(crate) times: Times,
}

impl Connector<'_> {
    /// The connection to the first endpoint that answers, and its hold, which is kept as long as the connection.
    ///
    /// # Errors
    /// If none answers.
    pub(crate) fn connect(&self) -> Result<(Dialled, InFlight), Unserved> {
        // Never so long that there is no time left to dial one.
        let delay = (self.times.head_start * DRAINING_HEAD_STARTS).min(self.timeout / 4);
        let mut race = Race::new(self.head_start(), Instant::now() + delay);
        let outcome = self.run(&mut race);
        // From here on they belong to no client, and no hold counts them.
        let abandoned = race.open.into_iter().map(|open| (open.attempt, open.slot));
        self.monitor.adopt(abandoned.collect(), self.pool);
        outcome
    }

    /// Short enough that all endpoints that may serve are dialled within three quarters of the time.
    fn head_start(&self) -> Duration {
        let endpoints = u32::try_from(self.pool.candidates()).unwrap_or(u32::MAX);
        let share = self.timeout / 4 * 3 / endpoints.max(1);
        self.times.head_start.min(share.max(LEAST_HEAD_START))
    }

    fn run(&self, race: &mut Race) -> Result<(Dialled, InFlight), Unserved> {
        let deadline = Instant::now() + self.timeout;
        loop {
            // Before anything else: the next dial may be answered at once.
            let now = Instant::now();
            race.late(now).for_each(|addr| self.pool.slow(addr));
            if race.wants_next(now) {
                self.start_next(race, now);
            }
            if let Some(winner) = self.settle(race, deadline) {
                return Ok(winner);
            }
            let now = Instant::now();
            if now >= deadline || race.is_over() {
                return Err(race.rejection(self.pool));
            }
            if race.wants_next(now) {
                continue;
            }
            if let Err(error) = dial::wait(race.attempts(), None, Some(race.until(now, deadline))) {
                dial::cannot_wait("connect", &error);
                return Err((Rejection::OutOfResources, None));
            }
        }
    }

    /// Begins the next dial that can be begun, unless only draining endpoints are left and they have to wait.
    #[inline(never)]
    fn start_next(&self, race: &mut Race, now: Instant) {
        loop {
            race.postponed = race.may_postpone(now) && {
                let waits_for = race.attempts().map(|open| open.addr);
                self.pool.is_worth_waiting(&race.tried, waits_for)
            };
            if race.postponed {
                return;
            }
            let Some((addr, hold)) = self.pool.pick(&race.tried) else {
                break;
            };
            if !race.tried.is_empty() {
                self.redispatches.add(1);
            }
            // Most clients need one; a vector that grows by itself takes more memory.
            race.tried.reserve_exact(1);
            race.tried.push(addr);
            self.attempts.add(1);
            let slot = self.slot(race);
            let started = Instant::now();
            match Attempt::start(addr, self.timeout, self.guard) {
                Ok(attempt) => {
                    race.open.reserve_exact(1);
                    race.open.push(Open {
                        attempt,
                        hold,
                        slot,
                    });
                    race.failed_since_start = false;
                    return;
                }
                Err(error) => self.note_failure(race, addr, started, error),
            }
        }
        race.exhausted = true;
    }

    /// The slot of the next dial: `None` if it is the only one, otherwise a free one, or that of the oldest
    /// dial, which is abandoned.
    fn slot(&self, race: &mut Race) -> Option<Slot> {
        if race.open.is_empty() {
            return None;
        }
        self.pool.slots().for_client().or_else(|| {
            let oldest = race.open.remove(0);
            self.pool.unresolved(oldest.attempt.addr);
            oldest.slot
        })
    }

    /// Looks at every open dial; returns the first that is connected. An endpoint that has to authenticate
    /// must do so before the `deadline`, and sooner if that is far: one that accepts
    /// and then sends nothing leaves time for the others.
    #[inline(never)]
    fn settle(&self, race: &mut Race, deadline: Instant) -> Option<(Dialled, InFlight)> {
        let mut winner = None;
        for open in std::mem::take(&mut race.open) {
            if winner.is_some() {
                race.open.push(open);
                continue;
            }
            let Open {
                attempt,
                hold,
                slot,
            } = open;
            let (addr, started) = (attempt.addr, attempt.started);
            match attempt.outcome(Instant::now()) {
                Outcome::Connected(dialled) => {
                    match self.admit(addr, started, dialled.took, deadline) {
                        Ok(()) => winner = Some((dialled, hold)),
                        Err(error) => self.note_failure(race, addr, started, error),
                    }
                }
                Outcome::Pending(attempt) => race.open.push(Open {
                    attempt,
                    hold,
                    slot,
                }),
                Outcome::Failed(error) => self.note_failure(race, addr, started, error),
            }
        }
        winner
    }

    /// Whether a connected endpoint may serve the client.
    #[inline(never)]
    fn admit(
        &self,
        addr: SocketAddr,
        started: Instant,
        took: Duration,
        deadline: Instant,
    ) -> Result<(), dial::Error> {
        match self.pool.connected(addr, started, took) {
            // `Trial`: if it is this gateway still, the loop guard finds that when the connection is accepted.
            Admission::Ready | Admission::Trial => Ok(()),
            Admission::Rejected(error) => Err(error),
            Admission::Authenticate(task) => {
                // It was down, and may be another server by now.
                let left = deadline.saturating_duration_since(Instant::now());
                self.authenticate(&task, left.min(self.times.proof_patience))
            }
        }
    }

    /// Authenticates an endpoint that was down. Not on this thread: a handshake and a
    /// chain of certificates need more stack than a session has.
    #[inline(never)]
    fn authenticate(
        &self,
        task: &AuthenticationTask,
        patience: Duration,
    ) -> Result<(), dial::Error> {
        let addr = task.addr();
        let local = |error| dial::ErrorKind::Local("thread", error).at(addr);
        let until = Instant::now() + patience;
        let Some(slot) = self.pool.slots().wait_for_client(patience) else {
            let busy = "too many dials and authentications are in progress";
            return Err(local(io::Error::other(busy)));
        };
        let left = until.saturating_duration_since(Instant::now());
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("prove".to_owned());
            let ended = || io::Error::other("the thread ended early");
            memory::room_for_thread()
                .and_then(|()| {
                    thread.spawn_scoped(scope, || self.pool.authenticate(task, left, &slot))
                })
                .and_then(|thread| thread.join().map_err(|_| ended()))
                .unwrap_or_else(|error| Err(local(error)))
        })
    }

    #[inline(never)]
    fn note_failure(
        &self,
        race: &mut Race,
        addr: SocketAddr,
        started: Instant,
        error: dial::Error,
    ) {
        race.failed_since_start = true;
        race.postponed = false;
        race.endpoint_failed |= !error.is_local();
        self.pool.failed(addr, started, &error);
        log::debug(
            "connect",
            "dial failed",
            &[("error", error.to_string().into())],
        );
        race.error = Some(error);
    }
}

/// A dial under way.
#[derive(Debug)]
struct Open {
    attempt: Attempt,
    hold: InFlight,
    slot: Option<Slot>,
}

/// The dials of one client.
#[derive(Debug)]
struct Race {
    /// How long a dial is open before the next begins.
    head_start: Duration,
    /// From when a draining endpoint is dialled while other dials are open.
    draining_from: Instant,
    /// Only draining endpoints are left, and they have to wait for that.
    postponed: bool,
    tried: Vec<SocketAddr>,
    /// In the order in which they began.
    open: Vec<Open>,
    /// A dial failed after the last began, so the next need not wait.
    failed_since_start: bool,
    /// No endpoint is left to try.
    exhausted: bool,
    endpoint_failed: bool,
    /// How the last failed dial failed.
    error: Option<dial::Error>,
}

impl Race {
    fn new(head_start: Duration, draining_from: Instant) -> Self {
        Self {
            head_start,
            draining_from,
            postponed: false,
            tried: Vec::new(),
            open: Vec::new(),
            failed_since_start: false,
            exhausted: false,
            endpoint_failed: false,
            error: None,
        }
    }

    fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        self.open.iter().map(|open| &open.attempt)
    }

    /// Endpoints that have had their head start and have not answered.
    fn late(&self, now: Instant) -> impl Iterator<Item = SocketAddr> {
        self.attempts()
            .filter(move |open| now >= open.started + self.head_start)
            .map(|open| open.addr)
    }

    /// Whether it is too early to dial a draining endpoint.
    fn may_postpone(&self, now: Instant) -> bool {
        now < self.draining_from && !self.open.is_empty()
    }

    /// Whether the next dial is to begin: none has begun yet, one has failed, or all
    /// have had their head start; but not while it is postponed.
    fn wants_next(&self, now: Instant) -> bool {
        let all_late = || self.late(now).count() == self.open.len();
        let waits = self.exhausted || self.postponed && self.may_postpone(now);
        !waits && (self.failed_since_start || all_late())
    }

    /// Whether nothing is left to begin or to wait for.
    fn is_over(&self) -> bool {
        self.exhausted && self.open.is_empty()
    }

    /// Until when to wait for an outcome: the next dial begins then, or time is up.
    fn until(&self, now: Instant, deadline: Instant) -> Instant {
        let head_starts = self.attempts().map(|open| open.started + self.head_start);
        let draining = self.postponed.then_some(self.draining_from);
        let next = head_starts.chain(draining).filter(|end| *end > now).min();
        next.map_or(deadline, |next| next.min(deadline))
    }

    /// Why the client is rejected.
    fn rejection(&mut self, pool: &Pool) -> Unserved {
        let late = self.open.last();
        let late = late.map(|open| dial::ErrorKind::TimedOut.at(open.attempt.addr));
        let reason = if self.tried.is_empty() {
            match pool.census().total {
                0 => Rejection::NoEndpoint,
                _ => Rejection::NoEligibleEndpoint,
            }
        } else if self.endpoint_failed || !self.open.is_empty() {
            Rejection::Unreachable
        } else {
            Rejection::OutOfResources
        };
        (reason, late.or_else(|| self.error.take()))
    }
}

#[cfg(test)]
mod tests;
