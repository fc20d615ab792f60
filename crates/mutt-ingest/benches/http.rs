//! Single events over 64 keep-alive connections, and batches, each answered after it is durable,
//! beside a handler in the same server that reads the body and answers 200.
//!
//! `cargo bench -p mutt-ingest --bench http` prints rates and the ratio; the goal for single events
//! is 60 %. Sender and server share the machine. `BENCH_DIR` says where the data goes (a tmpfs takes
//! the disk out), `BENCH_SECONDS` how long each load lasts.

use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use mutt_engine::embedded::{Embedded, Mode};
use mutt_engine::{Dynamic, EventQueue as _};
use mutt_event::Batch;
use mutt_http::{Budget, Keys, Limits, RequestBody, Server};
use mutt_ingest::{Admission, HttpIngest, HttpOptions, IngestMetrics};
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const CONNECTIONS: usize = 64;
const KEY: &str = "bench";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("threads");
    let seconds = std::env::var("BENCH_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(3);
    let round = Duration::from_secs(seconds);
    runtime.block_on(async {
        let dir = std::env::var_os("BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
        let dir = tempfile::TempDir::new_in(dir).expect("a directory");
        println!("fdatasync of 20 kB: median {:.0?}", sync_time(dir.path()));
        let engine = Embedded::open(dir.path(), Mode::Server).expect("the engine opens");
        engine.set_queue_limit(u64::MAX >> 1);
        let ingest = ingestor(engine.clone());
        let bare = bare();
        println!(
            "enqueue alone, {CONNECTIONS} callers: {:.0} events/s",
            enqueue(&engine, round).await
        );
        for (name, body, events, connections) in [
            ("single", event(0), 1, CONNECTIONS),
            (
                "batch of 100",
                (0..100).map(event).collect::<Vec<_>>().join("\n"),
                100,
                16,
            ),
        ] {
            let mut ratios = Vec::new();
            for _ in 0..3 {
                let bare = load(bare, &body, connections, round).await;
                let durable = load(ingest, &body, connections, round).await;
                ratios.push(durable.rate / bare.rate);
                println!("{name}: bare {bare}");
                println!(
                    "{name}: durable {durable} = {:.0} events/s, {:.0} %",
                    durable.rate * f64::from(events),
                    100.0 * durable.rate / bare.rate,
                );
            }
            ratios.sort_by(f64::total_cmp);
            println!("{name}: median {:.0} %", 100.0 * ratios[1]);
        }
        println!(
            "{} events queued",
            engine.event_depth().await.expect("the engine answers")
        );
    });
}

/// What the disk allows just now: senders who wait cannot be faster than this often.
fn sync_time(dir: &Path) -> Duration {
    let mut file = std::fs::File::create(dir.join("sync")).expect("a file");
    let block = vec![0; 20_000];
    let mut times: Vec<_> = (0..200)
        .map(|_| {
            file.write_all(&block).expect("the disk has room");
            let began = Instant::now();
            file.sync_data().expect("the disk works");
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// What the engine takes from as many callers, without HTTP: the part that is not ours.
async fn enqueue(engine: &Arc<Embedded>, round: Duration) -> f64 {
    let element: Arc<[u8]> = event(0).into_bytes().into();
    let (stop, count) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let began = Instant::now();
    let callers: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (engine, element) = (engine.clone(), element.clone());
            let (stop, count) = (stop.clone(), count.clone());
            tokio::spawn(async move {
                while !stop.load(Relaxed) {
                    let batch = Batch::from_iter([&*element]);
                    engine.enqueue(batch).await.expect("the engine takes it");
                    count.fetch_add(1, Relaxed);
                }
            })
        })
        .collect();
    tokio::time::sleep(round).await;
    stop.store(true, Relaxed);
    let rate = count.load(Relaxed) as f64 / began.elapsed().as_secs_f64();
    for caller in callers {
        caller.await.expect("the caller ends");
    }
    rate
}

fn event(n: usize) -> String {
    format!(
        r#"{{"hostname":"edge-{:03}.example.net","timestamp":"2026-11-21T13:00:00.123456Z","message":"%LINEPROTO-5-UPDOWN: Line protocol on Interface GigabitEthernet0/{}, changed state to down; neighbour lost, {}","severity":"notice","facility":"local7","program":"ifmgr"}}"#,
        n % 200,
        n % 48,
        "x".repeat(60),
    )
}

fn ingestor(engine: Arc<Embedded>) -> SocketAddr {
    let mut registry = Registry::default();
    let metrics = IngestMetrics::register(&mut registry);
    let (_, dynamic) = watch::channel(Arc::new(Dynamic::default()));
    let door = HttpIngest::new(
        HttpOptions::default(),
        Admission::new(engine, metrics),
        dynamic,
        Arc::new(Keys::new([KEY])),
        Arc::new(registry),
        Arc::new(|| serde_json::Value::Null),
    );
    let server = server();
    let address = server.local_addr();
    tokio::spawn(server.run(door.service(), CancellationToken::new()));
    address
}

fn bare() -> SocketAddr {
    let server = server();
    let address = server.local_addr();
    let budget = Budget::new(1 << 30);
    let service = tower::service_fn(move |request: Request<RequestBody>| {
        let mut held = budget.hold();
        async move {
            let _ = request.into_body().read(1 << 20, &mut held).await;
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(
                b"{\"status\":\"queued\"}",
            ))))
        }
    });
    tokio::spawn(server.run(service, CancellationToken::new()));
    address
}

