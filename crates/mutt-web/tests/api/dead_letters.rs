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

    let refused = &alerter["groups"][1];
    let times = ["oldest", "newest"].map(|name| refused[name].as_str().unwrap().to_owned());
    assert!(times[0] <= times[1], "{refused}");

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
    for (status, count) in [("none", 2), ("400", 2), ("404", 0)] {
        let path = format!("/api/v2/dlq/alerter?status={status}");
        let page = world.get(&path).await.is(200);
        assert_eq!(page["entries"].as_array().unwrap().len(), count, "{status}");
    }
    for status in ["200", "any", "-400"] {
        let path = format!("/api/v2/dlq/alerter?status={status}");
        world.get(&path).await.problem(400);
    }
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
    assert_eq!(shown["payload"]["hostname"], "h");
    let mut listed = entry.clone();
    listed["payload"] = shown["payload"].clone();
    assert_eq!(shown, listed);
    assert_eq!(
        (&shown["hostname"], &shown["reason"], &shown["can_redecide"]),
        (&json!("h"), &json!("shed"), &json!(true))
    );
    assert_eq!(shown["next_replay"]["what"], "replay");

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
    let body =
        json!({"filter": {"reason": "shed", "status": "none"}, "reason": "the burst is over"});
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
    // They wait to be decided.
    world
        .until("/api/v2/status", |status| status["queues"][0]["depth"] == 2)
        .await;
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
async fn a_filter_holds_for_named_entries_too() {
    let world = World::new().await;
    let queue = "/api/v2/dlq/ingest";
    bury(&world, Dlq::Ingest, Reason::Malformed, &["a", "b"]).await;
    bury(&world, Dlq::Ingest, Reason::Shed, &["c"]).await;
    let entries = world.get(queue).await.is(200);
    let ids: Vec<_> = (0..3)
        .map(|at| entries["entries"][at]["id"].clone())
        .collect();
    let body = json!({"ids": ids, "filter": {"reason": "malformed"}, "reason": "noise"});
    let begun = world.post(&format!("{queue}/discard"), body).await.is(202);
    let selection = &begun["job"]["selection"];
    assert_eq!(
        (&selection["ids"], &selection["filter"]["reason"]),
        (&json!(3), &json!("malformed"))
    );
    let job = ended(&world, &begun).await;
    assert_eq!(
        (&job["state"], &job["moved"], &job["left"]),
        (&json!("done"), &json!(2), &json!(1))
    );
    let left = world.get(queue).await.is(200);
    assert_eq!(
        (&left["depth"], &left["entries"][0]["reason"]),
        (&json!(1), &json!("shed"))
    );
}

#[tokio::test]
async fn what_was_not_counted_is_not_moved() {
    let world = World::new().await;
    bury(&world, Dlq::Ingest, Reason::Malformed, &["a", "b"]).await;
    bury(&world, Dlq::Ingest, Reason::Malformed, &["c"]).await;
    for (action, which) in [
        (
            "discard",
            json!({"all": true, "expected": 2, "reason": "noise"}),
        ),
        (
            "replay",
            json!({"filter": {"reason": "malformed"}, "expected": 2}),
        ),
    ] {
        let path = format!("/api/v2/dlq/ingest/{action}");
        let refused = world.post(&path, which.clone()).await.is(409);
        let detail = refused["detail"].as_str().unwrap();
        assert!(
            detail.contains("2 entries were expected") && detail.contains("3 are meant"),
            "{detail}"
        );
        assert_eq!(world.get("/api/v2/dlq/ingest").await.is(200)["depth"], 3);
    }
    assert_eq!(world.get("/api/v2/jobs").await.is(200)["jobs"], json!([]));
    let body = json!({"all": true, "expected": 3, "reason": "noise"});
    let begun = world.post("/api/v2/dlq/ingest/discard", body).await.is(202);
    assert_eq!(ended(&world, &begun).await["moved"], 3);
}

