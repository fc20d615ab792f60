//! Documents as log shippers write them for Elasticsearch, and where in them an event's fields are.
//!
//! One pass collects, for each field of an event, the best of the places where rsyslog, Fluent Bit,
//! Vector, Logstash and Beats keep it. A place is a path of keys joined by dots, so that
//! `{"host":{"name":…}}` and `{"host.name":…}` are one. The document itself stays as it came.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::de::{self, DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, Visitor};

use super::Rejected;
use super::accept::{Accept, accept_with, severity_of, time_of};
use super::fields::Value;
use crate::{EventId, Severity};

/// As [`accept`](super::accept()), for a document of a log shipper: fields that it lacks under
/// MUTT's names are taken from where shippers keep them, and added. Nothing of the document is lost;
/// an object named `source`, as the Elastic Common Schema has it, is kept as `ecs_source`.
///
/// # Errors
/// [`Rejected`] where the document is no event. `out` is then as it was.
pub fn accept_document(
    document: &[u8],
    how: &Accept<'_>,
    out: &mut Vec<u8>,
) -> Result<EventId, Rejected> {
    let places = Places::read(document);
    accept_with(document, how, Some(&places), out)
}

/// A field of an event.
#[derive(Clone, Copy, Debug)]
enum Field {
    Host,
    Message,
    Time,
    Severity,
    Program,
    Facility,
}

const FIELDS: usize = Field::Facility as usize + 1;

/// What a path holds, and its rank among the places of the same field: the lowest wins.
///
/// A host that the message itself names ranks before the machine that read or relayed it.
fn place_of(path: &str) -> Option<(Field, u8)> {
    use Field::{Facility, Host, Message, Program, Severity, Time};
    Some(match path {
        "log.syslog.hostname" => (Host, 0),
        "logsource" => (Host, 1),
        "host" | "host.name" => (Host, 2),
        "host.hostname" => (Host, 3),
        "fromhost" => (Host, 4),
        "_HOSTNAME" => (Host, 5),
        "kubernetes.host" | "kubernetes.node.name" => (Host, 6),
        "agent.hostname" | "beat.hostname" => (Host, 7),

        "MESSAGE" => (Message, 0),
        "event.original" => (Message, 1),

        "timereported" => (Time, 0),
        "time" => (Time, 1),
        "date" => (Time, 2),

        "log.syslog.severity.code" => (Severity, 0),
        "log.syslog.severity.name" => (Severity, 1),
        "severity_label" | "syslog.severity_label" => (Severity, 2),
        "PRIORITY" => (Severity, 3),
        "priority" => (Severity, 4),
        "log.syslog.priority" => (Severity, 5),
        "pri" => (Severity, 6),
        "log.level" => (Severity, 7),
        "level" => (Severity, 8),

        "log.syslog.appname" => (Program, 0),
        "appname" | "app_name" | "programname" => (Program, 1),
        "ident" | "SYSLOG_IDENTIFIER" => (Program, 2),
        "syslogtag" | "tag" => (Program, 3),
        "process.program" => (Program, 4),
        "process.name" => (Program, 5),
        "_COMM" | "kubernetes.container_name" | "container.name" => (Program, 6),

        "log.syslog.facility.name" => (Facility, 0),
        "facility_label" | "syslog.facility_label" => (Facility, 1),
        _ => return None,
    })
}

/// Whether a place lies below this path.
fn leads_to_places(path: &str) -> bool {
    matches!(
        path,
        "host"
            | "log"
            | "log.syslog"
            | "log.syslog.severity"
            | "log.syslog.facility"
            | "syslog"
            | "process"
            | "event"
            | "kubernetes"
            | "kubernetes.node"
            | "container"
            | "agent"
            | "beat"
    )
}

/// What stands at the best place of each field.
#[derive(Debug, Default)]
pub(super) struct Places<'a> {
    /// The rank of what was found so far, by field.
    ranks: [Option<u8>; FIELDS],
    pub(super) host: Option<Cow<'a, str>>,
    pub(super) message: Option<Cow<'a, str>>,
    pub(super) time: Option<Timestamp>,
    pub(super) severity: Option<Severity>,
    pub(super) program: Option<Cow<'a, str>>,
    pub(super) facility: Option<Cow<'a, str>>,
}

impl<'a> Places<'a> {
    /// Looks through a document. What cannot be read as JSON has no places: whoever validates it
    /// says what is wrong.
    fn read(document: &'a [u8]) -> Self {
        let mut places = Self::default();
        if let Ok(text) = std::str::from_utf8(document) {
            let mut path = String::with_capacity(64);
            let object = At {
                path: &mut path,
                places: &mut places,
            };
            let _ = serde_json::Deserializer::from_str(text).deserialize_map(object);
        }
        places
    }

