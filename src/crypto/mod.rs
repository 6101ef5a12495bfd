//! Cryptographic primitives, one per file, each a pure function of its arguments.
//!
//! Nothing here reads a clock, draws randomness, does I/O or depends on a protocol; `tls` and
//! `x509` call it. Inputs of a wrong length are errors, never panics.
//!
//! # Timing
//!
//! Secret: the ephemeral private keys, the shared secrets, all keys derived from them, the state of
//! AES, GHASH, ChaCha20, Poly1305 and HMAC under these keys, and plaintext. Public: lengths, nonces,
//! ciphertext, tags, certificates, signatures, public keys, and which algorithm or
//! curve is used. Whether a tag, a scalar or a shared secret is refused is public: the peer sees it.
//!
//! - In code that handles secrets (`aead` and the files it uses, `ecdh`, `x25519`, `hkdf`, `hmac`), no
//!   branch, address or loop count depends on one. S-boxes and products are computed: no table
//!   is read at a secret index. A choice by a secret is a mask of [`ct`].
//! - `ecdsa`, `ed25519` and `rsa` verify public data and sign nothing; their time depends on the
//!   data. They share `bignum` and `weierstrass` with `ecdh`: the headers there say which functions
//!   take variable time.
//! - Only lengths, indices and constants are divided: most processors divide in variable time.
//! - Secrets are multiplied, by GHASH, Poly1305 and `bignum`. No 64-bit processor of Intel, AMD or
//!   Arm is known to take a time that depends on the factors, though Intel and Arm promise it only
//!   in a mode (DOITM, DIT) that is not set here; RISC-V promises it with Zkt. For s390x and
//!   POWER there is no promise. Some old or small processors stop early if upper bits are zero (VIA
//!   Nano, Arm before Armv7): there, the time of a record reveals something about its key. On 32 bits
//!   a product of 64-bit words is computed from several, without a call and without a branch.
//! - A compiler may turn a mask into a branch. Masks go through `black_box`, which is best effort. The
//!   release code of Rust 1.95 was read for `aes`, `gcm`, `chacha20`, `poly1305`, `bignum`
//!   and the scalar multiplications on x86_64, and for `aes`, `gcm` and parts of `bignum` on i686,
//!   aarch64, armv7, riscv64 and s390x. It has branches and conditional moves for lengths and
//!   loops only; a carry is an instruction without a branch.
//!
//! A leak would cost little: the keys last for one handshake and protect no data that
//! anyone sends (see `tls`). For the same reason, and since safe Rust cannot promise it, secrets
//! are not erased from memory.

pub(crate) mod aead;
mod aes;
mod bignum;
mod chacha20;
pub(crate) mod ct;
pub(crate) mod ecdh;
pub(crate) mod ecdsa;
pub(crate) mod ed25519;
mod gcm;
pub(crate) mod hkdf;
pub(crate) mod hmac;
mod poly1305;
pub(crate) mod rsa;
pub(crate) mod sha2;
pub(crate) mod weierstrass;
pub(crate) mod x25519;

use std::fmt;

/// Why a primitive refused its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Error {
    /// The signature is malformed or was not made by this key over this message.
    BadSignature,
    /// The key is outside what its algorithm allows.
    BadKey,
    /// The bytes do not encode a point of the curve.
    BadPoint,
    /// An input or the output asked for has a length the algorithm does not allow.
    BadLength,
    /// The authentication tag does not match: wrong key, or the bytes were changed.
    BadTag,
    /// The peer's public key makes the shared secret all zeros.
    WeakSharedSecret,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadSignature => "the signature does not verify",
            Self::BadKey => "the key is not valid for its algorithm",
            Self::BadPoint => "the bytes do not encode a point of the curve",
            Self::BadLength => "the length is not valid for the algorithm",
            Self::BadTag => "the authentication tag does not match",
            Self::WeakSharedSecret => "the shared secret is all zeros",
        })
    }
}

impl std::error::Error for Error {}

/// The bytes written in hexadecimal in a test; blanks and line ends are skipped.
#[cfg(test)]
pub(crate) fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).expect("a hexadecimal digit") as u8)
        .collect();
    assert!(digits.len().is_multiple_of(2), "an even number of digits");
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}
