//! Authenticated encryption with associated data (RFC 5116) for the three cipher suites of
//! TLS 1.3: AES-128-GCM, AES-256-GCM and ChaCha20-Poly1305 (RFC 8439, section 2.8).
//!
//! A nonce must never be used twice with one key; the caller ensures that (it is the record
//! sequence number). One call takes at most a TLS record, far below the limits of the modes.

use super::gcm::Gcm;
use super::{Error, chacha20, ct, poly1305};

/// Bytes in a nonce, for every algorithm.
pub(crate) const NONCE_LEN: usize = 12;
/// Bytes in a tag, for every algorithm.
pub(crate) const TAG_LEN: usize = 16;

/// An algorithm and its key length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AeadAlgorithm {
    /// AEAD_AES_128_GCM
    Aes128Gcm,
    /// AEAD_AES_256_GCM
    Aes256Gcm,
    /// AEAD_CHACHA20_POLY1305
    ChaCha20Poly1305,
}

impl AeadAlgorithm {
    /// Bytes in a key.
    pub(crate) const fn key_len(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes256Gcm | Self::ChaCha20Poly1305 => 32,
        }
    }
}

/// An algorithm with its key.
pub(crate) struct Aead(Cipher);

enum Cipher {
    Gcm(Box<Gcm>),
    ChaCha20Poly1305([u8; 32]),
}

impl Aead {
    /// Takes a key, whose length must be the algorithm's.
    pub(crate) fn new(algorithm: AeadAlgorithm, key: &[u8]) -> Result<Self, Error> {
        if key.len() != algorithm.key_len() {
            return Err(Error::BadLength);
        }
        Ok(Self(match algorithm {
            AeadAlgorithm::Aes128Gcm | AeadAlgorithm::Aes256Gcm => {
                Cipher::Gcm(Box::new(Gcm::new(key)?))
            }
            AeadAlgorithm::ChaCha20Poly1305 => {
                Cipher::ChaCha20Poly1305(key.try_into().map_err(|_| Error::BadLength)?)
            }
        }))
    }

    /// Encrypts `data` in place and appends the tag.
    pub(crate) fn seal(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], data: &mut Vec<u8>) {
        self.apply_key_stream(nonce, data);
        data.extend_from_slice(&self.tag(nonce, aad, data));
    }

    /// Checks the tag at the end of `data`, and only then decrypts in place and drops the tag.
    /// On an error `data` is as it was.
    pub(crate) fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        data: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let length = data.len().checked_sub(TAG_LEN).ok_or(Error::BadLength)?;
        let (ciphertext, tag) = data.split_at_mut(length);
        if !ct::eq(&self.tag(nonce, aad, ciphertext), tag) {
            return Err(Error::BadTag);
        }
        self.apply_key_stream(nonce, ciphertext);
        data.truncate(length);
        Ok(())
    }

    /// Encrypts or decrypts `data`.
    fn apply_key_stream(&self, nonce: &[u8; NONCE_LEN], data: &mut [u8]) {
        match &self.0 {
            Cipher::Gcm(gcm) => gcm.apply_key_stream(nonce, data),
            Cipher::ChaCha20Poly1305(key) => chacha20::apply(key, 1, nonce, data),
        }
    }

    fn tag(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], ciphertext: &[u8]) -> [u8; TAG_LEN] {
        match &self.0 {
            Cipher::Gcm(gcm) => gcm.tag(nonce, aad, ciphertext),
            Cipher::ChaCha20Poly1305(key) => chacha20_poly1305_tag(key, nonce, aad, ciphertext),
        }
    }
}

