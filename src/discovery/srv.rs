//! SRV records of etcd clients (RFC 2782): which names hold them, which members they name, and what to tell an
//! operator when they name none.
//!
//! The names are those of the reference: `_etcd-client-ssl._tcp.DOMAIN` for members that use
//! TLS and `_etcd-client._tcp.DOMAIN` for those that do not, with `-NAME` behind
//! the service if `--discovery-srv-name` is given. A domain that begins with an
//! underscore is such a name already and is asked as it stands: most Kubernetes charts
//! call the port `client`. Only an answer with records replaces what is known, but for one
//! case: that a name has no records any more is believed while the other one names members.
//! Otherwise members that move from one to the other would stay under both.

use std::time::{Duration, Instant};

use super::member::Member;
use super::parallel::parallel_map;
use super::problems::{Line, Problem, Subject};
use super::resolved::{PART, ResolvedHosts, part_in_use};
use super::schedule::Outcome;
use crate::addr::{Host, HostPort};
use crate::dns::name::Name;
use crate::dns::record::Srv;
use crate::dns::{self, Resolver};
use crate::endpoint::Source;
use crate::log;

/// The most members that are used: far more than any cluster has, and few enough to resolve all their
/// names.
const MAX_TARGETS: usize = 256;

/// Why a record that promises no TLS is not used.
pub(crate) const INSECURE: &str = "an _etcd-client record says that it speaks no TLS, so it cannot be authenticated \
                        (--insecure-discovery would use it)";

/// One name with SRV records.
#[derive(Debug)]
struct Service {
    owner: String,
    /// Its members say that they do not use TLS, so that nothing about them can be verified.
    is_plain: bool,
    /// The last answer that had records.
    records: Vec<Srv>,
    /// The name that had them, completed from the search list.
    completed: Option<Name>,
    /// They are a part of an answer: none was ever whole.
    is_part: bool,
    /// Why the last lookup gave none, or a part only.
    failure: Option<dns::Error>,
    /// The last lookup showed that it has no records any more.
    is_forgotten: bool,
}

