//! The claims that this process holds.
//!
//! A claim is known here from before Redis is asked for it until its end is known, so that a claim
//! that Redis has registered for a living pod and that is not known here is nobody's: its answer was
//! lost. Numbers come in blocks from PostgreSQL and are never given twice.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use mutt_engine::{Result, Settled, WorkerKind};
use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;

use crate::engine::Shared;
use crate::envelope::History;

/// How far a claim is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing was tried.
    Held,
    /// A decision was tried: whether it took effect is not known.
    Tried,
    /// Its decision took effect.
    Applied(Settled),
    /// It is somebody else's, or was returned.
    Gone,
}

/// A claim that this process made.
#[derive(Debug)]
pub struct Known {
    pub worker: Arc<str>,
    /// What Redis remembered when it was made.
    pub epoch: Arc<str>,
    /// By position, for elements that failed before.
    pub histories: HashMap<usize, History>,
    /// Locked by whoever ends it.
    pub phase: AsyncMutex<Phase>,
}

/// A claim that nobody here has in hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubtful {
    pub kind: WorkerKind,
    pub worker: Arc<str>,
    pub claim: u64,
    /// Whether somebody may have begun to decide it.
    pub revoke: bool,
}

struct Ended {
    claim: u64,
    settled: Option<Settled>,
    at: Instant,
}

#[derive(Default)]
struct State {
    known: HashMap<u64, Arc<Known>>,
    /// Numbers asked for, whose answer is not there yet.
    asked: HashMap<u64, u64>,
    /// Claims that ended lately, the oldest first.
    ended: VecDeque<Ended>,
    /// By number: a claim that is doubted again is doubted once.
    doubtful: HashMap<u64, Doubtful>,
    /// Applied claims whose row in PostgreSQL is no longer needed.
    finished: Vec<u64>,
    next: u64,
    end: u64,
}

/// The claims that this process holds.
#[derive(Default)]
pub struct Claims {
    state: Mutex<State>,
    numbering: AsyncMutex<()>,
}

/// How many ended claims are remembered.
const REMEMBERED: usize = 8192;
/// Numbers in one block of PostgreSQL's.
const BLOCK: u64 = 1 << 24;

/// Numbers that were asked for; where the answer does not come they are doubtful.
pub struct Asked<'a> {
    shared: &'a Shared,
    kind: WorkerKind,
    worker: &'a Arc<str>,
    pub first: u64,
    pub count: u64,
    answered: bool,
}

impl Asked<'_> {
    /// The answer is there: so many of the numbers were used.
    pub fn answered(mut self, epoch: &Arc<str>, histories: Vec<HashMap<usize, History>>) {
        self.answered = true;
        let mut state = self.shared.claims.state.lock();
        state.asked.remove(&self.first);
        if state.next == self.first + self.count {
            // The others were not used: who finds nothing for hours should not need another block,
            // which PostgreSQL may be too far away to give.
            state.next = self.first + histories.len() as u64;
        }
        for (number, histories) in (self.first..).zip(histories) {
            let known = Known {
                worker: Arc::clone(self.worker),
                epoch: Arc::clone(epoch),
                histories,
                phase: AsyncMutex::new(Phase::Held),
            };
            state.known.insert(number, Arc::new(known));
        }
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let mut state = self.shared.claims.state.lock();
        state.asked.remove(&self.first);
        for claim in self.first..self.first + self.count {
            let worker = Arc::clone(self.worker);
            state.doubt(self.kind, worker, claim, false);
        }
        self.shared.doubts.notify_one();
    }
}

impl State {
    fn doubt(&mut self, kind: WorkerKind, worker: Arc<str>, claim: u64, revoke: bool) {
        let doubtful = self.doubtful.entry(claim).or_insert(Doubtful {
            kind,
            worker,
            claim,
            revoke,
        });
        doubtful.revoke |= revoke;
    }

