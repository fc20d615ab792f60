//! The pages that every role has: `/` says what it is, `/health` whether it can work, `/metrics`
//! what it counted.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{Method, StatusCode, Uri, header};
use prometheus_client::registry::Registry;
use serde::Serialize;
use serde_json::json;

/// The time after which a check that says nothing counts as failed: probes give up themselves.
const CHECK_LIMIT: Duration = Duration::from_secs(5);

/// The content type of the metrics page.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a role says about itself.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// The service's name: `mutt-ingestor`.
    pub service: &'static str,
    /// The program's version.
    pub version: &'static str,
    /// What it does, in one sentence.
    pub description: &'static str,
    /// What can be asked of it: method and path, what it is for.
    pub endpoints: &'static [(&'static str, &'static str)],
}

/// The state of one thing that a role needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Whether it is as it should be.
    pub ok: bool,
    /// The state in words: what is wrong and what to do, where it is not.
    pub detail: String,
}

impl Check {
    /// It is as it should be.
    pub fn ok(detail: impl Into<String>) -> Self {
        Self {
            ok: true,
            detail: detail.into(),
        }
    }

    /// It is not.
    pub fn failed(detail: impl Into<String>) -> Self {
        Self {
            ok: false,
            detail: detail.into(),
        }
    }
}

/// The state of everything that a role needs, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HealthReport {
    /// The checks.
    pub checks: BTreeMap<String, Check>,
}

impl HealthReport {
    /// This report with one more check.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, check: Check) -> Self {
        self.checks.insert(name.into(), check);
        self
    }

    /// Whether everything is as it should be.
    pub fn is_healthy(&self) -> bool {
        self.checks.values().all(|check| check.ok)
    }
}

/// Somebody who knows whether a role can work.
#[async_trait]
pub trait Health: Send + Sync + 'static {
    /// Looks now. Anybody may ask as often as they like, so it must be cheap.
    async fn check(&self) -> HealthReport;
}

#[derive(Clone)]
struct Pages {
    about: About,
    health: Arc<dyn Health>,
    registry: Arc<Registry>,
}

/// `GET /`, `GET /health`, `GET /metrics`. None of them needs a key.
pub fn role_router(about: About, health: Arc<dyn Health>, registry: Arc<Registry>) -> Router {
    let index = get(move || ready(index(about)));
    state_router(about, health, registry).route("/", index)
}

/// `GET /health` and `GET /metrics`, for a role that has pages of its own at `/`.
pub fn state_router(about: About, health: Arc<dyn Health>, registry: Arc<Registry>) -> Router {
    Router::new()
        .route("/health", get(health_page))
        .route("/metrics", get(metrics_page))
        .with_state(Pages {
            about,
            health,
            registry,
        })
}

/// The same router, with answers in MUTT's error shape for unknown paths and wrong methods.
pub fn fallbacks(router: Router) -> Router {
    fallbacks_or(router, |_| None)
}

/// As [`fallbacks`], but for what `other` answers.
pub fn fallbacks_or(
    router: Router,
    other: impl Fn(&Request) -> Option<Response> + Clone + Send + Sync + 'static,
) -> Router {
    router
        .fallback(move |request: Request| {
            ready(other(&request).unwrap_or_else(|| not_found(request.uri())))
        })
        .method_not_allowed_fallback(wrong_method)
}

fn index(about: About) -> Response {
    let About {
        service,
        version,
        description,
        endpoints,
    } = about;
    let endpoints: BTreeMap<_, _> = endpoints.iter().copied().collect();
    Json(json!({
        "service": service,
        "version": version,
        "description": description,
        "endpoints": endpoints,
    }))
    .into_response()
}

async fn health_page(State(pages): State<Pages>) -> Response {
    let report = match tokio::time::timeout(CHECK_LIMIT, pages.health.check()).await {
        Ok(report) => report,
        Err(_) => HealthReport::default().with(
            "health",
            Check::failed(format!("no answer within {} s", CHECK_LIMIT.as_secs())),
        ),
    };
    let (status, word) = if report.is_healthy() {
        (StatusCode::OK, "healthy")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "unhealthy")
    };
    let body = json!({
        "status": word,
        "service": pages.about.service,
        "version": pages.about.version,
        "checks": report.checks,
    });
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

async fn metrics_page(State(pages): State<Pages>) -> Response {
    let mut text = String::with_capacity(16 * 1024);
    match prometheus_client::encoding::text::encode(&mut text, &pages.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn not_found(uri: &Uri) -> Response {
    error(
        StatusCode::NOT_FOUND,
        &format!("There is no {} here", uri.path()),
    )
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    error(
        StatusCode::METHOD_NOT_ALLOWED,
        &format!("{method} is not allowed for {}", uri.path()),
    )
}

fn error(status: StatusCode, message: &str) -> Response {
    (
        status,
        Json(json!({ "status": "error", "message": message })),
    )
        .into_response()
}
