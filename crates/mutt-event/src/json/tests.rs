//! Records as clients send them, and what becomes of them.

use std::net::IpAddr;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{EventId, Source};

const RECEIVED: &str = "2026-11-21T13:00:00.123456Z";

fn accepted_as(
    record: &[u8],
    required: &str,
    ip: Option<IpAddr>,
) -> Result<(Vec<u8>, EventId), Rejected> {
    let required = RequiredFields::parse(required);
    let how = Accept {
        received_at: RECEIVED.parse().unwrap(),
        correlation_id: "cid",
        source: Source::Http,
        source_ip: ip,
        required: &required,
    };
    let mut out = b"before".to_vec();
    let result = accept(record, &how, &mut out);
    assert!(out.starts_with(b"before"));
    if result.is_err() {
        assert_eq!(out, b"before", "a rejected record leaves no trace");
    }
    result.map(|id| (out.split_off(6), id))
}

fn accepted(record: &str) -> Value {
    let (element, id) = accepted_as(record.as_bytes(), "hostname,message", None).expect(record);
    let value: Value = serde_json::from_slice(&element).expect(record);
    assert_eq!(value["_event_id"], id.to_string());
    assert_eq!(value["_received_at"], RECEIVED);
    assert_eq!(value["_retry_count"], 0);
    let text = std::str::from_utf8(&element).unwrap();
    for key in [
        "_event_id",
        "_received_at",
        "_retry_count",
        "_correlation_id",
        "hostname",
        "message",
    ] {
        assert_eq!(
            text.matches(&format!("\"{key}\":")).count(),
            1,
            "{key} in {text}"
        );
    }
    value
}

fn rejected(record: &str) -> Rejected {
    accepted_as(record.as_bytes(), "hostname,message", None).expect_err(record)
}

#[test]
fn the_clients_own_text_is_kept_byte_for_byte() {
    let record = r#"{ "hostname":"web1" , "message":"a\u00e9\/b", "n":1.000000000000000000001, "x":{"y":[1,null,{}]} }"#;
    let (element, _) = accepted_as(record.as_bytes(), "hostname,message", None).unwrap();
    assert!(element.starts_with(record.strip_suffix('}').unwrap().as_bytes()));
    assert!(element.ends_with(b"}"));
}

