//! What waits, who works, how fast it goes.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use mutt_engine::{Engine, EngineError, Span};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Value, json};

use crate::Api;
use crate::error::Result;
use crate::request::{VERSIONS, Viewer};

/// How long rates are believed.
const RATES_FRESH: Duration = Duration::from_secs(5);

/// What this process counted since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Events accepted.
    pub received: u64,
    /// Events decided.
    pub decided: u64,
    /// Events that no rule knows.
    pub unhandled: u64,
    /// Alerts delivered.
    pub delivered: u64,
    /// Delivery attempts that failed.
    pub failed: u64,
}

/// What versions of the API there are.
#[utoipa::path(get, path = "/version", tag = "Status", responses((status = 200, body = Object)))]
pub async fn version(State(api): State<Api>) -> Json<Value> {
    Json(json!({
        "version": api.version,
        "current": VERSIONS[0],
        "default": VERSIONS[0],
        "supported": VERSIONS,
        "current_version": VERSIONS[0],
        "default_version": VERSIONS[0],
        "supported_versions": VERSIONS,
        "version_history": {
            "2.5": {
                "released": null,
                "status": "current",
                "changes": [
                    "dynamic configuration, audit of changes, objectives",
                    "with MUTT 3: problems of RFC 9457, entity tags, cursors, jobs, keys with roles",
                ],
            },
            "2.0": {
                "released": null,
                "status": "supported",
                "changes": ["development hosts, teams, search of the audit trail"],
            },
            "1.0": {
                "released": null,
                "status": "deprecated",
                "changes": ["rules and rates"],
                "deprecated_in": "3.0.0",
                "removal_date": "2027-12-31",
            },
        },
    }))
}

/// Show what waits, who works and how fast it goes
///
/// Queue depths, pods with their heartbeats, the circuit, rates, the busiest rules, what is wrong.
#[utoipa::path(get, path = "/status", tag = "Status", responses((status = 200, body = Object)))]
pub async fn status(State(api): State<Api>, _: Viewer) -> Result<Json<Value>> {
    Ok(Json(document(&api).await?))
}

pub async fn document(api: &Api) -> Result<Value, EngineError> {
    let status = api.engine.status().await?;
    let circuit = api.engine.circuit("moogsoft").await?;
    let mut document = json!({
        "version": api.version,
        "engine": status.engine,
        "queues": status.queues,
        "workers": status.workers,
        "circuit": circuit,
        "rates": summary(&*api.engine).await?,
        "totals": (api.totals)(),
        "problems": (api.problems)(),
    });
    document["busy_rules"] = busy_rules(&*api.engine).await?;
    Ok(document)
}

/// The ten rules with the most hits within the hour.
async fn busy_rules(engine: &dyn Engine) -> Result<Value, EngineError> {
    let hits = engine.rule_hits().await?;
    let mut rules: Vec<_> = engine
        .rules()
        .await?
        .into_iter()
        .filter_map(|rule| Some((hits.get(&rule.id)?[0], rule)))
        .filter(|(hits, _)| *hits > 0)
        .collect();
    rules.sort_by_key(|(hits, rule)| (std::cmp::Reverse(*hits), rule.id));
    Ok(rules
        .iter()
        .take(10)
        .map(|(hits, rule)| {
            let draft = &rule.draft;
            let looks_for = draft.match_string.as_deref().or(draft.trap_oid.as_deref());
            json!({"id": rule.id, "looks_for": looks_for.unwrap_or_default(), "hits_1h": hits})
        })
        .collect())
}

/// Rates that were read a moment ago.
pub type RatesCache = Mutex<Option<(Instant, Value)>>;

/// Show the rates
///
/// Events per minute: in the last full minute, on average over 15 minutes and an hour, and in each of
/// the last 24 hours. At most five seconds old.
#[utoipa::path(get, path = "/metrics", tag = "Status", responses((status = 200, body = Object)))]
pub async fn rates(State(api): State<Api>, _: Viewer) -> Result<Json<Value>> {
    current_rates(&api).await.map(Json)
}

/// Show the rates, at the path of 2.3
#[utoipa::path(get, path = "/metrics/current", tag = "Status", responses((status = 200, body = Object)))]
pub async fn rates_v1(State(api): State<Api>, _: Viewer) -> Result<Json<Value>> {
    current_rates(&api).await.map(Json)
}

async fn current_rates(api: &Api) -> Result<Value> {
    if let Some((read, rates)) = &*api.rates.lock()
        && read.elapsed() < RATES_FRESH
    {
        return Ok(rates.clone());
    }
    let summary = summary(&*api.engine).await?;
    let now = Timestamp::now();
    let hours = api.engine.accepted(Span::Hour, 24).await?;
    let first = now.as_second() / 3600 - 23;
    let (labels, data): (Vec<_>, Vec<_>) = (0..24)
        .map(|offset| {
            let hour = (first + offset) * 3600;
            let label = Timestamp::from_second(hour)
                .map_or_else(|_| String::new(), |at| at.strftime("%H:00").to_string());
            let count = hours
                .iter()
                .find(|(at, _)| at.as_second() == hour)
                .map_or(0, |(_, count)| *count);
            // The running hour has not sixty minutes yet.
            let minutes = ((now.as_second() - hour) / 60).clamp(1, 60);
            (label, rounded(count as f64 / minutes as f64))
        })
        .unzip();
    let rates = json!({"summary": summary, "chart_24h": {"labels": labels, "data": data}});
    *api.rates.lock() = Some((Instant::now(), rates.clone()));
    Ok(rates)
}

/// Two decimals.
fn rounded(rate: f64) -> f64 {
    (rate * 100.0).round() / 100.0
}

/// Events per minute: in the last full minute (the running one where there is nothing before it),
/// and on average over 15 minutes and an hour.
async fn summary(engine: &dyn Engine) -> Result<Value, EngineError> {
    let minutes = engine.accepted(Span::Minute, 61).await?;
    let running = Timestamp::now().as_second() / 60;
    let within = |from: i64, to: i64| -> u64 {
        minutes
            .iter()
            .filter(|(at, _)| (from..=to).contains(&(at.as_second() / 60)))
            .map(|(_, count)| count)
            .sum()
    };
    let full = within(running - 1, running - 1);
    let current = if full == 0 {
        within(running, running)
    } else {
        full
    };
    Ok(json!({
        "current_rate_1m": current,
        "avg_rate_15m": rounded(within(running - 15, running - 1) as f64 / 15.0),
        "avg_rate_1h": rounded(within(running - 60, running - 1) as f64 / 60.0),
    }))
}
