//! What can go wrong with Redis, and what the server's error codes mean for the caller.

/// The result of a call.
pub type Result<T> = std::result::Result<T, RedisError>;

/// Why a call did not give an answer.
#[derive(Clone, Debug, thiserror::Error)]
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
    /// The server answered with an error: nothing took effect. Of a script that failed half way the
    /// writes up to there stay, and of a pipeline the other commands.
    #[error("Redis at {address} refused: {reason}")]
    Refused {
        /// The server.
        address: String,
        /// Its words, beginning with its error code.
        reason: String,
    },
    /// The server did what it was asked but its answer is not of the type that was expected.
    #[error("Redis at {address} gave an answer of another type than expected: {reason}")]
    Unexpected {
        /// The server.
        address: String,
        /// What was expected.
        reason: String,
    },
    /// The options cannot be used; the text says which and what is allowed.
    #[error("{0}")]
    Invalid(String),
}

impl RedisError {
    pub(crate) fn unavailable(address: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Unavailable {
            address: address.into(),
            reason: reason.into(),
        }
    }

    /// The server's error code (`OOM`, `WRONGTYPE`, ...) of a refused call.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { reason, .. } => reason.split_whitespace().next(),
            _ => None,
        }
    }

    /// Whether the same call may succeed later without anybody changing anything here.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// What an error of a call means for the connection it came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The connection is gone, or nothing can be said of it.
    Broken,
    /// This is not the primary any more: look for it again.
    NotPrimary,
    /// The log-in does not hold any more: log in anew.
    LoggedOut,
    /// The server cannot answer for a while; the connection is good.
    Busy,
    /// The script has to be loaded first.
    NoScript,
    /// A definite no.
    Refused,
}

/// What it means, and the server's words without the library's around them.
pub(crate) fn meaning(error: redis::RedisError) -> (Meaning, String) {
    let own = error.kind() == redis::ErrorKind::Client;
    let text = error.to_string();
    let Some(errors) = error.into_server_errors() else {
        // What cannot be parsed leaves the stream in an unknown place.
        let meaning = if own {
            Meaning::Refused
        } else {
            Meaning::Broken
        };
        return (meaning, text);
    };
    let Some((_, first)) = errors.first() else {
        return (Meaning::Refused, text);
    };
    let meaning = match first.code() {
        "READONLY" | "MASTERDOWN" | "UNBLOCKED" => Meaning::NotPrimary,
        "NOAUTH" | "WRONGPASS" => Meaning::LoggedOut,
        "LOADING" | "BUSY" | "CLUSTERDOWN" | "TRYAGAIN" | "NOREPLICAS" => Meaning::Busy,
        "NOSCRIPT" => Meaning::NoScript,
        _ => Meaning::Refused,
    };
    let words = match first.details() {
        Some(details) => format!("{} {details}", first.code()),
        None => first.code().to_owned(),
    };
    (meaning, words)
}
