//! Browsers sign in, act with their session and are kept from acting for other sites.

use std::time::{Duration, Instant};

use mutt_engine::NewSession;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::{Answer, KEY, PATIENCE, World};

/// A browser: it has a cookie once it is signed in, and the token of its session.
struct Browser {
    base: String,
    cookie: String,
    csrf: String,
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

impl Browser {
    async fn sign_in(world: &World, base: &str, body: Value) -> Self {
        let request = world
            .http
            .post(format!("{base}/api/v2/session"))
            .json(&body);
        let answer = world.send(request).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let set = answer.header("set-cookie").to_owned();
        let (cookie, rest) = set.split_once(';').unwrap();
        assert_eq!(
            rest, " HttpOnly; SameSite=Strict; Path=/; Max-Age=43200",
            "{set}"
        );
        assert_eq!(answer.header("cache-control"), "no-store");
        Self {
            base: base.to_owned(),
            cookie: cookie.to_owned(),
            csrf: answer.json()["csrf_token"].as_str().unwrap().to_owned(),
        }
    }

    async fn with_key(world: &World, key: &str) -> Self {
        Self::sign_in(world, &world.base, json!({ "key": key })).await
    }

    /// A request with the cookie alone.
    fn bare(&self, world: &World, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = world.http.request(method, format!("{}{path}", self.base));
        request.header("cookie", &self.cookie)
    }

