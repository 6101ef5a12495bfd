//! SHA-256, SHA-384 and SHA-512 (FIPS 180-4).
//!
//! The message is padded (section 5.1), cut into blocks (5.2) and each block is mixed into a
//! state of eight words (6.2 for 32-bit words, 6.4 for 64-bit words; SHA-384 is SHA-512 from
//! another start, cut short, 6.5). Time depends on the length of the message alone, so
//! HMAC over it may take secret keys.

/// A hash function of the SHA-2 family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    /// SHA-256
    Sha256,
    /// SHA-384
    Sha384,
    /// SHA-512
    Sha512,
}

/// The longest block of the family, in bytes.
const MAX_BLOCK: usize = 128;
/// The longest digest of the family, in bytes.
const MAX_OUTPUT: usize = 64;

impl Hash {
    /// Bytes in a digest (FIPS 180-4, figure 1).
    pub(crate) const fn output_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => MAX_OUTPUT,
        }
    }

    /// Bytes in a block (FIPS 180-4, figure 1).
    pub(crate) const fn block_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha384 | Self::Sha512 => MAX_BLOCK,
        }
    }
}

/// The result of a hash. `==` is not constant time: compare secrets with [`super::ct::eq`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digest {
    /// All words of the final state; SHA-384 returns the first six of eight (section 6.5).
    bytes: [u8; MAX_OUTPUT],
    hash: Hash,
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.hash.output_len()]
    }
}

/// The digest of the concatenation of `parts`.
pub(crate) fn digest(hash: Hash, parts: &[&[u8]]) -> Digest {
    let mut hasher = Hasher::new(hash);
    for part in parts {
        hasher.update(part);
    }
    hasher.finish()
}

/// A digest being computed, for a message that arrives in pieces (a handshake transcript).
#[derive(Clone)]
pub(crate) struct Hasher {
    hash: Hash,
    /// The hash value so far: eight words, of which SHA-256 uses the lower halves.
    state: [u64; 8],
    /// The block being filled; `filled` stays below the block length between calls.
    block: [u8; MAX_BLOCK],
    filled: usize,
    /// Bytes taken so far.
    length: u64,
}

impl Hasher {
    /// A hasher of an empty message (FIPS 180-4, section 5.3).
    pub(crate) fn new(hash: Hash) -> Self {
        let state = match hash {
            Hash::Sha256 => INITIAL_512.map(|word| word >> 32),
            Hash::Sha384 => INITIAL_384,
            Hash::Sha512 => INITIAL_512,
        };
        Self {
            hash,
            state,
            block: [0; MAX_BLOCK],
            filled: 0,
            length: 0,
        }
    }

    /// Appends `data` to the message.
    pub(crate) fn update(&mut self, data: &[u8]) {
        self.length = self.length.wrapping_add(data.len() as u64);
        self.absorb(data);
    }

    /// Pads the message (section 5.1) and returns its digest.
    pub(crate) fn finish(mut self) -> Digest {
        // A one bit, then zeros up to the length, which fills the block: 64 bits for
        // SHA-256, 128 for the others. A message cannot reach 2^64 bytes.
        let bits = u128::from(self.length) * 8;
        let length_len = self.hash.block_len() / 8;
        self.absorb(&[0x80]);
        while self.filled != self.hash.block_len() - length_len {
            self.absorb(&[0]);
        }
        self.absorb(&bits.to_be_bytes()[16 - length_len..]);

        let mut bytes = [0; MAX_OUTPUT];
        let word_len = self.hash.block_len() / 16;
        for (bytes, word) in bytes.chunks_exact_mut(word_len).zip(self.state) {
            bytes.copy_from_slice(&word.to_be_bytes()[8 - word_len..]);
        }
        Digest {
            bytes,
            hash: self.hash,
        }
    }

    fn absorb(&mut self, mut data: &[u8]) {
        let block_len = self.hash.block_len();
        while !data.is_empty() {
            let room = &mut self.block[self.filled..block_len];
            let (head, tail) = data.split_at(room.len().min(data.len()));
            room[..head.len()].copy_from_slice(head);
            self.filled += head.len();
            data = tail;
            if self.filled == block_len {
                match self.hash {
                    Hash::Sha256 => compress_32(&mut self.state, &self.block),
                    Hash::Sha384 | Hash::Sha512 => compress_64(&mut self.state, &self.block),
                }
                self.filled = 0;
            }
        }
    }
}

