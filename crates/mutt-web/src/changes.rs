//! The audit of changes: who changed what, when and why.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use mutt_engine::ConfigAuditRow;
use mutt_engine::catalog::ConfigAuditFilter;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::Api;
use crate::error::{ApiError, Result};
use crate::request::{Page, Pagination, Params, Viewer, since, until};

/// Which changes; unset filters do not restrict.
#[derive(Debug, Default, Deserialize, IntoParams)]
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
/// Rules, hosts, teams, dynamic configuration, keys, replays and discards; newest first.
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

/// What the check of the chain found.
#[derive(Serialize, ToSchema)]
pub struct Verified {
    /// Whether every row is as it was written, and none is missing.
    intact: bool,
    /// Rows that were checked, where it is intact.
    rows: Option<u64>,
    /// The first row that does not fit: it was changed, or is missing.
    first_bad: Option<i64>,
    #[schema(value_type = String, format = DateTime)]
    checked_at: Timestamp,
}

/// Check the hash chain of the audit of changes
///
/// Reads all of it.
#[utoipa::path(get, path = "/config-audit/verify", tag = "Configuration",
    responses((status = 200, body = Verified)))]
pub async fn verify(State(api): State<Api>, _: Viewer) -> Result<Response> {
    let found = api.engine.verify_config_audit().await?;
    let verified = Verified {
        intact: found.is_ok(),
        rows: found.ok(),
        first_bad: found.err(),
        checked_at: Timestamp::now(),
    };
    Ok(Json(verified).into_response())
}
