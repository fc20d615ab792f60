//! The pages every role has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use mutt_http::{About, Check, Health, HealthReport, HttpMetrics, Limits, fallbacks, role_router};
use prometheus_client::registry::Registry;
use serde_json::Value;

use crate::support::Running;

struct Store(AtomicBool);

#[async_trait]
impl Health for Store {
    async fn check(&self) -> HealthReport {
        let check = if self.0.load(Ordering::Relaxed) {
            Check::ok("reads and writes")
        } else {
            Check::failed("no space left on device")
        };
        HealthReport::default().with("store", check)
    }
}

#[tokio::test]
async fn a_role_says_what_it_is_how_it_is_and_what_it_counted() {
    let about = About {
        service: "mutt-test",
        version: "3.0.0",
        description: "A role under test.",
        endpoints: &[("GET /health", "whether it can work")],
    };
    let mut registry = Registry::default();
    let _ = HttpMetrics::register(&mut registry).server("test");
    let store = Arc::new(Store(AtomicBool::new(true)));
    let router = fallbacks(role_router(about, store.clone(), Arc::new(registry)));
    let running = Running::router(router, Limits::default(), None);
    let url = |path: &str| format!("http://{}{path}", running.address);
    let client = reqwest::Client::new();

    let index: Value = client
        .get(url("/"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(index["service"], "mutt-test");
    assert_eq!(index["endpoints"]["GET /health"], "whether it can work");

    let healthy = client.get(url("/health")).send().await.unwrap();
    assert_eq!(healthy.status(), 200);
    let healthy: Value = healthy.json().await.unwrap();
    assert_eq!(
        (&healthy["status"], &healthy["version"]),
        (&"healthy".into(), &"3.0.0".into())
    );
    store.0.store(false, Ordering::Relaxed);
    let sick = client.get(url("/health")).send().await.unwrap();
    assert_eq!(sick.status(), 503);
    let sick: Value = sick.json().await.unwrap();
    assert_eq!(sick["status"], "unhealthy");
    assert_eq!(sick["checks"]["store"]["ok"], false);
    assert_eq!(sick["checks"]["store"]["detail"], "no space left on device");

    let metrics = client.get(url("/metrics")).send().await.unwrap();
    assert_eq!(
        metrics.headers()["content-type"],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    let text = metrics.text().await.unwrap();
    assert!(
        text.contains(r#"mutt_http_connections{server="test"} 0"#),
        "{text}"
    );
    assert!(
        text.contains(r#"mutt_http_timeouts_total{server="test",phase="body"} 0"#),
        "{text}"
    );
    assert!(text.ends_with("# EOF\n"));

    let missing = client.get(url("/nothing")).send().await.unwrap();
    assert_eq!(missing.status(), 404);
    let missing: Value = missing.json().await.unwrap();
    assert_eq!(missing["status"], "error");
    assert!(missing["message"].as_str().unwrap().contains("/nothing"));
    let wrong = client.post(url("/health")).send().await.unwrap();
    assert_eq!(wrong.status(), 405);
    assert!(wrong.headers()["allow"].to_str().unwrap().contains("GET"));
    assert_eq!(wrong.json::<Value>().await.unwrap()["status"], "error");
    assert_eq!(
        client.head(url("/health")).send().await.unwrap().status(),
        503
    );
}
