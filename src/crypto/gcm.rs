//! AES-GCM with 96-bit nonces and 128-bit tags (NIST SP 800-38D): the key stream and the tag, from
//! which [`super::aead`] composes GCM-AE and GCM-AD (sections 7.1 and 7.2).
//!
//! The usual GHASH reads tables at secret indices, which the cache reveals. This one multiplies
//! polynomials by multiplying integers, an idea of T. Pornin's BearSSL ("Constant-Time
//! Crypto"), and so takes the same time for every key and text where a multiplication takes the
//! same time for all numbers (see [`super`]).

use super::Error;
use super::aes::{Aes, BLOCK, PARALLEL};
use super::ct;

/// AES-GCM under one key.
pub(super) struct Gcm {
    aes: Aes,
    /// Powers of the hash subkey H, the encryption of the zero block (section 7.1, step 1): from
    /// H^4 to H.
    powers: [Factor; PARALLEL],
}

impl Gcm {
    /// Takes a key of 16 or 32 bytes.
    pub(super) fn new(key: &[u8]) -> Result<Self, Error> {
        let aes = Aes::new(key)?;
        let mut blocks = [0; PARALLEL * BLOCK];
        aes.encrypt(&mut blocks);
        let subkey = block(&blocks[..BLOCK]);
        let mut power = 1 << 127; // one
        let mut powers = [subkey; PARALLEL].map(|subkey| {
            power = sum_of_products(&[power], &[Factor::new(subkey)]);
            Factor::new(power)
        });
        powers.reverse();
        Ok(Self { aes, powers })
    }

    /// GCTR from inc32(J0) over `data` (section 6.5), J0 being the nonce and a counter of one
    /// (section 7.1, step 2).
    ///
    /// The counter has 32 bits: `data` must stay below 2^36 - 32 bytes (section 5.2.1.1),
    /// which the records of TLS do by far.
    pub(super) fn apply_key_stream(&self, nonce: &[u8; 12], data: &mut [u8]) {
        let mut counter = 2;
        for chunk in data.chunks_mut(PARALLEL * BLOCK) {
            for (byte, key) in chunk.iter_mut().zip(self.key_stream(nonce, counter)) {
                *byte ^= key;
            }
            counter += PARALLEL as u32;
        }
    }

    /// The encryption of the nonce followed by this counter, and by the three after it.
    fn key_stream(&self, nonce: &[u8; 12], counter: u32) -> [u8; PARALLEL * BLOCK] {
        let mut blocks = [0; PARALLEL * BLOCK];
        for (block, counter) in blocks.chunks_exact_mut(BLOCK).zip(counter..) {
            block[..12].copy_from_slice(nonce);
            block[12..].copy_from_slice(&counter.to_be_bytes());
        }
        self.aes.encrypt(&mut blocks);
        blocks
    }

    /// The tag of `aad` and the ciphertext: GHASH of both, each filled up with zeros to
    /// whole blocks, and of their lengths in bits, encrypted (section 7.1, steps 4 to 6).
    ///
    /// GHASH is taken four blocks at a time: ((((y + a) H + b) H + c) H + d) H is
    /// (y + a) H^4 + b H^3 + c H^2 + d H, a sum that is reduced once.
    pub(super) fn tag(&self, nonce: &[u8; 12], aad: &[u8], ciphertext: &[u8]) -> [u8; BLOCK] {
        let bits = |bytes: &[u8]| (bytes.len() as u128) << 3;
        let lengths = (bits(aad) << 64 | bits(ciphertext)).to_be_bytes();
        let mut hash = 0;
        for part in [aad, ciphertext, &lengths] {
            for group in part.chunks(PARALLEL * BLOCK) {
                let mut blocks = [0; PARALLEL];
                let count = group.len().div_ceil(BLOCK);
                for (number, bytes) in blocks.iter_mut().zip(group.chunks(BLOCK)) {
                    *number = block(bytes);
                }
                blocks[0] ^= hash;
                hash = sum_of_products(&blocks[..count], &self.powers[PARALLEL - count..]);
            }
        }
        (hash ^ block(&self.key_stream(nonce, 1)[..BLOCK])).to_be_bytes()
    }
}

/// Up to 16 bytes as a block, zeros following.
fn block(bytes: &[u8]) -> u128 {
    let mut block = [0; BLOCK];
    block[..bytes.len()].copy_from_slice(bytes);
    u128::from_be_bytes(block)
}

/// The bits of a block that are multiplied one by one, the upper four of each half: see [`Parts`].
const REST: u128 = 0xf << 124 | 0xf << 60;

