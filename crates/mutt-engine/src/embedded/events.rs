//! The event queue: enqueue, claim, return, shed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use mutt_event::Batch;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::blocks::{self, Enqueue, History, Reserved};
use super::event_state::{Part, Standing};
use super::inbox::Work;
use super::shared::Shared;
use super::{Embedded, dead_letters, decide};
use crate::dead_letters::{DeadLetter, Dlq, Reason};
use crate::error::{EngineError, Result};
use crate::events::{Decision, EventClaim, EventQueue, Settled};

/// The worker's name for events that are being shed.
const SHEDDER: &str = "(shedding)";

/// A claim that nobody has in hand yet: where the call ends early, it returns to the queue.
struct Pending<'a> {
    shared: &'a Shared,
    claim: Option<u64>,
}

impl Pending<'_> {
    fn keep(mut self) -> u64 {
        self.claim.take().expect("a pending claim is kept once")
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(claim) = self.claim {
            self.shared.with_events(|events| events.abandon(claim));
        }
    }
}

/// The events of a claim, or the blocks that are no longer on the disk.
type Loaded = std::result::Result<Vec<Arc<Batch>>, Vec<i64>>;

impl Embedded {
    /// The events of claimed parts, from memory or from the disk.
    async fn load(&self, parts: &[Part]) -> Result<Loaded> {
        if let Some(events) = parts.iter().map(Part::events).collect() {
            return Ok(Ok(events));
        }
        let wanted = parts.to_vec();
        self.claim_readers
            .run(move |conn| {
                let mut blocks: HashMap<i64, Arc<Batch>> = HashMap::new();
                let mut events = Vec::with_capacity(wanted.len());
                let mut gone = Vec::new();
                for part in wanted {
                    if let Some(batch) = part.events() {
                        events.push(batch);
                        continue;
                    }
                    let block = if let Some(block) = blocks.get(&part.block) {
                        Arc::clone(block)
                    } else if let Some(block) = blocks::read(conn, part.block)? {
                        let block = Arc::new(block);
                        blocks.insert(part.block, Arc::clone(&block));
                        block
                    } else {
                        gone.push(part.block);
                        continue;
                    };
                    events.push(if part.is_whole() {
                        block
                    } else {
                        part.cut(&block)
                    });
                }
                Ok(if gone.is_empty() {
                    Ok(events)
                } else {
                    Err(gone)
                })
            })
            .await
    }

    async fn try_claim(&self, worker: &Arc<str>, max: usize) -> Result<Option<EventClaim>> {
        loop {
            let claimed = self.shared.with_events(|events| events.claim(worker, max));
            let Some((claim, parts)) = claimed else {
                return Ok(None);
            };
            let pending = Pending {
                shared: &self.shared,
                claim: Some(claim),
            };
            match self.load(&parts).await? {
                Ok(events) => {
                    let (id, worker) = (pending.keep(), Arc::clone(worker));
                    return Ok(Some(EventClaim { id, worker, events }));
                }
                // Somebody's hand was in the database. The disk is right; the rest goes on.
                Err(gone) => {
                    tracing::error!(?gone, "blocks of the queue are gone from the database");
                    let claim = pending.keep();
                    self.shared
                        .with_events(|events| events.give_back(claim, &gone));
                }
            }
        }
    }
}

#[async_trait]
impl EventQueue for Embedded {
    async fn enqueue(&self, batch: Batch) -> Result<u64> {
        self.server_only("taking events in")?;
        if batch.is_empty() {
            return Ok(self.shared.event_depth.load(Ordering::Acquire));
        }
        let reserved = Reserved::take(&self.shared, batch.len() as u64)?;
        let bytes = batch.byte_len();
        let (answer, answered) = oneshot::channel();
        let work = Work::Enqueue(Enqueue {
            batch,
            reserved,
            answer,
        });
        self.writer.submit(work, bytes).await?;
        answered
            .await
            .map_err(|_| EngineError::Unavailable("the engine is closed".to_owned()))?
    }

