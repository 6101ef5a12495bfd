//! HMAC (RFC 2104, FIPS 198-1) over the hashes of [`super::sha2`].
//!
//! Verify a tag with [`super::ct::eq`]. Time depends on lengths alone.

use super::sha2::{Digest, Hash, Hasher, digest};

/// Byte repeated to form the inner pad (RFC 2104, section 2).
const INNER_PAD: u8 = 0x36;
/// Byte repeated to form the outer pad (RFC 2104, section 2).
const OUTER_PAD: u8 = 0x5c;

/// The tag of the concatenation of `parts` under `key`.
pub(crate) fn hmac(hash: Hash, key: &[u8], parts: &[&[u8]]) -> Digest {
    let mut hmac = Hmac::new(hash, key);
    for part in parts {
        hmac.update(part);
    }
    hmac.finish()
}

/// A tag being computed. A clone made after `new` saves hashing the key again.
#[derive(Clone)]
pub(super) struct Hmac {
    inner: Hasher,
    outer: Hasher,
}

impl Hmac {
    /// Takes the key: steps 1, 2, 3, 5 and the first half of 6 of RFC 2104, section 2.
    pub(super) fn new(hash: Hash, key: &[u8]) -> Self {
        let hashed;
        let key = if key.len() > hash.block_len() {
            hashed = digest(hash, &[key]);
            hashed.as_ref()
        } else {
            key
        };
        let mut inner = Hasher::new(hash);
        let mut outer = Hasher::new(hash);
        // The key is filled up with zeros to the block length.
        let padded = key.iter().chain(std::iter::repeat(&0));
        for byte in padded.take(hash.block_len()) {
            inner.update(&[byte ^ INNER_PAD]);
            outer.update(&[byte ^ OUTER_PAD]);
        }
        Self { inner, outer }
    }

    /// Appends `data` to the message (step 3).
    pub(super) fn update(&mut self, data: &[u8]) {
        self.inner.update(data);
    }

    /// The tag (steps 4, 6 and 7).
    pub(super) fn finish(mut self) -> Digest {
        self.outer.update(self.inner.finish().as_ref());
        self.outer.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::from_hex;

    struct Case {
        key: &'static [u8],
        message: &'static [u8],
        sha256: &'static str,
        sha384: &'static str,
        sha512: &'static str,
    }

    /// RFC 4231, sections 4.2 to 4.8 without 4.6, whose tags are cut short. The keys of the
    /// last two are longer than a block of any of the hashes.
    const CASES: &[Case] = &[
        Case {
            // test case 1
            key: &[0x0b; 20],
            message: b"Hi There",
            sha256: "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            sha384: "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59c\
                 faea9ea9076ede7f4af152e8b2fa9cb6",
            sha512: "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde\
                 daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
        },
        Case {
            // test case 2
            key: b"Jefe",
            message: b"what do ya want for nothing?",
            sha256: "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            sha384: "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e\
                 8e2240ca5e69e2c78b3239ecfab21649",
            sha512: "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554\
                 9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        },
        Case {
            // test case 3
            key: &[0xaa; 20],
            message: &[0xdd; 50],
            sha256: "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
            sha384: "88062608d3e6ad8a0aa2ace014c8a86f0aa635d947ac9febe83ef4e55966144b\
                 2a5ab39dc13814b94e3ab6e101a34f27",
            sha512: "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39\
                 bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb",
        },
        Case {
            // test case 4
            key: &[
                1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23,
                24, 25,
            ],
            message: &[0xcd; 50],
            sha256: "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
            sha384: "3e8a69b7783c25851933ab6290af6ca77a9981480850009cc5577c6e1f573b4e\
                 6801dd23c4a7d679ccf8a386c674cffb",
            sha512: "b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3db\
                 a91ca5c11aa25eb4d679275cc5788063a5f19741120c4f2de2adebeb10a298dd",
        },
        Case {
            // test case 6
            key: &[0xaa; 131],
            message: b"Test Using Larger Than Block-Size Key - Hash Key First",
            sha256: "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            sha384: "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c6\
                 0c2ef6ab4030fe8296248df163f44952",
            sha512: "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352\
                 6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598",
        },
        Case {
            // test case 7
            key: &[0xaa; 131],
            message: b"This is a test using a larger than block-size key and a larger than \
              block-size data. The key needs to be hashed before being used by the \
              HMAC algorithm.",
            sha256: "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
            sha384: "6617178e941f020d351e2f254e8fd32c602420feb0b8fb9adccebb82461e99c5\
                 a678cc31e799176d3860e6110c46523e",
            sha512: "e37b6a775dc87dbaa4dfa9f96e5e3ffddebd71f8867289865df5a32d20cdc944\
                 b6022cac3c4982b10d5eeb55c3e4de15134676fb6de0446065c97440fa8c6a58",
        },
    ];

    #[test]
    fn rfc_4231() {
        for (index, case) in CASES.iter().enumerate() {
            for (hash, expected) in [
                (Hash::Sha256, case.sha256),
                (Hash::Sha384, case.sha384),
                (Hash::Sha512, case.sha512),
            ] {
                // In two pieces, which must not matter.
                let (head, tail) = case.message.split_at(case.message.len() / 2);
                assert_eq!(
                    hmac(hash, case.key, &[head, tail]).as_ref(),
                    from_hex(expected),
                    "case {index} {hash:?}"
                );
            }
        }
    }

    /// RFC 4231, section 4.6: the tag cut to 128 bits.
    #[test]
    fn rfc_4231_truncated() {
        let tag = hmac(Hash::Sha256, &[0x0c; 20], &[b"Test With Truncation"]);
        assert_eq!(
            tag.as_ref()[..16],
            from_hex("a3b6167473100ee06e0c796c2955552b")
        );
    }

    /// A key of exactly a block is used as it is; one byte more and it is hashed first.
    #[test]
    fn keys_around_the_block_length() {
        for hash in [Hash::Sha256, Hash::Sha384, Hash::Sha512] {
            let long = vec![7; hash.block_len() + 1];
            let hashed = digest(hash, &[&long]);
            assert_eq!(
                hmac(hash, &long, &[b"m"]),
                hmac(hash, hashed.as_ref(), &[b"m"])
            );
            let block = &long[..hash.block_len()];
            let hashed = digest(hash, &[block]);
            assert_ne!(
                hmac(hash, block, &[b"m"]),
                hmac(hash, hashed.as_ref(), &[b"m"])
            );
        }
    }
}
