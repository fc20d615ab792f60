//! Rules: writing, versions, the test bench, insights.

use serde_json::{Value, json};

use crate::support::{World, draft};

#[tokio::test]
async fn a_rule_lives_and_dies() {
    let world = World::new().await;
    let made = world.post("/api/v2/rules", draft("LINK-DOWN")).await;
    assert_eq!(made.header("etag"), "\"1\"");
    assert_eq!(made.header("location"), "/api/v2/rules/1");
    assert_eq!(
        made.is(201),
        json!({"id": 1, "message": "Rule created successfully"})
    );

    let shown = world.get("/api/v2/rules/1").await;
    assert_eq!(shown.header("etag"), "\"1\"");
    let shown = shown.is(200);
    assert_eq!(shown["match_string"], "LINK-DOWN");
    assert_eq!(shown["match_type"], "contains");
    assert_eq!(shown["priority"], 100);
    assert_eq!(shown["trap_oid"], Value::Null);
    assert_eq!(shown["version"], 1);

    let change =
        json!({"priority": 5, "match_string": null, "trap_oid": "1.3.6.1", "reason": "why not"});
    let changed = world.put("/api/v2/rules/1", change).await;
    assert_eq!(changed.header("etag"), "\"2\"");
    assert_eq!(changed.is(200)["message"], "Rule updated successfully");
    let shown = world.get("/api/v2/rules/1").await.is(200);
    assert_eq!(
        (
            &shown["priority"],
            &shown["match_string"],
            &shown["trap_oid"],
            &shown["team_assignment"]
        ),
        (&json!(5), &Value::Null, &json!("1.3.6.1"), &json!("Net"))
    );

    let gone = world
        .send(
            world
                .request("DELETE", "/api/v2/rules/1")
                .json(&json!({"reason": "old"})),
        )
        .await;
    assert_eq!(gone.is(200)["message"], "Rule deleted successfully");
    world.delete("/api/v2/rules/1").await.problem(404);
    assert!(world.get("/api/v2/rules/1").await.is(200)["deleted_at"].is_string());
    assert_eq!(world.get("/api/v2/rules").await.is(200)["rules"], json!([]));

    let audit = world
        .get("/api/v2/config-audit?table_name=alert_rules")
        .await
        .is(200);
    let rows: Vec<_> = audit["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                row["operation"].as_str().unwrap(),
                row["reason"].as_str(),
                row["changed_by"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            ("DELETE", Some("old"), "WEBUI_API_KEY"),
            ("UPDATE", Some("why not"), "WEBUI_API_KEY"),
            ("CREATE", None, "WEBUI_API_KEY")
        ]
    );
}

#[tokio::test]
async fn whoever_read_an_old_version_changes_nothing() {
    let world = World::new().await;
    let id = world.rule("a").await;
    let path = format!("/api/v2/rules/{id}");
    let with = |method: &str, tag: &str| world.request(method, &path).header("if-match", tag);
    world
        .send(with("PUT", "\"1\"").json(&json!({"priority": 1})))
        .await
        .is(200);
    let fields = world
        .send(with("PUT", "\"1\"").json(&json!({"priority": 2})))
        .await
        .problem(412);
    assert!(fields.is_empty());
    world.send(with("DELETE", "\"1\"")).await.problem(412);
    for bad in ["1", "\"x\"", "W/\"2\"", "\"2"] {
        let fields = world
            .send(with("PUT", bad).json(&json!({"priority": 2})))
            .await
            .problem(400);
        assert_eq!(fields, ["If-Match"], "{bad}");
    }
    assert_eq!(world.get(&path).await.is(200)["priority"], 1);
    let same = world
        .send(world.request("GET", &path).header("if-none-match", "\"2\""))
        .await;
    assert_eq!((same.status.as_u16(), same.text.as_str()), (304, ""));
    world
        .send(with("PUT", "*").json(&json!({"priority": 3})))
        .await
        .is(200);
    world.send(with("DELETE", "\"3\"")).await.is(200);
}

