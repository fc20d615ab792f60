//! The circuit breaker, and the keys that open it.
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod support;

use std::time::Duration;

use mutt_engine::{CircuitState, Dlq};
use mutt_forwarder::health::Condition;
use mutt_forwarder::metrics::CIRCUIT;
use mutt_forwarder::mock::Fault;
use mutt_forwarder::{ForwarderOptions, Shape};

use support::{Bench, Running, eventually, secret};

/// One request at a time, so that the number of requests is exact.
fn one_by_one() -> ForwarderOptions {
    ForwarderOptions {
        concurrency: 1,
        ..Bench::options()
    }
}

fn down() -> [Fault; 1] {
    [Fault {
        status: Some(503),
        ..Fault::default()
    }]
}

async fn state(bench: &Bench) -> CircuitState {
    bench.engine.circuit(CIRCUIT).await.unwrap().state
}

/// The circuit is open and nobody holds an alert.
async fn open(bench: &Bench, running: &Running) {
    eventually("the circuit opens and everything goes back", async || {
        let open = running.health.report().circuit == CircuitState::Open;
        (open && bench.held().await == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_opens_probes_and_closes() {
    let bench = Bench::new(&[
        ("circuit_breaker_threshold", "3"),
        ("circuit_breaker_timeout", "3600"),
    ])
    .await;
    bench.mock.set_faults(down());
    let ids = bench.queue_many(20).await;
    let running = bench.start_with(one_by_one());
    open(&bench, &running).await;
    assert_eq!(
        bench.mock.stats(Duration::from_secs(1)).total,
        3,
        "the threshold, and no more"
    );
    assert_eq!(bench.waiting().await, 20);
    assert_eq!(running.health.report().status, Condition::Degraded);
    assert_eq!(
        running.metric("mutt_circuit_breaker_state{name=\"moogsoft\"}"),
        2
    );

    // Probes go out one at a time and each opens it again.
    bench.set("circuit_breaker_timeout", "1").await;
    let mut received = bench.mock.watch();
    received.wait_for(|&received| received >= 5).await.unwrap();
    bench.mock.set_faults([]);
    bench.delivered(&ids).await;
    assert_eq!(state(&bench).await, CircuitState::Closed);
    let changes = running.metric(
        "mutt_circuit_breaker_state_changes_total{name=\"moogsoft\",from_state=\"half_open\",to_state=\"open\"}",
    );
    assert!(changes >= 1, "{changes}");

    // Nothing was used up by waiting: each request is a row, and none went to the dead letters.
    let mut rows = 0;
    for &id in &ids {
        rows += bench.rows(id).await.len() as u64;
    }
    assert_eq!(rows, bench.mock.stats(Duration::from_secs(1)).total);
    assert!(bench.dead(Dlq::Moog).await.is_empty());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_lets_one_probe_out() {
    let bench = Bench::new(&[
        ("circuit_breaker_threshold", "1"),
        ("circuit_breaker_timeout", "3600"),
    ])
    .await;
    bench.mock.set_faults(down());
    let ids = bench.queue_many(50).await;
    let running = bench.start_with(one_by_one());
    open(&bench, &running).await;
    running.stop().await;
    let before = bench.mock.stats(Duration::from_secs(1)).total;

    // The next pod could send many at once, and the probe takes its time.
    bench.mock.set_faults([Fault {
        delay_ms: 2_000,
        count: Some(1),
        ..Fault::default()
    }]);
    bench.set("circuit_breaker_timeout", "5").await;
    let running = bench.start();
    let mut received = bench.mock.watch();
    received
        .wait_for(|&received| received > before)
        .await
        .unwrap();
    eventually("the probe is answered", async || {
        let stats = bench.mock.stats(Duration::from_secs(1));
        assert!(
            stats.total == before + 1 || stats.delivered > 0,
            "one probe at a time: {stats:?}"
        );
        (stats.delivered > 0).then_some(())
    })
    .await;
    bench.delivered(&ids).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_with_4xx_do_not_open_it() {
    let bench = Bench::new(&[("circuit_breaker_threshold", "2")]).await;
    let refused = |status, contains: &str| Fault {
        status: Some(status),
        contains: Some(contains.to_owned()),
        ..Fault::default()
    };
    bench.mock.set_faults([
        refused(400, "refused"),
        Fault {
            count: Some(10),
            ..refused(429, "limited")
        },
    ]);
    bench.queue(&["refused"; 10]).await;
    let limited = bench.queue(&["limited"; 10]).await;
    let running = bench.start();
    bench.dead_eventually(Dlq::Moog, 10).await;
    bench.delivered(&limited).await;
    assert_eq!(state(&bench).await, CircuitState::Closed);
    let changes = "mutt_circuit_breaker_state_changes_total{name=\"moogsoft\",from_state=\"closed\",to_state=\"open\"}";
    assert_eq!(running.metric(changes), 0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_can_be_switched_off() {
    let bench = Bench::new(&[
        ("circuit_breaker_threshold", "1"),
        ("moog_max_retries", "1000"),
    ])
    .await;
    bench.mock.set_faults([Fault {
        status: Some(500),
        count: Some(40),
        ..Fault::default()
    }]);
    let ids = bench.queue_many(10).await;
    let running = bench.start_with(ForwarderOptions {
        circuit_enabled: false,
        ..Bench::options()
    });
    bench.delivered(&ids).await;
    assert_eq!(bench.engine.circuit(CIRCUIT).await.unwrap().failures, 0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_key_is_tried_and_kept() {
    let bench = Bench::new(&[]).await;
    bench.mock.set_keys(["new"]);
    bench.keys.set(Some(secret("old")), Some(secret("new")));
    let ids = bench.queue_many(200).await;
    let options = Bench::options();
    let concurrency = options.concurrency as u64;
    let running = bench.start_with(options);
    bench.delivered(&ids).await;
    assert_eq!(state(&bench).await, CircuitState::Closed);
    let stats = bench.mock.stats(Duration::from_secs(1));
    assert!(
        stats.by_status[&401] <= 2 * concurrency,
        "the old key is not asked for ever: {stats:?}"
    );
    for id in ids {
        let rows = bench.rows(id).await;
        assert_eq!(
            (rows.len(), rows[0].attempt, rows[0].status),
            (1, 1, Some(200))
        );
    }
    // The successor becomes the key.
    bench.keys.set(Some(secret("new")), None);
    let more = bench.queue_many(5).await;
    bench.delivered(&more).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_opens_it_and_costs_nothing_and_a_right_one_closes_it() {
    for (shape, status) in [(Shape::RestLam, 401), (Shape::EventsApi, 403)] {
        let bench = Bench::new(&[("circuit_breaker_timeout", "3600")]).await;
        bench.configure(|options| options.shape = shape);
        bench.mock.set_keys(["right"]);
        if status == 403 {
            bench.mock.set_faults([Fault {
                status: Some(403),
                count: Some(2),
                ..Fault::default()
            }]);
        }
        bench
            .keys
            .set(Some(secret("wrong")), Some(secret("wrong too")));
        let ids = bench.queue_many(3).await;
        let running = bench.start_with(one_by_one());
        open(&bench, &running).await;
        assert_eq!(bench.waiting().await, 3);
        assert_eq!(
            bench.mock.stats(Duration::from_secs(1)).total,
            2,
            "each key once"
        );
        assert!(
            bench.dead(Dlq::Moog).await.is_empty(),
            "nothing is dead for a wrong key"
        );
        let report = running.health.report();
        assert!(report.wrong_key && report.detail.unwrap().contains("MOOG_API_KEY"));

        bench.keys.set(Some(secret("right")), None);
        bench.delivered(&ids).await;
        for id in ids {
            assert_eq!(
                bench.rows(id).await.len(),
                1,
                "no attempt was counted before"
            );
        }
        assert!(!running.health.report().wrong_key);
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_address_or_shape_is_taken_while_the_sink_fails() {
    let bench = Bench::new(&[
        ("circuit_breaker_threshold", "2"),
        ("circuit_breaker_timeout", "3600"),
    ])
    .await;
    // Nobody listens here any more.
    let gone = mutt_forwarder::MockMoog::start("127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    bench.configure(|options| options.url = Some(gone.url()));
    gone.set_faults(down());
    let ids = bench.queue_many(5).await;
    let running = bench.start_with(one_by_one());
    open(&bench, &running).await;
    drop(gone);
    bench.configure(|options| {
        options.url = Some(bench.mock.url());
        options.shape = Shape::EventsApi;
    });
    bench.delivered(&ids).await;
    assert!(
        bench.mock.received(1)[0].body.starts_with('['),
        "the new shape"
    );
    running.stop().await;
}
