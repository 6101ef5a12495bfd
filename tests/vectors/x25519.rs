//! X25519: Wycheproof. `acceptable` are unusual points (on the twist, of small order, not
//! canonical), for which RFC 7748 defines the result all the same.

use super::{flagged, ran, wycheproof};
use crate::crypto::Error;
use crate::crypto::x25519::{shared_secret, x25519};

#[test]
fn wycheproof_x25519() {
    let Some(file) = wycheproof("x25519_test") else {
        return;
    };
    let mut count = 0;
    let mut refused = 0;
    for group in file.field("testGroups").array() {
        for test in group.field("tests").array() {
            let id = test.field("tcId").count();
            let field = |name| -> [u8; 32] { test.field(name).hex().try_into().unwrap() };
            let (private, public, shared) = (field("private"), field("public"), field("shared"));
            assert_eq!(x25519(&private, &public), shared, "test {id}");
            let outcome = shared_secret(&private, &public);
            if flagged(test, "ZeroSharedSecret") {
                assert_eq!(outcome, Err(Error::WeakSharedSecret), "test {id}");
                refused += 1;
            } else {
                assert_eq!(outcome, Ok(shared), "test {id}");
            }
            count += 1;
        }
    }
    ran("x25519_test", count, 518);
    ran("x25519_test, zero secrets refused", refused, 31);
}
