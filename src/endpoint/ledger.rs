//! What one endpoint has been used for: connections, bytes, dials, changes of state.
//!
//! Every number is an atomic that whoever holds the ledger adds to without a lock. It belongs
//! to an address and lives as long as the pool knows that address or a client is connected to
//! it, so the memory of all ledgers is bounded by the endpoints and the open connections.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::dial::DialResult;
use crate::endpoint::Proof;
use crate::endpoint::recent::Recent;
use crate::endpoint::status::Status;
use crate::stats::{Counter, Histogram, PaddedCounter};
use crate::sync::lock;

/// From a loopback round trip to the default `--dial-timeout`.
const DIAL_TIMES: [Duration; 13] = [
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(5),
];

/// How a probe ended: a connection of our own, a few bytes, and the wait for any answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Probed {
    /// Something came back, if only the end of the connection.
    Answered,
    /// Nothing did, in time.
    Silent,
    /// It could not be connected to.
    Failed,
    /// This host failed, whatever the endpoint is like.
    Local,
}

/// How a health check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checked {
    /// As it should.
    Passed,
    /// With another answer, or with none.
    Failed,
    /// This host failed, whatever the endpoint is like.
    Local,
}

/// The words for [`Probed`] and [`Checked`], each at the place of its number.
const PROBED: [&str; 4] = ["answered", "silent", "failed", "local"];
const CHECKED: [&str; 3] = ["passed", "failed", "local"];

/// No certificate has been verified.
const NO_CERTIFICATE: i64 = i64::MIN;

/// How long an endpoint of the set was not up: neither active nor slow nor draining.
#[derive(Debug, Default)]
struct Downtime {
    /// Spells that are over.
    past: Duration,
    /// When the present one began.
    since: Option<Instant>,
}

impl Downtime {
    fn at(&self, now: Instant) -> Duration {
        let present = self.since.map(|since| now.saturating_duration_since(since));
        self.past + present.unwrap_or_default()
    }
}

/// The account of one endpoint.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Bytes that clients sent and the endpoint was given.
    pub(crate) to_endpoint: PaddedCounter,
    /// Bytes that the endpoint sent and clients were given.
    pub(crate) to_client: PaddedCounter,
    /// Clients that were connected to it so far.
    pub(crate) connections: Counter,
    /// Those of them that are connected now.
    open: AtomicU64,
    /// Picks that are not over.
    held: AtomicUsize,
    /// Connections that have ended and count for a while.
    recent: Mutex<Recent>,
    /// The last connection that ended was not as old as one counts at least.
    ended_early: AtomicBool,
    dials: [Counter; DialResult::ALL.len()],
    /// How long dials took that were answered.
    pub(crate) dial_time: Histogram<{ DIAL_TIMES.len() }>,
    /// Changes of its state, by the state that it changed to.
    transitions: [Counter; Status::REACHED.len()],
    downtime: Mutex<Downtime>,
    /// When the certificate expires that it last proved itself with, in seconds since 1970.
    not_after: AtomicI64,
    /// Clients that waited too long for their first answer.
    pub(crate) unanswered: Counter,
    probes: [Counter; PROBED.len()],
    checks: [Counter; CHECKED.len()],
    /// When the ledger was begun.
    begun: Instant,
    /// When it last answered, in microseconds since then; 0 if it never did.
    last_answer: AtomicU64,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            to_endpoint: PaddedCounter::default(),
            to_client: PaddedCounter::default(),
            connections: Counter::new(),
            open: AtomicU64::new(0),
            held: AtomicUsize::new(0),
            recent: Mutex::default(),
            ended_early: AtomicBool::new(false),
            dials: [const { Counter::new() }; DialResult::ALL.len()],
            dial_time: Histogram::new(&DIAL_TIMES),
            transitions: [const { Counter::new() }; Status::REACHED.len()],
            downtime: Mutex::default(),
            not_after: AtomicI64::new(NO_CERTIFICATE),
            unanswered: Counter::new(),
            probes: [const { Counter::new() }; PROBED.len()],
            checks: [const { Counter::new() }; CHECKED.len()],
            begun: Instant::now(),
            last_answer: AtomicU64::new(0),
        }
    }
}

