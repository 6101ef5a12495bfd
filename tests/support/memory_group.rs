//! A control group of its own with a limit of memory, of either version of cgroups(7).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const TOP: &str = "/sys/fs/cgroup";

/// Removed when dropped; what runs in it has to have ended by then.
pub(crate) struct MemoryGroup(PathBuf);

impl MemoryGroup {
    /// A group that may use so many MiB; none where this user, or this host, makes none.
    pub(crate) fn of(mebibytes: u64) -> Option<MemoryGroup> {
        let bytes = (mebibytes << 20).to_string();
        [("memory", "memory.limit_in_bytes"), ("", "memory.max")]
            .iter()
            .find_map(|(controller, limit)| {
                let name = format!("etcd-gateway-suite-{}-{mebibytes}", std::process::id());
                let path = Path::new(TOP).join(controller).join(name);
                fs::create_dir(&path).ok()?;
                let group = MemoryGroup(path);
                // The directory of a tmpfs, or of a hierarchy without the controller, has no such file.
                let file = group.0.join(limit);
                (file.exists() && fs::write(file, &bytes).is_ok()).then_some(group)
            })
    }

    /// What starts a program in it.
    pub(crate) fn wrapper(&self) -> [&str; 4] {
        let path = self.0.to_str().expect("a path in UTF-8");
        [
            "sh",
            "-c",
            "echo $$ >\"$0/cgroup.procs\" && exec \"$@\"",
            path,
        ]
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        // A process that has ended leaves it a moment later.
        while fs::remove_dir(&self.0).is_err() && self.0.exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
