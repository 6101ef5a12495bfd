//! Certificates built field by field: what the parser takes, what it refuses and why.
#![allow(
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::panic
)]

use super::*;
use crate::crypto::sha2::{Hash, digest};
use crate::x509::dn::tests::name;

pub(crate) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
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
pub(crate) struct Fields {
    pub(crate) version: Vec<u8>,
    pub(crate) serial: Vec<u8>,
    pub(crate) algorithm: Vec<u8>,
    pub(crate) outer_algorithm: Vec<u8>,
    pub(crate) issuer: Vec<u8>,
    pub(crate) validity: Vec<u8>,
    pub(crate) subject: Vec<u8>,
    /// The AlgorithmIdentifier and the BIT STRING of the public key.
    pub(crate) key: Vec<u8>,
    pub(crate) unique: Vec<u8>,
    pub(crate) extensions: Vec<Vec<u8>>,
    pub(crate) trailing: Vec<u8>,
    /// In place of a valid one.
    pub(crate) signature: Option<Vec<u8>>,
}

/// ecdsa-with-SHA256.
pub(crate) const ECDSA: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";

/// The x-coordinate of the base point of P-256, and the order of that (FIPS 186-5, SP 800-186).
const BASE_X: [u8; 32] = [
    0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2,
    0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96,
];
const BASE_Y: [u8; 32] = [
    0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16,
    0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5,
];
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// A certificate for any subject, issued by `CN=CA`, which has the same key: the base point of P-256.
pub(crate) fn good() -> Fields {
    let p256 =
        b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
    let time = tlv(tag::UTC_TIME, &[b"260101000000Z"]);
    let later = tlv(tag::UTC_TIME, &[b"360101000000Z"]);
    Fields {
        version: vec![0xa0, 3, 2, 1, 2],
        serial: vec![2, 1, 1],
        algorithm: ECDSA.to_vec(),
        outer_algorithm: ECDSA.to_vec(),
        issuer: name(&[(3, tag::UTF8_STRING, "CA")]),
        validity: tlv(tag::SEQUENCE, &[&time, &later]),
        subject: name(&[]),
        key: [
            &p256[..],
            &tlv(tag::BIT_STRING, &[b"\0\x04", &BASE_X, &BASE_Y]),
        ]
        .concat(),
        unique: vec![],
        extensions: vec![],
        trailing: vec![],
        signature: None,
    }
}

/// An ECDSA signature with SHA-256 by the private key 1, whose public one is the base point, and
/// with the nonce 1: r is the base point's x-coordinate, and s = hash + r (FIPS 186-5, 6.4.1).
fn sign(message: &[u8]) -> Vec<u8> {
    let hash = digest(Hash::Sha256, &[message]);
    // Big-endian sum and difference, with an octet in front for the carry.
    let sum = |a: &[u8], b: &[u8], sign: i32| {
        let (mut out, mut carry) = ([0; 33], 0);
        for at in (0..33usize).rev() {
            let octet = |x: &[u8]| {
                at.checked_sub(33 - x.len())
                    .map_or(0, |at| i32::from(x[at]))
            };
            let value = octet(a) + sign * octet(b) + carry;
            (out[at], carry) = (value.rem_euclid(256) as u8, value.div_euclid(256));
        }
        out
    };
    let mut s = sum(hash.as_ref(), &BASE_X, 1);
    while s[0] != 0 || s[1..] >= ORDER[..] {
        s = sum(&s, &ORDER, -1);
    }
    let zeros = s.iter().take_while(|octet| **octet == 0).count();
    let s = &s[zeros - usize::from(s[zeros] >= 0x80)..];
    let integers = [tlv(tag::INTEGER, &[&BASE_X]), tlv(tag::INTEGER, &[s])];
    tlv(tag::SEQUENCE, &[&integers.concat()])
}

/// 2.5.29.`arc`
pub(crate) fn extension(arc: u8, critical: &[u8], value: &[u8]) -> Vec<u8> {
    let oid = [0x06, 3, 0x55, 0x1d, arc];
    tlv(
        tag::SEQUENCE,
        &[&oid, critical, &tlv(tag::OCTET_STRING, &[value])],
    )
}

