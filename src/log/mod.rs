//! The program's log: one line per event, on stderr, as JSON with the keys of etcd's gateway (`level`,
//! `ts`, `caller`, `msg`, then those of the event) or as text.
//!
//! Lines go through a bounded queue to one writer thread, so that a slow or stuck stderr (a full pipe,
//! a journal that hangs) never stops a connection: lines that do not fit are dropped and counted, and
//! the count is logged when there is room again. `line` formats lines, `queue` passes them to the
//! writer.
//!
//! The logger is global state: it is set once, by [`choose`], before the first thread; lines before
//! that are lost, because their format is not known yet.

mod line;
pub(crate) mod queue;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

pub(crate) use line::{
    Fields, Format, Json, JsonList, Layout, Level, MAX_ERROR, Pairs, Value, shortened,
};
use queue::Queue;

use crate::sync::lock;

/// The most bytes of lines that wait for the writer: enough for a burst, and still little memory.
const QUEUE: usize = 256 * 1024;

struct Logger {
    level: Level,
    layout: Layout,
}

static LOGGER: OnceLock<Logger> = OnceLock::new();
static LINES: Queue = Queue::new(QUEUE);
/// Set if lines have the number of this process.
static NAMED: AtomicBool = AtomicBool::new(false);

/// Queues lines from now on; a second call changes nothing.
pub(crate) fn choose(level: Level, layout: Layout) {
    let _ = LOGGER.set(Logger { level, layout });
}

/// From now on each line has the number of this process, because another one of the same service writes
/// to the same place.
pub(crate) fn name_process() {
    NAMED.store(true, Ordering::Relaxed);
}

/// The work of the writer's thread.
pub(crate) fn write_lines() -> ! {
    LINES.drain(Duration::ZERO, queue::to_stderr)
}

/// Waits until all that was logged is written, at most `patience`; returns whether it is.
pub(crate) fn flush(patience: Duration) -> bool {
    LOGGER.get().is_none() || LINES.flush(patience)
}

/// How many lines were dropped so far.
pub(crate) fn dropped() -> u64 {
    LINES.dropped()
}

/// Whether lines of a level are written.
pub(crate) fn writes(level: Level) -> bool {
    LOGGER.get().is_some_and(|logger| level >= logger.level)
}

/// Logs at [`Level::Debug`]; `caller` is the module that logs.
pub(crate) fn debug(caller: &str, message: &str, fields: Fields<'_>) {
    write(Level::Debug, caller, message, fields);
}

/// Logs at [`Level::Info`].
pub(crate) fn info(caller: &str, message: &str, fields: Fields<'_>) {
    write(Level::Info, caller, message, fields);
}

/// Logs at [`Level::Warn`].
pub(crate) fn warn(caller: &str, message: &str, fields: Fields<'_>) {
    write(Level::Warn, caller, message, fields);
}

/// Logs at [`Level::Error`].
pub(crate) fn error(caller: &str, message: &str, fields: Fields<'_>) {
    write(Level::Error, caller, message, fields);
}

/// Logs what an operator has just asked for, as [`Level::Info`], whatever level is chosen.
pub(crate) fn answer(caller: &str, message: &str, fields: Fields<'_>) {
    if let Some(logger) = LOGGER.get() {
        queue(logger, Level::Info, caller, message, fields);
    }
}

fn write(level: Level, caller: &str, message: &str, fields: Fields<'_>) {
    #[cfg(test)]
    tests::hear(level, caller, message, fields);
    if let Some(logger) = LOGGER.get().filter(|_| writes(level)) {
        queue(logger, level, caller, message, fields);
    }
}

fn queue(logger: &Logger, level: Level, caller: &str, message: &str, fields: Fields<'_>) {
    let now = SystemTime::now();
    let line = if NAMED.load(Ordering::Relaxed) {
        let mut fields = fields.to_vec();
        fields.push(("pid", u64::from(std::process::id()).into()));
        logger.layout.line(now, level, caller, message, &fields)
    } else {
        logger.layout.line(now, level, caller, message, fields)
    };
    LINES.push(&line, |lost| {
        let count = [("count", lost.into())];
        let message = "log lines dropped";
        logger
            .layout
            .line(now, Level::Warn, caller, message, &count)
    });
}

/// Limits a message that may be very frequent to one line per second, and counts the others: when the
/// last line was written, and how many were suppressed since.
#[derive(Debug, Default)]
pub(crate) struct Limit(Mutex<(Option<Instant>, u64)>);

impl Limit {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new((None, 0)))
    }

    /// `Some(n)` if a line may be written now; n were suppressed since the last.
    pub(crate) fn admit(&self, now: Instant) -> Option<u64> {
        let (last, suppressed) = &mut *lock(&self.0);
        let is_due =
            last.is_none_or(|last| now.saturating_duration_since(last) >= Duration::from_secs(1));
        if !is_due {
            *suppressed += 1;
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(suppressed))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::cell::RefCell;

    thread_local! {
        static HEARD: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn hear(level: Level, caller: &str, message: &str, fields: Fields<'_>) {
        let layout = Layout {
            format: Format::Text,
            has_priority: false,
        };
        let line = layout.line(SystemTime::now(), level, caller, message, fields);
        let (_, line) = line.trim_end().split_once(' ').unwrap();
        HEARD.with_borrow_mut(|heard| heard.push(line.to_owned()));
    }

    /// What this thread has logged since the last call, as text without the time.
    pub(crate) fn heard() -> Vec<String> {
        HEARD.take()
    }

    #[test]
    fn a_flood_is_held_to_one_line_a_second_and_counted() {
        let limit = Limit::new();
        let start = Instant::now();
        let at = |millis| limit.admit(start + Duration::from_millis(millis));
        assert_eq!(at(0), Some(0));
        assert_eq!(at(1), None);
        assert_eq!(at(999), None);
        assert_eq!(at(1000), Some(2));
        assert_eq!(at(1500), None);
        assert_eq!(at(5000), Some(1));
    }
}
