//! The access log: one line per connection, when it has ended, on stderr or in a file.
//!
//! No connection waits for it. A line goes into a queue that is bounded in bytes; a separate thread
//! takes lines out in batches and waits for a slow disk or pipe. Lines for which there is no room,
//! or that cannot be written, are dropped and counted, and the count is written to the access log
//! before the next line.

mod file;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use crate::log::queue::{self, Queue};
use crate::log::{Fields, Layout, Level};
pub(crate) use file::LogFile;

/// Bytes of lines that wait for the writer: some 6,000 connections, several times as many as end during one
/// pause at the highest rate that one processor serves.
const QUEUE: usize = 2 * 1024 * 1024;

/// How long the writer collects lines, so that short connections do not each cost a wake-up
/// and a write.
const PAUSE: Duration = Duration::from_millis(50);

const CALLER: &str = "access";

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// Together with the program's own log.
    Stderr,
    /// A file that is appended to, or a named pipe.
    File(PathBuf),
}

#[derive(Debug)]
pub(crate) struct AccessLog {
    lines: Queue,
    layout: Layout,
    /// The writer is to open its file again.
    reopen: AtomicBool,
}

impl AccessLog {
    /// A log whose lines wait for [their writer](Self::write).
    pub(crate) fn new(layout: Layout) -> Self {
        Self {
            lines: Queue::new(QUEUE),
            layout,
            reopen: AtomicBool::new(false),
        }
    }

    /// Writes lines to a file or, without one, to stderr; the work of a thread.
    pub(crate) fn write(&self, file: Option<&mut LogFile>) -> ! {
        match file {
            None => self.lines.drain(PAUSE, queue::to_stderr),
            Some(file) => self.lines.drain(PAUSE, |lines| {
                if self.reopen.swap(false, Ordering::SeqCst) {
                    file.reopen();
                }
                file.append(lines)
            }),
        }
    }

    /// Queues a line about a connection that ended at `now`.
    pub(crate) fn record(&self, now: SystemTime, message: &str, fields: Fields<'_>) {
        let line = self.line(now, message, fields);
        self.lines.push(&line, |lost| {
            self.line(now, "access log lines dropped", &[("count", lost.into())])
        });
    }

    fn line(&self, now: SystemTime, message: &str, fields: Fields<'_>) -> String {
        self.layout.line(now, Level::Info, CALLER, message, fields)
    }

    /// Has the writer open the file again by its name, which may be a new file's by now.
    pub(crate) fn reopen(&self) {
        self.reopen.store(true, Ordering::SeqCst);
        self.lines.wake();
    }

    /// Waits until all lines are written, at most for `patience`; returns whether they are.
    pub(crate) fn flush(&self, patience: Duration) -> bool {
        self.lines.flush(patience)
    }

    /// How many lines were dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.lines.dropped()
    }
}
