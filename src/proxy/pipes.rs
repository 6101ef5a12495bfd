//! Pipes through which bulk moves inside the kernel (splice(2)): taken by a direction when
//! bulk begins and given back, empty, when it ends.
//!
//! There are a few for all sessions together, so that they do not eat up the descriptors;
//! who gets none copies through a buffer instead. A reader that is stuck in the middle of bulk
//! keeps its pipe, with what it holds: as many of them as there are pipes make bulk dearer
//! for the others, and nothing worse.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::sync::lock;
use crate::sys::syscall;

/// Bytes a pipe is asked to hold. One call still moves much, what it moves is still in the
/// processor's cache when it is read, and the messages of other sessions wait a quarter as long
/// for the call to end as with 1 MiB (measured: `make bench LOADS=mixed,bulk`).
const SIZE: i32 = 256 * 1024;

/// With less than this copying is as quick. What a pipe has that cannot be enlarged.
const MIN_SIZE: usize = 64 * 1024;

/// Empty pipes that are kept open.
const KEPT: usize = 4;

/// The pipes of the process.
#[derive(Debug)]
pub(crate) struct Pipes {
    /// This host does not splice, or not from socket to socket.
    refused: AtomicBool,
    /// How many more may be opened.
    left: Arc<AtomicUsize>,
    /// Open, empty, and nobody's.
    free: Mutex<Vec<Pipe>>,
}

/// Both ends of an open pipe.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) reader: PipeReader,
    pub(crate) writer: PipeWriter,
    /// Bytes it holds at most.
    pub(crate) size: usize,
    _permit: Permit,
}

/// The right to have one pipe open.
#[derive(Debug)]
struct Permit(Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Pipes {
    /// At most `max` pipes at a time.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            refused: AtomicBool::new(false),
            left: Arc::new(AtomicUsize::new(max)),
            free: Mutex::default(),
        }
    }

    /// An empty pipe, if one is left and it holds enough to be of use.
    pub(crate) fn take(&self) -> Option<Pipe> {
        if !self.are_of_use() {
            return None;
        }
        let free = lock(&self.free).pop();
        free.or_else(|| {
            let less = |left: usize| left.checked_sub(1);
            self.left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
                .ok()?;
            // Without descriptors or memory for it there is none; that is no failure.
            open(Permit(Arc::clone(&self.left)))
                .ok()
                .filter(|pipe| pipe.size >= MIN_SIZE)
        })
    }

    /// Takes a pipe back that is empty. One that is not has to be dropped instead.
    pub(crate) fn put_back(&self, pipe: Pipe) {
        let mut free = lock(&self.free);
        if free.len() < KEPT && self.are_of_use() {
            free.push(pipe);
        }
    }

    /// Whether anything can be moved through them, as far as anyone knows.
    pub(crate) fn are_of_use(&self) -> bool {
        !self.refused.load(Ordering::Relaxed)
    }

    /// Gives no pipe to anyone from here on: nothing can be moved through them.
    pub(crate) fn refuse(&self) {
        self.refused.store(true, Ordering::Relaxed);
        lock(&self.free).clear();
    }
}

fn open(permit: Permit) -> io::Result<Pipe> {
    let (reader, writer) = io::pipe()?;
    // Refused to users whose pipes hold too much already (pipe(7)); the size is still that
    // of any pipe then, or as little as a page.
    let size = syscall::resize_pipe(writer.as_fd(), SIZE)
        .or_else(|_| syscall::pipe_size(writer.as_fd()))?;
    Ok(Pipe {
        reader,
        writer,
        size,
        _permit: permit,
    })
}

#[cfg(test)]
impl Pipes {
    /// Whether a pipe was taken and put back.
    pub(super) fn were_used(&self) -> bool {
        !lock(&self.free).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_as_there_may_be() {
        let pipes = Pipes::new(2);
        let (first, second) = (pipes.take().unwrap(), pipes.take().unwrap());
        assert!(first.size >= MIN_SIZE && pipes.take().is_none());
        // One that is not empty is closed, and another may be opened in its place.
        drop(first);
        pipes.put_back(pipes.take().unwrap());
        pipes.put_back(second);
        assert!(pipes.were_used());
        let again = (pipes.take(), pipes.take(), pipes.take());
        assert!(matches!(again, (Some(_), Some(_), None)));
    }

    #[test]
    fn no_more_are_kept_than_are_worth_it() {
        let pipes = Pipes::new(KEPT + 2);
        let taken: Vec<_> = std::iter::from_fn(|| pipes.take()).collect();
        assert_eq!(taken.len(), KEPT + 2);
        taken.into_iter().for_each(|pipe| pipes.put_back(pipe));
        assert_eq!(lock(&pipes.free).len(), KEPT);
        assert_eq!(pipes.left.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_host_that_does_not_splice_gets_none() {
        let pipes = Pipes::new(2);
        pipes.put_back(pipes.take().unwrap());
        pipes.refuse();
        assert!(pipes.take().is_none() && !pipes.were_used());
    }
}
