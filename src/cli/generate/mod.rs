//! What is installed beside the program: manual, completions of shells, units of systemd and a commented settings file.
//!
//! `etcd-gateway generate man|bash|zsh|fish|unit|socket|settings` prints them. All but the units are rendered from
//! [`FLAGS`] and `manual`, so they cannot contradict the program.

mod bash;
mod fish;
mod man;
mod settings;
mod unit;
mod zsh;

use super::flags::{FLAGS, Flag, Scope, Takes};
use super::manual::{COMMANDS, command_names};

/// What makes a text.
type Render = fn() -> String;

/// What can be generated, and how.
const TEXTS: [(&str, Render); 7] = [
    ("man", man::main_page),
    ("bash", bash::script),
    ("zsh", zsh::script),
    ("fish", fish::script),
    ("unit", unit::service),
    ("socket", unit::socket),
    ("settings", settings::file),
];

/// The pages of the manual beside etcd-gateway(1), in Markdown.
const PAGES: [(&str, &str); 6] = [
    ("files", include_str!("../../deploy/man/etcd-gateway.5.md")),
    (
        "behaviour",
        include_str!("../../deploy/man/etcd-gateway-behaviour.7.md"),
    ),
    (
        "operation",
        include_str!("../../deploy/man/etcd-gateway-operation.7.md"),
    ),
    (
        "metrics",
        include_str!("../../deploy/man/etcd-gateway-metrics.7.md"),
    ),
    (
        "logs",
        include_str!("../../deploy/man/etcd-gateway-logs.7.md"),
    ),
    (
        "security",
        include_str!("../../deploy/man/etcd-gateway-security.7.md"),
    ),
];

/// The text of this name; `None` if there is none.
pub(super) fn generate(name: &str) -> Option<String> {
    let (_, text) = TEXTS.iter().find(|(known, _)| *known == name)?;
    Some(text())
}

/// The page of the manual of this name; `None` if there is none.
pub(super) fn manual_page(name: &str) -> Option<String> {
    let (_, text) = PAGES.iter().find(|(known, _)| *known == name)?;
    Some(man::page(text))
}

/// The names of texts.
pub(super) fn names() -> [&'static str; 7] {
    TEXTS.map(|(name, _)| name)
}

/// The names of the pages beside etcd-gateway(1).
pub(super) fn page_names() -> [&'static str; 6] {
    PAGES.map(|(name, _)| name)
}

/// The flag with its dashes, in the forms it has.
fn spellings(flag: &Flag) -> Vec<String> {
    let short = flag.short.map(|letter| format!("-{letter}"));
    short
        .into_iter()
        .chain([format!("--{}", flag.name)])
        .collect()
}

/// The flags of one scope.
fn flags_of(scope: Scope) -> impl Iterator<Item = &'static Flag> {
    FLAGS.iter().filter(move |flag| flag.scope == scope)
}

/// Each scope, with a name for it.
const SCOPES: [(&str, Scope); 4] = [
    ("serving", Scope::Serving),
    ("setup", Scope::Setup),
    ("output", Scope::Output),
    ("any", Scope::Any),
];

/// The names of the scopes that have an effect on a command.
fn scopes_of(command: &str) -> Vec<&'static str> {
    let scopes = SCOPES.iter().filter(|(_, scope)| scope.has(command));
    scopes.map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_has_every_flag_and_command() {
        for (name, text) in TEXTS {
            if ["unit", "socket", "settings"].contains(&name) {
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
            for command in &COMMANDS {
                let doc = command.doc_short.get(1..).unwrap_or_default();
                let known = text.contains(command.name) && (name == "bash" || text.contains(doc));
                assert!(known, "{name} lacks {}", command.name);
            }
            for generated in names() {
                assert!(text.contains(generated), "{name} lacks {generated}");
            }
            assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{name}");
        }
        assert!(generate("powershell").is_none());
    }
}
