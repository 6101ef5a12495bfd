//! The addresses of members: each name is resolved again and again, and what was known of it stays known until
//! there is something better.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::member::{MAX_ENDPOINTS, Member, literal};
use super::parallel::parallel_map;
use super::problems::{Problem, Subject};
use super::schedule::Outcome;
use crate::dns::{self, Resolver};
use crate::endpoint::Endpoint;

/// How long lookups may take. With the defaults of resolv.conf(5), 5 s per server, this is
/// time for the third server to answer if the first two are dead.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// What is said where nothing better is known than a part of an answer.
pub(super) const PART: &str = "only a part of the records is known, using it";

/// What is said of that part.
pub(super) fn part_in_use(count: usize) -> String {
    format!("; records in use, from an incomplete answer: {count}")
}

/// What is known of names, and of literal addresses that this host does not have now.
#[derive(Debug, Default)]
pub(super) struct ResolvedHosts(BTreeMap<String, Known>);

/// What is known of one name.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) addresses: Vec<IpAddr>,
    /// How many more the last answer had.
    surplus: usize,
    /// They are a part of an answer: none was ever whole.
    is_part: bool,
    /// The name that had them, completed from the search list; `None` if they are not from DNS.
    owner: Option<dns::name::Name>,
    /// Why the last resolution failed, or gave a part only.
    pub(super) failure: Option<String>,
}

impl ResolvedHosts {
    /// Resolves the names of these members in parallel, until `deadline`, and forgets all others. Notes
    /// which literal addresses this host does not have now.
    pub(super) fn refresh(
        &mut self,
        resolver: &Resolver,
        members: &[Member],
        deadline: Instant,
        outcome: &mut Outcome,
    ) {
        let names: BTreeSet<&str> = members.iter().filter_map(Member::name).collect();
        self.0.retain(|name, _| names.contains(name.as_str()));
        for member in members {
            if let Some(zone) = member.zone()
                && literal(&member.at).is_none()
            {
                let known = self.0.entry(member.at.to_string()).or_default();
                known.fail(format!("this host has no interface {zone}"), false, outcome);
            }
        }
        let names = Vec::from_iter(names);
        let answers = parallel_map(&names, |name| {
            resolver.lookup_host(name, deadline).map(bounded)
        });
        for (name, answer) in names.into_iter().zip(answers) {
            let known = self.0.entry(name.to_owned()).or_default();
            match answer {
                Ok(answer) => known.learn(answer, outcome),
                Err(error) => {
                    let is_definite = error.class.is_definite();
                    outcome.inconclusive |= known.addresses.is_empty() && !is_definite;
                    known.fail(error.to_string(), is_definite, outcome);
                }
            }
        }
    }

    /// All addresses of members, each once: where several members have it, the first counts. Also how many
    /// there are, which may be more than are used.
    pub(super) fn endpoints(&self, members: &[Member]) -> (Vec<Endpoint>, usize) {
        let mut endpoints: Vec<Endpoint> = Vec::new();
        let mut found: HashSet<SocketAddr> = HashSet::new();
        let mut surplus = 0_usize;
        let unknown = Known::default();
        for member in members {
            let known = member.name().and_then(|name| self.get(name));
            let known = known.unwrap_or(&unknown);
            surplus = surplus.saturating_add(known.surplus);
            let resolved = known.addresses.iter();
            let resolved = resolved.map(|ip| SocketAddr::new(*ip, member.at.port));
            for addr in literal(&member.at).into_iter().chain(resolved) {
                // IPv4 written as IPv6 is IPv4, also to the loop guard.
                let addr = match addr.ip().to_canonical() {
                    IpAddr::V4(ip) => SocketAddr::new(ip.into(), addr.port()),
                    IpAddr::V6(_) => addr,
                };
                if found.insert(addr) && endpoints.len() < MAX_ENDPOINTS {
                    endpoints.push(Endpoint {
                        addr,
                        name: member.to_string(),
                        priority: member.priority,
                        weight: member.weight,
                        drains: member.drains,
                        identity: member.identity.clone(),
                        source: member.source,
                    });
                }
            }
        }
        (endpoints, found.len().saturating_add(surplus))
    }

    /// What is known of a name, if it belongs to a member.
    pub(super) fn get(&self, name: &str) -> Option<&Known> {
        self.0.get(name)
    }

    /// What could not be resolved the last time, and why.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let problem = |(name, known): (&String, &Known)| {
            let reason = known.failure.as_deref()?;
            let count = known.addresses.len();
            let (message, field, used) = if known.is_part {
                (PART, "addresses_used", part_in_use(count))
            } else {
                let message = "cannot resolve endpoint, will try again";
                (message, "addresses_kept", String::new())
            };
            Some(Problem {
                subject: Subject::Host(name.clone()),
                message,
                fields: vec![
                    ("host", name.as_str().into()),
                    ("error", reason.into()),
                    (field, count.into()),
                ],
                // Another reason is not worth another line.
                detail: message.to_owned(),
                shown: vec![format!("{name}: {reason}{used}")],
            })
        };
        self.0.iter().filter_map(problem).collect()
    }
}

