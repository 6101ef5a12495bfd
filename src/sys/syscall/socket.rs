//! Sockets, beyond what `socket2` has: looking at bytes without taking them, aborting a connection, options of TCP, and the
//! process at the other end.

use std::ffi::{c_int, c_uint, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::outcome::{checked, counted};

unsafe extern "C" {
    fn recv(fd: c_int, buffer: *mut c_void, length: usize, flags: c_int) -> isize;
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
}

/// Copies what a socket has received, as far as there is room, and leaves it there (recv(2)). Never waits: without bytes it
/// fails with `WouldBlock`.
pub(crate) fn peek(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    const MSG_PEEK: c_int = 0x02;
    const MSG_DONTWAIT: c_int = 0x40;
    let (fd, length) = (socket.as_raw_fd(), buffer.len());
    let bytes = buffer.as_mut_ptr().cast();
    // SAFETY: `buffer` is an exclusive borrow of that many writable bytes, and the descriptor stays open
    // while it is borrowed.
    counted(unsafe { recv(fd, bytes, length, MSG_PEEK | MSG_DONTWAIT) })
}

/// `struct sockaddr` of the family AF_UNSPEC, which has no addresses.
#[repr(C)]
struct NoAddress {
    family: u16,
    unused: [u8; 14],
}

/// Ends a TCP connection with a reset for every handle on it: what is not sent yet is dropped, and the peer gets a RST
/// (connect(2) on AF_UNSPEC; RFC 9293 calls it ABORT). Other calls on it fail from then on. Some kernels (6.4 and 6.5)
/// refuse while one of them sleeps in a read or a write.
pub(crate) fn disconnect(socket: BorrowedFd<'_>) -> io::Result<()> {
    const AF_UNSPEC: u16 = 0;
    let nowhere = NoAddress {
        family: AF_UNSPEC,
        unused: [0; 14],
    };
    let length = size_of::<NoAddress>() as c_uint;
    // SAFETY: the pointer is to a live `struct sockaddr` (`repr(C)`) of that length, which is only
    // read, and the descriptor stays open while it is borrowed.
    checked(unsafe { connect(socket.as_raw_fd(), &raw const nowhere, length) }).map(drop)
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
    checked(unsafe { getsockopt(fd, IPPROTO_TCP, name, bytes, &raw mut length) })?;
    Ok(usize::try_from(length).unwrap_or(0).min(value.len()))
}

/// Sets an option of TCP that is a number (tcp(7)).
pub(crate) fn set_tcp_option(socket: BorrowedFd<'_>, name: c_int, value: c_int) -> io::Result<()> {
    let (fd, length) = (socket.as_raw_fd(), size_of::<c_int>() as c_uint);
    let number = (&raw const value).cast();
    // SAFETY: the pointer is to a live number of that length, which is only read, and the descriptor
    // stays open while it is borrowed.
    checked(unsafe { setsockopt(fd, IPPROTO_TCP, name, number, length) }).map(drop)
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
    checked(unsafe { getsockopt(fd, SOL_SOCKET, SO_PEERCRED, value, &raw mut length) })?;
    Ok(credentials[0])
}
