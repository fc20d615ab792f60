//! Events that are posted: one JSON object, an array of them, one per line, or the documents of
//! Elasticsearch's `_bulk`.
//!
//! 200 is answered only for what is durable. The ingest paths are matched before anything else and
//! answered without a router; everything else (health, metrics, configuration) goes through one.
//! Accepted events and rejected records of a batch become durable in one step, so that a sender that
//! is refused and sends everything again doubles neither.

mod answer;
mod bulk;
mod credentials;
mod decode;
mod elastic;
mod rate;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response as Page};
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, request};
use http_body_util::{Either, Full};
use jiff::Timestamp;
use mutt_engine::{Dynamic, EngineError};
use mutt_event::json::RequiredFields;
use mutt_http::{About, BodyError, Budget, Check, Health, HealthReport, Keys, RequestBody};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::sync::{Semaphore, watch};
use tower::{Service, ServiceExt as _};

use self::answer::{BatchResult, Correlation, Failure, Queued};
use self::decode::{Coding, Format, Prepared, Reading};
use self::elastic::Ask;
use self::rate::RateLimit;
use crate::admission::Admission;
use crate::metrics::{Listener, RejectReason};

/// A body that is larger, in bytes, is unpacked and parsed away from the tasks that answer others.
const INLINE: usize = 128 * 1024;
/// The same for a compressed one, which may grow a thousandfold.
const INLINE_COMPRESSED: usize = 8 * 1024;

/// Makes the answer of `GET /admin/config`: every value with its origin, no secret.
pub type AdminConfig = Arc<dyn Fn() -> serde_json::Value + Send + Sync>;

/// What can be set about HTTP ingest.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// The longest body in bytes, as it comes and unpacked.
    pub max_body_bytes: usize,
    /// What all bodies under way may hold together, in bytes.
    pub max_buffered_bytes: usize,
    /// What an event must have.
    pub required: RequiredFields,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            max_body_bytes: 10 * 1024 * 1024,
            max_buffered_bytes: 256 * 1024 * 1024,
            required: RequiredFields::default(),
        }
    }
}

/// The HTTP door of the ingestor.
#[derive(Clone)]
pub struct HttpIngest {
    inner: Arc<Inner>,
    pages: Router,
}

struct Inner {
    options: HttpOptions,
    required: Arc<RequiredFields>,
    admission: Admission,
    rate: RateLimit,
    keys: Arc<Keys>,
    admin_config: AdminConfig,
    budget: Budget,
    /// Large bodies are prepared one per core at a time.
    large: Semaphore,
    /// Until when senders of `_bulk` were asked to wait.
    busy_until: Mutex<Option<Instant>>,
    /// Who knows better than the store alone whether events can be taken in.
    health: OnceLock<Arc<dyn Health>>,
}

impl HttpIngest {
    /// Puts the door together. `registry` is what `/metrics` shows.
    pub fn new(
        options: HttpOptions,
        admission: Admission,
        dynamic: watch::Receiver<Arc<Dynamic>>,
        keys: Arc<Keys>,
        registry: Arc<Registry>,
        admin_config: AdminConfig,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let inner = Arc::new(Inner {
            rate: RateLimit::new(admission.engine().clone(), dynamic),
            budget: Budget::new(options.max_buffered_bytes),
            large: Semaphore::new(cores),
            busy_until: Mutex::new(None),
            health: OnceLock::new(),
            required: Arc::new(options.required.clone()),
            options,
            admission,
            keys,
            admin_config,
        });
        let admin = Router::new()
            .route("/admin/config", get(admin_page))
            .with_state(inner.clone());
        let pages = mutt_http::role_router(ABOUT, inner.clone(), registry).merge(admin);
        Self {
            inner,
            pages: mutt_http::fallbacks(pages),
        }
    }

    /// What `/health` says, instead of whether the store can be written. The first one counts.
    #[must_use]
    pub fn with_health(self, health: Arc<dyn Health>) -> Self {
        let _ = self.inner.health.set(health);
        self
    }

    /// What [`mutt_http::Server::run`] serves.
    pub fn service(
        self,
    ) -> impl Service<
        Request<RequestBody>,
        Response = Response<Either<Full<Bytes>, axum::body::Body>>,
        Error = Infallible,
        Future: Future + Send,
    > + Clone
    + Send
    + Sync
    + 'static {
        tower::service_fn(move |request: Request<RequestBody>| {
            let is_ingest = matches!(
                request.uri().path(),
                "/ingest" | "/api/v2/ingest" | "/api/v1/ingest"
            );
            let door = self.clone();
            async move {
                if is_ingest {
                    return Ok(door.inner.answer(request).await.map(Either::Left));
                }
                // Boxed, so that the common case does not carry the rare one's size.
                let (method, path) = (request.method(), request.uri().path());
                if let Some(ask) = elastic::ask(method, path, request.headers()) {
                    return Ok(Box::pin(door.inner.answer_elastic(ask, request)).await);
                }
                let is_root = path == "/";
                let mut page = Box::pin(door.pages.oneshot(request)).await?;
                if is_root {
                    elastic::mark(&mut page);
                }
                Ok(page.map(Either::Right))
            }
        })
    }
}