pub(crate) const CRITICAL: &[u8] = &[1, 1, 0xff];

impl Fields {
    /// The certificate, signed by `CN=CA`.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let extensions = match self.extensions.concat() {
            none if none.is_empty() => vec![],
            list => tlv(0xa3, &[&tlv(tag::SEQUENCE, &[&list])]),
        };
        let tbs = [
            &self.version[..],
            &self.serial,
            &self.algorithm,
            &self.issuer,
            &self.validity,
            &self.subject,
            &tlv(tag::SEQUENCE, &[&self.key]),
            &self.unique,
            &extensions,
            &self.trailing,
        ];
        let tbs = tlv(tag::SEQUENCE, &tbs);
        let signature = self.signature.clone().unwrap_or_else(|| sign(&tbs));
        let signature = tlv(tag::BIT_STRING, &[&[0], &signature]);
        tlv(tag::SEQUENCE, &[&tbs, &self.outer_algorithm, &signature])
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
    let long_serial = tlv(tag::INTEGER, &[&[1; 200]]);
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
            "200 octets",
            Box::new(move |f| f.serial = long_serial.clone()),
            Ok(()),
        ),
        (
            "padded serial",
            Box::new(|f| f.serial = vec![2, 2, 0, 1]),
            malformed("serial number", der::Error::Integer),
        ),
        (
            "no serial",
            Box::new(|f| f.serial = vec![2, 0]),
            malformed("serial number", der::Error::Integer),
        ),
        (
            "negative serial",
            Box::new(|f| f.serial[2] = 0xff),
            malformed("serial number", der::Error::IntegerRange),
        ),
        (
            "other algorithm outside",
            Box::new(|f| f.outer_algorithm[11] = 3),
            not_conforming("two different signature algorithms"),
        ),
        (
            "empty issuer",
            Box::new(|f| f.issuer = name(&[])),
            Ok(()), // of use where no path is needed
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
            Ok(()), // it may be a server's own, but issue nothing
        ),
        (
            "constraints but no CA",
            vec![extension(30, CRITICAL, &constraints)],
            Ok(()), // it constrains no name
        ),
        (
            "malformed constraints but no CA",
            vec![extension(30, CRITICAL, &constraints[..8])],
            malformed("nameConstraints", Truncated),
        ),
        (
            "longest path length",
            vec![extension(
                19,
                &[],
                &[0x30, 13, 1, 1, 0xff, 2, 8, 1, 0, 0, 0, 0, 0, 0, 0],
            )],
            Ok(()),
        ),
        (
            "path length beyond 64 bits",
            vec![extension(
                19,
                &[],
                &[0x30, 14, 1, 1, 0xff, 2, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0],
            )],
            malformed("basicConstraints", IntegerRange),
        ),
        (
            "critical distribution points, none",
            vec![extension(31, CRITICAL, &[])],
            malformed("cRLDistributionPoints", Truncated),
        ),
        (
            "critical distribution points, something else",
            vec![extension(31, CRITICAL, &[0x30, 2, 5, 0])],
            malformed(
                "cRLDistributionPoints",
                der::Error::UnexpectedTag {
                    expected: 0x30,
                    found: 5,
                },
            ),
        ),
        (
            "malformed distribution points, not critical",
            vec![extension(31, &[], &[5, 0])],
            Ok(()),
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
        (31, CRITICAL, None),
        (46, CRITICAL, Some("2.5.29.46")),
        (36, CRITICAL, Some("2.5.29.36")),
        (35, CRITICAL, Some("2.5.29.35")),
        (14, CRITICAL, Some("2.5.29.14")),
        (33, CRITICAL, Some("2.5.29.33")),
        (54, CRITICAL, Some("2.5.29.54")),
    ] {
        let extensions = vec![extension(arc, critical, &[0x30, 2, 0x30, 0])];
        let der = Fields {
            extensions,
            ..good()
        }
        .encode();
        let certificate = Certificate::parse(&der).unwrap();
        let oid = certificate
            .extensions
            .unknown_critical
            .map(|oid| oid.to_string());
        assert_eq!(oid.as_deref(), unknown, "{arc}");
    }
}
