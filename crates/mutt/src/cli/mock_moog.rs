//! `mutt mock-moog`.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use mutt_forwarder::MockMoog as Receiver;
use mutt_forwarder::mock::Received;

use crate::exit::{Failure, Outcome};
use crate::output;

/// The window of "at most so many".
const PERIOD: Duration = Duration::from_secs(1);
/// How long arrivals are gathered before they are shown.
const GATHER: Duration = Duration::from_millis(50);

/// A pretend Moogsoft: records what it gets, shows it, and fails, delays or limits on demand.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mutt mock-moog --addr 127.0.0.1:18091\n  curl -d '{\"status\":503,\"for_seconds\":30}' http://127.0.0.1:18091/mock/faults\n  curl http://127.0.0.1:18091/mock/stats"
)]
pub struct MockMoog {
    /// Where it listens
    #[arg(long, default_value = "127.0.0.1:18091")]
    addr: SocketAddr,
    /// Say nothing of single alerts
    #[arg(long)]
    quiet: bool,
}

impl MockMoog {
    /// Runs until it is told to stop.
    pub async fn run(self, json: bool) -> Outcome {
        let mock = Receiver::start(self.addr).await.map_err(Failure::failed)?;
        let addr = mock.local_addr();
        eprintln!(
            "A pretend Moogsoft at http://{addr}/  (faults: POST /mock/faults, counts: GET /mock/stats)"
        );
        let mut arrivals = mock.watch();
        let mut shown = 0_u64;
        loop {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => break,
                changed = arrivals.changed() => if changed.is_err() { break },
            }
            // What is answered later is shown later; a moment gathers what comes together.
            tokio::time::sleep(GATHER).await;
            let answered = mock.stats(PERIOD).by_status.values().sum::<u64>();
            let new = usize::try_from(answered - shown).unwrap_or(usize::MAX);
            shown = answered;
            if !self.quiet {
                mock.received(new)
                    .iter()
                    .for_each(|request| show(request, json));
            }
        }
        let stats = mock.stats(PERIOD);
        eprintln!(
            "{} requests, {} alerts delivered, {} repeats, at most {} requests in a second.",
            stats.total, stats.unique, stats.repeats, stats.most_in_window
        );
        Ok(())
    }
}

fn show(request: &Received, json: bool) {
    if json {
        output::json(request);
        return;
    }
    let alert: serde_json::Value = serde_json::from_str(&request.body).unwrap_or_default();
    // The Events API posts a list of one.
    let alert = alert.get(0).unwrap_or(&alert);
    let text = |name: &str| match alert.get(name) {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "-".to_owned(),
    };
    output::line(&output::harmless(&format!(
        "{}  severity {}  {}  {}  {}",
        request.status,
        text("severity"),
        text("class"),
        text("source"),
        text("description")
    )));
}
