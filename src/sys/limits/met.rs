//! Which limit a thread has met that could not be started, for the operator who is to raise it.

use super::{GUARD, Host, Needs, STD_THREAD, THREADS_PER_CONNECTION, usage};

/// A limit of threads that is met: the next one cannot be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Met {
    /// What it limits, and of whom.
    pub(crate) what: &'static str,
    /// Its name, and where it is set.
    pub(crate) name: &'static str,
}

/// Which limit leaves no room for one more thread of `std`, as far as can be seen. The kernel and the C library say
/// EAGAIN for each of them.
pub(crate) fn met_by_a_thread() -> Option<Met> {
    met_by(1, STD_THREAD)
}

/// The same for the threads of a session, with stacks of so many bytes.
pub(crate) fn met_by_a_session(stack: usize) -> Option<Met> {
    let threads = THREADS_PER_CONNECTION;
    met_by(threads, threads * (stack as u64 + GUARD))
}

fn met_by(threads: u64, bytes: u64) -> Option<Met> {
    let running = usage::usage().threads.unwrap_or(1);
    Host::this(u64::MAX).met_by(running, threads, bytes)
}

impl Host<'_> {
    /// By so many threads more than are `running`, which take so many bytes of address space.
    pub(super) fn met_by(&self, running: u64, threads: u64, bytes: u64) -> Option<Met> {
        let words = |name| match name {
            "RLIMIT_AS" => (
                "address space of this process",
                "RLIMIT_AS, LimitAS in a unit, ulimit -v",
            ),
            "RLIMIT_DATA" => (
                "data of this process",
                "RLIMIT_DATA, LimitDATA in a unit, ulimit -d",
            ),
            "vm.overcommit_memory" => (
                "memory that this host promises",
                "vm.overcommit_ratio where vm.overcommit_memory is 2",
            ),
            "pids.max of the cgroup" => {
                ("processes of this cgroup", "pids.max, TasksMax in a unit")
            }
            "RLIMIT_NPROC" => (
                "processes of this user",
                "RLIMIT_NPROC, LimitNPROC in a unit, ulimit -u",
            ),
            name => ("threads of this host", name),
        };
        let mut spaces = self.address_space().into_iter();
        let space = spaces.find(|(_, room)| *room < bytes);
        let needs = Needs {
            descriptors: 0,
            threads: running,
            running,
            slots_have_threads: false,
            resolves: false,
            stack: 0,
        };
        let mut rooms = self.threads(&needs, u64::MAX).into_iter();
        let met = space.or_else(|| rooms.find(|(_, room)| *room < threads));
        met.map(|(name, _)| {
            let (what, name) = words(name);
            Met { what, name }
        })
    }
}
