//! Beside the deliveries: the sign of life, and the gauges that nobody else sets.

use std::sync::Arc;
use std::time::Duration;

use mutt_engine::{Dlq, Engine, WorkerKind};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Forwarder;
use crate::metrics::{CIRCUIT, ForwarderMetrics, signed};

/// How often gauges are read.
const GAUGES: Duration = Duration::from_secs(2);
/// A sign of life that failed is repeated this soon.
const AGAIN: Duration = Duration::from_millis(500);

/// Starts both; they end with the set.
pub(super) fn start(forwarder: &Forwarder) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(heartbeat(
        forwarder.engine.clone(),
        forwarder.options.pod.clone(),
        forwarder.options.heartbeat_interval,
    ));
    tasks.spawn(gauges(forwarder.engine.clone(), forwarder.metrics.clone()));
    tasks
}

/// The first sign of life, before anything is claimed: without one the claims look like a dead
/// worker's, go to somebody else and are sent twice. `false` where `shutdown` came first.
pub(super) async fn first_heartbeat(forwarder: &Forwarder, shutdown: &CancellationToken) -> bool {
    let options = &forwarder.options;
    let lifetime = options.heartbeat_interval * 3;
    while let Err(error) = forwarder
        .engine
        .heartbeat(WorkerKind::Moog, &options.pod, lifetime)
        .await
    {
        tracing::warn!(%error, "no sign of life could be given; nothing is claimed before");
        if shutdown
            .run_until_cancelled(tokio::time::sleep(AGAIN))
            .await
            .is_none()
        {
            return false;
        }
    }
    true
}

async fn heartbeat(engine: Arc<dyn Engine>, pod: Arc<str>, interval: Duration) {
    loop {
        let next = match engine.heartbeat(WorkerKind::Moog, &pod, interval * 3).await {
            Ok(()) => interval,
            Err(error) => {
                tracing::warn!(%error, "no sign of life could be given");
                AGAIN.min(interval)
            }
        };
        tokio::time::sleep(next).await;
    }
}

async fn gauges(engine: Arc<dyn Engine>, metrics: Arc<ForwarderMetrics>) {
    loop {
        if let Ok(depth) = engine.dlq_depth(Dlq::Moog).await {
            metrics.dlq_depth.set(signed(depth));
        }
        if let Ok(circuit) = engine.circuit(CIRCUIT).await {
            metrics.circuit_failures.set(i64::from(circuit.failures));
        }
        tokio::time::sleep(GAUGES).await;
    }
}
