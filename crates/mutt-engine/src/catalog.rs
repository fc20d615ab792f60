//! What the team says: rules, development hosts, device teams. Every change is audited in the same
//! transaction.

use std::collections::HashMap;

use async_trait::async_trait;
use jiff::Timestamp;
use mutt_rules::{Rule, RuleChange, RuleDraft};
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// Who changes something, and why: goes into `config_audit_log`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The API key's name, or `cli:<user>`; never a key.
    pub by: String,
    /// Why, in words.
    pub reason: Option<String>,
    /// The request's correlation id.
    pub correlation_id: Option<String>,
}

/// Host names with what is said of them, by lower-cased name.
pub type Names = HashMap<String, String>;

/// One row of `config_audit_log`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigAuditRow {
    /// The row's number.
    pub id: i64,
    /// When.
    pub changed_at: Timestamp,
    /// Who.
    pub changed_by: String,
    /// `CREATE`, `UPDATE` or `DELETE`.
    pub operation: String,
    /// The table that changed.
    pub table_name: String,
    /// The changed row's number, where it has one.
    pub record_id: Option<i64>,
    /// The changed row's key, where it has one.
    pub record_key: Option<String>,
    /// What it said before.
    pub old_values: Option<serde_json::Value>,
    /// What it says now.
    pub new_values: Option<serde_json::Value>,
    /// Why.
    pub reason: Option<String>,
    /// The request's correlation id.
    pub correlation_id: Option<String>,
    /// SHA-256 over this row and the previous row's hash, hex.
    pub row_hash: String,
}

/// Which rows of `config_audit_log` are asked for; unset fields do not restrict. Newest first.
#[derive(Clone, Debug, Default)]
pub struct ConfigAuditFilter {
    /// This table.
    pub table_name: Option<String>,
    /// This key within the table.
    pub record_key: Option<String>,
    /// Rows with a smaller number.
    pub before_id: Option<i64>,
    /// At most so many.
    pub limit: usize,
}

/// Rules, hosts and teams.
#[async_trait]
pub trait Catalog: Send + Sync {
    /// Every rule that is not deleted, by priority, then id.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn rules(&self) -> Result<Vec<Rule>>;

    /// One rule, deleted or not.
    ///
    /// # Errors
    /// `NotFound`, `Unavailable`.
    async fn rule(&self, id: i64) -> Result<Rule>;

    /// Stores new rules, all or none (each is checked with [`RuleDraft::check`]); returns them.
    ///
    /// # Errors
    /// `Invalid` names the rule (by position, from 0, where there are several), field and reason.
    async fn add_rules(&self, drafts: Vec<RuleDraft>, by: &Change) -> Result<Vec<Rule>>;

    /// Changes a rule. With `if_version`, only where that is still its version.
    ///
    /// # Errors
    /// `NotFound`, `Conflict`, `Invalid`, `Unavailable`.
    async fn change_rule(
        &self,
        id: i64,
        change: RuleChange,
        if_version: Option<i64>,
        by: &Change,
    ) -> Result<Rule>;

    /// Deletes a rule (softly).
    ///
    /// # Errors
    /// `NotFound`, `Conflict`, `Unavailable`.
    async fn delete_rule(&self, id: i64, if_version: Option<i64>, by: &Change) -> Result<()>;

    /// How often each rule matched, by rule id, within the hour, day and 30 days before now.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn rule_hits(&self) -> Result<HashMap<i64, [u64; 3]>>;

    /// The development hosts, as written.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn development_hosts(&self) -> Result<Vec<String>>;

    /// Adds a development host.
    ///
    /// # Errors
    /// `Conflict` when it is there (any case), `Invalid`, `Unavailable`.
    async fn add_development_host(&self, hostname: &str, by: &Change) -> Result<()>;

    /// Removes a development host.
    ///
    /// # Errors
    /// `NotFound`, `Unavailable`.
    async fn remove_development_host(&self, hostname: &str, by: &Change) -> Result<()>;

    /// The teams of devices: host name (as written) to team.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn device_teams(&self) -> Result<Vec<(String, String)>>;

    /// Sets a device's team.
    ///
    /// # Errors
    /// `Invalid`, `Unavailable`.
    async fn set_device_team(&self, hostname: &str, team: &str, by: &Change) -> Result<()>;

    /// Removes a device's team.
    ///
    /// # Errors
    /// `NotFound`, `Unavailable`.
    async fn remove_device_team(&self, hostname: &str, by: &Change) -> Result<()>;

    /// Rows of `config_audit_log`, newest first.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn config_audit(&self, filter: &ConfigAuditFilter) -> Result<Vec<ConfigAuditRow>>;

    /// Checks the hash chain of `config_audit_log`: the number of rows, or the first row that does
    /// not fit.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn verify_config_audit(&self) -> Result<std::result::Result<u64, i64>>;

    /// Tells every alerter to load rules, hosts and teams again.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn announce_reload(&self) -> Result<()>;
}
