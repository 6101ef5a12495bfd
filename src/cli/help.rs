//! The texts a person asks for: `--help` and `--version`.
//!
//! Rendered from [`FLAGS`] and `manual`; no line is wider than 80 columns.

use std::env::consts::{ARCH, OS};
use std::fmt::Write;

use super::flags::{FLAGS, Flag, Takes};
use super::manual;

/// The width that every terminal has.
const WIDTH: usize = 80;
/// What stands in front of a flag's docs.
const INDENT: &str = "        ";
/// Where the docs of a command begin.
const COMMAND_COLUMN: usize = 36;

/// The help.
pub(super) fn help() -> String {
    let mut text = String::new();
    push_wrapped(&mut text, "", manual::LEAD);
    text.push_str("\nUsage:\n");
    for (usage, doc) in manual::COMMANDS {
        let usage = format!("etcd-gateway {usage}");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {usage:<COMMAND_COLUMN$}{doc}");
    }
    let _ = writeln!(text, "\n  {}\n", manual::CALLED_ETCD);
    push_wrapped(
        &mut text,
        "",
        "Flags, with the variables that set them too (the command line wins over the environment, \
         and that over --config-file; an empty variable counts as unset):",
    );
    for flag in FLAGS {
        text.push('\n');
        push_flag(&mut text, flag);
    }
    text.push_str("\nExamples:\n");
    for (index, (what, lines)) in manual::EXAMPLES.iter().enumerate() {
        let gap = if index == 0 { "" } else { "\n" };
        let _ = writeln!(text, "{gap}  {what}");
        for line in *lines {
            let _ = writeln!(text, "    {line}");
        }
    }
    text.push_str("\nExit codes:\n");
    for (status, doc) in manual::EXIT_STATUS {
        let _ = writeln!(text, "  {status}  {doc}");
    }
    text
}

/// The version: program, version, system.
pub(super) fn version() -> String {
    format!("etcd-gateway {} ({OS}/{ARCH})\n", env!("CARGO_PKG_VERSION"))
}

/// The flag as one types it: `-h, --help` or `--endpoints HOST:PORT,...`.
fn usage(flag: &Flag) -> String {
    let short = flag.short.map_or(String::new(), |s| format!("-{s}, "));
    let value = match flag.takes {
        Takes::Nothing => String::new(),
        Takes::One(name) | Takes::Many(name) => format!(" {name}"),
    };
    format!("{short}--{}{value}", flag.name)
}

fn push_flag(text: &mut String, flag: &Flag) {
    let _ = writeln!(text, "  {}", usage(flag));
    push_wrapped(text, INDENT, flag.doc_short);
    push_wrapped(text, INDENT, flag.doc_long);
    if !flag.default.is_empty() {
        push_wrapped(text, INDENT, &format!("Default: {}", flag.default));
    }
    if let Some(variable) = flag.variable() {
        push_wrapped(text, INDENT, &format!("Variable: {variable}"));
    }
}

/// Appends `words` in lines of at most [`WIDTH`] columns that begin with `indent`; nothing if there are none.
fn push_wrapped(text: &mut String, indent: &str, words: &str) {
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

    const BEGIN: &str = "<!-- flags:begin -->\n";
    const END: &str = "<!-- flags:end -->";

    /// The README's section on flags: the table once more, as Markdown.
    fn markdown() -> String {
        let mut text = "| Flag | Default | Variable | Meaning |\n|---|---|---|---|\n".to_owned();
        for flag in FLAGS {
            let code = |words: &str| match words {
                "" => String::new(),
                words => format!("`{words}`"),
            };
            let default = code(flag.default);
            let variable = code(&flag.variable().unwrap_or_default());
            let docs = format!("{} {}", flag.doc_short, flag.doc_long);
            let (usage, docs) = (usage(flag), docs.trim_end());
            text += &format!("| `{usage}` | {default} | {variable} | {docs} |\n");
        }
        text
    }

    #[test]
    fn the_readme_has_the_flags_as_they_are() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
        let readme = std::fs::read_to_string(path).expect("README.md is readable");
        let (_, after) = readme.split_once(BEGIN).expect("README.md has flags:begin");
        let (section, _) = after.split_once(END).expect("README.md has flags:end");
        let expected = markdown();
        assert!(
            section == expected,
            "between the flags: marks README.md must read:\n{expected}"
        );
    }

    #[test]
    fn the_help_has_every_flag_and_fits_a_terminal() {
        let help = help();
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