/// The services of a domain.
#[derive(Debug)]
pub(crate) struct Services {
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
        let suffix = match name {
            "" => String::new(),
            name => format!("-{name}"),
        };
        let owners = if domain.starts_with('_') {
            vec![(domain.to_owned(), false)]
        } else {
            let tls = format!("_etcd-client-ssl{suffix}._tcp.{domain}");
            let plain = format!("_etcd-client{suffix}._tcp.{domain}");
            vec![(tls, false), (plain, true)]
        };
        let service = |(owner, is_plain)| Service {
            owner,
            is_plain,
            records: Vec::new(),
            completed: None,
            is_part: false,
            failure: None,
            is_forgotten: false,
        };
        Self {
            identity,
            services: owners.into_iter().map(service).collect(),
        }
    }

    /// Asks for the records of all services in parallel, until `deadline`. The addresses of their
    /// members are taken from `hosts`.
    pub(super) fn refresh(
        &mut self,
        resolver: &Resolver,
        deadline: Instant,
        hosts: &ResolvedHosts,
        outcome: &mut Outcome,
    ) {
        let answers = parallel_map(&self.services, |service| {
            resolver.lookup_srv(&service.owner, deadline)
        });
        // Whether one certainly names a member that may serve and has an address.
        let mut serves = false;
        for (service, answer) in self.services.iter_mut().zip(answers) {
            let is_certain = matches!(&answer, Ok(answer) if answer.earlier_failure.is_none() && !answer.is_part());
            service.is_forgotten = false;
            match answer {
                Ok(answer) => service.learn(answer, outcome),
                Err(error) => service.fail(error, outcome),
            }
            let may_serve = self.identity.is_none() || !service.is_plain;
            let has_address = |record: &Srv| {
                let known = hosts.get(&host(record));
                known.is_some_and(|known| !known.addresses.is_empty())
            };
            serves |= may_serve && is_certain && service.targets().any(has_address);
        }
        if serves {
            self.services.iter_mut().for_each(Service::forget_if_gone);
        }
        let is_answered = self.services.iter().all(|one| one.trouble().is_none());
        outcome.complete &= is_answered;
        outcome.certain &= is_answered;
    }

    /// Whether members have to prove who they are.
    pub(super) fn authenticates(&self) -> bool {
        self.identity.is_some()
    }

    /// The members that are used, in order of priority; of equal ones those that use TLS first. Where
    /// they are authenticated, those that say that they do not use TLS cannot prove anything: they are
    /// returned separately, unless another record says that they do use it.
    pub(super) fn members(&self) -> (Vec<Member>, Vec<Member>) {
        let mut named = self.named();
        // Servers shuffle their answers; the same records must be the same endpoints.
        named.sort_by_cached_key(|(_, member)| {
            let host = member.name().map(str::to_owned);
            let weight = std::cmp::Reverse(member.weight);
            (member.priority, host, member.at.port, weight)
        });
        named.truncate(MAX_TARGETS);
        let (mut members, mut insecure) = (Vec::new(), Vec::new());
        for (is_plain, member) in named {
            match self.authenticates() && is_plain {
                true => insecure.push(member),
                false => members.push(member),
            }
        }
        insecure.retain(|plain: &Member| members.iter().all(|member| member.at != plain.at));
        (members, insecure)
    }

    /// The members that the records name, and whether they say that they do not use TLS.
    fn named(&self) -> Vec<(bool, Member)> {
        let member = |record: &Srv| Member {
            at: HostPort {
                host: Host::Name(host(record)),
                port: record.port,
            },
            priority: record.priority,
            weight: record.weight,
            drains: false,
            identity: self.identity.clone(),
            source: Source::Srv,
        };
        let services = self.services.iter();
        let named = services.flat_map(|service| {
            let members = service.targets().map(member);
            members.map(|member| (service.is_plain, member))
        });
        named.collect()
    }

    /// The names that have records.
    pub(super) fn owners(&self) -> String {
        let services = self.services.iter();
        let with_records = services.filter(|service| !service.records.is_empty());
        let owners: Vec<&str> = with_records.map(|one| one.owner.as_str()).collect();
        owners.join(" and ")
    }

    /// What is wrong with the records and the members that they name.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let services = self.services.iter().enumerate();
        let mut problems: Vec<Problem> = services
            .filter_map(|(index, service)| service.problem(Subject::Service(index)))
            .collect();
        let (_, insecure) = self.members();
        if !insecure.is_empty() {
            let names: Vec<String> = insecure.iter().map(Member::to_string).collect();
            let shown = names.iter().map(|name| format!("{name}: {INSECURE}"));
            problems.push(Problem {
                subject: Subject::Insecure,
                message: "members without TLS are ignored",
                detail: names.join(" "),
                shown: shown.collect(),
                fields: vec![("members", names.into())],
            });
        }
        let found = self.named().len();
        if found > MAX_TARGETS {
            let owners = self.owners();
            let text = format!("{found} members are named, of which {MAX_TARGETS} are used");
            problems.push(Problem {
                subject: Subject::Targets,
                message: "too many SRV records; ignoring the rest",
                fields: vec![("found", found.into()), ("used", MAX_TARGETS.into())],
                detail: found.to_string(),
                shown: vec![format!("{owners}: {text}")],
            });
        }
        problems
    }

    /// The line for the end of a problem with a service; none if it has been logged that the records no longer exist.
    pub(super) fn recovery(&self, index: usize) -> Option<Line> {
        let service = self.services.get(index);
        let service = service.filter(|service| !service.is_forgotten)?;
        let fields = vec![
            ("name", service.owner.as_str().into()),
            ("records", service.records.len().into()),
        ];
        Some(("SRV lookup works again", fields))
    }

    /// Why services that have not failed name no member.
    pub(super) fn empty(&self) -> impl Iterator<Item = String> {
        let is_empty = |service: &&Service| {
            let has_members = service.failure.is_none() && service.targets().next().is_some();
            service.trouble().is_none() && !has_members
        };
        self.services.iter().filter(is_empty).map(Service::reason)
    }

    /// Why there is no member, name by name, and what to do about it. Where members are
    /// authenticated, those that do not use TLS do not count.
    pub(super) fn nothing_found(&self) -> String {
        let mut services = self.services.iter();
        if let Some(service) =
            services.find(|one| self.authenticates() && one.is_plain && !one.records.is_empty())
        {
            return format!(
                "no endpoint found: only {} has records, and it says that members speak no TLS, so that none can \
                 prove who it is; publish them under _etcd-client-ssl, or accept the risk with \
                 --insecure-discovery",
                service.owner
            );
        }
        let reasons: Vec<String> = self.services.iter().map(Service::reason).collect();
        let failures = self.services.iter().filter_map(|one| one.failure.as_ref());
        let remedy = if failures.into_iter().any(|error| !error.class.is_definite()) {
            "see that the servers in /etc/resolv.conf answer"
        } else if self.services.len() == 1 {
            "publish SRV records under this name, or correct it"
        } else {
            "publish SRV records under one of these names, or give the name that has them: \
             --discovery-srv=_SERVICE._tcp.DOMAIN"
        };
        format!("no endpoint found: {}; {remedy}", reasons.join("; "))
    }
}

