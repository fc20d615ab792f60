//! The audit trail of events: search and export.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;
use mutt_engine::AuditFilter;
use mutt_engine::audit::StoredAuditRow;
use mutt_event::EventId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::Api;
use crate::error::{ApiError, Result};
use crate::export::{CHUNK, Export, ExportQuery, Format, cell};
use crate::request::{Page, Params, Viewer, checked_reason, since, until};

/// The most rows of one page under v2.
const PAGE_MAX: usize = 1_000;
/// The most rows of one page under v1.
const PAGE_MAX_V1: u64 = 200;
/// Numbered pages end here: a later one would read all rows before it.
const DEPTH_MAX: u64 = 10_000;

/// Which rows; unset filters do not restrict.
#[derive(Clone, Debug, Default, Deserialize, Serialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// This host (any case).
    hostname: Option<String>,
    /// This rule.
    rule_id: Option<i64>,
    /// Event time at or after: RFC 3339, or a date.
    start_date: Option<String>,
    /// Event time at or before: RFC 3339, or a date, whose whole day counts.
    end_date: Option<String>,
    /// Text that the event contains (any case).
    text: Option<String>,
    /// This syslog severity, 0 to 7.
    severity: Option<u8>,
    /// This door: `syslog`, `snmp`, `http`.
    source: Option<String>,
    /// This decision, such as `Page_only` or `Unhandled`.
    handling: Option<String>,
    /// `production` or `development`.
    environment: Option<String>,
    /// This team.
    team: Option<String>,
    /// This correlation id.
    correlation_id: Option<String>,
    /// This event.
    event_id: Option<String>,
    /// v2: where the next page begins, from the last one's `next`.
    cursor: Option<String>,
    /// v1: the page, from 1.
    page: Option<u64>,
    /// Rows on a page: v2 up to 1,000 (100), v1 up to 200 (50).
    limit: Option<u64>,
}

impl AuditQuery {
    /// The filters that are set, by name.
    fn named(&self) -> Value {
        let mut set = serde_json::to_value(self).unwrap_or_default();
        if let Some(set) = set.as_object_mut() {
            set.retain(|_, value| !value.is_null());
        }
        set
    }

    fn filter(&self) -> Result<AuditFilter> {
        if let Some(severity) = self.severity.filter(|severity| *severity > 7) {
            return Err(ApiError::field(
                "severity",
                format!("'{severity}' is not allowed; 0 to 7 is"),
            ));
        }
        let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let cursor = self.cursor.as_deref().filter(|cursor| !cursor.is_empty());
        Ok(AuditFilter {
            hostname: some(&self.hostname),
            rule_id: self.rule_id,
            handling: some(&self.handling),
            event_id: some(&self.event_id).map(|id| event_id(&id)).transpose()?,
            correlation_id: some(&self.correlation_id),
            severity: self.severity,
            source: some(&self.source),
            environment: some(&self.environment),
            team: some(&self.team),
            text: some(&self.text),
            since: since("start_date", self.start_date.as_deref())?,
            until: until("end_date", self.end_date.as_deref())?,
            before_id: cursor
                .map(|cursor| {
                    cursor
                        .parse()
                        .map_err(|_| ApiError::field("cursor", "is none that an earlier page gave"))
                })
                .transpose()?,
            limit: 0,
        })
    }
}

pub fn event_id(text: &str) -> Result<EventId> {
    text.parse()
        .map_err(|_| ApiError::field("event_id", format!("'{text}' is no UUID")))
}

/// A row of the audit trail.
#[derive(Serialize, ToSchema)]
pub struct AuditRowView {
    id: i64,
    /// The device's time, else the time of receipt.
    #[schema(value_type = String, format = DateTime)]
    event_timestamp: Timestamp,
    hostname: String,
    /// The rule that decided.
    matched_rule_id: Option<i64>,
    /// A handling, or `Unhandled`.
    handling_decision: String,
    /// Whether an alert was queued for the sink.
    forwarded_to_moog: bool,
    /// The event as JSON.
    raw_message: String,
    /// What v1 does not have.
    #[serde(flatten)]
    more: Option<AuditRowMore>,
}

/// What v2 says of a row beyond the columns of v1.
#[derive(Serialize, ToSchema)]
pub struct AuditRowMore {
    #[schema(value_type = String, format = "uuid")]
    event_id: EventId,
    #[schema(value_type = String, format = DateTime)]
    received_at: Timestamp,
    source: Option<String>,
    syslog_severity: Option<u8>,
    trap_oid: Option<String>,
    environment: String,
    /// The version of the rule that decided.
    rule_version: Option<i64>,
    team_assignment: Option<String>,
    correlation_id: String,
}

impl AuditRowView {
    pub fn new(row: StoredAuditRow, v1: bool) -> Self {
        Self {
            id: row.id,
            event_timestamp: row.event_timestamp,
            hostname: row.hostname,
            matched_rule_id: row.matched_rule_id,
            handling_decision: row.handling_decision,
            forwarded_to_moog: row.forwarded_to_moog,
            raw_message: row.raw_message,
            more: (!v1).then_some(AuditRowMore {
                event_id: row.event_id,
                received_at: row.received_at,
                source: row.source,
                syslog_severity: row.syslog_severity,
                trap_oid: row.trap_oid,
                environment: row.environment,
                rule_version: row.rule_version,
                team_assignment: row.team_assignment,
                correlation_id: row.correlation_id,
            }),
        }
    }
}

