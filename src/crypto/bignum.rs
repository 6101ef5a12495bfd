//! Fixed-size unsigned integers and arithmetic modulo an odd number, by Montgomery's method.
//!
//! The size is a type parameter, `L` limbs of 64 bits: 4, 6 and 9 for the curves P-256, P-384
//! and P-521, 4 for Curve25519, up to [`MAX_LIMBS`] for RSA. Every index is bounded
//! by `L`, so no input can cause a panic; only [`Uint::to_be_bytes`] allocates.
//!
//! Timing: [`Modulus::add`], [`Modulus::sub`], [`Modulus::mul`] and what is built of them execute
//! the same instructions whatever the values are, because secrets pass through them in `ecdh` and
//! `x25519`. Four things run in variable time, on data that is always public here:
//! [`Modulus::new`] in the modulus, [`Modulus::pow`] in the exponent (not in the base),
//! [`Uint::bit_len`], and [`sum_of_multiples`]. All that a peer chooses, signatures and keys, is
//! public too.
//!
//! A number in Montgomery form, `a * R mod m` with `R = 2^(64 L)`, is a [`Residue`]; a plain one
//! is a [`Uint`]. The types keep the two forms apart; the caller must use a residue with its own
//! modulus.
//!
//! Method: P. L. Montgomery, "Modular multiplication without trial division", 1985, with
//! multiplication and reduction interleaved limb by limb.

use super::ct;

/// The most limbs that any caller uses: 8192 bits, the largest RSA modulus accepted.
pub(crate) const MAX_LIMBS: usize = 128;

/// An unsigned integer below `2^(64 L)`, least significant limb first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Uint<const L: usize>([u64; L]);

impl<const L: usize> Uint<L> {
    /// The number in lower-case hexadecimal, as standards print constants.
    pub(crate) const fn from_hex(text: &str) -> Self {
        let digits = text.as_bytes();
        let mut limbs = [0; L];
        let mut i = 0;
        while i < digits.len() {
            let digit = match digits[digits.len() - 1 - i] {
                digit @ b'0'..=b'9' => digit - b'0',
                letter => letter - b'a' + 10,
            };
            limbs[i / 16] |= (digit as u64) << (4 * (i % 16));
            i += 1;
        }
        Self(limbs)
    }

    /// The number that `bytes` encode (OS2IP of RFC 8017, section 4.2), or `None` if it needs
    /// more than `L` limbs. Leading zero bytes do not count.
    pub(crate) fn from_be_bytes(bytes: &[u8]) -> Option<Self> {
        let mut limbs = [0; L];
        let mut chunks = bytes.rchunks(8);
        for (limb, chunk) in limbs.iter_mut().zip(&mut chunks) {
            for byte in chunk {
                *limb = (*limb << 8) | u64::from(*byte);
            }
        }
        let fits = chunks.flatten().all(|byte| *byte == 0);
        fits.then_some(Self(limbs))
    }

    /// The number that little-endian `bytes` encode; bytes beyond `L` limbs are ignored.
    pub(super) fn from_le_bytes(bytes: &[u8]) -> Self {
        let mut limbs = [0; L];
        for (limb, chunk) in limbs.iter_mut().zip(bytes.chunks(8)) {
            for byte in chunk.iter().rev() {
                *limb = (*limb << 8) | u64::from(*byte);
            }
        }
        Self(limbs)
    }

    /// The bytes of the number, the least significant first.
    pub(super) fn to_le_bytes(self) -> [[u8; 8]; L] {
        self.0.map(u64::to_le_bytes)
    }

    /// The number in `length` bytes, padded with zeros on the left (I2OSP of RFC 8017, section 4.1), or
    /// `None` if it does not fit. Does not branch on the limbs.
    pub(crate) fn to_be_bytes(self, length: usize) -> Option<Vec<u8>> {
        let mut digits = self.0.iter().flat_map(|limb| limb.to_le_bytes());
        let mut bytes = vec![0; length];
        for (byte, digit) in bytes.iter_mut().rev().zip(&mut digits) {
            *byte = digit;
        }
        let excess = digits.fold(0, |all, digit| all | digit);
        (excess == 0).then_some(bytes)
    }

    /// How many bits the number takes without leading zeros; 0 for zero.
    pub(crate) fn bit_len(&self) -> usize {
        let top = self.0.iter().rposition(|limb| *limb != 0);
        top.map_or(0, |top| {
            64 * (top + 1) - self.0[top].leading_zeros() as usize
        })
    }

