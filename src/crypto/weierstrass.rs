//! The curves P-256, P-384 and P-521 (SP 800-186, section 3.2.1): group law, multiplication by
//! scalars, and decoding of points with full validation.
//!
//! Points are projective, `(X : Y : Z)` for `(X/Z, Y/Z)`, and added by the complete formulas of
//! J. Renes, C. Costello, L. Batina, "Complete addition formulas for prime order elliptic
//! curves" (EUROCRYPT 2016), algorithm 4, for `a = -3`. Complete means: correct for every pair of
//! points of a curve of odd order, equal, opposite or at infinity. So one function of 14
//! multiplications adds and doubles, without special cases. A separate doubling would save one
//! multiplication only.
//!
//! Invariant: every [`Point`] is on its curve. They come from the parameters, from
//! [`Group::decode`], which checks it, and from the group law.
//!
//! Timing: [`Group::add`] and [`Group::multiply`] execute the same instructions for all values
//! (`ecdh` multiplies by a secret); [`Group::multiply_and_add`] and [`Group::decode`] are
//! variable time and only ever see public values.

use super::bignum::{Modulus, Residue, Uint, sum_of_multiples};

/// The supported curves, all with `a = -3`, cofactor 1 and prime order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Curve {
    /// NIST P-256, secp256r1
    P256,
    /// NIST P-384, secp384r1
    P384,
    /// NIST P-521, secp521r1
    P521,
}

/// Domain parameters of `y^2 = x^3 - 3x + b` over the integers modulo `p`, in hexadecimal: the
/// generator is (`x`, `y`), and `n` is its order and that of the group, for the cofactor is 1. `L` is
/// the number of limbs that they take.
pub(crate) struct Parameters<const L: usize> {
    p: &'static str,
    b: &'static str,
    x: &'static str,
    y: &'static str,
    n: &'static str,
}

/// SP 800-186, section 3.2.1.3
pub(crate) const P256: Parameters<4> = Parameters {
    p: "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
    b: "5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b",
    x: "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296",
    y: "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
    n: "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
};

/// SP 800-186, section 3.2.1.4
pub(crate) const P384: Parameters<6> = Parameters {
    p: "ffffffffffffffffffffffffffffffffffffffffffffffff\
        fffffffffffffffeffffffff0000000000000000ffffffff",
    b: "b3312fa7e23ee7e4988e056be3f82d19181d9c6efe814112\
        0314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aef",
    x: "aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b98\
        59f741e082542a385502f25dbf55296c3a545e3872760ab7",
    y: "3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147c\
        e9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f",
    n: "ffffffffffffffffffffffffffffffffffffffffffffffff\
        c7634d81f4372ddf581a0db248b0a77aecec196accc52973",
};

/// SP 800-186, section 3.2.1.5
pub(crate) const P521: Parameters<9> = Parameters {
    p: "1ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\
        ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    b: "51953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109\
        e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00",
    x: "c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3d\
        baa14b5e77efe75928fe1dc127a2ffa8de3348b3c1856a429bf97e7e31c2e5bd66",
    y: "11839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e66\
        2c97ee72995ef42640c550b9013fad0761353c7086a272c24088be94769fd16650",
    n: "1ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\
        fa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
};

/// A point of a curve, the one at infinity, `(0 : 1 : 0)`, included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point<const L: usize> {
    x: Residue<L>,
    y: Residue<L>,
    z: Residue<L>,
}

/// A curve ready for arithmetic.
pub(crate) struct Group<const L: usize> {
    field: Modulus<L>,
    /// Arithmetic modulo the order n.
    pub(super) order: Modulus<L>,
    b: Residue<L>,
    pub(super) generator: Point<L>,
}

impl<const L: usize> Group<L> {
    /// Prepares a curve. `None` only if `p` or `n` were even.
    pub(crate) fn new(parameters: &Parameters<L>) -> Option<Self> {
        let field = Modulus::new(Uint::from_hex(parameters.p))?;
        let residue = |text| field.to_residue(&Uint::from_hex(text));
        Some(Self {
            b: residue(parameters.b),
            generator: Point {
                x: residue(parameters.x),
                y: residue(parameters.y),
                z: field.one,
            },
            order: Modulus::new(Uint::from_hex(parameters.n))?,
            field,
        })
    }

