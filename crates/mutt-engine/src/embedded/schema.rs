//! The tables of the embedded database and how an older file becomes a current one.
//!
//! Migrations only go forward: each is one transaction, `user_version` counts them, and a file that
//! a newer MUTT wrote is refused. Every timestamp is a whole number of microseconds since 1970 UTC;
//! that is a quarter of the text form in every index and needs no parsing.

use rusqlite::{Connection, OptionalExtension};

use crate::error::{EngineError, Result};

/// Stands in the file's header (`PRAGMA application_id`): "MUTT".
const APPLICATION_ID: i64 = 0x4D55_5454;

// One migration leads to each version.
const _: () = assert!(MIGRATIONS.len() as u64 == LATEST.unsigned_abs());

/// What each version added, oldest first. Never edit one that was released: add the next.
const MIGRATIONS: &[&str] = &[VERSION_1, VERSION_2, VERSION_3, VERSION_4, VERSION_5];

/// The schema version that this program writes.
pub(super) const LATEST: i64 = 5;

const VERSION_1: &str = "
-- Events that wait. A row is a block of events of one commit: `ends` (32-bit little-endian offsets)
-- says where each of them ends in `elements`. The small columns stand before the blobs so that
-- reading them does not touch the blobs' pages. AUTOINCREMENT: an id is never given twice, which
-- is how a repeated decision is recognised.
CREATE TABLE event_queue (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    enqueued_at INTEGER NOT NULL,
    count INTEGER NOT NULL,
    replays INTEGER NOT NULL DEFAULT 0,
    first_failed_at INTEGER,
    ends BLOB NOT NULL,
    elements BLOB NOT NULL
) STRICT;
-- Parts of a block that are decided while the rest of it still waits.
CREATE TABLE event_settled (
    block INTEGER NOT NULL,
    first INTEGER NOT NULL,
    past INTEGER NOT NULL,
    PRIMARY KEY (block, first)
) STRICT, WITHOUT ROWID;

-- Alerts that wait; with `due`, for their next attempt.
CREATE TABLE alert_queue (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    created_at INTEGER NOT NULL,
    due INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0,
    replays INTEGER NOT NULL DEFAULT 0,
    first_failed_at INTEGER,
    element BLOB NOT NULL
) STRICT;

CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    origin TEXT NOT NULL,
    reason TEXT NOT NULL,
    first_failed_at INTEGER NOT NULL,
    last_failed_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    replays INTEGER NOT NULL,
    detail TEXT NOT NULL,
    element BLOB NOT NULL
) STRICT;
CREATE INDEX dead_letters_queue ON dead_letters (queue);

-- Unmatched events: a row with an empty signature counts its host as a whole.
CREATE TABLE unhandled (
    hostname TEXT NOT NULL,
    signature TEXT NOT NULL,
    count INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    triggered_until INTEGER,
    masked TEXT,
    sample TEXT,
    PRIMARY KEY (hostname, signature)
) STRICT, WITHOUT ROWID;

