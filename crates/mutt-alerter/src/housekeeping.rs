//! What the alerter does beside deciding: signs of life, claims of dead workers, gauges.

use std::time::Duration;

use jiff::Timestamp;
use mutt_engine::{Dlq, EngineError, WorkerKind};
use tokio_util::sync::CancellationToken;

use crate::metrics::{AGED_QUEUES, Operation, gauge};
use crate::shared::{Shared, sleep_unless};

/// Gives the first sign of life, before anything is claimed; `false` where `stop` came first.
pub(crate) async fn first_heartbeat(shared: &Shared, stop: &CancellationToken) -> bool {
    let mut backoff = shared.backoff();
    loop {
        match shared.heartbeat().await {
            Ok(()) => return true,
            Err(error) => {
                let delay = shared.store_failed(Operation::Heartbeat, &error, &mut backoff);
                if !sleep_unless(stop, delay).await {
                    return false;
                }
            }
        }
    }
}

/// Gives a sign of life every `heartbeat_interval`, as long as the workers get on: claims of a pod
/// whose workers hang are better decided by another.
pub(crate) async fn heartbeats(shared: &Shared, stop: &CancellationToken) {
    let interval = shared.options.heartbeat_interval;
    let mut backoff = shared.backoff();
    let mut silent = false;
    let mut delay = interval;
    while sleep_unless(stop, delay).await {
        delay = interval;
        let silence = shared.longest_silence();
        if silence > shared.options.heartbeat_lifetime() {
            if !silent {
                tracing::error!(
                    ?silence,
                    "a worker hangs: no signs of life until it gets on"
                );
            }
            silent = true;
            continue;
        }
        silent = false;
        match shared.heartbeat().await {
            Ok(()) => backoff.reset(),
            Err(error) => {
                delay = shared
                    .store_failed(Operation::Heartbeat, &error, &mut backoff)
                    .min(interval);
            }
        }
    }
}

/// Returns what dead workers hold, every `janitor_interval`.
pub(crate) async fn janitor(shared: &Shared, stop: &CancellationToken) {
    let mut backoff = shared.backoff();
    loop {
        let delay = match recover(shared).await {
            Ok(()) => {
                backoff.reset();
                shared.options.janitor_interval
            }
            Err(error) => shared.store_failed(Operation::Recover, &error, &mut backoff),
        };
        if !sleep_unless(stop, delay).await {
            return;
        }
    }
}

async fn recover(shared: &Shared) -> Result<(), EngineError> {
    let recovered = shared.engine.recover().await?;
    if recovered > 0 {
        shared.metrics.claims_recovered.inc_by(recovered);
        tracing::warn!(recovered, "what dead workers held went back to its queues");
    }
    Ok(())
}

/// Brings gauges up to date, every `status_interval`.
pub(crate) async fn gauges(shared: &Shared, stop: &CancellationToken) {
    let mut backoff = shared.backoff();
    loop {
        let delay = match refresh(shared).await {
            Ok(()) => {
                backoff.reset();
                shared.options.status_interval
            }
            Err(error) => shared
                .store_failed(Operation::Status, &error, &mut backoff)
                .max(Duration::from_secs(1)),
        };
        if !sleep_unless(stop, delay).await {
            return;
        }
    }
}

async fn refresh(shared: &Shared) -> Result<(), EngineError> {
    let metrics = &shared.metrics;
    metrics.set_alert_depth(shared.engine.alert_depth().await?);
    metrics
        .ingest_queue_depth
        .set(gauge(shared.engine.event_depth().await?));
    metrics
        .dlq_depth
        .set(gauge(shared.engine.dlq_depth(Dlq::Alerter).await?));
    let status = shared.engine.status().await?;
    let held: u64 = status
        .workers
        .iter()
        .filter(|worker| worker.kind == WorkerKind::Alerter)
        .map(|worker| worker.held)
        .sum();
    metrics.processing_list_depth.set(gauge(held));
    let now = Timestamp::now();
    for (index, name) in AGED_QUEUES.into_iter().enumerate() {
        let queue = status.queues.iter().find(|queue| queue.name == name);
        let oldest = queue.and_then(|queue| queue.oldest);
        let age = oldest.map_or(0.0, |oldest| now.duration_since(oldest).as_secs_f64());
        metrics.oldest_age(index).set(age.max(0.0));
    }
    Ok(())
}
