//! Which endpoint the next client is connected to: a pure function of the preference, priority, weight and, where
//! the policy uses them, open connections of each, so that tables can prove the shares.
//!
//! Preference comes before priority: a doubted endpoint is not used while there is a better one, even if that has
//! another priority. If all are equally doubted, all are used.
//!
//! A draining endpoint comes after all others that are active, untried or slow, and before those that are
//! doubted or inactive. A client must not be worse off than one that has every member in its own list: a draining member
//! that answers serves it now, a silent one costs it its request, and the others cost it at least a dial. Among
//! equally doubted endpoints, draining ones come last again. Where all drain, it decides nothing.
//!
//! Of the best choices, those of the lowest SRV priority are used (RFC 2782), and among them the smooth weighted round
//! robin of nginx decides: every choice gains its weight, the one that has most is taken and loses the sum
//! of all weights. The shares are exact over any window of that many picks, without random numbers. Equal
//! weights are plain round robin.
//!
//! With [`Policy::LeastConnections`] the round robin is only among those that have the
//! fewest open connections for their weight, as in nginx. An endpoint that ends its connections early has few for
//! that reason: it gets no more than its share.

use std::cmp::Ordering;

use crate::config::Policy;

/// How good a choice an endpoint is by its state; the better ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Preference {
    /// Active, or untried.
    Active,
    /// A dial of it has been waiting for an answer for too long.
    Slow,
    /// It fails its health checks.
    Unhealthy,
    /// It accepts connections and sends nothing.
    Silent,
    /// A dial of it failed: only for a client that no other endpoint has served.
    Inactive,
    /// Not a choice: this client has tried it, or it is this gateway, or not authenticated.
    Excluded,
}

/// What selection needs of an endpoint.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    pub(crate) preference: Preference,
    pub(crate) drains: bool,
    pub(crate) priority: u16,
    pub(crate) weight: u16,
    /// Connections that it has now, including those that are being made and those that were made less than
    /// a second ago.
    pub(crate) open: usize,
    /// It has no connection, and the last one ended early.
    pub(crate) ends_early: bool,
}

/// How good a choice an endpoint is, compared field by field; the better ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// Its preference, but that a slow endpoint serves as well as an active one.
    tier: Preference,
    drains: bool,
    preference: Preference,
    priority: u16,
}

impl Candidate {
    fn rank(&self) -> Rank {
        Rank {
            tier: self.preference.max(Preference::Slow),
            drains: self.drains,
            preference: self.preference,
            priority: self.priority,
        }
    }
}

/// The rank of the best choices, if there is any.
fn best(candidates: &[Candidate]) -> Option<Rank> {
    let best = candidates.iter().map(Candidate::rank).min();
    best.filter(|rank| rank.preference < Preference::Excluded)
}

/// Whether the next choice is a draining endpoint.
pub(crate) fn is_draining_next(candidates: &[Candidate]) -> bool {
    best(candidates).is_some_and(|rank| rank.drains)
}

/// The share of weight 0 beside others: RFC 2782 wants it "very small".
const ZERO_WEIGHT: u32 = 1;
/// Every other weight is multiplied by this, so that the share of weight 0 is a hundredth
/// of the smallest other one.
const SCALE: u32 = 100;

/// A candidate of the best rank.
#[derive(Debug, Clone, Copy)]
struct Choice {
    index: usize,
    share: u32,
    connections: u64,
    ends_early: bool,
}

impl Choice {
    fn all(candidates: &[Candidate], best: Rank) -> Vec<Self> {
        let numbered = candidates.iter().enumerate();
        let class = numbered.filter(|(_, candidate)| candidate.rank() == best);
        let weighted = class.clone().any(|(_, candidate)| candidate.weight > 0);
        let choice = |(index, candidate): (usize, &Candidate)| {
            let share = match candidate.weight {
                0 if weighted => ZERO_WEIGHT,
                0 => SCALE,
                weight => SCALE * u32::from(weight),
            };
            // An idle endpoint has the smallest load whatever its share. One of weight 0
            // beside others must not: it counts the connection that it would have, and so comes after
            // [`SCALE`] connections for each unit of the others' weight.
            let ahead = usize::from(share == ZERO_WEIGHT);
            Self {
                index,
                share,
                connections: candidate.open.saturating_add(ahead) as u64,
                ends_early: candidate.ends_early,
            }
        };
        class.map(choice).collect()
    }

