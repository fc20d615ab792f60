//! Syslog over TLS with the real server: what rsyslog still has when the server dies arrives later,
//! and certificates are replaced by SIGHUP.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod support;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};

use mutt_engine::{AuditFilter, Engine};
use mutt_testbed::{Authority, Daemon, Rsyslogd};
use support::{Mutt, Port, until};

/// A server that listens for syslog over TLS alone, and audits whatever comes.
struct Bed {
    mutt: Mutt,
    port: Port,
    authority: Authority,
}

impl Bed {
    fn new(settings: &[(&str, &str)]) -> Self {
        let mut mutt = Mutt::new(&[
            ("AUDIT_SCOPE", "all"),
            ("UNHANDLED_EVENT_THRESHOLD", "100000000"),
        ]);
        let (port, authority) = (Port::take(), Authority::new("Test CA").unwrap());
        let dir = mutt.data().to_owned();
        std::fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
        let client = authority.issue("web01", &["web01.example.com"]).unwrap();
        client.write(&dir, "web01").unwrap();
        mutt.set("SYSLOG_TLS_ADDR", &port.number.to_string());
        for (setting, file) in [
            ("SYSLOG_TLS_CERT_FILE", "server.pem"),
            ("SYSLOG_TLS_KEY_FILE", "server.key"),
            ("SYSLOG_TLS_CLIENT_CA", "ca.pem"),
        ] {
            mutt.set(setting, &dir.join(file).display().to_string());
        }
        for (name, value) in settings {
            mutt.set(name, value);
        }
        let bed = Self {
            mutt,
            port,
            authority,
        };
        bed.new_certificate();
        bed
    }

    fn dir(&self) -> &Path {
        self.mutt.data()
    }

    fn new_certificate(&self) {
        let names = ["localhost", "127.0.0.1"];
        let server = self.authority.issue("localhost", &names).unwrap();
        server.write(self.dir(), "server").unwrap();
    }

    /// rsyslog that sends to this server whatever it is told, with a queue on disk.
    fn rsyslog(&self, driver: &str) -> Daemon {
        Rsyslogd::start(|_| {
            format!(
                r#"global(DefaultNetstreamDriverCAFile="{dir}/ca.pem"
       DefaultNetstreamDriverCertFile="{dir}/web01.pem"
       DefaultNetstreamDriverKeyFile="{dir}/web01.key")
action(type="omfwd" protocol="tcp" target="127.0.0.1" port="{port}"
       StreamDriver="{driver}" StreamDriverMode="1"
       StreamDriverAuthMode="x509/name" StreamDriverPermittedPeers="localhost"
       TCP_Framing="octet-counted" template="RSYSLOG_SyslogProtocol23Format"
       queue.type="LinkedList" queue.filename="mutt" queue.saveOnShutdown="on"
       action.resumeRetryCount="-1" action.resumeInterval="1")"#,
                dir = self.dir().display(),
                port = self.port.number,
            )
        })
    }

    /// Whether this number was among the last that were decided.
    async fn has(&self, number: u64) -> bool {
        let engine = self.mutt.engine();
        let numbers = decided(&*engine, 2_000).await;
        engine.close().await;
        numbers.contains(&number)
    }

    /// Events that this life of the server has stored.
    async fn stored(&self) -> u64 {
        let text = reqwest::get(self.mutt.url("/metrics")).await.unwrap();
        let text = text.text().await.unwrap();
        let name = "mutt_ingest_accepted_total{listener=\"syslog_tls\"} ";
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        value.expect("it is served").parse().unwrap()
    }
}

/// The numbers of events that were decided, the last ones first.
async fn decided(engine: &dyn Engine, most: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    let mut before_id = None;
    while numbers.len() < most {
        let filter = AuditFilter {
            before_id,
            limit: most.min(5_000),
            ..AuditFilter::default()
        };
        let page = engine.audit_rows(filter).await.unwrap();
        let Some(last) = page.last() else { break };
        before_id = Some(last.id);
        numbers.extend(page.iter().map(|row| {
            let event: serde_json::Value = serde_json::from_str(&row.raw_message).unwrap();
            let message = event["message"].as_str().unwrap();
            let number = message.strip_prefix("number ").expect(message);
            number.parse::<u64>().unwrap()
        }));
    }
    numbers
}

