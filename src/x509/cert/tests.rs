//! Certificates built field by field: what the parser takes, what it refuses and why.
#![allow(
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::panic
)]

use super::*;
use crate::x509::dn::tests::name;

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let contents = parts.concat();
    let length = match contents.len() {
        short @ 0..=127 => vec![short as u8],
        long @ 128..=255 => vec![0x81, long as u8],
        long => vec![0x82, (long >> 8) as u8, long as u8],
    };
    [&[tag], &length[..], &contents].concat()
}

/// The fields of a certificate, each encoded; a test replaces some.
#[derive(Clone)]
struct Fields {
    version: Vec<u8>,
    serial: Vec<u8>,
    outer_algorithm: Vec<u8>,
    issuer: Vec<u8>,
    subject: Vec<u8>,
    unique: Vec<u8>,
    extensions: Vec<Vec<u8>>,
    trailing: Vec<u8>,
}

const ED25519: &[u8] = &[0x30, 5, 0x06, 3, 0x2b, 0x65, 0x70];

fn good() -> Fields {
    Fields {
        version: vec![0xa0, 3, 2, 1, 2],
        serial: vec![2, 1, 1],
        outer_algorithm: ED25519.to_vec(),
        issuer: name(&[(3, tag::UTF8_STRING, "CA")]),
        subject: name(&[]),
        unique: vec![],
        extensions: vec![],
        trailing: vec![],
    }
}

/// 2.5.29.`arc`
fn extension(arc: u8, critical: &[u8], value: &[u8]) -> Vec<u8> {
    let oid = [0x06, 3, 0x55, 0x1d, arc];
    tlv(
        tag::SEQUENCE,
        &[&oid, critical, &tlv(tag::OCTET_STRING, &[value])],
    )
}

const CRITICAL: &[u8] = &[1, 1, 0xff];

impl Fields {
    fn encode(&self) -> Vec<u8> {
        let time = tlv(tag::UTC_TIME, &[b"260101000000Z"]);
        let key = tlv(
            tag::SEQUENCE,
            &[ED25519, &tlv(tag::BIT_STRING, &[&[0; 33]])],
        );
        let extensions = match self.extensions.concat() {
            none if none.is_empty() => vec![],
            list => tlv(0xa3, &[&tlv(tag::SEQUENCE, &[&list])]),
        };
        let tbs = [
            &self.version[..],
            &self.serial,
            ED25519,
            &self.issuer,
            &tlv(tag::SEQUENCE, &[&time, &time]),
            &self.subject,
            &key,
            &self.unique,
            &extensions,
            &self.trailing,
        ];
        let signature = [tag::BIT_STRING, 1, 0];
        tlv(
            tag::SEQUENCE,
            &[&tlv(tag::SEQUENCE, &tbs), &self.outer_algorithm, &signature],
        )
    }

    fn parse(&self) -> Result<(), Error> {
        Certificate::parse(&self.encode()).map(|_| ())
    }
}

#[test]
fn fields() {
    use der::Error::{Trailing, Truncated, UnexpectedTag};
    let malformed = |what, cause| Err(Error::Malformed { what, cause });
    let not_conforming = |what| Err(Error::NotConforming(what));
    let long_serial = [&[2, 21][..], &[1; 21]].concat();
    let high_serial = [&[2, 21, 0][..], &[0xff; 20]].concat();
    type Change = Box<dyn Fn(&mut Fields)>;
    let cases: Vec<(&str, Change, Result<(), Error>)> = vec![
        ("nothing", Box::new(|_| {}), Ok(())),
        ("v1", Box::new(|f| f.version.clear()), Ok(())),
        ("v1 spelt out", Box::new(|f| f.version[4] = 0), Ok(())),
        ("v2", Box::new(|f| f.version[4] = 1), Ok(())),
        (
            "v4",
            Box::new(|f| f.version[4] = 3),
            not_conforming("of an unknown version"),
        ),
        (
            "v1 with extensions",
            Box::new(|f| {
                f.version.clear();
                f.trailing = vec![0xa3, 2, 0x30, 0];
            }),
            not_conforming("extensions but not of version 3"),
        ),
        ("serial 0", Box::new(|f| f.serial[2] = 0), Ok(())),
        (
            "20 octets",
            Box::new(move |f| f.serial = high_serial.clone()),
            Ok(()),
        ),
        (
            "21 octets",
            Box::new(move |f| f.serial = long_serial.clone()),
            not_conforming("serial number too long"),
        ),
        (
            "negative serial",
            Box::new(|f| f.serial[2] = 0xff),
            malformed("serial number", der::Error::IntegerRange),
        ),
        (
            "other algorithm outside",
            Box::new(|f| f.outer_algorithm[6] = 0x71),
            not_conforming("two different signature algorithms"),
        ),
        (
            "empty issuer",
            Box::new(|f| f.issuer = name(&[])),
            not_conforming("empty issuer"),
        ),
        (
            "unique identifiers",
            Box::new(|f| f.unique = vec![0x81, 1, 0, 0x82, 1, 0]),
            Ok(()),
        ),
        (
            "in the wrong order",
            Box::new(|f| f.unique = vec![0x82, 1, 0, 0x81, 1, 0]),
            malformed("its signed part", Trailing),
        ),
        (
            "something after the extensions",
            Box::new(|f| f.trailing = vec![5, 0]),
            malformed("its signed part", Trailing),
        ),
        (
            "no extension in the list",
            Box::new(|f| f.trailing = vec![0xa3, 2, 0x30, 0]),
            malformed("extensions", Truncated),
        ),
        (
            "no list",
            Box::new(|f| f.trailing = vec![0xa3, 2, 5, 0]),
            malformed(
                "extensions",
                UnexpectedTag {
                    expected: 0x30,
                    found: 5,
                },
            ),
        ),
    ];
    for (what, change, expected) in cases {
        let mut fields = good();
        change(&mut fields);
        assert_eq!(fields.parse(), expected, "{what}");
    }
    let mut trailing = good().encode();
    trailing.push(0);
    let error = malformed("its structure", Trailing);
    assert_eq!(Certificate::parse(&trailing).map(|_| ()), error);
}

