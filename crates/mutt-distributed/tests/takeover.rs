//! Claims that nobody ends: owners that come late, a Redis that forgot, servers that are away.

mod support;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mutt_distributed::{Distributed, Options};
use mutt_engine::conformance::sample::{
    LONG, SHORT, alert, alert_numbers, alerted, batch, claim, claim_alerts, element, queue_alerts,
    worker,
};
use mutt_engine::conformance::{Fixture as _, eventually};
use mutt_engine::{
    AlertQueue as _, Attempt, ClaimedAlert, Dlq, Engine, Limit, Permit, Reason, Settlement,
    WorkerKind, Workers as _,
};
use mutt_event::Batch;
use mutt_testbed::Proxy;
use support::{Store, open_with};

const QUEUE: &str = "mutt:ingest_queue";
const ALERTS: &str = "mutt:alert_queue";

fn dead(alert: &ClaimedAlert) -> Attempt {
    Attempt {
        alert: alert.clone(),
        settlement: Settlement::Dead {
            reason: Reason::Refused,
            detail: "400".to_owned(),
        },
        log: None,
    }
}

/// Takes an alert over from a pod without heartbeat and delivers it.
async fn deliver_instead(engine: &dyn Engine) {
    eventually("the alert is taken over", async || {
        let recovered = engine.recover().await.expect("recovering works");
        (recovered == 1).then_some(())
    })
    .await;
    let taken = claim_alerts(engine, "heir", 10).await;
    assert_eq!(taken.len(), 1);
    let delivered = Attempt {
        alert: taken[0].clone(),
        settlement: Settlement::Delivered,
        log: None,
    };
    let settled = engine.settle_alerts(vec![delivered]).await;
    assert_eq!(settled.expect("settling works"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_claimed_while_connecting_is_fenced_like_everybody() {
    let store = Store::start().await;
    let engine = store.open().await;
    queue_alerts(&*engine, 0..1).await;
    let proxy = Proxy::to_port(store.redis.port());
    proxy.freeze();
    let mut options: Options = store.options();
    options.redis.port = proxy.port();
    let late = Distributed::open(options).unwrap();
    let claiming = {
        let late = Arc::clone(&late);
        tokio::spawn(async move { late.claim_alerts(&worker("late"), 10, LONG).await })
    };
    // The claim waits for this connection, over which nothing comes yet.
    eventually("a connection is being made", async || {
        (proxy.accepted() > 0).then_some(())
    })
    .await;
    proxy.thaw();
    let claimed = claiming.await.unwrap().unwrap();
    assert_eq!(alert_numbers(&claimed), [0]);
    deliver_instead(&*engine).await;
    assert_eq!(
        late.settle_alerts(vec![dead(&claimed[0])]).await.unwrap(),
        0
    );
    assert_eq!(engine.dlq_depth(Dlq::Moog).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_claimed_just_after_redis_forgot_everything_is_fenced() {
    let store = Store::start().await;
    let (engine, late) = (store.open().await, store.open().await);
    let alert = alert(&element(7));
    // Numbers of claims are at hand from now on.
    assert!(claim_alerts(&*late, "late", 1).await.is_empty());
    let alert = String::from_utf8(alert.element).unwrap();
    store.redis.command(&["FLUSHALL"]);
    store.redis.command(&["LPUSH", ALERTS, &alert]);
    let claimed = late.claim_alerts(&worker("late"), 10, LONG).await.unwrap();
    assert_eq!(alert_numbers(&claimed), [7]);
    eventually("the engines noticed", async || {
        (store.redis.command(&["EXISTS", "mutt:epoch"]).trim() == "1").then_some(())
    })
    .await;
    deliver_instead(&*engine).await;
    assert_eq!(
        late.settle_alerts(vec![dead(&claimed[0])]).await.unwrap(),
        0
    );
    assert_eq!(engine.dlq_depth(Dlq::Moog).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_could_not_be_shed_return() {
    let store = Store::start().await;
    let engine = store.open().await;
    engine
        .heartbeat(WorkerKind::Alerter, "check", LONG)
        .await
        .unwrap();
    engine.enqueue(batch(0..3)).await.unwrap();
    // Nothing can be pushed to what is no list.
    let dlq = Dlq::Alerter.key();
    store.redis.command(&["SET", dlq, "x"]);
    engine.shed_events(10).await.unwrap_err();
    store.redis.command(&["DEL", dlq]);
    eventually("the events are back", async || {
        (engine.event_depth().await.unwrap() == 3).then_some(())
    })
    .await;
}

/// Redis forgot its last moments (a fail-over, or a machine that died with `appendfsync everysec`):
/// a claim is there again that its owner knows to be ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_came_back_after_its_end_is_ended_again() {
    let store = Store::start().await;
    let engine = store.open().await;
    engine.enqueue(batch(0..2)).await.unwrap();
    let claim = claim(&*engine, "a", 10).await;
    let claims = "mutt:claims:alerter:a";
    let held = format!("mutt:processing:alerter:a:{}", claim.id);
    for (key, copy) in [(claims, "copy:claims"), (&held, "copy:held")] {
        store.redis.command(&["COPY", key, copy]);
    }
    engine.decide(alerted(claim)).await.unwrap();
    store.redis.command(&["DEL", ALERTS]);
    for (key, copy) in [(claims, "copy:claims"), (&held, "copy:held")] {
        store.redis.command(&["RENAME", copy, key]);
    }
    engine
        .heartbeat(WorkerKind::Alerter, "a", LONG)
        .await
        .unwrap();
    eventually("events or alerts are there again", async || {
        let events = engine.event_depth().await.unwrap();
        let alerts = engine.alert_depth().await.unwrap();
        (events + alerts == 2).then_some(())
    })
    .await;
    assert_eq!(store.redis.command(&["EXISTS", claims]).trim(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_that_are_equal_wait_each_for_its_retry() {
    let store = Store::start().await;
    let engine = store.open().await;
    // As other programs push them, without an id of the event.
    let alert = r#"{"hostname":"h","team_assignment":"N","severity":"Warning","message_body":"m","raw_json":{}}"#;
    store.redis.command(&["LPUSH", ALERTS, alert, alert]);
    let claimed = claim_alerts(&*engine, "m", 10).await;
    let later = Timestamp::now() + LONG;
    let attempts = claimed
        .into_iter()
        .map(|alert| Attempt {
            alert,
            settlement: Settlement::RetryAt(later),
            log: None,
        })
        .collect();
    assert_eq!(engine.settle_alerts(attempts).await.unwrap(), 2);
    assert_eq!(engine.alert_depth().await.unwrap(), 2);
}

/// Redis reads no more of a queue into its memory than a claim can hold.
#[tokio::test(flavor = "multi_thread")]
async fn large_elements_do_not_fill_the_memory_of_redis() {
    const SIZE: usize = 8 << 20;
    let store = Store::start().await;
    let engine = store.open().await;
    let large = vec![b'x'; SIZE];
    for _ in 0..16 {
        let mut batch = Batch::new();
        batch.push(&large);
        engine.enqueue(batch).await.unwrap();
    }
    let memory = |field: &str| -> usize {
        let info = store.redis.command(&["INFO", "memory"]);
        let value = info
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.unwrap().trim().parse().unwrap()
    };
    let before = memory("used_memory_peak");
    let claim = claim(&*engine, "a", 1000).await;
    assert!(claim.len() < 4);
    let after = memory("used_memory_peak");
    assert!(
        after < before + 8 * SIZE,
        "the peak rose from {before} to {after}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_of_the_dead_do_not_wait_for_postgresql() {
    let store = Store::start().await;
    let engine = store.open().await;
    queue_alerts(&*engine, 0..1).await;
    let mut options = store.options();
    let proxy = Proxy::to_port(options.postgres.hosts[0].1);
    options.postgres.hosts[0].1 = proxy.port();
    let janitor = open_with(options).await;
    engine
        .heartbeat(WorkerKind::Moog, "dead", SHORT)
        .await
        .unwrap();
    let alerts = engine.claim_alerts(&worker("dead"), 10, LONG).await;
    assert_eq!(alerts.unwrap().len(), 1);
    // Made last, so taken over first.
    engine.enqueue(batch(0..1)).await.unwrap();
    let events = engine.claim_events(&worker("dead"), 10, LONG).await;
    assert_eq!(events.unwrap().unwrap().len(), 1);
    proxy.refuse();
    proxy.cut();
    eventually("the alert is back", async || {
        let _ = janitor.recover().await;
        (engine.alert_depth().await.unwrap() == 1).then_some(())
    })
    .await;
    proxy.accept();
    eventually("the event is back", async || {
        let _ = janitor.recover().await;
        (engine.event_depth().await.unwrap() == 1).then_some(())
    })
    .await;
    assert_eq!(store.redis.command(&["LLEN", QUEUE]).trim(), "1");
}

/// Opens an engine on a Redis that takes nothing in.
async fn open_full(store: &Store) -> Arc<dyn Engine> {
    let engine = Distributed::open(store.options()).expect("usable");
    eventually("Redis is connected", async || {
        engine.is_redis_up().then_some(())
    })
    .await;
    engine
}

/// What is to make room in a Redis that is full must not need room itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_is_worked_off() {
    let store = Store::start().await;
    let engine = store.open().await;
    queue_alerts(&*engine, 0..3).await;
    engine.enqueue(batch(3..5)).await.unwrap();
    store.redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    engine.enqueue(batch(5..6)).await.unwrap_err();
    // Also for a process that starts only now.
    let engine = open_full(&store).await;
    let events = claim(&*engine, "a", 1).await;
    engine.decide(alerted(events)).await.unwrap();
    let events = claim(&*engine, "a", 1).await;
    engine.return_events(events).await.unwrap();
    assert_eq!(engine.recover().await.unwrap(), 0);
    let limit = Limit {
        count: 10,
        period: Duration::from_millis(1),
    };
    eventually("a permit is granted", async || {
        let permit = engine.take_permits("moog", limit, 1).await.unwrap();
        matches!(permit, Permit::Granted(1)).then_some(())
    })
    .await;
    engine.heartbeat(WorkerKind::Moog, "m", LONG).await.unwrap();
    let alerts = engine.claim_alerts(&worker("m"), 2, LONG).await.unwrap();
    let later = Timestamp::now() + LONG;
    let attempts = alerts
        .into_iter()
        .zip([Settlement::Delivered, Settlement::RetryAt(later)])
        .map(|(alert, settlement)| Attempt {
            alert,
            settlement,
            log: None,
        })
        .collect();
    assert_eq!(engine.settle_alerts(attempts).await.unwrap(), 2);
}
