//! When an endpoint that does not serve is asked again: pure functions of their inputs.

use std::time::Duration;

use crate::sys::random;

/// The pause after the first failure; after each further one it is twice as long.
const FIRST: Duration = Duration::from_secs(1);

/// How long an endpoint is left alone that has failed so many times in a row before: 1, 2, 4 … s, at most
/// `retry_delay`, shortened by up to a tenth, so that many gateways that lost the same endpoint do not dial
/// it in the same instant. `number` is any number, drawn anew each time.
pub(super) fn delay(retry_delay: Duration, failures: u32, number: u32) -> Duration {
    // No delay that can be set takes more doublings.
    let doubled = FIRST.saturating_mul(1 << failures.min(30));
    random::shortened(doubled.min(retry_delay), number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_what_was_set_and_is_nine_tenths_to_all_of_it() {
        let (minute, ms) = (Duration::from_secs(60), Duration::from_millis);
        let cases = [
            // (set, failures before, number, delay)
            (minute, 0, 0, ms(1_000)),
            (minute, 0, u32::MAX, ms(900)),
            (minute, 1, 0, ms(2_000)),
            (minute, 5, 0, ms(32_000)),
            (minute, 6, 0, minute),
            (minute, u32::MAX, 0, minute),
            (minute, 6, u32::MAX / 2, ms(57_000)),
            (minute, 6, u32::MAX, ms(54_000)),
            (ms(100), 0, 0, ms(100)),
            (ms(100), 9, u32::MAX, ms(90)),
            (Duration::ZERO, 0, u32::MAX, Duration::ZERO),
        ];
        for (set, failures, number, expected) in cases {
            let off = delay(set, failures, number).abs_diff(expected);
            // A number in the middle is not exactly half of the largest.
            assert!(
                off < Duration::from_micros(1),
                "{set:?} {failures} {number} {off:?}"
            );
        }
    }
}
