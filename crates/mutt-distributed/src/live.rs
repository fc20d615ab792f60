//! Announcements between processes, over pub/sub.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mutt_engine::live::{Changed, Live, LiveBatch};
use mutt_redis::redis;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, broadcast};

use crate::engine::{Distributed, Shared};
use crate::names;

/// Announcements that wait for a slow listener.
const BACKLOG: usize = 256;

/// Who listens here, and whether anybody does elsewhere.
pub struct Hub {
    pub changes: broadcast::Sender<Changed>,
    pub live: broadcast::Sender<Arc<LiveBatch>>,
    /// Other processes watch.
    pub watched_elsewhere: AtomicBool,
    /// Somebody here began to watch.
    pub watching: Notify,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            changes: broadcast::Sender::new(BACKLOG),
            live: broadcast::Sender::new(BACKLOG),
            watched_elsewhere: AtomicBool::new(false),
            watching: Notify::new(),
        }
    }
}

/// A batch with who shows it: whoever showed it has seen it.
#[derive(Serialize)]
struct Shown<'a> {
    by: &'a str,
    batch: &'a LiveBatch,
}

#[derive(Deserialize)]
struct Seen {
    by: String,
    batch: LiveBatch,
}

impl Live for Distributed {
    fn changes(&self) -> broadcast::Receiver<Changed> {
        self.shared.hub.changes.subscribe()
    }

    fn watch(&self) -> broadcast::Receiver<Arc<LiveBatch>> {
        let receiver = self.shared.hub.live.subscribe();
        self.shared.hub.watching.notify_one();
        receiver
    }

    fn is_watched(&self) -> bool {
        let hub = &self.shared.hub;
        hub.live.receiver_count() > 0 || hub.watched_elsewhere.load(Ordering::Relaxed)
    }

    fn show(&self, batch: LiveBatch) {
        let batch = Arc::new(batch);
        let shared = Arc::clone(&self.shared);
        if shared.hub.watched_elsewhere.load(Ordering::Relaxed) {
            let batch = Arc::clone(&batch);
            self.tasks.spawn(async move {
                let shown = Shown {
                    by: &shared.instance,
                    batch: &batch,
                };
                let payload = serde_json::to_vec(&shown).expect("a batch is plain data");
                let mut publish = redis::cmd("PUBLISH");
                publish.arg(names::LIVE).arg(payload);
                // A sample that is lost is lost.
                let _ = shared.redis.call::<u64>(&publish).await;
            });
        }
        // Nobody here may be watching.
        let _ = self.shared.hub.live.send(batch);
    }
}

impl Shared {
    /// What another process shows.
    pub fn seen(&self, payload: &[u8]) {
        if let Ok(seen) = serde_json::from_slice::<Seen>(payload)
            && seen.by != self.instance
        {
            let _ = self.hub.live.send(Arc::new(seen.batch));
        }
    }

    /// Tells every process, this one included.
    pub async fn announce(&self, change: &Changed) {
        let mut publish = redis::cmd("PUBLISH");
        match change {
            Changed::Catalog => publish.arg(names::CONFIG_RELOAD).arg("catalog"),
            Changed::Config(key) => publish.arg(names::CONFIG_UPDATES).arg(key),
        };
        if let Err(error) = self.call::<u64>(&publish).await {
            tracing::warn!(%error, "a change could not be announced; the others find it within minutes");
            let _ = self.hub.changes.send(change.clone());
        }
    }
}
