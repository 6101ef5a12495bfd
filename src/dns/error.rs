//! Why a lookup failed, and which of several reasons to report.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use super::message;
use super::name::DecodeError;
use super::record::Type;
use crate::sys::OsErrorText;

/// A lookup that failed: which one, who said so, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Error {
    /// The name in the question, search domain included; a text that is not a name is given with
    /// escapes.
    pub(crate) owner: String,
    pub(crate) qtype: Type,
    /// The server concerned; `None` if the question was not sent.
    pub(crate) server: Option<Server>,
    pub(crate) class: Class,
    /// For how long, in seconds, a negative answer is valid (RFC 2308), if the server said.
    pub(crate) negative_ttl: Option<u32>,
}

/// A server and how it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// Over TCP instead of UDP.
    pub(crate) tcp: bool,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = if self.tcp { "TCP" } else { "UDP" };
        write!(f, "{} over {transport}", self.address)
    }
}

/// The reason why a lookup failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// The name does not exist.
    NxDomain,
    /// The name exists, but not with this type.
    NoData,
    /// The server failed, by its RCODE.
    Rcode(u16),
    /// The server neither has the zone nor asks others: it only refers to other servers.
    Lame,
    /// A reply to our question that is broken.
    Malformed(DecodeError),
    /// Truncated over TCP too.
    Truncated,
    /// Too many messages that are not the reply.
    Flood,
    /// A chain of aliases that is a loop or too long.
    AliasChain,
    /// No reply in time.
    Timeout,
    /// The system could not send or receive; with the number of its error if there is one (a lack of
    /// sockets has no kind of its own).
    Io(io::ErrorKind, Option<i32>),
    /// The text is not a domain name, and why.
    BadName(&'static str),
}

impl Class {
    /// Whether a server has said that there is no such record. After every other failure there may be
    /// records, so nothing may be concluded from it.
    pub(crate) const fn is_definite(self) -> bool {
        matches!(self, Self::NxDomain | Self::NoData)
    }

    /// Whether a server answered at all, so that it may answer another question.
    pub(super) const fn was_answered(self) -> bool {
        !matches!(self, Self::Timeout | Self::Io(..))
    }

    /// Of several failures the one with the highest rank is reported. A failure outranks a definite
    /// answer, which may not be all there is; an error that a server reports outranks silence.
    const fn rank(self) -> u8 {
        match self {
            Self::BadName(_) => 0,
            Self::NxDomain => 1,
            Self::NoData => 2,
            Self::Timeout => 3,
            Self::Io(..) => 4,
            Self::Flood => 5,
            Self::Truncated => 6,
            Self::Lame => 7,
            Self::Malformed(_) => 8,
            Self::AliasChain => 9,
            Self::Rcode(message::SERVFAIL) => 12,
            Self::Rcode(message::REFUSED) => 11,
            Self::Rcode(_) => 10,
        }
    }

    /// The error of a step that does not wait, and so cannot time out.
    pub(super) fn unable(error: &io::Error) -> Self {
        Self::Io(error.kind(), error.raw_os_error())
    }

    /// Whether `self` should replace `other` in a report.
    pub(super) const fn outranks(self, other: Self) -> bool {
        self.rank() > other.rank()
    }
}

impl From<io::Error> for Class {
    /// The timeout of a socket shows as `WouldBlock`, that of a connect as `TimedOut`.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Timeout,
            _ => Self::unable(&error),
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NxDomain => f.write_str("no such name (NXDOMAIN)"),
            Self::NoData => f.write_str("no record of this type (NODATA)"),
            Self::Rcode(rcode) => match *rcode {
                message::FORMERR => f.write_str("the server could not read the query (FORMERR)"),
                message::SERVFAIL => f.write_str("the server failed (SERVFAIL)"),
                message::NOTIMP => f.write_str("the server does not know this query (NOTIMP)"),
                message::REFUSED => f.write_str("the server refused (REFUSED)"),
                rcode => write!(f, "the server failed (RCODE {rcode})"),
            },
            Self::Lame => f.write_str("the server does not answer for this name (lame)"),
            Self::Malformed(DecodeError(what)) => write!(f, "malformed reply: {what}"),
            Self::Flood => f.write_str("too much that is not the reply"),
            Self::Truncated => f.write_str("truncated even over TCP"),
            Self::AliasChain => f.write_str("aliases (CNAME) in a loop or too many"),
            Self::Timeout => f.write_str("no reply in time"),
            Self::Io(kind, None) => kind.fmt(f),
            Self::Io(_, Some(number)) => OsErrorText(&io::Error::from_raw_os_error(*number)).fmt(f),
            Self::BadName(error) => write!(f, "not a domain name: it {error}"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.qtype, self.owner, self.class)?;
        match self.server {
            Some(server) => write!(f, ", asked {server}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// Replaces `known` by `error` if that has the higher rank.
pub(super) fn keep_higher_ranked(known: &mut Option<Error>, error: Error) {
    if known
        .as_ref()
        .is_none_or(|known| error.class.outranks(known.class))
    {
        *known = Some(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFINITE: [Class; 2] = [Class::NxDomain, Class::NoData];
    const OPEN: [Class; 13] = [
        Class::Rcode(message::SERVFAIL),
        Class::Rcode(message::REFUSED),
        Class::Rcode(message::FORMERR),
        Class::Rcode(message::NOTIMP),
        Class::Rcode(9),
        Class::Lame,
        Class::Malformed(DecodeError::RDATA_LENGTH),
        Class::Truncated,
        Class::Flood,
        Class::AliasChain,
        Class::Timeout,
        Class::Io(io::ErrorKind::ConnectionRefused, None),
        Class::Rcode(message::BADVERS),
    ];

    #[test]
    fn an_open_question_outranks_a_definite_answer() {
        for open in OPEN {
            assert!(!open.is_definite(), "{open}");
            for definite in DEFINITE {
                assert!(definite.is_definite(), "{definite}");
                assert!(open.outranks(definite), "{open} over {definite}");
            }
            if open.was_answered() {
                assert!(open.outranks(Class::Timeout), "{open} over silence");
            }
        }
        assert!(Class::NoData.outranks(Class::NxDomain), "the name exists");
        assert!(
            !Class::Rcode(message::SERVFAIL).outranks(Class::Rcode(message::SERVFAIL)),
            "the first stays"
        );
    }

    #[test]
    fn errors_of_the_system() {
        let text = |number| Class::from(io::Error::from_raw_os_error(number)).to_string();
        assert_eq!(text(24), "too many open files");
        assert_eq!(text(110), "no reply in time");
        let eof = Class::from(io::Error::from(io::ErrorKind::UnexpectedEof));
        assert_eq!(eof.to_string(), "unexpected end of file");
    }

    #[test]
    fn the_text_names_owner_type_class_and_server() {
        let error = Error {
            owner: "_etcd-client._tcp.example.".to_owned(),
            qtype: Type::SRV,
            server: Some(Server {
                address: SocketAddr::from(([192, 0, 2, 1], 53)),
                tcp: true,
            }),
            class: Class::NxDomain,
            negative_ttl: Some(60),
        };
        assert_eq!(
            error.to_string(),
            "SRV _etcd-client._tcp.example.: no such name (NXDOMAIN), asked 192.0.2.1:53 over TCP"
        );
    }
}
