//! Names of servers: the one wanted (reference identifier) and those that a certificate
//! presents (RFC 5280, section 4.2.1.6; matching as in RFC 6125 and RFC 9525).
//!
//! Only dNSName and iPAddress of the subjectAltName can match; the common name is never
//! used. A wildcard is the whole leftmost label, stands for exactly one label, and must be
//! followed by at least two labels: `*.example` would cover a whole top-level domain
//! (OpenSSL and webpki refuse it as well; stricter than Go). Labels may have underscores: no
//! valid host name has, but names in private DNS zones do, and Go accepts them for that reason.

use std::fmt;
use std::net::IpAddr;

use super::Error;
use super::dn::{DistinguishedName, cut, escape};
use crate::wire::Reader;
use crate::wire::der::{self, tag};

/// Longest name in text form without the final dot (RFC 1035, section 3.1: 255 octets with
/// the length octets and the root label).
const MAX_NAME: usize = 253;

/// Longest label (RFC 1035, section 2.3.4).
const MAX_LABEL: usize = 63;

/// The name a server must prove to be: the reference identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ServerName {
    /// A host name in ASCII, lower case, without final dot.
    Dns(String),
    /// An address; it is matched with iPAddress entries only.
    Ip(IpAddr),
}

impl ServerName {
    /// Reads an IP address (IPv6 without brackets) or a host name in ASCII form. An IPv4 address written
    /// as IPv6 is read as IPv4: a connection to it uses IPv4, and certificates have it in four octets.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Ip(address.to_canonical()));
        }
        let bad = |why| Error::BadServerName {
            name: text.to_owned(),
            why,
        };
        let name = text.strip_suffix('.').unwrap_or(text);
        if !name.is_ascii() {
            return Err(bad("not ASCII; write it in its A-label form (xn--...)"));
        }
        if name.starts_with("*.") {
            return Err(bad("a wildcard does not name a server"));
        }
        if !is_host_name(name) {
            return Err(bad("not a host name"));
        }
        if ends_in_number(name) {
            return Err(bad("neither an IP address nor a host name"));
        }
        Ok(Self::Dns(name.to_ascii_lowercase()))
    }

    /// Whether a name presented in a certificate is this one.
    pub(crate) fn is_matched_by(&self, presented: &GeneralName<'_>) -> bool {
        match (self, presented) {
            (Self::Dns(wanted), GeneralName::Dns(pattern)) => dns_matches(pattern, wanted),
            (Self::Ip(wanted), GeneralName::Ip(octets)) => {
                address(octets).is_some_and(|presented| presented.to_canonical() == *wanted)
            }
            _ => false,
        }
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

/// One or more labels of letters, digits, hyphens and underscores, none beginning or ending
/// with a hyphen (RFC 952 and 1123, and see the head of this file).
pub(crate) fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= MAX_NAME && name.split('.').all(is_label)
}

/// Whether the last label is a number, as in an address: no top-level domain is (RFC 3696,
/// section 2).
pub(crate) fn ends_in_number(name: &str) -> bool {
    let last_label = name.rsplit('.').next().unwrap_or_default();
    last_label.bytes().all(|byte| byte.is_ascii_digit())
}

/// The part after the wildcard if `pattern` is a usable wildcard name: at least two labels.
fn wildcard_suffix(pattern: &str) -> Option<&str> {
    pattern
        .strip_prefix("*.")
        .filter(|suffix| is_host_name(suffix) && suffix.contains('.'))
}

/// Whether a presented dNSName covers the wanted name. RFC 9525, section 6.3.
fn dns_matches(pattern: &str, wanted: &str) -> bool {
    match (wildcard_suffix(pattern), wanted.split_once('.')) {
        (Some(suffix), Some((_, parent))) => suffix.eq_ignore_ascii_case(parent),
        // A malformed name matches nothing: no wanted name has that form.
        _ => pattern.eq_ignore_ascii_case(wanted),
    }
}

