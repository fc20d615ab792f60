//! The engine that needs no server: one SQLite database in a data directory.
//!
//! One process is the server of a directory (a file lock says which) and alone claims events and
//! alerts; command-line tools may work beside it on everything else. What is acknowledged is on the
//! disk; what is claimed is known in memory only, because claims end with the process.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use parking_lot::Mutex;
use rusqlite::Connection;

use crate::error::{EngineError, Result};

mod alert_state;
mod alerts;
mod audit;
mod audit_index;
mod blocks;
mod catalog;
mod checkpoint;
mod config;
mod config_audit;

mod counters;
mod dead_letter_search;
mod dead_letters;
mod decide;
mod event_state;
mod events;
mod flow;
mod foreign;
mod hosts;
mod inbox;
mod jobs;
mod keys;
mod live;
mod readers;
mod rules;
mod schema;
mod sessions;
mod shared;
mod storage;
mod unhandled;
mod upkeep;
mod workers;
mod writer;

#[cfg(test)]
mod tests;

use readers::Readers;
use shared::Shared;
use storage::{DirectoryLock, Purpose};
use writer::Writer;

/// How a process uses a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The one process that takes in, decides and delivers.
    Server,
    /// Beside a server or without one: rules, configuration, dead letters, audit, status. Claims
    /// nothing.
    Tool,
}

/// The embedded engine. Cheap to share; dropping the last reference without
/// [`crate::Workers::close`] is what a crash would do: nothing that was acknowledged is lost.
pub struct Embedded {
    mode: Mode,
    directory: PathBuf,
    // Fields are dropped in this order: the writer ends before the lock goes.
    writer: Writer,
    readers: Readers,
    /// For claims alone, so that people's long queries never hold the pipeline up.
    claim_readers: Readers,
    /// For keys and sessions, which no slow search may hold up.
    access_readers: Readers,
    shared: Arc<Shared>,
    flow: Arc<flow::State>,
    workers: workers::Registry,
    lock: Mutex<Option<DirectoryLock>>,
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded")
            .field("mode", &self.mode)
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

impl Embedded {
    /// Opens the database in `directory`; makes both where they are missing, and brings an older
    /// database up to date. Blocks for some milliseconds, longer where very much waits.
    ///
    /// # Errors
    /// `Unusable` where another server uses the directory, the database is damaged or was written
    /// by a newer MUTT, or the directory cannot be written; the text says what to do.
    pub fn open(directory: &Path, mode: Mode) -> Result<Arc<Self>> {
        storage::create_directory(directory)?;
        let lock = match mode {
            Mode::Server => Some(DirectoryLock::take(directory)?),
            Mode::Tool => None,
        };
        Self::open_locked(directory, mode, lock)
            .map_err(|error| storage::while_opening(directory, error))
    }

    fn open_locked(directory: &Path, mode: Mode, lock: Option<DirectoryLock>) -> Result<Arc<Self>> {
        let purpose = match mode {
            Mode::Server => Purpose::Server,
            Mode::Tool => Purpose::Tool,
        };
        let conn = storage::open(directory, purpose)?;
        let version = schema::version(&conn)?;
        if mode == Mode::Tool && version < schema::LATEST {
            // A running server of an older version must not find its tables changed.
            let _alone = DirectoryLock::take(directory)?;
            schema::migrate(&conn)?;
        } else {
            schema::migrate(&conn)?;
        }
        let shared = Arc::new(Shared::new(mode == Mode::Server));
        if mode == Mode::Server {
            let start = claims_of_this_start(&conn)?;
            shared.events.lock().start_claims_at(start);
            shared.alerts.lock().start_claims_at(start);
        }
        foreign::mark_announced(&conn, &shared)?;
        foreign::pick_up(&conn, &shared)?;
        unhandled::count_signatures(&conn, &shared)?;
        let flow = Arc::new(flow::State::load(&conn, mode, version == 0)?);
        let directory = directory.to_owned();
        let writer = Writer::start(conn, directory.clone(), mode, Arc::clone(&shared))?;
        Ok(Arc::new(Self {
            mode,
            writer,
            readers: Readers::new(directory.clone(), 3),
            claim_readers: Readers::new(directory.clone(), 1),
            access_readers: Readers::new(directory.clone(), 1),
            directory,
            shared,
            flow,
            workers: workers::Registry::default(),
            lock: Mutex::new(lock),
        }))
    }

    /// Refuses what only a server does.
    fn server_only(&self, what: &str) -> Result<()> {
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(EngineError::Unavailable("the engine is closed".to_owned()));
        }
        match self.mode {
            Mode::Server => Ok(()),
            Mode::Tool => Err(EngineError::Invalid(format!(
                "{what} is for the server alone"
            ))),
        }
    }
}

/// The moment that a column holds. Columns are written from timestamps, so it is always in range;
/// the epoch stands for a damaged one.
fn timestamp(microseconds: i64) -> Timestamp {
    Timestamp::from_microsecond(microseconds).unwrap_or_default()
}

/// The number below the first claim of this start. Starts are counted on the disk, so that a claim
/// of an earlier start is never taken for one of this.
fn claims_of_this_start(conn: &Connection) -> Result<u64> {
    let starts: i64 = conn.query_row(
        "INSERT INTO facts (name, value) VALUES ('starts', 1)
         ON CONFLICT DO UPDATE SET value = value + 1 RETURNING value",
        [],
        |row| row.get(0),
    )?;
    Ok(starts.cast_unsigned() << 40)
}

/// Sets a fact that the tables keep.
fn set_fact(conn: &Connection, name: &str, value: i64) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO facts (name, value) VALUES (?1, ?2)
         ON CONFLICT DO UPDATE SET value = excluded.value",
    )?
    .execute((name, value))?;
    Ok(())
}
