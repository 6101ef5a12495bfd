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
