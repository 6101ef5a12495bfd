//! Pipes through which bulk moves inside the kernel (splice(2)): taken by a direction when
//! bulk begins and given back, empty, when it ends.
//!
//! There are a few for all sessions together, so that they do not eat up the descriptors;
//! who gets none copies through a buffer instead, of which there may be few, too: where there is none either, a
//! message's will do. Both numbers are what the host bears (`sys::limits`). A reader that is stuck in the middle of bulk
//! keeps its pipe, with what it holds: as many of them as there are pipes make bulk dearer
//! for the others, and nothing worse.

use std::io::{self, PipeReader, PipeWriter};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::log;
use crate::proxy::calls::{self, Seam};
use crate::sync::lock;
use crate::sys::{Plain, memory};

/// Bytes a pipe is asked to hold. One call still moves much, what it moves is still in the
/// processor's cache when it is read, and the messages of other sessions wait a quarter as long
/// for the call to end as with 1 MiB (measured: `make bench LOADS=mixed,bulk`).
const SIZE: usize = 256 * 1024;

/// With less than this copying is as quick. What a pipe has that cannot be enlarged.
const MIN_SIZE: usize = 64 * 1024;

/// Empty pipes that are kept open.
const KEPT: usize = 4;

/// The longest pause after a refusal to splice.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// So many refusals in a row are no accident, and are logged.
const LASTING: u32 = 4;

/// The pipes of the process.
#[derive(Debug)]
pub(crate) struct Pipes {
    /// How many more may be opened.
    left: Arc<AtomicUsize>,
    /// How many more buffers there may be.
    buffers: Arc<AtomicUsize>,
    /// The pause after the first refusal.
    pause: Duration,
    state: Mutex<State>,
    pub(crate) seam: Seam,
}

#[derive(Debug, Default)]
struct State {
    /// Open, empty, and nobody's.
    free: Vec<Pipe>,
    /// How many times in a row bulk has come to an end because the host did not splice.
    refusals: u32,
    /// When it is asked again.
    paused_until: Option<Instant>,
}

impl State {
    fn is_paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }
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

/// What bulk is copied through.
#[derive(Debug)]
pub(crate) struct Buffer {
    pub(crate) bytes: Vec<u8>,
    _permit: Permit,
}

/// The right to have one pipe open, or one buffer.
#[derive(Debug)]
struct Permit(Arc<AtomicUsize>);

