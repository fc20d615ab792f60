//! Net-SNMP's informs against a real `mutt` that is killed and started again under them: whatever
//! was acknowledged is in the queue.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mutt_engine::EventQueue;
use mutt_engine::embedded::{Embedded, Mode};
use support::{Mutt, PATIENCE, Port, until};
use tokio::process::Command;
use tokio::task::JoinSet;

/// Senders at a time.
const SENDERS: u64 = 6;

/// Informs of each sender.
const INFORMS: u64 = 12;

/// How often MUTT is killed meanwhile.
const KILLS: u64 = 3;

const USERS: &str = r#"
communities = ["dc1"]

[[user]]
name = "netops"
auth = "sha256"
auth_password = "maplesyrup1"
priv = "aes128"
priv_password = "maplesyrup2"
"#;

const COMMUNITY: [&str; 4] = ["-v", "2c", "-c", "dc1"];

const NETOPS: [&str; 14] = [
    "-v",
    "3",
    "-u",
    "netops",
    "-l",
    "authPriv",
    "-a",
    "SHA-256",
    "-A",
    "maplesyrup1",
    "-x",
    "AES",
    "-X",
    "maplesyrup2",
];

/// Sends one inform that tells `number`, again and again; returns whether it was acknowledged. In
/// `files` is the sender's own identity, which two at a time would spoil.
async fn inform(port: u16, number: u64, files: &Path) -> bool {
    let protocol = if number.is_multiple_of(2) {
        &COMMUNITY[..]
    } else {
        &NETOPS
    };
    let status = Command::new("snmpinform")
        .args(protocol)
        .args(["-t", "1", "-r", "20"])
        .arg(format!("127.0.0.1:{port}"))
        .args(["", "1.3.6.1.4.1.9.0.1", "1.3.6.1.4.1.9.2", "u"])
        .arg(number.to_string())
        .env("MIBS", "")
        .env("SNMPCONFPATH", files)
        .env("SNMP_PERSISTENT_DIR", files)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await;
    status.expect("snmpinform (package snmp)").success()
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
            let number = event["varbinds"][0]["value"].as_u64().unwrap();
            *counts.entry(number).or_insert(0) += 1;
        }
        claims.push(claim);
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_inform_is_in_the_queue_however_often_mutt_is_killed() {
    let files = tempfile::tempdir().unwrap();
    let users = files.path().join("users.toml");
    std::fs::write(&users, USERS).unwrap();
    std::fs::set_permissions(&users, std::fs::Permissions::from_mode(0o600)).unwrap();
    let port = Port::take();
    let mut mutt = Mutt::new(&[
        ("SNMP_TRAP_ADDR", &port.number.to_string()),
        ("SNMP_USERS_FILE", users.to_str().unwrap()),
    ])
    .roles("ingestor");
    mutt.start().await;

    let done = Arc::new(AtomicU64::new(0));
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let (done, port) = (done.clone(), port.number);
        let files = files.path().join(sender.to_string());
        std::fs::create_dir(&files).unwrap();
        senders.spawn(async move {
            let mut acknowledged = Vec::new();
            for number in sender * INFORMS..(sender + 1) * INFORMS {
                // By version 3 snmpinform gives up at once where nobody listens when it begins.
                while !inform(port, number, &files).await {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                acknowledged.push(number);
                done.fetch_add(1, Ordering::Relaxed);
            }
            acknowledged
        });
    }
    for kill in 1..=KILLS {
        let some = kill * SENDERS * INFORMS / (KILLS + 1);
        until("informs were sent", async || {
            done.load(Ordering::Relaxed) >= some
        })
        .await;
        mutt.kill();
        mutt.start().await;
    }
    let acknowledged: BTreeSet<u64> = senders.join_all().await.into_iter().flatten().collect();
    assert_eq!(mutt.stop(), Some(0));

    let counts = stored(mutt.data()).await;
    let lost: Vec<_> = acknowledged
        .iter()
        .filter(|number| !counts.contains_key(number))
        .collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert_eq!(acknowledged.len() as u64, SENDERS * INFORMS);
    // One that is stored when MUTT dies, and not answered yet, is repeated.
    let twice = counts.values().sum::<u64>() - counts.len() as u64;
    eprintln!("{twice} came twice after {KILLS} kills");
    assert!(twice <= KILLS * SENDERS, "{twice} came twice");
}