    /// Keeps a value where it means something and none of a lower rank is there. Not every word
    /// under such a name does: `level` may be a number of anybody's.
    fn offer(&mut self, path: &str, value: Value<'a>) {
        let Some((field, rank)) = place_of(path) else {
            return;
        };
        let slot = field as usize;
        if self.ranks[slot].is_some_and(|best| best < rank) {
            return;
        }
        let found = match field {
            Field::Host => replace(&mut self.host, text(value)),
            Field::Message => replace(&mut self.message, text(value)),
            Field::Time => replace(&mut self.time, time_of(&value)),
            Field::Severity => replace(&mut self.severity, severity_at(path, &value)),
            Field::Program => replace(&mut self.program, text(value).and_then(program)),
            Field::Facility => replace(&mut self.facility, text(value)),
        };
        if found {
            self.ranks[slot] = Some(rank);
        }
    }
}

fn replace<T>(slot: &mut Option<T>, value: Option<T>) -> bool {
    let found = value.is_some();
    if found {
        *slot = value;
    }
    found
}

fn text(value: Value<'_>) -> Option<Cow<'_, str>> {
    match value {
        Value::Text(text) if !text.trim_ascii().is_empty() => Some(text),
        _ => None,
    }
}

/// The severity that a value at this place means.
fn severity_at(path: &str, value: &Value<'_>) -> Option<Severity> {
    match path {
        // The number of a message's head: facility times eight plus severity.
        "pri" | "log.syslog.priority" => {
            let number = match value {
                Value::Integer(number) => *number,
                Value::Text(text) => text.trim_ascii().parse().ok()?,
                _ => return None,
            };
            let severity = u8::try_from(number).ok().filter(|number| *number < 192)? & 7;
            Severity::new(severity)
        }
        // A number here is rsyslog's severity, Logstash's head or anybody's rank: only words tell.
        "priority" | "level" | "log.level" => match value {
            Value::Text(text) if !text.trim_ascii().bytes().all(|byte| byte.is_ascii_digit()) => {
                Severity::from_text(text)
            }
            _ => None,
        },
        _ => severity_of(value),
    }
}

/// The name in a tag: `sshd[311]:` is `sshd`.
fn program(mut tag: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let name = tag.trim_ascii();
    let name = name.strip_suffix(':').unwrap_or(name);
    let name = match name
        .strip_suffix(']')
        .and_then(|name| name.rsplit_once('['))
    {
        Some((name, pid)) if pid.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => name,
    };
    if name.is_empty() {
        return None;
    }
    if name.len() < tag.len() {
        let name = name.to_owned();
        tag = Cow::Owned(name);
    }
    Some(tag)
}

/// The value at a path.
struct At<'p, 'f, 'a> {
    path: &'p mut String,
    places: &'f mut Places<'a>,
}

impl<'de> DeserializeSeed<'de> for At<'_, '_, 'de> {
    type Value = ();
    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_, '_, 'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.places.offer(self.path, Value::Integer(number));
        Ok(())
    }
    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        if let Ok(number) = i64::try_from(number) {
            self.places.offer(self.path, Value::Integer(number));
        }
        Ok(())
    }
    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.places.offer(self.path, Value::Float(number));
        Ok(())
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<(), E> {
        self.places
            .offer(self.path, Value::Text(Cow::Borrowed(text)));
        Ok(())
    }
    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        let text = Cow::Owned(text.to_owned());
        self.places.offer(self.path, Value::Text(text));
        Ok(())
    }
    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { path, places } = self;
        let above = path.len();
        while map.next_key_seed(Below(path))?.is_some() {
            if place_of(path).is_some() || leads_to_places(path) {
                map.next_value_seed(At { path, places })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
            path.truncate(above);
        }
        Ok(())
    }
}

/// Appends a key to the path.
struct Below<'p>(&'p mut String);

