//! What the control groups of this process leave it, from its own group up to the root, in the unified
//! hierarchy and in the controllers of the old ones: cgroups(7), and cgroup-v2.rst and cgroup-v1/memory.rst of
//! the kernel's documentation.
//!
//! Others in the same group use some of it, so the result is what is left, not the limit. What cannot be
//! read does not bound.

use std::fs;
use std::path::{Path, PathBuf};

use super::usage;

/// Where the files of processes and of their groups are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trees<'a> {
    pub(super) proc: &'a Path,
    pub(super) cgroups: &'a Path,
}

/// A limit of memory: its name, what is used of it, and the lines of `memory.stat` for what the kernel takes
/// back when memory is needed. That is the page cache: a container that writes a log is usually near its limit
/// because of it.
struct Memory {
    name: &'static str,
    limit: &'static str,
    used: &'static str,
    reclaimable: &'static [&'static str],
}

const V1_FILES: &[&str] = &["total_inactive_file ", "total_active_file "];
const V2_FILES: &[&str] = &["inactive_file ", "active_file "];

/// Above `memory.high` the kernel kills no process, but each thread that takes more sleeps, up to seconds, and all
/// clients stall: it bounds as `memory.max` does. In version 1 kernel memory has a limit of its own, towards which
/// the kernel's stacks of threads count. The limit of socket buffers (`memory.kmem.tcp`) is not used: buffers get
/// smaller, nothing fails.
const MEMORY: [Memory; 4] = [
    Memory {
        name: "memory.max of the cgroup",
        limit: "memory.max",
        used: "memory.current",
        reclaimable: V2_FILES,
    },
    Memory {
        name: "memory.high of the cgroup",
        limit: "memory.high",
        used: "memory.current",
        reclaimable: V2_FILES,
    },
    Memory {
        name: "memory.limit_in_bytes of the cgroup",
        limit: "memory.limit_in_bytes",
        used: "memory.usage_in_bytes",
        reclaimable: V1_FILES,
    },
    Memory {
        name: "memory.kmem.limit_in_bytes of the cgroup",
        limit: "memory.kmem.limit_in_bytes",
        used: "memory.kmem.usage_in_bytes",
        reclaimable: &[],
    },
];

impl Trees<'_> {
    /// How many threads more there may be.
    pub(super) fn threads(&self) -> Option<u64> {
        let room = |directory: PathBuf| {
            let max = number(&directory.join("pids.max"))?;
            Some(max.saturating_sub(number(&directory.join("pids.current")).unwrap_or(0)))
        };
        self.directories("pids").into_iter().filter_map(room).min()
    }

    /// How many bytes of memory more there may be, and by which limit.
    pub(super) fn memory(&self) -> Option<(u64, &'static str)> {
        let rooms = |directory: PathBuf| {
            MEMORY.iter().filter_map(move |memory| {
                let limit = number(&directory.join(memory.limit))?;
                Some((limit.saturating_sub(memory.used(&directory)), memory.name))
            })
        };
        let directories = self.directories("memory").into_iter();
        directories.flat_map(rooms).min_by_key(|(room, _)| *room)
    }

    /// The groups of this process that `controller` may bound, each below the next.
    fn directories(&self, controller: &str) -> Vec<PathBuf> {
        let membership = usage::text(&self.proc.join("self/cgroup"));
        let mut found = Vec::new();
        for line in membership.lines() {
            // "hierarchy:controllers:path", proc(5).
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
                continue;
            };
            let tops = match controllers {
                // Beside old hierarchies systemd mounts the unified one below.
                "" => vec![self.cgroups.to_owned(), self.cgroups.join("unified")],
                _ if controllers.split(',').any(|name| name == controller) => {
                    vec![self.cgroups.join(controller)]
                }
                _ => continue,
            };
            for top in tops {
                let own = top.join(path.trim_start_matches('/'));
                let up = own.ancestors();
                let within = up.take_while(|directory| directory.starts_with(&top));
                found.extend(within.map(Path::to_owned));
            }
        }
        found
    }
}

impl Memory {
    /// What is used in a group and cannot be taken back.
    fn used(&self, directory: &Path) -> u64 {
        let used = number(&directory.join(self.used)).unwrap_or(0);
        if self.reclaimable.is_empty() {
            return used;
        }
        let stat = fs::read_to_string(directory.join("memory.stat")).unwrap_or_default();
        let value = |line: &str| {
            let mut values = self.reclaimable.iter();
            values.find_map(|name| line.strip_prefix(name)?.trim().parse::<u64>().ok())
        };
        let files = stat.lines().filter_map(value);
        used.saturating_sub(files.fold(0, u64::saturating_add))
    }
}

