//! Unmatched events add up to exactly one meta-alert per subject and window.

use std::sync::Arc;
use std::time::Duration;

use mutt_event::Alert;

use super::sample::{LONG, batch, claim, claim_alerts, worker};
use super::{Fixture, crash, eventually};
use crate::{Decision, Engine, Outcome, Unhandled, UnhandledPolicy, UnhandledScope, WorkerKind};

const POLICY: UnhandledPolicy = UnhandledPolicy {
    scope: UnhandledScope::Host,
    threshold: 5,
    window: LONG,
};

fn unmatched(host: &str, signature: &str, count: u64) -> Unhandled {
    Unhandled {
        hostname: host.into(),
        signature: signature.into(),
        masked: format!("masked {signature}").into(),
        sample: format!("sample {signature}").into(),
        count,
        team: "NetOps".into(),
        environment: "development",
    }
}

/// Decides one event with these unmatched counts; returns the meta-alerts that it triggered.
async fn decide(
    engine: &dyn Engine,
    unhandled: Vec<Unhandled>,
    unhandled_policy: UnhandledPolicy,
) -> u64 {
    engine.enqueue(batch([0])).await.expect("taken");
    let claim = claim(engine, "a", 1).await;
    let outcome = Outcome {
        unhandled,
        unhandled_policy,
        ..Outcome::default()
    };
    engine
        .decide(Arc::new(Decision { claim, outcome }))
        .await
        .expect("decided")
        .meta_alerts
}

/// The meta-alerts that wait, as JSON values, oldest first.
async fn meta_alerts(engine: &dyn Engine) -> Vec<serde_json::Value> {
    claim_alerts(engine, "m", 100)
        .await
        .iter()
        .map(|alert| {
            let read: Alert<'_> = serde_json::from_slice(&alert.element).expect("an alert");
            assert_eq!(read.handling, "Unhandled");
            assert_eq!(read.team_assignment, "NetOps");
            assert_eq!(read.environment, "development");
            assert!(
                read.event_id.is_some(),
                "the sink tells repeats by the event id"
            );
            serde_json::to_value(&read).expect("JSON")
        })
        .collect()
}

/// The counts of a host add up over decisions and signatures; the meta-alert comes with the event
/// that reaches the threshold, and no second one within the window.
pub async fn a_host_makes_one_meta_alert_at_the_threshold(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let first = vec![unmatched("router", "aa", 1), unmatched("router", "bb", 3)];
    assert_eq!(decide(&*engine, first, POLICY).await, 0);
    assert_eq!(engine.alert_depth().await.expect("depth"), 0);
    assert_eq!(
        decide(&*engine, vec![unmatched("router", "aa", 1)], POLICY).await,
        1
    );
    assert_eq!(
        decide(&*engine, vec![unmatched("router", "aa", 20)], POLICY).await,
        0
    );
    assert_eq!(
        decide(&*engine, vec![unmatched("router", "cc", 20)], POLICY).await,
        0
    );
    let alerts = meta_alerts(&*engine).await;
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0]["hostname"], "router");
    assert!(alerts[0].get("unhandled_signature").is_none());
    let text = alerts[0]["message_body"].as_str().expect("text");
    assert!(
        text.starts_with("[MUTT] Detected 5 unhandled messages in 3600 s from 'router'."),
        "{text}"
    );
    let (most, less) = (text.find("sample bb"), text.find("sample aa"));
    assert!(
        most.is_some() && most < less,
        "the most frequent signature comes first: {text}"
    );
}

