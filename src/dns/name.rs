//! Domain names: labels, compression pointers, text form (RFC 1035 sections 3.1, 4.1.4 and 5.1).
//!
//! A [`Name`] is absolute and holds its uncompressed wire form, so a value of this type is
//! always a legal name: labels of 1 to 63 octets, 255 octets in total. Comparison ignores the
//! case of ASCII letters (RFC 4343); the case that was read is kept.
//!
//! A compressed name cannot make the reader loop or work without a limit: each pointer must lead
//! strictly backwards from the start of the labels that end in it, the name may not exceed
//! 255 octets, and one name may have no more than [`MAX_POINTERS`] pointers.

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::wire::{self, Reader};

/// Octets of a name on the wire, length octets and root included (RFC 1035 section 3.1).
const MAX_NAME: usize = 255;
/// Octets of a label (RFC 1035 section 3.1): the two high bits of the length octet are taken.
const MAX_LABEL: usize = 63;
/// Pointers followed for one name. A name has at most 127 labels, and any sensible compressor puts at
/// least one label before each pointer.
const MAX_POINTERS: usize = 127;
/// Octets of the message header: no name lies there, so no pointer may lead there.
const HEADER_LEN: usize = 12;

/// Why a reply cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DecodeError(pub(crate) &'static str);

impl DecodeError {
    pub(crate) const TRUNCATED: Self = Self("ends too early");
    pub(crate) const NAME_TOO_LONG: Self = Self("a name has more than 255 octets");
    pub(crate) const LABEL_TYPE: Self = Self("a name has a label of an unknown type");
    pub(crate) const POINTER: Self = Self("a name has a compression pointer that is not allowed");
    pub(crate) const RDATA_LENGTH: Self = Self("a record's data does not have its length");
    /// Records are not in the sections that the header counts them in.
    pub(crate) const DISPLACED: Self = Self("a record of the answer is not counted as one");
}

impl From<wire::Error> for DecodeError {
    fn from(_: wire::Error) -> Self {
        Self::TRUNCATED
    }
}

/// An absolute domain name.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    /// Length-prefixed labels, then the zero octet of the root.
    wire: Vec<u8>,
}

impl Name {
    /// Reads the text form, escapes included; the error completes "it …". The flag is true if the text
    /// ends in a dot: the name is then complete, and no search list is used.
    pub(crate) fn from_text(text: &str) -> Result<(Self, bool), &'static str> {
        if text == "." {
            return Ok((Self { wire: vec![0] }, true));
        }
        let mut wire = Vec::new();
        let mut label = Vec::new();
        let mut absolute = false;
        let mut rest = text.as_bytes();
        while let Some((&octet, tail)) = rest.split_first() {
            rest = tail;
            match octet {
                b'.' => {
                    push(&mut wire, &label)?;
                    label.clear();
                    absolute = rest.is_empty();
                }
                b'\\' => {
                    let (octet, tail) = unescape(tail)?;
                    label.push(octet);
                    rest = tail;
                }
                b'!'..=b'~' => label.push(octet),
                _ => return Err("has a character that is not printable ASCII"),
            }
        }
        if text.is_empty() {
            return Err("is empty");
        }
        if !absolute {
            push(&mut wire, &label)?;
        }
        Ok((Self::finish(wire), absolute))
    }

    /// Reads a name, compressed or not; `reader` must span the message from its first octet.
    pub(crate) fn parse(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut wire = Vec::new();
        let mut start = reader.position();
        let mut jumped = None;
        let mut pointers = 0..MAX_POINTERS;
        loop {
            let cursor = jumped.as_mut().unwrap_or(&mut *reader);
            let length = cursor.u8()?;
            match length {
                0 => return Ok(Self::finish(wire)),
                0x01..=0x3f => {
                    let label = cursor.take(usize::from(length))?;
                    // nothing else can be wrong with it
                    push(&mut wire, label).map_err(|_| DecodeError::NAME_TOO_LONG)?;
                }
                0x40..=0xbf => return Err(DecodeError::LABEL_TYPE),
                0xc0..=0xff => {
                    let offset = u16::from_be_bytes([length & 0x3f, cursor.u8()?]);
                    let target = usize::from(offset);
                    // Below `start`, not only below the pointer: a pointer into the name's own labels
                    // cannot be a prior occurrence.
                    if target < HEADER_LEN || target >= start || pointers.next().is_none() {
                        return Err(DecodeError::POINTER);
                    }
                    start = target;
                    jumped = Some(cursor.at(target)?);
                }
            }
        }
    }

    /// The name of these labels.
    fn finish(mut wire: Vec<u8>) -> Self {
        wire.push(0);
        Self { wire }
    }

    /// The uncompressed wire form.
    pub(crate) fn as_wire(&self) -> &[u8] {
        &self.wire
    }

    /// This name in front of `suffix`.
    pub(crate) fn join(&self, suffix: &Self) -> Result<Self, &'static str> {
        let mut wire = Vec::new();
        for label in self.labels().chain(suffix.labels()) {
            push(&mut wire, label)?;
        }
        Ok(Self::finish(wire))
    }

    /// The labels from the left, without the root.
    pub(crate) fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.wire.as_slice();
        std::iter::from_fn(move || {
            let (&length, tail) = rest.split_first().filter(|(length, _)| **length != 0)?;
            let (label, tail) = tail.split_at_checked(usize::from(length))?;
            rest = tail;
            Some(label)
        })
    }

    /// Whether this is the root, which as an SRV target means that there is no such service.
    pub(crate) fn is_root(&self) -> bool {
        self.wire.len() == 1
    }

    /// Whether this name is `zone` or lies below it.
    pub(crate) fn is_within(&self, zone: &Self) -> bool {
        let mut rest = self.wire.as_slice();
        loop {
            if rest.eq_ignore_ascii_case(&zone.wire) {
                return true;
            }
            let Some((&length, tail)) = rest.split_first() else {
                return false;
            };
            rest = tail.get(usize::from(length)..).unwrap_or_default();
        }
    }

    /// Whether this is `localhost` or a name below it, which always mean this machine (RFC 6761
    /// section 6.3).
    pub(crate) fn is_localhost(&self) -> bool {
        self.labels()
            .last()
            .is_some_and(|label| label.eq_ignore_ascii_case(b"localhost"))
    }
}

