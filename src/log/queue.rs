//! Lines on their way to a writer that may be slow: many threads put them in, one takes them
//! out.
//!
//! Putting a line in never waits for the writer. What waits is bounded in bytes; a line that
//! there is no room or no memory for is dropped and counted, and so is one that the writer could not write.
//! How many they were goes in front of the next line that fits. A line that was cut short where it
//! was written to is ended before the next.

use std::io::{self, ErrorKind, StderrLock, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

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
    /// Where the writer waits for lines.
    filled: Condvar,
    /// Where others wait for the writer.
    written: Condvar,
    dropped: Counter,
}

/// Lines for the writer, and the notices among them.
#[derive(Debug, Default)]
struct Batch {
    lines: String,
    notices: Vec<Notice>,
}

/// Tells how many lines are missing before it. One that is not written is told again.
#[derive(Debug, Clone, Copy)]
struct Notice {
    /// Where it ends in the batch.
    end: usize,
    count: u64,
}

#[derive(Debug)]
struct State {
    waiting: Batch,
    /// Lines that were dropped, which nobody was told of yet.
    untold: u64,
    /// The writer has lines in hand.
    writing: bool,
    /// The writer is not to wait for more.
    hurried: bool,
}

impl Batch {
    /// Counts the lines that are not fully written, where so many bytes are; and the lines that the notices
    /// among them report.
    fn missing(&self, written: usize) -> (u64, u64) {
        let rest = self.lines.as_bytes().get(written..).unwrap_or_default();
        let lines = rest.iter().filter(|byte| **byte == b'\n').count();
        let notices = self.notices.iter().filter(|notice| notice.end > written);
        let lost = lines.saturating_sub(notices.clone().count());
        (lost as u64, notices.map(|notice| notice.count).sum())
    }

    fn clear(&mut self) {
        self.lines.clear();
        self.lines.shrink_to(KEPT);
        self.notices.clear();
    }
}

/// The lines that the writer has in hand. Those that are not written count as dropped.
struct Hand<'a> {
    queue: &'a Queue,
    batch: Batch,
}

impl Hand<'_> {
    /// Counts the lines that were not written, and has none in hand any more.
    fn empty(&mut self, written: usize) {
        let (lost, untold) = self.batch.missing(written);
        self.queue.dropped.add(lost);
        self.batch.clear();
        let mut state = lock(&self.queue.state);
        state.untold += lost + untold;
        state.writing = false;
        self.queue.written.notify_all();
    }
}

impl Drop for Hand<'_> {
    /// The writer has panicked; another one takes its place.
    fn drop(&mut self) {
        self.empty(0);
    }
}

impl Queue {
    /// A queue for so many bytes.
    pub(crate) const fn new(capacity: usize) -> Self {
        Self {
            capacity,
            state: Mutex::new(State {
                waiting: Batch {
                    lines: String::new(),
                    notices: Vec::new(),
                },
                untold: 0,
                writing: false,
                hurried: false,
            }),
            filled: Condvar::new(),
            written: Condvar::new(),
            dropped: Counter::new(),
        }
    }

    /// Puts a line in, with its end, or drops it. `notice` makes the line that tells how many
    /// were dropped before.
    pub(crate) fn push(&self, line: &str, notice: impl FnOnce(u64) -> String) {
        let mut state = lock(&self.state);
        let before = state.waiting.lines.len();
        if state.untold > 0 {
            let notice = notice(state.untold);
            if self.has_room(&mut state.waiting, notice.len() + line.len()) {
                state.waiting.lines.push_str(&notice);
                let count = std::mem::take(&mut state.untold);
                let end = state.waiting.lines.len();
                state.waiting.notices.push(Notice { end, count });
            }
        }
        // With the notice, or not at all: otherwise small lines would keep it out for ever.
        if state.untold > 0 || !self.has_room(&mut state.waiting, line.len()) {
            state.untold += 1;
            self.dropped.add(1);
            return;
        }
        state.waiting.lines.push_str(line);
        let half = self.capacity / 2;
        if before == 0 || before < half && state.waiting.lines.len() >= half {
            self.filled.notify_one();
        }
    }

