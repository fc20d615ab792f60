//! Start order, kills, frozen servers, lost answers.

use std::time::Duration;

use mutt_redis::{Redis, RedisError, RedisOptions, State};
use mutt_testbed::{Proxy, Redis as Server};

use crate::world::{LONG, Load, connect, failure, incr, options, run_id, until, until_state};

fn connected(state: &State) -> bool {
    matches!(state, State::Connected { .. })
}

fn connecting(state: &State) -> bool {
    matches!(state, State::Connecting(_))
}

#[tokio::test]
async fn the_server_may_come_after_the_client() {
    let server = Server::start();
    server.terminate();
    let redis = Redis::open(options(&server)).unwrap();
    let why = failure(&redis).await;
    let address = format!("127.0.0.1:{}", server.port());
    assert!(why.contains(&address) && why.contains("refused"), "{why}");
    let error = redis.call::<u64>(&incr("n")).await.unwrap_err();
    assert!(error.is_unavailable() && error.to_string().contains(&address));
    let error = redis.ready(Duration::from_millis(10)).await.unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
    server.restart();
    redis.ready(LONG).await.unwrap();
    assert_eq!(redis.call::<u64>(&incr("n")).await.unwrap(), 1);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_told() {
    let redis = Redis::open(RedisOptions::new("redis.invalid", 6379)).unwrap();
    let why = failure(&redis).await;
    assert!(why.contains("`redis.invalid` does not resolve"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_servers_come_back_and_no_acknowledged_call_is_lost() {
    let server = Server::start();
    let redis = connect(options(&server)).await;
    let load = Load::start(&redis, 6);
    for _ in 0..3 {
        load.more(50).await;
        let before = run_id(&redis);
        server.kill();
        until_state(&redis, connecting).await;
        server.restart();
        until_state(
            &redis,
            |state| matches!(state, State::Connected { run_id, .. } if *run_id != before),
        )
        .await;
        load.more(50).await;
    }
    assert_eq!(redis.losses(), 3);
    let (acknowledged, errors) = load.stop().await;
    let counted: u64 = redis.call(&mutt_redis::Cmd::get("load")).await.unwrap();
    assert!(counted >= acknowledged, "{counted} of {acknowledged}");
    for error in &errors {
        assert!(matches!(error, RedisError::Unavailable { .. }), "{error}");
    }
    // Only calls whose answer was lost may count without acknowledgement.
    assert!(counted - acknowledged <= errors.len() as u64);
}

/// Both a frozen process and a cut network: connections stay, answers do not come.
async fn freeze_and_thaw(server: &Server, redis: Redis, freeze: impl Fn(), thaw: impl Fn()) {
    // With calls under way: all of them end.
    let load = Load::start(&redis, 6);
    load.more(50).await;
    freeze();
    until("calls fail", async || load.errors() >= 6).await;
    until_state(&redis, connecting).await;
    let why = failure(&redis).await;
    assert!(
        why.contains("no answer") || why.contains("no connection"),
        "{why}"
    );
    thaw();
    load.more(50).await;
    let (acknowledged, errors) = load.stop().await;
    assert!(errors.iter().all(RedisError::is_unavailable));
    let counted: u64 = redis.call(&mutt_redis::Cmd::get("load")).await.unwrap();
    assert!(counted >= acknowledged);

    // Without any call: it is noticed all the same.
    freeze();
    until_state(&redis, connecting).await;
    thaw();
    until_state(&redis, connected).await;
    redis.call::<u64>(&incr("n")).await.unwrap();
    assert!(server.pid().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_is_found_and_used_again() {
    let server = Server::start();
    let redis = connect(RedisOptions {
        response_timeout: Duration::from_millis(700),
        connect_timeout: Duration::from_secs(1),
        ..options(&server)
    })
    .await;
    freeze_and_thaw(&server, redis, || server.pause(), || server.resume()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_network_is_found_and_used_again() {
    let server = Server::start();
    let proxy = Proxy::to_port(server.port());
    let redis = connect(RedisOptions {
        port: proxy.port(),
        response_timeout: Duration::from_millis(700),
        connect_timeout: Duration::from_secs(1),
        ..options(&server)
    })
    .await;
    freeze_and_thaw(&server, redis, || proxy.freeze(), || proxy.thaw()).await;
}

#[tokio::test]
async fn one_time_out_ends_all_calls_under_way() {
    let server = Server::start();
    let proxy = Proxy::to_port(server.port());
    let redis = connect(RedisOptions {
        port: proxy.port(),
        // The probe that finds the freeze is far shorter than the later calls' time-out.
        response_timeout: Duration::from_secs(20),
        ..options(&server)
    })
    .await;
    proxy.lose_answers();
    let calls = (0..20).map(|n| {
        let redis = redis.clone();
        tokio::spawn(async move { redis.call::<u64>(&incr(&format!("key:{n}"))).await })
    });
    let calls: Vec<_> = calls.collect();
    until("all calls reached the server", async || {
        server.command(&["DBSIZE"]) == "20"
    })
    .await;
    // The connection breaks long before any call's time-out.
    proxy.cut();
    for call in calls {
        let error = call.await.unwrap().unwrap_err();
        assert!(error.is_unavailable(), "{error}");
    }
    proxy.thaw();
    redis.ready(LONG).await.unwrap();
    // What was lost was the answer: the effect is there.
    assert_eq!(redis.call::<u64>(&incr("key:7")).await.unwrap(), 2);
}

#[tokio::test]
async fn a_primary_that_becomes_a_replica_is_left() {
    let other = Server::start();
    let server = Server::start();
    let redis = connect(options(&server)).await;
    let port = other.port().to_string();
    server.command(&["REPLICAOF", "127.0.0.1", &port]);
    until("a write is not taken", async || {
        redis.call::<u64>(&incr("n")).await.is_err()
    })
    .await;
    let mut state = redis.state();
    let why = state
        .wait_for(
            |state| matches!(state, State::Connecting(Some(why)) if why.contains("replica of")),
        )
        .await
        .unwrap()
        .clone();
    assert!(
        matches!(&why, State::Connecting(Some(why)) if why.contains(&format!("127.0.0.1:{port}"))),
        "{why:?}"
    );
    server.command(&["REPLICAOF", "NO", "ONE"]);
    redis.ready(LONG).await.unwrap();
    redis.call::<u64>(&incr("n")).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_no_redis_is_told() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            use tokio::io::AsyncWriteExt as _;
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n").await;
        }
    });
    let mut options = RedisOptions::new("127.0.0.1", port);
    options.passwords = crate::world::passwords(&["s3cret"]).1;
    let why = failure(&Redis::open(options).unwrap()).await;
    assert!(why.contains("not a Redis server"), "{why}");
}
