//! Texts of `key=value` pairs: Fortinet, `SonicWall` and their like.

use jiff::Timestamp;

use super::super::clock::Clock;
use super::super::{Message, is_host};
use crate::{Severity, time};

/// Takes host, time and severity from a text of `key=value` pairs, as far as they are not known yet
/// (`FortiOS` sends no other header; `SonicWall` is alike). `false` where it is no such text.
pub(super) fn read<'a>(text: &'a str, clock: Clock<'_>, message: &mut Message<'a>) -> bool {
    let mut pairs = Pairs(text).peekable();
    if pairs.peek().is_none() {
        return false;
    }
    let (mut date, mut time, mut zone, mut epoch) = (None, None, None, None);
    for (key, value) in pairs {
        match key {
            "date" => date = Some(value),
            "time" => time = Some(value),
            "tz" => zone = Some(value),
            "eventtime" => epoch = Some(value),
            "devname" | "fw" | "device_name" if message.host.is_none() => {
                message.host = Some(value).filter(|host| is_host(host));
            }
            "level" | "pri" if message.vendor_severity.is_none() => {
                message.vendor_severity = Severity::from_text(value);
            }
            _ => {}
        }
    }
    if message.time.is_none() {
        message.time = match (date, time) {
            (Some(date), Some(time)) => date_and_time(date, time, zone.unwrap_or(""), clock),
            (None, Some(time)) => one_time(time, clock),
            _ => None,
        }
        .or_else(|| epoch.and_then(epoch_time));
    }
    true
}

fn date_and_time(date: &str, time: &str, zone: &str, clock: Clock<'_>) -> Option<Timestamp> {
    let mut text = [0; 19];
    text[..10].copy_from_slice(date.as_bytes().get(..10)?);
    text[10] = b'T';
    text[11..].copy_from_slice(time.as_bytes().get(..8)?);
    let (civil, None, []) = time::read_civil(&text)? else {
        return None;
    };
    let offset = time::offset(zone.as_bytes()).map(|(offset, _)| offset);
    clock.moment(&civil, offset)
}

fn one_time(text: &str, clock: Clock<'_>) -> Option<Timestamp> {
    match time::read_civil(text.as_bytes()) {
        Some((civil, offset, [])) => clock.moment(&civil, offset),
        _ => time::parse_timestamp(text),
    }
}

/// Forti writes seconds or nanoseconds, by version.
fn epoch_time(digits: &str) -> Option<Timestamp> {
    let milliseconds = if digits.len() == 19 {
        digits.get(..13)?
    } else {
        digits
    };
    time::read_epoch(milliseconds.as_bytes())
}

/// The pairs of `key=value key="quoted value"`, up to the first thing that is none.
struct Pairs<'a>(&'a str);

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.0.trim_start_matches([' ', ',']);
        let equals = text.bytes().take(64).position(|byte| {
            !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
        })?;
        if equals == 0 || text.as_bytes()[equals] != b'=' {
            return None;
        }
        let (key, rest) = (&text[..equals], &text[equals + 1..]);
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_at(rest.find(' ').unwrap_or(rest.len())),
        };
        self.0 = rest;
        Some((key, value))
    }
}
