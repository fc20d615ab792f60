//! Who works, what waits, whether the servers are there.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use mutt_engine::{
    Dlq, EngineError, ProcessReport, QueueStatus, Reported, Result, Status, StoreStatus,
    WorkerKind, WorkerStatus, Workers,
};
use mutt_redis::redis;
use serde::{Deserialize, Serialize};

use crate::claims::Phase;
use crate::engine::{Distributed, Shared, closed, unavailable};
use crate::{deliveries, envelope, names, reports, scripts, takeover};

/// What a heartbeat says. That of 2.5 says `alive`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Heartbeat {
    instance: String,
    at: Timestamp,
    /// Which start of which machine, and which process: tells a process on the same machine that
    /// its predecessor is gone.
    boot: String,
    pid: u32,
}

impl Heartbeat {
    fn now(shared: &Shared) -> Self {
        Self {
            instance: shared.instance.clone(),
            at: Timestamp::now(),
            boot: boot_id(),
            pid: std::process::id(),
        }
    }

    /// Whether it is of a process of this machine that is certainly gone.
    fn is_gone(&self) -> bool {
        self.boot == boot_id()
            && !self.boot.is_empty()
            && !std::path::Path::new(&format!("/proc/{}", self.pid)).exists()
    }
}

fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    // Containers of one machine share it and cannot see one another's processes.
    let space = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{} {}", id.trim(), space.display())
}

