//! `ingest_max_rate`: how many events may come in over HTTP per window.
//!
//! A batch is taken whole or not at all, and would never fit where the limit is smaller than it. So
//! a batch that begins within the limit is taken, and what it took too much is paid back first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use mutt_engine::{Dynamic, Engine, Limit, Permit};
use tokio::sync::watch;

/// The limit's name among those that pods share.
const NAME: &str = "ingestor";

pub(super) struct RateLimit {
    engine: Arc<dyn Engine>,
    dynamic: watch::Receiver<Arc<Dynamic>>,
    /// The limit as read from the values beside it: reading costs more than a request should.
    read: ArcSwapOption<(Arc<Dynamic>, Option<Limit>)>,
    /// Events taken beyond the limit; at most one window's worth.
    owed: AtomicU64,
}

impl RateLimit {
    pub(super) fn new(engine: Arc<dyn Engine>, dynamic: watch::Receiver<Arc<Dynamic>>) -> Self {
        Self {
            engine,
            dynamic,
            read: ArcSwapOption::empty(),
            owed: AtomicU64::new(0),
        }
    }

    /// Asks for `events` (≥ 1) events.
    ///
    /// # Errors
    /// Over the limit: how long to wait.
    pub(super) async fn take(&self, events: u64) -> Result<(), Duration> {
        let Some(limit) = self.limit() else {
            return Ok(());
        };
        let owed = self.owed.swap(0, Relaxed);
        let wanted = u32::try_from(owed + events).unwrap_or(u32::MAX);
        match self.engine.take_permits(NAME, limit, wanted).await {
            Ok(Permit::Granted(granted)) if u64::from(granted) > owed => {
                let short = u64::from(wanted - granted);
                self.owe(short.min(u64::from(limit.count)));
                Ok(())
            }
            Ok(Permit::Granted(granted)) => {
                let left = owed - u64::from(granted);
                self.owe(left);
                Err(limit
                    .period
                    .mul_f64((left + 1) as f64 / f64::from(limit.count))
                    .min(limit.period))
            }
            Ok(Permit::Wait(wait)) => {
                self.owe(owed);
                Err(wait)
            }
            // Where nothing can be counted nothing can be queued either, and that answer says more.
            Err(_) => Ok(()),
        }
    }

    fn owe(&self, events: u64) {
        if events > 0 {
            self.owed.fetch_add(events, Relaxed);
        }
    }

    fn limit(&self) -> Option<Limit> {
        let dynamic = self.dynamic.borrow();
        if let Some(read) = &*self.read.load()
            && Arc::ptr_eq(&read.0, &dynamic)
        {
            return read.1;
        }
        let count = u32::try_from(dynamic.integer("ingest_max_rate")).unwrap_or(u32::MAX);
        let limit = (count > 0).then(|| Limit {
            count,
            period: dynamic.seconds("ingest_rate_window"),
        });
        self.read.store(Some(Arc::new((dynamic.clone(), limit))));
        limit
    }
}
