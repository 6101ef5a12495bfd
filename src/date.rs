//! Points in time as text, in UTC: for logs and JSON (RFC 3339) and for HTTP (RFC 9110,
//! section 5.6.7); the Gregorian calendar for these and for certificates. Pure: the present time
//! is a parameter.
//!
//! The wall clock may be set at any time, by years if a host starts without a clock. So an event is
//! stored as an `Instant`, durations are measured between these, and the date of an event is computed
//! when it is printed: [`Now`].

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const SECONDS_PER_DAY: i64 = 86_400;

/// Time since 1970; an earlier time counts as 1970.
pub(crate) fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The present, by the monotonic clock and by the wall clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    instant: Instant,
    /// Since 1970.
    date: Duration,
}

impl Now {
    /// Reads the two clocks one after the other.
    pub(crate) fn new(instant: Instant, date: SystemTime) -> Self {
        Self {
            instant,
            date: since_1970(date),
        }
    }

    /// The same, with the date that follows from an earlier reading, unless the wall clock was set in between.
    /// The two clocks are never read at exactly the same time, and a date that is compared with an earlier one
    /// (`changes(process_start_time_seconds)`) must not change for that reason. If the clock was set, this
    /// reading becomes the earlier one of the next call.
    pub(crate) fn steadied(mut self, earlier: &mut Self) -> Self {
        let expected = earlier.date + earlier.passed_until(self.instant);
        if expected.abs_diff(self.date) < Duration::from_secs(1) {
            self.date = expected;
        } else {
            *earlier = self;
        }
        self
    }

    pub(crate) fn instant(&self) -> Instant {
        self.instant
    }

    fn passed_until(&self, later: Instant) -> Duration {
        later.saturating_duration_since(self.instant)
    }

    /// Time since 1970 by the wall clock.
    pub(crate) fn date(&self) -> Duration {
        self.date
    }

    /// How long ago an event was.
    pub(crate) fn since(&self, then: Instant) -> Duration {
        self.instant.saturating_duration_since(then)
    }

    /// The date of an event by the present wall clock, as time since 1970.
    pub(crate) fn date_of(&self, then: Instant) -> Duration {
        self.date.saturating_sub(self.since(then))
    }
}

/// Days in an era: 400 years, after which the Gregorian calendar repeats.
const ERA: i64 = 146_097;

/// Days from the first of March of the year 0, where the first era begins, to 1970. Years that begin
/// in March have their leap day at the end.
const EPOCH_DAY: i64 = 719_468;

/// Year, month and day of a day counted from 1970-01-01.
fn civil(day: i64) -> (i64, i64, i64) {
    let (era, day_of_era) = (
        (day + EPOCH_DAY).div_euclid(ERA),
        (day + EPOCH_DAY).rem_euclid(ERA),
    );
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// The seconds from 1970 to a date and a time, if they exist and the year is 0 to 9999.
pub(crate) fn seconds(date: (i64, i64, i64), [hour, minute, second]: [i64; 3]) -> Option<i64> {
    let (year, month, day) = date;
    let exists = |number, end| (0..end).contains(&number);
    if !(exists(year, 10_000) && exists(month, 13) && exists(day, 32)) {
        return None;
    }
    if !(exists(hour, 24) && exists(minute, 60) && exists(second, 60)) {
        return None;
    }
    let (march_year, month_from_march) = (year - i64::from(month <= 2), (month + 9) % 12);
    let (era, year_of_era) = (march_year.div_euclid(400), march_year.rem_euclid(400));
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let days = era * ERA + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year
        - EPOCH_DAY;
    // A day that the month does not have, such as February 30, is converted to one of the next month.
    (civil(days) == date).then_some(days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second)
}

/// Hours, minutes and seconds of a day.
fn clock(seconds: i64) -> (i64, i64, i64) {
    let seconds = seconds.rem_euclid(SECONDS_PER_DAY);
    (seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Seconds since 1970 as RFC 3339 without fraction and zone: `2025-02-28T13:37:42`. A time that
/// is not in the years from 0 to 9999 is printed as the nearest that is.
pub(crate) struct DateTime(pub(crate) i64);

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.clamp(-62_167_219_200, 253_402_300_799);
        let (year, month, day) = civil(seconds.div_euclid(SECONDS_PER_DAY));
        let (hour, minute, second) = clock(seconds);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        )
    }
}

