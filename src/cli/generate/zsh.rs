//! The completion for zsh: one call of `_arguments`, whose grammar zshcompsys(1) describes.

use super::{FLAGS, Proposal, commands, names, proposal};
use crate::cli::flags::{Flag, Takes};

/// The script, for a file named `_etcd-gateway` in a directory of `fpath`.
pub(super) fn script() -> String {
    let mut text = "\
#compdef etcd-gateway
# Completion of etcd-gateway for zsh; printed by `etcd-gateway generate zsh`.
_arguments \\
"
    .to_owned();
    for flag in FLAGS {
        text += &format!("    {} \\\n", specification(flag));
    }
    let commands = commands().map(|(name, doc)| format!("{name}\\:\"{doc}\""));
    let commands = commands.collect::<Vec<_>>().join(" ");
    text += &format!("    {} \\\n", quoted(&format!("1:command:(({commands}))")));
    let texts = names().join(" ");
    let texts = format!("2:text:{{(( $words[(I)generate] )) && compadd {texts}}}");
    text += &format!("    {}\n", quoted(&texts));
    text
}

/// `*--flag=[doc]:value:action`: the star for what may be repeated, the equals sign for a value that may be attached.
fn specification(flag: &Flag) -> String {
    let (name, doc) = (flag.name, escaped(flag.doc_short));
    let (star, value) = match flag.takes {
        Takes::Nothing => ("", ""),
        Takes::One(value) => ("", value),
        Takes::Many(value) => ("*", value),
    };
    let action = match proposal(flag) {
        Proposal::Switch => {
            let spelled = match flag.short {
                Some(letter) => format!("'(-{letter} --{name})'{{-{letter},--{name}}}"),
                None => quoted(&format!("--{name}")),
            };
            return spelled + &quoted(&format!("[{doc}]"));
        }
        Proposal::Words(words) => format!("({})", words.join(" ")),
        Proposal::File => "_files".to_owned(),
        // A blank is zsh's word for "nothing to propose, only say what goes here".
        Proposal::Unknown => " ".to_owned(),
    };
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
                "'--log-level=[The least severe messages to log\\: debug, info, warn or error.]\
                 :LEVEL:(debug info warn error)'",
            ),
            (
                "listen-addr",
                "'*--listen-addr=[Where to accept clients.]:HOST\\:PORT,...: '",
            ),
            (
                "help",
                "'(-h --help)'{-h,--help}'[Print this help and exit.]'",
            ),
            ("version", "'--version''[Print the version and exit.]'"),
        ];
        for &(name, expected) in CASES {
            let flag = FLAGS.iter().find(|flag| flag.name == name);
            assert_eq!(flag.map(specification).as_deref(), Some(expected));
        }
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
