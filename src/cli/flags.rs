//! FLAGS: every flag there is, in the order of the help.
//!
//! The parser, the environment, the settings file, `--help`, the manual and the suggestions for a
//! mistyped flag read this table and nothing else: a new flag is one entry here, one field
//! in [`RawArgs`] and one line in `resolve`. Names, defaults and meanings of the flags that
//! `etcd gateway start` has are its own.

use std::path::PathBuf;
use std::time::Duration;

use super::kind::words;
pub(super) use super::kind::{Scope, Takes};
use super::settings_file::SettingsFile;
use super::value::{self, ValueError};
use crate::addr::{self, HostPort, Scheme};
use crate::config::{AccessLogTarget, Form, LogFormat, LogLevel, Output, Policy, Url};

/// One flag. The docs are sentences; they are wrapped where they are printed.
pub(super) struct Flag {
    /// The name behind `--`.
    pub(super) name: &'static str,
    /// The letter behind `-`, if it has one.
    pub(super) short: Option<&'static str>,
    /// What follows it.
    pub(super) takes: Takes,
    /// What it has an effect on.
    pub(super) scope: Scope,
    /// What holds without the flag; empty if nothing is set then.
    pub(super) default: &'static str,
    /// Whether `ETCD_GATEWAY_<NAME>` sets it too.
    pub(super) in_environment: bool,
    /// What it sets, in one sentence.
    pub(super) doc_short: &'static str,
    /// What else one must know to use it.
    pub(super) doc_long: &'static str,
    /// Checks a value and stores it; never does I/O.
    pub(super) apply: fn(&str, &mut RawArgs) -> Result<(), ValueError>,
}

/// What was typed, flag by flag: `None` and empty lists where nothing was.
#[derive(Default)]
pub(super) struct RawArgs {
    pub(super) endpoints: Vec<(HostPort, Option<Scheme>)>,
    pub(super) endpoints_file: Option<PathBuf>,
    pub(super) listen_addrs: Vec<HostPort>,
    pub(super) retry_delay: Option<Duration>,
    pub(super) dial_timeout: Option<Duration>,
    pub(super) max_connections: Option<usize>,
    pub(super) drain_timeout: Option<Duration>,
    pub(super) reload_timeout: Option<Duration>,
    pub(super) discovery_srv: Option<String>,
    pub(super) discovery_srv_name: Option<String>,
    pub(super) insecure_discovery: Option<bool>,
    pub(super) trusted_ca_file: Option<PathBuf>,
    pub(super) discovery_server_name: Option<String>,
    pub(super) verify_endpoints: Option<bool>,
    pub(super) health_check: Option<Url>,
    pub(super) close_removed: Option<Duration>,
    pub(super) answer_timeout: Option<Duration>,
    pub(super) close_unhealthy: Option<Duration>,
    pub(super) policy: Option<Policy>,
    pub(super) metrics_addr: Option<HostPort>,
    pub(super) access_log: Option<AccessLogTarget>,
    pub(super) config_file: Option<SettingsFile>,
    pub(super) output: Option<Form>,
    pub(super) log_level: Option<LogLevel>,
    pub(super) log_format: Option<LogFormat>,
    pub(super) help: bool,
    pub(super) version: bool,
}

const LOG_LEVELS: [(&str, LogLevel); 4] = [
    ("debug", LogLevel::Debug),
    ("info", LogLevel::Info),
    ("warn", LogLevel::Warn),
    ("error", LogLevel::Error),
];

const LOG_FORMATS: [(&str, Option<LogFormat>); 4] = [
    ("auto", None),
    ("json", Some(LogFormat::Json)),
    ("text", Some(LogFormat::Text)),
    ("console", Some(LogFormat::Text)),
];

const POLICIES: [(&str, Policy); 2] = [
    ("round-robin", Policy::RoundRobin),
    ("least-connections", Policy::LeastConnections),
];

