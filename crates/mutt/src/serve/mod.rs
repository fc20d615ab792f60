//! Roles in a process: opens the engine, wires the stages to it, ends them in order.

mod admin;
mod health;
mod notify;
pub mod signals;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use mutt_alerter::{Alerter, AlerterHandle, AlerterMetrics, AlerterOptions};
use mutt_config::secrets::ExposeSecret as _;
use mutt_config::settings::{MoogPayload, Overflow, Scope, Settings};
use mutt_config::{Home, Secret, Secrets};
use mutt_engine::embedded::{Embedded, Mode};
use mutt_engine::{Dynamic, Engine, UnhandledScope, dynamic};
use mutt_event::json::RequiredFields;
use mutt_forwarder::sink::{FixedKeys, Identity};
use mutt_forwarder::{
    Backoff, Forwarder, ForwarderMetrics, ForwarderOptions, MoogOptions, MoogSink, Remediation,
    RemediationMetrics, RemediationOptions, Shape,
};
use mutt_http::{About, HttpMetrics, Keys, Limits, Tls, TlsFiles, role_router};
use mutt_ingest::http::{HttpIngest, HttpOptions};
use mutt_ingest::syslog_stream::{SyslogTcp, SyslogTcpOptions};
use mutt_ingest::syslog_udp::{SyslogUdp, SyslogUdpOptions};
use mutt_ingest::{Admission, IngestMetrics};
use mutt_web::{Totals, WebMetrics};
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cli::Global;
use crate::context::Context;
use crate::exit::{Failure, Outcome};
use crate::telemetry;

use self::health::Process;

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Takes events in.
    Ingestor,
    /// Decides them.
    Alerter,
    /// Delivers alerts.
    Forwarder,
    /// Replays dead letters.
    Remediation,
    /// Answers the API.
    Webui,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [
        Self::Ingestor,
        Self::Alerter,
        Self::Forwarder,
        Self::Remediation,
        Self::Webui,
    ];

    fn about(self) -> About {
        let (service, description) = match self {
            Self::Ingestor => ("mutt-ingestor", "Takes events in over HTTP and syslog."),
            Self::Alerter => ("mutt-alerter", "Decides events by the team's rules."),
            Self::Forwarder => ("mutt-moog-forwarder", "Delivers alerts to Moogsoft."),
            Self::Remediation => (
                "mutt-remediation",
                "Replays dead letters when the sink is well.",
            ),
            Self::Webui => ("mutt-webui", "The API that people and tools use."),
        };
        About {
            service,
            version: env!("CARGO_PKG_VERSION"),
            description,
            endpoints: &[
                ("GET /health", "whether it can work"),
                ("GET /metrics", "what it counted"),
            ],
        }
    }
}

/// Runs roles until SIGTERM.
pub async fn run(context: Context, global: &Global, roles: &[Role]) -> Outcome {
    let settings = &context.loaded.settings;
    telemetry::init(
        &settings.log_level,
        settings.log_json_enabled,
        &pod_name(settings),
    );
    for warning in &context.loaded.warnings {
        tracing::warn!("{warning}");
    }
    let server = Server::start(&context, roles).await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        data_dir = %context.data_dir().display(),
        roles = ?roles,
        "MUTT is ready: `mutt status` shows how it fares, `mutt tail` what it decides"
    );
    notify::ready();
    let mut hangups = signals::hangups()?;
    // Listened for all the time: a signal that came while settings are read again would be lost.
    let mut terminated = std::pin::pin!(signals::terminated());
    let mut end = Ok(());
    loop {
        tokio::select! {
            name = &mut terminated => {
                tracing::info!(signal = name, "ending: finishing what is in flight");
                break;
            }
            () = server.broken.cancelled() => {
                end = Err(Failure::failed("a part of MUTT broke, see the log above; start it again"));
                break;
            }
            _ = hangups.recv() => match Context::new(global) {
                Ok(context) => server.reload(&context),
                Err(failure) => {
                    tracing::error!("settings stay as they are");
                    failure.report();
                }
            }
        }
    }
    notify::stopping();
    server.stop().await;
    tracing::info!("ended; nothing that was acknowledged is lost");
    end
}

/// `POD_NAME`, else the host's name with a short id.
fn pod_name(settings: &Settings) -> String {
    settings.pod_name.clone().unwrap_or_else(|| {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = host.trim();
        let id = uuid::Uuid::now_v7().simple().to_string();
        format!(
            "{}-{}",
            if host.is_empty() { "mutt" } else { host },
            &id[id.len() - 6..]
        )
    })
}

