//! Messages onto real sockets, counted.

use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;

use crate::{Message, Wire};

/// Where messages go.
#[derive(Clone, Debug)]
pub struct Targets {
    /// Syslog over UDP.
    pub udp: Option<SocketAddr>,
    /// Syslog over TCP.
    pub tcp: Option<SocketAddr>,
    /// The address of `/ingest`.
    pub http: Option<String>,
    /// The key for HTTP.
    pub key: Option<SecretString>,
    /// The only authorities to trust for HTTPS, as PEM; those of the system where there are none.
    pub ca: Option<Vec<u8>>,
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Messages handed to a socket, or answered 200.
    pub sent: u64,
    /// Posted messages that were refused with a 4xx: the sender's own fault.
    pub refused: u64,
    /// Messages that could not be sent.
    pub failed: u64,
    /// Messages without a target for their kind.
    pub skipped: u64,
}

/// Why sending could not begin.
#[derive(Debug)]
pub struct SendError(String);

impl std::fmt::Display for SendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SendError {}

/// Sends messages over sockets that stay open.
#[derive(Debug)]
pub struct Sender {
    targets: Targets,
    udp: UdpSocket,
    tcp: Option<TcpStream>,
    http: reqwest::Client,
    /// What was sent so far.
    pub counts: Sent,
    /// Why a message could not be sent, the last time that happened.
    pub last_error: Option<String>,
}

impl Sender {
    /// A sender to these targets; connections are made when they are first needed.
    ///
    /// # Errors
    /// Where no socket can be had.
    pub async fn new(targets: Targets) -> Result<Self, SendError> {
        let any = if targets.udp.is_some_and(|addr| addr.is_ipv6()) {
            "[::]:0"
        } else {
            "0.0.0.0:0"
        };
        let udp = UdpSocket::bind(any)
            .await
            .map_err(|error| SendError(format!("no UDP socket can be had: {error}")))?;
        let mut http = reqwest::Client::builder().timeout(Duration::from_secs(10));
        if let Some(pem) = &targets.ca {
            let authorities = reqwest::Certificate::from_pem_bundle(pem)
                .map_err(|error| SendError(format!("the certificates cannot be read: {error}")))?;
            http = http.tls_certs_only(authorities);
        }
        let http = http
            .build()
            .map_err(|error| SendError(format!("no HTTP client can be had: {error}")))?;
        Ok(Self {
            targets,
            udp,
            tcp: None,
            http,
            counts: Sent::default(),
            last_error: None,
        })
    }

    /// Sends one message now and counts what became of it.
    pub async fn send(&mut self, wire: &Wire) {
        let result = match wire {
            Wire::Udp(bytes) => match self.targets.udp {
                Some(addr) => self.udp.send_to(bytes, addr).await.map(drop).map_err(said),
                None => return self.counts.skipped += 1,
            },
            Wire::Tcp(bytes) => match self.targets.tcp {
                Some(addr) => self.send_tcp(addr, bytes).await.map_err(said),
                None => return self.counts.skipped += 1,
            },
            Wire::Http(body) => match self.targets.http.clone() {
                Some(url) => match self.post(&url, body).await {
                    Ok(status) if status.is_success() => Ok(()),
                    Ok(status) if status.is_client_error() => return self.counts.refused += 1,
                    Ok(status) => Err(format!("{url} answered {status}")),
                    Err(error) => Err(said(error)),
                },
                None => return self.counts.skipped += 1,
            },
        };
        match result {
            Ok(()) => self.counts.sent += 1,
            Err(error) => {
                self.counts.failed += 1;
                self.last_error = Some(error);
            }
        }
    }

    async fn post(&self, url: &str, body: &[u8]) -> reqwest::Result<reqwest::StatusCode> {
        let mut request = self
            .http
            .post(url)
            .header("content-type", "application/json")
            .body(body.to_vec());
        if let Some(key) = &self.targets.key {
            request = request.header("x-api-key", key.expose_secret());
        }
        Ok(request.send().await?.status())
    }

    async fn send_tcp(&mut self, addr: SocketAddr, bytes: &[u8]) -> std::io::Result<()> {
        let mut line = Vec::with_capacity(bytes.len() + 1);
        line.extend_from_slice(bytes);
        line.push(b'\n');
        let stream = match &mut self.tcp {
            Some(stream) => stream,
            None => self.tcp.insert(TcpStream::connect(addr).await?),
        };
        let result = stream.write_all(&line).await;
        if result.is_err() {
            self.tcp = None;
        }
        result
    }

    /// Sends messages when their time has come, the first one now, until there are no more or
    /// `stop` says so.
    pub async fn play(
        &mut self,
        messages: impl Iterator<Item = Message> + Send,
        stop: &CancellationToken,
    ) {
        let mut begin: Option<(Timestamp, tokio::time::Instant)> = None;
        for message in messages {
            let (first, began) =
                *begin.get_or_insert_with(|| (message.at, tokio::time::Instant::now()));
            let offset = Duration::try_from(message.at.duration_since(first)).unwrap_or_default();
            tokio::select! {
                () = tokio::time::sleep_until(began + offset) => {}
                () = stop.cancelled() => break,
            }
            self.send(&message.wire).await;
        }
        self.finish().await;
    }

    /// Closes the stream in order, so that its last line arrives.
    pub async fn finish(&mut self) {
        if let Some(mut stream) = self.tcp.take() {
            let _ = stream.shutdown().await;
        }
    }
}

/// An error with its causes: the last one says what a person can mend.
fn said(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
