//! Files that are installed with the program: manual, completions of shells, units of systemd and a commented settings file.
//!
//! `etcd-gateway generate man|bash|zsh|fish|unit|socket|settings` prints them. All but the units are rendered from
//! the table of flags and `manual`, so they cannot contradict the program.

mod bash;
mod fish;
mod man;
mod unit;
mod zsh;

use std::fmt::Write;

use super::flags::FLAGS;
use super::help::push_wrapped;

type Render = fn() -> String;

/// Names of texts, and what renders each.
const TEXTS: [(&str, Render); 7] = [
    ("man", man::main_page),
    ("bash", bash::script),
    ("zsh", zsh::script),
    ("fish", fish::script),
    ("unit", unit::service),
    ("socket", || unit::SOCKET.to_owned()),
    ("settings", settings_file),
];

const FILES: &str = include_str!("../../deploy/man/etcd-gateway.5.md");
const BEHAVIOUR: &str = include_str!("../../deploy/man/etcd-gateway-behaviour.7.md");
const OPERATION: &str = include_str!("../../deploy/man/etcd-gateway-operation.7.md");
const METRICS: &str = include_str!("../../deploy/man/etcd-gateway-metrics.7.md");
const LOGS: &str = include_str!("../../deploy/man/etcd-gateway-logs.7.md");
const SECURITY: &str = include_str!("../../deploy/man/etcd-gateway-security.7.md");

/// The pages of the manual other than etcd-gateway(1), in Markdown.
const PAGES: [(&str, &str); 6] = [
    ("files", FILES),
    ("behaviour", BEHAVIOUR),
    ("operation", OPERATION),
    ("metrics", METRICS),
    ("logs", LOGS),
    ("security", SECURITY),
];

/// The text of this name; `None` if the name is unknown.
pub(super) fn generate(name: &str) -> Option<String> {
    let (_, text) = TEXTS.iter().find(|(known, _)| *known == name)?;
    Some(text().replace("@TEXTS@", &names().join(" ")))
}

/// The page of the manual of this name; `None` if the name is unknown.
pub(super) fn manual_page(name: &str) -> Option<String> {
    let (_, text) = PAGES.iter().find(|(known, _)| *known == name)?;
    Some(man::page(text))
}

pub(super) fn names() -> [&'static str; 7] {
    TEXTS.map(|(name, _)| name)
}

/// The names of the pages other than etcd-gateway(1).
pub(super) fn page_names() -> [&'static str; 6] {
    PAGES.map(|(name, _)| name)
}

/// The beginning of the settings file.
const SETTINGS_HEAD: &str = "\
# Settings of etcd-gateway(1), read with --config-file; etcd-gateway.service reads /etc/default/etcd-gateway. Lines that
# are commented out have the default value. `etcd-gateway config` prints the settings in effect.
";

/// A settings file in which every setting is explained and commented out.
fn settings_file() -> String {
    let mut text = SETTINGS_HEAD.to_owned();
    for flag in FLAGS.iter().filter(|flag| flag.in_file()) {
        text.push('\n');
        push_wrapped(&mut text, "# ", flag.doc_short);
        push_wrapped(&mut text, "# ", flag.doc_long);
        let variable = flag.variable().unwrap_or_default();
        let default = flag.default_value();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "#{variable}={default}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::env_file::parse;
    use crate::cli::manual::COMMANDS;

    #[test]
    fn every_text_has_every_flag_and_command() {
        for name in ["man", "bash", "zsh", "fish"] {
            // Roff spells a dash that is to be copied with a backslash.
            let text = generate(name).unwrap().replace("\\-", "-");
            assert!(!text.contains("@TEXTS@"), "{name}");
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

    /// As it is, it sets nothing; without the comment signs it sets every flag that a file can.
    #[test]
    fn the_file_is_one() {
        let text = settings_file();
        assert!(parse(text.as_bytes()).expect("a file").is_empty());
        let set = text.replace("\n#ETCD_GATEWAY_", "\nETCD_GATEWAY_");
        let set = parse(set.as_bytes()).expect("a file");
        let count = FLAGS.iter().filter(|flag| flag.in_file()).count();
        assert_eq!(set.len(), count);
    }
}
