//! What the overview shows: the status of all processes, what needs a person, history, objectives.

use std::time::Duration;

use mutt_engine::reports::{FloodReport, ListenerReport, Problem, SinkReport};
use mutt_engine::{
    CircuitPolicy, Component, DeadLetter, FlowCounts, Outcomes, ProcessReport, Reason,
};
use mutt_event::Batch;
use serde_json::{Value, json};

use crate::support::{PATIENCE, World, draft};

/// A process that took in, decided and delivered so much.
fn report(pod: &str, roles: &[&str], second: i64) -> ProcessReport {
    let now = jiff::Timestamp::now();
    let events = second.unsigned_abs() * 100;
    ProcessReport {
        pod: pod.to_owned(),
        roles: roles.iter().map(|&role| role.to_owned()).collect(),
        version: "3.0.0".to_owned(),
        pid: 42,
        started_at: now - jiff::SignedDuration::from_secs(60),
        at: now + jiff::SignedDuration::from_secs(second),
        counts: FlowCounts {
            received_syslog: 3 * events,
            received_http: events,
            handled: events,
            unhandled: events * 2,
            delivered: events / 10,
            dropped: events,
            ..FlowCounts::default()
        },
        dropped: [("kernel".to_owned(), events)].into(),
        cpu_seconds: second as f64 / 2.0,
        memory_bytes: 1 << 20,
        sink: Some(SinkReport {
            configured: true,
            last_failure_at: Some(now),
            last_failure: Some("HTTP 503".to_owned()),
            ..SinkReport::default()
        }),
        busy_hosts: vec![("router1".to_owned(), 9), ("router2".to_owned(), 4)],
        listeners: vec![ListenerReport {
            listener: "syslog_udp".to_owned(),
            address: "127.0.0.1:5514".to_owned(),
            received: events,
            last_received: Some(now),
            dropped: [("flood".to_owned(), 3)].into(),
            ..ListenerReport::default()
        }],
        floods: vec![FloodReport {
            address: "10.0.0.9".to_owned(),
            hostname: "sw9".to_owned(),
            dropped_per_second: 2_000.0,
            ..FloodReport::default()
        }],
        ..ProcessReport::default()
    }
}

