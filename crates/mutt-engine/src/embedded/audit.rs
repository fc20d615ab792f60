//! Reading the audit trail, and the log of deliveries.

use async_trait::async_trait;
use mutt_event::EventId;
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params, params_from_iter};

use super::{Embedded, timestamp};
use crate::audit::{Audit, AuditFilter, DeliveryRow, StoredAuditRow};
use crate::error::Result;

const COLUMNS: &str = "id, event_id, event_timestamp, received_at, hostname, source, \
     syslog_severity, trap_oid, environment, matched_rule_id, rule_version, handling_decision, \
     team_assignment, forwarded_to_moog, correlation_id, raw_message";

/// The query for a filter, with its parameters. Which index serves it is SQLite's choice; rows come
/// by number, so a page needs no sorting where the number is what is walked along.
fn query(filter: AuditFilter) -> (String, Vec<Value>) {
    let mut conditions = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    let mut add = |condition: &'static str, value: Option<Value>| {
        if let Some(value) = value {
            conditions.push(condition);
            values.push(value);
        }
    };
    add("hostname = ? COLLATE NOCASE", filter.hostname.map(Value::from));
    add("matched_rule_id = ?", filter.rule_id.map(Value::from));
    add("handling_decision = ?", filter.handling.map(Value::from));
    add("event_id = ?", filter.event_id.map(|id| Value::from(id.as_bytes().to_vec())));
    // The index holds no empty ids; saying so lets SQLite use it.
    add("correlation_id <> '' AND correlation_id = ?", filter.correlation_id.map(Value::from));
    add("raw_message LIKE ? ESCAPE '\\'", filter.text.map(|text| Value::from(like(&text))));
    add("event_timestamp >= ?", filter.since.map(|at| Value::from(at.as_microsecond())));
    add("event_timestamp < ?", filter.until.map(|at| Value::from(at.as_microsecond())));
    add("id < ?", filter.before_id.map(Value::from));
    let conditions = if conditions.is_empty() {
        String::new()
    } else {
        format!("WHERE {}", conditions.join(" AND "))
    };
    values.push(Value::from(i64::try_from(filter.limit).unwrap_or(i64::MAX)));
    let sql = format!(
        "SELECT {COLUMNS} FROM event_audit_log {conditions} ORDER BY id DESC LIMIT ?"
    );
    (sql, values)
}

/// A LIKE pattern for "contains this text".
fn like(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

fn event_id(bytes: &[u8]) -> EventId {
    // Only whole ids are written; a damaged one reads as nil.
    EventId::from_bytes(bytes.try_into().unwrap_or_default())
}

fn stored(row: &Row<'_>) -> rusqlite::Result<StoredAuditRow> {
    Ok(StoredAuditRow {
        id: row.get(0)?,
        event_id: event_id(row.get_ref(1)?.as_blob().unwrap_or_default()),
        event_timestamp: timestamp(row.get(2)?),
        received_at: timestamp(row.get(3)?),
        hostname: row.get(4)?,
        source: row.get(5)?,
        syslog_severity: row.get(6)?,
        trap_oid: row.get(7)?,
        environment: row.get(8)?,
        matched_rule_id: row.get(9)?,
        rule_version: row.get(10)?,
        handling_decision: row.get(11)?,
        team_assignment: row.get(12)?,
        forwarded_to_moog: row.get(13)?,
        correlation_id: row.get(14)?,
        raw_message: row.get(15)?,
    })
}

/// Writes the row of one delivery attempt.
pub(super) fn insert_delivery(conn: &Connection, row: &DeliveryRow) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO delivery_log (event_id, sink, attempt, at, status, latency_ms, error)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        &row.event_id.as_bytes()[..],
        row.sink,
        row.attempt,
        row.at.as_microsecond(),
        row.status,
        row.latency_ms,
        row.error
    ])?;
    Ok(())
}

#[async_trait]
impl Audit for Embedded {
    async fn audit_rows(&self, filter: AuditFilter) -> Result<Vec<StoredAuditRow>> {
        self.readers
            .run(move |conn| {
                let (sql, values) = query(filter);
                let mut statement = conn.prepare_cached(&sql)?;
                let rows = statement.query_map(params_from_iter(values), stored)?;
                Ok(rows.collect::<rusqlite::Result<_>>()?)
            })
            .await
    }

    async fn audit_count(&self) -> Result<u64> {
        self.readers
            .run(|conn| {
                let count: i64 = conn
                    .prepare_cached("SELECT value FROM facts WHERE name = 'audit_rows'")?
                    .query_row([], |row| row.get(0))?;
                Ok(count.cast_unsigned())
            })
            .await
    }

    async fn deliveries(&self, event_id: EventId) -> Result<Vec<DeliveryRow>> {
        self.readers
            .run(move |conn| {
                let mut statement = conn.prepare_cached(
                    "SELECT sink, attempt, at, status, latency_ms, error FROM delivery_log
                     WHERE event_id = ?1 ORDER BY id",
                )?;
                let rows = statement.query_map([&event_id.as_bytes()[..]], |row| {
                    Ok(DeliveryRow {
                        event_id,
                        sink: row.get(0)?,
                        attempt: row.get(1)?,
                        at: timestamp(row.get(2)?),
                        status: row.get(3)?,
                        latency_ms: row.get(4)?,
                        error: row.get(5)?,
                    })
                })?;
                Ok(rows.collect::<rusqlite::Result<_>>()?)
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_its_text_literally() {
        assert_eq!(like("50%_\\x"), "%50\\%\\_\\\\x%");
    }
}