impl Distributed {
    /// Makes sure that no other living process works under this name. Waits until the heartbeat of
    /// one that died has run out, unless it is plain that it died; where Redis cannot be reached now
    /// there is nothing to be seen.
    ///
    /// # Errors
    /// `Unusable` where the other one gives a new sign of life.
    pub async fn take_name(&self, kind: WorkerKind, worker: &str) -> Result<()> {
        let shared = &self.shared;
        let mut read = redis::cmd("GET");
        read.arg(names::heartbeat(kind, worker));
        let mut first = None;
        loop {
            let Ok(Some(seen)) = shared.call::<Option<Vec<u8>>>(&read).await else {
                return Ok(());
            };
            let seen: Option<Heartbeat> = serde_json::from_slice(&seen).ok();
            if seen.as_ref().is_some_and(Heartbeat::is_gone) {
                return Ok(());
            }
            match &first {
                None => {
                    tracing::info!(
                        worker,
                        "another process had this name; waiting whether it is alive"
                    );
                    first = Some(seen);
                }
                Some(first) if *first != seen => {
                    return Err(EngineError::Unusable(format!(
                        "another living process works under the name {worker}; give each its own \
                         POD_NAME"
                    )));
                }
                Some(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

const KINDS: [WorkerKind; 2] = [WorkerKind::Alerter, WorkerKind::Moog];

#[async_trait]
impl Workers for Distributed {
    async fn heartbeat(&self, kind: WorkerKind, worker: &str, lifetime: Duration) -> Result<()> {
        let shared = &self.shared;
        shared.lifetime(lifetime);
        let value = serde_json::to_vec(&Heartbeat::now(shared)).expect("a heartbeat is plain data");
        let lifetime = u64::try_from(lifetime.as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        let mut call = scripts::HEARTBEAT.call(&[
            &names::pods(kind),
            &names::heartbeat(kind, worker),
            &names::claims(kind, worker),
        ]);
        call.arg(worker).arg(value).arg(lifetime);
        let since = Instant::now();
        let registered: Vec<u64> = shared.run(&scripts::HEARTBEAT, &call).await?;
        let unknown = shared.claims.unknown(registered, since);
        if !unknown.is_empty() {
            for claim in unknown {
                shared.claims.doubt(kind, worker.into(), claim);
            }
            shared.doubts.notify_one();
        }
        Ok(())
    }

    async fn retire(&self, kind: WorkerKind, worker: &str) -> Result<()> {
        let shared = &self.shared;
        let mut claims = takeover::registered(shared, kind, worker).await?;
        // What is put back last stands at the head.
        claims.sort_unstable_by_key(|&(claim, order)| std::cmp::Reverse((order, claim)));
        for (claim, _) in claims {
            let Some(known) = shared.claims.known(claim) else {
                takeover::take_over(shared, kind, worker, claim).await?;
                continue;
            };
            let mut phase = known.phase.lock().await;
            match *phase {
                Phase::Held => {
                    takeover::return_claim(shared, kind, worker, claim).await?;
                }
                Phase::Tried => {
                    takeover::take_over(shared, kind, worker, claim).await?;
                }
                Phase::Applied(_) | Phase::Gone => continue,
            }
            *phase = Phase::Gone;
            shared.claims.end(claim, None);
        }
        takeover::clear_away(shared, kind, worker, true).await
    }

    async fn recover(&self) -> Result<u64> {
        if self.shared.is_just_back() {
            return Ok(0);
        }
        takeover::recover(&self.shared).await
    }

    async fn status(&self) -> Result<Status> {
        status(&self.shared).await
    }

    async fn report(&self, report: &ProcessReport, lifetime: Duration) -> Result<()> {
        reports::write(&self.shared, report, lifetime).await
    }

    async fn reports(&self) -> Result<Vec<Reported>> {
        reports::read(&self.shared).await
    }

    async fn stores(&self) -> Vec<StoreStatus> {
        reports::stores(&self.shared).await
    }

    async fn ready(&self) -> Result<()> {
        let shared = &self.shared;
        if shared.closed.is_cancelled() {
            return Err(closed());
        }
        let redis = shared.redis_ready();
        let (redis, postgres) = tokio::join!(redis, shared.postgres.ready());
        match (redis, postgres) {
            (Ok(()), Ok(())) => Ok(()),
            (Err(one), Err(other)) => Err(EngineError::Unavailable(format!("{one}; {other}"))),
            (Err(error), Ok(())) | (Ok(()), Err(error)) => Err(error),
        }
    }

    async fn close(&self) {
        let shared = &self.shared;
        if shared.closed.is_cancelled() {
            return;
        }
        if shared.is_open() {
            let last = async {
                if let Err(error) = deliveries::flush(shared).await {
                    tracing::info!(%error, "delivery attempts wait in Redis");
                }
                let finished = shared.claims.take_finished();
                if let Err(error) = shared.postgres.forget(&finished).await {
                    tracing::debug!(%error, "the janitor removes what is left of finished claims");
                }
            };
            let _ = tokio::time::timeout(Duration::from_secs(5), last).await;
        }
        shared.closed.cancel();
        self.tasks.wait().await;
        if let Some(spool) = &shared.spool {
            spool.close().await;
        }
        shared.redis.close().await;
        shared.postgres.close().await;
    }
}

impl Shared {
    /// Whether Redis can be written.
    pub async fn redis_ready(&self) -> Result<()> {
        if !self.is_open() {
            // Whoever asks wants to know now, and why.
            self.redis
                .ready(Duration::ZERO)
                .await
                .map_err(unavailable)?;
        }
        let mut probe = redis::cmd("SET");
        probe
            .arg(format!("mutt:probe:{}", self.instance))
            .arg(1)
            .arg("EX")
            .arg(60);
        self.call::<String>(&probe).await.map(drop)
    }
}

async fn status(shared: &Shared) -> Result<Status> {
    let mut pipeline = redis::pipe();
    let queues: Vec<&str> = [&*shared.names.ingest_queue, &*shared.names.alert_queue]
        .into_iter()
        .chain(Dlq::ALL.map(Dlq::key))
        .collect();
    for queue in &queues {
        pipeline.cmd("LLEN").arg(queue);
        pipeline.cmd("LINDEX").arg(queue).arg(-1);
    }
    pipeline.cmd("ZCARD").arg(names::ALERT_RETRY);
    for kind in KINDS {
        pipeline.cmd("SMEMBERS").arg(names::pods(kind));
    }
    let mut answers: Vec<redis::Value> = shared.pipe(&pipeline).await?;
    let pods: Vec<Vec<String>> = answers
        .split_off(queues.len() * 2 + 1)
        .into_iter()
        .map(|pods| redis::from_redis_value(pods).unwrap_or_default())
        .collect();
    let retries: u64 = answers
        .pop()
        .and_then(|value| redis::from_redis_value(value).ok())
        .unwrap_or_default();
    let mut answers = answers.into_iter();
    let mut depths = Vec::new();
    while let (Some(depth), Some(oldest)) = (answers.next(), answers.next()) {
        let depth: u64 = redis::from_redis_value(depth).unwrap_or_default();
        let oldest: Option<Vec<u8>> = redis::from_redis_value(oldest).unwrap_or_default();
        depths.push((depth, oldest.and_then(|element| received_at(&element))));
    }
    let mut workers = Vec::new();
    let mut claimed = HashMap::new();
    for (kind, pods) in KINDS.into_iter().zip(pods) {
        for pod in pods {
            let (worker, held) = worker(shared, kind, pod).await?;
            *claimed.entry(kind).or_insert(0) += held;
            workers.extend(worker);
        }
    }
    let mut statuses = Vec::new();
    for (index, (name, (depth, oldest))) in queues.iter().zip(depths).enumerate() {
        let (depth, claimed) = match index {
            0 => (depth, claimed.get(&WorkerKind::Alerter)),
            1 => (depth, claimed.get(&WorkerKind::Moog)),
            _ => (depth, None),
        };
        statuses.push(QueueStatus {
            name: (*name).to_owned(),
            depth,
            claimed: claimed.copied().unwrap_or_default(),
            oldest,
        });
    }
    statuses.insert(
        2,
        QueueStatus {
            name: names::ALERT_RETRY.to_owned(),
            depth: retries,
            claimed: 0,
            oldest: None,
        },
    );
    Ok(Status {
        queues: statuses,
        workers,
        engine: format!("distributed (Redis, PostgreSQL), pod {}", shared.pod),
    })
}

/// A pod with a heartbeat, and what it holds.
async fn worker(
    shared: &Shared,
    kind: WorkerKind,
    pod: String,
) -> Result<(Option<WorkerStatus>, u64)> {
    let mut read = redis::pipe();
    read.cmd("GET")
        .arg(names::heartbeat(kind, &pod))
        .cmd("HKEYS")
        .arg(names::claims(kind, &pod));
    let (heartbeat, claims): (Option<Vec<u8>>, Vec<u64>) = shared.pipe(&read).await?;
    let mut held = 0;
    if !claims.is_empty() {
        let mut lengths = redis::pipe();
        for claim in claims {
            lengths.cmd("LLEN").arg(names::held(kind, &pod, claim));
        }
        let lengths: Vec<u64> = shared.pipe(&lengths).await?;
        held = lengths.into_iter().sum();
    }
    let worker = heartbeat.map(|heartbeat| {
        let heartbeat: Option<Heartbeat> = serde_json::from_slice(&heartbeat).ok();
        WorkerStatus {
            kind,
            pod,
            seen_at: heartbeat.map_or_else(Timestamp::now, |heartbeat| heartbeat.at),
            held,
        }
    });
    Ok((worker, held))
}

/// When an element came in, as it says itself.
fn received_at(element: &[u8]) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Times {
        #[serde(rename = "_received_at")]
        received_at: Option<Timestamp>,
        #[serde(rename = "_event_id")]
        event_id: Option<uuid::Uuid>,
    }
    let (element, history) = envelope::unwrap(element);
    if history.last_failed_at.is_some() {
        return history.last_failed_at;
    }
    let times: Times = serde_json::from_slice(&element).ok()?;
    times.received_at.or_else(|| {
        // A version 7 UUID begins with the time at which it was made.
        let (seconds, nanos) = times.event_id?.get_timestamp()?.to_unix();
        Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanos).ok()?).ok()
    })
}
