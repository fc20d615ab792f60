//! Points in time as text and numbers: what devices and clients write becomes a timestamp here, and
//! one fixed-width form goes out.
//!
//! Everything is UTC. Nothing here reads a clock. Reading and writing are written by hand because
//! both happen once or more per event.

use jiff::Timestamp;

/// From this magnitude on an epoch number is milliseconds: as seconds it would be the year 5138.
const MILLISECONDS_FROM: u64 = 100_000_000_000;

/// The years that [`write_rfc3339_micros`] can write.
const FIRST_SECOND: i64 = -62_167_219_200; // 0000-01-01T00:00:00Z
const LAST_SECOND: i64 = 253_402_207_200; // jiff's own limit, late in the year 9999

/// The width of what [`write_rfc3339_micros`] writes.
pub const RFC3339_MICROS_LEN: usize = 27;

/// Reads RFC 3339 with any fraction, ISO 8601 without offset (taken as UTC), `YYYY-MM-DD HH:MM:SS`,
/// and epoch seconds or milliseconds written as text; `None` for anything else.
///
/// Fractions finer than a nanosecond are cut off; a leap second is read as the second before it.
pub fn parse_timestamp(value: &str) -> Option<Timestamp> {
    let value = value.trim();
    if let Some((timestamp, rest)) = read_iso(value.as_bytes()) {
        if rest.is_empty() {
            return Some(timestamp);
        }
    } else if let Some(timestamp) = read_epoch(value.as_bytes()) {
        return Some(timestamp);
    }
    // The rarer ISO 8601 forms (basic format, signed years, zone in brackets).
    let parsed = value.parse::<Timestamp>().ok().or_else(|| {
        let civil = value.parse::<jiff::civil::DateTime>().ok()?;
        Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    })?;
    in_range(parsed)
}

/// The time that an epoch number means: seconds below 10^11, milliseconds from there on; `None`
/// outside the years 0 to 9999.
pub fn from_integer(number: i64) -> Option<Timestamp> {
    let timestamp = if number.unsigned_abs() >= MILLISECONDS_FROM {
        Timestamp::from_millisecond(number).ok()?
    } else {
        Timestamp::from_second(number).ok()?
    };
    in_range(timestamp)
}

/// As [`from_integer`], for a number with a fraction, which is good to the microsecond.
pub fn from_number(number: f64) -> Option<Timestamp> {
    let per_unit = if number.abs() >= MILLISECONDS_FROM as f64 {
        1_000.0
    } else {
        1_000_000.0
    };
    let micros = (number * per_unit).round();
    if !micros.is_finite() || micros.abs() >= 1e18 {
        return None;
    }
    #[allow(clippy::cast_possible_truncation)] // 1e18 fits
    let micros = micros as i64;
    in_range(Timestamp::from_microsecond(micros).ok()?)
}

fn in_range(timestamp: Timestamp) -> Option<Timestamp> {
    (FIRST_SECOND..=LAST_SECOND)
        .contains(&timestamp.as_second())
        .then_some(timestamp)
}

/// Appends the time as `2026-11-21T13:00:00.123456Z`: always 27 bytes, finer parts cut off.
///
/// A time before the year 0 is written as the first moment of that year.
pub fn write_rfc3339_micros(timestamp: Timestamp, out: &mut Vec<u8>) {
    let (mut seconds, mut nanos) = (timestamp.as_second(), timestamp.subsec_nanosecond());
    if nanos < 0 {
        // Before 1970 both parts are negative.
        seconds -= 1;
        nanos += 1_000_000_000;
    }
    if seconds < FIRST_SECOND {
        (seconds, nanos) = (FIRST_SECOND, 0);
    }
    let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
    // All of these are small and not negative; 32 bits divide faster.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let (year, month, day, second, micros) = (
        year as u32,
        month as u32,
        day as u32,
        seconds.rem_euclid(86_400) as u32,
        nanos as u32 / 1_000,
    );
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    two_digits(&mut text, 0, year / 100);
    two_digits(&mut text, 2, year % 100);
    two_digits(&mut text, 5, month);
    two_digits(&mut text, 8, day);
    two_digits(&mut text, 11, second / 3600);
    two_digits(&mut text, 14, second / 60 % 60);
    two_digits(&mut text, 17, second % 60);
    two_digits(&mut text, 20, micros / 10_000);
    two_digits(&mut text, 22, micros / 100 % 100);
    two_digits(&mut text, 24, micros % 100);
    out.extend_from_slice(&text);
}

