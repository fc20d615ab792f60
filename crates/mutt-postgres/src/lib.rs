//! What PostgreSQL remembers: audit, catalog, applied claims, schema and its migrations.

pub mod migrate;
mod options;

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use mutt_engine::audit::DeliveryRow;
use mutt_engine::catalog::ConfigAuditFilter;
use mutt_engine::dynamic::ConfigChange;
use mutt_engine::{
    Audit, AuditFilter, AuditRow, Catalog, Change, ConfigAuditRow, DynamicConfig, EventClaim,
    Result, StoredAuditRow,
};
use mutt_event::EventId;
use mutt_rules::{Rule, RuleChange, RuleDraft};
use serde_json::Value;
use uuid::Uuid;

pub use options::{Passwords, PostgresOptions, SslMode, application_name};

/// What [`Postgres::apply`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The claim took effect with this call.
    Now,
    /// It had taken effect before, with these effects.
    Before(Vec<u8>),
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It took effect, with these effects.
    Applied(Vec<u8>),
    /// It was taken from its owner and can never take effect.
    Revoked,
}

/// The connections of a pool, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStatus {
    /// Connections there are.
    pub size: usize,
    /// Of them, those nobody uses.
    pub idle: usize,
    /// Calls that wait for one.
    pub waiting: usize,
    /// The most connections there may be.
    pub max: usize,
}

/// See the crate.
#[derive(Clone)]
pub struct Postgres;

#[allow(
    unused_variables,
    clippy::unused_async,
    missing_docs,
    clippy::missing_errors_doc
)]
impl Postgres {
    pub fn open(options: PostgresOptions) -> Result<Self> {
        todo!()
    }
    pub async fn ready(&self) -> Result<()> {
        todo!()
    }
    pub async fn claim_block(&self) -> Result<u64> {
        todo!()
    }
    pub async fn apply(
        &self,
        claim: u64,
        pod: &str,
        events: &EventClaim,
        rows: &[AuditRow],
        effects: &[u8],
    ) -> Result<Applied> {
        todo!()
    }
    pub async fn revoke(&self, claim: u64, owner: &str) -> Result<Standing> {
        todo!()
    }
    pub async fn standing(&self, claim: u64) -> Result<Option<Standing>> {
        todo!()
    }
    pub async fn forget(&self, claims: &[u64]) -> Result<()> {
        todo!()
    }
    pub async fn prune(&self) -> Result<u64> {
        todo!()
    }
    pub async fn log_deliveries(&self, rows: &[(Uuid, DeliveryRow)]) -> Result<()> {
        todo!()
    }
    pub async fn record(
        &self,
        operation: &str,
        table: &str,
        record_key: Option<&str>,
        old: Option<Value>,
        new: Option<Value>,
        by: &Change,
    ) -> Result<()> {
        todo!()
    }
    /// Makes sure that this month and so many coming ones have partitions.
    pub async fn ensure_partitions(&self, months: u32) -> Result<()> {
        todo!()
    }
    /// Rows in the default partition, counted up to 100,000.
    pub async fn default_partition_rows(&self) -> Result<u64> {
        todo!()
    }
    pub fn renew(&self) {
        todo!()
    }
    pub async fn close(&self) {
        todo!()
    }
    pub fn pool_status(&self) -> PoolStatus {
        todo!()
    }
}

#[async_trait]
#[allow(unused_variables)]
impl Audit for Postgres {
    async fn audit_rows(&self, filter: AuditFilter) -> Result<Vec<StoredAuditRow>> {
        todo!()
    }
    async fn audit_count(&self) -> Result<u64> {
        todo!()
    }
    async fn deliveries(&self, event_id: EventId) -> Result<Vec<DeliveryRow>> {
        todo!()
    }
}

#[async_trait]
#[allow(unused_variables)]
impl DynamicConfig for Postgres {
    async fn config_overrides(&self) -> Result<BTreeMap<String, String>> {
        todo!()
    }
    async fn set_config(&self, key: &str, value: &str, by: &Change) -> Result<ConfigChange> {
        todo!()
    }
    async fn unset_config(&self, key: &str, by: &Change) -> Result<ConfigChange> {
        todo!()
    }
}

#[async_trait]
#[allow(unused_variables)]
impl Catalog for Postgres {
    async fn rules(&self) -> Result<Vec<Rule>> {
        todo!()
    }
    async fn rule(&self, id: i64) -> Result<Rule> {
        todo!()
    }
    async fn add_rules(&self, drafts: Vec<RuleDraft>, by: &Change) -> Result<Vec<Rule>> {
        todo!()
    }
    async fn change_rule(
        &self,
        id: i64,
        change: RuleChange,
        if_version: Option<i64>,
        by: &Change,
    ) -> Result<Rule> {
        todo!()
    }
    async fn delete_rule(&self, id: i64, if_version: Option<i64>, by: &Change) -> Result<()> {
        todo!()
    }
    async fn rule_hits(&self) -> Result<HashMap<i64, [u64; 3]>> {
        Ok(HashMap::new())
    }
    async fn development_hosts(&self) -> Result<Vec<String>> {
        todo!()
    }
    async fn add_development_host(&self, hostname: &str, by: &Change) -> Result<()> {
        todo!()
    }
    async fn remove_development_host(&self, hostname: &str, by: &Change) -> Result<()> {
        todo!()
    }
    async fn device_teams(&self) -> Result<Vec<(String, String)>> {
        todo!()
    }
    async fn set_device_team(&self, hostname: &str, team: &str, by: &Change) -> Result<()> {
        todo!()
    }
    async fn remove_device_team(&self, hostname: &str, by: &Change) -> Result<()> {
        todo!()
    }
    async fn config_audit(&self, filter: &ConfigAuditFilter) -> Result<Vec<ConfigAuditRow>> {
        todo!()
    }
    async fn verify_config_audit(&self) -> Result<std::result::Result<u64, i64>> {
        todo!()
    }
    async fn announce_reload(&self) -> Result<()> {
        Ok(())
    }
}
