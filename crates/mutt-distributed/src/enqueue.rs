//! Events on their way into the queue.
//!
//! One task takes what all callers hand in while the last push was out, and pushes it in one script:
//! batches form by themselves, and order holds. A push carries a number; pushing it again changes
//! nothing. While Redis cannot be reached, and until what was spooled then has been pushed, events go
//! to the spool of this process, where it has one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use mutt_engine::{DeadLetter, Dlq, EngineError, Result};
use mutt_event::Batch;
use mutt_redis::Cmd;
use mutt_spool::{Spool, Spooled};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use crate::engine::{Shared, closed, unavailable};
use crate::envelope::{self, History};
use crate::{counters, names, scripts};

/// What a caller hands in.
pub struct Request {
    batch: Batch,
    rejects: Vec<DeadLetter>,
    answer: oneshot::Sender<Result<u64>>,
}

impl Request {
    fn bytes(&self) -> usize {
        let rejects: usize = self.rejects.iter().map(|letter| letter.element.len()).sum();
        self.batch.byte_len() + rejects
    }
}

/// The most events and bytes in one push, unless one caller hands in more.
const PUSH_EVENTS: usize = 4096;
const PUSH_BYTES: usize = 4 << 20;
/// Callers that wait in line for the task.
const LINE: usize = 1024;
/// How long a push may take before the spool takes it, where there is one.
const HURRY: Duration = Duration::from_secs(1);
/// How long the number of an ingestor's last push is remembered, in s.
const REMEMBER_PUSH: u64 = 24 * 3600;
/// The same for a spool, which may be found again after long.
const REMEMBER_SPOOL: u64 = 90 * 24 * 3600;
/// How long replicas may take before an event is not acknowledged.
const REPLICAS: Duration = Duration::from_secs(2);
/// How often a push without a spool behind it is repeated.
const REPEATS: u32 = 2;
/// How long draining, or a repeated push, waits after Redis refused or went away.
const PAUSE: Duration = Duration::from_millis(200);

/// Hands events in.
pub async fn submit(
    line: &mpsc::Sender<Request>,
    batch: Batch,
    rejects: Vec<DeadLetter>,
) -> Result<u64> {
    let (answer, answered) = oneshot::channel();
    let request = Request {
        batch,
        rejects,
        answer,
    };
    line.send(request).await.map_err(|_| closed())?;
    answered.await.map_err(|_| closed())?
}

/// Starts the task.
pub fn spawn(shared: &Arc<Shared>, tasks: &TaskTracker) -> mpsc::Sender<Request> {
    let (line, requests) = mpsc::channel(LINE);
    let pusher = Pusher {
        shared: Arc::clone(shared),
        pushes: 0,
        depth: AtomicU64::new(0),
    };
    tasks.spawn(pusher.run(requests));
    line
}

fn refuse(group: Vec<Request>, error: &EngineError) {
    for request in group {
        let answer = match *error {
            EngineError::SpoolFull { bytes, limit } => EngineError::SpoolFull { bytes, limit },
            _ => EngineError::Unavailable(error.to_string()),
        };
        let _ = request.answer.send(Err(answer));
    }
}

/// What became of a push.
enum Pushed {
    /// It is in the queue, which holds so many events.
    Done(u64),
    /// The queue is full, with so many events.
    Full(u64),
    /// What goes up to this number was pushed before.
    Before(u64),
}

struct Pusher {
    shared: Arc<Shared>,
    /// Pushes so far, where there is no spool to number them.
    pushes: u64,
    /// The queue's depth as last seen.
    depth: AtomicU64,
}

