//! What the team says: rules, development hosts, device teams. Every change is audited in the same
//! transaction.

use std::collections::HashMap;
use std::fmt::Write as _;

use async_trait::async_trait;
use jiff::Timestamp;
use mutt_event::EventId;
use mutt_rules::{Rule, RuleChange, RuleDraft};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::changes::Operation;
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

impl ConfigAuditRow {
    /// What [`Self::row_hash`] must be after a row with the hash `previous` (empty for the first
    /// row): SHA-256 over `previous` and every field, in hex. The same on every engine: values are
    /// compared as JSON, whatever order a database keeps their keys in.
    pub fn chained_hash(&self, previous: &str) -> String {
        let fields = serde_json::json!([
            previous,
            self.id,
            self.changed_at.as_microsecond(),
            self.changed_by,
            self.operation,
            self.table_name,
            self.record_id,
            self.record_key,
            self.old_values,
            self.new_values,
            self.reason,
            self.correlation_id,
        ]);
        let mut text = String::new();
        write_sorted(&fields, &mut text);
        let digest = Sha256::digest(text.as_bytes());
        digest
            .iter()
            .fold(String::with_capacity(64), |mut hex, byte| {
                // Writing to a string never fails.
                let _ = write!(hex, "{byte:02x}");
                hex
            })
    }
}

/// JSON with the keys of every object in order and no white space: one text for one value.
fn write_sorted(value: &serde_json::Value, text: &mut String) {
    use serde_json::Value;
    match value {
        Value::Object(fields) => {
            let mut keys: Vec<_> = fields.iter().collect();
            keys.sort_unstable_by_key(|&(key, _)| key);
            text.push('{');
            for (index, (key, value)) in keys.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                let _ = write!(text, "{}:", Value::from(key.as_str()));
                write_sorted(value, text);
            }
            text.push('}');
        }
        Value::Array(values) => {
            text.push('[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_sorted(value, text);
            }
            text.push(']');
        }
        scalar => {
            let _ = write!(text, "{scalar}");
        }
    }
}

/// Which rows of `config_audit_log` are asked for; unset fields do not restrict. Newest first.
#[derive(Clone, Debug, Default)]
pub struct ConfigAuditFilter {
    /// This table.
    pub table_name: Option<String>,
    /// This key within the table.
    pub record_key: Option<String>,
    /// This number within the table.
    pub record_id: Option<i64>,
    /// Text that `changed_by` contains (any ASCII case).
    pub changed_by: Option<String>,
    /// `CREATE`, `UPDATE` or `DELETE`.
    pub operation: Option<String>,
    /// This correlation id.
    pub correlation_id: Option<String>,
    /// Changed at or after.
    pub since: Option<Timestamp>,
    /// Changed before.
    pub until: Option<Timestamp>,
    /// Rows about dead letters that name this event.
    pub event_id: Option<EventId>,
    /// Rows with a smaller number.
    pub before_id: Option<i64>,
    /// So many of the newest are left out.
    pub offset: usize,
    /// At most so many.
    pub limit: usize,
}

/// What an import did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// Records that were not there.
    pub new: u64,
    /// Records that said something else.
    pub changed: u64,
    /// Records that were there already.
    pub unchanged: u64,
}

/// Something that a person did and that is to be on record, though it changed no record here: an
/// export, a test.
#[derive(Clone, Debug)]
pub struct Note {
    /// What was done to it.
    pub operation: Operation,
    /// What it was done to, in the place of a table's name.
    pub table: &'static str,
    /// Which of them.
    pub key: Option<String>,
    /// What is to be said.
    pub values: serde_json::Value,
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

    /// Adds development hosts, all or none; those that are there (any case) stay as they are.
    ///
    /// # Errors
    /// `Invalid`, `Unavailable`.
    async fn import_development_hosts(
        &self,
        hostnames: Vec<String>,
        by: &Change,
    ) -> Result<Imported>;

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

    /// Gives a device without a team one.
    ///
    /// # Errors
    /// `Conflict` when it has one (any case), `Invalid`, `Unavailable`.
    async fn add_device_team(&self, hostname: &str, team: &str, by: &Change) -> Result<()>;

    /// Sets the teams of devices, all or none: (host name, team). Of two rows about one device the
    /// last counts.
    ///
    /// # Errors
    /// `Invalid`, `Unavailable`.
    async fn import_device_teams(
        &self,
        teams: Vec<(String, String)>,
        by: &Change,
    ) -> Result<Imported>;

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

    /// How many rows of `config_audit_log` a filter chooses, whatever its `offset` and `limit`.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn count_config_audit(&self, filter: &ConfigAuditFilter) -> Result<u64>;

    /// Puts something on record: a row of `config_audit_log`, in the chain as any other.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn note(&self, note: Note, by: &Change) -> Result<()>;

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

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> ConfigAuditRow {
        ConfigAuditRow {
            id: 1,
            changed_at: Timestamp::UNIX_EPOCH,
            changed_by: "admin".to_owned(),
            operation: "UPDATE".to_owned(),
            table_name: "alert_rules".to_owned(),
            record_id: Some(5),
            record_key: None,
            old_values: Some(serde_json::json!({"priority": 1, "match_string": "a\"b"})),
            new_values: None,
            reason: None,
            correlation_id: Some("c".to_owned()),
            row_hash: String::new(),
        }
    }

    /// Changing how the hash is made would make every stored chain look tampered with.
    #[test]
    fn the_hash_is_a_stored_format() {
        // printf '%s' '["",1,0,"admin","UPDATE","alert_rules",5,null,{"match_string":"a\"b",
        // "priority":1},null,null,"c"]' (without this line break and its blanks) | sha256sum
        let hex = "b89e085c4c1dcd047074aa9e65dffd0f3ffd9683cd261f1fcba96339e7d09d88";
        assert_eq!(row().chained_hash(""), hex);
    }

    #[test]
    fn every_field_and_the_row_before_count() {
        let changes: [fn(&mut ConfigAuditRow); 11] = [
            |row| row.id = 2,
            |row| row.changed_at = Timestamp::MAX,
            |row| row.changed_by = "somebody".to_owned(),
            |row| row.operation = "DELETE".to_owned(),
            |row| row.table_name = "device_teams".to_owned(),
            |row| row.record_id = None,
            |row| row.record_key = Some(String::new()),
            |row| row.old_values = Some(serde_json::json!({"priority": 2, "match_string": "a"})),
            |row| row.new_values = Some(serde_json::Value::Bool(false)),
            |row| row.reason = Some("c".to_owned()),
            |row| row.correlation_id = None,
        ];
        let mut hashes = std::collections::HashSet::from([row().chained_hash("")]);
        assert!(hashes.insert(row().chained_hash("0")));
        for change in changes {
            let mut changed = row();
            change(&mut changed);
            assert!(hashes.insert(changed.chained_hash("")), "{changed:?}");
        }
    }
}
