//! How a session ends: a peer's end of stream is passed on as such, and everything else is a reset of both
//! connections.
//!
//! - A sender's FIN is passed on, and the other direction continues ([`Next::Watch`]).
//! - Something failed, and the receiver's connection is dead: what came from there before is still
//!   passed on by the other direction, which reads from it and so finds its end ([`Next::Rest`]).
//!   The kernel is asked whether it is dead; a failed call proves nothing.
//! - Otherwise [`Relay::abort`] records the cause and resets both at once, so that whatever the
//!   other direction waits for is over.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::pair::{Relay, Side};
use crate::proxy::cause::{Cause, Failure, Party};
use crate::sync::lock;
use crate::sys::syscall::PollFd;

/// Pause if poll(2) itself fails, because the kernel lacks memory.
pub(super) const POLL_FAILED_PAUSE: Duration = Duration::from_millis(100);

/// How often, and after which pause, a reset is tried again that the kernel refuses: some kernels first want a
/// call to end that the abort has woken.
const RESET_TRIES: u32 = 200;
const RESET_PAUSE: Duration = Duration::from_millis(5);

/// How one direction came to an end.
#[derive(Debug)]
pub(super) enum End {
    /// The sender's stream has ended; all it sent was passed on.
    Eof,
    Failed(Failure),
}

impl<T: Into<Failure>> From<T> for End {
    fn from(failure: T) -> Self {
        Self::Failed(failure.into())
    }
}

/// What follows from the end of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The other direction continues; this one watches both sockets.
    Watch,
    /// The other direction passes on the rest from a connection that is dead.
    Rest,
    /// Nothing: both connections are reset.
    Over,
}

/// Why a direction that has ended is no longer watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watched {
    /// The session is over.
    End,
    /// Nothing has happened for long.
    Silence,
}

impl Relay {
    /// Handles the end of the direction `from` one side `to` the other.
    pub(super) fn on_end(&self, end: End, from: &Side, to: &Side) -> Next {
        let passed = match end {
            End::Eof => self.on_eof(from, to),
            End::Failed(failure) => Err(failure),
        };
        let Err(failure) = passed else {
            return Next::Watch;
        };
        if !self.has_failed() && matches!(to.socket.is_connected(), Ok(false)) {
            self.record(failure);
            return Next::Rest;
        }
        self.reset_now(failure);
        Next::Over
    }

