//! Tests of the command line as a whole.

mod whole;

use super::combinations::NO_ENDPOINTS;
use super::flags::Takes;
use super::*;
use crate::addr::{HostPort, parse_endpoint, parse_listen};
use crate::config::{AccessLogTarget, LogFormat, LogLevel, Policy, Url};
use std::collections::HashSet;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

/// Runs the parser on a command line, split at blanks.
pub(in crate::cli) fn run(line: &str, env: &[(&str, &str)]) -> Result<Invocation, Error> {
    let argv = line.split(' ').map(OsString::from).collect();
    let env: Vec<_> = env.iter().map(|(k, v)| (k.into(), v.into())).collect();
    parse(argv, &env, &no_file)
}

/// The same, and every file has this content.
pub(in crate::cli) fn run_with(
    line: &str,
    env: &[(&str, &str)],
    content: &[u8],
) -> Result<Invocation, Error> {
    let argv = line.split(' ').map(OsString::from).collect();
    let env: Vec<_> = env.iter().map(|(k, v)| (k.into(), v.into())).collect();
    parse(argv, &env, &|_, most| {
        Ok(Some(content.iter().copied().take(most).collect()))
    })
}

/// Files do not exist.
fn no_file(_: &Path, _: usize) -> io::Result<Option<Vec<u8>>> {
    Err(io::ErrorKind::NotFound.into())
}

/// The settings and warnings of a command line that starts the gateway, without the texts of the settings and without
/// the warning of the default endpoint, which has a test of its own.
pub(in crate::cli) fn start(line: &str, env: &[(&str, &str)]) -> (Config, Vec<String>) {
    match run(line, env) {
        Ok(Invocation::Start {
            mut config,
            mut warnings,
        }) => {
            config.settings.0.clear();
            warnings.retain(|warning| warning != NO_ENDPOINTS);
            (config, warnings)
        }
        other => panic!("{line}: {other:?}"),
    }
}

/// The settings of a command line without flags.
pub(in crate::cli) fn defaults() -> Config {
    Options::default().config
}

pub(in crate::cli) fn refusal(line: &str, env: &[(&str, &str)]) -> String {
    match run(line, env) {
        Err(error) => error.to_string(),
        Ok(other) => panic!("{line}: {other:?}"),
    }
}

fn texts(addresses: &[HostPort]) -> Vec<String> {
    addresses.iter().map(HostPort::to_string).collect()
}

#[test]
fn the_table_is_well_formed() {
    let mut names = HashSet::new();
    for flag in FLAGS {
        let name = flag.name;
        assert!(names.insert(name), "{name} is there twice");
        if let Some(short) = flag.short {
            assert!(names.insert(short) && short.len() == 1, "{name}");
        }
        let is_name_byte = |b: u8| b.is_ascii_lowercase() || b == b'-';
        assert!(name.len() > 1 && name.bytes().all(is_name_byte), "{name}");
        assert!(!name.starts_with('-') && !name.ends_with('-'), "{name}");
        for doc in [flag.doc_short, flag.doc_long] {
            assert!(doc.is_empty() || doc.ends_with('.'), "{name}: {doc}");
            // Neither may break the Markdown table.
            assert!(!doc.contains(['|', '\n', '<']), "{name}: {doc}");
        }
        assert!(!flag.doc_short.is_empty(), "{name}");
        if !flag.default.is_empty() {
            let applied = (flag.apply)(flag.default, &mut Options::default());
            assert_eq!(applied, Ok(()), "{name}");
        }
        let is_switch = flag.takes == Takes::Switch;
        assert!(!is_switch || flag.default.is_empty(), "{name}");
        // A variable that Kubernetes may set must never set a flag.
        if let Some(variable) = flag.variable() {
            let rest = variable.strip_prefix(flags::VARIABLE_PREFIX).unwrap();
            let link = env::is_service_link(rest, OsStr::new("tcp://10.0.0.1:2379"));
            assert!(!link, "{variable}");
        }
    }
    let reference = ["endpoints", "listen-addr", "retry-delay"];
    let first: Vec<&str> = FLAGS.iter().take(3).map(|flag| flag.name).collect();
    assert_eq!(first, reference);
}

