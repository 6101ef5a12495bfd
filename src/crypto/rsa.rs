//! Verification of RSA signatures (RFC 8017): RSASSA-PKCS1-v1_5, section 8.2.2, and RSASSA-PSS,
//! section 8.1.2, with SHA-256, SHA-384 or SHA-512.
//!
//! PKCS #1 v1.5 is verified by encoding the message and comparing the whole result, so no
//! padding is ever parsed; the DigestInfo has its NULL parameter and no other form is accepted.
//! PSS has one shape, that of TLS (RFC 8446, section 4.2.3): MGF1 with the hash of the message
//! and a salt as long as the digest.
//!
//! Keys have 2048 to 8192 bits and an odd exponent from 3 to 2^33 - 1. The exponent in use is
//! 65537; the bound is there because the cost of a verification grows with the exponent, which
//! the peer chooses. (Go stops at 2^31 - 1; an etcd server cannot have a key beyond that.)
//! All values are public and the arithmetic on them runs in variable time. Nothing is signed or
//! decrypted here.

use super::Error;
use super::bignum::{MAX_LIMBS, Modulus, Uint};
use super::sha2::{Digest, Hash, digest};

/// Sizes of the modulus, in bits. A smaller key lacks the 112 bits of strength that SP 800-131A
/// requires; a larger one takes too much time in a handshake.
const MIN_BITS: usize = 2048;
const MAX_BITS: usize = 64 * MAX_LIMBS;
/// Size of the exponent, in bits.
const MAX_EXPONENT_BITS: usize = 33;

/// A public key of acceptable size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublicKey {
    /// Big-endian, without leading zeros: k bytes, as RFC 8017 calls the length.
    modulus: Vec<u8>,
    bits: usize,
    exponent: Uint<1>,
}

impl PublicKey {
    /// The key of modulus `n` and exponent `e`, both big-endian and unsigned. `BadKey` if one is
    /// even or out of bounds (RFC 8017, section 3.1, and the bounds above).
    pub(crate) fn new(n: &[u8], e: &[u8]) -> Result<Self, Error> {
        let n = Uint::<MAX_LIMBS>::from_be_bytes(n).ok_or(Error::BadKey)?;
        let e = Uint::<1>::from_be_bytes(e).ok_or(Error::BadKey)?;
        let bits = n.bit_len();
        // An odd number of two bits or more is at least 3.
        let acceptable = (MIN_BITS..=MAX_BITS).contains(&bits)
            && n.is_odd()
            && (2..=MAX_EXPONENT_BITS).contains(&e.bit_len())
            && e.is_odd();
        if !acceptable {
            return Err(Error::BadKey);
        }
        Ok(Self {
            modulus: n.to_be_bytes(bits.div_ceil(8)).ok_or(Error::BadKey)?,
            bits,
            exponent: e,
        })
    }

    /// The size of the exponent, which the cost of a verification grows with.
    pub(crate) fn exponent_bits(&self) -> usize {
        self.exponent.bit_len()
    }

    /// RSASSA-PKCS1-V1_5-VERIFY (section 8.2.2) of `signature` over the concatenation of
    /// `message`.
    pub(crate) fn verify_pkcs1(
        &self,
        hash: Hash,
        message: &[&[u8]],
        signature: &[u8],
    ) -> Result<(), Error> {
        // Steps 1 and 2.
        let encoded = self.recover(signature).ok_or(Error::BadSignature)?;
        // Step 3: EM' = EMSA-PKCS1-v1_5-ENCODE(M, k).
        let expected = emsa_pkcs1_encode(hash, &digest(hash, message), self.modulus.len());
        // Step 4.
        (encoded == expected)
            .then_some(())
            .ok_or(Error::BadSignature)
    }

    /// RSASSA-PSS-VERIFY (section 8.1.2) of `signature` over the concatenation of `message`.
    pub(crate) fn verify_pss(
        &self,
        hash: Hash,
        message: &[&[u8]],
        signature: &[u8],
    ) -> Result<(), Error> {
        // Steps 1, 2a and 2b.
        let encoded = self.recover(signature).ok_or(Error::BadSignature)?;
        // Steps 2c and 3.
        emsa_pss_verify(hash, &digest(hash, message), &encoded, self.bits - 1)
            .ok_or(Error::BadSignature)
    }

    /// The message representative of a signature as k bytes: the steps that both schemes begin
    /// with (8.1.2 and 8.2.2, steps 1 and 2).
    fn recover(&self, signature: &[u8]) -> Option<Vec<u8>> {
        // Step 1: the signature is as long as the modulus.
        if signature.len() != self.modulus.len() {
            return None;
        }
        // The usual sizes have their own width. Another size takes the next width, which costs a
        // doubling for each bit between them.
        match self.bits {
            MIN_BITS => self.rsavp1::<32>(signature),
            2049..=3072 => self.rsavp1::<48>(signature),
            3073..=4096 => self.rsavp1::<64>(signature),
            4097..=6144 => self.rsavp1::<96>(signature),
            _ => self.rsavp1::<MAX_LIMBS>(signature),
        }
    }

