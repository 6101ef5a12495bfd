//! Finds peers that are gone: whose host has lost power, or the way to them has.
//!
//! Keepalive finds one only while nothing is on its way to it (tcp(7)). What is sent and not
//! acknowledged the kernel sends again for a quarter of an hour, and a window that a peer had shut
//! it asks after for half an hour. TCP_USER_TIMEOUT is not for that: it also cuts a peer that answers
//! all the time that its window is still shut. So the kernel is asked now and then what it knows
//! ([`Facts`]), and a peer is gone if
//!
//! - nothing was heard of it for [`Times::peer_patience`](crate::times::Times), and
//! - [`TRIES`] times in a row something was sent to it that demands an answer: a segment again, or a
//!   probe, and
//! - that was so at the look before, too, so that the last of them had the time between two looks
//!   to be answered.
//!
//! Silence alone proves nothing: a reader whose window is shut has nothing to say between two probes,
//! which become as rare as one in two minutes. It is the same measure for a peer that is idle, of
//! whom keepalive's own patience (150 s) is not longer. Nor do looks after a pause of this host
//! prove anything: a clock that has jumped makes silences long, but nothing was sent meanwhile.
//!
//! One kind of peer is left to the kernel's patience (four minutes): one that has taken back a window
//! with bytes in flight. It counts nothing there.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use super::Relay;
use crate::proxy::calls::Socket;
use crate::proxy::cause::{Cause, Party};
use crate::sys::tcp::Facts;

/// Unanswered tries that it takes. Packets are lost on the way to peers that live: one or two in a row
/// are no rarity in an hour of probes.
const TRIES: u8 = 3;

/// How often a peer that owes an answer is asked at least, where the kernel can (since Linux 6.15): the
/// longest time for which [`TRIES`] probes, and a look after the last, are within the patience. Without it a
/// reader that had its window shut for long is found gone after six minutes. Not set where nothing is
/// wrong, and not shorter: where a window was taken back, the kernel's patience is twice this.
const LONGEST_WAIT: Duration = Duration::from_secs(40);

/// What is remembered of one socket from look to look.
#[derive(Debug, Default)]
pub(super) struct Vigil {
    /// Unanswered tries at the last look.
    tries: AtomicU8,
    /// The kernel was told to ask often.
    hurried: AtomicBool,
}

/// How often something was sent in vain since the peer was last heard.
fn tries(now: &Facts) -> u8 {
    // The kernel does not probe while segments are in flight, and counts what it sent again only then.
    if now.unacked > 0 {
        now.retransmits
    } else {
        now.probes
    }
}

/// Whether the peer is gone. There were so many tries at the look `before`.
fn is_gone(before: u8, now: &Facts, patience: Duration) -> bool {
    now.unheard >= patience && before.min(tries(now)) >= TRIES
}

/// Whether the peer owes an answer, or room.
fn is_awaited(now: &Facts) -> bool {
    tries(now) > 0 || now.unacked == 0 && now.not_sent > 0
}

impl Vigil {
    /// Whether the peer of a socket is gone.
    fn is_over(&self, socket: &Socket, patience: Duration) -> bool {
        // Where a filter of system calls forbids it, the kernel's own patience has to do.
        let Ok(now) = socket.facts() else {
            return false;
        };
        let before = self.tries.swap(tries(&now), Ordering::Relaxed);
        if is_awaited(&now) && !self.hurried.swap(true, Ordering::Relaxed) {
            // Older kernels cannot.
            let _ = socket.set_longest_wait(LONGEST_WAIT);
        }
        is_gone(before, &now, patience)
    }
}

impl Relay {
    /// Looks whether a peer is gone, of which nothing was heard for `patience`; then the session is aborted
    /// ([`Relay::abort`]). To be called again and again, with some seconds between.
    pub(crate) fn end_if_gone(&self, patience: Duration) -> Option<Party> {
        let sides = [&self.client, &self.endpoint];
        // Both are looked at, whatever is found of the first.
        let gone = sides.map(|side| {
            let is_gone = side.vigil.is_over(&side.socket, patience);
            is_gone.then_some(side.party)
        });
        let party = gone.into_iter().flatten().next()?;
        self.abort(Cause::Failed(party));
        Some(party)
    }
}

#[cfg(test)]
mod tests;
