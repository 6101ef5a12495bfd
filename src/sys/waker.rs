//! Wakes a thread that sleeps in poll(2).

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// A pair of sockets: one to shout into, one to watch.
#[derive(Debug)]
pub(crate) struct Waker {
    far: UnixStream,
    near: UnixStream,
}

impl Waker {
    /// # Errors
    /// If no descriptors are left.
    pub(crate) fn new() -> io::Result<Self> {
        let (far, near) = UnixStream::pair()?;
        far.set_nonblocking(true)?;
        near.set_nonblocking(true)?;
        Ok(Self { far, near })
    }

    /// Wakes the sleeper, or lets its next sleep end at once.
    pub(crate) fn wake(&self) {
        // A full buffer means that a call is waiting to be heard already.
        let _ = (&self.far).write(&[0]);
    }

    /// What the sleeper watches for reading.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.near.as_fd()
    }

    /// Called by the sleeper when awake: forgets the calls that woke it.
    pub(crate) fn clear(&self) {
        let mut calls = [0; 64];
        while matches!((&self.near).read(&mut calls), Ok(count) if count == calls.len()) {}
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
