//! What a change of the catalog must hold before it is stored, and what its audit row says: the
//! same on every engine, error texts included. Knows no store.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use jiff::Timestamp;
use mutt_rules::{Rule, RuleChange, RuleDraft};
use serde_json::Value;

use crate::error::{EngineError, Result};

/// The table of rules, in `config_audit_log` too.
pub const RULES: &str = "alert_rules";
/// The table of development hosts.
pub const HOSTS: &str = "development_hosts";
/// The table of device teams.
pub const TEAMS: &str = "device_teams";

const HOSTNAME_MAX: usize = 255;
const TEAM_MAX: usize = 100;

/// What was done to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It is new.
    Create,
    /// It says something else now.
    Update,
    /// It is gone.
    Delete,
}

impl Operation {
    /// The name in `config_audit_log`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

/// What changed: a row of a table, by number or key, with what it said and says.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// What was done.
    pub operation: Operation,
    /// The table, or the queue, that changed.
    pub table: &'a str,
    /// The row's number, where it has one.
    pub id: Option<i64>,
    /// The row's key, where it has one.
    pub key: Option<&'a str>,
    /// What it said before.
    pub old: Option<Value>,
    /// What it says now.
    pub new: Option<Value>,
}

impl Record<'_> {
    /// The record of a rule that was added (`old` is `None`), changed, or deleted (`new` is `None`).
    pub fn of_rule(old: Option<&Rule>, new: Option<&Rule>) -> Self {
        let json = |rule: &Rule| {
            serde_json::to_value(rule).expect("a rule is always representable as JSON")
        };
        Self {
            operation: match (old, new) {
                (None, _) => Operation::Create,
                (Some(_), Some(_)) => Operation::Update,
                (Some(_), None) => Operation::Delete,
            },
            table: RULES,
            id: new.or(old).map(|rule| rule.id),
            key: None,
            old: old.map(json),
            new: new.map(json),
        }
    }
}

/// Checks rules that are to be added, on a thread for blocking work: compiling many patterns takes
/// a while.
///
/// # Errors
/// `Invalid` names every rule (by position, from 0, where there are several), field and reason.
pub async fn checked_rules(drafts: Vec<RuleDraft>) -> Result<Vec<RuleDraft>> {
    let check = move || {
        let several = drafts.len() > 1;
        let mut wrong = Vec::new();
        for (index, draft) in drafts.iter().enumerate() {
            if let Err(invalid) = draft.check() {
                wrong.push(if several {
                    format!("rule {index}: {invalid}")
                } else {
                    invalid.to_string()
                });
            }
        }
        if wrong.is_empty() {
            Ok(drafts)
        } else {
            Err(EngineError::Invalid(wrong.join("; ")))
        }
    };
    tokio::task::spawn_blocking(check)
        .await
        .map_err(|_| EngineError::Unavailable("a mistake in MUTT: a check panicked".to_owned()))?
}

/// There is no rule of this number.
pub fn no_rule(id: i64) -> EngineError {
    EngineError::NotFound(format!("rule {id}"))
}

/// The rule as it may be changed: not deleted, and of the version that the caller knows.
///
/// # Errors
/// `NotFound`, `Conflict`.
pub fn current_rule(found: Option<Rule>, id: i64, if_version: Option<i64>) -> Result<Rule> {
    let rule = found
        .filter(|rule| rule.deleted_at.is_none())
        .ok_or_else(|| no_rule(id))?;
    if if_version.is_some_and(|version| version != rule.version) {
        return Err(EngineError::Conflict(format!(
            "rule {id} was changed in the meantime: it is at version {} now",
            rule.version
        )));
    }
    Ok(rule)
}

/// A rule with a change made.
///
/// # Errors
/// `Invalid` where it may not be stored like that.
pub fn changed_rule(old: &Rule, change: RuleChange, now: Timestamp) -> Result<Rule> {
    let draft = change.apply(&old.draft);
    draft
        .check()
        .map_err(|invalid| EngineError::Invalid(invalid.to_string()))?;
    Ok(Rule {
        draft,
        version: old.version + 1,
        // Where the clock was put back, a change still comes after the one before.
        updated_at: now.max(old.updated_at),
        ..old.clone()
    })
}

