//! Who works, what waits, and the counters of the dashboard.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::reports::{FlowCounts, ProcessReport, Reported, StoreStatus};

/// The stage a worker belongs to; the word in its heartbeat key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkerKind {
    /// Decides events.
    Alerter,
    /// Delivers alerts.
    Moog,
}

/// A pod that gave a sign of life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkerStatus {
    /// The stage.
    pub kind: WorkerKind,
    /// The pod's name.
    pub pod: String,
    /// Its last heartbeat.
    pub seen_at: Timestamp,
    /// Events or alerts it holds.
    pub held: u64,
}

/// One queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct QueueStatus {
    /// The queue's key.
    pub name: String,
    /// Elements waiting.
    pub depth: u64,
    /// Elements claimed and not settled yet.
    pub claimed: u64,
    /// When the oldest waiting element was put there, where that is known.
    pub oldest: Option<Timestamp>,
}

/// The whole state at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Ingest queue, alert queue, retries, dead letter queues.
    pub queues: Vec<QueueStatus>,
    /// Pods with a live heartbeat.
    pub workers: Vec<WorkerStatus>,
    /// `embedded` or `distributed`, with what it runs on.
    pub engine: String,
}

/// Worker registration and recovery.
#[async_trait]
pub trait Workers: Send + Sync {
    /// Gives a sign of life for a worker, valid for `lifetime`.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn heartbeat(&self, kind: WorkerKind, worker: &str, lifetime: Duration) -> Result<()>;

    /// The worker ends in order: its heartbeat goes, its claims return to their queues.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn retire(&self, kind: WorkerKind, worker: &str) -> Result<()>;

    /// Returns what dead workers hold to the head of its queue, oldest first. One pod at a time does
    /// it; the others get 0. Returns the number of elements.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn recover(&self) -> Result<u64>;

    /// Everything at once.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn status(&self) -> Result<Status>;

    /// Keeps what a process tells about itself, for `lifetime`; a later report of the same process
    /// takes its place.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn report(&self, report: &ProcessReport, lifetime: Duration) -> Result<()>;

    /// The reports of all processes whose lifetime is not over, by pod.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn reports(&self) -> Result<Vec<Reported>>;

    /// Looks at each store: whether it can be used, and how long the look took. Never longer than a
    /// few seconds.
    async fn stores(&self) -> Vec<StoreStatus>;

    /// Whether the store can be read and written, in words where it cannot.
    ///
    /// # Errors
    /// `Unavailable` says what is wrong.
    async fn ready(&self) -> Result<()>;

    /// Ends the engine in order: pending writes are made durable, files closed.
    async fn close(&self);
}

/// The width of a dashboard counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Span {
    /// `mutt:metrics:1m:<%Y-%m-%dT%H:%M>`, kept 2 h.
    Minute,
    /// `mutt:metrics:1h:<%Y-%m-%dT%H>`, kept 48 h.
    Hour,
    /// `mutt:metrics:24h:<%Y-%m-%d>`, kept 30 d.
    Day,
}

/// A part of the service that has a service level objective.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Component {
    /// Taking events in.
    Ingestor,
    /// Delivering alerts.
    Forwarder,
}

impl Component {
    /// Every component.
    pub const ALL: [Self; 2] = [Self::Ingestor, Self::Forwarder];

    /// The name in keys and the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingestor => "ingestor",
            Self::Forwarder => "forwarder",
        }
    }
}

/// How often something went well, and how often it did not. What the caller did wrong is neither.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outcomes {
    /// Successes.
    pub good: u64,
    /// Failures.
    pub bad: u64,
}

/// Outcomes are kept for so many minutes: 30 days.
pub const OUTCOMES_KEPT: u32 = 43_200;

/// Counts by minute are kept for so many minutes: eight days.
pub const FLOW_KEPT: u32 = 11_520;

/// The dashboard's counters.
#[async_trait]
pub trait Counters: Send + Sync {
    /// Accepted events per minute, hour or day: (start, count), oldest first, the last `spans` of
    /// them including the running one; spans without events are left out.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn accepted(&self, span: Span, spans: u32) -> Result<Vec<(Timestamp, u64)>>;

    /// Adds to the outcomes of a component in the running minute.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn add_outcomes(&self, component: Component, outcomes: Outcomes) -> Result<()>;

    /// The outcomes of a component within the last `minutes`, the running one included; at most
    /// [`OUTCOMES_KEPT`].
    ///
    /// # Errors
    /// `Unavailable`.
    async fn outcomes(&self, component: Component, minutes: u32) -> Result<Outcomes>;

    /// The outcomes of a component in each of the last `minutes` (the running one included, at most
    /// [`OUTCOMES_KEPT`]) that had any: (start of the minute, outcomes), oldest first.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn outcomes_by_minute(
        &self,
        component: Component,
        minutes: u32,
    ) -> Result<Vec<(Timestamp, Outcomes)>>;

    /// Adds to the counts of the running minute.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn add_flow(&self, counts: &FlowCounts) -> Result<()>;

    /// The counts of each of the last `minutes` (the running one included, at most [`FLOW_KEPT`])
    /// that had any: (start of the minute, counts), oldest first.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn flow(&self, minutes: u32) -> Result<Vec<(Timestamp, FlowCounts)>>;

    /// When each rule first and last matched within 30 days, by rule id: the start of the minute,
    /// hour or day in which it did, whichever is known of a time so long ago.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn rule_hit_times(&self) -> Result<HashMap<i64, (Timestamp, Timestamp)>>;

    /// The most frequent unhandled signatures, most frequent first.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn unhandled(&self, limit: usize) -> Result<Vec<crate::unhandled::UnhandledSignature>>;
}
