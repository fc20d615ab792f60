//! What goes wrong around the roles without killing them: servers that are away, slow, silent, empty
//! or without what they should have, and a process that sleeps through its own end. In all of it
//! every acknowledged event has one audit row in the end, and every alert is delivered.
//!
//! `MUTT_OUTAGE_SECONDS` sets how long a server is away (default 4).

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use support::cluster::{Cluster, Wanted};
use support::ledger::{Ledger, setting, udp_sender};
use support::until;

fn outage() -> Duration {
    Duration::from_secs(setting("MUTT_OUTAGE_SECONDS", 4))
}

/// A cluster under load that has decided something.
async fn at_work(wanted: Wanted<'_>) -> (Cluster, Arc<Ledger>, Vec<tokio::task::JoinHandle<()>>) {
    let cluster = Cluster::start(wanted).await;
    let ledger = Arc::new(Ledger::default());
    let senders = cluster.senders(3, &ledger);
    cluster.decisions(50).await;
    (cluster, ledger, senders)
}

/// Lets time pass while something goes wrong, and asserts that the ingestor takes events all along.
async fn taken_throughout(cluster: &Cluster, ledger: &Ledger, length: Duration) {
    let began = Instant::now();
    while began.elapsed() < length {
        cluster.progress(ledger, 5).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_away_at_load_the_spool_takes_it_and_survives_a_kill() {
    let (mut cluster, ledger, mut senders) = at_work(Wanted::default()).await;
    let syslog = cluster.ingestor.syslog.addr();
    senders.push(tokio::spawn(udp_sender(syslog, ledger.clone())));
    cluster.redis.kill();
    taken_throughout(&cluster, &ledger, outage()).await;
    assert!(ledger.refusals().is_empty(), "{:?}", ledger.refusals());
    cluster.redis.restart();
    cluster.decisions(200).await;

    // Away again, and now the ingestor dies with a full spool. Datagrams that nobody listens to are
    // lost, so that sender ends first.
    ledger
        .stop
        .store(true, std::sync::atomic::Ordering::Relaxed);
    for sender in senders {
        sender.await.unwrap();
    }
    ledger
        .stop
        .store(false, std::sync::atomic::Ordering::Relaxed);
    let senders = cluster.senders(3, &ledger);
    cluster.progress(&ledger, 100).await;
    cluster.redis.kill();
    cluster.progress(&ledger, 200).await;
    cluster.ingestor.kill();
    cluster.ingestor.start().await;
    cluster.progress(&ledger, 200).await;
    cluster.redis.restart();
    cluster.settle_up(&ledger, senders).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_spool_is_bounded_and_says_so() {
    let cluster = Cluster::start(Wanted {
        settings: &[("SPOOL_MAX_BYTES", "1048576")],
        ..Wanted::default()
    })
    .await;
    cluster.redis.kill();
    let client = reqwest::Client::new();
    let body = serde_json::json!({"hostname": "a", "message": "x".repeat(50_000)}).to_string();
    let mut taken = 0;
    let refused = loop {
        let answer = client
            .post(cluster.ingestor.url("/ingest"))
            .header("x-api-key", support::KEY)
            .body(body.clone())
            .send()
            .await
            .unwrap();
        if answer.status() != 200 {
            break answer;
        }
        taken += 1;
        assert!(taken < 100, "no bound");
    };
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    assert!(taken > 10, "{taken}");
    let full = "mutt_ingest_requests_total{";
    assert!(cluster.ingestor.metric(full).await > 0.0);
    cluster.redis.restart();
    until("what was taken", async || cluster.audit_count() == taken).await;
    until("room again", async || {
        let answer = client
            .post(cluster.ingestor.url("/ingest"))
            .header("x-api-key", support::KEY)
            .body(body.clone())
            .send()
            .await
            .unwrap();
        answer.status() == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_away_events_wait_in_the_queue() {
    let (mut cluster, ledger, senders) = at_work(Wanted::default()).await;
    cluster.postgres.kill();
    taken_throughout(&cluster, &ledger, outage()).await;
    assert!(ledger.refusals().is_empty(), "{:?}", ledger.refusals());
    cluster.postgres.restart();
    cluster.decisions(200).await;
    // In order, as for an update: sessions are told.
    cluster.postgres.terminate();
    taken_throughout(&cluster, &ledger, Duration::from_secs(1)).await;
    cluster.postgres.restart();
    cluster.settle_up(&ledger, senders).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_and_silent_servers() {
    let (mut cluster, ledger, senders) = at_work(Wanted {
        proxies: true,
        ..Wanted::default()
    })
    .await;
    let proxies = |cluster: &mut Cluster| {
        [
            cluster.redis_proxy.take().unwrap(),
            cluster.postgres_proxy.take().unwrap(),
        ]
    };
    let proxies = proxies(&mut cluster);
    for proxy in &proxies {
        proxy.delay(Duration::from_millis(30));
    }
    cluster.decisions(100).await;
    for proxy in &proxies {
        proxy.delay(Duration::ZERO);
    }
    for proxy in &proxies {
        // Half-open: nobody is told that nothing moves any more.
        proxy.freeze();
        cluster.progress(&ledger, 100).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        proxy.thaw();
        cluster.decisions(100).await;
        // Half-open for good: what is lost is lost, new connections work.
        proxy.freeze();
        cluster.progress(&ledger, 100).await;
        proxy.cut();
        proxy.thaw();
        cluster.decisions(100).await;
        // What is asked is done, and nobody hears of it.
        proxy.lose_answers();
        cluster.progress(&ledger, 100).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        proxy.cut();
        proxy.thaw();
        cluster.decisions(100).await;
        // Gone and back, many times.
        for _ in 0..20 {
            proxy.cut();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        cluster.decisions(100).await;
        proxy.refuse();
        proxy.cut();
        cluster.progress(&ledger, 100).await;
        proxy.accept();
        cluster.decisions(100).await;
    }
    assert!(ledger.refusals().is_empty(), "{:?}", ledger.refusals());
    cluster.settle_up(&ledger, senders).await;
    drop(proxies);
}

/// Redis stands still with requests in its sockets, and answers them when nobody expects it any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_stand_still_and_go_on() {
    let (mut cluster, ledger, senders) = at_work(Wanted::default()).await;
    for _ in 0..3 {
        cluster.redis.pause();
        cluster.progress(&ledger, 50).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        cluster.redis.resume();
        cluster.decisions(100).await;
        cluster.postgres.pause();
        cluster.progress(&ledger, 50).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        cluster.postgres.resume();
        cluster.decisions(100).await;
    }
    cluster.settle_up(&ledger, senders).await;
}

/// Redis did what it was asked, the ingestor did not hear of it and took the events into its spool,
/// and died before it could ask.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ingestor_that_dies_without_knowing_what_redis_took_repeats_nothing() {
    let (mut cluster, ledger, senders) = at_work(Wanted {
        proxies: true,
        ..Wanted::default()
    })
    .await;
    let proxy = cluster.redis_proxy.take().unwrap();
    for _ in 0..3 {
        proxy.lose_answers();
        // What is acknowledged now is in the spool, and some of it in Redis as well.
        cluster.progress(&ledger, 100).await;
        cluster.ingestor.kill();
        proxy.cut();
        proxy.thaw();
        cluster.ingestor.start().await;
        cluster.decisions(100).await;
    }
    cluster.settle_up(&ledger, senders).await;
}

/// Whether a pod has claims.
fn holds(cluster: &Cluster, stage: &str, pod: &str) -> bool {
    let key = format!("mutt:claims:{stage}:{pod}");
    cluster.redis.command(&["EXISTS", &key]).trim() == "1"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_sleeps_through_its_own_end_does_nothing_twice() {
    let (mut cluster, ledger, senders) = at_work(Wanted::default()).await;
    let pods = [
        ("alerter", cluster.alerters[0].pod()),
        ("moog", cluster.forwarders[0].pod()),
    ];
    for (stage, pod) in pods {
        let role = |cluster: &mut Cluster, signal: &str| {
            let roles = if stage == "alerter" {
                &cluster.alerters
            } else {
                &cluster.forwarders
            };
            roles[0].signal(signal);
        };
        // Caught with something in its hands.
        until("a claim", async || {
            role(&mut cluster, "STOP");
            let caught = holds(&cluster, stage, &pod);
            if !caught {
                role(&mut cluster, "CONT");
            }
            caught
        })
        .await;
        until("the others to take over", async || {
            !holds(&cluster, stage, &pod)
        })
        .await;
        role(&mut cluster, "CONT");
        cluster.decisions(100).await;
    }
    cluster.settle_up(&ledger, senders).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_forgot_everything_is_worked_with() {
    let (mut cluster, ledger, senders) = at_work(Wanted::default()).await;
    // What waits in Redis at this moment is lost with it; everything else holds.
    cluster.redis.kill();
    std::fs::remove_dir_all(cluster.redis.dir().join("appendonlydir")).unwrap();
    let _ = std::fs::remove_file(cluster.redis.dir().join("dump.rdb"));
    cluster.redis.restart();
    cluster.decisions(200).await;
    cluster.redis.command(&["FLUSHALL"]);
    cluster.decisions(200).await;
    let before = ledger.len();
    cluster.progress(&ledger, 500).await;
    // What was acknowledged from now on has to be there, all of it.
    let later: Vec<u64> = ledger.acknowledged.lock()[before..].to_vec();
    *ledger.acknowledged.lock() = later;
    ledger
        .stop
        .store(true, std::sync::atomic::Ordering::Relaxed);
    for sender in senders {
        sender.await.unwrap();
    }
    let acknowledged: Vec<u64> = ledger.acknowledged.lock().clone();
    until("everything on record", async || {
        let known: std::collections::HashSet<u64> =
            cluster.rows().iter().map(|row| row.number).collect();
        acknowledged.iter().all(|number| known.contains(number)) && cluster.waiting() == 0
    })
    .await;
    let rows = cluster.rows();
    let mut seen = std::collections::HashSet::new();
    let twice: Vec<_> = rows.iter().filter(|row| !seen.insert(row.number)).collect();
    assert!(twice.is_empty(), "{twice:?}");
    // A number that was claimed before must not be taken for applied: nothing is left undone.
    let recent = acknowledged
        .iter()
        .copied()
        .collect::<std::collections::HashSet<u64>>();
    for row in rows
        .iter()
        .filter(|row| row.forwarded && recent.contains(&row.number))
    {
        assert!(cluster.mock.delivered(&row.event_id) > 0, "{row:?}");
    }
    for role in cluster.roles() {
        assert_eq!(role.stop(), Some(0), "{}", role.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_are_forgotten_under_load_are_loaded_again() {
    let (mut cluster, ledger, senders) = at_work(Wanted::default()).await;
    for _ in 0..20 {
        cluster.redis.command(&["SCRIPT", "FLUSH", "SYNC"]);
        cluster.progress(&ledger, 20).await;
    }
    assert!(ledger.refusals().is_empty(), "{:?}", ledger.refusals());
    cluster.settle_up(&ledger, senders).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_partition_stops_nothing() {
    let (mut cluster, ledger, senders) = at_work(Wanted::default()).await;
    let this_month = cluster.sql("SELECT to_char(now(), '\"event_audit_log_\"YYYY_MM')");
    let this_month = this_month.trim();
    // The rows stay in the table, which is no partition any more.
    cluster.sql(&format!(
        "ALTER TABLE event_audit_log DETACH PARTITION {this_month}"
    ));
    let kept = cluster.sql(&format!("SELECT count(*) FROM {this_month}"));
    let kept: u64 = kept.trim().parse().unwrap();
    assert!(kept > 0);
    cluster.decisions(200).await;
    cluster.sql(&format!(
        "INSERT INTO event_audit_log SELECT * FROM {this_month}"
    ));
    cluster.settle_up(&ledger, senders).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_alerters_share_the_work() {
    let mut cluster = Cluster::start(Wanted::default()).await;
    let ledger = Arc::new(Ledger::default());
    let senders = cluster.senders(6, &ledger);
    // Whoever is first must not have everything.
    let share = async |cluster: &Cluster| {
        let series = "mutt_alerter_events_processed_total{";
        let one = cluster.alerters[0].metric(series).await;
        let other = cluster.alerters[1].metric(series).await;
        (one, other)
    };
    until("both to have a fair share", async || {
        let (one, other) = share(&cluster).await;
        one + other > 3000.0 && one.min(other) > (one + other) / 5.0
    })
    .await;
    let (one, other) = share(&cluster).await;
    eprintln!("shares: {one} and {other}");
    cluster.settle_up(&ledger, senders).await;
}
