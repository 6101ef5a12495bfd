//! Comparison and choice in a time that does not depend on the secret.
//!
//! A choice is a mask, all ones or zero, and operations on words. A compiler that can prove that a mask
//! has only two values may turn it into a branch, and may end a comparison once it has failed.
//! So the deciding value goes through `black_box`, after which it may be any number, and every
//! choice by a secret is made here. `black_box` is best effort, as its documentation says:
//! a compiler may ignore it. See "Timing" at [`super`].

use std::hint::black_box;

/// Whether `a` and `b` are equal; the time depends on the lengths alone, which are public.
///
/// For authentication tags, Finished values and anything else an attacker could guess byte by byte
/// from the time a comparison takes.
pub(crate) fn eq(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let difference = a
        .iter()
        .zip(b)
        .fold(0, |seen, (x, y)| black_box(seen | (x ^ y)));
    difference == 0
}

/// All ones if `choice` is 1, zero if it is 0.
pub(super) fn mask(choice: u64) -> u64 {
    black_box(choice).wrapping_neg()
}

/// `one` if `choice` is 1, `zero` if it is 0.
pub(super) fn select<const N: usize>(choice: u64, zero: &[u64; N], one: &[u64; N]) -> [u64; N] {
    let mask = mask(choice);
    let mut selected = [0; N];
    for i in 0..N {
        selected[i] = zero[i] ^ mask & (zero[i] ^ one[i]);
    }
    selected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_only_if_every_bit_is() {
        let a: Vec<u8> = (0..67).collect();
        assert!(eq(&a, &a.clone()));
        for bit in 0..a.len() * 8 {
            let mut b = a.clone();
            b[bit / 8] ^= 1 << (bit % 8);
            assert!(!eq(&a, &b), "bit {bit}");
        }
    }

    #[test]
    fn choices() {
        assert_eq!([mask(0), mask(1)], [0, u64::MAX]);
        let (zero, one) = ([1, 2, u64::MAX], [u64::MAX, 2, 0]);
        assert_eq!(select(0, &zero, &one), zero);
        assert_eq!(select(1, &zero, &one), one);
    }

    #[test]
    fn lengths_count() {
        assert!(eq(&[], &[]));
        assert!(!eq(&[], &[0]));
        assert!(!eq(&[0, 0], &[0]));
    }
}
