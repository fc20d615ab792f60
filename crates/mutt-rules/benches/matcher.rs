//! Lines per second through the matcher, against a scan of the rules one by one.
//!
//! `cargo bench -p mutt-rules` on an idle machine. 80 % of the rules are `contains`, 20 % regexes;
//! the lines are about 300 bytes of a small, dense network vocabulary, so that many literals hit:
//! real rules share fewer words with a line.

#[path = "../tests/naive/mod.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod naive;

use std::fmt::Write;
use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use mutt_event::Severity;
use mutt_rules::{Handling, MatchType, Mode, Rule, RuleDraft, RuleSet, Scratch, Subject};
use naive::Naive;

const WORDS: &[&str] = &[
    "interface",
    "Ethernet",
    "GigabitEthernet",
    "TenGigE",
    "port-channel",
    "vlan",
    "link",
    "line",
    "protocol",
    "changed",
    "state",
    "down",
    "up",
    "flapping",
    "err-disabled",
    "neighbor",
    "bgp",
    "ospf",
    "eigrp",
    "isis",
    "adjacency",
    "full",
    "loading",
    "init",
    "hold",
    "timer",
    "expired",
    "notification",
    "sent",
    "received",
    "reset",
    "peer",
    "session",
    "closed",
    "established",
    "temperature",
    "threshold",
    "exceeded",
    "fan",
    "tray",
    "removed",
    "inserted",
    "power",
    "supply",
    "failed",
    "redundant",
    "module",
    "slot",
    "chassis",
    "memory",
    "allocation",
    "cpu",
    "process",
    "high",
    "utilization",
    "login",
    "success",
    "failure",
    "user",
    "admin",
    "console",
    "vty",
    "ssh",
    "authentication",
    "denied",
    "access-list",
    "permitted",
    "packet",
    "dropped",
    "queue",
    "overflow",
    "duplicate",
    "address",
    "mac",
    "moved",
    "between",
    "ports",
    "spanning-tree",
    "root",
    "bridge",
    "topology",
    "loop",
    "guard",
    "blocking",
    "forwarding",
    "configuration",
    "saved",
    "reload",
    "software",
    "version",
    "crash",
    "traceback",
    "parity",
    "error",
    "corrected",
    "uncorrectable",
    "dot1x",
    "radius",
    "server",
    "unreachable",
    "timeout",
    "stack",
    "member",
    "election",
    "standby",
    "active",
];

/// Random numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n as u64).expect("below a usize")
    }

    fn word(&mut self) -> &'static str {
        WORDS[self.below(WORDS.len())]
    }
}

fn rules(count: usize) -> Vec<Rule> {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    (0..count)
        .map(|n| {
            let (match_type, text) = if n % 5 == 4 {
                let (a, b, c, d) = (dice.word(), dice.word(), dice.word(), dice.word());
                let pattern = match dice.below(4) {
                    0 => format!(r"{a} {b}\s+.*{c} {d}"),
                    1 => format!(r"%{a}-\d-{b}: .*{c}"),
                    2 => format!(r"{a} {b} \S+ {c} {d}"),
                    _ => format!(r"({a}|{b}) {c}\s\d+.*\b{d}\b"),
                };
                (MatchType::Regex, pattern)
            } else {
                let (a, b) = (dice.word(), dice.word());
                (MatchType::Contains, format!("{a} {b} {}", dice.below(100)))
            };
            let draft = RuleDraft {
                match_string: Some(text),
                trap_oid: None,
                syslog_severity: None,
                match_type,
                priority: i32::try_from(dice.below(1_000)).expect("small"),
                prod_handling: Handling::TicketOnly,
                dev_handling: Handling::Ignore,
                team_assignment: "NETO".into(),
                is_active: true,
                mode: Mode::Enforce,
                description: None,
            };
            Rule {
                id: i64::try_from(n).expect("small") + 1,
                draft,
                version: 1,
                created_at: Timestamp::UNIX_EPOCH,
                updated_at: Timestamp::UNIX_EPOCH,
                deleted_at: None,
            }
        })
        .collect()
}

fn lines(count: usize, suffix: &str) -> Vec<String> {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    (0..count)
        .map(|n| {
            let mut line = format!("<189>{n}: router{}: %", dice.below(50));
            let (facility, severity, name) = (dice.word(), dice.below(8), dice.word());
            write!(line, "{facility}-{severity}-{name}:").expect("a String takes all");
            while line.len() < 295 {
                line.push(' ');
                if dice.below(6) == 0 {
                    line.push_str(&dice.below(100).to_string());
                } else {
                    line.push_str(dice.word());
                }
            }
            line.push_str(suffix);
            line
        })
        .collect()
}

fn subject(line: &str) -> Subject<'_> {
    Subject {
        message: line,
        trap_oid: None,
        severity: Severity::new(4),
    }
}

fn matching(c: &mut Criterion) {
    let mut group = c.benchmark_group("match");
    group
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    group.sample_size(20);
    for count in [10, 1_000, 10_000] {
        let rules = rules(count);
        let set = RuleSet::compile(rules.clone());
        for (name, suffix) in [("ascii", ""), ("unicode", " é")] {
            let lines = lines(1_000, suffix);
            let mut scratch = Scratch::new();
            let mut next = 0;
            group.throughput(Throughput::Elements(1));
            group.bench_function(BenchmarkId::new(format!("ruleset/{name}"), count), |b| {
                b.iter(|| {
                    next = (next + 1) % lines.len();
                    black_box(set.find(&subject(&lines[next]), &mut scratch)).is_some()
                });
            });
        }
        let naive = Naive::new(&rules);
        let lines = lines(1_000, "");
        let mut next = 0;
        group.bench_function(BenchmarkId::new("naive/ascii", count), |b| {
            b.iter(|| {
                next = (next + 1) % lines.len();
                black_box(naive.first(&subject(&lines[next])))
            });
        });
    }
    group.finish();
}

fn compiling(c: &mut Criterion) {
    let mut group = c.benchmark_group("compile");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200));
    group.measurement_time(Duration::from_secs(2));
    for count in [10, 1_000, 10_000] {
        let rules = rules(count);
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter(|| black_box(RuleSet::compile(rules.clone())).len());
        });
    }
    group.finish();
}

criterion_group!(benches, matching, compiling);
criterion_main!(benches);