    /// Compares the connections for the share, as exact fractions.
    fn compare_load(&self, other: &Self) -> Ordering {
        let cross =
            |one: &Self, other: &Self| u128::from(one.connections) * u128::from(other.share);
        cross(self, other).cmp(&cross(other, self))
    }
}

/// What a pick leaves behind for the next.
#[derive(Debug, Default)]
pub(crate) struct RoundRobin {
    /// The index where the search for the next of equals begins; taken modulo the number of endpoints.
    cursor: usize,
    /// nginx's `current_weight` of each endpoint.
    current_weight: Vec<i64>,
    /// The number of picks, and the number of the pick that last took each endpoint.
    picks: u64,
    taken: Vec<u64>,
}

impl RoundRobin {
    /// Forgets the current weights because the choices have changed: with old ones an endpoint would get
    /// more or less than its share. The cursor stays.
    pub(crate) fn reset(&mut self) {
        self.current_weight.clear();
        self.taken.clear();
    }

    /// The index of the next endpoint, if any can be chosen.
    pub(crate) fn next(&mut self, policy: Policy, candidates: &[Candidate]) -> Option<usize> {
        let mut choices = Choice::all(candidates, best(candidates)?);
        self.current_weight.resize(candidates.len(), 0);
        self.taken.resize(candidates.len(), 0);
        self.picks += 1;
        if policy == Policy::LeastConnections {
            let sum = choices.iter().map(|choice| u64::from(choice.share)).sum();
            let waits = |choice: &Choice| choice.ends_early && self.has_had_its_turn(choice, sum);
            // Where all wait, none does.
            if !choices.iter().all(waits) {
                choices.retain(|choice| !waits(choice));
            }
            let least = choices.iter().copied().min_by(Choice::compare_load)?;
            choices.retain(|choice| choice.compare_load(&least).is_eq());
        }
        let mut sum = 0;
        for choice in &choices {
            let share = i64::from(choice.share);
            *self.current_weight.get_mut(choice.index)? += share;
            sum += share;
        }
        // The first of the heaviest, counted from the cursor: `max_by_key` takes the last
        // of equals, so it goes through them backwards.
        let start = self.cursor % candidates.len();
        let before = choices.partition_point(|choice| choice.index < start);
        choices.rotate_left(before);
        let indices = choices.iter().rev().map(|choice| choice.index);
        let heaviest = indices.max_by_key(|index| self.current_weight.get(*index).copied())?;
        *self.current_weight.get_mut(heaviest)? -= sum;
        *self.taken.get_mut(heaviest)? = self.picks;
        self.cursor = heaviest + 1;
        Some(heaviest)
    }

