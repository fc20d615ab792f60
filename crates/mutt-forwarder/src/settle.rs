//! Hands finished attempts to the engine, many at a time. While the store is away they are kept and
//! handed in again: what was delivered is not delivered again because of the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mutt_engine::{Attempt, Engine, EngineError, Settlement};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use crate::backoff::Backoff;
use crate::metrics::ForwarderMetrics;

/// The most attempts in one settlement.
const BATCH: usize = 512;
const STORE_BACKOFF: Backoff = Backoff {
    base: Duration::from_millis(50),
    max: Duration::from_secs(2),
};

/// Where finished attempts go. The channel needs no bound of its own: nothing is claimed while too
/// many alerts are held, and unsettled ones are held.
#[derive(Debug)]
pub(crate) struct Settler {
    attempts: mpsc::UnboundedSender<Attempt>,
    unsettled: Arc<AtomicUsize>,
    freed: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Settler {
    pub(crate) fn start(engine: Arc<dyn Engine>, metrics: Arc<ForwarderMetrics>) -> Self {
        let (attempts, queue) = mpsc::unbounded_channel();
        let unsettled = Arc::new(AtomicUsize::new(0));
        let freed = Arc::new(Notify::new());
        let task = tokio::spawn(settle(
            engine,
            metrics,
            queue,
            unsettled.clone(),
            freed.clone(),
        ));
        Self {
            attempts,
            unsettled,
            freed,
            task,
        }
    }

    pub(crate) fn settle(&self, attempt: Attempt) {
        self.unsettled.fetch_add(1, Ordering::Relaxed);
        // The other end lives until this one is dropped.
        let _ = self.attempts.send(attempt);
    }

    /// Attempts that are not settled yet.
    pub(crate) fn unsettled(&self) -> usize {
        self.unsettled.load(Ordering::Relaxed)
    }

    /// Waits until some were settled.
    pub(crate) async fn freed(&self) {
        self.freed.notified().await;
    }

    /// Settles what is left, for as long as it takes.
    pub(crate) async fn finish(self) {
        drop(self.attempts);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "settling ended in disorder; other pods will take the claims over");
        }
    }
}

async fn settle(
    engine: Arc<dyn Engine>,
    metrics: Arc<ForwarderMetrics>,
    mut queue: mpsc::UnboundedReceiver<Attempt>,
    unsettled: Arc<AtomicUsize>,
    freed: Arc<Notify>,
) {
    let mut batch = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        let attempts = std::mem::take(&mut batch);
        let count = attempts.len();
        let delivered = count_where(&attempts, |end| matches!(end, Settlement::Delivered));
        let dead = count_where(&attempts, |end| matches!(end, Settlement::Dead { .. }));
        if let Some(settled) = persist(&*engine, &metrics, attempts).await {
            metrics.delivered.inc_by(delivered);
            metrics.dead.inc_by(dead);
            if settled < count as u64 {
                let missed = count as u64 - settled;
                metrics.errors.inc_by(missed);
                tracing::warn!(
                    missed,
                    "alerts were taken over by another pod before they were settled; the sink may see them again"
                );
            }
        }
        unsettled.fetch_sub(count, Ordering::Relaxed);
        freed.notify_one();
    }
}

/// Settles until it is done; `None` where the engine will never take it.
async fn persist(
    engine: &dyn Engine,
    metrics: &ForwarderMetrics,
    attempts: Vec<Attempt>,
) -> Option<u64> {
    let mut failures = 0;
    loop {
        match engine.settle_alerts(attempts.clone()).await {
            Ok(settled) => return Some(settled),
            Err(error @ EngineError::Fenced) => {
                metrics.errors.inc_by(attempts.len() as u64);
                tracing::warn!(%error, count = attempts.len(), "attempts could not be settled");
                return None;
            }
            Err(error) => {
                if failures == 0 {
                    tracing::warn!(%error, count = attempts.len(), "settling waits for the store");
                }
                tokio::time::sleep(STORE_BACKOFF.delay(failures)).await;
                failures = failures.saturating_add(1);
            }
        }
    }
}

fn count_where(attempts: &[Attempt], is: impl Fn(&Settlement) -> bool) -> u64 {
    attempts
        .iter()
        .filter(|attempt| is(&attempt.settlement))
        .count() as u64
}
