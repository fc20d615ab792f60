//! What becomes of claims whose owner is dead, or that nobody has in hand.
//!
//! A claim of events is first revoked in PostgreSQL: from then on its owner can no longer apply it, or
//! it had applied it already, and then the stored effects are what is left to do. Claims of alerts are
//! fenced by their registration in Redis alone.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use mutt_engine::{Result, WorkerKind};
use mutt_postgres::Standing;
use mutt_redis::redis::{self, Cmd};

use crate::claims::Doubtful;
use crate::effects::Effects;
use crate::engine::Shared;
use crate::{decide, names, scripts};

/// How long after a janitor's last sign of life another may try.
const LEASE: Duration = Duration::from_secs(15);
/// How often it gives one.
const RENEWAL: Duration = Duration::from_secs(5);

/// After so many claims of a stage that could not be taken over, the others of that stage wait for the
/// next time: a server is away.
const FAILURES: u32 = 5;

/// Puts the elements of a claim back at the head of their queue. `None` where it is not there.
pub async fn return_claim(
    shared: &Shared,
    kind: WorkerKind,
    pod: &str,
    claim: u64,
) -> Result<Option<u64>> {
    let queue = match kind {
        WorkerKind::Alerter => &shared.names.ingest_queue,
        WorkerKind::Moog => &shared.names.alert_queue,
    };
    let mut call = scripts::RETURN_CLAIM.call(&[
        &names::claims(kind, pod),
        &names::held(kind, pod, claim),
        queue,
    ]);
    call.arg(claim).arg(names::WAKE);
    let returned: i64 = shared.run(&scripts::RETURN_CLAIM, &call).await?;
    if returned == -2 {
        tracing::error!(
            claim,
            pod,
            "a claim is registered and what it held is gone from Redis"
        );
    }
    Ok(u64::try_from(returned).ok())
}

/// Ends a claim whose owner cannot: returns how many elements went back to their queue.
pub async fn take_over(shared: &Shared, kind: WorkerKind, pod: &str, claim: u64) -> Result<u64> {
    if kind == WorkerKind::Alerter
        && let Standing::Applied(stored) = shared.postgres.revoke(claim, pod).await?
    {
        let effects = Effects::load(&stored)?;
        decide::apply(shared, pod, claim, &shared.epoch(), &effects).await?;
        shared.tally.finished(kind);
        return Ok(0);
    }
    let returned = return_claim(shared, kind, pod, claim).await?;
    if returned.is_some() {
        shared.tally.returned(kind);
    }
    Ok(returned.unwrap_or(0))
}

/// Claims registered for a pod, with their order.
pub async fn registered(shared: &Shared, kind: WorkerKind, pod: &str) -> Result<Vec<(u64, u64)>> {
    let mut command = redis::cmd("HGETALL");
    command.arg(names::claims(kind, pod));
    let claims: HashMap<u64, u64> = shared.call(&command).await?;
    Ok(claims.into_iter().collect())
}

/// Ends claims that nobody here has in hand; what cannot be ended now stays in doubt.
pub async fn settle_doubts(shared: &Shared) {
    let mut doubtful = shared.claims.take_doubtful();
    // What is put back last stands at the head.
    doubtful.sort_unstable_by_key(|doubtful| std::cmp::Reverse(doubtful.claim));
    let mut left = Vec::new();
    for claim in doubtful {
        if let Err(error) = settle_doubt(shared, &claim).await {
            tracing::debug!(%error, claim = claim.claim, "a claim in doubt stays in doubt");
            left.push(claim);
        }
    }
    shared.claims.doubt_again(left);
}

async fn settle_doubt(shared: &Shared, doubtful: &Doubtful) -> Result<()> {
    let Doubtful {
        kind,
        worker,
        claim,
        revoke,
    } = doubtful;
    let returned = if *revoke {
        Some(take_over(shared, *kind, worker, *claim).await?)
    } else {
        // Nobody has decided it: nothing can be applied, so the registration alone is the fence.
        let returned = return_claim(shared, *kind, worker, *claim).await?;
        if returned.is_some() {
            shared.tally.returned(*kind);
        }
        returned
    };
    if let Some(returned) = returned {
        let pod = &**worker;
        tracing::warn!(
            claim,
            pod,
            returned,
            "a claim of this pod that it does not have was ended"
        );
    }
    Ok(())
}

