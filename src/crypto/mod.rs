//! Cryptographic primitives, one a file, each a pure function of its arguments.
//!
//! Nothing here reads a clock, draws randomness, does I/O or knows a protocol: TLS and
//! X.509 call in, nothing calls out. Inputs of a wrong length are errors, never panics.
//!
//! Key agreement, key derivation and encryption handle secrets: they have no branch and no
//! memory access that depends on one. Signature verification works on public data only and says
//! where it takes variable time. Secrets are not wiped from memory: safe Rust cannot promise it,
//! and the ephemeral keys handled here protect no data that anyone sends (see `tls`).

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
    /// The bytes encode no point of the curve.
    BadPoint,
    /// An input or the output asked for has a length the algorithm does not allow.
    BadLength,
    /// The authentication tag does not match: wrong key, or the bytes were changed.
    BadTag,
    /// The peer's share forces a shared secret of all zeros.
    WeakSharedSecret,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadSignature => "the signature does not verify",
            Self::BadKey => "the key is not valid for its algorithm",
            Self::BadPoint => "the bytes encode no point of the curve",
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