/// The roles of one process, running.
pub struct Server {
    /// The engine.
    pub engine: Arc<dyn Engine>,
    tasks: TaskTracker,
    /// Ends the doors first, then the stages.
    stop_ingest: CancellationToken,
    stop: CancellationToken,
    /// Says that a task ended in disorder.
    broken: CancellationToken,
    secrets: Arc<KeyRing>,
    sink: Arc<MoogSink>,
    alerter: Option<AlerterHandle>,
    tls: Option<Arc<Tls>>,
    totals: Arc<dyn Fn() -> Totals + Send + Sync>,
    grace: Duration,
}

/// Everything that shows or checks a key, so that a reload reaches all of it.
struct KeyRing {
    ingest: Arc<Keys>,
    webui: Arc<Keys>,
    moog: Arc<FixedKeys>,
}

impl KeyRing {
    fn new() -> Self {
        Self {
            ingest: Arc::new(Keys::new(Vec::<String>::new())),
            webui: Arc::new(Keys::new(Vec::<String>::new())),
            moog: Arc::new(FixedKeys::default()),
        }
    }

    fn set(&self, secrets: &Secrets) {
        let texts = |secret| {
            secrets
                .get(secret)
                .iter()
                .map(|key| key.expose_secret().to_owned())
        };
        self.ingest.replace(texts(Secret::IngestApiKey));
        self.webui.replace(texts(Secret::WebuiApiKey));
        let moog = secrets.get(Secret::MoogApiKey);
        self.moog.set(moog.first().cloned(), moog.get(1).cloned());
    }
}

impl Server {
    /// Opens the engine and starts the roles. When it returns, every listener listens.
    pub async fn start(context: &Context, roles: &[Role]) -> Outcome<Self> {
        let settings = &context.loaded.settings;
        let pod = pod_name(settings);
        let engine: Arc<dyn Engine> = Embedded::open(context.data_dir(), Mode::Server)?;
        let keys = Arc::new(KeyRing::new());
        let secrets = Secrets::read(&context.environment, Home::Make(context.data_dir()))?;
        for file in &secrets.made {
            tracing::info!(file = %file.display(), "a key was made");
        }
        keys.set(&secrets);
        let sink = Arc::new(
            MoogSink::new(
                moog_options(settings),
                keys.moog.clone(),
                Identity::new(pod.clone()),
            )
            .map_err(Failure::problem)?,
        );
        let mut build = Build {
            settings,
            pod: pod.into(),
            dynamic: dynamic::follow(engine.clone(), context.loaded.dynamic()).await,
            registry: Registry::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            stop_ingest: CancellationToken::new(),
            broken: CancellationToken::new(),
            process: Process::new(engine.clone()),
            engine: engine.clone(),
            keys: keys.clone(),
            sink: sink.clone(),
            http: HttpMetrics::default(),
        };
        let result = build.roles(context, roles);
        let started = match result {
            Ok(started) => started,
            Err(failure) => {
                build.stop.cancel();
                build.stop_ingest.cancel();
                engine.close().await;
                return Err(failure);
            }
        };
        build.follow_log_level();
        Ok(Self {
            engine,
            tasks: build.tasks,
            stop_ingest: build.stop_ingest,
            stop: build.stop,
            broken: build.broken,
            secrets: keys,
            sink,
            alerter: started.alerter,
            tls: started.tls,
            totals: started.totals,
            grace: Duration::from_secs(settings.shutdown_grace_seconds),
        })
    }

    /// What this process counted.
    pub fn totals(&self) -> Totals {
        (self.totals)()
    }

    /// SIGHUP: secrets, the sink's settings, certificates, rules, hosts and teams are read again.
    fn reload(&self, context: &Context) {
        match Secrets::read(&context.environment, Home::Make(context.data_dir())) {
            Ok(secrets) => self.secrets.set(&secrets),
            Err(error) => tracing::error!(%error, "secrets stay as they are"),
        }
        if let Err(error) = self.sink.configure(moog_options(&context.loaded.settings)) {
            tracing::error!(%error, "the sink's settings stay as they are");
        }
        if let Some(tls) = &self.tls
            && let Err(error) = tls.reload()
        {
            tracing::error!(%error, "the certificate stays as it is");
        }
        if let Some(alerter) = &self.alerter {
            alerter.reload();
        }
        tracing::info!("settings, secrets and rules were read again");
    }

