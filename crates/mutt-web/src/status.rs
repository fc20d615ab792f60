//! What waits, who works, how fast it goes, what needs a person: the answer and its parts. How it is
//! put together, once a second for everybody, is in [`crate::hub`].

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use mutt_engine::{CircuitState, WorkerKind};
use serde::Serialize;
use utoipa::ToSchema;

use crate::Api;
use crate::attention::Attention;
use crate::rates::Summary;
use crate::request::{VERSIONS, Viewer};

/// What versions of the API there are.
#[derive(Serialize, ToSchema)]
#[allow(clippy::struct_field_names, reason = "names of the API")]
pub struct Versions {
    /// The program's version.
    version: &'static str,
    /// The current version of the API.
    current: &'static str,
    /// The one that is answered where none is asked for.
    default: &'static str,
    /// Every version that may be asked for.
    supported: [&'static str; VERSIONS.len()],
    /// The same as `current`, as 2.5 called it.
    current_version: &'static str,
    /// The same as `default`, as 2.5 called it.
    default_version: &'static str,
    /// The same as `supported`, as 2.5 called it.
    supported_versions: [&'static str; VERSIONS.len()],
    /// Each version by its number.
    version_history: BTreeMap<&'static str, VersionNote>,
}

/// One version of the API.
#[derive(Serialize, ToSchema)]
pub struct VersionNote {
    /// The day of its release; null where it is not known.
    released: Option<&'static str>,
    /// `current`, `supported` or `deprecated`.
    status: &'static str,
    /// What was new.
    changes: Vec<&'static str>,
    /// The release of MUTT that deprecated it.
    #[serde(skip_serializing_if = "Option::is_none")]
    deprecated_in: Option<&'static str>,
    /// The day before which it is not removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    removal_date: Option<&'static str>,
}

/// Show the versions of the API
#[utoipa::path(get, path = "/version", tag = "Status", responses((status = 200, body = Versions)))]
pub async fn version(State(api): State<Api>) -> Json<Versions> {
    let note = |status, changes: &[&'static str]| VersionNote {
        released: None,
        status,
        changes: changes.to_vec(),
        deprecated_in: None,
        removal_date: None,
    };
    let history = [
        (
            "2.5",
            note(
                "current",
                &[
                    "dynamic configuration, audit of changes, objectives",
                    "with MUTT 3: problems of RFC 9457, entity tags, cursors, jobs, keys with roles",
                ],
            ),
        ),
        (
            "2.0",
            note(
                "supported",
                &["development hosts, teams, search of the audit trail"],
            ),
        ),
        (
            "1.0",
            VersionNote {
                deprecated_in: Some("3.0.0"),
                removal_date: Some("2027-12-31"),
                ..note("deprecated", &["rules and rates"])
            },
        ),
    ];
    Json(Versions {
        version: api.version,
        current: VERSIONS[0],
        default: VERSIONS[0],
        supported: VERSIONS,
        current_version: VERSIONS[0],
        default_version: VERSIONS[0],
        supported_versions: VERSIONS,
        version_history: history.into(),
    })
}

/// The whole state at one moment.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Status {
    /// The version of the process that answers.
    pub version: &'static str,
    /// `embedded` or `distributed`, with what it runs on.
    pub engine: String,
    /// When this was put together.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Whether the queues' store could be asked; else queues, workers, pods and circuit are as they
    /// were last known.
    pub complete: bool,
    /// Why it could not be asked.
    pub error: Option<String>,
    /// What needs a person, the most urgent first; empty where nothing does.
    pub attention: Vec<Attention>,
    /// How fast events and alerts go their way, over all processes.
    pub road: Road,
    /// Ingest queue, alert queue, retries, dead letter queues.
    pub queues: Vec<Queue>,
    /// Workers with a live heartbeat.
    pub workers: Vec<Worker>,
    /// Every process that reports.
    pub pods: Vec<Pod>,
    /// Every role with its live pods.
    pub roles: Vec<Role>,
    /// The servers (or the file) that everything is kept in.
    pub stores: Vec<Store>,
    /// The circuit to the sink.
    pub circuit: Circuit,
    /// The limit of requests to the sink.
    pub rate_limit: RateLimit,
    /// The bounds of the queues.
    pub shed: Shed,
    /// Accepted events per minute.
    pub rates: Summary,
    /// What the live processes counted since they started.
    pub totals: Totals,
    /// The objectives, in one line each.
    pub slo: Vec<SloLine>,
    /// The ten rules with the most hits within the hour.
    pub busy_rules: Vec<BusyRule>,
    /// The ten hosts with the most events within the hour; an estimate of the live alerters.
    pub busy_hosts: Vec<BusyHost>,
    /// The ten senders that send most beyond their limit; empty where none does, or there is no limit.
    pub floods: Vec<Flood>,
    /// What is critical or of the processes themselves, in words: the titles of those in `attention`.
    pub problems: Vec<String>,
}

/// Per second, over all processes.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Road {
    pub received: Received,
    pub decided: Decided,
    pub delivered: Delivered,
    pub dropped: Dropped,
    /// Over how many seconds it was measured; 0 where nothing is known yet.
    pub window_seconds: f64,
}

