//! Dynamic configuration, the audit of changes, objectives, status.

use mutt_engine::{Component, Outcomes};
use serde_json::{Value, json};

use crate::support::World;

#[tokio::test]
async fn a_setting_is_changed_reverted_and_unset() {
    let world = World::new().await;
    let path = "/api/v2/config/moog_rate_limit";
    let shown = world.get(path).await.is(200);
    assert_eq!(
        (&shown["value"], &shown["setting"]["origin"]),
        (&json!("50"), &json!("static"))
    );
    assert_eq!(shown["setting"]["type"], "integer");
    assert_eq!(shown["setting"]["max"], 1_000_000);
    let done = world
        .put(path, json!({"value": 75, "reason": "new licence"}))
        .await
        .is(200);
    assert_eq!(
        done,
        json!({"key": "moog_rate_limit", "old_value": null, "new_value": "75"})
    );
    world.put(path, json!({"value": "80"})).await.is(200);
    let done = world
        .send(world.request("POST", &format!("{path}/revert")))
        .await
        .is(200);
    assert_eq!(
        (&done["old_value"], &done["new_value"]),
        (&json!("80"), &json!("75"))
    );
    assert_eq!(
        world.get(path).await.is(200)["setting"]["origin"],
        "dynamic"
    );
    let done = world.delete(path).await.is(200);
    assert_eq!(
        (&done["old_value"], &done["new_value"]),
        (&json!("75"), &Value::Null)
    );
    assert_eq!(world.get(path).await.is(200)["value"], "50");
    world.delete(path).await.problem(404);
    let history = world
        .get("/api/v2/config/history?key=moog_rate_limit&limit=2&page=2")
        .await
        .is(200);
    assert_eq!(
        history["pagination"],
        json!({"page": 2, "limit": 2, "total": 4, "pages": 2})
    );
    assert_eq!(history["history"][1]["reason"], "new licence");
    assert_eq!(
        (
            &history["history"][1]["old_value"],
            &history["history"][1]["new_value"]
        ),
        (&Value::Null, &json!("75"))
    );
    world
        .send(world.request("POST", "/api/v2/config/log_level/revert"))
        .await
        .problem(404);
}