    /// Passes an end of stream on, if it is the sender's FIN.
    fn on_eof(&self, from: &Side, to: &Side) -> Result<(), Failure> {
        if !self.is_fin(from)? {
            return Err(Cause::Failed(from.party).into());
        }
        let _one_at_a_time = lock(&self.ending);
        // Before the receiver sees it: its own end may follow at once. Of two the first counts.
        let _ = self.closed.set(from.party);
        if from.is_finished() {
            self.disarm_reset()?;
        }
        let ended = to.socket.end_writes();
        ended.map_err(|error| Failure::of(to.party, error))?;
        to.finished.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Both directions have ended in order: bytes that are still on their way to a peer arrive although the sockets
    /// close. Done before anybody can see the end, and end the process.
    fn disarm_reset(&self) -> Result<(), Failure> {
        for side in [&self.client, &self.endpoint] {
            let disarmed = side.socket.reset_on_close(false);
            disarmed.map_err(|error| Failure::of(side.party, error))?;
        }
        Ok(())
    }

    /// Whether an end of stream is the sender's FIN. After a reset a read returns the
    /// end of stream too, if the other direction's write has got the error
    /// (the kernel reports it once). A connection that was reset is not `connected` any
    /// more; one that ended in both directions is not either, but then the other
    /// direction has sent our FIN, and has written nothing since.
    pub(super) fn is_fin(&self, from: &Side) -> Result<bool, Failure> {
        if self.has_failed() {
            return Ok(false);
        }
        let connected = from.socket.is_connected();
        if connected.map_err(|error| Failure::of(from.party, error))? {
            return Ok(true);
        }
        // Our FIN may be answered before the call that sends it returns.
        let _one_at_a_time = lock(&self.ending);
        Ok(from.is_finished())
    }

    /// Whether nothing is left to do: the thread that has aborted it resets both connections, or the close of the last
    /// handle does.
    pub(crate) fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::SeqCst)
    }

    /// Bytes were or may be lost: a stream must not end in order from here on.
    fn has_failed(&self) -> bool {
        self.failure().is_some()
    }

    /// Of several failures the first led to the others.
    pub(in crate::proxy) fn record(&self, failure: Failure) {
        let _ = self.failure.set(failure);
    }

    /// Ends the session now, whatever can still be read: both connections are reset, and threads that
    /// read, write or wait are woken. Returns at once; where a kernel refuses the reset because such a thread waits,
    /// that thread does it.
    pub(crate) fn abort(&self, failure: impl Into<Failure>) {
        self.record(failure.into());
        // Before a thread that waits is woken.
        self.aborted.store(true, Ordering::SeqCst);
        for side in [&self.client, &self.endpoint] {
            // Some kernels refuse the reset while a read waits. This fails where the connection is
            // dead; whatever other failure there is, the reset does not need it on other kernels.
            let _ = side.socket.end_reads();
        }
        self.try_to_reset();
    }

    /// [`Relay::abort`], by a thread of the session: makes sure that both connections are reset.
    pub(super) fn reset_now(&self, failure: impl Into<Failure>) {
        self.abort(failure);
        self.reset();
    }

    /// Waits until both connections are reset, after [`Relay::abort`], as long as is reasonable.
    pub(super) fn reset(&self) {
        for _ in 0..RESET_TRIES {
            if self.try_to_reset() {
                break;
            }
            std::thread::sleep(RESET_PAUSE);
        }
    }

    /// A write to a peer whose window is shut would wait, and the reset with it, for as
    /// long as that peer likes. A shutdown of the sockets would wake it too, but send a FIN first.
    fn try_to_reset(&self) -> bool {
        let sides = [&self.client, &self.endpoint];
        // Both, whatever becomes of the first.
        let done = sides.map(|side| side.socket.disconnect().is_ok());
        done == [true; 2]
    }

    /// After the direction `from` one side `to` the other has ended: waits until the other has ended
    /// too, which hangs up one of the sockets, or until a socket fails, or for as long as a silence.
    pub(super) fn watch(&self, from: &Side, to: &Side) -> Watched {
        let failed = loop {
            let mut fds = [from, to].map(|side| PollFd::hung_up(side.socket.as_fd()));
            match from.socket.wait(&mut fds, Some(self.silence)) {
                Ok(()) if fds.iter().any(PollFd::is_ready) => {
                    break fds.first().is_some_and(PollFd::has_error);
                }
                Ok(()) => return Watched::Silence,
                Err(_) if from.is_finished() || self.has_failed() => return Watched::End,
                Err(_) => std::thread::sleep(POLL_FAILED_PAUSE),
            }
        };
        // The other direction writes to `from` and may be blocked in a read elsewhere; a
        // failure of `to`, from which it reads, it finds itself.
        if failed && !matches!(self.is_fin(from), Ok(true)) {
            self.reset_now(Cause::Failed(from.party));
        }
        Watched::End
    }

    /// Aborts the session ([`Relay::abort`]) if one of its peers is dead and nothing was heard from it for `patience`.
    /// To be called again and again, some seconds apart.
    pub(crate) fn abort_if_dead(&self, patience: Duration) -> Option<Party> {
        let sides = [&self.client, &self.endpoint];
        // Both are looked at, whatever is found for the first.
        let dead = sides.map(|side| {
            let is_dead = side.watch.is_dead(&side.socket, patience);
            is_dead.then_some(side.party)
        });
        let party = dead.into_iter().flatten().next()?;
        self.abort(Cause::Failed(party));
        Some(party)
    }

    /// Held while a thread works on the session: if it panics, the session ends by a
    /// reset; it neither leaves the other direction alone nor ends a stream early.
    pub(crate) fn work(&self) -> Work<'_> {
        Work(self)
    }

    /// Why it ends by a reset, if it does.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.failure.get()
    }

    /// Why it has ended.
    pub(crate) fn cause(&self) -> Cause {
        let failure = self.failure().map(|failure| failure.cause);
        let closed = self.closed.get().map(|party| Cause::Closed(*party));
        // Neither: a thread has panicked.
        failure.or(closed).unwrap_or(Cause::Internal)
    }
}

/// A thread's work on a relay.
#[derive(Debug)]
pub(crate) struct Work<'a>(&'a Relay);

impl Drop for Work<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.reset_now(Cause::Internal);
        }
    }
}
