//! What processes tell about themselves, and a look at each server.
//!
//! Each report is a key of its own that ends by itself. Its age is what is missing from its lifetime,
//! by Redis's clock, so that a process whose clock is wrong is not taken for a dead one.

use std::time::{Duration, Instant};

use mutt_engine::{ProcessReport, Reported, Result, StoreStatus};
use mutt_redis::redis;
use serde::{Deserialize, Serialize};

use crate::engine::Shared;
use crate::names;

/// How long a look at a server may take.
const LOOK: Duration = Duration::from_secs(3);

#[derive(Serialize)]
struct Written<'a> {
    lifetime_ms: u64,
    report: &'a ProcessReport,
}

#[derive(Deserialize)]
struct Read {
    lifetime_ms: u64,
    report: ProcessReport,
}

pub async fn write(shared: &Shared, report: &ProcessReport, lifetime: Duration) -> Result<()> {
    let lifetime_ms = u64::try_from(lifetime.as_millis())
        .unwrap_or(u64::MAX)
        .max(1);
    let written = Written {
        lifetime_ms,
        report,
    };
    let value = serde_json::to_vec(&written).expect("a report is plain data");
    let mut pipeline = redis::pipe();
    pipeline
        .atomic()
        .cmd("SET")
        .arg(names::process(&shared.instance))
        .arg(value)
        .arg("PX")
        .arg(lifetime_ms)
        .ignore()
        .cmd("SADD")
        .arg(names::PROCESSES)
        .arg(&shared.instance)
        .ignore();
    shared.pipe::<()>(&pipeline).await
}

pub async fn read(shared: &Shared) -> Result<Vec<Reported>> {
    let mut members = redis::cmd("SMEMBERS");
    members.arg(names::PROCESSES);
    let instances: Vec<String> = shared.call(&members).await?;
    if instances.is_empty() {
        return Ok(Vec::new());
    }
    let mut pipeline = redis::pipe();
    for instance in &instances {
        let key = names::process(instance);
        pipeline.cmd("GET").arg(&key).cmd("PTTL").arg(&key);
    }
    let answers: Vec<redis::Value> = shared.pipe(&pipeline).await?;
    let (mut reports, mut gone) = (Vec::new(), Vec::new());
    for (instance, answer) in instances.into_iter().zip(answers.chunks(2)) {
        let [value, left] = answer else { break };
        let value: Option<Vec<u8>> = redis::from_redis_value(value.clone()).unwrap_or_default();
        let left: i64 = redis::from_redis_value(left.clone()).unwrap_or_default();
        let Some(value) = value else {
            gone.push(instance);
            continue;
        };
        // Of a version that says it in another way: it is not shown.
        let Ok(read) = serde_json::from_slice::<Read>(&value) else {
            continue;
        };
        let left = u64::try_from(left).unwrap_or(0);
        reports.push(Reported {
            instance,
            report: read.report,
            age: Duration::from_millis(read.lifetime_ms.saturating_sub(left)),
        });
    }
    if !gone.is_empty() {
        // One that was only late comes back with its next report.
        let mut forget = redis::cmd("SREM");
        forget.arg(names::PROCESSES).arg(gone);
        shared.call::<u64>(&forget).await?;
    }
    reports.sort_by(|one, other| {
        let by = |reported: &Reported| (reported.report.pod.clone(), reported.instance.clone());
        by(one).cmp(&by(other))
    });
    Ok(reports)
}

async fn look(name: &'static str, looking: impl Future<Output = Result<()>>) -> StoreStatus {
    let began = Instant::now();
    let error = match tokio::time::timeout(LOOK, looking).await {
        Ok(looked) => looked.err().map(|error| error.to_string()),
        Err(_) => Some(format!("no answer within {} s", LOOK.as_secs())),
    };
    StoreStatus {
        name,
        latency: began.elapsed(),
        error,
    }
}

pub async fn stores(shared: &Shared) -> Vec<StoreStatus> {
    let (redis, postgres) = tokio::join!(
        look("redis", shared.redis_ready()),
        look("postgres", shared.postgres.ready())
    );
    vec![redis, postgres]
}
