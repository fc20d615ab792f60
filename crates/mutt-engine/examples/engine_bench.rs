//! How fast the embedded engine is, on the disk that `TMPDIR` (or the first argument) is on.
//!
//! `cargo run --release -p mutt-engine --example engine_bench [directory [seconds]]` prints rates and
//! latencies of: enqueueing in batches and one by one, and the whole way from enqueue over claim to
//! a decision that audits every event.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mutt_engine::embedded::{Embedded, Mode};
use mutt_engine::{
    AuditRow, Decision, EngineError, EventClaim, EventQueue as _, Outcome, Unhandled, WorkerKind,
    Workers as _,
};
use mutt_event::{Batch, EventId};

const HOSTS: u64 = 1000;
const RULES: i64 = 50;

/// An event of about 300 bytes.
fn push_event(batch: &mut Batch, number: u64) {
    use std::io::Write as _;
    batch.push_with(|bytes| {
        write!(
            bytes,
            r#"{{"hostname":"router{:04}.prod.example.com","message":"%LINK-3-UPDOWN: Interface GigabitEthernet0/{}, changed state to down, number {number}","syslog_severity":3,"source":"syslog","timestamp":"2026-03-01T12:00:00.123456Z","_correlation_id":"018f3b52-9d3a-7c3e-8f00-{number:012x}","_event_id":"{}","_received_at":"2026-03-01T12:00:00.123456Z"}}"#,
            number % HOSTS,
            number % 48,
            EventId::new(),
        )
        .expect("writing to memory");
    });
}

fn batch(first: u64, events: u64) -> Batch {
    let mut batch = Batch::new();
    (first..first + events).for_each(|number| push_event(&mut batch, number));
    batch
}

fn percentile(latencies: &mut [Duration], share: f64) -> Duration {
    latencies.sort_unstable();
    let last = latencies.len().saturating_sub(1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index"
    )]
    latencies
        .get((last as f64 * share) as usize)
        .copied()
        .unwrap_or_default()
}

fn report(what: &str, events: u64, took: Duration, latencies: &mut [Duration]) {
    println!(
        "{what:<44} {:>9.0} events/s   p50 {:>8.2?}  p99 {:>8.2?}  max {:>8.2?}  ({} calls)",
        events as f64 / took.as_secs_f64(),
        percentile(latencies, 0.5),
        percentile(latencies, 0.99),
        percentile(latencies, 1.0),
        latencies.len()
    );
}

/// The memory of this process in MiB, where the system tells.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

fn fresh(directory: &Path) -> Arc<Embedded> {
    match std::fs::remove_dir_all(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => panic!("{}: {error}", directory.display()),
    }
    Embedded::open(directory, Mode::Server).expect("the engine opens")
}

/// Bytes that this process has written so far, where the system tells.
fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.and_then(|line| line.parse().ok()).unwrap_or(0)
}

/// Processor time that this process has used so far, where the system tells.
fn processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |field: usize| fields.get(field).and_then(|text| text.parse::<u64>().ok());
    // 100 ticks a second on every Linux that runs this.
    Duration::from_millis((ticks(11).unwrap_or(0) + ticks(12).unwrap_or(0)) * 10)
}

async fn enqueue(directory: &Path, callers: u64, size: u64, time: Duration) {
    let engine = fresh(directory);
    let start = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let engine = Arc::clone(&engine);
            tokio::spawn(async move {
                // Making events is not what is measured.
                let sample = batch(caller * 1_000_000, size);
                let mut latencies = Vec::new();
                while start.elapsed() < time {
                    let asked = Instant::now();
                    engine.enqueue(sample.clone()).await.expect("taken");
                    latencies.push(asked.elapsed());
                }
                latencies
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.expect("the caller ends well"));
    }
    let what = format!("enqueue, {callers} callers x {size} events");
    report(
        &what,
        latencies.len() as u64 * size,
        start.elapsed(),
        &mut latencies,
    );
    engine.close().await;
}

/// Audits every event of a claim, as an alerter would whose every event matches.
fn decide(claim: EventClaim, number: &mut u64, unhandled: bool) -> Decision {
    let now = Timestamp::now();
    let mut audit = Vec::with_capacity(claim.len());
    let mut counts = Vec::new();
    for index in 0..claim.len() {
        *number += 1;
        let host = format!("router{:04}.prod.example.com", *number % HOSTS);
        if unhandled {
            counts.push(Unhandled {
                hostname: host.clone().into(),
                signature: format!("{:016x}", *number % 7).into(),
                masked: "Interface #, changed state to down".into(),
                sample: "Interface GigabitEthernet0/1, changed state to down".into(),
                count: 1,
                team: "NETO".into(),
                environment: "production",
            });
        }
        audit.push(AuditRow {
            index: u32::try_from(index).expect("claims are small"),
            event_id: EventId::new(),
            event_timestamp: now,
            received_at: now,
            hostname: host.into(),
            source: Some("syslog".into()),
            syslog_severity: Some(3),
            trap_oid: None,
            environment: "production",
            matched_rule_id: Some((*number).cast_signed() % RULES),
            rule_version: Some(1),
            handling_decision: "Log_only",
            team_assignment: Some("NETO".into()),
            forwarded_to_moog: false,
            correlation_id: EventId::new().to_string().into(),
        });
    }
    let rule_hits = (0..RULES)
        .map(|rule| (rule, claim.len() as u64 / RULES.cast_unsigned()))
        .collect();
    let outcome = Outcome {
        audit,
        rule_hits,
        unhandled: counts,
        ..Outcome::default()
    };
    Decision { claim, outcome }
}

