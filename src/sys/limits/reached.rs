//! Which limit a thread has reached that could not be started, for the operator who is to raise it.

use super::capacity::{GUARD, STD_THREAD, THREADS_PER_CONNECTION};
use super::host::{ADDRESS_SPACE, COMMITTED, DATA, Host, PROCESSES, PROCESSES_OF_CGROUP};
use crate::sys::usage;

/// A limit that is reached: the next thread cannot be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReachedLimit {
    /// What it limits, and of whom.
    pub(crate) what: &'static str,
    /// Its name, and where it is set.
    pub(crate) name: &'static str,
}

/// Which limit leaves no room for one more thread of `std`, as far as can be seen. The kernel and the C library fail with
/// EAGAIN for each of them.
pub(crate) fn reached_by_a_thread() -> Option<ReachedLimit> {
    reached_by(1, STD_THREAD)
}

/// The same for the threads of a session, with stacks of this many bytes.
pub(crate) fn reached_by_a_session(stack: usize) -> Option<ReachedLimit> {
    let threads = THREADS_PER_CONNECTION;
    reached_by(threads, threads * (stack as u64 + GUARD))
}

fn reached_by(threads: u64, bytes: u64) -> Option<ReachedLimit> {
    let running = usage::usage().threads.unwrap_or(1);
    Host::this(u64::MAX).reached_by(running, threads, bytes)
}

impl Host<'_> {
    /// The limit that this many more threads than the `running` ones reach, with this many bytes of address space.
    pub(super) fn reached_by(
        &self,
        running: u64,
        threads: u64,
        bytes: u64,
    ) -> Option<ReachedLimit> {
        let space = self.address_space().find(|(_, room)| *room < bytes);
        let mut rooms = self.threads(running, 0, |_| true);
        let reached = space.or_else(|| rooms.find(|(_, room)| *room < threads));
        reached.map(|(limit, _)| {
            let (what, name) = match limit {
                ADDRESS_SPACE => (
                    "address space of this process",
                    "RLIMIT_AS, LimitAS in a unit, ulimit -v",
                ),
                DATA => (
                    "data of this process",
                    "RLIMIT_DATA, LimitDATA in a unit, ulimit -d",
                ),
                COMMITTED => (
                    "memory that this host promises",
                    "vm.overcommit_ratio where vm.overcommit_memory is 2",
                ),
                PROCESSES_OF_CGROUP => ("processes of this cgroup", "pids.max, TasksMax in a unit"),
                PROCESSES => (
                    "processes of this user",
                    "RLIMIT_NPROC, LimitNPROC in a unit, ulimit -u",
                ),
                name => ("threads of this host", name),
            };
            ReachedLimit { what, name }
        })
    }
}
