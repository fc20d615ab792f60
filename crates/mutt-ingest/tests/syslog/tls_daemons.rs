//! rsyslog and syslog-ng over TLS, with a client certificate, from their socket to the queue.

use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use mutt_http::PermittedPeer;
use mutt_ingest::Listener;
use mutt_testbed::{Daemon, Rsyslogd, SyslogNg};

use super::pki::*;
use super::support::*;

/// Logs `<from>..<to>` as an application of the daemon's machine does.
fn log(daemon: &Daemon, from: usize, to: usize) {
    let socket = UnixDatagram::unbound().unwrap();
    socket.connect(daemon.socket()).unwrap();
    for number in from..to {
        let message = format!("<11>Oct 11 22:14:15 app[7]: number {number}");
        socket.send(message.as_bytes()).unwrap();
    }
}

/// rsyslog that sends all it gets to `addr`.
fn rsyslog(pki: &Pki, addr: SocketAddr, driver: &str, more: &str) -> Daemon {
    Rsyslogd::start(|_| {
        format!(
            r#"global(DefaultNetstreamDriverCAFile="{ca}"
       DefaultNetstreamDriverCertFile="{dir}/web01.pem"
       DefaultNetstreamDriverKeyFile="{dir}/web01.key")
action(type="omfwd" protocol="tcp" target="127.0.0.1" port="{port}"
       StreamDriver="{driver}" StreamDriverMode="1"
       StreamDriverAuthMode="x509/name" StreamDriverPermittedPeers="localhost"
       template="RSYSLOG_SyslogProtocol23Format" {more}
       action.resumeRetryCount="-1" action.resumeInterval="1")"#,
            ca = pki.ca().display(),
            dir = pki.file("").display(),
            port = addr.port(),
        )
    })
}

fn syslog_ng(pki: &Pki, addr: SocketAddr) -> Daemon {
    SyslogNg::start(|_: &Path| {
        format!(
            r#"destination d_mutt {{
  syslog("127.0.0.1" port({port}) transport("tls") time-reopen(1)
    tls(ca-file("{ca}") cert-file("{dir}/web01.pem") key-file("{dir}/web01.key")
      peer-verify(required-trusted)));
}};
log {{ source(s_log); destination(d_mutt); flags(flow-control); }};"#,
            ca = pki.ca().display(),
            dir = pki.file("").display(),
            port = addr.port(),
        )
    })
}

fn permitted() -> [PermittedPeer; 1] {
    [PermittedPeer::Dns("*.example.com".into())]
}

/// All `count` numbers once each, in their order.
async fn assert_all(bed: &mut Bed, count: usize, sender: &str) {
    let events = bed.events(count).await;
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["message"], format!("number {number}"), "{sender}");
        assert_eq!(event["program"], "app", "{sender}: {event}");
        assert_eq!(event["syslog_severity"], 3, "{sender}: {event}");
        assert!(!has_note(event, "unexpected_framing"), "{sender}: {event}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rsyslog_is_understood_with_either_library_and_framing() {
    if !Rsyslogd::is_installed() {
        eprintln!("skipped: there is no rsyslog");
        return;
    }
    let (mut bed, pki) = (Bed::new(), Pki::new());
    pki.client("web01", &["web01.example.com"]);
    let (addr, listener) = bed.tls(&pki.mutual(Some(&permitted())), |_| {});
    for (driver, framing) in [
        ("gtls", "TCP_Framing=\"traditional\""),
        ("gtls", "TCP_Framing=\"octet-counted\""),
        ("ossl", "TCP_Framing=\"traditional\""),
        ("ossl", "TCP_Framing=\"octet-counted\""),
    ] {
        let daemon = rsyslog(&pki, addr, driver, framing);
        log(&daemon, 0, 200);
        assert_all(&mut bed, 200, &format!("{driver} {framing}")).await;
        daemon.stop().unwrap();
    }
    bed.stop(listener).await;
    assert_eq!(bed.accepted(Listener::SyslogTls), 800);
}

#[tokio::test(flavor = "multi_thread")]
async fn syslog_ng_is_understood() {
    if !SyslogNg::is_installed() {
        eprintln!("skipped: there is no syslog-ng");
        return;
    }
    let (mut bed, pki) = (Bed::new(), Pki::new());
    pki.client("web01", &["web01.example.com"]);
    let (addr, listener) = bed.tls(&pki.mutual(Some(&permitted())), |_| {});
    let daemon = syslog_ng(&pki, addr);
    log(&daemon, 0, 200);
    assert_all(&mut bed, 200, "syslog-ng").await;
    daemon.stop().unwrap();
    bed.stop(listener).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_connects_anew_all_the_time_loses_nothing_while_certificates_change() {
    if !Rsyslogd::is_installed() {
        eprintln!("skipped: there is no rsyslog");
        return;
    }
    let (mut bed, pki) = (Bed::new(), Pki::new());
    pki.client("web01", &["web01.example.com"]);
    let tls = pki.mutual(Some(&permitted()));
    let (addr, listener) = bed.tls(&tls, |_| {});
    // A new connection after every 50 messages, half of the time with another certificate.
    let daemon = rsyslog(&pki, addr, "ossl", "RebindInterval=\"50\"");
    for step in 0..10 {
        log(&daemon, step * 100, (step + 1) * 100);
        pki.new_server_certificate();
        assert!(tls.reload().unwrap());
        let so_far = (step + 1) as u64 * 100;
        eventually("they are read", || {
            bed.received(Listener::SyslogTls) >= so_far
        })
        .await;
    }
    let mut numbers: Vec<usize> = bed
        .messages(1_000)
        .await
        .iter()
        .map(|message| message.strip_prefix("number ").unwrap().parse().unwrap())
        .collect();
    // Those of two connections may come in either order.
    numbers.sort_unstable();
    assert_eq!(numbers, (0..1_000).collect::<Vec<_>>());
    daemon.stop().unwrap();
    bed.stop(listener).await;
    assert_eq!(bed.received(Listener::SyslogTls), 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_whose_name_is_not_permitted_gets_nothing_in() {
    if !Rsyslogd::is_installed() {
        eprintln!("skipped: there is no rsyslog");
        return;
    }
    let (bed, pki) = (Bed::new(), Pki::new());
    pki.client("web01", &["web01.example.org"]);
    let (addr, listener) = bed.tls(&pki.mutual(Some(&permitted())), |_| {});
    for driver in ["gtls", "ossl"] {
        let before = bed.handshakes_failed(mutt_http::HandshakeFailure::NotPermitted);
        let daemon = rsyslog(&pki, addr, driver, "");
        log(&daemon, 0, 10);
        eventually("it is refused", || {
            bed.handshakes_failed(mutt_http::HandshakeFailure::NotPermitted) > before
        })
        .await;
        daemon.kill();
    }
    bed.stop(listener).await;
    assert_eq!(bed.received(Listener::SyslogTls), 0);
}
