//! What becomes of events when the store fails, refuses or panics, when workers die, and when the
//! alerter ends.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::support::{Fault, LONG, Rig, draft, event, events, until};
use mutt_alerter::AlerterOptions;
use mutt_alerter::metrics::Operation;
use mutt_engine::{AlertQueue as _, Audit as _, EventQueue as _, Reason, WorkerKind, Workers as _};
use mutt_rules::{Handling, RuleDraft};

fn decisions(rig: &Rig) -> u64 {
    rig.engine.decisions.load(Ordering::SeqCst)
}

#[tokio::test]
async fn while_the_store_is_away_nothing_is_lost_and_no_retry_is_counted() {
    let mut rig = Rig::new();
    rig.add_rule(draft("down")).await;
    rig.start();
    rig.rules_loaded(1).await;
    rig.set_away(true);
    rig.enqueue(events(10, "link down")).await;
    let errors = || Operation::ALL.map(|operation| rig.metrics.store_errors(operation).get());
    let before: u64 = errors().iter().sum();
    // Many more failures than an event may have.
    until("many calls fail", || {
        errors().iter().sum::<u64>() > before + 30
    })
    .await;
    assert!(!rig.handle().health().await.ok);

    rig.set_away(false);
    rig.audited(10).await;
    assert_eq!(rig.engine.alert_depth().await.expect("depth"), 10);
    assert_eq!(rig.metrics.poison.get(), 0);
    until("all is well again", || rig.metrics.handled.get() == 10).await;
    assert!(rig.handle().health().await.ok);
    rig.stop().await;
}

#[tokio::test]
async fn a_decision_that_failed_is_kept_and_takes_effect_once() {
    let mut rig = Rig::new();
    rig.add_rule(draft("down")).await;
    rig.start();
    rig.rules_loaded(1).await;
    rig.engine.decisions_away.store(true, Ordering::SeqCst);
    rig.enqueue([event("h", "link down")]).await;
    until("it is tried again", || decisions(&rig) >= 4).await;
    assert_eq!(
        rig.engine.event_depth().await.expect("depth"),
        0,
        "the claim is kept"
    );
    assert_eq!(rig.engine.audit_count().await.expect("count"), 0);
    rig.engine.decisions_away.store(false, Ordering::SeqCst);
    rig.audited(1).await;
    assert_eq!(rig.engine.alert_depth().await.expect("depth"), 1);
    rig.stop().await;
}

/// One event at fault among many, which are enqueued before it starts, so that they come in one
/// claim.
async fn one_bad_event(fault: Fault) {
    const EVENTS: usize = 200;
    let mut rig = Rig::new();
    rig.add_rule(draft("down")).await;
    *rig.engine.fault.lock() = Some(("boom", fault));
    let mut elements = events(EVENTS, "link down");
    elements.insert(137, event("bad", "link down, boom"));
    rig.enqueue(elements).await;
    rig.start();
    rig.audited(EVENTS as u64).await;
    let letters = rig.dead(1).await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].reason, Reason::Poison);
    assert!(letters[0].message.contains("boom"), "{letters:?}");
    assert!(
        letters[0]
            .detail
            .starts_with("processing it failed 4 times"),
        "{letters:?}"
    );
    until("it is counted", || rig.metrics.poison.get() == 1).await;
    assert!(rig.metrics.claims_refused.get() >= 1);
    until("the others are counted", || {
        rig.metrics.alerts_forwarded.get() == EVENTS as u64
    })
    .await;
    assert_eq!(
        rig.engine.alert_depth().await.expect("depth"),
        EVENTS as u64
    );

    // Claims are large again afterwards, and nothing is left over.
    rig.enqueue(events(20, "link down")).await;
    rig.audited(EVENTS as u64 + 20).await;
    assert_eq!(rig.engine.event_depth().await.expect("depth"), 0);
    rig.stop().await;
}

#[tokio::test]
async fn an_event_that_the_store_refuses_is_isolated() {
    one_bad_event(Fault::Refuse).await;
}

#[tokio::test]
async fn an_event_that_makes_the_store_panic_is_isolated() {
    one_bad_event(Fault::Panic).await;
}

#[tokio::test]
async fn an_event_that_the_store_never_takes_is_isolated() {
    one_bad_event(Fault::Break).await;
}

