//! What is taken in.

use mutt_engine::EventQueue as _;
use mutt_http::Limits;
use serde_json::{Value, json};

use crate::support::{EVENT, Ingestor, KEY, answered, gzip, open, soon};

#[tokio::test]
async fn one_event_is_queued_with_what_is_known_about_it() {
    let ingestor = Ingestor::start();
    let answer = answered(
        ingestor.post(EVENT).header("x-correlation-id", "req-7"),
        200,
    )
    .await;
    assert_eq!(
        answer,
        json!({"status": "queued", "correlation_id": "req-7", "queue_depth": 1})
    );
    let answer = ingestor.posted(EVENT, 200).await;
    assert_eq!(answer["queue_depth"], 2);
    let made: uuid::Uuid = answer["correlation_id"].as_str().unwrap().parse().unwrap();
    assert_eq!(made.get_version_num(), 7);

    let events = ingestor.events().await;
    assert_eq!(events.len(), 2);
    assert_eq!(events[0]["hostname"], "r1");
    assert_eq!(events[0]["_correlation_id"], "req-7");
    assert_eq!(events[1]["_correlation_id"], made.to_string());
    for event in &events {
        assert_eq!(event["source"], "http");
        event["_event_id"]
            .as_str()
            .unwrap()
            .parse::<uuid::Uuid>()
            .unwrap();
        event["_received_at"]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap();
        assert_eq!(event.get("source_ip"), None, "who posts is mostly a relay");
    }
}

#[tokio::test]
async fn events_get_the_tags_of_the_network_that_they_name_and_not_those_of_whoever_posts() {
    let senders = "[[sender]]\nnetwork = \"10.0.0.0/8\"\ntags = [\"dc1\"]\n\n\
                   [[sender]]\nnetwork = \"127.0.0.0/8\"\ntags = [\"poster\"]\n";
    let ingestor = Ingestor::start_behind(Limits::default(), senders);
    let body = [
        r#"{"hostname":"a","message":"m","source_ip":"10.1.2.3"}"#,
        r#"{"hostname":"b","message":"m","source_ip":"10.1.2.3","tags":["own"]}"#,
        r#"{"hostname":"c","message":"m"}"#,
    ]
    .join("\n");
    ingestor.posted(body, 200).await;
    let bulk =
        "{\"index\":{}}\n{\"hostname\":\"d\",\"message\":\"m\",\"source_ip\":\"10.1.2.3\"}\n";
    let to = format!("http://{}/_bulk", ingestor.address);
    let answer = ingestor.client.post(to).header("x-api-key", KEY).body(bulk);
    assert_eq!(answer.send().await.unwrap().status(), 200);
    let mut tags: Vec<_> = ingestor
        .events()
        .await
        .iter()
        .map(|event| (event["hostname"].to_string(), event["tags"].clone()))
        .collect();
    tags.sort_by(|one, other| one.0.cmp(&other.0));
    let tags: Vec<_> = tags.into_iter().map(|(_, tags)| tags).collect();
    assert_eq!(
        tags,
        [json!(["dc1"]), json!(["own"]), Value::Null, json!(["dc1"])]
    );
}

#[tokio::test]
async fn correlation_ids_that_are_not_fit_to_be_logged_are_replaced() {
    let ingestor = Ingestor::start();
    for given in ["", "two words", "tab\there", &"x".repeat(129)] {
        let answer = answered(ingestor.post(EVENT).header("x-correlation-id", given), 200).await;
        assert_eq!(
            answer["correlation_id"].as_str().unwrap().len(),
            36,
            "{given}"
        );
    }
    let odd = r#"a"b\c"#;
    let answer = answered(ingestor.post(EVENT).header("x-correlation-id", odd), 200).await;
    assert_eq!(answer["correlation_id"], odd);
}

#[tokio::test]
async fn every_path_does_the_same_and_the_old_one_says_so() {
    let ingestor = Ingestor::start();
    for (path, deprecated) in [
        ("/ingest", false),
        ("/api/v2/ingest", false),
        ("/api/v1/ingest?x=y", true),
    ] {
        let request = ingestor.client.post(ingestor.url(path)).body(EVENT);
        let response = request
            .header("x-api-key", crate::support::KEY)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(
            response.headers().contains_key("x-api-deprecated"),
            deprecated,
            "{path}"
        );
    }
    assert_eq!(ingestor.events().await.len(), 3);
}

