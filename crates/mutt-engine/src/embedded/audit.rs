//! Reading the audit trail, and the log of deliveries.

use async_trait::async_trait;
use jiff::Timestamp;
use mutt_event::EventId;
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params, params_from_iter};

use super::audit_index::{INDEXED, Kind, host_key};
use super::{Embedded, timestamp};
use crate::audit::{Audit, AuditFilter, DeliveryRow, StoredAuditRow};
use crate::error::Result;

const COLUMNS: &str = "log.id, log.event_id, log.event_timestamp, log.received_at, log.hostname, \
     log.source, log.syslog_severity, log.trap_oid, log.environment, log.matched_rule_id, \
     log.rule_version, log.handling_decision, log.team_assignment, log.forwarded_to_moog, \
     log.correlation_id, log.raw_message";

/// Conditions with their parameters.
#[derive(Clone, Debug, Default)]
struct Conditions {
    sql: Vec<&'static str>,
    values: Vec<Value>,
}

impl Conditions {
    fn and(&mut self, condition: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.sql.push(condition);
            self.values.push(value.into());
        }
    }

    /// The rows that fulfil all, newest first.
    fn rows(mut self, conn: &Connection, from: From, limit: usize) -> Result<Vec<StoredAuditRow>> {
        self.values
            .push(Value::from(i64::try_from(limit).unwrap_or(i64::MAX)));
        let mut statement = conn.prepare_cached(&self.sql(from))?;
        let rows = statement.query_map(params_from_iter(self.values), stored)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

/// What is walked along, and by which number.
#[derive(Clone, Copy, Debug)]
enum From {
    /// The rows.
    Rows,
    /// The index, and for what it says the rows. (A CROSS JOIN keeps SQLite from turning it round.)
    Index,
}

impl Conditions {
    fn sql(&self, from: From) -> String {
        let (from, number) = match from {
            From::Rows => ("event_audit_log AS log", "log.id"),
            From::Index => (
                "event_audit_index AS found CROSS JOIN event_audit_log AS log ON log.id = found.id",
                "found.id",
            ),
        };
        let conditions = if self.sql.is_empty() {
            "true"
        } else {
            &self.sql.join(" AND ")
        };
        format!("SELECT {COLUMNS} FROM {from} WHERE {conditions} ORDER BY {number} DESC LIMIT ?")
    }
}

/// What the filter says of the rows themselves. The plus signs keep SQLite from walking along the
/// time and sorting everything it finds: rows come by number.
fn conditions(filter: &AuditFilter) -> Conditions {
    let mut all = Conditions::default();
    all.and(
        "log.event_id = ?",
        filter.event_id.map(|id| id.as_bytes().to_vec()),
    );
    all.and("log.hostname = ? COLLATE NOCASE", filter.hostname.clone());
    all.and("log.matched_rule_id = ?", filter.rule_id);
    all.and("log.handling_decision = ?", filter.handling.clone());
    all.and("log.correlation_id = ?", filter.correlation_id.clone());
    all.and("log.syslog_severity = ?", filter.severity.map(i64::from));
    all.and("log.source = ?", filter.source.clone());
    all.and("log.environment = ?", filter.environment.clone());
    all.and("log.team_assignment = ?", filter.team.clone());
    all.and(
        "+log.event_timestamp >= ?",
        filter.since.map(Timestamp::as_microsecond),
    );
    all.and(
        "+log.event_timestamp < ?",
        filter.until.map(Timestamp::as_microsecond),
    );
    all.and("log.id < ?", filter.before_id);
    all.and(
        "log.raw_message LIKE ? ESCAPE '\\'",
        filter.text.as_deref().map(like),
    );
    all
}

/// The rows of a filter. Whatever names few rows is used first: the event, then the correlation id,
/// the host and the rule, then the time; what is left is walked through from the newest row.
fn find(conn: &Connection, filter: &AuditFilter) -> Result<Vec<StoredAuditRow>> {
    let mut all = conditions(filter);
    let lookup = if filter.event_id.is_some() {
        None
    } else if let Some(id) = filter.correlation_id.clone().filter(|id| !id.is_empty()) {
        Some((Kind::Correlation, Value::from(id)))
    } else if let Some(host) = &filter.hostname {
        Some((Kind::Host, host_key(host)))
    } else {
        filter.rule_id.map(|rule| (Kind::Rule, Value::from(rule)))
    };
    if let Some((kind, key)) = lookup {
        return find_indexed(conn, filter, &all, kind, key);
    }
    if let (Some(until), None) = (filter.until, filter.event_id) {
        // From the newest row back to a time long ago is a long way; the index of times is short.
        all.sql.push(
            "log.id IN (SELECT id FROM event_audit_log
                 WHERE event_timestamp >= ? AND event_timestamp < ?)",
        );
        let since = filter.since.map_or(i64::MIN, Timestamp::as_microsecond);
        all.values
            .extend([Value::from(since), Value::from(until.as_microsecond())]);
    }
    all.rows(conn, From::Rows, filter.limit)
}

