//! What there is to begin with: for a start, which needs an endpoint that may serve, and for somebody
//! who only looks; and why there is nothing, if so, and what to do about it.

use std::fmt;
use std::time::Duration;

use super::member::Member;
use super::members::endpoints;
use super::reauthenticate::authenticate_all;
use super::{Discovery, PATIENCE, Source};
use crate::endpoint::slots::Slots;
use crate::endpoint::{Endpoint, Gate, Proof};

/// How long a start with configured names waits for them: there may be others that
/// serve meanwhile.
const START_PATIENCE: Duration = Duration::from_secs(5);

/// What a look at the source found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) endpoints: Vec<Endpoint>,
    /// Why there are none, if there are none.
    pub(crate) nothing: Option<String>,
    /// Members that are not used because they speak no TLS.
    pub(crate) insecure: Vec<String>,
    /// Names that have no address, or not all of them, and why.
    pub(crate) unresolved: Vec<String>,
    /// That there is more than is used.
    pub(crate) surplus: Vec<String>,
}

/// What a start begins with.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) endpoints: Vec<Endpoint>,
    /// Those that have proven who they are, and by what.
    pub(crate) proven: Vec<(Endpoint, Proof)>,
}

/// Discovery gave no endpoint that may serve, and nothing else was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NothingFound(String);

impl fmt::Display for NothingFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NothingFound {}

impl Discovery {
    /// The endpoints that there are, for somebody who only looks.
    pub(crate) fn find(&mut self) -> Found {
        let (endpoints, _) = self.refresh(PATIENCE);
        let mut unresolved = match &self.source {
            Source::Srv { services, .. } => services.failures(),
            Source::List(_) | Source::File { .. } => Vec::new(),
        };
        unresolved.extend(self.hosts.failures());
        let mut surplus = Vec::new();
        if let Source::Srv { services, .. } = &self.source {
            surplus.extend(services.surplus().map(|(_, text)| text));
        }
        surplus.extend(self.surplus());
        Found {
            nothing: endpoints.is_empty().then(|| self.nothing_found()),
            endpoints,
            insecure: self.insecure(),
            unresolved,
            surplus,
        }
    }

    /// Why there is no endpoint, and what to do about it.
    pub(super) fn nothing_found(&self) -> String {
        let services = match &self.source {
            Source::Srv { services, .. } => services,
            Source::List(_) => return self.no_address("--endpoints"),
            Source::File { file, .. } => {
                return self.no_address(&file.place().path().display().to_string());
            }
        };
        let unresolved = |member: &Member| {
            let reason = self.hosts.failure(member.name()?)?;
            Some(format!("{member}: {reason}"))
        };
        let (members, _) = services.members();
        let unresolved: Vec<String> = members.iter().filter_map(unresolved).collect();
        if unresolved.is_empty() {
            return services.nothing_found();
        }
        format!(
            "no endpoint found: what {} names has no address: {}; publish the addresses of these names",
            services.owners().join(" and "),
            unresolved.join("; ")
        )
    }

    fn no_address(&self, list: &str) -> String {
        format!(
            "no endpoint found: no name in {list} has an address: {}; correct the names, or see that \
             the servers in /etc/resolv.conf know them",
            self.hosts.failures().join("; ")
        )
    }

    /// The endpoints that serve if no others may.
    pub(crate) fn fallback(&self) -> Vec<Endpoint> {
        endpoints(self.source.fallback(), &self.hosts).0
    }

    /// The endpoints to start with; those that have to prove who they are have been asked,
    /// all at the same time and each within `timeout`.
    ///
    /// # Errors
    /// If none of them may serve, but for a list whose names cannot be resolved: that is
    /// logged and tried again.
    pub(crate) fn start(
        &mut self,
        gate: Option<&dyn Gate>,
        timeout: Duration,
    ) -> Result<Start, NothingFound> {
        let patience = if self.source.is_listed() {
            START_PATIENCE
        } else {
            PATIENCE
        };
        let (mut endpoints, freshness) = self.refresh(patience);
        self.has_found = !endpoints.is_empty();
        // Nobody else asks yet.
        let slots = Slots::default();
        let (mut proven, mut refused) = authenticate_all(&endpoints, gate, &slots, timeout);
        let free =
            |endpoints: &[Endpoint]| endpoints.iter().any(|endpoint| endpoint.identity.is_none());
        if !free(&endpoints) && proven.is_empty() {
            let found = endpoints.len();
            self.fall_back(&mut endpoints);
            let others = endpoints.get(found..).unwrap_or_default();
            let (more_proven, more_refused) = authenticate_all(others, gate, &slots, timeout);
            proven.extend(more_proven);
            refused.extend(more_refused);
        }
        self.report(|_| false);
        self.plan(freshness, false);
        self.refreshes.add(freshness.complete);
        let patient = self.source.is_listed() && !self.source.authenticates();
        if endpoints.is_empty() && !patient {
            return Err(NothingFound(self.nothing_found()));
        }
        if !free(&endpoints) && proven.is_empty() && !endpoints.is_empty() {
            return Err(NothingFound(format!(
                "no endpoint could be authenticated: {}",
                refused.join("; ")
            )));
        }
        Ok(Start { endpoints, proven })
    }
}
