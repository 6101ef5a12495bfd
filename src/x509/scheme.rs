//! How a signature was made, and the signature schemes of TLS: the one list of what is offered and
//! accepted, in the order of preference.

use std::fmt;

use crate::crypto::sha2::Hash::{self, Sha256, Sha384, Sha512};

use Algorithm::{Ecdsa, Ed25519, RsaPkcs1, RsaPss};

/// How a signature was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    RsaPkcs1(Hash),
    /// MGF1 with the same hash, a salt of the hash's length.
    RsaPss(Hash),
    Ecdsa(Hash),
    Ed25519,
}

/// A signature scheme of TLS that is offered and accepted (RFC 8446, section 4.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SignatureScheme {
    code: u16,
    /// As in the IANA registry.
    name: &'static str,
    pub(super) algorithm: Algorithm,
    /// As `PublicKey::key_type` in `sig` has it.
    pub(super) key_type: &'static str,
}

const fn scheme(
    code: u16,
    name: &'static str,
    algorithm: Algorithm,
    key_type: &'static str,
) -> SignatureScheme {
    SignatureScheme {
        code,
        name,
        algorithm,
        key_type,
    }
}

impl SignatureScheme {
    /// All of them, in the order in which they are offered. P-256 is what nearly all servers have; the
    /// other curves follow by the cost of a verification, then RSA, with PSS before PKCS #1, which is
    /// for TLS 1.2 and for certificates.
    pub(crate) const ALL: [Self; 13] = [
        scheme(0x0403, "ecdsa_secp256r1_sha256", Ecdsa(Sha256), "P-256"),
        scheme(0x0807, "ed25519", Ed25519, "Ed25519"),
        scheme(0x0503, "ecdsa_secp384r1_sha384", Ecdsa(Sha384), "P-384"),
        scheme(0x0603, "ecdsa_secp521r1_sha512", Ecdsa(Sha512), "P-521"),
        scheme(0x0804, "rsa_pss_rsae_sha256", RsaPss(Sha256), "RSA"),
        scheme(0x0805, "rsa_pss_rsae_sha384", RsaPss(Sha384), "RSA"),
        scheme(0x0806, "rsa_pss_rsae_sha512", RsaPss(Sha512), "RSA"),
        scheme(0x0809, "rsa_pss_pss_sha256", RsaPss(Sha256), "RSA-PSS"),
        scheme(0x080a, "rsa_pss_pss_sha384", RsaPss(Sha384), "RSA-PSS"),
        scheme(0x080b, "rsa_pss_pss_sha512", RsaPss(Sha512), "RSA-PSS"),
        scheme(0x0401, "rsa_pkcs1_sha256", RsaPkcs1(Sha256), "RSA"),
        scheme(0x0501, "rsa_pkcs1_sha384", RsaPkcs1(Sha384), "RSA"),
        scheme(0x0601, "rsa_pkcs1_sha512", RsaPkcs1(Sha512), "RSA"),
    ];

    /// The scheme of a code point, if it is supported.
    pub(crate) fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.code == code)
    }

    /// Its code point.
    pub(crate) fn code(self) -> u16 {
        self.code
    }

    /// Whether it is for RSA keys of either type.
    pub(crate) fn is_rsa(self) -> bool {
        self.key_type.starts_with("RSA")
    }
}

impl fmt::Display for SignatureScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
