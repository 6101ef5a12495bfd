//! PEM bundles (RFC 7468): the certificates of a CA file, in their order.
//!
//! Blocks labelled X509 CERTIFICATE or X.509 CERTIFICATE, as old tools write them (RFC 7468,
//! section 5.1), are taken as well. Text between blocks is commentary and blocks of other kinds (a private key, parameters,
//! a CRL) are passed over, as Go's `AppendCertsFromPEM` does. Unlike there, nothing that was
//! meant to be a certificate is dropped in silence: a TRUSTED CERTIFICATE, a damaged boundary, damaged base64, a
//! block without its end, and a file without any certificate are errors that name the line.
//! What the blocks hold is not looked at here. Memory is bounded by the size of the text.

use std::fmt;

/// Where and why a bundle could not be read. The caller knows the file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Error {
    /// The line, from 1.
    pub(crate) line: usize,
    /// The block (of any kind) that was open or had just begun, from 1; 0 before the first.
    pub(crate) block: usize,
    /// What is wrong there.
    pub(crate) what: Problem,
}

/// What is wrong with a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    /// A line starts like a boundary but is not one.
    MalformedBoundary,
    /// An END line where no block is open, or of another kind than the open block.
    UnexpectedEnd,
    /// A TRUSTED CERTIFICATE block: OpenSSL's own kind, with trust settings after the
    /// certificate that would have to be heeded.
    TrustedCertificate,
    /// A BEGIN line inside a block.
    UnexpectedBegin,
    /// The text ends inside a block.
    Unterminated,
    /// A header line, as encrypted blocks have; a certificate has none.
    Header,
    /// A character outside of the base64 alphabet.
    Character,
    /// The base64 ends in the middle of a group, or its padding is wrong.
    Padding,
    /// A certificate's block with nothing in it.
    EmptyBlock,
    /// No certificate's block in the whole text.
    NoCertificate,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MalformedBoundary => "malformed BEGIN or END line",
            Self::UnexpectedEnd => "END line without its BEGIN line",
            Self::TrustedCertificate => {
                "TRUSTED CERTIFICATE blocks are not supported, only CERTIFICATE (convert it with \
                 `openssl x509`)"
            }
            Self::UnexpectedBegin => "BEGIN line inside a block",
            Self::Unterminated => "the text ends before the END line",
            Self::Header => "header line in a certificate",
            Self::Character => "not base64",
            Self::Padding => "base64 is cut off or wrongly padded",
            Self::EmptyBlock => "empty certificate",
            Self::NoCertificate => "no CERTIFICATE block",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            Problem::NoCertificate if self.block == 0 => write!(f, "{}", self.what),
            Problem::NoCertificate => {
                write!(f, "{} among {} PEM blocks", self.what, self.block)
            }
            _ => write!(f, "line {}, block {}: {}", self.line, self.block, self.what),
        }
    }
}

impl std::error::Error for Error {}

/// The DER of every certificate's block, at least one.
pub(crate) fn parse_certificates(text: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    // A byte order mark, as some editors put it, would hide a first BEGIN line.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut certificates = Vec::new();
    let mut open: Option<Block<'_>> = None;
    let mut at = Error {
        line: 0,
        block: 0,
        what: Problem::NoCertificate,
    };
    // Lines end in LF, CRLF or CR (RFC 7468, section 2: each of them is to be taken).
    let lines = text
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .flat_map(|line| line.split(|byte| *byte == b'\r'));
    for line in lines {
        at.line = at.line.saturating_add(1);
        // Blanks around a line are no part of it (RFC 7468, section 3, the lax form).
        let line = line.trim_ascii();
        let fail = |what| Error { what, ..at };
        match (boundary(line).map_err(fail)?, open.as_mut()) {
            (Some(Boundary::Begin(label)), None) => {
                at.block = at.block.saturating_add(1);
                if label == b"TRUSTED CERTIFICATE" {
                    at.what = Problem::TrustedCertificate;
                    return Err(at);
                }
                open = Some(Block::new(label));
            }
            (Some(Boundary::Begin(_)), Some(_)) => return Err(fail(Problem::UnexpectedBegin)),
            (Some(Boundary::End(label)), Some(block)) if block.label == label => {
                if block.is_certificate() {
                    block.finish().map_err(fail)?;
                    certificates.push(std::mem::take(&mut block.decoded));
                }
                open = None;
            }
            (Some(Boundary::End(_)), _) => return Err(fail(Problem::UnexpectedEnd)),
            (None, Some(block)) if block.is_certificate() => block.decode(line).map_err(fail)?,
            (None, _) => {}
        }
    }
    if open.is_some() {
        at.what = Problem::Unterminated;
        return Err(at);
    }
    if certificates.is_empty() {
        return Err(at);
    }
    Ok(certificates)
}