    /// The bit of weight `2^index`, 0 or 1; 0 beyond the end.
    pub(crate) fn bit(&self, index: usize) -> u64 {
        self.0
            .get(index / 64)
            .map_or(0, |limb| limb >> (index % 64) & 1)
    }

    /// Whether the number is odd.
    pub(crate) fn is_odd(&self) -> bool {
        self.bit(0) == 1
    }

    /// Whether the number is zero. Does not branch on its limbs.
    pub(crate) fn is_zero(&self) -> bool {
        self.0.iter().fold(0, |all, limb| all | limb) == 0
    }

    /// Whether the number is below `other`. Does not branch on either's limbs.
    pub(crate) fn is_below(&self, other: &Self) -> bool {
        sub_limbs(&self.0, &other.0).1 == 1
    }

    /// The number less a small one, which must not be larger.
    fn minus(&self, small: u64) -> Self {
        let mut subtrahend = [0; L];
        subtrahend[0] = small;
        Self(sub_limbs(&self.0, &subtrahend).0)
    }
}

/// A number modulo some [`Modulus`], in Montgomery form and fully reduced, so that equal
/// residues have equal limbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Residue<const L: usize>([u64; L]);

impl<const L: usize> Residue<L> {
    /// Zero, in any modulus.
    pub(crate) const ZERO: Self = Self([0; L]);

    /// `one` if `choice` is 1, `zero` if it is 0, without a branch.
    pub(crate) fn select(choice: u64, zero: &Self, one: &Self) -> Self {
        Self(ct::select(choice, &zero.0, &one.0))
    }
}

/// An odd modulus and what multiplication modulo it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Modulus<const L: usize> {
    /// `m`
    pub(super) value: Uint<L>,
    /// `-m^-1 mod 2^64`
    negated_inverse: u64,
    /// `R mod m`: the residue of one.
    pub(super) one: Residue<L>,
    /// `R^2 mod m`: takes a number to its residue.
    r_squared: Residue<L>,
}

/// 2^255 - 19, the prime of X25519 and Ed25519, prepared: 2^256 is 38 modulo it.
pub(super) const P25519: Modulus<4> = Modulus {
    value: Uint([0xffffffffffffffed, u64::MAX, u64::MAX, u64::MAX >> 1]),
    negated_inverse: 0x86bca1af286bca1b,
    one: Residue([38, 0, 0, 0]),
    r_squared: Residue([38 * 38, 0, 0, 0]),
};

impl<const L: usize> Modulus<L> {
    /// Prepares arithmetic modulo `value`, or `None` if it is even or 1.
    pub(crate) fn new(value: Uint<L>) -> Option<Self> {
        let bits = value.bit_len();
        if !value.is_odd() || bits < 2 {
            return None;
        }
        // Newton's iteration: an odd number is its own inverse modulo 8, and each step doubles
        // the number of correct low bits: 3, 6, 12, 24, 48, 96.
        let low = value.0[0];
        let mut inverse = low;
        for _ in 0..5 {
            inverse = inverse.wrapping_mul(2_u64.wrapping_sub(low.wrapping_mul(inverse)));
        }
        let mut modulus = Self {
            value,
            negated_inverse: inverse.wrapping_neg(),
            one: Residue::ZERO,
            r_squared: Residue::ZERO,
        };
        // R mod m: the largest power of two below m, doubled until it stands for R.
        let mut power = Residue::ZERO;
        power.0[(bits - 1) / 64] = 1 << ((bits - 1) % 64);
        for _ in bits - 1..64 * L {
            power = modulus.add(&power, &power);
        }
        modulus.one = power;
        // R^2 mod m: the residue of R = 2^(64 L), by square and double.
        let mut r_squared = modulus.one;
        for index in (0..usize::BITS - (64 * L).leading_zeros()).rev() {
            r_squared = modulus.mul(&r_squared, &r_squared);
            if (64 * L) >> index & 1 == 1 {
                r_squared = modulus.add(&r_squared, &r_squared);
            }
        }
        modulus.r_squared = r_squared;
        Some(modulus)
    }

    /// The residue of any number of this size; one above the modulus is reduced.
    pub(crate) fn to_residue(&self, number: &Uint<L>) -> Residue<L> {
        // The first factor need not be reduced; see `mul`.
        self.mul(&Residue(number.0), &self.r_squared)
    }

    /// The number, below the modulus, that `residue` stands for.
    pub(crate) fn to_uint(&self, residue: &Residue<L>) -> Uint<L> {
        let mut one = Residue::ZERO;
        one.0[0] = 1;
        Uint(self.mul(residue, &one).0)
    }

