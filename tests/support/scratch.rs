//! The directory of one process, named by its id, so that a later process finds and removes what a killed one left.

use std::path::{Path, PathBuf};
use std::{fs, io, process};

/// An empty directory `parent/NAME-PID`; those of processes that have ended are removed.
pub(crate) fn scratch(parent: &Path, name: &str) -> io::Result<PathBuf> {
    fs::create_dir_all(parent)?;
    for entry in fs::read_dir(parent)?.flatten() {
        let file = entry.file_name();
        let file = file.to_str().and_then(|file| file.strip_prefix(name));
        let owner = file.and_then(|rest| rest.strip_prefix('-')?.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let directory = parent.join(format!("{name}-{}", process::id()));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir(&directory)?;
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_dead_processes_left_is_removed() {
        let parent = std::env::temp_dir().join(format!("scratch-test-{}", process::id()));
        // The highest that pid_max(5) allows is less.
        let [dead, alive, other] = ["name-4194305", "name-1", "name-notes"].map(|name| {
            let directory = parent.join(name);
            fs::create_dir_all(&directory).unwrap();
            directory
        });
        let own = scratch(&parent, "name").unwrap();
        assert!(!dead.exists() && alive.exists() && other.exists() && own.exists());
        assert_eq!(scratch(&parent, "name").unwrap(), own);
        fs::remove_dir_all(parent).unwrap();
    }
}
