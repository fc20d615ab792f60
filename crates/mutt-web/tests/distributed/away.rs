//! The status while a store is away: what was last known, and that it is.

use serde_json::Value;

use crate::support::World;

fn store_away(status: &Value) -> Option<&Value> {
    let items = status["attention"].as_array().unwrap();
    items.iter().find(|item| item["code"] == "store_away")
}

#[tokio::test]
async fn a_store_that_is_away_is_said_and_the_last_known_is_shown() {
    let world = World::new().await;
    let letters = ["a", "b", "c"].map(|text| mutt_engine::DeadLetter {
        reason: mutt_engine::Reason::Malformed,
        detail: "no JSON".to_owned(),
        element: text.as_bytes().to_vec(),
    });
    world
        .engine
        .enqueue_with_rejects(mutt_event::Batch::new(), letters.to_vec())
        .await
        .unwrap();
    let depth = |status: &Value| -> u64 {
        let queues = status["queues"].as_array().unwrap();
        let found = queues
            .iter()
            .find(|queue| queue["name"] == "mutt:dlq:ingest");
        found.map_or(0, |queue| queue["depth"].as_u64().unwrap())
    };
    world
        .until("/api/v2/status", |status| {
            depth(status) == 3 && status["complete"] == true
        })
        .await;

    world.store.redis.kill();
    let away = world
        .until("/api/v2/status", |status| {
            status["complete"] == false && store_away(status).is_some()
        })
        .await;
    assert_eq!(depth(&away), 3, "as it was last known");
    assert!(away["error"].is_string());
    let item = store_away(&away).unwrap();
    assert_eq!(item["severity"], "critical");
    assert_eq!(item["title"], "Redis cannot be used");
    assert!(
        away["problems"]
            .as_array()
            .unwrap()
            .contains(&item["title"])
    );
    let up = |name: &str| -> Value {
        let stores = away["stores"].as_array().unwrap();
        let store = stores.iter().find(|store| store["name"] == name);
        store.unwrap()["up"].clone()
    };
    assert_eq!((up("redis"), up("postgres")), (false.into(), true.into()));

    world.store.redis.restart();
    let back = world
        .until("/api/v2/status", |status| {
            status["complete"] == true && store_away(status).is_none()
        })
        .await;
    assert!(back["error"].is_null());
}
