//! What MUTT is measured against: the servers alone, used as fast as they go.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use futures_util::{SinkExt as _, TryStreamExt as _};
use tokio::process::Command;

use crate::report::check;
use crate::setup::{DATABASE, Setup};

/// The key that the reference pushes to.
pub const KEY: &str = "bench:reference";
/// The database that the reference writes to.
pub const REFERENCE: &str = "reference";

/// The columns that MUTT writes; the number is given by the sequence.
const COLUMNS: &str = "event_id, event_timestamp, received_at, hostname, source, syslog_severity, \
     trap_oid, environment, matched_rule_id, rule_version, handling_decision, team_assignment, \
     forwarded_to_moog, correlation_id, raw_message";

/// Pushes per second by redis-benchmark: so many of this element, each with an LPUSH of its own, over
/// this many connections with this many commands in flight on each.
pub async fn lpush(
    setup: &Setup,
    element: &str,
    connections: usize,
    pipeline: usize,
    events: u64,
) -> Result<f64> {
    let output = Command::new("redis-benchmark")
        .args(["-h", setup.redis.host()])
        .args(["-p", &setup.redis.port().to_string()])
        .args(["-c", &connections.to_string()])
        .args(["-P", &pipeline.to_string()])
        .args(["-n", &events.to_string()])
        .args(["--csv", "LPUSH", KEY, element])
        .stderr(Stdio::null())
        .output()
        .await
        .context("redis-benchmark is part of Debian's redis-tools")?;
    let text = String::from_utf8_lossy(&output.stdout);
    // The command, which may hold commas, and seven figures.
    let rate = text
        .lines()
        .last()
        .and_then(|line| line.rsplit(',').nth(6)?.trim_matches('"').parse().ok());
    let Some(rate) = rate else {
        bail!("redis-benchmark said: {text}");
    };
    let length: u64 = setup.redis.command(&["LLEN", KEY]).trim().parse()?;
    // It rounds up to whole pipelines of all connections.
    let rounding = (connections * pipeline) as u64;
    ensure!(
        (events..=events + rounding).contains(&length),
        "redis-benchmark pushed {length} of {events} elements"
    );
    Ok(rate)
}

/// Audit rows in the binary format of COPY, as PostgreSQL itself gives them out.
pub struct Rows {
    rows: Vec<Bytes>,
}

const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

impl Rows {
    /// Reads every row that MUTT wrote, in its order.
    pub async fn read(setup: &Setup) -> Result<Self> {
        let session = setup.session(DATABASE).await?;
        let query = format!(
            "COPY (SELECT {COLUMNS} FROM event_audit_log ORDER BY id) TO STDOUT (FORMAT binary)"
        );
        let pieces: Vec<Bytes> = session.copy_out(&query).await?.try_collect().await?;
        let mut rest = Bytes::from(pieces.concat());
        ensure!(rest.starts_with(HEADER), "this is no COPY");
        let _ = rest.split_to(HEADER.len());
        let mut rows = Vec::new();
        loop {
            let fields = i16::from_be_bytes(rest[..2].try_into()?);
            if fields < 0 {
                return Ok(Self { rows });
            }
            let mut end = 2;
            for _ in 0..fields {
                let length = i32::from_be_bytes(rest[end..end + 4].try_into()?);
                end += 4 + usize::try_from(length).unwrap_or(0);
            }
            rows.push(rest.split_to(end));
        }
    }

    /// Rows per second of a bare COPY into the table of the reference, so many rows in each
    /// transaction, over so many sessions.
    pub async fn copy(
        &self,
        setup: &Setup,
        per_transaction: usize,
        sessions: usize,
    ) -> Result<f64> {
        setup.clear_audit(REFERENCE);
        let transactions: Vec<Bytes> = self
            .rows
            .chunks(per_transaction)
            .map(|rows| {
                let mut all = HEADER.to_vec();
                for row in rows {
                    all.extend_from_slice(row);
                }
                all.extend_from_slice(&(-1_i16).to_be_bytes());
                all.into()
            })
            .collect();
        let transactions = Arc::new(transactions);
        let mut clients = Vec::new();
        for _ in 0..sessions {
            let client = setup.session(REFERENCE).await?;
            let copy = format!("COPY event_audit_log ({COLUMNS}) FROM STDIN (FORMAT binary)");
            let copy = client.prepare(&copy).await?;
            clients.push((client, copy));
        }
        let start = Instant::now();
        let mut tasks = Vec::new();
        for (first, (client, copy)) in clients.into_iter().enumerate() {
            let transactions = Arc::clone(&transactions);
            tasks.push(tokio::spawn(async move {
                for transaction in transactions.iter().skip(first).step_by(sessions) {
                    let mut sink = Box::pin(client.copy_in(&copy).await?);
                    sink.send(transaction.clone()).await?;
                    sink.as_mut().finish().await?;
                }
                Ok::<_, tokio_postgres::Error>(())
            }));
        }
        for task in tasks {
            task.await??;
        }
        let rate = self.rows.len() as f64 / start.elapsed().as_secs_f64();
        let written = setup
            .postgres
            .sql_in(REFERENCE, "SELECT count(*) FROM event_audit_log");
        check(
            "rows of the reference",
            written.parse()?,
            self.rows.len() as u64,
        )?;
        Ok(rate)
    }
}
