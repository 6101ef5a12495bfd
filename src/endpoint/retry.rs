//! When an inactive endpoint is dialled again: a pure function of its inputs.

use std::time::Duration;

use crate::sys::random;

/// How long an endpoint that has failed is left alone: the delay that was set, shortened by up to a
/// tenth, so that many gateways that lost the same endpoint do not dial it in the same instant.
/// `number` is any number, drawn anew each time.
pub(super) fn delay(retry_delay: Duration, number: u32) -> Duration {
    random::shortened(retry_delay, number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_is_nine_tenths_to_all_of_what_was_set() {
        let (minute, ms) = (Duration::from_secs(60), Duration::from_millis);
        let cases = [
            // (set, number, delay)
            (minute, 0, minute),
            (minute, u32::MAX / 2, ms(57_000)),
            (minute, u32::MAX, ms(54_000)),
            (ms(100), 0, ms(100)),
            (ms(100), u32::MAX, ms(90)),
            (Duration::ZERO, u32::MAX, Duration::ZERO),
        ];
        for (set, number, expected) in cases {
            let off = delay(set, number).abs_diff(expected);
            // A number in the middle is not exactly half of the largest.
            assert!(off < Duration::from_micros(1), "{set:?} {number} {off:?}");
        }
    }
}
