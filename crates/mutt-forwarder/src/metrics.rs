//! The figures of forwarder and remediation (spec 6, "Metrics"), with the spellings of 2.3 and 2.5
//! beside them. Every combination of labels exists from the start, so that it is exported as 0.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use mutt_engine::{CircuitState, Dlq};
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::sink::Fault;

/// The circuit breaker's name, in the engine and in metrics.
pub const CIRCUIT: &str = "moogsoft";

/// Request latencies, in seconds: those of 2.5, and finer ones below.
const REQUEST_BUCKETS: [f64; 12] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];
/// Receive → delivery, in seconds.
const DELIVERY_BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0, 3600.0,
];
/// One scan of remediation, in seconds.
const SCAN_BUCKETS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    status: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Name {
    name: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Change {
    name: &'static str,
    from_state: &'static str,
    to_state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Status {
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Replay {
    source: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DlqName {
    dlq_name: &'static str,
}

/// Why a request failed, as in `mutt_moog_requests_total{reason}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestEnd {
    Success,
    RateLimited,
    Timeout,
    ServerError,
    ClientError,
    Connection,
}

impl RequestEnd {
    const ALL: [Self; 6] = [
        Self::Success,
        Self::RateLimited,
        Self::Timeout,
        Self::ServerError,
        Self::ClientError,
        Self::Connection,
    ];

    fn label(self) -> Request {
        let (status, reason) = match self {
            Self::Success => ("success", ""),
            Self::RateLimited => ("fail", "rate_limited"),
            Self::Timeout => ("fail", "timeout"),
            Self::ServerError => ("fail", "server_error"),
            Self::ClientError => ("fail", "client_error"),
            Self::Connection => ("fail", "connection"),
        };
        Request { status, reason }
    }
}

impl From<Fault> for RequestEnd {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::RateLimited => Self::RateLimited,
            Fault::Timeout => Self::Timeout,
            Fault::ServerError => Self::ServerError,
            Fault::ClientError => Self::ClientError,
            Fault::Connection => Self::Connection,
        }
    }
}

/// What the forwarder counts.
#[derive(Debug)]
pub struct ForwarderMetrics {
    requests: [Counter; RequestEnd::ALL.len()],
    pub(crate) request_latency: Histogram,
    pub(crate) delivery_latency: Histogram,
    pub(crate) retries: Counter,
    pub(crate) rate_limit_hits: Counter,
    pub(crate) dlq_depth: Gauge,
    pub(crate) held: Gauge,
    pub(crate) delivered: Counter,
    pub(crate) dead: Counter,
    pub(crate) errors: Counter,
    pub(crate) circuit_failures: Gauge,
    circuit_state: Gauge,
    circuit_open: Gauge,
    circuit_changes: Family<Change, Counter>,
    circuit_seen: Mutex<CircuitState>,
}

/// What became of deliveries so far, for whoever shows it beside the metrics page.
#[derive(Clone, Debug)]
pub struct Tally {
    delivered: Counter,
    succeeded: Counter,
    failed: Vec<Counter>,
}

impl Tally {
    /// Alerts delivered.
    pub fn delivered(&self) -> u64 {
        self.delivered.get()
    }

    /// Requests that succeeded.
    pub fn succeeded(&self) -> u64 {
        self.succeeded.get()
    }

    /// Requests that failed, for whatever reason.
    pub fn failed(&self) -> u64 {
        self.failed.iter().map(Counter::get).sum()
    }
}

impl ForwarderMetrics {
    /// The counters of what was delivered and what failed.
    pub fn tally(&self) -> Tally {
        Tally {
            delivered: self.delivered.clone(),
            succeeded: self.requests[0].clone(),
            failed: self.requests[1..].to_vec(),
        }
    }

    /// Registers everything the forwarder counts.
    pub fn register(registry: &mut Registry) -> Self {
        let requests = Family::<Request, Counter>::default();
        registry.register(
            "mutt_moog_requests",
            "Requests to the sink, by how they ended",
            requests.clone(),
        );
        let request_latency = Histogram::new(REQUEST_BUCKETS);
        for name in [
            "mutt_moog_request_latency_seconds",
            "mutt_moog_forward_latency_seconds",
        ] {
            registry.register(
                name,
                "Time from sending a request to its answer",
                request_latency.clone(),
            );
        }
        let delivery_latency = Histogram::new(DELIVERY_BUCKETS);
        registry.register(
            "mutt_event_delivery_latency_seconds",
            "Time from the receipt of an event to its delivery to the sink",
            delivery_latency.clone(),
        );
        let retries = counter(
            registry,
            "mutt_moog_retry_count",
            "Attempts that are to be repeated",
        );
        let rate_limit_hits = counter(
            registry,
            "mutt_moog_rate_limit_hits",
            "Times that sending waited for the limit",
        );
        let dlq_depth = gauge(registry, "mutt_moog_dlq_depth", "Entries in mutt:dlq:moog");
        let held = gauge(
            registry,
            "mutt_moog_processing_list_depth",
            "Alerts that this pod has claimed and not settled",
        );
        let processed = Family::<Status, Counter>::default();
        registry.register(
            "mutt_moog_alerts_processed",
            "Alerts that were delivered, given up, or failed to be settled",
            processed.clone(),
        );
        let by_status = |status| processed.get_or_create(&Status { status }).clone();
        let states = Family::<Name, Gauge>::default();
        registry.register(
            "mutt_circuit_breaker_state",
            "The circuit to the sink: 0 closed, 1 half-open, 2 open",
            states.clone(),
        );
        let failures = Family::<Name, Gauge>::default();
        registry.register(
            "mutt_circuit_breaker_failures",
            "Consecutive failures of the sink",
            failures.clone(),
        );
        let circuit_changes = Family::<Change, Counter>::default();
        registry.register(
            "mutt_circuit_breaker_state_changes",
            "Changes of the circuit that this pod saw",
            circuit_changes.clone(),
        );
        let all = [
            CircuitState::Closed,
            CircuitState::HalfOpen,
            CircuitState::Open,
        ];
        for from in all {
            for to in all.into_iter().filter(|&to| to != from) {
                drop(circuit_changes.get_or_create(&change(from, to)));
            }
        }
        let name = Name { name: CIRCUIT };
        Self {
            requests: RequestEnd::ALL.map(|end| requests.get_or_create(&end.label()).clone()),
            request_latency,
            delivery_latency,
            retries,
            rate_limit_hits,
            dlq_depth,
            held,
            delivered: by_status("success"),
            dead: by_status("dlq"),
            errors: by_status("error"),
            circuit_failures: failures.get_or_create(&name).clone(),
            circuit_state: states.get_or_create(&name).clone(),
            circuit_open: gauge(
                registry,
                "mutt_moog_circuit_open",
                "1 while nothing is sent because the circuit is open",
            ),
            circuit_changes,
            circuit_seen: Mutex::new(CircuitState::Closed),
        }
    }

    pub(crate) fn request(&self, end: RequestEnd) {
        let index = RequestEnd::ALL.iter().position(|&other| other == end);
        self.requests[index.expect("ALL holds every end")].inc();
    }

    /// Notes the circuit's state; returns the state before where it changed.
    pub(crate) fn circuit(&self, state: CircuitState) -> Option<CircuitState> {
        let before = std::mem::replace(&mut *self.circuit_seen.lock(), state);
        self.circuit_state.set(match state {
            CircuitState::Closed => 0,
            CircuitState::HalfOpen => 1,
            CircuitState::Open => 2,
        });
        self.circuit_open
            .set(i64::from(state == CircuitState::Open));
        (before != state).then(|| {
            self.circuit_changes
                .get_or_create(&change(before, state))
                .inc();
            before
        })
    }
}

/// What remediation counts.
#[derive(Debug)]
pub struct RemediationMetrics {
    replayed: [Counter; 2],
    failed: [Counter; 2],
    pub(crate) poison: Counter,
    pub(crate) scans: Counter,
    pub(crate) healthy: Gauge,
    scan: Histogram,
    replay_success: Counter,
    replay_fail: Counter,
    depths: [Gauge; Dlq::ALL.len()],
}

impl RemediationMetrics {
    /// Registers everything remediation counts.
    pub fn register(registry: &mut Registry) -> Self {
        #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
        struct Reason {
            reason: &'static str,
        }
        let replayed = Family::<Replay, Counter>::default();
        registry.register(
            "mutt_remediation_replayed",
            "Dead letters sent back to their queue, and passes that failed",
            replayed.clone(),
        );
        let depths = Family::<DlqName, Gauge>::default();
        registry.register(
            "mutt_remediation_dlq_depth",
            "Entries in a dead letter queue",
            depths.clone(),
        );
        let failures = Family::<Reason, Counter>::default();
        registry.register(
            "mutt_remediation_replay_fail",
            "Passes that failed, under the name of 2.5",
            failures.clone(),
        );
        let scan = Histogram::new(SCAN_BUCKETS);
        registry.register(
            "mutt_remediation_loop_duration_seconds",
            "Time that one scan of the dead letter queues took",
            scan.clone(),
        );
        let by = |status| {
            [Dlq::Moog, Dlq::Alerter].map(|queue| {
                replayed
                    .get_or_create(&Replay {
                        source: queue.name(),
                        status,
                    })
                    .clone()
            })
        };
        drop(failures.get_or_create(&Reason {
            reason: "processing_error",
        }));
        Self {
            replayed: by("success"),
            failed: by("fail"),
            poison: counter(
                registry,
                "mutt_remediation_poison_messages",
                "Dead letters set aside for a person in mutt:dlq:dead",
            ),
            scans: counter(
                registry,
                "mutt_remediation_loops",
                "Scans of the dead letter queues",
            ),
            healthy: gauge(
                registry,
                "mutt_remediation_moog_health",
                "1 when the sink was well at the last scan",
            ),
            scan,
            replay_success: counter(
                registry,
                "mutt_remediation_replay_success",
                "Dead letters sent back to their queue, under the name of 2.5",
            ),
            replay_fail: failures
                .get_or_create(&Reason {
                    reason: "redis_error",
                })
                .clone(),
            depths: Dlq::ALL.map(|dlq| {
                depths
                    .get_or_create(&DlqName {
                        dlq_name: dlq.name(),
                    })
                    .clone()
            }),
        }
    }

    pub(crate) fn replayed(&self, queue: Dlq, count: u64) {
        self.replayed[source(queue)].inc_by(count);
        self.replay_success.inc_by(count);
    }

    pub(crate) fn failed(&self, queue: Dlq) {
        self.failed[source(queue)].inc();
        self.replay_fail.inc();
    }

    pub(crate) fn scanned(&self, took: Duration) {
        self.scans.inc();
        self.scan.observe(took.as_secs_f64());
    }

    pub(crate) fn depth(&self, queue: Dlq, depth: u64) {
        let index = Dlq::ALL.iter().position(|&other| other == queue);
        self.depths[index.expect("ALL holds every queue")].set(signed(depth));
    }
}

fn source(queue: Dlq) -> usize {
    usize::from(queue != Dlq::Moog)
}

fn change(from: CircuitState, to: CircuitState) -> Change {
    Change {
        name: CIRCUIT,
        from_state: from.name(),
        to_state: to.name(),
    }
}

pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn counter(registry: &mut Registry, name: &'static str, help: &'static str) -> Counter {
    let counter = Counter::<u64, AtomicU64>::default();
    registry.register(name, help, counter.clone());
    counter
}

fn gauge(registry: &mut Registry, name: &'static str, help: &'static str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_exported_from_the_start() {
        let mut registry = Registry::default();
        let _forwarder = ForwarderMetrics::register(&mut registry);
        let _remediation = RemediationMetrics::register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "mutt_moog_requests_total{status=\"success\",reason=\"\"} 0",
            "mutt_moog_requests_total{status=\"fail\",reason=\"rate_limited\"} 0",
            "mutt_moog_requests_total{status=\"fail\",reason=\"connection\"} 0",
            "mutt_moog_request_latency_seconds_count 0",
            "mutt_moog_retry_count_total 0",
            "mutt_moog_rate_limit_hits_total 0",
            "mutt_moog_dlq_depth 0",
            "mutt_event_delivery_latency_seconds_count 0",
            "mutt_circuit_breaker_state{name=\"moogsoft\"} 0",
            "mutt_circuit_breaker_state_changes_total{name=\"moogsoft\",from_state=\"closed\",to_state=\"open\"} 0",
            "mutt_moog_alerts_processed_total{status=\"dlq\"} 0",
            "mutt_remediation_replayed_total{source=\"moog\",status=\"success\"} 0",
            "mutt_remediation_replayed_total{source=\"alerter\",status=\"fail\"} 0",
            "mutt_remediation_poison_messages_total 0",
            "mutt_remediation_dlq_depth{dlq_name=\"dead\"} 0",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn a_change_of_the_circuit_is_counted_once() {
        let metrics = ForwarderMetrics::register(&mut Registry::default());
        assert_eq!(metrics.circuit(CircuitState::Closed), None);
        assert_eq!(
            metrics.circuit(CircuitState::Open),
            Some(CircuitState::Closed)
        );
        assert_eq!(metrics.circuit(CircuitState::Open), None);
    }
}
