//! Hands finished attempts to the engine, many at a time. While the store is away they are kept and
//! handed in again: what was delivered is not delivered again because of the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mutt_engine::{AlertQueue, Attempt, EngineError, Settlement};
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
    pub(crate) fn start(engine: Arc<dyn AlertQueue>, metrics: Arc<ForwarderMetrics>) -> Self {
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
    engine: Arc<dyn AlertQueue>,
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
    engine: &dyn AlertQueue,
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use async_trait::async_trait;
    use mutt_engine::{ClaimedAlert, NewAlert, Retrying};
    use parking_lot::Mutex;
    use prometheus_client::registry::Registry;

    use super::*;

    /// A queue that fails as often as it is told, and notes what it was given.
    #[derive(Default)]
    struct Queue {
        failures: Mutex<VecDeque<EngineError>>,
        settled: Mutex<Vec<Vec<u64>>>,
    }

    #[async_trait]
    impl AlertQueue for Queue {
        async fn claim_alerts(
            &self,
            _: &Arc<str>,
            _: usize,
            _: Duration,
        ) -> mutt_engine::Result<Vec<ClaimedAlert>> {
            Ok(Vec::new())
        }

        async fn settle_alerts(&self, attempts: Vec<Attempt>) -> mutt_engine::Result<u64> {
            if let Some(error) = self.failures.lock().pop_front() {
                return Err(error);
            }
            let claims: Vec<_> = attempts.iter().map(|attempt| attempt.alert.claim).collect();
            let count = claims.len() as u64;
            self.settled.lock().push(claims);
            Ok(count)
        }

        async fn queue_alert(&self, _: NewAlert) -> mutt_engine::Result<()> {
            Ok(())
        }

        async fn retries(&self, _: usize) -> mutt_engine::Result<(u64, Vec<Retrying>)> {
            Ok((0, Vec::new()))
        }

        async fn alert_depth(&self) -> mutt_engine::Result<u64> {
            Ok(0)
        }
    }

    fn delivered(claim: u64) -> Attempt {
        let alert = ClaimedAlert {
            claim,
            worker: "w".into(),
            element: Arc::from(&b"{}"[..]),
            attempts: 0,
            replays: 0,
        };
        Attempt {
            alert,
            settlement: Settlement::Delivered,
            log: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn settlements_survive_an_outage_of_the_store() {
        let queue = Arc::new(Queue::default());
        let away = || EngineError::Unavailable("disk full".to_owned());
        queue.failures.lock().extend((0..20).map(|_| away()));
        let metrics = Arc::new(ForwarderMetrics::register(&mut Registry::default()));
        let settler = Settler::start(queue.clone(), metrics.clone());
        (1..=3).for_each(|claim| settler.settle(delivered(claim)));
        assert_eq!(settler.unsettled(), 3);
        while settler.unsettled() > 0 {
            settler.freed().await;
        }
        settler.finish().await;
        assert_eq!(
            *queue.settled.lock(),
            [vec![1, 2, 3]],
            "once, all together, in order"
        );
        assert_eq!(metrics.delivered.get(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_that_is_lost_holds_nothing_up() {
        let queue = Arc::new(Queue::default());
        queue.failures.lock().push_back(EngineError::Fenced);
        let metrics = Arc::new(ForwarderMetrics::register(&mut Registry::default()));
        let settler = Settler::start(queue.clone(), metrics.clone());
        settler.settle(delivered(1));
        while settler.unsettled() > 0 {
            settler.freed().await;
        }
        settler.settle(delivered(2));
        settler.finish().await;
        assert_eq!(*queue.settled.lock(), [vec![2]]);
        assert_eq!((metrics.errors.get(), metrics.delivered.get()), (1, 1));
    }
}
