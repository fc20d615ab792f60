//! What the alerter counts. Every label combination is made at the start, so that a series is
//! exported as 0 before its first event, and every handle is cached, so that counting is one atomic
//! addition. The names of 2.5 and 2.3 are kept beside the new ones, so that old dashboards go on.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The buckets of latency histograms, in seconds; those of 2.5.
pub const LATENCY_BUCKETS: [f64; 11] = [
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];

/// The buckets of receive → decision, in seconds: an event may wait long where the store or the
/// sink was away.
pub const DECISION_BUCKETS: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0,
    3600.0,
];

/// The queues whose oldest waiting element's age is shown.
pub const AGED_QUEUES: [&str; 2] = ["mutt:ingest_queue", "mutt:alert_queue"];

/// What the alerter was doing when the store failed: the `operation` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Claiming events.
    Claim,
    /// Making a decision take effect.
    Decide,
    /// Returning undecided events.
    Return,
    /// Looking at the depth of the alert queue.
    Depth,
    /// Moving events aside under back-pressure.
    Shed,
    /// Giving a sign of life.
    Heartbeat,
    /// Returning what dead workers held.
    Recover,
    /// Reading the queues' state.
    Status,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 8] = [
        Self::Claim,
        Self::Decide,
        Self::Return,
        Self::Depth,
        Self::Shed,
        Self::Heartbeat,
        Self::Recover,
        Self::Status,
    ];

    /// The value of the `operation` label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Decide => "decide",
            Self::Return => "return",
            Self::Depth => "depth",
            Self::Shed => "shed",
            Self::Heartbeat => "heartbeat",
            Self::Recover => "recover",
            Self::Status => "status",
        }
    }
}

/// A gauge of seconds.
pub type Seconds = Gauge<f64, AtomicU64>;

/// Every metric of the alerter. Cloning it clones handles.
///
/// Each event that leaves the ingest queue through a decision is counted once: as handled,
/// unhandled, error or poison.
#[derive(Clone, Debug)]
pub struct AlerterMetrics {
    /// Events that a rule decided.
    pub handled: Counter,
    /// Events that no rule matched.
    pub unhandled: Counter,
    /// Events that could not be read, now in the dead letter queue.
    pub error: Counter,
    /// Events that made processing fail again and again, now in the dead letter queue.
    pub poison: Counter,
    /// Seconds from a claim to its settlement; one observation per claim.
    pub processing_latency: Histogram,
    /// Seconds that one decision took to take effect in the store; one observation per attempt.
    pub db_write_latency: Histogram,
    /// Seconds from the receipt of an event to its settled decision; one observation per event.
    pub decision_latency: Histogram,
    /// Events waiting to be decided; exported by [`register_ingest_depth`](Self::register_ingest_depth).
    pub ingest_queue_depth: Gauge,
    /// Alerts waiting for the forwarder.
    pub alert_queue_depth: Gauge,
    /// Events that the alerters hold.
    pub processing_list_depth: Gauge,
    /// Entries of `mutt:dlq:alerter`.
    pub dlq_depth: Gauge,
    /// Claims that were not made because the alert queue was too long.
    pub deferred: Counter,
    /// Events moved to `mutt:dlq:alerter` because the alert queue was too long.
    pub shed: Counter,
    /// Alerts put into the alert queue.
    pub alerts_forwarded: Counter,
    /// Meta-alerts about unhandled events.
    pub meta_alerts: Counter,
    /// Rules in force.
    pub cache_rules: Gauge,
    /// Rules that could not be compiled and are skipped.
    pub cache_rules_skipped: Gauge,
    /// Development hosts known.
    pub cache_dev_hosts: Gauge,
    /// Device teams known.
    pub cache_teams: Gauge,
    /// Loads of rules, hosts and teams that succeeded.
    pub cache_reloads: Counter,
    /// Loads of rules, hosts and teams that failed.
    pub cache_reload_failures: Counter,
    /// 1 where the last load succeeded, else 0.
    pub cache_load_success: Gauge,
    /// Seconds that a load of rules, hosts and teams took.
    pub cache_reload_latency: Histogram,
    /// Decisions dropped because another worker had taken the claim over: it decides them.
    pub claims_fenced: Counter,
    /// Claims that the store refused as a whole and that were taken apart to find the event at
    /// fault.
    pub claims_refused: Counter,
    /// Elements that the alerter's janitor returned from dead workers to their queues.
    pub claims_recovered: Counter,
    oldest_age: [Seconds; AGED_QUEUES.len()],
    store_errors: [Counter; Operation::ALL.len()],
    processed: [Counter; 2],
    db_write_latency_ms: Histogram,
    alerter_queue_depth: Gauge,
    unhandled_events: Counter,
}