    /// Ends everything in order: doors, stages, engine.
    pub async fn stop(self) {
        self.stop_ingest.cancel();
        self.stop.cancel();
        self.tasks.close();
        // Every stage keeps to the grace period itself; this is for one that does not.
        let late = self.grace + Duration::from_secs(10);
        if tokio::time::timeout(late, self.tasks.wait()).await.is_err() {
            tracing::error!("some work did not end in time; it will be done after the next start");
        }
        self.engine.close().await;
    }
}

fn moog_options(settings: &Settings) -> MoogOptions {
    MoogOptions {
        url: settings.moog_webhook_url.clone(),
        shape: match settings.moog_payload {
            MoogPayload::RestLam => Shape::RestLam,
            MoogPayload::EventsApi => Shape::EventsApi,
            MoogPayload::Legacy => Shape::Legacy,
        },
        timeout: Duration::from_secs_f64(settings.moog_timeout),
        ca: settings.moog_tls_ca_cert.clone(),
        health_url: settings.moog_health_url.clone(),
        dedupe_field: settings.moog_dedupe_field.clone(),
        service_field: settings.moog_service_field.clone(),
        ..MoogOptions::default()
    }
}

/// What is needed to put the roles together.
struct Build<'a> {
    settings: &'a Settings,
    pod: Arc<str>,
    engine: Arc<dyn Engine>,
    dynamic: watch::Receiver<Arc<Dynamic>>,
    registry: Registry,
    tasks: TaskTracker,
    stop: CancellationToken,
    stop_ingest: CancellationToken,
    broken: CancellationToken,
    process: Process,
    keys: Arc<KeyRing>,
    sink: Arc<MoogSink>,
    http: HttpMetrics,
}

/// What is needed of the roles afterwards.
struct Started {
    alerter: Option<AlerterHandle>,
    tls: Option<Arc<Tls>>,
    totals: Arc<dyn Fn() -> Totals + Send + Sync>,
}

/// Starts what works until the end. Where it breaks, `broken` says so: a process without one of its
/// parts looks well and does not do its work, one that ends is started again.
fn spawn_watched(
    tasks: &TaskTracker,
    broken: &CancellationToken,
    work: impl Future<Output = ()> + Send + 'static,
) {
    let broken = broken.clone().drop_guard();
    tasks.spawn(async move {
        work.await;
        let _ = broken.disarm();
    });
}

