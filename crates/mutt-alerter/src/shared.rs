//! What the alerter's tasks share: the engine, the options, the rules in force, and the little they
//! tell one another.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use mutt_engine::{Dynamic, Engine, EngineError, WorkerKind};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::busy::BusyHosts;
use crate::catalog::Snapshot;
use crate::decide::panic_text;
use crate::metrics::{AlerterMetrics, Operation};
use crate::options::AlerterOptions;
use crate::pressure::Gate;
use crate::sampling::Sampler;

/// How long a last call to the store may take when the alerter ends.
pub(crate) const LAST_CALL: Duration = Duration::from_secs(2);

/// How the last load of rules, hosts and teams went.
#[derive(Clone, Debug, Default)]
pub(crate) struct LoadState {
    pub(crate) loaded: bool,
    pub(crate) last_error: Option<String>,
}

pub(crate) struct Shared {
    pub(crate) options: AlerterOptions,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) metrics: AlerterMetrics,
    pub(crate) dynamic: watch::Receiver<Arc<Dynamic>>,
    pub(crate) catalog: ArcSwap<Snapshot>,
    pub(crate) load_state: Mutex<LoadState>,
    /// Somebody asks for a load.
    pub(crate) reload: Notify,
    pub(crate) gate: Gate,
    pub(crate) sampler: Sampler,
    pub(crate) busy_hosts: Mutex<BusyHosts>,
    born: Instant,
    /// When each worker last got on, in milliseconds since `born`.
    progress: Box<[AtomicU64]>,
}

impl Shared {
    pub(crate) fn new(
        options: AlerterOptions,
        engine: Arc<dyn Engine>,
        dynamic: watch::Receiver<Arc<Dynamic>>,
        metrics: AlerterMetrics,
    ) -> Self {
        let progress = (0..options.workers.max(1))
            .map(|_| AtomicU64::new(0))
            .collect();
        Self {
            options,
            engine,
            metrics,
            dynamic,
            catalog: ArcSwap::from_pointee(Snapshot::empty()),
            load_state: Mutex::default(),
            reload: Notify::new(),
            gate: Gate::default(),
            sampler: Sampler::default(),
            busy_hosts: Mutex::new(BusyHosts::new()),
            born: Instant::now(),
            progress,
        }
    }

    pub(crate) fn workers(&self) -> usize {
        self.progress.len()
    }

    /// The worker got on: it works, waits for work, or tries the store again.
    pub(crate) fn mark_progress(&self, worker: usize) {
        let now = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.progress[worker].store(now, Ordering::Relaxed);
    }

    /// How long the worker that is furthest behind has not got on.
    pub(crate) fn longest_silence(&self) -> Duration {
        let last = self
            .progress
            .iter()
            .map(|at| at.load(Ordering::Relaxed))
            .min()
            .unwrap_or(0);
        self.born
            .elapsed()
            .saturating_sub(Duration::from_millis(last))
    }

    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(self.options.retry_base, self.options.retry_max)
    }

    pub(crate) async fn heartbeat(&self) -> Result<(), EngineError> {
        let lifetime = self.options.heartbeat_lifetime();
        self.engine
            .heartbeat(WorkerKind::Alerter, &self.options.pod, lifetime)
            .await
    }

    /// Gives up everything this pod holds: it goes back to the queue, and whoever still works on it
    /// is fenced off.
    pub(crate) async fn let_go(&self) {
        let retire = self.engine.retire(WorkerKind::Alerter, &self.options.pod);
        match tokio::time::timeout(LAST_CALL, retire).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "what this pod held could not be returned; \
                the others take it over when its heartbeat has lapsed"),
            Err(_) => tracing::warn!(
                "returning what this pod held took too long; the others take \
                it over when its heartbeat has lapsed"
            ),
        }
    }

    /// Something is wrong in this program: a claim may be held by nobody. All claims go back.
    pub(crate) async fn start_over(&self) {
        self.let_go().await;
        if let Err(error) = self.heartbeat().await {
            tracing::warn!(%error, "no heartbeat could be given; it is tried again in time");
        }
    }

    /// Notes a failed call to the store and returns how long to wait. Only the first failure in a
    /// row is worth a warning.
    pub(crate) fn store_failed(
        &self,
        operation: Operation,
        error: &EngineError,
        backoff: &mut Backoff,
    ) -> Duration {
        self.metrics.store_errors(operation).inc();
        let first = !backoff.is_failing();
        let delay = backoff.next();
        let operation = operation.name();
        if first {
            tracing::warn!(operation, %error, "the store failed; trying again until it answers");
        } else {
            tracing::debug!(operation, %error, ?delay, "the store failed again");
        }
        delay
    }
}

/// Sleeps; `false` where `stop` came first.
pub(crate) async fn sleep_unless(stop: &CancellationToken, delay: Duration) -> bool {
    tokio::select! {
        biased;
        () = stop.cancelled() => false,
        () = tokio::time::sleep(delay) => true,
    }
}

/// Runs a task that ends only when it is told to; begins it again where it panicked, after
/// `mend`.
pub(crate) async fn keep_running<T, M>(
    what: &str,
    mut task: impl FnMut() -> T,
    mut mend: impl FnMut() -> M,
) where
    T: Future<Output = ()>,
    M: Future<Output = ()>,
{
    while let Err(panic) = std::panic::AssertUnwindSafe(task()).catch_unwind().await {
        tracing::error!(
            task = what,
            panic = panic_text(&*panic),
            "a task failed; starting again"
        );
        mend().await;
        // A task that fails at once must not spin.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
