//! What each role says at `/health`, and what the process as a whole has to complain about.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mutt_alerter::AlerterHandle;
use mutt_config::{SecretStore, VaultStatus};
use mutt_distributed::Distributed;
use mutt_engine::Engine;
use mutt_engine::reports::{Problem, SinkReport};
use mutt_forwarder::health::Condition;
use mutt_http::{Check, HealthReport};
use mutt_ingest::Listener;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use crate::serve::{Role, report};

/// How long a look at the store may take.
const LOOK: Duration = Duration::from_secs(3);

/// What the roles of this process know about themselves.
#[derive(Clone)]
pub struct Process(Arc<Inner>);

struct Inner {
    engine: Arc<dyn Engine>,
    distributed: Option<Arc<Distributed>>,
    secrets: SecretStore,
    alerter: OnceLock<AlerterHandle>,
    forwarder: OnceLock<Arc<mutt_forwarder::Health>>,
    listening: Mutex<Vec<(Listener, String)>>,
}

impl Process {
    pub fn new(
        engine: Arc<dyn Engine>,
        distributed: Option<Arc<Distributed>>,
        secrets: SecretStore,
    ) -> Self {
        Self(Arc::new(Inner {
            engine,
            distributed,
            secrets,
            alerter: OnceLock::new(),
            forwarder: OnceLock::new(),
            listening: Mutex::default(),
        }))
    }

    pub fn set_alerter(&self, alerter: AlerterHandle) {
        let _ = self.0.alerter.set(alerter);
    }

    pub fn set_forwarder(&self, forwarder: Arc<mutt_forwarder::Health>) {
        let _ = self.0.forwarder.set(forwarder);
    }

    /// Notes that a door is open at an address.
    pub fn opened(&self, listener: Listener, addr: SocketAddr) {
        let mut listening = self.0.listening.lock();
        listening.push((listener, addr.to_string()));
    }

    /// The doors that are open, each with its address.
    pub fn listening(&self) -> Vec<(Listener, String)> {
        self.0.listening.lock().clone()
    }

    /// The health of one role.
    pub fn role(&self, role: Role) -> Arc<dyn mutt_http::Health> {
        Arc::new(RoleHealth {
            role,
            process: self.clone(),
        })
    }

    /// Events that wait in this process's spool.
    pub fn spooled(&self) -> u64 {
        let engine = self.0.distributed.as_ref();
        engine.map_or(0, |engine| engine.spooled().events)
    }

    /// The sink, where a forwarder runs here.
    pub fn sink(&self) -> Option<SinkReport> {
        let forwarder = self.0.forwarder.get()?;
        Some(report::sink(forwarder.report()))
    }

    /// The hosts with the most events, where an alerter runs here.
    pub fn busy_hosts(&self, limit: usize) -> Vec<(String, u64)> {
        let alerter = self.0.alerter.get();
        alerter.map_or_else(Vec::new, |alerter| alerter.busy_hosts(limit))
    }

    /// What is wrong now, in words; cheap. What the stores and the sink's circuit say themselves is
    /// left out.
    pub fn problems(&self) -> Vec<Problem> {
        let problem = |code: &str, text: String| Problem {
            code: code.to_owned(),
            text,
        };
        let mut problems = Vec::new();
        let vault = self.0.secrets.status();
        if let VaultStatus::Away { .. }
        | VaultStatus::Ok {
            trouble: Some(_), ..
        } = &vault
        {
            problems.push(problem("pod_problem", format!("Vault: {vault}")));
        }
        if let Some(forwarder) = self.0.forwarder.get() {
            let report = forwarder.report();
            if report.configured && report.wrong_key {
                let detail = report.detail.unwrap_or_default();
                problems.push(problem("pod_problem", detail));
            }
        }
        if let Some(alerter) = self.0.alerter.get() {
            for skipped in alerter.skipped_rules() {
                let text = format!("rule {} takes no part: {}", skipped.rule_id, skipped.reason);
                problems.push(problem("rule_skipped", text));
            }
        }
        problems
    }