/// Rows, newest first.
#[derive(Serialize, ToSchema)]
pub struct AuditPage {
    logs: Vec<AuditRowView>,
    /// v2: hand it in as `cursor` for the next page; null on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    next: Option<Value>,
    /// v1 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pagination: Option<crate::request::Pagination>,
}

/// Search the audit trail of events
///
/// Newest first. v2 pages by cursor and counts nothing; v1 pages by number and says the total.
#[utoipa::path(get, path = "/audit-logs", tag = "Events", params(AuditQuery),
    responses((status = 200, body = AuditPage), (status = 400, description = "A filter is wrong")))]
pub async fn search(
    State(api): State<Api>,
    Viewer(caller): Viewer,
    Params(query): Params<AuditQuery>,
) -> Result<Json<AuditPage>> {
    let mut filter = query.filter()?;
    if caller.v1 {
        return numbered(&api, &query, filter).await.map(Json);
    }
    let limit = query.limit.unwrap_or(100);
    let most = PAGE_MAX as u64;
    if limit == 0 || limit > most {
        return Err(ApiError::field(
            "limit",
            format!("'{limit}' is not allowed; 1 to {most} is"),
        ));
    }
    let limit = usize::try_from(limit).unwrap_or(PAGE_MAX);
    // One more says whether there is a next page.
    filter.limit = limit + 1;
    let mut rows = api.engine.audit_rows(filter).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows
        .last()
        .filter(|_| more)
        .map_or(Value::Null, |row| row.id.to_string().into());
    Ok(Json(AuditPage {
        logs: rows
            .into_iter()
            .map(|row| AuditRowView::new(row, false))
            .collect(),
        next: Some(next),
        pagination: None,
    }))
}

async fn numbered(api: &Api, query: &AuditQuery, mut filter: AuditFilter) -> Result<AuditPage> {
    let page = Page::of(query.page, query.limit, PAGE_MAX_V1)?;
    let end = page.page.saturating_mul(page.limit);
    if end > DEPTH_MAX {
        return Err(ApiError::field(
            "page",
            format!(
                "only the newest {DEPTH_MAX} rows are paged by number; narrow the time, or use \
                     the cursor of /api/v2/audit-logs"
            ),
        ));
    }
    filter.before_id = None;
    filter.limit = page.offset() + page.limit();
    let total = api.engine.count_audit_rows(filter.clone()).await?;
    let rows = api.engine.audit_rows(filter).await?;
    let logs = rows
        .into_iter()
        .skip(page.offset())
        .map(|row| AuditRowView::new(row, true))
        .collect();
    Ok(AuditPage {
        logs,
        next: None,
        pagination: Some(page.pagination(total)),
    })
}

/// Export the audit trail of events
///
/// Everything that the filters choose, newest first, at most 1,000,000 rows. In CSV a cell that a
/// spreadsheet would take for a formula begins with an apostrophe.
#[utoipa::path(get, path = "/audit-logs/export", tag = "Events", params(AuditQuery, ExportQuery),
    responses((status = 200, content((String = "application/x-ndjson"), (String = "text/csv"))),
        (status = 400, description = "A filter is wrong")))]
pub async fn export(
    State(api): State<Api>,
    Viewer(caller): Viewer,
    Params(query): Params<AuditQuery>,
    Params(how): Params<ExportQuery>,
) -> Result<Response> {
    let format = how.format()?;
    let mut filter = query.filter()?;
    filter.limit = CHUNK;
    // The first rows are read before the head is sent, so that an engine that is away is an error.
    let first = api.engine.audit_rows(filter.clone()).await?;
    let engine = api.engine.clone();
    let by = caller.change(checked_reason(how.reason)?);
    let (export, answer) =
        Export::begin(engine.clone(), by, "audit", format, query.named()).await?;
    export.run(
        format,
        first,
        |row| row.id,
        written,
        move |before_id| {
            let engine = engine.clone();
            let mut filter = filter.clone();
            filter.before_id = before_id;
            async move { engine.audit_rows(filter).await }
        },
    );
    Ok(answer)
}

fn written(rows: Vec<StoredAuditRow>, format: Format, header: bool) -> Bytes {
    if format == Format::Ndjson {
        let mut text = Vec::new();
        for row in rows {
            // Writing to memory never fails.
            let _ = serde_json::to_writer(&mut text, &AuditRowView::new(row, false));
            text.push(b'\n');
        }
        return text.into();
    }
    let mut csv = csv::Writer::from_writer(Vec::new());
    if header {
        let _ = csv.write_record([
            "id",
            "event_id",
            "event_timestamp",
            "received_at",
            "hostname",
            "source",
            "syslog_severity",
            "trap_oid",
            "environment",
            "matched_rule_id",
            "rule_version",
            "handling_decision",
            "team_assignment",
            "forwarded_to_moog",
            "correlation_id",
            "raw_message",
        ]);
    }
    for row in rows {
        let number =
            |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
        let text = |text: Option<String>| cell(text.unwrap_or_default());
        let _ = csv.write_record([
            row.id.to_string(),
            row.event_id.to_string(),
            row.event_timestamp.to_string(),
            row.received_at.to_string(),
            cell(row.hostname),
            text(row.source),
            number(row.syslog_severity.map(i64::from)),
            text(row.trap_oid),
            cell(row.environment),
            number(row.matched_rule_id),
            number(row.rule_version),
            cell(row.handling_decision),
            text(row.team_assignment),
            row.forwarded_to_moog.to_string(),
            cell(row.correlation_id),
            cell(row.raw_message),
        ]);
    }
    csv.into_inner().unwrap_or_default().into()
}
