//! Rate limits, which live in memory, and circuits, which live on the disk with a copy in memory.
//!
//! The limit is exact: a grant stays in the window for the whole period. Grants of an earlier
//! process are known where it closed in order; else a full period counts as used.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::time::Instant;

use super::{Embedded, Mode, timestamp};
use crate::error::Result;
use crate::flow::{Circuit, CircuitPolicy, CircuitState, Flow, Limit, Permit};

/// Grants closer together than this part of the period share an entry that stays for as long as
/// the youngest of them, so that a ring is short whatever the limit. That makes the limit at most
/// this much stricter, never looser.
const GRAIN: u32 = 1024;

/// The grants of one limit.
#[derive(Debug, Default)]
struct Ring {
    /// (first grant, last grant, grants), oldest first.
    grants: VecDeque<(Instant, Instant, u64)>,
    used: u64,
}

impl Ring {
    fn take(&mut self, limit: Limit, wanted: u32, now: Instant) -> Permit {
        while let Some(&(_, last, count)) = self.grants.front()
            && now.saturating_duration_since(last) >= limit.period
        {
            self.used -= count;
            self.grants.pop_front();
        }
        let free = u64::from(limit.count.max(1)).saturating_sub(self.used);
        if free == 0 {
            let oldest = self.grants.front().map_or(now, |&(_, last, _)| last);
            return Permit::Wait(
                limit
                    .period
                    .saturating_sub(now.saturating_duration_since(oldest)),
            );
        }
        let granted = u32::try_from(free).unwrap_or(u32::MAX).min(wanted.max(1));
        self.add(now, granted.into(), limit.period / GRAIN);
        Permit::Granted(granted)
    }

    /// Grants of the last `period`.
    fn used_within(&self, period: Duration, now: Instant) -> u64 {
        let grants = self.grants.iter().rev();
        grants
            .take_while(|&&(_, last, _)| now.saturating_duration_since(last) < period)
            .map(|&(_, _, count)| count)
            .sum()
    }

    fn add(&mut self, now: Instant, granted: u64, grain: Duration) {
        self.used += granted;
        if let Some((first, last, count)) = self.grants.back_mut()
            && now.saturating_duration_since(*first) < grain
        {
            *last = now;
            *count += granted;
        } else {
            self.grants.push_back((now, now, granted));
        }
    }
}

/// The rings, and the circuits as they stand on the disk.
pub(super) struct State {
    rings: Mutex<HashMap<String, Ring>>,
    circuits: Mutex<HashMap<String, Row>>,
    /// When this process started without knowing what was granted before.
    blind_since: Option<Instant>,
}

/// A circuit's row. A name without a row has a closed circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    state: CircuitState,
    failures: u32,
    opened_at: Option<Timestamp>,
    probe_at: Option<Timestamp>,
}

const CLOSED: Row = Row {
    state: CircuitState::Closed,
    failures: 0,
    opened_at: None,
    probe_at: None,
};

impl State {
    /// What the disk knows. A server takes the grants over, so that a crash does not leave them
    /// behind as if they were new.
    pub(super) fn load(conn: &Connection, mode: Mode, is_new: bool) -> Result<Self> {
        let mut rings: HashMap<String, Ring> = HashMap::new();
        let mut remembered = false;
        if mode == Mode::Server {
            // A probe that was out ended with its process: its place is free.
            conn.execute("UPDATE circuits SET probe_at = NULL", [])?;
            let (now, clock) = (Instant::now(), Timestamp::now().as_microsecond());
            let mut statement =
                conn.prepare("DELETE FROM rate_grants RETURNING name, at, count")?;
            let mut rows = statement.query([])?;
            let mut grants: Vec<(String, i64, i64)> = Vec::new();
            while let Some(row) = rows.next()? {
                grants.push((row.get(0)?, row.get(1)?, row.get(2)?));
            }
            grants.sort_by_key(|&(_, at, _)| at);
            for (name, at, count) in grants {
                remembered = true;
                let age = Duration::from_micros(clock.saturating_sub(at).max(0).cast_unsigned());
                // An instant before this computer's start cannot be said; nor need it be.
                if let Some(at) = now.checked_sub(age) {
                    let ring = rings.entry(name).or_default();
                    ring.add(at, count.cast_unsigned(), Duration::ZERO);
                }
            }
        }
        let circuits = conn
            .prepare("SELECT name FROM circuits")?
            .query_map([], |row| row.get::<_, String>(0))?
            .map(|name| {
                let name = name?;
                let row = read(conn, &name)?;
                Ok((name, row))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            rings: Mutex::new(rings),
            circuits: Mutex::new(circuits),
            blind_since: (!is_new && !remembered).then(Instant::now),
        })
    }

