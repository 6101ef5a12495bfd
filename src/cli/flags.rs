//! FLAGS: every flag there is, in the order of the help.
//!
//! The parser, the environment, the settings file, `--help`, the manual, the completions and the suggestions for a
//! mistyped flag read this table and nothing else: a new flag is one entry here, which writes its value in place. Names,
//! defaults and meanings of the flags that `etcd gateway start` has are its own.

use std::path::PathBuf;

use super::error::Error;
use super::kind::words;
pub(super) use super::kind::{Scope, Takes};
use super::manual::Command;
use super::value::{
    SettingsFile, access_log, addresses, boolean, certificate_name, choice, connections, duration,
    duration_or_never, health_check, positive_duration, service_name, settings_file,
};
use crate::addr;
use crate::config::{Config, Form, LogFormat, LogLevel, Output, Policy};

/// One flag. The docs are sentences; they are wrapped where they are printed.
pub(super) struct Flag {
    /// The name behind `--`.
    pub(super) name: &'static str,
    /// The letter behind `-`.
    pub(super) short: Option<&'static str>,
    pub(super) takes: Takes,
    pub(super) scope: Scope,
    /// The value without the flag; empty if there is none.
    pub(super) default: &'static str,
    /// Its purpose, in one sentence.
    pub(super) doc_short: &'static str,
    /// The rest, in sentences.
    pub(super) doc_long: &'static str,
    /// Checks a value and stores it; never does I/O.
    pub(super) apply: fn(&str, &mut Options) -> Result<(), Error>,
}

/// The values of all flags.
pub(super) struct Options {
    pub(super) config: Config,
    pub(super) config_file: Option<SettingsFile>,
    pub(super) output: Form,
    pub(super) help: bool,
    pub(super) version: bool,
}

/// A flag without a value, a letter or a default, which has an effect on every command.
const SWITCH: Flag = Flag {
    name: "",
    short: None,
    takes: Takes::Switch,
    scope: Scope::Any,
    default: "",
    doc_short: "",
    doc_long: "",
    apply: |_, _| Ok(()),
};

/// Any text is a path.
fn path(text: &str) -> Result<PathBuf, Error> {
    Ok(text.into())
}

fn set<T>(field: &mut T, value: Result<T, impl Into<Error>>) -> Result<(), Error> {
    *field = value.map_err(Into::into)?;
    Ok(())
}

fn set_some<T>(field: &mut Option<T>, value: Result<T, impl Into<Error>>) -> Result<(), Error> {
    set(field, value.map(Some))
}

