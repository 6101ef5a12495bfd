//! A file's parsed content, read again when the file changes.
//!
//! Any number of threads may ask; the mutex guards the current value and when to check the file again,
//! and is never held while the file is accessed. A file that does not exist, is not a regular file or
//! cannot be read counts as empty at first; later the last content is used until the file can be read
//! or is removed. Without memory for its content it cannot be read.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::stamp::{self, Stamp};
use crate::sync::lock;

/// Parses a file's content, given the parsed content of the version before.
type Parse<T> = dyn Fn(&T, &mut dyn Read) -> io::Result<T> + Send + Sync;

/// A watched file whose content is a `T`.
pub(super) struct Watched<T> {
    path: PathBuf,
    /// How often the file is checked, at most.
    interval: Duration,
    parse: Box<Parse<T>>,
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Arc<T>,
    stamp: Option<Stamp>,
    next_check: Instant,
    /// How often the content was replaced.
    changes: u64,
}

impl<T> Watched<T> {
    /// Reads the file for the first time; `empty` is the value of an empty one.
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
                next_check: now,
                changes: 0,
            }),
            path,
            interval,
            parse: Box::new(parse),
        };
        watched.get(now);
        lock(&watched.state).changes = 0;
        watched
    }

    /// The content, at most one interval old.
    pub(super) fn get(&self, now: Instant) -> Arc<T> {
        let (known, value) = {
            let mut state = lock(&self.state);
            let value = Arc::clone(&state.value);
            if now < state.next_check {
                return value;
            }
            // Set now, so that only one of several threads checks the file.
            state.next_check = now.checked_add(self.interval).unwrap_or(now);
            (state.stamp, value)
        };
        if let Ok(Some((stamp, value))) = self.read_if_changed(known, &value) {
            let mut state = lock(&self.state);
            state.value = Arc::new(value);
            state.stamp = stamp;
            state.changes = state.changes.wrapping_add(1);
        }
        Arc::clone(&lock(&self.state).value)
    }

    /// The new stamp and content, if the file has changed.
    fn read_if_changed(
        &self,
        known: Option<Stamp>,
        value: &T,
    ) -> io::Result<Option<(Option<Stamp>, T)>> {
        // The stamp is taken before the content: a write in between is seen at the next check.
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
        lock(&self.state).changes
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use super::super::hosts::HostsFile;
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
    fn the_file_is_not_checked_more_often_than_the_interval() {
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
            let hosts = HostsFile::new(path.into());
            assert!(hosts.addresses("a").is_empty(), "{path:?}");
        }
    }
}
