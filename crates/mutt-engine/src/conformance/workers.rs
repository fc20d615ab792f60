//! Who is taken for dead loses what it held, and nobody else does.

use std::time::Duration;

use super::sample::{
    LONG, SHORT, alert_numbers, audited, batch, claim, claim_alerts, drain, numbers, queue_alerts,
    worker,
};
use super::{Fixture, PATIENCE, eventually};
use crate::{Dlq, Engine, ProcessReport, WorkerKind};

/// Waits until none of the workers' heartbeats is alive.
async fn dead(engine: &dyn Engine, pods: &[&str]) {
    eventually("the heartbeats end", async || {
        let status = engine.status().await.expect("status");
        let alive = status
            .workers
            .iter()
            .any(|worker| pods.contains(&worker.pod.as_str()));
        (!alive).then_some(())
    })
    .await;
}

async fn claim_as(engine: &dyn Engine, name: &str, max: usize) -> Vec<u64> {
    let claim = engine
        .claim_events(&worker(name), max, Duration::ZERO)
        .await
        .expect("read");
    numbers(&claim.expect("events are there"))
}

/// Events of several claims of several dead workers return before what waits, oldest first.
pub async fn a_dead_workers_events_return_oldest_first(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    engine.enqueue(batch(0..5)).await.expect("taken");
    engine.enqueue(batch(5..12)).await.expect("taken");
    for pod in ["a", "b"] {
        engine
            .heartbeat(WorkerKind::Alerter, pod, SHORT)
            .await
            .expect("taken");
    }
    assert_eq!(claim_as(&*engine, "a", 3).await, [0, 1, 2]);
    assert_eq!(claim_as(&*engine, "b", 3).await, [3, 4, 5]);
    assert_eq!(claim_as(&*engine, "a", 3).await, [6, 7, 8]);
    dead(&*engine, &["a", "b"]).await;
    assert_eq!(engine.recover().await.expect("recovered"), 9);
    assert_eq!(engine.event_depth().await.expect("depth"), 12);
    assert_eq!(drain(&*engine, "c").await, (0..12).collect::<Vec<_>>());
}

/// The same for alerts.
pub async fn a_dead_workers_alerts_return_oldest_first(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    queue_alerts(&*engine, 0..6).await;
    for pod in ["a", "b"] {
        engine
            .heartbeat(WorkerKind::Moog, pod, SHORT)
            .await
            .expect("taken");
    }
    for (pod, expected) in [("a", [0, 1]), ("b", [2, 3])] {
        let alerts = engine
            .claim_alerts(&worker(pod), 2, Duration::ZERO)
            .await
            .expect("read");
        assert_eq!(alert_numbers(&alerts), expected);
    }
    dead(&*engine, &["a", "b"]).await;
    assert_eq!(engine.recover().await.expect("recovered"), 4);
    assert_eq!(engine.alert_depth().await.expect("depth"), 6);
    let alerts = claim_alerts(&*engine, "c", 10).await;
    assert_eq!(alert_numbers(&alerts), [0, 1, 2, 3, 4, 5]);
}

/// A worker whose heartbeat is alive keeps its claims, and can settle them.
pub async fn a_live_worker_keeps_what_it_holds(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    engine.enqueue(batch(0..4)).await.expect("taken");
    let live = claim(&*engine, "live", 2).await;
    engine
        .heartbeat(WorkerKind::Alerter, "renewed", SHORT)
        .await
        .expect("taken");
    engine
        .heartbeat(WorkerKind::Alerter, "renewed", LONG)
        .await
        .expect("taken");
    let renewed = engine
        .claim_events(&worker("renewed"), 1, Duration::ZERO)
        .await
        .expect("read")
        .expect("an event is there");
    engine
        .heartbeat(WorkerKind::Alerter, "dead", SHORT)
        .await
        .expect("taken");
    assert_eq!(claim_as(&*engine, "dead", 1).await, [3]);
    dead(&*engine, &["dead"]).await;
    assert_eq!(engine.recover().await.expect("recovered"), 1);
    assert_eq!(drain(&*engine, "heir").await, [3]);
    engine
        .decide(audited(live))
        .await
        .expect("the live worker decides");
    engine
        .decide(audited(renewed))
        .await
        .expect("the renewed worker decides");
    assert_eq!(engine.audit_count().await.expect("count"), 3);
}

/// A pod may die as alerter and live as forwarder.
pub async fn stages_die_separately(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    queue_alerts(&*engine, 0..2).await;
    engine.enqueue(batch(10..12)).await.expect("taken");
    engine
        .heartbeat(WorkerKind::Alerter, "pod", SHORT)
        .await
        .expect("taken");
    let alerts = claim_alerts(&*engine, "pod", 2).await;
    assert_eq!(claim_as(&*engine, "pod", 2).await, [10, 11]);
    eventually("the alerter's events return", async || {
        (engine.recover().await.expect("recovered") == 2).then_some(())
    })
    .await;
    assert_eq!(engine.event_depth().await.expect("depth"), 2);
    assert_eq!(
        engine.alert_depth().await.expect("depth"),
        0,
        "the forwarder is alive"
    );
    assert_eq!(alerts.len(), 2);
}

