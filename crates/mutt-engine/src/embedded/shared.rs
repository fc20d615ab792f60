//! What the writing thread and the callers know together: queues in memory, depths, announcements.
//!
//! Locks are held for a few instructions and never across I/O or an await.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast};

use super::alert_state::AlertState;
use super::event_state::EventState;
use crate::dead_letters::Dlq;
use crate::live::{Changed, LiveBatch};

/// Announcements that a slow receiver may be behind.
const CHANGES: usize = 256;
/// Samples that a slow watcher may be behind.
const SAMPLES: usize = 16;

/// See the module.
pub(super) struct Shared {
    /// Whether this process claims (a server), so that queues are kept in memory at all.
    pub(super) claims: bool,
    pub(super) events: Mutex<EventState>,
    pub(super) event_arrived: Notify,
    /// Events waiting, as last published by [`Shared::with_events`].
    pub(super) event_depth: AtomicU64,
    /// Events on their way into the queue.
    pub(super) enqueuing: AtomicU64,
    pub(super) queue_limit: AtomicU64,
    pub(super) alerts: Mutex<AlertState>,
    pub(super) alert_arrived: Notify,
    pub(super) alert_depth: AtomicU64,
    dead: [AtomicU64; Dlq::ALL.len()],
    /// Rows in `unhandled` that name a signature, about.
    pub(super) signatures: AtomicU64,
    /// The last row of `config_audit_log`, and the last request to reload, that were announced.
    pub(super) announced: (AtomicI64, AtomicI64),
    pub(super) changes: broadcast::Sender<Changed>,
    pub(super) samples: broadcast::Sender<Arc<LiveBatch>>,
    pub(super) health: Health,
    pub(super) closed: AtomicBool,
    pub(super) clock: Clock,
}

impl Shared {
    pub(super) fn new(claims: bool) -> Self {
        Self {
            claims,
            events: Mutex::default(),
            event_arrived: Notify::new(),
            event_depth: AtomicU64::new(0),
            enqueuing: AtomicU64::new(0),
            queue_limit: AtomicU64::new(u64::MAX),
            alerts: Mutex::default(),
            alert_arrived: Notify::new(),
            alert_depth: AtomicU64::new(0),
            dead: Default::default(),
            signatures: AtomicU64::new(0),
            announced: (AtomicI64::new(0), AtomicI64::new(0)),
            changes: broadcast::Sender::new(CHANGES),
            samples: broadcast::Sender::new(SAMPLES),
            health: Health::default(),
            closed: AtomicBool::new(false),
            clock: Clock::start(),
        }
    }

    /// Changes the event queue in memory, publishes its depth and wakes a worker where something
    /// waits.
    pub(super) fn with_events<T>(&self, change: impl FnOnce(&mut EventState) -> T) -> T {
        let mut events = self.events.lock();
        let result = change(&mut events);
        let depth = events.depth();
        self.event_depth.store(depth, Ordering::Release);
        drop(events);
        if depth > 0 {
            self.event_arrived.notify_one();
        }
        result
    }

    /// Changes the alert queue in memory, publishes its depth and wakes a worker where something
    /// waits that need not wait for its time. (Who adds a retry wakes all, so that they look at the
    /// clock again.)
    pub(super) fn with_alerts<T>(&self, change: impl FnOnce(&mut AlertState) -> T) -> T {
        let mut alerts = self.alerts.lock();
        let result = change(&mut alerts);
        self.alert_depth.store(alerts.depth(), Ordering::Release);
        let fresh = alerts.has_fresh();
        drop(alerts);
        if fresh {
            self.alert_arrived.notify_one();
        }
        result
    }

    /// The number of entries of a dead letter queue.
    pub(super) fn dead(&self, queue: Dlq) -> &AtomicU64 {
        &self.dead[queue as usize]
    }

    /// Tells whoever keeps a copy. Nobody listening is no mistake.
    pub(super) fn announce(&self, change: Changed) {
        let _ = self.changes.send(change);
    }
}

/// The longest that an alert waits which an earlier process left: a `due` further away was written
/// while the clock was ahead.
const LONGEST_LEFT: i64 = 3600 * 1_000_000;

/// Time that passes evenly, counted in µs from what the computer's clock said at the start. What
/// waits for its time is neither held up nor hurried where that clock is set.
#[derive(Debug)]
pub(super) struct Clock {
    start: Instant,
    wall: i64,
}

impl Clock {
    fn start() -> Self {
        Self {
            start: Instant::now(),
            wall: Timestamp::now().as_microsecond(),
        }
    }

    pub(super) fn now(&self) -> i64 {
        let passed = i64::try_from(self.start.elapsed().as_micros()).unwrap_or(i64::MAX);
        self.wall.saturating_add(passed)
    }

    /// This clock's time for one that the computer's clock will show.
    pub(super) fn at(&self, wall: i64) -> i64 {
        let left = wall.saturating_sub(Timestamp::now().as_microsecond());
        self.now().saturating_add(left)
    }

    /// As [`Clock::at`], for a time that an earlier process wrote down.
    pub(super) fn at_written(&self, wall: i64) -> i64 {
        self.at(wall).min(self.now().saturating_add(LONGEST_LEFT))
    }
}

/// How the last commits went.
#[derive(Debug, Default)]
pub(super) struct Health {
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    committed: Option<Instant>,
    failed: bool,
}

impl Health {
    pub(super) fn committed(&self) {
        *self.last.lock() = Last {
            committed: Some(Instant::now()),
            failed: false,
        };
    }

    /// Notes a failed commit; whether the one before went well, so that a long outage is reported
    /// once.
    pub(super) fn failed(&self) -> bool {
        let mut last = self.last.lock();
        !std::mem::replace(&mut last.failed, true)
    }

    /// Whether the last commit failed.
    pub(super) fn is_failing(&self) -> bool {
        self.last.lock().failed
    }

    /// Whether the last commit went well and is no older than `age`.
    pub(super) fn is_fresh(&self, age: Duration) -> bool {
        let last = self.last.lock();
        !last.failed && last.committed.is_some_and(|at| at.elapsed() <= age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600 * 1_000_000;

    #[test]
    fn a_clock_that_is_set_moves_nothing() {
        for set_by in [-HOUR, 0, HOUR] {
            let mut clock = Clock::start();
            clock.wall -= set_by;
            let left = clock.at(Timestamp::now().as_microsecond() + 2 * HOUR) - clock.now();
            assert!((HOUR..=2 * HOUR).contains(&left), "{left} after {set_by}");
            let left = clock.at_written(i64::MAX) - clock.now();
            assert!(left <= HOUR, "{left}");
        }
    }
}