    /// `a + b`
    pub(crate) fn add(&self, a: &Residue<L>, b: &Residue<L>) -> Residue<L> {
        let (sum, carry) = add_limbs(&a.0, &b.0);
        self.reduce_once(&sum, carry)
    }

    /// `a - b`
    pub(crate) fn sub(&self, a: &Residue<L>, b: &Residue<L>) -> Residue<L> {
        let (difference, borrow) = sub_limbs(&a.0, &b.0);
        // Below zero: the modulus is added back, and the carry out cancels the borrow.
        let mask = ct::mask(borrow);
        Residue(add_limbs(&difference, &self.value.0.map(|limb| limb & mask)).0)
    }

    /// `a * b`, that is `a * b / R mod m` of the limbs.
    ///
    /// With `t` the accumulator, each turn computes `(t + a * b[i] + q * m) / 2^64`, where `q`
    /// makes the division exact. By induction `t < a + m`, so `t` takes one bit more than `L`
    /// limbs; and after the last turn `t < a * b / R + m`, which is below `2 m` if `b` is
    /// reduced, even if `a` is not: one subtraction completes the reduction.
    pub(crate) fn mul(&self, a: &Residue<L>, b: &Residue<L>) -> Residue<L> {
        let m = &self.value.0;
        let mut t = [0; L];
        let mut top = 0;
        for digit in b.0 {
            let (low, mut carry_product) = mul_add(a.0[0], digit, t[0], 0);
            let q = low.wrapping_mul(self.negated_inverse);
            let (_, mut carry_reduction) = mul_add(m[0], q, low, 0);
            for j in 1..L {
                let (sum, carry) = mul_add(a.0[j], digit, t[j], carry_product);
                carry_product = carry;
                (t[j - 1], carry_reduction) = mul_add(m[j], q, sum, carry_reduction);
            }
            (t[L - 1], top) = add_with_carry(carry_product, carry_reduction, top);
        }
        self.reduce_once(&t, top)
    }

    /// `base` to the power of `exponent`; variable time in the exponent.
    pub(crate) fn pow<const E: usize>(&self, base: &Residue<L>, exponent: &Uint<E>) -> Residue<L> {
        let mut power = self.one;
        for index in (0..exponent.bit_len()).rev() {
            power = self.mul(&power, &power);
            if exponent.bit(index) == 1 {
                power = self.mul(&power, base);
            }
        }
        power
    }

    /// The inverse of `a` if the modulus is prime, as `a^(m-2)` (Fermat's little theorem), which
    /// is what FIPS 186-5, appendix B.1, computes in another way; 0 for 0.
    pub(crate) fn invert_prime(&self, a: &Residue<L>) -> Residue<L> {
        self.pow(a, &self.value.minus(2))
    }

    /// `top * R + limbs`, which must be below twice the modulus, reduced.
    fn reduce_once(&self, limbs: &[u64; L], top: u64) -> Residue<L> {
        let (difference, borrow) = sub_limbs(limbs, &self.value.0);
        // The value is below the modulus exactly if the subtraction borrows beyond `top`; it never
        // leaves a one there.
        Residue(ct::select(borrow ^ top, &difference, limbs))
    }
}

/// `u * p + v * q` in a group of this zero and addition, for public `u` and `v`: two bits of each at
/// a time, in variable time.
pub(super) fn sum_of_multiples<const L: usize, P: Copy>(
    (u, p): (&Uint<L>, &P),
    (v, q): (&Uint<L>, &P),
    zero: P,
    add: impl Fn(&P, &P) -> P,
) -> P {
    // i + 4 j: i p + j q
    let mut multiples = [zero; 16];
    for index in 1..16 {
        multiples[index] = match index % 4 {
            0 => add(&multiples[index - 4], q),
            _ => add(&multiples[index - 1], p),
        };
    }
    let mut sum = zero;
    for bit in (0..u.bit_len().max(v.bit_len())).step_by(2).rev() {
        sum = add(&sum, &sum);
        sum = add(&sum, &sum);
        let two_bits = |number: &Uint<L>| (number.bit(bit) | number.bit(bit + 1) << 1) as usize;
        match two_bits(u) + 4 * two_bits(v) {
            0 => {}
            index => sum = add(&sum, &multiples[index]),
        }
    }
    sum
}

/// `a + b + carry` as low limb and carry. The carry is 0 or 1, in and out.
fn add_with_carry(a: u64, b: u64, carry: u64) -> (u64, u64) {
    let (sum, first) = a.overflowing_add(b);
    let (sum, second) = sum.overflowing_add(carry);
    (sum, u64::from(first | second))
}

