//! How delivery goes: the circuit, the rate limit, how attempts ended lately and what is tried again
//! when; and a test that goes the way of every alert. Reads what the engine has; decides nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use mutt_engine::audit::DeliveryRow;
use mutt_engine::changes::Operation;
use mutt_engine::{CircuitState, NewAlert, Note, Retrying};
use mutt_event::{Alert, EventId, Severity};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::Api;
use crate::error::Result;
use crate::request::{MaybeBody, Operator, Viewer, checked_reason};
use crate::rules::Why;

/// The sink, in `delivery_log` and as the name of its circuit.
const SINK: &str = "moogsoft";
/// The name of its rate limit.
const LIMIT: &str = "moog";
/// The windows that are looked at, in minutes; the last is the longest.
const WINDOWS: [u32; 2] = [15, 60];
/// The most attempts that are looked at.
const ATTEMPTS_MAX: usize = 20_000;
/// Kinds of failures that are shown.
const ERRORS_MAX: usize = 10;
/// Retries that are shown.
const RETRIES_MAX: usize = 20;
/// The most characters of an alert's message.
const SUMMARY_CHARS: usize = 200;
/// How long a picture is shown again.
const AGE: Duration = Duration::from_secs(2);

/// How delivery goes.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Delivery {
    sinks: Vec<SinkView>,
}

/// A sink.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SinkView {
    /// Its name.
    sink: &'static str,
    circuit: CircuitView,
    rate: Rate,
    /// Alerts that wait for their first attempt.
    waiting: u64,
    /// Alerts that wait for another one.
    retrying: u64,
    /// How attempts ended lately.
    windows: Vec<Window>,
    /// Failures within the last hour, the most frequent first; at most 10 kinds.
    errors: Vec<Failure>,
    /// The alerts that are tried again next; at most 20.
    retries: Vec<Retry>,
}

/// The circuit breaker.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CircuitView {
    /// `closed`, `open` or `half_open`.
    state: &'static str,
    /// Consecutive failures.
    failures: u32,
    /// Since when it is open.
    #[schema(value_type = Option<String>, format = DateTime)]
    opened_at: Option<Timestamp>,
    /// When the next probe goes out, at the earliest.
    #[schema(value_type = Option<String>, format = DateTime)]
    next_probe_at: Option<Timestamp>,
    /// The last failure in words, where it is not closed.
    why: Option<String>,
}

/// The rate limit, over all pods.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Rate {
    /// The most requests in any window.
    limit: u64,
    /// The window, in seconds.
    period_s: f64,
    /// Requests within the last window.
    used: u64,
}

/// Attempts within some minutes.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Window {
    minutes: u32,
    attempts: u64,
    delivered: u64,
    /// The share of attempts that delivered; null where there was none.
    success: Option<f64>,
    /// Half of the answers came within this, in milliseconds; null where there was none.
    p50_ms: Option<f64>,
    /// 95 of 100 answers came within this, in milliseconds.
    p95_ms: Option<f64>,
    /// Whether all attempts of the window were looked at; else the newest 20,000.
    complete: bool,
}

/// Attempts that failed alike.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Failure {
    /// The HTTP status, where there was an answer.
    status: Option<u16>,
    /// The last of them in words.
    error: String,
    count: u64,
    #[schema(value_type = String, format = DateTime)]
    last_at: Timestamp,
    /// The event of the last of them.
    #[schema(value_type = String, format = "uuid")]
    event_id: EventId,
}

/// An alert that is tried again.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Retry {
    /// When, at the earliest; the limit and the circuit may put it off.
    #[schema(value_type = String, format = DateTime)]
    due: Timestamp,
    /// Attempts so far.
    attempts: u32,
    #[schema(value_type = Option<String>, format = "uuid")]
    event_id: Option<EventId>,
    hostname: Option<String>,
    /// The message, at most 200 characters of it.
    summary: Option<String>,
    team: Option<String>,
    rule_id: Option<i64>,
}

impl From<Retrying> for Retry {
    fn from(retrying: Retrying) -> Self {
        let alert = serde_json::from_slice::<Alert<'_>>(&retrying.element).ok();
        let alert = alert.as_ref();
        Self {
            due: retrying.due,
            attempts: retrying.attempts,
            event_id: alert.and_then(|alert| alert.event_id),
            hostname: alert.map(|alert| alert.hostname.to_string()),
            summary: alert.map(|alert| alert.message_body.chars().take(SUMMARY_CHARS).collect()),
            team: alert.map(|alert| alert.team_assignment.to_string()),
            rule_id: alert.and_then(|alert| alert.rule_id),
        }
    }
}

