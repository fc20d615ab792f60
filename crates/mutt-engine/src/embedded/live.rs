//! Announcements within this process. What another process changes is announced by `foreign`.

use std::sync::Arc;

use tokio::sync::broadcast;

use super::Embedded;
use crate::live::{Changed, Live, LiveBatch};

impl Live for Embedded {
    fn changes(&self) -> broadcast::Receiver<Changed> {
        self.shared.changes.subscribe()
    }

    fn watch(&self) -> broadcast::Receiver<Arc<LiveBatch>> {
        self.shared.samples.subscribe()
    }

    fn is_watched(&self) -> bool {
        self.shared.samples.receiver_count() > 0
    }

    fn show(&self, batch: LiveBatch) {
        // Nobody watching is no mistake.
        let _ = self.shared.samples.send(Arc::new(batch));
    }
}
