//! Name constraints of a CA (RFC 5280, section 4.2.1.10) and their check.
//!
//! dNSName, iPAddress, directoryName and uniformResourceIdentifier subtrees are compared. Every
//! other form fails closed: a certificate that carries a name of such a form under a CA that
//! constrains the form is refused, whether the extension is critical or not. The names checked are the
//! subject and every entry of the subjectAltName; the common name is not checked as a DNS name.
//!
//! As in Go, a dNSName constraint with a leading dot requires a further label, and an empty one
//! covers every name; section 4.2.1.10 has neither. A wildcard name breaks an excluded subtree if
//! one of the names that it stands for does (CVE-2025-61727).
//!
//! Of a URI the host is compared. Section 4.2.1.10: a constraint is that host alone, or with a
//! leading dot every host below it. Go includes the hosts below in both cases. Here a permitted
//! subtree holds what both readings allow, and an excluded one what either excludes. A URI without a
//! host, or with an address for it, is refused under every URI constraint, as in Go.
//!
//! An IPv4 address written as IPv6 (`::ffff:10.0.0.1`) must pass as both.
//!
//! Stricter than Go: a minimum other than 0 and any maximum are refused, which RFC 5280 forbids and
//! Go does not read; and directoryName and e-mail constraints are enforced, since a constraint that is
//! not understood must not be ignored.

use std::fmt;

use super::dn::{DistinguishedName, OCTETS_COMPARED_AT_ONCE};
use super::name::{Form, GeneralName, IPV4_MAPPED, address_text, ends_in_number, is_host_name};
use super::{Budget, Error};
use crate::wire::Reader;
use crate::wire::der::{self, tag};

/// The decoded extension: what names a CA may and may not certify.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NameConstraints<'a> {
    permitted: Vec<Subtree<'a>>,
    excluded: Vec<Subtree<'a>>,
}

/// The base of one subtree.
#[derive(Debug, Clone, PartialEq)]
enum Subtree<'a> {
    Dns(&'a str),
    /// Address and mask, of one length: 4 or 16 octets.
    Ip(&'a [u8], &'a [u8]),
    Directory(DistinguishedName<'a>),
    /// A host, perhaps after a dot.
    Uri(&'a str),
    Unsupported(Form),
}

impl<'a> NameConstraints<'a> {
    /// Reads the extension's value. Memory is bounded by the input: each subtree takes at
    /// least four octets of it.
    pub(crate) fn parse(reader: &mut Reader<'a>) -> Result<Self, der::Error> {
        der::nested(reader, tag::SEQUENCE, |reader| {
            let permitted = der::optional(reader, tag::context_constructed(0))?;
            let excluded = der::optional(reader, tag::context_constructed(1))?;
            // "Conforming CAs MUST NOT issue certificates where name constraints is an empty
            // sequence"; what such a CA meant to allow cannot be known.
            if permitted.is_none() && excluded.is_none() {
                return Err(der::Error::Truncated);
            }
            Ok(Self {
                permitted: permitted.map_or(Ok(Vec::new()), subtrees)?,
                excluded: excluded.map_or(Ok(Vec::new()), subtrees)?,
            })
        })
    }

    /// Checks every name of a certificate, its subject and its alternative names, against
    /// the constraints of `issuer`.
    pub(crate) fn check(
        &self,
        subject: DistinguishedName<'_>,
        alternative_names: &[GeneralName<'_>],
        issuer: DistinguishedName<'_>,
        budget: &mut Budget,
    ) -> Result<(), Error> {
        // "Restrictions of the form directoryName MUST be applied to the subject field in the
        // certificate (when the certificate includes a non-empty subject field)", and those
        // of the form rfc822Name to an emailAddress in it where there is no subjectAltName.
        let subject_name = (!subject.is_empty()).then_some(GeneralName::Directory(subject));
        let email = (alternative_names.is_empty() && subject.has_email_address(budget)?)
            .then_some(GeneralName::Other(Form::EMAIL, b"(in the subject)"));
        let names = subject_name.iter().chain(&email);
        let as_ipv4: Vec<_> = alternative_names
            .iter()
            .filter_map(GeneralName::as_ipv4)
            .collect();
        for name in names.chain(alternative_names).chain(&as_ipv4) {
            // Charged in advance for all subtrees, so that those of other forms count as well.
            budget
                .comparisons
                .spend(self.excluded.len().saturating_add(self.permitted.len()))?;
            let host = host(name, budget)?;
            let excluded = find(&self.excluded, name, host, true, budget)?;
            let is_constrained = self.permitted.iter().any(|base| base.form() == name.form());
            if excluded.is_some()
                || is_constrained && find(&self.permitted, name, host, false, budget)?.is_none()
            {
                return Err(Error::NameConstraintViolated {
                    name: name.to_string(),
                    issuer: issuer.to_string(),
                    excluded: excluded.map(Subtree::to_string),
                });
            }
        }
        Ok(())
    }
}

/// The first subtree that `name` is in; see [`Subtree::contains`].
fn find<'s, 'a>(
    subtrees: &'s [Subtree<'a>],
    name: &GeneralName<'_>,
    host: Option<&str>,
    in_doubt: bool,
    budget: &mut Budget,
) -> Result<Option<&'s Subtree<'a>>, Error> {
    for subtree in subtrees {
        if subtree.form() == name.form() && subtree.contains(name, host, in_doubt, budget)? {
            return Ok(Some(subtree));
        }
    }
    Ok(None)
}

/// GeneralSubtrees ::= SEQUENCE SIZE (1..MAX) OF GeneralSubtree
fn subtrees(contents: &[u8]) -> Result<Vec<Subtree<'_>>, der::Error> {
    der::whole(contents, |reader| der::one_or_more(reader, subtree))
}

/// GeneralSubtree ::= SEQUENCE { base, minimum `[0]` DEFAULT 0, maximum `[1]` OPTIONAL }.
/// "Minimum MUST be zero, and maximum MUST be absent". A zero that is written out is not DER
/// (X.690, 11.5), but has one reading, and CAs that make it are in use; anything else that
/// follows the base is refused.
fn subtree<'a>(reader: &mut Reader<'a>) -> Result<Subtree<'a>, der::Error> {
    der::nested(reader, tag::SEQUENCE, |reader| {
        let (found, contents) = der::any(reader)?;
        if der::optional(reader, tag::context(0))?.is_some_and(|minimum| minimum != [0]) {
            return Err(der::Error::IntegerRange);
        }
        Ok(match Form::from_tag(found)? {
            Form::DNS => Subtree::Dns(dns_base(contents)?),
            Form::IP => ip_base(contents)?,
            Form::DIRECTORY => Subtree::Directory(der::whole(contents, DistinguishedName::parse)?),
            Form::URI => dns_base(contents).map_or(Subtree::Unsupported(Form::URI), Subtree::Uri),
            other => Subtree::Unsupported(other),
        })
    })
}

