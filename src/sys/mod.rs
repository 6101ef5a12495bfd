//! What the program asks of Linux beyond `std` and `socket2`.
//!
//! [`syscall`] is the only file of the program with `unsafe` code: a dozen foreign
//! functions behind safe, typed wrappers. The rest of this module is safe code over
//! it and over `/proc`: entropy, resource limits, what systemd passes and hears, what the kernel knows
//! of a connection, and errors in words.

pub(crate) mod activation;
mod cgroup;
pub(crate) mod errno;
pub(crate) mod limits;
pub(crate) mod notify;
mod plain;
mod platform;
pub(crate) mod random;
#[allow(unsafe_code)]
pub(crate) mod syscall;
pub(crate) mod tcp;
pub(crate) mod usage;
pub(crate) mod waker;

pub(crate) use plain::Plain;