    /// Bytes in a coordinate, and in a scalar: as many as p and n have.
    pub(super) fn coordinate_len(&self) -> usize {
        self.field.value.bit_len().div_ceil(8)
    }

    /// Whether `scalar` is in the interval [1, n-1]. Does not branch on its limbs.
    pub(crate) fn is_scalar(&self, scalar: &Uint<L>) -> bool {
        scalar.is_below(&self.order.value) & !scalar.is_zero()
    }

    /// The point that `bytes` encode: SEC 1, section 2.3.4, restricted to the uncompressed form,
    /// the only one that TLS 1.3 has (RFC 8446, section 4.2.8.2) and Go's X.509 accepts. This is
    /// also full public-key validation, SP 800-56A (revision 3), section 5.6.2.3.3.
    pub(crate) fn decode(&self, bytes: &[u8]) -> Option<Point<L>> {
        // SEC 1 steps 3.1 and 3.2, SP 800-56A step 1: 0x04 || X || Y. The point at infinity is
        // the single byte 0x00, a compressed one begins with 0x02 or 0x03; neither passes.
        let (&0x04, coordinates) = bytes.split_first()? else {
            return None;
        };
        let (x, y) = coordinates.split_at_checked(self.coordinate_len())?;
        if y.len() != x.len() {
            return None;
        }
        // SEC 1 steps 3.3 and 3.4 (section 2.3.6), SP 800-56A step 2: both in [0, p-1].
        let x = Uint::from_be_bytes(x)?;
        let y = Uint::from_be_bytes(y)?;
        if !x.is_below(&self.field.value) || !y.is_below(&self.field.value) {
            return None;
        }
        let point = Point {
            x: self.field.to_residue(&x),
            y: self.field.to_residue(&y),
            z: self.field.one,
        };
        // SEC 1 step 3.5, SP 800-56A step 3. Its step 4, n Q = infinity, holds for every point
        // of a curve with cofactor 1.
        self.on_curve(&point.x, &point.y).then_some(point)
    }

    /// Whether `y^2 = x^3 - 3x + b`.
    fn on_curve(&self, x: &Residue<L>, y: &Residue<L>) -> bool {
        let f = &self.field;
        let x_cubed = f.mul(&f.mul(x, x), x);
        let three_x = f.add(&f.add(x, x), x);
        f.mul(y, y) == f.add(&f.sub(&x_cubed, &three_x), &self.b)
    }

    /// The affine coordinates of `point`, or `None` at infinity.
    pub(crate) fn affine(&self, point: &Point<L>) -> Option<(Uint<L>, Uint<L>)> {
        if point.z == Residue::ZERO {
            return None;
        }
        let f = &self.field;
        let z_inverse = f.invert_prime(&point.z);
        Some((
            f.to_uint(&f.mul(&point.x, &z_inverse)),
            f.to_uint(&f.mul(&point.y, &z_inverse)),
        ))
    }

    /// The point at infinity.
    fn infinity(&self) -> Point<L> {
        Point {
            x: Residue::ZERO,
            y: self.field.one,
            z: Residue::ZERO,
        }
    }

