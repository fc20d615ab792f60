//! What a trap costs from its variables to its message and its event.

#![allow(missing_docs, clippy::unwrap_used)] // criterion's macros; this is a benchmark

use std::hint::black_box;
use std::net::Ipv4Addr;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use mutt_snmp::names::{Entry, Kind, Names, Origin};
use mutt_snmp::render::Describer;
use mutt_snmp::{EventOrigin, Oid, Trap, Value, Varbind, Version, write_event};

fn trap<'a>(number: &str, variables: Vec<(&str, Value<'a>)>) -> Trap<'a> {
    Trap {
        version: Version::V2c,
        inform: false,
        security_name: None,
        security_level: None,
        engine_id: &[],
        context_engine_id: &[],
        context_name: &[],
        agent_address: None,
        proxied_address: None,
        enterprise: None,
        uptime: Some(12_345),
        trap_oid: number.parse().unwrap(),
        request_id: Some(1),
        varbinds: variables
            .into_iter()
            .map(|(oid, value)| Varbind {
                oid: oid.parse().unwrap(),
                value,
            })
            .collect(),
    }
}

/// As many names as a site with the MIBs of all its vendors has.
fn many_names() -> Names {
    Names::new((0..100_000_u32).map(|number| {
        let oid = Oid::from_arcs([1, 3, 6, 1, 4, 1, 100_000 + number / 100, 1, number % 100]);
        Entry::new(
            oid.unwrap(),
            format!("object{number}"),
            Kind::Object,
            Origin::Mib,
        )
    }))
}

fn benches(criterion: &mut Criterion) {
    let link = trap(
        "1.3.6.1.6.3.1.1.5.3",
        vec![
            ("1.3.6.1.2.1.2.2.1.1.10103", Value::Integer(10_103)),
            ("1.3.6.1.2.1.2.2.1.7.10103", Value::Integer(1)),
            ("1.3.6.1.2.1.2.2.1.8.10103", Value::Integer(2)),
            (
                "1.3.6.1.2.1.2.2.1.2.10103",
                Value::OctetString(b"GigabitEthernet1/0/3"),
            ),
            (
                "1.3.6.1.2.1.31.1.1.1.18.10103",
                Value::OctetString(b"uplink to core1"),
            ),
        ],
    );
    let syslog = trap(
        "1.3.6.1.4.1.9.9.41.2.0.1",
        vec![
            (
                "1.3.6.1.4.1.9.9.41.1.2.3.1.2.55",
                Value::OctetString(b"SYS"),
            ),
            ("1.3.6.1.4.1.9.9.41.1.2.3.1.3.55", Value::Integer(6)),
            (
                "1.3.6.1.4.1.9.9.41.1.2.3.1.4.55",
                Value::OctetString(b"CONFIG_I"),
            ),
            (
                "1.3.6.1.4.1.9.9.41.1.2.3.1.5.55",
                Value::OctetString(b"Configured from console by vty1 (10.30.0.32)"),
            ),
            ("1.3.6.1.4.1.9.9.41.1.2.3.1.6.55", Value::TimeTicks(97_881)),
        ],
    );
    let unknown = trap(
        "1.3.6.1.4.1.100500.0.7",
        vec![
            ("1.3.6.1.4.1.100500.1.7.0", Value::Gauge32(7)),
            ("1.3.6.1.4.1.100500.1.8.0", Value::OctetString(b"two words")),
            (
                "1.3.6.1.4.1.100500.1.9.0",
                Value::IpAddress(Ipv4Addr::LOCALHOST),
            ),
            (
                "1.3.6.1.4.1.100500.1.10.0",
                Value::OctetString(&[0, 1, 2, 3, 4, 255]),
            ),
        ],
    );
    let own = Names::builtin();
    let many = many_names();
    let origin = EventOrigin {
        peer: Ipv4Addr::LOCALHOST.into(),
        received_at: Timestamp::UNIX_EPOCH,
        correlation_id: "0198c0de-0000-7000-8000-000000000000",
        relay: None,
        tags: &[],
    };
    let mut group = criterion.benchmark_group("describe");
    group.throughput(Throughput::Elements(1));
    for (name, trap) in [("link", &link), ("syslog", &syslog), ("other", &unknown)] {
        for (table, names) in [("own_names", &*own), ("100k_names", &many)] {
            let mut describer = Describer::default();
            group.bench_function(format!("{name}/{table}"), |bencher| {
                bencher.iter(|| describer.describe(black_box(trap), names).message.len());
            });
        }
    }
    let (mut describer, mut out) = (Describer::default(), Vec::new());
    group.bench_function("link/event", |bencher| {
        bencher.iter(|| {
            out.clear();
            let description = describer.describe(black_box(&link), &own);
            write_event(&link, &origin, None, &description, &mut out);
            out.len()
        });
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
