//! Copying the write-ahead log back into the database without holding up commits.
//!
//! A thread of its own copies while the writer goes on; only when nearly everything is copied does
//! the writer do the small rest itself, because the log starts over from its beginning only when a
//! write finds all of it copied.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;
use rusqlite::wal::CheckpointMode;

use super::storage::{self, PAGE_SIZE, Purpose};
use crate::error::{EngineError, Result};

/// The log's size in pages at which copying starts.
const START: i32 = (32 << 20) / PAGE_SIZE;
/// What the writer may copy itself, in pages.
const REST: i32 = (2 << 20) / PAGE_SIZE;
/// How often the copying thread tries to catch up before it leaves the rest to the writer.
const PASSES: usize = 4;

const IDLE: u8 = 0;
const RUNNING: u8 = 1;
const CAUGHT_UP: u8 = 2;

#[derive(Default)]
struct Signal {
    state: AtomicU8,
    asked: Mutex<Asked>,
    wake: Condvar,
}

#[derive(Default)]
struct Asked {
    copy: bool,
    stop: bool,
}

/// The writer's side of the copying thread.
pub(super) struct Checkpointer {
    signal: Arc<Signal>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts the thread with a connection of its own.
    pub(super) fn start(directory: &Path) -> Result<Self> {
        let conn = storage::open(directory, Purpose::Checkpoint)?;
        let signal = Arc::new(Signal::default());
        let theirs = Arc::clone(&signal);
        let thread = std::thread::Builder::new()
            .name("mutt-checkpoint".to_owned())
            .spawn(move || run(&conn, &theirs))
            .map_err(|error| {
                EngineError::Unavailable(format!(
                    "the checkpoint thread cannot be started: {error}"
                ))
            })?;
        Ok(Self {
            signal,
            thread: Some(thread),
        })
    }

    /// Called by the writer between commits. `is_idle`: nothing waits to be written, which is a
    /// good moment even where the log is small.
    pub(super) fn step(&mut self, conn: &Connection, is_idle: bool) {
        match self.signal.state.load(Ordering::Acquire) {
            RUNNING => {}
            CAUGHT_UP => {
                // A failure here is found again by the next commit, which reports it.
                let _ = checkpoint(conn, CheckpointMode::PASSIVE);
                self.signal.state.store(IDLE, Ordering::Release);
            }
            _ => {
                let Ok((log, copied)) = checkpoint(conn, CheckpointMode::NOOP) else {
                    return;
                };
                if log > copied && (log >= START || is_idle) {
                    self.signal.state.store(RUNNING, Ordering::Release);
                    self.signal.asked.lock().copy = true;
                    self.signal.wake.notify_one();
                }
            }
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.signal.asked.lock().stop = true;
        self.signal.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there was reported when it happened.
            let _ = thread.join();
        }
    }
}

fn run(conn: &Connection, signal: &Signal) {
    // Told once per outage: it is tried again many times a second, on a disk that may be full.
    let mut failing = false;
    loop {
        let mut asked = signal.asked.lock();
        while !asked.copy && !asked.stop {
            signal.wake.wait(&mut asked);
        }
        if asked.stop {
            return;
        }
        asked.copy = false;
        drop(asked);
        for _ in 0..PASSES {
            match checkpoint(conn, CheckpointMode::PASSIVE) {
                Ok((log, copied)) if log - copied > REST => failing = false,
                Ok(_) => {
                    failing = false;
                    break;
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "copying the write-ahead log back failed; it is tried again");
                    }
                    break;
                }
            }
        }
        signal.state.store(CAUGHT_UP, Ordering::Release);
    }
}

fn checkpoint(conn: &Connection, mode: CheckpointMode) -> rusqlite::Result<(i32, i32)> {
    conn.wal_checkpoint_v2(None::<&str>, mode)
}
