//! Distinguished names (RFC 5280, section 4.1.2.4): parsing, text, comparison.
//!
//! The name of an issuer is compared with a subject byte by byte, as in Go and webpki; that can
//! only refuse more than section 7.1 would. Name constraints need more: an excluded subtree compared
//! by bytes would be evaded by another string type or another case.
//! [`DistinguishedName::is_within`] therefore compares ASCII text as section 7.1 says. Other text
//! would need the Unicode tables of RFC 4518; there the caller says what to answer.

use std::fmt::{self, Write};

use super::{Budget, Error};
use crate::wire::Reader;
use crate::wire::der::{self, Oid, tag};

/// The text of a name is cut after this many characters, escapes included: it goes to logs and tables,
/// and a hostile certificate may carry kilobytes.
const MAX_TEXT: usize = 256;

/// So many octets of two relative names, or of a URI, cost about as much as a comparison of two short
/// names.
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

    /// Whether this name is in the subtree under `base`: begins with the same relative
    /// names (section 7.1); `in_doubt` where only Unicode tables could say. Each comparison is charged
    /// to the budget by its length.
    pub(crate) fn is_within(
        &self,
        base: Self,
        in_doubt: bool,
        budget: &mut Budget,
    ) -> Result<bool, Error> {
        let mut own = self.relative_names();
        for wanted in base.relative_names() {
            let Some(found) = own.next() else {
                return Ok(false);
            };
            let octets = wanted.len().saturating_add(found.len());
            budget.spend_comparisons(octets.div_ceil(OCTETS_COMPARED_AT_ONCE))?;
            if !equal_relative_names(wanted, found, in_doubt) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The relative names, each as the octets of its attributes.
    fn relative_names(&self) -> impl Iterator<Item = &'a [u8]> {
        let mut reader = Reader::new(self.0);
        std::iter::from_fn(move || der::expect(&mut reader, tag::SET).ok())
    }
}

/// The attributes of a relative name. `parse` has read the same octets, so no error ends this early.
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

/// Relative names are sets, which DER sorts by their encoding. String types and case change the
/// order, so several attributes that differ one by one may still be the same set.
fn equal_relative_names(a: &[u8], b: &[u8], in_doubt: bool) -> bool {
    let count = attributes(a).count();
    let mut pairs = attributes(a).zip(attributes(b));
    count == attributes(b).count()
        && (pairs.all(|(a, b)| equal_attributes(a, b, in_doubt)) || in_doubt && count > 1)
}

fn equal_attributes(a: Attribute<'_>, b: Attribute<'_>, in_doubt: bool) -> bool {
    a.oid == b.oid
        && match (normalised(a), normalised(b)) {
            (Some(a), Some(b)) => a == b,
            _ => a == b || in_doubt,
        }
}

/// The value as it is compared, if it is ASCII in a string type of single octets: in lower case, with
/// one blank between words (RFC 4518, sections 2.2 and 2.6.1). Section 2.2 drops the other controls
/// and takes VT for a blank: text with such a character is not compared.
fn normalised(attribute: Attribute<'_>) -> Option<String> {
    let plain = |c: char| c.is_ascii_whitespace() || matches!(c, ' '..='~');
    let text = characters(attribute)
        .filter(|text| attribute.tag != tag::BMP_STRING && text.chars().all(plain))?
        .to_ascii_lowercase();
    Some(text.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
}

impl fmt::Display for DistinguishedName<'_> {
    /// As in RFC 4514: the last relative name first, so that the common name leads. Only
    /// printable ASCII is written as it is; everything else (control characters, characters that are
    /// invisible, look like others or change the direction of text) as `\xx` octets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("(empty name)");
        }
        let relative_names: Vec<_> = self.relative_names().collect();
        // A comma between relative names, a plus sign between the attributes of one.
        let separators = || std::iter::once(",").chain(std::iter::repeat("+"));
        let attributes = relative_names
            .into_iter()
            .rev()
            .flat_map(|relative_name| attributes(relative_name).zip(separators()));
        let mut text = String::new();
        for (attribute, separator) in attributes {
            if text.len() > MAX_TEXT {
                break;
            }
            if !text.is_empty() {
                text.push_str(separator);
            }
            write_attribute(&mut text, attribute)?;
        }
        f.write_str(&cut(text))
    }
}

