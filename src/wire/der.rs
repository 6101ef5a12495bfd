//! Strict DER (ITU-T X.690, sections 8, 10 and 11) over [`Reader`].
//!
//! Only what certificates and keys need: low tag numbers, definite lengths in
//! their shortest form, and the primitive types below, each in its one
//! distinguished encoding; every other encoding (BER) is an error. Nothing here recurses: the caller
//! opens a constructed value with [`nested`] or [`expect`], so the code of the caller bounds the depth,
//! not the input. Only lists allocate; every other result borrows from the input.

use std::fmt;

use super::{self as wire, Reader};

/// Identifier octets (class, constructed bit, number) of the types in use.
pub(crate) mod tag {
    /// BOOLEAN.
    pub(crate) const BOOLEAN: u8 = 0x01;
    /// INTEGER.
    pub(crate) const INTEGER: u8 = 0x02;
    /// BIT STRING, primitive as DER requires.
    pub(crate) const BIT_STRING: u8 = 0x03;
    /// OCTET STRING, primitive as DER requires.
    pub(crate) const OCTET_STRING: u8 = 0x04;
    /// OBJECT IDENTIFIER.
    pub(crate) const OID: u8 = 0x06;
    /// UTF8String.
    pub(crate) const UTF8_STRING: u8 = 0x0c;
    /// NumericString.
    pub(crate) const NUMERIC_STRING: u8 = 0x12;
    /// PrintableString.
    pub(crate) const PRINTABLE_STRING: u8 = 0x13;
    /// TeletexString, in practice Latin-1.
    pub(crate) const TELETEX_STRING: u8 = 0x14;
    /// IA5String: ASCII.
    pub(crate) const IA5_STRING: u8 = 0x16;
    /// UTCTime.
    pub(crate) const UTC_TIME: u8 = 0x17;
    /// GeneralizedTime.
    pub(crate) const GENERALIZED_TIME: u8 = 0x18;
    /// VisibleString.
    pub(crate) const VISIBLE_STRING: u8 = 0x1a;
    /// BMPString: UTF-16, big-endian.
    pub(crate) const BMP_STRING: u8 = 0x1e;
    /// SEQUENCE and SEQUENCE OF.
    pub(crate) const SEQUENCE: u8 = 0x30;
    /// SET and SET OF.
    pub(crate) const SET: u8 = 0x31;

    /// Context tag `[number]` over a primitive encoding; `number` is below 31.
    pub(crate) const fn context(number: u8) -> u8 {
        0x80 | number
    }

    /// Context tag `[number]` over a constructed encoding; `number` is below 31.
    pub(crate) const fn context_constructed(number: u8) -> u8 {
        0xa0 | number
    }
}

/// Why bytes are not the DER that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Error {
    /// The input, or the value around this one, ends too early.
    Truncated,
    /// Bytes follow where the structure has ended.
    Trailing,
    /// Another type was expected; the identifier octets.
    UnexpectedTag { expected: u8, found: u8 },
    /// A tag number of 31 or more, which no certificate field has.
    HighTagNumber,
    /// The length is indefinite, not in its shortest form, or beyond 2^24.
    Length,
    /// A BOOLEAN other than 0x00 and 0xff.
    Boolean,
    /// An INTEGER that is empty or not in its shortest form.
    Integer,
    /// An INTEGER that is negative or too large for its field.
    IntegerRange,
    /// A BIT STRING whose padding count is wrong or whose padding is not zero.
    BitString,
    /// An OBJECT IDENTIFIER that is empty, cut off, or has a padded arc.
    Oid,
    /// A string with a character outside its type's set.
    String,
    /// A time that does not exist or is not in the form of RFC 5280, section 4.1.2.5.
    Time,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "ends too early",
            Self::Trailing => "has bytes left over",
            Self::UnexpectedTag { expected, found } => {
                return write!(f, "has tag {found:#04x} where {expected:#04x} must stand");
            }
            Self::HighTagNumber => "has a tag number above 30",
            Self::Length => "has a length that is not DER or above 2^24",
            Self::Boolean => "has a BOOLEAN that is neither 0x00 nor 0xff",
            Self::Integer => "has an INTEGER that is empty or padded",
            Self::IntegerRange => "has an INTEGER out of range",
            Self::BitString => "has a BIT STRING with wrong padding",
            Self::Oid => "has a malformed OBJECT IDENTIFIER",
            Self::String => "has a string with characters its type does not allow",
            Self::Time => "has a malformed time",
        })
    }
}

