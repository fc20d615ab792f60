//! What can be said of rules without asking anybody: how often and when they matched, which never
//! did, and which cannot decide anything because an earlier one takes every event they match.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::Api;
use crate::error::{ApiError, Result};
use crate::request::Viewer;
use crate::shadows::{Shadow, shadows};

/// What is known of one rule.
#[derive(Serialize, ToSchema)]
pub struct Insight {
    /// The rule.
    rule_id: i64,
    /// Its version when this was said.
    version: i64,
    /// Matches within the last hour.
    hits_1h: u64,
    /// Matches within the last 24 hours.
    hits_24h: u64,
    /// Matches within the last 30 days.
    hits_30d: u64,
    /// When it first matched within 30 days, to the day, hour or minute.
    #[schema(value_type = Option<String>, format = DateTime)]
    first_hit: Option<Timestamp>,
    /// When it last matched within 30 days, to the day, hour or minute.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_hit: Option<Timestamp>,
    /// Whether it takes part and did not match within 30 days.
    never_hit: bool,
    /// The rule that takes every event from it.
    shadowed: Option<Shadow>,
    /// Its share of everything that was accepted within 24 hours, where that is more than a fifth.
    too_broad: Option<f64>,
}

/// What is known of the rules.
#[derive(Serialize, ToSchema)]
pub struct Insights {
    /// In the order in which rules win.
    rules: Vec<Insight>,
}

/// What is known of the rules
///
/// Hits, rules that never matched, and rules that are shadowed by an earlier one.
#[utoipa::path(get, path = "/rules/insights", tag = "Rules",
    responses((status = 200, body = Insights)))]
pub async fn insights(State(api): State<Api>, _: Viewer) -> Result<Json<Insights>> {
    let rules = api.engine.rules().await?;
    let hits = api.engine.rule_hits().await?;
    let times = api.engine.rule_hit_times().await?;
    let accepted: u64 = api
        .engine
        .accepted(mutt_engine::Span::Hour, 24)
        .await?
        .iter()
        .map(|(_, count)| count)
        .sum();
    let work = move || {
        let shadows = shadows(&rules);
        rules
            .iter()
            .zip(shadows)
            .map(|(rule, shadowed)| {
                let [hits_1h, hits_24h, hits_30d] = hits.get(&rule.id).copied().unwrap_or_default();
                let share = hits_24h as f64 / accepted.max(1) as f64;
                let times = times.get(&rule.id);
                Insight {
                    rule_id: rule.id,
                    version: rule.version,
                    hits_1h,
                    hits_24h,
                    hits_30d,
                    first_hit: times.map(|times| times.0),
                    last_hit: times.map(|times| times.1),
                    never_hit: rule.draft.is_active && hits_30d == 0,
                    shadowed,
                    too_broad: (share > 0.2 && hits_24h > 100).then_some(share.min(1.0)),
                }
            })
            .collect()
    };
    let rules = tokio::task::spawn_blocking(work).await.map_err(|_| {
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "a mistake in MUTT: comparing rules panicked",
        )
    })?;
    Ok(Json(Insights { rules }))
}
