//! What is refused, with which words, and that it harms nobody else.

use std::time::Duration;

use mutt_engine::{EventQueue as _, Workers as _};
use mutt_http::Limits;
use reqwest::header::CONTENT_ENCODING;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::{EVENT, Ingestor, KEY, MAX_BODY, answered, gzip, soon};

fn failures(reason: &str) -> String {
    format!(r#"mutt_ingest_requests_total{{status="fail",reason="{reason}"}}"#)
}

fn message(answer: &Value) -> &str {
    assert_eq!(answer["status"], "error", "{answer}");
    assert!(!answer["correlation_id"].as_str().unwrap().is_empty());
    answer["message"].as_str().unwrap()
}

#[tokio::test]
async fn malformed_events_are_told_what_is_wrong() {
    let ingestor = Ingestor::start();
    let deep = format!(
        r#"{{"hostname":"r1","message":"m","x":{}1{}}}"#,
        "[".repeat(5000),
        "]".repeat(5000)
    );
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"".to_vec(), "empty"),
        (b"   ".to_vec(), "empty"),
        (b"{\"hostname\":".to_vec(), "JSON"),
        (b"not json".to_vec(), "JSON"),
        (b"null".to_vec(), "object"),
        (b"42".to_vec(), "object"),
        (b"\"text\"".to_vec(), "object"),
        (b"[]".to_vec(), "array is empty"),
        (format!("[{EVENT}").into_bytes(), "array"),
        (br#"{"message":"m"}"#.to_vec(), "hostname"),
        (br#"{"hostname":"r1"}"#.to_vec(), "message"),
        (br#"{"hostname":"","message":"m"}"#.to_vec(), "hostname"),
        (br#"{"hostname":7,"message":"m"}"#.to_vec(), "hostname"),
        (br#"{"hostname":"r1","message":null}"#.to_vec(), "message"),
        (
            br#"{"hostname":"r1","message":"m","timestamp":"yesterday"}"#.to_vec(),
            "timestamp",
        ),
        (
            b"{\"hostname\":\"r1\",\"message\":\"\xff\xfe\"}".to_vec(),
            "UTF-8",
        ),
        (deep.into_bytes(), ""),
    ];
    let count = cases.len();
    for (body, expected) in cases {
        let shown = String::from_utf8_lossy(&body)
            .chars()
            .take(60)
            .collect::<String>();
        let answer = ingestor.posted(body, 400).await;
        let text = message(&answer);
        assert!(text.contains(expected), "{shown}: {text}");
        assert!(text.len() < 400, "{shown}: {text}");
        ingestor.posted(EVENT, 200).await;
    }
    assert_eq!(ingestor.engine.event_depth().await.unwrap(), count as u64);
    assert_eq!(ingestor.buried().await, [], "the sender was told");
    let counted = ingestor.series(&failures("json")).await
        + ingestor.series(&failures("validation_error")).await;
    assert_eq!(counted, count as u64);
    assert_eq!(ingestor.series(&failures("validation_error")).await, 6);
}

#[tokio::test]
async fn only_senders_with_a_valid_key_get_in() {
    let ingestor = Ingestor::start();
    let post = || ingestor.client.post(ingestor.url("/ingest")).body(EVENT);
    let keyed = |key: &[u8]| {
        post().header(
            "x-api-key",
            reqwest::header::HeaderValue::from_bytes(key).unwrap(),
        )
    };
    for request in [
        post(),
        keyed(b""),
        keyed(b"wrong"),
        keyed(b"k\xe9y"),
        keyed(&KEY.as_bytes()[1..]),
    ] {
        assert_eq!(message(&answered(request, 401).await), "Unauthorized");
    }
    let in_query = ingestor
        .client
        .post(ingestor.url(&format!("/ingest?api_key={KEY}")))
        .body(EVENT);
    answered(in_query, 401).await;
    assert_eq!(ingestor.series(&failures("auth")).await, 6);
    ingestor.keys.replace([KEY, "next"]);
    answered(keyed(b"next"), 200).await;
    answered(keyed(KEY.as_bytes()), 200).await;
    ingestor.keys.replace(["next"]);
    answered(keyed(KEY.as_bytes()), 401).await;
    assert_eq!(ingestor.engine.event_depth().await.unwrap(), 2);
}

#[tokio::test]
async fn who_has_no_key_is_not_asked_for_the_body() {
    let ingestor = Ingestor::start();
    let head =
        "POST /ingest HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n";
    let text = ingestor.raw(head.as_bytes()).await;
    assert!(text.starts_with("HTTP/1.1 401"), "{text}");
}

#[tokio::test]
async fn bodies_that_are_too_long_are_refused_however_they_come() {
    let ingestor = Ingestor::start();
    let long = format!(
        r#"{{"hostname":"r1","message":"{}"}}"#,
        "x".repeat(MAX_BODY)
    );
    let in_chunks = {
        let mut bytes = format!(
            "POST /ingest HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ntransfer-encoding: chunked\r\n\r\n\
             {:x}\r\n",
            long.len()
        )
        .into_bytes();
        bytes.extend_from_slice(long.as_bytes());
        bytes.extend_from_slice(b"\r\n0\r\n\r\n");
        bytes
    };
    let answer = ingestor.posted(long.clone(), 413).await;
    assert!(message(&answer).contains(&MAX_BODY.to_string()), "{answer}");
    let mut stream = TcpStream::connect(ingestor.address).await.unwrap();
    let _ = stream.write_all(&in_chunks).await;
    let mut status = [0; 12];
    soon(tokio::io::AsyncReadExt::read_exact(
        &mut stream,
        &mut status,
    ))
    .await
    .unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");

    let bomb = vec![b' '; 64 << 20];
    for (coding, body) in [
        ("gzip", gzip(&bomb)),
        ("zstd", zstd::encode_all(&bomb[..], 1).unwrap()),
    ] {
        assert!(body.len() < MAX_BODY);
        let answer = answered(ingestor.post(body).header(CONTENT_ENCODING, coding), 413).await;
        message(&answer);
    }
    assert_eq!(ingestor.series(&failures("too_large")).await, 4);
    // Exactly as long as allowed, and one byte longer.
    let event = |length: usize| {
        let message = "x".repeat(length - r#"{"hostname":"r1","message":""}"#.len());
        format!(r#"{{"hostname":"r1","message":"{message}"}}"#)
    };
    ingestor.posted(event(MAX_BODY), 200).await;
    ingestor.posted(event(MAX_BODY + 1), 413).await;
}

#[tokio::test]
async fn codings_that_are_unknown_or_broken_are_refused() {
    let ingestor = Ingestor::start();
    for coding in ["br", "deflate", "gzip, zstd"] {
        let answer = answered(ingestor.post(EVENT).header(CONTENT_ENCODING, coding), 415).await;
        assert!(message(&answer).contains("gzip, zstd or none"), "{answer}");
    }
    for coding in ["gzip", "zstd"] {
        answered(ingestor.post(EVENT).header(CONTENT_ENCODING, coding), 400).await;
    }
    ingestor.posted(EVENT, 200).await;
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_no_trace() {
    let limits = Limits {
        body: Duration::from_millis(100),
        ..Limits::default()
    };
    let ingestor = Ingestor::start_with(limits);
    let head = format!(
        "POST /ingest HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-length: 900\r\n\r\n"
    );
    // The sender goes away in the middle.
    let mut gone = TcpStream::connect(ingestor.address).await.unwrap();
    gone.write_all(format!("{head}{EVENT}").as_bytes())
        .await
        .unwrap();
    drop(gone);
    // The sender falls silent in the middle.
    let mut silent = TcpStream::connect(ingestor.address).await.unwrap();
    silent
        .write_all(format!("{head}{EVENT}\n{EVENT}").as_bytes())
        .await
        .unwrap();
    let mut text = String::new();
    soon(tokio::io::AsyncReadExt::read_to_string(
        &mut silent,
        &mut text,
    ))
    .await
    .unwrap();
    assert!(text.starts_with("HTTP/1.1 408"), "{text}");
    assert!(text.contains(r#""status":"error""#), "{text}");
    ingestor.posted(EVENT, 200).await;
    assert_eq!(ingestor.events().await.len(), 1);
}

#[tokio::test]
async fn over_the_rate_limit_senders_are_told_to_wait() {
    let ingestor = Ingestor::start();
    ingestor.set(&[("ingest_max_rate", "5"), ("ingest_rate_window", "1")]);
    // An engine may count the window before its start as used.
    soon(async {
        while ingestor.post(EVENT).send().await.unwrap().status() != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    // A window that nobody can wait out during the test.
    ingestor.set(&[("ingest_rate_window", "3600")]);
    let taken = soon(async {
        let mut taken = 1;
        while ingestor.post(EVENT).send().await.unwrap().status() == 200 {
            taken += 1;
            assert!(taken <= 10, "there is no limit");
        }
        taken
    })
    .await;
    assert!(taken <= 10);
    let response = ingestor.post(EVENT).send().await.unwrap();
    assert_eq!(response.status(), 429);
    let wait: u64 = response.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=3600).contains(&wait), "{wait}");
    let answer: Value = response.json().await.unwrap();
    assert_eq!(message(&answer), "Too Many Requests - rate limit exceeded");
    assert!(
        (1..=3600).contains(&answer["retry_after"].as_u64().unwrap()),
        "{answer}"
    );
    assert!(ingestor.series("mutt_ingest_rate_limit_hits_total").await >= 2);
    assert!(ingestor.series(&failures("rate_limit")).await >= 2);

    ingestor.set(&[("ingest_max_rate", "0")]);
    ingestor.posted(EVENT, 200).await;
}

#[tokio::test]
async fn a_batch_that_is_larger_than_the_limit_is_taken_once_and_paid_for() {
    let ingestor = Ingestor::start();
    ingestor.set(&[("ingest_max_rate", "10"), ("ingest_rate_window", "1")]);
    let batch = vec![EVENT; 100].join("\n");
    soon(async {
        while ingestor.post(batch.clone()).send().await.unwrap().status() != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    ingestor.set(&[("ingest_rate_window", "3600")]);
    ingestor.posted(EVENT, 429).await;
    ingestor.posted(batch, 429).await;
    assert_eq!(ingestor.engine.event_depth().await.unwrap(), 100);
}

#[tokio::test]
async fn a_full_queue_is_answered_503_and_buries_nothing() {
    let ingestor = Ingestor::start();
    ingestor.set(&[("max_ingest_queue_size", "3")]);
    soon(async { while ingestor.post(EVENT).send().await.unwrap().status() == 200 {} }).await;
    // The limit may have come into force after the first few.
    let depth = ingestor.engine.event_depth().await.unwrap();
    assert!(depth >= 3);
    let response = ingestor.post(EVENT).send().await.unwrap();
    assert_eq!(response.status(), 503);
    assert!(
        response.headers()["retry-after"]
            .to_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            >= 1
    );
    let answer: Value = response.json().await.unwrap();
    assert_eq!(message(&answer), "Service Unavailable - queue full");
    assert_eq!(
        (&answer["queue_depth"], &answer["queue_limit"]),
        (&json!(depth), &json!(3))
    );

    ingestor.posted(format!("{EVENT}\nbad"), 503).await;
    assert_eq!(ingestor.buried().await, []);
    assert!(ingestor.series(&failures("queue_full")).await >= 3);
    ingestor.events().await;
    let answer = ingestor.posted(format!("{EVENT}\nbad"), 200).await;
    assert_eq!(
        (&answer["accepted"], &answer["rejected"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(ingestor.buried().await.len(), 1);
}

#[tokio::test]
async fn where_nothing_durable_can_be_written_nothing_is_acknowledged() {
    let ingestor = Ingestor::start();
    ingestor.engine.close().await;
    for body in [
        EVENT.to_owned(),
        format!("{EVENT}\n{EVENT}"),
        "[1,2]".to_owned(),
    ] {
        let response = ingestor.post(body).send().await.unwrap();
        assert_eq!(response.status(), 503);
        assert!(response.headers().contains_key("retry-after"));
        message(&response.json().await.unwrap());
    }
    assert_eq!(ingestor.series(&failures("store_error")).await, 3);
    let health = ingestor.client.get(ingestor.url("/health"));
    assert_eq!(answered(health, 503).await["status"], "unhealthy");
}

#[tokio::test]
async fn where_a_bad_record_cannot_be_kept_the_whole_batch_is_refused() {
    let ingestor = Ingestor::start();
    let database = rusqlite::Connection::open(ingestor.dir.path().join("mutt.db")).unwrap();
    database
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE INSERT ON dead_letters
             BEGIN SELECT RAISE(ABORT, 'not now'); END",
        )
        .unwrap();
    let batch = format!("{EVENT}\nbad\n{EVENT}");
    ingestor.posted(batch.clone(), 503).await;
    assert_eq!(
        ingestor.engine.event_depth().await.unwrap(),
        0,
        "the sender sends everything again"
    );
    assert_eq!(ingestor.buried().await, []);

    database.execute_batch("DROP TRIGGER refuse").unwrap();
    ingestor.posted(batch, 200).await;
    assert_eq!(ingestor.events().await.len(), 2);
    assert_eq!(ingestor.buried().await.len(), 1);
}