/// An encapsulation boundary with its label.
enum Boundary<'a> {
    Begin(&'a [u8]),
    End(&'a [u8]),
}

/// Whether a line is a boundary. One that merely starts like one is an error: as a comment
/// it would lose a certificate, for instance where two files were joined without a line end
/// between them.
fn boundary(line: &[u8]) -> Result<Option<Boundary<'_>>, Problem> {
    let (rest, begins) = match line.strip_prefix(b"-----BEGIN") {
        Some(rest) => (rest, true),
        None => match line.strip_prefix(b"-----END") {
            Some(rest) => (rest, false),
            None => return Ok(None),
        },
    };
    let label = rest
        .strip_prefix(b" ")
        .and_then(|rest| rest.strip_suffix(b"-----"))
        .filter(|label| !label.windows(2).any(|pair| pair == b"--"))
        .ok_or(Problem::MalformedBoundary)?;
    Ok(Some(if begins {
        Boundary::Begin(label)
    } else {
        Boundary::End(label)
    }))
}

/// A block being read: base64 is decoded as its lines come, in groups of four characters.
struct Block<'a> {
    label: &'a [u8],
    decoded: Vec<u8>,
    group: u32,
    /// Characters in `group`, padding included: 0 to 3.
    filled: u8,
    /// Padding characters seen: 0 to 2. After the first, only padding may follow.
    padding: u8,
    /// The padding has completed a group: the data is over.
    complete: bool,
}

impl<'a> Block<'a> {
    fn new(label: &'a [u8]) -> Self {
        Self {
            label,
            decoded: Vec::new(),
            group: 0,
            filled: 0,
            padding: 0,
            complete: false,
        }
    }

    fn is_certificate(&self) -> bool {
        matches!(
            self.label,
            b"CERTIFICATE" | b"X509 CERTIFICATE" | b"X.509 CERTIFICATE"
        )
    }

    /// Takes one line of base64 (RFC 4648, section 4).
    fn decode(&mut self, line: &[u8]) -> Result<(), Problem> {
        if line.contains(&b':') {
            return Err(Problem::Header);
        }
        for character in line {
            let value = match character {
                b'A'..=b'Z' => character.wrapping_sub(b'A'),
                b'a'..=b'z' => character.wrapping_sub(b'a').wrapping_add(26),
                b'0'..=b'9' => character.wrapping_sub(b'0').wrapping_add(52),
                b'+' => 62,
                b'/' => 63,
                b'=' if self.filled >= 2 => {
                    self.padding = self.padding.saturating_add(1);
                    0
                }
                b'=' => return Err(Problem::Padding),
                b' ' | b'\t' => continue,
                _ => return Err(Problem::Character),
            };
            if self.complete || (self.padding > 0 && *character != b'=') {
                return Err(Problem::Padding);
            }
            self.group = (self.group << 6) | u32::from(value);
            self.filled = self.filled.saturating_add(1);
            if self.filled == 4 {
                self.end_group()?;
            }
        }
        Ok(())
    }

    /// Stores the octets of a complete group. Bits under the padding must be zero: others
    /// mean that characters were lost.
    fn end_group(&mut self) -> Result<(), Problem> {
        let [_, first, second, third] = self.group.to_be_bytes();
        match self.padding {
            0 => self.decoded.extend([first, second, third]),
            1 if third == 0 => self.decoded.extend([first, second]),
            2 if second == 0 && third == 0 => self.decoded.push(first),
            _ => return Err(Problem::Padding),
        }
        self.complete = self.padding > 0;
        self.group = 0;
        self.filled = 0;
        Ok(())
    }

    fn finish(&self) -> Result<(), Problem> {
        if self.filled != 0 {
            return Err(Problem::Padding);
        }
        if self.decoded.is_empty() {
            return Err(Problem::EmptyBlock);
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::panic
)]
mod tests {
    use super::*;

    /// A CERTIFICATE block around `base64`.
    fn block(base64: &str) -> String {
        format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n")
    }

    #[test]
    fn bundles() {
        let three = block("TWFu") + &block("TWE=") + &block("TQ==");
        let key = "-----BEGIN PRIVATE KEY-----\n***\n-----END PRIVATE KEY-----\n";
        let cases: &[(&str, String, &[&str])] = &[
            ("three in order", three.clone(), &["Man", "Ma", "M"]),
            ("CRLF", three.replace('\n', "\r\n"), &["Man", "Ma", "M"]),
            ("CR", three.replace('\n', "\r"), &["Man", "Ma", "M"]),
            (
                "no final line end",
                three.trim_end().into(),
                &["Man", "Ma", "M"],
            ),
            (
                "byte order mark",
                format!("\u{feff}{three}"),
                &["Man", "Ma", "M"],
            ),
            ("indented", three.replace('\n', "\n  "), &["Man", "Ma", "M"]),
            (
                "comments and dashes between blocks",
                format!(
                    "# root\n{}== --- -----\nIssuer: x\n{}\n",
                    block("TWFu"),
                    block("TQ==")
                ),
                &["Man", "M"],
            ),
            (
                "other kinds",
                format!("{key}{}{key}", block("TWFu")),
                &["Man"],
            ),
            (
                "old labels",
                block("TWFu").replace(" CERT", " X509 CERT")
                    + &block("TQ==").replace(" CERT", " X.509 CERT"),
                &["Man", "M"],
            ),
            ("groups over lines", block("TW\n\nFu TW\nE="), &["ManMa"]),
        ];
        for (what, text, expected) in cases {
            let expected: Vec<Vec<u8>> = expected.iter().map(|s| s.as_bytes().into()).collect();
            assert_eq!(parse_certificates(text.as_bytes()), Ok(expected), "{what}");
        }
    }

