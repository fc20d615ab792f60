//! What this process's engine did, for whoever looks at metrics. Counts only; decides nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use mutt_engine::WorkerKind;

/// Counts since the start of the process. Only grows.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    returned: [Count; 2],
    finished: [Count; 2],
    pub spooled: Count,
    pub drained: Count,
    pub not_spooled: Count,
}

/// A count that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn place(kind: WorkerKind) -> usize {
    match kind {
        WorkerKind::Alerter => 0,
        WorkerKind::Moog => 1,
    }
}

impl Tally {
    /// A claim whose worker could not end it went back to its queue.
    pub fn returned(&self, kind: WorkerKind) {
        self.returned[place(kind)].add(1);
    }

    /// A claim whose worker had applied it and could not end it was ended.
    pub fn finished(&self, kind: WorkerKind) {
        self.finished[place(kind)].add(1);
    }

    pub fn counts(&self, redis_losses: u64) -> Counts {
        let takeovers = |kind| Takeovers {
            returned: self.returned[place(kind)].get(),
            finished: self.finished[place(kind)].get(),
        };
        Counts {
            alerter_claims: takeovers(WorkerKind::Alerter),
            moog_claims: takeovers(WorkerKind::Moog),
            spooled: self.spooled.get(),
            drained: self.drained.get(),
            not_spooled: self.not_spooled.get(),
            redis_losses,
        }
    }
}

/// Claims that were ended in place of their worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Takeovers {
    /// Back to their queue.
    pub returned: u64,
    /// They had taken effect already, and what was missing was done.
    pub finished: u64,
}

/// What this process's engine did since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Claims of events ended here in place of their worker.
    pub alerter_claims: Takeovers,
    /// Claims of alerts ended here in place of their worker.
    pub moog_claims: Takeovers,
    /// Events put into the spool.
    pub spooled: u64,
    /// Events that went from the spool to Redis.
    pub drained: u64,
    /// Events refused because the spool could not take them.
    pub not_spooled: u64,
    /// Times that the connection to Redis was lost.
    pub redis_losses: u64,
}
