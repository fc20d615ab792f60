//! What waits for the writing thread.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;
use tokio::sync::OwnedSemaphorePermit;

use super::blocks;
use crate::error::{EngineError, Result};

/// The most bytes of work in one commit: what bounds how long its first caller waits.
const COMMIT_BYTES: usize = 4 << 20;

/// One piece of work.
pub(super) trait Job: Send {
    /// Does the work on the open transaction. An error undoes what it did there.
    fn execute(&mut self, tx: &Connection) -> Result<()>;
    /// Hears how it ended (after the commit), changes memory and answers.
    fn finish(self: Box<Self>, result: Result<()>);
}

/// What waits in the inbox.
pub(super) enum Work {
    /// Anything.
    Job(Box<dyn Job>),
    /// Events for the queue: all of one commit go into as few rows as possible.
    Enqueue(blocks::Enqueue),
}

pub(super) struct Entry {
    pub(super) work: Work,
    pub(super) bytes: usize,
    pub(super) _room: OwnedSemaphorePermit,
}

#[derive(Default)]
pub(super) struct Inbox {
    entries: Mutex<Entries>,
    wake: Condvar,
}

#[derive(Default)]
struct Entries {
    waiting: VecDeque<Entry>,
    sleeping: bool,
    closing: Option<Closing>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Closing {
    /// What waits is still done, and the log is copied back.
    InOrder,
    /// As a crash would do it: the log is left for the next start.
    AtOnce,
}

impl Inbox {
    /// Leaves an entry for the writing thread.
    pub(super) fn push(&self, entry: Entry) -> Result<()> {
        let mut entries = self.entries.lock();
        if entries.closing.is_some() {
            return Err(closed());
        }
        entries.waiting.push_back(entry);
        if entries.sleeping {
            entries.sleeping = false;
            drop(entries);
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Takes nothing more from now on.
    pub(super) fn close(&self, how: Closing) {
        self.entries.lock().closing.get_or_insert(how);
        self.wake.notify_one();
    }

    /// Moves the next commit's work into `group`; leaves it empty where none came within `patience`.
    /// Returns how the inbox closed once it is closed and empty.
    pub(super) fn next(&self, group: &mut Vec<Entry>, patience: Duration) -> Option<Closing> {
        let mut entries = self.entries.lock();
        if entries.waiting.is_empty() && entries.closing.is_none() && !patience.is_zero() {
            entries.sleeping = true;
            self.wake.wait_for(&mut entries, patience);
            entries.sleeping = false;
        }
        if entries.waiting.is_empty() {
            return entries.closing;
        }
        let mut bytes = 0;
        while let Some(entry) = entries.waiting.front() {
            if !group.is_empty() && bytes + entry.bytes > COMMIT_BYTES {
                break;
            }
            bytes += entry.bytes;
            group.extend(entries.waiting.pop_front());
        }
        None
    }

    /// Pieces of work that wait.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.lock().waiting.len()
    }
}

/// However the thread ends, also by a mistake: who waits hears of it instead of waiting for ever.
pub(super) struct ClosedWithThread(pub(super) Arc<Inbox>);

impl Drop for ClosedWithThread {
    fn drop(&mut self) {
        let left = {
            let mut entries = self.0.entries.lock();
            entries.closing.get_or_insert(Closing::AtOnce);
            std::mem::take(&mut entries.waiting)
        };
        if !left.is_empty() {
            tracing::error!(
                pieces = left.len(),
                "the writing thread ended before its work"
            );
        }
    }
}

/// What callers hear after the end.
pub(super) fn closed() -> EngineError {
    EngineError::Unavailable("the engine is closed".to_owned())
}