impl fmt::Debug for HttpIngest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpIngest")
            .field("options", &self.inner.options)
            .finish_non_exhaustive()
    }
}

const ABOUT: About = About {
    service: "mutt-ingestor",
    version: env!("CARGO_PKG_VERSION"),
    description: "MUTT, the Multi-Use Telemetry Tool: takes events in and keeps them until they are \
                  handled.",
    endpoints: &[
        (
            "POST /ingest",
            "events: a JSON object, a JSON array of objects, or one object per line",
        ),
        ("POST /api/v2/ingest", "the same"),
        ("POST /api/v1/ingest", "the same (deprecated)"),
        (
            "POST /_bulk",
            "documents, as clients of Elasticsearch send them",
        ),
        ("GET /health", "whether events can be taken in"),
        ("GET /metrics", "metrics for Prometheus"),
        (
            "GET /admin/config",
            "the configuration in force (needs the key)",
        ),
    ],
};

impl Inner {
    async fn answer(&self, request: Request<RequestBody>) -> Response<Full<Bytes>> {
        let began = Instant::now();
        let (head, body) = request.into_parts();
        let correlation = Correlation::of(&head.headers);
        let authorized = self.is_authorized(&head.headers);
        let outcome = if head.method == Method::POST {
            self.take_in(&head, authorized, Format::Events, body, &correlation)
                .await
        } else {
            Err(Failure::method())
        };
        let mut response = match self.counted(outcome, began) {
            Ok(queued) => queued.response(&correlation),
            Err(failure) => failure.response(&correlation),
        };
        if head.uri.path() == "/api/v1/ingest" {
            answer::mark_deprecated(&mut response);
        }
        response
    }

    /// What a client of Elasticsearch asked.
    async fn answer_elastic(
        &self,
        ask: Ask,
        request: Request<RequestBody>,
    ) -> Response<Either<Full<Bytes>, axum::body::Body>> {
        let began = Instant::now();
        let (head, body) = request.into_parts();
        let correlation = Correlation::of(&head.headers);
        let authorized = credentials::has_key_as_elastic(&head.headers, &self.keys);
        let mut response = match ask {
            Ask::Root => elastic::root(),
            Ask::Health | Ask::Probe(_) if !authorized => {
                elastic::refused(Failure::unauthorized(), &correlation)
            }
            Ask::Probe(page) => elastic::page(page),
            Ask::Health => match self.wait_of_bulk(began) {
                None => elastic::page(elastic::HEALTH),
                Some(wait) => elastic::refused(Failure::still_busy(wait), &correlation),
            },
            Ask::Bulk { index } => {
                let outcome = if matches!(head.method, Method::POST | Method::PUT) {
                    let format = Format::Bulk { index };
                    self.take_in(&head, authorized, format, body, &correlation)
                        .await
                } else {
                    Err(Failure::method())
                };
                match self.counted(outcome, began) {
                    Ok(queued) => elastic::taken(queued, began.elapsed().as_millis()),
                    Err(failure) => {
                        if let Some(wait) = failure.retry_after {
                            *self.busy_until.lock() = Some(Instant::now() + wait);
                        }
                        elastic::refused(failure, &correlation)
                    }
                }
            }
        };
        elastic::mark(&mut response);
        if elastic::must_break_off(response.status(), &head.headers) {
            return elastic::broken_off(response).map(Either::Right);
        }
        response.map(Either::Left)
    }

    /// How much longer senders of `_bulk` are to wait. rsyslog sends again as soon as it is told
    /// that all is well.
    fn wait_of_bulk(&self, now: Instant) -> Option<Duration> {
        let until = (*self.busy_until.lock())?;
        Some(until.saturating_duration_since(now)).filter(|wait| !wait.is_zero())
    }

    fn counted(&self, outcome: Result<Queued, Failure>, began: Instant) -> Result<Queued, Failure> {
        let metrics = self.admission.metrics();
        match &outcome {
            Ok(_) => metrics.succeeded().inc(),
            Err(failure) => metrics.failed(failure.reason).inc(),
        };
        metrics.latency.observe(began.elapsed().as_secs_f64());
        outcome
    }

