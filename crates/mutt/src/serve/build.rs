//! Puts the roles of a process together: options from settings, stages onto the engine, pages onto
//! their ports. Where events come in is in `doors`. Wiring only.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mutt_alerter::{Alerter, AlerterHandle, AlerterMetrics, AlerterOptions};
use mutt_config::SecretStore;
use mutt_config::settings::{Scope, Settings};
use mutt_distributed::Distributed;
use mutt_engine::{Dynamic, Engine, UnhandledScope};
use mutt_forwarder::{
    Backoff, Forwarder, ForwarderMetrics, ForwarderOptions, MoogSink, Remediation,
    RemediationMetrics, RemediationOptions,
};
use mutt_http::{HttpMetrics, Limits, role_router, state_router};
use mutt_ingest::{Door, IngestMetrics};
use mutt_ui::Ui;
use mutt_web::{LoginLinks, WebMetrics};
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::doors::Files;
use super::health::{self, Process};
use super::report::{Counters, Heard, Reporter};
use super::{KeyRing, Role, admin, objectives};
use crate::context::Context;
use crate::exit::{Failure, Outcome};
use crate::telemetry;

/// What is needed to put the roles together.
pub(super) struct Build<'a> {
    pub(super) settings: &'a Settings,
    pub(super) pod: Arc<str>,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) distributed: Option<Arc<Distributed>>,
    pub(super) dynamic: watch::Receiver<Arc<Dynamic>>,
    pub(super) registry: Registry,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
    pub(super) stop_ingest: CancellationToken,
    pub(super) broken: CancellationToken,
    pub(super) process: Process,
    pub(super) keys: Arc<KeyRing>,
    pub(super) links: LoginLinks,
    pub(super) secrets: SecretStore,
    pub(super) sink: Arc<MoogSink>,
    pub(super) http: HttpMetrics,
}

/// What is needed of the roles afterwards.
pub(super) struct Started {
    pub(super) alerter: Option<AlerterHandle>,
    /// What the listeners read from files that may change.
    pub(super) files: Files,
    pub(super) door: Option<Door>,
    pub(super) counters: Counters,
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
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        spawn_watched(&self.tasks, &self.broken, work);
    }

    pub(super) fn roles(&mut self, context: &Context, roles: &[Role]) -> Outcome<Started> {
        let has = |role| roles.contains(&role);
        self.http = HttpMetrics::register(&mut self.registry);
        health::register_build_info(&mut self.registry);
        health::register_process(&mut self.registry);
        if let Some(engine) = &self.distributed {
            health::register_engine(&mut self.registry, engine.clone());
        }
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
        let counters = Counters {
            ingest: ingest.clone(),
            alerter: alerter_metrics.clone(),
            forwarder: forwarder_metrics.as_ref().map(ForwarderMetrics::tally),
        };

        let outcomes: Vec<_> = ingest
            .clone()
            .map(objectives::of_ingest)
            .into_iter()
            .chain(
                forwarder_metrics
                    .as_ref()
                    .map(|metrics| objectives::of_deliveries(metrics.tally())),
            )
            .collect();
        if !outcomes.is_empty() || has(Role::Alerter) {
            let counters = counters.clone();
            let flow: objectives::Flow = Arc::new(move || counters.flow());
            let (engine, stop) = (self.engine.clone(), self.stop.clone());
            self.spawn(objectives::record(engine, outcomes, flow, stop));
        }

        let alerter = alerter_metrics.map(|metrics| self.alerter(metrics));
        if let Some(metrics) = forwarder_metrics {
            self.forwarder(metrics);
        }
        if let Some(metrics) = remediation_metrics {
            self.remediation(metrics);
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
            let (base, statics) = (
                context.loaded.dynamic(),
                admin::statics(context, self.secrets.clone()),
            );
            let router = self.webui(base, statics, metrics, registry.clone());
            self.serve(settings.server_port_webui, Role::Webui, router)?;
        }
        let door = ingest.as_ref().map(|metrics| self.door(metrics));
        let door = door.transpose()?;
        let reporter = Reporter {
            door: door.clone(),
            heard: Heard::default(),
            engine: self.engine.clone(),
            process: self.process.clone(),
            pod: self.pod.clone(),
            roles: roles.to_vec(),
            counters: counters.clone(),
        };
        self.spawn(reporter.run(self.stop.clone()));
        // The doors open last: who can send can also see what becomes of it.
        let mut files = Files::default();
        if let (Some(metrics), Some(door)) = (ingest, door.clone()) {
            files = self.doors(context, metrics, door, registry)?;
        }
        Ok(Started {
            alerter,
            files,
            door,
            counters,
        })
    }

    /// The API, and the interface at every other path.
    fn webui(
        &self,
        base: Dynamic,
        statics: admin::Statics,
        metrics: WebMetrics,
        registry: Arc<Registry>,
    ) -> axum::Router {
        let prometheus = self.settings.prometheus_url.as_ref();
        let api = mutt_web::ApiOptions {
            engine: self.engine.clone(),
            keys: self.keys.webui.clone(),
            links: self.links.clone(),
            cookie_secure: self.settings.webui_cookie_secure,
            base,
            remediation_backoff: Duration::from_secs(self.settings.remediation_backoff_base),
            pod: self.pod.to_string(),
            statics,
            metrics,
            prometheus: prometheus.map(ToString::to_string),
            version: env!("CARGO_PKG_VERSION"),
            stop: self.stop.clone(),
        };
        let state = state_router(
            Role::Webui.about(),
            self.process.role(Role::Webui),
            registry,
        );
        let ui = Arc::new(Ui::embedded());
        mutt_http::fallbacks_or(state.merge(mutt_web::router(api)), move |request| {
            ui.answer(request)
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
            // Nobody is dead before three intervals are over.
            janitor_interval: Duration::from_secs(
                settings
                    .alerter_heartbeat_interval
                    .saturating_mul(3)
                    .min(30),
            ),
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

    /// Secrets that changed reach everything that shows or checks a key.
    pub(super) fn follow_secrets(&self) {
        let (mut secrets, keys, stop) =
            (self.secrets.watch(), self.keys.clone(), self.stop.clone());
        let distributed = self.distributed.clone();
        self.spawn(async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    changed = secrets.changed() => if changed.is_err() { return },
                }
                keys.set(&secrets.borrow_and_update());
                if let Some(engine) = &distributed {
                    engine.renew();
                }
                tracing::info!("secrets changed: the new ones are in force");
            }
        });
    }

    /// `log_level` is dynamic: it takes effect when it changes.
    pub(super) fn follow_log_level(&self) {
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
