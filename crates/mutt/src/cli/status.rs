//! `mutt status`.

use std::collections::BTreeMap;

use clap::Args;
use serde::Deserialize;

use crate::api::{Api, Target};
use crate::context::Context;
use crate::exit::{Failure, Outcome};
use crate::output::{self, Style, Table};

/// What waits, who works, how the sink is. Exit code 3 where something is wrong.
#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    target: Target,
}

/// What `GET /api/v2/status` says.
#[derive(Debug, Deserialize)]
pub struct State {
    pub version: String,
    pub engine: String,
    pub queues: Vec<Queue>,
    pub circuit: Circuit,
    pub rates: Rates,
    pub problems: Vec<String>,
    pub attention: Vec<Attention>,
    pub pods: Vec<Pod>,
    pub road: Road,
    pub floods: Vec<Flood>,
}

/// A sender that sends more than its limit.
#[derive(Debug, Deserialize)]
pub struct Flood {
    pub address: String,
    pub hostname: String,
    pub listener: String,
    pub since: jiff::Timestamp,
    pub kept_per_second: f64,
    pub dropped_per_second: f64,
    pub dropped: u64,
}

/// A door that is open.
#[derive(Debug, Deserialize)]
#[allow(clippy::struct_field_names, reason = "names of the API")]
pub struct Listener {
    pub listener: String,
    pub address: String,
    pub received: u64,
    pub accepted: u64,
    pub last_received_at: Option<jiff::Timestamp>,
    pub dropped: BTreeMap<String, u64>,
}

/// Something that needs a person.
#[derive(Debug, Deserialize)]
pub struct Attention {
    pub severity: String,
    pub title: String,
    pub detail: String,
}

#[derive(Debug, Deserialize)]
#[allow(clippy::struct_field_names, reason = "names of the API")]
pub struct Pod {
    pub pod: String,
    pub roles: Vec<String>,
    pub version: String,
    pub heartbeat_age_seconds: f64,
    pub held: u64,
    pub listeners: Vec<Listener>,
}

/// Events and alerts per second, over all processes.
#[derive(Debug, Deserialize)]
pub struct Road {
    pub received: Pace,
    pub decided: Pace,
    pub delivered: Pace,
}

#[derive(Debug, Deserialize)]
pub struct Pace {
    pub per_second: f64,
    #[serde(default)]
    pub unhandled: f64,
    #[serde(default)]
    pub failed: f64,
}

#[derive(Debug, Deserialize)]
pub struct Queue {
    pub name: String,
    pub depth: u64,
    pub claimed: u64,
    pub oldest: Option<jiff::Timestamp>,
}

#[derive(Debug, Deserialize)]
pub struct Circuit {
    pub state: String,
    pub failures: u64,
}

#[derive(Debug, Deserialize)]
pub struct Rates {
    pub current_rate_1m: f64,
    pub avg_rate_15m: f64,
    pub avg_rate_1h: f64,
}

impl Status {
    /// Prints it.
    pub async fn run(self, context: &Context) -> Outcome {
        let api = Api::new(context, &self.target).await?;
        let document: serde_json::Value = api.get("/api/v2/status").await?;
        let state = State::deserialize(&document)
            .map_err(|error| Failure::failed(format!("the status is not understood: {error}")))?;
        if context.json {
            output::json(&document);
        } else {
            print(&state);
        }
        match state.problems.len() {
            0 => Ok(()),
            1 => Err(Failure::problem(&state.problems[0])),
            many => Err(Failure::problem(format!(
                "{many} problems: {}",
                state.problems.join("; ")
            ))),
        }
    }
}

