//! What was odd about a message: typed, countable, and written into the event.

use std::fmt;

/// One oddity. The names are stable: rules match on them and metrics are labelled with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Note {
    /// No priority at the start: no facility, and the severity comes from the text or is 5.
    NoPri,
    /// A priority above 191, or one that cannot be read; as if there were none.
    BadPri,
    /// No host name in the message: it is the peer's address.
    NoHost,
    /// A time without a year: the year that brings it nearest to the time of receipt.
    NoYear,
    /// No readable time of the device: the time of receipt counts.
    NoTimestamp,
    /// The device says its clock was never set (Cisco `*`).
    ClockNotSet,
    /// The device says its clock lost its source (Cisco `.`).
    ClockNotSynced,
    /// A name of a time zone that is not known: as if there were none.
    UnknownZone,
    /// Structured data that RFC 5424 does not allow: it stays in the message.
    BadStructuredData,
    /// Bytes that are no UTF-8, or NUL: each became U+FFFD.
    InvalidUtf8,
    /// The line was longer than allowed: the rest is gone.
    Truncated,
    /// The frame was not of the kind that this connection began with, or its length made no sense.
    UnexpectedFraming,
    /// A byte order mark where none belongs.
    Bom,
    /// Nothing in it.
    Empty,
    /// A name of a time zone that several countries use, or a date whose day and month could be
    /// either: read as what is nearest to the time of receipt.
    AmbiguousTime,
    /// A relay put a header of its own in front of the device's: the device's host and time count.
    Relayed,
}

impl Note {
    /// All notes.
    pub const ALL: [Self; 16] = [
        Self::NoPri,
        Self::BadPri,
        Self::NoHost,
        Self::NoYear,
        Self::NoTimestamp,
        Self::ClockNotSet,
        Self::ClockNotSynced,
        Self::UnknownZone,
        Self::BadStructuredData,
        Self::InvalidUtf8,
        Self::Truncated,
        Self::UnexpectedFraming,
        Self::Bom,
        Self::Empty,
        Self::AmbiguousTime,
        Self::Relayed,
    ];

    /// The name in `parse_notes` and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoPri => "no_pri",
            Self::BadPri => "bad_pri",
            Self::NoHost => "no_host",
            Self::NoYear => "no_year",
            Self::NoTimestamp => "no_timestamp",
            Self::ClockNotSet => "clock_not_set",
            Self::ClockNotSynced => "clock_not_synced",
            Self::UnknownZone => "unknown_zone",
            Self::BadStructuredData => "bad_structured_data",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::Truncated => "truncated",
            Self::UnexpectedFraming => "unexpected_framing",
            Self::Bom => "bom",
            Self::Empty => "empty",
            Self::AmbiguousTime => "ambiguous_time",
            Self::Relayed => "relayed",
        }
    }
}

/// A set of notes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Notes(u16);

impl Notes {
    /// No note.
    pub const NONE: Self = Self(0);

    /// Adds one.
    pub fn add(&mut self, note: Note) {
        self.0 |= 1 << note as u8;
    }

    /// Takes one away.
    pub(crate) fn remove(&mut self, note: Note) {
        self.0 &= !(1 << note as u8);
    }

    /// Whether it is in the set.
    pub fn has(self, note: Note) -> bool {
        self.0 & (1 << note as u8) != 0
    }

    /// The notes of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The notes, in the order of [`Note::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Note> {
        Note::ALL.into_iter().filter(move |&note| self.has(note))
    }

    /// Appends the names as a JSON list.
    pub(crate) fn write_json(self, out: &mut Vec<u8>) {
        let mut before = b'[';
        for note in self.iter() {
            out.extend_from_slice(&[before, b'"']);
            out.extend_from_slice(note.name().as_bytes());
            out.push(b'"');
            before = b',';
        }
        if before == b'[' {
            out.push(b'[');
        }
        out.push(b']');
    }
}

impl From<Note> for Notes {
    fn from(note: Note) -> Self {
        Self(1 << note as u8)
    }
}

impl FromIterator<Note> for Notes {
    fn from_iter<I: IntoIterator<Item = Note>>(notes: I) -> Self {
        let mut set = Self::NONE;
        notes.into_iter().for_each(|note| set.add(note));
        set
    }
}

impl fmt::Debug for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Note::name)).finish()
    }
}
