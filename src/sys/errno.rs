//! Numbers of `errno` that `std::io::ErrorKind` does not tell apart, as most of Linux has them
//! (asm-generic/errno.h, errno(3)).

/// A signal came before the call was done.
pub(crate) const EINTR: i32 = 4;
/// A device failed.
pub(crate) const EIO: i32 = 5;
/// A named pipe that nobody reads from, or a socket, is to be opened.
pub(crate) const ENXIO: i32 = 6;
/// A security module forbids it.
pub(crate) const EACCES: i32 = 13;
/// The system-wide table of open files is full.
pub(crate) const ENFILE: i32 = 23;
/// The process has no descriptor left.
pub(crate) const EMFILE: i32 = 24;
/// The kernel has no such protocol family.
pub(crate) const EAFNOSUPPORT: i32 = 97;
/// An ICMP message: the host there is cut off from its network.
pub(crate) const ENONET: i32 = 64;
/// An ICMPv6 message: the host there did not understand what it got.
pub(crate) const EPROTO: i32 = 71;
/// It is a descriptor of something else than a socket.
pub(crate) const ENOTSOCK: i32 = 88;
/// An ICMP message: nobody there knows the protocol.
pub(crate) const ENOPROTOOPT: i32 = 92;
/// An ICMP message: the way there does not take such packets.
pub(crate) const EOPNOTSUPP: i32 = 95;
/// No route leads there.
pub(crate) const ENETUNREACH: i32 = 101;
/// The kernel has no memory for socket buffers.
pub(crate) const ENOBUFS: i32 = 105;
/// The kernel has no memory.
pub(crate) const ENOMEM: i32 = 12;
/// The client was gone before it was accepted.
pub(crate) const ECONNABORTED: i32 = 103;
/// The socket is connected.
pub(crate) const EISCONN: i32 = 106;
/// A connect has begun before.
pub(crate) const EALREADY: i32 = 114;
/// The host there is down, as its neighbours say.
pub(crate) const EHOSTDOWN: i32 = 112;
/// A non-blocking connect has begun.
pub(crate) const EINPROGRESS: i32 = 115;
