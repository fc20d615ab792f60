//! The one way into the queue, whichever door an event came through.
//!
//! What [`Admission::admit`] returned `Ok` for is durable; nothing may be acknowledged before.
//! Knows neither protocols nor parsing. The engine commits concurrent batches together, so there is
//! no second round of merging here.

use std::sync::Arc;
use std::time::Duration;

use mutt_engine::{DeadLetter, Dynamic, Engine, EngineError};
use mutt_event::Batch;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::door::Door;
use crate::metrics::{IngestMetrics, Listener};

/// How often the depth is read while nothing comes in.
const DEPTH_INTERVAL: Duration = Duration::from_secs(1);

/// The way into the queue, shared by all listeners. Cloning it is cheap.
#[derive(Clone)]
pub struct Admission {
    engine: Arc<dyn Engine>,
    metrics: Arc<IngestMetrics>,
    door: Door,
}

impl Admission {
    /// The way into this engine's queue, through a door at which nothing happens.
    pub fn new(engine: Arc<dyn Engine>, metrics: IngestMetrics) -> Self {
        Self {
            engine,
            door: Door::plain(metrics.clone()),
            metrics: Arc::new(metrics),
        }
    }

    /// The same through this door.
    #[must_use]
    pub fn with_door(mut self, door: Door) -> Self {
        self.door = door;
        self
    }

    /// The door that listeners pass messages through.
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// Puts a batch into the queue, all of it or nothing, and returns how many events wait now.
    /// Durable when it returns. Counts what was accepted; who gives a batch up counts it as
    /// rejected, because a listener may also wait and call again.
    ///
    /// # Errors
    /// `Full` and `Unavailable` as [`mutt_engine::EventQueue::enqueue`]: nothing was taken.
    ///
    /// Cancelling the call leaves it open whether the batch was taken.
    pub async fn admit(&self, listener: Listener, batch: Batch) -> Result<u64, EngineError> {
        self.admit_with_rejects(listener, batch, Vec::new()).await
    }

    /// As [`Admission::admit`], and keeps the records that came with the batch and are no events,
    /// with their reasons, in `mutt:dlq:ingest`: both or neither.
    ///
    /// # Errors
    /// As [`Admission::admit`].
    pub async fn admit_with_rejects(
        &self,
        listener: Listener,
        batch: Batch,
        rejects: Vec<DeadLetter>,
    ) -> Result<u64, EngineError> {
        let events = batch.len() as u64;
        let depth = self.engine.enqueue_with_rejects(batch, rejects).await?;
        self.metrics.listener(listener).accepted.inc_by(events);
        self.set_depth(depth);
        Ok(depth)
    }

    /// Puts events into the queue that MUTT made itself. Durable when it returns.
    ///
    /// # Errors
    /// As [`Admission::admit`].
    pub(crate) async fn admit_own(&self, batch: Batch) -> Result<u64, EngineError> {
        let events = batch.len() as u64;
        let depth = self.engine.enqueue(batch).await?;
        self.metrics.own_events.inc_by(events);
        self.set_depth(depth);
        Ok(depth)
    }

    /// Holds the engine to `max_ingest_queue_size`, and the depth metric to the truth while nothing
    /// comes in, until `shutdown`.
    pub async fn run(
        &self,
        mut dynamic: watch::Receiver<Arc<Dynamic>>,
        shutdown: CancellationToken,
    ) {
        let mut interval = tokio::time::interval(DEPTH_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut followed = true;
        self.apply(&dynamic.borrow_and_update());
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = dynamic.changed(), if followed => {
                    // Without a sender the last values hold.
                    followed = changed.is_ok();
                    self.apply(&dynamic.borrow_and_update());
                }
                _ = interval.tick() => {
                    if let Ok(depth) = self.engine.event_depth().await {
                        self.set_depth(depth);
                    }
                }
            }
        }
    }

    /// The engine behind.
    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    /// The ingestor's metrics.
    pub fn metrics(&self) -> &IngestMetrics {
        &self.metrics
    }

    fn apply(&self, dynamic: &Dynamic) {
        self.engine
            .set_queue_limit(dynamic.integer("max_ingest_queue_size"));
    }

    fn set_depth(&self, depth: u64) {
        self.metrics
            .queue_depth
            .set(i64::try_from(depth).unwrap_or(i64::MAX));
    }
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admission").finish_non_exhaustive()
    }
}
