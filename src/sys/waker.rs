//! Wakes a thread that sleeps in poll(2).

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use super::syscall;

/// Counts calls until the sleeper forgets them.
#[derive(Debug)]
pub(crate) struct Waker(File);

impl Waker {
    /// # Errors
    /// If no descriptors are left.
    pub(crate) fn new() -> io::Result<Self> {
        syscall::event_counter().map(|counter| Self(counter.into()))
    }

    /// Wakes the sleeper, or lets its next sleep end at once.
    pub(crate) fn wake(&self) {
        // It fails only if the counter is full, and then the sleeper is woken already.
        let _ = (&self.0).write(&1_u64.to_ne_bytes());
    }

    /// The descriptor that the sleeper polls for reading.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Called by the sleeper when awake: forgets the calls that woke it.
    pub(crate) fn clear(&self) {
        // It fails if there was none.
        let _ = (&self.0).read(&mut [0; 8]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::syscall::{PollFd, wait};
    use std::time::Duration;

    #[test]
    fn any_number_of_calls_is_one_awakening() {
        let waker = Waker::new().unwrap();
        let awake = || {
            let mut fds = [PollFd::readable(waker.fd())];
            wait(&mut fds, Some(Duration::ZERO)).unwrap();
            fds[0].is_ready()
        };
        assert!(!awake());
        for _ in 0..100_000 {
            waker.wake();
        }
        assert!(awake());
        waker.clear();
        assert!(!awake());
        waker.wake();
        assert!(awake());
    }
}
