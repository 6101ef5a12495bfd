//! Chains made with OpenSSL (`tests/data/x509.sh`) at a fixed time: every reason to refuse
//! one, each by its own error, and every algorithm.
#![allow(
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::panic
)]

mod accepted;
mod budget;
mod changed;

use super::sig::{verify_tls12, verify_tls13};
use super::*;
use crate::crypto;
use crate::wire::der;

/// 2026-06-01T00:00:00Z: after `leaf-expired` and one second before `leaf-not-yet`.
const NOW: UnixTime = UnixTime(1_780_272_000);

/// The DER of the certificate that stands under the line `name`.
fn fixture(name: &str) -> Vec<u8> {
    let text = include_str!("../../tests/data/x509.pem");
    let at = format!("\n{text}").find(&format!("\n{name}\n"));
    let rest = &text[at.unwrap_or_else(|| panic!("no {name}"))..];
    let end = rest.find("-----END CERTIFICATE-----").unwrap() + 25;
    pem::parse_certificates(&rest.as_bytes()[..end])
        .unwrap()
        .remove(0)
}

fn anchors(names: &[&str]) -> Anchors {
    Anchors::from_der(names.iter().copied().map(fixture).collect()).unwrap()
}

/// Verifies the named certificates under the named anchors, for a server name, at a time.
fn check_at(chain: &[&str], roots: &[&str], name: &str, now: UnixTime) -> Result<(), Error> {
    let chain: Vec<_> = chain.iter().copied().map(fixture).collect();
    let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
    verify(
        &chain,
        &anchors(roots),
        &ServerName::parse(name).unwrap(),
        now,
    )
}

fn check(chain: &[&str], roots: &[&str]) -> Result<(), Error> {
    check_at(chain, roots, "etcd.example", NOW)
}

const INTER: &str = "CN=Test Intermediate,O=Acme";
const ROOT: &str = "CN=Test Root,O=Acme";
const LEAF: &str = "CN=etcd 1";

/// A leaf with nine intermediates above it, in no order; `deep-1` is next to the root.
const DEEP: [&str; 10] = [
    "deep-leaf",
    "deep-3",
    "deep-1",
    "deep-2",
    "deep-9",
    "deep-8",
    "deep-4",
    "deep-6",
    "deep-5",
    "deep-7",
];

#[test]
fn good_chains() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["leaf", "inter"], &["root"]),
        (&["leaf-root"], &["root"]),
        // A root of version 1, and a leaf with the name and the key of its CA.
        (&["leaf-root"], &["root-v1"]),
        (&["leaf-same-key", "inter"], &["root"]),
        // The root sent along, an unrelated certificate, another order, one twice.
        (&["leaf", "inter", "root"], &["root"]),
        (&["leaf", "ed25519-root", "root", "inter"], &["root"]),
        (&["leaf", "inter", "inter", "leaf"], &["root"]),
        (&["leaf-sub", "inter", "sub"], &["root"]),
        // Another root of the same name, whose signature does not verify, tried first.
        (&["leaf", "inter"], &["root-other", "root"]),
        // Cross-signed: either way to either root, the useless one in front.
        (&["leaf", "inter-cross", "inter"], &["root"]),
        (&["leaf", "inter", "inter-cross"], &["root2"]),
        // An unusable variant of the intermediate in front of the good one.
        (
            &[
                "leaf",
                "inter-expired",
                "inter-not-ca",
                "inter-sha1",
                "inter",
            ],
            &["root"],
        ),
        // An intermediate as the anchor.
        (&["leaf"], &["inter"]),
        (&["leaf", "inter"], &["inter"]),
        // A server's own certificate as the anchor, CA or not.
        (&["self-signed"], &["self-signed"]),
        (&["self-signed-ca"], &["self-signed-ca"]),
        (&["leaf-root"], &["leaf-root"]),
        (&["leaf-any-purpose"], &["root"]),
        (&["leaf-encipherment"], &["root"]),
        (&["leaf", "inter-server"], &["root"]),
        (&["leaf", "inter-pathlen-0"], &["root"]),
        (&["leaf", "nc-permitted"], &["root"]),
        (&["leaf-acme", "nc-directory"], &["root"]),
        // Constraints of a form that no name has are without effect.
        (&["leaf", "nc-uri"], &["root"]),
        (&["leaf", "nc-email"], &["root"]),
        // An address in the subject is not used if the certificate has a subjectAltName.
        (&["leaf-email", "nc-email"], &["root"]),
        // `*.example` matches no server, but does lie in the subtree `example`.
        (&["leaf-local", "nc-example"], &["root"]),
        (&["leaf", "nc-directory-excluded"], &["root"]),
        // Self-issued certificates do not count (RFC 5280, 6.1.4 (l)).
        (
            &["leaf-self-issued", "inter-self-issued", "inter-pathlen-0"],
            &["root"],
        ),
        // Eight intermediates.
        (&DEEP, &["deep-1"]),
        (&["p384-leaf"], &["p384-root"]),
        (&["p521-leaf"], &["p521-root"]),
        (&["ed25519-leaf"], &["ed25519-root"]),
        (&["rsa-leaf"], &["rsa-root"]),
        (&["rsa-leaf-pss"], &["rsa-root"]),
        (&["pss-leaf"], &["pss-root"]),
        (&["pss512-leaf"], &["pss512-root"]),
        (&["pss-min-leaf"], &["pss-min-root"]),
    ];
    for (chain, roots) in cases {
        assert_eq!(check(chain, roots), Ok(()), "{chain:?} under {roots:?}");
    }
}

