//! What a process asks of the kernel about itself and its relatives: descriptors that it inherits, privileges,
//! signals, and processes that it has started.

use std::ffi::{c_int, c_uint, c_ulong};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{fcntl, getsockopt, result};
use crate::sys::signal::{Signal, SignalSet};

unsafe extern "C" {
    fn pthread_sigmask(how: c_int, set: *const SignalSet, old: *mut SignalSet) -> c_int;
    fn sigwait(set: *const SignalSet, signal: *mut c_int) -> c_int;
    fn signalfd(fd: c_int, set: *const SignalSet, flags: c_int) -> c_int;
    safe fn signal(signal: c_int, handler: usize) -> usize;
    fn prctl(option: c_int, ...) -> c_int;
    safe fn kill(process: c_int, signal: c_int) -> c_int;
    fn waitpid(process: c_int, status: *mut c_int, options: c_int) -> c_int;
}

/// Where descriptors that were passed begin: SD_LISTEN_FDS_START of sd_listen_fds(3).
pub(crate) const FIRST_INHERITED: RawFd = 3;
const F_GETFD: c_int = 1;

/// Whether a number is an open descriptor.
fn look(fd: RawFd) -> io::Result<()> {
    // SAFETY: F_GETFD takes no argument and only looks at the number, which may be any.
    match unsafe { fcntl(fd, F_GETFD) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// How many of the numbers below `end` are open descriptors.
pub(crate) fn count_open(end: u64) -> u64 {
    let end = RawFd::try_from(end).unwrap_or(RawFd::MAX);
    (0..end).filter(|fd| look(*fd).is_ok()).count() as u64
}

/// Takes over descriptors that were left open for this process by whoever started it. To be called
/// before the process opens any of its own; a second call finds none, for they have an owner then.
///
/// # Errors
/// The number that is not an open descriptor, or that cannot have been passed: a standard stream, or one that stands
/// there twice.
pub(crate) fn take_inherited(
    numbers: impl IntoIterator<Item = RawFd>,
) -> Result<Vec<OwnedFd>, (RawFd, io::Error)> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(Vec::new());
    }
    let mut seen = Vec::new();
    let own = |fd| {
        if fd < FIRST_INHERITED || seen.contains(&fd) {
            return Err((fd, io::ErrorKind::InvalidInput.into()));
        }
        look(fd).map_err(|error| (fd, error))?;
        seen.push(fd);
        // SAFETY: the descriptor is open, as was just seen. Nobody else owns it: it was passed
        // to this process by number, before the process had opened anything, and `TAKEN` and `seen`
        // let each number be owned once.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    };
    numbers.into_iter().map(own).collect()
}

const PR_SET_NO_NEW_PRIVS: c_int = 38;

/// Gives up, for this thread and all that it starts, what executing another program could
/// add: set-user-ID bits and file capabilities have no effect from here on (prctl(2)).
pub(crate) fn forbid_new_privileges() -> io::Result<()> {
    const SET: c_ulong = 1;
    const UNUSED: c_ulong = 0;
    // SAFETY: this option takes four numbers, of which the last three have to be zero.
    match unsafe { prctl(PR_SET_NO_NEW_PRIVS, SET, UNUSED, UNUSED, UNUSED) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

const SIG_BLOCK: c_int = 0;

/// Blocks signals in this thread and in all that it starts from now on: SIGXFSZ and SIGPIPE for good, the
/// handled ones wait for [`wait_for_signal`]. Called once, before any thread exists.
///
/// Whoever has started this process may have it ignore SIGCHLD: then nobody is told how its children end, and the
/// kernel sends none (waitpid(2)). That is undone.
pub(crate) fn block_signals() -> io::Result<()> {
    const SIG_DFL: usize = 0;
    // It cannot fail, and no handler is set.
    signal(Signal::Child as c_int, SIG_DFL);
    let set = SignalSet::blocked();
    // SAFETY: the set is live and only read; a null pointer asks for no old mask.
    result(unsafe { pthread_sigmask(SIG_BLOCK, &raw const set, null_mut()) })
}

/// Waits for the next handled signal, without a handler: no code ever runs in signal
/// context. The signals must be blocked.
pub(crate) fn wait_for_signal() -> io::Result<Signal> {
    let set = SignalSet::handled();
    let mut number = 0;
    // SAFETY: the set is live and only read, the number is live and only written.
    match unsafe { sigwait(&raw const set, &raw mut number) } {
        0 => Signal::of(number)
            .ok_or_else(|| io::Error::other(format!("unexpected signal {number}"))),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// What poll(2) can wait for to have a handled signal, which [`wait_for_signal`] then returns at once (signalfd(2)). The
/// signals must be blocked.
pub(crate) fn signals() -> io::Result<OwnedFd> {
    const NEW: c_int = -1;
    const SFD_CLOEXEC: c_int = 0o2_000_000;
    let set = SignalSet::handled();
    // SAFETY: the set is live and only read.
    match unsafe { signalfd(NEW, &raw const set, SFD_CLOEXEC) } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: the call has just opened this descriptor, which nobody else knows.
        fd => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
    }
}

/// The process that made a pair of unix sockets of which this is one (SO_PEERCRED of unix(7)).
pub(crate) fn maker_of(socket: BorrowedFd<'_>) -> io::Result<u32> {
    const SOL_SOCKET: c_int = 1;
    const SO_PEERCRED: c_int = 17;
    /// `struct ucred`: process, user, group.
    type Credentials = [c_uint; 3];
    let mut credentials: Credentials = [0; 3];
    let mut length = size_of::<Credentials>() as c_uint;
    let (fd, value) = (socket.as_raw_fd(), (&raw mut credentials).cast());
    // SAFETY: the pointer is to `length` writable bytes, `length` is live, and the descriptor stays open while it
    // is borrowed.
    match unsafe { getsockopt(fd, SOL_SOCKET, SO_PEERCRED, value, &raw mut length) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(credentials[0]),
    }
}

/// Ends another process at once (SIGKILL of kill(2)).
pub(crate) fn end_process(process: u32) -> io::Result<()> {
    const SIGKILL: c_int = 9;
    match c_int::try_from(process) {
        // Zero and negative numbers are groups.
        Ok(process @ 1..) if kill(process, SIGKILL) == 0 => Ok(()),
        Ok(1..) => Err(io::Error::last_os_error()),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Has the thread that waits for signals look at what else it is to do: SIGCHLD says no more than that.
pub(crate) fn nudge() {
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
    match unsafe { prctl(PR_SET_CHILD_SUBREAPER, SET) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// How one of the children of this process has ended, and which, if one has of which that was not said yet (waitpid(2)).
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
