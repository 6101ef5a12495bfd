//! What other verifiers take because it harms nobody, and what stands next to it and stays refused.
//! The certificates are made here, field by field, and signed (`cert::tests`).

use super::*;
use crate::wire::der::tag;
use crate::x509::cert::tests::{CRITICAL, ECDSA, Fields, extension, good, tlv};
use crate::x509::dn::tests::name;

const CA: u8 = 19;
const CONSTRAINTS: u8 = 30;

/// A server's certificate for `etcd.example`, issued by `CN=CA`.
fn leaf() -> Fields {
    Fields {
        subject: name(&[(3, tag::UTF8_STRING, "etcd 1")]),
        extensions: vec![names(&[b"\x82\x0cetcd.example"])],
        ..good()
    }
}

/// The self-signed `CN=CA`.
fn ca() -> Fields {
    Fields {
        subject: good().issuer,
        extensions: vec![extension(CA, CRITICAL, &[0x30, 3, 1, 1, 0xff])],
        ..good()
    }
}

/// A subjectAltName.
fn names(names: &[&[u8]]) -> Vec<u8> {
    extension(17, &[], &tlv(tag::SEQUENCE, names))
}

/// `CN=CA` with these name constraints, each list with its tag.
fn constrained(lists: &[u8]) -> Fields {
    let mut ca = ca();
    let value = tlv(tag::SEQUENCE, &[lists]);
    ca.extensions.push(extension(CONSTRAINTS, CRITICAL, &value));
    ca
}

/// Verifies what a server presents under one anchor, which is first taken as one.
fn verified(chain: &[&Fields], anchor: &Fields, name: &str) -> Result<(), Error> {
    let chain: Vec<_> = chain.iter().map(|fields| fields.encode()).collect();
    let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
    let anchors = Anchors::from_der(vec![anchor.encode()]).map_err(|(_, error)| error)?;
    verify(&chain, &anchors, &ServerName::parse(name).unwrap(), NOW)
}

fn is_accepted(chain: &[&Fields], anchor: &Fields) -> bool {
    verified(chain, anchor, "etcd.example").is_ok()
}

#[test]
fn a_minimum_of_zero_may_be_written_out() {
    let permitted = |rest: &[u8]| {
        let base = [b"\x82\x07example", rest].concat();
        constrained(&tlv(0xa0, &[&tlv(tag::SEQUENCE, &[&base])]))
    };
    for (rest, accepted) in [
        (&b""[..], true),
        (b"\x80\x01\x00", true),
        (b"\x80\x01\x01", false),
        (b"\x80\x01\xff", false),
        (b"\x81\x01\x00", false),
        (b"\x80\x01\x00\x81\x01\x05", false),
    ] {
        assert_eq!(
            is_accepted(&[&leaf()], &permitted(rest)),
            accepted,
            "{rest:02x?}"
        );
        // In an intermediate certificate, too.
        let mut root = ca();
        (root.subject, root.issuer) = (leaf().subject, leaf().subject);
        let mut inter = permitted(rest);
        inter.issuer = root.subject.clone();
        assert_eq!(
            is_accepted(&[&leaf(), &inter], &root),
            accepted,
            "{rest:02x?}"
        );
    }
    // It permits no more than it says.
    let mut other = leaf();
    other.extensions = vec![names(&[b"\x82\x0cetcd.example", b"\x82\x03a.b"])];
    assert!(!is_accepted(&[&other], &permitted(b"\x80\x01\x00")));
}

