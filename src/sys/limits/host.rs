//! The limits of this host and of this process, and what is in use of each: getrlimit(2), proc(5), `cgroup` for what control
//! groups leave, sysctls `vm.max_map_count` and `vm.overcommit_memory`. A limit that cannot be read does not bound.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::sys::cgroup::{Trees, number};
use crate::sys::syscall::{self, Limit, Resource};
use crate::sys::usage;

pub(super) const DESCRIPTORS: &str = "RLIMIT_NOFILE";
pub(super) const MAPPINGS: &str = "vm.max_map_count";
pub(super) const ADDRESS_SPACE: &str = "RLIMIT_AS";
pub(super) const DATA: &str = "RLIMIT_DATA";
pub(super) const COMMITTED: &str = "vm.overcommit_memory";
pub(super) const PROCESSES: &str = "RLIMIT_NPROC";
pub(super) const PROCESSES_OF_CGROUP: &str = "pids.max of the cgroup";

/// `vm.max_map_count` as the kernel sets it (DEFAULT_MAX_MAP_COUNT).
const DEFAULT_MAPPINGS: u64 = 65_530;

/// How many numbers of descriptors are tried where /proc cannot be read.
const SCANNED: u64 = 16 * 1024;

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

/// Raises the limit with `set`; returns what is in force then, and whether `set` failed.
pub(super) fn raise(
    limit: Limit,
    set: impl FnOnce(Limit) -> io::Result<()>,
) -> (u64, io::Result<()>) {
    let raised = Limit {
        soft: limit.hard,
        ..limit
    };
    match set(raised) {
        Ok(()) => (limit.hard, Ok(())),
        Err(error) => (limit.soft, Err(error)),
    }
}

fn soft(resource: Resource) -> Option<u64> {
    syscall::limit(resource).ok().map(|limit| limit.soft)
}

/// Where limits and uses are to be read.
pub(super) struct Host<'a> {
    pub(super) trees: Trees<'a>,
    pub(super) descriptors: u64,
    /// Descriptors that are open now.
    pub(super) open: u64,
    /// RLIMIT_NPROC.
    pub(super) processes: Option<u64>,
    /// Counts the threads of other processes of the same user.
    pub(super) others: fn() -> u64,
    /// Of RLIMIT_AS and of RLIMIT_DATA: the limit, and what is used of it.
    pub(super) address_space: [(Option<u64>, u64); 2],
}

impl Host<'_> {
    /// This host, if the process may have this many descriptors.
    pub(super) fn this(descriptors: u64) -> Self {
        let [all, data] = usage::address_space();
        Self {
            trees: Trees {
                proc: Path::new("/proc"),
                cgroups: Path::new("/sys/fs/cgroup"),
            },
            descriptors,
            open: usage::open_descriptors()
                .unwrap_or_else(|| syscall::count_open(descriptors.min(SCANNED))),
            processes: soft(Resource::Threads),
            others: others_threads,
            address_space: [
                (soft(Resource::AddressSpace), all),
                (soft(Resource::Data), data),
            ],
        }
    }

    fn kernel(&self, name: &str) -> Option<u64> {
        number(&self.trees.proc.join("sys").join(name))
    }

    /// The limit on mappings, which is in force even if it cannot be read.
    pub(super) fn mappings(&self) -> u64 {
        self.kernel("vm/max_map_count").unwrap_or(DEFAULT_MAPPINGS)
    }

    /// How many more threads there may be once `to_start` more than the `running` ones have started, by each limit.
    ///
    /// The threads of other processes count for RLIMIT_NPROC alone. To look at all processes takes long, so that is done
    /// only if the room without them `is_small`.
    pub(super) fn threads(
        &self,
        running: u64,
        to_start: u64,
        is_small: impl Fn(u64) -> bool,
    ) -> impl Iterator<Item = (&'static str, u64)> {
        let all = self.threads_of_all();
        let of_all = |limit: Option<u64>| Some(limit?.saturating_sub(all));
        let of_user = self.processes.map(|limit| {
            let room = limit.saturating_sub(running);
            let counts = is_small(room.saturating_sub(to_start));
            room.saturating_sub(if counts { (self.others)() } else { 0 })
        });
        let rooms = [
            (PROCESSES_OF_CGROUP, self.trees.threads()),
            (
                "kernel.threads-max",
                of_all(self.kernel("kernel/threads-max")),
            ),
            ("kernel.pid_max", of_all(self.kernel("kernel/pid_max"))),
            (PROCESSES, of_user),
        ];
        let rooms = rooms.into_iter();
        rooms.filter_map(move |(name, room)| Some((name, room?.saturating_sub(to_start))))
    }

    /// All threads of the host, as /proc/loadavg has them.
    fn threads_of_all(&self) -> u64 {
        let loadavg = fs::read_to_string(self.trees.proc.join("loadavg")).unwrap_or_default();
        let count = loadavg.split(['/', ' ']).nth(4);
        count.and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// How many more bytes of address space there may be, by each limit.
    pub(super) fn address_space(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let [all, data] = self.address_space.map(|(limit, used)| {
            // Unlimited.
            let limit = limit.filter(|limit| *limit < u64::MAX)?;
            Some(limit.saturating_sub(used))
        });
        let rooms = [
            (ADDRESS_SPACE, all),
            (DATA, data),
            (COMMITTED, self.committable()),
        ];
        let rooms = rooms.into_iter();
        rooms.filter_map(|(name, room)| Some((name, room?)))
    }

    /// What may still be promised to all processes of a host that promises no more than it has (proc(5),
    /// `vm.overcommit_memory` of 2).
    fn committable(&self) -> Option<u64> {
        self.kernel("vm/overcommit_memory")
            .filter(|mode| *mode == 2)?;
        let text = fs::read_to_string(self.trees.proc.join("meminfo")).ok()?;
        let value = |name| usage::kibibytes(&text, name);
        Some(value("CommitLimit:")?.saturating_sub(value("Committed_AS:")?))
    }
}

/// Counts the threads of other processes with the same real user, as RLIMIT_NPROC does, as far as /proc shows them. Root has
/// no such limit.
fn others_threads() -> u64 {
    let Ok(own) = fs::metadata("/proc/self") else {
        return 0;
    };
    let pid = std::process::id().to_string();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_process = |name: &str| name != pid && name.bytes().all(|byte| byte.is_ascii_digit());
    entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_process))
        .filter(|entry| entry.metadata().is_ok_and(|of| of.uid() == own.uid()))
        .filter_map(|entry| usage::threads(&usage::text(&entry.path().join("status"))))
        .sum()
}