    /// `p + q`, for any two points.
    ///
    /// Numbers in brackets are the steps of algorithm 4, whose registers have names here.
    pub(crate) fn add(&self, p: &Point<L>, q: &Point<L>) -> Point<L> {
        let f = &self.field;
        // [1-3] the products of like coordinates
        let xx = f.mul(&p.x, &q.x);
        let yy = f.mul(&p.y, &q.y);
        let zz = f.mul(&p.z, &q.z);
        // [4-8] X1 Y2 + X2 Y1
        let xy = f.mul(&f.add(&p.x, &p.y), &f.add(&q.x, &q.y));
        let xy = f.sub(&xy, &f.add(&xx, &yy));
        // [9-13] Y1 Z2 + Y2 Z1
        let yz = f.mul(&f.add(&p.y, &p.z), &f.add(&q.y, &q.z));
        let yz = f.sub(&yz, &f.add(&yy, &zz));
        // [14-18] X1 Z2 + X2 Z1
        let xz = f.mul(&f.add(&p.x, &p.z), &f.add(&q.x, &q.z));
        let xz = f.sub(&xz, &f.add(&xx, &zz));
        // [19-22] u = 3 (xz - b zz)
        let u = f.sub(&xz, &f.mul(&self.b, &zz));
        let u = f.add(&f.add(&u, &u), &u);
        // [23-24] yy - u, yy + u
        let minus = f.sub(&yy, &u);
        let plus = f.add(&yy, &u);
        // [25-31] v = 3 (b xz - 3 zz - xx)
        let three_zz = f.add(&f.add(&zz, &zz), &zz);
        let v = f.sub(&f.sub(&f.mul(&self.b, &xz), &three_zz), &xx);
        let v = f.add(&f.add(&v, &v), &v);
        // [32-34] w = 3 (xx - zz)
        let w = f.sub(&f.add(&f.add(&xx, &xx), &xx), &three_zz);
        Point {
            // [35, 39-40]
            x: f.sub(&f.mul(&xy, &plus), &f.mul(&yz, &v)),
            // [36-38]
            y: f.add(&f.mul(&plus, &minus), &f.mul(&w, &v)),
            // [41-43]
            z: f.add(&f.mul(&yz, &minus), &f.mul(&xy, &w)),
        }
    }

    /// `scalar * point` for a secret scalar below n: an addition at every bit, kept or not by a
    /// selection without a branch.
    pub(crate) fn multiply(&self, scalar: &Uint<L>, point: &Point<L>) -> Point<L> {
        let mut product = self.infinity();
        for index in (0..self.order.value.bit_len()).rev() {
            product = self.add(&product, &product);
            let sum = self.add(&product, point);
            let bit = scalar.bit(index);
            product = Point {
                x: Residue::select(bit, &product.x, &sum.x),
                y: Residue::select(bit, &product.y, &sum.y),
                z: Residue::select(bit, &product.z, &sum.z),
            };
        }
        product
    }

