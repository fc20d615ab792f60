//! How many events per second the alerter decides and audits on the embedded engine, by the number
//! of workers: from a full queue to the last audit row.
//!
//! `cargo bench -p mutt-alerter --bench pipeline`; a run that finds another load on the machine says
//! nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mutt_alerter::{Alerter, AlerterMetrics, AlerterOptions};
use mutt_engine::embedded::{Embedded, Mode};
use mutt_engine::{Audit as _, Catalog as _, Change, Dynamic, EventQueue as _};
use mutt_event::{Batch, EventId};
use mutt_rules::{Handling, MatchType, RuleDraft};
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const EVENTS: usize = 100_000;
const RULES: usize = 1_000;

fn rule(number: usize) -> RuleDraft {
    RuleDraft {
        match_string: Some(format!("%MNEMO{number:05}-")),
        trap_oid: None,
        syslog_severity: None,
        match_type: MatchType::Contains,
        priority: 100,
        prod_handling: Handling::LogOnly,
        dev_handling: Handling::LogOnly,
        team_assignment: "WAN".to_owned(),
        is_active: true,
        mode: mutt_rules::Mode::Enforce,
        description: None,
    }
}

fn batch(first: usize, count: usize) -> Batch {
    let mut batch = Batch::new();
    for number in first..first + count {
        batch.push(
            format!(
                concat!(
                    r#"{{"timestamp":"2026-11-21T13:00:00.123456Z","hostname":"core-sw-{}","#,
                    r#""message":"%MNEMO{:05}-3: Interface GigabitEthernet0/{}, changed state "#,
                    r#"to down","source":"syslog","source_ip":"10.1.2.{}","syslog_severity":3,"#,
                    r#""_event_id":"{}","_received_at":"2026-11-21T13:00:00.223456Z"}}"#
                ),
                number % 400,
                number * 7919 % RULES,
                number % 48,
                number % 250,
                EventId::new(),
            )
            .as_bytes(),
        );
    }
    batch
}

async fn run(workers: usize) -> f64 {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let engine = Embedded::open(directory.path(), Mode::Server).expect("a fresh store");
    let by = Change {
        by: "bench".to_owned(),
        reason: None,
        correlation_id: None,
    };
    engine
        .add_rules((0..RULES).map(rule).collect(), &by)
        .await
        .expect("rules are good");
    for first in (0..EVENTS).step_by(500) {
        engine
            .enqueue(batch(first, 500))
            .await
            .expect("the queue takes events");
    }
    let options = AlerterOptions {
        workers,
        ..AlerterOptions::default()
    };
    let metrics = AlerterMetrics::register(&mut Registry::default());
    let (_dynamic, dynamic) = watch::channel(Arc::new(Dynamic::default()));
    let alerter = Alerter::new(options, engine.clone(), dynamic, metrics.clone());
    let stop = CancellationToken::new();
    let start = Instant::now();
    let task = tokio::spawn(alerter.run(stop.clone()));
    while metrics.handled.get() < EVENTS as u64 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let rate = EVENTS as f64 / start.elapsed().as_secs_f64();
    let rows = engine.audit_count().await.expect("rows are counted");
    assert_eq!(rows, EVENTS as u64);
    stop.cancel();
    task.await.expect("the alerter ends");
    rate
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    for round in 1..=2 {
        for workers in [1, 2] {
            let rate = runtime.block_on(run(workers));
            println!("round {round}, {workers} workers: {rate:.0} events/s decided and audited");
        }
    }
}
