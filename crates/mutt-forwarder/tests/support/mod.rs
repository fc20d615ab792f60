//! A forwarder between a real engine and a pretend Moogsoft, over real sockets.
#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mutt_engine::dead_letters::DlqEntry;
use mutt_engine::embedded::{Embedded, Mode};
use mutt_engine::{
    Change, Decision, DeliveryRow, Dlq, Dynamic, Engine, NewAlert, Outcome, WorkerKind,
};
use mutt_event::{Alert, Batch, EventId, Severity};
use mutt_forwarder::sink::{FixedKeys, Identity, Sink};
use mutt_forwarder::{
    Backoff, Forwarder, ForwarderMetrics, ForwarderOptions, Health, MockMoog, MoogOptions, MoogSink,
};
use prometheus_client::registry::Registry;
use secrecy::SecretString;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longer than anything takes on a slow machine; only a broken promise waits for it.
const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until `attempt` gives something.
pub async fn eventually<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub fn secret(text: &str) -> SecretString {
    SecretString::from(text)
}

pub struct Bench {
    pub engine: Arc<dyn Engine>,
    pub mock: MockMoog,
    pub sink: Arc<MoogSink>,
    pub keys: Arc<FixedKeys>,
    pub dynamic: watch::Receiver<Arc<Dynamic>>,
    _directory: tempfile::TempDir,
}

