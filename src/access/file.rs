//! The file of the access log: it is appended to, opened again by name after it was rotated, and
//! tried again when it cannot be written.
//!
//! If a line was cut off, because the disk was full or by a crash, the next begins on a
//! line of its own. O_APPEND writes to the end even of a file that others write to or
//! truncate.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use socket2::SockRef;

use crate::log;
use crate::log::queue::Lines;
use crate::stamp::{self, O_NONBLOCK};
use crate::sys::OsErrorText;
use crate::sys::errno;

/// Only the owner and a group may read who connected when.
const MODE: u32 = 0o640;

/// The open file.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: Lines<File>,
    /// The program's log says that this file cannot be written.
    reported: bool,
    /// At most one line per second, for a disk that is full at one moment and not at the next.
    limit: log::Limit,
}

impl LogFile {
    /// Opens a file, or creates it.
    ///
    /// # Errors
    /// Those of open(2), ENXIO for a named pipe without a reader, and for a socket.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: open(path)?,
            reported: false,
            limit: log::Limit::new(),
        })
    }

    /// Checks whether [`LogFile::open`] would succeed, as far as possible without
    /// creating a file or waking the reader of a pipe.
    ///
    /// # Errors
    /// Those of open(2) and stat(2).
    pub(crate) fn probe(path: &Path) -> io::Result<()> {
        match fs::metadata(path) {
            Ok(found) if found.is_file() => OpenOptions::new().append(true).open(path).map(drop),
            Ok(found) if found.is_dir() => Err(ErrorKind::IsADirectory.into()),
            Ok(found) if found.file_type().is_socket() => {
                Err(io::Error::from_raw_os_error(errno::ENXIO))
            }
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let parent = path.parent().filter(|parent| *parent != Path::new(""));
                fs::metadata(parent.unwrap_or(Path::new("."))).map(drop)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens the file of the same name instead of this one, which is kept if that fails.
    pub(super) fn reopen(&mut self) {
        match open(&self.path) {
            Ok(file) => {
                self.file = file;
                log::info("access", "reopened access log", &[self.field()]);
            }
            Err(error) => log::warn(
                "access",
                "cannot reopen access log; continuing with the file that is open",
                &[
                    self.field(),
                    ("error", OsErrorText(&error).to_string().into()),
                ],
            ),
        }
    }

    /// Appends lines; returns how many bytes of them are written.
    pub(super) fn append(&mut self, lines: &str) -> usize {
        // The thread was woken only to open the file again.
        if lines.is_empty() {
            return 0;
        }
        let (written, outcome) = self.file.append(lines);
        match self.change(&outcome, Instant::now()) {
            Some(Change::Recovered) => {
                log::info("access", "access log is written again", &[self.field()]);
            }
            Some(Change::Failed(error, suppressed)) => log::warn(
                "access",
                "cannot write access log, dropping lines until it can be written",
                &[
                    self.field(),
                    ("error", error.into()),
                    ("suppressed", suppressed.into()),
                ],
            ),
            None => {}
        }
        written
    }

    /// What is to be logged after a write.
    fn change(&mut self, outcome: &io::Result<()>, now: Instant) -> Option<Change> {
        let change = match outcome {
            Ok(()) => self.reported.then_some(Change::Recovered),
            Err(_) if self.reported => return None,
            Err(error) => {
                let suppressed = self.limit.admit(now)?;
                Some(Change::Failed(OsErrorText(error).to_string(), suppressed))
            }
        };
        self.reported = outcome.is_err();
        change
    }

    /// The field of log lines that names the file.
    fn field(&self) -> (&'static str, log::Value) {
        ("path", self.path.display().to_string().into())
    }
}

/// The file cannot be written, or can again.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    Recovered,
    /// The error, and how many failures were not logged since the last time.
    Failed(String, u64),
}

fn open(path: &Path) -> io::Result<Lines<File>> {
    let mut options = OpenOptions::new();
    let options = options.append(true).create(true).mode(MODE);
    // Otherwise opening a pipe waits for its reader (fifo(7)).
    let file = options.custom_flags(O_NONBLOCK).open(path)?;
    // Once there is a reader, writes wait for room in the pipe.
    SockRef::from(&file).set_nonblocking(false)?;
    Ok(Lines::new(file, ends_torn(path)))
}

/// Whether the last line there is incomplete: the host may have crashed, or the
/// disk was full. A file that may not be read counts as complete.
fn ends_torn(path: &Path) -> bool {
    let last = || {
        let mut last = [b'\n'];
        if let Some(file) = stamp::open(path)?
            && let Some(at) = file.metadata()?.len().checked_sub(1)
        {
            file.read_exact_at(&mut last, at)?;
        }
        io::Result::Ok(last)
    };
    last().is_ok_and(|last| last != [b'\n'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn probing_a_file_does_not_create_it() {
        let own = std::env::current_exe().unwrap();
        let directory = own.parent().unwrap();
        let cases = [
            (directory.join("there-is-no-such-file.log"), None),
            (PathBuf::from("there-is-no-such-file.log"), None),
            (PathBuf::from("/dev/null"), None),
            (directory.to_owned(), Some(ErrorKind::IsADirectory)),
            (
                directory.join("no-such-directory/a.log"),
                Some(ErrorKind::NotFound),
            ),
            (own.join("a.log"), Some(ErrorKind::NotADirectory)),
        ];
        for (path, expected) in cases {
            let found = LogFile::probe(&path).err().map(|error| error.kind());
            assert_eq!(found, expected, "{}", path.display());
        }
        assert!(!directory.join("there-is-no-such-file.log").exists());
    }

    /// A failure is logged once a second at most; a recovery is logged after each failure that was.
    #[test]
    fn failures_and_recoveries_are_logged_once_per_second() {
        let mut log = LogFile::open(Path::new("/dev/null")).unwrap();
        let start = Instant::now();
        let mut change = |at, fails| {
            let outcome = match fails {
                true => Err(io::Error::from(ErrorKind::StorageFull)),
                false => Ok(()),
            };
            log.change(&outcome, start + Duration::from_millis(at))
        };
        let bad = |suppressed| {
            let error = io::Error::from(ErrorKind::StorageFull).to_string();
            Some(Change::Failed(error, suppressed))
        };
        assert_eq!(change(0, false), None);
        assert_eq!(change(1, true), bad(0));
        assert_eq!(change(2, true), None, "it is reported already");
        assert_eq!(change(3, false), Some(Change::Recovered));
        assert_eq!(change(4, false), None);
        for round in 0..5 {
            assert_eq!(change(10 * round + 10, true), None);
            assert_eq!(change(10 * round + 11, false), None);
        }
        assert_eq!(change(1000, true), None, "within a second of the last");
        assert_eq!(change(1001, true), bad(6), "it still fails");
        assert_eq!(change(1002, false), Some(Change::Recovered));
    }

    #[test]
    fn a_failure_is_reported_until_lines_are_written_again() {
        let mut log = LogFile::open(Path::new("/dev/full")).unwrap();
        assert_eq!(log.append(""), 0);
        assert!(!log.reported, "nothing was written");
        assert_eq!(log.append("a\n"), 0);
        assert!(log.reported);
        log.path = PathBuf::from("/dev/null");
        log.reopen();
        assert_eq!(log.append("a\n"), 2);
        assert!(!log.reported);
    }
}
