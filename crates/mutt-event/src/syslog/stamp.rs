//! The times that devices write at the head of a message, in all their forms.

use jiff::Timestamp;

use super::clock::Clock;
use super::notes::{Note, Notes};
use super::zone::{Zone, zone};
use crate::time::{self, Civil, fixed_digits, fraction, time_of_day};

/// A time as read, and what follows it.
pub(super) struct Stamp<'a> {
    /// `None` where the device gave its uptime instead.
    pub time: Option<Timestamp>,
    pub notes: Notes,
    /// What follows, with no blank skipped.
    pub rest: &'a str,
}

/// Reads a time of the device at the start of `text`: the BSD form with or without a year (before
/// or behind the day or behind the clock), NX-OS's year first, ISO forms, with fraction and zone;
/// or an uptime.
pub(super) fn read<'a>(text: &'a str, clock: Clock<'_>) -> Option<Stamp<'a>> {
    let bytes = text.as_bytes();
    match bytes.first()? {
        b'A'..=b'Z' | b'a'..=b'z' => month_first(without_weekday(text), clock),
        b'0'..=b'9' => iso(text, clock)
            .or_else(|| year_first(text, clock))
            .or_else(|| slashed(text, clock))
            .or_else(|| uptime(text)),
        _ => None,
    }
}

fn rest_of<'a>(text: &'a str, rest: &[u8]) -> &'a str {
    // Everything read is ASCII, so this is on a character boundary.
    text.get(text.len() - rest.len()..).unwrap_or_default()
}

fn month(text: &[u8]) -> Option<(i64, &[u8])> {
    const NAMES: [&[u8; 3]; 12] = [
        b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov",
        b"dec",
    ];
    let (name, rest) = text.split_first_chunk::<3>()?;
    let name = name.map(|byte| byte.to_ascii_lowercase());
    let index = NAMES.iter().position(|month| **month == name)?;
    // APIC writes the whole name.
    let letters = rest.iter().take(7).take_while(|b| b.is_ascii_lowercase());
    Some((i64::try_from(index).ok()? + 1, &rest[letters.count()..]))
}

/// `Sat Nov 21 13:00:00 2026` is how C's `ctime` writes it.
fn without_weekday(text: &str) -> &str {
    let is_day = matches!(
        text.as_bytes().get(..3),
        Some(b"Mon" | b"Tue" | b"Wed" | b"Thu" | b"Fri" | b"Sat" | b"Sun")
    );
    match text.get(3..) {
        Some(rest) if is_day => rest
            .strip_prefix(',')
            .unwrap_or(rest)
            .trim_start_matches(' '),
        _ => text,
    }
}

/// The moment meant, with a note where the name of the zone means several.
fn moment(
    zone: Zone,
    civil: &Civil,
    year: bool,
    clock: Clock<'_>,
    notes: &mut Notes,
) -> Option<Timestamp> {
    if zone.is_ambiguous(clock) {
        notes.add(Note::AmbiguousTime);
    }
    zone.moment(civil, year, clock)
}

fn blanks(text: &[u8]) -> Option<&[u8]> {
    let rest = text.trim_ascii_start();
    (rest.len() < text.len()).then_some(rest)
}

/// One or two digits.
fn short_number(text: &[u8]) -> Option<(i64, &[u8])> {
    let count = text
        .iter()
        .take(3)
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    if matches!(count, 1 | 2) {
        fixed_digits(text, count)
    } else {
        None
    }
}

/// Four digits with nothing of the kind behind them.
fn year(text: &[u8]) -> Option<(i64, &[u8])> {
    let (year, rest) = fixed_digits(text, 4)?;
    let alone = match rest {
        // An IPv6 address goes on behind its colon.
        [b':', after, ..] => *after == b' ',
        [] | [b' ' | b':' | b',', ..] => true,
        _ => false,
    };
    (alone && (1970..=2199).contains(&year)).then_some((year, rest))
}

