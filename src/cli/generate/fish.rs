//! The completion for fish: one `complete` per flag and command.

use super::{COMMANDS, FLAGS, Takes, command_names, names};

/// The script.
pub(super) fn script() -> String {
    let mut text = "\
# Completion of etcd-gateway for fish; printed by `etcd-gateway generate fish`.
complete -c etcd-gateway -f
"
    .to_owned();
    for command in &COMMANDS {
        let (name, doc) = (command.name, quoted(command.doc_short));
        text += &format!("complete -c etcd-gateway -n __fish_use_subcommand -a {name} -d {doc}\n");
    }
    let commands: Vec<&str> = command_names().collect();
    for (command, words) in [
        ("generate", names().join(" ")),
        ("help", commands.join(" ")),
    ] {
        let words = quoted(&words);
        text += &format!(
            "complete -c etcd-gateway -n '__fish_seen_subcommand_from {command}' -a {words}\n"
        );
    }
    for flag in FLAGS {
        let short = flag.short.map_or(String::new(), |s| format!(" -s {s}"));
        let value = match flag.takes {
            Takes::Switch => String::new(),
            Takes::Path(_, []) => " -r -F".to_owned(),
            Takes::Path(_, words) => format!(" -r -F -a {}", quoted(&words.join(" "))),
            Takes::Choice(_, words) | Takes::Value(_, words) if !words.is_empty() => {
                format!(" -x -a {}", quoted(&words.join(" ")))
            }
            _ => " -x".to_owned(),
        };
        let without: Vec<&str> = command_names()
            .filter(|command| !flag.scope.has(command))
            .collect();
        let unless = match without.is_empty() {
            true => String::new(),
            false => format!(
                " -n 'not __fish_seen_subcommand_from {}'",
                without.join(" ")
            ),
        };
        let (name, doc) = (flag.name, quoted(flag.doc_short));
        text += &format!("complete -c etcd-gateway{unless}{short} -l {name}{value} -d {doc}\n");
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
