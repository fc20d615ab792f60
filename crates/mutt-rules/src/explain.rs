//! Why a rule matched an event or did not, in words for the people who watch the network.
//!
//! Looks at every rule by itself, for one event at a time; the verdicts agree with what
//! [`RuleSet::find`](crate::RuleSet::find) decides.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use mutt_event::Severity;
use serde::Serialize;
use serde::ser::Serializer;

use crate::matcher::{Compiled, Line, Pattern, Text};
use crate::{MatchType, Rule, Subject};

/// What every rule says of one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The id of the rule that decides; `None` when the event is unhandled.
    pub winner: Option<i64>,
    /// For each rule, in the order in which rules win, its id and its verdict. In JSON an object:
    /// the verdict's fields, `rule_id`, and `sentence`, the verdict in words.
    #[serde(serialize_with = "as_objects")]
    pub verdicts: Vec<(i64, Verdict)>,
}

/// What one rule says of one event. Of several reasons not to match, the first in the order of
/// message, OID, severity is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// It matches and decides.
    Won {
        /// How it matched.
        matched: Matched,
    },
    /// It matches, and an earlier rule decides.
    WouldMatch {
        /// How it matched.
        matched: Matched,
    },
    /// It matches, and only watches.
    Observed {
        /// How it matched.
        matched: Matched,
    },
    /// The message has not what the rule looks for.
    MessageDiffers {
        /// The rule's `match_string`.
        looked_for: String,
        /// How it is read.
        match_type: MatchType,
    },
    /// The rule is for another severity.
    SeverityDiffers {
        /// The rule's.
        wanted: Severity,
        /// The event's.
        got: Option<Severity>,
    },
    /// The trap's OID is neither the rule's nor below it, with or without a 0 before its last
    /// number.
    OidDiffers {
        /// The rule's.
        wanted: String,
        /// The event's.
        got: String,
    },
    /// The rule is for traps, and the event has no trap OID.
    NotATrap {
        /// The rule's.
        wanted: String,
    },
}

/// Where and how a rule matched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Matched {
    /// What it found in the message; `None` for a rule that looks at the trap OID only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Found>,
    /// What the groups of a regular expression captured, from group 1.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
    /// The rule's OID, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trap_oid: Option<String>,
}

/// A piece of the message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Where, in bytes of the message.
    pub span: Range<usize>,
    /// What it says there.
    pub text: String,
}

/// A capture group of a regular expression.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Its number, from 1.
    pub number: usize,
    /// Its name, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it captured; `None` when it took no part.
    pub found: Option<Found>,
}

impl Explanation {
    pub(crate) fn of(rules: &[Arc<Rule>], compiled: &[Compiled], subject: &Subject<'_>) -> Self {
        let (mut lowered, mut folded, mut arcs) = (String::new(), String::new(), Vec::new());
        let line = Line::prepare(subject, &mut lowered, &mut folded, &mut arcs);
        let mut winner = None;
        let verdicts = rules
            .iter()
            .zip(compiled)
            .map(|(rule, compiled)| {
                let verdict = match judge(rule, compiled, subject, &line) {
                    Err(differs) => differs,
                    Ok(matched) if compiled.observe => Verdict::Observed { matched },
                    Ok(matched) if winner.is_some() => Verdict::WouldMatch { matched },
                    Ok(matched) => {
                        winner = Some(rule.id);
                        Verdict::Won { matched }
                    }
                };
                (rule.id, verdict)
            })
            .collect();
        Self { winner, verdicts }
    }
}

fn judge(
    rule: &Rule,
    compiled: &Compiled,
    subject: &Subject<'_>,
    line: &Line<'_>,
) -> Result<Matched, Verdict> {
    let mut matched = Matched::default();
    let holds = match &compiled.text {
        Text::Any => true,
        Text::Contains { needle } => {
            matched.text = find_substring(line, needle);
            matched.text.is_some()
        }
        Text::Regex(pattern) => {
            let holds = pattern.is_match(line);
            if holds {
                capture(pattern, subject.message, &mut matched);
            }
            holds
        }
    };
    if !holds {
        return Err(Verdict::MessageDiffers {
            looked_for: rule.draft.match_string.clone().unwrap_or_default(),
            match_type: match rule.draft.match_type {
                MatchType::Regex => MatchType::Regex,
                // Beside an OID, the text is a substring.
                MatchType::Contains | MatchType::OidPrefix => MatchType::Contains,
            },
        });
    }
    if let Some(oid) = &compiled.oid {
        let wanted = oid.to_string();
        let Some(got) = subject.trap_oid else {
            return Err(Verdict::NotATrap { wanted });
        };
        if !compiled.oid_holds(line) {
            return Err(Verdict::OidDiffers {
                wanted,
                got: got.to_owned(),
            });
        }
        matched.trap_oid = Some(wanted);
    }
    match compiled.severity {
        Some(wanted) if subject.severity != Some(wanted) => Err(Verdict::SeverityDiffers {
            wanted,
            got: subject.severity,
        }),
        _ => Ok(matched),
    }
}

