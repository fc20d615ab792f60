//! Everything on the port that is not ingest.

use serde_json::Value;

use crate::support::{EVENT, Ingestor, KEY, answered};

#[tokio::test]
async fn the_pages_are_there() {
    let ingestor = Ingestor::start();
    let get = |path: &str| ingestor.client.get(ingestor.url(path));
    let index = answered(get("/"), 200).await;
    assert_eq!(index["service"], "mutt-ingestor");
    let health = answered(get("/health"), 200).await;
    assert_eq!(
        (&health["status"], &health["checks"]["store"]["ok"]),
        (&"healthy".into(), &true.into())
    );
    ingestor.posted(EVENT, 200).await;
    assert_eq!(ingestor.series("mutt_ingest_queue_depth").await, 1);
    assert_eq!(
        ingestor
            .series(r#"mutt_ingest_requests_total{status="success",reason=""}"#)
            .await,
        1
    );
}

#[tokio::test]
async fn the_configuration_is_for_those_with_a_key() {
    let ingestor = Ingestor::start();
    let get = || ingestor.client.get(ingestor.url("/admin/config"));
    assert_eq!(answered(get(), 401).await["message"], "Unauthorized");
    let config = answered(get().header("x-api-key", KEY), 200).await;
    assert_eq!(config["static"]["MAX_BODY_BYTES"], crate::support::MAX_BODY);
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_meant_is_said_in_json() {
    let ingestor = Ingestor::start();
    let missing: Value = answered(ingestor.client.get(ingestor.url("/ingestion")), 404).await;
    assert_eq!(missing["status"], "error");
    for method in [
        reqwest::Method::GET,
        reqwest::Method::PUT,
        reqwest::Method::DELETE,
    ] {
        let request = ingestor
            .client
            .request(method, ingestor.url("/api/v2/ingest"));
        let response = request.header("x-api-key", KEY).send().await.unwrap();
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()["allow"], "POST");
        assert_eq!(response.json::<Value>().await.unwrap()["status"], "error");
    }
    answered(ingestor.client.post(ingestor.url("/health")), 405).await;
}