#[test]
fn printed_defaults_are_the_defaults() {
    let default = defaults();
    assert_eq!(start("etcd-gateway start", &[]), (default.clone(), vec![]));
    let seconds = [
        default.retry_delay,
        default.dial_timeout,
        default.drain_timeout,
        default.answer_timeout,
    ];
    assert_eq!(seconds.map(|time| time.as_secs()), [60, 5, 10, 1]);
    assert!(!default.endpoints_given && !default.listen_given);
    assert_eq!(default.policy, Policy::RoundRobin);
    assert_eq!(default.log_level, LogLevel::Info);
    assert_eq!(texts(&default.endpoints), ["127.0.0.1:2379"]);
    assert_eq!(texts(&default.listen_addrs), ["127.0.0.1:23790"]);
    let with_default = |flag: &&Flag| takes_value(flag) && !flag.default.is_empty();
    for flag in FLAGS.iter().filter(with_default) {
        let line = format!("etcd-gateway start --{}={}", flag.name, flag.default);
        let (mut config, warnings) = start(&line, &[]);
        config.endpoints_given = false;
        config.listen_given = false;
        assert_eq!((config, warnings), (default.clone(), vec![]), "{line}");
    }
}

/// `--output` and `--config-file` have tests of their own.
fn takes_value(flag: &Flag) -> bool {
    flag.takes != Takes::Switch && !["output", "config-file"].contains(&flag.name)
}

#[test]
fn check_takes_the_flags_of_start_and_its_own() {
    let check = |line: &str| match run(line, &[]) {
        Ok(Invocation::Check {
            config,
            output,
            warnings,
        }) => (config, output, warnings),
        other => panic!("{line}: {other:?}"),
    };
    let (config, output, warnings) = check("etcd-gateway check --endpoints=a:1");
    assert_eq!(texts(&config.endpoints), ["a:1"]);
    assert_eq!((output, warnings), (Output::Table, vec![]));
    let (_, output, _) = check("etcd gateway --output=json check");
    assert_eq!(output, Output::Json);
    assert!(refusal("etcd-gateway check --output=xml", &[]).contains("--output"));
    assert_eq!(
        refusal("etcd-gateway check --output=env", &[]),
        "--output=env is for config alone; write table or json"
    );
    assert_eq!(
        start("etcd-gateway start --output=json", &[]).1,
        ["--output has no effect on start; it belongs to check and config"]
    );
}

#[test]
fn authentication_flags_together() {
    let (config, warnings) = start(
        "etcd-gateway start --discovery-srv=a --trusted-ca-file=/ca.pem --discovery-server-name=b",
        &[],
    );
    assert_eq!(config.trusted_ca_file, Some("/ca.pem".into()));
    assert_eq!(config.server_name.as_deref(), Some("b"));
    assert!(!config.verify_endpoints && warnings.is_empty());
    let (config, warnings) = start(
        "etcd-gateway start --verify-endpoints --trusted-ca-file=/ca.pem",
        &[],
    );
    assert!(config.verify_endpoints && warnings.is_empty());
    for (line, warning) in [
        (
            "etcd-gateway start --trusted-ca-file=/ca.pem",
            "--trusted-ca-file has no effect",
        ),
        (
            "etcd-gateway start --discovery-srv=a --insecure-discovery --trusted-ca-file=/ca.pem",
            "--trusted-ca-file has no effect",
        ),
        (
            "etcd-gateway start --discovery-server-name=a",
            "--discovery-server-name has no effect",
        ),
        (
            "etcd-gateway start --discovery-srv=a --verify-endpoints",
            "--verify-endpoints has no effect",
        ),
    ] {
        let (_, warnings) = start(line, &[]);
        assert!(
            matches!(warnings.as_slice(), [one] if one.starts_with(warning)),
            "{line}: {warnings:?}"
        );
    }
}

