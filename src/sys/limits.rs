//! How many connections this host can bear, derived from everything that bounds a
//! program of two threads and two descriptors a connection.
//!
//! Running out of descriptors or threads is an error that one connection feels;
//! running out of memory mappings may not be: `std` aborts the whole process when one of its
//! threads cannot map its signal stack. So the smallest of all bounds becomes the cap
//! above which clients are turned away, and nothing below it is ever exceeded.
//! Sources: getrlimit(2), proc(5), cgroups(7) `pids.max`, sysctl `vm.max_map_count`.

use std::io;
use std::path::{Path, PathBuf};

use super::syscall::{self, Limit, Resource};

/// A session's two copy threads, where it has become busy; the first of them also dials.
const THREADS_PER_CONNECTION: u64 = 2;
/// The client's socket and the endpoint's.
const DESCRIPTORS_PER_CONNECTION: u64 = 2;
/// A thread takes a stack, and a guard page that counts as a mapping of its own; one of `std`, as
/// a session has beside its first while an endpoint proves who it is, a signal stack with
/// another guard page, too. More than two threads that copy.
const MAPPINGS_PER_CONNECTION: u64 = 2 + 4;
/// Listeners, logs, monitor, resolver, dials that were started beside the first, and, for
/// one half, pipes.
const SPARE_DESCRIPTORS: u64 = 64;
/// Both ends of a pipe.
const DESCRIPTORS_PER_PIPE: u64 = 2;
/// Accept, log, access log, monitor, resolver and watchdog threads.
const SPARE_THREADS: u64 = 32;
/// Libraries, heap arenas and the threads above.
const SPARE_MAPPINGS: u64 = 1024;

/// The most connections that can be served, and what sets that bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub(crate) connections: usize,
    /// The name of the limit, for the operator who wants more.
    pub(crate) bounded_by: &'static str,
    /// How many pipes may be open beside the connections.
    pub(crate) pipes: usize,
}

/// Raises the soft limit of descriptors to the hard one, if it may, and returns what is in
/// force.
pub(crate) fn raise_descriptors() -> (u64, io::Result<()>) {
    let limit = match syscall::limit(Resource::Descriptors) {
        Ok(limit) => limit,
        // The soft limit that Linux starts with.
        Err(error) => return (1024, Err(error)),
    };
    let raised = Limit {
        soft: limit.hard,
        ..limit
    };
    match syscall::set_limit(Resource::Descriptors, raised) {
        Ok(()) => (limit.hard, Ok(())),
        Err(error) => (limit.soft, Err(error)),
    }
}

/// `vm.max_map_count` as the kernel sets it (DEFAULT_MAX_MAP_COUNT).
const DEFAULT_MAPPINGS: u64 = 65_530;

/// What this process may use on this host. Any other limit that cannot be read does not bound.
pub(crate) fn capacity(descriptors: u64) -> Capacity {
    let proc = Path::new("/proc");
    let (connections, bounded_by) = smallest(&[
        ("RLIMIT_NOFILE", by_descriptors(descriptors)),
        (
            "RLIMIT_NPROC",
            syscall::limit(Resource::Threads)
                .ok()
                .filter(|limit| limit.soft != u64::MAX)
                .map_or(u64::MAX, |limit| by_threads(limit.soft)),
        ),
        (
            "pids.max of the cgroup",
            cgroup_pids(proc, Path::new("/sys/fs/cgroup")).map_or(u64::MAX, by_threads),
        ),
        (
            "kernel.threads-max",
            number(&proc.join("sys/kernel/threads-max")).map_or(u64::MAX, by_threads),
        ),
        (
            "kernel.pid_max",
            number(&proc.join("sys/kernel/pid_max")).map_or(u64::MAX, by_threads),
        ),
        (
            "vm.max_map_count",
            // Where it cannot be read it is in force all the same.
            by_mappings(number(&proc.join("sys/vm/max_map_count")).unwrap_or(DEFAULT_MAPPINGS)),
        ),
    ]);
    Capacity {
        connections,
        bounded_by,
        pipes: pipes(descriptors),
    }
}

fn by_descriptors(limit: u64) -> u64 {
    (limit - spare_descriptors(limit)) / DESCRIPTORS_PER_CONNECTION
}

fn spare_descriptors(limit: u64) -> u64 {
    SPARE_DESCRIPTORS.min(limit / 4)
}

/// As many as fit into one half of the spare descriptors.
fn pipes(descriptors: u64) -> usize {
    let pipes = spare_descriptors(descriptors) / 2 / DESCRIPTORS_PER_PIPE;
    usize::try_from(pipes).unwrap_or(usize::MAX)
}

fn by_threads(limit: u64) -> u64 {
    limit.saturating_sub(SPARE_THREADS.min(limit / 4)) / THREADS_PER_CONNECTION
}

fn by_mappings(limit: u64) -> u64 {
    limit.saturating_sub(SPARE_MAPPINGS) / MAPPINGS_PER_CONNECTION
}