    fn end(&mut self, claim: u64, settled: Option<Settled>) -> Option<Arc<Known>> {
        let known = self.known.remove(&claim)?;
        if self.ended.len() == REMEMBERED {
            self.ended.pop_front();
        }
        self.ended.push_back(Ended {
            claim,
            settled,
            at: Instant::now(),
        });
        Some(known)
    }
}

impl Claims {
    /// So many numbers in a row, never given before, known as asked for.
    pub async fn ask<'a>(
        shared: &'a Shared,
        kind: WorkerKind,
        worker: &'a Arc<str>,
        count: u64,
    ) -> Result<Asked<'a>> {
        let claims = &shared.claims;
        loop {
            {
                let mut state = claims.state.lock();
                if state.next + count <= state.end {
                    let first = state.next;
                    state.next += count;
                    state.asked.insert(first, count);
                    return Ok(Asked {
                        shared,
                        kind,
                        worker,
                        first,
                        count,
                        answered: false,
                    });
                }
            }
            let _one_at_a_time = claims.numbering.lock().await;
            let used_up = {
                let state = claims.state.lock();
                state.next + count > state.end
            };
            if used_up {
                let first = shared.postgres.claim_block().await?;
                let mut state = claims.state.lock();
                (state.next, state.end) = (first, first + BLOCK);
            }
        }
    }

    /// A claim that is held here.
    pub fn known(&self, claim: u64) -> Option<Arc<Known>> {
        self.state.lock().known.get(&claim).cloned()
    }

    /// What the decision of a claim did that was held here lately.
    pub fn decided(&self, claim: u64) -> Option<Settled> {
        let state = self.state.lock();
        let ended = state.ended.iter().rev().find(|ended| ended.claim == claim);
        ended.and_then(|ended| ended.settled)
    }

    /// A claim ended: with this, or because it is not ours.
    pub fn end(&self, claim: u64, settled: Option<Settled>) {
        self.state.lock().end(claim, settled);
    }

    /// Nobody here goes on with a claim that is held here.
    pub fn abandon(&self, kind: WorkerKind, claim: u64) {
        let mut state = self.state.lock();
        if let Some(known) = state.end(claim, None) {
            state.doubt(kind, Arc::clone(&known.worker), claim, true);
        }
    }

    /// Its row in PostgreSQL is no longer needed.
    pub fn finished(&self, claim: u64) {
        self.state.lock().finished.push(claim);
    }

    /// Claims whose rows are no longer needed; handed out once.
    pub fn take_finished(&self) -> Vec<u64> {
        std::mem::take(&mut self.state.lock().finished)
    }

    /// Those of these claims, found registered for a pod after `since`, that nobody here has in hand
    /// or asked for. One that ended before is among them: Redis lost its last moments, and with them
    /// that end.
    pub fn unknown(&self, registered: impl IntoIterator<Item = u64>, since: Instant) -> Vec<u64> {
        let state = self.state.lock();
        let here = |claim: u64| {
            state.known.contains_key(&claim)
                || state
                    .asked
                    .iter()
                    .any(|(&first, &count)| (first..first + count).contains(&claim))
                || state
                    .ended
                    .iter()
                    .rev()
                    .take_while(|ended| ended.at >= since)
                    .any(|ended| ended.claim == claim)
        };
        registered
            .into_iter()
            .filter(|&claim| !here(claim))
            .collect()
    }

    /// Nobody has this claim in hand, and somebody may have begun to decide it.
    pub fn doubt(&self, kind: WorkerKind, worker: Arc<str>, claim: u64) {
        self.state.lock().doubt(kind, worker, claim, true);
    }

    /// These could not be ended.
    pub fn doubt_again(&self, claims: Vec<Doubtful>) {
        let mut state = self.state.lock();
        for claim in claims {
            state.doubt(claim.kind, claim.worker, claim.claim, claim.revoke);
        }
    }

    /// Claims that nobody has in hand; handed out once.
    pub fn take_doubtful(&self) -> Vec<Doubtful> {
        let doubtful = std::mem::take(&mut self.state.lock().doubtful);
        doubtful.into_values().collect()
    }
}
