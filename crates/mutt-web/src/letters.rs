//! How a dead letter is shown: what its message says of host, rule and event, when remediation comes
//! to it, and its payload with secrets masked. Knows no queue and changes nothing.

use std::time::Duration;

use jiff::Timestamp;
use mutt_engine::dead_letters::{DlqEntry, ReplayPolicy, status_in};
use mutt_engine::{Dlq, redecision};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// The most characters of a message in a list.
const SUMMARY_CHARS: usize = 500;
/// What stands in the place of a secret.
const MASK: &str = "***";

/// An entry of a dead letter queue.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct EntryView {
    /// Its identity within its queue.
    pub id: String,
    /// The queue it is in: `ingest`, `alerter`, `moog` or `dead`.
    queue: &'static str,
    /// The queue it failed in.
    origin: &'static str,
    /// `malformed`, `shed`, `poison`, `refused` or `retries_exhausted`.
    reason: &'static str,
    /// The HTTP status of the last failure, where it names one.
    status: Option<u16>,
    /// The last failure in words.
    pub detail: String,
    /// When it first failed; 1970 where nobody knows.
    #[schema(value_type = String, format = DateTime)]
    first_failed_at: Timestamp,
    /// When it last failed; 1970 where nobody knows.
    #[schema(value_type = String, format = DateTime)]
    pub last_failed_at: Timestamp,
    /// Attempts of delivery or processing.
    attempts: u32,
    /// Automatic replays so far.
    replays: u32,
    /// What happens to it by itself.
    next_replay: NextReplay,
    /// The event's id.
    event_id: Option<String>,
    /// The correlation id.
    correlation_id: Option<String>,
    /// The host.
    hostname: Option<String>,
    /// The message, at most 500 characters of it.
    summary: Option<String>,
    /// The rule that made the alert.
    rule_id: Option<i64>,
    /// The team of the alert.
    team: Option<String>,
    /// The handling of the alert.
    handling: Option<String>,
    /// `production` or `development`.
    environment: Option<String>,
    /// Whether a replay with the mode `redecide` takes it.
    can_redecide: bool,
    /// The whole entry as text, secrets masked.
    message: String,
}

/// An entry with its payload.
#[derive(Debug, Serialize, ToSchema)]
pub struct EntryShown {
    #[serde(flatten)]
    entry: EntryView,
    /// The message as an object, with `raw_json` opened, secrets masked; null where it is no JSON.
    #[schema(value_type = Option<Object>)]
    payload: Option<Value>,
}

/// What remediation will do.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct NextReplay {
    /// `replay`: it goes back by itself; `poison`: it goes to the queue `dead`; `none`: it waits for
    /// a person.
    what: &'static str,
    /// Not before this time; null where it is due now, or never.
    #[schema(value_type = Option<String>, format = DateTime)]
    at: Option<Timestamp>,
    /// Why, in words.
    why: String,
}

impl NextReplay {
    fn of(entry: &DlqEntry, policy: &ReplayPolicy) -> Self {
        let poison = |why: String| Self {
            what: "poison",
            at: None,
            why,
        };
        if !matches!(entry.queue, Dlq::Moog | Dlq::Alerter) {
            let why = match entry.queue {
                Dlq::Dead => "it was set aside as poison",
                _ => "records that are no events are not replayed by themselves",
            };
            return Self {
                what: "none",
                at: None,
                why: why.to_owned(),
            };
        }
        if !entry.reason.heals() {
            return poison(format!("waiting does not mend '{}'", entry.reason.name()));
        }
        if entry.replays >= policy.max_replays {
            return poison(format!("it was replayed {} times", entry.replays));
        }
        let factor = 1_u32 << entry.replays.min(30);
        let wait = policy.backoff.saturating_mul(factor);
        Self {
            what: "replay",
            at: entry.last_failed_at.checked_add(wait).ok(),
            why: format!(
                "{} after its last failure, while the circuit is closed and the sink is well",
                words(wait)
            ),
        }
    }
}

