//! Arithmetic modulo p = 2^255 - 19, the field of X25519 and Ed25519 (RFC 7748, section 4.1).
//!
//! An element is five limbs of 51 bits. Every operation takes and returns limbs below 2^52, so
//! any result may go into any operation; only [`Element::to_bytes`] reduces all the way. There
//! is no branch and no address that depends on a value.

/// Bits in a limb.
const LIMB_BITS: u32 = 51;
/// What leaves the bits of a limb.
const LIMB_MASK: u64 = (1 << LIMB_BITS) - 1;

/// An element of the field: `sum of limb[i] * 2^(51 i)`, each limb below 2^52.
#[derive(Clone, Copy)]
pub(super) struct Element([u64; 5]);

impl Element {
    /// The neutral element of addition.
    pub(super) const ZERO: Self = Self([0; 5]);
    /// The neutral element of multiplication.
    pub(super) const ONE: Self = Self([1, 0, 0, 0, 0]);

    /// The number that 32 little-endian bytes encode, without the highest bit
    /// (RFC 7748, section 5). It may be p or above.
    pub(super) fn from_bytes(bytes: &[u8; 32]) -> Self {
        // The 64 bits that begin at a byte at or before the limb, then the rest of the shift.
        let limb = |byte: usize, shift: u32| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[byte..byte + 8]);
            (u64::from_le_bytes(word) >> shift) & LIMB_MASK
        };
        Self([
            limb(0, 0),
            limb(6, 3),
            limb(12, 6),
            limb(19, 1),
            limb(24, 12),
        ])
    }

    /// The canonical encoding: the number below p, little-endian.
    pub(super) fn to_bytes(self) -> [u8; 32] {
        // Carried once more the limbs fit 51 bits, but the second may exceed them by one: the
        // number is below 2^255 + 2^51 < 2p.
        let limbs = carry(self.0.map(u128::from)).0;
        // Adding 19 carries into bit 255 exactly if the number is p or above.
        let mut quotient = (limbs[0] + 19) >> LIMB_BITS;
        for limb in &limbs[1..] {
            quotient = (limb + quotient) >> LIMB_BITS;
        }
        // Subtract p as often: add 19 and leave out bit 255.
        let mut reduced = [0; 5];
        let mut carry = 19 * quotient;
        for (out, limb) in reduced.iter_mut().zip(limbs) {
            let sum = limb + carry;
            *out = sum & LIMB_MASK;
            carry = sum >> LIMB_BITS;
        }
        let [a, b, c, d, e] = reduced;
        let words = [
            a | b << 51,
            b >> 13 | c << 38,
            c >> 26 | d << 25,
            d >> 39 | e << 12,
        ];
        let mut bytes = [0; 32];
        for (bytes, word) in bytes.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The sum.
    pub(super) fn add(&self, other: &Self) -> Self {
        let mut sum = self.0;
        for (limb, add) in sum.iter_mut().zip(other.0) {
            *limb += add;
        }
        carry(sum.map(u128::from))
    }

    /// The difference.
    pub(super) fn sub(&self, other: &Self) -> Self {
        /// The limbs of 4p, each above any limb that is subtracted.
        const FOUR_P: [u64; 5] = [
            4 * (LIMB_MASK - 18),
            4 * LIMB_MASK,
            4 * LIMB_MASK,
            4 * LIMB_MASK,
            4 * LIMB_MASK,
        ];
        let mut difference = FOUR_P;
        for ((limb, add), subtract) in difference.iter_mut().zip(self.0).zip(other.0) {
            *limb = *limb + add - subtract;
        }
        carry(difference.map(u128::from))
    }

    /// The number that adds up to zero.
    pub(super) fn neg(&self) -> Self {
        Self::ZERO.sub(self)
    }

    /// The product. Limbs are below 2^52: five products, four of them times 19, make a sum
    /// below 2^111.
    pub(super) fn mul(&self, other: &Self) -> Self {
        let wide = |x: u64, y: u64| u128::from(x) * u128::from(y);
        let [a0, a1, a2, a3, a4] = self.0;
        let [b0, b1, b2, b3, b4] = other.0;
        // 2^255 is 19 modulo p.
        let [c1, c2, c3, c4] = [19 * b1, 19 * b2, 19 * b3, 19 * b4];
        carry([
            wide(a0, b0) + wide(a1, c4) + wide(a2, c3) + wide(a3, c2) + wide(a4, c1),
            wide(a0, b1) + wide(a1, b0) + wide(a2, c4) + wide(a3, c3) + wide(a4, c2),
            wide(a0, b2) + wide(a1, b1) + wide(a2, b0) + wide(a3, c4) + wide(a4, c3),
            wide(a0, b3) + wide(a1, b2) + wide(a2, b1) + wide(a3, b0) + wide(a4, c4),
            wide(a0, b4) + wide(a1, b3) + wide(a2, b2) + wide(a3, b1) + wide(a4, b0),
        ])
    }

    /// The product with itself.
    pub(super) fn square(&self) -> Self {
        self.mul(self)
    }

    /// The product with a small number.
    pub(super) fn mul_small(&self, factor: u32) -> Self {
        carry(self.0.map(|limb| u128::from(limb) * u128::from(factor)))
    }

    /// The inverse, `x^(p - 2)`; zero for zero.
    pub(super) fn invert(&self) -> Self {
        // p - 2 = 2^255 - 21 = (2^250 - 1) * 2^5 + 11.
        let (x_2_250_1, x11) = self.power_ladder();
        x_2_250_1.square_times(5).mul(&x11)
    }

    /// `x^((p - 5) / 8)`, from which square roots are made (RFC 8032, section 5.1.3).
    pub(super) fn pow_p_minus_5_over_8(&self) -> Self {
        // (p - 5) / 8 = 2^252 - 3 = (2^250 - 1) * 2^2 + 1.
        let (x_2_250_1, _) = self.power_ladder();
        x_2_250_1.square_times(2).mul(self)
    }

    /// `x^(2^250 - 1)` and `x^11`. A run of ones in the exponent doubles in length when it is
    /// moved by its own length and multiplied with itself.
    fn power_ladder(&self) -> (Self, Self) {
        let x2 = self.square();
        let x9 = x2.square_times(2).mul(self);
        let x11 = x9.mul(&x2);
        let ones5 = x11.square().mul(&x9); // 2 * 11 + 9 = 2^5 - 1
        let ones10 = ones5.square_times(5).mul(&ones5);
        let ones20 = ones10.square_times(10).mul(&ones10);
        let ones40 = ones20.square_times(20).mul(&ones20);
        let ones50 = ones40.square_times(10).mul(&ones10);
        let ones100 = ones50.square_times(50).mul(&ones50);
        let ones200 = ones100.square_times(100).mul(&ones100);
        (ones200.square_times(50).mul(&ones50), x11)
    }

    fn square_times(&self, count: u32) -> Self {
        (0..count).fold(*self, |x, _| x.square())
    }

    /// Exchanges `a` and `b` if `swap` is one, in the same time if it is zero
    /// (RFC 7748, section 5, `cswap`).
    pub(super) fn swap_if(swap: u64, a: &mut Self, b: &mut Self) {
        let mask = swap.wrapping_neg();
        for (a, b) in a.0.iter_mut().zip(&mut b.0) {
            let difference = mask & (*a ^ *b);
            *a ^= difference;
            *b ^= difference;
        }
    }
}

