//! Reading the audit trail of events and deliveries, and writing the log of deliveries.
//!
//! Rows come by number, newest first. Each filter has an index that is sorted by number behind what
//! it filters by, and holds the time, so that a page is read from its place on every partition
//! without sorting; months outside the asked time are left out.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use mutt_engine::{Audit, AuditFilter, DeliveryRow, Result, StoredAuditRow};
use mutt_event::EventId;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use crate::Postgres;
use crate::error::Step;
use crate::text::{self, cut, without_nul};
use crate::time::Micros;

const COLUMNS: &str = "id, event_id, event_timestamp, received_at, hostname, source, \
     syslog_severity, trap_oid, environment, matched_rule_id, rule_version, handling_decision, \
     team_assignment, forwarded_to_moog, correlation_id, raw_message";

/// Up to this span, both ends given, the rows of the time are looked at rather than the newest.
const NARROW: SignedDuration = SignedDuration::from_hours(6);

/// A query with its parameters.
#[derive(Default)]
struct Query {
    conditions: Vec<String>,
    parameters: Vec<(Box<dyn ToSql + Send + Sync>, Type)>,
}

impl Query {
    /// Adds a parameter; returns what stands for it.
    fn value(&mut self, value: impl ToSql + Send + Sync + 'static, kind: Type) -> String {
        self.parameters.push((Box::new(value), kind));
        format!("${}", self.parameters.len())
    }

    /// Adds a condition; `?` stands for the value.
    fn and(&mut self, condition: &str, value: impl ToSql + Send + Sync + 'static, kind: Type) {
        let place = self.value(value, kind);
        self.conditions.push(condition.replace('?', &place));
    }

    fn conditions(&self) -> String {
        if self.conditions.is_empty() {
            "true".to_owned()
        } else {
            self.conditions.join(" AND ")
        }
    }

    fn borrowed(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.parameters
            .iter()
            .map(|(value, kind)| (&**value as &(dyn ToSql + Sync), kind.clone()))
            .collect()
    }
}

/// The conditions of a filter.
fn query(filter: &AuditFilter) -> Query {
    let mut query = Query::default();
    if let Some(id) = filter.event_id {
        let id = Uuid::from_bytes(*id.as_bytes());
        query.and("event_id = ?", id, Type::UUID);
    }
    if let Some(host) = &filter.hostname {
        // Columns are of collation "C": lower() folds ASCII, as here.
        let host = cut(host, text::HOSTNAME).to_ascii_lowercase();
        query.and("lower(hostname) = ?", host, Type::TEXT);
    }
    if let Some(rule) = filter.rule_id {
        query.and("matched_rule_id = ?", rule, Type::INT8);
    }
    if let Some(handling) = &filter.handling {
        let handling = without_nul(handling).into_owned();
        query.and("handling_decision = ?", handling, Type::TEXT);
    }
    if let Some(id) = &filter.correlation_id {
        let id = cut(id, text::KEY).into_owned();
        query.and("correlation_id = ?", id, Type::TEXT);
    }
    if let Some(severity) = filter.severity {
        query.and("syslog_severity = ?", i16::from(severity), Type::INT2);
    }
    for (condition, word) in [
        ("source = ?", &filter.source),
        ("environment = ?", &filter.environment),
        ("team_assignment = ?", &filter.team),
    ] {
        if let Some(word) = word {
            query.and(condition, cut(word, text::WORD).into_owned(), Type::TEXT);
        }
    }
    if let Some(since) = filter.since {
        query.and("event_timestamp >= ?", Micros(since), Type::TIMESTAMPTZ);
    }
    if let Some(until) = filter.until {
        query.and("event_timestamp < ?", Micros(until), Type::TIMESTAMPTZ);
    }
    if let Some(before) = filter.before_id {
        query.and("id < ?", before, Type::INT8);
    }
    if let Some(text) = &filter.text {
        query.and("raw_message ILIKE ? ESCAPE '\\'", like(text), Type::TEXT);
    }
    query
}

/// Whether the time alone names few rows.
fn is_narrow(filter: &AuditFilter) -> bool {
    let named =
        filter.event_id.is_some() || filter.hostname.is_some() || filter.correlation_id.is_some();
    match (filter.since, filter.until) {
        (Some(since), Some(until)) if !named => until.duration_since(since) <= NARROW,
        _ => false,
    }
}

