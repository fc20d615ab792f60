//! Blocks: rows of `event_queue`, each with many events.
//!
//! All events that one commit enqueues go into as few rows as possible, so that many requests with
//! one event each cost about as much as one request with many.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use mutt_event::Batch;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::oneshot;

use super::counters;
use super::event_state::Part;
use super::shared::Shared;
use crate::error::{EngineError, Result};

/// The most events in one block.
const EVENTS: usize = 1000;
/// The most bytes in one block, unless a single event is larger.
const BYTES: usize = 1 << 20;

/// Events to be queued, and who waits for it.
pub(super) struct Enqueue {
    pub(super) batch: Batch,
    pub(super) reserved: Reserved,
    pub(super) answer: oneshot::Sender<Result<u64>>,
}

/// Room in the queue that is taken while events are on their way to the disk.
pub(super) struct Reserved {
    shared: Arc<Shared>,
    events: u64,
}

impl Reserved {
    /// Takes room for `events`.
    ///
    /// # Errors
    /// `Full`.
    pub(super) fn take(shared: &Arc<Shared>, events: u64) -> Result<Self> {
        let limit = shared.queue_limit.load(Ordering::Relaxed);
        let coming = shared.enqueuing.fetch_add(events, Ordering::AcqRel);
        let reserved = Self {
            shared: Arc::clone(shared),
            events,
        };
        let depth = shared.event_depth.load(Ordering::Acquire) + coming;
        if depth.saturating_add(events) > limit {
            return Err(EngineError::Full { depth, limit });
        }
        Ok(reserved)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.shared
            .enqueuing
            .fetch_sub(self.events, Ordering::AcqRel);
    }
}

/// The blocks of one commit.
pub(super) type Written = Vec<Part>;

/// Where replayed events come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct History {
    /// Replays so far.
    pub(super) replays: u32,
    /// When they first failed, in µs.
    pub(super) first_failed_at: Option<i64>,
}

/// Writes all enqueued events and counts them.
pub(super) fn write_enqueued(conn: &Connection, enqueues: &mut [Enqueue]) -> Result<Written> {
    let batches = enqueues
        .iter_mut()
        .map(|enqueue| std::mem::take(&mut enqueue.batch));
    write(conn, Timestamp::now(), batches)
}

/// Writes events that are new and counts them.
pub(super) fn write(
    conn: &Connection,
    now: Timestamp,
    batches: impl Iterator<Item = Batch>,
) -> Result<Written> {
    let mut written = Vec::new();
    insert_all(conn, now, History::default(), batches, &mut written)?;
    let events = written.iter().map(|part| u64::from(part.count)).sum();
    if events > 0 {
        counters::add_accepted(conn, now, events)?;
    }
    Ok(written)
}

/// Writes batches in order, merged into blocks.
pub(super) fn insert_all(
    conn: &Connection,
    now: Timestamp,
    history: History,
    batches: impl Iterator<Item = Batch>,
    written: &mut Written,
) -> Result<()> {
    let mut open = Batch::new();
    for batch in batches {
        if open.len() + batch.len() <= EVENTS && open.byte_len() + batch.byte_len() <= BYTES {
            if open.is_empty() {
                open = batch;
            } else {
                open.append(&batch);
            }
            continue;
        }
        insert(conn, now, history, std::mem::take(&mut open), written)?;
        if batch.len() <= EVENTS && batch.byte_len() <= BYTES {
            open = batch;
            continue;
        }
        for element in batch.iter() {
            if open.len() == EVENTS || open.byte_len() + element.len() > BYTES {
                insert(conn, now, history, std::mem::take(&mut open), written)?;
            }
            open.push(element);
        }
    }
    insert(conn, now, history, open, written)
}

fn insert(
    conn: &Connection,
    now: Timestamp,
    history: History,
    batch: Batch,
    written: &mut Written,
) -> Result<()> {
    if batch.is_empty() {
        return Ok(());
    }
    let (elements, ends) = batch.parts();
    let ends: Vec<u8> = ends.iter().flat_map(|end| end.to_le_bytes()).collect();
    let count = u32::try_from(batch.len()).expect("a batch has 32-bit offsets");
    conn.prepare_cached(
        "INSERT INTO event_queue (enqueued_at, count, replays, first_failed_at, ends, elements)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        now.as_microsecond(),
        count,
        history.replays,
        history.first_failed_at,
        ends,
        elements
    ])?;
    written.push(Part {
        block: conn.last_insert_rowid(),
        first: 0,
        past: count,
        count,
        bytes: u32::try_from(batch.byte_len()).expect("a batch has 32-bit offsets"),
        enqueued_at: now.as_microsecond(),
        batch: Some(Arc::new(batch)),
    });
    Ok(())
}

