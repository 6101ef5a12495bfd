//! How many connections the limits of the host allow.
//!
//! What the gateway itself takes with its settings ([`Needs`]) is subtracted from each limit, a part is kept for what is not a
//! client's connection, and the rest is divided by what one connection takes.

use super::host::{ADDRESS_SPACE, DATA, DESCRIPTORS, Host, MAPPINGS};
use crate::sys::syscall;

/// Limits that each process has for itself.
const OF_ONE_PROCESS: [&str; 4] = [DESCRIPTORS, MAPPINGS, ADDRESS_SPACE, DATA];

/// A session's two copy threads, where it has become busy; the first of them also dials.
pub(super) const THREADS_PER_CONNECTION: u64 = 2;
/// The client's socket and the endpoint's.
const DESCRIPTORS_PER_CONNECTION: u64 = 2;
/// A thread takes a stack, and a guard page that counts as a mapping of its own. Half as much again is for
/// mappings of the heap.
const MAPPINGS_PER_CONNECTION: u64 = 4 + 2;
/// Libraries, heap arenas and the gateway's threads. One of `std` has a signal stack with a guard page, too.
pub(super) const SPARE_MAPPINGS: u64 = 1024;

/// Bytes of memory, the kernel's included, of a connection with both threads, messages and readers that are
/// stuck, without its [buffers of bulk](BUFFER). Measured on x86_64 with cgroups of version 1: 38 KiB with one
/// thread, 72 with both; `tests/suite/memory.rs` has them all busy. The rest is for socket buffers, which
/// version 2 counts.
pub(super) const MEMORY_PER_CONNECTION: u64 = 80 * KIB;
/// What the gateway may grow by: queues of logs, answers, authentication, tables, idle heaps.
const SPARE_MEMORY: u64 = 4 * MIB;
/// Bytes that the heap and the two threads use beside their stacks.
const HEAP_PER_CONNECTION: u64 = 8 * KIB;
/// A page of another stack, which touching ends a thread that has used up its own; 64 KiB on some hosts.
pub(super) const GUARD: u64 = 4 * KIB;
/// Address space of a thread of `std`: 2 MiB of stack, its guard and its signal stack.
pub(super) const STD_THREAD: u64 = 2 * MIB + 64 * KIB;
/// A buffer for bulk that has no pipe. One eighth of the memory is for these.
pub(super) const BUFFER: u64 = 64 * KIB;
pub(super) const KIB: u64 = 1024;
pub(super) const MIB: u64 = 1024 * KIB;

/// The most pipes and slots that are of any use, and the most lookups at a time.
const PIPES: u64 = 16;
const SLOTS: u64 = 16;
const LOOKUPS: u64 = 16;
/// Both ends.
const DESCRIPTORS_PER_PIPE: u64 = 2;
/// A query over UDP, and what is asked again over TCP.
pub(super) const DESCRIPTORS_PER_LOOKUP: u64 = 2;

/// What a gateway takes by its settings, however many clients it has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needs {
    /// Descriptors that it will open, beside those that are open now.
    pub(crate) descriptors: u64,
    /// Threads that run when it serves.
    pub(crate) threads: u64,
    /// How many of them run now.
    pub(crate) running: u64,
    /// Endpoints have to authenticate, or are health-checked: in threads, one per slot.
    pub(crate) slots_have_threads: bool,
    /// Names are looked up, the second and further ones at a time in threads of their own.
    pub(crate) resolves: bool,
    /// Bytes of stack of a session's thread.
    pub(crate) stack: usize,
}

impl Needs {
    /// Threads that the gateway still has to start.
    fn threads_to_start(&self) -> u64 {
        self.threads.saturating_sub(self.running)
    }
}

/// The most connections that can be served, and what sets that bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub(crate) connections: usize,
    /// The name of the limit, for the operator who wants more.
    pub(crate) bounded_by: &'static str,
    /// Whether the limit counts other processes too, such as those of the same service.
    pub(crate) is_shared: bool,
    /// How many pipes may be open beside the connections.
    pub(crate) pipes: usize,
    /// How many buffers of bulk there may be.
    pub(crate) buffers: usize,
    /// How many dials, probes, authentications and health checks may run at a time beside clients' connections.
    pub(crate) slots: usize,
    /// How many names may be looked up, or endpoints authenticated, at the same time.
    pub(crate) lookups: usize,
}

