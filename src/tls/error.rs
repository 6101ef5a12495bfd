//! Why a handshake failed, and the alert that is sent to the server for it.
//!
//! A server that breaks a rule is one variant, [`Error::Misbehaved`]: the rule in words, and the alert
//! that RFC 8446 names for it, both stated where the rule is checked. The other variants carry facts
//! that something depends on. `awaiting` is the message that was due.

use std::borrow::Cow;
use std::{fmt, io};

use super::codes::{Description, ExtensionType, HandshakeType};
use crate::x509::InvalidReason;
use crate::{crypto, wire, x509};

/// What every hello offers, for errors.
pub(crate) const OFFER: &str = "TLS 1.3, TLS 1.2, ECDHE with AES_128_GCM, AES_256_GCM, \
     CHACHA20_POLY1305, groups X25519, P-256, P-384, P-521, keys ECDSA, ED25519, RSA";

/// Why the server is not authenticated.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Error {
    /// The server closed or reset the connection. If it had not `answered` by a single record, it
    /// probably does not use TLS.
    Closed {
        reset: bool,
        answered: bool,
        awaiting: HandshakeType,
    },
    /// The stream's own deadline passed.
    TimedOut { awaiting: HandshakeType },
    /// Any other failure of the stream.
    Io {
        kind: io::ErrorKind,
        awaiting: HandshakeType,
    },
    /// The first bytes are not a TLS record; `http` if they begin an HTTP/1 response.
    NotTls { http: bool },
    /// The server sent a fatal alert, or close_notify before it was authenticated.
    Alert {
        alert: Description,
        awaiting: HandshakeType,
    },
    /// The server broke a rule: which one, and the alert for it.
    Misbehaved {
        alert: Description,
        what: Cow<'static, str>,
    },
    /// The chain does not lead from the name to a trust anchor.
    Certificate(x509::Error),
    /// The server did not prove that it has the certificate's key.
    Signature(x509::Error),
    /// The random source of this host fails, or does not yield a usable key.
    RandomSource,
    /// A length of our own that the standard does not allow.
    Internal(crypto::Error),
}

impl Error {
    /// The server broke a rule.
    pub(crate) const fn misbehaved(alert: Description, what: &'static str) -> Self {
        let what = Cow::Borrowed(what);
        Self::Misbehaved { alert, what }
    }

    /// A field has a value that it may not have.
    pub(crate) const fn illegal(what: &'static str) -> Self {
        Self::misbehaved(Description::ILLEGAL_PARAMETER, what)
    }

    /// A record or a message is out of place.
    pub(crate) const fn unexpected(what: &'static str) -> Self {
        Self::misbehaved(Description::UNEXPECTED_MESSAGE, what)
    }

    fn composed(alert: Description, what: String) -> Self {
        let what = Cow::Owned(what);
        Self::Misbehaved { alert, what }
    }

    /// The server chose what was not offered, by its code.
    pub(crate) fn not_offered(what: &str, code: impl Into<u16>) -> Self {
        Self::chosen(Description::ILLEGAL_PARAMETER, what, code.into())
    }

    /// The server chose a version below 1.2 (RFC 8446 section 4.2.1).
    pub(crate) fn old_version(code: u16) -> Self {
        Self::chosen(Description::PROTOCOL_VERSION, "protocol version", code)
    }

    fn chosen(alert: Description, what: &str, code: u16) -> Self {
        let what = format!("the server chose {what} 0x{code:04x}, which was not offered");
        Self::composed(alert, what)
    }

    /// Another message than the one that is due.
    pub(crate) fn out_of_order(got: HandshakeType, awaiting: HandshakeType) -> Self {
        let what = format!("{got} where {awaiting} was due");
        Self::composed(Description::UNEXPECTED_MESSAGE, what)
    }

    /// A message that does not parse.
    pub(crate) fn malformed(message: HandshakeType, error: wire::Error) -> Self {
        Self::composed(Description::DECODE_ERROR, format!("{message} {error}"))
    }

