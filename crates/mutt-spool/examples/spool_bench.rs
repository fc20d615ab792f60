//! What a spool takes and gives: `cargo run --release -p mutt-spool --example spool_bench`.
#![allow(clippy::unwrap_used, reason = "a measurement ends at the first error")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use mutt_event::Batch;
use mutt_spool::Spool;

const EVENT: usize = 300;

fn batch(events: usize) -> Batch {
    let event = vec![b'x'; EVENT];
    (0..events).map(|_| &event[..]).collect()
}

async fn put(spool: &Arc<Spool>, callers: usize, puts: usize, events: usize) {
    let began = Instant::now();
    let callers: Vec<_> = (0..callers)
        .map(|_| {
            let spool = Arc::clone(spool);
            tokio::spawn(async move {
                for _ in 0..puts {
                    spool.put(batch(events), Vec::new()).await.unwrap();
                }
            })
        })
        .collect();
    let all = callers.len() * puts;
    for caller in callers {
        caller.await.unwrap();
    }
    let rate = all as f64 / began.elapsed().as_secs_f64();
    let events_rate = rate * events as f64;
    println!("puts of {events:>4}: {rate:>9.0} puts/s {events_rate:>9.0} events/s");
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let directory = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let directory = tempfile::tempdir_in(directory).unwrap();
    let spool = Spool::open(directory.path(), 4 << 30).unwrap();
    put(&spool, 1, 500, 1).await;
    put(&spool, 64, 1000, 1).await;
    put(&spool, 256, 1000, 1).await;
    put(&spool, 4, 200, 1000).await;
    drop(spool);
    let began = Instant::now();
    let spool = Spool::open(directory.path(), 4 << 30).unwrap();
    let (events, took) = (spool.depth(), began.elapsed());
    println!("opened with {events} events in {took:?}");
    let began = Instant::now();
    while let Some(spooled) = spool.next(1000, Duration::ZERO).await.unwrap() {
        spool.settle(spooled).await.unwrap();
    }
    let rate = events as f64 / began.elapsed().as_secs_f64();
    println!("drained: {rate:.0} events/s");
    spool.close().await;
}