    /// The store as the ingestor sees it: it needs Redis alone, and for a while not even that.
    async fn door(&self) -> Check {
        let Some(engine) = &self.0.distributed else {
            return self.store().await;
        };
        let spooled = engine.spooled();
        match engine.redis_ready().await {
            Ok(()) if spooled.events == 0 => Check::ok("events go to Redis"),
            Ok(()) => Check::ok(format!(
                "Redis is back; {} spooled events are on their way to it",
                spooled.events
            )),
            Err(error) if !spooled.was_connected => Check::failed(error.to_string()),
            Err(error) if spooled.bytes >= spooled.limit / 10 * 9 => Check::failed(format!(
                "the spool is nearly full ({} of {} bytes, SPOOL_MAX_BYTES): {error}",
                spooled.bytes, spooled.limit
            )),
            Err(error) => Check::ok(format!(
                "{} events are spooled here ({} of {} bytes) until Redis is back: {error}",
                spooled.events, spooled.bytes, spooled.limit
            )),
        }
    }

    async fn store(&self) -> Check {
        match tokio::time::timeout(LOOK, self.0.engine.ready()).await {
            Ok(Ok(())) => Check::ok("can be read and written"),
            Ok(Err(error)) => Check::failed(error.to_string()),
            Err(_) => Check::failed(format!("no answer within {} s", LOOK.as_secs())),
        }
    }
}

struct RoleHealth {
    role: Role,
    process: Process,
}

#[async_trait::async_trait]
impl mutt_http::Health for RoleHealth {
    async fn check(&self) -> HealthReport {
        let process = &self.process;
        let mut report = HealthReport::default();
        let vault = process.0.secrets.status();
        if vault != VaultStatus::Off {
            // The last known secrets hold: it works on, and says so.
            report = report.with("vault", Check::ok(vault.to_string()));
        }
        match (
            self.role,
            process.0.alerter.get(),
            process.0.forwarder.get(),
        ) {
            (Role::Alerter, Some(alerter), _) => {
                for check in alerter.health().await.checks {
                    let (name, detail) = (check.name, check.detail);
                    let check = if check.ok {
                        Check::ok(detail)
                    } else {
                        Check::failed(detail)
                    };
                    report = report.with(name, check);
                }
            }
            (Role::Forwarder, _, Some(forwarder)) => {
                let state = forwarder.report();
                let detail = state
                    .detail
                    .clone()
                    .unwrap_or_else(|| "alerts go out".into());
                // Alerts that wait are not lost; only a store that is away keeps it from working.
                let sink = if state.status == Condition::Failing {
                    Check::failed(detail)
                } else {
                    Check::ok(detail)
                };
                let circuit = Check::ok(state.circuit.name());
                report = report.with("sink", sink).with("circuit", circuit);
                report = report.with("store", process.store().await);
            }
            (Role::Ingestor, ..) => report = report.with("store", process.door().await),
            _ => report = report.with("store", process.store().await),
        }
        report
    }
}

/// `mutt_build_info{version}` is always 1. A gauge, because readers of the older text format refuse a
/// whole page for the type "info".
pub fn register_build_info(registry: &mut Registry) {
    let build = Family::<[(&str, &str); 1], Gauge>::default();
    build
        .get_or_create_owned(&[("version", env!("CARGO_PKG_VERSION"))])
        .set(1);
    registry.register("mutt_build_info", "The program's version", build);
}

/// What the distributed engine knows of its servers and of its spool.
pub fn register_engine(registry: &mut Registry, engine: Arc<Distributed>) {
    registry.register_collector(Box::new(EngineMetrics(engine)));
}

struct EngineMetrics(Arc<Distributed>);

impl std::fmt::Debug for EngineMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EngineMetrics")
    }
}

