//! The list behind a dead letter queue: reading it from its old end, and moving entries out of it.
//!
//! The newest entry is pushed at the head, so that a place counted from the tail stays an entry's own
//! until an older one is taken away. Whoever moves entries says what stands at their places; where that
//! changed nothing is done, and it is read again.

use mutt_engine::{Dlq, Result};
use mutt_redis::redis;

use crate::engine::Shared;
use crate::events::bytes;
use crate::{names, scripts};

/// The most entries that are read at once.
const READ: u64 = 1000;
/// The most bytes that are read or moved at once, unless a single entry is larger.
pub(crate) const BYTES: usize = 4 << 20;
/// Stands in the place of an entry for a moment, within one step. On a Redis whose disk kept only a
/// part of the step it can be met, and means nothing.
const GONE: &[u8] = br#"{"_dlq_gone":true}"#;

/// An entry at its place from the tail.
pub(crate) struct Placed {
    pub(crate) place: u64,
    pub(crate) entry: Vec<u8>,
}

/// Reads entries from the oldest to what was the newest when it began.
pub(crate) struct Reading<'a> {
    shared: &'a Shared,
    queue: Dlq,
    next: u64,
    end: u64,
}

impl<'a> Reading<'a> {
    /// Reads the places from `first` to before `end`.
    pub(crate) fn new(shared: &'a Shared, queue: Dlq, first: u64, end: u64) -> Self {
        Self {
            shared,
            queue,
            next: first,
            end,
        }
    }

    /// So many older entries were taken away: the others stand nearer to the tail.
    pub(crate) fn moved(&mut self, entries: u64) {
        self.next = self.next.saturating_sub(entries);
        self.end = self.end.saturating_sub(entries);
    }

    /// Entries that come next; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Vec<Placed>> {
        loop {
            let most = self.end.saturating_sub(self.next).min(READ);
            if most == 0 {
                return Ok(Vec::new());
            }
            let mut call = scripts::READ_LETTERS.call(&[self.queue.key()]);
            call.arg(self.next).arg(most).arg(BYTES);
            let items: Vec<redis::Value> = self.shared.run(&scripts::READ_LETTERS, &call).await?;
            let first = self.next;
            self.next += items.len() as u64;
            if items.is_empty() {
                // Somebody else took entries away.
                self.end = self.next;
            }
            let placed: Vec<_> = (first..)
                .zip(items)
                .map(|(place, item)| Placed {
                    place,
                    entry: bytes(item),
                })
                .filter(|placed| placed.entry != GONE)
                .collect();
            if !placed.is_empty() {
                return Ok(placed);
            }
        }
    }
}

/// The number of entries.
pub(crate) async fn depth(shared: &Shared, queue: Dlq) -> Result<u64> {
    let mut command = redis::cmd("LLEN");
    command.arg(queue.key());
    shared.call(&command).await
}

/// What is to be done with an entry.
pub(crate) struct Move {
    pub(crate) placed: Placed,
    /// The list it goes to and what it is there; `None` where it is thrown away.
    pub(crate) to: Option<(String, Vec<u8>)>,
}

impl Move {
    /// The bytes that travel.
    pub(crate) fn bytes(&self) -> usize {
        self.placed.entry.len() + self.to.as_ref().map_or(0, |(_, entry)| entry.len())
    }
}

/// Moves entries, which stand in the order of their places, in one step. False where one of them is not
/// at its place any more: then nothing was moved.
pub(crate) async fn move_all(shared: &Shared, queue: Dlq, moves: &[Move]) -> Result<bool> {
    if moves.is_empty() {
        return Ok(true);
    }
    let mut call = scripts::MOVE_LETTERS.call(&[queue.key()]);
    call.arg(names::WAKE).arg(GONE).arg(moves.len());
    for Move { placed, to } in moves {
        call.arg(placed.place).arg(&placed.entry);
        match to {
            Some((target, entry)) => call.arg(target).arg(entry),
            None => call.arg("").arg(""),
        };
    }
    let moved: i64 = shared.run(&scripts::MOVE_LETTERS, &call).await?;
    Ok(moved >= 0)
}
