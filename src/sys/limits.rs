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
/// A thread takes a stack, and a guard page that counts as a mapping of its own. Half as much again is for what
/// the heap maps.
const MAPPINGS_PER_CONNECTION: u64 = 4 + 2;
/// One third is for pipes, one sixth for dials, probes, proofs and health checks, which have slots; the rest is
/// for the sockets of the resolver, two for each lookup under way, listeners, logs and files.
const SPARE_DESCRIPTORS: u64 = 96;
/// Both ends of a pipe.
const DESCRIPTORS_PER_PIPE: u64 = 2;
/// The most slots that are of any use.
const SLOTS: u64 = 16;
/// Those that are always there (`gateway` lists them), one for each slot, and as many of the resolver.
const SPARE_THREADS: u64 = 16 + 2 * SLOTS;
/// Libraries, heap arenas and the threads above. One of `std` has a signal stack with a guard page, too.
const SPARE_MAPPINGS: u64 = 1024;

/// The most connections that can be served, and what sets that bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub(crate) connections: usize,
    /// The name of the limit, for the operator who wants more.
    pub(crate) bounded_by: &'static str,
    /// How many pipes may be open beside the connections.
    pub(crate) pipes: usize,
    /// How many dials, probes, proofs and health checks may be under way that are no client's connection.
    pub(crate) slots: usize,
}

/// Raises the soft limit of descriptors to the hard one, if it may, and returns what is in
/// force.
pub(crate) fn raise_descriptors() -> (u64, io::Result<()>) {
    let limit = match syscall::limit(Resource::Descriptors) {
        Ok(limit) => limit,
        // The soft limit that Linux starts with.
        Err(error) => return (1024, Err(error)),
    };
    raise(limit, |raised| {
        syscall::set_limit(Resource::Descriptors, raised)
    })
}

/// Has the limit raised by `set`; what is in force then, and whether `set` failed.
fn raise(limit: Limit, set: impl FnOnce(Limit) -> io::Result<()>) -> (u64, io::Result<()>) {
    let raised = Limit {
        soft: limit.hard,
        ..limit
    };
    match set(raised) {
        Ok(()) => (limit.hard, Ok(())),
        Err(error) => (limit.soft, Err(error)),
    }
}

/// `vm.max_map_count` as the kernel sets it (DEFAULT_MAX_MAP_COUNT).
const DEFAULT_MAPPINGS: u64 = 65_530;

/// What this process may use on this host. Any other limit that cannot be read does not bound.
pub(crate) fn capacity(descriptors: u64) -> Capacity {
    let threads = syscall::limit(Resource::Threads).map(|limit| limit.soft);
    let (proc, cgroups) = (Path::new("/proc"), Path::new("/sys/fs/cgroup"));
    capacity_within(descriptors, threads.ok(), proc, cgroups)
}

fn capacity_within(
    descriptors: u64,
    threads: Option<u64>,
    proc: &Path,
    cgroups: &Path,
) -> Capacity {
    let kernel = |name| number(&proc.join("sys").join(name));
    let by_threads = |limit: Option<u64>| limit.map_or(u64::MAX, by_threads);
    // Where it cannot be read it is in force all the same.
    let mappings = kernel("vm/max_map_count").unwrap_or(DEFAULT_MAPPINGS);
    let pids = cgroup_pids(proc, cgroups);
    let (connections, bounded_by) = smallest(&[
        ("RLIMIT_NOFILE", by_descriptors(descriptors)),
        ("RLIMIT_NPROC", by_threads(threads)),
        ("pids.max of the cgroup", by_threads(pids)),
        (
            "kernel.threads-max",
            by_threads(kernel("kernel/threads-max")),
        ),
        ("kernel.pid_max", by_threads(kernel("kernel/pid_max"))),
        ("vm.max_map_count", by_mappings(mappings)),
    ]);
    Capacity {
        connections,
        bounded_by,
        pipes: pipes(descriptors),
        slots: slots(descriptors),
    }
}

