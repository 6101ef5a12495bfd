//! AES-128 and AES-256, the forward cipher alone (FIPS 197): GCM needs no inverse.
//!
//! The usual table for the S-box would be read at secret indices, which the cache reveals.
//! So the state is bitsliced: [`Planes`] holds bit `i` of all bytes of four blocks in
//! word `i`, and every step is the same few word operations for all data. The S-box is
//! computed from its definition (an inverse in GF(2^8), then an affine map) for 64 bytes at
//! once. No branch and no address depends on the key or the data.
//!
//! The inverse is computed where it takes few operations, in a tower of three extensions of
//! degree two (V. Rijmen, "Efficient Implementation of the Rijndael S-box", 2000; A. Satoh et al.,
//! "A Compact Rijndael Hardware Architecture with S-Box Optimization", 2001):
//! - GF(4): `a0 + a1 w` with `w^2 = w + 1`;
//! - GF(16): `a0 + a1 z` with `z^2 = z + w + 1`;
//! - GF(256): `a0 + a1 y` with `y^2 = y + w z + w`.
//!
//! In each, with `t^2 = t + c`, the inverse of `a0 + a1 t` is `(a0 + a1 + a1 t) / n`, where
//! `n = a0 (a0 + a1) + c a1^2` is an element of the smaller field.

use super::Error;

/// Bytes in a block.
pub(super) const BLOCK: usize = 16;
/// Blocks encrypted at once: as many as fit a 64-bit plane. In CTR mode the next counters are known.
pub(super) const PARALLEL: usize = 4;
/// AES-256 has 14 rounds, and one key more than rounds (FIPS 197, section 5).
const MAX_ROUNDS: usize = 14;

/// Word `i` holds bit `i` of each byte, at `16 row + 4 column + block`; byte `n` of a block is in
/// row `n % 4` and column `n / 4` of the state (FIPS 197, section 3.4).
type Planes = [u64; 8];

/// A key, expanded.
pub(super) struct Aes {
    /// Round keys, each repeated for the four blocks; `rounds + 1` of them are used.
    round_keys: [Planes; MAX_ROUNDS + 1],
    rounds: usize,
}

impl Aes {
    /// Expands a key of 16 or 32 bytes (KEYEXPANSION, FIPS 197, section 5.2).
    pub(super) fn new(key: &[u8]) -> Result<Self, Error> {
        let rounds = match key.len() {
            16 => 10,
            32 => 14,
            _ => return Err(Error::BadLength),
        };
        let key_words = key.len() / 4;
        let mut words = [[0; 4]; 4 * (MAX_ROUNDS + 1)];
        for (word, bytes) in words.iter_mut().zip(key.chunks_exact(4)) {
            word.copy_from_slice(bytes);
        }
        let mut round_constant = 1u8;
        for i in key_words..4 * (rounds + 1) {
            let mut word = words[i - 1];
            if i % key_words == 0 {
                word.rotate_left(1);
                word = sub_word(word);
                word[0] ^= round_constant;
                // The next power of x; the constants are public and so is this branch.
                round_constant =
                    (round_constant << 1) ^ if round_constant >> 7 == 1 { 0x1b } else { 0 };
            } else if key_words > 6 && i % key_words == 4 {
                word = sub_word(word);
            }
            for (byte, earlier) in word.iter_mut().zip(words[i - key_words]) {
                *byte ^= earlier;
            }
            words[i] = word;
        }

        let mut round_keys = [[0; 8]; MAX_ROUNDS + 1];
        for (planes, words) in round_keys.iter_mut().zip(words.chunks_exact(4)) {
            let mut blocks = [0; PARALLEL * BLOCK];
            for (column, word) in blocks.chunks_exact_mut(4).zip(words.iter().cycle()) {
                column.copy_from_slice(word);
            }
            *planes = to_planes(&blocks);
        }
        Ok(Self { round_keys, rounds })
    }