    /// Writes the grants down for the next start; always at least one row, which says that there is
    /// nothing else.
    pub(super) fn save(&self, conn: &Connection) -> Result<()> {
        let (now, clock) = (Instant::now(), Timestamp::now().as_microsecond());
        let mut statement =
            conn.prepare_cached("INSERT INTO rate_grants (name, at, count) VALUES (?1, ?2, ?3)")?;
        let mut rows: Vec<(String, i64, i64)> = vec![(String::new(), clock, 0)];
        for (name, ring) in &*self.rings.lock() {
            rows.extend(ring.grants.iter().map(|&(_, last, count)| {
                let age = now.saturating_duration_since(last).as_micros();
                let at = clock - i64::try_from(age).unwrap_or(i64::MAX);
                (name.clone(), at, count.cast_signed())
            }));
        }
        // Who started blind and closes within the period has not seen all of it either.
        if self
            .blind_since
            .is_none_or(|since| since.elapsed() > Duration::from_hours(1))
        {
            for row in rows {
                statement.execute(row)?;
            }
        }
        Ok(())
    }

    fn circuit(&self, name: &str) -> Row {
        self.circuits.lock().get(name).copied().unwrap_or(CLOSED)
    }
}

fn state_from(name: &str) -> CircuitState {
    [CircuitState::Open, CircuitState::HalfOpen]
        .into_iter()
        .find(|state| state.name() == name)
        .unwrap_or(CircuitState::Closed)
}

fn read(conn: &Connection, name: &str) -> Result<Row> {
    let row = conn
        .prepare_cached(
            "SELECT state, failures, opened_at, probe_at FROM circuits WHERE name = ?1",
        )?
        .query_row([name], |row| {
            Ok(Row {
                state: state_from(row.get_ref(0)?.as_str()?),
                failures: row.get(1)?,
                opened_at: row.get::<_, Option<i64>>(2)?.map(timestamp),
                probe_at: row.get::<_, Option<i64>>(3)?.map(timestamp),
            })
        })
        .optional()?;
    Ok(row.unwrap_or(CLOSED))
}

fn write(conn: &Connection, name: &str, row: Row) -> Result<()> {
    conn.prepare_cached(
        "INSERT OR REPLACE INTO circuits (name, state, failures, opened_at, probe_at)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        name,
        row.state.name(),
        row.failures,
        row.opened_at.map(Timestamp::as_microsecond),
        row.probe_at.map(Timestamp::as_microsecond)
    ])?;
    Ok(())
}

/// Whether so much time has passed since then; a clock that was set back counts as passed.
fn is_over(since: Option<Timestamp>, timeout: Duration, now: Timestamp) -> bool {
    since.is_none_or(|since| {
        let passed = now.duration_since(since);
        passed.is_negative() || passed.unsigned_abs() >= timeout
    })
}

/// Now, as exact as the disk keeps it.
fn now() -> Timestamp {
    timestamp(Timestamp::now().as_microsecond())
}

/// What an admission does: the answer, and the new row where it changes.
fn admit(row: Row, policy: CircuitPolicy, now: Timestamp) -> (CircuitState, Option<Row>) {
    let free = match row.state {
        CircuitState::Closed => return (CircuitState::Closed, None),
        CircuitState::Open => is_over(row.opened_at, policy.timeout, now),
        CircuitState::HalfOpen => is_over(row.probe_at, policy.timeout, now),
    };
    if free {
        let probing = Row {
            state: CircuitState::HalfOpen,
            probe_at: Some(now),
            ..row
        };
        (CircuitState::HalfOpen, Some(probing))
    } else {
        (CircuitState::Open, None)
    }
}

fn failed(row: Row, policy: CircuitPolicy, now: Timestamp) -> Row {
    let failures = row.failures.saturating_add(1);
    let opens = match row.state {
        CircuitState::Closed => failures >= policy.threshold,
        CircuitState::Open => false,
        CircuitState::HalfOpen => true,
    };
    if opens {
        Row {
            state: CircuitState::Open,
            failures,
            opened_at: Some(now),
            probe_at: None,
        }
    } else {
        Row { failures, ..row }
    }
}

impl Embedded {
    /// Changes a circuit on the disk, then in memory.
    async fn change_circuit<T: Send + 'static>(
        &self,
        name: &str,
        change: impl FnOnce(Row) -> (T, Option<Row>) + Send + 'static,
    ) -> Result<T> {
        let name = name.to_owned();
        let flow = Arc::clone(&self.flow);
        self.writer
            .run_then(
                move |tx| {
                    let (answer, changed) = change(read(tx, &name)?);
                    if let Some(row) = changed {
                        write(tx, &name, row)?;
                    }
                    Ok((answer, name, changed))
                },
                move |result| {
                    let (answer, name, changed) = result?;
                    if let Some(row) = changed {
                        flow.circuits.lock().insert(name, row);
                    }
                    Ok(answer)
                },
            )
            .await
    }
}

#[async_trait]
impl Flow for Embedded {
    async fn permits_used(&self, name: &str, period: Duration) -> Result<u64> {
        let rings = self.flow.rings.lock();
        Ok(rings
            .get(name)
            .map_or(0, |ring| ring.used_within(period, Instant::now())))
    }