impl AlerterMetrics {
    /// Makes the metrics and enters them into the registry.
    pub fn register(registry: &mut Registry) -> Self {
        let by = || Family::<[(&str, &str); 1], Counter>::default();
        let (processed, messages, shed, recovered, store_errors) = (by(), by(), by(), by(), by());
        let ages = Family::<[(&str, &str); 1], Seconds>::default();
        let latency = || Histogram::new(LATENCY_BUCKETS);
        let status = |status| processed.get_or_create_owned(&[("status", status)]);
        let metrics = Self {
            handled: status("handled"),
            unhandled: status("unhandled"),
            error: status("error"),
            poison: status("poison"),
            processing_latency: latency(),
            db_write_latency: latency(),
            decision_latency: Histogram::new(DECISION_BUCKETS),
            ingest_queue_depth: Gauge::default(),
            alert_queue_depth: Gauge::default(),
            processing_list_depth: Gauge::default(),
            dlq_depth: Gauge::default(),
            deferred: shed.get_or_create_owned(&[("mode", "defer")]),
            shed: shed.get_or_create_owned(&[("mode", "dlq")]),
            alerts_forwarded: Counter::default(),
            meta_alerts: Counter::default(),
            cache_rules: Gauge::default(),
            cache_rules_skipped: Gauge::default(),
            cache_dev_hosts: Gauge::default(),
            cache_teams: Gauge::default(),
            cache_reloads: Counter::default(),
            cache_reload_failures: Counter::default(),
            cache_load_success: Gauge::default(),
            cache_reload_latency: latency(),
            claims_fenced: Counter::default(),
            claims_refused: Counter::default(),
            claims_recovered: recovered.get_or_create_owned(&[("kind", "alerter")]),
            oldest_age: AGED_QUEUES.map(|queue| ages.get_or_create_owned(&[("queue", queue)])),
            store_errors: Operation::ALL.map(|operation| {
                store_errors.get_or_create_owned(&[("operation", operation.name())])
            }),
            processed: ["matched", "unmatched"]
                .map(|status| messages.get_or_create_owned(&[("status", status)])),
            db_write_latency_ms: Histogram::new(LATENCY_BUCKETS.map(|bound| bound * 1000.0)),
            alerter_queue_depth: Gauge::default(),
            unhandled_events: Counter::default(),
        };
        metrics.enter(registry);
        registry.register(
            "mutt_alerter_events_processed",
            "Events decided; error and poison went to the dead letter queue",
            processed,
        );
        registry.register(
            "mutt_alerter_messages_processed",
            "Events decided, by whether a rule matched",
            messages,
        );
        registry.register(
            "mutt_alerter_shed_events",
            "Back-pressure: events moved aside (dlq), claims put off (defer)",
            shed,
        );
        registry.register(
            "mutt_claims_recovered",
            "Elements returned from dead workers to their queues, by the kind of worker whose \
             janitor did it",
            recovered,
        );
        registry.register(
            "mutt_alerter_store_errors",
            "Failed calls to the store, each tried again",
            store_errors,
        );
        registry.register(
            "mutt_queue_oldest_age_seconds",
            "How long the oldest waiting element of a queue has waited",
            ages,
        );
        metrics
    }

    /// Exports the depth of the ingest queue too, for a process that has no ingestor to do so.
    pub fn register_ingest_depth(&self, registry: &mut Registry) {
        registry.register(
            "mutt_ingest_queue_depth",
            "Events waiting to be decided",
            self.ingest_queue_depth.clone(),
        );
    }

