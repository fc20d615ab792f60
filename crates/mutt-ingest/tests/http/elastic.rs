//! `_bulk` and what its clients ask first.

use base64::Engine as _;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Ingestor, KEY, MAX_BODY, answered, gzip, soon};

fn bulk(ingestor: &Ingestor, path: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
    ingestor
        .client
        .post(ingestor.url(path))
        .header("x-api-key", KEY)
        .header("content-type", "application/x-ndjson")
        .header("user-agent", "tests")
        .body(body)
}

fn documents(count: usize) -> String {
    (0..count).fold(String::new(), |body, number| {
        body + &format!("{{\"create\":{{}}}}\n{{\"host\":\"h\",\"message\":\"number {number}\"}}\n")
    })
}

#[tokio::test]
async fn items_are_answered_one_by_one_and_nothing_is_lost() {
    let ingestor = Ingestor::start();
    let body = r#"{"index":{"_index":"net","_type":"_doc"}}
{"host":{"name":"sw1"},"message":"link down","log":{"syslog":{"severity":{"code":3}}}}
{"create":{"_id":"a\"b"}}
{"fromhost":"sw2","message":"up"}
{"index":{}}
{"message":"whose?"}
{"create":{}}
not JSON
{"update":{"_id":"x"}}
{"doc":{"message":"other"}}
{"delete":{"_index":"net","_id":"y"}}
{"index":{}}
{"host":"sw3","log":"last\n"}"#;
    let answer = answered(bulk(&ingestor, "/logs/_bulk?refresh=false", body), 200).await;
    assert_eq!(answer["errors"], true);
    assert!(answer["took"].is_u64());
    let items = answer["items"].as_array().unwrap();
    let seen: Vec<_> = items
        .iter()
        .map(|item| {
            let (action, item) = item.as_object().unwrap().iter().next().unwrap();
            (
                action.as_str(),
                item["_index"].as_str().unwrap(),
                item["status"].as_u64().unwrap(),
                item["error"]["type"].as_str().unwrap_or(""),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("index", "net", 201, ""),
            ("create", "logs", 201, ""),
            ("index", "logs", 400, "mapper_parsing_exception"),
            ("create", "logs", 400, "document_parsing_exception"),
            ("update", "logs", 400, "illegal_argument_exception"),
            ("delete", "net", 400, "illegal_argument_exception"),
            ("index", "logs", 201, ""),
        ]
    );
    assert_eq!(items[0]["index"]["result"], "created");
    assert_eq!(items[1]["create"]["_id"], "a\"b");
    let reason = items[2]["index"]["error"]["reason"].as_str().unwrap();
    assert!(reason.contains("`hostname`"), "{reason}");

    let events = ingestor.events().await;
    let hosts: Vec<_> = events.iter().map(|event| &event["hostname"]).collect();
    assert_eq!(hosts, ["sw1", "sw2", "sw3"]);
    assert_eq!(items[0]["index"]["_id"], events[0]["_event_id"]);
    assert_eq!(events[0]["syslog_severity"], 3);
    assert_eq!(events[0]["host"], json!({"name":"sw1"}));
    assert_eq!(events[2]["message"], "last");
    // What was rejected is kept, except for what had no document.
    assert_eq!(ingestor.buried().await.len(), 3);
    for (series, count) in [
        (r#"mutt_ingest_received_total{listener="http"}"#, 7),
        (r#"mutt_ingest_accepted_total{listener="http"}"#, 3),
        (
            r#"mutt_ingest_rejected_total{listener="http",reason="json"}"#,
            1,
        ),
        (
            r#"mutt_ingest_rejected_total{listener="http",reason="validation_error"}"#,
            1,
        ),
        (
            r#"mutt_ingest_rejected_total{listener="http",reason="request"}"#,
            2,
        ),
    ] {
        assert_eq!(ingestor.series(series).await, count, "{series}");
    }
}

#[tokio::test]
async fn a_request_in_which_all_is_well_says_so() {
    let ingestor = Ingestor::start();
    let plain = answered(bulk(&ingestor, "/_bulk", documents(3)), 200).await;
    let packed = bulk(&ingestor, "/_bulk", gzip(documents(2_000).as_bytes()));
    let packed = answered(packed.header("content-encoding", "gzip"), 200).await;
    let put = ingestor.client.put(ingestor.url("/_bulk"));
    let put = answered(put.header("x-api-key", KEY).body(documents(1)), 200).await;
    for (answer, count) in [(plain, 3), (packed, 2_000), (put, 1)] {
        assert_eq!(answer["errors"], false);
        assert_eq!(answer["items"].as_array().unwrap().len(), count);
    }
    assert_eq!(ingestor.events().await.len(), 2_004);
}

#[tokio::test]
async fn what_was_answered_survives_a_crash() {
    let ingestor = Ingestor::start();
    let body = documents(50) + "{\"index\":{}}\n{}\n";
    let answer = answered(bulk(&ingestor, "/_bulk", body), 200).await;
    assert_eq!(answer["errors"], true);
    let data = ingestor.crash().await;
    let engine = crate::support::open(data.path());
    assert_eq!(
        mutt_engine::EventQueue::event_depth(&*engine)
            .await
            .unwrap(),
        50
    );
}

#[tokio::test]
async fn refusals_have_the_shape_that_clients_try_again_for() {
    let ingestor = Ingestor::start();
    let check = async |request: RequestBuilder, status: u16, kind: &str| -> Value {
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["x-elastic-product"], "Elasticsearch");
        assert_eq!(response.status().as_u16(), status);
        let retries = response.headers().contains_key("retry-after");
        assert_eq!(retries, matches!(status, 429 | 503));
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer["status"], status, "{answer}");
        assert_eq!(answer["error"]["type"], kind, "{answer}");
        assert_eq!(answer["error"]["root_cause"][0]["type"], kind);
        answer
    };
    let anonymous = ingestor.client.post(ingestor.url("/_bulk"));
    let anonymous = anonymous.header("user-agent", "tests");
    check(anonymous.body(documents(1)), 401, "security_exception").await;
    let wrong = bulk(&ingestor, "/_bulk", "{\"message\":\"x\"}\n{}\n");
    let answer = check(wrong, 400, "illegal_argument_exception").await;
    let reason = answer["error"]["reason"].as_str().unwrap();
    assert!(reason.contains("line 1"), "{reason}");
    check(
        bulk(&ingestor, "/_bulk", "\n"),
        400,
        "illegal_argument_exception",
    )
    .await;
    // Nothing of a request is taken that cannot be read to its end.
    let broken = documents(3) + "nonsense\n{}\n";
    check(
        bulk(&ingestor, "/_bulk", broken),
        400,
        "illegal_argument_exception",
    )
    .await;
    let long = " ".repeat(MAX_BODY + 1);
    check(
        bulk(&ingestor, "/_bulk", long),
        413,
        "content_too_long_exception",
    )
    .await;
    let get = ingestor
        .client
        .get(ingestor.url("/_bulk"))
        .header("x-api-key", KEY);
    check(get, 405, "illegal_argument_exception").await;
    assert_eq!(ingestor.events().await.len(), 0);

    let health = || {
        let get = ingestor.client.get(ingestor.url("/_cat/health"));
        get.header("x-api-key", KEY).header("user-agent", "tests")
    };
    answered(health(), 200).await;
    ingestor.set(&[("max_ingest_queue_size", "10")]);
    let one = || bulk(&ingestor, "/_bulk", documents(1));
    soon(async { while one().send().await.unwrap().status() == 200 {} }).await;
    check(one(), 503, "es_rejected_execution_exception").await;
    // Who asks whether to go on is not sent on at once.
    check(health(), 503, "es_rejected_execution_exception").await;
    ingestor.set(&[
        ("max_ingest_queue_size", "100000"),
        ("ingest_max_rate", "1"),
    ]);
    soon(async { while one().send().await.unwrap().status() != 429 {} }).await;
    check(one(), 429, "es_rejected_execution_exception").await;
}

#[tokio::test]
async fn a_key_may_come_as_elasticsearchs_clients_send_it() {
    let ingestor = Ingestor::start();
    let encoded = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    for (value, status) in [
        (format!("ApiKey {}", encoded(&format!("id:{KEY}"))), 200),
        (format!("ApiKey {KEY}"), 200),
        (format!("Basic {}", encoded(&format!("elastic:{KEY}"))), 200),
        (format!("Basic {}", encoded("elastic:wrong")), 401),
        (format!("Bearer {KEY}"), 401),
    ] {
        let post = |path: &str| {
            let request = ingestor.client.post(ingestor.url(path));
            let request = request.header("user-agent", "tests");
            request.header("authorization", &value).body(documents(1))
        };
        answered(post("/_bulk"), status).await;
        // The other paths know one header.
        answered(post("/ingest"), 401).await;
    }
}

#[tokio::test]
async fn clients_find_what_they_look_for_at_their_start() {
    let ingestor = Ingestor::start();
    let get = |path: &str| ingestor.client.get(ingestor.url(path));
    let people = get("/").send().await.unwrap();
    assert_eq!(people.headers()["x-elastic-product"], "Elasticsearch");
    assert_eq!(
        people.json::<Value>().await.unwrap()["service"],
        "mutt-ingestor"
    );
    let client = get("/").header("user-agent", "Elastic-filebeat/9.0.0");
    let root = answered(client, 200).await;
    assert_eq!(root["tagline"], "You Know, for Search");
    assert_eq!(root["version"]["build_flavor"], "default");
    let head = ingestor
        .client
        .head(ingestor.url("/"))
        .send()
        .await
        .unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(
        answered(get("/_license").header("x-api-key", KEY), 200).await["license"]["status"],
        "active"
    );
    answered(get("/_license").header("user-agent", "tests"), 401).await;
    let path = ingestor.url("/_index_template/filebeat-9.0.0");
    for method in [Method::HEAD, Method::PUT] {
        let request = ingestor.client.request(method, &path);
        let response = request.header("x-api-key", KEY).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["x-elastic-product"], "Elasticsearch");
    }
    answered(get("/_search").header("x-api-key", KEY), 404).await;
}