#[test]
fn bad_chains_and_their_reasons() {
    let at = |seconds| UnixTime(NOW.0 + seconds);
    let s = |text: &str| text.to_owned();
    let invalid = |subject: &str, reason| Error::Invalid {
        subject: s(subject),
        reason,
    };
    let unknown = |subject: &str, issuer: &str| {
        let issuer = s(issuer);
        invalid(
            subject,
            InvalidReason::UnknownIssuer {
                issuer,
                same_text: false,
            },
        )
    };
    let forged = |subject: &str, issuer: &str| {
        let (issuer, cause) = (s(issuer), crypto::Error::BadSignature);
        invalid(subject, InvalidReason::BadSignature { issuer, cause })
    };
    let expired = |subject: &str| {
        invalid(
            subject,
            InvalidReason::Expired {
                now: NOW,
                not_after: at(-1),
            },
        )
    };
    let not_ca = || invalid(INTER, InvalidReason::NotCa);
    let critical = |subject: &str| {
        invalid(
            subject,
            InvalidReason::UnknownCriticalExtension { oid: s("1.2.3.4") },
        )
    };
    let usage = |subject: &str, missing| invalid(subject, InvalidReason::KeyUsage { missing });
    let purpose = |subject: &str| invalid(subject, InvalidReason::ExtendedKeyUsage);
    let weak =
        |subject: &str, algorithm| invalid(subject, InvalidReason::WeakSignature { algorithm });
    let constraint = |name: &str, excluded: Option<&str>| Error::NameConstraintViolated {
        name: s(name),
        issuer: s(INTER),
        excluded: excluded.map(s),
    };
    let mismatch = |presented: &[&str]| Error::NameMismatch {
        wanted: s("etcd.example"),
        presented: presented.iter().map(|name| s(name)).collect(),
    };
    let cases: &[(&[&str], &[&str], Error)] = &[
        (&[], &["root"], Error::NoCertificate),
        // Issuers.
        (&["leaf"], &["root"], unknown(LEAF, INTER)),
        (&["leaf", "inter"], &[], unknown(INTER, ROOT)),
        (&["leaf", "inter"], &["ed25519-root"], unknown(INTER, ROOT)),
        (
            &["leaf", "inter", "root"],
            &["root2"],
            invalid(ROOT, InvalidReason::SelfSigned),
        ),
        (
            &["self-signed"],
            &["root"],
            invalid(LEAF, InvalidReason::SelfSigned),
        ),
        (&["leaf", "inter"], &["root-other"], forged(INTER, ROOT)),
        (&["leaf-root"], &["root-other"], forged(LEAF, ROOT)),
        // A leaf's key under an intermediate's name.
        (
            &["leaf-self-issued", "inter"],
            &["root"],
            forged(LEAF, INTER),
        ),
        // Validity, of each certificate in the path.
        (&["leaf-expired"], &["root"], expired(LEAF)),
        (&["leaf-expired"], &["leaf-expired"], expired(LEAF)),
        (&["leaf", "inter-expired"], &["root"], expired(INTER)),
        (&["leaf", "inter-expired"], &["root2"], expired(INTER)),
        (&["leaf"], &["inter-expired"], expired(INTER)),
        (
            &["leaf-not-yet"],
            &["root"],
            invalid(
                LEAF,
                InvalidReason::NotYetValid {
                    now: NOW,
                    not_before: at(1),
                },
            ),
        ),
        // Names.
        (&["leaf-cn-only"], &["root"], mismatch(&[])),
        (
            &["leaf-address-as-dns"],
            &["root"],
            mismatch(&["DNS:10.0.0.1"]),
        ),
        (&["leaf-cn-only"], &["leaf-cn-only"], mismatch(&[])),
        // What a certificate is for.
        (&["leaf-client"], &["root"], purpose(LEAF)),
        (&["leaf-client"], &["leaf-client"], purpose(LEAF)),
        (&["leaf", "inter-client"], &["root"], purpose(INTER)),
        (
            &["leaf-key-usage"],
            &["root"],
            usage(LEAF, "digitalSignature"),
        ),
        (
            &["leaf", "inter-key-usage"],
            &["root"],
            usage(INTER, "keyCertSign"),
        ),
        (&["leaf", "inter-not-ca"], &["root"], not_ca()),
        (&["leaf", "inter-no-basic"], &["root"], not_ca()),
        (&["leaf"], &["inter-not-ca"], not_ca()),
        (&["leaf", "inter-v1"], &["root"], not_ca()),
        (
            &["self-signed", "self-signed"],
            &["root"],
            invalid(LEAF, InvalidReason::NotCa),
        ),
        (&["leaf-critical"], &["root"], critical(LEAF)),
        (&["leaf", "inter-critical"], &["root"], critical(INTER)),
        (
            &["leaf-sub", "sub", "inter-pathlen-0"],
            &["root"],
            invalid(INTER, InvalidReason::PathLenExceeded { limit: 0 }),
        ),
        (
            &["leaf-sub", "sub"],
            &["inter-pathlen-0"],
            invalid(INTER, InvalidReason::PathLenExceeded { limit: 0 }),
        ),
        // Name constraints.
        (
            &["leaf", "nc-not-permitted"],
            &["root"],
            constraint("DNS:etcd.example", None),
        ),
        (
            &["leaf", "nc-excluded"],
            &["root"],
            constraint("DNS:*.nodes.etcd.example", Some("DNS:a.nodes.etcd.example")),
        ),
        (
            &["leaf", "nc-address"],
            &["root"],
            constraint("IP:10.0.0.1", None),
        ),
        (&["leaf"], &["nc-address"], constraint("IP:10.0.0.1", None)),
        (
            &["leaf", "nc-directory"],
            &["root"],
            constraint("DirName:CN=etcd 1", None),
        ),
        // Another case and a blank do not evade an exclusion.
        (
            &["leaf-acme", "nc-directory-excluded"],
            &["root"],
            constraint("DirName:CN=etcd 1,O=Acme", Some("DirName:O=ACME")),
        ),
        // Forms that are not compared fail closed, critical or not, wherever the name stands.
        (
            &["leaf-uri", "nc-uri"],
            &["root"],
            constraint("URI:spiffe://a/b", None),
        ),
        (
            &["leaf-sub-email", "sub-email", "nc-email"],
            &["root"],
            constraint("email:(in the subject)", None),
        ),
        // Algorithms.
        (&["leaf-sha1"], &["root"], weak(LEAF, "SHA-1 and ECDSA")),
        (
            &["leaf", "inter-sha1"],
            &["root"],
            weak(INTER, "SHA-1 and ECDSA"),
        ),
        (&["rsa-leaf-md5"], &["rsa-root"], weak(LEAF, "MD5 and RSA")),
        (
            &["rsa-leaf-pss-salt"],
            &["rsa-root"],
            invalid(
                LEAF,
                InvalidReason::PssSalt {
                    salt: 20,
                    digest: 32,
                },
            ),
        ),
        (
            &["rsa-leaf-pss-mgf"],
            &["rsa-root"],
            invalid(
                LEAF,
                InvalidReason::UnsupportedSignature {
                    oid: s("1.2.840.113549.1.1.10"),
                },
            ),
        ),
        (
            &["rsa1024-leaf"],
            &["rsa1024-root"],
            invalid(LEAF, InvalidReason::RsaKey { bits: 1024 }),
        ),
        (
            &["k1-leaf"],
            &["k1-root"],
            invalid(
                LEAF,
                InvalidReason::UnsupportedKey {
                    oid: s("1.3.132.0.10"),
                },
            ),
        ),
        // Nine intermediates.
        (&DEEP, &["root"], Error::PathTooLong),
        // The most telling of several failures, whatever the order.
        (
            &["leaf", "inter", "inter-expired"],
            &["root-other"],
            expired(INTER),
        ),
        (
            &["leaf", "inter-not-ca", "inter-expired", "inter"],
            &["root2"],
            expired(INTER),
        ),
        (
            &["leaf", "inter", "inter-not-ca"],
            &["root-other"],
            not_ca(),
        ),
    ];
    for (chain, roots, error) in cases {
        let got = check(chain, roots).unwrap_err();
        assert_eq!(got, *error, "{chain:?} under {roots:?}");
        let text = got.to_string();
        assert!(!text.is_empty() && !text.ends_with('.'), "{text}");
    }
}

