//! What the program asks of Linux beyond `std` and `socket2`.
//!
//! Only the files of [`syscall`] have `unsafe` code: foreign functions behind safe, typed wrappers, and the allocator. The
//! rest of this module is safe code over them and over `/proc`: entropy, resource limits, the interfaces of systemd, TCP_INFO,
//! and errors in words.

pub(crate) mod activation;
mod cgroup;
pub(crate) mod errno;
pub(crate) mod journal;
pub(crate) mod limits;
pub(crate) mod memory;
pub(crate) mod notify;
mod platform;
pub(crate) mod program;
pub(crate) mod random;
pub(crate) mod signal;
#[allow(unsafe_code)]
pub(crate) mod syscall;
pub(crate) mod tcp;
pub(crate) mod usage;
pub(crate) mod waker;

pub(crate) use errno::{OsErrorText, shortage};