/// A file that holds one number; `max` means that there is no limit.
pub(super) fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use crate::sys::limits::tests::Directory;

    type Files<'a> = &'a [(&'a str, &'a str)];
    type Room<'a> = Option<(u64, &'a str)>;

    #[test]
    fn pids_max_is_the_smallest_room_on_the_way_to_the_root() {
        let root = Directory::new("cgroup-pids");
        let cases: [(&str, Files<'_>, Option<u64>); 11] = [
            // (membership, files, room)
            (
                "0::/a/b\n",
                &[
                    ("a/b/pids.max", "max"),
                    ("a/pids.max", "100"),
                    ("a/pids.current", "40"),
                ],
                Some(60),
            ),
            (
                "0::/a/b\n",
                &[("a/b/pids.max", "7"), ("a/pids.max", "100")],
                Some(7),
            ),
            ("0::/a\n", &[("a/pids.max", "max")], None),
            ("0::/\n", &[], None),
            (
                "5:cpu:/a\n4:misc,pids:/c\n",
                &[("pids/c/pids.max", "12")],
                Some(12),
            ),
            ("rubbish\n::\n", &[], None),
            // What others of the same cgroup use may be more than it allows now.
            (
                "0::/a\n",
                &[("a/pids.max", "5"), ("a/pids.current", "9")],
                Some(0),
            ),
            // Of the root, too.
            ("0::/a\n", &[("pids.max", "9")], Some(9)),
            (
                "4:pids:/c\n0::/a\n",
                &[("pids/c/pids.max", "12"), ("a/pids.max", "11")],
                Some(11),
            ),
            // The unified hierarchy beside old ones.
            ("0::/a\n", &[("unified/a/pids.max", "8")], Some(8)),
            // A path that leads out of the mount is not followed.
            ("0::/../..\n", &[], None),
        ];
        for (index, (membership, files, room)) in cases.into_iter().enumerate() {
            root.with(index, membership, files, |trees| {
                assert_eq!(trees.threads(), room, "{membership:?}");
            });
        }
    }

    #[test]
    fn memory_is_the_smallest_room_of_either_version_without_pages_of_files() {
        const MAX: &str = "memory.max of the cgroup";
        const HIGH: &str = "memory.high of the cgroup";
        const V1: &str = "memory.limit_in_bytes of the cgroup";
        const KERNEL: &str = "memory.kmem.limit_in_bytes of the cgroup";
        let root = Directory::new("cgroup-memory");
        let cases: [(&str, Files<'_>, Room<'_>); 8] = [
            ("0::/a\n", &[("a/memory.max", "max\n")], None),
            (
                "0::/a\n",
                &[("a/memory.max", "1000\n"), ("a/memory.current", "300\n")],
                Some((700, MAX)),
            ),
            (
                "0::/a\n",
                &[("a/memory.max", "1000"), ("a/memory.high", "900")],
                Some((900, HIGH)),
            ),
            (
                "0::/a/b\n",
                &[
                    ("a/b/memory.max", "1000"),
                    ("a/memory.max", "1500"),
                    ("a/memory.current", "900"),
                ],
                Some((600, MAX)),
            ),
            // Pages of files are given back, whatever is active of them; others are not.
            (
                "0::/a\n",
                &[
                    ("a/memory.max", "1000"),
                    ("a/memory.current", "950"),
                    (
                        "a/memory.stat",
                        "anon 400\nfile 550\ninactive_anon 400\ninactive_file 300\nactive_file 200\nshmem 50\n",
                    ),
                ],
                Some((550, MAX)),
            ),
            (
                "4:memory:/c\n0::/\n",
                &[
                    ("memory/memory.limit_in_bytes", "9223372036854771712"),
                    ("memory/c/memory.limit_in_bytes", "1000"),
                    ("memory/c/memory.usage_in_bytes", "600"),
                    (
                        "memory/c/memory.stat",
                        "inactive_file 9\ntotal_inactive_file 100\ntotal_active_file 50\n",
                    ),
                ],
                Some((550, V1)),
            ),
            (
                "4:memory:/c\n",
                &[
                    ("memory/c/memory.limit_in_bytes", "1000"),
                    ("memory/c/memory.kmem.limit_in_bytes", "500"),
                    ("memory/c/memory.kmem.usage_in_bytes", "100"),
                ],
                Some((400, KERNEL)),
            ),
            // More is used than may be: it was lowered.
            (
                "0::/a\n",
                &[("a/memory.max", "10"), ("a/memory.current", "20")],
                Some((0, MAX)),
            ),
        ];
        for (index, (membership, files, room)) in cases.into_iter().enumerate() {
            root.with(index, membership, files, |trees| {
                assert_eq!(trees.memory(), room, "{files:?}");
            });
        }
    }
}
