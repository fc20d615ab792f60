//! Any datagram becomes an event that can be read back. The first byte chooses the limit and whether
//! the sender's zone has summer time.
#![no_main]

use std::net::{IpAddr, Ipv6Addr};
use std::sync::LazyLock;

use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use mutt_event::json::view;
use mutt_event::syslog::{Origin, parse_into};

static BERLIN: LazyLock<TimeZone> =
    LazyLock::new(|| TimeZone::get("Europe/Berlin").expect("bundled"));

fuzz_target!(|input: &[u8]| {
    let Some((limit, line)) = input.split_first() else {
        return;
    };
    let zoned = limit % 2 == 1;
    let limit = if *limit < 128 {
        8192
    } else {
        usize::from(*limit - 128)
    };
    let received_at = jiff::Timestamp::from_second(1_795_266_000).expect("a constant");
    let peer = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let mut out = Vec::new();
    let mut origin = Origin::new(peer, received_at, limit);
    if zoned {
        origin.zone = &BERLIN;
    }
    let parsed = parse_into(line, &origin, &mut out);
    let value: serde_json::Value = serde_json::from_slice(&out).expect("an element is JSON");
    let read = view(&out).expect("an element can be read");
    assert_eq!(read.event_id, parsed.event_id);
    assert_eq!(read.received_at, received_at);
    assert!(!read.hostname.is_empty() && !read.message.trim_ascii().is_empty());
    assert!(read.severity.is_some());
    assert_eq!(value["message"].as_str(), Some(&*read.message));
    if let Some(severity) = value.get("pri_severity") {
        assert!(
            severity.as_u64().is_some_and(|number| number <= 7)
                && *severity != value["syslog_severity"]
        );
    }
    let notes = value
        .get("parse_notes")
        .and_then(|notes| notes.as_array().map(Vec::len));
    assert_eq!(notes.unwrap_or(0), parsed.notes.iter().count());
});
