//! Files that an operator names and other programs write: their content, and a stamp that differs after one was
//! written, replaced or touched (stat(2)), so that the file only has to be read after a change. Only
//! regular files are read: reading a pipe waits for a writer, and a device may never end.
//!
//! Links are followed, so a link that is replaced is a change too. Time stamps are coarse: the second of two
//! writes within some milliseconds may not change the stamp.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// From open(2); the number is that of every architecture that Rust supports Linux on, but MIPS and SPARC.
pub(crate) const O_NONBLOCK: i32 = 0o4000;

/// Opens a regular file for reading; `None` if it is something else.
///
/// # Errors
/// Those of open(2), ENXIO for a socket.
pub(crate) fn open(path: &Path) -> io::Result<Option<File>> {
    // O_NONBLOCK: opening a pipe would wait for its writer (fifo(7)). The open file is examined, not the path, where
    // another file may be by now.
    let file = File::options()
        .read(true)
        .custom_flags(O_NONBLOCK)
        .open(path)?;
    Ok(file.metadata()?.is_file().then_some(file))
}

/// At most the first `most` octets of a regular file; `None` if it is something else.
///
/// # Errors
/// Those of open(2) and read(2).
pub(crate) fn read(path: &Path, most: usize) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = open(path)? else {
        return Ok(None);
    };
    let mut octets = Vec::new();
    file.take(most as u64).read_to_end(&mut octets)?;
    Ok(Some(octets))
}

/// The stamp of a regular file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// `None` if there is no such file, or if it is not a regular file.
    ///
    /// # Errors
    /// Those of stat(2).
    pub(crate) fn of(path: &Path) -> io::Result<Option<Self>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(metadata.is_file().then(|| Self::from(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn only_regular_files_are_read_and_nothing_blocks() {
        let dir = format!("etcd-gateway-stamp-{}", std::process::id());
        let dir = std::env::temp_dir().join(dir);
        fs::create_dir(&dir).unwrap();
        let path = |name: &str| dir.join(name);
        fs::write(path("file"), "12345").unwrap();
        let made = Command::new("mkfifo").arg(path("pipe")).status();
        assert!(made.unwrap().success());
        let read_at_most = |most| read(&path("file"), most).unwrap().unwrap();
        assert_eq!(read_at_most(5), b"12345");
        assert_eq!(read_at_most(4), b"1234");
        for other in [path("pipe"), path("."), "/dev/zero".into()] {
            assert_eq!(read(&other, 9).unwrap(), None, "{other:?}");
        }
        let error = read(&path("none"), 9).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        fs::remove_dir_all(dir).unwrap();
    }
}
