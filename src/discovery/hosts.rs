//! The addresses of names, followed: each name is resolved again and again, and what was
//! known of it stays known for as long as nothing better is.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::dns::{self, Resolver};
use crate::log;

use super::side_by_side;

/// What is known of some names.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    known: HashMap<String, Known>,
}

#[derive(Debug, Default)]
struct Known {
    addresses: Vec<IpAddr>,
    /// The last resolution failed, and that was logged.
    failing: bool,
}

/// How a refresh went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Freshness {
    /// For how long all that was learned stands; `None` if it stands for ever.
    pub(super) ttl: Option<Duration>,
    /// Whether everything that was asked was answered.
    pub(super) complete: bool,
}

impl Freshness {
    /// Before anything was asked.
    pub(super) const TIMELESS: Self = Self {
        ttl: None,
        complete: true,
    };

    /// Adds an answer that stands for `ttl`.
    pub(super) fn add(&mut self, ttl: Duration) {
        self.ttl = Some(self.ttl.map_or(ttl, |known| known.min(ttl)));
    }
}

impl Hosts {
    /// Resolves all `names`, side by side, until `deadline`, and forgets all others.
    pub(super) fn refresh(
        &mut self,
        resolver: &Resolver,
        names: &HashSet<String>,
        deadline: Instant,
        freshness: &mut Freshness,
    ) {
        self.known.retain(|name, _| names.contains(name));
        let names: Vec<&String> = names.iter().collect();
        let answers = side_by_side(&names, |name| resolver.lookup_host(name, deadline));
        for (name, answer) in names.into_iter().zip(answers) {
            let known = self.known.entry(name.clone()).or_default();
            match answer {
                Ok(answer) => known.learn(name, answer, freshness),
                Err(error) => known.keep(name, &error, freshness),
            }
        }
    }

    /// The last addresses that were found for a name.
    pub(super) fn addresses(&self, name: &str) -> &[IpAddr] {
        self.known.get(name).map_or(&[], |known| &known.addresses)
    }
}

impl Known {
    fn learn(&mut self, name: &str, answer: dns::Addresses, freshness: &mut Freshness) {
        let mut addresses = answer.addresses;
        freshness.add(answer.ttl);
        match answer.missing {
            // Only one family was answered: of the other the old addresses stay.
            Some(error) => {
                let other = |address: &IpAddr| {
                    addresses
                        .iter()
                        .all(|new| new.is_ipv4() != address.is_ipv4())
                };
                let kept: Vec<IpAddr> = self.addresses.iter().copied().filter(other).collect();
                addresses.extend(kept);
                self.keep(name, &error, freshness);
            }
            None if self.failing => {
                self.failing = false;
                log::info(
                    "discovery",
                    "resolved endpoint again",
                    &[("host", name.into())],
                );
            }
            None => {}
        }
        // Servers shuffle their answers; the same addresses must be the same endpoints.
        addresses.sort_unstable();
        self.addresses = addresses;
    }

    fn keep(&mut self, name: &str, error: &dns::Error, freshness: &mut Freshness) {
        freshness.complete = false;
        if !self.failing {
            self.failing = true;
            log::warn(
                "discovery",
                "cannot resolve endpoint, will try again",
                &[
                    ("host", name.into()),
                    ("error", error.to_string().into()),
                    ("addresses-kept", self.addresses.len().into()),
                ],
            );
        }
    }
}