    /// An extension whose content does not parse.
    pub(crate) fn malformed_extension(extension: ExtensionType, error: wire::Error) -> Self {
        let what = format!("extension {extension} {error}");
        Self::composed(Description::DECODE_ERROR, what)
    }

    /// A public value of the key exchange that is not valid.
    pub(crate) fn bad_key_share(error: crypto::Error) -> Self {
        let what = format!("the server's key share is not valid: {error}");
        Self::composed(Description::ILLEGAL_PARAMETER, what)
    }

    /// An extension that answers none that was sent (RFC 8446 section 4.2).
    pub(crate) fn unsolicited(extension: ExtensionType, message: HandshakeType) -> Self {
        let what = format!("{message} answers extension {extension}, which was not sent");
        Self::composed(Description::UNSUPPORTED_EXTENSION, what)
    }

    /// An extension that was sent, but may not be answered in this message.
    pub(crate) fn misplaced(extension: ExtensionType, message: HandshakeType) -> Self {
        let what = format!("extension {extension} is not allowed in {message}");
        Self::composed(Description::ILLEGAL_PARAMETER, what)
    }

    pub(crate) fn duplicate(extension: ExtensionType, message: HandshakeType) -> Self {
        let what = format!("{message} has extension {extension} twice");
        Self::composed(Description::ILLEGAL_PARAMETER, what)
    }

    pub(crate) fn missing(extension: ExtensionType, message: HandshakeType) -> Self {
        let what = format!("{message} lacks extension {extension}");
        Self::composed(Description::MISSING_EXTENSION, what)
    }

    /// What a failed read or write means while `awaiting` was due, and whether the server had
    /// `answered` before.
    pub(crate) fn from_io(error: &io::Error, answered: bool, awaiting: HandshakeType) -> Self {
        let closed = |reset| Self::Closed {
            reset,
            answered,
            awaiting,
        };
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::WriteZero => closed(false),
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => closed(true),
            // a socket's read timeout is EAGAIN on Unix
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TimedOut { awaiting },
            kind => Self::Io { kind, awaiting },
        }
    }

    /// The alert to send before closing; `None` if the connection failed or the server ended it.
    pub(crate) fn alert(&self) -> Option<Description> {
        Some(match self {
            Self::Misbehaved { alert, .. } => *alert,
            // as precise as the server's operator can use it
            Self::Certificate(error) => match error {
                x509::Error::Invalid {
                    reason: InvalidReason::Expired { .. } | InvalidReason::NotYetValid { .. },
                    ..
                } => Description::CERTIFICATE_EXPIRED,
                x509::Error::Invalid {
                    reason: InvalidReason::UnknownIssuer { .. } | InvalidReason::SelfSigned,
                    ..
                } => Description::UNKNOWN_CA,
                // RFC 8446 section 4.4.2.4
                x509::Error::NoCertificate => Description::DECODE_ERROR,
                _ => Description::BAD_CERTIFICATE,
            },
            Self::Signature(_) => Description::DECRYPT_ERROR,
            Self::RandomSource | Self::Internal(_) => Description::INTERNAL_ERROR,
            _ => return None,
        })
    }

    /// Whether the connection, or this host, failed, rather than the server's answer.
    pub(crate) fn is_transport(&self) -> bool {
        matches!(
            self,
            Self::Closed { .. } | Self::TimedOut { .. } | Self::Io { .. } | Self::RandomSource
        )
    }

    /// If the server refused the ClientHello: the probable reason, and what the hello offered.
    fn write_refusal(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hello = HandshakeType::SERVER_HELLO;
        let likely = match self {
            // etcd without --cert-file ends the connection, by a reset if it has not read all
            Self::Closed {
                answered: false, ..
            } => ", as one without TLS does",
            Self::Alert { alert, awaiting } if *awaiting == hello => match *alert {
                Description::HANDSHAKE_FAILURE
                | Description::INSUFFICIENT_SECURITY
                | Description::ILLEGAL_PARAMETER => {
                    ": probably no cipher suite, group or key type in common"
                }
                Description::PROTOCOL_VERSION => ": probably its versions of TLS are all below 1.2",
                Description::UNRECOGNIZED_NAME => {
                    ": it has no certificate for the name sent; for an address, none is sent"
                }
                Description::NO_APPLICATION_PROTOCOL => {
                    ": it supports none of the protocols offered by ALPN"
                }
                _ => "",
            },
            _ => return Ok(()),
        };
        write!(f, "{likely}; offered: {OFFER}")
    }
}

