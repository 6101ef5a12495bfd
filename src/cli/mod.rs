//! From the command line and the environment to a [`Config`], or to one line of refusal.
//!
//! `args` cuts arguments into flags and words, `flags` is the table that gives them a
//! meaning, `value` and `duration` read values, `env` does the same for variables, `suggest`
//! finds what a mistyped name was meant to be, `help` renders the table, `error` words the
//! refusals. This file drives them. Two stages: `RawArgs` is what was typed, `Config` is
//! resolved and cross-checked. Nothing here does I/O: argv and environment are parameters,
//! what is to be printed is returned.
//!
//! The grammar is that of cobra and pflag, which the reference uses: flags before or after
//! the command, `--flag value` or `--flag=value`, `--` ends the flags, the last use of a
//! scalar counts and lists add up. Stricter on purpose: an argument too many is refused
//! (the reference ignores it), and every value is checked before anything is bound.

mod args;
mod duration;
mod env;
mod error;
mod flags;
mod help;
mod suggest;
mod value;

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::addr::HostPort;
use crate::config::{Config, SrvDiscovery};
use args::{Args, Token};
pub(crate) use error::Error;
use flags::{FLAGS, Flag, RawArgs, Takes};
use value::{ValueError, shown};

/// What the operator asked for.
#[derive(Debug, PartialEq)]
pub(crate) enum Invocation {
    /// To run the gateway.
    Start {
        /// The settings.
        config: Config,
        /// What is odd about them but not wrong, one line each, to be logged.
        warnings: Vec<String>,
    },
    /// To print this on stdout and exit with 0.
    Print(String),
}

enum Command {
    Start,
    Help,
    Version,
}

const COMMANDS: [&str; 3] = ["start", "help", "version"];

/// Reads the command line; `argv[0]` is the name that the program was called by.
pub(crate) fn parse(
    argv: Vec<OsString>,
    env: &[(OsString, OsString)],
) -> Result<Invocation, Error> {
    let mut arguments = argv.into_iter();
    let called_as = arguments.next().unwrap_or_default();
    let arguments: Vec<OsString> = arguments.collect();
    let called_etcd = Path::new(&called_as).file_name() == Some(OsStr::new("etcd"));
    if called_etcd && !is_for_the_gateway(arguments.first()) {
        return Err(Error::OnlyTheGateway);
    }

    let mut raw = RawArgs::default();
    let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
    let mut words = Vec::new();
    let mut args = Args::new(arguments);
    while let Some(token) = args.next() {
        let (flag, attached) = match token {
            Token::Word(word) => {
                words.push(word);
                continue;
            }
            Token::Long(name, attached) => (long_flag(&name)?, attached),
            Token::Short(name, attached) => (short_flag(&name)?, attached),
        };
        let value = match (flag.takes, attached) {
            (_, Some(value)) => value,
            (Takes::Nothing, None) => "true".into(),
            (Takes::One(value_name) | Takes::Many(value_name), None) => {
                let flag = flag.name;
                let missing = || Error::MissingValue { flag, value_name };
                args.value().ok_or_else(missing)?
            }
        };
        apply(flag, &format!("--{}", flag.name), &value, &mut raw)?;
        *uses.entry(flag.name).or_default() += 1;
    }

    // Asked for with a flag, help needs no command to go with it.
    if raw.help {
        return Ok(Invocation::Print(help::help()));
    }
    if raw.version {
        return Ok(Invocation::Print(help::version()));
    }
    match command(&words, called_etcd)? {
        Command::Help => Ok(Invocation::Print(help::help())),
        Command::Version => Ok(Invocation::Print(help::version())),
        Command::Start => {
            let mut warnings = Vec::new();
            for flag in FLAGS.iter().filter(|f| matches!(f.takes, Takes::One(_))) {
                if uses.get(flag.name).is_some_and(|&count| count > 1) {
                    let name = flag.name;
                    warnings.push(format!("--{name} is given more than once; the last counts"));
                }
            }
            env::apply_environment(env, &uses, &mut raw, &mut warnings)?;
            let config = resolve(raw, &mut warnings);
            Ok(Invocation::Start { config, warnings })
        }
    }
}

