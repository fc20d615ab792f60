//! What other processes changed: a command-line tool works on the same database beside the server.
//!
//! Tools add events and alerts (replays) and change configuration; they never take away what can
//! be claimed. SQLite tells cheaply whether another connection committed anything.

use std::sync::atomic::Ordering;

use rusqlite::Connection;

use super::shared::Shared;
use super::{alerts, blocks, dead_letters};
use crate::dynamic::CONFIG_TABLE;
use crate::error::Result;
use crate::live::Changed;

/// Picks up what was changed since the last look. `data_version` is the caller's memory of it.
pub(super) fn look(conn: &Connection, shared: &Shared, data_version: &mut i64) -> Result<()> {
    let now: i64 = conn
        .prepare_cached("PRAGMA data_version")?
        .query_row([], |row| row.get(0))?;
    if now != *data_version {
        pick_up(conn, shared)?;
        *data_version = now;
    }
    Ok(())
}

/// Loads everything that is newer than what is known; at the start that is everything.
pub(super) fn pick_up(conn: &Connection, shared: &Shared) -> Result<()> {
    if shared.claims {
        let last = shared.events.lock().last_block();
        let parts = blocks::waiting(conn, last)?;
        if !parts.is_empty() {
            blocks::add(shared, parts);
        }
        let last = shared.alerts.lock().last_id();
        let waiting = alerts::waiting(conn, last)?;
        if !waiting.is_empty() {
            shared.with_alerts(|alerts| {
                for mut alert in waiting {
                    alert.due = alert.due.map(|due| shared.clock.at_written(due));
                    alerts.add(alert);
                }
            });
        }
    }
    dead_letters::count(conn, shared)?;
    announce(conn, shared)
}

/// Takes what stands in the database as known, so that a start announces nothing.
pub(super) fn mark_announced(conn: &Connection, shared: &Shared) -> Result<()> {
    let last = conn.query_row(
        "SELECT coalesce(max(id), 0) FROM config_audit_log",
        [],
        |row| row.get(0),
    )?;
    shared.announced.0.store(last, Ordering::Relaxed);
    shared.announced.1.store(reload(conn)?, Ordering::Relaxed);
    Ok(())
}

fn reload(conn: &Connection) -> Result<i64> {
    Ok(conn
        .prepare_cached("SELECT value FROM facts WHERE name = 'reload'")?
        .query_row([], |row| row.get(0))?)
}

/// Every change has its row in `config_audit_log`, so that table says what to announce. (A change
/// of this process may be announced twice that way, which makes somebody load something again.)
fn announce(conn: &Connection, shared: &Shared) -> Result<()> {
    let mut catalog = false;
    let requested = reload(conn)?;
    if shared.announced.1.swap(requested, Ordering::Relaxed) != requested {
        catalog = true;
    }
    let mut statement = conn.prepare_cached(
        "SELECT id, table_name, record_key FROM config_audit_log WHERE id > ?1 ORDER BY id",
    )?;
    let mut rows = statement.query([shared.announced.0.load(Ordering::Relaxed)])?;
    while let Some(row) = rows.next()? {
        shared.announced.0.store(row.get(0)?, Ordering::Relaxed);
        match row.get_ref(1)?.as_str().unwrap_or_default() {
            CONFIG_TABLE => {
                let key: Option<String> = row.get(2)?;
                shared.announce(Changed::Config(key.unwrap_or_default()));
            }
            "alert_rules" | "development_hosts" | "device_teams" => catalog = true,
            _ => {}
        }
    }
    if catalog {
        shared.announce(Changed::Catalog);
    }
    Ok(())
}
