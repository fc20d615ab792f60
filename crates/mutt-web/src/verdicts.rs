//! Why rules match or do not, as the API says it: the explanation of `mutt-rules` with types, with
//! every place counted in bytes, characters and as JavaScript counts, and with the draft's name.

use mutt_event::Severity;
use mutt_rules::{Found, Matched, Verdict};
use serde::Serialize;
use utoipa::ToSchema;

use crate::rules::MatchTypeName;

/// The number of a draft that is not stored: after every rule of its priority, as a new one.
pub const NEW: i64 = i64::MAX;

/// A stored rule by its number, or the draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum RuleRef {
    /// The rule's number.
    Stored(i64),
    /// `draft`.
    Draft(DraftWord),
}

/// The draft that is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DraftWord {
    Draft,
}

impl RuleRef {
    pub fn new(id: i64) -> Self {
        if id == NEW {
            Self::Draft(DraftWord::Draft)
        } else {
            Self::Stored(id)
        }
    }
}

/// What one rule says of a line.
#[derive(Debug, Serialize, ToSchema)]
pub struct LineVerdict {
    /// The rule.
    rule_id: RuleRef,
    /// In one word.
    verdict: VerdictName,
    /// In words.
    sentence: String,
    /// How it matched; only where it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    matched: Option<MatchView>,
    /// What the message has not; only with `message_differs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    looked_for: Option<String>,
    /// How `looked_for` is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<MatchTypeName>)]
    match_type: Option<&'static str>,
    /// The severity or OID of the rule; only where that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    wanted: Option<Criterion>,
    /// The severity or OID of the event; only where that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    got: Option<Criterion>,
}

/// What a rule says of an event. Of several reasons not to match the first is given, in the order of
/// message, OID, severity.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerdictName {
    /// It matches and decides.
    Won,
    /// It matches, and an earlier rule decides.
    WouldMatch,
    /// It matches, and only watches.
    Observed,
    /// The message has not what the rule looks for.
    MessageDiffers,
    /// The rule is for another severity.
    SeverityDiffers,
    /// The trap's OID is neither the rule's nor below it.
    OidDiffers,
    /// The rule is for traps, and the event is none.
    NotATrap,
}

/// A severity, 0 to 7, or an OID.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Criterion {
    Severity(u8),
    Oid(String),
}

/// Where and how a rule matched.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct MatchView {
    /// What it found in the message; absent for a rule that looks at the trap OID only.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<FoundView>,
    /// What the groups of a regular expression captured; absent where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    groups: Vec<GroupView>,
    /// The rule's OID, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    trap_oid: Option<String>,
}

/// A capture group.
#[derive(Debug, Serialize, ToSchema)]
pub struct GroupView {
    /// Its number, from 1.
    number: usize,
    /// Its name, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// What it captured; null where it took no part.
    found: Option<FoundView>,
}

/// A piece of the message.
#[derive(Debug, Serialize, ToSchema)]
pub struct FoundView {
    /// Where, in bytes of UTF-8.
    span: SpanView,
    /// What it says there.
    text: String,
    /// Where, in three ways to count.
    place: Place,
}

/// From `start` to before `end`, in bytes.
#[derive(Debug, Serialize, ToSchema)]
pub struct SpanView {
    start: usize,
    end: usize,
}

/// A piece of a message, in three ways to count; each from 0, the end not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Place {
    /// In bytes of UTF-8.
    pub bytes: [usize; 2],
    /// In characters (Unicode scalar values).
    pub chars: [usize; 2],
    /// In UTF-16 code units, as JavaScript counts.
    pub utf16: [usize; 2],
}

impl Place {
    /// The place of `span`, which lies at characters, in `message`.
    pub fn of(message: &str, span: &std::ops::Range<usize>) -> Self {
        let ends = [span.start, span.end];
        let before = |end: usize| message.get(..end).unwrap_or(message);
        Self {
            bytes: ends,
            chars: ends.map(|end| before(end).chars().count()),
            utf16: ends.map(|end| before(end).encode_utf16().count()),
        }
    }
}

impl FoundView {
    fn new(message: &str, found: Found) -> Self {
        Self {
            place: Place::of(message, &found.span),
            span: SpanView {
                start: found.span.start,
                end: found.span.end,
            },
            text: found.text,
        }
    }
}

impl MatchView {
    pub fn new(message: &str, matched: Matched) -> Self {
        let found = |found| FoundView::new(message, found);
        Self {
            text: matched.text.map(found),
            groups: matched
                .groups
                .into_iter()
                .map(|group| GroupView {
                    number: group.number,
                    name: group.name,
                    found: group.found.map(found),
                })
                .collect(),
            trap_oid: matched.trap_oid,
        }
    }
}

impl LineVerdict {
    pub fn new(message: &str, rule: i64, verdict: Verdict) -> Self {
        let mut said = Self {
            rule_id: RuleRef::new(rule),
            verdict: VerdictName::Won,
            sentence: verdict.to_string(),
            matched: None,
            looked_for: None,
            match_type: None,
            wanted: None,
            got: None,
        };
        let severity = |severity: Severity| Criterion::Severity(severity.number());
        let matched = match verdict {
            Verdict::Won { matched } => matched,
            Verdict::WouldMatch { matched } => {
                said.verdict = VerdictName::WouldMatch;
                matched
            }
            Verdict::Observed { matched } => {
                said.verdict = VerdictName::Observed;
                matched
            }
            Verdict::MessageDiffers {
                looked_for,
                match_type,
            } => {
                said.verdict = VerdictName::MessageDiffers;
                said.looked_for = Some(looked_for);
                said.match_type = Some(match_type.name());
                return said;
            }
            Verdict::SeverityDiffers { wanted, got } => {
                said.verdict = VerdictName::SeverityDiffers;
                said.wanted = Some(severity(wanted));
                said.got = got.map(severity);
                return said;
            }
            Verdict::OidDiffers { wanted, got } => {
                said.verdict = VerdictName::OidDiffers;
                said.wanted = Some(Criterion::Oid(wanted));
                said.got = Some(Criterion::Oid(got));
                return said;
            }
            Verdict::NotATrap { wanted } => {
                said.verdict = VerdictName::NotATrap;
                said.wanted = Some(Criterion::Oid(wanted));
                return said;
            }
        };
        said.matched = Some(MatchView::new(message, matched));
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_three_ways() {
        // `ü` is two bytes, `😀` four bytes and two code units.
        let message = "ü😀 down";
        let place = Place::of(message, &(7..11));
        assert_eq!(&message[7..11], "down");
        assert_eq!((place.chars, place.utf16), ([3, 7], [4, 8]));
    }
}
