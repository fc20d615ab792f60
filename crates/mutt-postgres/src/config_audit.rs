//! `config_audit_log`: who changed what, and why; append-only and chained by hashes.
//!
//! A change and its row are one transaction, which begins with [`begin`]: it holds the one row of
//! `config_audit_head` (the last number and hash), so changes come one after the other and numbers
//! have no gaps. Rows that MUTT 2 wrote were numbered by it, may have gaps between them, and were
//! hashed once, when the database was adopted: what was changed before that cannot be seen.

use std::fmt::Write as _;

use deadpool_postgres::ClientWrapper;
use futures_util::future::join;
use futures_util::{TryStreamExt as _, pin_mut};
use jiff::Timestamp;
use mutt_engine::catalog::ConfigAuditFilter;
use mutt_engine::changes::Record;
use mutt_engine::{Change, ConfigAuditRow};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::audit::like;
use crate::error::Step;
use crate::text::{self, cut, json, without_nul};
use crate::time::{Micros, now};

pub(crate) const COLUMNS: &str = "id, changed_at, changed_by, operation, table_name, record_id, \
     record_key, old_values, new_values, reason, correlation_id, row_hash";

/// The end of the chain, as locked by this transaction.
pub(crate) struct Head {
    id: i64,
    hash: String,
}

/// Begins the transaction of a change: no other change happens until it ends.
pub(crate) async fn begin(client: &ClientWrapper) -> Step<Head> {
    let (begun, row) = join(
        client.batch_execute("BEGIN"),
        client.query_typed_one("SELECT id, row_hash FROM config_audit_head FOR UPDATE", &[]),
    )
    .await;
    begun?;
    let row = row?;
    Ok(Head {
        id: row.try_get(0)?,
        hash: row.try_get(1)?,
    })
}

/// Writes the audit row of a change, in the transaction of the change.
pub(crate) async fn record(
    client: &ClientWrapper,
    head: &mut Head,
    by: &Change,
    record: Record<'_>,
) -> Step<()> {
    record_all(client, head, by, vec![record]).await
}

/// Writes the audit rows of changes that are made together.
pub(crate) async fn record_all(
    client: &ClientWrapper,
    head: &mut Head,
    by: &Change,
    mut records: Vec<Record<'_>>,
) -> Step<()> {
    for record in &mut records {
        record.old = stored_json(client, record.old.take()).await?;
        record.new = stored_json(client, record.new.take()).await?;
    }
    let rows: Vec<_> = records
        .into_iter()
        .map(|record| {
            let mut row = row(head.id + 1, by, record);
            row.row_hash = row.chained_hash(&head.hash);
            head.id = row.id;
            head.hash.clone_from(&row.row_hash);
            row
        })
        .collect();
    let columns = Columns::new(&rows);
    let insert = format!(
        "INSERT INTO config_audit_log ({COLUMNS}) SELECT {COLUMNS}
         FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) AS new ({COLUMNS})"
    );
    let (inserted, moved) = join(
        client.execute_typed(&insert, &columns.parameters()),
        client.execute_typed(
            "UPDATE config_audit_head SET id = $1, row_hash = $2",
            &[(&head.id, Type::INT8), (&head.hash, Type::TEXT)],
        ),
    )
    .await;
    inserted?;
    moved?;
    Ok(())
}

/// The row of a change, without its hash.
fn row(id: i64, by: &Change, record: Record<'_>) -> ConfigAuditRow {
    let key = |text: &str| cut(text, text::KEY).into_owned();
    ConfigAuditRow {
        id,
        changed_at: now(),
        changed_by: key(&by.by),
        operation: record.operation.name().to_owned(),
        table_name: cut(record.table, text::WORD).into_owned(),
        record_id: record.id,
        record_key: record.key.map(key),
        old_values: record.old,
        new_values: record.new,
        reason: by
            .reason
            .as_deref()
            .map(|reason| without_nul(reason).into_owned()),
        correlation_id: by.correlation_id.as_deref().map(key),
        row_hash: String::new(),
    }
}

