//! `config_audit_log`: who changed what, and why; append-only and chained by hashes.
//!
//! A change and its row are one transaction: whoever changes something calls [`record_change`] in
//! it. Each row's hash covers the row and the hash before; numbers have no gaps. So a row that was
//! changed, removed, moved or put in shows, the newest ones included.

use jiff::Timestamp;
use rusqlite::types::Value as Column;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};
use serde_json::Value;

use super::audit::like;
use crate::catalog::{Change, ConfigAuditFilter, ConfigAuditRow};
use crate::changes::Record;
use crate::error::Result;

/// Writes the audit row of a change, in the transaction of the change. Returns the row's number.
///
/// # Errors
/// `Unavailable`; the change must then not be committed.
pub(super) fn record_change(tx: &Connection, by: &Change, record: Record<'_>) -> Result<i64> {
    let (last, previous) = tx
        .prepare_cached("SELECT id, row_hash FROM config_audit_log ORDER BY id DESC LIMIT 1")?
        .query_row([], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
        })
        .optional()?
        .unwrap_or_default();
    let mut row = ConfigAuditRow {
        id: last + 1,
        changed_at: now(),
        changed_by: by.by.clone(),
        operation: record.operation.name().to_owned(),
        table_name: record.table.to_owned(),
        record_id: record.id,
        record_key: record.key.map(str::to_owned),
        old_values: record.old,
        new_values: record.new,
        reason: by.reason.clone(),
        correlation_id: by.correlation_id.clone(),
        row_hash: String::new(),
    };
    row.row_hash = row.chained_hash(&previous);
    tx.prepare_cached(
        "INSERT INTO config_audit_log (id, changed_at, changed_by, operation, table_name,
             record_id, record_key, old_values, new_values, reason, correlation_id, row_hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?
    .execute(params![
        row.id,
        row.changed_at.as_microsecond(),
        row.changed_by,
        row.operation,
        row.table_name,
        row.record_id,
        row.record_key,
        row.old_values.as_ref().map(Value::to_string),
        row.new_values.as_ref().map(Value::to_string),
        row.reason,
        row.correlation_id,
        row.row_hash,
    ])?;
    Ok(row.id)
}

/// Now, as exactly as a column holds it.
pub(super) fn now() -> Timestamp {
    super::timestamp(Timestamp::now().as_microsecond())
}

const COLUMNS: &str = "id, changed_at, changed_by, operation, table_name, record_id, record_key,
    old_values, new_values, reason, correlation_id, row_hash";

fn read(row: &Row<'_>) -> rusqlite::Result<ConfigAuditRow> {
    // What is no JSON was not written here: it is shown as it stands and fails the hash.
    let json = |index| {
        let text: Option<String> = row.get(index)?;
        Ok::<_, rusqlite::Error>(
            text.map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text))),
        )
    };
    Ok(ConfigAuditRow {
        id: row.get(0)?,
        changed_at: super::timestamp(row.get(1)?),
        changed_by: row.get(2)?,
        operation: row.get(3)?,
        table_name: row.get(4)?,
        record_id: row.get(5)?,
        record_key: row.get(6)?,
        old_values: json(7)?,
        new_values: json(8)?,
        reason: row.get(9)?,
        correlation_id: row.get(10)?,
        row_hash: row.get(11)?,
    })
}

/// The condition of a filter, with its values.
fn condition(filter: &ConfigAuditFilter) -> (String, Vec<Column>) {
    let text = |text: &Option<String>| text.clone().map(Column::from);
    let time = |time: Option<Timestamp>| time.map(|time| time.as_microsecond().into());
    let event = filter.event_id.map(|id| Column::from(id.to_string()));
    let (mut sql, mut values) = ("true".to_owned(), Vec::new());
    for (condition, value) in [
        ("table_name = ?", text(&filter.table_name)),
        ("record_key = ?", text(&filter.record_key)),
        ("record_id = ?", filter.record_id.map(Column::from)),
        (
            "changed_by LIKE ? ESCAPE '\\'",
            filter.changed_by.as_deref().map(|by| like(by).into()),
        ),
        ("operation = ?", text(&filter.operation)),
        ("correlation_id = ?", text(&filter.correlation_id)),
        ("changed_at >= ?", time(filter.since)),
        ("changed_at < ?", time(filter.until)),
        (
            // Nearly every row ends here, unread.
            "instr(old_values, ?) > 0",
            event.clone(),
        ),
        (
            "EXISTS (SELECT 1 FROM json_each(iif(json_valid(old_values), old_values, '{}'),
                 '$.events') WHERE value = ?)",
            event,
        ),
        ("id < ?", filter.before_id.map(Column::from)),
    ] {
        if let Some(value) = value {
            sql.push_str(" AND ");
            sql.push_str(condition);
            values.push(value);
        }
    }
    (sql, values)
}

