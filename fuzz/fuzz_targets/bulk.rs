//! An Elasticsearch `_bulk` body: its items are parts of it, and a document that is accepted is an
//! event which keeps everything that stood in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mutt_event::Source;
use mutt_event::json::{Accept, Action, Bulk, RequiredFields, accept_document, view};
use serde_json::Value;

/// What MUTT writes itself, or puts under another name.
const OWN: [&str; 6] = [
    "_event_id",
    "_received_at",
    "_retry_count",
    "_correlation_id",
    "source",
    "ecs_source",
];

/// The names that an event has a meaning for; a blank or null value gives way to a better one.
const KNOWN: [&str; 6] = [
    "hostname",
    "message",
    "timestamp",
    "syslog_severity",
    "program",
    "facility",
];

fuzz_target!(|body: &[u8]| {
    let required = RequiredFields::default();
    let how = Accept {
        received_at: jiff::Timestamp::UNIX_EPOCH,
        correlation_id: "cid",
        source: Source::Http,
        source_ip: None,
        required: &required,
    };
    let mut out = Vec::new();
    let mut bytes = 0;
    for item in Bulk::new(body) {
        let Ok(item) = item else { break };
        assert_eq!(item.document.is_none(), item.action == Action::Delete);
        let document = item.document.unwrap_or_default();
        bytes += document.len();
        out.clear();
        let Ok(id) = accept_document(document, &how, &mut out) else {
            assert!(out.is_empty(), "a rejected document left a trace");
            continue;
        };
        let event: Value = serde_json::from_slice(&out).expect("an element is JSON");
        let read = view(&out).expect("what is accepted can be read");
        assert_eq!(read.event_id, id);
        let Ok(Value::Object(given)) = serde_json::from_slice(document) else {
            panic!("what is accepted is an object");
        };
        for (name, value) in &given {
            let blank = value.is_null() || value.as_str().is_some_and(|text| text.trim_ascii().is_empty());
            if OWN.contains(&name.as_str()) || (blank && KNOWN.contains(&name.as_str())) {
                continue;
            }
            let kept = &event[name];
            let replaced = KNOWN.contains(&name.as_str()) && (value.is_array() || value.is_object());
            assert!(kept == value || replaced, "{name}: {value} became {kept}");
        }
    }
    assert!(bytes <= body.len());
});