impl Service {
    /// The records that name members.
    fn targets(&self) -> impl Iterator<Item = &Srv> {
        self.records.iter().filter(|record| names_member(record))
    }

    fn learn(&mut self, answer: dns::Resolved<Srv>, outcome: &mut Outcome) {
        if let Some(error) = answer.conflict_with(self.completed.as_ref()) {
            return self.fail(error.clone(), outcome);
        }
        let is_part = answer.is_part();
        if is_part && !self.records.is_empty() && !self.is_part {
            // What is known is better.
            self.failure = answer.missing;
            return;
        }
        // Of a part it is not known what it lacks.
        outcome.inconclusive |= is_part;
        outcome.add(answer.ttl);
        self.completed = answer.owner;
        self.records = answer.data;
        self.is_part = is_part;
        self.failure = answer.missing;
    }

    fn fail(&mut self, error: dns::Error, outcome: &mut Outcome) {
        // RFC 2308: the negative answer is valid for this time, and no longer.
        if let Some(ttl) = error.negative_ttl.filter(|_| error.class.is_definite()) {
            outcome.add(Duration::from_secs(ttl.into()));
        }
        self.failure = Some(error);
    }

    /// Forgets the records of a service if the last answer was that it has none any more.
    fn forget_if_gone(&mut self) {
        let is_gone = |error: &&dns::Error| error.class.is_definite() && !self.records.is_empty();
        let Some(error) = self.failure.as_ref().filter(is_gone) else {
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
        self.completed = None;
        self.is_forgotten = true;
    }

    /// Why the last lookup did not give what it should have given, if so. A domain usually has one of the two
    /// services: that the other has never had records is not a failure.
    fn trouble(&self) -> Option<&dns::Error> {
        let failure = self.failure.as_ref();
        failure.filter(|error| !self.records.is_empty() || !error.class.is_definite())
    }

    fn problem(&self, subject: Subject) -> Option<Problem> {
        let (error, count) = (self.trouble()?, self.records.len());
        let (message, field) = match self.is_part {
            true => (PART, "records_used"),
            false => ("SRV lookup failed, will try again", "records_kept"),
        };
        let used = match (self.is_part, count) {
            (true, _) => part_in_use(count),
            (false, 0) => String::new(),
            (false, _) => format!("; records that stay in use: {count}"),
        };
        Some(Problem {
            subject,
            message,
            fields: vec![("error", error.to_string().into()), (field, count.into())],
            detail: format!("{message} {}", error.class),
            shown: vec![format!("{error}{used}")],
        })
    }

    fn reason(&self) -> String {
        let (owner, count) = (&self.owner, self.records.len());
        match &self.failure {
            Some(error) => error.to_string(),
            None if self.records.iter().all(|record| record.target.is_root()) => {
                format!("SRV {owner}: says that the service is not available (target \".\")")
            }
            None => format!("SRV {owner}: {count} records, none with an address"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_names_are_those_of_the_reference() {
        type Owners = &'static [(&'static str, bool)];
        let cases: &[(&str, &str, Owners)] = &[
            (
                "example.com",
                "",
                &[
                    ("_etcd-client-ssl._tcp.example.com", false),
                    ("_etcd-client._tcp.example.com", true),
                ],
            ),
            (
                "example.com.",
                "blue",
                &[
                    ("_etcd-client-ssl-blue._tcp.example.com.", false),
                    ("_etcd-client-blue._tcp.example.com.", true),
                ],
            ),
            (
                "_client._tcp.etcd-headless.default.svc.cluster.local",
                "blue",
                &[(
                    "_client._tcp.etcd-headless.default.svc.cluster.local",
                    false,
                )],
            ),
        ];
        for (domain, name, expected) in cases {
            let services = Services::new(domain, name, None);
            let owners: Vec<_> = services
                .services
                .iter()
                .map(|service| (service.owner.as_str(), service.is_plain))
                .collect();
            assert_eq!(owners, *expected);
        }
    }
}
