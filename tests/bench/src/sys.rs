//! The system calls that std does not have, and the only `unsafe` of this crate: epoll(7), setrlimit(2), the CPU
//! clock of another process (clock_getcpuclockid(3)), a socket bound before it connects, signals to a child.
//!
//! Declared by hand, for Linux with a 64-bit C library; constants and layouts are those of its headers.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_uint, c_ulong, c_void};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!(
    "the benchmark runs on 64-bit Linux only: it needs epoll, /proc and CPU clocks of other processes"
);

const EPOLL_CLOEXEC: c_int = 0o2_000_000;
const EPOLL_CTL_ADD: c_int = 1;
const EPOLL_CTL_DEL: c_int = 2;
const EPOLLIN: u32 = 1;
const RLIMIT_NOFILE: c_int = 7;
const AF_INET: u16 = 2;
const SOCK_STREAM: c_int = 1;
const SOCK_CLOEXEC: c_int = 0o2_000_000;
const IPPROTO_IP: c_int = 0;
const IP_BIND_ADDRESS_NO_PORT: c_int = 24;
const PR_SET_PDEATHSIG: c_int = 1;
pub const SIGTERM: c_int = 15;

/// struct epoll_event; packed on x86-64 alone, so that 32- and 64-bit programs share it.
#[derive(Clone, Copy, Default)]
#[cfg_attr(target_arch = "x86_64", repr(C, packed))]
#[cfg_attr(not(target_arch = "x86_64"), repr(C))]
pub struct Event {
    events: u32,
    token: u64,
}

impl Event {
    pub fn token(&self) -> u64 {
        self.token
    }
}

#[repr(C)]
struct Rlimit {
    current: c_ulong,
    maximum: c_ulong,
}

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

/// struct sockaddr_in; port and address in network byte order.
#[repr(C)]
struct SockaddrIn {
    family: u16,
    port: [u8; 2],
    address: [u8; 4],
    zero: [u8; 8],
}

unsafe extern "C" {
    fn epoll_create1(flags: c_int) -> c_int;
    fn epoll_ctl(epoll: c_int, operation: c_int, fd: c_int, event: *mut Event) -> c_int;
    fn epoll_wait(epoll: c_int, events: *mut Event, count: c_int, timeout: c_int) -> c_int;
    fn getrlimit(resource: c_int, limit: *mut Rlimit) -> c_int;
    fn setrlimit(resource: c_int, limit: *const Rlimit) -> c_int;
    fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int;
    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    fn setsockopt(
        socket: c_int,
        level: c_int,
        name: c_int,
        value: *const c_void,
        len: c_uint,
    ) -> c_int;
    fn bind(socket: c_int, address: *const SockaddrIn, len: c_uint) -> c_int;
    fn connect(socket: c_int, address: *const SockaddrIn, len: c_uint) -> c_int;
    fn listen(socket: c_int, backlog: c_int) -> c_int;
    fn kill(pid: c_int, signal: c_int) -> c_int;
    fn prctl(option: c_int, argument: c_ulong) -> c_int;
}

/// Level-triggered readiness to read.
pub struct Epoll(OwnedFd);

impl Epoll {
    pub fn new() -> io::Result<Epoll> {
        // SAFETY: takes no pointer.
        let fd = checked(unsafe { epoll_create1(EPOLL_CLOEXEC) })?;
        // SAFETY: the descriptor is new and owned by nobody else.
        Ok(Epoll(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub fn add(&self, fd: RawFd, token: u64) -> io::Result<()> {
        let events = EPOLLIN;
        self.control(EPOLL_CTL_ADD, fd, Event { events, token })
    }

    pub fn remove(&self, fd: RawFd) -> io::Result<()> {
        self.control(EPOLL_CTL_DEL, fd, Event::default())
    }

    /// The tokens that are ready; none after `timeout_ms`, -1 waits forever.
    pub fn wait<'a>(&self, events: &'a mut [Event], timeout_ms: c_int) -> io::Result<&'a [Event]> {
        let count = c_int::try_from(events.len()).unwrap_or(c_int::MAX);
        // SAFETY: `events` is writable memory for `count` events.
        let ready =
            unsafe { epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), count, timeout_ms) };
        match checked(ready) {
            Ok(ready) => Ok(&events[..ready as usize]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(&[]),
            Err(error) => Err(error),
        }
    }

