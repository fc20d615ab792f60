//! What the connection costs: pushes of 300 bytes beside redis-benchmark, and what a big answer does
//! to small calls beside it. `cargo bench -p mutt-redis`; prints one figure per line.
#![allow(
    clippy::unwrap_used,
    reason = "a measurement ends where something is missing"
)]

use std::process::Command;
use std::time::{Duration, Instant};

use mutt_redis::{Redis, RedisOptions, Script, redis};
use mutt_testbed::{AppendFsync, Redis as Server};
use tokio::task::JoinSet;

const PAYLOAD: usize = 300;
const BATCH: usize = 1000;
const ELEMENTS: usize = 600_000;

#[tokio::main(worker_threads = 2)]
async fn main() {
    let server = Server::builder().appendfsync(AppendFsync::EverySec).start();
    let options = RedisOptions::new(server.host(), server.port());
    let redis = Redis::open(options).unwrap();
    redis.ready(Duration::from_secs(10)).await.unwrap();
    for _ in 0..2 {
        for (clients, depth) in [(1, 100), (1, 1000), (4, 100)] {
            let rate = benchmark(&server, clients, depth);
            println!("redis-benchmark LPUSH -c {clients} -P {depth}: {rate:.0}/s");
            server.command(&["FLUSHALL"]);
        }
        for callers in [1, 2, 4, 8] {
            let rate = by_script(&redis, callers).await;
            println!("run, {BATCH} elements a call, {callers} callers: {rate:.0}/s");
            server.command(&["FLUSHALL"]);
        }
        for callers in [1, 4] {
            let rate = by_pipeline(&redis, callers).await;
            println!("pipe, {BATCH} commands a call, {callers} callers: {rate:.0}/s");
            server.command(&["FLUSHALL"]);
        }
    }
    alone_and_beside_big_answers(&redis).await;
}

fn benchmark(server: &Server, clients: usize, depth: usize) -> f64 {
    let output = Command::new("redis-benchmark")
        .args(["-p", &server.port().to_string(), "-t", "lpush", "--csv"])
        .args(["-n", &ELEMENTS.to_string(), "-d", &PAYLOAD.to_string()])
        .args(["-c", &clients.to_string(), "-P", &depth.to_string()])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.contains("LPUSH")).unwrap();
    line.split('"').nth(3).unwrap().parse().unwrap()
}

async fn by_script(redis: &Redis, callers: usize) -> f64 {
    measure(redis, callers, |redis, calls| async move {
        let element = vec![b'x'; PAYLOAD];
        let script = Script::new("return redis.call('LPUSH', KEYS[1], unpack(ARGV))");
        for _ in 0..calls {
            let mut call = script.call(&["list"]);
            for _ in 0..BATCH {
                call.arg(&element);
            }
            redis.run::<u64>(&script, &call).await.unwrap();
        }
    })
    .await
}

async fn by_pipeline(redis: &Redis, callers: usize) -> f64 {
    measure(redis, callers, |redis, calls| async move {
        let element = vec![b'x'; PAYLOAD];
        for _ in 0..calls {
            let mut pipeline = redis::pipe();
            for _ in 0..BATCH {
                pipeline.lpush("list", &element).ignore();
            }
            redis.pipe::<()>(&pipeline).await.unwrap();
        }
    })
    .await
}

/// Elements per second.
async fn measure<W>(redis: &Redis, callers: usize, work: impl Fn(Redis, usize) -> W) -> f64
where
    W: Future<Output = ()> + Send + 'static,
{
    let begin = Instant::now();
    let calls = ELEMENTS / BATCH / callers;
    let tasks: JoinSet<()> = (0..callers).map(|_| work(redis.clone(), calls)).collect();
    tasks.join_all().await;
    (calls * BATCH * callers) as f64 / begin.elapsed().as_secs_f64()
}

async fn alone_and_beside_big_answers(redis: &Redis) {
    let mut fill = redis::cmd("RPUSH");
    fill.arg("big");
    for _ in 0..5_000_000 / PAYLOAD {
        fill.arg(vec![b'x'; PAYLOAD]);
    }
    redis.call::<u64>(&fill).await.unwrap();
    println!("PING alone: {}", ping(redis).await);
    let reader = {
        let redis = redis.clone();
        tokio::spawn(async move {
            let mut range = redis::cmd("LRANGE");
            range.arg("big").arg(0).arg(-1);
            loop {
                let answer: Vec<Vec<u8>> = redis.call(&range).await.unwrap();
                assert_eq!(answer.len(), 5_000_000 / PAYLOAD);
            }
        })
    };
    println!("PING beside answers of 5 MB: {}", ping(redis).await);
    reader.abort();
}

async fn ping(redis: &Redis) -> String {
    let mut times = Vec::new();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(3) {
        let sent = Instant::now();
        redis.call::<String>(&redis::cmd("PING")).await.unwrap();
        times.push(sent.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    format!("p50 {:?}, p99 {:?}, most {:?}", at(50), at(99), at(100))
}
