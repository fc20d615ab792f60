//! The event queue: how events wait between ingestor and alerter, and how a claim is decided.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mutt_event::{Batch, EventId};

use crate::audit::AuditRow;
use crate::dead_letters::DeadLetter;
use crate::error::Result;
use crate::unhandled::{Unhandled, UnhandledPolicy};

/// Events that one worker holds: invisible to others until they are decided or returned, or until
/// the worker is taken for dead.
#[derive(Debug)]
pub struct EventClaim {
    /// The claim's identity and fencing token.
    pub id: u64,
    /// Who holds it.
    pub worker: Arc<str>,
    /// The queue elements, oldest first.
    pub events: Vec<Arc<Batch>>,
}

impl EventClaim {
    /// The number of events in the claim.
    pub fn len(&self) -> usize {
        self.events.iter().map(|batch| batch.len()).sum()
    }

    /// Whether the claim holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All events, oldest first. Positions in this order are what [`AuditRow::index`] means.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.events.iter().flat_map(|batch| batch.iter())
    }
}

/// An alert to be put into the alert queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAlert {
    /// The event's id: what the sink can tell repeats by.
    pub event_id: EventId,
    /// The queue element ([`mutt_event::Alert::to_json`]).
    pub element: Vec<u8>,
}

/// What was decided about the events of one claim.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Audit rows, in the order of the events.
    pub audit: Vec<AuditRow>,
    /// Alerts, in the order of the events.
    pub alerts: Vec<NewAlert>,
    /// Events that could not be handled, for `mutt:dlq:alerter`.
    pub dead: Vec<DeadLetter>,
    /// Unmatched events, added up by host and signature.
    pub unhandled: Vec<Unhandled>,
    /// When unhandled events make a meta-alert.
    pub unhandled_policy: UnhandledPolicy,
    /// How often each rule matched (observe-mode rules included): rule id, count.
    pub rule_hits: Vec<(i64, u64)>,
}

/// A claim with what was decided about it. Kept by the caller until the engine took it, so that it
/// can be handed in again after a failure.
#[derive(Debug)]
pub struct Decision {
    /// The claim.
    pub claim: EventClaim,
    /// What was decided.
    pub outcome: Outcome,
}

/// What a decision did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Meta-alerts about unhandled events that this decision triggered.
    pub meta_alerts: u64,
}

/// The event queue.
#[async_trait]
pub trait EventQueue: Send + Sync {
    /// Puts a batch at the end of the queue and returns the number of events waiting now. Durable
    /// when it returns. The same step counts the events for the dashboard.
    ///
    /// # Errors
    /// `Full` when the queue would pass its limit ([`EventQueue::set_queue_limit`]), `Unavailable`
    /// when nothing durable can be written. In both cases nothing was taken.
    ///
    /// Cancelling the call leaves it open whether the batch was taken.
    async fn enqueue(&self, batch: Batch) -> Result<u64>;

    /// Puts a batch at the end of the queue as [`EventQueue::enqueue`] does, and what came with it
    /// but is no event into `mutt:dlq:ingest`, in one step: a sender that is told of an error can
    /// send everything again, and nothing comes twice. Either part may be empty.
    ///
    /// # Errors
    /// `Full` and `Unavailable` as `enqueue`. In both cases nothing was taken: neither events nor
    /// rejects.
    ///
    /// Cancelling the call leaves it open whether both were taken.
    async fn enqueue_with_rejects(&self, batch: Batch, rejects: Vec<DeadLetter>) -> Result<u64>;

    /// The most events that may wait; `enqueue` refuses what would pass it.
    fn set_queue_limit(&self, limit: u64);

    /// Claims up to `max` of the oldest waiting events for `worker`; waits up to `wait` for the
    /// first to arrive. `None` when none came.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn claim_events(
        &self,
        worker: &Arc<str>,
        max: usize,
        wait: Duration,
    ) -> Result<Option<EventClaim>>;

    /// Makes a decision take effect: audit rows, alerts, dead letters, unhandled counts, rule hits
    /// and the end of the claim, all once or none at all. Handing the same decision in again after
    /// an error changes nothing that took effect already.
    ///
    /// # Errors
    /// `Fenced` when the claim was taken over; `Unavailable` when it may be tried again.
    async fn decide(&self, decision: Arc<Decision>) -> Result<Settled>;

    /// Returns undecided events to the head of the queue. Where they are being decided at this moment
    /// it waits for how that ends.
    ///
    /// # Errors
    /// `Fenced` where the claim is not out or was decided; `Unavailable`.
    async fn return_events(&self, claim: EventClaim) -> Result<()>;

    /// Takes up to `max` of the oldest waiting events out of the queue and puts them into
    /// `mutt:dlq:alerter` with reason `shed`, in one step. Returns how many.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn shed_events(&self, max: usize) -> Result<u64>;

    /// The number of events waiting (claimed ones not counted). Cheap.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn event_depth(&self) -> Result<u64>;
}
