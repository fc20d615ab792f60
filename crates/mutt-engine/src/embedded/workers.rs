//! Who works, what waits, whether the store is well, and the end in order.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use rusqlite::params;
use tokio::time::Instant;

use super::{Embedded, Mode, set_fact, timestamp};
use crate::dead_letters::Dlq;
use crate::error::{EngineError, Result};
use crate::reports::{ProcessReport, Reported, StoreStatus};
use crate::status::{QueueStatus, Status, WorkerKind, WorkerStatus, Workers};

/// A commit this young proves that the store can be written.
const FRESH: Duration = Duration::from_secs(1);

/// How long a look at the store may take.
const LOOK: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug)]
struct Sign {
    seen_at: Timestamp,
    ends: Instant,
}

/// The workers of this process that gave a sign of life, by stage and name, and what it last told
/// about itself: there is no other process.
#[derive(Debug, Default)]
pub(super) struct Registry {
    signs: Mutex<HashMap<(WorkerKind, String), Sign>>,
    reports: Mutex<BTreeMap<String, Told>>,
}

#[derive(Debug)]
struct Told {
    report: ProcessReport,
    at: Instant,
    ends: Instant,
}

impl Registry {
    fn is_alive(&self, kind: WorkerKind, worker: &str) -> bool {
        let now = Instant::now();
        let signs = self.signs.lock();
        signs
            .get(&(kind, worker.to_owned()))
            .is_some_and(|sign| sign.ends > now)
    }

    fn living(&self) -> Vec<(WorkerKind, String, Timestamp)> {
        let now = Instant::now();
        let mut signs = self.signs.lock();
        // A dead worker's claims are found by their own list; its sign is of no more use.
        signs.retain(|_, sign| sign.ends > now);
        let mut living: Vec<_> = signs
            .iter()
            .map(|((kind, pod), sign)| (*kind, pod.clone(), sign.seen_at))
            .collect();
        living.sort_by(|one, other| (one.0 as u8, &one.1).cmp(&(other.0 as u8, &other.1)));
        living
    }
}

fn kind_name(kind: WorkerKind) -> &'static str {
    match kind {
        WorkerKind::Alerter => "alerter",
        WorkerKind::Moog => "moog",
    }
}

impl Embedded {
    fn held(&self, kind: WorkerKind, worker: &str) -> u64 {
        match kind {
            WorkerKind::Alerter => self.shared.events.lock().held_by(worker),
            WorkerKind::Moog => self.shared.alerts.lock().held_by(worker),
        }
    }

    /// The queues as this server knows them.
    fn queues(&self) -> Vec<QueueStatus> {
        let mut queues = Vec::new();
        {
            let events = self.shared.events.lock();
            queues.push(QueueStatus {
                name: "mutt:ingest_queue".to_owned(),
                depth: events.depth(),
                claimed: events.claimed(),
                oldest: events.oldest().map(timestamp),
            });
        }
        let alerts = self.shared.alerts.lock();
        let (oldest, oldest_retry) = alerts.oldest();
        queues.push(QueueStatus {
            name: "mutt:alert_queue".to_owned(),
            depth: alerts.depth() - alerts.retrying(),
            claimed: alerts.claimed(),
            oldest: oldest.map(timestamp),
        });
        queues.push(QueueStatus {
            name: "mutt:alert_retry".to_owned(),
            depth: alerts.retrying(),
            claimed: 0,
            oldest: oldest_retry.map(timestamp),
        });
        queues
    }
}

