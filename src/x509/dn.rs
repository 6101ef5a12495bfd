//! Distinguished names (RFC 5280, section 4.1.2.4): well-formedness, text, comparison.
//!
//! Chaining of issuer to subject compares the encoded bytes, as Go and webpki do; that can
//! only refuse more than section 7.1 would. Directory name constraints cannot be that
//! plain: an excluded subtree compared by bytes would be evaded by another string type or
//! another case. [`DistinguishedName::is_within`] therefore compares text as section 7.1
//! says where all of it is ASCII, and answers [`Match::Unknown`] where it would take the
//! Unicode tables of RFC 4518 to tell; callers count that against the certificate.

use std::fmt::{self, Write};

use super::{Budget, Error};
use crate::wire::Reader;
use crate::wire::der::{self, Oid, tag};

/// Text of a name beyond this many characters, as written, is cut: it goes to logs and tables,
/// and a hostile certificate may carry kilobytes of it.
const MAX_TEXT: usize = 256;

/// Octets of two relative names, or of a URI, whose comparison costs about as much as that of two
/// short names.
pub(crate) const OCTETS_COMPARED_AT_ONCE: usize = 64;

/// Attribute types with a short name (RFC 4514, section 3, and emailAddress of PKCS #9).
const SHORT_NAMES: &[(&[u8], &str)] = &[
    (b"\x55\x04\x03", "CN"),
    (b"\x55\x04\x07", "L"),
    (b"\x55\x04\x08", "ST"),
    (b"\x55\x04\x0a", "O"),
    (b"\x55\x04\x0b", "OU"),
    (b"\x55\x04\x06", "C"),
    (b"\x55\x04\x09", "STREET"),
    (b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19", "DC"),
    (b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x01", "UID"),
    (EMAIL_ADDRESS, "emailAddress"),
];

/// id-emailAddress, 1.2.840.113549.1.9.1.
const EMAIL_ADDRESS: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01";

/// Whether one name is what another describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Match {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// It cannot be told; to be counted against the certificate either way.
    Unknown,
}

/// A well-formed `Name`, held as the contents of its RDNSequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DistinguishedName<'a>(&'a [u8]);

/// One attribute: its type, and its value with the value's tag.
#[derive(Clone, Copy, PartialEq)]
struct Attribute<'a> {
    oid: Oid<'a>,
    tag: u8,
    value: &'a [u8],
}

impl<'a> DistinguishedName<'a> {
    /// Reads a `Name`.
    pub(crate) fn parse(reader: &mut Reader<'a>) -> Result<Self, der::Error> {
        let contents = der::expect(reader, tag::SEQUENCE)?;
        let mut relative_names = Reader::new(contents);
        while !relative_names.is_empty() {
            // RelativeDistinguishedName ::= SET SIZE (1..MAX)
            let attributes = der::expect(&mut relative_names, tag::SET)?;
            der::whole(attributes, |reader| der::one_or_more(reader, attribute))?;
        }
        Ok(Self(contents))
    }

    /// The encoded relative names: equal bytes are equal names.
    pub(crate) fn encoded(&self) -> &'a [u8] {
        self.0
    }

    /// Whether the name has no part at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an attribute is an emailAddress, to which rfc822Name constraints apply.
    pub(crate) fn has_email_address(&self, budget: &mut Budget) -> Result<bool, Error> {
        for attribute in self.relative_names().flat_map(attributes) {
            budget.spend_comparisons(1)?;
            if attribute.oid.contents() == EMAIL_ADDRESS {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether this name lies in the subtree under `base`: begins with the same relative
    /// names (section 7.1). Each one compared is charged to the budget, by its length.
    pub(crate) fn is_within(&self, base: Self, budget: &mut Budget) -> Result<Match, Error> {
        let mut own = self.relative_names();
        let mut all = Match::Yes;
        for wanted in base.relative_names() {
            let Some(found) = own.next() else {
                return Ok(Match::No);
            };
            let octets = wanted.len().saturating_add(found.len());
            budget.spend_comparisons(octets.div_ceil(OCTETS_COMPARED_AT_ONCE))?;
            match compare(wanted, found) {
                Match::Yes => {}
                Match::No => return Ok(Match::No),
                Match::Unknown => all = Match::Unknown,
            }
        }
        Ok(all)
    }

    /// The relative names, each as the octets of its attributes.
    fn relative_names(&self) -> impl Iterator<Item = &'a [u8]> {
        let mut reader = Reader::new(self.0);
        std::iter::from_fn(move || der::expect(&mut reader, tag::SET).ok())
    }
}

/// The attributes of a relative name. `parse` has walked the same octets, so no error can stop this
/// early.
fn attributes(relative_name: &[u8]) -> impl Iterator<Item = Attribute<'_>> {
    let mut reader = Reader::new(relative_name);
    std::iter::from_fn(move || attribute(&mut reader).ok())
}