/// Whether a program named `etcd` would understand `first` as what we are. Anything else is
/// meant for the server, and must not start a gateway by accident.
fn is_for_the_gateway(first: Option<&OsString>) -> bool {
    const FIRST: [&str; 6] = ["gateway", "help", "version", "--help", "-h", "--version"];
    first.is_some_and(|first| FIRST.iter().any(|word| first == word))
}

/// Reads `[gateway] COMMAND`; `help` may be followed by what it is asked about.
fn command(words: &[OsString], called_etcd: bool) -> Result<Command, Error> {
    let words = skip_one_of(words, &["gateway"]);
    let Some((first, rest)) = words.split_first() else {
        let usage = if called_etcd {
            "etcd gateway start"
        } else {
            "etcd-gateway start"
        };
        return Err(Error::NoCommand { usage });
    };
    let command = match first.to_str() {
        Some("start") => Command::Start,
        Some("version") => Command::Version,
        Some("help") => {
            let rest = skip_one_of(skip_one_of(rest, &["gateway"]), &COMMANDS);
            return match rest.first() {
                Some(word) => Err(unknown_command(word)),
                None => Ok(Command::Help),
            };
        }
        _ => return Err(unknown_command(first)),
    };
    match rest.first() {
        Some(word) => Err(Error::ExtraArgument { typed: shown(word) }),
        None => Ok(command),
    }
}

fn skip_one_of<'a>(words: &'a [OsString], known: &[&str]) -> &'a [OsString] {
    match words.split_first() {
        Some((first, rest)) if known.iter().any(|name| first == name) => rest,
        _ => words,
    }
}

fn unknown_command(word: &OsStr) -> Error {
    Error::UnknownCommand {
        typed: shown(word),
        nearest: suggest::nearest(&word.to_string_lossy(), COMMANDS),
    }
}

fn nearest_flag(name: &str) -> Option<&'static str> {
    suggest::nearest(name, FLAGS.iter().map(|flag| flag.name))
}

fn long_flag(name: &str) -> Result<&'static Flag, Error> {
    let found = FLAGS.iter().find(|flag| flag.name == name);
    found.ok_or_else(|| Error::UnknownFlag {
        typed: shown(format!("--{name}").as_ref()),
        nearest: nearest_flag(name),
    })
}

fn short_flag(name: &str) -> Result<&'static Flag, Error> {
    let found = FLAGS.iter().find(|flag| flag.short == Some(name));
    found.ok_or_else(|| {
        let typed = shown(format!("-{name}").as_ref());
        match nearest_flag(name) {
            Some(nearest) => Error::SingleDash { typed, nearest },
            None => Error::UnknownFlag {
                typed,
                nearest: None,
            },
        }
    })
}

fn apply(flag: &Flag, origin: &str, value: &OsStr, raw: &mut RawArgs) -> Result<(), Error> {
    let applied = match value.to_str() {
        Some(text) => (flag.apply)(text, raw),
        None => Err(ValueError::NotUtf8),
    };
    applied.map_err(|error| Error::InvalidValue {
        origin: origin.to_owned(),
        value: shown(value),
        error,
    })
}

