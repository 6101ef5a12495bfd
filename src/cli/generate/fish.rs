//! The completion for fish: one `complete` a flag and command.

use super::{FLAGS, Proposal, commands, names, proposal};

/// The script.
pub(super) fn script() -> String {
    let mut text = "\
# Completion of etcd-gateway for fish; printed by `etcd-gateway generate fish`.
complete -c etcd-gateway -f
"
    .to_owned();
    for (name, doc) in commands() {
        let doc = quoted(doc);
        text += &format!("complete -c etcd-gateway -n __fish_use_subcommand -a {name} -d {doc}\n");
    }
    let texts = quoted(&names().join(" "));
    text +=
        &format!("complete -c etcd-gateway -n '__fish_seen_subcommand_from generate' -a {texts}\n");
    for flag in FLAGS {
        let short = flag.short.map_or(String::new(), |s| format!(" -s {s}"));
        let value = match proposal(flag) {
            Proposal::Switch => String::new(),
            Proposal::Words(words) => format!(" -x -a {}", quoted(&words.join(" "))),
            Proposal::File => " -r -F".to_owned(),
            Proposal::Unknown => " -x".to_owned(),
        };
        let (name, doc) = (flag.name, quoted(flag.doc_short));
        text += &format!("complete -c etcd-gateway{short} -l {name}{value} -d {doc}\n");
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
