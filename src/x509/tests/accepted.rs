//! What is accepted because other verifiers accept it and it is harmless, and similar things that stay refused.
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
        matches!(
            refused,
            Err(Error::Invalid {
                reason: InvalidReason::UnsupportedSignature { .. },
                ..
            })
        ),
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
    // The issuer of an anchor does not matter.
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
        (31, b"\x30\x00", true),
        (31, b"", false),
        (31, b"\x30\x02\x05\x00", false),
        (31, b"\x30\x00\x30\x00", false),
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
    // Name constraints in a certificate that is not a CA, even against its own names.
    let excluded = tlv(0xa1, &[&tlv(tag::SEQUENCE, &[b"\x82\x07example"])]);
    let constraints = constrained(&excluded).extensions.pop().unwrap();
    let mut own = leaf();
    own.extensions.push(constraints);
    assert!(is_accepted(&[&own], &ca()));
    assert!(is_accepted(&[&own], &own));
    assert!(!is_accepted(&[&leaf()], &constrained(&excluded)));
    // A path cannot reach a limit beyond 32 bits; a negative one is malformed.
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

/// One subtree with this base, in a list of these: 0xa0 is permitted, 0xa1 excluded.
fn subtree(list: u8, base: &[u8]) -> Vec<u8> {
    tlv(list, &[&tlv(tag::SEQUENCE, &[base])])
}

#[test]
fn uris_under_constraints() {
    // The URI, the constraint, and whether it is accepted where that is permitted and excluded.
    let cases = [
        ("spiffe://example.com/etcd", "example.com", true, false),
        ("spiffe://EXAMPLE.com/etcd", "Example.COM", true, false),
        ("https://example.com:2379", "example.com", true, false),
        ("https://example.com?x", "example.com", true, false),
        ("https://example.com#x", "example.com", true, false),
        ("spiffe://a.example.com/etcd", ".example.com", true, false),
        ("spiffe://a.b.example.com", ".example.com", true, false),
        ("spiffe://example.com/etcd", ".example.com", false, true),
        // Below a host: Go takes it in, RFC 5280 does not.
        ("spiffe://a.example.com/etcd", "example.com", false, false),
        ("spiffe://notexample.com", "example.com", false, true),
        ("spiffe://notexample.com", ".example.com", false, true),
        ("spiffe://example.com.evil.org", "example.com", false, true),
        ("spiffe://evil.org/example.com", "example.com", false, true),
        ("spiffe://evil.org?example.com", "example.com", false, true),
        ("spiffe://example.com", "", false, false),
        // No host to compare, or one that is not plain.
        ("spiffe://10.0.0.1/etcd", "example.com", false, false),
        ("spiffe://[::1]/etcd", "example.com", false, false),
        ("urn:uuid:f81d4fae", "example.com", false, false),
        ("spiffe:///etcd", "example.com", false, false),
        ("example.com", "example.com", false, false),
        ("//example.com", "example.com", false, false),
        ("urn:x://example.com", "example.com", false, false),
        ("spiffe://example.com@evil.org", "example.com", false, false),
        ("spiffe://evil.org@example.com", "example.com", false, false),
        (
            "spiffe://example.com:1@evil.org",
            "example.com",
            false,
            false,
        ),
        (
            "spiffe://evil.org\\example.com",
            "example.com",
            false,
            false,
        ),
        ("spiffe://example.com.", "example.com", false, false),
        ("spiffe://example.com", "https://example.com", false, false),
        ("spiffe://example.com", "*.com", false, false),
    ];
    for (uri, base, permitted, excluded) in cases {
        let mut leaf = leaf();
        let uri = tlv(0x86, &[uri.as_bytes()]);
        leaf.extensions = vec![names(&[b"\x82\x0cetcd.example", &uri])];
        let base = tlv(0x86, &[base.as_bytes()]);
        for (list, accepted) in [(0xa0, permitted), (0xa1, excluded)] {
            let got = verified(
                &[&leaf],
                &constrained(&subtree(list, &base)),
                "etcd.example",
            );
            assert_eq!(got.is_ok(), accepted, "{uri:?} {base:?} {list:#x}: {got:?}");
        }
        // Constraints of another form do not concern it, and none of it the leaf's DNS name.
        let other = subtree(0xa0, b"\x82\x07example");
        assert!(is_accepted(&[&leaf], &constrained(&other)));
        assert!(is_accepted(
            &[&self::leaf()],
            &constrained(&subtree(0xa0, &base))
        ));
    }
    // E-mail addresses are not compared, and the reason says that.
    let mut leaf = leaf();
    leaf.extensions = vec![names(&[b"\x82\x0cetcd.example", b"\x81\x0ba@b.example"])];
    for (list, reason) in [
        (0xa0, "in no permitted subtree that it can be compared with"),
        (0xa1, "excluded by rfc822Name, or not comparable with it"),
    ] {
        let ca = constrained(&subtree(list, b"\x81\x0ba@b.example"));
        let refused = verified(&[&leaf], &ca, "etcd.example").unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("email:a@b.example breaks a name constraint of CN=CA: {reason}")
        );
    }
}

