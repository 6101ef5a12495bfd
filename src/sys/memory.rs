//! When the host refuses memory, what asked for it fails, not the process.
//!
//! `std` ends the process where an allocation fails. Under RLIMIT_AS and RLIMIT_DATA (setrlimit(2)) and with
//! `vm.overcommit_memory=2` that is an ordinary event (malloc(3), ENOMEM). Two things prevent it:
//!
//! - What is large, or as large as clients, files and records make it, is allocated with [`carefully`] (also [`zeroed`], [`room`] and
//!   [`hold`]): that may fail, and the caller can continue without. So clients are rejected, files and
//!   records stay as they were, and bulk goes through the small buffer.
//! - What is small and cannot fail in `std` (a boxed closure, a node of a map, a line of the log) comes from a
//!   reserve when the host refuses it. The reserve is part of the process image, so the host has granted it before
//!   the start; it takes no memory until it is used. It is not for new work, which begins only while the
//!   host gives memory ([`is_short`], [`room`]).
//!
//! To free some memory when an allocation fails, instead, would depend on the C library, on the thread and
//! on the limit; the reserve does not. A process that uses up the reserve still ends.
//!
//! Memory that is free again goes back to the host. glibc by itself keeps it: in up to eight arenas per processor; more
//! and more as the thresholds of mallopt(3) follow the largest block; and in the stacks of threads that have ended, up
//! to 40 MiB. [`configure`] prevents the first two, and [`give_back`] is for the end of a burst. musl keeps little.

use std::collections::TryReserveError;
use std::hint::black_box;
use std::io;
use std::sync::atomic::Ordering;

use super::syscall::{HAS_REFUSED, without_reserve};
pub(crate) use super::syscall::{configure, give_back};

/// Bytes that the host must be able to give before new work begins, once it has refused some.
const ENOUGH: usize = 256 * 1024;

/// What a thread of `std` takes: its stack, its signal stack (without which `std` ends the process), and
/// some for its work.
const THREAD: usize = 2 * 1024 * 1024 + ENOUGH;

/// Whether the host is short of memory. If it has refused some before, this tries again.
pub(crate) fn is_short() -> bool {
    HAS_REFUSED.load(Ordering::Relaxed) && {
        let is_short = room(ENOUGH).is_err();
        HAS_REFUSED.store(is_short, Ordering::Relaxed);
        is_short
    }
}

/// Allocates without touching the reserve. `allocate` must be able to do without, as `try_reserve` is.
///
/// # Errors
/// "Cannot allocate memory" (ENOMEM).
pub(crate) fn carefully(allocate: impl FnOnce() -> Result<(), TryReserveError>) -> io::Result<()> {
    let outcome = without_reserve(allocate);
    #[cfg(test)]
    tests::may_be_had()?;
    outcome.map_err(|_| io::Error::from_raw_os_error(super::errno::ENOMEM))
}

/// So many bytes, all zero.
///
/// # Errors
/// If the host refuses them.
pub(crate) fn zeroed(bytes: usize) -> io::Result<Vec<u8>> {
    let mut buffer = hold(bytes)?;
    buffer.resize(bytes, 0);
    Ok(buffer)
}

/// A buffer with room for this many bytes: dropping it leaves that much for others.
///
/// # Errors
/// If the host refuses it.
pub(crate) fn hold(bytes: usize) -> io::Result<Vec<u8>> {
    let mut buffer = Vec::new();
    carefully(|| buffer.try_reserve_exact(bytes))?;
    // Without this the compiler may remove an allocation that is not used.
    Ok(black_box(buffer))
}

/// Whether the host would give this many bytes now, for work that allocates as it goes.
///
/// # Errors
/// If it would not.
pub(crate) fn room(bytes: usize) -> io::Result<()> {
    hold(bytes).map(drop)
}

/// Whether there is memory for a thread of `std`.
///
/// # Errors
/// If there is not.
pub(crate) fn room_for_thread() -> io::Result<()> {
    room(THREAD)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static REFUSED: Cell<bool> = const { Cell::new(false) };
    }

    /// The host refuses memory to this thread until the value is dropped.
    pub(crate) struct Refused;

    pub(crate) fn refuse() -> Refused {
        REFUSED.set(true);
        Refused
    }

    impl Drop for Refused {
        fn drop(&mut self) {
            REFUSED.set(false);
        }
    }

    pub(super) fn may_be_had() -> io::Result<()> {
        let refused = || io::Error::from_raw_os_error(crate::sys::errno::ENOMEM);
        if REFUSED.get() {
            Err(refused())
        } else {
            Ok(())
        }
    }

    #[test]
    fn an_allocation_that_may_fail_gets_nothing_of_the_reserve() {
        // No host has as much.
        let error = zeroed(usize::MAX).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(12));
        assert!(!is_short(), "the host is asked again");
        assert_eq!(zeroed(5).unwrap(), [0; 5]);
        room_for_thread().unwrap();
        let refused = refuse();
        assert!(zeroed(1).is_err() && room_for_thread().is_err());
        drop(refused);
        assert!(room(1).is_ok());
    }
}