/// A rule, deleted.
#[must_use]
pub fn deleted_rule(old: &Rule, now: Timestamp) -> Rule {
    let now = now.max(old.updated_at);
    Rule {
        version: old.version + 1,
        updated_at: now,
        deleted_at: Some(now),
        ..old.clone()
    }
}

fn text(field: &str, text: &str, most: usize) -> Result<String> {
    let text = text.trim();
    let length = text.chars().count();
    if length == 0 || length > most || text.chars().any(char::is_control) {
        return Err(EngineError::Invalid(format!(
            "{field}: 1 to {most} characters without control characters are allowed, not {length}"
        )));
    }
    Ok(text.to_owned())
}

/// A host name as it is stored.
///
/// # Errors
/// `Invalid` says what is allowed.
pub fn checked_hostname(hostname: &str) -> Result<String> {
    text("hostname", hostname, HOSTNAME_MAX)
}

/// A team as it is stored.
///
/// # Errors
/// `Invalid` says what is allowed.
pub fn checked_team(team: &str) -> Result<String> {
    text("team_assignment", team, TEAM_MAX)
}

/// What host names are told apart by: not by case.
pub fn hostname_key(hostname: &str) -> String {
    hostname.to_lowercase()
}

/// The development host is there already, written like this.
pub fn host_exists(written: &str) -> EngineError {
    EngineError::Conflict(format!("development host '{written}' is there already"))
}

/// The device has a team already.
pub fn team_exists(written: &str) -> EngineError {
    EngineError::Conflict(format!("device '{written}' has a team already"))
}

/// Host names as they are stored, each once.
///
/// # Errors
/// `Invalid` names the first one that is not allowed, by its place from 0.
pub fn checked_hostnames(hostnames: Vec<String>) -> Result<Vec<String>> {
    let teams = hostnames.into_iter().map(|host| (host, None)).collect();
    let hosts = checked_devices(teams)?.into_iter();
    Ok(hosts.map(|(host, _)| host).collect())
}

/// Host names and teams as they are stored, each host once: of several rows the last counts.
///
/// # Errors
/// `Invalid` names the first row that is not allowed, by its place from 0.
pub fn checked_teams(teams: Vec<(String, String)>) -> Result<Vec<(String, String)>> {
    let teams = teams
        .into_iter()
        .map(|(host, team)| (host, Some(team)))
        .collect();
    let devices = checked_devices(teams)?.into_iter();
    Ok(devices
        .map(|(host, team)| (host, team.unwrap_or_default()))
        .collect())
}

fn checked_devices(rows: Vec<(String, Option<String>)>) -> Result<Vec<(String, Option<String>)>> {
    let mut devices: Vec<(String, Option<String>)> = Vec::with_capacity(rows.len());
    let mut places: HashMap<String, usize> = HashMap::new();
    for (row, (host, team)) in rows.into_iter().enumerate() {
        let checked = checked_hostname(&host).and_then(|host| {
            let team = team.map(|team| checked_team(&team)).transpose()?;
            Ok((host, team))
        });
        let (host, team) = checked.map_err(|error| match error {
            EngineError::Invalid(text) => EngineError::Invalid(format!("row {row}: {text}")),
            other => other,
        })?;
        match places.entry(hostname_key(&host)) {
            Entry::Occupied(place) => {
                devices[*place.get()].1 = team;
            }
            Entry::Vacant(place) => {
                place.insert(devices.len());
                devices.push((host, team));
            }
        }
    }
    Ok(devices)
}

/// There is no such development host.
pub fn no_host(hostname: &str) -> EngineError {
    EngineError::NotFound(format!("development host '{hostname}'"))
}

/// The device has no team.
pub fn no_team(hostname: &str) -> EngineError {
    EngineError::NotFound(format!("the team of device '{hostname}'"))
}