#[test]
fn names_of_a_good_chain() {
    let cases = [
        ("etcd.example", true),
        ("ETCD.example.", true),
        ("a.nodes.etcd.example", true),
        ("nodes.etcd.example", false),
        ("a.b.nodes.etcd.example", false),
        ("10.0.0.1", true),
        ("10.0.0.2", false),
        ("::1", true),
        ("::2", false),
        ("etcd", false),
    ];
    for (name, expected) in cases {
        let got = check_at(&["leaf", "inter"], &["root"], name, NOW);
        assert_eq!(got.is_ok(), expected, "{name}: {got:?}");
    }
}

#[test]
fn validity_is_inclusive() {
    let (start, end) = (1_767_225_600, 2_082_758_400);
    for (now, valid) in [
        (start - 1, false),
        (start, true),
        (end, true),
        (end + 1, false),
    ] {
        let got = check_at(&["leaf", "inter"], &["root"], "etcd.example", UnixTime(now));
        assert_eq!(got.is_ok(), valid, "{}: {got:?}", UnixTime(now));
    }
}

#[test]
fn what_a_report_shows() {
    let der = fixture("leaf-acme");
    let certificate = Certificate::parse(&der).unwrap();
    assert_eq!(certificate.subject(), "CN=etcd 1,O=Acme");
    assert_eq!(certificate.issuer(), INTER);
    let sans = [
        "DNS:etcd.example",
        "DNS:*.nodes.etcd.example",
        "IP:10.0.0.1",
        "IP:::1",
    ];
    assert_eq!(certificate.sans(), sans);
    assert_eq!(certificate.not_before().to_string(), "2026-01-01T00:00:00Z");
    assert_eq!(certificate.not_after().to_string(), "2036-01-01T00:00:00Z");
    assert_eq!(certificate.der(), der);
    let error = check_at(&["leaf"], &["root"], "other.example", NOW).unwrap_err();
    assert_eq!(
        error.to_string(),
        "certificate is for DNS:etcd.example, DNS:*.nodes.etcd.example, IP:10.0.0.1, IP:::1, not for \
         other.example"
    );
    // Of many names the first eight.
    let error = check(&["leaf-many"], &["root"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "certificate is for DNS:1.example, DNS:2.example, DNS:3.example, DNS:4.example, \
         DNS:5.example, DNS:6.example, DNS:7.example, DNS:8.example, and 2 more, not for etcd.example"
    );
}

#[test]
fn anchors_are_numbered_and_unusable_intermediates_named() {
    let broken = Error::Malformed {
        what: "its structure",
        cause: der::Error::Truncated,
    };
    let mut cut = fixture("root");
    cut.pop();
    let given = vec![fixture("root"), cut.clone()];
    assert_eq!(Anchors::from_der(given).unwrap_err(), (1, broken.clone()));
    assert_eq!(anchors(&["root", "inter"]).len(), 2);

    let (leaf, inter) = (fixture("leaf"), fixture("inter"));
    let name = ServerName::parse("etcd.example").unwrap();
    let roots = anchors(&["root"]);
    let given: [&[u8]; 3] = [&leaf, &cut, &inter];
    assert_eq!(verify(&given, &roots, &name, NOW), Ok(()));
    let error = Error::Presented {
        position: 2,
        error: Box::new(broken),
    };
    assert_eq!(verify(&given[..2], &roots, &name, NOW), Err(error));
    let many = [leaf.as_slice(); 129];
    let exhausted = verify(&many, &roots, &name, NOW).unwrap_err();
    assert!(matches!(exhausted, Error::BudgetExhausted { .. }));
}

#[test]
fn schemes_fit_keys_and_versions() {
    // Each key and the schemes it may be used with in TLS 1.3, and further ones in 1.2.
    let cases: &[(&str, &[&str], &[&str])] = &[
        (
            "leaf",
            &["ecdsa_secp256r1_sha256"],
            &["ecdsa_secp384r1_sha384", "ecdsa_secp521r1_sha512"],
        ),
        (
            "p384-leaf",
            &["ecdsa_secp384r1_sha384"],
            &["ecdsa_secp256r1_sha256", "ecdsa_secp521r1_sha512"],
        ),
        (
            "p521-leaf",
            &["ecdsa_secp521r1_sha512"],
            &["ecdsa_secp256r1_sha256", "ecdsa_secp384r1_sha384"],
        ),
        ("ed25519-leaf", &["ed25519"], &[]),
        (
            "rsa-leaf",
            &[
                "rsa_pss_rsae_sha256",
                "rsa_pss_rsae_sha384",
                "rsa_pss_rsae_sha512",
            ],
            &["rsa_pkcs1_sha256", "rsa_pkcs1_sha384", "rsa_pkcs1_sha512"],
        ),
        (
            "pss-leaf",
            &[
                "rsa_pss_pss_sha256",
                "rsa_pss_pss_sha384",
                "rsa_pss_pss_sha512",
            ],
            &[],
        ),
        // The parameters of the key allow one hash.
        ("pss512-leaf", &["rsa_pss_pss_sha512"], &[]),
    ];
    for (name, tls13, only_tls12) in cases {
        let der = fixture(name);
        let certificate = Certificate::parse(&der).unwrap();
        for scheme in SignatureScheme::ALL {
            let scheme_name = scheme.to_string();
            let fits = |result: Result<(), Error>| match result {
                Err(Error::BadHandshakeSignature { .. }) => true,
                Err(Error::SchemeMismatch { .. }) => false,
                other => panic!("{name} {scheme}: {other:?}"),
            };
            let in_13 = fits(verify_tls13(scheme, &certificate, &[b"m"], b"s"));
            let in_12 = fits(verify_tls12(scheme, &certificate, &[b"m"], b"s"));
            assert_eq!(
                in_13,
                tls13.contains(&&*scheme_name),
                "{name} {scheme} in TLS 1.3"
            );
            let expected = tls13.contains(&&*scheme_name) || only_tls12.contains(&&*scheme_name);
            assert_eq!(in_12, expected, "{name} {scheme} in TLS 1.2");
        }
    }
}

#[test]
fn scheme_codes() {
    for scheme in SignatureScheme::ALL {
        assert_eq!(SignatureScheme::from_code(scheme.code()), Some(scheme));
    }
    // rsa_pkcs1_sha1, ecdsa_sha1, ed448
    for code in [0x0201, 0x0203, 0x0808, 0] {
        assert_eq!(SignatureScheme::from_code(code), None);
    }
    let name = SignatureScheme::from_code(0x080a).map(|scheme| scheme.to_string());
    assert_eq!(name.as_deref(), Some("rsa_pss_pss_sha384"));
}
