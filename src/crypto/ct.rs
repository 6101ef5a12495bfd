//! Comparison that takes the same time whatever the bytes are.
//!
//! For authentication tags, Finished values and anything else an attacker could guess byte
//! by byte from the time a comparison takes. The length is public.

use std::hint::black_box;

/// Whether `a` and `b` are equal; the time depends on the lengths alone.
pub(crate) fn eq(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    // black_box keeps the optimiser from stopping at the first difference.
    let difference = a
        .iter()
        .zip(b)
        .fold(0, |seen, (x, y)| black_box(seen | (x ^ y)));
    difference == 0
}

#[cfg(test)]
mod tests {
    use super::eq;

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
    fn lengths_count() {
        assert!(eq(&[], &[]));
        assert!(!eq(&[], &[0]));
        assert!(!eq(&[0, 0], &[0]));
    }
}
