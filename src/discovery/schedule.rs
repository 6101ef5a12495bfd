//! When discovery acts: each time is a function of what happened and when, and of a random number
//! that spreads gateways over time. Nothing here reads a clock or waits.

use std::time::{Duration, Instant};

use crate::sys::random::shortened;
use crate::times::Times;

/// How a refresh went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outcome {
    /// For how long all answers are valid; `None`: without limit.
    pub(super) ttl: Option<Duration>,
    /// Everything that was asked was answered.
    pub(super) complete: bool,
    /// There was at least a definite answer to everything: a name that does not exist hides no member.
    pub(super) certain: bool,
    /// A name without any known address was not answered, or only in part. It may be that of a member that
    /// serves under another name, so that no endpoint may be taken away.
    pub(super) inconclusive: bool,
    /// How many endpoints there are, which may be more than are used.
    pub(super) found: usize,
    /// No endpoint is active, or only those that serve in place of others; or the next answer has to
    /// confirm what this one lacks.
    pub(super) urgent: bool,
}

impl Outcome {
    /// Before anything was asked.
    pub(super) const NOTHING_ASKED: Self = Self {
        ttl: None,
        complete: true,
        certain: true,
        inconclusive: false,
        found: 0,
        urgent: false,
    };

    /// Adds an answer that is valid for `ttl`.
    pub(super) fn add(&mut self, ttl: Duration) {
        self.ttl = Some(self.ttl.map_or(ttl, |known| known.min(ttl)));
    }
}

/// When the next of each thing is due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    times: Times,
    /// The next refresh; `None`: when one is requested.
    next: Option<Instant>,
    /// The end of the last refresh.
    last: Instant,
    /// The next poll of the endpoints file, the authorities and the resolver's files, if there is one.
    poll: Option<Instant>,
    /// When the endpoints that serve are authenticated again, if they are.
    authentication: Option<Instant>,
    /// Refreshes in a row that were not complete.
    failures: u32,
}

impl Schedule {
    /// All is due at once, except that members have just authenticated, if they do.
    pub(super) fn new(now: Instant, times: Times, authenticates: bool) -> Self {
        Self {
            times,
            next: Some(now),
            last: now,
            poll: Some(now),
            authentication: authenticates.then(|| now + times.audit),
            failures: 0,
        }
    }

    /// Until when there is nothing to do, unless a refresh is requested.
    pub(super) fn until(&self) -> Option<Instant> {
        let all = [self.next, self.poll, self.authentication];
        all.into_iter().flatten().min()
    }

    /// Somebody asks for a refresh: it comes at once, but no sooner than the pause allows.
    pub(super) fn request(&mut self, now: Instant) {
        let soonest = now.max(self.last + self.times.refresh_pause);
        self.next = Some(self.next.map_or(soonest, |next| next.min(soonest)));
    }

    /// Whether the next refresh is due.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next.is_some_and(|next| now >= next)
    }

    /// A refresh has ended: sets the time of the next.
    pub(super) fn refreshed(&mut self, now: Instant, outcome: Outcome, number: u32) {
        self.failures = if outcome.complete {
            0
        } else {
            self.failures.saturating_add(1)
        };
        self.last = now;
        // What is valid without limit is not resolved again.
        let is_final = outcome.complete && outcome.ttl.is_none() && !outcome.urgent;
        let delay = || shortened(delay(self.failures, outcome, &self.times), number);
        self.next = (!is_final).then(|| now + delay());
    }

    /// Whether the next poll of files is due.
    pub(super) fn poll_is_due(&self, now: Instant) -> bool {
        self.poll.is_some_and(|poll| now >= poll)
    }

    /// Files have been polled: the next poll comes after an interval, if there are any.
    pub(super) fn polled(&mut self, now: Instant, interval: Option<Duration>) {
        self.poll = interval.map(|interval| now + interval);
    }

    /// Whether endpoints have to authenticate again; if so, sets the time of the next.
    pub(super) fn authentication_is_due(&mut self, now: Instant, number: u32) -> bool {
        let is_due = self.authentication.is_some_and(|at| now >= at);
        if is_due {
            self.authentication = Some(now + shortened(self.times.audit, number));
        }
        is_due
    }
}

