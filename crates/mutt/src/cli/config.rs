//! `mutt config`.

use clap::{Args, Subcommand};
use mutt_config::{Home, Secrets};
use mutt_engine::Engine;
use mutt_engine::catalog::ConfigAuditFilter;
use mutt_engine::dynamic::{self, CONFIG_TABLE, KEYS};
use serde_json::json;

use crate::cli::Global;
use crate::context::Context;
use crate::exit::{Failure, Outcome};
use crate::output::{self, Table};

/// Configuration: static (environment, file) and dynamic (changes while MUTT runs).
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mutt config check\n  mutt config show\n  mutt config set moog_rate_limit 100 --reason 'agreed with the Moogsoft team'\n  mutt config history moog_rate_limit\n  mutt config revert moog_rate_limit"
)]
pub struct Config {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check environment and file; lists every problem at once
    Check,
    /// Every setting with its value and where it comes from
    Show,
    /// The reference page, as Markdown
    Docs,
    /// The value of a dynamic key
    Get {
        /// The key
        key: String,
    },
    /// Change a dynamic key; takes effect within a second
    Set {
        /// The key
        key: String,
        /// The value
        value: String,
        /// Why, for the audit trail
        #[arg(long)]
        reason: Option<String>,
    },
    /// Remove a dynamic value, so that environment, file or default hold again
    Unset {
        /// The key
        key: String,
        /// Why, for the audit trail
        #[arg(long)]
        reason: Option<String>,
    },
    /// Who changed what, when and why
    History {
        /// Only this key
        key: Option<String>,
    },
    /// Undo the last change of a key
    Revert {
        /// The key
        key: String,
        /// Why, for the audit trail
        #[arg(long)]
        reason: Option<String>,
    },
}

impl Config {
    /// Does it.
    pub async fn run(self, global: &Global) -> Outcome {
        if let Command::Docs = self.command {
            output::line(mutt_config::markdown().trim_end());
            return Ok(());
        }
        let context = Context::new(global)?;
        match &self.command {
            Command::Check => {
                for warning in &context.loaded.warnings {
                    eprintln!("warning: {warning}");
                }
                // Vault is looked at by `mutt doctor`; a check needs no server.
                Secrets::read(&context.environment, Home::Read(context.data_dir()))?;
                if context.json {
                    output::json(&json!({"ok": true, "warnings": context.loaded.warnings}));
                } else {
                    eprintln!("The configuration is good.");
                }
                return Ok(());
            }
            Command::Show => return show(&context).await,
            _ => {}
        }
        let engine = context.tool_or_new().await?;
        let result = self.command.run(&context, &*engine).await;
        engine.close().await;
        result
    }
}

async fn show(context: &Context) -> Outcome {
    let stored = match context.tool().await {
        Ok(engine) => {
            let stored = engine.config_overrides().await?;
            engine.close().await;
            stored
        }
        // Without a data directory nothing dynamic is stored.
        Err(_) => std::collections::BTreeMap::new(),
    };
    let mut rows: Vec<(String, String, String)> = context
        .loaded
        .origins
        .iter()
        .map(|(name, (value, origin))| ((*name).to_owned(), value.clone(), origin.to_string()))
        .collect();
    let base = context.loaded.dynamic();
    for key in KEYS {
        let (value, origin) = if let Some(value) = stored.get(key.name) {
            (value.clone(), "dynamic".to_owned())
        } else {
            let origin = key
                .variable
                .and_then(|variable| context.loaded.origins.get(variable))
                .map_or_else(|| "default".to_owned(), |(_, origin)| origin.to_string());
            (base.text(key.name).to_owned(), origin)
        };
        rows.push((key.name.to_owned(), value, origin));
    }
    if context.json {
        let object: serde_json::Map<_, _> = rows
            .into_iter()
            .map(|(name, value, origin)| (name, json!({"value": value, "origin": origin})))
            .collect();
        output::json(&object);
    } else {
        let mut table = Table::new(&["SETTING", "VALUE", "ORIGIN"]);
        for (name, value, origin) in rows {
            table.row([name, value, origin]);
        }
        table.print();
    }
    Ok(())
}

