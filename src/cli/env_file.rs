//! The syntax of systemd's `EnvironmentFile=` (systemd.exec(5)), as systemd 252 reads it: octets in, assignments out.
//!
//! Pure. The meaning of an assignment is up to `settings_file`. Each octet is read once, and nothing is expanded, so the
//! result is never larger than the file.
//!
//! It also follows systemd where the manual says nothing: a carriage return ends a line; a quoted part may be followed by
//! more of the value, quoted or not; a quote within an unquoted value is a literal quote; a backslash at the end of a
//! comment continues the comment; a file with a NUL, or with a value that is not UTF-8, is refused. It is stricter in one
//! thing: in systemd the end of the file closes an open quote, which hides all lines after the quote.

use std::fmt;

/// One assignment, on one line or several.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// The line on which it begins, from 1.
    pub(crate) line: usize,
    /// The text before the `=`, which need not be a name.
    pub(crate) name: String,
    /// The text after it; `None` if the line does not have a `=`: systemd ignores such lines.
    pub(crate) value: Option<String>,
}

/// Why a file is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Error {
    /// From 1.
    pub(crate) line: usize,
    pub(crate) cause: Cause,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Nul,
    NotUtf8,
    /// This quote is not closed.
    OpenQuote(char),
}

/// Reads a whole file.
pub(crate) fn parse(content: &[u8]) -> Result<Vec<Assignment>, Error> {
    let mut text = Text {
        rest: content.iter(),
        line: 1,
    };
    let mut assignments = Vec::new();
    while let Some(octet) = text.next()? {
        match octet {
            b'#' | b';' => text.skip_comment()?,
            octet if is_blank(octet) || is_line_end(octet) => {}
            first => assignments.push(text.assignment(first)?),
        }
    }
    Ok(assignments)
}

fn is_line_end(octet: u8) -> bool {
    matches!(octet, b'\n' | b'\r')
}

fn is_blank(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t')
}

/// The rest of the file, and the line on which it begins.
struct Text<'a> {
    rest: std::slice::Iter<'a, u8>,
    line: usize,
}

