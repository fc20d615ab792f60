//! `mutt keys`.

use clap::{Args, Subcommand};
use mutt_engine::KeyRole;
use reqwest::Method;
use serde_json::{Value, json};

use crate::api::{Api, Target};
use crate::context::Context;
use crate::exit::{Failure, Outcome};
use crate::output::{self, Table};

/// API keys and what they may do.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mutt keys create noc --role operator --reason 'night shift'\n  mutt keys list\n  mutt keys revoke noc --reason 'left the team'\n\nThe key in the secrets (WEBUI_API_KEY) asks; it is the first administrator."
)]
pub struct Keys {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key; prints it, once
    Create {
        /// Its name: what the record of changes says
        name: String,
        /// viewer, operator or admin
        #[arg(long, value_parser = role)]
        role: KeyRole,
        /// Why, for the audit trail
        #[arg(long)]
        reason: Option<String>,
    },
    /// List the keys, revoked ones too; never a key itself
    List,
    /// Revoke a key: it is refused everywhere within a second
    Revoke {
        /// Its name
        name: String,
        /// Why, for the audit trail
        #[arg(long)]
        reason: Option<String>,
    },
}

fn role(name: &str) -> Result<KeyRole, String> {
    name.parse()
}

impl Keys {
    /// Does it.
    pub async fn run(self, context: &Context) -> Outcome {
        let api = Api::new(context, &self.target).await?;
        match self.command {
            Command::Create { name, role, reason } => {
                let body = json!({ "name": name, "role": role.name(), "reason": reason });
                let made: Value = api.send(Method::POST, "/api/v2/keys", &body).await?;
                if context.json {
                    output::json(&made);
                    return Ok(());
                }
                let key = made["key"].as_str().ok_or_else(|| {
                    Failure::failed("the API made a key and did not show it; revoke it")
                })?;
                eprintln!("The key of '{name}' ({}), shown this once:", role.name());
                output::line(key);
            }
            Command::List => {
                let all: Value = api.get("/api/v2/keys").await?;
                if context.json {
                    output::json(&all["keys"]);
                    return Ok(());
                }
                list(all["keys"].as_array().map_or(&[], Vec::as_slice));
            }
            Command::Revoke { name, reason } => {
                let path = format!("/api/v2/keys/{}", in_path(&name));
                let body = json!({ "reason": reason });
                let _: Value = api.send(Method::DELETE, &path, &body).await?;
                eprintln!("The key of '{name}' is revoked.");
            }
        }
        Ok(())
    }
}

fn list(keys: &[Value]) {
    let mut table = Table::new(&["NAME", "ROLE", "MADE", "LAST USED", "REVOKED"]);
    for key in keys {
        let text = |name: &str| key[name].as_str().unwrap_or_default();
        let time = |name: &str| match text(name).parse() {
            Ok(at) => output::local(at),
            Err(_) => "never".to_owned(),
        };
        table.row([
            output::cut(text("name"), 100),
            text("role").to_owned(),
            time("created_at"),
            time("last_used_at"),
            match text("revoked_at") {
                "" => String::new(),
                _ => time("revoked_at"),
            },
        ]);
    }
    table.print();
}

/// A name as it stands in a path.
pub(super) fn in_path(name: &str) -> String {
    use std::fmt::Write as _;
    let mut path = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            // Writing to a string never fails.
            let _ = write!(path, "%{byte:02X}");
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_part_of_a_path() {
        assert_eq!(in_path("noc-1_a.b~"), "noc-1_a.b~");
        assert_eq!(in_path("a/b ?%ä"), "a%2Fb%20%3F%25%C3%A4");
    }
}
