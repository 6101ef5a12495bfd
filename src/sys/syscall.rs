//! The program's only `unsafe` code: foreign functions of the C library behind safe
//! wrappers. Each block makes one call and says which invariant makes it sound; a
//! return value of -1 becomes an `io::Error` at once.
//!
//! The C library is linked by `std` already; declaring the functions here keeps the
//! program's dependencies at `std` and `socket2`. Constants and layouts are those of
//! the Linux kernel interface for the architectures named below (x86 and the
//! "generic" ABI); others number errors and signals differently and are refused.

use std::ffi::{c_int, c_uint, c_ulong, c_void};
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

#[cfg(not(all(
    target_os = "linux",
    any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64"
    )
)))]
compile_error!("constants and layouts here are those of Linux on x86_64, aarch64 and riscv64");

unsafe extern "C" {
    fn poll(fds: *mut PollFd<'_>, count: c_ulong, timeout_ms: c_int) -> c_int;
    fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize;
    fn getrlimit(resource: c_int, limit: *mut Limit) -> c_int;
    fn setrlimit(resource: c_int, limit: *const Limit) -> c_int;
    fn pthread_sigmask(how: c_int, set: *const SignalSet, old: *mut SignalSet) -> c_int;
    fn sigwait(set: *const SignalSet, signal: *mut c_int) -> c_int;
}

/// Numbers of `errno` that `std::io::ErrorKind` does not tell apart (asm-generic/errno.h).
pub(crate) mod errno {
    /// The system-wide table of open files is full.
    pub(crate) const ENFILE: i32 = 23;
    /// The process has no descriptor left.
    pub(crate) const EMFILE: i32 = 24;
    /// The kernel has no memory for socket buffers.
    pub(crate) const ENOBUFS: i32 = 105;
    /// A non-blocking connect has begun.
    pub(crate) const EINPROGRESS: i32 = 115;
}

/// One descriptor to watch, `struct pollfd` of poll(2). It borrows the descriptor, so
/// that none is watched after it was closed.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct PollFd<'fd> {
    fd: c_int,
    events: i16,
    revents: i16,
    owner: PhantomData<BorrowedFd<'fd>>,
}

const POLLIN: i16 = 0x001;
const POLLOUT: i16 = 0x004;
const POLLERR: i16 = 0x008;
const POLLRDHUP: i16 = 0x2000;

impl<'fd> PollFd<'fd> {
    fn new(fd: BorrowedFd<'fd>, events: i16) -> Self {
        Self {
            fd: fd.as_raw_fd(),
            events,
            revents: 0,
            owner: PhantomData,
        }
    }

    /// Wakes when bytes, or the end of the stream, can be read.
    pub(crate) fn readable(fd: BorrowedFd<'fd>) -> Self {
        Self::new(fd, POLLIN)
    }

    /// Wakes when a connect has an outcome, or there is room to write.
    pub(crate) fn writable(fd: BorrowedFd<'fd>) -> Self {
        Self::new(fd, POLLOUT)
    }

    /// Wakes when the socket failed or both its directions have ended, not for data.
    pub(crate) fn hung_up(fd: BorrowedFd<'fd>) -> Self {
        Self::new(fd, 0)
    }

    /// Wakes when the peer has ended its direction, or the socket failed.
    pub(crate) fn peer_closed(fd: BorrowedFd<'fd>) -> Self {
        Self::new(fd, POLLRDHUP)
    }

    /// Is passed over.
    pub(crate) fn nothing(fd: BorrowedFd<'fd>) -> Self {
        // poll(2) ignores negative descriptors.
        Self {
            fd: -1,
            ..Self::new(fd, 0)
        }
    }

    /// Whether the last poll reported anything of this descriptor.
    pub(crate) fn is_ready(&self) -> bool {
        self.revents != 0
    }

    /// Whether the last poll found an error pending on the socket; it stays pending.
    pub(crate) fn has_error(&self) -> bool {
        self.revents & POLLERR != 0
    }
}

