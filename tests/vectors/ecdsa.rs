//! ECDSA: Wycheproof.

use super::{ran, wycheproof};
use crate::crypto::ecdsa::verify;
use crate::crypto::sha2::Hash;
use crate::crypto::weierstrass::Curve;

#[test]
fn wycheproof_ecdsa() {
    let name = "ecdsa_secp256r1_sha256_test";
    let Some(file) = wycheproof(name) else { return };
    let (mut count, mut accepted) = (0, 0);
    for group in file.field("testGroups").array() {
        let public = group.field("publicKey").field("uncompressed").hex();
        for test in group.field("tests").array() {
            let id = test.field("tcId").count();
            let message = test.field("msg").hex();
            let signature = test.field("sig").hex();
            let outcome = verify(Curve::P256, Hash::Sha256, &public, &[&message], &signature);
            let valid = match test.field("result").str() {
                "valid" => true,
                "invalid" => false,
                result => panic!("test {id}: {result}"),
            };
            assert_eq!(outcome.is_ok(), valid, "test {id}: {outcome:?}");
            accepted += usize::from(valid);
            count += 1;
        }
    }
    assert_eq!(accepted, 174);
    ran(name, count, 484);
}
