//! What the engine does by itself: listens, looks at Redis when it is connected, and tidies up.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mutt_engine::{Changed, Result};
use mutt_redis::redis;
use mutt_redis::{Message, State};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::task::TaskTracker;

use crate::engine::{Gate, Shared};
use crate::{dead_letters, deliveries, names, takeover};

/// Between two rounds of small things.
const ROUND: Duration = Duration::from_secs(1);
/// Between two rounds of large things, over all processes.
const LARGE_ROUND: Duration = Duration::from_mins(5);
/// Between two looks at a Redis that was refused.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Months of partitions made ahead.
const MONTHS: u32 = 3;

/// Starts what runs until the engine is closed.
pub fn spawn(shared: &Arc<Shared>, tasks: &TaskTracker) {
    let start = |work: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
        let closed = shared.closed.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = closed.cancelled() => {}
                () = work => {}
            }
        });
    };
    start(Box::pin(listen(Arc::clone(shared))));
    start(Box::pin(watch(Arc::clone(shared))));
    start(Box::pin(look(Arc::clone(shared))));
    start(Box::pin(rounds(Arc::clone(shared))));
    start(Box::pin(tend_postgres(Arc::clone(shared))));
    start(Box::pin(large_rounds(Arc::clone(shared))));
    start(Box::pin(move_deliveries(Arc::clone(shared))));
    start(Box::pin(end_doubts(Arc::clone(shared))));
}

/// Hears what others announce.
async fn listen(shared: Arc<Shared>) {
    let channels = [names::CONFIG_UPDATES, names::CONFIG_RELOAD, names::WAKE];
    let mut messages = shared.redis.subscribe(&channels);
    let mut heard_before = false;
    loop {
        match messages.recv().await {
            Ok(Message::Published { channel, payload }) => match &*channel {
                names::WAKE => {
                    if payload == shared.names.ingest_queue.as_bytes() {
                        shared.events_waiting.notify_waiters();
                    } else {
                        shared.alerts_waiting.notify_waiters();
                    }
                }
                names::CONFIG_RELOAD => {
                    let _ = shared.hub.changes.send(Changed::Catalog);
                }
                _ => {
                    let key = String::from_utf8_lossy(&payload).into_owned();
                    let _ = shared.hub.changes.send(Changed::Config(key));
                }
            },
            // Nobody knows what was announced in between.
            Ok(Message::Subscribed) if heard_before => missed(&shared),
            Ok(Message::Subscribed) => heard_before = true,
            Err(RecvError::Lagged(_)) => missed(&shared),
            Err(RecvError::Closed) => return,
        }
    }
}

fn missed(shared: &Shared) {
    let _ = shared.hub.changes.send(Changed::Catalog);
    let _ = shared.hub.changes.send(Changed::Config(String::new()));
    shared.events_waiting.notify_waiters();
    shared.alerts_waiting.notify_waiters();
}

/// Sees what other processes show, while anybody watches here.
async fn watch(shared: Arc<Shared>) {
    loop {
        shared.hub.watching.notified().await;
        let mut shown = shared.redis.subscribe(&[names::LIVE]);
        let mut idle = tokio::time::interval(ROUND);
        while shared.hub.live.receiver_count() > 0 {
            tokio::select! {
                message = shown.recv() => match message {
                    Ok(Message::Published { payload, .. }) => shared.seen(&payload),
                    Ok(Message::Subscribed) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                _ = idle.tick() => {}
            }
        }
    }
}

/// Looks at Redis whenever it is connected, and opens the gate or keeps it closed.
async fn look(shared: Arc<Shared>) {
    let mut state = shared.redis.state();
    let mut was_open = false;
    loop {
        let now = state.borrow_and_update().clone();
        match now {
            State::Closed => return,
            State::Connecting(_) => {
                shared.gate.send_replace(Gate::Unknown);
            }
            State::Connected { run_id, .. } => {
                if was_open {
                    *shared.back_since.lock() = Some(Instant::now());
                }
                let gate = inspect(&shared, &run_id).await;
                was_open |= matches!(gate, Gate::Open(_));
                shared.gate.send_replace(gate);
            }
        }
        let again = match &*shared.gate.borrow() {
            Gate::Open(_) => Duration::from_hours(1),
            Gate::Unknown => Duration::from_millis(100),
            Gate::Refused(_) => LOOK_AGAIN,
        };
        tokio::select! {
            changed = state.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(again), if !matches!(*state.borrow(), State::Connecting(_)) => {}
        }
    }
}

async fn inspect(shared: &Shared, run_id: &str) -> Gate {
    let found = match shared.redis.inspect().await {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(%error, "Redis could not be looked at");
            return Gate::Unknown;
        }
    };
    let dangers = found.dangers();
    if !dangers.is_empty() {
        let text = dangers.join("; ");
        if !shared.allow_unsafe {
            tracing::error!(
                "Redis may lose what it acknowledged and is not used: {text}; mend it, or set \
                 REDIS_ALLOW_UNSAFE=true"
            );
            return Gate::Refused(format!(
                "Redis may lose what it acknowledged: {text} (REDIS_ALLOW_UNSAFE=true uses it anyway)"
            ));
        }
        tracing::warn!("Redis may lose what it acknowledged (REDIS_ALLOW_UNSAFE): {text}");
    }
    if let Err(error) = remember(shared).await {
        tracing::warn!(%error, "Redis could not be read");
        return Gate::Unknown;
    }
    if found.aof_enabled && !found.aof_rewritten_since_start && !found.aof_rewrite_in_progress {
        // A transaction that was cut off at the end of the file must not be there at the next start.
        let rewrite = shared
            .redis
            .call::<String>(&redis::cmd("BGREWRITEAOF"))
            .await;
        if let Err(error) = rewrite {
            tracing::warn!(%error, "the AOF could not be rewritten");
        }
    }
    Gate::Open(run_id.to_owned())
}

