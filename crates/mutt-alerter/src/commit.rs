//! Making a decision take effect, whatever the store does in the meantime.
//!
//! Promises that a claim ends in exactly one way: settled, given back, or left to the worker that
//! took it over. A store that is away counts no retry; a claim that the store refuses is taken
//! apart until the event at fault is alone, and that one becomes a dead letter after
//! `ALERTER_MAX_RETRIES`.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use jiff::Timestamp;
use mutt_engine::{Decision, EngineError, EventClaim, Outcome, Settled};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::decide::{Decided, Tally, panic_text, poison};
use crate::metrics::Operation;
use crate::shared::{LAST_CALL, Shared, sleep_unless};

/// A store that fails a decision so often in a row, and is well whenever it is asked in between,
/// refuses that decision whatever it says.
const DOUBTS: u32 = 5;

/// How a claim ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The decision took effect.
    Settled,
    /// The store refused it; so many events went back to the queue and are to be claimed in
    /// smaller parts.
    Refused(usize),
    /// The alerter ends; the events went back to the queue.
    GivenBack,
    /// Another worker has taken the claim over.
    Fenced,
}

/// What an attempt came to.
enum Attempt {
    Settled(Settled),
    Fenced,
    /// Trying the same again can help.
    Away(EngineError),
    /// It cannot: something about the decision itself is at fault.
    Refused(String),
}

/// Makes what was decided about `claim` take effect. `claimed_at` is when the claim was made;
/// `abandon` ends the attempts.
pub(crate) async fn commit(
    shared: &Shared,
    worker: usize,
    claim: EventClaim,
    decided: Decided,
    claimed_at: Instant,
    abandon: &CancellationToken,
) -> End {
    let Decided { outcome, mut tally } = decided;
    let mut alerts = outcome.alerts.len() as u64;
    let mut decision = Arc::new(Decision { claim, outcome });
    let mut backoff = shared.backoff();
    let (mut doubts, mut refusals) = (0, 0);
    loop {
        let attempt = tokio::select! {
            biased;
            attempt = attempt(shared, &decision) => attempt,
            () = abandon.cancelled() => return give_back_last(shared, &decision.claim).await,
        };
        shared.mark_progress(worker);
        let (why, delay) = match attempt {
            Attempt::Settled(settled) => {
                shared
                    .metrics
                    .processing_latency
                    .observe(claimed_at.elapsed().as_secs_f64());
                count(shared, tally, alerts, settled);
                return End::Settled;
            }
            Attempt::Fenced => return fenced(shared, &decision.claim),
            Attempt::Away(error) => {
                let delay = shared.store_failed(Operation::Decide, &error, &mut backoff);
                doubts = if is_ready(shared).await {
                    doubts + 1
                } else {
                    0
                };
                if doubts < DOUBTS {
                    if !sleep_unless(abandon, delay).await {
                        return give_back_last(shared, &decision.claim).await;
                    }
                    continue;
                }
                doubts = 0;
                (error.to_string(), delay)
            }
            Attempt::Refused(why) => (why, backoff.next()),
        };

        let events = decision.claim.len();
        if events > 1 {
            tracing::warn!(
                events,
                why,
                "the store refused a claim; looking for the event at fault"
            );
            shared.metrics.claims_refused.inc();
            return give_back(shared, worker, &decision.claim, abandon).await;
        }
        refusals += 1;
        if refusals == shared.options.max_retries.saturating_add(1) {
            tracing::error!(
                refusals,
                why,
                "the store refused an event again and again; set aside"
            );
            (decision, tally) = set_aside(&decision, refusals, &why);
            alerts = 0;
            continue;
        }
        // Where even the dead letter is refused, all that is left is to keep the event.
        if !sleep_unless(abandon, delay).await {
            return give_back_last(shared, &decision.claim).await;
        }
    }
}

/// Whether the store is well apart from this decision.
async fn is_ready(shared: &Shared) -> bool {
    matches!(
        tokio::time::timeout(LAST_CALL, shared.engine.ready()).await,
        Ok(Ok(()))
    )
}

