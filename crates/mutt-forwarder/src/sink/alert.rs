//! An alert on its way out: the queue element, read once, with what the sink must know of its
//! event.

use std::borrow::Cow;

use jiff::Timestamp;
use mutt_event::{Alert, EventId, EventView};
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

/// An alert that is to be delivered.
#[derive(Clone, Debug)]
pub struct Outgoing<'a> {
    /// The queue element.
    pub alert: Alert<'a>,
    /// `external_id` and `Idempotency-Key`: the event's id. For an element that 2.5 wrote it is
    /// made from the element's bytes, so that it is the same on every attempt.
    pub event_id: EventId,
    /// What payloads say of the event.
    pub event: Facts,
}

/// What payloads say of the event behind an alert.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// When MUTT received it.
    pub received_at: Option<Timestamp>,
    /// The event's own time.
    pub timestamp: Option<Timestamp>,
    /// The door it came through.
    pub source: Option<Box<str>>,
    /// The sender's address.
    pub source_ip: Option<Box<str>>,
    /// A trap's OID, without the leading dot.
    pub trap_oid: Option<Box<str>>,
}

impl<'a> Outgoing<'a> {
    /// Reads a queue element, also one that MUTT 2.5 wrote.
    ///
    /// # Errors
    /// What is wrong with it, in words: it can never be delivered.
    pub fn read(element: &'a [u8]) -> Result<Self, String> {
        let alert = match serde_json::from_slice::<Alert<'a>>(element) {
            Ok(alert) => alert,
            Err(error) => read_older(element).ok_or_else(|| format!("no alert: {error}"))?,
        };
        let event_id = alert.event_id.unwrap_or_else(|| derived_id(element));
        let event = mutt_event::json::view(alert.raw_json.as_bytes())
            .map_or_else(|_| Facts::default(), |view| Facts::of(&view));
        Ok(Self {
            alert,
            event_id,
            event,
        })
    }

    /// The event as the payload carries it; `None` where there is none worth carrying.
    pub(super) fn event_json(&self) -> Option<&RawValue> {
        let raw: &RawValue = serde_json::from_str(&self.alert.raw_json).ok()?;
        let text = raw.get();
        (text.starts_with('{') && text != "{}").then_some(raw)
    }

    /// Whether this is a meta-alert about unhandled events.
    pub(super) fn is_meta(&self) -> bool {
        self.alert.handling == "Unhandled"
    }
}

impl Facts {
    fn of(view: &EventView<'_>) -> Self {
        let boxed = |text: &Option<Cow<'_, str>>| text.as_deref().map(Box::from);
        Self {
            received_at: Some(view.received_at),
            timestamp: Some(view.timestamp),
            source: boxed(&view.source),
            source_ip: boxed(&view.source_ip),
            trap_oid: view
                .trap_oid
                .as_deref()
                .map(|oid| oid.trim_start_matches('.').into()),
        }
    }
}

/// 2.5 wrote the event as an object and could leave the team out.
fn read_older(element: &[u8]) -> Option<Alert<'static>> {
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(element) else {
        return None;
    };
    if let Some(raw @ Value::Object(_)) = fields.get_mut("raw_json") {
        *raw = Value::String(raw.to_string());
    }
    for (name, missing) in [("team_assignment", "Unknown"), ("message_body", "")] {
        let value = fields.entry(name).or_insert(Value::Null);
        if value.is_null() {
            *value = missing.into();
        }
    }
    // Optional fields of a type that nobody expects must not cost the alert.
    for name in ["raw_json", "_correlation_id", "handling", "environment"] {
        fields.retain(|field, value| field != name || value.is_string());
    }
    serde_json::from_value::<OwnedAlert>(Value::Object(fields))
        .ok()
        .map(|owned| owned.0)
}

struct OwnedAlert(Alert<'static>);

impl<'de> serde::Deserialize<'de> for OwnedAlert {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let alert = Alert::deserialize(deserializer)?;
        let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Ok(Self(Alert {
            hostname: own(alert.hostname),
            team_assignment: own(alert.team_assignment),
            severity: alert.severity,
            message_body: own(alert.message_body),
            raw_json: own(alert.raw_json),
            correlation_id: own(alert.correlation_id),
            event_id: alert.event_id,
            rule_id: alert.rule_id,
            unhandled_signature: alert.unhandled_signature.map(own),
            handling: own(alert.handling),
            environment: own(alert.environment),
            traceparent: alert.traceparent.map(own),
        }))
    }
}

/// A `UUIDv8` (RFC 9562: vendor's own) over the element.
fn derived_id(element: &[u8]) -> EventId {
    let digest = Sha256::digest(element);
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    EventId::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_of_2_5_is_understood_and_keeps_one_id() {
        let element = br#"{"api_key":"s","hostname":"r1","team_assignment":"NETO","severity":"Warning",
            "message_body":"down","raw_json":{"hostname":"r1","message":"down","source_ip":"10.0.0.1"},
            "_correlation_id":"c1","_moog_retry_count":2}"#;
        let outgoing = Outgoing::read(element).unwrap();
        assert_eq!(outgoing.alert.hostname, "r1");
        assert_eq!(outgoing.event.source_ip.as_deref(), Some("10.0.0.1"));
        assert!(outgoing.event_json().is_some());
        assert_eq!(outgoing.event_id, Outgoing::read(element).unwrap().event_id);
    }

    #[test]
    fn what_is_no_alert_says_so() {
        for element in [&b"[]"[..], b"{}", b"nonsense", b"{\"hostname\":3}", b"\xff"] {
            assert!(
                Outgoing::read(element)
                    .unwrap_err()
                    .starts_with("no alert: ")
            );
        }
    }
}
