//! One event from its door to its sink, as far as it is on record.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use mutt_engine::audit::{DeliveryRow, StoredAuditRow};
use mutt_engine::catalog::ConfigAuditFilter;
use mutt_engine::dead_letters::DlqEntry;
use mutt_engine::redecision::{Redecided, id_of};
use mutt_engine::{AuditFilter, ConfigAuditRow, DeadLetterFilter, Dlq, Engine};
use mutt_event::EventId;
use mutt_rules::{RuleSet, Subject};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::audit::{AuditRowView, event_id};
use crate::error::{ApiError, Result};
use crate::letters::EntryView;
use crate::request::{InPath, Viewer};
use crate::rules::RuleView;
use crate::{Api, dlq};

/// The most decisions of one event that are shown.
const DECISIONS_MAX: u32 = 50;

/// The most orders about one decision's dead letters that are shown, the newest.
const MOVES_MAX: usize = 50;

/// What became of one event.
#[derive(Serialize, ToSchema)]
pub struct Timeline {
    /// The id that was asked for.
    #[schema(value_type = String, format = "uuid")]
    event_id: EventId,
    /// The id of its first decision: the event's own.
    #[schema(value_type = String, format = "uuid")]
    first_event_id: EventId,
    /// Its audit rows, one per decision; more than one where a person had it decided anew.
    audit: Vec<AuditRowView>,
    /// The rule that decided last, as it is now.
    rule: Option<RuleView>,
    /// Whether that rule was changed since.
    rule_changed_since: bool,
    /// What today's rules say of the event, one by one.
    #[schema(value_type = Option<Object>)]
    explanation: Option<Value>,
    /// Every delivery attempt of every decision, oldest first.
    deliveries: Vec<DeliveryView>,
    /// Where it lies in a dead letter queue.
    dead_letters: Vec<EntryView>,
    /// Everything in order of time.
    #[serde(rename = "timeline")]
    steps: Vec<Step>,
}

/// One attempt of delivery.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryView {
    /// The id it was delivered under: `external_id` and `Idempotency-Key`.
    #[schema(value_type = String, format = "uuid")]
    event_id: EventId,
    /// The sink's name.
    sink: String,
    /// The number of the attempt for this alert, from 1.
    attempt: u32,
    /// When it ended.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// The HTTP status, where there was an answer.
    status: Option<u16>,
    /// How long it took, in milliseconds.
    latency_ms: f64,
    /// What went wrong; null where it was delivered.
    error: Option<String>,
}

impl From<&DeliveryRow> for DeliveryView {
    fn from(row: &DeliveryRow) -> Self {
        Self {
            event_id: row.event_id,
            sink: row.sink.clone(),
            attempt: row.attempt,
            at: row.at,
            status: row.status,
            latency_ms: row.latency_ms,
            error: row.error.clone(),
        }
    }
}

/// One step of an event's road.
#[derive(Debug, Serialize, ToSchema)]
pub struct Step {
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// `received`, `decided`, `redecided` (it is decided anew), `delivered`, `delivery_failed`,
    /// `dead_letter`, or what a person ordered: `replay` or `discard`.
    what: &'static str,
    /// In words.
    detail: String,
}

