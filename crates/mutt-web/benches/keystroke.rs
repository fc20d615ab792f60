//! What a person waits for between a keystroke in the rule editor and the figures: a draft tried on
//! the fullest sample, 120,000 events, among 1,000 rules. The budget is 150 ms, less the way through
//! HTTP and the read of the rules.
//!
//! `cargo bench -p mutt-web` on an idle machine. 80 % of the rules are `contains`, 20 % regexes.
#![allow(missing_docs, reason = "criterion's macros")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use mutt_engine::live::{LiveBatch, LiveEvent};
use mutt_rules::{Handling, MatchType, Mode, RuleDraft};
use mutt_web::measure::Desk;

const WORDS: [&str; 24] = [
    "interface",
    "Ethernet",
    "GigabitEthernet",
    "port-channel",
    "vlan",
    "link",
    "protocol",
    "changed",
    "state",
    "down",
    "up",
    "flapping",
    "neighbor",
    "bgp",
    "ospf",
    "adjacency",
    "timer",
    "expired",
    "notification",
    "session",
    "temperature",
    "threshold",
    "exceeded",
    "fan",
];

/// Words that chance chose, the same every time.
fn words(seed: u64, count: u64) -> String {
    let word = |place: u64| {
        let mixed = (seed * 64 + place).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        WORDS[usize::try_from(mixed % WORDS.len() as u64).unwrap_or_default()]
    };
    (0..count).map(word).collect::<Vec<_>>().join(" ")
}

fn draft(text: String, match_type: MatchType, priority: i32) -> RuleDraft {
    RuleDraft {
        match_string: Some(text),
        trap_oid: None,
        syslog_severity: None,
        match_type,
        priority,
        prod_handling: Handling::PageOnly,
        dev_handling: Handling::LogOnly,
        team_assignment: "NetOps".to_owned(),
        is_active: true,
        mode: Mode::Enforce,
        description: None,
    }
}

fn rules() -> Vec<RuleDraft> {
    (0..1_000)
        .map(|number| {
            let text = words(1_000_000 + number, 3);
            if number % 5 == 0 {
                let regex = text.replace(' ', r"\W+\w*");
                draft(regex, MatchType::Regex, 100)
            } else {
                draft(text, MatchType::Contains, 100)
            }
        })
        .collect()
}

fn minute(number: i64) -> LiveBatch {
    let events = (0..2_000).map(|place| {
        let seed = number.unsigned_abs() * 2_000 + place;
        LiveEvent {
            event_id: mutt_event::EventId::new(),
            received_at: jiff::Timestamp::UNIX_EPOCH,
            hostname: format!("sw{}", seed % 500),
            message: format!("%LINK-3-{seed}: {}", words(seed, 22)),
            cut: false,
            trap_oid: None,
            severity: Some(3),
            source: None,
            environment: "production".to_owned(),
            rule_id: None,
            handling: "Unhandled".to_owned(),
            team: None,
        }
    });
    LiveBatch {
        events: events.collect(),
        total: 20_000,
        every: 10,
    }
}

fn keystroke(criterion: &mut Criterion) {
    let desk = Desk::new(rules(), minute);
    println!("{} events are tried", desk.events());
    // The first asks everything of every rule; from then on only the draft is new.
    for (name, in_place_of) in [("new rule", None), ("stored rule", Some(500))] {
        let start = std::time::Instant::now();
        black_box(desk.keystroke(
            draft("link".to_owned(), MatchType::Contains, 5),
            in_place_of,
        ));
        println!("first keystroke, {name}: {:?}", start.elapsed());
    }
    let (first, again) = desk.insights();
    println!("insights: {first:?}, again: {again:?}");
    let mut group = criterion.benchmark_group("keystroke");
    group.sample_size(10);
    for (name, text, match_type) in [
        ("contains, rare", "LINK-3-12345", MatchType::Contains),
        ("contains, half of all", "link", MatchType::Contains),
        ("regex with a literal", r"link\s+down", MatchType::Regex),
        ("regex without one", r"\d{5}:\s\w+\s[a-f]", MatchType::Regex),
    ] {
        for (place, in_place_of) in [("new", None), ("stored", Some(500))] {
            let rule = draft(text.to_owned(), match_type, 5);
            group.bench_function(format!("{name}, {place}"), |bencher| {
                bencher.iter(|| black_box(desk.keystroke(rule.clone(), in_place_of)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, keystroke);
criterion_main!(benches);
