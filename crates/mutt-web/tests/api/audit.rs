//! The audit trail of events: search, pages, export, timeline, live stream.

use mutt_engine::live::{LiveBatch, LiveEvent};
use serde_json::{Value, json};

use crate::support::{PATIENCE, World};

fn messages(rows: &Value) -> Vec<String> {
    rows.as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let event: Value = serde_json::from_str(row["raw_message"].as_str().unwrap()).unwrap();
            event["message"].as_str().unwrap().to_owned()
        })
        .collect()
}

#[tokio::test]
async fn events_are_searched_and_paged() {
    let world = World::new().await;
    let rows = world
        .decide(&["m0", "m1", "m2", "m3", "m4"], |index, row| {
            row.hostname = if index < 3 { "Router1" } else { "switch1" }.into();
            row.syslog_severity = u8::try_from(index).ok();
            row.team_assignment = Some(if index == 0 { "Sec" } else { "Net" }.into());
            row.environment = if index == 1 {
                "development"
            } else {
                "production"
            };
            row.handling_decision = if index == 2 { "Ignore" } else { "Page_only" };
            row.correlation_id = format!("c{index}").into();
            row.matched_rule_id = Some(i64::try_from(index).unwrap());
        })
        .await;
    let event = format!("event_id={}", rows[3].event_id);
    for (query, expected) in [
        ("", vec!["m4", "m3", "m2", "m1", "m0"]),
        ("hostname=ROUTER1", vec!["m2", "m1", "m0"]),
        ("rule_id=4", vec!["m4"]),
        ("text=M3", vec!["m3"]),
        ("severity=2", vec!["m2"]),
        ("source=syslog&team=Sec", vec!["m0"]),
        ("source=http", vec![]),
        ("handling=Ignore", vec!["m2"]),
        ("environment=development", vec!["m1"]),
        ("correlation_id=c4", vec!["m4"]),
        (event.as_str(), vec!["m3"]),
        (
            "start_date=2026-11-21&end_date=2026-11-21",
            vec!["m4", "m3", "m2", "m1", "m0"],
        ),
        (
            "start_date=2026-11-21T10:00:00Z&end_date=2026-11-21T10:00:00Z",
            vec!["m4", "m3", "m2", "m1", "m0"],
        ),
        ("end_date=2026-11-20", vec![]),
    ] {
        let page = world
            .get(&format!("/api/v2/audit-logs?{query}"))
            .await
            .is(200);
        assert_eq!(messages(&page["logs"]), expected, "{query}");
        assert_eq!(page["next"], Value::Null, "{query}");
        let page = world
            .get(&format!("/api/v1/audit-logs?{query}"))
            .await
            .is(200);
        assert_eq!(messages(&page["logs"]), expected, "v1 {query}");
        assert_eq!(page["pagination"]["total"], expected.len(), "v1 {query}");
    }
    let (mut cursor, mut all) = (String::new(), Vec::new());
    loop {
        let page = world
            .get(&format!("/api/v2/audit-logs?limit=2&cursor={cursor}"))
            .await
            .is(200);
        all.extend(messages(&page["logs"]));
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert_eq!(all, ["m4", "m3", "m2", "m1", "m0"]);
    let page = world.get("/api/v1/audit-logs?limit=2&page=2").await.is(200);
    assert_eq!(messages(&page["logs"]), ["m2", "m1"]);
    assert_eq!(
        page["pagination"],
        json!({"page": 2, "limit": 2, "total": 5, "pages": 3})
    );
    let mut columns: Vec<_> = page["logs"][0]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    columns.sort_unstable();
    assert_eq!(
        columns,
        [
            "event_timestamp",
            "forwarded_to_moog",
            "handling_decision",
            "hostname",
            "id",
            "matched_rule_id",
            "raw_message"
        ]
    );
}

#[tokio::test]
async fn wrong_filters_are_named() {
    let world = World::new().await;
    for (query, field) in [
        ("rule_id=x", "rule_id"),
        ("start_date=x", "start_date"),
        ("end_date=2026-99-99", "end_date"),
        ("severity=8", "severity"),
        ("severity=-1", "severity"),
        ("event_id=1", "event_id"),
        ("cursor=x", "cursor"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
    ] {
        let fields = world
            .get(&format!("/api/v2/audit-logs?{query}"))
            .await
            .problem(400);
        assert_eq!(fields, [field], "{query}");
    }
    for query in [
        "limit=201",
        "limit=0",
        "page=0",
        "page=201",
        "page=999999999999999999999",
        "rule_id=x",
    ] {
        let answer = world
            .get(&format!("/api/v1/audit-logs?{query}"))
            .await
            .is(400);
        assert!(answer["error"].is_string(), "{query}");
    }
    let fields = world
        .get("/api/v2/audit-logs/export?format=xlsx")
        .await
        .problem(400);
    assert_eq!(fields, ["format"]);
}

#[tokio::test]
async fn exports_are_whole_and_harmless() {
    let world = World::new().await;
    world
        .decide(
            &["=HYPERLINK(\"http://x\")", "plain, with \"quotes\""],
            |index, row| {
                if index == 0 {
                    row.hostname = "=cmd|' /C calc'!A0".into();
                    row.correlation_id = "@SUM(1)".into();
                    row.team_assignment = Some("-1+1".into());
                }
            },
        )
        .await;
    let csv = world.get("/api/v2/audit-logs/export?format=csv").await;
    assert!(csv.header("content-type").starts_with("text/csv"));
    assert!(csv.header("content-disposition").contains("attachment"));
    let mut reader = csv::Reader::from_reader(csv.text.as_bytes());
    assert_eq!(reader.headers().unwrap().len(), 16);
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 2);
    for row in &rows {
        for cell in row {
            assert!(
                !cell.starts_with(['=', '+', '-', '@', '\t', '\r']),
                "{cell}"
            );
        }
    }
    assert_eq!(&rows[1][4], "'=cmd|' /C calc'!A0");
    let lines = world
        .get("/api/v2/audit-logs/export?hostname=router1")
        .await;
    let lines: Vec<Value> = lines
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(messages(&json!(lines)), ["plain, with \"quotes\""]);
    let none = world.get("/api/v2/audit-logs/export?hostname=nobody").await;
    assert_eq!((none.status.as_u16(), none.text.as_str()), (200, ""));
}

#[tokio::test]
async fn exports_are_on_record() {
    let world = World::new().await;
    world.decide(&["a", "b"], |_, _| {}).await;
    let path = "/api/v2/audit-logs/export?format=csv&hostname=router1&reason=audit%202026";
    let csv = world.get(path).await;
    assert_eq!(csv.text.lines().count(), 3);
    let audit = "/api/v2/config-audit?table_name=exports";
    let page = world.until(audit, |page| page["total"] == 2).await;
    let (end, begin) = (&page["changes"][0], &page["changes"][1]);
    assert_eq!(
        begin["new_values"],
        json!({"what": "audit", "format": "csv", "filters": {"hostname": "router1"}})
    );
    assert_eq!(end["new_values"], json!({"rows": 2, "ended": "complete"}));
    assert_eq!(begin["record_key"], end["record_key"]);
    assert_eq!(
        (&begin["changed_by"], &begin["reason"], &begin["operation"]),
        (
            &json!("WEBUI_API_KEY"),
            &json!("audit 2026"),
            &json!("CREATE")
        )
    );

    let changes = world.get("/api/v2/config-audit/export?format=csv").await;
    assert!(
        changes
            .header("content-disposition")
            .contains("config-audit.csv")
    );
    let mut reader = csv::Reader::from_reader(changes.text.as_bytes());
    assert_eq!(reader.headers().unwrap().len(), 12);
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(&rows[0][11], end["row_hash"].as_str().unwrap());
    let lines = world
        .get("/api/v2/config-audit/export?operation=UPDATE")
        .await;
    let line: Value = serde_json::from_str(lines.text.lines().next().unwrap()).unwrap();
    assert_eq!(line["operation"], "UPDATE");
    world.until(audit, |page| page["total"] == 6).await;
    let verified = world.get("/api/v2/config-audit/verify").await.is(200);
    assert_eq!(
        (&verified["intact"], &verified["rows"]),
        (&json!(true), &json!(6))
    );
    let fields = world
        .get("/api/v2/config-audit/export?format=xml")
        .await
        .problem(400);
    assert_eq!(fields, ["format"]);
}

#[tokio::test]
async fn an_export_goes_through_every_page() {
    let world = World::new().await;
    let texts: Vec<String> = (0..2500).map(|number| format!("m{number}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    world.decide(&texts, |_, _| {}).await;
    let lines = world.get("/api/v2/audit-logs/export").await;
    let rows: Vec<Value> = lines
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let expected: Vec<_> = texts.iter().rev().map(|text| (*text).to_owned()).collect();
    assert_eq!(messages(&json!(rows)), expected);
}

#[tokio::test]
async fn the_timeline_of_an_event_is_told() {
    let world = World::new().await;
    let rule = world.rule("link").await;
    let rows = world
        .decide(&["link down"], |_, row| row.forwarded_to_moog = true)
        .await;
    let path = format!("/api/v2/events/{}", rows[0].event_id);
    let timeline = world.get(&path).await.is(200);
    assert_eq!(timeline["audit"][0]["hostname"], "router1");
    assert_eq!(
        (&timeline["rule"]["id"], &timeline["rule_changed_since"]),
        (&json!(rule), &json!(false))
    );
    assert_eq!(timeline["explanation"]["winner"], rule);
    let steps: Vec<_> = timeline["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["what"].as_str().unwrap())
        .collect();
    assert_eq!(steps, ["received", "decided"]);
    world
        .put("/api/v2/rules/1", json!({"priority": 1}))
        .await
        .is(200);
    assert_eq!(world.get(&path).await.is(200)["rule_changed_since"], true);
    world
        .get("/api/v2/events/0193f0c0-0000-7000-8000-000000000000")
        .await
        .problem(404);
    assert_eq!(
        world.get("/api/v2/events/nonsense").await.problem(400),
        ["event_id"]
    );
}

fn live(message: &str, severity: u8) -> LiveEvent {
    LiveEvent {
        event_id: mutt_event::EventId::new(),
        received_at: jiff::Timestamp::now(),
        hostname: "router1".to_owned(),
        message: message.to_owned(),
        cut: false,
        trap_oid: None,
        severity: Some(severity),
        source: None,
        environment: "production".to_owned(),
        rule_id: None,
        handling: "Unhandled".to_owned(),
        team: None,
    }
}

#[tokio::test]
async fn one_stream_carries_the_status_and_every_view() {
    let world = World::new().await;
    for query in ["", "?status=maybe"] {
        let answer = world.get(&format!("/api/v2/stream{query}")).await;
        assert_eq!(answer.problem(400), ["status"], "{query}");
    }
    let path =
        "/api/v2/stream?status=true&events=text%3Dlink&events=severity%3D9&events=severity%3D2";
    let mut answer = world.request("GET", path).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    world.engine.show(LiveBatch {
        events: vec![live("link down", 3), live("fan failed", 2)],
        total: 30,
        every: 15,
    });
    let mut text = String::new();
    while !(text.contains("event: status")
        && text.contains(r#""filter":"text=link""#)
        && text.contains(r#""filter":"severity=2""#)
        && text.ends_with("\n\n"))
    {
        let chunk = tokio::time::timeout(PATIENCE, answer.chunk())
            .await
            .unwrap();
        text.push_str(std::str::from_utf8(&chunk.unwrap().unwrap()).unwrap());
    }
    // A filter that is not possible is told so, and blinds nobody else.
    assert!(text.contains(r#""filter":"severity=9""#) && text.contains("0 to 7 is allowed"));
    for (filter, message) in [("text=link", "link down"), ("severity=2", "fan failed")] {
        let moment = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data:")?).ok())
            .find(|data| data["filter"] == filter)
            .unwrap();
        assert_eq!(moment["events"].as_array().unwrap().len(), 1);
        assert_eq!(moment["events"][0]["message"], message);
        let counts = ["matched", "sampled", "total"].map(|field| moment[field].as_u64().unwrap());
        assert_eq!(counts, [1, 2, 30]);
    }
}

#[tokio::test]
async fn the_stream_shows_what_its_filters_choose() {
    let world = World::new().await;
    assert_eq!(
        world
            .get("/api/v2/events/stream?severity=9")
            .await
            .problem(400),
        ["severity"]
    );
    let mut answer = world
        .request("GET", "/api/v2/events/stream?text=LINK&severity=4")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    world.engine.show(LiveBatch {
        events: vec![
            live("link down", 3),
            live("link up", 6),
            live("fan failed", 2),
        ],
        total: 30,
        every: 10,
    });
    let mut text = String::new();
    while !text.contains("\n\n") {
        let chunk = tokio::time::timeout(PATIENCE, answer.chunk())
            .await
            .unwrap();
        text.push_str(std::str::from_utf8(&chunk.unwrap().unwrap()).unwrap());
    }
    let batch: Value = serde_json::from_str(text.trim().strip_prefix("data:").unwrap()).unwrap();
    assert_eq!(
        (&batch["total"], batch["events"].as_array().unwrap().len()),
        (&json!(30), 1)
    );
    assert_eq!(batch["events"][0]["message"], "link down");
}
