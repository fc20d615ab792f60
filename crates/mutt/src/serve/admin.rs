//! What `GET /admin/config` shows: every value with its origin, no secret.

use std::sync::Arc;

use mutt_config::{Secret, SecretStore};
use mutt_engine::Dynamic;
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
