//! Descriptors of every kind: waiting for them (poll(2), epoll(7)), moving bytes between them (splice(2)), sizing pipes,
//! and taking over those that another process has left open for this one.

use std::ffi::{c_int, c_uint, c_ulong};
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::outcome::{checked, counted};

unsafe extern "C" {
    fn poll(fds: *mut PollFd<'_>, count: c_ulong, timeout_ms: c_int) -> c_int;
    safe fn epoll_create1(flags: c_int) -> c_int;
    fn epoll_ctl(epoll: c_int, operation: c_int, fd: c_int, event: *mut EpollEvent) -> c_int;
    fn epoll_wait(epoll: c_int, events: *mut EpollEvent, room: c_int, timeout_ms: c_int) -> c_int;
    safe fn eventfd(count: c_uint, flags: c_int) -> c_int;
    fn splice(
        from: c_int,
        from_offset: *mut i64,
        to: c_int,
        to_offset: *mut i64,
        length: usize,
        flags: c_uint,
    ) -> isize;
    fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
    fn dup3(from: c_int, to: c_int, flags: c_int) -> c_int;
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

    /// Is ignored.
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

/// Waits until a descriptor is ready or `timeout` has passed (`None`: without limit). A
/// fraction of a millisecond is rounded up, so that a wait for a deadline cannot spin.
pub(crate) fn wait(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<()> {
    let milliseconds = timeout.map_or(-1, |timeout| {
        c_int::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(c_int::MAX)
    });
    // SAFETY: `fds` is an exclusive borrow of that many `struct pollfd` (`repr(C)`,
    // the marker has no size), whose descriptors stay open while they are borrowed.
    let ready = unsafe { poll(fds.as_mut_ptr(), fds.len() as c_ulong, milliseconds) };
    match checked(ready) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
    }
}

/// A counter that poll(2) can wait for to be above zero (eventfd(2)); neither reads nor writes of it block.
pub(crate) fn event_counter() -> io::Result<OwnedFd> {
    const EFD_NONBLOCK: c_int = 0o4000;
    const EFD_CLOEXEC: c_int = 0o2_000_000;
    let fd = checked(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC))?;
    // SAFETY: the call has just opened this descriptor, which has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `struct epoll_event` of epoll_ctl(2), which is packed on x86_64 alone.
#[cfg_attr(target_arch = "x86_64", repr(C, packed))]
#[cfg_attr(not(target_arch = "x86_64"), repr(C))]
#[derive(Clone, Copy)]
struct EpollEvent {
    events: u32,
    key: u64,
}

/// How many descriptors one call of [`Epoll::wait`] reports at most.
const EPOLL_ROOM: usize = 64;

/// Descriptors that one thread waits for (epoll(7)), each with a key. One that becomes ready is reported once, and then
/// ignored until it is armed again. One that is closed is removed by the kernel.
#[derive(Debug)]
pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    /// One without descriptors.
    pub(crate) fn new() -> io::Result<Self> {
        const EPOLL_CLOEXEC: c_int = 0o2_000_000;
        let fd = checked(epoll_create1(EPOLL_CLOEXEC))?;
        // SAFETY: the call has just opened this descriptor, which has no other owner.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Adds a descriptor that is not waited for yet; `fd` says for what to wait.
    pub(crate) fn add(&self, fd: &PollFd<'_>, key: u64) -> io::Result<()> {
        const EPOLL_CTL_ADD: c_int = 1;
        self.control(EPOLL_CTL_ADD, fd, key)
    }

    /// Arms one again that was reported; needs no memory.
    pub(crate) fn arm(&self, fd: &PollFd<'_>, key: u64) -> io::Result<()> {
        const EPOLL_CTL_MOD: c_int = 3;
        self.control(EPOLL_CTL_MOD, fd, key)
    }

    /// Removes one.
    pub(crate) fn remove(&self, fd: &PollFd<'_>) -> io::Result<()> {
        const EPOLL_CTL_DEL: c_int = 2;
        self.control(EPOLL_CTL_DEL, fd, 0)
    }

    fn control(&self, operation: c_int, fd: &PollFd<'_>, key: u64) -> io::Result<()> {
        const EPOLLONESHOT: u32 = 1 << 30;
        let mut event = EpollEvent {
            // Events have the same numbers as those of poll(2), which have sixteen bits.
            events: u32::from(fd.events.cast_unsigned()) | EPOLLONESHOT,
            key,
        };
        // SAFETY: the event is live and only read; both descriptors stay open while they are borrowed.
        let code = unsafe { epoll_ctl(self.0.as_raw_fd(), operation, fd.fd, &raw mut event) };
        checked(code).map(drop)
    }

    /// Sleeps until something is ready; returns the keys of some that are.
    pub(crate) fn wait(&self) -> io::Result<impl Iterator<Item = u64>> {
        const FOR_EVER: c_int = -1;
        let mut events = [EpollEvent { events: 0, key: 0 }; EPOLL_ROOM];
        let room = EPOLL_ROOM as c_int;
        // SAFETY: the pointer is to `room` writable events of the layout that the kernel has.
        let count = unsafe { epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), room, FOR_EVER) };
        let count = match counted(count as isize) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            outcome => outcome.unwrap_or(0),
        };
        Ok(events.into_iter().take(count).map(|event| event.key))
    }
}