/// A GeneralName of a subjectAltName.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GeneralName<'a> {
    /// dNSName: ASCII, but not necessarily a well-formed name.
    Dns(&'a str),
    /// iPAddress: 4 or 16 octets.
    Ip(&'a [u8]),
    /// directoryName.
    Directory(DistinguishedName<'a>),
    /// Any other form, with its contents; nothing here matches it.
    Other(Form, &'a [u8]),
}

/// The form of a GeneralName, by its context tag in the CHOICE (section 4.2.1.6); name constraints
/// apply form by form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form(u8);

impl Form {
    pub(crate) const EMAIL: Self = Self(0x81);
    pub(crate) const DNS: Self = Self(0x82);
    pub(crate) const DIRECTORY: Self = Self(0xa4);
    pub(crate) const URI: Self = Self(0x86);
    pub(crate) const IP: Self = Self(0x87);

    const NAMES: [(u8, &str); 9] = [
        (0xa0, "otherName"),
        (0x81, "rfc822Name"),
        (0x82, "dNSName"),
        (0xa3, "x400Address"),
        (0xa4, "directoryName"),
        (0xa5, "ediPartyName"),
        (0x86, "uniformResourceIdentifier"),
        (0x87, "iPAddress"),
        (0x88, "registeredID"),
    ];

    /// The form that has this tag.
    pub(crate) fn from_tag(found: u8) -> Result<Self, der::Error> {
        let known = Self::NAMES.iter().any(|(tag, _)| *tag == found);
        let expected = tag::context(2);
        known
            .then_some(Self(found))
            .ok_or(der::Error::UnexpectedTag { expected, found })
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = Self::NAMES.iter().find(|(tag, _)| *tag == self.0);
        f.write_str(found.map_or("?", |(_, name)| name))
    }
}

impl<'a> GeneralName<'a> {
    /// Reads one GeneralName.
    pub(crate) fn parse(reader: &mut Reader<'a>) -> Result<Self, der::Error> {
        let (found, contents) = der::any(reader)?;
        Ok(match Form::from_tag(found)? {
            Form::DNS => Self::Dns(der::ascii(contents)?),
            Form::IP if matches!(contents.len(), 4 | 16) => Self::Ip(contents),
            Form::IP => return Err(der::Error::String),
            // A Name is itself a CHOICE, so its own tag is inside (X.680, 31.2.7).
            Form::DIRECTORY => Self::Directory(der::whole(contents, DistinguishedName::parse)?),
            other => Self::Other(other, contents),
        })
    }

    /// The IPv4 address of a name that holds one in the 16 octets of IPv6.
    pub(crate) fn as_ipv4(&self) -> Option<Self> {
        match self {
            Self::Ip(octets) => octets.strip_prefix(&IPV4_MAPPED).map(Self::Ip),
            _ => None,
        }
    }

    /// The form of this name.
    pub(crate) fn form(&self) -> Form {
        match self {
            Self::Dns(_) => Form::DNS,
            Self::Ip(_) => Form::IP,
            Self::Directory(_) => Form::DIRECTORY,
            Self::Other(form, _) => *form,
        }
    }
}

impl fmt::Display for GeneralName<'_> {
    /// As OpenSSL prints them, `DNS:a.example` or `IP:10.0.0.1`, so that an address in
    /// a dNSName (a frequent mistake, it never matches) can be seen. Everything unprintable is escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        match self {
            Self::Dns(name) => {
                text.push_str("DNS:");
                escape(&mut text, name, "\\")?;
            }
            Self::Ip(octets) => return write!(f, "IP:{}", address_text(octets)),
            Self::Directory(name) => return write!(f, "DirName:{name}"),
            Self::Other(form @ (Form::EMAIL | Form::URI), contents) => {
                text.push_str(if *form == Form::URI { "URI:" } else { "email:" });
                escape(&mut text, &String::from_utf8_lossy(contents), "\\")?;
            }
            Self::Other(form, _) => return form.fmt(f),
        }
        f.write_str(&cut(text))
    }
}

/// What IPv4 written as IPv6 begins with (RFC 4291, section 2.5.5.2).
pub(crate) const IPV4_MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// An address of 4 or 16 octets.
fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
    }
}

