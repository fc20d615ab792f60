//! The event queue: enqueue, claim, return, shed.

use std::collections::HashMap;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use mutt_engine::{
    DeadLetter, Decision, EngineError, EventClaim, EventQueue, Outcome, Reason, Result, Settled,
    WorkerKind,
};
use mutt_event::Batch;
use mutt_redis::redis;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use crate::claims::{Claims, Phase};
use crate::engine::{Distributed, Shared, closed};
use crate::envelope;
use crate::{decide, enqueue, names, scripts, takeover};

/// How long a waiting claim sleeps at most: what was pushed by other programs wakes nobody.
const POLL: Duration = Duration::from_millis(250);
/// The most bytes in one claim, unless one element is larger.
const CLAIM_BYTES: usize = 16 << 20;

impl Shared {
    async fn try_claim(&self, worker: &Arc<str>, max: usize) -> Result<Option<EventClaim>> {
        let kind = WorkerKind::Alerter;
        // Nothing is asked for that cannot be answered now, so that no doubt is left.
        self.admitted().await?;
        let asked = Claims::ask(self, kind, worker, 1).await?;
        let id = asked.first;
        let mut call = scripts::CLAIM_EVENTS.call(&[
            &self.names.ingest_queue,
            &names::held(kind, worker, id),
            &names::claims(kind, worker),
            &names::pods(kind),
            names::CLAIM_ORDER,
            names::EPOCH,
        ]);
        call.arg(id)
            .arg(&**worker)
            .arg(max)
            .arg(CLAIM_BYTES)
            .arg(names::new_epoch());
        let (epoch, items): (String, Vec<redis::Value>) =
            self.run(&scripts::CLAIM_EVENTS, &call).await?;
        let epoch = epoch.into();
        if items.is_empty() {
            asked.answered(&epoch, Vec::new());
            return Ok(None);
        }
        let items: Vec<Vec<u8>> = items.into_iter().map(bytes).collect();
        let mut events = Batch::with_capacity(items.len(), items.iter().map(Vec::len).sum());
        let mut histories = HashMap::new();
        for (index, item) in items.iter().enumerate() {
            let (element, history) = envelope::unwrap(item);
            events.push(&element);
            if !history.is_empty() {
                histories.insert(index, history);
            }
        }
        asked.answered(&epoch, vec![histories]);
        Ok(Some(EventClaim {
            id,
            worker: Arc::clone(worker),
            events: vec![Arc::new(events)],
        }))
    }
}

/// The bytes of an element of a list.
pub(crate) fn bytes(value: redis::Value) -> Vec<u8> {
    match value {
        redis::Value::BulkString(bytes) => bytes,
        // Lists hold strings; anything else would be a mistake of ours.
        other => format!("{other:?}").into_bytes(),
    }
}

impl Shared {
    /// Sleeps until something may be there: `woken` says so, or it is time to look again in any case.
    /// False where `until` is over.
    pub async fn sleep(&self, woken: Pin<&mut Notified<'_>>, until: Instant) -> Result<bool> {
        let now = Instant::now();
        if now >= until {
            return Ok(false);
        }
        tokio::select! {
            () = woken => {}
            () = tokio::time::sleep_until(until.min(now + POLL)) => {}
            () = self.closed.cancelled() => return Err(closed()),
        }
        Ok(true)
    }
}

/// Leaves a claim that did not end to whoever ends those that nobody has in hand.
struct Abandon<'a> {
    shared: &'a Shared,
    claim: u64,
}

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        self.shared.claims.abandon(WorkerKind::Alerter, self.claim);
        self.shared.doubts.notify_one();
    }
}

#[async_trait]
impl EventQueue for Distributed {
    async fn enqueue(&self, batch: Batch) -> Result<u64> {
        self.enqueue_with_rejects(batch, Vec::new()).await
    }

    async fn enqueue_with_rejects(&self, batch: Batch, rejects: Vec<DeadLetter>) -> Result<u64> {
        if batch.is_empty() && rejects.is_empty() {
            return self.event_depth().await;
        }
        enqueue::submit(&self.enqueuer, batch, rejects).await
    }

    fn set_queue_limit(&self, limit: u64) {
        self.shared.queue_limit.store(limit, Ordering::Relaxed);
    }

    async fn claim_events(
        &self,
        worker: &Arc<str>,
        max: usize,
        wait: Duration,
    ) -> Result<Option<EventClaim>> {
        let shared = &self.shared;
        let until = Instant::now() + wait;
        loop {
            // Listening begins before looking, so that nothing that comes between is missed.
            let mut woken = pin!(shared.events_waiting.notified());
            woken.as_mut().enable();
            if let Some(claim) = shared.try_claim(worker, max.max(1)).await? {
                return Ok(Some(claim));
            }
            if !shared.sleep(woken, until).await? {
                return Ok(None);
            }
        }
    }

    async fn decide(&self, decision: Arc<Decision>) -> Result<Settled> {
        // A caller that stops waiting must not stop a decision half-way.
        let shared = Arc::clone(&self.shared);
        let work = tokio::spawn(async move { decide::decide(&shared, &decision).await });
        work.await
            .unwrap_or_else(|error| Err(EngineError::Unavailable(error.to_string())))
    }

    async fn return_events(&self, claim: EventClaim) -> Result<()> {
        let shared = &self.shared;
        let Some(known) = shared.claims.known(claim.id) else {
            return Err(EngineError::Fenced);
        };
        let mut phase = known.phase.lock().await;
        match *phase {
            Phase::Held => {
                let returned =
                    takeover::return_claim(shared, WorkerKind::Alerter, &known.worker, claim.id)
                        .await?;
                *phase = Phase::Gone;
                shared.claims.end(claim.id, None);
                returned.map(drop).ok_or(EngineError::Fenced)
            }
            // What was tried may have taken effect: only a takeover can tell.
            Phase::Tried => {
                let returned =
                    takeover::take_over(shared, WorkerKind::Alerter, &known.worker, claim.id)
                        .await?;
                *phase = Phase::Gone;
                shared.claims.end(claim.id, None);
                if returned == 0 {
                    return Err(EngineError::Fenced);
                }
                Ok(())
            }
            Phase::Applied(_) | Phase::Gone => Err(EngineError::Fenced),
        }
    }

    async fn shed_events(&self, max: usize) -> Result<u64> {
        let shared = &self.shared;
        let Some(claim) = shared.try_claim(&shared.pod, max.max(1)).await? else {
            return Ok(0);
        };
        // Whatever becomes of it here, also where the caller goes away, nobody tries it again.
        let _abandon = Abandon {
            shared,
            claim: claim.id,
        };
        let dead: Vec<_> = claim
            .iter()
            .map(|event| DeadLetter {
                reason: Reason::Shed,
                detail: "moved aside: the alert queue was too long".to_owned(),
                element: event.to_vec(),
            })
            .collect();
        let shed = dead.len() as u64;
        let outcome = Outcome {
            dead,
            ..Outcome::default()
        };
        self.decide(Arc::new(Decision { claim, outcome })).await?;
        Ok(shed)
    }

    async fn event_depth(&self) -> Result<u64> {
        let command = redis::Cmd::new()
            .arg("LLEN")
            .arg(&self.shared.names.ingest_queue)
            .to_owned();
        self.shared.call(&command).await
    }
}
