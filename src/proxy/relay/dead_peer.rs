//! Finds dead peers: their host has lost power, or the network path to them is gone.
//!
//! Keepalive finds one only while nothing is in flight to it (tcp(7)). The kernel retransmits unacknowledged segments
//! for a quarter of an hour, and probes a window that a peer had closed for half an hour. TCP_USER_TIMEOUT is not the
//! right tool: it also cuts a peer that keeps answering that its window is still closed. So the kernel is asked now and
//! then what it records ([`Facts`]), and a peer is dead if
//!
//! - nothing was heard from it for [`Times::peer_patience`](crate::times::Times), and
//! - [`TRIES`] times in a row something was sent to it that demands an answer: a retransmission, or a
//!   probe, and
//! - that was already so at the look before, so that the last of them had the time between two looks
//!   to be answered.
//!
//! Silence alone proves nothing: a reader whose window is closed sends nothing between two probes,
//! which become as rare as one in two minutes. An idle peer gets the same time: keepalive's own patience (150 s) is
//! not longer. Looks after a pause of this host prove nothing either: a clock that has jumped makes silences long, but
//! nothing was sent meanwhile.
//!
//! One kind of peer is left to the kernel's patience (four minutes): one that has shrunk its window
//! with bytes in flight. The kernel counts nothing there.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use crate::proxy::calls::Socket;
use crate::sys::tcp::Facts;

/// How many unanswered tries it takes. Packets are lost on the way to live peers: one or two in a row
/// are not rare in an hour of probes.
const TRIES: u8 = 3;

/// The longest interval between two probes of a peer that owes an answer, where the kernel can limit it (since
/// Linux 6.15): the longest for which [`TRIES`] probes, and a look after the last, are within the patience. Without it
/// a reader whose window was closed for long is found dead after six minutes. Not set where nothing is
/// wrong, and not shorter: where a window was shrunk, the kernel's patience is twice this.
const LONGEST_WAIT: Duration = Duration::from_secs(40);

/// What is remembered of one socket from look to look.
#[derive(Debug, Default)]
pub(super) struct PeerWatch {
    /// Unanswered tries at the last look.
    tries: AtomicU8,
    /// [`LONGEST_WAIT`] is set.
    hurried: AtomicBool,
}

impl PeerWatch {
    /// Whether the peer of a socket is dead.
    pub(super) fn is_dead(&self, socket: &Socket, patience: Duration) -> bool {
        // Where a filter of system calls forbids it, the kernel's own patience applies.
        let Ok(now) = socket.facts() else {
            return false;
        };
        let before = self.tries.swap(tries(&now), Ordering::Relaxed);
        if owes_answer(&now) && !self.hurried.swap(true, Ordering::Relaxed) {
            // Older kernels cannot.
            let _ = socket.set_longest_wait(LONGEST_WAIT);
        }
        is_dead(before, &now, patience)
    }
}

/// How often something was sent in vain since the peer was last heard.
fn tries(now: &Facts) -> u8 {
    // The kernel does not probe while segments are in flight, and counts retransmissions only then.
    if now.unacked > 0 {
        now.retransmits
    } else {
        now.probes
    }
}

/// Whether the peer is dead. `before` is the number of tries at the last look.
fn is_dead(before: u8, now: &Facts, patience: Duration) -> bool {
    now.unheard >= patience && before.min(tries(now)) >= TRIES
}

/// Whether the peer owes an answer, or room.
fn owes_answer(now: &Facts) -> bool {
    tries(now) > 0 || now.unacked == 0 && now.not_sent > 0
}

#[cfg(test)]
mod tests;
