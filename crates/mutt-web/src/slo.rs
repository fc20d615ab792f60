//! The service level objectives, from MUTT's own counters: which share of requests was taken in,
//! which share of deliveries succeeded, and how fast the error budget burns.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use mutt_engine::{Component, Outcomes};
use serde::Serialize;
use utoipa::ToSchema;

use crate::Api;
use crate::error::Result;
use crate::request::Viewer;

/// Windows that v2 shows beside the one that is set, in hours.
const WINDOWS: [u32; 3] = [1, 6, 24];

/// The service level objectives.
#[derive(Serialize, ToSchema)]
pub struct Slo {
    /// The window that is set (`slo_window_hours`).
    window_hours: u32,
    /// `ingestor` and `forwarder`.
    components: BTreeMap<&'static str, Objective>,
    /// `mutt`: MUTT's own counters. Not under v1.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'static str>,
}

/// One component within the window that is set.
#[derive(Serialize, ToSchema)]
pub struct Objective {
    /// The share that must succeed.
    target: f64,
    #[serde(flatten)]
    burn: Burn,
    /// Within 1, 6 and 24 hours; not under v1.
    #[serde(skip_serializing_if = "Option::is_none")]
    windows: Option<Vec<Burn>>,
}

/// How it went within one window.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub struct Burn {
    /// The share that succeeded; null where there was none.
    availability: Option<f64>,
    /// The share of the error budget that is left; below 0 where it is overspent.
    error_budget_remaining: Option<f64>,
    /// 1 spends the budget within the window.
    #[serde(rename = "burn_rate")]
    rate: Option<f64>,
    /// `ok` up to 1, `warn` up to 2, `critical`, or `no_data`.
    state: &'static str,
    window_hours: u32,
}

impl Burn {
    fn of(outcomes: Outcomes, target: f64, window_hours: u32) -> Self {
        let total = outcomes.good.saturating_add(outcomes.bad);
        if total == 0 {
            return Self {
                availability: None,
                error_budget_remaining: None,
                rate: None,
                state: "no_data",
                window_hours,
            };
        }
        // Ten digits are more than anybody counts; beyond them is what binary fractions leave.
        let round = |number: f64| (number * 1e10).round() / 1e10;
        let availability = outcomes.good as f64 / total as f64;
        let budget = 1.0 - target;
        let burn_rate = round((1.0 - availability) / budget);
        Self {
            availability: Some(round(availability)),
            error_budget_remaining: Some(round((availability - target) / budget)),
            rate: Some(burn_rate),
            state: match burn_rate {
                ..=1.0 => "ok",
                ..=2.0 => "warn",
                _ => "critical",
            },
            window_hours,
        }
    }
}

/// Show the service level objectives
///
/// What a caller did wrong (401, 400) is not a failure of the service. No traffic is `no_data`, not an
/// outage.
#[utoipa::path(get, path = "/slo", tag = "Status", responses((status = 200, body = Slo)))]
pub async fn slo(State(api): State<Api>, Viewer(caller): Viewer) -> Result<Json<Slo>> {
    let stored = api.engine.config_overrides().await?;
    let values = api.base.with(
        stored
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str())),
    );
    let window_hours = u32::try_from(values.integer("slo_window_hours")).unwrap_or(24);
    let mut components = BTreeMap::new();
    for (component, key) in [
        (Component::Ingestor, "slo_ingest_success_target"),
        (Component::Forwarder, "slo_forward_success_target"),
    ] {
        let target = values.number(key);
        let outcomes = api.engine.outcomes(component, window_hours * 60).await?;
        let mut windows = Vec::new();
        if !caller.v1 {
            for hours in WINDOWS {
                let outcomes = api.engine.outcomes(component, hours * 60).await?;
                windows.push(Burn::of(outcomes, target, hours));
            }
        }
        components.insert(
            component.name(),
            Objective {
                target,
                burn: Burn::of(outcomes, target, window_hours),
                windows: (!caller.v1).then_some(windows),
            },
        );
    }
    Ok(Json(Slo {
        window_hours,
        components,
        source: (!caller.v1).then_some("mutt"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn burn(good: u64, bad: u64, target: f64) -> Burn {
        Burn::of(Outcomes { good, bad }, target, 24)
    }

    #[test]
    fn the_worked_example_of_2_5_holds() {
        let burn = burn(999, 1, 0.995);
        assert_eq!(burn.availability, Some(0.999));
        assert_eq!(burn.error_budget_remaining, Some(0.8));
        assert_eq!(burn.rate, Some(0.2));
        assert_eq!(burn.state, "ok");
    }

    #[test]
    fn states_change_at_their_bounds() {
        for (bad, state) in [
            (0, "ok"),
            (10, "ok"),
            (11, "warn"),
            (20, "warn"),
            (21, "critical"),
        ] {
            assert_eq!(burn(1000 - bad, bad, 0.99).state, state, "{bad}");
        }
        assert_eq!(burn(0, 0, 0.99).state, "no_data");
        assert_eq!(burn(0, 5, 0.99).state, "critical");
    }
}
