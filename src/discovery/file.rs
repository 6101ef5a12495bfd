//! The file of `--endpoints-file`, followed on disk.
//!
//! It is looked at again and again, not watched: that needs no system call besides those that
//! read it, and works the same on every file system. It may be written in place, replaced, or
//! be behind a link that is swapped, as in a ConfigMap of Kubernetes, and it may be away for a
//! moment. So a new content, or that there is none, counts only once two looks in a row have
//! found it: the first may have come between the two halves of a write. When asked to look
//! (SIGHUP, or no endpoint is active any more), one look is enough.
//!
//! What is read here is not trusted, see `listing`; a content that is refused is reported
//! once, and nothing changes by it. The owner keeps the last good list.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::listing::{self, Listing, MAX_TEXT, Oddity};
use super::members;
use crate::stamp::{self, Stamp};
use crate::sys::{self, Plain, memory};
use crate::times::Times;

/// Why there is no list to be had from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Error {
    path: PathBuf,
    cause: Cause,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Cause {
    Unreadable(Unreadable),
    Listing(listing::Error),
}

/// Why the content cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Unreadable {
    /// In the words of the system, with the remedy.
    Io(String),
    /// A directory, a pipe, a device.
    NotAFile,
    TooLarge,
}

/// What one look found.
type Content = Result<Arc<Vec<u8>>, Unreadable>;

/// A file that is followed.
#[derive(Debug)]
pub(crate) struct Followed {
    path: PathBuf,
    /// What the last look found, and the stamp from before it.
    stamp: Option<Stamp>,
    seen: Content,
    /// Two looks in a row found the same, so that a change of the content must show in the
    /// stamp: after the first of them, a write may have come too soon to change it.
    settled: bool,
    /// The content that counts, good or bad.
    taken: Content,
    /// Why, if it was bad.
    refused: Option<Error>,
}