    /// A request as our own pages make it.
    async fn ask(&self, world: &World, method: &str, path: &str) -> Answer {
        let request = self.bare(world, method, path);
        let request = request
            .header("x-csrf-token", &self.csrf)
            .header("origin", &self.base)
            .header("sec-fetch-site", "same-origin");
        world.send(request).await
    }
}

async fn new_key(world: &World, name: &str, role: &str) -> String {
    let body = json!({ "name": name, "role": role });
    let made = world.post("/api/v2/keys", body).await.is(201);
    made["key"].as_str().unwrap().to_owned()
}

async fn signs_in(world: &World, body: &Value) -> Answer {
    let request = world.http.post(format!("{}/api/v2/session", world.base));
    world.send(request.json(body)).await
}

#[tokio::test]
async fn a_browser_signs_in_acts_and_signs_out() {
    let world = World::new().await;
    let key = new_key(&world, "alice", "operator").await;
    let browser = Browser::with_key(&world, &key).await;
    assert!(!browser.cookie.contains(&key));

    let shown = browser.ask(&world, "GET", "/api/v2/session").await.is(200);
    assert_eq!(shown["name"], "alice");
    assert_eq!(shown["role"], "operator");
    assert_eq!(shown["csrf_token"], browser.csrf);
    let ends: jiff::Timestamp = shown["expires_at"].as_str().unwrap().parse().unwrap();
    let hours = ends.duration_since(jiff::Timestamp::now()).as_secs_f64() / 3600.0;
    assert!((11.5..=12.1).contains(&hours), "{hours}");
    let me = browser.ask(&world, "GET", "/api/v2/me").await.is(200);
    assert_eq!(me, json!({ "name": "alice", "role": "operator" }));

    // What it changes is under the key's name; what the role may not, it may not.
    let request = browser.bare(&world, "POST", "/api/v2/dev-hosts");
    let request = request.header("x-csrf-token", &browser.csrf);
    world
        .send(request.json(&json!({ "hostname": "lab1" })))
        .await
        .is(201);
    let audit = world.get("/api/v2/config-audit?changed_by=alice").await;
    assert_eq!(audit.is(200)["total"], 1);
    browser
        .ask(&world, "GET", "/api/v2/keys")
        .await
        .problem(403);

    let out = browser.ask(&world, "DELETE", "/api/v2/session").await;
    assert_eq!(out.status, 204, "{out:?}");
    assert_eq!(
        out.header("set-cookie"),
        "mutt_session=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0"
    );
    for path in ["/api/v2/session", "/api/v2/rules"] {
        browser.ask(&world, "GET", path).await.problem(401);
    }
    let again = browser.ask(&world, "DELETE", "/api/v2/session").await;
    assert_eq!(again.status, 204, "{again:?}");
}

#[tokio::test]
async fn what_changes_something_needs_the_token_and_comes_from_our_own_pages() {
    let world = World::new().await;
    let browser = Browser::with_key(&world, KEY).await;
    let other = Browser::with_key(&world, KEY).await;
    let host = world.base.trim_start_matches("http://");
    let right = ("x-csrf-token", browser.csrf.as_str());
    let refused: [&[(&str, &str)]; 10] = [
        &[],
        &[("x-csrf-token", "")],
        &[("x-csrf-token", "undefined")],
        &[("x-csrf-token", &other.csrf)],
        &[right, ("origin", "http://evil.example")],
        &[right, ("origin", "null")],
        &[right, ("origin", &format!("http://{host}.evil.example"))],
        &[right, ("origin", &format!("http://evil.example/{host}"))],
        &[right, ("sec-fetch-site", "cross-site")],
        &[right, ("sec-fetch-site", "same-site")],
    ];
    for (method, path) in [
        ("POST", "/api/v2/dev-hosts"),
        ("PUT", "/api/v2/config/log_level"),
        ("DELETE", "/api/v2/session"),
    ] {
        for headers in refused {
            let mut request = browser.bare(&world, method, path);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let answer = world.send(request.json(&json!({ "hostname": "x" }))).await;
            assert_eq!(answer.status, 403, "{method} {path} {headers:?} {answer:?}");
            answer.problem(403);
        }
    }
    let hosts = world.get("/api/v2/dev-hosts").await.is(200);
    assert_eq!(hosts["hosts"].as_array().unwrap().len(), 0);
    // Reading asks for no token, but is our own pages' affair too.
    let request = browser.bare(&world, "GET", "/api/v2/rules");
    world.send(request).await.is(200);
    let request = browser.bare(&world, "GET", "/api/v2/rules");
    let request = request.header("sec-fetch-site", "cross-site");
    world.send(request).await.problem(403);
    // Who shows a key is no browser that was led astray.
    let request = world.request("POST", "/api/v2/dev-hosts");
    let request = request.header("cookie", &browser.cookie);
    world
        .send(request.json(&json!({ "hostname": "y" })))
        .await
        .is(201);
}

#[tokio::test]
async fn signing_in_is_for_our_own_pages_and_for_valid_keys() {
    let world = World::new().await;
    let url = format!("{}/api/v2/session", world.base);
    let good = json!({ "key": KEY });
    for (name, value) in [
        ("origin", "http://evil.example"),
        ("sec-fetch-site", "cross-site"),
    ] {
        let request = world.http.post(&url).header(name, value);
        let answer = world.send(request.json(&good)).await;
        assert_eq!(answer.header("set-cookie"), "");
        answer.problem(403);
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded", ""] {
        let request = world.http.post(&url).header("content-type", kind);
        world
            .send(request.body(good.to_string()))
            .await
            .problem(415);
    }
    let request = world.http.post(&url);
    let request = request.header("content-type", "Application/JSON; charset=utf-8");
    world.send(request.body(good.to_string())).await.is(200);
    for body in [
        json!({}),
        json!({ "key": null }),
        json!({ "key": KEY, "link": "x" }),
        json!({ "key": 1 }),
        json!({ "key": KEY, "role": "admin" }),
        json!([KEY]),
    ] {
        let answer = signs_in(&world, &body).await;
        assert_eq!(answer.header("set-cookie"), "");
        answer.problem(400);
    }
    for body in [
        json!({ "key": "" }),
        json!({ "key": "wrong" }),
        json!({ "key": format!("{KEY}\u{0}") }),
        json!({ "link": "" }),
        json!({ "link": "../../x" }),
    ] {
        let answer = signs_in(&world, &body).await;
        assert_eq!(answer.header("set-cookie"), "");
        answer.problem(401);
    }
}

#[tokio::test]
async fn whoever_guesses_at_the_door_waits() {
    let world = World::new().await;
    for number in 0..10 {
        let guess = json!({ "key": format!("guess {number}") });
        signs_in(&world, &guess).await.problem(401);
    }
    for body in [json!({ "key": KEY }), json!({ "link": "a guess" })] {
        let answer = signs_in(&world, &body).await;
        assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
        answer.problem(429);
    }
}

#[tokio::test]
async fn an_old_key_and_a_page_of_another_site_lock_nobody_out() {
    let world = World::new().await;
    // A script that was forgotten shows its key again and again, another one is right and goes on.
    signs_in(&world, &json!({ "key": KEY })).await.is(200);
    for _ in 0..20 {
        signs_in(&world, &json!({ "key": "revoked" }))
            .await
            .problem(401);
    }
    // Pictures on a page of another site.
    for number in 0..20 {
        let url = format!("{}/api/v1/rules?api_key=guess{number}", world.base);
        let answer = world.http.get(url).header("sec-fetch-site", "cross-site");
        assert_eq!(answer.send().await.unwrap().status(), 401);
    }
    signs_in(&world, &json!({ "key": "new" }))
        .await
        .problem(401);
    // Now somebody guesses: who was right before passes.
    for number in 0..20 {
        signs_in(&world, &json!({ "key": format!("guess {number}") })).await;
    }
    signs_in(&world, &json!({ "key": "one more" }))
        .await
        .problem(429);
    signs_in(&world, &json!({ "key": KEY })).await.is(200);
}

#[tokio::test]
async fn a_cookie_that_stands_for_nothing_opens_nothing() {
    let world = World::new().await;
    let browser = Browser::with_key(&world, KEY).await;
    let token = browser.cookie.split_once('=').unwrap().1.to_owned();
    let stored = hex(&Sha256::digest(token.as_bytes()));
    for cookie in [
        "mutt_session=".to_owned(),
        format!("mutt_session={}", "0".repeat(64)),
        format!("mutt_session={}", &token[1..]),
        format!("mutt_session={token}0"),
        // What a thief of the store would have.
        format!("mutt_session={stored}"),
        format!("session={token}"),
        "mutt_session=%00".to_owned(),
    ] {
        let thief = Browser {
            cookie: cookie.clone(),
            base: world.base.clone(),
            csrf: browser.csrf.clone(),
        };
        let answer = thief.ask(&world, "GET", "/api/v2/rules").await;
        assert_eq!(answer.status, 401, "{cookie} {answer:?}");
    }
    // v1 knows no sessions.
    let answer = browser.ask(&world, "GET", "/api/v1/rules").await;
    assert!(answer.is(401)["error"].is_string());
    // A cookie that is old news is no guess: others behind the same address may still sign in.
    for _ in 0..15 {
        let request = world.http.get(format!("{}/api/v2/me", world.base));
        let request = request.header("cookie", format!("mutt_session={}", "1".repeat(64)));
        world.send(request).await.problem(401);
    }
    Browser::with_key(&world, KEY).await;
}

#[tokio::test]
async fn who_signs_in_anew_leaves_the_earlier_session() {
    let world = World::new().await;
    let first = Browser::with_key(&world, KEY).await;
    let request = world.http.post(format!("{}/api/v2/session", world.base));
    let request = request.header("cookie", &first.cookie);
    let second = world.send(request.json(&json!({ "key": KEY }))).await;
    assert_ne!(second.is(200)["csrf_token"], first.csrf);
    first
        .ask(&world, "GET", "/api/v2/session")
        .await
        .problem(401);
}

#[tokio::test]
async fn a_session_ends_with_its_time() {
    let world = World::new().await;
    let browser = async |token: String, lifetime| {
        let new = NewSession {
            token_hash: hex(&Sha256::digest(token.as_bytes())),
            key_name: "WEBUI_API_KEY".to_owned(),
            key_hash: hex(&Sha256::digest(KEY.as_bytes())),
            lifetime,
        };
        world.engine.start_session(new).await.unwrap();
        Browser {
            base: world.base.clone(),
            cookie: format!("mutt_session={token}"),
            csrf: String::new(),
        }
    };
    let long = browser("4".repeat(64), Duration::from_hours(1)).await;
    let short = browser("5".repeat(64), Duration::from_millis(500)).await;
    until_refused(&world, &short).await;
    long.ask(&world, "GET", "/api/v2/rules").await.is(200);
}

async fn until_refused(world: &World, browser: &Browser) {
    let start = Instant::now();
    loop {
        let answer = browser.ask(world, "GET", "/api/v2/session").await;
        if answer.status == 401 {
            break;
        }
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(start.elapsed() < PATIENCE, "it does not end");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    browser
        .ask(world, "GET", "/api/v2/rules")
        .await
        .problem(401);
}

#[tokio::test]
async fn a_session_ends_with_its_key() {
    let world = World::new().await;
    let key = new_key(&world, "left", "viewer").await;
    let stored = Browser::with_key(&world, &key).await;
    let first = Browser::with_key(&world, KEY).await;
    world.delete("/api/v2/keys/left").await.is(200);
    until_refused(&world, &stored).await;
    first.ask(&world, "GET", "/api/v2/session").await.is(200);
    // The key of the secrets is replaced: both are valid for a while, then the new one alone.
    world.keys.replace([KEY, "the next key"]);
    let next = Browser::with_key(&world, "the next key").await;
    first.ask(&world, "GET", "/api/v2/session").await.is(200);
    world.keys.replace(["the next key"]);
    until_refused(&world, &first).await;
    next.ask(&world, "GET", "/api/v2/session").await.is(200);
}

#[tokio::test]
async fn every_pod_knows_a_session_and_its_end() {
    let world = World::new().await;
    let other = world.another_pod();
    let here = Browser::with_key(&world, KEY).await;
    let there = Browser {
        base: other,
        cookie: here.cookie.clone(),
        csrf: here.csrf.clone(),
    };
    there.ask(&world, "GET", "/api/v2/rules").await.is(200);
    let reload = there.ask(&world, "POST", "/api/v2/cache/reload").await;
    assert!(reload.status.is_success(), "{reload:?}");
    let out = here.ask(&world, "DELETE", "/api/v2/session").await;
    assert_eq!(out.status, 204, "{out:?}");
    here.ask(&world, "GET", "/api/v2/rules").await.problem(401);
    until_refused(&world, &there).await;
}

#[tokio::test]
async fn a_login_link_is_good_once() {
    let world = World::new().await;
    let link = json!({ "link": world.links.issue() });
    let browser = Browser::sign_in(&world, &world.base, link.clone()).await;
    let me = browser.ask(&world, "GET", "/api/v2/me").await.is(200);
    assert_eq!(me, json!({ "name": "WEBUI_API_KEY", "role": "admin" }));
    signs_in(&world, &link).await.problem(401);
    // It goes with the key that is in the secrets.
    world.keys.replace(["another"]);
    until_refused(&world, &browser).await;
    world.keys.replace(Vec::<String>::new());
    let link = json!({ "link": world.links.issue() });
    signs_in(&world, &link).await.problem(401);
}

#[tokio::test]
async fn an_administrator_makes_login_links() {
    let world = World::new().await;
    let admin = new_key(&world, "boss", "admin").await;
    let operator = new_key(&world, "alice", "operator").await;
    let path = "/api/v2/session/links";
    let refused = world.with_key(&operator, "POST", path, json!({})).await;
    refused.problem(403);
    let made = world.with_key(&admin, "POST", path, json!({})).await;
    let made = made.is(201);
    let link = made["link"].as_str().unwrap();
    assert_eq!(made["path"], format!("/#/login/{link}"));
    let browser = Browser::sign_in(&world, &world.base, json!({ "link": link })).await;
    let me = browser.ask(&world, "GET", "/api/v2/me").await.is(200);
    assert_eq!(me, json!({ "name": "boss", "role": "admin" }));
    // The link of somebody whose key is revoked signs nobody in.
    let made = world.with_key(&admin, "POST", path, json!({})).await;
    let link = made.is(201)["link"].clone();
    world.delete("/api/v2/keys/boss").await.is(200);
    let answer = signs_in(&world, &json!({ "link": link })).await;
    answer.problem(401);
    until_refused(&world, &browser).await;
}

/// Reads a stream until the server ends it.
async fn ends(request: RequestBuilder, end: impl Future<Output = ()>) {
    let mut stream = request.send().await.unwrap();
    assert_eq!(stream.status(), 200);
    assert!(
        stream.chunk().await.unwrap().is_some(),
        "it shows something"
    );
    end.await;
    let rest = async { while stream.chunk().await.unwrap().is_some() {} };
    tokio::time::timeout(PATIENCE, rest).await.unwrap();
}

#[tokio::test]
async fn a_stream_ends_with_what_opened_it() {
    let world = World::new().await;
    let path = "/api/v2/status/stream";
    let key = new_key(&world, "left", "viewer").await;
    let url = format!("{}{path}", world.base);
    ends(world.http.get(url).header("x-api-key", key), async {
        world.delete("/api/v2/keys/left").await.is(200);
    })
    .await;
    let browser = Browser::with_key(&world, KEY).await;
    ends(browser.bare(&world, "GET", path), async {
        let out = browser.ask(&world, "DELETE", "/api/v2/session").await;
        assert_eq!(out.status, 204);
    })
    .await;
}
