//! What can go wrong with Redis.

/// The result of a call.
pub type Result<T> = std::result::Result<T, RedisError>;

/// Why a call did not give an answer.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// There is no connection now, or it broke or timed out during the call: whether the call took
    /// effect is not known. A later call may succeed.
    #[error("Redis at {address} is not available: {reason}")]
    Unavailable {
        /// The server.
        address: String,
        /// Why, in words; never a secret.
        reason: String,
    },
    /// The server answered with an error: nothing took effect.
    #[error("Redis at {address} refused: {reason}")]
    Refused {
        /// The server.
        address: String,
        /// Its words.
        reason: String,
    },
    /// The options cannot be used; the text says which and what is allowed.
    #[error("{0}")]
    Invalid(String),
}
