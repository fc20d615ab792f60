//! What becomes of events, and what changes while the alerter runs.

use std::collections::HashSet;
use std::time::Duration;

use crate::support::{Rig, by, draft, event, events, eventually, until};
use mutt_alerter::AlerterOptions;
use mutt_engine::conformance::PATIENCE;
use mutt_engine::{
    AlertQueue as _, Audit as _, Catalog as _, DeadLetters as _, Dlq, EventQueue as _, Live as _,
    Reason, UnhandledScope,
};
use mutt_rules::{MatchType, Mode, RuleDraft};

#[tokio::test]
async fn events_are_decided_by_rule_host_severity_and_oid() {
    let mut rig = Rig::new();
    let down = rig.add_rule(draft("down")).await;
    let watch = rig
        .add_rule(RuleDraft {
            mode: Mode::Observe,
            priority: 1,
            ..draft("link")
        })
        .await;
    let critical = rig
        .add_rule(RuleDraft {
            syslog_severity: Some(2),
            priority: 5,
            ..draft("fan")
        })
        .await;
    let trap = rig
        .add_rule(RuleDraft {
            match_type: MatchType::OidPrefix,
            match_string: None,
            trap_oid: Some(".1.3.6.1.4.1.9".to_owned()),
            ..draft("")
        })
        .await;
    rig.engine
        .add_development_host("Lab-1", &by())
        .await
        .expect("added");
    rig.engine
        .set_device_team("core-1", "CORE", &by())
        .await
        .expect("set");
    rig.enqueue([
        event("core-1", "link DOWN"),
        event("LAB-1", "link down"),
        event("core-1", "fan failed"),
        r#"{"hostname":"h","message":"fan failed","syslog_severity":2}"#.to_owned(),
        r#"{"hostname":"h","message":"a trap","trap_oid":"1.3.6.1.4.1.9.9.1"}"#.to_owned(),
        r#"{"hostname":"h","message":"a trap","trap_oid":"1.3.6.1.4.1.99"}"#.to_owned(),
    ])
    .await;
    rig.start();
    rig.audited(4).await;

    let rows: Vec<_> = rig
        .audit()
        .await
        .into_iter()
        .map(|row| (row.matched_rule_id, row.environment, row.handling_decision))
        .collect();
    let page = "Page_and_ticket".to_owned();
    let production = "production".to_owned();
    assert_eq!(
        rows,
        [
            (Some(down), production.clone(), page.clone()),
            (Some(down), "development".to_owned(), "Log_only".to_owned()),
            (Some(critical), production.clone(), page.clone()),
            (Some(trap), production.clone(), page.clone()),
        ]
    );
    let alerts = rig.alerts().await;
    let teams: Vec<_> = alerts
        .iter()
        .map(|alert| &alert["team_assignment"])
        .collect();
    assert_eq!(
        teams,
        ["WAN", "WAN", "WAN"],
        "the rule's team, not the device's"
    );
    assert_eq!(alerts[0]["message_body"], "link DOWN");
    assert_eq!(alerts[0]["_correlation_id"], "c-1");
    let raw: serde_json::Value =
        serde_json::from_str(alerts[0]["raw_json"].as_str().expect("a text")).expect("JSON");
    assert_eq!(raw["hostname"], "core-1");

    until("the counters follow", || rig.metrics.handled.get() == 4).await;
    assert_eq!(rig.metrics.unhandled.get(), 2);
    assert_eq!(rig.metrics.alerts_forwarded.get(), 3);
    assert!(rig.exports("mutt_event_decision_latency_seconds_count 6"));
    let hits = rig.engine.rule_hits().await.expect("hits are read");
    assert_eq!(
        hits.get(&watch).map(|counts| counts[0]),
        Some(2),
        "{hits:?}"
    );
    rig.stop().await;
}

