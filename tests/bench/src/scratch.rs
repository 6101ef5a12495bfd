//! A directory for the files of all programs that are started: in memory where the host has such a place, so that no
//! disk is measured; gone at the end, or with the next run if this one is killed.

use std::path::{Path, PathBuf};
use std::{env, fs};

#[path = "../../support/scratch.rs"]
mod shared;

pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Result<Scratch, String> {
        let memory = PathBuf::from("/dev/shm");
        let parent = if memory.is_dir() {
            memory
        } else {
            env::temp_dir()
        };
        let dir = shared::scratch(&parent, "etcd-gateway-bench");
        dir.map(Scratch)
            .map_err(|e| format!("{}: {e}", parent.display()))
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
