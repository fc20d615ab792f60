//! API keys: names, roles and hashes.

use std::str::FromStr as _;

use deadpool_postgres::ClientWrapper;
use mutt_engine::changes::{Operation, Record};
use mutt_engine::keys::{KEYS_TABLE, key_exists, key_values, no_key};
use mutt_engine::{ApiKey, Change, KeyRole, NewApiKey};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::config_audit::{Head, record};
use crate::error::Step;
use crate::text::without_nul;
use crate::time::{Micros, now};

const COLUMNS: &str = "name, hash, role, created_at, last_used_at, revoked_at";

fn read(row: &Row) -> Step<ApiKey> {
    let time = |index| {
        row.try_get::<_, Option<Micros>>(index)
            .map(|time| time.map(|time| time.0))
    };
    Ok(ApiKey {
        name: row.try_get(0)?,
        hash: row.try_get(1)?,
        // The table takes no other word; one that got past it may do the least.
        role: KeyRole::from_str(row.try_get(2)?).unwrap_or(KeyRole::Viewer),
        created_at: row.try_get::<_, Micros>(3)?.0,
        last_used_at: time(4)?,
        revoked_at: time(5)?,
    })
}

/// Every key by name.
pub(crate) async fn list(client: &ClientWrapper) -> Step<Vec<ApiKey>> {
    let rows = client
        .query_typed(
            &format!("SELECT {COLUMNS} FROM api_keys ORDER BY name COLLATE \"C\""),
            &[],
        )
        .await?;
    rows.iter().map(read).collect()
}

async fn get(client: &ClientWrapper, name: &str) -> Step<Option<ApiKey>> {
    let name = without_nul(name);
    let row = client
        .query_typed_opt(
            &format!("SELECT {COLUMNS} FROM api_keys WHERE name = $1"),
            &[(&name, Type::TEXT)],
        )
        .await?;
    row.as_ref().map(read).transpose()
}

/// Stores a key.
pub(crate) async fn add(
    client: &ClientWrapper,
    head: &mut Head,
    key: NewApiKey,
    by: &Change,
) -> Step<ApiKey> {
    if get(client, &key.name).await?.is_some() {
        return Err(key_exists(&key.name).into());
    }
    let created_at = now();
    client
        .execute_typed(
            "INSERT INTO api_keys (name, hash, role, created_at) VALUES ($1, $2, $3, $4)",
            &[
                (&key.name, Type::TEXT),
                (&key.hash, Type::TEXT),
                (&key.role.name(), Type::TEXT),
                (&Micros(created_at), Type::TIMESTAMPTZ),
            ],
        )
        .await?;
    let new = Record {
        operation: Operation::Create,
        table: KEYS_TABLE,
        id: None,
        key: Some(&key.name),
        old: None,
        new: Some(key_values(&key.name, key.role, false)),
    };
    record(client, head, by, new).await?;
    Ok(ApiKey {
        name: key.name,
        hash: key.hash,
        role: key.role,
        created_at,
        last_used_at: None,
        revoked_at: None,
    })
}

/// Revokes a key.
pub(crate) async fn revoke(
    client: &ClientWrapper,
    head: &mut Head,
    name: &str,
    by: &Change,
) -> Step<()> {
    let Some(key) = get(client, name)
        .await?
        .filter(|key| key.revoked_at.is_none())
    else {
        return Err(no_key(name).into());
    };
    client
        .execute_typed(
            "UPDATE api_keys SET revoked_at = $2 WHERE name = $1",
            &[(&key.name, Type::TEXT), (&Micros(now()), Type::TIMESTAMPTZ)],
        )
        .await?;
    let revoked = Record {
        operation: Operation::Update,
        table: KEYS_TABLE,
        id: None,
        key: Some(&key.name),
        old: Some(key_values(&key.name, key.role, false)),
        new: Some(key_values(&key.name, key.role, true)),
    };
    record(client, head, by, revoked).await
}

/// Notes that a key was shown now.
pub(crate) async fn used(client: &ClientWrapper, name: &str) -> Step<()> {
    client
        .execute_typed(
            "UPDATE api_keys SET last_used_at = $2 WHERE name = $1",
            &[
                (&without_nul(name), Type::TEXT),
                (&Micros(now()), Type::TIMESTAMPTZ),
            ],
        )
        .await?;
    Ok(())
}
