//! How many connections this host can bear, derived from everything that bounds a
//! program with up to two threads, and two descriptors, per connection.
//!
//! Running out of descriptors or threads is an error that one connection feels; running out of memory or
//! of memory mappings ends the process: the kernel kills it, or `std` aborts it. So the smallest of all bounds
//! becomes the cap above which clients are rejected, and nothing below it is ever exceeded. What is in
//! use already, here and by others that a limit counts, is subtracted, and so is what the gateway itself
//! takes with its settings ([`Needs`]).
//! Sources: getrlimit(2), proc(5), `cgroup` for what control groups leave, sysctls `vm.max_map_count` and
//! `vm.overcommit_memory`.

mod met;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::cgroup::{Trees, number};
use super::syscall::{self, Limit, Resource};
use super::usage;
pub(crate) use met::{Met, met_by_a_session, met_by_a_thread};

/// A session's two copy threads, where it has become busy; the first of them also dials.
const THREADS_PER_CONNECTION: u64 = 2;
/// The client's socket and the endpoint's.
const DESCRIPTORS_PER_CONNECTION: u64 = 2;
/// A thread takes a stack, and a guard page that counts as a mapping of its own. Half as much again is for
/// mappings of the heap.
const MAPPINGS_PER_CONNECTION: u64 = 4 + 2;
/// Libraries, heap arenas and the gateway's threads. One of `std` has a signal stack with a guard page, too.
const SPARE_MAPPINGS: u64 = 1024;

/// Bytes of memory, the kernel's included, of a connection with both threads, messages and readers that are
/// stuck, without its [buffers of bulk](BUFFER). Measured on x86_64 with cgroups of version 1: 38 KiB with one
/// thread, 72 with both; `tests/suite/memory.rs` has them all busy. The rest is for socket buffers, which
/// version 2 counts.
const MEMORY_PER_CONNECTION: u64 = 80 * KIB;
/// What the gateway may grow by: queues of logs, answers, proofs, tables, idle heaps.
const SPARE_MEMORY: u64 = 4 * MIB;
/// Bytes that the heap and the two threads use beside their stacks.
const HEAP_PER_CONNECTION: u64 = 8 * KIB;
/// A page of another stack, which touching ends a thread that has used up its own; 64 KiB on some hosts.
const GUARD: u64 = 4 * KIB;
/// Address space of a thread of `std`: 2 MiB of stack, its guard and its signal stack.
const STD_THREAD: u64 = 2 * MIB + 64 * KIB;
/// A buffer for bulk that has no pipe. One eighth of the memory is for these.
const BUFFER: u64 = 64 * KIB;
const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The most pipes and slots that are of any use, and the most lookups at a time.
const PIPES: u64 = 16;
const SLOTS: u64 = 16;
const LOOKUPS: u64 = 16;
/// Both ends.
const DESCRIPTORS_PER_PIPE: u64 = 2;
/// A query over UDP, and what is asked again over TCP.
const DESCRIPTORS_PER_LOOKUP: u64 = 2;

/// What a gateway takes however many clients it has, by its settings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needs {
    /// Descriptors that it will open, beside those that are open now.
    pub(crate) descriptors: u64,
    /// Threads that run when it serves.
    pub(crate) threads: u64,
    /// How many of them run now.
    pub(crate) running: u64,
    /// Endpoints have to prove who they are, or are asked how they are: in threads, one a slot.
    pub(crate) slots_have_threads: bool,
    /// Names are looked up, the second and further ones at a time in threads of their own.
    pub(crate) resolves: bool,
    /// Bytes of stack of a session's thread.
    pub(crate) stack: usize,
}

/// The most connections that can be served, and what sets that bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub(crate) connections: usize,
    /// The name of the limit, for the operator who wants more.
    pub(crate) bounded_by: &'static str,
    /// Whether others take of what the limit counts, such as the other processes of a service.
    pub(crate) is_shared: bool,
    /// How many pipes may be open beside the connections.
    pub(crate) pipes: usize,
    /// How many buffers of bulk there may be.
    pub(crate) buffers: usize,
    /// How many dials, probes, proofs and health checks may be under way that are no client's connection.
    pub(crate) slots: usize,
    /// How many names may be looked up, or endpoints asked for proofs, at the same time.
    pub(crate) lookups: usize,
}

/// The limit on descriptors does not even let one client be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shortage {
    pub(crate) limit: u64,
    pub(crate) open: u64,
    pub(crate) needed: u64,
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

fn soft(resource: Resource) -> Option<u64> {
    syscall::limit(resource).ok().map(|limit| limit.soft)
}

/// `vm.max_map_count` as the kernel sets it (DEFAULT_MAX_MAP_COUNT).
const DEFAULT_MAPPINGS: u64 = 65_530;

