//! Load for measurements: over plain sockets, as cheap as it can be made, because the generator
//! shares the cores with what is measured. Counts what was taken; knows nothing of what becomes of
//! it.

use std::io::{self, Result, Write as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The time that all events carry: they belong to the month in which they are measured.
static BEGAN: LazyLock<Timestamp> = LazyLock::new(Timestamp::now);

/// A message of about 300 bytes as the labs used it; `word` decides which rule matches.
pub fn message(number: u64, word: &str) -> String {
    format!(
        "%LINK-3-UPDOWN: Interface GigabitEthernet1/0/{}, changed state to down; {word}; neighbor \
         10.{}.{}.{} lost after {number} hellos, hold time expired, area 0.0.0.0, process 1, \
         reason code 0x{number:08x}, see the operations manual",
        number % 48 + 1,
        number % 4,
        number % 256,
        number % 250
    )
}

/// One event as JSON.
pub fn json(number: u64, word: &str) -> String {
    format!(
        r#"{{"hostname":"ams-core-sw{}","message":"{}","syslog_severity":3,"timestamp":"{}"}}"#,
        number % 50,
        message(number, word),
        BEGAN.strftime("%Y-%m-%dT%H:%M:%SZ")
    )
}

/// One syslog line (RFC 3164), with its line feed.
pub fn line(number: u64, word: &str) -> String {
    format!(
        "<187>{} ams-core-sw{} {}\n",
        BEGAN.strftime("%b %e %H:%M:%S"),
        number % 50,
        message(number, word)
    )
}

/// A POST of this body to `/ingest` with this key, as bytes.
pub fn request(key: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /ingest HTTP/1.1\r\nHost: bench\r\nX-API-KEY: {key}\r\nContent-Type: \
         application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// How long a connection pauses after a refusal: asking again at once would only take processor time
/// from whoever is to make room.
const REFUSED: Duration = Duration::from_millis(2);

/// What the sender's ledger says.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// Answered 200, or written.
    pub accepted: u64,
    /// How long it took.
    pub seconds: f64,
}

impl Sent {
    /// Per second.
    pub fn rate(&self) -> f64 {
        self.accepted as f64 / self.seconds
    }
}

/// Posts requests over `connections` keep-alive connections for a time, one in flight on each.
/// Counts requests that were answered 200; after any other answer the connection pauses for 2 ms.
///
/// # Errors
/// A connection that cannot be made or breaks.
pub async fn post(
    addr: SocketAddr,
    connections: usize,
    duration: Duration,
    requests: Arc<Vec<Vec<u8>>>,
) -> Result<Sent> {
    let began = Instant::now();
    let deadline = began + duration;
    let accepted = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for connection in 0..connections {
        let (requests, accepted) = (requests.clone(), accepted.clone());
        tasks.push(tokio::spawn(async move {
            let mut client = Client::connect(addr).await?;
            let mut next = connection;
            while Instant::now() < deadline {
                if client.post(&requests[next % requests.len()]).await? {
                    accepted.fetch_add(1, Ordering::Relaxed);
                } else {
                    tokio::time::sleep(REFUSED).await;
                }
                next += 1;
            }
            Result::Ok(())
        }));
    }
    for task in tasks {
        task.await.map_err(io::Error::other)??;
    }
    Ok(Sent {
        accepted: accepted.load(Ordering::Relaxed),
        seconds: began.elapsed().as_secs_f64(),
    })
}

/// One keep-alive connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// Where nobody listens.
    pub async fn connect(addr: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: vec![0; 16 * 1024],
        })
    }

    /// Sends one request and reads its answer; whether that was 200.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn post(&mut self, request: &[u8]) -> Result<bool> {
        self.stream.write_all(request).await?;
        answer(&mut self.stream, &mut self.buffer).await
    }
}

async fn answer(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<bool> {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += read;
        let Some(head) = buffer[..filled]
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
        else {
            continue;
        };
        let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
        let length: usize = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .and_then(|length| length.trim().parse().ok())
            .unwrap_or(0);
        let whole = head + 4 + length;
        while filled < whole {
            filled += stream.read(&mut buffer[filled..]).await?;
        }
        return Ok(buffer.starts_with(b"HTTP/1.1 200"));
    }
}

/// Writes lines over `connections` connections for a time.
///
/// # Errors
/// A connection that cannot be made or breaks.
pub async fn tcp(
    addr: SocketAddr,
    connections: usize,
    duration: Duration,
    word: &'static str,
) -> Result<Sent> {
    let began = Instant::now();
    let deadline = began + duration;
    let mut tasks = Vec::new();
    for connection in 0..connections as u64 {
        tasks.push(tokio::spawn(async move {
            let mut stream = TcpStream::connect(addr).await?;
            let chunk: String = (0..200)
                .map(|n| line(connection * 1000 + n, word))
                .collect();
            let mut lines = 0_u64;
            while Instant::now() < deadline {
                stream.write_all(chunk.as_bytes()).await?;
                lines += 200;
            }
            stream.shutdown().await?;
            // The server closes when it has read everything.
            let _ = stream.read(&mut [0; 1]).await;
            Result::Ok(lines)
        }));
    }
    let mut accepted = 0;
    for task in tasks {
        accepted += task.await.map_err(io::Error::other)??;
    }
    Ok(Sent {
        accepted,
        seconds: began.elapsed().as_secs_f64(),
    })
}

