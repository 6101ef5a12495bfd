//! When each endpoint is checked next: pure, without a clock.
//!
//! A new endpoint is checked at once, and then every [`Times::health_interval`], give or
//! take a tenth, counted from check to check. Endpoints that are added together are not checked
//! together each time: the second check of each waits for one to two intervals, evenly spread.
//! No endpoint is ever checked more often than every nine tenths of the interval, also if a
//! check was late.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::times::Times;

/// The endpoints that are checked, and when.
#[derive(Debug)]
pub(super) struct Timetable {
    interval: Duration,
    checks: BTreeMap<SocketAddr, Check>,
    /// Draws a random number.
    number: fn() -> u32,
}

/// The next check of an endpoint.
#[derive(Debug, Clone, Copy)]
struct Check {
    at: Instant,
    /// How much longer than an interval the wait after the first check is.
    spread: Duration,
}

impl Timetable {
    /// A timetable without endpoints. `number` spreads the checks of many gateways over time.
    pub(super) fn new(times: &Times, number: fn() -> u32) -> Self {
        Self {
            interval: times.health_interval,
            checks: BTreeMap::new(),
            number,
        }
    }

    /// Makes these the endpoints that are checked. One that stays keeps its time, so that none is checked more often,
    /// however often this is called.
    pub(super) fn set_endpoints(&mut self, endpoints: Vec<SocketAddr>, now: Instant) {
        let endpoints: BTreeSet<SocketAddr> = endpoints.into_iter().collect();
        self.checks.retain(|addr, _| endpoints.contains(addr));
        let is_new = |addr: &SocketAddr| !self.checks.contains_key(addr);
        let new: Vec<SocketAddr> = endpoints.into_iter().filter(is_new).collect();
        let count = new.len() as f64;
        for (index, addr) in new.into_iter().enumerate() {
            let spread = self.interval.mul_f64(index as f64 / count);
            self.checks.insert(addr, Check { at: now, spread });
        }
    }

    /// The endpoints to check at `now`, the one that has waited longest first. They count as checked.
    pub(super) fn due(&mut self, now: Instant) -> Vec<SocketAddr> {
        let mut due: Vec<(Instant, SocketAddr)> = Vec::new();
        for (addr, check) in self.checks.iter_mut().filter(|(_, check)| check.at <= now) {
            due.push((check.at, *addr));
            let spread = std::mem::take(&mut check.spread);
            check.at = now + jittered(self.interval, (self.number)()) + spread;
        }
        due.sort_unstable();
        due.into_iter().map(|(_, addr)| addr).collect()
    }

    /// When the next check is due; `None` without endpoints.
    pub(super) fn next(&self) -> Option<Instant> {
        self.checks.values().map(|check| check.at).min()
    }
}

/// `interval` give or take a tenth, the longer the larger the `number` is.
fn jittered(interval: Duration, number: u32) -> Duration {
    interval.mul_f64(0.9 + 0.2 * f64::from(number) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn addr(number: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, number], 2379))
    }

    fn timetable(number: fn() -> u32) -> Timetable {
        let times = Times {
            health_interval: 10 * SECOND,
            ..Times::REAL
        };
        Timetable::new(&times, number)
    }

    /// Who is asked in which second, of those from `from` to `to`.
    fn asked(
        timetable: &mut Timetable,
        start: Instant,
        seconds: std::ops::Range<u32>,
    ) -> Vec<(u32, u8)> {
        seconds
            .flat_map(|second| {
                let due = timetable.due(start + second * SECOND);
                due.into_iter().map(move |addr| match addr {
                    SocketAddr::V4(addr) => (second, addr.ip().octets()[3]),
                    SocketAddr::V6(_) => unreachable!("all are IPv4"),
                })
            })
            .collect()
    }

    #[test]
    fn jitter_is_a_tenth_either_way() {
        for (number, ms) in [(0, 9_000), (u32::MAX, 11_000), (u32::MAX / 2, 10_000)] {
            let off = jittered(10 * SECOND, number).abs_diff(Duration::from_millis(ms));
            assert!(off < Duration::from_micros(1), "{number}: {off:?}");
        }
    }

    #[test]
    fn all_are_checked_at_once_and_then_spread_over_an_interval() {
        let (mut timetable, start) = (timetable(|| u32::MAX), Instant::now());
        assert_eq!(timetable.next(), None);
        assert_eq!(timetable.due(start), []);
        timetable.set_endpoints((1..=5).map(addr).collect(), start);
        assert_eq!(timetable.next(), Some(start));
        let first = asked(&mut timetable, start, 0..11);
        assert_eq!(first, [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5)]);
        // 11 s each, and 0, 2, 4, 6 and 8 s once.
        let second = asked(&mut timetable, start, 11..20);
        assert_eq!(second, [(11, 1), (13, 2), (15, 3), (17, 4), (19, 5)]);
        let third = asked(&mut timetable, start, 20..31);
        assert_eq!(third, [(22, 1), (24, 2), (26, 3), (28, 4), (30, 5)]);
    }

    #[test]
    fn endpoints_that_stay_keep_their_turn_and_new_ones_are_checked_at_once() {
        let (mut timetable, start) = (timetable(|| 0), Instant::now());
        timetable.set_endpoints(vec![addr(1), addr(2)], start);
        assert_eq!(asked(&mut timetable, start, 0..5), [(0, 1), (0, 2)]);
        // Twice in a list is once.
        for second in [5, 6, 7] {
            let now = start + second * SECOND;
            timetable.set_endpoints(vec![addr(3), addr(1), addr(3), addr(1)], now);
        }
        assert_eq!(
            asked(&mut timetable, start, 7..23),
            [(7, 3), (9, 1), (16, 3), (18, 1)]
        );
        // One that left and is back is one that comes.
        timetable.set_endpoints(vec![addr(2)], start + 23 * SECOND);
        assert_eq!(asked(&mut timetable, start, 23..32), [(23, 2)]);
        timetable.set_endpoints(vec![], start + 32 * SECOND);
        assert_eq!(timetable.next(), None);
        assert_eq!(asked(&mut timetable, start, 32..99), []);
    }

    #[test]
    fn late_checks_are_made_once_the_longest_waiting_first() {
        let (mut timetable, start) = (timetable(|| 0), Instant::now());
        timetable.set_endpoints(vec![addr(2)], start);
        timetable.set_endpoints(vec![addr(1), addr(2)], start + SECOND);
        let late = start + 100 * SECOND;
        assert_eq!(timetable.due(late), [addr(2), addr(1)]);
        assert_eq!(timetable.due(late + 8 * SECOND), []);
        assert_eq!(timetable.next(), Some(late + 9 * SECOND));
    }
}