/// Finds the text in the lower-cased message, and the place it has in the message as it came.
fn find_substring(line: &Line<'_>, needle: &str) -> Option<Found> {
    let at = memchr::memmem::find(line.lowered(), needle.as_bytes())?;
    let message = line.message();
    // A letter may change its length when it is lower-cased ('İ' becomes two).
    let mut lowered_end = 0;
    let mut span = None::<Range<usize>>;
    for (start, letter) in message.char_indices() {
        let end = start + letter.len_utf8();
        lowered_end += letter.to_lowercase().map(char::len_utf8).sum::<usize>();
        if lowered_end > at {
            span = Some(span.map_or(start, |span| span.start)..end);
        }
        if lowered_end >= at + needle.len() {
            break;
        }
    }
    span.map(|span| found(message, span))
}

fn capture(pattern: &Pattern, message: &str, matched: &mut Matched) {
    let Some(regex) = pattern.with_captures() else {
        return;
    };
    let mut captures = regex.create_captures();
    regex.captures(message, &mut captures);
    matched.text = captures
        .get_match()
        .map(|whole| found(message, whole.range()));
    let names = regex_automata::PatternID::ZERO;
    matched.groups = captures
        .iter()
        .zip(captures.group_info().pattern_names(names))
        .enumerate()
        .skip(1)
        .map(|(number, (span, name))| Group {
            number,
            name: name.map(str::to_owned),
            found: span.map(|span| found(message, span.range())),
        })
        .collect();
}

fn found(message: &str, span: Range<usize>) -> Found {
    Found {
        text: message[span.clone()].to_owned(),
        span,
    }
}

fn as_objects<S: Serializer>(
    verdicts: &[(i64, Verdict)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Object<'a> {
        rule_id: i64,
        #[serde(flatten)]
        verdict: &'a Verdict,
        sentence: String,
    }
    serializer.collect_seq(verdicts.iter().map(|(rule_id, verdict)| Object {
        rule_id: *rule_id,
        verdict,
        sentence: verdict.to_string(),
    }))
}

impl Verdict {
    /// Whether the rule matches, be it that it wins or not.
    pub fn matches(&self) -> bool {
        matches!(
            self,
            Self::Won { .. } | Self::WouldMatch { .. } | Self::Observed { .. }
        )
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Won { matched } => write!(f, "This rule decides: {matched}."),
            Self::WouldMatch { matched } => {
                write!(
                    f,
                    "It matches too ({matched}), but an earlier rule decides."
                )
            }
            Self::Observed { matched } => {
                write!(
                    f,
                    "It matches ({matched}), but it is in mode observe and decides nothing."
                )
            }
            Self::MessageDiffers {
                looked_for,
                match_type: MatchType::Regex,
            } => {
                write!(
                    f,
                    "The regular expression '{looked_for}' finds nothing in the message."
                )
            }
            Self::MessageDiffers { looked_for, .. } => {
                write!(f, "The message does not contain '{looked_for}'.")
            }
            Self::SeverityDiffers { wanted, got } => {
                write!(
                    f,
                    "The rule is for severity {wanted} ({}) only, ",
                    wanted.name()
                )?;
                match got {
                    Some(got) => write!(f, "the event has {got} ({}).", got.name()),
                    None => f.write_str("the event has none."),
                }
            }
            Self::OidDiffers { wanted, got } => {
                write!(f, "The trap OID {got} is neither {wanted} nor below it.")
            }
            Self::NotATrap { wanted } => {
                write!(
                    f,
                    "The rule is for traps with OID {wanted}, and the event has no trap OID."
                )
            }
        }
    }
}

impl fmt::Display for Matched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.text, &self.trap_oid) {
            (Some(text), None) => write!(f, "the message has '{}'", text.text),
            (None, Some(oid)) => write!(f, "the trap OID is {oid} or below it"),
            (Some(text), Some(oid)) => {
                write!(
                    f,
                    "the message has '{}' and the trap OID is {oid} or below it",
                    text.text
                )
            }
            (None, None) => f.write_str("every criterion holds"),
        }
    }
}
