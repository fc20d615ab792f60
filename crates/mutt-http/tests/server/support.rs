//! A server on a free port, and a client that sees every byte.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use mutt_http::{BodyError, Budget, Limits, RequestBody, Server, ServerMetrics, Tls, WithPeer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The wait after which a test that waits for a condition has failed.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running server.
pub struct Running {
    pub address: SocketAddr,
    pub metrics: ServerMetrics,
    pub shutdown: CancellationToken,
    pub task: JoinHandle<()>,
}

impl Running {
    /// Serves a router.
    pub fn router(router: Router, limits: Limits, tls: Option<Arc<Tls>>) -> Self {
        let (server, mut running) = Self::bind(limits, tls);
        running.task = tokio::spawn(server.run(WithPeer(router), running.shutdown.clone()));
        running
    }

    /// Serves a handler that reads bodies of at most 1,000 bytes and answers with their length.
    pub fn counting(limits: Limits) -> Self {
        let (server, mut running) = Self::bind(limits, None);
        let budget = Budget::new(1 << 20);
        let service = tower::service_fn(move |request: Request<RequestBody>| {
            let mut held = budget.hold();
            async move {
                let (status, text) = match request.into_body().read(1000, &mut held).await {
                    Ok(body) => (StatusCode::OK, body.len().to_string()),
                    Err(BodyError::TooLarge { .. }) => {
                        (StatusCode::PAYLOAD_TOO_LARGE, "too large".to_owned())
                    }
                    Err(BodyError::TimedOut) => {
                        (StatusCode::REQUEST_TIMEOUT, "too slow".to_owned())
                    }
                    Err(error) => (StatusCode::BAD_REQUEST, error.to_string()),
                };
                let mut response = Response::new(Full::new(bytes::Bytes::from(text)));
                *response.status_mut() = status;
                Ok(response)
            }
        });
        running.task = tokio::spawn(server.run(service, running.shutdown.clone()));
        running
    }

    fn bind(limits: Limits, tls: Option<Arc<Tls>>) -> (Server, Self) {
        let metrics = ServerMetrics::default();
        let server = Server::bind(SocketAddr::from(([127, 0, 0, 1], 0)), limits).unwrap();
        let server = server.with_metrics(metrics.clone());
        let address = server.local_addr();
        let server = match tls {
            Some(tls) => server.with_tls(tls),
            None => server,
        };
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(async {});
        (
            server,
            Self {
                address,
                metrics,
                shutdown,
                task,
            },
        )
    }

    /// A new connection.
    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A whole exchange on a connection of its own.
    pub async fn ask(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        answer(&mut stream).await
    }
}

/// A small router.
pub fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" })).route(
        "/echo",
        post(|body: String| async move { body.into_response() }),
    )
}

pub const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

/// Waits, but not for ever.
pub async fn soon<F: Future>(what: F) -> F::Output {
    tokio::time::timeout(PATIENCE, what)
        .await
        .expect("it did not happen in time")
}

/// Waits until something is so.
pub async fn until(mut is_so: impl FnMut() -> bool) {
    soon(async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// Reads one response with a `content-length`.
pub async fn answer<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> String {
    let mut text = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let count = soon(stream.read(&mut buffer))
            .await
            .expect("the connection holds");
        assert!(
            count > 0,
            "closed after {:?}",
            String::from_utf8_lossy(&text)
        );
        text.extend_from_slice(&buffer[..count]);
        let so_far = String::from_utf8_lossy(&text).into_owned();
        if let Some((head, body)) = so_far.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("content-length: ")?
                        .parse()
                        .ok()
                })
                .unwrap_or(0);
            if body.len() >= length {
                return so_far;
            }
        }
    }
}

/// Reads until the server closes; what came.
pub async fn rest<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut text = Vec::new();
    // A reset closes it as well as an end does.
    let _ = soon(stream.read_to_end(&mut text)).await;
    String::from_utf8_lossy(&text).into_owned()
}