/// The statement of a filter, and its parameters.
fn statement(filter: &AuditFilter) -> (String, Query) {
    let mut query = query(filter);
    let conditions = query.conditions();
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    let limit = query.value(limit, Type::INT8);
    // PostgreSQL thinks that times and numbers have nothing to do with one another, and would walk
    // back from the newest row to a time long ago. An expression has no index to walk along.
    let order = if is_narrow(filter) { "(id + 0)" } else { "id" };
    let sql = format!(
        "SELECT {COLUMNS} FROM event_audit_log WHERE {conditions} ORDER BY {order} DESC \
         LIMIT {limit}"
    );
    (sql, query)
}

/// A LIKE pattern for "contains this text".
pub(crate) fn like(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for character in without_nul(text).chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

fn stored(row: &Row) -> Step<StoredAuditRow> {
    let time = |index| row.try_get::<_, Micros>(index).map(|time| time.0);
    let text = |index| row.try_get::<_, Option<String>>(index);
    Ok(StoredAuditRow {
        id: row.try_get(0)?,
        event_id: EventId::from_bytes(row.try_get::<_, Uuid>(1)?.into_bytes()),
        event_timestamp: time(2)?,
        received_at: time(3)?,
        hostname: row.try_get(4)?,
        source: text(5)?,
        syslog_severity: row
            .try_get::<_, Option<i16>>(6)?
            .and_then(|severity| u8::try_from(severity).ok()),
        trap_oid: text(7)?,
        environment: row.try_get(8)?,
        matched_rule_id: row.try_get(9)?,
        rule_version: row.try_get(10)?,
        handling_decision: row.try_get(11)?,
        team_assignment: text(12)?,
        forwarded_to_moog: row.try_get(13)?,
        correlation_id: row.try_get(14)?,
        raw_message: text(15)?.unwrap_or_default(),
    })
}

#[async_trait]
impl Audit for Postgres {
    async fn audit_rows(&self, filter: AuditFilter) -> Result<Vec<StoredAuditRow>> {
        let (sql, query) = statement(&filter);
        let session = self.checkout().await?;
        let step = session.limited(async {
            let rows = session.query_typed(&sql, &query.borrowed()).await?;
            rows.iter().map(stored).collect::<Step<_>>()
        });
        let rows = step.await;
        session.settle(rows).await
    }

    async fn count_audit_rows(&self, filter: AuditFilter) -> Result<u64> {
        let query = query(&AuditFilter {
            before_id: None,
            ..filter
        });
        let sql = format!(
            "SELECT count(*) FROM event_audit_log WHERE {}",
            query.conditions()
        );
        let session = self.checkout().await?;
        let step = session.limited(async {
            let row = session.query_typed_one(&sql, &query.borrowed()).await?;
            Ok(row.try_get::<_, i64>(0)?.cast_unsigned())
        });
        let count = step.await;
        session.settle(count).await
    }

    async fn audit_count(&self) -> Result<u64> {
        let session = self.checkout().await?;
        let step = session.limited(async {
            let row = session
                .query_typed_one(
                    "SELECT (SELECT rows FROM audit_total)
                         + (SELECT coalesce(sum(rows), 0)::bigint FROM applied_claims)",
                    &[],
                )
                .await?;
            Ok(row.try_get::<_, i64>(0)?)
        });
        let count = step.await;
        let count = session.settle(count).await?;
        Ok(u64::try_from(count).unwrap_or_default())
    }

    async fn deliveries(&self, event_id: EventId) -> Result<Vec<DeliveryRow>> {
        let id = Uuid::from_bytes(*event_id.as_bytes());
        let session = self.checkout().await?;
        let step = session.limited(async {
            let rows = session
                .query_typed(
                    "SELECT sink, attempt, at, status, latency_ms, error FROM delivery_log
                     WHERE event_id = $1 ORDER BY id",
                    &[(&id, Type::UUID)],
                )
                .await?;
            rows.iter()
                .map(|row| delivery(event_id, row))
                .collect::<Step<_>>()
        });
        let rows = step.await;
        session.settle(rows).await
    }

    async fn recent_deliveries(&self, since: Timestamp, limit: usize) -> Result<Vec<DeliveryRow>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let session = self.checkout().await?;
        let step = session.limited(async {
            let rows = session
                .query_typed(
                    "SELECT sink, attempt, at, status, latency_ms, error, event_id
                     FROM delivery_log WHERE at >= $1 ORDER BY at DESC, id DESC LIMIT $2",
                    &[(&Micros(since), Type::TIMESTAMPTZ), (&limit, Type::INT8)],
                )
                .await?;
            rows.iter()
                .map(|row| {
                    let id = row.try_get::<_, Uuid>(6)?;
                    delivery(EventId::from_bytes(id.into_bytes()), row)
                })
                .collect::<Step<_>>()
        });
        let rows = step.await;
        session.settle(rows).await
    }
}