impl Build<'_> {
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        spawn_watched(&self.tasks, &self.broken, work);
    }

    fn roles(&mut self, context: &Context, roles: &[Role]) -> Outcome<Started> {
        let has = |role| roles.contains(&role);
        self.http = HttpMetrics::register(&mut self.registry);
        health::register_build_info(&mut self.registry);
        health::register_process(&mut self.registry);
        // Metrics of all roles first: every port shows the whole registry.
        let ingest = has(Role::Ingestor).then(|| IngestMetrics::register(&mut self.registry));
        let alerter_metrics =
            has(Role::Alerter).then(|| AlerterMetrics::register(&mut self.registry));
        if let (Some(metrics), None) = (&alerter_metrics, &ingest) {
            metrics.register_ingest_depth(&mut self.registry);
        }
        let forwarder_metrics =
            has(Role::Forwarder).then(|| ForwarderMetrics::register(&mut self.registry));
        let remediation_metrics =
            has(Role::Remediation).then(|| RemediationMetrics::register(&mut self.registry));
        let web_metrics = has(Role::Webui).then(|| WebMetrics::register(&mut self.registry));
        let registry = Arc::new(std::mem::take(&mut self.registry));
        let totals = totals(
            ingest.clone(),
            alerter_metrics.clone(),
            forwarder_metrics.as_ref().map(ForwarderMetrics::tally),
        );

        let alerter = alerter_metrics.map(|metrics| self.alerter(metrics));
        if let Some(metrics) = forwarder_metrics {
            self.forwarder(metrics);
        }
        if let Some(metrics) = remediation_metrics {
            self.remediation(metrics);
        }
        let mut tls = None;
        if let Some(metrics) = ingest {
            tls = self.ingestor(context, metrics, registry.clone())?;
        }
        let settings = self.settings;
        for (role, port) in [
            (Role::Alerter, settings.server_port_alerter),
            (Role::Alerter, settings.server_port_alerter_metrics),
            (Role::Forwarder, settings.server_port_moog_forwarder),
            (Role::Forwarder, settings.server_port_moog_metrics),
            (Role::Remediation, settings.metrics_port_remediation),
            (Role::Remediation, settings.health_port_remediation),
        ] {
            if has(role) && port != 0 {
                let router = role_router(role.about(), self.process.role(role), registry.clone());
                self.serve(port, role, mutt_http::fallbacks(router))?;
            }
        }
        if let Some(metrics) = web_metrics
            && settings.server_port_webui != 0
        {
            let process = self.process.clone();
            let api = mutt_web::Api {
                engine: self.engine.clone(),
                keys: self.keys.webui.clone(),
                totals: totals.clone(),
                problems: Arc::new(move || process.problems()),
                metrics,
                version: env!("CARGO_PKG_VERSION"),
            };
            let pages = role_router(
                Role::Webui.about(),
                self.process.role(Role::Webui),
                registry,
            );
            let router = mutt_http::fallbacks(pages.merge(mutt_web::router(api)));
            self.serve(settings.server_port_webui, Role::Webui, router)?;
        }
        Ok(Started {
            alerter,
            tls,
            totals,
        })
    }

    fn serve(&self, port: u16, role: Role, router: axum::Router) -> Outcome {
        let addr = SocketAddr::new(self.settings.bind_address, port);
        let server = mutt_http::Server::bind(addr, Limits::default())
            .map_err(Failure::failed)?
            .with_metrics(self.http.server(role.about().service));
        let stop = self.stop.clone();
        self.spawn(server.run(mutt_http::WithPeer(router), stop));
        Ok(())
    }

    fn alerter(&self, metrics: AlerterMetrics) -> AlerterHandle {
        let settings = self.settings;
        let options = AlerterOptions {
            pod: self.pod.clone(),
            max_retries: u32::try_from(settings.alerter_max_retries).unwrap_or(u32::MAX),
            heartbeat_interval: Duration::from_secs(settings.alerter_heartbeat_interval),
            shutdown_grace: Duration::from_secs(settings.shutdown_grace_seconds),
            unhandled_scope: match settings.unhandled_event_scope {
                Scope::Host => UnhandledScope::Host,
                Scope::Signature => UnhandledScope::Signature,
            },
            default_team: settings.unhandled_default_team.as_str().into(),
            ..AlerterOptions::default()
        };
        let alerter = Alerter::new(options, self.engine.clone(), self.dynamic.clone(), metrics);
        let handle = alerter.handle();
        self.process.set_alerter(handle.clone());
        self.spawn(alerter.run(self.stop.clone()));
        handle
    }

    fn forwarder(&self, metrics: ForwarderMetrics) {
        let settings = self.settings;
        let options = ForwarderOptions {
            backoff: Backoff {
                base: Duration::from_secs_f64(settings.moog_retry_base_delay),
                max: Duration::from_secs_f64(settings.moog_retry_max_delay),
            },
            circuit_enabled: settings.circuit_breaker_enabled,
            heartbeat_interval: Duration::from_secs(settings.moog_heartbeat_interval),
            grace: Duration::from_secs(settings.shutdown_grace_seconds),
            ..ForwarderOptions::new(self.pod.clone())
        };
        let forwarder = Forwarder::new(
            self.engine.clone(),
            self.sink.clone(),
            self.dynamic.clone(),
            options,
            metrics,
        );
        self.process.set_forwarder(forwarder.health());
        self.spawn(forwarder.run(self.stop.clone()));
    }

    fn remediation(&self, metrics: RemediationMetrics) {
        let settings = self.settings;
        let options = RemediationOptions {
            batch: usize::try_from(settings.remediation_batch_size).unwrap_or(usize::MAX),
            backoff: Duration::from_secs(settings.remediation_backoff_base),
            circuit_enabled: settings.circuit_breaker_enabled,
        };
        let remediation = Remediation::new(
            self.engine.clone(),
            self.sink.clone(),
            self.dynamic.clone(),
            options,
            metrics,
        );
        self.spawn(remediation.run(self.stop.clone()));
    }

    fn ingestor(
        &self,
        context: &Context,
        metrics: IngestMetrics,
        registry: Arc<Registry>,
    ) -> Outcome<Option<Arc<Tls>>> {
        let settings = self.settings;
        let admission = Admission::new(self.engine.clone(), metrics);
        {
            let (admission, dynamic, stop) =
                (admission.clone(), self.dynamic.clone(), self.stop.clone());
            self.spawn(async move { admission.run(dynamic, stop).await });
        }
        let max_line = usize::try_from(settings.syslog_max_line).unwrap_or(usize::MAX);
        let bind = settings.bind_address;
        if let Some(addr) = settings.syslog_udp_addr.resolve(bind) {
            let options = SyslogUdpOptions {
                max_line,
                ..SyslogUdpOptions::new(addr)
            };
            let udp = SyslogUdp::bind(options, admission.clone()).map_err(Failure::failed)?;
            self.spawn(udp.run(self.stop_ingest.clone()));
        }
        if let Some(addr) = settings.syslog_tcp_addr.resolve(bind) {
            let options = SyslogTcpOptions {
                max_line,
                overflow: match settings.syslog_tcp_overflow {
                    Overflow::Backpressure => mutt_ingest::Overflow::Backpressure,
                    Overflow::Shed => mutt_ingest::Overflow::Shed,
                },
                ..SyslogTcpOptions::new(addr)
            };
            let tcp = SyslogTcp::bind(options, admission.clone()).map_err(Failure::failed)?;
            self.spawn(tcp.run(self.stop_ingest.clone()));
        }
        if settings.server_port_ingestor == 0 {
            return Ok(None);
        }
        let tls = match (&settings.tls_cert_file, &settings.tls_key_file) {
            (Some(certificate), Some(key)) => {
                let files = TlsFiles {
                    certificate: certificate.clone(),
                    key: key.clone(),
                    client_ca: None,
                };
                let tls = Tls::load(files, mutt_http::ALPN_HTTP1).map_err(Failure::problem)?;
                Some(Arc::new(tls))
            }
            _ => None,
        };
        let options = HttpOptions {
            max_body_bytes: usize::try_from(settings.max_body_bytes).unwrap_or(usize::MAX),
            required: RequiredFields::parse(&settings.required_fields),
            ..HttpOptions::default()
        };
        let ingest = HttpIngest::new(
            options,
            admission,
            self.dynamic.clone(),
            self.keys.ingest.clone(),
            registry,
            admin::config(context, self.dynamic.clone()),
        );
        let addr = SocketAddr::new(bind, settings.server_port_ingestor);
        let mut server = mutt_http::Server::bind(addr, Limits::default())
            .map_err(Failure::failed)?
            .with_metrics(self.http.server(Role::Ingestor.about().service));
        if let Some(tls) = &tls {
            server = server.with_tls(tls.clone());
            let every = Duration::from_secs(5);
            self.spawn(tls.clone().watch(every, self.stop.clone()));
        }
        self.spawn(server.run(ingest.service(), self.stop_ingest.clone()));
        Ok(tls)
    }

    /// `log_level` is dynamic: it takes effect when it changes.
    fn follow_log_level(&self) {
        let (mut dynamic, stop) = (self.dynamic.clone(), self.stop.clone());
        let mut level = dynamic.borrow_and_update().text("log_level").to_owned();
        self.spawn(async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    changed = dynamic.changed() => if changed.is_err() { return },
                }
                let now = dynamic.borrow_and_update().text("log_level").to_owned();
                if now != level {
                    telemetry::set_level(&now);
                    tracing::warn!(before = level, now, "the log level changed");
                    level = now;
                }
            }
        });
    }
}

