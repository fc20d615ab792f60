//! Browser sessions, in Redis: every pod sees them, and they expire there by themselves. Where Redis
//! loses them people sign in again.

use std::collections::HashMap;

use async_trait::async_trait;
use jiff::Timestamp;
use mutt_engine::sessions::{SESSIONS_PER_KEY, checked_session};
use mutt_engine::{NewSession, Result, Session, Sessions};
use mutt_redis::redis;

use crate::engine::Distributed;
use crate::names::{KEY_SESSIONS, SESSION};
use crate::scripts;

fn session_key(token_hash: &str) -> String {
    format!("{SESSION}{token_hash}")
}

/// Now, as exact as µs.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

/// A session as it stands in Redis, where all of it is there.
fn read(mut fields: HashMap<String, String>) -> Option<Session> {
    let time = |name| {
        let micros = fields.get(name)?.parse().ok()?;
        Timestamp::from_microsecond(micros).ok()
    };
    let (started_at, seen_at, expires_at) =
        (time("started_at")?, time("seen_at")?, time("expires_at")?);
    Some(Session {
        key_name: fields.remove("key_name")?,
        key_hash: fields.remove("key_hash")?,
        started_at,
        seen_at,
        expires_at,
    })
}

#[async_trait]
impl Sessions for Distributed {
    async fn start_session(&self, new: NewSession) -> Result<Session> {
        let started_at = now();
        let expires_at = checked_session(&new, started_at)?;
        let session = session_key(&new.token_hash);
        let of_key = format!("{KEY_SESSIONS}{}", new.key_name);
        let mut call = scripts::START_SESSION.call(&[&session, &of_key]);
        let lifetime = u64::try_from(new.lifetime.as_millis()).unwrap_or(u64::MAX);
        call.arg(SESSION)
            .arg(&new.token_hash)
            .arg(&new.key_name)
            .arg(&new.key_hash)
            .arg(started_at.as_microsecond())
            .arg(expires_at.as_microsecond())
            .arg(lifetime.max(1))
            .arg(SESSIONS_PER_KEY);
        let _: i64 = self.shared.run(&scripts::START_SESSION, &call).await?;
        Ok(Session {
            key_name: new.key_name,
            key_hash: new.key_hash,
            started_at,
            seen_at: started_at,
            expires_at,
        })
    }

    async fn session(&self, token_hash: &str) -> Result<Option<Session>> {
        let mut command = redis::cmd("HGETALL");
        command.arg(session_key(token_hash));
        let fields = self.shared.call(&command).await?;
        // Its end is told by the clocks of Redis and of this pod: the earlier one counts.
        Ok(read(fields).filter(|session| session.expires_at > Timestamp::now()))
    }

    async fn session_seen(&self, token_hash: &str) -> Result<()> {
        let mut call = scripts::SESSION_SEEN.call(&[&session_key(token_hash)]);
        call.arg(now().as_microsecond());
        let _: i64 = self.shared.run(&scripts::SESSION_SEEN, &call).await?;
        Ok(())
    }

    async fn end_session(&self, token_hash: &str) -> Result<()> {
        let mut call = scripts::END_SESSION.call(&[&session_key(token_hash)]);
        call.arg(KEY_SESSIONS).arg(token_hash);
        let _: i64 = self.shared.run(&scripts::END_SESSION, &call).await?;
        Ok(())
    }
}
