//! What a process asks of the kernel about itself and its relatives: entropy, resource limits, privileges, signals, and
//! processes that it has started.

use std::ffi::{c_int, c_uint, c_ulong, c_void};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::ptr::null_mut;

use super::outcome::{checked, counted, error_number};
use crate::sys::signal::{Signal, SignalSet};

unsafe extern "C" {
    fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize;
    // Where glibc is of 32 bits, the fields of those without "64" are, too.
    #[cfg_attr(
        all(target_env = "gnu", target_pointer_width = "32"),
        link_name = "getrlimit64"
    )]
    fn getrlimit(resource: c_int, limit: *mut Limit) -> c_int;
    #[cfg_attr(
        all(target_env = "gnu", target_pointer_width = "32"),
        link_name = "setrlimit64"
    )]
    fn setrlimit(resource: c_int, limit: *const Limit) -> c_int;
    fn pthread_sigmask(how: c_int, set: *const SignalSet, old: *mut SignalSet) -> c_int;
    fn sigwait(set: *const SignalSet, signal: *mut c_int) -> c_int;
    fn signalfd(fd: c_int, set: *const SignalSet, flags: c_int) -> c_int;
    safe fn signal(signal: c_int, handler: usize) -> usize;
    fn prctl(option: c_int, ...) -> c_int;
    safe fn kill(process: c_int, signal: c_int) -> c_int;
    fn waitpid(process: c_int, status: *mut c_int, options: c_int) -> c_int;
}

/// Fills `buffer` with entropy of the operating system (getrandom(2)).
pub(crate) fn fill_random(buffer: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        // SAFETY: `rest` is an exclusive borrow of `rest.len()` writable bytes.
        match counted(unsafe { getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) }) {
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// `struct rlimit`: the soft and the hard limit of a resource.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

/// A resource of getrlimit(2); the numbers are those of asm-generic/resource.h.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Resource {
    /// RLIMIT_DATA: bytes of private memory that can be written, touched or not.
    Data = 2,
    /// RLIMIT_NPROC: threads of the real user.
    Threads = 6,
    /// RLIMIT_NOFILE: descriptors of the process.
    Descriptors = 7,
    /// RLIMIT_AS: bytes of address space.
    AddressSpace = 9,
}

/// The limit now in force; "unlimited" reads as `u64::MAX`.
pub(crate) fn limit(resource: Resource) -> io::Result<Limit> {
    let mut limit = Limit { soft: 0, hard: 0 };
    // SAFETY: the pointer is to a live `struct rlimit` (`repr(C)`, 64-bit fields).
    checked(unsafe { getrlimit(resource as c_int, &raw mut limit) })?;
    Ok(limit)
}

/// Sets the limit of a resource for this process.
pub(crate) fn set_limit(resource: Resource, limit: Limit) -> io::Result<()> {
    // SAFETY: the pointer is to a live `struct rlimit` that is only read.
    checked(unsafe { setrlimit(resource as c_int, &raw const limit) }).map(drop)
}

const PR_SET_NO_NEW_PRIVS: c_int = 38;

/// Gives up, for this thread and all that it starts, what executing another program could
/// add: set-user-ID bits and file capabilities have no effect from here on (prctl(2)).
pub(crate) fn forbid_new_privileges() -> io::Result<()> {
    const SET: c_ulong = 1;
    const UNUSED: c_ulong = 0;
    // SAFETY: this option takes four numbers, of which the last three have to be zero.
    checked(unsafe { prctl(PR_SET_NO_NEW_PRIVS, SET, UNUSED, UNUSED, UNUSED) }).map(drop)
}

const SIG_BLOCK: c_int = 0;

/// Blocks signals in this thread and in all that it starts from now on: SIGXFSZ and SIGPIPE for good, the
/// handled ones wait for [`wait_for_signal`]. Called once, before any thread exists.
///
/// The parent may have made this process ignore SIGCHLD: then the kernel sends none, and does not say how children end
/// (waitpid(2)). That is undone.
pub(crate) fn block_signals() -> io::Result<()> {
    const SIG_DFL: usize = 0;
    // It cannot fail, and no handler is set.
    signal(Signal::Child as c_int, SIG_DFL);
    let set = SignalSet::blocked();
    // SAFETY: the set is live and only read; a null pointer asks for no old mask.
    error_number(unsafe { pthread_sigmask(SIG_BLOCK, &raw const set, null_mut()) })
}

/// Waits for the next handled signal, without a handler: no code ever runs in signal
/// context. The signals must be blocked.
pub(crate) fn wait_for_signal() -> io::Result<Signal> {
    let set = SignalSet::handled();
    let mut number = 0;
    // SAFETY: the set is live and only read, the number is live and only written.
    error_number(unsafe { sigwait(&raw const set, &raw mut number) })?;
    Signal::of(number).ok_or_else(|| io::Error::other(format!("unexpected signal {number}")))
}

/// What poll(2) can wait for to have a handled signal, which [`wait_for_signal`] then returns at once (signalfd(2)). The
/// signals must be blocked.
pub(crate) fn signals() -> io::Result<OwnedFd> {
    const NEW: c_int = -1;
    const SFD_CLOEXEC: c_int = 0o2_000_000;
    let set = SignalSet::handled();
    // SAFETY: the set is live and only read.
    let fd = checked(unsafe { signalfd(NEW, &raw const set, SFD_CLOEXEC) })?;
    // SAFETY: the call has just opened this descriptor, which has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Ends another process at once (SIGKILL of kill(2)).
pub(crate) fn end_process(process: u32) -> io::Result<()> {
    const SIGKILL: c_int = 9;
    match c_int::try_from(process) {
        Ok(process @ 1..) => checked(kill(process, SIGKILL)).map(drop),
        // Zero and negative numbers are groups.
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Wakes the thread that waits for signals, so that it looks for other work: SIGCHLD says no more than that.
pub(crate) fn wake_signal_thread() {
    const SIGCHLD: c_int = 17;
    if let Ok(own) = c_int::try_from(std::process::id()) {
        // It cannot fail: a process may signal itself, and standard signals take no memory.
        let _ = kill(own, SIGCHLD);
    }
}

/// From here on a process below this one whose parent has ended becomes a child of this one (prctl(2)).
pub(crate) fn adopt_orphans() -> io::Result<()> {
    const PR_SET_CHILD_SUBREAPER: c_int = 36;
    const SET: c_ulong = 1;
    // SAFETY: this option takes one number.
    checked(unsafe { prctl(PR_SET_CHILD_SUBREAPER, SET) }).map(drop)
}

/// The next child of this process that has ended and was not reported yet, and how it ended (waitpid(2)).
pub(crate) fn ended_child() -> Option<(u32, ExitStatus)> {
    const ANY: c_int = -1;
    const WNOHANG: c_int = 1;
    let mut status = 0;
    // SAFETY: the status is live and only written.
    let process = unsafe { waitpid(ANY, &raw mut status, WNOHANG) };
    match u32::try_from(process) {
        Ok(process @ 1..) => Some((process, ExitStatus::from_raw(status))),
        _ => None,
    }
}
