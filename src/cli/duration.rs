//! Go's durations, as `time.ParseDuration` reads them.
//!
//! The reference's flags are Go durations, so an existing unit file must mean the same here, including the rounding of
//! fractions. The messages are those of Go, because operators search for them. One difference is on purpose: Go adds the
//! terms in 64 bits and checks after the addition, so that two terms of 2^63 ns each wrap around to zero; here they are
//! refused.

use std::time::Duration;

use super::error::{Error, shown};

/// 2^63: the largest magnitude (of a negative duration), and Go's bound for every step.
const MAGNITUDE_MAX: u64 = 1 << 63;

const SECOND: u64 = 1_000_000_000;

/// A duration; `None` if it is negative.
pub(super) fn parse(text: &str) -> Result<Option<Duration>, Error> {
    let nanoseconds = nanoseconds(text)?;
    Ok(u64::try_from(nanoseconds).ok().map(Duration::from_nanos))
}

/// Reads `[-+]?([0-9]*(\.[0-9]*)?unit)+`, or a bare `0` with or without a sign.
fn nanoseconds(text: &str) -> Result<i64, Error> {
    let quoted = shown(text.as_ref());
    let invalid = || format!("time: invalid duration {quoted}; write 1m30s, 5s or 250ms");
    let negative = text.starts_with('-');
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid().into());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, after) = take_digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => take_digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid().into());
        }
        // Go too checks the size of the number before the unit. None at all is zero, as in `.5s`.
        let count = match whole {
            "" => Ok(0),
            digits => digits.parse::<u64>(),
        };
        let count = count.ok().filter(|count| *count <= MAGNITUDE_MAX);
        let count = count.ok_or_else(invalid)?;
        let unit_end = after
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit_name, after) = after.split_at(unit_end);
        let unit = match unit_name {
            "ns" => 1,
            // Two spellings of micro: U+00B5 and U+03BC.
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => SECOND,
            "m" => 60 * SECOND,
            "h" => 3_600 * SECOND,
            "" => {
                let problem = format!("time: missing unit in duration {quoted}");
                return Err(format!("{problem}; write 1m30s, 5s or 250ms").into());
            }
            other => {
                let other = shown(other.as_ref());
                let problem = format!("time: unknown unit {other} in duration {quoted}");
                return Err(format!("{problem}; the units are ns us ms s m h").into());
            }
        };
        total = count
            .checked_mul(unit)
            .and_then(|term| term.checked_add(fraction_of(fraction, unit)))
            .and_then(|term| total.checked_add(term))
            .filter(|&sum| sum <= MAGNITUDE_MAX)
            .ok_or_else(invalid)?;
        rest = after;
    }
    let signed = match negative {
        true => 0i64.checked_sub_unsigned(total),
        false => 0i64.checked_add_unsigned(total),
    };
    Ok(signed.ok_or_else(invalid)?)
}

fn take_digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

