//! The names that the gateway has for what these experiments measure: flags, states, log lines, metrics.

use std::sync::OnceLock;

use crate::support::Launch;

/// How the gateway of the control is started: it sends clients to a member that does not answer.
pub(super) const CONTROL: &[&str] = &["--answer-timeout=0s"];
pub(super) const HEALTH_CHECK: &str = "--health-check=http://:2381/health";

/// States in `/endpoints`.
pub(super) const ACTIVE: &str = "active";
pub(super) const SILENT: &str = "silent";
pub(super) const UNHEALTHY: &str = "unhealthy";

/// The log line on a member that becomes silent.
pub(super) const DOES_NOT_ANSWER: &str = "endpoint accepts connections and does not answer";
/// The log line on a client that could not be connected to any endpoint.
pub(super) const REFUSED_CLIENT: &str = "rejected client";

/// Metrics, by `endpoint` and partly by `result`.
pub(super) const PROBES: &str = "etcd_gateway_endpoint_probes_total";
pub(super) const UNANSWERED: &str = "etcd_gateway_endpoint_unanswered_total";
pub(super) const REJECTED: &str = "etcd_gateway_connections_rejected_total";

/// A label as it stands in an exposition.
pub(super) fn label(endpoint: &str) -> String {
    format!("address=\"{endpoint}\"")
}

/// These flags without those that `start --help` does not know, which are named on stdout: an older build can be held
/// against the same experiments.
pub(super) fn known<'a>(flags: &[&'a str]) -> Vec<&'a str> {
    static HELP: OnceLock<String> = OnceLock::new();
    let help = HELP.get_or_init(|| Launch::exactly(&["start", "--help"]).run().stdout);
    let known = |flag: &&&str| {
        let name = flag.split('=').next().unwrap_or_default();
        let known = help.split_whitespace().any(|word| word == name);
        if !known {
            println!("FIGURES this gateway does not know {name}");
        }
        known
    };
    flags.iter().filter(known).copied().collect()
}
