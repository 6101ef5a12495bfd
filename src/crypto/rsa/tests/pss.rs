//! What a verifier of RSASSA-PSS must refuse, each encoding signed with a key whose private part is known.

use super::*;

/// EMSA-PSS-ENCODE (section 9.1.1) with everything that could be wrong to choose.
#[derive(Clone, Copy)]
struct PssEncoding {
    hash_of_message: Hash,
    hash: Hash,
    mgf_hash: Hash,
    salt_len: usize,
    padding: u8,
    separator: u8,
    /// Set in the bits of the first byte that are to be zero.
    excess: u8,
    trailer: u8,
}

const GOOD_PSS: PssEncoding = PssEncoding {
    hash_of_message: Hash::Sha256,
    hash: Hash::Sha256,
    mgf_hash: Hash::Sha256,
    salt_len: 32,
    padding: 0x00,
    separator: 0x01,
    excess: 0x00,
    trailer: 0xbc,
};

impl PssEncoding {
    fn encode(&self, em_bits: usize) -> Vec<u8> {
        let em_len = em_bits.div_ceil(8);
        let salt = vec![0x5a; self.salt_len];
        let m_hash = digest(self.hash_of_message, &[MESSAGE]);
        let h = digest(self.hash, &[&[0; 8], m_hash.as_ref(), &salt]);
        let mut db = vec![0; em_len - 2 - h.as_ref().len() - salt.len()];
        if let Some(last) = db.last_mut() {
            *last = self.padding;
        }
        db.push(self.separator);
        db.extend(salt);
        mgf1_xor(self.mgf_hash, h.as_ref(), &mut db);
        db[0] &= 0xff >> (8 * em_len - em_bits);
        db[0] |= self.excess;
        [&db[..], h.as_ref(), &[self.trailer]].concat()
    }
}

#[test]
fn pss_encodings_that_are_not_consistent() {
    let good = GOOD_PSS;
    let cases: &[(&str, PssEncoding)] = &[
        (
            "no salt",
            PssEncoding {
                salt_len: 0,
                ..good
            },
        ),
        (
            "a shorter salt",
            PssEncoding {
                salt_len: 31,
                ..good
            },
        ),
        (
            "a longer salt",
            PssEncoding {
                salt_len: 33,
                ..good
            },
        ),
        (
            "the longest salt",
            PssEncoding {
                salt_len: 256 - 2 - 32,
                ..good
            },
        ),
        (
            "the message hashed otherwise",
            PssEncoding {
                hash_of_message: Hash::Sha384,
                ..good
            },
        ),
        (
            "the salt hashed otherwise",
            PssEncoding {
                hash: Hash::Sha512,
                ..good
            },
        ),
        (
            "another hash in MGF1",
            PssEncoding {
                mgf_hash: Hash::Sha512,
                ..good
            },
        ),
        (
            "padding not zero",
            PssEncoding {
                padding: 0x01,
                ..good
            },
        ),
        (
            "no separator",
            PssEncoding {
                separator: 0x00,
                ..good
            },
        ),
        (
            "another separator",
            PssEncoding {
                separator: 0x81,
                ..good
            },
        ),
        (
            "another trailer",
            PssEncoding {
                trailer: 0xcc,
                ..good
            },
        ),
        (
            "no trailer",
            PssEncoding {
                trailer: 0x00,
                ..good
            },
        ),
    ];
    let key = key(N_2048, E);
    let verify = |encoded: &[u8]| key.verify_pss(Hash::Sha256, &[MESSAGE], &sign(encoded));
    assert_eq!(verify(&good.encode(2047)), Ok(()));
    for (name, encoding) in cases {
        let result = verify(&encoding.encode(2047));
        assert_eq!(result, Err(Error::BadSignature), "{name}");
    }
    // Every hash, each with a salt of its own length, and no other combination.
    for hash in HASHES {
        for salt_hash in HASHES {
            let salt_len = salt_hash.output_len();
            let encoding = PssEncoding {
                hash_of_message: hash,
                hash,
                mgf_hash: hash,
                salt_len,
                ..good
            };
            let result = key.verify_pss(hash, &[MESSAGE], &sign(&encoding.encode(2047)));
            assert_eq!(
                result.is_ok(),
                hash == salt_hash,
                "{hash:?}, salt of {salt_hash:?}"
            );
        }
    }
}

/// The boundary of the first byte for moduli of every length modulo 8: each bit that is too
/// high is refused, in EM (step 6) or before it (section 8.1.2, step 2c).
#[test]
fn pss_bits_above_the_encoded_message() {
    let m_hash = digest(Hash::Sha256, &[MESSAGE]);
    for mod_bits in 2048..2064_usize {
        let em_bits = mod_bits - 1;
        let k = mod_bits.div_ceil(8);
        let mut encoded = vec![0; k - em_bits.div_ceil(8)];
        encoded.extend(GOOD_PSS.encode(em_bits));
        assert_eq!(encoded.len(), k);
        let verify = |encoded: &[u8]| emsa_pss_verify(Hash::Sha256, &m_hash, encoded, em_bits);
        assert_eq!(verify(&encoded), Some(()), "{mod_bits}");
        for bit in em_bits..8 * k {
            let mut bad = encoded.clone();
            bad[k - 1 - bit / 8] |= 1 << (bit % 8);
            assert_eq!(verify(&bad), None, "{mod_bits}, bit {bit}");
        }
    }
}

/// Step 3, which no key of an acceptable size can fail: too short for hash and salt.
#[test]
fn pss_encodings_that_are_too_short() {
    let m_hash = digest(Hash::Sha256, &[MESSAGE]);
    let shortest = GOOD_PSS.encode(8 * 66);
    assert_eq!(
        emsa_pss_verify(Hash::Sha256, &m_hash, &shortest, 8 * 66),
        Some(())
    );
    for length in 0..66 {
        let short = &shortest[66 - length..];
        assert_eq!(
            emsa_pss_verify(Hash::Sha256, &m_hash, short, 8 * length),
            None,
            "{length}"
        );
    }
}
