//! What `GET /admin/config` and the API's `GET /config/static` show: every value with its origin, no
//! secret.

use std::sync::Arc;

use mutt_config::{Origin, Secret, SecretStore, VARIABLES};
use mutt_engine::{Dynamic, dynamic};
use mutt_web::{SecretState, StaticConfig, StaticSetting};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::context::Context;

/// Makes the page from the settings at start and the dynamic values of the moment.
pub fn config(
    context: &Context,
    dynamic: watch::Receiver<Arc<Dynamic>>,
    secrets: SecretStore,
) -> Arc<dyn Fn() -> Value + Send + Sync> {
    let fixed: Map<String, Value> = context
        .loaded
        .origins
        .iter()
        .map(|(name, (value, origin))| {
            (
                (*name).to_owned(),
                json!({"value": value, "origin": origin.to_string()}),
            )
        })
        .collect();
    let base = context.loaded.dynamic();
    Arc::new(move || {
        let now = dynamic.borrow().clone();
        let values: Map<String, Value> = now
            .iter()
            .map(|(key, value)| {
                let origin = if value == base.text(key.name) {
                    "static"
                } else {
                    "dynamic"
                };
                (
                    key.name.to_owned(),
                    json!({"value": value, "origin": origin}),
                )
            })
            .collect();
        let secrets_now = secrets.current();
        let known: Map<String, Value> = Secret::ALL
            .into_iter()
            .map(|secret| {
                (
                    secret.name().to_owned(),
                    json!({
                        "values": secrets_now.get(secret).len(),
                        "source": secrets_now.source(secret).map(|source| source.to_string()),
                    }),
                )
            })
            .collect();
        let vault = secrets.status().to_string();
        json!({"static": fixed, "dynamic": values, "secrets": known, "vault": vault})
    })
}

/// Tells the static configuration.
pub type Statics = Arc<dyn Fn() -> StaticConfig + Send + Sync>;

/// What the API says of the settings at start, and of the secrets of the moment.
pub fn statics(context: &Context, secrets: SecretStore) -> Statics {
    let settings: Vec<StaticSetting> = VARIABLES
        .iter()
        .filter_map(|variable| {
            let (value, origin) = context.loaded.origins.get(variable.name)?;
            let mut keys = dynamic::KEYS.iter();
            let dynamic_key = keys
                .find(|key| key.variable == Some(variable.name))
                .map(|key| key.name);
            let (origin, file) = match origin {
                Origin::Default => ("default", None),
                Origin::Environment => ("environment", None),
                Origin::File(path) => ("file", Some(path.display().to_string())),
            };
            Some(StaticSetting {
                name: variable.name,
                group: variable.group,
                value: value.clone(),
                origin,
                file,
                default: variable.default,
                allowed: variable.allowed,
                min: variable.bounds.map(|(min, _)| min),
                max: variable.bounds.map(|(_, max)| max),
                unit: variable.unit,
                description: variable.description,
                dynamic_key,
                restart_needed: dynamic_key.is_none(),
            })
        })
        .collect();
    Arc::new(move || {
        let now = secrets.current();
        let secrets = Secret::ALL.into_iter().map(|secret| SecretState {
            name: secret.name(),
            set: !now.get(secret).is_empty(),
            values: now.get(secret).len(),
            source: now.source(secret).map(|source| source.to_string()),
        });
        StaticConfig {
            settings: settings.clone(),
            secrets: secrets.collect(),
        }
    })
}
