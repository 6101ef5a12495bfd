//! Moves bytes between a client and an endpoint, exactly.
//!
//! While there is little to do, one thread serves both directions (`single_thread`); when there is more,
//! each has a thread of its own (`flow`), blocked in a read or a write: a slow reader
//! slows its writer, and memory is one buffer per direction. What holds:
//!
//! - The end of one direction (FIN) is passed on as such, and the other direction continues
//!   for as long as it likes.
//! - A reset, or any error, is passed on as a reset of both (`end`). A peer never sees an orderly end after
//!   bytes were lost: sockets have SO_LINGER at zero, so that closing them sends RST (tcp(7),
//!   socket(7)), also when the process is killed. It is taken back
//!   once both directions have ended in order. No FIN is sent once a failure is known. A
//!   session that has failed is disconnected, which sends RST although other threads use its sockets.
//! - What an endpoint sent before it reset is still read and passed on first, except what its
//!   reader has left no room for: no thread waits for that once the sender has reset.
//! - A thread that waits until a peer takes more watches the other socket meanwhile, and
//!   a direction that has ended keeps watching both, so that a peer
//!   that resets or vanishes is noticed although no thread reads from it.
//! - There is no idle timeout: an etcd watch may be silent for days. A dead peer is found
//!   by what the kernel records about its connection (`dead_peer`).
//! - A thread does not wait for long: a direction that has been silent for [`Times::silence`] is left to
//!   the thread that waits for all silent ones (`proxy::parked`), and continues where it was, in another thread.
//!
//! [`Times::silence`]: crate::times::Times::silence

mod dead_peer;
mod end;
mod flow;
mod pair;
mod single_thread;

use std::io;

use flow::Buffer;
pub(crate) use pair::{Direction, Directions, Relay};
use single_thread::SingleThread;

use crate::log;
use crate::proxy::cause::{Cause, Rejection};
use crate::proxy::pipes::Pipes;
use crate::sys::OsErrorText;

impl Relay {
    /// Serves directions of the session in the calling thread: both for as long as there is little to do; then
    /// `help` is to have the other one served in a second thread. Returns when they have ended, or with those
    /// that are silent: no thread serves them from then on, until
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
            return self.serve_one(direction, pipes, &mut buffer, 0..0);
        }
        loop {
            let (direction, pending) = match self.serve_both(pipes, &mut buffer) {
                SingleThread::Over => return None,
                SingleThread::Silent(directions) => return Some(directions),
                SingleThread::NeedsSecond { direction, pending } => (direction, pending),
            };
            match help(direction.reverse()) {
                Ok(()) => return self.serve_one(direction, pipes, &mut buffer, pending),
                Err(error) => log::debug(
                    "session",
                    "no thread",
                    &[("error", OsErrorText(&error).to_string().into())],
                ),
            }
            // One thread has to do, unless it would have to wait in two places.
            if !pending.is_empty() {
                self.reset_now(Cause::Rejected(Rejection::NoThread));
                return None;
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
