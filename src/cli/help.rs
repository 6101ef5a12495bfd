//! The texts of `-h`, `--help` and `--version`.
//!
//! Rendered from the table of flags and from `manual`; no line is wider than 80 columns.

use std::env::consts::{ARCH, OS};
use std::fmt::Write;

use super::flags::{Flag, Takes, flags_of};
use super::manual::{self, Command};

/// The width that every terminal has.
const WIDTH: usize = 80;
/// In front of a flag's docs.
const INDENT: &str = "        ";
/// The column where the docs of a command begin.
const COMMAND_COLUMN: usize = 35;
/// The column where those of a flag begin, in the short help.
const FLAG_COLUMN: usize = 25;

/// The long help of one command, or of all commands.
pub(super) fn long(command: Option<&Command>) -> String {
    let mut text = String::new();
    match command {
        None => {
            for paragraph in manual::section("Description").split("\n\n") {
                push_wrapped(&mut text, "", paragraph);
                text.push('\n');
            }
            push_usage(&mut text);
        }
        Some(command) => {
            push_command(&mut text, command);
            push_wrapped(&mut text, "", command.doc_long);
        }
    }
    if command.is_none_or(|command| command.takes == "[flags]") {
        text.push('\n');
        let options = manual::section("Options");
        push_wrapped(
            &mut text,
            "",
            options.split("\n\n").next().unwrap_or_default(),
        );
    }
    for flag in flags_of(command) {
        text.push('\n');
        push_flag(&mut text, flag);
    }
    if command.is_none() {
        push_examples(&mut text, usize::MAX);
        text.push_str("\nExit status:\n");
        for row in manual::section("Exit status").lines().skip(2) {
            let row = row.trim_matches(['|', ' ']).replace(" | ", "  ");
            let _ = writeln!(text, "  {row}");
        }
    }
    text
}

/// The short help: for all commands what fits on one screen, for one command one line per flag.
pub(super) fn short(command: Option<&Command>) -> String {
    let mut text = String::new();
    let Some(command) = command else {
        text.push_str("TCP gateway in front of an etcd cluster\n\n");
        push_usage(&mut text);
        push_examples(&mut text, 2);
        let _ = writeln!(text, "\n{MORE_HELP}");
        return text;
    };
    push_command(&mut text, command);
    text.push('\n');
    for flag in flags_of(Some(command)) {
        let spelled = flag.spellings().join(", ");
        let _ = writeln!(text, "  {spelled:<FLAG_COLUMN$}{}", flag.doc_short);
    }
    let _ = writeln!(text, "\n--help says more, with defaults and variables.");
    text
}

/// The end of the short help.
const MORE_HELP: &str = "`etcd-gateway COMMAND -h` lists the flags of a command, and \
    `COMMAND --help`\nexplains them.";

fn push_command(text: &mut String, command: &Command) {
    let (usage, doc) = (command.usage(), command.doc_short);
    let _ = writeln!(text, "etcd-gateway {usage}: {doc}.");
}

fn push_usage(text: &mut String) {
    text.push_str("Usage:\n");
    for command in &manual::COMMANDS {
        let usage = format!("etcd-gateway {}", command.usage());
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {usage:<COMMAND_COLUMN$}{}", command.doc_short);
    }
}

/// The first blocks of the examples: sentences, and code below each.
fn push_examples(text: &mut String, blocks: usize) {
    text.push_str("\nExamples:");
    for block in manual::section("Examples").split("\n\n").take(blocks) {
        match block.strip_prefix("```sh\n") {
            Some(code) => {
                for line in code.lines().filter(|line| !line.starts_with("```")) {
                    let _ = writeln!(text, "    {line}");
                }
            }
            None => {
                let _ = writeln!(text, "\n  {block}");
            }
        }
    }
}

/// The version: program, version, system, and the commit if the build knew it.
pub(super) fn version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let commit = option_env!("SOURCE_COMMIT").filter(|commit| !commit.is_empty());
    let commit = commit.map_or(String::new(), |commit| format!(" commit {commit}"));
    format!("etcd-gateway {version} ({OS}/{ARCH}){commit}\n")
}

