//! Figures, how they are summed up and how they are shown.

use anyhow::{Result, ensure};
use mutt_traffic::load;

/// One figure.
#[derive(Clone, Debug)]
pub struct Figure {
    case: &'static str,
    what: String,
    value: f64,
    unit: &'static str,
    target: &'static str,
}

impl Figure {
    /// Makes it and says it on standard error at once: a run is long.
    pub fn new(
        case: &'static str,
        what: impl Into<String>,
        value: f64,
        unit: &'static str,
        target: &'static str,
    ) -> Self {
        let figure = Self {
            case,
            what: what.into(),
            value,
            unit,
            target,
        };
        eprintln!("  {}: {} {unit}", figure.what, number(value));
        figure
    }
}

/// The value in the middle.
pub fn median(values: &[f64]) -> f64 {
    load::percentile(&mut values.to_vec(), 0.5)
}

/// The ledger: what was sent and what arrived must be the same.
pub fn check(what: &str, got: u64, expected: u64) -> Result<()> {
    ensure!(
        got == expected,
        "{what}: {got}, but the sender's ledger says {expected}"
    );
    Ok(())
}

/// From 100 on whole, in groups of three digits; two places below.
fn number(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Shows all figures on standard output, with what a flush cost before they were measured.
pub fn print(figures: &[Figure], flush: (f64, f64), json: bool) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if json {
        let figures: Vec<_> = figures
            .iter()
            .map(|figure| {
                serde_json::json!({
                    "case": figure.case,
                    "what": figure.what,
                    "value": figure.value,
                    "unit": figure.unit,
                    "target": figure.target,
                })
            })
            .collect();
        println!(
            "{}",
            serde_json::json!({
                "conditions": {
                    "cores": cores,
                    "fdatasync_p50_ms": flush.0,
                    "fdatasync_p99_ms": flush.1,
                },
                "figures": figures,
            })
        );
        return;
    }
    let width = |text: fn(&Figure) -> usize| figures.iter().map(text).max().unwrap_or(0);
    let case = width(|figure| figure.case.len());
    let what = width(|figure| figure.what.chars().count());
    for figure in figures {
        println!(
            "{:case$}  {:what$}  {:>12} {:12} {}",
            figure.case,
            figure.what,
            number(figure.value),
            figure.unit,
            figure.target
        );
    }
    println!(
        "{cores} cores shared by load, MUTT, Redis and PostgreSQL; fdatasync p50 {:.2} ms, p99 {:.2} ms.",
        flush.0, flush.1
    );
}
