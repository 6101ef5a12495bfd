//! Moves bytes between a client and an endpoint, exactly.
//!
//! While there is little to do, one thread serves both directions (`alone`); when there is more,
//! each runs in a thread of its own (`flow`), blocked in a read or a write: a reader that
//! is slow slows its writer, and memory is one buffer a direction. What holds:
//!
//! - The end of one direction (FIN) passes on as such, and the other direction goes on
//!   for as long as it likes.
//! - A reset, or any error, passes on as a reset. A peer never sees a clean end after
//!   bytes were lost: sockets have SO_LINGER at zero, so that to close them sends RST (tcp(7),
//!   socket(7)), whoever does it, the end of a process that is killed included. It is taken back
//!   once both directions have ended as they should. No FIN is sent once a failure is known. A
//!   session that is cut from outside is disconnected, which sends RST although others use it.
//! - What an endpoint sent before it reset is still read and passed on first, but for what its
//!   reader has left no room for: nobody waits for that once the sender is gone.
//! - A writer that waits for a peer to take more watches the other socket meanwhile, and
//!   a direction that has ended keeps watching both, so that a peer
//!   that resets or vanishes is noticed although nobody reads from it.
//! - There is no idle timeout: an etcd watch may be silent for days.

mod alone;
mod flow;

use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use socket2::SockRef;

use crate::endpoint::ledger::Connected;
use crate::proxy::cause::{Cause, Party};
use crate::stats::Counter;
use crate::sys::syscall::{self, PollFd};

pub(crate) use alone::Alone;
pub(crate) use flow::Buffer;

/// Closes a connection with a reset once its last handle is dropped.
pub(crate) fn reset_on_close(stream: &TcpStream) {
    // Fails only on a socket that is gone already, which then needs no reset.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// One socket of a session and what this process did to it.
#[derive(Debug)]
struct Side {
    party: Party,
    stream: Arc<TcpStream>,
    /// We have sent, or are about to send, our FIN.
    finished: AtomicBool,
}

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
    /// Whose direction ended first, as it should.
    closed: OnceLock<Party>,
    /// Why it failed, first.
    failure: OnceLock<Cause>,
    /// Bytes were or may be lost: whoever comes to an end must not end it cleanly.
    failed: AtomicBool,
    /// The session is to end now, whatever can still be read.
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
    /// The other one.
    pub(crate) fn reverse(self) -> Self {
        match self {
            Self::ToEndpoint => Self::ToClient,
            Self::ToClient => Self::ToEndpoint,
        }
    }
}

impl Side {
    fn is_finished(&self) -> bool {
        self.finished.load(Ordering::SeqCst)
    }

    /// Neither reset nor ended in both directions, the peer having confirmed our end.
    fn is_connected(&self) -> bool {
        self.stream.peer_addr().is_ok()
    }
}

impl Relay {
    /// Joins two connected sockets. What the client is given is counted in `to_client`.
    pub(crate) fn new(
        client: Arc<TcpStream>,
        endpoint: TcpStream,
        account: Connected,
        to_client: Arc<Counter>,
    ) -> Self {
        // A client's socket has it from its listener.
        reset_on_close(&endpoint);
        let side = |party, stream| Side {
            party,
            stream,
            finished: AtomicBool::new(false),
        };
        Self {
            client: side(Party::Client, client),
            endpoint: side(Party::Endpoint, Arc::new(endpoint)),
            account,
            to_endpoint: Counter::new(),
            to_client,
            closed: OnceLock::new(),
            failure: OnceLock::new(),
            failed: AtomicBool::new(false),
            aborted: AtomicBool::new(false),
        }
    }

    /// The sender and the receiver.
    fn sides(&self, direction: Direction) -> (&Side, &Side) {
        match direction {
            Direction::ToEndpoint => (&self.client, &self.endpoint),
            Direction::ToClient => (&self.endpoint, &self.client),
        }
    }

