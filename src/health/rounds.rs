//! When each endpoint is asked next: pure, without a clock.
//!
//! An endpoint is asked at once when it comes, and then every [`Times::health_interval`], give or
//! take a tenth, counted from question to question. Those that come together are not asked
//! together for ever: the second question of each waits for one to two intervals, evenly spread.
//! No endpoint is ever asked more often than every nine tenths of the interval, also where whoever
//! asks was late.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::times::Times;

/// The endpoints that are asked, and when.
#[derive(Debug)]
pub(crate) struct Rounds {
    interval: Duration,
    next: BTreeMap<SocketAddr, Turn>,
    /// Draws any number, evenly.
    number: fn() -> u32,
}

#[derive(Debug, Clone, Copy)]
struct Turn {
    at: Instant,
    /// How much longer than an interval the wait after the first question is.
    spread: Duration,
}

impl Rounds {
    /// Nobody is asked yet. `number` spreads the questions of many gateways over time.
    pub(crate) fn new(times: &Times, number: fn() -> u32) -> Self {
        Self {
            interval: times.health_interval,
            next: BTreeMap::new(),
            number,
        }
    }

    /// Makes these the endpoints that are asked. One that stays keeps its turn, so that however
    /// often this is called, nobody is asked more often.
    pub(crate) fn follow(&mut self, endpoints: impl IntoIterator<Item = SocketAddr>, now: Instant) {
        let mut before = std::mem::take(&mut self.next);
        let (mut known, mut new) = (Vec::new(), Vec::new());
        for addr in endpoints {
            match before.remove(&addr) {
                Some(turn) => known.push((addr, turn)),
                None => new.push(addr),
            }
        }
        self.next.extend(known);
        let count = u32::try_from(new.len()).unwrap_or(u32::MAX);
        for (index, addr) in (0..count).zip(new) {
            // In two steps: an interval times an index might not fit.
            let spread = self.interval.mul_f64(f64::from(index) / f64::from(count));
            self.next.entry(addr).or_insert(Turn { at: now, spread });
        }
    }

    /// Who is to be asked at `now`, the one who has waited longest first. They count as asked.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<SocketAddr> {
        let mut due: Vec<(Instant, SocketAddr)> = Vec::new();
        for (addr, turn) in &mut self.next {
            if turn.at > now {
                continue;
            }
            due.push((turn.at, *addr));
            let spread = std::mem::take(&mut turn.spread);
            turn.at = now + jittered(self.interval, (self.number)()) + spread;
        }
        due.sort_unstable();
        due.into_iter().map(|(_, addr)| addr).collect()
    }

    /// When somebody is due next; `None` if there is nobody.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.next.values().map(|turn| turn.at).min()
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

    fn rounds(number: fn() -> u32) -> Rounds {
        let times = Times {
            health_interval: 10 * SECOND,
            ..Times::REAL
        };
        Rounds::new(&times, number)
    }

    /// Who is asked in which second, of those from `from` to `to`.
    fn asked(rounds: &mut Rounds, start: Instant, seconds: std::ops::Range<u32>) -> Vec<(u32, u8)> {
        seconds
            .flat_map(|second| {
                let due = rounds.due(start + second * SECOND);
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
    fn all_are_asked_at_once_and_then_spread_over_an_interval() {
        let (mut rounds, start) = (rounds(|| u32::MAX), Instant::now());
        assert_eq!(rounds.until(), None);
        assert_eq!(rounds.due(start), []);
        rounds.follow((1..=5).map(addr), start);
        assert_eq!(rounds.until(), Some(start));
        let first = asked(&mut rounds, start, 0..11);
        assert_eq!(first, [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5)]);
        // 11 s each, and 0, 2, 4, 6 and 8 s once.
        let second = asked(&mut rounds, start, 11..20);
        assert_eq!(second, [(11, 1), (13, 2), (15, 3), (17, 4), (19, 5)]);
        let third = asked(&mut rounds, start, 20..31);
        assert_eq!(third, [(22, 1), (24, 2), (26, 3), (28, 4), (30, 5)]);
    }

    #[test]
    fn whoever_stays_keeps_its_turn_and_whoever_comes_is_asked_at_once() {
        let (mut rounds, start) = (rounds(|| 0), Instant::now());
        rounds.follow([addr(1), addr(2)], start);
        assert_eq!(asked(&mut rounds, start, 0..5), [(0, 1), (0, 2)]);
        // Twice in a list is once.
        for second in [5, 6, 7] {
            let now = start + second * SECOND;
            rounds.follow([addr(3), addr(1), addr(3), addr(1)], now);
        }
        assert_eq!(
            asked(&mut rounds, start, 7..23),
            [(7, 3), (9, 1), (16, 3), (18, 1)]
        );
        // One that left and is back is one that comes.
        rounds.follow([addr(2)], start + 23 * SECOND);
        assert_eq!(asked(&mut rounds, start, 23..32), [(23, 2)]);
        rounds.follow([], start + 32 * SECOND);
        assert_eq!(rounds.until(), None);
        assert_eq!(asked(&mut rounds, start, 32..99), []);
    }

    #[test]
    fn whoever_asks_late_asks_each_once_the_longest_waiting_first() {
        let (mut rounds, start) = (rounds(|| 0), Instant::now());
        rounds.follow([addr(2)], start);
        rounds.follow([addr(1), addr(2)], start + SECOND);
        let late = start + 100 * SECOND;
        assert_eq!(rounds.due(late), [addr(2), addr(1)]);
        assert_eq!(rounds.due(late + 8 * SECOND), []);
        assert_eq!(rounds.until(), Some(late + 9 * SECOND));
    }
}
