//! Datagrams.

use std::time::Duration;

use mutt_engine::EventQueue;
use mutt_ingest::syslog_udp::{SyslogUdp, SyslogUdpOptions};
use mutt_ingest::{Listener, RejectReason};
use tokio::net::UdpSocket;

use super::support::*;

#[tokio::test]
async fn a_datagram_is_an_event_with_its_sender_and_time() {
    let mut bed = Bed::new();
    let (addr, listener) = bed.udp(|_| {});
    let sender = UdpSocket::bind(LOCAL).await.unwrap();
    let text = b"<165>1 2026-10-11T22:14:15.003Z web01 app 12 ID47 - link down on eth0";
    sender.send_to(text, addr).await.unwrap();
    sender.send_to(b"no syslog at all\n", addr).await.unwrap();

    let events = bed.events(2).await;
    assert_eq!(events[0]["hostname"], "web01");
    assert_eq!(events[0]["message"], "link down on eth0");
    assert_eq!(events[0]["syslog_severity"], 5);
    assert_eq!(events[0]["source"], "syslog");
    assert_eq!(events[0]["source_ip"], "127.0.0.1");
    for field in ["_event_id", "_received_at", "_correlation_id"] {
        assert!(
            events[0][field]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{field}"
        );
    }
    // What cannot be parsed is still an event, of the peer's address.
    assert_eq!(events[1]["hostname"], "127.0.0.1");
    assert_eq!(events[1]["message"], "no syslog at all");
    assert_eq!(events[1]["syslog_severity"], 5);
    assert_ne!(events[0]["_event_id"], events[1]["_event_id"]);
    bed.stop(listener).await;
    assert_eq!(bed.received(Listener::SyslogUdp), 2);
    assert_eq!(bed.accepted(Listener::SyslogUdp), 2);
}

#[tokio::test]
async fn several_udp_sockets_and_senders_lose_nothing() {
    let mut bed = Bed::new();
    let (addr, listener) = bed.udp(|options| options.sockets = 2);
    let mut expected = Vec::new();
    for sender in 0..8 {
        let socket = UdpSocket::bind(LOCAL).await.unwrap();
        for number in 0..50 {
            let message = format!("sender {sender} number {number}");
            socket
                .send_to(format!("<13>{message}").as_bytes(), addr)
                .await
                .unwrap();
            expected.push(message);
        }
    }
    let mut messages = bed.messages(expected.len()).await;
    messages.sort();
    expected.sort();
    assert_eq!(messages, expected);
    bed.stop(listener).await;
}

#[tokio::test]
async fn a_datagram_that_is_too_long_is_cut_and_an_empty_one_is_an_event_too() {
    let mut bed = Bed::new();
    let (addr, listener) = bed.udp(|options| options.max_line = 500);
    let sender = UdpSocket::bind(LOCAL).await.unwrap();
    for text in [
        "",
        &format!("<13>Oct 11 22:14:15 h p: {}", "x".repeat(3_000)),
        "<13>good",
    ] {
        sender.send_to(text.as_bytes(), addr).await.unwrap();
    }
    let events = bed.events(3).await;
    assert!(has_note(&events[0], "empty"), "{}", events[0]);
    let cut = events[1]["message"].as_str().unwrap();
    assert!(cut.starts_with("xxx") && cut.len() <= 500, "{}", cut.len());
    assert!(has_note(&events[1], "truncated"), "{}", events[1]);
    assert!(!has_note(&events[2], "truncated"));
    bed.stop(listener).await;
}

#[tokio::test]
async fn a_full_queue_holds_datagrams_back_and_loses_none() {
    let mut bed = Bed::new();
    bed.engine.set_queue_limit(10);
    let (addr, listener) = bed.udp(|_| {});
    let sender = UdpSocket::bind(LOCAL).await.unwrap();
    let expected: Vec<_> = (0..300).map(|number| format!("number {number}")).collect();
    for message in &expected {
        sender
            .send_to(format!("<13>{message}").as_bytes(), addr)
            .await
            .unwrap();
    }
    eventually("the queue is full", || {
        bed.accepted(Listener::SyslogUdp) == 10
    })
    .await;
    assert_eq!(bed.depth().await, 10);
    let mut messages = bed.messages(expected.len()).await;
    messages.sort();
    let mut sorted = expected.clone();
    sorted.sort();
    assert_eq!(messages, sorted);
    bed.stop(listener).await;
    assert_eq!(
        bed.rejected(Listener::SyslogUdp, RejectReason::QueueFull),
        0
    );
}

