//! This pod's view of the circuit that all pods share.
//!
//! The engine decides; here is only what this pod knows beside it: that it holds the one probe,
//! that it saw the circuit closed a moment ago, and with which address and keys it was opened.

use std::time::Duration;

use mutt_engine::{CircuitPolicy, CircuitState};
use tokio::time::Instant;

use super::Forwarder;
use crate::metrics::CIRCUIT;

/// A circuit that was closed is taken for closed this long, so that a fast sink does not cost a
/// question per request.
const TRUST: Duration = Duration::from_millis(50);
/// How often an open circuit is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How long nothing is sent after a wrong key where no circuit says so.
const WRONG_KEY_PAUSE: Duration = Duration::from_secs(5);

/// Whether anything may be claimed and sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Yes.
    Closed,
    /// One alert, and only one.
    Probe,
    /// No; ask again at this time.
    Open(Instant),
    /// The engine could not say; ask again at this time.
    Unknown(Instant),
}

/// What an attempt says of the sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// It works.
    Up,
    /// It answers, and that says neither.
    Answers,
    /// It fails.
    Down,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    /// Nobody's, or another pod's.
    None,
    /// Ours, since then, and not sent yet.
    Held(Instant),
    /// Ours, since then, and on its way.
    Sent(Instant),
}

#[derive(Debug)]
pub(super) struct Breaker {
    enabled: bool,
    probe: Probe,
    /// Until when the circuit is taken for closed.
    closed_until: Option<Instant>,
    /// Whether a success would change anything: failures may be counted.
    failures_known: bool,
    last_success: Option<Instant>,
    /// The sink's fingerprint when the circuit was first seen open.
    opened_with: Option<u64>,
}

impl Breaker {
    pub(super) fn new(forwarder: &Forwarder) -> Self {
        Self {
            enabled: forwarder.options.circuit_enabled,
            probe: Probe::None,
            closed_until: None,
            // Another pod, or this one in an earlier life, may have counted some.
            failures_known: true,
            last_success: None,
            opened_with: None,
        }
    }

    pub(super) async fn admit(&mut self, forwarder: &Forwarder) -> Admission {
        if !self.enabled {
            return Admission::Closed;
        }
        let now = Instant::now();
        let policy = policy(forwarder);
        match self.probe {
            // The engine has freed the place of a probe that took this long.
            Probe::Held(since) | Probe::Sent(since) if since + policy.timeout <= now => {
                self.probe = Probe::None;
            }
            Probe::Held(_) => return Admission::Probe,
            Probe::Sent(_) => return Admission::Open(now + LOOK),
            Probe::None => {}
        }
        if self.closed_until.is_some_and(|until| now < until) {
            return Admission::Closed;
        }
        let state = match forwarder.engine.circuit_admit(CIRCUIT, policy).await {
            Ok(state) => state,
            Err(error) => {
                tracing::warn!(%error, "the circuit's state waits for the store");
                return Admission::Unknown(now + super::STORE_PAUSE);
            }
        };
        Self::note(forwarder, state);
        match state {
            CircuitState::Closed => {
                self.opened_with = None;
                self.closed_until = Some(now + TRUST);
                Admission::Closed
            }
            CircuitState::HalfOpen => {
                self.probe = Probe::Held(now);
                self.failures_known = true;
                Admission::Probe
            }
            CircuitState::Open => {
                self.failures_known = true;
                if self.close_if_changed(forwarder).await {
                    return Admission::Open(now);
                }
                Admission::Open(now + LOOK.min(policy.timeout / 4))
            }
        }
    }

    /// Somebody gave the sink another address or another key: what opened the circuit may be gone,
    /// and nobody should have to wait for its time-out to see.
    async fn close_if_changed(&mut self, forwarder: &Forwarder) -> bool {
        let fingerprint = forwarder.sink.fingerprint();
        let opened_with = *self.opened_with.get_or_insert(fingerprint);
        if opened_with == fingerprint || forwarder.engine.circuit_success(CIRCUIT).await.is_err() {
            return false;
        }
        tracing::info!("the sink's address or key changed: the circuit is closed");
        self.opened_with = None;
        Self::note(forwarder, CircuitState::Closed);
        true
    }

