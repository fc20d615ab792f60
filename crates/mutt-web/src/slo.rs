//! The service level objectives: which share of requests was taken in, which share of deliveries
//! succeeded, how fast the error budget burns, and whether that is worth waking somebody.
//!
//! Everything is computed from outcomes minute by minute, wherever they come from: MUTT's own
//! counters, or [`crate::prometheus`] where one is set and answers.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use mutt_engine::status::OUTCOMES_KEPT;
use mutt_engine::{Component, Dynamic, Engine, EngineError, Outcomes};
use serde::Serialize;
use utoipa::ToSchema;

use crate::Api;
use crate::error::Result;
use crate::request::Viewer;

/// Windows that v2 shows beside the one that is set, in hours.
const WINDOWS: [u32; 3] = [1, 6, 24];
/// The most hours of the chart.
const HISTORY_MAX: u32 = 168;
/// The least hours of the chart.
const HISTORY_MIN: u32 = 24;

/// The pairs of the SRE workbook: a long window says that it matters, a short one that it goes on.
/// Severity, burn rate, long and short window in minutes.
const ALERTS: [(&str, f64, u32, u32); 3] = [
    ("page", 14.4, 60, 5),
    ("page", 6.0, 360, 30),
    ("ticket", 1.0, 4320, 120),
];

/// The service level objectives.
#[derive(Serialize, ToSchema)]
pub struct Slo {
    /// The window that is set (`slo_window_hours`).
    window_hours: u32,
    /// `ingestor` and `forwarder`.
    components: BTreeMap<&'static str, Objective>,
    #[serde(flatten)]
    more: Option<SloMore>,
}

/// What v2 says of the objectives beyond v1.
#[derive(Serialize, ToSchema)]
pub struct SloMore {
    /// Where the figures come from: `prometheus`, or `mutt` for MUTT's own counters.
    source: &'static str,
    /// Why the source is not the Prometheus that is set.
    note: Option<String>,
}

/// One component within the window that is set.
#[derive(Serialize, ToSchema)]
pub struct Objective {
    /// The share that must succeed.
    target: f64,
    #[serde(flatten)]
    burn: Burn,
    #[serde(flatten)]
    more: Option<ObjectiveMore>,
}

/// What v2 says of a component beyond v1.
#[derive(Serialize, ToSchema)]
pub struct ObjectiveMore {
    /// How many minutes of complete failure the window allows.
    budget_minutes: f64,
    /// How many of them are left; null without traffic, below 0 where it is overspent.
    budget_minutes_left: Option<f64>,
    /// Within 1, 6 and 24 hours.
    windows: Vec<Burn>,
    /// Whether somebody is to be called.
    alerts: Vec<BurnAlert>,
    /// Hour by hour, from MUTT's own counters.
    history: BurnHistory,
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
    #[serde(flatten)]
    more: Option<BurnMore>,
}

/// What v2 says of a window beyond v1.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub struct BurnMore {
    /// Successes.
    good: u64,
    /// Failures.
    bad: u64,
}

/// One pair of windows. It fires while both burn faster than the bound.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub struct BurnAlert {
    /// `page` or `ticket`.
    severity: &'static str,
    /// The burn rate that both windows must pass.
    burn_rate_over: f64,
    long_window_minutes: u32,
    short_window_minutes: u32,
    /// Null without traffic.
    long_burn_rate: Option<f64>,
    /// Null without traffic.
    short_burn_rate: Option<f64>,
    firing: bool,
}

/// How fast the budget burned, hour by hour.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub struct BurnHistory {
    /// The start of the first hour.
    #[schema(value_type = String, format = DateTime)]
    start: Timestamp,
    /// 3600.
    step_seconds: u32,
    /// Null in hours without traffic; the last hour is running.
    burn_rate: Vec<Option<f64>>,
    good: Vec<u64>,
    bad: Vec<u64>,
}

/// Outcomes in the order of time.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Up to when, in seconds since 1970.
    pub until: i64,
    /// Seconds since 1970, and the outcomes of the step that this names.
    pub points: Vec<(i64, Outcomes)>,
}

impl Series {
    /// The outcomes of the last `minutes`.
    pub fn within(&self, minutes: u32) -> Outcomes {
        let after = self.until - i64::from(minutes) * 60;
        sum(self.points.iter().filter(|(at, _)| *at > after))
    }
}

fn sum<'a>(points: impl Iterator<Item = &'a (i64, Outcomes)>) -> Outcomes {
    let mut sum = Outcomes::default();
    for (_, outcomes) in points {
        sum.good = sum.good.saturating_add(outcomes.good);
        sum.bad = sum.bad.saturating_add(outcomes.bad);
    }
    sum
}