/// Adds to a list. The first items that are given replace its default.
fn add<T>(list: &mut Vec<T>, given: &mut bool, items: Vec<T>) -> Result<(), Error> {
    if !std::mem::replace(given, true) {
        list.clear();
    }
    list.extend(items);
    Ok(())
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
        takes: Takes::List("HOST:PORT,..."),
        scope: Scope::Setup,
        default: "127.0.0.1:2379",
        doc_short: "The etcd members to forward clients to.",
        doc_long: "Separated by commas; may be given more than once. Every address of a name is an endpoint of its \
            own. http:// and https:// in front are accepted and removed: the gateway passes TLS through and does not \
            terminate it.",
        apply: |text, options| {
            let config = &mut options.config;
            let items = addresses(text, |item| Ok(addr::parse_endpoint(item)?.0))?;
            add(&mut config.endpoints, &mut config.endpoints_given, items)
        },
        ..SWITCH
    },
    Flag {
        name: "listen-addr",
        takes: Takes::List("HOST:PORT,..."),
        scope: Scope::Setup,
        default: "127.0.0.1:23790",
        doc_short: "Where to accept clients.",
        doc_long: "HOST:PORT, [IPV6]:PORT, or :PORT for every local address; port 0 is any free port. Separated by \
            commas; may be given more than once. Whoever can reach this address can reach etcd. Sockets that a \
            service manager passes (LISTEN_FDS) replace it.",
        apply: |text, options| {
            let config = &mut options.config;
            let items = addresses(text, addr::parse_listen)?;
            add(&mut config.listen_addrs, &mut config.listen_given, items)
        },
        ..SWITCH
    },
    Flag {
        name: "retry-delay",
        takes: Takes::Value("DURATION", &[]),
        scope: Scope::Serving,
        // The value of the reference.
        default: "1m0s",
        doc_short: "The longest pause before retrying a failed endpoint.",
        doc_long: "A silent endpoint counts as failed. A Go duration such as 1m30s or 500ms. The first pause is 1s, \
            and each further one is twice as long. Clients never wait for it: when no endpoint is active, each new \
            client tries all of them.",
        apply: |text, options| {
            let time = positive_duration(text, "retrying without a pause would be a busy loop");
            set(&mut options.config.retry_delay, time)
        },
        ..SWITCH
    },
    Flag {
        name: "dial-timeout",
        takes: Takes::Value("DURATION", &[]),
        scope: Scope::Setup,
        // Long compared with any round trip, short compared with the 127 s after which Linux gives up on a silent peer.
        default: "5s",
        doc_short: "How long a client may wait for an endpoint.",
        doc_long: "It covers all attempts for one client together. A connection to a silent member that has had no \
            answer for this long is reset, if another member is active.",
        apply: |text, options| {
            let time = positive_duration(text, "no connection could be made in that time");
            set(&mut options.config.dial_timeout, time)
        },
        ..SWITCH
    },
    Flag {
        name: "max-connections",
        takes: Takes::Value("COUNT", &["auto"]),
        scope: Scope::Serving,
        default: "auto",
        doc_short: "The most clients at a time; others are rejected.",
        doc_long: "auto derives it from the limits of the host and the cgroup on descriptors, threads and memory.",
        apply: |text, options| set(&mut options.config.max_connections, connections(text)),
        ..SWITCH
    },
    Flag {
        name: "drain-timeout",
        takes: Takes::Value("DURATION", &[]),
        scope: Scope::Serving,
        // Long enough for any request in flight, far below the 90 s after which systemd kills.
        default: "10s",
        doc_short: "How long connections may last after SIGTERM.",
        doc_long: "Also after SIGINT. Connections that are still open then are reset. 0s resets all of them at \
            once.",
        apply: |text, options| set(&mut options.config.drain_timeout, duration(text)),
        ..SWITCH
    },
    Flag {
        name: "reload-timeout",
        takes: Takes::Value("DURATION", &["never"]),
        scope: Scope::Serving,
        default: "never",
        doc_short: "How long old connections may last after a reload.",
        doc_long: "They stay in the old process. Connections that are still open then are reset. With never they \
            stay open.",
        apply: |text, options| set(&mut options.config.reload_timeout, duration_or_never(text)),
        ..SWITCH
    },
    Flag {
        name: "endpoints-file",
        takes: Takes::Path("PATH", &[]),
        scope: Scope::Setup,
        doc_short: "The file that names the members.",
        doc_long: "It replaces --endpoints. It has one endpoint per line, which weight=N, priority=N and drain may \
            follow. A change is used within seconds, or at once after SIGHUP. A file that is invalid or missing \
            changes nothing.",
        apply: |text, options| set_some(&mut options.config.endpoints_file, path(text)),
        ..SWITCH
    },
    Flag {
        name: "discovery-srv",
        takes: Takes::Value("DOMAIN", &[]),
        scope: Scope::Setup,
        doc_short: "The DNS domain whose SRV records name the members.",
        doc_long: "Queries _etcd-client-ssl._tcp.DOMAIN and _etcd-client._tcp.DOMAIN, and follows the records while \
            the gateway runs. A value that begins with an underscore, such as \
            _client._tcp.etcd.default.svc.cluster.local, is queried as it is. --endpoints, if given, is used while \
            there are no records.",
        apply: |text, options| {
            set_some(&mut options.config.discovery_srv, addr::parse_domain(text))
        },
        ..SWITCH
    },
    Flag {
        name: "discovery-srv-name",
        takes: Takes::Value("NAME", &[]),
        scope: Scope::Setup,
        doc_short: "A suffix of the service name in SRV queries.",
        doc_long: "With NAME the queries are for _etcd-client-ssl-NAME._tcp.DOMAIN and \
            _etcd-client-NAME._tcp.DOMAIN.",
        apply: |text, options| set(&mut options.config.discovery_srv_name, service_name(text)),
        ..SWITCH
    },
    Flag {
        name: "insecure-discovery",
        scope: Scope::Setup,
        doc_short: "Do not authenticate members from SRV records.",
        doc_long: "Then anyone who can forge DNS answers receives the connections of every client.",
        apply: |text, options| set(&mut options.config.insecure_discovery, boolean(text)),
        ..SWITCH
    },
    Flag {
        name: "trusted-ca-file",
        takes: Takes::Path("PATH", &[]),
        scope: Scope::Setup,
        doc_short: "CA certificates (PEM) that authenticate members.",
        doc_long: "It is ONLY used for authenticating the discovered endpoints (and those of a list with \
            --verify-endpoints), over separate connections that never carry client data. Without it the CA \
            certificates of the system are used. Either file is followed: a change is used within seconds, or at \
            once after SIGHUP, and certificates that are invalid or missing change nothing.",
        apply: |text, options| set_some(&mut options.config.trusted_ca_file, path(text)),
        ..SWITCH
    },
    Flag {
        name: "discovery-server-name",
        takes: Takes::Value("NAME", &[]),
        scope: Scope::Setup,
        doc_short: "The name that the certificates of members must have.",
        doc_long: "The default is the domain of --discovery-srv, because host names in SRV records prove nothing; \
            with --verify-endpoints it is each member's own name or address.",
        apply: |text, options| set_some(&mut options.config.server_name, certificate_name(text)),
        ..SWITCH
    },
    Flag {
        name: "verify-endpoints",
        scope: Scope::Setup,
        doc_short: "Also authenticate the members of a list or a file.",
        doc_long: "These are the members of --endpoints or --endpoints-file. They must use TLS.",
        apply: |text, options| set(&mut options.config.verify_endpoints, boolean(text)),
        ..SWITCH
    },
    Flag {
        name: "health-check",
        takes: Takes::Value("URL", &["off"]),
        scope: Scope::Setup,
        default: "off",
        doc_short: "The URL of health checks of the members, or off.",
        doc_long: "Plain HTTP. Without a host in the URL each member is checked at its own address, without a port \
            at its own port. If etcd has --listen-metrics-urls with port 2381, use http://:2381/readyz (etcd 3.4.29, \
            3.5.11, 3.6 and later) or http://:2381/health?exclude=NOSPACE. Each member is checked every 5s. A member \
            that does not answer 200 within 2s, twice in a row, gets clients only if there is no better one.",
        apply: |text, options| set(&mut options.config.health_check, health_check(text)),
        ..SWITCH
    },
    Flag {
        name: "close-removed",
        takes: Takes::Value("DURATION", &["never"]),
        scope: Scope::Serving,
        default: "never",
        doc_short: "How long connections to a removed member may last.",
        doc_long: "A member is removed when it is no longer among the endpoints, or, if DNS named it, when two \
            answers in a row lack it. Connections that are still open then are reset. With never they stay open.",
        apply: |text, options| set(&mut options.config.close_removed, duration_or_never(text)),
        ..SWITCH
    },
    Flag {
        name: "answer-timeout",
        takes: Takes::Value("DURATION", &[]),
        scope: Scope::Serving,
        // Two hundred times what a member takes for its first bytes, and twice a round trip around the world.
        default: "1s",
        doc_short: "How long a member may take for its first answer.",
        doc_long: "That is the answer to the first bytes of a client. A member that takes longer is probed over a \
            separate connection. If it does not answer that either, it is used only if there is no better member, \
            until it answers again. 0s never probes.",
        apply: |text, options| set(&mut options.config.answer_timeout, duration(text)),
        ..SWITCH
    },
    Flag {
        name: "close-unhealthy",
        takes: Takes::Value("DURATION", &["never"]),
        scope: Scope::Serving,
        default: "never",
        doc_short: "How long connections to an unhealthy member may last.",
        doc_long: "Also to a silent member. Then they are reset, if another member has been active for as long, so \
            that clients without keepalive reach that member. With never they stay open; 15s suits clients that have \
            no timeout of their own.",
        apply: |text, options| set(&mut options.config.close_unhealthy, duration_or_never(text)),
        ..SWITCH
    },
    Flag {
        name: "policy",
        takes: Takes::Choice("POLICY", &words(POLICIES)),
        scope: Scope::Serving,
        default: "round-robin",
        doc_short: "How an endpoint is chosen for a client.",
        doc_long: "round-robin takes turns. least-connections takes the endpoint with the fewest open connections, \
            and so balances connections again after members have restarted. Both respect priorities and weights.",
        apply: |text, options| set(&mut options.config.policy, choice(text, &POLICIES)),
        ..SWITCH
    },
    Flag {
        name: "metrics-addr",
        takes: Takes::Value("HOST:PORT", &[]),
        scope: Scope::Setup,
        doc_short: "Where to serve metrics, health and a status page.",
        doc_long: "HTTP, without a password: use a loopback address, such as 127.0.0.1:23791. http:// in front is \
            accepted. Without this flag nothing is served.",
        apply: |text, options| {
            set_some(&mut options.config.metrics_addr, addr::parse_metrics(text))
        },
        ..SWITCH
    },
    Flag {
        name: "access-log",
        takes: Takes::Path("TARGET", &["off", "stderr"]),
        scope: Scope::Setup,
        default: "off",
        doc_short: "Where to log connections that have ended.",
        doc_long: "off, stderr or a path. There is one line per connection. A file is appended to, created if it \
            does not exist, and reopened at SIGHUP, for logrotate. Lines that cannot be written are dropped and \
            counted; connections never wait for the log.",
        apply: |text, options| set(&mut options.config.access_log, access_log(text)),
        ..SWITCH
    },
    Flag {
        name: "log-level",
        takes: Takes::Choice("LEVEL", &words(LOG_LEVELS)),
        scope: Scope::Serving,
        default: "info",
        doc_short: "The least severe messages to log.",
        apply: |text, options| {
            // As zap reads it: WARN, and its longer name.
            let level = text.to_ascii_lowercase();
            let level = match level.as_str() {
                "warning" => "warn",
                other => other,
            };
            set(&mut options.config.log_level, choice(level, &LOG_LEVELS))
        },
        ..SWITCH
    },
    Flag {
        name: "log-format",
        takes: Takes::Choice("FORMAT", &words(LOG_FORMATS)),
        scope: Scope::Serving,
        default: "auto",
        doc_short: "The form of log lines.",
        doc_long: "auto is text on a terminal and json otherwise. console, etcd's word for text, is accepted too.",
        apply: |text, options| set(&mut options.config.log_format, choice(text, &LOG_FORMATS)),
        ..SWITCH
    },
    Flag {
        name: "config-file",
        takes: Takes::Path("PATH", &[]),
        scope: Scope::Setup,
        doc_short: "A file to read settings from.",
        doc_long: "It has lines such as ETCD_GATEWAY_RETRY_DELAY=5s, in the syntax of EnvironmentFile= of \
            systemd.exec(5). The command line and the environment win over it. Unknown names that begin with \
            ETCD_GATEWAY_ are refused, all other names are ignored. It is read when the program starts, and so at a \
            reload. With a - in front of the path the file may be missing.",
        apply: |text, options| set_some(&mut options.config_file, settings_file(text)),
        ..SWITCH
    },
    Flag {
        name: "output",
        takes: Takes::Choice("FORMAT", &words(OUTPUTS)),
        scope: Scope::Output,
        default: "table",
        doc_short: "The form in which check and config print.",
        doc_long: "env is for config alone and prints a settings file.",
        apply: |text, options| set(&mut options.output, choice(text, &OUTPUTS)),
        ..SWITCH
    },
    Flag {
        name: "help",
        short: Some("h"),
        doc_short: "Print this help and exit.",
        apply: |text, options| set(&mut options.help, boolean(text)),
        ..SWITCH
    },
    Flag {
        name: "version",
        short: Some("V"),
        doc_short: "Print the version and exit.",
        apply: |text, options| set(&mut options.version, boolean(text)),
        ..SWITCH
    },
];