const NOFILE: &str = "RLIMIT_NOFILE";
const MAX_MAP_COUNT: &str = "vm.max_map_count";
const ADDRESS_SPACE: &str = "RLIMIT_AS";
const DATA: &str = "RLIMIT_DATA";
/// Limits that each process has for itself.
const OF_ONE_PROCESS: [&str; 4] = [NOFILE, MAX_MAP_COUNT, ADDRESS_SPACE, DATA];

/// How many connections this process can have on this host, with so many `descriptors`. A limit that cannot be
/// read does not bound.
///
/// # Errors
/// If there is no descriptor for even one client.
pub(crate) fn capacity(descriptors: u64, needs: &Needs) -> Result<Capacity, Shortage> {
    Host::this(descriptors).capacity(needs)
}

/// Where limits and uses are to be read.
struct Host<'a> {
    trees: Trees<'a>,
    descriptors: u64,
    open: u64,
    processes: Option<u64>,
    /// Of threads of the same user that are not ours.
    others: fn() -> u64,
    /// Of RLIMIT_AS and of RLIMIT_DATA: the limit, and what is used of it.
    address_space: [(Option<u64>, u64); 2],
}

/// What is shared out beside connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Spare {
    pipes: u64,
    slots: u64,
    lookups: u64,
}