fn two_digits(text: &mut [u8; RFC3339_MICROS_LEN], at: usize, value: u32) {
    // Every caller passes 0..=99.
    #[allow(clippy::cast_possible_truncation)]
    let value = value as u8;
    text[at] = b'0' + value / 10;
    text[at + 1] = b'0' + value % 10;
}

/// Days since 1970-01-01 to year, month, day (H. Hinnant, "chrono-compatible low-level date
/// algorithms"); valid from the year 0 on.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The inverse of [`civil_from_days`].
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The year, in UTC, that a time falls in.
pub(crate) fn year_of(timestamp: Timestamp) -> i64 {
    civil_from_days(timestamp.as_second().div_euclid(86_400)).0
}

/// A date and time of day as read, before it is known where on Earth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub year: i64,
    pub month: i64,
    pub day: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
    pub nanosecond: i32,
}

impl Civil {
    /// The moment at which a clock that is `offset` seconds ahead of UTC shows this; `None` where
    /// the calendar has no such moment.
    pub(crate) fn at_offset(&self, offset: i64) -> Option<Timestamp> {
        let valid = (0..=9999).contains(&self.year)
            && (1..=12).contains(&self.month)
            && (1..=days_in_month(self.year, self.month)).contains(&self.day)
            && (0..24).contains(&self.hour)
            && (0..60).contains(&self.minute)
            && (0..=60).contains(&self.second);
        if !valid {
            return None;
        }
        let second = self.second.min(59);
        let seconds = days_from_civil(self.year, self.month, self.day) * 86_400
            + self.hour * 3600
            + self.minute * 60
            + second
            - offset;
        if seconds < 0 && self.nanosecond != 0 {
            // jiff wants both parts of the same sign.
            return in_range(Timestamp::new(seconds + 1, self.nanosecond - 1_000_000_000).ok()?);
        }
        in_range(Timestamp::new(seconds, self.nanosecond).ok()?)
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Reads exactly `count` digits at the start.
pub(crate) fn fixed_digits(text: &[u8], count: usize) -> Option<(i64, &[u8])> {
    let (digits, rest) = text.split_at_checked(count)?;
    let mut value = 0;
    for &byte in digits {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(byte - b'0');
    }
    Some((value, rest))
}

fn after(text: &[u8], byte: u8) -> Option<&[u8]> {
    (*text.first()? == byte).then(|| &text[1..])
}

/// Reads a fraction (`.` or `,` and digits) where there is one: nanoseconds and what follows.
pub(crate) fn fraction(text: &[u8]) -> (i32, &[u8]) {
    let Some((b'.' | b',', digits)) = text.split_first() else {
        return (0, text);
    };
    let count = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    if count == 0 {
        return (0, text);
    }
    let places = digits[..count].iter().map(|digit| i32::from(digit - b'0'));
    let nanos = places.chain(std::iter::repeat(0)).take(9);
    (
        nanos.fold(0, |sum, digit| sum * 10 + digit),
        &digits[count..],
    )
}

/// Reads `HH:MM:SS` with an optional fraction.
pub(crate) fn time_of_day(text: &[u8]) -> Option<(i64, i64, i64, i32, &[u8])> {
    let (hour, text) = fixed_digits(text, 2)?;
    let (minute, text) = fixed_digits(after(text, b':')?, 2)?;
    let (second, text) = fixed_digits(after(text, b':')?, 2)?;
    let (nanosecond, text) = fraction(text);
    Some((hour, minute, second, nanosecond, text))
}

/// Reads `Z` or `±HH:MM`, `±HHMM`, `±HH`: seconds ahead of UTC.
pub(crate) fn offset(text: &[u8]) -> Option<(i64, &[u8])> {
    let (sign, rest) = match text.first()? {
        b'Z' | b'z' => return Some((0, &text[1..])),
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let (hours, rest) = fixed_digits(rest, 2)?;
    let minutes = match after(rest, b':') {
        Some(minutes) => Some(fixed_digits(minutes, 2)?),
        None => fixed_digits(rest, 2),
    };
    let (minutes, rest) = minutes.unwrap_or((0, rest));
    (hours < 24 && minutes < 60).then_some((sign * (hours * 3600 + minutes * 60), rest))
}

/// Reads a date and a time of day at the start of `text`, with or without an offset (then UTC),
/// and returns what follows it.
pub(crate) fn read_iso(text: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (civil, offset, rest) = read_civil(text)?;
    Some((civil.at_offset(offset.unwrap_or(0))?, rest))
}

/// As [`read_iso`], with the offset as it is written there, if it is.
pub(crate) fn read_civil(text: &[u8]) -> Option<(Civil, Option<i64>, &[u8])> {
    let (year, rest) = fixed_digits(text, 4)?;
    let (month, rest) = fixed_digits(after(rest, b'-')?, 2)?;
    let (day, rest) = fixed_digits(after(rest, b'-')?, 2)?;
    let (b'T' | b't' | b' ', rest) = rest.split_first()? else {
        return None;
    };
    let (hour, minute, second, nanosecond, rest) = time_of_day(rest)?;
    let civil = Civil {
        year,
        month,
        day,
        hour,
        minute,
        second,
        nanosecond,
    };
    let spaced = rest
        .strip_prefix(b" ")
        .filter(|rest| matches!(rest.first(), Some(b'+' | b'-')));
    let (offset, rest) = match offset(spaced.unwrap_or(rest)) {
        Some((offset, rest)) => (Some(offset), rest),
        None => rest
            .strip_prefix(b" UTC")
            .map_or((None, rest), |rest| (Some(0), rest)),
    };
    Some((civil, offset, rest))
}

/// Reads epoch seconds or milliseconds, exactly: digits with an optional sign and fraction.
pub(crate) fn read_epoch(text: &[u8]) -> Option<Timestamp> {
    let (negative, digits) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        _ => (false, text),
    };
    let count = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    if !(1..=18).contains(&count) {
        return None;
    }
    let (whole, rest) = fixed_digits(digits, count)?;
    let (nanos, rest) = fraction(rest);
    if !rest.is_empty() {
        return None;
    }
    let (seconds, nanos) = if whole.unsigned_abs() >= MILLISECONDS_FROM {
        let rest = i32::try_from(whole % 1_000).ok()?;
        (whole / 1_000, rest * 1_000_000 + nanos / 1_000)
    } else {
        (whole, nanos)
    };
    let sign = if negative { -1 } else { 1 };
    in_range(Timestamp::new(seconds * sign, nanos * i32::try_from(sign).ok()?).ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn micros(value: &str) -> Option<String> {
        parse_timestamp(value).map(|timestamp| {
            let mut out = Vec::new();
            write_rfc3339_micros(timestamp, &mut out);
            String::from_utf8(out).unwrap()
        })
    }

    #[test]
    fn every_promised_form_is_read() {
        for (value, expected) in [
            ("2026-11-21T13:00:00Z", "2026-11-21T13:00:00.000000Z"),
            (
                "2026-11-21T13:00:00.1234567Z",
                "2026-11-21T13:00:00.123456Z",
            ),
            (
                "2026-11-21T13:00:00.123456789123Z",
                "2026-11-21T13:00:00.123456Z",
            ),
            ("2026-11-21T13:00:00+02:00", "2026-11-21T11:00:00.000000Z"),
            ("2026-11-21T13:00:00-0530", "2026-11-21T18:30:00.000000Z"),
            ("2026-11-21t13:00:00z", "2026-11-21T13:00:00.000000Z"),
            ("2026-11-21T13:00:00", "2026-11-21T13:00:00.000000Z"),
            ("2026-11-21 13:00:00", "2026-11-21T13:00:00.000000Z"),
            ("2026-11-21 13:00:00,250", "2026-11-21T13:00:00.250000Z"),
            ("2026-11-21 13:00:00 +0000", "2026-11-21T13:00:00.000000Z"),
            ("2026-11-21 13:00:00 UTC", "2026-11-21T13:00:00.000000Z"),
            (" 2026-11-21T13:00:00Z ", "2026-11-21T13:00:00.000000Z"),
            ("2026-11-21", "2026-11-21T00:00:00.000000Z"),
            ("20261121T130000Z", "2026-11-21T13:00:00.000000Z"),
            ("2024-02-29T23:59:60Z", "2024-02-29T23:59:59.000000Z"),
            ("1795266000", "2026-11-21T13:00:00.000000Z"),
            ("1795266000.5", "2026-11-21T13:00:00.500000Z"),
            ("1795266000250", "2026-11-21T13:00:00.250000Z"),
            ("1795266000250.75", "2026-11-21T13:00:00.250750Z"),
            ("0", "1970-01-01T00:00:00.000000Z"),
            ("-1.25", "1969-12-31T23:59:58.750000Z"),
            ("1969-12-31T23:59:58.75Z", "1969-12-31T23:59:58.750000Z"),
        ] {
            assert_eq!(micros(value).as_deref(), Some(expected), "{value}");
        }
    }

    #[test]
    fn moments_between_microseconds_are_cut_off() {
        let mut out = Vec::new();
        write_rfc3339_micros(Timestamp::new(-1, -1).unwrap(), &mut out);
        write_rfc3339_micros(Timestamp::MIN, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "1969-12-31T23:59:58.999999Z0000-01-01T00:00:00.000000Z"
        );
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for value in [
            "",
            " ",
            "yesterday",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-21T25:00:00Z",
            "2026-11-21T13:00:00Zjunk",
            "2026-11-21T13:00:00+99:00",
            "1e400",
            "NaN",
            "-",
            ".",
            "+",
            "99999999999999999999999",
            "1795266000x",
            "١٢٣",
        ] {
            assert_eq!(parse_timestamp(value), None, "{value}");
        }
        for number in [f64::NAN, f64::INFINITY, 1e300, -1e18] {
            assert_eq!(from_number(number), None, "{number}");
        }
        assert_eq!(from_integer(i64::MIN), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_jiff_reads(micros in FIRST_SECOND * 1_000_000..LAST_SECOND * 1_000_000) {
            let timestamp = Timestamp::from_microsecond(micros).unwrap();
            let mut out = Vec::new();
            write_rfc3339_micros(timestamp, &mut out);
            prop_assert_eq!(out.len(), RFC3339_MICROS_LEN);
            let text = String::from_utf8(out).unwrap();
            prop_assert_eq!(text.parse::<Timestamp>().unwrap(), timestamp);
            prop_assert_eq!(parse_timestamp(&text).unwrap(), timestamp);
        }

        #[test]
        fn seconds_and_milliseconds_mean_the_same(seconds in 100_000_000i64..99_999_999_999) {
            let expected = Timestamp::from_second(seconds).unwrap();
            prop_assert_eq!(from_integer(seconds), Some(expected));
            prop_assert_eq!(from_integer(seconds * 1_000), Some(expected));
            prop_assert_eq!(from_number(seconds as f64), Some(expected));
            prop_assert_eq!(parse_timestamp(&seconds.to_string()), Some(expected));
        }

        #[test]
        fn no_text_panics(value in "\\PC*") {
            let _ = parse_timestamp(&value);
        }
    }
}