    async fn take_in(
        &self,
        head: &request::Parts,
        authorized: bool,
        format: Format,
        body: RequestBody,
        correlation: &Correlation,
    ) -> Result<Queued, Failure> {
        if !authorized {
            return Err(Failure::unauthorized());
        }
        let listener = self.admission.metrics().listener(Listener::Http);
        let prepared = match self.prepare(head, format, body, correlation).await {
            Ok(prepared) => prepared,
            Err(failure) => {
                // What cannot be told apart counts as one message.
                listener.received.inc();
                listener.rejected(failure.reason).inc();
                return Err(failure);
            }
        };
        listener.received.inc_by(prepared.records() as u64);
        listener.parsed.inc_by(prepared.batch.len() as u64);
        for (reason, count) in prepared.rejected_by_reason() {
            listener.rejected(reason).inc_by(count);
        }
        let events = prepared.batch.len() as u64;
        let queued = self.queue(prepared).await;
        if let Err(failure) = &queued {
            listener.rejected(failure.reason).inc_by(events);
        }
        queued
    }

    fn is_authorized(&self, headers: &HeaderMap) -> bool {
        credentials::has_key(headers, &self.keys)
    }

    /// Reads, unpacks and parses the body.
    async fn prepare(
        &self,
        head: &request::Parts,
        format: Format,
        body: RequestBody,
        correlation: &Correlation,
    ) -> Result<Prepared, Failure> {
        let limit = self.options.max_body_bytes;
        let coding = Coding::of(&head.headers)?;
        let mut held = self.budget.hold();
        let body = body
            .read(limit, &mut held)
            .await
            .map_err(|error| Failure::body(&error))?;
        let reading = Reading {
            format,
            coding,
            limit,
            required: self.required.clone(),
            correlation: correlation.clone(),
            received_at: Timestamp::now(),
            senders: self.admission.door().tagged(),
        };
        let small = if coding.is_identity() {
            INLINE
        } else {
            INLINE_COMPRESSED
        };
        if body.len() <= small {
            return reading.prepare(&body, &mut held);
        }
        let _one_of_few = self.large.acquire().await.expect("it is never closed");
        let prepared = tokio::task::spawn_blocking(move || reading.prepare(&body, &mut held));
        prepared.await.unwrap_or_else(|_| Err(Failure::internal()))
    }

    /// Makes what was prepared durable: events in the queue, rejected records among the dead.
    async fn queue(&self, prepared: Prepared) -> Result<Queued, Failure> {
        let Prepared {
            batch,
            is_batch,
            rejected,
            letters,
            errors,
            items,
            ..
        } = prepared;
        let accepted = batch.len();
        if accepted > 0
            && let Err(wait) = self.rate.take(accepted as u64).await
        {
            self.admission.metrics().rate_limit_hits.inc();
            return Err(Failure::rate_limited(wait));
        }
        let depth = self
            .admission
            .admit_with_rejects(Listener::Http, batch, letters)
            .await
            .map_err(|error| Failure::engine(&error))?;
        Ok(Queued {
            depth,
            batch: is_batch.then_some(BatchResult {
                accepted,
                rejected,
                errors,
            }),
            items,
        })
    }
}

#[async_trait]
impl Health for Inner {
    async fn check(&self) -> HealthReport {
        if let Some(health) = self.health.get() {
            return health.check().await;
        }
        let store = match self.admission.engine().ready().await {
            Ok(()) => Check::ok("reads and writes"),
            Err(error) => Check::failed(error.to_string()),
        };
        HealthReport::default().with("store", store)
    }
}

async fn admin_page(State(inner): State<Arc<Inner>>, headers: HeaderMap) -> Page {
    if !inner.is_authorized(&headers) {
        return Failure::unauthorized()
            .response(&Correlation::of(&headers))
            .into_response();
    }
    axum::Json((inner.admin_config)()).into_response()
}

impl Failure {
    fn engine(error: &EngineError) -> Self {
        let queue = if let EngineError::Full { depth, limit } = *error {
            Some((depth, limit))
        } else {
            // The engine reports an outage once; a line per request would fill the disk that is full.
            tracing::debug!(%error, "events could not be made durable");
            None
        };
        let message = if queue.is_some() {
            "Service Unavailable - queue full"
        } else {
            "Service Unavailable - nothing durable can be written now"
        };
        let failure = Self::unavailable(RejectReason::from(error), message, error.retry_after());
        Self { queue, ..failure }
    }

    fn body(error: &BodyError) -> Self {
        match error {
            BodyError::TooLarge { limit } => Self::too_large(*limit),
            BodyError::TimedOut => Self::incomplete_in_time(),
            BodyError::Crowded => Self::crowded(),
            BodyError::Broken(_) => Self::broken_off(),
        }
    }

    fn still_busy(wait: Duration) -> Self {
        Self::unavailable(
            RejectReason::QueueFull,
            "Service Unavailable - events were refused just now",
            wait,
        )
    }

    fn crowded() -> Self {
        Self::unavailable(
            RejectReason::TooLarge,
            "Service Unavailable - too many large requests at once",
            Duration::from_secs(1),
        )
    }
}