impl std::error::Error for Error {}

impl From<wire::Error> for Error {
    fn from(error: wire::Error) -> Self {
        match error {
            wire::Error::Truncated => Self::Truncated,
            wire::Error::Trailing => Self::Trailing,
        }
    }
}

/// The next value: its identifier octet and its contents.
pub(crate) fn any<'a>(reader: &mut Reader<'a>) -> Result<(u8, &'a [u8]), Error> {
    let tag = reader.u8()?;
    // X.690, 8.1.2.4: five ones mean that the tag number is in further octets.
    if tag & 0x1f == 0x1f {
        return Err(Error::HighTagNumber);
    }
    // X.690, 10.1: the shortest form; each long form starts where the shorter one ends.
    let (length, least) = match reader.u8()? {
        short @ 0x00..=0x7f => (u32::from(short), 0),
        0x81 => (u32::from(reader.u8()?), 0x80),
        0x82 => (u32::from(reader.u16()?), 0x100),
        0x83 => (reader.u24()?, 0x1_0000),
        // 0x80 is the indefinite form; no certificate needs four octets or more.
        _ => return Err(Error::Length),
    };
    if length < least {
        return Err(Error::Length);
    }
    let length = usize::try_from(length).map_err(|_| Error::Length)?;
    Ok((tag, reader.take(length)?))
}

/// The contents of the next value, which must have this tag.
pub(crate) fn expect<'a>(reader: &mut Reader<'a>, expected: u8) -> Result<&'a [u8], Error> {
    match any(reader)? {
        (found, contents) if found == expected => Ok(contents),
        (found, _) => Err(Error::UnexpectedTag { expected, found }),
    }
}

/// The contents of the next value if it has this tag; otherwise nothing is read.
pub(crate) fn optional<'a>(reader: &mut Reader<'a>, tag: u8) -> Result<Option<&'a [u8]>, Error> {
    if reader.clone().u8() == Ok(tag) {
        expect(reader, tag).map(Some)
    } else {
        Ok(None)
    }
}

/// Reads a constructed value with `read`; bytes left over are an error.
pub(crate) fn nested<'a, T, E: From<Error>>(
    reader: &mut Reader<'a>,
    tag: u8,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, E>,
) -> Result<T, E> {
    whole(expect(reader, tag)?, read)
}

/// Reads all of `bytes` with `read`; bytes left over are an error.
pub(crate) fn whole<'a, T, E: From<Error>>(
    bytes: &'a [u8],
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, E>,
) -> Result<T, E> {
    let mut reader = Reader::new(bytes);
    let value = read(&mut reader)?;
    reader.finish().map_err(Error::from)?;
    Ok(value)
}

/// SEQUENCE SIZE (1..MAX) OF what `read` reads. Memory is bounded by the input: each element takes at
/// least two octets.
pub(crate) fn list<'a, T>(
    reader: &mut Reader<'a>,
    read: impl FnMut(&mut Reader<'a>) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    nested(reader, tag::SEQUENCE, |reader| one_or_more(reader, read))
}

/// Calls `read` until nothing is left, at least once.
pub(crate) fn one_or_more<'a, T>(
    reader: &mut Reader<'a>,
    mut read: impl FnMut(&mut Reader<'a>) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let mut all = vec![read(reader)?];
    while !reader.is_empty() {
        all.push(read(reader)?);
    }
    Ok(all)
}

/// The contents of the one value in `bytes`, which must have this tag.
pub(crate) fn single(bytes: &[u8], tag: u8) -> Result<&[u8], Error> {
    whole(bytes, |reader| expect(reader, tag))
}

/// The next value with its header (the signed part of a certificate), which must have this tag.
pub(crate) fn element<'a>(reader: &mut Reader<'a>, tag: u8) -> Result<&'a [u8], Error> {
    let mut start = reader.clone();
    expect(reader, tag)?;
    Ok(start.take(start.remaining().saturating_sub(reader.remaining()))?)
}

/// A BOOLEAN whose default is FALSE. An encoded FALSE is not DER (X.690, 11.5), but
/// certificates in use have it, it has only one meaning, and Go accepts it too.
pub(crate) fn boolean_default_false(reader: &mut Reader<'_>) -> Result<bool, Error> {
    match optional(reader, tag::BOOLEAN)? {
        None | Some([0x00]) => Ok(false),
        Some([0xff]) => Ok(true),
        Some(_) => Err(Error::Boolean),
    }
}