/// AttributeTypeAndValue ::= SEQUENCE { type OBJECT IDENTIFIER, value ANY }
fn attribute<'a>(reader: &mut Reader<'a>) -> Result<Attribute<'a>, der::Error> {
    der::nested(reader, tag::SEQUENCE, |reader| {
        let oid = der::oid(reader)?;
        let (tag, value) = der::any(reader)?;
        Ok(Attribute { oid, tag, value })
    })
}

/// Compares two relative names. They are sets; DER sorts them by their encoding, which
/// string types and case change, so several attributes that do not match in their order
/// leave it open.
fn compare(wanted: &[u8], found: &[u8]) -> Match {
    let (mut wanted, mut found) = (attributes(wanted), attributes(found));
    let mut all = None;
    loop {
        let this = match (wanted.next(), found.next()) {
            (None, None) => return all.unwrap_or(Match::Yes),
            (Some(a), Some(b)) => compare_attributes(a, b),
            _ => return Match::No,
        };
        all = Some(match (all, this) {
            (None, this) => this,
            (Some(Match::Yes), Match::Yes) => Match::Yes,
            _ => Match::Unknown,
        });
    }
}

fn compare_attributes(a: Attribute<'_>, b: Attribute<'_>) -> Match {
    if a == b {
        return Match::Yes;
    }
    match (ascii_text(a), ascii_text(b)) {
        _ if a.oid != b.oid => Match::No,
        (Some(a), Some(b)) if folded(a).eq(folded(b)) => Match::Yes,
        (Some(_), Some(_)) => Match::No,
        _ => Match::Unknown,
    }
}

/// The value's characters if its type is a string of single octets and all are ASCII.
fn ascii_text(attribute: Attribute<'_>) -> Option<&[u8]> {
    let is_text = matches!(
        attribute.tag,
        tag::UTF8_STRING
            | tag::PRINTABLE_STRING
            | tag::IA5_STRING
            | tag::TELETEX_STRING
            | tag::NUMERIC_STRING
            | tag::VISIBLE_STRING
    );
    // RFC 4518, section 2.2, maps the other controls to nothing and VT to a blank: such text
    // is left undecided.
    let plain = |octet: &u8| octet.is_ascii_whitespace() || matches!(octet, b' '..=b'~');
    (is_text && attribute.value.iter().all(plain)).then_some(attribute.value)
}

/// The words of a text in lower case: blanks at the ends are dropped and runs of them are one
/// (RFC 4518, sections 2.2 and 2.6.1, for ASCII).
fn folded(text: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    text.split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
        .map(<[u8]>::to_ascii_lowercase)
}

impl fmt::Display for DistinguishedName<'_> {
    /// As in RFC 4514: the last relative name first, so that the common name leads. Only
    /// printable ASCII comes out as it is; the rest (control characters, those that are not
    /// seen, that look like others or change the direction of text) as `\xx` octets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("(empty name)");
        }
        let relative_names: Vec<_> = self.relative_names().collect();
        let mut text = String::new();
        for (index, relative_name) in relative_names.into_iter().rev().enumerate() {
            for (inner, attribute) in attributes(relative_name).enumerate() {
                text.push_str(match (index, inner) {
                    (0, 0) => "",
                    (_, 0) => ",",
                    _ => "+",
                });
                write_attribute(&mut text, attribute)?;
            }
            if text.len() > MAX_TEXT {
                break;
            }
        }
        f.write_str(&cut(text))
    }
}

