//! Endpoints that are missing from the pool, until it is certain that they were removed.
//!
//! Some name servers give a part of the records at a time, or do not have the new zone yet, while
//! others have it. An endpoint that an answer lacks gets no new connection, but that alone
//! must not end healthy ones: it counts as removed once two certain answers in a row have lacked
//! it. If it comes back, counting starts again. What an operator takes out of a list counts at once.
//!
//! Pure.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;

use super::member::MAX_ENDPOINTS;
use crate::endpoint::Endpoint;

/// The most endpoints that are remembered. Only if answers are uncertain for a long time, while addresses come
/// and go, are there so many; the connections of any others stay.
const MAX_MISSING: usize = 4 * MAX_ENDPOINTS;

/// Those that are missing and were not returned as removed yet.
#[derive(Debug, Default)]
pub(super) struct RemovedEndpoints(BTreeMap<SocketAddr, Missing>);

#[derive(Debug)]
struct Missing {
    /// The member that had the address, as the list or the record names it.
    name: String,
    /// A certain answer has lacked it before.
    missed_before: bool,
}

impl RemovedEndpoints {
    /// Whether the next answer has nothing to confirm.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the endpoints `before` and `after` an answer. `is_listed` says whether the member of a name is still
    /// listed. Returns what was removed.
    pub(super) fn update(
        &mut self,
        before: Vec<Endpoint>,
        after: &[Endpoint],
        is_certain: bool,
        is_listed: impl Fn(&str) -> bool,
    ) -> Vec<SocketAddr> {
        let after: HashSet<SocketAddr> = after.iter().map(|endpoint| endpoint.addr).collect();
        self.0.retain(|addr, _| !after.contains(addr));
        for endpoint in before {
            if !after.contains(&endpoint.addr) && self.0.len() < MAX_MISSING {
                self.0.entry(endpoint.addr).or_insert(Missing {
                    name: endpoint.name,
                    missed_before: false,
                });
            }
        }
        let mut removed = Vec::new();
        self.0.retain(|addr, missing| {
            let missed_before = missing.missed_before;
            missing.missed_before |= is_certain;
            let is_removed = is_certain && missed_before || !is_listed(&missing.name);
            if is_removed {
                removed.push(*addr);
            }
            !is_removed
        });
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Source;

    /// Each letter is an endpoint of that name.
    fn endpoints(letters: &str) -> Vec<Endpoint> {
        let endpoint = |letter: char| Endpoint {
            addr: SocketAddr::from(([127, 0, 0, 1], u16::try_from(u32::from(letter)).unwrap())),
            name: letter.to_string(),
            priority: 0,
            weight: 0,
            drains: false,
            identity: None,
            source: Source::Srv,
        };
        letters.chars().map(endpoint).collect()
    }

    /// What is removed by each of these answers, the first of which makes the set. `?` is one that is
    /// not certain; behind `/` are the members that are listed, which are all if that is not given.
    fn removed(answers: &str) -> String {
        let mut removed_endpoints = RemovedEndpoints::default();
        let mut before: Option<Vec<Endpoint>> = None;
        let mut removed = Vec::new();
        for answer in answers.split(' ') {
            let (set, listed) = answer.split_once('/').unwrap_or((answer, "abcdef"));
            let after = endpoints(set.trim_end_matches('?'));
            let gone = removed_endpoints.update(
                before.unwrap_or_default(),
                &after,
                !set.ends_with('?'),
                |name| listed.contains(name),
            );
            let letter = |addr: &SocketAddr| char::from(u8::try_from(addr.port()).unwrap());
            removed.push(gone.iter().map(letter).collect::<String>());
            before = Some(after);
        }
        removed.join("-")
    }

    #[test]
    fn an_endpoint_that_two_certain_answers_lack_is_removed() {
        let cases = [
            ("ab ab ab", "--"),
            ("ab b", "-"),
            ("ab b b", "--a"),
            ("ab b b b", "--a-"),
            // It comes back: its time starts again.
            ("ab b ab b ab b", "-----"),
            ("ab b ab b b", "----a"),
            ("ab b a b a b a", "------"),
            // Removed, it comes back and is removed again.
            ("ab b b ab b b", "--a---a"),
            // Each on its own.
            ("abc bc c c", "--a-b"),
            ("abc ab a a", "--c-b"),
            ("abc c c", "--ab"),
            ("ab c c", "--ab"),
            // What is not certain counts neither for nor against it, but that it is there does.
            ("ab b? b? b?", "---"),
            ("ab b? b b", "---a"),
            ("ab b b? b", "---a"),
            ("ab b ab? b", "---"),
            ("ab b ab? b b", "----a"),
            // An operator's word counts at once, also where lookups fail.
            ("ab b/b", "-a"),
            ("ab b?/b", "-a"),
            ("ab b b?/b", "--a"),
            ("abc c/bc c/bc", "-a-b"),
            ("ab b/b ab/ab b/ab", "-a--"),
            // What another line still names was not removed.
            ("ab ab/b", "-"),
        ];
        for (answers, expected) in cases {
            assert_eq!(removed(answers), expected, "{answers}");
        }
    }

    #[test]
    fn endpoints_missing_from_uncertain_answers_are_bounded() {
        let mut removed_endpoints = RemovedEndpoints::default();
        let template = endpoints("a").remove(0);
        let set = |round: u32| -> Vec<Endpoint> {
            let addr = |n: u32| SocketAddr::from(((round * 1024 + n).to_be_bytes(), 1));
            let endpoint = |n| Endpoint {
                addr: addr(n),
                ..template.clone()
            };
            (0..1000).map(endpoint).collect()
        };
        for round in 0..20 {
            let removed = removed_endpoints.update(set(round), &set(round + 1), false, |_| true);
            assert_eq!(removed, []);
        }
        assert_eq!(removed_endpoints.0.len(), MAX_MISSING);
        // They are reported all the same, and then forgotten.
        for expected in [0, MAX_MISSING] {
            let removed = removed_endpoints.update(Vec::new(), &set(20), true, |_| true);
            assert_eq!(removed.len(), expected);
        }
        assert!(removed_endpoints.is_empty());
    }
}