/// Length octets are at most 63 and so below every letter: folding the case of the whole wire
/// form folds the labels only.
impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.wire.eq_ignore_ascii_case(&other.wire)
    }
}

impl Eq for Name {}

/// Equal for equal names.
impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.wire.to_ascii_lowercase());
    }
}

/// The text form with its final dot; characters with another meaning are escaped.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        for label in self.labels() {
            for &octet in label {
                match octet {
                    // The characters with a meaning of their own in a zone file.
                    b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => {
                        write!(f, "\\{}", char::from(octet))?;
                    }
                    b'!'..=b'~' => write!(f, "{}", char::from(octet))?,
                    _ => write!(f, "\\{octet:03}")?,
                }
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}

const BAD_ESCAPE: &str = "has a backslash that escapes nothing";

/// The octet that the text after a backslash means, and what follows.
fn unescape(text: &[u8]) -> Result<(u8, &[u8]), &'static str> {
    match text {
        [b'0'..=b'9', ..] => {
            let (digits, rest) = text.split_first_chunk::<3>().ok_or(BAD_ESCAPE)?;
            let octet = std::str::from_utf8(digits)
                .ok()
                .and_then(|digits| digits.parse().ok())
                .ok_or(BAD_ESCAPE)?;
            Ok((octet, rest))
        }
        [octet @ b'!'..=b'~', rest @ ..] => Ok((*octet, rest)),
        _ => Err(BAD_ESCAPE),
    }
}

