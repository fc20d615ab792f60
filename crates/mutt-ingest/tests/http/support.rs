//! An ingestor on a free port.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mutt_engine::embedded::{Embedded, Mode};
use mutt_engine::{DeadLetterFilter, DeadLetters as _, Dlq, Dynamic, EventQueue as _};
use mutt_http::{Keys, Limits, Server};
use mutt_ingest::{Admission, Door, DoorOptions, HttpIngest, HttpOptions, IngestMetrics};
use prometheus_client::registry::Registry;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub const KEY: &str = "key-of-the-test";
pub const EVENT: &str = r#"{"hostname":"r1","message":"link up"}"#;

/// The largest body that the tests' ingestor takes.
pub const MAX_BODY: usize = 1 << 20;

/// A running ingestor with its engine.
pub struct Ingestor {
    pub address: SocketAddr,
    pub engine: Arc<Embedded>,
    pub keys: Arc<Keys>,
    pub dynamic: watch::Sender<Arc<Dynamic>>,
    pub client: Client,
    pub dir: TempDir,
    shutdown: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Ingestor {
    pub fn start() -> Self {
        Self::start_with(Limits::default())
    }

    pub fn start_with(limits: Limits) -> Self {
        Self::start_behind(limits, "")
    }

    /// With this senders file.
    pub fn start_behind(limits: Limits, senders: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("senders.toml");
        std::fs::write(&file, senders).unwrap();
        let senders = DoorOptions {
            senders_file: Some(file),
            ..DoorOptions::default()
        };
        let engine = open(dir.path());
        let mut registry = Registry::default();
        let metrics = IngestMetrics::register(&mut registry);
        let door = Door::open(&senders, metrics.clone()).unwrap();
        let admission = Admission::new(engine.clone(), metrics).with_door(door);
        let (sender, dynamic) = watch::channel(Arc::new(Dynamic::default()));
        let keys = Arc::new(Keys::new([KEY]));
        let options = HttpOptions {
            max_body_bytes: MAX_BODY,
            ..HttpOptions::default()
        };
        let door = HttpIngest::new(
            options,
            admission.clone(),
            dynamic.clone(),
            keys.clone(),
            Arc::new(registry),
            Arc::new(|| serde_json::json!({ "static": { "MAX_BODY_BYTES": MAX_BODY } })),
        );
        let server = Server::bind(SocketAddr::from(([127, 0, 0, 1], 0)), limits).unwrap();
        let address = server.local_addr();
        let shutdown = CancellationToken::new();
        let token = shutdown.clone();
        let tasks = vec![
            tokio::spawn(server.run(door.service(), shutdown.clone())),
            tokio::spawn(async move { admission.run(dynamic, token).await }),
        ];
        Self {
            address,
            engine,
            keys,
            dynamic: sender,
            client: Client::new(),
            dir,
            shutdown,
            tasks,
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn post(&self, body: impl Into<reqwest::Body>) -> RequestBuilder {
        self.client
            .post(self.url("/ingest"))
            .header("x-api-key", KEY)
            .body(body)
    }

    /// Posts, and expects this status; the answer's JSON.
    pub async fn posted(&self, body: impl Into<reqwest::Body>, status: u16) -> Value {
        answered(self.post(body), status).await
    }

    /// Takes all events out of the queue, oldest first.
    pub async fn events(&self) -> Vec<Value> {
        let worker = Arc::from("test");
        let mut events = Vec::new();
        while self.engine.event_depth().await.unwrap() > 0 {
            let claim = self
                .engine
                .claim_events(&worker, 1000, Duration::ZERO)
                .await
                .unwrap();
            events.extend(
                claim
                    .unwrap()
                    .iter()
                    .map(|event| serde_json::from_slice::<Value>(event).unwrap()),
            );
        }
        events
    }

    /// Detail and message of everything that was buried.
    pub async fn buried(&self) -> Vec<(String, String)> {
        let filter = DeadLetterFilter::default();
        let letters = self
            .engine
            .dead_letters(Dlq::Ingest, &filter, 0, 10_000)
            .await
            .unwrap();
        letters
            .into_iter()
            .map(|letter| (letter.detail, letter.message))
            .collect()
    }

    /// Changes dynamic configuration.
    pub fn set(&self, values: &[(&str, &str)]) {
        self.dynamic
            .send_modify(|dynamic| *dynamic = Arc::new(dynamic.with(values.iter().copied())));
    }

    /// The value of a series on the metrics page.
    pub async fn series(&self, series: &str) -> u64 {
        let page = self
            .client
            .get(self.url("/metrics"))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{series} is missing in\n{page}"))
            .parse()
            .unwrap()
    }

    /// Sends raw bytes and closes the sending side; everything that comes back.
    pub async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut text = Vec::new();
        let _ = soon(stream.read_to_end(&mut text)).await;
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Ends without closing the engine, as a crash would; what is on the disk stays.
    pub async fn crash(self) -> TempDir {
        self.shutdown.cancel();
        drop(self.client);
        for task in self.tasks {
            soon(task).await.unwrap();
        }
        drop(self.engine);
        self.dir
    }
}

pub fn open(dir: &Path) -> Arc<Embedded> {
    Embedded::open(dir, Mode::Server).unwrap()
}

/// Sends a request, and expects this status; the answer's JSON.
pub async fn answered(request: RequestBuilder, status: u16) -> Value {
    let response: Response = soon(request.send()).await.unwrap();
    let found = response.status().as_u16();
    let text = response.text().await.unwrap();
    assert_eq!(found, status, "{text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Waits, but not for ever.
pub async fn soon<F: Future>(what: F) -> F::Output {
    tokio::time::timeout(Duration::from_mins(1), what)
        .await
        .expect("it did not happen in time")
}

pub fn gzip(text: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}
