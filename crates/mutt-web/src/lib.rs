//! The API that people and tools use. It reads and writes through the engine only; the command
//! line's live views know nothing but this API.
//!
//! One module per resource. Every route is entered with its documentation, under `/api/v2` and,
//! where 2.5 had it, under `/api/v1` too: the same handler, which knows by its [`request::Caller`]
//! whose shape to answer in. [`layers`] goes around all of them.

mod access;
mod attention;
mod audit;
mod bench;
mod body;
mod changes;
mod cookie;
mod delivery;
mod dlq;
mod error;
mod estimate;
mod export;
mod findings;
mod fleet;
mod history;
mod hosts;
mod hub;
mod insights;
mod jobs;
mod judge;
mod keys;
mod layers;
mod letters;
mod links;
mod live;
pub mod measure;
mod metrics;
mod observed;
mod openapi;
mod past;
mod pattern;
mod prometheus;
mod rates;
mod request;
mod rules;
mod sample;
mod session;
mod settings;
mod shadows;
mod slo;
mod static_config;
mod status;
mod stream;
mod throttle;
mod timeline;
mod unhandled;
mod verdicts;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use mutt_engine::{Dynamic, Engine};
use mutt_http::Keys;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use links::{LINK_VALID, LoginLinks};
pub use metrics::WebMetrics;
pub use static_config::{SecretState, StaticConfig, StaticSetting};

/// What the API needs.
#[derive(Clone)]
pub struct ApiOptions {
    /// The engine.
    pub engine: Arc<dyn Engine>,
    /// The keys from the secrets; they are those of the first administrator.
    pub keys: Arc<Keys>,
    /// The login links that the program prints.
    pub links: LoginLinks,
    /// Whether browsers reach the API over HTTPS only: their cookies then go over nothing else.
    pub cookie_secure: bool,
    /// Dynamic configuration without stored values: environment, file and defaults.
    pub base: Dynamic,
    /// How long a dead letter waits for its first automatic replay (`REMEDIATION_BACKOFF_BASE`).
    pub remediation_backoff: Duration,
    /// This pod's name.
    pub pod: String,
    /// The static configuration of this process: no value of a secret.
    pub statics: Arc<dyn Fn() -> StaticConfig + Send + Sync>,
    /// What it counts.
    pub metrics: WebMetrics,
    /// The address of the Prometheus that scrapes MUTT, where there is one.
    pub prometheus: Option<String>,
    /// The program's version.
    pub version: &'static str,
    /// When MUTT ends: open streams end with it.
    pub stop: CancellationToken,
}

impl std::fmt::Debug for ApiOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiOptions")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// What the handlers share.
#[derive(Clone)]
struct Api {
    engine: Arc<dyn Engine>,
    access: Arc<access::Access>,
    base: Dynamic,
    remediation_backoff: Duration,
    version: &'static str,
    jobs: jobs::Jobs,
    letter_groups: Arc<dlq::GroupsCache>,
    rates: Arc<rates::Cache>,
    hub: Arc<hub::Hub>,
    past: Arc<past::Past>,
    prometheus: Option<Arc<prometheus::Prometheus>>,
    sample: Arc<sample::Sample>,
    history: history::History,
    judges: Arc<judge::Judges>,
    insights: Arc<insights::Known>,
    delivery: Arc<delivery::DeliveryCache>,
    verified: Arc<changes::VerifiedCache>,
    statics: Arc<dyn Fn() -> StaticConfig + Send + Sync>,
    streams: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Api {
    /// Dynamic configuration with stored values.
    async fn settings(&self) -> mutt_engine::Result<Dynamic> {
        let stored = self.engine.config_overrides().await?;
        let stored = stored.iter();
        Ok(self
            .base
            .with(stored.map(|(key, value)| (key.as_str(), value.as_str()))))
    }
}

/// The API's routes. From here on a sample of what is decided is kept, until the engine ends, and the
/// status is looked at now and then, as long as the routes exist.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn router(options: ApiOptions) -> Router {
    let sample = Arc::new(sample::Sample::new(jiff::Timestamp::now()));
    sample.follow(options.engine.watch());
    let metrics = options.metrics;
    let prometheus = options.prometheus.as_deref();
    let prometheus = prometheus
        .and_then(prometheus::Prometheus::new)
        .map(Arc::new);
    let past = Arc::<past::Past>::default();
    let hub = hub::Hub::start(
        options.engine.clone(),
        options.base.clone(),
        options.version,
        prometheus.clone(),
        past.clone(),
    );
    let api = Api {
        engine: options.engine,
        access: Arc::new(access::Access::new(
            options.keys,
            options.links,
            cookie::Cookie::new(options.cookie_secure),
        )),
        base: options.base,
        remediation_backoff: options.remediation_backoff,
        version: options.version,
        jobs: jobs::Jobs::new(options.pod),
        letter_groups: Arc::default(),
        delivery: Arc::default(),
        verified: Arc::default(),
        statics: options.statics,
        rates: Arc::default(),
        sample,
        history: history::History::default(),
        judges: Arc::default(),
        hub,
        past,
        prometheus,
        insights: Arc::default(),
        streams: Arc::new(Semaphore::new(access::STREAMS_MAX)),
        stop: options.stop,
    };
    layers::around(openapi::routes(&api), metrics).with_state(api)
}

/// The `OpenAPI` document of the API, as JSON.
pub fn openapi() -> String {
    openapi::document_text()
}
