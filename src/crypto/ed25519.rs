//! Verification of Ed25519 signatures (RFC 8032, section 5.1; FIPS 186-5, section 7.7).
//!
//! A signature is accepted exactly if
//! - it is 64 bytes, `R || S`, and the public key `A` is 32;
//! - `S` is below the group order L: `S + L` would be a second signature (step 1);
//! - `A` is the canonical encoding of a point of the curve (section 5.1.3): y below p, and no
//!   sign on x = 0;
//! - `[S]B = R + [k]A` with `k = SHA-512(R || A || M) mod L`, the equation without the cofactor
//!   that step 3 allows.
//!
//! The equation is checked by encoding `[S]B - [k]A` and comparing bytes, so an `R` that is not
//! canonical, or no point at all, is refused without decoding it. All this is what Go's
//! crypto/ed25519 decides, with one exception: Go also decodes the few non-canonical encodings
//! of `A`. RFC 8032 refuses them, and no signer derives one from a private key.
//!
//! A point of small order is accepted where the equation holds, as the RFC and Go have it. A key
//! of that kind proves nothing, but an honest owner never has one, and it counts for nothing here
//! until a certificate authority has signed it.
//!
//! All inputs are public; time depends on them.

use super::Error;
use super::field25519::Element;
use super::sha2::{Hash, digest};

/// Checks `signature` over the concatenation of `message` (section 5.1.7).
pub(crate) fn verify(public: &[u8], message: &[&[u8]], signature: &[u8]) -> Result<(), Error> {
    let public: &[u8; 32] = public.try_into().map_err(|_| Error::BadLength)?;
    let signature: &[u8; 64] = signature.try_into().map_err(|_| Error::BadLength)?;

    // Step 1: the halves of the signature, and the public key.
    let (r, s) = signature.split_at(32);
    let s = Scalar::from_canonical(s).ok_or(Error::BadSignature)?;
    let a = Point::decode(public).ok_or(Error::BadPoint)?;

    // Step 2: k.
    let mut parts = vec![r, public];
    parts.extend_from_slice(message);
    let k = Scalar::reduced(digest(Hash::Sha512, &parts).as_ref());

    // Step 3: the equation, as R = [S]B - [k]A.
    if Point::sum_of_products(&s, &Point::base(), &k, &a.neg()).encode() == r {
        Ok(())
    } else {
        Err(Error::BadSignature)
    }
}

/// A number below the group order L, in 64-bit limbs, the least significant first.
struct Scalar([u64; 4]);

/// L = 2^252 + 27742317777372353535851937790883648493, the order of the base point (section 5.1).
const ORDER: [u64; 4] = [
    0x5812631a5cf5d3ed,
    0x14def9dea2f79cd6,
    0,
    0x1000000000000000,
];

impl Scalar {
    /// Bits in L.
    const BITS: usize = 253;

    /// The number that 32 little-endian bytes encode, unless it is L or above.
    fn from_canonical(bytes: &[u8]) -> Option<Self> {
        let mut limbs = [0; 4];
        for (limb, bytes) in limbs.iter_mut().zip(bytes.chunks_exact(8)) {
            let mut array = [0; 8];
            array.copy_from_slice(bytes);
            *limb = u64::from_le_bytes(array);
        }
        match minus_order(&limbs) {
            Some(_) => None,
            None => Some(Self(limbs)),
        }
    }

    /// The number that little-endian bytes encode, modulo L: bit by bit from the highest,
    /// twice what came before plus the bit stays below 2L < 2^254.
    fn reduced(bytes: &[u8]) -> Self {
        let mut limbs = [0; 4];
        for byte in bytes.iter().rev() {
            for bit in (0..8).rev() {
                let mut carry = u64::from(byte >> bit) & 1;
                for limb in &mut limbs {
                    let top = *limb >> 63;
                    *limb = *limb << 1 | carry;
                    carry = top;
                }
                limbs = minus_order(&limbs).unwrap_or(limbs);
            }
        }
        Self(limbs)
    }

    fn bit(&self, index: usize) -> bool {
        (self.0[index / 64] >> (index % 64)) & 1 == 1
    }
}

/// `limbs - L`, unless that is negative.
fn minus_order(limbs: &[u64; 4]) -> Option<[u64; 4]> {
    let mut difference = [0; 4];
    let mut borrow = false;
    for i in 0..4 {
        let (less, first) = limbs[i].overflowing_sub(ORDER[i]);
        let (less, second) = less.overflowing_sub(u64::from(borrow));
        difference[i] = less;
        borrow = first || second;
    }
    if borrow { None } else { Some(difference) }
}

