//! SRV records of etcd clients (RFC 2782): which names hold them, what they say, and what
//! to tell an operator when they say nothing.
//!
//! The names are those of the reference: `_etcd-client-ssl._tcp.DOMAIN` for members that
//! speak TLS and `_etcd-client._tcp.DOMAIN` for those that do not, with `-NAME` behind
//! the service if `--discovery-srv-name` is given. A domain that begins with an
//! underscore is such a name already and is asked as it stands: most Kubernetes charts
//! call the port `client`. Only an answer with records replaces what is known, but for one
//! case: that a name has no records any more is believed while the other one names members.
//! Otherwise members that move from one to the other would stay under both for ever.

use std::time::{Duration, Instant};

use crate::addr::{Host, HostPort};
use crate::dns::name::Name;
use crate::dns::record::Srv;
use crate::dns::{self, Resolver};
use crate::endpoint::Source;
use crate::log;

use super::member::Member;
use super::parallel_map;
use super::resolved::{Freshness, ResolvedHosts};

/// What the name of a service promises of its members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// `_etcd-client-ssl`: they speak TLS.
    Https,
    /// `_etcd-client`: they do not, so that nothing about them can be verified.
    Http,
    /// A name given verbatim promises nothing.
    Unstated,
}

/// The most members that records may name: far above any cluster, and no invitation to ask for
/// thousands of names.
pub(super) const MAX_TARGETS: usize = 256;

/// One name with SRV records, followed.
#[derive(Debug)]
struct Service {
    owner: String,
    scheme: Scheme,
    /// The last answer that had records.
    records: Vec<Srv>,
    /// The name that had them, completed from the search list.
    found: Option<Name>,
    /// They are a part of an answer: none was ever whole.
    is_part: bool,
    /// Why the last lookup gave none, or a part only.
    failure: Option<dns::Error>,
    /// The last lookup gave records, and no other name of the search list may have the right ones.
    certain: bool,
    /// Since the last lookup it is believed to have none any more.
    forgotten: bool,
}

/// The services of a domain.
#[derive(Debug)]
pub(crate) struct Services {
    domain: String,
    /// The name that every member has to prove; `None` takes them as they are.
    identity: Option<String>,
    services: Vec<Service>,
}

/// RFC 2782: a target of "." says that the service is decidedly not available at this domain.
/// Nothing listens on port 0.
fn names_member(record: &Srv) -> bool {
    !record.target.is_root() && record.port != 0
}

/// The name to resolve, absolute.
fn host(record: &Srv) -> String {
    record.target.to_string().to_ascii_lowercase()
}

impl Services {
    /// The services of `domain`, whose members have to prove `identity`; `name` is the value of
    /// `--discovery-srv-name`, or empty.
    pub(crate) fn new(domain: &str, name: &str, identity: Option<String>) -> Self {
        let service = |owner, scheme| Service {
            owner,
            scheme,
            records: Vec::new(),
            found: None,
            is_part: false,
            failure: None,
            certain: false,
            forgotten: false,
        };
        let suffix = if name.is_empty() {
            String::new()
        } else {
            format!("-{name}")
        };
        let services = if domain.starts_with('_') {
            vec![service(domain.to_owned(), Scheme::Unstated)]
        } else {
            vec![
                service(
                    format!("_etcd-client-ssl{suffix}._tcp.{domain}"),
                    Scheme::Https,
                ),
                service(format!("_etcd-client{suffix}._tcp.{domain}"), Scheme::Http),
            ]
        };
        Self {
            domain: domain.to_owned(),
            identity,
            services,
        }
    }

    /// Asks for the records of all services, side by side, until `deadline`. What their names
    /// resolve to is taken from `hosts`.
    pub(super) fn refresh(
        &mut self,
        resolver: &Resolver,
        deadline: Instant,
        hosts: &ResolvedHosts,
        freshness: &mut Freshness,
    ) {
        let owners: Vec<&str> = self
            .services
            .iter()
            .map(|service| service.owner.as_str())
            .collect();
        let answers = parallel_map(&owners, |owner| resolver.lookup_srv(owner, deadline));
        for (service, answer) in self.services.iter_mut().zip(answers) {
            service.certain =
                matches!(&answer, Ok(answer) if answer.doubt.is_none() && !answer.is_part());
            service.forgotten = false;
            match answer {
                Ok(answer) => service.learn(answer, freshness),
                Err(error) => service.keep(error, freshness),
            }
        }
        if self
            .services
            .iter()
            .any(|service| self.serves(service, hosts))
        {
            self.services.iter_mut().for_each(Service::believe);
        }
        let is_answered = self.failed().next().is_none();
        freshness.complete &= is_answered;
        freshness.certain &= is_answered;
    }