    /// Encrypts four blocks (CIPHER, FIPS 197, algorithm 1).
    pub(super) fn encrypt(&self, blocks: &mut [u8; PARALLEL * BLOCK]) {
        let mut state = to_planes(blocks);
        add_round_key(&mut state, &self.round_keys[0]);
        for round_key in &self.round_keys[1..self.rounds] {
            sub_bytes(&mut state);
            mix(&mut state, round_key);
        }
        sub_bytes(&mut state);
        state = state.map(shift_rows);
        add_round_key(&mut state, &self.round_keys[self.rounds]);
        *blocks = from_planes(state);
    }
}

/// SUBWORD (FIPS 197, section 5.2).
fn sub_word(word: [u8; 4]) -> [u8; 4] {
    let mut blocks = [0; PARALLEL * BLOCK];
    blocks[..4].copy_from_slice(&word);
    let mut planes = to_planes(&blocks);
    sub_bytes(&mut planes);
    let [a, b, c, d, ..] = from_planes(planes);
    [a, b, c, d]
}

/// Four blocks, bitsliced.
fn to_planes(blocks: &[u8; PARALLEL * BLOCK]) -> Planes {
    let mut planes = [0; 8];
    for (index, bytes) in blocks.chunks_exact(4).enumerate() {
        let (block, column) = (index / 4, index % 4);
        // The rows of a column are 16 bits apart.
        let rows = bytes
            .iter()
            .rev()
            .fold(0, |rows, byte| rows << 16 | u64::from(*byte));
        planes[block + 4 * (column % 2)] |= rows << (8 * (column / 2));
    }
    transpose(&mut planes);
    planes
}

/// The opposite of [`to_planes`].
fn from_planes(mut planes: Planes) -> [u8; PARALLEL * BLOCK] {
    transpose(&mut planes);
    let mut blocks = [0; PARALLEL * BLOCK];
    for (index, bytes) in blocks.chunks_exact_mut(4).enumerate() {
        let (block, column) = (index / 4, index % 4);
        let rows = planes[block + 4 * (column % 2)] >> (8 * (column / 2));
        for (row, byte) in bytes.iter_mut().enumerate() {
            *byte = (rows >> (16 * row)) as u8;
        }
    }
    blocks
}

/// Exchanges bit `i` of byte `b` of word `j` with bit `j` of byte `b` of word `i`, for all of them:
/// of the numbers `i` and `j` one bit at a time.
fn transpose(words: &mut Planes) {
    for (step, mask) in [
        (1, 0x5555_5555_5555_5555),
        (2, 0x3333_3333_3333_3333),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
    ] {
        for i in (0..8).filter(|i| i & step == 0) {
            let differing = ((words[i] >> step) ^ words[i + step]) & mask;
            words[i] ^= differing << step;
            words[i + step] ^= differing;
        }
    }
}

/// ADDROUNDKEY (section 5.1.4).
fn add_round_key(state: &mut Planes, round_key: &Planes) {
    for (plane, key) in state.iter_mut().zip(round_key) {
        *plane ^= key;
    }
}

/// SHIFTROWS (section 5.1.2) on a plane: row `r` turns by `r` columns, its 16 bits by `4 r`.
fn shift_rows(x: u64) -> u64 {
    // Rows 1 and 3 by one column, then rows 2 and 3 by two.
    let x = x & 0x0000_ffff_0000_ffff
        | x >> 4 & 0x0fff_0000_0fff_0000
        | x << 12 & 0xf000_0000_f000_0000;
    x & 0x0000_0000_ffff_ffff | x >> 8 & 0x00ff_00ff_0000_0000 | x << 8 & 0xff00_ff00_0000_0000
}

/// SHIFTROWS, MIXCOLUMNS (section 5.1.3) and ADDROUNDKEY: with `a` the next byte down the column,
/// `b_r = 2 (b_r + a_r) + a_r + b_(r+2) + b_(r+3)`.
fn mix(state: &mut Planes, round_key: &Planes) {
    let mut pair = [0; 8];
    for (plane, pair) in state.iter_mut().zip(&mut pair) {
        *plane = shift_rows(*plane);
        *pair = *plane ^ plane.rotate_right(16);
    }
    // Twice, in the polynomial of section 4.2, x^8 = x^4 + x^3 + x + 1.
    let [p0, p1, p2, p3, p4, p5, p6, p7] = pair;
    let doubled = [p7, p0 ^ p7, p1, p2 ^ p7, p3 ^ p7, p4, p5, p6];
    for i in 0..8 {
        state[i] ^= pair[i] ^ pair[i].rotate_right(32) ^ doubled[i] ^ round_key[i];
    }
}

