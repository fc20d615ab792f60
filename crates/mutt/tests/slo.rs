//! The service level objectives on a running MUTT that a real Prometheus scrapes: both sources say the
//! same, with failures in the traffic, and MUTT's own counters stand in while Prometheus is away.
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod support;

use mutt_forwarder::MockMoog;
use mutt_forwarder::mock::Fault;
use mutt_testbed::Prometheus;
use serde_json::{Value, json};
use support::{KEY, Mutt, contains, until};

/// Successes and failures of a component.
type Counts = (u64, u64);

async fn slo(mutt: &Mutt) -> Value {
    let key = std::fs::read_to_string(mutt.data().join("webui_api_key")).unwrap();
    let answer = reqwest::Client::new()
        .get(format!("http://{}/api/v2/slo", mutt.webui.addr()))
        .header("x-api-key", key.trim())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}

/// What the source that answered says.
fn told(slo: &Value, component: &str) -> Counts {
    let component = &slo["components"][component];
    (
        component["good"].as_u64().unwrap(),
        component["bad"].as_u64().unwrap(),
    )
}

/// What MUTT counted itself: the chart is always made of it.
fn own(slo: &Value, component: &str) -> Counts {
    let history = &slo["components"][component]["history"];
    let sum = |name: &str| -> u64 {
        let column = history[name].as_array().unwrap();
        column.iter().filter_map(Value::as_u64).sum()
    };
    (sum("good"), sum("bad"))
}

/// The sum of the series of a page that begin so.
async fn counted(mutt: &Mutt, series: &[&str]) -> u64 {
    let page = reqwest::get(mutt.url("/metrics")).await.unwrap();
    let page = page.text().await.unwrap();
    page.lines()
        .filter(|line| series.iter().any(|series| line.starts_with(series)))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
        .sum()
}

/// What the processes counted as it is exported: ingestor and forwarder.
async fn exported(mutt: &Mutt) -> [Counts; 2] {
    let ingest =
        |reason: &str| format!("mutt_ingest_requests_total{{status=\"fail\",reason=\"{reason}\"}}");
    let ours = ["queue_full", "redis_error", "store_error"].map(ingest);
    let ours: Vec<&str> = ours.iter().map(String::as_str).collect();
    [
        (
            counted(mutt, &["mutt_ingest_requests_total{status=\"success\""]).await,
            counted(mutt, &ours).await,
        ),
        (
            counted(mutt, &["mutt_moog_requests_total{status=\"success\""]).await,
            counted(mutt, &["mutt_moog_requests_total{status=\"fail\""]).await,
        ),
    ]
}

fn plus(one: Counts, other: Counts) -> Counts {
    (one.0 + other.0, one.1 + other.1)
}

async fn post(mutt: &Mutt, text: &str) -> u16 {
    let body = json!({"hostname": "r1", "message": text}).to_string();
    mutt.post(body).await.unwrap().status().as_u16()
}

/// Both sources come to say so.
async fn both_say(mutt: &Mutt, expected: [Counts; 2]) {
    let mut last = Value::Null;
    let components = ["ingestor", "forwarder"];
    let what = format!("both sources to say {expected:?}");
    until(&what, async || {
        let slo = slo(mutt).await;
        let agree = slo["source"] == "prometheus"
            && components.map(|component| told(&slo, component)) == expected
            && components.map(|component| own(&slo, component)) == expected;
        if !agree && slo != last {
            eprintln!(
                "{} {:?} own {:?} {}",
                slo["source"],
                components.map(|component| told(&slo, component)),
                components.map(|component| own(&slo, component)),
                slo["note"]
            );
            last = slo;
        }
        agree
    })
    .await;
}

