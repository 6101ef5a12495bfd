//! A file's content, as far as it is of use, read again when the file changes.
//!
//! Any number of threads may ask; the mutex guards the current value and when to look again, and
//! is never held while the file system is at work. A file that is not there, is not a regular
//! file or cannot be read counts as empty when it is read first; later the last content stays
//! until the file can be read or is gone. Without memory for its content it cannot be read.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::stamp::{self, Stamp};

/// Makes of a file's content what is to be known of it, given what is known of the one before.
type Parse<T> = dyn Fn(&T, &mut dyn Read) -> io::Result<T> + Send + Sync;

/// A watched file whose content is a `T`.
pub(super) struct Watched<T> {
    path: PathBuf,
    /// How often the file is looked at, at most.
    interval: Duration,
    parse: Box<Parse<T>>,
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
    /// Reads the file for the first time; `empty` is what is known of one that has nothing in it.
    pub(super) fn new(
        path: PathBuf,
        interval: Duration,
        now: Instant,
        empty: T,
        parse: impl Fn(&T, &mut dyn Read) -> io::Result<T> + Send + Sync + 'static,
    ) -> Self {
        let watched = Self {
            state: Mutex::new(State {
                stamp: None,
                value: Arc::new(empty),
                look_again: now,
                changes: 0,
            }),
            path,
            interval,
            parse: Box::new(parse),
        };
        watched.get(now);
        watched.lock().changes = 0;
        watched
    }

    /// The content, as fresh as the interval asks for.
    pub(super) fn get(&self, now: Instant) -> Arc<T> {
        let (known, value) = {
            let mut state = self.lock();
            let value = Arc::clone(&state.value);
            if now < state.look_again {
                return value;
            }
            // Set at once, so that of several threads one looks and the others go on.
            state.look_again = later(now, self.interval);
            (state.stamp, value)
        };
        if let Ok(Some((stamp, value))) = self.read_if_changed(known, &value) {
            let mut state = self.lock();
            state.value = Arc::new(value);
            state.stamp = stamp;
            state.changes = state.changes.wrapping_add(1);
        }
        Arc::clone(&self.lock().value)
    }

    /// The new stamp and content, if the file is not the one that is known.
    fn read_if_changed(
        &self,
        known: Option<Stamp>,
        value: &T,
    ) -> io::Result<Option<(Option<Stamp>, T)>> {
        // The stamp is taken before the content: a write in between shows at the next look.
        let stamp = Stamp::of(&self.path)?;
        if stamp == known {
            return Ok(None);
        }
        let file = stamp.map_or(Ok(None), |_| stamp::open(&self.path))?;
        let value = match file {
            Some(mut file) => (self.parse)(value, &mut file)?,
            None => (self.parse)(value, &mut io::empty())?,
        };
        Ok(Some((stamp, value)))
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use super::super::hosts::Hosts;
    use super::super::tests::fake::TempFile;
    use super::*;
    use std::fs;
    use std::path::Path;
    use std::process::Command;

    const INTERVAL: Duration = Duration::from_secs(5);

    fn watched(path: PathBuf, now: Instant) -> Watched<String> {
        Watched::new(path, INTERVAL, now, String::new(), |_, file| {
            let mut text = String::new();
            file.read_to_string(&mut text).map(|_| text)
        })
    }

    // The contents differ in length, since the time stamps of some kernels are coarse.
    #[test]
    fn content_follows_the_file() {
        let file = TempFile::new("first");
        let mut now = Instant::now();
        let watched = watched(file.path.clone(), now);
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
        let watched = watched(file.path.clone(), now);
        file.write("second");
        let almost = now + INTERVAL - Duration::from_millis(1);
        assert_eq!(*watched.get(almost), "first");
        assert_eq!(*watched.get(now + INTERVAL), "second");
    }

    #[test]
    fn absent_and_special_files_are_empty() {
        let pipe = TempFile::new("");
        fs::remove_file(&pipe.path).unwrap();
        let made = Command::new("mkfifo").arg(&pipe.path).status();
        assert!(made.unwrap().success());
        let others = ["/nonexistent/resolv.conf", "/dev/zero", "/"];
        for path in others.map(Path::new).into_iter().chain([&*pipe.path]) {
            let watched = watched(path.into(), Instant::now());
            assert_eq!(*watched.get(Instant::now()), "", "{path:?}");
            let hosts = Hosts::new(path.into());
            assert!(hosts.addresses("a").is_empty(), "{path:?}");
        }
    }
}
