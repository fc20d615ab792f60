//! The browser sessions that people start with a key: who is signed in, since when and until when.
//! The tokens themselves are known to the browsers alone; here is a hash of each.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::error::{EngineError, Result};

/// The most sessions that one key has at a time: who starts one more ends the oldest.
pub const SESSIONS_PER_KEY: usize = 200;

/// A session to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSession {
    /// SHA-256 of the token, which must be random and long, in lower-case hex.
    pub token_hash: String,
    /// The name of the key that it was started with.
    pub key_name: String,
    /// SHA-256 of that key, in lower-case hex: a session ends with its key.
    pub key_hash: String,
    /// How long it lives at most.
    pub lifetime: Duration,
}

/// A session that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The name of the key that it was started with.
    pub key_name: String,
    /// SHA-256 of that key, in lower-case hex.
    pub key_hash: String,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it was last used, as [`Sessions::session_seen`] noted.
    pub seen_at: Timestamp,
    /// When it ends in any case.
    pub expires_at: Timestamp,
}

/// The sessions, the same for every process on this store.
#[async_trait]
pub trait Sessions: Send + Sync {
    /// Starts a session. Where its key has [`SESSIONS_PER_KEY`] already, the one that was started
    /// first ends.
    ///
    /// # Errors
    /// `Invalid` where the hash is none, `Unavailable`.
    async fn start_session(&self, new: NewSession) -> Result<Session>;

    /// The session of the token with this hash, unless it has ended.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn session(&self, token_hash: &str) -> Result<Option<Session>>;

    /// Notes that a session was used now. Does nothing where it has ended.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn session_seen(&self, token_hash: &str) -> Result<()>;

    /// Ends a session. Does nothing where it has ended.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn end_session(&self, token_hash: &str) -> Result<()>;
}

/// When a session that is started now ends.
///
/// # Errors
/// `Invalid` where the hash is none: what is looked up by it must be nothing else.
pub fn checked_session(new: &NewSession, now: Timestamp) -> Result<Timestamp> {
    let is_hash = new.token_hash.len() == 64
        && new
            .token_hash
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if !is_hash {
        return Err(EngineError::Invalid(
            "token_hash: 64 lower-case hex digits are needed".to_owned(),
        ));
    }
    now.checked_add(new.lifetime)
        .map_err(|_| EngineError::Invalid("lifetime: it ends too far from now".to_owned()))
}
