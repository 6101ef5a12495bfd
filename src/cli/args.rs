//! The tokenizer: splits arguments into flags and words, as pflag does.
//!
//! It does not know the table of flags. If a flag takes the next argument as its value, the caller asks for it with
//! [`Args::value`]: as in pflag, that argument is the value whatever it looks like, so the value of `--retry-delay -1s` is
//! `-1s`. Arguments are bytes on Unix: in names, bytes that are not UTF-8 become replacement characters, which no name in
//! the table has; values are not changed. `--` ends the flags.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// One argument, or the flag part of it.
#[derive(Debug, PartialEq)]
pub(super) enum Token {
    /// `--name` or `--name=value`.
    Long(String, Option<OsString>),
    /// `-name` or `-name=value`. Valid names are one letter.
    Short(String, Option<OsString>),
    /// Anything else, also `-` alone.
    Word(OsString),
}

/// The remaining arguments.
pub(super) struct Args {
    rest: std::vec::IntoIter<OsString>,
    flags_ended: bool,
}

impl Args {
    /// The arguments must not include the name of the program.
    pub(super) fn new(arguments: Vec<OsString>) -> Self {
        Self {
            rest: arguments.into_iter(),
            flags_ended: false,
        }
    }

    /// The next argument, whole, as the value of the flag before it.
    pub(super) fn value(&mut self) -> Option<OsString> {
        self.rest.next()
    }
}

impl Iterator for Args {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let mut argument = self.rest.next()?;
        if argument == "--" && !self.flags_ended {
            self.flags_ended = true;
            argument = self.rest.next()?;
        }
        let bytes = argument.as_bytes();
        Some(match bytes.strip_prefix(b"--") {
            _ if self.flags_ended => Token::Word(argument),
            Some(flag) => split(flag, Token::Long),
            None => match bytes.strip_prefix(b"-") {
                Some(flag) if !flag.is_empty() => split(flag, Token::Short),
                _ => Token::Word(argument),
            },
        })
    }
}

/// Cuts `name=value` at the first `=`.
fn split(flag: &[u8], token: fn(String, Option<OsString>) -> Token) -> Token {
    let mut parts = flag.splitn(2, |&b| b == b'=');
    let name = String::from_utf8_lossy(parts.next().unwrap_or_default());
    token(
        name.into_owned(),
        parts.next().map(|v| OsStr::from_bytes(v).to_owned()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(name: &str, value: Option<&str>) -> Token {
        Token::Long(name.into(), value.map(Into::into))
    }

    fn short(name: &str, value: Option<&str>) -> Token {
        Token::Short(name.into(), value.map(Into::into))
    }

    fn word(text: &str) -> Token {
        Token::Word(text.into())
    }

    #[test]
    fn tokens() {
        let cases: [(&[&str], Vec<Token>); 12] = [
            (&[], vec![]),
            (&["start"], vec![word("start")]),
            (&["--a", "b"], vec![long("a", None), word("b")]),
            (&["--a=b"], vec![long("a", Some("b"))]),
            (&["--a="], vec![long("a", Some(""))]),
            (&["--a=b=c"], vec![long("a", Some("b=c"))]),
            (&["--=b"], vec![long("", Some("b"))]),
            (&["---a"], vec![long("-a", None)]),
            (&["-h"], vec![short("h", None)]),
            (&["-abc=d"], vec![short("abc", Some("d"))]),
            (&["-", ""], vec![word("-"), word("")]),
            (
                &["--", "--a", "--", "-h"],
                vec![word("--a"), word("--"), word("-h")],
            ),
        ];
        for (arguments, expected) in cases {
            let args = Args::new(arguments.iter().map(Into::into).collect());
            assert_eq!(args.collect::<Vec<_>>(), expected, "{arguments:?}");
        }
    }

    #[test]
    fn a_value_is_the_next_argument_whatever_it_looks_like() {
        for value in ["v", "-1s", "--b=c", "--", ""] {
            let mut args = Args::new(vec!["--a".into(), value.into(), "--".into()]);
            assert_eq!(args.next(), Some(long("a", None)));
            assert_eq!(args.value(), Some(value.into()));
            assert_eq!(args.next(), None, "{value:?}");
        }
    }

    #[test]
    fn values_keep_bytes_that_are_not_utf8() {
        let value = OsStr::from_bytes(b"\xff\xfe").to_owned();
        let mut argument = OsString::from("--a=");
        argument.push(&value);
        let mut args = Args::new(vec![argument]);
        assert_eq!(args.next(), Some(Token::Long("a".into(), Some(value))));
    }
}
