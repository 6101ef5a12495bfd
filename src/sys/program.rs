//! How this program was started, so that it can be started again: its file, its name and its arguments.
//!
//! The file is the one at the path that the program was called by, if that led to it at the start; so a link that is
//! swapped, and a file that is replaced, lead to the new program. If the program was called by something else (a name that was looked up
//! in PATH, or is not a path), it is the path that the kernel has (proc(5), `/proc/self/exe`).

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the kernel shows the file of a running program.
const OWN: &str = "/proc/self/exe";

/// A program with its arguments.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    path: PathBuf,
    /// What it is called by, which may be another name than that of its file.
    name: OsString,
    arguments: Vec<OsString>,
}

impl Program {
    /// The one that runs in this process. To be called at its start: what is at the path may be another later.
    pub(crate) fn of_this_process() -> Self {
        let mut words = std::env::args_os();
        let name = words.next().unwrap_or_default();
        let path = path(&name, Path::new(OWN));
        Self {
            path,
            name,
            arguments: words.collect(),
        }
    }

    /// The file of it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The same call of what is in the file now.
    pub(crate) fn command(&self) -> Command {
        self.command_of(&self.path)
    }

    /// The same call of another file.
    pub(crate) fn command_of(&self, path: &Path) -> Command {
        let mut command = Command::new(path);
        command.arg0(&self.name).args(&self.arguments);
        command
    }
}

/// The path that leads to the program `own`, which was called by `name`.
fn path(name: &OsString, own: &Path) -> PathBuf {
    let file = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino()));
    let called = Path::new(name);
    // A name without a slash would be looked up in PATH, where another program may have it.
    let called = called.components().nth(1).map(|_| called);
    let called = called.and_then(|called| std::path::absolute(called).ok());
    match (called, file(own)) {
        (Some(called), Ok(own)) if file(&called).is_ok_and(|called| called == own) => called,
        // Without /proc nothing else is known.
        (Some(called), Err(_)) => called,
        _ => fs::read_link(own).unwrap_or_else(|_| name.into()),
    }
}

/// The file that a process runs, if it is still where it was.
pub(crate) fn file_of(process: u32) -> Option<PathBuf> {
    let link = fs::read_link(format!("/proc/{process}/exe")).ok()?;
    // The kernel appends a word to the path of a file that is gone.
    link.exists().then_some(link)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_path_is_the_one_that_was_called_if_it_leads_to_the_program() {
        let site =
            std::env::temp_dir().join(format!("etcd-gateway-program-{}", std::process::id()));
        fs::create_dir(&site).unwrap();
        let at = |name: &str| site.join(name);
        fs::write(at("one"), "1").unwrap();
        fs::write(at("other"), "2").unwrap();
        symlink("one", at("link")).unwrap();
        symlink(at("one"), at("exe")).unwrap();
        for (called, own, expected) in [
            (at("one"), "exe", at("one")),
            // Not resolved: it may lead elsewhere next time.
            (at("link"), "exe", at("link")),
            (at("other"), "exe", at("one")),
            (at("none"), "exe", at("one")),
            ("one".into(), "exe", at("one")),
            ("".into(), "exe", at("one")),
            (at("link"), "no-proc", at("link")),
            ("one".into(), "no-proc", "one".into()),
        ] {
            let found = path(&called.clone().into_os_string(), &at(own));
            assert_eq!(found, expected, "{called:?} {own}");
        }
        fs::remove_dir_all(&site).unwrap();
    }

    #[test]
    fn the_file_of_a_process_is_known_as_long_as_it_is_there() {
        let own = file_of(std::process::id()).unwrap();
        assert_eq!(own, std::env::current_exe().unwrap());
        assert_eq!(file_of(u32::MAX), None);
    }
}