    /// The probe went out.
    pub(super) fn probe_sent(&mut self) {
        if let Probe::Held(since) = self.probe {
            self.probe = Probe::Sent(since);
        }
    }

    /// The probe said nothing about the sink (it is to be sent with another key, say): the next
    /// alert may be the probe.
    pub(super) fn probe_again(&mut self) {
        if let Probe::Sent(since) = self.probe {
            self.probe = Probe::Held(since);
        }
    }

    /// Reports what attempts said of the sink, in their order.
    pub(super) async fn report(&mut self, forwarder: &Forwarder, signs: &[Sign]) {
        if !self.enabled {
            return;
        }
        let mut up = false;
        for &sign in signs {
            match sign {
                Sign::Up => up = true,
                Sign::Answers if self.probe != Probe::None => up = true,
                Sign::Answers => {}
                Sign::Down => {
                    if std::mem::take(&mut up) {
                        self.success(forwarder).await;
                    }
                    self.failure(forwarder).await;
                }
            }
        }
        if up {
            self.success(forwarder).await;
        }
    }

    async fn success(&mut self, forwarder: &Forwarder) {
        let now = Instant::now();
        // Other pods may count failures that this one does not know of.
        let due = self.last_success.is_none_or(|last| last + TRUST <= now);
        if !self.failures_known && !due {
            return;
        }
        match forwarder.engine.circuit_success(CIRCUIT).await {
            Ok(_) => {
                self.probe = Probe::None;
                self.opened_with = None;
                self.failures_known = false;
                self.last_success = Some(now);
                Self::note(forwarder, CircuitState::Closed);
            }
            Err(error) => tracing::debug!(%error, "a success of the sink was not noted"),
        }
    }

    async fn failure(&mut self, forwarder: &Forwarder) {
        self.failures_known = true;
        self.closed_until = None;
        match forwarder
            .engine
            .circuit_failure(CIRCUIT, policy(forwarder))
            .await
        {
            Ok(state) => {
                self.probe = Probe::None;
                Self::note(forwarder, state);
                if state == CircuitState::Open {
                    self.opened_with
                        .get_or_insert_with(|| forwarder.sink.fingerprint());
                }
            }
            Err(error) => tracing::debug!(%error, "a failure of the sink was not noted"),
        }
    }

    /// Neither key was accepted. Returns until when this pod sends nothing, where the circuit does
    /// not see to that.
    pub(super) async fn wrong_key(&mut self, forwarder: &Forwarder) -> Option<Instant> {
        self.failures_known = true;
        self.closed_until = None;
        if self.enabled {
            match forwarder.engine.circuit_open(CIRCUIT).await {
                Ok(()) => {
                    self.probe = Probe::None;
                    self.opened_with = Some(forwarder.sink.fingerprint());
                    Self::note(forwarder, CircuitState::Open);
                    return None;
                }
                Err(error) => tracing::warn!(%error, "the circuit could not be opened"),
            }
        }
        Some(Instant::now() + WRONG_KEY_PAUSE)
    }

    fn note(forwarder: &Forwarder, state: CircuitState) {
        forwarder.health.note(|report| report.circuit = state);
        if let Some(before) = forwarder.metrics.circuit(state) {
            match state {
                CircuitState::Open => tracing::warn!(
                    from = before.name(),
                    "the circuit to the sink is open: nothing is sent, alerts stay queued"
                ),
                CircuitState::HalfOpen => {
                    tracing::info!("the circuit is half-open: one probe goes out");
                }
                CircuitState::Closed => {
                    tracing::info!(from = before.name(), "the circuit to the sink is closed");
                }
            }
        }
    }
}

pub(super) fn policy(forwarder: &Forwarder) -> CircuitPolicy {
    let dynamic = forwarder.dynamic.borrow();
    CircuitPolicy {
        threshold: u32::try_from(dynamic.integer("circuit_breaker_threshold")).unwrap_or(u32::MAX),
        timeout: dynamic.seconds("circuit_breaker_timeout"),
    }
}
