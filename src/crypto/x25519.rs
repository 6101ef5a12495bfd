//! The X25519 key agreement (RFC 7748).
//!
//! The private key is secret: the ladder takes the same steps for every one (section 5), on the
//! arithmetic of [`super::bignum`], which does too.

use super::bignum::{P25519, Residue, Uint};
use super::{Error, ct};

/// The u-coordinate of the base point (RFC 7748, section 4.1).
const BASE_POINT: [u8; 32] = {
    let mut u = [0; 32];
    u[0] = 9;
    u
};

/// The public key of `private`, any 32 random bytes (section 6.1).
pub(crate) fn public_key(private: &[u8; 32]) -> [u8; 32] {
    x25519(private, &BASE_POINT)
}

/// The secret shared with the owner of `peer` (section 6.1). All zeros, the outcome for a peer's
/// point of small order, is refused as RFC 8446, section 7.4.2 demands.
pub(crate) fn shared_secret(private: &[u8; 32], peer: &[u8; 32]) -> Result<[u8; 32], Error> {
    let secret = x25519(private, peer);
    if ct::eq(&secret, &[0; 32]) {
        return Err(Error::WeakSharedSecret);
    }
    Ok(secret)
}

/// The function X25519 (section 5). The highest bit of `u` is ignored and a coordinate of p or
/// above is taken modulo p, as the section says.
pub(crate) fn x25519(scalar: &[u8; 32], u: &[u8; 32]) -> [u8; 32] {
    /// 121665 = (486662 - 2) / 4, from the curve equation (section 5).
    const A24: Uint<4> = Uint::from_hex("1db41");

    // decodeScalar25519
    let mut k = *scalar;
    k[0] &= 248;
    k[31] &= 127;
    k[31] |= 64;

    // decodeUCoordinate
    let mut u = *u;
    u[31] &= 127;

    let f = &P25519;
    let a24 = f.to_residue(&A24);
    let x_1 = f.to_residue(&Uint::from_le_bytes(&u));
    let (mut x_2, mut z_2) = (f.one, Residue::ZERO);
    let (mut x_3, mut z_3) = (x_1, f.one);
    let mut swap = 0;
    for t in (0..255).rev() {
        let k_t = u64::from(k[t / 8] >> (t % 8)) & 1;
        swap ^= k_t;
        (x_2, x_3) = cswap(swap, &x_2, &x_3);
        (z_2, z_3) = cswap(swap, &z_2, &z_3);
        swap = k_t;

        let a = f.add(&x_2, &z_2);
        let aa = f.mul(&a, &a);
        let b = f.sub(&x_2, &z_2);
        let bb = f.mul(&b, &b);
        let e = f.sub(&aa, &bb);
        let c = f.add(&x_3, &z_3);
        let d = f.sub(&x_3, &z_3);
        let da = f.mul(&d, &a);
        let cb = f.mul(&c, &b);
        let sum = f.add(&da, &cb);
        x_3 = f.mul(&sum, &sum);
        let difference = f.sub(&da, &cb);
        z_3 = f.mul(&x_1, &f.mul(&difference, &difference));
        x_2 = f.mul(&aa, &bb);
        z_2 = f.mul(&e, &f.add(&aa, &f.mul(&a24, &e)));
    }
    (x_2, _) = cswap(swap, &x_2, &x_3);
    (z_2, _) = cswap(swap, &z_2, &z_3);
    let result = f.to_uint(&f.mul(&x_2, &f.invert_prime(&z_2)));
    let mut bytes = [0; 32];
    bytes.copy_from_slice(result.to_le_bytes().as_flattened());
    bytes
}

/// Both, exchanged if `swap` is 1, in the same time if it is 0.
fn cswap(swap: u64, a: &Residue<4>, b: &Residue<4>) -> (Residue<4>, Residue<4>) {
    (Residue::select(swap, a, b), Residue::select(swap, b, a))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::from_hex;

    fn array(hex: &str) -> [u8; 32] {
        from_hex(hex).try_into().unwrap()
    }

    /// RFC 7748, section 5.2: scalar, u-coordinate, result. The second u-coordinate has its
    /// highest bit set.
    #[test]
    fn rfc_7748_single() {
        for (scalar, u, expected) in [
            (
                "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
                "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
                "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
            ),
            (
                "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
                "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
                "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
            ),
        ] {
            assert_eq!(x25519(&array(scalar), &array(u)), array(expected));
        }
    }

    /// RFC 7748, section 5.2: after 1 and 1,000 iterations (a million takes too long).
    #[test]
    fn rfc_7748_iterated() {
        let (mut k, mut u) = (BASE_POINT, BASE_POINT);
        for round in 1..=1000 {
            (k, u) = (x25519(&k, &u), k);
            if round == 1 {
                assert_eq!(
                    k,
                    array("422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079")
                );
            }
        }
        assert_eq!(
            k,
            array("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51")
        );
    }

    /// RFC 7748, section 6.1.
    #[test]
    fn rfc_7748_diffie_hellman() {
        let alice = array("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
        let bob = array("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
        let (alice_public, bob_public) = (public_key(&alice), public_key(&bob));
        assert_eq!(
            alice_public,
            array("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
        );
        assert_eq!(
            bob_public,
            array("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
        );
        let secret = array("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
        assert_eq!(shared_secret(&alice, &bob_public), Ok(secret));
        assert_eq!(shared_secret(&bob, &alice_public), Ok(secret));
    }

    /// All points of order 1, 2, 4 and 8 on the curve and its twist, and the encodings at and
    /// above p that mean them: each forces the secret to zero.
    #[test]
    fn small_order_is_refused() {
        let p_plus = |n: i32| {
            let mut bytes = [0xff; 32];
            bytes[0] = (0xed + n) as u8;
            bytes[31] = 0x7f;
            bytes
        };
        let small = |n: u8| {
            let mut bytes = [0; 32];
            bytes[0] = n;
            bytes
        };
        let order_8 = "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800";
        let order_8_other = "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157";
        for mut point in [
            small(0),
            small(1),
            array(order_8),
            array(order_8_other),
            p_plus(-1),
            p_plus(0),
            p_plus(1),
        ] {
            assert_eq!(
                shared_secret(&[7; 32], &point),
                Err(Error::WeakSharedSecret)
            );
            // The highest bit is not part of the coordinate.
            point[31] |= 0x80;
            assert_eq!(
                shared_secret(&[7; 32], &point),
                Err(Error::WeakSharedSecret)
            );
        }
        assert!(shared_secret(&[7; 32], &small(2)).is_ok());
    }

    /// The bits that decodeScalar25519 sets and clears have no effect.
    #[test]
    fn scalars_are_clamped() {
        let private = [0x5a; 32];
        for (byte, bits) in [(0, 0x07), (31, 0xc0)] {
            let mut other = private;
            other[byte] ^= bits;
            assert_eq!(public_key(&other), public_key(&private));
        }
        let mut other = private;
        other[0] ^= 0x08;
        assert_ne!(public_key(&other), public_key(&private));
    }
}
