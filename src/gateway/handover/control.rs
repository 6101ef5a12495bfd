//! How the processes of one service talk: messages, and the socket that carries them.
//!
//! | from | to | message |
//! |---|---|---|
//! | the process that serves | its successor, before that is started | `listener FD`, `passed FD`, `metrics FD`, `draining FD PROCESS IS_WATCHED CONNECTIONS` for each descriptor, and `service ...` last |
//! | the process that starts the successor | the one that serves | `started PROCESS`, or `failed REASON` |
//! | the successor | the one that serves | `ready`, or `failed REASON` |
//! | the one that serves | the successor | `serve` |
//! | the successor, from then on the one that serves | all that drain | `serving PROCESS` |
//! | one that drains | the one that serves | `connections COUNT` when the number changes, and each request that is meant for the service |
//! | the one that serves | all that drain | `refresh`, `end`, `reset` |
//!
//! There is one such socket between each process that drains and the one that serves; it is handed on when another process
//! serves. It carries whole messages (SOCK_SEQPACKET of unix(7)), so that none is cut where it changes hands, and its end
//! shows that the other process has ended. Nobody waits for room in it: a process that does not read loses messages.
//!
//! The messages are words and numbers. One that is not understood is ignored: it is of another version.

use std::fmt;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use socket2::{Domain, SockRef, Socket, Type};

use crate::gateway::signals::Request;
use crate::sys::syscall;

/// The longest message in bytes; the rest is cut off.
const LONGEST: usize = 1024;

const REQUESTS: [(&str, Request); 5] = [
    ("refresh", Request::Refresh),
    ("status", Request::Status),
    ("reload", Request::Reload),
    ("end", Request::End),
    ("reset", Request::Reset),
];

/// What a successor takes over in addition to descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ServiceState {
    /// A service manager is notified of which process serves.
    pub(crate) is_managed: bool,
    /// The parent of the process that hands over watches the service by waiting for the end of that process.
    pub(crate) is_watched: bool,
    /// How many reloads succeeded so far, and how many failed.
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    /// How many connections the host has room for, as it was before the processes that drain now had theirs.
    pub(crate) host_limit: u64,
    /// How many connections the process has that hands over.
    pub(crate) connections: u64,
}

/// One message. The table above says who sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    /// A listener for clients.
    Listener(RawFd),
    /// One that a service manager has passed.
    Passed(RawFd),
    /// The listener for metrics.
    Metrics(RawFd),
    /// The socket to a process that drains, and whether that process is the first one of the service, and watched.
    Draining {
        fd: RawFd,
        process: u32,
        is_watched: bool,
        connections: u64,
    },
    Service(ServiceState),
    Started(u32),
    Ready,
    Failed(String),
    Serve,
    Serving(u32),
    Connections(u64),
    Request(Request),
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener(fd) => write!(f, "listener {fd}"),
            Self::Passed(fd) => write!(f, "passed {fd}"),
            Self::Metrics(fd) => write!(f, "metrics {fd}"),
            Self::Draining {
                fd,
                process,
                is_watched,
                connections,
            } => {
                let is_watched = u8::from(*is_watched);
                write!(f, "draining {fd} {process} {is_watched} {connections}")
            }
            Self::Service(state) => write!(
                f,
                "service {} {} {} {} {} {}",
                u8::from(state.is_managed),
                u8::from(state.is_watched),
                state.succeeded,
                state.failed,
                state.host_limit,
                state.connections
            ),
            Self::Started(process) => write!(f, "started {process}"),
            Self::Ready => f.write_str("ready"),
            Self::Failed(text) => write!(f, "failed {text}"),
            Self::Serve => f.write_str("serve"),
            Self::Serving(process) => write!(f, "serving {process}"),
            Self::Connections(count) => write!(f, "connections {count}"),
            Self::Request(request) => {
                let named = REQUESTS.iter().find(|(_, known)| known == request);
                f.write_str(named.map_or("", |(name, _)| name))
            }
        }
    }
}

impl Message {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(reason) = text.strip_prefix("failed ") {
            return Some(Self::Failed(reason.to_owned()));
        }
        let mut words = text.split(' ');
        let first = words.next()?;
        let numbers = words.map(|word| word.parse().ok());
        let numbers: Vec<u64> = numbers.collect::<Option<_>>()?;
        let fd = |number: u64| RawFd::try_from(number).ok();
        let process = |number: u64| u32::try_from(number).ok();
        Some(match (first, numbers.as_slice()) {
            ("listener", &[number]) => Self::Listener(fd(number)?),
            ("passed", &[number]) => Self::Passed(fd(number)?),
            ("metrics", &[number]) => Self::Metrics(fd(number)?),
            ("draining", &[number, id, is_watched, connections]) => Self::Draining {
                fd: fd(number)?,
                process: process(id)?,
                is_watched: is_watched == 1,
                connections,
            },
            ("service", &[managed, watched, succeeded, failed, host_limit, connections]) => {
                Self::Service(ServiceState {
                    is_managed: managed == 1,
                    is_watched: watched == 1,
                    succeeded,
                    failed,
                    host_limit,
                    connections,
                })
            }
            ("started", &[id]) => Self::Started(process(id)?),
            ("ready", []) => Self::Ready,
            ("serve", []) => Self::Serve,
            ("serving", &[id]) => Self::Serving(process(id)?),
            ("connections", &[count]) => Self::Connections(count),
            (word, []) => {
                let named = REQUESTS.iter().find(|(name, _)| *name == word);
                Self::Request(named.map(|(_, request)| *request)?)
            }
            _ => return None,
        })
    }
}

