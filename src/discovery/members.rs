//! The members that the operator or DNS names, and the endpoints that they are.
//!
//! A list, the list in a file, or SRV records name them; each address of each member is an endpoint.
//! Only a good answer changes anything: what cannot be learned again stays as it was.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use super::endpoints_file::EndpointsFile;
use super::member::{Identity, MAX_ENDPOINTS, Member};
use super::polled::{FileError, Polled};
use super::problems::{Line, Problem, Subject, texts};
use super::resolved::ResolvedHosts;
use super::schedule::{Outcome, resolver_interval};
use super::srv::Services;
use crate::dns::Resolver;
use crate::endpoint::Endpoint;
use crate::log;
use crate::times::Times;

/// Where members are named, and what was learned of them last.
#[derive(Debug)]
pub(crate) struct Members {
    /// Those of `--endpoints`, or of the last good list in the file. Beside SRV records they serve as long
    /// as the records give no member that may serve, and there may be none.
    listed: Vec<Member>,
    file: Option<Polled<EndpointsFile>>,
    srv: Option<Services>,
    hosts: ResolvedHosts,
}

impl Members {
    /// A list of the command line.
    pub(crate) fn listed(listed: Vec<Member>) -> Self {
        Self {
            listed,
            file: None,
            srv: None,
            hosts: ResolvedHosts::default(),
        }
    }

    /// The list in a file, and warnings about it.
    ///
    /// # Errors
    /// If the file cannot be used.
    pub(crate) fn in_file(
        path: &Path,
        identity: Identity,
    ) -> Result<(Self, Vec<String>), FileError> {
        let (file, listed, warnings) = Polled::open(EndpointsFile::new(path, identity))?;
        let members = Self {
            file: Some(file),
            ..Self::listed(listed)
        };
        Ok((members, warnings))
    }

    /// SRV records of a domain, `--discovery-srv` and `--discovery-srv-name`. Every member has to prove
    /// `identity`; `None` takes them as they are. The `fallback` may be empty.
    pub(crate) fn in_dns(
        domain: &str,
        name: &str,
        identity: Option<String>,
        fallback: Vec<Member>,
    ) -> Self {
        Self {
            srv: Some(Services::new(domain, name, identity)),
            ..Self::listed(fallback)
        }
    }

    /// Uses the list that is in the file now; a bad one changes nothing. True if it is another one.
    pub(super) fn poll_file(&mut self, asked: bool) -> bool {
        let Some(file) = &mut self.file else {
            return false;
        };
        let was_bad = file.error().is_some();
        let Some(Ok((listed, warnings))) = file.poll(asked) else {
            return false;
        };
        let path = file.files().path();
        if was_bad && listed == self.listed {
            log::info(
                "discovery",
                "endpoints file is usable again, its list has not changed",
                &[("file", path.into())],
            );
            return false;
        }
        for warning in warnings {
            log::warn("discovery", &warning, &[]);
        }
        self.listed = listed;
        log::info(
            "discovery",
            "endpoints file has changed, using its list",
            &[
                ("file", path.into()),
                ("endpoints", self.listed.len().into()),
            ],
        );
        true
    }

    /// Resolves everything again, for at most `patience`.
    pub(super) fn look_up(
        &mut self,
        resolver: &Resolver,
        patience: Duration,
    ) -> (Vec<Endpoint>, Outcome) {
        let deadline = Instant::now() + patience;
        let mut outcome = Outcome::NOTHING_ASKED;
        if let Some(services) = &mut self.srv {
            // Half of the time is for the addresses: a service without an answer must not
            // use it up.
            let deadline = deadline.checked_sub(patience / 2).unwrap_or(deadline);
            services.refresh(resolver, deadline, &self.hosts, &mut outcome);
        }
        let members = self.current();
        let all = [members.as_slice(), self.fallback()].concat();
        self.hosts.refresh(resolver, &all, deadline, &mut outcome);
        let (endpoints, found) = self.hosts.endpoints(&members);
        outcome.found = found;
        (endpoints, outcome)
    }

    /// The members that are named now and that may serve.
    pub(crate) fn current(&self) -> Vec<Member> {
        match &self.srv {
            Some(services) => services.members().0,
            None => self.listed.clone(),
        }
    }

    /// The members that serve if no others may.
    pub(super) fn fallback(&self) -> &[Member] {
        match &self.srv {
            Some(_) => &self.listed,
            None => &[],
        }
    }

    /// The endpoints of these members, and how many there are, which may be more than are used.
    pub(super) fn fallback_endpoints(&self) -> (Vec<Endpoint>, usize) {
        self.hosts.endpoints(self.fallback())
    }

    /// Members that records name and that may not serve, because they do not use TLS.
    pub(super) fn insecure(&self) -> Vec<String> {
        let members = self.srv.as_ref().map(|services| services.members().1);
        let members = members.into_iter().flatten();
        members.map(|member| member.to_string()).collect()
    }

