//! Texts of `key=value` pairs: Fortinet, `SonicWall` and their like. They send no header of their own;
//! what stands in front is a relay's.

use jiff::Timestamp;

use super::super::clock::Clock;
use super::super::notes::Note;
use super::super::zone::{self, Zone};
use super::super::{Bytes, Message, Mnemonic, is_host};
use crate::{Severity, time};

/// Takes host, time, severity and the kind of message from the pairs. `false` where the text is none.
pub(super) fn read<'a>(text: &'a str, clock: Clock<'_>, message: &mut Message<'a>) -> bool {
    let mut pairs = Pairs::of(text);
    let (mut date, mut time, mut zone, mut epoch) = (None, None, None, None);
    let mut any = false;
    for (key, value) in &mut pairs {
        any = true;
        match key {
            "date" => date = Some(value),
            "time" => time = Some(value),
            // Sophos, from version 18 on.
            "timestamp" if time.is_none() => time = Some(value),
            "tz" | "timezone" => zone = Some(value),
            "eventtime" => epoch = Some(value),
            // The device itself, whatever a relay's header says.
            "devname" if is_host(value) => message.host = Some(value),
            "fw" if message.host.is_none() && is_host(value) => message.host = Some(value),
            "level" | "pri" if message.vendor_severity.is_none() => {
                message.vendor_severity = severity(value);
            }
            // SonicWall's.
            "m" if text.starts_with("id=") && message.mnemonic.is_none() && !value.is_empty() => {
                message.mnemonic = Some(Mnemonic::Word(value));
            }
            "logid" | "log_id" if message.mnemonic.is_none() && !value.is_empty() => {
                message.mnemonic = Some(Mnemonic::Word(value));
            }
            _ => {}
        }
    }
    let written = match (date, time) {
        (Some(date), Some(time)) => {
            let zone = zone.map_or(Zone::Unwritten, zone::named);
            match (zone, epoch.and_then(epoch_time)) {
                // Without a zone, only the other one says when that was.
                (Zone::Unwritten, Some(time)) => Some(time),
                (zone, _) => date_and_time(date, time, zone, clock),
            }
        }
        (None, Some(time)) => one_time(time, clock),
        _ => None,
    };
    if let Some(time) = written {
        // The device's own, whatever a relay's header says.
        message.time = Some(time);
        message.notes.remove(Note::NoYear);
    }
    any
}

/// As it is on the scale of syslog; Fortinet has a word of its own.
fn severity(word: &str) -> Option<Severity> {
    match word {
        "notification" => Some(Severity::NOTICE),
        word => Severity::from_text(word),
    }
}

fn date_and_time(date: &str, time: &str, zone: Zone, clock: Clock<'_>) -> Option<Timestamp> {
    let mut text = [0; 32];
    let length = 11 + time.len();
    text.get_mut(..length)?;
    text[..10].copy_from_slice(date.as_bytes().get(..10)?);
    text[10] = b'T';
    text[11..length].copy_from_slice(time.as_bytes());
    let (civil, None, []) = time::read_civil(&text[..length])? else {
        return None;
    };
    zone.moment(&civil, true, clock)
}

fn one_time(text: &str, clock: Clock<'_>) -> Option<Timestamp> {
    match time::read_civil(text.as_bytes()) {
        Some((civil, offset, [])) => clock.moment(&civil, offset),
        _ => time::parse_timestamp(text),
    }
}

/// Forti writes seconds, or from 6.2 on nanoseconds.
fn epoch_time(digits: &str) -> Option<Timestamp> {
    match digits.len() {
        19 => Timestamp::from_nanosecond(digits.parse().ok()?).ok(),
        16 => Timestamp::from_microsecond(digits.parse().ok()?).ok(),
        _ => time::read_epoch(digits.as_bytes()),
    }
}

/// The pairs of `key=value key="quoted value"`, up to the first thing that is none.
struct Pairs<'a> {
    rest: &'a str,
    /// What stands between two pairs.
    separator: u8,
}

impl<'a> Pairs<'a> {
    /// Looks at the first pair to find out what separates them: a blank, or in some forms a comma,
    /// a semicolon or a bar.
    fn of(text: &'a str) -> Self {
        let first = text.find([' ', ',', ';', '|', '"']);
        let separator = match first.map(|at| (text.as_bytes()[at], &text[at + 1..])) {
            Some((mark @ (b',' | b';' | b'|'), rest)) if key(rest).is_some() => mark,
            _ => b' ',
        };
        Self {
            rest: text,
            separator,
        }
    }
}

static IN_KEY: Bytes = Bytes::words(b"_-.");

/// A key at the start of a text, and what follows its equals sign.
fn key(text: &str) -> Option<(&str, &str)> {
    let equals = text.bytes().take(64).position(|byte| !IN_KEY.has(byte))?;
    let rest = text[equals..].strip_prefix('=')?;
    (equals > 0).then_some((&text[..equals], rest))
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let between = |byte: u8| matches!(byte, b' ' | b',') || byte == self.separator;
        let start = self.rest.bytes().position(|byte| !between(byte))?;
        let text = &self.rest[start..];
        let (key, rest) = key(text)?;
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => {
                rest.split_at(memchr::memchr(self.separator, rest.as_bytes()).unwrap_or(rest.len()))
            }
        };
        self.rest = rest;
        Some((key, value))
    }
}