    /// Whether so many bytes more may wait, and this host has memory for them.
    fn has_room(&self, waiting: &mut Batch, more: usize) -> bool {
        let all = waiting.lines.len() + more;
        if all > self.capacity {
            return false;
        }
        let lines = &mut waiting.lines;
        match all {
            // Lines tell that there is no memory: for some there is the reserve.
            0..=KEPT => lines.try_reserve(more).is_ok(),
            _ => memory::carefully(|| lines.try_reserve(more)).is_ok(),
        }
    }

    /// The writer's life. It is given all that waits at once, nothing after [`Queue::wake`], and
    /// returns how many bytes of it are written. It leaves `pause` for more to come, unless the
    /// queue is half full or somebody is in a hurry.
    pub(crate) fn drain(&self, pause: Duration, mut write: impl FnMut(&str) -> usize) -> ! {
        let mut hand = Hand {
            queue: self,
            batch: Batch::default(),
        };
        loop {
            self.take(&mut hand.batch, pause);
            let written = write(&hand.batch.lines);
            hand.empty(written);
        }
    }

    /// Waits for lines and exchanges them for the empty `batch`.
    fn take(&self, batch: &mut Batch, pause: Duration) {
        let mut state = lock(&self.state);
        while state.waiting.lines.is_empty() && !state.hurried {
            state = self
                .filled
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let until = Instant::now() + pause;
        while !state.hurried && state.waiting.lines.len() < self.capacity / 2 {
            let left = until.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                break;
            }
            state = self
                .filled
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        std::mem::swap(&mut state.waiting, batch);
        state.hurried = false;
        state.writing = true;
    }

    /// Has the writer called at once, with what there is.
    pub(crate) fn wake(&self) {
        lock(&self.state).hurried = true;
        self.filled.notify_one();
    }

    /// Waits until nothing waits any more, at most `patience`; whether that came.
    pub(crate) fn flush(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = lock(&self.state);
        while state.writing || !state.waiting.lines.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                return false;
            }
            state.hurried = true;
            self.filled.notify_one();
            state = self
                .written
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }

    /// How many lines were dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.get()
    }
}

/// What lines are appended to, whole ones as far as there is room.
#[derive(Debug)]
pub(crate) struct Lines<W> {
    to: W,
    /// The last line was cut short.
    torn: bool,
}

impl<W: Write> Lines<W> {
    /// Of what was written there before, the last line may be unfinished (`torn`).
    pub(crate) fn new(to: W, torn: bool) -> Self {
        Self { to, torn }
    }

    /// Appends lines, the first on a line of its own; returns how many bytes of them are written,
    /// and why no more.
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

/// Writes text; returns how many bytes of it are written, and why no more.
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

/// Writes lines to stderr, without another's in between; returns how many bytes are written.
pub(crate) fn to_stderr(lines: &str) -> usize {
    /// Whoever wrote there last, the log or the access log, has left a line unfinished.
    static TORN: AtomicBool = AtomicBool::new(false);
    let stderr = Patient(io::stderr().lock());
    let mut stderr = Lines::new(stderr, TORN.load(Ordering::Relaxed));
    let (written, _) = stderr.append(lines);
    TORN.store(stderr.torn, Ordering::Relaxed);
    written
}

/// A stderr that is waited for, also where whoever shares it with us has set O_NONBLOCK.
struct Patient(StderrLock<'static>);

impl Write for Patient {
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
    fn what_there_is_no_memory_for_is_dropped_and_told_before_the_next() {
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
    fn what_does_not_fit_is_dropped_and_told_before_the_next() {
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
        let mut batch = Batch::default();
        queue.take(&mut batch, Duration::ZERO);
        queue.push("a\n", notice);
        queue.push("b\n", notice);
        assert_eq!(waiting(&queue), "3 lost\na\nb\n");
        queue.push("longer than all there is room for\n", notice);
        assert_eq!(queue.dropped(), 4);
    }

    #[test]
    fn what_the_writer_loses_is_told_too() {
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
            // A notice that is lost is no line, and what it told is told by the next.
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
    fn a_writer_that_pauses_is_hurried_by_a_flush_and_by_half_a_queue() {
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

    /// Lines that it had in hand are counted as dropped; lines that wait are for the next writer, and a
    /// flush does not wait for the one that has ended.
    #[test]
    fn a_writer_that_panics_loses_what_it_had_in_hand_and_no_more() {
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

    /// Takes so many bytes, then has no room.
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
    fn lines_that_are_not_there_as_a_whole_are_counted() {
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
