//! Pub/sub that goes on.

use std::time::Duration;

use mutt_redis::{Message, Redis, RedisOptions, redis};
use mutt_testbed::{Proxy, Redis as Server};
use tokio::sync::broadcast::Receiver;
use tokio::time::timeout;

use crate::world::{LONG, connect, options, until};

async fn next(messages: &mut Receiver<Message>) -> Message {
    let received = timeout(LONG, messages.recv()).await;
    received.expect("no message came").unwrap()
}

async fn publish(redis: &Redis, channel: &str, payload: &str) {
    let mut command = redis::cmd("PUBLISH");
    command.arg(channel).arg(payload);
    redis.call::<u64>(&command).await.unwrap();
}

fn published(channel: &str, payload: &str) -> Message {
    Message::Published {
        channel: channel.to_owned(),
        payload: payload.as_bytes().to_vec(),
    }
}

#[tokio::test]
async fn a_subscription_survives_restarts_of_the_server() {
    let server = Server::builder().password("s3cret").start();
    let redis = connect(options(&server)).await;
    let mut messages = redis.subscribe(&["a", "b"]);
    for _ in 0..3 {
        assert_eq!(next(&mut messages).await, Message::Subscribed);
        publish(&redis, "a", "1").await;
        publish(&redis, "elsewhere", "2").await;
        publish(&redis, "b", "\u{0}3").await;
        assert_eq!(next(&mut messages).await, published("a", "1"));
        assert_eq!(next(&mut messages).await, published("b", "\u{0}3"));
        server.kill();
        server.restart();
        redis.ready(LONG).await.unwrap();
    }
}

#[tokio::test]
async fn a_subscription_may_be_made_before_the_server_is_there() {
    let server = Server::start();
    server.terminate();
    let redis = Redis::open(options(&server)).unwrap();
    let mut messages = redis.subscribe(&["a"]);
    server.restart();
    assert_eq!(next(&mut messages).await, Message::Subscribed);
    publish(&redis, "a", "x").await;
    assert_eq!(next(&mut messages).await, published("a", "x"));
}

#[tokio::test]
async fn a_half_open_subscription_is_made_again() {
    let server = Server::start();
    let proxy = Proxy::to_port(server.port());
    let redis = connect(RedisOptions {
        port: proxy.port(),
        response_timeout: Duration::from_millis(700),
        connect_timeout: Duration::from_secs(1),
        ..options(&server)
    })
    .await;
    let mut messages = redis.subscribe(&["a"]);
    assert_eq!(next(&mut messages).await, Message::Subscribed);
    proxy.lose_answers();
    server.command(&["PUBLISH", "a", "lost"]);
    until("the connections are given up", async || {
        proxy.connections() == 0
    })
    .await;
    proxy.thaw();
    assert_eq!(next(&mut messages).await, Message::Subscribed);
    server.command(&["PUBLISH", "a", "seen"]);
    assert_eq!(next(&mut messages).await, published("a", "seen"));
}

#[tokio::test]
async fn the_last_receiver_takes_the_subscription_with_it() {
    let server = Server::start();
    let redis = connect(options(&server)).await;
    let mut messages = redis.subscribe(&["a"]);
    assert_eq!(next(&mut messages).await, Message::Subscribed);
    let subscribers = async || {
        let answer = server.command(&["PUBSUB", "NUMSUB", "a"]);
        answer.lines().last().map(str::to_owned)
    };
    assert_eq!(subscribers().await.as_deref(), Some("1"));
    drop(messages);
    until("nobody listens", async || {
        subscribers().await.as_deref() == Some("0")
    })
    .await;

    // A closed handle ends the others.
    let mut messages = redis.subscribe(&["a"]);
    assert_eq!(next(&mut messages).await, Message::Subscribed);
    redis.close().await;
    let ended = timeout(LONG, messages.recv()).await.unwrap();
    assert!(ended.is_err());
}
