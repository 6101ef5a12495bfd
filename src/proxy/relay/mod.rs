//! Moves bytes between a client and an endpoint, exactly.
//!
//! While there is little to do, one thread serves both directions (`alone`); when there is more,
//! each runs in a thread of its own (`flow`), blocked in a read or a write: a reader that
//! is slow slows its writer, and memory is one buffer a direction. What holds:
//!
//! - The end of one direction (FIN) passes on as such, and the other direction goes on
//!   for as long as it likes.
//! - A reset, or any error, passes on as a reset of both (`end`). A peer never sees a clean end after
//!   bytes were lost: sockets have SO_LINGER at zero, so that to close them sends RST (tcp(7),
//!   socket(7)), whoever does it, the end of a process that is killed included. It is taken back
//!   once both directions have ended as they should. No FIN is sent once a failure is known. A
//!   session that has failed is disconnected, which sends RST although others use it.
//! - What an endpoint sent before it reset is still read and passed on first, but for what its
//!   reader has left no room for: nobody waits for that once the sender is gone.
//! - A writer that waits for a peer to take more watches the other socket meanwhile, and
//!   a direction that has ended keeps watching both, so that a peer
//!   that resets or vanishes is noticed although nobody reads from it.
//! - There is no idle timeout: an etcd watch may be silent for days. A peer that is gone is found
//!   by what the kernel knows of its connection (`gone`).
//! - A thread does not wait for long: a direction that has been silent for [`Times::silence`] is left to
//!   whoever waits for all that are silent (`proxy::parked`), and goes on where it was, in another thread.
//!
//! [`Times::silence`]: crate::times::Times::silence

mod alone;
mod end;
mod flow;
mod gone;

use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use alone::Alone;
use end::Side;
use flow::Buffer;

use crate::endpoint::ledger::Connected;
use crate::log;
use crate::proxy::cause::{Cause, Failure, Party, Rejection};
use crate::proxy::pipes::Pipes;
use crate::stats::Counter;
use crate::sys::Plain;
use crate::sys::syscall::PollFd;

/// The two connections of a session. Both directions share it; the sockets close when
/// the last of them is done.
#[derive(Debug)]
pub(crate) struct Relay {
    client: Side,
    endpoint: Side,
    /// Where bytes are counted for the endpoint.
    account: Connected,
    /// What the endpoint was given, in bytes.
    to_endpoint: Counter,
    /// What the client was given, in bytes; the loop guard looks at it, too.
    to_client: Arc<Counter>,
    /// A direction in which nothing has come for so long is left.
    silence: Duration,
    /// The same where each has a thread of its own; `None`: it keeps that.
    busy_silence: Option<Duration>,
    /// Held while an end of stream is passed on.
    ending: Mutex<()>,
    /// Whose direction ended first, as it should.
    closed: OnceLock<Party>,
    /// Why it failed, first.
    failure: OnceLock<Failure>,
    /// Nothing is passed on any more, whatever can still be read.
    aborted: AtomicBool,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// What the client sends.
    ToEndpoint,
    /// What the endpoint answers.
    ToClient,
}

impl Direction {
    /// Both of them.
    pub(crate) const ALL: [Self; 2] = [Self::ToEndpoint, Self::ToClient];

    /// The other one.
    fn reverse(self) -> Self {
        match self {
            Self::ToEndpoint => Self::ToClient,
            Self::ToClient => Self::ToEndpoint,
        }
    }
}

/// Which directions a thread works on, or has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Directions {
    One(Direction),
    Both,
}

impl Directions {
    /// Each of them.
    pub(crate) fn iter(self) -> impl Iterator<Item = Direction> {
        let is_one_of_them = move |direction: &Direction| self.has(*direction);
        Direction::ALL.into_iter().filter(is_one_of_them)
    }

    /// Whether it is one of them.
    pub(crate) fn has(self, direction: Direction) -> bool {
        self == Self::Both || self == Self::One(direction)
    }

    /// These and those of another thread.
    pub(crate) fn and(self, other: Self) -> Self {
        if self == other { self } else { Self::Both }
    }
}

impl Relay {
    /// Joins two connected sockets; that of the client is reset when it closes. What the client is
    /// given is counted in `to_client`. A direction that is silent for `silence` is left, and for `busy_silence` where
    /// each has a thread of its own.
    ///
    /// # Errors
    /// If that cannot be had of the endpoint's: a cut stream would end as a whole one does.
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

    /// Serves directions of the session in the calling thread: both for as long as there is little to do; then
    /// `help` is to have the other one served in a second thread. Returns as they have come to an end, or with those
    /// that are silent: nobody waits for them from then on, and they are to be served again when
    /// [what they wait for](Relay::awaited) is there.
    pub(crate) fn serve(
        &self,
        directions: Directions,
        pipes: &Pipes,
        help: impl Fn(Direction) -> io::Result<()>,
    ) -> Option<Directions> {
        let _work = self.work();
        let mut buffer: Buffer = [0; _];
        if let Directions::One(direction) = directions {
            return self.run(direction, pipes, &mut buffer, 0..0);
        }
        loop {
            let (direction, pending) = match self.alone(pipes, &mut buffer) {
                Alone::Over => return None,
                Alone::Left(directions) => return Some(directions),
                Alone::Busy { direction, pending } => (direction, pending),
            };
            match help(direction.reverse()) {
                Ok(()) => return self.run(direction, pipes, &mut buffer, pending),
                Err(error) => log::debug(
                    "session",
                    "no thread",
                    &[("error", Plain(&error).to_string().into())],
                ),
            }
            // One thread will have to do, unless it would have to wait in two places.
            if !pending.is_empty() {
                self.abort_and_reset(Cause::Rejected(Rejection::NoThread));
                return None;
            }
        }
    }

    /// What is waited for in one direction: bytes or their end, and after that a failure.
    pub(crate) fn awaited(&self, direction: Direction) -> PollFd<'_> {
        let (from, to) = self.sides(direction);
        if to.is_finished() {
            PollFd::hung_up(from.socket.as_fd())
        } else {
            PollFd::readable(from.socket.as_fd())
        }
    }

    /// How many bytes the endpoint and the client were given.
    pub(crate) fn passed(&self) -> (u64, u64) {
        (self.to_endpoint.get(), self.to_client.get())
    }

    /// How long ago the last bytes of either peer came, if the kernel tells: nothing is noted while bytes pass.
    pub(crate) fn idle(&self) -> Option<Duration> {
        let sides = [&self.client, &self.endpoint].into_iter();
        let facts = sides.filter_map(|side| side.socket.facts().ok());
        facts.map(|facts| facts.without_data).min()
    }

    /// Counts the client as connected no more; how many are after it.
    pub(crate) fn leave(&self) -> u64 {
        self.account.leave()
    }

    /// The sender and the receiver.
    fn sides(&self, direction: Direction) -> (&Side, &Side) {
        match direction {
            Direction::ToEndpoint => (&self.client, &self.endpoint),
            Direction::ToClient => (&self.endpoint, &self.client),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