/// What a socket has to read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Message(Message),
    /// Nothing yet.
    Nothing,
    /// The other process has ended, or has closed the socket.
    End,
}

/// One end of such a socket.
#[derive(Debug)]
pub(crate) struct Control(Socket);

impl Control {
    /// Both ends.
    ///
    /// # Errors
    /// If there are no descriptors for them.
    pub(super) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None)?;
        one.set_nonblocking(true)?;
        other.set_nonblocking(true)?;
        Ok((Self(one), Self(other)))
    }

    pub(super) fn inherited(fd: OwnedFd) -> Self {
        let socket = Socket::from(fd);
        // A socket that this program made does not block. Another is rejected later, and must not block before that.
        let _ = socket.set_nonblocking(true);
        Self(socket)
    }

    /// The process that made the pair.
    ///
    /// # Errors
    /// If it is not a unix socket.
    pub(super) fn maker(&self) -> io::Result<u32> {
        syscall::maker_of(self.0.as_fd())
    }

    pub(super) fn number(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Sends a message.
    ///
    /// # Errors
    /// If the other process has ended, or does not read. Who reads the socket sees that, too.
    pub(crate) fn send(&self, message: &Message) -> io::Result<()> {
        self.0.send(message.to_string().as_bytes()).map(drop)
    }

    /// The next message, without waiting for one.
    pub(crate) fn receive(&self) -> Received {
        let mut buffer = [0; LONGEST];
        loop {
            let count = match (&self.0).read(&mut buffer) {
                Ok(0) => return Received::End,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Received::Nothing;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Received::End,
            };
            let octets = buffer.get(..count).unwrap_or_default();
            if let Some(message) = Message::parse(&String::from_utf8_lossy(octets)) {
                return Received::Message(message);
            }
        }
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether programs that this process starts get a descriptor (FD_CLOEXEC of fcntl(2)).
///
/// # Errors
/// If the kernel refuses.
pub(super) fn pass_on(fd: BorrowedFd<'_>, is_passed_on: bool) -> io::Result<()> {
    SockRef::from(&fd).set_cloexec(!is_passed_on)
}

#[cfg(test)]
impl Control {
    /// Closes the connection. To drop it is not enough: a process that another test starts at this moment has a copy of
    /// the descriptor until it executes its program.
    pub(super) fn hang_up(self) {
        let both = std::net::Shutdown::Both;
        SockRef::from(&self).shutdown(both).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_whole_in_order_and_the_end_is_seen() {
        let messages = [
            Message::Listener(3),
            Message::Passed(4),
            Message::Metrics(5),
            Message::Draining {
                fd: 6,
                process: 70,
                is_watched: true,
                connections: 8,
            },
            Message::Service(ServiceState {
                is_managed: false,
                is_watched: true,
                succeeded: 1,
                failed: 2,
                host_limit: 3,
                connections: 4,
            }),
            Message::Started(9),
            Message::Ready,
            Message::Failed("a reason, with words".to_owned()),
            Message::Serve,
            Message::Serving(10),
            Message::Connections(11),
        ];
        let requests = REQUESTS.map(|(_, request)| Message::Request(request));
        let (one, other) = Control::pair().unwrap();
        assert_eq!(other.receive(), Received::Nothing);
        for message in messages.iter().chain(&requests) {
            one.send(message).unwrap();
        }
        for message in messages.into_iter().chain(requests) {
            assert_eq!(other.receive(), Received::Message(message));
        }
        assert_eq!(other.maker().unwrap(), std::process::id());
        one.hang_up();
        assert_eq!(other.receive(), Received::End);
        assert!(other.send(&Message::Ready).is_err());
    }

    #[test]
    fn what_is_not_understood_is_ignored() {
        let (one, other) = Control::pair().unwrap();
        let long = "x".repeat(LONGEST + 10);
        for text in [
            "listener",
            "listener x",
            "listener -1",
            "listener 99999999999999999999",
            "listener 4294967296",
            "listener 3 4",
            "started 4294967296",
            "draining 1 2 3",
            "unheard of",
            " ",
            "ready 1",
            "serving",
            long.as_str(),
        ] {
            one.0.send(text.as_bytes()).unwrap();
        }
        one.0.send(b"\xff\xfe").unwrap();
        one.send(&Message::Ready).unwrap();
        assert_eq!(other.receive(), Received::Message(Message::Ready));
    }

    #[test]
    fn nobody_waits_for_one_who_does_not_read() {
        let (one, _other) = Control::pair().unwrap();
        let sent = (0..1_000_000).take_while(|_| one.send(&Message::Ready).is_ok());
        assert!(sent.count() < 1_000_000);
    }
}
