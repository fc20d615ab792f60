//! Which dead letters a filter means. What the columns say is asked of SQLite; what only the message
//! says is looked at row by row, by the filter itself, so that every engine means the same entries.

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};
use serde_json::json;

use super::timestamp;
use crate::dead_letters::{DeadLetterFilter, Dlq, DlqEntry, LetterGroup, LetterGroups, Reason};
use crate::error::Result;

/// An entry as it is found: its number, and its element's length in bytes.
pub(super) type Found = (i64, u32);

/// A search in one queue.
pub(super) struct Search {
    filter: DeadLetterFilter,
    /// The conditions on columns; `None` where nothing can be meant.
    conditions: Option<(String, Vec<Value>)>,
}

impl Search {
    pub(super) fn new(queue: Dlq, filter: &DeadLetterFilter) -> Self {
        Self {
            filter: filter.clone(),
            conditions: conditions(queue, filter),
        }
    }

    /// Goes through the entries, oldest first, with these columns behind `reason`, `detail`,
    /// `last_failed_at` and the element (empty where the filter does not need it and it is not
    /// asked for), until `take` has enough.
    fn each<T>(
        &self,
        conn: &Connection,
        columns: &str,
        with_element: bool,
        mut take: impl FnMut(&Row<'_>) -> rusqlite::Result<Option<T>>,
    ) -> Result<Option<T>> {
        let Some((conditions, values)) = &self.conditions else {
            return Ok(None);
        };
        let element = if with_element || self.filter.reads_messages() {
            "element"
        } else {
            "x''"
        };
        let sql = format!(
            "SELECT reason, detail, last_failed_at, {element}{columns}
             FROM dead_letters WHERE {conditions} ORDER BY id"
        );
        let mut statement = conn.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            if is_meant(&self.filter, row)?
                && let Some(result) = take(row)?
            {
                return Ok(Some(result));
            }
        }
        Ok(None)
    }

    /// Every entry.
    pub(super) fn meant(&self, conn: &Connection) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        self.each(conn, ", id, length(element)", false, |row| {
            found.push((row.get(4)?, row.get(5)?));
            Ok(None::<()>)
        })?;
        Ok(found)
    }

    /// Entries from `offset`, at most `limit`.
    pub(super) fn entries(
        &self,
        conn: &Connection,
        offset: u64,
        limit: usize,
    ) -> Result<Vec<DlqEntry>> {
        let (mut skip, mut entries) = (offset, Vec::new());
        if limit == 0 {
            return Ok(entries);
        }
        let columns = ", id, queue, origin, first_failed_at, attempts, replays";
        self.each(conn, columns, true, |row| {
            if skip > 0 {
                skip -= 1;
                return Ok(None);
            }
            entries.push(entry(row)?);
            Ok((entries.len() == limit).then_some(()))
        })?;
        Ok(entries)
    }

    /// The ids of entries from `offset`, at most `limit`.
    pub(super) fn ids(&self, conn: &Connection, offset: u64, limit: usize) -> Result<Vec<String>> {
        let (mut skip, mut ids) = (offset, Vec::new());
        if limit == 0 {
            return Ok(ids);
        }
        self.each(conn, ", id", false, |row| {
            if skip > 0 {
                skip -= 1;
                return Ok(None);
            }
            ids.push(row.get::<_, i64>(4)?.to_string());
            Ok((ids.len() == limit).then_some(()))
        })?;
        Ok(ids)
    }

    /// Entries by reason and status; the `most` oldest of the queue are looked at.
    pub(super) fn groups(&self, conn: &Connection, most: u64) -> Result<Vec<LetterGroup>> {
        let mut groups = LetterGroups::default();
        let bounded = self.bounded(conn, most)?;
        let search = bounded.as_ref().unwrap_or(self);
        search.each(conn, "", false, |row| {
            let at = Some(timestamp(row.get(2)?));
            groups.add(reason(row)?, row.get_ref(1)?.as_str()?, at);
            Ok(None::<()>)
        })?;
        Ok(groups.finish())
    }

    /// This search among the `most` oldest entries of the queue; `None` where it has no more.
    fn bounded(&self, conn: &Connection, most: u64) -> Result<Option<Self>> {
        use rusqlite::OptionalExtension as _;
        let (Some((conditions, values)), Ok(most)) = (&self.conditions, i64::try_from(most)) else {
            return Ok(None);
        };
        let queue = values.first().cloned().unwrap_or(Value::Null);
        let past: Option<i64> = conn
            .prepare_cached(
                "SELECT id FROM dead_letters WHERE queue = ? ORDER BY id LIMIT 1 OFFSET ?",
            )?
            .query_row(rusqlite::params![queue, most], |row| row.get(0))
            .optional()?;
        Ok(past.map(|past| {
            let mut values = values.clone();
            values.push(Value::from(past));
            Self {
                filter: self.filter.clone(),
                conditions: Some((format!("{conditions} AND id < ?"), values)),
            }
        }))
    }
}