/// Sends datagrams at a rate for a time, from a thread of its own.
///
/// # Errors
/// The socket cannot be made or written to.
pub async fn udp(addr: SocketAddr, rate: f64, duration: Duration) -> Result<Sent> {
    let sent = tokio::task::spawn_blocking(move || -> Result<Sent> {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(addr)?;
        let lines: Vec<String> = (0..64)
            .map(|n| line(n, "udp").trim_end().to_owned())
            .collect();
        let began = Instant::now();
        let mut sent = 0_u64;
        while began.elapsed() < duration {
            let due = due(began.elapsed(), rate);
            if sent >= due {
                std::thread::sleep(Duration::from_micros(200));
                continue;
            }
            while sent < due {
                let index = usize::try_from(sent % 64).unwrap_or_default();
                socket.send(lines[index].as_bytes())?;
                sent += 1;
            }
        }
        Ok(Sent {
            accepted: sent,
            seconds: began.elapsed().as_secs_f64(),
        })
    })
    .await
    .map_err(io::Error::other)??;
    Ok(sent)
}

/// The message of event `number` where it is to be found again; `rule-hit` is in it.
pub fn numbered(number: u64) -> String {
    format!("rule-hit number-{number}")
}

/// The number that [`numbered`] put into a text.
pub fn number_in(text: &str) -> Option<u64> {
    let rest = text.split("number-").nth(1)?;
    rest.split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// Posts event `n`, [`numbered`], at `n / rate` seconds after `began`, over `lanes` connections: enough
/// of them that a slow answer holds up nobody else. Returns how many were answered 200.
///
/// # Errors
/// A connection that cannot be made or breaks.
pub async fn paced(
    addr: SocketAddr,
    key: &'static str,
    rate: f64,
    duration: Duration,
    began: Instant,
    lanes: u64,
) -> Result<u64> {
    let mut tasks = Vec::new();
    let total = due(duration, rate);
    for lane in 0..lanes {
        tasks.push(tokio::spawn(async move {
            let mut accepted = 0;
            let mut client = Client::connect(addr).await?;
            let mut number = lane;
            while number < total {
                let due = began + Duration::from_secs_f64(number as f64 / rate);
                tokio::time::sleep_until(due.into()).await;
                let request = request(key, &json(number, &numbered(number)));
                accepted += u64::from(client.post(&request).await?);
                number += lanes;
            }
            Result::Ok(accepted)
        }));
    }
    let mut accepted = 0;
    for task in tasks {
        accepted += task.await.map_err(io::Error::other)??;
    }
    Ok(accepted)
}

/// Writes line `n`, [`numbered`], at `n / rate` seconds after `began`, over one connection; lines that
/// are due together go together. Returns how many were written.
///
/// # Errors
/// The connection cannot be made or breaks.
pub async fn paced_lines(
    addr: SocketAddr,
    rate: f64,
    duration: Duration,
    began: Instant,
) -> Result<u64> {
    let due = |elapsed: Duration| due(elapsed.min(duration), rate);
    let mut stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    let total = due(duration);
    let mut written = 0;
    while written < total {
        let now = due(began.elapsed());
        if now == written {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        let lines: String = (written..now)
            .map(|number| line(number, &numbered(number)))
            .collect();
        stream.write_all(lines.as_bytes()).await?;
        written = now;
    }
    stream.shutdown().await?;
    // The server closes when it has read everything.
    let _ = stream.read(&mut [0; 1]).await;
    Ok(written)
}

/// The value below which this share of the others lies.
pub fn percentile(values: &mut [f64], share: f64) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    values.sort_by(f64::total_cmp);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let index = ((values.len() - 1) as f64 * share).round() as usize;
    values[index]
}

/// What one fdatasync of 4 KiB costs in the directory for temporary files: (p50, p99) in
/// milliseconds. Every durable rate depends on it.
///
/// # Errors
/// The file cannot be written.
pub fn flush_latency() -> Result<(f64, f64)> {
    let path = std::env::temp_dir().join(format!("mutt-bench-flush-{}", std::process::id()));
    let measure = || -> Result<Vec<f64>> {
        let mut file = std::fs::File::create(&path)?;
        let block = [0_u8; 4096];
        (0..200)
            .map(|_| {
                file.write_all(&block)?;
                let began = Instant::now();
                file.sync_data()?;
                Ok(began.elapsed().as_secs_f64() * 1e3)
            })
            .collect()
    };
    let times = measure();
    let _ = std::fs::remove_file(&path);
    let mut times = times
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    Ok((percentile(&mut times, 0.5), percentile(&mut times, 0.99)))
}

/// How many events are due after this time at a rate per second.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whole events that are due; neither factor is negative"
)]
fn due(elapsed: Duration, rate: f64) -> u64 {
    (elapsed.as_secs_f64() * rate) as u64
}
