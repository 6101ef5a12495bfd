//! What discovery has trouble with, in words: for as long as it lasts, whoever looks at the running
//! gateway is told. The log tells it when it begins, and when it is over.
//!
//! That an endpoint is down, or has not proven who it is, is no matter of discovery: it is shown
//! with the endpoint.

use super::members::MAX_ENDPOINTS;
use super::srv::Target;
use super::{Discovery, Source};
use crate::endpoint::Endpoint;
use crate::log;

/// Why a record that promises no TLS is not used.
pub(crate) const INSECURE: &str = "an _etcd-client record says that it speaks no TLS, so it cannot be authenticated \
                        (--insecure-discovery would use it)";

impl Discovery {
    /// Shows what there is trouble with now.
    pub(super) fn tell_problems(&self) {
        self.refreshes.set_problems(self.problems());
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        match &self.source {
            Source::List(_) => {}
            Source::File { file, .. } => {
                let refused = file.refused();
                problems.extend(
                    refused.map(|error| format!("{error}; the last good list stays in use")),
                );
            }
            Source::Srv { services, .. } => {
                if self.falling_back {
                    problems.push(
                        "SRV records give no endpoint that may serve, using --endpoints until they do"
                            .to_owned(),
                    );
                }
                problems.extend(services.problems(self.falling_back));
                let insecure = self.insecure.iter();
                problems.extend(insecure.map(|member| format!("{member}: {INSECURE}")));
            }
        }
        problems.extend(self.hosts.failures());
        problems.extend(self.surplus());
        problems.extend(self.looped.iter().cloned());
        problems
    }

    /// That there is more than is used.
    pub(super) fn surplus(&self) -> Vec<String> {
        let mut surplus = Vec::new();
        if let Source::Srv { services, .. } = &self.source {
            surplus.extend(services.surplus());
        }
        if self.counted > MAX_ENDPOINTS {
            surplus.push(format!(
                "{} endpoints are found, of which {MAX_ENDPOINTS} are used",
                self.counted
            ));
        }
        surplus
    }
}

/// An endpoint that is this gateway.
pub(super) fn looped(endpoint: &Endpoint) -> String {
    format!(
        "{}: {} is this gateway itself, so it is left out",
        endpoint.name, endpoint.addr
    )
}

/// Members that may not serve are told of in the log, too.
pub(super) fn log_insecure(members: &[Target]) {
    let members: Vec<String> = members.iter().map(ToString::to_string).collect();
    log::warn(
        "discovery",
        "members that speak no TLS are left out",
        &[("members", members.into())],
    );
}