    /// Whether the others of a class, whose shares have this `sum`, are to have theirs before one that
    /// has been taken.
    fn has_had_its_turn(&self, choice: &Choice, sum: u64) -> bool {
        let taken = self.taken.get(choice.index).copied().unwrap_or_default();
        let since = self.picks.saturating_sub(taken);
        taken > 0 && since.saturating_mul(choice.share.into()) < sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Preference::{Active as A, Excluded as X, Inactive as I, Slow as O};

    fn equal(preferences: &[Preference]) -> Vec<Candidate> {
        let candidate = |preference: &Preference| Candidate {
            preference: *preference,
            drains: false,
            priority: 0,
            weight: 0,
            open: 0,
            ends_early: false,
        };
        preferences.iter().map(candidate).collect()
    }

    fn active(shares: &[(u16, u16)]) -> Vec<Candidate> {
        let candidate = |(priority, weight): &(u16, u16)| Candidate {
            preference: A,
            drains: false,
            priority: *priority,
            weight: *weight,
            open: 0,
            ends_early: false,
        };
        shares.iter().map(candidate).collect()
    }

    fn picks(candidates: &[Candidate], count: usize) -> Vec<usize> {
        let mut turn = RoundRobin::default();
        (0..count)
            .map_while(|_| turn.next(Policy::RoundRobin, candidates))
            .collect()
    }

    #[test]
    fn sequences_of_equals() {
        // (preferences, endpoints in the order they are chosen)
        let cases: &[(&[Preference], &[usize])] = &[
            (&[A], &[0, 0, 0]),
            (&[A, A, A], &[0, 1, 2, 0, 1, 2]),
            // What is skipped does not make its neighbour's share larger.
            (&[A, I, A, A], &[0, 2, 3, 0, 2, 3]),
            (&[I, A, I, I, A], &[1, 4, 1, 4]),
            (&[O, A, A], &[1, 2, 1, 2]),
            (&[O, X, O], &[0, 2, 0]),
            (&[I, I, X, I], &[0, 1, 3, 0]),
            (&[I, O], &[1, 1]),
            (&[I, I], &[0, 1, 0]),
            (&[X, X], &[]),
            (&[], &[]),
        ];
        for (preferences, expected) in cases {
            let chosen = picks(&equal(preferences), expected.len().max(1));
            assert_eq!(chosen, *expected, "{preferences:?}");
        }
    }

    #[test]
    fn exactly_even_whatever_is_inactive() {
        for mask in 1u32..(1 << 6) {
            let preferences: Vec<_> = (0..6)
                .map(|bit| if mask & (1 << bit) != 0 { A } else { I })
                .collect();
            let mut counts = [0usize; 6];
            for index in picks(&equal(&preferences), mask.count_ones() as usize * 10) {
                counts[index] += 1;
            }
            for (preference, count) in preferences.iter().zip(counts) {
                assert_eq!(
                    count,
                    if *preference == A { 10 } else { 0 },
                    "{preferences:?}"
                );
            }
        }
    }

    #[test]
    fn round_robin_continues_after_the_choices_changed() {
        let mut turn = RoundRobin::default();
        let mut candidates = equal(&[A, A, A]);
        assert_eq!(turn.next(Policy::RoundRobin, &candidates), Some(0));
        assert_eq!(turn.next(Policy::RoundRobin, &candidates), Some(1));
        // Number 1 turns out to be down: its client continues with 2, the next with 0.
        candidates[1].preference = I;
        turn.reset();
        let rest: Vec<_> = (0..4)
            .filter_map(|_| turn.next(Policy::RoundRobin, &candidates))
            .collect();
        assert_eq!(rest, [2, 0, 2, 0]);
    }

    #[test]
    fn shares_are_exact_over_every_window() {
        // (weights, shares of each weight's sum of picks)
        let cases: &[&[u16]] = &[
            &[60, 30, 10],
            &[1, 1],
            &[1, 1, 1],
            &[2, 1],
            &[33, 33, 33],
            &[5, 1, 1],
            &[65535, 1, 65535],
        ];
        for weights in cases {
            let shares: Vec<(u16, u16)> = weights.iter().map(|weight| (0, *weight)).collect();
            let chosen = picks(&active(&shares), 10_000);
            let sum: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
            for window in [10, 100, 1_000, 10_000] {
                for start in (0..=10_000 - window).step_by(997) {
                    for (index, weight) in weights.iter().enumerate() {
                        let count = chosen[start..start + window]
                            .iter()
                            .filter(|c| **c == index)
                            .count();
                        let exact = f64::from(*weight) / sum * window as f64;
                        // Two ends of a window are off by less than one each.
                        let slack = if start == 0 { 1.0 } else { 2.0 };
                        assert!(
                            (count as f64 - exact).abs() <= slack,
                            "{weights:?}: {count} of {window} from {start}, exactly {exact}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn weight_zero_beside_others_is_rare_but_not_starved() {
        let chosen = picks(&active(&[(0, 0), (0, 1), (0, 0)]), 1_020);
        let count = |index| chosen.iter().filter(|chosen| **chosen == index).count();
        assert_eq!((count(0), count(1), count(2)), (10, 1_000, 10));
    }

    #[test]
    fn only_the_best_priority_with_an_active_endpoint_is_used() {
        let mut candidates = active(&[(20, 9), (10, 1), (10, 1), (30, 0)]);
        assert_eq!(picks(&candidates, 4), [1, 2, 1, 2]);
        candidates[1].preference = I;
        assert_eq!(picks(&candidates, 2), [2, 2]);
        candidates[2].preference = I;
        assert_eq!(picks(&candidates, 2), [0, 0]);
        // Tried already, and nothing else in its class: the next class serves.
        candidates[0].preference = X;
        assert_eq!(picks(&candidates, 2), [3, 3]);
        candidates[3].preference = I;
        assert_eq!(
            picks(&candidates, 2),
            [1, 2],
            "a last resort keeps to priorities"
        );
    }

    /// The order in which one client tries endpoints, each of a class of its own.
    fn tried(mut candidates: Vec<Candidate>) -> Vec<usize> {
        let mut order = Vec::new();
        while let Some(index) = RoundRobin::default().next(Policy::LeastConnections, &candidates) {
            assert_eq!(is_draining_next(&candidates), candidates[index].drains);
            assert!(!order.contains(&index), "{order:?}, {index} again");
            candidates[index].preference = X;
            order.push(index);
        }
        assert!(!is_draining_next(&candidates));
        order
    }

    #[test]
    fn draining_comes_after_serving_and_before_doubted() {
        // The best first; each pair with the word `drain` last.
        let order = [
            (A, false),
            (O, false),
            (A, true),
            (O, true),
            (Preference::Unhealthy, false),
            (Preference::Unhealthy, true),
            (Preference::Silent, false),
            (Preference::Silent, true),
            (I, false),
            (I, true),
        ];
        let candidate = |(preference, drains): &(Preference, bool), place: usize| Candidate {
            preference: *preference,
            drains: *drains,
            // Neither priority nor connections decide against it.
            priority: 100 - place as u16,
            weight: 1,
            open: 100 - place,
            ends_early: false,
        };
        // Each two of them, whichever is named first.
        for (better, one) in order.iter().enumerate() {
            for (worse, other) in order.iter().enumerate().skip(better + 1) {
                let (one, other) = (candidate(one, better), candidate(other, worse));
                assert_eq!(tried(vec![one, other]), [0, 1], "{one:?} {other:?}");
                assert_eq!(tried(vec![other, one]), [1, 0], "{one:?} {other:?}");
            }
        }
        let excluded = candidate(&(X, true), 0);
        assert_eq!(tried(vec![excluded]), [0; 0]);
    }

    #[test]
    fn draining_endpoints_are_selected_like_others_among_themselves() {
        let shares = active(&[(20, 9), (10, 2), (10, 1), (30, 0)]);
        for policy in [Policy::RoundRobin, Policy::LeastConnections] {
            for preference in [A, O, I] {
                let mut candidates = shares.clone();
                candidates[1].preference = preference;
                let sequence = |candidates: &[Candidate]| {
                    let mut turn = RoundRobin::default();
                    let pick = |_| turn.next(policy, candidates);
                    (0..9).map_while(pick).collect::<Vec<_>>()
                };
                let expected = sequence(&candidates);
                candidates.iter_mut().for_each(|c| c.drains = true);
                assert_eq!(sequence(&candidates), expected, "{policy:?} {preference:?}");
            }
        }
    }

    /// Endpoints of weight and open connections as given; each pick stays open.
    fn piled(loads: &[(u16, usize)], count: usize) -> Vec<usize> {
        let mut turn = RoundRobin::default();
        let shares: Vec<(u16, u16)> = loads.iter().map(|(weight, _)| (0, *weight)).collect();
        let mut candidates = active(&shares);
        for (candidate, (_, open)) in candidates.iter_mut().zip(loads) {
            candidate.open = *open;
        }
        let pick = |_| {
            let index = turn.next(Policy::LeastConnections, &candidates)?;
            candidates[index].open += 1;
            Some(index)
        };
        (0..count).map_while(pick).collect()
    }

    #[test]
    fn least_connections_first() {
        type Loads = &'static [(u16, usize)];
        // (weight and open connections, who is chosen, group by group; within one in any order)
        let cases: &[(Loads, &[&[usize]])] = &[
            (&[(0, 0), (0, 0), (0, 0)], &[&[0, 1, 2], &[0, 1, 2]]),
            (
                &[(0, 3), (0, 0), (0, 2)],
                &[&[1], &[1], &[1, 2], &[0, 1, 2]],
            ),
            (&[(7, 1), (7, 2)], &[&[0], &[0, 1], &[0, 1]]),
            // An endpoint with twice the weight has the same load with twice as many connections.
            (
                &[(2, 4), (1, 0)],
                &[&[1], &[1], &[0, 1], &[0], &[0, 1], &[0]],
            ),
            (&[(1, 5), (3, 0), (1, 5)], &[&[1; 15]]),
            (
                &[(65535, 65534), (65534, 65532)],
                &[&[1], &[1], &[0], &[0, 1]],
            ),
            // Not a hundredth is owed to weight 0 before the others have their hundreds.
            (&[(0, 0), (1, 99)], &[&[1], &[0, 1]]),
            (&[(0, 0), (2, 199), (0, 1)], &[&[1], &[0, 1]]),
            (&[(0, usize::MAX), (1, usize::MAX - 1)], &[&[1]]),
        ];
        for (loads, groups) in cases {
            let mut chosen = piled(loads, groups.iter().map(|group| group.len()).sum());
            for group in *groups {
                let rest = chosen.split_off(group.len());
                chosen.sort_unstable();
                assert_eq!(chosen, *group, "{loads:?}");
                chosen = rest;
            }
        }
    }

    #[test]
    fn least_connections_converge_to_the_weights() {
        // (weights, what one of the endpoints has piled up)
        let cases: &[(&[u16], usize)] = &[
            (&[0, 0, 0], 90),
            (&[60, 30, 10], 500),
            (&[5, 1, 1], 70),
            (&[3, 1], 0),
        ];
        for (weights, pile) in cases {
            let mut loads: Vec<(u16, usize)> = weights.iter().map(|weight| (*weight, 0)).collect();
            loads[0].1 = *pile;
            let even: usize = weights
                .iter()
                .map(|weight| usize::from(*weight).max(1))
                .sum();
            let mut open: Vec<usize> = loads.iter().map(|(_, open)| *open).collect();
            for index in piled(&loads, even * 100 - pile) {
                open[index] += 1;
            }
            let expected: Vec<usize> = weights
                .iter()
                .map(|weight| usize::from(*weight).max(1) * 100)
                .collect();
            assert_eq!(open, expected, "{weights:?} from {pile}");
        }
    }

    #[test]
    fn idle_endpoints_take_turns_by_weight_whatever_the_policy() {
        let candidates = active(&[(0, 3), (0, 1)]);
        let mut turn = RoundRobin::default();
        let chosen: Vec<_> = (0..8)
            .filter_map(|_| turn.next(Policy::LeastConnections, &candidates))
            .collect();
        assert_eq!(chosen, picks(&candidates, 8));
    }

    #[test]
    fn preference_and_priority_come_before_connections() {
        let mut candidates = active(&[(1, 0), (0, 0), (0, 0)]);
        let least = |candidates: &[Candidate]| {
            RoundRobin::default().next(Policy::LeastConnections, candidates)
        };
        candidates[1].open = 9;
        candidates[2].open = 8;
        assert_eq!(least(&candidates), Some(2), "the next class is idle");
        candidates[2].preference = O;
        assert_eq!(least(&candidates), Some(1), "busy is better than slow");
        candidates[1].preference = I;
        assert_eq!(least(&candidates), Some(0));
        candidates[0].preference = X;
        assert_eq!(least(&candidates), Some(2));
        candidates[2].preference = X;
        assert_eq!(least(&candidates), Some(1));
        candidates[1].preference = X;
        assert_eq!(least(&candidates), None);
    }

    /// One of four accepts connections and drops them, as a learner does with requests; the others have
    /// connections that stay.
    #[test]
    fn an_endpoint_that_ends_connections_early_gets_its_share_and_no_more() {
        // (weights, connections that stay at the others, picks, the share of the early one in percent)
        let cases: [(&[u16], usize, usize, usize); 5] = [
            (&[0, 0, 0, 0], 0, 400, 25),
            (&[0, 0, 0, 0], 50, 400, 25),
            (&[1, 1, 1, 1], 50, 400, 25),
            (&[1, 2, 3, 4], 50, 400, 10),
            (&[4, 1, 1, 2], 50, 400, 50),
        ];
        for (weights, stay, picks, percent) in cases {
            let shares: Vec<(u16, u16)> = weights.iter().map(|weight| (0, *weight)).collect();
            let mut candidates = active(&shares);
            candidates.iter_mut().skip(1).for_each(|c| c.open = stay);
            candidates[0].ends_early = true;
            let mut turn = RoundRobin::default();
            let mut count = 0;
            for _ in 0..picks {
                match turn.next(Policy::LeastConnections, &candidates).unwrap() {
                    0 => count += 1,
                    // Theirs end, too, but later.
                    other => assert!(!candidates[other].ends_early),
                }
            }
            assert!(count * 100 <= picks * (percent + 1), "{weights:?}: {count}");
            // It is the least loaded whenever it may be taken, if the others have connections.
            let least = if stay > 0 { percent - 1 } else { 10 };
            assert!(count * 100 >= picks * least, "{weights:?}: {count}");
        }
        // If it is the only endpoint, it is used nevertheless.
        let mut alone = active(&[(0, 0)]);
        alone[0].ends_early = true;
        let mut turn = RoundRobin::default();
        let chosen = (0..3).map_while(|_| turn.next(Policy::LeastConnections, &alone));
        assert_eq!(chosen.collect::<Vec<_>>(), [0, 0, 0]);
    }
}