fn write_attribute(text: &mut String, attribute: Attribute<'_>) -> fmt::Result {
    let oid = attribute.oid.contents();
    match SHORT_NAMES.iter().find(|(known, _)| *known == oid) {
        Some((_, name)) => text.push_str(name),
        None => write!(text, "{}", attribute.oid)?,
    }
    text.push('=');
    if let Some(value) = characters(attribute) {
        return escape(text, value.trim(), ",+\"\\<>;");
    }
    // RFC 4514, section 2.4, for what is not text: `#` and hexadecimal, here of the tag and
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
/// when the text is longer than [`cut`] leaves it.
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

/// The text, cut and marked if it is longer than [`MAX_TEXT`] characters.
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
                assert_eq!(own.is_within(base, false, &mut budget), Ok(false));
            }
            let exhausted = own.is_within(base, false, &mut budget);
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
        // With what decides a doubt as no and as yes.
        const YES: [bool; 2] = [true; 2];
        const NO: [bool; 2] = [false; 2];
        const DOUBT: [bool; 2] = [false, true];
        type Parts<'a> = &'a [(u8, u8, &'a str)];
        let cases: &[(Parts<'_>, Parts<'_>, [bool; 2])] = &[
            (&[(10, UTF8, "Acme"), (3, UTF8, "x")], &[], YES),
            (
                &[(10, UTF8, "Acme"), (3, UTF8, "x")],
                &[(10, UTF8, "Acme")],
                YES,
            ),
            (
                &[(10, UTF8, "Acme")],
                &[(10, UTF8, "Acme"), (3, UTF8, "x")],
                NO,
            ),
            (
                &[(3, UTF8, "x"), (10, UTF8, "Acme")],
                &[(10, UTF8, "Acme")],
                NO,
            ),
            (
                &[(10, PRINTABLE, " ACME \t Inc ")],
                &[(10, UTF8, "acme inc")],
                YES,
            ),
            (&[(10, UTF8, "Acme")], &[(10, UTF8, "Acm")], NO),
            (&[(10, UTF8, "Acme Inc")], &[(10, UTF8, "AcmeInc")], NO),
            (&[(10, UTF8, "\u{fc}")], &[(10, UTF8, "\u{fc}")], YES),
            (&[(10, UTF8, "\u{fc}")], &[(10, UTF8, "u\u{308}")], DOUBT),
            // A fullwidth A folds to an ASCII one under RFC 4518.
            (&[(10, UTF8, "\u{ff21}")], &[(10, UTF8, "A")], DOUBT),
            (&[(10, tag::BMP_STRING, "\0A")], &[(10, UTF8, "A")], DOUBT),
            (&[(11, UTF8, "Acme")], &[(10, UTF8, "Acme")], NO),
            // RFC 4518, section 2.2: controls are dropped, a vertical tab is a blank.
            (&[(10, UTF8, "Ac\u{7f}me")], &[(10, UTF8, "Acme")], DOUBT),
            (&[(10, UTF8, "Acme\u{b}")], &[(10, UTF8, "Acme")], DOUBT),
        ];
        for (own, base, expected) in cases {
            let (own, base) = (name(own), name(base));
            let (own, base) = (parse(&own).unwrap(), parse(&base).unwrap());
            let got = [false, true].map(|doubt| own.is_within(base, doubt, &mut Budget::new()));
            assert_eq!(got, expected.map(Ok), "{own} within {base}");
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
            [false, true].map(|doubt| a.is_within(b, doubt, &mut Budget::new()).unwrap())
        };
        let two = set(&[(3, "a"), (10, "b")]);
        assert_eq!(within(&two, &set(&[(3, "A"), (10, "B")])), YES);
        assert_eq!(within(&two, &set(&[(10, "b"), (3, "a")])), DOUBT);
        assert_eq!(within(&two, &set(&[(3, "a")])), NO);
        assert_eq!(within(&set(&[(3, "a")]), &two), NO);
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