/// At that scope each signature of a host counts by itself.
pub async fn a_signature_makes_one_meta_alert_at_the_threshold(fixture: &dyn Fixture) {
    let policy = UnhandledPolicy {
        scope: UnhandledScope::Signature,
        ..POLICY
    };
    let engine = fixture.open().await;
    let first = vec![
        unmatched("router", "aa", 4),
        unmatched("router", "bb", 4),
        unmatched("switch", "aa", 4),
    ];
    assert_eq!(
        decide(&*engine, first, policy).await,
        0,
        "no signature of a host has 5"
    );
    assert_eq!(
        decide(&*engine, vec![unmatched("router", "bb", 1)], policy).await,
        1
    );
    assert_eq!(
        decide(&*engine, vec![unmatched("router", "bb", 9)], policy).await,
        0
    );
    assert_eq!(
        decide(&*engine, vec![unmatched("router", "aa", 1)], policy).await,
        1
    );
    let alerts = meta_alerts(&*engine).await;
    let subjects: Vec<_> = alerts
        .iter()
        .map(|alert| {
            (
                alert["hostname"].as_str(),
                alert["unhandled_signature"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        subjects,
        [(Some("router"), Some("bb")), (Some("router"), Some("aa"))]
    );
}

/// A batch that takes the count past the threshold at once triggers as well.
pub async fn a_count_that_jumps_past_the_threshold_triggers(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    assert_eq!(
        decide(&*engine, vec![unmatched("router", "aa", 4)], POLICY).await,
        0
    );
    assert_eq!(
        decide(&*engine, vec![unmatched("router", "aa", 90)], POLICY).await,
        1
    );
    assert_eq!(
        decide(&*engine, vec![unmatched("switch", "aa", 500)], POLICY).await,
        1
    );
    let alerts = meta_alerts(&*engine).await;
    assert_eq!(alerts.len(), 2);
    assert!(
        alerts[0]["message_body"]
            .as_str()
            .expect("text")
            .contains("Detected 94 ")
    );
    assert!(
        alerts[1]["message_body"]
            .as_str()
            .expect("text")
            .contains("Detected 500 ")
    );
}

/// One decision may trigger for several hosts; a host does not count for another.
pub async fn each_host_counts_by_itself(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let batch = vec![
        unmatched("one", "aa", 5),
        unmatched("two", "aa", 4),
        unmatched("three", "aa", 2),
        unmatched("three", "bb", 3),
    ];
    assert_eq!(decide(&*engine, batch, POLICY).await, 2);
    let mut hosts: Vec<_> = meta_alerts(&*engine)
        .await
        .iter()
        .map(|alert| alert["hostname"].as_str().expect("text").to_owned())
        .collect();
    hosts.sort();
    assert_eq!(hosts, ["one", "three"]);
}

/// However many workers count at once, one meta-alert goes out.
pub async fn many_workers_make_one_meta_alert(fixture: &dyn Fixture) {
    const WORKERS: u64 = 8;
    let engine = fixture.open().await;
    engine.enqueue(batch(0..WORKERS * 5)).await.expect("taken");
    let workers: Vec<_> = (0..WORKERS)
        .map(|index| {
            let engine = engine.clone();
            tokio::spawn(async move {
                let name = worker(&format!("worker-{index}"));
                engine
                    .heartbeat(WorkerKind::Alerter, &name, LONG)
                    .await
                    .expect("taken");
                let mut triggered = 0;
                for _ in 0..5 {
                    let claim = engine.claim_events(&name, 1, LONG).await.expect("read");
                    let outcome = Outcome {
                        unhandled: vec![unmatched("router", "aa", 1)],
                        unhandled_policy: UnhandledPolicy {
                            threshold: 12,
                            ..POLICY
                        },
                        ..Outcome::default()
                    };
                    let claim = claim.expect("an event is there");
                    let decision = Arc::new(Decision { claim, outcome });
                    triggered += engine.decide(decision).await.expect("decided").meta_alerts;
                }
                triggered
            })
        })
        .collect();
    let mut triggered = 0;
    for worker in workers {
        triggered += worker.await.expect("the worker ends well");
    }
    assert_eq!(triggered, 1);
    assert_eq!(meta_alerts(&*engine).await.len(), 1);
}

/// After the window a subject may trigger again.
pub async fn a_meta_alert_comes_again_after_the_window(fixture: &dyn Fixture) {
    let policy = UnhandledPolicy {
        window: Duration::from_millis(500),
        ..POLICY
    };
    let engine = fixture.open().await;
    assert_eq!(
        decide(&*engine, vec![unmatched("router", "aa", 5)], policy).await,
        1
    );
    eventually("a second meta-alert after the window", async || {
        let triggered = decide(&*engine, vec![unmatched("router", "aa", 5)], policy).await;
        (triggered == 1).then_some(())
    })
    .await;
    assert_eq!(meta_alerts(&*engine).await.len(), 2);
}

/// A count lives as long as the window and then begins anew.
pub async fn a_count_is_forgotten_after_the_window(fixture: &dyn Fixture) {
    let window = Duration::from_millis(300);
    let policy = UnhandledPolicy { window, ..POLICY };
    let engine = fixture.open().await;
    assert_eq!(
        decide(&*engine, vec![unmatched("router", "aa", 4)], policy).await,
        0
    );
    // The passing of the window is what is waited for; waiting longer changes nothing.
    tokio::time::sleep(window * 2).await;
    assert_eq!(
        decide(&*engine, vec![unmatched("router", "aa", 4)], policy).await,
        0
    );
    assert_eq!(engine.alert_depth().await.expect("depth"), 0);
}

/// The window begins with the first event and is not prolonged by later ones: a trickle below the
/// threshold never triggers, however long it lasts.
pub async fn a_trickle_does_not_prolong_the_window(fixture: &dyn Fixture) {
    let window = Duration::from_millis(400);
    let policy = UnhandledPolicy {
        threshold: 8,
        window,
        ..POLICY
    };
    let engine = fixture.open().await;
    for _ in 0..12 {
        let one = vec![unmatched("router", "aa", 1)];
        assert_eq!(decide(&*engine, one, policy).await, 0);
        // At most five in any window; on a slow machine fewer.
        tokio::time::sleep(window / 4).await;
    }
    assert_eq!(engine.alert_depth().await.expect("depth"), 0);
}

/// What was counted and triggered before a crash is known after it.
pub async fn a_trigger_survives_a_crash(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let both = vec![unmatched("one", "aa", 5), unmatched("two", "aa", 4)];
    assert_eq!(decide(&*engine, both, POLICY).await, 1);
    let engine = crash(fixture, engine).await;
    assert_eq!(
        decide(&*engine, vec![unmatched("one", "aa", 5)], POLICY).await,
        0
    );
    assert_eq!(
        decide(&*engine, vec![unmatched("two", "aa", 1)], POLICY).await,
        1
    );
}

/// The most frequent signatures over all hosts are listed with counts, samples and hosts.
pub async fn the_most_frequent_signatures_are_listed(fixture: &dyn Fixture) {
    let policy = UnhandledPolicy {
        threshold: 1000,
        ..POLICY
    };
    let engine = fixture.open().await;
    let first = vec![
        unmatched("one", "aa", 3),
        unmatched("one", "bb", 10),
        unmatched("two", "aa", 5),
        unmatched("two", "cc", 2),
    ];
    assert_eq!(decide(&*engine, first, policy).await, 0);
    assert_eq!(
        decide(&*engine, vec![unmatched("one", "aa", 4)], policy).await,
        0
    );
    let all = engine.unhandled(10).await.expect("signatures");
    let listed: Vec<_> = all
        .iter()
        .map(|entry| (entry.signature.as_str(), entry.count))
        .collect();
    assert_eq!(listed, [("aa", 12), ("bb", 10), ("cc", 2)]);
    assert_eq!(all[0].masked, "masked aa");
    assert_eq!(all[0].sample, "sample aa");
    assert_eq!(all[0].hosts, ["one", "two"], "the busiest host comes first");
    let top = engine.unhandled(1).await.expect("signatures");
    assert_eq!(top.len(), 1);
    assert_eq!(top[0], all[0]);
}
