//! What happens now: changes that every part must hear of, and a sample of what is decided.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

/// Something changed that others keep a copy of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// Rules, hosts or teams: load them again.
    Catalog,
    /// A dynamic configuration key.
    Config(String),
}

/// The most characters of a message in a sample: enough to judge by rules again almost whatever a
/// device sends, and a bound on what an event costs on its way to those who watch.
pub const LIVE_MESSAGE_CHARS: usize = 4096;

/// One decided event, for people who watch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LiveEvent {
    /// The event's id.
    pub event_id: mutt_event::EventId,
    /// When it was received.
    pub received_at: jiff::Timestamp,
    /// The host.
    pub hostname: String,
    /// The message, at most [`LIVE_MESSAGE_CHARS`] characters of it.
    pub message: String,
    /// Whether the message goes on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    /// A trap's OID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trap_oid: Option<String>,
    /// Syslog severity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<u8>,
    /// The door.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// `production` or `development`.
    pub environment: String,
    /// The rule that won.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_id: Option<i64>,
    /// The decision.
    pub handling: String,
    /// The team.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
}

/// Some decided events of one claim, with how many there were in all.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LiveBatch {
    /// A sample, oldest first; bounded, and empty at times.
    pub events: Vec<LiveEvent>,
    /// Decided events that this stands for.
    pub total: u64,
    /// Each event had the chance of one in so many to be in the sample, whatever it says; at least
    /// 1, where all of them are in it.
    pub every: u64,
}

/// Announcements.
pub trait Live: Send + Sync {
    /// Hears every change from now on; within one second wherever it was made. A receiver that
    /// lags loses the oldest and must load everything again.
    fn changes(&self) -> broadcast::Receiver<Changed>;

    /// Watches decided events from now on. A slow watcher loses samples and never slows the
    /// pipeline.
    fn watch(&self) -> broadcast::Receiver<Arc<LiveBatch>>;

    /// Whether anybody watches, so that nobody builds samples for nobody.
    fn is_watched(&self) -> bool;

    /// Shows decided events to whoever watches.
    fn show(&self, batch: LiveBatch);
}
