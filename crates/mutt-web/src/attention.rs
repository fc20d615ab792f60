//! What needs a person, sorted: a pure function of what is known. The codes are part of the API
//! (docs/api.md) and do not change.

use jiff::{SignedDuration, Timestamp};
use mutt_engine::{CircuitState, Dlq};
use serde::Serialize;
use utoipa::ToSchema;

use crate::status::{Circuit, Flood, Pod, Queue, Role, Shed, SloLine, Store};

/// How urgent it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Events or alerts do not get through.
    Critical,
    /// Somebody should look today.
    Warning,
    /// Good to know.
    Info,
}

/// One thing that needs a person.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Attention {
    pub severity: Severity,
    /// What kind it is; documented and stable.
    pub code: &'static str,
    /// In one line.
    pub title: String,
    /// More, or what to do; may be empty.
    pub detail: String,
    /// Since when, where that is known.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// The page of the web UI that shows it.
    pub page: &'static str,
}

/// The signatures that passed the threshold of unhandled events.
#[derive(Clone, Debug, Default)]
pub struct OverThreshold {
    /// How many.
    pub signatures: usize,
    pub threshold: u64,
    /// Count and masked text of the most frequent.
    pub top: Option<(u64, String)>,
}

/// What is known.
pub struct Known<'a> {
    pub now: Timestamp,
    pub stores: &'a [Store],
    pub queues: &'a [Queue],
    pub circuit: &'a Circuit,
    pub shed: &'a Shed,
    pub roles: &'a [Role],
    pub pods: &'a [Pod],
    pub slo: &'a [SloLine],
    pub unhandled: &'a OverThreshold,
    /// The worst first.
    pub floods: &'a [Flood],
    /// Messages per second that are not taken though their senders did nothing wrong, by reason.
    pub losing: Vec<(&'a str, f64)>,
}

/// Waiting longer than this is worth a warning, or more: seconds by queue.
const OLD: [(&str, f64, f64); 2] = [
    ("mutt:ingest_queue", 60.0, 300.0),
    ("mutt:alert_queue", 300.0, 900.0),
];
/// A clock that is off by more makes times of events wrong, in seconds.
const DRIFT: f64 = 5.0;

/// What needs a person, the most urgent first.
pub fn attention(known: &Known<'_>) -> Vec<Attention> {
    let mut list = List(Vec::new());
    stores(&mut list, known);
    sink(&mut list, known);
    processes(&mut list, known);
    queues(&mut list, known);
    dead_letters(&mut list, known);
    objectives(&mut list, known);
    list.0.sort_by_key(|item| item.severity);
    list.0
}

struct List(Vec<Attention>);

impl List {
    fn add(
        &mut self,
        severity: Severity,
        code: &'static str,
        page: &'static str,
        title: impl Into<String>,
    ) -> &mut Attention {
        self.0.push(Attention {
            severity,
            code,
            title: title.into(),
            detail: String::new(),
            since: None,
            page,
        });
        let last = self.0.len() - 1;
        &mut self.0[last]
    }
}

fn stores(list: &mut List, known: &Known<'_>) {
    for store in known.stores.iter().filter(|store| !store.up) {
        let name = match store.name {
            "redis" => "Redis",
            "postgres" => "PostgreSQL",
            _ => "The database",
        };
        let item = list.add(
            Severity::Critical,
            "store_away",
            "/status",
            format!("{name} cannot be used"),
        );
        item.detail = store.error.clone().unwrap_or_default();
        item.since = Some(store.since);
    }
}

fn sink(list: &mut List, known: &Known<'_>) {
    let circuit = known.circuit;
    let waiting = depth(known, "mutt:alert_queue") + depth(known, "mutt:alert_retry");
    if circuit.sink_configured == Some(false) {
        let severity = if waiting > 0 {
            Severity::Critical
        } else {
            Severity::Warning
        };
        let item = list.add(severity, "no_sink", "/delivery", "No sink is set");
        item.detail = format!("MOOG_WEBHOOK_URL is not set: alerts wait ({waiting} queued).");
        return;
    }
    let why = circuit.why.as_deref().unwrap_or("the sink failed");
    match circuit.state {
        CircuitState::Closed => {}
        CircuitState::Open => {
            let title = format!("Sink circuit open ({} failures)", circuit.failures);
            let item = list.add(Severity::Critical, "circuit_open", "/delivery", title);
            item.since = circuit.opened_at;
            item.detail = match circuit.next_probe_at {
                Some(at) if at > known.now => {
                    let left = at.duration_since(known.now);
                    format!("{why}. The next probe goes out in {}.", span(left))
                }
                Some(_) => format!("{why}. A probe is due; it goes out with the next alert."),
                None => format!("{why}."),
            };
        }
        CircuitState::HalfOpen => {
            let title = "Sink circuit half-open: a probe is out";
            let item = list.add(Severity::Warning, "circuit_half_open", "/delivery", title);
            item.since = circuit.opened_at;
            item.detail = format!("{why}.");
        }
    }
}

