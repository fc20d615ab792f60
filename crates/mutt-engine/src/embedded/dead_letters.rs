//! Dead letter queues: one table, four queues.
//!
//! Which entries are meant is found on a reading connection; the writer then moves exactly those
//! that are still there, so that a search through many entries never holds up a commit.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use jiff::Timestamp;
use mutt_event::{Batch, EventId};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::json;

use super::alert_state::Waiting;
use super::blocks::{History, Written};
use super::config_audit::record_change;
use super::dead_letter_search::{Found, Search, queue_in};
use super::shared::Shared;
use super::{Embedded, alerts, blocks};
use crate::catalog::Change;
use crate::changes::{Operation, Record};
use crate::dead_letters::{
    DeadLetter, DeadLetterFilter, DeadLetters, Dlq, DlqEntry, LetterGroup, Reason, Remediated,
    ReplayPolicy, event_in,
};
use crate::error::{EngineError, Result};
use crate::redecision;

/// The table name under which replays and discards stand in `config_audit_log`.
const TABLE: &str = "dlq";
/// The most entries that one commit moves.
const CHUNK: usize = 2000;
/// The most bytes that one commit moves, unless a single entry is larger.
const CHUNK_BYTES: u64 = 8 << 20;

/// Writes one entry.
pub(super) fn insert(
    conn: &Connection,
    queue: Dlq,
    letter: &DeadLetter,
    attempts: u32,
    history: History,
    now: Timestamp,
) -> Result<()> {
    let now = now.as_microsecond();
    conn.prepare_cached(
        "INSERT INTO dead_letters (queue, origin, reason, first_failed_at, last_failed_at, attempts,
             replays, detail, element) VALUES (?1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        queue.name(),
        letter.reason.name(),
        history.first_failed_at.unwrap_or(now),
        now,
        attempts,
        history.replays,
        letter.detail,
        letter.element
    ])?;
    Ok(())
}

/// Counts the entries of every queue.
pub(super) fn count(conn: &Connection, shared: &Shared) -> Result<()> {
    let mut statement =
        conn.prepare_cached("SELECT count(*) FROM dead_letters WHERE queue = ?1")?;
    for queue in Dlq::ALL {
        let entries: i64 = statement.query_row([queue.name()], |row| row.get(0))?;
        shared
            .dead(queue)
            .store(entries.cast_unsigned(), Ordering::Release);
    }
    Ok(())
}

/// What one commit moved out of a queue.
#[derive(Default)]
struct Moved {
    blocks: Written,
    alerts: Vec<Waiting>,
    /// Entries that went back to their queue, or to be decided anew.
    replayed: u64,
    /// Entries that went to `mutt:dlq:dead`.
    poison: u64,
    discarded: u64,
    /// Events that a person's order moved.
    events: Vec<EventId>,
}

/// One entry as it is taken out of its queue.
struct Taken {
    origin: Dlq,
    history: History,
    element: Vec<u8>,
}

/// Takes an entry out; `None` where it is gone, or is an alert and alerts are to stay.
fn take(tx: &Connection, queue: Dlq, id: i64, alerts_stay: bool) -> Result<Option<Taken>> {
    let staying = alerts_stay.then_some(Dlq::Moog.name());
    Ok(tx
        .prepare_cached(
            "DELETE FROM dead_letters WHERE id = ?1 AND queue = ?2 AND origin IS NOT ?3
             RETURNING origin, replays, first_failed_at, element",
        )?
        .query_row(params![id, queue.name(), staying], |row| {
            Ok(Taken {
                origin: queue_in(row, 0)?,
                history: History {
                    replays: row.get(1)?,
                    first_failed_at: row.get(2)?,
                },
                element: row.get(3)?,
            })
        })
        .optional()?)
}

/// How entries go back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Back {
    /// By remediation, which counts its replays.
    Counted,
    /// By a person.
    AsTheyAre,
    /// By a person, to be decided anew.
    Redecided,
}

/// The event of an alert that lies here; `None` where it is no alert, or has none.
fn event_of(tx: &Connection, queue: Dlq, id: i64, now: Timestamp) -> Result<Option<Vec<u8>>> {
    let element: Option<Vec<u8>> = tx
        .prepare_cached(
            "SELECT element FROM dead_letters WHERE id = ?1 AND queue = ?2 AND origin = ?3",
        )?
        .query_row(params![id, queue.name(), Dlq::Moog.name()], |row| {
            row.get(0)
        })
        .optional()?;
    Ok(element.and_then(|element| redecision::event_of(&element, now)))
}