/// Rows as one array per column.
struct Columns<'a> {
    id: Vec<i64>,
    changed_at: Vec<Micros>,
    changed_by: Vec<&'a str>,
    operation: Vec<&'a str>,
    table_name: Vec<&'a str>,
    record_id: Vec<Option<i64>>,
    record_key: Vec<Option<&'a str>>,
    old_values: Vec<Option<&'a Value>>,
    new_values: Vec<Option<&'a Value>>,
    reason: Vec<Option<&'a str>>,
    correlation_id: Vec<Option<&'a str>>,
    row_hash: Vec<&'a str>,
}

impl<'a> Columns<'a> {
    fn new(rows: &'a [ConfigAuditRow]) -> Self {
        Self {
            id: rows.iter().map(|row| row.id).collect(),
            changed_at: rows.iter().map(|row| Micros(row.changed_at)).collect(),
            changed_by: rows.iter().map(|row| &*row.changed_by).collect(),
            operation: rows.iter().map(|row| &*row.operation).collect(),
            table_name: rows.iter().map(|row| &*row.table_name).collect(),
            record_id: rows.iter().map(|row| row.record_id).collect(),
            record_key: rows.iter().map(|row| row.record_key.as_deref()).collect(),
            old_values: rows.iter().map(|row| row.old_values.as_ref()).collect(),
            new_values: rows.iter().map(|row| row.new_values.as_ref()).collect(),
            reason: rows.iter().map(|row| row.reason.as_deref()).collect(),
            correlation_id: rows
                .iter()
                .map(|row| row.correlation_id.as_deref())
                .collect(),
            row_hash: rows.iter().map(|row| &*row.row_hash).collect(),
        }
    }

    fn parameters(&self) -> [(&(dyn ToSql + Sync), Type); 12] {
        [
            (&self.id, Type::INT8_ARRAY),
            (&self.changed_at, Type::TIMESTAMPTZ_ARRAY),
            (&self.changed_by, Type::TEXT_ARRAY),
            (&self.operation, Type::TEXT_ARRAY),
            (&self.table_name, Type::TEXT_ARRAY),
            (&self.record_id, Type::INT8_ARRAY),
            (&self.record_key, Type::TEXT_ARRAY),
            (&self.old_values, Type::JSONB_ARRAY),
            (&self.new_values, Type::JSONB_ARRAY),
            (&self.reason, Type::TEXT_ARRAY),
            (&self.correlation_id, Type::TEXT_ARRAY),
            (&self.row_hash, Type::TEXT_ARRAY),
        ]
    }
}

/// A value as it reads once `jsonb` has kept it: the hash is made of that, so that it can be made
/// again. (It writes fractions and powers of ten in its own way; everything else stays.)
async fn stored_json(client: &ClientWrapper, value: Option<Value>) -> Step<Option<Value>> {
    let Some(value) = value.map(json) else {
        return Ok(None);
    };
    if !has_fraction(&value) {
        return Ok(Some(value));
    }
    let row = client
        .query_typed_one("SELECT $1", &[(&value, Type::JSONB)])
        .await?;
    Ok(Some(row.try_get(0)?))
}

fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(values) => values.iter().any(has_fraction),
        Value::Object(fields) => fields.values().any(has_fraction),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

pub(crate) fn read(row: &Row) -> Step<ConfigAuditRow> {
    Ok(ConfigAuditRow {
        id: row.try_get(0)?,
        changed_at: row.try_get::<_, Micros>(1)?.0,
        changed_by: row.try_get(2)?,
        operation: row.try_get(3)?,
        table_name: row.try_get(4)?,
        record_id: row.try_get(5)?,
        record_key: row.try_get(6)?,
        old_values: row.try_get(7)?,
        new_values: row.try_get(8)?,
        reason: row.try_get(9)?,
        correlation_id: row.try_get(10)?,
        row_hash: row.try_get(11)?,
    })
}