#[tokio::test]
async fn a_setting_goes_back_to_any_change() {
    let world = World::new().await;
    let path = "/api/v2/config/moog_rate_limit";
    for value in ["60", "70", "80"] {
        world.put(path, json!({"value": value})).await.is(200);
    }
    world.delete(path).await.is(200);
    let history = world
        .get("/api/v2/config/history?key=moog_rate_limit")
        .await
        .is(200);
    let ids: Vec<_> = history["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["id"].as_i64().unwrap())
        .collect();
    let back = async |body: Value| world.post(&format!("{path}/revert"), body).await;
    let done = back(json!({"to": ids[2], "reason": "as it was"}))
        .await
        .is(200);
    assert_eq!(
        (&done["old_value"], &done["new_value"]),
        (&Value::Null, &json!("70"))
    );
    let last = world.get("/api/v2/config/history").await.is(200);
    assert_eq!(last["history"][0]["reason"], "as it was");
    let done = back(json!({"to": ids[0]})).await.is(200);
    assert_eq!(done["new_value"], Value::Null, "it was unset then");
    world
        .put("/api/v2/config/log_level", json!({"value": "debug"}))
        .await
        .is(200);
    let other = world
        .get("/api/v2/config/history?key=log_level")
        .await
        .is(200);
    back(json!({"to": other["history"][0]["id"]}))
        .await
        .problem(404);
    back(json!({"to": 999_999})).await.problem(404);
    back(json!({"to": "last"})).await.problem(400);
}

#[tokio::test]
async fn a_setting_says_what_it_is_and_where_it_comes_from() {
    let world = World::new().await;
    let keys = world.get("/api/v2/config").await.is(200)["keys"].clone();
    for key in keys.as_array().unwrap() {
        assert!(
            key["description"].is_string() && key["roles"].is_array(),
            "{key}"
        );
        match key["type"].as_str().unwrap() {
            "choice" => assert!(key["choices"][0].is_string(), "{key}"),
            _ => assert!(key["min"].is_number() && key["max"].is_number(), "{key}"),
        }
    }
    let path = "/api/v2/config/moog_rate_limit";
    let setting = world.get(path).await.is(200)["setting"].clone();
    assert_eq!(setting["source"], "/etc/mutt/mutt.toml");
    assert_eq!(setting["roles"], json!(["forwarder"]));
    world.put(path, json!({"value": 75})).await.is(200);
    let setting = world.get(path).await.is(200)["setting"].clone();
    assert_eq!(
        (
            &setting["source"],
            &setting["value"],
            &setting["static_value"]
        ),
        (&json!("stored"), &json!("75"), &json!("50"))
    );
    let fixed = world.get("/api/v2/config/static").await.is(200);
    assert_eq!(fixed["settings"][0]["restart_needed"], false);
    assert_eq!(
        fixed["secrets"][0],
        json!({"name": "MOOG_API_KEY", "set": true, "values": 1, "source": "environment"})
    );
}

#[tokio::test]
async fn a_check_of_the_chain_is_shown_again_until_asked_afresh() {
    let world = World::new().await;
    let path = "/api/v2/config-audit/verify";
    let first = world.get(path).await.is(200);
    world
        .put("/api/v2/config/log_level", json!({"value": "debug"}))
        .await
        .is(200);
    assert_eq!(world.get(path).await.is(200), first);
    let fresh = world.get(&format!("{path}?fresh=true")).await.is(200);
    assert_eq!(
        (&fresh["rows"], &fresh["intact"]),
        (&json!(1), &json!(true))
    );
}

#[tokio::test]
async fn what_a_setting_may_not_be_is_said() {
    let world = World::new().await;
    for value in [
        json!(0),
        json!(-1),
        json!("many"),
        json!(null),
        json!(true),
        json!([1]),
        json!(1.5),
        json!("9".repeat(999)),
    ] {
        let answer = world
            .put("/api/v2/config/moog_rate_limit", json!({ "value": value }))
            .await;
        let text = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(text.contains("from 1 to 1000000"), "{text}");
        assert_eq!(answer.problem(400), ["value"]);
    }
    let answer = world
        .put("/api/v2/config/nonsense", json!({"value": 1}))
        .await;
    assert!(answer.text.contains("log_level"));
    assert_eq!(answer.problem(400), ["key"]);
    let answer = world
        .put(
            "/api/v2/config/log_level",
            json!({"value": "info", "vaule": 1}),
        )
        .await;
    assert_eq!(answer.problem(400), ["vaule"]);
    assert_eq!(
        world.get("/api/v2/config/history?key=x").await.problem(400),
        ["key"]
    );
    for query in ["page=0", "page=x", "limit=0", "limit=201"] {
        let fields = world
            .get(&format!("/api/v2/config/history?{query}"))
            .await
            .problem(400);
        assert_eq!(fields, [query.split('=').next().unwrap()]);
    }
    assert_eq!(world.get("/api/v2/config-audit").await.is(200)["total"], 0);
}

#[tokio::test]
async fn changes_are_searched() {
    let world = World::new().await;
    for host in ["a", "b", "c"] {
        let request = world
            .request("POST", "/api/v2/dev-hosts")
            .header("x-correlation-id", format!("c-{host}"));
        world
            .send(request.json(&json!({"hostname": host, "reason": "lab"})))
            .await
            .is(201);
    }
    world.delete("/api/v2/dev-hosts/a").await.is(200);
    for (query, total) in [
        ("", 4),
        ("operation=create", 3),
        ("operation=DELETE&changed_by=webui", 1),
        ("changed_by=nobody", 0),
        ("record_id=b", 1),
        ("record_id=17", 0),
        ("correlation_id=c-c", 1),
        ("start_date=2020-01-01&end_date=2100-01-01", 4),
        ("end_date=2020-01-01T00:00:00Z", 0),
        ("table_name=device_teams", 0),
    ] {
        let page = world
            .get(&format!("/api/v2/config-audit?{query}"))
            .await
            .is(200);
        assert_eq!(page["total"], total, "{query}");
        assert_eq!(page["changes"].as_array().unwrap().len(), total, "{query}");
    }
    let page = world
        .get("/api/v2/config-audit?page=2&page_size=3")
        .await
        .is(200);
    assert_eq!(page["changes"][0]["record_key"], "a");
    assert_eq!(page["total_pages"], 2);
    for (query, field) in [
        ("operation=DROP", "operation"),
        ("start_date=soon", "start_date"),
        ("end_date=2026-02-30", "end_date"),
        ("page_size=201", "limit"),
        ("page=-1", "page"),
    ] {
        let fields = world
            .get(&format!("/api/v2/config-audit?{query}"))
            .await
            .problem(400);
        assert_eq!(fields, [field], "{query}");
    }
    let verified = world.get("/api/v2/config-audit/verify").await.is(200);
    assert_eq!(
        (&verified["intact"], &verified["rows"]),
        (&json!(true), &json!(4))
    );
}

#[tokio::test]
async fn objectives_are_computed_from_the_counters() {
    let world = World::new().await;
    let outcomes = Outcomes { good: 999, bad: 1 };
    world
        .engine
        .add_outcomes(Component::Ingestor, outcomes)
        .await
        .unwrap();
    let slo = world.get("/api/v2/slo").await.is(200);
    let ingestor = &slo["components"]["ingestor"];
    assert_eq!(ingestor["availability"], 0.999);
    assert_eq!(ingestor["error_budget_remaining"], 0.8);
    assert_eq!(
        (&ingestor["burn_rate"], &ingestor["state"]),
        (&json!(0.2), &json!("ok"))
    );
    assert_eq!(ingestor["windows"][0]["window_hours"], 1);
    assert_eq!(slo["components"]["forwarder"]["state"], "no_data");
    world
        .put(
            "/api/v2/config/slo_ingest_success_target",
            json!({"value": 0.9995}),
        )
        .await
        .is(200);
    world
        .put("/api/v2/config/slo_window_hours", json!({"value": 6}))
        .await
        .is(200);
    let slo = world.get("/api/v2/slo").await.is(200);
    assert_eq!(slo["window_hours"], 6);
    assert_eq!(slo["components"]["ingestor"]["state"], "warn");
}

#[tokio::test]
async fn the_status_is_shown_and_streamed() {
    let world = World::new().await;
    let status = world.get("/api/v2/status").await.is(200);
    for field in [
        "version", "engine", "queues", "workers", "circuit", "rates", "totals", "problems",
    ] {
        assert!(!status[field].is_null(), "{field}");
    }
    let mut answer = world
        .request("GET", "/api/v2/status/stream")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    while text.matches("data:").count() < 2 {
        let chunk = tokio::time::timeout(crate::support::PATIENCE, answer.chunk())
            .await
            .unwrap();
        text.push_str(std::str::from_utf8(&chunk.unwrap().unwrap()).unwrap());
    }
    assert!(text.contains("\"queues\""));
}
