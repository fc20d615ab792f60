//! Rules, development hosts, device teams and dynamic configuration: what the team says, as it is
//! stored. Each change is one transaction with its audit row; announcing it is the engine's.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use deadpool_postgres::ClientWrapper;
use mutt_engine::catalog::{ConfigAuditFilter, Imported, Note};
use mutt_engine::changes::{
    Operation, Record, changed_rule, checked_hostname, checked_hostnames, checked_rules,
    checked_team, checked_teams, current_rule, deleted_rule, no_rule,
};
use mutt_engine::dynamic::{self, CONFIG_TABLE, ConfigChange};
use mutt_engine::keys::checked_key;
use mutt_engine::{
    ApiKey, ApiKeys, Catalog, Change, ConfigAuditRow, DynamicConfig, EngineError, NewApiKey, Result,
};
use mutt_rules::{Rule, RuleChange, RuleDraft};
use serde_json::Value;
use tokio_postgres::types::Type;

use crate::Postgres;
use crate::config_audit::{self, Head};
use crate::error::Step;
use crate::time::{Micros, now};
use crate::{hosts, keys, rules};

/// Does `$work` (with the client and the end of the audit chain) in one transaction.
macro_rules! changing {
    ($self:ident, |$client:ident, $head:ident| $work:expr) => {{
        let session = $self.checkout().await?;
        let step = session.limited(async {
            let $client: &ClientWrapper = &session;
            let mut head = config_audit::begin($client).await?;
            let $head: &mut Head = &mut head;
            let result = $work;
            $client.batch_execute("COMMIT").await?;
            Ok(result)
        });
        let changed = step.await;
        session.settle(changed).await
    }};
}

/// Does `$work` (with the client) without a transaction.
macro_rules! reading {
    ($self:ident, |$client:ident| $work:expr) => {{
        let session = $self.checkout().await?;
        let step = session.limited(async {
            let $client: &ClientWrapper = &session;
            $work
        });
        let read = step.await;
        session.settle(read).await
    }};
}

impl Postgres {
    /// Writes a row of `config_audit_log` about something that is not in PostgreSQL, a queue say.
    /// `operation` is `CREATE`, `UPDATE` or `DELETE`.
    ///
    /// # Errors
    /// `Invalid` for another operation; `Unavailable`.
    pub async fn record(
        &self,
        operation: &str,
        table: &str,
        record_key: Option<&str>,
        old: Option<Value>,
        new: Option<Value>,
        by: &Change,
    ) -> Result<()> {
        let operation = [Operation::Create, Operation::Update, Operation::Delete]
            .into_iter()
            .find(|known| known.name() == operation)
            .ok_or_else(|| {
                EngineError::Invalid(format!(
                    "'{operation}' is no operation of config_audit_log: CREATE, UPDATE or DELETE"
                ))
            })?;
        let record = Record {
            operation,
            table,
            id: None,
            key: record_key,
            old,
            new,
        };
        changing!(self, |client, head| {
            config_audit::record(client, head, by, record).await?;
        })
    }

    async fn change_config(
        &self,
        key: &'static str,
        new_value: Option<String>,
        by: &Change,
    ) -> Result<ConfigChange> {
        changing!(self, |client, head| {
            change_config(client, head, key, new_value, by).await?
        })
    }
}

