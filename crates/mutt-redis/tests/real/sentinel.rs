//! Failover by Sentinels.

use std::time::Duration;

use mutt_redis::{Message, Redis, RedisError, RedisOptions, Sentinel as Sentinels, State};
use mutt_testbed::{Redis as Server, Sentinel};

use crate::world::{LONG, Load, connect, failure, incr, options, until, until_state};

fn by_sentinels(server: &Server, sentinels: &[Sentinel]) -> RedisOptions {
    RedisOptions {
        host: String::new(),
        port: 0,
        sentinel: Some(Sentinels {
            addresses: sentinels
                .iter()
                .map(|sentinel| format!("{}:{}", sentinel.host(), sentinel.port()))
                .collect(),
            master: sentinels[0].master_name().to_owned(),
        }),
        response_timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(2),
        ..options(server)
    }
}

fn connected_to(server: &Server) -> impl Fn(&State) -> bool {
    let expected = format!("127.0.0.1:{}", server.port());
    move |state| matches!(state, State::Connected { address, .. } if *address == expected)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_primary_is_replaced_under_load() {
    let primary = Server::builder().password("s3cret").start();
    let replica = Server::builder()
        .replica_of(&primary)
        .password("s3cret")
        .start();
    let sentinels = [
        Sentinel::start(&primary, 2, 500),
        Sentinel::start(&primary, 2, 500),
        Sentinel::start(&primary, 2, 500),
    ];
    let redis = connect(by_sentinels(&primary, &sentinels)).await;
    assert!(connected_to(&primary)(&redis.state().borrow()));
    let mut messages = redis.subscribe(&["a"]);
    assert_eq!(messages.recv().await.unwrap(), Message::Subscribed);
    let load = Load::start(&redis, 6);
    load.more(50).await;
    primary.kill();
    until_state(&redis, connected_to(&replica)).await;
    load.more(50).await;
    assert_eq!(messages.recv().await.unwrap(), Message::Subscribed);
    let (_, errors) = load.stop().await;
    for error in &errors {
        assert!(matches!(error, RedisError::Unavailable { .. }), "{error}");
    }

    // The old primary comes back as a replica and is left alone.
    primary.restart();
    until("it is a replica", async || {
        primary.command(&["ROLE"]).starts_with("slave")
    })
    .await;
    assert!(connected_to(&replica)(&redis.state().borrow()));
    redis.call::<u64>(&incr("n")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_primary_is_left_before_its_calls_time_out() {
    let primary = Server::start();
    let replica = Server::builder().replica_of(&primary).start();
    let sentinels = [Sentinel::start(&primary, 1, 500)];
    // Time-outs play no part here: they are longer than the test may take.
    let redis = connect(RedisOptions {
        response_timeout: LONG * 5,
        ..by_sentinels(&primary, &sentinels)
    })
    .await;
    let load = Load::start(&redis, 4);
    load.more(20).await;
    primary.pause();
    until_state(&redis, connected_to(&replica)).await;
    load.more(20).await;
    let (_, errors) = load.stop().await;
    assert!(!errors.is_empty(), "calls to the frozen server failed");
    let named = errors
        .iter()
        .any(|error| error.to_string().contains("the Sentinels name"));
    assert!(named, "{errors:?}");
    primary.resume();
}

#[tokio::test]
async fn one_sentinel_of_three_is_enough_to_find_the_primary() {
    let primary = Server::start();
    let _replica = Server::builder().replica_of(&primary).start();
    let sentinels = [
        Sentinel::start(&primary, 2, 60_000),
        Sentinel::start(&primary, 2, 60_000),
        Sentinel::start(&primary, 2, 60_000),
    ];
    sentinels[0].kill();
    sentinels[1].pause();
    let redis = connect(by_sentinels(&primary, &sentinels)).await;
    redis.call::<u64>(&incr("n")).await.unwrap();

    // Without any of them what is connected stays connected; a new client says who did not answer.
    sentinels[2].kill();
    let other = Redis::open(by_sentinels(&primary, &sentinels)).unwrap();
    let why = failure(&other).await;
    for sentinel in [&sentinels[0], &sentinels[2]] {
        let refused = format!("127.0.0.1:{}: connect to", sentinel.port());
        assert!(why.contains(&refused), "{why}");
    }
    assert!(why.contains("no Sentinel names a primary `"), "{why}");
    redis.call::<u64>(&incr("n")).await.unwrap();
    sentinels[2].restart();
    other.ready(LONG).await.unwrap();
    sentinels[1].resume();
}

#[tokio::test]
async fn a_primary_that_the_sentinels_do_not_know_is_told() {
    let primary = Server::start();
    let _replica = Server::builder().replica_of(&primary).start();
    let sentinels = [Sentinel::start(&primary, 1, 60_000)];
    let mut options = by_sentinels(&primary, &sentinels);
    if let Some(sentinel) = &mut options.sentinel {
        sentinel.master = "other".to_owned();
    }
    let why = failure(&Redis::open(options).unwrap()).await;
    assert!(why.contains("it knows no primary `other`"), "{why}");
}
