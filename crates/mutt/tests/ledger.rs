//! The ledger: senders at load, SIGKILL at random moments, and afterwards every event that got its
//! 200 has exactly one audit row, every forwardable one was delivered, nothing waits anywhere.
//!
//! `MUTT_TEST_CYCLES` sets the number of kills (default 50), `MUTT_TEST_SEED` the moments.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod support;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mutt_engine::{AuditFilter, Dlq, Engine, StoredAuditRow};
use mutt_forwarder::MockMoog;
use mutt_forwarder::mock::Fault;
use parking_lot::Mutex;
use serde_json::json;
use support::{KEY, Mutt, contains};
use tokio::io::AsyncWriteExt as _;

/// What senders know.
#[derive(Default)]
struct Ledger {
    /// Numbers that were answered 200.
    acknowledged: Mutex<Vec<u64>>,
    next: AtomicU64,
    stop: AtomicBool,
}

impl Ledger {
    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

/// One in two pages, one in four is logged, the rest no rule knows.
fn text(number: u64) -> String {
    let kind = match number % 4 {
        0 | 1 => "PAGE-IT",
        2 => "LOG-IT",
        _ => "who-knows",
    };
    format!("{kind} ledger-{number}.")
}

fn event(number: u64) -> String {
    json!({"hostname": format!("host-{}", number % 20), "message": text(number)}).to_string()
}

/// Posts single events and batches in turn. A request that was not answered may or may not have been
/// taken; it is not on the ledger, and its numbers are not used again.
async fn http_sender(url: String, ledger: Arc<Ledger>) {
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(30))
        .build()
        .unwrap();
    let mut turn = 0_u64;
    while !ledger.stop.load(Ordering::Relaxed) {
        turn += 1;
        let numbers: Vec<u64> = (0..if turn.is_multiple_of(3) { 20 } else { 1 })
            .map(|_| ledger.number())
            .collect();
        let body = numbers
            .iter()
            .map(|&number| event(number))
            .collect::<Vec<_>>()
            .join("\n");
        let sent = client
            .post(&url)
            .header("x-api-key", KEY)
            .body(body)
            .send()
            .await;
        match sent {
            Ok(answer) if answer.status() == 200 => {
                ledger.acknowledged.lock().extend(numbers);
                // Paced, so that a slow machine has no backlog of minutes at the end.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Writes lines as long as there is somebody to read them. Nothing is acknowledged, so nothing is
/// promised but that no line is decided twice.
async fn tcp_sender(addr: std::net::SocketAddr, ledger: Arc<Ledger>) {
    while !ledger.stop.load(Ordering::Relaxed) {
        let Ok(mut stream) = tokio::net::TcpStream::connect(addr).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        while !ledger.stop.load(Ordering::Relaxed) {
            let number = ledger.number();
            let line = format!("<187>Nov 21 12:00:00 host-tcp {}\n", text(number));
            if stream.write_all(line.as_bytes()).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_or_decided_twice_whenever_the_server_dies() {
    let cycles: u64 = setting("MUTT_TEST_CYCLES", 50);
    let seed: u64 = setting("MUTT_TEST_SEED", u64::from(std::process::id()));
    eprintln!("{cycles} kills, seed {seed}");

    let mock = MockMoog::start((Ipv4Addr::LOCALHOST, 0).into())
        .await
        .unwrap();
    // A sink that fails now and then, so that kills also meet retries.
    mock.set_faults([Fault {
        status: Some(503),
        share: Some(0.05),
        ..Fault::default()
    }]);
    let mut mutt = Mutt::new(&[
        ("AUDIT_SCOPE", "all"),
        ("MOOG_WEBHOOK_URL", &mock.url()),
        ("MOOG_RATE_LIMIT", "1000000"),
        ("MOOG_RETRY_BASE_DELAY", "0.05"),
        ("MOOG_RETRY_MAX_DELAY", "0.5"),
        ("MOOG_MAX_RETRIES", "1000"),
        ("CIRCUIT_BREAKER_ENABLED", "false"),
        ("UNHANDLED_EVENT_THRESHOLD", "100000000"),
    ]);
    mutt.rules(json!([
        contains("PAGE-IT", "Page_and_ticket"),
        contains("LOG-IT", "Log_only")
    ]))
    .await;
    mutt.start().await;

    let ledger = Arc::new(Ledger::default());
    let mut senders = Vec::new();
    for _ in 0..3 {
        senders.push(tokio::spawn(http_sender(
            mutt.url("/ingest"),
            ledger.clone(),
        )));
    }
    senders.push(tokio::spawn(tcp_sender(mutt.syslog.addr(), ledger.clone())));

    let mut chance = seed;
    for cycle in 0..cycles {
        // Knuth's MMIX generator: any spread of moments will do.
        chance = chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let before = ledger.acknowledged.lock().len();
        tokio::time::sleep(Duration::from_millis(20 + (chance >> 33) % 400)).await;
        // Every second life must have taken something, or the test would test nothing.
        if cycle % 2 == 0 {
            support::until("an acknowledged event", async || {
                ledger.acknowledged.lock().len() > before
            })
            .await;
        }
        mutt.kill();
        mutt.start().await;
    }
    ledger.stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await.unwrap();
    }
    drained(&mutt).await;
    assert_eq!(
        mutt.stop(),
        Some(0),
        "a server that is told to end ends in order"
    );

    let acknowledged = std::mem::take(&mut *ledger.acknowledged.lock());
    let engine = mutt.engine();
    let rows = audit_rows(&*engine).await;
    let mut by_number: HashMap<u64, Vec<&StoredAuditRow>> = HashMap::new();
    for row in &rows {
        by_number
            .entry(number(&row.raw_message))
            .or_default()
            .push(row);
    }
    eprintln!(
        "{} acknowledged, {} audit rows",
        acknowledged.len(),
        rows.len()
    );
    assert!(acknowledged.len() as u64 > cycles, "there was load");
    let lost: Vec<_> = acknowledged
        .iter()
        .filter(|number| !by_number.contains_key(number))
        .collect();
    assert!(
        lost.is_empty(),
        "acknowledged and without an audit row: {lost:?}"
    );
    let twice: Vec<_> = by_number
        .iter()
        .filter(|(_, rows)| rows.len() > 1)
        .map(|(n, _)| n)
        .collect();
    assert!(twice.is_empty(), "decided twice: {twice:?}");
    for row in rows.iter().filter(|row| row.forwarded_to_moog) {
        let id = row.event_id.to_string();
        assert!(
            mock.delivered(&id) > 0,
            "not delivered: {}",
            row.raw_message
        );
    }
    let forwarded = rows.iter().filter(|row| row.forwarded_to_moog).count() as u64;
    assert!(forwarded > 0);
    let stats = mock.stats(Duration::from_secs(1));
    assert_eq!(
        stats.unique, forwarded,
        "one external_id for each alert, the same on every attempt"
    );
    assert_eq!(stats.uncounted, 0);
    for queue in Dlq::ALL {
        assert_eq!(engine.dlq_depth(queue).await.unwrap(), 0, "{}", queue.key());
    }
    engine.close().await;
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

fn number(raw: &str) -> u64 {
    let rest = raw
        .split("ledger-")
        .nth(1)
        .unwrap_or_else(|| panic!("no number in {raw}"));
    rest.split('.')
        .next()
        .unwrap()
        .parse()
        .unwrap_or_else(|_| panic!("no number in {raw}"))
}

/// Waits until every queue is empty and nobody holds anything, for as long as something moves.
async fn drained(mutt: &Mutt) {
    let key = std::fs::read_to_string(mutt.data().join("webui_api_key")).unwrap();
    let url = format!("http://{}/api/v2/status", mutt.webui.addr());
    let client = reqwest::Client::new();
    let mut best = u64::MAX;
    // Several times in a row: what is between two queues at the moment of one look is in neither.
    let mut empty = 0;
    let mut moved = Instant::now();
    loop {
        let answer = client
            .get(&url)
            .header("x-api-key", key.trim())
            .send()
            .await
            .unwrap();
        let status: serde_json::Value = answer.json().await.unwrap();
        let waiting: u64 = status["queues"]
            .as_array()
            .unwrap_or_else(|| panic!("{status}"))
            .iter()
            .filter(|queue| !queue["name"].as_str().unwrap().contains("dlq"))
            .map(|queue| queue["depth"].as_u64().unwrap() + queue["claimed"].as_u64().unwrap())
            .sum();
        empty = if waiting == 0 { empty + 1 } else { 0 };
        if empty == 3 {
            return;
        }
        if waiting < best {
            best = waiting;
            moved = Instant::now();
        }
        assert!(
            moved.elapsed() < support::PATIENCE,
            "{waiting} are stuck: {status}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn audit_rows(engine: &dyn Engine) -> Vec<StoredAuditRow> {
    let mut rows: Vec<StoredAuditRow> = Vec::new();
    loop {
        let filter = AuditFilter {
            before_id: rows.last().map(|row| row.id),
            limit: 5000,
            ..AuditFilter::default()
        };
        let page = engine.audit_rows(filter).await.unwrap();
        if page.is_empty() {
            return rows;
        }
        rows.extend(page);
    }
}
