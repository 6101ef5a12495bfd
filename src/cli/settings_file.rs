//! The settings file: sets each flag from an assignment to the name of its variable.
//!
//! The file may be shared with other programs, as an environment is: names without our prefix are ignored. An unknown name
//! with our prefix is an error, because it was written for this program. An empty value counts as unset. `env_file` reads
//! the syntax; the caller says how to read a file.

use std::io;
use std::path::Path;

use super::env::meant;
use super::env_file::{self, Assignment};
use super::error::{Error, shown};
use super::flags::{self, FLAGS, Flag, VARIABLE_PREFIX};
use super::sources::Sources;
use super::value::SettingsFile;
use crate::config::Origin;
use crate::sys::{self, OsErrorText};

/// Reads at most this many octets of a regular file; `None` if it is not a regular file.
pub(crate) type ReadFile<'a> = &'a dyn Fn(&Path, usize) -> io::Result<Option<Vec<u8>>>;

/// The most octets of a settings file: about a hundred times what is needed to set every flag.
const MAX_TEXT: usize = 64 * 1024;

/// Applies the settings file, if one is named, to the flags that the other sources do not set.
pub(super) fn apply_settings_file(sources: &mut Sources, read: ReadFile) -> Result<(), Error> {
    let Some(SettingsFile { path, optional }) = sources.options.config_file.clone() else {
        return Ok(());
    };
    let file = path.to_string_lossy().replace(char::is_control, " ");
    let refused = |problem: String| Error::from(format!("--config-file: {file}: {problem}"));
    let refused_at =
        |line, problem| Error::from(format!("--config-file: {file}:{line}: {problem}"));
    let content = match read(&path, MAX_TEXT + 1) {
        Ok(Some(content)) if content.len() <= MAX_TEXT => content,
        Ok(Some(_)) => {
            let problem = format!("is larger than {MAX_TEXT} bytes; name a file of settings");
            return Err(refused(problem));
        }
        Ok(None) => {
            return Err(refused(
                "is not a regular file; name one that is".to_owned(),
            ));
        }
        Err(error) if optional && error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused(unreadable(&error))),
    };
    let assignments = env_file::parse(&content)
        .map_err(|error| refused_at(error.line, error.cause.to_string()))?;
    let mut ours = Vec::new();
    for assignment in assignments {
        match flag_of(&assignment) {
            Ok(Some(flag)) => ours.push((flag.name, assignment)),
            Ok(None) => {}
            Err(problem) => return Err(refused_at(assignment.line, problem)),
        }
    }
    for flag in FLAGS {
        let of_flag = ours.iter().filter(|(name, _)| *name == flag.name);
        let Some((_, Assignment { line, name, value })) = of_flag.clone().next_back() else {
            continue;
        };
        let (path, line) = (path.clone(), *line);
        let origin = Origin::File { path, line };
        if of_flag.count() > 1 {
            let warning = format!("{name} ({origin}) is set more than once; the last counts");
            sources.warnings.push(warning);
        }
        if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
            sources.take(flag, origin, value.as_ref())?;
        }
    }
    Ok(())
}

/// The flag that an assignment is for; `None` if it is for another program.
fn flag_of(assignment: &Assignment) -> Result<Option<&'static Flag>, String> {
    let name = &assignment.name;
    if !name.contains(VARIABLE_PREFIX) {
        return Ok(None);
    }
    let typed = shown(name.as_ref());
    if assignment.value.is_none() {
        return Err(format!("{typed} has no =; write NAME=value"));
    }
    let is_name = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'_';
    if !name.bytes().all(is_name) {
        return Err(format!(
            "{typed} is not the name of a variable; write NAME=value, and nothing in front (no \
             export)"
        ));
    }
    if !name.starts_with(VARIABLE_PREFIX) {
        return Ok(None);
    }
    match flags::of_variable(name) {
        Some(flag) if flag.in_file() => Ok(Some(flag)),
        Some(_) => Err("a settings file cannot name another; remove the line".to_owned()),
        None => Err(match meant(name) {
            Some(name) => format!("unknown variable {typed}; did you mean {name}?"),
            None => format!("unknown variable {typed}; --help lists the variables"),
        }),
    }
}