impl Pusher {
    async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut line = VecDeque::new();
        let closed = self.shared.closed.clone();
        loop {
            let spooled = self.shared.spool.clone().filter(|spool| !spool.is_empty());
            if line.is_empty() && spooled.is_none() {
                tokio::select! {
                    biased;
                    () = closed.cancelled() => return,
                    request = requests.recv() => match request {
                        Some(request) => line.push_back(request),
                        None => return,
                    },
                }
            }
            while line.len() < LINE
                && let Ok(request) = requests.try_recv()
            {
                line.push_back(request);
            }
            if closed.is_cancelled() {
                return;
            }
            match (spooled, self.shared.spool.clone()) {
                // What came first goes first: behind what is spooled everything is spooled.
                (Some(spool), _) => {
                    self.spool(&spool, line.drain(..)).await;
                    if !self.drain_beside(&spool, &mut requests).await {
                        tokio::select! {
                            () = closed.cancelled() => return,
                            () = tokio::time::sleep(PAUSE) => {}
                            Some(request) = requests.recv() => line.push_back(request),
                        }
                    }
                }
                (None, Some(spool)) if !self.shared.is_open() => {
                    tracing::warn!("Redis is away: events are spooled here until it is back");
                    self.spool(&spool, line.drain(..)).await;
                }
                (None, spool) => self.push_group(&mut line, spool.as_ref()).await,
            }
        }
    }

    /// Pushes what stands first in line.
    async fn push_group(&mut self, line: &mut VecDeque<Request>, spool: Option<&Arc<Spool>>) {
        let mut group = Vec::new();
        let (mut events, mut bytes) = (0, 0);
        while let Some(request) = line.front() {
            events += request.batch.len() + request.rejects.len();
            bytes += request.bytes();
            if !group.is_empty() && (events > PUSH_EVENTS || bytes > PUSH_BYTES) {
                break;
            }
            group.extend(line.pop_front());
        }
        let number = match self.number(spool) {
            Ok(number) => number,
            Err(error) => return refuse(group, &error),
        };
        match self.push(number, &group, spool).await {
            Ok(Pushed::Full(_)) if group.len() > 1 => {
                // Together they do not fit; some of them may.
                let mut group = group.into_iter();
                while let Some(request) = group.next() {
                    self.push_alone(request, spool).await;
                    if let Some(spool) = spool.filter(|spool| !spool.is_empty()) {
                        // What comes behind it must not go past it: with a higher number, it would
                        // pass for pushed.
                        return self.spool(spool, group).await;
                    }
                }
            }
            Err(error) => match spool {
                Some(spool) => {
                    tracing::warn!(%error, "events are spooled until Redis is back");
                    self.spool_as(spool, number, group).await;
                }
                None => refuse(group, &error),
            },
            Ok(pushed) => self.answer(group, &pushed),
        }
    }

    async fn push_alone(&mut self, request: Request, spool: Option<&Arc<Spool>>) {
        let group = vec![request];
        let number = match self.number(spool) {
            Ok(number) => number,
            Err(error) => return refuse(group, &error),
        };
        match (self.push(number, &group, spool).await, spool) {
            (Ok(pushed), _) => self.answer(group, &pushed),
            (Err(_), Some(spool)) => self.spool_as(spool, number, group).await,
            (Err(error), None) => refuse(group, &error),
        }
    }

    fn answer(&self, group: Vec<Request>, pushed: &Pushed) {
        let limit = self.shared.limit();
        if let Pushed::Done(depth) = *pushed {
            self.depth.store(depth, Ordering::Relaxed);
        }
        for request in group {
            let _ = request.answer.send(match *pushed {
                Pushed::Done(_) | Pushed::Before(_) => Ok(self.depth.load(Ordering::Relaxed)),
                Pushed::Full(depth) => Err(EngineError::Full { depth, limit }),
            });
        }
    }

    /// The number under which something is pushed, or spooled where that fails.
    fn number(&mut self, spool: Option<&Arc<Spool>>) -> Result<u64> {
        if let Some(spool) = spool {
            spool.number()
        } else {
            self.pushes += 1;
            Ok(self.pushes)
        }
    }

    /// Under which key the numbers of pushes are remembered, and for how long, in s.
    fn numbered(&self) -> (String, u64) {
        match &self.shared.spool {
            Some(spool) => {
                let id = spool.id().simple().to_string();
                (names::spooled(&id), REMEMBER_SPOOL)
            }
            None => (names::enqueued(&self.shared.instance), REMEMBER_PUSH),
        }
    }

    async fn push(
        &self,
        number: u64,
        group: &[Request],
        spool: Option<&Arc<Spool>>,
    ) -> Result<Pushed> {
        let batches = || group.iter().map(|request| &request.batch);
        let rejects = group.iter().flat_map(|request| &request.rejects);
        let call = self.call((number, number), self.shared.limit(), batches, rejects);
        if spool.is_none() {
            return self.send_again(&call).await;
        }
        let late = |_| {
            Err(EngineError::Unavailable(format!(
                "Redis did not answer within {} s",
                HURRY.as_secs()
            )))
        };
        let work = self.send(&call);
        tokio::time::timeout(HURRY, work).await.unwrap_or_else(late)
    }

    fn call<'a, B: Iterator<Item = &'a Batch>>(
        &self,
        (first, last): (u64, u64),
        limit: u64,
        batches: impl Fn() -> B,
        rejects: impl Iterator<Item = &'a DeadLetter>,
    ) -> Cmd {
        let shared = &self.shared;
        let now = Timestamp::now();
        let (key, remember) = self.numbered();
        let [minute, hour, day] = counters::spans(now, &shared.names.metrics_prefix);
        let mut call = scripts::ENQUEUE.call(&[
            &shared.names.ingest_queue,
            &key,
            Dlq::Ingest.key(),
            &minute,
            &hour,
            &day,
        ]);
        let events: usize = batches().map(Batch::len).sum();
        call.arg(limit)
            .arg(first)
            .arg(last)
            .arg(remember)
            .arg(names::WAKE)
            .arg(events);
        for event in batches().flat_map(Batch::iter) {
            call.arg(&*envelope::plain(event));
        }
        let rejects: Vec<_> = rejects
            .map(|letter| envelope::dead(Dlq::Ingest, letter, 0, &History::default(), now))
            .collect();
        call.arg(rejects.len());
        for reject in rejects {
            call.arg(reject);
        }
        call
    }

    /// Pushes, and again where it is open whether the push took effect: its sender must not be told
    /// that it did not.
    async fn send_again(&self, call: &Cmd) -> Result<Pushed> {
        // Where this fails nothing was sent.
        self.shared.admitted().await?;
        for _ in 0..REPEATS {
            match self.send(call).await {
                Err(error) if !self.shared.closed.is_cancelled() => {
                    tracing::debug!(%error, "a push is repeated");
                    tokio::time::sleep(PAUSE).await;
                }
                pushed => return pushed,
            }
        }
        self.send(call).await
    }

    async fn send(&self, call: &Cmd) -> Result<Pushed> {
        let shared = &self.shared;
        let (what, number): (u64, u64) = if shared.wait_replicas == 0 {
            shared.run(&scripts::ENQUEUE, call).await?
        } else {
            self.send_and_wait(call).await?
        };
        Ok(match what {
            0 => Pushed::Full(number),
            1 => {
                shared.events_waiting.notify_waiters();
                Pushed::Done(number)
            }
            _ => Pushed::Before(number),
        })
    }

    /// Pushes and waits for the replicas. What they do not have in time counts as not taken: the
    /// sender sends it again.
    async fn send_and_wait(&self, call: &Cmd) -> Result<(u64, u64)> {
        let shared = &self.shared;
        shared.admitted().await?;
        let wanted = shared.wait_replicas;
        let (pushed, replicas): ((u64, u64), u32) = shared
            .redis
            .run_replicated(&scripts::ENQUEUE, call, wanted, REPLICAS)
            .await
            .map_err(unavailable)?;
        if replicas < wanted {
            return Err(EngineError::Unavailable(format!(
                "{replicas} of {wanted} replicas (REDIS_WAIT_REPLICAS) have the events"
            )));
        }
        Ok(pushed)
    }

    /// Puts requests into the spool, each with its own answer.
    async fn spool(&self, spool: &Arc<Spool>, line: impl Iterator<Item = Request>) {
        let puts: Vec<_> = line
            .map(|request| {
                let spool = Arc::clone(spool);
                let depth = self.depth.load(Ordering::Relaxed);
                // Side by side, so that they are written together; a put takes its place in the
                // line when it is first polled, which is in this order.
                let events = request.batch.len() as u64;
                async move {
                    let put = spool.put(request.batch, request.rejects).await;
                    self.count_put(events, put.is_ok());
                    let _ = request.answer.send(put.map(|waiting| waiting + depth));
                }
            })
            .collect();
        futures_util::future::join_all(puts).await;
    }

    /// Puts what was tried to be pushed under a number into the spool under the same number: who
    /// drains it finds out whether it was pushed.
    async fn spool_as(&self, spool: &Spool, number: u64, group: Vec<Request>) {
        let mut batch = Batch::new();
        let mut rejects = Vec::new();
        for request in &group {
            batch.append(&request.batch);
            rejects.extend(request.rejects.iter().cloned());
        }
        let events = batch.len() as u64;
        let put = spool.put_as(number, batch, rejects).await;
        self.count_put(events, put.is_ok());
        match put {
            Ok(waiting) => {
                let waiting = waiting + self.depth.load(Ordering::Relaxed);
                for request in group {
                    let _ = request.answer.send(Ok(waiting));
                }
            }
            Err(error) => refuse(group, &error),
        }
    }

    fn count_put(&self, events: u64, is_spooled: bool) {
        let tally = &self.shared.tally;
        let count = if is_spooled {
            &tally.spooled
        } else {
            &tally.not_spooled
        };
        count.add(events);
    }

    /// Drains a step, and spools meanwhile what comes: a Redis that is slow to answer holds up nobody.
    async fn drain_beside(
        &self,
        spool: &Arc<Spool>,
        requests: &mut mpsc::Receiver<Request>,
    ) -> bool {
        let mut step = std::pin::pin!(self.drain(spool));
        loop {
            tokio::select! {
                biased;
                got_on = &mut step => return got_on,
                () = self.shared.closed.cancelled() => return false,
                Some(request) = requests.recv() => {
                    let mut line = vec![request];
                    while line.len() < LINE
                        && let Ok(request) = requests.try_recv()
                    {
                        line.push(request);
                    }
                    self.spool(spool, line.into_iter()).await;
                }
            }
        }
    }

    /// Pushes the oldest records of the spool; whether it got on.
    async fn drain(&self, spool: &Spool) -> bool {
        if !self.shared.is_open() {
            return false;
        }
        let spooled = match spool.next(PUSH_EVENTS, Duration::ZERO).await {
            Ok(Some(spooled)) => spooled,
            Ok(None) => return false,
            Err(error) => {
                tracing::error!(%error, "the spool cannot be read");
                return false;
            }
        };
        let events: usize = spooled.events.iter().map(|batch| batch.len()).sum();
        match self.drain_one(spooled).await {
            Ok(Some(spooled)) => match spool.settle(spooled).await {
                Ok(()) => {
                    self.shared.tally.drained.add(events as u64);
                    if spool.is_empty() {
                        tracing::info!("the spool is empty again");
                    }
                    true
                }
                Err(error) => {
                    tracing::error!(%error, "what was pushed from the spool stays in it for now");
                    false
                }
            },
            Ok(None) => false,
            Err(error) => {
                tracing::debug!(%error, "the spool waits");
                false
            }
        }
    }

    /// Pushes what the spool handed out; gives it back where it may be settled.
    async fn drain_one(&self, mut spooled: Spooled) -> Result<Option<Spooled>> {
        while !spooled.is_empty() {
            let numbers = (spooled.first(), spooled.last());
            let batches = || spooled.events.iter().map(Arc::as_ref);
            // It was taken already, and may be more than fits at once: it goes where there is any
            // room, rather than wait for ever.
            let more = (spooled.len() as u64).saturating_sub(1);
            let limit = self.shared.limit().saturating_add(more);
            let call = self.call(numbers, limit, batches, spooled.rejects.iter());
            match self.send(&call).await? {
                Pushed::Done(depth) => {
                    self.depth.store(depth, Ordering::Relaxed);
                    return Ok(Some(spooled));
                }
                Pushed::Full(_) => return Ok(None),
                Pushed::Before(number) => {
                    spooled.skip_through(number);
                }
            }
        }
        Ok(Some(spooled))
    }
}
