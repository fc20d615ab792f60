//! From a source of messages to durable batches: the loop that most listeners share.
//!
//! Batches form by nature: the next one fills while the last one commits. A batch that the engine
//! refuses is kept and offered again; meanwhile the source is not read, so that what waits in MUTT
//! stays bounded and the rest waits in the kernel or at the sender. Whatever is given up is counted
//! with its reason. Who owes an answer for an event hears what became of its batch. Knows neither
//! sockets nor protocols.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use mutt_engine::EngineError;
use mutt_event::Batch;
use tokio::task::coop::unconstrained;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::metrics::{Listener, RejectReason};

/// The most events in one batch: what the engine commits and a worker claims at once.
const MAX_EVENTS: usize = 1_000;

/// How long a batch that is not full waits for the commit before it. With the timer's own
/// millisecond an event waits at most 2 ms.
const LINGER: Duration = Duration::from_millis(1);

/// The first and the longest pause before a refused batch is offered again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));

/// Batches that are still filled from the source after the order to stop: enough for a full receive
/// buffer of the usual size, and an end in sight where the sender never pauses.
const LAST_BATCHES: usize = 64;

/// How long an engine that does not answer at all is waited for beyond the grace period.
pub(crate) const LAST_ANSWER: Duration = Duration::from_secs(1);

/// What becomes of events while the queue is full or nothing durable can be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// They are kept and the sender's socket is not read until they are taken.
    #[default]
    Backpressure,
    /// They are dropped and counted with the reason.
    Shed,
}

/// A batch in the making.
pub(crate) struct Forming {
    batch: Batch,
    /// Full from so many bytes on; one event may pass it.
    max_bytes: usize,
    /// Events and bytes of the batch before: the room that the next one starts with, once it does.
    /// A source that fell silent holds no memory.
    room: (usize, usize),
    owed: Option<Owed>,
}

/// Who is told what became of a batch.
pub(crate) trait Creditor: Send + Sync {
    /// The batch with the events of these numbers is durable, or (`stored` is false) some of it is
    /// given up.
    fn settled(&self, numbers: Vec<u64>, stored: bool);
}

/// Answers that are owed for events of a batch.
struct Owed {
    numbers: Vec<u64>,
    to: Arc<dyn Creditor>,
}

impl Forming {
    /// An empty batch that is full at `max_bytes`.
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            batch: Batch::new(),
            max_bytes,
            room: (0, 0),
            owed: None,
        }
    }

    /// `to` is to be told, by this number, what becomes of the batch.
    pub(crate) fn owe(&mut self, number: u64, to: &Arc<dyn Creditor>) {
        let owed = self.owed.get_or_insert_with(|| Owed {
            numbers: Vec::new(),
            to: Arc::clone(to),
        });
        owed.numbers.push(number);
    }

    /// Where the next event is written to.
    pub(crate) fn batch(&mut self) -> &mut Batch {
        if self.room.0 > 0 {
            self.batch = Batch::with_capacity(self.room.0, self.room.1);
            self.room = (0, 0);
        }
        &mut self.batch
    }

    /// Whether nothing more belongs into it.
    pub(crate) fn is_full(&self) -> bool {
        self.batch.len() >= MAX_EVENTS || self.batch.byte_len() >= self.max_bytes
    }

    /// Events in it.
    pub(crate) fn len(&self) -> usize {
        self.batch.len()
    }

    /// What is in it, to be sent on its way; the next batch is full at `max_bytes`.
    pub(crate) fn take_and_limit(&mut self, max_bytes: usize) -> Batch {
        self.max_bytes = max_bytes;
        self.take()
    }

    fn take(&mut self) -> Batch {
        self.room = (self.batch.len(), self.batch.byte_len());
        std::mem::take(&mut self.batch)
    }
}

/// What a source had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    /// Something, perhaps only part of a message; there may be more.
    Some,
    /// Nothing will come any more; all that came is in the batch.
    End,
    /// As `Some`, but the batch was full before all that came was in it.
    Full,
}

