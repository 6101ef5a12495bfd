//! The addresses of names, followed: each name is resolved again and again, and what was
//! known of it stays known for as long as nothing better is.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::dns::{self, Resolver};

use super::parallel_map;

/// The most addresses of one name that are kept: as many as are ever used of all.
const MAX_ADDRESSES: usize = 1024;

/// What is known of some names.
#[derive(Debug, Default)]
pub(super) struct ResolvedHosts {
    known: HashMap<String, Known>,
}

#[derive(Debug, Default)]
struct Known {
    addresses: Vec<IpAddr>,
    /// How many more the last answer had.
    beyond: usize,
    /// They are a part of an answer: none was ever whole.
    is_part: bool,
    /// The name that had them, completed from the search list; none if not from DNS.
    owner: Option<dns::name::Name>,
    /// Why the last resolution failed, or gave a part only.
    failure: Option<String>,
}

/// How a refresh went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Freshness {
    /// For how long all that was learned stands; `None` if it stands for ever.
    pub(super) ttl: Option<Duration>,
    /// Whether everything that was asked was answered.
    pub(super) complete: bool,
    /// Whether there was at least a definite answer to everything: a name that does not exist hides
    /// no member.
    pub(super) certain: bool,
    /// A name without any known address was not answered for: it may be that of a member
    /// that serves under another name, so that none may be taken away.
    pub(super) inconclusive: bool,
}

impl Freshness {
    /// Before anything was asked.
    pub(super) const TIMELESS: Self = Self {
        ttl: None,
        complete: true,
        certain: true,
        inconclusive: false,
    };

    /// Adds an answer that stands for `ttl`.
    pub(super) fn add(&mut self, ttl: Duration) {
        self.ttl = Some(self.ttl.map_or(ttl, |known| known.min(ttl)));
    }
}

impl ResolvedHosts {
    /// Resolves all `names`, side by side, until `deadline`, notes why those in `unresolvable_zones` have no
    /// address, and forgets all others.
    pub(super) fn refresh(
        &mut self,
        resolver: &Resolver,
        names: &HashSet<String>,
        unresolvable_zones: &[(String, String)],
        deadline: Instant,
        freshness: &mut Freshness,
    ) {
        self.known.retain(|name, _| {
            names.contains(name) || unresolvable_zones.iter().any(|(host, _)| host == name)
        });
        for (host, reason) in unresolvable_zones {
            let known = self.known.entry(host.clone()).or_default();
            known.keep(reason.clone(), false, freshness);
        }
        let names: Vec<&String> = names.iter().collect();
        let answers = parallel_map(&names, |name| {
            resolver.lookup_host(name, deadline).map(bounded)
        });
        for (name, answer) in names.into_iter().zip(answers) {
            let known = self.known.entry(name.clone()).or_default();
            match answer {
                Ok(answer) => known.learn(answer, freshness),
                Err(error) => {
                    let is_definite = error.class.is_definite();
                    freshness.inconclusive |= known.addresses.is_empty() && !is_definite;
                    known.keep(error.to_string(), is_definite, freshness);
                }
            }
        }
    }

    /// Whether a name is followed.
    pub(super) fn follows(&self, name: &str) -> bool {
        self.known.contains_key(name)
    }

    /// Why a name could not be resolved, if the last resolution failed.
    pub(super) fn failure(&self, name: &str) -> Option<&str> {
        self.known.get(name)?.failure.as_deref()
    }

    /// What could not be resolved the last time, the reason, how many addresses are used, and whether
    /// they are a part of an answer.
    pub(super) fn failed(&self) -> impl Iterator<Item = (&str, &str, usize, bool)> {
        self.known.iter().filter_map(|(name, known)| {
            let reason = known.failure.as_deref()?;
            let addresses = known.addresses.len();
            Some((name.as_str(), reason, addresses, known.is_part))
        })
    }

    /// What could not be resolved the last time, and why.
    pub(super) fn failures(&self) -> Vec<String> {
        let lines = self.failed();
        let mut lines: Vec<String> = lines
            .map(|(name, reason, ..)| format!("{name}: {reason}"))
            .collect();
        lines.sort_unstable();
        lines
    }

    /// The last addresses that were found for a name.
    pub(super) fn addresses(&self, name: &str) -> &[IpAddr] {
        self.known.get(name).map_or(&[], |known| &known.addresses)
    }

    /// How many more there were than are kept.
    pub(super) fn beyond(&self, name: &str) -> usize {
        self.known.get(name).map_or(0, |known| known.beyond)
    }
}

/// The addresses of an answer, and how many more it had: a name may have thousands in one reply,
/// and so may each name of a list.
fn bounded(mut answer: dns::Found<IpAddr>) -> (dns::Found<IpAddr>, usize) {
    // Servers shuffle their answers; the same addresses must be the same endpoints.
    answer.data.sort_unstable();
    let beyond = answer.data.len().saturating_sub(MAX_ADDRESSES);
    answer.data.truncate(MAX_ADDRESSES);
    answer.data.shrink_to_fit();
    (answer, beyond)
}

