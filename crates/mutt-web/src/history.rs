//! Audit rows as events that rules can be tried on: of a longer time than the sample remembers, as
//! many as a bound allows, and kept for a moment because whoever edits a rule asks again and again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use mutt_engine::audit::StoredAuditRow;
use mutt_engine::{AuditFilter, Engine, EngineError};
use mutt_rules::Subject;
use tokio::sync::Mutex;

use crate::findings::Events;
use crate::sample::{Sampled, Span};

/// The most rows that are read: about 20 MB, and some seconds of a store's time.
pub const ROWS_MAX: usize = 50_000;

/// The longest time back, in minutes: 30 days.
pub const MINUTES_MAX: u32 = 43_200;

const PAGE: usize = 5_000;

/// How long rows are tried again before they are read again.
const FRESH: Duration = Duration::from_secs(30);

/// Device clocks may be behind by so much: rows are found by the device's time and counted by the
/// time of receipt.
const CLOCKS: SignedDuration = SignedDuration::from_hours(24);

/// The widths of the parts of a histogram, in minutes; the first with at most 120 parts is taken,
/// else the last.
const WIDTHS: [u32; 6] = [1, 2, 5, 15, 30, 60];

#[derive(Clone)]
struct Read {
    minutes: u32,
    every_event: bool,
    at: Instant,
    events: Arc<Events>,
}

/// The rows that were read last.
#[derive(Clone, Default)]
pub struct History {
    read: Arc<Mutex<Option<Read>>>,
}

impl History {
    /// The audit rows of the last `minutes`. `every_event` tells whether every event has a row.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn events(
        &self,
        engine: &dyn Engine,
        minutes: u32,
        every_event: bool,
    ) -> Result<Arc<Events>, EngineError> {
        let mut read = self.read.lock().await;
        if let Some(read) = &*read
            && (read.minutes, read.every_event) == (minutes, every_event)
            && read.at.elapsed() < FRESH
        {
            return Ok(Arc::clone(&read.events));
        }
        let now = Timestamp::now();
        let since = now - SignedDuration::from_mins(i64::from(minutes));
        let (rows, cut) = rows(engine, since).await?;
        let made = tokio::task::spawn_blocking(move || {
            arranged(&rows, since, now, minutes, cut, every_event)
        });
        let events = made.await.map_err(|error| {
            EngineError::Unavailable(format!("reading audit rows ended: {error}"))
        })?;
        let events = Arc::new(events);
        let at = Instant::now();
        *read = Some(Read {
            minutes,
            every_event,
            at,
            events: Arc::clone(&events),
        });
        drop(read);
        self.forget_later(at);
        Ok(events)
    }

    /// Gives the memory back when nobody will ask for these rows any more.
    fn forget_later(&self, at: Instant) {
        let read = Arc::downgrade(&self.read);
        tokio::spawn(async move {
            tokio::time::sleep(FRESH).await;
            if let Some(read) = read.upgrade() {
                read.lock().await.take_if(|read| read.at == at);
            }
        });
    }
}

/// The newest rows received since then, and whether the bound left some out.
async fn rows(
    engine: &dyn Engine,
    since: Timestamp,
) -> Result<(Vec<StoredAuditRow>, bool), EngineError> {
    let mut rows = Vec::new();
    let mut before_id = None;
    loop {
        let filter = AuditFilter {
            since: Some(since - CLOCKS),
            before_id,
            limit: PAGE,
            ..AuditFilter::default()
        };
        let page = engine.audit_rows(filter).await?;
        let full = page.len() == PAGE;
        before_id = page.last().map(|row| row.id);
        let before = rows.len();
        rows.extend(page.into_iter().filter(|row| row.received_at >= since));
        if rows.len() > ROWS_MAX {
            rows.truncate(ROWS_MAX);
            return Ok((rows, true));
        }
        // Rows are numbered as they were decided: beyond a page of older ones are only older ones.
        if !full || rows.len() == before {
            return Ok((rows, false));
        }
    }
}

fn arranged(
    rows: &[StoredAuditRow],
    since: Timestamp,
    now: Timestamp,
    minutes: u32,
    cut: bool,
    every_event: bool,
) -> Events {
    let fits = |width: &&u32| minutes.div_ceil(**width) <= 120;
    let seconds = WIDTHS.iter().find(fits).unwrap_or(&60) * 60;
    let width = i64::from(seconds);
    let mut parts = BTreeMap::<i64, Vec<Arc<Sampled>>>::new();
    let (mut unreadable, mut from) = (0_u64, since);
    if cut && let Some(oldest) = rows.iter().map(|row| row.received_at).min() {
        from = oldest;
    }
    for row in rows {
        let Ok(event) = mutt_event::json::view(row.raw_message.as_bytes()) else {
            unreadable += 1;
            continue;
        };
        let subject = Subject {
            message: &event.message,
            trap_oid: event.trap_oid.as_deref(),
            severity: event.severity,
        };
        let event = Sampled::whole(
            row.event_id,
            row.received_at,
            &row.hostname,
            &row.environment,
            &subject,
        );
        let part = row.received_at.as_second().div_euclid(width);
        parts.entry(part).or_default().push(Arc::new(event));
    }
    let spans = parts.into_iter().map(|(part, events)| {
        let start = Timestamp::from_second(part * width).unwrap_or_default();
        Arc::new(Span::whole(start, events))
    });
    let mut about = "Audit rows by the time of receipt.".to_owned();
    if !every_event {
        about += " With audit_scope=matched events that no rule decided have none: what the rule \
                  would take from nobody is missing here.";
    }
    if cut {
        // Writing to a string never fails.
        let _ = write!(
            about,
            " Only the newest {ROWS_MAX} rows were read; there are more."
        );
    }
    if unreadable > 0 {
        let _ = write!(about, " {unreadable} of them could not be read as events.");
    }
    Events {
        from,
        to: now,
        seconds,
        spans: spans.collect(),
        partial: !every_event || cut || unreadable > 0,
        about,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_histogram_has_at_most_120_parts_or_parts_of_an_hour() {
        let now = Timestamp::UNIX_EPOCH;
        for (minutes, seconds) in [(1, 60), (120, 60), (121, 120), (1440, 900), (43_200, 3600)] {
            let events = arranged(&[], now, now, minutes, false, true);
            assert_eq!(events.seconds, seconds, "{minutes}");
            assert!(!events.partial);
        }
        assert!(arranged(&[], now, now, 1, true, true).partial);
        assert!(arranged(&[], now, now, 1, false, false).partial);
    }
}
