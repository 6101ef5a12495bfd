//! What one endpoint has been used for: connections, bytes, dials, changes of state.
//!
//! Every number is an atomic that whoever holds the ledger adds to without a lock. It belongs
//! to an address and lives as long as the pool knows that address or a client is connected to
//! it, so the memory of all ledgers is bounded by the endpoints and the open connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::dial::Verdict;
use crate::endpoint::Proof;
use crate::stats::{Counter, Histogram, Lane};

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

/// No certificate has been verified.
const NO_CERTIFICATE: i64 = i64::MIN;

/// The account of one endpoint.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Bytes that clients sent and the endpoint was given.
    pub(crate) to_endpoint: Lane,
    /// Bytes that the endpoint sent and clients were given.
    pub(crate) to_client: Lane,
    /// Clients that were connected to it so far.
    pub(crate) connections: Counter,
    /// Those of them that are connected now.
    open: AtomicU64,
    /// Picks that are not over.
    held: AtomicUsize,
    dials: [Counter; Verdict::ALL.len()],
    /// How long dials took that were answered.
    pub(crate) dial_time: Histogram<{ DIAL_TIMES.len() }>,
    pub(crate) activations: Counter,
    pub(crate) deactivations: Counter,
    /// When the certificate expires that it last proved itself with, in seconds since 1970.
    not_after: AtomicI64,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            to_endpoint: Lane::default(),
            to_client: Lane::default(),
            connections: Counter::new(),
            open: AtomicU64::new(0),
            held: AtomicUsize::new(0),
            dials: [const { Counter::new() }; Verdict::ALL.len()],
            dial_time: Histogram::new(&DIAL_TIMES),
            activations: Counter::new(),
            deactivations: Counter::new(),
            not_after: AtomicI64::new(NO_CERTIFICATE),
        }
    }
}

impl Ledger {
    /// Counts a pick, which is not over until the guard is dropped.
    pub(super) fn hold(self: &Arc<Self>) -> Hold {
        self.held.fetch_add(1, Ordering::Relaxed);
        Hold(Arc::clone(self))
    }

    /// How many picks are not over: the connections that are open or being made.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// How many clients are connected.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Counts a dial; `took` is known of one that was answered.
    pub(super) fn dialled(&self, verdict: Verdict, took: Option<Duration>) {
        if let Some(counter) = self.dials.get(verdict as usize) {
            counter.add(1);
        }
        if let Some(took) = took {
            self.dial_time.observe(took);
        }
    }

    /// Notes what it has proven itself with.
    pub(super) fn proven(&self, proof: Proof) {
        let not_after = proof.not_after.unwrap_or(NO_CERTIFICATE);
        self.not_after.store(not_after, Ordering::Relaxed);
    }

    /// How many dials ended in each way.
    pub(crate) fn dials(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.dials.iter().map(Counter::get);
        Verdict::ALL
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
pub(crate) struct Hold(Arc<Ledger>);

impl Hold {
    /// Counts a client that is connected from now on, until the guard is dropped.
    pub(crate) fn connected(self) -> Connected {
        self.0.connections.add(1);
        self.0.open.fetch_add(1, Ordering::Relaxed);
        Connected(self)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A client that is connected to an endpoint; also the way to its ledger.
#[derive(Debug)]
pub(crate) struct Connected(Hold);

impl Drop for Connected {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::ops::Deref for Connected {
    type Target = Ledger;

    fn deref(&self) -> &Ledger {
        &self.0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_counts_as_open_until_it_ends() {
        let ledger = Arc::new(Ledger::default());
        let dialling = ledger.hold();
        let [one, two] = [(); 2].map(|()| ledger.hold().connected());
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
        for (index, verdict) in Verdict::ALL.into_iter().enumerate() {
            (0..=index).for_each(|_| ledger.dialled(verdict, None));
        }
        let counts: Vec<_> = ledger.dials().collect();
        assert_eq!(counts[0], ("ok", 1));
        for (index, (name, count)) in counts.iter().enumerate() {
            assert_eq!(*count, index as u64 + 1, "{name}");
        }
        assert_eq!(ledger.dial_time.read().count, 0);
        ledger.dialled(Verdict::Ok, Some(Duration::from_micros(600)));
        assert_eq!(ledger.dial_time.read().count, 1);
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
