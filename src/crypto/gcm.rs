//! AES-GCM with 96-bit nonces and 128-bit tags (NIST SP 800-38D).
//!
//! GHASH multiplies bit by bit as the standard defines it, with masks where the usual
//! implementation has tables: slower, and the same time for every key and text. The few
//! kilobytes of a handshake do not need more.

use super::Error;
use super::aes::{Aes, BLOCK, PARALLEL};
use super::ct;

/// Bytes in a tag.
const TAG: usize = 16;

/// AES-GCM under one key.
pub(super) struct Gcm {
    aes: Aes,
    /// The hash subkey H, the encryption of the zero block (section 7.1, step 1).
    subkey: u128,
}

impl Gcm {
    /// Takes a key of 16 or 32 bytes.
    pub(super) fn new(key: &[u8]) -> Result<Self, Error> {
        let aes = Aes::new(key)?;
        let mut blocks = [0; PARALLEL * BLOCK];
        aes.encrypt(&mut blocks);
        Ok(Self {
            aes,
            subkey: first_block(&blocks),
        })
    }

    /// Encrypts `data` in place and returns the tag (GCM-AE, section 7.1).
    pub(super) fn seal(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8]) -> [u8; TAG] {
        let mask = self.counter_mode(nonce, data);
        self.tag(mask, aad, data)
    }

    /// Checks the tag, then decrypts `data` in place (GCM-AD, section 7.2). On an error
    /// `data` is as it was.
    pub(super) fn open(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        data: &mut [u8],
        tag: &[u8],
    ) -> Result<(), Error> {
        // Steps 6 to 8 before 4: nothing is decrypted that is not authentic.
        let mask = self.counter_mode(nonce, &mut []);
        if !ct::eq(&self.tag(mask, aad, data), tag) {
            return Err(Error::BadTag);
        }
        self.counter_mode(nonce, data);
        Ok(())
    }

    /// GCTR from inc32(J0) over `data` (section 6.5), J0 being the nonce and a counter of
    /// one (section 7.1, step 2). Returns the encryption of J0 itself, which masks the tag.
    ///
    /// The counter has 32 bits: `data` must stay below 2^36 - 32 bytes (section 5.2.1.1),
    /// which the records of TLS do by far.
    fn counter_mode(&self, nonce: &[u8; 12], data: &mut [u8]) -> u128 {
        let mut counter = 1u32;
        let mut next_blocks = || {
            let mut blocks = [0; PARALLEL * BLOCK];
            for block in blocks.chunks_exact_mut(BLOCK) {
                block[..12].copy_from_slice(nonce);
                block[12..].copy_from_slice(&counter.to_be_bytes());
                counter = counter.wrapping_add(1);
            }
            self.aes.encrypt(&mut blocks);
            blocks
        };

        let first = next_blocks();
        // The first block of key stream is not for the data.
        let (head, tail) = data.split_at_mut(data.len().min(first.len() - BLOCK));
        xor(head, &first[BLOCK..]);
        for chunk in tail.chunks_mut(PARALLEL * BLOCK) {
            xor(chunk, &next_blocks());
        }
        first_block(&first)
    }

    /// The tag of `aad` and the ciphertext: GHASH of both, each filled up with zeros to
    /// whole blocks, and of their lengths in bits, under `mask` (section 7.1, steps 4 to 6).
    fn tag(&self, mask: u128, aad: &[u8], ciphertext: &[u8]) -> [u8; TAG] {
        let mut hash = 0;
        for part in [aad, ciphertext] {
            for chunk in part.chunks(BLOCK) {
                let mut block = [0; BLOCK];
                block[..chunk.len()].copy_from_slice(chunk);
                hash = multiply(hash ^ u128::from_be_bytes(block), self.subkey);
            }
        }
        let bits = |bytes: &[u8]| (bytes.len() as u128) << 3;
        hash = multiply(hash ^ (bits(aad) << 64 | bits(ciphertext)), self.subkey);
        (hash ^ mask).to_be_bytes()
    }
}

fn first_block(blocks: &[u8; PARALLEL * BLOCK]) -> u128 {
    let mut block = [0; BLOCK];
    block.copy_from_slice(&blocks[..BLOCK]);
    u128::from_be_bytes(block)
}

fn xor(data: &mut [u8], key_stream: &[u8]) {
    for (byte, key) in data.iter_mut().zip(key_stream) {
        *byte ^= key;
    }
}

/// The product of two blocks (section 6.3, algorithm 1). The leftmost bit of a block is its
/// bit 0, so that "times x" is a shift to the right.
fn multiply(mut x: u128, y: u128) -> u128 {
    /// R: 1 + x + x^2 + x^7, what x^128 is reduced to.
    const R: u128 = 0xe1 << 120;
    let mut z = 0;
    let mut v = y;
    for _ in 0..128 {
        z ^= v & all_ones_if(x >> 127);
        v = (v >> 1) ^ (R & all_ones_if(v));
        x <<= 1;
    }
    z
}

