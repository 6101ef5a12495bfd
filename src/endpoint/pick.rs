//! Whose turn it is: a pure function of the endpoints' standing, priority, weight and, where
//! the policy looks at them, open connections, so that shares can be proven by table.
//!
//! Standing comes before priority: an endpoint that is doubted is nobody's first choice, even where its
//! class has no other. Where all are doubted alike, all are used as if nothing were known.
//!
//! An endpoint that drains comes after all others that are active, untried or slow, and before those that are
//! doubted or inactive. A client must not be worse off than one that knows every member: a draining member that
//! answers serves it now, a silent one costs it its request, and the others cost it at least a dial. Among
//! endpoints that are doubted alike the word decides again. Where all drain, it decides nothing.
//!
//! Of the best choices, those of the lowest SRV priority are used (RFC 2782), and among them the smooth weighted round
//! robin of nginx decides: every candidate gains its weight, the one that has most is taken and pays the sum
//! of all weights. The shares are exact over any window of that many picks and no randomness is needed. Equal
//! weights are plain round robin.
//!
//! With [`Policy::LeastConnections`] the round robin is among those alone that have the
//! fewest open connections for their weight, as in nginx: what is idle takes turns, what is
//! not is evened out. One that ends its connections early has none for another reason: it gets no more than
//! its turn.

use std::cmp::Ordering;

use crate::config::Policy;

/// How good a choice an endpoint is; the better ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// Active, or untried.
    Active,
    /// A dial to it has been waiting for an answer for too long.
    Slow,
    /// It fails its health checks.
    Unhealthy,
    /// It accepts connections and says nothing.
    Silent,
    /// Failed; a last resort for a client that no active endpoint has served.
    Inactive,
    /// No choice at all: tried already, or known to be this gateway.
    Excluded,
}

/// What picking knows of an endpoint.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    pub(crate) standing: Standing,
    pub(crate) drains: bool,
    pub(crate) priority: u16,
    pub(crate) weight: u16,
    /// Connections that it has now, those included that are being made, and those that were made less than
    /// a second ago.
    pub(crate) open: usize,
    /// It has no connection, and the last one had ended early.
    pub(crate) ends_early: bool,
}

/// How good a choice an endpoint is, compared field by field; the better ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// Its standing, but that one that is slow serves as well as one that is active.
    tier: Standing,
    drains: bool,
    standing: Standing,
    priority: u16,
}

impl Candidate {
    fn rank(&self) -> Rank {
        Rank {
            tier: self.standing.max(Standing::Slow),
            drains: self.drains,
            standing: self.standing,
            priority: self.priority,
        }
    }
}

/// The rank of the best choices, if there is any but excluded ones.
fn best(candidates: &[Candidate]) -> Option<Rank> {
    let ranks = candidates.iter().map(Candidate::rank);
    ranks
        .min()
        .filter(|rank| rank.standing < Standing::Excluded)
}

/// Whether the next choice is an endpoint that drains.
pub(crate) fn is_draining_next(candidates: &[Candidate]) -> bool {
    best(candidates).is_some_and(|rank| rank.drains)
}

/// What a pick leaves behind for the next.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// Where the round robin among equals goes on; taken modulo the number of endpoints.
    cursor: usize,
    /// What each endpoint has saved up; as many as endpoints, or none yet.
    credits: Vec<i64>,
    /// How many picks there were, and at which of them each endpoint was last taken.
    picks: u64,
    taken: Vec<u64>,
}

/// A share of weight 0 beside others: RFC 2782 wants it "very small".
const ZERO_WEIGHT: u32 = 1;
/// What every other weight is multiplied by, so that the share of weight 0 is a hundredth
/// of the smallest other one.
const SCALE: u32 = 100;

/// The share of an endpoint in its class, where any is `weighted` or none is.
fn share(candidate: &Candidate, weighted: bool) -> u32 {
    match candidate.weight {
        0 if weighted => ZERO_WEIGHT,
        0 => SCALE,
        weight => SCALE * u32::from(weight),
    }
}

/// How much an endpoint has to do for its share: a fraction, compared exactly.
#[derive(Debug, Clone, Copy)]
struct Load {
    connections: u64,
    share: u32,
}

impl Load {
    fn of(candidate: &Candidate, weighted: bool) -> Self {
        // An idle endpoint would be the least loaded whatever its share. One of weight 0
        // beside others must not be: it counts what it would have, and so comes after
        // [`SCALE`] connections for each unit of the others' weight.
        let ahead = usize::from(weighted && candidate.weight == 0);
        Self {
            connections: candidate.open.saturating_add(ahead) as u64,
            share: share(candidate, weighted),
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        let cross =
            |one: &Self, other: &Self| u128::from(one.connections) * u128::from(other.share);
        cross(self, other).cmp(&cross(other, self))
    }
}

impl Turn {
    /// Forgets what was saved up, because other endpoints are to choose from than before:
    /// old credit would be an unearned share. The round robin goes on where it was.
    pub(crate) fn reset(&mut self) {
        self.credits.clear();
        self.taken.clear();
    }

