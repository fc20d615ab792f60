//! Dead letters: what lies there, and the jobs about it.

use mutt_engine::{DeadLetter, Dlq, Reason};
use serde_json::{Value, json};

use crate::support::World;

async fn bury(world: &World, queue: Dlq, reason: Reason, details: &[&str]) {
    let letters = details
        .iter()
        .enumerate()
        .map(|(index, detail)| DeadLetter {
            reason,
            detail: (*detail).to_owned(),
            element: format!("{{\"hostname\":\"h\",\"message\":\"<b>{reason:?} {index}</b>\"}}")
                .into_bytes(),
        })
        .collect();
    world.engine.bury(queue, letters).await.unwrap();
}

async fn ended(world: &World, job: &Value) -> Value {
    let id = job["job"]["id"].as_str().unwrap();
    world
        .until(&format!("/api/v2/jobs/{id}"), |job| {
            job["state"] != "running"
        })
        .await
}

#[tokio::test]
async fn dead_letters_are_grouped_listed_and_shown() {
    let world = World::new().await;
    bury(
        &world,
        Dlq::Alerter,
        Reason::Poison,
        &["HTTP 400: no", "HTTP 400: no", "broken"],
    )
    .await;
    bury(&world, Dlq::Alerter, Reason::Shed, &["too much"]).await;
    let overview = world.get("/api/v2/dlq").await.is(200);
    let names: Vec<_> = overview["queues"]
        .as_array()
        .unwrap()
        .iter()
        .map(|queue| queue["queue"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["ingest", "alerter", "moog", "dead"]);
    let alerter = &overview["queues"][1];
    assert_eq!(
        (&alerter["depth"], &alerter["complete"]),
        (&json!(4), &json!(true))
    );
    let groups: Vec<_> = alerter["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| {
            (
                group["reason"].as_str().unwrap(),
                group["status"].as_u64(),
                group["count"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        groups,
        [
            ("poison", None, 1),
            ("poison", Some(400), 2),
            ("shed", None, 1)
        ]
    );

    let page = world.get("/api/v2/dlq/alerter?limit=3").await.is(200);
    assert_eq!(
        (page["entries"].as_array().unwrap().len(), &page["next"]),
        (3, &json!(3))
    );
    let page = world
        .get("/api/v2/dlq/alerter?limit=3&offset=3")
        .await
        .is(200);
    assert_eq!(
        (page["entries"].as_array().unwrap().len(), &page["next"]),
        (1, &Value::Null)
    );
    let shed = world
        .get("/api/v2/dlq/mutt:dlq:alerter?reason=shed&text=Shed")
        .await
        .is(200);
    let entry = &shed["entries"][0];
    assert!(
        entry["message"].as_str().unwrap().contains("<b>"),
        "shown as text"
    );
    let id = entry["id"].as_str().unwrap();
    let shown = world
        .get(&format!("/api/v2/dlq/alerter/{id}"))
        .await
        .is(200);
    assert_eq!(&shown, entry);

    world.get("/api/v2/dlq/nowhere").await.problem(404);
    world.get("/api/v2/dlq/alerter/999999").await.problem(404);
    world
        .get("/api/v2/dlq/alerter/no%20number")
        .await
        .problem(404);
    assert_eq!(
        world
            .get("/api/v2/dlq/alerter?reason=bored")
            .await
            .problem(400),
        ["reason"]
    );
    assert_eq!(
        world
            .get("/api/v2/dlq/alerter?limit=501")
            .await
            .problem(400),
        ["limit"]
    );
    assert_eq!(
        world
            .get("/api/v2/dlq/alerter?offset=-1")
            .await
            .problem(400),
        ["offset"]
    );
}

#[tokio::test]
async fn a_job_replays_what_was_selected() {
    let world = World::new().await;
    bury(&world, Dlq::Alerter, Reason::Shed, &["a", "b"]).await;
    bury(&world, Dlq::Alerter, Reason::Poison, &["c"]).await;
    let body = json!({"filter": {"reason": "shed"}, "reason": "the burst is over"});
    let begun = world.post("/api/v2/dlq/alerter/replay", body).await;
    let location = begun.header("location").to_owned();
    let begun = begun.is(202);
    assert_eq!(
        location,
        format!("/api/v2/jobs/{}", begun["job"]["id"].as_str().unwrap())
    );
    assert_eq!(begun["job"]["total"], 2);
    let job = ended(&world, &begun).await;
    assert_eq!(
        (&job["state"], &job["moved"], &job["processed"]),
        (&json!("done"), &json!(2), &json!(2))
    );
    assert_eq!(
        (&job["by"], &job["reason"]),
        (&json!("WEBUI_API_KEY"), &json!("the burst is over"))
    );
    assert!(job["ended_at"].is_string());
    assert_eq!(world.get("/api/v2/dlq/alerter").await.is(200)["depth"], 1);
    let status = world.get("/api/v2/status").await.is(200);
    assert_eq!(status["queues"][0]["depth"], 2, "they wait to be decided");
    assert_eq!(
        world.get("/api/v2/jobs").await.is(200)["jobs"][0]["id"],
        begun["job"]["id"]
    );
}

#[tokio::test]
async fn discarding_needs_a_reason_and_is_audited() {
    let world = World::new().await;
    bury(&world, Dlq::Ingest, Reason::Malformed, &["a", "b", "c"]).await;
    let entries = world.get("/api/v2/dlq/ingest").await.is(200);
    let id = entries["entries"][1]["id"].clone();
    let fields = world
        .post("/api/v2/dlq/ingest/discard", json!({"ids": [id]}))
        .await
        .problem(400);
    assert_eq!(fields, ["reason"]);
    let body = json!({"ids": [id, "unknown"], "reason": "noise"});
    let begun = world.post("/api/v2/dlq/ingest/discard", body).await.is(202);
    assert_eq!(ended(&world, &begun).await["moved"], 1);
    let left = world.get("/api/v2/dlq/ingest").await.is(200);
    assert_eq!(left["depth"], 2);
    let audit = world.get("/api/v2/config-audit").await.is(200);
    assert_eq!(
        (&audit["total"], &audit["changes"][0]["reason"]),
        (&json!(1), &json!("noise"))
    );
}

#[tokio::test]
async fn a_selection_must_say_what_it_means() {
    let world = World::new().await;
    bury(&world, Dlq::Moog, Reason::Refused, &["a"]).await;
    for body in [
        json!({}),
        json!({"all": false}),
        json!({"filter": {}}),
        json!({"all": true, "ids": ["1"]}),
        json!({"all": true, "filter": {"text": "x"}}),
        json!({"all": true, "rate": 0}),
        json!({"all": true, "rate": -5}),
        json!({"all": true, "quick": true}),
        json!({"filter": {"reason": "bored"}}),
        json!({"ids": "1"}),
        json!({"ids": vec!["1"; 100_001]}),
        json!([]),
    ] {
        world
            .post("/api/v2/dlq/moog/replay", body)
            .await
            .problem(400);
    }
    world
        .post("/api/v2/dlq/nowhere/replay", json!({"all": true}))
        .await
        .problem(404);
    assert_eq!(world.get("/api/v2/dlq/moog").await.is(200)["depth"], 1);
}

#[tokio::test]
async fn a_slow_job_is_aborted() {
    let world = World::new().await;
    bury(&world, Dlq::Ingest, Reason::Malformed, &["x"; 50]).await;
    let body = json!({"all": true, "reason": "noise", "rate": 1});
    let begun = world.post("/api/v2/dlq/ingest/discard", body).await.is(202);
    let path = format!("/api/v2/jobs/{}", begun["job"]["id"].as_str().unwrap());
    world
        .until(&path, |job| job["moved"].as_u64() >= Some(1))
        .await;
    let abort = world.request("POST", &format!("{path}/abort"));
    world.send(abort.try_clone().unwrap()).await.is(202);
    let job = ended(&world, &begun).await;
    assert_eq!(job["state"], "aborted");
    let moved = job["moved"].as_u64().unwrap();
    assert!(moved < 50);
    assert_eq!(
        world.get("/api/v2/dlq/ingest").await.is(200)["depth"],
        50 - moved
    );
    world.send(abort).await.problem(409);
    world
        .send(world.request("POST", "/api/v2/jobs/none/abort"))
        .await
        .problem(404);
    world.get("/api/v2/jobs/none").await.problem(404);
}
