//! What the server knows of the event queue without looking at the disk: which blocks wait, and who
//! holds which part of them.
//!
//! Claims live only here. The directory lock makes this process the only one that claims, so when
//! it dies its claims die with it and everything undecided waits again. No I/O.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use mutt_event::Batch;

use crate::events::Settled;

/// The most bytes of waiting events that are kept in memory beside the disk.
const CACHE_BYTES: usize = 16 << 20;
/// The most bytes in one claim; a claim of one block may be larger.
const CLAIM_BYTES: usize = 8 << 20;
/// How many applied claims are remembered, so that a repeated decision gets its answer.
const APPLIED: usize = 1024;

/// Some consecutive events of one block.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The block's row.
    pub(super) block: i64,
    /// The first event's position in the block.
    pub(super) first: u32,
    /// The position behind the last event.
    pub(super) past: u32,
    /// The number of events in the whole block.
    pub(super) count: u32,
    /// The bytes of the whole block.
    pub(super) bytes: u32,
    /// When the block was queued, in µs.
    pub(super) enqueued_at: i64,
    /// The whole block, where it is in memory.
    pub(super) batch: Option<Arc<Batch>>,
}

impl Part {
    /// The number of events.
    pub(super) fn len(&self) -> u32 {
        self.past - self.first
    }

    /// Whether this is the block as a whole.
    pub(super) fn is_whole(&self) -> bool {
        self.first == 0 && self.past == self.count
    }

    /// The events of this part, where the block is in memory.
    pub(super) fn events(&self) -> Option<Arc<Batch>> {
        let batch = self.batch.as_ref()?;
        Some(if self.is_whole() {
            Arc::clone(batch)
        } else {
            self.cut(batch)
        })
    }

    /// This part of its block.
    pub(super) fn cut(&self, block: &Batch) -> Arc<Batch> {
        let range = self.first as usize..self.past as usize;
        Arc::new(range.filter_map(|index| block.get(index)).collect())
    }
}

/// A claim that is out.
#[derive(Debug)]
struct Held {
    worker: Arc<str>,
    parts: Vec<Part>,
    /// A decision about it is on its way to the disk: nobody takes it over now.
    deciding: bool,
}

/// What a claim's identity says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is out.
    Held,
    /// Its decision took effect, with this result.
    Applied(Settled),
    /// It was taken over, or never was.
    Gone,
}

/// The queue in memory.
#[derive(Debug, Default)]
pub(super) struct EventState {
    waiting: VecDeque<Part>,
    claims: HashMap<u64, Held>,
    applied: VecDeque<(u64, Settled)>,
    cached: usize,
    depth: u64,
    last_block: i64,
    last_claim: u64,
}

impl EventState {
    /// Claims get numbers above this one.
    pub(super) fn start_claims_at(&mut self, number: u64) {
        self.last_claim = number;
    }

    /// Events that wait.
    pub(super) fn depth(&self) -> u64 {
        self.depth
    }

    /// The highest block number that was ever added.
    pub(super) fn last_block(&self) -> i64 {
        self.last_block
    }

    /// When the oldest waiting block was queued, in µs.
    pub(super) fn oldest(&self) -> Option<i64> {
        self.waiting.front().map(|part| part.enqueued_at)
    }

    /// Events that are claimed.
    pub(super) fn claimed(&self) -> u64 {
        self.claims.values().map(Held::len).sum()
    }

    /// Events that one worker holds.
    pub(super) fn held_by(&self, worker: &str) -> u64 {
        self.claims
            .values()
            .filter(|held| &*held.worker == worker)
            .map(Held::len)
            .sum()
    }

    /// Adds a part at the end of the queue; its block's text is kept while there is room for it.
    pub(super) fn add(&mut self, mut part: Part) {
        self.last_block = self.last_block.max(part.block);
        self.depth += u64::from(part.len());
        self.cache(&mut part);
        self.waiting.push_back(part);
    }

    fn cache(&mut self, part: &mut Part) {
        if let Some(batch) = &part.batch {
            if self.cached + batch.byte_len() > CACHE_BYTES {
                part.batch = None;
            } else {
                self.cached += batch.byte_len();
            }
        }
    }

    fn uncache(&mut self, part: &Part) {
        if let Some(batch) = &part.batch {
            self.cached -= batch.byte_len();
        }
    }

    /// Claims up to `max` of the oldest events; `None` where none wait.
    pub(super) fn claim(&mut self, worker: &Arc<str>, max: usize) -> Option<(u64, Vec<Part>)> {
        let mut room = u32::try_from(max.max(1)).unwrap_or(u32::MAX);
        let mut bytes = 0;
        let mut parts = Vec::new();
        while room > 0
            && let Some(front) = self.waiting.front_mut()
            && (parts.is_empty() || bytes + front.bytes as usize <= CLAIM_BYTES)
        {
            bytes += front.bytes as usize;
            let part = if front.len() <= room {
                let part = self.waiting.pop_front().expect("there is a front");
                self.uncache(&part);
                part
            } else {
                let part = Part {
                    past: front.first + room,
                    ..front.clone()
                };
                front.first = part.past;
                part
            };
            room -= part.len();
            parts.push(part);
        }
        if parts.is_empty() {
            return None;
        }
        self.last_claim += 1;
        let held = Held {
            worker: Arc::clone(worker),
            parts: parts.clone(),
            deciding: false,
        };
        self.depth -= held.len();
        self.claims.insert(self.last_claim, held);
        Some((self.last_claim, parts))
    }

    /// What is known of a claim.
    pub(super) fn standing(&self, claim: u64) -> Standing {
        if self.claims.contains_key(&claim) {
            return Standing::Held;
        }
        let applied = self.applied.iter().rev().find(|(id, _)| *id == claim);
        applied.map_or(Standing::Gone, |&(_, settled)| Standing::Applied(settled))
    }

