//! Rules, development hosts and device teams: what the team says, as it is stored.
//!
//! A change, its audit row and (after the commit) its announcement belong together: everything goes
//! through [`Embedded::announcing`].

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use jiff::Timestamp;
use mutt_rules::{Rule, RuleChange, RuleDraft};
use rusqlite::Connection;

use super::config_audit::{self, record_change};
use super::{Embedded, counters, hosts, rules, set_fact};
use crate::catalog::{Catalog, Change, ConfigAuditFilter, ConfigAuditRow, Imported, Note};
use crate::changes::{
    Record, changed_rule, checked_hostname, checked_hostnames, checked_rules, checked_team,
    checked_teams, current_rule, deleted_rule, no_rule,
};
use crate::error::Result;
use crate::live::Changed;

impl Embedded {
    /// Does `op`, which returns a result and the number of its audit row, and announces it once it
    /// is durable, even where the caller went away.
    pub(super) async fn announcing<T, F>(&self, what: Changed, op: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<(T, i64)> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let then = move |done: Result<(T, i64)>| {
            let (result, row) = done?;
            // So that it is not taken for another process's change.
            shared.announced.0.fetch_max(row, Ordering::Relaxed);
            shared.announce(what);
            Ok(result)
        };
        self.writer.run_then(op, then).await
    }
}

/// The rule as it may be changed.
fn current(tx: &Connection, id: i64, if_version: Option<i64>) -> Result<Rule> {
    current_rule(rules::get(tx, id)?, id, if_version)
}

fn add(tx: &Connection, drafts: Vec<RuleDraft>, by: &Change) -> Result<(Vec<Rule>, i64)> {
    let now = config_audit::now();
    let (mut added, mut row) = (Vec::with_capacity(drafts.len()), 0);
    for draft in drafts {
        let rule = rules::insert(tx, draft, now)?;
        row = record_change(tx, by, Record::of_rule(None, Some(&rule)))?;
        added.push(rule);
    }
    Ok((added, row))
}

fn change(
    tx: &Connection,
    id: i64,
    change: RuleChange,
    if_version: Option<i64>,
    by: &Change,
) -> Result<(Rule, i64)> {
    let old = current(tx, id, if_version)?;
    let new = changed_rule(&old, change, config_audit::now())?;
    rules::update(tx, &new)?;
    let row = record_change(tx, by, Record::of_rule(Some(&old), Some(&new)))?;
    Ok((new, row))
}

fn delete(tx: &Connection, id: i64, if_version: Option<i64>, by: &Change) -> Result<((), i64)> {
    let old = current(tx, id, if_version)?;
    rules::update(tx, &deleted_rule(&old, config_audit::now()))?;
    let row = record_change(tx, by, Record::of_rule(Some(&old), None))?;
    Ok(((), row))
}

#[async_trait]
impl Catalog for Embedded {
    async fn rules(&self) -> Result<Vec<Rule>> {
        self.readers.run(rules::list).await
    }

    async fn rule(&self, id: i64) -> Result<Rule> {
        self.readers
            .run(move |conn| rules::get(conn, id)?.ok_or_else(|| no_rule(id)))
            .await
    }

    async fn add_rules(&self, drafts: Vec<RuleDraft>, by: &Change) -> Result<Vec<Rule>> {
        let drafts = checked_rules(drafts).await?;
        if drafts.is_empty() {
            return Ok(Vec::new());
        }
        let by = by.clone();
        self.announcing(Changed::Catalog, move |tx| add(tx, drafts, &by))
            .await
    }

    async fn change_rule(
        &self,
        id: i64,
        what: RuleChange,
        if_version: Option<i64>,
        by: &Change,
    ) -> Result<Rule> {
        let by = by.clone();
        self.announcing(Changed::Catalog, move |tx| {
            change(tx, id, what, if_version, &by)
        })
        .await
    }

    async fn delete_rule(&self, id: i64, if_version: Option<i64>, by: &Change) -> Result<()> {
        let by = by.clone();
        self.announcing(Changed::Catalog, move |tx| delete(tx, id, if_version, &by))
            .await
    }

    async fn rule_hits(&self) -> Result<HashMap<i64, [u64; 3]>> {
        self.readers.run(counters::rule_hits).await
    }