/// Puts entries back where they failed, or alerts among them back as their events.
fn replay(
    tx: &Connection,
    queue: Dlq,
    ids: &[i64],
    back: Back,
    now: Timestamp,
    moved: &mut Moved,
) -> Result<()> {
    // Entries with the same history share blocks.
    let mut events = Batch::new();
    let mut history = History::default();
    for &id in ids {
        let event = if back == Back::Redecided {
            event_of(tx, queue, id, now)?
        } else {
            None
        };
        let Some(mut taken) = take(tx, queue, id, back == Back::Redecided && event.is_none())?
        else {
            continue;
        };
        moved.replayed += 1;
        if back != Back::Counted {
            moved.events.extend(event_in(&taken.element));
        }
        taken.history.replays += u32::from(back == Back::Counted);
        if let Some(event) = event {
            // What failed was the delivery of what was decided before.
            taken.history = History::default();
            taken.element = event;
        } else if taken.origin == Dlq::Moog {
            moved
                .alerts
                .push(alerts::insert(tx, &taken.element, taken.history, now)?);
            continue;
        }
        if taken.history != history {
            let full = std::mem::take(&mut events);
            blocks::insert_all(tx, now, history, std::iter::once(full), &mut moved.blocks)?;
            history = taken.history;
        }
        events.push(&taken.element);
    }
    blocks::insert_all(tx, now, history, std::iter::once(events), &mut moved.blocks)
}

/// After the commit: memory follows.
fn finish(shared: &Shared, queue: Dlq, moved: Moved) {
    let gone = moved.replayed + moved.poison + moved.discarded;
    let depth = shared.dead(queue);
    // Beside another process the count may be behind for a moment; it never wraps.
    let _ = depth.fetch_update(Ordering::AcqRel, Ordering::Acquire, |depth| {
        Some(depth.saturating_sub(gone))
    });
    shared
        .dead(Dlq::Dead)
        .fetch_add(moved.poison, Ordering::AcqRel);
    if !moved.blocks.is_empty() {
        blocks::add(shared, moved.blocks);
    }
    if shared.claims && !moved.alerts.is_empty() {
        shared.with_alerts(|alerts| {
            moved.alerts.into_iter().for_each(|alert| alerts.add(alert));
        });
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Replay,
    Redecide,
    Discard,
}

/// Cuts entries into what one commit moves.
fn chunks(found: &[Found]) -> impl Iterator<Item = &[Found]> {
    let mut rest = found;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fitting = rest.iter().take(CHUNK).take_while(|&&(_, length)| {
            bytes += u64::from(length);
            bytes <= CHUNK_BYTES
        });
        let count = fitting.count().max(1);
        let (chunk, behind) = rest.split_at_checked(count)?;
        rest = behind;
        Some(chunk)
    })
}

impl Embedded {
    /// What a person does with chosen entries, some thousand in one commit with its audit row.
    async fn act(
        &self,
        queue: Dlq,
        filter: &DeadLetterFilter,
        by: &Change,
        action: Action,
    ) -> Result<u64> {
        let search = Search::new(queue, filter);
        let found = self.readers.run(move |conn| search.meant(conn)).await?;
        let mut count = 0;
        for chunk in chunks(&found) {
            let chunk: Vec<i64> = chunk.iter().map(|&(id, _)| id).collect();
            let (filter, by) = (filter.clone(), by.clone());
            let shared = Arc::clone(&self.shared);
            count += self
                .writer
                .run_then(
                    move |tx| act(tx, queue, &chunk, &filter, &by, action),
                    move |result| {
                        let moved = result?;
                        let count = moved.replayed + moved.discarded;
                        finish(&shared, queue, moved);
                        Ok(count)
                    },
                )
                .await?;
        }
        Ok(count)
    }
}