/// Moves up to `length` bytes from `from` to `to`, one of which is a pipe, without a copy
/// through this process (splice(2)). Zero is the end of the stream. Waits as a read of
/// `from` and a write of `to` would, timeouts of sockets included.
pub(crate) fn move_bytes(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    length: usize,
) -> io::Result<usize> {
    let (from, to) = (from.as_raw_fd(), to.as_raw_fd());
    // SAFETY: no memory of ours is involved: null offsets are what sockets and pipes
    // want, and both descriptors stay open while they are borrowed.
    counted(unsafe { splice(from, null_mut(), to, null_mut(), length, 0) })
}

const F_SETPIPE_SZ: c_int = 1031;
const F_GETPIPE_SZ: c_int = 1032;

/// Sets how many bytes a pipe holds and returns how many it holds now (fcntl(2)).
pub(crate) fn resize_pipe(pipe: BorrowedFd<'_>, bytes: c_int) -> io::Result<usize> {
    // SAFETY: this command takes an int and touches no memory of ours.
    counted(unsafe { fcntl(pipe.as_raw_fd(), F_SETPIPE_SZ, bytes) } as isize)
}

/// How many bytes a pipe holds at most (fcntl(2)).
pub(crate) fn pipe_size(pipe: BorrowedFd<'_>) -> io::Result<usize> {
    // SAFETY: this command takes no argument and touches no memory of ours.
    counted(unsafe { fcntl(pipe.as_raw_fd(), F_GETPIPE_SZ) } as isize)
}

/// Makes a descriptor refer to what another one refers to (dup3(2)): its users work with that from their next call on.
pub(crate) fn replace(descriptor: BorrowedFd<'_>, by: OwnedFd) -> io::Result<()> {
    const O_CLOEXEC: c_int = 0o2_000_000;
    // SAFETY: no memory is involved. Both descriptors are open; the one that is replaced stays open and keeps its
    // owner, who may rely on that alone.
    let code = unsafe { dup3(by.as_raw_fd(), descriptor.as_raw_fd(), O_CLOEXEC) };
    checked(code).map(drop)
}

/// Where descriptors that were passed begin: SD_LISTEN_FDS_START of sd_listen_fds(3).
pub(crate) const FIRST_INHERITED: RawFd = 3;
const F_GETFD: c_int = 1;

/// Fails if a number is not an open descriptor.
fn check_open(fd: RawFd) -> io::Result<()> {
    // SAFETY: F_GETFD takes no argument and only looks at the number, which may be any.
    checked(unsafe { fcntl(fd, F_GETFD) }).map(drop)
}

/// How many of the numbers below `end` are open descriptors.
pub(crate) fn count_open(end: u64) -> u64 {
    let end = RawFd::try_from(end).unwrap_or(RawFd::MAX);
    (0..end).filter(|fd| check_open(*fd).is_ok()).count() as u64
}

/// Takes over descriptors that were left open for this process by its parent. To be called
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
        check_open(fd).map_err(|error| (fd, error))?;
        seen.push(fd);
        // SAFETY: the descriptor is open, as was just seen. Nobody else owns it: it was passed
        // to this process by number, before the process had opened anything, and `TAKEN` and `seen`
        // let each number be owned once.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    };
    numbers.into_iter().map(own).collect()
}