/// The condition of a filter, with its parameters.
fn condition(filter: &ConfigAuditFilter) -> (String, Parameters) {
    let text = |text: &Option<String>, most| {
        let text = text.as_deref().map(|text| cut(text, most).into_owned());
        text.map(|text| (Box::new(text) as Parameter, Type::TEXT))
    };
    let number =
        |number: Option<i64>| number.map(|number| (Box::new(number) as Parameter, Type::INT8));
    let time = |time: Option<Timestamp>| {
        time.map(|time| (Box::new(Micros(time)) as Parameter, Type::TIMESTAMPTZ))
    };
    let by = filter.changed_by.as_deref().map(like);
    let (mut sql, mut parameters) = ("true".to_owned(), Parameters::new());
    for (condition, parameter) in [
        ("table_name =", text(&filter.table_name, text::WORD)),
        ("record_key =", text(&filter.record_key, text::KEY)),
        ("record_id =", number(filter.record_id)),
        (
            "changed_by ILIKE",
            by.map(|by| (Box::new(by) as Parameter, Type::TEXT)),
        ),
        ("operation =", text(&filter.operation, text::WORD)),
        ("correlation_id =", text(&filter.correlation_id, text::KEY)),
        (
            "old_values @>",
            filter.event_id.map(|id| {
                let named = serde_json::json!({ "events": [id] });
                (Box::new(named) as Parameter, Type::JSONB)
            }),
        ),
        ("changed_at >=", time(filter.since)),
        ("changed_at <", time(filter.until)),
        ("id <", number(filter.before_id)),
    ] {
        if let Some(parameter) = parameter {
            parameters.push(parameter);
            let _ = write!(sql, " AND {condition} ${}", parameters.len());
        }
    }
    (sql, parameters)
}

type Parameter = Box<dyn ToSql + Send + Sync>;
type Parameters = Vec<(Parameter, Type)>;

fn borrowed(parameters: &Parameters) -> Vec<(&(dyn ToSql + Sync), Type)> {
    parameters
        .iter()
        .map(|(value, kind)| (&**value as &(dyn ToSql + Sync), kind.clone()))
        .collect()
}

/// The rows that are asked for, newest first.
pub(crate) async fn rows(
    client: &ClientWrapper,
    filter: &ConfigAuditFilter,
) -> Step<Vec<ConfigAuditRow>> {
    let (condition, mut parameters) = condition(filter);
    for number in [filter.limit, filter.offset] {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        parameters.push((Box::new(number), Type::INT8));
    }
    let last = parameters.len();
    let sql = format!(
        "SELECT {COLUMNS} FROM config_audit_log WHERE {condition} ORDER BY id DESC \
         LIMIT ${} OFFSET ${last}",
        last - 1
    );
    let rows = client.query_typed(&sql, &borrowed(&parameters)).await?;
    rows.iter().map(read).collect()
}

/// How many rows are asked for.
pub(crate) async fn count(client: &ClientWrapper, filter: &ConfigAuditFilter) -> Step<u64> {
    let (condition, parameters) = condition(filter);
    let sql = format!("SELECT count(*) FROM config_audit_log WHERE {condition}");
    let row = client.query_typed_one(&sql, &borrowed(&parameters)).await?;
    Ok(row.try_get::<_, i64>(0)?.cast_unsigned())
}

/// The number of rows where the chain holds, else the number of the first row that does not fit:
/// that was changed, or that is missing.
pub(crate) async fn verify(client: &ClientWrapper) -> Step<std::result::Result<u64, i64>> {
    // One statement, so that rows written meanwhile do not count for one half only; rows come as
    // they are read, however many there are.
    let sql = format!(
        "SELECT {COLUMNS}, last_id FROM (SELECT id AS last_id FROM config_audit_head) AS head
         LEFT JOIN config_audit_log ON true ORDER BY id"
    );
    let none: [(&(dyn ToSql + Sync), Type); 0] = [];
    let rows = client.query_typed_raw(&sql, none).await?;
    pin_mut!(rows);
    let (mut count, mut last, mut previous, mut given) = (0, 0, String::new(), 0);
    while let Some(row) = rows.try_next().await? {
        given = row.try_get(12)?;
        if row.try_get::<_, Option<i64>>(0)?.is_none() {
            // There is the head alone.
            break;
        }
        let row = read(&row)?;
        if row.row_hash != row.chained_hash(&previous) {
            return Ok(Err(if row.id == last + 1 { row.id } else { last + 1 }));
        }
        (count, last, previous) = (count + 1, row.id, row.row_hash);
    }
    // The head remembers the highest number: the newest rows cannot go unseen.
    if given == last {
        Ok(Ok(count))
    } else {
        Ok(Err(given.min(last) + 1))
    }
}
