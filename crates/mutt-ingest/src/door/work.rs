//! What the door does on its own: follows settings and files, looks after floods, and brings what it
//! made itself (notices, events that stand for repeats) into the queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mutt_engine::Dynamic;
use mutt_event::Batch;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::dedup::{Folded, Windows};
use super::{Door, add_folded};
use crate::admission::Admission;
use crate::metrics::{Listener, ListenerMetrics, RejectReason};
use crate::pump::{Outbox, Overflow};

/// How often windows and floods are looked at.
const TICK: Duration = Duration::from_millis(250);
/// Ticks between two looks at the floods, and between two looks at the files.
const TICKS: (u32, u32) = (4, 20);
/// Batches of one listener under way at a time.
const BATCHES_UNDER_WAY: usize = 2;

impl Door {
    /// Works until `stop` is cancelled; then waits until the listeners are done, for `grace` at most,
    /// and brings what is left into the queue, for `grace` again.
    pub async fn run(
        self,
        admission: Admission,
        mut dynamic: watch::Receiver<Arc<Dynamic>>,
        stop: CancellationToken,
        grace: Duration,
    ) {
        self.apply(&dynamic.borrow_and_update());
        let mut outgoing: Vec<_> = Listener::ALL
            .into_iter()
            .map(|listener| Outgoing::new(&self, &admission, listener))
            .collect();
        let mut followed = true;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut count = 0_u32;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                changed = dynamic.changed(), if followed => {
                    // Without a sender the last values hold.
                    followed = changed.is_ok();
                    let settings = Arc::clone(&dynamic.borrow_and_update());
                    self.follow(&settings, &mut outgoing).await;
                    continue;
                }
                _ = ticks.tick() => {}
            }
            count = count.wrapping_add(1);
            for listener in &mut outgoing {
                listener.bring(|windows| windows.over(Instant::now())).await;
            }
            if count.is_multiple_of(TICKS.0) {
                self.look_at_floods();
                self.store_notices(&admission).await;
            }
            if count.is_multiple_of(TICKS.1) {
                // They may lie on a network file system that hangs.
                let door = self.clone();
                let _ = tokio::task::spawn_blocking(move || door.reload_if(false)).await;
            }
        }
        self.0.gates.close();
        if timeout(grace, self.0.gates.wait()).await.is_err() {
            tracing::warn!(
                "some listeners did not end in time; repeats that they still bring are lost"
            );
        }
        let flushed = async {
            for listener in &mut outgoing {
                listener.flush().await;
            }
            self.store_notices(&admission).await;
        };
        if timeout(grace, flushed).await.is_ok() {
            return;
        }
        let mut lost = 0;
        for listener in &mut outgoing {
            lost += listener.give_up().await;
        }
        tracing::error!(
            repeats = lost,
            "what could not be stored before the end is lost and counted"
        );
    }

    /// New settings: windows that are open under the old ones end.
    async fn follow(&self, dynamic: &Dynamic, outgoing: &mut [Outgoing]) {
        let before = self.0.setup.load().repeats;
        self.apply(dynamic);
        if before.is_some() && before != self.0.setup.load().repeats {
            for listener in outgoing {
                listener.bring(Windows::all).await;
            }
        }
    }

    fn look_at_floods(&self) {
        let inner = &*self.0;
        for notice in inner.floods.look(Instant::now()) {
            inner.notify(notice);
        }
        let floods = inner.floods.count();
        inner
            .metrics
            .floods
            .set(i64::try_from(floods).unwrap_or(i64::MAX));
    }

    /// Stores what there is to say; what the engine does not take waits for the next time.
    async fn store_notices(&self, admission: &Admission) {
        let notices = std::mem::take(&mut *self.0.notices.lock());
        if notices.is_empty() {
            return;
        }
        let mut batch = Batch::new();
        for notice in &notices {
            batch.push_with(|out| notice.write(out));
        }
        match admission.admit_own(batch).await {
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "notices of the door wait");
                let mut waiting = self.0.notices.lock();
                let since = std::mem::replace(&mut *waiting, notices);
                waiting.extend(since);
                waiting.truncate(super::MAX_NOTICES);
            }
        }
    }
}

/// What goes into the queue on behalf of one listener.
struct Outgoing {
    door: Door,
    listener: Listener,
    outbox: Outbox,
}

impl Outgoing {
    fn new(door: &Door, admission: &Admission, listener: Listener) -> Self {
        Self {
            door: door.clone(),
            listener,
            outbox: Outbox::new(
                admission.clone(),
                listener,
                Overflow::Backpressure,
                BATCHES_UNDER_WAY,
            ),
        }
    }

    /// Sends events for windows that `end` ends on their way, as long as there is room. While there is
    /// none the windows stay, and where they are too many they leave with the listener's own batches.
    async fn bring(&mut self, end: impl Fn(&mut Windows) -> Vec<Folded>) {
        self.outbox.settle_now().await;
        while self.outbox.has_room() {
            let folded = {
                let mut windows = self.door.0.windows[self.listener as usize].lock();
                let folded = end(&mut windows);
                let held = i64::try_from(windows.held()).unwrap_or(i64::MAX);
                self.counters().repeats_held.set(held);
                folded
            };
            if folded.is_empty() {
                return;
            }
            let mut batch = Batch::new();
            for event in &folded {
                add_folded(self.counters(), &mut batch, event);
            }
            self.outbox.push(batch).await;
        }
    }

    /// Brings everything into the queue, however long that takes.
    async fn flush(&mut self) {
        loop {
            self.bring(Windows::all).await;
            if self.outbox.is_empty() {
                return;
            }
            self.outbox.settled().await;
        }
    }

    /// Counts as lost what is left. Returns how many repeats have not even become an event.
    async fn give_up(&mut self) -> u64 {
        self.outbox.abandon().await;
        let held = self.door.0.windows[self.listener as usize].lock().held();
        self.outbox.count_lost(RejectReason::StoreError, held);
        held
    }

    fn counters(&self) -> &ListenerMetrics {
        self.door.0.metrics.listener(self.listener)
    }
}
