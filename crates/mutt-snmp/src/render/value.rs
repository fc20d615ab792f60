//! One value as a person reads it: labels of enumerations, text, addresses, times; in doubt the
//! octets in hexadecimal digits.
//!
//! Promises that a value is never longer than [`MAX_VALUE`] and never spoils the line it stands in.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::line::Line;
use crate::names::{Display, Found, Names};
use crate::trap::Value;

/// The longest a value becomes in a message, in bytes. The event has it whole.
pub const MAX_VALUE: usize = 512;

/// How a text is set off from what stands around it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quotes {
    /// Not at all: it stands alone.
    Never,
    /// Where it has blanks, commas or the like.
    WhereNeeded,
}

/// Appends `value`, the value of a variable that `found` says what is known of.
pub(crate) fn write(
    value: &Value<'_>,
    found: Option<Found<'_>>,
    names: &Names,
    quotes: Quotes,
    line: &mut Line<'_>,
) {
    let entry = found.map(|found| found.entry);
    let display = entry.map_or(&Display::Looks, |entry| &entry.display);
    match value {
        Value::Integer(number) => integer(i64::from(*number), found, line),
        Value::Counter32(number) | Value::Gauge32(number) => {
            integer(i64::from(*number), found, line);
        }
        Value::Counter64(number) => {
            let _ = write!(line, "{number}");
        }
        Value::TimeTicks(ticks) => time_ticks(*ticks, line),
        Value::OctetString(octets) => {
            let name = entry.map_or("", |entry| &*entry.name);
            write_octets(octets, display, name, quotes, line);
        }
        Value::ObjectIdentifier(Some(oid)) => match names.find(oid) {
            Some(found) => {
                line.push(&found.entry.name);
                if !found.exact {
                    for arc in oid.below(&found.entry.oid).into_iter().flatten() {
                        let _ = write!(line, ".{arc}");
                    }
                }
            }
            None => {
                let _ = write!(line, "{oid}");
            }
        },
        Value::ObjectIdentifier(None) => line.push("0.0"),
        Value::Null => line.push("null"),
        Value::IpAddress(address) => {
            let _ = write!(line, "{address}");
        }
        Value::Opaque(octets) => {
            if !wrapped_number(octets, line) {
                hex(octets, line);
            }
        }
        Value::Missing(_) => line.push(value.type_name()),
        Value::Other { octets, .. } => hex(octets, line),
    }
}

/// The text of a value that is one, without an allocation where it can be.
pub(crate) fn text<'v>(value: &Value<'v>, display: &Display) -> Option<Cow<'v, str>> {
    let Value::OctetString(octets) = value else {
        return None;
    };
    match display {
        Display::Text => known_text(octets),
        Display::Looks => utf8_text(octets).map(Cow::Borrowed),
        _ => None,
    }
}

fn integer(number: i64, found: Option<Found<'_>>, line: &mut Line<'_>) {
    if let Some(entry) = found.map(|found| found.entry) {
        if let Some(label) = entry.label(number) {
            line.push(label);
            return;
        }
        match entry.display {
            Display::Decimals(places) => return decimals(number, places, line),
            Display::Hex => {
                let sign = if number < 0 { "-" } else { "" };
                let _ = write!(line, "{sign}0x{:x}", number.unsigned_abs());
                return;
            }
            _ => {}
        }
    }
    let _ = write!(line, "{number}");
}

fn decimals(number: i64, places: u8, line: &mut Line<'_>) {
    let width = usize::from(places);
    let digits = format!("{:0>1$}", number.unsigned_abs(), width + 1);
    let (whole, rest) = digits.split_at(digits.len() - width);
    if number < 0 {
        line.push("-");
    }
    line.push(whole);
    if !rest.is_empty() {
        line.push(".");
        line.push(rest);
    }
}

/// Hundredths of a second as days, hours, minutes and seconds.
fn time_ticks(ticks: u32, line: &mut Line<'_>) {
    let (seconds, rest) = (ticks / 100, ticks % 100);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    if days > 0 {
        let _ = write!(line, "{days}d ");
    }
    let _ = write!(
        line,
        "{hours:02}:{minutes:02}:{:02}.{rest:02}",
        seconds % 60
    );
}