    /// Whether it is certain that a service names a member that may serve and has an address.
    fn serves(&self, service: &Service, hosts: &ResolvedHosts) -> bool {
        let may_serve = !self.authenticates() || service.scheme != Scheme::Http;
        let records = service.records.iter();
        let mut members = records.filter(|record| names_member(record));
        may_serve
            && service.certain
            && members.any(|record| !hosts.addresses(&host(record)).is_empty())
    }

    /// Whether members have to prove who they are.
    pub(super) fn authenticates(&self) -> bool {
        self.identity.is_some()
    }

    /// The members that are used, in order of priority; of equal ones those that speak TLS first. Where
    /// they are authenticated, those that say of themselves that they speak no TLS cannot prove anything:
    /// they are set apart, but for those that another record says to speak it.
    pub(super) fn members(&self) -> (Vec<Member>, Vec<Member>) {
        let mut named = self.named();
        // Servers shuffle their answers; the same records must be the same endpoints.
        named.sort_by_cached_key(|(_, member)| {
            let host = member.name().map(str::to_owned);
            let weight = std::cmp::Reverse(member.weight);
            (member.priority, host, member.at.port, weight)
        });
        named.truncate(MAX_TARGETS);
        let (plain, others): (Vec<_>, Vec<_>) = named
            .into_iter()
            .partition(|(scheme, _)| self.authenticates() && *scheme == Scheme::Http);
        let members: Vec<Member> = others.into_iter().map(|(_, member)| member).collect();
        let mut plain: Vec<Member> = plain.into_iter().map(|(_, member)| member).collect();
        plain.retain(|plain| members.iter().all(|member| member.at != plain.at));
        (members, plain)
    }

    /// The members that the records name.
    fn named(&self) -> Vec<(Scheme, Member)> {
        let mut members = Vec::new();
        for service in &self.services {
            for record in service.records.iter().filter(|record| names_member(record)) {
                let at = HostPort {
                    host: Host::Name(host(record)),
                    port: record.port,
                };
                let member = Member {
                    at,
                    priority: record.priority,
                    weight: record.weight,
                    drains: false,
                    identity: self.identity.clone(),
                    source: Source::Srv,
                };
                members.push((service.scheme, member));
            }
        }
        members
    }

    /// The names that have records.
    pub(super) fn owners(&self) -> Vec<&str> {
        let with_records = self
            .services
            .iter()
            .filter(|service| !service.records.is_empty());
        with_records.map(|service| service.owner.as_str()).collect()
    }

    /// What was not answered the last time, and why; that there are no records is an answer.
    pub(super) fn failures(&self) -> Vec<String> {
        let failures = self.services.iter().filter_map(|s| s.failure.as_ref());
        let open = failures.filter(|error| !error.class.is_definite());
        open.map(ToString::to_string).collect()
    }

    /// How many members the records name, and what to say of it, if that is more than are used.
    pub(super) fn surplus(&self) -> Option<(usize, String)> {
        let found = self.named().len();
        let surplus = || {
            let owners = self.owners().join(" and ");
            let text =
                format!("{owners}: {found} members are named, of which {MAX_TARGETS} are used");
            (found, text)
        };
        (found > MAX_TARGETS).then(surplus)
    }

    /// The services whose last lookup did not give what it should have given, by their place: why,
    /// how many records are used, and whether they are a part of an answer.
    pub(super) fn failed(&self) -> impl Iterator<Item = (usize, &dns::Error, usize, bool)> {
        let services = self.services.iter().enumerate();
        services.filter_map(|(index, service)| {
            let error = service.trouble()?;
            Some((index, error, service.records.len(), service.is_part))
        })
    }

    /// The name of the service at a place, and how many records it has.
    pub(super) fn service(&self, index: usize) -> (&str, usize) {
        let service = self.services.get(index);
        service.map_or(("", 0), |service| (&service.owner, service.records.len()))
    }

    /// Whether the service at a place is believed, since the last lookup, to have no records any more.
    pub(super) fn is_forgotten(&self, index: usize) -> bool {
        let service = self.services.get(index);
        service.is_some_and(|service| service.forgotten)
    }

    /// Why services that have not failed name no member.
    pub(super) fn empty(&self) -> impl Iterator<Item = String> {
        let empty = |service: &&Service| {
            let named = service.failure.is_none() && service.records.iter().any(names_member);
            service.trouble().is_none() && !named
        };
        self.services.iter().filter(empty).map(Service::reason)
    }

