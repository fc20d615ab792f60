//! Development hosts and device teams: host names are told apart without regard to case and kept
//! as they were written.

use rusqlite::{Connection, OptionalExtension as _};
use serde_json::{Value, json};

use super::config_audit::record_change;
use crate::catalog::{Change, Imported};
use crate::changes::{
    HOSTS, Operation, Record, TEAMS, host_exists, hostname_key as key, no_host, no_team,
    team_exists,
};
use crate::error::Result;

fn record(
    tx: &Connection,
    (operation, table, hostname): (Operation, &str, &str),
    old: Option<Value>,
    new: Option<Value>,
    by: &Change,
) -> Result<((), i64)> {
    let record = Record {
        operation,
        table,
        id: None,
        key: Some(hostname),
        old,
        new,
    };
    Ok(((), record_change(tx, by, record)?))
}

/// The development hosts, as written, in order.
pub(super) fn development(conn: &Connection) -> Result<Vec<String>> {
    let mut statement =
        conn.prepare_cached("SELECT hostname FROM development_hosts ORDER BY hostname_key")?;
    let rows = statement.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn development_host(tx: &Connection, hostname: &str) -> Result<Option<String>> {
    Ok(tx
        .prepare_cached("SELECT hostname FROM development_hosts WHERE hostname_key = ?1")?
        .query_row([key(hostname)], |row| row.get(0))
        .optional()?)
}

pub(super) fn add_development(tx: &Connection, hostname: &str, by: &Change) -> Result<((), i64)> {
    if let Some(there) = development_host(tx, hostname)? {
        return Err(host_exists(&there));
    }
    tx.prepare_cached("INSERT INTO development_hosts (hostname_key, hostname) VALUES (?1, ?2)")?
        .execute((key(hostname), hostname))?;
    let new = Some(json!({ "hostname": hostname }));
    record(tx, (Operation::Create, HOSTS, hostname), None, new, by)
}

pub(super) fn import_development(
    tx: &Connection,
    hostnames: &[String],
    by: &Change,
) -> Result<(Imported, i64)> {
    let (mut imported, mut last) = (Imported::default(), 0);
    for hostname in hostnames {
        if development_host(tx, hostname)?.is_some() {
            imported.unchanged += 1;
        } else {
            last = add_development(tx, hostname, by)?.1;
            imported.new += 1;
        }
    }
    Ok((imported, last))
}

pub(super) fn remove_development(
    tx: &Connection,
    hostname: &str,
    by: &Change,
) -> Result<((), i64)> {
    let written = development_host(tx, hostname)?.ok_or_else(|| no_host(hostname))?;
    tx.prepare_cached("DELETE FROM development_hosts WHERE hostname_key = ?1")?
        .execute([key(hostname)])?;
    let old = Some(json!({ "hostname": written }));
    record(tx, (Operation::Delete, HOSTS, &written), old, None, by)
}

/// The teams of devices, by host name as written, in order.
pub(super) fn teams(conn: &Connection) -> Result<Vec<(String, String)>> {
    let mut statement = conn.prepare_cached(
        "SELECT hostname, team_assignment FROM device_teams ORDER BY hostname_key",
    )?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn device(tx: &Connection, hostname: &str) -> Result<Option<(String, Value)>> {
    Ok(tx
        .prepare_cached(
            "SELECT hostname, team_assignment FROM device_teams WHERE hostname_key = ?1",
        )?
        .query_row([key(hostname)], |row| {
            let (hostname, team): (String, String) = (row.get(0)?, row.get(1)?);
            let values = json!({ "hostname": &hostname, "team_assignment": team });
            Ok((hostname, values))
        })
        .optional()?)
}

/// A device that is known keeps the writing of its name, so that its history has one key.
pub(super) fn set_team(
    tx: &Connection,
    hostname: &str,
    team: &str,
    by: &Change,
) -> Result<((), i64)> {
    let (operation, written, old) = match device(tx, hostname)? {
        Some((written, values)) => (Operation::Update, written, Some(values)),
        None => (Operation::Create, hostname.to_owned(), None),
    };
    tx.prepare_cached(
        "INSERT INTO device_teams (hostname_key, hostname, team_assignment) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET team_assignment = excluded.team_assignment",
    )?
    .execute((key(hostname), &written, team))?;
    let new = Some(json!({ "hostname": &written, "team_assignment": team }));
    record(tx, (operation, TEAMS, &written), old, new, by)
}

pub(super) fn add_team(
    tx: &Connection,
    hostname: &str,
    team: &str,
    by: &Change,
) -> Result<((), i64)> {
    match device(tx, hostname)? {
        Some((written, _)) => Err(team_exists(&written)),
        None => set_team(tx, hostname, team, by),
    }
}

pub(super) fn import_teams(
    tx: &Connection,
    teams: &[(String, String)],
    by: &Change,
) -> Result<(Imported, i64)> {
    let (mut imported, mut last) = (Imported::default(), 0);
    for (hostname, team) in teams {
        match device(tx, hostname)? {
            Some((_, before)) if before["team_assignment"] == **team => {
                imported.unchanged += 1;
                continue;
            }
            Some(_) => imported.changed += 1,
            None => imported.new += 1,
        }
        last = set_team(tx, hostname, team, by)?.1;
    }
    Ok((imported, last))
}

pub(super) fn remove_team(tx: &Connection, hostname: &str, by: &Change) -> Result<((), i64)> {
    let (written, old) = device(tx, hostname)?.ok_or_else(|| no_team(hostname))?;
    tx.prepare_cached("DELETE FROM device_teams WHERE hostname_key = ?1")?
        .execute([key(hostname)])?;
    record(
        tx,
        (Operation::Delete, TEAMS, &written),
        Some(old),
        None,
        by,
    )
}