/// Moves what exceeds 51 bits of a limb to the next, from the top one to the lowest times 19,
/// and from there once more. Sums below 2^112 come out below 2^52: the top one yields at most
/// 2^61, times 19 is below 2^66, which leaves at most 2^15 for the second limb.
fn carry(mut sums: [u128; 5]) -> Element {
    let mask = u128::from(LIMB_MASK);
    for i in 0..4 {
        sums[i + 1] += sums[i] >> LIMB_BITS;
        sums[i] &= mask;
    }
    sums[0] += 19 * (sums[4] >> LIMB_BITS);
    sums[4] &= mask;
    sums[1] += sums[0] >> LIMB_BITS;
    sums[0] &= mask;
    Element(sums.map(|limb| limb as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// p + n, little-endian.
    fn p_plus(n: i32) -> [u8; 32] {
        let mut bytes = [0xff; 32];
        bytes[0] = (0xed + n) as u8;
        bytes[31] = 0x7f;
        bytes
    }

    fn small(n: u8) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[0] = n;
        bytes
    }

    /// Numbers near the ends of limbs and of the field, where carries and the last reduction
    /// show.
    fn samples() -> Vec<Element> {
        let mut samples = vec![Element([(1 << 52) - 1; 5]), Element([LIMB_MASK; 5])];
        for index in 0..5 {
            for limb in [1, LIMB_MASK, LIMB_MASK + 1, (1 << 52) - 1] {
                let mut limbs = [0; 5];
                limbs[index] = limb;
                samples.push(Element(limbs));
            }
        }
        for n in -20..=18 {
            samples.push(Element::from_bytes(&p_plus(n)));
        }
        // A pseudo-random walk: each the square of the last but one times the last, plus one.
        for _ in 0..20 {
            let [.., a, b] = samples[..] else { break };
            samples.push(a.square().mul(&b).add(&Element::ONE));
        }
        samples
    }

    #[test]
    fn encodings_are_canonical() {
        for (n, expected) in [
            (-1, p_plus(-1)),
            (0, small(0)),
            (1, small(1)),
            (18, small(18)),
        ] {
            assert_eq!(
                Element::from_bytes(&p_plus(n)).to_bytes(),
                expected,
                "p + {n}"
            );
        }
        // 2p, as limbs may hold it, is zero.
        let twice = |limb| 2 * limb;
        let limbs = [LIMB_MASK - 18, LIMB_MASK, LIMB_MASK, LIMB_MASK, LIMB_MASK].map(twice);
        assert_eq!(Element(limbs).to_bytes(), small(0));
        // The highest bit is ignored.
        assert_eq!(Element::from_bytes(&[0xff; 32]).to_bytes(), small(18));
        // Five limbs of 2^52 - 1 are (2^52 - 1) (2^255 - 1) / (2^51 - 1), here modulo p.
        let most = Element([(1 << 52) - 1; 5]);
        let twice = Element([LIMB_MASK; 5]).mul_small(2);
        let ones = Element([1; 5]);
        assert_eq!(most.to_bytes(), twice.add(&ones).to_bytes());
        for x in samples() {
            let bytes = x.to_bytes();
            assert_eq!(Element::from_bytes(&bytes).to_bytes(), bytes);
        }
    }

    #[test]
    fn laws_of_a_field() {
        let samples = samples();
        for (index, a) in samples.iter().enumerate() {
            let b = &samples[(index * 7 + 3) % samples.len()];
            let c = &samples[(index * 5 + 1) % samples.len()];
            let same = |x: Element, y: Element| assert_eq!(x.to_bytes(), y.to_bytes(), "{index}");
            same(a.add(b), b.add(a));
            same(a.mul(b), b.mul(a));
            same(a.mul(b).mul(c), a.mul(&b.mul(c)));
            same(a.mul(&b.add(c)), a.mul(b).add(&a.mul(c)));
            same(a.sub(b), b.sub(a).neg());
            same(a.sub(b).add(b), *a);
            same(a.mul_small(3), a.add(a).add(a));
            if a.to_bytes() == small(0) {
                same(a.invert(), Element::ZERO);
            } else {
                same(a.invert().mul(a), Element::ONE);
                // x^((p - 5) / 8 * 8 + 4) = x^(p - 1) = 1
                same(
                    a.pow_p_minus_5_over_8()
                        .square_times(3)
                        .mul(&a.square_times(2)),
                    Element::ONE,
                );
            }
            // Every result is within the bound that every operation takes.
            for x in [
                a.add(b),
                a.sub(b),
                a.mul(b),
                a.mul_small(u32::MAX),
                a.invert(),
            ] {
                assert!(x.0.iter().all(|limb| *limb < 1 << 52), "{index}");
            }
        }
    }

    #[test]
    fn swap_swaps_or_not() {
        let (mut a, mut b) = (Element::ZERO, Element::ONE);
        Element::swap_if(0, &mut a, &mut b);
        assert_eq!((a.to_bytes(), b.to_bytes()), (small(0), small(1)));
        Element::swap_if(1, &mut a, &mut b);
        assert_eq!((a.to_bytes(), b.to_bytes()), (small(1), small(0)));
    }
}
