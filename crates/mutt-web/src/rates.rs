//! Events per minute as 2.3 and 2.5 showed them, from the counters that the engine keeps.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use mutt_engine::{Engine, EngineError, Span};
use parking_lot::Mutex;
use serde::Serialize;
use utoipa::ToSchema;

use crate::Api;
use crate::error::Result;
use crate::request::Viewer;

/// How long rates are believed.
const FRESH: Duration = Duration::from_secs(5);

/// Accepted events per minute.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub struct Summary {
    /// In the last full minute; in the running one where there was nothing before it.
    current_rate_1m: u64,
    /// On average over the last 15 full minutes.
    avg_rate_15m: f64,
    /// On average over the last 60 full minutes.
    avg_rate_1h: f64,
}

/// Accepted events per minute in each of the last 24 hours.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DayChart {
    /// The hours in UTC, such as `07:00`; the last one is running.
    labels: Vec<String>,
    /// Events per minute.
    data: Vec<f64>,
}

/// How fast events come in.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Rates {
    summary: Summary,
    chart_24h: DayChart,
}

/// Rates that were read a moment ago.
pub type Cache = Mutex<Option<(Instant, Rates)>>;

/// Show the rates
///
/// Events per minute: in the last full minute, on average over 15 minutes and an hour, and in each of
/// the last 24 hours. At most five seconds old.
#[utoipa::path(get, path = "/metrics", tag = "Status", responses((status = 200, body = Rates)))]
pub async fn rates(State(api): State<Api>, _: Viewer) -> Result<Json<Rates>> {
    current(&api).await.map(Json)
}

/// Show the rates, at the path of 2.3
#[utoipa::path(get, path = "/metrics/current", tag = "Status", responses((status = 200, body = Rates)))]
pub async fn rates_v1(State(api): State<Api>, _: Viewer) -> Result<Json<Rates>> {
    current(&api).await.map(Json)
}

async fn current(api: &Api) -> Result<Rates> {
    if let Some((read, rates)) = &*api.rates.lock()
        && read.elapsed() < FRESH
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
    let rates = Rates {
        summary,
        chart_24h: DayChart { labels, data },
    };
    *api.rates.lock() = Some((Instant::now(), rates.clone()));
    Ok(rates)
}

/// Two decimals.
pub fn rounded(rate: f64) -> f64 {
    (rate * 100.0).round() / 100.0
}

/// Events per minute now and on average.
pub async fn summary(engine: &dyn Engine) -> Result<Summary, EngineError> {
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
    Ok(Summary {
        current_rate_1m: if full == 0 {
            within(running, running)
        } else {
            full
        },
        avg_rate_15m: rounded(within(running - 15, running - 1) as f64 / 15.0),
        avg_rate_1h: rounded(within(running - 60, running - 1) as f64 / 60.0),
    })
}
