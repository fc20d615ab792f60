//! Sends dead letters round again once the sink is well. It moves entries from queue to queue and
//! never sends anything to the sink itself.

use std::sync::Arc;
use std::time::Duration;

use mutt_engine::dead_letters::{Remediated, ReplayPolicy};
use mutt_engine::{CircuitState, Dlq, Dynamic, Engine};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metrics::{CIRCUIT, RemediationMetrics};
use crate::sink::Sink;

/// The queues whose entries can heal by waiting.
const QUEUES: [Dlq; 2] = [Dlq::Moog, Dlq::Alerter];

/// How remediation works (static settings; scan interval and replays are dynamic).
#[derive(Clone, Copy, Debug)]
pub struct RemediationOptions {
    /// `REMEDIATION_BATCH_SIZE`: entries per step.
    pub batch: usize,
    /// `REMEDIATION_BACKOFF_BASE`: an entry waits this × 2^replays after its last failure.
    pub backoff: Duration,
    /// Whether the circuit has a say (`CIRCUIT_BREAKER_ENABLED`).
    pub circuit_enabled: bool,
}

impl Default for RemediationOptions {
    fn default() -> Self {
        Self {
            batch: 100,
            backoff: Duration::from_mins(1),
            circuit_enabled: true,
        }
    }
}

/// Replays dead letters. See the module.
pub struct Remediation {
    engine: Arc<dyn Engine>,
    sink: Arc<dyn Sink>,
    dynamic: watch::Receiver<Arc<Dynamic>>,
    options: RemediationOptions,
    metrics: RemediationMetrics,
}

/// What one scan did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Why nothing was replayed: the sink is not well.
    pub held_back: Option<String>,
    /// Entries that went back to their queue.
    pub replayed: u64,
    /// Entries that went to `mutt:dlq:dead`.
    pub poison: u64,
}

impl Remediation {
    /// Remediation; [`Self::run`] sets it to work.
    pub fn new(
        engine: Arc<dyn Engine>,
        sink: Arc<dyn Sink>,
        dynamic: watch::Receiver<Arc<Dynamic>>,
        options: RemediationOptions,
        metrics: RemediationMetrics,
    ) -> Self {
        Self {
            engine,
            sink,
            dynamic,
            options,
            metrics,
        }
    }

    /// Scans every `remediation_scan_interval` until `shutdown`. A changed interval holds at once,
    /// counted from the last scan.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut last = Instant::now();
        self.depths().await;
        loop {
            let interval = self
                .dynamic
                .borrow_and_update()
                .seconds("remediation_scan_interval");
            tokio::select! {
                () = shutdown.cancelled() => return,
                Ok(()) = self.dynamic.changed() => continue,
                () = tokio::time::sleep_until(last + interval) => {}
            }
            last = Instant::now();
            // Every step is atomic, so a scan may end between two of them.
            if let Some(scan) = shutdown.run_until_cancelled(self.scan()).await {
                report(&scan);
            }
        }
    }

    /// One scan: step by step until a step moves nothing.
    pub async fn scan(&self) -> Scan {
        let begin = Instant::now();
        let mut scan = Scan::default();
        match self.sink_is_well().await {
            Ok(()) => {
                self.metrics.healthy.set(1);
                for queue in QUEUES {
                    self.replay(queue, &mut scan).await;
                }
            }
            Err(why) => {
                self.metrics.healthy.set(0);
                scan.held_back = Some(why);
            }
        }
        self.depths().await;
        self.metrics.scanned(begin.elapsed());
        scan
    }

    async fn replay(&self, queue: Dlq, scan: &mut Scan) {
        loop {
            match self.engine.remediate(queue, self.policy()).await {
                Ok(Remediated {
                    replayed: 0,
                    poison: 0,
                }) => return,
                Ok(Remediated { replayed, poison }) => {
                    self.metrics.replayed(queue, replayed);
                    self.metrics.poison.inc_by(poison);
                    scan.replayed += replayed;
                    scan.poison += poison;
                }
                Err(error) => {
                    self.metrics.failed(queue);
                    tracing::warn!(%error, queue = queue.key(), "dead letters wait for the store");
                    return;
                }
            }
            // What was replayed may have shown that the sink is not well after all.
            if let Err(why) = self.circuit_is_closed().await {
                scan.held_back = Some(why);
                return;
            }
        }
    }

    async fn sink_is_well(&self) -> Result<(), String> {
        self.circuit_is_closed().await?;
        self.sink.configured()?;
        self.sink.healthy().await
    }

    async fn circuit_is_closed(&self) -> Result<(), String> {
        if !self.options.circuit_enabled {
            return Ok(());
        }
        match self.engine.circuit(CIRCUIT).await {
            Ok(circuit) if circuit.state == CircuitState::Closed => Ok(()),
            Ok(circuit) => Err(format!("the circuit is {}", circuit.state.name())),
            Err(error) => Err(error.to_string()),
        }
    }

    fn policy(&self) -> ReplayPolicy {
        let replays = self.dynamic.borrow().integer("remediation_max_retries");
        ReplayPolicy {
            batch: self.options.batch.max(1),
            max_replays: u32::try_from(replays).unwrap_or(u32::MAX),
            backoff: self.options.backoff,
        }
    }

    async fn depths(&self) {
        for queue in Dlq::ALL {
            if let Ok(depth) = self.engine.dlq_depth(queue).await {
                self.metrics.depth(queue, depth);
            }
        }
    }
}

fn report(scan: &Scan) {
    match &scan.held_back {
        Some(why) => tracing::debug!(why, "dead letters are held back"),
        None if scan.replayed + scan.poison > 0 => tracing::info!(
            replayed = scan.replayed,
            poison = scan.poison,
            "dead letters were sent back to their queues"
        ),
        None => {}
    }
}
