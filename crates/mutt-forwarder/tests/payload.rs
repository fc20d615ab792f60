//! The three shapes, byte for byte.
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

use jiff::Timestamp;
use mutt_forwarder::sink::{Identity, render};
use mutt_forwarder::{MoogOptions, Outgoing, Shape};

const SYSLOG: &str = r#"{
    "hostname":"core-sw1.example.com","team_assignment":"NetOps","severity":3,
    "message_body":"%LINK-3-UPDOWN: Interface Gi1/0/1, changed state to \"down\"",
    "raw_json":"{\"hostname\":\"core-sw1.example.com\",\"message\":\"%LINK-3-UPDOWN: Interface Gi1/0/1, changed state to \\\"down\\\"\",\"timestamp\":\"2026-03-01T10:41:07Z\",\"syslog_severity\":3,\"source\":\"syslog\",\"source_ip\":\"10.1.2.3\",\"_event_id\":\"0195500c-9c00-7000-8000-000000000001\",\"_received_at\":\"2026-03-01T10:41:07.250000Z\",\"vendor\":{\"site\":\"B\"}}",
    "_correlation_id":"corr-1","_event_id":"0195500c-9c00-7000-8000-000000000001",
    "rule_id":42,"handling":"Page_and_ticket","environment":"production"}"#;
const TRAP: &str = r#"{
    "hostname":"edge1","team_assignment":"NetOps","message_body":"linkUp on edge1",
    "raw_json":"{\"hostname\":\"edge1\",\"message\":\"linkUp on edge1\",\"trap_oid\":\".1.3.6.1.6.3.1.1.5.4\",\"source\":\"snmp\",\"_received_at\":\"2026-03-01T10:41:07Z\"}",
    "_correlation_id":"corr-2","_event_id":"0195500c-9c00-7000-8000-000000000002",
    "rule_id":5,"handling":"Ticket_only","environment":"development"}"#;
const META: &str = r#"{
    "hostname":"noisy","team_assignment":"NETO","severity":4,
    "message_body":"[MUTT] Detected 100 unhandled messages in 3600 s from 'noisy'.",
    "raw_json":"{}","_correlation_id":"","_event_id":"0195500c-9c00-7000-8000-000000000003",
    "unhandled_signature":"a1b2c3d4e5f60718","handling":"Unhandled","environment":"production"}"#;

fn shown(element: &str, shape: Shape) -> String {
    let options = MoogOptions {
        shape,
        ..MoogOptions::default()
    };
    shown_with(element, &options)
}

fn shown_with(element: &str, options: &MoogOptions) -> String {
    let outgoing = Outgoing::read(element.as_bytes()).unwrap();
    let identity = Identity {
        agent: "MUTT 3.0.0".to_owned(),
        pod: "pod-1".to_owned(),
    };
    let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
    let body = render(&outgoing, options, &identity, now);
    // Not through a value tree, which would lose the order of the fields.
    let raw: Box<serde_json::value::RawValue> = serde_json::from_slice(&body).unwrap();
    raw.get().replace(",\"", ",\n\"")
}

#[test]
fn rest_lam() {
    insta::assert_snapshot!("rest_lam_syslog", shown(SYSLOG, Shape::RestLam));
    insta::assert_snapshot!("rest_lam_trap", shown(TRAP, Shape::RestLam));
    insta::assert_snapshot!("rest_lam_meta", shown(META, Shape::RestLam));
}

#[test]
fn events_api() {
    insta::assert_snapshot!("events_api_syslog", shown(SYSLOG, Shape::EventsApi));
    insta::assert_snapshot!("events_api_trap", shown(TRAP, Shape::EventsApi));
    let options = MoogOptions {
        shape: Shape::EventsApi,
        dedupe_field: "dedupe_key".to_owned(),
        service_field: "service".to_owned(),
        ..MoogOptions::default()
    };
    insta::assert_snapshot!("events_api_other_names", shown_with(META, &options));
}

#[test]
fn legacy() {
    insta::assert_snapshot!("legacy_syslog", shown(SYSLOG, Shape::Legacy));
    insta::assert_snapshot!("legacy_meta", shown(META, Shape::Legacy));
}

#[test]
fn a_signature_fits_and_stays_distinct() {
    let signature = |hostname: &str| {
        let element = format!(
            r#"{{"hostname":"{hostname}","team_assignment":"t","message_body":"m","rule_id":1}}"#
        );
        let options = MoogOptions::default();
        let outgoing = Outgoing::read(element.as_bytes()).unwrap();
        let body = render(
            &outgoing,
            &options,
            &Identity::new("p"),
            Timestamp::UNIX_EPOCH,
        );
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        json["signature"].as_str().unwrap().to_owned()
    };
    let long = "ä".repeat(800);
    let (one, other) = (
        signature(&format!("{long}1")),
        signature(&format!("{long}2")),
    );
    assert!(one.len() <= 767 && one.starts_with("ää"));
    assert_ne!(one, other);
    assert_eq!(one, signature(&format!("{long}1")));
    assert_eq!(signature("r1"), "r1::1");
}