impl Host<'_> {
    fn this(descriptors: u64) -> Self {
        let address_space = usage::address_space();
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
                (soft(Resource::AddressSpace), address_space.all),
                (soft(Resource::Data), address_space.data),
            ],
        }
    }

    fn kernel(&self, name: &str) -> Option<u64> {
        number(&self.trees.proc.join("sys").join(name))
    }

    fn capacity(&self, needs: &Needs) -> Result<Capacity, Shortage> {
        let (connections, spare) = self.by_descriptors(needs)?;
        // It is in force even if it cannot be read.
        let mappings = self.kernel("vm/max_map_count").unwrap_or(DEFAULT_MAPPINGS);
        let mut bounds = vec![
            (NOFILE, connections),
            (MAX_MAP_COUNT, by_mappings(mappings)),
        ];
        let mut buffers = u64::MAX;
        let memory = self.trees.memory().into_iter();
        let memory = memory.map(|(room, name)| (name, by_memory(room)));
        let spaces = self.address_space().into_iter();
        let spaces = spaces.map(|(name, room)| (name, by_address_space(room, needs)));
        for (name, (connections, of_it)) in memory.chain(spaces) {
            bounds.push((name, connections));
            buffers = buffers.min(of_it);
        }
        let mut spare_threads = Spare::MOST;
        let threads = self.threads(needs, smallest(&bounds).0);
        if let Some((name, room)) = threads.into_iter().min_by_key(|(_, room)| *room) {
            let (connections, spare) = by_threads(room, needs);
            bounds.push((name, connections));
            spare_threads = spare;
        }
        let (connections, bounded_by) = smallest(&bounds);
        let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(Capacity {
            // At least one: if there is no thread for it, the start fails with an error of its own.
            connections: number(connections).max(1),
            bounded_by,
            is_shared: !OF_ONE_PROCESS.contains(&bounded_by),
            pipes: number(spare.pipes),
            buffers: number(buffers),
            slots: number(spare.slots.min(spare_threads.slots)),
            lookups: number(spare.lookups.min(spare_threads.lookups)),
        })
    }

    fn by_descriptors(&self, needs: &Needs) -> Result<(u64, Spare), Shortage> {
        let lookup = DESCRIPTORS_PER_LOOKUP * u64::from(needs.resolves);
        let least = 1 + lookup;
        let most = SLOTS + lookup * LOOKUPS + DESCRIPTORS_PER_PIPE * PIPES;
        let taken = self.open + needs.descriptors;
        let needed = taken + least + DESCRIPTORS_PER_CONNECTION;
        let (limit, open) = (self.descriptors, self.open);
        if limit < needed {
            return Err(Shortage {
                limit,
                open,
                needed,
            });
        }
        let free = limit - taken;
        let spare = most.min(free / 4).max(least);
        let slots = (spare * SLOTS / most).max(1);
        let lookups = match needs.resolves {
            true => (spare * LOOKUPS / most).max(1),
            // They are proofs, which have slots.
            false => LOOKUPS,
        };
        let rest = spare.saturating_sub(slots + lookups * lookup);
        let pipes = (rest / DESCRIPTORS_PER_PIPE).min(PIPES);
        let connections = (free - spare) / DESCRIPTORS_PER_CONNECTION;
        let spare = Spare {
            pipes,
            slots,
            lookups,
        };
        Ok((connections, spare))
    }

    /// How many threads more there may be once the gateway has its own, by each limit. Other bounds allow so
    /// many `connections`.
    fn threads(&self, needs: &Needs, connections: u64) -> Vec<(&'static str, u64)> {
        let to_start = needs.threads.saturating_sub(needs.running);
        let all = self.threads_of_all();
        let of_all = |limit: Option<u64>| Some(limit?.saturating_sub(all));
        let mut rooms = vec![
            ("pids.max of the cgroup", self.trees.threads()),
            (
                "kernel.threads-max",
                of_all(self.kernel("kernel/threads-max")),
            ),
            ("kernel.pid_max", of_all(self.kernel("kernel/pid_max"))),
        ];
        rooms.push((
            "RLIMIT_NPROC",
            self.processes.map(|limit| {
                let room = limit.saturating_sub(needs.running);
                // To look at all processes takes long, and they matter only if this limit is nearly the smallest.
                let close = by_threads(room.saturating_sub(to_start), needs).0 / 2 < connections;
                room.saturating_sub(if close { (self.others)() } else { 0 })
            }),
        ));
        let rooms = rooms.into_iter();
        rooms
            .filter_map(|(name, room)| Some((name, room?.saturating_sub(to_start))))
            .collect()
    }

    /// All threads of the host, as /proc/loadavg has them.
    fn threads_of_all(&self) -> u64 {
        let loadavg = fs::read_to_string(self.trees.proc.join("loadavg")).unwrap_or_default();
        let count = loadavg.split(['/', ' ']).nth(4);
        count.and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// How many bytes of address space more there may be, by each limit.
    fn address_space(&self) -> Vec<(&'static str, u64)> {
        let [all, data] = self.address_space.map(|(limit, used)| {
            // No limit, as well as none that could be read.
            let limit = limit.filter(|limit| *limit < u64::MAX)?;
            Some(limit.saturating_sub(used))
        });
        let rooms = [
            (ADDRESS_SPACE, all),
            (DATA, data),
            ("vm.overcommit_memory", self.committable()),
        ];
        let rooms = rooms.into_iter();
        rooms
            .filter_map(|(name, room)| Some((name, room?)))
            .collect()
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

impl Spare {
    const MOST: Self = Self {
        pipes: PIPES,
        slots: SLOTS,
        lookups: LOOKUPS,
    };
}

/// How many connections this room for threads bears, and what is left beside them.
fn by_threads(room: u64, needs: &Needs) -> (u64, Spare) {
    let slots = SLOTS * u64::from(needs.slots_have_threads);
    // Proofs are asked for side by side as names are.
    let lookups = (LOOKUPS - 1) * u64::from(needs.resolves || needs.slots_have_threads);
    let (most, least) = (slots + lookups, u64::from(needs.slots_have_threads));
    let spare = most.min(room / 4).max(least);
    let share = |of: u64| spare * of / most.max(1);
    let spared = Spare {
        slots: if slots > 0 {
            share(slots).max(1)
        } else {
            SLOTS
        },
        lookups: 1 + share(lookups),
        ..Spare::MOST
    };
    (room.saturating_sub(spare) / THREADS_PER_CONNECTION, spared)
}

fn by_mappings(limit: u64) -> u64 {
    limit.saturating_sub(SPARE_MAPPINGS) / MAPPINGS_PER_CONNECTION
}

/// How many connections this room for memory bears, and how many buffers of bulk.
fn by_memory(room: u64) -> (u64, u64) {
    let bulk = room / 8;
    let rest = room - bulk - SPARE_MEMORY.min(room / 4);
    (rest / MEMORY_PER_CONNECTION, bulk / BUFFER)
}

/// The same of address space, which a stack takes in full size, touched or not.
fn by_address_space(room: u64, needs: &Needs) -> (u64, u64) {
    let slots = SLOTS * u64::from(needs.slots_have_threads);
    let lookups = LOOKUPS * u64::from(needs.resolves || needs.slots_have_threads);
    let own = needs.threads.saturating_sub(needs.running);
    let room = room.saturating_sub(own * STD_THREAD);
    let spare = SPARE_MEMORY + (slots + lookups) * STD_THREAD;
    let bulk = room / 8;
    let rest = room - bulk - spare.min(room / 4);
    let stack = needs.stack.max(syscall::smallest_stack()) as u64;
    let connection = THREADS_PER_CONNECTION * (stack + GUARD) + HEAP_PER_CONNECTION;
    (rest / connection, bulk / BUFFER)
}

fn smallest(bounds: &[(&'static str, u64)]) -> (u64, &'static str) {
    let smallest = bounds.iter().min_by_key(|(_, connections)| *connections);
    smallest.map_or((u64::MAX, "nothing"), |(name, connections)| {
        (*connections, name)
    })
}

/// How many numbers of descriptors are tried where /proc does not tell them.
const SCANNED: u64 = 16 * 1024;

/// How many threads run that are of the same real user, as RLIMIT_NPROC counts them, and not of this process; as
/// far as /proc shows them. Root has no such limit.
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

#[cfg(test)]
pub(super) mod tests;
