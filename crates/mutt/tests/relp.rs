//! rsyslog with omrelp and a disk-assisted queue, against a real `mutt` that is killed in the middle:
//! nothing is lost, and what comes twice is counted and bounded. With the configuration that
//! deploy/ has for it.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod support;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use mutt_engine::EventQueue;
use mutt_engine::embedded::{Embedded, Mode};
use mutt_testbed::{Certificates, Daemon, Rsyslogd};
use support::{Mutt, PATIENCE, Port, until};

/// Messages that a librelp sender has without response, at most.
const WINDOW: u64 = 128;

/// Messages in one go.
const ROUND: u64 = 4_000;

/// An ingestor that stores and decides nothing: what came in stays countable.
fn ingestor(settings: &[(&str, &str)]) -> Mutt {
    Mutt::new(settings).roles("ingestor")
}

/// rsyslog with a file of `deploy/rsyslog`, in which these places are changed, and a file of all that
/// it took.
fn rsyslog(file: &str, places: &[(&str, &str)]) -> Daemon {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/rsyslog");
    let mut text = std::fs::read_to_string(path.join(file)).unwrap();
    for (place, new) in places {
        assert!(text.contains(place), "{file} has no {place}");
        text = text.replace(place, new);
    }
    Rsyslogd::start(|dir| {
        let all = dir.join("all.log");
        format!(
            "{text}\naction(type=\"omfile\" file=\"{}\")\n",
            all.display()
        )
    })
}

/// The same without TLS.
fn plain(relp: &Port) -> Daemon {
    let port = format!("port=\"{}\"", relp.number);
    let here = [
        ("mutt.example.com", "127.0.0.1"),
        ("port=\"20514\"", port.as_str()),
    ];
    rsyslog("60-mutt-relp.conf", &here)
}

/// Hands rsyslog these lines, as fast as it takes them.
fn log(rsyslog: &Daemon, lines: &[u8]) -> Child {
    let mut logger = Command::new("logger")
        .args(["--tag", "relp-test", "--socket"])
        .arg(rsyslog.socket())
        .stdin(Stdio::piped())
        .spawn()
        .expect("util-linux's logger");
    let mut input = logger.stdin.take().unwrap();
    let lines = lines.to_vec();
    thread::spawn(move || input.write_all(&lines));
    logger
}

/// The numbered messages of a round.
fn numbered(round: u64) -> Vec<u8> {
    let numbers = round * ROUND..(round + 1) * ROUND;
    numbers
        .flat_map(|number| format!("number {number}\n").into_bytes())
        .collect()
}

/// Waits until rsyslog has so many rounds out of its socket and in its queue.
async fn taken(rsyslog: &Daemon, rounds: u64) {
    let log = rsyslog.directory().join("all.log");
    until("all are in rsyslog's queue", async || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.lines().count() as u64 >= rounds * ROUND
    })
    .await;
}

/// A sample of the server in the life of this process; 0 while it does not answer.
async fn metric(mutt: &Mutt, series: &str) -> u64 {
    let Ok(page) = reqwest::get(mutt.url("/metrics")).await else {
        return 0;
    };
    let page = page.text().await.unwrap_or_default();
    let value = page.lines().find_map(|line| line.strip_prefix(series));
    value.map_or(0, |value| value.trim().parse().unwrap())
}

async fn accepted(mutt: &Mutt) -> u64 {
    metric(mutt, "mutt_ingest_accepted_total{listener=\"relp\"}").await
}