impl Permit {
    /// One of those that are left.
    fn of(left: &Arc<AtomicUsize>) -> Option<Self> {
        let less = |left: usize| left.checked_sub(1);
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .ok()?;
        Some(Self(Arc::clone(left)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Pipes {
    /// At most `max` pipes at a time, and no bulk through them for `pause`, then longer, where the
    /// host refuses that.
    pub(crate) fn new(max: usize, pause: Duration) -> Self {
        Self {
            left: Arc::new(AtomicUsize::new(max)),
            buffers: Arc::new(AtomicUsize::new(usize::MAX)),
            pause,
            state: Mutex::default(),
            seam: Seam::default(),
        }
    }

    /// The same with at most `max` buffers at a time.
    pub(crate) fn with_buffers(mut self, max: usize) -> Self {
        self.buffers = Arc::new(AtomicUsize::new(max));
        self
    }

    /// A buffer of `size` bytes, if one is left and there is memory for it.
    pub(crate) fn buffer(&self, size: usize) -> Option<Buffer> {
        let permit = Permit::of(&self.buffers)?;
        Some(Buffer {
            bytes: memory::zeroed(size).ok()?,
            _permit: permit,
        })
    }

    /// An empty pipe, if one is left, it holds enough to be of use, and the host splices, as far as
    /// anyone knows.
    pub(crate) fn take(&self, now: Instant) -> Option<Pipe> {
        let free = {
            let mut state = lock(&self.state);
            if state.is_paused(now) {
                return None;
            }
            state.free.pop()
        };
        free.or_else(|| {
            let permit = Permit::of(&self.left)?;
            // Without descriptors or memory for it there is none; that is no failure.
            self.open(permit).ok().filter(|pipe| pipe.size >= MIN_SIZE)
        })
    }

    /// Takes a pipe back that is empty, and notes whether bytes were `moved` through it. One that is
    /// not empty has to be dropped instead.
    pub(crate) fn put_back(&self, pipe: Pipe, moved: bool, now: Instant) {
        let mut state = lock(&self.state);
        if state.is_paused(now) {
            return;
        }
        if state.free.len() < KEPT {
            state.free.push(pipe);
        }
        if moved && std::mem::take(&mut state.refusals) >= LASTING {
            log::info("proxy", "splice works again", &[]);
        }
    }

    /// Notes that the host did not splice: bulk is copied for a while.
    pub(crate) fn refused(&self, error: &io::Error, now: Instant) {
        let (refusals, pause) = {
            let mut state = lock(&self.state);
            state.refusals = state.refusals.saturating_add(1);
            let pause = pause(self.pause, state.refusals);
            state.paused_until = Some(now + pause);
            state.free.clear();
            (state.refusals, pause)
        };
        if refusals == LASTING {
            log::warn(
                "proxy",
                "cannot splice; copying instead",
                &[
                    ("error", Plain(error).to_string().into()),
                    ("pause_seconds", pause.into()),
                ],
            );
        }
    }

    fn open(&self, permit: Permit) -> io::Result<Pipe> {
        let (reader, writer, size) = calls::open_pipe(&self.seam, SIZE)?;
        Ok(Pipe {
            reader,
            writer,
            size,
            _permit: permit,
        })
    }
}

/// How long bulk is copied after so many refusals in a row, `first` after one.
fn pause(first: Duration, refusals: u32) -> Duration {
    let doubled = 1u32.checked_shl(refusals.saturating_sub(1));
    let pause = doubled.and_then(|factor| first.checked_mul(factor));
    pause.unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE)
}

#[cfg(test)]
impl Pipes {
    /// How many are kept open.
    pub(super) fn kept(&self) -> usize {
        lock(&self.state).free.len()
    }

    /// How many of them have bytes in them, which would be somebody else's.
    pub(super) fn with_bytes(&self) -> usize {
        use crate::sys::syscall::{PollFd, wait};
        use std::os::fd::AsFd;

        let state = lock(&self.state);
        let is_filled = |pipe: &&Pipe| {
            let mut fds = [PollFd::readable(pipe.reader.as_fd())];
            wait(&mut fds, Some(Duration::ZERO)).unwrap();
            fds[0].is_ready()
        };
        state.free.iter().filter(is_filled).count()
    }

    /// How many more there may be, those that are kept included.
    pub(super) fn left(&self) -> usize {
        self.kept() + self.left.load(Ordering::Relaxed)
    }

    /// How many times in a row the host has refused.
    pub(super) fn refusals(&self) -> u32 {
        lock(&self.state).refusals
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::calls::{Call, tests::Fault, tests::What};
    use crate::sys::errno;

    const SECOND: Duration = Duration::from_secs(1);

    fn refusal() -> io::Error {
        io::Error::from_raw_os_error(22)
    }

    #[test]
    fn there_are_as_many_as_there_may_be() {
        let (pipes, now) = (Pipes::new(2, SECOND), Instant::now());
        let [first, second] = [(); 2].map(|()| pipes.take(now).unwrap());
        assert!(first.size >= MIN_SIZE && pipes.take(now).is_none());
        assert_eq!((pipes.kept(), pipes.left()), (0, 0));
        // One that is not empty is closed, and another may be opened in its place.
        drop(first);
        pipes.put_back(pipes.take(now).unwrap(), true, now);
        pipes.put_back(second, true, now);
        assert_eq!((pipes.kept(), pipes.left()), (2, 2));
        let again = [(); 3].map(|()| pipes.take(now));
        assert!(matches!(again, [Some(_), Some(_), None]));
    }

    #[test]
    fn there_are_as_many_buffers_as_there_may_be() {
        let pipes = Pipes::new(0, SECOND).with_buffers(2);
        let [first, _second] = [(); 2].map(|()| pipes.buffer(10).unwrap());
        assert_eq!((first.bytes.len(), pipes.buffer(10).is_none()), (10, true));
        drop(first);
        // One that there is no memory for takes no place.
        assert!(pipes.buffer(usize::MAX).is_none());
        assert!(pipes.buffer(10).is_some());
    }

    #[test]
    fn no_more_are_kept_than_are_worth_it() {
        let (pipes, now) = (Pipes::new(KEPT + 2, SECOND), Instant::now());
        let taken: Vec<_> = std::iter::from_fn(|| pipes.take(now)).collect();
        assert_eq!(taken.len(), KEPT + 2);
        taken
            .into_iter()
            .for_each(|pipe| pipes.put_back(pipe, true, now));
        assert_eq!((pipes.kept(), pipes.left()), (KEPT, KEPT + 2));
    }

    /// Whatever fails on the way, and its place is free again.
    #[test]
    fn a_pipe_that_cannot_be_had_or_is_too_small_is_none() {
        let now = Instant::now();
        for (call, what, size) in [
            (Call::OpenPipe, What::Error(errno::EMFILE), None),
            // It is as large as any pipe then.
            (Call::SizePipe, What::Error(1), Some(MIN_SIZE)),
            (Call::SizePipe, What::AtMost(MIN_SIZE), Some(MIN_SIZE)),
            (Call::SizePipe, What::AtMost(MIN_SIZE / 2), None),
            (Call::SizePipe, What::AtMost(SIZE), Some(SIZE)),
        ] {
            let pipes = Pipes::new(1, SECOND);
            let after = 0;
            pipes.seam.plan(Fault { call, after, what });
            let pipe = pipes.take(now);
            assert_eq!(pipe.map(|pipe| pipe.size), size, "{call:?} {what:?}");
            assert!(pipes.take(now).is_some(), "{call:?}: its place is lost");
        }
    }

    #[test]
    fn a_host_that_refuses_is_asked_again_after_a_pause_that_grows() {
        let (pipes, start) = (Pipes::new(2, SECOND), Instant::now());
        pipes.put_back(pipes.take(start).unwrap(), true, start);
        let mut now = start;
        for seconds in [1, 2, 4, 8] {
            pipes.refused(&refusal(), now);
            assert_eq!((pipes.kept(), pipes.left()), (0, 2), "none is kept open");
            let end = now + Duration::from_secs(seconds);
            assert!(pipes.take(end - Duration::from_millis(1)).is_none());
            let pipe = pipes.take(end).expect("the pause is over");
            // A bulk that began before the refusal says nothing of what comes after it.
            pipes.put_back(pipe, true, end - Duration::from_millis(1));
            now = end;
        }
        assert_eq!((pipes.refusals(), pipes.kept()), (4, 0));
        // Nothing was moved, so nothing is known.
        pipes.put_back(pipes.take(now).unwrap(), false, now);
        assert_eq!((pipes.refusals(), pipes.kept()), (4, 1));
        pipes.put_back(pipes.take(now).unwrap(), true, now);
        assert_eq!(pipes.refusals(), 0);
        pipes.refused(&refusal(), now);
        assert!(pipes.take(now + SECOND).is_some(), "it begins anew");
    }

    #[test]
    fn pauses_double_up_to_ten_minutes() {
        for (refusals, seconds) in [
            (1, 1),
            (2, 2),
            (10, 512),
            (11, 600),
            (12, 600),
            (32, 600),
            (33, 600),
            (u32::MAX, 600),
        ] {
            assert_eq!(pause(SECOND, refusals).as_secs(), seconds, "{refusals}");
        }
    }
}
