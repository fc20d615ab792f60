//! Dynamic configuration: the stored values, each change audited in its own transaction.

use std::collections::BTreeMap;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::Embedded;
use super::config_audit::{self, record_change};
use crate::catalog::Change;
use crate::changes::{Operation, Record};
use crate::dynamic::{self, CONFIG_TABLE, ConfigChange, DynamicConfig};
use crate::error::{EngineError, Result};
use crate::live::Changed;

fn stored(conn: &Connection, key: &str) -> Result<Option<String>> {
    Ok(conn
        .prepare_cached("SELECT value FROM dynamic_config WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()?)
}

/// Writes the new value, or removes it, and its audit row. Returns the change with the row's
/// number.
fn change(
    tx: &Connection,
    key: &'static str,
    new_value: Option<String>,
    by: &Change,
) -> Result<(ConfigChange, i64)> {
    let old_value = stored(tx, key)?;
    let operation = match (&old_value, &new_value) {
        (None, None) => return Err(EngineError::NotFound(format!("a stored value of {key}"))),
        (None, Some(_)) => Operation::Create,
        (Some(_), Some(_)) => Operation::Update,
        (Some(_), None) => Operation::Delete,
    };
    if let Some(value) = &new_value {
        tx.prepare_cached(
            "INSERT INTO dynamic_config (key, value, updated_at) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at",
        )?
        .execute(params![key, value, config_audit::now().as_microsecond()])?;
    } else {
        tx.prepare_cached("DELETE FROM dynamic_config WHERE key = ?1")?
            .execute([key])?;
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
    let row = record_change(tx, by, record)?;
    Ok((
        ConfigChange {
            key: key.to_owned(),
            old_value,
            new_value,
        },
        row,
    ))
}

impl Embedded {
    async fn change_config(
        &self,
        key: &'static str,
        new_value: Option<String>,
        by: &Change,
    ) -> Result<ConfigChange> {
        let by = by.clone();
        self.announcing(Changed::Config(key.to_owned()), move |tx| {
            change(tx, key, new_value, &by)
        })
        .await
    }
}

#[async_trait]
impl DynamicConfig for Embedded {
    async fn config_overrides(&self) -> Result<BTreeMap<String, String>> {
        self.readers
            .run(|conn| {
                let mut statement = conn.prepare_cached("SELECT key, value FROM dynamic_config")?;
                let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
                Ok(rows.collect::<rusqlite::Result<_>>()?)
            })
            .await
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
