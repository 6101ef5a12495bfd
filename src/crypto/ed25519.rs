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
//! canonical, or not a point, is refused without decoding it. Go's crypto/ed25519 decides the same,
//! with one exception: Go also decodes the few non-canonical encodings
//! of `A`. RFC 8032 refuses them, and no signer derives one from a private key.
//!
//! A point of small order is accepted where the equation holds, as in the RFC and Go. A key
//! of that kind proves nothing, but an honest owner never has one, and it is not used here
//! until a certificate authority has signed it.
//!
//! All inputs are public; time depends on them.

use super::Error;
use super::bignum::{Modulus, P25519, Residue, Uint, sum_of_multiples};
use super::sha2::{Hash, digest};

/// L = 2^252 + 27742317777372353535851937790883648493, the order of the base point (section 5.1).
const ORDER: Uint<8> =
    Uint::from_hex("1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed");

/// Checks `signature` over the concatenation of `message` (section 5.1.7).
pub(crate) fn verify(public: &[u8], message: &[&[u8]], signature: &[u8]) -> Result<(), Error> {
    let public: &[u8; 32] = public.try_into().map_err(|_| Error::BadLength)?;
    let signature: &[u8; 64] = signature.try_into().map_err(|_| Error::BadLength)?;

    // Step 1: the halves of the signature, and the public key.
    let (r, s) = signature.split_at(32);
    let s = Uint::from_le_bytes(s);
    if !s.is_below(&ORDER) {
        return Err(Error::BadSignature);
    }
    let a = Point::decode(public).ok_or(Error::BadPoint)?;

    // Step 2: k, modulo L.
    let mut parts = vec![r, public];
    parts.extend_from_slice(message);
    let order = Modulus::new(ORDER).ok_or(Error::BadKey)?;
    let k = Uint::from_le_bytes(digest(Hash::Sha512, &parts).as_ref());
    let k = order.to_uint(&order.to_residue(&k));

    // Step 3: the equation, as R = [S]B - [k]A.
    let (b, a) = (Point::base(), a.neg());
    let sum = sum_of_multiples((&s, &b), (&k, &a), Point::identity(), Point::add);
    (sum.encode() == r).then_some(()).ok_or(Error::BadSignature)
}

/// A point in extended homogeneous coordinates, x = X/Z, y = Y/Z, x * y = T/Z
/// (section 5.1.4).
#[derive(Clone, Copy)]
struct Point {
    x: Residue<4>,
    y: Residue<4>,
    z: Residue<4>,
    t: Residue<4>,
}

/// The field of the coordinates.
const F: Modulus<4> = P25519;

/// d = -121665/121666, of the curve equation -x^2 + y^2 = 1 + d x^2 y^2 (section 5.1).
const D: Uint<4> =
    Uint::from_hex("52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3");
/// 2^((p - 1) / 4), a square root of -1 (section 5.1.3, step 3).
const SQRT_MINUS_ONE: Uint<4> =
    Uint::from_hex("2b8324804fc1df0b2b4d00993dfbd7a72f431806ad2fe478c4ee1b274a0ea0b0");
/// (p - 5) / 8
const ROOT_EXPONENT: Uint<4> =
    Uint::from_hex("0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffd");
/// The coordinates of the base point B (section 5.1): y is 4/5, x is even.
const BASE_X: Uint<4> =
    Uint::from_hex("216936d3cd6e53fec0a4e231fdd6dc5c692cc7609525a7b2c9562d608f25d51a");
const BASE_Y: Uint<4> =
    Uint::from_hex("6666666666666666666666666666666666666666666666666666666666666658");

fn square(x: &Residue<4>) -> Residue<4> {
    F.mul(x, x)
}

fn negated(x: &Residue<4>) -> Residue<4> {
    F.sub(&Residue::ZERO, x)
}

impl Point {
    fn identity() -> Self {
        Self::from_affine(Residue::ZERO, F.one)
    }

    fn from_affine(x: Residue<4>, y: Residue<4>) -> Self {
        Self {
            x,
            y,
            z: F.one,
            t: F.mul(&x, &y),
        }
    }

    fn base() -> Self {
        Self::from_affine(F.to_residue(&BASE_X), F.to_residue(&BASE_Y))
    }

    /// The point that `bytes` encode canonically (section 5.1.3).
    fn decode(bytes: &[u8; 32]) -> Option<Self> {
        // Step 1: the sign of x and y, which must be below p.
        let mut y = *bytes;
        y[31] &= 0x7f;
        let odd = bytes[31] >> 7 == 1;
        let y = Uint::from_le_bytes(&y);
        if !y.is_below(&F.value) {
            return None;
        }
        let y = F.to_residue(&y);
        // Step 2: a candidate root of x^2 = u / v, (u / v)^((p + 3) / 8) without a division.
        let y2 = square(&y);
        let u = F.sub(&y2, &F.one);
        let v = F.add(&F.mul(&F.to_residue(&D), &y2), &F.one);
        let v3 = F.mul(&square(&v), &v);
        let v7 = F.mul(&square(&v3), &v);
        let power = F.pow(&F.mul(&u, &v7), &ROOT_EXPONENT);
        let mut x = F.mul(&F.mul(&u, &v3), &power);
        // Step 3: it is the root, or becomes the root when multiplied by the square root of -1, or
        // there is no root.
        let vx2 = F.mul(&v, &square(&x));
        if vx2 != u {
            if vx2 != negated(&u) {
                return None;
            }
            x = F.mul(&x, &F.to_residue(&SQRT_MINUS_ONE));
        }
        // Step 4: the root with the right sign; zero has no sign.
        if x == Residue::ZERO && odd {
            return None;
        }
        if F.to_uint(&x).is_odd() != odd {
            x = negated(&x);
        }
        Some(Self::from_affine(x, y))
    }