/// Appends an attribute, if the text is not too long already.
fn write_attribute(text: &mut String, attribute: Attribute<'_>) -> fmt::Result {
    if text.len() > MAX_TEXT {
        return Ok(());
    }
    let oid = attribute.oid.contents();
    match SHORT_NAMES.iter().find(|(known, _)| *known == oid) {
        Some((_, name)) => text.push_str(name),
        None => write!(text, "{}", attribute.oid)?,
    }
    text.push('=');
    if let Some(value) = characters(attribute) {
        return escape(text, value.trim(), ",+\"\\<>;");
    }
    // After RFC 4514, section 2.4, for what is no text: `#` and hexadecimal, here of the tag and
    // the contents.
    write!(text, "#{:02x}", attribute.tag)?;
    let mut octets = attribute.value.iter().take(MAX_TEXT);
    octets.try_for_each(|octet| write!(text, "{octet:02x}"))
}

/// The value as text, if its type is a string type and it is well-formed.
fn characters(attribute: Attribute<'_>) -> Option<String> {
    match attribute.tag {
        tag::UTF8_STRING
        | tag::PRINTABLE_STRING
        | tag::IA5_STRING
        | tag::NUMERIC_STRING
        | tag::VISIBLE_STRING => std::str::from_utf8(attribute.value).ok().map(str::to_owned),
        tag::TELETEX_STRING => Some(attribute.value.iter().copied().map(char::from).collect()),
        tag::BMP_STRING => {
            let mut reader = Reader::new(attribute.value);
            let units = std::iter::from_fn(|| reader.u16().ok());
            let decoded: Option<String> = char::decode_utf16(units).map(Result::ok).collect();
            decoded.filter(|_| reader.is_empty())
        }
        _ => None,
    }
}

/// Appends `value` with everything escaped that is in `special` or not printable ASCII. Stops
/// when the text is longer than will be shown: it is then to be [`cut`].
pub(crate) fn escape(text: &mut String, value: &str, special: &str) -> fmt::Result {
    for character in value.chars() {
        if text.len() > MAX_TEXT {
            break;
        }
        if special.contains(character) {
            text.push('\\');
            text.push(character);
        } else if character == ' ' || character.is_ascii_graphic() {
            text.push(character);
        } else {
            for octet in character.encode_utf8(&mut [0; 4]).bytes() {
                write!(text, "\\{octet:02x}")?;
            }
        }
    }
    Ok(())
}

/// The text as it is to be shown: no longer than [`MAX_TEXT`] characters, or marked as cut.
pub(crate) fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        // Escaped, so every octet is a character.
        text.truncate(MAX_TEXT);
        text.push_str("...");
    }
    text
}

#[cfg(test)]
#[allow(
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::panic
)]
pub(crate) mod tests {
    use super::*;

