//! From the command line, the environment and the settings file to a [`Config`], or to one line of refusal.
//!
//! `args` cuts arguments into flags and words, `flags` is the table that gives them a
//! meaning, `kind` the kinds of its entries, `value` and `duration` read values, `env` does the same for variables and `settings_file`
//! for the assignments that `env_file` reads, `given` knows which of them wins, `suggest`
//! finds what a mistyped name was meant to be, `manual` has what else there is to say, `help`
//! and `generate` render both, `error` words the refusals. This file drives them. Two stages: `RawArgs` is what was typed, `Config` is
//! resolved and cross-checked. Nothing here does I/O, but that `generate unit` asks for the path of the program: argv,
//! environment and what reads a file are parameters, what is to be printed is returned.
//!
//! The grammar is that of cobra and pflag, which the reference uses: flags before or after
//! the command, `--flag value` or `--flag=value`, `--` ends the flags, the last use of a
//! scalar counts and lists add up. Stricter on purpose: an argument too many is refused
//! (the reference ignores it), and every value is checked before anything is bound.

mod args;
mod combinations;
mod duration;
mod env;
pub(crate) mod env_file;
mod error;
mod flags;
mod generate;
mod help;
mod kind;
mod manual;
mod settings_file;
mod shown;
mod sources;
mod suggest;
mod value;

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::config::{Config, Form, Origin, Output};
use args::{Args, Token};
pub(crate) use error::Error;
use flags::{FLAGS, Flag};
use settings_file::ReadFile;
use shown::shown;
use sources::Sources;

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
    /// To look at what a start would do.
    Check {
        /// The settings.
        config: Config,
        /// How to print what was found.
        output: Output,
        /// What is odd about the settings, one line each, to be printed.
        warnings: Vec<String>,
    },
    /// To print this on stdout and exit with 0.
    Print(String),
}

enum Command {
    Start,
    Check,
    Config,
    /// Of one command, or of all.
    Help(Option<&'static manual::Command>),
    Version,
    Generate(String),
}

/// Reads the command line; `argv[0]` is the name that the program was called by, and `read` reads the settings file.
pub(crate) fn parse(
    argv: Vec<OsString>,
    env: &[(OsString, OsString)],
    read: ReadFile,
) -> Result<Invocation, Error> {
    let mut arguments = argv.into_iter();
    let called_as = arguments.next().unwrap_or_default();
    let arguments: Vec<OsString> = arguments.collect();
    let called_etcd = Path::new(&called_as).file_name() == Some(OsStr::new("etcd"));
    if called_etcd && !is_for_the_gateway(arguments.first()) {
        return Err(Error::OnlyTheGateway);
    }

    let mut sources = Sources::default();
    let mut words = Vec::new();
    let mut short_help = false;
    let mut args = Args::new(arguments);
    while let Some(token) = args.next() {
        let (flag, attached) = match token {
            Token::Word(word) => {
                words.push(word);
                continue;
            }
            Token::Long(name, attached) => (long_flag(&name)?, attached),
            Token::Short(name, attached) => {
                let flag = short_flag(&name)?;
                short_help |= flag.name == "help";
                (flag, attached)
            }
        };
        let name = flag.name;
        let value = match (flag.takes.value_name(), attached) {
            (Some(value_name), attached) => {
                let given = attached.or_else(|| args.value());
                let value = given.ok_or(Error::MissingValue {
                    flag: name,
                    value_name,
                })?;
                if value.is_empty() {
                    let flag = name;
                    return Err(Error::EmptyValue { flag, value_name });
                }
                value
            }
            (None, attached) => attached.unwrap_or_else(|| "true".into()),
        };
        sources.take(flag, Origin::CommandLine, &value)?;
    }

    // Asked for with a flag, help needs no command to go with it.
    if sources.options.help {
        let named = skip_one_of(&words, &["gateway"]).first();
        let named = named.and_then(|word| manual::command(word.to_str()?));
        let text = match short_help {
            true => help::short(named),
            false => help::long(named),
        };
        return Ok(Invocation::Print(text));
    }
    if sources.options.version {
        return Ok(Invocation::Print(help::version()));
    }
    match command(&words, called_etcd)? {
        Command::Help(named) => Ok(Invocation::Print(help::long(named))),
        Command::Version => Ok(Invocation::Print(help::version())),
        Command::Generate(text) => Ok(Invocation::Print(text)),
        command @ (Command::Start | Command::Check | Command::Config) => {
            sources.warn_of_repeated();
            env::apply_environment(env, &mut sources)?;
            settings_file::apply_settings_file(&mut sources, read)?;
            combinations::check(&mut sources)?;
            let settings = sources.settings();
            let Sources {
                options,
                mut warnings,
                ..
            } = sources;
            let (mut config, output) = (options.config, options.output);
            config.settings = settings;
            if matches!(command, Command::Start) {
                if output.is_some() {
                    let text = "--output has no effect on start; it belongs to check and config";
                    warnings.push(text.to_owned());
                }
                return Ok(Invocation::Start { config, warnings });
            }
            let form = output.unwrap_or(Form::Shown(Output::Table));
            match (command, form) {
                (Command::Config, _) => {
                    Ok(Invocation::Print(config.settings.render(form, &warnings)))
                }
                (_, Form::Env) => Err(Error::OnlyConfigPrintsEnv),
                (_, Form::Shown(output)) => Ok(Invocation::Check {
                    config,
                    output,
                    warnings,
                }),
            }
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
        Some("check") => Command::Check,
        Some("config") => Command::Config,
        Some("version") => Command::Version,
        Some("generate") => {
            let Some((name, rest)) = rest.split_first() else {
                return Err(Error::NotGenerated);
            };
            let (text, rest) = match (name.to_str(), rest.split_first()) {
                (Some("man"), Some((page, rest))) => {
                    let text = page.to_str().and_then(generate::manual_page);
                    (Some(text.ok_or(Error::NoSuchPage)?), rest)
                }
                (name, _) => (name.and_then(generate::generate), rest),
            };
            let command = Command::Generate(text.ok_or(Error::NotGenerated)?);
            return end_of(rest, command);
        }
        Some("help") => {
            let rest = skip_one_of(rest, &["gateway"]);
            let Some((word, rest)) = rest.split_first() else {
                return Ok(Command::Help(None));
            };
            let named = word.to_str().and_then(manual::command);
            let named = named.ok_or_else(|| unknown_command(word))?;
            return end_of(rest, Command::Help(Some(named)));
        }
        _ => return Err(unknown_command(first)),
    };
    end_of(rest, command)
}

/// The command, if nothing is left behind it.
fn end_of(rest: &[OsString], command: Command) -> Result<Command, Error> {
    /// No list has such items.
    const BOOLEANS: [&str; 8] = ["true", "false", "yes", "no", "on", "off", "1", "0"];
    match rest.first() {
        Some(word) if BOOLEANS.iter().any(|boolean| word == boolean) => {
            Err(Error::DetachedBoolean { typed: shown(word) })
        }
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
        nearest: suggest::nearest(&word.to_string_lossy(), manual::command_names()),
    }
}

fn nearest_flag(name: &str) -> Option<&'static str> {
    suggest::nearest(name, FLAGS.iter().map(|flag| flag.name))
}

fn long_flag(name: &str) -> Result<&'static Flag, Error> {
    flags::named(name).ok_or_else(|| Error::UnknownFlag {
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

#[cfg(test)]
mod tests;
