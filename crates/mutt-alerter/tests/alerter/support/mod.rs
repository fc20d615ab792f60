//! A running alerter over the embedded engine in a temporary directory, with everything short so
//! that tests wait for conditions and not for intervals.

mod faulty;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub use faulty::{Fault, Faulty};
use mutt_alerter::{Alerter, AlerterHandle, AlerterMetrics, AlerterOptions};
pub use mutt_engine::conformance::eventually;
use mutt_engine::dead_letters::DlqEntry;
use mutt_engine::embedded::{Embedded, Mode};
use mutt_engine::{
    AlertQueue as _, Attempt, Audit as _, AuditFilter, Catalog as _, Change, ClaimedAlert,
    DeadLetterFilter, DeadLetters as _, Dlq, Dynamic, Engine, EventQueue as _, Settlement,
    StoredAuditRow, WorkerKind, Workers as _,
};
use mutt_event::Batch;
use mutt_rules::{Handling, MatchType, Mode as RuleMode, RuleDraft};
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longer than any test.
pub const LONG: Duration = Duration::from_hours(1);

pub struct Rig {
    pub engine: Arc<Faulty>,
    pub metrics: AlerterMetrics,
    registry: Registry,
    dynamic: watch::Sender<Arc<Dynamic>>,
    running: Option<Running>,
    _directory: tempfile::TempDir,
}

struct Running {
    handle: AlerterHandle,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Rig {
    /// A fresh store; nothing runs yet.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let embedded = Embedded::open(directory.path(), Mode::Server).expect("a fresh store");
        let mut registry = Registry::default();
        Self {
            engine: Arc::new(Faulty::new(embedded)),
            metrics: AlerterMetrics::register(&mut registry),
            registry,
            dynamic: watch::channel(Arc::new(Dynamic::default())).0,
            running: None,
            _directory: directory,
        }
    }

    pub fn options() -> AlerterOptions {
        AlerterOptions {
            pod: "pod-1".into(),
            claim_wait: Duration::from_millis(50),
            heartbeat_interval: Duration::from_secs(20),
            janitor_interval: Duration::from_millis(20),
            status_interval: Duration::from_millis(20),
            retry_base: Duration::from_millis(2),
            retry_max: Duration::from_millis(20),
            ..AlerterOptions::default()
        }
    }

    /// Starts the alerter.
    pub fn start_with(&mut self, options: AlerterOptions) {
        let engine: Arc<dyn Engine> = self.engine.clone();
        let alerter = Alerter::new(
            options,
            engine,
            self.dynamic.subscribe(),
            self.metrics.clone(),
        );
        let (handle, stop) = (alerter.handle(), CancellationToken::new());
        let task = tokio::spawn(alerter.run(stop.clone()));
        self.running = Some(Running { handle, stop, task });
    }

    pub fn start(&mut self) {
        self.start_with(Self::options());
    }

    pub fn handle(&self) -> &AlerterHandle {
        &self.running.as_ref().expect("it was started").handle
    }

    /// Asks the alerter to end and waits until it did.
    pub async fn stop(&mut self) {
        let running = self.running.take().expect("it was started");
        running.stop.cancel();
        tokio::time::timeout(mutt_engine::conformance::PATIENCE, running.task)
            .await
            .expect("the alerter ends")
            .expect("the alerter does not panic");
    }

    pub fn set(&self, overrides: &[(&str, &str)]) {
        let values = self.dynamic.borrow().with(overrides.iter().copied());
        self.dynamic.send_replace(Arc::new(values));
    }

    /// Whether the metrics are exported with this line.
    pub fn exports(&self, line: &str) -> bool {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("text");
        text.lines().any(|found| found == line)
    }

    pub fn set_away(&self, away: bool) {
        self.engine.away.store(away, Ordering::SeqCst);
    }

    pub async fn add_rule(&self, draft: RuleDraft) -> i64 {
        let rules = self
            .engine
            .add_rules(vec![draft], &by())
            .await
            .expect("the rule is good");
        rules[0].id
    }

    pub async fn enqueue<T: AsRef<[u8]>>(&self, elements: impl IntoIterator<Item = T>) {
        let batch = elements
            .into_iter()
            .fold(Batch::new(), |mut batch, element| {
                batch.push(element.as_ref());
                batch
            });
        self.engine
            .enqueue(batch)
            .await
            .expect("the queue takes events");
    }