/// `a + b` as limbs and final carry, 0 or 1.
fn add_limbs<const L: usize>(a: &[u64; L], b: &[u64; L]) -> ([u64; L], u64) {
    let mut sum = [0; L];
    let mut carry = 0;
    for i in 0..L {
        let (limb, carry_out) = add_with_carry(a[i], b[i], carry);
        sum[i] = limb;
        carry = carry_out;
    }
    (sum, carry)
}

/// `a - b` as limbs and final borrow, 0 or 1.
fn sub_limbs<const L: usize>(a: &[u64; L], b: &[u64; L]) -> ([u64; L], u64) {
    let mut difference = [0; L];
    let mut borrow = false;
    for i in 0..L {
        let (limb, first) = a[i].overflowing_sub(b[i]);
        let (limb, second) = limb.overflowing_sub(u64::from(borrow));
        difference[i] = limb;
        borrow = first | second;
    }
    (difference, u64::from(borrow))
}

/// `a * b + c + d` as low and high limb: at most `(2^64 - 1)^2 + 2 (2^64 - 1) = 2^128 - 1`.
fn mul_add(a: u64, b: u64, c: u64, d: u64) -> (u64, u64) {
    let wide = u128::from(a) * u128::from(b) + u128::from(c) + u128::from(d);
    (wide as u64, (wide >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::from_hex;

    fn uint<const L: usize>(text: &str) -> Uint<L> {
        Uint::from_be_bytes(&from_hex(text)).expect("the number fits")
    }

    #[test]
    fn bytes_to_number_and_back() {
        // (bytes, whether they fit two limbs, length in bits)
        const CASES: &[(&str, bool, usize)] = &[
            ("", true, 0),
            ("00", true, 0),
            ("01", true, 1),
            ("80", true, 8),
            ("0100", true, 9),
            ("ffffffffffffffff", true, 64),
            ("010000000000000000", true, 65),
            ("fedcba98765432100123456789abcdef", true, 128),
            ("0000fedcba98765432100123456789abcdef", true, 128),
            ("01fedcba98765432100123456789abcdef", false, 0),
            (
                "01000000000000000000000000000000000000000000000000",
                false,
                0,
            ),
        ];
        for (text, fits, bits) in CASES {
            let bytes = from_hex(text);
            let number = Uint::<2>::from_be_bytes(&bytes);
            assert_eq!(number.is_some(), *fits, "{text}");
            let Some(number) = number else { continue };
            assert_eq!(number.bit_len(), *bits, "{text}");
            assert_eq!(number.is_zero(), *bits == 0, "{text}");
            let reversed = number.to_le_bytes();
            assert_eq!(
                Uint::from_le_bytes(reversed.as_flattened()),
                number,
                "{text}"
            );
            // Every width: too narrow is refused, wider is padded on the left.
            for width in 0..20 {
                let out = number.to_be_bytes(width);
                assert_eq!(
                    out.is_some(),
                    width >= bits.div_ceil(8),
                    "{text} in {width}"
                );
                let Some(mut out) = out else { continue };
                assert_eq!(out.len(), width, "{text}");
                assert_eq!(Uint::from_be_bytes(&out), Some(number), "{text} in {width}");
                out.reverse();
                assert_eq!(Uint::from_le_bytes(&out), number, "{text} in {width}");
            }
            assert_eq!(Uint::from_hex(text.trim_start_matches('0')), number);
        }
    }

    #[test]
    fn bits_and_order() {
        let number = Uint([0x0000000000000005, 0x8000000000000000]);
        let set: Vec<usize> = (0..300).filter(|index| number.bit(*index) == 1).collect();
        assert_eq!(set, [0, 2, 127]);
        assert!(number.is_odd());

        let ascending = [
            [0, 0],
            [0, 1],
            [0, u64::MAX],
            [1, 0],
            [1, 1],
            [u64::MAX, u64::MAX],
        ]
        .map(|[high, low]| Uint([low, high]));
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(a.is_below(b), i < j, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn even_numbers_and_one_are_no_moduli() {
        for bad in [
            "00",
            "01",
            "02",
            "0100000000000000000000000000000000",
            "fffffffffffffffe",
        ] {
            assert!(Modulus::<3>::new(uint(bad)).is_none(), "{bad}");
        }
        assert!(Modulus::<3>::new(uint("03")).is_some());
    }

    /// Every operation on every pair modulo small numbers, against the machine's own division.
    /// Three limbs for numbers of one byte also exercise a modulus far below R.
    #[test]
    fn small_moduli_exhaustively() {
        for m in [3_u64, 5, 7, 255, 257] {
            let modulus = Modulus::<3>::new(Uint([m, 0, 0])).expect("odd");
            let residue = |number: u64| modulus.to_residue(&Uint([number, 0, 0]));
            for a in 0..m {
                assert_eq!(modulus.to_uint(&residue(a)), Uint([a, 0, 0]));
                for b in 0..m {
                    let (ra, rb) = (residue(a), residue(b));
                    assert_eq!(
                        modulus.add(&ra, &rb),
                        residue((a + b) % m),
                        "{a}+{b} mod {m}"
                    );
                    assert_eq!(
                        modulus.sub(&ra, &rb),
                        residue((a + m - b) % m),
                        "{a}-{b} mod {m}"
                    );
                    assert_eq!(modulus.mul(&ra, &rb), residue(a * b % m), "{a}*{b} mod {m}");
                }
            }
        }
    }

    /// Where carries run through every limb: moduli and operands of all ones and single bits.
    /// `(a + b) (a - b) = a^2 - b^2` and `a^-1 a = 1` must hold whatever the method.
    #[test]
    fn carries_at_the_extremes() {
        // All prime: 2^192 - 2^64 - 1, 2^127 - 1 and 2^64 + 13.
        let moduli = [
            "fffffffffffffffffffffffffffffffeffffffffffffffff",
            "7fffffffffffffffffffffffffffffff",
            "01000000000000000d",
        ];
        let mut operands = vec![uint::<3>("00"), Uint([u64::MAX; 3])];
        for bit in 0..192 {
            let mut limbs = [0; 3];
            limbs[bit / 64] = 1 << (bit % 64);
            operands.push(Uint(limbs));
            operands.push(Uint(limbs).minus(1));
        }
        for text in moduli {
            let m = Modulus::<3>::new(uint(text)).expect("odd");
            let residues: Vec<_> = operands.iter().map(|number| m.to_residue(number)).collect();
            for a in &residues {
                let inverse = m.invert_prime(a);
                let product = if *a == Residue::ZERO {
                    Residue::ZERO
                } else {
                    m.one
                };
                assert_eq!(m.mul(&inverse, a), product, "{a:?} mod {text}");
                for b in residues.iter().step_by(7) {
                    let left = m.mul(&m.add(a, b), &m.sub(a, b));
                    let right = m.sub(&m.mul(a, a), &m.mul(b, b));
                    assert_eq!(left, right, "{a:?} {b:?} mod {text}");
                    assert!(m.to_uint(&left).is_below(&m.value));
                }
            }
        }
    }

    /// A number above the modulus is reduced, up to the largest of its size.
    #[test]
    fn numbers_above_the_modulus_are_reduced() {
        // 2^192 - 1 mod 2^127 - 1 = 2^65 - 1
        let m = Modulus::<3>::new(uint("7fffffffffffffffffffffffffffffff")).expect("odd");
        let reduced = m.to_uint(&m.to_residue(&Uint([u64::MAX; 3])));
        assert_eq!(reduced, uint("01ffffffffffffffff"));
        assert_eq!(m.to_residue(&m.value), Residue::ZERO);
    }

    /// The prime that comes prepared is prepared as any other would be.
    #[test]
    fn prepared() {
        let value = "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed";
        assert_eq!(Modulus::new(uint(value)), Some(P25519));
    }

    /// Sums of multiples in the group of the integers modulo 2^64, where they are products.
    #[test]
    fn multiples() {
        for u in (0..1000).step_by(7) {
            for v in (0..600).step_by(5) {
                let (x, y) = (Uint([u, u]), Uint([v, 0]));
                let sum =
                    sum_of_multiples((&x, &3), (&y, &(1 << 40)), 0_u64, |a, b| a.wrapping_add(*b));
                // 2^64 times anything is zero here.
                assert_eq!(sum, u * 3 + (v << 40), "{u} {v}");
            }
        }
    }

    #[test]
    fn powers() {
        let m = Modulus::<1>::new(uint("fffffffb")).expect("odd");
        let three = m.to_residue(&uint("03"));
        // (exponent, 3^exponent mod 2^32 - 5, a prime)
        for (exponent, expected) in [
            ("00", "01"),
            ("01", "03"),
            ("05", "f3"),
            ("fffffffa", "01"),
            ("fffffffb", "03"),
        ] {
            let power = m.to_uint(&m.pow(&three, &uint::<2>(exponent)));
            assert_eq!(power, uint(expected), "3^{exponent}");
        }
    }

    #[test]
    fn selection() {
        let (zero, one) = (Residue([1, 2]), Residue([u64::MAX, 0]));
        assert_eq!(Residue::select(0, &zero, &one), zero);
        assert_eq!(Residue::select(1, &zero, &one), one);
    }
}
