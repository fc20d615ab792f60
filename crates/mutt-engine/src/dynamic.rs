//! Dynamic configuration: the settings that change while MUTT runs.
//!
//! [`KEYS`] is the one definition: parsing, checks, help, the reference page and the audit all
//! derive from it. A stored value overrides environment, file and default.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use tokio::sync::{broadcast, watch};

use crate::Engine;
use crate::catalog::Change;
use crate::error::{EngineError, Result};
use crate::live::Changed;

/// What a key may be set to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Kind {
    /// A whole number within these bounds, both included.
    Integer {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// A number within these bounds, both included.
    Number {
        /// The least.
        min: f64,
        /// The most.
        max: f64,
    },
    /// One of these words.
    Choice {
        /// The words.
        allowed: &'static [&'static str],
    },
}

/// A dynamic key.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What 2.5 called it, where that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<&'static str>,
    /// The environment variable that sets its static value, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variable: Option<&'static str>,
    /// What it may be set to.
    #[serde(flatten)]
    pub kind: Kind,
    /// Its value where nothing is set.
    pub default: &'static str,
    /// The unit of a number: `s`, `ms`, `events`, …; empty where it has none.
    pub unit: &'static str,
    /// What it does, in one sentence.
    pub description: &'static str,
}

const fn integer(min: u64, max: u64) -> Kind {
    Kind::Integer { min, max }
}

macro_rules! keys {
    ($($name:ident $(alias $alias:literal)? $(env $env:literal)?: $kind:expr, $default:literal $unit:literal, $text:literal;)*) => {
        /// Every dynamic key, in the order in which people are shown them.
        pub const KEYS: &[Key] = &[$(Key {
            name: stringify!($name),
            alias: keys!(@option $($alias)?),
            variable: keys!(@option $($env)?),
            kind: $kind,
            default: $default,
            unit: $unit,
            description: $text,
        }),*];
    };
    (@option) => { None };
    (@option $value:literal) => { Some($value) };
}

keys! {
    alerter_queue_warn_threshold: integer(1, 100_000_000), "1000" "alerts",
        "Depth of the alert queue at which the alerter warns.";
    alerter_queue_shed_threshold: integer(1, 100_000_000), "2000" "alerts",
        "Depth of the alert queue at which the alerter acts by alerter_shed_mode.";
    alerter_shed_mode: Kind::Choice { allowed: &["defer", "dlq"] }, "defer" "",
        "defer: claim nothing until the alert queue is shorter; dlq: move waiting events to mutt:dlq:alerter.";
    alerter_defer_sleep_ms: integer(1, 60_000), "250" "ms",
        "How long a deferring alerter waits before it looks again.";
    max_ingest_queue_size env "MAX_INGEST_QUEUE_SIZE": integer(1, 1_000_000_000), "1000000" "events",
        "The most events that may wait; beyond it senders are told to wait (503).";
    ingest_max_rate env "INGEST_MAX_RATE": integer(0, 100_000_000), "0" "events",
        "The most events accepted over HTTP per ingest_rate_window; 0 is no limit.";
    ingest_rate_window env "INGEST_RATE_WINDOW": integer(1, 86_400), "60" "s",
        "The window of ingest_max_rate.";
    sender_max_rate: integer(0, 100_000_000), "0" "events/s",
        "The most events per second of one source address over syslog, RELP and SNMP; 0 is no limit. The senders file may say otherwise for a network.";
    sender_burst: integer(1, 3600), "5" "s",
        "Seconds of sender_max_rate that a sender may send at once.";
    sender_flood_action: Kind::Choice { allowed: &["drop", "sample", "mark"] }, "drop" "",
        "What becomes of events beyond sender_max_rate. drop: counted and dropped; sample: one in sender_flood_sample is kept; mark: all are kept, with \"flood\": true.";
    sender_flood_sample: integer(1, 1_000_000), "100" "events",
        "One in so many events beyond sender_max_rate is kept where sender_flood_action is sample.";
    dedup_window_seconds: integer(0, 3600), "0" "s",
        "For so long repeats of a message of one host (syslog over UDP, TCP and TLS, SNMP traps) count as one event, which says how many there were; 0 is off.";
    dedup_match: Kind::Choice { allowed: &["signature", "message"] }, "signature" "",
        "What is a repeat. signature: the same text apart from numbers, addresses, times and quoted text; message: the very same text.";
    cache_reload_interval env "ALERTER_RULE_CACHE_REFRESH_INTERVAL": integer(1, 86_400), "300" "s",
        "How often the alerter loads rules, hosts and teams again even where nothing was announced.";
    unhandled_event_threshold alias "unhandled_threshold" env "UNHANDLED_EVENT_THRESHOLD": integer(1, 100_000_000), "100" "events",
        "Unmatched events within the window that make one meta-alert.";
    unhandled_event_window alias "unhandled_expiry_seconds" env "UNHANDLED_EVENT_WINDOW": integer(1, 2_592_000), "3600" "s",
        "The window of unhandled_event_threshold.";
    audit_scope env "AUDIT_SCOPE": Kind::Choice { allowed: &["matched", "all"] }, "matched" "",
        "matched: audit events that a rule matched; all: audit unhandled ones too.";
    moog_rate_limit env "MOOG_RATE_LIMIT": integer(1, 1_000_000), "50" "requests",
        "The most requests to the sink within moog_rate_period, over all pods.";
    moog_rate_period env "MOOG_RATE_PERIOD": Kind::Number { min: 0.1, max: 3600.0 }, "1" "s",
        "The window of moog_rate_limit.";
    moog_max_retries env "MOOG_MAX_RETRIES": integer(0, 1000), "5" "retries",
        "Retries of one alert before it goes to mutt:dlq:moog.";
    circuit_breaker_threshold env "CIRCUIT_BREAKER_THRESHOLD": integer(1, 100_000), "10" "failures",
        "Consecutive failures that open the circuit to the sink.";
    circuit_breaker_timeout env "CIRCUIT_BREAKER_TIMEOUT": integer(1, 86_400), "300" "s",
        "How long the circuit stays open before one probe goes out.";
    remediation_scan_interval env "REMEDIATION_SCAN_INTERVAL": integer(1, 86_400), "60" "s",
        "How often remediation looks through the dead letter queues.";
    remediation_max_retries env "REMEDIATION_MAX_RETRIES": integer(0, 1000), "3" "replays",
        "Replays of one dead letter before it goes to mutt:dlq:dead.";
    slo_window_hours: integer(1, 720), "24" "h",
        "The window of the service level objectives.";
    slo_ingest_success_target: Kind::Number { min: 0.5, max: 0.999_999 }, "0.995" "",
        "The share of ingest requests that must succeed.";
    slo_forward_success_target: Kind::Number { min: 0.5, max: 0.999_999 }, "0.99" "",
        "The share of deliveries that must succeed.";
    retention_active_days env "RETENTION_ACTIVE_DAYS": integer(1, 36_500), "90" "days",
        "How long audit rows stay in the active store.";
    retention_archive_years env "RETENTION_ARCHIVE_YEARS": integer(1, 100), "7" "years",
        "How long archived audit rows are kept.";
    log_level env "LOG_LEVEL": Kind::Choice { allowed: &["error", "warn", "info", "debug", "trace"] }, "info" "",
        "What is logged.";
}

