//! From the command line, the environment and the settings file to a [`Config`], or to one line that says why not.
//!
//! `args` splits arguments into flags and words, `flags` is the table of flags, `kind` the kinds of its entries, `value`
//! and `duration` read values. `env` reads the environment, `env_file` the syntax of a settings file and `settings_file`
//! its content; `sources` decides which of them sets a flag, `combinations` checks the settings together. `suggest` finds
//! the name that a mistyped one was meant to be, `manual` has the commands and the manual page, `help` and `generate` print
//! both, `error` is the message of a refusal. This file drives them. Nothing here does I/O, except that `generate unit`
//! asks for the path of the program: arguments, environment and what reads a file are parameters, and text to be printed
//! is returned.
//!
//! The grammar is that of cobra and pflag, which the reference uses: flags before or after the command, `--flag value` or
//! `--flag=value`, `--` ends the flags, the last value of a flag counts and lists add up. Stricter on purpose: an extra
//! argument is refused (the reference ignores it), and every value is checked before anything is bound.

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
mod sources;
mod suggest;
mod value;

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::config::{Config, Form, Origin, Output};
use args::{Args, Token};
pub(crate) use error::Error;
use error::shown;
use flags::{FLAGS, Flag, Options};
use settings_file::ReadFile;
use sources::Sources;

/// The request of the operator. Each warning is one line.
#[derive(Debug, PartialEq)]
pub(crate) enum Invocation {
    /// To run the gateway, and to log the warnings.
    Start {
        config: Config,
        warnings: Vec<String>,
    },
    /// To check what a start would do, and to print the warnings.
    Check {
        config: Config,
        output: Output,
        warnings: Vec<String>,
    },
    /// To print this text and exit with 0.
    Print(String),
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
        let problem = "called as etcd, but this program is only its gateway";
        return Err(format!("{problem}; write `etcd gateway start`").into());
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
        let value = match flag.takes.value_name() {
            Some(value_name) => value_of(flag.name, value_name, attached.or_else(|| args.value()))?,
            None => attached.unwrap_or_else(|| "true".into()),
        };
        sources.take(flag, Origin::CommandLine, &value)?;
    }

    let words = skip_gateway(&words);
    // With the flag for help a command is optional, and need not be right.
    if sources.options.help {
        let named = words
            .first()
            .and_then(|word| manual::command(word.to_str()?));
        let help = if short_help { help::short } else { help::long };
        return Ok(Invocation::Print(help(named)));
    }
    if sources.options.version {
        return Ok(Invocation::Print(help::version()));
    }
    let Some((first, rest)) = words.split_first() else {
        let separator = if called_etcd { ' ' } else { '-' };
        let usage = format!("etcd{separator}gateway start");
        return Err(format!("no command is given; write `{usage}`").into());
    };
    let text = match first.to_str() {
        Some("version") => end_of(rest, help::version())?,
        Some("help") => match skip_gateway(rest).split_first() {
            Some((word, rest)) => {
                let named = word.to_str().and_then(manual::command);
                let named = named.ok_or_else(|| unknown_command(word))?;
                end_of(rest, help::long(Some(named)))?
            }
            None => help::long(None),
        },
        Some("generate") => generated(rest)?,
        Some(command @ ("start" | "check" | "config")) => {
            let command = end_of(rest, command)?;
            env::apply_environment(env, &mut sources)?;
            settings_file::apply_settings_file(&mut sources, read)?;
            combinations::check(&mut sources)?;
            return invocation(command, sources);
        }
        _ => return Err(unknown_command(first)),
    };
    Ok(Invocation::Print(text))
}

/// The request that `start`, `check` or `config` makes with these settings.
fn invocation(command: &str, sources: Sources) -> Result<Invocation, Error> {
    let settings = sources.settings();
    let output_given = sources.is_given("output");
    let Options { config, output, .. } = sources.options;
    let config = Config { settings, ..config };
    let mut warnings = sources.warnings;
    match (command, output) {
        ("start", _) => {
            if output_given {
                let text = "--output has no effect on start; it belongs to check and config";
                warnings.push(text.to_owned());
            }
            Ok(Invocation::Start { config, warnings })
        }
        ("config", form) => Ok(Invocation::Print(config.settings.render(form, &warnings))),
        (_, Form::Env) => Err("--output=env is for config alone; write table or json".into()),
        (_, Form::Shown(output)) => Ok(Invocation::Check {
            config,
            output,
            warnings,
        }),
    }
}

