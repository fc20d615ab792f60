//! Counts of unmatched events: names that mean harm, bounds, and what MUTT 2.5 left.

mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use mutt_engine::conformance::Fixture as _;
use mutt_engine::conformance::sample::{LONG, batch, claim, claim_alerts};
use mutt_engine::{Decision, Engine, Outcome, Unhandled, UnhandledPolicy, UnhandledScope};
use mutt_event::Alert;
use support::Store;

const POLICY: UnhandledPolicy = UnhandledPolicy {
    scope: UnhandledScope::Host,
    threshold: 5,
    window: LONG,
};

fn unmatched(host: &str, signature: u64, count: u64) -> Unhandled {
    Unhandled {
        hostname: host.into(),
        signature: format!("{signature:016x}").into(),
        masked: format!("masked {signature}").into(),
        sample: format!("sample \"{signature}\" @c@ %1 \\ ü").into(),
        count,
        team: "NetOps".into(),
        environment: "production",
    }
}

async fn decide(engine: &dyn Engine, unhandled: Vec<Unhandled>, policy: UnhandledPolicy) -> u64 {
    engine.enqueue(batch([0])).await.expect("taken");
    let claim = claim(engine, "a", 1).await;
    let outcome = Outcome {
        unhandled,
        unhandled_policy: policy,
        ..Outcome::default()
    };
    let decision = Arc::new(Decision { claim, outcome });
    engine.decide(decision).await.expect("decided").meta_alerts
}

/// Meta-alerts that wait, as (host, text).
async fn meta_alerts(engine: &dyn Engine) -> Vec<(String, String)> {
    let alerts = claim_alerts(engine, "m", 1000).await;
    let ids: HashSet<_> = alerts
        .iter()
        .map(|alert| {
            let read: Alert<'_> = serde_json::from_slice(&alert.element).expect("an alert");
            read.event_id.expect("an id")
        })
        .collect();
    assert_eq!(ids.len(), alerts.len(), "each has an id of its own");
    alerts
        .iter()
        .map(|alert| {
            let read: Alert<'_> = serde_json::from_slice(&alert.element).expect("an alert");
            (read.hostname.into_owned(), read.message_body.into_owned())
        })
        .collect()
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.is_empty()).collect()
}

