//! The distributed engine beside what it stands on, on this machine: `cargo muttdev bench
//! --distributed [case…]`, or `cargo bench -p mutt --bench distributed -- [case…]`.
//!
//! Starts Redis (AOF, fsync before each answer) and PostgreSQL (fsync on) of its own. What is compared
//! is measured turn by turn in the same run, and the figure is the median; a ratio holds where a
//! single figure depends on the machine. Every case counts what arrived against what was sent.

mod arrival;
mod audit;
mod audit_search;
mod latency;
mod pipeline;
mod processes;
mod reference;
mod report;
mod setup;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use mutt_traffic::load;

/// Measure the distributed engine on this machine, beside Redis and PostgreSQL alone.
#[derive(Debug, Parser)]
#[command(name = "distributed")]
struct Arguments {
    /// What to measure [default: everything]
    #[arg(value_enum)]
    cases: Vec<Case>,
    #[command(flatten)]
    options: Options,
    /// JSON instead of a table
    #[arg(long)]
    json: bool,
    /// What `cargo bench` says to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// How long and how much.
#[derive(Clone, Debug, clap::Args)]
struct Options {
    /// Seconds of load in the cases `pipeline` and `latency`
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Turns of reference and ours
    #[arg(long, default_value_t = 3)]
    turns: usize,
    /// Rows of `event_audit_log` in the case `audit-search`
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// Events per second in the case `latency`
    #[arg(long, default_value_t = 10_000)]
    rate: u32,
}

impl Options {
    fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds.max(1))
    }
}

/// A measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Case {
    /// Events into the queue, beside LPUSH by redis-benchmark
    Arrival,
    /// Claim, decide, audit, beside a bare COPY of the same rows
    Audit,
    /// Ingestor and alerters as processes: receive, decide, audit, 1,000 rules
    Pipeline,
    /// From the scheduled send time to the committed audit row
    Latency,
    /// Pages of the audit trail, and their plans
    AuditSearch,
}

async fn measure(cases: &[Case], options: &Options, json: bool) -> Result<()> {
    let flush = load::flush_latency()?;
    let mut figures = Vec::new();
    for &case in cases {
        let name = case.to_possible_value().expect("no case is hidden");
        eprintln!("{} …", name.get_name());
        let measured = match case {
            Case::Arrival => arrival::measure(options).await?,
            Case::Audit => audit::measure(options).await?,
            Case::Pipeline => pipeline::measure(options).await?,
            Case::Latency => latency::measure(options).await?,
            Case::AuditSearch => audit_search::measure(options).await?,
        };
        figures.extend(measured);
    }
    report::print(&figures, flush, json);
    Ok(())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let cases = if arguments.cases.is_empty() {
        Case::value_variants().to_vec()
    } else {
        arguments.cases
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    match runtime.block_on(measure(&cases, &arguments.options, arguments.json)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