/// Events taken in per second.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Received {
    pub per_second: f64,
    /// By door: `http`, `snmp`, `syslog`.
    pub by_source: BTreeMap<&'static str, f64>,
}

/// Events decided per second.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Decided {
    pub per_second: f64,
    /// By a rule.
    pub handled: f64,
    /// That no rule matched.
    pub unhandled: f64,
    /// That could not be read or decided.
    pub failed: f64,
}

/// Alerts per second.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Delivered {
    pub per_second: f64,
    /// Requests to the sink that failed.
    pub failed: f64,
}

/// Messages that were not taken, per second. Over HTTP the sender was told.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Dropped {
    pub per_second: f64,
    /// By reason; those that never occurred are left out.
    pub by_reason: BTreeMap<String, f64>,
}

/// One queue.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = QueueStatus)]
pub struct Queue {
    /// Its key.
    pub name: String,
    /// Elements waiting.
    pub depth: u64,
    /// Elements claimed and not settled yet.
    pub claimed: u64,
    /// When the oldest waiting element was put there, where that is known.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub oldest: Option<Timestamp>,
    /// How long it has waited.
    pub oldest_age_seconds: Option<f64>,
}

/// A worker with a live heartbeat.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Worker {
    /// `alerter` or `moog`.
    #[schema(value_type = String)]
    pub kind: WorkerKind,
    pub pod: String,
    #[schema(value_type = String, format = DateTime)]
    pub seen_at: Timestamp,
    /// Events or alerts it holds.
    pub held: u64,
}

/// Something that is wrong in a process.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PodProblem {
    /// `rule_skipped` or `pod_problem`.
    pub code: String,
    /// In words.
    pub text: String,
}

/// One process.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[allow(clippy::struct_field_names, reason = "names of the API")]
pub struct Pod {
    pub pod: String,
    /// Which roles run in it.
    pub roles: Vec<String>,
    pub version: String,
    pub pid: u32,
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When it reported last.
    #[schema(value_type = String, format = DateTime)]
    pub seen_at: Timestamp,
    pub heartbeat_age_seconds: f64,
    /// By how much its clock is ahead of the clock of the process that answers.
    pub clock_offset_seconds: f64,
    /// Events and alerts it holds.
    pub held: u64,
    /// 100 is one whole processor.
    pub cpu_percent: f64,
    /// Resident memory.
    pub memory_bytes: u64,
    /// What its first working role does: events taken in, else decided, else alerts delivered.
    pub per_second: f64,
    /// Events that wait in its spool for Redis.
    pub spooled_events: u64,
    /// What is wrong with it.
    pub problems: Vec<PodProblem>,
    /// The doors that are open in it.
    pub listeners: Vec<Listener>,
}

/// A door through which events come in.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ListenerStatus)]
#[allow(clippy::struct_field_names, reason = "names of the API")]
pub struct Listener {
    /// `http`, `syslog_udp`, `syslog_tcp`, `syslog_tls`, `relp` or `snmp_trap`.
    pub listener: String,
    /// Where it listens.
    pub address: String,
    /// Messages read since the process started; two doors of one kind are counted together.
    pub received: u64,
    /// Events that became durable.
    pub accepted: u64,
    /// Repeats that stand in another event.
    pub deduplicated: u64,
    /// Connections open now.
    pub connections: u64,
    /// When a message was read last, to the second; null where none was.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_received_at: Option<Timestamp>,
    /// Messages that were not taken, by reason; those that never occurred are left out.
    pub dropped: BTreeMap<String, u64>,
}