    /// RSAVP1 (section 5.2.2) between OS2IP and I2OSP (step 2 of the schemes), on `L` limbs.
    fn rsavp1<const L: usize>(&self, signature: &[u8]) -> Option<Vec<u8>> {
        let n = Modulus::<L>::new(Uint::from_be_bytes(&self.modulus)?)?;
        let s = Uint::from_be_bytes(signature)?;
        // Section 5.2.2, step 1: s is between 0 and n - 1.
        if !s.is_below(&n.value) {
            return None;
        }
        // Step 2: m = s^e mod n.
        let m = n.to_uint(&n.pow(&n.to_residue(&s), &self.exponent));
        m.to_be_bytes(self.modulus.len())
    }
}

/// EMSA-PKCS1-v1_5-ENCODE (section 9.2), `0x00 || 0x01 || 0xff... || 0x00 || DigestInfo`, in
/// `length` bytes. The DigestInfo takes at most 83 and a key has at least 256, so the padding
/// has the 8 bytes it must (step 3).
fn emsa_pkcs1_encode(hash: Hash, digest: &Digest, length: usize) -> Vec<u8> {
    // Section 9.2, note 1: the DER of DigestInfo, SEQUENCE { SEQUENCE { OBJECT IDENTIFIER
    // 2.16.840.1.101.3.4.2.`arc`, NULL }, OCTET STRING }. 17 bytes stand between the first length and the
    // digest.
    let (arc, digest_len) = match hash {
        Hash::Sha256 => (1, 32),
        Hash::Sha384 => (2, 48),
        Hash::Sha512 => (3, 64),
    };
    let oid = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, arc];
    let mut end = vec![0x00, 0x30, 17 + digest_len, 0x30, 0x0d, 0x06, 0x09];
    end.extend(oid);
    end.extend([0x05, 0x00, 0x04, digest_len]);
    end.extend(digest.as_ref());
    let mut encoded = vec![0x00, 0x01];
    encoded.resize(length.saturating_sub(end.len()), 0xff);
    encoded.extend(end);
    encoded
}

/// EMSA-PSS-VERIFY (section 9.1.2) of an encoded message in k bytes; `None` if inconsistent.
fn emsa_pss_verify(hash: Hash, digest_of_m: &Digest, encoded: &[u8], em_bits: usize) -> Option<()> {
    let h_len = hash.output_len();
    // Section 8.1.2, step 2c: EM takes emLen bytes, which is k - 1 if the modulus has one bit more
    // than a whole number of bytes; a representative that needs k bytes is then too large.
    let em_len = em_bits.div_ceil(8);
    let (overflow, em) = encoded.split_at_checked(encoded.len().checked_sub(em_len)?)?;
    if overflow.iter().any(|byte| *byte != 0) {
        return None;
    }
    // Step 4: the rightmost byte is 0xbc.
    let (&0xbc, body) = em.split_last()? else {
        return None;
    };
    // Steps 3 and 5: maskedDB || H, and room for at least the salt and a 0x01 in the former.
    let (masked_db, h) = body.split_at_checked(body.len().checked_sub(h_len)?)?;
    let padding_len = masked_db.len().checked_sub(h_len)?;
    // Step 6: the 8 emLen - emBits leftmost bits are zero.
    let used = 0xff >> (8 * em_len - em_bits);
    let mut db = masked_db.to_vec();
    if db.first()? & !used != 0 {
        return None;
    }
    // Steps 7 and 8: DB = maskedDB xor MGF(H).
    mgf1_xor(hash, h, &mut db);
    // Step 9: those bits are zero in DB too.
    *db.first_mut()? &= used;
    // Step 10: zeros, then 0x01, ahead of the salt, which is (step 11) the last hLen bytes.
    let (padding, salt) = db.split_at_checked(padding_len)?;
    let (&0x01, zeros) = padding.split_last()? else {
        return None;
    };
    if zeros.iter().any(|byte| *byte != 0) {
        return None;
    }
    // Steps 12 and 13: H' = Hash(M'), M' = eight zeros || mHash || salt.
    let expected = digest(hash, &[&[0; 8], digest_of_m.as_ref(), salt]);
    // Step 14.
    (expected.as_ref() == h).then_some(())
}

/// Adds MGF1 (appendix B.2.1) of `seed`, as long as `data`, to `data`.
fn mgf1_xor(hash: Hash, seed: &[u8], data: &mut [u8]) {
    // Step 3: block after block of Hash(seed || counter); step 4 drops what is too long.
    for (counter, block) in (0_u32..).zip(data.chunks_mut(hash.output_len())) {
        let mask = digest(hash, &[seed, &counter.to_be_bytes()]);
        for (byte, mask) in block.iter_mut().zip(mask.as_ref()) {
            *byte ^= mask;
        }
    }
}

#[cfg(test)]
mod tests;