/// The text of an address of 4 or 16 octets.
pub(crate) fn address_text(octets: &[u8]) -> String {
    address(octets).map_or("?".into(), |address| address.to_string())
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
    use crate::x509::dn::tests::{name, tlv};

    #[test]
    fn wanted_names() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        let dns = |s: &str| Ok(ServerName::Dns(s.into()));
        let ip = |s: &str| Ok(ServerName::Ip(s.parse().unwrap()));
        let cases = [
            ("example.com", dns("example.com")),
            ("Example.COM.", dns("example.com")),
            ("localhost", dns("localhost")),
            ("etcd_1.internal", dns("etcd_1.internal")),
            ("xn--bcher-kva.example", dns("xn--bcher-kva.example")),
            (&longest, dns(&longest)),
            ("10.0.0.1", ip("10.0.0.1")),
            ("::1", ip("::1")),
            ("::ffff:10.0.0.1", ip("10.0.0.1")),
            ("::10.0.0.1", ip("::10.0.0.1")),
        ];
        for (text, expected) in cases {
            assert_eq!(ServerName::parse(text), expected);
        }
        let too_long = format!("{longest}a");
        let label = format!("{label}a.example");
        let bad = [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a.b..",
            "-a.b",
            "a-.b",
            "a b",
            "a,b",
            "a/b",
            "*.a.b",
            "*",
            "b\u{fc}cher.example",
            "[::1]",
            "fe80::1%eth0",
            "a\0b",
            "a:2379",
            "010.0.0.1",
            "10.0.1",
            &too_long,
            &label,
        ];
        for text in bad {
            let error = ServerName::parse(text).unwrap_err();
            assert!(matches!(error, Error::BadServerName { .. }), "{text}");
        }
    }

    #[test]
    fn dns_matching() {
        let cases = [
            ("example.com", "example.com", true),
            ("EXAMPLE.com", "example.com", true),
            ("example.com", "example.org", false),
            ("example.com", "a.example.com", false),
            ("a.example.com", "example.com", false),
            ("etcd_1.a", "etcd_1.a", true),
            // Wildcards: one whole leftmost label, two labels behind it.
            ("*.example.com", "a.example.com", true),
            ("*.EXAMPLE.com", "a.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "a.b.example.com", false),
            ("*.example.com", "xn--bcher-kva.example.com", true),
            ("*.com", "example.com", false),
            ("*", "com", false),
            ("*", "example.com", false),
            ("*.", "com", false),
            ("*.*.com", "a.b.com", false),
            ("a.*.com", "a.b.com", false),
            ("a*.example.com", "ab.example.com", false),
            ("*a.example.com", "ba.example.com", false),
            (
                "xn--*-1b3c148a.example.com",
                "xn--bliss-1b3c148a.example.com",
                false,
            ),
            ("*.example.com.", "a.example.com", false),
            // Malformed or absolute: never.
            (".example.com", "a.example.com", false),
            ("example.com.", "example.com", false),
            ("", "example.com", false),
            ("example.com\0", "example.com", false),
            ("example.com\0.evil.org", "example.com", false),
            (" example.com", "example.com", false),
        ];
        for (pattern, wanted, expected) in cases {
            let wanted = ServerName::parse(wanted).unwrap();
            let got = wanted.is_matched_by(&GeneralName::Dns(pattern));
            assert_eq!(got, expected, "{pattern} for {wanted}");
        }
    }

    #[test]
    fn addresses_match_addresses_only() {
        let v4 = ServerName::parse("10.0.0.1").unwrap();
        let v6 = ServerName::parse("::10.0.0.1").unwrap();
        let octets4: &[u8] = &[10, 0, 0, 1];
        let octets6: &[u8] = &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1];
        // IPv4 written as IPv6, and addresses that look like it.
        for (tenth, eleventh, last, expected) in [
            (255, 255, 1, true),
            (255, 255, 2, false),
            (255, 254, 1, false),
            (0, 255, 1, false),
        ] {
            let octets = [
                0, 0, 0, 0, 0, 0, 0, 0, 0, 0, tenth, eleventh, 10, 0, 0, last,
            ];
            assert_eq!(
                v4.is_matched_by(&GeneralName::Ip(&octets)),
                expected,
                "{octets:?}"
            );
            assert!(!v6.is_matched_by(&GeneralName::Ip(&octets)));
        }
        assert!(v4.is_matched_by(&GeneralName::Ip(octets4)));
        assert!(v6.is_matched_by(&GeneralName::Ip(octets6)));
        assert!(!v4.is_matched_by(&GeneralName::Ip(octets6)));
        assert!(!v6.is_matched_by(&GeneralName::Ip(octets4)));
        assert!(!v4.is_matched_by(&GeneralName::Dns("10.0.0.1")));
        assert!(
            !ServerName::parse("a.b")
                .unwrap()
                .is_matched_by(&GeneralName::Ip(octets4))
        );
    }

    #[test]
    fn general_names() {
        let directory = tlv(0xa4, &name(&[(3, tag::UTF8_STRING, "x")]));
        let shown: &[(&[u8], &str)] = &[
            (b"\x82\x03a.b", "DNS:a.b"),
            (b"\x82\x00", "DNS:"),
            (b"\x82\x04a\n\\b", "DNS:a\\0a\\\\b"),
            (b"\x87\x04\x0a\0\0\x01", "IP:10.0.0.1"),
            (b"\x87\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01", "IP:::1"),
            (b"\x86\x05a://b", "URI:a://b"),
            (b"\x81\x04a@\xffb", "email:a@\\ef\\bf\\bdb"),
            (b"\xa0\x00", "otherName"),
            (b"\x88\x01\x2a", "registeredID"),
            (&directory, "DirName:CN=x"),
        ];
        for (bytes, text) in shown {
            let got = GeneralName::parse(&mut Reader::new(bytes)).unwrap();
            assert_eq!(got.to_string(), *text);
        }
        // The length that counts is that of what is written.
        let emoji = "\u{1f600}".repeat(256);
        let shown = GeneralName::Other(Form::URI, emoji.as_bytes()).to_string();
        assert!(
            shown.len() == 259 && shown.starts_with("URI:\\f0\\9f") && shown.ends_with("..."),
            "{shown}"
        );
        let malformed: &[(&[u8], der::Error)] = &[
            (b"\x82\x01\xe9", der::Error::String),
            (b"\x87\x05\x0a\0\0\0\x01", der::Error::String),
            (b"\x87\x00", der::Error::String),
            (b"\xa4\x00", der::Error::Truncated),
            (b"\xa4\x04\x30\x00\x05\x00", der::Error::Trailing),
            (b"\x82\x05a", der::Error::Truncated),
            (
                b"\xa2\x00",
                der::Error::UnexpectedTag {
                    expected: 0x82,
                    found: 0xa2,
                },
            ),
            (
                b"\x89\x00",
                der::Error::UnexpectedTag {
                    expected: 0x82,
                    found: 0x89,
                },
            ),
            (b"a.b", der::Error::Truncated),
        ];
        for (bytes, error) in malformed {
            let got = GeneralName::parse(&mut Reader::new(bytes));
            assert_eq!(got, Err(*error), "{bytes:02x?}");
        }
    }
}
