//! Numbers that many threads add to and one thread reads now and then.
//!
//! Nothing here takes a lock or waits: an addition is one relaxed atomic instruction, cheap enough
//! for every piece of data. Relaxed, because no other memory depends on these numbers: a reading
//! is right for some moment during the reading. A counter wraps after 2^64, which at 100 Gbit/s
//! takes 46 years.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A counter with a cache line of its own: two processors that add to two counters for every
/// piece of data would otherwise compete for one line.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct PaddedCounter(Counter);

impl std::ops::Deref for PaddedCounter {
    type Target = Counter;

    fn deref(&self) -> &Counter {
        &self.0
    }
}

/// How many durations were within each of `N` rising bounds.
#[derive(Debug)]
pub(crate) struct Histogram<const N: usize> {
    bounds: &'static [Duration; N],
    /// Durations within a bound and above the one before it.
    within: [Counter; N],
    above: Counter,
    /// In microseconds: nanoseconds of a few thousand connections that last for months would
    /// not fit.
    sum: Counter,
}

/// A histogram as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Distribution {
    /// Bounds, and how many durations were within each.
    pub(crate) buckets: Vec<(Duration, u64)>,
    pub(crate) count: u64,
    pub(crate) sum: Duration,
}

impl<const N: usize> Histogram<N> {
    pub(crate) const fn new(bounds: &'static [Duration; N]) -> Self {
        Self {
            bounds,
            within: [const { Counter::new() }; N],
            above: Counter::new(),
            sum: Counter::new(),
        }
    }

    pub(crate) fn observe(&self, span: Duration) {
        let bound = self.bounds.iter().position(|bound| span <= *bound);
        let bucket = bound.and_then(|index| self.within.get(index));
        bucket.unwrap_or(&self.above).add(1);
        self.sum
            .add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
    }

    /// The count is the sum of the buckets that were read, so that they agree whatever is added meanwhile.
    pub(crate) fn read(&self) -> Distribution {
        let mut count = 0;
        let buckets = self.bounds.iter().zip(&self.within);
        let buckets = buckets
            .map(|(bound, within)| {
                count += within.get();
                (*bound, count)
            })
            .collect();
        Distribution {
            buckets,
            count: count + self.above.get(),
            sum: Duration::from_micros(self.sum.get()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_in_the_first_bound_that_holds_them() {
        const BOUNDS: [Duration; 3] = [
            Duration::from_millis(1),
            Duration::from_millis(10),
            Duration::from_secs(1),
        ];
        let histogram = Histogram::new(&BOUNDS);
        for micros in [0, 1_000, 1_001, 10_000, 999_999, 1_000_001, 7_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let read = histogram.read();
        let counts: Vec<u64> = read.buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [2, 4, 5], "cumulative, bounds included");
        assert_eq!(read.count, 7);
        assert_eq!(read.sum, Duration::from_micros(9_012_001));
    }

    #[test]
    fn no_addition_is_lost() {
        let lane = PaddedCounter::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| lane.add(3)));
            }
        });
        assert_eq!(lane.get(), 120_000);
        assert_eq!(align_of::<PaddedCounter>(), 64);
    }
}