fn by_descriptors(limit: u64) -> u64 {
    (limit - spare_descriptors(limit)) / DESCRIPTORS_PER_CONNECTION
}

fn spare_descriptors(limit: u64) -> u64 {
    SPARE_DESCRIPTORS.min(limit / 4)
}

/// As many as fit into one third of the spare descriptors.
fn pipes(descriptors: u64) -> usize {
    let pipes = spare_descriptors(descriptors) / 3 / DESCRIPTORS_PER_PIPE;
    usize::try_from(pipes).unwrap_or(usize::MAX)
}

/// As many as fit into one sixth; two at least, or nothing would ever be found out.
fn slots(descriptors: u64) -> usize {
    let slots = (spare_descriptors(descriptors) / 6).clamp(2, SLOTS);
    usize::try_from(slots).unwrap_or(usize::MAX)
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
        // (limit, connections, pipes, slots): a quarter is spare, but no more than 96.
        let descriptors = [
            (0, 0, 0, 2),
            (1, 0, 0, 2),
            (2, 1, 0, 2),
            (4, 1, 0, 2),
            (15, 6, 0, 2),
            (24, 9, 1, 2),
            (64, 24, 2, 2),
            (255, 96, 10, 10),
            (383, 144, 15, 15),
            (384, 144, 16, 16),
            (385, 144, 16, 16),
            (386, 145, 16, 16),
            (20_000, 9_952, 16, 16),
        ];
        for (limit, connections, pipes_of_it, slots_of_it) in descriptors {
            let found = (by_descriptors(limit), pipes(limit), slots(limit));
            assert_eq!(found, (connections, pipes_of_it, slots_of_it), "{limit}");
        }
        // The same with 48.
        let threads = [
            (0, 0),
            (1, 0),
            (2, 1),
            (64, 24),
            (191, 72),
            (193, 72),
            (194, 73),
            (4_096, 2_024),
        ];
        for (limit, connections) in threads {
            assert_eq!(by_threads(limit), connections, "{limit}");
        }
        // The last but one is the default of Linux.
        let mappings = [
            (0, 0),
            (1_024, 0),
            (1_029, 0),
            (1_030, 1),
            (1_035, 1),
            (1_036, 2),
            (65_530, 10_751),
            (u64::MAX, (u64::MAX - 1_024) / 6),
        ];
        for (limit, connections) in mappings {
            assert_eq!(by_mappings(limit), connections, "{limit}");
        }
    }

    #[test]
    fn each_limit_of_the_host_bounds_by_its_name() {
        let root = Directory::new("limits");
        type Files<'a> = &'a [(&'a str, &'a str)];
        let cases: [(u64, Option<u64>, Files<'_>, u64, &str); 9] = [
            // (descriptors, threads, files of /proc, connections, bounded by)
            (20_000, None, &[], 9_952, "RLIMIT_NOFILE"),
            (20_000, Some(u64::MAX), &[], 9_952, "RLIMIT_NOFILE"),
            (50_000, None, &[], 10_751, "vm.max_map_count"),
            (20_000, Some(1_000), &[], 476, "RLIMIT_NPROC"),
            (
                20_000,
                None,
                &[("sys/kernel/threads-max", "1000\n")],
                476,
                "kernel.threads-max",
            ),
            (
                20_000,
                None,
                &[("sys/kernel/pid_max", "1000\n")],
                476,
                "kernel.pid_max",
            ),
            (
                20_000,
                None,
                &[("sys/vm/max_map_count", "4024\n")],
                500,
                "vm.max_map_count",
            ),
            (
                20_000,
                None,
                &[("sys/vm/max_map_count", "many\n")],
                9_952,
                "RLIMIT_NOFILE",
            ),
            (
                20_000,
                Some(2_000),
                &[("self/cgroup", "0::/a\n"), ("cgroup/a/pids.max", "1000")],
                476,
                "pids.max of the cgroup",
            ),
        ];
        for (index, (descriptors, threads, files, connections, bounded_by)) in
            cases.into_iter().enumerate()
        {
            let proc = root.0.join(index.to_string());
            files
                .iter()
                .for_each(|(name, text)| write(&proc.join(name), text));
            let found = capacity_within(descriptors, threads, &proc, &proc.join("cgroup"));
            let expected = Capacity {
                connections: usize::try_from(connections).unwrap(),
                bounded_by,
                pipes: 16,
                slots: 16,
            };
            assert_eq!(found, expected);
        }
    }

    /// Removed when dropped.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let name = format!("etcd-gateway-{name}-{}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_threads_of_a_session_take_no_more_mappings_than_counted() {
        const THREADS: usize = 200;
        let mappings = || {
            fs::read_to_string("/proc/self/maps")
                .unwrap()
                .lines()
                .count()
        };
        let barrier = std::sync::Arc::new(std::sync::Barrier::new(THREADS + 1));
        let before = mappings();
        for _ in 0..THREADS {
            let barrier = std::sync::Arc::clone(&barrier);
            let work = move || {
                barrier.wait();
                barrier.wait();
            };
            syscall::start_thread(64 * 1024, work).unwrap();
        }
        barrier.wait();
        let taken = u64::try_from(mappings() - before).unwrap();
        barrier.wait();
        let connections = by_mappings(taken + SPARE_MAPPINGS);
        // Some are heap arenas, or other tests'.
        assert!(connections <= THREADS as u64 / 2, "{taken}");
    }

    #[test]
    fn the_smallest_bound_wins_and_is_named() {
        assert_eq!(smallest(&[("a", 10), ("b", 3), ("c", u64::MAX)]), (3, "b"));
        assert_eq!(smallest(&[("a", 0)]), (1, "a"));
    }

    #[test]
    fn pids_max_is_the_smallest_room_on_the_way_to_the_root() {
        let root = Directory::new("cgroup");
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
            // What others of the same cgroup use may be more than it allows now.
            (
                "0::/a\n",
                &[("a/pids.max", "5"), ("a/pids.current", "9")][..],
                Some(0),
            ),
            // Of the root, too.
            ("0::/a\n", &[("pids.max", "9")][..], Some(9)),
            (
                "4:pids:/c\n0::/a\n",
                &[("pids/c/pids.max", "12"), ("a/pids.max", "11")][..],
                Some(11),
            ),
            // A path that leads out of the mount is not followed.
            ("0::/../..\n", &[][..], None),
        ];
        for (index, (membership, files, room)) in cases.into_iter().enumerate() {
            let [proc, mount] =
                ["proc", "cgroup"].map(|part| root.0.join(format!("{index}/{part}")));
            write(&proc.join("self/cgroup"), membership);
            files
                .iter()
                .for_each(|(name, text)| write(&mount.join(name), text));
            assert_eq!(cgroup_pids(&proc, &mount), room, "{membership:?}");
        }
    }

    #[test]
    fn the_soft_limit_is_in_force_where_it_cannot_be_raised() {
        let limit = Limit { soft: 10, hard: 99 };
        for (set, in_force) in [(Ok(()), 99), (Err(io::ErrorKind::PermissionDenied), 10)] {
            let (found, raised) = raise(limit, |raised| {
                assert_eq!((raised.soft, raised.hard), (99, 99));
                set.map_err(io::Error::from)
            });
            assert_eq!((found, raised.is_ok()), (in_force, set.is_ok()));
        }
    }

    #[test]
    fn this_host_has_a_capacity() {
        let (descriptors, raised) = raise_descriptors();
        raised.unwrap();
        let limit = syscall::limit(Resource::Descriptors).unwrap();
        assert_eq!((limit.soft, descriptors), (limit.hard, limit.hard));
        let capacity = capacity(descriptors);
        assert!(capacity.connections >= 1 && !capacity.bounded_by.is_empty());
    }
}
