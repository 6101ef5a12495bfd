//! Why a certificate or a chain was refused: one variant a reason, with its facts.
//!
//! Names from certificates come in as text that was escaped in `dn` or `name`, so an error
//! can be logged as it is.

use std::fmt;

use super::constraints::Rule;
use super::sig::SignatureScheme;
use super::time::UnixTime;
use crate::crypto;
use crate::wire::der;

/// Why a chain, a certificate, a signature or a name was refused.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Error {
    /// The peer presented no certificate.
    NoCertificate,
    /// Bytes that are not the DER of a certificate.
    Malformed {
        /// The field.
        what: &'static str,
        /// What is wrong with it.
        cause: der::Error,
    },
    /// Well-formed, but against a rule of RFC 5280 that leaves it without a safe meaning.
    NotConforming(&'static str),
    /// A presented certificate other than the first cannot be used, and no path does
    /// without it.
    Presented {
        /// Its place as sent, from 1, the server's own certificate being 1.
        position: usize,
        /// What is wrong with it.
        error: Box<Error>,
    },
    /// A critical extension that is not known here, so it must not be ignored.
    UnknownCriticalExtension {
        /// Whose certificate.
        subject: String,
        /// The extension.
        oid: String,
    },
    /// `now` is after the last second of the validity.
    CertExpired {
        /// Whose certificate.
        subject: String,
        /// The time of verification.
        now: UnixTime,
        /// The end of its validity, inclusive.
        not_after: UnixTime,
    },
    /// `now` is before the first second of the validity.
    NotYetValid {
        /// Whose certificate.
        subject: String,
        /// The time of verification.
        now: UnixTime,
        /// The start of its validity, inclusive.
        not_before: UnixTime,
    },
    /// No name in the subjectAltName is the wanted one.
    NameMismatch {
        /// The name the server had to prove.
        wanted: String,
        /// The first names that the subjectAltName holds, as many as are shown.
        presented: Vec<String>,
        /// How many more there are.
        more: usize,
    },
    /// The keyUsage does not include what the key is used for.
    KeyUsage {
        /// Whose certificate.
        subject: String,
        /// The use that is missing.
        missing: &'static str,
    },
    /// The extendedKeyUsage does not include serverAuth.
    ExtendedKeyUsage {
        /// Whose certificate.
        subject: String,
    },
    /// An issuer that is no CA by its basicConstraints.
    NotCa {
        /// Whose certificate.
        subject: String,
    },
    /// More intermediate certificates follow than the pathLenConstraint allows.
    PathLenExceeded {
        /// The CA that sets the limit.
        subject: String,
        /// Its limit.
        limit: u32,
    },
    /// A name lies outside of what a CA above may certify.
    NameConstraintViolated {
        /// The name in the certificate.
        name: String,
        /// The CA with the constraint.
        issuer: String,
        /// What the name breaks.
        rule: Rule,
    },
    /// A signature made with a broken hash function (SHA-1, MD5, MD2).
    WeakSignature {
        /// Whose certificate.
        subject: String,
        /// The algorithm's name.
        algorithm: &'static str,
    },
    /// A signature algorithm, or parameters of it, not supported here.
    UnsupportedSignature {
        /// Whose certificate.
        subject: String,
        /// The algorithm.
        oid: String,
    },
    /// An RSA-PSS signature whose salt is not as long as the digest, as TLS requires it.
    PssSalt {
        /// Whose certificate.
        subject: String,
        /// The octets of the salt.
        salt: usize,
        /// Those of the digest.
        digest: usize,
    },
    /// A key of a type, curve or parameters not supported here.
    UnsupportedKey {
        /// Whose certificate.
        subject: String,
        /// The key's algorithm, or its curve.
        oid: String,
    },
    /// An RSA key whose size or exponent is not accepted.
    RsaKey {
        /// Whose certificate.
        subject: String,
        /// The bits of its modulus.
        bits: u32,
    },
    /// The signature on a certificate is not one by the issuer's key.
    BadSignature {
        /// Whose certificate.
        subject: String,
        /// The CA of the issuer's name whose key was tried.
        issuer: String,
        /// What the verification said.
        cause: crypto::Error,
    },
    /// The signature algorithm of a certificate does not go with the issuer's key.
    SignatureKeyMismatch {
        /// Whose certificate.
        subject: String,
        /// The CA of the issuer's name whose key was tried.
        issuer: String,
    },
    /// The chain ends in a certificate signed by itself that is no trust anchor.
    SelfSigned {
        /// Whose certificate.
        subject: String,
    },
    /// Neither a trust anchor nor a presented certificate has the issuer's name.
    UnknownIssuer {
        /// Whose certificate.
        subject: String,
        /// The issuer that is missing.
        issuer: String,
        /// Whether one with the same text is known, whose name is encoded otherwise.
        same_text: bool,
    },
    /// The path would be longer than is followed.
    PathTooLong,
    /// The work that one verification may take is used up.
    BudgetExhausted {
        /// Of what there was too much.
        what: &'static str,
    },
    /// The signature scheme of a handshake does not go with the key in the certificate or
    /// the version of TLS.
    SchemeMismatch {
        /// The scheme the peer used.
        scheme: SignatureScheme,
        /// The key in its certificate.
        key: &'static str,
    },
    /// The signature in a handshake is not one by the key in the certificate.
    BadHandshakeSignature {
        /// The scheme the peer used.
        scheme: SignatureScheme,
        /// What the verification said.
        cause: crypto::Error,
    },
    /// A text that names no server.
    BadServerName {
        /// The text.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl Error {
    /// How telling an error is where several paths failed, each for its own reason: the
    /// further a path came, the closer it was to what the operator meant. A trusted chain
    /// that has expired says more than an issuer nobody knows.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::UnknownIssuer { .. } => 0,
            Self::SelfSigned { .. } => 1,
            Self::PathTooLong => 2,
            Self::Presented { .. } => 3,
            Self::BadSignature { .. } | Self::SignatureKeyMismatch { .. } => 4,
            Self::Malformed { .. }
            | Self::UnsupportedSignature { .. }
            | Self::PssSalt { .. }
            | Self::UnsupportedKey { .. }
            | Self::RsaKey { .. } => 5,
            Self::WeakSignature { .. } => 6,
            Self::NotCa { .. }
            | Self::NotConforming(_)
            | Self::KeyUsage { .. }
            | Self::ExtendedKeyUsage { .. } => 7,
            Self::UnknownCriticalExtension { .. } => 8,
            Self::PathLenExceeded { .. } | Self::NameConstraintViolated { .. } => 9,
            Self::CertExpired { .. } | Self::NotYetValid { .. } => 10,
            // Raised before or instead of a search, never weighed against another.
            Self::NoCertificate
            | Self::NameMismatch { .. }
            | Self::BudgetExhausted { .. }
            | Self::SchemeMismatch { .. }
            | Self::BadHandshakeSignature { .. }
            | Self::BadServerName { .. } => 11,
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
            Self::UnknownCriticalExtension { subject, oid } => {
                write!(
                    f,
                    "unknown critical extension {oid} in the certificate of {subject}"
                )
            }
            Self::CertExpired {
                subject,
                now,
                not_after,
            } => {
                write!(
                    f,
                    "certificate of {subject} expired at {not_after}, now is {now}"
                )
            }
            Self::NotYetValid {
                subject,
                now,
                not_before,
            } => {
                write!(
                    f,
                    "certificate of {subject} is not valid before {not_before}, now is {now}"
                )
            }
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
            Self::KeyUsage { subject, missing } => {
                write!(f, "key usage of {subject} does not include {missing}")
            }
            Self::ExtendedKeyUsage { subject } => {
                write!(
                    f,
                    "extended key usage of {subject} does not include serverAuth"
                )
            }
            Self::NotCa { subject } => write!(f, "{subject} issued a certificate but is no CA"),
            Self::PathLenExceeded { subject, limit } => write!(
                f,
                "more than the {limit} intermediate certificates that {subject} allows below it"
            ),
            Self::NameConstraintViolated {
                name,
                issuer,
                rule: Rule::Undecidable,
            } => write!(
                f,
                "{name} is of a kind that cannot be compared with the name constraints of {issuer}"
            ),
            Self::NameConstraintViolated { name, issuer, rule } => {
                write!(f, "{name} breaks a name constraint of {issuer}: {rule}")
            }
            Self::WeakSignature { subject, algorithm } => write!(
                f,
                "certificate of {subject} is signed with {algorithm}, which is broken"
            ),
            Self::UnsupportedSignature { subject, oid } => write!(
                f,
                "certificate of {subject} is signed with an unsupported algorithm or parameters, {oid}"
            ),
            Self::PssSalt {
                subject,
                salt,
                digest,
            } => write!(
                f,
                "certificate of {subject} is signed with RSA-PSS and a salt of {salt} octets; only \
                 the length of the digest, {digest}, is supported"
            ),
            Self::UnsupportedKey { subject, oid } => {
                write!(f, "public key of {subject} is not supported, {oid}")
            }
            Self::RsaKey { subject, bits } => write!(
                f,
                "RSA key of {subject} is not accepted: it has {bits} bits; 2048 to 8192 are, with an \
                 odd exponent from 3 to 2^33 - 1"
            ),
            Self::BadSignature {
                subject,
                issuer,
                cause,
            } => write!(
                f,
                "certificate of {subject} was not signed by the known {issuer} (altered, or another \
                 CA of that name): {cause}"
            ),
            Self::SignatureKeyMismatch { subject, issuer } => write!(
                f,
                "signature algorithm of the certificate of {subject} does not fit the key of {issuer}"
            ),
            Self::SelfSigned { subject } => {
                write!(f, "{subject} is signed by itself and not trusted")
            }
            Self::UnknownIssuer {
                subject,
                issuer,
                same_text,
            } => {
                write!(f, "issuer of {subject} is not known: {issuer}")?;
                match same_text {
                    true => f.write_str(
                        " (an authority is known whose name is the same text, encoded otherwise)",
                    ),
                    false => Ok(()),
                }
            }
            Self::PathTooLong => f.write_str("chain of certificates is too long"),
            Self::BudgetExhausted { what } => write!(f, "chain takes too much work: {what}"),
            Self::SchemeMismatch { scheme, key } => {
                write!(
                    f,
                    "signature scheme {scheme} does not fit the {key} key or the TLS version"
                )
            }
            Self::BadHandshakeSignature { scheme, cause } => {
                write!(f, "server has not proven its key ({scheme}): {cause}")
            }
            Self::BadServerName { name, why } => write!(f, "{name:?} is no server name: {why}"),
        }
    }
}

impl std::error::Error for Error {}