impl Text<'_> {
    fn next(&mut self) -> Result<Option<u8>, Error> {
        match self.rest.next() {
            Some(0) => Err(self.refused(Cause::Nul)),
            Some(&octet) => {
                self.line += usize::from(octet == b'\n');
                Ok(Some(octet))
            }
            None => Ok(None),
        }
    }

    fn refused(&self, cause: Cause) -> Error {
        let line = self.line;
        Error { line, cause }
    }

    fn skip_comment(&mut self) -> Result<(), Error> {
        while let Some(octet) = self.next()? {
            if is_line_end(octet) {
                break;
            }
            if octet == b'\\' {
                self.next()?;
            }
        }
        Ok(())
    }

    /// The assignment that begins with this octet of its name.
    fn assignment(&mut self, first: u8) -> Result<Assignment, Error> {
        let line = self.line;
        let cause = Cause::NotUtf8;
        let text = |octets| String::from_utf8(octets).map_err(|_| Error { line, cause });
        let mut name = vec![first];
        let assigns = loop {
            match self.next()? {
                Some(b'=') => break true,
                Some(octet) if !is_line_end(octet) => name.push(octet),
                _ => break false,
            }
        };
        let length = name.iter().rposition(|octet| !is_blank(*octet));
        name.truncate(length.map_or(0, |last| last + 1));
        let (name, value) = match assigns {
            true => {
                let value = self.value()?;
                (text(name)?, Some(text(value)?))
            }
            false => (String::from_utf8_lossy(&name).into_owned(), None),
        };
        Ok(Assignment { line, name, value })
    }

    /// Quoted parts, and then the unquoted rest of the line.
    fn value(&mut self) -> Result<Vec<u8>, Error> {
        let mut value = Vec::new();
        while let Some(octet) = self.next()? {
            match octet {
                octet if is_line_end(octet) => break,
                octet if is_blank(octet) => {}
                quote @ (b'\'' | b'"') => self.quoted(quote, &mut value)?,
                octet => {
                    self.unquoted(octet, &mut value)?;
                    break;
                }
            }
        }
        Ok(value)
    }

    /// Up to the closing quote. A backslash is special only between double quotes.
    fn quoted(&mut self, quote: u8, value: &mut Vec<u8>) -> Result<(), Error> {
        let open = self.refused(Cause::OpenQuote(char::from(quote)));
        let mut next = || self.next()?.ok_or_else(|| open.clone());
        loop {
            match next()? {
                octet if octet == quote => return Ok(()),
                b'\\' if quote == b'"' => match next()? {
                    b'\n' => {}
                    octet @ (b'"' | b'\\' | b'`' | b'$') => value.push(octet),
                    octet => value.extend([b'\\', octet]),
                },
                octet => value.push(octet),
            }
        }
    }

    /// Up to the end of the line, without trailing blanks unless a backslash precedes them.
    fn unquoted(&mut self, first: u8, value: &mut Vec<u8>) -> Result<(), Error> {
        let mut next = Some(first);
        let mut length = value.len();
        while let Some(octet) = next {
            match octet {
                octet if is_line_end(octet) => break,
                b'\\' => {
                    value.extend(self.next()?.filter(|octet| !is_line_end(*octet)));
                    length = value.len();
                }
                octet => {
                    value.push(octet);
                    if !is_blank(octet) {
                        length = value.len();
                    }
                }
            }
            next = self.next()?;
        }
        value.truncate(length);
        Ok(())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nul => f.write_str("there is a NUL octet; write plain text"),
            Self::NotUtf8 => f.write_str("is not UTF-8 text; write plain ASCII"),
            Self::OpenQuote(quote) => {
                write!(f, "the quote is not closed; end the value with {quote}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The assignments as `line NAME=value`, or `line NAME` if there is no `=`.
    fn read(text: &str) -> Vec<String> {
        let word = |found: &Assignment| match &found.value {
            Some(value) => format!("{} {}={value}", found.line, found.name),
            None => format!("{} {}", found.line, found.name),
        };
        parse(text.as_bytes()).unwrap().iter().map(word).collect()
    }

    /// Each as load_env_file() of systemd 252 reads it, except line numbers: empty lines do not count there.
    #[test]
    fn as_systemd_reads_it() {
        const CASES: &[(&str, &[&str])] = &[
            ("", &[]),
            ("A=1", &["1 A=1"]),
            ("A=1\nB=2\n", &["1 A=1", "2 B=2"]),
            // Comments and empty lines; a comment can be continued, and does not follow a value.
            ("# A=1\n;B=2\n\n \t\n  # C=3\nD=4", &["6 D=4"]),
            ("#A=1\\\nB=2\nC=3", &["3 C=3"]),
            ("#A=\\\\\nB=2", &["2 B=2"]),
            ("A=1 # one", &["1 A=1 # one"]),
            ("A=\"1\" # one", &["1 A=1# one"]),
            // Blanks around, and within.
            (" A = 1 2\t", &["1 A=1 2"]),
            ("A=\n B=", &["1 A=", "2 B="]),
            ("export A=1\nA B=2", &["1 export A=1", "2 A B=2"]),
            // A line without `=`, and lines that begin with it.
            ("A\nB\t\nC=1", &["1 A", "2 B", "3 C=1"]),
            ("=A=1", &["1 =A=1"]),
            ("A==1=", &["1 A==1="]),
            // The later one counts; the caller decides that.
            ("A=1\nA=", &["1 A=1", "2 A="]),
            // Quotes.
            ("A='1 \"\\2'  ", &["1 A=1 \"\\2"]),
            ("A=\"1 '2\"", &["1 A=1 '2"]),
            ("A=\"1\" '2'3", &["1 A=123"]),
            ("A='1 ' 2 ", &["1 A=1 2"]),
            ("A=1\"2\"'3'", &["1 A=1\"2\"'3'"]),
            ("A='1\n2'\nB=3", &["1 A=1\n2", "3 B=3"]),
            ("A=\"1\n\n2\" \nB=3", &["1 A=1\n\n2", "4 B=3"]),
            ("A=\"\"\nB=''", &["1 A=", "2 B="]),
            // Backslashes.
            ("A=\\1\\\\2\\ \\\"", &["1 A=1\\2 \""]),
            ("A=1\\ ", &["1 A=1 "]),
            ("A=\"\\\"\\\\\\`\\$\\n\\'\"", &["1 A=\"\\`$\\n\\'"]),
            ("A=\"1\\\n2\"\nB=3", &["1 A=12", "3 B=3"]),
            ("A=1,\\\n2,\\\n  3\nB=4", &["1 A=1,2,  3", "4 B=4"]),
            ("A=\\\n1", &["1 A=1"]),
            ("A=1 \\", &["1 A=1 "]),
            ("A\\\nB=1", &["1 A\\", "2 B=1"]),
            // A carriage return ends a line, and so a continuation.
            ("A=1\r\nB=2\r\n", &["1 A=1", "2 B=2"]),
            ("A=1,\\\r\n2\r\nB=3", &["1 A=1,", "2 2", "3 B=3"]),
            ("A=\"1\\\r\n2\"", &["1 A=1\\\r\n2"]),
            ("A=1\rB=2", &["1 A=1", "1 B=2"]),
            // A mark of Windows is a part of the name.
            ("\u{feff}A=1", &["1 \u{feff}A=1"]),
        ];
        for (text, expected) in CASES {
            assert_eq!(read(text), *expected, "{text:?}");
        }
    }

    #[test]
    fn errors_name_the_line() {
        const CASES: &[(&[u8], usize, Cause)] = &[
            (b"A=1\n# \0\n", 2, Cause::Nul),
            (b"A='\n\0'", 2, Cause::Nul),
            (b"A=1\n\nB=\xff\n", 3, Cause::NotUtf8),
            (b"A='\n\n\xff'\n", 1, Cause::NotUtf8),
            (b"\xff=1", 1, Cause::NotUtf8),
            (b"A=1\nB='2\nC=3\n", 2, Cause::OpenQuote('\'')),
            (b"A='1\n'\"2\nC=3\n", 2, Cause::OpenQuote('"')),
            (b"A=\"\\", 1, Cause::OpenQuote('"')),
            (b"A=\"1\\\"", 1, Cause::OpenQuote('"')),
        ];
        for &(text, line, cause) in CASES {
            let shown = String::from_utf8_lossy(text);
            assert_eq!(parse(text), Err(Error { line, cause }), "{shown:?}");
        }
        // Lines that assign nothing need not be UTF-8.
        let found = parse(b"# \xff\n\xff\nA=1").unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[1].line, found[1].name.as_str()), (3, "A"));
    }
}
