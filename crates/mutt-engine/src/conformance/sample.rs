//! Events, decisions and alerts as the checks use them: numbered, so that order and loss show.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mutt_event::{Alert, Batch, EventId, Severity};

use crate::{
    AuditRow, Change, ClaimedAlert, Decision, Engine, EventClaim, NewAlert, Outcome, WorkerKind,
};

/// A heartbeat that outlives every check.
pub const LONG: Duration = Duration::from_hours(1);

/// A heartbeat that ends soon.
pub const SHORT: Duration = Duration::from_millis(100);

/// A worker's name.
pub fn worker(name: &str) -> Arc<str> {
    name.into()
}

/// Now, as exact as every store keeps it.
pub fn now() -> Timestamp {
    Timestamp::from_microsecond(Timestamp::now().as_microsecond()).expect("now is in range")
}

/// Who changes something, in checks.
pub fn change(reason: &str) -> Change {
    Change {
        by: "conformance".to_owned(),
        reason: Some(reason.to_owned()),
        correlation_id: Some(format!("corr-{reason}")),
    }
}

/// A queue element with this number.
pub fn element(number: u64) -> Vec<u8> {
    format!(
        r#"{{"hostname":"host-{}","message":"message {number}","number":{number},"_event_id":"{}"}}"#,
        number % 3,
        EventId::new()
    )
    .into_bytes()
}

/// A batch of events with these numbers.
pub fn batch(numbers: impl IntoIterator<Item = u64>) -> Batch {
    numbers.into_iter().fold(Batch::new(), |mut batch, number| {
        batch.push(&element(number));
        batch
    })
}

fn field<'a>(json: &'a serde_json::Value, name: &str) -> &'a serde_json::Value {
    json.get(name)
        .unwrap_or_else(|| panic!("the element has no {name}: {json}"))
}

/// The number of an event.
pub fn number(element: &[u8]) -> u64 {
    let json: serde_json::Value = serde_json::from_slice(element).expect("an element is JSON");
    field(&json, "number").as_u64().expect("it is a number")
}

/// The id of an event.
pub fn event_id(element: &[u8]) -> EventId {
    let json: serde_json::Value = serde_json::from_slice(element).expect("an element is JSON");
    field(&json, "_event_id")
        .as_str()
        .and_then(|id| id.parse().ok())
        .expect("it is an id")
}

/// The numbers of the events of a claim, in order.
pub fn numbers(claim: &EventClaim) -> Vec<u64> {
    claim.iter().map(number).collect()
}

/// The audit row of an event at this position of its claim.
pub fn audit_row(index: usize, element: &[u8]) -> AuditRow {
    AuditRow {
        index: u32::try_from(index).expect("claims are small"),
        event_id: event_id(element),
        event_timestamp: now(),
        received_at: now(),
        hostname: format!("host-{}", number(element) % 3).into(),
        source: Some("http".into()),
        syslog_severity: Some(3),
        trap_oid: None,
        environment: "production",
        matched_rule_id: Some(1),
        rule_version: Some(1),
        handling_decision: "Ticket_only",
        team_assignment: Some("NETO".into()),
        forwarded_to_moog: true,
        correlation_id: format!("corr-{}", number(element)).into(),
    }
}

/// The alert of an event.
pub fn alert(element: &[u8]) -> NewAlert {
    let event_id = event_id(element);
    let number = number(element);
    let alert = Alert {
        hostname: format!("host-{}", number % 3).into(),
        team_assignment: "NETO".into(),
        severity: Severity::new(3),
        message_body: format!("message {number}").into(),
        raw_json: String::from_utf8_lossy(element),
        correlation_id: format!("corr-{number}").into(),
        event_id: Some(event_id),
        rule_id: Some(1),
        unhandled_signature: None,
        handling: "Ticket_only".into(),
        environment: "production".into(),
        traceparent: None,
    };
    NewAlert {
        event_id,
        element: alert.to_json(),
    }
}

/// The number of the event that an alert is about.
pub fn alert_number(element: &[u8]) -> u64 {
    let alert: Alert<'_> = serde_json::from_slice(element).expect("an alert is JSON");
    number(alert.raw_json.as_bytes())
}

/// The numbers of the events that alerts are about, in order.
pub fn alert_numbers(alerts: &[ClaimedAlert]) -> Vec<u64> {
    alerts
        .iter()
        .map(|alert| alert_number(&alert.element))
        .collect()
}

/// A decision that audits every event and makes no alert.
pub fn audited(claim: EventClaim) -> Arc<Decision> {
    let audit = claim
        .iter()
        .enumerate()
        .map(|(index, element)| audit_row(index, element))
        .collect();
    Arc::new(Decision {
        claim,
        outcome: Outcome {
            audit,
            ..Outcome::default()
        },
    })
}

/// A decision that audits every event and makes an alert of each.
pub fn alerted(claim: EventClaim) -> Arc<Decision> {
    let audit = claim
        .iter()
        .enumerate()
        .map(|(index, element)| audit_row(index, element))
        .collect();
    let alerts = claim.iter().map(alert).collect();
    Arc::new(Decision {
        claim,
        outcome: Outcome {
            audit,
            alerts,
            ..Outcome::default()
        },
    })
}

/// Claims up to `max` events that are there, for a worker that stays alive.
pub async fn claim(engine: &dyn Engine, name: &str, max: usize) -> EventClaim {
    engine
        .heartbeat(WorkerKind::Alerter, name, LONG)
        .await
        .expect("a heartbeat is taken");
    engine
        .claim_events(&worker(name), max, super::PATIENCE)
        .await
        .expect("the queue can be read")
        .expect("events are waiting")
}

/// Claims all events that are there and returns their numbers, in order.
pub async fn drain(engine: &dyn Engine, name: &str) -> Vec<u64> {
    engine
        .heartbeat(WorkerKind::Alerter, name, LONG)
        .await
        .expect("a heartbeat is taken");
    let name = worker(name);
    let mut all = Vec::new();
    while let Some(claim) = engine
        .claim_events(&name, 1000, Duration::ZERO)
        .await
        .expect("the queue can be read")
    {
        assert!(!claim.is_empty(), "a claim without events is no claim");
        all.extend(numbers(&claim));
    }
    all
}

/// Claims up to `max` alerts that are there now, for a worker that stays alive.
pub async fn claim_alerts(engine: &dyn Engine, name: &str, max: usize) -> Vec<ClaimedAlert> {
    engine
        .heartbeat(WorkerKind::Moog, name, LONG)
        .await
        .expect("a heartbeat is taken");
    engine
        .claim_alerts(&worker(name), max, Duration::ZERO)
        .await
        .expect("the alert queue can be read")
}

/// Puts alerts about events with these numbers into the alert queue, through the whole pipeline.
pub async fn queue_alerts(engine: &dyn Engine, numbers: std::ops::Range<u64>) {
    let count = usize::try_from(numbers.end - numbers.start).expect("checks are small");
    engine
        .enqueue(batch(numbers))
        .await
        .expect("the queue takes events");
    let claim = claim(engine, "alerter-of-alerts", count).await;
    assert_eq!(claim.len(), count);
    engine
        .decide(alerted(claim))
        .await
        .expect("the decision is taken");
}