    /// The next endpoint, if there is any but excluded ones.
    pub(crate) fn next(&mut self, policy: Policy, candidates: &[Candidate]) -> Option<usize> {
        let best = best(candidates)?;
        let class = |candidate: &Candidate| candidate.rank() == best;
        let weighted = candidates
            .iter()
            .any(|candidate| class(candidate) && candidate.weight > 0);
        self.credits.resize(candidates.len(), 0);
        self.taken.resize(candidates.len(), 0);
        self.picks += 1;
        let in_class = || candidates.iter().filter(|candidate| class(candidate));
        let chosen: Vec<bool> = match policy {
            Policy::RoundRobin => candidates.iter().map(class).collect(),
            Policy::LeastConnections => {
                let sum = in_class().map(|candidate| u64::from(share(candidate, weighted)));
                let sum = sum.sum();
                let turns = candidates.iter().zip(&self.taken);
                let waits = turns.map(|(candidate, taken)| {
                    candidate.ends_early && self.has_had_its_turn(*taken, candidate, weighted, sum)
                });
                let waits: Vec<bool> = waits.collect();
                // Where all wait, none does.
                let all = candidates.iter().zip(&waits);
                let any = all
                    .clone()
                    .any(|(candidate, waits)| class(candidate) && !waits);
                let may = |candidate: &Candidate, waits: bool| class(candidate) && !(any && waits);
                let loads = all
                    .clone()
                    .filter(|(candidate, waits)| may(candidate, **waits));
                let loads = loads.map(|(candidate, _)| Load::of(candidate, weighted));
                let least = loads.min_by(Load::compare);
                let is_least = |candidate: &Candidate| {
                    let load = Load::of(candidate, weighted);
                    least.is_some_and(|least| load.compare(&least).is_eq())
                };
                all.map(|(candidate, waits)| may(candidate, *waits) && is_least(candidate))
                    .collect()
            }
        };
        let mut sum = 0;
        for ((candidate, is_chosen), credit) in
            candidates.iter().zip(&chosen).zip(&mut self.credits)
        {
            if *is_chosen {
                let weight = share(candidate, weighted);
                *credit += i64::from(weight);
                sum += i64::from(weight);
            }
        }
        // The first of the richest, counted from the cursor: `max_by_key` takes the last
        // of equals, so it goes through them backwards.
        let count = candidates.len();
        let order = (0..count).map(|step| self.cursor.wrapping_add(step) % count);
        let richest = order
            .rev()
            .filter(|index| chosen.get(*index) == Some(&true))
            .max_by_key(|index| self.credits.get(*index).copied())?;
        if let Some(credit) = self.credits.get_mut(richest) {
            *credit -= sum;
        }
        if let Some(taken) = self.taken.get_mut(richest) {
            *taken = self.picks;
        }
        self.cursor = richest + 1;
        Some(richest)
    }

