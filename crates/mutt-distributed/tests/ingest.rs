//! Events on their way into Redis: lost answers, a spool beside a queue that is full, order.

mod support;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use mutt_distributed::{Distributed, Options, SpoolOptions};
use mutt_engine::EventQueue as _;
use mutt_engine::conformance::sample::{batch, drain, number};
use mutt_engine::conformance::{Fixture as _, PATIENCE, eventually};
use mutt_testbed::Proxy;
use support::{Store, open_with};

const QUEUE: &str = "mutt:ingest_queue";

fn spooling(options: Options, dir: &tempfile::TempDir) -> Options {
    Options {
        spool: Some(SpoolOptions {
            dir: dir.path().to_owned(),
            max_bytes: 64 << 20,
        }),
        ..options
    }
}

/// Options that reach Redis through a proxy.
fn through(proxy: &Proxy, store: &Store) -> Options {
    let mut options = store.options();
    options.redis.port = proxy.port();
    options
}

fn waiting(store: &Store) -> u64 {
    let length = store.redis.command(&["LLEN", QUEUE]);
    length.trim().parse().expect("a number")
}

/// The numbers of the events that wait, the oldest first.
fn queued(store: &Store) -> Vec<u64> {
    let elements = store.redis.command(&["LRANGE", QUEUE, "0", "-1"]);
    let elements = elements.lines().filter(|line| !line.is_empty());
    let mut numbers: Vec<_> = elements.map(|line| number(line.as_bytes())).collect();
    numbers.reverse();
    numbers
}

async fn spool_is_empty(engine: &Distributed) {
    eventually("the spool is drained", async || {
        (engine.spooled().events == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_is_no_refusal() {
    let store = Store::start().await;
    let proxy = Proxy::to_port(store.redis.port());
    let engine = open_with(through(&proxy, &store)).await;
    // From now on Redis knows the script.
    engine.enqueue(batch([0])).await.unwrap();
    proxy.lose_answers();
    let pushing = {
        let engine = Arc::clone(&engine);
        tokio::spawn(async move { engine.enqueue(batch([1, 2])).await })
    };
    eventually("Redis has the events", async || {
        (waiting(&store) == 3).then_some(())
    })
    .await;
    proxy.cut();
    proxy.thaw();
    let answer = pushing.await.expect("no panic");
    answer.expect("the events are in the queue");
    assert_eq!(queued(&store), [0, 1, 2]);
}

/// Several callers do not fit into the queue together, so each is pushed alone. One of these pushes
/// gets no answer in time and goes to the spool: then the next must not go past it.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_past_what_was_spooled() {
    const CALLERS: u64 = 200;
    let store = Store::start().await;
    let proxy = Proxy::to_port(store.redis.port());
    let dir = tempfile::tempdir().unwrap();
    let engine = open_with(spooling(through(&proxy, &store), &dir)).await;
    engine.set_queue_limit(1000);
    proxy.delay(Duration::from_millis(50));
    let mut callers: Vec<_> = (0..CALLERS)
        .map(|caller| engine.enqueue(batch(caller * 10..caller * 10 + 10)))
        .collect();
    for caller in &mut callers {
        // Takes its place in the line.
        assert!(caller.now_or_never().is_none());
    }
    let mut before = 0;
    eventually("callers are pushed one by one", async || {
        let now = waiting(&store);
        let grown = now - std::mem::replace(&mut before, now);
        (now > grown && grown == 10).then_some(())
    })
    .await;
    // Most likely the next request is under way now, and never comes.
    tokio::time::sleep(Duration::from_millis(75)).await;
    proxy.freeze();
    eventually("one of them is spooled", async || {
        (engine.spooled().events > 0).then_some(())
    })
    .await;
    proxy.delay(Duration::ZERO);
    proxy.cut();
    proxy.thaw();
    let mut taken = Vec::new();
    for (number, caller) in (0..CALLERS).zip(callers) {
        if caller.await.is_ok() {
            taken.extend(number * 10..number * 10 + 10);
        }
    }
    engine.set_queue_limit(1_000_000);
    spool_is_empty(&engine).await;
    let queued = queued(&store);
    let first = queued.iter().zip(&taken).find(|(one, other)| one != other);
    assert_eq!((queued.len(), first), (taken.len(), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_drains_into_a_queue_with_a_small_limit() {
    let store = Store::start().await;
    let dir = tempfile::tempdir().unwrap();
    let engine = open_with(spooling(store.options(), &dir)).await;
    engine.set_queue_limit(5);
    store.redis.kill();
    eventually("the loss is noticed", async || {
        (!engine.is_redis_up()).then_some(())
    })
    .await;
    for number in 0..20 {
        engine.enqueue(batch([number])).await.unwrap();
    }
    engine.enqueue(batch(20..40)).await.unwrap();
    store.redis.restart();
    let other = store.open().await;
    let mut numbers = Vec::new();
    eventually("everything came", async || {
        numbers.extend(drain(&*other, "a").await);
        (numbers.len() == 40).then_some(())
    })
    .await;
    assert!(numbers.into_iter().eq(0..40));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_without_an_answer_holds_up_nobody() {
    let store = Store::start().await;
    let proxy = Proxy::to_port(store.redis.port());
    let dir = tempfile::tempdir().unwrap();
    let mut options = spooling(through(&proxy, &store), &dir);
    // Longer than anybody waits here.
    options.redis.response_timeout = 10 * PATIENCE;
    let engine = open_with(options).await;
    proxy.freeze();
    for number in 0..3 {
        // The first comes to the spool when its push took too long; from then on it is drained.
        let taken = tokio::time::timeout(PATIENCE, engine.enqueue(batch([number])));
        taken.await.expect("nobody waits for Redis").unwrap();
    }
    proxy.cut();
    proxy.thaw();
    spool_is_empty(&engine).await;
    assert_eq!(queued(&store), [0, 1, 2]);
}