fn act(
    tx: &Connection,
    queue: Dlq,
    ids: &[i64],
    filter: &DeadLetterFilter,
    by: &Change,
    action: Action,
) -> Result<Moved> {
    let mut moved = Moved::default();
    let now = Timestamp::now();
    match action {
        Action::Replay => replay(tx, queue, ids, Back::AsTheyAre, now, &mut moved)?,
        Action::Redecide => replay(tx, queue, ids, Back::Redecided, now, &mut moved)?,
        Action::Discard => {
            for &id in ids {
                if let Some(taken) = take(tx, queue, id, false)? {
                    moved.discarded += 1;
                    moved.events.extend(event_in(&taken.element));
                }
            }
        }
    }
    let entries = moved.replayed + moved.discarded;
    if entries > 0 {
        let (operation, new) = match action {
            Action::Replay => (Operation::Update, Some(json!({ "replayed": entries }))),
            Action::Redecide => (Operation::Update, Some(json!({ "redecided": entries }))),
            Action::Discard => (Operation::Delete, None),
        };
        let old = json!({
            "queue": queue.key(),
            "entries": entries,
            "filter": filter,
            "events": moved.events,
        });
        let key = Some(queue.name());
        record_change(
            tx,
            by,
            Record {
                operation,
                table: TABLE,
                id: None,
                key,
                old: Some(old),
                new,
            },
        )?;
    }
    Ok(moved)
}

/// Entries that remediation would act on now, oldest first: (number, whether it is poison). No more
/// than one commit moves. One that failed far in the future (the clock was set back) does not wait
/// for that time.
fn due(conn: &Connection, queue: Dlq, policy: ReplayPolicy) -> Result<Vec<(i64, bool)>> {
    let healing: Vec<&str> = [Reason::Shed, Reason::RetriesExhausted]
        .map(Reason::name)
        .into();
    let now = Timestamp::now().as_microsecond();
    let backoff = i64::try_from(policy.backoff.as_micros()).unwrap_or(i64::MAX);
    let mut statement = conn.prepare_cached(
        "SELECT id, poison, bytes FROM (
             SELECT id, last_failed_at, replays, length(element) AS bytes,
                 (replays >= ?3 OR reason NOT IN (SELECT value FROM json_each(?2))) AS poison
             FROM dead_letters WHERE queue = ?1)
         WHERE poison OR last_failed_at - ?4 > ?5
             OR (?4 - last_failed_at) / (1 << min(replays, 30)) >= ?5
         ORDER BY id LIMIT ?6",
    )?;
    let mut rows = statement.query(params![
        queue.name(),
        json!(healing).to_string(),
        policy.max_replays,
        now,
        backoff,
        i64::try_from(policy.batch).unwrap_or(i64::MAX)
    ])?;
    let mut due = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        bytes += u64::from(row.get::<_, u32>(2)?);
        if bytes > CHUNK_BYTES && !due.is_empty() {
            break;
        }
        due.push((row.get(0)?, row.get(1)?));
    }
    Ok(due)
}