-- Accepted events and rule matches by span: 0 minute, 1 hour, 2 day; `start` is the span's start.
CREATE TABLE accepted (
    span INTEGER NOT NULL,
    start INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (span, start)
) STRICT, WITHOUT ROWID;
CREATE TABLE rule_hits (
    span INTEGER NOT NULL,
    start INTEGER NOT NULL,
    rule_id INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (span, start, rule_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE circuits (
    name TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    failures INTEGER NOT NULL,
    opened_at INTEGER,
    probe_at INTEGER
) STRICT, WITHOUT ROWID;
-- Grants of rate limits, kept from an orderly close to the next start.
CREATE TABLE rate_grants (
    name TEXT NOT NULL,
    at INTEGER NOT NULL,
    count INTEGER NOT NULL
) STRICT;
CREATE TABLE workers (
    kind TEXT NOT NULL,
    pod TEXT NOT NULL,
    seen_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    held INTEGER NOT NULL,
    PRIMARY KEY (kind, pod)
) STRICT, WITHOUT ROWID;
-- Small facts: `audit_rows` (exact number of rows in event_audit_log), `audit_indexed` (up to which
-- of them event_audit_index goes), `reload` (when somebody asked for a reload of rules), `probe`
-- (last successful readiness probe), `starts` (of servers).
CREATE TABLE facts (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO facts VALUES ('audit_rows', 0), ('audit_indexed', 0), ('reload', 0), ('probe', 0);

CREATE TABLE alert_rules (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    match_string TEXT CHECK (length(match_string) <= 255),
    trap_oid TEXT CHECK (length(trap_oid) <= 255),
    syslog_severity INTEGER CHECK (syslog_severity BETWEEN 0 AND 7),
    match_type TEXT NOT NULL DEFAULT 'contains'
        CHECK (match_type IN ('contains', 'regex', 'oid_prefix')),
    priority INTEGER NOT NULL DEFAULT 100,
    prod_handling TEXT NOT NULL,
    dev_handling TEXT NOT NULL,
    team_assignment TEXT NOT NULL CHECK (length(team_assignment) <= 100),
    is_active INTEGER NOT NULL DEFAULT 1,
    mode TEXT NOT NULL DEFAULT 'enforce' CHECK (mode IN ('enforce', 'observe')),
    description TEXT,
    version INTEGER NOT NULL DEFAULT 1,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER,
    CHECK (match_string IS NOT NULL OR trap_oid IS NOT NULL)
) STRICT;
-- `hostname_key` is the lower-cased name: host names are told apart without regard to case.
CREATE TABLE development_hosts (
    hostname_key TEXT PRIMARY KEY,
    hostname TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE device_teams (
    hostname_key TEXT PRIMARY KEY,
    hostname TEXT NOT NULL,
    team_assignment TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE event_audit_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id BLOB NOT NULL,
    event_timestamp INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    hostname TEXT NOT NULL,
    source TEXT,
    syslog_severity INTEGER,
    trap_oid TEXT,
    environment TEXT NOT NULL,
    matched_rule_id INTEGER,
    rule_version INTEGER,
    handling_decision TEXT NOT NULL,
    team_assignment TEXT,
    forwarded_to_moog INTEGER NOT NULL,
    correlation_id TEXT NOT NULL,
    raw_message TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX event_audit_log_event ON event_audit_log (event_id, event_timestamp);
CREATE INDEX event_audit_log_time ON event_audit_log (event_timestamp);
-- Rows by host (kind 1, lower-cased), rule (2) and correlation id (3); filled behind the rows, in
-- large steps: see audit_index.rs.
CREATE TABLE event_audit_index (
    kind INTEGER NOT NULL,
    key ANY NOT NULL,
    id INTEGER NOT NULL,
    event_timestamp INTEGER NOT NULL,
    PRIMARY KEY (kind, key, id)
) STRICT, WITHOUT ROWID;
-- Counting millions of rows takes seconds; the number is kept. (Inserts add theirs in one step.)
CREATE TRIGGER event_audit_log_delete AFTER DELETE ON event_audit_log BEGIN
    UPDATE facts SET value = value - 1 WHERE name = 'audit_rows';
    DELETE FROM event_audit_index WHERE kind = 1 AND key = lower(OLD.hostname) AND id = OLD.id;
    DELETE FROM event_audit_index WHERE kind = 2 AND key = OLD.matched_rule_id AND id = OLD.id;
    DELETE FROM event_audit_index WHERE kind = 3 AND key = OLD.correlation_id AND id = OLD.id;
END;

CREATE TABLE delivery_log (
    id INTEGER PRIMARY KEY,
    event_id BLOB NOT NULL,
    sink TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    at INTEGER NOT NULL,
    status INTEGER,
    latency_ms REAL NOT NULL,
    error TEXT
) STRICT;
CREATE INDEX delivery_log_event ON delivery_log (event_id);

-- Append-only; each row's hash covers the row and the hash of the row before.
CREATE TABLE config_audit_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    changed_at INTEGER NOT NULL,
    changed_by TEXT NOT NULL,
    operation TEXT NOT NULL CHECK (operation IN ('CREATE', 'UPDATE', 'DELETE')),
    table_name TEXT NOT NULL,
    record_id INTEGER,
    record_key TEXT,
    old_values TEXT,
    new_values TEXT,
    reason TEXT,
    correlation_id TEXT,
    row_hash TEXT NOT NULL
) STRICT;
CREATE INDEX config_audit_log_record ON config_audit_log (table_name, record_id, record_key);
CREATE INDEX config_audit_log_time ON config_audit_log (changed_at);
CREATE INDEX config_audit_log_who ON config_audit_log (changed_by);
CREATE INDEX config_audit_log_correlation ON config_audit_log (correlation_id)
    WHERE correlation_id IS NOT NULL;
CREATE TRIGGER config_audit_log_no_update BEFORE UPDATE ON config_audit_log BEGIN
    SELECT RAISE(ABORT, 'config_audit_log is append-only');
END;
CREATE TRIGGER config_audit_log_no_delete BEFORE DELETE ON config_audit_log BEGIN
    SELECT RAISE(ABORT, 'config_audit_log is append-only');
END;

CREATE TABLE dynamic_config (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE api_keys (
    name TEXT PRIMARY KEY,
    hash TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    created_at INTEGER NOT NULL,
    last_used_at INTEGER,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE archive_manifest (
    id INTEGER PRIMARY KEY,
    table_name TEXT NOT NULL,
    month TEXT NOT NULL,
    location TEXT NOT NULL,
    row_count INTEGER NOT NULL,
    checksum TEXT NOT NULL,
    archived_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;
";

/// The version of the schema in this file; 0 where it is new.
///
/// # Errors
/// `Unusable` where the file is not MUTT's, or was written by a newer one.
pub(super) fn version(conn: &Connection) -> Result<i64> {
    let application: i64 = conn.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let version: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let has_tables = conn
        .query_row("SELECT 1 FROM sqlite_schema LIMIT 1", [], |_| Ok(()))
        .optional()?
        .is_some();
    if has_tables && application != APPLICATION_ID {
        return Err(EngineError::Unusable(
            "mutt.db is a SQLite database, but not one that MUTT made; give MUTT a data directory \
             of its own"
                .to_owned(),
        ));
    }
    if version > LATEST {
        return Err(EngineError::Unusable(format!(
            "mutt.db was written by a newer MUTT (schema version {version}; this one knows up to \
             {LATEST}); install that version again, or restore the backup made before the upgrade"
        )));
    }
    Ok(version)
}

/// Brings the schema to [`LATEST`]. Does nothing where it is there already.
///
/// # Errors
/// As [`version`]; `Unavailable` where the file cannot be written.
pub(super) fn migrate(conn: &Connection) -> Result<()> {
    while version(conn)? < LATEST {
        conn.execute_batch("BEGIN IMMEDIATE")?;
        let step = migrate_one(conn).and_then(|()| Ok(conn.execute_batch("COMMIT")?));
        if step.is_err() && !conn.is_autocommit() {
            // The error that matters is the first one.
            let _ = conn.execute_batch("ROLLBACK");
        }
        step?;
    }
    Ok(())
}

/// One step, looked at again under the write lock: another process may have made it meanwhile.
fn migrate_one(conn: &Connection) -> Result<()> {
    let version = version(conn)?;
    let step = usize::try_from(version)
        .ok()
        .and_then(|version| MIGRATIONS.get(version));
    if let Some(step) = step {
        conn.execute_batch(step)?;
        conn.pragma_update(None, "application_id", APPLICATION_ID)?;
        conn.pragma_update(None, "user_version", version + 1)?;
    }
    Ok(())
}

const VERSION_2: &str = "
-- What went well and what did not, by minute: the service level objectives.
CREATE TABLE outcomes (
    component TEXT NOT NULL,
    start INTEGER NOT NULL,
    good INTEGER NOT NULL,
    bad INTEGER NOT NULL,
    PRIMARY KEY (component, start)
) STRICT, WITHOUT ROWID;
";

const VERSION_3: &str = "
-- Events and alerts by what became of them, by minute: the charts.
CREATE TABLE flow_counts (
    start INTEGER NOT NULL,
    name TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (start, name)
) STRICT, WITHOUT ROWID;
";

const VERSION_4: &str = "
-- Browser sessions, by the hash of their token.
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY,
    token_hash TEXT NOT NULL UNIQUE,
    key_name TEXT NOT NULL,
    key_hash TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_key ON sessions (key_name, id);
CREATE INDEX sessions_end ON sessions (expires_at);
";

const VERSION_5: &str = "
-- Jobs that people ordered, as they stand.
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    says TEXT NOT NULL,
    saved_at INTEGER NOT NULL,
    ended INTEGER NOT NULL,
    stopping INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_gets_the_latest_schema_and_a_second_run_changes_nothing() {
        let conn = Connection::open_in_memory().unwrap();
        migrate(&conn).unwrap();
        assert_eq!(version(&conn).unwrap(), LATEST);
        migrate(&conn).unwrap();
        let tables: i64 = conn
            .query_row(
                "SELECT count(*) FROM sqlite_schema WHERE name = 'event_queue'",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(tables, 1);
    }

    #[test]
    fn newer_and_foreign_files_are_refused() {
        let conn = Connection::open_in_memory().unwrap();
        migrate(&conn).unwrap();
        conn.pragma_update(None, "user_version", LATEST + 1)
            .unwrap();
        let error = migrate(&conn).unwrap_err();
        assert!(matches!(&error, EngineError::Unusable(text) if text.contains("newer MUTT")));

        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE notes (text TEXT)")
            .unwrap();
        let error = migrate(&conn).unwrap_err();
        assert!(
            matches!(&error, EngineError::Unusable(text) if text.contains("not one that MUTT"))
        );
    }

    #[test]
    fn the_number_of_audit_rows_follows_deletions() {
        let conn = Connection::open_in_memory().unwrap();
        migrate(&conn).unwrap();
        conn.execute_batch(
            "INSERT INTO event_audit_log (event_id, event_timestamp, received_at, hostname,
                 environment, handling_decision, forwarded_to_moog, correlation_id, raw_message)
             VALUES (x'01', 1, 1, 'h', 'production', 'Ignore', 0, '', '{}');
             UPDATE facts SET value = value + 1 WHERE name = 'audit_rows';
             DELETE FROM event_audit_log;",
        )
        .unwrap();
        let count: i64 = conn
            .query_row(
                "SELECT value FROM facts WHERE name = 'audit_rows'",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(count, 0);
    }
}