#[tokio::test]
async fn a_failed_reload_keeps_the_last_good_rules() {
    let mut rig = Rig::new();
    rig.add_rule(draft("down")).await;
    rig.start();
    rig.rules_loaded(1).await;
    rig.engine.rules_away.store(true, Ordering::SeqCst);
    rig.handle().reload();
    until("the load fails", || {
        rig.metrics.cache_reload_failures.get() >= 1
    })
    .await;
    assert_eq!(rig.metrics.cache_load_success.get(), 0);
    rig.enqueue([event("h", "link down")]).await;
    rig.audited(1).await;
    let health = rig.handle().health().await;
    assert!(health.ok, "old rules are better than none: {health:?}");
    assert!(
        health.checks[1].detail.contains("the last load failed"),
        "{health:?}"
    );

    // It is tried again without being asked.
    rig.engine.rules_away.store(false, Ordering::SeqCst);
    until("the load succeeds", || {
        rig.metrics.cache_load_success.get() == 1
    })
    .await;
    rig.stop().await;
}

#[tokio::test]
async fn a_rule_that_cannot_be_compiled_is_skipped_and_shown() {
    let mut rig = Rig::new();
    let id = rig.add_rule(draft("down")).await;
    let mut stray = mutt_engine::Catalog::rule(&*rig.engine, id)
        .await
        .expect("it is there");
    stray.id = 99;
    stray.draft.match_type = mutt_rules::MatchType::Regex;
    stray.draft.match_string = Some("(down".to_owned());
    *rig.engine.stray_rule.lock() = Some(stray);
    rig.start();
    rig.rules_loaded(1).await;
    assert_eq!(rig.metrics.cache_rules_skipped.get(), 1);
    assert_eq!(rig.handle().skipped_rules()[0].rule_id, 99);
    let health = rig.handle().health().await;
    assert!(
        health.checks[1].detail.contains("1 skipped: 99 ("),
        "{health:?}"
    );
    rig.enqueue([event("h", "link down")]).await;
    rig.audited(1).await;
    rig.stop().await;
}

#[tokio::test]
async fn it_waits_for_a_store_that_is_away_at_the_start() {
    let mut rig = Rig::new();
    rig.add_rule(draft("down")).await;
    rig.enqueue([event("h", "link down")]).await;
    rig.set_away(true);
    rig.engine.rules_away.store(true, Ordering::SeqCst);
    rig.start();
    until("it knocks", || {
        rig.metrics.store_errors(Operation::Heartbeat).get() >= 3
    })
    .await;
    assert!(!rig.handle().health().await.ok);
    rig.set_away(false);
    until("it asks for rules", || {
        rig.metrics.cache_reload_failures.get() >= 3
    })
    .await;
    assert_eq!(
        rig.engine.event_depth().await.expect("depth"),
        1,
        "no rules, no claims"
    );
    rig.engine.rules_away.store(false, Ordering::SeqCst);
    rig.audited(1).await;
    rig.stop().await;
}

#[tokio::test]
async fn it_can_be_stopped_while_it_waits_for_the_store() {
    let mut rig = Rig::new();
    rig.set_away(true);
    rig.start();
    until("it knocks", || {
        rig.metrics.store_errors(Operation::Heartbeat).get() >= 1
    })
    .await;
    rig.stop().await;
}

#[tokio::test]
async fn what_is_in_flight_is_finished_before_it_ends() {
    let mut rig = Rig::new();
    rig.add_rule(draft("down")).await;
    rig.start_with(AlerterOptions {
        shutdown_grace: LONG,
        ..Rig::options()
    });
    rig.rules_loaded(1).await;
    rig.engine.decisions_away.store(true, Ordering::SeqCst);
    rig.enqueue(events(10, "link down")).await;
    until("a decision is under way", || decisions(&rig) >= 1).await;
    let engine = rig.engine.clone();
    let heal = async {
        let seen = engine.decisions.load(Ordering::SeqCst);
        until("it is tried again", || {
            engine.decisions.load(Ordering::SeqCst) > seen
        })
        .await;
        engine.decisions_away.store(false, Ordering::SeqCst);
    };
    tokio::join!(rig.stop(), heal);
    let audited = rig.engine.audit_count().await.expect("count");
    let waiting = rig.engine.event_depth().await.expect("depth");
    assert!(audited > 0, "the decision took effect");
    assert_eq!(audited + waiting, 10, "what was not claimed waits");
}

