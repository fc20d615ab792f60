//! A Redis that may lose what it acknowledged is not used, unless that is allowed by name.

mod support;

use mutt_distributed::{Distributed, Options};
use mutt_engine::conformance::eventually;
use mutt_engine::conformance::sample::{batch, drain};
use mutt_engine::{EngineError, EventQueue as _, Workers as _};
use mutt_testbed::{Redis, RedisBuilder};
use support::Store;

async fn store_on(redis: RedisBuilder) -> Store {
    let mut store = Store::start().await;
    store.redis = redis.start();
    store
}

async fn is_refused(store: &Store, why: &str) {
    let engine = Distributed::open(store.options()).expect("the options can be used");
    eventually("Redis was looked at", async || {
        matches!(engine.ready().await, Err(EngineError::Unusable(text)) if text.contains(why))
            .then_some(())
    })
    .await;
    let taken = engine.enqueue(batch([1])).await;
    assert!(taken.is_err(), "{taken:?}");
    let waiting = store.redis.command(&["LLEN", "mutt:ingest_queue"]);
    assert_eq!(waiting.trim(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_without_aof_is_refused() {
    let store = store_on(Redis::builder().no_aof()).await;
    is_refused(&store, "AOF is off").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_may_evict_is_refused() {
    let store = store_on(Redis::builder().maxmemory_policy("allkeys-lru")).await;
    is_refused(&store, "allkeys-lru").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_allowed_by_name_is_used() {
    let store = store_on(Redis::builder().no_aof()).await;
    let engine = Distributed::open(Options {
        allow_unsafe: true,
        ..store.options()
    })
    .unwrap();
    eventually("Redis is used", async || engine.ready().await.ok()).await;
    engine.enqueue(batch(0..3)).await.unwrap();
    assert_eq!(drain(&*engine, "a").await, [0, 1, 2]);
}

/// Somebody mends it while MUTT waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_was_mended_is_used() {
    let store = store_on(Redis::builder().no_aof()).await;
    let engine = Distributed::open(store.options()).unwrap();
    eventually("Redis was looked at", async || {
        matches!(engine.ready().await, Err(EngineError::Unusable(_))).then_some(())
    })
    .await;
    store.redis.command(&["CONFIG", "SET", "appendonly", "yes"]);
    eventually("Redis is used", async || engine.ready().await.ok()).await;
}
