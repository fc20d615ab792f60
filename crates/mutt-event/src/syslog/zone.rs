//! The zones that devices write behind a time: offsets, and the names that stand for them.
//!
//! Names are ambiguous all over the world; which of two is meant is decided here, by where the
//! sender is and when the message came.

use jiff::Timestamp;

use super::clock::Clock;
use super::notes::{Note, Notes};
use crate::time::{Civil, offset};

/// In seconds.
const HOUR: i64 = 3600;

/// What is known of the zone of a time.
#[derive(Clone, Copy)]
pub(super) enum Zone {
    /// Nothing is written.
    Unwritten,
    /// Seconds ahead of UTC.
    Ahead(i64),
    /// A name that means two zones: seconds ahead of UTC.
    Either([i64; 2]),
}

impl Zone {
    /// Whether only the time of receipt says which zone is meant.
    pub fn is_ambiguous(self, clock: Clock<'_>) -> bool {
        matches!(self, Self::Either(_)) && !clock.has_zone()
    }

    /// The moment meant. A name of two zones means the sender's, if it is one of them, else the one
    /// that brings the time nearer to the receipt.
    pub fn moment(self, civil: &Civil, year: bool, clock: Clock<'_>) -> Option<Timestamp> {
        let at = |offset| {
            if year {
                clock.moment(civil, offset)
            } else {
                clock.nearest_year(civil, offset)
            }
        };
        match self {
            Self::Unwritten => at(None),
            Self::Ahead(seconds) => at(Some(seconds)),
            Self::Either(offsets) => {
                let either = offsets.map(|seconds| at(Some(seconds)));
                let here = at(None).filter(|_| clock.has_zone());
                if here.is_some() && either.contains(&here) {
                    return here;
                }
                let either = either.into_iter().flatten();
                either.min_by_key(|moment| clock.distance(*moment))
            }
        }
    }
}

/// The zone behind a time of day: an offset or a name.
pub(super) fn zone<'a>(text: &'a [u8], notes: &mut Notes) -> (Zone, &'a [u8]) {
    let spaced = text
        .strip_prefix(b" ")
        .filter(|rest| matches!(rest.first(), Some(b'+' | b'-')));
    if let Some((offset, rest)) = offset(spaced.unwrap_or(text)) {
        return (Zone::Ahead(offset), rest);
    }
    zone_name(text, notes).unwrap_or((Zone::Unwritten, text))
}

/// The zone that a word alone means: an offset or a name.
pub(super) fn named(word: &str) -> Zone {
    if let Some((seconds, _)) = offset(word.as_bytes()) {
        return Zone::Ahead(seconds);
    }
    known(word.as_bytes()).unwrap_or(Zone::Unwritten)
}

/// A zone's name behind a blank, and what follows it. A word that is not known is only taken for a
/// zone where a colon follows, as Cisco writes it; else it is the host.
fn zone_name<'a>(text: &'a [u8], notes: &mut Notes) -> Option<(Zone, &'a [u8])> {
    let name = text.strip_prefix(b" ")?;
    let length = name
        .iter()
        .take(6)
        .take_while(|byte| byte.is_ascii_uppercase())
        .count();
    if !(3..=5).contains(&length) {
        return None;
    }
    let (name, rest) = name.split_at(length);
    // Huawei and others go on with an offset: "UTC+08:00".
    if matches!(name, b"UTC" | b"GMT")
        && let Some((seconds, rest)) = offset(rest)
    {
        return Some((Zone::Ahead(seconds), rest));
    }
    match known(name) {
        Some(zone) => matches!(rest.first(), None | Some(b' ' | b':')).then_some((zone, rest)),
        None if rest.first() == Some(&b':') => {
            notes.add(Note::UnknownZone);
            Some((Zone::Unwritten, rest))
        }
        None => None,
    }
}

/// What a zone's name means.
fn known(name: &[u8]) -> Option<Zone> {
    let (hours, minutes) = match name {
        b"UTC" | b"GMT" | b"WET" => (0, 0),
        b"CET" | b"BST" | b"WEST" | b"WAT" => (1, 0),
        b"CEST" | b"EET" | b"CAT" | b"SAST" => (2, 0),
        b"EEST" | b"MSK" | b"EAT" => (3, 0),
        b"PKT" => (5, 0),
        b"ICT" | b"WIB" => (7, 0),
        b"SGT" | b"HKT" | b"AWST" | b"PHT" => (8, 0),
        b"JST" | b"KST" => (9, 0),
        b"ACST" => (9, 30),
        b"AEST" => (10, 0),
        b"ACDT" => (10, 30),
        b"AEDT" => (11, 0),
        b"NZST" => (12, 0),
        b"NZDT" => (13, 0),
        b"NST" => (-3, -30),
        b"BRT" | b"ART" | b"ADT" => (-3, 0),
        b"EDT" => (-4, 0),
        b"EST" | b"CDT" => (-5, 0),
        b"MDT" => (-6, 0),
        b"MST" | b"PDT" => (-7, 0),
        b"PST" | b"AKDT" => (-8, 0),
        b"AKST" => (-9, 0),
        b"HST" => (-10, 0),
        // China and the middle of North America; India and Israel.
        b"CST" => return Some(Zone::Either([-6 * HOUR, 8 * HOUR])),
        b"AST" => return Some(Zone::Either([-4 * HOUR, 3 * HOUR])),
        b"IST" => return Some(Zone::Either([2 * HOUR, 5 * HOUR + HOUR / 2])),
        _ => return None,
    };
    Some(Zone::Ahead(hours * HOUR + minutes * 60))
}