/// A point in extended homogeneous coordinates, x = X/Z, y = Y/Z, x * y = T/Z
/// (section 5.1.4).
#[derive(Clone, Copy)]
struct Point {
    x: Element,
    y: Element,
    z: Element,
    t: Element,
}

/// d = -121665/121666, of the curve equation -x^2 + y^2 = 1 + d x^2 y^2 (section 5.1).
const D: [u8; 32] = [
    0xa3, 0x78, 0x59, 0x13, 0xca, 0x4d, 0xeb, 0x75, 0xab, 0xd8, 0x41, 0x41, 0x4d, 0x0a, 0x70, 0x00,
    0x98, 0xe8, 0x79, 0x77, 0x79, 0x40, 0xc7, 0x8c, 0x73, 0xfe, 0x6f, 0x2b, 0xee, 0x6c, 0x03, 0x52,
];
/// 2^((p - 1) / 4), a square root of -1 (section 5.1.3, step 3).
const SQRT_MINUS_ONE: [u8; 32] = [
    0xb0, 0xa0, 0x0e, 0x4a, 0x27, 0x1b, 0xee, 0xc4, 0x78, 0xe4, 0x2f, 0xad, 0x06, 0x18, 0x43, 0x2f,
    0xa7, 0xd7, 0xfb, 0x3d, 0x99, 0x00, 0x4d, 0x2b, 0x0b, 0xdf, 0xc1, 0x4f, 0x80, 0x24, 0x83, 0x2b,
];
/// The coordinates of the base point B (section 5.1): y is 4/5, x is even.
const BASE_X: [u8; 32] = [
    0x1a, 0xd5, 0x25, 0x8f, 0x60, 0x2d, 0x56, 0xc9, 0xb2, 0xa7, 0x25, 0x95, 0x60, 0xc7, 0x2c, 0x69,
    0x5c, 0xdc, 0xd6, 0xfd, 0x31, 0xe2, 0xa4, 0xc0, 0xfe, 0x53, 0x6e, 0xcd, 0xd3, 0x36, 0x69, 0x21,
];
const BASE_Y: [u8; 32] = {
    let mut y = [0x66; 32];
    y[0] = 0x58;
    y
};

impl Point {
    const IDENTITY: Self = Self {
        x: Element::ZERO,
        y: Element::ONE,
        z: Element::ONE,
        t: Element::ZERO,
    };

    fn from_affine(x: Element, y: Element) -> Self {
        Self {
            x,
            y,
            z: Element::ONE,
            t: x.mul(&y),
        }
    }

    fn base() -> Self {
        Self::from_affine(Element::from_bytes(&BASE_X), Element::from_bytes(&BASE_Y))
    }

    /// The point that `bytes` encode canonically (section 5.1.3).
    fn decode(bytes: &[u8; 32]) -> Option<Self> {
        // Step 1: the sign of x and y, which must be below p.
        let mut y_bytes = *bytes;
        y_bytes[31] &= 0x7f;
        let odd = bytes[31] >> 7;
        let y = Element::from_bytes(&y_bytes);
        if y.to_bytes() != y_bytes {
            return None;
        }
        // Step 2: a candidate root of x^2 = u / v, (u / v)^((p + 3) / 8) without a division.
        let y2 = y.square();
        let u = y2.sub(&Element::ONE);
        let v = Element::from_bytes(&D).mul(&y2).add(&Element::ONE);
        let v3 = v.square().mul(&v);
        let v7 = v3.square().mul(&v);
        let mut x = u.mul(&v3).mul(&u.mul(&v7).pow_p_minus_5_over_8());
        // Step 3: it is the root, or the square root of -1 turns it into the root, or there
        // is none.
        let vx2 = v.mul(&x.square()).to_bytes();
        if vx2 != u.to_bytes() {
            if vx2 != u.neg().to_bytes() {
                return None;
            }
            x = x.mul(&Element::from_bytes(&SQRT_MINUS_ONE));
        }
        // Step 4: the root with the right sign; zero has none.
        let x_bytes = x.to_bytes();
        if x_bytes == [0; 32] && odd == 1 {
            return None;
        }
        if x_bytes[0] & 1 != odd {
            x = x.neg();
        }
        Some(Self::from_affine(x, y))
    }

    /// The canonical encoding (section 5.1.2).
    fn encode(&self) -> [u8; 32] {
        let z_inverse = self.z.invert();
        let mut bytes = self.y.mul(&z_inverse).to_bytes();
        bytes[31] |= (self.x.mul(&z_inverse).to_bytes()[0] & 1) << 7;
        bytes
    }

