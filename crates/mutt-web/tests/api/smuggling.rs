//! Requests that mean one thing to us and another to somebody else: headers within values, fields
//! named twice, paths that climb, texts without end.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{KEY, PATIENCE, World, draft};

/// Sends bytes as they are; gives the answer as it comes.
async fn raw(world: &World, request: &[u8]) -> String {
    let address = world.base.trim_start_matches("http://");
    let talk = async {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        // A refused request may be answered with a reset behind it.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    tokio::time::timeout(PATIENCE, talk).await.unwrap()
}

fn status(answer: &str) -> u16 {
    let status = answer.split(' ').nth(1).unwrap_or_default();
    status.parse().unwrap_or_else(|_| panic!("{answer}"))
}

#[tokio::test]
async fn a_correlation_id_cannot_carry_headers() {
    let world = World::new().await;
    for id in [
        &b"a b"[..],
        b"a\tb",
        b"caf\xc3\xa9",
        b"\xff\xfe",
        b"",
        &[b'x'; 129],
        &[b'x'; 4_000],
    ] {
        let value = reqwest::header::HeaderValue::from_bytes(id).unwrap();
        let request = world.request("POST", "/api/v2/dev-hosts");
        let request = request.header("x-correlation-id", value);
        let answer = world.send(request.json(&json!({ "hostname": "" }))).await;
        let given = answer.header("x-correlation-id").to_owned();
        assert!(given.parse::<uuid::Uuid>().is_ok(), "{id:?} gave {given}");
        assert_eq!(answer.is(400)["correlation_id"], given);
    }
    for id in ["a\r\nSet-Cookie: x=1", "a\nSet-Cookie: x=1", "a\rb", "a\0b"] {
        let request = format!(
            "GET /api/v2/me HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-api-key: {KEY}\r\n\
             x-correlation-id: {id}\r\n\r\n"
        );
        let answer = raw(&world, request.as_bytes()).await;
        let head = answer.split("\r\n\r\n").next().unwrap().to_lowercase();
        assert!(!head.contains("set-cookie"), "{id:?}: {answer}");
        assert!(!head.contains(&id.to_lowercase()), "{id:?}: {answer}");
    }
    // What is visible comes back as it is, and is one value.
    let odd = r#"";x=y,<script>{{7*7}}'"#;
    let request = world.request("GET", "/api/v2/me");
    let answer = world.send(request.header("x-correlation-id", odd)).await;
    assert_eq!(answer.header("x-correlation-id"), odd);
    assert_eq!(answer.headers.get_all("x-correlation-id").iter().count(), 1);
}

#[tokio::test]
async fn what_somebody_named_does_not_get_into_headers() {
    let world = World::new().await;
    for name in [
        "a\"; filename=\"evil.exe",
        "a\r\nSet-Cookie: x=1",
        "../../etc/passwd",
        "a;b",
    ] {
        let escaped: String =
            percent_encoding::percent_encode(name.as_bytes(), percent_encoding::NON_ALPHANUMERIC)
                .to_string();
        for path in [
            format!("/api/v2/audit-logs/export?format=csv&hostname={escaped}"),
            format!("/api/v2/audit-logs/export?correlation_id={escaped}"),
            format!("/api/v2/config/{escaped}"),
            format!("/api/v2/dlq/{escaped}/1"),
            format!("/api/v1/rules/{escaped}"),
        ] {
            let answer = world.get(&path).await;
            assert!(answer.status.as_u16() < 500, "{path}: {answer:?}");
            for (header, value) in &answer.headers {
                let value = String::from_utf8_lossy(value.as_bytes());
                // The road to the same thing in v2 is as escaped as the one that was asked.
                assert!(
                    !value.contains("evil.exe\"") && !value.contains("passwd") || header == "link",
                    "{path}: {header}: {value}"
                );
                assert!(!value.contains(['\r', '\n', '<']) || header == "link");
            }
            assert_eq!(answer.header("set-cookie"), "");
        }
    }
    let made = world
        .post("/api/v2/rules", draft("a\r\nLocation: //evil"))
        .await;
    assert!(made.header("location").starts_with("/api/v2/rules/"));
    assert_eq!(made.headers.get_all("location").iter().count(), 1);
}

#[tokio::test]
async fn no_other_site_is_let_in() {
    let world = World::new().await;
    for (method, path) in [
        ("GET", "/api/v2/rules"),
        ("OPTIONS", "/api/v2/rules"),
        ("GET", "/api/v1/rules"),
        ("GET", "/api/v2/none"),
        ("POST", "/api/v2/session"),
    ] {
        let request = world.request(method, path);
        let request = request
            .header("origin", "http://evil.example")
            .header("access-control-request-method", "PUT");
        let answer = world.send(request).await;
        for header in answer.headers.keys() {
            let allows = header.as_str().starts_with("access-control-");
            assert!(!allows, "{method} {path}: {header}");
        }
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("cross-origin-resource-policy", "same-origin"),
            (
                "content-security-policy",
                "default-src 'none'; frame-ancestors 'none'",
            ),
        ] {
            assert_eq!(answer.header(name), value, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_field_that_is_named_twice_is_refused() {
    let world = World::new().await;
    let id = world.rule("once").await;
    for (method, path, body, field) in [
        (
            "PUT",
            format!("/api/v2/rules/{id}"),
            r#"{"priority":1,"priority":2}"#,
            "priority",
        ),
        (
            "PUT",
            format!("/api/v1/rules/{id}"),
            r#"{"priority":1,"\u0070riority":2}"#,
            "priority",
        ),
        (
            "POST",
            "/api/v2/rules/test".to_owned(),
            r#"{"rule":{"match_string":"a","match_string":"b"},"lines":[]}"#,
            "rule.match_string",
        ),
        (
            "POST",
            "/api/v2/session".to_owned(),
            r#"{"key":"a","key":"the first key"}"#,
            "key",
        ),
        (
            "PUT",
            "/api/v2/config/moog_rate_limit".to_owned(),
            r#"{"value":1,"reason":"x","value":75}"#,
            "value",
        ),
        (
            "POST",
            "/api/v2/teams/import".to_owned(),
            r#"[{"hostname":"a","team_assignment":"x","hostname":"b"}]"#,
            "[0].hostname",
        ),
    ] {
        let request = world.request(method, &path);
        let request = request.header("content-type", "application/json");
        let answer = world.send(request.body(body)).await;
        if path.starts_with("/api/v1") {
            let error = answer.is(400)["error"].as_str().unwrap().to_owned();
            assert!(error.contains("duplicate field"), "{error}");
        } else {
            assert_eq!(answer.problem(400), [field], "{path} {body}");
        }
    }
    let rule = world.get(&format!("/api/v2/rules/{id}")).await.is(200);
    assert_eq!(rule["version"], 1, "{rule}");
    // Two objects may well name the same thing.
    let body = r#"[{"hostname":"a","team_assignment":"x"},{"hostname":"b","team_assignment":"x"}]"#;
    let request = world.request("POST", "/api/v2/teams/import");
    let request = request.header("content-type", "application/json");
    world.send(request.body(body)).await.is(200);
    // A filter that is given twice is neither.
    let answer = world.get("/api/v2/rules?limit=1&limit=2").await;
    answer.problem(400);
}

#[tokio::test]
async fn depth_and_breadth_are_bounded() {
    let world = World::new().await;
    let deep =
        |open: &str, close: &str| format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
    let wide = {
        let fields: Vec<_> = (0..100_000).map(|n| format!("\"f{n}\":0")).collect();
        format!("{{{}}}", fields.join(","))
    };
    let number = format!("{{\"priority\":{}}}", "9".repeat(1_000_000));
    for body in [
        deep("[", "]"),
        deep("{\"a\":", "}"),
        wide,
        number,
        "{\"priority\":1e999999}".to_owned(),
        "{\"match_string\":\"\\ud800\"}".to_owned(),
        "\"".repeat(1_000_000),
    ] {
        for (method, path) in [
            ("POST", "/api/v2/rules"),
            ("POST", "/api/v2/rules/test"),
            ("POST", "/api/v2/session"),
            ("POST", "/api/v1/rules"),
            ("PUT", "/api/v2/config/log_level"),
            ("POST", "/api/v2/dev-hosts/import"),
        ] {
            let request = world.request(method, path);
            let request = request.header("content-type", "application/json");
            let answer = world.send(request.body(body.clone())).await;
            let start = &body[..body.len().min(60)];
            // Whoever is not known yet may say 4 KiB.
            let too_large = path == "/api/v2/session" && body.len() > 4096;
            let refused = if too_large { 413 } else { 400 };
            assert_eq!(answer.status, refused, "{path} {start}: {answer:?}");
            // An answer does not repeat what nobody wants to read.
            assert!(
                answer.text.len() < 20_000,
                "{path} {start}: {}",
                answer.text.len()
            );
        }
    }
    assert_eq!(world.get("/api/v2/rules").await.is(200)["total"], 0);
}

/// Every text of every body, without end and with bytes that a store might trip over.
#[tokio::test]
async fn texts_without_end_are_refused_and_odd_ones_are_texts() {
    let world = World::new().await;
    let long = "x".repeat(200_000);
    let rule = |field: &str, value: &str| {
        let mut rule = draft("a");
        rule[field] = value.into();
        rule
    };
    let mut refused: Vec<(&str, String, Value)> = Vec::new();
    for field in ["match_string", "trap_oid", "team_assignment", "description"] {
        refused.push(("POST", "/api/v2/rules".to_owned(), rule(field, &long)));
    }
    for (path, body) in [
        ("/api/v2/dev-hosts", json!({ "hostname": long })),
        (
            "/api/v2/teams",
            json!({ "hostname": "a", "team_assignment": long }),
        ),
        (
            "/api/v2/teams",
            json!({ "hostname": long, "team_assignment": "a" }),
        ),
        ("/api/v2/keys", json!({ "name": long, "role": "viewer" })),
        ("/api/v2/keys", json!({ "name": "a", "role": long })),
        (
            "/api/v2/keys",
            json!({ "name": "a", "role": "viewer", "reason": long }),
        ),
        (
            "/api/v2/test-regex",
            json!({ "pattern": long.repeat(2), "message": "a" }),
        ),
        (
            "/api/v2/dlq/moog/discard",
            json!({ "all": true, "reason": long }),
        ),
    ] {
        refused.push(("POST", path.to_owned(), body));
    }
    for key in ["log_level", "moog_rate_limit"] {
        refused.push((
            "PUT",
            format!("/api/v2/config/{key}"),
            json!({ "value": long }),
        ));
    }
    for (method, path, body) in refused {
        let answer = world.send(world.request(method, &path).json(&body)).await;
        assert_eq!(answer.status, 400, "{method} {path}: {answer:?}");
        assert!(
            answer.text.len() < 20_000,
            "{method} {path}: {}",
            answer.text.len()
        );
    }
    assert_eq!(world.get("/api/v2/rules").await.is(200)["total"], 0);
    assert_eq!(world.get("/api/v2/config-audit").await.is(200)["total"], 0);

    for text in [
        "a\u{0}b",
        "\u{feff}a",
        "a\u{202e}b",
        "\u{1b}[31ma",
        "a\r\nb",
    ] {
        for (path, body) in [
            ("/api/v2/rules", rule("description", text)),
            ("/api/v2/rules", rule("match_string", text)),
            ("/api/v2/dev-hosts", json!({ "hostname": text })),
            (
                "/api/v2/teams",
                json!({ "hostname": text, "team_assignment": text }),
            ),
            ("/api/v2/keys", json!({ "name": text, "role": "viewer" })),
            (
                "/api/v2/test-regex",
                json!({ "pattern": text, "message": text }),
            ),
        ] {
            let answer = world.post(path, body).await;
            assert!(answer.status.as_u16() < 500, "{path} {text:?}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn paths_do_not_climb() {
    let world = World::new().await;
    let viewer = world.post("/api/v2/keys", json!({ "name": "v", "role": "viewer" }));
    let viewer = viewer.await.is(201)["key"].as_str().unwrap().to_owned();
    for path in [
        "/api/v2/rules/../keys",
        "/api/v2/rules/%2e%2e/keys",
        "/api/v2/./keys",
        "/api/v2//keys",
        "/api//v2/keys",
        "/API/v2/keys",
        "/api/v2/keys/",
        "/api/v2/keys;x=1",
        "/api/v2/keys%00",
        "/api/v2%2fkeys",
        "/api/v1/../v2/keys",
        "/api/v2\\keys",
        "/api/v2/session/../keys",
        "/api/v2/version/../keys",
        "/api/v2/openapi.json/../keys",
    ] {
        for key in ["", &viewer] {
            let request = format!(
                "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-api-key: {key}\r\n\r\n"
            );
            let answer = raw(&world, request.as_bytes()).await;
            assert!(
                [400, 401, 404].contains(&status(&answer)),
                "{path} {key}: {answer}"
            );
            assert!(!answer.contains("created_at"), "{path}: {answer}");
        }
    }
    // The whole address instead of a path means the same path, and no other host.
    let request = format!(
        "GET http://evil.example/api/v2/me HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         x-api-key: {viewer}\r\n\r\n"
    );
    assert_eq!(status(&raw(&world, request.as_bytes()).await), 200);
}

/// Where one request ends and the next begins is said once or not at all.
#[tokio::test]
async fn requests_do_not_hide_in_each_other() {
    let world = World::new().await;
    let hidden = format!("DELETE /api/v2/keys/v HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\n\r\n");
    let body = json!({ "name": "v", "role": "viewer" });
    world.post("/api/v2/keys", body).await.is(201);
    for framing in [
        "content-length: 0\r\ncontent-length: 5\r\n",
        "content-length: 5, 6\r\n",
        "content-length: +5\r\n",
        "content-length: -1\r\n",
        "content-length: 0x5\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding: identity\r\n",
        "content-length : 5\r\n",
    ] {
        let request = format!(
            "POST /api/v2/cache/reload HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             x-api-key: wrong\r\n{framing}\r\n0\r\n\r\n{hidden}"
        );
        let answer = raw(&world, request.as_bytes()).await;
        assert_eq!(
            answer.matches("HTTP/1.1 ").count(),
            1,
            "{framing}: {answer}"
        );
        assert!((400..500).contains(&status(&answer)), "{framing}: {answer}");
    }
    let keys = world.get("/api/v2/keys").await.is(200);
    assert_eq!(keys["keys"][0]["revoked_at"], Value::Null);
    // Nobody waits for the rest of a request for ever; others are served meanwhile.
    let address = world.base.trim_start_matches("http://");
    let mut slow = tokio::net::TcpStream::connect(address).await.unwrap();
    slow.write_all(b"POST /api/v2/session HTTP/1.1\r\nhost: x\r\n")
        .await
        .unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(20), world.get("/api/v2/me")).await;
    answer.unwrap().is(200);
}