/// The newest rows, which are not indexed yet, then those that the index knows.
fn find_indexed(
    conn: &Connection,
    filter: &AuditFilter,
    all: &Conditions,
    kind: Kind,
    key: Value,
) -> Result<Vec<StoredAuditRow>> {
    // One transaction: between the two queries nothing may move.
    let tx = conn.unchecked_transaction()?;
    let indexed: i64 = tx
        .prepare_cached("SELECT value FROM facts WHERE name = ?1")?
        .query_row([INDEXED], |row| row.get(0))?;
    let mut newest = all.clone();
    newest.and("log.id > ?", Some(indexed));
    let mut rows = newest.rows(&tx, From::Rows, filter.limit)?;
    let left = filter.limit.saturating_sub(rows.len());
    if left > 0 {
        rows.extend(indexed_conditions(filter, all, indexed, kind, key).rows(
            &tx,
            From::Index,
            left,
        )?);
    }
    Ok(rows)
}

/// How many rows a filter chooses: along the index of times where a time is given, else through all.
fn count(conn: &Connection, mut filter: AuditFilter) -> Result<u64> {
    filter.before_id = None;
    let (since, until) = (filter.since.take(), filter.until.take());
    let mut all = conditions(&filter);
    all.and(
        "log.event_timestamp >= ?",
        since.map(Timestamp::as_microsecond),
    );
    all.and(
        "log.event_timestamp < ?",
        until.map(Timestamp::as_microsecond),
    );
    let condition = if all.sql.is_empty() {
        "true"
    } else {
        &all.sql.join(" AND ")
    };
    let count: i64 = conn
        .prepare_cached(&format!(
            "SELECT count(*) FROM event_audit_log AS log WHERE {condition}"
        ))?
        .query_row(params_from_iter(all.values), |row| row.get(0))?;
    Ok(count.cast_unsigned())
}

/// What the filter says, beginning with the index.
fn indexed_conditions(
    filter: &AuditFilter,
    all: &Conditions,
    indexed: i64,
    kind: Kind,
    key: Value,
) -> Conditions {
    let mut older = all.clone();
    older.and("found.kind = ?", Some(kind as i64));
    older.and("found.key = ?", Some(key));
    // Beyond it the index may hold a part already.
    older.and("found.id <= ?", Some(indexed));
    older.and("found.id < ?", filter.before_id);
    older.and(
        "found.event_timestamp >= ?",
        filter.since.map(Timestamp::as_microsecond),
    );
    older.and(
        "found.event_timestamp < ?",
        filter.until.map(Timestamp::as_microsecond),
    );
    older
}

/// A LIKE pattern for "contains this text".
pub(super) fn like(text: &str) -> String {
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
        self.readers.run(move |conn| find(conn, &filter)).await
    }

    async fn count_audit_rows(&self, filter: AuditFilter) -> Result<u64> {
        self.readers.run(move |conn| count(conn, filter)).await
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
                let rows = statement
                    .query_map([&event_id.as_bytes()[..]], |row| delivery(event_id, row))?;
                Ok(rows.collect::<rusqlite::Result<_>>()?)
            })
            .await
    }

    async fn recent_deliveries(&self, since: Timestamp, limit: usize) -> Result<Vec<DeliveryRow>> {
        let since = since.as_microsecond();
        self.readers
            .run(move |conn| {
                // By number: rows are written as attempts end, and time has no index here.
                let mut statement = conn.prepare_cached(
                    "SELECT sink, attempt, at, status, latency_ms, error, event_id
                     FROM delivery_log ORDER BY id DESC LIMIT ?1",
                )?;
                let mut rows = statement.query([i64::try_from(limit).unwrap_or(i64::MAX)])?;
                let mut recent = Vec::new();
                while let Some(row) = rows.next()? {
                    if row.get::<_, i64>(2)? < since {
                        break;
                    }
                    recent.push(delivery(EventId::from_bytes(row.get(6)?), row)?);
                }
                Ok(recent)
            })
            .await
    }
}