impl Known {
    fn learn(&mut self, (answer, beyond): (dns::Found<IpAddr>, usize), freshness: &mut Freshness) {
        if let Some(error) = answer.doubt_of(self.owner.as_ref()) {
            return self.keep(error.to_string(), false, freshness);
        }
        let is_part = answer.is_part();
        let mut addresses = answer.data;
        freshness.add(answer.ttl);
        if let Some(sink) = addresses.iter().find(|ip| is_no_host(ip)) {
            let reason = format!("the answer has {sink}, which is no host");
            return self.keep(reason, false, freshness);
        }
        if let (Some(error), true) = (&answer.missing, is_part) {
            if self.addresses.is_empty() || self.is_part {
                // Of a part it is not known what it lacks.
                freshness.inconclusive = true;
                self.addresses = addresses;
                self.beyond = beyond;
                self.owner = answer.owner;
                self.is_part = true;
            }
            return self.keep(error.to_string(), false, freshness);
        }
        self.beyond = beyond;
        self.is_part = false;
        if let Some(error) = answer.missing {
            // Only one family was answered: of the other the old addresses stay, if they are of
            // the same name and not of another one of the search list.
            if answer.owner == self.owner {
                let new = addresses.clone();
                let other = |old: &&IpAddr| new.iter().all(|new| new.is_ipv4() != old.is_ipv4());
                addresses.extend(self.addresses.iter().filter(other));
            }
            self.addresses = addresses;
            self.owner = answer.owner;
            return self.keep(error.to_string(), false, freshness);
        }
        self.addresses = addresses;
        self.owner = answer.owner;
        self.failure = None;
    }

    fn keep(&mut self, reason: String, is_definite: bool, freshness: &mut Freshness) {
        freshness.complete = false;
        freshness.certain &= is_definite;
        self.failure = Some(reason);
    }
}

/// Whether an address is none that a host can have. A connection to 0.0.0.0, which is what
/// some resolvers answer for names that they block, reaches this very host.
fn is_no_host(ip: &IpAddr) -> bool {
    let ip = ip.to_canonical();
    ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::V4(std::net::Ipv4Addr::BROADCAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(addresses: &[&str]) -> dns::Found<IpAddr> {
        dns::Found {
            data: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            owner: None,
            doubt: None,
            ttl: Duration::from_secs(60),
            missing: None,
        }
    }

    #[test]
    fn an_answer_with_an_address_that_is_no_host_changes_nothing() {
        for sink in [
            "0.0.0.0",
            "::",
            "::ffff:0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "ff02::1",
        ] {
            let mut known = Known::default();
            let mut freshness = Freshness::TIMELESS;
            let learn = |known: &mut Known, texts: &[&str], freshness: &mut Freshness| {
                known.learn(bounded(answer(texts)), freshness);
            };
            learn(&mut known, &["10.0.0.2", "10.0.0.1"], &mut freshness);
            let good = known.addresses.clone();
            assert_eq!(good, answer(&["10.0.0.1", "10.0.0.2"]).data, "in one order");
            assert!(freshness.complete);
            learn(&mut known, &["10.0.0.3", sink], &mut freshness);
            assert_eq!(known.addresses, good, "{sink}");
            assert!(!freshness.complete, "{sink}");
            learn(&mut known, &["10.0.0.3"], &mut freshness);
            assert_eq!(known.addresses, answer(&["10.0.0.3"]).data);
        }
    }

    #[test]
    fn one_family_that_is_missing_stays_if_it_is_of_the_same_name() {
        let cases: [(&str, &[&str]); 2] = [
            ("m.a.test", &["10.0.0.2", "fd00::1"]),
            ("m.b.test", &["10.0.0.2"]),
        ];
        for (later, expected) in cases {
            let owner = |text: &str| dns::name::Name::from_text(text).ok().map(|(name, _)| name);
            let mut known = Known::default();
            let first = dns::Found {
                owner: owner("m.a.test"),
                ..answer(&["10.0.0.1", "fd00::1"])
            };
            known.learn(bounded(first), &mut Freshness::TIMELESS.clone());
            let second = dns::Found {
                owner: owner(later),
                missing: Some(dns::Error {
                    owner: "m.".to_owned(),
                    qtype: dns::record::Type::Aaaa,
                    server: None,
                    class: dns::Class::Timeout,
                    negative_ttl: None,
                }),
                ..answer(&["10.0.0.2"])
            };
            known.learn(bounded(second), &mut Freshness::TIMELESS.clone());
            assert_eq!(known.addresses, answer(expected).data);
        }
    }

    #[test]
    fn an_answer_without_measure_is_kept_in_bounds() {
        let all: Vec<IpAddr> = (0..5000_u32)
            .map(|n| IpAddr::from(n.to_be_bytes()))
            .collect();
        let data = all.iter().rev().copied().collect();
        let large = dns::Found {
            data,
            ..answer(&[])
        };
        let (kept, beyond) = bounded(large);
        assert_eq!(kept.data, all[..MAX_ADDRESSES], "whatever the order");
        assert!(kept.data.capacity() < 2 * MAX_ADDRESSES);
        assert_eq!(beyond, 5000 - MAX_ADDRESSES);
    }
}
