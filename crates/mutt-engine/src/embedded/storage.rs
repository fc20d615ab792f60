//! The files of the embedded engine: the directory, its lock, how a connection is opened, and what
//! an error of SQLite means to a caller.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::error::{EngineError, Result};

/// The database's file name in the data directory.
pub(super) const DATABASE: &str = "mutt.db";
const LOCK: &str = "mutt.lock";

/// How long a writer waits for another process to finish its transaction.
const BUSY: Duration = Duration::from_secs(5);

/// Large pages make the index trees shallow and long blobs cheap; see `examples/engine_bench.rs`.
pub(super) const PAGE_SIZE: i32 = 8192;

/// Makes the data directory where it is missing: only its owner may look into it.
pub(super) fn create_directory(directory: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory).map_err(|error| {
        EngineError::Unusable(format!(
            "the data directory {} cannot be made: {error}",
            directory.display()
        ))
    })
}

fn private_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// The right to be the one server on a data directory. The operating system takes it back when the
/// process ends, however it ends.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Takes the lock and leaves this process's number for whoever comes second.
    ///
    /// # Errors
    /// `Unusable` says which process holds it, or why it cannot be taken.
    pub(super) fn take(directory: &Path) -> Result<Self> {
        let path = directory.join(LOCK);
        let unusable = |error: std::io::Error| {
            EngineError::Unusable(format!("{} cannot be written: {error}", path.display()))
        };
        let mut file = private_file(&path).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                let holder = match holder.trim() {
                    "" => "another process".to_owned(),
                    pid => format!("the process {pid}"),
                };
                return Err(EngineError::Unusable(format!(
                    "the data directory {} is in use by {holder}; stop that MUTT or choose another \
                     directory",
                    directory.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        file.set_len(0).map_err(unusable)?;
        file.rewind().map_err(unusable)?;
        writeln!(file, "{}", std::process::id()).map_err(unusable)?;
        Ok(Self { _file: file })
    }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The one writing connection of a server.
    Server,
    /// The writing connection of a tool beside a server.
    Tool,
    /// Reading only.
    Read,
    /// Copying the write-ahead log back into the database.
    Checkpoint,
}

/// Opens the database in `directory` for a purpose.
pub(super) fn open(directory: &Path, purpose: Purpose) -> Result<Connection> {
    let path = directory.join(DATABASE);
    let flags = match purpose {
        Purpose::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
        Purpose::Checkpoint => OpenFlags::SQLITE_OPEN_READ_WRITE,
        Purpose::Server | Purpose::Tool => {
            // SQLite gives its other files the mode of this one.
            private_file(&path).map_err(|error| {
                EngineError::Unusable(format!("{} cannot be written: {error}", path.display()))
            })?;
            OpenFlags::SQLITE_OPEN_READ_WRITE
        }
    } | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(&path, flags)?;
    configure(&mut conn, purpose).map_err(|error| at(&path, error))?;
    Ok(conn)
}

fn configure(conn: &mut Connection, purpose: Purpose) -> rusqlite::Result<()> {
    conn.busy_timeout(BUSY)?;
    conn.set_prepared_statement_cache_capacity(128);
    if purpose != Purpose::Read {
        conn.pragma_update(None, "page_size", PAGE_SIZE)?;
        conn.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        // Every commit is on the disk when it returns.
        conn.pragma_update(None, "synchronous", "full")?;
        conn.pragma_update(None, "foreign_keys", true)?;
        // The log is copied back by the checkpointer, not within somebody's commit.
        conn.pragma_update(None, "wal_autocheckpoint", 0)?;
        conn.pragma_update(None, "journal_size_limit", 64 << 20)?;
    }
    // Memory-mapped files turn a read error into a crash.
    conn.pragma_update(None, "mmap_size", 0)?;
    conn.pragma_update(None, "temp_store", "memory")?;
    // Negative: KiB.
    let cache = match purpose {
        Purpose::Server => -64 << 10,
        Purpose::Tool | Purpose::Read => -4 << 10,
        Purpose::Checkpoint => -1 << 10,
    };
    conn.pragma_update(None, "cache_size", cache)?;
    Ok(())
}

/// What an error while opening means: here nothing can be tried again later, so it says what to do.
fn at(path: &Path, error: rusqlite::Error) -> EngineError {
    let path: PathBuf = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            EngineError::Unusable(format!(
                "{0} is damaged or not a database ({error}); stop MUTT, move {0} away together with its \
             -wal and -shm files, then restore a backup, or save what can be read with: sqlite3 \
             <moved file> .recover | sqlite3 {0}",
                path.display()
            ))
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            EngineError::Unusable(format!(
                "{} cannot be opened for writing ({error}); give the user that runs MUTT the right \
                 to write it and its directory",
                path.display()
            ))
        }
        _ => error.into(),
    }
}

/// Says what to do about a damaged file while the database is opened.
pub(super) fn while_opening(directory: &Path, error: EngineError) -> EngineError {
    match error {
        EngineError::Unavailable(text) if text.starts_with(DAMAGED) => {
            EngineError::Unusable(format!(
                "{}: {text}; stop MUTT, move mutt.db, mutt.db-wal and mutt.db-shm away, then restore a \
             backup, or save what can be read with: sqlite3 <moved file> .recover | sqlite3 mutt.db",
                directory.display()
            ))
        }
        other => other,
    }
}

const DAMAGED: &str = "the database is damaged";

impl From<rusqlite::Error> for EngineError {
    /// Whatever SQLite refuses is taken for a state of the store that may pass: what callers can do
    /// wrong is checked before it gets there.
    fn from(error: rusqlite::Error) -> Self {
        let lead = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => "the disk is full",
            Some(ErrorCode::ReadOnly) => "the database cannot be written",
            Some(ErrorCode::SystemIoFailure) => "reading or writing the database failed",
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                "another process holds the database"
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => DAMAGED,
            Some(ErrorCode::OutOfMemory) => "there is no memory left",
            Some(ErrorCode::OperationInterrupted) => "the query took too long and was stopped",
            Some(ErrorCode::CannotOpen) => "the database cannot be opened",
            _ => "the database refused",
        };
        let code = match &error {
            rusqlite::Error::SqliteFailure(failure, _) => {
                format!(", SQLite code {}", failure.extended_code)
            }
            _ => String::new(),
        };
        Self::Unavailable(format!("{lead} ({error}{code})"))
    }
}
