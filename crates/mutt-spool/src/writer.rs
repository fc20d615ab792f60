//! The one thread that writes: it takes what waits in its inbox, makes all of it durable with one
//! fsync, and answers everybody after that.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use mutt_engine::{DeadLetter, EngineError, Result};
use mutt_event::Batch;
use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::log::{Log, Record};
use crate::spool::Room;
use crate::spooled::Spooled;

/// The most events that are merged into one record; it is drained as a whole.
const RECORD_EVENTS: usize = 1000;
/// The most bytes that are merged into one record.
const RECORD_BYTES: u64 = 1 << 20;
/// The most bytes in one fsync: what bounds how long its first caller waits.
const GROUP_BYTES: u64 = 4 << 20;

/// A put, and who waits for it.
pub(crate) struct Put {
    /// Where it has one already.
    pub(crate) number: Option<u64>,
    pub(crate) batch: Batch,
    pub(crate) rejects: Vec<DeadLetter>,
    pub(crate) room: Room,
    pub(crate) _memory: OwnedSemaphorePermit,
    pub(crate) answer: oneshot::Sender<Result<()>>,
}

pub(crate) enum Job {
    Put(Put),
    Settle(Spooled, oneshot::Sender<Result<()>>),
}

#[derive(Default)]
struct Inbox {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    closing: Option<Closing>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Closing {
    /// What waits is still done.
    InOrder,
    /// As a crash would do it.
    AtOnce,
}

pub(crate) struct Writer {
    inbox: Arc<Inbox>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread. `shown` is called after each fsync that added records.
    pub(crate) fn start(log: Log, shown: impl Fn() + Send + 'static) -> Result<Self> {
        let inbox = Arc::new(Inbox::default());
        let theirs = Arc::clone(&inbox);
        let thread = std::thread::Builder::new()
            .name("mutt-spool".to_owned())
            .spawn(move || run(log, &theirs, &shown))
            .map_err(|error| {
                EngineError::Unavailable(format!("the spool's thread cannot be started: {error}"))
            })?;
        Ok(Self {
            inbox,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Leaves work for the thread.
    pub(crate) fn submit(&self, job: Job) -> Result<()> {
        let mut waiting = self.inbox.waiting.lock();
        if waiting.closing.is_some() {
            return Err(closed());
        }
        waiting.jobs.push_back(job);
        drop(waiting);
        self.inbox.wake.notify_one();
        Ok(())
    }

    /// Does what waits and ends the thread.
    pub(crate) async fn close(&self) {
        self.end(Closing::InOrder);
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            // A panic of the thread was reported when it happened.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    fn end(&self, how: Closing) {
        self.inbox.waiting.lock().closing.get_or_insert(how);
        self.inbox.wake.notify_one();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end(Closing::AtOnce);
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

pub(crate) fn closed() -> EngineError {
    EngineError::Unavailable("the spool is closed".to_owned())
}

/// However the thread ends, also by a mistake: who waits hears of it.
struct ClosedWithThread<'a>(&'a Inbox);

impl Drop for ClosedWithThread<'_> {
    fn drop(&mut self) {
        let left = {
            let mut waiting = self.0.waiting.lock();
            waiting.closing.get_or_insert(Closing::AtOnce);
            std::mem::take(&mut waiting.jobs)
        };
        if !left.is_empty() {
            tracing::error!(
                jobs = left.len(),
                "the spool's thread ended before its work"
            );
        }
    }
}

fn run(mut log: Log, inbox: &Inbox, shown: &dyn Fn()) {
    let _closed = ClosedWithThread(inbox);
    let mut is_failing = false;
    loop {
        let (puts, settle) = match inbox.next() {
            Ok(group) => group,
            Err(Closing::InOrder) => return log.close(),
            Err(Closing::AtOnce) => return,
        };
        if !puts.is_empty() {
            let added = add(&mut log, puts);
            report(&added, &mut is_failing);
            if added.is_ok() {
                shown();
            }
        }
        if let Some((spooled, answer)) = settle {
            let settled = log.settle(&spooled.head, spooled.last());
            report(&settled, &mut is_failing);
            drop(spooled);
            // Nobody needs the answer where the caller went away.
            let _ = answer.send(settled);
        }
    }
}

impl Inbox {
    /// The work of the next turn: puts, and at most one settlement behind them.
    #[expect(clippy::type_complexity, reason = "used in one place")]
    fn next(
        &self,
    ) -> std::result::Result<(Vec<Put>, Option<(Spooled, oneshot::Sender<Result<()>>)>), Closing>
    {
        let mut waiting = self.waiting.lock();
        while waiting.jobs.is_empty() {
            if let Some(closing) = waiting.closing {
                return Err(closing);
            }
            self.wake.wait(&mut waiting);
        }
        let mut puts = Vec::new();
        let mut bytes = 0;
        while let Some(job) = waiting.jobs.pop_front() {
            match job {
                Job::Put(put) if !puts.is_empty() && bytes + put.room.bytes() > GROUP_BYTES => {
                    waiting.jobs.push_front(Job::Put(put));
                    break;
                }
                Job::Put(put) => {
                    bytes += put.room.bytes();
                    puts.push(put);
                }
                Job::Settle(spooled, answer) => return Ok((puts, Some((spooled, answer)))),
            }
        }
        Ok((puts, None))
    }
}

/// Writes puts, small ones together in one record, and answers them.
fn add(log: &mut Log, mut puts: Vec<Put>) -> Result<()> {
    let added = catch_unwind(AssertUnwindSafe(|| {
        let records = merge(log, &mut puts)?;
        log.append(&records)
    }));
    let added = added.unwrap_or_else(|_| {
        Err(EngineError::Unavailable(
            "a mistake in MUTT: writing the spool panicked".to_owned(),
        ))
    });
    for Put { room, answer, .. } in puts {
        // What is on the disk counts by itself now.
        drop(room);
        let _ = answer.send(match &added {
            Ok(()) => Ok(()),
            Err(error) => Err(EngineError::Unavailable(text(error))),
        });
    }
    added
}

/// Makes records of puts: those without a number of their own share one where they are small. Puts
/// whose number comes too late are answered and left out.
fn merge(log: &Log, puts: &mut Vec<Put>) -> Result<Vec<Record>> {
    let mut records: Vec<Record> = Vec::new();
    let mut last = log.last();
    // The bytes of the last record, where more may be added to it.
    let mut open = None;
    let mut kept = Vec::with_capacity(puts.len());
    let mut waiting = std::mem::take(puts).into_iter();
    while let Some(mut put) = waiting.next() {
        let batch = std::mem::take(&mut put.batch);
        let rejects = std::mem::take(&mut put.rejects);
        let bytes = put.room.bytes();
        if let (None, Some(held), Some(record)) = (put.number, open, records.last_mut())
            && record.batch.len() + batch.len() <= RECORD_EVENTS
            && held + bytes <= RECORD_BYTES
        {
            record.batch.append(&batch);
            record.rejects.extend(rejects);
            open = Some(held + bytes);
            kept.push(put);
            continue;
        }
        let number = match put.number {
            Some(number) if number <= last => {
                let _ = put.answer.send(Err(EngineError::Invalid(format!(
                    "record {number} comes too late: {last} is in the spool"
                ))));
                continue;
            }
            Some(number) => number,
            None => match log.numbers().next() {
                Ok(number) => number,
                Err(error) => {
                    *puts = kept;
                    puts.push(put);
                    puts.extend(waiting);
                    return Err(error);
                }
            },
        };
        open = put.number.is_none().then_some(bytes);
        last = number;
        records.push(Record {
            number,
            batch,
            rejects,
        });
        kept.push(put);
    }
    *puts = kept;
    Ok(records)
}

fn text(error: &EngineError) -> String {
    match error {
        EngineError::Unavailable(text) => text.clone(),
        other => other.to_string(),
    }
}

/// An outage is reported once; whoever calls hears of it every time.
fn report(result: &Result<()>, is_failing: &mut bool) {
    match result {
        Ok(()) if std::mem::take(is_failing) => tracing::info!("the spool can be written again"),
        Err(error) if !std::mem::replace(is_failing, true) => tracing::error!(%error, "the spool"),
        Ok(()) | Err(_) => {}
    }
}