    async fn enqueue_with_rejects(&self, batch: Batch, rejects: Vec<DeadLetter>) -> Result<u64> {
        if rejects.is_empty() {
            return self.enqueue(batch).await;
        }
        self.server_only("taking events in")?;
        let reserved = if batch.is_empty() {
            None
        } else {
            Some(Reserved::take(&self.shared, batch.len() as u64)?)
        };
        let letters: usize = rejects.iter().map(|letter| letter.element.len()).sum();
        let buried = rejects.len() as u64;
        let shared = Arc::clone(&self.shared);
        self.writer
            .run_sized(
                batch.byte_len() + letters,
                move |tx| {
                    let now = Timestamp::now();
                    for letter in &rejects {
                        dead_letters::insert(tx, Dlq::Ingest, letter, 0, History::default(), now)?;
                    }
                    blocks::write(tx, now, std::iter::once(batch))
                },
                move |result| {
                    let written = result?;
                    shared.dead(Dlq::Ingest).fetch_add(buried, Ordering::AcqRel);
                    if !written.is_empty() {
                        blocks::add(&shared, written);
                    }
                    drop(reserved);
                    Ok(shared.event_depth.load(Ordering::Acquire))
                },
            )
            .await
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
        self.server_only("claiming events")?;
        let until = Instant::now() + wait;
        loop {
            // Listening begins before looking, so that nothing that comes between is missed.
            let arrived = self.shared.event_arrived.notified();
            if let Some(claim) = self.try_claim(worker, max).await? {
                return Ok(Some(claim));
            }
            if tokio::time::timeout_at(until, arrived).await.is_err() {
                return Ok(None);
            }
            self.server_only("claiming events")?;
        }
    }

    async fn decide(&self, decision: Arc<Decision>) -> Result<Settled> {
        self.server_only("deciding")?;
        let shared = Arc::clone(&self.shared);
        let bytes = decision
            .claim
            .events
            .iter()
            .map(|batch| batch.byte_len())
            .sum();
        let claim = decision.claim.id;
        let executing = Arc::clone(&self.shared);
        self.writer
            .run_sized(
                bytes,
                move |tx| decide::execute(tx, &executing, &decision),
                move |result| decide::finish(&shared, claim, result),
            )
            .await
    }

    async fn return_events(&self, claim: EventClaim) -> Result<()> {
        self.server_only("returning events")?;
        // What is being decided may not wait once more. The decision ends it, or fails and leaves it
        // as it was: the next commit comes after either.
        let mut commit_ended = Ok(());
        loop {
            let returned = self.shared.with_events(|events| {
                let returned = events.abandon(claim.id);
                (returned, events.standing(claim.id) == Standing::Held)
            });
            match returned {
                (true, _) => return Ok(()),
                (false, false) => return Err(EngineError::Fenced),
                (false, true) => commit_ended?,
            }
            commit_ended = self.writer.run(|_| Ok(())).await;
        }
    }

    async fn shed_events(&self, max: usize) -> Result<u64> {
        self.server_only("shedding events")?;
        let Some(claim) = self.try_claim(&SHEDDER.into(), max).await? else {
            return Ok(0);
        };
        let pending = Pending {
            shared: &self.shared,
            claim: Some(claim.id),
        };
        let executing = Arc::clone(&self.shared);
        let shared = Arc::clone(&self.shared);
        let bytes = claim.events.iter().map(|batch| batch.byte_len()).sum();
        let count = claim.len() as u64;
        let id = claim.id;
        let work = self.writer.run_sized(
            bytes,
            move |tx| {
                let parts = executing
                    .events
                    .lock()
                    .begin_deciding(id)
                    .ok_or(EngineError::Fenced)?;
                let now = Timestamp::now();
                for (part, events) in parts.iter().zip(&claim.events) {
                    let history = blocks::history(tx, part.block)?;
                    if !blocks::settle(tx, part)? {
                        continue;
                    }
                    for element in events.iter() {
                        let letter = DeadLetter {
                            reason: Reason::Shed,
                            detail: "moved aside: the alert queue was too long".to_owned(),
                            element: element.to_vec(),
                        };
                        dead_letters::insert(tx, Dlq::Alerter, &letter, 0, history, now)?;
                    }
                }
                Ok(())
            },
            move |result: Result<()>| {
                match &result {
                    Ok(()) => {
                        shared.with_events(|events| events.applied(id, Settled::default()));
                        shared.dead(Dlq::Alerter).fetch_add(count, Ordering::AcqRel);
                    }
                    Err(_) => {
                        shared.with_events(|events| events.give_back(id, &[]));
                    }
                }
                result
            },
        );
        // From here on the writing thread says what becomes of the claim; only where the work never
        // reaches it does the guard.
        let result = work.await;
        if result.is_ok() {
            pending.keep();
        }
        result.map(|()| count)
    }

    async fn event_depth(&self) -> Result<u64> {
        if self.shared.claims {
            return Ok(self.shared.event_depth.load(Ordering::Acquire));
        }
        self.readers
            .run(|conn| {
                let waiting: i64 = conn.query_row(
                    "SELECT coalesce(sum(count), 0) - (SELECT coalesce(sum(past - first), 0)
                         FROM event_settled) FROM event_queue",
                    [],
                    |row| row.get(0),
                )?;
                Ok(waiting.cast_unsigned())
            })
            .await
    }
}
