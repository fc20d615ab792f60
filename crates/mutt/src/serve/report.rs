//! Tells what this process is and how it fares, once a second, so that whichever process answers the
//! API can show all of them. Nothing depends on it: where it cannot be told, it is told later.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mutt_alerter::AlerterMetrics;
use mutt_engine::reports::{ListenerReport, SinkReport};
use mutt_engine::{Engine, FlowCounts, ProcessReport};
use mutt_forwarder::Tally;
use mutt_ingest::{Door, IngestMetrics, Listener, RejectReason};
use tokio_util::sync::CancellationToken;

use super::Role;
use super::health::{Process, ProcessStat};

/// How often it is told.
const EVERY: Duration = Duration::from_secs(1);
/// How long it holds: a process that says nothing for so long is not shown.
const LIFETIME: Duration = Duration::from_secs(15);
/// How long telling may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Senders that flood, told of.
const FLOODS: usize = 20;
/// Hosts that are told of.
const BUSY_HOSTS: usize = 20;
/// Problems that are told of, and the characters of each.
const PROBLEMS: (usize, usize) = (20, 500);

/// What the roles of this process counted, from their own handles.
#[derive(Clone)]
pub(super) struct Counters {
    pub(super) ingest: Option<IngestMetrics>,
    pub(super) alerter: Option<AlerterMetrics>,
    pub(super) forwarder: Option<Tally>,
}

impl Counters {
    /// What became of events and alerts since the start.
    pub(super) fn flow(&self) -> FlowCounts {
        let mut counts = FlowCounts::default();
        if let Some(metrics) = &self.ingest {
            for listener in Listener::ALL {
                let accepted = metrics.listener(listener).accepted.get();
                match listener {
                    Listener::Http => counts.received_http += accepted,
                    Listener::SnmpTrap => counts.received_snmp += accepted,
                    Listener::SyslogUdp
                    | Listener::SyslogTcp
                    | Listener::SyslogTls
                    | Listener::Relp => counts.received_syslog += accepted,
                }
            }
            counts.dropped = self.dropped().values().sum();
        }
        if let Some(metrics) = &self.alerter {
            counts.handled = metrics.handled.get();
            counts.unhandled = metrics.unhandled.get();
            counts.undecided = metrics.error.get() + metrics.poison.get();
        }
        if let Some(tally) = &self.forwarder {
            counts.delivered = tally.delivered();
            counts.failed = tally.failed();
        }
        counts
    }

    /// Messages that were not taken, by reason; reasons that never occurred are left out.
    fn dropped(&self) -> BTreeMap<String, u64> {
        let mut dropped = BTreeMap::new();
        let Some(metrics) = &self.ingest else {
            return dropped;
        };
        let mut add = |reason: &str, count: u64| {
            if count > 0 {
                *dropped.entry(reason.to_owned()).or_default() += count;
            }
        };
        for listener in Listener::ALL.map(|listener| metrics.listener(listener)) {
            for reason in RejectReason::ALL {
                add(reason.name(), listener.rejected(reason).get());
            }
            add("kernel", listener.kernel_drops.get());
        }
        dropped
    }
}

/// What stays the same as long as the process runs.
pub(super) struct Reporter {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) process: Process,
    pub(super) pod: Arc<str>,
    pub(super) roles: Vec<Role>,
    pub(super) counters: Counters,
    pub(super) door: Option<Door>,
    pub(super) heard: Heard,
}

/// By position in [`Listener::ALL`]: how much a listener had read, and when it last was more than before.
#[derive(Default)]
pub(super) struct Heard([(u64, Option<Timestamp>); Listener::ALL.len()]);

impl Heard {
    fn look(&mut self, metrics: &IngestMetrics) {
        for (listener, (read, at)) in Listener::ALL.into_iter().zip(&mut self.0) {
            let now = metrics.listener(listener).received.get();
            if now > *read {
                (*read, *at) = (now, Some(Timestamp::now()));
            }
        }
    }
}

impl Reporter {
    fn listeners(&mut self) -> Vec<ListenerReport> {
        let Some(metrics) = &self.counters.ingest else {
            return Vec::new();
        };
        self.heard.look(metrics);
        let report = |(listener, address): (Listener, String)| {
            let counted = metrics.listener(listener);
            let rejected = RejectReason::ALL
                .into_iter()
                .map(|reason| (reason.name(), counted.rejected(reason).get()));
            ListenerReport {
                listener: listener.name().to_owned(),
                address,
                received: counted.received.get(),
                accepted: counted.accepted.get(),
                deduplicated: counted.deduplicated.get(),
                connections: u64::try_from(counted.connections.get()).unwrap_or(0),
                last_received: self.heard.0[listener as usize].1,
                dropped: rejected
                    .chain([("kernel", counted.kernel_drops.get())])
                    .filter(|(_, count)| *count > 0)
                    .map(|(reason, count)| (reason.to_owned(), count))
                    .collect(),
            }
        };
        self.process.listening().into_iter().map(report).collect()
    }

    fn report(&mut self, started_at: Timestamp) -> ProcessReport {
        let stat = ProcessStat::read();
        let mut problems = self.process.problems();
        problems.truncate(PROBLEMS.0);
        for problem in &mut problems {
            problem.text = problem.text.chars().take(PROBLEMS.1).collect();
        }
        ProcessReport {
            pod: self.pod.to_string(),
            roles: self
                .roles
                .iter()
                .map(|role| role.name().to_owned())
                .collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at,
            at: Timestamp::now(),
            counts: self.counters.flow(),
            dropped: self.counters.dropped(),
            cpu_seconds: stat.as_ref().map_or(0.0, |stat| stat.cpu_seconds),
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a size in whole bytes"
            )]
            memory_bytes: stat.map_or(0, |stat| stat.resident_bytes as u64),
            spooled: self.process.spooled(),
            problems,
            sink: self.process.sink(),
            busy_hosts: self.process.busy_hosts(BUSY_HOSTS),
            listeners: self.listeners(),
            floods: self
                .door
                .as_ref()
                .map_or_else(Vec::new, |door| door.floods(FLOODS)),
        }
    }

    /// Tells until the end, and takes leave.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let started_at = Timestamp::now();
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let last = tokio::select! {
                () = stop.cancelled() => true,
                _ = every.tick() => false,
            };
            let report = self.report(started_at);
            let lifetime = if last {
                Duration::from_millis(1)
            } else {
                LIFETIME
            };
            let told = self.engine.report(&report, lifetime);
            match tokio::time::timeout(PATIENCE, told).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::debug!(%error, "the report of this process is told later");
                }
                Err(_) => tracing::debug!("the report of this process took too long"),
            }
            if last {
                return;
            }
        }
    }
}

/// The sink as the forwarder of this process sees it.
pub(super) fn sink(report: mutt_forwarder::HealthReport) -> SinkReport {
    let failure = report.last_failure;
    SinkReport {
        configured: report.configured,
        last_delivery: report.last_delivery,
        last_failure_at: failure.as_ref().map(|failure| failure.at),
        last_failure: failure.map(|failure| failure.error),
    }
}