/// What the roles of this process counted, from their own handles.
fn totals(
    ingest: Option<IngestMetrics>,
    alerter: Option<AlerterMetrics>,
    forwarder: Option<mutt_forwarder::Tally>,
) -> Arc<dyn Fn() -> Totals + Send + Sync> {
    Arc::new(move || {
        let mut totals = Totals::default();
        if let Some(metrics) = &ingest {
            totals.received = mutt_ingest::Listener::ALL
                .into_iter()
                .map(|listener| metrics.listener(listener).accepted.get())
                .sum();
        }
        if let Some(metrics) = &alerter {
            totals.unhandled = metrics.unhandled.get();
            totals.decided = metrics.handled.get()
                + metrics.unhandled.get()
                + metrics.error.get()
                + metrics.poison.get();
        }
        if let Some(tally) = &forwarder {
            totals.delivered = tally.delivered();
            totals.failed = tally.failed();
        }
        totals
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_breaks_is_noticed_and_work_that_ends_is_not() {
        let (tasks, broken) = (TaskTracker::new(), CancellationToken::new());
        spawn_watched(&tasks, &broken, async {});
        tasks.close();
        tasks.wait().await;
        assert!(!broken.is_cancelled());
        spawn_watched(&tasks, &broken, async { panic!("a mistake") });
        broken.cancelled().await;
    }
}