/// Fills in the defaults, merges what is double and warns about what has no effect.
fn resolve(raw: RawArgs, warnings: &mut Vec<String>) -> Config {
    let default = Config::default();
    let endpoints_given = !raw.endpoints.is_empty();
    if raw.endpoints.iter().any(|(_, scheme)| scheme.is_some()) {
        warnings.push(
            "http:// and https:// in front of endpoints have no effect: the gateway passes TLS \
             through and does not terminate it"
                .to_owned(),
        );
    }
    let mut endpoints: Vec<HostPort> = raw.endpoints.into_iter().map(|(e, _)| e).collect();
    let mut listen_addrs = raw.listen_addrs;
    if !endpoints_given {
        endpoints = default.endpoints;
    }
    if listen_addrs.is_empty() {
        listen_addrs = default.listen_addrs;
    }
    let discovery = raw.discovery_srv.map(|domain| SrvDiscovery {
        domain,
        name: raw.discovery_srv_name.clone().unwrap_or_default(),
        insecure: raw.insecure_discovery == Some(true),
    });
    let without_effect = match &discovery {
        None => [
            (raw.discovery_srv_name.is_some(), "discovery-srv-name"),
            (raw.insecure_discovery == Some(true), "insecure-discovery"),
        ]
        .iter()
        .filter(|(given, _)| *given)
        .map(|(_, name)| format!("--{name} has no effect without --discovery-srv"))
        .collect(),
        Some(srv) if srv.domain.starts_with('_') && !srv.name.is_empty() => {
            vec![
                "--discovery-srv-name has no effect on a --discovery-srv that begins with _"
                    .to_owned(),
            ]
        }
        Some(_) => Vec::new(),
    };
    warnings.extend(without_effect);
    merge(&mut endpoints, "endpoint", warnings);
    merge(&mut listen_addrs, "address to listen on", warnings);
    Config {
        endpoints,
        endpoints_given,
        listen_addrs,
        retry_delay: raw.retry_delay.unwrap_or(default.retry_delay),
        dial_timeout: raw.dial_timeout.unwrap_or(default.dial_timeout),
        drain_timeout: raw.drain_timeout.unwrap_or(default.drain_timeout),
        discovery,
        close_removed: raw.close_removed.or(default.close_removed),
        max_connections: raw.max_connections.or(default.max_connections),
        log_level: raw.log_level.unwrap_or(default.log_level),
        log_format: raw.log_format.or(default.log_format),
    }
}

