//! The completion for zsh: one call of `_arguments`, whose grammar zshcompsys(1) describes.

use super::{COMMANDS, SCOPES, Takes, command_names, flags_of, names, scopes_of};
use crate::cli::flags::Flag;

/// The script, for a file named `_etcd-gateway` in a directory of `fpath`.
pub(super) fn script() -> String {
    let mut text = "\
#compdef etcd-gateway
# Completion of etcd-gateway for zsh; printed by `etcd-gateway generate zsh`.
local -a flags
"
    .to_owned();
    for (name, scope) in SCOPES {
        text += &format!("local -a {name}=(\n");
        for flag in flags_of(scope) {
            text += &format!("    {}\n", specification(flag));
        }
        text += ")\n";
    }
    let commands: Vec<&str> = command_names().collect();
    text += &format!("case ${{words[(r)({})]}} in\n", commands.join("|"));
    let all = |names: &[&str]| {
        let all: Vec<String> = names
            .iter()
            .map(|name| format!("\"${{{name}[@]}}\""))
            .collect();
        all.join(" ")
    };
    for command in &commands {
        text += &format!("{command}) flags=({}) ;;\n", all(&scopes_of(command)));
    }
    text += &format!(
        "*) flags=({}) ;;\nesac\n_arguments \"${{flags[@]}}\" \\\n",
        all(&SCOPES.map(|(name, _)| name))
    );
    let docs = COMMANDS
        .iter()
        .map(|command| format!("{}\\:\"{}\"", command.name, escaped(command.doc_short)));
    let docs = docs.collect::<Vec<_>>().join(" ");
    text += &format!("    {} \\\n", quoted(&format!("1:command:(({docs}))")));
    let second = format!(
        "2:text:{{ case $words[(r)(generate|help)] in generate) compadd {};; help) compadd {};; esac }}",
        names().join(" "),
        commands.join(" ")
    );
    text += &format!("    {}\n", quoted(&second));
    text
}

/// `*--flag=[doc]:value:action`: the star for what may be repeated, the equals sign for a value that may be attached.
fn specification(flag: &Flag) -> String {
    let (name, doc) = (flag.name, escaped(flag.doc_short));
    let star = match flag.takes {
        Takes::List(_) => "*",
        _ => "",
    };
    let action = match flag.takes {
        Takes::Switch => {
            let spelled = match flag.short {
                Some(letter) => format!("'(-{letter} --{name})'{{-{letter},--{name}}}"),
                None => quoted(&format!("--{name}")),
            };
            return spelled + &quoted(&format!("[{doc}]"));
        }
        Takes::Path(_, []) => "_files".to_owned(),
        Takes::Path(_, words) => format!("{{ compadd {}; _files }}", words.join(" ")),
        Takes::Choice(_, words) | Takes::Value(_, words) if !words.is_empty() => {
            format!("({})", words.join(" "))
        }
        // A blank is zsh's word for "nothing to propose, only say what goes here".
        _ => " ".to_owned(),
    };
    let value = flag.takes.value_name().unwrap_or_default();
    quoted(&format!(
        "{star}--{name}=[{doc}]:{}:{action}",
        escaped(value)
    ))
}

/// A colon ends a field of a specification, a bracket its description.
fn escaped(words: &str) -> String {
    let mut text = String::new();
    for c in words.chars() {
        if matches!(c, ':' | '[' | ']' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

fn quoted(words: &str) -> String {
    format!("'{}'", words.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let flag = super::super::FLAGS.iter().find(|flag| flag.name == name);
            assert_eq!(flag.map(specification).as_deref(), Some(expected));
        }
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
