//! A decision takes effect: audit rows, alerts, dead letters, counts and the end of the claim, in
//! one transaction.
//!
//! Taking the claim's blocks off the disk is what makes it happen once: where they are gone, the
//! decision took effect before.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use rusqlite::{Connection, Statement};

use super::alert_state::Waiting;
use super::blocks::History;
use super::event_state::{Part, Standing};
use super::shared::Shared;
use super::{alerts, blocks, counters, dead_letters, unhandled};
use crate::audit::AuditRow;
use crate::dead_letters::Dlq;
use crate::error::{EngineError, Result};
use crate::events::{Decision, EventClaim, Settled};

/// What a decision did to the disk and has to do to memory.
pub(super) enum Effect {
    /// It took effect now.
    New {
        settled: Settled,
        alerts: Vec<Waiting>,
        dead: u64,
        signatures: u64,
    },
    /// It had taken effect before, with this result.
    Before(Settled),
}

/// Does the work on the transaction.
pub(super) fn execute(tx: &Connection, shared: &Shared, decision: &Decision) -> Result<Effect> {
    let Decision { claim, outcome } = decision;
    let parts = {
        let mut events = shared.events.lock();
        match events.standing(claim.id) {
            Standing::Held => events.begin_deciding(claim.id).ok_or(EngineError::Fenced)?,
            Standing::Applied(settled) => return Ok(Effect::Before(settled)),
            Standing::Gone => return Err(EngineError::Fenced),
        }
    };
    let now = Timestamp::now();
    let replayed = replayed(tx, claim, &parts, !outcome.dead.is_empty())?;
    match settle(tx, &parts)? {
        Settlement::Now => {}
        Settlement::Before => return Ok(Effect::Before(Settled::default())),
        Settlement::Partly(gone) => {
            // Cannot happen while the disk tells the truth; whatever is left is decided anew.
            tracing::error!(?gone, "blocks of a claim are gone from the database");
            shared.with_events(|events| events.give_back(claim.id, &gone));
            return Err(EngineError::Fenced);
        }
    }
    insert_audit(tx, claim, &outcome.audit)?;
    let mut new_alerts = Vec::with_capacity(outcome.alerts.len());
    for alert in &outcome.alerts {
        new_alerts.push(alerts::insert(tx, &alert.element, History::default(), now)?);
    }
    for letter in &outcome.dead {
        let history = replayed.get(&*letter.element).copied().unwrap_or_default();
        dead_letters::insert(tx, Dlq::Alerter, letter, 0, history, now)?;
    }
    let counted = unhandled::add(
        tx,
        shared,
        &outcome.unhandled,
        outcome.unhandled_policy,
        now,
    )?;
    let settled = Settled {
        meta_alerts: counted.meta_alerts.len() as u64,
    };
    for alert in &counted.meta_alerts {
        new_alerts.push(alerts::insert(tx, &alert.element, History::default(), now)?);
    }
    counters::add_rule_hits(tx, now, &outcome.rule_hits)?;
    Ok(Effect::New {
        settled,
        alerts: new_alerts,
        dead: outcome.dead.len() as u64,
        signatures: counted.new_signatures,
    })
}

/// After the commit: memory follows.
pub(super) fn finish(shared: &Shared, claim: u64, result: Result<Effect>) -> Result<Settled> {
    match result {
        Ok(Effect::New {
            settled,
            alerts,
            dead,
            signatures,
        }) => {
            shared.with_events(|events| events.applied(claim, settled));
            if !alerts.is_empty() {
                shared.with_alerts(|state| alerts.into_iter().for_each(|alert| state.add(alert)));
            }
            shared.dead(Dlq::Alerter).fetch_add(dead, Ordering::AcqRel);
            shared.signatures.fetch_add(signatures, Ordering::Relaxed);
            Ok(settled)
        }
        Ok(Effect::Before(settled)) => {
            shared.with_events(|events| events.applied(claim, settled));
            Ok(settled)
        }
        Err(error) => {
            shared.with_events(|events| events.stop_deciding(claim));
            Err(error)
        }
    }
}

enum Settlement {
    Now,
    Before,
    /// These blocks are gone, others are not.
    Partly(Vec<i64>),
}

