//! The rule: a row of `alert_rules` (spec 3).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Environment, Handling};

/// How a rule looks at an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchType {
    /// `match_string` is a case-insensitive substring of the message.
    #[default]
    Contains,
    /// `match_string` is a case-insensitive regular expression searched in the message.
    Regex,
    /// The event's trap OID equals `trap_oid` or lies below it.
    OidPrefix,
}

impl MatchType {
    /// The name in tables and the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Contains => "contains",
            Self::Regex => "regex",
            Self::OidPrefix => "oid_prefix",
        }
    }
}

/// Whether a rule decides or only watches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The rule can win and decide.
    #[default]
    Enforce,
    /// The rule is evaluated and counted on all traffic, and never wins.
    Observe,
}

impl Mode {
    /// The name in tables and the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Observe => "observe",
        }
    }
}

fn default_priority() -> i32 {
    100
}

fn default_active() -> bool {
    true
}

/// What a person writes: a rule before it is stored. The columns of `alert_rules`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleDraft {
    /// What to look for in the message; at most 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub match_string: Option<String>,
    /// The trap OID that must be equal or an ancestor; at most 255 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trap_oid: Option<String>,
    /// The exact syslog severity the event must have, 0..7.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syslog_severity: Option<u8>,
    /// How `match_string` is read.
    #[serde(default)]
    pub match_type: MatchType,
    /// Lower wins; equal priorities are decided by id.
    #[serde(default = "default_priority")]
    pub priority: i32,
    /// What is decided for production hosts.
    pub prod_handling: Handling,
    /// What is decided for development hosts.
    pub dev_handling: Handling,
    /// Who gets the alert; 1 to 100 characters.
    pub team_assignment: String,
    /// Whether the rule takes part at all.
    #[serde(default = "default_active")]
    pub is_active: bool,
    /// Whether the rule decides or only watches.
    #[serde(default)]
    pub mode: Mode,
    /// What the rule is for, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A stored rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its number; never given twice.
    pub id: i64,
    /// What it says.
    #[serde(flatten)]
    pub draft: RuleDraft,
    /// Counts its changes, from 1.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When it was deleted. A deleted rule stays, so that an audit row can name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
}

impl Rule {
    /// What this rule decides for a host of this kind.
    pub fn handling(&self, environment: Environment) -> Handling {
        match environment {
            Environment::Production => self.draft.prod_handling,
            Environment::Development => self.draft.dev_handling,
        }
    }
}

/// The fields that a change gives; the others stay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleChange {
    /// See [`RuleDraft`]; an explicit null clears it.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub match_string: Option<Option<String>>,
    /// See [`RuleDraft`]; an explicit null clears it.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub trap_oid: Option<Option<String>>,
    /// See [`RuleDraft`]; an explicit null clears it.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub syslog_severity: Option<Option<u8>>,
    /// See [`RuleDraft`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub match_type: Option<MatchType>,
    /// See [`RuleDraft`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// See [`RuleDraft`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prod_handling: Option<Handling>,
    /// See [`RuleDraft`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev_handling: Option<Handling>,
    /// See [`RuleDraft`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team_assignment: Option<String>,
    /// See [`RuleDraft`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_active: Option<bool>,
    /// See [`RuleDraft`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// See [`RuleDraft`]; an explicit null clears it.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub description: Option<Option<String>>,
}

/// Tells "null was given" from "nothing was given".
#[expect(
    clippy::option_option,
    reason = "absent, null and a value are three things"
)]
fn given<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

impl RuleChange {
    /// `draft` with this change made.
    pub fn apply(self, draft: &RuleDraft) -> RuleDraft {
        let old = draft.clone();
        RuleDraft {
            match_string: self.match_string.unwrap_or(old.match_string),
            trap_oid: self.trap_oid.unwrap_or(old.trap_oid),
            syslog_severity: self.syslog_severity.unwrap_or(old.syslog_severity),
            match_type: self.match_type.unwrap_or(old.match_type),
            priority: self.priority.unwrap_or(old.priority),
            prod_handling: self.prod_handling.unwrap_or(old.prod_handling),
            dev_handling: self.dev_handling.unwrap_or(old.dev_handling),
            team_assignment: self.team_assignment.unwrap_or(old.team_assignment),
            is_active: self.is_active.unwrap_or(old.is_active),
            mode: self.mode.unwrap_or(old.mode),
            description: self.description.unwrap_or(old.description),
        }
    }
}