/// The flag as one types it: `--endpoints HOST:PORT,...`.
fn usage(flag: &Flag) -> String {
    let value = flag.takes.value_name();
    let value = value.map_or(String::new(), |name| format!(" {name}"));
    format!("{}{value}", flag.spellings().join(", "))
}

fn push_flag(text: &mut String, flag: &Flag) {
    let _ = writeln!(text, "  {}", usage(flag));
    push_wrapped(text, INDENT, flag.doc_short);
    push_wrapped(text, INDENT, flag.doc_long);
    if let Takes::Choice(_, words) = flag.takes {
        push_wrapped(text, INDENT, &format!("One of: {}", words.join(", ")));
    }
    if !flag.default.is_empty() {
        push_wrapped(text, INDENT, &format!("Default: {}", flag.default));
    }
    if let Some(variable) = flag.variable() {
        push_wrapped(text, INDENT, &format!("Variable: {variable}"));
    }
}

/// Appends `words` in lines of at most [`WIDTH`] columns that begin with `indent`; nothing if there are none.
pub(super) fn push_wrapped(text: &mut String, indent: &str, words: &str) {
    let mut column = 0;
    for word in words.split_whitespace() {
        if column > 0 && column + 1 + word.len() > WIDTH {
            text.push('\n');
            column = 0;
        }
        let gap = if column == 0 { indent } else { " " };
        text.push_str(gap);
        text.push_str(word);
        column += gap.len() + word.len();
    }
    if column > 0 {
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flags::FLAGS;

    #[test]
    fn the_help_has_every_flag_and_fits_a_terminal() {
        let help = long(None);
        for line in help.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
            assert_eq!(line.trim_end(), line);
        }
        for flag in FLAGS {
            let words = [usage(flag), flag.doc_short.to_owned()];
            let default = (!flag.default.is_empty()).then(|| format!("Default: {}", flag.default));
            for wanted in words.into_iter().chain(default).chain(flag.variable()) {
                assert!(help.contains(&wanted), "{wanted}");
            }
        }
    }

    /// A terminal of 24 lines keeps one for the prompt.
    #[test]
    fn the_short_help_fits_one_screen_and_has_what_the_command_takes() {
        let general = short(None);
        assert!(general.lines().count() < 24, "{general}");
        for command in &manual::COMMANDS {
            assert!(general.contains(&command.usage()), "{}", command.name);
            for (text, of) in [
                (
                    short(Some(command)),
                    (|flag| flag.spellings().join(", ")) as fn(&Flag) -> String,
                ),
                (long(Some(command)), usage),
            ] {
                for line in text.lines() {
                    assert!(line.chars().count() <= WIDTH, "{line}");
                    assert_eq!(line.trim_end(), line);
                }
                for flag in FLAGS {
                    let line = format!("  {}", of(flag));
                    let has = text
                        .lines()
                        .any(|l| l == line || l.starts_with(&format!("{line} ")));
                    assert_eq!(
                        has,
                        flag.scope.has(command.name),
                        "{}: {line}",
                        command.name
                    );
                }
            }
        }
    }

    #[test]
    fn wrapping_loses_no_word_and_fills_lines() {
        let words = "word ".repeat(40);
        let mut text = String::new();
        push_wrapped(&mut text, INDENT, &words);
        assert!(text.split_whitespace().eq(words.split_whitespace()));
        assert_eq!(text.lines().next().map(str::len), Some(INDENT.len() + 69));
        let mut nothing = String::new();
        push_wrapped(&mut nothing, INDENT, "");
        assert_eq!(nothing, "");
    }

    #[test]
    fn the_version_names_program_version_and_system() {
        let expected = format!("etcd-gateway {} (linux/", env!("CARGO_PKG_VERSION"));
        assert!(version().starts_with(&expected), "{}", version());
        assert_eq!(version().lines().count(), 1);
    }
}
