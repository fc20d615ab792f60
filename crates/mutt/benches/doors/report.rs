//! What was measured, as a table for people or JSON for machines.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

/// One load offered to one receiver.
#[derive(Clone, Debug, Serialize)]
pub struct Turn {
    /// Messages handed to the kernel, or acknowledged where the protocol does that.
    pub sent: u64,
    /// Messages in the file, or durable in MUTT.
    pub received: u64,
    /// From the first message to the last one received.
    #[serde(serialize_with = "seconds")]
    pub elapsed: Duration,
    /// Processor time of the receiver, in seconds.
    pub cpu: f64,
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

impl Turn {
    fn rate(&self) -> f64 {
        self.received as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    fn cost(&self) -> f64 {
        self.cpu * 1e6 / self.received.max(1) as f64
    }

    fn lost(&self) -> f64 {
        self.sent.saturating_sub(self.received) as f64 * 100.0 / self.sent.max(1) as f64
    }
}

/// All turns of one door.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// The door.
    pub case: String,
    /// The daemon beside MUTT.
    pub beside: &'static str,
    /// Its turns.
    pub reference: Vec<Turn>,
    /// MUTT's turns.
    pub ours: Vec<Turn>,
}

impl Figure {
    /// Nothing measured yet.
    pub fn new(case: &str, beside: &'static str) -> Self {
        Self {
            case: case.to_owned(),
            beside,
            reference: Vec::new(),
            ours: Vec::new(),
        }
    }
}

fn median(turns: &[Turn], value: impl Fn(&Turn) -> f64) -> f64 {
    let mut values: Vec<f64> = turns.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Prints the medians of all turns.
pub fn print(figures: &[Figure], json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(figures)?);
        return Ok(());
    }
    println!(
        "| door | receiver | messages/s | CPU per message | lost | messages per CPU-second, \
         MUTT : other |"
    );
    println!("|---|---|---|---|---|---|");
    for figure in figures {
        let cost = |turns: &[Turn]| median(turns, Turn::cost);
        let ratio = cost(&figure.reference) / cost(&figure.ours).max(1e-9);
        for (name, turns, ratio) in [
            (figure.beside, &figure.reference, String::new()),
            ("MUTT, durable", &figure.ours, format!("**{ratio:.2}**")),
        ] {
            println!(
                "| {} | {name} | {:.0} | {:.2} µs | {:.2} % | {ratio} |",
                figure.case,
                median(turns, Turn::rate),
                cost(turns),
                median(turns, Turn::lost),
            );
        }
    }
    Ok(())
}