/// The key with this name, or with this name in 2.5.
pub fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter()
        .find(|key| key.name == name || key.alias == Some(name))
}

impl Key {
    /// The roles that react to a change of it.
    pub fn roles(&self) -> &'static [&'static str] {
        match self.name {
            "max_ingest_queue_size" | "ingest_max_rate" | "ingest_rate_window" => &["ingestor"],
            name if name.starts_with("sender_") || name.starts_with("dedup_") => &["ingestor"],
            "log_level" => &["ingestor", "alerter", "forwarder", "remediation", "webui"],
            name if name.starts_with("moog_") || name.starts_with("circuit_") => &["forwarder"],
            "remediation_scan_interval" => &["remediation"],
            "remediation_max_retries" => &["remediation", "webui"],
            name if name.starts_with("slo_") => &["webui"],
            // Whoever runs `mutt db partitions` and the archive.
            name if name.starts_with("retention_") => &[],
            _ => &["alerter"],
        }
    }

    /// What is allowed, in words.
    pub fn allowed(&self) -> String {
        match self.kind {
            Kind::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Number { min, max } => format!("a number from {min} to {max}"),
            Kind::Choice { allowed } => allowed.join(" or "),
        }
    }

    /// Checks a value and returns it in its usual form.
    ///
    /// # Errors
    /// A sentence that says what is allowed.
    pub fn check(&self, value: &str) -> std::result::Result<String, String> {
        let value = value.trim();
        let checked = match self.kind {
            Kind::Integer { min, max } => value
                .parse::<u64>()
                .ok()
                .filter(|number| (min..=max).contains(number))
                .map(|number| number.to_string()),
            Kind::Number { min, max } => value
                .parse::<f64>()
                .ok()
                .filter(|number| (min..=max).contains(number))
                .map(|number| number.to_string()),
            Kind::Choice { allowed } => {
                let word = value.to_ascii_lowercase();
                allowed.contains(&word.as_str()).then_some(word)
            }
        };
        checked.ok_or_else(|| {
            format!(
                "'{value}' is not allowed for {}: {}",
                self.name,
                self.allowed()
            )
        })
    }
}

/// The values in force: by key, checked. Cheap to read, replaced whole when one changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dynamic {
    values: BTreeMap<&'static str, String>,
}

impl Default for Dynamic {
    fn default() -> Self {
        Self {
            values: KEYS
                .iter()
                .map(|key| (key.name, key.default.to_owned()))
                .collect(),
        }
    }
}

