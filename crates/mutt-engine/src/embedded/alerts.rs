//! The alert queue: claim and settle.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::time::Instant;

use super::alert_state::Waiting;
use super::blocks::History;
use super::shared::Shared;
use super::{Embedded, audit, dead_letters, timestamp};
use crate::alerts::{AlertQueue, Attempt, ClaimedAlert, Retrying, Settlement};
use crate::dead_letters::{DeadLetter, Dlq};
use crate::error::Result;
use crate::events::NewAlert;

/// Writes an alert at the end of the queue.
pub(super) fn insert(
    conn: &Connection,
    element: &[u8],
    history: History,
    now: Timestamp,
) -> Result<Waiting> {
    let created_at = now.as_microsecond();
    conn.prepare_cached(
        "INSERT INTO alert_queue (created_at, replays, first_failed_at, element)
         VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![
        created_at,
        history.replays,
        history.first_failed_at,
        element
    ])?;
    Ok(Waiting {
        id: conn.last_insert_rowid(),
        attempts: 0,
        replays: history.replays,
        created_at,
        due: None,
        bytes: u32::try_from(element.len()).expect("a row is smaller than 1 GB"),
        element: Some(element.into()),
    })
}

/// Every waiting alert with a number above `last`, without its element, and due by the computer's
/// clock.
pub(super) fn waiting(conn: &Connection, last: i64) -> Result<Vec<Waiting>> {
    let mut statement = conn.prepare_cached(
        "SELECT id, attempts, replays, created_at, due, length(element) FROM alert_queue
         WHERE id > ?1 ORDER BY id",
    )?;
    let rows = statement.query_map([last], |row| {
        Ok(Waiting {
            id: row.get(0)?,
            attempts: row.get(1)?,
            replays: row.get(2)?,
            created_at: row.get(3)?,
            due: row.get(4)?,
            bytes: row.get(5)?,
            element: None,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Alerts that nobody has in hand yet: where the call ends early, they return to the queue.
struct Pending<'a> {
    shared: &'a Shared,
    claims: Vec<u64>,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if !self.claims.is_empty() {
            let claims = std::mem::take(&mut self.claims);
            self.shared
                .with_alerts(|alerts| claims.into_iter().for_each(|claim| alerts.give_back(claim)));
        }
    }
}

impl Embedded {
    async fn try_claim_alerts(&self, worker: &Arc<str>, max: usize) -> Result<Vec<ClaimedAlert>> {
        let now = self.shared.clock.now();
        let claimed = self
            .shared
            .with_alerts(|alerts| alerts.claim(worker, max.max(1), now));
        if claimed.is_empty() {
            return Ok(Vec::new());
        }
        let mut pending = Pending {
            shared: &self.shared,
            claims: claimed.iter().map(|(claim, _)| *claim).collect(),
        };
        let on_disk: Vec<i64> = claimed
            .iter()
            .filter(|(_, alert)| alert.element.is_none())
            .map(|(_, alert)| alert.id)
            .collect();
        let read = if on_disk.is_empty() {
            HashMap::new()
        } else {
            self.claim_readers
                .run(move |conn| read_elements(conn, &on_disk))
                .await?
        };
        let mut alerts = Vec::with_capacity(claimed.len());
        for (claim, alert) in claimed {
            let element = alert.element.or_else(|| read.get(&alert.id).cloned());
            let Some(element) = element else {
                // Somebody's hand was in the database. The disk is right; the rest goes on.
                tracing::error!(alert = alert.id, "an alert is gone from the database");
                self.shared.with_alerts(|alerts| alerts.end(claim));
                continue;
            };
            alerts.push(ClaimedAlert {
                claim,
                worker: Arc::clone(worker),
                element,
                attempts: alert.attempts,
                replays: alert.replays,
            });
        }
        pending.claims.clear();
        Ok(alerts)
    }
}

fn read_elements(conn: &Connection, ids: &[i64]) -> Result<HashMap<i64, Arc<[u8]>>> {
    let mut statement = conn.prepare_cached("SELECT element FROM alert_queue WHERE id = ?1")?;
    let mut elements = HashMap::new();
    for &id in ids {
        let element: Option<Vec<u8>> = statement.query_row([id], |row| row.get(0)).optional()?;
        elements.extend(element.map(|element| (id, element.into())));
    }
    Ok(elements)
}

/// What one settled attempt has to do to memory.
struct Effect {
    claim: u64,
    ends: Ends,
}

enum Ends {
    Delivered,
    /// Waits again, in this state.
    Retry(Waiting),
    Dead,
    Returned,
    /// The alert is no longer on the disk: it ended before.
    Before,
}

/// Does the settling on the transaction. Attempts whose claim is not out are left out.
fn settle(tx: &Connection, shared: &Shared, attempts: &[Attempt]) -> Result<Vec<Effect>> {
    let now = Timestamp::now();
    let mut effects = Vec::with_capacity(attempts.len());
    for attempt in attempts {
        let claim = attempt.alert.claim;
        let Some(alert) = shared.alerts.lock().begin_settling(claim) else {
            continue;
        };
        let ends = settle_one(tx, shared, attempt, alert, now)?;
        if let (Some(row), false) = (&attempt.log, matches!(ends, Ends::Before)) {
            audit::insert_delivery(tx, row)?;
        }
        effects.push(Effect { claim, ends });
    }
    Ok(effects)
}

fn settle_one(
    tx: &Connection,
    shared: &Shared,
    attempt: &Attempt,
    mut alert: Waiting,
    now: Timestamp,
) -> Result<Ends> {
    let attempts = alert.attempts + 1;
    let changed;
    let ends = match &attempt.settlement {
        Settlement::Delivered => {
            changed = tx
                .prepare_cached("DELETE FROM alert_queue WHERE id = ?1")?
                .execute([alert.id])?;
            Ends::Delivered
        }
        Settlement::RetryAt(due) => {
            let due = due.as_microsecond();
            // The count of attempts tells a repeat after a failure of unknown outcome.
            changed = tx
                .prepare_cached(
                    "UPDATE alert_queue SET attempts = ?2, due = ?3 WHERE id = ?1 AND attempts = ?4",
                )?
                .execute(params![alert.id, attempts, due, alert.attempts])?;
            alert.attempts = attempts;
            alert.due = Some(shared.clock.at(due));
            alert.element = Some(Arc::clone(&attempt.alert.element));
            Ends::Retry(alert)
        }
        Settlement::Dead { reason, detail } => {
            let history = tx
                .prepare_cached(
                    "DELETE FROM alert_queue WHERE id = ?1 RETURNING replays, first_failed_at",
                )?
                .query_row([alert.id], |row| {
                    Ok(History {
                        replays: row.get(0)?,
                        first_failed_at: row.get(1)?,
                    })
                })
                .optional()?;
            changed = usize::from(history.is_some());
            if let Some(history) = history {
                let letter = DeadLetter {
                    reason: *reason,
                    detail: detail.clone(),
                    element: attempt.alert.element.to_vec(),
                };
                dead_letters::insert(tx, Dlq::Moog, &letter, attempts, history, now)?;
            }
            Ends::Dead
        }
        Settlement::Return => {
            changed = 1;
            Ends::Returned
        }
    };
    Ok(if changed == 0 { Ends::Before } else { ends })
}

/// After the commit: memory follows. The number of attempts that took effect.
fn settled(shared: &Shared, effects: Vec<Effect>) -> u64 {
    let mut count = 0;
    let (mut dead, mut retries) = (0, false);
    shared.with_alerts(|alerts| {
        for Effect { claim, ends } in effects {
            count += u64::from(!matches!(ends, Ends::Before));
            match ends {
                Ends::Returned => alerts.give_back(claim),
                Ends::Retry(alert) => {
                    retries = true;
                    alerts.end(claim);
                    alerts.add(alert);
                }
                Ends::Dead => {
                    dead += 1;
                    alerts.end(claim);
                }
                Ends::Delivered | Ends::Before => drop(alerts.end(claim)),
            }
        }
    });
    if retries {
        shared.alert_arrived.notify_waiters();
    }
    shared.dead(Dlq::Moog).fetch_add(dead, Ordering::AcqRel);
    count
}

#[async_trait]
impl AlertQueue for Embedded {
    async fn claim_alerts(
        &self,
        worker: &Arc<str>,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<ClaimedAlert>> {
        let until = Instant::now() + wait;
        loop {
            self.server_only("claiming alerts")?;
            // Listening begins before looking, so that nothing that comes between is missed.
            let arrived = self.shared.alert_arrived.notified();
            let alerts = self.try_claim_alerts(worker, max).await?;
            if !alerts.is_empty() {
                return Ok(alerts);
            }
            if Instant::now() >= until {
                return Ok(Vec::new());
            }
            let due = self.shared.alerts.lock().next_due().map(|due| {
                let left = due.saturating_sub(self.shared.clock.now()).max(0);
                Instant::now() + Duration::from_micros(left.cast_unsigned())
            });
            let wake = due.map_or(until, |due| due.min(until));
            // Either end of the wait means: look again.
            let _ = tokio::time::timeout_at(wake, arrived).await;
        }
    }

    async fn settle_alerts(&self, attempts: Vec<Attempt>) -> Result<u64> {
        self.server_only("settling alerts")?;
        if attempts.is_empty() {
            return Ok(0);
        }
        // Where nothing was attempted, nothing changes on the disk.
        if attempts
            .iter()
            .all(|attempt| attempt.settlement == Settlement::Return && attempt.log.is_none())
        {
            let returned = self.shared.with_alerts(|alerts| {
                let held = attempts
                    .iter()
                    .filter(|attempt| alerts.is_held(attempt.alert.claim));
                let held: Vec<u64> = held.map(|attempt| attempt.alert.claim).collect();
                for &claim in &held {
                    alerts.give_back(claim);
                }
                held.len()
            });
            return Ok(returned as u64);
        }
        let bytes = attempts
            .iter()
            .map(|attempt| attempt.alert.element.len())
            .sum();
        let claims: Vec<u64> = attempts.iter().map(|attempt| attempt.alert.claim).collect();
        let (executing, shared) = (Arc::clone(&self.shared), Arc::clone(&self.shared));
        self.writer
            .run_sized(
                bytes,
                move |tx| settle(tx, &executing, &attempts),
                move |result| match result {
                    Ok(effects) => Ok(settled(&shared, effects)),
                    Err(error) => {
                        shared.with_alerts(|alerts| {
                            for &claim in &claims {
                                alerts.stop_settling(claim);
                            }
                        });
                        Err(error)
                    }
                },
            )
            .await
    }

    async fn queue_alert(&self, alert: NewAlert) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        self.writer
            .run_then(
                move |tx| insert(tx, &alert.element, History::default(), Timestamp::now()),
                move |inserted: Result<Waiting>| {
                    let alert = inserted?;
                    if shared.claims {
                        shared.with_alerts(|alerts| alerts.add(alert));
                    }
                    Ok(())
                },
            )
            .await
    }

    async fn retries(&self, limit: usize) -> Result<(u64, Vec<Retrying>)> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.readers
            .run(move |conn| {
                let count: i64 = conn
                    .prepare_cached("SELECT count(*) FROM alert_queue WHERE due IS NOT NULL")?
                    .query_row([], |row| row.get(0))?;
                let mut statement = conn.prepare_cached(
                    "SELECT due, attempts, element FROM alert_queue WHERE id IN (
                         SELECT id FROM alert_queue WHERE due IS NOT NULL ORDER BY due, id LIMIT ?1)
                     ORDER BY due, id",
                )?;
                let rows = statement.query_map([limit], |row| {
                    Ok(Retrying {
                        due: timestamp(row.get(0)?),
                        attempts: row.get(1)?,
                        element: row.get(2)?,
                    })
                })?;
                let next = rows.collect::<rusqlite::Result<_>>()?;
                Ok((count.cast_unsigned(), next))
            })
            .await
    }

    async fn alert_depth(&self) -> Result<u64> {
        if self.shared.claims {
            return Ok(self.shared.alert_depth.load(Ordering::Acquire));
        }
        self.readers
            .run(|conn| {
                let waiting: i64 =
                    conn.query_row("SELECT count(*) FROM alert_queue", [], |row| row.get(0))?;
                Ok(waiting.cast_unsigned())
            })
            .await
    }
}
