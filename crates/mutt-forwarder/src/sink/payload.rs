//! The three shapes in which Moogsoft takes an alert. Pure: an alert in, JSON out.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::{Identity, MoogOptions, Outgoing, SeverityTable};

/// The shape of what the sink gets (`MOOG_PAYLOAD`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Moogsoft Enterprise, REST LAM.
    #[default]
    RestLam,
    /// Moogsoft Cloud, APEX AIOps.
    EventsApi,
    /// What MUTT 2.5 sent.
    Legacy,
}

impl Shape {
    /// Every shape.
    pub const ALL: [Self; 3] = [Self::RestLam, Self::EventsApi, Self::Legacy];

    /// The name in `MOOG_PAYLOAD`.
    pub fn name(self) -> &'static str {
        match self {
            Self::RestLam => "rest_lam",
            Self::EventsApi => "events_api",
            Self::Legacy => "legacy",
        }
    }
}

/// The longest `signature` that Moogsoft Enterprise keeps, in bytes.
const MAX_SIGNATURE: usize = 767;
/// The longest `source` and `description` of the Events API, in bytes.
const MAX_TEXT: usize = 32_500;

/// The body of the request for an alert; `now` stands in for an event without a time.
pub fn render(
    outgoing: &Outgoing<'_>,
    options: &MoogOptions,
    identity: &Identity,
    now: Timestamp,
) -> Vec<u8> {
    let body = match options.shape {
        Shape::RestLam => serde_json::to_vec(&RestLam::of(outgoing, options, identity, now)),
        Shape::EventsApi => serde_json::to_vec(&[EventsApi {
            outgoing,
            options,
            identity,
            now,
        }]),
        Shape::Legacy => serde_json::to_vec(&Legacy::of(outgoing, now)),
    };
    body.expect("a payload is always representable as JSON")
}

#[derive(Serialize)]
struct RestLam<'a> {
    signature: String,
    source_id: &'a str,
    external_id: String,
    manager: &'static str,
    source: &'a str,
    class: &'a str,
    agent: &'a str,
    agent_location: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    severity: u8,
    description: &'a str,
    agent_time: i64,
    custom_info: CustomInfo<'a>,
}

#[derive(Serialize)]
struct CustomInfo<'a> {
    handling: &'a str,
    rule_id: Option<i64>,
    environment: &'a str,
    correlation_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a RawValue>,
}

impl<'a> RestLam<'a> {
    fn of(
        outgoing: &'a Outgoing<'_>,
        options: &MoogOptions,
        identity: &'a Identity,
        now: Timestamp,
    ) -> Self {
        let alert = &outgoing.alert;
        Self {
            signature: signature(outgoing),
            source_id: outgoing
                .event
                .source_ip
                .as_deref()
                .unwrap_or(&alert.hostname),
            external_id: outgoing.event_id.to_string(),
            manager: "MUTT",
            source: &alert.hostname,
            class: &alert.team_assignment,
            agent: &identity.agent,
            agent_location: &identity.pod,
            kind: kind(outgoing),
            severity: options.severities.of(outgoing),
            description: &alert.message_body,
            agent_time: time(outgoing, now),
            custom_info: CustomInfo {
                handling: &alert.handling,
                rule_id: alert.rule_id,
                environment: &alert.environment,
                correlation_id: &alert.correlation_id,
                event: outgoing.event_json(),
            },
        }
    }
}

/// One event of the Events API; written by hand because two of its names are settings.
struct EventsApi<'a> {
    outgoing: &'a Outgoing<'a>,
    options: &'a MoogOptions,
    identity: &'a Identity,
    now: Timestamp,
}

/// Flat, as the Events API demands: neither objects nor lists.
#[derive(Serialize)]
struct Tags<'a> {
    event_id: String,
    correlation_id: &'a str,
    handling: &'a str,
    environment: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_ip: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trap_oid: Option<&'a str>,
    agent: &'a str,
    agent_location: &'a str,
}