fn processes(list: &mut List, known: &Known<'_>) {
    for role in known.roles.iter().filter(|role| role.pods == 0) {
        let (severity, consequence) = match role.role {
            "ingestor" => (Severity::Critical, "nothing is taken in"),
            "alerter" => (Severity::Critical, "nothing is decided"),
            "forwarder" => (Severity::Critical, "nothing is delivered"),
            "remediation" => (Severity::Warning, "no dead letter is replayed by itself"),
            _ => continue,
        };
        let title = format!("No live pod runs the role {}", role.role);
        let item = list.add(severity, "role_missing", "/status", title);
        item.detail = format!("Start one: {consequence}.");
    }
    let mut versions: Vec<&str> = known.pods.iter().map(|pod| &*pod.version).collect();
    versions.sort_unstable();
    versions.dedup();
    if versions.len() > 1 {
        let title = format!("{} versions are running", versions.len());
        let item = list.add(Severity::Warning, "version_skew", "/status", title);
        item.detail = format!("{}.", versions.join(", "));
    }
    for pod in known.pods {
        if pod.clock_offset_seconds.abs() > DRIFT {
            let way = if pod.clock_offset_seconds > 0.0 {
                "ahead"
            } else {
                "behind"
            };
            let off = pod.clock_offset_seconds.abs();
            let title = format!("The clock of {} is {off:.0} s {way}", pod.pod);
            let item = list.add(Severity::Warning, "clock_drift", "/status", title);
            item.detail = "Times of events and of retries are wrong by as much.".into();
        }
        if pod.spooled_events > 0 {
            let title = format!(
                "{} events wait in the spool of {}",
                pod.spooled_events, pod.pod
            );
            let item = list.add(Severity::Warning, "spooling", "/status", title);
            item.detail = "They go to Redis when it can be written.".into();
        }
        for problem in &pod.problems {
            let code = match &*problem.code {
                "rule_skipped" => "rule_skipped",
                _ => "pod_problem",
            };
            let page = if code == "rule_skipped" {
                "/rules"
            } else {
                "/status"
            };
            // Every alerter says so of the same rule.
            if !list
                .0
                .iter()
                .any(|item| item.code == code && item.title == problem.text)
            {
                list.add(Severity::Warning, code, page, problem.text.clone());
            }
        }
    }
}

