//! How a value that somebody typed is shown to a person.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// The most bytes of a value that a message repeats: one line of a terminal.
const SHOWN_MAX: usize = 64;

/// `value` in quotes, cut at a sane length, with everything escaped that could garble a
/// terminal or break the line: control characters, direction marks, bytes that are no UTF-8.
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