async fn attempt(shared: &Shared, decision: &Arc<Decision>) -> Attempt {
    let started = Instant::now();
    let result = AssertUnwindSafe(async { shared.engine.decide(Arc::clone(decision)).await })
        .catch_unwind()
        .await;
    shared
        .metrics
        .observe_db_write(started.elapsed().as_secs_f64());
    match result {
        Ok(Ok(settled)) => Attempt::Settled(settled),
        Ok(Err(EngineError::Fenced)) => Attempt::Fenced,
        Ok(Err(
            error @ (EngineError::Unavailable(_)
            | EngineError::Full { .. }
            | EngineError::Unusable(_)),
        )) => Attempt::Away(error),
        Ok(Err(error)) => Attempt::Refused(error.to_string()),
        Err(panic) => Attempt::Refused(panic_text(&*panic).to_owned()),
    }
}

/// The decision about a single event that nothing can be done with.
fn set_aside(decision: &Decision, refusals: u32, why: &str) -> (Arc<Decision>, Tally) {
    let dead = decision
        .claim
        .iter()
        .map(|element| poison(element, refusals, why))
        .collect();
    let outcome = Outcome {
        dead,
        unhandled_policy: decision.outcome.unhandled_policy,
        ..Outcome::default()
    };
    let tally = Tally {
        poison: 1,
        ..Tally::default()
    };
    (
        Arc::new(Decision {
            claim: copy(&decision.claim),
            outcome,
        }),
        tally,
    )
}

/// Returns a claim to the head of its queue, until it is there or `abandon` comes.
async fn give_back(
    shared: &Shared,
    worker: usize,
    claim: &EventClaim,
    abandon: &CancellationToken,
) -> End {
    let mut backoff = shared.backoff();
    loop {
        let result = shared.engine.return_events(copy(claim)).await;
        shared.mark_progress(worker);
        let delay = match result {
            Ok(()) => return End::Refused(claim.len()),
            Err(EngineError::Fenced) => return fenced(shared, claim),
            Err(error) => shared.store_failed(Operation::Return, &error, &mut backoff),
        };
        if !sleep_unless(abandon, delay).await {
            return End::GivenBack;
        }
    }
}

/// One attempt to return a claim: where it fails, retiring the pod returns it.
async fn give_back_last(shared: &Shared, claim: &EventClaim) -> End {
    let events = claim.len();
    let result = tokio::time::timeout(LAST_CALL, shared.engine.return_events(copy(claim))).await;
    match result {
        Ok(Ok(())) => tracing::info!(events, "undecided events went back to the queue"),
        Ok(Err(EngineError::Fenced)) => return fenced(shared, claim),
        Ok(Err(error)) => tracing::warn!(events, %error, "undecided events could not be returned"),
        Err(_) => tracing::warn!(events, "returning undecided events took too long"),
    }
    End::GivenBack
}

fn fenced(shared: &Shared, claim: &EventClaim) -> End {
    shared.metrics.claims_fenced.inc();
    tracing::warn!(
        events = claim.len(),
        "another worker took a claim over, this pod had been taken for dead; it decides the events"
    );
    End::Fenced
}

fn count(shared: &Shared, mut tally: Tally, alerts: u64, settled: Settled) {
    let metrics = &shared.metrics;
    metrics.count_decided(tally.handled, tally.unhandled);
    metrics.error.inc_by(tally.malformed);
    metrics.poison.inc_by(tally.poison);
    metrics.alerts_forwarded.inc_by(alerts);
    metrics.meta_alerts.inc_by(settled.meta_alerts);
    let now = Timestamp::now();
    for &received_at in &tally.received {
        let seconds = now.duration_since(received_at).as_secs_f64();
        metrics.decision_latency.observe(seconds.max(0.0));
    }
    let hosts = std::mem::take(&mut tally.hosts);
    shared.busy_hosts.lock().add(hosts, Instant::now());
    if let Some(batch) = tally.live() {
        shared.engine.show(batch);
    }
}

/// The same claim again: batches are shared, not copied.
fn copy(claim: &EventClaim) -> EventClaim {
    EventClaim {
        id: claim.id,
        worker: Arc::clone(&claim.worker),
        events: claim.events.clone(),
    }
}
