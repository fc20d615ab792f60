//! The audit trail of events (`event_audit_log`) and of deliveries (`delivery_log`), spec 3.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use mutt_event::EventId;
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// One row of `event_audit_log` to be written. `raw_message` is the event at `index` of the claim,
/// so it is not carried twice.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditRow {
    /// The event's position in its claim ([`crate::EventClaim::iter`]).
    pub index: u32,
    /// The event's id.
    pub event_id: EventId,
    /// The device's time, else the time of receipt.
    pub event_timestamp: Timestamp,
    /// When MUTT received it.
    pub received_at: Timestamp,
    /// The host.
    pub hostname: Box<str>,
    /// The door: `syslog`, `snmp`, `http`, or what the sender wrote.
    pub source: Option<Box<str>>,
    /// Syslog severity 0..7.
    pub syslog_severity: Option<u8>,
    /// A trap's OID.
    pub trap_oid: Option<Box<str>>,
    /// `production` or `development`.
    pub environment: &'static str,
    /// The rule that won; `None` when unhandled.
    pub matched_rule_id: Option<i64>,
    /// That rule's version.
    pub rule_version: Option<i64>,
    /// A handling's name, or `Unhandled`.
    pub handling_decision: &'static str,
    /// The rule's team.
    pub team_assignment: Option<Arc<str>>,
    /// Whether an alert was queued for the sink.
    pub forwarded_to_moog: bool,
    /// The correlation id.
    pub correlation_id: Box<str>,
}

/// One row of `event_audit_log` as it is read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StoredAuditRow {
    /// The row's number.
    pub id: i64,
    /// The event's id.
    pub event_id: EventId,
    /// The device's time, else the time of receipt.
    pub event_timestamp: Timestamp,
    /// When MUTT received it.
    pub received_at: Timestamp,
    /// The host.
    pub hostname: String,
    /// The door.
    pub source: Option<String>,
    /// Syslog severity.
    pub syslog_severity: Option<u8>,
    /// A trap's OID.
    pub trap_oid: Option<String>,
    /// `production` or `development`.
    pub environment: String,
    /// The rule that won.
    pub matched_rule_id: Option<i64>,
    /// That rule's version.
    pub rule_version: Option<i64>,
    /// A handling's name, or `Unhandled`.
    pub handling_decision: String,
    /// The team.
    pub team_assignment: Option<String>,
    /// Whether an alert was queued for the sink.
    pub forwarded_to_moog: bool,
    /// The correlation id.
    pub correlation_id: String,
    /// The event's JSON, as text.
    pub raw_message: String,
}

/// Which audit rows are asked for; unset fields do not restrict.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// This host (any case).
    pub hostname: Option<String>,
    /// This rule.
    pub rule_id: Option<i64>,
    /// This decision.
    pub handling: Option<String>,
    /// This event.
    pub event_id: Option<EventId>,
    /// This correlation id.
    pub correlation_id: Option<String>,
    /// This syslog severity, 0..7.
    pub severity: Option<u8>,
    /// This door.
    pub source: Option<String>,
    /// `production` or `development`.
    pub environment: Option<String>,
    /// This team.
    pub team: Option<String>,
    /// Text that `raw_message` contains (any ASCII case).
    pub text: Option<String>,
    /// Event time at or after.
    pub since: Option<Timestamp>,
    /// Event time before.
    pub until: Option<Timestamp>,
    /// Rows with a smaller number than this (the next page).
    pub before_id: Option<i64>,
    /// At most so many rows; newest first.
    pub limit: usize,
}

/// One row of `delivery_log`: one attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeliveryRow {
    /// The event's id.
    pub event_id: EventId,
    /// The sink's name.
    pub sink: String,
    /// Attempts for this alert, from 1.
    pub attempt: u32,
    /// When it ended.
    pub at: Timestamp,
    /// HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// How long it took, in milliseconds.
    pub latency_ms: f64,
    /// What went wrong, in words; `None` where it was delivered.
    pub error: Option<String>,
}

/// Reading the audit trail.
#[async_trait]
pub trait Audit: Send + Sync {
    /// Audit rows, newest first.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn audit_rows(&self, filter: AuditFilter) -> Result<Vec<StoredAuditRow>>;

    /// How many audit rows a filter chooses, whatever its `before_id` and `limit`. Reads every
    /// one of them: for lists that must show a total, not for the way through them.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn count_audit_rows(&self, filter: AuditFilter) -> Result<u64>;

    /// The number of audit rows.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn audit_count(&self) -> Result<u64>;

    /// Every delivery attempt of one event, oldest first.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn deliveries(&self, event_id: EventId) -> Result<Vec<DeliveryRow>>;

    /// The newest `limit` delivery attempts, newest first, up to the first that ended before `since`.
    /// One that was settled a moment ago may be missing.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn recent_deliveries(&self, since: Timestamp, limit: usize) -> Result<Vec<DeliveryRow>>;
}
