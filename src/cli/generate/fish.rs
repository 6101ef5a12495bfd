//! The completion for fish: one `complete` per flag and command.

use crate::cli::flags::{FLAGS, Takes};
use crate::cli::manual::{COMMANDS, command_names};

/// The script.
pub(super) fn script() -> String {
    let commands: Vec<&str> = command_names().collect();
    let mut text = format!(
        "\
# Completion of etcd-gateway for fish; printed by `etcd-gateway generate fish`.
complete -c etcd-gateway -f
complete -c etcd-gateway -n '__fish_seen_subcommand_from generate' -a '@TEXTS@'
complete -c etcd-gateway -n '__fish_seen_subcommand_from help' -a '{}'
",
        commands.join(" ")
    );
    for command in &COMMANDS {
        let (name, doc) = (command.name, quoted(command.doc_short));
        text += &format!("complete -c etcd-gateway -n __fish_use_subcommand -a {name} -d {doc}\n");
    }
    for flag in FLAGS {
        let short = flag.short.map_or(String::new(), |s| format!(" -s {s}"));
        let value = match flag.takes {
            Takes::Switch => "",
            Takes::Path(..) => " -r -F",
            _ => " -x",
        };
        let words = match flag.takes.words() {
            [] => String::new(),
            words => format!(" -a {}", quoted(&words.join(" "))),
        };
        let others = command_names().filter(|command| !flag.scope.has(command));
        let unless = match others.collect::<Vec<_>>().join(" ") {
            others if others.is_empty() => String::new(),
            others => format!(" -n 'not __fish_seen_subcommand_from {others}'"),
        };
        let (name, doc) = (flag.name, quoted(flag.doc_short));
        text +=
            &format!("complete -c etcd-gateway{unless}{short} -l {name}{value}{words} -d {doc}\n");
    }
    text
}

/// Within single quotes fish reads a backslash before a backslash and before a quote.
fn quoted(words: &str) -> String {
    let escaped = words.replace('\\', "\\\\").replace('\'', "\\'");
    format!("'{escaped}'")
}

#[cfg(test)]
mod tests {
    #[test]
    fn quotes() {
        assert_eq!(super::quoted(r"a'b\c"), r"'a\'b\\c'");
    }
}