    /// DER of a value with a short length.
    pub(crate) fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
        assert!(contents.len() < 128);
        [&[tag, contents.len() as u8], contents].concat()
    }

    /// One attribute of type 2.5.4.`arc`.
    fn one(arc: u8, tag: u8, value: &[u8]) -> Vec<u8> {
        let oid = tlv(tag::OID, &[0x55, 0x04, arc]);
        tlv(tag::SEQUENCE, &[oid, tlv(tag, value)].concat())
    }

    /// A name of relative names with one attribute each.
    pub(crate) fn name(parts: &[(u8, u8, &str)]) -> Vec<u8> {
        let sets = parts
            .iter()
            .map(|(arc, tag, value)| tlv(tag::SET, &one(*arc, *tag, value.as_bytes())));
        tlv(tag::SEQUENCE, &sets.collect::<Vec<_>>().concat())
    }

    fn parse(bytes: &[u8]) -> Result<DistinguishedName<'_>, der::Error> {
        let mut reader = Reader::new(bytes);
        let name = DistinguishedName::parse(&mut reader)?;
        reader.finish()?;
        Ok(name)
    }

    const UTF8: u8 = tag::UTF8_STRING;
    const PRINTABLE: u8 = tag::PRINTABLE_STRING;

    #[test]
    fn text_lets_nothing_dangerous_out() {
        type Parts<'a> = &'a [(u8, u8, &'a str)];
        let cases: &[(Parts<'_>, &str)] = &[
            (&[], "(empty name)"),
            (
                &[
                    (6, PRINTABLE, "DE"),
                    (10, UTF8, "Acme"),
                    (3, UTF8, "etcd 1"),
                ],
                "CN=etcd 1,O=Acme,C=DE",
            ),
            (&[(3, UTF8, "a,b=c+d\\")], "CN=a\\,b=c\\+d\\\\"),
            (&[(3, UTF8, "x\n\u{1b}[31m\0")], "CN=x\\0a\\1b[31m\\00"),
            (
                &[(3, UTF8, "M\u{fc}ller \u{202e}gro")],
                "CN=M\\c3\\bcller \\e2\\80\\aegro",
            ),
            // Letters that are not seen or run from right to left.
            (&[(3, UTF8, "\u{3164}")], "CN=\\e3\\85\\a4"),
            (&[(3, UTF8, "\u{5d0}x")], "CN=\\d7\\90x"),
            (&[(3, UTF8, "\u{85}\u{a0}x")], "CN=x"),
            (&[(3, tag::TELETEX_STRING, "\u{7}")], "CN=\\07"),
            (&[(3, tag::BMP_STRING, "\0e\0t\0c\0d")], "CN=etcd"),
            (&[(3, tag::BMP_STRING, "\0e\0")], "CN=#1e006500"),
            (&[(3, tag::BOOLEAN, "1")], "CN=#0131"),
            (&[(99, UTF8, "v")], "2.5.4.99=v"),
        ];
        for (parts, text) in cases {
            assert_eq!(parse(&name(parts)).unwrap().to_string(), *text);
        }
        let long = "y".repeat(100);
        let many = [(3, UTF8, long.as_str()); 1];
        let one_name = name(&many)[2..].to_vec();
        let sets = [&one_name[..]; 40].concat();
        let shown = DistinguishedName(&sets).to_string();
        assert!(
            shown.len() == MAX_TEXT + 3 && shown.ends_with("..."),
            "{shown}"
        );
    }

    #[test]
    fn comparisons_are_charged_by_length() {
        let long = |last: char| "y".repeat(99) + &last.to_string();
        // The values, and how many comparisons of them the budget allows.
        let cases = [
            ("a".to_owned(), "b".to_owned(), 250_000),
            (long('a'), long('b'), 250_000 / 4),
        ];
        for (own, base, allowed) in cases {
            let (own, base) = (name(&[(3, UTF8, &own)]), name(&[(3, UTF8, &base)]));
            let (own, base) = (parse(&own).unwrap(), parse(&base).unwrap());
            let mut budget = Budget::new();
            for _ in 0..allowed {
                assert_eq!(own.is_within(base, &mut budget), Ok(Match::No));
            }
            let exhausted = own.is_within(base, &mut budget);
            assert!(matches!(exhausted, Err(Error::BudgetExhausted { .. })));
        }
        let relative_name = name(&[(3, UTF8, "a")])[2..].to_vec();
        let many = relative_name.repeat(250_001);
        let exhausted = DistinguishedName(&many).has_email_address(&mut Budget::new());
        assert!(matches!(exhausted, Err(Error::BudgetExhausted { .. })));
    }

    #[test]
    fn malformed_names() {
        let good = name(&[(3, UTF8, "a"), (10, PRINTABLE, "b")]);
        for end in 0..good.len() {
            assert!(parse(&good[..end]).is_err(), "{end}");
        }
        let empty_set = tlv(tag::SEQUENCE, &tlv(tag::SET, &[]));
        assert_eq!(parse(&empty_set), Err(der::Error::Truncated));
        let value_missing = tlv(tag::SEQUENCE, &tlv(tag::OID, &[0x55]));
        let name = tlv(tag::SEQUENCE, &tlv(tag::SET, &value_missing));
        assert_eq!(parse(&name), Err(der::Error::Truncated));
    }

    #[test]
    fn subtrees() {
        use Match::*;
        type Parts<'a> = &'a [(u8, u8, &'a str)];
        let cases: &[(Parts<'_>, Parts<'_>, Match)] = &[
            (&[(10, UTF8, "Acme"), (3, UTF8, "x")], &[], Yes),
            (
                &[(10, UTF8, "Acme"), (3, UTF8, "x")],
                &[(10, UTF8, "Acme")],
                Yes,
            ),
            (
                &[(10, UTF8, "Acme")],
                &[(10, UTF8, "Acme"), (3, UTF8, "x")],
                No,
            ),
            (
                &[(3, UTF8, "x"), (10, UTF8, "Acme")],
                &[(10, UTF8, "Acme")],
                No,
            ),
            (
                &[(10, PRINTABLE, " ACME \t Inc ")],
                &[(10, UTF8, "acme inc")],
                Yes,
            ),
            (&[(10, UTF8, "Acme")], &[(10, UTF8, "Acm")], No),
            (&[(10, UTF8, "Acme Inc")], &[(10, UTF8, "AcmeInc")], No),
            (&[(10, UTF8, "\u{fc}")], &[(10, UTF8, "\u{fc}")], Yes),
            (&[(10, UTF8, "\u{fc}")], &[(10, UTF8, "u\u{308}")], Unknown),
            // A fullwidth A folds to an ASCII one under RFC 4518.
            (&[(10, UTF8, "\u{ff21}")], &[(10, UTF8, "A")], Unknown),
            (&[(10, tag::BMP_STRING, "\0A")], &[(10, UTF8, "A")], Unknown),
            (&[(11, UTF8, "Acme")], &[(10, UTF8, "Acme")], No),
            // RFC 4518, section 2.2: controls are dropped, a vertical tab is a blank.
            (&[(10, UTF8, "Ac\u{7f}me")], &[(10, UTF8, "Acme")], Unknown),
            (&[(10, UTF8, "Acme\u{b}")], &[(10, UTF8, "Acme")], Unknown),
        ];
        for (own, base, expected) in cases {
            let (own, base) = (name(own), name(base));
            let (own, base) = (parse(&own).unwrap(), parse(&base).unwrap());
            let got = own.is_within(base, &mut Budget::new()).unwrap();
            assert_eq!(got, *expected, "{own} within {base}");
        }
        // Sets of two: equal, reordered by case, of other sizes.
        let set = |parts: &[(u8, &str)]| {
            let attributes = parts.iter().map(|(arc, v)| one(*arc, UTF8, v.as_bytes()));
            tlv(
                tag::SEQUENCE,
                &tlv(tag::SET, &attributes.collect::<Vec<_>>().concat()),
            )
        };
        let within = |a: &[u8], b: &[u8]| {
            let (a, b) = (parse(a).unwrap(), parse(b).unwrap());
            a.is_within(b, &mut Budget::new()).unwrap()
        };
        let two = set(&[(3, "a"), (10, "b")]);
        assert_eq!(within(&two, &set(&[(3, "A"), (10, "B")])), Yes);
        assert_eq!(within(&two, &set(&[(10, "b"), (3, "a")])), Unknown);
        assert_eq!(within(&two, &set(&[(3, "a")])), No);
        assert_eq!(within(&set(&[(3, "a")]), &two), No);
    }

    #[test]
    fn email_address() {
        let oid = tlv(tag::OID, EMAIL_ADDRESS);
        let value = tlv(tag::IA5_STRING, b"a@b");
        let attribute = tlv(tag::SEQUENCE, &[oid, value].concat());
        let with = tlv(tag::SEQUENCE, &tlv(tag::SET, &attribute));
        assert!(
            parse(&with)
                .unwrap()
                .has_email_address(&mut Budget::new())
                .unwrap()
        );
        assert_eq!(parse(&with).unwrap().to_string(), "emailAddress=a@b");
        assert!(
            !parse(&name(&[(3, UTF8, "a@b")]))
                .unwrap()
                .has_email_address(&mut Budget::new())
                .unwrap()
        );
    }
}
