//! The rate limit, measured where it matters: at the sink.
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod support;

use std::time::Duration;

use mutt_forwarder::ForwarderOptions;
use mutt_forwarder::mock::{Fault, RateLimit};

use support::{Bench, eventually};

const PERIOD: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_window_holds_more_than_the_limit_whatever_fails() {
    let bench = Bench::new(&[
        ("moog_rate_limit", "40"),
        ("moog_rate_period", "1"),
        ("moog_max_retries", "1000"),
    ])
    .await;
    bench.mock.set_faults([
        Fault {
            status: Some(503),
            share: Some(0.15),
            ..Fault::default()
        },
        Fault {
            reset: true,
            share: Some(0.1),
            ..Fault::default()
        },
        Fault {
            delay_ms: 150,
            share: Some(0.3),
            ..Fault::default()
        },
    ]);
    let ids = bench.queue_many(150).await;
    let running = bench.start();
    bench.delivered(&ids).await;
    let stats = bench.mock.stats(PERIOD);
    assert!(stats.most_in_window <= 40, "{stats:?}");
    assert!(stats.most_in_window >= 20, "the limit is used: {stats:?}");
    assert!(running.metric("mutt_moog_rate_limit_hits_total") >= 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_limits_at_the_same_rate_never_has_to() {
    let bench = Bench::new(&[("moog_rate_limit", "30"), ("moog_rate_period", "1")]).await;
    let rate_limit = Some(RateLimit {
        count: 30,
        period: 1.0,
    });
    bench.mock.set_faults([Fault {
        rate_limit,
        ..Fault::default()
    }]);
    let ids = bench.queue_many(100).await;
    let running = bench.start();
    bench.delivered(&ids).await;
    let stats = bench.mock.stats(PERIOD);
    assert_eq!(stats.by_status.get(&429), None, "{stats:?}");
    for id in ids {
        assert_eq!(bench.rows(id).await.len(), 1, "waiting is no attempt");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_share_the_limit() {
    let bench = Bench::new(&[("moog_rate_limit", "30"), ("moog_rate_period", "1")]).await;
    let ids = bench.queue_many(90).await;
    let one = bench.start();
    let other = bench.start_with(ForwarderOptions {
        pod: "pod-2".into(),
        ..Bench::options()
    });
    bench.delivered(&ids).await;
    // The window at the sink is measured a little shorter: pods do not see each other's requests
    // on their way, and this machine may be slow.
    let stats = bench.mock.stats(PERIOD * 3 / 4);
    assert!(stats.most_in_window <= 30, "{stats:?}");
    assert_eq!(stats.repeats, 0);
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_limit_holds_at_once() {
    let bench = Bench::new(&[("moog_rate_limit", "1"), ("moog_rate_period", "3600")]).await;
    let ids = bench.queue_many(50).await;
    let running = bench.start();
    eventually("sending waits", async || {
        (running.metric("mutt_moog_rate_limit_hits_total") >= 1).then_some(())
    })
    .await;
    bench.set("moog_rate_limit", "1000").await;
    bench.delivered(&ids).await;
    running.stop().await;
}
