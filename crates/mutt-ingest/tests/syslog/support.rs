//! A listener on the real embedded engine, and what it stored.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mutt_engine::embedded::{Embedded, Mode};
use mutt_engine::{Dynamic, EventClaim, EventQueue};
use mutt_http::{HandshakeFailure, Tls};
use mutt_ingest::metrics::IngestMetrics;
use mutt_ingest::relp::{Relp, RelpOptions};
use mutt_ingest::syslog_stream::{SyslogTcp, SyslogTcpOptions};
use mutt_ingest::syslog_udp::{SyslogUdp, SyslogUdpOptions};
use mutt_ingest::{Admission, Door, DoorOptions, Listener, RejectReason};
use prometheus_client::registry::Registry;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Long enough for anything on a slow, busy machine; reached only when a test fails.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// An engine with a way in, and the events that were taken out of it.
pub struct Bed {
    pub engine: Arc<Embedded>,
    pub admission: Admission,
    pub stop: CancellationToken,
    pub claims: Vec<EventClaim>,
    pub _data: TempDir,
}

impl Bed {
    pub fn new() -> Self {
        let data = TempDir::new().unwrap();
        let engine = Embedded::open(data.path(), Mode::Server).unwrap();
        let metrics = IngestMetrics::register(&mut Registry::default());
        let admission = Admission::new(engine.clone(), metrics);
        Self::of(engine, admission, data)
    }

    /// With a door that works, and what changes its dynamic settings.
    pub fn with_door(options: &DoorOptions) -> (Self, watch::Sender<Arc<Dynamic>>, JoinHandle<()>) {
        let data = TempDir::new().unwrap();
        let engine = Embedded::open(data.path(), Mode::Server).unwrap();
        let metrics = IngestMetrics::register(&mut Registry::default());
        let door = Door::open(options, metrics.clone()).unwrap();
        let admission = Admission::new(engine.clone(), metrics).with_door(door.clone());
        let bed = Self::of(engine, admission.clone(), data);
        let (dynamic, followed) = watch::channel(Arc::default());
        let task = tokio::spawn(door.run(admission, followed, bed.stop.clone(), PATIENCE));
        (bed, dynamic, task)
    }

    fn of(engine: Arc<Embedded>, admission: Admission, data: TempDir) -> Self {
        let stop = CancellationToken::new();
        Self {
            engine,
            admission,
            stop,
            claims: Vec::new(),
            _data: data,
        }
    }

    pub fn udp(&self, change: impl FnOnce(&mut SyslogUdpOptions)) -> (SocketAddr, JoinHandle<()>) {
        let mut options = SyslogUdpOptions::new(LOCAL);
        change(&mut options);
        let listener = SyslogUdp::bind(options, self.admission.clone()).unwrap();
        (
            listener.local_addr(),
            tokio::spawn(listener.run(self.stop.clone())),
        )
    }

    pub fn tcp(&self, change: impl FnOnce(&mut SyslogTcpOptions)) -> (SocketAddr, JoinHandle<()>) {
        let mut options = SyslogTcpOptions::new(LOCAL);
        change(&mut options);
        let listener = SyslogTcp::bind(options, self.admission.clone()).unwrap();
        (
            listener.local_addr(),
            tokio::spawn(listener.run(self.stop.clone())),
        )
    }

    pub fn relp(&self, change: impl FnOnce(&mut RelpOptions)) -> (SocketAddr, JoinHandle<()>) {
        let mut options = RelpOptions::new(LOCAL);
        change(&mut options);
        let listener = Relp::bind(options, self.admission.clone()).unwrap();
        (
            listener.local_addr(),
            tokio::spawn(listener.run(self.stop.clone())),
        )
    }

    pub fn tls(
        &self,
        tls: &Arc<Tls>,
        change: impl FnOnce(&mut SyslogTcpOptions),
    ) -> (SocketAddr, JoinHandle<()>) {
        self.tcp(|options| {
            options.tls = Some(tls.clone());
            change(options);
        })
    }

    pub fn handshakes_failed(&self, reason: HandshakeFailure) -> u64 {
        self.admission
            .metrics()
            .listener(Listener::SyslogTls)
            .handshake_failed(reason)
            .get()
    }

    /// The next `count` events in the order of the queue, and no more than that.
    pub async fn events(&mut self, count: usize) -> Vec<Value> {
        let worker: Arc<str> = "test".into();
        let mut events = Vec::new();
        while events.len() < count {
            let claim = self
                .engine
                .claim_events(&worker, count - events.len(), PATIENCE);
            let claim = claim.await.unwrap();
            let claim = claim.unwrap_or_else(|| panic!("{} of {count} events came", events.len()));
            events.extend(
                claim
                    .iter()
                    .map(|text| serde_json::from_slice(text).unwrap()),
            );
            self.claims.push(claim);
        }
        assert_eq!(events.len(), count);
        events
    }

    pub async fn messages(&mut self, count: usize) -> Vec<String> {
        let events = self.events(count).await;
        events
            .iter()
            .map(|event| event["message"].as_str().unwrap().to_owned())
            .collect()
    }

    pub async fn depth(&self) -> u64 {
        self.engine.event_depth().await.unwrap()
    }

    pub fn accepted(&self, listener: Listener) -> u64 {
        self.admission.metrics().listener(listener).accepted.get()
    }

    pub fn received(&self, listener: Listener) -> u64 {
        self.admission.metrics().listener(listener).received.get()
    }

    pub fn rejected(&self, listener: Listener, reason: RejectReason) -> u64 {
        self.admission
            .metrics()
            .listener(listener)
            .rejected(reason)
            .get()
    }

    pub fn deduplicated(&self, listener: Listener) -> u64 {
        self.admission
            .metrics()
            .listener(listener)
            .deduplicated
            .get()
    }

    /// Stops the listener; what it received is in the queue afterwards.
    pub async fn stop(&self, listener: JoinHandle<()>) {
        self.stop.cancel();
        timeout(PATIENCE, listener)
            .await
            .expect("the listener stops")
            .unwrap();
    }
}

/// Waits until `condition` holds.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("{what}: never"));
}

pub fn has_note(event: &Value, note: &str) -> bool {
    let notes = event["parse_notes"].as_array();
    notes.is_some_and(|notes| notes.iter().any(|found| found == note))
}

pub fn numbered(count: usize) -> String {
    (0..count).fold(String::new(), |lines, number| {
        lines + &format!("<13>number {number}\n")
    })
}

pub fn counted(message: &str) -> String {
    format!("{} {message}", message.len())
}
