//! The allocator of the program: the system's, and behind it a reserve for what the host refuses (`sys::memory` says why);
//! and options of glibc, by which it keeps little memory that is free.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
#[cfg(target_env = "gnu")]
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes of the reserve: what a few thousand sessions need to end, or a change of the largest set of endpoints.
const RESERVE: usize = 1024 * 1024;

/// The reserve is handed out in pieces of this many bytes, aligned to the same: more than a cache line, as channels of `std` are.
const GRAIN: usize = 128;
const GRAINS: usize = RESERVE / GRAIN;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator::new();

/// The host has refused memory, and was not asked again since.
pub(crate) static HAS_REFUSED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// This thread is in [`without_reserve`].
    static WITHOUT_RESERVE: Cell<bool> = const { Cell::new(false) };
}

/// Runs something whose allocations fail where the host refuses memory, instead of taking it from the reserve.
pub(crate) fn without_reserve<T>(allocate: impl FnOnce() -> T) -> T {
    let before = WITHOUT_RESERVE.replace(true);
    let outcome = allocate();
    WITHOUT_RESERVE.set(before);
    outcome
}

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    safe fn mallopt(option: c_int, value: c_int) -> c_int;
    safe fn malloc_trim(pad: usize) -> c_int;
}

/// Options of glibc, by the numbers of malloc.h. A session allocates a dozen times in its life, and small blocks are
/// cached per thread, so one arena is not a bottleneck. Thresholds are the
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
        let _ = super::thread::run_thread(ALL_STACKS, || ());
        malloc_trim(0);
    }
}

/// The system's allocator, and the reserve behind it.
struct Allocator {
    reserve: Reserve,
    taken: Mutex<Taken>,
}

#[repr(C, align(128))]
struct Reserve(UnsafeCell<[u8; RESERVE]>);

// SAFETY: only owners of pieces read or write the bytes, and `Taken` gives a piece to one owner at a time.
unsafe impl Sync for Reserve {}

/// Which grains of the reserve are in use.
struct Taken([bool; GRAINS]);

impl Taken {
    /// Takes this many grains in a row; returns the first.
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

    /// Takes from the reserve what the host has refused; null if it must not, or cannot.
    #[cold]
    fn fall_back(&self, layout: Layout) -> *mut u8 {
        HAS_REFUSED.store(true, Ordering::Relaxed);
        if WITHOUT_RESERVE.get() || layout.align() > GRAIN {
            return std::ptr::null_mut();
        }
        let first = self.taken().take(layout.size().div_ceil(GRAIN));
        let start: *mut u8 = self.reserve.0.get().cast();
        first.map_or(std::ptr::null_mut(), |first| {
            start.wrapping_add(first * GRAIN)
        })
    }

    /// The offset of a pointer in the reserve, if it points there.
    fn offset(&self, pointer: *mut u8) -> Option<usize> {
        let start = self.reserve.0.get().addr();
        let offset = pointer.addr().wrapping_sub(start);
        (offset < RESERVE).then_some(offset)
    }
}

// SAFETY: a piece of memory is the system's allocator's, or grains of the reserve that no other code has until they are
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
            // SAFETY: this many bytes were just taken from the reserve, and are not used elsewhere.
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
                // It shrinks in place: another piece might not be there, and the process would end.
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
            // SAFETY: both are at least this long, and the new one is not used elsewhere.
            unsafe { moved.copy_from_nonoverlapping(pointer, layout.size().min(size)) };
            // SAFETY: the caller promises that it is of this allocator, and gives it up.
            unsafe { self.dealloc(pointer, layout) };
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn the_reserve_is_not_for_what_may_fail() {
        let layout = Layout::from_size_align(64, 8).unwrap();
        assert!(without_reserve(|| OTHER.fall_back(layout)).is_null());
        assert!(!WITHOUT_RESERVE.get());
    }
}
