//! The files over HTTP, through the server that every role uses.
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use mutt_http::{Limits, Server, WithPeer};
use mutt_ui::{File, Ui};
use reqwest::{Method, Response};
use tokio_util::sync::{CancellationToken, DropGuard};

const INDEX: &[u8] = b"<!doctype html><title>MUTT</title>";

const FILES: [File; 3] = [
    File {
        path: "/index.html",
        plain: INDEX,
        brotli: Some(b"brotli of index"),
        gzip: Some(b"gzip of index"),
    },
    File {
        path: "/assets/index-a1b2c3.js",
        plain: b"console.log(1)",
        brotli: Some(b"brotli of script"),
        gzip: None,
    },
    File {
        path: "/icon.svg",
        plain: b"<svg/>",
        brotli: None,
        gzip: None,
    },
];

struct World {
    base: String,
    http: reqwest::Client,
    _stop: DropGuard,
}

impl World {
    fn new(files: &[File]) -> Self {
        let ui = Arc::new(Ui::new(files));
        let api = Router::new()
            .route("/health", get(|| async { "well" }))
            .nest(
                "/api/v2",
                Router::new().route("/rules", get(|| async { "rules" })),
            );
        let router = mutt_http::fallbacks_or(api, move |request| ui.answer(request));
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), Limits::default()).unwrap();
        let base = format!("http://{}", server.local_addr());
        let stop = CancellationToken::new();
        tokio::spawn(server.run(WithPeer(router), stop.clone()));
        Self {
            base,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            _stop: stop.drop_guard(),
        }
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        self.ask(Method::GET, path, headers).await
    }
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    let value = answer.headers().get(name);
    value.map_or("", |value| value.to_str().unwrap())
}

const BROWSER: (&str, &str) = (
    "accept",
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
);

#[tokio::test]
async fn every_page_is_index_html_under_a_strict_policy() {
    let world = World::new(&FILES);
    for path in [
        "/",
        "/index.html",
        "/events",
        "/rules/12?draft=1",
        "/api-explorer",
    ] {
        let answer = world.get(path, &[BROWSER]).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(header(&answer, "content-type"), "text/html; charset=utf-8");
        assert_eq!(header(&answer, "cache-control"), "no-cache");
        assert_eq!(header(&answer, "vary"), "Accept-Encoding");
        for (name, value) in [
            (
                "content-security-policy",
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                 font-src 'self'; connect-src 'self'; worker-src 'self'; base-uri 'none'; \
                 form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                 trusted-types mutt",
            ),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(header(&answer, name), value, "{path}");
        }
        assert!(header(&answer, "permissions-policy").contains("camera=()"));
        assert_eq!(answer.bytes().await.unwrap(), INDEX);
    }
}

#[tokio::test]
async fn a_copy_is_not_sent_again() {
    let world = World::new(&FILES);
    let plain = world.get("/", &[]).await;
    let plain = header(&plain, "etag").to_owned();
    let packed = world.get("/", &[("accept-encoding", "br")]).await;
    let packed = header(&packed, "etag").to_owned();
    assert_ne!(plain, packed, "an entity tag is of one encoding");
    for (etag, encoding, status) in [
        (&*plain, "", 304),
        (&format!("W/{plain}"), "", 304),
        (&format!("\"x\", {packed}"), "gzip, br", 304),
        ("*", "", 304),
        (&*plain, "br", 200),
        ("\"x\"", "", 200),
    ] {
        let headers = [("if-none-match", etag), ("accept-encoding", encoding)];
        let answer = world.get("/events", &headers).await;
        assert_eq!(answer.status(), status, "{etag} {encoding}");
        assert!(!header(&answer, "etag").is_empty());
        assert_eq!(header(&answer, "cache-control"), "no-cache");
        assert!(!header(&answer, "content-security-policy").is_empty());
        let body = answer.bytes().await.unwrap();
        assert_eq!(body.is_empty(), status == 304, "{etag} {encoding}");
    }
}

#[tokio::test]
async fn files_come_compressed_as_they_were_built() {
    let world = World::new(&FILES);
    for (path, accepted, encoding, body) in [
        ("/", "gzip, deflate, br", "br", &b"brotli of index"[..]),
        ("/", "gzip", "gzip", b"gzip of index"),
        ("/", "br;q=0.1, gzip", "gzip", b"gzip of index"),
        ("/", "zstd", "", INDEX),
        ("/assets/index-a1b2c3.js", "gzip", "", b"console.log(1)"),
        ("/assets/index-a1b2c3.js", "br", "br", b"brotli of script"),
        ("/icon.svg", "br, gzip", "", b"<svg/>"),
    ] {
        let answer = world.get(path, &[("accept-encoding", accepted)]).await;
        assert_eq!(
            header(&answer, "content-encoding"),
            encoding,
            "{path} {accepted}"
        );
        assert_eq!(header(&answer, "content-length"), body.len().to_string());
        assert_eq!(answer.bytes().await.unwrap(), body, "{path} {accepted}");
    }
}

