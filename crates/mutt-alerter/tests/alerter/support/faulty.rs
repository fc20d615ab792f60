//! The embedded engine with faults that a test turns on and off. Everything that is not at fault is
//! the real thing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use mutt_engine::catalog::ConfigAuditFilter;
use mutt_engine::dead_letters::{DlqEntry, Remediated, ReplayPolicy};
use mutt_engine::dynamic::ConfigChange;
use mutt_engine::live::LiveBatch;
use mutt_engine::unhandled::UnhandledSignature;
use mutt_engine::{
    AlertQueue, ApiKey, ApiKeys, Attempt, Audit, AuditFilter, Catalog, Change, Changed, Circuit,
    CircuitPolicy, CircuitState, ClaimedAlert, Component, ConfigAuditRow, Counters, DeadLetter,
    DeadLetterFilter, DeadLetters, Decision, DeliveryRow, Dlq, DynamicConfig, Engine, EngineError,
    EventClaim, EventQueue, Flow, FlowCounts, Imported, Jobs, LetterGroup, Limit, Live, NewAlert,
    NewApiKey, NewSession, Note, Outcomes, Permit, ProcessReport, Reported, Result, Retrying,
    SavedJob, Session, Sessions, Settled, Span, Status, StoreStatus, StoredAuditRow, WorkerKind,
    Workers,
};
use mutt_event::{Batch, EventId};
use mutt_rules::{Rule, RuleChange, RuleDraft};
use parking_lot::Mutex;
use tokio::sync::broadcast;

/// What happens to a decision about a claim in which some event contains the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The store says that the decision is not allowed.
    Refuse,
    /// The store panics.
    Panic,
    /// The store says that it is away, although it is well otherwise.
    Break,
}

pub struct Faulty {
    inner: Arc<dyn Engine>,
    /// Nothing can be claimed, decided, returned or read; nobody is ready.
    pub away: AtomicBool,
    /// Rules cannot be read.
    pub rules_away: AtomicBool,
    /// Decisions never end.
    pub decisions_hang: AtomicBool,
    /// Decisions fail.
    pub decisions_away: AtomicBool,
    /// Decisions about claims with this text fail in this way.
    pub fault: Mutex<Option<(&'static str, Fault)>>,
    /// A stored rule that came past the API.
    pub stray_rule: Mutex<Option<Rule>>,
    /// Decisions that were handed in.
    pub decisions: AtomicU64,
}

impl Faulty {
    pub fn new(inner: Arc<dyn Engine>) -> Self {
        Self {
            inner,
            away: AtomicBool::new(false),
            rules_away: AtomicBool::new(false),
            decisions_hang: AtomicBool::new(false),
            decisions_away: AtomicBool::new(false),
            fault: Mutex::new(None),
            stray_rule: Mutex::new(None),
            decisions: AtomicU64::new(0),
        }
    }

    fn check(&self, fault: &AtomicBool) -> Result<()> {
        if self.away.load(Ordering::SeqCst) || fault.load(Ordering::SeqCst) {
            return Err(EngineError::Unavailable("a fault was turned on".to_owned()));
        }
        Ok(())
    }
}

#[async_trait]
impl EventQueue for Faulty {
    async fn enqueue(&self, batch: Batch) -> Result<u64> {
        self.inner.enqueue(batch).await
    }

    async fn enqueue_with_rejects(&self, batch: Batch, rejects: Vec<DeadLetter>) -> Result<u64> {
        self.inner.enqueue_with_rejects(batch, rejects).await
    }

    fn set_queue_limit(&self, limit: u64) {
        self.inner.set_queue_limit(limit);
    }

    async fn claim_events(
        &self,
        worker: &Arc<str>,
        max: usize,
        wait: Duration,
    ) -> Result<Option<EventClaim>> {
        self.check(&self.away)?;
        self.inner.claim_events(worker, max, wait).await
    }

    async fn decide(&self, decision: Arc<Decision>) -> Result<Settled> {
        self.decisions.fetch_add(1, Ordering::SeqCst);
        self.check(&self.decisions_away)?;
        if self.decisions_hang.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let fault = *self.fault.lock();
        if let Some((text, fault)) = fault {
            // A dead letter is always taken.
            let lives = decision.outcome.dead.is_empty();
            let hit = decision.claim.iter().any(|event| contains(event, text));
            match fault {
                _ if !(lives && hit) => {}
                Fault::Refuse => return Err(EngineError::Invalid("not like this".to_owned())),
                Fault::Panic => panic!("the store panics"),
                Fault::Break => return Err(EngineError::Unavailable("no idea".to_owned())),
            }
        }
        self.inner.decide(decision).await
    }