impl Window {
    /// `rows` are the newest first; `all` says whether there are no older ones within the hour.
    fn of(minutes: u32, rows: &[DeliveryRow], all: bool, now: Timestamp) -> Self {
        let since = now - SignedDuration::from_mins(minutes.into());
        let within: Vec<_> = rows.iter().take_while(|row| row.at >= since).collect();
        let attempts = within.len() as u64;
        let delivered = within.iter().filter(|row| row.error.is_none()).count() as u64;
        let mut answers: Vec<f64> = within
            .iter()
            .filter(|row| row.status.is_some())
            .map(|row| row.latency_ms)
            .collect();
        answers.sort_by(f64::total_cmp);
        Self {
            minutes,
            attempts,
            delivered,
            success: (attempts > 0).then(|| delivered as f64 / attempts as f64),
            p50_ms: quantile(&answers, 50),
            p95_ms: quantile(&answers, 95),
            complete: all || within.len() < rows.len(),
        }
    }
}

/// The least of the sorted values that so many of a hundred do not pass.
fn quantile(sorted: &[f64], percent: usize) -> Option<f64> {
    let place = (sorted.len() * percent).div_ceil(100);
    sorted.get(place.checked_sub(1)?).copied()
}

/// Failures by status, else by their words; the most frequent first.
fn failures(rows: &[DeliveryRow]) -> Vec<Failure> {
    let mut kinds: BTreeMap<(Option<u16>, &str), Failure> = BTreeMap::new();
    for row in rows {
        let Some(error) = row.error.as_deref() else {
            continue;
        };
        let words = if row.status.is_some() { "" } else { error };
        let kind = kinds
            .entry((row.status, words))
            // The newest comes first.
            .or_insert_with(|| Failure {
                status: row.status,
                error: error.to_owned(),
                count: 0,
                last_at: row.at,
                event_id: row.event_id,
            });
        kind.count += 1;
    }
    let mut kinds: Vec<_> = kinds.into_values().collect();
    kinds.sort_by_key(|kind| {
        (
            std::cmp::Reverse(kind.count),
            std::cmp::Reverse(kind.last_at),
        )
    });
    kinds.truncate(ERRORS_MAX);
    kinds
}

/// The last picture.
#[derive(Default)]
pub struct DeliveryCache {
    last: Mutex<Option<(Instant, Delivery)>>,
}

/// Show how delivery goes
///
/// The circuit, the rate limit, attempts of the last 15 minutes and the last hour, failures by kind,
/// and what is tried again next. At most two seconds old.
#[utoipa::path(get, path = "/delivery", tag = "Delivery", responses((status = 200, body = Delivery)))]
pub async fn show(State(api): State<Api>, _: Viewer) -> Result<Json<Delivery>> {
    if let Some((at, delivery)) = &*api.delivery.last.lock()
        && at.elapsed() < AGE
    {
        return Ok(Json(delivery.clone()));
    }
    let delivery = Delivery {
        sinks: vec![look(&api).await?],
    };
    *api.delivery.last.lock() = Some((Instant::now(), delivery.clone()));
    Ok(Json(delivery))
}

async fn look(api: &Api) -> Result<SinkView> {
    let engine = &*api.engine;
    let stored = engine.config_overrides().await?;
    let stored = stored
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()));
    let values = api.base.with(stored);
    let now = Timestamp::now();
    let longest = SignedDuration::from_mins(WINDOWS[WINDOWS.len() - 1].into());
    let rows = engine
        .recent_deliveries(now - longest, ATTEMPTS_MAX)
        .await?;
    let all = rows.len() < ATTEMPTS_MAX;
    let circuit = engine.circuit(SINK).await?;
    let is_open = circuit.state != CircuitState::Closed;
    let timeout = values.seconds("circuit_breaker_timeout");
    let period = values.seconds("moog_rate_period");
    let (retrying, next) = engine.retries(RETRIES_MAX).await?;
    Ok(SinkView {
        sink: SINK,
        circuit: CircuitView {
            state: circuit.state.name(),
            failures: circuit.failures,
            opened_at: circuit.opened_at,
            next_probe_at: circuit
                .opened_at
                .filter(|_| circuit.state == CircuitState::Open)
                .and_then(|opened_at| opened_at.checked_add(timeout).ok()),
            why: is_open
                .then(|| rows.iter().find_map(|row| row.error.clone()))
                .flatten(),
        },
        rate: Rate {
            limit: values.integer("moog_rate_limit"),
            period_s: period.as_secs_f64(),
            used: engine.permits_used(LIMIT, period).await?,
        },
        waiting: engine.alert_depth().await?.saturating_sub(retrying),
        retrying,
        windows: WINDOWS
            .into_iter()
            .map(|minutes| Window::of(minutes, &rows, all, now))
            .collect(),
        errors: failures(&rows),
        retries: next.into_iter().map(Retry::from).collect(),
    })
}

