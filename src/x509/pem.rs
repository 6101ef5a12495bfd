//! PEM bundles (RFC 7468): the certificates of a CA file, in their order.
//!
//! Blocks labelled X509 CERTIFICATE or X.509 CERTIFICATE, as old tools write them (RFC 7468,
//! section 5.1), are read as well. Text between blocks and blocks of other kinds (a private key,
//! parameters, a CRL) are skipped, as in Go's `AppendCertsFromPEM`. Unlike there, nothing that was
//! meant to be a certificate is skipped silently: a TRUSTED CERTIFICATE, a damaged boundary, damaged
//! base64, a block without its end, and a file without any certificate are errors with their line.
//! The contents of the blocks are not parsed here. Memory is bounded by the size of the text.

use std::fmt;

/// Where and why a bundle could not be read. The caller adds the file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Error {
    /// The line, from 1.
    pub(crate) line: usize,
    /// What is wrong there.
    pub(crate) what: &'static str,
}

const NO_CERTIFICATE: &str = "no CERTIFICATE block";
const MALFORMED_BOUNDARY: &str = "malformed BEGIN or END line";
const UNEXPECTED_BEGIN: &str = "BEGIN line inside a block";
/// Where no block is open, or one of another kind.
const UNEXPECTED_END: &str = "END line without its BEGIN line";
const UNTERMINATED: &str = "the text ends before the END line";
/// OpenSSL's own kind has trust settings after the certificate, which would have to be enforced.
const TRUSTED_CERTIFICATE: &str = "TRUSTED CERTIFICATE blocks are not supported, only CERTIFICATE \
                                   (convert it with `openssl x509`)";
/// Encrypted blocks have header lines; a certificate has none.
const HEADER: &str = "header line in a certificate";
const CHARACTER: &str = "not base64";
const PADDING: &str = "base64 is cut off or wrongly padded";
const EMPTY: &str = "empty certificate";

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            NO_CERTIFICATE => f.write_str(NO_CERTIFICATE),
            what => write!(f, "line {}: {what}", self.line),
        }
    }
}

impl std::error::Error for Error {}

/// A line of a bundle.
enum Line<'a> {
    Begin(&'a [u8]),
    End(&'a [u8]),
    /// It starts like a boundary, but is not one. That is an error, because as a comment it would lose
    /// a certificate, for instance where two files were joined without a line end between them.
    Malformed,
    Text,
}

impl<'a> Line<'a> {
    fn of(line: &'a [u8]) -> Self {
        let begin = line.strip_prefix(b"-----BEGIN");
        let Some(rest) = begin.or_else(|| line.strip_prefix(b"-----END")) else {
            return Self::Text;
        };
        let label = rest
            .strip_prefix(b" ")
            .and_then(|rest| rest.strip_suffix(b"-----"))
            .filter(|label| !label.windows(2).any(|pair| pair == b"--"));
        match label {
            Some(label) if begin.is_some() => Self::Begin(label),
            Some(label) => Self::End(label),
            None => Self::Malformed,
        }
    }
}

/// The DER of every certificate's block, at least one.
pub(crate) fn parse_certificates(text: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    // A byte order mark, as some editors write it, would hide a first BEGIN line.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    // Lines end in LF, CRLF or CR (RFC 7468, section 2: parsers accept each). Blanks around a line are
    // not part of it (section 3, the lax form).
    let lines = text
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .flat_map(|line| line.split(|byte| *byte == b'\r'))
        .map(<[u8]>::trim_ascii);
    let mut certificates = Vec::new();
    // The label of the block that is open, and its base64.
    let mut open: Option<(&[u8], Vec<u8>)> = None;
    let mut number = 0usize;
    for line in lines {
        number = number.saturating_add(1);
        let fail = |what| Error { line: number, what };
        match (Line::of(line), open.take()) {
            (Line::Malformed, _) => return Err(fail(MALFORMED_BOUNDARY)),
            (Line::Begin(b"TRUSTED CERTIFICATE"), None) => return Err(fail(TRUSTED_CERTIFICATE)),
            (Line::Begin(label), None) => open = Some((label, Vec::new())),
            (Line::Begin(_), Some(_)) => return Err(fail(UNEXPECTED_BEGIN)),
            (Line::End(label), Some((begun, base64))) if label == begun => {
                if is_certificate(begun) {
                    certificates.push(decode(&base64).map_err(fail)?);
                }
            }
            (Line::End(_), _) => return Err(fail(UNEXPECTED_END)),
            (Line::Text, Some((label, mut base64))) => {
                if is_certificate(label) {
                    base64.extend(characters(line).map_err(fail)?);
                }
                open = Some((label, base64));
            }
            (Line::Text, None) => {}
        }
    }
    let what = match open {
        Some(_) => UNTERMINATED,
        None if certificates.is_empty() => NO_CERTIFICATE,
        None => return Ok(certificates),
    };
    Err(Error { line: number, what })
}

fn is_certificate(label: &[u8]) -> bool {
    matches!(
        label,
        b"CERTIFICATE" | b"X509 CERTIFICATE" | b"X.509 CERTIFICATE"
    )
}

/// The characters of base64 in a line.
fn characters(line: &[u8]) -> Result<impl Iterator<Item = u8>, &'static str> {
    let characters = line
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b' ' | b'\t'));
    match characters
        .clone()
        .find(|byte| *byte != b'=' && sextet(*byte).is_none())
    {
        Some(_) if line.contains(&b':') => Err(HEADER),
        Some(_) => Err(CHARACTER),
        None => Ok(characters),
    }
}

