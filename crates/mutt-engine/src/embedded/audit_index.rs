//! Finding audit rows by host, rule and correlation id.
//!
//! An ordinary index over hosts touches a page per host in every commit: with a thousand hosts that
//! is many times the rows themselves. So rows are indexed behind, thousands at a time in the order
//! of the index: a thread of its own reads and sorts them, the writer puts them in piecemeal within
//! its commits. A query walks the index up to [`INDEXED`] and looks through the newer rows itself.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;
use rusqlite::types::Value;

use super::storage::{self, Purpose};
use crate::error::{EngineError, Result};

/// How many rows are indexed at a time. More make it cheaper per row and queries slower.
const CHUNK: i64 = 20_000;
/// How long a commit may be drawn out by indexing while not many chunks wait.
const SLICE: Duration = Duration::from_millis(2);

/// The fact that says up to which row (inclusive) everything is indexed.
pub(super) const INDEXED: &str = "audit_indexed";

/// What a row is found by; the numbers stand in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Host = 1,
    Rule = 2,
    Correlation = 3,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Number(i64),
    Text(Box<str>),
}

impl rusqlite::ToSql for Key {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        match self {
            Self::Number(number) => number.to_sql(),
            Self::Text(text) => text.to_sql(),
        }
    }
}

/// An entry of the index; ordered as the index is.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    kind: Kind,
    key: Key,
    id: i64,
    event_timestamp: i64,
}

/// The entries of the rows above `after` up to `until`, in the order of the index.
fn collect(conn: &Connection, after: i64, until: i64) -> Result<Vec<Entry>> {
    let mut statement = conn.prepare_cached(
        "SELECT id, event_timestamp, lower(hostname), matched_rule_id, correlation_id
         FROM event_audit_log WHERE id > ?1 AND id <= ?2",
    )?;
    let mut rows = statement.query([after, until])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, event_timestamp) = (row.get(0)?, row.get(1)?);
        let mut add = |kind, key| {
            entries.push(Entry {
                kind,
                key,
                id,
                event_timestamp,
            });
        };
        add(Kind::Host, Key::Text(row.get(2)?));
        if let Some(rule) = row.get(3)? {
            add(Kind::Rule, Key::Number(rule));
        }
        let correlation: Box<str> = row.get(4)?;
        if !correlation.is_empty() {
            add(Kind::Correlation, Key::Text(correlation));
        }
    }
    entries.sort_unstable();
    Ok(entries)
}

/// Writes entries until `deadline`; the number written. One whose row was deleted meanwhile is left
/// out: nothing of an erased row may stay.
fn write(conn: &Connection, entries: &[Entry], deadline: Option<Instant>) -> Result<usize> {
    let mut statement = conn.prepare_cached(
        "INSERT OR IGNORE INTO event_audit_index (kind, key, id, event_timestamp)
         SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM event_audit_log WHERE id = ?3)",
    )?;
    for (index, entry) in entries.iter().enumerate() {
        if index % 64 == 0 && deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(index);
        }
        statement.execute((
            entry.kind as i64,
            &entry.key,
            entry.id,
            entry.event_timestamp,
        ))?;
    }
    Ok(entries.len())
}

/// A chunk on its way into the index.
#[derive(Debug)]
struct Chunk {
    entries: Vec<Entry>,
    until: i64,
    /// Entries that are written for good, and in the transaction that is open.
    done: usize,
    pending: usize,
}

#[derive(Debug, Default)]
struct Desk {
    order: Option<(i64, i64)>,
    ready: Option<Chunk>,
    stop: bool,
}

/// The writer's side of the thread that reads and sorts.
pub(super) struct Indexer {
    desk: Arc<(Mutex<Desk>, Condvar)>,
    thread: Option<JoinHandle<()>>,
    /// The thread is at work, or its chunk is.
    busy: bool,
    chunk: Option<Chunk>,
    /// Rows that were not indexed when that was last looked at.
    behind: i64,
}

impl Indexer {
    /// Starts the thread; it opens its connection when it is first needed.
    pub(super) fn start(directory: &Path) -> Result<Self> {
        let desk = Arc::new((Mutex::new(Desk::default()), Condvar::new()));
        let (theirs, directory) = (Arc::clone(&desk), directory.to_owned());
        let thread = std::thread::Builder::new()
            .name("mutt-indexer".to_owned())
            .spawn(move || run(&directory, &theirs))
            .map_err(|error| {
                EngineError::Unavailable(format!("the indexing thread cannot be started: {error}"))
            })?;
        Ok(Self {
            desk,
            thread: Some(thread),
            busy: false,
            chunk: None,
            behind: 0,
        })
    }

