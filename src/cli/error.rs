//! Why a command line is refused: one line that names the flag or variable, the value and
//! the remedy.
//!
//! All text that came from outside has been through `value::shown` before it gets in here,
//! so the line can be printed as it is. The program's name is for the caller to add.

use std::fmt;

use super::generate;
use super::manual;
use super::settings_file::Cause;
use super::value::ValueError;

/// Why the command line or the environment is refused. Texts are escaped and cut already.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Error {
    /// Called as `etcd`, for anything but the gateway.
    OnlyTheGateway,
    /// No command was given.
    NoCommand {
        /// What to write.
        usage: &'static str,
    },
    /// A word where a command is expected, but none.
    UnknownCommand {
        /// The word.
        typed: String,
        /// The command that was probably meant.
        nearest: Option<&'static str>,
    },
    /// `generate` without the name of what it can generate.
    NotGenerated,
    /// `generate man` with a name that no page has.
    NoSuchPage,
    /// A word behind the command.
    ExtraArgument {
        /// The word.
        typed: String,
    },
    /// What a switch was meant to be set to, as a word of its own.
    DetachedBoolean {
        /// The word.
        typed: String,
    },
    /// A flag that does not exist.
    UnknownFlag {
        /// The flag with its dashes.
        typed: String,
        /// The flag that was probably meant.
        nearest: Option<&'static str>,
    },
    /// A long flag behind one dash.
    SingleDash {
        /// The flag with its dash.
        typed: String,
        /// The flag that was probably meant.
        nearest: &'static str,
    },
    /// A flag at the end of the line that takes a value.
    MissingValue {
        /// The flag's name.
        flag: &'static str,
        /// The name of its value.
        value_name: &'static str,
    },
    /// A flag with nothing behind its `=`, as of a shell's variable that is not set.
    EmptyValue {
        /// The flag's name.
        flag: &'static str,
        /// The name of its value.
        value_name: &'static str,
    },
    /// `check --output=env`.
    OnlyConfigPrintsEnv,
    /// Two flags of which only one can hold.
    Exclusive {
        /// The one flag's name.
        one: &'static str,
        /// The other's.
        other: &'static str,
    },
    /// A settings file that cannot be read, or is wrong.
    SettingsFile {
        path: String,
        /// From 1.
        line: Option<usize>,
        cause: Cause,
    },
    /// A value that is refused.
    InvalidValue {
        /// `--flag`, or the name of the variable with its place if it is in a file.
        origin: String,
        /// The value.
        value: String,
        /// What is wrong with it.
        error: ValueError,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnlyTheGateway => f.write_str(
                "called as etcd, but this program is only its gateway; write `etcd gateway start`",
            ),
            Self::NoCommand { usage } => write!(f, "no command is given; write `{usage}`"),
            Self::UnknownCommand { typed, nearest } => {
                write!(f, "unknown command {typed}; ")?;
                match nearest {
                    Some(name) => write!(f, "did you mean {name}?"),
                    None => {
                        let names: Vec<&str> = manual::command_names().collect();
                        write!(f, "the commands are {}", names.join(", "))
                    }
                }
            }
            Self::NotGenerated => {
                write!(f, "generate: write one of {}", generate::names().join(", "))
            }
            Self::NoSuchPage => write!(
                f,
                "generate man: write one of {}, or none of them for the page of commands and flags",
                generate::page_names().join(", ")
            ),
            Self::ExtraArgument { typed } => write!(
                f,
                "unexpected argument {typed}; only flags may follow, and lists have no blanks"
            ),
            Self::DetachedBoolean { typed } => write!(
                f,
                "unexpected argument {typed}; a flag that takes no value is written alone, or with \
                 =true or =false attached"
            ),
            Self::UnknownFlag { typed, nearest } => {
                write!(f, "unknown flag {typed}; ")?;
                match nearest {
                    Some(name) => write!(f, "did you mean --{name}?"),
                    None => f.write_str("--help lists the flags"),
                }
            }
            Self::SingleDash { typed, nearest } => {
                write!(
                    f,
                    "unknown flag {typed}; write --{nearest}, with two dashes"
                )
            }
            Self::MissingValue { flag, value_name } => {
                write!(f, "--{flag} needs a value; write --{flag}={value_name}")
            }
            Self::EmptyValue { flag, value_name } => write!(
                f,
                "--{flag} has an empty value; write --{flag}={value_name}, or remove the flag"
            ),
            Self::OnlyConfigPrintsEnv => {
                f.write_str("--output=env is for config alone; write table or json")
            }
            Self::Exclusive { one, other } => write!(
                f,
                "--{one} and --{other} (or their variables) exclude each other; give one of them"
            ),
            Self::SettingsFile { path, line, cause } => {
                let line = line.map_or_else(String::new, |line| format!(":{line}"));
                write!(f, "--config-file: {path}{line}: {cause}")
            }
            Self::InvalidValue {
                origin,
                value,
                error,
            } => write!(f, "invalid value {value} for {origin}: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::InvalidValue { error, .. } => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::AddrError;
    use crate::cli::tests::{refusal, run};

    #[test]
    fn refusals_name_the_thing_and_the_remedy() {
        const CASES: &[(&str, &str)] = &[
            (
                "etcd-gateway",
                "no command is given; write `etcd-gateway start`",
            ),
            (
                "etcd-gateway --endpoints=a:1",
                "no command is given; write `etcd-gateway start`",
            ),
            (
                "etcd gateway",
                "no command is given; write `etcd gateway start`",
            ),
            (
                "etcd",
                "called as etcd, but this program is only its gateway; write `etcd gateway start`",
            ),
            (
                "/usr/bin/etcd --data-dir=/var/lib/etcd",
                "called as etcd, but this program is only its gateway; write `etcd gateway start`",
            ),
            (
                "etcd-gateway strat",
                "unknown command \"strat\"; did you mean start?",
            ),
            (
                "etcd-gateway help strat",
                "unknown command \"strat\"; did you mean start?",
            ),
            (
                "etcd-gateway grpc-proxy start",
                "unknown command \"grpc-proxy\"; the commands are start, check, config, generate, help, version",
            ),
            (
                "etcd-gateway generate",
                "generate: write one of man, bash, zsh, fish, unit, socket, settings",
            ),
            (
                "etcd-gateway generate powershell",
                "generate: write one of man, bash, zsh, fish, unit, socket, settings",
            ),
            (
                "etcd-gateway generate man page",
                "generate man: write one of files, behaviour, operation, metrics, logs, security, or none of them \
                 for the page of commands and flags",
            ),
            (
                "etcd-gateway generate man logs page",
                "unexpected argument \"page\"; only flags may follow, and lists have no blanks",
            ),
            (
                "etcd-gateway start help",
                "unexpected argument \"help\"; only flags may follow, and lists have no blanks",
            ),
            (
                "etcd-gateway start --verify-endpoints yes",
                "unexpected argument \"yes\"; a flag that takes no value is written alone, or with \
                 =true or =false attached",
            ),
            (
                "etcd-gateway start --endpoints a:1 b:1",
                "unexpected argument \"b:1\"; only flags may follow, and lists have no blanks",
            ),
            (
                "etcd-gateway start -- --endpoints=a:1",
                "unexpected argument \"--endpoints=a:1\"; only flags may follow, and lists have no \
                 blanks",
            ),
            (
                "etcd-gateway start --endpoint=a:1",
                "unknown flag \"--endpoint\"; did you mean --endpoints?",
            ),
            (
                "etcd-gateway start --data-dir=/x",
                "unknown flag \"--data-dir\"; --help lists the flags",
            ),
            (
                "etcd-gateway start -endpoints=a:1",
                "unknown flag \"-endpoints\"; write --endpoints, with two dashes",
            ),
            (
                "etcd-gateway start -x",
                "unknown flag \"-x\"; --help lists the flags",
            ),
            (
                "etcd-gateway start --=3",
                "unknown flag \"--\"; --help lists the flags",
            ),
            (
                "etcd-gateway start --retry-delay",
                "--retry-delay needs a value; write --retry-delay=DURATION",
            ),
            (
                "etcd-gateway start --retry-delay=123",
                "invalid value \"123\" for --retry-delay: time: missing unit in duration \"123\"; \
                 write 1m30s, 5s or 250ms",
            ),
            (
                "etcd-gateway start --retry-delay -1s",
                "invalid value \"-1s\" for --retry-delay: retrying without a pause would be a busy \
                 loop; write 1ms or more",
            ),
            (
                "etcd-gateway start --dial-timeout=0s",
                "invalid value \"0s\" for --dial-timeout: no connection could be made in that \
                 time; write 1ms or more",
            ),
            (
                "etcd-gateway start --drain-timeout=-1s",
                "invalid value \"-1s\" for --drain-timeout: time cannot be negative; write 0s or \
                 more",
            ),
            (
                "etcd-gateway start --close-removed=sometimes",
                "invalid value \"sometimes\" for --close-removed: time: invalid duration \
                 \"sometimes\"; write 1m30s, 5s or 250ms, or never",
            ),
            (
                "etcd-gateway start --endpoints=127.0.0.1",
                "invalid value \"127.0.0.1\" for --endpoints: has no port; write 127.0.0.1:2379",
            ),
            (
                "etcd-gateway start --endpoints=a:1,b",
                "invalid value \"a:1,b\" for --endpoints: item \"b\": has no port; write b:2379",
            ),
            (
                "etcd-gateway start --endpoints=",
                "--endpoints has an empty value; write --endpoints=HOST:PORT,..., or remove the flag",
            ),
            (
                "etcd-gateway start --endpoints=a:99999",
                "invalid value \"a:99999\" for --endpoints: the port must be within 1-65535",
            ),
            (
                "etcd-gateway start --listen-addr=nonsense",
                "invalid value \"nonsense\" for --listen-addr: has no port; write nonsense:23790",
            ),
            (
                "etcd-gateway start --metrics-addr=9100",
                "invalid value \"9100\" for --metrics-addr: has no host; write 127.0.0.1:9100",
            ),
            (
                "etcd-gateway start --metrics-addr=https://127.0.0.1:9100",
                "invalid value \"https://127.0.0.1:9100\" for --metrics-addr: metrics are served \
                 over plain HTTP; write host:port or http://host:port",
            ),
            (
                "etcd-gateway start --endpoints --listen-addr=:1",
                "invalid value \"--listen-addr=:1\" for --endpoints: a host name cannot have '=' \
                 in it (letters, digits, '-', '_' and '.' only)",
            ),
            (
                "etcd-gateway start --log-level=trace",
                "invalid value \"trace\" for --log-level: write one of debug, info, warn, error",
            ),
            (
                "etcd-gateway start --max-connections=0",
                "invalid value \"0\" for --max-connections: write auto or a number from 1 to \
                 2097152",
            ),
            (
                "etcd-gateway start --help=yes",
                "invalid value \"yes\" for --help: write true or false",
            ),
        ];
        for &(line, expected) in CASES {
            assert_eq!(refusal(line, &[]), expected, "{line}");
        }
        // By value, once: what the layers above may match on.
        assert_eq!(
            run("etcd-gateway start --endpoints=a:1/x", &[]),
            Err(Error::InvalidValue {
                origin: "--endpoints".to_owned(),
                value: "\"a:1/x\"".to_owned(),
                error: ValueError::Address(AddrError::Path),
            })
        );
    }
}