/// Logs these numbers as an application of rsyslog's machine does.
fn log(daemon: &Daemon, numbers: std::ops::Range<u64>) {
    let socket = UnixDatagram::unbound().unwrap();
    socket.connect(daemon.socket()).unwrap();
    for number in numbers {
        let message = format!("<14>Oct 11 22:14:15 app[7]: number {number}");
        socket.send(message.as_bytes()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rsyslog_still_has_when_the_server_is_killed_arrives_later() {
    if !Rsyslogd::is_installed() {
        eprintln!("skipped: there is no rsyslog");
        return;
    }
    for driver in ["gtls", "ossl"] {
        let mut bed = Bed::new(&[]);
        bed.mutt.start().await;
        let daemon = bed.rsyslog(driver);
        let mut end = 0;
        // Numbers that were on their way when the server died, or went into the broken connection
        // before rsyslog noticed: nobody can get those back.
        let mut in_flight = Vec::new();
        for cycle in 0..4 {
            let mut from = end;
            end += 5_000;
            log(&daemon, from..end);
            if cycle % 2 == 0 {
                // Killed in the middle of the stream …
                until("some of them", async || bed.stored().await > 0).await;
            } else {
                // … or while nothing is on its way.
                until("all of them", async || bed.has(end - 1).await).await;
                from = end;
            }
            let before = complaints(&daemon);
            bed.mutt.kill();
            until("rsyslog notices", async || {
                log(&daemon, end..end + 1);
                end += 1;
                complaints(&daemon) > before
            })
            .await;
            in_flight.push(from..end);
            log(&daemon, end..end + 500);
            end += 500;
            bed.mutt.start().await;
            until("those of the time without a server", async || {
                bed.has(end - 1).await
            })
            .await;
        }
        daemon.stop().unwrap();
        assert_eq!(bed.mutt.stop(), Some(0));
        let engine = bed.mutt.engine();
        let numbers = decided(&*engine, usize::MAX).await;
        engine.close().await;
        let unique: BTreeSet<u64> = numbers.iter().copied().collect();
        let lost: Vec<u64> = (0..end).filter(|number| !unique.contains(number)).collect();
        let twice = numbers.len() - unique.len();
        eprintln!("{driver}: {end} logged, {} lost, {twice} twice", lost.len());
        for number in lost {
            assert!(
                in_flight.iter().any(|range| range.contains(&number)),
                "{number} is lost, and was not on its way: {in_flight:?}"
            );
        }
    }
}

/// How often rsyslog said that it cannot send.
fn complaints(daemon: &Daemon) -> usize {
    let log = std::fs::read_to_string(daemon.directory().join("daemon.log")).unwrap_or_default();
    log.matches("closed connection").count() + log.matches("cannot connect").count()
}

/// The certificate that a client sees.
fn certificate(bed: &Bed) -> String {
    let output = Command::new("openssl")
        .args([
            "s_client",
            "-connect",
            &bed.port.addr().to_string(),
            "-CAfile",
        ])
        .arg(bed.dir().join("ca.pem"))
        .arg("-cert")
        .arg(bed.dir().join("web01.pem"))
        .arg("-key")
        .arg(bed.dir().join("web01.key"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let begin = text.find("-----BEGIN").expect("a certificate is shown");
    text[begin..text.find("-----END").unwrap()].to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_takes_a_new_certificate_and_a_bad_one_changes_nothing() {
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("skipped: there is no `openssl`");
        return;
    }
    let mut bed = Bed::new(&[("SYSLOG_TLS_PERMITTED_PEERS", "*.example.com")]);
    bed.mutt.start().await;
    let first = certificate(&bed);
    bed.new_certificate();
    bed.mutt.signal("HUP");
    until("the new certificate", async || certificate(&bed) != first).await;
    let second = certificate(&bed);
    std::fs::write(bed.dir().join("server.key"), "no key").unwrap();
    bed.mutt.signal("HUP");
    until("an error in the log", async || {
        bed.mutt.log().contains("server.key")
    })
    .await;
    assert_eq!(certificate(&bed), second);
    // The doctor finds it as well.
    let output = bed.mutt.run(&["doctor"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("server.key") && said.contains("bad"),
        "{said}"
    );
    assert_eq!(bed.mutt.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_page_make_certificates_that_work() {
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("skipped: there is no `openssl`");
        return;
    }
    let page = include_str!("../../../docs/sources/syslog-tls.md");
    let commands = page
        .split("```sh\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let mut bed = Bed::new(&[("SYSLOG_TLS_PERMITTED_PEERS", "web01.example.com")]);
    let made = Command::new("sh")
        .args(["-e", "-c", commands])
        .current_dir(bed.dir())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    if said.contains("copy_extensions") && !made.status.success() {
        eprintln!("skipped: this openssl is older than 3");
        return;
    }
    assert!(made.status.success(), "{said}");
    bed.mutt.start().await;
    let mut client = Command::new("openssl")
        .current_dir(bed.dir())
        .args(["s_client", "-connect", &bed.port.addr().to_string()])
        .args([
            "-CAfile",
            "ca.pem",
            "-cert",
            "web01.pem",
            "-key",
            "web01.key",
        ])
        .args([
            "-verify_return_error",
            "-verify_hostname",
            "mutt.example.com",
        ])
        .args(["-quiet", "-no_ign_eof"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = client.stdin.take().unwrap();
    input.write_all(b"<13>number 42\n").unwrap();
    drop(input);
    assert!(client.wait().unwrap().success());
    until("it is decided", async || bed.has(42).await).await;
    let output = bed.mutt.run(&["doctor"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("server.pem is good for 39"), "{said}");
    assert_eq!(bed.mutt.stop(), Some(0));
}
