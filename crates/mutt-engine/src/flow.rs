//! What all pods share about the sink: the rate limit and the circuit breaker.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;

use crate::error::Result;

/// A sliding-window limit: never more than `count` in any window of `period`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Requests allowed; at least 1.
    pub count: u32,
    /// The window.
    pub period: Duration,
}

/// The answer to "may I send now?"
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// So many of the requests asked for may go now (at least 1); they are counted.
    Granted(u32),
    /// None; the first may go after this long.
    Wait(Duration),
}

/// Whether the sink is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CircuitState {
    /// Calls go out.
    Closed,
    /// No calls until the time-out is over.
    Open,
    /// One probe is out, or may go out.
    HalfOpen,
}

impl CircuitState {
    /// The name in Redis, logs and the API: `closed`, `open`, `half_open`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// The breaker's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Circuit {
    /// Whether the sink is called.
    pub state: CircuitState,
    /// Consecutive failures.
    pub failures: u32,
    /// Since when it is open.
    pub opened_at: Option<Timestamp>,
}

/// When the breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitPolicy {
    /// Consecutive failures that open it; at least 1.
    pub threshold: u32,
    /// How long it stays open before one probe may go out. A probe that nobody answers for as long
    /// as this frees its place.
    pub timeout: Duration,
}

/// Rate limit and circuit breaker.
#[async_trait]
pub trait Flow: Send + Sync {
    /// Asks for `wanted` (≥ 1) requests under the limit named `name`. After a start of the engine
    /// that does not remember earlier requests, a full window counts as used.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn take_permits(&self, name: &str, limit: Limit, wanted: u32) -> Result<Permit>;

    /// How many requests within the last `period` count under the limit named `name`; nothing
    /// changes. A start that nobody remembers earlier requests of counts as none here.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn permits_used(&self, name: &str, period: Duration) -> Result<u64>;

    /// Asks whether a call may go out: `Closed` yes; `Open` no; `HalfOpen` yes, and the caller
    /// holds the one probe (others see `Open` until it reports).
    ///
    /// # Errors
    /// `Unavailable`.
    async fn circuit_admit(&self, name: &str, policy: CircuitPolicy) -> Result<CircuitState>;

    /// Reports a call that reached the sink: failures are forgotten, the circuit closes. Returns
    /// the state before.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn circuit_success(&self, name: &str) -> Result<CircuitState>;

    /// Reports a failed call: counts it, opens the circuit at the threshold or when it was the
    /// probe. Returns the state now.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn circuit_failure(&self, name: &str, policy: CircuitPolicy) -> Result<CircuitState>;

    /// Opens the circuit at once (a wrong key, say).
    ///
    /// # Errors
    /// `Unavailable`.
    async fn circuit_open(&self, name: &str) -> Result<()>;

    /// The breaker's state; nothing changes.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn circuit(&self, name: &str) -> Result<Circuit>;
}
