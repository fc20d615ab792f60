//! The alert queue: how alerts wait for delivery, and how a delivery attempt ends.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::audit::DeliveryRow;
use crate::dead_letters::Reason;
use crate::error::Result;
use crate::events::NewAlert;

/// An alert that one worker holds until it settles it.
#[derive(Clone, Debug)]
pub struct ClaimedAlert {
    /// The claim's identity and fencing token.
    pub claim: u64,
    /// Who holds it.
    pub worker: Arc<str>,
    /// The queue element ([`mutt_event::Alert`] as JSON).
    pub element: Arc<[u8]>,
    /// Delivery attempts so far.
    pub attempts: u32,
    /// How often remediation replayed it from the dead letters.
    pub replays: u32,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Settlement {
    /// The sink took it.
    Delivered,
    /// Try again at this time; counts an attempt.
    RetryAt(Timestamp),
    /// Give up: to `mutt:dlq:moog`.
    Dead {
        /// Why, as a word.
        reason: Reason,
        /// Why, in words: status and the start of the body.
        detail: String,
    },
    /// Nothing was attempted (limit, circuit, shutdown, wrong key): back to the head of the queue,
    /// no attempt is counted.
    Return,
}

/// One alert with how its attempt ended.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The alert.
    pub alert: ClaimedAlert,
    /// How it ended.
    pub settlement: Settlement,
    /// The row for `delivery_log`; `None` where nothing was sent.
    pub log: Option<DeliveryRow>,
}

/// An alert that waits for its next attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retrying {
    /// When it is tried again, at the earliest; in the past where it is being tried.
    pub due: Timestamp,
    /// Attempts so far.
    pub attempts: u32,
    /// The queue element.
    pub element: Vec<u8>,
}

/// The alert queue.
#[async_trait]
pub trait AlertQueue: Send + Sync {
    /// Claims up to `max` alerts, fewer where they are large: those whose retry is due first, then the
    /// oldest waiting. Waits up to `wait` for the first. Empty when none came.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn claim_alerts(
        &self,
        worker: &Arc<str>,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<ClaimedAlert>>;

    /// Makes the ends of several attempts take effect, together with their `delivery_log` rows.
    /// An attempt whose claim was taken over is left out; the others take effect. Returns how many
    /// did. Handing the same attempts in again changes nothing.
    ///
    /// # Errors
    /// `Unavailable`: nothing took effect, try again.
    async fn settle_alerts(&self, attempts: Vec<Attempt>) -> Result<u64>;

    /// Puts an alert at the end of the queue, about no event that came in: a test of the delivery, say.
    /// Durable when it returns.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn queue_alert(&self, alert: NewAlert) -> Result<()>;

    /// How many alerts wait for their next attempt, and the `limit` of them that are due first.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn retries(&self, limit: usize) -> Result<(u64, Vec<Retrying>)>;

    /// The number of alerts waiting, those waiting for a retry included, claimed ones not. Cheap.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn alert_depth(&self) -> Result<u64>;
}
