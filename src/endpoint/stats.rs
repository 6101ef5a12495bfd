//! What one endpoint has been used for: connections, bytes, dials, changes of state.
//!
//! Sessions add to them without the lock of the pool. They belong
//! to an address, and live as long as the pool has that address or a client is connected to
//! it, so their memory is bounded by the endpoints and the open connections.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::dial::DialResult;
use crate::endpoint::Proof;
use crate::endpoint::recent::Recent;
use crate::endpoint::state::EndpointState;
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

/// How a probe ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Probed {
    /// Something came back, or the connection ended.
    Answered,
    /// Nothing came back in time.
    Silent,
    /// There was no connection.
    Failed,
    /// This host failed, which says nothing about the endpoint.
    Local,
}

/// How a health check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checked {
    Passed,
    /// With another answer, or without one.
    Failed,
    /// This host failed, which says nothing about the endpoint.
    Local,
}

/// A counter for each value of a label.
#[derive(Debug)]
pub(crate) struct Counters<const N: usize>([(&'static str, Counter); N]);

impl<const N: usize> Counters<N> {
    fn new(labels: [&'static str; N]) -> Self {
        Self(labels.map(|label| (label, Counter::new())))
    }

    fn add(&self, index: usize) {
        if let Some((_, counter)) = self.0.get(index) {
            counter.add(1);
        }
    }

    /// Each label and its count.
    pub(crate) fn read(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0
            .iter()
            .map(|(label, counter)| (*label, counter.get()))
    }
}

/// What is not a counter.
#[derive(Debug, Default)]
struct Times {
    /// How long the endpoint was in the set and not up (active, slow or draining) before the present downtime.
    past_downtime: Duration,
    down_since: Option<Instant>,
    last_answer: Option<Instant>,
    /// When the certificate expires that last authenticated the endpoint, in seconds since 1970.
    not_after: Option<i64>,
}

impl Times {
    fn downtime(&self, now: Instant) -> Duration {
        let present = self
            .down_since
            .map(|since| now.saturating_duration_since(since));
        self.past_downtime + present.unwrap_or_default()
    }
}

/// The statistics of one endpoint.
#[derive(Debug)]
pub(crate) struct EndpointStats {
    /// Bytes from clients that were written to the endpoint.
    pub(crate) to_endpoint: PaddedCounter,
    /// Bytes from the endpoint that were written to clients.
    pub(crate) to_client: PaddedCounter,
    /// Clients that were connected to it so far.
    pub(crate) connections: Counter,
    /// Those of them that are connected now.
    open: AtomicU64,
    /// Picks whose [`InFlight`] lives.
    held: AtomicUsize,
    /// Connections that have ended and still count.
    recent: Mutex<Recent>,
    /// The last connection that ended did not last for as long as one counts at least.
    ended_early: AtomicBool,
    /// Dials, by outcome.
    pub(crate) dials: Counters<{ DialResult::ALL.len() }>,
    /// How long dials took that were answered.
    pub(crate) dial_time: Histogram<{ DIAL_TIMES.len() }>,
    /// Changes of state, by the new state.
    pub(crate) transitions: Counters<{ EndpointState::REACHED.len() }>,
    /// Clients that waited too long for their first answer.
    pub(crate) unanswered: Counter,
    /// By [`Probed`].
    pub(crate) probes: Counters<4>,
    /// By [`Checked`].
    pub(crate) checks: Counters<3>,
    times: Mutex<Times>,
}

impl Default for EndpointStats {
    fn default() -> Self {
        Self {
            to_endpoint: PaddedCounter::default(),
            to_client: PaddedCounter::default(),
            connections: Counter::new(),
            open: AtomicU64::new(0),
            held: AtomicUsize::new(0),
            recent: Mutex::default(),
            ended_early: AtomicBool::new(false),
            dials: Counters::new(DialResult::ALL.map(DialResult::name)),
            dial_time: Histogram::new(&DIAL_TIMES),
            transitions: Counters::new(EndpointState::REACHED.map(EndpointState::name)),
            unanswered: Counter::new(),
            probes: Counters::new(["answered", "silent", "failed", "local"]),
            checks: Counters::new(["passed", "failed", "local"]),
            times: Mutex::default(),
        }
    }
}

impl EndpointStats {
    /// Counts a pick until the guard is dropped. The connection that it becomes counts for at least `counted`,
    /// also if it has ended before.
    pub(super) fn hold(self: &Arc<Self>, counted: Duration) -> InFlight {
        self.held.fetch_add(1, Ordering::Relaxed);
        InFlight {
            stats: Arc::clone(self),
            counted,
        }
    }

    /// How many connections are open or being made.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Connections that are open or being made, and those that have ended and still count: an endpoint
    /// that fails fast would be the least loaded otherwise.
    pub(super) fn load(&self, now: Instant) -> usize {
        self.held() + lock(&self.recent).count(now)
    }

    /// Whether it has no connection because the last one ended early.
    pub(super) fn ends_early(&self) -> bool {
        self.held() == 0 && self.ended_early.load(Ordering::Relaxed)
    }

    /// How many clients are connected.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Counts a dial; `took` is the time that one took that was answered.
    pub(super) fn dialled(&self, result: DialResult, took: Option<Duration>) {
        self.dials.add(result as usize);
        if let Some(took) = took {
            self.dial_time.observe(took);
        }
    }

    pub(super) fn probed(&self, how: Probed) {
        if how == Probed::Answered {
            self.answered_now();
        }
        self.probes.add(how as usize);
    }

    pub(super) fn checked(&self, how: Checked) {
        if how == Checked::Passed {
            self.answered_now();
        }
        self.checks.add(how as usize);
    }

    /// Notes that it has just answered a dial, an authentication, a probe, a health check or a client's first
    /// bytes.
    pub(super) fn answered_now(&self) {
        lock(&self.times).last_answer = Some(Instant::now());
    }

    /// When it last answered, if it ever did.
    pub(crate) fn last_answer(&self) -> Option<Instant> {
        lock(&self.times).last_answer
    }

    /// Notes the certificate of the last authentication.
    pub(super) fn authenticated(&self, proof: Proof) {
        lock(&self.times).not_after = proof.not_after;
    }

    /// When the certificate expires that last authenticated it, in seconds since 1970.
    pub(crate) fn not_after(&self) -> Option<i64> {
        lock(&self.times).not_after
    }

    /// Notes a change of state.
    pub(super) fn state_changed(&self, to: EndpointState, now: Instant) {
        if let Some(index) = EndpointState::REACHED.iter().position(|known| *known == to) {
            self.transitions.add(index);
        }
        let is_down = !to.is_active() && to != EndpointState::Removed;
        let mut times = lock(&self.times);
        times.past_downtime = times.downtime(now);
        times.down_since = is_down.then_some(now);
    }

    /// How long it was in the set and not up, until `now`.
    pub(crate) fn downtime(&self, now: Instant) -> Duration {
        lock(&self.times).downtime(now)
    }
}

/// A pick: first a dial, then the connection that it becomes.
#[derive(Debug)]
pub(crate) struct InFlight {
    stats: Arc<EndpointStats>,
    counted: Duration,
}

impl InFlight {
    /// Counts a connected client until the guard is dropped.
    pub(crate) fn connected(self) -> Connected {
        self.stats.connections.add(1);
        self.stats.open.fetch_add(1, Ordering::Relaxed);
        Connected {
            since: Instant::now(),
            left: AtomicBool::new(false),
            hold: self,
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.stats.held.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A client that is connected to an endpoint; gives access to the statistics of that endpoint.
#[derive(Debug)]
pub(crate) struct Connected {
    since: Instant,
    /// It is not counted as open any more.
    left: AtomicBool,
    hold: InFlight,
}

impl Connected {
    /// Stops counting the client as open; returns how many are still open. Of several that leave at the same time one
    /// gets 0.
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
    type Target = EndpointStats;

    fn deref(&self) -> &EndpointStats {
        &self.hold.stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_counts_as_open_until_it_ends() {
        let stats = Arc::new(EndpointStats::default());
        let dialling = stats.hold(Duration::ZERO);
        let [one, two] = [(); 2].map(|()| stats.hold(Duration::ZERO).connected());
        two.to_client.add(5);
        drop(one);
        assert_eq!((stats.open(), stats.connections.get()), (1, 2));
        assert_eq!(stats.held(), 2);
        drop((dialling, two));
        assert_eq!((stats.open(), stats.to_client.get()), (0, 5));
        assert_eq!(stats.held(), 0);
    }

    #[test]
    fn each_outcome_has_its_own_counter() {
        let stats = EndpointStats::default();
        for (index, result) in DialResult::ALL.into_iter().enumerate() {
            (0..=index).for_each(|_| stats.dialled(result, None));
        }
        let counts: Vec<_> = stats.dials.read().collect();
        assert_eq!(counts[0], ("ok", 1));
        for (index, (name, count)) in counts.iter().enumerate() {
            assert_eq!(*count, index as u64 + 1, "{name}");
        }
        assert_eq!(stats.dial_time.read().count, 0);
        stats.dialled(DialResult::Ok, Some(Duration::from_micros(600)));
        assert_eq!(stats.dial_time.read().count, 1);
    }

    #[test]
    fn downtime_is_time_in_the_set_while_not_up() {
        let (stats, start) = (EndpointStats::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        // (state from when on, downtime an hour later)
        let cases = [
            (0, EndpointState::Untried, 3600),
            (3, EndpointState::Active, 3),
            (4, EndpointState::Slow, 3),
            (5, EndpointState::Draining, 3),
            (10, EndpointState::Inactive, 3603),
            (12, EndpointState::Silent, 3605),
            (13, EndpointState::Removed, 6),
            (20, EndpointState::Untried, 3606),
            (21, EndpointState::ThisGateway, 3607),
            (22, EndpointState::Unauthenticated, 3608),
            (23, EndpointState::Unhealthy, 3609),
            (24, EndpointState::Active, 10),
        ];
        for (when, state, downtime) in cases {
            stats.state_changed(state, at(when));
            let found = stats.downtime(at(when + 3600));
            assert_eq!(found.as_secs(), downtime, "{when} {state:?}");
        }
        assert_eq!(stats.downtime(at(0)).as_secs(), 10, "it never falls");
        let counts: Vec<_> = stats.transitions.read().map(|(_, count)| count).collect();
        assert_eq!(counts, [2, 1, 1, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn expiry_is_known_only_with_a_certificate() {
        let stats = EndpointStats::default();
        assert_eq!(stats.not_after(), None);
        for not_after in [Some(4_000_000_000), None, Some(0)] {
            stats.authenticated(Proof { not_after });
            assert_eq!(stats.not_after(), not_after);
        }
    }
}