/// The compression of one block, steps 1 to 4 of sections 6.2.2 and 6.4.2, written once for
/// both word sizes. The constants of 32 bits are the upper halves of those of 64: both are the leading
/// bits of the same irrational numbers. `big` and `small` are the rotations (in `small` the third is a shift) of
/// the capital and small sigma functions, 0 then 1, of sections 4.1.2 and 4.1.3.
macro_rules! compress {
    ($name:ident, $word:ty, $rounds:literal,
     big: $a0:literal $a1:literal $a2:literal, $e0:literal $e1:literal $e2:literal,
     small: $s0:literal $s1:literal $s2:literal, $t0:literal $t1:literal $t2:literal) => {
        fn $name(state: &mut [u64; 8], block: &[u8; MAX_BLOCK]) {
            const WORD: usize = size_of::<$word>();
            const CONSTANTS: [$word; $rounds] = {
                let mut constants = [0; $rounds];
                let mut t = 0;
                while t < $rounds {
                    constants[t] = (K[t] >> (64 - <$word>::BITS)) as $word;
                    t += 1;
                }
                constants
            };
            // Step 1: the message schedule.
            let mut w = [0; $rounds];
            for (word, bytes) in w.iter_mut().take(16).zip(block.chunks_exact(WORD)) {
                let mut array = [0; WORD];
                array.copy_from_slice(bytes);
                *word = <$word>::from_be_bytes(array);
            }
            for t in 16..$rounds {
                let (x, y): ($word, $word) = (w[t - 15], w[t - 2]);
                let sigma0 = x.rotate_right($s0) ^ x.rotate_right($s1) ^ (x >> $s2);
                let sigma1 = y.rotate_right($t0) ^ y.rotate_right($t1) ^ (y >> $t2);
                w[t] = sigma1
                    .wrapping_add(w[t - 7])
                    .wrapping_add(sigma0)
                    .wrapping_add(w[t - 16]);
            }
            // Step 2: the working variables.
            let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] =
                state.map(|word| word as $word);
            // Step 3: the rounds.
            for t in 0..$rounds {
                let sum1 = e.rotate_right($e0) ^ e.rotate_right($e1) ^ e.rotate_right($e2);
                let ch = (e & f) ^ (!e & g);
                let t1 = h
                    .wrapping_add(sum1)
                    .wrapping_add(ch)
                    .wrapping_add(CONSTANTS[t])
                    .wrapping_add(w[t]);
                let sum0 = a.rotate_right($a0) ^ a.rotate_right($a1) ^ a.rotate_right($a2);
                let maj = (a & b) ^ (a & c) ^ (b & c);
                let t2 = sum0.wrapping_add(maj);
                h = g;
                g = f;
                f = e;
                e = d.wrapping_add(t1);
                d = c;
                c = b;
                b = a;
                a = t1.wrapping_add(t2);
            }
            // Step 4: the next hash value.
            for (word, add) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
                *word = (*word as $word).wrapping_add(add).into();
            }
        }
    };
}

compress!(compress_32, u32, 64,
    big: 2 13 22, 6 11 25,
    small: 7 18 3, 17 19 10);
compress!(compress_64, u64, 80,
    big: 28 34 39, 14 18 41,
    small: 1 8 7, 19 61 6);

/// Fractional parts of the square roots of the first eight primes (sections 5.3.3, 5.3.5).
#[rustfmt::skip]
const INITIAL_512: [u64; 8] = [
    0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
    0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
];

/// Likewise of the ninth to sixteenth primes (section 5.3.4).
#[rustfmt::skip]
const INITIAL_384: [u64; 8] = [
    0xcbbb9d5dc1059ed8, 0x629a292a367cd507, 0x9159015a3070dd17, 0x152fecd8f70e5939,
    0x67332667ffc00b31, 0x8eb44a8768581511, 0xdb0c2e0d64f98fa7, 0x47b5481dbefa4fa4,
];