/// `Nov 21 13:00:00`, `Nov 21 2026 13:00:00`, `Nov 21 13:00:00.123 UTC`, `Nov 21 13:00:00 2026`
fn month_first<'a>(text: &'a str, clock: Clock<'_>) -> Option<Stamp<'a>> {
    let (month, rest) = month(text.as_bytes())?;
    let (day, rest) = short_number(blanks(rest)?)?;
    let rest = blanks(rest)?;
    let (mut stated, rest) = match year(rest) {
        Some((year, rest)) => (Some(year), blanks(rest)?),
        None => (None, rest),
    };
    let (hour, minute, second, nanosecond, mut rest) = time_of_day(rest)?;
    let mut notes = Notes::NONE;
    if stated.is_none()
        && let Some((year, after)) = rest.strip_prefix(b" ").and_then(year)
    {
        (stated, rest) = (Some(year), after);
    }
    let (zone, mut rest) = zone(rest, &mut notes);
    if stated.is_none()
        && let Some((year, after)) = rest.strip_prefix(b" ").and_then(year)
    {
        (stated, rest) = (Some(year), after);
    }
    let civil = Civil {
        year: stated.unwrap_or_default(),
        month,
        day,
        hour,
        minute,
        second,
        nanosecond,
    };
    if stated.is_none() {
        notes.add(Note::NoYear);
    }
    let time = moment(zone, &civil, stated.is_some(), clock, &mut notes)?;
    Some(Stamp {
        time: Some(time),
        notes,
        rest: rest_of(text, rest),
    })
}

/// NX-OS: `2026 Nov 21 13:00:00 UTC`
fn year_first<'a>(text: &'a str, clock: Clock<'_>) -> Option<Stamp<'a>> {
    let (year, rest) = fixed_digits(text.as_bytes(), 4)?;
    let (month, rest) = month(blanks(rest)?)?;
    let (day, rest) = short_number(blanks(rest)?)?;
    let (hour, minute, second, nanosecond, rest) = time_of_day(blanks(rest)?)?;
    let mut notes = Notes::NONE;
    let (zone, rest) = zone(rest, &mut notes);
    let civil = Civil {
        year,
        month,
        day,
        hour,
        minute,
        second,
        nanosecond,
    };
    let time = moment(zone, &civil, true, clock, &mut notes)?;
    Some(Stamp {
        time: Some(time),
        notes,
        rest: rest_of(text, rest),
    })
}

/// RFC 3339 and its relatives; Huawei writes `2018-7-23 01:00:34.270.1`, Palo Alto
/// `2026/11/21 13:00:00`, Sophos UTM `2026:11:21-13:00:04`.
fn iso<'a>(text: &'a str, clock: Clock<'_>) -> Option<Stamp<'a>> {
    let mut notes = Notes::NONE;
    if let Some((civil, written, rest)) = time::read_civil(text.as_bytes())
        && !rest.first().is_some_and(u8::is_ascii_alphanumeric)
    {
        // Huawei counts further behind the fraction.
        let (_, rest) = fraction(rest);
        // read_civil knows offsets and " UTC"; other names are ours to know.
        let (zone, rest) = match written {
            Some(offset) => (Zone::Ahead(offset), rest),
            None => zone(rest, &mut notes),
        };
        let time = moment(zone, &civil, true, clock, &mut notes)?;
        return Some(Stamp {
            time: Some(time),
            notes,
            rest: rest_of(text, rest),
        });
    }
    let (year, rest) = fixed_digits(text.as_bytes(), 4)?;
    let separator = *rest
        .first()
        .filter(|byte| matches!(byte, b'-' | b'/' | b':'))?;
    let (month, rest) = short_number(&rest[1..])?;
    let (day, rest) = short_number(rest.strip_prefix(&[separator])?)?;
    let (b' ' | b'T' | b'-', rest) = rest.split_first()? else {
        return None;
    };
    let (hour, minute, second, nanosecond, rest) = time_of_day(rest)?;
    let (_, rest) = fraction(rest);
    let (zone, rest) = zone(rest, &mut notes);
    let civil = Civil {
        year,
        month,
        day,
        hour,
        minute,
        second,
        nanosecond,
    };
    let time = moment(zone, &civil, true, clock, &mut notes)?;
    Some(Stamp {
        time: Some(time),
        notes,
        rest: rest_of(text, rest),
    })
}

