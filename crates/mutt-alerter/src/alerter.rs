//! The alerter as a whole: how it starts, runs and ends.

use std::sync::Arc;
use std::time::Duration;

use mutt_engine::{Changed, Dynamic, Engine};
use mutt_rules::Skipped;
use tokio::sync::{Mutex, broadcast, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::health::{self, AlerterHealth};
use crate::metrics::AlerterMetrics;
use crate::options::AlerterOptions;
use crate::shared::{LAST_CALL, Shared, keep_running};
use crate::{housekeeping, reload, worker};

/// The stage that decides.
pub struct Alerter {
    shared: Arc<Shared>,
}

/// A hold on a running alerter; cheap to clone.
#[derive(Clone)]
pub struct AlerterHandle {
    shared: Arc<Shared>,
}

impl AlerterHandle {
    /// Asks for rules, hosts and teams to be loaded again, soon. (SIGHUP.)
    pub fn reload(&self) {
        self.shared.reload.notify_one();
    }

    /// How the alerter is. Asks the store; takes two seconds at most.
    pub async fn health(&self) -> AlerterHealth {
        health::health(&self.shared).await
    }

    /// The hosts with the most events that this alerter decided within the last hour, the busiest
    /// first; an estimate where there are thousands.
    pub fn busy_hosts(&self, limit: usize) -> Vec<(String, u64)> {
        self.shared.busy_hosts.lock().top(limit, Instant::now())
    }

    /// The stored rules that take no part because they cannot be compiled.
    pub fn skipped_rules(&self) -> Vec<Skipped> {
        self.shared.catalog.load().rules().skipped().to_vec()
    }
}

impl Alerter {
    /// An alerter over this engine. `dynamic` are the settings that change while it runs
    /// ([`mutt_engine::dynamic::follow`]). Nothing happens before [`Alerter::run`].
    pub fn new(
        options: AlerterOptions,
        engine: Arc<dyn Engine>,
        dynamic: watch::Receiver<Arc<Dynamic>>,
        metrics: AlerterMetrics,
    ) -> Self {
        Self {
            shared: Arc::new(Shared::new(options, engine, dynamic, metrics)),
        }
    }

    /// A hold on it.
    pub fn handle(&self) -> AlerterHandle {
        AlerterHandle {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Works until `shutdown`: then claims nothing more, finishes what is in flight within
    /// `shutdown_grace`, returns the rest to the queue, and takes leave. A store that is away, even
    /// at the start, is waited for.
    ///
    /// Dropping the future instead leaves the claims in flight to be taken over when the heartbeat
    /// has lapsed.
    pub async fn run(self, shutdown: CancellationToken) {
        let shared = self.shared;
        // Before the first load, so that no change falls between the two.
        let changes = shared.engine.changes();
        // What a former life of this pod held is held by nobody now.
        shared.let_go().await;
        if housekeeping::first_heartbeat(&shared, &shutdown).await
            && reload::load_first(&shared, &shutdown).await
        {
            work(&shared, changes, &shutdown).await;
        }
        shared.let_go().await;
        tracing::info!("the alerter has ended");
    }
}

async fn work(
    shared: &Arc<Shared>,
    changes: broadcast::Receiver<Changed>,
    shutdown: &CancellationToken,
) {
    let (abandon, rest) = (CancellationToken::new(), CancellationToken::new());
    let mut beside = beside(shared, changes, &rest);
    let mut workers = JoinSet::new();
    for index in 0..shared.workers() {
        shared.mark_progress(index);
        let (shared, shutdown, abandon) = (Arc::clone(shared), shutdown.clone(), abandon.clone());
        workers.spawn(async move {
            let task = || worker::work(&shared, index, &shutdown, &abandon);
            keep_running("worker", task, || shared.start_over()).await;
        });
    }
    tracing::info!(pod = %shared.options.pod, workers = shared.workers(), "the alerter works");

    shutdown.cancelled().await;
    let finished = async { while workers.join_next().await.is_some() {} };
    if tokio::time::timeout(shared.options.shutdown_grace, finished)
        .await
        .is_err()
    {
        tracing::warn!("the time to finish is over; returning what is left");
        abandon.cancel();
        // Every worker makes one last call for each of its claims.
        let ended = async { while workers.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(LAST_CALL * 2, ended).await;
        workers.shutdown().await;
    }
    rest.cancel();
    let ended = async { while beside.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(Duration::from_secs(1), ended).await;
}

/// The tasks that run beside the workers, until `stop`.
fn beside(
    shared: &Arc<Shared>,
    changes: broadcast::Receiver<Changed>,
    stop: &CancellationToken,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let hold = || (Arc::clone(shared), stop.clone());

    let (own, until) = hold();
    tasks.spawn(async move {
        keep_running(
            "heartbeat",
            || housekeeping::heartbeats(&own, &until),
            nothing,
        )
        .await;
    });
    let (own, until) = hold();
    tasks.spawn(async move {
        keep_running("janitor", || housekeeping::janitor(&own, &until), nothing).await;
    });
    let (own, until) = hold();
    tasks.spawn(async move {
        keep_running("gauges", || housekeeping::gauges(&own, &until), nothing).await;
    });
    let (own, until) = hold();
    tasks.spawn(async move {
        let changes = Mutex::new(changes);
        let follow = || async { reload::follow(&own, &mut *changes.lock().await, &until).await };
        keep_running("reload", follow, nothing).await;
    });
    tasks
}

/// These tasks leave nothing behind that must be mended.
async fn nothing() {}
