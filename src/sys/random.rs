//! Entropy of the operating system. Pure code takes randomness as a parameter; this is
//! where the program's composition gets it from.

use std::io;
use std::time::Duration;

use super::syscall;

/// Whether the kernel gives entropy at all; asked once at start, so that a host without
/// it is an error before anything depends on it.
pub(crate) fn check() -> io::Result<()> {
    syscall::fill_random(&mut [0; 8])
}

/// Fills `buffer` with entropy. getrandom(2) without flags cannot fail once it has
/// succeeded, which [`check`] has seen.
///
/// # Panics
/// If the kernel breaks that promise: going on with guessable numbers would be worse.
pub(crate) fn fill(buffer: &mut [u8]) {
    if let Err(error) = syscall::fill_random(buffer) {
        panic!("getrandom: {error}");
    }
}

/// `delay`, shortened by up to a tenth at random, so that many gateways that lost the
/// same endpoint, or follow the same record, do not act in the same instant.
pub(crate) fn jittered(delay: Duration) -> Duration {
    let mut bytes = [0; 4];
    // Without entropy there is no spread, which is no reason to fail.
    let _ = syscall::fill_random(&mut bytes);
    let unit = f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX);
    delay.mul_f64(1.0 - 0.1 * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_a_tenth() {
        let delay = Duration::from_secs(60);
        let drawn: Vec<_> = (0..200).map(|_| jittered(delay)).collect();
        for jittered in &drawn {
            assert!(*jittered >= Duration::from_secs(54) && *jittered <= delay);
        }
        assert!(drawn.iter().min() != drawn.iter().max());
    }
}
