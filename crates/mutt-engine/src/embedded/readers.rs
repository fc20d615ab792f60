//! Connections that only read: a small pool, used on threads made for blocking work.
//!
//! A read sees one consistent state and never waits for the writer. A read that takes too long is
//! stopped, because it keeps the write-ahead log from being reused.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::storage::{self, Purpose};
use crate::error::{EngineError, Result};

/// The longest a read may take.
const LONGEST: Duration = Duration::from_secs(20);

/// A pool of reading connections, opened when they are first needed.
pub(super) struct Readers {
    directory: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
    free: Arc<Semaphore>,
    size: u32,
}

impl Readers {
    /// A pool of at most `size` connections.
    pub(super) fn new(directory: PathBuf, size: u32) -> Self {
        let free = Arc::new(Semaphore::new(size as usize));
        Self {
            directory,
            idle: Arc::default(),
            free,
            size,
        }
    }

    /// Runs `query` on a connection of its own, on a thread for blocking work. Where the caller goes
    /// away the query is stopped: nobody would hear its answer.
    ///
    /// # Errors
    /// What `query` returned; `Unavailable` where the database cannot be read, the query takes
    /// longer than 20 s, or the engine is closed.
    pub(super) async fn run<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let closed = || EngineError::Unavailable("the engine is closed".to_owned());
        let permit = Arc::clone(&self.free)
            .acquire_owned()
            .await
            .map_err(|_| closed())?;
        let idle = Arc::clone(&self.idle);
        let directory = self.directory.clone();
        let stop = StopOnDrop(Arc::default());
        let stopped = Arc::clone(&stop.0);
        let mut work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let conn = idle.lock().pop();
            let mut conn = match conn {
                Some(conn) => conn,
                None => storage::open(&directory, Purpose::Read)?,
            };
            stop_with(&mut conn, Some(stopped))?;
            let result = query(&conn);
            stop_with(&mut conn, None)?;
            idle.lock().push(conn);
            result
        });
        let finished = tokio::time::timeout(LONGEST, &mut work).await;
        let joined = if let Ok(joined) = finished {
            joined
        } else {
            stop.0.store(true, Ordering::Relaxed);
            work.await
        };
        joined.map_err(|_| {
            EngineError::Unavailable("a mistake in MUTT: a query panicked".to_owned())
        })?
    }

    /// Waits for running queries and closes every connection.
    pub(super) async fn close(&self) {
        let all = self.free.acquire_many(self.size).await;
        self.free.close();
        drop(all);
        self.idle.lock().clear();
    }
}

/// How many steps of SQLite's machine lie between two looks at whether to stop: some milliseconds.
const STEPS: i32 = 100_000;

/// Makes whatever the connection does from now on end soon after `stop` is set.
fn stop_with(conn: &mut Connection, stop: Option<Arc<AtomicBool>>) -> Result<()> {
    let stopped = stop.map(|stop| move || stop.load(Ordering::Relaxed));
    Ok(conn.progress_handler(STEPS, stopped)?)
}

struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever asks and goes away (a browser that is closed) does not keep a connection, the log
    /// and the end of the process waiting for an answer that nobody hears.
    #[tokio::test]
    async fn a_query_ends_with_its_caller() {
        let directory = tempfile::tempdir().unwrap();
        drop(storage::open(directory.path(), Purpose::Server).unwrap());
        let readers = Readers::new(directory.path().to_owned(), 1);
        let (began, begins) = tokio::sync::oneshot::channel();
        let endless = readers.run(move |conn| {
            began.send(()).unwrap();
            let numbers =
                "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers)
                SELECT count(*) FROM numbers";
            Ok(conn.query_row(numbers, [], |row| row.get::<_, i64>(0))?)
        });
        tokio::select! {
            result = endless => panic!("it has no end: {result:?}"),
            _ = begins => {}
        }
        let next =
            readers.run(|conn| Ok(conn.query_row("SELECT 7", [], |row| row.get::<_, i64>(0))?));
        let next = tokio::time::timeout(LONGEST * 3, next).await;
        assert_eq!(next.expect("the connection is free again").unwrap(), 7);
        readers.close().await;
    }
}
