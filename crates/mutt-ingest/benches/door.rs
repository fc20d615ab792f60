//! What the door costs each message: beside the parser and a counter, with everything off, and with each of its
//! parts on.
//!
//! `cargo bench -p mutt-ingest --bench door` prints nanoseconds per message and the ratio to parsing and
//! counting alone, the rounds of all interleaved.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mutt_engine::Dynamic;
use mutt_engine::embedded::{Embedded, Mode};
use mutt_event::Batch;
use mutt_event::syslog::{Origin, parse_into};
use mutt_ingest::door::{Gate, Moment};
use mutt_ingest::{Admission, Door, DoorOptions, IngestMetrics, Listener};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const LINE: &[u8] = b"<187>Nov 21 13:00:00 core-sw01.dc1.example.com mgd[4711]: UI_COMMIT: User 'admin' requested 'commit' operation on interface ge-0/0/24 from 10.20.30.40 with comment none";
const CORRELATION: &str = "0193ab12-34cd-7abc-9def-0123456789ab";
/// Messages of one batch, as listeners form them.
const BATCH: usize = 1_000;
const ROUNDS: usize = 60;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let dir = tempfile::tempdir().expect("a directory");
    let senders = dir.path().join("senders.toml");
    let text: String = (0..1_000_u32)
        .map(|network| {
            let address = Ipv4Addr::from(0x0a00_0000 + (network << 8));
            format!("[[sender]]\nnetwork = \"{address}/24\"\ntags = [\"lab\"]\n")
        })
        .collect::<Vec<_>>()
        .concat();
    std::fs::write(&senders, text).expect("a file");
    let with_file = DoorOptions {
        senders_file: Some(senders),
        ..DoorOptions::default()
    };
    let plain = DoorOptions::default();
    let _runs = runtime.enter();
    let gates = [
        ("everything off", gate(dir.path(), "off", &plain, &[])),
        ("1,000 networks", gate(dir.path(), "file", &with_file, &[])),
        (
            "a limit that nobody passes",
            gate(
                dir.path(),
                "limit",
                &plain,
                &[("sender_max_rate", "100000000")],
            ),
        ),
        (
            "a limit that drops",
            gate(dir.path(), "drops", &plain, &[("sender_max_rate", "1")]),
        ),
        (
            "a window for repeats",
            gate(
                dir.path(),
                "window",
                &plain,
                &[("dedup_window_seconds", "3600")],
            ),
        ),
    ];
    std::thread::sleep(Duration::from_millis(500));

    // A listener without a door parses and counts.
    let received = Counter::<u64>::default();
    let mut alone = Vec::new();
    let mut measured = vec![Vec::new(); gates.len()];
    for _ in 0..ROUNDS {
        alone.push(round(|batch, peer, moment| {
            received.inc();
            batch.push_with(|out| {
                let origin = Origin {
                    correlation_id: CORRELATION,
                    ..Origin::new(peer, moment.at, 65_536)
                };
                black_box(parse_into(black_box(LINE), &origin, out));
            });
        }));
        for ((_, gate), times) in gates.iter().zip(&mut measured) {
            times.push(round(|batch, peer, moment| {
                gate.0.pass(peer, moment, true, batch, |known, out| {
                    let origin = Origin {
                        correlation_id: CORRELATION,
                        zone: &known.sender.zone,
                        host: known.name,
                        believed: known.sender.is_believed(),
                        tags: &known.sender.tags,
                        ..Origin::new(peer, moment.at, 65_536)
                    };
                    black_box(parse_into(black_box(LINE), &origin, out));
                });
            }));
        }
    }
    let alone = median(&mut alone);
    println!("parsing and counting alone: {alone:.0} ns");
    for ((name, _), mut times) in gates.iter().zip(measured) {
        let time = median(&mut times);
        println!("{name}: {time:.0} ns, {:.2} times", time / alone);
    }
}

/// A gate with these settings; the rest keeps it alive.
fn gate(
    dir: &std::path::Path,
    name: &str,
    options: &DoorOptions,
    values: &[(&str, &str)],
) -> (Gate, watch::Sender<Arc<Dynamic>>) {
    let engine = Embedded::open(&dir.join(name), Mode::Server).expect("the engine opens");
    let metrics = IngestMetrics::register(&mut Registry::default());
    let door = Door::open(options, metrics.clone()).expect("the files are good");
    let admission = Admission::new(engine, metrics).with_door(door.clone());
    let dynamic = Dynamic::default().with(values.iter().copied());
    let (sender, followed) = watch::channel(Arc::new(dynamic));
    let gate = door.gate(Listener::SyslogUdp);
    let stop = CancellationToken::new();
    tokio::spawn(door.run(admission, followed, stop, Duration::from_secs(1)));
    (gate, sender)
}

/// Nanoseconds per message of a few batches, from many senders.
fn round(mut add: impl FnMut(&mut Batch, IpAddr, Moment)) -> f64 {
    let began = Instant::now();
    let batches = 5;
    let mut batch = Batch::with_capacity(BATCH, BATCH * 768);
    for _ in 0..batches {
        batch.clear();
        let mut moment = Moment::now();
        for number in 0..BATCH {
            if number % 64 == 0 {
                moment = Moment::now();
            }
            let last = u32::try_from(number % 200).unwrap_or(0);
            let peer = Ipv4Addr::from(0x0a00_0001 + (last << 8));
            add(&mut batch, peer.into(), moment);
        }
        black_box(&batch);
    }
    began.elapsed().as_nanos() as f64 / (batches * BATCH) as f64
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
