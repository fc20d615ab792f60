//! Calls, scripts, errors, inspection.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use mutt_redis::{Redis, RedisError, RedisOptions, Script, Sentinel, State, redis};
use mutt_testbed::{AppendFsync, Redis as Server};
use tokio::task::{JoinSet, spawn_blocking};

use crate::world::{LONG, connect, incr, options, passwords, run_id, until, until_state};

static ADD: LazyLock<Script> =
    LazyLock::new(|| Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])"));

#[tokio::test(flavor = "multi_thread")]
async fn every_caller_gets_its_own_answer() {
    let server = Server::start();
    let redis = connect(options(&server)).await;
    let mut callers = JoinSet::new();
    for caller in 0..50_u32 {
        let redis = redis.clone();
        callers.spawn(async move {
            for call in 0..20_u32 {
                let text = format!("{caller}/{call}");
                // One in some answers is big.
                let sent = text.repeat(if call % 7 == 0 { 50_000 } else { 1 });
                let mut echo = redis::cmd("ECHO");
                echo.arg(&sent);
                assert!(redis.call::<String>(&echo).await.unwrap() == sent);
            }
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test]
async fn a_script_is_loaded_where_the_server_does_not_know_it() {
    let server = Server::start();
    let redis = connect(options(&server)).await;
    let mut call = ADD.call(&["sum"]);
    call.arg(2);
    assert_eq!(redis.run::<u64>(&ADD, &call).await.unwrap(), 2);
    server.command(&["SCRIPT", "FLUSH"]);
    assert_eq!(redis.run::<u64>(&ADD, &call).await.unwrap(), 4);
    server.command(&["SCRIPT", "FLUSH"]);
    let wait = Duration::from_millis(1);
    let replicated = redis.run_replicated::<u64>(&ADD, &call, 1, wait).await;
    assert_eq!(replicated.unwrap(), (6, 0), "there is no replica");
}

#[tokio::test]
async fn a_replicated_script_says_how_many_replicas_have_it() {
    let primary = Server::start();
    let _replica = Server::builder().replica_of(&primary).start();
    let redis = connect(options(&primary)).await;
    let mut call = ADD.call(&["sum"]);
    call.arg(5);
    let wait = Duration::from_secs(8);
    let replicated = redis.run_replicated::<u64>(&ADD, &call, 1, wait).await;
    assert_eq!(replicated.unwrap(), (5, 1));
}

#[tokio::test]
async fn the_servers_no_is_told_in_its_words() {
    let server = Server::start();
    let redis = connect(options(&server)).await;
    let mut set = redis::cmd("SET");
    set.arg("text").arg("x");
    redis.call::<()>(&set).await.unwrap();

    let error = redis.call::<u64>(&redis::Cmd::lpush("text", 1)).await;
    let error = error.unwrap_err();
    assert_eq!(error.code(), Some("WRONGTYPE"), "{error}");
    assert!(
        error
            .to_string()
            .contains(&format!("127.0.0.1:{}", server.port())),
        "{error}"
    );

    let error = redis
        .call::<u64>(&redis::Cmd::get("text"))
        .await
        .unwrap_err();
    assert!(matches!(error, RedisError::Unexpected { .. }), "{error}");

    let mut pipeline = redis::pipe();
    pipeline.incr("text", 1).ignore();
    let error = redis.pipe::<()>(&pipeline).await.unwrap_err();
    assert_eq!(error.code(), Some("ERR"), "{error}");

    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let error = redis.call::<()>(&set).await.unwrap_err();
    assert_eq!(error.code(), Some("OOM"), "{error}");

    // None of this harmed the connection.
    assert!(matches!(*redis.state().borrow(), State::Connected { .. }));
}

#[tokio::test]
async fn a_server_that_is_busy_with_a_script_is_waited_for() {
    let server = Arc::new(Server::start());
    server.command(&["CONFIG", "SET", "busy-reply-threshold", "10"]);
    let redis = connect(options(&server)).await;
    let state = redis.state();
    let looping = {
        let server = Arc::clone(&server);
        spawn_blocking(move || server.try_command(&["EVAL", "while true do end", "0"]))
    };
    until("the script is noticed", async || {
        let answer = redis.call::<u64>(&incr("n")).await;
        answer.is_err_and(|error| error.is_unavailable() && error.to_string().contains("BUSY"))
    })
    .await;
    server.command(&["SCRIPT", "KILL"]);
    looping.await.unwrap().unwrap_err();
    redis.call::<u64>(&incr("n")).await.unwrap();
    assert!(!state.has_changed().unwrap(), "the connection is the same");
}

#[tokio::test]
async fn the_connection_has_its_name_and_no_delay() {
    let server = Server::start();
    let redis = connect(RedisOptions {
        client_name: "mutt alerter/1".to_owned(),
        db: 3,
        ..options(&server)
    })
    .await;
    redis.call::<u64>(&incr("here")).await.unwrap();
    let clients = server.command(&["CLIENT", "LIST"]);
    assert!(clients.contains("name=mutt-alerter/1 "), "{clients}");
    assert!(clients.contains("db=3"), "{clients}");
}

#[tokio::test]
async fn closing_lets_calls_end_and_takes_no_more() {
    let server = Server::start();
    let redis = connect(options(&server)).await;
    let blocked = {
        let redis = redis.clone();
        let mut pop = redis::cmd("BLPOP");
        pop.arg("later").arg(0);
        tokio::spawn(async move { redis.call::<(String, String)>(&pop).await })
    };
    until("the call is under way", async || {
        server.command(&["CLIENT", "LIST"]).contains("cmd=blpop")
    })
    .await;
    let closing = {
        let redis = redis.clone();
        tokio::spawn(async move { redis.close().await })
    };
    until_state(&redis, |state| *state == State::Closed).await;
    let error = redis.call::<u64>(&incr("n")).await.unwrap_err();
    assert!(
        error.to_string().contains("closed by this program"),
        "{error}"
    );
    assert!(redis.ready(LONG).await.is_err());
    server.command(&["RPUSH", "later", "x"]);
    assert_eq!(blocked.await.unwrap().unwrap().1, "x");
    closing.await.unwrap();
    until("the connections are closed", async || {
        !server.command(&["CLIENT", "LIST"]).contains("name=mutt")
    })
    .await;
}

#[tokio::test]
async fn the_last_handle_takes_the_connections_with_it() {
    let server = Server::start();
    let redis = connect(options(&server)).await;
    let other = redis.clone();
    drop(redis);
    other.call::<u64>(&incr("n")).await.unwrap();
    drop(other);
    until("the connections are closed", async || {
        !server.command(&["CLIENT", "LIST"]).contains("name=mutt")
    })
    .await;
}

#[tokio::test]
async fn options_that_cannot_be_used_are_refused_at_once() {
    let base = || RedisOptions::new("127.0.0.1", 6379);
    let sentinel = |address: &str| Sentinel {
        addresses: vec![address.to_owned()],
        master: "mymaster".to_owned(),
    };
    for (options, part) in [
        (RedisOptions { port: 0, ..base() }, "port"),
        (RedisOptions { db: -1, ..base() }, "database"),
        (
            RedisOptions {
                response_timeout: Duration::ZERO,
                ..base()
            },
            "time-outs",
        ),
        (
            RedisOptions {
                sentinel: Some(sentinel("nowhere")),
                ..base()
            },
            "`nowhere` is not host:port",
        ),
        (
            RedisOptions {
                tls: true,
                tls_ca_cert: Some("/does/not/exist.pem".into()),
                ..base()
            },
            "/does/not/exist.pem",
        ),
    ] {
        let error = Redis::open(options).unwrap_err();
        assert!(matches!(error, RedisError::Invalid(_)));
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test]
async fn inspection_of_a_safe_server_finds_no_danger() {
    let server = Server::builder().appendfsync(AppendFsync::EverySec).start();
    let redis = connect(options(&server)).await;
    let inspection = redis.inspect().await.unwrap();
    assert_eq!(inspection.dangers(), Vec::<String>::new(), "{inspection:?}");
    assert_eq!(inspection.run_id, run_id(&redis));
    assert_eq!(inspection.role, "master");
    assert_eq!(inspection.appendfsync.as_deref(), Some("everysec"));
    assert!(inspection.aof_enabled && inspection.aof_last_write_ok);
    assert!(inspection.used_memory > 0 && inspection.connected_clients > 0);
    assert!(!inspection.aof_rewritten_since_start);
    server.command(&["BGREWRITEAOF"]);
    until("the rewrite is seen", async || {
        redis.inspect().await.unwrap().aof_rewritten_since_start
    })
    .await;
}

#[tokio::test]
async fn inspection_finds_what_would_lose_events() {
    let server = Server::builder()
        .no_aof()
        .maxmemory(50_000_000)
        .maxmemory_policy("allkeys-lru")
        .start();
    let redis = connect(options(&server)).await;
    let dangers = redis.inspect().await.unwrap().dangers();
    let has = |part: &str| dangers.iter().any(|danger| danger.contains(part));
    assert!(has("AOF is off"), "{dangers:?}");
    assert!(has("allkeys-lru may drop queues at 47 MiB"), "{dangers:?}");
    server.command(&["CONFIG", "SET", "maxmemory-policy", "volatile-ttl"]);
    server.command(&["CONFIG", "SET", "appendfsync", "no"]);
    let dangers = redis.inspect().await.unwrap().dangers().join("\n");
    assert!(
        dangers.contains("volatile-ttl may drop heartbeats"),
        "{dangers}"
    );
    assert!(dangers.contains("appendfsync is no"), "{dangers}");
}

#[tokio::test]
async fn a_user_without_rights_of_administration_works() {
    let server = Server::start();
    server.command(&[
        "ACL",
        "SETUSER",
        "mutt",
        "on",
        ">s3cret",
        "~mutt:*",
        "&*",
        "+@all",
        "-@admin",
        "-@dangerous",
    ]);
    let redis = connect(RedisOptions {
        username: Some("mutt".to_owned()),
        passwords: passwords(&["s3cret"]).1,
        response_timeout: Duration::from_millis(400),
        ..options(&server)
    })
    .await;
    assert_eq!(run_id(&redis), "", "INFO is forbidden");
    redis.call::<u64>(&incr("mutt:n")).await.unwrap();
    let error = redis.call::<u64>(&incr("other")).await.unwrap_err();
    assert_eq!(error.code(), Some("NOPERM"), "{error}");
    let error = redis.inspect().await.unwrap_err();
    assert_eq!(error.code(), Some("NOPERM"), "{error}");
    // The probes are answered with a no as well, which is an answer.
    until("it was probed some times", async || {
        let stats = server.command(&["INFO", "commandstats"]);
        let rejected: HashMap<&str, &str> = stats
            .lines()
            .filter_map(|line| line.trim().split_once(':'))
            .collect();
        rejected.get("cmdstat_role").is_some_and(|role| {
            let count = role
                .split("rejected_calls=")
                .nth(1)
                .and_then(|rest| rest.split(',').next());
            count.and_then(|count| count.parse::<u32>().ok()) >= Some(4)
        })
    })
    .await;
    assert!(matches!(*redis.state().borrow(), State::Connected { .. }));
}
