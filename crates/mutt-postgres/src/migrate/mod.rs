//! The schema: versioned migrations that only go forward, adoption of what MUTT 2 left, and the
//! rights of the application's role.
//!
//! Each migration is one transaction; one process migrates at a time. Rights are given anew on every
//! run, so that the role may change. The role can read and add audit rows and nothing else: that
//! holds because somebody else owns the tables, so the owner should be a role of its own.

mod adopt;
mod rights;

use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use mutt_engine::{EngineError, Result};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use crate::PostgresOptions;
use crate::connect::{Dial, Opened};
use crate::error::{Step, meaning};
use crate::partitions;

/// The schema version of this program.
pub const VERSION: u32 = 1;

/// How far ahead partitions are made, in months behind this one.
pub const MONTHS_AHEAD: u32 = 3;

/// The oldest server that has what the schema uses.
const SERVER_VERSION: i32 = 130_000;

/// Whoever migrates holds this advisory lock.
const LOCK: i64 = 5_570_200;

/// How long a migration waits for somebody who uses a table, or for another migration.
const LOCK_TIMEOUT: Duration = Duration::from_mins(1);

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

/// The schema version in the database; 0 where there is none.
pub(crate) async fn version(client: &ClientWrapper) -> Step<u32> {
    let row = client
        .query_typed_one(
            "SELECT to_regclass('public.schema_migrations') IS NOT NULL",
            &[],
        )
        .await?;
    if !row.try_get::<_, bool>(0)? {
        return Ok(0);
    }
    let row = client
        .query_typed_one(
            "SELECT coalesce(max(version), 0)::integer FROM public.schema_migrations",
            &[],
        )
        .await?;
    Ok(row.try_get::<_, i32>(0)?.unsigned_abs())
}

/// Whether this program can work with a schema of this version.
///
/// # Errors
/// `Unusable` says what to do.
pub(crate) fn check(version: u32) -> Result<()> {
    match version {
        VERSION => Ok(()),
        0 => Err(EngineError::Unusable(
            "the PostgreSQL database has no schema of MUTT yet: run `mutt db migrate`".to_owned(),
        )),
        old if old < VERSION => Err(EngineError::Unusable(format!(
            "the PostgreSQL schema is at version {old}, and this MUTT needs {VERSION}: run \
             `mutt db migrate`"
        ))),
        new => Err(EngineError::Unusable(format!(
            "the PostgreSQL schema is at version {new}, and this MUTT knows up to {VERSION}: \
             install the MUTT that made it"
        ))),
    }
}

/// A connection of its own, whose statements may take as long as they need.
struct Connection {
    opened: Opened,
}

impl Connection {
    async fn open(options: &PostgresOptions, statement_timeout: Duration) -> Result<Self> {
        let options = PostgresOptions {
            statement_timeout,
            ..options.clone()
        };
        let opened = Dial::new(options, LOCK_TIMEOUT)?.open().await?;
        Ok(Self { opened })
    }

    fn client(&self) -> &ClientWrapper {
        &self.opened.client
    }

    fn result<T>(&self, step: Step<T>) -> Result<T> {
        step.map_err(|failure| {
            let forbidden = failure.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE);
            match meaning(failure, &self.opened.server) {
                EngineError::Unavailable(text) if forbidden => EngineError::Unusable(format!(
                    "{text}; whoever migrates must own the database and its tables, or be a \
                     superuser"
                )),
                // Here nothing is a caller's fault: the database is not as it must be.
                EngineError::Invalid(text) => EngineError::Unusable(text),
                other => other,
            }
        })
    }
}

/// Brings the schema to the version of this program, makes partitions ahead, and gives `app_user`
/// its rights. `admin` names the role that owns the tables, or a superuser. Run again it changes
/// nothing.
///
/// # Errors
/// `Unavailable`; `Unusable` where the server, the database or the role is not fit for it, in words
/// that say what to do. A migration that failed left nothing behind.
pub async fn migrate(admin: &PostgresOptions, app_user: &str) -> Result<Report> {
    let connection = Connection::open(admin, Duration::ZERO).await?;
    let mut report = Report::default();
    let step = migrate_with(connection.client(), app_user, &mut report).await;
    connection.result(step)?;
    Ok(report)
}

