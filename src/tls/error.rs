//! Why a handshake failed, and the alert that tells the server so.
//!
//! A rule that is broken is told in words where it is checked, with the alert that RFC 8446 names
//! for it ([`Error::Misbehaved`]); variants of their own are for facts that are shown or looked
//! at. `awaiting` is the message that was due.

use std::{fmt, io};

use super::client_hello::offer;
use super::codes::{Description, ExtensionType, HandshakeType};
use crate::{crypto, wire, x509};

/// Why the server is not authenticated.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Error {
    // The connection.
    /// It ended before a record came, as that of a server without TLS does; `reset` if by a reset.
    NoAnswer { reset: bool },
    /// End of the stream.
    Closed { awaiting: HandshakeType },
    /// The connection was reset.
    Reset { awaiting: HandshakeType },
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

    // A rule is broken.
    /// What the server did, and what it is told.
    Misbehaved {
        alert: Description,
        what: &'static str,
    },
    /// It chose what was not offered: what, and its code.
    NotOffered {
        alert: Description,
        what: &'static str,
        code: u16,
    },
    /// Another message than the one that is due.
    UnexpectedMessage {
        got: HandshakeType,
        awaiting: HandshakeType,
    },
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
    /// An extension that should not be there, or should.
    Extension {
        flaw: Flaw,
        message: HandshakeType,
        extension: ExtensionType,
    },
    /// A public value of the key exchange that is not valid.
    BadKeyShare(crypto::Error),

    // Authentication.
    /// The chain does not lead from the name to a trust anchor.
    Certificate(x509::Error),
    /// The server did not prove that it has the certificate's key.
    Signature(x509::Error),

    // This host.
    /// The random source fails, or does not yield a usable key.
    RandomSource,
    /// A length that the standard does not allow, of our own.
    Internal(crypto::Error),
}

/// What is wrong with an extension (RFC 8446 section 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// It answers none that was sent.
    Unsolicited,
    /// It was sent, but may not be answered in this message.
    Misplaced,
    Duplicate,
    Missing,
}