/// Takes the claim's parts off the disk.
fn settle(tx: &Connection, parts: &[Part]) -> Result<Settlement> {
    let mut gone = Vec::new();
    for part in parts {
        if !blocks::settle(tx, part)? {
            gone.push(part.block);
        }
    }
    Ok(if gone.is_empty() {
        Settlement::Now
    } else if gone.len() == parts.len() {
        Settlement::Before
    } else {
        Settlement::Partly(gone)
    })
}

/// Which elements were replayed from the dead letters before; looked up only where something dies.
fn replayed<'a>(
    tx: &Connection,
    claim: &'a EventClaim,
    parts: &[Part],
    wanted: bool,
) -> Result<HashMap<&'a [u8], History>> {
    let mut replayed = HashMap::new();
    if wanted {
        for (part, events) in parts.iter().zip(&claim.events) {
            let history = blocks::history(tx, part.block)?;
            if history != History::default() {
                replayed.extend(events.iter().map(|element| (element, history)));
            }
        }
    }
    Ok(replayed)
}

/// How many rows one statement inserts: it saves most of the cost of starting a statement.
const ROWS: usize = 8;
const COLUMNS: usize = 15;

fn audit_sql(rows: usize) -> String {
    let row = format!("({}?)", "?,".repeat(COLUMNS - 1));
    format!(
        "INSERT OR IGNORE INTO event_audit_log (event_id, event_timestamp, received_at, hostname,
             source, syslog_severity, trap_oid, environment, matched_rule_id, rule_version,
             handling_decision, team_assignment, forwarded_to_moog, correlation_id, raw_message)
         VALUES {}{row}",
        format!("{row},").repeat(rows - 1)
    )
}

fn insert_audit(tx: &Connection, claim: &EventClaim, rows: &[AuditRow]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let events: Vec<&[u8]> = claim.iter().collect();
    let mut inserted = 0;
    let (eights, rest) = rows.as_chunks::<ROWS>();
    if !eights.is_empty() {
        let mut statement = tx.prepare_cached(&audit_sql(ROWS))?;
        for eight in eights {
            for (index, row) in eight.iter().enumerate() {
                bind(&mut statement, index * COLUMNS, row, &events)?;
            }
            inserted += statement.raw_execute()?;
        }
    }
    if !rest.is_empty() {
        let mut statement = tx.prepare_cached(&audit_sql(1))?;
        for row in rest {
            bind(&mut statement, 0, row, &events)?;
            inserted += statement.raw_execute()?;
        }
    }
    tx.prepare_cached("UPDATE facts SET value = value + ?1 WHERE name = 'audit_rows'")?
        .execute([i64::try_from(inserted).expect("a claim is smaller")])?;
    Ok(())
}

fn bind(
    statement: &mut Statement<'_>,
    before: usize,
    row: &AuditRow,
    events: &[&[u8]],
) -> Result<()> {
    let event = events.get(row.index as usize).ok_or_else(|| {
        EngineError::Invalid(format!(
            "an audit row is about event {} of a claim of {}",
            row.index,
            events.len()
        ))
    })?;
    let raw = String::from_utf8_lossy(event);
    let at = before + 1;
    statement.raw_bind_parameter(at, &row.event_id.as_bytes()[..])?;
    statement.raw_bind_parameter(at + 1, row.event_timestamp.as_microsecond())?;
    statement.raw_bind_parameter(at + 2, row.received_at.as_microsecond())?;
    statement.raw_bind_parameter(at + 3, &*row.hostname)?;
    statement.raw_bind_parameter(at + 4, row.source.as_deref())?;
    statement.raw_bind_parameter(at + 5, row.syslog_severity)?;
    statement.raw_bind_parameter(at + 6, row.trap_oid.as_deref())?;
    statement.raw_bind_parameter(at + 7, row.environment)?;
    statement.raw_bind_parameter(at + 8, row.matched_rule_id)?;
    statement.raw_bind_parameter(at + 9, row.rule_version)?;
    statement.raw_bind_parameter(at + 10, row.handling_decision)?;
    statement.raw_bind_parameter(at + 11, row.team_assignment.as_deref())?;
    statement.raw_bind_parameter(at + 12, row.forwarded_to_moog)?;
    statement.raw_bind_parameter(at + 13, &*row.correlation_id)?;
    statement.raw_bind_parameter(at + 14, &*raw)?;
    Ok(())
}
