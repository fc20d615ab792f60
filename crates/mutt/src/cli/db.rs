//! `mutt db`: the schema of PostgreSQL.

use clap::{Args, Subcommand};
use mutt_config::Backend;
use mutt_postgres::{PostgresOptions, migrate};
use serde::Serialize;

use crate::backend;
use crate::context::Context;
use crate::exit::{Failure, Outcome};
use crate::output;

/// Make and look after the schema in PostgreSQL. The embedded engine does this by itself.
#[derive(Debug, Args)]
#[command(
    after_help = "It connects as DB_ADMIN_USER (DB_ADMIN_PASS), which owns the tables, and gives DB_USER what the\nroles of MUTT need: never the right to change what is on record.\n\nExamples:\n  mutt db migrate\n  mutt db status\n  mutt db partitions ensure --months 6"
)]
pub struct Db {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring the schema to this version; adopts a database of MUTT 2
    Migrate,
    /// Version and partitions; changes nothing. Exit code 3 where `migrate` is needed
    Status,
    /// Partitions of the audit log
    Partitions {
        #[command(subcommand)]
        command: Partitions,
    },
}

#[derive(Debug, Subcommand)]
enum Partitions {
    /// Make this month's partition and those of the coming months
    Ensure {
        /// How many coming months
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=120))]
        months: u32,
    },
}

#[derive(Serialize)]
struct Migrated {
    from: u32,
    to: u32,
    adopted: bool,
    done: Vec<String>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Shown {
    version: u32,
    needed: u32,
    partitions: Vec<String>,
}

impl Db {
    /// Does it.
    pub async fn run(self, context: &Context) -> Outcome {
        let settings = &context.loaded.settings;
        if settings.backend != Backend::Distributed {
            return Err(Failure::usage(
                "this is the embedded engine, whose database MUTT looks after itself; `mutt db` is \
                 for PostgreSQL: set MUTT_BACKEND=distributed, REDIS_HOST and DB_HOST",
            ));
        }
        let admin = backend::admin(settings, context.secrets().await?);
        match self.command {
            Command::Migrate => run_migrate(context, &admin).await,
            Command::Status => status(context, &admin).await,
            Command::Partitions {
                command: Partitions::Ensure { months },
            } => {
                migrate::ensure_partitions(&admin, months).await?;
                let state = migrate::status(&admin).await?;
                show(context, state);
                Ok(())
            }
        }
    }
}

async fn run_migrate(context: &Context, admin: &PostgresOptions) -> Outcome {
    let report = migrate::migrate(admin, &context.loaded.settings.db_user).await?;
    if context.json {
        output::json(&Migrated {
            from: report.from,
            to: report.to,
            adopted: report.adopted,
            done: report.done,
            warnings: report.warnings,
        });
        return Ok(());
    }
    for line in &report.done {
        output::line(line);
    }
    if report.from == report.to {
        output::line(&format!("The schema is at version {}.", report.to));
    } else {
        let adopted = if report.adopted {
            "; a database of MUTT 2 was adopted, every row is kept"
        } else {
            ""
        };
        output::line(&format!(
            "The schema went from version {} to {}{adopted}.",
            report.from, report.to
        ));
    }
    for warning in &report.warnings {
        eprintln!("warning: {warning}");
    }
    Ok(())
}

async fn status(context: &Context, admin: &PostgresOptions) -> Outcome {
    let state = migrate::status(admin).await?;
    let (version, needed) = (state.version, state.needed);
    show(context, state);
    if version == needed {
        Ok(())
    } else {
        Err(Failure::problem(format!(
            "the schema is at version {version} and this program needs {needed}: run `mutt db migrate`"
        )))
    }
}

fn show(context: &Context, state: migrate::Status) {
    if context.json {
        output::json(&Shown {
            version: state.version,
            needed: state.needed,
            partitions: state.partitions,
        });
        return;
    }
    output::line(&format!(
        "Schema version {} (this program needs {}).",
        state.version, state.needed
    ));
    for partition in &state.partitions {
        output::line(&format!("  {partition}"));
    }
}
