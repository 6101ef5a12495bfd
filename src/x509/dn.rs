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
            budget.comparisons.spend(1)?;
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
            budget
                .comparisons
                .spend(octets.div_ceil(OCTETS_COMPARED_AT_ONCE))?;
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
    let (mut a, mut b) = (attributes(a), attributes(b));
    let (mut all_equal, mut count) = (true, 0u32);
    loop {
        match (a.next(), b.next()) {
            (Some(a), Some(b)) => all_equal &= equal_attributes(a, b, in_doubt),
            (None, None) => return all_equal || in_doubt && count > 1,
            _ => return false,
        }
        count = count.saturating_add(1);
    }
}

fn equal_attributes(a: Attribute<'_>, b: Attribute<'_>, in_doubt: bool) -> bool {
    a.oid == b.oid
        && match (ascii_text(a), ascii_text(b)) {
            (Some(a), Some(b)) => folded(a).eq(folded(b)),
            _ => a == b || in_doubt,
        }
}

/// The value, if it is ASCII in a string type of single octets. RFC 4518, section 2.2, drops the other
/// controls and takes VT for a blank: text with such a character is not compared.
fn ascii_text(attribute: Attribute<'_>) -> Option<&[u8]> {
    let plain = |octet: &u8| octet.is_ascii_whitespace() || matches!(octet, b' '..=b'~');
    let is_text = is_utf8(attribute.tag) || attribute.tag == tag::TELETEX_STRING;
    (is_text && attribute.value.iter().all(plain)).then_some(attribute.value)
}

/// The words of a text in lower case: the number of blanks between them has no meaning
/// (RFC 4518, sections 2.2 and 2.6.1, for ASCII).
fn folded(text: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    text.split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
        .map(<[u8]>::to_ascii_lowercase)
}

/// The string types that are UTF-8 or a part of it.
fn is_utf8(tag: u8) -> bool {
    matches!(
        tag,
        tag::UTF8_STRING
            | tag::PRINTABLE_STRING
            | tag::IA5_STRING
            | tag::NUMERIC_STRING
            | tag::VISIBLE_STRING
    )
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
        text if is_utf8(text) => std::str::from_utf8(attribute.value).ok().map(str::to_owned),
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
pub(crate) mod tests;
