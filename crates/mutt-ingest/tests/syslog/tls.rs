//! Streams over TLS, with openssl as the client.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mutt_http::{HandshakeFailure, PermittedPeer};
use mutt_ingest::{Listener, RejectReason};
use mutt_testbed::Authority;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::pki::*;
use super::support::*;

const VERSIONS: [&str; 2] = ["-tls1_2", "-tls1_3"];

#[tokio::test]
async fn both_versions_and_both_framings_are_understood() {
    if !openssl_is_there() {
        return;
    }
    let (mut bed, pki) = (Bed::new(), Pki::new());
    let (addr, listener) = bed.tls(&pki.open(), |_| {});
    for version in VERSIONS {
        for (framing, text) in [
            (
                "octet counting",
                counted("<11>fan 1 stopped") + &counted("<11>fan\n2 stopped"),
            ),
            ("lines", "<11>fan 1 stopped\n<11>fan 2 stopped\n".into()),
        ] {
            let output = pki.send(addr, &[version], &text).await;
            assert!(output.status.success(), "{version}: {output:?}");
            let events = bed.events(2).await;
            assert_eq!(events[0]["message"], "fan 1 stopped");
            for event in events {
                assert_eq!(event["syslog_severity"], 3, "{event}");
                assert_eq!(event["source_ip"], "127.0.0.1", "{event}");
                assert!(
                    !has_note(&event, "unexpected_framing"),
                    "{framing} is usual: {event}"
                );
            }
        }
    }
    bed.stop(listener).await;
    assert_eq!(bed.accepted(Listener::SyslogTls), 8);
    assert_eq!(bed.accepted(Listener::SyslogTcp), 0);
}

#[tokio::test]
async fn versions_that_are_broken_are_refused() {
    if !openssl_is_there() {
        return;
    }
    let (bed, pki) = (Bed::new(), Pki::new());
    let (addr, listener) = bed.tls(&pki.open(), |_| {});
    let old = ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"];
    let output = pki.send(addr, &old, "<13>old\n").await;
    assert!(!output.status.success(), "{output:?}");
    // RFC 9662: no cipher without forward secrecy either.
    let weak = ["-tls1_2", "-cipher", "AES128-SHA"];
    let output = pki.send(addr, &weak, "<13>weak\n").await;
    assert!(!output.status.success(), "{output:?}");
    eventually("both are counted", || {
        bed.handshakes_failed(HandshakeFailure::Incompatible) == 2
    })
    .await;
    bed.stop(listener).await;
    assert_eq!(bed.received(Listener::SyslogTls), 0);
}