async fn change_config(
    client: &ClientWrapper,
    head: &mut Head,
    key: &'static str,
    new_value: Option<String>,
    by: &Change,
) -> Step<ConfigChange> {
    let row = client
        .query_typed_opt(
            "SELECT value FROM dynamic_config WHERE key = $1",
            &[(&key, Type::TEXT)],
        )
        .await?;
    let old_value: Option<String> = row.map(|row| row.try_get(0)).transpose()?;
    let operation = match (&old_value, &new_value) {
        (None, None) => {
            return Err(EngineError::NotFound(format!("a stored value of {key}")).into());
        }
        (None, Some(_)) => Operation::Create,
        (Some(_), Some(_)) => Operation::Update,
        (Some(_), None) => Operation::Delete,
    };
    if let Some(value) = &new_value {
        client
            .execute_typed(
                "INSERT INTO dynamic_config (key, value, updated_at) VALUES ($1, $2, $3)
                 ON CONFLICT (key) DO UPDATE
                     SET value = excluded.value, updated_at = excluded.updated_at",
                &[
                    (&key, Type::TEXT),
                    (value, Type::TEXT),
                    (&Micros(now()), Type::TIMESTAMPTZ),
                ],
            )
            .await?;
    } else {
        client
            .execute_typed(
                "DELETE FROM dynamic_config WHERE key = $1",
                &[(&key, Type::TEXT)],
            )
            .await?;
    }
    let json = |value: &Option<String>| {
        value
            .as_ref()
            .map(|value| serde_json::json!({ "key": key, "value": value }))
    };
    let record = Record {
        operation,
        table: CONFIG_TABLE,
        id: None,
        key: Some(key),
        old: json(&old_value),
        new: json(&new_value),
    };
    config_audit::record(client, head, by, record).await?;
    Ok(ConfigChange {
        key: key.to_owned(),
        old_value,
        new_value,
    })
}

#[async_trait]
impl DynamicConfig for Postgres {
    async fn config_overrides(&self) -> Result<BTreeMap<String, String>> {
        reading!(self, |client| {
            let rows = client
                .query_typed("SELECT key, value FROM dynamic_config", &[])
                .await?;
            rows.iter()
                .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
                .collect::<Step<_>>()
        })
    }

    async fn set_config(&self, key: &str, value: &str, by: &Change) -> Result<ConfigChange> {
        let (key, value) = dynamic::checked(key, value)?;
        self.change_config(key.name, Some(value), by).await
    }

    async fn unset_config(&self, key: &str, by: &Change) -> Result<ConfigChange> {
        self.change_config(dynamic::known(key)?.name, None, by)
            .await
    }
}

#[async_trait]
impl Catalog for Postgres {
    async fn rules(&self) -> Result<Vec<Rule>> {
        reading!(self, |client| rules::list(client).await)
    }

    async fn rule(&self, id: i64) -> Result<Rule> {
        let found: Result<_> = reading!(self, |client| rules::get(client, id).await);
        found?.ok_or_else(|| no_rule(id))
    }

    async fn add_rules(&self, drafts: Vec<RuleDraft>, by: &Change) -> Result<Vec<Rule>> {
        let drafts = checked_rules(drafts).await?;
        if drafts.is_empty() {
            return Ok(Vec::new());
        }
        changing!(self, |client, head| {
            let added = rules::insert(client, drafts, now()).await?;
            let records = added.iter().map(|rule| Record::of_rule(None, Some(rule)));
            config_audit::record_all(client, head, by, records.collect()).await?;
            added
        })
    }

    async fn change_rule(
        &self,
        id: i64,
        change: RuleChange,
        if_version: Option<i64>,
        by: &Change,
    ) -> Result<Rule> {
        changing!(self, |client, head| {
            let old = current_rule(rules::get(client, id).await?, id, if_version)?;
            let new = changed_rule(&old, change, now())?;
            rules::update(client, &new).await?;
            let record = Record::of_rule(Some(&old), Some(&new));
            config_audit::record(client, head, by, record).await?;
            new
        })
    }

    async fn delete_rule(&self, id: i64, if_version: Option<i64>, by: &Change) -> Result<()> {
        changing!(self, |client, head| {
            let old = current_rule(rules::get(client, id).await?, id, if_version)?;
            rules::update(client, &deleted_rule(&old, now())).await?;
            config_audit::record(client, head, by, Record::of_rule(Some(&old), None)).await?;
        })
    }