/// rsyslog's omelasticsearch says no `User-Agent`, and drops a batch whose refusal it has read to
/// the end.
#[tokio::test]
async fn a_refusal_breaks_off_for_a_client_that_would_take_it_for_an_end() {
    let ingestor = Ingestor::start();
    let send = async |key: &str, agent: &str, body: String| {
        let length = body.len();
        let request = format!(
            "POST /_bulk HTTP/1.1\r\nhost: mutt\r\nx-api-key: {key}\r\n{agent}\
             content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        let mut stream = TcpStream::connect(ingestor.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = soon(stream.read_to_end(&mut answer)).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    let chunked = |answer: &str| {
        answer
            .to_ascii_lowercase()
            .contains("transfer-encoding: chunked")
    };
    let ends = |answer: &str| !chunked(answer) || answer.ends_with("\r\n0\r\n\r\n");
    let broken = send("wrong", "", documents(1)).await;
    assert!(
        broken.is_empty() || broken.starts_with("HTTP/1.1 401"),
        "{broken}"
    );
    assert!(broken.is_empty() || !ends(&broken), "{broken}");
    let whole = send("wrong", "user-agent: curl/8\r\n", documents(1)).await;
    assert!(whole.starts_with("HTTP/1.1 401") && ends(&whole), "{whole}");
    // What will never be taken is answered to everybody, and so is what was taken.
    let malformed = send(KEY, "", "nonsense\n".to_owned()).await;
    assert!(
        malformed.starts_with("HTTP/1.1 400") && ends(&malformed),
        "{malformed}"
    );
    let taken = send(KEY, "", documents(1)).await;
    assert!(taken.starts_with("HTTP/1.1 200") && ends(&taken), "{taken}");
}
