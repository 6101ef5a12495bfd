//! A directory for the files of all programs that are started: in memory where the host has such a place, so that no
//! disk is measured; gone at the end, or with the next run if this one is killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::{env, process};

const PREFIX: &str = "etcd-gateway-bench-";

pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Result<Scratch, String> {
        let memory = PathBuf::from("/dev/shm");
        let parent = if memory.is_dir() {
            memory
        } else {
            env::temp_dir()
        };
        remove_abandoned(&parent);
        let dir = parent.join(format!("{PREFIX}{}", process::id()));
        fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        Ok(Scratch(dir))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// Removes the directories of processes that are no more.
fn remove_abandoned(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let Some(Ok(pid)) = pid.map(str::parse::<u32>) else {
            continue;
        };
        if !Path::new(&format!("/proc/{pid}")).exists() {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_dead_processes_left_is_removed() {
        let parent = env::temp_dir().join(format!("bench-scratch-{}", process::id()));
        // The highest that pid_max(5) allows is less.
        let dead = parent.join(format!("{PREFIX}4194305"));
        let alive = parent.join(format!("{PREFIX}{}", process::id()));
        let other = parent.join(format!("{PREFIX}notes"));
        for dir in [&dead, &alive, &other] {
            fs::create_dir_all(dir).unwrap();
        }
        remove_abandoned(&parent);
        assert!(!dead.exists() && alive.exists() && other.exists());
        fs::remove_dir_all(parent).unwrap();
    }
}
