//! Why a command line is refused: one line that names the flag or variable, the value and the remedy.
//!
//! No caller acts on the kind of an error, so an error is its message, written next to the check. All text from outside
//! has been through [`shown`], so the line can be printed as it is. Parsers of values do not name the flag: their caller
//! does. The name of the program is added by `lib.rs`.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use crate::addr::AddrError;

/// A command line, a variable, a settings file or a value is refused.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Error(String);

impl<T: Into<String>> From<T> for Error {
    fn from(message: T) -> Self {
        Self(message.into())
    }
}

impl From<AddrError> for Error {
    fn from(error: AddrError) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The most bytes of a value that a message repeats: less than a line of a terminal.
const SHOWN_MAX: usize = 64;

/// `value` in quotes, truncated, and with everything escaped that could garble a terminal or break the line: control
/// characters, direction marks, bytes that are not UTF-8.
pub(super) fn shown(value: &OsStr) -> String {
    let bytes = value.as_bytes();
    if bytes.len() <= SHOWN_MAX {
        return format!("{value:?}");
    }
    // Back to the start of a character; in text it is at most three bytes away.
    let is_start = |at: &usize| bytes.get(*at).is_some_and(|b| b & 0xc0 != 0x80);
    let end = (SHOWN_MAX - 3..=SHOWN_MAX)
        .rfind(is_start)
        .unwrap_or(SHOWN_MAX);
    let head = OsStr::from_bytes(bytes.get(..end).unwrap_or(bytes));
    format!("{head:?}...")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::refusal;

    #[test]
    fn refusals_name_the_thing_and_the_remedy() {
        const CASES: &[(&str, &str)] = &[
            (
                "etcd-gateway",
                "no command is given; write `etcd-gateway start`",
            ),
            (
                "etcd-gateway --endpoints=a:1",
                "no command is given; write `etcd-gateway start`",
            ),
            (
                "etcd gateway",
                "no command is given; write `etcd gateway start`",
            ),
            (
                "etcd",
                "called as etcd, but this program is only its gateway; write `etcd gateway start`",
            ),
            (
                "/usr/bin/etcd --data-dir=/var/lib/etcd",
                "called as etcd, but this program is only its gateway; write `etcd gateway start`",
            ),
            (
                "etcd-gateway strat",
                "unknown command \"strat\"; did you mean start?",
            ),
            (
                "etcd-gateway help strat",
                "unknown command \"strat\"; did you mean start?",
            ),
            (
                "etcd-gateway grpc-proxy start",
                "unknown command \"grpc-proxy\"; the commands are start, check, config, generate, help, version",
            ),
            (
                "etcd-gateway generate",
                "generate: write one of man, bash, zsh, fish, unit, socket, settings",
            ),
            (
                "etcd-gateway generate powershell",
                "generate: write one of man, bash, zsh, fish, unit, socket, settings",
            ),
            (
                "etcd-gateway generate man page",
                "generate man: write one of files, behaviour, operation, metrics, logs, security, or no \
                 name for the page of commands and flags",
            ),
            (
                "etcd-gateway generate man logs page",
                "unexpected argument \"page\"; only flags are allowed here, and a list must not contain spaces",
            ),
            (
                "etcd-gateway start help",
                "unexpected argument \"help\"; only flags are allowed here, and a list must not contain spaces",
            ),
            (
                "etcd-gateway start --verify-endpoints yes",
                "unexpected argument \"yes\"; a flag that takes no value is written alone, or with \
                 =true or =false attached",
            ),
            (
                "etcd-gateway start --endpoints a:1 b:1",
                "unexpected argument \"b:1\"; only flags are allowed here, and a list must not contain spaces",
            ),
            (
                "etcd-gateway start -- --endpoints=a:1",
                "unexpected argument \"--endpoints=a:1\"; only flags are allowed here, and a list \
                 must not contain spaces",
            ),
            (
                "etcd-gateway start --endpoint=a:1",
                "unknown flag \"--endpoint\"; did you mean --endpoints?",
            ),
            (
                "etcd-gateway start --data-dir=/x",
                "unknown flag \"--data-dir\"; --help lists the flags",
            ),
            (
                "etcd-gateway start -endpoints=a:1",
                "unknown flag \"-endpoints\"; write --endpoints, with two dashes",
            ),
            (
                "etcd-gateway start -x",
                "unknown flag \"-x\"; --help lists the flags",
            ),
            (
                "etcd-gateway start --=3",
                "unknown flag \"--\"; --help lists the flags",
            ),
            (
                "etcd-gateway start --retry-delay",
                "--retry-delay needs a value; write --retry-delay=DURATION",
            ),
            (
                "etcd-gateway start --retry-delay=123",
                "invalid value \"123\" for --retry-delay: time: missing unit in duration \"123\"; \
                 write 1m30s, 5s or 250ms",
            ),
            (
                "etcd-gateway start --retry-delay -1s",
                "invalid value \"-1s\" for --retry-delay: retrying without a pause would be a busy \
                 loop; write 1ms or more",
            ),
            (
                "etcd-gateway start --dial-timeout=0s",
                "invalid value \"0s\" for --dial-timeout: no connection could be made in that \
                 time; write 1ms or more",
            ),
            (
                "etcd-gateway start --drain-timeout=-1s",
                "invalid value \"-1s\" for --drain-timeout: time cannot be negative; write 0s or \
                 more",
            ),
            (
                "etcd-gateway start --close-removed=sometimes",
                "invalid value \"sometimes\" for --close-removed: time: invalid duration \
                 \"sometimes\"; write 1m30s, 5s or 250ms, or never",
            ),
            (
                "etcd-gateway start --endpoints=127.0.0.1",
                "invalid value \"127.0.0.1\" for --endpoints: has no port; write 127.0.0.1:2379",
            ),
            (
                "etcd-gateway start --endpoints=a:1,b",
                "invalid value \"a:1,b\" for --endpoints: item \"b\": has no port; write b:2379",
            ),
            (
                "etcd-gateway start --endpoints=",
                "--endpoints has an empty value; write --endpoints=HOST:PORT,..., or remove the flag",
            ),
            (
                "etcd-gateway start --endpoints=a:99999",
                "invalid value \"a:99999\" for --endpoints: the port must be within 1-65535",
            ),
            (
                "etcd-gateway start --listen-addr=nonsense",
                "invalid value \"nonsense\" for --listen-addr: has no port; write nonsense:23790",
            ),
            (
                "etcd-gateway start --metrics-addr=9100",
                "invalid value \"9100\" for --metrics-addr: has no host; write 127.0.0.1:9100",
            ),
            (
                "etcd-gateway start --metrics-addr=https://127.0.0.1:9100",
                "invalid value \"https://127.0.0.1:9100\" for --metrics-addr: metrics are served \
                 over plain HTTP; write host:port or http://host:port",
            ),
            (
                "etcd-gateway start --endpoints --listen-addr=:1",
                "invalid value \"--listen-addr=:1\" for --endpoints: a host name cannot contain '=' \
                 (letters, digits, '-', '_' and '.' only)",
            ),
            (
                "etcd-gateway start --log-level=trace",
                "invalid value \"trace\" for --log-level: write one of debug, info, warn, error",
            ),
            (
                "etcd-gateway start --max-connections=0",
                "invalid value \"0\" for --max-connections: write auto or a number from 1 to \
                 2097152",
            ),
            (
                "etcd-gateway start --help=yes",
                "invalid value \"yes\" for --help: write true or false",
            ),
        ];
        for &(line, expected) in CASES {
            assert_eq!(refusal(line, &[]), expected, "{line}");
        }
    }

    #[test]
    fn shown_is_one_safe_short_line() {
        let long = "x".repeat(65);
        let head = "x".repeat(64);
        let cut = format!("{}\u{e9}\u{e9}", "x".repeat(63));
        let cases: [(&[u8], String); 7] = [
            (b"plain", "\"plain\"".to_owned()),
            (b"a\"b\n\x1b[2J", "\"a\\\"b\\n\\u{1b}[2J\"".to_owned()),
            (b"\xff", "\"\\xFF\"".to_owned()),
            // A mark that turns the direction of the text round.
            ("\u{202e}".as_bytes(), "\"\\u{202e}\"".to_owned()),
            (head.as_bytes(), format!("\"{head}\"")),
            (long.as_bytes(), format!("\"{head}\"...")),
            // Never cut within a character.
            (cut.as_bytes(), format!("\"{}\"...", "x".repeat(63))),
        ];
        for (bytes, expected) in cases {
            assert_eq!(shown(OsStr::from_bytes(bytes)), expected);
        }
        for length in 0..200 {
            let text = shown(OsStr::from_bytes(&vec![0xff; length]));
            assert!(text.len() <= 4 * SHOWN_MAX + 5, "{length}");
        }
    }
}
