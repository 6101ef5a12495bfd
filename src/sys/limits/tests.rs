//! Tests of what bounds connections, on hosts that are written down in files.

use std::path::{Path, PathBuf};
use std::{fs, io};

use super::capacity::*;
use super::host::*;
use crate::sys::cgroup::Trees;
use crate::sys::syscall::{self, Limit, Resource};
use crate::sys::usage;

/// Of a list of addresses on one listener.
const NEEDS: Needs = Needs {
    descriptors: 2,
    threads: 7,
    running: 3,
    slots_have_threads: false,
    resolves: false,
    stack: 64 * 1024,
};
const EVERYTHING: Needs = Needs {
    slots_have_threads: true,
    resolves: true,
    ..NEEDS
};

/// Removed when dropped.
pub(in crate::sys) struct Directory(PathBuf);

impl Directory {
    pub(in crate::sys) fn new(name: &str) -> Self {
        let name = format!("etcd-gateway-{name}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    /// A host of its own with this membership of cgroups and these files below their mount.
    pub(in crate::sys) fn with(
        &self,
        index: usize,
        membership: &str,
        files: &[(&str, &str)],
        look: impl FnOnce(Trees<'_>),
    ) {
        let [proc, cgroups] = ["proc", "cgroup"].map(|part| self.0.join(format!("{index}/{part}")));
        write(&proc.join("self/cgroup"), membership);
        for (name, text) in files {
            write(&cgroups.join(name), text);
        }
        look(Trees {
            proc: &proc,
            cgroups: &cgroups,
        });
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(in crate::sys) fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A host that bounds by descriptors alone.
fn host(trees: Trees<'_>) -> Host<'_> {
    Host {
        trees,
        descriptors: 20_000,
        open: 8,
        processes: None,
        others: || 0,
        address_space: [(None, 0), (Some(u64::MAX), 0)],
    }
}

/// Nothing can be read there.
fn nowhere() -> Trees<'static> {
    let nowhere = Path::new("/nowhere");
    Trees {
        proc: nowhere,
        cgroups: nowhere,
    }
}

#[test]
fn descriptors_are_shared_out_to_the_last() {
    // Eight are open, two are needed: (limit, connections, pipes, slots, lookups, needed).
    for (needs, limit, expected) in [
        (NEEDS, 12, Err(13)),
        (NEEDS, 13, Ok((1, 0, 1, 16))),
        (NEEDS, 15, Ok((2, 0, 1, 16))),
        (NEEDS, 16, Ok((2, 0, 1, 16))),
        (NEEDS, 64, Ok((20, 4, 4, 16))),
        (NEEDS, 202, Ok((72, 16, 16, 16))),
        (NEEDS, 256, Ok((99, 16, 16, 16))),
        (NEEDS, 20_000, Ok((9_971, 16, 16, 16))),
        (EVERYTHING, 14, Err(15)),
        (EVERYTHING, 15, Ok((1, 0, 1, 1))),
        (EVERYTHING, 64, Ok((20, 3, 2, 2))),
        (EVERYTHING, 20_000, Ok((9_955, 16, 16, 16))),
    ] {
        let host = Host {
            descriptors: limit,
            ..host(nowhere())
        };
        let found = host.by_descriptors(&needs);
        let found = found.map(|(bound, spare)| (bound, spare.pipes, spare.slots, spare.lookups));
        let expected = expected.map_err(|needed| Shortage {
            limit,
            open: 8,
            needed,
        });
        assert_eq!(found, expected, "{limit} {needs:?}");
        if let Ok((connections, spare)) = host.by_descriptors(&needs) {
            let lookups = DESCRIPTORS_PER_LOOKUP * spare.lookups * u64::from(needs.resolves);
            let taken = 8 + needs.descriptors + spare.slots + 2 * spare.pipes + lookups;
            assert!(taken + 2 * connections <= limit, "{limit} {needs:?}");
        }
    }
}

#[test]
fn threads_are_shared_out_to_the_last() {
    // (room, connections, slots, lookups)
    for (needs, room, expected) in [
        (NEEDS, 0, (0, 16, 1)),
        (NEEDS, 1, (0, 16, 1)),
        (NEEDS, 2, (1, 16, 1)),
        (NEEDS, 1_001, (500, 16, 1)),
        (EVERYTHING, 0, (0, 1, 1)),
        (EVERYTHING, 2, (0, 1, 1)),
        (EVERYTHING, 3, (1, 1, 1)),
        (EVERYTHING, 64, (24, 8, 8)),
        (EVERYTHING, 124, (46, 16, 16)),
        (EVERYTHING, 1_001, (485, 16, 16)),
    ] {
        let (connections, spare) = by_threads(room, &needs);
        assert_eq!(
            (connections, spare.slots, spare.lookups),
            expected,
            "{room}"
        );
    }
}

#[test]
fn memory_and_mappings_bound_by_what_a_connection_takes() {
    // The last but one is the default of Linux.
    for (limit, connections) in [
        (0, 0),
        (1_024, 0),
        (1_029, 0),
        (1_030, 1),
        (1_035, 1),
        (1_036, 2),
        (65_530, 10_751),
        (u64::MAX, (u64::MAX - 1_024) / 6),
    ] {
        assert_eq!(by_mappings(limit), connections, "{limit}");
    }
    // (room, connections, buffers of bulk)
    for (room, expected) in [
        (0, (0, 0)),
        (128 * KIB, (1, 0)),
        (8 * MIB, (64, 16)),
        (16 * MIB, (128, 32)),
        (64 * MIB, (665, 128)),
    ] {
        assert_eq!(by_memory(room), expected, "{room}");
        let (connections, buffers) = expected;
        assert!(connections * MEMORY_PER_CONNECTION + buffers * BUFFER <= room);
    }
    for (needs, room, expected) in [
        (NEEDS, 0, (0, 0)),
        (NEEDS, 4 * STD_THREAD, (0, 0)),
        (NEEDS, 4 * STD_THREAD + 16 * MIB, (71, 32)),
        (EVERYTHING, 4 * STD_THREAD + 256 * MIB, (1_137, 512)),
    ] {
        assert_eq!(by_address_space(room, &needs), expected, "{room}");
    }
}

#[test]
fn each_limit_of_the_host_bounds_by_its_name() {
    let root = Directory::new("limits");
    type Files<'a> = &'a [(&'a str, &'a str)];
    type Change = fn(&mut Host<'_>);
    let cases: [(Files<'_>, Change, usize, &str); 17] = [
        // (files, other limits, connections, bounded by)
        (&[], |_| (), 9_971, "RLIMIT_NOFILE"),
        (&[], |host| host.open = 1_008, 9_471, "RLIMIT_NOFILE"),
        (
            &[],
            |host| host.descriptors = 50_000,
            10_751,
            "vm.max_map_count",
        ),
        (
            &[],
            |host| host.processes = Some(u64::MAX),
            9_971,
            "RLIMIT_NOFILE",
        ),
        (
            &[],
            |host| host.processes = Some(1_007),
            500,
            "RLIMIT_NPROC",
        ),
        (
            &[],
            |host| (host.processes, host.others) = (Some(1_007), || 100),
            450,
            "RLIMIT_NPROC",
        ),
        // They are not even counted where they cannot matter.
        (
            &[],
            |host| (host.processes, host.others) = (Some(100_000), || panic!("counted")),
            9_971,
            "RLIMIT_NOFILE",
        ),
        // Never none: what cannot be started fails the start.
        (&[], |host| host.processes = Some(3), 1, "RLIMIT_NPROC"),
        (
            &[
                ("proc/sys/kernel/threads-max", "1104\n"),
                ("proc/loadavg", "0.00 0.01 0.05 1/100 4711\n"),
            ],
            |_| (),
            500,
            "kernel.threads-max",
        ),
        (
            &[
                ("proc/sys/kernel/pid_max", "1104\n"),
                ("proc/loadavg", "0.00 0.01 0.05 1/100 4711\n"),
            ],
            |_| (),
            500,
            "kernel.pid_max",
        ),
        (
            &[("proc/sys/vm/max_map_count", "4024\n")],
            |_| (),
            500,
            "vm.max_map_count",
        ),
        (
            &[("proc/sys/vm/max_map_count", "many\n")],
            |_| (),
            9_971,
            "RLIMIT_NOFILE",
        ),
        (
            &[
                ("cgroup/a/pids.max", "1007\n"),
                ("cgroup/a/pids.current", "3\n"),
            ],
            |_| (),
            500,
            "pids.max of the cgroup",
        ),
        (
            &[("cgroup/a/memory.max", "67108864\n")],
            |_| (),
            665,
            "memory.max of the cgroup",
        ),
        (
            &[],
            |host| host.address_space[0] = (Some(64 * MIB + 4 * STD_THREAD), 48 * MIB),
            71,
            "RLIMIT_AS",
        ),
        (
            &[],
            |host| host.address_space[1] = (Some(64 * MIB + 4 * STD_THREAD), 48 * MIB),
            71,
            "RLIMIT_DATA",
        ),
        (
            &[
                ("proc/sys/vm/overcommit_memory", "2\n"),
                (
                    "proc/meminfo",
                    "MemTotal: 9 kB\nCommitLimit:   65536 kB\nCommitted_AS:   40704 kB\n",
                ),
            ],
            |_| (),
            71,
            "vm.overcommit_memory",
        ),
    ];
    for (index, (files, change, connections, bounded_by)) in cases.into_iter().enumerate() {
        let place = root.0.join(index.to_string());
        let [proc, cgroups] = ["proc", "cgroup"].map(|part| place.join(part));
        write(&proc.join("self/cgroup"), "0::/a\n");
        for (name, text) in files {
            write(&place.join(name), text);
        }
        let mut host = host(Trees {
            proc: &proc,
            cgroups: &cgroups,
        });
        change(&mut host);
        let found = host.capacity(&NEEDS).unwrap();
        assert_eq!(
            (found.connections, found.bounded_by),
            (connections, bounded_by),
            "{files:?}"
        );
        assert_eq!((found.pipes, found.slots), (16, 16), "{files:?}");
        let scarce = ["memory", "RLIMIT_AS", "RLIMIT_DATA", "vm.over"];
        let scarce = scarce.iter().any(|name| bounded_by.starts_with(name));
        assert_eq!(found.buffers < 200, scarce, "{files:?}");
    }
}

#[test]
fn the_limit_that_a_thread_has_met_is_told_from_the_others() {
    type Change = fn(&mut Host<'_>);
    let cases: [(Change, Option<&str>); 7] = [
        (|_| (), None),
        (|host| host.processes = Some(6), None),
        (|host| host.processes = Some(5), Some("RLIMIT_NPROC")),
        (
            |host| (host.processes, host.others) = (Some(9), || 4),
            Some("RLIMIT_NPROC"),
        ),
        (
            |host| host.address_space[0] = (Some(10 * MIB), 8 * MIB),
            Some("RLIMIT_AS"),
        ),
        (
            |host| host.address_space[1] = (Some(10 * MIB), 8 * MIB),
            Some("RLIMIT_DATA"),
        ),
        (
            |host| host.address_space[1] = (Some(10 * MIB), 7 * MIB),
            None,
        ),
    ];
    for (change, expected) in cases {
        let mut host = host(nowhere());
        change(&mut host);
        let reached = host.reached_by(5, 1, STD_THREAD);
        let name = reached.map(|reached| reached.name.split(',').next().unwrap_or_default());
        assert_eq!(name, expected);
    }
    // The threads of a session are two, and small.
    let host = Host {
        processes: Some(6),
        address_space: [(Some(MIB), 900 * KIB), (None, 0)],
        ..host(nowhere())
    };
    let name = |bytes| host.reached_by(5, 2, bytes).map(|reached| reached.name);
    assert!(name(100 * KIB).is_some_and(|name| name.starts_with("RLIMIT_NPROC")));
    assert!(name(136 * KIB).is_some_and(|name| name.starts_with("RLIMIT_AS")));
}

#[test]
fn descriptors_are_counted_without_proc_as_with_it() {
    // Other tests open and close some all the time.
    let agree = || usage::open_descriptors() == Some(syscall::count_open(4_096));
    assert!((0..10_000).any(|_| agree()));
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
    assert_eq!(smallest(&[]), (u64::MAX, "nothing"));
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
    let capacity = capacity(descriptors, &NEEDS).unwrap();
    assert!(capacity.connections >= 1 && !capacity.bounded_by.is_empty());
}