#[tokio::test]
async fn what_is_wrong_is_named_with_its_field() {
    let world = World::new().await;
    world.rule("there").await;
    let cases = [
        (
            json!({}),
            vec!["prod_handling", "dev_handling", "team_assignment"],
        ),
        (
            json!({"match_string": "a", "prod_handling": "Page_only"}),
            vec!["dev_handling", "team_assignment"],
        ),
        (draft(""), vec!["match_string"]),
        (draft(&"x".repeat(256)), vec!["match_string"]),
        (with("priority", json!("high")), vec!["priority"]),
        (with("priority", json!(1e300)), vec!["priority"]),
        (with("syslog_severity", json!(9)), vec!["syslog_severity"]),
        (with("prod_handling", json!("Shout")), vec!["prod_handling"]),
        (with("match_type", json!("glob")), vec!["match_type"]),
        (with("colour", json!("red")), vec!["colour"]),
        (with("is_active", json!("yes")), vec!["is_active"]),
        (with("reason", json!(5)), vec!["reason"]),
        (with("reason", json!("x".repeat(1001))), vec!["reason"]),
        (with("trap_oid", json!("1.x")), vec!["trap_oid"]),
        (with("match_string", json!("a\0b")), vec!["match_string"]),
        (json!([]), vec!["body"]),
        (json!("text"), vec!["body"]),
    ];
    for (body, expected) in cases {
        let fields = world.post("/api/v2/rules", body.clone()).await.problem(400);
        assert_eq!(fields, expected, "{body}");
        if !body.is_object() || body.as_object().unwrap().len() < 3 {
            continue;
        }
        let fields = world
            .put("/api/v2/rules/1", body.clone())
            .await
            .problem(400);
        assert_eq!(fields, expected, "changed: {body}");
    }
    world.put("/api/v2/rules/1", json!({})).await.problem(400);
    world
        .put("/api/v2/rules/1", json!({"reason": "only"}))
        .await
        .problem(400);
    world
        .put("/api/v2/rules/99", json!({"priority": 1}))
        .await
        .problem(404);
    let mut regex = draft("a(b");
    regex["match_type"] = "regex".into();
    let wrong = world.post("/api/v2/rules", regex).await.is(400);
    assert_eq!(wrong["errors"][0]["field"], "match_string");
    assert_eq!(wrong["errors"][0]["position"], 1);
    assert_eq!(world.get("/api/v2/rules").await.is(200)["total"], 1);
}

fn with(field: &str, value: Value) -> Value {
    let mut draft = draft("a");
    draft[field] = value;
    draft
}

#[tokio::test]
async fn rules_are_filtered_and_paged() {
    let world = World::new().await;
    for (index, team) in ["Net", "Sys", "Net"].into_iter().enumerate() {
        let mut rule = draft(&format!("Text {index}"));
        rule["team_assignment"] = team.into();
        rule["priority"] = json!(10 - index);
        rule["is_active"] = json!(index != 0);
        world.post("/api/v2/rules", rule).await.is(201);
    }
    for (query, expected) in [
        ("", vec![3, 2, 1]),
        ("?team=Net", vec![3, 1]),
        ("?q=TEXT%201", vec![2]),
        ("?active=false", vec![1]),
        ("?handling=ignore&limit=1&offset=1", vec![2]),
        ("?mode=observe", vec![]),
    ] {
        let list = world.get(&format!("/api/v2/rules{query}")).await.is(200);
        let ids: Vec<_> = list["rules"]
            .as_array()
            .unwrap()
            .iter()
            .map(|rule| rule["id"].as_i64().unwrap())
            .collect();
        assert_eq!(ids, expected, "{query}");
    }
    assert_eq!(
        world.get("/api/v2/rules?limit=0").await.problem(400),
        ["limit"]
    );
    assert_eq!(
        world.get("/api/v2/rules?active=maybe").await.problem(400),
        ["active"]
    );
}

#[tokio::test]
async fn a_regular_expression_is_tried() {
    let world = World::new().await;
    let test = json!({"pattern": r"port (\d+)(x)?", "message": "PORT 42 down"});
    let found = world.post("/api/v2/test-regex", test.clone()).await.is(200);
    assert_eq!(
        (&found["match"], &found["groups"]),
        (&json!(true), &json!(["42", null]))
    );
    assert_eq!(
        found["found"]["text"]["span"],
        json!({"start": 0, "end": 7})
    );
    let older = world.post("/api/v1/test-regex", test).await.is(200);
    assert_eq!(older, json!({"match": true, "groups": ["42", null]}));
    let none = json!({"pattern": "x", "message": "y"});
    assert_eq!(
        world.post("/api/v1/test-regex", none).await.is(200),
        json!({"match": false, "groups": []})
    );
    let bad = world
        .post(
            "/api/v2/test-regex",
            json!({"pattern": "a(", "message": ""}),
        )
        .await
        .is(400);
    assert_eq!(
        (&bad["errors"][0]["field"], &bad["errors"][0]["position"]),
        (&json!("pattern"), &json!(1))
    );
    for pattern in ["(?=a)", "(a{1000}){1000}{1000}", &"(".repeat(200), ""] {
        let body = json!({"pattern": pattern, "message": "a"});
        assert_eq!(
            world.post("/api/v2/test-regex", body).await.problem(400),
            ["pattern"],
            "{pattern}"
        );
    }
    let long = json!({"pattern": "a", "message": "a".repeat(65_537)});
    assert_eq!(
        world.post("/api/v2/test-regex", long).await.problem(400),
        ["message"]
    );
    assert_eq!(
        world
            .post("/api/v2/test-regex", json!({"pattern": "a"}))
            .await
            .problem(400),
        ["message"]
    );
}