    async fn development_hosts(&self) -> Result<Vec<String>> {
        self.readers.run(hosts::development).await
    }

    async fn add_development_host(&self, hostname: &str, by: &Change) -> Result<()> {
        let (hostname, by) = (checked_hostname(hostname)?, by.clone());
        self.announcing(Changed::Catalog, move |tx| {
            hosts::add_development(tx, &hostname, &by)
        })
        .await
    }

    async fn import_development_hosts(
        &self,
        hostnames: Vec<String>,
        by: &Change,
    ) -> Result<Imported> {
        let (hostnames, by) = (checked_hostnames(hostnames)?, by.clone());
        self.announcing(Changed::Catalog, move |tx| {
            hosts::import_development(tx, &hostnames, &by)
        })
        .await
    }

    async fn remove_development_host(&self, hostname: &str, by: &Change) -> Result<()> {
        let (hostname, by) = (hostname.trim().to_owned(), by.clone());
        self.announcing(Changed::Catalog, move |tx| {
            hosts::remove_development(tx, &hostname, &by)
        })
        .await
    }

    async fn device_teams(&self) -> Result<Vec<(String, String)>> {
        self.readers.run(hosts::teams).await
    }

    async fn set_device_team(&self, hostname: &str, team: &str, by: &Change) -> Result<()> {
        let (hostname, team) = (checked_hostname(hostname)?, checked_team(team)?);
        let by = by.clone();
        self.announcing(Changed::Catalog, move |tx| {
            hosts::set_team(tx, &hostname, &team, &by)
        })
        .await
    }

    async fn add_device_team(&self, hostname: &str, team: &str, by: &Change) -> Result<()> {
        let (hostname, team) = (checked_hostname(hostname)?, checked_team(team)?);
        let by = by.clone();
        self.announcing(Changed::Catalog, move |tx| {
            hosts::add_team(tx, &hostname, &team, &by)
        })
        .await
    }

    async fn import_device_teams(
        &self,
        teams: Vec<(String, String)>,
        by: &Change,
    ) -> Result<Imported> {
        let (teams, by) = (checked_teams(teams)?, by.clone());
        self.announcing(Changed::Catalog, move |tx| {
            hosts::import_teams(tx, &teams, &by)
        })
        .await
    }

    async fn remove_device_team(&self, hostname: &str, by: &Change) -> Result<()> {
        let (hostname, by) = (hostname.trim().to_owned(), by.clone());
        self.announcing(Changed::Catalog, move |tx| {
            hosts::remove_team(tx, &hostname, &by)
        })
        .await
    }

    async fn config_audit(&self, filter: &ConfigAuditFilter) -> Result<Vec<ConfigAuditRow>> {
        let filter = filter.clone();
        self.readers
            .run(move |conn| config_audit::rows(conn, &filter))
            .await
    }

    async fn count_config_audit(&self, filter: &ConfigAuditFilter) -> Result<u64> {
        let filter = filter.clone();
        self.readers
            .run(move |conn| config_audit::count(conn, &filter))
            .await
    }

    async fn note(&self, note: Note, by: &Change) -> Result<()> {
        let by = by.clone();
        self.writer
            .run(move |tx| {
                let record = Record {
                    operation: note.operation,
                    table: note.table,
                    id: None,
                    key: note.key.as_deref(),
                    old: None,
                    new: Some(note.values),
                };
                record_change(tx, &by, record).map(drop)
            })
            .await
    }

    async fn verify_config_audit(&self) -> Result<std::result::Result<u64, i64>> {
        self.readers.run(config_audit::verify).await
    }

    async fn announce_reload(&self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        // Every request is a new number, also two within a microsecond or with a clock put back.
        let op = |tx: &Connection| {
            let last: i64 = tx
                .prepare_cached("SELECT value FROM facts WHERE name = 'reload'")?
                .query_row([], |row| row.get(0))?;
            let request = Timestamp::now().as_microsecond().max(last + 1);
            set_fact(tx, "reload", request)?;
            Ok(request)
        };
        let then = move |done: Result<i64>| {
            shared.announced.1.store(done?, Ordering::Relaxed);
            shared.announce(Changed::Catalog);
            Ok(())
        };
        self.writer.run_then(op, then).await
    }
}
