//! What watching costs: browsers on the live pages beside the same load without them.
//!
//! A browser here is what the web UI is to the server: one stream with the status and the live tail,
//! and every two seconds one of the reads that pages make.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mutt_traffic::load;
use tokio::task::JoinSet;

use crate::cli::bench::Figure;
use crate::cli::bench::cases::{DRAIN, figure, rule_set};
use crate::cli::bench::server::{KEY, Server};
use crate::exit::{Failure, Outcome};
use mutt_rules::Handling;

/// Browsers at a time.
const BROWSERS: usize = 50;
/// Rows on record before the first read.
const ROWS: u64 = 200_000;
/// Between two reads of one browser.
const PAUSE: Duration = Duration::from_secs(2);
/// Events per second of the load.
const RATE: f64 = 10_000.0;
/// Turns without and with browsers.
const TURNS: usize = 3;

/// What pages read.
const READS: [&str; 14] = [
    "/metrics",
    "/status",
    "/status/history",
    "/slo",
    "/rules?limit=200",
    "/rules/insights",
    "/unhandled",
    "/audit-logs?limit=100",
    "/audit-logs?limit=100&hostname=ams-core-sw7",
    "/audit-logs?limit=100&text=hellos",
    "/dlq",
    "/config",
    "/config-audit?limit=50",
    "/dev-hosts",
];

#[derive(Default)]
struct Seen {
    /// Read and seconds.
    reads: Vec<(usize, f64)>,
    messages: u64,
}

/// Reads `path` whole.
async fn read(client: &reqwest::Client, api: SocketAddr, path: &str) -> Outcome {
    let url = format!("http://{api}/api/v2{path}");
    let answer = client.get(url).header("x-api-key", KEY).send().await;
    let answer = answer.and_then(reqwest::Response::error_for_status);
    answer
        .map_err(Failure::failed)?
        .bytes()
        .await
        .map_err(Failure::failed)?;
    Ok(())
}

/// One browser, until `end`.
async fn browser(api: SocketAddr, number: usize, end: Arc<AtomicBool>) -> Outcome<Seen> {
    let client = reqwest::Client::new();
    let mut seen = Seen::default();
    let url = format!("http://{api}/api/v2/stream?status=true&events=");
    let stream = client.get(url).header("x-api-key", KEY).send().await;
    let mut stream = stream
        .and_then(reqwest::Response::error_for_status)
        .map_err(Failure::failed)?;
    // Not all at once.
    let mut due = Instant::now() + PAUSE.mul_f64(number as f64 / BROWSERS as f64);
    let mut next = number;
    while !end.load(Ordering::Relaxed) {
        tokio::select! {
            chunk = stream.chunk() => {
                chunk
                    .map_err(Failure::failed)?
                    .ok_or_else(|| Failure::failed("the stream ended"))?;
                seen.messages += 1;
            }
            () = tokio::time::sleep_until(due.into()) => {
                let index = next % READS.len();
                next += 1;
                due += PAUSE;
                let began = Instant::now();
                read(&client, api, READS[index]).await?;
                seen.reads.push((index, began.elapsed().as_secs_f64()));
            }
        }
    }
    Ok(seen)
}

