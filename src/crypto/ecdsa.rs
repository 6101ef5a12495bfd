//! Verification of ECDSA signatures (FIPS 186-5, section 6.4.2) on P-256, P-384 and P-521, with
//! SHA-256, SHA-384 or SHA-512 in any combination.
//!
//! The signature is a DER `Ecdsa-Sig-Value` (RFC 3279, section 2.2.3; RFC 8446, section 4.2.3),
//! `SEQUENCE { r INTEGER, s INTEGER }`, and only DER: one value has one encoding. All values are
//! public and the arithmetic on them runs in variable time. Nothing is signed here.

use super::Error;
use super::bignum::Uint;
use super::sha2::{Hash, digest};
use super::weierstrass::{Curve, Group, P256, P384, P521, Parameters};
use crate::wire::der;

/// Verifies `signature` over the concatenation of `message` with the key `public_point`,
/// `0x04 || X || Y`. `BadPoint` if that is not a point of the curve, else `BadSignature`.
pub(crate) fn verify(
    curve: Curve,
    hash: Hash,
    public_point: &[u8],
    message: &[&[u8]],
    signature: &[u8],
) -> Result<(), Error> {
    match curve {
        Curve::P256 => verify_on(&P256, hash, public_point, message, signature),
        Curve::P384 => verify_on(&P384, hash, public_point, message, signature),
        Curve::P521 => verify_on(&P521, hash, public_point, message, signature),
    }
}

/// [`verify`] on one curve.
fn verify_on<const L: usize>(
    parameters: &Parameters<L>,
    hash: Hash,
    public_point: &[u8],
    message: &[&[u8]],
    signature: &[u8],
) -> Result<(), Error> {
    let group = Group::new(parameters).ok_or(Error::BadPoint)?;
    let order = &group.order;
    // FIPS 186-5, section 3.3: assurance of the key's validity comes before the first step.
    let public = group.decode(public_point).ok_or(Error::BadPoint)?;
    // Step 1: r and s are integers in the interval [1, n-1].
    let (r, s) = der::two_unsigned(signature).map_err(|_| Error::BadSignature)?;
    let in_range = |bytes| Uint::from_be_bytes(bytes).filter(|number| group.is_scalar(number));
    let r = in_range(r).ok_or(Error::BadSignature)?;
    let s = in_range(s).ok_or(Error::BadSignature)?;
    // Step 2: H = Hash(M).
    let hashed = digest(hash, message);
    // Step 3: e is the leftmost bits of H, as many as n has. The cut is at whole bytes: n has 256
    // or 384 bits, or else 521, more than any H here. It may leave e above n; `to_residue` reduces.
    let hashed = hashed.as_ref();
    let kept = order.value.bit_len().div_ceil(8);
    let e = Uint::from_be_bytes(hashed.get(..kept).unwrap_or(hashed)).ok_or(Error::BadSignature)?;
    let e = order.to_residue(&e);
    // Step 4: the inverse of s modulo n.
    let s_inverse = order.invert_prime(&order.to_residue(&s));
    // Step 5: u = e / s and v = r / s modulo n.
    let u = order.to_uint(&order.mul(&e, &s_inverse));
    let v = order.to_uint(&order.mul(&order.to_residue(&r), &s_inverse));
    // Step 6: R = u G + v Q; infinity is refused.
    let point = group.multiply_and_add(&u, &v, &public);
    let (x, _) = group.affine(&point).ok_or(Error::BadSignature)?;
    // Steps 7 to 9: the x-coordinate, as an integer modulo n, is r. (It is below p, which is
    // above n, so it does need the reduction.)
    let matches = order.to_residue(&x) == order.to_residue(&r);
    matches.then_some(()).ok_or(Error::BadSignature)
}

#[cfg(test)]
mod tests;