    fn control(&self, operation: c_int, fd: RawFd, mut event: Event) -> io::Result<()> {
        // SAFETY: `event` lives through the call, which keeps no pointer to it.
        checked(unsafe { epoll_ctl(self.0.as_raw_fd(), operation, fd, &mut event) })?;
        Ok(())
    }
}

/// Sets the limit on descriptors, which children inherit, to `wanted` or to what this user may have; returns it.
pub fn limit_descriptors(wanted: u64) -> io::Result<u64> {
    let mut limit = Rlimit {
        current: 0,
        maximum: 0,
    };
    // SAFETY: `limit` is writable memory of the right layout.
    checked(unsafe { getrlimit(RLIMIT_NOFILE, &mut limit) })?;
    for value in [wanted, wanted.min(limit.maximum)] {
        let limit = Rlimit {
            current: value,
            maximum: value,
        };
        // SAFETY: `limit` is readable memory of the right layout.
        if checked(unsafe { setrlimit(RLIMIT_NOFILE, &limit) }).is_ok() {
            return Ok(value);
        }
    }
    Err(io::Error::last_os_error())
}

/// The CPU time of all threads of a process, living or not, to the nanosecond; nothing if it is gone.
pub fn process_cpu(pid: u32) -> Option<Duration> {
    const CPUCLOCK_SCHED: c_int = 2;
    let pid = c_int::try_from(pid).ok()?;
    let mut time = Timespec {
        seconds: 0,
        nanoseconds: 0,
    };
    // SAFETY: `time` is writable memory of the right layout.
    checked(unsafe { clock_gettime((!pid << 3) | CPUCLOCK_SCHED, &mut time) }).ok()?;
    Some(Duration::new(
        u64::try_from(time.seconds).ok()?,
        u32::try_from(time.nanoseconds).ok()?,
    ))
}

/// Connects from an address of this host to another, within `patience` if that is given; the kernel finds the port
/// when it knows both.
pub fn connect_from(
    source: Ipv4Addr,
    target: SocketAddrV4,
    patience: Option<Duration>,
) -> io::Result<TcpStream> {
    const LEN: c_uint = size_of::<SockaddrIn>() as c_uint;
    // SAFETY: takes no pointer.
    let fd = checked(unsafe { socket(c_int::from(AF_INET), SOCK_STREAM | SOCK_CLOEXEC, 0) })?;
    // SAFETY: the descriptor is new and owned by nobody else.
    let stream = unsafe { TcpStream::from_raw_fd(fd) };
    if patience.is_some() {
        // Holds for connect(2), too (socket(7), SO_SNDTIMEO).
        stream.set_write_timeout(patience)?;
    }
    let (one, size): (c_int, c_uint) = (1, size_of::<c_int>() as c_uint);
    let one: *const c_int = &one;
    // SAFETY: the option's value is a readable int.
    checked(unsafe { setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, one.cast(), size) })?;
    // SAFETY: the address is readable memory of `LEN` bytes.
    checked(unsafe { bind(fd, &SockaddrIn::new(SocketAddrV4::new(source, 0)), LEN) })?;
    // SAFETY: the address is readable memory of `LEN` bytes.
    checked(unsafe { connect(fd, &SockaddrIn::new(target), LEN) })?;
    Ok(stream)
}

/// Changes the backlog of a listener.
pub fn set_backlog(listener: &impl AsRawFd, backlog: c_int) -> io::Result<()> {
    // SAFETY: takes no pointer.
    checked(unsafe { listen(listener.as_raw_fd(), backlog) })?;
    Ok(())
}

/// Asks a child to end.
pub fn terminate(pid: u32) {
    if let Ok(pid) = c_int::try_from(pid) {
        // SAFETY: takes no pointer. A failure means that the child has ended already.
        unsafe { kill(pid, SIGTERM) };
    }
}

/// The child is asked to end when the thread that starts it does: nothing stays behind a benchmark that is killed.
pub fn end_with_parent(command: &mut Command) {
    let request = || {
        // SAFETY: takes no pointer, and is safe to call after fork(2).
        checked(unsafe { prctl(PR_SET_PDEATHSIG, SIGTERM as c_ulong) })?;
        Ok(())
    };
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(request) };
}

impl SockaddrIn {
    fn new(address: SocketAddrV4) -> SockaddrIn {
        SockaddrIn {
            family: AF_INET,
            port: address.port().to_be_bytes(),
            address: address.ip().octets(),
            zero: [0; 8],
        }
    }
}

fn checked(result: c_int) -> io::Result<c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
