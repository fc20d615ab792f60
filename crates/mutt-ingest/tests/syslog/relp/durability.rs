//! What is acknowledged is durable, in order, and once; what cannot be stored waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mutt_engine::{Dynamic, EventQueue};
use mutt_event::Batch;
use mutt_ingest::{DoorOptions, Listener, RejectReason};
use tokio::io::AsyncWriteExt;

use super::client::{Client, frame};
use crate::support::*;

/// A queue without room, until the limit is raised.
async fn fill(bed: &Bed) {
    bed.engine.set_queue_limit(1);
    let mut batch = Batch::new();
    batch.push(br#"{"hostname":"a","message":"the only one"}"#);
    bed.engine.enqueue(batch).await.unwrap();
}

fn connections(bed: &Bed) -> i64 {
    let metrics = bed.admission.metrics().listener(Listener::Relp);
    metrics.connections.get()
}

/// Whether every message that was read is accounted for.
fn adds_up(bed: &Bed) -> bool {
    let refused: u64 = RejectReason::ALL
        .map(|reason| bed.rejected(Listener::Relp, reason))
        .iter()
        .sum();
    bed.received(Listener::Relp) == bed.accepted(Listener::Relp) + refused
}

#[tokio::test]
async fn a_window_after_the_other_is_acknowledged_in_order() {
    let mut bed = Bed::new();
    let (addr, listener) = bed.relp(|_| {});
    let mut client = Client::open(addr).await;
    for round in 0..20 {
        let from = client.next;
        client
            .messages(128, |number| format!("{round} {number}"))
            .await;
        client.acknowledged(from, 128).await;
        assert_eq!(bed.depth().await, 128 * (round + 1));
    }
    let messages = bed.messages(128 * 20).await;
    let expected =
        (0..20).flat_map(|round| (0..128).map(move |number| format!("{round} {number}")));
    assert!(messages.into_iter().eq(expected));
    bed.stop(listener).await;
}

#[tokio::test]
async fn a_hundred_senders_each_keep_their_order() {
    let mut bed = Bed::new();
    let (addr, listener) = bed.relp(|_| {});
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(Client::open(addr).await);
    }
    for round in 0..10 {
        for (sender, client) in clients.iter_mut().enumerate() {
            client
                .messages(2, |number| format!("{sender} {}", round * 2 + number))
                .await;
        }
    }
    for client in &mut clients {
        client.acknowledged(2, 20).await;
    }
    assert_eq!(connections(&bed), 100);
    let mut next = vec![0; 100];
    for message in bed.messages(2_000).await {
        let (sender, number) = message.split_once(' ').unwrap();
        let sender: usize = sender.parse().unwrap();
        assert_eq!(number, next[sender].to_string(), "sender {sender}");
        next[sender] += 1;
    }
    bed.stop(listener).await;
}

#[tokio::test]
async fn what_the_queue_has_room_for_is_acknowledged_and_the_rest_waits() {
    let mut bed = Bed::new();
    bed.engine.set_queue_limit(10);
    let (addr, listener) = bed.relp(|_| {});
    let mut client = Client::open(addr).await;
    client.messages(50, |number| number.to_string()).await;
    client.acknowledged(2, 10).await;
    eventually("all are read", || bed.received(Listener::Relp) == 50).await;
    assert!(client.has_heard_nothing());
    assert_eq!(bed.depth().await, 10);
    bed.engine.set_queue_limit(1_000);
    client.acknowledged(12, 40).await;
    let expected: Vec<_> = (0..50).map(|number| number.to_string()).collect();
    assert_eq!(bed.messages(50).await, expected);
    bed.stop(listener).await;
    assert_eq!(bed.accepted(Listener::Relp), 50);
    assert!(adds_up(&bed));
}