#[tokio::test]
async fn what_has_a_hash_in_its_name_is_kept_for_ever() {
    let world = World::new(&FILES);
    let script = world.get("/assets/index-a1b2c3.js", &[]).await;
    assert_eq!(
        header(&script, "cache-control"),
        "public, max-age=31536000, immutable"
    );
    assert_eq!(
        header(&script, "content-type"),
        "text/javascript; charset=utf-8"
    );
    assert_eq!(header(&script, "x-content-type-options"), "nosniff");
    let icon = world.get("/icon.svg", &[]).await;
    assert_eq!(header(&icon, "cache-control"), "no-cache");
    assert_eq!(header(&icon, "content-type"), "image/svg+xml");
    assert_eq!(header(&icon, "vary"), "");
}

#[tokio::test]
async fn what_is_not_there_is_not_there() {
    let world = World::new(&FILES);
    for path in [
        "/assets/index-gone.js",
        "/assets",
        "/favicon.ico",
        "/.env",
        "/icon.svg/",
        "/api",
        "/api/",
        "/api/v3/rules",
        "/api/v2/none",
        "/events%2f..%2f..%2fetc%2fpasswd",
        "/assets/..%2findex.html",
        "/assets/%2e%2e%2f%2e%2e%2fCargo.toml",
        "/events%00.html",
        "/events%0d%0ax:%20y",
        "//evil.example/",
        "/%ff",
    ] {
        let answer = world.get(path, &[BROWSER]).await;
        assert_eq!(answer.status(), 404, "{path}");
        let html = header(&answer, "content-type").starts_with("text/html");
        assert!(!html, "{path}");
    }
    // A client of the API that mistook the path does not get a page.
    let answer = world.get("/rules", &[("accept", "application/json")]).await;
    assert_eq!(answer.status(), 404);
    assert_eq!(header(&answer, "content-type"), "application/json");
    // What was there before is there still.
    for (path, text) in [("/health", "well"), ("/api/v2/rules", "rules")] {
        let answer = world.get(path, &[BROWSER]).await;
        assert_eq!(answer.text().await.unwrap(), text);
    }
}

/// A client of ours would tidy these up before it sends them.
#[tokio::test]
async fn dots_on_the_wire_lead_nowhere() {
    use std::io::{Read as _, Write as _};
    let world = World::new(&FILES);
    let address = world.base.trim_start_matches("http://").to_owned();
    for path in [
        "/../index.html",
        "/assets/../index.html",
        "/events/../../etc/passwd",
        "/./index.html",
        "/assets/./index-a1b2c3.js",
        "/events/..",
        "/events\\..\\x",
    ] {
        let address = address.clone();
        let answer = tokio::task::spawn_blocking(move || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            write!(
                stream,
                "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
            )
            .unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            String::from_utf8_lossy(&answer).into_owned()
        });
        let answer = answer.await.unwrap();
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(["400", "404"].contains(&status), "{path}: {answer}");
    }
}

#[tokio::test]
async fn nobody_writes_here() {
    let world = World::new(&FILES);
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        for path in ["/", "/icon.svg"] {
            let answer = world.ask(method.clone(), path, &[]).await;
            assert_eq!(answer.status(), 405, "{method} {path}");
            assert_eq!(header(&answer, "allow"), "GET, HEAD");
        }
        let answer = world.ask(method.clone(), "/events", &[]).await;
        assert_eq!(answer.status(), 404, "{method}");
    }
    let head = world.ask(Method::HEAD, "/events", &[]).await;
    assert_eq!(head.status(), 200);
    assert_eq!(header(&head, "content-length"), INDEX.len().to_string());
    assert!(head.bytes().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_build_without_the_interface_says_so() {
    let world = World::new(&[]);
    for path in ["/", "/events"] {
        let answer = world.get(path, &[BROWSER]).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert!(!header(&answer, "content-security-policy").is_empty());
        let text = answer.text().await.unwrap();
        assert!(text.contains("cargo muttdev ui"), "{text}");
        assert!(text.contains("/api/v2/openapi.json"), "{text}");
        assert!(
            !text.contains("<style") && !text.contains("style="),
            "{text}"
        );
    }
    assert_eq!(world.get("/icon.svg", &[]).await.status(), 404);
}

#[test]
fn what_is_in_the_program_holds_together() {
    let ui = Ui::embedded();
    let request = |path: &str| {
        let request = axum::extract::Request::get(path);
        request.body(axum::body::Body::empty()).unwrap()
    };
    assert_eq!(ui.answer(&request("/")).unwrap().status(), 200);
    assert_eq!(ui.answer(&request("/icon.svg")).is_some(), ui.is_built());
    assert!(ui.answer(&request("/icon.svg.br")).is_none());
}
