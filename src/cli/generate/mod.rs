//! What is installed beside the program: the man page, the completions of shells and the units of systemd.
//!
//! `etcd-gateway generate man|bash|zsh|fish|unit|socket` prints them. All but the units are
//! rendered from [`FLAGS`] and `manual`, so they cannot say anything else than the program does.

mod bash;
mod fish;
mod man;
mod unit;
mod zsh;

use super::COMMANDS;
use super::flags::{FLAGS, Flag, RawArgs, Takes};
use super::manual;
use super::value::ValueError;

/// What makes a text.
type Render = fn() -> String;

/// What can be generated, and how.
const TEXTS: [(&str, Render); 6] = [
    ("man", man::page),
    ("bash", bash::script),
    ("zsh", zsh::script),
    ("fish", fish::script),
    ("unit", unit::service),
    ("socket", unit::socket),
];

/// The text of this name; `None` if there is none.
pub(super) fn generate(name: &str) -> Option<String> {
    let (_, text) = TEXTS.iter().find(|(known, _)| *known == name)?;
    Some(text())
}

/// The names.
pub(super) fn names() -> [&'static str; 6] {
    TEXTS.map(|(name, _)| name)
}

/// What a shell can propose behind a flag.
enum Proposal {
    /// Nothing is typed there.
    Switch,
    /// One of these words.
    Words(Vec<String>),
    /// A path.
    File,
    /// Something it cannot know.
    Unknown,
}

/// The flag's own check names the words that it takes; a path is known by the name of the value.
fn proposal(flag: &Flag) -> Proposal {
    let (Takes::One(value) | Takes::Many(value)) = flag.takes else {
        return Proposal::Switch;
    };
    match (flag.apply)("?", &mut RawArgs::default()) {
        Err(ValueError::NotAChoice { choices }) => {
            Proposal::Words(choices.split(", ").map(str::to_owned).collect())
        }
        _ if value.contains("PATH") => Proposal::File,
        _ => Proposal::Unknown,
    }
}

/// The commands with what they do; the synonym that etcd's own words make is left out.
fn commands() -> impl Iterator<Item = (&'static str, &'static str)> {
    COMMANDS.into_iter().filter_map(|name| {
        let is_it = |usage: &str| usage.split(' ').next() == Some(name);
        let (_, doc) = manual::COMMANDS.iter().find(|(usage, _)| is_it(usage))?;
        Some((name, *doc))
    })
}

/// The flag with its dashes, in the forms it has.
fn spellings(flag: &Flag) -> Vec<String> {
    let short = flag.short.map(|letter| format!("-{letter}"));
    short
        .into_iter()
        .chain([format!("--{}", flag.name)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_has_every_flag_and_command() {
        for (name, text) in TEXTS {
            if ["unit", "socket"].contains(&name) {
                continue;
            }
            // Roff spells a dash that is to be copied with a backslash.
            let text = text().replace("\\-", "-");
            for flag in FLAGS {
                let spelled = match name {
                    "fish" => format!(" -l {} ", flag.name),
                    _ => format!("--{}", flag.name),
                };
                assert!(text.contains(&spelled), "{name} lacks {spelled}");
            }
            assert_eq!(commands().count(), COMMANDS.len());
            for (command, doc) in commands() {
                let known = text.contains(command) && (name == "bash" || text.contains(doc));
                assert!(known, "{name} lacks {command}");
            }
            for generated in names() {
                assert!(text.contains(generated), "{name} lacks {generated}");
            }
            assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{name}");
        }
        assert!(generate("powershell").is_none());
    }

    #[test]
    fn proposals() {
        let of = |name: &str| proposal(FLAGS.iter().find(|flag| flag.name == name).unwrap());
        let Proposal::Words(levels) = of("log-level") else {
            panic!("--log-level takes one of some words")
        };
        assert_eq!(levels, ["debug", "info", "warn", "error"]);
        assert!(matches!(of("trusted-ca-file"), Proposal::File));
        assert!(matches!(of("endpoints"), Proposal::Unknown));
        assert!(matches!(of("help"), Proposal::Switch));
    }
}
