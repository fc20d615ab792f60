//! What goes around every handler: the correlation id, the version headers, errors in the shape of
//! the version, a time limit, compression, counting.

use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use tower_http::compression::CompressionLayer;

use crate::error::ApiError;
use crate::metrics::{self, WebMetrics};
use crate::request::Meta;

/// The largest body that is read, in bytes: an import of 10,000 rows.
const BODY_MAX: usize = 4 * 1024 * 1024;
/// The longest time until an answer begins.
const TIME_MAX: Duration = Duration::from_secs(30);
/// Since when v1 is deprecated (RFC 9745): 2026-12-01.
const DEPRECATION: HeaderValue = HeaderValue::from_static("@1796083200");
/// Until when v1 is served at least (RFC 8594).
const SUNSET: HeaderValue = HeaderValue::from_static("Fri, 31 Dec 2027 00:00:00 GMT");

/// These routes with everything that goes around them.
pub fn around<S: Clone + Send + Sync + 'static>(
    router: Router<S>,
    metrics: WebMetrics,
) -> Router<S> {
    router
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn(dress))
        .layer(CompressionLayer::new())
        .layer(middleware::from_fn(move |request: Request, next: Next| {
            metrics::count(metrics.clone(), request, next)
        }))
}

async fn dress(mut request: Request, next: Next) -> Response {
    let meta = Meta::of(&request);
    let path = request.uri().path().to_owned();
    let method = request.method().clone();
    request.extensions_mut().insert(meta.clone());
    let began = Instant::now();
    let answer = tokio::time::timeout(TIME_MAX, next.run(request)).await;
    let mut response = answer.unwrap_or_else(|_| {
        let text = format!("no answer within {} s", TIME_MAX.as_secs());
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, text)
            .retry_after(5)
            .into_response()
    });
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        if error.status().is_server_error() {
            tracing::warn!(
                %method, path, correlation_id = meta.correlation_id, status = %error.status(),
                took = ?began.elapsed(), "a request to the API failed"
            );
        }
        let headers = std::mem::take(response.headers_mut());
        response = error.render(meta.v1, &meta.correlation_id);
        for (name, value) in &headers {
            if name != header::CONTENT_LENGTH && !response.headers().contains_key(name) {
                response.headers_mut().append(name, value.clone());
            }
        }
    }
    version_headers(response.headers_mut(), &meta, &path);
    response
}

fn version_headers(headers: &mut HeaderMap, meta: &Meta, path: &str) {
    headers.insert("x-api-version", HeaderValue::from_static(meta.version));
    headers.insert(
        "x-api-supported-versions",
        HeaderValue::from_static("2.5, 2.0, 1.0"),
    );
    if let Ok(id) = HeaderValue::from_str(&meta.correlation_id) {
        headers.insert("x-correlation-id", id);
    }
    // Should a browser ever show an answer as a page: it does nothing, in no frame, and no other
    // site's page reads it.
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        (
            "content-security-policy",
            "default-src 'none'; frame-ancestors 'none'",
        ),
        ("cross-origin-resource-policy", "same-origin"),
        ("referrer-policy", "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    if meta.v1 {
        headers.insert("x-api-deprecated", HeaderValue::from_static("true"));
        headers.insert("deprecation", DEPRECATION);
        headers.insert("sunset", SUNSET);
        let link = format!("<{}>; rel=\"successor-version\"", successor(path));
        if let Ok(link) = HeaderValue::from_str(&link) {
            headers.insert(header::LINK, link);
        }
    }
}

/// The path of v2 that does what this one of v1 does.
fn successor(path: &str) -> String {
    let rest = path.strip_prefix("/api/v1").unwrap_or_default();
    let rest = match rest {
        "/audit" => "/config-audit",
        "/metrics/current" => "/metrics",
        rest => rest,
    };
    format!("/api/v2{rest}")
}

/// Nothing is there.
pub async fn not_found(request: Request) -> ApiError {
    ApiError::not_found(format!(
        "there is nothing at this path; /api/v2/openapi.json lists what there is (asked: {})",
        request.method()
    ))
    .or_v1("Not found")
}

/// Something is there, but not for this method.
pub async fn wrong_method(request: Request) -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!(
            "{} is not allowed here; the header Allow says what is",
            request.method()
        ),
    )
}