impl Ledger {
    /// Counts a pick, which is not over until the guard is dropped. The connection that it becomes counts
    /// until it is so old, also if it has ended.
    pub(super) fn hold(self: &Arc<Self>, counted: Duration) -> Hold {
        self.held.fetch_add(1, Ordering::Relaxed);
        Hold {
            ledger: Arc::clone(self),
            counted,
        }
    }

    /// How many picks are not over: the connections that are open or being made.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// How much it has to do: picks that are not over, and connections that have ended and still count. One
    /// that fails fast would be the least loaded otherwise.
    pub(super) fn load(&self, now: Instant) -> usize {
        self.held() + lock(&self.recent).count(now)
    }

    /// Whether it has no connection for the reason that the last one ended early.
    pub(super) fn ends_early(&self) -> bool {
        self.held() == 0 && self.ended_early.load(Ordering::Relaxed)
    }

    /// How many clients are connected.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Counts a dial; `took` is known of one that was answered.
    pub(super) fn dialled(&self, verdict: DialResult, took: Option<Duration>) {
        if let Some(counter) = self.dials.get(verdict as usize) {
            counter.add(1);
        }
        if let Some(took) = took {
            self.dial_time.observe(took);
        }
    }

    /// Counts a probe.
    pub(super) fn probed(&self, how: Probed) {
        if how == Probed::Answered {
            self.answered_now();
        }
        if let Some(counter) = self.probes.get(how as usize) {
            counter.add(1);
        }
    }

    /// Counts a health check.
    pub(super) fn checked(&self, how: Checked) {
        if how == Checked::Passed {
            self.answered_now();
        }
        if let Some(counter) = self.checks.get(how as usize) {
            counter.add(1);
        }
    }

    /// How many probes ended in each way.
    pub(crate) fn probes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        PROBED.into_iter().zip(self.probes.iter().map(Counter::get))
    }

    /// How many health checks ended in each way.
    pub(crate) fn checks(&self) -> impl Iterator<Item = (&'static str, u64)> {
        CHECKED
            .into_iter()
            .zip(self.checks.iter().map(Counter::get))
    }

    /// Notes that it has answered just now: a dial, a proof, a probe, a health check, or a client's first
    /// bytes.
    pub(super) fn answered_now(&self) {
        let passed = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.last_answer.store(passed.max(1), Ordering::Relaxed);
    }

    /// When it last answered, if it ever did.
    pub(crate) fn last_answer(&self) -> Option<Instant> {
        let micros = self.last_answer.load(Ordering::Relaxed);
        (micros > 0).then(|| self.begun + Duration::from_micros(micros))
    }

    /// Notes what it has proven itself with.
    pub(super) fn proven(&self, proof: Proof) {
        let not_after = proof.not_after.unwrap_or(NO_CERTIFICATE);
        self.not_after.store(not_after, Ordering::Relaxed);
    }

    /// Notes the state that it is in from `now` on.
    pub(super) fn turned(&self, to: Status, now: Instant) {
        let index = Status::REACHED.iter().position(|known| *known == to);
        if let Some(counter) = index.and_then(|index| self.transitions.get(index)) {
            counter.add(1);
        }
        let is_down = !to.is_active() && to != Status::Removed;
        let mut downtime = lock(&self.downtime);
        *downtime = Downtime {
            past: downtime.at(now),
            since: is_down.then_some(now),
        };
    }

    /// How often it changed to each state.
    pub(crate) fn transitions(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = Status::REACHED.iter().map(|status| status.name());
        names.zip(self.transitions.iter().map(Counter::get))
    }

    /// How long it was not up while it was in the set, by `now`.
    pub(crate) fn downtime(&self, now: Instant) -> Duration {
        lock(&self.downtime).at(now)
    }

    /// How many dials ended in each way.
    pub(crate) fn dials(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.dials.iter().map(Counter::get);
        DialResult::ALL
            .iter()
            .map(|verdict| verdict.name())
            .zip(counts)
    }

    /// When the certificate expires that it last proved itself with, in seconds since 1970.
    pub(crate) fn not_after(&self) -> Option<i64> {
        Some(self.not_after.load(Ordering::Relaxed)).filter(|time| *time != NO_CERTIFICATE)
    }
}

/// A pick that was made and is not over: a dial, then the connection it became.
#[derive(Debug)]
pub(crate) struct Hold {
    ledger: Arc<Ledger>,
    counted: Duration,
}