/// Keeps the first of equal addresses, in order, and warns once if there are others. Port 0
/// asks for any free port, so two of those are two listeners.
fn merge(addresses: &mut Vec<HostPort>, what: &str, warnings: &mut Vec<String>) {
    let mut seen = HashSet::new();
    let mut double = None;
    addresses.retain(|address| {
        let keep = address.port == 0 || seen.insert(address.clone());
        if !keep && double.is_none() {
            double = Some(address.clone());
        }
        keep
    });
    if let Some(address) = double {
        warnings.push(format!(
            "{what} {address} is given more than once; duplicates are merged"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{parse_endpoint, parse_listen};
    use crate::config::{LogFormat, LogLevel};
    use std::os::unix::ffi::OsStringExt;
    use std::time::Duration;

    /// Runs the parser on a command line written with blanks between the arguments.
    pub(in crate::cli) fn run(line: &str, env: &[(&str, &str)]) -> Result<Invocation, Error> {
        let argv = line.split(' ').map(OsString::from).collect();
        let env: Vec<_> = env.iter().map(|(k, v)| (k.into(), v.into())).collect();
        parse(argv, &env)
    }

    /// The settings and warnings of a command line that starts the gateway.
    pub(in crate::cli) fn start(line: &str, env: &[(&str, &str)]) -> (Config, Vec<String>) {
        match run(line, env) {
            Ok(Invocation::Start { config, warnings }) => (config, warnings),
            other => panic!("{line}: {other:?}"),
        }
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
            assert!(names.insert(name), "{name} stands twice");
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
            let is_switch = flag.takes == Takes::Nothing;
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
        let default = Config::default();
        assert_eq!(start("etcd-gateway start", &[]), (default.clone(), vec![]));
        assert_eq!(default.retry_delay, Duration::from_secs(60));
        assert_eq!(texts(&default.endpoints), ["127.0.0.1:2379"]);
        assert_eq!(texts(&default.listen_addrs), ["127.0.0.1:23790"]);
        for flag in FLAGS.iter().filter(|flag| flag.takes != Takes::Nothing) {
            let line = format!("etcd-gateway start --{}={}", flag.name, flag.default);
            let (mut config, warnings) = start(&line, &[]);
            config.endpoints_given = false;
            assert_eq!((config, warnings), (default.clone(), vec![]), "{line}");
        }
    }

    fn srv(domain: &str) -> SrvDiscovery {
        SrvDiscovery {
            domain: domain.to_owned(),
            name: String::new(),
            insecure: false,
        }
    }

    #[test]
    fn discovery_flags_together() {
        let (config, warnings) = start(
            "etcd-gateway start --discovery-srv=example.com. --discovery-srv-name=blue \
             --insecure-discovery --endpoints=a:1",
            &[],
        );
        let expected = SrvDiscovery {
            name: "blue".to_owned(),
            insecure: true,
            ..srv("example.com.")
        };
        assert_eq!(config.discovery, Some(expected));
        assert!(config.endpoints_given && warnings.is_empty());

        let off = [("ETCD_GATEWAY_INSECURE_DISCOVERY", "true")];
        let line = "etcd-gateway start --discovery-srv=a --insecure-discovery=false";
        assert_eq!(start(line, &off).0.discovery, Some(srv("a")));

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

    /// Of each flag: a good value and what the settings become by it, and a bad value.
    #[test]
    fn every_flag_in_every_form() {
        type Set = fn(&mut Config);
        let cases: [(&str, &str, Set, &str); 11] = [
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
                |c| c.listen_addrs = vec![parse_listen(":1").unwrap()],
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
                "discovery-srv",
                "_client._tcp.Example.com",
                |c| c.discovery = Some(srv("_client._tcp.example.com")),
                "10.0.0.1",
            ),
            ("discovery-srv-name", "", |_| {}, "a.b"),
            (
                "close-removed",
                "1m",
                |c| c.close_removed = Some(Duration::from_secs(60)),
                "1",
            ),
            (
                "log-level",
                "error",
                |c| c.log_level = LogLevel::Error,
                "fatal",
            ),
            (
                "log-format",
                "console",
                |c| c.log_format = Some(LogFormat::Text),
                "xml",
            ),
        ];
        let with_values = FLAGS.iter().filter(|flag| flag.takes != Takes::Nothing);
        let names: Vec<&str> = with_values.clone().map(|flag| flag.name).collect();
        assert_eq!(names, cases.map(|(name, ..)| name), "a flag without a case");
        for (flag, (name, good, set, bad)) in with_values.zip(cases) {
            let mut expected = Config::default();
            set(&mut expected);
            let variable = flag.variable().unwrap();
            let expected = (expected, vec![]);
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
            assert_eq!(empty, (Config::default(), vec![]), "{variable}");

            let missing = refusal(&format!("etcd-gateway start --{name}"), &[]);
            assert!(missing.contains(&format!("--{name} needs a value")));
            for (message, origin) in [
                (
                    refusal(&format!("etcd-gateway start --{name}={bad}"), &[]),
                    format!("--{name}"),
                ),
                (refusal("etcd-gateway start", &[(&variable, bad)]), variable),
            ] {
                let head = format!("invalid value {bad:?} for {origin}: ");
                assert!(message.starts_with(&head), "{message}");
            }
            let empty = format!("etcd-gateway start --{name}=");
            if flag.default.is_empty() {
                assert_eq!(start(&empty, &[]), (Config::default(), vec![]));
            } else {
                assert!(
                    refusal(&empty, &[]).starts_with("invalid value \"\" for"),
                    "{empty}"
                );
            }
        }
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
    fn what_is_odd_is_merged_and_warned_about_once() {
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

    #[test]
    fn help_and_version() {
        let help = Ok(Invocation::Print(help::help()));
        let version = Ok(Invocation::Print(help::version()));
        const HELP: [&str; 14] = [
            "etcd-gateway --help",
            "etcd-gateway -h",
            "etcd-gateway help",
            "etcd-gateway help start",
            "etcd-gateway help gateway start",
            "etcd-gateway gateway help",
            "etcd-gateway gateway --help",
            "etcd-gateway start --help",
            "etcd-gateway start -h --endpoints=a:1 --version",
            "etcd-gateway --endpoints a:1 start --help=true",
            // As in cobra, help asked for with a flag wins over words.
            "etcd-gateway nonsense --help",
            "etcd --help",
            "etcd help",
            "etcd gateway start --help",
        ];
        for line in HELP {
            assert_eq!(
                run(line, &[("ETCD_GATEWAY_ENDPOINTS", "!")]),
                help,
                "{line}"
            );
        }
        const VERSION: [&str; 6] = [
            "etcd-gateway --version",
            "etcd-gateway version",
            "etcd-gateway start --version",
            "etcd-gateway gateway version",
            "etcd --version",
            "etcd version",
        ];
        for line in VERSION {
            assert_eq!(run(line, &[]), version, "{line}");
        }
        assert_eq!(
            start("etcd-gateway start --help=false", &[]),
            (Config::default(), vec![])
        );
        // Not over an invalid value, in either order, as in pflag.
        for line in [
            "etcd-gateway -h --retry-delay=1",
            "etcd-gateway --retry-delay=1 -h",
        ] {
            assert!(refusal(line, &[]).contains("missing unit"), "{line}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_by_name() {
        let bad = OsString::from_vec(b"a\xff\n".to_vec());
        let words = |last: &OsString| vec!["etcd-gateway".into(), "start".into(), last.clone()];
        let mut flag = OsString::from("--endpoints=");
        flag.push(&bad);
        let message = parse(words(&flag), &[]).unwrap_err().to_string();
        let expected = "invalid value \"a\\xFF\\n\" for --endpoints: is not UTF-8 text; write plain \
                        ASCII";
        assert_eq!(message, expected);
        let env = [("ETCD_GATEWAY_ENDPOINTS".into(), bad.clone())];
        let argv = vec!["etcd-gateway".into(), "start".into()];
        let message = parse(argv, &env).unwrap_err().to_string();
        let expected = expected.replace("--endpoints", "ETCD_GATEWAY_ENDPOINTS");
        assert_eq!(message, expected);
        let message = parse(words(&bad), &[]).unwrap_err().to_string();
        assert!(message.starts_with("unexpected argument \"a\\xFF\\n\";"));
        assert!(parse(vec![], &[]).is_err());
        assert!(parse(vec![bad], &[]).is_err());
    }

    /// All sequences of up to three arguments over a hostile vocabulary: no panic, a refusal
    /// is one short line of printable text, and what starts has sound settings.
    #[test]
    fn sweep() {
        let vocabulary: Vec<OsString> = [
            "start",
            "gateway",
            "help",
            "",
            "-",
            "--",
            "---",
            "-h",
            "-hh=",
            "--=",
            "--help=false",
            "--version=x",
            "--endpoints",
            "--endpoints=",
            "--endpoints=a:1,a:1",
            "-endpoints",
            "--retry-delay",
            "--retry-delay=1\u{b5}s",
            "5s",
            "\u{1b}[2J\r\n",
        ]
        .into_iter()
        .map(OsString::from)
        .chain([
            OsString::from_vec(b"--\xff=\xff".to_vec()),
            OsString::from_vec(b"--log-level=\xf0".to_vec()),
            OsString::from("x".repeat(5_000)),
        ])
        .collect();
        let (mut started, mut printed, mut refused) = (0, 0, 0);
        for name in ["etcd-gateway", "etcd"] {
            let mut layer = vec![vec![OsString::from(name)]];
            for _ in 0..3 {
                let longer = |line: &Vec<OsString>| -> Vec<Vec<OsString>> {
                    let append =
                        |word: &OsString| [line.as_slice(), std::slice::from_ref(word)].concat();
                    vocabulary.iter().map(append).collect()
                };
                layer = layer.iter().flat_map(longer).collect();
                for line in &layer {
                    match parse(line.clone(), &[]) {
                        Ok(Invocation::Start { config, .. }) => {
                            started += 1;
                            assert!(!config.endpoints.is_empty(), "{line:?}");
                            assert!(config.retry_delay >= Duration::from_millis(1), "{line:?}");
                            assert!(line.contains(&"start".into()), "{line:?}");
                        }
                        Ok(Invocation::Print(_)) => printed += 1,
                        Err(error) => {
                            refused += 1;
                            let text = error.to_string();
                            assert!(text.len() < 1_000, "{line:?}: {text}");
                            assert!(!text.contains(char::is_control), "{line:?}: {text}");
                        }
                    }
                }
            }
        }
        assert_eq!(started + printed + refused, 2 * (23 + 529 + 12_167));
        assert!(started > 20 && printed > 20, "{started} {printed}");
    }
}