    /// Why there is no member, name by name, and what to do about it. Where members are
    /// authenticated, those that speak no TLS do not count.
    pub(super) fn nothing_found(&self) -> String {
        let plain = |service: &&Service| {
            self.authenticates() && service.scheme == Scheme::Http && !service.records.is_empty()
        };
        if let Some(service) = self.services.iter().find(plain) {
            return format!(
                "no endpoint found: only {} has records, and it says that members speak no TLS, so that none can \
                 prove who it is; publish them under _etcd-client-ssl, or accept the risk with \
                 --insecure-discovery",
                service.owner
            );
        }
        let reasons: Vec<String> = self.services.iter().map(Service::reason).collect();
        let silent = self.services.iter().any(|service| {
            service
                .failure
                .as_ref()
                .is_some_and(|error| !error.class.is_definite())
        });
        let remedy = if silent {
            "see that the servers in /etc/resolv.conf answer"
        } else if self.domain.starts_with('_') {
            "publish SRV records under this name, or correct it"
        } else {
            "publish SRV records under one of these names, or give the name that has them: \
             --discovery-srv=_SERVICE._tcp.DOMAIN"
        };
        format!("no endpoint found: {}; {remedy}", reasons.join("; "))
    }
}

impl Service {
    fn learn(&mut self, answer: dns::Found<Srv>, freshness: &mut Freshness) {
        if let Some(error) = answer.doubt_of(self.found.as_ref()) {
            return self.keep(error.clone(), freshness);
        }
        let is_part = answer.is_part();
        if is_part && !self.records.is_empty() && !self.is_part {
            // What is known is better.
            self.failure = answer.missing;
            return;
        }
        // Of a part it is not known what it lacks.
        freshness.inconclusive |= is_part;
        freshness.add(answer.ttl);
        self.found = answer.owner;
        self.records = answer.data;
        self.is_part = is_part;
        self.failure = answer.missing;
    }

    fn keep(&mut self, error: dns::Error, freshness: &mut Freshness) {
        // RFC 2308: for so long it is certain that there is nothing, and no longer.
        if let Some(ttl) = error.negative_ttl.filter(|_| error.class.is_definite()) {
            freshness.add(Duration::from_secs(ttl.into()));
        }
        self.failure = Some(error);
    }

    /// Forgets the records of a service that was answered to have none any more.
    fn believe(&mut self) {
        let gone = |error: &&dns::Error| error.class.is_definite() && !self.records.is_empty();
        let Some(error) = self.failure.as_ref().filter(gone) else {
            return;
        };
        log::info(
            "discovery",
            "SRV records no longer exist, using those of the other service",
            &[
                ("name", self.owner.as_str().into()),
                ("records", self.records.len().into()),
                ("error", error.to_string().into()),
            ],
        );
        self.records.clear();
        self.is_part = false;
        self.found = None;
        self.forgotten = true;
    }

    /// Why the last lookup did not give what it should have given, if so.
    fn trouble(&self) -> Option<&dns::Error> {
        self.failure
            .as_ref()
            .filter(|error| self.should_have_records(error))
    }

    /// A domain usually has one of the two services: that the other has never had records is not
    /// a failure.
    fn should_have_records(&self, error: &dns::Error) -> bool {
        !self.records.is_empty() || !error.class.is_definite()
    }

    fn reason(&self) -> String {
        match &self.failure {
            Some(error) => error.to_string(),
            None if self.records.iter().all(|record| record.target.is_root()) => {
                format!(
                    "SRV {}: says that the service is not available (target \".\")",
                    self.owner
                )
            }
            None => format!(
                "SRV {}: {} records, none with an address",
                self.owner,
                self.records.len()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_names_are_those_of_the_reference() {
        type Owners = &'static [(&'static str, Scheme)];
        let cases: &[(&str, &str, Owners)] = &[
            (
                "example.com",
                "",
                &[
                    ("_etcd-client-ssl._tcp.example.com", Scheme::Https),
                    ("_etcd-client._tcp.example.com", Scheme::Http),
                ],
            ),
            (
                "example.com.",
                "blue",
                &[
                    ("_etcd-client-ssl-blue._tcp.example.com.", Scheme::Https),
                    ("_etcd-client-blue._tcp.example.com.", Scheme::Http),
                ],
            ),
            (
                "_client._tcp.etcd-headless.default.svc.cluster.local",
                "blue",
                &[(
                    "_client._tcp.etcd-headless.default.svc.cluster.local",
                    Scheme::Unstated,
                )],
            ),
        ];
        for (domain, name, expected) in cases {
            let services = Services::new(domain, name, None);
            let owners: Vec<_> = services
                .services
                .iter()
                .map(|service| (service.owner.as_str(), service.scheme))
                .collect();
            assert_eq!(owners, *expected);
        }
    }
}
