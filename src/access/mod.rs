//! The access log: one line a connection, when it has ended, on stderr or in a file of its own.
//!
//! No connection waits for it. A line goes into a queue that is bounded in bytes; a thread of
//! its own takes lines out in batches and waits for a slow disk or pipe. What there is no room
//! for, or what cannot be written, is dropped and counted, and the count stands in the log
//! itself before the next line.

mod file;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use crate::log::queue::{self, Queue};
use crate::log::{Fields, Layout, Level};
pub(crate) use file::LogFile;

/// Bytes of lines that wait for the writer: some 6,000 connections, several times what one
/// pause brings at the highest rate that one processor serves.
const QUEUE: usize = 2 * 1024 * 1024;

/// How long the writer gathers lines, so that short connections do not each pay for waking it
/// and for a write.
const PAUSE: Duration = Duration::from_millis(50);

const CALLER: &str = "access";

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// Beside the program's own log.
    Stderr,
    /// To the end of a file, or into a named pipe.
    File(PathBuf),
}

/// An access log that is being written.
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

    /// The life of the writer, to a file or else to stderr; the work of a thread.
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

    /// Writes a line about what ended at `now`, when its turn comes.
    pub(crate) fn record(&self, now: SystemTime, message: &str, fields: Fields<'_>) {
        let line = self.line(now, message, fields);
        self.lines.push(&line, |lost| {
            self.line(now, "access log lines dropped", &[("count", lost.into())])
        });
    }

    fn line(&self, now: SystemTime, message: &str, fields: Fields<'_>) -> String {
        self.layout.line(now, Level::Info, CALLER, message, fields)
    }

    /// Has the file opened again by its name, which may be another file's by now.
    pub(crate) fn reopen(&self) {
        self.reopen.store(true, Ordering::SeqCst);
        self.lines.wake();
    }

    /// Waits until all lines are written, at most `patience`; whether they are.
    pub(crate) fn flush(&self, patience: Duration) -> bool {
        self.lines.flush(patience)
    }

    /// How many lines were dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.lines.dropped()
    }
}