    /// The canonical encoding (section 5.1.2).
    fn encode(&self) -> [u8; 32] {
        let z_inverse = F.invert_prime(&self.z);
        let [x, y] = [self.x, self.y].map(|c| F.to_uint(&F.mul(&c, &z_inverse)));
        let mut bytes = [0; 32];
        bytes.copy_from_slice(y.to_le_bytes().as_flattened());
        bytes[31] |= u8::from(x.is_odd()) << 7;
        bytes
    }

    fn neg(&self) -> Self {
        Self {
            x: negated(&self.x),
            t: negated(&self.t),
            ..*self
        }
    }

    /// The sum of any two points, equal ones too (section 5.1.4).
    fn add(&self, other: &Self) -> Self {
        let twice = |x: Residue<4>| F.add(&x, &x);
        let a = F.mul(&F.sub(&self.y, &self.x), &F.sub(&other.y, &other.x));
        let b = F.mul(&F.add(&self.y, &self.x), &F.add(&other.y, &other.x));
        let c = F.mul(&F.mul(&self.t, &twice(F.to_residue(&D))), &other.t);
        let d = F.mul(&twice(self.z), &other.z);
        let (e, f, g, h) = (F.sub(&b, &a), F.sub(&d, &c), F.add(&d, &c), F.add(&b, &a));
        Self {
            x: F.mul(&e, &f),
            y: F.mul(&g, &h),
            z: F.mul(&f, &g),
            t: F.mul(&e, &h),
        }
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
        let order = ORDER.to_le_bytes();
        for (byte, add) in signature[32..].iter_mut().zip(order.as_flattened()) {
            let sum = u16::from(*byte) + u16::from(*add) + carry;
            *byte = sum as u8;
            carry = sum >> 8;
        }
        assert_eq!(
            verify(&from_hex(public), &[&from_hex(message)], &signature),
            Err(Error::BadSignature)
        );
    }

    /// S = L - 1 is in range; S = L is not, whatever the equation says.
    #[test]
    fn s_is_below_the_order() {
        // A = (0, 1) takes every R = [S]B.
        let identity = Point::identity().encode();
        let order = ORDER.to_le_bytes();
        let order = &order.as_flattened()[..32];
        let below = [&[order[0] - 1], &order[1..]].concat();
        let minus_base = Point::base().neg().encode();
        let last = [&minus_base[..], &below].concat();
        assert_eq!(verify(&identity, &[], &last), Ok(()));
        let beyond = [&identity[..], order].concat();
        assert_eq!(verify(&identity, &[], &beyond), Err(Error::BadSignature));
    }

    /// The constants are what their definitions say.
    #[test]
    fn constants() {
        let number = |n: u64| F.to_residue(&Uint::from_le_bytes(&n.to_le_bytes()));
        assert_eq!(
            F.mul(&F.to_residue(&D), &number(121_666)),
            negated(&number(121_665))
        );
        assert_eq!(square(&F.to_residue(&SQRT_MINUS_ONE)), negated(&F.one));
        assert_eq!(F.mul(&F.to_residue(&BASE_Y), &number(5)), number(4));
        // 8 (p - 5) / 8 + 5 = 0 modulo p: x to that power and x^5 are x^p = x.
        let power = F.pow(&number(3), &ROOT_EXPONENT);
        let eighth = square(&square(&square(&power)));
        assert_eq!(F.mul(&eighth, &number(243)), number(3));
        let base = Point::decode(&BASE).unwrap();
        assert_eq!(base.x, F.to_residue(&BASE_X));
        assert_eq!(base.encode(), BASE);
        // L times the base point is the identity.
        let zero = Uint::from_le_bytes(&[]);
        let multiple = sum_of_multiples(
            (&ORDER, &base),
            (&zero, &base),
            Point::identity(),
            Point::add,
        );
        assert_eq!(multiple.encode(), Point::identity().encode());
    }

    /// The encoding of the base point: y alone, x being even.
    const BASE: [u8; 32] = {
        let mut y = [0x66; 32];
        y[0] = 0x58;
        y
    };

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
            ("the base point", BASE, true),
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
            let k = Uint::<8>::from_le_bytes(digest(Hash::Sha512, &parts).as_ref());
            let order = Modulus::new(ORDER).unwrap();
            let k = order.to_uint(&order.to_residue(&k));
            let verdict = verify(&minus_one, &[&[message]], &signature);
            assert_eq!(verdict.is_ok(), !k.is_odd(), "{message}");
            verdicts[usize::from(verdict.is_ok())] += 1;
        }
        assert!(verdicts.iter().all(|count| *count > 16), "{verdicts:?}");
    }
}
