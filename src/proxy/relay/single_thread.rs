//! Both directions of a session in one thread, for as long as there is little to do.
//!
//! Most sessions are short or silent, and a thread is the most expensive part of a session: this one
//! waits for either side, passes on what comes, and asks for a second thread when
//! messages follow each other quickly, or when one of them cannot be sent at once:
//! a wait for one reader must never hold up the other direction.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::end::{Next, POLL_FAILED_PAUSE};
use super::flow::Buffer;
use super::pair::{Direction, Directions, Relay};
use crate::proxy::cause::Cause;
use crate::proxy::pipes::Pipes;
use crate::sys::syscall::PollFd;

/// Why one thread no longer serves both directions.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SingleThread {
    /// The session is over.
    Over,
    /// Nothing has come for long in these, and no thread serves them any more.
    Silent(Directions),
    /// Each direction needs a thread from here on.
    NeedsSecond {
        /// The calling thread continues with this one.
        direction: Direction,
        /// What it has read and not yet sent.
        pending: Range<usize>,
    },
}

/// So many messages within [`BURST_TIME`] are worth two threads.
const BURST: u32 = 32;
const BURST_TIME: Duration = Duration::from_millis(100);

/// How quickly messages follow each other.
struct Pace {
    count: u32,
    since: Instant,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self {
            count: 0,
            since: now,
        }
    }

    /// Counts one message; true if they have become many.
    fn is_fast(&mut self, now: impl FnOnce() -> Instant) -> bool {
        self.count += 1;
        if self.count < BURST {
            return false;
        }
        let now = now();
        let fast = now.saturating_duration_since(self.since) < BURST_TIME;
        *self = Self::new(now);
        fast
    }
}

impl Relay {
    /// Serves both directions from the calling thread until the session is over, is silent, or has
    /// become busy. May be called again if there is no second thread, and nothing is pending.
    pub(super) fn serve_both(&self, pipes: &Pipes, buffer: &mut Buffer) -> SingleThread {
        let needs_second = |direction, pending| SingleThread::NeedsSecond { direction, pending };
        let mut pace = Pace::new(Instant::now());
        loop {
            let mut fds = Direction::ALL.map(|direction| self.awaited(direction));
            let waited = self.client.socket.wait(&mut fds, Some(self.silence));
            if waited.is_err() {
                // There is no memory for poll; a read needs none. If there is no second thread either,
                // this is tried again.
                std::thread::sleep(POLL_FAILED_PAUSE);
                return needs_second(Direction::ToEndpoint, 0..0);
            }
            if !fds.iter().any(PollFd::is_ready) {
                return SingleThread::Silent(Directions::Both);
            }
            for (direction, fd) in Direction::ALL.into_iter().zip(&fds) {
                if !fd.is_ready() {
                    continue;
                }
                let (from, to) = self.sides(direction);
                if to.is_finished() {
                    // Nothing more is read from there, so it has failed.
                    self.reset_now(Cause::Failed(from.party));
                    return SingleThread::Over;
                }
                let flow = self.flow(direction);
                let passed = flow.read(buffer).and_then(|bytes| {
                    let rest = flow.offer(bytes)?;
                    Ok((bytes.len(), rest.len()))
                });
                match passed {
                    Ok((_, 0)) => {}
                    Ok((count, rest)) => return needs_second(direction, count - rest..count),
                    Err(end) => match self.on_end(end, from, to) {
                        Next::Watch if !from.is_finished() => {}
                        Next::Watch | Next::Over => return SingleThread::Over,
                        Next::Rest => {
                            let silent = self.serve_one(direction.reverse(), pipes, buffer, 0..0);
                            return silent.map_or(SingleThread::Over, SingleThread::Silent);
                        }
                    },
                }
                if pace.is_fast(Instant::now) {
                    return needs_second(direction, 0..0);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirty_two_messages_in_a_tenth_of_a_second_are_fast() {
        let start = Instant::now();
        for (milliseconds, fast) in [(0, true), (99, true), (100, false), (1000, false)] {
            let mut pace = Pace::new(start);
            let last = start + Duration::from_millis(milliseconds);
            for _ in 1..32 {
                assert!(!pace.is_fast(|| start));
            }
            assert_eq!(pace.is_fast(|| last), fast, "{milliseconds} ms");
            // And from there on again.
            for _ in 1..32 {
                assert!(!pace.is_fast(|| last));
            }
            assert!(pace.is_fast(|| last));
        }
    }
}
