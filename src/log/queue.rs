//! Lines for a writer that may be slow: many threads add lines, one takes them out.
//!
//! Adding a line never waits for the writer. The lines that wait are bounded in bytes; a line for
//! which there is no room or no memory is dropped and counted, and so is one that the writer could not
//! write. A notice with their number is put in front of the next line that fits. A line that was only
//! partly written is ended before the next.

use std::io::{self, ErrorKind, StderrLock, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::stats::Counter;
use crate::sync::lock;
use crate::sys::memory;
use crate::sys::syscall::{self, PollFd};

/// Bytes of memory that the writer keeps for its next batch.
const KEPT: usize = 64 * 1024;

/// The lines that wait.
#[derive(Debug)]
pub(crate) struct Queue {
    /// The most bytes that may wait.
    capacity: usize,
    state: Mutex<State>,
    /// The writer waits here for lines.
    filled: Condvar,
    /// Others wait here for the writer.
    written: Condvar,
    dropped: Counter,
}

#[derive(Debug)]
struct State {
    waiting: Batch,
    /// Dropped lines that no notice in the queue reports yet.
    unreported: u64,
    /// The writer is writing a batch.
    writing: bool,
    /// The writer must not wait for more lines.
    urgent: bool,
}

/// Lines for the writer, and the notices among them.
#[derive(Debug)]
struct Batch {
    lines: String,
    notices: Vec<Notice>,
}

/// A line that says how many lines are missing before it.
#[derive(Debug, Clone, Copy)]
struct Notice {
    /// Where it ends in the batch.
    end: usize,
    count: u64,
}

impl Batch {
    const EMPTY: Self = Self {
        lines: String::new(),
        notices: Vec::new(),
    };

    /// Counts what is not fully written after `written` bytes: the lines, without notices, and the
    /// lines that these notices report.
    fn missing(&self, written: usize) -> (u64, u64) {
        let rest = self.lines.as_bytes().get(written..).unwrap_or_default();
        let lines = rest.iter().filter(|byte| **byte == b'\n').count();
        let notices = self.notices.iter().filter(|notice| notice.end > written);
        let lost = lines.saturating_sub(notices.clone().count());
        (lost as u64, notices.map(|notice| notice.count).sum())
    }

    /// Whether this many more bytes fit into `capacity`, and this host has memory for them.
    fn has_room(&mut self, more: usize, capacity: usize) -> bool {
        let lines = &mut self.lines;
        match lines.len() + more {
            all if all > capacity => false,
            // Lines may report that there is no memory: some may use the reserve.
            0..=KEPT => lines.try_reserve(more).is_ok(),
            _ => memory::carefully(|| lines.try_reserve(more)).is_ok(),
        }
    }
}

/// A batch that is being written. When this is dropped, also by a panic of the writer, the lines that
/// are not written count as dropped.
struct Writing<'a> {
    queue: &'a Queue,
    batch: &'a mut Batch,
    /// How many bytes are written.
    written: usize,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let (lost, unreported) = self.batch.missing(self.written);
        self.queue.dropped.add(lost);
        self.batch.lines.clear();
        self.batch.lines.shrink_to(KEPT);
        self.batch.notices.clear();
        let mut state = lock(&self.queue.state);
        state.unreported += lost + unreported;
        state.writing = false;
        self.queue.written.notify_all();
    }
}

impl Queue {
    /// A queue for at most this many bytes.
    pub(crate) const fn new(capacity: usize) -> Self {
        Self {
            capacity,
            state: Mutex::new(State {
                waiting: Batch::EMPTY,
                unreported: 0,
                writing: false,
                urgent: false,
            }),
            filled: Condvar::new(),
            written: Condvar::new(),
            dropped: Counter::new(),
        }
    }

