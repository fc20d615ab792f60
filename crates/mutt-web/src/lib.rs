//! The API that people and tools use. It reads and writes through the engine only; the command
//! line's live views know nothing but this API.

mod metrics;
mod status;
mod stream;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use mutt_engine::Engine;
use mutt_http::Keys;

pub use metrics::WebMetrics;
pub use status::Totals;

/// What the handlers share.
#[derive(Clone)]
pub struct Api {
    /// The engine.
    pub engine: Arc<dyn Engine>,
    /// Who may ask.
    pub keys: Arc<Keys>,
    /// What this process counted since it started.
    pub totals: Arc<dyn Fn() -> Totals + Send + Sync>,
    /// What is wrong now, in words.
    pub problems: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    /// What it counts.
    pub metrics: WebMetrics,
    /// The program's version.
    pub version: &'static str,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// The API's routes.
pub fn router(api: Api) -> Router {
    let keys = api.keys.clone();
    let metrics = api.metrics.clone();
    let data = Router::new()
        .route("/api/v2/status", get(status::status))
        .route("/api/v2/metrics", get(status::rates))
        .route("/api/v2/unhandled", get(status::unhandled))
        .route("/api/v2/events/stream", get(stream::events))
        .layer(middleware::from_fn(move |request: Request, next: Next| {
            let keys = keys.clone();
            async move { require_key(&keys, request, next).await }
        }));
    Router::new()
        .route("/api/v2/version", get(status::version))
        .merge(data)
        .layer(middleware::map_response(versioned))
        .layer(middleware::from_fn(move |request: Request, next: Next| {
            metrics::count(metrics.clone(), request, next)
        }))
        .with_state(api)
}

async fn require_key(keys: &Keys, request: Request, next: Next) -> Response {
    let shown = request
        .headers()
        .get("x-api-key")
        .map(HeaderValue::as_bytes);
    if shown.is_some_and(|key| keys.is_valid(key)) {
        next.run(request).await
    } else {
        problem(
            StatusCode::UNAUTHORIZED,
            "Unauthorized",
            "a valid X-API-KEY is needed",
        )
    }
}

async fn versioned(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert("x-api-version", HeaderValue::from_static("2.5"));
    headers.insert(
        "x-api-supported-versions",
        HeaderValue::from_static("2.5, 2.0, 1.0"),
    );
    response
}

/// An error as RFC 9457 has it.
fn problem(status: StatusCode, title: &str, detail: &str) -> Response {
    let body = serde_json::json!({
        "type": "about:blank",
        "title": title,
        "status": status.as_u16(),
        "detail": detail,
        "correlation_id": uuid::Uuid::now_v7(),
    });
    (
        status,
        [(header::CONTENT_TYPE, "application/problem+json")],
        body.to_string(),
    )
        .into_response()
}

/// An engine that does not answer.
fn unavailable(error: &mutt_engine::EngineError) -> Response {
    problem(
        StatusCode::SERVICE_UNAVAILABLE,
        "Service Unavailable",
        &error.to_string(),
    )
}