const OUTPUTS: [(&str, Form); 3] = [
    ("table", Form::Shown(Output::Table)),
    ("json", Form::Shown(Output::Json)),
    ("env", Form::Env),
];

/// The table.
pub(super) const FLAGS: &[Flag] = &[
    Flag {
        name: "endpoints",
        short: None,
        takes: Takes::List("HOST:PORT,..."),
        scope: Scope::Setup,
        default: "127.0.0.1:2379",
        in_environment: true,
        doc_short: "The etcd members to forward clients to.",
        doc_long: "Separated by commas; may be given more than once. Every address of a name \
            is a target of its own. http:// and https:// in front are accepted and stripped: \
            the gateway passes TLS through and does not terminate it.",
        apply: |text, raw| {
            let items = value::addresses(text, addr::parse_endpoint)?;
            raw.endpoints.extend(items);
            Ok(())
        },
    },
    Flag {
        name: "listen-addr",
        short: None,
        takes: Takes::List("HOST:PORT,..."),
        scope: Scope::Setup,
        default: "127.0.0.1:23790",
        in_environment: true,
        doc_short: "Where to accept clients.",
        doc_long: "HOST:PORT, [IPV6]:PORT, or :PORT for every local address; port 0 is any free \
            port. Separated by commas; may be given more than once. Whoever reaches it reaches \
            etcd. Sockets that a service manager passes (LISTEN_FDS) take its place.",
        apply: |text, raw| {
            let items = value::addresses(text, addr::parse_listen)?;
            raw.listen_addrs.extend(items);
            Ok(())
        },
    },
    Flag {
        name: "retry-delay",
        short: None,
        takes: Takes::Value("DURATION", &[]),
        scope: Scope::Serving,
        default: "1m0s",
        in_environment: true,
        doc_short: "The longest pause before an endpoint is tried again.",
        doc_long: "One that failed or is silent, that is. A Go duration such as 1m30s or 500ms. The first pause is 1s, and each further one \
            twice as long. Clients never wait for it: when no endpoint is active, each new client \
            tries all of them.",
        apply: |text, raw| {
            let consequence = "retrying without a pause would be a busy loop";
            raw.retry_delay = Some(value::positive_duration(text, consequence)?);
            Ok(())
        },
    },
    Flag {
        name: "dial-timeout",
        short: None,
        takes: Takes::Value("DURATION", &[]),
        scope: Scope::Setup,
        default: "5s",
        in_environment: true,
        doc_short: "How long a client may wait for an endpoint.",
        doc_long: "It covers all attempts for this client together. A connection that a silent member has \
            not answered for as long is reset, if another member is active.",
        apply: |text, raw| {
            let consequence = "no connection could be made in that time";
            raw.dial_timeout = Some(value::positive_duration(text, consequence)?);
            Ok(())
        },
    },
    Flag {
        name: "max-connections",
        short: None,
        takes: Takes::Value("COUNT", &["auto"]),
        scope: Scope::Serving,
        default: "auto",
        in_environment: true,
        doc_short: "The most clients at a time; others are rejected.",
        doc_long: "auto derives it from the limits of the host on descriptors, threads and memory, those of the \
            cgroup included.",
        apply: |text, raw| {
            raw.max_connections = value::connections(text)?;
            Ok(())
        },
    },
    Flag {
        name: "drain-timeout",
        short: None,
        takes: Takes::Value("DURATION", &[]),
        scope: Scope::Serving,
        default: "10s",
        in_environment: true,
        doc_short: "How long connections may last after SIGTERM.",
        doc_long: "Or after SIGINT. What is left then is reset. 0s resets at once.",
        apply: |text, raw| {
            raw.drain_timeout = Some(value::duration(text)?);
            Ok(())
        },
    },
    Flag {
        name: "reload-timeout",
        short: None,
        takes: Takes::Value("DURATION", &["never"]),
        scope: Scope::Serving,
        default: "never",
        in_environment: true,
        doc_short: "How long old connections may last after a reload.",
        doc_long: "They stay in the old process. What is left then is reset. never leaves connections alone.",
        apply: |text, raw| {
            raw.reload_timeout = value::duration_or_never(text)?;
            Ok(())
        },
    },
    Flag {
        name: "endpoints-file",
        short: None,
        takes: Takes::Path("PATH", &[]),
        scope: Scope::Setup,
        default: "",
        in_environment: true,
        doc_short: "The file that names the members.",
        doc_long: "It takes the place of --endpoints. One endpoint per line; weight=N, priority=N and drain may follow it. It is followed: a \
            change is used within seconds, at once after SIGHUP, and a file that is bad or gone \
            changes nothing.",
        apply: |text, raw| {
            raw.endpoints_file = Some(text.into());
            Ok(())
        },
    },
    Flag {
        name: "discovery-srv",
        short: None,
        takes: Takes::Value("DOMAIN", &[]),
        scope: Scope::Setup,
        default: "",
        in_environment: true,
        doc_short: "The DNS domain whose SRV records name the members.",
        doc_long: "Asks for _etcd-client-ssl._tcp.DOMAIN and _etcd-client._tcp.DOMAIN, and follows \
            the records for as long as the gateway runs. A value that begins with an underscore, \
            such as _client._tcp.etcd.default.svc.cluster.local, is asked as it stands. \
            --endpoints, if given, serves for as long as there are no records.",
        apply: |text, raw| {
            raw.discovery_srv = Some(value::domain(text)?);
            Ok(())
        },
    },
    Flag {
        name: "discovery-srv-name",
        short: None,
        takes: Takes::Value("NAME", &[]),
        scope: Scope::Setup,
        default: "",
        in_environment: true,
        doc_short: "A suffix to the service in names of SRV records.",
        doc_long: "With NAME they are _etcd-client-ssl-NAME._tcp.DOMAIN and \
            _etcd-client-NAME._tcp.DOMAIN.",
        apply: |text, raw| {
            raw.discovery_srv_name = Some(value::service_name(text)?);
            Ok(())
        },
    },
    Flag {
        name: "insecure-discovery",
        short: None,
        takes: Takes::Switch,
        scope: Scope::Setup,
        default: "",
        in_environment: true,
        doc_short: "Do not authenticate members from SRV records.",
        doc_long: "Whoever can answer a DNS query in place of your servers then receives the \
            connections of every client.",
        apply: |text, raw| {
            raw.insecure_discovery = Some(value::boolean(text)?);
            Ok(())
        },
    },
    Flag {
        name: "trusted-ca-file",
        short: None,
        takes: Takes::Path("PATH", &[]),
        scope: Scope::Setup,
        default: "",
        in_environment: true,
        doc_short: "The authorities (PEM) that members must chain to.",
        doc_long: "It is ONLY used for authenticating the discovered endpoints (and others with --verify-endpoints), over connections of \
            their own; data never runs over these. Without it the system's bundle is used. Either is \
            followed: a change is used within seconds, at once after SIGHUP, and authorities that are bad or \
            gone change nothing.",
        apply: |text, raw| {
            raw.trusted_ca_file = Some(text.into());
            Ok(())
        },
    },
    Flag {
        name: "discovery-server-name",
        short: None,
        takes: Takes::Value("NAME", &[]),
        scope: Scope::Setup,
        default: "",
        in_environment: true,
        doc_short: "The name that the certificates of members must have.",
        doc_long: "Without it that is the domain of --discovery-srv, because the names that DNS \
            answers with prove nothing; with --verify-endpoints, each member's own name or address.",
        apply: |text, raw| {
            raw.discovery_server_name = Some(value::certificate_name(text)?);
            Ok(())
        },
    },
    Flag {
        name: "verify-endpoints",
        short: None,
        takes: Takes::Switch,
        scope: Scope::Setup,
        default: "",
        in_environment: true,
        doc_short: "Authenticate the members of a list, too.",
        doc_long: "That is those of --endpoints or --endpoints-file. They must speak TLS.",
        apply: |text, raw| {
            raw.verify_endpoints = Some(value::boolean(text)?);
            Ok(())
        },
    },
    Flag {
        name: "health-check",
        short: None,
        takes: Takes::Value("URL", &["off"]),
        scope: Scope::Setup,
        default: "off",
        in_environment: true,
        doc_short: "Where each member is asked how it is: off or a URL.",
        doc_long: "Plain HTTP. Without a host each member is asked at its own address, without a \
            port at its own port. For --listen-metrics-urls with port 2381 write \
            http://:2381/readyz (etcd 3.4.29, 3.5.11, 3.6 and later) or \
            http://:2381/health?exclude=NOSPACE. A member that does not answer 200 within 2s, \
            twice in a row, gets clients only where no better one is left. It is asked every 5s.",
        apply: |text, raw| {
            raw.health_check = value::health_check(text)?;
            Ok(())
        },
    },
    Flag {
        name: "close-removed",
        short: None,
        takes: Takes::Value("DURATION", &["never"]),
        scope: Scope::Serving,
        default: "never",
        in_environment: true,
        doc_short: "How long connections to a removed member may last.",
        doc_long: "A member is removed when it has left the endpoints, or, if DNS named it, when two answers in a row lack it. What is left then is reset. never leaves connections alone.",
        apply: |text, raw| {
            raw.close_removed = value::duration_or_never(text)?;
            Ok(())
        },
    },
    Flag {
        name: "answer-timeout",
        short: None,
        takes: Takes::Value("DURATION", &[]),
        scope: Scope::Serving,
        default: "1s",
        in_environment: true,
        doc_short: "How long a member may take for its first answer.",
        doc_long: "That is the answer to a client's first bytes. A member that takes longer is probed, over a connection of its own; if it does not answer that \
            either, it is used only where no other member is better, until it answers again. 0s probes \
            nobody.",
        apply: |text, raw| {
            raw.answer_timeout = Some(value::duration(text)?);
            Ok(())
        },
    },
    Flag {
        name: "close-unhealthy",
        short: None,
        takes: Takes::Value("DURATION", &["never"]),
        scope: Scope::Serving,
        default: "never",
        in_environment: true,
        doc_short: "How long connections to an unhealthy member may last.",
        doc_long: "Or to a silent one. Then they are reset, if another has been active for as long, so that clients without \
            keepalive find it. never leaves them alone; 15s suits clients that never give up by themselves.",
        apply: |text, raw| {
            raw.close_unhealthy = value::duration_or_never(text)?;
            Ok(())
        },
    },
    Flag {
        name: "policy",
        short: None,
        takes: Takes::Choice("POLICY", &words(POLICIES)),
        scope: Scope::Serving,
        default: "round-robin",
        in_environment: true,
        doc_short: "Which endpoint a client gets.",
        doc_long: "round-robin takes turns. least-connections takes the endpoint with the fewest \
            open connections, and so evens out what piled up on the members that did not restart. \
            Both keep to priorities and weights.",
        apply: |text, raw| {
            raw.policy = Some(value::choice(text, &POLICIES)?);
            Ok(())
        },
    },
    Flag {
        name: "metrics-addr",
        short: None,
        takes: Takes::Value("HOST:PORT", &[]),
        scope: Scope::Setup,
        default: "",
        in_environment: true,
        doc_short: "Where to serve metrics, health and a status page.",
        doc_long: "HTTP, without a password: use a loopback address, such as 127.0.0.1:23791. \
            http:// in front is accepted. Without it nothing is served.",
        apply: |text, raw| {
            raw.metrics_addr = Some(value::metrics_address(text)?);
            Ok(())
        },
    },
    Flag {
        name: "access-log",
        short: None,
        takes: Takes::Path("TARGET", &["off", "stderr"]),
        scope: Scope::Setup,
        default: "off",
        in_environment: true,
        doc_short: "Where to log connections that have ended.",
        doc_long: "off, stderr or a path: one line per connection. A file is appended to, created if it is not there, and opened again at SIGHUP, for \
            logrotate. Lines that cannot be written are dropped and counted; no connection waits \
            for them.",
        apply: |text, raw| {
            raw.access_log = value::access_log(text)?;
            Ok(())
        },
    },
    Flag {
        name: "log-level",
        short: None,
        takes: Takes::Choice("LEVEL", &words(LOG_LEVELS)),
        scope: Scope::Serving,
        default: "info",
        in_environment: true,
        doc_short: "The least severe messages to log.",
        doc_long: "",
        apply: |text, raw| {
            // As zap reads it: WARN, and its longer name.
            let level = text.to_ascii_lowercase();
            let level = match level.as_str() {
                "warning" => "warn",
                other => other,
            };
            raw.log_level = Some(value::choice(level, &LOG_LEVELS)?);
            Ok(())
        },
    },
    Flag {
        name: "log-format",
        short: None,
        takes: Takes::Choice("FORMAT", &words(LOG_FORMATS)),
        scope: Scope::Serving,
        default: "auto",
        in_environment: true,
        doc_short: "The form of log lines.",
        doc_long: "auto is text on a terminal and json otherwise. console, etcd's word for text, is \
            accepted too.",
        apply: |text, raw| {
            raw.log_format = value::choice(text, &LOG_FORMATS)?;
            Ok(())
        },
    },
    Flag {
        name: "config-file",
        short: None,
        takes: Takes::Path("PATH", &[]),
        scope: Scope::Setup,
        default: "",
        in_environment: true,
        doc_short: "A file with settings that are given nowhere else.",
        doc_long: "Lines such as ETCD_GATEWAY_RETRY_DELAY=5s, in the syntax of EnvironmentFile= of \
            systemd.exec(5). Other names that begin with ETCD_GATEWAY_ are refused, all others ignored. \
            It is read when the program starts, and so at a reload. With a - in front of the path it may be absent.",
        apply: |text, raw| {
            raw.config_file = Some(value::settings_file(text)?);
            Ok(())
        },
    },
    Flag {
        name: "output",
        short: None,
        takes: Takes::Choice("FORMAT", &words(OUTPUTS)),
        scope: Scope::Output,
        default: "table",
        in_environment: false,
        doc_short: "What check and config print: table or json.",
        doc_long: "env is for config alone: a settings file.",
        apply: |text, raw| {
            raw.output = Some(value::choice(text, &OUTPUTS)?);
            Ok(())
        },
    },
    Flag {
        name: "help",
        short: Some("h"),
        takes: Takes::Switch,
        scope: Scope::Any,
        default: "",
        in_environment: false,
        doc_short: "Print this help and exit.",
        doc_long: "",
        apply: |text, raw| {
            raw.help = value::boolean(text)?;
            Ok(())
        },
    },
    Flag {
        name: "version",
        short: Some("V"),
        takes: Takes::Switch,
        scope: Scope::Any,
        default: "",
        in_environment: false,
        doc_short: "Print the version and exit.",
        doc_long: "",
        apply: |text, raw| {
            raw.version = value::boolean(text)?;
            Ok(())
        },
    },
];

/// What every variable of ours begins with.
pub(super) const VARIABLE_PREFIX: &str = "ETCD_GATEWAY_";

impl Flag {
    /// The variable that sets the flag, if one does.
    pub(super) fn variable(&self) -> Option<String> {
        let name = self.name.to_ascii_uppercase().replace('-', "_");
        self.in_environment
            .then(|| format!("{VARIABLE_PREFIX}{name}"))
    }

    /// Whether a settings file sets the flag, under the name of its variable: it cannot name another such file.
    pub(super) fn in_file(&self) -> bool {
        self.in_environment && self.name != "config-file"
    }
}
