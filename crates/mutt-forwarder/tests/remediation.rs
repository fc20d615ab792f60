//! Dead letters go round again once the sink is well, and not before.
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod support;

use std::time::Duration;

use mutt_engine::{CircuitPolicy, Dlq, Reason};
use mutt_forwarder::metrics::CIRCUIT;
use mutt_forwarder::mock::Fault;
use mutt_forwarder::{Remediation, RemediationMetrics, RemediationOptions};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use support::{Bench, eventually};

fn remediation(bench: &Bench) -> Remediation {
    Remediation::new(
        bench.engine.clone(),
        bench.sink.clone(),
        bench.dynamic.clone(),
        RemediationOptions {
            batch: 7,
            backoff: Duration::ZERO,
            circuit_enabled: true,
        },
        RemediationMetrics::register(&mut Registry::default()),
    )
}

fn down() -> [Fault; 1] {
    [Fault {
        status: Some(503),
        ..Fault::default()
    }]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_heals_by_itself() {
    let bench = Bench::new(&[("moog_max_retries", "0")]).await;
    bench.mock.set_faults(down());
    let ids = bench.queue_many(30).await;
    let running = bench.start();
    bench.dead_eventually(Dlq::Moog, 30).await;
    bench.mock.set_faults([]);
    let scan = remediation(&bench).scan().await;
    assert_eq!((scan.held_back, scan.replayed, scan.poison), (None, 30, 0));
    bench.delivered(&ids).await;
    assert!(bench.dead(Dlq::Moog).await.is_empty());
    let stats = bench.mock.stats(Duration::from_secs(1));
    assert_eq!((stats.unique, stats.repeats), (30, 0));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_keeps_failing_is_poison() {
    let bench = Bench::new(&[("moog_max_retries", "0"), ("remediation_max_retries", "2")]).await;
    bench.mock.set_faults(down());
    bench.queue(&["one"]).await;
    let running = bench.start();
    let remediation = remediation(&bench);
    eventually("it is poison", async || {
        remediation.scan().await;
        (bench.dead(Dlq::Dead).await.len() == 1).then_some(())
    })
    .await;
    let entry = &bench.dead(Dlq::Dead).await[0];
    assert_eq!((entry.origin, entry.replays), (Dlq::Moog, 2));
    assert_eq!(
        bench.mock.stats(Duration::from_secs(1)).total,
        3,
        "once, and two replays"
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_refused_is_not_replayed() {
    let bench = Bench::new(&[]).await;
    bench.mock.set_faults([Fault {
        status: Some(422),
        ..Fault::default()
    }]);
    bench.queue(&["one"]).await;
    let running = bench.start();
    bench.dead_eventually(Dlq::Moog, 1).await;
    let scan = remediation(&bench).scan().await;
    assert_eq!((scan.replayed, scan.poison), (0, 1));
    assert_eq!(bench.dead(Dlq::Dead).await[0].reason, Reason::Refused);
    assert_eq!(bench.mock.stats(Duration::from_secs(1)).total, 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_moves_while_the_sink_is_not_well() {
    let bench = Bench::new(&[
        ("moog_max_retries", "0"),
        ("circuit_breaker_timeout", "3600"),
    ])
    .await;
    bench.mock.set_faults(down());
    bench.queue(&["one"]).await;
    let running = bench.start();
    bench.dead_eventually(Dlq::Moog, 1).await;
    running.stop().await;
    let remediation = remediation(&bench);
    let sent = bench.mock.stats(Duration::from_secs(1)).total;

    bench.configure(|options| {
        options.health_url = Some(format!("http://{}/health", bench.mock.local_addr()));
    });
    bench.mock.set_health(503);
    let held = remediation.scan().await.held_back.unwrap();
    assert!(held.starts_with("MOOG_HEALTH_URL answers 503"), "{held}");

    bench.mock.set_health(200);
    bench.engine.circuit_open(CIRCUIT).await.unwrap();
    assert_eq!(
        remediation.scan().await.held_back.as_deref(),
        Some("the circuit is open")
    );
    bench.engine.circuit_success(CIRCUIT).await.unwrap();
    let policy = CircuitPolicy {
        threshold: 1,
        timeout: Duration::from_hours(1),
    };
    bench.engine.circuit_failure(CIRCUIT, policy).await.unwrap();
    assert!(remediation.scan().await.held_back.is_some());
    bench.engine.circuit_success(CIRCUIT).await.unwrap();

    bench.configure(|options| options.url = None);
    let held = remediation.scan().await.held_back.unwrap();
    assert!(held.contains("MOOG_WEBHOOK_URL"), "{held}");

    assert_eq!(bench.dead(Dlq::Moog).await.len(), 1);
    assert_eq!(bench.waiting().await, 0);
    let stats = bench.mock.stats(Duration::from_secs(1));
    assert_eq!(
        stats.total, sent,
        "no event was made up to see whether the sink is well"
    );

    bench.configure(|options| options.url = Some(bench.mock.url()));
    assert_eq!(remediation.scan().await.replayed, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shed_events_go_back_to_the_ingest_queue() {
    let bench = Bench::new(&[]).await;
    let mut batch = mutt_event::Batch::new();
    for number in 0..20 {
        batch.push(format!(r#"{{"hostname":"r1","message":"m {number}"}}"#).as_bytes());
    }
    bench.engine.enqueue(batch).await.unwrap();
    assert_eq!(bench.engine.shed_events(100).await.unwrap(), 20);
    assert_eq!(bench.engine.event_depth().await.unwrap(), 0);
    assert_eq!(remediation(&bench).scan().await.replayed, 20);
    assert_eq!(bench.engine.event_depth().await.unwrap(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_interval_holds_at_once() {
    let bench = Bench::new(&[
        ("moog_max_retries", "0"),
        ("remediation_scan_interval", "86400"),
    ])
    .await;
    bench.mock.set_faults(down());
    let ids = bench.queue(&["one"]).await;
    let running = bench.start();
    bench.dead_eventually(Dlq::Moog, 1).await;
    bench.mock.set_faults([]);
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(remediation(&bench).run(shutdown.clone()));
    bench.set("remediation_scan_interval", "1").await;
    bench.delivered(&ids).await;
    shutdown.cancel();
    task.await.unwrap();
    running.stop().await;
}
