//! API keys: names, roles and hashes, each change audited in its own transaction.

use std::str::FromStr as _;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::Embedded;
use super::config_audit::{self, record_change};
use crate::catalog::Change;
use crate::changes::{Operation, Record};
use crate::error::Result;
use crate::keys::{
    ApiKey, ApiKeys, KEYS_TABLE, KeyRole, NewApiKey, checked_key, key_exists, key_values, no_key,
};

const COLUMNS: &str = "name, hash, role, created_at, last_used_at, revoked_at";

fn read(row: &Row<'_>) -> rusqlite::Result<ApiKey> {
    let role: String = row.get(2)?;
    let time =
        |index| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(index)?.map(super::timestamp));
    Ok(ApiKey {
        name: row.get(0)?,
        hash: row.get(1)?,
        // The table takes no other word; one that got past it may do the least.
        role: KeyRole::from_str(&role).unwrap_or(KeyRole::Viewer),
        created_at: super::timestamp(row.get(3)?),
        last_used_at: time(4)?,
        revoked_at: time(5)?,
    })
}

fn get(conn: &Connection, name: &str) -> Result<Option<ApiKey>> {
    Ok(conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM api_keys WHERE name = ?1"))?
        .query_row([name], read)
        .optional()?)
}

fn add(tx: &Connection, key: NewApiKey, by: &Change) -> Result<ApiKey> {
    if get(tx, &key.name)?.is_some() {
        return Err(key_exists(&key.name));
    }
    let created_at = config_audit::now();
    tx.prepare_cached(
        "INSERT INTO api_keys (name, hash, role, created_at) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![
        key.name,
        key.hash,
        key.role.name(),
        created_at.as_microsecond()
    ])?;
    let record = Record {
        operation: Operation::Create,
        table: KEYS_TABLE,
        id: None,
        key: Some(&key.name),
        old: None,
        new: Some(key_values(&key.name, key.role, false)),
    };
    record_change(tx, by, record)?;
    Ok(ApiKey {
        name: key.name,
        hash: key.hash,
        role: key.role,
        created_at,
        last_used_at: None,
        revoked_at: None,
    })
}

fn revoke(tx: &Connection, name: &str, by: &Change) -> Result<()> {
    let key = get(tx, name)?
        .filter(|key| key.revoked_at.is_none())
        .ok_or_else(|| no_key(name))?;
    tx.prepare_cached("UPDATE api_keys SET revoked_at = ?2 WHERE name = ?1")?
        .execute(params![name, config_audit::now().as_microsecond()])?;
    let record = Record {
        operation: Operation::Update,
        table: KEYS_TABLE,
        id: None,
        key: Some(name),
        old: Some(key_values(name, key.role, false)),
        new: Some(key_values(name, key.role, true)),
    };
    record_change(tx, by, record)?;
    Ok(())
}

#[async_trait]
impl ApiKeys for Embedded {
    async fn api_keys(&self) -> Result<Vec<ApiKey>> {
        self.access_readers
            .run(|conn| {
                let mut statement =
                    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM api_keys ORDER BY name"))?;
                let rows = statement.query_map([], read)?;
                Ok(rows.collect::<rusqlite::Result<_>>()?)
            })
            .await
    }

    async fn add_api_key(&self, key: NewApiKey, by: &Change) -> Result<ApiKey> {
        let (key, by) = (checked_key(key)?, by.clone());
        self.writer.run(move |tx| add(tx, key, &by)).await
    }

    async fn revoke_api_key(&self, name: &str, by: &Change) -> Result<()> {
        let (name, by) = (name.to_owned(), by.clone());
        self.writer.run(move |tx| revoke(tx, &name, &by)).await
    }

    async fn api_key_used(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.writer
            .run(move |tx| {
                tx.prepare_cached("UPDATE api_keys SET last_used_at = ?2 WHERE name = ?1")?
                    .execute(params![name, config_audit::now().as_microsecond()])?;
                Ok(())
            })
            .await
    }
}
