//! The syslog listeners over real sockets, into the real embedded engine.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use mutt_engine::embedded::{Embedded, Mode};
use mutt_engine::{EventClaim, EventQueue};
use mutt_ingest::metrics::IngestMetrics;
use mutt_ingest::syslog_stream::{SyslogTcp, SyslogTcpOptions};
use mutt_ingest::syslog_udp::{SyslogUdp, SyslogUdpOptions};
use mutt_ingest::{Admission, Listener, Overflow, RejectReason};
use prometheus_client::registry::Registry;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Long enough for anything on a slow, busy machine; reached only when a test fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// An engine with a way in, and the events that were taken out of it.
struct Bed {
    engine: Arc<Embedded>,
    admission: Admission,
    stop: CancellationToken,
    claims: Vec<EventClaim>,
    _data: TempDir,
}

impl Bed {
    fn new() -> Self {
        let data = TempDir::new().unwrap();
        let engine = Embedded::open(data.path(), Mode::Server).unwrap();
        let metrics = IngestMetrics::register(&mut Registry::default());
        let admission = Admission::new(engine.clone(), metrics);
        let stop = CancellationToken::new();
        Self {
            engine,
            admission,
            stop,
            claims: Vec::new(),
            _data: data,
        }
    }

    fn udp(&self, change: impl FnOnce(&mut SyslogUdpOptions)) -> (SocketAddr, JoinHandle<()>) {
        let mut options = SyslogUdpOptions::new(LOCAL);
        change(&mut options);
        let listener = SyslogUdp::bind(options, self.admission.clone()).unwrap();
        (
            listener.local_addr(),
            tokio::spawn(listener.run(self.stop.clone())),
        )
    }

    fn tcp(&self, change: impl FnOnce(&mut SyslogTcpOptions)) -> (SocketAddr, JoinHandle<()>) {
        let mut options = SyslogTcpOptions::new(LOCAL);
        change(&mut options);
        let listener = SyslogTcp::bind(options, self.admission.clone()).unwrap();
        (
            listener.local_addr(),
            tokio::spawn(listener.run(self.stop.clone())),
        )
    }

    /// The next `count` events in the order of the queue, and no more than that.
    async fn events(&mut self, count: usize) -> Vec<Value> {
        let worker: Arc<str> = "test".into();
        let mut events = Vec::new();
        while events.len() < count {
            let claim = self
                .engine
                .claim_events(&worker, count - events.len(), PATIENCE);
            let claim = claim.await.unwrap();
            let claim = claim.unwrap_or_else(|| panic!("{} of {count} events came", events.len()));
            events.extend(
                claim
                    .iter()
                    .map(|text| serde_json::from_slice(text).unwrap()),
            );
            self.claims.push(claim);
        }
        assert_eq!(events.len(), count);
        events
    }

    async fn messages(&mut self, count: usize) -> Vec<String> {
        let events = self.events(count).await;
        events
            .iter()
            .map(|event| event["message"].as_str().unwrap().to_owned())
            .collect()
    }

    async fn depth(&self) -> u64 {
        self.engine.event_depth().await.unwrap()
    }

    fn accepted(&self, listener: Listener) -> u64 {
        self.admission.metrics().listener(listener).accepted.get()
    }

    fn received(&self, listener: Listener) -> u64 {
        self.admission.metrics().listener(listener).received.get()
    }

    fn rejected(&self, listener: Listener, reason: RejectReason) -> u64 {
        self.admission
            .metrics()
            .listener(listener)
            .rejected(reason)
            .get()
    }

    /// Stops the listener; what it received is in the queue afterwards.
    async fn stop(&self, listener: JoinHandle<()>) {
        self.stop.cancel();
        timeout(PATIENCE, listener)
            .await
            .expect("the listener stops")
            .unwrap();
    }
}

/// Waits until `condition` holds.
async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("{what}: never"));
}

fn has_note(event: &Value, note: &str) -> bool {
    let notes = event["parse_notes"].as_array();
    notes.is_some_and(|notes| notes.iter().any(|found| found == note))
}

fn numbered(count: usize) -> String {
    (0..count).fold(String::new(), |lines, number| {
        lines + &format!("<13>number {number}\n")
    })
}

fn counted(message: &str) -> String {
    format!("{} {message}", message.len())
}

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

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let bed = Bed::new();
    let (udp, udp_listener) = bed.udp(|options| options.sockets = 2);
    let (tcp, tcp_listener) = bed.tcp(|_| {});
    let error = SyslogUdp::bind(SyslogUdpOptions::new(udp), bed.admission.clone()).unwrap_err();
    assert!(
        error.to_string().contains(&format!("UDP {udp} is in use")),
        "{error}"
    );
    let error = SyslogTcp::bind(SyslogTcpOptions::new(tcp), bed.admission.clone()).unwrap_err();
    assert!(
        error.to_string().contains(&format!("TCP {tcp} is in use")),
        "{error}"
    );
    bed.stop(udp_listener).await;
    bed.stop(tcp_listener).await;
}

/// util-linux's `logger` as a client that was not written for us; without it there is nothing to
/// test against.
#[tokio::test]
async fn logger_is_understood_in_every_dialect() {
    let present = tokio::process::Command::new("logger")
        .arg("--version")
        .output()
        .await
        .is_ok();
    if !present {
        eprintln!("skipped: there is no `logger` (package bsdutils or util-linux)");
        return;
    }
    let mut bed = Bed::new();
    let (tcp, tcp_listener) = bed.tcp(|_| {});
    let (udp, udp_listener) = bed.udp(|_| {});
    let cases: [(&[&str], SocketAddr); 5] = [
        (&["-d", "--rfc3164"], udp),
        (&["-d", "--rfc5424"], udp),
        (&["-T", "--rfc3164"], tcp),
        (&["-T", "--rfc5424"], tcp),
        (&["-T", "--rfc5424", "--octet-count"], tcp),
    ];
    for (options, addr) in cases {
        let mut logger = tokio::process::Command::new("logger")
            .args(["-n", "127.0.0.1", "-P", &addr.port().to_string()])
            .args(["-t", "mutt-test", "-p", "local3.err"])
            .args(options)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = logger.stdin.take().unwrap();
        input
            .write_all(b"disk sda1 is full\nfan 2 stopped\n")
            .await
            .unwrap();
        drop(input);
        assert!(logger.wait().await.unwrap().success(), "logger {options:?}");
        let events = bed.events(2).await;
        for (event, message) in events.iter().zip(["disk sda1 is full", "fan 2 stopped"]) {
            assert_eq!(event["message"], message, "logger {options:?}: {event}");
            assert_eq!(event["syslog_severity"], 3, "logger {options:?}: {event}");
            assert_eq!(event["program"], "mutt-test", "logger {options:?}: {event}");
        }
    }
    bed.stop(tcp_listener).await;
    bed.stop(udp_listener).await;
}