/// Why the file cannot be read, in the words of the system, with the remedy.
fn unreadable(error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "let the user of the gateway read it: it holds nothing secret"
        }
        io::ErrorKind::NotFound => {
            "name a file that is there, or write - in front of the path if it may be absent"
        }
        _ => sys::shortage(error).unwrap_or("name a readable file"),
    };
    format!("cannot be read: {}; {remedy}", OsErrorText(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::{defaults, run, run_with};
    use crate::cli::{Invocation, parse};
    use crate::config::Config;
    use std::ffi::OsString;

    /// The settings and warnings of a start with this file.
    fn start(content: &[u8]) -> Result<(Config, Vec<String>), String> {
        started(run_with("g start --config-file=/f", &[], content))
    }

    fn started(run: Result<Invocation, Error>) -> Result<(Config, Vec<String>), String> {
        match run {
            Ok(Invocation::Start { config, warnings }) => Ok((config, warnings)),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_file_as_operators_have_it() {
        let content = b"# Flags of etcd-gateway.service\r\n\
            LANG=C.UTF-8\nGOMAXPROCS\nexport FOO=bar\n etcd_gateway_policy=x\nMY_ETCD_GATEWAY_X=1\n\
            ETCD_GATEWAY_ENDPOINTS=\"10.0.0.1:2379,\\\n10.0.0.2:2379\"\n\
            ETCD_GATEWAY_DIAL_TIMEOUT = '2s' \n\
            ETCD_GATEWAY_VERIFY_ENDPOINTS=true\n\
            ;ETCD_GATEWAY_NONSENSE=1\n\
            ETCD_GATEWAY_POLICY=\n\
            ETCD_GATEWAY_TRUSTED_CA_FILE=/etc/a\\ b.pem";
        let (config, warnings) = start(content).unwrap();
        let endpoints: Vec<String> = config.endpoints.iter().map(ToString::to_string).collect();
        assert_eq!(endpoints, ["10.0.0.1:2379", "10.0.0.2:2379"]);
        assert_eq!(config.dial_timeout.as_secs(), 2);
        assert!(config.verify_endpoints);
        assert_eq!(config.policy, defaults().policy);
        assert_eq!(config.trusted_ca_file, Some("/etc/a b.pem".into()));
        assert_eq!(warnings, Vec::<String>::new());
    }

    #[test]
    fn refusals_name_file_and_line() {
        let large = vec![b'#'; MAX_TEXT + 1];
        let cases: &[(&[u8], &str)] = &[
            (
                b"\n\nETCD_GATEWAY_RETRY_DELAY=123",
                "invalid value \"123\" for ETCD_GATEWAY_RETRY_DELAY (/f:3): time: missing unit in \
                 duration \"123\"; write 1m30s, 5s or 250ms",
            ),
            (
                b"ETCD_GATEWAY_POLICY=x\nETCD_GATEWAY_ENDPOINT=x",
                "--config-file: /f:2: unknown variable \"ETCD_GATEWAY_ENDPOINT\"; did you mean \
                 ETCD_GATEWAY_ENDPOINTS?",
            ),
            (
                b"ETCD_GATEWAY_OUTPUT=",
                "--config-file: /f:1: unknown variable \"ETCD_GATEWAY_OUTPUT\"; --help lists the \
                 variables",
            ),
            (
                b"ETCD_GATEWAY_CONFIG_FILE=/g",
                "--config-file: /f:1: a settings file cannot name another; remove the line",
            ),
            (
                b"A=1\nexport ETCD_GATEWAY_POLICY=x",
                "--config-file: /f:2: \"export ETCD_GATEWAY_POLICY\" is not the name of a variable; \
                 write NAME=value, and nothing in front (no export)",
            ),
            (
                b"\xef\xbb\xbfETCD_GATEWAY_POLICY=x",
                "--config-file: /f:1: \"\\u{feff}ETCD_GATEWAY_POLICY\" is not the name of a variable; \
                 write NAME=value, and nothing in front (no export)",
            ),
            (
                b"ETCD_GATEWAY_ENDPOINTS a:1",
                "--config-file: /f:1: \"ETCD_GATEWAY_ENDPOINTS a:1\" has no =; write NAME=value",
            ),
            (
                b"A=1\nB=\"1",
                "--config-file: /f:2: the quote is not closed; end the value with \"",
            ),
            (
                b"A=1\nB=\xff",
                "--config-file: /f:2: is not UTF-8 text; write plain ASCII",
            ),
            (
                b"\n\0",
                "--config-file: /f:2: there is a NUL octet; write plain text",
            ),
            (
                &large,
                "--config-file: /f: is larger than 65536 bytes; name a file of settings",
            ),
        ];
        for (content, expected) in cases {
            let shown = String::from_utf8_lossy(content.get(..80).unwrap_or(content));
            assert_eq!(start(content).unwrap_err(), *expected, "{shown:?}");
        }
        assert!(start(&large[1..]).is_ok());
    }

    #[test]
    fn the_command_line_wins_over_the_environment_and_that_over_the_file() {
        const CONTENT: &[u8] = b"ETCD_GATEWAY_RETRY_DELAY=1s\nETCD_GATEWAY_DIAL_TIMEOUT=1s\n\
            ETCD_GATEWAY_DRAIN_TIMEOUT=1s\nETCD_GATEWAY_ENDPOINTS=a:1\n\
            ETCD_GATEWAY_DRAIN_TIMEOUT=4s\nETCD_GATEWAY_LOG_LEVEL=debug\nETCD_GATEWAY_LOG_LEVEL=\n";
        let environment = [
            ("ETCD_GATEWAY_CONFIG_FILE", "-/f"),
            ("ETCD_GATEWAY_RETRY_DELAY", "2s"),
            ("ETCD_GATEWAY_DIAL_TIMEOUT", "2s"),
            ("ETCD_GATEWAY_ENDPOINTS", ""),
        ];
        let line = "g start --retry-delay=3s --listen-addr=:1 --listen-addr=:2";
        let (config, warnings) = started(run_with(line, &environment, CONTENT)).unwrap();
        let seconds = [
            config.retry_delay,
            config.dial_timeout,
            config.drain_timeout,
        ];
        assert_eq!(seconds.map(|time| time.as_secs()), [3, 2, 4]);
        assert_eq!(
            warnings,
            [
                "ETCD_GATEWAY_RETRY_DELAY has no effect: --retry-delay is given",
                "ETCD_GATEWAY_RETRY_DELAY (/f:1) has no effect: --retry-delay is given",
                "ETCD_GATEWAY_DIAL_TIMEOUT (/f:2) has no effect: the environment sets it",
                "ETCD_GATEWAY_DRAIN_TIMEOUT (/f:5) is set more than once; the last counts",
                "ETCD_GATEWAY_LOG_LEVEL (/f:7) is set more than once; the last counts",
            ]
        );
        let settings = config.settings.table();
        let lines: Vec<Vec<&str>> = settings
            .lines()
            .map(|line| line.splitn(3, "  ").map(str::trim).collect())
            .collect();
        for (name, expected) in [
            ("NAME", "VALUE ORIGIN"),
            ("ETCD_GATEWAY_ENDPOINTS", "a:1 /f:4"),
            ("ETCD_GATEWAY_LISTEN_ADDR", ":1,:2 command line"),
            ("ETCD_GATEWAY_RETRY_DELAY", "3s command line"),
            ("ETCD_GATEWAY_DIAL_TIMEOUT", "2s environment"),
            ("ETCD_GATEWAY_DRAIN_TIMEOUT", "4s /f:5"),
            ("ETCD_GATEWAY_LOG_LEVEL", "info default"),
            ("ETCD_GATEWAY_MAX_CONNECTIONS", "auto default"),
            ("ETCD_GATEWAY_VERIFY_ENDPOINTS", "false default"),
            ("ETCD_GATEWAY_TRUSTED_CA_FILE", "- default"),
            ("ETCD_GATEWAY_CONFIG_FILE", "-/f environment"),
        ] {
            let found = lines.iter().find(|line| line.first() == Some(&name));
            let rest = found.map(|line| line[1..].join(" "));
            let rest = rest.map(|rest| rest.split_whitespace().collect::<Vec<_>>().join(" "));
            assert_eq!(rest.as_deref(), Some(expected), "{settings}");
        }
    }

    /// The settings file that `config` prints is read back as the same settings.
    #[test]
    fn settings_survive_being_written_as_a_file() {
        let argv = |command: &str| {
            [
                "g",
                command,
                "--output=env",
                "--endpoints=a:1,b:1",
                "--endpoints=\"c:1\"",
                "--trusted-ca-file=/a b\"\\$`'\n#\\",
                "--access-log=/x\\",
                "--verify-endpoints",
                "--health-check=http://:2381/health?exclude=NOSPACE",
            ]
            .map(OsString::from)
            .to_vec()
        };
        let environment = [("ETCD_GATEWAY_POLICY".into(), "round-robin".into())];
        let none = |_: &Path, _: usize| Err(io::ErrorKind::NotFound.into());
        let Ok(Invocation::Print(file)) = parse(argv("config"), &environment, &none) else {
            panic!("config prints")
        };
        assert!(file.contains("\n# environment\nETCD_GATEWAY_POLICY=round-robin\n"));
        assert!(file.contains("\n#ETCD_GATEWAY_DIAL_TIMEOUT=5s\n"), "{file}");
        let read = |content: &[u8]| started(run_with("g start --config-file=/f", &[], content));
        let (mut again, warnings) = read(file.as_bytes()).unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        let (mut config, _) = started(parse(argv("start"), &environment, &none)).unwrap();
        let values = |config: &Config| -> Vec<String> {
            let in_file = config.settings.0.iter().filter(|setting| setting.in_file);
            in_file.map(|setting| setting.value.clone()).collect()
        };
        assert_eq!(values(&config), values(&again), "{file}");
        config.settings.0.clear();
        again.settings.0.clear();
        assert_eq!(config, again);
    }

    #[test]
    fn only_an_optional_file_may_be_absent() {
        let read = |path: &str, error: i32| {
            let argv = ["g", "start", "--endpoints=a:1", "--config-file", path].map(OsString::from);
            let read = |_: &Path, _: usize| match error {
                0 => Ok(None),
                number => Err(io::Error::from_raw_os_error(number)),
            };
            started(parse(argv.to_vec(), &[], &read)).map(|(_, warnings)| warnings)
        };
        assert_eq!(read("-/f", 2), Ok(Vec::new()));
        for (path, error, expected) in [
            (
                "/f",
                2,
                "cannot be read: no such file or directory; name a file that is there, or write - \
                 in front of the path if it may be absent",
            ),
            (
                "-/f",
                13,
                "cannot be read: permission denied; let the user of the gateway read it: it holds \
                 nothing secret",
            ),
            (
                "-/f",
                5,
                "cannot be read: input/output error; name a readable file",
            ),
            ("-/f", 0, "is not a regular file; name one that is"),
        ] {
            let expected = format!("--config-file: /f: {expected}");
            assert_eq!(read(path, error), Err(expected), "{path}");
        }
        let refused = run("g start --config-file=-", &[]);
        let expected = "invalid value \"-\" for --config-file: write a path; a - in front of it \
                        means that the file may be absent";
        assert_eq!(refused.unwrap_err().to_string(), expected);
        // It is not read if it is not named, nor by commands that do not use settings.
        assert!(run("g start", &[]).is_ok());
        let help = run("g --help", &[("ETCD_GATEWAY_CONFIG_FILE", "/f")]);
        assert!(matches!(help, Ok(Invocation::Print(_))));
    }
}
