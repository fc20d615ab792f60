//! Deciding an event anew: the event that goes back to the ingest queue when a person wants an alert
//! decided by today's rules. Pure; knows no queue.
//!
//! It is the same event (host, message, times, correlation id) under an id of its own, made from the
//! first one's: the audit keeps a row per id, so that the first decision stays on record beside the
//! second, and a sink that remembers ids does not take the second alert for a repeat of the first.
//! The same dead letter always makes the same id, so that one which comes twice is decided once.

use std::fmt::{self, Write as _};

use jiff::Timestamp;
use mutt_event::{EventId, json};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

/// The member that says of an event that it is decided anew.
pub const MEMBER: &str = "_redecided";

/// Members of the event that are written anew.
const REPLACED: [&str; 3] = [MEMBER, "_event_id", "_retry_count"];

/// What an event says of being decided anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redecided {
    /// The id under which it was decided first.
    pub of: EventId,
    /// 1 for the second decision, 2 for the third, …
    pub number: u32,
    /// When a person asked for it.
    pub at: Timestamp,
}

impl Redecided {
    /// What an event (a queue element, or `raw_message` of an audit row) says. `None` where it says
    /// nothing, or where what it says does not go with its id: a sender may write what it likes.
    pub fn read(event: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Noted {
            #[serde(rename = "_event_id")]
            id: EventId,
            #[serde(rename = "_redecided")]
            note: Redecided,
        }
        // Nearly every event ends here.
        memchr::memmem::find(event, MEMBER.as_bytes())?;
        let Noted { id, note } = serde_json::from_slice(event).ok()?;
        (id_of(note.of, note.number) == id).then_some(note)
    }
}

/// The id of an event's decision: 0 is the first, under the event's own id.
pub fn id_of(first: EventId, number: u32) -> EventId {
    if number == 0 {
        return first;
    }
    let digest = Sha256::new()
        .chain_update(first.as_bytes())
        .chain_update(number.to_be_bytes())
        .finalize();
    let mut bytes = *first.as_bytes();
    // The time stays in front, so that both stand side by side in an index; UUIDv8 (RFC 9562).
    bytes[6..].copy_from_slice(&digest[..10]);
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    EventId::from_bytes(bytes)
}

/// The event of an alert as it goes to the ingest queue again; `None` where the alert is about no
/// event (a meta-alert), or carries none that can be read.
pub fn event_of(alert: &[u8], now: Timestamp) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct Carried {
        raw_json: serde_json::Value,
        #[serde(default, rename = "_event_id")]
        event_id: Option<EventId>,
    }
    let carried: Carried = serde_json::from_slice(alert).ok()?;
    // 2.5 wrote the event as an object at times.
    let raw = match carried.raw_json {
        serde_json::Value::String(raw) => raw,
        object => object.to_string(),
    };
    // What the alerter could not read is no event.
    json::view(raw.as_bytes()).ok()?;
    let members: Members<'_> = serde_json::from_str(&raw).ok()?;
    let own = members.get("_event_id");
    let own: Option<EventId> = own.and_then(|id| serde_json::from_str(id.get()).ok());
    // One that 2.5 wrote has no id: the alert's bytes always make the same one.
    let id = own.or(carried.event_id).unwrap_or_else(|| hashed(alert));
    let note = match Redecided::read(raw.as_bytes()) {
        Some(before) => Redecided {
            of: before.of,
            number: before.number.saturating_add(1),
            at: now,
        },
        None => Redecided {
            of: id,
            number: 1,
            at: now,
        },
    };
    Some(members.with(&note))
}

fn hashed(bytes: &[u8]) -> EventId {
    let digest = Sha256::digest(bytes);
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    id[6] = (id[6] & 0x0f) | 0x80;
    id[8] = (id[8] & 0x3f) | 0x80;
    EventId::from_bytes(id)
}