/// A factor of blocks, prepared.
struct Factor {
    /// Of the upper half, the lower half and the sum of both.
    parts: [Parts; 3],
    /// The products with the bits of `REST`, the leftmost first.
    rest: [u128; 8],
}

impl Factor {
    fn new(block: u128) -> Self {
        /// 1 + x + x^2 + x^7, what x^128 is reduced to.
        const R: u128 = 0xe1 << 120;
        let mut rest = [block; 8];
        let mut power = block;
        for degree in 0..68 {
            if degree % 64 < 4 {
                rest[degree / 64 * 4 + degree % 64] = power;
            }
            power = power >> 1 ^ R & u128::from(ct::mask(power as u64 & 1)) << 64;
        }
        Self {
            parts: halves(block).map(parts),
            rest,
        }
    }
}

fn halves(block: u128) -> [u64; 3] {
    let (upper, lower) = ((block >> 64) as u64, block as u64);
    [upper, lower, upper ^ lower]
}

/// The sum of the products of blocks (section 6.3) and factors. The leftmost bit of a block is the
/// coefficient of x^0, so that degrees rise to the right and "times x" is a shift to the right.
fn sum_of_products(blocks: &[u128], factors: &[Factor]) -> u128 {
    let mut sums = [[0; 9]; 3];
    let mut rest = 0;
    for (block, factor) in blocks.iter().zip(factors) {
        for ((sum, word), factor) in sums
            .iter_mut()
            .zip(halves(block & !REST))
            .zip(&factor.parts)
        {
            add_products(sum, parts(word), factor);
        }
        let bits = (block >> 120) as u64 & 0xf0 | (block >> 60) as u64 & 0xf;
        for (place, product) in factor.rest.iter().enumerate() {
            let mask = ct::mask(bits >> (7 - place) & 1);
            rest ^= product & (u128::from(mask) << 64 | u128::from(mask));
        }
    }
    let [upper, lower, both] = sums.map(whole);
    let middle = both ^ upper ^ lower;
    let (upper, lower) = (upper ^ middle >> 64, lower ^ middle << 64);
    // The 255 bits begin at the left.
    let (upper, lower) = (upper << 1 | lower >> 127, lower << 1);
    // x^128 is 1 + x + x^2 + x^7. The bits that this moves beyond x^127 again are added first.
    let lower = lower ^ lower << 127 ^ lower << 126 ^ lower << 121;
    rest ^ upper ^ lower ^ lower >> 1 ^ lower >> 2 ^ lower >> 7
}

/// Every fourth bit of a word, from bit 0, 1, 2 and 3 on, moved to bit 0; and sums of these, as
/// Karatsuba's method has them, twice in a row: of the first two, of the last two, and of those.
///
/// Where only every fourth bit of the factors is set, a multiplication of integers is one of
/// polynomials over GF(2): if one of them has at most 15 such bits, at most 15 products of bits
/// meet at a bit, and what they carry stays in the three bits above it, which are ignored. That
/// is why the upper four bits of a word of the block are multiplied otherwise.
type Parts = [u64; 9];

fn parts(word: u64) -> Parts {
    const FOURTHS: u64 = 0x1111_1111_1111_1111;
    let (a, b) = (word & FOURTHS, word >> 1 & FOURTHS);
    let (c, d) = (word >> 2 & FOURTHS, word >> 3 & FOURTHS);
    let (e, f) = (a ^ c, b ^ d);
    [a, b, a ^ b, c, d, c ^ d, e, f, e ^ f]
}

/// Adds the products of parts. (The release profile does not unroll a loop.)
fn add_products(sums: &mut [u128; 9], x: Parts, y: &Parts) {
    let product = |i: usize| u128::from(x[i]) * u128::from(y[i]);
    sums[0] ^= product(0);
    sums[1] ^= product(1);
    sums[2] ^= product(2);
    sums[3] ^= product(3);
    sums[4] ^= product(4);
    sums[5] ^= product(5);
    sums[6] ^= product(6);
    sums[7] ^= product(7);
    sums[8] ^= product(8);
}

/// The product of words whose parts have these products.
fn whole(products: [u128; 9]) -> u128 {
    const FOURTHS: u128 = 0x1111_1111_1111_1111_1111_1111_1111_1111;
    let join = |low, high, both, places| low ^ (both ^ low ^ high) << places ^ high << (2 * places);
    let [a, b, ab, c, d, cd, e, f, ef] = products.map(|product| product & FOURTHS);
    join(join(a, b, ab, 1), join(c, d, cd, 1), join(e, f, ef, 1), 2)
}

