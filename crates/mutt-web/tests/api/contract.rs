//! What holds for every endpoint: keys, roles, versions, errors, the shapes of 2.5.

use reqwest::header::{HeaderMap, HeaderName};
use serde_json::{Value, json};

use crate::support::{KEY, World, draft};

fn operations() -> Vec<(String, String)> {
    let document: Value = serde_json::from_str(&mutt_web::openapi()).unwrap();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            if ["get", "put", "post", "delete"].contains(&method.as_str()) {
                let path = path
                    .replace("{id}", "1")
                    .replace("{hostname}", "lab")
                    .replace("{key}", "log_level")
                    .replace("{queue}", "moog")
                    .replace("{name}", "noc")
                    .replace("{event_id}", "0193f0c0-0000-7000-8000-000000000000");
                all.push((method.to_uppercase(), path));
            }
        }
    }
    assert!(all.len() > 60, "{all:?}");
    all
}

fn is_open(path: &str) -> bool {
    path.ends_with("/version") || path.ends_with("/openapi.json")
}

/// Of these a key is no part; `sessions.rs` looks at them.
fn is_session(path: &str) -> bool {
    path.ends_with("/session")
}

#[tokio::test]
async fn nothing_but_versions_is_shown_without_a_key() {
    let world = World::new().await;
    for (method, path) in operations() {
        if is_session(&path) {
            continue;
        }
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let answer = world
            .send(
                world
                    .http
                    .request(method.clone(), format!("{}{path}", world.base)),
            )
            .await;
        if is_open(&path) {
            answer.is(200);
            continue;
        }
        assert_eq!(answer.status, 401, "{method} {path}");
        let json = answer.json();
        if path.starts_with("/api/v1/") {
            assert_eq!(json["error"], "Unauthorized", "{path}");
            assert!(json["correlation_id"].is_string(), "{path}");
        } else {
            assert_eq!(json["title"], "Unauthorized", "{path}");
        }
    }
}