#[tokio::test]
async fn while_the_queue_is_full_the_sender_is_not_read() {
    let bed = Bed::new();
    fill(&bed).await;
    let (addr, listener) = bed.relp(|options| options.memory = 1);
    let client = Client::open(addr).await;
    let (mut reader, mut writer) = client.stream.into_split();
    // More than the kernel usually holds for the two sockets.
    let count = 8 << 10;
    let written = Arc::new(AtomicU64::new(0));
    let progress = Arc::clone(&written);
    let sender = tokio::spawn(async move {
        let text = format!("<13>{}", "x".repeat(1_000));
        for number in 0..count {
            writer
                .write_all(frame(number + 2, "syslog", &text).as_bytes())
                .await
                .unwrap();
            progress.fetch_add(1, Ordering::Relaxed);
        }
        writer
    });
    eventually("the sender fills its socket", || {
        written.load(Ordering::Relaxed) > 200
    })
    .await;
    // One batch waits, one has formed, and one read is left over.
    let mut before = u64::MAX;
    loop {
        let received = bed.received(Listener::Relp);
        if std::mem::replace(&mut before, received) == received {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!((1..150).contains(&before), "{before} messages were read");
    bed.engine.set_queue_limit(1_000_000);
    let mut last = Vec::new();
    let end = format!("{} rsp 6 200 OK\n", count + 1);
    let mut buffer = vec![0; 64 << 10];
    while !last.ends_with(end.as_bytes()) {
        let read = tokio::io::AsyncReadExt::read(&mut reader, &mut buffer);
        let read = tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap();
        assert!(read > 0, "the server ended the session");
        last.extend_from_slice(&buffer[..read]);
        let keep = last.len().saturating_sub(100);
        last.drain(..keep);
    }
    let writer = sender.await.unwrap();
    assert_eq!(bed.depth().await, u64::from(count) + 1);
    drop((reader, writer));
    bed.stop(listener).await;
}

/// Its sender sends again over its next connection what was not acknowledged: to store it later as
/// well would only make repeats.
#[tokio::test]
async fn what_waits_is_dropped_when_its_sender_is_gone() {
    let bed = Bed::new();
    fill(&bed).await;
    let (addr, listener) = bed.relp(|_| {});
    let mut client = Client::open(addr).await;
    client.messages(20, |number| number.to_string()).await;
    eventually("all are read", || bed.received(Listener::Relp) == 20).await;
    // As librelp does when it waited too long.
    socket2::SockRef::from(&client.stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    eventually("the session ends", || connections(&bed) == 0).await;
    bed.engine.set_queue_limit(1_000);
    bed.stop(listener).await;
    assert_eq!(bed.depth().await, 1);
    assert!(bed.rejected(Listener::Relp, RejectReason::QueueFull) > 0);
    assert!(adds_up(&bed));
}

#[tokio::test]
async fn what_was_received_is_stored_when_its_sender_is_gone() {
    let mut bed = Bed::new();
    let (addr, listener) = bed.relp(|_| {});
    let mut client = Client::open(addr).await;
    client.messages(3, |number| number.to_string()).await;
    client.raw("5 syslog 20 <13>beg").await;
    // It may still listen.
    client.stream.shutdown().await.unwrap();
    client.acknowledged(2, 3).await;
    assert_eq!(client.until_the_end().await, ["0 serverclose"]);
    assert_eq!(bed.messages(3).await, ["0", "1", "2"]);
    bed.stop(listener).await;
    assert_eq!(bed.rejected(Listener::Relp, RejectReason::Incomplete), 1);
    assert!(adds_up(&bed));
}

#[tokio::test]
async fn a_stop_acknowledges_what_was_read_and_says_so() {
    let bed = Bed::new();
    let (addr, listener) = bed.relp(|_| {});
    let mut busy = Client::open(addr).await;
    let mut idle = Client::open(addr).await;
    busy.messages(5_000, |number| number.to_string()).await;
    busy.acknowledged(2, 1).await;
    bed.stop.cancel();
    let mut acknowledged = 1;
    loop {
        match busy.hear().await {
            (0, command, _) => {
                assert_eq!(command, "serverclose");
                break;
            }
            (number, _, text) => {
                acknowledged += 1;
                assert_eq!((number, text.as_str()), (acknowledged + 1, "200 OK"));
            }
        }
    }
    assert_eq!(busy.until_the_end().await, [""; 0]);
    assert_eq!(idle.until_the_end().await, ["0 serverclose"]);
    bed.stop(listener).await;
    // What was read is acknowledged, and what was acknowledged is there.
    assert_eq!(bed.depth().await, u64::from(acknowledged));
    assert_eq!(bed.received(Listener::Relp), u64::from(acknowledged));
}

#[tokio::test]
async fn a_stop_does_not_acknowledge_what_could_not_be_stored() {
    let bed = Bed::new();
    bed.engine.set_queue_limit(4);
    let (addr, listener) = bed.relp(|options| options.grace = Duration::from_millis(50));
    let mut client = Client::open(addr).await;
    client.messages(20, |number| number.to_string()).await;
    client.acknowledged(2, 4).await;
    eventually("all are read", || bed.received(Listener::Relp) == 20).await;
    bed.stop.cancel();
    assert_eq!(client.until_the_end().await, ["0 serverclose"]);
    bed.stop(listener).await;
    assert_eq!(bed.depth().await, 4);
    assert_eq!(bed.accepted(Listener::Relp), 4);
    assert!(adds_up(&bed));
}

/// What is dropped on purpose would come again for ever if it were not acknowledged.
#[tokio::test]
async fn what_a_limit_drops_is_acknowledged_in_its_turn() {
    let (bed, dynamic, door) = Bed::with_door(&DoorOptions::default());
    let (addr, listener) = bed.relp(|_| {});
    let mut client = Client::open(addr).await;
    let limit = [("sender_max_rate", "1"), ("sender_flood_action", "drop")];
    dynamic.send_replace(Arc::new(Dynamic::default().with(limit)));
    // The setting arrives when the door has seen it.
    let dropped = || bed.rejected(Listener::Relp, RejectReason::Flood);
    while dropped() == 0 {
        let from = client.next;
        client.messages(10, |number| number.to_string()).await;
        client.acknowledged(from, 10).await;
    }
    let from = client.next;
    client.messages(100, |number| number.to_string()).await;
    client.acknowledged(from, 100).await;
    bed.stop(listener).await;
    assert_eq!(bed.received(Listener::Relp), u64::from(client.next) - 2);
    assert!(adds_up(&bed));
    door.await.unwrap();
}

#[tokio::test]
async fn who_does_not_read_responses_holds_up_only_himself() {
    let bed = Bed::new();
    let (addr, listener) = bed.relp(|options| options.grace = Duration::from_millis(50));
    let deaf = Client::open(addr).await;
    let (reader, mut writer) = deaf.stream.into_split();
    let sender = tokio::spawn(async move {
        // Ends when the server does.
        for number in 2.. {
            if writer
                .write_all(frame(number, "x", "").as_bytes())
                .await
                .is_err()
            {
                return;
            }
        }
    });
    let mut other = Client::open(addr).await;
    for _ in 0..50 {
        let from = other.next;
        other.messages(10, |number| number.to_string()).await;
        other.acknowledged(from, 10).await;
    }
    drop(other);
    bed.stop(listener).await;
    drop(reader);
    sender.await.unwrap();
    assert_eq!(bed.accepted(Listener::Relp), 500);
}
