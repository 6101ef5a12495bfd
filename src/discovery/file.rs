//! The file of `--endpoints-file`: what it is to `follow`, and what is wrong with it in words.
//!
//! What is read here is not trusted, see `listing`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::listing::{self, Listing, MAX_TEXT, Oddity};
use super::members;
use super::polled::{Contents, PolledFiles};
use crate::stamp;
use crate::sys::{self, Plain, memory};

/// Why there is no list to be had from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Error {
    path: PathBuf,
    cause: Cause,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Cause {
    /// In the words of the system, with the remedy.
    Unreadable(String),
    /// A directory, a pipe, a device.
    NotAFile,
    TooLarge,
    Listing(listing::Error),
}

/// A list of endpoints on disk.
#[derive(Debug)]
pub(crate) struct EndpointsFile(PathBuf);

impl EndpointsFile {
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.into())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// What is odd about a line, in words.
    pub(crate) fn describe(&self, (line, oddity): &(usize, Oddity)) -> String {
        format!("{}:{line}: {oddity}", self.0.display())
    }

    fn failed(&self, cause: Cause) -> Error {
        let path = self.0.clone();
        Error { path, cause }
    }

    fn unreadable(&self, error: &io::Error) -> Error {
        let remedy = sys::shortage(error).unwrap_or("name a readable file");
        self.failed(Cause::Unreadable(format!("{}; {remedy}", Plain(error))))
    }
}

impl PolledFiles for EndpointsFile {
    type Value = Listing;
    type Error = Error;

    fn files(&self) -> Vec<PathBuf> {
        vec![self.0.clone()]
    }

    fn read(&self) -> Result<Contents, Error> {
        let text = stamp::read(&self.0, MAX_TEXT + 1).map_err(|error| self.unreadable(&error))?;
        let text = text.ok_or_else(|| self.failed(Cause::NotAFile))?;
        if text.len() > MAX_TEXT {
            return Err(self.failed(Cause::TooLarge));
        }
        let lines = text.iter().filter(|octet| **octet == b'\n').count() + 1;
        memory::room(members::size(lines)).map_err(|error| self.unreadable(&error))?;
        Ok(vec![text])
    }

    fn is_transient(error: &Error) -> bool {
        matches!(error.cause, Cause::Unreadable(_))
    }

    fn parse(&self, texts: Contents) -> Result<Listing, Error> {
        let text = texts.first().map(Vec::as_slice).unwrap_or_default();
        let listing = listing::parse(text);
        listing.map_err(|error| self.failed(Cause::Listing(error)))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.cause {
            Cause::Unreadable(error) => {
                write!(f, "{path}: cannot be read: {error}")
            }
            Cause::NotAFile => {
                write!(f, "{path}: is not a regular file; name one that is")
            }
            Cause::TooLarge => {
                write!(
                    f,
                    "{path}: is larger than {MAX_TEXT} bytes; name a list of endpoints"
                )
            }
            Cause::Listing(listing::Error {
                line: Some(line),
                cause,
            }) => {
                write!(f, "{path}:{line}: {cause}")
            }
            Cause::Listing(listing::Error { line: None, cause }) => write!(f, "{path}: {cause}"),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::polled::Polled;
    use crate::discovery::polled::tests::Site;

    #[test]
    fn the_remedy_fits_the_error() {
        for (number, said) in [
            (2, "no such file or directory; name a readable file"),
            (13, "permission denied; name a readable file"),
            (12, "cannot allocate memory; free memory of this host, or "),
            (23, "too many open files in system; raise fs.file-max"),
            (24, "too many open files; raise the limit on open files"),
        ] {
            let error = io::Error::from_raw_os_error(number);
            let error = EndpointsFile::new(Path::new("/a")).unreadable(&error);
            let expected = format!("/a: cannot be read: {said}");
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
    }

    #[test]
    fn a_first_look_says_what_is_wrong() {
        let site = Site::new("first");
        site.write("bad", "a:1\nb:1 weight=x");
        site.write("empty", "# none\n");
        site.write("large", &"#\n".repeat(MAX_TEXT / 2 + 1));
        let dir = site.0.display();
        let error = |path: &Path| {
            let opened = Polled::open(EndpointsFile::new(path));
            opened.map(|_| ()).unwrap_err().to_string()
        };
        for (name, text) in [
            (
                "bad",
                ":2: invalid weight \"x\"; write a number from 0 to 65535",
            ),
            (
                "empty",
                ": has no endpoint in it; write host:port, one a line",
            ),
            (
                "large",
                ": is larger than 1048576 bytes; name a list of endpoints",
            ),
            (
                "none",
                ": cannot be read: no such file or directory; name a readable file",
            ),
            (".", ": is not a regular file; name one that is"),
        ] {
            assert_eq!(error(&site.path(name)), format!("{dir}/{name}{text}"));
        }
        assert_eq!(
            error(Path::new("/dev/zero")),
            "/dev/zero: is not a regular file; name one that is"
        );
    }
}
