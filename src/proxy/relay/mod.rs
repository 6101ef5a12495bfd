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

mod alone;
mod end;
mod flow;
mod gone;

use std::io;
use std::net::TcpStream;
use std::sync::{Arc, Mutex, OnceLock};

use alone::Alone;
use end::Side;
use flow::Buffer;

use crate::endpoint::ledger::Connected;
use crate::log;
use crate::proxy::cause::{Cause, Failure, Party, Refusal};
use crate::proxy::pipes::Pipes;
use crate::stats::Counter;
use crate::sys::Plain;

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
    /// Held while an end of stream is passed on.
    ending: Mutex<()>,
    /// Whose direction ended first, as it should.
    closed: OnceLock<Party>,
    /// Why it failed, first.
    failure: OnceLock<Failure>,
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
    /// The other one.
    fn reverse(self) -> Self {
        match self {
            Self::ToEndpoint => Self::ToClient,
            Self::ToClient => Self::ToEndpoint,
        }
    }
}

impl Relay {
    /// Joins two connected sockets; that of the client is reset when it closes. What the client is
    /// given is counted in `to_client`.
    ///
    /// # Errors
    /// If that cannot be had of the endpoint's: a cut stream would end as a whole one does.
    pub(crate) fn new(
        client: Arc<TcpStream>,
        endpoint: TcpStream,
        account: Connected,
        to_client: Arc<Counter>,
    ) -> io::Result<Self> {
        let endpoint = Side::new(Party::Endpoint, Arc::new(endpoint));
        endpoint.socket.reset_on_close(true)?;
        Ok(Self {
            client: Side::new(Party::Client, client),
            endpoint,
            account,
            to_endpoint: Counter::new(),
            to_client,
            ending: Mutex::new(()),
            closed: OnceLock::new(),
            failure: OnceLock::new(),
        })
    }

    /// Serves the session to its end, both directions in the calling thread for as long as there is
    /// little to do. Then `help` is to have [`Relay::help`] called in a second one.
    pub(crate) fn serve(&self, pipes: &Pipes, help: impl Fn(Direction) -> io::Result<()>) {
        let _work = self.work();
        let mut buffer: Buffer = [0; _];
        while let Alone::Busy { direction, pending } = self.alone(pipes, &mut buffer) {
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
                self.abort_and_reset(Cause::Refused(Refusal::NoThread));
                return;
            }
        }
    }

    /// The second thread's part.
    pub(crate) fn help(&self, direction: Direction, pipes: &Pipes) {
        let _work = self.work();
        self.run(direction, pipes, &mut [0; _], 0..0);
    }

    /// How many bytes the endpoint and the client were given.
    pub(crate) fn passed(&self) -> (u64, u64) {
        (self.to_endpoint.get(), self.to_client.get())
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
mod tests;
