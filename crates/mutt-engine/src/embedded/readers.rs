//! Connections that only read: a small pool, used on threads made for blocking work.
//!
//! A read sees one consistent state and never waits for the writer. A read that takes too long is
//! stopped, because it keeps the write-ahead log from being reused.

use std::path::PathBuf;
use std::sync::Arc;
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
        Self { directory, idle: Arc::default(), free, size }
    }

    /// Runs `query` on a connection of its own, on a thread for blocking work.
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
        let permit = Arc::clone(&self.free).acquire_owned().await.map_err(|_| closed())?;
        let idle = Arc::clone(&self.idle);
        let directory = self.directory.clone();
        let (started, stop) = tokio::sync::oneshot::channel();
        let mut work = tokio::task::spawn_blocking(move || {
            let conn = idle.lock().pop();
            let conn = match conn {
                Some(conn) => conn,
                None => storage::open(&directory, Purpose::Read)?,
            };
            // Nobody listens where the caller went away; the query then ends by itself.
            let _ = started.send(conn.get_interrupt_handle());
            let result = query(&conn);
            idle.lock().push(conn);
            drop(permit);
            result
        });
        let finished = tokio::time::timeout(LONGEST, &mut work).await;
        let joined = if let Ok(joined) = finished {
            joined
        } else {
            if let Ok(handle) = stop.await {
                handle.interrupt();
            }
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
