//! Ed25519: Wycheproof.

use super::{ran, wycheproof};
use crate::crypto::ed25519::verify;

#[test]
fn wycheproof_ed25519() {
    let Some(file) = wycheproof("ed25519_test") else {
        return;
    };
    let mut count = 0;
    for group in file.get("testGroups").array() {
        let public = group.get("publicKey").get("pk").hex();
        for test in group.get("tests").array() {
            let id = test.get("tcId").count();
            let outcome = verify(&public, &[&test.get("msg").hex()], &test.get("sig").hex());
            let valid = match test.get("result").str() {
                "valid" => true,
                "invalid" => false,
                result => panic!("test {id}: {result}"),
            };
            assert_eq!(outcome.is_ok(), valid, "test {id}: {outcome:?}");
            count += 1;
        }
    }
    ran("ed25519_test", count, 151);
}
