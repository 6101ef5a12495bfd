//! The runtime of LLVM's SanitizerCoverage: which edges of the code ran, which numbers it compared.
//!
//! The compiler calls the `__sanitizer_cov_*` functions below (clang's documentation of
//! SanitizerCoverage defines them) and leaves functions of that prefix uninstrumented. All is
//! thrown in one heap: the fuzzer itself is instrumented too, and so counters are cleared right
//! before and read right after the target runs.

use std::slice;
use std::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed,
};

/// The counters of the whole binary, one octet an edge; they wrap.
static START: AtomicPtr<AtomicU8> = AtomicPtr::new(std::ptr::null_mut());
static LENGTH: AtomicUsize = AtomicUsize::new(0);

/// The pairs of numbers compared last while a target ran, a ring.
static COMPARED: [[AtomicU64; 2]; PAIRS] = [const { [const { AtomicU64::new(0) }; 2] }; PAIRS];
const PAIRS: usize = 512;
static COMPARISONS: AtomicUsize = AtomicUsize::new(0);
static RUNNING: AtomicBool = AtomicBool::new(false);

/// Which counters have been seen in which order of magnitude: a bit for each of 1, 2, 3, 4–7,
/// 8–15, 16–31, 32–127 and 128–255 passes, as AFL has it.
pub struct Seen {
    bits: Vec<u8>,
}

impl Seen {
    pub fn new() -> Self {
        Self {
            bits: vec![0; counters().len()],
        }
    }

    /// Adds what ran since [`begin`]; true if any of it is new.
    pub fn absorb(&mut self) -> bool {
        RUNNING.store(false, Relaxed);
        let mut new = 0;
        for (seen, count) in self.bits.iter_mut().zip(counters()) {
            let bit = match count.load(Relaxed) {
                0 => continue,
                1 => 0,
                2 => 1,
                3 => 2,
                4..8 => 3,
                8..16 => 4,
                16..32 => 5,
                32..128 => 6,
                128.. => 7,
            };
            new |= 1 << bit & !*seen;
            *seen |= 1 << bit;
        }
        new != 0
    }

    /// Edges that ran at least once.
    pub fn edges(&self) -> usize {
        self.bits.iter().filter(|bits| **bits != 0).count()
    }
}

/// Sets all counters to zero and listens to comparisons.
pub fn begin() {
    for counter in counters() {
        counter.store(0, Relaxed);
    }
    RUNNING.store(true, Relaxed);
}

/// Two numbers that were compared lately.
pub fn compared(choice: usize) -> [u64; 2] {
    let [a, b] = &COMPARED[choice % PAIRS];
    [a.load(Relaxed), b.load(Relaxed)]
}

fn counters() -> &'static [AtomicU8] {
    let length = LENGTH.load(Relaxed);
    assert!(
        length > 0,
        "built without coverage: run cargo in tests/fuzz, which has the flags"
    );
    // SAFETY: the linker's section of counters, as the compiler's constructor told it; it is there
    // for as long as the program, and an octet may be seen as an atomic one.
    unsafe { slice::from_raw_parts(START.load(Relaxed), length) }
}

#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut AtomicU8, stop: *mut AtomicU8) {
    START.store(start, Relaxed);
    LENGTH.store(stop as usize - start as usize, Relaxed);
}

macro_rules! comparisons {
    ($($name:ident($type:ty))*) => { $(
        #[unsafe(no_mangle)]
        extern "C" fn $name(a: $type, b: $type) {
            if RUNNING.load(Relaxed) && a != b {
                let pair = &COMPARED[COMPARISONS.fetch_add(1, Relaxed) % PAIRS];
                pair[0].store(u64::from(a), Relaxed);
                pair[1].store(u64::from(b), Relaxed);
            }
        }
    )* };
}

comparisons! {
    __sanitizer_cov_trace_cmp1(u8)
    __sanitizer_cov_trace_cmp2(u16)
    __sanitizer_cov_trace_cmp4(u32)
    __sanitizer_cov_trace_cmp8(u64)
    __sanitizer_cov_trace_const_cmp1(u8)
    __sanitizer_cov_trace_const_cmp2(u16)
    __sanitizer_cov_trace_const_cmp4(u32)
    __sanitizer_cov_trace_const_cmp8(u64)
}

/// `cases` holds their number, the width of the value and then the cases.
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_trace_switch(value: u64, cases: *const u64) {
    // SAFETY: the compiler passes a constant of this layout.
    let cases = unsafe { slice::from_raw_parts(cases.add(2), *cases as usize) };
    if RUNNING.load(Relaxed) && !cases.is_empty() {
        let at = COMPARISONS.fetch_add(1, Relaxed);
        let pair = &COMPARED[at % PAIRS];
        pair[0].store(value, Relaxed);
        pair[1].store(cases[at % cases.len()], Relaxed);
    }
}