#[async_trait]
impl DeadLetters for Embedded {
    async fn bury(&self, queue: Dlq, letters: Vec<DeadLetter>) -> Result<()> {
        if letters.is_empty() {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let bytes = letters.iter().map(|letter| letter.element.len()).sum();
        self.writer
            .run_sized(
                bytes,
                move |tx| {
                    let now = Timestamp::now();
                    for letter in &letters {
                        insert(tx, queue, letter, 0, History::default(), now)?;
                    }
                    Ok(letters.len() as u64)
                },
                move |result| {
                    shared.dead(queue).fetch_add(result?, Ordering::AcqRel);
                    Ok(())
                },
            )
            .await
    }

    async fn dead_letters(
        &self,
        queue: Dlq,
        filter: &DeadLetterFilter,
        offset: u64,
        limit: usize,
    ) -> Result<Vec<DlqEntry>> {
        let search = Search::new(queue, filter);
        self.readers
            .run(move |conn| search.entries(conn, offset, limit))
            .await
    }

    async fn dead_letter_ids(
        &self,
        queue: Dlq,
        filter: &DeadLetterFilter,
        offset: u64,
        limit: usize,
    ) -> Result<Vec<String>> {
        let search = Search::new(queue, filter);
        self.readers
            .run(move |conn| search.ids(conn, offset, limit))
            .await
    }

    async fn dead_letter_groups(
        &self,
        queue: Dlq,
        filter: &DeadLetterFilter,
        most: u64,
    ) -> Result<Vec<LetterGroup>> {
        let search = Search::new(queue, filter);
        self.readers
            .run(move |conn| search.groups(conn, most))
            .await
    }

    async fn dlq_depth(&self, queue: Dlq) -> Result<u64> {
        if self.shared.claims {
            return Ok(self.shared.dead(queue).load(Ordering::Acquire));
        }
        self.readers
            .run(move |conn| {
                let entries: i64 = conn
                    .prepare_cached("SELECT count(*) FROM dead_letters WHERE queue = ?1")?
                    .query_row([queue.name()], |row| row.get(0))?;
                Ok(entries.cast_unsigned())
            })
            .await
    }

    async fn remediate(&self, queue: Dlq, policy: ReplayPolicy) -> Result<Remediated> {
        if !matches!(queue, Dlq::Moog | Dlq::Alerter) {
            return Err(EngineError::Invalid(format!(
                "{} is not replayed by itself; mutt:dlq:moog and mutt:dlq:alerter are",
                queue.key()
            )));
        }
        let due = self
            .readers
            .run(move |conn| due(conn, queue, policy))
            .await?;
        if due.is_empty() {
            return Ok(Remediated::default());
        }
        let shared = Arc::clone(&self.shared);
        self.writer
            .run_then(
                move |tx| {
                    let mut moved = Moved::default();
                    let mut healing = Vec::new();
                    for (id, poison) in due {
                        if !poison {
                            healing.push(id);
                            continue;
                        }
                        let changed = tx
                            .prepare_cached(
                                "UPDATE dead_letters SET queue = ?3 WHERE id = ?1 AND queue = ?2",
                            )?
                            .execute(params![id, queue.name(), Dlq::Dead.name()])?;
                        moved.poison += changed as u64;
                    }
                    replay(
                        tx,
                        queue,
                        &healing,
                        Back::Counted,
                        Timestamp::now(),
                        &mut moved,
                    )?;
                    Ok(moved)
                },
                move |result: Result<Moved>| {
                    let moved = result?;
                    let done = Remediated {
                        replayed: moved.replayed,
                        poison: moved.poison,
                    };
                    finish(&shared, queue, moved);
                    Ok(done)
                },
            )
            .await
    }

    async fn replay(&self, queue: Dlq, filter: &DeadLetterFilter, by: &Change) -> Result<u64> {
        self.act(queue, filter, by, Action::Replay).await
    }

    async fn redecide(&self, queue: Dlq, filter: &DeadLetterFilter, by: &Change) -> Result<u64> {
        self.act(queue, filter, by, Action::Redecide).await
    }

    async fn discard(&self, queue: Dlq, filter: &DeadLetterFilter, by: &Change) -> Result<u64> {
        if by
            .reason
            .as_deref()
            .is_none_or(|reason| reason.trim().is_empty())
        {
            return Err(EngineError::Invalid(
                "say why: discarding needs a reason".to_owned(),
            ));
        }
        self.act(queue, filter, by, Action::Discard).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::embedded::schema;

    #[test]
    fn a_clock_that_is_set_back_holds_nothing_up() {
        let conn = Connection::open_in_memory().unwrap();
        schema::migrate(&conn).unwrap();
        let letter = DeadLetter {
            reason: Reason::RetriesExhausted,
            detail: String::new(),
            element: b"{}".to_vec(),
        };
        let now = Timestamp::now();
        for at in [now, now + Duration::from_hours(24)] {
            insert(&conn, Dlq::Moog, &letter, 6, History::default(), at).unwrap();
        }
        let policy = ReplayPolicy {
            batch: 10,
            max_replays: 3,
            backoff: Duration::from_hours(1),
        };
        assert_eq!(due(&conn, Dlq::Moog, policy).unwrap(), [(2, false)]);
    }

    #[test]
    fn a_commit_moves_so_many_entries_and_so_many_bytes() {
        let cut = |lengths: &[u32]| -> Vec<usize> {
            let found: Vec<Found> = (1..).zip(lengths.iter().copied()).collect();
            assert!(chunks(&found).flatten().eq(&found), "in order, once");
            chunks(&found).map(<[Found]>::len).collect()
        };
        let mib = 1 << 20;
        assert!(cut(&[]).is_empty());
        assert_eq!(cut(&[10; CHUNK + 1]), [CHUNK, 1]);
        assert_eq!(cut(&[4 * mib, 4 * mib, 1]), [2, 1]);
        assert_eq!(cut(&[1, 9 * mib, 1, 2]), [1, 1, 2]);
    }
}