/// A test that is on its way.
#[derive(Debug, Serialize, ToSchema)]
pub struct Tested {
    /// Its id: `GET /events/{event_id}` shows each attempt.
    #[schema(value_type = String, format = "uuid")]
    event_id: EventId,
    /// The request's correlation id, which the alert carries too.
    correlation_id: String,
}

/// Test the delivery
///
/// Queues one alert that says in its message, its host (`mutt-test`) and its handling (`Test`) that it
/// is a test. It waits, is limited, tried again and given up like any other alert. Who ordered it
/// stands in the config audit.
#[utoipa::path(post, path = "/delivery/test", tag = "Delivery", request_body = Option<Why>,
    responses((status = 202, body = Tested)))]
pub async fn test(
    State(api): State<Api>,
    Operator(caller): Operator,
    MaybeBody(why): MaybeBody<Why>,
) -> Result<(StatusCode, Json<Tested>)> {
    let by = caller.change(checked_reason(why.reason)?);
    let now = Timestamp::now();
    let event_id = EventId::at(now);
    let message = format!(
        "[MUTT TEST] Test of the delivery, ordered by {}. Nothing is wrong; no action is needed.",
        caller.name
    );
    // No event: nobody is to have it decided.
    let raw = json!({ "test": true, "ordered_by": caller.name, "at": now });
    let raw = raw.to_string();
    let alert = Alert {
        hostname: "mutt-test".into(),
        team_assignment: "MUTT".into(),
        severity: Severity::new(6),
        message_body: message.as_str().into(),
        raw_json: raw.as_str().into(),
        correlation_id: caller.correlation_id.as_str().into(),
        event_id: Some(event_id),
        rule_id: None,
        unhandled_signature: None,
        handling: "Test".into(),
        environment: "production".into(),
        traceparent: None,
    };
    let note = Note {
        operation: Operation::Create,
        table: "delivery_tests",
        key: Some(event_id.to_string()),
        values: json!({ "sink": SINK, "message": message }),
    };
    api.engine.note(note, &by).await?;
    let element = alert.to_json();
    api.engine
        .queue_alert(NewAlert { event_id, element })
        .await?;
    let tested = Tested {
        event_id,
        correlation_id: caller.correlation_id,
    };
    Ok((StatusCode::ACCEPTED, Json(tested)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(
        now: Timestamp,
        minutes: i64,
        status: Option<u16>,
        ms: f64,
        error: Option<&str>,
    ) -> DeliveryRow {
        DeliveryRow {
            event_id: EventId::new(),
            sink: SINK.to_owned(),
            attempt: 1,
            at: now - SignedDuration::from_mins(minutes),
            status,
            latency_ms: ms,
            error: error.map(str::to_owned),
        }
    }

    #[test]
    fn a_window_counts_what_is_within_it() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let rows = [
            row(now, 1, Some(200), 10.0, None),
            row(now, 2, None, 10_000.0, Some("no answer in time")),
            row(now, 10, Some(503), 30.0, Some("HTTP 503: b")),
            row(now, 20, Some(503), 20.0, Some("HTTP 503: a")),
        ];
        let quarter = Window::of(15, &rows, false, now);
        assert_eq!((quarter.attempts, quarter.delivered), (3, 1));
        assert_eq!((quarter.p50_ms, quarter.p95_ms), (Some(10.0), Some(30.0)));
        assert!(quarter.complete, "older ones were looked at too");
        let hour = Window::of(60, &rows, false, now);
        assert_eq!(
            (hour.attempts, hour.success, hour.complete),
            (4, Some(0.25), false)
        );
        let none = Window::of(60, &[], true, now);
        assert_eq!(
            (none.success, none.p95_ms, none.complete),
            (None, None, true)
        );
        let kinds = failures(&rows);
        assert_eq!(
            (kinds[0].status, kinds[0].count, kinds[0].error.as_str()),
            (Some(503), 2, "HTTP 503: b")
        );
        assert_eq!((kinds[1].status, kinds[1].count), (None, 1));
    }
}