#[tokio::test]
async fn the_bench_says_what_a_draft_would_do() {
    let world = World::new().await;
    let id = world.rule("link").await;
    world
        .decide(&["link down", "link up", "fan failed"], |index, row| {
            row.matched_rule_id = (index < 2).then_some(1);
        })
        .await;
    let mut rule = draft("down");
    rule["priority"] = json!(1);
    let body = json!({
        "rule": rule, "recent": 100, "unhandled": true,
        "lines": ["<34>Oct 11 22:14:15 sw1 app: link down", "{\"hostname\":\"a\",\"message\":\"quiet\"}", "{no json"],
    });
    let result = world.post("/api/v2/rules/test", body).await.is(200);
    let lines = result["lines"].as_array().unwrap();
    assert_eq!(
        (&lines[0]["winner"], &lines[0]["winner_today"]),
        (&json!("draft"), &json!(id))
    );
    assert_eq!(lines[0]["event"]["hostname"], "sw1");
    assert_eq!(lines[0]["verdicts"][0]["verdict"], "won");
    assert_eq!(lines[0]["verdicts"][1]["verdict"], "would_match");
    assert!(lines[0]["verdicts"][1]["sentence"].is_string());
    assert_eq!(
        (&lines[1]["matched"], &lines[1]["winner"]),
        (&json!(false), &Value::Null)
    );
    assert!(lines[2]["error"].is_string() && lines[2]["event"].is_null());
    let recent = &result["recent"];
    assert_eq!(recent["looked_at"], 3);
    assert_eq!(
        (&recent["matched"], &recent["would_win"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(recent["takes_from"], json!({ id.to_string(): 1 }));
    assert_eq!(
        (&recent["alerts_at_peak_hour"], &recent["hosts"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(recent["exactness"], "exact");
    assert_eq!(result["unhandled"]["looked_at"], 0);
    assert_eq!(
        world.get("/api/v2/rules").await.is(200)["total"],
        1,
        "nothing is stored"
    );

    // The draft stands in place of the stored rule.
    let body = json!({"rule_id": id, "rule": draft("fan"), "lines": ["link down", "fan failed"]});
    let result = world.post("/api/v2/rules/test", body).await.is(200);
    assert_eq!(result["lines"][0]["winner"], Value::Null);
    assert_eq!(result["lines"][1]["winner"], id);

    for (body, field) in [
        (json!({"rule": {"match_string": "a"}}), "rule.prod_handling"),
        (json!({"lines": vec!["x"; 201]}), "lines"),
        (json!({"lines": ["x".repeat(65_537)]}), "lines[0]"),
        (json!({"recent": 5001}), "recent"),
        (json!({"recent": -1}), "recent"),
        (json!({"lines": [1]}), "lines[0]"),
    ] {
        let fields = world.post("/api/v2/rules/test", body).await.problem(400);
        assert_eq!(fields[0], field);
    }
    world
        .post("/api/v2/rules/test", json!({"rule_id": 77}))
        .await
        .problem(404);
}

#[tokio::test]
async fn insights_show_what_never_decides() {
    let world = World::new().await;
    let first = world.rule("link").await;
    let second = world.rule("LINK down").await;
    let insights = world.get("/api/v2/rules/insights").await.is(200);
    let rules = insights["rules"].as_array().unwrap();
    assert_eq!(rules[0]["shadowed"], Value::Null);
    assert_eq!(rules[1]["rule_id"], second);
    assert_eq!(rules[1]["shadowed"]["by"], first);
    assert_eq!(rules[1]["shadowed"]["certainty"], "proved");
    assert_eq!(
        (&rules[0]["never_hit"], &rules[0]["hits_30d"]),
        (&json!(true), &json!(0))
    );
}
