//! What waits, who works, how fast it goes.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use mutt_engine::{Engine, EngineError, Span};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{Api, unavailable};

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

/// `GET /api/v2/version`.
pub async fn version(State(api): State<Api>) -> Response {
    Json(json!({
        "version": api.version,
        "current": "2.5",
        "default": "2.5",
        "supported": ["2.5", "2.0", "1.0"],
    }))
    .into_response()
}

/// `GET /api/v2/status`.
pub async fn status(State(api): State<Api>) -> Response {
    match document(&api).await {
        Ok(document) => Json(document).into_response(),
        Err(error) => unavailable(&error),
    }
}

async fn document(api: &Api) -> Result<Value, EngineError> {
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

/// `GET /api/v2/metrics`: events per minute, and the last 24 hours.
pub async fn rates(State(api): State<Api>) -> Response {
    let document = async {
        let summary = summary(&*api.engine).await?;
        let now = Timestamp::now();
        let hours = api.engine.accepted(Span::Hour, 24).await?;
        let first = now.as_second() / 3600 - 23;
        let (labels, data): (Vec<_>, Vec<_>) = (0..24)
            .map(|offset| {
                let hour = (first + offset) * 3600;
                let label = Timestamp::from_second(hour).map_or_else(
                    |_| String::new(),
                    |at| {
                        at.to_zoned(jiff::tz::TimeZone::UTC)
                            .strftime("%H:00")
                            .to_string()
                    },
                );
                let count = hours
                    .iter()
                    .find(|(at, _)| at.as_second() == hour)
                    .map_or(0, |(_, count)| *count);
                (label, count)
            })
            .unzip();
        Ok(json!({"summary": summary, "chart_24h": {"labels": labels, "data": data}}))
    };
    match document.await {
        Ok(document) => Json::<Value>(document).into_response(),
        Err(error) => unavailable(&error),
    }
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
        "avg_rate_15m": within(running - 15, running - 1) as f64 / 15.0,
        "avg_rate_1h": within(running - 60, running - 1) as f64 / 60.0,
    }))
}

/// `GET /api/v2/unhandled`.
pub async fn unhandled(State(api): State<Api>) -> Response {
    match api.engine.unhandled(100).await {
        Ok(signatures) => Json(json!({"signatures": signatures})).into_response(),
        Err(error) => unavailable(&error),
    }
}
