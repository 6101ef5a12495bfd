//! Entropy of the operating system. Pure code takes randomness as a parameter; this is
//! where the program's composition gets it from.

use std::io;
use std::time::Duration;

/// Whether the kernel gives entropy at all; asked once at start, so that a host without
/// it is an error before anything depends on it.
pub(crate) fn check() -> io::Result<()> {
    fill(&mut [0; 8])
}

/// Fills a buffer. getrandom(2) without flags does not fail once it has succeeded, as [`check`] has
/// seen; if it fails all the same, the caller fails too, because guessable numbers would be worse.
pub(crate) use super::syscall::fill_random as fill;

/// A number for [`shortened`]; without entropy 0, because a delay of full length is not a reason to fail.
pub(crate) fn number() -> u32 {
    let mut bytes = [0; 4];
    let _ = fill(&mut bytes);
    u32::from_le_bytes(bytes)
}

/// `delay`, shortened by up to a tenth, the more the larger the `number` is.
pub(crate) fn shortened(delay: Duration, number: u32) -> Duration {
    delay.mul_f64(1.0 - 0.1 * f64::from(number) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_a_tenth() {
        let delay = Duration::from_secs(60);
        let drawn: Vec<_> = (0..200).map(|_| shortened(delay, number())).collect();
        for jittered in &drawn {
            assert!(*jittered >= Duration::from_secs(54) && *jittered <= delay);
        }
        assert!(drawn.iter().min() != drawn.iter().max());
    }
}
