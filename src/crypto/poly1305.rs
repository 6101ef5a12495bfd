//! The Poly1305 one-time authenticator (RFC 8439, section 2.5).
//!
//! The message is a polynomial, evaluated at a secret point modulo p = 2^130 - 5. Numbers are
//! five limbs of 26 bits, so that products and their sums fit 64 bits and no step depends on
//! a value.

use super::ct;

/// Limbs of 26 bits, least significant first; a limb may exceed them by a little between steps.
type Limbs = [u64; 5];

/// Bits in a limb.
const LIMB_BITS: u32 = 26;
/// What leaves the bits of a limb.
const LIMB_MASK: u64 = (1 << LIMB_BITS) - 1;

/// The tag of `message` under a key that is used once (section 2.5.1).
pub(super) fn tag(key: &[u8; 32], message: &[u8]) -> [u8; 16] {
    /// Bits of r that must be zero are zero here (the clamp of section 2.5).
    const CLAMP: u128 = 0x0ffffffc_0ffffffc_0ffffffc_0fffffff;

    let (r, s) = key.split_at(16);
    let r = limbs(little_endian(r) & CLAMP, 0);
    let mut sum = [0; 5];
    for chunk in message.chunks(16) {
        // A one is appended to every block: at bit 128 of a whole one.
        let block = if chunk.len() == 16 {
            limbs(little_endian(chunk), 1)
        } else {
            limbs(little_endian(chunk) | 1 << (8 * chunk.len()), 0)
        };
        for (limb, add) in sum.iter_mut().zip(block) {
            *limb += add;
        }
        sum = multiply(&sum, &r);
    }
    (low_128_bits(sum).wrapping_add(little_endian(s))).to_le_bytes()
}

/// Up to 16 bytes as a number.
fn little_endian(bytes: &[u8]) -> u128 {
    let mut array = [0; 16];
    array[..bytes.len()].copy_from_slice(bytes);
    u128::from_le_bytes(array)
}

/// `low + high * 2^128`.
fn limbs(low: u128, high: u64) -> Limbs {
    let limb = |index: u32| (low >> (index * LIMB_BITS)) as u64 & LIMB_MASK;
    [limb(0), limb(1), limb(2), limb(3), limb(4) | high << 24]
}

/// `a * b` modulo p. Limbs of `a` are below 2^28 and those of `b` below 2^26, so each sum is
/// below 5 * 5 * 2^54 < 2^59. Limbs of the product fit 26 bits, but the lowest may exceed them
/// by less than 5.
fn multiply(a: &Limbs, b: &Limbs) -> Limbs {
    let mut product = [0; 5];
    for i in 0..5 {
        for j in 0..5 {
            // 2^130 is 5 modulo p.
            if i + j < 5 {
                product[i + j] += a[i] * b[j];
            } else {
                product[i + j - 5] += 5 * a[i] * b[j];
            }
        }
    }
    // The first time up to 2^33 leaves the top limb, the second time at most one.
    carry(&mut product);
    carry(&mut product);
    product
}

/// Moves what exceeds 26 bits of a limb to the next, from the top one to the lowest.
fn carry(limbs: &mut Limbs) {
    for i in 0..4 {
        limbs[i + 1] += limbs[i] >> LIMB_BITS;
        limbs[i] &= LIMB_MASK;
    }
    limbs[0] += 5 * (limbs[4] >> LIMB_BITS);
    limbs[4] &= LIMB_MASK;
}

