//! Points in time: UTCTime and GeneralizedTime of a certificate, and their text.
//!
//! RFC 5280, section 4.1.2.5: both forms end in `Z`, have seconds and no fraction (stricter than
//! Go, which takes a UTCTime without seconds or with an offset; OpenSSL refuses it). Dates to
//! 2049 should be UTCTime and later ones GeneralizedTime, but a verifier "MUST be able to
//! process validity dates that are encoded in either", so the pairing is not enforced.
//! The clock is never read here: `now` is a parameter everywhere in this layer.

use std::fmt;

use crate::wire::Reader;
use crate::wire::der::{self, Error, tag};

const SECONDS_PER_DAY: i64 = 86_400;

/// Days from 0000-01-01 to 1970-01-01 in the proleptic Gregorian calendar.
const EPOCH_DAY: i64 = 719_528;

/// Seconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UnixTime(pub(crate) i64);

impl UnixTime {
    /// Reads a `Time` (RFC 5280, section 4.1).
    pub(crate) fn parse(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let (found, contents) = der::any(reader)?;
        der::whole(contents, |digits| {
            let year = match found {
                // Section 4.1.2.5.1: two digits mean 1950 to 2049.
                tag::UTC_TIME => match two_digits(digits)? {
                    late @ 0..=49 => late.saturating_add(2000),
                    early => early.saturating_add(1900),
                },
                tag::GENERALIZED_TIME => {
                    let century = two_digits(digits)?;
                    century
                        .saturating_mul(100)
                        .saturating_add(two_digits(digits)?)
                }
                _ => {
                    return Err(Error::UnexpectedTag {
                        expected: tag::UTC_TIME,
                        found,
                    });
                }
            };
            let (month, day) = (two_digits(digits)?, two_digits(digits)?);
            let (hour, minute) = (two_digits(digits)?, two_digits(digits)?);
            let second = two_digits(digits)?;
            if digits.u8() != Ok(b'Z') || hour > 23 || minute > 59 || second > 59 {
                return Err(Error::Time);
            }
            from_civil(year, month, day, [hour, minute, second]).ok_or(Error::Time)
        })
    }
}

/// Two decimal digits.
fn two_digits(reader: &mut Reader<'_>) -> Result<i64, Error> {
    let mut value = 0i64;
    for octet in reader.array::<2>().map_err(|_| Error::Time)? {
        if !octet.is_ascii_digit() {
            return Err(Error::Time);
        }
        value = value
            .saturating_mul(10)
            .saturating_add(i64::from(octet & 0x0f));
    }
    Ok(value)
}

/// Days in each month of the year, or `None` where there is no such month.
fn days_in_month(year: i64, month: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 if leap => Some(29),
        2 => Some(28),
        _ => None,
    }
}

/// Days from 0000-01-01 to the first of January of `year`.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "0 <= year <= 10000: every term is below 2^22"
)]
fn days_before_year(year: i64) -> i64 {
    // The year 0 is a leap year, hence the leap days are counted up to and with year - 1.
    let leap_days = (year + 3) / 4 - (year + 99) / 100 + (year + 399) / 400;
    year * 365 + leap_days
}

#[expect(
    clippy::arithmetic_side_effects,
    reason = "four-digit years and two-digit fields: every term is below 2^40"
)]
fn from_civil(
    year: i64,
    month: i64,
    day: i64,
    [hour, minute, second]: [i64; 3],
) -> Option<UnixTime> {
    if day < 1 || day > days_in_month(year, month)? {
        return None;
    }
    let mut days = days_before_year(year) - EPOCH_DAY + day - 1;
    for earlier in 1..month {
        days += days_in_month(year, earlier)?;
    }
    Some(UnixTime(
        days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second,
    ))
}

impl fmt::Display for UnixTime {
    /// RFC 3339, as in `2026-11-22T20:00:00Z`. Times outside of the years 0 to 9999, which
    /// no certificate can state, are shown as the nearest that is inside.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "after the clamp every term is below 2^40"
    )]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = -EPOCH_DAY * SECONDS_PER_DAY;
        let last = (days_before_year(10_000) - EPOCH_DAY) * SECONDS_PER_DAY - 1;
        let seconds = self.0.clamp(first, last);
        let of_day = seconds.rem_euclid(SECONDS_PER_DAY);
        let mut day = seconds.div_euclid(SECONDS_PER_DAY) + EPOCH_DAY;
        // 366 days a year give a year that is never too late and at most 7 years too early.
        let mut year = day / 366;
        while days_before_year(year + 1) <= day {
            year += 1;
        }
        day -= days_before_year(year);
        let mut month = 1;
        while let Some(days) = days_in_month(year, month).filter(|days| *days <= day) {
            day -= days;
            month += 1;
        }
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        let day = day + 1;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

