//! Rules as rows of `alert_rules`.

use std::str::FromStr as _;

use jiff::Timestamp;
use mutt_rules::{Handling, MatchType, Mode, Rule, RuleDraft};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::error::Result;

const COLUMNS: &str = "id, match_string, trap_oid, syslog_severity, match_type, priority,
    prod_handling, dev_handling, team_assignment, is_active, mode, description, version,
    created_at, updated_at, deleted_at";

/// A word that a column may hold; any other was not written by MUTT.
fn word<T>(
    row: &Row<'_>,
    index: usize,
    parse: impl FnOnce(&str) -> std::result::Result<T, String>,
) -> rusqlite::Result<T> {
    let text: String = row.get(index)?;
    parse(&text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(index, Type::Text, error.into()))
}

fn match_type(text: &str) -> std::result::Result<MatchType, String> {
    [MatchType::Contains, MatchType::Regex, MatchType::OidPrefix]
        .into_iter()
        .find(|kind| kind.name() == text)
        .ok_or_else(|| format!("'{text}' is no match_type"))
}

fn mode(text: &str) -> std::result::Result<Mode, String> {
    [Mode::Enforce, Mode::Observe]
        .into_iter()
        .find(|mode| mode.name() == text)
        .ok_or_else(|| format!("'{text}' is no mode"))
}

fn read(row: &Row<'_>) -> rusqlite::Result<Rule> {
    Ok(Rule {
        id: row.get(0)?,
        draft: RuleDraft {
            match_string: row.get(1)?,
            trap_oid: row.get(2)?,
            syslog_severity: row.get(3)?,
            match_type: word(row, 4, match_type)?,
            priority: row.get(5)?,
            prod_handling: word(row, 6, Handling::from_str)?,
            dev_handling: word(row, 7, Handling::from_str)?,
            team_assignment: row.get(8)?,
            is_active: row.get(9)?,
            mode: word(row, 10, mode)?,
            description: row.get(11)?,
        },
        version: row.get(12)?,
        created_at: super::timestamp(row.get(13)?),
        updated_at: super::timestamp(row.get(14)?),
        deleted_at: row.get::<_, Option<i64>>(15)?.map(super::timestamp),
    })
}

/// Every rule that is not deleted, by priority, then id.
pub(super) fn list(conn: &Connection) -> Result<Vec<Rule>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM alert_rules WHERE deleted_at IS NULL ORDER BY priority, id"
    ))?;
    let rows = statement.query_map([], read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// One rule, deleted or not.
pub(super) fn get(conn: &Connection, id: i64) -> Result<Option<Rule>> {
    Ok(conn
        .prepare_cached(&format!("SELECT {COLUMNS} FROM alert_rules WHERE id = ?1"))?
        .query_row([id], read)
        .optional()?)
}

/// Stores a new rule.
pub(super) fn insert(tx: &Connection, draft: RuleDraft, now: Timestamp) -> Result<Rule> {
    tx.prepare_cached(
        "INSERT INTO alert_rules (match_string, trap_oid, syslog_severity, match_type, priority,
             prod_handling, dev_handling, team_assignment, is_active, mode, description, version,
             created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 1, ?12, ?12)",
    )?
    .execute(params![
        draft.match_string,
        draft.trap_oid,
        draft.syslog_severity,
        draft.match_type.name(),
        draft.priority,
        draft.prod_handling.name(),
        draft.dev_handling.name(),
        draft.team_assignment,
        draft.is_active,
        draft.mode.name(),
        draft.description,
        now.as_microsecond(),
    ])?;
    Ok(Rule {
        id: tx.last_insert_rowid(),
        draft,
        version: 1,
        created_at: now,
        updated_at: now,
        deleted_at: None,
    })
}

/// Stores what a rule says now.
pub(super) fn update(tx: &Connection, rule: &Rule) -> Result<()> {
    let draft = &rule.draft;
    tx.prepare_cached(
        "UPDATE alert_rules SET match_string = ?2, trap_oid = ?3, syslog_severity = ?4,
             match_type = ?5, priority = ?6, prod_handling = ?7, dev_handling = ?8,
             team_assignment = ?9, is_active = ?10, mode = ?11, description = ?12, version = ?13,
             updated_at = ?14, deleted_at = ?15
         WHERE id = ?1",
    )?
    .execute(params![
        rule.id,
        draft.match_string,
        draft.trap_oid,
        draft.syslog_severity,
        draft.match_type.name(),
        draft.priority,
        draft.prod_handling.name(),
        draft.dev_handling.name(),
        draft.team_assignment,
        draft.is_active,
        draft.mode.name(),
        draft.description,
        rule.version,
        rule.updated_at.as_microsecond(),
        rule.deleted_at.map(Timestamp::as_microsecond),
    ])?;
    Ok(())
}
