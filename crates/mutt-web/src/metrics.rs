//! What the API counts: requests by endpoint and outcome, and how long they took. The endpoint is
//! taken from the route that matched, never from the path that was asked for, so that nobody can
//! make series by asking. Every label combination is made at the start.

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use http::StatusCode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The buckets of the latency, in seconds: those of 2.5, and finer ones below.
const LATENCY_BUCKETS: [f64; 9] = [0.001, 0.0025, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// The values of the `endpoint` label: the first part of a route's path below its API version. The
/// last one stands for every other.
pub const ENDPOINTS: [&str; 10] = [
    "audit",
    "config",
    "events",
    "metrics",
    "rules",
    "slo",
    "status",
    "unhandled",
    "version",
    "other",
];

/// Every metric of the API. Cloning it clones handles.
#[derive(Clone, Debug)]
pub struct WebMetrics {
    endpoints: [Endpoint; ENDPOINTS.len()],
    deprecated: Counter,
}

#[derive(Clone, Debug)]
struct Endpoint {
    success: Counter,
    fail: Counter,
    latency: Histogram,
}

impl WebMetrics {
    /// Makes the metrics and enters them into the registry.
    pub fn register(registry: &mut Registry) -> Self {
        let requests = Family::<[(&str, &str); 2], Counter>::default();
        let latency = Family::<[(&str, &str); 1], Histogram>::new_with_constructor(|| {
            Histogram::new(LATENCY_BUCKETS)
        });
        let metrics = Self {
            endpoints: ENDPOINTS.map(|name| {
                let label = ("endpoint", name);
                let by = |status| requests.get_or_create_owned(&[label, ("status", status)]);
                Endpoint {
                    success: by("success"),
                    fail: by("fail"),
                    latency: latency.get_or_create_owned(&[label]),
                }
            }),
            deprecated: Counter::default(),
        };
        registry.register(
            "mutt_webui_api_deprecated_requests",
            "Requests to v1 of the API, which will end",
            metrics.deprecated.clone(),
        );
        registry.register(
            "mutt_webui_api_requests",
            "Requests to the API; those answered 400 and above failed",
            requests,
        );
        registry.register(
            "mutt_webui_api_latency_seconds",
            "Time from a request to the head of its answer",
            latency,
        );
        metrics
    }

    fn count(&self, route: &str, status: StatusCode, took: Duration) {
        let endpoint = &self.endpoints[endpoint(route)];
        if status.as_u16() < 400 {
            endpoint.success.inc();
        } else {
            endpoint.fail.inc();
        }
        endpoint.latency.observe(took.as_secs_f64());
        if route.starts_with("/api/v1/") {
            self.deprecated.inc();
        }
    }
}

/// The position in [`ENDPOINTS`] of a route such as `/api/v2/events/stream`.
fn endpoint(route: &str) -> usize {
    let name = route.split('/').nth(3).unwrap_or_default();
    ENDPOINTS
        .iter()
        .position(|&known| known == name)
        .unwrap_or(ENDPOINTS.len() - 1)
}

/// Counts a request; goes around everything that may refuse it.
pub(crate) async fn count(metrics: WebMetrics, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let began = Instant::now();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("", MatchedPath::as_str);
    metrics.count(route, response.status(), began.elapsed());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_has_the_label_of_its_first_part() {
        for (route, label) in [
            ("/api/v2/status", "status"),
            ("/api/v1/metrics/current", "metrics"),
            ("/api/v2/events/stream", "events"),
            ("/api/v2/rules/{id}", "rules"),
            ("/api/v2/teams", "other"),
            ("/", "other"),
            ("", "other"),
        ] {
            assert_eq!(ENDPOINTS[endpoint(route)], label, "{route}");
        }
    }

    #[test]
    fn every_series_is_there_before_its_first_request() {
        let mut registry = Registry::default();
        let metrics = WebMetrics::register(&mut registry);
        metrics.count("/api/v2/rules/{id}", StatusCode::NOT_FOUND, Duration::ZERO);
        metrics.count("/api/v1/rules", StatusCode::NOT_FOUND, Duration::ZERO);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            r#"mutt_webui_api_requests_total{endpoint="slo",status="success"} 0"#,
            r#"mutt_webui_api_requests_total{endpoint="rules",status="success"} 0"#,
            r#"mutt_webui_api_requests_total{endpoint="rules",status="fail"} 2"#,
            "mutt_webui_api_deprecated_requests_total 1",
            r#"mutt_webui_api_latency_seconds_count{endpoint="rules"} 2"#,
            r#"mutt_webui_api_latency_seconds_count{endpoint="other"} 0"#,
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is missing in\n{text}"
            );
        }
    }
}