/// The octets of base64 (RFC 4648, section 4). Bits under the padding must be zero: others mean that
/// characters were lost.
fn decode(base64: &[u8]) -> Result<Vec<u8>, &'static str> {
    if base64.is_empty() {
        return Err(EMPTY);
    }
    let padded = base64.strip_suffix(b"==").or(base64.strip_suffix(b"="));
    let mut octets = Vec::new();
    for group in padded.unwrap_or(base64).chunks(4) {
        let mut value = 0;
        for at in 0..4 {
            let bits = group.get(at).map_or(Some(0), |byte| sextet(*byte));
            value = (value << 6) | u32::from(bits.ok_or(PADDING)?);
        }
        let [_, all @ ..] = value.to_be_bytes();
        match all.split_at_checked(group.len().saturating_sub(1)) {
            Some((kept @ [_, ..], lost)) if lost.iter().all(|octet| *octet == 0) => {
                octets.extend(kept);
            }
            _ => return Err(PADDING),
        }
    }
    match base64.len() % 4 {
        0 => Ok(octets),
        _ => Err(PADDING),
    }
}

/// The value of a character of base64.
fn sextet(character: u8) -> Option<u8> {
    Some(match character {
        b'A'..=b'Z' => character.wrapping_sub(b'A'),
        b'a'..=b'z' => character.wrapping_sub(b'a').wrapping_add(26),
        b'0'..=b'9' => character.wrapping_sub(b'0').wrapping_add(52),
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
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
    fn errors_say_the_line() {
        let good = block("TWFu");
        let cases: &[(String, usize, &str)] = &[
            (String::new(), 1, NO_CERTIFICATE),
            ("just text\n".into(), 2, NO_CERTIFICATE),
            (
                "-----BEGIN X-----\n-----END X-----".into(),
                2,
                NO_CERTIFICATE,
            ),
            // OpenSSL's own kind carries trust settings after the certificate.
            (
                good.replace(" CERT", " TRUSTED CERT"),
                1,
                TRUSTED_CERTIFICATE,
            ),
            (
                good.clone() + &good.replace(" CERT", " TRUSTED CERT"),
                4,
                TRUSTED_CERTIFICATE,
            ),
            (good.replace("END CERT", "END X509 CERT"), 3, UNEXPECTED_END),
            (good.replace("BEGIN", "BEGINN"), 1, MALFORMED_BOUNDARY),
            (
                good.replacen("CERTIFICATE-----", "CERTIFICATE----", 1),
                1,
                MALFORMED_BOUNDARY,
            ),
            (
                good.replace('\n', "\r") + "\r!\r\n-----END X-----\r\n",
                6,
                UNEXPECTED_END,
            ),
            // Two files joined without a line end between them.
            (good.trim_end().to_owned() + &good, 3, MALFORMED_BOUNDARY),
            (
                format!("{good}TWFu\n-----END CERTIFICATE-----"),
                5,
                UNEXPECTED_END,
            ),
            (good.replace("END CERT", "END cert"), 3, UNEXPECTED_END),
            (
                format!("-----BEGIN CERTIFICATE-----\nTWFu\n{good}"),
                3,
                UNEXPECTED_BEGIN,
            ),
            (
                format!("{good}-----BEGIN CERTIFICATE-----\nTWFu\n"),
                6,
                UNTERMINATED,
            ),
            (format!("{good}-----BEGIN X-----\n"), 5, UNTERMINATED),
            (block("Proc-Type: 4,ENCRYPTED\n\nTWFu"), 2, HEADER),
            (format!("{good}{}", block("TWFu\nTW.u")), 6, CHARACTER),
            (block("TWFu\u{e9}"), 2, CHARACTER),
            (block("TWF"), 3, PADDING),
            (block("T==="), 3, PADDING),
            (block("TQ==TWFu"), 3, PADDING),
            (block("TWE=\n="), 4, PADDING),
            (block("TQ=u"), 3, PADDING),
            (block("TR=="), 3, PADDING), // bits under the padding
            (block("TWF="), 3, PADDING),
            (block(""), 3, EMPTY),
        ];
        // What is wrong with the whole of the base64 is found at its end.
        for (text, line, what) in cases {
            let error = Error { line: *line, what };
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
        assert_eq!(shown(other), "no CERTIFICATE block");
        assert_eq!(shown(&block("!")), "line 2: not base64");
    }
}
