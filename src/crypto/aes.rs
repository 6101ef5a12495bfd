//! AES-128 and AES-256, the forward cipher alone (FIPS 197): GCM needs no inverse.
//!
//! The usual table for the S-box would be read at secret places, and the cache tells which.
//! So the state is turned on its side: [`Planes`] holds bit `i` of all bytes of four blocks in
//! word `i`, and every step is the same few word operations whatever the data is. The S-box is
//! computed from its definition (an inverse in GF(2^8), then an affine map) for 64 bytes at
//! once. No branch and no address depends on the key or the data.

use super::Error;

/// Bytes in a block.
pub(super) const BLOCK: usize = 16;
/// Blocks encrypted at once: what fits a 64-bit plane. CTR mode always has the next counter.
pub(super) const PARALLEL: usize = 4;
/// AES-256 has 14 rounds, and one key more than rounds (FIPS 197, section 5).
const MAX_ROUNDS: usize = 14;

/// Bit `i` of byte `p` (block `p / 16`, byte `p % 16`) is bit `p` of word `i`. Byte `p % 16` is
/// row `p % 4` and column `p / 4` of the state of FIPS 197, section 3.4.
type Planes = [u64; 8];

/// The lowest bit of each block's 16 in a plane.
const LANES: u64 = 0x0001_0001_0001_0001;

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
            *planes = to_planes(&words.concat().repeat(PARALLEL));
        }
        Ok(Self { round_keys, rounds })
    }

    /// Encrypts four blocks (CIPHER, FIPS 197, algorithm 1).
    pub(super) fn encrypt(&self, blocks: &mut [u8; PARALLEL * BLOCK]) {
        let mut state = to_planes(blocks);
        add_round_key(&mut state, &self.round_keys[0]);
        for round_key in &self.round_keys[1..self.rounds] {
            sub_bytes(&mut state);
            shift_rows(&mut state);
            mix_columns(&mut state);
            add_round_key(&mut state, round_key);
        }
        sub_bytes(&mut state);
        shift_rows(&mut state);
        add_round_key(&mut state, &self.round_keys[self.rounds]);
        *blocks = from_planes(&state);
    }
}

/// SUBWORD (FIPS 197, section 5.2).
fn sub_word(word: [u8; 4]) -> [u8; 4] {
    let mut planes = to_planes(&word);
    sub_bytes(&mut planes);
    let bytes = from_planes(&planes);
    [bytes[0], bytes[1], bytes[2], bytes[3]]
}

/// Up to 64 bytes on their side.
fn to_planes(bytes: &[u8]) -> Planes {
    let mut planes = [0; 8];
    for (position, byte) in bytes.iter().enumerate() {
        for (bit, plane) in planes.iter_mut().enumerate() {
            *plane |= u64::from((byte >> bit) & 1) << position;
        }
    }
    planes
}

fn from_planes(planes: &Planes) -> [u8; PARALLEL * BLOCK] {
    let mut bytes = [0; PARALLEL * BLOCK];
    for (position, byte) in bytes.iter_mut().enumerate() {
        for (bit, plane) in planes.iter().enumerate() {
            *byte |= (((plane >> position) & 1) as u8) << bit;
        }
    }
    bytes
}

/// ADDROUNDKEY (section 5.1.4).
fn add_round_key(state: &mut Planes, round_key: &Planes) {
    for (plane, key) in state.iter_mut().zip(round_key) {
        *plane ^= key;
    }
}

/// SUBBYTES (section 5.1.1): the inverse in GF(2^8), zero staying zero, then the affine map
/// `b'_i = b_i + b_(i+4) + b_(i+5) + b_(i+6) + b_(i+7) + c_i`, indices modulo 8, c = 0x63.
fn sub_bytes(state: &mut Planes) {
    let b = invert(state);
    for i in 0..8 {
        let constant = if (0x63 >> i) & 1 == 1 { u64::MAX } else { 0 };
        state[i] =
            b[i] ^ b[(i + 4) % 8] ^ b[(i + 5) % 8] ^ b[(i + 6) % 8] ^ b[(i + 7) % 8] ^ constant;
    }
}

/// SHIFTROWS (section 5.1.2): row `r` turns left by `r` columns, that is `4 * r` bits of a lane.
fn shift_rows(state: &mut Planes) {
    for plane in state {
        let row = |r: u32| *plane & (0x1111 * LANES) << r;
        *plane = row(0) | rotate(row(1), 16, 4) | rotate(row(2), 16, 8) | rotate(row(3), 16, 12);
    }
}

/// MIXCOLUMNS (section 5.1.3): with `a` the next byte down the column,
/// `b_r = 2 (b_r + a_r) + a_r + b_(r+2) + b_(r+3)`.
fn mix_columns(state: &mut Planes) {
    let below = state.map(|plane| rotate(plane, 4, 1));
    let mut pair = [0; 8];
    for i in 0..8 {
        pair[i] = state[i] ^ below[i];
    }
    let doubled = double(&pair);
    for i in 0..8 {
        state[i] = doubled[i] ^ below[i] ^ rotate(pair[i], 4, 2);
    }
}

/// Turns each group of `width` bits (4: a column, 16: a block) right by `count`.
fn rotate(plane: u64, width: u32, count: u32) -> u64 {
    // The bits that stay inside their group when the whole word moves right by `count`.
    let group = u64::MAX >> (64 - width);
    let groups = u64::MAX / group;
    let stay = (group >> count) * groups;
    ((plane >> count) & stay) | ((plane << (width - count)) & !stay)
}

/// The polynomial of section 4.2, x^8 = x^4 + x^3 + x + 1, times x.
fn double(a: &Planes) -> Planes {
    [
        a[7],
        a[0] ^ a[7],
        a[1],
        a[2] ^ a[7],
        a[3] ^ a[7],
        a[4],
        a[5],
        a[6],
    ]
}

/// The inverse in GF(2^8) as a power, x^254 = x^-1; zero stays zero.
fn invert(x: &Planes) -> Planes {
    let x2 = square(x);
    let x3 = multiply(&x2, x);
    let x12 = square(&square(&x3));
    let x14 = multiply(&x12, &x2);
    let x15 = multiply(&x12, &x3);
    let x240 = square(&square(&square(&square(&x15))));
    multiply(&x240, &x14)
}

fn multiply(a: &Planes, b: &Planes) -> Planes {
    let mut product = [0; 15];
    for i in 0..8 {
        for j in 0..8 {
            product[i + j] ^= a[i] & b[j];
        }
    }
    reduce(product)
}

/// Squaring is linear in characteristic 2: it spreads the bits out.
fn square(a: &Planes) -> Planes {
    let mut product = [0; 15];
    for i in 0..8 {
        product[2 * i] = a[i];
    }
    reduce(product)
}

/// Folds a product of degree 14 with x^8 = x^4 + x^3 + x + 1, highest first.
fn reduce(mut product: [u64; 15]) -> Planes {
    for i in (8..15).rev() {
        let top = product[i];
        product[i - 4] ^= top;
        product[i - 5] ^= top;
        product[i - 7] ^= top;
        product[i - 8] ^= top;
    }
    let [a, b, c, d, e, f, g, h, ..] = product;
    [a, b, c, d, e, f, g, h]
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
                from_planes(&aes.round_keys[rounds]),
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