    /// The parts of a claim, which from now on nobody takes over.
    pub(super) fn begin_deciding(&mut self, claim: u64) -> Option<Vec<Part>> {
        let held = self.claims.get_mut(&claim)?;
        held.deciding = true;
        Some(held.parts.clone())
    }

    /// The decision failed: the claim is as before.
    pub(super) fn stop_deciding(&mut self, claim: u64) {
        if let Some(held) = self.claims.get_mut(&claim) {
            held.deciding = false;
        }
    }

    /// The decision took effect.
    pub(super) fn applied(&mut self, claim: u64, settled: Settled) {
        if self.claims.remove(&claim).is_some() {
            if self.applied.len() == APPLIED {
                self.applied.pop_front();
            }
            self.applied.push_back((claim, settled));
        }
    }

    /// Returns a claim to the head of the queue; false where it is not out. Blocks that are gone
    /// from the disk stay away.
    pub(super) fn give_back(&mut self, claim: u64, gone: &[i64]) -> bool {
        let Some(held) = self.claims.remove(&claim) else {
            return false;
        };
        for mut part in held.parts.into_iter().rev() {
            if !gone.contains(&part.block) {
                self.depth += u64::from(part.len());
                self.cache(&mut part);
                self.put_in_front(part);
            }
        }
        true
    }

    /// Returns a claim to the head of the queue, unless its decision is on its way to the disk;
    /// whether it did.
    pub(super) fn abandon(&mut self, claim: u64) -> bool {
        let undecided = self.claims.get(&claim).is_some_and(|held| !held.deciding);
        undecided && self.give_back(claim, &[])
    }

    /// Puts a part where its age belongs, which is nearly always the very front.
    fn put_in_front(&mut self, part: Part) {
        let key = (part.block, part.first);
        let place = self
            .waiting
            .iter()
            .position(|other| (other.block, other.first) > key);
        self.waiting
            .insert(place.unwrap_or(self.waiting.len()), part);
    }

    /// Returns what workers hold for whom `is_dead` is true. The number of events.
    pub(super) fn take_over(&mut self, is_dead: impl Fn(&str) -> bool) -> u64 {
        let dead: Vec<u64> = self
            .claims
            .iter()
            .filter(|(_, held)| !held.deciding && is_dead(&held.worker))
            .map(|(&claim, _)| claim)
            .collect();
        let before = self.depth;
        for claim in dead {
            self.give_back(claim, &[]);
        }
        self.depth - before
    }
}

impl Held {
    fn len(&self) -> u64 {
        self.parts.iter().map(|part| u64::from(part.len())).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(id: i64, texts: &[&str]) -> Part {
        let batch: Batch = texts.iter().map(|text| text.as_bytes()).collect();
        let count = u32::try_from(texts.len()).unwrap();
        Part {
            block: id,
            first: 0,
            past: count,
            count,
            bytes: u32::try_from(batch.byte_len()).unwrap(),
            enqueued_at: id,
            batch: Some(Arc::new(batch)),
        }
    }

    fn texts(parts: &[Part]) -> Vec<String> {
        let batches: Vec<_> = parts.iter().map(|part| part.events().unwrap()).collect();
        let texts = batches.iter().flat_map(|batch| batch.iter());
        texts
            .map(|text| String::from_utf8(text.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn claims_cut_blocks_and_what_is_returned_comes_first_in_its_order() {
        let mut state = EventState::default();
        let worker: Arc<str> = "w".into();
        state.add(block(1, &["a", "b", "c"]));
        state.add(block(2, &["d"]));
        let (first, parts) = state.claim(&worker, 2).unwrap();
        assert_eq!(texts(&parts), ["a", "b"]);
        assert_eq!(
            (state.depth(), state.claimed(), state.held_by("w")),
            (2, 2, 2)
        );
        let (second, parts) = state.claim(&worker, 1).unwrap();
        assert_eq!(texts(&parts), ["c"]);
        assert!(state.give_back(second, &[]));
        assert!(state.give_back(first, &[]));
        assert!(!state.give_back(first, &[]));
        let (_, parts) = state.claim(&worker, 10).unwrap();
        assert_eq!(texts(&parts), ["a", "b", "c", "d"]);
        assert!(state.claim(&worker, 1).is_none());
        assert_eq!(state.cached, 0);
    }

    #[test]
    fn a_claim_that_is_being_decided_is_not_taken_over() {
        let mut state = EventState::default();
        let worker: Arc<str> = "w".into();
        state.add(block(1, &["a"]));
        let (claim, _) = state.claim(&worker, 1).unwrap();
        assert!(state.begin_deciding(claim).is_some());
        assert_eq!(state.take_over(|_| true), 0);
        assert!(!state.abandon(claim), "its worker cannot return it either");
        assert_eq!((state.depth(), state.claimed()), (0, 1));
        state.stop_deciding(claim);
        assert_eq!(state.take_over(|worker| worker == "other"), 0);
        assert_eq!(state.take_over(|worker| worker == "w"), 1);
        assert_eq!(state.standing(claim), Standing::Gone);
    }

    #[test]
    fn an_applied_claim_is_remembered() {
        let mut state = EventState::default();
        state.add(block(1, &["a"]));
        let (claim, _) = state.claim(&"w".into(), 1).unwrap();
        state.applied(claim, Settled { meta_alerts: 1 });
        assert_eq!(
            state.standing(claim),
            Standing::Applied(Settled { meta_alerts: 1 })
        );
        assert_eq!((state.depth(), state.claimed()), (0, 0));
    }
}
