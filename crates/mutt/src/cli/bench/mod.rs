//! `mutt bench`: this machine's rates, through the real path.
//!
//! Every case starts a server of its own as a child process on a temporary directory, offers load
//! over sockets from this process, and counts what became of it against the sender's ledger.

mod browsers;
mod cases;
mod server;

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use mutt_traffic::load;
use serde::Serialize;

use crate::cli::Global;
use crate::exit::Outcome;
use crate::output::{self, Table};

/// Measure this machine through the real path. Load generator and server share its cores.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mutt bench\n  mutt bench http-single syslog-tcp --seconds 10\n  mutt bench pipeline --seconds 60 --json\n\nA release build is needed for figures that mean anything."
)]
pub struct Bench {
    /// What to measure [default: everything]
    #[arg(value_enum)]
    cases: Vec<Case>,
    /// Seconds for each measurement
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    #[arg(long, hide = true)]
    null_server: bool,
}

/// A measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Case {
    /// Start to ready, and memory when idle
    Start,
    /// Single events over HTTP, 64 connections, beside a handler that only answers 200
    HttpSingle,
    /// Batches of 100 events over HTTP
    HttpBatch,
    /// Syslog lines over four TCP connections
    SyslogTcp,
    /// Syslog datagrams
    SyslogUdp,
    /// Receive, decide, audit: every event matched and audited, 1,000 rules
    Pipeline,
    /// The same with one event in ten matched
    PipelineTenth,
    /// The whole road with 10 and with 10,000 rules
    Rules,
    /// Latency from the scheduled send time to audit row and to delivery, 1,000 events/s
    Latency,
    /// 50 browsers on the live pages and 200,000 audit rows, beside the same load without them
    Browsers,
}

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// The measurement.
    pub case: &'static str,
    /// What was measured.
    pub what: String,
    /// The figure.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// What is aimed at, in words.
    pub target: String,
}

impl Bench {
    /// Measures.
    pub async fn run(self, global: &Global) -> Outcome {
        if self.null_server {
            return server::null_server().await;
        }
        if cfg!(debug_assertions) {
            eprintln!(
                "This is a debug build; its figures mean nothing. Use `cargo muttdev bench`."
            );
        }
        let cases = if self.cases.is_empty() {
            Case::value_variants().to_vec()
        } else {
            self.cases
        };
        let flush = load::flush_latency()?;
        let mut figures = Vec::new();
        for case in cases {
            let name = case
                .to_possible_value()
                .map(|value| value.get_name().to_owned())
                .unwrap_or_default();
            eprintln!("{name} …");
            let measured = cases::measure(case, self.seconds).await?;
            for figure in &measured {
                eprintln!(
                    "  {}: {} {}",
                    figure.what,
                    number(figure.value),
                    figure.unit
                );
            }
            figures.extend(measured);
        }
        if global.json {
            let conditions = BTreeMap::from([
                (
                    "cores",
                    std::thread::available_parallelism().map_or(1, usize::from) as f64,
                ),
                ("fdatasync_p50_ms", flush.0),
                ("fdatasync_p99_ms", flush.1),
            ]);
            output::json(&serde_json::json!({"conditions": conditions, "figures": figures}));
            return Ok(());
        }
        let mut table = Table::new(&["CASE", "WHAT", "FIGURE", "TARGET"]);
        for figure in &figures {
            table.row([
                figure.case.to_owned(),
                figure.what.clone(),
                format!("{} {}", number(figure.value), figure.unit),
                figure.target.clone(),
            ]);
        }
        table.print();
        output::line(&format!(
            "{} cores shared by load and server; fdatasync p50 {:.2} ms, p99 {:.2} ms.",
            std::thread::available_parallelism().map_or(1, usize::from),
            flush.0,
            flush.1
        ));
        Ok(())
    }
}

fn number(value: f64) -> String {
    if value >= 100.0 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        output::count(value.round() as u64)
    } else {
        format!("{value:.2}")
    }
}