    /// Adds a line, with its end, or drops it. `notice` makes the line that says how many lines were
    /// dropped before.
    pub(crate) fn push(&self, line: &str, notice: impl FnOnce(u64) -> String) {
        let mut state = lock(&self.state);
        let State {
            waiting,
            unreported,
            ..
        } = &mut *state;
        let before = waiting.lines.len();
        let notice = (*unreported > 0).then(|| notice(*unreported));
        // The line is not added without the notice: otherwise short lines could delay the notice without limit.
        let length = line.len() + notice.as_ref().map_or(0, String::len);
        if !waiting.has_room(length, self.capacity) {
            *unreported += 1;
            self.dropped.add(1);
            return;
        }
        if let Some(notice) = notice {
            waiting.lines.push_str(&notice);
            let count = std::mem::take(unreported);
            let end = waiting.lines.len();
            waiting.notices.push(Notice { end, count });
        }
        waiting.lines.push_str(line);
        let half = self.capacity / 2;
        if before == 0 || before < half && waiting.lines.len() >= half {
            self.filled.notify_one();
        }
    }

    /// The work of the writer's thread. `write` is given all lines that wait, none after
    /// [`Queue::wake`], and returns how many bytes of them are written. It is called `pause` after the
    /// first line has come, or at once if the queue is half full or a thread waits for it.
    pub(crate) fn drain(&self, pause: Duration, mut write: impl FnMut(&str) -> usize) -> ! {
        let mut batch = Batch::EMPTY;
        loop {
            self.take(&mut batch, pause);
            let mut writing = Writing {
                queue: self,
                batch: &mut batch,
                written: 0,
            };
            writing.written = write(&writing.batch.lines);
        }
    }

    /// Waits for lines and exchanges them for the empty `batch`.
    fn take(&self, batch: &mut Batch, pause: Duration) {
        let is_idle = |state: &mut State| !state.urgent && state.waiting.lines.is_empty();
        let is_early =
            |state: &mut State| !state.urgent && state.waiting.lines.len() < self.capacity / 2;
        let state = self.filled.wait_while(lock(&self.state), is_idle);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        let state = self.filled.wait_timeout_while(state, pause, is_early);
        let (mut state, _) = state.unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut state.waiting, batch);
        state.urgent = false;
        state.writing = true;
    }

    /// Makes the writer take the lines that wait, if any, at once.
    pub(crate) fn wake(&self) {
        lock(&self.state).urgent = true;
        self.filled.notify_one();
    }

    /// Waits until all lines are written, at most `patience`; returns whether they are.
    pub(crate) fn flush(&self, patience: Duration) -> bool {
        let is_busy = |state: &mut State| {
            let is_busy = state.writing || !state.waiting.lines.is_empty();
            if is_busy {
                state.urgent = true;
                self.filled.notify_one();
            }
            is_busy
        };
        let state = lock(&self.state);
        let waited = self.written.wait_timeout_while(state, patience, is_busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// How many lines were dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.get()
    }
}

/// A file, or another writer, to which lines are appended.
#[derive(Debug)]
pub(crate) struct Lines<W> {
    to: W,
    /// The last line is incomplete.
    torn: bool,
}

impl<W: Write> Lines<W> {
    /// `torn`: the last line that was written there before is incomplete.
    pub(crate) fn new(to: W, torn: bool) -> Self {
        Self { to, torn }
    }

    /// Appends lines, ending an incomplete one first; returns how many bytes of them are written, and why
    /// not all.
    pub(crate) fn append(&mut self, lines: &str) -> (usize, io::Result<()>) {
        if self.torn {
            match write(&mut self.to, "\n") {
                (_, Ok(())) => self.torn = false,
                (_, error) => return (0, error),
            }
        }
        let (written, outcome) = write(&mut self.to, lines);
        let there = lines.as_bytes().get(..written).unwrap_or_default();
        self.torn = there.last().is_some_and(|byte| *byte != b'\n');
        (written, outcome)
    }
}

/// Writes text; returns how many bytes of it are written, and why not all.
fn write(to: &mut impl Write, text: &str) -> (usize, io::Result<()>) {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let error = match to.write(rest) {
            Ok(0) => ErrorKind::WriteZero.into(),
            Ok(count) => {
                rest = rest.get(count..).unwrap_or_default();
                continue;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => error,
        };
        return (text.len() - rest.len(), Err(error));
    }
    (text.len(), Ok(()))
}

