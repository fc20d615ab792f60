//! What can go wrong in an engine, in the words a caller can act on.

use std::time::Duration;

/// The result of an engine call.
pub type Result<T> = std::result::Result<T, EngineError>;

/// Why an engine call did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The queue is at its limit: nothing was taken. Answer 503 or do not read on.
    #[error("the queue holds {depth} events and is limited to {limit}")]
    Full {
        /// Events waiting now.
        depth: u64,
        /// The most that may wait.
        limit: u64,
    },
    /// The servers are away and the local queue is at its limit: nothing was taken. Answer 503 or do
    /// not read on.
    #[error(
        "the local queue holds {bytes} bytes and is limited to {limit} (SPOOL_MAX_BYTES); it drains when \
         Redis is back"
    )]
    SpoolFull {
        /// Bytes waiting now.
        bytes: u64,
        /// The most that may wait.
        limit: u64,
    },
    /// Nothing durable can be written or read now; the same call may succeed later.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// The claim belongs to somebody else by now (its owner was taken for dead): stop working on it.
    #[error("the claim is no longer this worker's")]
    Fenced,
    /// What was asked for is not there.
    #[error("{0} does not exist")]
    NotFound(String),
    /// It is there already, or was changed by somebody else in the meantime.
    #[error("{0}")]
    Conflict(String),
    /// What was asked is not allowed; the text says which field and what is allowed.
    #[error("{0}")]
    Invalid(String),
    /// The data directory or database cannot be used as it is; the text says what to do.
    #[error("{0}")]
    Unusable(String),
}

impl EngineError {
    /// Whether waiting and calling again can help.
    pub fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::Full { .. } | Self::SpoolFull { .. } | Self::Unavailable(_)
        )
    }

    /// How long a sender should wait before it tries again.
    pub fn retry_after(&self) -> Duration {
        Duration::from_secs(
            if matches!(self, Self::Full { .. } | Self::SpoolFull { .. }) {
                5
            } else {
                2
            },
        )
    }
}