/// Fractional parts of the cube roots of the first eighty primes (sections 4.2.2, 4.2.3).
#[rustfmt::skip]
const K: [u64; 80] = [
    0x428a2f98d728ae22, 0x7137449123ef65cd, 0xb5c0fbcfec4d3b2f, 0xe9b5dba58189dbbc,
    0x3956c25bf348b538, 0x59f111f1b605d019, 0x923f82a4af194f9b, 0xab1c5ed5da6d8118,
    0xd807aa98a3030242, 0x12835b0145706fbe, 0x243185be4ee4b28c, 0x550c7dc3d5ffb4e2,
    0x72be5d74f27b896f, 0x80deb1fe3b1696b1, 0x9bdc06a725c71235, 0xc19bf174cf692694,
    0xe49b69c19ef14ad2, 0xefbe4786384f25e3, 0x0fc19dc68b8cd5b5, 0x240ca1cc77ac9c65,
    0x2de92c6f592b0275, 0x4a7484aa6ea6e483, 0x5cb0a9dcbd41fbd4, 0x76f988da831153b5,
    0x983e5152ee66dfab, 0xa831c66d2db43210, 0xb00327c898fb213f, 0xbf597fc7beef0ee4,
    0xc6e00bf33da88fc2, 0xd5a79147930aa725, 0x06ca6351e003826f, 0x142929670a0e6e70,
    0x27b70a8546d22ffc, 0x2e1b21385c26c926, 0x4d2c6dfc5ac42aed, 0x53380d139d95b3df,
    0x650a73548baf63de, 0x766a0abb3c77b2a8, 0x81c2c92e47edaee6, 0x92722c851482353b,
    0xa2bfe8a14cf10364, 0xa81a664bbc423001, 0xc24b8b70d0f89791, 0xc76c51a30654be30,
    0xd192e819d6ef5218, 0xd69906245565a910, 0xf40e35855771202a, 0x106aa07032bbd1b8,
    0x19a4c116b8d2d0c8, 0x1e376c085141ab53, 0x2748774cdf8eeb99, 0x34b0bcb5e19b48a8,
    0x391c0cb3c5c95a63, 0x4ed8aa4ae3418acb, 0x5b9cca4f7763e373, 0x682e6ff3d6b2b8a3,
    0x748f82ee5defb2fc, 0x78a5636f43172f60, 0x84c87814a1f0ab72, 0x8cc702081a6439ec,
    0x90befffa23631e28, 0xa4506cebde82bde9, 0xbef9a3f7b2c67915, 0xc67178f2e372532b,
    0xca273eceea26619c, 0xd186b8c721c0c207, 0xeada7dd6cde0eb1e, 0xf57d4f7fee6ed178,
    0x06f067aa72176fba, 0x0a637dc5a2c898a6, 0x113f9804bef90dae, 0x1b710b35131c471b,
    0x28db77f523047d84, 0x32caab7b40c72493, 0x3c9ebe0a15c9bebc, 0x431d67c49c100d4c,
    0x4cc5d4becb3e42b6, 0x597f299cfc657e2a, 0x5fcb6fab3ad6faec, 0x6c44198c4a475817,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::from_hex;

    /// The examples that accompany FIPS 180-4: nothing, one block, two blocks.
    const CASES: &[(Hash, &str, &str)] = &[
        (
            Hash::Sha256,
            "",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        (
            Hash::Sha256,
            "abc",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        (
            Hash::Sha256,
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
        (
            Hash::Sha384,
            "",
            "38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da\
             274edebfe76f65fbd51ad2f14898b95b",
        ),
        (
            Hash::Sha384,
            "abc",
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed\
             8086072ba1e7cc2358baeca134c825a7",
        ),
        (
            Hash::Sha384,
            "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
            "09330c33f71147e83d192fc782cd1b4753111b173b3b05d22fa08086e3b0f712\
             fcc7c71a557e2db966c3e9fa91746039",
        ),
        (
            Hash::Sha512,
            "",
            "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
             47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
        ),
        (
            Hash::Sha512,
            "abc",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ),
        (
            Hash::Sha512,
            "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
            "8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018\
             501d289e4900f7e4331b99dec4b5433ac7d329eeb6dd26545e96e55b874be909",
        ),
    ];

    #[test]
    fn known_answers() {
        for (hash, message, expected) in CASES {
            assert_eq!(
                digest(*hash, &[message.as_bytes()]).as_ref(),
                from_hex(expected),
                "{hash:?} of {message:?}"
            );
        }
    }

    /// The million letters of FIPS 180, given in pieces that never fit the block.
    #[test]
    fn a_million_letters_in_pieces() {
        const CASES: &[(Hash, &str)] = &[
            (
                Hash::Sha256,
                "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
            ),
            (
                Hash::Sha384,
                "9d0e1809716474cb086e834e310a4a1ced149e9c00f248527972cec5704c2a5b\
             07b8b3dc38ecc4ebae97ddd87f3d8985",
            ),
            (
                Hash::Sha512,
                "e718483d0ce769644e2e42c7bc15b4638e1f98b13b2044285632a803afa973eb\
             de0ff244877ea60a4cb0432ce577c31beb009c5c2c49aa2e4eadb217ad8cc09b",
            ),
        ];
        let letters = [b'a'; 1000];
        for (hash, expected) in CASES {
            let mut hasher = Hasher::new(*hash);
            for _ in 0..1000 {
                let (head, tail) = letters.split_at(331);
                hasher.update(head);
                hasher.update(tail);
            }
            assert_eq!(hasher.finish().as_ref(), from_hex(expected), "{hash:?}");
        }
    }

    /// Padding is where the length of the message matters: every split of every length
    /// around one and two blocks gives what one piece gives.
    #[test]
    fn pieces_do_not_matter() {
        let message: Vec<u8> = (0..=255).chain(0..8).collect();
        for hash in [Hash::Sha256, Hash::Sha384, Hash::Sha512] {
            for length in (0..message.len())
                .step_by(7)
                .chain([55, 56, 64, 111, 112, 128])
            {
                let whole = digest(hash, &[&message[..length]]);
                for cut in (0..=length).step_by(5) {
                    let (head, tail) = message[..length].split_at(cut);
                    assert_eq!(
                        digest(hash, &[head, &[], tail]),
                        whole,
                        "{hash:?} {length} {cut}"
                    );
                }
            }
        }
    }

    /// A transcript is hashed at several points while it grows.
    #[test]
    fn a_clone_goes_its_own_way() {
        let mut hasher = Hasher::new(Hash::Sha384);
        hasher.update(b"ab");
        let branch = hasher.clone();
        hasher.update(b"c");
        assert_eq!(hasher.finish(), digest(Hash::Sha384, &[b"abc"]));
        assert_eq!(branch.finish(), digest(Hash::Sha384, &[b"ab"]));
    }
}