#[test]
fn ipv4_written_as_ipv6() {
    let mapped = |last: &[u8]| tlv(0x87, &[&[0; 10], &[0xff; 2], last]);
    let mut leaf = leaf();
    leaf.extensions = vec![names(&[&mapped(&[10, 0, 0, 1])])];
    let verified = |ca: &Fields, name: &str| verified(&[&leaf], ca, name);
    for (name, accepted) in [
        ("10.0.0.1", true),
        ("::ffff:10.0.0.1", true),
        ("10.0.0.2", false),
        ("::10.0.0.1", false),
    ] {
        assert_eq!(verified(&ca(), name).is_ok(), accepted, "{name}");
    }
    let v4 = |list, address: [u8; 4], ones: u32| {
        let mask = (!0u32 << (32 - ones)).to_be_bytes();
        subtree(list, &tlv(0x87, &[&address, &mask]))
    };
    let v6 = |list, address: [u8; 16], ones: u32| {
        let mask = u128::MAX.checked_shl(128 - ones).unwrap_or(0).to_be_bytes();
        subtree(list, &tlv(0x87, &[&address, &mask]))
    };
    let ten = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 0];
    let (permitted, excluded) = (0xa0, 0xa1);
    let both = tlv(
        permitted,
        &[
            &v4(permitted, [10, 0, 0, 0], 8)[2..],
            &v6(permitted, ten, 104)[2..],
        ],
    );
    for (what, constraints, accepted) in [
        ("excluded", v4(excluded, [10, 0, 0, 0], 8), false),
        ("excluded as IPv6", v6(excluded, ten, 104), false),
        ("excluded with all of IPv6", v6(excluded, [0; 16], 0), false),
        ("another excluded", v4(excluded, [11, 0, 0, 0], 8), true),
        ("another permitted", v4(permitted, [11, 0, 0, 0], 8), false),
        (
            "permitted with all of IPv6",
            v6(permitted, [0; 16], 0),
            false,
        ),
        ("permitted as IPv4", v4(permitted, [10, 0, 0, 0], 8), false),
        ("permitted as both", both, true),
    ] {
        let got = verified(&constrained(&constraints), "10.0.0.1");
        assert_eq!(got.is_ok(), accepted, "{what}: {got:?}");
    }
    // Four octets, and a subtree that is written as IPv6.
    let mut plain = self::leaf();
    plain.extensions = vec![names(&[b"\x87\x04\x0a\x00\x00\x01"])];
    for (constraints, accepted) in [
        (v6(excluded, ten, 104), false),
        (v6(excluded, [0; 16], 0), true),
        (v6(permitted, ten, 104), false),
        (v4(permitted, [10, 0, 0, 0], 8), true),
    ] {
        let got = self::verified(&[&plain], &constrained(&constraints), "10.0.0.1");
        assert_eq!(got.is_ok(), accepted, "{constraints:02x?}: {got:?}");
    }
}