/// The tag of RFC 8439, section 2.8: Poly1305 over both texts, each filled up with zeros to a
/// multiple of 16, and their lengths. Its one-time key is the start of block 0 (section 2.6).
fn chacha20_poly1305_tag(
    key: &[u8; 32],
    nonce: &[u8; NONCE_LEN],
    aad: &[u8],
    ciphertext: &[u8],
) -> [u8; TAG_LEN] {
    let block = chacha20::block(key, 0, nonce);
    let mut one_time_key = [0; 32];
    one_time_key.copy_from_slice(&block[..32]);

    let mut message = Vec::new();
    for part in [aad, ciphertext] {
        message.extend_from_slice(part);
        message.resize(message.len().next_multiple_of(16), 0);
    }
    for part in [aad, ciphertext] {
        message.extend_from_slice(&(part.len() as u64).to_le_bytes());
    }
    poly1305::tag(&one_time_key, &message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::from_hex;

    const ALGORITHMS: [AeadAlgorithm; 3] = [
        AeadAlgorithm::Aes128Gcm,
        AeadAlgorithm::Aes256Gcm,
        AeadAlgorithm::ChaCha20Poly1305,
    ];

    /// RFC 8439, section 2.8.2.
    #[test]
    fn rfc_8439_seal() {
        let key: Vec<u8> = (0x80..0xa0).collect();
        let aead = Aead::new(AeadAlgorithm::ChaCha20Poly1305, &key).unwrap();
        let mut data = b"Ladies and Gentlemen of the class of '99: If I could offer you only one \
                         tip for the future, sunscreen would be it."
            .to_vec();
        aead.seal(
            &from_hex("070000004041424344454647").try_into().unwrap(),
            &from_hex("50515253c0c1c2c3c4c5c6c7"),
            &mut data,
        );
        assert_eq!(
            data,
            from_hex(
                "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6\
             3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36\
             92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc\
             3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd060\
             0691"
            )
        );
    }

    /// RFC 8439, appendix A.5.
    #[test]
    fn rfc_8439_open() {
        let key = from_hex("1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0");
        let aead = Aead::new(AeadAlgorithm::ChaCha20Poly1305, &key).unwrap();
        let mut data = from_hex(
            "64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb2\
             4c6cfc18755d43eea09ee94e382d26b0bdb7b73c321b0100d4f03b7f355894cf\
             332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c855\
             9797a06ef4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4\
             b9166c767b804d46a59b5216cde7a4e99040c5a40433225ee282a1b0a06c523e\
             af4534d7f83fa1155b0047718cbc546a0d072b04b3564eea1b422273f548271a\
             0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a10\
             49e617d91d361094fa68f0ff77987130305beaba2eda04df997b714d6c6f2c29\
             a6ad5cb4022b02709beead9d67890cbb22392336fea1851f38",
        );
        let opened = aead.open(
            &from_hex("000000000102030405060708").try_into().unwrap(),
            &from_hex("f33388860000000000004e91"),
            &mut data,
        );
        assert_eq!(opened, Ok(()));
        assert_eq!(
            String::from_utf8(data).unwrap(),
            "Internet-Drafts are draft documents valid for a maximum of six months and may be \
             updated, replaced, or obsoleted by other documents at any time. It is inappropriate \
             to use Internet-Drafts as reference material or to cite them other than as /\u{201c}\
             work in progress./\u{201d}"
        );
    }

    #[test]
    fn what_is_sealed_opens() {
        for algorithm in ALGORITHMS {
            let aead = Aead::new(algorithm, &vec![1; algorithm.key_len()]).unwrap();
            for length in [0, 1, 15, 16, 17, 47, 48, 49, 63, 64, 65, 1000] {
                for aad_length in [0, 5, 13, 16, 33] {
                    let plaintext: Vec<u8> = (0..length).map(|n| n as u8).collect();
                    let aad = vec![7; aad_length];
                    let mut data = plaintext.clone();
                    aead.seal(&[2; 12], &aad, &mut data);
                    assert_eq!(data.len(), length + TAG_LEN);
                    assert_eq!(
                        aead.open(&[2; 12], &aad, &mut data),
                        Ok(()),
                        "{algorithm:?}"
                    );
                    assert_eq!(data, plaintext, "{algorithm:?} {length} {aad_length}");
                }
            }
        }
    }

    /// Any change of key, nonce, associated data, ciphertext or tag is noticed, and then
    /// `data` is untouched.
    #[test]
    fn any_change_is_noticed() {
        for algorithm in ALGORITHMS {
            let mut key = vec![1; algorithm.key_len()];
            let aead = Aead::new(algorithm, &key).unwrap();
            let (nonce, aad) = ([2; NONCE_LEN], [3; 5]);
            let mut sealed = b"plaintext of more than a block".to_vec();
            aead.seal(&nonce, &aad, &mut sealed);
            let refused = |aead: &Aead, nonce: &[u8; NONCE_LEN], aad: &[u8], data: &[u8]| {
                let mut after = data.to_vec();
                assert_eq!(
                    aead.open(nonce, aad, &mut after),
                    Err(Error::BadTag),
                    "{algorithm:?}"
                );
                assert_eq!(after, data, "{algorithm:?}");
            };

            for bit in 0..sealed.len() * 8 {
                let mut changed = sealed.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                refused(&aead, &nonce, &aad, &changed);
            }
            for length in TAG_LEN..sealed.len() {
                refused(&aead, &nonce, &aad, &sealed[..length]);
            }
            refused(&aead, &[4; NONCE_LEN], &aad, &sealed);
            refused(&aead, &nonce, &aad[..4], &sealed);
            // Zeros at the end of the associated data are not filling.
            refused(&aead, &nonce, &[3, 3, 3, 3, 3, 0], &sealed);
            key[0] ^= 1;
            refused(&Aead::new(algorithm, &key).unwrap(), &nonce, &aad, &sealed);
        }
    }

    #[test]
    fn wrong_lengths_are_errors() {
        for algorithm in ALGORITHMS {
            for length in (0..65).filter(|n| *n != algorithm.key_len()) {
                let key = vec![0; length];
                assert_eq!(Aead::new(algorithm, &key).err(), Some(Error::BadLength));
            }
            let aead = Aead::new(algorithm, &vec![0; algorithm.key_len()]).unwrap();
            for length in 0..TAG_LEN {
                let mut data = vec![0; length];
                assert_eq!(aead.open(&[0; 12], &[], &mut data), Err(Error::BadLength));
            }
        }
    }
}