    async fn take_permits(&self, name: &str, limit: Limit, wanted: u32) -> Result<Permit> {
        // After the end too: the grants are written down by then, and the next start goes by them.
        self.server_only("sending")?;
        let now = Instant::now();
        if let Some(since) = self.flow.blind_since {
            let left = limit
                .period
                .saturating_sub(now.saturating_duration_since(since));
            if !left.is_zero() {
                return Ok(Permit::Wait(left));
            }
        }
        let mut rings = self.flow.rings.lock();
        let ring = match rings.get_mut(name) {
            Some(ring) => ring,
            None => rings.entry(name.to_owned()).or_default(),
        };
        Ok(ring.take(limit, wanted, now))
    }

    async fn circuit_admit(&self, name: &str, policy: CircuitPolicy) -> Result<CircuitState> {
        // Nearly always nothing changes, and nothing is written.
        if let (answer, None) = admit(self.flow.circuit(name), policy, now()) {
            return Ok(answer);
        }
        self.change_circuit(name, move |row| admit(row, policy, now()))
            .await
    }

    async fn circuit_success(&self, name: &str) -> Result<CircuitState> {
        if self.flow.circuit(name) == CLOSED {
            return Ok(CircuitState::Closed);
        }
        self.change_circuit(name, |row| (row.state, Some(CLOSED)))
            .await
    }

    async fn circuit_failure(&self, name: &str, policy: CircuitPolicy) -> Result<CircuitState> {
        self.change_circuit(name, move |row| {
            let row = failed(row, policy, now());
            (row.state, Some(row))
        })
        .await
    }

    async fn circuit_open(&self, name: &str) -> Result<()> {
        self.change_circuit(name, |row| {
            let state = CircuitState::Open;
            (
                (),
                Some(Row {
                    state,
                    opened_at: Some(now()),
                    probe_at: None,
                    ..row
                }),
            )
        })
        .await
    }

    async fn circuit(&self, name: &str) -> Result<Circuit> {
        let row = if self.mode == Mode::Server {
            self.flow.circuit(name)
        } else {
            let name = name.to_owned();
            self.readers.run(move |conn| read(conn, &name)).await?
        };
        Ok(Circuit {
            state: row.state,
            failures: row.failures,
            opened_at: row.opened_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit {
        count: 3,
        period: Duration::from_secs(1),
    };

    #[test]
    fn the_window_slides() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut ring = Ring::default();
        assert_eq!(ring.take(LIMIT, 2, at(0)), Permit::Granted(2));
        assert_eq!(ring.take(LIMIT, 2, at(400)), Permit::Granted(1));
        assert_eq!(
            ring.take(LIMIT, 1, at(600)),
            Permit::Wait(Duration::from_millis(400))
        );
        assert_eq!(ring.take(LIMIT, 9, at(1000)), Permit::Granted(2));
        assert_eq!(
            ring.take(LIMIT, 1, at(1399)),
            Permit::Wait(Duration::from_millis(1))
        );
        assert_eq!(ring.take(LIMIT, 1, at(1400)), Permit::Granted(1));
    }

    #[test]
    fn a_ring_stays_short() {
        let start = Instant::now();
        let limit = Limit {
            count: 1_000_000,
            period: Duration::from_mins(1),
        };
        let mut ring = Ring::default();
        for ms in 0..60_000 {
            ring.take(limit, 1, start + Duration::from_millis(ms));
        }
        assert!(
            ring.grants.len() <= GRAIN as usize + 1,
            "{}",
            ring.grants.len()
        );
        assert_eq!(ring.used, 60_000);
    }

    #[test]
    fn a_failed_probe_opens_again_and_a_late_failure_does_not_prolong() {
        let policy = CircuitPolicy {
            threshold: 2,
            timeout: Duration::from_secs(10),
        };
        let at = |second| Timestamp::from_second(second).unwrap();
        let one = failed(CLOSED, policy, at(0));
        assert_eq!(one.state, CircuitState::Closed);
        let open = failed(one, policy, at(1));
        assert_eq!(
            (open.state, open.opened_at),
            (CircuitState::Open, Some(at(1)))
        );
        assert_eq!(failed(open, policy, at(2)).opened_at, Some(at(1)));
        assert_eq!(admit(open, policy, at(10)), (CircuitState::Open, None));
        let (answer, probing) = admit(open, policy, at(11));
        assert_eq!(answer, CircuitState::HalfOpen);
        let probing = probing.unwrap();
        assert_eq!(admit(probing, policy, at(12)), (CircuitState::Open, None));
        assert_eq!(admit(probing, policy, at(21)).0, CircuitState::HalfOpen);
        assert_eq!(failed(probing, policy, at(12)).opened_at, Some(at(12)));
        // The clock was set back: neither time is waited for.
        assert_eq!(admit(open, policy, at(0)).0, CircuitState::HalfOpen);
        assert_eq!(admit(probing, policy, at(10)).0, CircuitState::HalfOpen);
    }
}