impl Serialize for EventsApi<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            outgoing,
            options,
            identity,
            now,
        } = self;
        let alert = &outgoing.alert;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("source", cut(&alert.hostname, MAX_TEXT))?;
        map.serialize_entry("check", &check(outgoing))?;
        map.serialize_entry("description", cut(&alert.message_body, MAX_TEXT))?;
        map.serialize_entry(
            "severity",
            SeverityTable::word(options.severities.of(outgoing)),
        )?;
        map.serialize_entry("class", &alert.team_assignment)?;
        map.serialize_entry(&options.service_field, &[&alert.team_assignment])?;
        map.serialize_entry("manager", "MUTT")?;
        map.serialize_entry("time", &time(outgoing, *now))?;
        map.serialize_entry(&options.dedupe_field, &signature(outgoing))?;
        let tags = Tags {
            event_id: outgoing.event_id.to_string(),
            correlation_id: &alert.correlation_id,
            handling: &alert.handling,
            environment: &alert.environment,
            kind: kind(outgoing),
            rule_id: alert.rule_id,
            source_ip: outgoing.event.source_ip.as_deref(),
            trap_oid: outgoing.event.trap_oid.as_deref(),
            agent: &identity.agent,
            agent_location: &identity.pod,
        };
        map.serialize_entry("tags", &tags)?;
        map.end()
    }
}

/// What 2.5 sent, so that no rule on Moogsoft's side has to change on the day of the move.
#[derive(Serialize)]
struct Legacy<'a> {
    signature: &'a str,
    source_id: &'a str,
    external_id: Cow<'a, str>,
    manager: &'static str,
    source: &'static str,
    class: &'a str,
    agent: &'static str,
    agent_location: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    severity: u8,
    description: &'a str,
    agent_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_info: Option<&'a RawValue>,
}

impl<'a> Legacy<'a> {
    fn of(outgoing: &'a Outgoing<'_>, now: Timestamp) -> Self {
        /// 2.5 wrote `Warning` into every alert, which it mapped to this.
        const SEVERITY: u8 = 3;
        let alert = &outgoing.alert;
        let host = if outgoing.is_meta() {
            "MUTT_Alerter"
        } else {
            &*alert.hostname
        };
        let or = |text: &'a str, absent: &'static str| if text.is_empty() { absent } else { text };
        Self {
            signature: host,
            source_id: host,
            // A meta-alert has no correlation id; 2.5 gave it that of an event.
            external_id: match &*alert.correlation_id {
                "" => outgoing.event_id.to_string().into(),
                id => id.into(),
            },
            manager: "MUTT",
            source: "MUTT Alerter",
            class: or(&alert.team_assignment, "Unknown"),
            agent: "MUTT v2.3",
            agent_location: "Alerter Service",
            kind: "Alert",
            severity: SEVERITY,
            description: &alert.message_body,
            agent_time: now.as_second(),
            custom_info: outgoing.event_json(),
        }
    }
}

/// What found the problem: the rule, or the signature of unhandled events.
fn check(outgoing: &Outgoing<'_>) -> String {
    let alert = &outgoing.alert;
    match (alert.rule_id, &alert.unhandled_signature) {
        (Some(rule), _) => rule.to_string(),
        (None, Some(signature)) => signature.to_string(),
        (None, None) if outgoing.is_meta() => "unhandled".to_owned(),
        // An element of 2.5 does not name its rule.
        (None, None) => "mutt".to_owned(),
    }
}

/// What Moogsoft deduplicates on: stable for one problem of one device. Where it is too long, the
/// head stays readable and a hash tells the tails apart.
fn signature(outgoing: &Outgoing<'_>) -> String {
    let signature = format!("{}::{}", outgoing.alert.hostname, check(outgoing));
    if signature.len() <= MAX_SIGNATURE {
        return signature;
    }
    let digest = Sha256::digest(signature.as_bytes());
    let head = digest.first_chunk().expect("SHA-256 has more than 8 bytes");
    let hash = format!("{:016x}", u64::from_be_bytes(*head));
    format!(
        "{}::{hash}",
        cut(&signature, MAX_SIGNATURE - 2 - hash.len())
    )
}

fn kind(outgoing: &Outgoing<'_>) -> &'static str {
    match outgoing.event.source.as_deref() {
        Some("syslog") => "syslog",
        Some("snmp") => "snmp_trap",
        _ if outgoing.event.trap_oid.is_some() => "snmp_trap",
        _ => "http",
    }
}

fn time(outgoing: &Outgoing<'_>, now: Timestamp) -> i64 {
    outgoing.event.timestamp.unwrap_or(now).as_second()
}

/// The start of a text, at most `max` bytes.
pub(super) fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}