#[cfg(test)]
mod tests {
    use std::slice;

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
            gcm.apply_key_stream(&nonce, &mut data);
            assert_eq!(data, from_hex(case.ciphertext), "case {index}");
            let tag = gcm.tag(&nonce, &aad, &data);
            assert_eq!(tag[..], from_hex(case.tag), "case {index}");
            gcm.apply_key_stream(&nonce, &mut data);
            assert_eq!(data, from_hex(case.plaintext), "case {index}");
        }
    }

    /// The product of two blocks as the standard defines it, bit by bit (section 6.3, algorithm 1).
    fn multiply(mut x: u128, mut y: u128) -> u128 {
        let mut product = 0;
        for _ in 0..128 {
            if x >> 127 == 1 {
                product ^= y;
            }
            x <<= 1;
            y = (y >> 1) ^ if y & 1 == 1 { 0xe1 << 120 } else { 0 };
        }
        product
    }

    /// Single bits, runs of ones and every combination of full and empty parts, where the most
    /// carries arise, then numbers without a pattern: alone, and as sums of one to four products.
    #[test]
    fn products_are_those_of_the_standard() {
        const FOURTHS: u128 = u128::MAX / 15;
        let mut blocks = vec![
            0,
            u128::MAX,
            !REST,
            REST,
            u64::MAX.into(),
            !u128::from(u64::MAX),
        ];
        blocks.extend((0..128).step_by(5).map(|bit| 1 << bit));
        blocks.extend((1..16).map(|full| FOURTHS * full));
        blocks.extend((1..128).step_by(9).map(|run| u128::MAX << run));
        let mut state = 1_u128;
        blocks.extend((0..40).map(|_| {
            state = state.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645) | 1;
            state ^ state >> 65
        }));
        let factors: Vec<Factor> = blocks.iter().map(|block| Factor::new(*block)).collect();
        for x in &blocks {
            for (y, factor) in blocks.iter().zip(&factors) {
                let product = sum_of_products(&[*x], slice::from_ref(factor));
                assert_eq!(product, multiply(*x, *y), "{x:#x} {y:#x}");
            }
        }
        for start in 0..blocks.len() - PARALLEL {
            for count in 0..=PARALLEL {
                let range = start..start + count;
                let expected = range
                    .clone()
                    .fold(0, |sum, i| sum ^ multiply(blocks[i + 1], blocks[i]));
                let sum = sum_of_products(&blocks[start + 1..][..count], &factors[range]);
                assert_eq!(sum, expected, "{count} from {start}");
            }
        }
    }

    /// The hash of every number of bytes on either side, against its definition (section 6.4):
    /// groups of four blocks, fewer at the end, and a block that is not whole.
    #[test]
    fn tags_of_every_length() {
        let gcm = Gcm::new(&[5; 16]).unwrap();
        let mut zero = [0; PARALLEL * BLOCK];
        gcm.aes.encrypt(&mut zero);
        let subkey = block(&zero[..BLOCK]);
        let bytes: Vec<u8> = (0..=255).map(|n: u8| n.wrapping_mul(167)).collect();
        for aad in [0, 1, 5, 15, 16, 17, 63, 64, 65, 130] {
            for text in 0..150 {
                let (aad, text) = (&bytes[..aad], &bytes[bytes.len() - text..]);
                let bits = |bytes: &[u8]| bytes.len() as u128 * 8;
                let lengths = bits(aad) << 64 | bits(text);
                let blocks = aad.chunks(BLOCK).chain(text.chunks(BLOCK)).map(block);
                let hash = blocks
                    .chain([lengths])
                    .fold(0, |y, x| multiply(y ^ x, subkey));
                let mask = block(&gcm.key_stream(&[8; 12], 1)[..BLOCK]);
                assert_eq!(gcm.tag(&[8; 12], aad, text), (hash ^ mask).to_be_bytes());
            }
        }
    }

    /// The counter runs through groups of four blocks: the ciphertext of a prefix is the prefix of
    /// the ciphertext at every length.
    #[test]
    fn every_length() {
        let gcm = Gcm::new(&[3; 32]).unwrap();
        let mut longest = vec![0; 300];
        gcm.apply_key_stream(&[9; 12], &mut longest);
        for length in 0..longest.len() {
            let mut data = vec![0; length];
            gcm.apply_key_stream(&[9; 12], &mut data);
            assert_eq!(data, longest[..length]);
        }
    }
}