    #[test]
    fn damaged_bundles_name_line_and_block() {
        use Problem::*;
        let good = block("TWFu");
        let cases: &[(String, usize, usize, Problem)] = &[
            (String::new(), 1, 0, NoCertificate),
            ("just text\n".into(), 2, 0, NoCertificate),
            (
                "-----BEGIN X-----\n-----END X-----".into(),
                2,
                1,
                NoCertificate,
            ),
            // OpenSSL's own kind carries trust settings after the certificate.
            (
                good.replace(" CERT", " TRUSTED CERT"),
                1,
                1,
                TrustedCertificate,
            ),
            (
                good.clone() + &good.replace(" CERT", " TRUSTED CERT"),
                4,
                2,
                TrustedCertificate,
            ),
            (
                good.replace("END CERT", "END X509 CERT"),
                3,
                1,
                UnexpectedEnd,
            ),
            (good.replace("BEGIN", "BEGINN"), 1, 0, MalformedBoundary),
            (
                good.replacen("CERTIFICATE-----", "CERTIFICATE----", 1),
                1,
                0,
                MalformedBoundary,
            ),
            (
                good.replace('\n', "\r") + "\r!\r\n-----END X-----\r\n",
                6,
                1,
                UnexpectedEnd,
            ),
            // Two files joined without a line end between them.
            (good.trim_end().to_owned() + &good, 3, 1, MalformedBoundary),
            (
                format!("{good}TWFu\n-----END CERTIFICATE-----"),
                5,
                1,
                UnexpectedEnd,
            ),
            (good.replace("END CERT", "END cert"), 3, 1, UnexpectedEnd),
            (
                format!("-----BEGIN CERTIFICATE-----\nTWFu\n{good}"),
                3,
                1,
                UnexpectedBegin,
            ),
            (
                format!("{good}-----BEGIN CERTIFICATE-----\nTWFu\n"),
                6,
                2,
                Unterminated,
            ),
            (format!("{good}-----BEGIN X-----\n"), 5, 2, Unterminated),
            (block("Proc-Type: 4,ENCRYPTED\n\nTWFu"), 2, 1, Header),
            (format!("{good}{}", block("TWFu\nTW.u")), 6, 2, Character),
            (block("TWFu\u{e9}"), 2, 1, Character),
            (block("TWF"), 3, 1, Padding),
            (block("T==="), 2, 1, Padding),
            (block("TQ==TWFu"), 2, 1, Padding),
            (block("TWE=\n="), 3, 1, Padding),
            (block("TQ=u"), 2, 1, Padding),
            (block("TR=="), 2, 1, Padding), // bits under the padding
            (block("TWF="), 2, 1, Padding),
            (block(""), 3, 1, EmptyBlock),
        ];
        for (text, line, block, what) in cases {
            let error = Error {
                line: *line,
                block: *block,
                what: *what,
            };
            assert_eq!(parse_certificates(text.as_bytes()), Err(error), "{text:?}");
        }
    }

    #[test]
    fn every_truncation_and_every_changed_byte_ends() {
        let good = (block("TWFu") + &block("TWE=")).into_bytes();
        for end in 0..good.len() - 1 {
            let got = parse_certificates(&good[..end]);
            let first = block("").len() + 3;
            assert!(
                got.is_err() || (end >= first && got.unwrap().len() == 1),
                "{end}"
            );
        }
        for position in 0..good.len() {
            for byte in 0..=u8::MAX {
                let mut changed = good.clone();
                changed[position] = byte;
                if let Ok(certificates) = parse_certificates(&changed) {
                    assert!(certificates.len() <= 2);
                }
            }
        }
    }

    #[test]
    fn errors_in_words() {
        let shown = |text: &str| parse_certificates(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(shown(""), "no CERTIFICATE block");
        let other = "-----BEGIN X-----\n-----END X-----\n";
        assert_eq!(shown(other), "no CERTIFICATE block among 1 PEM blocks");
        assert_eq!(shown(&block("!")), "line 2, block 1: not base64");
    }
}