impl From<crypto::Error> for Error {
    fn from(error: crypto::Error) -> Self {
        Self::Internal(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed {
                reset, awaiting, ..
            } => {
                let closed = if *reset { "reset" } else { "closed" };
                let instead = format_args!("instead of sending {awaiting}");
                write!(f, "the server {closed} the connection {instead}")
            }
            Self::TimedOut { awaiting } => write!(f, "timed out waiting for {awaiting}"),
            Self::Io { kind, awaiting } => write!(f, "{kind} while waiting for {awaiting}"),
            Self::NotTls { http: true } => {
                f.write_str("not a TLS server: it answered in plaintext HTTP")
            }
            Self::NotTls { http: false } => {
                f.write_str("not a TLS server: its answer is not a TLS record")
            }
            Self::Alert { alert, awaiting } => {
                write!(f, "the server sent alert {alert} instead of {awaiting}")
            }
            Self::Misbehaved { what, .. } => f.write_str(what),
            Self::Certificate(error) | Self::Signature(error) => error.fmt(f),
            Self::RandomSource => {
                f.write_str("the random source of this host yields no usable key")
            }
            Self::Internal(error) => write!(f, "internal error: {error}"),
        }?;
        self.write_refusal(f)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_errors_name_the_phase() {
        use io::ErrorKind as Kind;
        let awaiting = HandshakeType::SERVER_HELLO;
        let closed = |reset| Error::Closed {
            reset,
            answered: true,
            awaiting,
        };
        let cases = [
            (Kind::UnexpectedEof, closed(false)),
            (Kind::ConnectionReset, closed(true)),
            (Kind::BrokenPipe, closed(true)),
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
            let error = Error::from_io(&kind.into(), true, awaiting);
            assert_eq!(error, expected);
            assert!(error.to_string().contains("ServerHello"), "{error}");
            assert_eq!(error.alert(), None);
        }
    }

    /// The ClientHello does not contain addresses (RFC 6066 section 3).
    #[test]
    fn a_name_that_is_not_recognized_may_be_one_that_was_not_sent() {
        let error = Error::Alert {
            alert: Description::UNRECOGNIZED_NAME,
            awaiting: HandshakeType::SERVER_HELLO,
        };
        let expected = "the server sent alert unrecognized_name instead of ServerHello: it has no \
                        certificate for the name sent; for an address, none is sent; offered: ";
        assert!(error.to_string().starts_with(expected), "{error}");
    }

    #[test]
    fn only_an_answer_to_the_hello_says_what_was_offered() {
        let alert = |awaiting| Error::Alert {
            alert: Description::HANDSHAKE_FAILURE,
            awaiting,
        };
        let closed = |awaiting| Error::Closed {
            reset: false,
            answered: true,
            awaiting,
        };
        let hello = HandshakeType::SERVER_HELLO;
        let silent = |reset| Error::Closed {
            reset,
            answered: false,
            awaiting: hello,
        };
        for error in [alert(hello), silent(false), silent(true)] {
            assert!(
                error.to_string().contains("; offered: TLS 1.3, "),
                "{error}"
            );
        }
        let later = HandshakeType::CERTIFICATE;
        for error in [
            alert(later),
            closed(later),
            // a record came, so it uses TLS
            closed(hello),
            Error::TimedOut { awaiting: hello },
        ] {
            assert!(!error.to_string().contains("offered"), "{error}");
        }
    }
}