/// The members of an object in their order, values as they are written.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl Members<'_> {
    fn get(&self, name: &str) -> Option<&RawValue> {
        // Of several the last one counts.
        let mut found = self.0.iter().rev();
        found
            .find(|(member, _)| member == name)
            .map(|(_, value)| *value)
    }

    /// The object with this note and the id that goes with it.
    fn with(&self, note: &Redecided) -> Vec<u8> {
        let json = |value: &dyn fmt::Display| value.to_string();
        let mut element = String::from("{");
        for (name, value) in &self.0 {
            if !REPLACED.contains(&name.as_str()) {
                element.push_str(&json(&serde_json::Value::from(name.as_str())));
                element.push(':');
                element.push_str(value.get());
                element.push(',');
            }
        }
        let id = id_of(note.of, note.number);
        let note = serde_json::to_string(note).expect("a note is plain data");
        // Writing to a string never fails.
        let _ = write!(
            element,
            "\"_event_id\":\"{id}\",\"_retry_count\":0,\"{MEMBER}\":{note}}}"
        );
        element.into_bytes()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use mutt_event::Alert;

    use super::*;

    const EVENT: &str = r#"{"hostname":"h\u00e4","message":"a \"b\"","big":12345678901234567890123,"_event_id":"01920000-0000-7000-8000-000000000001","_received_at":"2026-01-02T03:04:05Z","_retry_count":3,"_correlation_id":"c"}"#;

    fn alert(raw: &str) -> Vec<u8> {
        let id: Option<EventId> = serde_json::from_str(raw)
            .ok()
            .and_then(|event: serde_json::Value| event["_event_id"].as_str()?.parse().ok());
        Alert {
            hostname: "h".into(),
            team_assignment: "t".into(),
            severity: None,
            message_body: "m".into(),
            raw_json: raw.into(),
            correlation_id: "c".into(),
            event_id: id,
            rule_id: Some(1),
            unhandled_signature: None,
            handling: "Page_and_ticket".into(),
            environment: "production".into(),
            traceparent: None,
        }
        .to_json()
    }

    fn text(element: &[u8]) -> &str {
        std::str::from_utf8(element).unwrap()
    }

    #[test]
    fn the_event_comes_back_as_it_was_under_an_id_of_its_own() {
        let now: Timestamp = "2026-03-04T05:06:07Z".parse().unwrap();
        let again = event_of(&alert(EVENT), now).unwrap();
        let first: EventId = "01920000-0000-7000-8000-000000000001".parse().unwrap();
        let note = Redecided::read(&again).unwrap();
        let expected = Redecided {
            of: first,
            number: 1,
            at: now,
        };
        assert_eq!(note, expected);
        let (before, after) = (
            json::view(EVENT.as_bytes()).unwrap(),
            json::view(&again).unwrap(),
        );
        assert_eq!(after.event_id, id_of(first, 1));
        assert_ne!(after.event_id, first);
        assert_eq!(after.event_id.as_bytes()[..6], first.as_bytes()[..6]);
        assert_eq!(
            (
                after.hostname,
                after.message,
                after.received_at,
                after.timestamp
            ),
            (
                before.hostname,
                before.message,
                before.received_at,
                before.timestamp
            )
        );
        assert_eq!(after.correlation_id, "c");
        assert_eq!(after.retry_count, 0);
        assert!(text(&again).contains(r#""big":12345678901234567890123"#));
        assert!(text(&again).starts_with(r#"{"hostname":"h\u00e4","message":"a \"b\"""#));
    }

    #[test]
    fn the_same_letter_makes_the_same_id_and_the_next_decision_another() {
        let later = Timestamp::now();
        let id = |element: &[u8]| json::view(element).unwrap().event_id;
        let once = event_of(&alert(EVENT), Timestamp::UNIX_EPOCH).unwrap();
        let twice = event_of(&alert(EVENT), later).unwrap();
        assert_eq!(id(&once), id(&twice));
        let third = event_of(&alert(text(&once)), later).unwrap();
        let note = Redecided::read(&third).unwrap();
        let first = json::view(EVENT.as_bytes()).unwrap().event_id;
        assert_eq!((note.of, note.number), (first, 2));
        assert_eq!(id(&third), id_of(first, 2));
        assert_eq!(text(&third).matches(MEMBER).count(), 1);
    }

    #[test]
    fn a_note_that_a_sender_wrote_means_nothing() {
        let forged = EVENT.replace(
            "\"big\"",
            r#""_redecided":{"of":"01920000-0000-7000-8000-00000000000f","number":1,"at":"2026-01-01T00:00:00Z"},"big""#,
        );
        assert_eq!(Redecided::read(forged.as_bytes()), None);
        let again = event_of(&alert(&forged), Timestamp::now()).unwrap();
        let note = Redecided::read(&again).unwrap();
        let first: EventId = "01920000-0000-7000-8000-000000000001".parse().unwrap();
        assert_eq!((note.of, note.number), (first, 1));
        assert_eq!(Redecided::read(br#"{"_redecided":7}"#), None);
    }

    #[test]
    fn an_alert_without_an_event_is_none() {
        for raw in ["{}", "", "[]", "{\"hostname\":\"h\"}", "no json"] {
            assert_eq!(event_of(&alert(raw), Timestamp::now()), None, "{raw}");
        }
        assert_eq!(event_of(b"no alert", Timestamp::now()), None);
        assert_eq!(event_of(b"{}", Timestamp::now()), None);
    }

    #[test]
    fn what_2_5_left_gets_an_id_that_stays() {
        let alert =
            br#"{"hostname":"h","message_body":"m","raw_json":{"hostname":"h","message":"m"}}"#;
        let id = |at| json::view(&event_of(alert, at).unwrap()).unwrap().event_id;
        assert_eq!(id(Timestamp::UNIX_EPOCH), id(Timestamp::now()));
    }
}