/// All ones if the lowest bit is one, else zero, without a branch.
fn all_ones_if(bit: u128) -> u128 {
    (bit & 1).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::from_hex;

    struct Case {
        key: &'static str,
        nonce: &'static str,
        aad: &'static str,
        plaintext: &'static str,
        ciphertext: &'static str,
        tag: &'static str,
    }

    /// Test cases 1 to 4 and 13 to 16 of the GCM specification submitted to NIST, those of
    /// AES-128 and AES-256 with 96-bit nonces.
    const CASES: &[Case] = &[
        Case {
            key: "00000000000000000000000000000000",
            nonce: "000000000000000000000000",
            aad: "",
            plaintext: "",
            ciphertext: "",
            tag: "58e2fccefa7e3061367f1d57a4e7455a",
        },
        Case {
            key: "00000000000000000000000000000000",
            nonce: "000000000000000000000000",
            aad: "",
            plaintext: "00000000000000000000000000000000",
            ciphertext: "0388dace60b6a392f328c2b971b2fe78",
            tag: "ab6e47d42cec13bdf53a67b21257bddf",
        },
        Case {
            key: "feffe9928665731c6d6a8f9467308308",
            nonce: "cafebabefacedbaddecaf888",
            aad: "",
            plaintext: "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
             1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
            ciphertext: "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e\
             21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985",
            tag: "4d5c2af327cd64a62cf35abd2ba6fab4",
        },
        Case {
            key: "feffe9928665731c6d6a8f9467308308",
            nonce: "cafebabefacedbaddecaf888",
            aad: "feedfacedeadbeeffeedfacedeadbeefabaddad2",
            plaintext: "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
             1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
            ciphertext: "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e\
             21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
            tag: "5bc94fbc3221a5db94fae95ae7121a47",
        },
        Case {
            key: "0000000000000000000000000000000000000000000000000000000000000000",
            nonce: "000000000000000000000000",
            aad: "",
            plaintext: "",
            ciphertext: "",
            tag: "530f8afbc74536b9a963b4f1c4cb738b",
        },
        Case {
            key: "0000000000000000000000000000000000000000000000000000000000000000",
            nonce: "000000000000000000000000",
            aad: "",
            plaintext: "00000000000000000000000000000000",
            ciphertext: "cea7403d4d606b6e074ec5d3baf39d18",
            tag: "d0d1c8a799996bf0265b98b5d48ab919",
        },
        Case {
            key: "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
            nonce: "cafebabefacedbaddecaf888",
            aad: "",
            plaintext: "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
             1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
            ciphertext: "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
             8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad",
            tag: "b094dac5d93471bdec1a502270e3cc6c",
        },
        Case {
            key: "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
            nonce: "cafebabefacedbaddecaf888",
            aad: "feedfacedeadbeeffeedfacedeadbeefabaddad2",
            plaintext: "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
             1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
            ciphertext: "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
             8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
            tag: "76fc6ece0f4e1768cddf8853bb2d551b",
        },
    ];

    #[test]
    fn known_answers() {
        for (index, case) in CASES.iter().enumerate() {
            let gcm = Gcm::new(&from_hex(case.key)).unwrap();
            let nonce = from_hex(case.nonce).try_into().unwrap();
            let aad = from_hex(case.aad);
            let mut data = from_hex(case.plaintext);
            let tag = gcm.seal(&nonce, &aad, &mut data);
            assert_eq!(data, from_hex(case.ciphertext), "case {index}");
            assert_eq!(tag[..], from_hex(case.tag), "case {index}");
            assert_eq!(
                gcm.open(&nonce, &aad, &mut data, &tag),
                Ok(()),
                "case {index}"
            );
            assert_eq!(data, from_hex(case.plaintext), "case {index}");
        }
    }

    /// Products in the field: x^0 (the leftmost bit) is one, x^127 times x is R, and they
    /// commute.
    #[test]
    fn field() {
        const ONE: u128 = 1 << 127;
        let a = 0x0123_4567_89ab_cdef_0f1e_2d3c_4b5a_6978;
        let b = 0xfeed_face_cafe_beef_dead_c0de_0bad_f00d;
        assert_eq!(multiply(a, ONE), a);
        assert_eq!(multiply(ONE, a), a);
        assert_eq!(multiply(1, ONE >> 1), 0xe1 << 120);
        assert_eq!(multiply(a, b), multiply(b, a));
        assert_eq!(multiply(a, b ^ ONE), multiply(a, b) ^ a);
    }

    /// The counter runs through groups of four blocks, the first of which gives one block to
    /// the tag: the ciphertext of a prefix is the prefix of the ciphertext at every length.
    #[test]
    fn every_length() {
        let gcm = Gcm::new(&[3; 32]).unwrap();
        let mut longest = vec![0; 300];
        gcm.seal(&[9; 12], &[], &mut longest);
        for length in 0..longest.len() {
            let mut data = vec![0; length];
            gcm.seal(&[9; 12], &[], &mut data);
            assert_eq!(data, longest[..length]);
        }
    }
}