/// The conditions for a filter, with their parameters, the queue first; `None` where nothing can be
/// meant.
fn conditions(queue: Dlq, filter: &DeadLetterFilter) -> Option<(String, Vec<Value>)> {
    let mut sql = "queue = ?".to_owned();
    let mut values = vec![Value::from(queue.name().to_owned())];
    let mut and = |condition: &str, value: Value| {
        sql.push_str(" AND ");
        sql.push_str(condition);
        values.push(value);
    };
    if let Some(ids) = &filter.ids {
        let ids: Vec<i64> = ids.iter().filter_map(|id| id.parse().ok()).collect();
        if ids.is_empty() {
            return None;
        }
        let ids = Value::from(json!(ids).to_string());
        and("id IN (SELECT value FROM json_each(?))", ids);
    }
    if let Some(reason) = filter.reason {
        and("reason = ?", Value::from(reason.name().to_owned()));
    }
    if let Some(text) = &filter.text {
        let text = Value::from(text.clone().into_bytes());
        and("instr(element, ?) > 0", text);
    }
    if let Some(since) = filter.since {
        and("last_failed_at >= ?", since.as_microsecond().into());
    }
    if let Some(until) = filter.until {
        // A filter's time may be finer than a stored one: the filter itself has the last word.
        and("last_failed_at <= ?", until.as_microsecond().into());
    }
    Some((sql, values))
}

fn word<T>(row: &Row<'_>, column: usize, read: impl Fn(&str) -> Option<T>) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    read(text).ok_or(rusqlite::Error::InvalidQuery)
}

/// Whether the filter means the entry behind the first four columns.
fn is_meant(filter: &DeadLetterFilter, row: &Row<'_>) -> rusqlite::Result<bool> {
    Ok(filter.means(
        reason(row)?,
        row.get_ref(1)?.as_str()?,
        Some(timestamp(row.get(2)?)),
        row.get_ref(3)?.as_blob()?,
    ))
}

/// The queue that a column names.
pub(super) fn queue_in(row: &Row<'_>, column: usize) -> rusqlite::Result<Dlq> {
    word(row, column, Dlq::from_name)
}

fn reason(row: &Row<'_>) -> rusqlite::Result<Reason> {
    word(row, 0, Reason::from_name)
}

fn entry(row: &Row<'_>) -> rusqlite::Result<DlqEntry> {
    let element: Vec<u8> = row.get(3)?;
    Ok(DlqEntry {
        reason: reason(row)?,
        detail: row.get(1)?,
        last_failed_at: timestamp(row.get(2)?),
        id: row.get::<_, i64>(4)?.to_string(),
        queue: queue_in(row, 5)?,
        origin: queue_in(row, 6)?,
        first_failed_at: timestamp(row.get(7)?),
        attempts: row.get(8)?,
        replays: row.get(9)?,
        message: String::from_utf8(element)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
    })
}