fn queues(list: &mut List, known: &Known<'_>) {
    for (name, warning, critical) in OLD {
        let queue = known.queues.iter().find(|queue| queue.name == name);
        let Some((queue, age)) = queue.and_then(|queue| Some((queue, queue.oldest_age_seconds?)))
        else {
            continue;
        };
        if age < warning {
            continue;
        }
        let severity = if age < critical {
            Severity::Warning
        } else {
            Severity::Critical
        };
        let what = if name == "mutt:ingest_queue" {
            "to be decided"
        } else {
            "to be delivered"
        };
        #[allow(clippy::cast_possible_truncation, reason = "whole seconds are enough")]
        let waited = span(SignedDuration::from_secs(age as i64));
        let title = format!("{} wait {what}, the oldest for {waited}", queue.depth);
        list.add(severity, "queue_old", "/status", title).since = queue.oldest;
    }
    let ingest = depth(known, "mutt:ingest_queue");
    let limit = known.shed.ingest_limit;
    if ingest.saturating_mul(5) >= limit.saturating_mul(4) {
        let severity = if ingest >= limit {
            Severity::Critical
        } else {
            Severity::Warning
        };
        let title = format!("The ingest queue holds {ingest} of {limit} events");
        let item = list.add(severity, "queue_full", "/status", title);
        item.detail = "At the limit senders are told to wait (max_ingest_queue_size).".into();
    }
    let alerts = depth(known, "mutt:alert_queue");
    if alerts >= known.shed.threshold {
        let title = format!(
            "Shedding: {alerts} alerts wait, the threshold is {}",
            known.shed.threshold
        );
        let item = list.add(Severity::Critical, "shedding", "/delivery", title);
        item.detail = match &*known.shed.mode {
            "dlq" => "New events go to the dead letter queue alerter.".into(),
            _ => "Nothing new is decided until fewer wait.".into(),
        };
    }
    if !known.losing.is_empty() {
        let reasons: Vec<_> = known
            .losing
            .iter()
            .map(|(reason, speed)| format!("{reason} {speed:.1}/s"))
            .collect();
        let item = list.add(
            Severity::Critical,
            "dropping",
            "/status",
            "Messages are not taken",
        );
        item.detail = format!("{}.", reasons.join(", "));
    }
    if let Some(worst) = known.floods.first() {
        let title = match known.floods.len() {
            1 => format!("{} sends more than its limit", worst.hostname),
            many => format!("{many} senders send more than their limits"),
        };
        let item = list.add(Severity::Warning, "sender_floods", "/status", title);
        item.since = known.floods.iter().map(|flood| flood.since).min();
        let lines: Vec<_> = known
            .floods
            .iter()
            .take(3)
            .map(|flood| {
                format!(
                    "{} ({}): {:.0}/s kept, {:.0}/s dropped",
                    flood.hostname, flood.address, flood.kept_per_second, flood.dropped_per_second
                )
            })
            .collect();
        item.detail = format!("{}.", lines.join("; "));
    }
    if known.unhandled.signatures > 0 {
        let over = known.unhandled;
        let what = if over.signatures == 1 {
            "signature"
        } else {
            "signatures"
        };
        let title = format!(
            "{} unhandled {what} over {}",
            over.signatures, over.threshold
        );
        let item = list.add(
            Severity::Info,
            "unhandled_over_threshold",
            "/unhandled",
            title,
        );
        if let Some((count, masked)) = &over.top {
            let masked: String = masked.chars().take(120).collect();
            item.detail = format!("The most frequent: {count}x \"{masked}\".");
        }
    }
}

fn dead_letters(list: &mut List, known: &Known<'_>) {
    for dlq in Dlq::ALL {
        let Some(queue) = known.queues.iter().find(|queue| queue.name == dlq.key()) else {
            continue;
        };
        if queue.depth == 0 {
            continue;
        }
        let (code, page, what) = match dlq {
            Dlq::Dead => (
                "poison",
                "/dlq?queue=dead",
                "dead letters wait for a person",
            ),
            Dlq::Moog => (
                "dlq_not_empty",
                "/dlq?queue=moog",
                "alerts in dead letter queue moog",
            ),
            Dlq::Alerter => (
                "dlq_not_empty",
                "/dlq?queue=alerter",
                "events in dead letter queue alerter",
            ),
            Dlq::Ingest => (
                "dlq_not_empty",
                "/dlq?queue=ingest",
                "records in dead letter queue ingest",
            ),
        };
        let item = list.add(
            Severity::Warning,
            code,
            page,
            format!("{} {what}", queue.depth),
        );
        item.since = queue.oldest;
        item.detail = match queue.oldest {
            Some(oldest) => format!(
                "The oldest failed {} ago.",
                span(known.now.duration_since(oldest))
            ),
            None => String::new(),
        };
    }
}

fn objectives(list: &mut List, known: &Known<'_>) {
    for line in known.slo {
        let (severity, windows) = match line.alert {
            Some("page") => (Severity::Critical, "of the last hours"),
            Some(_) => (Severity::Warning, "of the last days"),
            None => continue,
        };
        let title = format!("The error budget of the {} burns too fast", line.component);
        let item = list.add(severity, "slo_burning", "/slo", title);
        item.detail = format!(
            "Burn rate {} within 1 h, {} within 24 h: at the pace {windows} the budget does not last.",
            burn(line.burn_1h),
            burn(line.burn_24h)
        );
    }
}

fn burn(rate: Option<f64>) -> String {
    rate.map_or_else(|| "unknown".into(), |rate| format!("{rate:.1}"))
}

fn depth(known: &Known<'_>, name: &str) -> u64 {
    let queue = known.queues.iter().find(|queue| queue.name == name);
    queue.map_or(0, |queue| queue.depth)
}

/// In the largest unit that says it.
fn span(duration: SignedDuration) -> String {
    match duration.as_secs().max(0) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
#[path = "attention_tests.rs"]
mod tests;