/// The digits behind the point, in nanoseconds: Go's `leadingFraction`, then its floating
/// point product, so that the result is equal to the last nanosecond. Digits beyond what
/// 63 bits hold are dropped, as Go does.
fn fraction_of(digits: &str, unit: u64) -> u64 {
    let mut value: u64 = 0;
    let mut scale: f64 = 1.0;
    for digit in digits.bytes().map(|b| u64::from(b - b'0')) {
        if value > (MAGNITUDE_MAX - 1) / 10 || value * 10 + digit > MAGNITUDE_MAX {
            break;
        }
        value = value * 10 + digit;
        scale *= 10.0;
    }
    // Below `unit`, apart from rounding: the conversion back cannot lose anything.
    (value as f64 * (unit as f64 / scale)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const NS: i64 = 1;
    const US: i64 = 1_000;
    const MS: i64 = 1_000_000;
    const S: i64 = 1_000_000_000;
    const M: i64 = 60 * S;
    const H: i64 = 60 * M;

    #[test]
    fn accepted_as_go_does() {
        const CASES: &[(&str, i64)] = &[
            ("0", 0),
            ("-0", 0),
            ("+0", 0),
            ("0s", 0),
            ("5s", 5 * S),
            ("30s", 30 * S),
            ("1478s", 1478 * S),
            ("-5s", -5 * S),
            ("+5s", 5 * S),
            ("5.0s", 5 * S),
            ("5.6s", 5 * S + 600 * MS),
            ("5.s", 5 * S),
            (".5s", 500 * MS),
            ("1.0s", S),
            ("1.00s", S),
            ("1.004s", S + 4 * MS),
            ("1.0040s", S + 4 * MS),
            ("100.00100s", 100 * S + MS),
            ("10ns", 10 * NS),
            ("11us", 11 * US),
            ("12\u{b5}s", 12 * US),
            ("12\u{3bc}s", 12 * US),
            ("13ms", 13 * MS),
            ("14s", 14 * S),
            ("15m", 15 * M),
            ("16h", 16 * H),
            ("3h30m", 3 * H + 30 * M),
            ("10.5s4m", 4 * M + 10 * S + 500 * MS),
            ("-2m3.4s", -(2 * M + 3 * S + 400 * MS)),
            (
                "1h2m3s4ms5us6ns",
                H + 2 * M + 3 * S + 4 * MS + 5 * US + 6 * NS,
            ),
            ("39h9m14.425s", 39 * H + 9 * M + 14 * S + 425 * MS),
            ("0.5ns", 0),
            ("000001s", S),
            // Beyond 2^53: not to be computed as a float.
            ("52763797000ns", 52_763_797_000),
            ("9007199254740993ns", 9_007_199_254_740_993),
            // More digits than 63 bits hold, which are dropped.
            ("0.3333333333333333333h", 20 * M),
            ("0.100000000000000000000h", 6 * M),
            ("0.830103483285477580700h", 49 * M + 48 * S + 372_539_827),
            // The ends of the range.
            ("9223372036854775807ns", i64::MAX),
            ("9223372036854775.807us", i64::MAX),
            ("9223372036s854ms775us807ns", i64::MAX),
            ("-9223372036854775807ns", -i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
            ("-9223372036854775.808us", i64::MIN),
            ("-9223372036s854ms775us808ns", i64::MIN),
            ("-2562047h47m16.854775808s", i64::MIN),
        ];
        for &(text, expected) in CASES {
            assert_eq!(nanoseconds(text), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn refused_as_go_does_in_its_words() {
        const CASES: &[(&str, &str)] = &[
            ("", "invalid duration \"\""),
            ("3", "missing unit in duration \"3\""),
            ("123", "missing unit in duration \"123\""),
            ("00", "missing unit in duration \"00\""),
            ("0.0", "missing unit in duration \"0.0\""),
            ("1h2", "missing unit in duration \"1h2\""),
            ("1.5.", "missing unit in duration \"1.5.\""),
            ("-", "invalid duration \"-\""),
            ("+", "invalid duration \"+\""),
            ("--1s", "invalid duration \"--1s\""),
            ("s", "invalid duration \"s\""),
            (".", "invalid duration \".\""),
            ("-.", "invalid duration \"-.\""),
            (".s", "invalid duration \".s\""),
            ("+.s", "invalid duration \"+.s\""),
            (" 1s", "invalid duration \" 1s\""),
            ("1s ", "unknown unit \"s \" in duration \"1s \""),
            ("1 s", "unknown unit \" s\" in duration \"1 s\""),
            ("1d", "unknown unit \"d\" in duration \"1d\""),
            ("1S", "unknown unit \"S\" in duration \"1S\""),
            ("1s-1s", "unknown unit \"s-\" in duration \"1s-1s\""),
            ("1m,", "unknown unit \"m,\" in duration \"1m,\""),
            ("1\u{661}s", "unknown unit \"\u{661}s\""),
            ("9223372036854775808ns", "invalid duration"),
            ("9223372036854775.808us", "invalid duration"),
            ("9223372036854ms775us808ns", "invalid duration"),
            ("-9223372036854775809ns", "invalid duration"),
            ("3000000h", "invalid duration"),
            // The sum is checked before the next unit.
            ("9223372036854775807ns2ns1x", "invalid duration"),
            ("99999999999999999999s", "invalid duration"),
            // Go wraps these around to zero; see the head of the file.
            (
                "-9223372036854775808ns9223372036854775808ns",
                "invalid duration",
            ),
        ];
        for &(text, message) in CASES {
            let error = nanoseconds(text).unwrap_err().to_string();
            let expected = format!("time: {message}");
            assert!(error.starts_with(&expected), "{text:?}: {error}");
        }
    }

    /// The grammar again, in the simplest way: one `number unit` after another, in exact integers. It is valid for short
    /// texts, for which Go's floats are exact too.
    fn oracle(text: &str) -> Option<i128> {
        let (sign, mut rest) = match text.chars().next()? {
            '-' => (-1, &text[1..]),
            '+' => (1, &text[1..]),
            _ => (1, text),
        };
        if rest == "0" {
            return Some(0);
        }
        let mut terms = 0;
        let mut total = 0;
        while !rest.is_empty() {
            let number: String = rest
                .chars()
                .take_while(|c| "0123456789.".contains(*c))
                .collect();
            rest = &rest[number.len()..];
            let word: String = rest
                .chars()
                .take_while(|c| !"0123456789.".contains(*c))
                .collect();
            rest = &rest[word.len()..];
            let unit: i128 = match word.as_str() {
                "ns" => 1,
                "us" | "\u{b5}s" => 1_000,
                "ms" => 1_000_000,
                "s" => 1_000_000_000,
                "m" => 60_000_000_000,
                "h" => 3_600_000_000_000,
                _ => return None,
            };
            let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
            if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
                return None;
            }
            let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
            total += digits * unit / 10_i128.pow(u32::try_from(fraction.len()).ok()?);
            terms += 1;
        }
        (terms > 0).then_some(sign * total)
    }

    #[test]
    fn sweep() {
        const ALPHABET: [&str; 13] = [
            "0", "1", "9", ".", "-", "+", "s", "m", "h", "n", "u", "\u{b5}", " ",
        ];
        let (mut tried, mut accepted) = (0, 0);
        let mut layer = vec![String::new()];
        for _ in 0..5 {
            let longer = |text: &String| ALPHABET.map(|piece| format!("{text}{piece}"));
            layer = layer.iter().flat_map(longer).collect();
            for text in &layer {
                tried += 1;
                let value = nanoseconds(text).ok();
                assert_eq!(value.map(i128::from), oracle(text), "{text:?}");
                let unsigned = value.map(|value| u64::try_from(value).ok());
                let duration = unsigned.map(|value| value.map(Duration::from_nanos));
                assert_eq!(parse(text).ok(), duration, "{text:?}");
                accepted += usize::from(value.is_some());
            }
        }
        assert_eq!(tried, 13 + 169 + 2_197 + 28_561 + 371_293);
        assert!(accepted > 1_000, "{accepted}");
    }
}