#[test]
fn discovery_flags_together() {
    let (config, warnings) = start(
        "etcd-gateway start --discovery-srv=example.com. --discovery-srv-name=blue \
         --insecure-discovery --endpoints=a:1",
        &[],
    );
    assert_eq!(config.discovery_srv.as_deref(), Some("example.com."));
    assert_eq!(config.discovery_srv_name, "blue");
    assert!(config.insecure_discovery && config.endpoints_given && warnings.is_empty());

    let off = [("ETCD_GATEWAY_INSECURE_DISCOVERY", "true")];
    let line = "etcd-gateway start --discovery-srv=a --insecure-discovery=false";
    let (config, _) = start(line, &off);
    assert_eq!(config.discovery_srv.as_deref(), Some("a"));
    assert_eq!(config.discovery_srv_name, "");
    assert!(!config.insecure_discovery);

    for (line, warning) in [
        (
            "etcd-gateway start --insecure-discovery",
            "--insecure-discovery has no effect without --discovery-srv",
        ),
        (
            "etcd-gateway start --discovery-srv-name=x",
            "--discovery-srv-name has no effect without --discovery-srv",
        ),
        (
            "etcd-gateway start --discovery-srv=_client._tcp.a --discovery-srv-name=x",
            "--discovery-srv-name has no effect on a --discovery-srv that begins with _",
        ),
    ] {
        assert_eq!(start(line, &[]).1, [warning], "{line}");
    }
}

