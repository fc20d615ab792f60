//! What the alerter is told: options that hold for its life, and settings that change while it
//! runs.

use std::sync::Arc;
use std::time::Duration;

use mutt_engine::{Dynamic, UnhandledPolicy, UnhandledScope};

use crate::decide::Policy;

/// What holds for the alerter's life.
#[derive(Clone, Debug)]
pub struct AlerterOptions {
    /// This pod's name (`POD_NAME`): who holds the claims and gives signs of life. No other running
    /// alerter may have it.
    pub pod: Arc<str>,
    /// Workers, each with claims of its own; at least 1. One fills two cores.
    pub workers: usize,
    /// The most events of one claim; at least 1.
    pub claim_max: usize,
    /// How long a claim waits for its first event.
    pub claim_wait: Duration,
    /// How often an event is tried again that makes processing fail (`ALERTER_MAX_RETRIES`); then
    /// it goes to the dead letter queue.
    pub max_retries: u32,
    /// How often the pod gives a sign of life (`ALERTER_HEARTBEAT_INTERVAL`); it is taken for dead
    /// after three.
    pub heartbeat_interval: Duration,
    /// How often the claims of dead workers are looked for.
    pub janitor_interval: Duration,
    /// How often gauges are brought up to date.
    pub status_interval: Duration,
    /// How long work in flight may take after a shutdown was asked for
    /// (`SHUTDOWN_GRACE_SECONDS`); the rest is returned to the queue.
    pub shutdown_grace: Duration,
    /// The delay before a failed call to the store is made again; it doubles with each failure.
    pub retry_base: Duration,
    /// The longest of these delays.
    pub retry_max: Duration,
    /// What is counted against the threshold of unhandled events (`UNHANDLED_EVENT_SCOPE`).
    pub unhandled_scope: UnhandledScope,
    /// The team of a meta-alert about a host without a device team (`UNHANDLED_DEFAULT_TEAM`).
    pub default_team: Arc<str>,
}

impl Default for AlerterOptions {
    fn default() -> Self {
        Self {
            pod: "mutt-alerter-01".into(),
            workers: 1,
            claim_max: 1000,
            claim_wait: Duration::from_secs(1),
            max_retries: 3,
            heartbeat_interval: Duration::from_secs(10),
            janitor_interval: Duration::from_secs(30),
            status_interval: Duration::from_secs(5),
            shutdown_grace: Duration::from_secs(20),
            retry_base: Duration::from_millis(100),
            retry_max: Duration::from_secs(5),
            unhandled_scope: UnhandledScope::Host,
            default_team: "NETO".into(),
        }
    }
}

impl AlerterOptions {
    /// How long a sign of life is valid.
    pub fn heartbeat_lifetime(&self) -> Duration {
        self.heartbeat_interval * 3
    }
}

/// What is done with waiting events while the alert queue is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShedMode {
    /// They stay where they are.
    Defer,
    /// They are moved to the dead letter queue.
    Dlq,
}

/// The dynamic settings that matter here, read once per change and not once per claim.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) policy: Policy,
    pub(crate) warn_threshold: u64,
    pub(crate) shed_threshold: u64,
    pub(crate) shed_mode: ShedMode,
    pub(crate) defer_sleep: Duration,
}

impl Settings {
    pub(crate) fn read(options: &AlerterOptions, dynamic: &Dynamic) -> Self {
        Self {
            policy: Policy {
                audit_unhandled: dynamic.text("audit_scope") == "all",
                unhandled: UnhandledPolicy {
                    scope: options.unhandled_scope,
                    threshold: dynamic.integer("unhandled_event_threshold"),
                    window: dynamic.seconds("unhandled_event_window"),
                },
                max_retries: options.max_retries,
                default_team: Arc::clone(&options.default_team),
            },
            warn_threshold: dynamic.integer("alerter_queue_warn_threshold"),
            shed_threshold: dynamic.integer("alerter_queue_shed_threshold"),
            shed_mode: match dynamic.text("alerter_shed_mode") {
                "dlq" => ShedMode::Dlq,
                _ => ShedMode::Defer,
            },
            defer_sleep: Duration::from_millis(dynamic.integer("alerter_defer_sleep_ms")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_from_the_dynamic_keys() {
        let options = AlerterOptions {
            max_retries: 9,
            ..AlerterOptions::default()
        };
        let defaults = Settings::read(&options, &Dynamic::default());
        assert!(!defaults.policy.audit_unhandled);
        assert_eq!(defaults.policy.unhandled, UnhandledPolicy::default());
        assert_eq!(defaults.policy.max_retries, 9);
        assert_eq!(
            (defaults.warn_threshold, defaults.shed_threshold),
            (1000, 2000)
        );
        assert_eq!(defaults.shed_mode, ShedMode::Defer);
        assert_eq!(defaults.defer_sleep, Duration::from_millis(250));

        let changed = Settings::read(
            &options,
            &Dynamic::default().with([
                ("audit_scope", "all"),
                ("alerter_shed_mode", "dlq"),
                ("unhandled_threshold", "7"),
                ("unhandled_expiry_seconds", "60"),
            ]),
        );
        assert!(changed.policy.audit_unhandled);
        assert_eq!(changed.shed_mode, ShedMode::Dlq);
        assert_eq!(changed.policy.unhandled.threshold, 7);
        assert_eq!(changed.policy.unhandled.window, Duration::from_mins(1));
    }
}
