//! Whether standard error leads to the journal of systemd (systemd.exec(5), JOURNAL_STREAM).
//!
//! The journal reads a number between angle brackets at the beginning of a line as its priority, and takes it away
//! (sd-daemon(3)). A process whose stderr was redirected has inherited the variable, and not the stream that it names.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

/// Whether the stderr of this process is the stream that `variable` names as the journal's.
pub(crate) fn is_stderr(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let named = variable("JOURNAL_STREAM");
    named.is_some_and(|named| is_named(&named, io::stderr()).unwrap_or(false))
}

/// Whether a descriptor is what `DEVICE:INODE` names.
fn is_named(named: &OsString, stream: impl AsFd) -> io::Result<bool> {
    let found = File::from(stream.as_fd().try_clone_to_owned()?).metadata()?;
    Ok(*named == *format!("{}:{}", found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_stream_is_the_journal_s_only_if_device_and_inode_are() {
        let (one, other) = UnixStream::pair().unwrap();
        let of = |stream: &UnixStream| {
            let file = File::from(stream.as_fd().try_clone_to_owned().unwrap());
            let found = file.metadata().unwrap();
            (found.dev(), found.ino())
        };
        let ((device, inode), (_, second)) = (of(&one), of(&other));
        for (named, expected) in [
            (format!("{device}:{inode}"), true),
            (format!("{device}:{second}"), false),
            (format!("{}:{inode}", device + 1), false),
            (format!("{device}:{inode}0"), false),
            (format!("{device}"), false),
            (String::new(), false),
            ("a:b".to_owned(), false),
        ] {
            let found = is_named(&OsString::from(&named), &one).unwrap();
            assert_eq!(found, expected, "{named}");
        }
        assert!(!is_stderr(|_| None));
        assert!(!is_stderr(|_| Some(format!("{device}:{inode}").into())));
    }
}