/// The limit on descriptors leaves none for even one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shortage {
    pub(crate) limit: u64,
    pub(crate) open: u64,
    pub(crate) needed: u64,
}

/// How many connections this process can have on this host, with this many `descriptors`.
///
/// # Errors
/// If there is no descriptor for even one client.
pub(crate) fn capacity(descriptors: u64, needs: &Needs) -> Result<Capacity, Shortage> {
    Host::this(descriptors).capacity(needs)
}

/// What is kept beside connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spare {
    pub(super) pipes: u64,
    pub(super) slots: u64,
    pub(super) lookups: u64,
}

impl Host<'_> {
    pub(super) fn capacity(&self, needs: &Needs) -> Result<Capacity, Shortage> {
        let (connections, mut spare) = self.by_descriptors(needs)?;
        let mut bounds = vec![
            (DESCRIPTORS, connections),
            (MAPPINGS, by_mappings(self.mappings())),
        ];
        let mut buffers = u64::MAX;
        let memory = self.trees.memory().into_iter();
        let memory = memory.map(|(room, name)| (name, by_memory(room)));
        let spaces = self.address_space();
        let spaces = spaces.map(|(name, room)| (name, by_address_space(room, needs)));
        for (name, (connections, of_it)) in memory.chain(spaces) {
            bounds.push((name, connections));
            buffers = buffers.min(of_it);
        }
        let (others, _) = smallest(&bounds);
        let is_small = |room| by_threads(room, needs).0 / 2 < others;
        let threads = self.threads(needs.running, needs.threads_to_start(), is_small);
        if let Some((name, room)) = threads.min_by_key(|(_, room)| *room) {
            let (connections, of_threads) = by_threads(room, needs);
            bounds.push((name, connections));
            spare.slots = spare.slots.min(of_threads.slots);
            spare.lookups = spare.lookups.min(of_threads.lookups);
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
            slots: number(spare.slots),
            lookups: number(spare.lookups),
        })
    }

    pub(super) fn by_descriptors(&self, needs: &Needs) -> Result<(u64, Spare), Shortage> {
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
            // They are authentications, which have slots.
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
}

/// How many connections this room for threads allows, and what is kept beside them.
pub(super) fn by_threads(room: u64, needs: &Needs) -> (u64, Spare) {
    let slots = SLOTS * u64::from(needs.slots_have_threads);
    // Endpoints are authenticated in parallel as names are looked up.
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
        pipes: PIPES,
    };
    (room.saturating_sub(spare) / THREADS_PER_CONNECTION, spared)
}

pub(super) fn by_mappings(limit: u64) -> u64 {
    limit.saturating_sub(SPARE_MAPPINGS) / MAPPINGS_PER_CONNECTION
}

/// How many connections this room for memory allows, and how many buffers of bulk.
pub(super) fn by_memory(room: u64) -> (u64, u64) {
    let bulk = room / 8;
    let rest = room - bulk - SPARE_MEMORY.min(room / 4);
    (rest / MEMORY_PER_CONNECTION, bulk / BUFFER)
}

/// The same of address space, which a stack takes in full size, touched or not.
pub(super) fn by_address_space(room: u64, needs: &Needs) -> (u64, u64) {
    let slots = SLOTS * u64::from(needs.slots_have_threads);
    let lookups = LOOKUPS * u64::from(needs.resolves || needs.slots_have_threads);
    let room = room.saturating_sub(needs.threads_to_start() * STD_THREAD);
    let spare = SPARE_MEMORY + (slots + lookups) * STD_THREAD;
    let bulk = room / 8;
    let rest = room - bulk - spare.min(room / 4);
    let stack = needs.stack.max(syscall::smallest_stack()) as u64;
    let connection = THREADS_PER_CONNECTION * (stack + GUARD) + HEAP_PER_CONNECTION;
    (rest / connection, bulk / BUFFER)
}

pub(super) fn smallest(bounds: &[(&'static str, u64)]) -> (u64, &'static str) {
    let smallest = bounds.iter().min_by_key(|(_, connections)| *connections);
    smallest.map_or((u64::MAX, "nothing"), |(name, connections)| {
        (*connections, name)
    })
}
