//! Browser sessions: a row each, which is removed when somebody starts another after its end.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Embedded, config_audit};
use crate::error::Result;
use crate::sessions::{NewSession, SESSIONS_PER_KEY, Session, Sessions, checked_session};

fn start(tx: &Connection, new: NewSession, now: Timestamp, ends: Timestamp) -> Result<Session> {
    tx.prepare_cached("DELETE FROM sessions WHERE expires_at <= ?1")?
        .execute([now.as_microsecond()])?;
    tx.prepare_cached(
        "INSERT INTO sessions (token_hash, key_name, key_hash, started_at, seen_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?4, ?5)",
    )?
    .execute(params![
        new.token_hash,
        new.key_name,
        new.key_hash,
        now.as_microsecond(),
        ends.as_microsecond()
    ])?;
    tx.prepare_cached(
        "DELETE FROM sessions WHERE id IN
             (SELECT id FROM sessions WHERE key_name = ?1 ORDER BY id DESC LIMIT -1 OFFSET ?2)",
    )?
    .execute(params![
        new.key_name,
        i64::try_from(SESSIONS_PER_KEY).unwrap_or(i64::MAX)
    ])?;
    Ok(Session {
        key_name: new.key_name,
        key_hash: new.key_hash,
        started_at: now,
        seen_at: now,
        expires_at: ends,
    })
}

#[async_trait]
impl Sessions for Embedded {
    async fn start_session(&self, new: NewSession) -> Result<Session> {
        let now = config_audit::now();
        let ends = checked_session(&new, now)?;
        self.writer.run(move |tx| start(tx, new, now, ends)).await
    }

    async fn session(&self, token_hash: &str) -> Result<Option<Session>> {
        let token_hash = token_hash.to_owned();
        self.access_readers
            .run(move |conn| {
                let now = config_audit::now().as_microsecond();
                Ok(conn
                    .prepare_cached(
                        "SELECT key_name, key_hash, started_at, seen_at, expires_at FROM sessions
                         WHERE token_hash = ?1 AND expires_at > ?2",
                    )?
                    .query_row(params![token_hash, now], |row| {
                        Ok(Session {
                            key_name: row.get(0)?,
                            key_hash: row.get(1)?,
                            started_at: super::timestamp(row.get(2)?),
                            seen_at: super::timestamp(row.get(3)?),
                            expires_at: super::timestamp(row.get(4)?),
                        })
                    })
                    .optional()?)
            })
            .await
    }

    async fn session_seen(&self, token_hash: &str) -> Result<()> {
        let token_hash = token_hash.to_owned();
        self.writer
            .run(move |tx| {
                tx.prepare_cached("UPDATE sessions SET seen_at = ?2 WHERE token_hash = ?1")?
                    .execute(params![token_hash, config_audit::now().as_microsecond()])?;
                Ok(())
            })
            .await
    }

    async fn end_session(&self, token_hash: &str) -> Result<()> {
        let token_hash = token_hash.to_owned();
        self.writer
            .run(move |tx| {
                tx.prepare_cached("DELETE FROM sessions WHERE token_hash = ?1")?
                    .execute([token_hash])?;
                Ok(())
            })
            .await
    }
}
