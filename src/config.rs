//! The resolved configuration: everything that the running gateway takes from its settings.
//!
//! `cli` builds it once; it is immutable afterwards. Each value has been checked, so nothing here can fail, and no
//! value is checked again. `settings` has the values as text, with their origins.

mod settings;

use std::path::PathBuf;
use std::time::Duration;

/// Types of values; `cli` imports them from here.
pub(crate) use crate::access::Target as AccessLogTarget;
use crate::addr::HostPort;
pub(crate) use crate::log::{Format as LogFormat, Level as LogLevel};
pub(crate) use crate::url::Url;
pub(crate) use settings::{Form, Origin, Output, Setting, Settings};

/// The settings of one run. `default()` sets nothing: the defaults of the flags stand in the table of flags.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Config {
    /// The members to forward to: at least one, no two equal.
    pub(crate) endpoints: Vec<HostPort>,
    /// Whether `endpoints` is not the default.
    pub(crate) endpoints_given: bool,
    /// The file that names the members instead; it is read again when it changes.
    pub(crate) endpoints_file: Option<PathBuf>,
    /// Where to accept clients: at least one, no two equal unless their port is 0.
    pub(crate) listen_addrs: Vec<HostPort>,
    /// Whether `listen_addrs` is not the default.
    pub(crate) listen_given: bool,
    /// The longest pause between two attempts to reach an inactive endpoint; above zero.
    pub(crate) retry_delay: Duration,
    /// The time for all attempts to connect one client; above zero.
    pub(crate) dial_timeout: Duration,
    /// How long connections may last after SIGTERM; zero resets them at once.
    pub(crate) drain_timeout: Duration,
    /// How long connections may last in the old process after a reload; `None` is without a limit.
    pub(crate) reload_timeout: Option<Duration>,
    /// The domain whose SRV records name the members, or the owner of the records if it begins with `_`; `None` if
    /// `endpoints` or `endpoints_file` names them.
    pub(crate) discovery_srv: Option<String>,
    /// The suffix to the service in names of SRV records; empty for none.
    pub(crate) discovery_srv_name: String,
    /// Whether members from SRV records are used without authentication.
    pub(crate) insecure_discovery: bool,
    /// The CA certificates that authenticate members; `None` for those of the system.
    pub(crate) trusted_ca_file: Option<PathBuf>,
    /// The name that certificates of members must have; `None` for the domain, or each member's own name.
    pub(crate) server_name: Option<String>,
    /// Whether the members in `endpoints` or `endpoints_file` are authenticated too.
    pub(crate) verify_endpoints: bool,
    /// The URL of health checks; `None` is without health checks.
    pub(crate) health_check: Option<Url>,
    /// How long connections to a removed member may last; `None` is without a limit.
    pub(crate) close_removed: Option<Duration>,
    /// How long a member may take for its first bytes before it is probed; zero never probes.
    pub(crate) answer_timeout: Duration,
    /// How long connections to a silent or unhealthy member may last; `None` is without a limit.
    pub(crate) close_unhealthy: Option<Duration>,
    pub(crate) policy: Policy,
    /// The most connections at a time; `None` derives it from the limits of the host.
    pub(crate) max_connections: Option<usize>,
    /// Where metrics and the status are served; `None` is nowhere.
    pub(crate) metrics_addr: Option<HostPort>,
    /// Where to write one line per connection; `None` is nowhere.
    pub(crate) access_log: Option<AccessLogTarget>,
    /// The least severe level that is logged.
    pub(crate) log_level: LogLevel,
    /// The form of log lines; `None` is text on a terminal, otherwise JSON.
    pub(crate) log_format: Option<LogFormat>,
    /// All settings as text, to be printed.
    pub(crate) settings: Settings,
}

/// How an endpoint is chosen among those that are equally good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Policy {
    /// By turns.
    #[default]
    RoundRobin,
    /// The one with the fewest open connections for its weight.
    LeastConnections,
}
