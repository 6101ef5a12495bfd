//! The runtime of LLVM's SanitizerCoverage: which edges of the code ran, which numbers it compared.
//!
//! The compiler calls the `__sanitizer_cov_*` functions below (clang's documentation of
//! SanitizerCoverage defines them) and leaves functions of that prefix uninstrumented. All is
//! thrown in one heap: the fuzzer itself is instrumented too, and so counters are cleared right
//! before and read right after the target runs.

use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// The counters of the whole binary, one octet an edge; they wrap.
static START: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
static LENGTH: AtomicUsize = AtomicUsize::new(0);

/// Pairs of numbers that were compared while a target ran. The place of a pair is chosen by its
/// first number, the constant if there is one: so a loop does not push out what else was compared.
static COMPARED: [[AtomicU64; 2]; PAIRS] = [const { [const { AtomicU64::new(0) }; 2] }; PAIRS];
const PAIRS: usize = 512;
static RUNNING: AtomicBool = AtomicBool::new(false);

/// Which counters have been seen in which order of magnitude: a bit for each of 1, 2, 3, 4–7,
/// 8–15, 16–31, 32–127 and 128–255 passes, as AFL has it.
pub struct Seen {
    bits: Vec<u8>,
}

impl Seen {
    pub fn new() -> Self {
        Self {
            bits: vec![0; length()],
        }
    }

    /// Adds what ran since [`begin`]; true if any of it is new.
    pub fn absorb(&mut self) -> bool {
        RUNNING.store(false, Relaxed);
        let mut new = 0;
        let start = START.load(Relaxed);
        for (at, seen) in self.bits.chunks_mut(8).enumerate() {
            let mut counts = [0; 8];
            // SAFETY: as many counters as there are bits, see `length`. They change meanwhile, as
            // this code has some too, but not those of targets.
            unsafe { ptr::copy(start.add(8 * at), counts.as_mut_ptr(), seen.len()) };
            if counts == [0; 8] {
                continue;
            }
            for (seen, count) in seen.iter_mut().zip(counts) {
                let bit = match count {
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
    // SAFETY: as many counters as there are, see `length`.
    unsafe { ptr::write_bytes(START.load(Relaxed), 0, length()) };
    RUNNING.store(true, Relaxed);
}

/// Forgets what was compared.
pub fn forget_compared() {
    for number in COMPARED.as_flattened() {
        number.store(0, Relaxed);
    }
}

/// Two numbers that were compared, the first at or after place `choice`; zeros if there are none.
pub fn compared(choice: usize) -> [u64; 2] {
    (0..PAIRS)
        .map(|step| COMPARED[(choice + step) % PAIRS].each_ref())
        .map(|pair| pair.map(|number| number.load(Relaxed)))
        .find(|pair| *pair != [0, 0])
        .unwrap_or_default()
}

fn remember(a: u64, b: u64) {
    // Where something lies in memory is no help, and another number each time.
    let is_address = |number: u64| (1 << 40..1 << 48).contains(&number);
    if RUNNING.load(Relaxed) && a != b && !is_address(a) && !is_address(b) {
        // Fibonacci hashing: the upper nine bits
        let pair = &COMPARED[(a.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 55) as usize % PAIRS];
        pair[0].store(a, Relaxed);
        pair[1].store(b, Relaxed);
    }
}

/// How many counters there are: the linker's section of them, as the compiler's constructor told
/// it, which is there for as long as the program.
fn length() -> usize {
    let length = LENGTH.load(Relaxed);
    assert!(
        length > 0,
        "built without coverage: run cargo in tests/fuzz, which has the flags"
    );
    length
}

#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, stop: *mut u8) {
    START.store(start, Relaxed);
    LENGTH.store(stop as usize - start as usize, Relaxed);
}

macro_rules! comparisons {
    ($($name:ident($type:ty))*) => { $(
        #[unsafe(no_mangle)]
        extern "C" fn $name(a: $type, b: $type) {
            remember(a.into(), b.into());
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
    for case in cases {
        remember(*case, value);
    }
}