async fn migrate_with(client: &ClientWrapper, app_user: &str, report: &mut Report) -> Step<()> {
    fit(client).await?;
    rights::check_role(client, app_user).await?;
    let lock = [(&LOCK as _, Type::INT8)];
    client
        .query_typed("SELECT pg_advisory_lock($1)", &lock)
        .await?;
    report.from = version(client).await?;
    report.to = report.from;
    if report.from > VERSION {
        check(report.from)?;
    }
    if report.from < 1 {
        client.batch_execute("BEGIN").await?;
        first(client, report).await?;
        client.batch_execute("COMMIT").await?;
        report.to = 1;
    }
    let made = partitions::ensure(client, MONTHS_AHEAD).await?;
    if made > 0 {
        report.done.push(format!("made {made} monthly partitions"));
    }
    rights::grant(client, app_user).await?;
    rights::warn(client, app_user, report).await?;
    client
        .query_typed("SELECT pg_advisory_unlock($1)", &lock)
        .await?;
    Ok(())
}

/// Whether the server and the database can hold the schema.
async fn fit(client: &ClientWrapper) -> Step<()> {
    let row = client
        .query_typed_one(
            "SELECT current_setting('server_version_num')::integer,
                 current_setting('server_version'), current_setting('server_encoding')",
            &[],
        )
        .await?;
    let (number, version, encoding): (i32, String, String) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    if number < SERVER_VERSION {
        return Err(EngineError::Unusable(format!(
            "PostgreSQL {version} is too old: MUTT needs 13 or newer"
        ))
        .into());
    }
    if encoding != "UTF8" {
        return Err(EngineError::Unusable(format!(
            "the database keeps text as {encoding}: MUTT needs one with ENCODING 'UTF8'"
        ))
        .into());
    }
    Ok(())
}

/// Version 1, in the transaction of the caller.
async fn first(client: &ClientWrapper, report: &mut Report) -> Step<()> {
    report.adopted = adopt::is_there(client).await?;
    client.batch_execute(include_str!("adopt.sql")).await?;
    client.batch_execute(include_str!("schema.sql")).await?;
    let hashed = adopt::hash_chain(client).await?;
    client.batch_execute(include_str!("functions.sql")).await?;
    if report.adopted {
        client.batch_execute(include_str!("months.sql")).await?;
        adopt::report(client, hashed, report).await?;
    }
    client
        .batch_execute(
            "CREATE TABLE public.schema_migrations (
                 version integer PRIMARY KEY,
                 name text NOT NULL,
                 applied_at timestamptz NOT NULL DEFAULT now(),
                 applied_by text NOT NULL DEFAULT current_user
             );
             INSERT INTO public.schema_migrations (version, name) VALUES (1, 'first schema')",
        )
        .await?;
    report.done.push("made schema version 1".to_owned());
    Ok(())
}

/// Looks, and changes nothing.
///
/// # Errors
/// `Unavailable`.
pub async fn status(options: &PostgresOptions) -> Result<Status> {
    let connection = Connection::open(options, options.statement_timeout).await?;
    let step = async {
        let client = connection.client();
        let rows = client
            .query_typed(
                "SELECT relname::text FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
                 WHERE inhparent = to_regclass('public.event_audit_log') ORDER BY relname",
                &[],
            )
            .await?;
        Ok(Status {
            version: version(client).await?,
            needed: VERSION,
            partitions: rows
                .iter()
                .map(|row| Ok(row.try_get(0)?))
                .collect::<Step<_>>()?,
        })
    };
    let status = step.await;
    connection.result(status)
}

/// Makes sure that this month and so many coming ones have partitions; says how many were missing.
///
/// # Errors
/// `Unavailable`; `Unusable` where the schema is missing.
pub async fn ensure_partitions(options: &PostgresOptions, months: u32) -> Result<u32> {
    let connection = Connection::open(options, options.statement_timeout).await?;
    let step = async {
        check(version(connection.client()).await?)?;
        partitions::ensure(connection.client(), months).await
    };
    let made = step.await;
    connection.result(made)
}
