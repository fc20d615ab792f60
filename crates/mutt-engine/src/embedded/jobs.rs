//! Jobs that people ordered: a row each.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::params;

use super::{Embedded, config_audit};
use crate::error::Result;
use crate::jobs::{JOBS_FORGOTTEN, JOBS_REMEMBERED, Jobs, SavedJob};

#[async_trait]
impl Jobs for Embedded {
    async fn save_job(&self, id: &str, says: &str, ended: bool) -> Result<bool> {
        let (id, says) = (id.to_owned(), says.to_owned());
        self.writer
            .run(move |tx| {
                let now = config_audit::now().as_microsecond();
                let stopping = tx
                    .prepare_cached(
                        "INSERT INTO jobs (id, says, saved_at, ended) VALUES (?1, ?2, ?3, ?4)
                         ON CONFLICT DO UPDATE SET says = excluded.says,
                             saved_at = excluded.saved_at, ended = excluded.ended
                         RETURNING stopping",
                    )?
                    .query_row(params![id, says, now, ended], |row| row.get(0))?;
                if ended {
                    let forgotten = i64::try_from(JOBS_FORGOTTEN.as_micros()).unwrap_or(i64::MAX);
                    tx.prepare_cached(
                        "DELETE FROM jobs WHERE saved_at < ?1 OR id IN (
                             SELECT id FROM jobs WHERE ended ORDER BY id DESC LIMIT -1 OFFSET ?2)",
                    )?
                    .execute(params![
                        now.saturating_sub(forgotten),
                        i64::try_from(JOBS_REMEMBERED).unwrap_or(i64::MAX)
                    ])?;
                }
                Ok(stopping)
            })
            .await
    }

    async fn saved_jobs(&self) -> Result<Vec<SavedJob>> {
        self.readers
            .run(move |conn| {
                let now = config_audit::now().as_microsecond();
                let mut statement = conn.prepare_cached(
                    "SELECT id, says, saved_at, stopping FROM jobs ORDER BY id DESC",
                )?;
                let rows = statement.query_map([], |row| {
                    let age = now.saturating_sub(row.get(2)?).max(0);
                    Ok(SavedJob {
                        id: row.get(0)?,
                        says: row.get(1)?,
                        age: Duration::from_micros(age.cast_unsigned()),
                        stopping: row.get(3)?,
                    })
                })?;
                Ok(rows.collect::<rusqlite::Result<_>>()?)
            })
            .await
    }

    async fn stop_job(&self, id: &str) -> Result<bool> {
        let id = id.to_owned();
        self.writer
            .run(move |tx| {
                let found = tx
                    .prepare_cached("UPDATE jobs SET stopping = 1 WHERE id = ?1")?
                    .execute([id])?;
                Ok(found > 0)
            })
            .await
    }
}
