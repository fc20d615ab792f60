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
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mutt_engine::{AuditFilter, Dlq, Engine, StoredAuditRow};
use mutt_forwarder::MockMoog;
use mutt_forwarder::mock::Fault;
use serde_json::json;
use support::ledger::{Chance, Ledger, http_sender, number, setting, tcp_sender};
use support::{Mutt, contains};

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

    let mut chance = Chance(seed);
    for cycle in 0..cycles {
        let before = ledger.len();
        chance.pause(20, 420).await;
        // Every second life must have taken something, or the test would test nothing.
        if cycle % 2 == 0 {
            support::until("an acknowledged event", async || ledger.len() > before).await;
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
