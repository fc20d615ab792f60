//! What the writer removes once a minute because its time is over.

use jiff::Timestamp;
use rusqlite::Connection;

use super::shared::Shared;
use super::{counters, unhandled};
use crate::error::Result;

/// Removes expired counters and worker signs in one transaction.
pub(super) fn prune(conn: &Connection, shared: &Shared) -> Result<()> {
    let now = Timestamp::now();
    conn.execute_batch("BEGIN IMMEDIATE")?;
    counters::prune(conn, now)?;
    unhandled::prune(conn, shared, now)?;
    conn.prepare_cached("DELETE FROM workers WHERE expires_at < ?1")?
        .execute([now.as_microsecond()])?;
    conn.execute_batch("COMMIT")?;
    Ok(())
}