/// A worker that ends in order leaves nothing claimed and no heartbeat; others keep what is theirs.
pub async fn retiring_returns_everything(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    queue_alerts(&*engine, 0..3).await;
    engine.enqueue(batch(8..16)).await.expect("taken");
    let others = claim(&*engine, "other", 2).await;
    assert_eq!(numbers(&others), [8, 9]);
    assert_eq!(numbers(&claim(&*engine, "pod", 2).await), [10, 11]);
    assert_eq!(numbers(&claim(&*engine, "pod", 2).await), [12, 13]);
    assert_eq!(claim_alerts(&*engine, "pod", 2).await.len(), 2);
    engine
        .retire(WorkerKind::Alerter, "pod")
        .await
        .expect("retired");
    assert_eq!(engine.event_depth().await.expect("depth"), 6);
    assert_eq!(
        engine.alert_depth().await.expect("depth"),
        1,
        "that is the other stage"
    );
    engine
        .retire(WorkerKind::Moog, "pod")
        .await
        .expect("retired");
    assert_eq!(engine.alert_depth().await.expect("depth"), 3);
    engine
        .decide(audited(others))
        .await
        .expect("the other worker decides");
    let status = engine.status().await.expect("status");
    assert!(
        status.workers.iter().all(|worker| worker.pod != "pod"),
        "{:?}",
        status.workers
    );
    assert_eq!(drain(&*engine, "heir").await, (10..16).collect::<Vec<_>>());
    assert_eq!(
        alert_numbers(&claim_alerts(&*engine, "heir", 10).await),
        [0, 1, 2]
    );
    engine
        .retire(WorkerKind::Alerter, "nobody")
        .await
        .expect("retiring nobody is no error");
}

/// Several pods that recover at once return every element once.
pub async fn recovery_happens_once(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    engine.enqueue(batch(0..20)).await.expect("taken");
    engine
        .heartbeat(WorkerKind::Alerter, "a", SHORT)
        .await
        .expect("taken");
    assert_eq!(claim_as(&*engine, "a", 15).await.len(), 15);
    dead(&*engine, &["a"]).await;
    let pods: Vec<_> = (0..5)
        .map(|_| {
            let engine = engine.clone();
            tokio::spawn(async move { engine.recover().await })
        })
        .collect();
    let mut returned = 0;
    for pod in pods {
        returned += pod.await.expect("no panic").expect("recovered");
    }
    assert_eq!(returned, 15);
    assert_eq!(engine.recover().await.expect("recovered"), 0);
    assert_eq!(drain(&*engine, "b").await, (0..20).collect::<Vec<_>>());
}

/// Depths, claims and heartbeats show in the status, and the store is ready.
pub async fn status_shows_queues_and_workers(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    engine
        .ready()
        .await
        .expect("the store can be read and written");
    queue_alerts(&*engine, 0..2).await;
    engine.enqueue(batch(0..5)).await.expect("taken");
    claim(&*engine, "pod-1", 3).await;
    claim_alerts(&*engine, "pod-2", 1).await;
    let status = engine.status().await.expect("status");
    let queue = |name: &str| {
        let queue = status.queues.iter().find(|queue| queue.name == name);
        queue.unwrap_or_else(|| panic!("{name} is missing: {status:?}"))
    };
    let ingest = queue("mutt:ingest_queue");
    assert_eq!((ingest.depth, ingest.claimed), (2, 3));
    assert!(ingest.oldest.is_some());
    let alerts = queue("mutt:alert_queue");
    assert_eq!((alerts.depth, alerts.claimed), (1, 1));
    for dlq in Dlq::ALL {
        assert_eq!(queue(dlq.key()).depth, 0);
    }
    let held = |kind, pod: &str| {
        let worker = status
            .workers
            .iter()
            .find(|worker| worker.kind == kind && worker.pod == pod);
        worker
            .unwrap_or_else(|| panic!("{pod} is missing: {status:?}"))
            .held
    };
    assert_eq!(held(WorkerKind::Alerter, "pod-1"), 3);
    assert_eq!(held(WorkerKind::Moog, "pod-2"), 1);
    assert!(!status.engine.is_empty());
}

/// After an orderly end everything is there at the next start.
pub async fn closing_in_order_loses_nothing(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    queue_alerts(&*engine, 0..3).await;
    engine.enqueue(batch(10..15)).await.expect("taken");
    engine.close().await;
    assert!(
        engine.enqueue(batch([99])).await.is_err(),
        "a closed engine takes nothing"
    );
    drop(engine);
    let engine = fixture.open().await;
    assert_eq!(engine.audit_count().await.expect("count"), 3);
    assert_eq!(
        alert_numbers(&claim_alerts(&*engine, "m", 10).await),
        [0, 1, 2]
    );
    assert_eq!(drain(&*engine, "a").await, (10..15).collect::<Vec<_>>());
}

/// What a process tells about itself is shown, the latest only, until its lifetime is over.
pub async fn reports_are_shown_for_their_lifetime(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    assert_eq!(engine.reports().await.expect("reports"), []);
    let mut report = ProcessReport {
        pod: "pod-1".to_owned(),
        roles: vec!["alerter".to_owned()],
        version: "3.0.0".to_owned(),
        busy_hosts: vec![("router1".to_owned(), 3)],
        ..ProcessReport::default()
    };
    for handled in [1, 2] {
        report.counts.handled = handled;
        let told = engine.report(&report, PATIENCE).await;
        told.expect("taken");
    }
    let reports = engine.reports().await.expect("reports");
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert_eq!(reports[0].report, report);
    assert!(reports[0].age < PATIENCE, "{reports:?}");
    let told = engine.report(&report, SHORT).await;
    told.expect("taken");
    eventually("the report ends", async || {
        let reports = engine.reports().await.expect("reports");
        reports.is_empty().then_some(())
    })
    .await;
}

/// Each store is named once, with how long it took to answer.
pub async fn every_store_is_looked_at(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    engine.ready().await.expect("ready");
    let stores = engine.stores().await;
    let names: std::collections::HashSet<_> = stores.iter().map(|store| store.name).collect();
    assert!(
        !stores.is_empty() && names.len() == stores.len(),
        "{stores:?}"
    );
    for store in &stores {
        assert_eq!(store.error, None, "{stores:?}");
        assert!(store.latency > Duration::ZERO, "{stores:?}");
    }
}
