//! The audit of changes: who changed what, when and why.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;
use mutt_engine::ConfigAuditRow;
use mutt_engine::catalog::ConfigAuditFilter;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::Api;
use crate::error::{ApiError, Result};
use crate::export::{CHUNK, Export, ExportQuery, Format, cell};
use crate::request::{Page, Pagination, Params, Viewer, checked_reason, since, until};

/// How long what a check found is shown again.
const VERIFIED_AGE: Duration = Duration::from_mins(1);

/// Which changes; unset filters do not restrict.
#[derive(Debug, Default, Deserialize, Serialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct ChangesQuery {
    /// Text that the name of who changed it contains (any case).
    changed_by: Option<String>,
    /// `CREATE`, `UPDATE` or `DELETE`, in any case.
    operation: Option<String>,
    /// The table, such as `alert_rules` or `dynamic_config`.
    table_name: Option<String>,
    /// The changed record: its number, else its key.
    record_id: Option<String>,
    /// Changed at or after: RFC 3339, or a date.
    start_date: Option<String>,
    /// Changed at or before: RFC 3339, or a date, whose whole day counts.
    end_date: Option<String>,
    /// This correlation id.
    correlation_id: Option<String>,
    /// The page, from 1.
    page: Option<u64>,
    /// Rows on a page, up to 200 (50).
    page_size: Option<u64>,
    /// The same.
    limit: Option<u64>,
}

impl ChangesQuery {
    /// The filters that are set, by name.
    fn named(&self) -> serde_json::Value {
        let mut set = serde_json::to_value(self).unwrap_or_default();
        if let Some(set) = set.as_object_mut() {
            set.retain(|_, value| !value.is_null());
        }
        set
    }

    fn filter(&self) -> Result<ConfigAuditFilter> {
        let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let operation = some(&self.operation).map(|text| text.to_ascii_uppercase());
        if let Some(text) = &operation
            && !["CREATE", "UPDATE", "DELETE"].contains(&text.as_str())
        {
            let text = format!("'{text}' is not allowed; CREATE, UPDATE or DELETE is");
            return Err(ApiError::field("operation", text));
        }
        let record = some(&self.record_id);
        let number = record.as_deref().and_then(|record| record.parse().ok());
        Ok(ConfigAuditFilter {
            table_name: some(&self.table_name),
            record_id: number,
            record_key: record.filter(|_| number.is_none()),
            changed_by: some(&self.changed_by),
            operation,
            correlation_id: some(&self.correlation_id),
            since: since("start_date", self.start_date.as_deref())?,
            until: until("end_date", self.end_date.as_deref())?,
            ..ConfigAuditFilter::default()
        })
    }
}

/// One change.
#[derive(Serialize, ToSchema)]
pub struct ChangeRow {
    id: i64,
    #[schema(value_type = String, format = DateTime)]
    changed_at: Timestamp,
    /// The name of the key, or `cli:<user>`.
    changed_by: String,
    /// `CREATE`, `UPDATE` or `DELETE`.
    operation: String,
    table_name: String,
    /// The changed row's number, where it has one.
    record_id: Option<i64>,
    /// The changed row's key, where it has one.
    record_key: Option<String>,
    /// What it said before.
    #[schema(value_type = Option<Object>)]
    old_values: Option<serde_json::Value>,
    /// What it says since.
    #[schema(value_type = Option<Object>)]
    new_values: Option<serde_json::Value>,
    reason: Option<String>,
    correlation_id: Option<String>,
    /// SHA-256 over this row and the hash of the row before.
    row_hash: String,
}

impl From<ConfigAuditRow> for ChangeRow {
    fn from(row: ConfigAuditRow) -> Self {
        Self {
            id: row.id,
            changed_at: row.changed_at,
            changed_by: row.changed_by,
            operation: row.operation,
            table_name: row.table_name,
            record_id: row.record_id,
            record_key: row.record_key,
            old_values: row.old_values,
            new_values: row.new_values,
            reason: row.reason,
            correlation_id: row.correlation_id,
            row_hash: row.row_hash,
        }
    }
}

/// Changes, newest first.
#[derive(Serialize, ToSchema)]
pub struct ChangePage {
    changes: Vec<ChangeRow>,
    total: u64,
    /// From 1.
    page: u64,
    page_size: u64,
    total_pages: u64,
    /// The same, for older clients.
    pagination: Pagination,
}

async fn page(api: &Api, query: &ChangesQuery) -> Result<(Vec<ChangeRow>, Pagination)> {
    let page = Page::of(query.page, query.page_size.or(query.limit), 200)?;
    let mut filter = query.filter()?;
    filter.offset = page.offset();
    filter.limit = page.limit();
    let total = api.engine.count_config_audit(&filter).await?;
    let rows = api.engine.config_audit(&filter).await?;
    let rows = rows.into_iter().map(ChangeRow::from).collect();
    Ok((rows, page.pagination(total)))
}

/// Search the audit of changes
///
/// Rules, hosts, teams, dynamic configuration, keys, replays and discards (`dlq`), exports
/// (`exports`), tests of the delivery (`delivery_tests`); newest first.
#[utoipa::path(get, path = "/config-audit", tag = "Configuration", params(ChangesQuery),
    responses((status = 200, body = ChangePage), (status = 400, description = "A filter is wrong")))]
pub async fn search(
    State(api): State<Api>,
    _: Viewer,
    Params(query): Params<ChangesQuery>,
) -> Result<Json<ChangePage>> {
    let (changes, pagination) = page(&api, &query).await?;
    Ok(Json(ChangePage {
        changes,
        total: pagination.total,
        page: pagination.page,
        page_size: pagination.limit,
        total_pages: pagination.pages,
        pagination,
    }))
}