    /// Whether the others of a class, whose shares have this `sum`, are to have theirs before an endpoint that
    /// was last taken at that pick.
    fn has_had_its_turn(&self, taken: u64, of: &Candidate, weighted: bool, sum: u64) -> bool {
        let since = self.picks.saturating_sub(taken);
        taken > 0 && since.saturating_mul(share(of, weighted).into()) < sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Standing::{Active as A, Excluded as X, Inactive as I, Slow as O};

    fn equal(standings: &[Standing]) -> Vec<Candidate> {
        let candidate = |standing: &Standing| Candidate {
            standing: *standing,
            drains: false,
            priority: 0,
            weight: 0,
            open: 0,
            ends_early: false,
        };
        standings.iter().map(candidate).collect()
    }

    fn active(shares: &[(u16, u16)]) -> Vec<Candidate> {
        let candidate = |(priority, weight): &(u16, u16)| Candidate {
            standing: A,
            drains: false,
            priority: *priority,
            weight: *weight,
            open: 0,
            ends_early: false,
        };
        shares.iter().map(candidate).collect()
    }

    fn picks(candidates: &[Candidate], count: usize) -> Vec<usize> {
        let mut turn = Turn::default();
        (0..count)
            .map_while(|_| turn.next(Policy::RoundRobin, candidates))
            .collect()
    }

    #[test]
    fn sequences_of_equals() {
        // (standings, endpoints in the order they are chosen)
        let cases: &[(&[Standing], &[usize])] = &[
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
        for (standings, expected) in cases {
            let chosen = picks(&equal(standings), expected.len().max(1));
            assert_eq!(chosen, *expected, "{standings:?}");
        }
    }

    #[test]
    fn exactly_even_whatever_is_inactive() {
        for mask in 1u32..(1 << 6) {
            let standings: Vec<_> = (0..6)
                .map(|bit| if mask & (1 << bit) != 0 { A } else { I })
                .collect();
            let mut counts = [0usize; 6];
            for index in picks(&equal(&standings), mask.count_ones() as usize * 10) {
                counts[index] += 1;
            }
            for (standing, count) in standings.iter().zip(counts) {
                assert_eq!(count, if *standing == A { 10 } else { 0 }, "{standings:?}");
            }
        }
    }

    #[test]
    fn a_round_goes_on_after_the_choice_changed() {
        let mut turn = Turn::default();
        let mut candidates = equal(&[A, A, A]);
        assert_eq!(turn.next(Policy::RoundRobin, &candidates), Some(0));
        assert_eq!(turn.next(Policy::RoundRobin, &candidates), Some(1));
        // Number 1 turns out to be dead: its client goes on to 2, the next to 0.
        candidates[1].standing = I;
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
        candidates[1].standing = I;
        assert_eq!(picks(&candidates, 2), [2, 2]);
        candidates[2].standing = I;
        assert_eq!(picks(&candidates, 2), [0, 0]);
        // Tried already, and nothing else in its class: the next class serves.
        candidates[0].standing = X;
        assert_eq!(picks(&candidates, 2), [3, 3]);
        candidates[3].standing = I;
        assert_eq!(
            picks(&candidates, 2),
            [1, 2],
            "a last resort keeps to priorities"
        );
    }

    /// The order in which one client tries endpoints, each of a class of its own.
    fn tried(mut candidates: Vec<Candidate>) -> Vec<usize> {
        let mut order = Vec::new();
        while let Some(index) = Turn::default().next(Policy::LeastConnections, &candidates) {
            assert_eq!(is_draining_next(&candidates), candidates[index].drains);
            assert!(!order.contains(&index), "{order:?}, {index} again");
            candidates[index].standing = X;
            order.push(index);
        }
        assert!(!is_draining_next(&candidates));
        order
    }

    #[test]
    fn one_that_drains_comes_after_those_that_serve_and_before_those_that_may_not() {
        // The best first; each pair with the word `drain` last.
        let order = [
            (A, false),
            (O, false),
            (A, true),
            (O, true),
            (Standing::Unhealthy, false),
            (Standing::Unhealthy, true),
            (Standing::Silent, false),
            (Standing::Silent, true),
            (I, false),
            (I, true),
        ];
        let candidate = |(standing, drains): &(Standing, bool), place: usize| Candidate {
            standing: *standing,
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
    fn among_those_that_drain_all_is_as_if_none_did() {
        let shares = active(&[(20, 9), (10, 2), (10, 1), (30, 0)]);
        for policy in [Policy::RoundRobin, Policy::LeastConnections] {
            for standing in [A, O, I] {
                let mut candidates = shares.clone();
                candidates[1].standing = standing;
                let sequence = |candidates: &[Candidate]| {
                    let mut turn = Turn::default();
                    let pick = |_| turn.next(policy, candidates);
                    (0..9).map_while(pick).collect::<Vec<_>>()
                };
                let expected = sequence(&candidates);
                candidates.iter_mut().for_each(|c| c.drains = true);
                assert_eq!(sequence(&candidates), expected, "{policy:?} {standing:?}");
            }
        }
    }

    /// Endpoints of weight and open connections as given; each pick stays open.
    fn piled(loads: &[(u16, usize)], count: usize) -> Vec<usize> {
        let mut turn = Turn::default();
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
            // Twice the weight bears twice as many before it is as loaded.
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
        let mut turn = Turn::default();
        let chosen: Vec<_> = (0..8)
            .filter_map(|_| turn.next(Policy::LeastConnections, &candidates))
            .collect();
        assert_eq!(chosen, picks(&candidates, 8));
    }

    #[test]
    fn standing_and_priority_come_before_connections() {
        let mut candidates = active(&[(1, 0), (0, 0), (0, 0)]);
        let least =
            |candidates: &[Candidate]| Turn::default().next(Policy::LeastConnections, candidates);
        candidates[1].open = 9;
        candidates[2].open = 8;
        assert_eq!(least(&candidates), Some(2), "the next class is idle");
        candidates[2].standing = O;
        assert_eq!(least(&candidates), Some(1), "busy is better than slow");
        candidates[1].standing = I;
        assert_eq!(least(&candidates), Some(0));
        candidates[0].standing = X;
        assert_eq!(least(&candidates), Some(2));
        candidates[2].standing = X;
        assert_eq!(least(&candidates), Some(1));
        candidates[1].standing = X;
        assert_eq!(least(&candidates), None);
    }

    /// One of four accepts connections and drops them, as a learner does with requests; the others have
    /// connections that stay.
    #[test]
    fn one_that_ends_connections_early_gets_its_turn_and_no_more() {
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
            let mut turn = Turn::default();
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
        // Where there is no other it serves all the same.
        let mut alone = active(&[(0, 0)]);
        alone[0].ends_early = true;
        let mut turn = Turn::default();
        let chosen = (0..3).map_while(|_| turn.next(Policy::LeastConnections, &alone));
        assert_eq!(chosen.collect::<Vec<_>>(), [0, 0, 0]);
    }
}
