//! One rule, ready to be tested: its criteria parsed, lower-cased and compiled.

use std::sync::Arc;

use memchr::memmem::Finder;
use mutt_event::Severity;

use super::{Line, Pattern, PatternError};
use crate::{MatchType, Mode, Oid, RuleDraft};

/// The criteria of one rule. All that are set must hold.
pub(crate) struct Compiled {
    pub(crate) text: Text,
    pub(crate) oid: Option<Oid>,
    pub(crate) severity: Option<Severity>,
    pub(crate) observe: bool,
}

/// What a rule looks for in the message.
pub(crate) enum Text {
    /// Nothing: the trap OID decides.
    Any,
    /// A substring, in lower case.
    Contains {
        needle: Box<str>,
    },
    Regex(Arc<Pattern>),
}

impl Compiled {
    /// Compiles a rule; `pattern` compiles a regex or knows it already.
    ///
    /// # Errors
    /// A sentence that says why the rule cannot take part.
    pub(super) fn new(
        draft: &RuleDraft,
        pattern: impl FnOnce(&str) -> Result<Arc<Pattern>, PatternError>,
    ) -> Result<Self, String> {
        let text = match draft
            .match_string
            .as_deref()
            .filter(|text| !text.is_empty())
        {
            None => Text::Any,
            Some(text) if draft.match_type == MatchType::Regex => {
                Text::Regex(pattern(text).map_err(|error| format!("match_string: {error}"))?)
            }
            Some(text) => Text::Contains {
                needle: text.to_lowercase().into(),
            },
        };
        let oid = match draft.trap_oid.as_deref() {
            None => None,
            Some(oid) => Some(
                oid.parse::<Oid>()
                    .map_err(|error| format!("trap_oid: {error}"))?,
            ),
        };
        if oid.is_none() && matches!(text, Text::Any) {
            return Err("it has neither match_string nor trap_oid".into());
        }
        if oid.is_none() && draft.match_type == MatchType::OidPrefix {
            return Err("its match_type is oid_prefix and it has no trap_oid".into());
        }
        let severity = match draft.syslog_severity {
            None => None,
            Some(number) => Some(
                Severity::new(number)
                    .ok_or_else(|| format!("syslog_severity: {number} is not in 0..7"))?,
            ),
        };
        Ok(Self {
            text,
            oid,
            severity,
            observe: draft.mode == Mode::Observe,
        })
    }

    pub(super) fn severity_holds(&self, line: &Line<'_>) -> bool {
        self.severity.is_none() || self.severity == line.severity
    }

    pub(crate) fn oid_holds(&self, line: &Line<'_>) -> bool {
        self.oid
            .as_ref()
            .is_none_or(|oid| line.arcs.is_some_and(|arcs| oid.matches_trap(arcs)))
    }

    /// Whether the rule's regex must run on every message.
    pub(super) fn is_slow(&self) -> bool {
        matches!(&self.text, Text::Regex(pattern) if pattern.literals().is_empty())
    }

    /// A search for the text, or for a literal without which the regex cannot match.
    pub(super) fn finder(&self) -> Option<Finder<'static>> {
        let needle: &[u8] = match &self.text {
            Text::Any => return None,
            Text::Contains { needle } => needle.as_bytes(),
            Text::Regex(pattern) => pattern
                .literals()
                .iter()
                .filter_map(|any_of| {
                    if let [one] = &any_of[..] {
                        Some(one)
                    } else {
                        None
                    }
                })
                .max_by_key(|literal| literal.len())?,
        };
        Some(Finder::new(needle).into_owned())
    }
}
