//! The program's only `unsafe` code: foreign functions of the C library behind safe
//! wrappers. Each block makes one call and says which invariant makes it sound; a
//! return value of -1 becomes an `io::Error` at once.
//!
//! The C library is linked by `std` already; declaring the functions here keeps the
//! program's dependencies at `std` and `socket2`. Constants and layouts are those of
//! the Linux kernel interface for the processors that `platform` admits.

mod process;

pub(crate) use process::*;

use std::ffi::{c_int, c_long, c_uint, c_ulong, c_void};
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::time::Duration;

unsafe extern "C" {
    fn poll(fds: *mut PollFd<'_>, count: c_ulong, timeout_ms: c_int) -> c_int;
    safe fn epoll_create1(flags: c_int) -> c_int;
    safe fn eventfd(count: c_uint, flags: c_int) -> c_int;
    fn epoll_ctl(epoll: c_int, operation: c_int, fd: c_int, event: *mut EpollEvent) -> c_int;
    fn epoll_wait(epoll: c_int, events: *mut EpollEvent, room: c_int, timeout_ms: c_int) -> c_int;
    fn recv(fd: c_int, buffer: *mut c_void, length: usize, flags: c_int) -> isize;
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
    fn splice(
        from: c_int,
        from_offset: *mut i64,
        to: c_int,
        to_offset: *mut i64,
        length: usize,
        flags: c_uint,
    ) -> isize;
    fn connect(fd: c_int, address: *const NoAddress, length: c_uint) -> c_int;
    fn getsockopt(
        fd: c_int,
        level: c_int,
        name: c_int,
        value: *mut c_void,
        length: *mut c_uint,
    ) -> c_int;
    fn setsockopt(
        fd: c_int,
        level: c_int,
        name: c_int,
        value: *const c_void,
        length: c_uint,
    ) -> c_int;
    fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
    fn dup3(from: c_int, to: c_int, flags: c_int) -> c_int;
    safe fn pthread_self() -> c_ulong;
    safe fn sysconf(name: c_int) -> c_long;
    fn pthread_setschedparam(
        thread: c_ulong,
        policy: c_int,
        parameters: *const SchedulingParameters,
    ) -> c_int;
    fn pthread_attr_init(attributes: *mut ThreadAttributes) -> c_int;
    fn pthread_attr_setstacksize(attributes: *mut ThreadAttributes, bytes: usize) -> c_int;
    fn pthread_attr_destroy(attributes: *mut ThreadAttributes) -> c_int;
    fn pthread_create(
        thread: *mut c_ulong,
        attributes: *const ThreadAttributes,
        start: extern "C" fn(*mut c_void) -> *mut c_void,
        argument: *mut c_void,
    ) -> c_int;
    fn pthread_detach(thread: c_ulong) -> c_int;
    #[cfg(target_env = "gnu")]
    fn pthread_join(thread: c_ulong, outcome: *mut *mut c_void) -> c_int;
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

/// A counter that poll(2) can wait for to be above zero (eventfd(2)); neither reads nor writes of it block.
pub(crate) fn event_counter() -> io::Result<OwnedFd> {
    const EFD_NONBLOCK: c_int = 0o4000;
    const EFD_CLOEXEC: c_int = 0o2_000_000;
    match eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: the call has just opened this descriptor, which nobody else knows.
        fd => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
    }
}

/// `struct epoll_event` of epoll_ctl(2), which is packed on x86_64 alone.
#[cfg_attr(target_arch = "x86_64", repr(C, packed))]
#[cfg_attr(not(target_arch = "x86_64"), repr(C))]
#[derive(Clone, Copy)]
struct EpollEvent {
    events: u32,
    key: u64,
}

/// How many descriptors one call of [`Epoll::wait`] tells of at most.
const EPOLL_ROOM: usize = 64;

/// Descriptors that one thread waits for (epoll(7)), each known by a key. One that becomes ready is told of
/// once, and from then on left alone until it is armed again. One that is closed leaves by itself.
#[derive(Debug)]
pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    /// One without descriptors.
    pub(crate) fn new() -> io::Result<Self> {
        const EPOLL_CLOEXEC: c_int = 0o2_000_000;
        match epoll_create1(EPOLL_CLOEXEC) {
            -1 => Err(io::Error::last_os_error()),
            // SAFETY: the call has just opened this descriptor, which nobody else knows.
            fd => Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) })),
        }
    }

    /// Has a descriptor waited for that is not: for what, says `fd`.
    pub(crate) fn add(&self, fd: &PollFd<'_>, key: u64) -> io::Result<()> {
        const EPOLL_CTL_ADD: c_int = 1;
        self.control(EPOLL_CTL_ADD, fd, key)
    }

    /// Arms one again that was told of; needs no memory.
    pub(crate) fn arm(&self, fd: &PollFd<'_>, key: u64) -> io::Result<()> {
        const EPOLL_CTL_MOD: c_int = 3;
        self.control(EPOLL_CTL_MOD, fd, key)
    }

    /// Has one waited for no more.
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
        match unsafe { epoll_ctl(self.0.as_raw_fd(), operation, fd.fd, &raw mut event) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    /// Sleeps until something is ready; returns the keys of some that are.
    pub(crate) fn wait(&self) -> io::Result<impl Iterator<Item = u64>> {
        const FOR_EVER: c_int = -1;
        let mut events = [EpollEvent { events: 0, key: 0 }; EPOLL_ROOM];
        let room = EPOLL_ROOM as c_int;
        // SAFETY: the pointer is to `room` writable events of the layout that the kernel has.
        let count = unsafe { epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), room, FOR_EVER) };
        let count = match io::Error::last_os_error() {
            error if count == -1 && error.kind() != io::ErrorKind::Interrupted => {
                return Err(error);
            }
            _ => usize::try_from(count).unwrap_or(0),
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
    let count = unsafe { splice(from, null_mut(), to, null_mut(), length, 0) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Copies what has come to a socket, as far as there is room, and leaves it there (recv(2)). Never waits:
/// `WouldBlock`, nothing has.
pub(crate) fn peek(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    const MSG_PEEK: c_int = 0x02;
    const MSG_DONTWAIT: c_int = 0x40;
    let (fd, length) = (socket.as_raw_fd(), buffer.len());
    // SAFETY: `buffer` is an exclusive borrow of that many writable bytes, and the descriptor stays open
    // while it is borrowed.
    let count = unsafe {
        recv(
            fd,
            buffer.as_mut_ptr().cast(),
            length,
            MSG_PEEK | MSG_DONTWAIT,
        )
    };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// `struct sockaddr` of the family AF_UNSPEC, which is no address of any.
#[repr(C)]
struct NoAddress {
    family: u16,
    unused: [u8; 14],
}

/// Ends a TCP connection with a reset, whoever else has a handle on it or waits for it: where it is
/// connected, what is not sent yet is dropped and the peer told so by RST (connect(2) on
/// AF_UNSPEC; RFC 9293 calls it ABORT). Calls of others on it fail from then on. Some kernels
/// (6.4 and 6.5) refuse while one of them sleeps in a read or a write.
pub(crate) fn disconnect(socket: BorrowedFd<'_>) -> io::Result<()> {
    const AF_UNSPEC: u16 = 0;
    let nowhere = NoAddress {
        family: AF_UNSPEC,
        unused: [0; 14],
    };
    let length = size_of::<NoAddress>() as c_uint;
    // SAFETY: the pointer is to a live `struct sockaddr` (`repr(C)`) of that length, which is only
    // read, and the descriptor stays open while it is borrowed.
    match unsafe { connect(socket.as_raw_fd(), &raw const nowhere, length) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Has a descriptor stand for what another one stands for (dup3(2)): whoever has it works with that from the next
/// call on.
pub(crate) fn replace(descriptor: BorrowedFd<'_>, by: OwnedFd) -> io::Result<()> {
    const O_CLOEXEC: c_int = 0o2_000_000;
    // SAFETY: no memory is involved. Both descriptors are open; the one that is replaced stays open and its
    // owner's, who may rely on that alone.
    match unsafe { dup3(by.as_raw_fd(), descriptor.as_raw_fd(), O_CLOEXEC) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// The level of options of TCP, IPPROTO_TCP of netinet/in.h.
const IPPROTO_TCP: c_int = 6;

/// Reads an option of TCP (tcp(7)) into `value`, as far as that has room; returns how many octets the
/// kernel wrote.
pub(crate) fn tcp_option(
    socket: BorrowedFd<'_>,
    name: c_int,
    value: &mut [u8],
) -> io::Result<usize> {
    let mut length = c_uint::try_from(value.len()).unwrap_or(c_uint::MAX);
    let (fd, bytes) = (socket.as_raw_fd(), value.as_mut_ptr().cast());
    // SAFETY: `value` is an exclusive borrow of at least `length` writable bytes, `length` is live, and
    // the descriptor stays open while it is borrowed.
    match unsafe { getsockopt(fd, IPPROTO_TCP, name, bytes, &raw mut length) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(usize::try_from(length).unwrap_or(0).min(value.len())),
    }
}

/// Sets an option of TCP that is a number (tcp(7)).
pub(crate) fn set_tcp_option(socket: BorrowedFd<'_>, name: c_int, value: c_int) -> io::Result<()> {
    let (fd, length) = (socket.as_raw_fd(), size_of::<c_int>() as c_uint);
    let number = (&raw const value).cast();
    // SAFETY: the pointer is to a live number of that length, which is only read, and the descriptor
    // stays open while it is borrowed.
    match unsafe { setsockopt(fd, IPPROTO_TCP, name, number, length) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

const F_SETPIPE_SZ: c_int = 1031;
const F_GETPIPE_SZ: c_int = 1032;

/// Sets how many bytes a pipe holds and returns how many it holds now (fcntl(2)).
pub(crate) fn resize_pipe(pipe: BorrowedFd<'_>, bytes: c_int) -> io::Result<usize> {
    // SAFETY: this command takes an int and touches no memory of ours.
    let size = unsafe { fcntl(pipe.as_raw_fd(), F_SETPIPE_SZ, bytes) };
    usize::try_from(size).map_err(|_| io::Error::last_os_error())
}

/// How many bytes a pipe holds at most (fcntl(2)).
pub(crate) fn pipe_size(pipe: BorrowedFd<'_>) -> io::Result<usize> {
    // SAFETY: this command takes no argument and touches no memory of ours.
    let size = unsafe { fcntl(pipe.as_raw_fd(), F_GETPIPE_SZ) };
    usize::try_from(size).map_err(|_| io::Error::last_os_error())
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

/// What functions of threads return: zero, or the number of an error.
fn result(code: c_int) -> io::Result<()> {
    match code {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// `pthread_attr_t`, opaque: no C library needs more than this on the processors that `platform` admits.
#[repr(C, align(16))]
struct ThreadAttributes([u64; 16]);

type Work = Box<dyn FnOnce() + Send>;

/// The smallest stack that the C library gives a thread, in bytes: 16 KiB with glibc on x86, 128 KiB on
/// aarch64, more where the processor has much state to save (sysconf(3), PTHREAD_STACK_MIN).
pub(crate) fn smallest_stack() -> usize {
    const SC_THREAD_STACK_MIN: c_int = 75;
    // -1: there is no such limit.
    usize::try_from(sysconf(SC_THREAD_STACK_MIN)).unwrap_or(0)
}

/// Where a thread of [`start_thread`] begins.
extern "C" fn enter(argument: *mut c_void) -> *mut c_void {
    // SAFETY: the pointer is what `start_thread` got from `Box::into_raw` for this thread
    // alone, which runs once.
    let work = unsafe { Box::from_raw(argument.cast::<Work>()) };
    // A panic was reported by its hook; it ends this thread and no other.
    let _ = catch_unwind(AssertUnwindSafe(work));
    null_mut()
}

/// Starts a detached thread whose panics end it alone, with a stack of `stack` bytes or the smallest
/// that this host allows.
///
/// A thread of `std` has a signal stack beside its stack, which doubles the memory
/// mappings it takes; of the threads meant here there are two for each connection.
pub(crate) fn start_thread(stack: usize, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = create_thread(stack, work)?;
    // SAFETY: the thread is nobody else's, and neither detached nor joined yet.
    result(unsafe { pthread_detach(thread) })
}

/// The same, but waits for its end: what it had is free then.
#[cfg(target_env = "gnu")]
pub(crate) fn run_thread(stack: usize, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = create_thread(stack, work)?;
    // SAFETY: as above; a null pointer asks for no outcome.
    result(unsafe { pthread_join(thread, null_mut()) })
}

/// A thread that is to be detached or joined.
fn create_thread(stack: usize, work: impl FnOnce() + Send + 'static) -> io::Result<c_ulong> {
    let mut attributes = ThreadAttributes([0; 16]);
    let attributes = &raw mut attributes;
    // SAFETY: the pointer is to writable memory of at least the size and alignment of the type.
    result(unsafe { pthread_attr_init(attributes) })?;
    // SAFETY: the attributes are initialised; a size that will not do is an error.
    let sized =
        result(unsafe { pthread_attr_setstacksize(attributes, stack.max(smallest_stack())) });
    let started = sized.and_then(|()| {
        let work: Box<Work> = Box::new(Box::new(work));
        let argument = Box::into_raw(work);
        let mut thread = 0;
        // SAFETY: thread and attributes are live; `argument` is a box that the new thread,
        // whose work is `Send` and borrows nothing, owns from here on.
        let code = unsafe { pthread_create(&raw mut thread, attributes, enter, argument.cast()) };
        if code != 0 {
            // SAFETY: no thread has been started, so the box is still ours alone.
            drop(unsafe { Box::from_raw(argument) });
        }
        result(code).map(|()| thread)
    });
    // SAFETY: the attributes are initialised and not used again.
    let _ = unsafe { pthread_attr_destroy(attributes) };
    started
}

const SCHED_BATCH: c_int = 3;

/// `struct sched_param`: the static priority, which has to be zero for this policy, and with musl
/// some reserved words.
#[repr(C, align(8))]
struct SchedulingParameters([c_int; 12]);

/// Tells the scheduler that this thread need not interrupt others as it wakes (sched(7)). Not by
/// sched_setscheduler(2), which musl does not have: there a process would be meant.
pub(crate) fn schedule_as_batch() -> io::Result<()> {
    let parameters = SchedulingParameters([0; 12]);
    let own = pthread_self();
    // SAFETY: the thread is this one, which lives; the parameters are live and only read.
    result(unsafe { pthread_setschedparam(own, SCHED_BATCH, &raw const parameters) })
}

#[cfg(test)]
mod tests;
