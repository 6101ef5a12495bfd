//! Why a certificate or a chain was refused: one variant per reason, with its facts.
//!
//! Names from certificates are escaped (in `dn` or `name`) before they get here, so an error can be
//! logged as it is.

use std::fmt;

use super::scheme::SignatureScheme;
use super::time::UnixTime;
use crate::crypto;
use crate::wire::der;

/// Why a chain, a certificate, a signature or a name was refused.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Error {
    /// The peer presented no certificate.
    NoCertificate,
    /// Bytes that are not the DER of a certificate: the field, and what is wrong with it.
    Malformed {
        what: &'static str,
        cause: der::Error,
    },
    /// Well-formed, but against a rule of RFC 5280 without which the certificate has no safe meaning.
    NotConforming(&'static str),
    /// A presented certificate other than the first cannot be used, and there is no path without it.
    /// The position counts from 1, which is the server's own certificate.
    Presented { position: usize, error: Box<Error> },
    /// The certificate of this subject cannot be used for what it is needed for.
    Invalid {
        subject: String,
        reason: InvalidReason,
    },
    /// The subjectAltName holds other names than `wanted`; `presented` are the first of them.
    NameMismatch {
        wanted: String,
        presented: Vec<String>,
    },
    /// The CA `issuer` may not certify this name: it is in this `excluded` subtree, or in none that is
    /// permitted. A name that cannot be compared with the subtrees counts as excluded or not permitted.
    NameConstraintViolated {
        name: String,
        issuer: String,
        excluded: Option<String>,
    },
    /// The path would be longer than is followed.
    PathTooLong,
    /// One verification may take no more work; what there was too much of.
    BudgetExhausted { what: &'static str },
    /// The signature scheme of a handshake does not fit the key in the certificate or the version of
    /// TLS.
    SchemeMismatch {
        scheme: SignatureScheme,
        key: &'static str,
    },
    /// The signature in a handshake was not made by the key in the certificate.
    BadHandshakeSignature {
        scheme: SignatureScheme,
        cause: crypto::Error,
    },
    /// A text that does not name a server.
    BadServerName { name: String, why: &'static str },
}

/// Why a certificate cannot be used; `issuer` is a CA that has the name of the certificate's issuer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum InvalidReason {
    UnknownCriticalExtension {
        oid: String,
    },
    /// `now` is after the last second of the validity.
    Expired {
        now: UnixTime,
        not_after: UnixTime,
    },
    /// `now` is before the first second of the validity.
    NotYetValid {
        now: UnixTime,
        not_before: UnixTime,
    },
    /// The keyUsage does not include what the key is used for.
    KeyUsage {
        missing: &'static str,
    },
    /// The extendedKeyUsage does not include serverAuth.
    ExtendedKeyUsage,
    /// It has issued a certificate, but is not a CA by its basicConstraints.
    NotCa,
    /// There are more intermediate certificates below it than its pathLenConstraint allows.
    PathLenExceeded {
        limit: u64,
    },
    /// A signature made with a broken hash function (SHA-1, MD5, MD2).
    WeakSignature {
        algorithm: &'static str,
    },
    /// A signature algorithm, or parameters of it, not supported here.
    UnsupportedSignature {
        oid: String,
    },
    /// An RSA-PSS signature whose salt is not as long as the digest, as TLS requires it; in octets.
    PssSalt {
        salt: usize,
        digest: usize,
    },
    /// A key of a type, curve or parameters not supported here.
    UnsupportedKey {
        oid: String,
    },
    /// An RSA key whose size or exponent is not accepted.
    RsaKey {
        bits: u32,
    },
    /// The signature was not made by the issuer's key.
    BadSignature {
        issuer: String,
        cause: crypto::Error,
    },
    /// The signature algorithm does not fit the issuer's key.
    SignatureKeyMismatch {
        issuer: String,
    },
    /// It is signed by itself and is not a trust anchor.
    SelfSigned,
    /// Neither a trust anchor nor a presented certificate has the issuer's name; `same_text` if one
    /// has the same text in another encoding.
    UnknownIssuer {
        issuer: String,
        same_text: bool,
    },
}

/// Says which field of a certificate is not DER.
pub(super) fn malformed(what: &'static str) -> impl Fn(der::Error) -> Error {
    move |cause| Error::Malformed { what, cause }
}

impl Error {
    /// How telling an error is where several paths failed, each for its own reason: the
    /// further a path came, the closer it was to what the operator meant. A trusted chain
    /// that has expired says more than an unknown issuer.
    pub(super) fn rank(&self) -> u8 {
        let reason = match self {
            Self::Invalid { reason, .. } => reason,
            Self::PathTooLong => return 2,
            Self::Presented { .. } => return 3,
            Self::Malformed { .. } => return 5,
            Self::NotConforming(_) => return 7,
            Self::NameConstraintViolated { .. } => return 9,
            // Raised before or instead of a search, never compared with another.
            _ => return 11,
        };
        match reason {
            InvalidReason::UnknownIssuer { .. } => 0,
            InvalidReason::SelfSigned => 1,
            InvalidReason::BadSignature { .. } | InvalidReason::SignatureKeyMismatch { .. } => 4,
            InvalidReason::UnsupportedSignature { .. } | InvalidReason::PssSalt { .. } => 5,
            InvalidReason::UnsupportedKey { .. } | InvalidReason::RsaKey { .. } => 5,
            InvalidReason::WeakSignature { .. } => 6,
            InvalidReason::NotCa => 7,
            InvalidReason::KeyUsage { .. } | InvalidReason::ExtendedKeyUsage => 7,
            InvalidReason::UnknownCriticalExtension { .. } => 8,
            InvalidReason::PathLenExceeded { .. } => 9,
            InvalidReason::Expired { .. } | InvalidReason::NotYetValid { .. } => 10,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCertificate => f.write_str("no certificate presented"),
            Self::Malformed { what, cause } => write!(f, "malformed certificate: {what} {cause}"),
            Self::NotConforming(what) => write!(f, "certificate against RFC 5280: {what}"),
            Self::Presented { position, error } => {
                write!(f, "certificate {position} as presented: {error}")
            }
            Self::Invalid { subject, reason } => write!(f, "certificate of {subject}: {reason}"),
            Self::NameMismatch { wanted, presented } => match presented.as_slice() {
                [] => write!(
                    f,
                    "certificate names no server in its subjectAltName (the common name does not \
                     count), wanted {wanted}"
                ),
                names => write!(
                    f,
                    "certificate is for {}, not for {wanted}",
                    names.join(", ")
                ),
            },
            Self::NameConstraintViolated {
                name,
                issuer,
                excluded,
            } => {
                write!(f, "{name} breaks a name constraint of {issuer}: ")?;
                match excluded {
                    Some(subtree) => write!(f, "excluded by {subtree}, or not comparable with it"),
                    None => f.write_str("in no permitted subtree that it can be compared with"),
                }
            }
            Self::PathTooLong => f.write_str("chain of certificates is too long"),
            Self::BudgetExhausted { what } => write!(f, "chain takes too much work: {what}"),
            Self::SchemeMismatch { scheme, key } => write!(
                f,
                "signature scheme {scheme} does not fit the {key} key or the TLS version"
            ),
            Self::BadHandshakeSignature { scheme, cause } => {
                write!(f, "server has not proven its key ({scheme}): {cause}")
            }
            Self::BadServerName { name, why } => write!(f, "{name:?} is not a server name: {why}"),
        }
    }
}

impl fmt::Display for InvalidReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownCriticalExtension { oid } => write!(f, "unknown critical extension {oid}"),
            Self::Expired { now, not_after } => write!(f, "expired at {not_after}, now is {now}"),
            Self::NotYetValid { now, not_before } => {
                write!(f, "not valid before {not_before}, now is {now}")
            }
            Self::KeyUsage { missing } => write!(f, "key usage does not include {missing}"),
            Self::ExtendedKeyUsage => f.write_str("extended key usage does not include serverAuth"),
            Self::NotCa => f.write_str("not a CA, but it issued a certificate"),
            Self::PathLenExceeded { limit } => {
                write!(
                    f,
                    "more than the {limit} intermediate certificates that it allows below it"
                )
            }
            Self::WeakSignature { algorithm } => {
                write!(f, "signed with {algorithm}, which is broken")
            }
            Self::UnsupportedSignature { oid } => {
                write!(
                    f,
                    "signed with an unsupported algorithm or parameters, {oid}"
                )
            }
            Self::PssSalt { salt, digest } => write!(
                f,
                "signed with RSA-PSS and a salt of {salt} octets; only the length of the digest, \
                 {digest}, is supported"
            ),
            Self::UnsupportedKey { oid } => write!(f, "public key is not supported, {oid}"),
            Self::RsaKey { bits } => write!(
                f,
                "RSA key is not accepted: it has {bits} bits; 2048 to 8192 are, with an odd exponent \
                 from 3 to 2^33 - 1"
            ),
            Self::BadSignature { issuer, cause } => write!(
                f,
                "not signed by the known {issuer} (altered, or another CA of that name): {cause}"
            ),
            Self::SignatureKeyMismatch { issuer } => {
                write!(f, "signature algorithm does not fit the key of {issuer}")
            }
            Self::SelfSigned => f.write_str("signed by itself and not trusted"),
            Self::UnknownIssuer { issuer, same_text } => {
                write!(f, "issuer is not known: {issuer}")?;
                match same_text {
                    true => {
                        f.write_str(" (a known authority has the same name in another encoding)")
                    }
                    false => Ok(()),
                }
            }
        }
    }
}

impl std::error::Error for Error {}
