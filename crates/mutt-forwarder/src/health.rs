//! How the forwarder fares, for `/health` and the status page. Written by the forwarder, read by
//! anybody; never holds an address or a key.

use jiff::Timestamp;
use mutt_engine::CircuitState;
use parking_lot::Mutex;
use serde::Serialize;

/// How the forwarder fares now.
#[derive(Debug)]
pub struct Health(Mutex<HealthReport>);

/// One word about the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Alerts go out.
    Ok,
    /// Alerts wait (no address, circuit open, wrong key), and nothing is lost.
    Degraded,
    /// The store cannot be reached.
    Failing,
}

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// When.
    pub at: Timestamp,
    /// What happened, in words.
    pub error: String,
}

/// How the forwarder fared at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HealthReport {
    /// One word about the whole.
    pub status: Condition,
    /// Why it is not `ok`, in one sentence that says what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Whether there is an address to send to.
    pub configured: bool,
    /// The circuit as this pod last saw it.
    pub circuit: CircuitState,
    /// Whether the sink refused every key.
    pub wrong_key: bool,
    /// Alerts that this pod has claimed and not settled.
    pub held: u64,
    /// The last delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_delivery: Option<Timestamp>,
    /// The last failed attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<Failure>,
    /// What is wrong with the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
}

impl Default for Health {
    fn default() -> Self {
        Self(Mutex::new(HealthReport {
            status: Condition::Ok,
            detail: None,
            configured: true,
            circuit: CircuitState::Closed,
            wrong_key: false,
            held: 0,
            last_delivery: None,
            last_failure: None,
            store: None,
        }))
    }
}

impl Health {
    /// How it fares now.
    pub fn report(&self) -> HealthReport {
        let mut report = self.0.lock().clone();
        let (status, detail) = if let Some(store) = &report.store {
            (
                Condition::Failing,
                Some(format!("the store is not available: {store}")),
            )
        } else if !report.configured {
            let detail = "MOOG_WEBHOOK_URL is not set: alerts stay queued until it is";
            (Condition::Degraded, Some(detail.to_owned()))
        } else if report.wrong_key {
            let detail =
                "the sink accepts neither MOOG_API_KEY nor MOOG_API_KEY_NEXT: alerts stay queued";
            (Condition::Degraded, Some(detail.to_owned()))
        } else if report.circuit != CircuitState::Closed {
            let failure = match &report.last_failure {
                Some(failure) => format!(" ({})", failure.error),
                // Another pod, or an earlier life of this one, saw it.
                None => String::new(),
            };
            let detail = format!(
                "the circuit to the sink is {}{failure}: alerts wait, a probe goes out after circuit_breaker_timeout",
                report.circuit.name()
            );
            (Condition::Degraded, Some(detail))
        } else {
            (Condition::Ok, None)
        };
        report.status = status;
        report.detail = detail;
        report
    }

    pub(crate) fn note(&self, change: impl FnOnce(&mut HealthReport)) {
        change(&mut self.0.lock());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_is_named_first() {
        let health = Health::default();
        assert_eq!(health.report().status, Condition::Ok);
        health.note(|report| {
            report.circuit = CircuitState::Open;
            report.last_failure = Some(Failure {
                at: Timestamp::UNIX_EPOCH,
                error: "HTTP 503".to_owned(),
            });
        });
        assert_eq!(
            health.report().detail.as_deref(),
            Some(
                "the circuit to the sink is open (HTTP 503): alerts wait, a probe goes out after \
                 circuit_breaker_timeout"
            )
        );
        health.note(|report| report.configured = false);
        assert!(
            health
                .report()
                .detail
                .unwrap()
                .starts_with("MOOG_WEBHOOK_URL is not set")
        );
        health.note(|report| report.store = Some("disk full".to_owned()));
        assert_eq!(health.report().status, Condition::Failing);
    }
}