fn delivery(event_id: EventId, row: &Row) -> Step<DeliveryRow> {
    Ok(DeliveryRow {
        event_id,
        sink: row.try_get(0)?,
        attempt: u32::try_from(row.try_get::<_, i64>(1)?).unwrap_or(u32::MAX),
        at: row.try_get::<_, Micros>(2)?.0,
        status: row
            .try_get::<_, Option<i32>>(3)?
            .and_then(|status| u16::try_from(status).ok()),
        latency_ms: row.try_get(4)?,
        error: row.try_get(5)?,
    })
}

impl Postgres {
    /// Writes delivery attempts into `delivery_log`, in this order. A row whose number is there
    /// already is left out, so that a batch may come again.
    ///
    /// # Errors
    /// `Unavailable`; the whole batch may be handed in again.
    pub async fn log_deliveries(&self, rows: &[(Uuid, DeliveryRow)]) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let column = |text: &str| without_nul(text).into_owned();
        let uids: Vec<Uuid> = rows.iter().map(|(uid, _)| *uid).collect();
        let rows = || rows.iter().map(|(_, row)| row);
        let events: Vec<Uuid> = rows()
            .map(|row| Uuid::from_bytes(*row.event_id.as_bytes()))
            .collect();
        let sinks: Vec<String> = rows()
            .map(|row| cut(&row.sink, text::WORD).into_owned())
            .collect();
        let attempts: Vec<i64> = rows().map(|row| i64::from(row.attempt)).collect();
        let times: Vec<Micros> = rows().map(|row| Micros(row.at)).collect();
        let statuses: Vec<Option<i32>> = rows().map(|row| row.status.map(i32::from)).collect();
        let latencies: Vec<f64> = rows().map(|row| row.latency_ms).collect();
        let errors: Vec<Option<String>> =
            rows().map(|row| row.error.as_deref().map(column)).collect();
        let session = self.checkout().await?;
        let step = session.limited(async {
            let parameters: [(&(dyn ToSql + Sync), Type); 8] = [
                (&uids, Type::UUID_ARRAY),
                (&events, Type::UUID_ARRAY),
                (&sinks, Type::TEXT_ARRAY),
                (&attempts, Type::INT8_ARRAY),
                (&times, Type::TIMESTAMPTZ_ARRAY),
                (&statuses, Type::INT4_ARRAY),
                (&latencies, Type::FLOAT8_ARRAY),
                (&errors, Type::TEXT_ARRAY),
            ];
            session
                .execute_typed(
                    "INSERT INTO delivery_log
                         (uid, event_id, sink, attempt, at, status, latency_ms, error)
                     SELECT uid, event_id, sink, attempt, at, status, latency_ms, error
                     FROM unnest($1, $2, $3, $4, $5, $6, $7, $8) WITH ORDINALITY
                         AS new (uid, event_id, sink, attempt, at, status, latency_ms, error, position)
                     ORDER BY position ON CONFLICT (uid) DO NOTHING",
                    &parameters,
                )
                .await?;
            Ok(())
        });
        let written = step.await;
        session.settle(written).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_its_text_literally() {
        assert_eq!(like("50%_\\x"), "%50\\%\\_\\\\x%");
    }

    #[test]
    fn only_a_short_time_by_itself_is_narrow() {
        let at = |hour: i64| Timestamp::from_second(hour * 3600).ok();
        let short = AuditFilter {
            since: at(1),
            until: at(2),
            ..AuditFilter::default()
        };
        assert!(is_narrow(&short));
        let wide = AuditFilter {
            until: at(100),
            ..short.clone()
        };
        let host = AuditFilter {
            hostname: Some("h".to_owned()),
            ..short
        };
        assert!(!is_narrow(&wide) && !is_narrow(&host));
    }
}
