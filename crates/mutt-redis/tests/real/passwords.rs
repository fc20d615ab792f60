//! Log-in, and passwords that change at full load.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mutt_redis::{Redis, RedisOptions, State, redis};
use mutt_testbed::Redis as Server;

use crate::world::{LONG, Load, connect, failure, incr, options, passwords, until, until_state};

/// The numbers of the client's connections.
fn connections(server: &Server) -> Vec<u64> {
    let list = server.command(&["CLIENT", "LIST"]);
    let number = |line: &str| line.strip_prefix("id=")?.split(' ').next()?.parse().ok();
    list.lines()
        .filter(|line| line.contains("name=mutt "))
        .filter_map(number)
        .collect()
}

/// Waits until all connections are younger than those.
async fn until_renewed(server: &Server, before: &[u64]) {
    let newest = before.iter().max().copied().unwrap_or(0);
    until("all connections are new", async || {
        let now = connections(server);
        !now.is_empty() && now.iter().all(|number| *number > newest)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_changes_at_full_load_without_a_failed_call() {
    let server = Server::builder().password("first").start();
    let (list, give) = passwords(&["first"]);
    let redis = connect(RedisOptions {
        passwords: give,
        ..options(&server)
    })
    .await;
    let load = Load::start(&redis, 8);
    let mut current = "first".to_owned();
    for round in 0..5 {
        let next = format!("next-{round}");
        let before = connections(&server);
        load.more(20).await;
        // The client learns of the next password before or after the server, by turns.
        if round % 2 == 0 {
            *list.lock() = vec![current.clone(), next.clone()];
            redis.renew();
            load.more(20).await;
            server.set_password(&next);
        } else {
            server.set_password(&next);
            load.more(20).await;
            *list.lock() = vec![current.clone(), next.clone()];
        }
        redis.renew();
        until_renewed(&server, &before).await;
        *list.lock() = vec![next.clone()];
        current = next;
        load.more(20).await;
    }
    let (acknowledged, errors) = load.stop().await;
    assert!(errors.is_empty(), "{errors:?}");
    let counted: u64 = redis.call(&redis::Cmd::get("load")).await.unwrap();
    assert_eq!(counted, acknowledged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_two_passwords_moves_from_one_to_the_other() {
    let server = Server::start();
    let user = |change: &str| {
        server.command(&["ACL", "SETUSER", "mutt", "on", "~*", "&*", "+@all", change]);
    };
    user(">old");
    let (list, give) = passwords(&["old"]);
    let redis = connect(RedisOptions {
        username: Some("mutt".to_owned()),
        passwords: give,
        ..options(&server)
    })
    .await;
    let load = Load::start(&redis, 8);
    load.more(50).await;
    user(">new");
    let before = connections(&server);
    *list.lock() = vec!["new".to_owned()];
    redis.renew();
    until_renewed(&server, &before).await;
    user("<old");
    load.more(50).await;
    let (_, errors) = load.stop().await;
    assert!(errors.is_empty(), "{errors:?}");
    // Without the connection at hand the new password has to do.
    server.command(&["CLIENT", "KILL", "USER", "mutt"]);
    until("it is back", async || {
        redis.call::<u64>(&incr("n")).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_that_the_server_does_not_take_yet_leave_the_connection_alone() {
    let server = Server::builder().password("old").start();
    let (list, give) = passwords(&["old"]);
    let redis = connect(RedisOptions {
        passwords: give,
        ..options(&server)
    })
    .await;
    let load = Load::start(&redis, 4);
    let before = connections(&server);
    *list.lock() = vec!["new".to_owned()];
    redis.renew();
    let denied = async || {
        let stats = server.command(&["INFO", "errorstats"]);
        stats.contains("errorstat_WRONGPASS")
    };
    until("the new password was tried", denied).await;
    load.more(100).await;
    server.set_password("new");
    // Nobody has to call `renew` again.
    until_renewed(&server, &before).await;
    let (_, errors) = load.stop().await;
    assert!(errors.is_empty(), "{errors:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_logged_out_logs_in_again_without_a_failed_call() {
    let server = Server::builder().password("secret").start();
    let redis = connect(options(&server)).await;
    let load = Load::start(&redis, 8);
    for _ in 0..3 {
        load.more(100).await;
        redis.call::<()>(&redis::cmd("RESET")).await.unwrap();
    }
    load.more(100).await;
    let (acknowledged, errors) = load.stop().await;
    assert!(errors.is_empty(), "{errors:?}");
    let counted: u64 = redis.call(&redis::Cmd::get("load")).await.unwrap();
    assert_eq!(counted, acknowledged);
}

#[tokio::test]
async fn a_wrong_password_is_told_without_showing_it() {
    let server = Server::builder().password("right-one").start();
    let (list, give) = passwords(&["wrong-one", "wrong-two"]);
    let refusals = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&refusals);
    let redis = Redis::open(RedisOptions {
        passwords: give,
        on_refused: Some(Arc::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        })),
        ..options(&server)
    })
    .unwrap();
    let why = failure(&redis).await;
    assert!(
        refusals.load(Ordering::Relaxed) > 0,
        "whoever knows better has to be told"
    );
    assert!(
        why.contains("log-in of user `default` with each of the 2 passwords: WRONGPASS"),
        "{why}"
    );
    let error = redis.call::<u64>(&incr("n")).await.unwrap_err().to_string();
    assert!(
        error.contains(&format!("127.0.0.1:{}", server.port())),
        "{error}"
    );
    let shown = format!("{error} {why} {redis:?}");
    assert!(
        !shown.contains("wrong-") && !shown.contains("right-"),
        "{shown}"
    );

    // Put right, it needs nothing else.
    *list.lock() = vec!["wrong-one".to_owned(), "right-one".to_owned()];
    redis.ready(LONG).await.unwrap();
    redis.call::<u64>(&incr("n")).await.unwrap();
    let before = refusals.load(Ordering::Relaxed);
    let seen = connections(&server);
    redis.renew();
    until_renewed(&server, &seen).await;
    let after = refusals.load(Ordering::Relaxed);
    assert_eq!(after, before, "one of two is as it should be in a rotation");
}

#[tokio::test]
async fn a_missing_password_and_one_too_many_are_told() {
    let server = Server::builder().password("right").start();
    let redis = Redis::open(RedisOptions::new("127.0.0.1", server.port())).unwrap();
    let why = failure(&redis).await;
    assert!(why.contains("NOAUTH"), "{why}");

    let server = Server::start();
    let mut options = options(&server);
    options.passwords = passwords(&["not-needed"]).1;
    let redis = Redis::open(options).unwrap();
    let why = failure(&redis).await;
    assert!(why.contains("without any password configured"), "{why}");
    assert!(!why.contains("not-needed"), "{why}");
}

#[tokio::test]
async fn a_server_that_cannot_take_more_clients_is_told() {
    let server = Server::start();
    server.command(&["CONFIG", "SET", "maxclients", "1"]);
    let redis = Redis::open(RedisOptions {
        connect_timeout: Duration::from_secs(2),
        ..options(&server)
    })
    .unwrap();
    let why = failure(&redis).await;
    assert!(why.contains("max number of clients"), "{why}");
    server.command(&["CONFIG", "SET", "maxclients", "100"]);
    until_state(&redis, |state| matches!(state, State::Connected { .. })).await;
}
