//! `mutt audit`: what an auditor asks.

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::context::Context;
use crate::exit::{Failure, Outcome};
use crate::output;

/// Look after the record of changes.
#[derive(Debug, Args)]
pub struct Audit {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check that nobody touched the record of configuration changes. Exit code 3 where somebody did
    Verify,
}

#[derive(Serialize)]
struct Verified {
    rows: Option<u64>,
    first_wrong_row: Option<i64>,
}

impl Audit {
    /// Does it.
    pub async fn run(self, context: &Context) -> Outcome {
        let Command::Verify = self.command;
        let engine = context.tool().await?;
        let verified = engine.verify_config_audit().await;
        engine.close().await;
        let verified = verified?;
        if context.json {
            output::json(&Verified {
                rows: verified.ok(),
                first_wrong_row: verified.err(),
            });
        }
        match verified {
            Ok(rows) => {
                if !context.json {
                    output::line(&format!(
                        "{rows} changes are on record; the chain of hashes is whole."
                    ));
                }
                Ok(())
            }
            Err(row) => Err(Failure::problem(format!(
                "config_audit_log was tampered with: row {row} does not fit the row before it; compare \
                 with a backup"
            ))),
        }
    }
}
