//! HKDF (RFC 5869): a uniform key from a shared secret, then many keys from that one.

use super::Error;
use super::hmac::{Hmac, hmac};
use super::sha2::{Digest, Hash};

/// HKDF-Extract (section 2.2). An absent salt is an empty one: HMAC pads it with the
/// zeros that the section requires.
pub(crate) fn extract(hash: Hash, salt: &[u8], ikm: &[u8]) -> Digest {
    hmac(hash, salt, &[ikm])
}

/// HKDF-Expand (section 2.3): fills `out`, `info` being the concatenation of its parts.
///
/// More than 255 times the length of the hash is an error: the counter is one byte.
pub(crate) fn expand(hash: Hash, prk: &[u8], info: &[&[u8]], out: &mut [u8]) -> Result<(), Error> {
    if out.len() > 255 * hash.output_len() {
        return Err(Error::BadLength);
    }
    let keyed = Hmac::new(hash, prk);
    // T(0) is empty, T(n) = HMAC(PRK, T(n - 1) | info | n).
    let mut previous: Option<Digest> = None;
    for (counter, chunk) in (1..=255u8).zip(out.chunks_mut(hash.output_len())) {
        let mut hmac = keyed.clone();
        if let Some(previous) = &previous {
            hmac.update(previous.as_ref());
        }
        for part in info {
            hmac.update(part);
        }
        hmac.update(&[counter]);
        let block = hmac.finish();
        // The last chunk may be shorter than a block.
        chunk.copy_from_slice(&block.as_ref()[..chunk.len()]);
        previous = Some(block);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::from_hex;

    /// RFC 5869, appendices A.1 to A.3 (the others use SHA-1).
    #[test]
    fn rfc_5869() {
        struct Case {
            ikm: Vec<u8>,
            salt: Vec<u8>,
            info: Vec<u8>,
            prk: &'static str,
            okm: &'static str,
        }
        let cases = [
            Case {
                ikm: vec![0x0b; 22],
                salt: (0x00..=0x0c).collect(),
                info: (0xf0..=0xf9).collect(),
                prk: "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
                okm: "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf\
                 34007208d5b887185865",
            },
            Case {
                ikm: (0x00..=0x4f).collect(),
                salt: (0x60..=0xaf).collect(),
                info: (0xb0..=0xff).collect(),
                prk: "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
                okm: "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c\
                 59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71\
                 cc30c58179ec3e87c14c01d5c1f3434f1d87",
            },
            Case {
                ikm: vec![0x0b; 22],
                salt: vec![],
                info: vec![],
                prk: "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
                okm: "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d\
                 9d201395faa4b61a96c8",
            },
        ];
        for (index, case) in cases.iter().enumerate() {
            let prk = extract(Hash::Sha256, &case.salt, &case.ikm);
            assert_eq!(prk.as_ref(), from_hex(case.prk), "case {index}");
            let expected = from_hex(case.okm);
            let mut okm = vec![0; expected.len()];
            let (head, tail) = case.info.split_at(case.info.len() / 3);
            assert_eq!(
                expand(Hash::Sha256, prk.as_ref(), &[head, tail], &mut okm),
                Ok(())
            );
            assert_eq!(okm, expected, "case {index}");
        }
    }

    /// The counter is one byte: 255 blocks is the most there is, and its last block is
    /// still the HMAC it should be.
    #[test]
    fn the_longest_output() {
        for hash in [Hash::Sha256, Hash::Sha384, Hash::Sha512] {
            let length = hash.output_len();
            let mut okm = vec![0; 255 * length + 1];
            assert_eq!(
                expand(hash, b"prk", &[b"i"], &mut okm),
                Err(Error::BadLength)
            );
            assert_eq!(okm, vec![0; okm.len()], "nothing is written on error");
            okm.pop();
            assert_eq!(expand(hash, b"prk", &[b"i"], &mut okm), Ok(()));
            let (before, last) = okm.split_at(254 * length);
            let previous = &before[253 * length..];
            assert_eq!(hmac(hash, b"prk", &[previous, b"i", &[255]]).as_ref(), last);
        }
    }

    #[test]
    fn no_output_is_no_error() {
        assert_eq!(expand(Hash::Sha256, b"prk", &[], &mut []), Ok(()));
    }
}
