//! The cipher suites offered, in order of preference, with their names in the registry of IANA.
//!
//! TLS 1.3: the three of RFC 8446 section B.4 that have an authentication tag of 16 bytes.
//! TLS 1.2: ephemeral ECDH with an AEAD cipher only (RFC 5289, RFC 7905). There the suite's
//! cipher is never used, because the handshake ends before any record is protected (see
//! `tls12`); what counts is the kind of key that it makes the server sign with.

use Signer::{Ecdsa, Rsa};

use crate::crypto::aead::AeadAlgorithm::{
    self, Aes128Gcm, Aes256Gcm, ChaCha20Poly1305 as ChaCha20,
};
use crate::crypto::sha2::Hash::{self, Sha256, Sha384};

/// A suite of TLS 1.3.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Suite13 {
    pub(crate) code: u16,
    pub(crate) name: &'static str,
    pub(crate) hash: Hash,
    pub(crate) aead: AeadAlgorithm,
}

/// A suite of TLS 1.2.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Suite12 {
    pub(crate) code: u16,
    pub(crate) name: &'static str,
    pub(crate) signer: Signer,
}

/// What the server of a TLS 1.2 suite signs its key exchange with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signer {
    /// An ECDSA key or, since RFC 8422 section 5.10, an Ed25519 one.
    Ecdsa,
    Rsa,
}

/// Offered for TLS 1.3.
pub(crate) const TLS13: [Suite13; 3] = [
    tls13(0x1301, "TLS_AES_128_GCM_SHA256", Sha256, Aes128Gcm),
    tls13(0x1302, "TLS_AES_256_GCM_SHA384", Sha384, Aes256Gcm),
    tls13(0x1303, "TLS_CHACHA20_POLY1305_SHA256", Sha256, ChaCha20),
];

/// Offered for TLS 1.2.
pub(crate) const TLS12: [Suite12; 6] = [
    tls12(0xc02b, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", Ecdsa),
    tls12(0xc02f, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", Rsa),
    tls12(0xc02c, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", Ecdsa),
    tls12(0xc030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", Rsa),
    tls12(
        0xcca9,
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        Ecdsa,
    ),
    tls12(0xcca8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", Rsa),
];

const fn tls13(code: u16, name: &'static str, hash: Hash, aead: AeadAlgorithm) -> Suite13 {
    Suite13 {
        code,
        name,
        hash,
        aead,
    }
}

const fn tls12(code: u16, name: &'static str, signer: Signer) -> Suite12 {
    Suite12 { code, name, signer }
}

/// The TLS 1.3 suite of that code, if it was offered.
pub(crate) fn find13(code: u16) -> Option<Suite13> {
    TLS13.into_iter().find(|suite| suite.code == code)
}

/// The TLS 1.2 suite of that code, if it was offered.
pub(crate) fn find12(code: u16) -> Option<Suite12> {
    TLS12.into_iter().find(|suite| suite.code == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_belongs_to_one_version() {
        for suite in TLS13 {
            assert!(find13(suite.code).is_some() && find12(suite.code).is_none());
        }
        for suite in TLS12 {
            assert!(find12(suite.code).is_some() && find13(suite.code).is_none());
        }
    }

    #[test]
    fn nothing_weaker_is_found() {
        // static RSA with GCM, ECDHE with CBC, DHE, CCM_8, NULL, the renegotiation SCSV
        for code in [0x009c, 0xc013, 0x009e, 0x1305, 0x0000, 0x00ff] {
            assert!(
                find13(code).is_none() && find12(code).is_none(),
                "{code:04x}"
            );
        }
    }
}
