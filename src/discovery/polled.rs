//! Files that are polled for changes, whatever is in them: the endpoints file, the authorities.
//!
//! They are polled, not watched: that needs no system call besides those that read them, and works
//! the same on every file system. A file may be written in place, replaced, or be behind a link that is
//! swapped, as in a ConfigMap or a Secret of Kubernetes, and it may be away for a moment. So a new
//! content, or that there is none, counts only once two polls in a row have found it: the first may have
//! come between the two halves of a write. When a refresh is requested (SIGHUP, or no endpoint is active any
//! more), one poll is enough.
//!
//! What is read is not trusted, and what was read is not kept: its digest shows whether it has changed. A
//! content that is refused is reported once and changes nothing. The owner keeps the last good value.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::problems::{Problem, Subject};
use crate::crypto::sha2::{self, Digest};
use crate::log;
use crate::stamp::{self, Stamp};
use crate::sys::{self, OsErrorText, memory};
use crate::times::Times;

/// Why files cannot be used, in words that name the file and the remedy.
#[derive(Debug)]
pub(crate) enum FileError {
    Unreadable(PathBuf, io::Error),
    /// A directory, a pipe, a device. The text says what to name instead.
    NotAFile(PathBuf, &'static str),
    /// Larger than this, and what to name instead.
    TooLarge(PathBuf, usize, &'static str),
    /// What is wrong with the content.
    Content(String),
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, error) => {
                let remedy = sys::shortage(error).unwrap_or("name a file that this user may read");
                let (path, error) = (path.display(), OsErrorText(error));
                write!(f, "{path}: cannot be read: {error}; {remedy}")
            }
            Self::NotAFile(path, wanted) => {
                let path = path.display();
                write!(f, "{path}: is not a regular file; name {wanted}")
            }
            Self::TooLarge(path, most, wanted) => {
                let path = path.display();
                write!(f, "{path}: is larger than {most} bytes; name {wanted}")
            }
            Self::Content(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for FileError {}

/// All of a file, if it is no longer than `most`; `wanted` says what it should be.
pub(super) fn read(path: &Path, most: usize, wanted: &'static str) -> Result<Vec<u8>, FileError> {
    let read = stamp::read(path, most + 1);
    let read = read.map_err(|error| FileError::Unreadable(path.into(), error))?;
    match read {
        None => Err(FileError::NotAFile(path.into(), wanted)),
        Some(text) if text.len() > most => Err(FileError::TooLarge(path.into(), most, wanted)),
        Some(text) => Ok(text),
    }
}

/// The contents of files, in their order.
pub(super) type Contents = Vec<Vec<u8>>;

/// What contents mean, and warnings that name the file.
pub(super) type Parsed<T> = Result<(T, Vec<String>), FileError>;

/// Files with one meaning.
pub(crate) trait PolledFiles: fmt::Debug {
    /// What the contents mean.
    type Value;

    /// All files whose change may be one of the contents.
    fn paths(&self) -> Vec<PathBuf>;

    /// Reads them.
    ///
    /// # Errors
    /// If they cannot be read.
    fn read(&self) -> Result<Contents, FileError>;

    /// Bytes of memory that it may take to parse the contents and to use what they mean.
    fn memory_for(&self, contents: &Contents) -> usize;

    /// What the contents mean.
    ///
    /// # Errors
    /// If they are refused.
    fn parse(&self, contents: Contents) -> Parsed<Self::Value>;
}

/// What one poll found: the digest of the contents, or why there are none.
type PollResult = Result<Digest, String>;

/// Files that are polled.
#[derive(Debug)]
pub(crate) struct Polled<F> {
    files: F,
    /// What the last poll found, and the stamp of all files from before it.
    stamp: u64,
    found: PollResult,
    /// Two polls in a row found the same, so that a later change of the contents must change the
    /// stamp: after the first of them, a write may have come too soon for that.
    settled: bool,
    /// The contents that count, good or bad.
    accepted: PollResult,
    /// Why they are not used, if they are bad.
    error: Option<String>,
}

impl<F: PolledFiles> Polled<F> {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// If they cannot be read, or are refused.
    pub(super) fn open(files: F) -> Result<(Self, F::Value, Vec<String>), FileError> {
        let stamp = stamp(&files);
        let contents = read_all(&files)?;
        let found = Ok(digest(&contents));
        let (value, warnings) = files.parse(contents)?;
        let polled = Self {
            files,
            stamp,
            found: found.clone(),
            settled: false,
            accepted: found,
            error: None,
        };
        Ok((polled, value, warnings))
    }

    pub(crate) fn files(&self) -> &F {
        &self.files
    }

    /// Why the files are not used as they are now.
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// That the files are not used as they are now, if so; in place of them, something is `kept`.
    pub(super) fn problem(
        &self,
        subject: Subject,
        message: &'static str,
        kept: (&'static str, log::Value),
        used: &str,
    ) -> Option<Problem> {
        let error = self.error.as_deref()?;
        Some(Problem {
            subject,
            message,
            fields: vec![("error", error.into()), kept],
            detail: error.to_owned(),
            shown: vec![format!("{error}; {used}")],
        })
    }

    /// How long after the last poll the next is due.
    pub(super) fn interval(&self, times: &Times) -> Duration {
        if self.found == self.accepted {
            times.file_look
        } else {
            times.file_look_again
        }
    }

    /// What the files mean now, if that has changed; an error is shown as a [problem](Self::problem). If somebody
    /// has `asked`, what is still bad is news, too.
    pub(super) fn poll(&mut self, asked: bool) -> Option<Parsed<F::Value>> {
        // Before the contents: a write in between shows at the next poll.
        let stamp = stamp(&self.files);
        let same_stamp = stamp == self.stamp;
        // What is settled has been accepted, or there is nothing to accept.
        if !asked && self.settled && same_stamp {
            return None;
        }
        let contents = read_all(&self.files);
        let found = match &contents {
            Ok(contents) => Ok(digest(contents)),
            Err(error) => Err(error.to_string()),
        };
        let same = found == self.found;
        // That may be over without a trace in any stamp.
        let is_transient = matches!(contents, Err(FileError::Unreadable(..)));
        self.settled = same && same_stamp && !is_transient;
        self.stamp = stamp;
        self.found = found;
        if !asked && !same {
            return None;
        }
        if self.found == self.accepted && !(asked && self.error.is_some()) {
            return None;
        }
        self.accepted = self.found.clone();
        let news = contents.and_then(|contents| self.files.parse(contents));
        self.error = news.as_ref().err().map(ToString::to_string);
        Some(news)
    }
}

/// Reads files, if there is memory for what they mean.
fn read_all(files: &impl PolledFiles) -> Result<Contents, FileError> {
    let contents = files.read()?;
    memory::room(files.memory_for(&contents)).map_err(|error| {
        let path = files.paths().into_iter().next();
        FileError::Unreadable(path.unwrap_or_default(), error)
    })?;
    Ok(contents)
}

/// The stamps of all files in one number. A hash that can be forged is enough: the files are the operator's.
fn stamp(files: &impl PolledFiles) -> u64 {
    let mut hasher = DefaultHasher::new();
    for path in files.paths() {
        Stamp::of(&path).unwrap_or(None).hash(&mut hasher);
        path.hash(&mut hasher);
    }
    hasher.finish()
}

fn digest(contents: &Contents) -> Digest {
    let mut hasher = sha2::Hasher::new(sha2::Hash::Sha256);
    for content in contents {
        hasher.update(&content.len().to_be_bytes());
        hasher.update(content);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests;