/// Waits until so many messages are stored and rsyslog has none left.
async fn all_is_stored(mutt: &Mutt, rsyslog: &Daemon, rounds: u64) {
    until("as many messages as were sent", async || {
        metric(mutt, "mutt_ingest_queue_depth").await >= rounds * ROUND
    })
    .await;
    // Among them may be some that came twice. What rsyslog has left when it stops is on its disk.
    let mut left = Vec::new();
    for _ in 0..20 {
        rsyslog.stop().unwrap();
        let entries = std::fs::read_dir(rsyslog.directory()).unwrap();
        left = entries
            .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
            .filter(|name| name.starts_with("mutt_relp"))
            .collect();
        if left.is_empty() {
            return;
        }
        rsyslog.start_again().unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("rsyslog keeps {left:?}:\n{}", rsyslog.log_tail(20));
}

/// Every message of these rounds is stored; how many more there are than that.
async fn repeats(mutt: &Mutt, rounds: u64) -> u64 {
    let counts = stored(mutt.data()).await;
    let messages = rounds * ROUND;
    let lost: Vec<_> = (0..messages)
        .filter(|number| !counts.contains_key(number))
        .collect();
    let some = &lost[..lost.len().min(20)];
    assert!(
        lost.is_empty(),
        "{} of {messages} are lost: {some:?}",
        lost.len()
    );
    counts.values().sum::<u64>() - messages
}

/// How often each number is stored.
async fn stored(data: &Path) -> BTreeMap<u64, u64> {
    let engine = Embedded::open(data, Mode::Server).unwrap();
    let (worker, mut counts, mut claims) = ("count".into(), BTreeMap::new(), Vec::new());
    while engine.event_depth().await.unwrap() > 0 {
        let claim = engine.claim_events(&worker, 1_000, PATIENCE);
        let claim = claim.await.unwrap().expect("some are there");
        for text in claim.iter() {
            let event: serde_json::Value = serde_json::from_slice(text).unwrap();
            let message = event["message"].as_str().unwrap();
            let number = message
                .strip_prefix("number ")
                .unwrap_or_else(|| panic!("{event}"));
            *counts.entry(number.parse().unwrap()).or_insert(0) += 1;
        }
        claims.push(claim);
    }
    counts
}

fn is_here() -> bool {
    let here = Rsyslogd::is_installed();
    if !here {
        eprintln!("skipped: there is no rsyslogd");
    }
    here
}

/// Sends rounds of messages, kills the server in the middle of each but the last, and counts what
/// came twice.
async fn killed(mutt: &mut Mutt, rsyslog: &Daemon, kills: u64) -> u64 {
    mutt.start().await;
    for round in 0..=kills {
        let mut logger = log(rsyslog, &numbered(round));
        if round < kills {
            until("the middle", async || accepted(mutt).await > ROUND / 4).await;
            mutt.kill();
            mutt.start().await;
        }
        assert!(logger.wait().unwrap().success());
    }
    all_is_stored(mutt, rsyslog, kills + 1).await;
    assert_eq!(mutt.stop(), Some(0));
    repeats(mutt, kills + 1).await
}

#[tokio::test]
async fn nothing_is_lost_and_little_comes_twice_while_mutt_is_killed() {
    if !is_here() {
        return;
    }
    let relp = Port::take();
    let mut mutt = ingestor(&[("RELP_ADDR", &relp.number.to_string())]);
    let rsyslog = plain(&relp);
    let kills = 4;
    let repeats = killed(&mut mutt, &rsyslog, kills).await;
    eprintln!("{repeats} came twice after {kills} kills");
    assert!(repeats <= kills * WINDOW, "{repeats} came twice");
}

#[tokio::test]
async fn over_tls_it_is_the_same_with_either_library() {
    if !is_here() {
        return;
    }
    let files = tempfile::tempdir().unwrap();
    let certificates = Certificates::write(files.path()).unwrap();
    let path = |path: &Path| path.display().to_string();
    let (certificate, key) = (
        path(certificates.certificate_file()),
        path(certificates.key_file()),
    );
    for library in ["openssl", "gnutls"] {
        let relp = Port::take();
        let number = relp.number.to_string();
        let mut mutt = ingestor(&[
            ("RELP_TLS_ADDR", &number),
            ("SYSLOG_TLS_CERT_FILE", &certificate),
            ("SYSLOG_TLS_KEY_FILE", &key),
        ]);
        let rsyslog = rsyslog(
            "60-mutt-relp-tls.conf",
            &[
                ("target=\"mutt.example.com\"", "target=\"127.0.0.1\""),
                ("port=\"20515\"", &format!("port=\"{number}\"")),
                (
                    "tls.permittedPeer=\"mutt.example.com\"",
                    "tls.permittedPeer=\"localhost\"",
                ),
                ("/etc/rsyslog.d/tls/ca.pem", &path(certificates.ca_file())),
                ("/etc/rsyslog.d/tls/client.pem", &certificate),
                ("/etc/rsyslog.d/tls/client.key", &key),
                (
                    "tls.tlslib=\"openssl\"",
                    &format!("tls.tlslib=\"{library}\""),
                ),
            ],
        );
        let repeats = killed(&mut mutt, &rsyslog, 1).await;
        assert!(repeats <= WINDOW, "{library}: {repeats} came twice");
    }
}

#[tokio::test]
async fn a_stop_in_order_makes_no_repeats() {
    if !is_here() {
        return;
    }
    let relp = Port::take();
    let mut mutt = ingestor(&[("RELP_ADDR", &relp.number.to_string())]);
    mutt.start().await;
    let rsyslog = plain(&relp);
    for round in 0..3 {
        let mut logger = log(&rsyslog, &numbered(round));
        if round < 2 {
            until("the middle", async || accepted(&mutt).await > ROUND / 4).await;
            assert_eq!(mutt.stop(), Some(0));
            mutt.start().await;
        }
        assert!(logger.wait().unwrap().success());
    }
    all_is_stored(&mutt, &rsyslog, 3).await;
    assert_eq!(mutt.stop(), Some(0));
    assert_eq!(repeats(&mutt, 3).await, 0);
}

/// What rsyslog has sent and has no response to is in its memory alone: it may restart only while
/// there is none, or while MUTT is there to give it.
#[tokio::test]
async fn nothing_is_lost_when_rsyslog_restarts() {
    if !is_here() {
        return;
    }
    let relp = Port::take();
    let mut mutt = ingestor(&[("RELP_ADDR", &relp.number.to_string())]);
    // Before MUTT was ever there.
    let rsyslog = plain(&relp);
    assert!(log(&rsyslog, &numbered(0)).wait().unwrap().success());
    taken(&rsyslog, 1).await;
    rsyslog.stop().unwrap();
    rsyslog.start_again().unwrap();
    mutt.start().await;
    // In the middle.
    assert!(log(&rsyslog, &numbered(1)).wait().unwrap().success());
    taken(&rsyslog, 2).await;
    until("the middle", async || accepted(&mutt).await > ROUND / 4).await;
    rsyslog.stop().unwrap();
    rsyslog.start_again().unwrap();
    all_is_stored(&mutt, &rsyslog, 2).await;
    assert_eq!(mutt.stop(), Some(0));
    let repeats = repeats(&mutt, 2).await;
    assert!(repeats <= 2 * WINDOW, "{repeats} came twice");
}
