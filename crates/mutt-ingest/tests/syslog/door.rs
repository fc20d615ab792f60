//! What happens at the door: senders, floods, repeats.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mutt_engine::{Dynamic, EventQueue as _};
use mutt_ingest::{DoorOptions, Listener, RejectReason};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::sync::watch;

use super::support::*;

/// A sender with an address of its own: all of 127.0.0.0/8 is this machine.
async fn udp_from(last: u8) -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::new(127, 0, 0, last), 0))
        .await
        .unwrap()
}

async fn tcp_from(last: u8, to: std::net::SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket
        .bind((Ipv4Addr::new(127, 0, 0, last), 0).into())
        .unwrap();
    socket.connect(to).await.unwrap()
}

fn set(dynamic: &watch::Sender<Arc<Dynamic>>, values: &[(&str, &str)]) {
    dynamic.send_replace(Arc::new(Dynamic::default().with(values.iter().copied())));
}

/// Sends numbered messages until one of them is treated as `settled` says: settings arrive when the
/// door's task has seen them. Returns how many were sent.
async fn until_settled(
    socket: &UdpSocket,
    to: std::net::SocketAddr,
    mut settled: impl FnMut() -> bool,
) -> usize {
    let mut sent = 0;
    while !settled() {
        let text = format!("<13>Oct 11 22:14:15 probe app: probe {sent}");
        socket.send_to(text.as_bytes(), to).await.unwrap();
        sent += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(sent < 12_000, "the settings never arrived");
    }
    sent
}

const SENDERS: &str = r#"
[[sender]]
network = "127.0.0.0/8"
timezone = "Europe/Berlin"
tags = ["lab"]

[[sender]]
network = "127.0.0.2"
relay = false
name = "fw1"
tags = ["lab", "edge"]

[[sender]]
network = "127.0.0.3"
relay = false
"#;

fn senders_file(dir: &Path, text: &str) -> DoorOptions {
    let path = dir.join("senders.toml");
    fs::write(&path, text).unwrap();
    DoorOptions {
        senders_file: Some(path),
        ..DoorOptions::default()
    }
}

#[tokio::test]
async fn what_is_known_of_a_sender_stands_in_its_events() {
    let dir = TempDir::new().unwrap();
    let (mut bed, _dynamic, door) = Bed::with_door(&senders_file(dir.path(), SENDERS));
    let (udp, udp_listener) = bed.udp(|_| {});
    let (tcp, tcp_listener) = bed.tcp(|_| {});
    let line = "<13>2026-07-01 12:00:00 claimed app: up";
    let mut events = Vec::new();
    for last in [2, 3, 4] {
        let socket = udp_from(last).await;
        socket.send_to(line.as_bytes(), udp).await.unwrap();
        events.extend(bed.events(1).await);
    }
    let mut stream = tcp_from(2, tcp).await;
    stream
        .write_all(format!("{line}\n").as_bytes())
        .await
        .unwrap();
    events.extend(bed.events(1).await);

    for (event, host, claimed, tags) in [
        (&events[0], "fw1", json!("claimed"), json!(["lab", "edge"])),
        (&events[1], "127.0.0.3", json!("claimed"), json!(["lab"])),
        (&events[2], "claimed", Value::Null, json!(["lab"])),
        (&events[3], "fw1", json!("claimed"), json!(["lab", "edge"])),
    ] {
        assert_eq!(event["hostname"], host, "{event}");
        assert_eq!(event["claimed_hostname"], claimed, "{event}");
        assert_eq!(event["tags"], tags, "{event}");
        assert_eq!(event["timestamp"], "2026-07-01T10:00:00.000000Z", "{event}");
    }
    drop(stream);
    bed.stop(udp_listener).await;
    bed.stop(tcp_listener).await;
    bed.stop(door).await;
}