#[cfg(test)]
#[allow(
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::panic
)]
mod tests {
    use super::*;

    fn parse(tag: u8, text: &str) -> Result<UnixTime, Error> {
        let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
        let input = [&[tag, length], text.as_bytes()].concat();
        UnixTime::parse(&mut Reader::new(&input))
    }

    #[test]
    fn both_forms_and_their_text() {
        const U: u8 = tag::UTC_TIME;
        const G: u8 = tag::GENERALIZED_TIME;
        // Seconds as computed by `date -u +%s`.
        let cases: &[(u8, &str, i64, &str)] = &[
            (U, "700101000000Z", 0, "1970-01-01T00:00:00Z"),
            (U, "500101000000Z", -631_152_000, "1950-01-01T00:00:00Z"),
            (U, "491231235959Z", 2_524_607_999, "2049-12-31T23:59:59Z"),
            (U, "000229120000Z", 951_825_600, "2000-02-29T12:00:00Z"),
            (U, "240229000000Z", 1_709_164_800, "2024-02-29T00:00:00Z"),
            (G, "20261122200000Z", 1_795_377_600, "2026-11-22T20:00:00Z"),
            (G, "19700101000001Z", 1, "1970-01-01T00:00:01Z"),
            (G, "20500101000000Z", 2_524_608_000, "2050-01-01T00:00:00Z"),
            (G, "29690503000001Z", 31_536_000_001, "2969-05-03T00:00:01Z"),
            (
                G,
                "99991231235959Z",
                253_402_300_799,
                "9999-12-31T23:59:59Z",
            ),
            (
                G,
                "00000101000000Z",
                -62_167_219_200,
                "0000-01-01T00:00:00Z",
            ),
        ];
        for (tag, text, seconds, shown) in cases {
            assert_eq!(parse(*tag, text), Ok(UnixTime(*seconds)), "{text}");
            assert_eq!(UnixTime(*seconds).to_string(), *shown);
        }
        assert_eq!(UnixTime(i64::MIN).to_string(), "0000-01-01T00:00:00Z");
        assert_eq!(UnixTime(i64::MAX).to_string(), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn text_and_parse_agree_on_every_day() {
        for day in (-EPOCH_DAY..2_932_897).step_by(13) {
            let time = UnixTime(day * SECONDS_PER_DAY + 86_399);
            let text: String = time.to_string().replace(['-', ':', 'T'], "");
            assert_eq!(parse(tag::GENERALIZED_TIME, &text), Ok(time));
        }
    }

    #[test]
    fn malformed_times() {
        let cases: &[(u8, &str, Error)] = &[
            (tag::UTC_TIME, "", Error::Time),
            (tag::UTC_TIME, "2611222000Z", Error::Time), // no seconds
            (tag::UTC_TIME, "261122200000", Error::Time), // no zone
            (tag::UTC_TIME, "261122200000+0000", Error::Time), // an offset
            (tag::UTC_TIME, "261122200000Z0", Error::Trailing),
            (tag::UTC_TIME, "261322200000Z", Error::Time),
            (tag::UTC_TIME, "260022200000Z", Error::Time),
            (tag::UTC_TIME, "261100200000Z", Error::Time),
            (tag::UTC_TIME, "261131200000Z", Error::Time),
            (tag::UTC_TIME, "250229200000Z", Error::Time),
            (tag::UTC_TIME, "261122240000Z", Error::Time),
            (tag::UTC_TIME, "261122206000Z", Error::Time),
            (tag::UTC_TIME, "261122200060Z", Error::Time), // a leap second
            (tag::UTC_TIME, "26112220 000Z", Error::Time),
            (tag::UTC_TIME, "-61122200000Z", Error::Time),
            (tag::GENERALIZED_TIME, "20261122200000.5Z", Error::Time),
            (tag::GENERALIZED_TIME, "19000229000000Z", Error::Time),
            (tag::GENERALIZED_TIME, "261122200000Z", Error::Time),
        ];
        for (tag, text, error) in cases {
            assert_eq!(parse(*tag, text), Err(*error), "{text}");
        }
        let other = Error::UnexpectedTag {
            expected: 0x17,
            found: 0x02,
        };
        assert_eq!(parse(2, "1"), Err(other));
    }
}