    fn enter(&self, registry: &mut Registry) {
        let gauges = [
            (
                "mutt_alert_queue_depth",
                "Alerts waiting for the forwarder",
                &self.alert_queue_depth,
            ),
            (
                "mutt_alerter_queue_depth",
                "Alerts waiting for the forwarder, as 2.5 named it",
                &self.alerter_queue_depth,
            ),
            (
                "mutt_alerter_processing_list_depth",
                "Events that the alerters hold",
                &self.processing_list_depth,
            ),
            (
                "mutt_alerter_dlq_depth",
                "Entries of mutt:dlq:alerter",
                &self.dlq_depth,
            ),
            (
                "mutt_alerter_cache_rules_count",
                "Rules in force",
                &self.cache_rules,
            ),
            (
                "mutt_alerter_cache_rules_skipped",
                "Rules that cannot be compiled and are skipped",
                &self.cache_rules_skipped,
            ),
            (
                "mutt_alerter_cache_dev_hosts_count",
                "Development hosts known",
                &self.cache_dev_hosts,
            ),
            (
                "mutt_alerter_cache_teams_count",
                "Device teams known",
                &self.cache_teams,
            ),
            (
                "mutt_alerter_rule_cache_load_success",
                "1 where the last load of rules, hosts and teams succeeded, else 0",
                &self.cache_load_success,
            ),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
        let counters = [
            (
                "mutt_alerter_alerts_forwarded",
                "Alerts put into the alert queue",
                &self.alerts_forwarded,
            ),
            (
                "mutt_alerter_unhandled_meta_alerts",
                "Meta-alerts about unhandled events",
                &self.meta_alerts,
            ),
            (
                "mutt_alerter_unhandled_events",
                "Events that no rule matched",
                &self.unhandled_events,
            ),
            (
                "mutt_alerter_cache_reload",
                "Loads of rules, hosts and teams that succeeded",
                &self.cache_reloads,
            ),
            (
                "mutt_alerter_cache_reload_failures",
                "Loads of rules, hosts and teams that failed; the last good ones stay in force",
                &self.cache_reload_failures,
            ),
            (
                "mutt_alerter_claims_fenced",
                "Decisions dropped because another worker had taken the claim over",
                &self.claims_fenced,
            ),
            (
                "mutt_alerter_claims_refused",
                "Claims that the store refused and that were taken apart to find the event at fault",
                &self.claims_refused,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        let histograms = [
            (
                "mutt_alerter_processing_latency_seconds",
                "Time from a claim to its settlement",
                &self.processing_latency,
            ),
            (
                "mutt_alerter_db_write_latency_seconds",
                "Time a decision took to take effect in the store",
                &self.db_write_latency,
            ),
            (
                "mutt_db_write_latency_ms",
                "Time a decision took to take effect in the store, in milliseconds, as in 2.5",
                &self.db_write_latency_ms,
            ),
            (
                "mutt_event_decision_latency_seconds",
                "Time from the receipt of an event to its settled decision",
                &self.decision_latency,
            ),
            (
                "mutt_alerter_cache_reload_latency_seconds",
                "Time a load of rules, hosts and teams took",
                &self.cache_reload_latency,
            ),
        ];
        for (name, help, histogram) in histograms {
            registry.register(name, help, histogram.clone());
        }
    }

    /// Failed calls to the store while doing this.
    pub fn store_errors(&self, operation: Operation) -> &Counter {
        &self.store_errors[operation as usize]
    }

    /// How long the oldest waiting element of [`AGED_QUEUES`]`[index]` has waited.
    pub(crate) fn oldest_age(&self, index: usize) -> &Seconds {
        &self.oldest_age[index]
    }

    pub(crate) fn count_decided(&self, handled: u64, unhandled: u64) {
        self.handled.inc_by(handled);
        self.processed[0].inc_by(handled);
        self.unhandled.inc_by(unhandled);
        self.processed[1].inc_by(unhandled);
        self.unhandled_events.inc_by(unhandled);
    }

    pub(crate) fn observe_db_write(&self, seconds: f64) {
        self.db_write_latency.observe(seconds);
        self.db_write_latency_ms.observe(seconds * 1000.0);
    }

    pub(crate) fn set_alert_depth(&self, depth: u64) {
        let depth = gauge(depth);
        self.alert_queue_depth.set(depth);
        self.alerter_queue_depth.set(depth);
    }
}

/// A count as gauges hold it.
pub(crate) fn gauge(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_what_the_arrays_are_indexed_by() {
        for (index, operation) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, index, "{}", operation.name());
        }
    }

    #[test]
    fn every_series_is_there_before_its_first_event() {
        let mut registry = Registry::default();
        let metrics = AlerterMetrics::register(&mut registry);
        let text = |registry: &Registry| {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
            text
        };
        let before = text(&registry);
        for line in [
            r#"mutt_alerter_events_processed_total{status="handled"} 0"#,
            r#"mutt_alerter_events_processed_total{status="unhandled"} 0"#,
            r#"mutt_alerter_events_processed_total{status="error"} 0"#,
            r#"mutt_alerter_events_processed_total{status="poison"} 0"#,
            r#"mutt_alerter_messages_processed_total{status="matched"} 0"#,
            r#"mutt_alerter_shed_events_total{mode="defer"} 0"#,
            r#"mutt_alerter_shed_events_total{mode="dlq"} 0"#,
            r#"mutt_alerter_processing_latency_seconds_bucket{le="0.001"} 0"#,
            r#"mutt_alerter_db_write_latency_seconds_bucket{le="5.0"} 0"#,
            r#"mutt_db_write_latency_ms_bucket{le="5000.0"} 0"#,
            "mutt_alerter_queue_depth 0",
            "mutt_alert_queue_depth 0",
            "mutt_alerter_alerts_forwarded_total 0",
            "mutt_alerter_unhandled_meta_alerts_total 0",
            "mutt_alerter_cache_rules_count 0",
            "mutt_alerter_cache_dev_hosts_count 0",
            "mutt_alerter_cache_teams_count 0",
            "mutt_alerter_cache_reload_total 0",
            "mutt_alerter_cache_reload_failures_total 0",
            "mutt_alerter_dlq_depth 0",
            r#"mutt_claims_recovered_total{kind="alerter"} 0"#,
            r#"mutt_event_decision_latency_seconds_bucket{le="3600.0"} 0"#,
            r#"mutt_queue_oldest_age_seconds{queue="mutt:ingest_queue"} 0.0"#,
            r#"mutt_alerter_store_errors_total{operation="decide"} 0"#,
        ] {
            assert!(
                before.lines().any(|found| found == line),
                "{line} is missing in\n{before}"
            );
        }
        metrics.count_decided(2, 3);
        metrics.set_alert_depth(7);
        let after = text(&registry);
        for line in [
            r#"mutt_alerter_messages_processed_total{status="unmatched"} 3"#,
            "mutt_alerter_unhandled_events_total 3",
            "mutt_alerter_queue_depth 7",
        ] {
            assert!(
                after.lines().any(|found| found == line),
                "{line} is missing in\n{after}"
            );
        }
    }
}
