//! SHA-2: the NIST CAVP response files, byte-oriented.

use super::{ran, vectors};
use crate::crypto::from_hex;
use crate::crypto::sha2::{Hash, digest};

#[test]
fn nist_cavp() {
    for (name, hash, expected) in [
        ("SHA256ShortMsg", Hash::Sha256, 65),
        ("SHA256LongMsg", Hash::Sha256, 64),
        ("SHA384ShortMsg", Hash::Sha384, 129),
        ("SHA512ShortMsg", Hash::Sha512, 129),
    ] {
        let Some(text) = vectors(&format!("nist-cavp/{name}.rsp")) else {
            return;
        };
        let mut count = 0;
        let mut bits = 0;
        let mut message = Vec::new();
        for line in text.lines() {
            match line.split_once(" = ") {
                Some(("Len", value)) => bits = value.parse().unwrap(),
                Some(("Msg", value)) => message = from_hex(value),
                Some(("MD", value)) => {
                    // The empty message is written as one byte of zero.
                    if bits == 0 {
                        assert_eq!(message, [0], "{name}");
                        message.clear();
                    }
                    assert_eq!(message.len() * 8, bits, "{name}");
                    assert_eq!(
                        digest(hash, &[&message]).as_ref(),
                        from_hex(value),
                        "{name} {bits}"
                    );
                    count += 1;
                }
                Some(("[L", value)) => assert_eq!(value, format!("{}]", hash.output_len())),
                _ => assert!(line.is_empty() || line.starts_with('#'), "{name}: {line}"),
            }
        }
        ran(name, count, expected);
    }
}
