//! Dynamic configuration: the values in force, changes with their reason, history and revert.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use mutt_engine::catalog::ConfigAuditFilter;
use mutt_engine::dynamic::{self, CONFIG_TABLE, ConfigChange, Key, Kind};
use mutt_engine::{ConfigAuditRow, Dynamic, EngineError};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};
use utoipa::{IntoParams, ToSchema};

use crate::Api;
use crate::error::{ApiError, Result};
use crate::request::{
    Admin, Body, InPath, MaybeBody, Page, Pagination, Params, Viewer, checked_reason, object,
    take_reason,
};
use crate::rules::Why;

/// The values in force.
#[derive(Serialize, ToSchema)]
pub struct Config {
    /// Each key with its value.
    config: BTreeMap<&'static str, String>,
    /// Each key with what is known of it; not under v1.
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<Vec<Setting>>,
}

/// A key of dynamic configuration.
#[derive(Serialize, ToSchema)]
pub struct Setting {
    name: &'static str,
    /// What 2.5 called it, where that differs.
    alias: Option<&'static str>,
    /// The environment variable of its static value, where there is one.
    variable: Option<&'static str>,
    /// `integer`, `number` or `choice`.
    r#type: &'static str,
    /// The least, of a number.
    #[schema(value_type = Option<f64>)]
    min: Option<Number>,
    /// The most, of a number.
    #[schema(value_type = Option<f64>)]
    max: Option<Number>,
    /// The words of a choice.
    choices: Option<&'static [&'static str]>,
    /// What is allowed, in words.
    allowed: String,
    /// Its value where nothing is set.
    default: &'static str,
    /// The unit of a number: `s`, `ms`, `events`, …; empty where it has none.
    unit: &'static str,
    /// What it does.
    description: &'static str,
    /// The roles that react to a change.
    roles: &'static [&'static str],
    /// The value in force.
    value: String,
    /// The value that holds where nothing is stored.
    static_value: String,
    /// `dynamic` where it is stored; `static` where environment, file or default say it.
    origin: &'static str,
    /// Where the value comes from: `stored`, `environment`, `default`, or the path of a file.
    source: String,
}

struct InForce {
    values: Dynamic,
    stored: BTreeMap<String, String>,
}

async fn in_force(api: &Api) -> Result<InForce> {
    let stored = api.engine.config_overrides().await?;
    let values = api.base.with(
        stored
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str())),
    );
    Ok(InForce { values, stored })
}

impl InForce {
    fn setting(&self, api: &Api, key: &'static Key) -> Setting {
        let is_stored = self.stored.contains_key(key.name);
        let (kind, min, max, choices) = match key.kind {
            Kind::Integer { min, max } => ("integer", Some(min.into()), Some(max.into()), None),
            Kind::Number { min, max } => {
                let (min, max) = (Number::from_f64(min), Number::from_f64(max));
                ("number", min, max, None)
            }
            Kind::Choice { allowed } => ("choice", None, None, Some(allowed)),
        };
        let source = if is_stored {
            "stored".to_owned()
        } else {
            let fixed = (api.statics)();
            let fixed = key.variable.and_then(|variable| {
                let mut settings = fixed.settings.into_iter();
                settings.find(|setting| setting.name == variable)
            });
            fixed.map_or_else(
                || "default".to_owned(),
                |fixed| fixed.file.unwrap_or_else(|| fixed.origin.to_owned()),
            )
        };
        Setting {
            name: key.name,
            alias: key.alias,
            variable: key.variable,
            r#type: kind,
            min,
            max,
            choices,
            allowed: key.allowed(),
            default: key.default,
            unit: key.unit,
            description: key.description,
            roles: key.roles(),
            value: self.values.text(key.name).to_owned(),
            static_value: api.base.text(key.name).to_owned(),
            origin: if is_stored { "dynamic" } else { "static" },
            source,
        }
    }
}

/// Show the dynamic configuration
#[utoipa::path(get, path = "/config", tag = "Configuration",
    responses((status = 200, body = Config)))]
pub async fn list(State(api): State<Api>, Viewer(caller): Viewer) -> Result<Json<Config>> {
    let now = in_force(&api).await?;
    let config = now
        .values
        .iter()
        .map(|(key, value)| (key.name, value.to_owned()))
        .collect();
    let keys = (!caller.v1).then(|| {
        let keys = dynamic::KEYS.iter();
        keys.map(|key| now.setting(&api, key)).collect()
    });
    Ok(Json(Config { config, keys }))
}