impl Hold {
    /// Counts a client that is connected from now on, until the guard is dropped.
    pub(crate) fn connected(self) -> Connected {
        self.ledger.connections.add(1);
        self.ledger.open.fetch_add(1, Ordering::Relaxed);
        Connected {
            since: Instant::now(),
            left: AtomicBool::new(false),
            hold: self,
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.ledger.held.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A client that is connected to an endpoint; also the way to its ledger.
#[derive(Debug)]
pub(crate) struct Connected {
    since: Instant,
    /// It is counted no more.
    left: AtomicBool,
    hold: Hold,
}

impl Connected {
    /// Counts the client no more; how many are connected after it. Of several that leave at the same time one
    /// is told 0.
    pub(crate) fn leave(&self) -> u64 {
        match self.left.swap(true, Ordering::Relaxed) {
            false => self.open.fetch_sub(1, Ordering::Relaxed).saturating_sub(1),
            true => self.open(),
        }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.leave();
        let counted = self.hold.counted;
        if !counted.is_zero() {
            let (until, now) = (self.since + counted, Instant::now());
            self.ended_early.store(now < until, Ordering::Relaxed);
            lock(&self.recent).ended(until, now);
        }
    }
}

impl std::ops::Deref for Connected {
    type Target = Ledger;

    fn deref(&self) -> &Ledger {
        &self.hold.ledger
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_counts_as_open_until_it_ends() {
        let ledger = Arc::new(Ledger::default());
        let dialling = ledger.hold(Duration::ZERO);
        let [one, two] = [(); 2].map(|()| ledger.hold(Duration::ZERO).connected());
        two.to_client.add(5);
        drop(one);
        assert_eq!((ledger.open(), ledger.connections.get()), (1, 2));
        assert_eq!(ledger.held(), 2);
        drop((dialling, two));
        assert_eq!((ledger.open(), ledger.to_client.get()), (0, 5));
        assert_eq!(ledger.held(), 0);
    }

    #[test]
    fn each_verdict_has_a_count_of_its_own() {
        let ledger = Ledger::default();
        for (index, verdict) in DialResult::ALL.into_iter().enumerate() {
            (0..=index).for_each(|_| ledger.dialled(verdict, None));
        }
        let counts: Vec<_> = ledger.dials().collect();
        assert_eq!(counts[0], ("ok", 1));
        for (index, (name, count)) in counts.iter().enumerate() {
            assert_eq!(*count, index as u64 + 1, "{name}");
        }
        assert_eq!(ledger.dial_time.read().count, 0);
        ledger.dialled(DialResult::Ok, Some(Duration::from_micros(600)));
        assert_eq!(ledger.dial_time.read().count, 1);
    }

    #[test]
    fn downtime_is_the_time_in_the_set_and_not_up() {
        let (ledger, start) = (Ledger::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        // (state from when on, downtime an hour later)
        let cases = [
            (0, Status::Untried, 3600),
            (3, Status::Active, 3),
            (4, Status::Slow, 3),
            (5, Status::Draining, 3),
            (10, Status::Inactive, 3603),
            (12, Status::Silent, 3605),
            (13, Status::Removed, 6),
            (20, Status::Untried, 3606),
            (21, Status::ThisGateway, 3607),
            (22, Status::Unauthenticated, 3608),
            (23, Status::Unhealthy, 3609),
            (24, Status::Active, 10),
        ];
        for (when, status, downtime) in cases {
            ledger.turned(status, at(when));
            let found = ledger.downtime(at(when + 3600));
            assert_eq!(found.as_secs(), downtime, "{when} {status:?}");
        }
        assert_eq!(ledger.downtime(at(0)).as_secs(), 10, "it never falls");
        let counts: Vec<_> = ledger.transitions().map(|(_, count)| count).collect();
        assert_eq!(counts, [2, 1, 1, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn a_certificate_has_an_end_only_if_there_is_one() {
        let ledger = Ledger::default();
        assert_eq!(ledger.not_after(), None);
        for not_after in [Some(4_000_000_000), None, Some(0)] {
            ledger.proven(Proof { not_after });
            assert_eq!(ledger.not_after(), not_after);
        }
    }
}
