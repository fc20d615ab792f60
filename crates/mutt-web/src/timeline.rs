//! One event from its door to its sink, as far as it is on record.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use mutt_engine::audit::{DeliveryRow, StoredAuditRow};
use mutt_engine::dead_letters::DlqEntry;
use mutt_engine::{AuditFilter, DeadLetterFilter, Dlq, Engine};
use mutt_event::EventId;
use mutt_rules::{RuleSet, Subject};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::Api;
use crate::audit::{AuditRowView, event_id};
use crate::error::{ApiError, Result};
use crate::request::{InPath, Viewer};
use crate::rules::RuleView;

/// What became of one event.
#[derive(Serialize, ToSchema)]
pub struct Timeline {
    #[schema(value_type = String, format = "uuid")]
    event_id: EventId,
    /// Its audit rows; more than one where it was replayed.
    audit: Vec<AuditRowView>,
    /// The rule that decided last, as it is now.
    rule: Option<RuleView>,
    /// Whether that rule was changed since.
    rule_changed_since: bool,
    /// What today's rules say of the event, one by one.
    #[schema(value_type = Option<Object>)]
    explanation: Option<Value>,
    /// Every delivery attempt, oldest first.
    #[schema(value_type = Vec<Object>)]
    deliveries: Vec<DeliveryRow>,
    /// Where it lies in a dead letter queue.
    #[schema(value_type = Vec<Object>)]
    dead_letters: Vec<DlqEntry>,
    /// Everything in order of time.
    #[serde(rename = "timeline")]
    steps: Vec<Step>,
}

/// One step of an event's road.
#[derive(Debug, Serialize, ToSchema)]
pub struct Step {
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// `received`, `decided`, `delivered`, `delivery_failed` or `dead_letter`.
    what: &'static str,
    /// In words.
    detail: String,
}

/// Show what became of one event
///
/// When it was received, which rule decided and why, every delivery attempt, where it lies dead.
#[utoipa::path(get, path = "/events/{event_id}", tag = "Events",
    params(("event_id" = String, Path, description = "The event's id, a UUID")),
    responses((status = 200, body = Timeline),
        (status = 404, description = "Nothing is on record of it: it is not decided yet, was not matched (AUDIT_SCOPE), or never came")))]
pub async fn timeline(
    State(api): State<Api>,
    _: Viewer,
    InPath(id): InPath<String>,
) -> Result<Json<Timeline>> {
    let id = event_id(&id)?;
    let filter = AuditFilter {
        event_id: Some(id),
        limit: 100,
        ..AuditFilter::default()
    };
    let mut rows = api.engine.audit_rows(filter).await?;
    rows.reverse();
    let deliveries = api.engine.deliveries(id).await?;
    let dead_letters = dead_letters(&*api.engine, id).await?;
    if rows.is_empty() && deliveries.is_empty() && dead_letters.is_empty() {
        return Err(ApiError::not_found(format!(
            "nothing is on record of event {id}"
        )));
    }
    let (rule, changed, explanation) = match rows.last() {
        Some(row) => why(&*api.engine, row).await?,
        None => (None, false, None),
    };
    Ok(Json(Timeline {
        event_id: id,
        steps: steps(&rows, &deliveries, &dead_letters),
        audit: rows
            .into_iter()
            .map(|row| AuditRowView::new(row, false))
            .collect(),
        rule,
        rule_changed_since: changed,
        explanation,
        deliveries,
        dead_letters,
    }))
}

async fn dead_letters(engine: &dyn Engine, id: EventId) -> Result<Vec<DlqEntry>> {
    let filter = DeadLetterFilter {
        text: Some(id.to_string()),
        ..DeadLetterFilter::default()
    };
    let mut all = Vec::new();
    for queue in Dlq::ALL {
        all.extend(engine.dead_letters(queue, &filter, 0, 10).await?);
    }
    Ok(all)
}

async fn why(
    engine: &dyn Engine,
    row: &StoredAuditRow,
) -> Result<(Option<RuleView>, bool, Option<Value>)> {
    let rule = match row.matched_rule_id {
        Some(rule) => engine.rule(rule).await.ok(),
        None => None,
    };
    let changed = rule
        .as_ref()
        .is_some_and(|rule| Some(rule.version) != row.rule_version);
    let rules = engine.rules().await?;
    let raw = row.raw_message.clone();
    let explanation = tokio::task::spawn_blocking(move || {
        let event = mutt_event::json::view(raw.as_bytes()).ok()?;
        let subject = Subject {
            message: &event.message,
            trap_oid: event.trap_oid.as_deref(),
            severity: event.severity,
        };
        serde_json::to_value(RuleSet::compile(rules).explain(&subject)).ok()
    });
    let explanation = explanation.await.ok().flatten();
    Ok((
        rule.map(|rule| RuleView::new(rule, false)),
        changed,
        explanation,
    ))
}

fn steps(rows: &[StoredAuditRow], deliveries: &[DeliveryRow], dead: &[DlqEntry]) -> Vec<Step> {
    let mut steps = Vec::new();
    if let Some(row) = rows.first() {
        let source = row.source.as_deref().unwrap_or("an unknown door");
        steps.push(Step {
            at: row.received_at,
            what: "received",
            detail: format!("from {} through {source}", row.hostname),
        });
    }
    for row in rows {
        let rule = match (row.matched_rule_id, row.rule_version) {
            (Some(rule), Some(version)) => format!("rule {rule} (version {version})"),
            (Some(rule), None) => format!("rule {rule}"),
            (None, _) => "no rule".to_owned(),
        };
        let alert = if row.forwarded_to_moog {
            "an alert was queued"
        } else {
            "no alert"
        };
        steps.push(Step {
            at: row.received_at,
            what: "decided",
            detail: format!(
                "{rule}: {} for {}, {alert}",
                row.handling_decision, row.environment
            ),
        });
    }
    for row in deliveries {
        let status = row
            .status
            .map_or_else(|| "no answer".to_owned(), |status| format!("HTTP {status}"));
        let (what, end) = match &row.error {
            None => ("delivered", String::new()),
            Some(error) => ("delivery_failed", format!(": {error}")),
        };
        steps.push(Step {
            at: row.at,
            what,
            detail: format!(
                "attempt {} to {}: {status} after {:.0} ms{end}",
                row.attempt, row.sink, row.latency_ms
            ),
        });
    }
    for entry in dead {
        steps.push(Step {
            at: entry.last_failed_at,
            what: "dead_letter",
            detail: format!(
                "in {}: {} ({})",
                entry.queue.key(),
                entry.reason.name(),
                entry.detail
            ),
        });
    }
    // Stable: what happened at one moment stays in the order of the road.
    steps.sort_by_key(|step| step.at);
    steps
}