fn delivery(event_id: EventId, row: &Row<'_>) -> rusqlite::Result<DeliveryRow> {
    Ok(DeliveryRow {
        event_id,
        sink: row.get(0)?,
        attempt: row.get(1)?,
        at: timestamp(row.get(2)?),
        status: row.get(3)?,
        latency_ms: row.get(4)?,
        error: row.get(5)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::{audit_index, schema};

    #[test]
    fn a_pattern_means_its_text_literally() {
        assert_eq!(like("50%_\\x"), "%50\\%\\_\\\\x%");
    }

    fn insert(conn: &Connection, host: &str, rule: Option<i64>, second: i64) {
        conn.execute(
            "INSERT INTO event_audit_log (event_id, event_timestamp, received_at, hostname,
                 environment, matched_rule_id, handling_decision, forwarded_to_moog,
                 correlation_id, raw_message)
             VALUES (randomblob(16), ?1, ?1, ?2, 'production', ?3, 'Ignore', 0, ?4, '{}')",
            params![
                second * 1_000_000,
                host,
                rule,
                format!("corr-{}", second / 2)
            ],
        )
        .unwrap();
    }

    fn plan(conn: &Connection, conditions: &Conditions, from: From) -> String {
        let sql = format!("EXPLAIN QUERY PLAN {}", conditions.sql(from));
        let mut statement = conn.prepare(&sql).unwrap();
        let values = conditions.values.iter().cloned().chain([Value::from(1)]);
        let values = params_from_iter(values);
        let steps = statement
            .query_map(values, |row| row.get::<_, String>(3))
            .unwrap();
        steps
            .collect::<rusqlite::Result<Vec<_>>>()
            .unwrap()
            .join("\n")
    }

    /// No query sorts more than a page of rows, and none that names something reads everything.
    #[test]
    fn queries_walk_along_what_is_sorted() {
        let conn = Connection::open_in_memory().unwrap();
        schema::migrate(&conn).unwrap();
        let filter = AuditFilter {
            since: Some(Timestamp::UNIX_EPOCH),
            before_id: Some(7),
            text: Some("x".into()),
            ..AuditFilter::default()
        };
        let newest = plan(&conn, &conditions(&filter), From::Rows);
        assert!(!newest.contains("TEMP B-TREE"), "{newest}");
        let all = conditions(&filter);
        let older = indexed_conditions(&filter, &all, 9, Kind::Host, host_key("h"));
        let older = plan(&conn, &older, From::Index);
        assert!(!older.contains("TEMP B-TREE"), "{older}");
        assert!(
            older.contains("SEARCH found USING PRIMARY KEY (kind=? AND key=?"),
            "{older}"
        );
        let event = AuditFilter {
            event_id: Some(EventId::new()),
            ..AuditFilter::default()
        };
        let event = plan(&conn, &conditions(&event), From::Rows);
        assert!(
            event.contains("event_audit_log_event (event_id=?)"),
            "{event}"
        );
    }

    /// Rows are found the same way whether they are indexed, not yet, or partly; and deleted rows
    /// leave the index.
    #[test]
    fn the_index_and_the_newest_rows_together_are_everything() {
        let conn = Connection::open_in_memory().unwrap();
        schema::migrate(&conn).unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        let base = AuditFilter {
            limit: 100,
            ..AuditFilter::default()
        };
        let filters = [
            (
                AuditFilter {
                    hostname: Some("ROUTER".into()),
                    ..base.clone()
                },
                vec![7, 5, 3, 1],
            ),
            (
                AuditFilter {
                    rule_id: Some(1),
                    ..base.clone()
                },
                vec![7, 4, 1],
            ),
            (
                AuditFilter {
                    correlation_id: Some("corr-2".into()),
                    ..base.clone()
                },
                vec![5, 4],
            ),
            (
                AuditFilter {
                    hostname: Some("router".into()),
                    since: Some(at(2)),
                    before_id: Some(7),
                    ..base.clone()
                },
                vec![5, 3],
            ),
            (
                AuditFilter {
                    hostname: Some("router".into()),
                    limit: 3,
                    ..base.clone()
                },
                vec![7, 5, 3],
            ),
            (
                AuditFilter {
                    until: Some(at(3)),
                    ..base.clone()
                },
                vec![2, 1],
            ),
        ];
        for split in 0..=7 {
            conn.execute_batch("DELETE FROM event_audit_log").unwrap();
            let left: i64 = conn
                .query_row("SELECT count(*) FROM event_audit_index", [], |row| {
                    row.get(0)
                })
                .unwrap();
            assert_eq!(left, 0, "deleted rows leave the index");
            conn.execute_batch("DELETE FROM sqlite_sequence; UPDATE facts SET value = 0")
                .unwrap();
            for second in 1..=7 {
                let host = if second % 2 == 1 { "Router" } else { "switch" };
                insert(&conn, host, (second % 3 == 1).then_some(1), second);
                if second == split {
                    audit_index::index_all(&conn).unwrap();
                }
            }
            for (filter, expected) in &filters {
                let rows = find(&conn, filter).unwrap();
                let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
                assert_eq!(&ids, expected, "{split} rows indexed, {filter:?}");
            }
        }
    }
}
