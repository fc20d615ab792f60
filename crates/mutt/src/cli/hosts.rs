//! `mutt hosts` and `mutt teams`.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::context::Context;
use crate::exit::Outcome;
use crate::output::{self, Table};

/// Development hosts: rules decide by `dev_handling` for them.
#[derive(Debug, Args)]
pub struct Hosts {
    #[command(subcommand)]
    command: HostsCommand,
}

#[derive(Debug, Subcommand)]
enum HostsCommand {
    /// List development hosts
    List,
    /// Add a development host
    Add {
        /// Its name, in any case
        hostname: String,
        /// Why, for the audit trail
        #[arg(long)]
        reason: Option<String>,
    },
    /// Remove a development host
    Remove {
        /// Its name, in any case
        hostname: String,
        /// Why, for the audit trail
        #[arg(long)]
        reason: Option<String>,
    },
}

impl Hosts {
    /// Does it.
    pub async fn run(self, context: &Context) -> Outcome {
        let engine = context.tool_or_new().await?;
        match self.command {
            HostsCommand::List => {
                let hosts = engine.development_hosts().await?;
                if context.json {
                    output::json(&hosts);
                } else {
                    for host in &hosts {
                        output::line(host);
                    }
                }
            }
            HostsCommand::Add { hostname, reason } => {
                engine
                    .add_development_host(&hostname, &Context::change(reason))
                    .await?;
                eprintln!("{hostname} is a development host now.");
            }
            HostsCommand::Remove { hostname, reason } => {
                engine
                    .remove_development_host(&hostname, &Context::change(reason))
                    .await?;
                eprintln!("{hostname} is a production host now.");
            }
        }
        engine.close().await;
        Ok(())
    }
}

/// Teams of devices: who hears of a device's unhandled events.
#[derive(Debug, Args)]
pub struct Teams {
    #[command(subcommand)]
    command: TeamsCommand,
}

#[derive(Debug, Subcommand)]
enum TeamsCommand {
    /// List the teams of devices
    List,
    /// Set a device's team
    Set {
        /// The device, in any case
        hostname: String,
        /// The team
        team: String,
        /// Why, for the audit trail
        #[arg(long)]
        reason: Option<String>,
    },
    /// Remove a device's team
    Remove {
        /// The device, in any case
        hostname: String,
        /// Why, for the audit trail
        #[arg(long)]
        reason: Option<String>,
    },
}

impl Teams {
    /// Does it.
    pub async fn run(self, context: &Context) -> Outcome {
        let engine = context.tool_or_new().await?;
        match self.command {
            TeamsCommand::List => {
                let teams = engine.device_teams().await?;
                if context.json {
                    let rows: Vec<_> = teams
                        .iter()
                        .map(|(host, team)| json!({"hostname": host, "team_assignment": team}))
                        .collect();
                    output::json(&rows);
                } else {
                    let mut table = Table::new(&["HOST", "TEAM"]);
                    for (host, team) in teams {
                        table.row([host, team]);
                    }
                    table.print();
                }
            }
            TeamsCommand::Set {
                hostname,
                team,
                reason,
            } => {
                engine
                    .set_device_team(&hostname, &team, &Context::change(reason))
                    .await?;
                eprintln!("{hostname} belongs to {team} now.");
            }
            TeamsCommand::Remove { hostname, reason } => {
                engine
                    .remove_device_team(&hostname, &Context::change(reason))
                    .await?;
                eprintln!("{hostname} has no team of its own now.");
            }
        }
        engine.close().await;
        Ok(())
    }
}
