//! The two connections of a session, and what is known about each of them.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use super::dead_peer::PeerWatch;
use crate::endpoint::stats::Connected;
use crate::proxy::calls::Socket;
use crate::proxy::cause::{Failure, Party};
use crate::stats::Counter;
use crate::sys::syscall::PollFd;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    ToEndpoint,
    ToClient,
}

impl Direction {
    pub(crate) const ALL: [Self; 2] = [Self::ToEndpoint, Self::ToClient];

    /// The other one.
    pub(super) fn reverse(self) -> Self {
        match self {
            Self::ToEndpoint => Self::ToClient,
            Self::ToClient => Self::ToEndpoint,
        }
    }
}

/// One direction of a session, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Directions {
    One(Direction),
    Both,
}

impl Directions {
    pub(crate) fn iter(self) -> impl Iterator<Item = Direction> {
        let all = Direction::ALL.into_iter();
        all.filter(move |direction| self.has(*direction))
    }

    pub(crate) fn has(self, direction: Direction) -> bool {
        self == Self::Both || self == Self::One(direction)
    }

    /// These and some that another thread has left.
    pub(crate) fn and(self, other: Self) -> Self {
        if self == other { self } else { Self::Both }
    }
}

/// One socket of a session and what this process did to it.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) party: Party,
    pub(super) socket: Socket,
    /// We have sent our FIN.
    pub(super) finished: AtomicBool,
    pub(super) watch: PeerWatch,
}

impl Side {
    fn new(party: Party, stream: Arc<TcpStream>) -> Self {
        Self {
            party,
            socket: Socket::new(stream),
            finished: AtomicBool::new(false),
            watch: PeerWatch::default(),
        }
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::SeqCst)
    }
}

/// The two connections of a session. Both directions share it; the sockets close when
/// the last of them is done.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(super) client: Side,
    pub(super) endpoint: Side,
    /// Counts bytes for the endpoint.
    pub(super) account: Connected,
    /// Bytes sent to the endpoint.
    pub(super) to_endpoint: Counter,
    /// Bytes sent to the client; the loop guard reads it, too.
    pub(super) to_client: Arc<Counter>,
    /// After this time without bytes a direction is left.
    pub(super) silence: Duration,
    /// The same where each direction has a thread of its own; `None`: the thread is kept.
    pub(super) busy_silence: Option<Duration>,
    /// Locked while an end of stream is passed on.
    pub(super) ending: Mutex<()>,
    /// The peer that ended its direction first, in order.
    pub(super) closed: OnceLock<Party>,
    /// The first failure.
    pub(super) failure: OnceLock<Failure>,
    /// Nothing is passed on any more, whatever can still be read.
    pub(super) aborted: AtomicBool,
}

impl Relay {
    /// Joins two connected sockets; the client's is reset when it closes. Bytes sent to the client are counted in
    /// `to_client`. A direction is left after `silence`, and after `busy_silence` where each has a thread of its own.
    ///
    /// # Errors
    /// If the endpoint's socket cannot be set to be reset when it closes: an incomplete stream would end like a
    /// complete one.
    pub(crate) fn new(
        client: Arc<TcpStream>,
        endpoint: TcpStream,
        account: Connected,
        to_client: Arc<Counter>,
        silence: Duration,
        busy_silence: Option<Duration>,
    ) -> io::Result<Self> {
        let endpoint = Side::new(Party::Endpoint, Arc::new(endpoint));
        endpoint.socket.reset_on_close(true)?;
        Ok(Self {
            client: Side::new(Party::Client, client),
            endpoint,
            account,
            to_endpoint: Counter::new(),
            to_client,
            silence,
            busy_silence,
            ending: Mutex::new(()),
            closed: OnceLock::new(),
            failure: OnceLock::new(),
            aborted: AtomicBool::new(false),
        })
    }

    /// The sender and the receiver.
    pub(super) fn sides(&self, direction: Direction) -> (&Side, &Side) {
        match direction {
            Direction::ToEndpoint => (&self.client, &self.endpoint),
            Direction::ToClient => (&self.endpoint, &self.client),
        }
    }

    /// What to wait for in one direction: bytes or their end, and after that a failure.
    pub(crate) fn awaited(&self, direction: Direction) -> PollFd<'_> {
        let (from, to) = self.sides(direction);
        if to.is_finished() {
            PollFd::hung_up(from.socket.as_fd())
        } else {
            PollFd::readable(from.socket.as_fd())
        }
    }

    /// How many bytes were sent to the endpoint and to the client.
    pub(crate) fn passed(&self) -> (u64, u64) {
        (self.to_endpoint.get(), self.to_client.get())
    }

    /// How long ago the last bytes of either peer came, if the kernel records it: the relay does not.
    pub(crate) fn idle(&self) -> Option<Duration> {
        let sides = [&self.client, &self.endpoint].into_iter();
        let facts = sides.filter_map(|side| side.socket.facts().ok());
        facts.map(|facts| facts.without_data).min()
    }

    /// Counts the client as no longer connected; returns how many others still are.
    pub(crate) fn leave(&self) -> u64 {
        self.account.leave()
    }
}