impl Error {
    /// The server did that, and is told so.
    pub(crate) const fn misbehaved(alert: Description, what: &'static str) -> Self {
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

    /// The server chose what was not offered, by its code.
    pub(crate) fn not_offered(what: &'static str, code: impl Into<u16>) -> Self {
        Self::NotOffered {
            alert: Description::ILLEGAL_PARAMETER,
            what,
            code: code.into(),
        }
    }

    /// What to tell the server before closing; `None` if it is gone or gave up first.
    pub(crate) fn alert(&self) -> Option<Description> {
        Some(match self {
            Self::Misbehaved { alert, .. } | Self::NotOffered { alert, .. } => *alert,
            Self::UnexpectedMessage { .. } => Description::UNEXPECTED_MESSAGE,
            Self::Malformed { .. } | Self::MalformedExtension { .. } => Description::DECODE_ERROR,
            Self::Extension { flaw, .. } => match flaw {
                Flaw::Unsolicited => Description::UNSUPPORTED_EXTENSION,
                Flaw::Misplaced | Flaw::Duplicate => Description::ILLEGAL_PARAMETER,
                Flaw::Missing => Description::MISSING_EXTENSION,
            },
            Self::BadKeyShare(_) => Description::ILLEGAL_PARAMETER,
            // as precise as the server's operator can use it
            Self::Certificate(error) => match error {
                x509::Error::Flawed {
                    flaw: x509::Flaw::Expired { .. } | x509::Flaw::NotYetValid { .. },
                    ..
                } => Description::CERTIFICATE_EXPIRED,
                x509::Error::Flawed {
                    flaw: x509::Flaw::UnknownIssuer { .. } | x509::Flaw::SelfSigned,
                    ..
                } => Description::UNKNOWN_CA,
                // RFC 8446 section 4.4.2.4
                x509::Error::NoCertificate => Description::DECODE_ERROR,
                _ => Description::BAD_CERTIFICATE,
            },
            Self::Signature(_) => Description::DECRYPT_ERROR,
            Self::RandomSource | Self::Internal(_) => Description::INTERNAL_ERROR,
            // the connection, NotTls, Alert
            _ => return None,
        })
    }

    /// Whether the connection, or this host, failed before the server had shown who it is, rather than what
    /// it showed.
    pub(crate) fn is_transport(&self) -> bool {
        matches!(
            self,
            Self::NoAnswer { .. }
                | Self::Closed { .. }
                | Self::Reset { .. }
                | Self::TimedOut { .. }
                | Self::Io { .. }
                | Self::RandomSource
        )
    }

    /// What a failed read or write means while `awaiting` was due.
    pub(crate) fn from_io(error: &io::Error, awaiting: HandshakeType) -> Self {
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

    /// If it is the ClientHello that is answered so: what is likely, and what it offered.
    fn refusal(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hello = HandshakeType::SERVER_HELLO;
        let likely = match self {
            // etcd without --cert-file ends the connection, by a reset if it has not read all
            Self::NoAnswer { .. } => ", as one without TLS does",
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
                    ": it speaks none of the protocols offered by ALPN"
                }
                _ => "",
            },
            _ => return Ok(()),
        };
        write!(f, "{likely}; offered: {}", offer())
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
            Self::NoAnswer { reset } => {
                let ended = if *reset { "reset" } else { "closed" };
                let hello = HandshakeType::SERVER_HELLO;
                write!(
                    f,
                    "the server {ended} the connection instead of sending {hello}"
                )
            }
            Self::Closed { awaiting } => {
                write!(
                    f,
                    "the server closed the connection instead of sending {awaiting}"
                )
            }
            Self::Reset { awaiting } => {
                write!(
                    f,
                    "the server reset the connection instead of sending {awaiting}"
                )
            }
            Self::TimedOut { awaiting } => write!(f, "timed out waiting for {awaiting}"),
            Self::Io { kind, awaiting } => write!(f, "{kind} while waiting for {awaiting}"),
            Self::NotTls { http } => f.write_str(match http {
                true => "not a TLS server: it answered in plaintext HTTP",
                false => "not a TLS server: its answer is no TLS record",
            }),
            Self::Alert { alert, awaiting } => {
                write!(f, "the server sent alert {alert} instead of {awaiting}")
            }
            Self::Misbehaved { what, .. } => f.write_str(what),
            Self::NotOffered { what, code, .. } => {
                write!(
                    f,
                    "the server chose {what} 0x{code:04x}, which was not offered"
                )
            }
            Self::UnexpectedMessage { got, awaiting } => {
                write!(f, "{got} where {awaiting} was due")
            }
            Self::Malformed { message, error } => write!(f, "{message} {error}"),
            Self::MalformedExtension { extension, error } => {
                write!(f, "extension {extension} {error}")
            }
            Self::Extension {
                flaw,
                message,
                extension,
            } => match flaw {
                Flaw::Unsolicited => {
                    write!(
                        f,
                        "{message} answers extension {extension}, which was not sent"
                    )
                }
                Flaw::Misplaced => write!(f, "extension {extension} has no place in {message}"),
                Flaw::Duplicate => write!(f, "{message} has extension {extension} twice"),
                Flaw::Missing => write!(f, "{message} lacks extension {extension}"),
            },
            Self::BadKeyShare(error) => write!(f, "the server's key share is not valid: {error}"),
            Self::Certificate(error) | Self::Signature(error) => error.fmt(f),
            Self::RandomSource => {
                f.write_str("the random source of this host yields no usable key")
            }
            Self::Internal(error) => write!(f, "internal error: {error}"),
        }?;
        self.refusal(f)
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
            assert!(error.to_string().contains("ServerHello"), "{error}");
            assert_eq!(error.alert(), None);
        }
    }

    /// The ClientHello names no address (RFC 6066 section 3), so the server cannot know one.
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
        let closed = |awaiting| Error::Closed { awaiting };
        let hello = HandshakeType::SERVER_HELLO;
        let silent = |reset| Error::NoAnswer { reset };
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
            // a record came, so it speaks TLS
            closed(hello),
            Error::TimedOut { awaiting: hello },
        ] {
            assert!(!error.to_string().contains("offered"), "{error}");
        }
    }
}
