//! When the host refuses memory, what asked for it fails, not the process.
//!
//! `std` ends the process where an allocation fails. Under RLIMIT_AS and RLIMIT_DATA (setrlimit(2)) and with
//! `vm.overcommit_memory=2` that is an ordinary event (malloc(3), ENOMEM). Two things prevent it:
//!
//! - What is large, or as large as others make it, is allocated with [`carefully`] (also [`zeroed`], [`room`] and
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

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
use std::collections::TryReserveError;
#[cfg(target_env = "gnu")]
use std::ffi::c_int;
use std::hint::black_box;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes of the reserve: what a few thousand sessions need to end, or a change of the largest set of endpoints.
const RESERVE: usize = 1024 * 1024;

/// The reserve is handed out in pieces of so many bytes, and aligned to that: more than a cache line, as channels of `std` are.
const GRAIN: usize = 128;
const GRAINS: usize = RESERVE / GRAIN;

/// Bytes that the host must be able to give before new work begins, once it has refused some.
const ENOUGH: usize = 256 * 1024;

/// What a thread of `std` takes: its stack, its signal stack (without which `std` ends the process), and
/// some for its work.
const THREAD: usize = 2 * 1024 * 1024 + ENOUGH;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator::new();

/// The host has refused memory, and was not asked again since.
static SHORT: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// This thread is in [`carefully`].
    static CAREFUL: Cell<bool> = const { Cell::new(false) };
}

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    safe fn mallopt(option: c_int, value: c_int) -> c_int;
    safe fn malloc_trim(pad: usize) -> c_int;
}

/// Options of glibc, by the numbers of malloc.h. A session allocates a dozen times in its life, and small blocks are
/// cached per thread, so one arena is no bottleneck. Thresholds are the
/// defaults of mallopt(3); once they are set, they stay.
#[cfg(target_env = "gnu")]
const OPTIONS: [(c_int, c_int); 3] = [
    // M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
    (-8, 1),
    (-3, 128 * 1024),
    (-1, 128 * 1024),
];

/// A little more than the size of all stacks that glibc keeps of threads that have ended
/// (glibc.pthread.stack_cache_size): one as large drives out all others, and is not kept itself.
#[cfg(target_env = "gnu")]
const ALL_STACKS: usize = 41 * 1024 * 1024;

/// Has the C library keep little memory that is free. To be called before the first thread.
pub(crate) fn configure() {
    #[cfg(target_env = "gnu")]
    for (option, value) in OPTIONS {
        // An option that is refused stays as it is.
        mallopt(option, value);
    }
}

/// Gives free memory back to the host, after a burst: takes some milliseconds for some megabytes.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    {
        // Without the address space for it the stacks stay, for the next threads. One that ends while nobody waits
        // for it is kept itself, for as long as no other thread ends.
        let _ = super::syscall::run_thread(ALL_STACKS, || ());
        malloc_trim(0);
    }
}

/// Whether the host is short of memory. If it has refused some before, this tries again.
pub(crate) fn is_short() -> bool {
    SHORT.load(Ordering::Relaxed) && {
        let is_short = room(ENOUGH).is_err();
        SHORT.store(is_short, Ordering::Relaxed);
        is_short
    }
}

