//! RSA, PKCS #1 v1.5 and PSS: Wycheproof.

use super::Json;
use super::{flagged, ran, wycheproof};
use crate::crypto::Error;
use crate::crypto::rsa::PublicKey;
use crate::crypto::sha2::Hash;

type Verify = fn(&PublicKey, Hash, &[&[u8]], &[u8]) -> Result<(), Error>;

/// Verifies every test of a file and returns how many there are, after a check that those
/// accepted are those that `valid` says.
fn run(name: &str, verify: Verify, valid: fn(&Json) -> bool) -> Option<usize> {
    let file = wycheproof(name)?;
    let mut count = 0;
    for group in file.field("testGroups").array() {
        let key = group.field("publicKey");
        let key = PublicKey::new(
            &key.field("modulus").hex(),
            &key.field("publicExponent").hex(),
        )
        .expect("a good key");
        for test in group.field("tests").array() {
            let id = test.field("tcId").count();
            let message = test.field("msg").hex();
            let outcome = verify(&key, Hash::Sha256, &[&message], &test.field("sig").hex());
            assert_eq!(outcome.is_ok(), valid(test), "{name} {id}: {outcome:?}");
            count += 1;
        }
    }
    Some(count)
}

fn is(test: &Json, result: &str) -> bool {
    test.field("result").str() == result
}

#[test]
fn wycheproof_pkcs1() {
    let name = "rsa_signature_2048_sha256_test";
    // The one `acceptable` test has no NULL in its DigestInfo: refused like the invalid ones.
    let valid = |test: &Json| {
        assert_eq!(is(test, "acceptable"), flagged(test, "MissingNull"));
        is(test, "valid")
    };
    if let Some(count) = run(name, PublicKey::verify_pkcs1, valid) {
        ran(name, count, 259);
    }
}

#[test]
fn wycheproof_pss() {
    // The keys of the second file come with parameters, which are for X.509 to read.
    for name in [
        "rsa_pss_2048_sha256_mgf1_32_test",
        "rsa_pss_2048_sha256_mgf1_32_params_test",
    ] {
        if let Some(count) = run(name, PublicKey::verify_pss, |test| is(test, "valid")) {
            ran(name, count, 108);
        }
    }
}

#[test]
fn wycheproof_pss_without_salt() {
    let name = "rsa_pss_2048_sha256_mgf1_0_test";
    // A salt must be as long as the hash here, so what is valid in this file is refused, and of
    // its invalid tests the one whose only fault is a salt of 32 bytes is a good signature.
    let valid = |test: &Json| test.field("comment").str() == "s_len changed to 32";
    if let Some(count) = run(name, PublicKey::verify_pss, valid) {
        ran(name, count, 103);
    }
}
