//! What a chain may cost: the operator's own authorities are all tried, and a hostile chain ends.

use std::time::Instant;

use super::*;
use crate::wire::der::tag;
use crate::x509::cert::tests::{CRITICAL, Fields, extension, good, tlv};
use crate::x509::dn::tests::name;

/// A server's certificate for `etcd.example`, issued by `CN=CA`.
fn leaf() -> Fields {
    Fields {
        subject: name(&[(3, tag::UTF8_STRING, "etcd 1")]),
        extensions: vec![extension(17, &[], b"\x30\x0e\x82\x0cetcd.example")],
        ..good()
    }
}

/// The self-signed `CN=CA`, the `number`th with this key.
fn ca(key: &[u8], number: usize) -> Fields {
    Fields {
        serial: tlv(tag::INTEGER, &[&(number as u32 | 1 << 24).to_be_bytes()]),
        subject: good().issuer,
        key: key.to_vec(),
        extensions: vec![extension(19, CRITICAL, &[0x30, 3, 1, 1, 0xff])],
        ..good()
    }
}

/// An authority of the same name that has issued nothing: its key is another.
fn other_ca(number: usize) -> Fields {
    ca(&key_of("root-other"), number)
}

/// The contents of the public key in a certificate of the fixtures.
fn key_of(name: &str) -> Vec<u8> {
    let der = fixture(name);
    let spki = Certificate::parse(&der).unwrap().spki;
    let header = if spki[1] < 0x80 { 2 } else { 3 };
    spki[header..].to_vec()
}

/// An RSA key of an odd modulus that begins like this, and with the largest exponent.
fn rsa_key(first: &[u8], others: usize) -> Vec<u8> {
    let numbers = [
        tlv(tag::INTEGER, &[first, &vec![0xb7; others]]),
        tlv(tag::INTEGER, &[&[1, 0xff, 0xff, 0xff, 0xff]]),
    ];
    let key = tlv(tag::SEQUENCE, &[&numbers.concat()]);
    let identifier = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
    [&identifier[..], &tlv(tag::BIT_STRING, &[&[0], &key])].concat()
}

fn under(anchors: &[Fields], chain: &[Vec<u8>]) -> Result<(), Error> {
    let anchors = anchors.iter().map(Fields::encode).collect();
    let anchors = Anchors::from_der(anchors).unwrap();
    let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
    verify(
        &chain,
        &anchors,
        &ServerName::parse("etcd.example").unwrap(),
        NOW,
    )
}

#[test]
fn two_hundred_authorities_of_one_name() {
    let key = good().key;
    let others = |count| (0..count).map(other_ca);
    // Without key identifiers every one is tried, and more than can be is said to be too many.
    let anchors: Vec<_> = others(199).chain([ca(&key, 199)]).collect();
    assert_eq!(under(&anchors, &[leaf().encode()]), Ok(()));
    let refused = under(&others(230).collect::<Vec<_>>(), &[leaf().encode()]).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "chain takes too much work: too many authorities have the issuer's name to try them all"
    );
    // With them the right one is the first, of as many as there may be.
    let identified = |mut ca: Fields, id: u8| {
        ca.extensions.push(extension(14, &[], &[4, 1, id]));
        ca
    };
    let mut leaf = leaf();
    leaf.extensions
        .push(extension(35, &[], &[0x30, 3, 0x80, 1, 7]));
    let unlike = || others(600).map(|ca| identified(ca, 6));
    let anchors: Vec<_> = unlike().chain([identified(ca(&key, 600), 7)]).collect();
    assert_eq!(under(&anchors, &[leaf.encode()]), Ok(()));
    // One without comes before those that have another.
    let anchors: Vec<_> = unlike().chain([ca(&key, 600)]).collect();
    assert_eq!(under(&anchors, &[leaf.encode()]), Ok(()));
    // They are a hint: neither one that misleads nor a malformed one keeps the right one from it.
    let misleading = [identified(other_ca(0), 7), identified(ca(&key, 1), 8)];
    assert_eq!(under(&misleading, &[leaf.encode()]), Ok(()));
    for value in [
        &b""[..],
        b"\x05\x00",
        b"\x30\x01\x80",
        b"\x30\x00",
        b"\x04\x05\x00",
    ] {
        let (mut leaf, mut ca) = (self::leaf(), ca(&key, 0));
        leaf.extensions.push(extension(35, &[], value));
        ca.extensions.push(extension(14, &[], value));
        assert_eq!(under(&[ca], &[leaf.encode()]), Ok(()), "{value:02x?}");
    }
    // Nor does the right one prove anything by itself.
    let forged = under(&[identified(other_ca(0), 7)], &[leaf.encode()]);
    assert!(
        matches!(
            forged,
            Err(Error::Invalid {
                reason: InvalidReason::BadSignature { .. },
                ..
            })
        ),
        "{forged:?}"
    );
}