fn server() -> Server {
    Server::bind(SocketAddr::from(([127, 0, 0, 1], 0)), Limits::default()).expect("a free port")
}

/// Processor time of the whole process so far, sender included; other work on the machine does not
/// disturb it as it does rates.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("this is Linux");
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or("")
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11..13]
        .iter()
        .map(|field| field.parse::<u64>().expect("ticks"))
        .sum();
    Duration::from_millis(ticks * 10)
}

/// What one load came to.
struct Load {
    /// Requests per second.
    rate: f64,
    /// The 99th percentile of latency.
    p99: Duration,
    /// Processor time per request.
    cost: Duration,
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rate, p99, cost } = self;
        write!(
            f,
            "{rate:.0} req/s (p99 {p99:.2?}, processor {cost:.1?} per request)"
        )
    }
}

async fn load(to: SocketAddr, body: &str, connections: usize, round: Duration) -> Load {
    let request: Arc<[u8]> = format!(
        "POST /ingest HTTP/1.1\r\nhost: bench\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
    .into();
    let (stop, count) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let (began, used) = (Instant::now(), processor_time());
    let clients: Vec<_> = (0..connections)
        .map(|_| {
            let (request, stop, count) = (request.clone(), stop.clone(), count.clone());
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(to).await.expect("the server listens");
                stream.set_nodelay(true).expect("a socket");
                let mut buffer = [0; 1024];
                let mut latencies = Vec::new();
                while !stop.load(Relaxed) {
                    let sent = Instant::now();
                    stream.write_all(&request).await.expect("the server reads");
                    let length = stream.read(&mut buffer).await.expect("the server answers");
                    assert!(
                        buffer[..length].starts_with(b"HTTP/1.1 200"),
                        "{:?}",
                        &buffer[..length]
                    );
                    assert!(buffer[..length].ends_with(b"}") || buffer[..length].ends_with(b"}\n"));
                    latencies.push(sent.elapsed());
                    count.fetch_add(1, Relaxed);
                }
                latencies
            })
        })
        .collect();
    tokio::time::sleep(round).await;
    stop.store(true, Relaxed);
    let rate = count.load(Relaxed) as f64 / began.elapsed().as_secs_f64();
    let mut latencies = Vec::new();
    for client in clients {
        latencies.extend(client.await.expect("the client ends"));
    }
    latencies.sort_unstable();
    let requests = u32::try_from(latencies.len())
        .expect("a few seconds")
        .max(1);
    let cost = processor_time().saturating_sub(used) / requests;
    Load {
        rate,
        p99: latencies[latencies.len() * 99 / 100],
        cost,
    }
}