#[test]
fn parameters_that_say_nothing() {
    let with = |inner: &[u8], outer: &[u8]| {
        let identifier = |parameters| tlv(tag::SEQUENCE, &[&ECDSA[2..], parameters]);
        let mut leaf = leaf();
        (leaf.algorithm, leaf.outer_algorithm) = (identifier(inner), identifier(outer));
        leaf
    };
    for (inner, outer, accepted) in [
        (&b""[..], &b""[..], true),
        (b"\x05\x00", b"\x05\x00", true),
        // Both are the same, octet by octet.
        (b"\x05\x00", b"", false),
        (b"", b"\x05\x00", false),
        (b"\x05\x01\x00", b"\x05\x01\x00", false),
        (b"\x05\x00\x05\x00", b"\x05\x00\x05\x00", false),
        (b"\x30\x00", b"\x30\x00", false),
        (b"\x02\x01\x00", b"\x02\x01\x00", false),
    ] {
        let leaf = with(inner, outer);
        assert_eq!(
            is_accepted(&[&leaf], &ca()),
            accepted,
            "{inner:02x?} {outer:02x?}"
        );
    }
    // Ed25519: RFC 8410, section 3; no other verifier takes them, either.
    let ed25519 = b"\x06\x03\x2b\x65\x70\x05\x00";
    let mut leaf = leaf();
    leaf.algorithm = tlv(tag::SEQUENCE, &[ed25519]);
    leaf.outer_algorithm = leaf.algorithm.clone();
    let refused = verified(&[&leaf], &ca(), "etcd.example");
    assert!(
        matches!(refused, Err(Error::UnsupportedSignature { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_pinned_certificate_needs_no_issuer() {
    // Self-signed and without any name but the alternative ones, as cert-manager makes them.
    let mut pinned = leaf();
    (pinned.subject, pinned.issuer) = (name(&[]), name(&[]));
    assert_eq!(verified(&[&pinned], &pinned, "etcd.example"), Ok(()));
    assert!(verified(&[&pinned], &pinned, "other.example").is_err());
    assert_eq!(verified(&[&pinned, &ca()], &pinned, "etcd.example"), Ok(()));
    // A CA, as `openssl req -x509` makes it.
    let mut pinned_ca = pinned.clone();
    pinned_ca
        .extensions
        .push(extension(CA, CRITICAL, &[0x30, 3, 1, 1, 0xff]));
    assert_eq!(verified(&[&pinned_ca], &pinned_ca, "etcd.example"), Ok(()));
    // Not the one that is pinned: the same names and the same key.
    let mut altered = pinned.clone();
    altered.serial = vec![2, 1, 2];
    for anchor in [&pinned, &pinned_ca] {
        assert!(!is_accepted(&[&altered], anchor));
        assert!(!is_accepted(&[&altered, anchor], anchor));
        assert!(!is_accepted(&[anchor, anchor], &ca()));
    }
    // A CA without a name has issued it.
    let mut nameless = ca();
    (nameless.subject, nameless.issuer) = (name(&[]), name(&[]));
    let mut issued = leaf();
    issued.issuer = name(&[]);
    let refused = Err(Error::NotConforming("CA with an empty subject"));
    assert_eq!(verified(&[&issued], &nameless, "etcd.example"), refused);
    // It is as little good as an intermediate one.
    nameless.issuer = ca().subject;
    assert_eq!(
        verified(&[&issued, &nameless], &ca(), "etcd.example"),
        refused
    );
    // Where the anchor comes from, nobody asks.
    let mut without_issuer = ca();
    without_issuer.issuer = name(&[]);
    assert!(is_accepted(&[&leaf()], &without_issuer));
}

#[test]
fn fields_that_nobody_uses() {
    let long = tlv(tag::INTEGER, &[&[0x7f; 40]]);
    let high = tlv(tag::INTEGER, &[&[0], &[0xff; 20]]);
    for (serial, accepted) in [
        (&b"\x02\x01\x00"[..], true),
        (&long, true),
        (&high, true),
        (b"\x02\x01\xff", false),
        (b"\x02\x00", false),
        (b"\x02\x02\x00\x01", false),
        (b"\x04\x01\x01", false),
    ] {
        let serial = serial.to_vec();
        let leaf = Fields {
            serial: serial.clone(),
            ..leaf()
        };
        assert_eq!(is_accepted(&[&leaf], &ca()), accepted, "{serial:02x?}");
        let anchor = Fields {
            serial: serial.clone(),
            ..ca()
        };
        assert_eq!(
            is_accepted(&[&self::leaf()], &anchor),
            accepted,
            "{serial:02x?}"
        );
    }
    // Revocation is not checked; of other extensions that are critical nothing is known.
    for (arc, value, accepted) in [
        (31, &b"\x30\x02\x30\x00"[..], true),
        (31, b"\x30\x00", false),
        (31, b"", false),
        (46, b"\x30\x02\x30\x00", false),
        (36, b"\x30\x03\x80\x01\x00", false),
    ] {
        let mut leaf = leaf();
        leaf.extensions.push(extension(arc, CRITICAL, value));
        assert_eq!(is_accepted(&[&leaf], &ca()), accepted, "{arc} {value:02x?}");
        let mut ca = ca();
        ca.extensions.push(extension(arc, CRITICAL, value));
        assert_eq!(
            is_accepted(&[&self::leaf()], &ca),
            accepted,
            "{arc} {value:02x?}"
        );
    }
    // Name constraints in a certificate that is no CA, even against its own names.
    let excluded = tlv(0xa1, &[&tlv(tag::SEQUENCE, &[b"\x82\x07example"])]);
    let constraints = constrained(&excluded).extensions.pop().unwrap();
    let mut own = leaf();
    own.extensions.push(constraints);
    assert!(is_accepted(&[&own], &ca()));
    assert!(is_accepted(&[&own], &own));
    assert!(!is_accepted(&[&leaf()], &constrained(&excluded)));
    // A limit beyond 32 bits is none that a path could reach; a negative one is malformed.
    for (limit, accepted) in [
        (&b"\x02\x01\x00"[..], true),
        (b"\x02\x06\x01\x00\x00\x00\x00\x00", true),
        (b"\x02\x01\xff", false),
        (b"\x02\x09\x01\x00\x00\x00\x00\x00\x00\x00\x00", false),
    ] {
        let value = tlv(tag::SEQUENCE, &[b"\x01\x01\xff", limit]);
        let extensions = vec![extension(CA, CRITICAL, &value)];
        let ca = Fields { extensions, ..ca() };
        assert_eq!(is_accepted(&[&leaf()], &ca), accepted, "{limit:02x?}");
    }
}