impl Bench {
    /// With no limit and no circuit in the way, as long as `overrides` do not say otherwise.
    pub async fn new(overrides: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let engine: Arc<dyn Engine> = Embedded::open(directory.path(), Mode::Server).unwrap();
        engine
            .heartbeat(WorkerKind::Alerter, "alerter", Duration::from_hours(1))
            .await
            .unwrap();
        let mock = MockMoog::start("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let keys = Arc::new(FixedKeys::default());
        let options = MoogOptions {
            url: Some(mock.url()),
            ..MoogOptions::default()
        };
        let sink = MoogSink::new(options, keys.clone(), Identity::new("pod-1")).unwrap();
        let base = Dynamic::default()
            .with([
                ("moog_rate_limit", "1000000"),
                ("moog_rate_period", "0.1"),
                ("circuit_breaker_threshold", "100000"),
            ])
            .with(overrides.iter().copied());
        let dynamic = mutt_engine::dynamic::follow(engine.clone(), base).await;
        Self {
            engine,
            mock,
            sink: Arc::new(sink),
            keys,
            dynamic,
            _directory: directory,
        }
    }

    pub fn configure(&self, change: impl FnOnce(&mut MoogOptions)) {
        let mut options = self.sink.options();
        change(&mut options);
        self.sink.configure(options).unwrap();
    }

    pub async fn set(&self, key: &str, value: &str) {
        self.engine.set_config(key, value, &by()).await.unwrap();
    }

    /// Queues one alert per message.
    pub async fn queue(&self, messages: &[&str]) -> Vec<EventId> {
        let alerts: Vec<_> = messages.iter().map(|message| alert(message)).collect();
        let ids = alerts.iter().map(|alert| alert.event_id).collect();
        self.queue_alerts(alerts).await;
        ids
    }

    pub async fn queue_many(&self, count: usize) -> Vec<EventId> {
        self.queue(&vec!["interface down"; count]).await
    }

    /// Queues these alerts as the alerter would: out of one decided claim.
    pub async fn queue_alerts(&self, alerts: Vec<NewAlert>) {
        let mut batch = Batch::new();
        for alert in &alerts {
            let id = alert.event_id;
            batch.push(
                format!(r#"{{"hostname":"r1","message":"m","_event_id":"{id}"}}"#).as_bytes(),
            );
        }
        self.engine.enqueue(batch).await.unwrap();
        let mut left = alerts;
        while !left.is_empty() {
            let claim = self
                .engine
                .claim_events(&"alerter".into(), 100_000, PATIENCE)
                .await
                .unwrap()
                .expect("events wait");
            let rest = left.split_off(claim.len().min(left.len()));
            let outcome = Outcome {
                alerts: std::mem::replace(&mut left, rest),
                ..Outcome::default()
            };
            self.engine
                .decide(Arc::new(Decision { claim, outcome }))
                .await
                .unwrap();
        }
    }

    pub fn options() -> ForwarderOptions {
        ForwarderOptions {
            backoff: Backoff {
                base: Duration::from_millis(10),
                max: Duration::from_secs(5),
            },
            ..ForwarderOptions::new("pod-1")
        }
    }

    pub fn start(&self) -> Running {
        self.start_with(Self::options())
    }

    pub fn start_with(&self, options: ForwarderOptions) -> Running {
        self.start_sink(self.sink.clone(), options)
    }

    pub fn start_sink(&self, sink: Arc<dyn Sink>, options: ForwarderOptions) -> Running {
        let mut registry = Registry::default();
        let metrics = ForwarderMetrics::register(&mut registry);
        let forwarder = Forwarder::new(
            self.engine.clone(),
            sink,
            self.dynamic.clone(),
            options,
            metrics,
        );
        let health = forwarder.health();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(forwarder.run(shutdown.clone()));
        Running {
            shutdown,
            task,
            health,
            registry,
        }
    }

    pub async fn delivered(&self, ids: &[EventId]) {
        eventually("every alert is delivered and settled", async || {
            let missing = ids
                .iter()
                .any(|id| self.mock.delivered(&id.to_string()) == 0);
            (!missing && self.waiting().await == 0 && self.held().await == 0).then_some(())
        })
        .await;
    }

    pub async fn waiting(&self) -> u64 {
        self.engine.alert_depth().await.unwrap()
    }

    /// Alerts that are claimed and not settled, by any pod.
    pub async fn held(&self) -> u64 {
        let status = self.engine.status().await.unwrap();
        status
            .queues
            .iter()
            .filter(|queue| queue.name.contains("alert"))
            .map(|queue| queue.claimed)
            .sum()
    }

    pub async fn rows(&self, id: EventId) -> Vec<DeliveryRow> {
        self.engine.deliveries(id).await.unwrap()
    }

    pub async fn dead(&self, queue: Dlq) -> Vec<DlqEntry> {
        self.engine
            .dead_letters(queue, &mutt_engine::DeadLetterFilter::default(), 0, 1000)
            .await
            .unwrap()
    }

    pub async fn dead_eventually(&self, queue: Dlq, count: usize) -> Vec<DlqEntry> {
        eventually("dead letters", async || {
            let dead = self.dead(queue).await;
            (dead.len() == count).then_some(dead)
        })
        .await
    }
}

pub fn by() -> Change {
    Change {
        by: "test".to_owned(),
        reason: Some("test".to_owned()),
        correlation_id: None,
    }
}

/// An alert as the alerter makes it.
pub fn alert(message: &str) -> NewAlert {
    let event_id = EventId::new();
    let now = Timestamp::now();
    let raw = format!(
        r#"{{"hostname":"r1","message":{},"source":"syslog","source_ip":"10.0.0.1","_event_id":"{event_id}","_received_at":"{now}"}}"#,
        serde_json::to_string(message).unwrap()
    );
    let alert = Alert {
        hostname: "r1".into(),
        team_assignment: "NetOps".into(),
        severity: Severity::new(3),
        message_body: message.into(),
        raw_json: raw.into(),
        correlation_id: "corr".into(),
        event_id: Some(event_id),
        rule_id: Some(7),
        unhandled_signature: None,
        handling: "Page_and_ticket".into(),
        environment: "production".into(),
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
    };
    NewAlert {
        event_id,
        element: alert.to_json(),
    }
}

pub struct Running {
    pub shutdown: CancellationToken,
    pub task: JoinHandle<()>,
    pub health: Arc<Health>,
    registry: Registry,
}

impl Running {
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }

    /// The value of a metric; its name with labels as exported.
    pub fn metric(&self, name: &str) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
            .unwrap_or_else(|| panic!("{name} is not in\n{text}"))
    }
}