#[tokio::test]
async fn only_permitted_certificates_get_in_and_everybody_else_is_told() {
    if !openssl_is_there() {
        return;
    }
    let (mut bed, pki) = (Bed::new(), Pki::new());
    let pinned = pki.client("pinned", &["unlisted.example.com"]);
    let tls = pki.mutual(Some(&[
        PermittedPeer::Dns("*.example.com".into()),
        PermittedPeer::Dns("router".into()),
        PermittedPeer::Ip("192.0.2.1".parse().unwrap()),
        PermittedPeer::Fingerprint(Sha256::digest(&pinned.der).into()),
    ]));
    let (addr, listener) = bed.tls(&tls, |_| {});
    pki.client("web01", &["web01.example.com"]);
    pki.client("router", &[]);
    pki.client("address", &["192.0.2.1"]);
    // Its common name is on the list; beside another name it does not count.
    pki.client("www.example.com", &["www.example.org"]);
    for (authority, name) in [("Another CA", "stranger"), ("Test CA", "impostor")] {
        let authority = Authority::new(authority).unwrap();
        let issued = authority.issue(name, &["web01.example.com"]).unwrap();
        issued.write(&pki.file(""), name).unwrap();
    }
    let expired = pki
        .authority
        .issue_expired("expired", &["web01.example.com"]);
    expired.unwrap().write(&pki.file(""), "expired").unwrap();

    for version in VERSIONS {
        for name in ["web01", "router", "address", "pinned"] {
            let own = own(name);
            let options: Vec<&str> = own.iter().map(String::as_str).chain([version]).collect();
            let output = pki
                .send(addr, &options, &format!("<13>from {name}\n"))
                .await;
            assert!(output.status.success(), "{name}: {output:?}");
            assert_eq!(bed.messages(1).await, [format!("from {name}")]);
        }
        for (name, reason, alert) in [
            ("", HandshakeFailure::NoCertificate, "certificate required"),
            ("stranger", HandshakeFailure::UnknownAuthority, "unknown ca"),
            (
                "impostor",
                HandshakeFailure::UnknownAuthority,
                "decrypt error",
            ),
            (
                "expired",
                HandshakeFailure::BadCertificate,
                "certificate expired",
            ),
            (
                "www.example.com",
                HandshakeFailure::NotPermitted,
                "certificate unknown",
            ),
        ] {
            let before = bed.handshakes_failed(reason);
            let own = if name.is_empty() {
                Vec::new()
            } else {
                own(name).to_vec()
            };
            let options: Vec<&str> = own.iter().map(String::as_str).chain([version]).collect();
            // TLS 1.2 has an older word for it.
            let said = pki.refused(addr, &options).await;
            let said = said.replace("handshake failure", "certificate required");
            assert!(said.contains(alert), "{version} {name}: {said}");
            eventually("it is counted", || {
                bed.handshakes_failed(reason) == before + 1
            })
            .await;
        }
    }
    bed.stop(listener).await;
    assert_eq!(bed.received(Listener::SyslogTls), 8);
}

#[tokio::test]
async fn a_resumed_session_does_not_come_past_the_certificate() {
    if !openssl_is_there() {
        return;
    }
    let (mut bed, pki) = (Bed::new(), Pki::new());
    pki.client("web01", &["web01.example.com"]);
    let (addr, listener) = bed.tls(&pki.mutual(None), |_| {});
    for version in VERSIONS {
        let certificate = own("web01");
        let mut options: Vec<&str> = certificate.iter().map(String::as_str).collect();
        options.extend([version, "-sess_out", "session.pem"]);
        let output = pki.send(addr, &options, "<13>first\n").await;
        assert!(output.status.success(), "{output:?}");
        assert_eq!(bed.messages(1).await, ["first"]);
        if !pki.file("session.pem").exists() {
            continue;
        }
        let before = bed.handshakes_failed(HandshakeFailure::NoCertificate);
        pki.refused(addr, &[version, "-sess_in", "session.pem"])
            .await;
        eventually("it is refused", || {
            bed.handshakes_failed(HandshakeFailure::NoCertificate) == before + 1
        })
        .await;
        std::fs::remove_file(pki.file("session.pem")).unwrap();
    }
    bed.stop(listener).await;
    assert_eq!(bed.received(Listener::SyslogTls), 2);
}

#[tokio::test]
async fn what_is_no_tls_is_counted_and_harms_nobody() {
    if !openssl_is_there() {
        return;
    }
    let (mut bed, pki) = (Bed::new(), Pki::new());
    let (addr, listener) = bed.tls(&pki.open(), |_| {});
    let good = pki.openssl(addr, &["-quiet", "-no_ign_eof"]);
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
    let plain: [&[u8]; 3] = [
        b"<13>Oct 11 22:14:15 web01 app: in plain text\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"42 <13>counted",
    ];
    let mut failed = 0;
    for bytes in plain
        .iter()
        .map(|bytes| bytes.to_vec())
        .chain((1..40).map(|n| garbage(50 * n)))
    {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        // An alert at most, then the end.
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .unwrap();
        assert!(answer.len() < 100, "{answer:?}");
        failed += 1;
    }
    // A ClientHello that ends in the middle, and a record with nonsense in it.
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"\x16\x03\x01\x00\x04abcd",
    ] {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
        failed += 1;
    }
    let count = || HandshakeFailure::ALL.map(|reason| bed.handshakes_failed(reason));
    eventually("all are counted", || count().iter().sum::<u64>() == failed).await;
    assert!(
        bed.handshakes_failed(HandshakeFailure::NotTls) >= 3,
        "{:?}",
        count()
    );

    let mut good = good;
    let mut input = good.stdin.take().unwrap();
    input.write_all(b"<13>still here\n").await.unwrap();
    drop(input);
    assert_eq!(bed.messages(1).await, ["still here"]);
    assert!(good.wait().await.unwrap().success());
    bed.stop(listener).await;
    assert_eq!(bed.received(Listener::SyslogTls), 1);
}

