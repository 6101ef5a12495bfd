//! Pipes through which bulk moves inside the kernel (splice(2)), and buffers for where there is none. A direction
//! takes them when bulk begins and returns them, a pipe empty, when it ends.
//!
//! All sessions share a few, so that they do not use up the descriptors. A direction that gets no pipe copies through a
//! buffer, and one that gets no buffer either copies as messages are copied. Both numbers are what the host allows
//! (`sys::limits`). A reader that is stuck in the middle of bulk keeps its pipe, with what it holds: if all pipes are
//! kept so, bulk costs the others more, and nothing worse.

use std::io::{self, PipeReader, PipeWriter};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::log;
use crate::proxy::calls::{self, Seam};
use crate::sync::lock;
use crate::sys::{OsErrorText, memory};

/// Bytes a pipe is asked to hold. One call still moves much, what it moves is still in the
/// processor's cache when it is read, and the messages of other sessions wait a quarter as long
/// for the call to end as with 1 MiB (measured: `make bench LOADS=mixed,bulk`).
const SIZE: usize = 256 * 1024;

/// With less than this copying is as quick. It is the size of a pipe that cannot be enlarged.
const MIN_SIZE: usize = 64 * 1024;

/// Empty pipes that are kept open.
const KEPT: usize = 4;

/// The longest pause after a refusal to splice.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// So many refusals in a row are not an accident, and are logged.
const LASTING: u32 = 4;

/// The pipes and buffers of the process.
#[derive(Debug)]
pub(crate) struct Pipes {
    /// How many more may be opened.
    free_pipes: Arc<AtomicUsize>,
    /// How many more may be allocated.
    free_buffers: Arc<AtomicUsize>,
    /// The pause after the first refusal.
    pause: Duration,
    state: Mutex<State>,
    pub(crate) seam: Seam,
}