/// Every key about unmatched events ends some day.
fn assert_all_expire(store: &Store) {
    let keys = store.redis.command(&["KEYS", "mutt:unhandled*"]);
    assert!(!lines(&keys).is_empty());
    for key in lines(&keys) {
        let left = store.redis.command(&["PTTL", key]);
        let left: i64 = left.trim().parse().expect("a number");
        assert!(left > 0, "{key} stays for ever");
        assert!(key.len() < 700, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn host_names_that_mean_harm_are_names() {
    let store = Store::start().await;
    let engine = store.open().await;
    let long = format!("x\u{fc}{}", "y".repeat(65_536));
    let hosts = [
        ":",
        "*",
        "a\nb",
        "a\"b'c\\",
        "triggered:victim",
        "triggered",
        "signatures",
        "signatures_of:victim",
        "victim:0000000000000001",
        "@c@",
        "%1%0",
        "2001:db8::1",
        "",
        &long,
    ];
    let rows = |count| {
        hosts
            .iter()
            .map(|host| unmatched(host, 1, count))
            .collect::<Vec<_>>()
    };
    for scope in [UnhandledScope::Host, UnhandledScope::Signature] {
        let policy = UnhandledPolicy { scope, ..POLICY };
        assert_eq!(decide(&*engine, rows(4), policy).await, 0);
        assert_eq!(decide(&*engine, rows(1), policy).await, hosts.len() as u64);
        assert_eq!(decide(&*engine, rows(9), policy).await, 0);
        for ((host, text), expected) in meta_alerts(&*engine).await.iter().zip(hosts) {
            if expected.len() < 200 {
                assert_eq!(host, expected);
            } else {
                assert!(host.len() < 300 && expected.starts_with(host.trim_end_matches('…')));
            }
            let start = format!(
                "[MUTT] Detected 5 unhandled messages in 3600 s from '{host}'. Most frequent: "
            );
            assert!(text.starts_with(&start), "{text}");
            assert!(text.ends_with("x \"sample \"1\" @c@ %1 \\ ü\""), "{text}");
        }
        // Nobody triggered for somebody else.
        assert_eq!(
            decide(&*engine, vec![unmatched("victim", 1, 4)], policy).await,
            0
        );
        assert_eq!(
            decide(&*engine, vec![unmatched("victim", 1, 1)], policy).await,
            1
        );
        meta_alerts(&*engine).await;
    }
    assert_all_expire(&store);
    let listed = engine.unhandled(10).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].count, 2 * (14 * 14 + 5));
    assert_eq!(listed[0].hosts.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_of_2_5_go_on() {
    let store = Store::start().await;
    let engine = store.open().await;
    store
        .redis
        .command(&["SET", "mutt:unhandled:old", "99", "EX", "3600"]);
    let policy = UnhandledPolicy {
        threshold: 100,
        ..POLICY
    };
    assert_eq!(
        decide(&*engine, vec![unmatched("old", 1, 1)], policy).await,
        1
    );
    let left: i64 = store
        .redis
        .command(&["PTTL", "mutt:unhandled:old"])
        .trim()
        .parse()
        .unwrap();
    assert!(left <= 3_600_000, "its window was not prolonged");
    store
        .redis
        .command(&["SET", "mutt:unhandled:triggered:told", "1", "EX", "3600"]);
    assert_eq!(
        decide(&*engine, vec![unmatched("told", 1, 500)], policy).await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_ends_is_over() {
    let store = Store::start().await;
    let engine = store.open().await;
    store
        .redis
        .command(&["SET", "mutt:unhandled:endless", "99"]);
    store
        .redis
        .command(&["SET", "mutt:unhandled:far", "99", "EX", "86400"]);
    for host in ["endless", "far"] {
        assert_eq!(
            decide(&*engine, vec![unmatched(host, 1, 4)], POLICY).await,
            0
        );
        assert_eq!(
            decide(&*engine, vec![unmatched(host, 1, 1)], POLICY).await,
            1,
            "it began anew"
        );
    }
    store
        .redis
        .command(&["SET", "mutt:unhandled:triggered:muted", "1"]);
    store
        .redis
        .command(&["SET", "mutt:unhandled:triggered:hushed", "1", "EX", "86400"]);
    for host in ["muted", "hushed"] {
        assert_eq!(
            decide(&*engine, vec![unmatched(host, 1, 5)], POLICY).await,
            1
        );
    }
    assert_all_expire(&store);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_kind_holds_up_no_decision() {
    let store = Store::start().await;
    let engine = store.open().await;
    let hash = format!("{:016x}", 1);
    for key in [
        "mutt:unhandled:router",
        "mutt:unhandled:triggered:router",
        "mutt:unhandled:signatures",
        "mutt:unhandled:signatures_end",
        "mutt:unhandled:signatures_of:router",
        &format!("mutt:unhandled:signature:{hash}"),
    ] {
        store.redis.command(&["LPUSH", key, "what"]);
    }
    store
        .redis
        .command(&["SET", "mutt:unhandled:switch", "many"]);
    let rows = || {
        ["router", "switch"]
            .map(|host| unmatched(host, 1, 5))
            .into()
    };
    assert_eq!(decide(&*engine, rows(), POLICY).await, 2);
    let listed = engine.unhandled(10).await.unwrap();
    assert_eq!((listed.len(), listed[0].count), (1, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_listed_ends_with_its_window() {
    let store = Store::start().await;
    let engine = store.open().await;
    let short = UnhandledPolicy {
        window: Duration::from_millis(200),
        ..POLICY
    };
    decide(&*engine, vec![unmatched("q", 1, 50)], short).await;
    decide(&*engine, vec![unmatched("r", 2, 3)], POLICY).await;
    mutt_engine::conformance::eventually("the window ends", async || {
        (engine.unhandled(10).await.unwrap().len() == 1).then_some(())
    })
    .await;
    decide(
        &*engine,
        vec![unmatched("q", 1, 1), unmatched("s", 2, 1)],
        POLICY,
    )
    .await;
    let listed: Vec<_> = engine
        .unhandled(10)
        .await
        .unwrap()
        .into_iter()
        .map(|one| (one.signature, one.count, one.hosts))
        .collect();
    assert_eq!(
        listed,
        [
            (
                format!("{:016x}", 2),
                4,
                vec!["r".to_owned(), "s".to_owned()]
            ),
            (format!("{:016x}", 1), 1, vec!["q".to_owned()]),
        ]
    );
}

/// How many commands Redis ran so far, those of scripts included.
fn commands(store: &Store) -> u64 {
    let stats = store.redis.command(&["INFO", "commandstats"]);
    stats
        .split(":calls=")
        .skip(1)
        .filter_map(|rest| rest.split(',').next()?.parse::<u64>().ok())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_costs_few_commands() {
    let store = Store::start().await;
    let engine = store.open().await;
    let policy = UnhandledPolicy {
        threshold: 1_000_000,
        ..POLICY
    };
    let storms: [(&str, Vec<Unhandled>); 4] = [
        (
            "one host",
            (0..1000).map(|n| unmatched("h", n, 2)).collect(),
        ),
        (
            "one signature",
            (0..1000)
                .map(|n| unmatched(&format!("h{n}"), 1, 2))
                .collect(),
        ),
        (
            "some of each",
            (0..1000)
                .map(|n| unmatched(&format!("h{}", n % 50), n % 20 * 50 + n % 50, 2))
                .collect(),
        ),
        (
            "all different",
            (0..1000)
                .map(|n| unmatched(&format!("h{n}"), n, 2))
                .collect(),
        ),
    ];
    for (what, rows) in storms {
        decide(&*engine, rows.clone(), policy).await;
        let before = commands(&store);
        decide(&*engine, rows, policy).await;
        let each = (commands(&store) - before) as f64 / 1000.0;
        println!("{what}: {each} commands a row");
        assert!(each < 4.0, "{what}: {each} commands a row");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_are_bounded() {
    let store = Store::start().await;
    let engine = store.open().await;
    let policy = UnhandledPolicy {
        threshold: 1_000_000,
        ..POLICY
    };
    for round in 0..3 {
        let rows = (0..500)
            .map(|n| unmatched("one", round * 500 + n, 1))
            .collect();
        decide(&*engine, rows, policy).await;
    }
    for signature in 1500..1505 {
        decide(&*engine, vec![unmatched("one", signature, 1)], policy).await;
    }
    let of_host = store
        .redis
        .command(&["HLEN", "mutt:unhandled:signatures_of:one"]);
    assert_eq!(of_host.trim(), "1000");
    let rows = (0..150)
        .map(|n| unmatched(&format!("h{n}"), 9999, 1))
        .collect();
    decide(&*engine, rows, policy).await;
    let key = format!("mutt:unhandled:signature:{:016x}", 9999);
    assert_eq!(store.redis.command(&["HLEN", &key]).trim(), "103");
    assert_eq!(store.redis.command(&["HGET", &key, "n"]).trim(), "150");

    // As many signatures as there may be: the next is counted for its host alone.
    let mut fill = vec!["ZADD".to_owned(), "mutt:unhandled:signatures".to_owned()];
    fill.extend((0..100_000).flat_map(|n| ["1".to_owned(), format!("full{n}")]));
    let fill: Vec<&str> = fill.iter().map(String::as_str).collect();
    store.redis.command(&fill);
    assert_eq!(
        decide(&*engine, vec![unmatched("late", 77_777, 5)], POLICY).await,
        1
    );
    let key = format!("mutt:unhandled:signature:{:016x}", 77_777);
    assert_eq!(store.redis.command(&["EXISTS", &key]).trim(), "0");
}