/// The magnitude of a non-negative INTEGER in its shortest form (X.690, 8.3.2): big-endian, without
/// the sign octet; zero is one zero octet.
pub(crate) fn unsigned<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Error> {
    match expect(reader, tag::INTEGER)? {
        [] | [0x00, 0x00..=0x7f, ..] | [0xff, 0x80..=0xff, ..] => Err(Error::Integer),
        [0x80..=0xff, ..] => Err(Error::IntegerRange),
        [0x00, magnitude @ ..] if !magnitude.is_empty() => Ok(magnitude),
        magnitude => Ok(magnitude),
    }
}

/// A non-negative INTEGER that fits 64 bits.
pub(crate) fn u64(reader: &mut Reader<'_>) -> Result<u64, Error> {
    match unsigned(reader)? {
        magnitude if magnitude.len() > 8 => Err(Error::IntegerRange),
        magnitude => Ok(magnitude
            .iter()
            .fold(0, |value, octet| value << 8 | u64::from(*octet))),
    }
}

/// SEQUENCE { INTEGER, INTEGER }, neither negative: an RSA key (RFC 8017, A.1.1) or the r and s of an
/// ECDSA signature (RFC 3279, section 2.2.3).
pub(crate) fn two_unsigned(bytes: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    whole(bytes, |reader| {
        nested(reader, tag::SEQUENCE, |reader| {
            Ok((unsigned(reader)?, unsigned(reader)?))
        })
    })
}

/// The octets of a BIT STRING; the last one may hold up to seven padding bits, all zero.
pub(crate) fn bits<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Error> {
    match expect(reader, tag::BIT_STRING)? {
        [0] => Ok(&[]),
        [unused @ 0..=7, octets @ ..] => match octets.last() {
            Some(last) if last & !(0xffu8 << unused) == 0 => Ok(octets),
            _ => Err(Error::BitString),
        },
        _ => Err(Error::BitString),
    }
}

/// The octets of a BIT STRING of whole octets: a key or a signature.
pub(crate) fn bit_octets<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Error> {
    match expect(reader, tag::BIT_STRING)? {
        [0, octets @ ..] => Ok(octets),
        _ => Err(Error::BitString),
    }
}

/// An OBJECT IDENTIFIER.
pub(crate) fn oid<'a>(reader: &mut Reader<'a>) -> Result<Oid<'a>, Error> {
    Oid::from_contents(expect(reader, tag::OID)?)
}

/// ASCII text: the contents of an IA5String.
pub(crate) fn ascii(contents: &[u8]) -> Result<&str, Error> {
    match std::str::from_utf8(contents) {
        Ok(text) if text.is_ascii() => Ok(text),
        _ => Err(Error::String),
    }
}

/// Octets of an object identifier that are printed.
const MAX_OID_TEXT: usize = 64;

/// A well-formed OBJECT IDENTIFIER, held as its contents octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Oid<'a>(&'a [u8]);

impl<'a> Oid<'a> {
    /// Checks X.690, 8.19.2: arcs in base 128, none with a leading 0x80, the last complete.
    pub(crate) fn from_contents(contents: &'a [u8]) -> Result<Self, Error> {
        let mut at_arc_start = true;
        for octet in contents {
            if at_arc_start && *octet == 0x80 {
                return Err(Error::Oid);
            }
            at_arc_start = octet & 0x80 == 0;
        }
        if contents.is_empty() || !at_arc_start {
            return Err(Error::Oid);
        }
        Ok(Self(contents))
    }

    /// The contents octets, to be compared with known ones.
    pub(crate) fn contents(&self) -> &'a [u8] {
        self.0
    }
}