/// After the commit: shows the new blocks to the workers and answers the senders.
pub(super) fn finish(shared: &Shared, enqueues: Vec<Enqueue>, committed: Result<Written>) {
    match committed {
        Ok(written) => {
            if !written.is_empty() {
                add(shared, written);
            }
            let depth = shared.event_depth.load(Ordering::Acquire);
            for Enqueue {
                reserved, answer, ..
            } in enqueues
            {
                drop(reserved);
                // A sender that went away needs no answer.
                let _ = answer.send(Ok(depth));
            }
        }
        Err(error) => {
            let text = error.to_string();
            for Enqueue {
                reserved, answer, ..
            } in enqueues
            {
                drop(reserved);
                let _ = answer.send(Err(match &error {
                    EngineError::Unavailable(text) => EngineError::Unavailable(text.clone()),
                    _ => EngineError::Unavailable(text.clone()),
                }));
            }
        }
    }
}

/// Shows committed blocks to the workers of this process.
pub(super) fn add(shared: &Shared, written: Written) {
    if shared.claims {
        shared.with_events(|events| written.into_iter().for_each(|part| events.add(part)));
    }
}

/// Every waiting part of the blocks above `last`, oldest first, without its text.
pub(super) fn waiting(conn: &Connection, last: i64) -> Result<Written> {
    let mut parts = Vec::new();
    let mut blocks = conn.prepare_cached(
        "SELECT id, count, length(elements), enqueued_at FROM event_queue WHERE id > ?1 ORDER BY id",
    )?;
    let mut settled = conn
        .prepare_cached("SELECT first, past FROM event_settled WHERE block = ?1 ORDER BY first")?;
    let mut rows = blocks.query([last])?;
    while let Some(row) = rows.next()? {
        let count: u32 = row.get(1)?;
        let whole = Part {
            block: row.get(0)?,
            first: 0,
            past: count,
            count,
            bytes: row.get(2)?,
            enqueued_at: row.get(3)?,
            batch: None,
        };
        let mut first = 0;
        let mut done = settled.query([whole.block])?;
        while let Some(range) = done.next()? {
            let (begin, past): (u32, u32) = (range.get(0)?, range.get(1)?);
            if begin > first {
                parts.push(Part {
                    first,
                    past: begin,
                    ..whole.clone()
                });
            }
            first = past;
        }
        if first < count {
            parts.push(Part { first, ..whole });
        }
    }
    Ok(parts)
}

/// The events of a block; `None` where it is gone.
///
/// # Errors
/// `Unavailable` where the row is damaged.
pub(super) fn read(conn: &Connection, block: i64) -> Result<Option<Batch>> {
    let row: Option<(Vec<u8>, Vec<u8>)> = conn
        .prepare_cached("SELECT ends, elements FROM event_queue WHERE id = ?1")?
        .query_row([block], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((ends, elements)) = row else {
        return Ok(None);
    };
    let ends = ends
        .as_chunks::<4>()
        .0
        .iter()
        .map(|end| u32::from_le_bytes(*end))
        .collect();
    Batch::from_parts(elements, ends).map(Some).ok_or_else(|| {
        EngineError::Unavailable(format!(
            "the database is damaged: block {block} of event_queue"
        ))
    })
}

/// Takes a part of a block off the disk. False where it was settled before.
pub(super) fn settle(conn: &Connection, part: &Part) -> Result<bool> {
    if part.is_whole() {
        let gone = conn
            .prepare_cached("DELETE FROM event_queue WHERE id = ?1")?
            .execute([part.block])?;
        return Ok(gone == 1);
    }
    let exists = conn
        .prepare_cached("SELECT 1 FROM event_queue WHERE id = ?1")?
        .exists([part.block])?;
    if !exists {
        return Ok(false);
    }
    let new = conn
        .prepare_cached(
            "INSERT OR IGNORE INTO event_settled (block, first, past) VALUES (?1, ?2, ?3)",
        )?
        .execute([part.block, part.first.into(), part.past.into()])?;
    if new == 0 {
        return Ok(false);
    }
    let done: u32 = conn
        .prepare_cached("SELECT sum(past - first) FROM event_settled WHERE block = ?1")?
        .query_row([part.block], |row| row.get(0))?;
    if done == part.count {
        conn.prepare_cached("DELETE FROM event_queue WHERE id = ?1")?
            .execute([part.block])?;
        conn.prepare_cached("DELETE FROM event_settled WHERE block = ?1")?
            .execute([part.block])?;
    }
    Ok(true)
}

/// The history of a block's events.
pub(super) fn history(conn: &Connection, block: i64) -> Result<History> {
    let history = conn
        .prepare_cached("SELECT replays, first_failed_at FROM event_queue WHERE id = ?1")?
        .query_row([block], |row| {
            Ok(History {
                replays: row.get(0)?,
                first_failed_at: row.get(1)?,
            })
        })
        .optional()?;
    Ok(history.unwrap_or_default())
}