/// The rows that are asked for, newest first.
pub(super) fn rows(conn: &Connection, filter: &ConfigAuditFilter) -> Result<Vec<ConfigAuditRow>> {
    let (condition, mut values) = condition(filter);
    for number in [filter.limit, filter.offset] {
        values.push(i64::try_from(number).unwrap_or(i64::MAX).into());
    }
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM config_audit_log WHERE {condition} ORDER BY id DESC LIMIT ? OFFSET ?"
    ))?;
    let rows = statement.query_map(params_from_iter(values), read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// How many rows are asked for.
pub(super) fn count(conn: &Connection, filter: &ConfigAuditFilter) -> Result<u64> {
    let (condition, values) = condition(filter);
    let count: i64 = conn
        .prepare_cached(&format!(
            "SELECT count(*) FROM config_audit_log WHERE {condition}"
        ))?
        .query_row(params_from_iter(values), |row| row.get(0))?;
    Ok(count.cast_unsigned())
}

/// The number of rows where the chain holds, else the number of the first row that does not fit:
/// that was changed, or that is missing.
pub(super) fn verify(conn: &Connection) -> Result<std::result::Result<u64, i64>> {
    // One statement, so that rows written meanwhile do not count for one half only.
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS}, (SELECT seq FROM sqlite_sequence WHERE name = 'config_audit_log')
         FROM config_audit_log ORDER BY id"
    ))?;
    let mut rows = statement.query([])?;
    let (mut last, mut previous, mut given) = (0, String::new(), None);
    while let Some(row) = rows.next()? {
        given = row.get(12)?;
        let row = read(row)?;
        if row.id != last + 1 {
            return Ok(Err(last + 1));
        }
        if row.row_hash != row.chained_hash(&previous) {
            return Ok(Err(row.id));
        }
        (last, previous) = (row.id, row.row_hash);
    }
    drop(rows);
    if last == 0 {
        given = highest_given(conn)?;
    }
    // SQLite remembers the highest number ever given: the newest rows cannot go unseen.
    if given.is_some_and(|given| given > last) {
        return Ok(Err(last + 1));
    }
    Ok(Ok(last.cast_unsigned()))
}

fn highest_given(conn: &Connection) -> Result<Option<i64>> {
    Ok(conn
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'config_audit_log'")?
        .query_row([], |row| row.get(0))
        .optional()?)
}

#[cfg(test)]
mod tests {
    use super::super::schema;
    use super::*;
    use crate::changes::Operation;

    fn log_of(rows: i64) -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        schema::migrate(&conn).unwrap();
        let by = Change {
            by: "admin".to_owned(),
            ..Change::default()
        };
        for number in 1..=rows {
            let record = Record {
                operation: Operation::Update,
                table: "dynamic_config",
                id: None,
                key: Some("log_level"),
                old: None,
                new: Some(serde_json::json!({"value": number})),
            };
            assert_eq!(record_change(&conn, &by, record).unwrap(), number);
        }
        conn
    }

    #[test]
    fn rows_can_neither_be_changed_nor_deleted() {
        let conn = log_of(2);
        for statement in [
            "UPDATE config_audit_log SET reason = 'x'",
            "DELETE FROM config_audit_log WHERE id = 2",
        ] {
            let error = conn.execute_batch(statement).unwrap_err();
            assert!(error.to_string().contains("append-only"), "{error}");
        }
        assert_eq!(verify(&conn).unwrap(), Ok(2));
    }

    #[test]
    fn whoever_gets_past_the_triggers_is_found_out() {
        let tampering = [
            (
                "UPDATE config_audit_log SET changed_by = 'nobody' WHERE id = 3",
                3,
            ),
            (
                "UPDATE config_audit_log SET new_values = '{\"value\":9}' WHERE id = 3",
                3,
            ),
            (
                "UPDATE config_audit_log SET new_values = 'no JSON' WHERE id = 3",
                3,
            ),
            (
                "UPDATE config_audit_log SET changed_at = changed_at + 1 WHERE id = 1",
                1,
            ),
            ("UPDATE config_audit_log SET row_hash = '' WHERE id = 2", 2),
            ("DELETE FROM config_audit_log WHERE id = 1", 1),
            ("DELETE FROM config_audit_log WHERE id = 3", 3),
            ("DELETE FROM config_audit_log WHERE id = 5", 5),
            ("DELETE FROM config_audit_log", 1),
            (
                "UPDATE config_audit_log SET id = 100 WHERE id = 3;
                 UPDATE config_audit_log SET id = 3 WHERE id = 4;
                 UPDATE config_audit_log SET id = 4 WHERE id = 100",
                3,
            ),
            (
                "INSERT INTO config_audit_log (changed_at, changed_by, operation, table_name,
                 row_hash) VALUES (0, 'x', 'UPDATE', 'alert_rules', 'abc')",
                6,
            ),
        ];
        for (statement, first) in tampering {
            let conn = log_of(5);
            assert_eq!(verify(&conn).unwrap(), Ok(5));
            conn.execute_batch(
                "DROP TRIGGER config_audit_log_no_update; DROP TRIGGER config_audit_log_no_delete",
            )
            .unwrap();
            conn.execute_batch(statement).unwrap();
            assert_eq!(verify(&conn).unwrap(), Err(first), "{statement}");
        }
    }

    #[test]
    fn what_is_undone_leaves_no_gap() {
        let conn = log_of(2);
        let by = Change::default();
        let record = Record {
            operation: Operation::Create,
            table: "alert_rules",
            id: Some(1),
            key: None,
            old: None,
            new: None,
        };
        conn.execute_batch("SAVEPOINT job").unwrap();
        record_change(&conn, &by, record.clone()).unwrap();
        conn.execute_batch("ROLLBACK TO job; RELEASE job").unwrap();
        assert_eq!(verify(&conn).unwrap(), Ok(2));
        assert_eq!(record_change(&conn, &by, record).unwrap(), 3);
        assert_eq!(verify(&conn).unwrap(), Ok(3));
    }
}