impl Dynamic {
    /// These values with others on top; what is unknown or not allowed is left out (it was checked
    /// when it was written).
    #[must_use]
    pub fn with<'a>(&self, overrides: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut values = self.values.clone();
        for (name, value) in overrides {
            if let Some(key) = key(name)
                && let Ok(value) = key.check(value)
            {
                values.insert(key.name, value);
            }
        }
        Self { values }
    }

    /// The value of a key as text.
    ///
    /// # Panics
    /// Where there is no such key: a mistake in the program.
    pub fn text(&self, name: &str) -> &str {
        self.values
            .get(name)
            .map(String::as_str)
            .expect("the key is in KEYS")
    }

    /// The value of an `Integer` key.
    pub fn integer(&self, name: &str) -> u64 {
        self.text(name)
            .parse()
            .expect("integers were checked when they were set")
    }

    /// The value of a `Number` key.
    pub fn number(&self, name: &str) -> f64 {
        self.text(name)
            .parse()
            .expect("numbers were checked when they were set")
    }

    /// The value of a key in seconds.
    pub fn seconds(&self, name: &str) -> Duration {
        Duration::from_secs_f64(self.number(name))
    }

    /// All keys with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Key, &str)> {
        KEYS.iter().map(|key| (key, self.text(key.name)))
    }
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigChange {
    /// The key.
    pub key: String,
    /// The stored value before; `None` where nothing was stored.
    pub old_value: Option<String>,
    /// The stored value now; `None` where it was unset.
    pub new_value: Option<String>,
}

/// The table name under which changes of dynamic configuration stand in `config_audit_log`.
pub const CONFIG_TABLE: &str = "dynamic_config";

/// Stored dynamic configuration.
#[async_trait]
pub trait DynamicConfig: Send + Sync {
    /// Every stored key with its value.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn config_overrides(&self) -> Result<BTreeMap<String, String>>;

    /// Stores a value ([`Key::check`] is applied). Audited in the same transaction and announced.
    ///
    /// # Errors
    /// `Invalid` for an unknown key or a value that is not allowed, `Unavailable`.
    async fn set_config(&self, key: &str, value: &str, by: &Change) -> Result<ConfigChange>;

    /// Removes a stored value. Audited in the same transaction and announced.
    ///
    /// # Errors
    /// `NotFound` where nothing is stored, `Invalid`, `Unavailable`.
    async fn unset_config(&self, key: &str, by: &Change) -> Result<ConfigChange>;
}

/// The key and the value to be stored, checked.
///
/// # Errors
/// `Invalid` says what is allowed.
pub fn checked(name: &str, value: &str) -> Result<(&'static Key, String)> {
    let key = known(name)?;
    let value = key.check(value).map_err(EngineError::Invalid)?;
    Ok((key, value))
}

/// The key with this name.
///
/// # Errors
/// `Invalid` lists the keys there are.
pub fn known(name: &str) -> Result<&'static Key> {
    key(name).ok_or_else(|| {
        let names: Vec<_> = KEYS.iter().map(|key| key.name).collect();
        EngineError::Invalid(format!(
            "'{name}' is no dynamic configuration key; there are {}",
            names.join(", ")
        ))
    })
}

/// Keeps `base` with the stored values on top up to date until the last receiver is gone. A change
/// arrives at once where it was announced, and within 5 s in any case; while the store is away the
/// last known values hold.
pub async fn follow(engine: Arc<dyn Engine>, base: Dynamic) -> watch::Receiver<Arc<Dynamic>> {
    let mut changes = engine.changes();
    let first = read(&*engine, &base).await.unwrap_or_else(|_| base.clone());
    let (sender, receiver) = watch::channel(Arc::new(first));
    tokio::spawn(async move {
        let mut safety_net = tokio::time::interval(Duration::from_secs(5));
        loop {
            tokio::select! {
                change = changes.recv() => match change {
                    Ok(Changed::Config(_)) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Ok(Changed::Catalog) => continue,
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                _ = safety_net.tick() => {}
                () = sender.closed() => return,
            }
            if let Ok(values) = read(&*engine, &base).await {
                sender.send_if_modified(|current| {
                    let changed = **current != values;
                    if changed {
                        *current = Arc::new(values);
                    }
                    changed
                });
            }
        }
    });
    receiver
}

async fn read(engine: &dyn Engine, base: &Dynamic) -> Result<Dynamic> {
    let stored = engine.config_overrides().await?;
    Ok(base.with(
        stored
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str())),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_allowed() {
        for key in KEYS {
            assert_eq!(
                key.check(key.default).as_deref(),
                Ok(key.default),
                "{}",
                key.name
            );
        }
    }

    #[test]
    fn overrides_win_and_aliases_are_understood() {
        let values =
            Dynamic::default().with([("unhandled_threshold", "7"), ("log_level", "DEBUG")]);
        assert_eq!(values.integer("unhandled_event_threshold"), 7);
        assert_eq!(values.text("log_level"), "debug");
    }

    #[test]
    fn a_refusal_says_what_is_allowed() {
        let error = checked("moog_rate_limit", "0").expect_err("0 is below the least");
        assert_eq!(
            error.to_string(),
            "'0' is not allowed for moog_rate_limit: a whole number from 1 to 1000000"
        );
        assert!(
            checked("nonsense", "1")
                .expect_err("no such key")
                .to_string()
                .contains("log_level")
        );
    }
}
