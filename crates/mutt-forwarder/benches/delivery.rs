//! How many deliveries per second, and how long from receipt to delivery at 1,000 events/s: the
//! embedded engine, the forwarder and the pretend Moogsoft in one process, over real sockets.
#![allow(
    clippy::unwrap_used,
    reason = "a bench ends where something is missing"
)]
#![allow(clippy::print_stdout, reason = "its result is what it prints")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use mutt_engine::{Decision, NewAlert, Outcome};
use mutt_event::Batch;
use mutt_forwarder::sink::{Call, KeySlot, Outgoing};
use mutt_forwarder::{Delivery, Forwarder, ForwarderMetrics, MoogSink, Sink};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use support::{Bench, alert};

/// The real sink, with a note of when each alert was delivered.
struct Timed {
    sink: Arc<MoogSink>,
    latencies: Mutex<Vec<Duration>>,
}

#[async_trait]
impl Sink for Timed {
    fn name(&self) -> &'static str {
        self.sink.name()
    }
    fn configured(&self) -> Result<(), &'static str> {
        self.sink.configured()
    }
    fn changes(&self) -> watch::Receiver<u64> {
        self.sink.changes()
    }
    fn fingerprint(&self) -> u64 {
        self.sink.fingerprint()
    }
    fn has_key(&self, key: KeySlot) -> bool {
        self.sink.has_key(key)
    }
    async fn deliver(&self, outgoing: &Outgoing<'_>, call: Call) -> Delivery {
        let delivery = self.sink.deliver(outgoing, call).await;
        let received = outgoing.event.received_at.unwrap();
        let took = jiff::Timestamp::now().duration_since(received);
        self.latencies
            .lock()
            .push(took.try_into().unwrap_or_default());
        delivery
    }
    async fn healthy(&self) -> Result<(), String> {
        Ok(())
    }
}

#[tokio::main]
async fn main() {
    throughput(50_000).await;
    for rate in [1_000, 3_000] {
        latency(rate, Duration::from_secs(10)).await;
    }
}

async fn throughput(count: usize) {
    let bench = Bench::new(&[]).await;
    bench.queue_many(count).await;
    let running = bench.start();
    let mut received = bench.mock.watch();
    received.wait_for(|&received| received > 0).await.unwrap();
    let begin = Instant::now();
    received
        .wait_for(|&received| received >= count as u64)
        .await
        .unwrap();
    let took = begin.elapsed().as_secs_f64();
    println!(
        "deliveries: {:.0}/s ({count} in {took:.2} s)",
        count as f64 / took
    );
    running.stop().await;
}

async fn latency(rate: u32, length: Duration) {
    let bench = Bench::new(&[]).await;
    let sink = Arc::new(Timed {
        sink: bench.sink.clone(),
        latencies: Mutex::default(),
    });
    let forwarder = Forwarder::new(
        bench.engine.clone(),
        sink.clone(),
        bench.dynamic.clone(),
        Bench::options(),
        ForwarderMetrics::register(&mut Registry::default()),
    );
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(forwarder.run(shutdown.clone()));
    let alerter = tokio::spawn(alerter(bench.engine.clone(), shutdown.clone()));
    let begin = Instant::now();
    let mut sent = 0_usize;
    let mut tick = tokio::time::interval(Duration::from_millis(1));
    while begin.elapsed() < length {
        tick.tick().await;
        let due = (begin.elapsed().as_secs_f64() * f64::from(rate)).floor();
        let mut batch = Batch::new();
        while (sent as f64) < due {
            batch.push(&alert("interface down").element);
            sent += 1;
        }
        if !batch.is_empty() {
            let engine = bench.engine.clone();
            tokio::spawn(async move { engine.enqueue(batch).await.unwrap() });
        }
    }
    support::eventually("everything is delivered", async || {
        (sink.latencies.lock().len() >= sent).then_some(())
    })
    .await;
    let mut latencies = std::mem::take(&mut *sink.latencies.lock());
    latencies.sort();
    let at = |per_mille: usize| latencies[(latencies.len() - 1) * per_mille / 1000];
    println!(
        "at {rate}/s receive to delivery: p50 {:?}, p99 {:?}, p99.9 {:?}, max {:?}",
        at(500),
        at(990),
        at(999),
        at(1000)
    );
    shutdown.cancel();
    running.await.unwrap();
    alerter.await.unwrap();
}

/// Decides as fast as it can: each queued element is an alert already.
async fn alerter(engine: Arc<dyn mutt_engine::Engine>, shutdown: CancellationToken) {
    let worker: Arc<str> = "alerter".into();
    while !shutdown.is_cancelled() {
        let wait = Duration::from_millis(200);
        let Some(claim) = engine.claim_events(&worker, 1_000, wait).await.unwrap() else {
            continue;
        };
        let alerts = claim
            .iter()
            .map(|element| NewAlert {
                event_id: Outgoing::read(element).unwrap().event_id,
                element: element.to_vec(),
            })
            .collect();
        let outcome = Outcome {
            alerts,
            ..Outcome::default()
        };
        engine
            .decide(Arc::new(Decision { claim, outcome }))
            .await
            .unwrap();
    }
}