/// Appends a label, within the two length limits.
fn push(wire: &mut Vec<u8>, label: &[u8]) -> Result<(), &'static str> {
    let length = match u8::try_from(label.len()) {
        Ok(0) => return Err("has an empty label"),
        Ok(length) if label.len() <= MAX_LABEL => length,
        _ => return Err("has a label of more than 63 octets"),
    };
    wire.push(length);
    wire.extend_from_slice(label);
    // The root's octet follows.
    if wire.len() < MAX_NAME {
        Ok(())
    } else {
        Err("has more than 255 octets")
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::panic
    )]

    use std::collections::HashSet;

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_text(text).unwrap().0
    }

    /// `bytes` after an empty header, as for the first name of a message.
    fn parse(bytes: &[u8]) -> Result<(Name, usize), DecodeError> {
        let message = [&[0; HEADER_LEN], bytes].concat();
        let mut reader = Reader::new(&message).at(HEADER_LEN)?;
        let name = Name::parse(&mut reader)?;
        Ok((name, reader.position() - HEADER_LEN))
    }

    #[test]
    fn text_to_wire_and_back() {
        const CASES: &[(&str, &[u8], &str)] = &[
            (".", b"\0", "."),
            ("a", b"\x01a\0", "a."),
            ("F.ISI.ARPA.", b"\x01F\x03ISI\x04ARPA\0", "F.ISI.ARPA."),
            ("_s._tcp.x", b"\x02_s\x04_tcp\x01x\0", "_s._tcp.x."),
            ("a\\.b.c", b"\x03a.b\x01c\0", "a\\.b.c."),
            ("a.b\\.", b"\x01a\x02b.\0", "a.b\\.."),
            (
                "\\000\\255\\046\\\\",
                b"\x04\0\xff.\\\0",
                "\\000\\255\\.\\\\.",
            ),
            ("a;b@c", b"\x05a;b@c\0", "a\\;b\\@c."),
        ];
        for (text, wire, shown) in CASES {
            let (parsed, absolute) = Name::from_text(text).unwrap();
            assert_eq!(parsed.as_wire(), *wire, "{text}");
            assert_eq!(
                absolute,
                text.ends_with('.') && !text.ends_with("\\."),
                "{text}"
            );
            assert_eq!(parsed.to_string(), *shown, "{text}");
            assert_eq!(Name::from_text(shown), Ok((parsed, true)), "{text}");
        }
    }

    #[test]
    fn text_that_is_not_a_name() {
        let long_label = "x".repeat(64);
        let longest = format!("{0}.{0}.{0}.{1}", "x".repeat(63), "y".repeat(61));
        assert_eq!(name(&longest).as_wire().len(), MAX_NAME);
        let too_long = format!("{longest}y");
        let cases = [
            ("", "is empty"),
            ("..", "has an empty label"),
            (".a", "has an empty label"),
            ("a..b", "has an empty label"),
            ("a..", "has an empty label"),
            (&long_label, "has a label of more than 63 octets"),
            (&too_long, "has more than 255 octets"),
            ("a b", "has a character that is not printable ASCII"),
            ("a\n", "has a character that is not printable ASCII"),
            (
                "bücher.example",
                "has a character that is not printable ASCII",
            ),
            ("a\\", BAD_ESCAPE),
            ("a\\25", BAD_ESCAPE),
            ("a\\256", BAD_ESCAPE),
            ("a\\2x5", BAD_ESCAPE),
            ("a\\ ", BAD_ESCAPE),
        ];
        for (text, error) in cases {
            assert_eq!(Name::from_text(text), Err(error), "{text}");
        }
    }

    #[test]
    fn comparison_ignores_case_of_letters_only() {
        assert_eq!(name("Etcd-1.EXAMPLE.com"), name("eTCD-1.example.COM."));
        let hashed = HashSet::from(["Etcd-1.EXAMPLE.com", "eTCD-1.example.COM."].map(name));
        assert_eq!(hashed.len(), 1);
        assert_ne!(
            name("a[.x"),
            name("a{.x"),
            "these differ in the bit of case"
        );
        assert_ne!(name("ab.c"), name("a.bc"));
        // A label of 0x41 octets, which a folding of length octets would confuse, cannot exist;
        // those of 0x01 and 0x21 must differ.
        assert_ne!(parse(b"\x01a\0").unwrap().0, parse(b"\x02aa\0").unwrap().0);
    }

    /// The example of RFC 1035 section 4.1.4: F.ISI.ARPA, FOO.F.ISI.ARPA, ARPA and the root.
    #[test]
    fn compression_example_of_rfc_1035() {
        let mut message = vec![0; 93];
        message[20..32].copy_from_slice(b"\x01F\x03ISI\x04ARPA\0");
        message[40..46].copy_from_slice(b"\x03FOO\xc0\x14");
        message[64..66].copy_from_slice(b"\xc0\x1a");
        let reader = Reader::new(&message);
        for (offset, text, after) in [
            (20, "F.ISI.ARPA.", 32),
            (40, "FOO.F.ISI.ARPA.", 46),
            (64, "ARPA.", 66),
            (92, ".", 93),
        ] {
            let mut at = reader.at(offset).unwrap();
            assert_eq!(Name::parse(&mut at).unwrap().to_string(), text);
            assert_eq!(at.position(), after, "{text}");
        }
    }

    #[test]
    fn hostile_wire_names() {
        let cases: &[(&str, &[u8], DecodeError)] = &[
            ("nothing", b"", DecodeError::TRUNCATED),
            ("no root", b"\x01a", DecodeError::TRUNCATED),
            ("label cut", b"\x05ab", DecodeError::TRUNCATED),
            ("half a pointer", b"\xc0", DecodeError::TRUNCATED),
            ("pointer to itself", b"\xc0\x0c", DecodeError::POINTER),
            (
                "pointer into its own label",
                b"\x01a\xc0\x0c",
                DecodeError::POINTER,
            ),
            ("pointer forward", b"\xc0\x0e\0", DecodeError::POINTER),
            ("pointer past the end", b"\xff\xff", DecodeError::POINTER),
            ("pointer into the header", b"\xc0\x00", DecodeError::POINTER),
            ("label type 0x40", b"\x40a\0", DecodeError::LABEL_TYPE),
            ("label type 0x80", b"\x80a\0", DecodeError::LABEL_TYPE),
        ];
        for (what, bytes, error) in cases {
            assert_eq!(parse(bytes).map(|(name, _)| name), Err(*error), "{what}");
        }
    }

    /// Backwards from the first pointer, but not from its target.
    #[test]
    fn each_pointer_leads_further_back() {
        let mut message = vec![0; HEADER_LEN];
        message.extend_from_slice(b"\x01a\xc0\x10\x01b\0\xc0\x0c");
        let here = message.len() - 2;
        let name = Name::parse(&mut Reader::new(&message).at(here).unwrap());
        assert_eq!(name, Err(DecodeError::POINTER));
    }

    #[test]
    fn pointers_are_counted() {
        // A root at 12, then pointers that each lead to the one before.
        let chain = |links: usize| {
            let mut message = vec![0; HEADER_LEN + 1];
            let mut target = HEADER_LEN;
            for _ in 0..links {
                let here = message.len();
                message.extend_from_slice(&u16::try_from(0xc000 | target).unwrap().to_be_bytes());
                target = here;
            }
            Name::parse(&mut Reader::new(&message).at(target).unwrap())
        };
        assert!(chain(MAX_POINTERS).unwrap().is_root());
        assert_eq!(chain(MAX_POINTERS + 1), Err(DecodeError::POINTER));
    }

    #[test]
    fn wire_names_keep_the_255_octets() {
        let mut bytes = Vec::new();
        for _ in 0..127 {
            bytes.extend_from_slice(b"\x01a");
        }
        let longest = [&bytes[..], b"\0"].concat();
        assert_eq!(parse(&longest).unwrap().1, MAX_NAME);
        let longer = [b"\x01a", &longest[..]].concat();
        assert_eq!(parse(&longer), Err(DecodeError::NAME_TOO_LONG));
        // The same through a pointer: 254 octets at 12, then one more label in front.
        let mut message = vec![0; HEADER_LEN];
        message.extend_from_slice(&longest);
        let here = message.len();
        message.extend_from_slice(b"\x01a\xc0\x0c");
        let parsed = Name::parse(&mut Reader::new(&message).at(here).unwrap());
        assert_eq!(parsed, Err(DecodeError::NAME_TOO_LONG));
    }

    #[test]
    fn relations_between_names() {
        let example = name("example.com");
        assert!(name("a.b.Example.com").is_within(&example));
        assert!(example.is_within(&example));
        assert!(example.is_within(&name(".")));
        assert!(!name("badexample.com").is_within(&example));
        assert!(!name("com").is_within(&example));
        assert!(!name(".").is_within(&example));

        assert_eq!(name("a.b").join(&example), Ok(name("a.b.example.com")));
        assert_eq!(name("a").join(&name(".")), Ok(name("a")));
        let long = name(&format!("{0}.{0}.{0}", "x".repeat(63)));
        assert_eq!(long.join(&long), Err("has more than 255 octets"));

        for (text, local) in [
            ("localhost", true),
            ("LocalHost.", true),
            ("etcd.localhost", true),
            ("localhost.example", false),
            ("notlocalhost", false),
            (".", false),
        ] {
            assert_eq!(name(text).is_localhost(), local, "{text}");
        }
    }
}