/// As many addresses of an answer as are ever used, and how many more it had: a name may have thousands in
/// one reply, and so may each name of a list.
fn bounded(mut answer: dns::Resolved<IpAddr>) -> (dns::Resolved<IpAddr>, usize) {
    // Servers shuffle their answers; the same addresses must be the same endpoints.
    answer.data.sort_unstable();
    let surplus = answer.data.len().saturating_sub(MAX_ENDPOINTS);
    answer.data.truncate(MAX_ENDPOINTS);
    answer.data.shrink_to_fit();
    (answer, surplus)
}

impl Known {
    fn learn(&mut self, (answer, surplus): (dns::Resolved<IpAddr>, usize), outcome: &mut Outcome) {
        if let Some(error) = answer.conflict_with(self.owner.as_ref()) {
            return self.fail(error.to_string(), false, outcome);
        }
        let is_part = answer.is_part();
        let mut addresses = answer.data;
        outcome.add(answer.ttl);
        if let Some(bad) = addresses.iter().find(|ip| is_not_a_host(ip)) {
            let reason = format!("the answer has {bad}, which is not the address of a host");
            return self.fail(reason, false, outcome);
        }
        let is_known_whole = !self.addresses.is_empty() && !self.is_part;
        if let Some(error) = &answer.missing
            && is_part
            && is_known_whole
        {
            // What is known is better.
            return self.fail(error.to_string(), false, outcome);
        }
        // Of a part it is not known what it lacks.
        outcome.inconclusive |= is_part;
        if answer.missing.is_some() && !is_part && answer.owner == self.owner {
            // Only one family was answered: of the other the old addresses stay, if they are of
            // the same name and not of another one of the search list.
            let new = addresses.clone();
            let other = |old: &&IpAddr| new.iter().all(|new| new.is_ipv4() != old.is_ipv4());
            addresses.extend(self.addresses.iter().filter(other));
        }
        *self = Self {
            addresses,
            surplus,
            is_part,
            owner: answer.owner,
            failure: None,
        };
        if let Some(error) = answer.missing {
            self.fail(error.to_string(), false, outcome);
        }
    }

    fn fail(&mut self, reason: String, is_definite: bool, outcome: &mut Outcome) {
        outcome.complete = false;
        outcome.certain &= is_definite;
        self.failure = Some(reason);
    }
}

/// Whether no host can have an address. A connection to 0.0.0.0, which is what some resolvers
/// answer for names that they block, reaches this very host.
fn is_not_a_host(ip: &IpAddr) -> bool {
    let ip = ip.to_canonical();
    ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(addresses: &[&str]) -> dns::Resolved<IpAddr> {
        dns::Resolved {
            data: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            owner: None,
            earlier_failure: None,
            ttl: Duration::from_secs(60),
            missing: None,
        }
    }

    #[test]
    fn an_answer_with_an_address_that_no_host_can_have_changes_nothing() {
        for sink in [
            "0.0.0.0",
            "::",
            "::ffff:0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "ff02::1",
        ] {
            let mut known = Known::default();
            let mut outcome = Outcome::NOTHING_ASKED;
            let learn = |known: &mut Known, texts: &[&str], outcome: &mut Outcome| {
                known.learn(bounded(answer(texts)), outcome);
            };
            learn(&mut known, &["10.0.0.2", "10.0.0.1"], &mut outcome);
            let good = known.addresses.clone();
            assert_eq!(good, answer(&["10.0.0.1", "10.0.0.2"]).data, "in one order");
            assert!(outcome.complete);
            learn(&mut known, &["10.0.0.3", sink], &mut outcome);
            assert_eq!(known.addresses, good, "{sink}");
            assert!(!outcome.complete, "{sink}");
            learn(&mut known, &["10.0.0.3"], &mut outcome);
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
            let first = dns::Resolved {
                owner: owner("m.a.test"),
                ..answer(&["10.0.0.1", "fd00::1"])
            };
            known.learn(bounded(first), &mut Outcome::NOTHING_ASKED.clone());
            let second = dns::Resolved {
                owner: owner(later),
                missing: Some(dns::Error {
                    owner: "m.".to_owned(),
                    qtype: dns::record::Type::AAAA,
                    server: None,
                    class: dns::Class::Timeout,
                    negative_ttl: None,
                }),
                ..answer(&["10.0.0.2"])
            };
            known.learn(bounded(second), &mut Outcome::NOTHING_ASKED.clone());
            assert_eq!(known.addresses, answer(expected).data);
        }
    }

    #[test]
    fn a_huge_answer_is_bounded() {
        let all: Vec<IpAddr> = (0..5000_u32)
            .map(|n| IpAddr::from(n.to_be_bytes()))
            .collect();
        let data = all.iter().rev().copied().collect();
        let large = dns::Resolved {
            data,
            ..answer(&[])
        };
        let (kept, surplus) = bounded(large);
        assert_eq!(kept.data, all[..MAX_ENDPOINTS], "whatever the order");
        assert!(kept.data.capacity() < 2 * MAX_ENDPOINTS);
        assert_eq!(surplus, 5000 - MAX_ENDPOINTS);
    }
}