    fn neg(&self) -> Self {
        Self {
            x: self.x.neg(),
            y: self.y,
            z: self.z,
            t: self.t.neg(),
        }
    }

    /// The sum of any two points, equal ones too (section 5.1.4).
    fn add(&self, other: &Self) -> Self {
        let d2 = Element::from_bytes(&D).mul_small(2);
        let a = self.y.sub(&self.x).mul(&other.y.sub(&other.x));
        let b = self.y.add(&self.x).mul(&other.y.add(&other.x));
        let c = self.t.mul(&d2).mul(&other.t);
        let d = self.z.mul_small(2).mul(&other.z);
        Self::complete(&b.sub(&a), &d.sub(&c), &d.add(&c), &b.add(&a))
    }

    /// Twice the point (section 5.1.4).
    fn double(&self) -> Self {
        let a = self.x.square();
        let b = self.y.square();
        let c = self.z.square().mul_small(2);
        let h = a.add(&b);
        let e = h.sub(&self.x.add(&self.y).square());
        let g = a.sub(&b);
        Self::complete(&e, &c.add(&g), &g, &h)
    }

    /// The products that end both formulas of section 5.1.4.
    fn complete(e: &Element, f: &Element, g: &Element, h: &Element) -> Self {
        Self {
            x: e.mul(f),
            y: g.mul(h),
            z: f.mul(g),
            t: e.mul(h),
        }
    }

