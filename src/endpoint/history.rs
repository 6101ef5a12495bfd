//! The history of endpoints: the last changes of state of all of them, and the last hour of each by the minute.
//!
//! Both are bounded, whatever happens: [`TRANSITIONS`] changes, [`MINUTES`] octets per endpoint. Metrics count changes
//! elsewhere; this is for people who read a page. Pure: the time is a parameter.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::endpoint::state::EndpointState;

/// How many changes are kept.
pub(crate) const TRANSITIONS: usize = 50;

/// How many minutes are kept, including the present one.
pub(crate) const MINUTES: usize = 60;

/// A change of one endpoint's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transition {
    pub(crate) at: Instant,
    pub(crate) addr: SocketAddr,
    /// The configured name.
    pub(crate) name: String,
    pub(crate) from: EndpointState,
    pub(crate) to: EndpointState,
    /// How long the earlier state has lasted.
    pub(crate) lasted: Duration,
    /// The failure that caused it, if one did.
    pub(crate) reason: Option<String>,
}

/// The last changes, the oldest first.
#[derive(Debug)]
pub(super) struct Transitions(VecDeque<Transition>);

impl Default for Transitions {
    fn default() -> Self {
        Self(VecDeque::with_capacity(TRANSITIONS))
    }
}

impl Transitions {
    /// Adds one; replaces the oldest if there is no room.
    pub(super) fn push(&mut self, transition: Transition) {
        if self.0.len() >= TRANSITIONS {
            self.0.pop_front();
        }
        self.0.push_back(transition);
    }

    /// All of them, the latest first.
    pub(super) fn latest(&self) -> Vec<Transition> {
        self.0.iter().rev().cloned().collect()
    }
}

/// The worst state of each minute of the last hour.
#[derive(Debug, Clone)]
pub(super) struct Hour {
    begun: Instant,
    /// The state since the last change.
    state: EndpointState,
    /// The number of the last recorded minute, counted from `begun`; minute n is at index n modulo [`MINUTES`].
    last: u64,
    worst: [EndpointState; MINUTES],
}

impl Hour {
    pub(super) fn new(begun: Instant, state: EndpointState) -> Self {
        Self {
            begun,
            state,
            last: 0,
            worst: [state; MINUTES],
        }
    }

    pub(super) fn changed(&mut self, now: Instant, to: EndpointState) {
        self.advance(now);
        self.state = to;
        let worst = &mut self.worst[index(self.last)];
        *worst = to.max(*worst);
    }

    /// The worst state of each minute, the oldest first; `None` for those before `begun`.
    pub(super) fn at(&self, now: Instant) -> [Option<EndpointState>; MINUTES] {
        let mut record = self.clone();
        record.advance(now);
        std::array::from_fn(|position| {
            let back = MINUTES.saturating_sub(position + 1) as u64;
            let minute = record.last.checked_sub(back)?;
            Some(record.worst[index(minute)])
        })
    }

    /// Fills the minutes since the last recorded one.
    fn advance(&mut self, now: Instant) {
        let minute = now.saturating_duration_since(self.begun).as_secs() / 60;
        let oldest = (minute + 1).saturating_sub(MINUTES as u64);
        for new in oldest.max(self.last + 1)..=minute {
            self.worst[index(new)] = self.state;
        }
        self.last = self.last.max(minute);
    }
}

fn index(minute: u64) -> usize {
    (minute % MINUTES as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use EndpointState::{Active, Inactive, Silent, Slow, Untried};

    fn transition(number: u16) -> Transition {
        Transition {
            at: Instant::now(),
            addr: ([127, 0, 0, 1], number).into(),
            name: String::new(),
            from: Active,
            to: Inactive,
            lasted: Duration::ZERO,
            reason: None,
        }
    }

    #[test]
    fn only_the_latest_changes_are_kept() {
        let mut transitions = Transitions::default();
        let ports = |transitions: &Transitions| -> Vec<u16> {
            let latest = transitions.latest().into_iter();
            latest.map(|transition| transition.addr.port()).collect()
        };
        assert_eq!(ports(&transitions), []);
        (1..=3).for_each(|number| transitions.push(transition(number)));
        assert_eq!(ports(&transitions), [3, 2, 1]);
        (4..=120).for_each(|number| transitions.push(transition(number)));
        assert_eq!(ports(&transitions), (71..=120).rev().collect::<Vec<_>>());
    }

    #[test]
    fn each_minute_has_its_worst_state() {
        // (changes: second and state; looked at in second; the minutes that are known, from the oldest: how many, of what)
        type Case<'a> = (
            &'a [(u64, EndpointState)],
            u64,
            &'a [(usize, Option<EndpointState>)],
        );
        let cases: &[Case<'_>] = &[
            (&[], 0, &[(59, None), (1, Some(Untried))]),
            (&[(1, Active)], 59, &[(59, None), (1, Some(Active))]),
            (&[(1, Active)], 60, &[(58, None), (2, Some(Active))]),
            // Down for a second, at the end of a minute; the next begins well.
            (
                &[(1, Active), (118, Inactive), (119, Active)],
                150,
                &[
                    (57, None),
                    (1, Some(Active)),
                    (1, Some(Inactive)),
                    (1, Some(Active)),
                ],
            ),
            // A state lasts through minutes without a change; the worst state of a minute stands for it.
            (
                &[(1, Slow), (70, Silent), (250, Slow), (255, Active)],
                301,
                &[
                    (54, None),
                    (1, Some(Slow)),
                    (4, Some(Silent)),
                    (1, Some(Active)),
                ],
            ),
            // An hour on, nothing is known of what was before; nor after a day.
            (
                &[(1, Active), (65, Inactive), (70, Active)],
                3_600,
                &[(1, Some(Inactive)), (59, Some(Active))],
            ),
            (&[(1, Inactive), (70, Active)], 3_660, &[(60, Some(Active))]),
            (
                &[(1, Active), (86_400, Inactive)],
                86_460,
                &[(58, Some(Active)), (2, Some(Inactive))],
            ),
        ];
        for (changes, looked, expected) in cases {
            let begun = Instant::now();
            let at = |second: u64| begun + Duration::from_secs(second);
            let mut hour = Hour::new(begun, Untried);
            for (second, state) in *changes {
                hour.changed(at(*second), *state);
            }
            let runs = expected.iter();
            let expected: Vec<_> = runs
                .flat_map(|(count, state)| vec![*state; *count])
                .collect();
            assert_eq!(hour.at(at(*looked)).as_slice(), expected, "{changes:?}");
            // To look changes nothing.
            assert_eq!(hour.at(at(*looked)).as_slice(), expected, "{changes:?}");
        }
    }
}