/// Where messages come from.
pub(crate) trait Intake: Send {
    /// Reads until the batch is full or the source has no more at the moment. `Pending` only when
    /// nothing at all was read and the batch has nothing new in it; the task is woken when there is
    /// more.
    ///
    /// # Errors
    /// The source is broken; what came before is in the batch.
    fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        forming: &mut Forming,
    ) -> Poll<io::Result<Filled>>;

    /// Puts what is left of an unfinished message into the batch: nothing follows.
    fn finish(&mut self, forming: &mut Forming);
}

/// Batches on their way into the queue.
pub(crate) struct Outbox {
    admission: Admission,
    listener: Listener,
    overflow: Overflow,
    depth: usize,
    under_way: Vec<UnderWay>,
    give_up: CancellationToken,
}

struct UnderWay {
    events: u64,
    delivery: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Outbox {
    /// Room for `depth` batches at a time. With 1, batches are taken strictly in order; with more,
    /// a refused batch may be overtaken.
    pub(crate) fn new(
        admission: Admission,
        listener: Listener,
        overflow: Overflow,
        depth: usize,
    ) -> Self {
        let give_up = CancellationToken::new();
        Self {
            admission,
            listener,
            overflow,
            depth,
            under_way: Vec::new(),
            give_up,
        }
    }

    /// Whether everything is settled.
    pub(crate) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    fn is_full(&self) -> bool {
        self.under_way.len() >= self.depth
    }

    /// Whether a batch can be pushed.
    pub(crate) fn has_room(&self) -> bool {
        !self.is_full()
    }

    /// Waits until there is room for a batch. Can be cancelled without harm.
    async fn room(&mut self) {
        while self.is_full() {
            self.settled().await;
        }
    }

    /// Sends what has formed on its way. There must be room. Never waits.
    async fn push_formed(&mut self, forming: &mut Forming) {
        let owed = forming.owed.take();
        self.push_owing(forming.take(), owed).await;
    }

    /// Sends a batch on its way. There must be room. Never waits.
    pub(crate) async fn push(&mut self, batch: Batch) {
        self.push_owing(batch, None).await;
    }

    async fn push_owing(&mut self, batch: Batch, owed: Option<Owed>) {
        debug_assert!(
            !self.is_full(),
            "a batch is pushed only where there is room"
        );
        let events = batch.len() as u64;
        let delivery = Delivery::new(
            self.admission.clone(),
            self.listener,
            self.overflow,
            batch,
            self.give_up.clone(),
        );
        let delivery = Box::pin(async move {
            let stored = delivery.finish().await;
            if let Some(owed) = owed {
                owed.to.settled(owed.numbers, stored);
            }
        });
        let mut under_way = UnderWay { events, delivery };
        // The first poll hands the batch to the engine, in the order of the batches.
        let done = poll_fn(|cx| Poll::Ready(under_way.delivery.as_mut().poll(cx).is_ready())).await;
        if !done {
            self.under_way.push(under_way);
        }
    }

    /// Waits until at least one batch is settled. Never ends while none is under way. Can be
    /// cancelled without harm.
    pub(crate) async fn settled(&mut self) {
        poll_fn(|cx| {
            if self.settle(cx) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Forgets what is settled by now, without waiting.
    pub(crate) async fn settle_now(&mut self) {
        poll_fn(|cx| {
            self.settle(cx);
            Poll::Ready(())
        })
        .await;
    }

    /// Whether any batch was settled.
    fn settle(&mut self, cx: &mut Context<'_>) -> bool {
        let before = self.under_way.len();
        self.under_way
            .retain_mut(|batch| batch.delivery.as_mut().poll(cx).is_pending());
        self.under_way.len() < before
    }

    async fn all_settled(&mut self) {
        while !self.is_empty() {
            self.settled().await;
        }
    }

    /// Ends deliveries that wait to try again, and counts what they hold.
    pub(crate) async fn abandon(&mut self) {
        self.give_up.cancel();
        if timeout(LAST_ANSWER, self.all_settled()).await.is_err() {
            let events = self.under_way.drain(..).map(|batch| batch.events).sum();
            self.count_lost(RejectReason::StoreError, events);
        }
    }

    /// Counts events that are given up.
    pub(crate) fn count_lost(&self, reason: RejectReason, events: u64) {
        if events == 0 {
            return;
        }
        let metrics = self.admission.metrics();
        metrics.failed(reason).inc();
        metrics
            .listener(self.listener)
            .rejected(reason)
            .inc_by(events);
    }
}

/// One batch that is being brought into the queue.
pub(crate) struct Delivery {
    admission: Admission,
    listener: Listener,
    overflow: Overflow,
    /// What is not durable yet.
    batch: Batch,
    /// The queue had room for a part only: the rest waits before it is offered.
    short: bool,
    give_up: CancellationToken,
}

impl Delivery {
    /// A batch to deliver. After `give_up` it is not tried again.
    pub(crate) fn new(
        admission: Admission,
        listener: Listener,
        overflow: Overflow,
        batch: Batch,
        give_up: CancellationToken,
    ) -> Self {
        Self {
            admission,
            listener,
            overflow,
            batch,
            short: false,
            give_up,
        }
    }

    /// Events that are not durable yet.
    pub(crate) fn left(&self) -> usize {
        self.batch.len()
    }

    /// Waits until the batch is durable, or as much from its front as there is room for, and returns
    /// how many events that were. `None` when the rest is given up, and counted: at once when it is
    /// to be shed or can never be taken, else only after `give_up`.
    pub(crate) async fn advance(&mut self) -> Option<usize> {
        let mut pause = BACKOFF.0;
        if self.short {
            self.pause(&mut pause).await;
        }
        loop {
            let events = self.batch.len();
            // The engine consumes what it is offered, also when it refuses: keep a copy.
            let offer = self.admission.admit(self.listener, self.batch.clone());
            let Err(error) = offer.await else {
                self.admission.metrics().succeeded().inc();
                self.batch = Batch::new();
                return Some(events);
            };
            if let Some(head) = head_that_fits(&error, &self.batch) {
                let taken = head.len();
                if self.admission.admit(self.listener, head).await.is_ok() {
                    self.batch = self.batch.iter().skip(taken).collect();
                    self.short = true;
                    return Some(taken);
                }
            }
            let hopeless = !error.is_temporary() && !matches!(error, EngineError::Unusable(_));
            if hopeless || self.overflow == Overflow::Shed || self.give_up.is_cancelled() {
                self.count_refused(&error);
                if hopeless {
                    let listener = self.listener.name();
                    tracing::error!(listener, events, %error, "events cannot be stored");
                }
                return None;
            }
            self.pause(&mut pause).await;
        }
    }

    /// Waits before the next offer, longer each time.
    async fn pause(&self, pause: &mut Duration) {
        tokio::select! {
            () = sleep(*pause) => *pause = (*pause * 2).min(BACKOFF.1),
            () = self.give_up.cancelled() => {}
        }
    }

    fn count_refused(&self, error: &EngineError) {
        let reason = RejectReason::from(error);
        let metrics = self.admission.metrics();
        metrics.failed(reason).inc();
        metrics
            .listener(self.listener)
            .rejected(reason)
            .inc_by(self.batch.len() as u64);
    }

    /// Brings all of it into the queue, or gives the rest up. Returns whether all of it is there.
    async fn finish(mut self) -> bool {
        while self.left() > 0 {
            if self.advance().await.is_none() {
                return false;
            }
        }
        true
    }
}

/// The first events of a batch that is longer than the queue has room for, so that a large batch
/// gets through a short queue too.
fn head_that_fits(error: &EngineError, batch: &Batch) -> Option<Batch> {
    let EngineError::Full { depth, limit } = error else {
        return None;
    };
    let room = usize::try_from(limit.saturating_sub(*depth)).unwrap_or(usize::MAX);
    (0 < room && room < batch.len()).then(|| batch.iter().take(room).collect())
}

/// Moves everything from the source into the queue until the source ends or `stop` is cancelled;
/// then what was read already, within `grace`, and then returns. `max_bytes` is asked before each
/// batch and bounds it.
///
/// # Errors
/// The source broke; what it had given before is in the queue or counted.
pub(crate) async fn pump<I: Intake>(
    source: &mut I,
    outbox: &mut Outbox,
    stop: &CancellationToken,
    grace: Duration,
    max_bytes: impl Fn() -> usize,
) -> io::Result<()> {
    let mut forming = Forming::new(max_bytes());
    let result = {
        let mut stopped = pin!(stop.cancelled());
        loop {
            let filled = tokio::select! {
                biased;
                () = outbox.settled(), if !outbox.is_empty() => continue,
                filled = poll_fn(|cx| source.poll_fill(cx, &mut forming)) => filled,
                () = &mut stopped => break Ok(()),
            };
            let mut filled = match filled {
                Ok(Filled::End) => break Ok(()),
                Ok(filled) => filled,
                Err(error) => break Err(error),
            };
            // While the source stays silent, what it gave goes as soon as the commit before it is
            // through; meanwhile it is left alone, so that more comes with fewer wake-ups.
            if filled != Filled::Full && !forming.batch.is_empty() && !outbox.is_empty() {
                tokio::select! {
                    () = outbox.settled() => {}
                    () = sleep(LINGER) => {}
                    () = &mut stopped => break Ok(()),
                }
                match fill_now(source, &mut forming).await {
                    Ok(now) => filled = now.unwrap_or(filled),
                    Err(error) => break Err(error),
                }
            }
            tokio::select! {
                biased;
                () = outbox.room() => {}
                () = &mut stopped => {}
            }
            if stop.is_cancelled() || filled == Filled::End {
                break Ok(());
            }
            if !forming.batch.is_empty() {
                outbox.push_formed(&mut forming).await;
                forming.max_bytes = max_bytes();
            }
        }
    };
    finish(source, outbox, forming, stop, grace).await;
    result
}

/// What the source has at this moment, without waiting; `None` when it has nothing.
async fn fill_now<I: Intake>(source: &mut I, forming: &mut Forming) -> io::Result<Option<Filled>> {
    poll_fn(|cx| {
        Poll::Ready(match source.poll_fill(cx, forming) {
            Poll::Ready(filled) => filled.map(Some),
            Poll::Pending => Ok(None),
        })
    })
    .await
}

/// Brings what was received into the queue. Without an order to stop there is no hurry: as long as
/// the engine refuses, the batches wait.
async fn finish<I: Intake>(
    source: &mut I,
    outbox: &mut Outbox,
    mut forming: Forming,
    stop: &CancellationToken,
    grace: Duration,
) {
    let in_order = async {
        for _ in 0..LAST_BATCHES {
            if forming.is_full() {
                outbox.room().await;
                outbox.push_formed(&mut forming).await;
            }
            // Not held to a task's budget: its end would look like a source that has no more.
            let filled = unconstrained(fill_now(source, &mut forming)).await;
            if !matches!(filled, Ok(Some(Filled::Some | Filled::Full))) {
                break;
            }
        }
        source.finish(&mut forming);
        if !forming.batch.is_empty() {
            outbox.room().await;
            outbox.push_formed(&mut forming).await;
        }
        outbox.all_settled().await;
    };
    let grace_over = async {
        stop.cancelled().await;
        sleep(grace).await;
    };
    tokio::select! {
        () = in_order => return,
        () = grace_over => {}
    }
    outbox.abandon().await;
    outbox.count_lost(RejectReason::StoreError, forming.batch.len() as u64);
}
