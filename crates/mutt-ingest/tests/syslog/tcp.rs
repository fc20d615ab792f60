//! Streams.

use std::io;
use std::time::Duration;

use mutt_engine::EventQueue;
use mutt_ingest::{Listener, Overflow, RejectReason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::support::*;

#[tokio::test]
async fn both_framings_are_told_apart_and_keep_their_order() {
    let mut bed = Bed::new();
    let (addr, listener) = bed.tcp(|_| {});
    let messages: Vec<_> = (0..3_000)
        .map(|number| format!("<13>message number {number}"))
        .collect();
    let lines = messages.join("\n") + "\n";
    let frames: String = messages.iter().map(|message| counted(message)).collect();
    for stream_text in [lines, frames] {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(stream_text.as_bytes()).await.unwrap();
        let expected: Vec<_> = messages.iter().map(|message| &message[4..]).collect();
        assert_eq!(bed.messages(messages.len()).await, expected);
    }
    bed.stop(listener).await;
    assert_eq!(bed.accepted(Listener::SyslogTcp), 6_000);
}

#[tokio::test]
async fn a_stream_may_be_split_at_every_byte() {
    let mut bed = Bed::new();
    let (addr, listener) = bed.tcp(|_| {});
    let lines = "<13>first line\n<14>second \u{e4}\u{20ac} line\n".to_owned();
    let frames = counted("<13>first line") + &counted("<14>second \u{e4}\u{20ac} line");
    for text in [lines, frames] {
        let expected = ["first line", "second \u{e4}\u{20ac} line"];
        for split in 1..text.len() {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (head, tail) = text.as_bytes().split_at(split);
            stream.write_all(head).await.unwrap();
            // Lets the listener read the first part alone most of the time.
            tokio::task::yield_now().await;
            stream.write_all(tail).await.unwrap();
            drop(stream);
            assert_eq!(
                bed.messages(2).await,
                expected,
                "split at {split} of {text:?}"
            );
        }
        // And every byte by itself.
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for byte in text.as_bytes() {
            stream.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(bed.messages(2).await, expected);
    }
    bed.stop(listener).await;
}

#[tokio::test]
async fn a_giant_line_is_cut_and_the_next_good_one_passes() {
    let mut bed = Bed::new();
    let (addr, listener) = bed.tcp(|options| options.max_line = 1_000);
    let giant = "x".repeat(3 << 20);
    let lines = format!("<13>{giant}\n<13>good\n");
    let frames = counted(&format!("<13>{}", "x".repeat(50_000))) + &counted("<13>good");
    for text in [lines, frames] {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let events = bed.events(2).await;
        assert!(
            has_note(&events[0], "truncated"),
            "{:.300}",
            events[0].to_string()
        );
        assert!(events[0]["message"].as_str().unwrap().len() <= 1_000);
        assert_eq!(events[1]["message"], "good");
    }
    bed.stop(listener).await;
}

#[tokio::test]
async fn the_last_line_needs_no_end_and_half_a_frame_is_kept() {
    let mut bed = Bed::new();
    let (addr, listener) = bed.tcp(|_| {});
    for text in ["<13>whole\n<13>half", "9 <13>whole20 <13>half"] {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        // The listener closes once everything is stored.
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(bed.depth().await, 2);
        assert_eq!(bed.messages(2).await, ["whole", "half"]);
    }
    bed.stop(listener).await;
}

#[tokio::test]
async fn bytes_that_are_not_utf_8_are_replaced_and_noted() {
    let mut bed = Bed::new();
    let (tcp, tcp_listener) = bed.tcp(|_| {});
    let (udp, udp_listener) = bed.udp(|_| {});
    let text = b"<13>caf\xe9 \xff\xfe end\n";
    let mut stream = TcpStream::connect(tcp).await.unwrap();
    stream.write_all(text).await.unwrap();
    UdpSocket::bind(LOCAL)
        .await
        .unwrap()
        .send_to(text, udp)
        .await
        .unwrap();
    for event in bed.events(2).await {
        let message = event["message"].as_str().unwrap();
        assert!(
            message.starts_with("caf\u{fffd}") && message.ends_with(" end"),
            "{message}"
        );
        assert!(has_note(&event, "invalid_utf8"), "{event}");
    }
    bed.stop(tcp_listener).await;
    bed.stop(udp_listener).await;
}

#[tokio::test]
async fn garbage_harms_nobody() {
    let mut bed = Bed::new();
    let (tcp, tcp_listener) = bed.tcp(|options| options.max_line = 2_000);
    let (udp, udp_listener) = bed.udp(|_| {});
    // A fixed sequence of arbitrary bytes (xorshift), so that a failure repeats.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut garbage = |length: usize| -> Vec<u8> {
        let byte = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        std::iter::repeat_with(byte).take(length).collect()
    };
    let socket = UdpSocket::bind(LOCAL).await.unwrap();
    for round in 0..50 {
        let mut stream = TcpStream::connect(tcp).await.unwrap();
        // The listener may close a connection early only by ending it in order.
        stream.write_all(&garbage(200 * round)).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        socket.send_to(&garbage(20 * round), udp).await.unwrap();
    }
    let mut stream = TcpStream::connect(tcp).await.unwrap();
    stream.write_all(b"<13>still here\n").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    eventually("all datagrams are read", || {
        bed.received(Listener::SyslogUdp) == 50
    })
    .await;
    bed.stop(tcp_listener).await;
    bed.stop(udp_listener).await;
    for listener in [Listener::SyslogTcp, Listener::SyslogUdp] {
        let refused: u64 = RejectReason::ALL
            .map(|reason| bed.rejected(listener, reason))
            .iter()
            .sum();
        assert_eq!(
            bed.received(listener),
            bed.accepted(listener) + refused,
            "{listener:?}"
        );
    }
    // Whatever came of it is valid JSON with the fields that every event has.
    let count = usize::try_from(bed.depth().await).unwrap();
    let events = bed.events(count).await;
    assert!(
        events
            .iter()
            .all(|event| event["message"].is_string() && event["hostname"].is_string())
    );
    assert!(events.iter().any(|event| event["message"] == "still here"));
}

#[tokio::test]
async fn the_last_of_many_messages_do_not_wait_for_more_to_come() {
    let mut bed = Bed::new();
    let (addr, listener) = bed.tcp(|_| {});
    let mut stream = TcpStream::connect(addr).await.unwrap();
    // Several batches in one read, the last of them not full; then silence.
    let count = 2_500;
    stream.write_all(numbered(count).as_bytes()).await.unwrap();
    let messages = bed.messages(count).await;
    assert_eq!(messages[count - 1], format!("number {}", count - 1));
    drop(stream);
    bed.stop(listener).await;
}

#[tokio::test]
async fn two_hundred_connections_each_keep_their_order() {
    let mut bed = Bed::new();
    let (addr, listener) = bed.tcp(|_| {});
    let (connections, rounds) = (200_usize, 20_usize);
    let mut streams = Vec::new();
    for _ in 0..connections {
        streams.push(TcpStream::connect(addr).await.unwrap());
    }
    for round in 0..rounds {
        for (number, stream) in streams.iter_mut().enumerate() {
            stream
                .write_all(format!("<13>{number} {round}\n").as_bytes())
                .await
                .unwrap();
        }
    }
    let mut next = vec![0; connections];
    for message in bed.messages(connections * rounds).await {
        let (number, round) = message.split_once(' ').unwrap();
        let number: usize = number.parse().unwrap();
        assert_eq!(round, next[number].to_string(), "connection {number}");
        next[number] += 1;
    }
    let metrics = bed
        .admission
        .metrics()
        .listener(Listener::SyslogTcp)
        .clone();
    assert_eq!(metrics.connections.get(), 200);
    drop(streams);
    eventually("the connections end", || metrics.connections.get() == 0).await;
    bed.stop(listener).await;
}

#[tokio::test]
async fn a_full_queue_holds_the_sender_back_and_loses_nothing() {
    let mut bed = Bed::new();
    bed.engine.set_queue_limit(100);
    let (addr, listener) = bed.tcp(|_| {});
    let count = 5_000;
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let sender = tokio::spawn(async move {
        for number in 0..count {
            stream
                .write_all(format!("<13>number {number}\n").as_bytes())
                .await
                .unwrap();
        }
    });
    eventually("the queue is full", || {
        bed.accepted(Listener::SyslogTcp) == 100
    })
    .await;
    // Another sender is still let in while the queue is full, and gets through afterwards.
    let mut other = TcpStream::connect(addr).await.unwrap();
    other.write_all(b"<13>from another\n").await.unwrap();
    assert_eq!(bed.depth().await, 100);

    let mut messages = bed.messages(count + 1).await;
    let place = messages
        .iter()
        .position(|message| message == "from another")
        .unwrap();
    messages.remove(place);
    let expected: Vec<_> = (0..count)
        .map(|number| format!("number {number}"))
        .collect();
    assert!(messages == expected, "order or number is wrong");
    sender.await.unwrap();
    bed.stop(listener).await;
    assert_eq!(
        bed.rejected(Listener::SyslogTcp, RejectReason::QueueFull),
        0
    );
}

#[tokio::test]
async fn a_sender_that_does_not_stop_is_not_read_while_the_queue_is_full() {
    let bed = Bed::new();
    bed.engine.set_queue_limit(1);
    let (addr, listener) = bed.tcp(|options| options.grace = Duration::from_millis(10));
    let stream = TcpStream::connect(addr).await.unwrap();
    let line = [b"<13>".as_slice(), &[b'x'; 995], b"\n"].concat();
    // Sends until the kernel takes no more for a while: nobody reads at the other end.
    let sent = async {
        let mut sent = 0_usize;
        while let Ok(writable) = timeout(Duration::from_secs(1), stream.writable()).await {
            writable.unwrap();
            match stream.try_write(&line) {
                Ok(written) => sent += written,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
            assert!(sent < 64 << 20, "the socket is read without an end");
        }
        sent
    };
    assert!(sent.await > 0);
    eventually("the queue is full", || {
        bed.accepted(Listener::SyslogTcp) == 1
    })
    .await;
    // One batch under way, one that forms, one read: that is all MUTT holds.
    let held = bed.received(Listener::SyslogTcp);
    assert!((1..=2_100).contains(&held), "{held}");
    bed.stop(listener).await;
}

#[tokio::test]
async fn by_option_a_full_queue_sheds_and_counts() {
    let mut bed = Bed::new();
    bed.engine.set_queue_limit(10);
    let (addr, listener) = bed.tcp(|options| options.overflow = Overflow::Shed);
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let lines = numbered(500);
    stream.write_all(lines.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(bed.accepted(Listener::SyslogTcp), 10);
    assert_eq!(
        bed.rejected(Listener::SyslogTcp, RejectReason::QueueFull),
        490
    );
    // With room again, events pass again.
    bed.events(10).await;
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(b"<13>after\n").await.unwrap();
    assert_eq!(bed.messages(1).await, ["after"]);
    bed.stop(listener).await;
}

#[tokio::test]
async fn beyond_the_limit_connections_are_accepted_closed_and_counted() {
    let mut bed = Bed::new();
    let (addr, listener) = bed.tcp(|options| options.max_connections = 2);
    let metrics = bed
        .admission
        .metrics()
        .listener(Listener::SyslogTcp)
        .clone();
    let first = TcpStream::connect(addr).await.unwrap();
    let _second = TcpStream::connect(addr).await.unwrap();
    eventually("both are in", || metrics.connections.get() == 2).await;
    let mut third = TcpStream::connect(addr).await.unwrap();
    assert_eq!(third.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(metrics.refused.get(), 1);
    drop(first);
    eventually("there is room", || metrics.connections.get() == 1).await;
    let mut fourth = TcpStream::connect(addr).await.unwrap();
    fourth.write_all(b"<13>in again\n").await.unwrap();
    assert_eq!(bed.messages(1).await, ["in again"]);
    bed.stop(listener).await;
}

#[tokio::test]
async fn what_was_sent_before_the_stop_is_stored() {
    let mut bed = Bed::new();
    let (addr, listener) = bed.tcp(|_| {});
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let count = 2_000;
    let lines = numbered(count);
    stream.write_all(lines.as_bytes()).await.unwrap();
    stream.write_all(b"<13>half a li").await.unwrap();
    eventually("some are read", || bed.received(Listener::SyslogTcp) > 0).await;
    bed.stop(listener).await;
    let messages = bed.messages(count + 1).await;
    assert_eq!(messages.first().unwrap(), "number 0");
    assert_eq!(messages[count], "half a li");
    assert!(
        TcpStream::connect(addr).await.is_err(),
        "nobody listens any more"
    );
}