/// A dNSName base: a host name, perhaps after a dot, or nothing. A malformed one (a
/// wildcard, a final dot) would never match, and so exclude nothing.
fn dns_base(contents: &[u8]) -> Result<&str, der::Error> {
    let base = der::ascii(contents)?;
    let host = base.strip_prefix('.').unwrap_or(base);
    if base.is_empty() || is_host_name(host) {
        Ok(base)
    } else {
        Err(der::Error::String)
    }
}

/// An iPAddress base: an address and a contiguous mask (RFC 4632), 8 or 32 octets together.
fn ip_base(contents: &[u8]) -> Result<Subtree<'_>, der::Error> {
    let half = match contents.len() {
        8 => 4,
        32 => 16,
        _ => return Err(der::Error::String),
    };
    let (address, mask) = contents
        .split_at_checked(half)
        .ok_or(der::Error::Truncated)?;
    let mut after_ones = mask.iter().skip_while(|octet| **octet == 0xff);
    let boundary = after_ones.next().copied().unwrap_or_default();
    if boundary.count_ones() == boundary.leading_ones() && after_ones.all(|octet| *octet == 0) {
        Ok(Subtree::Ip(address, mask))
    } else {
        Err(der::Error::String)
    }
}

impl Subtree<'_> {
    fn form(&self) -> Form {
        match self {
            Self::Dns(_) => Form::DNS,
            Self::Ip(..) => Form::IP,
            Self::Directory(_) => Form::DIRECTORY,
            Self::Uri(_) => Form::URI,
            Self::Unsupported(form) => *form,
        }
    }

    /// Whether `name`, of the same form and with this [`host`], is in this subtree. `in_doubt` is the
    /// answer where that cannot be known, and where it depends on how the name is read: `true` for an
    /// excluded subtree and `false` for a permitted one, so that each doubt refuses the name.
    fn contains(
        &self,
        name: &GeneralName<'_>,
        host: Option<&str>,
        in_doubt: bool,
        budget: &mut Budget,
    ) -> Result<bool, Error> {
        Ok(match (self, name, host) {
            (Self::Dns(base), GeneralName::Dns(_), Some(name)) => {
                dns_covers(base, name) || in_doubt && could_expand_to(name, base)
            }
            (Self::Ip(address, mask), GeneralName::Ip(octets), _) => {
                // An excluded IPv4 address may have been written as IPv6: the last octets count.
                let comparable =
                    address.len() == octets.len() || in_doubt && address.starts_with(&IPV4_MAPPED);
                let mut compared = address.iter().zip(*mask).rev().zip(octets.iter().rev());
                comparable && compared.all(|((a, m), o)| a & m == o & m)
            }
            (Self::Uri(base), GeneralName::Other(..), Some(host)) => {
                let is_below = (in_doubt || base.starts_with('.')) && dns_covers(base, host);
                is_below || base.eq_ignore_ascii_case(host)
            }
            (Self::Directory(base), GeneralName::Directory(name), _) => {
                name.is_within(*base, in_doubt, budget)?
            }
            _ => in_doubt,
        })
    }
}

