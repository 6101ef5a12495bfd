//! Why a certificate or a chain was refused: one variant per reason, with its facts.
//!
//! Names from certificates come in as text that was escaped in `dn` or `name`, so an error
//! can be logged as it is.

use std::fmt;

use super::cert::Certificate;
use super::sig::SignatureScheme;
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
    /// Well-formed, but against a rule of RFC 5280 that leaves it without a safe meaning.
    NotConforming(&'static str),
    /// A presented certificate other than the first cannot be used, and no path does without it.
    /// The position is that in which it was sent, from 1, the server's own certificate being 1.
    Presented { position: usize, error: Box<Error> },
    /// A certificate with this subject cannot be used for what it is needed for.
    Flawed { subject: String, flaw: Flaw },
    /// No name in the subjectAltName is the one that the server had to prove: the first names that it
    /// holds, as many as are shown, and how many more there are.
    NameMismatch {
        wanted: String,
        presented: Vec<String>,
        more: usize,
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
    /// The work that one verification may take is used up: of what there was too much.
    BudgetExhausted { what: &'static str },
    /// The signature scheme of a handshake does not go with the key in the certificate or the
    /// version of TLS.
    SchemeMismatch {
        scheme: SignatureScheme,
        key: &'static str,
    },
    /// The signature in a handshake is not one by the key in the certificate.
    BadHandshakeSignature {
        scheme: SignatureScheme,
        cause: crypto::Error,
    },
    /// A text that does not name a server.
    BadServerName { name: String, why: &'static str },
}

/// Why a certificate cannot be used; `issuer` is a CA of the name that the certificate has for it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Flaw {
    /// A critical extension that is not known here, so it must not be ignored.
    UnknownCriticalExtension { oid: String },
    /// `now` is after the last second of the validity.
    Expired { now: UnixTime, not_after: UnixTime },
    /// `now` is before the first second of the validity.
    NotYetValid { now: UnixTime, not_before: UnixTime },
    /// The keyUsage does not include what the key is used for.
    KeyUsage { missing: &'static str },
    /// The extendedKeyUsage does not include serverAuth.
    ExtendedKeyUsage,
    /// It has issued a certificate, but is not a CA by its basicConstraints.
    NotCa,
    /// More intermediate certificates follow than its pathLenConstraint allows.
    PathLenExceeded { limit: u32 },
    /// A signature made with a broken hash function (SHA-1, MD5, MD2).
    WeakSignature { algorithm: &'static str },
    /// A signature algorithm, or parameters of it, not supported here.
    UnsupportedSignature { oid: String },
    /// An RSA-PSS signature whose salt is not as long as the digest, as TLS requires it; in octets.
    PssSalt { salt: usize, digest: usize },
    /// A key of a type, curve or parameters not supported here.
    UnsupportedKey { oid: String },
    /// An RSA key whose size or exponent is not accepted.
    RsaKey { bits: u32 },
    /// The signature is not one by the issuer's key.
    BadSignature {
        issuer: String,
        cause: crypto::Error,
    },
    /// The signature algorithm does not go with the issuer's key.
    SignatureKeyMismatch { issuer: String },
    /// It is signed by itself and is not a trust anchor.
    SelfSigned,
    /// Neither a trust anchor nor a presented certificate has the issuer's name; `same_text` if one
    /// has the same text, encoded otherwise.
    UnknownIssuer { issuer: String, same_text: bool },
}

impl Flaw {
    /// The error that `certificate` has this flaw.
    pub(super) fn of(self, certificate: &Certificate<'_>) -> Error {
        Error::Flawed {
            subject: certificate.subject(),
            flaw: self,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::UnknownIssuer { .. } => 0,
            Self::SelfSigned => 1,
            Self::BadSignature { .. } | Self::SignatureKeyMismatch { .. } => 4,
            Self::UnsupportedSignature { .. } | Self::PssSalt { .. } => 5,
            Self::UnsupportedKey { .. } | Self::RsaKey { .. } => 5,
            Self::WeakSignature { .. } => 6,
            Self::NotCa | Self::KeyUsage { .. } | Self::ExtendedKeyUsage => 7,
            Self::UnknownCriticalExtension { .. } => 8,
            Self::PathLenExceeded { .. } => 9,
            Self::Expired { .. } | Self::NotYetValid { .. } => 10,
        }
    }
}

impl Error {
    /// How telling an error is where several paths failed, each for its own reason: the
    /// further a path came, the closer it was to what the operator meant. A trusted chain
    /// that has expired says more than an issuer nobody knows.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Flawed { flaw, .. } => flaw.rank(),
            Self::PathTooLong => 2,
            Self::Presented { .. } => 3,
            Self::Malformed { .. } => 5,
            Self::NotConforming(_) => 7,
            Self::NameConstraintViolated { .. } => 9,
            // Raised before or instead of a search, never weighed against another.
            _ => 11,
        }
    }
}

/// Names shown of a certificate that holds other names than the one wanted.
pub(super) const MAX_NAMES_SHOWN: usize = 8;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCertificate => f.write_str("no certificate presented"),
            Self::Malformed { what, cause } => write!(f, "malformed certificate: {what} {cause}"),
            Self::NotConforming(what) => write!(f, "certificate against RFC 5280: {what}"),
            Self::Presented { position, error } => {
                write!(f, "certificate {position} as presented: {error}")
            }
            Self::Flawed { subject, flaw } => flaw.write(subject, f),
            Self::NameMismatch {
                wanted, presented, ..
            } if presented.is_empty() => write!(
                f,
                "certificate names no server in its subjectAltName (the common name does not \
                 count), wanted {wanted}"
            ),
            Self::NameMismatch {
                wanted,
                presented,
                more,
            } => {
                write!(f, "certificate is for {}", presented.join(", "))?;
                if *more > 0 {
                    write!(f, " and {more} more")?;
                }
                write!(f, ", not for {wanted}")
            }
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

impl Flaw {
    fn write(&self, subject: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownCriticalExtension { oid } => write!(
                f,
                "unknown critical extension {oid} in the certificate of {subject}"
            ),
            Self::Expired { now, not_after } => write!(
                f,
                "certificate of {subject} expired at {not_after}, now is {now}"
            ),
            Self::NotYetValid { now, not_before } => write!(
                f,
                "certificate of {subject} is not valid before {not_before}, now is {now}"
            ),
            Self::KeyUsage { missing } => {
                write!(f, "key usage of {subject} does not include {missing}")
            }
            Self::ExtendedKeyUsage => write!(
                f,
                "extended key usage of {subject} does not include serverAuth"
            ),
            Self::NotCa => write!(f, "{subject} issued a certificate but is no CA"),
            Self::PathLenExceeded { limit } => write!(
                f,
                "more than the {limit} intermediate certificates that {subject} allows below it"
            ),
            Self::WeakSignature { algorithm } => write!(
                f,
                "certificate of {subject} is signed with {algorithm}, which is broken"
            ),
            Self::UnsupportedSignature { oid } => write!(
                f,
                "certificate of {subject} is signed with an unsupported algorithm or parameters, {oid}"
            ),
            Self::PssSalt { salt, digest } => write!(
                f,
                "certificate of {subject} is signed with RSA-PSS and a salt of {salt} octets; only \
                 the length of the digest, {digest}, is supported"
            ),
            Self::UnsupportedKey { oid } => {
                write!(f, "public key of {subject} is not supported, {oid}")
            }
            Self::RsaKey { bits } => write!(
                f,
                "RSA key of {subject} is not accepted: it has {bits} bits; 2048 to 8192 are, with an \
                 odd exponent from 3 to 2^33 - 1"
            ),
            Self::BadSignature { issuer, cause } => write!(
                f,
                "certificate of {subject} was not signed by the known {issuer} (altered, or another \
                 CA of that name): {cause}"
            ),
            Self::SignatureKeyMismatch { issuer } => write!(
                f,
                "signature algorithm of the certificate of {subject} does not fit the key of {issuer}"
            ),
            Self::SelfSigned => write!(f, "{subject} is signed by itself and not trusted"),
            Self::UnknownIssuer { issuer, same_text } => {
                let note = match same_text {
                    true => {
                        " (an authority is known whose name is the same text, encoded otherwise)"
                    }
                    false => "",
                };
                write!(f, "issuer of {subject} is not known: {issuer}{note}")
            }
        }
    }
}

impl std::error::Error for Error {}