/// Ten digits are more than anybody counts; beyond them is what binary fractions leave.
fn rounded(number: f64) -> f64 {
    (number * 1e10).round() / 1e10
}

fn burn_rate(outcomes: Outcomes, target: f64) -> Option<f64> {
    let total = outcomes.good.saturating_add(outcomes.bad);
    let availability = outcomes.good as f64 / total as f64;
    (total > 0).then(|| rounded((1.0 - availability) / (1.0 - target)))
}

impl Burn {
    fn of(outcomes: Outcomes, target: f64, window_hours: u32, v1: bool) -> Self {
        let total = outcomes.good.saturating_add(outcomes.bad);
        let rate = burn_rate(outcomes, target);
        let availability = (total > 0).then(|| outcomes.good as f64 / total as f64);
        Self {
            availability: availability.map(rounded),
            error_budget_remaining: availability
                .map(|availability| rounded((availability - target) / (1.0 - target))),
            rate,
            state: match rate {
                None => "no_data",
                Some(..=1.0) => "ok",
                Some(..=2.0) => "warn",
                Some(_) => "critical",
            },
            window_hours,
            more: (!v1).then_some(BurnMore {
                good: outcomes.good,
                bad: outcomes.bad,
            }),
        }
    }
}

fn alerts(series: &Series, target: f64) -> Vec<BurnAlert> {
    ALERTS
        .into_iter()
        .map(|(severity, over, long, short)| {
            let rate = |minutes| burn_rate(series.within(minutes), target);
            let (long_burn_rate, short_burn_rate) = (rate(long), rate(short));
            BurnAlert {
                severity,
                burn_rate_over: over,
                long_window_minutes: long,
                short_window_minutes: short,
                long_burn_rate,
                short_burn_rate,
                firing: long_burn_rate > Some(over) && short_burn_rate > Some(over),
            }
        })
        .collect()
}

fn history(own: &Series, target: f64, hours: u32) -> BurnHistory {
    let hours = i64::from(hours.clamp(HISTORY_MIN, HISTORY_MAX));
    let first = own.until.div_euclid(3600) - hours + 1;
    let by_hour: Vec<_> = (first..first + hours)
        .map(|hour| {
            sum(own
                .points
                .iter()
                .filter(|(at, _)| at.div_euclid(3600) == hour))
        })
        .collect();
    BurnHistory {
        start: Timestamp::from_second(first * 3600).unwrap_or_default(),
        step_seconds: 3600,
        burn_rate: by_hour
            .iter()
            .map(|outcomes| burn_rate(*outcomes, target))
            .collect(),
        good: by_hour.iter().map(|outcomes| outcomes.good).collect(),
        bad: by_hour.iter().map(|outcomes| outcomes.bad).collect(),
    }
}

/// What is set about objectives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Targets {
    pub window_hours: u32,
    pub ingestor: f64,
    pub forwarder: f64,
}

impl Targets {
    pub fn of(values: &Dynamic) -> Self {
        Self {
            window_hours: u32::try_from(values.integer("slo_window_hours")).unwrap_or(24),
            ingestor: values.number("slo_ingest_success_target"),
            forwarder: values.number("slo_forward_success_target"),
        }
    }

    pub fn of_component(&self, component: Component) -> f64 {
        match component {
            Component::Ingestor => self.ingestor,
            Component::Forwarder => self.forwarder,
        }
    }

    /// The longest window that anything asks for.
    pub fn longest_minutes(&self) -> u32 {
        let alerts = ALERTS.map(|(_, _, long, _)| long);
        let longest = alerts.into_iter().max().unwrap_or(0);
        longest
            .max(self.window_hours * 60)
            .max(self.window_hours.clamp(HISTORY_MIN, HISTORY_MAX) * 60)
            .min(OUTCOMES_KEPT)
    }
}

/// The outcomes that MUTT counted itself.
pub async fn own(
    engine: &dyn Engine,
    component: Component,
    minutes: u32,
) -> std::result::Result<Series, EngineError> {
    let outcomes = engine.outcomes_by_minute(component, minutes).await?;
    let now = Timestamp::now().as_second();
    Ok(Series {
        until: now - now.rem_euclid(60),
        points: outcomes
            .into_iter()
            .map(|(at, outcomes)| (at.as_second(), outcomes))
            .collect(),
    })
}