/// Allocates without touching the reserve. `allocate` must be able to do without, as `try_reserve` is.
///
/// # Errors
/// "Cannot allocate memory" (ENOMEM).
pub(crate) fn carefully(allocate: impl FnOnce() -> Result<(), TryReserveError>) -> io::Result<()> {
    let before = CAREFUL.replace(true);
    let outcome = allocate();
    CAREFUL.set(before);
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

/// A buffer with room for so many bytes: dropping it leaves that much for others.
///
/// # Errors
/// If the host refuses it.
pub(crate) fn hold(bytes: usize) -> io::Result<Vec<u8>> {
    let mut buffer = Vec::new();
    carefully(|| buffer.try_reserve_exact(bytes))?;
    // Without this the compiler may leave out an allocation that nobody uses.
    Ok(black_box(buffer))
}

/// Whether the host would give so many bytes now, for work that allocates as it goes.
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

/// The system's allocator, and the reserve behind it.
struct Allocator {
    reserve: Reserve,
    taken: Mutex<Taken>,
}

#[repr(C, align(128))]
struct Reserve(UnsafeCell<[u8; RESERVE]>);

// SAFETY: nobody reads or writes the bytes here but the owners of pieces, and `Taken` gives a piece to one owner
// at a time.
unsafe impl Sync for Reserve {}

/// Which grains of the reserve are in use.
struct Taken([bool; GRAINS]);

impl Taken {
    /// Takes so many grains in a row; returns the first.
    fn take(&mut self, count: usize) -> Option<usize> {
        let mut free = 0;
        for (grain, taken) in self.0.iter().enumerate() {
            free = if *taken { 0 } else { free + 1 };
            if free == count {
                let first = grain + 1 - count;
                self.mark(first, count, true);
                return Some(first);
            }
        }
        None
    }

    fn mark(&mut self, first: usize, count: usize, taken: bool) {
        let grains = self.0.iter_mut().skip(first).take(count);
        grains.for_each(|grain| *grain = taken);
    }
}

impl Allocator {
    const fn new() -> Self {
        Self {
            reserve: Reserve(UnsafeCell::new([0; RESERVE])),
            taken: Mutex::new(Taken([false; GRAINS])),
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the host has refused, from the reserve; null if that may or can not be.
    #[cold]
    fn fall_back(&self, layout: Layout) -> *mut u8 {
        SHORT.store(true, Ordering::Relaxed);
        if CAREFUL.get() || layout.align() > GRAIN {
            return std::ptr::null_mut();
        }
        let first = self.taken().take(layout.size().div_ceil(GRAIN));
        let start: *mut u8 = self.reserve.0.get().cast();
        first.map_or(std::ptr::null_mut(), |first| {
            start.wrapping_add(first * GRAIN)
        })
    }

    /// How far into the reserve a pointer is, if it is into that.
    fn offset(&self, pointer: *mut u8) -> Option<usize> {
        let start = self.reserve.0.get().addr();
        let offset = pointer.addr().wrapping_sub(start);
        (offset < RESERVE).then_some(offset)
    }
}

// SAFETY: a piece of memory is the system's allocator's, or grains of the reserve that nobody else has until they are
// given back; those are aligned to `GRAIN`, and no more than that is promised. Nothing here panics.
unsafe impl GlobalAlloc for Allocator {
    // SAFETY: what the trait asks of the caller is all that it needs.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller promises what this function asks for.
        let found = unsafe { System.alloc(layout) };
        if found.is_null() {
            return self.fall_back(layout);
        }
        found
    }

    // SAFETY: as above.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller promises what this function asks for.
        let found = unsafe { System.alloc_zeroed(layout) };
        if !found.is_null() {
            return found;
        }
        let found = self.fall_back(layout);
        if !found.is_null() {
            // SAFETY: so many bytes were just taken from the reserve, and are nobody else's.
            unsafe { found.write_bytes(0, layout.size()) };
        }
        found
    }

    // SAFETY: as above.
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        match self.offset(pointer) {
            Some(offset) => {
                let count = layout.size().div_ceil(GRAIN);
                self.taken().mark(offset / GRAIN, count, false);
            }
            // SAFETY: it is not of the reserve, so it is of this allocator, with the caller's promises.
            None => unsafe { System.dealloc(pointer, layout) },
        }
    }

    // SAFETY: as above.
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if let Some(offset) = self.offset(pointer) {
            let (before, after) = (layout.size().div_ceil(GRAIN), size.div_ceil(GRAIN));
            if after <= before {
                // No other piece is needed, for want of which the process would end.
                let first = offset / GRAIN + after;
                self.taken().mark(first, before - after, false);
                return pointer;
            }
        } else {
            // SAFETY: it is not of the reserve, so it is of this allocator, with the caller's promises.
            let moved = unsafe { System.realloc(pointer, layout, size) };
            if !moved.is_null() {
                return moved;
            }
        }
        let Ok(new) = Layout::from_size_align(size, layout.align()) else {
            return std::ptr::null_mut();
        };
        // SAFETY: the caller promises that the size is not zero.
        let moved = unsafe { self.alloc(new) };
        if !moved.is_null() {
            // SAFETY: both are at least so long, and the new one is nobody else's.
            unsafe { moved.copy_from_nonoverlapping(pointer, layout.size().min(size)) };
            // SAFETY: the caller promises that it is of this allocator, and gives it up.
            unsafe { self.dealloc(pointer, layout) };
        }
        moved
    }
}

