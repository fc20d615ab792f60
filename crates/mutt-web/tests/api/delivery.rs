//! How delivery goes, and a test of it.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mutt_engine::audit::DeliveryRow;
use mutt_engine::{Attempt, CircuitPolicy, Settlement, WorkerKind};
use serde_json::{Value, json};

use crate::support::{PATIENCE, World};

async fn claimed(world: &World) -> mutt_engine::ClaimedAlert {
    let worker = Arc::from("m");
    let beat = Duration::from_hours(1);
    world
        .engine
        .heartbeat(WorkerKind::Moog, "m", beat)
        .await
        .unwrap();
    let mut alerts = world
        .engine
        .claim_alerts(&worker, 1, PATIENCE)
        .await
        .unwrap();
    alerts.pop().unwrap()
}

#[tokio::test]
async fn a_test_goes_the_way_of_every_alert() {
    let world = World::new().await;
    let quiet = world.get("/api/v2/delivery").await.is(200);
    let sink = &quiet["sinks"][0];
    assert_eq!(
        (&sink["sink"], &sink["circuit"]["state"], &sink["waiting"]),
        (&json!("moogsoft"), &json!("closed"), &json!(0))
    );
    assert_eq!(
        (&sink["rate"]["limit"], &sink["rate"]["used"]),
        (&json!(50), &json!(0))
    );
    assert_eq!(sink["windows"][1]["success"], Value::Null);

    let test = world
        .post("/api/v2/delivery/test", json!({"reason": "new address"}))
        .await
        .is(202);
    let id = test["event_id"].as_str().unwrap();
    let audit = world
        .get("/api/v2/config-audit?table_name=delivery_tests")
        .await
        .is(200);
    assert_eq!(audit["changes"][0]["record_key"], id);
    assert_eq!(audit["changes"][0]["reason"], "new address");

    let alert = claimed(&world).await;
    let sent: Value = serde_json::from_slice(&alert.element).unwrap();
    assert_eq!(
        (&sent["_event_id"], &sent["handling"]),
        (&json!(id), &json!("Test"))
    );
    assert!(
        sent["message_body"]
            .as_str()
            .unwrap()
            .starts_with("[MUTT TEST]")
    );
    assert_eq!(sent["_correlation_id"], test["correlation_id"]);
    let now = Timestamp::now();
    let due = now + SignedDuration::from_hours(1);
    let row = DeliveryRow {
        event_id: id.parse().unwrap(),
        sink: "moogsoft".to_owned(),
        attempt: 1,
        at: now,
        status: Some(503),
        latency_ms: 12.5,
        error: Some("HTTP 503: busy".to_owned()),
    };
    let attempt = Attempt {
        alert,
        settlement: Settlement::RetryAt(due),
        log: Some(row),
    };
    world.engine.settle_alerts(vec![attempt]).await.unwrap();
    let policy = CircuitPolicy {
        threshold: 1,
        timeout: Duration::from_mins(5),
    };
    world
        .engine
        .circuit_failure("moogsoft", policy)
        .await
        .unwrap();

    // It is written down and shown soon.
    world
        .until(&format!("/api/v2/events/{id}"), |event| {
            event["deliveries"][0]["status"] == 503
        })
        .await;
    let now = world
        .until("/api/v2/delivery", |delivery| {
            delivery["sinks"][0]["windows"][0]["attempts"] == 1
        })
        .await;
    let sink = &now["sinks"][0];
    assert_eq!(
        (&sink["waiting"], &sink["retrying"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(sink["circuit"]["state"], "open");
    assert_eq!(sink["circuit"]["why"], "HTTP 503: busy");
    let at = |value: &Value| value.as_str().unwrap().parse::<Timestamp>().unwrap();
    let wait =
        at(&sink["circuit"]["next_probe_at"]).duration_since(at(&sink["circuit"]["opened_at"]));
    assert_eq!(wait, SignedDuration::from_mins(5));
    let window = &sink["windows"][0];
    assert_eq!(
        (&window["minutes"], &window["delivered"]),
        (&json!(15), &json!(0))
    );
    assert_eq!(
        (&window["success"], &window["p95_ms"]),
        (&json!(0.0), &json!(12.5))
    );
    let error = &sink["errors"][0];
    assert_eq!(
        (&error["status"], &error["count"], &error["event_id"]),
        (&json!(503), &json!(1), &json!(id))
    );
    let retry = &sink["retries"][0];
    assert_eq!(
        (&retry["event_id"], &retry["attempts"], &retry["hostname"]),
        (&json!(id), &json!(1), &json!("mutt-test"))
    );
}

#[tokio::test]
async fn viewers_order_no_test() {
    let world = World::new().await;
    let key = json!({"name": "eyes", "role": "viewer"});
    let key = world.post("/api/v2/keys", key).await.is(201)["key"]
        .as_str()
        .unwrap()
        .to_owned();
    world
        .with_key(&key, "GET", "/api/v2/delivery", json!({}))
        .await
        .is(200);
    world
        .with_key(&key, "POST", "/api/v2/delivery/test", json!({}))
        .await
        .problem(403);
    assert_eq!(world.engine.alert_depth().await.unwrap(), 0);
}