#[tokio::test]
async fn what_a_person_did_with_it_is_on_the_road_of_an_event() {
    let world = World::new().await;
    let ids = [mutt_event::EventId::new(), mutt_event::EventId::new()];
    let letters = ids.iter().map(|id| DeadLetter {
        reason: Reason::Poison,
        detail: "broken".to_owned(),
        element: format!(r#"{{"hostname":"h","message":"m","_event_id":"{id}"}}"#).into_bytes(),
    });
    world
        .engine
        .bury(Dlq::Alerter, letters.collect())
        .await
        .unwrap();
    let entries = world.get("/api/v2/dlq/alerter").await.is(200);
    let body = json!({"ids": [entries["entries"][0]["id"]], "reason": "noise"});
    let begun = world
        .post("/api/v2/dlq/alerter/discard", body)
        .await
        .is(202);
    assert_eq!(ended(&world, &begun).await["moved"], 1);

    let gone = world
        .get(&format!("/api/v2/events/{}", ids[0]))
        .await
        .is(200);
    let step = &gone["timeline"][0];
    assert_eq!(
        (step["what"].as_str(), gone["timeline"][1].is_null()),
        (Some("discard"), true)
    );
    let detail = step["detail"].as_str().unwrap();
    assert!(
        detail.contains("WEBUI_API_KEY") && detail.ends_with("noise"),
        "{detail}"
    );
    let other = world
        .get(&format!("/api/v2/events/{}", ids[1]))
        .await
        .is(200);
    assert_eq!(other["timeline"][0]["what"], "dead_letter");
    let changes = world
        .get("/api/v2/config-audit?table_name=dlq")
        .await
        .is(200);
    assert_eq!(
        changes["changes"][0]["old_values"]["events"],
        json!([ids[0].to_string()])
    );
}

/// Puts a page's rest behind it, by cursor, to the end; the messages.
async fn to_the_end(world: &World, path: &str, mut page: Value) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        let entries = page["entries"].as_array().unwrap();
        let details = entries
            .iter()
            .map(|entry| entry["detail"].as_str().unwrap());
        seen.extend(details.map(str::to_owned));
        let Some(cursor) = page["next_cursor"].as_str() else {
            return seen;
        };
        page = world.get(&format!("{path}&cursor={cursor}")).await.is(200);
    }
}

#[tokio::test]
async fn pages_go_on_behind_the_last_entry_whatever_went_meanwhile() {
    let world = World::new().await;
    let details: Vec<String> = (0..12).map(|number| format!("entry {number}")).collect();
    let details: Vec<&str> = details.iter().map(String::as_str).collect();
    bury(&world, Dlq::Ingest, Reason::Malformed, &details).await;
    let path = "/api/v2/dlq/ingest?limit=4";
    let first = world.get(path).await.is(200);
    assert_eq!(to_the_end(&world, path, first.clone()).await, details);

    // Two of the first page go; then one of its last, too.
    for gone in [[0, 2].as_slice(), &[3]] {
        let ids: Vec<_> = gone
            .iter()
            .map(|&at: &usize| first["entries"][at]["id"].clone())
            .collect();
        let body = json!({"ids": ids, "reason": "noise"});
        let begun = world.post("/api/v2/dlq/ingest/discard", body).await.is(202);
        assert_eq!(ended(&world, &begun).await["moved"], gone.len());
        let seen = to_the_end(&world, path, first.clone()).await;
        assert_eq!(seen[4..], details[4..], "nothing twice, nothing left out");
    }
    let fields = world.get(&format!("{path}&cursor=zz")).await.problem(400);
    assert_eq!(fields, ["cursor"]);
}

#[tokio::test]
async fn entries_are_chosen_by_what_they_say() {
    let world = World::new().await;
    let letters = [("a", 404), ("a", 400), ("b", 404)];
    let letters = letters
        .iter()
        .map(|(host, status)| DeadLetter {
            reason: Reason::Refused,
            detail: format!("HTTP {status}"),
            element: json!({"hostname": host, "rule_id": 5, "password": "hunter2"})
                .to_string()
                .into_bytes(),
        })
        .collect();
    world.engine.bury(Dlq::Moog, letters).await.unwrap();
    for (query, count) in [
        ("hostname=A", 2),
        ("hostname=a&status=404", 1),
        ("rule_id=5", 3),
        ("rule_id=6", 0),
        ("since=2026-01-01", 3),
        ("until=2026-01-01", 0),
    ] {
        let page = world
            .get(&format!("/api/v2/dlq/moog?{query}"))
            .await
            .is(200);
        assert_eq!(page["entries"].as_array().unwrap().len(), count, "{query}");
        assert!(!page.to_string().contains("hunter2"), "secrets are masked");
    }
    for (query, field) in [
        ("status=200", "status"),
        ("since=soon", "since"),
        ("rule_id=x", "rule_id"),
    ] {
        let fields = world
            .get(&format!("/api/v2/dlq/moog?{query}"))
            .await
            .problem(400);
        assert_eq!(fields, [field]);
    }
    let body = json!({"filter": {"status": 404, "hostname": "a"}, "reason": "noise"});
    let begun = world.post("/api/v2/dlq/moog/discard", body).await.is(202);
    let job = ended(&world, &begun).await;
    assert_eq!(
        (&job["total"], &job["moved"], &job["left"]),
        (&json!(1), &json!(1), &json!(0))
    );
    assert_eq!(job["selection"]["filter"]["hostname"], "a");
    assert_eq!(world.get("/api/v2/dlq/moog").await.is(200)["depth"], 2);
}