/// The part of a DNS name or URI that is compared with the subtrees, if it is well-formed. Read once
/// for all subtrees: the name may be as long as the certificate.
fn host<'a>(name: &GeneralName<'a>, budget: &mut Budget) -> Result<Option<&'a str>, Error> {
    Ok(match name {
        GeneralName::Dns(name) => is_comparable(name).then_some(name),
        GeneralName::Other(Form::URI, uri) => {
            budget
                .comparisons
                .spend(uri.len() / OCTETS_COMPARED_AT_ONCE)?;
            uri_host(uri)
        }
        _ => None,
    })
}

/// The host in a URI (RFC 3986, section 3): `None` if there is none, if it is an address, or if
/// another parser could read another host.
fn uri_host(uri: &[u8]) -> Option<&str> {
    let (scheme, rest) = std::str::from_utf8(uri).ok()?.split_once("://")?;
    let of_scheme = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let authority = rest.split(['/', '?', '#']).next()?;
    let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
    let plain = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(of_scheme)
        && port.bytes().all(|byte| byte.is_ascii_digit());
    (plain && is_host_name(host) && !ends_in_number(host)).then_some(host)
}

/// Whether a dNSName can be compared with a subtree: a host name, or one after `*.`. Unlike in
/// `name`, one label after the wildcard is enough: `*.local` matches no server here, but it
/// is in the subtree `local`.
fn is_comparable(name: &str) -> bool {
    is_host_name(name.strip_prefix("*.").unwrap_or(name))
}

/// Whether `name` is `base` with zero or more labels in front (one or more if `base` begins
/// with a dot). An empty `base` covers every name.
fn dns_covers(base: &str, name: &str) -> bool {
    let front = name.len().checked_sub(base.len());
    // Both are ASCII, so any split is at a character.
    match front.and_then(|front| name.split_at_checked(front)) {
        Some((front, tail)) if tail.eq_ignore_ascii_case(base) => {
            matches!(base.as_bytes(), [] | [b'.', ..]) || front.is_empty() || front.ends_with('.')
        }
        _ => false,
    }
}

/// Whether the wildcard `pattern` also stands for the name `base`, one label in place of the
/// asterisk.
fn could_expand_to(pattern: &str, base: &str) -> bool {
    match (pattern.strip_prefix("*."), base.split_once('.')) {
        (Some(suffix), Some((label, parent))) => {
            !label.is_empty() && suffix.eq_ignore_ascii_case(parent)
        }
        _ => false,
    }
}

