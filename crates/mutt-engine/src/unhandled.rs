//! Events that no rule knows: how they are counted and when they become an alert of their own.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use mutt_event::{Alert, EventId};
use serde::{Deserialize, Serialize};

use crate::events::NewAlert;

/// What is counted against the threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnhandledScope {
    /// All unmatched events of a host together.
    #[default]
    Host,
    /// Each signature of a host by itself.
    Signature,
}

/// When unhandled events make a meta-alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnhandledPolicy {
    /// What is counted.
    pub scope: UnhandledScope,
    /// The count that triggers.
    pub threshold: u64,
    /// Counters and markers live this long after they were first set.
    pub window: Duration,
}

impl Default for UnhandledPolicy {
    fn default() -> Self {
        Self {
            scope: UnhandledScope::Host,
            threshold: 100,
            window: Duration::from_hours(1),
        }
    }
}

/// Unmatched events of one host and signature within one claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unhandled {
    /// The host.
    pub hostname: Box<str>,
    /// The signature's hash, 16 hex digits.
    pub signature: Box<str>,
    /// The masked text.
    pub masked: Box<str>,
    /// One message as it came, shortened to 1,000 characters.
    pub sample: Box<str>,
    /// How many.
    pub count: u64,
    /// The team a meta-alert goes to: from `device_teams`, else the default team.
    pub team: Arc<str>,
    /// `production` or `development`.
    pub environment: &'static str,
}

/// One of the most frequent unhandled signatures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnhandledSignature {
    /// The signature's hash.
    pub signature: String,
    /// The masked text.
    pub masked: String,
    /// One message as it came.
    pub sample: String,
    /// Events within the window.
    pub count: u64,
    /// Hosts it came from, the busiest first, at most ten.
    pub hosts: Vec<String>,
}

/// The meta-alert: what goes out when a host (or a signature of it) passes the threshold.
///
/// `top` are the most frequent signatures as (count, sample), most frequent first.
pub fn meta_alert(
    subject: &Unhandled,
    scope: UnhandledScope,
    count: u64,
    window: Duration,
    top: &[(u64, String)],
) -> NewAlert {
    let text = meta_alert_text(&subject.hostname, count, window, top);
    meta_alert_saying(subject, scope, EventId::new(), &text)
}

/// What a meta-alert says. An engine that renders it elsewhere hands in placeholders.
pub fn meta_alert_text<N: Display, S: Display>(
    hostname: &str,
    count: impl Display,
    window: Duration,
    top: &[(N, S)],
) -> String {
    use std::fmt::Write as _;

    let mut text = format!(
        "[MUTT] Detected {count} unhandled messages in {} s from '{hostname}'.",
        window.as_secs(),
    );
    for (index, (times, sample)) in top.iter().take(3).enumerate() {
        let lead = if index == 0 { " Most frequent:" } else { ";" };
        let _ = write!(text, "{lead} {times}x \"{sample}\"");
    }
    text
}

/// The meta-alert with this identity and text.
pub fn meta_alert_saying(
    subject: &Unhandled,
    scope: UnhandledScope,
    event_id: EventId,
    text: &str,
) -> NewAlert {
    let alert = Alert {
        hostname: (&*subject.hostname).into(),
        team_assignment: (&*subject.team).into(),
        severity: mutt_event::Severity::new(4),
        message_body: text.into(),
        raw_json: "{}".into(),
        correlation_id: "".into(),
        event_id: Some(event_id),
        rule_id: None,
        unhandled_signature: match scope {
            UnhandledScope::Host => None,
            UnhandledScope::Signature => Some((&*subject.signature).into()),
        },
        handling: "Unhandled".into(),
        environment: subject.environment.into(),
        traceparent: None,
    };
    NewAlert {
        event_id,
        element: alert.to_json(),
    }
}
