//! What the spool hands out.

use std::sync::Arc;

use mutt_engine::DeadLetter;
use mutt_event::Batch;
use tokio::sync::OwnedSemaphorePermit;

use crate::queue::Head;

/// What one record holds.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) number: u64,
    pub(crate) batch: Option<Arc<Batch>>,
    pub(crate) rejects: Vec<DeadLetter>,
}

/// The oldest records of the spool, until they are settled or given back. Dropping this gives them
/// back.
///
/// To push them to Redis exactly once, the step that pushes them compares [`Spooled::first`] with
/// the number it noted under the spool's id. Where that is at least as high, a part was pushed
/// before: it pushes nothing and tells the number, for [`Spooled::skip_through`]. Else it pushes and
/// notes [`Spooled::last`]. A push that never went through the spool may use a number of
/// [`crate::Spool::number`] in the same way.
#[derive(Debug)]
pub struct Spooled {
    /// The events, oldest first.
    pub events: Vec<Arc<Batch>>,
    /// What came with them but is no event.
    pub rejects: Vec<DeadLetter>,
    /// Records that were not skipped: number, whether it has a batch, how many rejects.
    records: Vec<(u64, bool, usize)>,
    last: u64,
    pub(crate) head: Head,
    pub(crate) _one_at_a_time: OwnedSemaphorePermit,
}

impl Spooled {
    pub(crate) fn new(mut head: Head, permit: OwnedSemaphorePermit) -> Self {
        let mut spooled = Self {
            events: Vec::new(),
            rejects: Vec::new(),
            records: Vec::new(),
            last: head.parts.last().map_or(0, |part| part.number),
            _one_at_a_time: permit,
            head: Head {
                parts: Vec::new(),
                ..head
            },
        };
        for part in head.parts.drain(..) {
            let record = (part.number, part.batch.is_some(), part.rejects.len());
            spooled.records.push(record);
            spooled.events.extend(part.batch);
            spooled.rejects.extend(part.rejects);
        }
        spooled
    }

    /// The number of the first record; of all records of one spool, older ones have lower numbers.
    pub fn first(&self) -> u64 {
        self.records.first().map_or(self.last, |record| record.0)
    }

    /// The number of the last record: at least 1, at most 2^53.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The number of events.
    pub fn len(&self) -> usize {
        self.events.iter().map(|batch| batch.len()).sum()
    }

    /// Whether there is nothing left to be pushed: no event and no reject.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.rejects.is_empty()
    }

    /// Drops the events and rejects of records up to this number, which were pushed before. Returns
    /// whether something is left. [`crate::Spool::settle`] settles the skipped ones as well.
    pub fn skip_through(&mut self, number: u64) -> bool {
        let skipped = self.records.partition_point(|record| record.0 <= number);
        let (mut batches, mut rejects) = (0, 0);
        for (_, has_batch, letters) in self.records.drain(..skipped) {
            batches += usize::from(has_batch);
            rejects += letters;
        }
        self.events.drain(..batches);
        self.rejects.drain(..rejects);
        !self.is_empty()
    }
}
