//! A file's parsed content, read again when the file changes.
//!
//! Any number of threads may ask; the mutex guards the current value and when to look again, and
//! is never held while the file system is at work. A file that is not there, is not a regular
//! file or cannot be read counts as empty when it is read first; later the last content stays
//! until the file is either readable or gone.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::stamp::Stamp;

/// Octets read of a file; the largest host lists in use have a few million.
const MAX_FILE: u64 = 16 << 20;

/// A watched file whose content is a `T`.
pub(super) struct Watched<T> {
    path: PathBuf,
    /// How often the file is looked at, at most.
    interval: Duration,
    parse: Box<dyn Fn(&str) -> T + Send + Sync>,
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Arc<T>,
    stamp: Option<Stamp>,
    look_again: Instant,
    /// How often the content was replaced.
    changes: u64,
}

impl<T> Watched<T> {
    /// Reads the file for the first time.
    pub(super) fn new(
        path: PathBuf,
        interval: Duration,
        now: Instant,
        parse: impl Fn(&str) -> T + Send + Sync + 'static,
    ) -> Self {
        let stamp = Stamp::of(&path).unwrap_or(None);
        let text = stamp.and_then(|_| read(&path).ok());
        // A file that could not be read is not known, and is tried again at the next look.
        let stamp = text.as_ref().and(stamp);
        let text = text.unwrap_or_default();
        Self {
            state: Mutex::new(State {
                value: Arc::new(parse(&text)),
                stamp,
                look_again: later(now, interval),
                changes: 0,
            }),
            path,
            interval,
            parse: Box::new(parse),
        }
    }

    /// The content, as fresh as the interval asks for.
    pub(super) fn get(&self, now: Instant) -> Arc<T> {
        let known = {
            let mut state = self.lock();
            if now < state.look_again {
                return Arc::clone(&state.value);
            }
            // Set at once, so that of several threads one looks and the others go on.
            state.look_again = later(now, self.interval);
            state.stamp
        };
        if let Ok(Some((stamp, text))) = self.read_if_changed(known) {
            let value = Arc::new((self.parse)(&text));
            let mut state = self.lock();
            state.value = value;
            state.stamp = stamp;
            state.changes = state.changes.wrapping_add(1);
        }
        Arc::clone(&self.lock().value)
    }

    /// The new stamp and text, if the file is not the one that is known.
    fn read_if_changed(&self, known: Option<Stamp>) -> io::Result<Option<(Option<Stamp>, String)>> {
        // The stamp is taken before the content: a write in between shows at the next look.
        let stamp = Stamp::of(&self.path)?;
        if stamp == known {
            return Ok(None);
        }
        let text = match stamp {
            Some(_) => read(&self.path)?,
            None => String::new(),
        };
        Ok(Some((stamp, text)))
    }

    /// How often the content was replaced so far.
    pub(super) fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// A panic elsewhere cannot leave the state half written: each field is whole at all times.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn later(now: Instant, interval: Duration) -> Instant {
    now.checked_add(interval).unwrap_or(now)
}

fn read(path: &Path) -> io::Result<String> {
    let mut octets = Vec::new();
    File::open(path)?.take(MAX_FILE).read_to_end(&mut octets)?;
    Ok(String::from_utf8_lossy(&octets).into_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use super::super::tests::fake::TempFile;
    use super::*;
    use std::fs;

    const INTERVAL: Duration = Duration::from_secs(5);

    // The contents differ in length, since the time stamps of some kernels are coarse.
    #[test]
    fn content_follows_the_file() {
        let file = TempFile::new("first");
        let mut now = Instant::now();
        let watched = Watched::new(file.path.clone(), INTERVAL, now, str::to_owned);
        let mut later = |what: &str, text: &str, changes| {
            now += INTERVAL;
            assert_eq!(*watched.get(now), text, "{what}");
            assert_eq!(watched.changes(), changes, "{what}");
        };
        later("unchanged", "first", 0);
        file.write("written anew");
        later("written", "written anew", 1);
        later("unchanged again", "written anew", 1);
        let replacement = TempFile::new("third");
        fs::rename(&replacement.path, &file.path).unwrap();
        later("replaced", "third", 2);
        fs::remove_file(&file.path).unwrap();
        later("gone", "", 3);
        fs::create_dir(&file.path).unwrap();
        later("a directory", "", 3);
        fs::remove_dir(&file.path).unwrap();
        file.write("again");
        later("back", "again", 4);
    }

    #[test]
    fn the_file_is_not_looked_at_more_often_than_the_interval() {
        let file = TempFile::new("first");
        let now = Instant::now();
        let watched = Watched::new(file.path.clone(), INTERVAL, now, str::to_owned);
        file.write("second");
        let almost = now + INTERVAL - Duration::from_millis(1);
        assert_eq!(*watched.get(almost), "first");
        assert_eq!(*watched.get(now + INTERVAL), "second");
    }

    #[test]
    fn absent_and_special_files_are_empty() {
        for path in ["/nonexistent/resolv.conf", "/dev/zero", "/"] {
            let watched = Watched::new(path.into(), INTERVAL, Instant::now(), str::to_owned);
            assert_eq!(*watched.get(Instant::now()), "", "{path}");
        }
    }
}