/// The prefix of our variables.
pub(super) const VARIABLE_PREFIX: &str = "ETCD_GATEWAY_";

impl Default for Options {
    /// Every flag at its default.
    fn default() -> Self {
        let mut options = Self {
            config: Config::default(),
            config_file: None,
            output: Form::Shown(Output::Table),
            help: false,
            version: false,
        };
        for flag in FLAGS.iter().filter(|flag| !flag.default.is_empty()) {
            // A test applies each of them.
            let _ = (flag.apply)(flag.default, &mut options);
        }
        options.config.endpoints_given = false;
        options.config.listen_given = false;
        options
    }
}

impl Flag {
    /// The environment variable that sets the flag. Flags for a single call, such as `--help`, do not have one.
    pub(super) fn variable(&self) -> Option<String> {
        let name = self.name.to_ascii_uppercase().replace('-', "_");
        let is_setting = matches!(self.scope, Scope::Serving | Scope::Setup);
        is_setting.then(|| format!("{VARIABLE_PREFIX}{name}"))
    }

    /// Whether a settings file can set the flag, under the name of its variable: it cannot name another such file.
    pub(super) fn in_file(&self) -> bool {
        self.variable().is_some() && self.name != "config-file"
    }

    /// The flag with its dashes, in the forms it has.
    pub(super) fn spellings(&self) -> Vec<String> {
        let short = self.short.map(|letter| format!("-{letter}"));
        let long = format!("--{}", self.name);
        short.into_iter().chain([long]).collect()
    }

    /// The value without the flag, as text.
    pub(super) fn default_value(&self) -> &'static str {
        match self.takes {
            Takes::Switch => "false",
            _ => self.default,
        }
    }
}

/// The flags that have an effect on a command, or all flags.
pub(super) fn flags_of(command: Option<&Command>) -> impl Iterator<Item = &'static Flag> {
    let name = command.map(|command| command.name);
    let has_effect = move |flag: &&Flag| name.is_none_or(|name| flag.scope.has(name));
    FLAGS.iter().filter(has_effect)
}

/// The flag of this name.
pub(super) fn named(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.name == name)
}

/// The flag that this environment variable sets.
pub(super) fn of_variable(variable: &str) -> Option<&'static Flag> {
    let is_it = |flag: &&Flag| flag.variable().as_deref() == Some(variable);
    FLAGS.iter().find(is_it)
}