#[test]
fn extensions() {
    use der::Error::{BitString, Boolean, IntegerRange, Trailing, Truncated};
    let malformed = |what, cause| Err(Error::Malformed { what, cause });
    let not_conforming = |what| Err(Error::NotConforming(what));
    let constraints = [0x30, 8, 0xa0, 6, 0x30, 4, 0x82, 2, b'a', b'b'];
    let ca = extension(19, CRITICAL, &[0x30, 3, 1, 1, 0xff]);
    type Case = (&'static str, Vec<Vec<u8>>, Result<(), Error>);
    let cases: Vec<Case> = vec![
        (
            "key usage",
            vec![extension(15, CRITICAL, &[3, 2, 1, 6])],
            Ok(()),
        ),
        (
            "key usage with padding",
            vec![extension(15, &[], &[3, 2, 1, 7])],
            malformed("keyUsage", BitString),
        ),
        ("no CA", vec![extension(19, &[], &[0x30, 0])], Ok(())),
        (
            "cA FALSE spelt out",
            vec![extension(19, &[], &[0x30, 3, 1, 1, 0])],
            Ok(()),
        ),
        (
            "cA neither",
            vec![extension(19, &[], &[0x30, 3, 1, 1, 1])],
            malformed("basicConstraints", Boolean),
        ),
        (
            "negative path length",
            vec![extension(19, &[], &[0x30, 6, 1, 1, 0xff, 2, 1, 0xff])],
            malformed("basicConstraints", IntegerRange),
        ),
        (
            "something after the path length",
            vec![extension(19, &[], &[0x30, 8, 1, 1, 0xff, 2, 1, 0, 5, 0])],
            malformed("basicConstraints", Trailing),
        ),
        (
            "CA without subject",
            vec![ca.clone()],
            not_conforming("CA with an empty subject"),
        ),
        (
            "constraints but no CA",
            vec![extension(30, CRITICAL, &constraints)],
            not_conforming("name constraints but no CA"),
        ),
        (
            "no alternative name",
            vec![extension(17, &[], &[0x30, 0])],
            malformed("subjectAltName", Truncated),
        ),
        (
            "no purpose",
            vec![extension(37, &[], &[0x30, 0])],
            malformed("extendedKeyUsage", Truncated),
        ),
        (
            "one twice",
            vec![
                extension(19, &[], &[0x30, 0]),
                extension(19, &[], &[0x30, 0]),
            ],
            not_conforming("an extension twice"),
        ),
        (
            "an unknown one twice",
            vec![
                extension(99, &[], &[]),
                extension(98, &[], &[]),
                extension(99, &[], &[]),
            ],
            not_conforming("an extension twice"),
        ),
        (
            "critical neither",
            vec![extension(99, &[1, 1, 1], &[])],
            malformed("extensions", Boolean),
        ),
    ];
    for (what, extensions, expected) in cases {
        let fields = Fields {
            extensions,
            ..good()
        };
        assert_eq!(fields.parse(), expected, "{what}");
    }
    // Critical or not: known, without effect, unknown.
    for (arc, critical, unknown) in [
        (32, CRITICAL, None),
        (99, &[], None),
        (99, &[1, 1, 0], None),
        (99, CRITICAL, Some("2.5.29.99")),
        (36, CRITICAL, Some("2.5.29.36")),
        (35, CRITICAL, Some("2.5.29.35")),
    ] {
        let extensions = vec![extension(arc, critical, &[0x30, 0])];
        let der = Fields {
            extensions,
            ..good()
        }
        .encode();
        let certificate = Certificate::parse(&der).unwrap();
        let oid = certificate.unknown_critical().map(|oid| oid.to_string());
        assert_eq!(oid.as_deref(), unknown, "{arc}");
    }
}