#[tokio::test]
async fn what_the_kernel_drops_is_counted() {
    let mut bed = Bed::new();
    bed.engine.set_queue_limit(1);
    let (addr, listener) = bed.udp(|options| options.receive_buffer = 4_096);
    let sender = UdpSocket::bind(LOCAL).await.unwrap();
    let metrics = bed
        .admission
        .metrics()
        .listener(Listener::SyslogUdp)
        .clone();
    // Nothing is taken out of the queue: MUTT reads no more at some point, the small buffer fills,
    // and what the kernel drops from then on shows at once.
    let sent = 20_000;
    for _ in 0..sent {
        sender.send_to(&[b'x'; 200], addr).await.unwrap();
    }
    eventually("drops are counted", || metrics.kernel_drops.get() > 0).await;
    bed.engine.set_queue_limit(1_000_000);
    eventually("every datagram is accounted for", || {
        metrics.kernel_drops.get() + metrics.accepted.get() == sent
    })
    .await;
    let accepted = usize::try_from(metrics.accepted.get()).unwrap();
    bed.events(accepted).await;
    bed.stop(listener).await;
}

#[tokio::test]
async fn events_that_the_queue_never_takes_are_counted_when_the_listener_stops() {
    let bed = Bed::new();
    bed.engine.set_queue_limit(3);
    let (addr, listener) = bed.udp(|options| options.grace = Duration::from_millis(10));
    let sender = UdpSocket::bind(LOCAL).await.unwrap();
    for _ in 0..20 {
        sender.send_to(b"<13>one of twenty", addr).await.unwrap();
    }
    eventually("all are read", || bed.received(Listener::SyslogUdp) == 20).await;
    bed.stop(listener).await;
    assert_eq!(bed.accepted(Listener::SyslogUdp), 3);
    assert_eq!(
        bed.rejected(Listener::SyslogUdp, RejectReason::QueueFull),
        17
    );
}

/// What the kernel holds for the UDP socket at this port: bytes that wait, and datagrams dropped.
fn kernel_holds(port: u16) -> (u64, u64) {
    let table = std::fs::read_to_string("/proc/net/udp").unwrap();
    let local = format!(":{port:04X}");
    let row = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|row| row.get(1).is_some_and(|addr| addr.ends_with(&local)))
        .unwrap();
    let (_, waiting) = row[4].split_once(':').unwrap();
    (
        u64::from_str_radix(waiting, 16).unwrap(),
        row[12].parse().unwrap(),
    )
}

#[tokio::test]
async fn datagrams_that_wait_in_the_kernel_at_the_stop_are_stored() {
    let bed = Bed::new();
    let listener = SyslogUdp::bind(SyslogUdpOptions::new(LOCAL), bed.admission.clone()).unwrap();
    let port = listener.local_addr().port();
    let sender = UdpSocket::bind(LOCAL).await.unwrap();
    sender.connect(listener.local_addr()).await.unwrap();
    sender.send(b"<13>one of many").await.unwrap();
    eventually("the first is there", || kernel_holds(port).0 > 0).await;
    let (each, _) = kernel_holds(port);
    // More than one batch, where the system allows a buffer that holds so many.
    let sent = 2_500;
    for _ in 1..sent {
        sender.send(b"<13>one of many").await.unwrap();
    }
    eventually("all are there, or dropped", || {
        let (waiting, dropped) = kernel_holds(port);
        waiting == each * (sent - dropped)
    })
    .await;
    bed.stop.cancel();
    listener.run(bed.stop.clone()).await;
    let metrics = bed.admission.metrics().listener(Listener::SyslogUdp);
    assert_eq!(metrics.accepted.get() + metrics.kernel_drops.get(), sent);
    assert!(metrics.accepted.get() > 0);
}