fn words(wait: Duration) -> String {
    match wait.as_secs() {
        seconds if seconds >= 7200 => format!("{} h", seconds / 3600),
        seconds if seconds >= 120 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

impl EntryView {
    pub fn new(entry: DlqEntry, policy: &ReplayPolicy) -> Self {
        Self::read(entry, policy).0
    }

    /// The view, and the payload.
    fn read(entry: DlqEntry, policy: &ReplayPolicy) -> (Self, Option<Value>) {
        let next_replay = NextReplay::of(&entry, policy);
        let can_redecide = entry.origin != Dlq::Moog
            || redecision::event_of(entry.message.as_bytes(), Timestamp::UNIX_EPOCH).is_some();
        let mut payload = serde_json::from_str::<Value>(&entry.message)
            .ok()
            .filter(Value::is_object);
        let masked = payload.as_mut().is_some_and(mask);
        let fields = payload.as_ref().and_then(Value::as_object);
        let text = |name: &str| text_of(fields, &[name]);
        let view = Self {
            event_id: text("_event_id"),
            correlation_id: text("_correlation_id"),
            hostname: text("hostname"),
            summary: text_of(fields, &["message_body", "message"])
                .map(|message| message.chars().take(SUMMARY_CHARS).collect()),
            rule_id: fields.and_then(|fields| fields.get("rule_id")?.as_i64()),
            team: text("team_assignment"),
            handling: text("handling"),
            environment: text("environment"),
            message: match &payload {
                Some(payload) if masked => payload.to_string(),
                _ => entry.message,
            },
            id: entry.id,
            queue: entry.queue.name(),
            origin: entry.origin.name(),
            reason: entry.reason.name(),
            status: status_in(&entry.detail),
            detail: entry.detail,
            first_failed_at: entry.first_failed_at,
            last_failed_at: entry.last_failed_at,
            attempts: entry.attempts,
            replays: entry.replays,
            next_replay,
            can_redecide,
        };
        (view, payload)
    }
}

impl EntryShown {
    pub fn new(entry: DlqEntry, policy: &ReplayPolicy) -> Self {
        let (entry, mut payload) = EntryView::read(entry, policy);
        if let Some(Value::Object(fields)) = &mut payload
            && let Some(raw) = fields.get_mut("raw_json")
            && let Some(opened) = raw.as_str().and_then(|raw| serde_json::from_str(raw).ok())
        {
            *raw = opened;
        }
        Self { entry, payload }
    }
}

/// The first of these members that is a text.
fn text_of(fields: Option<&Map<String, Value>>, names: &[&str]) -> Option<String> {
    let fields = fields?;
    names
        .iter()
        .find_map(|name| fields.get(*name)?.as_str())
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

/// Masks what stands under the name of a secret, also in JSON within a text. Says whether it did.
fn mask(value: &mut Value) -> bool {
    match value {
        Value::Object(fields) => {
            let mut masked = false;
            for (name, value) in fields {
                if is_secret(name) {
                    masked |= mask_all(value);
                } else {
                    masked |= mask(value);
                }
            }
            masked
        }
        Value::Array(values) => values
            .iter_mut()
            .fold(false, |masked, value| mask(value) | masked),
        Value::String(text) if text.trim_ascii_start().starts_with(['{', '[']) => {
            let Ok(mut inner) = serde_json::from_str::<Value>(text) else {
                return false;
            };
            let masked = mask(&mut inner);
            if masked {
                *text = inner.to_string();
            }
            masked
        }
        _ => false,
    }
}

/// Masks every value, however deep. Says whether there was one.
fn mask_all(value: &mut Value) -> bool {
    match value {
        Value::Null => false,
        Value::Object(fields) => fields
            .values_mut()
            .fold(false, |masked, value| mask_all(value) | masked),
        Value::Array(values) => values
            .iter_mut()
            .fold(false, |masked, value| mask_all(value) | masked),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            *value = MASK.into();
            true
        }
    }
}

/// Whether a member of this name holds a secret: senders put what they like into events.
fn is_secret(name: &str) -> bool {
    let name: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect();
    let parts = [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "apikey",
        "authorization",
        "privatekey",
        "accesskey",
        "credential",
    ];
    parts.iter().any(|part| name.contains(part))
        || name.ends_with("token")
        || name.ends_with("community")
}

#[cfg(test)]
mod tests {
    use mutt_engine::Reason;
    use serde_json::json;

    use super::*;

    fn entry(queue: Dlq, reason: Reason, replays: u32, message: &str) -> DlqEntry {
        let at = Timestamp::from_second(1_700_000_000).unwrap();
        DlqEntry {
            id: "1".to_owned(),
            queue,
            reason,
            detail: "HTTP 503".to_owned(),
            origin: queue,
            first_failed_at: at,
            last_failed_at: at,
            attempts: 6,
            replays,
            message: message.to_owned(),
        }
    }

    const POLICY: ReplayPolicy = ReplayPolicy {
        batch: 1,
        max_replays: 3,
        backoff: Duration::from_mins(1),
    };

    #[test]
    fn what_happens_next_is_what_remediation_does() {
        let next = |queue, reason, replays| {
            let next = NextReplay::of(&entry(queue, reason, replays, ""), &POLICY);
            (next.what, next.at.map(Timestamp::as_second))
        };
        let failed = 1_700_000_000;
        let exhausted = Reason::RetriesExhausted;
        assert_eq!(next(Dlq::Moog, exhausted, 0), ("replay", Some(failed + 60)));
        assert_eq!(
            next(Dlq::Moog, exhausted, 2),
            ("replay", Some(failed + 240))
        );
        assert_eq!(next(Dlq::Moog, exhausted, 3), ("poison", None));
        assert_eq!(next(Dlq::Moog, Reason::Refused, 0), ("poison", None));
        assert_eq!(
            next(Dlq::Alerter, Reason::Shed, 0),
            ("replay", Some(failed + 60))
        );
        assert_eq!(next(Dlq::Dead, exhausted, 0), ("none", None));
        assert_eq!(next(Dlq::Ingest, Reason::Malformed, 0), ("none", None));
    }

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        let raw = json!({"hostname": "h", "message": "m", "user": {"Pass-Word": "p"}, "keys": [{"api_key": 7}]});
        let alert = json!({
            "hostname": "h", "message_body": "m", "snmp_community": "public", "token": null,
            "credentials": {"user": "deep", "list": ["deep", 8]}, "nested": " [{\"token\": \"deep\"}]",
            "rule_id": 5, "team_assignment": "Net", "raw_json": raw.to_string(),
        });
        let entry = entry(Dlq::Moog, Reason::Refused, 0, &alert.to_string());
        let shown = serde_json::to_value(EntryShown::new(entry, &POLICY)).unwrap();
        let text = shown.to_string();
        assert!(
            !text.contains("public") && !text.contains("\"p\"") && !text.contains(":7"),
            "{text}"
        );
        assert!(!text.contains("deep"), "{text}");
        assert_eq!(
            shown["payload"]["credentials"],
            json!({"user": MASK, "list": [MASK, MASK]})
        );
        assert_eq!(shown["payload"]["raw_json"]["user"]["Pass-Word"], MASK);
        assert_eq!(shown["payload"]["raw_json"]["keys"][0]["api_key"], MASK);
        assert_eq!(shown["payload"]["token"], Value::Null);
        assert_eq!(
            (&shown["rule_id"], &shown["team"]),
            (&json!(5), &json!("Net"))
        );
        assert_eq!(
            (&shown["status"], &shown["summary"]),
            (&json!(503), &json!("m"))
        );
        assert_eq!(shown["can_redecide"], true);
    }

    #[test]
    fn what_is_no_json_is_shown_as_it_is() {
        let text = "{\"hostname\": \"h\", password=";
        let entry = entry(Dlq::Moog, Reason::Malformed, 0, text);
        let shown = serde_json::to_value(EntryShown::new(entry, &POLICY)).unwrap();
        assert_eq!(
            (&shown["message"], &shown["payload"]),
            (&json!(text), &Value::Null)
        );
        assert_eq!(
            (&shown["hostname"], &shown["can_redecide"]),
            (&Value::Null, &json!(false))
        );
    }
}