/// Takes a lock for a while; false where another process has it.
pub async fn lock(shared: &Shared, name: &str, lease: Duration) -> Result<bool> {
    let mut call = scripts::LOCK.call(&[name]);
    let lease = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
    call.arg(&shared.instance).arg(lease);
    let locked: u64 = shared.run(&scripts::LOCK, &call).await?;
    Ok(locked == 1)
}

/// Lets others take a lock where it is still ours.
pub async fn release(shared: &Shared, name: &str) {
    let mut call = scripts::RELEASE.call(&[name]);
    call.arg(&shared.instance);
    let released: Result<u64> = shared.run(&scripts::RELEASE, &call).await;
    if let Err(error) = released {
        tracing::debug!(%error, name, "the lock runs out by itself");
    }
}

/// Ends what dead pods hold; 0 where another pod is doing it.
pub async fn recover(shared: &Shared) -> Result<u64> {
    if !lock(shared, names::JANITOR, LEASE).await? {
        return Ok(0);
    }
    let recovered = recover_locked(shared).await;
    release(shared, names::JANITOR).await;
    recovered
}

async fn recover_locked(shared: &Shared) -> Result<u64> {
    let mut claims = Vec::new();
    for kind in [WorkerKind::Alerter, WorkerKind::Moog] {
        for pod in dead_pods(shared, kind).await? {
            let left = registered(shared, kind, &pod).await?;
            if !left.is_empty() {
                tracing::warn!(
                    pod,
                    stage = ?kind,
                    claims = left.len(),
                    "a pod gave no sign of life for too long: what it held is taken over"
                );
            }
            for (claim, order) in left {
                claims.push((order, claim, kind, pod.clone()));
            }
            clear_away(shared, kind, &pod, false).await?;
        }
    }
    // What is put back last stands at the head.
    claims.sort_unstable_by_key(|&(order, claim, ..)| std::cmp::Reverse((order, claim)));
    let mut returned = 0;
    let (mut failed, mut failures) = (None, HashMap::new());
    let mut renewed = Instant::now();
    for (_, claim, kind, pod) in claims {
        if renewed.elapsed() >= RENEWAL {
            if !renew(shared).await? {
                // Somebody else goes on: two would put elements back in each other's order.
                return Ok(returned);
            }
            renewed = Instant::now();
        }
        let failures = failures.entry(kind).or_insert(0);
        if *failures == FAILURES {
            continue;
        }
        match take_over(shared, kind, &pod, claim).await {
            Ok(count) => {
                returned += count;
                clear_away(shared, kind, &pod, false).await?;
            }
            // One claim that cannot be ended must not keep the others, nor PostgreSQL the alerts.
            Err(error) => {
                tracing::warn!(%error, claim, pod, "a claim of a dead pod cannot be taken over");
                failed = Some(error);
                *failures += 1;
            }
        }
    }
    match failed {
        Some(error) if returned == 0 => Err(error),
        _ => Ok(returned),
    }
}

/// Keeps the lock; false where it is somebody else's by now.
async fn renew(shared: &Shared) -> Result<bool> {
    let mut renew = scripts::RENEW.call(&[names::JANITOR]);
    renew
        .arg(&shared.instance)
        .arg(u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX));
    let held: u64 = shared.run(&scripts::RENEW, &renew).await?;
    Ok(held == 1)
}

/// Pods of a stage that gave no sign of life for too long.
async fn dead_pods(shared: &Shared, kind: WorkerKind) -> Result<Vec<String>> {
    let mut members = redis::cmd("SMEMBERS");
    members.arg(names::pods(kind));
    let pods: Vec<String> = shared.call(&members).await?;
    if pods.is_empty() {
        return Ok(pods);
    }
    let mut alive = redis::cmd("MGET");
    for pod in &pods {
        alive.arg(names::heartbeat(kind, pod));
    }
    let alive: Vec<Option<String>> = shared.call(&alive).await?;
    let dead = pods.into_iter().zip(alive);
    Ok(dead
        .filter(|(_, alive)| alive.is_none())
        .map(|(pod, _)| pod)
        .collect())
}

/// Ends a pod's heartbeat where told to, and forgets it where it holds nothing.
pub async fn clear_away(shared: &Shared, kind: WorkerKind, pod: &str, end: bool) -> Result<()> {
    let mut call: Cmd = scripts::RETIRE.call(&[
        &names::heartbeat(kind, pod),
        &names::claims(kind, pod),
        &names::pods(kind),
    ]);
    call.arg(pod).arg(u8::from(end));
    let _: u64 = shared.run(&scripts::RETIRE, &call).await?;
    Ok(())
}
