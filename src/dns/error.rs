//! Why a lookup gave nothing, and which of several reasons to report.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use super::record::Type;
use crate::sys::Plain;
use crate::wire;

/// Why something is not a domain name, or a reply cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// The text of a name is empty.
    Empty,
    /// Two dots in a row, or a dot in front.
    EmptyLabel,
    /// A label of more than 63 octets.
    LabelTooLong,
    /// A name of more than 255 octets in wire form.
    NameTooLong,
    /// A backslash followed neither by a printable character nor by three digits up to 255.
    BadEscape,
    /// A character that must be written as an escape (space, control, not ASCII).
    BadCharacter,
    /// A length octet of the reserved kinds 0x40 and 0x80.
    BadLabelType,
    /// A compression pointer that does not lead strictly backwards, or one too many.
    BadPointer,
    /// The message ends too early.
    Wire(wire::Error),
    /// The data of a record is shorter or longer than its type says.
    RdataLength,
    /// Records are not in the sections that the header counts them in.
    Displaced,
}

impl From<wire::Error> for Flaw {
    fn from(error: wire::Error) -> Self {
        Self::Wire(error)
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "is empty",
            Self::EmptyLabel => "has an empty label",
            Self::LabelTooLong => "has a label of more than 63 octets",
            Self::NameTooLong => "has more than 255 octets",
            Self::BadEscape => "has a backslash that escapes nothing",
            Self::BadCharacter => "has a character that is not printable ASCII",
            Self::BadLabelType => "has a label of an unknown type",
            Self::BadPointer => "has a compression pointer that is not allowed",
            Self::Wire(error) => return error.fmt(f),
            Self::RdataLength => "a record's data does not have its length",
            Self::Displaced => "a record of the answer is not counted as one",
        })
    }
}

/// A lookup that failed: which one, who said so, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Error {
    /// The name as it was asked, search domain included; text that is no name stands as given,
    /// but fit to print.
    pub(crate) owner: String,
    /// What was asked for.
    pub(crate) qtype: Type,
    /// The server concerned; none if the question never left this machine.
    pub(crate) server: Option<Server>,
    /// The reason.
    pub(crate) class: Class,
    /// For how long, in seconds, a negative answer stands (RFC 2308), if the server said.
    pub(crate) negative_ttl: Option<u32>,
}

/// A server and how it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Server {
    /// Its address.
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
    /// The name does not exist (RCODE 3).
    NxDomain,
    /// The name exists, but not with this type.
    NoData,
    /// The server could not find out (RCODE 2).
    ServFail,
    /// The server does not answer us (RCODE 5).
    Refused,
    /// The server could not read the query, with EDNS or without (RCODE 1).
    FormErr,
    /// The server does not know this kind of query (RCODE 4).
    NotImp,
    /// Another RCODE.
    Rcode(u16),
    /// The server neither has the zone nor asks others: it only pointed elsewhere.
    Lame,
    /// A reply to our question that is broken.
    Malformed(Flaw),
    /// Truncated over TCP too, where there is nothing left to try.
    Truncated,
    /// Messages without end that are not the reply.
    Flood,
    /// A chain of aliases that is a loop or too long.
    AliasChain,
    /// No reply in time.
    Timeout,
    /// The system could not send or receive; with the number of its error, if it is one of the
    /// system's own (a lack of sockets has no kind by itself).
    Io(io::ErrorKind, Option<i32>),
    /// What was asked for is not a domain name.
    BadName(Flaw),
}

impl Class {
    /// Whether a server that knows has said that there is no such record. Every other class
    /// leaves open what the records are, so that nothing may be concluded from it.
    pub(crate) const fn is_definite(self) -> bool {
        matches!(self, Self::NxDomain | Self::NoData)
    }

    /// Whether a server answered at all, so that another question may fare better.
    pub(super) const fn was_answered(self) -> bool {
        !matches!(self, Self::Timeout | Self::Io(..))
    }

    /// How telling the class is beside others, higher is more. A failure outranks a definite
    /// answer, which must not be mistaken for the whole truth; a server that explains itself
    /// outranks silence.
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
            Self::FormErr | Self::NotImp | Self::Rcode(_) => 10,
            Self::Refused => 11,
            Self::ServFail => 12,
        }
    }

    /// The error of a step that waits for nobody, and so cannot take too long.
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
            Self::ServFail => f.write_str("the server failed (SERVFAIL)"),
            Self::Refused => f.write_str("the server refused (REFUSED)"),
            Self::FormErr => f.write_str("the server could not read the query (FORMERR)"),
            Self::NotImp => f.write_str("the server does not know this query (NOTIMP)"),
            Self::Rcode(rcode) => write!(f, "the server failed (RCODE {rcode})"),
            Self::Lame => f.write_str("the server does not answer for this name (lame)"),
            Self::Malformed(flaw @ (Flaw::Wire(_) | Flaw::RdataLength | Flaw::Displaced)) => {
                write!(f, "malformed reply: {flaw}")
            }
            Self::Malformed(flaw) => write!(f, "malformed reply: a name {flaw}"),
            Self::Flood => f.write_str("too much that is not the reply"),
            Self::Truncated => f.write_str("truncated even over TCP"),
            Self::AliasChain => f.write_str("aliases (CNAME) in a loop or too many"),
            Self::Timeout => f.write_str("no reply in time"),
            Self::Io(kind, None) => kind.fmt(f),
            Self::Io(_, Some(number)) => Plain(&io::Error::from_raw_os_error(*number)).fmt(f),
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

#[cfg(test)]
mod tests {
    use super::super::message;
    use super::*;

    const DEFINITE: [Class; 2] = [Class::NxDomain, Class::NoData];
    const OPEN: [Class; 13] = [
        Class::ServFail,
        Class::Refused,
        Class::FormErr,
        Class::NotImp,
        Class::Rcode(9),
        Class::Lame,
        Class::Malformed(Flaw::RdataLength),
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
            !Class::ServFail.outranks(Class::ServFail),
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
            qtype: Type::Srv,
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
