//! Rules, hosts, teams and the audit trail: PostgreSQL's, announced over Redis.

use std::collections::HashMap;

use async_trait::async_trait;
use jiff::Timestamp;
use mutt_engine::catalog::ConfigAuditFilter;
use mutt_engine::{
    ApiKey, ApiKeys, Audit, AuditFilter, Catalog, Change, Changed, ConfigAuditRow, DeliveryRow,
    Imported, NewApiKey, Note, Result, StoredAuditRow,
};
use mutt_event::EventId;
use mutt_rules::{Rule, RuleChange, RuleDraft};

use crate::engine::Distributed;
use crate::{counters, deliveries};

impl Distributed {
    /// What was changed is announced; what was not is not.
    async fn announced<T>(&self, changed: Result<T>) -> Result<T> {
        if changed.is_ok() {
            self.shared.announce(&Changed::Catalog).await;
        }
        changed
    }
}

#[async_trait]
impl Catalog for Distributed {
    async fn rules(&self) -> Result<Vec<Rule>> {
        self.shared.postgres.rules().await
    }

    async fn rule(&self, id: i64) -> Result<Rule> {
        self.shared.postgres.rule(id).await
    }

    async fn add_rules(&self, drafts: Vec<RuleDraft>, by: &Change) -> Result<Vec<Rule>> {
        let added = self.shared.postgres.add_rules(drafts, by).await;
        self.announced(added).await
    }

    async fn change_rule(
        &self,
        id: i64,
        change: RuleChange,
        if_version: Option<i64>,
        by: &Change,
    ) -> Result<Rule> {
        let postgres = &self.shared.postgres;
        let changed = postgres.change_rule(id, change, if_version, by).await;
        self.announced(changed).await
    }

    async fn delete_rule(&self, id: i64, if_version: Option<i64>, by: &Change) -> Result<()> {
        let deleted = self.shared.postgres.delete_rule(id, if_version, by).await;
        self.announced(deleted).await
    }

    async fn rule_hits(&self) -> Result<HashMap<i64, [u64; 3]>> {
        counters::rule_hits(&self.shared).await
    }

    async fn development_hosts(&self) -> Result<Vec<String>> {
        self.shared.postgres.development_hosts().await
    }

    async fn add_development_host(&self, hostname: &str, by: &Change) -> Result<()> {
        let added = self.shared.postgres.add_development_host(hostname, by);
        self.announced(added.await).await
    }

    async fn import_development_hosts(
        &self,
        hostnames: Vec<String>,
        by: &Change,
    ) -> Result<Imported> {
        let postgres = &self.shared.postgres;
        let imported = postgres.import_development_hosts(hostnames, by).await;
        self.announced(imported).await
    }

    async fn remove_development_host(&self, hostname: &str, by: &Change) -> Result<()> {
        let removed = self.shared.postgres.remove_development_host(hostname, by);
        self.announced(removed.await).await
    }

    async fn device_teams(&self) -> Result<Vec<(String, String)>> {
        self.shared.postgres.device_teams().await
    }

    async fn set_device_team(&self, hostname: &str, team: &str, by: &Change) -> Result<()> {
        let set = self.shared.postgres.set_device_team(hostname, team, by);
        self.announced(set.await).await
    }

    async fn add_device_team(&self, hostname: &str, team: &str, by: &Change) -> Result<()> {
        let added = self.shared.postgres.add_device_team(hostname, team, by);
        self.announced(added.await).await
    }

    async fn import_device_teams(
        &self,
        teams: Vec<(String, String)>,
        by: &Change,
    ) -> Result<Imported> {
        let imported = self.shared.postgres.import_device_teams(teams, by).await;
        self.announced(imported).await
    }

    async fn remove_device_team(&self, hostname: &str, by: &Change) -> Result<()> {
        let removed = self.shared.postgres.remove_device_team(hostname, by);
        self.announced(removed.await).await
    }

    async fn config_audit(&self, filter: &ConfigAuditFilter) -> Result<Vec<ConfigAuditRow>> {
        self.shared.postgres.config_audit(filter).await
    }

    async fn count_config_audit(&self, filter: &ConfigAuditFilter) -> Result<u64> {
        self.shared.postgres.count_config_audit(filter).await
    }

    async fn note(&self, note: Note, by: &Change) -> Result<()> {
        self.shared.postgres.note(note, by).await
    }

    async fn verify_config_audit(&self) -> Result<std::result::Result<u64, i64>> {
        self.shared.postgres.verify_config_audit().await
    }

    async fn announce_reload(&self) -> Result<()> {
        self.shared.announce(&Changed::Catalog).await;
        Ok(())
    }
}

#[async_trait]
impl ApiKeys for Distributed {
    async fn api_keys(&self) -> Result<Vec<ApiKey>> {
        self.shared.postgres.api_keys().await
    }

    async fn add_api_key(&self, key: NewApiKey, by: &Change) -> Result<ApiKey> {
        self.shared.postgres.add_api_key(key, by).await
    }

    async fn revoke_api_key(&self, name: &str, by: &Change) -> Result<()> {
        self.shared.postgres.revoke_api_key(name, by).await
    }

    async fn api_key_used(&self, name: &str) -> Result<()> {
        self.shared.postgres.api_key_used(name).await
    }
}

#[async_trait]
impl Audit for Distributed {
    async fn audit_rows(&self, filter: AuditFilter) -> Result<Vec<StoredAuditRow>> {
        self.shared.postgres.audit_rows(filter).await
    }

    async fn count_audit_rows(&self, filter: AuditFilter) -> Result<u64> {
        self.shared.postgres.count_audit_rows(filter).await
    }

    async fn audit_count(&self) -> Result<u64> {
        self.shared.postgres.audit_count().await
    }

    async fn deliveries(&self, event_id: EventId) -> Result<Vec<DeliveryRow>> {
        // What was settled a moment ago may still be on its way.
        if let Err(error) = deliveries::flush(&self.shared).await {
            tracing::debug!(%error, "delivery attempts wait in Redis");
        }
        self.shared.postgres.deliveries(event_id).await
    }

    async fn recent_deliveries(&self, since: Timestamp, limit: usize) -> Result<Vec<DeliveryRow>> {
        self.shared.postgres.recent_deliveries(since, limit).await
    }
}