#[tokio::test]
async fn an_event_is_decided_anew() {
    let world = World::new().await;
    let rows = world.decide(&["%LINK-3-UPDOWN: down"], |_, _| {}).await;
    let first = rows[0].event_id;
    let filter = mutt_engine::AuditFilter {
        event_id: Some(first),
        limit: 1,
        ..mutt_engine::AuditFilter::default()
    };
    let raw = world.engine.audit_rows(filter).await.unwrap()[0]
        .raw_message
        .clone();
    let alert = json!({"hostname": "router1", "team_assignment": "Net", "message_body": "down",
        "raw_json": raw, "_event_id": first.to_string(), "rule_id": 1});
    let meta = json!({"hostname": "router1", "team_assignment": "Net", "message_body": "many",
        "raw_json": "{}", "_event_id": mutt_event::EventId::new().to_string()});
    let letters = [alert, meta]
        .iter()
        .map(|alert| DeadLetter {
            reason: Reason::Refused,
            detail: "HTTP 404".to_owned(),
            element: alert.to_string().into_bytes(),
        })
        .collect();
    world.engine.bury(Dlq::Moog, letters).await.unwrap();
    let body = json!({"all": true, "mode": "redecide", "reason": "the rule is corrected"});
    let begun = world.post("/api/v2/dlq/moog/replay", body).await.is(202);
    let job = ended(&world, &begun).await;
    assert_eq!(
        (
            &job["state"],
            &job["mode"],
            &job["total"],
            &job["moved"],
            &job["left"]
        ),
        (
            &json!("done"),
            &json!("redecide"),
            &json!(2),
            &json!(1),
            &json!(1)
        )
    );
    let changes = world
        .get("/api/v2/config-audit?table_name=dlq")
        .await
        .is(200);
    assert_eq!(changes["changes"][0]["new_values"], json!({"redecided": 1}));
    assert_eq!(changes["changes"][0]["reason"], "the rule is corrected");

    // Decided again, it stands beside the first decision, under both ids.
    let claim = world
        .engine
        .claim_events(&std::sync::Arc::from("test"), 10, crate::support::PATIENCE)
        .await
        .unwrap()
        .unwrap();
    let view = mutt_event::json::view(claim.iter().next().unwrap()).unwrap();
    let mut row = rows[0].clone();
    row.event_id = view.event_id;
    row.handling_decision = "Ticket_only";
    let outcome = mutt_engine::Outcome {
        audit: vec![row],
        ..Default::default()
    };
    let decision = mutt_engine::Decision { claim, outcome };
    world
        .engine
        .decide(std::sync::Arc::new(decision))
        .await
        .unwrap();
    let again = mutt_engine::redecision::id_of(first, 1);
    for id in [first, again] {
        let timeline = world.get(&format!("/api/v2/events/{id}")).await.is(200);
        let decided: Vec<_> = timeline["audit"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| {
                (
                    row["event_id"].as_str().unwrap(),
                    row["handling_decision"].as_str().unwrap(),
                )
            })
            .collect();
        let (one, two) = (first.to_string(), again.to_string());
        assert_eq!(
            decided,
            [(one.as_str(), "Page_only"), (two.as_str(), "Ticket_only")]
        );
        let steps: Vec<_> = timeline["timeline"]
            .as_array()
            .unwrap()
            .iter()
            .map(|step| step["what"].as_str().unwrap())
            .collect();
        // The order is written down with its step, before or after the time that the event notes.
        let road: Vec<_> = steps.iter().filter(|what| **what != "replay").collect();
        assert_eq!(road, [&"received", &"decided", &"redecided", &"decided"]);
        assert_eq!(steps.len(), 5, "{steps:?}");
    }
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
        json!({"all": true, "mode": "again"}),
        json!({"filter": {"status": 200}}),
        json!({"filter": {"until": "soon"}}),
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
async fn a_job_is_seen_and_stopped_from_another_pod() {
    let world = World::new().await;
    let other = world.another_pod();
    let from_there = async |method: &str, path: &str| {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = world.http.request(method, format!("{other}{path}"));
        world
            .send(request.header("x-api-key", crate::support::KEY))
            .await
    };
    bury(&world, Dlq::Ingest, Reason::Malformed, &["x"; 50]).await;
    let body = json!({"all": true, "reason": "noise", "rate": 1});
    let begun = world.post("/api/v2/dlq/ingest/discard", body).await.is(202);
    let id = begun["job"]["id"].as_str().unwrap();
    let path = format!("/api/v2/jobs/{id}");
    let there = from_there("GET", &path).await.is(200);
    assert_eq!(
        (&there["state"], &there["total"], &there["pod"]),
        (&json!("running"), &json!(50), &json!("test-1"))
    );
    let all = from_there("GET", "/api/v2/jobs").await.is(200);
    assert_eq!(all["jobs"][0]["id"], id);
    from_there("POST", &format!("{path}/abort")).await.is(202);
    let job = ended(&world, &begun).await;
    assert_eq!(job["state"], "aborted");
    // It is said there as well, a moment later.
    let start = std::time::Instant::now();
    loop {
        let there = from_there("GET", &path).await.is(200);
        if there == job {
            break;
        }
        assert!(start.elapsed() < crate::support::PATIENCE, "{there}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    from_there("POST", &format!("{path}/abort"))
        .await
        .problem(409);
    from_there("GET", "/api/v2/jobs/none").await.problem(404);
    from_there("POST", "/api/v2/jobs/none/abort")
        .await
        .problem(404);
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
