//! Ed25519: Wycheproof.

use super::{ran, wycheproof};
use crate::crypto::ed25519::verify;

#[test]
fn wycheproof_ed25519() {
    let Some(file) = wycheproof("ed25519_test") else {
        return;
    };
    let mut count = 0;
    for group in file.field("testGroups").array() {
        let public = group.field("publicKey").field("pk").hex();
        for test in group.field("tests").array() {
            let id = test.field("tcId").count();
            let outcome = verify(
                &public,
                &[&test.field("msg").hex()],
                &test.field("sig").hex(),
            );
            let valid = match test.field("result").str() {
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