/// The time until the next refresh, after this many incomplete ones in a row.
fn delay(failures: u32, outcome: Outcome, times: &Times) -> Duration {
    if outcome.urgent {
        return times.refresh_min;
    }
    let ttl = outcome.ttl.unwrap_or(times.refresh_max);
    let ttl = ttl.clamp(times.refresh_min, times.refresh_max);
    let Some(doublings) = failures.checked_sub(1) else {
        return ttl;
    };
    let backoff = times.refresh_min.saturating_mul(1 << doublings.min(8));
    backoff.min(times.refresh_backoff).min(ttl)
}

/// The interval of polls if there are no files but the resolver's: a little more than its own
/// interval, so that no poll comes before the resolver reads them again.
pub(super) fn resolver_interval(times: &Times) -> Duration {
    times.resolver_look + times.resolver_look / 50
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const S: Duration = Duration::from_secs(1);
    const TIMES: Times = Times::REAL;

    fn complete(ttl: Duration) -> Outcome {
        Outcome {
            ttl: Some(ttl),
            ..Outcome::NOTHING_ASKED
        }
    }

    const FAILED: Outcome = Outcome {
        complete: false,
        ..Outcome::NOTHING_ASKED
    };

    #[test]
    fn records_are_followed_within_their_time_to_live_and_the_bounds() {
        let cases = [
            (Some(Duration::ZERO), 5 * S),
            (Some(S), 5 * S),
            (Some(5 * S - MS), 5 * S),
            (Some(5 * S), 5 * S),
            (Some(6 * S), 6 * S),
            (Some(300 * S), 300 * S),
            (Some(300 * S + MS), 300 * S),
            (Some(86_400 * S), 300 * S),
            (None, 300 * S),
        ];
        for (ttl, expected) in cases {
            let mut outcome = complete(S);
            outcome.ttl = ttl;
            assert_eq!(delay(0, outcome, &TIMES), expected, "{ttl:?}");
            outcome.urgent = true;
            assert_eq!(delay(0, outcome, &TIMES), 5 * S, "{ttl:?}, urgent");
        }
    }

    #[test]
    fn failed_refreshes_back_off() {
        let expected = [5, 10, 20, 40, 60, 60].map(|seconds| seconds * S);
        for (failures, expected) in (1..).zip(expected) {
            assert_eq!(delay(failures, FAILED, &TIMES), expected, "{failures}");
            let urgent = Outcome {
                urgent: true,
                ..FAILED
            };
            assert_eq!(delay(failures, urgent, &TIMES), 5 * S, "{failures}");
        }
        assert_eq!(delay(u32::MAX, FAILED, &TIMES), 60 * S);
        // What was answered is still followed within its time to live.
        for (ttl, expected) in [(0, 5), (5, 5), (12, 12), (19, 19), (20, 20), (21, 20)] {
            let outcome = Outcome {
                complete: false,
                ..complete(ttl * S)
            };
            assert_eq!(delay(3, outcome, &TIMES), expected * S, "TTL {ttl}");
        }
    }

    #[test]
    fn failures_are_counted_until_a_refresh_is_complete() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, TIMES, true);
        let mut delay = |outcome| {
            schedule.refreshed(start, outcome, 0);
            schedule.next.unwrap() - start
        };
        assert_eq!(delay(FAILED), 5 * S);
        assert_eq!(delay(FAILED), 10 * S);
        assert_eq!(delay(FAILED), 20 * S);
        assert_eq!(delay(complete(30 * S)), 30 * S);
        assert_eq!(delay(FAILED), 5 * S);
    }

    #[test]
    fn the_random_number_shortens_a_delay_by_up_to_a_tenth() {
        let start = Instant::now();
        let mut refreshes = Vec::new();
        let mut audits = Vec::new();
        for step in 0..50 {
            let number = step * (u32::MAX / 49);
            let mut schedule = Schedule::new(start, TIMES, true);
            schedule.refreshed(start, complete(100 * S), number);
            refreshes.push(schedule.next.unwrap() - start);
            assert!(schedule.authentication_is_due(start + 300 * S, number));
            audits.push(schedule.authentication.unwrap() - (start + 300 * S));
        }
        for (delays, longest) in [(refreshes, 100 * S), (audits, 300 * S)] {
            assert!(delays.is_sorted_by(|one, next| one > next), "{delays:?}");
            assert_eq!(delays[0], longest);
            let shortest = longest * 9 / 10;
            let last = *delays.last().unwrap();
            assert!(last >= shortest && last < shortest + MS * 10, "{last:?}");
        }
    }

    /// The milliseconds from a refresh to each request, and to the next refresh.
    #[test]
    fn a_request_gets_a_refresh_at_once_but_not_two_in_a_row() {
        let cases: [(&[u64], u64); 7] = [
            (&[], 100_000),
            (&[0], 1000),
            (&[999], 1000),
            (&[1000], 1000),
            (&[1001], 1001),
            (&[5000, 6000, 99_000], 5000),
            // A request after the time that was set delays nothing.
            (&[100_500], 100_000),
        ];
        for (calls, expected) in cases {
            let start = Instant::now();
            let mut schedule = Schedule::new(start - 10 * S, TIMES, true);
            schedule.refreshed(start, complete(100 * S), 0);
            for call in calls {
                schedule.request(start + Duration::from_millis(*call));
            }
            let due = start + Duration::from_millis(expected);
            assert_eq!(schedule.next, Some(due), "{calls:?}");
            assert!(!schedule.is_due(due - MS), "{calls:?}");
            assert!(schedule.is_due(due), "{calls:?}");
        }
    }

    #[test]
    fn a_flood_of_requests_makes_one_refresh_per_second() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, TIMES, true);
        schedule.refreshed(start, complete(300 * S), 0);
        let mut refreshes = 0;
        for call in 1..=100 {
            let now = start + 50 * MS * call;
            schedule.request(now);
            if schedule.is_due(now) {
                schedule.refreshed(now, complete(300 * S), 0);
                refreshes += 1;
            }
        }
        assert_eq!(refreshes, 5);
    }

    #[test]
    fn authentication_is_due_once_per_interval() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, TIMES, true);
        let mut due = |seconds: u32| schedule.authentication_is_due(start + seconds * S, u32::MAX);
        assert_eq!([0, 299].map(&mut due), [false, false], "not at the start");
        assert!(due(300));
        // The next comes a tenth earlier, for the number is the largest.
        assert_eq!([300, 569].map(&mut due), [false, false]);
        assert!(due(570));
        assert_eq!([571, 839, 840].map(&mut due), [false, false, true]);
    }

    #[test]
    fn it_sleeps_until_the_first_of_all_that_is_due() {
        let start = Instant::now();
        let cases = [
            (1, 300, 300, 1),
            (5, 4, 300, 4),
            (5, 6, 300, 5),
            (299, 290, 240, 240),
        ];
        for (look, ttl, audit, expected) in cases {
            let times = Times {
                audit: audit * S,
                refresh_min: S,
                ..TIMES
            };
            let mut schedule = Schedule::new(start, times, true);
            assert_eq!(schedule.until(), Some(start), "all is due at the start");
            schedule.refreshed(start, complete(ttl * S), 0);
            schedule.polled(start, Some(look * S));
            assert_eq!(schedule.until(), Some(start + expected * S));
            assert!(!schedule.poll_is_due(start + look * S - MS));
            assert!(schedule.poll_is_due(start + look * S));
        }
    }

    #[test]
    fn with_nothing_to_poll_it_sleeps_until_a_request_comes() {
        let start = Instant::now();
        let stands = Outcome::NOTHING_ASKED;
        let sleeps = |outcome| {
            let mut schedule = Schedule::new(start, TIMES, false);
            schedule.refreshed(start, outcome, 0);
            schedule.polled(start, None);
            let later = start + 86_400 * S;
            let has_something = schedule.is_due(later)
                || schedule.poll_is_due(later)
                || schedule.authentication_is_due(later, 0);
            assert_eq!(has_something, schedule.until().is_some());
            schedule.request(later);
            assert!(schedule.is_due(later), "request");
            !has_something
        };
        assert!(sleeps(stands));
        let urgent = Outcome {
            urgent: true,
            ..stands
        };
        for outcome in [FAILED, urgent, complete(S)] {
            assert!(!sleeps(outcome), "{outcome:?}");
        }
    }

    #[test]
    fn the_poll_comes_after_the_resolver_may_read_its_files_again() {
        let pause = resolver_interval(&TIMES);
        assert!(pause > TIMES.resolver_look && pause < TIMES.resolver_look + S / 2);
    }
}