    /// `[m]P + [n]Q`, one doubling for both a bit.
    fn sum_of_products(m: &Scalar, p: &Self, n: &Scalar, q: &Self) -> Self {
        let mut sum = Self::IDENTITY;
        for index in (0..Scalar::BITS).rev() {
            sum = sum.double();
            if m.bit(index) {
                sum = sum.add(p);
            }
            if n.bit(index) {
                sum = sum.add(q);
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::from_hex;

    /// Public key, message, signature: RFC 8032, section 7.1, TEST 1, 2, 3 and SHA(abc).
    const CASES: &[(&str, &str, &str)] = &[
        (
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155\
             5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
             18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
        (
            "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589\
             09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
        ),
    ];

    #[test]
    fn rfc_8032() {
        for (public, message, signature) in CASES {
            let message = from_hex(message);
            let (head, tail) = message.split_at(message.len() / 2);
            assert_eq!(
                verify(&from_hex(public), &[head, tail], &from_hex(signature)),
                Ok(()),
                "{public}"
            );
        }
    }

    /// Every single-bit change of the signature, the key and the message.
    #[test]
    fn any_change_is_refused() {
        let (public, message, signature) = CASES[2];
        let good = [from_hex(public), from_hex(message), from_hex(signature)];
        for part in 0..good.len() {
            for bit in 0..good[part].len() * 8 {
                let mut changed = good.clone();
                changed[part][bit / 8] ^= 1 << (bit % 8);
                let [public, message, signature] = &changed;
                assert!(
                    verify(public, &[message], signature).is_err(),
                    "{part} {bit}"
                );
            }
        }
    }

    #[test]
    fn wrong_lengths_are_errors() {
        let (public, message, signature) = CASES[1];
        let [public, message, signature] = [public, message, signature].map(from_hex);
        for length in (0..100).filter(|n| *n != 64) {
            let other: Vec<u8> = signature.iter().cycle().take(length).copied().collect();
            assert_eq!(verify(&public, &[&message], &other), Err(Error::BadLength));
        }
        for length in (0..100).filter(|n| *n != 32) {
            let other: Vec<u8> = public.iter().cycle().take(length).copied().collect();
            assert_eq!(
                verify(&other, &[&message], &signature),
                Err(Error::BadLength)
            );
        }
    }

    /// S + L satisfies the equation as S does, and is refused all the same.
    #[test]
    fn malleated_s_is_refused() {
        let (public, message, signature) = CASES[0];
        let mut signature = from_hex(signature);
        let mut carry = 0;
        let order: Vec<u8> = ORDER.iter().flat_map(|limb| limb.to_le_bytes()).collect();
        for (byte, add) in signature[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            *byte = sum as u8;
            carry = sum >> 8;
        }
        assert_eq!(
            verify(&from_hex(public), &[&from_hex(message)], &signature),
            Err(Error::BadSignature)
        );
    }

    /// The order itself is 0 and one below it is not.
    #[test]
    fn scalars_are_reduced() {
        let bytes = |limbs: [u64; 4]| limbs.map(u64::to_le_bytes).concat();
        let mut below = ORDER;
        below[0] -= 1;
        assert_eq!(Scalar::reduced(&bytes(ORDER)).0, [0; 4]);
        assert_eq!(Scalar::reduced(&bytes(below)).0, below);
        assert!(Scalar::from_canonical(&bytes(ORDER)).is_none());
        assert!(Scalar::from_canonical(&bytes(below)).is_some());
        assert!(Scalar::from_canonical(&[0xff; 32]).is_none());
        // 2^512 - 1 modulo L, worked out elsewhere.
        assert_eq!(
            bytes(Scalar::reduced(&[0xff; 64]).0),
            from_hex("000f9c44e31106a447938568a71b0ed065bef517d273ecce3d9a307c1b419903")
        );
    }

    /// The constants are what their definitions say.
    #[test]
    fn constants() {
        let number = |n| Element::ONE.mul_small(n);
        let d = Element::from_bytes(&D);
        assert_eq!(
            d.mul_small(121_666).to_bytes(),
            number(121_665).neg().to_bytes()
        );
        let root = Element::from_bytes(&SQRT_MINUS_ONE);
        assert_eq!(root.square().to_bytes(), Element::ONE.neg().to_bytes());
        assert_eq!(
            Element::from_bytes(&BASE_Y).mul_small(5).to_bytes(),
            number(4).to_bytes()
        );
        let decoded = Point::decode(&BASE_Y).unwrap();
        assert_eq!(decoded.x.to_bytes(), BASE_X);
        // L times the base point is the identity: the equation with S = 0, k = L and R = 1.
        let order = Scalar(ORDER);
        let zero = Scalar([0; 4]);
        let multiple = Point::sum_of_products(&order, &Point::base(), &zero, &Point::base());
        assert_eq!(multiple.encode(), Point::IDENTITY.encode());
    }

    /// Encodings of public keys: which are points (RFC 8032, section 5.1.3).
    #[test]
    fn decoding() {
        let bytes = |low: u8, middle: u8, high: u8| {
            let mut bytes = [middle; 32];
            bytes[0] = low;
            bytes[31] = high;
            bytes
        };
        for (name, encoding, valid) in [
            ("y = 1, x = 0", bytes(1, 0, 0), true),
            ("y = 1, x = 0 with a sign", bytes(1, 0, 0x80), false),
            ("y = -1, x = 0", bytes(0xec, 0xff, 0x7f), true),
            ("y = -1, x = 0 with a sign", bytes(0xec, 0xff, 0xff), false),
            ("y = 0, x even", bytes(0, 0, 0), true),
            ("y = 0, x odd", bytes(0, 0, 0x80), true),
            ("y = p, that is 0", bytes(0xed, 0xff, 0x7f), false),
            ("y = p, that is 0, x odd", bytes(0xed, 0xff, 0xff), false),
            ("y = p + 1, that is 1", bytes(0xee, 0xff, 0x7f), false),
            ("y = 2^255 - 1, that is 18", bytes(0xff, 0xff, 0x7f), false),
            ("y = 2, no root", bytes(2, 0, 0), false),
            ("y = 3, a root", bytes(3, 0, 0), true),
            ("the base point", BASE_Y, true),
        ] {
            let point = Point::decode(&encoding);
            assert_eq!(point.is_some(), valid, "{name}");
            if let Some(point) = point {
                assert_eq!(point.encode(), encoding, "{name}");
            }
            let mut signature = [0; 64];
            signature[0] = 2;
            let expected = if valid {
                Error::BadSignature
            } else {
                Error::BadPoint
            };
            assert_eq!(verify(&encoding, &[], &signature), Err(expected), "{name}");
        }
    }

    /// With A of small order the equation holds for R = [S]B now and then: the verdict follows
    /// the equation alone, without the cofactor, and k is taken modulo L before it.
    #[test]
    fn small_order_keys_follow_the_equation() {
        // A = (0, 1): any k, so R = [0]B = (0, 1) always verifies.
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        assert_eq!(verify(&identity, &[b"any"], &signature), Ok(()));
        // A = (0, -1), of order 2: R = (0, 1) verifies exactly if k is even, and with the
        // cofactor it always would.
        let mut minus_one = [0xff; 32];
        minus_one[0] = 0xec;
        minus_one[31] = 0x7f;
        let mut verdicts = [0, 0];
        for message in 0..64u8 {
            let parts = [&identity[..], &minus_one[..], &[message]];
            let k = Scalar::reduced(digest(Hash::Sha512, &parts).as_ref());
            let verdict = verify(&minus_one, &[&[message]], &signature);
            assert_eq!(verdict.is_ok(), !k.bit(0), "{message}");
            verdicts[usize::from(verdict.is_ok())] += 1;
        }
        assert!(verdicts.iter().all(|count| *count > 16), "{verdicts:?}");
    }
}
