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