fn write_octets(octets: &[u8], display: &Display, name: &str, quotes: Quotes, line: &mut Line<'_>) {
    let done = match display {
        Display::Text => known_text(octets).is_some_and(|text| {
            quoted(&text, quotes, line);
            true
        }),
        Display::Mac => {
            !octets.is_empty() && {
                pairs(octets, line);
                true
            }
        }
        Display::Address => address(octets, line),
        Display::DateAndTime => date_and_time(octets, line),
        Display::Bits(labels) => {
            bits(octets, labels, line);
            true
        }
        Display::Octets(hint) => hinted(octets, hint, quotes, line),
        Display::Looks | Display::Decimals(_) | Display::Hex => false,
    };
    if !done {
        by_looks(octets, name, quotes, line);
    }
}

/// Octets of which nothing is known: text if they can be read as such, then what their length and
/// the name of the variable suggest.
fn by_looks(octets: &[u8], name: &str, quotes: Quotes, line: &mut Line<'_>) {
    if let Some(text) = utf8_text(octets) {
        return quoted(text, quotes, line);
    }
    let named = |word: &str| {
        name.as_bytes()
            .windows(word.len())
            .any(|window| window.eq_ignore_ascii_case(word.as_bytes()))
    };
    let known = match octets.len() {
        6 => {
            pairs(octets, line);
            true
        }
        4 | 16 if named("addr") || named("ip") => address(octets, line),
        8 | 11 => date_and_time(octets, line),
        _ => false,
    };
    if !known {
        hex(octets, line);
    }
}

/// The octets as text if they are UTF-8 and nothing that a person cannot read; NULs at the end,
/// which some agents send, are left out.
fn utf8_text(octets: &[u8]) -> Option<&str> {
    let end = octets.iter().rposition(|&octet| octet != 0);
    let octets = &octets[..end.map_or(0, |last| last + 1)];
    let text = std::str::from_utf8(octets).ok()?;
    text.chars()
        .all(|c| !c.is_control() || matches!(c, '\t' | '\n' | '\r'))
        .then_some(text)
}

/// What is said to be text: UTF-8, else ISO 8859-1, which older devices mean.
fn known_text(octets: &[u8]) -> Option<Cow<'_, str>> {
    if let Some(text) = utf8_text(octets) {
        return Some(Cow::Borrowed(text));
    }
    let readable = |&octet: &u8| {
        let c = char::from(octet);
        !c.is_control() || matches!(c, '\t' | '\n' | '\r')
    };
    let kept = &octets[..octets.len().min(MAX_VALUE * 8)];
    kept.iter()
        .all(readable)
        .then(|| Cow::Owned(kept.iter().map(|&octet| char::from(octet)).collect()))
}

/// A text, cut at [`MAX_VALUE`] where it stands among others, and in quotation marks where it would
/// run into them.
fn quoted(text: &str, quotes: Quotes, line: &mut Line<'_>) {
    if quotes == Quotes::Never {
        return line.push_plain(text.trim());
    }
    let mut end = text.len().min(MAX_VALUE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let (kept, cut) = (&text[..end], end < text.len());
    let needed = kept.is_empty()
        || cut
        || kept.contains(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '=' | '"'));
    if !needed {
        return line.push_plain(kept);
    }
    line.push("\"");
    let mut rest = kept;
    while let Some(at) = rest.find('"') {
        line.push_plain(&rest[..at]);
        line.push("\\\"");
        rest = &rest[at + 1..];
    }
    line.push_plain(rest);
    line.push(if cut { "…\"" } else { "\"" });
}

fn pairs(octets: &[u8], line: &mut Line<'_>) {
    for (index, octet) in octets.iter().take(MAX_VALUE / 3).enumerate() {
        let colon = if index > 0 { ":" } else { "" };
        let _ = write!(line, "{colon}{octet:02x}");
    }
    if octets.len() > MAX_VALUE / 3 {
        line.push("…");
    }
}

fn hex(octets: &[u8], line: &mut Line<'_>) {
    line.push("0x");
    for octet in octets.iter().take(MAX_VALUE / 2) {
        let _ = write!(line, "{octet:02x}");
    }
    if octets.len() > MAX_VALUE / 2 {
        line.push("…");
    }
}