    /// Whether something is ready to be written.
    pub(super) fn has_work(&self) -> bool {
        self.chunk.is_some()
    }

    /// Called between commits: fetches what is ready, and orders the next chunk where enough rows
    /// wait, or any wait and there is nothing else to do.
    pub(super) fn step(&mut self, conn: &Connection, is_idle: bool) -> Result<()> {
        if self.busy {
            if self.chunk.is_none() {
                let mut desk = self.desk.0.lock();
                self.chunk = desk.ready.take();
                // Reading failed where there is neither an order nor a chunk: order again.
                self.busy = self.chunk.is_some() || desk.order.is_some();
            }
            return Ok(());
        }
        let (indexed, last): (i64, i64) = conn
            .prepare_cached(
                "SELECT value, (SELECT coalesce(max(id), 0) FROM event_audit_log)
                 FROM facts WHERE name = ?1",
            )?
            .query_row([INDEXED], |row| Ok((row.get(0)?, row.get(1)?)))?;
        self.behind = last - indexed;
        if self.behind >= if is_idle { 1 } else { CHUNK } {
            self.busy = true;
            self.desk.0.lock().order = Some((indexed, last.min(indexed + CHUNK)));
            self.desk.1.notify_one();
        }
        Ok(())
    }

    /// Writes a piece of the chunk that is ready, on the open transaction.
    pub(super) fn slice(&mut self, tx: &Connection) -> Result<()> {
        let Some(chunk) = &mut self.chunk else {
            return Ok(());
        };
        // The further behind, the more time it gets, so that it keeps up in the end.
        let times = u32::try_from(self.behind / CHUNK).unwrap_or(1).clamp(1, 16);
        let deadline = Instant::now() + SLICE * times;
        chunk.pending += write(tx, &chunk.entries[chunk.done..], Some(deadline))?;
        if chunk.done + chunk.pending == chunk.entries.len() {
            super::set_fact(tx, INDEXED, chunk.until)?;
        }
        Ok(())
    }

    /// The transaction ended.
    pub(super) fn ended(&mut self, committed: bool) {
        let Some(chunk) = &mut self.chunk else { return };
        let written = std::mem::take(&mut chunk.pending);
        if committed {
            chunk.done += written;
            if chunk.done == chunk.entries.len() {
                self.chunk = None;
                self.busy = false;
            }
        }
    }
}

impl Drop for Indexer {
    fn drop(&mut self) {
        self.desk.0.lock().stop = true;
        self.desk.1.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there was reported when it happened.
            let _ = thread.join();
        }
    }
}

fn run(directory: &Path, desk: &(Mutex<Desk>, Condvar)) {
    let mut conn = None;
    loop {
        let (after, until) = {
            let mut state = desk.0.lock();
            loop {
                if state.stop {
                    return;
                }
                if let Some(order) = state.order {
                    break order;
                }
                desk.1.wait(&mut state);
            }
        };
        let entries = read(&mut conn, directory, after, until);
        let mut state = desk.0.lock();
        state.order = None;
        match entries {
            Ok(entries) => {
                state.ready = Some(Chunk {
                    entries,
                    until,
                    done: 0,
                    pending: 0,
                });
            }
            Err(error) => {
                tracing::warn!(%error, "reading audit rows for their index failed; it is tried again");
                conn = None;
            }
        }
    }
}

fn read(
    conn: &mut Option<Connection>,
    directory: &Path,
    after: i64,
    until: i64,
) -> Result<Vec<Entry>> {
    if conn.is_none() {
        *conn = Some(storage::open(directory, Purpose::Read)?);
    }
    let conn = conn.as_ref().expect("it was opened above");
    collect(conn, after, until)
}

/// Indexes everything at once.
#[cfg(test)]
pub(super) fn index_all(conn: &Connection) -> Result<()> {
    let last = conn.query_row(
        "SELECT coalesce(max(id), 0) FROM event_audit_log",
        [],
        |row| row.get(0),
    )?;
    let entries = collect(conn, 0, last)?;
    write(conn, &entries, None)?;
    super::set_fact(conn, INDEXED, last)
}

/// The key of a host in the index.
pub(super) fn host_key(hostname: &str) -> Value {
    Value::from(hostname.to_ascii_lowercase())
}