/// The audit of changes as 2.5 gave it.
#[derive(Serialize, ToSchema)]
pub struct ChangeLogs {
    logs: Vec<ChangeRow>,
    pagination: Pagination,
}

/// Search the audit of changes, in the shape of 2.5
#[utoipa::path(get, path = "/audit", tag = "Configuration", params(ChangesQuery),
    responses((status = 200, body = ChangeLogs), (status = 400, description = "A filter is wrong")))]
pub async fn search_v1(
    State(api): State<Api>,
    _: Viewer,
    Params(query): Params<ChangesQuery>,
) -> Result<Json<ChangeLogs>> {
    let (logs, pagination) = page(&api, &query).await?;
    Ok(Json(ChangeLogs { logs, pagination }))
}

/// Export the audit of changes
///
/// Everything that the filters choose, newest first, at most 1,000,000 rows, with the hash of each. In
/// CSV a cell that a spreadsheet would take for a formula begins with an apostrophe.
#[utoipa::path(get, path = "/config-audit/export", tag = "Configuration", params(ChangesQuery, ExportQuery),
    responses((status = 200, content((String = "application/x-ndjson"), (String = "text/csv"))),
        (status = 400, description = "A filter is wrong")))]
pub async fn export(
    State(api): State<Api>,
    Viewer(caller): Viewer,
    Params(query): Params<ChangesQuery>,
    Params(how): Params<ExportQuery>,
) -> Result<Response> {
    let format = how.format()?;
    let mut filter = query.filter()?;
    filter.limit = CHUNK;
    let first = api.engine.config_audit(&filter).await?;
    let engine = api.engine.clone();
    let by = caller.change(checked_reason(how.reason)?);
    let (export, answer) =
        Export::begin(engine.clone(), by, "config-audit", format, query.named()).await?;
    export.run(
        format,
        first,
        |row| row.id,
        written,
        move |before_id| {
            let engine = engine.clone();
            let mut filter = filter.clone();
            filter.before_id = before_id;
            async move { engine.config_audit(&filter).await }
        },
    );
    Ok(answer)
}

fn written(rows: Vec<ConfigAuditRow>, format: Format, header: bool) -> Bytes {
    if format == Format::Ndjson {
        let mut text = Vec::new();
        for row in rows {
            // Writing to memory never fails.
            let _ = serde_json::to_writer(&mut text, &ChangeRow::from(row));
            text.push(b'\n');
        }
        return text.into();
    }
    let mut csv = csv::Writer::from_writer(Vec::new());
    if header {
        let _ = csv.write_record([
            "id",
            "changed_at",
            "changed_by",
            "operation",
            "table_name",
            "record_id",
            "record_key",
            "old_values",
            "new_values",
            "reason",
            "correlation_id",
            "row_hash",
        ]);
    }
    for row in rows {
        let text = |text: Option<String>| cell(text.unwrap_or_default());
        let json = |value: Option<serde_json::Value>| {
            cell(value.map(|value| value.to_string()).unwrap_or_default())
        };
        let number = row.record_id.map(|id| id.to_string());
        let _ = csv.write_record([
            row.id.to_string(),
            row.changed_at.to_string(),
            cell(row.changed_by),
            row.operation,
            cell(row.table_name),
            number.unwrap_or_default(),
            text(row.record_key),
            json(row.old_values),
            json(row.new_values),
            text(row.reason),
            text(row.correlation_id),
            row.row_hash,
        ]);
    }
    csv.into_inner().unwrap_or_default().into()
}

/// What the check of the chain found.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Verified {
    /// Whether every row is as it was written, and none is missing.
    intact: bool,
    /// Rows that were checked, where it is intact.
    rows: Option<u64>,
    /// The first row that does not fit: it was changed, or is missing.
    first_bad: Option<i64>,
    /// When it was checked.
    #[schema(value_type = String, format = DateTime)]
    checked_at: Timestamp,
}

/// The last check.
#[derive(Default)]
pub struct VerifiedCache {
    last: parking_lot::Mutex<Option<(std::time::Instant, Verified)>>,
    /// One check at a time: it reads everything.
    checking: tokio::sync::Mutex<()>,
}

impl VerifiedCache {
    fn recent(&self) -> Option<Verified> {
        let last = self.last.lock();
        last.as_ref()
            .filter(|(at, _)| at.elapsed() < VERIFIED_AGE)
            .map(|(_, verified)| *verified)
    }
}

/// How to check.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct VerifyQuery {
    /// Check now, whenever the last check was.
    fresh: bool,
}

/// Check the hash chain of the audit of changes
///
/// A check reads all of it; what one within the last minute found is shown again, unless `fresh=true`.
#[utoipa::path(get, path = "/config-audit/verify", tag = "Configuration", params(VerifyQuery),
    responses((status = 200, body = Verified)))]
pub async fn verify(
    State(api): State<Api>,
    _: Viewer,
    Params(query): Params<VerifyQuery>,
) -> Result<Json<Verified>> {
    let asked = std::time::Instant::now();
    if !query.fresh
        && let Some(verified) = api.verified.recent()
    {
        return Ok(Json(verified));
    }
    let _turn = api.verified.checking.lock().await;
    // Somebody else may have checked meanwhile.
    if let Some((at, verified)) = *api.verified.last.lock()
        && at >= asked
    {
        return Ok(Json(verified));
    }
    let begun = std::time::Instant::now();
    let found = api.engine.verify_config_audit().await?;
    let verified = Verified {
        intact: found.is_ok(),
        rows: found.ok(),
        first_bad: found.err(),
        checked_at: Timestamp::now(),
    };
    *api.verified.last.lock() = Some((begun, verified));
    Ok(Json(verified))
}