/// The queues as the tables show them to a tool; what the server has claimed counts as waiting.
fn queues_on_disk(conn: &rusqlite::Connection) -> Result<Vec<QueueStatus>> {
    let queries = [
        (
            "mutt:ingest_queue",
            "SELECT coalesce(sum(count), 0) - (SELECT coalesce(sum(past - first), 0)
                 FROM event_settled), min(enqueued_at) FROM event_queue",
        ),
        (
            "mutt:alert_queue",
            "SELECT count(*), min(created_at) FROM alert_queue WHERE due IS NULL",
        ),
        (
            "mutt:alert_retry",
            "SELECT count(*), min(created_at) FROM alert_queue WHERE due IS NOT NULL",
        ),
    ];
    let mut queues = Vec::new();
    for (name, query) in queries {
        let (depth, oldest): (i64, Option<i64>) =
            conn.query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        queues.push(QueueStatus {
            name: name.to_owned(),
            depth: depth.cast_unsigned(),
            claimed: 0,
            oldest: oldest.map(timestamp),
        });
    }
    Ok(queues)
}

fn dead_queues(conn: &rusqlite::Connection) -> Result<Vec<QueueStatus>> {
    let mut statement = conn.prepare_cached(
        "SELECT count(*), (SELECT first_failed_at FROM dead_letters WHERE queue = ?1
             ORDER BY id LIMIT 1) FROM dead_letters WHERE queue = ?1",
    )?;
    Dlq::ALL
        .into_iter()
        .map(|queue| {
            let (depth, oldest): (i64, Option<i64>) =
                statement.query_row([queue.name()], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(QueueStatus {
                name: queue.key().to_owned(),
                depth: depth.cast_unsigned(),
                claimed: 0,
                oldest: oldest.map(timestamp),
            })
        })
        .collect()
}

