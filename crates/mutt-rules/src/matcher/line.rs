//! One event, prepared for matching: its message in lower case, its OID in arcs.
//!
//! Owns the one subtle point of case: what a regex without case calls equal and what lower-casing
//! makes equal are not the same. Of all letters that are not ASCII, only `ſ` (U+017F) and the
//! Kelvin sign (U+212A) are equal to an ASCII letter in a regex. Lower-casing makes a `k` of the
//! Kelvin sign but leaves `ſ`, hence the second text `folded`.

use mutt_event::Severity;

use super::Subject;
use crate::Oid;

pub(crate) struct Line<'a> {
    /// As it came.
    pub(super) message: &'a str,
    /// Whether the ASCII variant of a regex may run on it.
    pub(super) ascii: bool,
    /// What `contains` looks in: equal to `message.to_lowercase()`.
    pub(super) lowered: &'a [u8],
    /// What literals of regexes are looked for in. Every ASCII literal that a regex could match in
    /// the message, in whatever case, is in here in lower case.
    pub(super) folded: &'a [u8],
    /// `None` when there is no trap OID, or none that can be read.
    pub(super) arcs: Option<&'a [u32]>,
    pub(super) severity: Option<Severity>,
}

impl<'a> Line<'a> {
    pub(crate) fn message(&self) -> &'a str {
        self.message
    }

    pub(crate) fn lowered(&self) -> &'a [u8] {
        self.lowered
    }

    /// Fills the buffers, which a caller keeps from line to line.
    pub(crate) fn prepare(
        subject: &Subject<'a>,
        lowered: &'a mut String,
        folded: &'a mut String,
        arcs: &'a mut Vec<u32>,
    ) -> Self {
        let message = subject.message;
        let ascii = message.is_ascii();
        let mut has_long_s = false;
        lowered.clear();
        if ascii {
            lowered.push_str(message);
            lowered.make_ascii_lowercase();
        } else {
            has_long_s = message.contains('ſ');
            lower(message, lowered);
            if has_long_s {
                folded.clear();
                folded.extend(lowered.chars().map(|c| if c == 'ſ' { 's' } else { c }));
            }
        }
        let lowered = lowered.as_bytes();
        Self {
            message,
            ascii,
            lowered,
            folded: if has_long_s {
                folded.as_bytes()
            } else {
                lowered
            },
            arcs: subject
                .trap_oid
                .and_then(|oid| Oid::parse_into(oid, arcs).ok())
                .map(|()| arcs.as_slice()),
            severity: subject.severity,
        }
    }
}

/// `text.to_lowercase()`, into a buffer that is reused.
fn lower(text: &str, into: &mut String) {
    // The one letter whose lower case depends on its neighbours.
    if text.contains('Σ') {
        into.push_str(&text.to_lowercase());
        return;
    }
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let plain = rest
            .bytes()
            .position(|byte| !byte.is_ascii())
            .unwrap_or(rest.len());
        if plain > 0 {
            let start = into.len();
            into.push_str(&rest[..plain]);
            into[start..].make_ascii_lowercase();
            rest = &rest[plain..];
        } else {
            into.extend(letter.to_lowercase());
            rest = &rest[letter.len_utf8()..];
        }
    }
}
