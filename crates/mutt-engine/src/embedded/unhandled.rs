//! Counts of unmatched events, and the meta-alert when a count reaches its threshold.
//!
//! A count lives for a window from its first event, a marker for a window from its meta-alert;
//! both stand in the rows that the decision's own transaction changes, so there is exactly one
//! meta-alert however many workers count. An end that is further away than a window was written
//! while the clock was ahead, or while the window was longer: it counts as over.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::shared::Shared;
use crate::error::Result;
use crate::events::NewAlert;
use crate::unhandled::{
    Unhandled, UnhandledPolicy, UnhandledScope, UnhandledSignature, meta_alert,
};

/// The most signatures that are counted by themselves; beyond it events count for their host alone.
const SIGNATURES: u64 = 100_000;

/// The longest window that can be set, in µs.
const LONGEST_WINDOW: i64 = 30 * 24 * 3600 * 1_000_000;
/// A clock that is corrected by less than this, in µs, was not set back.
const CORRECTION: i64 = 60 * 1_000_000;

/// What counting did.
#[derive(Default)]
pub(super) struct Counted {
    pub(super) meta_alerts: Vec<NewAlert>,
    /// Rows that name a signature and were not there before.
    pub(super) new_signatures: u64,
}

/// Adds the counts of one decision.
pub(super) fn add(
    conn: &Connection,
    shared: &Shared,
    unhandled: &[Unhandled],
    policy: UnhandledPolicy,
    now: Timestamp,
) -> Result<Counted> {
    let mut counted = Counted::default();
    let mut hosts: HashMap<&str, (u64, &Unhandled)> = HashMap::new();
    // In the order of the events, so that meta-alerts come in that order too.
    let mut order = Vec::new();
    let room = shared.signatures.load(Ordering::Relaxed) < SIGNATURES;
    for subject in unhandled {
        let host = hosts.entry(&subject.hostname).or_insert_with(|| {
            order.push(&*subject.hostname);
            (0, subject)
        });
        host.0 += subject.count;
        let text = Some((&*subject.masked, &*subject.sample));
        let Some(row) = count(
            conn,
            subject,
            &subject.signature,
            subject.count,
            text,
            policy,
            now,
            room,
        )?
        else {
            continue;
        };
        counted.new_signatures += u64::from(row.is_new);
        if policy.scope == UnhandledScope::Signature && row.is_due(policy, now) {
            trigger(conn, subject, &subject.signature, policy, now)?;
            let top = [(row.count, subject.sample.to_string())];
            let alert = meta_alert(subject, policy.scope, row.count, policy.window, &top);
            counted.meta_alerts.push(alert);
        }
    }
    for host in order {
        let (events, subject) = hosts[host];
        let Some(row) = count(conn, subject, "", events, None, policy, now, true)? else {
            continue;
        };
        if policy.scope == UnhandledScope::Host && row.is_due(policy, now) {
            trigger(conn, subject, "", policy, now)?;
            let top = top_of_host(conn, host, policy, now)?;
            let alert = meta_alert(subject, policy.scope, row.count, policy.window, &top);
            counted.meta_alerts.push(alert);
        }
    }
    Ok(counted)
}

struct Row {
    count: u64,
    triggered_until: Option<i64>,
    is_new: bool,
}

impl Row {
    fn is_due(&self, policy: UnhandledPolicy, now: Timestamp) -> bool {
        self.count >= policy.threshold
            && self
                .triggered_until
                .is_none_or(|until| until <= now.as_microsecond() || until > furthest(policy, now))
    }
}

/// Adds to one count; one whose window is over begins anew. `None` where it is not counted: it is
/// new and there is no room.
#[expect(clippy::too_many_arguments, reason = "the columns of one row")]
fn count(
    conn: &Connection,
    subject: &Unhandled,
    signature: &str,
    events: u64,
    text: Option<(&str, &str)>,
    policy: UnhandledPolicy,
    now: Timestamp,
    room: bool,
) -> Result<Option<Row>> {
    let furthest = furthest(policy, now);
    let now = now.as_microsecond();
    let expires_at = now.saturating_add(window(policy));
    let events = events.cast_signed();
    let mut known = conn.prepare_cached(
        "UPDATE unhandled SET
             count = CASE WHEN expires_at > ?3 AND expires_at <= ?6 THEN count + ?4 ELSE ?4 END,
             expires_at = CASE WHEN expires_at > ?3 AND expires_at <= ?6 THEN expires_at ELSE ?5 END
         WHERE hostname = ?1 AND signature = ?2
         RETURNING count, triggered_until",
    )?;
    let mut rows = known.query(params![
        &*subject.hostname,
        signature,
        now,
        events,
        expires_at,
        furthest
    ])?;
    if let Some(row) = rows.next()? {
        let count: i64 = row.get(0)?;
        let triggered_until = row.get(1)?;
        return Ok(Some(Row {
            count: count.cast_unsigned(),
            triggered_until,
            is_new: false,
        }));
    }
    if !room {
        return Ok(None);
    }
    conn.prepare_cached(
        "INSERT INTO unhandled (hostname, signature, count, expires_at, masked, sample)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        &*subject.hostname,
        signature,
        events,
        expires_at,
        text.map(|(masked, _)| masked),
        text.map(|(_, sample)| sample)
    ])?;
    let is_new = !signature.is_empty();
    Ok(Some(Row {
        count: events.cast_unsigned(),
        triggered_until: None,
        is_new,
    }))
}

/// The policy's window in µs.
fn window(policy: UnhandledPolicy) -> i64 {
    i64::try_from(policy.window.as_micros()).unwrap_or(i64::MAX)
}

