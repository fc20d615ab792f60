//! Static configuration: what environment and file said when this process started, and which secrets
//! are set. Whoever builds the API says what it is; no value of a secret ever comes here.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::Api;
use crate::request::Viewer;

/// The static configuration of a process.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct StaticConfig {
    /// Every setting, in the order in which people are shown them.
    pub settings: Vec<StaticSetting>,
    /// Every secret, without its value.
    pub secrets: Vec<SecretState>,
}

/// A static setting.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StaticSetting {
    /// The environment variable; in `mutt.toml` the same name in lower case.
    pub name: &'static str,
    /// The heading it stands under.
    pub group: &'static str,
    /// The value in force; passwords within addresses are left out.
    pub value: String,
    /// `environment`, `file` or `default`.
    pub origin: &'static str,
    /// The file, where it comes from one.
    pub file: Option<String>,
    /// Its value where nothing is set; empty for "not set".
    pub default: &'static str,
    /// What is allowed, in words.
    pub allowed: &'static str,
    /// The least, of a number with bounds.
    pub min: Option<f64>,
    /// The most, of a number with bounds.
    pub max: Option<f64>,
    /// The unit of a number; empty where it has none.
    pub unit: &'static str,
    /// What it does.
    pub description: &'static str,
    /// The dynamic key that it is the static value of: change that one instead, without a restart.
    pub dynamic_key: Option<&'static str>,
    /// Whether a change needs a restart.
    pub restart_needed: bool,
}

/// What is known of a secret.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SecretState {
    /// Its name.
    pub name: &'static str,
    /// Whether it is set.
    pub set: bool,
    /// Values that hold: two while it is rotated.
    pub values: usize,
    /// From where: `environment`, a file, Vault.
    pub source: Option<String>,
}

/// Show the static configuration
///
/// Of the process that answers: each setting with where it comes from, each secret as set or not.
#[utoipa::path(get, path = "/config/static", tag = "Configuration",
    responses((status = 200, body = StaticConfig)))]
pub async fn show_static(State(api): State<Api>, _: Viewer) -> Json<StaticConfig> {
    Json((api.statics)())
}
