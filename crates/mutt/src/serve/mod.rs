//! Roles in a process: opens the engine, wires the stages to it, ends them in order.

mod admin;
mod build;
mod doors;
mod health;
mod notify;
mod objectives;
mod report;
pub mod signals;

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use mutt_alerter::AlerterHandle;
use mutt_config::secrets::ExposeSecret as _;
use mutt_config::settings::{MoogPayload, Settings};
use mutt_config::{Backend, Home, Secret, SecretStore, Secrets};
use mutt_distributed::Distributed;
use mutt_engine::embedded::{Embedded, Mode};
use mutt_engine::{Engine, FlowCounts, WorkerKind, Workers as _, dynamic};
use mutt_forwarder::sink::{FixedKeys, Identity};
use mutt_forwarder::{MoogOptions, MoogSink, Shape};
use mutt_http::{About, HttpMetrics, Keys};
use mutt_ingest::Door;
use mutt_web::LoginLinks;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::build::Build;
use self::doors::Files;
use self::health::Process;
use self::report::Counters;
use crate::api::local_url;
use crate::backend;
use crate::cli::Global;
use crate::context::Context;
use crate::exit::{Failure, Outcome};
use crate::output;
use crate::telemetry;

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

    /// Its name in reports and on the command line.
    fn name(self) -> &'static str {
        match self {
            Self::Ingestor => "ingestor",
            Self::Alerter => "alerter",
            Self::Forwarder => "forwarder",
            Self::Remediation => "remediation",
            Self::Webui => "webui",
        }
    }

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
    // Listened for all the time: a signal that came during the start, or while settings are read
    // again, would be lost.
    let mut terminated = std::pin::pin!(signals::terminated()?);
    let mut hangups = signals::hangups()?;
    let server = tokio::select! {
        server = Server::start(&context, roles) => server?,
        name = &mut terminated => {
            tracing::info!(signal = name, "ended while it was starting; nothing was taken in");
            return Ok(());
        }
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        data_dir = %context.data_dir().display(),
        roles = ?roles,
        "MUTT is ready: `mutt status` shows how it fares, `mutt tail` what it decides"
    );
    if let Some(link) = server.first_link() {
        say_link(settings, &link);
    }
    notify::ready();
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
                Ok(context) => server.reload(&context).await,
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

/// Says where a browser is signed in, to whoever sits at the terminal. A log is kept and read by others:
/// there it says where the key is.
fn say_link(settings: &Settings, link: &str) {
    let url = local_url(settings);
    if std::io::stdout().is_terminal() {
        output::line(&format!("UI  {url}/#/login/{link}   valid 30 min, once"));
    } else {
        tracing::info!(
            url,
            "the web UI takes an API key; the first is WEBUI_API_KEY, or the file webui_api_key in the data directory"
        );
    }
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
    secrets: SecretStore,
    keys: Arc<KeyRing>,
    /// Sign a browser in.
    pub links: LoginLinks,
    /// Whether the API is served here.
    webui: bool,
    sink: Arc<MoogSink>,
    alerter: Option<AlerterHandle>,
    files: Files,
    door: Option<Door>,
    counters: Counters,
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
        // Before the engine: on Redis and PostgreSQL it needs them.
        let home = match settings.backend {
            Backend::Embedded => Home::Make(context.data_dir()),
            // Each process would make keys of its own.
            Backend::Distributed => Home::None,
        };
        let secrets = SecretStore::start(settings, &context.environment, home);
        let secrets = notify::while_waiting("waits for the secrets", secrets).await?;
        if settings.backend == Backend::Distributed {
            warn_of_unknown(&secrets.current(), roles);
        }
        let (engine, distributed) = open_engine(context, &pod, roles, &secrets).await?;
        let keys = Arc::new(KeyRing::new());
        keys.set(&secrets.current());
        let links = LoginLinks::default();
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
            process: Process::new(engine.clone(), distributed.clone(), secrets.clone()),
            engine: engine.clone(),
            distributed,
            keys: keys.clone(),
            links: links.clone(),
            secrets: secrets.clone(),
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
        build.follow_secrets();
        Ok(Self {
            engine,
            tasks: build.tasks,
            stop_ingest: build.stop_ingest,
            stop: build.stop,
            broken: build.broken,
            secrets,
            keys,
            links,
            webui: roles.contains(&Role::Webui) && settings.server_port_webui != 0,
            sink,
            alerter: started.alerter,
            files: started.files,
            door: started.door,
            counters: started.counters,
            grace: Duration::from_secs(settings.shutdown_grace_seconds),
        })
    }

    /// A login link, where the first administrator's key was made just now: nobody knows it yet.
    fn first_link(&self) -> Option<String> {
        let secrets = self.secrets.current();
        let made = secrets.was_made(Secret::WebuiApiKey);
        (self.webui && made).then(|| self.links.issue())
    }

    /// What this process counted.
    pub fn counts(&self) -> FlowCounts {
        self.counters.flow()
    }

    /// SIGHUP: secrets, the sink's settings, certificates, the files of the door, SNMP users, names of
    /// traps, rules, hosts and teams are read again.
    async fn reload(&self, context: &Context) {
        if let Err(error) = self.secrets.reload().await {
            tracing::error!(%error, "not every secret could be read; the last known ones hold");
        }
        self.keys.set(&self.secrets.current());
        if let Err(error) = self.sink.configure(moog_options(&context.loaded.settings)) {
            tracing::error!(%error, "the sink's settings stay as they are");
        }
        if let Some(door) = self.door.clone() {
            // They may lie on a network file system that hangs.
            let _ = tokio::task::spawn_blocking(move || door.reload()).await;
        }
        self.files.reload();
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
        self.secrets.end().await;
    }
}

/// Says what will not work for want of a key. It may come later, so it keeps nobody from starting.
fn warn_of_unknown(secrets: &Secrets, roles: &[Role]) {
    for (role, secret, consequence) in [
        (
            Role::Ingestor,
            Secret::IngestApiKey,
            "every post of events is refused",
        ),
        (
            Role::Forwarder,
            Secret::MoogApiKey,
            "deliveries show no key",
        ),
    ] {
        if roles.contains(&role) && secrets.get(secret).is_empty() {
            tracing::warn!("{} is not known: {consequence}", secret.name());
        }
    }
}

/// The engine; once more by its own name where it is the distributed one.
async fn open_engine(
    context: &Context,
    pod: &str,
    roles: &[Role],
    secrets: &SecretStore,
) -> Outcome<(Arc<dyn Engine>, Option<Arc<Distributed>>)> {
    let settings = &context.loaded.settings;
    if settings.backend == Backend::Embedded {
        return Ok((Embedded::open(context.data_dir(), Mode::Server)?, None));
    }
    let store = secrets.clone();
    let current: backend::Current = Arc::new(move || store.current());
    let store = secrets.clone();
    let on_refused: backend::OnRefused = Arc::new(move || store.suspect());
    let spool = roles.contains(&Role::Ingestor).then(|| context.data_dir());
    let engine = backend::distributed(settings, pod, &current, Some(on_refused), spool)?;
    for (role, kind) in [
        (Role::Alerter, WorkerKind::Alerter),
        (Role::Forwarder, WorkerKind::Moog),
    ] {
        if !roles.contains(&role) {
            continue;
        }
        let named = engine.take_name(kind, pod);
        let named = notify::while_waiting("waits whether its name is free", named).await;
        if let Err(error) = named {
            engine.close().await;
            return Err(Failure::problem(error));
        }
    }
    Ok((engine.clone(), Some(engine)))
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