impl Followed {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// If it cannot be read, or is not a list of endpoints.
    pub(crate) fn open(path: &Path) -> Result<(Self, Listing), Error> {
        let stamp = Stamp::of(path).unwrap_or(None);
        let content = read(path);
        let listing = parse(path, &content)?;
        let followed = Self {
            path: path.into(),
            stamp,
            seen: content.clone(),
            settled: false,
            taken: content,
            refused: None,
        };
        Ok((followed, listing))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Why what the file says now is not used.
    pub(super) fn refused(&self) -> Option<&Error> {
        self.refused.as_ref()
    }

    /// What is odd about a line, in words.
    pub(crate) fn describe(&self, (line, oddity): &(usize, Oddity)) -> String {
        format!("{}:{line}: {oddity}", self.path.display())
    }

    /// When the next look is due, from the last on.
    pub(crate) fn pause(&self, times: &Times) -> Duration {
        if self.seen == self.taken {
            times.file_look
        } else {
            times.file_look_again
        }
    }

    /// Looks at the file: what it says if that is news. Whoever has `asked` is told of a file
    /// that is still bad once more.
    pub(crate) fn look(&mut self, asked: bool) -> Option<Result<Listing, Error>> {
        // Before the content: a write in between shows at the next look.
        let stamp = Stamp::of(&self.path).unwrap_or(None);
        let same_stamp = stamp == self.stamp;
        if asked || !self.settled || !same_stamp {
            let content = read(&self.path);
            let same = content == self.seen;
            // What could not be read may be by now, without a trace in the stamp.
            let readable = !matches!(content, Err(Unreadable::Io(_)));
            self.settled = same && same_stamp && readable;
            self.stamp = stamp;
            self.seen = content;
            if !asked && !same {
                return None;
            }
        }
        if self.seen == self.taken && !(asked && self.refused.is_some()) {
            return None;
        }
        self.taken = self.seen.clone();
        let news = parse(&self.path, &self.taken);
        self.refused = news.as_ref().err().cloned();
        Some(news)
    }
}

fn parse(path: &Path, content: &Content) -> Result<Listing, Error> {
    let failed = |cause| Error {
        path: path.into(),
        cause,
    };
    match content {
        Ok(text) => listing::parse(text).map_err(|error| failed(Cause::Listing(error))),
        Err(unreadable) => Err(failed(Cause::Unreadable(unreadable.clone()))),
    }
}

fn read(path: &Path) -> Content {
    let text = stamp::read(path, MAX_TEXT + 1).map_err(failed)?;
    let text = text.ok_or(Unreadable::NotAFile)?;
    if text.len() > MAX_TEXT {
        return Err(Unreadable::TooLarge);
    }
    let lines = text.iter().filter(|octet| **octet == b'\n').count() + 1;
    memory::room(members::size(lines)).map_err(failed)?;
    Ok(Arc::new(text))
}

fn failed(error: io::Error) -> Unreadable {
    let remedy = sys::shortage(&error).unwrap_or("name a readable file");
    Unreadable::Io(format!("{}; {remedy}", Plain(&error)))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.cause {
            Cause::Unreadable(Unreadable::Io(error)) => {
                write!(f, "{path}: cannot be read: {error}")
            }
            Cause::Unreadable(Unreadable::NotAFile) => {
                write!(f, "{path}: is not a regular file; name one that is")
            }
            Cause::Unreadable(Unreadable::TooLarge) => {
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
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_remedy_fits_the_error() {
        for (number, said) in [
            (2, "no such file or directory; name a readable file"),
            (13, "permission denied; name a readable file"),
            (12, "cannot allocate memory; free memory of this host, or "),
            (23, "too many open files in system; raise fs.file-max"),
            (24, "too many open files; raise the limit on open files"),
        ] {
            let error = parse(
                Path::new("/a"),
                &Err(failed(io::Error::from_raw_os_error(number))),
            );
            let error = error.unwrap_err().to_string();
            let expected = format!("/a: cannot be read: {said}");
            assert!(error.starts_with(&expected), "{error}");
        }
    }

    /// A directory that lives as long as the value, and a followed file in it.
    struct Site(PathBuf);

    impl Site {
        fn new(name: &str) -> Self {
            let dir = format!("etcd-gateway-file-{}-{name}", std::process::id());
            let dir = std::env::temp_dir().join(dir);
            fs::create_dir(&dir).unwrap();
            Self(dir)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        /// Writes as after a while: the stamp is another one.
        fn write(&self, name: &str, text: &str) {
            let path = self.path(name);
            let before = Stamp::of(&path).unwrap();
            fs::write(&path, text).unwrap();
            while Stamp::of(&path).unwrap() == before {
                fs::write(&path, text).unwrap();
            }
        }

        fn open(&self, name: &str) -> Followed {
            Followed::open(&self.path(name)).unwrap().0
        }
    }

    impl Drop for Site {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// One look: `-` for no news, `!` for a bad file, otherwise the members.
    fn look(followed: &mut Followed, asked: bool) -> String {
        match followed.look(asked) {
            None => "-".to_owned(),
            Some(Err(_)) => "!".to_owned(),
            Some(Ok(listing)) => {
                let members = listing.members.iter().map(|member| member.at.to_string());
                members.collect::<Vec<_>>().join(" ")
            }
        }
    }

    fn looks(followed: &mut Followed, count: usize) -> Vec<String> {
        (0..count).map(|_| look(followed, false)).collect()
    }

    #[test]
    fn every_kind_of_change_is_seen_at_the_second_look() {
        type Change = (&'static str, fn(&Site), &'static [&'static str]);
        let cases: [Change; 8] = [
            ("nothing", |_| {}, &["-", "-", "-"]),
            (
                "in place",
                |site| site.write("f", "c:1 # longer"),
                &["-", "c:1", "-"],
            ),
            (
                "replaced",
                |site| {
                    site.write("new", "c:1\nd:1");
                    fs::rename(site.path("new"), site.path("f")).unwrap();
                },
                &["-", "c:1 d:1", "-"],
            ),
            ("touched", |site| site.write("f", "a:1"), &["-", "-", "-"]),
            ("bad", |site| site.write("f", "a"), &["-", "!", "-"]),
            ("empty", |site| site.write("f", ""), &["-", "!", "-"]),
            (
                "gone",
                |site| fs::remove_file(site.path("f")).unwrap(),
                &["-", "!", "-"],
            ),
            (
                "a directory",
                |site| {
                    fs::remove_file(site.path("f")).unwrap();
                    fs::create_dir(site.path("f")).unwrap();
                },
                &["-", "!", "-"],
            ),
        ];
        for settled in [0, 1, 5] {
            for (what, change, expected) in cases {
                let site = Site::new(&format!("{}-{settled}", what.replace(' ', "-")));
                site.write("f", "a:1");
                let mut followed = site.open("f");
                looks(&mut followed, settled);
                change(&site);
                assert_eq!(
                    looks(&mut followed, 3),
                    expected,
                    "{what} after {settled} looks"
                );
            }
        }
    }

    /// Neither the size nor, perhaps, the stamp differs.
    #[test]
    fn a_write_right_after_the_first_look_is_seen() {
        let site = Site::new("at-once");
        site.write("f", "a:1");
        let mut followed = site.open("f");
        fs::write(site.path("f"), "b:1").unwrap();
        assert_eq!(looks(&mut followed, 3), ["-", "b:1", "-"]);
    }

    /// Neither leaves a trace in the stamp, on a kernel whose stamps are coarse.
    #[test]
    fn of_two_writes_around_a_look_the_second_counts() {
        let site = Site::new("twice");
        site.write("f", "a:1");
        for _ in 0..100 {
            let mut followed = site.open("f");
            let stamp = followed.stamp;
            fs::write(site.path("f"), "b:1").unwrap();
            assert_eq!(look(&mut followed, false), "-");
            fs::write(site.path("f"), "c:1").unwrap();
            let is_traceless = Stamp::of(&site.path("f")).unwrap() == stamp;
            assert_eq!(looks(&mut followed, 3), ["-", "c:1", "-"]);
            if is_traceless {
                break;
            }
            site.write("f", "a:1");
        }
    }

    /// As the kubelet does it: the file is behind a link to a directory, and that link is swapped.
    #[test]
    fn a_swapped_link_is_a_change() {
        let site = Site::new("swap");
        for (dir, text) in [("one", "a:1"), ("two", "b:1")] {
            fs::create_dir(site.path(dir)).unwrap();
            site.write(&format!("{dir}/f"), text);
        }
        symlink("one", site.path("..data")).unwrap();
        symlink("..data/f", site.path("f")).unwrap();
        let mut followed = site.open("f");
        assert_eq!(looks(&mut followed, 2), ["-", "-"]);
        symlink("two", site.path("..tmp")).unwrap();
        fs::rename(site.path("..tmp"), site.path("..data")).unwrap();
        fs::remove_dir_all(site.path("one")).unwrap();
        assert_eq!(looks(&mut followed, 3), ["-", "b:1", "-"]);
    }

    #[test]
    fn what_lasts_for_one_look_only_never_was() {
        let site = Site::new("moment");
        site.write("f", "a:1\nb:1");
        let mut followed = site.open("f");
        let moments: [fn(&Site); 3] = [
            |site| fs::remove_file(site.path("f")).unwrap(),
            |site| site.write("f", "a:1"),
            |site| site.write("f", ""),
        ];
        for moment in moments {
            moment(&site);
            assert_eq!(look(&mut followed, false), "-");
            assert_eq!(followed.pause(&Times::REAL), Times::REAL.file_look_again);
            site.write("f", "a:1\nb:1");
            assert_eq!(looks(&mut followed, 2), ["-", "-"]);
            assert_eq!(followed.pause(&Times::REAL), Times::REAL.file_look);
        }
        // Never twice the same: nothing is taken, nothing is logged.
        for round in 0..5 {
            site.write("f", &format!("a:1\nb:1\nc:{round}"));
            assert_eq!(look(&mut followed, false), "-");
        }
    }

    #[test]
    fn who_asks_waits_for_no_second_look_and_is_told_again() {
        let site = Site::new("asked");
        site.write("f", "a:1");
        let mut followed = site.open("f");
        assert_eq!(look(&mut followed, true), "-", "nothing is new");
        site.write("f", "b:1");
        assert_eq!(look(&mut followed, true), "b:1");
        site.write("f", "b");
        assert_eq!(look(&mut followed, true), "!");
        assert_eq!(looks(&mut followed, 3), ["-", "-", "-"], "once a change");
        assert_eq!(look(&mut followed, true), "!", "still bad");
        site.write("f", "b:1");
        assert_eq!(looks(&mut followed, 2), ["-", "b:1"], "good again");
        assert_eq!(look(&mut followed, true), "-");
    }

    #[test]
    fn a_first_look_says_what_is_wrong() {
        let site = Site::new("first");
        site.write("bad", "a:1\nb:1 weight=x");
        site.write("empty", "# none\n");
        site.write("large", &"#\n".repeat(MAX_TEXT / 2 + 1));
        let dir = site.0.display();
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
            let error = Followed::open(&site.path(name)).map(|_| ()).unwrap_err();
            assert_eq!(error.to_string(), format!("{dir}/{name}{text}"));
        }
        let error = Followed::open(Path::new("/dev/zero"))
            .map(|_| ())
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "/dev/zero: is not a regular file; name one that is"
        );
    }

    #[test]
    fn a_list_that_there_is_no_memory_for_changes_nothing_until_there_is() {
        let site = Site::new("memory");
        site.write("f", "a:1");
        let mut followed = site.open("f");
        site.write("f", "a:1\nb:1");
        let refused = memory::tests::refuse();
        let error = followed.look(true).unwrap().unwrap_err().to_string();
        assert!(
            error.contains(": cannot be read: cannot allocate memory; free memory of this host"),
            "{error}"
        );
        drop(refused);
        let news = [(); 3].map(|()| look(&mut followed, false));
        assert_eq!(news, ["-", "a:1 b:1", "-"]);
    }
}