    /// `u * G + v * point` for public scalars, in variable time.
    pub(crate) fn multiply_and_add(&self, u: &Uint<L>, v: &Uint<L>, point: &Point<L>) -> Point<L> {
        let add = |p: &Point<L>, q: &Point<L>| self.add(p, q);
        sum_of_multiples((u, &self.generator), (v, point), self.infinity(), add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::from_hex;

    /// Keys of RFC 6979, appendices A.2.5 to A.2.7: private key, coordinates of the public key.
    const KEY_256: [&str; 3] = [
        "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721",
        "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6",
        "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
    ];
    const KEY_384: [&str; 3] = [
        "6b9d3dad2e1b8c1c05b19875b6659f4de23c3b667bf297ba9aa47740787137d8\
         96d5724e4c70a825f872c9ea60d2edf5",
        "ec3a4e415b4e19a4568618029f427fa5da9a8bc4ae92e02e06aae5286b300c64\
         def8f0ea9055866064a254515480bc13",
        "8015d9b72d7d57244ea8ef9ac0c621896708a59367f9dfb9f54ca84b3f1c9db1\
         288b231c3ae0d4fe7344fd2533264720",
    ];
    const KEY_521: [&str; 3] = [
        "00fad06daa62ba3b25d2fb40133da757205de67f5bb0018fee8c86e1b68c7e75\
         caa896eb32f1f47c70855836a6d16fcc1466f6d8fbec67db89ec0c08b0e996b8\
         3538",
        "01894550d0785932e00eaa23b694f213f8c3121f86dc97a04e5a7167db4e5bcd\
         371123d46e45db6b5d5370a7f20fb633155d38ffa16d2bd761dcac474b9a2f50\
         23a4",
        "00493101c962cd4d2fddf782285e64584139c2f91b47f87ff82354d6630f746a\
         28a0db25741b5b34a828008b22acc23f924faafbd4d33f81ea66956dfeaa2bfd\
         fcf5",
    ];

    fn group<const L: usize>(parameters: &Parameters<L>) -> Group<L> {
        Group::new(parameters).expect("p and n are odd")
    }

    fn uint<const L: usize>(text: &str) -> Uint<L> {
        Uint::from_be_bytes(&from_hex(text)).expect("the number fits")
    }

    fn negate<const L: usize>(group: &Group<L>, point: &Point<L>) -> Point<L> {
        Point {
            y: group.field.sub(&Residue::ZERO, &point.y),
            ..*point
        }
    }

    fn parameters_are_consistent<const L: usize>(parameters: &Parameters<L>, bits: usize) {
        let group = group(parameters);
        let (p, n) = (&group.field.value, &group.order.value);
        assert_eq!([p.bit_len(), n.bit_len()], [bits, bits]);
        let g = &group.generator;
        assert!(group.on_curve(&g.x, &g.y));
        let n_g = group.multiply(n, g);
        assert!(group.affine(&n_g).is_none(), "n G is infinity");
        assert!(!group.is_scalar(n));
        assert!(!group.is_scalar(&uint("00")));
        assert!(group.is_scalar(&uint("01")));
        let last = group
            .order
            .to_uint(&group.order.sub(&Residue::ZERO, &group.order.one));
        assert!(group.is_scalar(&last));
        assert_eq!(
            group.affine(&group.multiply(&last, g)),
            group.affine(&negate(&group, g)),
            "(n - 1) G = -G"
        );
    }

    #[test]
    fn parameters() {
        parameters_are_consistent(&P256, 256);
        parameters_are_consistent(&P384, 384);
        parameters_are_consistent(&P521, 521);
    }

    fn multiplies_to<const L: usize>(parameters: &Parameters<L>, key: &[&str; 3]) {
        let group = group(parameters);
        let product = group.multiply(&uint(key[0]), &group.generator);
        let expected = (uint(key[1]), uint(key[2]));
        assert_eq!(group.affine(&product), Some(expected), "{key:?}");
    }

    #[test]
    fn multiples_of_the_generator() {
        multiplies_to(&P256, &KEY_256);
        multiplies_to(&P384, &KEY_384);
        multiplies_to(&P521, &KEY_521);
    }

    /// All sums of the multiples -6 to 6 of the generator: among them equal and opposite points
    /// and infinity on either side, where incomplete formulas fail.
    fn group_law<const L: usize>(parameters: &Parameters<L>) {
        let group = group(parameters);
        let mut positive = vec![group.infinity()];
        for _ in 0..12 {
            let next = group.add(&positive[positive.len() - 1], &group.generator);
            positive.push(next);
        }
        let multiple = |k: i64| {
            let point = positive[k.unsigned_abs() as usize];
            if k < 0 { negate(&group, &point) } else { point }
        };
        for i in -6..=6 {
            for j in -6..=6 {
                let sum = group.affine(&group.add(&multiple(i), &multiple(j)));
                assert_eq!(sum, group.affine(&multiple(i + j)), "{i} + {j}");
                assert_eq!(sum.is_none(), i + j == 0, "{i} + {j}");
            }
        }
        // Both multiplications agree with repeated addition, whatever point joins the generator.
        for k in -2..=2 {
            for u in 0..4 {
                for v in 0..4 {
                    let (u_number, v_number) =
                        (uint(&format!("{u:02x}")), uint(&format!("{v:02x}")));
                    let sum = group.multiply_and_add(&u_number, &v_number, &multiple(k));
                    let expected = group.affine(&multiple(u + k * v));
                    assert_eq!(group.affine(&sum), expected, "{u} G + {v} ({k} G)");
                    let product = group.multiply(&v_number, &multiple(k));
                    assert_eq!(
                        group.affine(&product),
                        group.affine(&multiple(k * v)),
                        "{v} ({k} G)"
                    );
                }
            }
        }
    }

    #[test]
    fn additions_at_every_special_case() {
        group_law(&P256);
        group_law(&P384);
        group_law(&P521);
    }

    fn decoding<const L: usize>(parameters: &Parameters<L>, key: &[&str; 3]) {
        let group = group(parameters);
        let x = from_hex(key[1]);
        let y = from_hex(key[2]);
        let length = x.len();
        let decodes = |bytes: &[u8]| group.decode(bytes).is_some();
        let good = [&[0x04], &x[..], &y].concat();
        let point = group.decode(&good).expect("a valid point");
        assert_eq!(group.affine(&point), Some((uint(key[1]), uint(key[2]))));

        // One bit changed anywhere is another form, or off the curve, or out of range.
        for bit in 0..8 * good.len() {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!decodes(&bad), "bit {bit}");
        }
        for end in 0..good.len() {
            assert!(!decodes(&good[..end]), "{end} bytes");
        }
        let zeros = vec![0; length];
        let p = group.field.value.to_be_bytes(length).expect("it fits");
        let cases: &[(&str, Vec<u8>)] = &[
            ("infinity", vec![0x00]),
            ("infinity, padded", vec![0x00; good.len()]),
            ("compressed", [&[0x02 | y[length - 1] & 1], &x[..]].concat()),
            (
                "compressed, padded",
                [&[0x02 | y[length - 1] & 1], &x[..], &y].concat(),
            ),
            ("hybrid", [&[0x06 | y[length - 1] & 1], &x[..], &y].concat()),
            ("a byte more", [&good[..], &[0]].concat()),
            ("a zero ahead of x", [&[0x04, 0x00], &x[..], &y].concat()),
            ("a zero ahead of y", [&[0x04], &x[..], &[0x00], &y].concat()),
            ("coordinates swapped", [&[0x04], &y[..], &x].concat()),
            ("the origin", [&[0x04], &zeros[..], &zeros].concat()),
            ("y is p", [&[0x04], &x[..], &p].concat()),
            ("all ones", [&[0x04], &vec![0xff; 2 * length][..]].concat()),
        ];
        for (name, bytes) in cases {
            assert!(!decodes(bytes), "{name}");
        }
    }

    #[test]
    fn decoding_refuses_what_is_no_uncompressed_point() {
        decoding(&P256, &KEY_256);
        decoding(&P384, &KEY_384);
        decoding(&P521, &KEY_521);
    }

    /// The points with x = 0 are valid; the same x encoded as p, congruent to 0 and on the curve
    /// if it were reduced, is out of range. Likewise x + p where P-521 has room for it.
    #[test]
    fn decoding_refuses_coordinates_that_are_not_reduced() {
        let group_256 = group(&P256);
        let y = from_hex("66485c780e2f83d72433bd5d84a06bb6541c2af31dae871728bf856a174f93f4");
        assert!(
            group_256
                .decode(&[&[0x04], &[0; 32][..], &y].concat())
                .is_some()
        );
        let p = from_hex(P256.p);
        assert!(group_256.decode(&[&[0x04], &p[..], &y].concat()).is_none());

        // 2^521 - 1 + a number: one less, and bit 521 set.
        let group_521 = group(&P521);
        let plus_p = |text: &str| {
            let mut bytes = from_hex(text);
            bytes[0] |= 0x02;
            let last = bytes.len() - 1;
            bytes[last] -= 1;
            bytes
        };
        let (x, y) = (from_hex(KEY_521[1]), from_hex(KEY_521[2]));
        let (large_x, large_y) = (plus_p(KEY_521[1]), plus_p(KEY_521[2]));
        assert!(group_521.decode(&[&[0x04], &x[..], &y].concat()).is_some());
        assert!(
            group_521
                .decode(&[&[0x04], &large_x[..], &y].concat())
                .is_none()
        );
        assert!(
            group_521
                .decode(&[&[0x04], &x[..], &large_y].concat())
                .is_none()
        );
    }
}
