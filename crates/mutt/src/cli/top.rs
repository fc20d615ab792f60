//! `mutt top`.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use crate::api::{Api, Target};
use crate::cli::status::{Road, State, age, floods, needs_attention};
use crate::context::Context;
use crate::exit::{Failure, Outcome};
use crate::output::{self, Style};

/// Watch rates, queues and busy rules. Without a terminal one line per interval is printed.
#[derive(Debug, Args)]
pub struct Top {
    /// Seconds between looks
    #[arg(long, default_value_t = 1.0, value_parser = interval)]
    interval: f64,
    /// Look once and end
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    target: Target,
}

fn interval(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|seconds| (0.1..=3600.0).contains(seconds))
        .ok_or_else(|| "allowed is a number of seconds from 0.1 to 3600".into())
}

#[derive(Debug, Deserialize)]
struct Totals {
    received: u64,
    decided: u64,
    unhandled: u64,
    delivered: u64,
    failed: u64,
}

#[derive(Debug, Deserialize)]
struct BusyRule {
    id: i64,
    looks_for: String,
    hits_1h: u64,
}

#[derive(Debug, Deserialize)]
struct Look {
    #[serde(flatten)]
    state: State,
    totals: Totals,
    busy_rules: Vec<BusyRule>,
}

impl Top {
    /// Looks until it is told to stop.
    pub async fn run(self, context: &Context) -> Outcome {
        let api = Api::new(context, &self.target).await?;
        let screen = std::io::stdout().is_terminal() && !context.json && !self.once;
        let mut ticks = tokio::time::interval(Duration::from_secs_f64(self.interval));
        let _screen = screen.then(Screen::open);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = tokio::signal::ctrl_c() => return Ok(()),
            }
            let document: serde_json::Value = api.get("/api/v2/status").await?;
            let look = Look::deserialize(&document).map_err(|error| {
                Failure::failed(format!("the status is not understood: {error}"))
            })?;
            if context.json {
                output::json(&document);
            } else if screen {
                let lines = draw(&look, true);
                let mut out = std::io::stdout().lock();
                let _ = write!(out, "\x1b[H");
                for line in lines {
                    let _ = write!(out, "{line}\x1b[K\r\n");
                }
                let _ = write!(out, "\x1b[J");
                let _ = out.flush();
            } else if self.once {
                for line in draw(&look, output::colour()) {
                    output::line(&line);
                }
            } else {
                let road = &look.state.road;
                let depth: u64 = look.state.queues.iter().map(|queue| queue.depth).sum();
                output::line(&format!(
                    "received {:.0}/s decided {:.0}/s unhandled {:.0}/s delivered {:.0}/s waiting {depth} circuit {}",
                    road.received.per_second,
                    road.decided.per_second,
                    road.decided.unhandled,
                    road.delivered.per_second,
                    look.state.circuit.state
                ));
            }
            if self.once {
                return Ok(());
            }
        }
    }
}

/// The alternate screen, left again however the command ends.
struct Screen;

impl Screen {
    fn open() -> Self {
        print!("\x1b[?1049h\x1b[?25l\x1b[2J");
        let _ = std::io::stdout().flush();
        Self
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        print!("\x1b[?25h\x1b[?1049l");
        let _ = std::io::stdout().flush();
    }
}

fn draw(look: &Look, colour: bool) -> Vec<String> {
    let width = output::width();
    let mut lines = Vec::new();
    let state = &look.state;
    lines.push(format!(
        "{}  on {}    Ctrl-C ends",
        output::paint(colour, Style::Bold, &format!("MUTT {}", state.version)),
        state.engine
    ));
    lines.push(String::new());
    let totals = &look.totals;
    let Road {
        received,
        decided,
        delivered,
    } = &state.road;
    let lanes = [
        (
            "received",
            totals.received,
            received.per_second,
            Style::Cyan,
        ),
        ("decided", totals.decided, decided.per_second, Style::Green),
        (
            "unhandled",
            totals.unhandled,
            decided.unhandled,
            Style::Yellow,
        ),
        (
            "delivered",
            totals.delivered,
            delivered.per_second,
            Style::Green,
        ),
        ("failed", totals.failed, delivered.failed, Style::Red),
    ];
    let most = lanes.iter().map(|lane| lane.2).fold(1.0, f64::max);
    for (name, total, rate, style) in lanes {
        let room = width.saturating_sub(48).min(60) as f64;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let bar = "█".repeat((rate / most * room).round() as usize);
        let style = if name == "failed" && rate == 0.0 {
            Style::Dim
        } else {
            style
        };
        lines.push(format!(
            "  {name:<10} {rate:>9.1}/s {:>14} total  {}",
            output::count(total),
            output::paint(colour, style, &bar)
        ));
    }
    lines.push(String::new());
    lines.push(output::paint(
        colour,
        Style::Bold,
        "  QUEUE                          WAITING    CLAIMED  OLDEST",
    ));
    for queue in &state.queues {
        let style = if queue.depth == 0 {
            Style::Dim
        } else {
            Style::Plain
        };
        let text = format!(
            "  {:<28} {:>9}  {:>9}  {}",
            queue.name,
            output::count(queue.depth),
            output::count(queue.claimed),
            queue.oldest.map_or_else(|| "-".into(), age)
        );
        lines.push(output::paint(colour, style, &text));
    }
    lines.push(String::new());
    let style = if state.circuit.state == "closed" {
        Style::Green
    } else {
        Style::Red
    };
    lines.push(format!(
        "  sink circuit {} ({} failures)",
        output::paint(colour, style, &state.circuit.state),
        state.circuit.failures
    ));
    for line in needs_attention(&state.attention, colour) {
        lines.push(format!("  {line}"));
    }
    if !state.floods.is_empty() {
        lines.push(String::new());
        let table = floods(&state.floods).lines(colour, colour.then_some(width.saturating_sub(2)));
        lines.extend(table.into_iter().map(|line| format!("  {line}")));
    }
    if !look.busy_rules.is_empty() {
        lines.push(String::new());
        lines.push(output::paint(
            colour,
            Style::Bold,
            "  RULE   HITS 1H  LOOKS FOR",
        ));
        for rule in &look.busy_rules {
            let text = format!(
                "  {:>4} {:>9}  {}",
                rule.id,
                output::count(rule.hits_1h),
                output::harmless(&rule.looks_for)
            );
            lines.push(if colour {
                output::cut(&text, width)
            } else {
                text
            });
        }
    }
    lines
}
