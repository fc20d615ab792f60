//! Counters by minute, hour and day: accepted events and rule matches.
//!
//! They are added up in the commit that they count, once per commit, so that they are exact.

use std::collections::HashMap;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{Embedded, unhandled};
use crate::error::Result;
use crate::reports::FlowCounts;
use crate::status::{Component, Counters, FLOW_KEPT, OUTCOMES_KEPT, Outcomes, Span};
use crate::unhandled::UnhandledSignature;

const SPANS: [Span; 3] = [Span::Minute, Span::Hour, Span::Day];

impl Span {
    fn number(self) -> i64 {
        self as i64
    }

    /// Its width in µs.
    fn width(self) -> i64 {
        1_000_000
            * match self {
                Self::Minute => 60,
                Self::Hour => 3600,
                Self::Day => 86_400,
            }
    }

    /// How many of them are kept.
    fn kept(self) -> i64 {
        match self {
            Self::Minute => 120,
            Self::Hour => 48,
            Self::Day => 30,
        }
    }

    /// The start of the span that holds `now`, in µs.
    fn start(self, now: Timestamp) -> i64 {
        let now = now.as_microsecond();
        now - now.rem_euclid(self.width())
    }
}

/// Counts accepted events.
pub(super) fn add_accepted(conn: &Connection, now: Timestamp, events: u64) -> Result<()> {
    let mut statement = conn.prepare_cached(
        "INSERT INTO accepted (span, start, count) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET count = count + excluded.count",
    )?;
    for span in SPANS {
        statement.execute(params![
            span.number(),
            span.start(now),
            events.cast_signed()
        ])?;
    }
    Ok(())
}

/// Counts rule matches.
pub(super) fn add_rule_hits(conn: &Connection, now: Timestamp, hits: &[(i64, u64)]) -> Result<()> {
    if hits.is_empty() {
        return Ok(());
    }
    let mut statement = conn.prepare_cached(
        "INSERT INTO rule_hits (span, start, rule_id, count) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET count = count + excluded.count",
    )?;
    for span in SPANS {
        let start = span.start(now);
        for &(rule, count) in hits {
            statement.execute(params![span.number(), start, rule, count.cast_signed()])?;
        }
    }
    Ok(())
}

/// How often each rule matched within the last 60 minutes, 24 hours and 30 days, each with the
/// running one.
pub(super) fn rule_hits(conn: &Connection) -> Result<HashMap<i64, [u64; 3]>> {
    let now = Timestamp::now();
    let mut hits: HashMap<i64, [u64; 3]> = HashMap::new();
    let mut statement = conn.prepare_cached(
        "SELECT rule_id, sum(count) FROM rule_hits WHERE span = ?1 AND start > ?2 GROUP BY rule_id",
    )?;
    for (index, (span, spans)) in SPANS.into_iter().zip([60, 24, 30]).enumerate() {
        let mut rows = statement.query([span.number(), span.start(now) - spans * span.width()])?;
        while let Some(row) = rows.next()? {
            let count: i64 = row.get(1)?;
            hits.entry(row.get(0)?).or_default()[index] = count.cast_unsigned();
        }
    }
    Ok(hits)
}

/// When each rule first and last matched, as exactly as the spans tell.
fn rule_hit_times(conn: &Connection) -> Result<HashMap<i64, (Timestamp, Timestamp)>> {
    let mut statement = conn.prepare_cached(
        "SELECT rule_id, min(CASE WHEN span = ?1 THEN start END), max(start)
         FROM rule_hits WHERE start > ?2 GROUP BY rule_id",
    )?;
    let since = Span::Day.start(Timestamp::now()) - Span::Day.kept() * Span::Day.width();
    let mut rows = statement.query([Span::Day.number(), since])?;
    let mut times = HashMap::new();
    while let Some(row) = rows.next()? {
        let last: i64 = row.get(2)?;
        let first = row.get::<_, Option<i64>>(1)?.unwrap_or(last);
        times.insert(
            row.get(0)?,
            (super::timestamp(first), super::timestamp(last)),
        );
    }
    Ok(times)
}

fn add_outcomes(conn: &Connection, component: Component, outcomes: Outcomes) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO outcomes (component, start, good, bad) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET good = good + excluded.good, bad = bad + excluded.bad",
    )?
    .execute(params![
        component.name(),
        Span::Minute.start(Timestamp::now()),
        outcomes.good.cast_signed(),
        outcomes.bad.cast_signed()
    ])?;
    Ok(())
}

fn outcomes(conn: &Connection, component: Component, minutes: u32) -> Result<Outcomes> {
    let minutes = i64::from(minutes.min(OUTCOMES_KEPT));
    let from = Span::Minute.start(Timestamp::now()) - minutes * Span::Minute.width();
    let outcomes = conn
        .prepare_cached(
            "SELECT coalesce(sum(good), 0), coalesce(sum(bad), 0) FROM outcomes
             WHERE component = ?1 AND start > ?2",
        )?
        .query_row(params![component.name(), from], |row| {
            Ok(Outcomes {
                good: row.get::<_, i64>(0)?.cast_unsigned(),
                bad: row.get::<_, i64>(1)?.cast_unsigned(),
            })
        })?;
    Ok(outcomes)
}

/// The start of the first of the last `minutes` minutes, in µs.
fn first_minute(minutes: u32) -> i64 {
    let before = i64::from(minutes) - 1;
    Span::Minute.start(Timestamp::now()) - before * Span::Minute.width()
}