/// Lines at [`RATE`]; returns how many were decided per second until the last was.
async fn offered(server: &Server, duration: Duration) -> Outcome<f64> {
    let began = Instant::now();
    let before = server.counter("mutt_alerter_events_processed_total").await;
    let lines = load::paced_lines(server.syslog, RATE, duration, began).await?;
    let decided = loop {
        let decided = server.counter("mutt_alerter_events_processed_total").await - before;
        if decided >= lines as f64 || began.elapsed() > duration + DRAIN {
            break decided;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let all = began.elapsed().as_secs_f64();
    if decided < lines as f64 {
        return Err(Failure::failed("not everything that was sent was decided"));
    }
    Ok(decided / all)
}

fn median(mut values: Vec<f64>) -> f64 {
    load::percentile(&mut values, 0.5)
}

/// Measures.
pub async fn browsers(duration: Duration) -> Outcome<Vec<Figure>> {
    let server = Server::start(
        rule_set(100, Handling::LogOnly),
        &[("UNHANDLED_EVENT_THRESHOLD", "100000000".into())],
    )
    .await?;
    let events: Vec<_> = (0..100).map(|n| load::json(n, "rule-hit")).collect();
    let batch = load::request(KEY, &format!("[{}]", events.join(",")));
    let requests = Arc::new(vec![batch]);
    while server.counter("mutt_alerter_events_processed_total").await < ROWS as f64 {
        load::post(
            server.ingest,
            4,
            Duration::from_millis(500),
            requests.clone(),
        )
        .await?;
    }
    let (mut alone, mut watched) = (Vec::new(), Vec::new());
    let (mut full_alone, mut full_watched) = (Vec::new(), Vec::new());
    let mut reads: Vec<Vec<f64>> = vec![Vec::new(); READS.len()];
    let messages = AtomicU64::new(0);
    for _ in 0..TURNS {
        alone.push(offered(&server, duration).await?);
        full_alone.push(saturated(&server, duration).await?);
        let end = Arc::new(AtomicBool::new(false));
        let mut browsers = JoinSet::new();
        for number in 0..BROWSERS {
            browsers.spawn(browser(server.api, number, end.clone()));
        }
        watched.push(offered(&server, duration).await?);
        // Reads count while the offered load is on; what the machine has left over when it is
        // saturated is another question.
        end.store(true, Ordering::Relaxed);
        while let Some(seen) = browsers.join_next().await {
            let seen = seen.map_err(Failure::failed)??;
            messages.fetch_add(seen.messages, Ordering::Relaxed);
            for (index, seconds) in seen.reads {
                reads[index].push(seconds);
            }
        }
        let end = Arc::new(AtomicBool::new(false));
        for number in 0..BROWSERS {
            browsers.spawn(browser(server.api, number, end.clone()));
        }
        full_watched.push(saturated(&server, duration).await?);
        end.store(true, Ordering::Relaxed);
        while let Some(seen) = browsers.join_next().await {
            seen.map_err(Failure::failed)??;
        }
    }
    let mut worst = (0.0, "");
    for (path, seconds) in READS.iter().zip(&mut reads) {
        let p95 = load::percentile(seconds, 0.95) * 1000.0;
        eprintln!("  {path}: {} reads, p95 {p95:.1} ms", seconds.len());
        if p95 > worst.0 {
            worst = (p95, path);
        }
    }
    let mut all: Vec<f64> = reads.concat();
    let name = "browsers";
    let within = "≥ 0.95";
    let figures = vec![
        figure(
            name,
            "decided per second at 10,000/s, with 50 browsers beside without",
            median(watched) / median(alone),
            "",
            within,
        ),
        figure(
            name,
            "taken per second when saturated (HTTP), with 50 browsers beside without",
            median(full_watched) / median(full_alone),
            "",
            "the browsers’ share of the processor",
        ),
        figure(
            name,
            "reads, p95 of all",
            load::percentile(&mut all, 0.95) * 1000.0,
            "ms",
            "≤ 100 ms",
        ),
        figure(
            name,
            &format!("slowest read, p95 ({})", worst.1),
            worst.0,
            "ms",
            "≤ 100 ms",
        ),
        figure(
            name,
            "messages on the streams",
            messages.into_inner() as f64,
            "",
            "",
        ),
    ];
    server.stop().await?;
    Ok(figures)
}

/// Single events over HTTP, as many as are taken, per second.
async fn saturated(server: &Server, duration: Duration) -> Outcome<f64> {
    let requests = (0..64).map(|n| load::request(KEY, &load::json(n, "unknown")));
    let sent = load::post(server.ingest, 16, duration, Arc::new(requests.collect())).await?;
    Ok(sent.rate())
}
