//! Dynamic configuration: the truth is in PostgreSQL, `mutt:config:<key>` its copy.

use std::collections::BTreeMap;

use async_trait::async_trait;
use mutt_engine::dynamic::{ConfigChange, DynamicConfig, KEYS};
use mutt_engine::{Change, Changed, Result};
use mutt_redis::redis;

use crate::engine::{Distributed, Shared};
use crate::names;

#[async_trait]
impl DynamicConfig for Distributed {
    async fn config_overrides(&self) -> Result<BTreeMap<String, String>> {
        self.shared.postgres.config_overrides().await
    }

    async fn set_config(&self, key: &str, value: &str, by: &Change) -> Result<ConfigChange> {
        let change = self.shared.postgres.set_config(key, value, by).await?;
        self.shared.changed(&change).await;
        Ok(change)
    }

    async fn unset_config(&self, key: &str, by: &Change) -> Result<ConfigChange> {
        let change = self.shared.postgres.unset_config(key, by).await?;
        self.shared.changed(&change).await;
        Ok(change)
    }
}

impl Shared {
    /// The copy follows, and everybody hears of it. Where Redis is away the copy follows later.
    async fn changed(&self, change: &ConfigChange) {
        let command = if let Some(value) = &change.new_value {
            let mut set = redis::cmd("SET");
            set.arg(names::config(&change.key)).arg(value);
            set
        } else {
            let mut delete = redis::cmd("DEL");
            delete.arg(names::config(&change.key));
            delete
        };
        if let Err(error) = self.call::<redis::Value>(&command).await {
            tracing::warn!(%error, key = change.key, "the copy of a setting in Redis follows later");
        }
        self.announce(&Changed::Config(change.key.clone())).await;
    }

    /// Makes the copy in Redis say what PostgreSQL says.
    pub async fn refresh_config(&self) -> Result<()> {
        let stored = self.postgres.config_overrides().await?;
        let mut read = redis::cmd("MGET");
        for key in KEYS {
            read.arg(names::config(key.name));
        }
        let copies: Vec<Option<String>> = self.call(&read).await?;
        for (key, copy) in KEYS.iter().zip(copies) {
            let value = stored.get(key.name);
            if value == copy.as_ref() {
                continue;
            }
            tracing::info!(
                key = key.name,
                "the copy of a setting in Redis was not what PostgreSQL says"
            );
            let change = ConfigChange {
                key: key.name.to_owned(),
                old_value: copy,
                new_value: value.cloned(),
            };
            self.changed(&change).await;
        }
        Ok(())
    }
}
