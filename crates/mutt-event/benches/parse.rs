//! What one event costs on its way in and when it is looked at again. One iteration is one event,
//! except where the name says how many.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use mutt_event::json::{Accept, Records, RequiredFields, accept, records, view};
use mutt_event::syslog::{Framer, Origin, Step, parse_into};
use mutt_event::{EventId, Source, mask};

/// About 300 bytes, as rsyslog posts it.
const RECORD: &str = r#"{"timestamp":"2026-11-21T13:00:00.123456+00:00","hostname":"core-sw01.dc1.example.com","severity":"err","syslog_severity":3,"facility":"local7","program":"%LINK-3-UPDOWN","message":"%LINK-3-UPDOWN: Interface GigabitEthernet1/0/24, changed state to down on 10.20.30.40 at line card 3","site":"dc1"}"#;
const LEGACY: &[u8] = b"<187>Nov 21 13:00:00 core-sw01.dc1.example.com mgd[4711]: UI_COMMIT: User 'admin' requested 'commit' operation on interface ge-0/0/24 from 10.20.30.40 with comment none";
const CISCO: &[u8] = b"<187>4711: core-sw01: Nov 21 13:00:00.123 UTC: %LINK-3-UPDOWN: Interface GigabitEthernet1/0/24, changed state to down on 10.20.30.40 at line card 3";
const RFC5424: &[u8] = b"<187>1 2026-11-21T13:00:00.123456Z core-sw01.dc1.example.com mgd 4711 UI_COMMIT [junos@2636.1.1.1.2.129 username=\"admin\" command=\"commit\"] User 'admin' requested 'commit' operation on interface ge-0/0/24 from 10.20.30.40";
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

fn json(c: &mut Criterion) {
    let required = RequiredFields::default();
    let how = Accept {
        received_at: Timestamp::now(),
        correlation_id: "0193ab12-34cd-7abc-9def-0123456789ab",
        source: Source::Http,
        source_ip: None,
        required: &required,
    };
    let mut out = Vec::with_capacity(1 << 20);
    let mut group = c.benchmark_group("json");
    group.throughput(Throughput::Elements(1));
    group.bench_function("accept", |b| {
        b.iter(|| {
            out.clear();
            accept(black_box(RECORD.as_bytes()), &how, &mut out)
        });
    });
    out.clear();
    accept(RECORD.as_bytes(), &how, &mut out).expect("the record is good");
    let element = out.clone();
    group.bench_function("view", |b| b.iter(|| view(black_box(&element)).is_ok()));
    group.throughput(Throughput::Elements(100));
    let lines = vec![RECORD; 100].join("\n");
    let array = format!("[{}]", vec![RECORD; 100].join(","));
    for (name, body) in [("100 lines", lines), ("array of 100", array)] {
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                let Ok(Records::Batch(records)) = records(black_box(body.as_bytes())) else {
                    return;
                };
                for record in records {
                    let _ = black_box(accept(record, &how, &mut out));
                }
            });
        });
    }
    group.finish();
}

fn syslog(c: &mut Criterion) {
    let received_at: Timestamp = "2026-11-21T13:00:05Z".parse().expect("a constant");
    let mut out = Vec::with_capacity(4096);
    let mut group = c.benchmark_group("syslog");
    group.throughput(Throughput::Elements(1));
    let utc = Origin {
        correlation_id: "0193ab12",
        ..Origin::new(PEER, received_at, 8192)
    };
    let berlin = TimeZone::get("Europe/Berlin").expect("bundled");
    let zoned = Origin {
        zone: &berlin,
        ..utc
    };
    for (name, line, origin) in [
        ("rfc3164", LEGACY, &utc),
        ("cisco", CISCO, &utc),
        ("rfc5424", RFC5424, &utc),
        ("rfc3164 in a zone", LEGACY, &zoned),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                parse_into(black_box(line), origin, &mut out)
            });
        });
    }
    for (name, frame) in [
        ("frame lines", [LEGACY, b"\n"].concat()),
        (
            "frame counted",
            [format!("{} ", LEGACY.len()).as_bytes(), LEGACY].concat(),
        ),
    ] {
        let stream = frame.repeat(100);
        group.throughput(Throughput::Elements(100));
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut framer = Framer::new(8192);
                let (mut at, mut bytes) = (0, 0);
                loop {
                    match framer.next(black_box(&stream[at..])) {
                        Step::Line {
                            range, consumed, ..
                        } => {
                            bytes += range.len();
                            at += consumed;
                        }
                        Step::Skip(count) => at += count,
                        Step::NeedMore => break bytes,
                    }
                }
            });
        });
    }
    group.finish();
}

fn small(c: &mut Criterion) {
    let message = "%LINK-3-UPDOWN: Interface GigabitEthernet1/0/24, changed state to down on 10.20.30.40 at line card 3 by 'admin' (00:1b:54:aa:bb:01)";
    c.bench_function("mask", |b| b.iter(|| mask::signature(black_box(message))));
    let now = Timestamp::now();
    c.bench_function("event id", |b| b.iter(|| EventId::at(black_box(now))));
}

criterion_group!(benches, json, syslog, small);
criterion_main!(benches);
