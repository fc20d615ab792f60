//! Events into the queue: through the engine's `enqueue` and through `mutt ingestor` over HTTP, each
//! beside redis-benchmark pushing the same element with as many in flight.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result};
use mutt_distributed::Distributed;
use mutt_engine::EventQueue as _;
use mutt_event::Batch;
use mutt_traffic::load;

use crate::Options;
use crate::report::{Figure, check, median};
use crate::setup::{KEY, QUEUE, Setup};
use crate::{processes, reference};

/// Connections, or callers at a time.
const CALLERS: usize = 8;
/// Events of one request, or commands in flight on one connection.
const BATCH: usize = 100;
/// Events in one turn.
const EVENTS: u64 = 600_000;
/// Bytes of one event as it is sent.
const EVENT_BYTES: usize = 300;

pub async fn measure(options: &Options) -> Result<Vec<Figure>> {
    let setup = Setup::start().await?;
    let engine = setup.engine().await?;
    let ingestor = setup.role("ingestor", "ingestor", &[UNLIMITED]).await?;
    let events: Vec<_> = (0..BATCH as u64).map(event).collect();
    let body = load::request(KEY, &format!("[{}]", events.join(",")));

    // What the ingestor makes of them is what the others push.
    load::Client::connect(ingestor.addr)
        .await?
        .post(&body)
        .await?;
    let elements = setup.redis.command(&["LRANGE", QUEUE, "0", "-1"]);
    let batch: Batch = elements.lines().map(str::as_bytes).collect();
    check("elements in the queue", batch.len() as u64, BATCH as u64)?;
    let element = elements.lines().next().context("the queue has elements")?;

    let (mut alone, mut by_engine, mut over_http) = (Vec::new(), Vec::new(), Vec::new());
    let mut cost = Vec::new();
    for _ in 0..options.turns {
        clear(&setup).await?;
        alone.push(reference::lpush(&setup, element, CALLERS, BATCH, EVENTS).await?);
        clear(&setup).await?;
        by_engine.push(enqueue(&engine, &batch).await?);
        check("events in the queue", setup.depth()?, EVENTS)?;
        clear(&setup).await?;
        let counted = processes::Cost::begin([
            ("mutt ingestor", vec![ingestor.pid()]),
            ("Redis", setup.redis.pid().into_iter().collect()),
        ]);
        over_http.push(post(&ingestor, &body).await?);
        cost.push(counted.end());
        check("events in the queue", setup.depth()?, EVENTS)?;
    }
    let (alone, by_engine, over_http) = (median(&alone), median(&by_engine), median(&over_http));
    let figure =
        |what: String, value, unit, target| Figure::new("arrival", what, value, unit, target);
    let shape = format!(
        "{CALLERS} × {BATCH} in flight, elements of {} bytes",
        element.len()
    );
    let mut figures = vec![
        figure(
            format!("LPUSH by redis-benchmark, {shape}"),
            alone,
            "events/s",
            "",
        ),
        figure("enqueue by the engine".into(), by_engine, "events/s", ""),
        figure(
            "enqueue by the engine, ratio".into(),
            by_engine / alone,
            "",
            "≥ 0.60",
        ),
        figure("mutt ingestor over HTTP".into(), over_http, "events/s", ""),
        figure(
            "mutt ingestor over HTTP, ratio".into(),
            over_http / alone,
            "",
            "",
        ),
    ];
    for &(name, share) in cost.last().into_iter().flatten() {
        figures.push(figure(
            format!("over HTTP: processor time of {name}"),
            share,
            "% of a core",
            "",
        ));
    }
    Ok(figures)
}

const UNLIMITED: (&str, &str) = ("MAX_INGEST_QUEUE_SIZE", "1000000000");

async fn clear(setup: &Setup) -> Result<()> {
    setup.clear_redis(&[QUEUE, reference::KEY]).await
}

/// An event of [`EVENT_BYTES`] as JSON.
fn event(number: u64) -> String {
    let mut event = load::json(number, "arrival");
    let closing = event
        .find(r#"","syslog_severity"#)
        .expect("load::json writes it");
    event.drain(closing - (event.len() - EVENT_BYTES)..closing);
    event
}

/// Events per second that are acknowledged to so many callers.
async fn enqueue(engine: &Arc<Distributed>, batch: &Batch) -> Result<f64> {
    let left = Arc::new(AtomicU64::new(EVENTS / BATCH as u64));
    let start = Instant::now();
    let callers = (0..CALLERS).map(|_| {
        let (engine, batch, left) = (Arc::clone(engine), batch.clone(), Arc::clone(&left));
        tokio::spawn(async move {
            while take_one(&left) {
                engine.enqueue(batch.clone()).await?;
            }
            Ok::<_, mutt_engine::EngineError>(())
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await??;
    }
    Ok(EVENTS as f64 / start.elapsed().as_secs_f64())
}

/// The same over HTTP.
async fn post(ingestor: &processes::Role, request: &[u8]) -> Result<f64> {
    let left = Arc::new(AtomicU64::new(EVENTS / BATCH as u64));
    let start = Instant::now();
    let connections = (0..CALLERS).map(|_| {
        let (addr, request, left) = (ingestor.addr, request.to_vec(), Arc::clone(&left));
        tokio::spawn(async move {
            let mut client = load::Client::connect(addr).await?;
            while take_one(&left) {
                if !client.post(&request).await? {
                    return Err(io::Error::other("the ingestor refused a batch"));
                }
            }
            Ok(())
        })
    });
    for connection in connections.collect::<Vec<_>>() {
        connection.await??;
    }
    Ok(EVENTS as f64 / start.elapsed().as_secs_f64())
}

fn take_one(left: &AtomicU64) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
        left.checked_sub(1)
    })
    .is_ok()
}
