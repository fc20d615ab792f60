//! The test bench on the sample of the last hour and on audit rows, and what insights and unhandled
//! signatures make of the sample.

use mutt_engine::live::{LiveBatch, LiveEvent};
use serde_json::{Value, json};

use crate::support::{World, draft};

fn event(message: &str, environment: &str) -> LiveEvent {
    LiveEvent {
        event_id: mutt_event::EventId::new(),
        received_at: jiff::Timestamp::now(),
        hostname: format!("{environment}-1"),
        message: message.to_owned(),
        cut: false,
        trap_oid: message
            .strip_prefix("trap ")
            .map(|_| "1.3.6.1.6.3.1.1.5.3".to_owned()),
        severity: Some(3),
        source: None,
        environment: environment.to_owned(),
        rule_id: None,
        handling: "Unhandled".to_owned(),
        team: None,
    }
}

fn show(world: &World, messages: &[&str], every: u64) {
    world.engine.show(LiveBatch {
        events: messages
            .iter()
            .map(|message| match message.strip_prefix("dev ") {
                Some(message) => event(message, "development"),
                None => event(message, "production"),
            })
            .collect(),
        total: messages.len() as u64 * every,
        every,
    });
}

/// What the bench says once the sample has seen so many events.
async fn tested(world: &World, body: &Value, events: u64) -> Value {
    let start = std::time::Instant::now();
    loop {
        let result = world.post("/api/v2/rules/test", body.clone()).await;
        let result = result.is(200);
        if result["sample"]["events"]["value"] == events {
            return result;
        }
        assert!(start.elapsed() < crate::support::PATIENCE, "{result}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

fn exact(value: u64) -> Value {
    json!({"value": value, "low": value, "high": value, "exactness": "exact"})
}

#[tokio::test]
async fn a_draft_is_tried_on_all_that_was_decided() {
    let world = World::new().await;
    let link = world.rule("link").await;
    let mut rule = draft("down");
    rule["priority"] = json!(1);
    let body = json!({"rule": rule, "sample": true});
    let empty = tested(&world, &body, 0).await;
    assert_eq!(empty["sample"]["would_match"], exact(0));
    assert_eq!(empty["sample"]["peak"], Value::Null);

    show(&world, &["link down", "dev link down", "link up"], 1);
    show(&world, &["fän 😀 down", "power"], 1);
    let result = tested(&world, &body, 5).await;
    let sample = &result["sample"];
    assert_eq!(sample["looked_at"], 5);
    assert_eq!(sample["would_match"], exact(3));
    assert_eq!(sample["would_win"], exact(3));
    assert_eq!(
        sample["takes_from"],
        json!([
            {"rule_id": link, "events": exact(2)},
            {"rule_id": null, "events": exact(1)},
        ])
    );
    assert_eq!(sample["loses_to"], json!([]));
    assert_eq!(sample["alerts"], exact(2), "development hosts are ignored");
    let histogram = sample["histogram"].as_array().unwrap();
    let alerts = histogram
        .iter()
        .map(|part| part["alerts"]["value"].as_u64());
    assert_eq!(alerts.map(Option::unwrap).sum::<u64>(), 2);
    // The two batches may fall into two minutes.
    let peak = sample["peak"]["alerts"]["value"].as_u64().unwrap();
    assert!(peak > 0);
    assert_eq!(sample["peak"]["per_hour"], exact(peak * 60));
    assert_eq!(sample["hosts"]["production"], exact(1));
    assert_eq!(sample["hosts"]["development"], exact(1));
    let examples = sample["examples"].as_array().unwrap();
    assert_eq!(examples.len(), 3);
    let fan = examples
        .iter()
        .find(|example| example["message"] == "fän 😀 down")
        .unwrap();
    assert_eq!(
        fan["matched"],
        json!({"bytes": [10, 14], "chars": [6, 10], "utf16": [7, 11]})
    );
    assert_eq!(
        (&fan["wins"], &fan["winner_today"]),
        (&json!(true), &Value::Null)
    );

    // Another text is another answer: nothing is remembered of the draft.
    let body = json!({"rule": draft("power"), "sample": true});
    let result = tested(&world, &body, 5).await;
    assert_eq!(result["sample"]["would_match"], exact(1));
    assert_eq!(
        result["sample"]["takes_from"],
        json!([{"rule_id": null, "events": exact(1)}])
    );

    // So are other rules.
    world.rule("power").await;
    let result = tested(&world, &body, 5).await;
    assert_eq!(result["sample"]["would_win"], exact(0));
    assert_eq!(result["sample"]["loses_to"][0]["events"], exact(1));
    assert_eq!(result["shadowed_by"]["certainty"], "proved");

    // The stored rule, changed.
    let body = json!({"rule_id": link, "rule": draft("link up"), "sample": true});
    let result = tested(&world, &body, 5).await;
    assert_eq!(
        result["sample"]["leaves_to"],
        json!([{"rule_id": null, "events": exact(2)}])
    );
    // All rules.
    let result = tested(&world, &json!({"sample": true}), 5).await;
    assert_eq!(result["sample"]["would_win"], exact(4));

    // A trap.
    show(&world, &["trap x"], 1);
    let mut trap = draft("x");
    trap["trap_oid"] = json!("1.3.6.1.6.3");
    let result = tested(&world, &json!({"rule": trap, "sample": true}), 6).await;
    assert_eq!(result["sample"]["would_match"], exact(1));
}

#[tokio::test]
async fn what_is_sampled_is_an_estimate() {
    let world = World::new().await;
    let later = world.rule("link down core").await;
    let mut messages = vec!["link down"; 300];
    messages.extend(vec!["fan failed"; 19]);
    messages.extend(vec!["power"; 681]);
    show(&world, &messages, 10);
    let result = tested(
        &world,
        &json!({"rule": draft("LINK"), "sample": true}),
        10_000,
    )
    .await;
    let figure = &result["sample"]["would_match"];
    assert_eq!(figure["exactness"], "estimate");
    let [low, value, high] = ["low", "value", "high"].map(|end| figure[end].as_u64().unwrap());
    assert_eq!(value, 3_000);
    assert!(
        (2_700..2_760).contains(&low) && (3_240..3_300).contains(&high),
        "{figure}"
    );
    let hosts = &result["sample"]["hosts"]["production"];
    assert_eq!(hosts["exactness"], "lower_bound");
    assert_eq!(
        result["shadows"],
        json!([]),
        "the stored rule has the older number"
    );

    let mut first = draft("link");
    first["priority"] = json!(1);
    let body = json!({"rule": first, "sample": true});
    let result = tested(&world, &body, 10_000).await;
    assert_eq!(
        (
            &result["shadows"][0]["rule_id"],
            &result["shadows"][0]["certainty"]
        ),
        (&json!(later), &json!("proved"))
    );

    let result = tested(
        &world,
        &json!({"rule": draft("fan"), "sample": true}),
        10_000,
    )
    .await;
    assert_eq!(result["sample"]["would_match"]["exactness"], "too_few");

    // What cannot be seen can match.
    let mut long = event("power", "production");
    long.cut = true;
    world.engine.show(LiveBatch {
        events: vec![long],
        total: 1,
        every: 1,
    });
    let before = result["sample"]["would_match"]["high"].as_u64().unwrap();
    let result = tested(
        &world,
        &json!({"rule": draft("fan"), "sample": true}),
        10_001,
    )
    .await;
    assert_eq!(result["sample"]["cut"], 1);
    assert!(result["sample"]["would_match"]["high"].as_u64().unwrap() > before - 1);
}

#[tokio::test]
async fn audit_rows_are_exact_where_every_event_has_one() {
    let world = World::new().await;
    world
        .decide(&["link down", "link up", "fan failed"], |_, _| {})
        .await;
    let rule = draft("link");
    let body = json!({"rule": rule, "since_minutes": 60});
    let result = world.post("/api/v2/rules/test", body.clone()).await.is(200);
    assert_eq!(result["sample"], Value::Null);
    let history = &result["history"];
    assert_eq!(
        history["would_win"],
        json!({"value": 2, "low": 2, "high": null, "exactness": "lower_bound"})
    );
    assert!(history["about"].as_str().unwrap().contains("audit_scope"));
    assert_eq!(history["histogram"].as_array().unwrap().len(), 61);

    let value = json!({"value": "all", "reason": "all of it"});
    world.put("/api/v2/config/audit_scope", value).await.is(200);
    let result = world.post("/api/v2/rules/test", body).await.is(200);
    let exactness = &result["history"]["would_win"]["exactness"];
    assert_eq!(exactness, "lower_bound", "it was not so an hour ago");

    for minutes in [0, 43_201] {
        let body = json!({"rule": rule, "since_minutes": minutes});
        let fields = world.post("/api/v2/rules/test", body).await.problem(400);
        assert_eq!(fields, ["since_minutes"]);
    }
}

#[tokio::test]
async fn a_signature_is_shown_with_what_the_sample_has_of_it() {
    let world = World::new().await;
    show(
        &world,
        &[
            "power supply 3 failed badly",
            "power supply 4 failed badly",
            "link up",
        ],
        1,
    );
    let name = mutt_event::mask::signature("power supply 9 failed badly").hex();
    let path = format!("/api/v2/unhandled/{name}");
    let start = std::time::Instant::now();
    let detail = loop {
        let answer = world.get(&path).await;
        if answer.status == 200 && answer.json()["last_hour"]["events"]["value"] == 2 {
            break answer.json();
        }
        assert!(start.elapsed() < crate::support::PATIENCE, "{answer:?}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    assert_eq!(detail["masked"], "power supply <n> failed badly");
    assert_eq!(detail["suggestion"], "power supply");
    assert_eq!(
        detail["last_hour"]["hosts"],
        json!([{"hostname": "production-1", "sampled": 2}])
    );
    assert_eq!(detail["last_hour"]["examples"].as_array().unwrap().len(), 2);
    // Once a rule knows it, it is unhandled no more.
    world.rule("power supply").await;
    world.get(&path).await.problem(404);
    world.get("/api/v2/unhandled/nothing").await.problem(404);
}

#[tokio::test]
async fn insights_tell_what_was_seen_from_what_is_proved() {
    let world = World::new().await;
    let broad = world.rule("link").await;
    let mut regex = draft("l.nk d.wn");
    regex["match_type"] = json!("regex");
    let lost = world.post("/api/v2/rules", regex).await.is(201)["id"].clone();
    let proved = world.rule("link up").await;
    let mut messages = vec!["link down"; 25];
    messages.extend(["link up"; 5]);
    show(&world, &messages, 1);
    let insights = world
        .until("/api/v2/rules/insights", |insights| {
            insights["sample"]["looked_at"] == 30
        })
        .await;
    assert_eq!(insights["sample"]["events"], exact(30));
    let rules = insights["rules"].as_array().unwrap();
    let ids: Vec<_> = rules.iter().map(|rule| &rule["rule_id"]).collect();
    assert_eq!(ids, [&json!(broad), &lost, &json!(proved)]);
    assert_eq!(
        (
            &rules[0]["matched_1h"],
            &rules[0]["won_1h"],
            &rules[0]["shadowed"]
        ),
        (&exact(30), &exact(30), &Value::Null)
    );
    assert_eq!(rules[1]["matched_1h"], exact(25));
    assert_eq!(rules[1]["won_1h"], exact(0));
    assert_eq!(
        rules[1]["lost_to"],
        json!([{"rule_id": broad, "events": exact(25)}])
    );
    let shadow = &rules[1]["shadowed"];
    assert_eq!(
        (&shadow["by"], &shadow["certainty"]),
        (&json!(broad), &json!("observed"))
    );
    assert!(shadow["why"].as_str().unwrap().contains("25"), "{shadow}");
    assert_eq!(rules[2]["shadowed"]["certainty"], "proved");
    assert!(rules[0]["cost"]["nanoseconds"].is_u64(), "{insights}");
    assert_eq!(rules[0]["share"], Value::Null, "nothing was accepted");

    // With other rules the answer is another at once.
    let path = format!("/api/v2/rules/{broad}");
    world.delete(&path).await.is(200);
    let insights = world.get("/api/v2/rules/insights").await.is(200);
    assert_eq!(insights["rules"][0]["won_1h"], exact(25));
    assert_eq!(insights["rules"][0]["shadowed"], Value::Null);
}