    /// Whether an end of stream is the sender's FIN. After a reset a read returns the
    /// end of stream too, if the other direction's write was told of the reset first
    /// (the kernel reports it once). A connection that was reset is not `connected` any
    /// more; one that ended in both directions is not either, but then the other
    /// direction has sent our FIN, and has written nothing since.
    fn ended_cleanly(&self, from: &Side, connected: bool) -> bool {
        (connected || from.is_finished()) && !self.failed.load(Ordering::SeqCst)
    }

    /// To be held while a thread works on it: one that panics takes the session with it, by a
    /// reset, rather than leave the other direction alone or end a stream short.
    pub(crate) fn work(&self) -> Work<'_> {
        Work(self)
    }

    /// Why it is over, once it is.
    pub(crate) fn cause(&self) -> Cause {
        let closed = self.closed.get().map(|party| Cause::Closed(*party));
        // Neither: a thread has panicked.
        let cause = self.failure.get().copied().or(closed);
        cause.unwrap_or(Cause::Internal)
    }

    /// How many bytes the endpoint and the client were given.
    pub(crate) fn passed(&self) -> (u64, u64) {
        (self.to_endpoint.get(), self.to_client.get())
    }

    /// From here on both connections end with a reset.
    pub(crate) fn fail(&self, cause: Cause) {
        // Of several causes the first led to the others.
        let _ = self.failure.set(cause);
        self.failed.store(true, Ordering::SeqCst);
        // Also after an end as it should be.
        reset_on_close(&self.client.stream);
        reset_on_close(&self.endpoint.stream);
    }

    /// Both directions have ended as they should. Before anyone can know that, and end the
    /// process: what is still on its way to a peer then arrives all the same.
    fn settle(&self, side: &Side) {
        if !self.failed.load(Ordering::SeqCst) {
            // It fails only on a socket that is gone already.
            let _ = SockRef::from(&*side.stream).set_linger(None);
        }
    }

    /// Fails the session and wakes the other direction from a read. (A write it is in
    /// fails by itself: this direction read from that connection and found it broken.)
    pub(crate) fn abort(&self, cause: Cause) {
        self.fail(cause);
        // For reads that find bytes each time: they never come to the end made below.
        self.aborted.store(true, Ordering::SeqCst);
        for side in [&self.client, &self.endpoint] {
            // Ends reads without a word to the peer; an error means not connected.
            let _ = side.stream.shutdown(Shutdown::Read);
        }
    }

    /// Resets both connections now, whatever their directions wait for, after [`Relay::abort`]. A
    /// write to a peer whose window is shut would otherwise wait, and the reset with it, for as
    /// long as that peer likes. To shut the sockets down would wake it too, but send a FIN first.
    /// False if the kernel wants a call to end first that the abort has woken.
    pub(crate) fn sever(&self) -> bool {
        let sides = [&self.client, &self.endpoint];
        // Both, whatever becomes of the first.
        let done = sides.map(|side| syscall::disconnect(side.stream.as_fd()).is_ok());
        done == [true; 2]
    }
}

/// A thread's work on a relay.
#[derive(Debug)]
pub(crate) struct Work<'a>(&'a Relay);

impl Drop for Work<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.abort(Cause::Internal);
        }
    }
}

/// Passes the end of stream on. False if that connection is gone.
fn finish(to: &Side) -> bool {
    to.finished.store(true, Ordering::SeqCst);
    to.stream.shutdown(Shutdown::Write).is_ok()
}

/// After this direction has ended: waits until the other has ended too, which hangs up
/// one of the sockets, or until a socket fails.
fn watch(relay: &Relay, from: &Side, to: &Side) {
    let mut fds = [
        PollFd::hung_up(from.stream.as_fd()),
        PollFd::hung_up(to.stream.as_fd()),
    ];
    loop {
        match syscall::wait(&mut fds, None) {
            Ok(()) if fds.iter().any(PollFd::is_ready) => break,
            Ok(()) => {}
            // Nothing to watch with; the other direction ends by its own means.
            Err(_) => return,
        }
    }
    // The other direction writes to `from` and may be blocked in a read elsewhere; of
    // a failure of `to`, from which it reads, it learns itself.
    if fds.first().is_some_and(PollFd::has_error) {
        relay.abort(Cause::Failed(from.party));
    }
}

#[cfg(test)]
mod tests;