fn codes(status: &Value) -> Vec<&str> {
    let items = status["attention"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["code"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn all_processes_are_shown_with_their_speed() {
    let world = World::new().await;
    let roles = ["ingestor", "alerter", "forwarder", "remediation", "webui"];
    world
        .engine
        .report(&report("all", &roles, 0), PATIENCE)
        .await
        .unwrap();
    // Looked at, so that there is something to compare with.
    world
        .until("/api/v2/status", |status| !status["pods"][0].is_null())
        .await;
    let mut later = report("all", &roles, 4);
    later.problems = vec![Problem {
        code: "rule_skipped".to_owned(),
        text: "rule 4 takes no part".to_owned(),
    }];
    let start = std::time::Instant::now();
    let status = loop {
        // Told again and again: a process that falls silent does nothing any more.
        world.engine.report(&later, PATIENCE).await.unwrap();
        let status = world.get("/api/v2/status").await.is(200);
        if status["road"]["decided"]["per_second"].as_f64().unwrap() > 0.0 {
            break status;
        }
        assert!(start.elapsed() < PATIENCE, "{status}");
    };
    // 4 s by the process's own clock, and the few ms that the second report came later.
    let about = |value: &Value, expected: f64| {
        let value = value.as_f64().unwrap();
        let slow = expected * 4.0 / (4.0 + PATIENCE.as_secs_f64());
        assert!((slow..=expected).contains(&value), "{value} for {expected}");
    };
    let road = &status["road"];
    about(&road["received"]["per_second"], 400.0);
    about(&road["received"]["by_source"]["syslog"], 300.0);
    about(&road["decided"]["handled"], 100.0);
    about(&road["delivered"]["per_second"], 10.0);
    about(&road["dropped"]["by_reason"]["kernel"], 100.0);
    let pod = &status["pods"][0];
    assert_eq!(
        (&pod["pod"], &pod["memory_bytes"]),
        (&json!("all"), &json!(1 << 20))
    );
    about(&pod["per_second"], 400.0);
    about(&pod["cpu_percent"], 50.0);
    for role in status["roles"].as_array().unwrap() {
        assert_eq!(role["pods"], 1, "{role}");
    }
    assert_eq!(status["totals"]["received"], 1_600);
    assert_eq!(
        status["busy_hosts"][0],
        json!({"hostname": "router1", "events_1h": 9})
    );
    assert_eq!(status["circuit"]["why"], "HTTP 503");
    assert_eq!(status["floods"][0]["hostname"], "sw9");
    assert_eq!(status["floods"][0]["pod"], "all");
    let listener = &pod["listeners"][0];
    assert_eq!(
        (&listener["address"], &listener["dropped"]),
        (&json!("127.0.0.1:5514"), &json!({"flood": 3}))
    );
    assert!(listener["last_received_at"].is_string(), "{listener}");
    let found = codes(&status);
    assert!(found.contains(&"sender_floods"), "{found:?}");
    assert!(
        found.contains(&"rule_skipped") && found.contains(&"dropping"),
        "{found:?}"
    );
    assert!(!found.contains(&"role_missing"), "{found:?}");
    assert_eq!(
        status["problems"],
        json!(["Messages are not taken", "rule 4 takes no part"])
    );
    for store in status["stores"].as_array().unwrap() {
        assert_eq!(
            (&store["up"], &store["error"]),
            (&json!(true), &Value::Null)
        );
        assert!(store["latency_seconds"].as_f64().unwrap() > 0.0);
    }
}

#[tokio::test]
async fn what_needs_a_person_is_sorted_and_says_where() {
    let world = World::new().await;
    let status = world.get("/api/v2/status").await.is(200);
    // Nobody reports: four roles have no pod, of which one can wait.
    assert_eq!(codes(&status), ["role_missing"; 4]);
    assert_eq!(status["attention"][0]["severity"], "critical");
    assert_eq!(status["attention"][3]["severity"], "warning");

    let policy = CircuitPolicy {
        threshold: 1,
        timeout: Duration::from_hours(1),
    };
    world
        .engine
        .circuit_failure("moogsoft", policy)
        .await
        .unwrap();
    let dead = DeadLetter {
        reason: Reason::Malformed,
        detail: "no JSON".to_owned(),
        element: b"{".to_vec(),
    };
    world
        .engine
        .enqueue_with_rejects(Batch::new(), vec![dead])
        .await
        .unwrap();
    let status = world
        .until("/api/v2/status", |status| {
            codes(status).contains(&"circuit_open") && codes(status).contains(&"dlq_not_empty")
        })
        .await;
    let items = status["attention"].as_array().unwrap();
    let severities: Vec<_> = items.iter().map(|item| &item["severity"]).collect();
    let rank = |severity: &&Value| {
        ["critical", "warning", "info"]
            .iter()
            .position(|one| *severity == one)
    };
    assert!(severities.is_sorted_by_key(rank), "{severities:?}");
    let open = items
        .iter()
        .find(|item| item["code"] == "circuit_open")
        .unwrap();
    assert_eq!(open["page"], "/delivery");
    assert!(open["since"].is_string());
    assert_eq!(status["circuit"]["state"], "open");
    let (opened, probe) = (
        &status["circuit"]["opened_at"],
        &status["circuit"]["next_probe_at"],
    );
    let at = |value: &Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert_eq!(at(probe).duration_since(at(opened)).as_secs(), 300);
}

#[tokio::test]
async fn a_message_costs_the_same_however_many_watch() {
    let world = World::new().await;
    let mut streams = Vec::new();
    for path in [
        "/api/v2/status/stream",
        "/api/v2/stream?status=true",
        "/api/v2/status/stream",
    ] {
        streams.push(world.request("GET", path).send().await.unwrap());
    }
    // What all see is the same look at the world: each carries its time.
    let mut seen: Vec<Vec<String>> = Vec::new();
    for stream in &mut streams {
        let mut text = String::new();
        while text.matches("\n\n").count() < 4 {
            let chunk = tokio::time::timeout(PATIENCE, stream.chunk())
                .await
                .unwrap();
            text.push_str(std::str::from_utf8(&chunk.unwrap().unwrap()).unwrap());
        }
        let times = text
            .split("\n\n")
            .filter_map(|message| message.lines().find_map(|line| line.strip_prefix("data: ")))
            .filter_map(|data| serde_json::from_str::<Value>(data).ok())
            .map(|status| status["at"].as_str().unwrap().to_owned());
        seen.push(times.collect());
    }
    for times in &seen[1..] {
        let shared = times.iter().filter(|time| seen[0].contains(time)).count();
        assert!(shared >= 2, "{seen:?}");
    }
}

#[tokio::test]
async fn history_adds_up_and_marks_changes() {
    let world = World::new().await;
    let counts = FlowCounts {
        received_syslog: 5,
        received_http: 2,
        handled: 6,
        unhandled: 1,
        failed: 3,
        ..FlowCounts::default()
    };
    for _ in 0..2 {
        world.engine.add_flow(&counts).await.unwrap();
    }
    let rule = world.rule("LINK").await;
    world
        .put(
            "/api/v2/config/log_level",
            json!({"value": "debug", "reason": "looking"}),
        )
        .await
        .is(200);
    for (span, points, step) in [("hour", 60, 60), ("day", 1_440, 60), ("week", 1_008, 600)] {
        let path = format!("/api/v2/status/history?span={span}");
        // Depths are sampled in the background.
        let history = world
            .until(&path, |history| {
                span == "week" || !history["depths_since"].is_null()
            })
            .await;
        assert_eq!(
            (&history["points"], &history["step_seconds"]),
            (&json!(points), &json!(step))
        );
        for (name, column) in history["series"].as_object().unwrap() {
            assert_eq!(column.as_array().unwrap().len(), points, "{name}");
        }
        let sum = |name: &str| -> u64 {
            let column = history["series"][name].as_array().unwrap();
            column.iter().filter_map(Value::as_u64).sum()
        };
        let sums = [
            "received",
            "received_syslog",
            "handled",
            "unhandled",
            "failed",
            "delivered",
        ]
        .map(sum);
        assert_eq!(sums, [14, 10, 12, 2, 6, 0], "{span}");
        assert!(history["counted_since"].is_string());
        let start: jiff::Timestamp = history["start"].as_str().unwrap().parse().unwrap();
        assert_eq!(start.as_second() % step, 0);
        let marks = history["marks"].as_array().unwrap();
        let of = |what: &str| marks.iter().find(|mark| mark["what"] == what).unwrap();
        assert_eq!(of("rule")["title"], format!("Rule {rule} added"));
        assert_eq!(of("config")["title"], "log_level changed");
        assert_eq!(of("config")["who"], "WEBUI_API_KEY");
        assert!(
            of("config")["page"]
                .as_str()
                .unwrap()
                .starts_with("/config-audit")
        );
    }
    let default = world.get("/api/v2/status/history").await.is(200);
    assert_eq!(default["span"], "day");
    let fields = world
        .get("/api/v2/status/history?span=year")
        .await
        .problem(400);
    assert_eq!(fields, ["span"]);
}

#[tokio::test]
async fn objectives_burn_over_windows_and_hours() {
    let world = World::new().await;
    let outcomes = Outcomes { good: 80, bad: 20 };
    let (component, path) = (Component::Forwarder, "/api/v2/slo");
    world
        .engine
        .add_outcomes(component, outcomes)
        .await
        .unwrap();
    let slo = world.get(path).await.is(200);
    assert_eq!(
        (&slo["source"], &slo["note"]),
        (&json!("mutt"), &Value::Null)
    );
    let forwarder = &slo["components"]["forwarder"];
    assert_eq!(
        (&forwarder["good"], &forwarder["bad"]),
        (&json!(80), &json!(20))
    );
    assert_eq!(
        (&forwarder["burn_rate"], &forwarder["state"]),
        (&json!(20.0), &json!("critical"))
    );
    // 1 % of 24 h, spent twenty times.
    assert_eq!(forwarder["budget_minutes"], 14.4);
    assert_eq!(forwarder["budget_minutes_left"], json!(14.4 * -19.0));
    let alerts = forwarder["alerts"].as_array().unwrap();
    assert!(
        alerts.iter().all(|alert| alert["firing"] == true),
        "{alerts:?}"
    );
    let history = &forwarder["history"];
    let bad: u64 = history["bad"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_u64)
        .sum();
    assert_eq!(
        (bad, history["burn_rate"].as_array().unwrap().len()),
        (20, 24)
    );
    let ingestor = &slo["components"]["ingestor"];
    assert_eq!(
        (&ingestor["state"], &ingestor["budget_minutes_left"]),
        (&json!("no_data"), &Value::Null)
    );
    assert_eq!(ingestor["alerts"][0]["firing"], false);
    // The overview says the same; v1 says no more than 2.5 did.
    let status = world
        .until("/api/v2/status", |status| {
            codes(status).contains(&"slo_burning")
        })
        .await;
    assert_eq!(status["slo"][1]["alert"], "page");
    let older = world.get("/api/v1/slo").await.is(200);
    let fields: Vec<_> = older["components"]["forwarder"]
        .as_object()
        .unwrap()
        .keys()
        .collect();
    assert_eq!(
        fields,
        [
            "availability",
            "burn_rate",
            "error_budget_remaining",
            "state",
            "target",
            "window_hours"
        ]
    );
    assert!(older["source"].is_null());
}

#[tokio::test]
async fn busy_rules_are_those_that_matched() {
    let world = World::new().await;
    let rule = world.post("/api/v2/rules", draft("LINK")).await.is(201)["id"].clone();
    world
        .decide(&["LINK down"], |_, row| row.matched_rule_id = rule.as_i64())
        .await;
    let status = world.get("/api/v2/status").await.is(200);
    assert!(status["busy_rules"].is_array());
    assert_eq!(
        status["rate_limit"],
        json!({"used": 0, "limit": 50, "period_seconds": 1.0})
    );
    assert_eq!(status["shed"]["threshold"], 2_000);
}