#[cfg(test)]
pub(crate) mod tests {
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

    /// One of its own, for the program's is in use.
    static OTHER: Allocator = Allocator::new();

    fn is_empty(allocator: &Allocator) -> bool {
        !allocator.taken().0.contains(&true)
    }

    #[test]
    fn grains_are_taken_in_a_row_and_given_back() {
        let mut taken = Taken([false; GRAINS]);
        assert_eq!(
            [taken.take(3), taken.take(1), taken.take(2)],
            [Some(0), Some(3), Some(4)]
        );
        taken.mark(0, 3, false);
        assert_eq!(
            [taken.take(4), taken.take(2), taken.take(1)],
            [Some(6), Some(0), Some(2)]
        );
        assert_eq!(taken.take(GRAINS - 10), Some(10));
        assert_eq!([taken.take(1), taken.take(GRAINS + 1)], [None, None]);
        taken.mark(GRAINS - 1, 1, false);
        assert_eq!([taken.take(2), taken.take(1)], [None, Some(GRAINS - 1)]);
    }

    /// Pieces of the reserve are as good as others: whole, apart, grown, shrunk and given back.
    #[test]
    fn what_comes_from_the_reserve_is_memory_like_any_other() {
        let layout = |size| Layout::from_size_align(size, 8).unwrap();
        let pieces = [1, 64, 65, 100_000].map(|size| (OTHER.fall_back(layout(size)), size));
        for (number, (piece, size)) in (1..).zip(pieces) {
            assert!(
                OTHER
                    .offset(piece)
                    .is_some_and(|offset| offset % GRAIN == 0)
            );
            // SAFETY: it is that long.
            unsafe { piece.write_bytes(number, size) };
        }
        for (number, (piece, size)) in (1..).zip(pieces) {
            // SAFETY: it is of this allocator; it is moved out of the reserve.
            let moved = unsafe { OTHER.realloc(piece, layout(size), size + 1000) };
            assert!(!moved.is_null() && OTHER.offset(moved).is_none());
            // SAFETY: it is that long, and its first bytes were written.
            let bytes = unsafe { std::slice::from_raw_parts(moved, size) };
            assert!(bytes.iter().all(|byte| *byte == number), "{size}");
            // SAFETY: it is of this allocator.
            unsafe { OTHER.dealloc(moved, layout(size + 1000)) };
        }
        assert!(is_empty(&OTHER));
        // To be shrunk must not fail: it stays, and what it had more is for others, though none is free elsewhere.
        let whole = OTHER.fall_back(layout(RESERVE));
        for (old, new) in [(RESERVE, 101), (101, 128), (128, 1)] {
            // SAFETY: it is of this allocator.
            let shrunk = unsafe { OTHER.realloc(whole, layout(old), new) };
            assert_eq!(shrunk, whole);
        }
        let rest = OTHER.fall_back(layout(RESERVE - GRAIN));
        assert!(OTHER.offset(rest).is_some());
        for (piece, size) in [(whole, 1), (rest, RESERVE - GRAIN)] {
            // SAFETY: it is of this allocator.
            unsafe { OTHER.dealloc(piece, layout(size)) };
        }
        assert!(is_empty(&OTHER));
        let aligned = Layout::from_size_align(64, 4096).unwrap();
        assert!(OTHER.fall_back(aligned).is_null(), "it is aligned to less");
        let piece = OTHER.fall_back(layout(64));
        // SAFETY: it is of this allocator.
        unsafe { OTHER.dealloc(piece, layout(64)) };
        assert!(is_empty(&OTHER));
    }

    #[test]
    fn whoever_can_do_without_gets_nothing_of_the_reserve() {
        // No host has as much.
        let error = zeroed(usize::MAX).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(12));
        assert!(!is_short(), "the host is asked again");
        let layout = Layout::from_size_align(64, 8).unwrap();
        let refused = carefully(|| {
            assert!(ALLOCATOR.fall_back(layout).is_null());
            Ok(())
        });
        assert!(refused.is_ok() && !CAREFUL.get());
        assert_eq!(zeroed(5).unwrap(), [0; 5]);
        room_for_thread().unwrap();
        let refused = refuse();
        assert!(zeroed(1).is_err() && room_for_thread().is_err());
        drop(refused);
        assert!(room(1).is_ok());
    }
}