/// More than the limit, within a usual number of file descriptors.
const SILENT: usize = 300;

#[tokio::test]
async fn handshakes_that_never_end_stand_in_nobodys_way() {
    if !openssl_is_there() {
        return;
    }
    let (mut bed, pki) = (Bed::new(), Pki::new());
    // They take no places of connections either.
    let (addr, listener) = bed.tls(&pki.open(), |options| options.max_connections = 1);
    let mut silent = Vec::new();
    for _ in 0..SILENT {
        // From another address than the good client.
        let socket = TcpSocket::new_v4().unwrap();
        socket
            .bind(SocketAddr::new(IpAddr::from([127, 0, 0, 66]), 0))
            .unwrap();
        let mut stream = socket.connect(addr).await.unwrap();
        // The beginning of a ClientHello.
        let _ = stream.write_all(b"\x16\x03\x01").await;
        silent.push(stream);
    }
    eventually("the oldest of them end", || {
        bed.handshakes_failed(HandshakeFailure::Crowded) > 0
    })
    .await;
    let output = pki.send(addr, &[], "<13>through the crowd\n").await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(bed.messages(1).await, ["through the crowd"]);
    // Those that are left end too.
    drop(silent);
    let count = || HandshakeFailure::ALL.map(|reason| bed.handshakes_failed(reason));
    eventually("all are counted", || {
        count().iter().sum::<u64>() == SILENT as u64
    })
    .await;
    bed.stop(listener).await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_handshakes_and_says_goodbye() {
    if !openssl_is_there() {
        return;
    }
    let (mut bed, pki) = (Bed::new(), Pki::new());
    let (addr, listener) = bed.tls(&pki.open(), |_| {});
    let _silent = TcpStream::connect(addr).await.unwrap();
    let mut client = pki.openssl(addr, &["-quiet", "-no_ign_eof"]);
    let mut input = client.stdin.take().unwrap();
    input.write_all(numbered(500).as_bytes()).await.unwrap();
    input.write_all(b"<13>half a li").await.unwrap();
    eventually("some are read", || bed.received(Listener::SyslogTls) > 0).await;
    bed.stop(listener).await;
    // openssl ends well only where the end was said (close_notify), and badly by a reset.
    let output = client.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    drop(input);
    let count = usize::try_from(bed.depth().await).unwrap();
    let messages = bed.messages(count).await;
    assert_eq!(messages[0], "number 0");
    assert_eq!(bed.accepted(Listener::SyslogTls), count as u64);
    let lost = RejectReason::ALL.map(|reason| bed.rejected(Listener::SyslogTls, reason));
    assert_eq!(lost.iter().sum::<u64>(), 0);
}

/// What a client sees of the server's certificate.
async fn serial(pki: &Pki, addr: SocketAddr) -> String {
    let mut client = pki.openssl(addr, &["-no_ign_eof"]);
    drop(client.stdin.take());
    let output = client.wait_with_output().await.unwrap();
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let (begin, end) = (output.find("-----BEGIN"), output.find("-----END"));
    output[begin.expect("a certificate")..end.unwrap()].to_owned()
}

#[tokio::test]
async fn a_certificate_is_replaced_in_the_middle_of_a_stream() {
    if !openssl_is_there() {
        return;
    }
    let (mut bed, pki) = (Bed::new(), Pki::new());
    pki.client("web01", &["web01.example.com"]);
    let tls = pki.mutual(None);
    let (addr, listener) = bed.tls(&tls, |_| {});
    let certificate = own("web01");
    let certificate: Vec<&str> = certificate.iter().map(String::as_str).collect();
    let quiet = [&["-quiet", "-no_ign_eof"], &certificate[..]].concat();
    let mut sender = pki.openssl(addr, &quiet);
    let mut input = sender.stdin.take().unwrap();
    let mut sent = 0;
    let mut send = async || {
        for _ in 0..100 {
            let line = format!("<13>number {sent}\n");
            input.write_all(line.as_bytes()).await?;
            sent += 1;
        }
        io::Result::Ok(())
    };
    send().await.unwrap();
    eventually("some are read", || bed.received(Listener::SyslogTls) > 0).await;
    let first = serial(&pki, addr).await;
    assert!(!tls.reload().unwrap(), "nothing changed");
    pki.new_server_certificate();
    assert!(tls.reload().unwrap());
    let second = serial(&pki, addr).await;
    assert_ne!(first, second);
    send().await.unwrap();

    // What cannot be used changes nothing.
    std::fs::write(pki.file("server.key"), "no key").unwrap();
    let error = tls.reload().unwrap_err().to_string();
    assert!(error.contains("server.key"), "{error}");
    assert_eq!(serial(&pki, addr).await, second);
    send().await.unwrap();

    // Another authority for clients: who is in stays, and does not get in again.
    pki.new_server_certificate();
    let other = Authority::new("Another CA").unwrap();
    std::fs::write(pki.ca(), pki.authority.pem().to_owned() + other.pem()).unwrap();
    assert!(tls.reload().unwrap());
    assert!(
        pki.send(addr, &certificate, "<13>both are known\n")
            .await
            .status
            .success()
    );
    std::fs::write(pki.file("clients.pem"), other.pem()).unwrap();
    std::fs::rename(pki.file("clients.pem"), pki.ca()).unwrap();
    assert!(tls.reload().unwrap());
    std::fs::write(pki.ca(), pki.authority.pem()).unwrap();
    let refused = pki.refused(addr, &certificate).await;
    assert!(refused.contains("unknown ca"), "{refused}");
    send().await.unwrap();
    drop(input);
    assert!(sender.wait().await.unwrap().success());

    let mut messages = bed.messages(401).await;
    let other = messages
        .iter()
        .position(|message| message == "both are known");
    messages.remove(other.expect("it is there"));
    let expected: Vec<_> = (0..400).map(|number| format!("number {number}")).collect();
    assert_eq!(messages, expected, "none is lost and all are in order");
    bed.stop(listener).await;
}

#[tokio::test]
async fn many_connections_at_once_all_get_through() {
    if !openssl_is_there() {
        return;
    }
    let (mut bed, pki) = (Bed::new(), Arc::new(Pki::new()));
    let (addr, listener) = bed.tls(&pki.open(), |_| {});
    let senders: Vec<_> = (0..20)
        .map(|number| {
            let pki = pki.clone();
            tokio::spawn(async move {
                let lines = format!("<13>{number} first\n<13>{number} second\n");
                pki.send(addr, &[], &lines).await
            })
        })
        .collect();
    for sender in senders {
        let output = sender.await.unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let messages = bed.messages(40).await;
    for number in 0..20 {
        let of: Vec<_> = messages
            .iter()
            .filter_map(|message| message.strip_prefix(&format!("{number} ")))
            .collect();
        assert_eq!(of, ["first", "second"]);
    }
    let metrics = bed
        .admission
        .metrics()
        .listener(Listener::SyslogTls)
        .clone();
    eventually("the connections end", || metrics.connections.get() == 0).await;
    tokio::time::timeout(Duration::from_secs(30), bed.stop(listener))
        .await
        .unwrap();
}
