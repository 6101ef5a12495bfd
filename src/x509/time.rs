//! Points in time: UTCTime and GeneralizedTime of a certificate, and their text.
//!
//! RFC 5280, section 4.1.2.5: both forms end in `Z`, have seconds and no fraction (stricter than
//! Go, which accepts a UTCTime without seconds or with an offset; OpenSSL refuses it). Dates up to
//! 2049 should be UTCTime and later ones GeneralizedTime, but a verifier "MUST be able to
//! process validity dates that are encoded in either", so that is not enforced.
//! The clock is never read here: `now` is a parameter everywhere in this layer.

use std::fmt;

use crate::date::{self, DateTime};
use crate::wire::Reader;
use crate::wire::der::{self, Error, tag};

/// Seconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UnixTime(pub(crate) i64);

impl UnixTime {
    /// Reads a `Time` (RFC 5280, section 4.1).
    pub(crate) fn parse(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let (found, contents) = der::any(reader)?;
        der::whole(contents, |digits| {
            let century = match found {
                tag::GENERALIZED_TIME => Some(two_digits(digits)?),
                tag::UTC_TIME => None,
                _ => {
                    return Err(Error::UnexpectedTag {
                        expected: tag::UTC_TIME,
                        found,
                    });
                }
            };
            let year = two_digits(digits)?;
            // Section 4.1.2.5.1: two digits mean 1950 to 2049.
            let century = century.unwrap_or(if year < 50 { 20 } else { 19 });
            let date = (
                century.saturating_mul(100).saturating_add(year),
                two_digits(digits)?,
                two_digits(digits)?,
            );
            let time = [
                two_digits(digits)?,
                two_digits(digits)?,
                two_digits(digits)?,
            ];
            if digits.u8() != Ok(b'Z') {
                return Err(Error::Time);
            }
            date::seconds(date, time).map(Self).ok_or(Error::Time)
        })
    }
}

/// Two decimal digits.
fn two_digits(reader: &mut Reader<'_>) -> Result<i64, Error> {
    let digit = |octet: u8| char::from(octet).to_digit(10).ok_or(Error::Time);
    let [tens, ones] = reader.array().map_err(|_| Error::Time)?;
    Ok(digit(tens)?
        .saturating_mul(10)
        .saturating_add(digit(ones)?)
        .into())
}

impl fmt::Display for UnixTime {
    /// RFC 3339, as in `2026-11-22T20:00:00Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}Z", DateTime(self.0))
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
        // From the first of the year 0 to the last of the year 9999.
        for day in (-719_528..2_932_897).step_by(13) {
            let time = UnixTime(day * 86_400 + 86_399);
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
