//! Dead letter queues: what could not be handled, with the reason, until it is replayed or
//! discarded.

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::catalog::Change;
use crate::error::Result;

/// A dead letter queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dlq {
    /// `mutt:dlq:ingest`: rejected records of a batch.
    Ingest,
    /// `mutt:dlq:alerter`: events that could not be decided, or were shed.
    Alerter,
    /// `mutt:dlq:moog`: alerts that could not be delivered.
    Moog,
    /// `mutt:dlq:dead`: poison, set aside for a person.
    Dead,
}

impl Dlq {
    /// Every dead letter queue.
    pub const ALL: [Self; 4] = [Self::Ingest, Self::Alerter, Self::Moog, Self::Dead];

    /// The queue's key, as in 2.5.
    pub fn key(self) -> &'static str {
        match self {
            Self::Ingest => "mutt:dlq:ingest",
            Self::Alerter => "mutt:dlq:alerter",
            Self::Moog => "mutt:dlq:moog",
            Self::Dead => "mutt:dlq:dead",
        }
    }

    /// The short name, in the command line and the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Alerter => "alerter",
            Self::Moog => "moog",
            Self::Dead => "dead",
        }
    }

    /// The queue with this short name or key.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|dlq| dlq.name() == name || dlq.key() == name)
    }
}

/// Why something is in a dead letter queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Not JSON, not an object, or a required field is missing or invalid.
    Malformed,
    /// Moved aside under back-pressure.
    Shed,
    /// Processing it failed again and again.
    Poison,
    /// The sink refused it with a 4xx.
    Refused,
    /// All delivery attempts failed.
    RetriesExhausted,
}

impl Reason {
    /// The name in `_dlq.reason` and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Shed => "shed",
            Self::Poison => "poison",
            Self::Refused => "refused",
            Self::RetriesExhausted => "retries_exhausted",
        }
    }

    /// The reason with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::Malformed,
            Self::Shed,
            Self::Poison,
            Self::Refused,
            Self::RetriesExhausted,
        ]
        .into_iter()
        .find(|reason| reason.name() == name)
    }

    /// Whether waiting can mend it, so that remediation replays it.
    pub fn heals(self) -> bool {
        matches!(self, Self::Shed | Self::RetriesExhausted)
    }
}

/// Something to be put into a dead letter queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Why, as a word.
    pub reason: Reason,
    /// Why, in words.
    pub detail: String,
    /// The message itself, byte for byte.
    pub element: Vec<u8>,
}

/// An entry of a dead letter queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DlqEntry {
    /// The entry's identity within its queue.
    pub id: String,
    /// The queue it is in.
    pub queue: Dlq,
    /// Why, as a word.
    pub reason: Reason,
    /// Why, in words.
    pub detail: String,
    /// The queue it failed in (`mutt:dlq:dead` keeps where an entry came from).
    pub origin: Dlq,
    /// When it first failed.
    pub first_failed_at: Timestamp,
    /// When it last failed.
    pub last_failed_at: Timestamp,
    /// Delivery or processing attempts so far.
    pub attempts: u32,
    /// Replays so far.
    pub replays: u32,
    /// The message; bytes that are not UTF-8 are replaced.
    pub message: String,
}

/// Which entries are meant; unset fields do not restrict.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DeadLetterFilter {
    /// Only these ids.
    pub ids: Option<Vec<String>>,
    /// Only this reason.
    pub reason: Option<Reason>,
    /// Only entries whose message contains this text.
    pub text: Option<String>,
}

/// What one pass of remediation did with a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remediated {
    /// Entries that went back to their queue.
    pub replayed: u64,
    /// Entries that went to `mutt:dlq:dead`.
    pub poison: u64,
}

/// When remediation replays an entry.
#[derive(Clone, Copy, Debug)]
pub struct ReplayPolicy {
    /// At most so many entries in one pass, fewer where they are large.
    pub batch: usize,
    /// After so many replays an entry is poison.
    pub max_replays: u32,
    /// An entry waits this × 2^replays after its last failure.
    pub backoff: std::time::Duration,
}

/// The dead letter queues.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// Puts entries into a queue. Durable when it returns.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn bury(&self, queue: Dlq, letters: Vec<DeadLetter>) -> Result<()>;

    /// Entries of a queue, oldest first, from `offset`, at most `limit`.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn dead_letters(
        &self,
        queue: Dlq,
        filter: &DeadLetterFilter,
        offset: u64,
        limit: usize,
    ) -> Result<Vec<DlqEntry>>;

    /// How many entries a queue holds. Cheap.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn dlq_depth(&self, queue: Dlq) -> Result<u64>;

    /// One pass of remediation over `mutt:dlq:moog` (back to the alert queue) or
    /// `mutt:dlq:alerter` (back to the ingest queue): replays what is due, and moves to
    /// `mutt:dlq:dead` what was replayed too often or cannot succeed by waiting. One atomic step.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn remediate(&self, queue: Dlq, policy: ReplayPolicy) -> Result<Remediated>;

    /// A person sends entries back to where they failed (entries of `ingest` and `alerter` to the
    /// ingest queue, of `moog` to the alert queue, of `dead` to where they came from). Audited.
    /// Returns how many.
    ///
    /// # Errors
    /// `Unavailable`, `Invalid`.
    async fn replay(&self, queue: Dlq, filter: &DeadLetterFilter, by: &Change) -> Result<u64>;

    /// A person throws entries away; `by.reason` must be given. Audited. Returns how many.
    ///
    /// # Errors
    /// `Unavailable`, `Invalid` without a reason.
    async fn discard(&self, queue: Dlq, filter: &DeadLetterFilter, by: &Change) -> Result<u64>;
}