fn smallest(bounds: &[(&'static str, u64)]) -> (usize, &'static str) {
    let (bounded_by, connections) = bounds
        .iter()
        .copied()
        .min_by_key(|(_, connections)| *connections)
        .unwrap_or(("nothing", u64::MAX));
    // At least one: a host that bears less fails in a way that the log explains.
    let connections = usize::try_from(connections).unwrap_or(usize::MAX).max(1);
    (connections, bounded_by)
}

fn number(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The smallest room that a `pids.max` leaves, from the process's own cgroup up to the
/// root, in the unified hierarchy or the `pids` controller of the old one.
fn cgroup_pids(proc: &Path, mount: &Path) -> Option<u64> {
    let membership = std::fs::read_to_string(proc.join("self/cgroup")).ok()?;
    let room = |directory: &Path| {
        let max = number(&directory.join("pids.max"))?;
        // What others of the same cgroup use is not ours to take.
        Some(max.saturating_sub(number(&directory.join("pids.current")).unwrap_or(0)))
    };
    membership
        .lines()
        .filter_map(|line| {
            // "hierarchy:controllers:path", proc(5).
            let mut fields = line.splitn(3, ':').skip(1);
            let controllers = fields.next()?;
            let path = fields.next()?.trim_start_matches('/');
            let base = match controllers {
                "" => mount.to_path_buf(),
                _ if controllers.split(',').any(|name| name == "pids") => mount.join("pids"),
                _ => return None,
            };
            let top = base.clone();
            let own: PathBuf = base.join(path);
            own.ancestors()
                .take_while(|directory| directory.starts_with(&top))
                .filter_map(room)
                .min()
        })
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn each_bound_counts_what_a_connection_takes() {
        assert_eq!((by_descriptors(20_000), pipes(20_000)), (9_968, 16));
        assert_eq!((by_descriptors(64), pipes(64)), (24, 4));
        assert_eq!((by_descriptors(3), pipes(3)), (1, 0));
        assert_eq!(by_threads(4_096), 2_032);
        // The default of Linux.
        assert_eq!(by_mappings(65_530), 10_751);
        assert_eq!(by_mappings(100), 0);
    }

    /// As many sessions as may be can meet an endpoint that has to prove who it is, and each
    /// has a thread of `std` for it then.
    #[test]
    fn a_session_that_vets_an_endpoint_takes_no_more_mappings_than_counted() {
        const SESSIONS: usize = 100;
        let mappings = || {
            fs::read_to_string("/proc/self/maps")
                .unwrap()
                .lines()
                .count()
        };
        let barrier = std::sync::Arc::new(std::sync::Barrier::new(SESSIONS + 1));
        let before = mappings();
        for _ in 0..SESSIONS {
            let barrier = std::sync::Arc::clone(&barrier);
            let session = move || {
                std::thread::scope(|scope| {
                    let vet = std::thread::Builder::new().spawn_scoped(scope, || {
                        barrier.wait();
                        barrier.wait();
                    });
                    vet.unwrap();
                });
            };
            syscall::start_thread(64 * 1024, session).unwrap();
        }
        barrier.wait();
        let taken = u64::try_from(mappings() - before).unwrap();
        barrier.wait();
        let connections = by_mappings(taken + SPARE_MAPPINGS);
        // Some are heap arenas, or other tests'.
        assert!(connections <= SESSIONS as u64 * 3 / 2, "{taken}");
    }

    #[test]
    fn the_smallest_bound_wins_and_is_named() {
        assert_eq!(smallest(&[("a", 10), ("b", 3), ("c", u64::MAX)]), (3, "b"));
        assert_eq!(smallest(&[("a", 0)]), (1, "a"));
    }

    #[test]
    fn pids_max_is_the_smallest_room_on_the_way_to_the_root() {
        let root = std::env::temp_dir().join(format!("etcd-gateway-cgroup-{}", std::process::id()));
        let cases = [
            // (membership, files, room)
            (
                "0::/a/b\n",
                &[
                    ("a/b/pids.max", "max"),
                    ("a/pids.max", "100"),
                    ("a/pids.current", "40"),
                ][..],
                Some(60),
            ),
            (
                "0::/a/b\n",
                &[("a/b/pids.max", "7"), ("a/pids.max", "100")][..],
                Some(7),
            ),
            ("0::/a\n", &[("a/pids.max", "max")][..], None),
            ("0::/\n", &[][..], None),
            (
                "5:cpu:/a\n4:misc,pids:/c\n",
                &[("pids/c/pids.max", "12")][..],
                Some(12),
            ),
            ("rubbish\n::\n", &[][..], None),
            // A path that leads out of the mount is not followed.
            ("0::/../..\n", &[][..], None),
        ];
        for (index, (membership, files, room)) in cases.into_iter().enumerate() {
            let (proc, mount) = (
                root.join(format!("{index}/proc")),
                root.join(format!("{index}/cgroup")),
            );
            fs::create_dir_all(proc.join("self")).unwrap();
            fs::create_dir_all(&mount).unwrap();
            fs::write(proc.join("self/cgroup"), membership).unwrap();
            for (name, text) in files {
                let path = mount.join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            assert_eq!(cgroup_pids(&proc, &mount), room, "{membership:?}");
        }
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn this_host_has_a_capacity() {
        let capacity = capacity(raise_descriptors().0);
        assert!(capacity.connections >= 1 && !capacity.bounded_by.is_empty());
    }
}