/// The alerter ends while decisions do not come to an end.
async fn returned_at_the_end(hang: bool) {
    let mut rig = Rig::new();
    rig.add_rule(draft("down")).await;
    rig.start_with(AlerterOptions {
        claim_max: 4,
        shutdown_grace: Duration::from_millis(50),
        ..Rig::options()
    });
    rig.rules_loaded(1).await;
    let fault = if hang {
        &rig.engine.decisions_hang
    } else {
        &rig.engine.decisions_away
    };
    fault.store(true, Ordering::SeqCst);
    rig.enqueue(events(10, "link down")).await;
    until("decisions are under way", || decisions(&rig) >= 2).await;
    rig.stop().await;
    assert_eq!(
        rig.engine.event_depth().await.expect("depth"),
        10,
        "everything is back"
    );
    assert_eq!(rig.engine.audit_count().await.expect("count"), 0);

    fault_off(&rig);
    rig.start();
    rig.audited(10).await;
    assert_eq!(rig.engine.alert_depth().await.expect("depth"), 10);
    rig.stop().await;
}

fn fault_off(rig: &Rig) {
    rig.engine.decisions_hang.store(false, Ordering::SeqCst);
    rig.engine.decisions_away.store(false, Ordering::SeqCst);
}

#[tokio::test]
async fn claims_are_returned_where_the_store_stays_away() {
    returned_at_the_end(false).await;
}

#[tokio::test]
async fn claims_are_returned_where_the_store_hangs() {
    returned_at_the_end(true).await;
}

#[tokio::test]
async fn a_claim_that_was_taken_over_is_dropped_and_counted() {
    let mut rig = Rig::new();
    rig.add_rule(draft("down")).await;
    rig.start();
    rig.rules_loaded(1).await;
    rig.engine.decisions_away.store(true, Ordering::SeqCst);
    rig.enqueue([event("h", "link down")]).await;
    until("a decision is under way", || decisions(&rig) >= 1).await;
    // Taken for dead by somebody: the event goes back, and is claimed anew.
    rig.engine
        .retire(WorkerKind::Alerter, "pod-1")
        .await
        .expect("retired");
    rig.engine
        .heartbeat(WorkerKind::Alerter, "pod-1", LONG)
        .await
        .expect("alive");
    rig.engine.decisions_away.store(false, Ordering::SeqCst);
    rig.audited(1).await;
    until("it is counted", || rig.metrics.claims_fenced.get() == 1).await;
    assert_eq!(rig.engine.alert_depth().await.expect("depth"), 1);
    until("the event is counted once", || {
        rig.metrics.handled.get() == 1
    })
    .await;
    rig.stop().await;
}

#[tokio::test]
async fn claims_of_dead_workers_are_recovered() {
    let mut rig = Rig::new();
    rig.add_rule(RuleDraft {
        prod_handling: Handling::LogOnly,
        ..draft("down")
    })
    .await;
    rig.enqueue(events(4, "link down")).await;
    let short = Duration::from_millis(1);
    rig.engine
        .heartbeat(WorkerKind::Alerter, "dead", short)
        .await
        .expect("alive");
    let claim = rig
        .engine
        .claim_events(&"dead".into(), 4, Duration::ZERO)
        .await
        .expect("read");
    assert_eq!(claim.map(|claim| claim.len()), Some(4));
    rig.start();
    rig.audited(4).await;
    until("they are counted", || {
        rig.metrics.claims_recovered.get() == 4
    })
    .await;
    rig.stop().await;
}

#[tokio::test]
async fn what_a_former_life_of_the_pod_held_is_decided() {
    let mut rig = Rig::new();
    rig.add_rule(draft("down")).await;
    rig.enqueue(events(4, "link down")).await;
    rig.engine
        .heartbeat(WorkerKind::Alerter, "pod-1", LONG)
        .await
        .expect("alive");
    let claim = rig
        .engine
        .claim_events(&"pod-1".into(), 4, Duration::ZERO)
        .await
        .expect("read");
    assert_eq!(claim.map(|claim| claim.len()), Some(4));
    rig.start();
    rig.audited(4).await;
    rig.stop().await;
}
