//! HKDF: Wycheproof. Invalid are the tests that ask for more than 255 blocks.

use super::{ran, wycheproof};
use crate::crypto::Error;
use crate::crypto::hkdf::{expand, extract};
use crate::crypto::sha2::Hash;

#[test]
fn wycheproof_hkdf() {
    for (name, hash, expected) in [
        ("hkdf_sha256_test", Hash::Sha256, 86),
        ("hkdf_sha384_test", Hash::Sha384, 83),
    ] {
        let Some(file) = wycheproof(name) else { return };
        let mut count = 0;
        for group in file.field("testGroups").array() {
            for test in group.field("tests").array() {
                let id = test.field("tcId").count();
                let prk = extract(hash, &test.field("salt").hex(), &test.field("ikm").hex());
                let mut okm = vec![0; test.field("size").count()];
                let outcome = expand(hash, prk.as_ref(), &[&test.field("info").hex()], &mut okm);
                match test.field("result").str() {
                    "valid" => {
                        assert_eq!(outcome, Ok(()), "{name} {id}");
                        assert_eq!(okm, test.field("okm").hex(), "{name} {id}");
                    }
                    "invalid" => assert_eq!(outcome, Err(Error::BadLength), "{name} {id}"),
                    result => panic!("{name} {id}: {result}"),
                }
                count += 1;
            }
        }
        ran(name, count, expected);
    }
}
