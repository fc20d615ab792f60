//! Writes down what went well and what did not, and what became of events, so that objectives and
//! charts survive the process and are those of all processes together. What cannot be written is
//! written later.

use std::sync::Arc;
use std::time::Duration;

use mutt_engine::{Component, Engine, FlowCounts, Outcomes};
use mutt_forwarder::Tally;
use mutt_ingest::{IngestMetrics, RejectReason};
use tokio_util::sync::CancellationToken;

/// How often it is written.
const EVERY: Duration = Duration::from_secs(10);

/// What this process counted since it started.
type Counted = Box<dyn Fn() -> Outcomes + Send + Sync>;

/// The outcomes of taking events in, as `mutt_ingest_requests_total` counts them: what the caller did wrong is neither good nor bad.
pub(super) fn of_ingest(metrics: IngestMetrics) -> (Component, Counted) {
    let ours = [
        RejectReason::QueueFull,
        RejectReason::RedisError,
        RejectReason::StoreError,
    ];
    let count = move || Outcomes {
        good: metrics.succeeded().get(),
        bad: ours
            .into_iter()
            .map(|reason| metrics.failed(reason).get())
            .sum(),
    };
    (Component::Ingestor, Box::new(count))
}

/// The outcomes of requests to the sink, as `mutt_moog_requests_total` counts them.
pub(super) fn of_deliveries(tally: Tally) -> (Component, Counted) {
    let count = move || Outcomes {
        good: tally.succeeded(),
        bad: tally.failed(),
    };
    (Component::Forwarder, Box::new(count))
}

/// What became of events in this process since it started.
pub(super) type Flow = Arc<dyn Fn() -> FlowCounts + Send + Sync>;

/// Writes until the end, and once more at the end.
pub(super) async fn record(
    engine: Arc<dyn Engine>,
    counted: Vec<(Component, Counted)>,
    flow: Flow,
    stop: CancellationToken,
) {
    let mut written = vec![Outcomes::default(); counted.len()];
    let mut charted = FlowCounts::default();
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let last = tokio::select! {
            () = stop.cancelled() => true,
            _ = every.tick() => false,
        };
        for ((component, count), written) in counted.iter().zip(&mut written) {
            let now = count();
            let new = Outcomes {
                good: now.good - written.good,
                bad: now.bad - written.bad,
            };
            if new == Outcomes::default() {
                continue;
            }
            match engine.add_outcomes(*component, new).await {
                Ok(()) => *written = now,
                Err(error) => tracing::debug!(%error, "outcomes are written later"),
            }
        }
        let counts = flow();
        let new = counts.since(&charted);
        if new != FlowCounts::default() {
            match engine.add_flow(&new).await {
                Ok(()) => charted = counts,
                Err(error) => tracing::debug!(%error, "counts are written later"),
            }
        }
        if last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use mutt_engine::embedded::{Embedded, Mode};

    use super::*;

    #[tokio::test]
    async fn every_outcome_is_written_once() {
        let directory = tempfile::tempdir().unwrap();
        let engine: Arc<dyn Engine> = Embedded::open(directory.path(), Mode::Server).unwrap();
        let good = Arc::new(AtomicU64::new(3));
        let counter = good.clone();
        let count = move || Outcomes {
            good: counter.load(Ordering::Relaxed),
            bad: 1,
        };
        let stop = CancellationToken::new();
        let counted: Vec<(Component, Counted)> = vec![(Component::Forwarder, Box::new(count))];
        let counter = good.clone();
        let flow: Flow = Arc::new(move || FlowCounts {
            delivered: counter.load(Ordering::Relaxed),
            ..FlowCounts::default()
        });
        let work = tokio::spawn(record(engine.clone(), counted, flow, stop.clone()));
        let start = tokio::time::Instant::now();
        while engine
            .outcomes(Component::Forwarder, 60)
            .await
            .unwrap()
            .good
            < 3
        {
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "nothing is written"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        good.store(5, Ordering::Relaxed);
        stop.cancel();
        work.await.unwrap();
        let all = engine.outcomes(Component::Forwarder, 60).await.unwrap();
        assert_eq!(all, Outcomes { good: 5, bad: 1 });
        let flow = engine.flow(60).await.unwrap();
        let delivered: u64 = flow.iter().map(|(_, counts)| counts.delivered).sum();
        assert_eq!(delivered, 5);
    }
}