fn print(state: &State) {
    let colour = output::colour();
    output::line(&format!("MUTT {} on {}", state.version, state.engine));
    let closed = state.circuit.state == "closed";
    let circuit = if closed {
        output::paint(colour, Style::Green, "closed")
    } else {
        output::paint(colour, Style::Red, &state.circuit.state)
    };
    output::line(&format!(
        "events/min {:.0} now, {:.0} over 15 min, {:.0} over 1 h    circuit {circuit} ({} failures)",
        state.rates.current_rate_1m,
        state.rates.avg_rate_15m,
        state.rates.avg_rate_1h,
        state.circuit.failures
    ));
    output::line("");
    let mut table = Table::new(&["QUEUE", "WAITING", "CLAIMED", "OLDEST"]);
    for queue in &state.queues {
        let oldest = queue.oldest.map_or_else(|| "-".into(), age);
        table.row([
            queue.name.clone(),
            output::count(queue.depth),
            output::count(queue.claimed),
            oldest,
        ]);
    }
    table.print();
    output::line("");
    let mut table = Table::new(&["POD", "ROLES", "VERSION", "SEEN", "HOLDS"]);
    for pod in &state.pods {
        table.row([
            output::harmless(&pod.pod),
            pod.roles.join(","),
            pod.version.clone(),
            format!("{:.0} s", pod.heartbeat_age_seconds),
            output::count(pod.held),
        ]);
    }
    table.print();
    output::line("");
    listeners(&state.pods).print();
    if !state.floods.is_empty() {
        output::line("");
        floods(&state.floods).print();
    }
    if !state.attention.is_empty() {
        output::line("");
    }
    for line in needs_attention(&state.attention, colour) {
        output::line(&line);
    }
}

fn listeners(pods: &[Pod]) -> Table {
    let mut table = Table::new(&[
        "LISTENER",
        "ADDRESS",
        "POD",
        "LAST",
        "RECEIVED",
        "ACCEPTED",
        "NOT TAKEN",
    ]);
    for pod in pods {
        for listener in &pod.listeners {
            table.row([
                listener.listener.clone(),
                listener.address.clone(),
                pod.pod.clone(),
                listener.last_received_at.map_or_else(|| "-".into(), age),
                output::count(listener.received),
                output::count(listener.accepted),
                not_taken(&listener.dropped),
            ]);
        }
    }
    table
}

/// Reasons with their counts, most first; a dash where there is none.
pub fn not_taken(dropped: &BTreeMap<String, u64>) -> String {
    let mut reasons: Vec<_> = dropped.iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    if reasons.is_empty() {
        return "-".into();
    }
    let reasons: Vec<_> = reasons
        .into_iter()
        .map(|(reason, count)| format!("{} {reason}", output::count(*count)))
        .collect();
    reasons.join(", ")
}

/// The senders that flood, the worst first.
pub fn floods(floods: &[Flood]) -> Table {
    let mut table = Table::new(&[
        "FLOODS",
        "ADDRESS",
        "LISTENER",
        "FOR",
        "KEPT/S",
        "DROPPED/S",
        "DROPPED",
    ]);
    for flood in floods {
        table.row([
            flood.hostname.clone(),
            flood.address.clone(),
            flood.listener.clone(),
            age(flood.since),
            format!("{:.0}", flood.kept_per_second),
            format!("{:.0}", flood.dropped_per_second),
            output::count(flood.dropped),
        ]);
    }
    table
}

/// What needs a person, one line each.
pub fn needs_attention(attention: &[Attention], colour: bool) -> Vec<String> {
    attention
        .iter()
        .map(|item| {
            let (mark, style) = match item.severity.as_str() {
                "critical" => ("!!", Style::Red),
                "warning" => ("! ", Style::Yellow),
                _ => ("i ", Style::Dim),
            };
            let text = format!("{mark} {}: {}. {}", item.severity, item.title, item.detail);
            output::paint(colour, style, &output::harmless(text.trim_end()))
        })
        .collect()
}

/// How long ago, in the largest unit that says it.
pub fn age(time: jiff::Timestamp) -> String {
    let seconds = jiff::Timestamp::now().duration_since(time).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}