/// Seconds of a time since 1970.
fn whole_seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// Time since 1970 as RFC 3339 with microseconds: `2025-02-28T13:37:42.000001Z`.
pub(crate) struct Rfc3339(pub(crate) Duration);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.subsec_micros();
        write!(f, "{}.{micros:06}Z", DateTime(whole_seconds(self.0)))
    }
}

/// Time since 1970 as an HTTP date: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(crate) struct HttpDate(pub(crate) Duration);

impl fmt::Display for HttpDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// The first of January 1970 was a Thursday.
        const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const MONTHS: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let seconds = whole_seconds(self.0);
        let days = seconds / SECONDS_PER_DAY;
        let (year, month, day) = civil(days);
        let (hour, minute, second) = clock(seconds);
        let weekday = WEEKDAYS.into_iter().cycle().nth((days % 7) as usize);
        let month = MONTHS.into_iter().nth((month - 1) as usize);
        write!(
            f,
            "{}, {day:02} {} {year:04} {hour:02}:{minute:02}:{second:02} GMT",
            weekday.unwrap_or_default(),
            month.unwrap_or_default()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When the clocks are read and what the wall clock says, both in milliseconds, and the date that
    /// the beginning has then.
    #[test]
    fn the_date_of_what_has_happened_follows_the_wall_clock_and_only_if_that_is_set() {
        let year = 31_536_000_000;
        type Reading = (u64, u64, u64);
        let cases: [(&str, u64, &[Reading]); 5] = [
            (
                "it is not set",
                year,
                &[
                    (5, year + 5, year),
                    (90, year + 89, year),
                    (900, year + 901, year),
                ],
            ),
            (
                "at 1970 at the start",
                20,
                &[
                    (40, 60, 20),
                    (100, 26 * year, 26 * year - 100),
                    (200, 26 * year + 101, 26 * year - 100),
                ],
            ),
            ("set back", year, &[(50, 60, 10), (2_000, 2_011, 10)]),
            (
                "set back to before it",
                year,
                &[(5_000, 60, 0), (9_000, 4_060, 0)],
            ),
            (
                "back and forth",
                year,
                &[(10, 2 * year, 2 * year - 10), (20, year + 20, year)],
            ),
        ];
        let zero = Instant::now();
        let at = |passed, date| {
            Now::new(
                zero + Duration::from_millis(passed),
                UNIX_EPOCH + Duration::from_millis(date),
            )
        };
        for (what, date, readings) in cases {
            let mut earlier = at(0, date);
            for &(passed, date, expected) in readings {
                let now = at(passed, date).steadied(&mut earlier);
                assert_eq!(
                    now.date_of(zero),
                    Duration::from_millis(expected),
                    "{what} after {passed}"
                );
                assert_eq!(now.since(zero), Duration::from_millis(passed), "{what}");
                assert!(
                    now.date().abs_diff(Duration::from_millis(date)) < Duration::from_millis(2)
                );
            }
        }
    }

    #[test]
    fn both_forms_of_some_times() {
        // (seconds, RFC 3339, HTTP), after date(1)
        let cases = [
            (0, "1970-01-01T00:00:00", "Thu, 01 Jan 1970 00:00:00 GMT"),
            (
                784_111_777,
                "1994-11-06T08:49:37",
                "Sun, 06 Nov 1994 08:49:37 GMT",
            ),
            (
                951_782_399,
                "2000-02-28T23:59:59",
                "Mon, 28 Feb 2000 23:59:59 GMT",
            ),
            (
                951_782_400,
                "2000-02-29T00:00:00",
                "Tue, 29 Feb 2000 00:00:00 GMT",
            ),
            (
                4_107_542_400,
                "2100-03-01T00:00:00",
                "Mon, 01 Mar 2100 00:00:00 GMT",
            ),
        ];
        for (seconds, rfc3339, http) in cases {
            let time = Duration::new(seconds, 1_000);
            assert_eq!(Rfc3339(time).to_string(), format!("{rfc3339}.000001Z"));
            assert_eq!(HttpDate(time).to_string(), http);
        }
    }
}