/// `NetScaler`: `11/21/2026:13:00:04 GMT`, or by setting `21/11/2026:…`: where both could be meant,
/// the one nearer to the receipt is.
fn slashed<'a>(text: &'a str, clock: Clock<'_>) -> Option<Stamp<'a>> {
    let (first, rest) = fixed_digits(text.as_bytes(), 2)?;
    let (second, rest) = fixed_digits(rest.strip_prefix(b"/")?, 2)?;
    let (year, rest) = fixed_digits(rest.strip_prefix(b"/")?, 4)?;
    let (hour, minute, second_of_minute, nanosecond, rest) = time_of_day(rest.strip_prefix(b":")?)?;
    let mut notes = Notes::NONE;
    let (zone, rest) = zone(rest, &mut notes);
    let at = |(month, day)| {
        let civil = Civil {
            year,
            month,
            day,
            hour,
            minute,
            second: second_of_minute,
            nanosecond,
        };
        zone.moment(&civil, true, clock)
    };
    if first != second && first.max(second) <= 12 {
        notes.add(Note::AmbiguousTime);
    }
    let time = [(first, second), (second, first)]
        .into_iter()
        .filter_map(at)
        .min_by_key(|moment| clock.distance(*moment))?;
    Some(Stamp {
        time: Some(time),
        notes,
        rest: rest_of(text, rest),
    })
}

/// Opengear: `2026-Nov- 9 15:42:06.972`
pub(super) fn year_and_name<'a>(text: &'a str, clock: Clock<'_>) -> Option<Stamp<'a>> {
    let (year, rest) = fixed_digits(text.as_bytes(), 4)?;
    let (month, rest) = month(rest.strip_prefix(b"-")?)?;
    let (day, rest) = short_number(rest.strip_prefix(b"-")?.trim_ascii_start())?;
    let (hour, minute, second, nanosecond, rest) = time_of_day(blanks(rest)?)?;
    let mut notes = Notes::NONE;
    let (zone, rest) = zone(rest, &mut notes);
    let civil = Civil {
        year,
        month,
        day,
        hour,
        minute,
        second,
        nanosecond,
    };
    let time = moment(zone, &civil, true, clock, &mut notes)?;
    Some(Stamp {
        time: Some(time),
        notes,
        rest: rest_of(text, rest),
    })
}

/// Cisco's uptime instead of a time: `00:01:01`, `3d04h`, `1w2d`.
fn uptime(text: &str) -> Option<Stamp<'_>> {
    let bytes = text.as_bytes();
    // VRP's time since the start, which a host follows.
    if let Some((_, rest)) = bytes.strip_prefix(b"0").map(fraction)
        && rest.len() + 7 <= bytes.len()
        && rest.first() == Some(&b' ')
    {
        return Some(Stamp {
            time: None,
            notes: Notes::NONE,
            rest: rest_of(text, rest),
        });
    }
    let rest = if let Some((.., rest)) = time_of_day(bytes) {
        rest
    } else {
        let (_, rest) = counted(bytes, b"ywd")?;
        let (_, rest) = counted(rest, b"wdh")?;
        rest
    };
    // Only the colon makes it a time rather than the beginning of a text.
    rest.first().filter(|byte| **byte == b':')?;
    Some(Stamp {
        time: None,
        notes: Notes::NONE,
        rest: rest_of(text, rest),
    })
}

