//! The completion for zsh: one call of `_arguments`, whose grammar zshcompsys(1) describes.

use crate::cli::flags::{Flag, Takes, flags_of};
use crate::cli::manual::{COMMANDS, command_names};

/// The script, for a file named `_etcd-gateway` in a directory of `fpath`.
pub(super) fn script() -> String {
    let commands: Vec<&str> = command_names().collect();
    let mut text = format!(
        "\
#compdef etcd-gateway
# Completion of etcd-gateway for zsh; printed by `etcd-gateway generate zsh`.
local -a flags
case ${{words[(r)({})]}} in
",
        commands.join("|")
    );
    for command in COMMANDS.iter().map(Some).chain([None]) {
        let name = command.map_or("*", |command| command.name);
        let flags: Vec<String> = flags_of(command).map(specification).collect();
        text += &format!("{name}) flags=(\n    {}\n) ;;\n", flags.join("\n    "));
    }
    let docs = COMMANDS
        .iter()
        .map(|command| format!("{}\\:\"{}\"", command.name, escaped(command.doc_short)));
    let docs = docs.collect::<Vec<_>>().join(" ");
    let first = quoted(&format!("1:command:(({docs}))"));
    let second = quoted(&format!(
        "2:text:{{ case $words[(r)(generate|help)] in generate) compadd @TEXTS@;; help) compadd {};; esac }}",
        commands.join(" ")
    ));
    text + &format!("esac\n_arguments \"${{flags[@]}}\" \\\n    {first} \\\n    {second}\n")
}

/// `*--flag=[doc]:value:action`: the star is for flags that may be repeated, the equals sign for a value that may be
/// attached.
fn specification(flag: &Flag) -> String {
    let (name, doc) = (flag.name, escaped(flag.doc_short));
    let Some(value) = flag.takes.value_name() else {
        let spelled = match flag.short {
            Some(letter) => format!("'(-{letter} --{name})'{{-{letter},--{name}}}"),
            None => quoted(&format!("--{name}")),
        };
        return spelled + &quoted(&format!("[{doc}]"));
    };
    let star = match flag.takes {
        Takes::List(_) => "*",
        _ => "",
    };
    let words = flag.takes.words().join(" ");
    let action = match flag.takes {
        Takes::Path(..) if words.is_empty() => "_files".to_owned(),
        Takes::Path(..) => format!("{{ compadd {words}; _files }}"),
        // To zsh a blank means: propose nothing, only describe the value.
        _ if words.is_empty() => " ".to_owned(),
        _ => format!("({words})"),
    };
    let value = escaped(value);
    quoted(&format!("{star}--{name}=[{doc}]:{value}:{action}"))
}

/// A colon ends a field of a specification, a bracket its description.
fn escaped(words: &str) -> String {
    let words = words.replace('\\', r"\\").replace(':', r"\:");
    words.replace('[', r"\[").replace(']', r"\]")
}

fn quoted(words: &str) -> String {
    format!("'{}'", words.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flags::FLAGS;

    #[test]
    fn specifications() {
        const CASES: &[(&str, &str)] = &[
            (
                "log-level",
                "'--log-level=[The least severe messages to log.]:LEVEL:(debug info warn error)'",
            ),
            (
                "listen-addr",
                "'*--listen-addr=[Where to accept clients.]:HOST\\:PORT,...: '",
            ),
            (
                "help",
                "'(-h --help)'{-h,--help}'[Print this help and exit.]'",
            ),
            (
                "version",
                "'(-V --version)'{-V,--version}'[Print the version and exit.]'",
            ),
        ];
        for &(name, expected) in CASES {
            let flag = FLAGS.iter().find(|flag| flag.name == name);
            assert_eq!(flag.map(specification).as_deref(), Some(expected));
        }
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
