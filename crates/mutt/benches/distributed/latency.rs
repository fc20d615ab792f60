//! From the scheduled send time of each event until its audit row is committed, at a steady rate.
//!
//! A session asks PostgreSQL once a millisecond which transactions are visible. A transaction becomes
//! visible after its commit is on the disk; afterwards each row's transaction says when it was first
//! seen. So nothing reads the rows while they are written, and the error is one question's interval.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use mutt_traffic::load;
use tokio_util::sync::CancellationToken;

use crate::Options;
use crate::report::{Figure, check};
use crate::setup::{DATABASE, KEY, PATIENCE, Setup};

/// Connections over which single events are posted.
const LANES: u64 = 256;
/// How often PostgreSQL is asked what is visible.
const INTERVAL: Duration = Duration::from_millis(1);

/// How events arrive.
#[derive(Clone, Copy, Debug)]
enum Door {
    Syslog,
    Http,
}

pub async fn measure(options: &Options) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (door, name) in [
        (Door::Syslog, "syslog over TCP"),
        (Door::Http, "HTTP, one event a request"),
    ] {
        let mut late = through(door, f64::from(options.rate), options.duration()).await?;
        for (share, words, target) in [
            (0.5, "p50", ""),
            (0.99, "p99", "≤ 25 ms at 10,000/s"),
            (0.999, "p99.9", ""),
        ] {
            figures.push(Figure::new(
                "latency",
                format!("{name}, {} events/s: {words}", options.rate),
                load::percentile(&mut late, share),
                "ms",
                target,
            ));
        }
    }
    Ok(figures)
}

/// What was visible when: a snapshot's first transaction that was not, the one behind the last that
/// was, and those in between that were not.
struct Seen {
    at: Instant,
    xmin: u64,
    xmax: u64,
    open: Vec<u64>,
}

impl Seen {
    fn parse(at: Instant, snapshot: &str) -> Option<Self> {
        let mut parts = snapshot.split(':');
        let xmin = parts.next()?.parse().ok()?;
        let xmax = parts.next()?.parse().ok()?;
        let open = parts.next()?.split(',').filter_map(|xid| xid.parse().ok());
        Some(Self {
            at,
            xmin,
            xmax,
            open: open.collect(),
        })
    }

    fn shows(&self, transaction: u64) -> bool {
        transaction < self.xmin || (transaction < self.xmax && !self.open.contains(&transaction))
    }
}

/// Milliseconds from due to committed, of every event.
async fn through(door: Door, rate: f64, duration: Duration) -> Result<Vec<f64>> {
    let setup = Setup::start().await?;
    setup.warm_up();
    setup.add_rules(1000);
    let ingestor = setup.role("ingestor", "ingestor", &[]).await?;
    let _alerter = setup.role("alerter", "alerter", &[]).await?;
    let stop = CancellationToken::new();
    let watch = tokio::spawn(watch(setup.session(DATABASE).await?, stop.clone()));
    let began = Instant::now();
    let accepted = match door {
        Door::Syslog => load::paced_lines(ingestor.syslog, rate, duration, began).await?,
        Door::Http => load::paced(ingestor.addr, KEY, rate, duration, began, LANES).await?,
    };
    let session = setup.session(DATABASE).await?;
    loop {
        let count = session
            .query_one("SELECT count(*) FROM event_audit_log", &[])
            .await?;
        if count.try_get::<_, i64>(0)?.cast_unsigned() >= accepted {
            break;
        }
        if began.elapsed() > duration + PATIENCE {
            bail!("not every event is on record in time");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stop.cancel();
    let seen = watch.await??;
    let rows = session
        .query(
            "SELECT xmin::text::bigint, substring(raw_message FROM 'number-([0-9]+)')::bigint
             FROM event_audit_log",
            &[],
        )
        .await?;
    check("audit rows", rows.len() as u64, accepted)?;
    let mut committed: HashMap<u64, Option<Instant>> = HashMap::new();
    let mut late = Vec::with_capacity(rows.len());
    for row in rows {
        let transaction = row.try_get::<_, i64>(0)?.cast_unsigned();
        let number = row.try_get::<_, i64>(1)?;
        let first_seen = committed.entry(transaction).or_insert_with(|| {
            let first = seen.partition_point(|seen| !seen.shows(transaction));
            seen.get(first).map(|seen| seen.at)
        });
        let Some(at) = first_seen else {
            bail!("transaction {transaction} was never seen");
        };
        let due = Duration::from_secs_f64(number as f64 / rate);
        late.push((at.duration_since(began).as_secs_f64() - due.as_secs_f64()) * 1e3);
    }
    Ok(late)
}

async fn watch(session: tokio_postgres::Client, stop: CancellationToken) -> Result<Vec<Seen>> {
    let snapshot = session
        .prepare("SELECT pg_current_snapshot()::text")
        .await?;
    let mut seen = Vec::new();
    loop {
        let last = stop.is_cancelled();
        let row = session.query_one(&snapshot, &[]).await?;
        seen.extend(Seen::parse(Instant::now(), row.try_get(0)?));
        if last {
            return Ok(seen);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
