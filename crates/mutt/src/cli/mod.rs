//! The command line: one file per command.

mod audit;
mod bench;
mod completions;
mod config;
mod db;
mod demo;
mod dlq;
mod doctor;
mod hosts;
mod keys;
mod mibs;
mod mock_moog;
mod rules;
mod send;
mod slo;
mod status;
mod tail;
mod top;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::context::Context;
use crate::exit::Outcome;
use crate::serve::{self, Role};

/// MUTT, the Multi-Use Telemetry Tool: syslog, SNMP traps and HTTP events in; the right team
/// alerted, everything on record.
#[derive(Debug, Parser)]
#[command(
    name = "mutt",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "Examples:\n  mutt demo                       see it alive: traffic, rules, a pretend Moogsoft\n  mutt serve                      run everything here, data in ./mutt-data\n  mutt tail                       watch events as they are decided\n\nExit codes: 0 done, 1 failed, 2 used wrongly, 3 found a problem, 4 not allowed."
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Configuration file [default: /etc/mutt/mutt.toml, where it exists]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data directory of the embedded engine (`MUTT_DATA_DIR`)
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Output for machines
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run roles in one process (all of them by default)
    #[command(
        after_help = "Examples:\n  mutt serve\n  mutt serve --roles ingestor,alerter --config /etc/mutt/mutt.toml"
    )]
    Serve {
        /// The roles, separated by commas
        #[arg(long, value_enum, value_delimiter = ',', default_values_t = Role::ALL)]
        roles: Vec<Role>,
    },
    /// Run the ingestor alone
    Ingestor,
    /// Run the alerter alone
    Alerter,
    /// Run the forwarder alone
    Forwarder,
    /// Run remediation alone
    Remediation,
    /// Run the API alone
    Webui,
    /// Everything at once with sample rules, generated traffic and a pretend Moogsoft
    Demo(demo::Demo),
    /// Send events: lines of a file, standard input, or a generated storm
    Send(send::Send),
    /// List, add, test, import and export rules
    Rules(rules::Rules),
    /// List, add and remove development hosts
    Hosts(hosts::Hosts),
    /// List, set and remove the teams of devices
    Teams(hosts::Teams),
    /// Look into dead letter queues, replay and discard
    Dlq(dlq::Dlq),
    /// Make, list and revoke API keys
    Keys(keys::Keys),
    /// List and check MIB files, translate OIDs
    Mibs(mibs::Mibs),
    /// Check, show and change configuration
    Config(config::Config),
    /// Check the record of changes
    Audit(audit::Audit),
    /// Make and look after the schema in PostgreSQL
    Db(db::Db),
    /// What waits, who works, how the sink is
    Status(status::Status),
    /// The service level objectives, and how fast their budgets burn
    Slo(slo::Slo),
    /// Watch events as they are decided
    Tail(tail::Tail),
    /// Watch rates, queues and busy rules
    Top(top::Top),
    /// Measure this machine through the real path
    Bench(bench::Bench),
    /// Check everything a deployment needs, and say how to mend it
    Doctor(doctor::Doctor),
    /// A pretend Moogsoft that records what it gets and fails on demand
    MockMoog(mock_moog::MockMoog),
    /// Completions for a shell
    Completions(completions::Completions),
    /// Print the description of the API as `OpenAPI` 3.1, in JSON
    Openapi,
}

impl Cli {
    /// Runs the command.
    pub async fn run(self) -> Outcome {
        let global = &self.global;
        match self.command {
            Command::Serve { roles } => serve::run(Context::new(global)?, global, &roles).await,
            Command::Ingestor => serve::run(Context::new(global)?, global, &[Role::Ingestor]).await,
            Command::Alerter => serve::run(Context::new(global)?, global, &[Role::Alerter]).await,
            Command::Forwarder => {
                serve::run(Context::new(global)?, global, &[Role::Forwarder]).await
            }
            Command::Remediation => {
                serve::run(Context::new(global)?, global, &[Role::Remediation]).await
            }
            Command::Webui => serve::run(Context::new(global)?, global, &[Role::Webui]).await,
            Command::Demo(demo) => demo.run(global).await,
            Command::Send(send) => send.run(&Context::new(global)?).await,
            Command::Rules(rules) => rules.run(&Context::new(global)?).await,
            Command::Hosts(hosts) => hosts.run(&Context::new(global)?).await,
            Command::Teams(teams) => teams.run(&Context::new(global)?).await,
            Command::Dlq(dlq) => dlq.run(&Context::new(global)?).await,
            Command::Keys(keys) => keys.run(&Context::new(global)?).await,
            Command::Mibs(mibs) => mibs.run(&Context::new(global)?),
            Command::Config(config) => config.run(global).await,
            Command::Audit(audit) => audit.run(&Context::new(global)?).await,
            Command::Db(db) => db.run(&Context::new(global)?).await,
            Command::Status(status) => status.run(&Context::new(global)?).await,
            Command::Slo(slo) => slo.run(&Context::new(global)?).await,
            Command::Tail(tail) => tail.run(&Context::new(global)?).await,
            Command::Top(top) => top.run(&Context::new(global)?).await,
            Command::Bench(bench) => bench.run(global).await,
            Command::Doctor(doctor) => doctor.run(global).await,
            Command::MockMoog(mock) => mock.run(global.json).await,
            Command::Completions(completions) => {
                completions.run();
                Ok(())
            }
            Command::Openapi => {
                crate::output::line(&mutt_web::openapi());
                Ok(())
            }
        }
    }
}
