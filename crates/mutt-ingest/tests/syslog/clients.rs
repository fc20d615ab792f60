//! Ports, and a client that people use.

use std::net::SocketAddr;
use std::process::Stdio;

use mutt_ingest::syslog_stream::{SyslogTcp, SyslogTcpOptions};
use mutt_ingest::syslog_udp::{SyslogUdp, SyslogUdpOptions};
use tokio::io::AsyncWriteExt;

use super::support::*;

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

/// Runs a program with `input`; whether it is here. It must end well.
async fn fed(program: &str, arguments: &[&str], input: &[u8]) -> bool {
    let started = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn();
    let Ok(mut child) = started else {
        eprintln!("skipped: there is no `{program}`");
        return false;
    };
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input).await.unwrap();
    drop(stdin);
    assert!(
        child.wait().await.unwrap().success(),
        "{program} {arguments:?}"
    );
    true
}

#[tokio::test]
async fn what_logger_says_of_itself_arrives() {
    let mut bed = Bed::new();
    let (tcp, tcp_listener) = bed.tcp(|_| {});
    let (udp, udp_listener) = bed.udp(|_| {});
    let long = "x".repeat(8_000);
    for (transport, addr) in [("-d", udp), ("-T", tcp)] {
        let port = addr.port().to_string();
        let mut arguments = vec![
            "-n",
            "127.0.0.1",
            "-P",
            &port,
            transport,
            "-t",
            "app",
            "-p",
            "local7.warning",
            "--id=4711",
            "-S",
            "16384",
            "--rfc5424",
            "--msgid",
            "LINK_DOWN",
            "--sd-id",
            "net@32473",
            "--sd-param",
            "port=\"Gi0/1\"",
            "--sd-param",
            "why=\"a \\] b\"",
            "--sd-id",
            "meta@32473",
            "--sd-param",
            "n=\"1\"",
        ];
        if transport == "-T" {
            arguments.push("--octet-count");
        }
        let input = format!("first\n{long}\n");
        if !fed("logger", &arguments, input.as_bytes()).await {
            continue;
        }
        let events = bed.events(2).await;
        assert_eq!(events[0]["message"], "first", "{transport}");
        assert_eq!(events[1]["message"], long, "{transport}");
        for event in &events {
            assert_eq!(event["syslog_severity"], 4, "{event}");
            assert_eq!(event["facility"], "local7", "{event}");
            assert_eq!(event["program"], "app", "{event}");
            assert_eq!(event["procid"], "4711", "{event}");
            assert_eq!(event["msgid"], "LINK_DOWN", "{event}");
            let data = &event["structured_data"];
            assert_eq!(data["net@32473"]["port"], "Gi0/1", "{event}");
            assert_eq!(data["net@32473"]["why"], "a ] b", "{event}");
            assert_eq!(data["meta@32473"]["n"], "1", "{event}");
            assert!(
                !has_note(event, "no_host") && !has_note(event, "bad_structured_data"),
                "{event}"
            );
        }
    }
    // Without time, host and time quality, as small senders do it.
    let port = udp.port().to_string();
    let bare = [
        "-n",
        "127.0.0.1",
        "-P",
        &port,
        "-d",
        "-t",
        "app",
        "--rfc5424=notime,nohost",
    ];
    if fed("logger", &bare, b"bare\n").await {
        let event = bed.events(1).await.remove(0);
        assert_eq!(
            (&event["message"], &event["program"]),
            (&"bare".into(), &"app".into())
        );
        assert_eq!(event["hostname"], "127.0.0.1", "{event}");
    }
    bed.stop(tcp_listener).await;
    bed.stop(udp_listener).await;
}

/// netcat sends what people and broken programs do; each case is its bytes and the messages that
/// come of them. Nobody after it suffers.
#[tokio::test]
async fn netcat_with_broken_frames() {
    let mut bed = Bed::new();
    let (tcp, tcp_listener) = bed.tcp(|_| {});
    let port = tcp.port().to_string();
    let cases: [(&str, &[u8], &[&str]); 11] = [
        ("CRLF", b"<13>one\r\n<13>two\r\n", &["one", "two"]),
        ("NUL for a line end", b"<13>one\0<13>two\0", &["one", "two"]),
        ("no end", b"<13>one", &["one"]),
        (
            "blank lines",
            b"\n\n<13>one\n\n\r\n<13>two\n",
            &["one", "two"],
        ),
        ("half a frame", b"20 <13>cut", &["cut"]),
        (
            "a count that is too short",
            b"6 <13>on\n<13>two\n",
            &["on", "two"],
        ),
        (
            "a count without end",
            b"99999999999999999999 <13>one\n<13>two\n",
            &[],
        ),
        ("a count of nothing", b"0 \n<13>two\n", &[]),
        (
            "a line in between",
            b"7 <13>one<13>two\n9 <13>three",
            &["one", "two", "three"],
        ),
        ("no priority", b"plain words\n", &["plain words"]),
        ("binary", b"\x16\x03\x01\x02\x00\xff\xfe\n<13>two\n", &[]),
    ];
    for (what, bytes, expected) in cases {
        if !fed("nc", &["-N", "127.0.0.1", &port], bytes).await {
            break;
        }
        // Another connection, later: what the broken one brought is in front of it.
        assert!(fed("nc", &["-N", "127.0.0.1", &port], b"<13>end of the case\n").await);
        let mut messages = Vec::new();
        loop {
            let message = bed.messages(1).await.remove(0);
            if message == "end of the case" {
                break;
            }
            messages.push(message);
        }
        if expected.is_empty() {
            // What was not understood is an event of its own, and what follows is not lost.
            assert!(messages.len() <= 3, "{what}: {messages:?}");
            let last = messages.last().map(String::as_str);
            assert_eq!(last, Some("two"), "{what}: {messages:?}");
        } else {
            assert_eq!(messages, expected, "{what}");
        }
    }
    bed.stop(tcp_listener).await;
}