#[tokio::test]
async fn the_audit_scope_changes_while_it_runs() {
    let mut rig = Rig::new();
    rig.add_rule(draft("down")).await;
    rig.start();
    rig.enqueue([event("h", "nothing known"), event("h", "link down")])
        .await;
    rig.audited(1).await;
    rig.set(&[("audit_scope", "all")]);
    rig.enqueue([event("h", "nothing known"), event("h", "link down")])
        .await;
    rig.audited(3).await;
    let rows = rig.audit().await;
    assert_eq!(rows[1].handling_decision, "Unhandled");
    assert_eq!(
        (rows[1].matched_rule_id, rows[1].forwarded_to_moog),
        (None, false)
    );
    rig.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_goes_to_the_dead_letters_while_the_rest_goes_on() {
    let mut rig = Rig::new();
    rig.add_rule(draft("down")).await;
    rig.start();
    rig.enqueue([
        event("h", "link down"),
        "no JSON".to_owned(),
        r#"{"hostname":"h"}"#.to_owned(),
        event("h", "link down"),
    ])
    .await;
    let letters = rig.dead(2).await;
    rig.audited(2).await;
    let found: Vec<_> = letters
        .iter()
        .map(|letter| (letter.reason, letter.message.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            (Reason::Malformed, "no JSON"),
            (Reason::Malformed, r#"{"hostname":"h"}"#)
        ]
    );
    assert!(
        letters[1].detail.contains("message"),
        "{}",
        letters[1].detail
    );
    until("the counters follow", || rig.metrics.error.get() == 2).await;
    until("the gauge follows", || rig.metrics.dlq_depth.get() == 2).await;
    rig.stop().await;
}

#[tokio::test]
async fn unhandled_events_make_one_meta_alert_for_the_devices_team() {
    let mut rig = Rig::new();
    rig.engine
        .set_device_team("Core-1", "CORE", &by())
        .await
        .expect("set");
    rig.set(&[("unhandled_event_threshold", "5")]);
    rig.start();
    for number in 0..7 {
        rig.enqueue([event("core-1", &format!("odd thing {number}"))])
            .await;
    }
    rig.enqueue(events(4, "odd thing 9")).await;
    until("every event is decided", || {
        rig.metrics.unhandled.get() == 11
    })
    .await;
    until("the meta-alert is counted", || {
        rig.metrics.meta_alerts.get() == 1
    })
    .await;
    let alerts = rig.alerts().await;
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0]["team_assignment"], "CORE");
    assert_eq!(alerts[0]["hostname"], "core-1");
    let text = alerts[0]["message_body"].as_str().expect("a text");
    assert!(text.starts_with("[MUTT] Detected "), "{text}");
    assert!(text.contains("odd thing"), "{text}");
    rig.stop().await;
}

#[tokio::test]
async fn unhandled_events_can_be_counted_by_signature() {
    let mut rig = Rig::new();
    rig.set(&[("unhandled_event_threshold", "3")]);
    rig.enqueue([
        event("h", "login of 1 failed"),
        event("h", "fan stopped"),
        event("h", "login of 2 failed"),
        event("h", "power lost"),
        event("h", "login of 3 failed"),
    ])
    .await;
    rig.start_with(AlerterOptions {
        unhandled_scope: UnhandledScope::Signature,
        default_team: "OPS".into(),
        ..Rig::options()
    });
    until("the meta-alert is counted", || {
        rig.metrics.meta_alerts.get() == 1
    })
    .await;
    let alerts = rig.alerts().await;
    assert_eq!(alerts[0]["team_assignment"], "OPS");
    assert!(
        alerts[0]["unhandled_signature"].is_string(),
        "{}",
        alerts[0]
    );
    rig.stop().await;
}

/// Fills the alert queue with five alerts, above the shedding threshold of two.
async fn full_alert_queue(mode: &str) -> Rig {
    let mut rig = Rig::new();
    rig.add_rule(draft("down")).await;
    rig.set(&[
        ("alerter_queue_warn_threshold", "1"),
        ("alerter_queue_shed_threshold", "2"),
        ("alerter_shed_mode", mode),
        ("alerter_defer_sleep_ms", "5"),
    ]);
    rig.enqueue(events(5, "link down")).await;
    rig.start();
    rig.audited(5).await;
    rig.alert_queue_is("above alerter_queue_shed_threshold")
        .await;
    rig
}

#[tokio::test]
async fn a_long_alert_queue_defers_claims_until_it_is_shorter() {
    let mut rig = full_alert_queue("defer").await;
    rig.enqueue(events(3, "link down")).await;
    let deferred = rig.metrics.deferred.get();
    until("claims are put off again", || {
        rig.metrics.deferred.get() >= deferred + 3
    })
    .await;
    assert_eq!(
        rig.engine.event_depth().await.expect("depth"),
        3,
        "the events wait"
    );
    assert_eq!(rig.engine.dlq_depth(Dlq::Alerter).await.expect("depth"), 0);
    let health = rig.handle().health().await;
    assert!(
        health.ok,
        "a slow sink is no fault of the alerter: {health:?}"
    );

    assert_eq!(rig.deliver().await, 5);
    rig.audited(8).await;
    assert_eq!(rig.metrics.shed.get(), 0);
    rig.stop().await;
}

#[tokio::test]
async fn a_long_alert_queue_sheds_waiting_events_to_the_dead_letters() {
    let mut rig = full_alert_queue("dlq").await;
    rig.enqueue(events(3, "link down")).await;
    let letters = rig.dead(3).await;
    assert!(
        letters.iter().all(|letter| letter.reason == Reason::Shed),
        "{letters:?}"
    );
    until("they are counted", || rig.metrics.shed.get() == 3).await;
    assert_eq!(
        rig.engine.alert_depth().await.expect("depth"),
        5,
        "alerts are never shed"
    );
    assert_eq!(rig.engine.audit_count().await.expect("count"), 5);

    assert_eq!(rig.deliver().await, 5);
    // Until the next look events would still be shed.
    rig.alert_queue_is("short").await;
    rig.enqueue(events(2, "link down")).await;
    rig.audited(7).await;
    rig.stop().await;
}

