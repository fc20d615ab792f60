//! The API keys that people make: a name, a role, and a hash. The keys themselves are known to
//! whoever was handed one, once, and to nobody else.

use std::str::FromStr;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::catalog::Change;
use crate::error::{EngineError, Result};

/// The table of API keys, in `config_audit_log` too.
pub const KEYS_TABLE: &str = "api_keys";

const NAME_MAX: usize = 100;

/// What a key may do; each role may also do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyRole {
    /// Reads.
    Viewer,
    /// Replays and discards; changes rules, hosts and teams.
    Operator,
    /// Changes configuration and keys.
    Admin,
}

impl KeyRole {
    /// Every role, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// The name in tables and the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for KeyRole {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or_else(|| {
                format!(
                    "'{text}' is no role; allowed are {}",
                    Self::ALL.map(Self::name).join(", ")
                )
            })
    }
}

/// A key to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewApiKey {
    /// Its name; 1 to 100 characters, never given twice.
    pub name: String,
    /// SHA-256 of the key, which must be random and long, in lower-case hex.
    pub hash: String,
    /// What it may do.
    pub role: KeyRole,
}

/// A stored key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Its name.
    pub name: String,
    /// SHA-256 of the key, in lower-case hex.
    pub hash: String,
    /// What it may do.
    pub role: KeyRole,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last shown, within minutes; `None` where it never was.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked. A revoked key stays, so that an audit row can name it.
    pub revoked_at: Option<Timestamp>,
}

/// The stored API keys. The hash is in no audit row.
#[async_trait]
pub trait ApiKeys: Send + Sync {
    /// Every key, revoked ones too, by name.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn api_keys(&self) -> Result<Vec<ApiKey>>;

    /// Stores a key. Audited in the same transaction.
    ///
    /// # Errors
    /// `Conflict` where there is or was one of this name, `Invalid`, `Unavailable`.
    async fn add_api_key(&self, key: NewApiKey, by: &Change) -> Result<ApiKey>;

    /// Revokes a key. Audited in the same transaction.
    ///
    /// # Errors
    /// `NotFound` where there is none of this name that is not revoked, `Unavailable`.
    async fn revoke_api_key(&self, name: &str, by: &Change) -> Result<()>;

    /// Notes that a key was shown now. Not audited.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn api_key_used(&self, name: &str) -> Result<()>;
}

/// A key as it is stored, checked.
///
/// # Errors
/// `Invalid` says what is allowed.
pub fn checked_key(key: NewApiKey) -> Result<NewApiKey> {
    let name = key.name.trim();
    let length = name.chars().count();
    if length == 0 || length > NAME_MAX || name.chars().any(char::is_control) {
        return Err(EngineError::Invalid(format!(
            "name: 1 to {NAME_MAX} characters without control characters are allowed, not {length}"
        )));
    }
    let is_hash = key.hash.len() == 64
        && key
            .hash
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if !is_hash {
        return Err(EngineError::Invalid(
            "hash: 64 lower-case hex digits are needed".to_owned(),
        ));
    }
    Ok(NewApiKey {
        name: name.to_owned(),
        ..key
    })
}

/// There is a key of this name, or was.
pub fn key_exists(name: &str) -> EngineError {
    EngineError::Conflict(format!(
        "key '{name}' is there already, or was; a name is given once"
    ))
}

/// There is no such key.
pub fn no_key(name: &str) -> EngineError {
    EngineError::NotFound(format!("key '{name}'"))
}

/// What an audit row says of a key.
pub fn key_values(name: &str, role: KeyRole, revoked: bool) -> serde_json::Value {
    serde_json::json!({ "name": name, "role": role, "revoked": revoked })
}