    pub async fn audit(&self) -> Vec<StoredAuditRow> {
        let filter = AuditFilter {
            limit: 100_000,
            ..AuditFilter::default()
        };
        let mut rows = self.engine.audit_rows(filter).await.expect("rows are read");
        rows.sort_by_key(|row| row.id);
        rows
    }

    pub async fn audited(&self, count: u64) {
        eventually(&format!("{count} audit rows"), async || {
            (self.engine.audit_count().await.expect("rows are counted") >= count).then_some(())
        })
        .await;
        assert_eq!(
            self.engine.audit_count().await.expect("rows are counted"),
            count
        );
    }

    pub async fn dead(&self, count: u64) -> Vec<DlqEntry> {
        eventually(&format!("{count} dead letters"), async || {
            let depth = self
                .engine
                .dlq_depth(Dlq::Alerter)
                .await
                .expect("letters are counted");
            (depth >= count).then_some(())
        })
        .await;
        self.engine
            .dead_letters(Dlq::Alerter, &DeadLetterFilter::default(), 0, 100_000)
            .await
            .expect("letters are read")
    }

    /// Claims all alerts that wait now.
    pub async fn claim_alerts(&self) -> Vec<ClaimedAlert> {
        self.engine
            .heartbeat(WorkerKind::Moog, "reader", LONG)
            .await
            .expect("a heartbeat");
        self.engine
            .claim_alerts(&"reader".into(), 100_000, Duration::ZERO)
            .await
            .expect("alerts are read")
    }

    /// The alerts that wait, as JSON.
    pub async fn alerts(&self) -> Vec<serde_json::Value> {
        self.claim_alerts()
            .await
            .iter()
            .map(|alert| serde_json::from_slice(&alert.element).expect("an alert is JSON"))
            .collect()
    }

    /// Delivers all alerts that wait now.
    pub async fn deliver(&self) -> usize {
        let attempts: Vec<_> = self
            .claim_alerts()
            .await
            .into_iter()
            .map(|alert| Attempt {
                alert,
                settlement: Settlement::Delivered,
                log: None,
            })
            .collect();
        let count = attempts.len();
        self.engine
            .settle_alerts(attempts)
            .await
            .expect("alerts are settled");
        count
    }

    /// Waits until the alerter has seen the alert queue to be like this.
    pub async fn alert_queue_is(&self, detail: &str) {
        eventually(&format!("the alert queue is {detail}"), async || {
            let health = self.handle().health().await;
            health.checks[3].detail.starts_with(detail).then_some(())
        })
        .await;
    }

    /// Waits until the alerter has loaded so many rules.
    pub async fn rules_loaded(&self, count: i64) {
        until(&format!("{count} rules in force"), || {
            self.metrics.cache_load_success.get() == 1 && self.metrics.cache_rules.get() == count
        })
        .await;
    }
}

pub async fn until(what: &str, condition: impl Fn() -> bool) {
    eventually(what, async || condition().then_some(())).await;
}

pub fn by() -> Change {
    Change {
        by: "test".to_owned(),
        reason: None,
        correlation_id: None,
    }
}

/// A rule that looks for this text, pages in production and logs in development.
pub fn draft(text: &str) -> RuleDraft {
    RuleDraft {
        match_string: Some(text.to_owned()),
        trap_oid: None,
        syslog_severity: None,
        match_type: MatchType::Contains,
        priority: 100,
        prod_handling: Handling::PageAndTicket,
        dev_handling: Handling::LogOnly,
        team_assignment: "WAN".to_owned(),
        is_active: true,
        mode: RuleMode::Enforce,
        description: None,
    }
}

/// An event as it waits in the queue.
pub fn event(hostname: &str, message: &str) -> String {
    serde_json::json!({
        "hostname": hostname,
        "message": message,
        "timestamp": jiff::Timestamp::now().to_string(),
        "source": "syslog",
        "syslog_severity": 3,
        "_event_id": mutt_event::EventId::new().to_string(),
        "_received_at": jiff::Timestamp::now().to_string(),
        "_correlation_id": "c-1",
    })
    .to_string()
}

/// So many events with this message.
pub fn events(count: usize, message: &str) -> Vec<String> {
    (0..count)
        .map(|number| event(&format!("host-{number}"), message))
        .collect()
}
