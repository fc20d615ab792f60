//! What deciding costs per event: reading, matching, masking, and building rows and alerts.
//!
//! `cargo bench -p mutt-alerter`; the goal is at most 5 µs per event with 1,000 rules and every
//! event audited.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mutt_alerter::catalog::Snapshot;
use mutt_alerter::decide::{Decider, Policy};
use mutt_alerter::sampling::Sampling;
use mutt_engine::{EventClaim, UnhandledPolicy};
use mutt_event::{Batch, EventId};
use mutt_rules::{Handling, MatchType, Mode, Rule, RuleDraft, RuleSet};

const EVENTS: usize = 1000;

/// Nine texts to one regex; `matching` events carry the text of some rule.
fn snapshot(rules: usize, forwarded: bool) -> Snapshot {
    let rules = (0..rules).map(|n| {
        let regex = n % 10 == 9;
        let handling = if forwarded {
            Handling::TicketOnly
        } else {
            Handling::LogOnly
        };
        Rule {
            id: i64::try_from(n).expect("few rules") + 1,
            draft: RuleDraft {
                match_string: Some(if regex {
                    format!(r"%MNEMO{n:05}-\d: .* (down|up)")
                } else {
                    format!("%MNEMO{n:05}-")
                }),
                trap_oid: None,
                syslog_severity: None,
                match_type: if regex {
                    MatchType::Regex
                } else {
                    MatchType::Contains
                },
                priority: 100,
                prod_handling: handling,
                dev_handling: Handling::LogOnly,
                team_assignment: format!("TEAM-{}", n % 7),
                is_active: true,
                mode: Mode::Enforce,
                description: None,
            },
            version: 1,
            created_at: jiff::Timestamp::UNIX_EPOCH,
            updated_at: jiff::Timestamp::UNIX_EPOCH,
            deleted_at: None,
        }
    });
    let hosts: Vec<_> = (0..50).map(|n| format!("lab-sw-{n:02}")).collect();
    Snapshot::new(
        Arc::new(RuleSet::compile(rules)),
        hosts.iter().map(String::as_str),
        [("core-sw-1", "CORE")],
    )
}

/// Events of about 300 bytes in blocks of 64, as listeners queue them.
fn claim(rules: usize, matching: bool) -> EventClaim {
    let elements: Vec<_> = (0..EVENTS)
        .map(|n| {
            let mnemonic = if matching { n * 7919 % rules } else { 90_000 };
            format!(
                concat!(
                    r#"{{"timestamp":"2026-11-21T13:00:00.123456Z","hostname":"core-sw-{}","#,
                    r#""message":"%MNEMO{:05}-3: Interface GigabitEthernet0/{}, changed state "#,
                    r#"to down","source":"syslog","source_ip":"10.1.2.{}","facility":23,"#,
                    r#""syslog_severity":3,"_event_id":"{}","#,
                    r#""_received_at":"2026-11-21T13:00:00.223456Z","_correlation_id":"c-{}"}}"#
                ),
                n % 400,
                mnemonic,
                n % 48,
                n % 250,
                EventId::new(),
                n
            )
        })
        .collect();
    let events = elements
        .chunks(64)
        .map(|block| Arc::new(block.iter().map(String::as_bytes).collect::<Batch>()))
        .collect();
    EventClaim {
        id: 1,
        worker: "bench".into(),
        events,
    }
}

fn bench(criterion: &mut Criterion) {
    let policy = Policy {
        audit_unhandled: true,
        unhandled: UnhandledPolicy::default(),
        max_retries: 3,
        default_team: "NETO".into(),
    };
    let mut group = criterion.benchmark_group("decide");
    group.throughput(Throughput::Elements(EVENTS as u64));
    for rules in [10, 1_000, 10_000] {
        for (name, matching, forwarded) in [
            ("audited", true, false),
            ("forwarded", true, true),
            ("unhandled", false, false),
        ] {
            let snapshot = snapshot(rules, forwarded);
            let claim = claim(rules, matching);
            let mut decider = Decider::new();
            group.bench_function(format!("{name}/{rules}"), |bencher| {
                bencher
                    .iter(|| black_box(decider.decide(&claim, &snapshot, &policy, Sampling::NONE)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