fn outcomes_by_minute(
    conn: &Connection,
    component: Component,
    minutes: u32,
) -> Result<Vec<(Timestamp, Outcomes)>> {
    let mut statement = conn.prepare_cached(
        "SELECT start, good, bad FROM outcomes WHERE component = ?1 AND start >= ?2 ORDER BY start",
    )?;
    let from = first_minute(minutes.min(OUTCOMES_KEPT));
    let rows = statement.query_map(params![component.name(), from], |row| {
        let outcomes = Outcomes {
            good: row.get::<_, i64>(1)?.cast_unsigned(),
            bad: row.get::<_, i64>(2)?.cast_unsigned(),
        };
        Ok((super::timestamp(row.get(0)?), outcomes))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn add_flow(conn: &Connection, counts: &FlowCounts) -> Result<()> {
    let mut statement = conn.prepare_cached(
        "INSERT INTO flow_counts (start, name, count) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET count = count + excluded.count",
    )?;
    let start = Span::Minute.start(Timestamp::now());
    for (name, count) in counts.named().filter(|&(_, count)| count > 0) {
        statement.execute(params![start, name, count.cast_signed()])?;
    }
    Ok(())
}

fn flow(conn: &Connection, minutes: u32) -> Result<Vec<(Timestamp, FlowCounts)>> {
    let mut statement = conn.prepare_cached(
        "SELECT start, name, count FROM flow_counts WHERE start >= ?1 ORDER BY start",
    )?;
    let mut rows = statement.query([first_minute(minutes.min(FLOW_KEPT))])?;
    let mut flow: Vec<(Timestamp, FlowCounts)> = Vec::new();
    while let Some(row) = rows.next()? {
        let start = super::timestamp(row.get(0)?);
        if flow.last().is_none_or(|(last, _)| *last != start) {
            flow.push((start, FlowCounts::default()));
        }
        let (name, count): (String, i64) = (row.get(1)?, row.get(2)?);
        let counts = flow.last_mut().map(|(_, counts)| counts);
        if let Some(kept) = counts.and_then(|counts| counts.named_mut(&name)) {
            *kept = count.cast_unsigned();
        }
    }
    Ok(flow)
}

/// Removes what is older than it is kept.
pub(super) fn prune(conn: &Connection, now: Timestamp) -> Result<()> {
    for span in SPANS {
        let oldest = span.start(now) - span.kept() * span.width();
        for table in ["accepted", "rule_hits"] {
            conn.prepare_cached(&format!(
                "DELETE FROM {table} WHERE span = ?1 AND start < ?2"
            ))?
            .execute([span.number(), oldest])?;
        }
    }
    let oldest = Span::Minute.start(now) - i64::from(OUTCOMES_KEPT) * Span::Minute.width();
    conn.prepare_cached("DELETE FROM outcomes WHERE start < ?1")?
        .execute([oldest])?;
    let oldest = Span::Minute.start(now) - i64::from(FLOW_KEPT) * Span::Minute.width();
    conn.prepare_cached("DELETE FROM flow_counts WHERE start < ?1")?
        .execute([oldest])?;
    Ok(())
}

#[async_trait]
impl Counters for Embedded {
    async fn accepted(&self, span: Span, spans: u32) -> Result<Vec<(Timestamp, u64)>> {
        self.readers
            .run(move |conn| {
                let from = span.start(Timestamp::now()) - i64::from(spans) * span.width();
                let mut statement = conn.prepare_cached(
                    "SELECT start, count FROM accepted WHERE span = ?1 AND start > ?2 ORDER BY start",
                )?;
                let mut rows = statement.query([span.number(), from])?;
                let mut counts = Vec::new();
                while let Some(row) = rows.next()? {
                    let count: i64 = row.get(1)?;
                    counts.push((super::timestamp(row.get(0)?), count.cast_unsigned()));
                }
                Ok(counts)
            })
            .await
    }

    async fn add_outcomes(&self, component: Component, outcomes: Outcomes) -> Result<()> {
        self.writer
            .run(move |tx| add_outcomes(tx, component, outcomes))
            .await
    }

    async fn outcomes(&self, component: Component, minutes: u32) -> Result<Outcomes> {
        self.readers
            .run(move |conn| outcomes(conn, component, minutes))
            .await
    }

    async fn outcomes_by_minute(
        &self,
        component: Component,
        minutes: u32,
    ) -> Result<Vec<(Timestamp, Outcomes)>> {
        self.readers
            .run(move |conn| outcomes_by_minute(conn, component, minutes))
            .await
    }

    async fn add_flow(&self, counts: &FlowCounts) -> Result<()> {
        let counts = *counts;
        self.writer.run(move |tx| add_flow(tx, &counts)).await
    }

    async fn flow(&self, minutes: u32) -> Result<Vec<(Timestamp, FlowCounts)>> {
        self.readers.run(move |conn| flow(conn, minutes)).await
    }

    async fn rule_hit_times(&self) -> Result<HashMap<i64, (Timestamp, Timestamp)>> {
        self.readers.run(rule_hit_times).await
    }

    async fn unhandled(&self, limit: usize) -> Result<Vec<UnhandledSignature>> {
        self.readers
            .run(move |conn| unhandled::most_frequent(conn, limit))
            .await
    }
}