impl Collector for EngineMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (spooled, pool) = (self.0.spooled(), self.0.postgres_pool());
        let counts = self.0.counts();
        for (name, help, value) in [
            (
                "mutt_redis_up",
                "Whether Redis is connected and safe to use",
                u64::from(self.0.is_redis_up()),
            ),
            (
                "mutt_postgres_up",
                "Whether PostgreSQL is connected; it is tried every second",
                u64::from(pool.up),
            ),
            (
                "mutt_spool_depth",
                "Events that wait in this process's spool for Redis",
                spooled.events,
            ),
            (
                "mutt_spool_bytes",
                "Bytes that the spool holds",
                spooled.bytes,
            ),
            (
                "mutt_spool_max_bytes",
                "Bytes that the spool may hold (SPOOL_MAX_BYTES)",
                spooled.limit,
            ),
            (
                "mutt_postgres_connections",
                "Connections to PostgreSQL",
                pool.size as u64,
            ),
            (
                "mutt_postgres_connections_idle",
                "Connections to PostgreSQL that nobody uses now",
                pool.idle as u64,
            ),
            (
                "mutt_postgres_connections_waiting",
                "Calls that wait for a connection to PostgreSQL",
                pool.waiting as u64,
            ),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        for (name, help, value) in [
            (
                "mutt_redis_connections_lost",
                "Times that the connection to Redis was lost",
                counts.redis_losses,
            ),
            (
                "mutt_spool_spooled",
                "Events that went into the spool instead of Redis",
                counts.spooled,
            ),
            (
                "mutt_spool_drained",
                "Events that went from the spool to Redis",
                counts.drained,
            ),
            (
                "mutt_spool_refused",
                "Events that the spool could not take; their senders were told, datagrams are gone",
                counts.not_spooled,
            ),
            (
                "mutt_postgres_connect_failures",
                "Attempts to connect to PostgreSQL that failed on every host",
                pool.failed_connects,
            ),
            (
                "mutt_postgres_call_failures",
                "Calls to PostgreSQL that failed: refused, late or cut off; most are made again",
                pool.failed_calls,
            ),
        ] {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(
                name,
                help,
                None,
                counter.metric_type(),
            )?)?;
        }
        let mut family = encoder.encode_descriptor(
            "mutt_claims_taken_over",
            "Claims that were ended in place of their worker: returned to the queue, or finished where they had taken effect",
            None,
            MetricType::Counter,
        )?;
        for (kind, claims) in [
            ("alerter", counts.alerter_claims),
            ("moog", counts.moog_claims),
        ] {
            for (outcome, value) in [("returned", claims.returned), ("finished", claims.finished)] {
                let labels = [("kind", kind), ("outcome", outcome)];
                ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

/// The process metrics that every Prometheus client library has.
pub fn register_process(registry: &mut Registry) {
    registry.register_collector(Box::new(ProcessMetrics));
}

#[derive(Debug)]
struct ProcessMetrics;

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(stat) = ProcessStat::read() else {
            return Ok(());
        };
        let cpu = ConstCounter::new(stat.cpu_seconds);
        cpu.encode(encoder.encode_descriptor(
            "process_cpu_seconds",
            "CPU time used, user and system.",
            None,
            cpu.metric_type(),
        )?)?;
        for (name, help, value) in [
            (
                "process_resident_memory_bytes",
                "Resident memory.",
                stat.resident_bytes,
            ),
            (
                "process_virtual_memory_bytes",
                "Virtual memory.",
                stat.virtual_bytes,
            ),
            (
                "process_open_fds",
                "Open file descriptors.",
                stat.open_files,
            ),
            (
                "process_max_fds",
                "The most file descriptors that may be open.",
                stat.max_files,
            ),
            (
                "process_start_time_seconds",
                "Start of the process, seconds since 1970.",
                stat.started,
            ),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

pub(super) struct ProcessStat {
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: f64,
    virtual_bytes: f64,
    open_files: f64,
    max_files: f64,
    started: f64,
}

impl ProcessStat {
    /// From proc(5). Linux counts in ticks of 1/100 s for user space on every platform we run on,
    /// and in pages of 4 KiB on x86-64 and most of aarch64; `VmRSS` is in KiB everywhere.
    pub(super) fn read() -> Option<Self> {
        const TICKS: f64 = 100.0;
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The name in parentheses may contain anything.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let number = |index: usize| fields.get(index)?.parse::<f64>().ok();
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let kib = |name| -> Option<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().trim_end_matches(" kB").parse().ok()
        };
        let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
        let max_files = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max open files"))?
            .split_whitespace()
            .next()?;
        let boot: f64 = std::fs::read_to_string("/proc/stat")
            .ok()?
            .lines()
            .find_map(|line| line.strip_prefix("btime "))?
            .parse()
            .ok()?;
        Some(Self {
            cpu_seconds: (number(11)? + number(12)?) / TICKS,
            resident_bytes: kib("VmRSS:")? * 1024.0,
            virtual_bytes: kib("VmSize:")? * 1024.0,
            open_files: std::fs::read_dir("/proc/self/fd").ok()?.count() as f64,
            max_files: match max_files {
                "unlimited" => u64::MAX as f64,
                number => number.parse().ok()?,
            },
            started: boot + number(19)? / TICKS,
        })
    }
}