fn workers_on_disk(conn: &rusqlite::Connection) -> Result<Vec<WorkerStatus>> {
    let mut statement = conn.prepare_cached(
        "SELECT kind, pod, seen_at, held FROM workers WHERE expires_at > ?1 ORDER BY kind, pod",
    )?;
    let rows = statement.query_map([Timestamp::now().as_microsecond()], |row| {
        let kind = match row.get_ref(0)?.as_str()? {
            "moog" => WorkerKind::Moog,
            _ => WorkerKind::Alerter,
        };
        let held: i64 = row.get(3)?;
        Ok(WorkerStatus {
            kind,
            pod: row.get(1)?,
            seen_at: timestamp(row.get(2)?),
            held: held.cast_unsigned(),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

#[async_trait]
impl Workers for Embedded {
    async fn heartbeat(&self, kind: WorkerKind, worker: &str, lifetime: Duration) -> Result<()> {
        self.server_only("working")?;
        let seen_at = Timestamp::now();
        let sign = Sign {
            seen_at,
            ends: Instant::now() + lifetime,
        };
        self.workers
            .signs
            .lock()
            .insert((kind, worker.to_owned()), sign);
        // For tools that look from outside. What counts is in memory, so a full disk does not make
        // workers look dead.
        let (pod, held) = (worker.to_owned(), self.held(kind, worker).cast_signed());
        let lifetime = i64::try_from(lifetime.as_micros()).unwrap_or(i64::MAX);
        let expires_at = seen_at.as_microsecond().saturating_add(lifetime);
        self.writer.try_run_detached(move |tx| {
            tx.prepare_cached(
                "INSERT OR REPLACE INTO workers (kind, pod, seen_at, expires_at, held)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                kind_name(kind),
                pod,
                seen_at.as_microsecond(),
                expires_at,
                held
            ])?;
            Ok(())
        });
        Ok(())
    }

    async fn retire(&self, kind: WorkerKind, worker: &str) -> Result<()> {
        self.server_only("working")?;
        self.workers.signs.lock().remove(&(kind, worker.to_owned()));
        match kind {
            WorkerKind::Alerter => {
                self.shared
                    .with_events(|events| events.take_over(|name| name == worker));
            }
            WorkerKind::Moog => {
                self.shared
                    .with_alerts(|alerts| alerts.take_over(|name| name == worker));
            }
        }
        let pod = worker.to_owned();
        self.writer.try_run_detached(move |tx| {
            tx.prepare_cached("DELETE FROM workers WHERE kind = ?1 AND pod = ?2")?
                .execute(params![kind_name(kind), pod])?;
            Ok(())
        });
        Ok(())
    }

    async fn recover(&self) -> Result<u64> {
        self.server_only("recovering")?;
        let is_dead = |kind| move |name: &str| !self.workers.is_alive(kind, name);
        let events = self
            .shared
            .with_events(|events| events.take_over(is_dead(WorkerKind::Alerter)));
        let alerts = self
            .shared
            .with_alerts(|alerts| alerts.take_over(is_dead(WorkerKind::Moog)));
        Ok(events + alerts)
    }

    async fn status(&self) -> Result<Status> {
        let server = self.mode == Mode::Server;
        let (on_disk, dead, outside, version) = self
            .readers
            .run(move |conn| {
                let version: String =
                    conn.query_row("SELECT sqlite_version()", [], |row| row.get(0))?;
                let dead = dead_queues(conn)?;
                if server {
                    return Ok((Vec::new(), dead, Vec::new(), version));
                }
                Ok((queues_on_disk(conn)?, dead, workers_on_disk(conn)?, version))
            })
            .await?;
        let (mut queues, workers) = if server {
            let living = self
                .workers
                .living()
                .into_iter()
                .map(|(kind, pod, seen_at)| {
                    let held = self.held(kind, &pod);
                    WorkerStatus {
                        kind,
                        pod,
                        seen_at,
                        held,
                    }
                });
            (self.queues(), living.collect())
        } else {
            (on_disk, outside)
        };
        queues.extend(dead);
        let engine = format!(
            "embedded (SQLite {version} in {})",
            self.directory.display()
        );
        Ok(Status {
            queues,
            workers,
            engine,
        })
    }

    async fn report(&self, report: &ProcessReport, lifetime: Duration) -> Result<()> {
        let now = Instant::now();
        let told = Told {
            report: report.clone(),
            at: now,
            ends: now + lifetime,
        };
        let mut reports = self.workers.reports.lock();
        reports.insert(report.pod.clone(), told);
        Ok(())
    }

    async fn reports(&self) -> Result<Vec<Reported>> {
        let now = Instant::now();
        let mut reports = self.workers.reports.lock();
        reports.retain(|_, told| told.ends > now);
        Ok(reports
            .iter()
            .map(|(pod, told)| Reported {
                instance: pod.clone(),
                report: told.report.clone(),
                age: now.saturating_duration_since(told.at),
            })
            .collect())
    }

    async fn stores(&self) -> Vec<StoreStatus> {
        let began = Instant::now();
        let looked = tokio::time::timeout(LOOK, self.ready()).await;
        let error = match looked {
            Ok(looked) => looked.err().map(|error| error.to_string()),
            Err(_) => Some(format!("no answer within {} s", LOOK.as_secs())),
        };
        vec![StoreStatus {
            name: "sqlite",
            latency: began.elapsed(),
            error,
        }]
    }

    async fn ready(&self) -> Result<()> {
        self.readers
            .run(|conn| Ok(conn.query_row("SELECT 1 FROM facts", [], |_| Ok(()))?))
            .await?;
        if self.shared.health.is_fresh(FRESH) {
            return Ok(());
        }
        self.writer
            .run(|tx| set_fact(tx, "probe", Timestamp::now().as_microsecond()))
            .await
            .map_err(|error| match error {
                EngineError::Unavailable(_) => error,
                other => EngineError::Unavailable(other.to_string()),
            })
    }

    async fn close(&self) {
        if self.shared.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        // Who waits for an event or an alert hears that there will be none.
        self.shared.event_arrived.notify_waiters();
        self.shared.alert_arrived.notify_waiters();
        if self.mode == Mode::Server {
            let flow = Arc::clone(&self.flow);
            if let Err(error) = self.writer.run(move |tx| flow.save(tx)).await {
                tracing::warn!(%error, "the grants of rate limits could not be kept");
            }
        }
        self.readers.close().await;
        self.claim_readers.close().await;
        self.writer.close().await;
        *self.lock.lock() = None;
    }
}