/// The furthest end that a window may have which is not over, in µs.
fn furthest(policy: UnhandledPolicy, now: Timestamp) -> i64 {
    now.as_microsecond()
        .saturating_add(window(policy))
        .saturating_add(CORRECTION)
}

fn trigger(
    conn: &Connection,
    subject: &Unhandled,
    signature: &str,
    policy: UnhandledPolicy,
    now: Timestamp,
) -> Result<()> {
    let until = now.as_microsecond().saturating_add(window(policy));
    conn.prepare_cached(
        "UPDATE unhandled SET triggered_until = ?3 WHERE hostname = ?1 AND signature = ?2",
    )?
    .execute(params![&*subject.hostname, signature, until])?;
    Ok(())
}

/// The most frequent signatures of a host as (count, sample).
fn top_of_host(
    conn: &Connection,
    host: &str,
    policy: UnhandledPolicy,
    now: Timestamp,
) -> Result<Vec<(u64, String)>> {
    let mut statement = conn.prepare_cached(
        "SELECT count, coalesce(sample, '') FROM unhandled
         WHERE hostname = ?1 AND signature <> '' AND expires_at > ?2 AND expires_at <= ?3
         ORDER BY count DESC LIMIT 3",
    )?;
    let mut rows = statement.query(params![host, now.as_microsecond(), furthest(policy, now)])?;
    let mut top = Vec::new();
    while let Some(row) = rows.next()? {
        let count: i64 = row.get(0)?;
        top.push((count.cast_unsigned(), row.get(1)?));
    }
    Ok(top)
}

/// The most frequent signatures over all hosts.
pub(super) fn most_frequent(conn: &Connection, limit: usize) -> Result<Vec<UnhandledSignature>> {
    let now = Timestamp::now().as_microsecond();
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = conn.prepare_cached(
        "SELECT signature, max(coalesce(masked, '')), max(coalesce(sample, '')), sum(count) AS total
         FROM unhandled WHERE signature <> '' AND expires_at > ?1
         GROUP BY signature ORDER BY total DESC, signature LIMIT ?2",
    )?;
    let mut hosts = conn.prepare_cached(
        "SELECT hostname FROM unhandled WHERE signature = ?1 AND expires_at > ?2
         ORDER BY count DESC, hostname LIMIT 10",
    )?;
    let mut found = Vec::new();
    let mut rows = statement.query([now, limit])?;
    while let Some(row) = rows.next()? {
        let signature: String = row.get(0)?;
        let count: i64 = row.get(3)?;
        let hosts = hosts
            .query_map(params![signature, now], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        found.push(UnhandledSignature {
            masked: row.get(1)?,
            sample: row.get(2)?,
            count: count.cast_unsigned(),
            hosts,
            signature,
        });
    }
    Ok(found)
}

/// Removes counts whose window is over, and whose marker's is.
pub(super) fn prune(conn: &Connection, shared: &Shared, now: Timestamp) -> Result<()> {
    conn.prepare_cached(
        "DELETE FROM unhandled WHERE (expires_at <= ?1 OR expires_at > ?2)
             AND (triggered_until IS NULL OR triggered_until <= ?1 OR triggered_until > ?2)",
    )?
    .execute([
        now.as_microsecond(),
        now.as_microsecond()
            .saturating_add(LONGEST_WINDOW + CORRECTION),
    ])?;
    count_signatures(conn, shared)
}

/// Counts the signatures that are counted.
pub(super) fn count_signatures(conn: &Connection, shared: &Shared) -> Result<()> {
    let rows: i64 = conn.query_row(
        "SELECT count(*) FROM unhandled WHERE signature <> ''",
        [],
        |row| row.get(0),
    )?;
    shared
        .signatures
        .store(rows.cast_unsigned(), Ordering::Relaxed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::embedded::schema;

    fn events(count: u64) -> [Unhandled; 1] {
        [Unhandled {
            hostname: "r1".into(),
            signature: "0123456789abcdef".into(),
            masked: "link down".into(),
            sample: "link down".into(),
            count,
            team: "network".into(),
            environment: "production",
        }]
    }

    #[test]
    fn a_clock_that_is_set_back_holds_no_meta_alert_up() {
        let conn = Connection::open_in_memory().unwrap();
        schema::migrate(&conn).unwrap();
        let shared = Shared::new(true);
        let policy = UnhandledPolicy {
            threshold: 10,
            ..UnhandledPolicy::default()
        };
        let meta_alerts = |count, now| {
            let counted = add(&conn, &shared, &events(count), policy, now).unwrap();
            counted.meta_alerts.len()
        };
        let ahead = Timestamp::now();
        assert_eq!(meta_alerts(10, ahead), 1);
        let corrected = ahead - Duration::from_secs(2);
        assert_eq!(meta_alerts(10, corrected), 0, "the marker is still there");
        let back = ahead - Duration::from_hours(24);
        assert_eq!(meta_alerts(9, back), 0, "the count begins anew");
        assert_eq!(meta_alerts(1, back), 1, "and so does the marker");
        assert_eq!(meta_alerts(10, back), 0);
    }

    #[test]
    fn counts_of_a_clock_that_was_far_ahead_are_removed() {
        let conn = Connection::open_in_memory().unwrap();
        schema::migrate(&conn).unwrap();
        let shared = Shared::new(true);
        let policy = UnhandledPolicy::default();
        let ahead = Timestamp::now();
        add(&conn, &shared, &events(200), policy, ahead).unwrap();
        prune(&conn, &shared, ahead).unwrap();
        assert_eq!(shared.signatures.load(Ordering::Relaxed), 1);
        prune(&conn, &shared, ahead - Duration::from_hours(24 * 365)).unwrap();
        assert_eq!(shared.signatures.load(Ordering::Relaxed), 0);
    }
}
