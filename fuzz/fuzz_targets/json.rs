//! Whatever a client posts: what is accepted can be read back and is JSON for every reader.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mutt_event::Source;
use mutt_event::json::{Accept, Records, RequiredFields, accept, records, view};

fuzz_target!(|body: &[u8]| {
    let _ = view(body);
    let Ok(split) = records(body) else { return };
    let records = match split {
        Records::Single(record) => vec![record],
        Records::Batch(records) => records,
    };
    // The first byte chooses, so that the fuzzer finds both.
    let strict = body.first().is_some_and(|byte| byte % 2 == 1);
    let required = RequiredFields::parse(if strict { "hostname,message" } else { "site" });
    let how = Accept {
        received_at: jiff::Timestamp::UNIX_EPOCH,
        correlation_id: "cid",
        source: Source::Http,
        source_ip: None,
        required: &required,
    };
    let mut out = Vec::new();
    for record in records {
        out.clear();
        let Ok(id) = accept(record, &how, &mut out) else {
            assert!(out.is_empty(), "a rejected record left a trace");
            continue;
        };
        let value: serde_json::Value = serde_json::from_slice(&out).expect("an element is JSON");
        let read = view(&out).expect("what is accepted can be read");
        assert_eq!(read.event_id, id);
        assert_eq!(read.received_at, how.received_at);
        assert_eq!(read.retry_count, 0);
        assert_eq!(
            value["hostname"]
                .as_str()
                .map(|text| text.replace('\0', "\u{fffd}")),
            Some(read.hostname.into_owned())
        );
        assert_eq!(
            value["message"]
                .as_str()
                .map(|text| text.replace('\0', "\u{fffd}")),
            Some(read.message.into_owned())
        );
    }
});