#[tokio::test]
async fn a_role_does_what_it_may() {
    let world = World::new().await;
    let mut keys = Vec::new();
    for role in ["viewer", "operator", "admin"] {
        let body = json!({"name": role, "role": role});
        let made = world.post("/api/v2/keys", body).await.is(201);
        assert_eq!(made["role"], role);
        keys.push(made["key"].as_str().unwrap().to_owned());
    }
    let allowed = |method: &str, path: &str| -> usize {
        let path = path
            .trim_start_matches("/api/v1")
            .trim_start_matches("/api/v2");
        match (method, path) {
            (_, "/keys" | "/keys/noc" | "/session/links") => 2,
            ("GET", _) | ("POST", "/test-regex" | "/rules/test") => 0,
            (_, path) if path.starts_with("/config") => 2,
            _ => 1,
        }
    };
    for (method, path) in operations() {
        if is_open(&path) || is_session(&path) || path.ends_with("/stream") {
            continue;
        }
        for (rank, key) in keys.iter().enumerate() {
            let answer = world.with_key(key, &method, &path, json!([])).await;
            let may = rank >= allowed(&method, &path);
            assert_eq!(
                answer.status != 403,
                may,
                "{rank} {method} {path}: {answer:?}"
            );
            assert!(answer.status.as_u16() < 500, "{method} {path}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn keys_are_shown_once_and_revoked() {
    let world = World::new().await;
    let body = json!({"name": "noc", "role": "operator", "reason": "night shift"});
    let made = world.post("/api/v2/keys", body.clone()).await.is(201);
    let key = made["key"].as_str().unwrap();
    assert!(key.starts_with("mutt_") && key.len() == 69, "{key}");
    let me = world
        .with_key(key, "GET", "/api/v2/me", Value::Null)
        .await
        .is(200);
    assert_eq!(me, json!({"name": "noc", "role": "operator"}));
    let change = world
        .with_key(key, "POST", "/api/v2/dev-hosts", json!({"hostname": "lab"}))
        .await;
    change.is(201);
    let audit = world
        .get("/api/v2/config-audit?table_name=development_hosts")
        .await
        .is(200);
    assert_eq!(audit["changes"][0]["changed_by"], "noc");

    world.post("/api/v2/keys", body).await.problem(409);
    let list = world
        .until("/api/v2/keys", |list| {
            list["keys"][0]["last_used_at"].is_string()
        })
        .await;
    let text = list.to_string();
    assert!(!text.contains(key) && !text.contains("hash"), "{text}");
    assert_eq!(
        (&list["keys"][0]["name"], &list["keys"][0]["revoked_at"]),
        (&json!("noc"), &Value::Null)
    );

    world.delete("/api/v2/keys/noc").await.is(200);
    world
        .with_key(key, "GET", "/api/v2/me", Value::Null)
        .await
        .problem(401);
    world.delete("/api/v2/keys/noc").await.problem(404);
    for (body, field) in [
        (json!({"name": "", "role": "viewer"}), "name"),
        (json!({"name": "a\nb", "role": "viewer"}), "name"),
        (json!({"name": "WEBUI_API_KEY", "role": "viewer"}), "name"),
        (json!({"name": "x", "role": "root"}), "role"),
        (json!({"name": "x"}), "role"),
        (json!({"name": "x", "role": "viewer", "hash": "00"}), "hash"),
    ] {
        assert_eq!(world.post("/api/v2/keys", body).await.problem(400), [field]);
    }
}

#[tokio::test]
async fn whoever_guesses_is_slowed_down() {
    let world = World::new().await;
    let mut last = None;
    for number in 0..40 {
        let answer = world
            .with_key(
                &format!("guess {number}"),
                "GET",
                "/api/v2/rules",
                Value::Null,
            )
            .await;
        if answer.status == 429 {
            last = Some(answer);
            break;
        }
        assert_eq!(answer.status, 401);
    }
    let slowed = last.expect("guessing is slowed down");
    let wait: u64 = slowed.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait));
    slowed.problem(429);
}

#[tokio::test]
async fn versions_are_told_and_asked_for() {
    let world = World::new().await;
    let answer = world.get("/api/v2/rules").await;
    assert_eq!(answer.header("x-api-version"), "2.5");
    assert_eq!(answer.header("x-api-supported-versions"), "2.5, 2.0, 1.0");
    assert_eq!(
        (answer.header("x-api-deprecated"), answer.header("sunset")),
        ("", "")
    );
    for path in ["/api/v1/rules", "/api/v1/nowhere", "/api/v1/version"] {
        let answer = world.get(path).await;
        assert_eq!(answer.header("x-api-deprecated"), "true", "{path}");
        assert!(answer.header("deprecation").starts_with('@'));
        assert!(answer.header("sunset").ends_with("GMT"));
        let link = format!("<{}>; rel=\"successor-version\"", path.replace("v1", "v2"));
        assert_eq!(answer.header("link"), link);
    }
    assert_eq!(
        world.get("/api/v1/audit").await.header("link"),
        "</api/v2/config-audit>; rel=\"successor-version\""
    );
    let asked = world
        .send(
            world
                .request("GET", "/api/v2/rules")
                .header("accept-version", "2.0"),
        )
        .await;
    assert_eq!(asked.header("x-api-version"), "2.0");
    assert_eq!(
        world
            .get("/api/v1/rules?api_version=1.0")
            .await
            .header("x-api-version"),
        "1.0"
    );
    assert_eq!(
        world
            .get("/api/v1/rules?api_version=7")
            .await
            .header("x-api-version"),
        "2.5"
    );
    let version = world.get("/api/v1/version").await.is(200);
    assert_eq!(version["current_version"], "2.5");
    assert_eq!(version["supported_versions"], json!(["2.5", "2.0", "1.0"]));
    assert!(version["version_history"]["2.5"]["changes"].is_array());
}

#[tokio::test]
async fn the_key_may_stand_in_the_query_of_v1_reads_only() {
    let world = World::new().await;
    let key = KEY.replace(' ', "%20");
    let get = |path: String| world.http.get(format!("{}{path}", world.base));
    let answer = world
        .send(get(format!("/api/v1/rules?api_key={key}")))
        .await;
    assert!(answer.header("warning").contains("deprecated"));
    answer.is(200);
    world
        .send(get(format!("/api/v2/rules?api_key={key}")))
        .await
        .problem(401);
    let post = world
        .http
        .post(format!("{}/api/v1/rules?api_key={key}", world.base));
    assert_eq!(world.send(post.json(&draft("a"))).await.status, 401);
}

#[tokio::test]
async fn correlation_ids_come_back() {
    let world = World::new().await;
    let with = |id: &'static str| {
        world
            .request("GET", "/api/v2/rules/9")
            .header("x-correlation-id", id)
    };
    let answer = world.send(with("abc-123")).await;
    assert_eq!(answer.header("x-correlation-id"), "abc-123");
    assert_eq!(answer.json()["correlation_id"], "abc-123");
    for bad in ["", "a b", "\"><script>"] {
        let answer = world.send(with(bad)).await;
        let id = answer.header("x-correlation-id");
        assert!(bad == "\"><script>" || id.len() == 36, "{id}");
    }
    let long = "x".repeat(200);
    let answer = world
        .send(
            world
                .request("GET", "/api/v2/rules")
                .header("x-correlation-id", &long),
        )
        .await;
    assert_eq!(answer.header("x-correlation-id").len(), 36);
}