/// Writes lines to stderr, without those of another thread in between; returns how many bytes are
/// written.
pub(crate) fn to_stderr(lines: &str) -> usize {
    /// The last line there, of the log or the access log, is incomplete.
    static TORN: AtomicBool = AtomicBool::new(false);
    let stderr = Blocking(io::stderr().lock());
    let mut stderr = Lines::new(stderr, TORN.load(Ordering::Relaxed));
    let (written, _) = stderr.append(lines);
    TORN.store(stderr.torn, Ordering::Relaxed);
    written
}

/// A stderr whose writes wait, even if another process that shares it has set O_NONBLOCK.
struct Blocking(StderrLock<'static>);

impl Write for Blocking {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    syscall::wait(&mut [PollFd::writable(self.0.as_fd())], None)?;
                }
                outcome => return outcome,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    fn waiting(queue: &Queue) -> String {
        lock(&queue.state).waiting.lines.clone()
    }

    fn notice(lost: u64) -> String {
        format!("{lost} lost\n")
    }

    #[test]
    fn a_line_without_memory_is_dropped_and_reported_before_the_next() {
        let queue = Queue::new(16 * KEPT);
        let long = "x".repeat(KEPT) + "\n";
        let refused = memory::tests::refuse();
        queue.push("a\n", notice);
        queue.push(&long, notice);
        assert_eq!((waiting(&queue).as_str(), queue.dropped()), ("a\n", 1));
        drop(refused);
        queue.push(&long, notice);
        assert_eq!(waiting(&queue), format!("a\n1 lost\n{long}"));
    }

    #[test]
    fn a_line_that_does_not_fit_is_dropped_and_reported_before_the_next() {
        let queue = Queue::new(19);
        queue.push("0123456789\n", notice);
        queue.push("0123456789\n", notice);
        queue.push("0123456789\n", notice);
        assert_eq!(
            (waiting(&queue).as_str(), queue.dropped()),
            ("0123456789\n", 2)
        );
        queue.push("a\n", notice);
        assert_eq!(
            waiting(&queue),
            "0123456789\n",
            "2 lost\\n and a\\n do not fit"
        );
        let mut batch = Batch::EMPTY;
        queue.take(&mut batch, Duration::ZERO);
        queue.push("a\n", notice);
        queue.push("b\n", notice);
        assert_eq!(waiting(&queue), "3 lost\na\nb\n");
        queue.push("longer than all there is room for\n", notice);
        assert_eq!(queue.dropped(), 4);
    }

    #[test]
    fn lines_that_the_writer_cannot_write_are_reported_too() {
        let queue = Arc::new(Queue::new(1000));
        let (sender, batches) = channel();
        let own = Arc::clone(&queue);
        std::thread::spawn(move || {
            own.drain(Duration::ZERO, |lines| {
                sender.send(lines.to_owned()).unwrap();
                match lines.contains('z') {
                    true => 0,
                    false => lines.find('x').unwrap_or(lines.len()),
                }
            })
        });
        let patience = Duration::from_secs(10);
        // Each of the writer's batches, and how many lines are dropped then.
        for (line, batch, dropped) in [
            ("x\n", "x\n", 1),
            ("a\n", "1 lost\na\n", 1),
            ("x\n", "x\n", 2),
            // A lost notice does not count as a line, and the next one reports its lines again.
            ("z\n", "1 lost\nz\n", 3),
            ("x\n", "2 lost\nx\n", 4),
            ("d\n", "1 lost\nd\n", 4),
            ("e\n", "e\n", 4),
        ] {
            queue.push(line, notice);
            assert!(queue.flush(patience));
            assert_eq!(batches.recv_timeout(patience).unwrap(), batch);
            assert_eq!(queue.dropped(), dropped, "{batch}");
        }
    }

    #[test]
    fn a_flush_and_half_a_queue_end_the_pause_of_the_writer() {
        let queue = Arc::new(Queue::new(100));
        let (sender, batches) = channel();
        let own = Arc::clone(&queue);
        // Far longer than the test.
        let pause = Duration::from_secs(3600);
        std::thread::spawn(move || {
            own.drain(pause, |lines| {
                sender.send(lines.to_owned()).unwrap();
                lines.len()
            })
        });
        let patience = Duration::from_secs(10);
        queue.push("a\n", notice);
        queue.push("b\n", notice);
        assert!(queue.flush(patience));
        assert_eq!(batches.try_recv().unwrap(), "a\nb\n");
        queue.push("c\n", notice);
        let long = format!("{}\n", "d".repeat(60));
        queue.push(&long, notice);
        assert_eq!(
            batches.recv_timeout(patience).unwrap(),
            format!("c\n{long}")
        );
        queue.wake();
        assert_eq!(batches.recv_timeout(patience).unwrap(), "");
    }

    /// The lines of its batch count as dropped; lines that wait are for the next writer, and a flush does
    /// not wait for the one that has ended.
    #[test]
    fn a_writer_that_panics_loses_only_its_batch() {
        let queue = Arc::new(Queue::new(100));
        let own = Arc::clone(&queue);
        queue.push("a\n", notice);
        queue.push("b\n", notice);
        let writer = std::thread::spawn(move || {
            own.drain(Duration::ZERO, |lines| {
                assert_eq!(lines, "a\nb\n");
                own.push("c\n", notice);
                std::panic::resume_unwind(Box::new("as this test wants"))
            });
        });
        assert!(writer.join().is_err());
        assert_eq!((queue.dropped(), waiting(&queue)), (2, "c\n".to_owned()));
        queue.push("d\n", notice);
        let (sender, batches) = channel();
        let own = Arc::clone(&queue);
        std::thread::spawn(move || {
            own.drain(Duration::ZERO, |lines| {
                sender.send(lines.to_owned()).unwrap();
                lines.len()
            })
        });
        assert!(queue.flush(Duration::from_secs(10)));
        assert_eq!(batches.recv().unwrap(), "c\n2 lost\nd\n");
        assert_eq!(queue.dropped(), 2);
    }

    #[test]
    fn a_flush_gives_up_on_a_writer_that_is_stuck() {
        let queue = Queue::new(100);
        queue.push("a\n", notice);
        assert!(!queue.flush(Duration::from_millis(1)));
        assert_eq!(waiting(&queue), "a\n");
    }

    /// Takes this many bytes, then is full.
    struct Disk(Vec<u8>, usize);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = self.1 - self.0.len();
            if room == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            let count = bytes.len().min(room).min(3);
            self.0.extend_from_slice(bytes.get(..count).unwrap());
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_are_not_fully_written_are_counted() {
        let lines = "ab\ncd\nef\n";
        for (room, missing) in [(9, 0), (8, 1), (7, 1), (6, 1), (5, 2), (1, 3), (0, 3)] {
            let mut disk = Disk(Vec::new(), room);
            let (written, outcome) = write(&mut disk, lines);
            assert_eq!((written, outcome.is_ok()), (room, missing == 0), "{room}");
            let batch = Batch {
                lines: lines.to_owned(),
                notices: vec![Notice { end: 6, count: 9 }],
            };
            let of_notice = u64::from(room < 6);
            assert_eq!(
                batch.missing(written),
                (missing - of_notice, of_notice * 9),
                "{room}"
            );
            assert_eq!(disk.0, lines.as_bytes().get(..room).unwrap());
        }
    }

    #[test]
    fn after_a_full_disk_the_next_line_begins_on_its_own() {
        let mut lines = Lines::new(Disk(Vec::new(), 5), false);
        let (written, outcome) = lines.append("one\ntwo\nthree\n");
        assert_eq!(
            (written, outcome.unwrap_err().kind()),
            (5, ErrorKind::StorageFull)
        );
        assert_eq!(lines.append("four\n").0, 0);
        lines.to.1 = 100;
        assert!(matches!(lines.append("five\nsix\n"), (9, Ok(()))));
        assert!(matches!(lines.append("seven\n"), (6, Ok(()))));
        assert_eq!(lines.to.0, b"one\nt\nfive\nsix\nseven\n");
    }

    #[test]
    fn a_disk_that_is_full_between_two_lines_leaves_no_empty_one() {
        let mut lines = Lines::new(Disk(Vec::new(), 4), false);
        assert_eq!(lines.append("one\ntwo\n").0, 4);
        lines.to.1 = 100;
        assert_eq!(lines.append("three\n").0, 6);
        assert_eq!(lines.to.0, b"one\nthree\n");
    }
}