impl<'de> DeserializeSeed<'de> for Below<'_> {
    type Value = ();
    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Below<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E>(self, key: &str) -> Result<(), E> {
        if !self.0.is_empty() {
            self.0.push('.');
        }
        self.0.push_str(key);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::Source;
    use crate::json::{RequiredFields, view};

    fn accepted(document: &Json) -> Json {
        let required = RequiredFields::default();
        let how = Accept {
            received_at: Timestamp::UNIX_EPOCH,
            correlation_id: "cid",
            source: Source::Http,
            source_ip: None,
            required: &required,
        };
        let text = serde_json::to_vec(document).unwrap();
        let mut out = Vec::new();
        accept_document(&text, &how, &mut out).unwrap_or_else(|why| panic!("{why}: {document}"));
        view(&out).expect("what is accepted can be read");
        serde_json::from_slice(&out).unwrap()
    }

    /// The document becomes an event with these fields, and keeps all of its own.
    fn check(document: &Json, expected: &Json) {
        let event = accepted(document);
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&event[name], value, "{name} of {event}");
        }
        for (name, value) in document.as_object().unwrap() {
            let kept = if name == "source" && value.is_object() {
                &event["ecs_source"]
            } else {
                &event[name]
            };
            assert_eq!(kept, value, "{name} of {event}");
        }
    }

    #[test]
    fn rsyslogs_own_template_and_the_usual_one() {
        check(
            &json!({"message":" link down","fromhost":"sw1","facility":"local7","priority":"err",
                "timereported":"2026-11-21T13:00:00.5+01:00","timegenerated":"2026-11-21T12:00:01Z"}),
            &json!({"hostname":"sw1","syslog_severity":3,"facility":"local7",
                "timestamp":"2026-11-21T12:00:00.500000Z"}),
        );
        check(
            &json!({"@timestamp":"2026-11-21T13:00:00Z","host":"sw1","severity":"warning",
                "facility":"daemon","tag":"sshd[311]:","message":"closed"}),
            &json!({"hostname":"sw1","syslog_severity":4,"program":"sshd",
                "timestamp":"2026-11-21T13:00:00Z","source":"http"}),
        );
    }

    #[test]
    fn fluent_bit() {
        check(
            &json!({"@timestamp":"2026-11-21T13:00:00.000Z","pri":"187","host":"r1","ident":"rpd",
                "pid":"12","message":"BGP peer down"}),
            &json!({"hostname":"r1","syslog_severity":3,"program":"rpd"}),
        );
        check(
            &json!({"@timestamp":"2026-11-21T13:00:00.000Z","log":"oops\n","stream":"stderr",
                "kubernetes":{"host":"node7","pod_name":"p","container_name":"api"}}),
            &json!({"hostname":"node7","message":"oops","program":"api"}),
        );
        check(
            &json!({"@timestamp":"2026-11-21T13:00:00.000Z","MESSAGE":"Started.","_HOSTNAME":"h",
                "PRIORITY":"6","SYSLOG_IDENTIFIER":"systemd"}),
            &json!({"hostname":"h","message":"Started.","syslog_severity":6,"program":"systemd"}),
        );
    }

    #[test]
    fn vector() {
        check(
            &json!({"appname":"su","facility":"auth","host":"mymachine","hostname":"mymachine",
                "message":"failed","msgid":"ID47","severity":"crit","source_ip":"192.0.2.1",
                "source_type":"syslog","timestamp":"2026-11-21T13:00:00Z","version":1}),
            &json!({"hostname":"mymachine","syslog_severity":2,"program":"su"}),
        );
    }

    #[test]
    fn the_elastic_common_schema_nested_and_flat() {
        // The device spoke; `host` is the machine where Filebeat runs.
        check(
            &json!({"@timestamp":"2026-11-21T13:00:00.000Z","message":"link down",
                "host":{"name":"collector"},"agent":{"hostname":"collector","type":"filebeat"},
                "source":{"address":"192.0.2.7:514"},"log":{"source":{"address":"192.0.2.7:514"},
                "syslog":{"hostname":"sw1","appname":"ifmgr","priority":187,
                "severity":{"code":3,"name":"Error"},"facility":{"code":23,"name":"local7"}}}}),
            &json!({"hostname":"sw1","syslog_severity":3,"program":"ifmgr","facility":"local7",
                "source":"http"}),
        );
        check(
            &json!({"@timestamp":"2026-11-21T13:00:00.000Z","message":"full","host.name":"db1",
                "log.level":"ERROR","process.name":"postgres"}),
            &json!({"hostname":"db1","syslog_severity":3,"program":"postgres"}),
        );
        // Logstash without ECS: `host` is who sent the packet.
        check(
            &json!({"@timestamp":"2026-11-21T13:00:00.000Z","@version":"1","host":"192.0.2.9",
                "logsource":"sw2","priority":189,"severity":5,"severity_label":"Notice",
                "program":"ospf","message":"up"}),
            &json!({"hostname":"sw2","syslog_severity":5,"program":"ospf"}),
        );
    }

    #[test]
    fn an_events_own_names_win_and_words_that_mean_nothing_do_not() {
        check(
            &json!({"hostname":"a","host":{"name":"b"},"message":"m","log":{"level":"err",
                "syslog":{"hostname":"c"}},"syslog_severity":1,"program":"p","tag":"q",
                "level":"verbose","time":"soon","priority":3}),
            &json!({"hostname":"a","syslog_severity":1,"program":"p","timestamp":null}),
        );
        let event =
            accepted(&json!({"host":"a","message":"m","level":30,"time":"soon","tag":"[7]:"}));
        for name in ["syslog_severity", "timestamp", "program"] {
            assert_eq!(event.get(name), None, "{name} of {event}");
        }
    }

    #[test]
    fn a_document_that_is_no_event_says_why() {
        let required = RequiredFields::default();
        let how = Accept {
            received_at: Timestamp::UNIX_EPOCH,
            correlation_id: "cid",
            source: Source::Http,
            source_ip: None,
            required: &required,
        };
        for (document, word) in [
            (r#"{"message":"m"}"#, "hostname"),
            (r#"{"host":"h","level":"err"}"#, "message"),
            (r#"{"host":"h""#, "JSON"),
            ("", "empty"),
        ] {
            let mut out = Vec::new();
            let why = accept_document(document.as_bytes(), &how, &mut out).unwrap_err();
            assert!(why.message.contains(word), "{document}: {why}");
            assert!(out.is_empty());
        }
    }
}