/// SUBBYTES (section 5.1.1): the inverse in GF(2^8), zero staying zero, then the affine map
/// `b'_i = b_i + b_(i+4) + b_(i+5) + b_(i+6) + b_(i+7) + c_i`, indices modulo 8, c = 0x63.
///
/// Conversions between the standard's field and the tower are linear maps: x stands for the
/// element of GF(256) whose bits are 0x53, a root of the polynomial above. Sums that are used more
/// than once have names, and the conversion back includes the affine map. A test tries all bytes.
fn sub_bytes(state: &mut Planes) {
    let [b0, b1, b2, b3, b4, b5, b6, b7] = *state;
    let [b15, b23, b57] = [b1 ^ b5, b2 ^ b3, b5 ^ b7];
    let b156 = b6 ^ b15;
    let low = [b0 ^ b156, b1 ^ b7, b2 ^ b7, b2 ^ b4];
    let high = [b1, b23 ^ b57, b156 ^ b4 ^ b23, b57];

    let sum = add(low, high);
    let [h0, h1, h2, h3] = high;
    // (w z + w) high^2
    let scaled = [h1, h0, h1 ^ h2 ^ h3, h0 ^ h3];
    let inverse = invert_16(add(multiply_16(low, sum), scaled));
    let [a0, a1, a2, a3] = multiply_16(sum, inverse);
    let [a4, a5, a6, a7] = multiply_16(high, inverse);

    let [a04, a23, a45, a46, a27] = [a0 ^ a4, a2 ^ a3, a4 ^ a5, a4 ^ a6, a2 ^ a7];
    let [a014, a046] = [a1 ^ a04, a6 ^ a04];
    *state = [
        !(a04 ^ a23),
        !a014,
        a014 ^ a27,
        a23 ^ a046,
        a046,
        !(a23 ^ a45),
        !a46,
        a2 ^ a46,
    ];
}

/// Four planes of GF(16): bits 0 and 1 are `a0`, 2 and 3 are `a1`.
type Sixteen = [u64; 4];

fn add(a: Sixteen, b: Sixteen) -> Sixteen {
    [a[0] ^ b[0], a[1] ^ b[1], a[2] ^ b[2], a[3] ^ b[3]]
}

/// The product in GF(16), from three in GF(4).
#[inline(always)]
fn multiply_16([a0, a1, a2, a3]: Sixteen, [b0, b1, b2, b3]: Sixteen) -> Sixteen {
    let low = multiply_4([a0, a1], [b0, b1]);
    let high = multiply_4([a2, a3], [b2, b3]);
    let both = multiply_4([a0 ^ a2, a1 ^ a3], [b0 ^ b2, b1 ^ b3]);
    // low + (w + 1) high, and both - low
    [
        low[0] ^ high[0] ^ high[1],
        low[1] ^ high[0],
        both[0] ^ low[0],
        both[1] ^ low[1],
    ]
}

/// The inverse in GF(16), zero for zero.
fn invert_16([a0, a1, a2, a3]: Sixteen) -> Sixteen {
    let sum = [a0 ^ a2, a1 ^ a3];
    let [n0, n1] = multiply_4([a0, a1], sum);
    // The norm with (w + 1) a1^2 added, then its inverse in GF(4), which is its square.
    let [n0, n1] = [n0 ^ a2, n1 ^ a2 ^ a3];
    let inverse = [n0 ^ n1, n1];
    let [low, high] = [multiply_4(sum, inverse), multiply_4([a2, a3], inverse)];
    [low[0], low[1], high[0], high[1]]
}

