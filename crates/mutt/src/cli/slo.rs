//! `mutt slo`.

use std::collections::BTreeMap;

use clap::Args;
use serde::Deserialize;

use crate::api::{Api, Target};
use crate::context::Context;
use crate::exit::{Failure, Outcome};
use crate::output::{self, Style, Table};

/// The service level objectives: availability, error budget, burn. Exit code 3 where a budget burns
/// so fast that somebody should be called.
#[derive(Debug, Args)]
pub struct Slo {
    #[command(flatten)]
    target: Target,
}

/// What `GET /api/v2/slo` says.
#[derive(Debug, Deserialize)]
struct Objectives {
    window_hours: u32,
    source: String,
    note: Option<String>,
    components: BTreeMap<String, Objective>,
}

#[derive(Debug, Deserialize)]
struct Objective {
    target: f64,
    availability: Option<f64>,
    state: String,
    budget_minutes: f64,
    budget_minutes_left: Option<f64>,
    windows: Vec<Window>,
    alerts: Vec<Alert>,
}

#[derive(Debug, Deserialize)]
struct Window {
    burn_rate: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Alert {
    severity: String,
    burn_rate_over: f64,
    long_window_minutes: u32,
    short_window_minutes: u32,
    firing: bool,
}

impl Slo {
    /// Prints it.
    pub async fn run(self, context: &Context) -> Outcome {
        let api = Api::new(context, &self.target).await?;
        let document: serde_json::Value = api.get("/api/v2/slo").await?;
        let objectives = Objectives::deserialize(&document).map_err(|error| {
            Failure::failed(format!("the objectives are not understood: {error}"))
        })?;
        if context.json {
            output::json(&document);
        } else {
            print(&objectives);
        }
        let firing: Vec<_> = objectives.components.iter().filter_map(burning).collect();
        if firing.is_empty() {
            Ok(())
        } else {
            Err(Failure::problem(firing.join("; ")))
        }
    }
}

/// What the first pair of windows that fires says.
fn burning((name, objective): (&String, &Objective)) -> Option<String> {
    let alert = objective.alerts.iter().find(|alert| alert.firing)?;
    Some(format!(
        "{}: the error budget of the {name} burns more than {} times too fast, over {} min and over {} min",
        alert.severity, alert.burn_rate_over, alert.long_window_minutes, alert.short_window_minutes
    ))
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(
        || "no data".into(),
        |share| format!("{:.3} %", share * 100.0),
    )
}

fn print(objectives: &Objectives) {
    let colour = output::colour();
    let source = match objectives.source.as_str() {
        "prometheus" => "Prometheus",
        _ => "MUTT's own counters",
    };
    output::line(&format!(
        "The last {} h, from {source}",
        objectives.window_hours
    ));
    if let Some(note) = &objectives.note {
        let note = output::harmless(note);
        output::line(&output::paint(colour, Style::Yellow, &note));
    }
    output::line("");
    let mut table = Table::new(&[
        "COMPONENT",
        "STATE",
        "AVAILABLE",
        "TARGET",
        "BUDGET LEFT",
        "BURN 1H",
        "6H",
        "24H",
    ]);
    for (name, objective) in &objectives.components {
        let left = objective.budget_minutes_left.map_or_else(
            || "-".into(),
            |left| format!("{left:.1} of {:.1} min", objective.budget_minutes),
        );
        let burn = |window: usize| {
            let rate = objective
                .windows
                .get(window)
                .and_then(|window| window.burn_rate);
            rate.map_or_else(|| "-".into(), |rate| format!("{rate:.1}"))
        };
        table.row([
            name.clone(),
            objective.state.clone(),
            percent(objective.availability),
            percent(Some(objective.target)),
            left,
            burn(0),
            burn(1),
            burn(2),
        ]);
    }
    table.print();
}