/// Waits until a descriptor is ready or `timeout` has passed (`None`: for ever). A
/// fraction of a millisecond is rounded up, so that a wait for a deadline cannot spin.
pub(crate) fn wait(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<()> {
    let milliseconds = timeout.map_or(-1, |timeout| {
        c_int::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(c_int::MAX)
    });
    // SAFETY: `fds` is an exclusive borrow of that many `struct pollfd` (`repr(C)`,
    // the marker has no size), whose descriptors stay open while they are borrowed.
    let ready = unsafe { poll(fds.as_mut_ptr(), fds.len() as c_ulong, milliseconds) };
    match io::Error::last_os_error() {
        error if ready == -1 && error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
    }
}

/// Fills `buffer` with entropy of the operating system (getrandom(2)).
pub(crate) fn fill_random(buffer: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        // SAFETY: `rest` is an exclusive borrow of `rest.len()` writable bytes.
        let count = unsafe { getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(count) {
            Ok(count) => filled += count,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
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
    /// RLIMIT_NPROC: threads of the real user.
    Threads = 6,
    /// RLIMIT_NOFILE: descriptors of the process.
    Descriptors = 7,
}

/// The limit now in force; "unlimited" reads as `u64::MAX`.
pub(crate) fn limit(resource: Resource) -> io::Result<Limit> {
    let mut limit = Limit { soft: 0, hard: 0 };
    // SAFETY: the pointer is to a live `struct rlimit` (`repr(C)`, 64-bit fields).
    match unsafe { getrlimit(resource as c_int, &raw mut limit) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(limit),
    }
}

/// Sets the limit of a resource for this process.
pub(crate) fn set_limit(resource: Resource, limit: Limit) -> io::Result<()> {
    // SAFETY: the pointer is to a live `struct rlimit` that is only read.
    match unsafe { setrlimit(resource as c_int, &raw const limit) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// A signal that the program acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGHUP, by which an operator asks for a refresh.
    Hangup = 1,
    /// SIGINT, as a terminal sends for Ctrl-C.
    Interrupt = 2,
    /// SIGTERM, as a service manager sends.
    Terminate = 15,
}

impl Signal {
    /// The name of signal(7).
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hangup => "SIGHUP",
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }
}

const SIGNALS: [Signal; 3] = [Signal::Hangup, Signal::Interrupt, Signal::Terminate];
const SIG_BLOCK: c_int = 0;

/// `sigset_t`: 1024 bits with glibc and with musl. Signal n is bit n-1 of the first
/// word, which is what sigaddset(3) does in both.
#[repr(C)]
struct SignalSet([u64; 16]);

impl SignalSet {
    fn handled() -> Self {
        let mut words = [0; 16];
        words[0] = SIGNALS
            .iter()
            .fold(0, |word, signal| word | 1 << (*signal as u32 - 1));
        Self(words)
    }
}

/// Blocks the handled signals in this thread and in all that it starts from now on, so
/// that they wait for [`wait_for_signal`]. Called once, before any thread exists.
pub(crate) fn block_signals() -> io::Result<()> {
    let set = SignalSet::handled();
    // SAFETY: the set is live and only read; a null pointer asks for no old mask.
    match unsafe { pthread_sigmask(SIG_BLOCK, &raw const set, std::ptr::null_mut()) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Waits for the next handled signal, without a handler: no code ever runs in signal
/// context. The signals must be blocked.
pub(crate) fn wait_for_signal() -> io::Result<Signal> {
    let set = SignalSet::handled();
    let mut number = 0;
    // SAFETY: the set is live and only read, the number is live and only written.
    match unsafe { sigwait(&raw const set, &raw mut number) } {
        0 => SIGNALS
            .into_iter()
            .find(|signal| *signal as c_int == number)
            .ok_or_else(|| io::Error::other(format!("unexpected signal {number}"))),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn wait_reports_what_is_ready_and_times_out() {
        let (near, far) = UnixStream::pair().unwrap();
        let mut fds = [PollFd::readable(near.as_fd()), PollFd::hung_up(far.as_fd())];
        wait(&mut fds, Some(Duration::from_micros(10))).unwrap();
        assert!(!fds[0].is_ready() && !fds[1].is_ready());
        (&far).write_all(b"x").unwrap();
        wait(&mut fds, None).unwrap();
        assert!(fds[0].is_ready() && !fds[0].has_error() && !fds[1].is_ready());
    }

    #[test]
    fn entropy_differs_and_fills_all() {
        let (mut a, mut b) = ([0u8; 64], [0u8; 64]);
        fill_random(&mut a).unwrap();
        fill_random(&mut b).unwrap();
        assert_ne!(a, b);
        assert!(a[32..].iter().any(|byte| *byte != 0));
        fill_random(&mut []).unwrap();
    }

    #[test]
    fn limits_read_and_set() {
        let now = limit(Resource::Descriptors).unwrap();
        assert!(now.soft > 0 && now.soft <= now.hard);
        set_limit(Resource::Descriptors, now).unwrap();
        assert_eq!(limit(Resource::Descriptors).unwrap(), now);
        assert!(limit(Resource::Threads).unwrap().soft > 0);
    }
}
