//! The alert: an event whose handling is to be delivered to the sink, as it waits in
//! `mutt:alert_queue`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// One element of the alert queue (spec 2, "Queues"). Unknown fields of older writers are ignored;
/// absent ones have defaults, so that an element which MUTT 2.5 wrote is understood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert<'a> {
    /// The host that the event came from.
    #[serde(borrow)]
    pub hostname: Cow<'a, str>,
    /// The team that is to act.
    #[serde(borrow)]
    pub team_assignment: Cow<'a, str>,
    /// Syslog severity 0..7, where the event had one. (2.5 wrote it as a number or a string.)
    #[serde(
        default,
        deserialize_with = "crate::severity::lenient",
        skip_serializing_if = "Option::is_none"
    )]
    pub severity: Option<crate::Severity>,
    /// The event's message.
    #[serde(borrow)]
    pub message_body: Cow<'a, str>,
    /// The whole event as it was queued: a JSON object in a string, as in 2.5.
    #[serde(borrow, default)]
    pub raw_json: Cow<'a, str>,
    /// Correlation id of the request that brought the event.
    #[serde(borrow, default, rename = "_correlation_id")]
    pub correlation_id: Cow<'a, str>,
    /// The event's id: `external_id` and `Idempotency-Key` of every delivery attempt. Absent in an
    /// element that 2.5 wrote.
    #[serde(default, rename = "_event_id", skip_serializing_if = "Option::is_none")]
    pub event_id: Option<crate::EventId>,
    /// The rule that decided; absent for a meta-alert about unhandled events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule_id: Option<i64>,
    /// The signature hash that an unhandled meta-alert is about, at that scope.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub unhandled_signature: Option<Cow<'a, str>>,
    /// What the rule decided, as in `alert_rules.prod_handling`; `Unhandled` for a meta-alert.
    #[serde(borrow, default)]
    pub handling: Cow<'a, str>,
    /// `production` or `development`.
    #[serde(borrow, default)]
    pub environment: Cow<'a, str>,
    /// W3C trace context, where tracing is on.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<Cow<'a, str>>,
}

impl Alert<'_> {
    /// The queue element.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an alert is always representable as JSON")
    }
}
