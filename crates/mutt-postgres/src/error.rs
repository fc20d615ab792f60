//! What PostgreSQL's errors mean for whoever called the engine.
//!
//! Every text says which server, as whom, what happened and what to do. None has a secret: neither
//! PostgreSQL nor the driver repeats a password, and parameters of statements are left out.

use std::error::Error as _;
use std::fmt::Write as _;

use mutt_engine::EngineError;
use tokio_postgres::error::SqlState;

/// Why a step on a connection did not work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// PostgreSQL or the connection to it said no.
    Postgres(tokio_postgres::Error),
    /// What was asked cannot be done: the connection is as good as before.
    Engine(EngineError),
    /// As `Postgres`, and the connection is not used again.
    Broken(tokio_postgres::Error),
    /// No answer came in time: the connection is not used again.
    Late,
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

/// The result of a step on a connection.
pub(crate) type Step<T> = std::result::Result<T, Failure>;

impl Failure {
    /// PostgreSQL's code of the error, where it is PostgreSQL's.
    pub(crate) fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Postgres(error) | Self::Broken(error) => error.code(),
            Self::Engine(_) | Self::Late => None,
        }
    }
}

/// Whether this is a server that only reads: a standby, or a primary that became one.
pub(crate) fn is_read_only(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
}

/// Whether the log-in was refused for what was given.
pub(crate) fn is_wrong_password(error: &tokio_postgres::Error) -> bool {
    matches!(
        error.code(),
        Some(&SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
    )
}

/// An error in words, with what lies beneath it.
pub(crate) fn words(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        let mut text = format!("{} (SQLSTATE {}", db.message(), db.code().code());
        if let Some(detail) = db.detail().filter(|_| shows_no_row(db.code())) {
            let _ = write!(text, "; {detail}");
        }
        text.push(')');
        return text;
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            let _ = write!(text, ": {more}");
        }
        cause = error.source();
    }
    text
}

/// The detail of these errors is about the server and quotes no row.
fn shows_no_row(code: &SqlState) -> bool {
    let class = code.code().get(..2).unwrap_or_default();
    !matches!(class, "22" | "23")
}

/// What to do about an error while a connection is opened.
pub(crate) fn advice(error: &tokio_postgres::Error) -> &'static str {
    let Some(code) = error.code() else {
        let mut cause = error.source();
        while let Some(error) = cause {
            if error.is::<rustls::Error>() || is_tls(error) {
                return "check DB_SSL_MODE and DB_SSL_ROOT_CERT";
            }
            cause = error.source();
        }
        return if error.to_string().contains("TLS") {
            "check DB_SSL_MODE, and whether the server has ssl = on"
        } else {
            "check DB_HOST and DB_PORT, and that the server runs"
        };
    };
    match *code {
        SqlState::INVALID_PASSWORD => "check DB_PASS_CURRENT and DB_PASS_NEXT",
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            "check DB_USER, DB_SSL_MODE and the server's pg_hba.conf"
        }
        SqlState::INVALID_CATALOG_NAME => "create the database, or check DB_NAME",
        SqlState::TOO_MANY_CONNECTIONS => {
            "raise the server's max_connections, or lower DB_POOL_MAX_CONN"
        }
        _ => "see the server's log; MUTT tries again",
    }
}

fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let inner = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref);
    inner
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        .is_some()
}

/// What a failed statement means, on a server that is called `server`.
pub(crate) fn meaning(failure: Failure, server: &str) -> EngineError {
    let error = match failure {
        Failure::Engine(error) => return error,
        Failure::Late => {
            return EngineError::Unavailable(format!(
                "{server} did not answer in time; the connection was given up"
            ));
        }
        Failure::Postgres(error) | Failure::Broken(error) => error,
    };
    let text = words(&error);
    let Some(code) = error.code() else {
        return EngineError::Unavailable(format!("{server}: {text}; MUTT connects again"));
    };
    let hint = match *code {
        SqlState::UNDEFINED_TABLE
        | SqlState::UNDEFINED_COLUMN
        | SqlState::UNDEFINED_FUNCTION
        | SqlState::UNDEFINED_OBJECT => "the schema does not fit: run `mutt db migrate`",
        SqlState::INSUFFICIENT_PRIVILEGE => "the role lacks a right, which `mutt db migrate` gives",
        SqlState::QUERY_CANCELED => {
            "it took longer than is allowed; ask for less, by host, rule or time"
        }
        SqlState::LOCK_NOT_AVAILABLE => "somebody else holds a lock on it; try again",
        SqlState::DISK_FULL => "the server's disk is full: make room",
        _ if shows_no_row(code) => "see the server's log",
        // What a row holds does not fit: trying again cannot help.
        _ => return EngineError::Invalid(format!("{server} does not take it: {text}")),
    };
    EngineError::Unavailable(format!("{server}: {text}; {hint}"))
}