/// One value.
#[derive(Serialize, ToSchema)]
pub struct OneValue {
    key: &'static str,
    value: String,
    /// Not under v1.
    #[serde(skip_serializing_if = "Option::is_none")]
    setting: Option<Setting>,
}

fn known(name: &str) -> Result<&'static Key> {
    dynamic::known(name).map_err(|error| ApiError::field("key", error.to_string()))
}

/// Show one key
#[utoipa::path(get, path = "/config/{key}", tag = "Configuration",
    params(("key" = String, Path, description = "Its name, or what 2.5 called it")),
    responses((status = 200, body = OneValue), (status = 400, description = "There is no such key; there are these")))]
pub async fn show(
    State(api): State<Api>,
    Viewer(caller): Viewer,
    InPath(name): InPath<String>,
) -> Result<Json<OneValue>> {
    let key = known(&name)?;
    let now = in_force(&api).await?;
    Ok(Json(OneValue {
        key: key.name,
        value: now.values.text(key.name).to_owned(),
        setting: (!caller.v1).then(|| now.setting(&api, key)),
    }))
}

/// A value to be stored.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the document only")]
pub struct SettingWrite {
    /// The value: a number or a text.
    #[schema(value_type = Object)]
    value: Value,
    /// Why, for the config audit.
    reason: Option<String>,
}

/// A change of one key.
#[derive(Serialize, ToSchema)]
pub struct Changed {
    key: String,
    /// The stored value before; null where nothing was stored.
    old_value: Option<String>,
    /// The stored value now; null where it was unset.
    new_value: Option<String>,
}

impl From<ConfigChange> for Changed {
    fn from(change: ConfigChange) -> Self {
        Self {
            key: change.key,
            old_value: change.old_value,
            new_value: change.new_value,
        }
    }
}

fn refused(error: EngineError) -> ApiError {
    match error {
        EngineError::Invalid(text) => ApiError::field("value", text),
        other => other.into(),
    }
}

/// Set a key
///
/// In force on every pod within a second.
#[utoipa::path(put, path = "/config/{key}", tag = "Configuration", request_body = SettingWrite,
    params(("key" = String, Path, description = "Its name, or what 2.5 called it")),
    responses((status = 200, body = Changed),
        (status = 400, description = "There is no such key, or the value is not allowed; what is, is said")))]
pub async fn set(
    State(api): State<Api>,
    Admin(caller): Admin,
    InPath(name): InPath<String>,
    Body(body): Body<Value>,
) -> Result<Json<Changed>> {
    let key = known(&name)?;
    let mut fields = object(body)?;
    let reason = take_reason(&mut fields)?;
    let value = match fields.remove("value") {
        None => {
            return Err(
                ApiError::field("value", "is missing").or_v1("Missing 'value' in request body")
            );
        }
        Some(Value::String(text)) => text,
        Some(Value::Number(number)) => number.to_string(),
        Some(other) => {
            return Err(ApiError::field(
                "value",
                format!(
                    "'{other}' is not allowed for {}: {}",
                    key.name,
                    key.allowed()
                ),
            ));
        }
    };
    if let Some(field) = fields.keys().next() {
        return Err(ApiError::field(field, "is not known; value and reason are"));
    }
    let by = caller.change(reason);
    let change = api
        .engine
        .set_config(key.name, &value, &by)
        .await
        .map_err(refused)?;
    Ok(Json(change.into()))
}

/// Unset a key
///
/// What environment, file or default say is in force again.
#[utoipa::path(delete, path = "/config/{key}", tag = "Configuration", request_body = Option<Why>,
    params(("key" = String, Path, description = "Its name, or what 2.5 called it")),
    responses((status = 200, body = Changed), (status = 404, description = "Nothing is stored")))]
pub async fn unset(
    State(api): State<Api>,
    Admin(caller): Admin,
    InPath(name): InPath<String>,
    MaybeBody(why): MaybeBody<Why>,
) -> Result<Json<Changed>> {
    let key = known(&name)?;
    let by = caller.change(checked_reason(why.reason)?);
    let change = api
        .engine
        .unset_config(key.name, &by)
        .await
        .map_err(refused)?;
    Ok(Json(change.into()))
}

/// To which change a key is brought back.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Revert {
    /// The number of a change in the key's history: it says again what it said after that one. Without
    /// it, what it said before the last one.
    to: Option<i64>,
    /// Why, for the config audit.
    reason: Option<String>,
}

