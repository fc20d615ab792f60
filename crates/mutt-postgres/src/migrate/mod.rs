//! Versioned, forward-only migrations.

use mutt_engine::Result;

use crate::PostgresOptions;

/// What [`migrate`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The schema version found; 0 where there was none.
    pub from: u32,
    /// The schema version now.
    pub to: u32,
    /// Whether a database that MUTT 2 made was adopted.
    pub adopted: bool,
    /// What was done, one line each.
    pub done: Vec<String>,
    /// What somebody should look at, one line each.
    pub warnings: Vec<String>,
}

/// The state of a schema.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The version in the database; 0 where there is none.
    pub version: u32,
    /// The version that this program needs.
    pub needed: u32,
    /// The partitions of `event_audit_log`, in order.
    pub partitions: Vec<String>,
}

/// Brings the schema to the version of this program and gives `app_user` its rights.
///
/// # Errors
/// `Unavailable`, `Unusable`.
#[allow(unused_variables, clippy::unused_async)]
pub async fn migrate(admin: &PostgresOptions, app_user: &str) -> Result<Report> {
    todo!()
}

/// Looks, and changes nothing.
///
/// # Errors
/// `Unavailable`, `Unusable`.
#[allow(unused_variables, clippy::unused_async)]
pub async fn status(options: &PostgresOptions) -> Result<Status> {
    todo!()
}

/// Makes sure that this month and so many coming ones have partitions.
///
/// # Errors
/// `Unavailable`, `Unusable`.
#[allow(unused_variables, clippy::unused_async)]
pub async fn ensure_partitions(options: &PostgresOptions, months: u32) -> Result<()> {
    todo!()
}