impl fmt::Display for Subtree<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Host names only, see `dns_base`: nothing to escape.
            Self::Dns(base) => write!(f, "DNS:{base}"),
            Self::Ip(address, mask) => {
                let ones: u32 = mask.iter().map(|octet| octet.count_ones()).sum();
                write!(f, "IP:{}/{ones}", address_text(address))
            }
            Self::Directory(name) => write!(f, "DirName:{name}"),
            Self::Uri(base) => write!(f, "URI:{base}"),
            Self::Unsupported(form) => form.fmt(f),
        }
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
    use crate::x509::dn::tests::{name, tlv};

    #[test]
    fn dns_subtrees() {
        // base, name, permitted, excluded
        let cases = [
            ("example.com", "example.com", true, true),
            ("example.com", "EXAMPLE.com", true, true),
            ("example.com", "a.b.example.com", true, true),
            ("example.com", "notexample.com", false, false),
            ("example.com", "com", false, false),
            (".example.com", "a.example.com", true, true),
            (".example.com", "example.com", false, false),
            (".example.com", "notexample.com", false, false),
            ("", "anything.example", true, true),
            ("com", "example.com", true, true),
            // Wildcards.
            ("example.com", "*.example.com", true, true),
            ("b.example.com", "*.example.com", false, true),
            ("B.Example.com", "*.example.com", false, true),
            (".b.example.com", "*.example.com", false, false),
            ("c.b.example.com", "*.example.com", false, false),
            (".example.com", "*.example.com", true, true),
            ("example.org", "*.example.com", false, false),
            // One label behind the wildcard.
            ("local", "*.local", true, true),
            ("etcd.local", "*.local", false, true),
            ("org", "*.local", false, false),
        ];
        for (base, name, permitted, excluded) in cases {
            let contains = |in_doubt| {
                let name = GeneralName::Dns(name);
                let host = host(&name, &mut Budget::new()).unwrap();
                Subtree::Dns(base).contains(&name, host, in_doubt, &mut Budget::new())
            };
            assert_eq!(contains(false), Ok(permitted), "{name} in {base}");
            assert_eq!(contains(true), Ok(excluded), "{name} in {base}");
        }
    }

    #[test]
    fn malformed_names_are_refused_under_every_constraint_of_their_form() {
        for name in ["a.b", "local", "*.a.b", "*.local", "etcd_1.a"] {
            assert!(is_comparable(name), "{name}");
        }
        for name in [
            "", ".", ".a.b", "a..b", "a.b.", "*", "*.", "e*.a", "*.*.a", "::1",
        ] {
            assert!(!is_comparable(name), "{name}");
            let constraints = |permitted, excluded| NameConstraints {
                permitted,
                excluded,
            };
            let check = |constraints: NameConstraints<'_>| {
                let issuer = name_of_issuer();
                let issuer = DistinguishedName::parse(&mut Reader::new(&issuer)).unwrap();
                let subject = DistinguishedName::parse(&mut Reader::new(&[0x30, 0])).unwrap();
                let names = [GeneralName::Dns(name)];
                match constraints.check(subject, &names, issuer, &mut Budget::new()) {
                    Err(Error::NameConstraintViolated { excluded, .. }) => Some(excluded),
                    other => other.map(|()| None).unwrap(),
                }
            };
            let dns = |base| vec![Subtree::Dns(base)];
            assert_eq!(check(constraints(dns("b"), vec![])), Some(None));
            let excluded = check(constraints(vec![], dns("other.example")));
            assert_eq!(excluded, Some(Some("DNS:other.example".into())));
            let of_another_form = vec![Subtree::Unsupported(Form::URI)];
            assert_eq!(check(constraints(of_another_form, vec![])), None);
        }
    }

    fn name_of_issuer() -> Vec<u8> {
        name(&[(3, tag::UTF8_STRING, "CA")])
    }

    #[test]
    fn a_long_uri_is_charged_by_its_length_and_once_for_all_subtrees() {
        let constraints = NameConstraints {
            permitted: vec![],
            excluded: vec![Subtree::Uri("b"); 1000],
        };
        let nobody = DistinguishedName::parse(&mut Reader::new(&[0x30, 0])).unwrap();
        // Nothing in it but digits, all of which are looked at.
        let uri = format!("a://a:{}", "1".repeat(63_994));
        let names = [GeneralName::Other(Form::URI, uri.as_bytes())];
        let mut budget = Budget::new();
        let mut check = || constraints.check(nobody, &names, nobody, &mut budget);
        // 1000 comparisons and 1000 times 64 octets each, of 250,000.
        assert_eq!((0..200).take_while(|_| check().is_ok()).count(), 125);
        assert!(matches!(check(), Err(Error::BudgetExhausted { .. })));
    }

    #[test]
    fn address_subtrees() {
        let cases: &[(&[u8], &[u8], bool)] = &[
            (&[10, 1, 0, 0, 255, 255, 0, 0], &[10, 1, 2, 3], true),
            (&[10, 1, 0, 0, 255, 255, 0, 0], &[10, 2, 2, 3], false),
            (&[10, 1, 9, 9, 255, 255, 0, 0], &[10, 1, 2, 3], true),
            (&[10, 128, 0, 0, 255, 192, 0, 0], &[10, 191, 0, 0], true),
            (&[10, 128, 0, 0, 255, 192, 0, 0], &[10, 192, 0, 0], false),
            (&[0; 8], &[1, 2, 3, 4], true),
            (&[0; 8], &[0; 16], false),
            (&[0; 32], &[0; 16], true),
        ];
        for (base, octets, expected) in cases {
            let subtree = ip_base(base).unwrap();
            let name = GeneralName::Ip(octets);
            let got = subtree.contains(&name, None, true, &mut Budget::new());
            assert_eq!(got, Ok(*expected), "{subtree} {name}");
        }
        let malformed: &[&[u8]] = &[
            &[10, 0, 0, 0],
            &[0; 16],
            &[10, 0, 0, 0, 255, 0, 255, 0],
            &[10, 0, 0, 0, 255, 191, 0, 0],
            &[10, 0, 0, 0, 0, 0, 0, 1],
        ];
        for base in malformed {
            assert_eq!(ip_base(base), Err(der::Error::String), "{base:?}");
        }
    }

    #[test]
    fn what_the_extension_may_hold() {
        let list = |number: u8, bases: &[Vec<u8>]| {
            let subtrees: Vec<_> = bases.iter().map(|base| tlv(tag::SEQUENCE, base)).collect();
            tlv(tag::context_constructed(number), &subtrees.concat())
        };
        let parse = |parts: &[Vec<u8>]| {
            let bytes = tlv(tag::SEQUENCE, &parts.concat());
            NameConstraints::parse(&mut Reader::new(&bytes)).map(|constraints| {
                let texts = |list: &[Subtree<'_>]| list.iter().map(Subtree::to_string).collect();
                let lists: [Vec<String>; 2] =
                    [texts(&constraints.permitted), texts(&constraints.excluded)];
                lists.map(|texts| texts.join(" "))
            })
        };
        let dns = tlv(0x82, b".a.b");
        let ip = tlv(0x87, &[10, 0, 0, 0, 255, 0, 0, 0]);
        let directory = tlv(0xa4, &name(&[(10, tag::UTF8_STRING, "x")]));
        let both = [
            list(0, &[dns.clone(), ip]),
            list(1, &[directory, tlv(0x86, b"x")]),
        ];
        let texts = ["DNS:.a.b IP:10.0.0.0/8", "DirName:O=x URI:x"];
        assert_eq!(parse(&both), Ok(texts.map(String::from)));
        let with = |field: &[u8]| vec![list(0, &[[&dns[..], field].concat()])];
        // The minimum's default, written out.
        let expected = Ok(["DNS:.a.b", ""].map(String::from));
        assert_eq!(parse(&with(&[0x80, 1, 0])), expected);
        let both_dns = [dns.clone()];
        let cases: &[(&str, Vec<Vec<u8>>, der::Error)] = &[
            ("nothing", vec![], der::Error::Truncated),
            ("an empty list", vec![list(0, &[])], der::Error::Truncated),
            (
                "wrong order",
                vec![list(1, &both_dns), list(0, &both_dns)],
                der::Error::Trailing,
            ),
            ("minimum 1", with(&[0x80, 1, 1]), der::Error::IntegerRange),
            (
                "minimum -1",
                with(&[0x80, 1, 0xff]),
                der::Error::IntegerRange,
            ),
            (
                "minimum 256",
                with(&[0x80, 2, 1, 0]),
                der::Error::IntegerRange,
            ),
            (
                "minimum, padded",
                with(&[0x80, 2, 0, 0]),
                der::Error::IntegerRange,
            ),
            ("minimum, empty", with(&[0x80, 0]), der::Error::IntegerRange),
            (
                "minimum, twice",
                with(&[0x80, 1, 0, 0x80, 1, 0]),
                der::Error::Trailing,
            ),
            ("maximum", with(&[0x81, 1, 0]), der::Error::Trailing),
            (
                "minimum and maximum",
                with(&[0x80, 1, 0, 0x81, 1, 9]),
                der::Error::Trailing,
            ),
            (
                "minimum, explicit",
                with(&[0xa0, 3, 2, 1, 0]),
                der::Error::Trailing,
            ),
            (
                "a wildcard",
                vec![list(1, &[tlv(0x82, b"*.a.b")])],
                der::Error::String,
            ),
            (
                "a final dot",
                vec![list(1, &[tlv(0x82, b"a.b.")])],
                der::Error::String,
            ),
            (
                "a dot",
                vec![list(1, &[tlv(0x82, b".")])],
                der::Error::String,
            ),
        ];
        for (what, parts, error) in cases {
            assert_eq!(parse(parts), Err(*error), "{what}");
        }
    }
}