/// The least non-negative number congruent to `limbs` modulo p, without its bits above 127.
fn low_128_bits(mut limbs: Limbs) -> u128 {
    // Here only the lowest limb may exceed 26 bits. If that carries all the way and comes back
    // as a 5, the lowest limb is small by then: afterwards none does, the number is below 2^130.
    carry(&mut limbs);
    let low = (0..5).fold(0u128, |low, i| {
        low | u128::from(limbs[i]) << (i as u32 * LIMB_BITS)
    });
    let high = limbs[4] >> 24;
    // n - p = n + 5 - 2^130 if that is not negative, that is if n + 5 has a bit 130.
    let (reduced, carry) = low.overflowing_add(5);
    let exceeds = ((high + u64::from(carry)) >> 2) & 1;
    let halves = |number: u128| [number as u64, (number >> 64) as u64];
    let [lower, upper] = ct::select(exceeds, &halves(low), &halves(reduced));
    u128::from(upper) << 64 | u128::from(lower)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::from_hex;

    fn check(key: &str, message: &[u8], expected: &str) {
        let key = from_hex(key).try_into().unwrap();
        assert_eq!(tag(&key, message)[..], from_hex(expected), "{message:02x?}");
    }

    /// RFC 8439, section 2.5.2 and appendix A.3, vectors 1 to 4: r or s is zero, or the last
    /// block is not whole.
    #[test]
    fn texts() {
        const IETF: &[u8] = b"Any submission to the IETF intended by the Contributor for \
            publication as all or part of an IETF Internet-Draft or RFC and any statement made \
            within the context of an IETF activity is considered an \"IETF Contribution\". Such \
            statements include oral statements in IETF sessions, as well as written and \
            electronic communications made at any time or place, which are addressed to";
        const JABBERWOCKY: &[u8] = b"'Twas brillig, and the slithy toves\nDid gyre and gimble in \
            the wabe:\nAll mimsy were the borogoves,\nAnd the mome raths outgrabe.";
        for (key, message, expected) in [
            (
                "85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b",
                &b"Cryptographic Forum Research Group"[..],
                "a8061dc1305136c6c22b8baf0c0127a9",
            ),
            (
                "0000000000000000000000000000000000000000000000000000000000000000",
                &[0; 64],
                "00000000000000000000000000000000",
            ),
            (
                "0000000000000000000000000000000036e5f6b5c5e06070f0efca96227a863e",
                IETF,
                "36e5f6b5c5e06070f0efca96227a863e",
            ),
            (
                "36e5f6b5c5e06070f0efca96227a863e00000000000000000000000000000000",
                IETF,
                "f3477e7cd95417af89a6b8794c310cf0",
            ),
            (
                "1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0",
                JABBERWOCKY,
                "4541669a7eaaee61e708dc7cbcc5eb62",
            ),
        ] {
            check(key, message, expected);
        }
    }

    /// RFC 8439, appendix A.3, vectors 5 to 11: sums at and around p and 2^128, where carries
    /// and the last reduction show.
    #[test]
    fn edges_of_the_reduction() {
        for (key, message, expected) in [
            (
                "0200000000000000000000000000000000000000000000000000000000000000",
                "ffffffffffffffffffffffffffffffff",
                "03000000000000000000000000000000",
            ),
            (
                "02000000000000000000000000000000ffffffffffffffffffffffffffffffff",
                "02000000000000000000000000000000",
                "03000000000000000000000000000000",
            ),
            (
                "0100000000000000000000000000000000000000000000000000000000000000",
                "fffffffffffffffffffffffffffffffff0ffffffffffffffffffffffffffffff\
             11000000000000000000000000000000",
                "05000000000000000000000000000000",
            ),
            (
                "0100000000000000000000000000000000000000000000000000000000000000",
                "fffffffffffffffffffffffffffffffffbfefefefefefefefefefefefefefefe\
             01010101010101010101010101010101",
                "00000000000000000000000000000000",
            ),
            (
                "0200000000000000000000000000000000000000000000000000000000000000",
                "fdffffffffffffffffffffffffffffff",
                "faffffffffffffffffffffffffffffff",
            ),
            (
                "0100000000000000040000000000000000000000000000000000000000000000",
                "e33594d7505e43b900000000000000003394d7505e4379cd0100000000000000\
             0000000000000000000000000000000001000000000000000000000000000000",
                "14000000000000005500000000000000",
            ),
            (
                "0100000000000000040000000000000000000000000000000000000000000000",
                "e33594d7505e43b900000000000000003394d7505e4379cd0100000000000000\
             00000000000000000000000000000000",
                "13000000000000000000000000000000",
            ),
        ] {
            check(key, &from_hex(message), expected);
        }
    }

    /// What `multiply` promises of its limbs, for the largest it may be given, and what
    /// `low_128_bits` makes of the largest it may be given.
    #[test]
    fn bounds() {
        let product = multiply(&[(1 << 28) - 1; 5], &[LIMB_MASK; 5]);
        assert!(product[0] < LIMB_MASK + 5, "{product:?}");
        assert!(
            product[1..].iter().all(|limb| *limb <= LIMB_MASK),
            "{product:?}"
        );
        let most = [LIMB_MASK + 5, LIMB_MASK, LIMB_MASK, LIMB_MASK, LIMB_MASK];
        assert_eq!(low_128_bits(most), 9); // 2^130 + 4
        assert_eq!(low_128_bits([LIMB_MASK + 5, 0, 0, 0, 0]), 1 << 26 | 4);
        let p = [LIMB_MASK - 4, LIMB_MASK, LIMB_MASK, LIMB_MASK, LIMB_MASK];
        assert_eq!(low_128_bits(p), 0);
    }

    /// The tag of nothing is s.
    #[test]
    fn empty_message() {
        let key: Vec<u8> = (0..32).collect();
        assert_eq!(tag(key[..].try_into().unwrap(), &[])[..], key[16..]);
    }
}
