//! The resolved configuration: all that the running gateway knows of its command line.
//!
//! `settings` has them as they were given, with their origins.
//! Built once by `cli`, immutable afterwards. Each value has been checked, so nothing here
//! can fail and nobody checks again. The defaults are those of `etcd gateway start` where
//! it has the setting; `cli` proves in a test that its help prints these very values.

mod settings;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

/// What the command line chooses from; `cli` takes them from here.
pub(crate) use crate::access::Target as AccessLogTarget;
use crate::addr::{ENDPOINT_PORT, Host, HostPort, LISTEN_PORT};
pub(crate) use crate::log::{Format as LogFormat, Level as LogLevel};
pub(crate) use crate::url::Url;
pub(crate) use settings::{Form, Origin, Setting, Settings};

/// How long an inactive endpoint waits to be tried again; the reference's value.
const DEFAULT_RETRY_DELAY: Duration = Duration::from_secs(60);
/// For all attempts of one client together: long beside any round trip, short beside the
/// 127 s after which Linux gives up on a peer that does not answer.
const DEFAULT_DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// Two hundred times what a member takes for its first bytes, and twice a round trip around the world.
const DEFAULT_ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Long enough for any request in flight, far below the 90 s after which systemd kills.
const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// The settings of one run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    /// The members to forward to: at least one, no two equal.
    pub(crate) endpoints: Vec<HostPort>,
    /// Whether the operator named the endpoints, rather than leave the default.
    pub(crate) endpoints_given: bool,
    /// The file that names the members instead, and is followed.
    pub(crate) endpoints_file: Option<PathBuf>,
    /// Where to accept clients: at least one, no two equal unless their port is 0.
    pub(crate) listen_addrs: Vec<HostPort>,
    /// Whether the operator named them, rather than leave the default.
    pub(crate) listen_given: bool,
    /// The pause between two attempts to reach an inactive endpoint; above zero.
    pub(crate) retry_delay: Duration,
    /// The time for all attempts to connect one client; above zero.
    pub(crate) dial_timeout: Duration,
    /// The time connections get to finish after SIGTERM; zero resets them at once.
    pub(crate) drain_timeout: Duration,
    /// The time connections get in the old process after a reload; `None` for ever.
    pub(crate) reload_timeout: Option<Duration>,
    /// The domain whose SRV records name the members, or the owner of the records if it begins with `_`; `None` if
    /// `endpoints` or `endpoints_file` names them.
    pub(crate) discovery_srv: Option<String>,
    /// The suffix to the service in names of SRV records; empty for none.
    pub(crate) discovery_srv_name: String,
    /// Whether members from SRV records are used without authentication.
    pub(crate) insecure_discovery: bool,
    /// The authorities to authenticate members by; `None` for those of the system.
    pub(crate) trusted_ca_file: Option<PathBuf>,
    /// The name that members must prove; `None` for the domain, or their own.
    pub(crate) server_name: Option<String>,
    /// Whether the members in `endpoints` or `endpoints_file` are authenticated too.
    pub(crate) verify_endpoints: bool,
    /// Where members are asked how they are; `None` asks none.
    pub(crate) health_check: Option<Url>,
    /// How long connections to a member that left the endpoints may go on; `None` for ever.
    pub(crate) close_removed: Option<Duration>,
    /// How long a member may take for its first bytes before it is suspected to be silent; zero suspects
    /// nobody.
    pub(crate) answer_timeout: Duration,
    /// How long connections to a member live that is silent or unhealthy; `None` for ever.
    pub(crate) close_unhealthy: Option<Duration>,
    /// Which endpoint a client gets.
    pub(crate) policy: Policy,
    /// The most connections at a time; `None` derives it from the limits of the host.
    pub(crate) max_connections: Option<usize>,
    /// Where metrics and the status are served; `None` serves none.
    pub(crate) metrics_addr: Option<HostPort>,
    /// Where a line a connection is written; `None` writes none.
    pub(crate) access_log: Option<AccessLogTarget>,
    /// The least severe level that is logged.
    pub(crate) log_level: LogLevel,
    /// The form of log lines; `None` is text on a terminal and JSON otherwise, also in a file.
    pub(crate) log_format: Option<LogFormat>,
    /// All of these as texts, to be shown.
    pub(crate) settings: Settings,
}

/// By what an endpoint is chosen, of those that are equally good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Whose turn it is.
    RoundRobin,
    /// Who has the fewest open connections for its weight.
    LeastConnections,
}

/// How `check` and `config` print what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// Columns for a person.
    Table,
    /// One JSON object.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        let loopback = |port| HostPort {
            host: Host::Ip(Ipv4Addr::LOCALHOST.into()),
            port,
        };
        Self {
            endpoints: vec![loopback(ENDPOINT_PORT)],
            endpoints_given: false,
            endpoints_file: None,
            listen_addrs: vec![loopback(LISTEN_PORT)],
            listen_given: false,
            retry_delay: DEFAULT_RETRY_DELAY,
            dial_timeout: DEFAULT_DIAL_TIMEOUT,
            drain_timeout: DEFAULT_DRAIN_TIMEOUT,
            reload_timeout: None,
            discovery_srv: None,
            discovery_srv_name: String::new(),
            insecure_discovery: false,
            trusted_ca_file: None,
            server_name: None,
            verify_endpoints: false,
            health_check: None,
            close_removed: None,
            answer_timeout: DEFAULT_ANSWER_TIMEOUT,
            close_unhealthy: None,
            policy: Policy::RoundRobin,
            max_connections: None,
            metrics_addr: None,
            access_log: None,
            log_level: LogLevel::Info,
            log_format: None,
            settings: Settings::default(),
        }
    }
}
