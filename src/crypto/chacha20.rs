//! The ChaCha20 stream cipher (RFC 8439, sections 2.1 to 2.4).
//!
//! Additions, rotations and exclusive ors of words: constant time by construction.

/// "expand 32-byte k" as little-endian words (section 2.3).
const CONSTANTS: [u32; 4] = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574];
/// Bytes in a block of key stream.
const BLOCK: usize = 64;

/// The block of key stream number `counter` (section 2.3).
pub(super) fn block(key: &[u8; 32], counter: u32, nonce: &[u8; 12]) -> [u8; BLOCK] {
    let mut initial = [0; 16];
    initial[..4].copy_from_slice(&CONSTANTS);
    read_words(&mut initial[4..12], key);
    initial[12] = counter;
    read_words(&mut initial[13..], nonce);

    let mut state = initial;
    for _ in 0..10 {
        quarter_round(&mut state, 0, 4, 8, 12);
        quarter_round(&mut state, 1, 5, 9, 13);
        quarter_round(&mut state, 2, 6, 10, 14);
        quarter_round(&mut state, 3, 7, 11, 15);
        quarter_round(&mut state, 0, 5, 10, 15);
        quarter_round(&mut state, 1, 6, 11, 12);
        quarter_round(&mut state, 2, 7, 8, 13);
        quarter_round(&mut state, 3, 4, 9, 14);
    }
    let mut out = [0; BLOCK];
    for ((bytes, word), start) in out.chunks_exact_mut(4).zip(state).zip(initial) {
        bytes.copy_from_slice(&word.wrapping_add(start).to_le_bytes());
    }
    out
}

/// Encrypts or decrypts `data` in place, from block `counter` on (section 2.4).
///
/// The counter has 32 bits: `data` must stay below 256 GB, which the records of TLS do by far.
pub(super) fn apply(key: &[u8; 32], counter: u32, nonce: &[u8; 12], data: &mut [u8]) {
    let mut counter = counter;
    for chunk in data.chunks_mut(BLOCK) {
        for (byte, key) in chunk.iter_mut().zip(block(key, counter, nonce)) {
            *byte ^= key;
        }
        counter = counter.wrapping_add(1);
    }
}

/// Section 2.1.
fn quarter_round(state: &mut [u32; 16], a: usize, b: usize, c: usize, d: usize) {
    state[a] = state[a].wrapping_add(state[b]);
    state[d] = (state[d] ^ state[a]).rotate_left(16);
    state[c] = state[c].wrapping_add(state[d]);
    state[b] = (state[b] ^ state[c]).rotate_left(12);
    state[a] = state[a].wrapping_add(state[b]);
    state[d] = (state[d] ^ state[a]).rotate_left(8);
    state[c] = state[c].wrapping_add(state[d]);
    state[b] = (state[b] ^ state[c]).rotate_left(7);
}

fn read_words(words: &mut [u32], bytes: &[u8]) {
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        let mut array = [0; 4];
        array.copy_from_slice(bytes);
        *word = u32::from_le_bytes(array);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::from_hex;

    /// Key, nonce, counter and block: RFC 8439, appendix A.1 and section 2.3.2.
    #[test]
    fn blocks() {
        for (key, nonce, counter, expected) in [
            (
                "0000000000000000000000000000000000000000000000000000000000000000",
                "000000000000000000000000",
                0,
                "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7\
              da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586",
            ),
            (
                "0000000000000000000000000000000000000000000000000000000000000000",
                "000000000000000000000000",
                1,
                "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed\
              29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f",
            ),
            (
                "0000000000000000000000000000000000000000000000000000000000000001",
                "000000000000000000000000",
                1,
                "3aeb5224ecf849929b9d828db1ced4dd832025e8018b8160b82284f3c949aa5a\
              8eca00bbb4a73bdad192b5c42f73f2fd4e273644c8b36125a64addeb006c13a0",
            ),
            (
                "00ff000000000000000000000000000000000000000000000000000000000000",
                "000000000000000000000000",
                2,
                "72d54dfbf12ec44b362692df94137f328fea8da73990265ec1bbbea1ae9af0ca\
              13b25aa26cb4a648cb9b9d1be65b2c0924a66c54d545ec1b7374f4872e99f096",
            ),
            (
                "0000000000000000000000000000000000000000000000000000000000000000",
                "000000000000000000000002",
                0,
                "c2c64d378cd536374ae204b9ef933fcd1a8b2288b3dfa49672ab765b54ee27c7\
              8a970e0e955c14f3a88e741b97c286f75f8fc299e8148362fa198a39531bed6d",
            ),
            (
                "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
                "000000090000004a00000000",
                1,
                "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e\
             d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e",
            ),
        ] {
            let key = from_hex(key).try_into().unwrap();
            let nonce = from_hex(nonce).try_into().unwrap();
            assert_eq!(
                block(&key, counter, &nonce)[..],
                from_hex(expected),
                "{counter}"
            );
        }
    }

    /// RFC 8439, section 2.1.1; the rest of the state stays as it was.
    #[test]
    fn quarter_round_alone() {
        let mut state = [0; 16];
        state[..4].copy_from_slice(&[0x11111111, 0x01020304, 0x9b8d6f43, 0x01234567]);
        quarter_round(&mut state, 0, 1, 2, 3);
        assert_eq!(state[..4], [0xea2a92f4, 0xcb1cf8ce, 0x4581472e, 0x5881c4bb]);
        assert_eq!(state[4..], [0; 12]);
    }

    /// RFC 8439, section 2.4.2: 114 bytes, so the last block is not whole.
    #[test]
    fn encryption() {
        let key: Vec<u8> = (0..32).collect();
        let key = key.try_into().unwrap();
        let nonce = from_hex("000000000000004a00000000").try_into().unwrap();
        let plaintext = b"Ladies and Gentlemen of the class of '99: If I could offer you \
                          only one tip for the future, sunscreen would be it.";
        let mut data = plaintext.to_vec();
        apply(&key, 1, &nonce, &mut data);
        let expected = from_hex(
            "6e2e359a2568f98041ba0728dd0d6981e97e7aec1d4360c20a27afccfd9fae0b\
             f91b65c5524733ab8f593dabcd62b3571639d624e65152ab8f530c359f0861d8\
             07ca0dbf500d6a6156a38e088a22b65e52bc514d16ccf806818ce91ab7793736\
             5af90bbf74a35be6b40b8eedf2785e42874d",
        );
        assert_eq!(data, expected);
        apply(&key, 1, &nonce, &mut data);
        assert_eq!(data, plaintext);
    }
}