#[tokio::test]
async fn prometheus_and_mutt_count_the_same() {
    let mock = MockMoog::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let mut mutt = Mutt::new(&[
        ("MOOG_WEBHOOK_URL", &mock.url()),
        ("MOOG_RETRY_BASE_DELAY", "0.05"),
        ("MOOG_RETRY_MAX_DELAY", "0.1"),
        // A batch of six events has no room in it, however empty it is.
        ("MAX_INGEST_QUEUE_SIZE", "5"),
    ]);
    let prometheus = Prometheus::start(&[mutt.ingest.addr().to_string()]);
    mutt.set("PROMETHEUS_URL", &prometheus.url());
    mutt.rules(json!([contains("LINK-DOWN", "Page_only")]))
        .await;
    mutt.start().await;

    // Two deliveries fail at first.
    mock.set_faults([Fault {
        status: Some(503),
        count: Some(2),
        ..Fault::default()
    }]);
    for number in 0..20 {
        // The queue is short: who is told to wait comes again, and is counted each time.
        until("an event to be taken", async || {
            post(&mutt, &format!("LINK-DOWN {number}")).await == 200
        })
        .await;
    }
    let many: Vec<_> = (0..6)
        .map(|number| json!({"hostname": "r1", "message": format!("many {number}")}))
        .collect();
    for _ in 0..3 {
        let answer = mutt.post(json!(many).to_string()).await.unwrap();
        assert_eq!(answer.status(), 503);
    }
    // What callers did wrong does not count.
    assert_eq!(mutt.post("{").await.unwrap().status(), 400);
    let stranger = reqwest::Client::new()
        .post(mutt.url("/ingest"))
        .header("x-api-key", format!("not {KEY}"))
        .body("{}")
        .send();
    assert_eq!(stranger.await.unwrap().status(), 401);
    // Syslog counts as HTTP does.
    let before = exported(&mutt).await[0].0;
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .send_to(
            b"<134>1 2026-11-21T10:00:00Z r1 app - - - quiet",
            mutt.syslog.addr(),
        )
        .unwrap();
    until("the datagram to be counted", async || {
        exported(&mutt).await[0].0 > before
    })
    .await;
    until("every alert to be delivered", async || {
        exported(&mutt).await[1].0 == 20
    })
    .await;

    let first = exported(&mutt).await;
    assert!(first[0].1 >= 3 && first[1].1 >= 2, "{first:?}");
    both_say(&mutt, first).await;
    let slo_now = slo(&mutt).await;
    assert!(slo_now["note"].is_null());
    assert_eq!(slo_now["components"]["forwarder"]["state"], "critical");

    // A process that was started anew begins with zero, and both add up.
    assert_eq!(mutt.stop(), Some(0));
    mutt.start().await;
    for number in 0..3 {
        until("an event to be taken", async || {
            post(&mutt, &format!("LINK-DOWN again {number}")).await == 200
        })
        .await;
    }
    until("every alert to be delivered", async || {
        exported(&mutt).await[1].0 == 3
    })
    .await;
    let second = exported(&mutt).await;
    let all = [plus(first[0], second[0]), plus(first[1], second[1])];
    both_say(&mutt, all).await;

    // The command line says it too, and that somebody should be called.
    let output = mutt.run(&["slo", "--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["source"], "prometheus");
    assert_eq!(output.status.code(), Some(3));
    let output = mutt.run(&["slo"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("from Prometheus") && text.contains("forwarder"),
        "{text}"
    );

    // Without Prometheus MUTT's own counters stand in, and say so.
    prometheus.kill();
    until("MUTT to answer by itself", async || {
        slo(&mutt).await["source"] == "mutt"
    })
    .await;
    let alone = slo(&mutt).await;
    let note = alone["note"].as_str().unwrap();
    assert!(note.contains("Prometheus cannot be asked"), "{note}");
    assert_eq!(told(&alone, "ingestor"), all[0]);
    assert_eq!(told(&alone, "forwarder"), all[1]);
    let text = String::from_utf8_lossy(&mutt.run(&["slo"]).stdout).into_owned();
    assert!(text.contains("MUTT's own counters"), "{text}");
}