/// For each flag: a good value and its effect on the settings, and a bad value.
#[test]
fn every_flag_in_every_form() {
    type Set = fn(&mut Config);
    let cases: [(&str, &str, Set, &str); 21] = [
        (
            "endpoints",
            "a:1",
            |c| {
                c.endpoints = vec![parse_endpoint("a:1").unwrap().0];
                c.endpoints_given = true;
            },
            "a",
        ),
        (
            "listen-addr",
            ":1",
            |c| {
                c.listen_addrs = vec![parse_listen(":1").unwrap()];
                c.listen_given = true;
            },
            "nonsense",
        ),
        (
            "retry-delay",
            "1.5s",
            |c| c.retry_delay = Duration::from_millis(1500),
            "123",
        ),
        (
            "dial-timeout",
            "250ms",
            |c| c.dial_timeout = Duration::from_millis(250),
            "-1s",
        ),
        ("max-connections", "7", |c| c.max_connections = Some(7), "0"),
        (
            "drain-timeout",
            "0",
            |c| c.drain_timeout = Duration::ZERO,
            "-1ns",
        ),
        (
            "reload-timeout",
            "1h",
            |c| c.reload_timeout = Some(Duration::from_secs(3600)),
            "sometimes",
        ),
        (
            "endpoints-file",
            "/etc/members",
            |c| c.endpoints_file = Some("/etc/members".into()),
            "any",
        ),
        (
            "discovery-srv",
            "_client._tcp.Example.com",
            |c| c.discovery_srv = Some("_client._tcp.example.com".to_owned()),
            "10.0.0.1",
        ),
        (
            "discovery-srv-name",
            "a",
            |c| c.discovery_srv_name = "a".to_owned(),
            "a.b",
        ),
        (
            "trusted-ca-file",
            "/ca.pem",
            |c| c.trusted_ca_file = Some("/ca.pem".into()),
            "any",
        ),
        (
            "discovery-server-name",
            "a.b",
            |c| c.server_name = Some("a.b".to_owned()),
            "a:1",
        ),
        (
            "health-check",
            "http://:2381/readyz",
            |c| c.health_check = Some(Url::parse("http://:2381/readyz").unwrap()),
            "/readyz",
        ),
        (
            "close-removed",
            "1m",
            |c| c.close_removed = Some(Duration::from_secs(60)),
            "1",
        ),
        (
            "answer-timeout",
            "2s",
            |c| c.answer_timeout = Duration::from_secs(2),
            "1",
        ),
        (
            "close-unhealthy",
            "15s",
            |c| c.close_unhealthy = Some(Duration::from_secs(15)),
            "1",
        ),
        (
            "policy",
            "least-connections",
            |c| c.policy = Policy::LeastConnections,
            "random",
        ),
        (
            "metrics-addr",
            "http://[::1]:9/",
            |c| c.metrics_addr = Some(parse_listen("[::1]:9").unwrap()),
            "https://a:1",
        ),
        (
            "access-log",
            "/var/log/a",
            |c| c.access_log = Some(AccessLogTarget::File("/var/log/a".into())),
            "stdout",
        ),
        (
            "log-level",
            "WARNING",
            |c| c.log_level = LogLevel::Warn,
            "fatal",
        ),
        (
            "log-format",
            "console",
            |c| c.log_format = Some(LogFormat::Text),
            "xml",
        ),
    ];
    let with_values = FLAGS.iter().filter(|flag| takes_value(flag));
    let names: Vec<&str> = with_values.clone().map(|flag| flag.name).collect();
    assert_eq!(names, cases.map(|(name, ..)| name), "a flag without a case");
    for (flag, (name, good, set, bad)) in with_values.zip(cases) {
        let mut expected = defaults();
        set(&mut expected);
        let variable = flag.variable().unwrap();
        // Flags that have no effect alone cause warnings.
        let start = |line: &str, env: &[(&str, &str)]| start(line, env).0;
        for line in [
            format!("etcd-gateway start --{name}={good}"),
            format!("etcd-gateway start --{name} {good}"),
            format!("etcd-gateway --{name}={good} start"),
            format!("etcd-gateway --{name} {good} start"),
            format!("etcd-gateway gateway --{name} {good} start"),
            format!("/usr/bin/etcd gateway start --{name}={good} --"),
        ] {
            assert_eq!(start(&line, &[]), expected, "{line}");
        }
        let by_variable = start("etcd-gateway start", &[(&variable, good)]);
        assert_eq!(by_variable, expected, "{variable}");
        let empty = start("etcd-gateway start", &[(&variable, "")]);
        assert_eq!(empty, defaults(), "{variable}");

        let missing = refusal(&format!("etcd-gateway start --{name}"), &[]);
        assert!(missing.contains(&format!("--{name} needs a value")));
        // Every text is a path.
        let refused = if name.ends_with("-file") { 0 } else { 2 };
        for (message, origin) in [
            (
                run(&format!("etcd-gateway start --{name}={bad}"), &[]),
                format!("--{name}"),
            ),
            (run("etcd-gateway start", &[(&variable, bad)]), variable),
        ]
        .into_iter()
        .take(refused)
        {
            let message = message.unwrap_err().to_string();
            let head = format!("invalid value {bad:?} for {origin}: ");
            assert!(message.starts_with(&head), "{message}");
        }
        let value_name = flag.takes.value_name().expect("a value");
        let empty = refusal(&format!("etcd-gateway start --{name}="), &[]);
        let write = format!("write --{name}={value_name}, or remove the flag");
        assert_eq!(empty, format!("--{name} has an empty value; {write}"));
    }
}