/// The product in GF(4), from three of bits.
fn multiply_4([a0, a1]: [u64; 2], [b0, b1]: [u64; 2]) -> [u64; 2] {
    let (low, high) = (a0 & b0, a1 & b1);
    [low ^ high, low ^ ((a0 ^ a1) & (b0 ^ b1))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::from_hex;

    /// Key, plaintext, ciphertext: FIPS 197 appendix B and, in its first edition, C.1 and
    /// C.3; the last two are the first blocks of SP 800-38A, F.1.1 and F.1.5.
    const CASES: &[(&str, &str, &str)] = &[
        (
            "2b7e151628aed2a6abf7158809cf4f3c",
            "3243f6a8885a308d313198a2e0370734",
            "3925841d02dc09fbdc118597196a0b32",
        ),
        (
            "000102030405060708090a0b0c0d0e0f",
            "00112233445566778899aabbccddeeff",
            "69c4e0d86a7b0430d8cdb78070b4c55a",
        ),
        (
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
            "00112233445566778899aabbccddeeff",
            "8ea2b7ca516745bfeafc49904b496089",
        ),
        (
            "2b7e151628aed2a6abf7158809cf4f3c",
            "6bc1bee22e409f96e93d7e117393172a",
            "3ad77bb40d7a3660a89ecaf32466ef97",
        ),
        (
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            "6bc1bee22e409f96e93d7e117393172a",
            "f3eed1bdb5d2a03c064b5a7e3db181f8",
        ),
    ];

    /// Each block alone in each of the four places, the others filled with something else.
    #[test]
    fn known_answers_in_every_place() {
        for (key, plaintext, ciphertext) in CASES {
            let aes = Aes::new(&from_hex(key)).unwrap();
            for place in 0..PARALLEL {
                let mut blocks = [0xa5; PARALLEL * BLOCK];
                let range = place * BLOCK..(place + 1) * BLOCK;
                blocks[range.clone()].copy_from_slice(&from_hex(plaintext));
                aes.encrypt(&mut blocks);
                assert_eq!(
                    blocks[range],
                    from_hex(ciphertext),
                    "{key} in place {place}"
                );
            }
        }
    }

    /// The last words of the key schedules of FIPS 197, appendices A.1 and A.3.
    #[test]
    fn key_expansion() {
        for (key, rounds, last) in [
            (
                "2b7e151628aed2a6abf7158809cf4f3c",
                10,
                "d014f9a8c9ee2589e13f0cc8b6630ca6",
            ),
            (
                "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
                14,
                "fe4890d1e6188d0b046df344706c631e",
            ),
        ] {
            let aes = Aes::new(&from_hex(key)).unwrap();
            assert_eq!(aes.rounds, rounds);
            assert_eq!(
                from_planes(aes.round_keys[rounds]),
                *from_hex(last).repeat(4)
            );
        }
    }

    /// The S-box of all 256 bytes against its definition, worked out byte by byte.
    #[test]
    fn s_box_is_its_definition() {
        fn times(mut a: u8, mut b: u8) -> u8 {
            let mut product = 0;
            while b != 0 {
                product ^= a * (b & 1);
                a = (a << 1) ^ ((a >> 7) * 0x1b);
                b >>= 1;
            }
            product
        }
        for byte in 0..=255u8 {
            let inverse = (0..=255).find(|x| times(*x, byte) == 1).unwrap_or(0);
            let expected = (0..8).fold(0x63, |sum, i| {
                sum ^ if [0, 1, 2, 3, 4].contains(&i) {
                    inverse.rotate_left(i)
                } else {
                    0
                }
            });
            assert_eq!(sub_word([byte; 4]), [expected; 4], "{byte:#x}");
        }
        // Values printed in the standard (section 5.1.1 and table 4).
        assert_eq!(sub_word([0x00, 0x53, 0x9a, 0xff]), [0x63, 0xed, 0xb8, 0x16]);
    }

    #[test]
    fn other_key_lengths_are_refused() {
        for length in (0..=64).filter(|n| ![16, 32].contains(n)) {
            assert_eq!(
                Aes::new(&vec![0; length]).err(),
                Some(Error::BadLength),
                "{length}"
            );
        }
    }
}
