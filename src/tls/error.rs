//! Why a handshake failed, and the alert that tells the server so.
//!
//! Each variant is one condition with its facts, so that a log line says which check failed
//! and tests compare values. `awaiting` names the message that was due.

use std::{fmt, io};

use super::SERVER_HELLO;
use super::alert::Description;
use super::client_hello::offer;
use super::codes::ContentType;
use super::codes::{ExtensionType, HandshakeType};
use crate::{crypto, wire, x509};

/// Why the server is not authenticated.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Error {
    // The transport.
    /// End of the stream.
    Closed { awaiting: &'static str },
    /// The connection was reset.
    Reset { awaiting: &'static str },
    /// The stream's own deadline passed.
    TimedOut { awaiting: &'static str },
    /// Any other failure of the stream.
    Io {
        kind: io::ErrorKind,
        awaiting: &'static str,
    },
    /// The first bytes are no TLS record; `http` if they begin an HTTP/1 response.
    NotTls { http: bool },

    // The server gave up.
    /// It sent a fatal alert, or close_notify before it was authenticated.
    Alert {
        description: Description,
        awaiting: &'static str,
    },

    // Records.
    /// A record of no known type.
    UnknownContentType(u8),
    /// A record of a type that has no place here.
    UnexpectedRecord {
        content: ContentType,
        awaiting: &'static str,
    },
    /// A record longer than its kind may be.
    RecordOverflow(usize),
    /// A handshake record without content.
    EmptyRecord,
    /// A record that is not what the keys protect.
    BadRecordMac,
    /// A protected record that is all padding.
    NoContentType,
    /// A change_cipher_spec record other than the one that TLS 1.3 ignores.
    BadChangeCipherSpec,
    /// An alert record that does not hold exactly one alert.
    BadAlert,
    /// Another record between the fragments of a handshake message.
    Interleaved,
    /// A handshake message that goes on across a change of keys, or past the end.
    DataAfter(&'static str),
    /// More records than any honest handshake takes.
    TooManyRecords,
    /// More bytes in records than any honest handshake takes.
    TooManyBytes,
    /// More warnings, change_cipher_spec records and HelloRequests than any honest server
    /// sends.
    TooManyIgnored,

    // Messages.
    /// A message that does not parse.
    Malformed {
        message: HandshakeType,
        error: wire::Error,
    },
    /// An extension whose content does not parse.
    MalformedExtension {
        extension: ExtensionType,
        error: wire::Error,
    },
    /// A message longer than its kind may be.
    MessageTooLong { message: HandshakeType, length: u32 },
    /// Another message than the one that is due.
    UnexpectedMessage {
        got: HandshakeType,
        awaiting: &'static str,
    },
    /// An answer to an extension that was not sent.
    UnsolicitedExtension {
        message: HandshakeType,
        extension: ExtensionType,
    },
    /// An extension that was sent, answered in a message where it has no place.
    MisplacedExtension {
        message: HandshakeType,
        extension: ExtensionType,
    },
    /// An extension given twice.
    DuplicateExtension {
        message: HandshakeType,
        extension: ExtensionType,
    },
    /// An extension that the message may not lack.
    MissingExtension {
        message: HandshakeType,
        extension: ExtensionType,
    },

    // Parameters.
    /// A version that was not offered.
    UnsupportedVersion(u16),
    /// A supported_versions that does not say TLS 1.3, the only version it may say.
    BadSelectedVersion(u16),
    /// TLS 1.2 from a server that says it knows 1.3: somebody changed the hello.
    Downgrade,
    /// A cipher suite that was not offered for that version.
    SuiteNotOffered(u16),
    /// Another cipher suite than in the HelloRetryRequest before.
    SuiteChanged,
    /// A compression method.
    Compression(u8),
    /// A TLS 1.3 session id other than the one sent.
    SessionIdMismatch,
    /// A TLS 1.2 session id that is too long.
    BadSessionId,
    /// A HelloRetryRequest that asks for what was sent already.
    PointlessRetry,
    /// A second HelloRetryRequest.
    SecondRetry,
    /// A group that was not offered.
    GroupNotOffered(u16),
    /// Another group than the one our key share is of.
    WrongGroup(u16),
    /// A curve given by parameters of its own.
    ExplicitCurve(u8),
    /// A public value of the key exchange that is not valid.
    BadKeyShare(crypto::Error),
    /// renegotiation_info that is not that of a first handshake.
    Renegotiation,
    /// ec_point_formats without the uncompressed one.
    PointFormats,
    /// A protocol that was not offered, or several.
    BadAlpn,
    /// A certificate_request_context outside post-handshake authentication.
    RequestContext,

    // Authentication.
    /// The chain does not lead from the name to a trust anchor.
    Certificate(x509::Error),
    /// A signature scheme that was not offered.
    SchemeNotOffered(u16),
    /// A signature scheme that does not fit the TLS 1.2 cipher suite.
    SchemeMismatch(x509::sig::SignatureScheme),
    /// The server did not prove that it has the certificate's key.
    Signature(x509::Error),
    /// The server's Finished does not fit the handshake as it was seen here.
    BadFinished,

    // Ourselves.
    /// The random source fails, or does not yield a usable key.
    RandomSource,
    /// A ClientHello longer than its length fields can say.
    TooLong,
    /// A primitive refused a length that the standard gives.
    Crypto(crypto::Error),
}

impl Error {
    /// What to tell the server before closing; `None` if it is gone or gave up first.
    /// The codes are those that RFC 8446 names for each condition.
    pub(crate) fn alert(&self) -> Option<Description> {
        Some(match self {
            Self::Closed { .. }
            | Self::Reset { .. }
            | Self::TimedOut { .. }
            | Self::Io { .. }
            | Self::NotTls { .. }
            | Self::Alert { .. } => return None,
            Self::UnknownContentType(_)
            | Self::UnexpectedRecord { .. }
            | Self::EmptyRecord
            | Self::NoContentType
            | Self::BadChangeCipherSpec
            | Self::Interleaved
            | Self::DataAfter(_)
            | Self::TooManyRecords
            | Self::TooManyBytes
            | Self::TooManyIgnored
            | Self::SecondRetry
            | Self::UnexpectedMessage { .. } => Description::UNEXPECTED_MESSAGE,
            Self::RecordOverflow(_) => Description::RECORD_OVERFLOW,
            Self::BadRecordMac => Description::BAD_RECORD_MAC,
            Self::BadAlert | Self::Malformed { .. } | Self::MalformedExtension { .. } => {
                Description::DECODE_ERROR
            }
            Self::UnsolicitedExtension { .. } => Description::UNSUPPORTED_EXTENSION,
            Self::MissingExtension { .. } => Description::MISSING_EXTENSION,
            Self::UnsupportedVersion(_) => Description::PROTOCOL_VERSION,
            Self::MessageTooLong { .. }
            | Self::MisplacedExtension { .. }
            | Self::DuplicateExtension { .. }
            | Self::BadSelectedVersion(_)
            | Self::Downgrade
            | Self::SuiteNotOffered(_)
            | Self::SuiteChanged
            | Self::Compression(_)
            | Self::SessionIdMismatch
            | Self::BadSessionId
            | Self::PointlessRetry
            | Self::GroupNotOffered(_)
            | Self::WrongGroup(_)
            | Self::ExplicitCurve(_)
            | Self::BadKeyShare(_)
            | Self::PointFormats
            | Self::BadAlpn
            | Self::RequestContext
            | Self::SchemeNotOffered(_)
            | Self::SchemeMismatch(_) => Description::ILLEGAL_PARAMETER,
            Self::Renegotiation => Description::HANDSHAKE_FAILURE,
            Self::Certificate(error) => certificate_alert(error),
            Self::Signature(_) | Self::BadFinished => Description::DECRYPT_ERROR,
            Self::RandomSource | Self::TooLong | Self::Crypto(_) => Description::INTERNAL_ERROR,
        })
    }

    /// Whether the connection, or this host, failed before the server had shown who it is, rather than what
    /// it showed.
    pub(crate) fn is_transport(&self) -> bool {
        matches!(
            self,
            Self::Closed { .. }
                | Self::Reset { .. }
                | Self::TimedOut { .. }
                | Self::Io { .. }
                | Self::RandomSource
        )
    }

    /// What a failed read or write means while `awaiting` was due.
    pub(crate) fn from_io(error: &io::Error, awaiting: &'static str) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::WriteZero => Self::Closed { awaiting },
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Self::Reset { awaiting },
            // a socket's read timeout is EAGAIN on Unix
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TimedOut { awaiting },
            kind => Self::Io { kind, awaiting },
        }
    }
}

/// The alert for a chain that fails: so precise as the server's operator can use it.
fn certificate_alert(error: &x509::Error) -> Description {
    match error {
        x509::Error::CertExpired { .. } | x509::Error::NotYetValid { .. } => {
            Description::CERTIFICATE_EXPIRED
        }
        x509::Error::UnknownIssuer { .. } | x509::Error::SelfSigned { .. } => {
            Description::UNKNOWN_CA
        }
        // RFC 8446 section 4.4.2.4
        x509::Error::NoCertificate => Description::DECODE_ERROR,
        _ => Description::BAD_CERTIFICATE,
    }
}

impl From<crypto::Error> for Error {
    fn from(error: crypto::Error) -> Self {
        Self::Crypto(error)
    }
}

/// What is likely if the ClientHello is answered by an end, and what was offered by it; nothing
/// later in a handshake.
fn refused(awaiting: &str, likely: &str) -> String {
    match awaiting {
        SERVER_HELLO => format!("{likely}; offered: {}", offer()),
        _ => String::new(),
    }
}

/// How etcd without --cert-file answers: with an end, or with a reset if it has not read all.
const WITHOUT_TLS: &str = ", as one without TLS does";

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed { awaiting } => {
                let hint = refused(awaiting, WITHOUT_TLS);
                write!(f, "the server closed the connection instead of sending {awaiting}{hint}")
            }
            Self::Reset { awaiting } => {
                let hint = refused(awaiting, WITHOUT_TLS);
                write!(f, "the server reset the connection instead of sending {awaiting}{hint}")
            }
            Self::TimedOut { awaiting } => write!(f, "timed out waiting for {awaiting}"),
            Self::Io { kind, awaiting } => write!(f, "{kind} while waiting for {awaiting}"),
            Self::NotTls { http: true } => {
                f.write_str("not a TLS server: it answered in plaintext HTTP")
            }
            Self::NotTls { http: false } => {
                f.write_str("not a TLS server: its answer is no TLS record")
            }
            Self::Alert {
                description,
                awaiting,
            } => {
                let hint = refused(awaiting, description.refusal());
                write!(f, "the server sent alert {description} instead of {awaiting}{hint}")
            }
            Self::UnknownContentType(code) => write!(f, "record of unknown type {code}"),
            Self::UnexpectedRecord { content, awaiting } => {
                write!(f, "{content} record where {awaiting} was due")
            }
            Self::RecordOverflow(length) => write!(f, "record of {length} bytes is too long"),
            Self::EmptyRecord => f.write_str("empty handshake record"),
            Self::BadRecordMac => f.write_str("record does not decrypt: it was changed on the way"),
            Self::NoContentType => f.write_str("protected record has no content type"),
            Self::BadChangeCipherSpec => f.write_str("change_cipher_spec record out of place"),
            Self::BadAlert => f.write_str("alert record does not hold one alert"),
            Self::Interleaved => f.write_str("record between the fragments of a handshake message"),
            Self::DataAfter(message) => write!(f, "handshake data goes on after {message}"),
            Self::TooManyRecords => f.write_str("too many records"),
            Self::TooManyBytes => f.write_str("too many bytes in records"),
            Self::TooManyIgnored => f.write_str("too many warnings, change_cipher_spec records or HelloRequests"),
            Self::Malformed { message, error } => write!(f, "{message} {error}"),
            Self::MalformedExtension { extension, error } => {
                write!(f, "extension {extension} {error}")
            }
            Self::MessageTooLong { message, length } => {
                write!(f, "{message} of {length} bytes is too long")
            }
            Self::UnexpectedMessage { got, awaiting } => {
                write!(f, "{got} where {awaiting} was due")
            }
            Self::UnsolicitedExtension { message, extension } => {
                write!(f, "{message} answers extension {extension}, which was not sent")
            }
            Self::MisplacedExtension { message, extension } => {
                write!(f, "extension {extension} has no place in {message}")
            }
            Self::DuplicateExtension { message, extension } => {
                write!(f, "{message} has extension {extension} twice")
            }
            Self::MissingExtension { message, extension } => {
                write!(f, "{message} lacks extension {extension}")
            }
            Self::UnsupportedVersion(version) => {
                write!(f, "the server chose protocol version 0x{version:04x}, offered were TLS 1.3 and TLS 1.2")
            }
            Self::BadSelectedVersion(version) => {
                write!(f, "the server selected version 0x{version:04x} by supported_versions")
            }
            Self::Downgrade => f.write_str(
                "the server knows TLS 1.3 but was made to choose TLS 1.2: the handshake was tampered with",
            ),
            Self::SuiteNotOffered(code) => {
                write!(f, "the server chose cipher suite 0x{code:04x}, which was not offered")
            }
            Self::SuiteChanged => f.write_str("cipher suite differs from the HelloRetryRequest"),
            Self::Compression(method) => write!(f, "the server chose compression method {method}"),
            Self::SessionIdMismatch => f.write_str("session id differs from the one sent"),
            Self::BadSessionId => f.write_str("session id is too long"),
            Self::PointlessRetry => f.write_str("HelloRetryRequest asks for what was sent"),
            Self::SecondRetry => f.write_str("second HelloRetryRequest"),
            Self::GroupNotOffered(code) => {
                write!(f, "the server chose group 0x{code:04x}, which was not offered")
            }
            Self::WrongGroup(code) => {
                write!(f, "the server chose group 0x{code:04x}, which no key share was sent for")
            }
            Self::ExplicitCurve(code) => write!(f, "curve type {code} is not named_curve"),
            Self::BadKeyShare(error) => write!(f, "the server's key share is not valid: {error}"),
            Self::Renegotiation => f.write_str("renegotiation_info is not that of a first handshake"),
            Self::PointFormats => f.write_str("ec_point_formats lacks uncompressed"),
            Self::BadAlpn => f.write_str("the server chose a protocol that was not offered"),
            Self::RequestContext => f.write_str("certificate_request_context is not empty"),
            Self::Certificate(error) | Self::Signature(error) => error.fmt(f),
            Self::SchemeNotOffered(code) => {
                write!(f, "the server signed with scheme 0x{code:04x}, which was not offered")
            }
            Self::SchemeMismatch(scheme) => {
                write!(f, "signature scheme {scheme} does not fit the cipher suite")
            }
            Self::BadFinished => f.write_str("Finished does not verify: the handshake was tampered with"),
            Self::RandomSource => f.write_str("the random source of this host yields no usable key"),
            Self::TooLong => f.write_str("ClientHello is too long"),
            Self::Crypto(error) => write!(f, "internal error: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Malformed { error, .. } | Self::MalformedExtension { error, .. } => Some(error),
            Self::BadKeyShare(error) | Self::Crypto(error) => Some(error),
            Self::Certificate(error) | Self::Signature(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_errors_name_the_phase() {
        use io::ErrorKind as Kind;
        let awaiting = "ServerHello";
        let cases = [
            (Kind::UnexpectedEof, Error::Closed { awaiting }),
            (Kind::ConnectionReset, Error::Reset { awaiting }),
            (Kind::BrokenPipe, Error::Reset { awaiting }),
            (Kind::WouldBlock, Error::TimedOut { awaiting }),
            (Kind::TimedOut, Error::TimedOut { awaiting }),
            (
                Kind::HostUnreachable,
                Error::Io {
                    kind: Kind::HostUnreachable,
                    awaiting,
                },
            ),
        ];
        for (kind, expected) in cases {
            let error = Error::from_io(&kind.into(), awaiting);
            assert_eq!(error, expected);
            assert!(error.to_string().contains(awaiting), "{error}");
            assert_eq!(error.alert(), None);
        }
    }
}
