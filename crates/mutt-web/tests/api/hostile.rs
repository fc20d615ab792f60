//! What nobody means well with: nothing of it is a 5xx, and nothing of it is stored.

use serde_json::{Value, json};

use crate::support::{KEY, World, draft};

const TEXTS: [&str; 12] = [
    "<script>alert(1)</script>",
    "'; DROP TABLE alert_rules; --",
    "../../../etc/passwd",
    "%00",
    "%FF%FE",
    "%0d%0aSet-Cookie:%20a=b",
    "\u{202e}reversed",
    "9223372036854775808",
    "-1",
    "NaN",
    "{{7*7}}",
    "🦀",
];

#[tokio::test]
async fn queries_and_paths_are_never_a_mistake_of_the_server() {
    let world = World::new().await;
    let document: Value = serde_json::from_str(&mutt_web::openapi()).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        let Some(operation) = item.get("get").filter(|_| !path.ends_with("/stream")) else {
            continue;
        };
        let parameters = operation["parameters"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let names = |place: &str| -> Vec<String> {
            let place = parameters
                .iter()
                .filter(|parameter| parameter["in"] == place);
            place
                .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
                .collect()
        };
        for text in TEXTS {
            let escaped: String = if text.starts_with('%') {
                text.to_owned()
            } else {
                percent_encoding::percent_encode(
                    text.as_bytes(),
                    percent_encoding::NON_ALPHANUMERIC,
                )
                .to_string()
            };
            let mut asked = path.clone();
            for name in names("path") {
                asked = asked.replace(&format!("{{{name}}}"), &escaped);
            }
            let answer = world.get(&asked).await;
            assert!(answer.status.as_u16() < 500, "{asked}: {answer:?}");
            assert_eq!(answer.header("set-cookie"), "");
            for name in names("query") {
                let asked = format!("{asked}?{name}={escaped}");
                let answer = world.get(&asked).await;
                assert!(answer.status.as_u16() < 500, "{asked}: {answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn bodies_are_never_a_mistake_of_the_server() {
    let world = World::new().await;
    let document: Value = serde_json::from_str(&mutt_web::openapi()).unwrap();
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    let bodies: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"null".to_vec(),
        b"{".to_vec(),
        b"[]".to_vec(),
        b"{}".to_vec(),
        b"\xff\xfe".to_vec(),
        b"{\"a\":1}{\"b\":2}".to_vec(),
        b"{\"reason\":null,\"value\":{\"a\":[]},\"hostname\":{},\"ids\":{},\"rule\":[],\"name\":1}"
            .to_vec(),
        b"{\"priority\":99999999999999999999}".to_vec(),
        deep.into_bytes(),
    ];
    for (path, item) in document["paths"].as_object().unwrap() {
        let path = path
            .replace("{id}", "1")
            .replace("{hostname}", "h")
            .replace("{key}", "log_level")
            .replace("{queue}", "moog")
            .replace("{name}", "n");
        for method in ["post", "put", "delete"] {
            if item.get(method).is_none() {
                continue;
            }
            for body in &bodies {
                let request = world.request(&method.to_uppercase(), &path);
                let request = request.header("content-type", "application/json");
                let answer = world.send(request.body(body.clone())).await;
                let text = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
                assert!(
                    answer.status.as_u16() < 500,
                    "{method} {path} {text}: {answer:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let world = World::new().await;
    let mut rule = draft("a");
    rule["description"] = "x".repeat(5_000_000).into();
    world.post("/api/v2/rules", rule).await.problem(413);
    let answer = world
        .post("/api/v1/rules", json!({"x": "x".repeat(5_000_000)}))
        .await;
    assert!(answer.is(413)["error"].is_string());
    let long = format!("/api/v2/rules?q={}", "x".repeat(20_000));
    let answer = world.get(&long).await;
    assert!(
        answer.status == 200 || (400..500).contains(&answer.status.as_u16()),
        "{answer:?}"
    );
}

#[tokio::test]
async fn hostile_text_comes_back_as_text() {
    let world = World::new().await;
    for text in TEXTS {
        let made = world.post("/api/v2/rules", draft(text)).await.is(201);
        let shown = world.get(&format!("/api/v2/rules/{}", made["id"])).await;
        assert_eq!(shown.header("content-type"), "application/json");
        assert_eq!(shown.header("x-content-type-options"), "nosniff");
        assert_eq!(shown.is(200)["match_string"], text);
    }
    let list = world.get("/api/v2/rules?q=DROP").await.is(200);
    assert_eq!(list["total"], 1);
}

#[tokio::test]
async fn a_key_is_the_whole_key() {
    let world = World::new().await;
    let url = format!("{}/api/v2/rules", world.base);
    for key in [
        "",
        " ",
        "the first",
        &KEY.to_uppercase(),
        &format!("{KEY}x"),
        &"k".repeat(8_000),
    ] {
        let answer = world
            .send(world.http.get(&url).header("x-api-key", key))
            .await;
        assert_eq!(answer.status, 401, "{key}");
    }
    let odd = reqwest::header::HeaderValue::from_bytes(b"\xff\xfe\x80").unwrap();
    world
        .send(world.http.get(&url).header("x-api-key", odd))
        .await
        .problem(401);
}