fn counted<'a>(text: &'a [u8], units: &[u8]) -> Option<(i64, &'a [u8])> {
    let (number, rest) = short_number(text)?;
    let (unit, rest) = rest.split_first()?;
    units.contains(unit).then_some((number, rest))
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    fn read_at(text: &str, received: &str) -> Option<(Option<String>, Notes, String)> {
        let zone = TimeZone::UTC;
        let stamp = read(text, Clock::new(received.parse().unwrap(), &zone))?;
        Some((
            stamp.time.map(|time| time.to_string()),
            stamp.notes,
            stamp.rest.to_owned(),
        ))
    }

    #[test]
    fn all_forms_are_read() {
        let received = "2026-11-21T13:00:05Z";
        for (text, time, rest) in [
            ("Nov 21 13:00:00 host", "2026-11-21T13:00:00Z", " host"),
            ("Nov  1 13:00:00.5 host", "2026-11-01T13:00:00.5Z", " host"),
            (
                "Nov 21 2026 13:00:00: %ASA",
                "2026-11-21T13:00:00Z",
                ": %ASA",
            ),
            ("Nov 21 13:00:00 2026 host", "2026-11-21T13:00:00Z", " host"),
            (
                "Nov 21 13:00:00.123 EST: %SYS",
                "2026-11-21T18:00:00.123Z",
                ": %SYS",
            ),
            (
                "Nov 21 13:00:00 XYZT: %SYS",
                "2026-11-21T13:00:00Z",
                ": %SYS",
            ),
            ("Nov 21 13:00:00 FW01 x", "2026-11-21T13:00:00Z", " FW01 x"),
            ("Nov 21 13:00:00 CORE x", "2026-11-21T13:00:00Z", " CORE x"),
            ("Nov 21 13:00:00+01:00 x", "2026-11-21T12:00:00Z", " x"),
            (
                "2026 Nov 21 13:00:00 UTC: %X",
                "2026-11-21T13:00:00Z",
                ": %X",
            ),
            (
                "2026-11-21T13:00:00.123456+02:00 x",
                "2026-11-21T11:00:00.123456Z",
                " x",
            ),
            ("2026-11-21 13:00:00 CET x", "2026-11-21T12:00:00Z", " x"),
            (
                "2018-7-23 01:00:34.270.1 sw",
                "2018-07-23T01:00:34.27Z",
                " sw",
            ),
            ("2026/11/21 13:00:00,x", "2026-11-21T13:00:00Z", ",x"),
        ] {
            let (read, _, after) = read_at(text, received).expect(text);
            assert_eq!(
                (read.as_deref(), after.as_str()),
                (Some(time), rest),
                "{text}"
            );
        }
        for text in ["00:01:01: %SYS", "3d04h: %SYS", "1w2d: %SYS"] {
            let (time, notes, rest) = read_at(text, received).expect(text);
            assert_eq!((time, rest.as_str()), (None, ": %SYS"), "{text}");
            assert!(notes.is_empty());
        }
        for text in [
            "",
            "Nov",
            "Nov 21",
            "Nov 31 13:00:00",
            "November came",
            "12 monkeys",
            "%X",
            "Feb 29 25:00:00",
        ] {
            assert_eq!(read_at(text, received), None, "{text}");
        }
    }

    #[test]
    fn the_year_is_the_nearest_one() {
        for (text, received, time) in [
            (
                "Dec 31 23:59:59 h",
                "2027-01-01T00:00:01Z",
                "2026-12-31T23:59:59Z",
            ),
            (
                "Jan  1 00:00:01 h",
                "2026-12-31T23:59:59Z",
                "2027-01-01T00:00:01Z",
            ),
            (
                "Feb 29 12:00:00 h",
                "2028-03-01T00:00:00Z",
                "2028-02-29T12:00:00Z",
            ),
            (
                "Feb 29 12:00:00 h",
                "2027-03-01T00:00:00Z",
                "2028-02-29T12:00:00Z",
            ),
            (
                "Jul  1 00:00:00 h",
                "2026-11-21T00:00:00Z",
                "2026-07-01T00:00:00Z",
            ),
        ] {
            let (read, notes, _) = read_at(text, received).expect(text);
            assert_eq!(read.as_deref(), Some(time));
            assert!(notes.has(Note::NoYear));
        }
        assert_eq!(read_at("Feb 29 12:00:00 h", "2026-03-01T00:00:00Z"), None);
    }
}