/// The objective of one component in one line, for the overview.
pub fn line(component: Component, series: &Series, targets: &Targets) -> crate::status::SloLine {
    let target = targets.of_component(component);
    let burn = Burn::of(
        series.within(targets.window_hours * 60),
        target,
        targets.window_hours,
        false,
    );
    let rate = |hours: u32| burn_rate(series.within(hours * 60), target);
    let firing = alerts(series, target)
        .into_iter()
        .find(|alert| alert.firing);
    crate::status::SloLine {
        component: component.name(),
        target,
        state: burn.state,
        availability: burn.availability,
        burn_1h: rate(1),
        burn_6h: rate(6),
        burn_24h: rate(24),
        alert: firing.map(|alert| alert.severity),
    }
}

/// Show the service level objectives
///
/// What a caller did wrong (401, 400) is not a failure of the service. No traffic is `no_data`, not an
/// outage. With `PROMETHEUS_URL` the figures are those that Prometheus scraped; where it does not
/// answer, they are MUTT's own, and `note` says why.
#[utoipa::path(get, path = "/slo", tag = "Status", responses((status = 200, body = Slo)))]
pub async fn slo(State(api): State<Api>, Viewer(caller): Viewer) -> Result<Json<Slo>> {
    let values = api.settings().await?;
    let targets = Targets::of(&values);
    let minutes = targets.longest_minutes();
    let (mut note, mut scraped) = (None, None);
    if let Some(prometheus) = &api.prometheus {
        match prometheus.series(minutes).await {
            Ok(series) => scraped = Some(series),
            Err(error) => {
                note = Some(format!("these are MUTT's own counters: {error}"));
            }
        }
    }
    let mut components = BTreeMap::new();
    for component in Component::ALL {
        let target = targets.of_component(component);
        let own = own(&*api.engine, component, minutes).await?;
        let series = scraped
            .as_ref()
            .map_or(&own, |scraped| scraped.of(component));
        let hours = targets.window_hours;
        let burn = Burn::of(series.within(hours * 60), target, hours, caller.v1);
        let more = (!caller.v1).then(|| {
            let budget = rounded(f64::from(hours) * 60.0 * (1.0 - target));
            ObjectiveMore {
                budget_minutes: budget,
                budget_minutes_left: burn
                    .error_budget_remaining
                    .map(|left| rounded(left * budget)),
                windows: WINDOWS
                    .into_iter()
                    .map(|hours| Burn::of(series.within(hours * 60), target, hours, false))
                    .collect(),
                alerts: alerts(series, target),
                history: history(&own, target, hours),
            }
        });
        components.insert(component.name(), Objective { target, burn, more });
    }
    let source = if scraped.is_some() {
        "prometheus"
    } else {
        "mutt"
    };
    Ok(Json(Slo {
        window_hours: targets.window_hours,
        components,
        more: (!caller.v1).then_some(SloMore { source, note }),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn burn(good: u64, bad: u64, target: f64) -> Burn {
        Burn::of(Outcomes { good, bad }, target, 24, false)
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

    /// One outcome a minute, all good but those `bad` minutes ago.
    fn series(bad: std::ops::Range<i64>) -> Series {
        let until = 1_700_000_040;
        let points = (0..4320).rev().map(|ago| {
            let outcomes = if bad.contains(&ago) {
                Outcomes { good: 0, bad: 1 }
            } else {
                Outcomes { good: 1, bad: 0 }
            };
            (until - ago * 60, outcomes)
        });
        Series {
            until,
            points: points.collect(),
        }
    }

    #[test]
    fn an_alert_needs_both_of_its_windows() {
        let firing = |bad| -> Vec<bool> {
            let alerts = alerts(&series(bad), 0.99);
            alerts.iter().map(|alert| alert.firing).collect()
        };
        assert_eq!(firing(0..0), [false, false, false]);
        // 9 of 60 bad minutes burn 15 times the budget of 1 %; the last five are bad.
        assert_eq!(firing(0..9), [true, false, false]);
        assert_eq!(firing(0..45), [true, true, true]);
        // It is over: nobody is called for what was.
        assert_eq!(firing(10..60), [false, true, true]);
        assert_eq!(firing(130..1000), [false, false, false]);
    }

    #[test]
    fn windows_and_hours_add_up() {
        let series = series(30..90);
        assert_eq!(series.within(60), Outcomes { good: 30, bad: 30 });
        assert_eq!(series.within(4320).bad, 60);
        let history = history(&series, 0.5, 24);
        assert_eq!(history.burn_rate.len(), 24);
        assert_eq!(history.bad.iter().sum::<u64>(), 60);
        assert_eq!(history.start.as_second() % 3600, 0);
        let last_hour = series.until - series.until.rem_euclid(3600);
        assert_eq!(history.start.as_second() + 23 * 3600, last_hour);
    }
}