fn address(octets: &[u8], line: &mut Line<'_>) -> bool {
    if let Ok(four) = <[u8; 4]>::try_from(octets) {
        let _ = write!(line, "{}", Ipv4Addr::from(four));
    } else if let Ok(sixteen) = <[u8; 16]>::try_from(octets) {
        let _ = write!(line, "{}", Ipv6Addr::from(sixteen));
    } else {
        return false;
    }
    true
}

/// RFC 2579's `DateAndTime`, where the octets can be one.
fn date_and_time(octets: &[u8], line: &mut Line<'_>) -> bool {
    let &[
        high,
        low,
        month,
        day,
        hour,
        minute,
        second,
        tenth,
        ref zone @ ..,
    ] = octets
    else {
        return false;
    };
    let year = u16::from_be_bytes([high, low]);
    let zone = match *zone {
        [] => None,
        [sign @ (b'+' | b'-'), hours @ 0..=14, minutes @ 0..=59] => Some((sign, hours, minutes)),
        _ => return false,
    };
    if !((1970..=2200).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60
        && tenth < 10)
    {
        return false;
    }
    let _ = write!(
        line,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{tenth}"
    );
    if let Some((sign, hours, minutes)) = zone {
        let _ = write!(line, "{}{hours:02}:{minutes:02}", char::from(sign));
    }
    true
}

fn bits(octets: &[u8], labels: &[(i64, Box<str>)], line: &mut Line<'_>) {
    let mut before = "{";
    for (index, octet) in octets.iter().enumerate().take(MAX_VALUE / 8) {
        for bit in 0..8 {
            if octet & (0x80 >> bit) == 0 {
                continue;
            }
            line.push(before);
            before = " ";
            let number = i64::try_from(index * 8 + bit).unwrap_or(i64::MAX);
            match labels.iter().find(|(known, _)| *known == number) {
                Some((_, label)) => line.push(label),
                None => {
                    let _ = write!(line, "{number}");
                }
            }
        }
    }
    line.push(if before == "{" { "{}" } else { "}" });
}

fn hinted(octets: &[u8], hint: &str, quotes: Quotes, line: &mut Line<'_>) -> bool {
    // A hint with separators makes five characters of an octet at most.
    let kept = &octets[..octets.len().min(MAX_VALUE)];
    let made = mib_rs::mib::display_hint::format_octets(
        hint,
        kept,
        mib_rs::mib::display_hint::HexCase::Lower,
    );
    match made {
        Some(text) => {
            quoted(&text, quotes, line);
            true
        }
        None => false,
    }
}

/// Net-SNMP's numbers in Opaque: a float, a double or 64 bits, each in a tag of its own.
fn wrapped_number(octets: &[u8], line: &mut Line<'_>) -> bool {
    let &[0x9f, tag, length, ref rest @ ..] = octets else {
        return false;
    };
    if usize::from(length) != rest.len() {
        return false;
    }
    let negative = rest.first().is_some_and(|octet| octet & 0x80 != 0);
    let whole = |fill: u8| {
        // One more octet than 64 bits need says that the number has no sign.
        let rest = match rest {
            [0, rest @ ..] if rest.len() == 8 => rest,
            rest => rest,
        };
        let mut number = [fill; 8];
        let start = 8_usize.checked_sub(rest.len())?;
        number[start..].copy_from_slice(rest);
        Some(number)
    };
    let _ = match tag {
        0x78 => match rest.try_into().map(f32::from_be_bytes) {
            Ok(number) => write!(line, "{number}"),
            Err(_) => return false,
        },
        0x79 => match rest.try_into().map(f64::from_be_bytes) {
            Ok(number) => write!(line, "{number}"),
            Err(_) => return false,
        },
        0x7a if !rest.is_empty() => match whole(if negative { 0xff } else { 0 }) {
            Some(number) => write!(line, "{}", i64::from_be_bytes(number)),
            None => return false,
        },
        0x7b if !rest.is_empty() => match whole(0) {
            Some(number) => write!(line, "{}", u64::from_be_bytes(number)),
            None => return false,
        },
        _ => return false,
    };
    true
}