impl fmt::Display for Oid<'_> {
    /// Dotted decimal. The text ends with `...` at an arc beyond 64 bits, and after more octets than any
    /// real identifier has.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.get(..MAX_OID_TEXT).unwrap_or(self.0);
        for (index, octets) in shown.split_inclusive(|octet| octet & 0x80 == 0).enumerate() {
            let is_whole = octets.last().is_some_and(|last| last & 0x80 == 0);
            let arc = octets.iter().try_fold(0u64, |arc, octet| {
                Some(arc.checked_mul(128)? | u64::from(octet & 0x7f))
            });
            match arc.filter(|_| is_whole) {
                None => return f.write_str("..."),
                // X.690, 8.19.4: the first two arcs share one number, 40 * a + b, a <= 2.
                Some(arc) if index == 0 => {
                    let root = (arc / 40).min(2);
                    write!(f, "{root}.{}", arc.saturating_sub(root.saturating_mul(40)))?;
                }
                Some(arc) => write!(f, ".{arc}")?,
            }
        }
        f.write_str(if shown.len() < self.0.len() {
            "..."
        } else {
            ""
        })
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

    #[test]
    fn headers() {
        let long = |head: &[u8], count: usize| [head, &vec![0; count][..]].concat();
        let cases: &[(&str, Vec<u8>, Result<usize, Error>)] = &[
            ("empty value", vec![0x04, 0], Ok(0)),
            ("short form", long(&[0x04, 0x7f], 127), Ok(127)),
            ("one octet", long(&[0x04, 0x81, 0x80], 128), Ok(128)),
            ("two octets", long(&[0x04, 0x82, 1, 0], 256), Ok(256)),
            (
                "three octets",
                long(&[0x04, 0x83, 1, 0, 0], 65536),
                Ok(65536),
            ),
            ("nothing", vec![], Err(Error::Truncated)),
            ("no length", vec![0x04], Err(Error::Truncated)),
            ("contents cut off", vec![0x04, 2, 1], Err(Error::Truncated)),
            ("length cut off", vec![0x04, 0x82, 1], Err(Error::Truncated)),
            ("indefinite", vec![0x04, 0x80, 0, 0], Err(Error::Length)),
            (
                "padded one octet",
                long(&[0x04, 0x81, 0x7f], 127),
                Err(Error::Length),
            ),
            (
                "padded two octets",
                long(&[0x04, 0x82, 0, 0xff], 255),
                Err(Error::Length),
            ),
            (
                "padded three",
                long(&[0x04, 0x83, 0, 0xff, 0xff], 65535),
                Err(Error::Length),
            ),
            (
                "four octets",
                vec![0x04, 0x84, 1, 0, 0, 0],
                Err(Error::Length),
            ),
            ("reserved", vec![0x04, 0xff], Err(Error::Length)),
            (
                "high tag",
                vec![0x1f, 0x81, 1, 0],
                Err(Error::HighTagNumber),
            ),
            (
                "high context tag",
                vec![0xbf, 1, 0],
                Err(Error::HighTagNumber),
            ),
            (
                "other type",
                vec![0x05, 0],
                Err(Error::UnexpectedTag {
                    expected: 4,
                    found: 5,
                }),
            ),
            (
                "constructed",
                vec![0x24, 0],
                Err(Error::UnexpectedTag {
                    expected: 4,
                    found: 0x24,
                }),
            ),
        ];
        for (what, input, expected) in cases {
            let got = expect(&mut Reader::new(input), tag::OCTET_STRING).map(<[u8]>::len);
            assert_eq!(got, *expected, "{what}");
        }
    }

    #[test]
    fn nesting_must_end_with_its_contents() {
        let inner = |r: &mut Reader<'_>| expect(r, 5).map(<[u8]>::len);
        let read = |bytes: &[u8]| nested(&mut Reader::new(bytes), tag::SEQUENCE, inner);
        assert_eq!(read(&[0x30, 2, 5, 0]), Ok(0));
        assert_eq!(read(&[0x30, 4, 5, 0, 5, 0]), Err(Error::Trailing));
        assert_eq!(read(&[0x30, 1, 5, 0]), Err(Error::Truncated));
        let mut reader = Reader::new(&[5, 0, 9]);
        assert_eq!(element(&mut reader, 5), Ok(&[5, 0][..]));
        assert_eq!(reader.remaining(), 1);
    }

    #[test]
    fn booleans() {
        let cases: &[(&[u8], Result<bool, Error>)] = &[
            (&[], Ok(false)),
            (&[5, 0], Ok(false)),
            (&[1, 1, 0], Ok(false)),
            (&[1, 1, 0xff], Ok(true)),
            (&[1, 1, 1], Err(Error::Boolean)),
            (&[1, 0], Err(Error::Boolean)),
            (&[1, 2, 0xff, 0xff], Err(Error::Boolean)),
            (&[1, 1], Err(Error::Truncated)),
        ];
        for (input, expected) in cases {
            let got = boolean_default_false(&mut Reader::new(input));
            assert_eq!(got, *expected, "{input:02x?}");
        }
    }

    #[test]
    fn integers() {
        type Case<'a> = (&'a [u8], Result<&'a [u8], Error>, Result<u64, Error>);
        let cases: &[Case<'_>] = &[
            (&[2, 1, 0], Ok(&[0]), Ok(0)),
            (&[2, 1, 0x7f], Ok(&[0x7f]), Ok(127)),
            (&[2, 2, 0, 0x80], Ok(&[0x80]), Ok(128)),
            (
                &[2, 9, 0, 255, 255, 255, 255, 255, 255, 255, 255],
                Ok(&[255; 8]),
                Ok(u64::MAX),
            ),
            (
                &[2, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0],
                Ok(&[1, 0, 0, 0, 0, 0, 0, 0, 0]),
                Err(Error::IntegerRange),
            ),
            (&[2, 0], Err(Error::Integer), Err(Error::Integer)),
            (&[2, 2, 0, 0x7f], Err(Error::Integer), Err(Error::Integer)),
            (
                &[2, 2, 0xff, 0x80],
                Err(Error::Integer),
                Err(Error::Integer),
            ),
            (
                &[2, 1, 0x80],
                Err(Error::IntegerRange),
                Err(Error::IntegerRange),
            ),
            (
                &[2, 2, 0xff, 0x7f],
                Err(Error::IntegerRange),
                Err(Error::IntegerRange),
            ),
        ];
        for (input, magnitude, small) in cases {
            assert_eq!(
                unsigned(&mut Reader::new(input)),
                *magnitude,
                "{input:02x?}"
            );
            assert_eq!(u64(&mut Reader::new(input)), *small, "{input:02x?}");
        }
    }

    #[test]
    fn bit_strings() {
        type Case<'a> = (&'a [u8], Result<&'a [u8], Error>, Result<&'a [u8], Error>);
        let cases: &[Case<'_>] = &[
            (&[3, 1, 0], Ok(&[]), Ok(&[])),
            (&[3, 2, 0, 0xff], Ok(&[0xff]), Ok(&[0xff])),
            (&[3, 2, 7, 0x80], Ok(&[0x80]), Err(Error::BitString)),
            (&[3, 2, 1, 0x06], Ok(&[0x06]), Err(Error::BitString)),
            (
                &[3, 2, 1, 0x07],
                Err(Error::BitString),
                Err(Error::BitString),
            ),
            (
                &[3, 2, 8, 0x00],
                Err(Error::BitString),
                Err(Error::BitString),
            ),
            (&[3, 1, 1], Err(Error::BitString), Err(Error::BitString)),
            (&[3, 0], Err(Error::BitString), Err(Error::BitString)),
        ];
        for (input, named, octets) in cases {
            assert_eq!(bits(&mut Reader::new(input)), *named, "{input:02x?}");
            assert_eq!(bit_octets(&mut Reader::new(input)), *octets, "{input:02x?}");
        }
    }

    #[test]
    fn object_identifiers() {
        let good: &[(&[u8], &str)] = &[
            (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d], "1.2.840.113549"),
            (&[0x55, 0x1d, 0x11], "2.5.29.17"),
            (&[0x27], "0.39"),
            (&[0x28], "1.0"),
            (&[0x88, 0x37, 0x03], "2.999.3"),
            (
                &[
                    0x2a, 0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
                ],
                "1.2.18446744073709551615",
            ),
            (
                &[
                    0x2a, 0x83, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00,
                ],
                "1.2...",
            ),
        ];
        for (contents, text) in good {
            assert_eq!(Oid::from_contents(contents).unwrap().to_string(), *text);
        }
        let long = Oid::from_contents(&[1; 1000]).unwrap().to_string();
        assert_eq!(long, format!("0.1{}...", ".1".repeat(63)));
        for bad in [&[][..], &[0x2a, 0x86], &[0x2a, 0x80, 0x01], &[0x80, 0x01]] {
            assert_eq!(Oid::from_contents(bad), Err(Error::Oid), "{bad:02x?}");
        }
    }

    #[test]
    fn text() {
        assert_eq!(ascii(b"a.example"), Ok("a.example"));
        assert_eq!(ascii("\u{e9}".as_bytes()), Err(Error::String));
        assert_eq!(ascii(&[0xff]), Err(Error::String));
    }
}
