//! What the ingestor calls.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use mutt_engine::{DeadLetter, EngineError, Result};
use mutt_event::Batch;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::Instant;
use uuid::Uuid;

use crate::directory::{self, DirectoryLock};
use crate::log::Log;
use crate::numbers::Numbers;
use crate::queue::{self, Queue};
use crate::record;
use crate::spooled::Spooled;
use crate::writer::{Job, Put, Writer, closed};

/// The most bytes on their way to the disk; beyond it callers wait.
const MEMORY: usize = 32 << 20;
/// Memory is counted in units of so many bytes, so that tiny puts are bounded in number.
const UNIT: usize = 1 << 10;

/// A bounded queue on the local disk, for one process. Dropping the last reference without
/// [`Spool::close`] is what a crash would do: nothing that was taken is lost.
pub struct Spool {
    directory: PathBuf,
    id: Uuid,
    max_bytes: u64,
    // Dropped in this order: the thread ends before the lock goes.
    writer: Writer,
    queue: Arc<Mutex<Queue>>,
    numbers: Arc<Numbers>,
    /// Bytes that are on their way to the disk.
    coming: Arc<AtomicU64>,
    memory: Arc<Semaphore>,
    /// Somebody put something.
    added: Arc<Notify>,
    /// The right to have records out.
    out: Arc<Semaphore>,
    lock: Mutex<Option<DirectoryLock>>,
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spool")
            .field("directory", &self.directory)
            .field("id", &self.id)
            .field("max_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}

/// Room within the bound that is taken while something is on its way to the disk.
pub(crate) struct Room {
    coming: Arc<AtomicU64>,
    bytes: u64,
}

impl Room {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.coming.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl Spool {
    /// Opens the spool in `directory`, which is made where it is missing and belongs to this process
    /// alone. At most `max_bytes` bytes of records may wait in it; the files may be 16 MiB larger,
    /// because they are removed as wholes. Blocks while it reads what waits: about a second for a
    /// gigabyte of very small records, milliseconds else.
    ///
    /// # Errors
    /// `Unusable` where another process uses the directory, it cannot be written, or a file in it is
    /// damaged; the text says what to do. A write that was torn off by a crash is no damage.
    pub fn open(directory: &Path, max_bytes: u64) -> Result<Arc<Self>> {
        directory::create(directory)?;
        let lock = DirectoryLock::take(directory)?;
        let id = directory::identity(directory)?;
        let log = Log::open(directory)?;
        let (queue, numbers) = (log.queue(), Arc::clone(log.numbers()));
        let added = Arc::new(Notify::new());
        let notify = Arc::clone(&added);
        Ok(Arc::new(Self {
            directory: directory.to_owned(),
            id,
            max_bytes,
            writer: Writer::start(log, move || notify.notify_one())?,
            queue,
            numbers,
            coming: Arc::default(),
            memory: Arc::new(Semaphore::new(MEMORY / UNIT)),
            added,
            out: Arc::new(Semaphore::new(1)),
            lock: Mutex::new(Some(lock)),
        }))
    }

    /// The spool's identity: made with its directory and kept there. Record numbers mean something
    /// together with it alone.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The bound in bytes.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Takes events and what came with them but is no event, in one step, and returns the number of
    /// events waiting now. Durable when it returns; [`Spool::is_empty`] is false from then on until
    /// it is settled.
    ///
    /// # Errors
    /// `SpoolFull` beyond the bound, `Unavailable` where nothing durable can be written now. In both
    /// cases nothing was taken.
    ///
    /// Cancelling the call leaves it open whether it was taken.
    pub async fn put(&self, batch: Batch, rejects: Vec<DeadLetter>) -> Result<u64> {
        if batch.is_empty() && rejects.is_empty() {
            return Ok(self.depth());
        }
        self.add(None, batch, rejects).await
    }

    /// A number for [`Spool::put_as`]: higher than every number that was given before, in this run or
    /// an earlier one.
    ///
    /// # Errors
    /// `Unavailable` where its use cannot be noted on the disk (which is done once in a while).
    pub fn number(&self) -> Result<u64> {
        self.numbers.next()
    }

    /// As [`Spool::put`], as one record under a number from [`Spool::number`]. So something that was
    /// tried to be pushed elsewhere under a number, nobody knows with what success, can be put here
    /// under the same number, and whoever drains the spool finds out.
    ///
    /// # Errors
    /// As [`Spool::put`]; `Invalid` where a record with a higher number is in the spool, or was.
    pub async fn put_as(&self, number: u64, batch: Batch, rejects: Vec<DeadLetter>) -> Result<u64> {
        self.add(Some(number), batch, rejects).await
    }

    async fn add(
        &self,
        number: Option<u64>,
        batch: Batch,
        rejects: Vec<DeadLetter>,
    ) -> Result<u64> {
        let bytes = record::size_of(&batch, &rejects);
        let room = self.reserve(bytes)?;
        let units = usize::try_from(bytes).unwrap_or(MEMORY).div_ceil(UNIT);
        let units = u32::try_from(units.clamp(1, MEMORY / UNIT)).expect("clamped");
        let memory = Arc::clone(&self.memory).acquire_many_owned(units).await;
        let (answer, answered) = oneshot::channel();
        self.writer.submit(Job::Put(Put {
            number,
            batch,
            rejects,
            room,
            _memory: memory.map_err(|_| closed())?,
            answer,
        }))?;
        answered.await.map_err(|_| closed())??;
        Ok(self.depth())
    }

    fn reserve(&self, bytes: u64) -> Result<Room> {
        // Under the queue's lock: what becomes durable in between is not missed, only counted twice.
        let queue = self.queue.lock();
        let before = self.coming.fetch_add(bytes, Ordering::AcqRel);
        let room = Room {
            coming: Arc::clone(&self.coming),
            bytes,
        };
        let held = queue.bytes + before;
        if held.saturating_add(bytes) > self.max_bytes || u32::try_from(bytes).is_err() {
            return Err(EngineError::SpoolFull {
                bytes: held,
                limit: self.max_bytes,
            });
        }
        Ok(room)
    }

    /// The oldest records: up to `max` events (more where a single record has more). Waits up to
    /// `wait` for the first one; `None` when none came. Only one [`Spooled`] is out at a time: while
    /// there is one, this waits for its end.
    ///
    /// # Errors
    /// `Unavailable` where it cannot be read now or the spool is closed, `Unusable` where a file is
    /// damaged.
    pub async fn next(&self, max: usize, wait: Duration) -> Result<Option<Spooled>> {
        let until = Instant::now() + wait;
        let out = Arc::clone(&self.out).acquire_owned();
        let Ok(permit) = tokio::time::timeout_at(until, out).await else {
            return Ok(None);
        };
        let permit = permit.map_err(|_| closed())?;
        loop {
            let added = self.added.notified();
            if !self.is_empty() {
                break;
            }
            if tokio::time::timeout_at(until, added).await.is_err() && self.is_empty() {
                return Ok(None);
            }
            if self.out.is_closed() {
                return Err(closed());
            }
        }
        let (segments, offset) = {
            let queue = self.queue.lock();
            // A full file has more than is read at once; of the others there are few.
            let segments: Vec<_> = queue.segments.iter().take(3).cloned().collect();
            (segments, queue.offset)
        };
        let read = tokio::task::spawn_blocking(move || queue::read(&segments, offset, max)).await;
        let head = read.map_err(|error| {
            EngineError::Unavailable(format!("a mistake in MUTT: reading the spool: {error}"))
        })??;
        Ok(Some(Spooled::new(head, permit)))
    }

    /// Removes what was handed out for good.
    ///
    /// # Errors
    /// `Unavailable`; then it counts as given back, and [`Spool::next`] offers it again.
    pub async fn settle(&self, spooled: Spooled) -> Result<()> {
        let (answer, answered) = oneshot::channel();
        self.writer.submit(Job::Settle(spooled, answer))?;
        answered.await.map_err(|_| closed())?
    }

    /// Gives back what was handed out: it is the next to be offered.
    /// Dropping it does the same.
    pub fn give_back(&self, spooled: Spooled) {
        drop(spooled);
    }

    /// Whether nothing waits, neither events nor rejects; records that are out wait as well.
    pub fn is_empty(&self) -> bool {
        self.bytes() == 0
    }

    /// Events waiting, those that are out included.
    pub fn depth(&self) -> u64 {
        self.queue.lock().events
    }

    /// The bytes on the disk of all records that wait: what the bound counts.
    pub fn bytes(&self) -> u64 {
        self.queue.lock().bytes
    }

    /// When the oldest record that waits was put.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.queue.lock().oldest
    }

    /// Finishes what was begun, and lets the directory go. Later calls find the spool closed.
    pub async fn close(&self) {
        self.out.close();
        self.memory.close();
        self.added.notify_waiters();
        self.writer.close().await;
        self.lock.lock().take();
    }
}