impl Command {
    async fn run(self, context: &Context, engine: &dyn Engine) -> Outcome {
        match self {
            Self::Get { key } => {
                let key = dynamic::known(&key)?;
                let stored = engine.config_overrides().await?;
                let base = context.loaded.dynamic();
                let value = stored
                    .get(key.name)
                    .map_or_else(|| base.text(key.name), String::as_str);
                if context.json {
                    output::json(&json!({"key": key.name, "value": value}));
                } else {
                    output::line(value);
                }
                Ok(())
            }
            Self::Set { key, value, reason } => {
                let change = engine
                    .set_config(&key, &value, &Context::change(reason))
                    .await?;
                report(context, &change);
                Ok(())
            }
            Self::Unset { key, reason } => {
                let change = engine.unset_config(&key, &Context::change(reason)).await?;
                report(context, &change);
                Ok(())
            }
            Self::History { key } => history(context, engine, key).await,
            Self::Revert { key, reason } => revert(context, engine, &key, reason).await,
            Self::Check | Self::Show | Self::Docs => Ok(()),
        }
    }
}

fn report(context: &Context, change: &dynamic::ConfigChange) {
    if context.json {
        output::json(change);
        return;
    }
    let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".into());
    eprintln!(
        "{}: {} -> {}",
        change.key,
        word(&change.old_value),
        word(&change.new_value)
    );
}

async fn history(context: &Context, engine: &dyn Engine, key: Option<String>) -> Outcome {
    let record_key = match key {
        Some(key) => Some(dynamic::known(&key)?.name.to_owned()),
        None => None,
    };
    let filter = ConfigAuditFilter {
        table_name: Some(CONFIG_TABLE.into()),
        record_key,
        limit: 200,
        ..ConfigAuditFilter::default()
    };
    let rows = engine.config_audit(&filter).await?;
    if context.json {
        output::json(&rows);
        return Ok(());
    }
    let value = |values: &Option<serde_json::Value>| {
        values
            .as_ref()
            .and_then(|values| values.get("value"))
            .and_then(|value| value.as_str())
            .unwrap_or("not set")
            .to_owned()
    };
    let mut table = Table::new(&["WHEN", "WHO", "KEY", "BEFORE", "AFTER", "WHY"]);
    for row in rows {
        table.row([
            output::local(row.changed_at),
            row.changed_by.clone(),
            row.record_key.clone().unwrap_or_default(),
            value(&row.old_values),
            value(&row.new_values),
            row.reason.clone().unwrap_or_default(),
        ]);
    }
    if table.is_empty() {
        eprintln!("Nothing was changed yet.");
    } else {
        table.print();
    }
    Ok(())
}

async fn revert(
    context: &Context,
    engine: &dyn Engine,
    key: &str,
    reason: Option<String>,
) -> Outcome {
    let key = dynamic::known(key)?;
    let filter = ConfigAuditFilter {
        table_name: Some(CONFIG_TABLE.into()),
        record_key: Some(key.name.to_owned()),
        limit: 1,
        ..ConfigAuditFilter::default()
    };
    let last = engine
        .config_audit(&filter)
        .await?
        .into_iter()
        .next()
        .ok_or_else(|| Failure::usage(format!("{} was never changed", key.name)))?;
    let reason = reason.or_else(|| Some(format!("revert of change {}", last.id)));
    let before = last
        .old_values
        .as_ref()
        .and_then(|values| values.get("value"));
    let change = match before.and_then(|value| value.as_str()) {
        Some(value) => {
            engine
                .set_config(key.name, value, &Context::change(reason))
                .await?
        }
        None => {
            engine
                .unset_config(key.name, &Context::change(reason))
                .await?
        }
    };
    report(context, &change);
    Ok(())
}