/// Whether a program named `etcd` would understand `first` as a command for its gateway. Anything else is
/// meant for the server, and must not start a gateway by accident.
fn is_for_the_gateway(first: Option<&OsString>) -> bool {
    const FIRST: [&str; 6] = ["gateway", "help", "version", "--help", "-h", "--version"];
    first.is_some_and(|first| FIRST.iter().any(|word| first == word))
}

/// The text that `generate` prints.
fn generated(words: &[OsString]) -> Result<String, Error> {
    let unknown = || format!("generate: write one of {}", generate::names().join(", "));
    let (name, rest) = words.split_first().ok_or_else(unknown)?;
    if name == "man"
        && let Some((page, rest)) = rest.split_first()
    {
        let text = page.to_str().and_then(generate::manual_page);
        let unknown = || {
            let pages = generate::page_names().join(", ");
            format!(
                "generate man: write one of {pages}, or no name for the page of commands and flags"
            )
        };
        return end_of(rest, text.ok_or_else(unknown)?);
    }
    let text = name.to_str().and_then(generate::generate);
    end_of(rest, text.ok_or_else(unknown)?)
}

/// The result, if no argument is left.
fn end_of<T>(rest: &[OsString], result: T) -> Result<T, Error> {
    /// Items of lists never look like this.
    const BOOLEANS: [&str; 8] = ["true", "false", "yes", "no", "on", "off", "1", "0"];
    let Some(word) = rest.first() else {
        return Ok(result);
    };
    let remedy = match BOOLEANS.iter().any(|boolean| word == boolean) {
        true => "a flag that takes no value is written alone, or with =true or =false attached",
        false => "only flags are allowed here, and a list must not contain spaces",
    };
    Err(format!("unexpected argument {}; {remedy}", shown(word)).into())
}

/// The words without the `gateway` of `etcd gateway`.
fn skip_gateway(words: &[OsString]) -> &[OsString] {
    match words.split_first() {
        Some((first, rest)) if first == "gateway" => rest,
        _ => words,
    }
}

fn unknown_command(word: &OsStr) -> Error {
    let nearest = suggest::nearest(&word.to_string_lossy(), manual::command_names());
    let remedy = match nearest {
        Some(name) => format!("did you mean {name}?"),
        None => {
            let names: Vec<&str> = manual::command_names().collect();
            format!("the commands are {}", names.join(", "))
        }
    };
    format!("unknown command {}; {remedy}", shown(word)).into()
}

/// Refuses a value that is missing or empty.
fn value_of(flag: &str, value_name: &str, value: Option<OsString>) -> Result<OsString, Error> {
    match value {
        Some(value) if !value.is_empty() => Ok(value),
        Some(_) => Err(format!(
            "--{flag} has an empty value; write --{flag}={value_name}, or remove the flag"
        )
        .into()),
        None => Err(format!("--{flag} needs a value; write --{flag}={value_name}").into()),
    }
}

fn long_flag(name: &str) -> Result<&'static Flag, Error> {
    let mistyped = || unknown_flag("--", name, |nearest| format!("did you mean --{nearest}?"));
    flags::named(name).ok_or_else(mistyped)
}

fn short_flag(name: &str) -> Result<&'static Flag, Error> {
    let mistyped = || {
        unknown_flag("-", name, |nearest| {
            format!("write --{nearest}, with two dashes")
        })
    };
    let found = FLAGS.iter().find(|flag| flag.short == Some(name));
    found.ok_or_else(mistyped)
}

fn unknown_flag(dashes: &str, name: &str, remedy: fn(&str) -> String) -> Error {
    let nearest = suggest::nearest(name, FLAGS.iter().map(|flag| flag.name));
    let remedy = nearest.map_or_else(|| "--help lists the flags".to_owned(), remedy);
    let typed = shown(format!("{dashes}{name}").as_ref());
    format!("unknown flag {typed}; {remedy}").into()
}

#[cfg(test)]
mod tests;