#[test]
fn canonical_names_are_added_for_aliases() {
    let value = accepted(r#"{"host":"web1","msg":"x","severity":"Error"}"#);
    assert_eq!(value["hostname"], "web1");
    assert_eq!(value["message"], "x");
    assert_eq!(value["syslog_severity"], 3);
    assert_eq!(value["severity"], "Error");
    assert_eq!(value["source"], "http");
    assert_eq!(value["_correlation_id"], "cid");
    assert!(value.get("timestamp").is_none());
    assert_eq!(
        accepted(r#"{"source_ip":"10.0.0.1","msg":"x"}"#)["hostname"],
        "10.0.0.1"
    );
    assert_eq!(
        accepted(r#"{"host":{"name":"web1","os":{}},"log":"x"}"#)["hostname"],
        "web1"
    );
    assert_eq!(
        accepted(r#"{"hostname":null,"host":"web1","message":"","msg":"x"}"#)["message"],
        "x"
    );
    assert_eq!(
        accepted(r#"{"@timestamp":"2026-11-21T13:00:00Z","host":"h","message":"m"}"#)["timestamp"],
        "2026-11-21T13:00:00Z"
    );
    assert_eq!(
        accepted(r#"{"@timestamp":1795266000.5,"host":"h","message":"m"}"#)["timestamp"],
        "2026-11-21T13:00:00.500000Z"
    );
    let value = accepted(
        r#"{"hostname":"h","host":"other","message":"m","msg":"n","syslog_severity":2,"severity":"info"}"#,
    );
    assert_eq!(
        (
            &value["hostname"],
            &value["message"],
            &value["syslog_severity"]
        ),
        (&json!("h"), &json!("m"), &json!(2))
    );
}

#[test]
fn severities_of_all_kinds() {
    for (fields, expected) in [
        (r#""syslog_severity":3"#, json!(3)),
        (r#""syslog_severity":"3""#, json!("3")),
        (r#""syslog_severity":"Critical""#, json!("Critical")),
        (r#""syslog_severity":null,"severity":"warn""#, json!(4)),
        (r#""severity":"3""#, json!(3)),
        (r#""severity":7"#, json!(7)),
        (r#""severity":"Major""#, Value::Null),
        (r#""severity":17"#, Value::Null),
        (r#""severity":{"text":"x"}"#, Value::Null),
    ] {
        let value = accepted(&format!(r#"{{"hostname":"h","message":"m",{fields}}}"#));
        assert_eq!(
            value.get("syslog_severity").unwrap_or(&Value::Null),
            &expected,
            "{fields}"
        );
    }
}

#[test]
fn what_is_only_ours_is_never_taken_from_a_client() {
    let value = accepted(
        r#"{"hostname":"h","_event_id":"forged","message":"m","_received_at":1,"_retry_count":9,"_correlation_id":"own","source":"syslog"}"#,
    );
    assert_eq!(value["_correlation_id"], "own");
    assert_eq!(value["source"], "syslog");
    assert_eq!(
        accepted(r#"{"hostname":"h","message":"m","_correlation_id":7}"#)["_correlation_id"],
        "cid"
    );
}

#[test]
fn of_repeated_keys_the_last_counts_and_stays_alone() {
    let value =
        accepted(r#"{"hostname":"a","message":"m","x":1,"hostname":"b","x":2,"message":"n"}"#);
    assert_eq!(value["hostname"], "b");
    assert_eq!(value["message"], "n");
    assert_eq!(
        rejected(r#"{"hostname":"a","message":"m","hostname":7}"#)
            .field
            .unwrap(),
        "hostname"
    );
    // A key may be written with escapes.
    let value = accepted(r#"{"hostname":"a","message":"m","host\u006eame":"b"}"#);
    assert_eq!(value["hostname"], "b");
}

#[test]
fn rejections_name_field_reason_and_what_is_allowed() {
    let long = format!(r#"{{"hostname":"{}","message":"m"}}"#, "é".repeat(256));
    for (record, field, part) in [
        (r#"{"message":"m"}"#, "hostname", "missing"),
        (r#"{"hostname":"","message":"m"}"#, "hostname", "empty"),
        (
            r#"{"hostname":7,"message":"m"}"#,
            "hostname",
            "is a number: give a string",
        ),
        (&long, "hostname", "256 characters: at most 255"),
        (r#"{"hostname":"h"}"#, "message", "missing"),
        (
            r#"{"hostname":"h","message":["m"]}"#,
            "message",
            "is a list",
        ),
        (
            r#"{"hostname":"h","message":"m","timestamp":"soon"}"#,
            "timestamp",
            "(`soon`)",
        ),
        (
            r#"{"hostname":"h","message":"m","timestamp":""}"#,
            "timestamp",
            "RFC 3339",
        ),
        (
            r#"{"hostname":"h","message":"m","timestamp":true}"#,
            "timestamp",
            "true or false",
        ),
        (
            r#"{"hostname":"h","message":"m","timestamp":1e18}"#,
            "timestamp",
            "a number",
        ),
        (
            r#"{"hostname":"h","message":"m","syslog_severity":8}"#,
            "syslog_severity",
            "0 to 7",
        ),
        (
            r#"{"hostname":"h","message":"m","syslog_severity":"Major"}"#,
            "syslog_severity",
            "0 to 7",
        ),
        (
            r#"{"hostname":"h","message":"m","trap_oid":"IF-MIB::linkDown"}"#,
            "trap_oid",
            "-On",
        ),
        (
            r#"{"hostname":"h","message":"m","varbinds":{}}"#,
            "varbinds",
            "a list",
        ),
        (
            r#"{"hostname":"h","message":"m","variables":"x"}"#,
            "variables",
            "a list",
        ),
        (
            r#"{"hostname":"h","message":"m","parse_notes":[1]}"#,
            "parse_notes",
            "a list of strings",
        ),
        (
            r#"{"hostname":"h","message":"m","source":7}"#,
            "source",
            "a string",
        ),
    ] {
        let rejected = rejected(record);
        assert_eq!(rejected.field.as_deref(), Some(field), "{record}");
        assert_eq!(rejected.kind, RejectKind::Field, "{record}");
        assert!(
            rejected.message.contains(part),
            "{record}: {}",
            rejected.message
        );
        assert!(
            rejected.message.contains(field),
            "{record}: {}",
            rejected.message
        );
    }
    for (record, kind) in [
        ("", RejectKind::NotJson),
        ("{", RejectKind::NotJson),
        (r#"{"hostname":"h","message":"m"} x"#, RejectKind::NotJson),
        (r#"{"hostname":"h","message":"m",}"#, RejectKind::NotJson),
        ("hello", RejectKind::NotJson),
        ("null", RejectKind::NotObject),
        ("7", RejectKind::NotObject),
        ("\"x\"", RejectKind::NotObject),
        ("[]", RejectKind::NotObject),
        // What another reader of the queue could not read must not get in.
        (
            r#"{"hostname":"h","message":"m","x":"\ud800"}"#,
            RejectKind::NotJson,
        ),
        (
            r#"{"hostname":"h","message":"m","x":1e999}"#,
            RejectKind::NotJson,
        ),
    ] {
        assert_eq!(rejected(record).kind, kind, "{record}");
    }
    let deep = format!(
        r#"{{"hostname":"h","message":"m","x":{}{}}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    assert!(rejected(&deep).message.contains("recursion limit"));
    let bytes = accepted_as(
        b"{\"hostname\":\"h\",\"message\":\"\xff\"}",
        "hostname",
        None,
    );
    assert!(
        bytes
            .unwrap_err()
            .message
            .contains("not valid UTF-8 at byte 27")
    );
}

#[test]
fn what_is_required_is_a_setting() {
    let ip = Some("10.0.0.9".parse().unwrap());
    let (element, _) = accepted_as(b"{}", "", ip).unwrap();
    let view = view(&element).unwrap();
    assert_eq!((&*view.hostname, &*view.message), ("10.0.0.9", ""));
    assert_eq!(view.source_ip.as_deref(), Some("10.0.0.9"));
    for (record, required, ok) in [
        (
            r#"{"hostname":"h","message":"m"}"#,
            "hostname,message,timestamp",
            false,
        ),
        (
            r#"{"hostname":"h","message":"m","timestamp":0}"#,
            "hostname, message,timestamp",
            true,
        ),
        (
            r#"{"hostname":"h","message":"m","severity":"err"}"#,
            "syslog_severity",
            true,
        ),
        (
            r#"{"hostname":"h","message":"m","severity":"Major"}"#,
            "syslog_severity",
            false,
        ),
        (r#"{"hostname":"h","message":"m","site":"x"}"#, "site", true),
        (r#"{"hostname":"h","message":"m","site":""}"#, "site", false),
        (
            r#"{"hostname":"h","message":"m","site":"x","site":null}"#,
            "site",
            false,
        ),
        (r#"{"hostname":"h","message":"m"}"#, "site", false),
        (r#"{"hostname":"h"}"#, "hostname", true),
        (r#"{"message":"m"}"#, "message", true),
    ] {
        assert_eq!(
            accepted_as(record.as_bytes(), required, None).is_ok(),
            ok,
            "{record} {required}"
        );
    }
    assert_eq!(
        RequiredFields::parse(" hostname ,,message,hostname").to_string(),
        "hostname,message"
    );
}

#[test]
fn a_view_has_what_was_accepted() {
    let record = r#"{"hostname":"web1","message":"line\n\u0000end","timestamp":"2026-11-21T12:00:00Z","syslog_severity":"err","trap_oid":".1.3.6","source":"snmp","source_ip":"10.0.0.1","_correlation_id":"own","extra":[1,2]}"#;
    let (element, id) = accepted_as(record.as_bytes(), "hostname,message", None).unwrap();
    let view = view(&element).unwrap();
    assert_eq!(view.event_id, id);
    assert_eq!(view.received_at, RECEIVED.parse::<Timestamp>().unwrap());
    assert_eq!(
        view.timestamp,
        "2026-11-21T12:00:00Z".parse::<Timestamp>().unwrap()
    );
    assert_eq!(
        (&*view.hostname, &*view.message),
        ("web1", "line\n\u{fffd}end")
    );
    assert_eq!(view.severity.unwrap().number(), 3);
    assert_eq!(view.trap_oid.as_deref(), Some(".1.3.6"));
    assert_eq!(view.source.as_deref(), Some("snmp"));
    assert_eq!(view.source_ip.as_deref(), Some("10.0.0.1"));
    assert_eq!((&*view.correlation_id, view.retry_count), ("own", 0));
}

#[test]
fn elements_of_mutt_2_5_are_understood() {
    let element = br#"{"timestamp": "2024-05-01T10:00:00.1234567Z", "hostname": "sw1", "severity": "crit", "message": "m", "_correlation_id": "c", "_retry_count": 2}"#;
    let before = Timestamp::now();
    let view = view(element).unwrap();
    assert!(view.received_at >= before);
    assert_eq!(
        view.timestamp,
        "2024-05-01T10:00:00.1234567Z".parse::<Timestamp>().unwrap()
    );
    assert_eq!(view.severity.unwrap().number(), 2);
    assert_eq!((&*view.correlation_id, view.retry_count), ("c", 2));
    for element in [
        "",
        "x",
        "[]",
        "{}",
        r#"{"hostname":"h"}"#,
        r#"{"message":"m"}"#,
        r#"{"hostname":"","message":"m"}"#,
    ] {
        assert!(super::view(element.as_bytes()).is_err(), "{element}");
    }
}

fn split(body: &str) -> Result<Vec<&str>, Rejected> {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    records(body.as_bytes()).map(|records| match records {
        Records::Single(record) => vec!["single", text(record)],
        Records::Batch(records) => records.into_iter().map(text).collect(),
    })
}

#[test]
fn bodies_are_split_into_records() {
    for (body, expected) in [
        (r#"{"a":1}"#, &["single", r#"{"a":1}"#][..]),
        ("\u{feff} \r\n{\"a\":1}\n", &["single", r#"{"a":1}"#]),
        (
            "{\n \"a\": \"}\",\n \"b\": [\n1]\n}",
            &["single", "{\n \"a\": \"}\",\n \"b\": [\n1]\n}"],
        ),
        ("{\"a\":1}\n\n {\"b\":2}\r\n", &[r#"{"a":1}"#, r#"{"b":2}"#]),
        (
            "{\"a\":1}\nbad\n{\"b\":2}",
            &[r#"{"a":1}"#, "bad", r#"{"b":2}"#],
        ),
        ("bad\n{\"b\":2}", &["bad", r#"{"b":2}"#]),
        ("{\"a\":\"open\n{\"b\":2}", &["{\"a\":\"open", r#"{"b":2}"#]),
        ("{\"a\":1\n{\"b\":2}", &["{\"a\":1", r#"{"b":2}"#]),
        ("{\n\"a\":1}\n{\n\"b\":2}", &["{\n\"a\":1}", "{\n\"b\":2}"]),
        ("{\n\"a\":1}\n{\n\"b\":2", &["{\n\"a\":1}", "{\n\"b\":2"]),
        (
            r#"[{"a":1},{"b":"],[\""} , 7]"#,
            &[r#"{"a":1}"#, r#"{"b":"],[\""}"#, "7"],
        ),
        (r#"[{"a":1}]"#, &[r#"{"a":1}"#]),
        (r#"[{"a":1},]"#, &[r#"{"a":1}"#, ""]),
        ("hello", &["single", "hello"]),
    ] {
        assert_eq!(split(body).unwrap(), expected, "{body}");
    }
    for body in [
        "", " \n ", "\u{feff}", "[", "[]", "[ ]", "[{}", "[{]}x", "[}]", "[{}] x", r#"["x]"#,
        "[1]]",
    ] {
        assert!(split(body).is_err(), "{body}");
    }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e12f64..1e12).prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        Just(json!("3")),
        Just(json!("err")),
        Just(json!(5)),
        Just(json!("2026-11-21T13:00:00Z")),
        Just(json!("1.3.6.1")),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-z]{1,5}|name", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn members() -> impl Strategy<Value = Vec<(String, Value)>> {
    let key = prop_oneof![
        Just("hostname"),
        Just("host"),
        Just("message"),
        Just("msg"),
        Just("timestamp"),
        Just("@timestamp"),
        Just("syslog_severity"),
        Just("severity"),
        Just("trap_oid"),
        Just("source"),
        Just("source_ip"),
        Just("_event_id"),
        Just("_retry_count"),
        Just("_correlation_id"),
        Just("other"),
        Just("q\"uote"),
    ];
    prop::collection::vec((key.prop_map(str::to_owned), values()), 0..6)
}

fn object(members: &[(String, Value)], good: bool) -> String {
    let mut text: Vec<_> = members
        .iter()
        .map(|(key, value)| format!("{}:{value}", json!(key)))
        .collect();
    if good {
        text.insert(text.len() / 2, "\"hostname\":\"h\\u00e9\"".to_owned());
        text.push("\"message\":\"m\"".to_owned());
    }
    format!("{{{}}}", text.join(", "))
}

proptest! {
    #[test]
    fn what_is_accepted_can_be_read_and_says_the_same(members in members(), good: bool) {
        let record = object(&members, good);
        if let Ok((element, id)) = accepted_as(record.as_bytes(), "hostname,message", None) {
            let theirs: Value = serde_json::from_str(&record).unwrap();
            let ours: Value = serde_json::from_slice(&element).unwrap();
            let view = view(&element).unwrap();
            prop_assert_eq!(view.event_id, id);
            prop_assert_eq!(&*view.hostname, ours["hostname"].as_str().unwrap().replace('\0', "\u{fffd}"));
            prop_assert_eq!(&*view.message, ours["message"].as_str().unwrap().replace('\0', "\u{fffd}"));
            for (key, value) in theirs.as_object().unwrap() {
                let own = key.starts_with('_') || value.is_null() || value == "";
                let blank = value.as_str().is_some_and(|text| text.trim_ascii().is_empty());
                if !own && !blank && !matches!(value, Value::Array(_) | Value::Object(_)) {
                    prop_assert_eq!(&ours[key], value, "{}", key);
                }
            }
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = accepted_as(&bytes, "hostname,message", None);
        let _ = view(&bytes);
        let _ = records(&bytes);
    }

    #[test]
    fn batches_split_into_what_was_joined(list in prop::collection::vec(members(), 1..5)) {
        let objects: Vec<_> = list.iter().map(|members| object(members, true)).collect();
        let array = format!("[{}]", objects.join(" ,\n"));
        prop_assert_eq!(&split(&array).unwrap(), &objects);
        if objects.len() > 1 {
            let lines = objects.join("\n");
            prop_assert_eq!(&split(&lines).unwrap(), &objects);
        }
    }
}