/// Bring a key back to what it said
///
/// Undoes the last change, or goes back to any other (`to`). The value of then is stored again, or unset
/// where there was none: a change of its own.
#[utoipa::path(post, path = "/config/{key}/revert", tag = "Configuration", request_body = Option<Revert>,
    params(("key" = String, Path, description = "Its name, or what 2.5 called it")),
    responses((status = 200, body = Changed),
        (status = 400, description = "What it said then is not allowed any more"),
        (status = 404, description = "It was never changed, or not by that change, or nothing is stored as then")))]
pub async fn revert(
    State(api): State<Api>,
    Admin(caller): Admin,
    InPath(name): InPath<String>,
    MaybeBody(revert): MaybeBody<Revert>,
) -> Result<Json<Changed>> {
    let key = known(&name)?;
    let filter = ConfigAuditFilter {
        table_name: Some(CONFIG_TABLE.to_owned()),
        record_key: Some(key.name.to_owned()),
        before_id: revert.to.map(|to| to.saturating_add(1)),
        limit: 1,
        ..ConfigAuditFilter::default()
    };
    let found = api.engine.config_audit(&filter).await?.into_iter().next();
    let change = match (found, revert.to) {
        (Some(change), Some(to)) if change.id == to => change,
        (Some(change), None) => change,
        (_, Some(to)) => {
            let text = format!("change {to} is none of {}", key.name);
            return Err(ApiError::not_found(text));
        }
        (None, None) => {
            return Err(ApiError::not_found(format!(
                "{} was never changed",
                key.name
            )));
        }
    };
    let values = match revert.to {
        Some(_) => &change.new_values,
        None => &change.old_values,
    };
    let reason = checked_reason(revert.reason)?.or_else(|| {
        Some(match revert.to {
            Some(to) => format!("back to change {to}"),
            None => format!("revert of change {}", change.id),
        })
    });
    let by = caller.change(reason);
    let change = match value_of(values.as_ref()) {
        Some(value) => api.engine.set_config(key.name, value, &by).await,
        None => api.engine.unset_config(key.name, &by).await,
    };
    Ok(Json(change.map_err(refused)?.into()))
}

fn value_of(values: Option<&Value>) -> Option<&str> {
    values?.get("value")?.as_str()
}

/// Which changes.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    /// Only this key.
    key: Option<String>,
    /// The page, from 1.
    page: Option<u64>,
    /// Rows on a page, up to 200 (50).
    limit: Option<u64>,
}

/// Changes of dynamic configuration, newest first.
#[derive(Serialize, ToSchema)]
pub struct History {
    history: Vec<HistoryRow>,
    pagination: Pagination,
}

/// One change.
#[derive(Serialize, ToSchema)]
pub struct HistoryRow {
    id: i64,
    #[schema(value_type = String, format = DateTime)]
    changed_at: Timestamp,
    /// The same, as 2.5 called it.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    changed_by: String,
    /// `CREATE`, `UPDATE` or `DELETE`.
    operation: String,
    key: Option<String>,
    old_value: Option<String>,
    new_value: Option<String>,
    reason: Option<String>,
    correlation_id: Option<String>,
}

impl From<ConfigAuditRow> for HistoryRow {
    fn from(row: ConfigAuditRow) -> Self {
        Self {
            old_value: value_of(row.old_values.as_ref()).map(str::to_owned),
            new_value: value_of(row.new_values.as_ref()).map(str::to_owned),
            id: row.id,
            changed_at: row.changed_at,
            created_at: row.changed_at,
            changed_by: row.changed_by,
            operation: row.operation,
            key: row.record_key,
            reason: row.reason,
            correlation_id: row.correlation_id,
        }
    }
}

/// Show the changes of dynamic configuration
#[utoipa::path(get, path = "/config/history", tag = "Configuration", params(HistoryQuery),
    responses((status = 200, body = History)))]
pub async fn history(
    State(api): State<Api>,
    _: Viewer,
    Params(query): Params<HistoryQuery>,
) -> Result<Json<History>> {
    let page = Page::of(query.page, query.limit, 200)?;
    let key = query.key.filter(|key| !key.is_empty());
    let filter = ConfigAuditFilter {
        table_name: Some(CONFIG_TABLE.to_owned()),
        record_key: key
            .map(|key| known(&key).map(|key| key.name.to_owned()))
            .transpose()?,
        offset: page.offset(),
        limit: page.limit(),
        ..ConfigAuditFilter::default()
    };
    let total = api.engine.count_config_audit(&filter).await?;
    let rows = api.engine.config_audit(&filter).await?;
    Ok(Json(History {
        history: rows.into_iter().map(HistoryRow::from).collect(),
        pagination: page.pagination(total),
    }))
}