    /// Whether the operator names the members, rather than DNS.
    pub(super) fn are_listed(&self) -> bool {
        self.srv.is_none()
    }

    /// The names of the members that the operator lists, if the operator does.
    pub(super) fn listed_names(&self) -> Option<HashSet<String>> {
        let names = || self.listed.iter().map(Member::to_string).collect();
        self.are_listed().then(names)
    }

    /// Whether any member has something to prove, also of those that records may name later.
    pub(crate) fn authenticates(&self) -> bool {
        let proves = |member: &Member| member.identity.is_some();
        let services = self.srv.as_ref().is_some_and(Services::authenticates);
        services || self.listed.iter().any(proves)
    }

    /// Whether anything has to be looked up now.
    pub(super) fn has_names(&self) -> bool {
        self.srv.is_some() || self.listed.iter().any(|member| member.name().is_some())
    }

    /// Whether names may have to be looked up, also those of a later list in the file.
    pub(crate) fn may_have_names(&self) -> bool {
        self.file.is_some() || self.has_names()
    }

    /// Whether the address of a member depends on an interface of this host.
    pub(super) fn has_zones(&self) -> bool {
        self.listed.iter().any(|member| member.zone().is_some())
    }

    /// Where the file is, if there is one.
    pub(super) fn file(&self) -> Option<String> {
        self.file.as_ref().map(|file| file.files().path())
    }

    /// How long after the last poll of files the next is due; `None`: never, for no file has a say.
    pub(super) fn poll_interval(&self, times: &Times) -> Option<Duration> {
        match &self.file {
            Some(file) => Some(file.interval(times)),
            None => self.has_names().then(|| resolver_interval(times)),
        }
    }

    /// That the file is not used as it is now, if so.
    pub(super) fn file_problem(&self) -> Option<Problem> {
        self.file.as_ref()?.problem(
            Subject::EndpointsFile,
            "endpoints file is not usable, keeping the last good list",
            ("endpoints_kept", self.listed.len().into()),
            "the last good list stays in use",
        )
    }

    /// What is wrong with what the last lookup found, among which this number of endpoints.
    pub(super) fn problems(&self, found: usize) -> Vec<Problem> {
        let mut problems = self.srv.as_ref().map_or_else(Vec::new, Services::problems);
        problems.extend(self.hosts.problems());
        if found > MAX_ENDPOINTS {
            let shown = format!("{found} endpoints are found, of which {MAX_ENDPOINTS} are used");
            problems.push(Problem {
                subject: Subject::Endpoints,
                message: "too many endpoints; ignoring the rest",
                fields: vec![("found", found.into()), ("used", MAX_ENDPOINTS.into())],
                detail: found.to_string(),
                shown: vec![shown],
            });
        }
        problems
    }

    /// That the fallback serves, and why.
    pub(super) fn fallback_problem(&self, reason: &str) -> Problem {
        let text = "SRV records give no endpoint that may serve, using --endpoints until they do";
        let mut shown = vec![text.to_owned()];
        shown.extend(self.srv.iter().flat_map(Services::empty));
        Problem {
            subject: Subject::Fallback,
            message: "SRV records give no endpoint; using --endpoints until they do",
            fields: vec![("reason", reason.into())],
            detail: String::new(),
            shown,
        }
    }

    /// The line for the end of a problem, if there is to be one.
    pub(super) fn recovery(&self, problem: &Problem) -> Option<Line> {
        match (&problem.subject, &self.srv) {
            // The poll has logged what is used now.
            (Subject::EndpointsFile, _) => None,
            (Subject::Service(index), Some(services)) => services.recovery(*index),
            (Subject::Host(name), _) if self.hosts.get(name).is_some() => {
                let fields = vec![("host", name.as_str().into())];
                Some(("resolved endpoint again", fields))
            }
            _ => Some(problem.over()),
        }
    }

    /// Why there is no endpoint, and what to do about it.
    pub(super) fn nothing_found(&self) -> String {
        let Some(services) = &self.srv else {
            let list = self.file().unwrap_or_else(|| "--endpoints".to_owned());
            let reasons = texts(&self.hosts.problems(), |_| true).join("; ");
            return format!(
                "no endpoint found: no name in {list} has an address: {reasons}; correct the names, or see \
                 that the servers in /etc/resolv.conf know them"
            );
        };
        let unresolved = |member: &Member| {
            let reason = self.hosts.get(member.name()?)?.failure.as_ref()?;
            Some(format!("{member}: {reason}"))
        };
        let unresolved: Vec<String> = self.current().iter().filter_map(unresolved).collect();
        if unresolved.is_empty() {
            return services.nothing_found();
        }
        format!(
            "no endpoint found: the targets of {} have no address: {}; publish the addresses of these names",
            services.owners(),
            unresolved.join("; ")
        )
    }
}