#[test]
fn the_default_endpoint_is_warned_of() {
    let cases = [
        ("start", true),
        ("check", true),
        ("start --verify-endpoints", true),
        ("start --endpoints=127.0.0.1:2379", false),
        ("start --endpoints-file=/f", false),
        ("start --discovery-srv=example.com", false),
    ];
    for (line, expected) in cases {
        let found = match run(&format!("etcd-gateway {line}"), &[]) {
            Ok(Invocation::Start { warnings, .. } | Invocation::Check { warnings, .. }) => {
                warnings.iter().any(|warning| warning == NO_ENDPOINTS)
            }
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(found, expected, "{line}");
    }
    assert!(NO_ENDPOINTS.contains(&texts(&defaults().endpoints).join(",")));
}

#[test]
fn members_come_from_one_place() {
    let refused = |other: &str| {
        format!(
            "--endpoints-file and --{other} (or their variables) exclude each other; give only one \
             of them"
        )
    };
    type Variables = &'static [(&'static str, &'static str)];
    let cases: [(&str, Variables, &str); 4] = [
        ("--endpoints=a:1 --endpoints-file=/f", &[], "endpoints"),
        (
            "--discovery-srv=a --endpoints-file=/f",
            &[],
            "discovery-srv",
        ),
        (
            "--endpoints-file=/f",
            &[("ETCD_GATEWAY_ENDPOINTS", "a:1")],
            "endpoints",
        ),
        (
            "--endpoints-file=/f",
            &[("ETCD_GATEWAY_DISCOVERY_SRV", "a")],
            "discovery-srv",
        ),
    ];
    for (line, env, other) in cases {
        for command in ["start", "check"] {
            let line = format!("etcd-gateway {command} {line}");
            assert_eq!(refusal(&line, env), refused(other), "{line}");
        }
    }
    // Then the default of --endpoints is not in effect.
    for flag in ["--endpoints-file=f", "--discovery-srv=a"] {
        let line = format!("etcd-gateway config --output=env {flag}");
        let Ok(Invocation::Print(settings)) = run(&line, &[]) else {
            panic!("config prints")
        };
        assert!(
            settings.contains("#ETCD_GATEWAY_ENDPOINTS=\n"),
            "{settings}"
        );
    }
    let (config, warnings) = start(
        "etcd-gateway start --endpoints-file=f --verify-endpoints --trusted-ca-file=/ca.pem",
        &[],
    );
    assert_eq!(config.endpoints_file, Some("f".into()));
    assert!(config.verify_endpoints && warnings.is_empty());
}

#[test]
fn repeated_flags() {
    let (config, warnings) = start(
        "etcd-gateway --listen-addr=:1 start --endpoints=a:1,b:1 --endpoints \"c:1\" \
         --listen-addr=[::1]:2 --log-level=debug --log-level=warn",
        &[("ETCD_GATEWAY_ENDPOINTS", "no")],
    );
    assert_eq!(texts(&config.endpoints), ["a:1", "b:1", "c:1"]);
    assert_eq!(texts(&config.listen_addrs), [":1", "[::1]:2"]);
    assert_eq!(config.log_level, LogLevel::Warn);
    assert_eq!(
        warnings,
        [
            "--log-level is given more than once; the last counts",
            "ETCD_GATEWAY_ENDPOINTS has no effect: --endpoints is given",
        ]
    );
    let line = "etcd-gateway start --max-connections=5 --max-connections=auto";
    assert_eq!(start(line, &[]).0.max_connections, None);
}

#[test]
fn duplicates_are_merged_and_warned_about_once() {
    let (config, warnings) = start(
        "etcd-gateway start --endpoints=https://A:1/,http://b:1,a:1,b:1,a:1 \
         --listen-addr=:0,:0,:1,127.0.0.1:1,:1",
        &[],
    );
    assert_eq!(texts(&config.endpoints), ["a:1", "b:1"]);
    assert_eq!(
        texts(&config.listen_addrs),
        [":0", ":0", ":1", "127.0.0.1:1"]
    );
    assert_eq!(
        warnings,
        [
            "http:// and https:// in front of endpoints have no effect: the gateway passes \
             TLS through and does not terminate it",
            "endpoint a:1 is given more than once; duplicates are merged",
            "address to listen on :1 is given more than once; duplicates are merged",
        ]
    );
}