#[tokio::test]
async fn changes_of_rules_and_hosts_take_effect_while_it_runs() {
    let mut rig = Rig::new();
    rig.start();
    rig.rules_loaded(0).await;
    let id = rig.add_rule(draft("down")).await;
    rig.rules_loaded(1).await;
    rig.enqueue([event("h", "link down")]).await;
    rig.audited(1).await;

    rig.engine
        .add_development_host("h", &by())
        .await
        .expect("added");
    until("the host is known", || {
        rig.metrics.cache_dev_hosts.get() == 1
    })
    .await;
    rig.enqueue([event("H", "link down")]).await;
    rig.audited(2).await;
    assert_eq!(rig.audit().await[1].environment, "development");

    rig.engine
        .delete_rule(id, None, &by())
        .await
        .expect("deleted");
    rig.rules_loaded(0).await;
    rig.enqueue([event("h", "link down")]).await;
    until("nothing matches", || rig.metrics.unhandled.get() == 1).await;
    rig.stop().await;
}

#[tokio::test]
async fn a_reload_can_be_asked_for_and_comes_by_itself() {
    let mut rig = Rig::new();
    rig.start();
    rig.rules_loaded(0).await;
    let before = rig.metrics.cache_reloads.get();
    rig.handle().reload();
    until("it loads again", || {
        rig.metrics.cache_reloads.get() > before
    })
    .await;

    let before = rig.metrics.cache_reloads.get();
    rig.set(&[("cache_reload_interval", "1")]);
    until("it loads by itself", || {
        rig.metrics.cache_reloads.get() > before
    })
    .await;
    rig.stop().await;
}

#[tokio::test]
async fn those_who_watch_see_samples() {
    let mut rig = Rig::new();
    let rule = rig.add_rule(draft("down")).await;
    let mut watcher = rig.engine.watch();
    rig.enqueue(events(10, "link down")).await;
    rig.start();
    let batch = tokio::time::timeout(PATIENCE, watcher.recv())
        .await
        .expect("something is shown")
        .expect("the engine is there");
    assert_eq!(batch.total, 10);
    assert_eq!(batch.events.len(), 10);
    assert_eq!(batch.events[0].rule_id, Some(rule));
    assert_eq!(batch.events[0].handling, "Page_and_ticket");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_workers_decide_every_event_once() {
    const EVENTS: usize = 5_000;
    let mut rig = Rig::new();
    rig.add_rule(RuleDraft {
        prod_handling: mutt_rules::Handling::LogOnly,
        ..draft("down")
    })
    .await;
    for _ in 0..EVENTS / 500 {
        rig.enqueue(events(500, "link down")).await;
    }
    rig.start_with(AlerterOptions {
        workers: 3,
        claim_max: 200,
        ..Rig::options()
    });
    rig.audited(EVENTS as u64).await;
    let ids: HashSet<_> = rig.audit().await.iter().map(|row| row.event_id).collect();
    assert_eq!(ids.len(), EVENTS);
    until("the counters follow", || {
        rig.metrics.handled.get() == EVENTS as u64
    })
    .await;
    rig.stop().await;
}

#[tokio::test]
async fn health_and_gauges_tell_what_is() {
    let mut rig = Rig::new();
    rig.add_rule(draft("down")).await;
    rig.engine
        .set_device_team("h", "CORE", &by())
        .await
        .expect("set");
    rig.start();
    rig.rules_loaded(1).await;
    let health = eventually("all is well", async || {
        let health = rig.handle().health().await;
        health.ok.then_some(health)
    })
    .await;
    let names: Vec<_> = health.checks.iter().map(|check| check.name).collect();
    assert_eq!(names, ["store", "rules", "workers", "alert_queue"]);
    assert!(
        health.checks[1].detail.starts_with("1 rules, loaded at"),
        "{health:?}"
    );
    assert_eq!(rig.metrics.cache_teams.get(), 1);
    rig.enqueue(events(3, "link down")).await;
    until("the depth follows", || {
        rig.metrics.alert_queue_depth.get() == 3
    })
    .await;
    rig.stop().await;
    assert!(rig.metrics.alert_queue_depth.get() == 3);
}

#[tokio::test]
async fn it_ends_at_once_where_nothing_waits() {
    let mut rig = Rig::new();
    rig.start_with(AlerterOptions {
        claim_wait: Duration::from_hours(1),
        ..Rig::options()
    });
    rig.rules_loaded(0).await;
    rig.stop().await;
}