#[tokio::test]
async fn batches_are_queued_and_their_bad_records_kept() {
    let ingestor = Ingestor::start();
    let lines = format!("{EVENT}\r\n\n{{\"hostname\":\"r1\"}}\nno json\n{EVENT}\n");
    let answer = ingestor.posted(lines, 200).await;
    assert_eq!(
        (&answer["status"], &answer["queue_depth"]),
        (&json!("queued"), &json!(2))
    );
    assert_eq!(
        (&answer["accepted"], &answer["rejected"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(
        (&answer["errors"][0]["index"], &answer["errors"][1]["index"]),
        (&json!(1), &json!(2))
    );
    assert!(
        answer["errors"][0]["message"]
            .as_str()
            .unwrap()
            .contains("message")
    );
    assert_eq!(answer["correlation_id"].as_str().unwrap().len(), 36);

    let array = format!(" [ {EVENT} , {EVENT},3 ]\n");
    let answer = ingestor.posted(array, 200).await;
    assert_eq!(
        (&answer["accepted"], &answer["rejected"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(answer["queue_depth"], 4);

    let buried = ingestor.buried().await;
    let messages: Vec<_> = buried.iter().map(|letter| letter.1.as_str()).collect();
    assert_eq!(messages, [r#"{"hostname":"r1"}"#, "no json", "3"]);
    assert_eq!(answer["errors"][0]["message"], buried[2].0);
    let events = ingestor.events().await;
    assert_eq!(events.len(), 4);
    assert!(events.iter().all(|event| event["message"] == "link up"));

    assert_eq!(
        ingestor
            .series(r#"mutt_ingest_received_total{listener="http"}"#)
            .await,
        7
    );
    assert_eq!(
        ingestor
            .series(r#"mutt_ingest_accepted_total{listener="http"}"#)
            .await,
        4
    );
    let rejected =
        |reason| format!(r#"mutt_ingest_rejected_total{{listener="http",reason="{reason}"}}"#);
    assert_eq!(ingestor.series(&rejected("json")).await, 2);
    assert_eq!(ingestor.series(&rejected("validation_error")).await, 1);
}

#[tokio::test]
async fn a_batch_of_nothing_but_bad_records_is_kept_so_that_its_sender_goes_on() {
    let ingestor = Ingestor::start();
    let answer = ingestor.posted("[{},{\"message\":\"x\"}]", 200).await;
    assert_eq!(
        (&answer["accepted"], &answer["rejected"]),
        (&json!(0), &json!(2))
    );
    assert_eq!(answer["queue_depth"], 0);
    assert_eq!(ingestor.buried().await.len(), 2);
    let many = format!("[{}]", vec!["{}"; 150].join(","));
    let answer = ingestor.posted(many, 200).await;
    assert_eq!(
        answer["errors"].as_array().unwrap().len(),
        100,
        "an answer has an end"
    );
    assert_eq!(answer["rejected"], 150);
    assert_eq!(ingestor.buried().await.len(), 152);
}

#[tokio::test]
async fn compressed_bodies_are_unpacked() {
    let ingestor = Ingestor::start();
    let batch = vec![EVENT; 100].join("\n");
    let zipped = ingestor
        .post(gzip(batch.as_bytes()))
        .header("content-encoding", "gzip");
    assert_eq!(answered(zipped, 200).await["accepted"], 100);
    let packed = zstd::encode_all(batch.as_bytes(), 3).unwrap();
    let packed = ingestor.post(packed).header("content-encoding", "zstd");
    assert_eq!(answered(packed, 200).await["queue_depth"], 200);
    let plain = ingestor.post(EVENT).header("content-encoding", "identity");
    assert_eq!(answered(plain, 200).await["queue_depth"], 201);
}

#[tokio::test]
async fn large_batches_are_taken_whole() {
    let ingestor = Ingestor::start();
    let batch: Vec<_> = (0..8000)
        .map(|n| format!(r#"{{"hostname":"r1","message":"event","n":{n}}}"#))
        .collect();
    let body = batch.join("\n");
    assert!(body.len() > 256 * 1024);
    let zipped = ingestor
        .post(gzip(body.as_bytes()))
        .header("content-encoding", "gzip");
    assert_eq!(answered(zipped, 200).await["accepted"], 8000);
    assert_eq!(ingestor.posted(body, 200).await["accepted"], 8000);
    let events = ingestor.events().await;
    let numbers: Vec<_> = events
        .iter()
        .map(|event| event["n"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (0..8000).chain(0..8000).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_content_type_and_a_repeated_key_do_not_matter() {
    let ingestor = Ingestor::start();
    let typed = ingestor
        .post(EVENT)
        .header("content-type", "text/plain; charset=latin-1");
    answered(typed, 200).await;
    let twice = r#"{"hostname":"a","hostname":"b","message":"x","_event_id":"forged"}"#;
    ingestor.posted(twice, 200).await;
    let event = ingestor.events().await.remove(1);
    assert_eq!(event["hostname"], "b");
    assert_ne!(event["_event_id"], "forged");
}

#[tokio::test]
async fn what_was_answered_200_outlives_a_crash() {
    let ingestor = Ingestor::start();
    for n in 0..20 {
        ingestor
            .posted(format!(r#"{{"hostname":"r1","message":"{n}"}}"#), 200)
            .await;
    }
    ingestor.posted(format!("{EVENT}\nbad"), 200).await;
    let dir = ingestor.crash().await;
    let engine = open(dir.path());
    assert_eq!(engine.event_depth().await.unwrap(), 21);
    let filter = mutt_engine::DeadLetterFilter::default();
    let letters =
        mutt_engine::DeadLetters::dead_letters(&*engine, mutt_engine::Dlq::Ingest, &filter, 0, 10);
    assert_eq!(letters.await.unwrap().len(), 1);
}

#[tokio::test]
async fn many_senders_at_once_lose_nothing_and_nothing_comes_twice() {
    let ingestor = std::sync::Arc::new(Ingestor::start());
    let senders: Vec<_> = (0..32)
        .map(|sender| {
            let ingestor = ingestor.clone();
            tokio::spawn(async move {
                for n in 0..20 {
                    let event = json!({"hostname": "r1", "message": "m", "n": sender * 20 + n});
                    ingestor.posted(event.to_string(), 200).await;
                }
            })
        })
        .collect();
    for sender in senders {
        soon(sender).await.unwrap();
    }
    let mut seen: Vec<_> = ingestor.events().await.iter().map(number).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..640).collect::<Vec<_>>());
    assert_eq!(
        ingestor
            .series(r#"mutt_ingest_requests_total{status="success",reason=""}"#)
            .await,
        640
    );
    assert_eq!(
        ingestor.series("mutt_ingest_latency_seconds_count").await,
        640
    );
}

fn number(event: &Value) -> u64 {
    event["n"].as_u64().unwrap()
}