/// A sender that sends more than its limit.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Flood {
    /// The pod that it sends to.
    pub pod: String,
    pub address: String,
    /// As its events show it, else its address.
    pub hostname: String,
    /// The door at which it began.
    pub listener: String,
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    pub kept_per_second: f64,
    pub dropped_per_second: f64,
    /// Events since it began.
    pub kept: u64,
    pub dropped: u64,
}

/// A role and how many live processes run it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Role {
    /// `ingestor`, `alerter`, `forwarder`, `remediation` or `webui`.
    pub role: &'static str,
    pub pods: usize,
}

/// A store as the process that answers sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Store {
    /// `sqlite`, or `redis` and `postgres`.
    pub name: &'static str,
    pub up: bool,
    /// Since when it is up or away, as far as this process knows.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// How long the last look took.
    pub latency_seconds: f64,
    /// Why it cannot be used.
    pub error: Option<String>,
}

/// The circuit to the sink.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Circuit {
    /// `closed`, `open` or `half_open`.
    #[schema(value_type = String)]
    pub state: CircuitState,
    /// Consecutive failures.
    pub failures: u32,
    /// Since when it is open.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub opened_at: Option<Timestamp>,
    /// How the last attempt failed that failed, where a live forwarder saw one.
    pub why: Option<String>,
    /// While it is open: when a probe may go out.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_probe_at: Option<Timestamp>,
    /// Whether there is an address to send to; null where no forwarder reports.
    pub sink_configured: Option<bool>,
    /// The last delivery, where a live forwarder made one.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_delivery_at: Option<Timestamp>,
}

/// The limit of requests to the sink, over all processes.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RateLimit {
    /// Requests within the last period.
    pub used: u64,
    /// The most (`moog_rate_limit`).
    pub limit: u64,
    /// `moog_rate_period`.
    pub period_seconds: f64,
}

/// The bounds of the queues.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Shed {
    /// `defer` or `dlq` (`alerter_shed_mode`).
    pub mode: String,
    /// `alerter_queue_shed_threshold`.
    pub threshold: u64,
    /// `alerter_queue_warn_threshold`.
    pub warn_threshold: u64,
    /// `max_ingest_queue_size`.
    pub ingest_limit: u64,
}

/// What the live processes counted since they started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Totals {
    /// Events accepted.
    pub received: u64,
    /// Events decided.
    pub decided: u64,
    /// Events that no rule knows.
    pub unhandled: u64,
    /// Alerts delivered.
    pub delivered: u64,
    /// Delivery attempts that failed.
    pub failed: u64,
}

/// One objective in one line; see `/slo`.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct SloLine {
    /// `ingestor` or `forwarder`.
    pub component: &'static str,
    /// The share that must succeed.
    pub target: f64,
    /// `ok`, `warn`, `critical` or `no_data`, over the window that is set.
    pub state: &'static str,
    /// Over the window that is set; null without traffic.
    pub availability: Option<f64>,
    pub burn_1h: Option<f64>,
    pub burn_6h: Option<f64>,
    pub burn_24h: Option<f64>,
    /// `page` or `ticket` where a pair of windows fires.
    pub alert: Option<&'static str>,
}

/// A rule that matches often.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BusyRule {
    pub id: i64,
    /// Its text or OID.
    pub looks_for: String,
    pub hits_1h: u64,
}

/// A host that sends much.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BusyHost {
    pub hostname: String,
    /// Events within the last hour.
    pub events_1h: u64,
}

/// Show what waits, who works and how fast it goes
///
/// Put together once a second for everybody who asks. Where the store is away, it is what was last
/// known, with `complete` false and the reason.
#[utoipa::path(get, path = "/status", tag = "Status", responses((status = 200, body = Status)))]
pub async fn status(State(api): State<Api>, _: Viewer) -> Response {
    let text: Arc<str> = api.hub.text().await;
    (
        [(header::CONTENT_TYPE, "application/json")],
        text.to_string(),
    )
        .into_response()
}