/// Reads since when Redis remembers; makes it so where it has forgotten everything.
async fn remember(shared: &Shared) -> std::result::Result<(), mutt_redis::RedisError> {
    let mut pipeline = redis::pipe();
    pipeline
        .cmd("GET")
        .arg(names::EPOCH)
        .cmd("PUBSUB")
        .arg("NUMSUB")
        .arg(names::LIVE);
    let (found, watching): (Option<String>, HashMap<String, u64>) =
        shared.redis.pipe(&pipeline).await?;
    let epoch = match found {
        Some(epoch) => epoch,
        None => begin_epoch(shared).await?,
    };
    let before = shared.epoch();
    if *before != *epoch {
        if !before.is_empty() {
            tracing::error!(
                "Redis has lost everything it held: events and alerts that waited in it are gone; \
                 what this process has in hand goes on"
            );
            // With everything else it lost the heartbeats of pods that live.
            *shared.back_since.lock() = Some(Instant::now());
        }
        *shared.epoch.write() = epoch.into();
    }
    let here = u64::from(shared.hub.live.receiver_count() > 0);
    let elsewhere = watching.values().sum::<u64>() > here;
    let hub = &shared.hub;
    hub.watched_elsewhere.store(elsewhere, Ordering::Relaxed);
    Ok(())
}

/// The epoch of a Redis that knows none; another process may be first.
async fn begin_epoch(shared: &Shared) -> std::result::Result<String, mutt_redis::RedisError> {
    let mut pipeline = redis::pipe();
    pipeline
        .cmd("SET")
        .arg(names::EPOCH)
        .arg(names::new_epoch())
        .arg("NX")
        .ignore()
        .cmd("GET")
        .arg(names::EPOCH);
    let (epoch,) = shared.redis.pipe(&pipeline).await?;
    Ok(epoch)
}

/// Small things.
async fn rounds(shared: Arc<Shared>) {
    let mut round = tokio::time::interval(ROUND);
    round.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        round.tick().await;
        if shared.is_open()
            && let Err(error) = remember(&shared).await
        {
            tracing::debug!(%error, "Redis could not be read");
        }
        let finished = shared.claims.take_finished();
        if !finished.is_empty()
            && let Err(error) = shared.postgres.forget(&finished).await
        {
            tracing::debug!(%error, "finished claims are forgotten later");
            for claim in finished {
                shared.claims.finished(claim);
            }
        }
    }
}

/// Keeps connections to PostgreSQL ready.
async fn tend_postgres(shared: Arc<Shared>) {
    loop {
        // Not at once: a command that asks one thing needs one connection.
        tokio::time::sleep(ROUND).await;
        if let Err(error) = shared.postgres.tend().await {
            tracing::debug!(%error, "no connection to PostgreSQL can be opened ahead");
        }
    }
}

async fn end_doubts(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = shared.doubts.notified() => {}
            () = tokio::time::sleep(ROUND) => {}
        }
        takeover::settle_doubts(&shared).await;
    }
}

async fn move_deliveries(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = shared.deliveries_waiting.notified() => {
                // More of them come in a moment.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            () = tokio::time::sleep(5 * ROUND) => {}
        }
        if let Err(error) = deliveries::flush(&shared).await {
            tracing::debug!(%error, "delivery attempts wait in Redis");
            tokio::time::sleep(ROUND).await;
        }
    }
}

/// Large things: one process at a time does them.
async fn large_rounds(shared: Arc<Shared>) {
    loop {
        match large_round(&shared).await {
            Ok(()) => tokio::time::sleep(LARGE_ROUND / 4).await,
            Err(error) => {
                tracing::debug!(%error, "tidying up waits");
                tokio::time::sleep(2 * ROUND).await;
            }
        }
    }
}

async fn large_round(shared: &Shared) -> Result<()> {
    if !takeover::lock(shared, names::UPKEEP, LARGE_ROUND).await? {
        return Ok(());
    }
    let work = async {
        dead_letters::adopt(shared).await?;
        shared.refresh_config().await?;
        shared.postgres.ensure_partitions(MONTHS).await?;
        shared.postgres.prune().await?;
        Ok(())
    };
    let done = work.await;
    if done.is_err() {
        // Somebody who can do it should not have to wait.
        takeover::release(shared, names::UPKEEP).await;
    }
    done
}