#[tokio::test]
async fn a_message_without_a_host_gets_the_name_of_the_hosts_file() {
    let dir = TempDir::new().unwrap();
    let hosts_file = dir.path().join("hosts");
    fs::write(&hosts_file, "127.0.0.5 core-sw1 # rack 4\n").unwrap();
    let (mut bed, _dynamic, door) = Bed::with_door(&DoorOptions {
        hosts_file: Some(hosts_file.clone()),
        ..DoorOptions::default()
    });
    let (udp, listener) = bed.udp(|_| {});
    let socket = udp_from(5).await;
    socket.send_to(b"<13>no header", udp).await.unwrap();
    let event = &bed.events(1).await[0];
    assert_eq!(event["hostname"], "core-sw1");
    assert_eq!(event["source_ip"], "127.0.0.5");
    assert!(has_note(event, "no_host"));

    // Read again without being asked.
    fs::write(&hosts_file, "127.0.0.5 renamed\n").unwrap();
    let mut sent = 0;
    loop {
        sent += 1;
        assert!(sent < 1_200, "the new file was never read");
        socket.send_to(b"<13>no header", udp).await.unwrap();
        if bed.events(1).await[0]["hostname"] == "renamed" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bed.stop(listener).await;
    bed.stop(door).await;
}

#[tokio::test]
async fn a_senders_file_with_a_mistake_changes_nothing_and_at_the_start_is_refused() {
    let dir = TempDir::new().unwrap();
    let options = senders_file(dir.path(), SENDERS);
    let path = options.senders_file.clone().unwrap();
    let (mut bed, _dynamic, door) = Bed::with_door(&options);
    let (udp, listener) = bed.udp(|_| {});
    let socket = udp_from(2).await;
    let mut hosts = Vec::new();
    for text in [
        "[[sender]]\nnetwork = \"127.0.0.2\"\nname = \"fw2\"\n",
        "[[sender]]\nnetwork = \"127.0.0.2/24\"\nname = \"fw3\"\n",
        "",
    ] {
        fs::write(&path, text).unwrap();
        bed.admission.door().reload();
        socket.send_to(b"<13>no header", udp).await.unwrap();
        hosts.push(bed.events(1).await[0]["hostname"].clone());
    }
    assert_eq!(hosts, ["fw2", "fw2", "127.0.0.2"]);
    bed.stop(listener).await;
    bed.stop(door).await;

    fs::write(
        &path,
        "[[sender]]\nnetwork = \"127.0.0.2\"\nzone = \"UTC\"\n",
    )
    .unwrap();
    let error = mutt_ingest::Door::open(&options, bed.admission.metrics().clone()).unwrap_err();
    let shown = error.to_string();
    assert!(
        shown.starts_with(&format!("SENDERS_FILE: {}, line 3: ", path.display()))
            && shown.contains("zone"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_mad_sender_is_cut_down_and_the_others_lose_nothing() {
    let (mut bed, dynamic, door) = Bed::with_door(&DoorOptions::default());
    let (udp, listener) = bed.udp(|_| {});
    let udp_metric = Listener::SyslogUdp;
    set(
        &dynamic,
        &[("sender_max_rate", "20"), ("sender_burst", "1")],
    );
    let mad = udp_from(66).await;
    let mut sent = until_settled(&mad, udp, || {
        bed.rejected(udp_metric, RejectReason::Flood) > 0
    })
    .await;

    let mut good = Vec::new();
    for last in 10..20 {
        good.push((last, udp_from(last).await));
    }
    for round in 0..10 {
        for number in 0..50 {
            let text = format!("<11>Oct 11 22:14:15 mad-sw fan: gone mad {round} {number}");
            mad.send_to(text.as_bytes(), udp).await.unwrap();
        }
        for (last, socket) in &good {
            let text = format!("<13>Oct 11 22:14:15 good-{last} app: {round}");
            socket.send_to(text.as_bytes(), udp).await.unwrap();
        }
        sent += 50 + good.len();
        // The kernel's buffer may be small; what it drops is not the door's doing.
        let so_far = sent as u64;
        eventually("all is read", || bed.received(udp_metric) >= so_far).await;
    }
    // What MUTT says about it comes after the first look at the floods.
    let own = bed.admission.metrics().own_events.clone();
    eventually("the flood is announced", || own.get() == 1).await;
    let floods = bed.admission.door().floods(10);
    assert_eq!(
        (&*floods[0].address, &*floods[0].listener),
        ("127.0.0.66", "syslog_udp")
    );
    assert_eq!(floods.len(), 1, "{floods:?}");
    assert_eq!(bed.admission.metrics().floods.get(), 1);
    bed.stop(listener).await;
    bed.stop(door).await;

    let dropped = bed.rejected(udp_metric, RejectReason::Flood);
    assert_eq!(bed.received(udp_metric), bed.accepted(udp_metric) + dropped);
    let depth = usize::try_from(bed.depth().await).unwrap();
    let events = bed.events(depth).await;
    let from_good = |event: &&Value| event["hostname"].as_str().unwrap().starts_with("good-");
    assert_eq!(events.iter().filter(from_good).count(), 100);
    assert!(dropped >= 400, "{dropped}");
    let notices: Vec<_> = events
        .iter()
        .filter(|event| event["program"] == "mutt")
        .collect();
    assert_eq!(notices.len(), 1, "{notices:?}");
    // Under the host name that its events have, so that rules and teams find it.
    assert_eq!(notices[0]["hostname"], "probe");
    assert_eq!(
        notices[0]["message"],
        "%MUTT-4-FLOOD: probe (127.0.0.66) sends more than 20 events/s (syslog_udp); what is beyond is dropped"
    );
    assert_eq!(notices[0]["mnemonic"], "FLOOD");
    assert_eq!(notices[0]["syslog_severity"], 4);
    assert_eq!(notices[0]["source_ip"], "127.0.0.66");
}

#[tokio::test]
async fn a_flood_that_is_marked_loses_nothing_and_its_end_is_told() {
    let dir = TempDir::new().unwrap();
    let options = senders_file(
        dir.path(),
        "[[sender]]\nnetwork = \"127.0.0.7\"\nmax_rate = 5\nburst = 1\nflood = \"mark\"\n",
    );
    let (mut bed, _dynamic, door) = Bed::with_door(&options);
    let (tcp, listener) = bed.tcp(|_| {});
    let mut stream = tcp_from(7, tcp).await;
    stream.write_all(numbered(100).as_bytes()).await.unwrap();
    let events = bed.events(101).await;
    let marked = events.iter().filter(|event| event["flood"] == true).count();
    assert!((90..=95).contains(&marked), "{marked}");
    // The end takes ten quiet seconds.
    let end = &bed.events(1).await[0];
    assert_eq!(end["mnemonic"], "FLOOD-END");
    assert_eq!(end["kept"].as_u64(), Some(marked as u64), "{end}");
    assert_eq!(end["dropped"], 0);
    assert!(
        end["message"]
            .as_str()
            .unwrap()
            .starts_with("%MUTT-5-FLOOD-END: 127.0.0.7 floods no more: 0 events dropped and "),
        "{end}"
    );
    drop(stream);
    bed.stop(listener).await;
    bed.stop(door).await;
}

/// The equation that holds at every moment when nothing is under way.
fn assert_nothing_is_unaccounted_for(bed: &Bed, listener: Listener) {
    let rejected: u64 = RejectReason::ALL
        .into_iter()
        .map(|reason| bed.rejected(listener, reason))
        .sum();
    assert_eq!(
        bed.received(listener),
        bed.accepted(listener) + rejected + bed.deduplicated(listener)
    );
}

#[tokio::test]
async fn repeats_within_the_window_come_out_as_one_event() {
    let (mut bed, dynamic, door) = Bed::with_door(&DoorOptions::default());
    set(&dynamic, &[("dedup_window_seconds", "1")]);
    let (tcp, listener) = bed.tcp(|_| {});
    let mut stream = TcpStream::connect(tcp).await.unwrap();
    // Until the setting arrived, every message is an event.
    let mut first = 0;
    loop {
        let text = format!("<13>Oct 11 22:14:15 sw1 fan: fan {first} failed\n");
        stream.write_all(text.repeat(6).as_bytes()).await.unwrap();
        first += 6;
        assert!(first < 3_600, "the setting never arrived");
        eventually("all is read", || bed.received(Listener::SyslogTcp) == first).await;
        let held = bed.admission.metrics().listener(Listener::SyslogTcp);
        let settled = held.deduplicated.get() > 0;
        if settled {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(stream);
    bed.stop(listener).await;
    bed.stop(door).await;
    assert_nothing_is_unaccounted_for(&bed, Listener::SyslogTcp);
    let depth = usize::try_from(bed.depth().await).unwrap();
    let events = bed.events(depth).await;
    let folded: Vec<_> = events
        .iter()
        .filter(|event| event.get("repeat_count").is_some())
        .collect();
    assert!(!folded.is_empty());
    let stands_for: u64 = folded
        .iter()
        .map(|event| event["repeat_count"].as_u64().unwrap())
        .sum();
    assert_eq!(stands_for + (depth - folded.len()) as u64, first);
    assert!(folded.iter().all(|event| {
        event["first_received_at"].as_str() <= event["last_received_at"].as_str()
            && event["hostname"] == "sw1"
    }));
}

#[tokio::test]
async fn open_windows_are_stored_at_the_end_also_where_the_engine_refused_meanwhile() {
    let (mut bed, dynamic, door) = Bed::with_door(&DoorOptions::default());
    let (udp, listener) = bed.udp(|_| {});
    let socket = udp_from(8).await;
    set(&dynamic, &[("dedup_window_seconds", "3600")]);
    let metrics = bed
        .admission
        .metrics()
        .listener(Listener::SyslogUdp)
        .clone();
    // Probes repeat one another, so that the first that is held shows that the setting is there.
    let probes = until_settled(&socket, udp, || {
        metrics.received.get() > metrics.accepted.get() + 3
    })
    .await;
    let wanted = probes as u64;
    eventually("the probes are read", || metrics.received.get() == wanted).await;
    let through = metrics.accepted.get();

    bed.engine.set_queue_limit(through);
    for number in 0..30 {
        let text = format!(
            "<13>Oct 11 22:14:15 sw{} app: {}",
            number % 3,
            "word ".repeat(number % 3 + 1)
        );
        socket.send_to(text.as_bytes(), udp).await.unwrap();
    }
    eventually("all is read", || metrics.received.get() == wanted + 30).await;
    assert_eq!(bed.depth().await, through);
    bed.engine.set_queue_limit(1_000_000);
    bed.stop(listener).await;
    bed.stop(door).await;

    assert_nothing_is_unaccounted_for(&bed, Listener::SyslogUdp);
    assert_eq!(metrics.repeats_held.get(), 0);
    let depth = usize::try_from(bed.depth().await).unwrap();
    let events = bed.events(depth).await;
    let counts: Vec<_> = events
        .iter()
        .filter_map(|event| event["repeat_count"].as_u64())
        .collect();
    let total: u64 = counts.iter().sum();
    assert_eq!(total + (depth - counts.len()) as u64, wanted + 30);
    assert_eq!(
        counts.iter().filter(|&&count| count == 9).count(),
        3,
        "{counts:?}"
    );
}

#[tokio::test]
async fn a_setting_that_changes_ends_the_windows_that_are_open() {
    let (mut bed, dynamic, door) = Bed::with_door(&DoorOptions::default());
    let (udp, listener) = bed.udp(|_| {});
    let socket = udp_from(8).await;
    set(&dynamic, &[("dedup_window_seconds", "3600")]);
    let metrics = bed
        .admission
        .metrics()
        .listener(Listener::SyslogUdp)
        .clone();
    until_settled(&socket, udp, || {
        metrics.received.get() > metrics.accepted.get() + 3
    })
    .await;
    set(&dynamic, &[]);
    eventually("the window ends", || metrics.deduplicated.get() > 0).await;
    bed.stop(listener).await;
    bed.stop(door).await;
    assert_nothing_is_unaccounted_for(&bed, Listener::SyslogUdp);
    let depth = usize::try_from(bed.depth().await).unwrap();
    assert!(
        bed.events(depth)
            .await
            .iter()
            .any(|event| event.get("repeat_count").is_some())
    );
}