async fn pipeline(
    directory: &Path,
    workers: u64,
    pace: Option<u64>,
    time: Duration,
    unhandled: bool,
) {
    let engine = fresh(directory);
    engine.set_queue_limit(50_000);
    let (written_before, processor_before) = (written(), processor());
    let stop = Arc::new(AtomicBool::new(false));
    let decided = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let producers: Vec<_> = (0..4)
        .map(|caller| {
            let (engine, stop) = (Arc::clone(&engine), Arc::clone(&stop));
            tokio::spawn(async move {
                let size = if pace.is_some() { 10 } else { 100 };
                let sample = batch(caller * 1_000_000, size);
                let mut latencies = Vec::new();
                let mut sent = 0;
                while !stop.load(Ordering::Relaxed) {
                    if let Some(pace) = pace {
                        let due = Duration::from_secs_f64(sent as f64 / (pace as f64 / 4.0));
                        tokio::time::sleep(due.saturating_sub(start.elapsed())).await;
                    }
                    let asked = Instant::now();
                    match engine.enqueue(sample.clone()).await {
                        Ok(_) => latencies.push(asked.elapsed()),
                        Err(EngineError::Full { .. }) => {
                            tokio::time::sleep(Duration::from_millis(2)).await;
                        }
                        Err(error) => panic!("{error}"),
                    }
                    sent += size;
                }
                latencies
            })
        })
        .collect();
    let consumers: Vec<_> = (0..workers)
        .map(|index| {
            let (engine, stop) = (Arc::clone(&engine), Arc::clone(&stop));
            let decided = Arc::clone(&decided);
            tokio::spawn(async move {
                let name: Arc<str> = format!("worker-{index}").into();
                engine
                    .heartbeat(WorkerKind::Alerter, &name, Duration::from_hours(1))
                    .await
                    .expect("taken");
                let mut number = index << 32;
                let mut latencies = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let wait = Duration::from_millis(100);
                    let claim = engine
                        .claim_events(&name, 1000, wait)
                        .await
                        .expect("claimed");
                    let Some(claim) = claim else { continue };
                    let events = claim.len() as u64;
                    let decision = Arc::new(decide(claim, &mut number, unhandled));
                    let asked = Instant::now();
                    engine.decide(decision).await.expect("decided");
                    latencies.push(asked.elapsed());
                    decided.fetch_add(events, Ordering::Relaxed);
                }
                latencies
            })
        })
        .collect();
    let mut before = 0;
    let slices = 5;
    for _ in 0..slices {
        tokio::time::sleep(time / slices).await;
        let now = decided.load(Ordering::Relaxed);
        print!(
            "  {:.0}/s",
            (now - before) as f64 / (time / slices).as_secs_f64()
        );
        before = now;
    }
    println!();
    stop.store(true, Ordering::Relaxed);
    let took = start.elapsed();
    let (mut enqueues, mut decides) = (Vec::new(), Vec::new());
    for task in producers {
        enqueues.extend(task.await.expect("a producer ends well"));
    }
    for task in consumers {
        decides.extend(task.await.expect("a worker ends well"));
    }
    let what = format!(
        "receive-decide-audit, {workers} workers{}{}",
        pace.map(|pace| format!(", {pace}/s offered"))
            .unwrap_or_default(),
        if unhandled { ", all unhandled too" } else { "" }
    );
    let events = decided.load(Ordering::Relaxed);
    report(&what, events, took, &mut decides);
    let size = if pace.is_some() { 10 } else { 100 };
    report(
        "  its enqueues",
        enqueues.len() as u64 * size,
        took,
        &mut enqueues,
    );
    let sizes: Vec<_> = ["mutt.db", "mutt.db-wal"]
        .map(|file| std::fs::metadata(directory.join(file)).map_or(0, |data| data.len() >> 20))
        .into();
    println!(
        "  per event: {:.1} µs of processor time, {} bytes written",
        processor().saturating_sub(processor_before).as_secs_f64() * 1e6 / events as f64,
        (written() - written_before) / events.max(1)
    );
    println!(
        "  database {} MiB, log {} MiB, peak memory {} MiB",
        sizes[0],
        sizes[1],
        resident()
    );
    let closing = Instant::now();
    engine.close().await;
    println!("  closed in {:.2?}", closing.elapsed());
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let base = arguments
        .next()
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let seconds = arguments
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(10);
    let only = arguments.next();
    let wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    let directory = base.join(format!("mutt-engine-bench-{}", std::process::id()));
    let time = Duration::from_secs(seconds);
    if wanted("pipeline") {
        pipeline(&directory, 2, None, time * 2, false).await;
    }
    if wanted("paced") {
        pipeline(&directory, 2, Some(1000), time, false).await;
        pipeline(&directory, 2, Some(10_000), time, false).await;
    }
    if wanted("unhandled") {
        pipeline(&directory, 2, None, time, true).await;
    }
    if wanted("enqueue") {
        enqueue(&directory, 8, 100, time / 2).await;
        enqueue(&directory, 64, 1, time / 2).await;
        enqueue(&directory, 1, 1, time / 2).await;
    }
    std::fs::remove_dir_all(&directory).expect("the directory can be removed");
}