    /// Nothing: the engine keeps these counts in Redis.
    async fn rule_hits(&self) -> Result<HashMap<i64, [u64; 3]>> {
        Ok(HashMap::new())
    }

    async fn development_hosts(&self) -> Result<Vec<String>> {
        reading!(self, |client| hosts::development(client).await)
    }

    async fn add_development_host(&self, hostname: &str, by: &Change) -> Result<()> {
        let hostname = checked_hostname(hostname)?;
        changing!(self, |client, head| {
            hosts::add_development(client, head, &hostname, by).await?;
        })
    }

    async fn import_development_hosts(
        &self,
        hostnames: Vec<String>,
        by: &Change,
    ) -> Result<Imported> {
        let hostnames = checked_hostnames(hostnames)?;
        changing!(self, |client, head| {
            hosts::import_development(client, head, &hostnames, by).await?
        })
    }

    async fn remove_development_host(&self, hostname: &str, by: &Change) -> Result<()> {
        let hostname = hostname.trim();
        changing!(self, |client, head| {
            hosts::remove_development(client, head, hostname, by).await?;
        })
    }

    async fn device_teams(&self) -> Result<Vec<(String, String)>> {
        reading!(self, |client| hosts::teams(client).await)
    }

    async fn set_device_team(&self, hostname: &str, team: &str, by: &Change) -> Result<()> {
        let (hostname, team) = (checked_hostname(hostname)?, checked_team(team)?);
        changing!(self, |client, head| {
            hosts::set_team(client, head, &hostname, &team, by).await?;
        })
    }

    async fn add_device_team(&self, hostname: &str, team: &str, by: &Change) -> Result<()> {
        let (hostname, team) = (checked_hostname(hostname)?, checked_team(team)?);
        changing!(self, |client, head| {
            hosts::add_team(client, head, &hostname, &team, by).await?;
        })
    }

    async fn import_device_teams(
        &self,
        teams: Vec<(String, String)>,
        by: &Change,
    ) -> Result<Imported> {
        let teams = checked_teams(teams)?;
        changing!(self, |client, head| {
            hosts::import_teams(client, head, &teams, by).await?
        })
    }

    async fn remove_device_team(&self, hostname: &str, by: &Change) -> Result<()> {
        let hostname = hostname.trim();
        changing!(self, |client, head| {
            hosts::remove_team(client, head, hostname, by).await?;
        })
    }

    async fn config_audit(&self, filter: &ConfigAuditFilter) -> Result<Vec<ConfigAuditRow>> {
        reading!(self, |client| config_audit::rows(client, filter).await)
    }

    async fn count_config_audit(&self, filter: &ConfigAuditFilter) -> Result<u64> {
        reading!(self, |client| config_audit::count(client, filter).await)
    }

    async fn note(&self, note: Note, by: &Change) -> Result<()> {
        let (operation, key) = (note.operation.name(), note.key.as_deref());
        self.record(operation, note.table, key, None, Some(note.values), by)
            .await
    }

    async fn verify_config_audit(&self) -> Result<std::result::Result<u64, i64>> {
        reading!(self, |client| config_audit::verify(client).await)
    }

    /// Nothing: announcing is the engine's.
    async fn announce_reload(&self) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl ApiKeys for Postgres {
    async fn api_keys(&self) -> Result<Vec<ApiKey>> {
        reading!(self, |client| keys::list(client).await)
    }

    async fn add_api_key(&self, key: NewApiKey, by: &Change) -> Result<ApiKey> {
        let key = checked_key(key)?;
        changing!(self, |client, head| keys::add(client, head, key, by)
            .await?)
    }

    async fn revoke_api_key(&self, name: &str, by: &Change) -> Result<()> {
        changing!(self, |client, head| {
            keys::revoke(client, head, name, by).await?;
        })
    }

    async fn api_key_used(&self, name: &str) -> Result<()> {
        reading!(self, |client| keys::used(client, name).await)
    }
}