    async fn return_events(&self, claim: EventClaim) -> Result<()> {
        self.check(&self.away)?;
        self.inner.return_events(claim).await
    }

    async fn shed_events(&self, max: usize) -> Result<u64> {
        self.check(&self.away)?;
        self.inner.shed_events(max).await
    }

    async fn event_depth(&self) -> Result<u64> {
        self.inner.event_depth().await
    }
}

fn contains(event: &[u8], text: &str) -> bool {
    event
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

#[async_trait]
impl Workers for Faulty {
    async fn heartbeat(&self, kind: WorkerKind, worker: &str, lifetime: Duration) -> Result<()> {
        self.check(&self.away)?;
        self.inner.heartbeat(kind, worker, lifetime).await
    }

    async fn retire(&self, kind: WorkerKind, worker: &str) -> Result<()> {
        self.check(&self.away)?;
        self.inner.retire(kind, worker).await
    }

    async fn recover(&self) -> Result<u64> {
        self.check(&self.away)?;
        self.inner.recover().await
    }

    async fn status(&self) -> Result<Status> {
        self.check(&self.away)?;
        self.inner.status().await
    }

    async fn report(&self, report: &ProcessReport, lifetime: Duration) -> Result<()> {
        self.check(&self.away)?;
        self.inner.report(report, lifetime).await
    }

    async fn reports(&self) -> Result<Vec<Reported>> {
        self.check(&self.away)?;
        self.inner.reports().await
    }

    async fn stores(&self) -> Vec<StoreStatus> {
        self.inner.stores().await
    }

    async fn ready(&self) -> Result<()> {
        self.check(&self.away)?;
        self.inner.ready().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[async_trait]
impl Catalog for Faulty {
    async fn rules(&self) -> Result<Vec<Rule>> {
        self.check(&self.rules_away)?;
        let mut rules = self.inner.rules().await?;
        rules.extend(self.stray_rule.lock().clone());
        Ok(rules)
    }

    async fn rule(&self, id: i64) -> Result<Rule> {
        self.inner.rule(id).await
    }

    async fn add_rules(&self, drafts: Vec<RuleDraft>, by: &Change) -> Result<Vec<Rule>> {
        self.inner.add_rules(drafts, by).await
    }

    async fn change_rule(
        &self,
        id: i64,
        change: RuleChange,
        if_version: Option<i64>,
        by: &Change,
    ) -> Result<Rule> {
        self.inner.change_rule(id, change, if_version, by).await
    }

    async fn delete_rule(&self, id: i64, if_version: Option<i64>, by: &Change) -> Result<()> {
        self.inner.delete_rule(id, if_version, by).await
    }

    async fn rule_hits(&self) -> Result<HashMap<i64, [u64; 3]>> {
        self.inner.rule_hits().await
    }

    async fn development_hosts(&self) -> Result<Vec<String>> {
        self.inner.development_hosts().await
    }

    async fn add_development_host(&self, hostname: &str, by: &Change) -> Result<()> {
        self.inner.add_development_host(hostname, by).await
    }

    async fn import_development_hosts(
        &self,
        hostnames: Vec<String>,
        by: &Change,
    ) -> Result<Imported> {
        self.inner.import_development_hosts(hostnames, by).await
    }

    async fn add_device_team(&self, hostname: &str, team: &str, by: &Change) -> Result<()> {
        self.inner.add_device_team(hostname, team, by).await
    }

    async fn import_device_teams(
        &self,
        teams: Vec<(String, String)>,
        by: &Change,
    ) -> Result<Imported> {
        self.inner.import_device_teams(teams, by).await
    }

    async fn note(&self, note: Note, by: &Change) -> Result<()> {
        self.inner.note(note, by).await
    }

    async fn remove_development_host(&self, hostname: &str, by: &Change) -> Result<()> {
        self.inner.remove_development_host(hostname, by).await
    }

    async fn device_teams(&self) -> Result<Vec<(String, String)>> {
        self.inner.device_teams().await
    }

    async fn set_device_team(&self, hostname: &str, team: &str, by: &Change) -> Result<()> {
        self.inner.set_device_team(hostname, team, by).await
    }

    async fn remove_device_team(&self, hostname: &str, by: &Change) -> Result<()> {
        self.inner.remove_device_team(hostname, by).await
    }

    async fn config_audit(&self, filter: &ConfigAuditFilter) -> Result<Vec<ConfigAuditRow>> {
        self.inner.config_audit(filter).await
    }

    async fn count_config_audit(&self, filter: &ConfigAuditFilter) -> Result<u64> {
        self.inner.count_config_audit(filter).await
    }

    async fn verify_config_audit(&self) -> Result<std::result::Result<u64, i64>> {
        self.inner.verify_config_audit().await
    }

    async fn announce_reload(&self) -> Result<()> {
        self.inner.announce_reload().await
    }
}

#[async_trait]
impl AlertQueue for Faulty {
    async fn claim_alerts(
        &self,
        worker: &Arc<str>,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<ClaimedAlert>> {
        self.inner.claim_alerts(worker, max, wait).await
    }

    async fn settle_alerts(&self, attempts: Vec<Attempt>) -> Result<u64> {
        self.inner.settle_alerts(attempts).await
    }

    async fn alert_depth(&self) -> Result<u64> {
        self.check(&self.away)?;
        self.inner.alert_depth().await
    }

    async fn queue_alert(&self, alert: NewAlert) -> Result<()> {
        self.inner.queue_alert(alert).await
    }

    async fn retries(&self, limit: usize) -> Result<(u64, Vec<Retrying>)> {
        self.inner.retries(limit).await
    }
}

#[async_trait]
impl DeadLetters for Faulty {
    async fn bury(&self, queue: Dlq, letters: Vec<DeadLetter>) -> Result<()> {
        self.inner.bury(queue, letters).await
    }

    async fn dead_letters(
        &self,
        queue: Dlq,
        filter: &DeadLetterFilter,
        offset: u64,
        limit: usize,
    ) -> Result<Vec<DlqEntry>> {
        self.inner.dead_letters(queue, filter, offset, limit).await
    }

    async fn dead_letter_ids(
        &self,
        queue: Dlq,
        filter: &DeadLetterFilter,
        offset: u64,
        limit: usize,
    ) -> Result<Vec<String>> {
        self.inner
            .dead_letter_ids(queue, filter, offset, limit)
            .await
    }

    async fn dead_letter_groups(
        &self,
        queue: Dlq,
        filter: &DeadLetterFilter,
        most: u64,
    ) -> Result<Vec<LetterGroup>> {
        self.inner.dead_letter_groups(queue, filter, most).await
    }

    async fn redecide(&self, queue: Dlq, filter: &DeadLetterFilter, by: &Change) -> Result<u64> {
        self.inner.redecide(queue, filter, by).await
    }

    async fn dlq_depth(&self, queue: Dlq) -> Result<u64> {
        self.inner.dlq_depth(queue).await
    }

    async fn remediate(&self, queue: Dlq, policy: ReplayPolicy) -> Result<Remediated> {
        self.inner.remediate(queue, policy).await
    }

    async fn replay(&self, queue: Dlq, filter: &DeadLetterFilter, by: &Change) -> Result<u64> {
        self.inner.replay(queue, filter, by).await
    }

    async fn discard(&self, queue: Dlq, filter: &DeadLetterFilter, by: &Change) -> Result<u64> {
        self.inner.discard(queue, filter, by).await
    }
}

#[async_trait]
impl ApiKeys for Faulty {
    async fn api_keys(&self) -> Result<Vec<ApiKey>> {
        self.inner.api_keys().await
    }

    async fn add_api_key(&self, key: NewApiKey, by: &Change) -> Result<ApiKey> {
        self.inner.add_api_key(key, by).await
    }

    async fn revoke_api_key(&self, name: &str, by: &Change) -> Result<()> {
        self.inner.revoke_api_key(name, by).await
    }

    async fn api_key_used(&self, name: &str) -> Result<()> {
        self.inner.api_key_used(name).await
    }
}

#[async_trait]
impl Jobs for Faulty {
    async fn save_job(&self, id: &str, says: &str, ended: bool) -> Result<bool> {
        self.inner.save_job(id, says, ended).await
    }

    async fn saved_jobs(&self) -> Result<Vec<SavedJob>> {
        self.inner.saved_jobs().await
    }

    async fn stop_job(&self, id: &str) -> Result<bool> {
        self.inner.stop_job(id).await
    }
}

#[async_trait]
impl Sessions for Faulty {
    async fn start_session(&self, new: NewSession) -> Result<Session> {
        self.inner.start_session(new).await
    }

    async fn session(&self, token_hash: &str) -> Result<Option<Session>> {
        self.inner.session(token_hash).await
    }

    async fn session_seen(&self, token_hash: &str) -> Result<()> {
        self.inner.session_seen(token_hash).await
    }

    async fn end_session(&self, token_hash: &str) -> Result<()> {
        self.inner.end_session(token_hash).await
    }
}

#[async_trait]
impl Audit for Faulty {
    async fn audit_rows(&self, filter: AuditFilter) -> Result<Vec<StoredAuditRow>> {
        self.inner.audit_rows(filter).await
    }

    async fn recent_deliveries(&self, since: Timestamp, limit: usize) -> Result<Vec<DeliveryRow>> {
        self.inner.recent_deliveries(since, limit).await
    }

    async fn count_audit_rows(&self, filter: AuditFilter) -> Result<u64> {
        self.inner.count_audit_rows(filter).await
    }

    async fn audit_count(&self) -> Result<u64> {
        self.inner.audit_count().await
    }

    async fn deliveries(&self, event_id: EventId) -> Result<Vec<DeliveryRow>> {
        self.inner.deliveries(event_id).await
    }
}

#[async_trait]
impl DynamicConfig for Faulty {
    async fn config_overrides(&self) -> Result<BTreeMap<String, String>> {
        self.inner.config_overrides().await
    }

    async fn set_config(&self, key: &str, value: &str, by: &Change) -> Result<ConfigChange> {
        self.inner.set_config(key, value, by).await
    }

    async fn unset_config(&self, key: &str, by: &Change) -> Result<ConfigChange> {
        self.inner.unset_config(key, by).await
    }
}

#[async_trait]
impl Flow for Faulty {
    async fn take_permits(&self, name: &str, limit: Limit, wanted: u32) -> Result<Permit> {
        self.inner.take_permits(name, limit, wanted).await
    }

    async fn permits_used(&self, name: &str, period: Duration) -> Result<u64> {
        self.inner.permits_used(name, period).await
    }

    async fn circuit_admit(&self, name: &str, policy: CircuitPolicy) -> Result<CircuitState> {
        self.inner.circuit_admit(name, policy).await
    }

    async fn circuit_success(&self, name: &str) -> Result<CircuitState> {
        self.inner.circuit_success(name).await
    }

    async fn circuit_failure(&self, name: &str, policy: CircuitPolicy) -> Result<CircuitState> {
        self.inner.circuit_failure(name, policy).await
    }

    async fn circuit_open(&self, name: &str) -> Result<()> {
        self.inner.circuit_open(name).await
    }

    async fn circuit(&self, name: &str) -> Result<Circuit> {
        self.inner.circuit(name).await
    }
}

#[async_trait]
impl Counters for Faulty {
    async fn accepted(&self, span: Span, spans: u32) -> Result<Vec<(Timestamp, u64)>> {
        self.inner.accepted(span, spans).await
    }

    async fn add_outcomes(&self, component: Component, outcomes: Outcomes) -> Result<()> {
        self.inner.add_outcomes(component, outcomes).await
    }

    async fn outcomes(&self, component: Component, minutes: u32) -> Result<Outcomes> {
        self.inner.outcomes(component, minutes).await
    }

    async fn outcomes_by_minute(
        &self,
        component: Component,
        minutes: u32,
    ) -> Result<Vec<(Timestamp, Outcomes)>> {
        self.inner.outcomes_by_minute(component, minutes).await
    }

    async fn add_flow(&self, counts: &FlowCounts) -> Result<()> {
        self.inner.add_flow(counts).await
    }

    async fn flow(&self, minutes: u32) -> Result<Vec<(Timestamp, FlowCounts)>> {
        self.inner.flow(minutes).await
    }

    async fn rule_hit_times(&self) -> Result<HashMap<i64, (Timestamp, Timestamp)>> {
        self.inner.rule_hit_times().await
    }

    async fn unhandled(&self, limit: usize) -> Result<Vec<UnhandledSignature>> {
        self.inner.unhandled(limit).await
    }
}

impl Live for Faulty {
    fn changes(&self) -> broadcast::Receiver<Changed> {
        self.inner.changes()
    }

    fn watch(&self) -> broadcast::Receiver<Arc<LiveBatch>> {
        self.inner.watch()
    }

    fn is_watched(&self) -> bool {
        self.inner.is_watched()
    }

    fn show(&self, batch: LiveBatch) {
        self.inner.show(batch);
    }
}
