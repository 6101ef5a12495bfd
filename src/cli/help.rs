//! The texts a person asks for: `--help` and `--version`.
//!
//! The flags' part is rendered from [`FLAGS`], never written by hand; no line is wider
//! than 80 columns.

use std::env::consts::{ARCH, OS};
use std::fmt::Write;

use super::flags::{FLAGS, Flag, Takes};

/// The width that every terminal has.
const WIDTH: usize = 80;
/// What stands in front of a flag's docs.
const INDENT: &str = "        ";

const HEAD: &str = "\
etcd-gateway forwards TCP connections to an etcd cluster. Applications use one
local address; the gateway knows the members, spreads connections over them in
turn, leaves out those that fail and takes them back when they return. It passes
bytes through unread: TLS runs between the application and etcd, end to end.

Usage:
  etcd-gateway start [flags]            start the gateway
  etcd-gateway gateway start [flags]    the same, in the words of etcd
  etcd-gateway check [flags]            look at what start would find, and exit
  etcd-gateway help                     print this help
  etcd-gateway version                  print the version

  Called through a link named etcd, it understands `etcd gateway start [flags]`.

Flags, with the variables that set them too (the command line wins, an empty
variable counts as unset):
";

const TAIL: &str = "
Examples:
  Forward the local default address to three members:
    etcd-gateway start --endpoints=10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379

  Serve other hosts as well, and notice a returning member sooner:
    etcd-gateway start --listen-addr=:2379 --retry-delay=5s \\
        --endpoints=etcd.example.com:2379

  Find the members in DNS, and follow them there:
    etcd-gateway start --discovery-srv=example.com \\
        --trusted-ca-file=/etc/etcd/ca.pem

  Name the members in the environment:
    ETCD_GATEWAY_ENDPOINTS=etcd.example.com:2379 etcd-gateway start

Exit codes:
  0  ended by a signal, or printed what was asked for; check: start would serve
  1  failed at run time, for instance because the address is in use
  2  refused the command line or a variable; nothing was bound
";

/// The help.
pub(super) fn help() -> String {
    let mut text = HEAD.to_owned();
    for flag in FLAGS {
        text.push('\n');
        push_flag(&mut text, flag);
    }
    text.push_str(TAIL);
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
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  {}", usage(flag));
    push_wrapped(text, flag.doc_short);
    push_wrapped(text, flag.doc_long);
    if !flag.default.is_empty() {
        push_wrapped(text, &format!("Default: {}", flag.default));
    }
    if let Some(variable) = flag.variable() {
        push_wrapped(text, &format!("Variable: {variable}"));
    }
}

/// Appends `words` in lines of at most [`WIDTH`] columns, indented; nothing if there are none.
fn push_wrapped(text: &mut String, words: &str) {
    let mut column = 0;
    for word in words.split_whitespace() {
        if column > 0 && column + 1 + word.len() > WIDTH {
            text.push('\n');
            column = 0;
        }
        let gap = if column == 0 { INDENT } else { " " };
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
        push_wrapped(&mut text, &words);
        assert!(text.split_whitespace().eq(words.split_whitespace()));
        assert_eq!(text.lines().next().map(str::len), Some(INDENT.len() + 69));
        let mut nothing = String::new();
        push_wrapped(&mut nothing, "");
        assert_eq!(nothing, "");
    }

    #[test]
    fn the_version_names_program_version_and_system() {
        let expected = format!("etcd-gateway {} (linux/", env!("CARGO_PKG_VERSION"));
        assert!(version().starts_with(&expected), "{}", version());
        assert_eq!(version().lines().count(), 1);
    }
}