#[tokio::test]
async fn what_is_not_there_is_said_in_the_versions_shape() {
    let world = World::new().await;
    world.get("/api/v2/nowhere").await.problem(404);
    assert!(world.get("/api/v1/nowhere").await.is(404)["error"].is_string());
    let answer = world.send(world.request("PATCH", "/api/v2/rules")).await;
    assert!(answer.header("allow").contains("POST"), "{answer:?}");
    answer.problem(405);
    let answer = world.send(world.request("PATCH", "/api/v1/rules")).await;
    assert!(answer.is(405)["error"].is_string());
    world.get("/api/v2/rules/abc").await.problem(404);
}

/// The shapes of 2.5, word for word.
#[tokio::test]
async fn v1_has_the_shapes_of_2_5() {
    let world = World::new().await;
    let post = |path: &'static str, body: Value| world.post(path, body);
    let error = |text: &str| json!({ "error": text });

    let answer = post("/api/v1/rules", json!({"match_string": "a"}))
        .await
        .is(400);
    assert_eq!(
        answer,
        error("Missing required fields: ['prod_handling', 'dev_handling', 'team_assignment']")
    );
    let mut empty = draft("a");
    empty.as_object_mut().unwrap().remove("match_string");
    let answer = post("/api/v1/rules", empty).await.is(400);
    assert_eq!(answer, error("Either match_string or trap_oid is required"));
    assert_eq!(
        world.get("/api/v1/rules").await.is(200),
        json!({"rules": []})
    );
    let made = post("/api/v1/rules", draft("a")).await;
    assert_eq!(made.header("location"), "/api/v1/rules/1");
    assert_eq!(
        made.is(201),
        json!({"id": 1, "message": "Rule created successfully"})
    );
    let rule = json!({
        "id": 1, "match_string": "a", "trap_oid": null, "syslog_severity": null,
        "match_type": "contains", "priority": 100, "prod_handling": "Page_only",
        "dev_handling": "Ignore", "team_assignment": "Net", "is_active": true,
    });
    assert_eq!(world.get("/api/v1/rules/1").await.is(200), rule);
    assert_eq!(
        world.get("/api/v1/rules").await.is(200),
        json!({"rules": [rule]})
    );
    assert_eq!(
        world.put("/api/v1/rules/1", json!({})).await.is(400),
        error("No fields to update")
    );
    let done = world
        .put("/api/v1/rules/1", json!({"priority": 1}))
        .await
        .is(200);
    assert_eq!(done, json!({"message": "Rule updated successfully"}));
    let done = world.delete("/api/v1/rules/1").await.is(200);
    assert_eq!(done, json!({"message": "Rule deleted successfully"}));
    for answer in [
        world.get("/api/v1/rules/1").await,
        world.put("/api/v1/rules/1", json!({"priority": 1})).await,
        world.delete("/api/v1/rules/1").await,
    ] {
        assert_eq!(answer.is(404), error("Rule not found"));
    }

    assert_eq!(
        post("/api/v1/dev-hosts", json!({})).await.is(400),
        error("hostname is required")
    );
    let host = json!({"hostname": "lab"});
    let done = post("/api/v1/dev-hosts", host.clone()).await.is(201);
    assert_eq!(done, json!({"message": "Dev host added successfully"}));
    assert_eq!(
        post("/api/v1/dev-hosts", host.clone()).await.is(409),
        error("Hostname already exists")
    );
    assert_eq!(
        world.get("/api/v1/dev-hosts").await.is(200),
        json!({"hosts": [host]})
    );
    let done = world.delete("/api/v1/dev-hosts/LAB").await.is(200);
    assert_eq!(done, json!({"message": "Dev host deleted successfully"}));
    assert_eq!(
        world.delete("/api/v1/dev-hosts/lab").await.is(404),
        error("Hostname not found")
    );

    let team = json!({"hostname": "fw1", "team_assignment": "Net"});
    for body in [
        json!({}),
        json!({"hostname": "a"}),
        json!({"team_assignment": "a"}),
    ] {
        let answer = post("/api/v1/teams", body).await.is(400);
        assert_eq!(answer, error("hostname and team_assignment are required"));
    }
    let done = post("/api/v1/teams", team.clone()).await.is(201);
    assert_eq!(done, json!({"message": "Team mapping added successfully"}));
    let again = post("/api/v1/teams", team.clone()).await.is(409);
    assert_eq!(again, error("Hostname already has a team assignment"));
    assert_eq!(
        world.get("/api/v1/teams").await.is(200),
        json!({"teams": [team]})
    );
    assert_eq!(
        world.put("/api/v1/teams/fw1", json!({})).await.is(400),
        error("team_assignment is required")
    );
    let other = json!({"team_assignment": "Sys"});
    assert_eq!(
        world.put("/api/v1/teams/fw2", other.clone()).await.is(404),
        error("Hostname not found")
    );
    let done = world.put("/api/v1/teams/fw1", other).await.is(200);
    assert_eq!(
        done,
        json!({"message": "Team mapping updated successfully"})
    );
    let done = world.delete("/api/v1/teams/fw1").await.is(200);
    assert_eq!(
        done,
        json!({"message": "Team mapping deleted successfully"})
    );
    assert_eq!(
        world.delete("/api/v1/teams/fw1").await.is(404),
        error("Hostname not found")
    );

    let config = world.get("/api/v1/config").await.is(200);
    assert_eq!(
        config.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["config"]
    );
    assert_eq!(config["config"]["log_level"], "info");
    let answer = world
        .put("/api/v1/config/log_level", json!({}))
        .await
        .is(400);
    assert_eq!(answer, error("Missing 'value' in request body"));
    let done = world
        .put("/api/v1/config/log_level", json!({"value": "debug"}))
        .await
        .is(200);
    assert_eq!(
        done,
        json!({"key": "log_level", "old_value": null, "new_value": "debug"})
    );
    assert_eq!(
        world.get("/api/v1/config").await.is(200)["config"]["log_level"],
        "debug"
    );
    let history = world.get("/api/v1/config/history").await.is(200);
    assert_eq!(
        history["pagination"],
        json!({"page": 1, "limit": 50, "total": 1, "pages": 1})
    );
    assert_eq!(
        history["history"][0]["changed_at"],
        history["history"][0]["created_at"]
    );

    let audit = world.get("/api/v1/audit").await.is(200);
    assert_eq!(
        audit.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["logs", "pagination"]
    );
    let audit = world.get("/api/v1/config-audit?limit=2").await.is(200);
    assert_eq!(audit["changes"].as_array().unwrap().len(), 2);
    assert_eq!(
        (
            &audit["page"],
            &audit["page_size"],
            &audit["total"],
            &audit["total_pages"]
        ),
        (&json!(1), &json!(2), &json!(9), &json!(5))
    );
    assert_eq!(
        audit["pagination"],
        json!({"page": 1, "limit": 2, "total": 9, "pages": 5})
    );

    let slo = world.get("/api/v1/slo").await.is(200);
    let nothing = json!({"target": 0.995, "availability": null, "error_budget_remaining": null, "burn_rate": null, "state": "no_data", "window_hours": 24});
    assert_eq!(slo["components"]["ingestor"], nothing);
    for path in ["/api/v1/metrics", "/api/v1/metrics/current"] {
        let rates = world.get(path).await.is(200);
        assert_eq!(rates["summary"].as_object().unwrap().len(), 3);
        assert_eq!(rates["chart_24h"]["labels"].as_array().unwrap().len(), 24);
        assert_eq!(rates["chart_24h"]["data"].as_array().unwrap().len(), 24);
    }
    post("/api/v1/cache/reload", Value::Null).await.is(200);
}

#[tokio::test]
async fn large_answers_are_compressed() {
    let world = World::new().await;
    let answer = world
        .send(
            world
                .request("GET", "/api/v2/openapi.json")
                .header("accept-encoding", "gzip"),
        )
        .await;
    assert_eq!(answer.header("content-encoding"), "gzip");
    let plain = world.get("/api/v2/openapi.json").await;
    assert_eq!(plain.header("content-encoding"), "");
    assert!(
        plain.is(200)["openapi"]
            .as_str()
            .unwrap()
            .starts_with("3.1")
    );
}

#[tokio::test]
async fn answers_are_neither_kept_nor_guessed_at() {
    let world = World::new().await;
    let answer = world.get("/api/v2/rules").await;
    let has = |headers: &HeaderMap, name: &str, value: &str| {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        assert_eq!(headers[name], value);
    };
    has(&answer.headers, "cache-control", "no-store");
    has(&answer.headers, "x-content-type-options", "nosniff");
}