#[derive(Debug, Default)]
struct State {
    /// Pipes that are open and not in use.
    empty: Vec<Pipe>,
    /// How often in a row bulk was refused by the host.
    refusals: u32,
    /// Until when bulk is copied for that reason.
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
    fn take(free: &Arc<AtomicUsize>) -> Option<Self> {
        let less = |free: usize| free.checked_sub(1);
        let taken = free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        taken.is_ok().then(|| Self(Arc::clone(free)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Pipes {
    /// At most this many pipes and buffers at the same time. After the host has refused to splice, bulk is copied for
    /// `pause`, and for longer after more refusals.
    pub(crate) fn new(max_pipes: usize, max_buffers: usize, pause: Duration) -> Self {
        Self {
            free_pipes: Arc::new(max_pipes.into()),
            free_buffers: Arc::new(max_buffers.into()),
            pause,
            state: Mutex::default(),
            seam: Seam::default(),
        }
    }

    /// A buffer of `size` bytes, if one is free and there is memory for it.
    pub(crate) fn buffer(&self, size: usize) -> Option<Buffer> {
        let permit = Permit::take(&self.free_buffers)?;
        Some(Buffer {
            bytes: memory::zeroed(size).ok()?,
            _permit: permit,
        })
    }

    /// An empty pipe, if one is free, it holds enough to be of use, and the host is not known to refuse splicing.
    pub(crate) fn take(&self, now: Instant) -> Option<Pipe> {
        let empty = {
            let mut state = lock(&self.state);
            if state.is_paused(now) {
                return None;
            }
            state.empty.pop()
        };
        empty.or_else(|| {
            let permit = Permit::take(&self.free_pipes)?;
            // It fails without descriptors or memory; that is not worth a message.
            let (reader, writer, size) = calls::open_pipe(&self.seam, SIZE).ok()?;
            (size >= MIN_SIZE).then_some(Pipe {
                reader,
                writer,
                size,
                _permit: permit,
            })
        })
    }

    /// Takes an empty pipe back, and notes whether bytes were `moved` through it. A pipe that is
    /// not empty has to be dropped instead.
    pub(crate) fn put_back(&self, pipe: Pipe, moved: bool, now: Instant) {
        let mut state = lock(&self.state);
        if state.is_paused(now) {
            return;
        }
        if state.empty.len() < KEPT {
            state.empty.push(pipe);
        }
        if moved && std::mem::take(&mut state.refusals) >= LASTING {
            log::info("proxy", "splice works again", &[]);
        }
    }

    /// Notes that the host has refused to splice: bulk is copied for a while.
    pub(crate) fn refused(&self, error: &io::Error, now: Instant) {
        let (refusals, pause) = {
            let mut state = lock(&self.state);
            state.refusals = state.refusals.saturating_add(1);
            let pause = pause(self.pause, state.refusals);
            state.paused_until = Some(now + pause);
            state.empty.clear();
            (state.refusals, pause)
        };
        if refusals == LASTING {
            let error = OsErrorText(error).to_string();
            let fields = [("error", error.into()), ("pause_seconds", pause.into())];
            log::warn("proxy", "cannot splice; copying instead", &fields);
        }
    }
}

/// How long bulk is copied after this many refusals in a row: `first` after one, then twice as long each time.
fn pause(first: Duration, refusals: u32) -> Duration {
    let factor = 1 << refusals.saturating_sub(1).min(31);
    first.saturating_mul(factor).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::calls::{Call, tests::Fault, tests::What};
    use crate::sys::errno;
    use crate::sys::syscall::{PollFd, wait};
    use std::os::fd::AsFd;

    impl Pipes {
        /// How many are kept open.
        pub(in crate::proxy) fn kept(&self) -> usize {
            lock(&self.state).empty.len()
        }

        /// How many of them have bytes in them, which would be those of another session.
        pub(in crate::proxy) fn with_bytes(&self) -> usize {
            let state = lock(&self.state);
            let is_filled = |pipe: &&Pipe| {
                let mut fds = [PollFd::readable(pipe.reader.as_fd())];
                wait(&mut fds, Some(Duration::ZERO)).unwrap();
                fds[0].is_ready()
            };
            state.empty.iter().filter(is_filled).count()
        }

        /// How many more there may be, those that are kept included.
        pub(in crate::proxy) fn left(&self) -> usize {
            self.kept() + self.free_pipes.load(Ordering::Relaxed)
        }

        /// How many times in a row the host has refused.
        pub(in crate::proxy) fn refusals(&self) -> u32 {
            lock(&self.state).refusals
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn refusal() -> io::Error {
        io::Error::from_raw_os_error(22)
    }

    #[test]
    fn pipes_are_limited() {
        let (pipes, now) = (Pipes::new(2, 0, SECOND), Instant::now());
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
    fn buffers_are_limited() {
        let pipes = Pipes::new(0, 2, SECOND);
        let [first, _second] = [(); 2].map(|()| pipes.buffer(10).unwrap());
        assert_eq!((first.bytes.len(), pipes.buffer(10).is_none()), (10, true));
        drop(first);
        // One that there is no memory for takes no place.
        assert!(pipes.buffer(usize::MAX).is_none());
        assert!(pipes.buffer(10).is_some());
    }

    #[test]
    fn few_empty_pipes_are_kept() {
        let (pipes, now) = (Pipes::new(KEPT + 2, 0, SECOND), Instant::now());
        let taken: Vec<_> = std::iter::from_fn(|| pipes.take(now)).collect();
        assert_eq!(taken.len(), KEPT + 2);
        taken
            .into_iter()
            .for_each(|pipe| pipes.put_back(pipe, true, now));
        assert_eq!((pipes.kept(), pipes.left()), (KEPT, KEPT + 2));
    }

    /// Whatever fails on the way, and its place is free again.
    #[test]
    fn a_pipe_that_cannot_be_opened_or_is_too_small_is_not_used() {
        let now = Instant::now();
        for (call, what, size) in [
            (Call::OpenPipe, What::Error(errno::EMFILE), None),
            // It is as large as any pipe then.
            (Call::SizePipe, What::Error(1), Some(MIN_SIZE)),
            (Call::SizePipe, What::AtMost(MIN_SIZE), Some(MIN_SIZE)),
            (Call::SizePipe, What::AtMost(MIN_SIZE / 2), None),
            (Call::SizePipe, What::AtMost(SIZE), Some(SIZE)),
        ] {
            let pipes = Pipes::new(1, 0, SECOND);
            let after = 0;
            pipes.seam.plan(Fault { call, after, what });
            let pipe = pipes.take(now);
            assert_eq!(pipe.map(|pipe| pipe.size), size, "{call:?} {what:?}");
            assert!(pipes.take(now).is_some(), "{call:?}: its place is lost");
        }
    }

    #[test]
    fn a_host_that_refuses_is_asked_again_after_a_pause_that_grows() {
        let (pipes, start) = (Pipes::new(2, 0, SECOND), Instant::now());
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
