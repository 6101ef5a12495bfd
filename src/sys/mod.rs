//! What the program asks of Linux beyond `std` and `socket2`.
//!
//! [`syscall`] and [`memory`] are the only files of the program with `unsafe` code: some foreign
//! functions behind safe, typed wrappers, and the allocator. The rest of this module is safe code over
//! them and over `/proc`: entropy, resource limits, what systemd passes and hears, what the kernel knows
//! of a connection, and errors in words.

pub(crate) mod activation;
mod cgroup;
pub(crate) mod errno;
pub(crate) mod journal;
pub(crate) mod limits;
#[allow(unsafe_code)]
pub(crate) mod memory;
pub(crate) mod notify;
mod plain;
mod platform;
pub(crate) mod program;
pub(crate) mod random;
pub(crate) mod signal;
#[allow(unsafe_code)]
pub(crate) mod syscall;
pub(crate) mod tcp;
pub(crate) mod usage;
pub(crate) mod waker;

pub(crate) use plain::{Plain, shortage};