#[test]
fn hostile_chains_are_too_expensive() {
    // sha512WithRSAEncryption and ecdsa-with-SHA512, with bytes that are not signatures.
    let rsa = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d\x05\x00";
    let ecdsa = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04";
    let signed = |octets: usize| (&rsa[..], vec![0x5a; octets]);
    let p521 = tlv(tag::INTEGER, &[&[0x5a; 65]]);
    let p521 = (&ecdsa[..], tlv(tag::SEQUENCE, &[&p521, &p521]));
    let p256 = tlv(tag::INTEGER, &[&[0x5a; 32]]);
    let p256 = (&ecdsa[..], tlv(tag::SEQUENCE, &[&p256, &p256]));
    // The key of the authorities, how many they are, the signatures, and how large certificates are.
    let cases = [
        ("P-256", key_of("root-other"), 200, p256.clone(), 0),
        ("P-256, large", key_of("root-other"), 200, p256, 60_000),
        ("P-521", key_of("p521-root"), 100, p521, 0),
        ("RSA-8192", rsa_key(&[0, 0xff], 1023), 100, signed(1024), 0),
        ("RSA-4104", rsa_key(&[0x7f], 512), 100, signed(513), 0),
        ("RSA-4104, one", rsa_key(&[0x7f], 512), 1, signed(513), 0),
    ];
    for (what, key, count, (algorithm, signature), size) in cases {
        let anchors: Vec<_> = (0..count).map(|number| ca(&key, number)).collect();
        let mut leaf = leaf();
        leaf.subject = leaf.issuer.clone();
        let presented: Vec<_> = std::iter::once(leaf)
            .chain((1..128).map(|number| ca(&key_of("leaf"), 1000 + number)))
            .map(|mut fields| {
                (fields.algorithm, fields.outer_algorithm) = (algorithm.into(), algorithm.into());
                fields.extensions.push(extension(99, &[], &vec![0; size]));
                fields.signature = Some(signature.clone());
                fields.encode()
            })
            .collect();
        let started = Instant::now();
        let refused = under(&anchors, &presented);
        let took = started.elapsed();
        let reason = refused.unwrap_err().to_string();
        let expected = match count {
            1 => "too expensive to verify",
            _ => "too many authorities",
        };
        assert!(reason.contains(expected), "{what}: {reason}");
        // To measure what the budget allows: `cargo test --release --lib budget`.
        eprintln!("{what}: {took:?}");
    }
}

#[test]
fn certificates_that_issue_each_other_in_every_order() {
    let crossed = |count: usize| {
        let others = (0..count).map(|number| {
            let mut key = key_of("leaf");
            *key.last_mut().unwrap() = number as u8;
            ca(&key, number).encode()
        });
        let chain: Vec<_> = std::iter::once(leaf().encode()).chain(others).collect();
        under(&[], &chain).unwrap_err().to_string()
    };
    // Of four there are 64 paths, of seven some 13,000.
    assert_eq!(
        crossed(4),
        "certificate of CN=CA: signed by itself and not trusted"
    );
    assert_eq!(
        crossed(7),
        "chain takes too much work: too many possible issuers"
    );
}
