//! Senders that keep a ledger of what was acknowledged to them.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use super::KEY;

/// What senders know.
#[derive(Default)]
pub struct Ledger {
    /// Numbers that were answered 200.
    pub acknowledged: Mutex<Vec<u64>>,
    /// Answers that were not 200, by status; 0 is none at all.
    pub refused: Mutex<BTreeMap<u16, u64>>,
    /// What HTTP senders show, if not [`KEY`].
    pub key: Mutex<Option<String>>,
    next: AtomicU64,
    pub stop: AtomicBool,
}

impl Ledger {
    pub fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// How many were acknowledged so far.
    pub fn len(&self) -> usize {
        self.acknowledged.lock().len()
    }

    pub fn refusals(&self) -> BTreeMap<u16, u64> {
        self.refused.lock().clone()
    }
}

/// One in two pages, one in four is logged, the rest no rule knows.
pub fn text(number: u64) -> String {
    let kind = match number % 4 {
        0 | 1 => "PAGE-IT",
        2 => "LOG-IT",
        _ => "who-knows",
    };
    format!("{kind} ledger-{number}.")
}

/// Whether a rule knows it.
pub fn is_matched(number: u64) -> bool {
    number % 4 != 3
}

pub fn event(number: u64) -> String {
    json!({"hostname": format!("host-{}", number % 20), "message": text(number)}).to_string()
}

/// The number in an event's text.
pub fn number(raw: &str) -> u64 {
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

/// Posts single events and batches in turn. A request that was not answered may or may not have been
/// taken; it is not on the ledger, and its numbers are not used again.
pub async fn http_sender(url: String, ledger: Arc<Ledger>) {
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
        let key = ledger.key.lock().clone();
        let key = key.unwrap_or_else(|| KEY.to_owned());
        let sent = client
            .post(&url)
            .header("x-api-key", key)
            .body(body)
            .send()
            .await;
        match sent {
            Ok(answer) if answer.status() == 200 => {
                ledger.acknowledged.lock().extend(numbers);
                // Paced, so that a slow machine has no backlog of minutes at the end.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            other => {
                let status = other.map_or(0, |answer| answer.status().as_u16());
                *ledger.refused.lock().entry(status).or_default() += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// Writes lines as long as there is somebody to read them. Nothing is acknowledged, so nothing is
/// promised but that no line is decided twice.
pub async fn tcp_sender(addr: SocketAddr, ledger: Arc<Ledger>) {
    while !ledger.stop.load(Ordering::Relaxed) {
        let Ok(mut stream) = tokio::net::TcpStream::connect(addr).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        while !ledger.stop.load(Ordering::Relaxed) {
            let number = ledger.number();
            if stream.write_all(line(number).as_bytes()).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }
}

/// Sends a datagram every few milliseconds to a listener that does not die; what it sent counts as
/// acknowledged: on the loopback nothing gets lost before the listener.
pub async fn udp_sender(addr: SocketAddr, ledger: Arc<Ledger>) {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    while !ledger.stop.load(Ordering::Relaxed) {
        let number = ledger.number();
        socket
            .send_to(line(number).trim_end().as_bytes(), addr)
            .await
            .unwrap();
        ledger.acknowledged.lock().push(number);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn line(number: u64) -> String {
    format!("<187>Nov 21 12:00:00 host-syslog {}\n", text(number))
}

/// A setting of the tests' own.
pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

/// Chance that can be repeated: Knuth's MMIX generator; any spread will do.
pub struct Chance(pub u64);

impl Chance {
    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    pub async fn pause(&mut self, from_ms: u64, to_ms: u64) {
        let ms = from_ms + self.below(to_ms - from_ms);
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}
