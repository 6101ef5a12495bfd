//! What the processes of one service tell each other: messages, and the socket that carries them.
//!
//! There is one such socket between a process that drains and the one that serves; it is handed on when another process
//! serves. It carries whole messages (SOCK_SEQPACKET of unix(7)), so none is cut where it changes hands, and its end
//! tells that the other process has ended. Nobody ever waits for room in it: who does not read loses messages.
//!
//! The messages are words and numbers. One that is not understood is ignored: it is of another version.

use std::fmt;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use socket2::{Domain, SockRef, Socket, Type};

use crate::sys::syscall;

/// The longest message in bytes; the rest is cut off.
const LONGEST: usize = 1024;

/// What a process is asked for, as by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// SIGHUP: endpoints are asked for again, and the access log is opened again.
    Refresh,
    /// SIGUSR1: the status is logged.
    Status,
    /// SIGUSR2.
    Reload,
    /// SIGTERM: sessions get the time of `--drain-timeout`.
    End,
    /// A second SIGTERM: sessions are reset.
    Reset,
}

impl Request {
    const ALL: [(&'static str, Self); 5] = [
        ("refresh", Self::Refresh),
        ("status", Self::Status),
        ("reload", Self::Reload),
        ("end", Self::End),
        ("reset", Self::Reset),
    ];
}

/// A descriptor that is handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item {
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
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    /// To a successor before it starts: what it inherits.
    Item(Item),
    /// To it, last: whether a service manager watches the service, whether whoever started this process does, how many
    /// reloads there were, how many connections the host bears, and how many there are.
    Service {
        is_managed: bool,
        is_watched: bool,
        succeeded: u64,
        failed: u64,
        host: u64,
        connections: u64,
    },
    /// From who starts the successor: its process.
    Started(u32),
    /// From the successor: it can serve.
    Ready,
    /// From it: why it cannot.
    Failed(String),
    /// To it: from now on it serves.
    Serve,
    /// To those that drain: this process serves now.
    Serving(u32),
    /// From one that drains: how many connections it has.
    Connections(u64),
    Request(Request),
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Item(Item::Listener(fd)) => write!(f, "listener {fd}"),
            Self::Item(Item::Passed(fd)) => write!(f, "passed {fd}"),
            Self::Item(Item::Metrics(fd)) => write!(f, "metrics {fd}"),
            Self::Item(Item::Draining {
                fd,
                process,
                is_watched,
                connections,
            }) => {
                let is_watched = u8::from(*is_watched);
                write!(f, "draining {fd} {process} {is_watched} {connections}")
            }
            Self::Service {
                is_managed,
                is_watched,
                succeeded,
                failed,
                host,
                connections,
            } => {
                let (is_managed, is_watched) = (u8::from(*is_managed), u8::from(*is_watched));
                write!(
                    f,
                    "service {is_managed} {is_watched} {succeeded} {failed} {host} {connections}"
                )
            }
            Self::Started(process) => write!(f, "started {process}"),
            Self::Ready => f.write_str("ready"),
            Self::Failed(text) => write!(f, "failed {text}"),
            Self::Serve => f.write_str("serve"),
            Self::Serving(process) => write!(f, "serving {process}"),
            Self::Connections(count) => write!(f, "connections {count}"),
            Self::Request(request) => {
                let named = Request::ALL.iter().find(|(_, known)| known == request);
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
        let words: Vec<&str> = text.split(' ').collect();
        let (first, numbers) = words.split_first()?;
        let numbers: Vec<u64> = numbers
            .iter()
            .map(|word| word.parse())
            .collect::<Result<_, _>>()
            .ok()?;
        let fd = |number: u64| RawFd::try_from(number).ok();
        let process = |number: u64| u32::try_from(number).ok();
        Some(match (*first, numbers.as_slice()) {
            ("listener", [number]) => Self::Item(Item::Listener(fd(*number)?)),
            ("passed", [number]) => Self::Item(Item::Passed(fd(*number)?)),
            ("metrics", [number]) => Self::Item(Item::Metrics(fd(*number)?)),
            ("draining", [number, id, is_watched, connections]) => Self::Item(Item::Draining {
                fd: fd(*number)?,
                process: process(*id)?,
                is_watched: *is_watched == 1,
                connections: *connections,
            }),
            ("service", [is_managed, is_watched, succeeded, failed, host, connections]) => {
                Self::Service {
                    is_managed: *is_managed == 1,
                    is_watched: *is_watched == 1,
                    succeeded: *succeeded,
                    failed: *failed,
                    host: *host,
                    connections: *connections,
                }
            }
            ("started", [id]) => Self::Started(process(*id)?),
            ("ready", []) => Self::Ready,
            ("serve", []) => Self::Serve,
            ("serving", [id]) => Self::Serving(process(*id)?),
            ("connections", [count]) => Self::Connections(*count),
            (word, []) => {
                let named = Request::ALL.iter().find(|(name, _)| *name == word);
                Self::Request(named.map(|(_, request)| *request)?)
            }
            _ => return None,
        })
    }
}

/// What has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    Message(Message),
    /// Nothing so far.
    Nothing,
    /// The other process has ended, or has let go of the socket.
    End,
}

/// One end of such a socket.
#[derive(Debug)]
pub(in crate::gateway) struct Control(Socket);

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

    /// One that was inherited.
    pub(super) fn inherited(fd: OwnedFd) -> Self {
        let socket = Socket::from(fd);
        // One that was made here does not wait. Another is refused, and must not be waited for before that.
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
    /// If the other process has ended, or does not read.
    pub(super) fn send(&self, message: &Message) -> io::Result<()> {
        self.0.send(message.to_string().as_bytes()).map(drop)
    }

    /// The next message, without waiting for one.
    pub(super) fn receive(&self) -> Received {
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
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_whole_in_order_and_the_end_is_told() {
        let messages = [
            Message::Item(Item::Listener(3)),
            Message::Item(Item::Passed(4)),
            Message::Item(Item::Metrics(5)),
            Message::Item(Item::Draining {
                fd: 6,
                process: 70,
                is_watched: true,
                connections: 8,
            }),
            Message::Service {
                is_managed: false,
                is_watched: true,
                succeeded: 1,
                failed: 2,
                host: 3,
                connections: 4,
            },
            Message::Started(9),
            Message::Ready,
            Message::Failed("a reason, with words".to_owned()),
            Message::Serve,
            Message::Serving(10),
            Message::Connections(11),
        ];
        let requests = Request::ALL.map(|(_, request)| Message::Request(request));
        let (one, other) = Control::pair().unwrap();
        assert_eq!(other.receive(), Received::Nothing);
        for message in messages.iter().chain(&requests) {
            one.send(message).unwrap();
        }
        for message in messages.into_iter().chain(requests) {
            assert_eq!(other.receive(), Received::Message(message));
        }
        assert_eq!(other.maker().unwrap(), std::process::id());
        drop(one);
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
