//! The one thread that writes. Callers leave their work in an inbox; the thread takes what waits,
//! does all of it in one transaction, and answers everybody after the commit.
//!
//! Promises: an answer of `Ok` means the work is on the disk; an answer of `Err` means that it did
//! not take effect; work that fails by itself does not disturb the others of its commit. Whatever
//! has to change in memory changes on this thread, after the commit and before anybody is answered,
//! so that a caller who goes away leaves nothing half done.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::{Semaphore, oneshot};

use super::audit_index::Indexer;
use super::checkpoint::Checkpointer;
use super::inbox::{ClosedWithThread, Closing, Entry, Inbox, Job, Work, closed};
use super::shared::Shared;
use super::storage::{self, Purpose};
use super::{Mode, blocks, foreign, upkeep};
use crate::error::{EngineError, Result};

/// The most bytes of work that may wait; beyond it callers wait for room.
const INBOX_BYTES: usize = 32 << 20;
/// Room is counted in units of so many bytes, so that tiny pieces of work are bounded in number.
const UNIT: usize = 1 << 10;
/// How often a thread with nothing to do looks for what other processes changed.
const IDLE: Duration = Duration::from_millis(250);

/// The way to the writing thread.
pub(super) struct Writer {
    inbox: Arc<Inbox>,
    room: Arc<Semaphore>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread on an open connection.
    pub(super) fn start(
        conn: Connection,
        directory: PathBuf,
        mode: Mode,
        shared: Arc<Shared>,
    ) -> Result<Self> {
        let inbox = Arc::new(Inbox::default());
        let helpers = match mode {
            Mode::Server => Some((
                Checkpointer::start(&directory)?,
                Indexer::start(&directory)?,
            )),
            Mode::Tool => None,
        };
        let (checkpointer, indexer) = helpers.unzip();
        let work = Thread {
            inbox: Arc::clone(&inbox),
            conn: Some(conn),
            directory,
            mode,
            shared,
            checkpointer,
            indexer,
            data_version: 0,
            upkeep_due: Instant::now(),
        };
        let thread = std::thread::Builder::new()
            .name("mutt-writer".to_owned())
            .spawn(move || work.run())
            .map_err(|error| {
                EngineError::Unavailable(format!("the writing thread cannot be started: {error}"))
            })?;
        Ok(Self {
            inbox,
            room: Arc::new(Semaphore::new(INBOX_BYTES / UNIT)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Does `op` in the next commit and returns what it returned once that is durable. Where `op`
    /// fails, or the commit does, nothing of it took effect.
    ///
    /// Cancelling: once the call was polled the work may be done all the same.
    ///
    /// # Errors
    /// What `op` returned; `Unavailable` where the commit failed or the engine is closed.
    pub(super) async fn run<T, F>(&self, op: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        self.run_then(op, |result| result).await
    }

    /// As [`Writer::run`]; `then` hears how it ended on the writing thread, even where the caller
    /// went away, and says what the caller gets.
    pub(super) async fn run_then<T, R, F, G>(&self, op: F, then: G) -> Result<R>
    where
        T: Send + 'static,
        R: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
        G: FnOnce(Result<T>) -> Result<R> + Send + 'static,
    {
        self.run_sized(4 * UNIT, op, then).await
    }

    /// As [`Writer::run_then`], for work that carries about `bytes` bytes.
    pub(super) async fn run_sized<T, R, F, G>(&self, bytes: usize, op: F, then: G) -> Result<R>
    where
        T: Send + 'static,
        R: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
        G: FnOnce(Result<T>) -> Result<R> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job = Closure {
            op: Some(op),
            done: None,
            then,
            answer,
        };
        self.submit(Work::Job(Box::new(job)), bytes).await?;
        answered.await.map_err(|_| closed())?
    }

    /// Leaves work in the inbox; waits while there is no room.
    pub(super) async fn submit(&self, work: Work, bytes: usize) -> Result<()> {
        let units = bytes.div_ceil(UNIT).clamp(1, INBOX_BYTES / UNIT);
        let units = u32::try_from(units).expect("clamped to the size of the inbox");
        let room = Arc::clone(&self.room)
            .acquire_many_owned(units)
            .await
            .map_err(|_| closed())?;
        self.inbox.push(Entry {
            work,
            bytes,
            _room: room,
        })
    }

    /// Leaves work in the inbox where there is room, and hears nothing of it.
    pub(super) fn try_run_detached<F>(&self, op: F)
    where
        F: FnOnce(&Connection) -> Result<()> + Send + 'static,
    {
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(1) else {
            return;
        };
        let (answer, _) = oneshot::channel();
        let job = Closure {
            op: Some(op),
            done: None,
            then: |result| result,
            answer,
        };
        // A closed inbox takes nothing, and nobody waits for this.
        let _ = self.inbox.push(Entry {
            work: Work::Job(Box::new(job)),
            bytes: UNIT,
            _room: room,
        });
    }

    /// Pieces of work in the inbox.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.inbox.len()
    }

    /// Does what waits, copies the log back, closes the file and ends the thread.
    pub(super) async fn close(&self) {
        self.inbox.close(Closing::InOrder);
        self.room.close();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            // A panic of the thread was reported when it happened.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.inbox.close(Closing::AtOnce);
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

struct Closure<T, R, F, G> {
    op: Option<F>,
    done: Option<T>,
    then: G,
    answer: oneshot::Sender<Result<R>>,
}

impl<T, R, F, G> Job for Closure<T, R, F, G>
where
    T: Send,
    R: Send,
    F: FnOnce(&Connection) -> Result<T> + Send,
    G: FnOnce(Result<T>) -> Result<R> + Send,
{
    fn execute(&mut self, tx: &Connection) -> Result<()> {
        let op = self.op.take().expect("a job is executed once");
        self.done = Some(op(tx)?);
        Ok(())
    }

    fn finish(self: Box<Self>, result: Result<()>) {
        let Self {
            done, then, answer, ..
        } = *self;
        let result = result.map(|()| done.expect("a job that succeeded has a result"));
        // Where the caller went away nobody needs the answer.
        let _ = answer.send(then(result));
    }
}

struct Thread {
    inbox: Arc<Inbox>,
    /// `None` after a failure that makes the connection doubtful, until it is opened again.
    conn: Option<Connection>,
    directory: PathBuf,
    mode: Mode,
    shared: Arc<Shared>,
    checkpointer: Option<Checkpointer>,
    indexer: Option<Indexer>,
    data_version: i64,
    upkeep_due: Instant,
}

impl Thread {
    fn run(mut self) {
        let _closed = ClosedWithThread(Arc::clone(&self.inbox));
        let mut group = Vec::new();
        let closing = loop {
            let indexing = self.indexer.as_ref().is_some_and(Indexer::has_work)
                && !self.shared.health.is_failing();
            let patience = if indexing { Duration::ZERO } else { IDLE };
            let closing = self.inbox.next(&mut group, patience);
            let is_idle = group.is_empty();
            if is_idle && let Some(closing) = closing {
                break closing;
            }
            if is_idle && !indexing {
                self.look_around();
            } else {
                self.commit(&mut group);
            }
            self.keep_up(is_idle);
        };
        drop((self.checkpointer.take(), self.indexer.take()));
        // A tool leaves the log to the server beside it: emptying it keeps everybody from writing until
        // the last reader is done. Where there is no server SQLite does it as the file is closed.
        if closing == Closing::InOrder
            && self.mode == Mode::Server
            && let Some(conn) = &self.conn
            && let Err(error) = conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        {
            tracing::warn!(%error, "the write-ahead log could not be copied back; the next start does it");
        }
    }

    fn purpose(&self) -> Purpose {
        match self.mode {
            Mode::Server => Purpose::Server,
            Mode::Tool => Purpose::Tool,
        }
    }

    /// Commits one group and answers everybody in it.
    fn commit(&mut self, group: &mut Vec<Entry>) {
        let mut jobs = Vec::new();
        let mut enqueues = Vec::new();
        for entry in group.drain(..) {
            match entry.work {
                Work::Job(job) => jobs.push((job, Ok(()))),
                Work::Enqueue(enqueue) => enqueues.push(enqueue),
            }
        }
        let committed = self.transaction(&mut jobs, &mut enqueues);
        match &committed {
            Ok(_) => self.shared.health.committed(),
            // An outage is reported once; whoever calls hears of it every time.
            Err(error) => {
                if self.shared.health.failed() {
                    tracing::error!(%error, "nothing can be written");
                }
            }
        }
        for (job, result) in jobs {
            let result = result.and_then(|()| again(&committed));
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| job.finish(result))) {
                drop(panic);
                tracing::error!("finishing a piece of work panicked");
            }
        }
        blocks::finish(&self.shared, enqueues, committed);
    }

    fn transaction(
        &mut self,
        jobs: &mut [(Box<dyn Job>, Result<()>)],
        enqueues: &mut [blocks::Enqueue],
    ) -> Result<blocks::Written> {
        if self.conn.is_none() {
            let conn = storage::open(&self.directory, self.purpose())?;
            self.conn = Some(conn);
            self.data_version = -1;
        }
        let conn = self.conn.as_ref().expect("it was opened above");
        let indexer = self.indexer.as_mut();
        let outcome = begin(conn)
            .and_then(|()| foreign::look(conn, &self.shared, &mut self.data_version))
            .and_then(|()| {
                let look = || foreign::look(conn, &self.shared, &mut self.data_version);
                execute_all(conn, jobs, look)
            })
            .and_then(|()| blocks::write_enqueued(conn, enqueues))
            .and_then(|written| {
                if let Some(indexer) = indexer {
                    indexer.slice(conn)?;
                }
                commit(conn)?;
                Ok(written)
            });
        if let Some(indexer) = &mut self.indexer {
            indexer.ended(outcome.is_ok());
        }
        if outcome.is_err() {
            // After a failure nothing that this connection remembers is trusted: it is closed (which
            // undoes what is open) and opened again for the next commit. The log itself is safe:
            // the next transaction writes the frames of the failed one again.
            self.conn = None;
        }
        outcome
    }

    /// Looks for what other processes changed.
    fn look_around(&mut self) {
        let Some(conn) = &self.conn else { return };
        if let Err(error) = foreign::look(conn, &self.shared, &mut self.data_version)
            && self.shared.health.failed()
        {
            tracing::warn!(%error, "looking for changes by other processes failed");
        }
    }

    /// Between commits: lets the log be copied back and audit rows be indexed, and once a minute
    /// removes what has expired. None of it is needed now, so failures wait for the next time.
    fn keep_up(&mut self, is_idle: bool) {
        let Some(conn) = &self.conn else { return };
        if let Some(checkpointer) = &mut self.checkpointer {
            checkpointer.step(conn, is_idle);
        }
        if self.mode == Mode::Tool || self.shared.health.is_failing() {
            return;
        }
        let indexed = self
            .indexer
            .as_mut()
            .map_or(Ok(()), |indexer| indexer.step(conn, is_idle));
        let done = indexed.and_then(|()| {
            if Instant::now() < self.upkeep_due {
                return Ok(());
            }
            self.upkeep_due = Instant::now() + Duration::from_mins(1);
            upkeep::prune(conn, &self.shared)
        });
        if let Err(error) = done {
            tracing::warn!(%error, "upkeep of the database failed; it is tried again");
            self.shared.health.failed();
            self.conn = None;
        }
    }
}

fn begin(conn: &Connection) -> Result<()> {
    Ok(conn
        .prepare_cached("BEGIN IMMEDIATE")?
        .raw_execute()
        .map(drop)?)
}

fn commit(conn: &Connection) -> Result<()> {
    Ok(conn.prepare_cached("COMMIT")?.raw_execute().map(drop)?)
}

/// Does every job; one that fails is undone by itself. An error here means that the transaction as
/// a whole is lost. `look` picks up what other processes added: their numbers must be known before
/// this transaction gives out higher ones.
fn execute_all(
    conn: &Connection,
    jobs: &mut [(Box<dyn Job>, Result<()>)],
    mut look: impl FnMut() -> Result<()>,
) -> Result<()> {
    for (index, (job, result)) in jobs.iter_mut().enumerate() {
        // The first job needs no savepoint: to undo it is to begin again.
        let first = index == 0;
        if !first {
            conn.prepare_cached("SAVEPOINT job")?.raw_execute()?;
        }
        *result = catch_unwind(AssertUnwindSafe(|| job.execute(conn))).unwrap_or_else(|_| {
            Err(EngineError::Unavailable(
                "a mistake in MUTT: the work panicked".to_owned(),
            ))
        });
        if conn.is_autocommit() {
            // SQLite itself gave the whole transaction up: the disk is full, or worse.
            let error = std::mem::replace(result, Ok(())).err();
            return Err(error.unwrap_or_else(|| {
                EngineError::Unavailable("the transaction was given up".to_owned())
            }));
        }
        match (&*result, first) {
            (Ok(()), true) => {}
            (Ok(()), false) => drop(conn.prepare_cached("RELEASE job")?.raw_execute()?),
            (Err(_), true) => {
                conn.execute_batch("ROLLBACK")?;
                begin(conn)?;
                // Another process may have used the moment in between.
                look()?;
            }
            (Err(_), false) => conn.execute_batch("ROLLBACK TO job; RELEASE job")?,
        }
    }
    Ok(())
}

/// The commit's end for one of many who wait for it.
fn again<T>(committed: &Result<T>) -> Result<()> {
    match committed {
        Ok(_) => Ok(()),
        Err(EngineError::Unusable(text)) => Err(EngineError::Unusable(text.clone())),
        Err(EngineError::Unavailable(text)) => Err(EngineError::Unavailable(text.clone())),
        Err(error) => Err(EngineError::Unavailable(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema;
    use super::*;

    /// Fails after a tool got in between.
    struct Failing {
        tool: Connection,
    }

    impl Job for Failing {
        fn execute(&mut self, tx: &Connection) -> Result<()> {
            tx.execute_batch("ROLLBACK")?;
            self.tool.execute_batch(
                "INSERT INTO event_queue (enqueued_at, count, ends, elements)
                 VALUES (0, 1, x'02000000', CAST('{}' AS BLOB))",
            )?;
            begin(tx)?;
            Err(EngineError::Fenced)
        }

        fn finish(self: Box<Self>, _: Result<()>) {}
    }

    /// To undo the first job the write lock is let go for a moment. What a tool adds in it has lower
    /// numbers than what this commit adds, and later nobody would look for those any more.
    #[test]
    fn what_a_tool_adds_while_the_first_job_is_undone_is_not_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let conn = storage::open(directory.path(), Purpose::Server).unwrap();
        schema::migrate(&conn).unwrap();
        let tool = storage::open(directory.path(), Purpose::Tool).unwrap();
        let shared = Arc::new(Shared::new(true));
        let mut data_version = 0;
        let (answer, _answered) = oneshot::channel();
        let batch = [&b"{}"[..]].into_iter().collect();
        let reserved = blocks::Reserved::take(&shared, 1).unwrap();
        let mut enqueues = vec![blocks::Enqueue {
            batch,
            reserved,
            answer,
        }];
        let mut jobs: [(Box<dyn Job>, Result<()>); 1] = [(Box::new(Failing { tool }), Ok(()))];

        begin(&conn).unwrap();
        let mut look = || foreign::look(&conn, &shared, &mut data_version);
        look().unwrap();
        execute_all(&conn, &mut jobs, &mut look).unwrap();
        let written = blocks::write_enqueued(&conn, &mut enqueues).unwrap();
        commit(&conn).unwrap();
        blocks::finish(&shared, enqueues, Ok(written));
        look().unwrap();
        assert!(matches!(jobs[0].1, Err(EngineError::Fenced)));
        assert_eq!(shared.events.lock().depth(), 2);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nobody_waits_for_a_thread_that_broke() {
        let inbox = Arc::new(Inbox::default());
        let theirs = Arc::clone(&inbox);
        let thread = std::thread::spawn(move || {
            let _closed = ClosedWithThread(Arc::clone(&theirs));
            while theirs.len() == 0 {
                std::thread::yield_now();
            }
            panic!("a mistake");
        });
        let writer = Writer {
            inbox,
            room: Arc::new(Semaphore::new(INBOX_BYTES / UNIT)),
            thread: Mutex::new(Some(thread)),
        };
        for _ in 0..2 {
            let error = writer.run(|_| Ok(())).await.unwrap_err();
            assert!(matches!(error, EngineError::Unavailable(_)), "{error}");
        }
        writer.close().await;
    }
}
