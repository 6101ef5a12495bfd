//! Connections that have ended and still count as open for a while, at most a second.
//!
//! An endpoint that accepts connections and drops them, as a learner does with requests, never
//! has one open. If it were the least loaded because of that, it would get every client. The memory does not depend on
//! the number of connections: they are counted per step of time.

use std::time::{Duration, Instant};

/// The precision.
const STEP: Duration = Duration::from_millis(100);
const STEPS: usize = 12;

/// How many connections count until when.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// When step 0 began.
    start: Option<Instant>,
    /// The number of a step, and how many connections count until its end.
    steps: [(u64, usize); STEPS],
}

impl Recent {
    /// A connection has ended at `now` and counts `until` then.
    pub(super) fn ended(&mut self, until: Instant, now: Instant) {
        if until <= now {
            return;
        }
        let start = *self.start.get_or_insert(now);
        // It counts until the end of its step.
        let step = step(start, until).saturating_add(1);
        // An entry is used again only after its step is over.
        let counted = &mut self.steps[(step % STEPS as u64) as usize];
        match counted.0 == step {
            true => counted.1 = counted.1.saturating_add(1),
            false => *counted = (step, 1),
        }
    }

    /// How many count at `now`.
    pub(super) fn count(&self, now: Instant) -> usize {
        let Some(start) = self.start else { return 0 };
        let over = step(start, now);
        let steps = self.steps.iter();
        steps
            .filter(|(step, _)| *step > over)
            .map(|(_, count)| count)
            .sum()
    }
}

/// The number of the step that a time is in.
fn step(start: Instant, at: Instant) -> u64 {
    let passed = at.saturating_duration_since(start).as_millis() / STEP.as_millis();
    u64::try_from(passed).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ended_connections_count_until_they_would_be_a_second_old() {
        let zero = Instant::now();
        let at = |ms: u64| zero + Duration::from_millis(ms);
        let mut recent = Recent::default();
        assert_eq!(recent.count(at(0)), 0);
        // (made, ended)
        for (since, ended) in [
            (0, 5),
            (0, 400),
            (650, 700),
            (0, 999),
            (0, 1_000),
            (0, 5_000),
        ] {
            recent.ended(at(since + 1_000), at(ended));
        }
        // (at, those that count: the end of each is kept to a tenth of a second)
        let counts = [
            (899, 4),
            (1_000, 4),
            (1_105, 1),
            (1_650, 1),
            (1_750, 0),
            (9_000, 0),
        ];
        for (now, count) in counts {
            assert_eq!(recent.count(at(now)), count, "{now}");
        }
    }

    #[test]
    fn many_connections_are_counted_in_fixed_memory() {
        let zero = Instant::now();
        let mut recent = Recent::default();
        for ms in 0..10_000 {
            let since = zero + Duration::from_millis(ms);
            recent.ended(
                since + Duration::from_secs(1),
                since + Duration::from_millis(1),
            );
            let expected = usize::try_from(ms + 1).unwrap().min(1_000);
            let off = recent.count(since).abs_diff(expected);
            assert!(off <= 200, "{ms}: {off}");
        }
        assert_eq!(recent.count(zero + Duration::from_millis(11_200)), 0);
    }
}
