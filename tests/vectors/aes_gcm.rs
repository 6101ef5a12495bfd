//! AES-GCM: Wycheproof, the groups with the sizes that TLS has.

use super::{ran, wycheproof};
use crate::crypto::Error;
use crate::crypto::aead::{Aead, AeadAlgorithm};

#[test]
fn wycheproof_aes_gcm() {
    let Some(file) = wycheproof("aes_gcm_test") else {
        return;
    };
    let mut count = 0;
    for group in file.field("testGroups").array() {
        let algorithm = match group.field("keySize").count() {
            128 => AeadAlgorithm::Aes128Gcm,
            256 => AeadAlgorithm::Aes256Gcm,
            _ => continue,
        };
        if group.field("ivSize").count() != 96 || group.field("tagSize").count() != 128 {
            continue;
        }
        for test in group.field("tests").array() {
            let id = test.field("tcId").count();
            let aead = Aead::new(algorithm, &test.field("key").hex()).unwrap();
            let nonce = test.field("iv").hex().try_into().unwrap();
            let (aad, message) = (test.field("aad").hex(), test.field("msg").hex());
            let sealed = [test.field("ct").hex(), test.field("tag").hex()].concat();

            let mut data = sealed.clone();
            let opened = aead.open(&nonce, &aad, &mut data);
            match test.field("result").str() {
                "valid" => {
                    assert_eq!(opened, Ok(()), "test {id}");
                    assert_eq!(data, message, "test {id}");
                    aead.seal(&nonce, &aad, &mut data);
                    assert_eq!(data, sealed, "test {id}");
                }
                "invalid" => {
                    assert_eq!(opened, Err(Error::BadTag), "test {id}");
                    assert_eq!(data, sealed, "test {id}");
                }
                result => panic!("test {id}: {result}"),
            }
            count += 1;
        }
    }
    ran("aes_gcm_test", count, 133);
}