/// Show what became of one event
///
/// When it was received, which rule decided and why, every delivery attempt, where it lies dead. An
/// event that was decided anew is shown whole under each of its ids.
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
    let engine = &*api.engine;
    let first = first_id(engine, id).await?;
    let (mut rows, mut deliveries, mut orders) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..DECISIONS_MAX {
        let decided = id_of(first, number);
        let found = audit_rows(engine, decided).await?;
        let sent = engine.deliveries(decided).await?;
        let moved = moves(engine, decided).await?;
        // Every decision but the first comes from a dead letter of the one before.
        if number > 0 && found.is_empty() && sent.is_empty() && moved.is_empty() {
            break;
        }
        orders.extend(moved);
        rows.extend(found);
        deliveries.extend(sent);
    }
    let dead_letters = dead_letters(engine, first).await?;
    if rows.is_empty() && deliveries.is_empty() && dead_letters.is_empty() && orders.is_empty() {
        return Err(ApiError::not_found(format!(
            "nothing is on record of event {id}"
        )));
    }
    let (rule, changed, explanation) = match rows.last() {
        Some(row) => why(engine, row).await?,
        None => (None, false, None),
    };
    let policy = dlq::policy(&api).await?;
    Ok(Json(Timeline {
        event_id: id,
        first_event_id: first,
        steps: steps(&rows, &deliveries, &orders, &dead_letters),
        audit: rows
            .into_iter()
            .map(|row| AuditRowView::new(row, false))
            .collect(),
        rule,
        rule_changed_since: changed,
        explanation,
        deliveries: deliveries.iter().map(DeliveryView::from).collect(),
        dead_letters: dead_letters
            .into_iter()
            .map(|entry| EntryView::new(entry, &policy))
            .collect(),
    }))
}

/// The audit rows of one id, oldest first.
async fn audit_rows(engine: &dyn Engine, id: EventId) -> Result<Vec<StoredAuditRow>> {
    let filter = AuditFilter {
        event_id: Some(id),
        limit: 100,
        ..AuditFilter::default()
    };
    let mut rows = engine.audit_rows(filter).await?;
    rows.reverse();
    Ok(rows)
}

/// What people did with dead letters that name this id, oldest first.
async fn moves(engine: &dyn Engine, id: EventId) -> Result<Vec<ConfigAuditRow>> {
    let filter = ConfigAuditFilter {
        table_name: Some("dlq".to_owned()),
        event_id: Some(id),
        limit: MOVES_MAX,
        ..ConfigAuditFilter::default()
    };
    let mut rows = engine.config_audit(&filter).await?;
    rows.reverse();
    Ok(rows)
}

/// The id of the first decision of the event that was decided under this id.
async fn first_id(engine: &dyn Engine, id: EventId) -> Result<EventId> {
    let rows = audit_rows(engine, id).await?;
    let note = rows
        .first()
        .and_then(|row| Redecided::read(row.raw_message.as_bytes()));
    Ok(note.map_or(id, |note| note.of))
}

/// Dead letters that speak of the event: one that was decided anew names its first id too.
async fn dead_letters(engine: &dyn Engine, first: EventId) -> Result<Vec<DlqEntry>> {
    let mut all = Vec::new();
    for queue in Dlq::ALL {
        let filter = DeadLetterFilter {
            text: Some(first.to_string()),
            ..DeadLetterFilter::default()
        };
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

fn steps(
    rows: &[StoredAuditRow],
    deliveries: &[DeliveryRow],
    orders: &[ConfigAuditRow],
    dead: &[DlqEntry],
) -> Vec<Step> {
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
        // The second decision stands where it was asked for; when the first was made is not on record.
        let note = Redecided::read(row.raw_message.as_bytes());
        if let Some(note) = note {
            steps.push(Step {
                at: note.at,
                what: "redecided",
                detail: format!(
                    "it went back to the ingest queue, to be decided anew as event {}",
                    row.event_id
                ),
            });
        }
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
            at: note.map_or(row.received_at, |note| note.at),
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
    steps.extend(orders.iter().map(ordered));
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

/// A row of `config_audit_log` about dead letters.
fn ordered(row: &ConfigAuditRow) -> Step {
    let says = |name: &str| {
        let new = row.new_values.as_ref();
        new.is_some_and(|new| new[name].is_u64())
    };
    let (what, done) = if says("redecided") {
        ("replay", "sent it to be decided anew")
    } else if says("replayed") {
        ("replay", "sent it back")
    } else {
        ("discard", "discarded it")
    };
    let queue = row
        .old_values
        .as_ref()
        .and_then(|old| old["queue"].as_str());
    let why = row.reason.as_ref().map(|why| format!(": {why}"));
    Step {
        at: row.changed_at,
        what,
        detail: format!(
            "{} {done} from {}{}",
            row.changed_by,
            queue.unwrap_or("a dead letter queue"),
            why.unwrap_or_default()
        ),
    }
}
