//! The command line as a person uses it: without a server, and beside one.

mod support;

use std::process::Output;
use std::time::Duration;

use mutt_engine::embedded::{Embedded, Mode};
use mutt_engine::{DeadLetter, DeadLetters as _, Dlq, Reason, Workers as _};
use mutt_forwarder::MockMoog;
use mutt_forwarder::mock::Fault;
use serde_json::{Value, json};
use support::{Mutt, contains, until};

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn ok(output: &Output) -> String {
    assert!(output.status.success(), "{}{}", out(output), err(output));
    out(output)
}

#[tokio::test]
async fn rules_are_imported_exported_listed_and_refused_without_a_server() {
    let mutt = Mutt::new(&[]);
    let file = mutt.data().join("rules.json");
    let rules = json!([
        contains("LINK-DOWN", "page_AND_ticket"),
        contains("ERROR", "Ticket_only")
    ]);
    std::fs::write(&file, rules.to_string()).unwrap();
    let path = file.to_str().unwrap();
    assert!(err(&mutt.run(&["rules", "import", path])).contains("2 rules added"));

    let listed: Value = serde_json::from_str(&ok(&mutt.run(&["rules", "list", "--json"]))).unwrap();
    assert_eq!(listed[0]["prod_handling"], "Page_and_ticket");
    assert!(ok(&mutt.run(&["rules", "list"])).contains("'LINK-DOWN'"));
    let exported: Value = serde_json::from_str(&ok(&mutt.run(&["rules", "export"]))).unwrap();
    assert_eq!(exported.as_array().unwrap().len(), 2);

    // A dump of the table goes in as it is, without its deleted rules.
    let mut dump = listed.clone();
    dump[1]["deleted_at"] = "2026-11-21T12:00:00Z".into();
    std::fs::write(&file, dump.to_string()).unwrap();
    let elsewhere = Mutt::new(&[]);
    assert!(err(&elsewhere.run(&["rules", "import", path])).contains("Rule 1 added"));

    // One bad rule: none of the file is stored, and the message says which, where and why.
    let bad = json!([contains("FINE", "Ignore"), {
        "match_string": "a(b", "match_type": "regex", "prod_handling": "Ignore",
        "dev_handling": "Ignore", "team_assignment": "NetOps",
    }]);
    std::fs::write(&file, bad.to_string()).unwrap();
    let refused = mutt.run(&["rules", "import", path]);
    assert_eq!(refused.status.code(), Some(3), "{}", err(&refused));
    assert!(
        err(&refused).contains("rule 1: match_string"),
        "{}",
        err(&refused)
    );
    let listed: Value = serde_json::from_str(&ok(&mutt.run(&["rules", "list", "--json"]))).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn rules_test_says_which_rule_wins_and_why_the_others_do_not() {
    let mutt = Mutt::new(&[]);
    mutt.rules(json!([
        contains("LINK-DOWN", "Page_only"),
        contains("ERROR", "Ticket_only")
    ]))
    .await;
    let lines = mutt.data().join("lines");
    std::fs::write(
        &lines,
        "<187>Nov 21 12:00:00 r1 link: an error occurred\n<187>Nov 21 12:00:00 r1 nothing\n",
    )
    .unwrap();
    let output = mutt.run(&[
        "rules",
        "test",
        "--explain",
        "--lines",
        lines.to_str().unwrap(),
    ]);
    let text = ok(&output);
    assert!(text.contains("rule 2  <187>"), "{text}");
    assert!(text.contains("no rule"), "{text}");
    assert!(text.contains("rule 1: "), "{text}");
    assert!(
        err(&output).contains("1 of 2 lines match a rule"),
        "{}",
        err(&output)
    );
}

#[tokio::test]
async fn dynamic_configuration_is_checked_kept_shown_and_reverted() {
    let mutt = Mutt::new(&[("MOOG_RATE_LIMIT", "70")]);
    let set = |value: &str| {
        mutt.run(&[
            "config",
            "set",
            "moog_rate_limit",
            value,
            "--reason",
            "a test",
        ])
    };
    assert_eq!(
        ok(&mutt.run(&["config", "get", "moog_rate_limit"])).trim(),
        "70"
    );
    ok(&set("100"));
    ok(&set("200"));
    let refused = set("0");
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        err(&refused).contains("a whole number from 1 to 1000000"),
        "{}",
        err(&refused)
    );
    assert_eq!(
        ok(&mutt.run(&["config", "get", "moog_rate_limit"])).trim(),
        "200"
    );
    ok(&mutt.run(&["config", "revert", "moog_rate_limit"]));
    assert_eq!(
        ok(&mutt.run(&["config", "get", "moog_rate_limit"])).trim(),
        "100"
    );
    let history = ok(&mutt.run(&["config", "history", "moog_rate_limit"]));
    assert!(
        history.contains("a test") && history.contains("cli:tester"),
        "{history}"
    );
    let shown: Value = serde_json::from_str(&ok(&mutt.run(&["config", "show", "--json"]))).unwrap();
    assert_eq!(
        shown["moog_rate_limit"],
        json!({"value": "100", "origin": "dynamic"})
    );
    assert_eq!(
        shown["MOOG_RATE_LIMIT"],
        json!({"value": "70", "origin": "environment"})
    );
    ok(&mutt.run(&["config", "unset", "moog_rate_limit"]));
    assert_eq!(
        ok(&mutt.run(&["config", "get", "moog_rate_limit"])).trim(),
        "70"
    );
}

#[tokio::test]
async fn exit_codes_tell_wrong_use_from_problems() {
    let mutt = Mutt::new(&[("AUDIT_SCOPE", "some")]);
    assert_eq!(mutt.run(&["config", "check"]).status.code(), Some(3));
    assert_eq!(mutt.run(&["nonsense"]).status.code(), Some(2));
    let mutt = Mutt::new(&[]);
    assert_eq!(mutt.run(&["config", "check"]).status.code(), Some(0));
    assert_eq!(
        mutt.run(&["config", "get", "nonsense"]).status.code(),
        Some(2)
    );
    let nobody = mutt.run(&["status"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(err(&nobody).contains("Is MUTT running"), "{}", err(&nobody));
}

#[tokio::test]
async fn a_running_server_hears_of_rules_hosts_and_configuration() {
    let mock = MockMoog::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let mut mutt = Mutt::new(&[("MOOG_WEBHOOK_URL", &mock.url())]);
    mutt.start().await;
    let rule = contains("NEW-RULE", "Page_only").to_string();
    ok(&mutt.run(&["rules", "add", &rule]));
    let delivered = async || mock.stats(Duration::from_secs(1)).unique;
    until("the new rule to decide", async || {
        mutt.post(r#"{"hostname":"host-1","message":"NEW-RULE"}"#)
            .await
            .unwrap();
        delivered().await > 0
    })
    .await;
    // As a development host its events are ignored from some moment on.
    ok(&mutt.run(&["hosts", "add", "HOST-1"]));
    let engine = mutt.engine();
    until("the host to be in development", async || {
        mutt.post(r#"{"hostname":"host-1","message":"NEW-RULE"}"#)
            .await
            .unwrap();
        let filter = mutt_engine::AuditFilter {
            limit: 1,
            ..Default::default()
        };
        engine
            .audit_rows(filter)
            .await
            .unwrap()
            .first()
            .is_some_and(|row| row.environment == "development")
    })
    .await;
    engine.close().await;
    ok(&mutt.run(&["config", "set", "max_ingest_queue_size", "5000"]));
    until("the new limit in /admin/config", async || {
        let answer = reqwest::Client::new()
            .get(mutt.url("/admin/config"))
            .header("x-api-key", support::KEY)
            .send()
            .await
            .unwrap();
        answer.text().await.unwrap().contains("5000")
    })
    .await;
}

#[tokio::test]
async fn status_tail_and_top_show_a_running_server() {
    let mock = MockMoog::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let mut mutt = Mutt::new(&[("MOOG_WEBHOOK_URL", &mock.url())]);
    mutt.rules(json!([contains("LINK-DOWN", "Page_only")]))
        .await;
    mutt.start().await;
    let tail = mutt
        .command(&["tail", "--json", "--limit", "1", "LINK-DOWN"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut tail = Some(tail);
    until("tail to see an event", async || {
        mutt.post(r#"{"hostname":"r1","message":"LINK-DOWN now"}"#)
            .await
            .unwrap();
        tail.as_mut().unwrap().try_wait().unwrap().is_some()
    })
    .await;
    let seen = out(&tail.take().unwrap().wait_with_output().unwrap());
    let event: Value = serde_json::from_str(seen.lines().next().unwrap()).unwrap();
    assert_eq!(event["hostname"], "r1");
    assert_eq!(event["handling"], "Page_only");

    let status = ok(&mutt.run(&["status"]));
    assert!(
        status.contains("mutt:ingest_queue") && status.contains("circuit closed"),
        "{status}"
    );
    let top = ok(&mutt.run(&["top", "--once"]));
    assert!(
        top.contains("received") && top.contains("LINK-DOWN"),
        "{top}"
    );
    let doctor = mutt.run(&["doctor"]);
    assert!(
        out(&doctor).contains("is healthy"),
        "{}{}",
        out(&doctor),
        err(&doctor)
    );
    let denied = mutt
        .command(&["status"])
        .env("WEBUI_API_KEY", "wrong")
        .output()
        .unwrap();
    assert_eq!(denied.status.code(), Some(4), "{}", err(&denied));
}

#[tokio::test]
async fn dead_letters_are_listed_shown_replayed_and_discarded() {
    let mock = MockMoog::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    mock.set_faults([Fault {
        status: Some(422),
        body: Some("no such team".into()),
        ..Fault::default()
    }]);
    let mut mutt = Mutt::new(&[("MOOG_WEBHOOK_URL", &mock.url())]);
    mutt.rules(json!([contains("LINK-DOWN", "Page_only")]))
        .await;
    mutt.start().await;
    for n in 0..2 {
        mutt.post(json!({"hostname": "r1", "message": format!("LINK-DOWN {n}")}).to_string())
            .await
            .unwrap();
    }
    let entries = || -> Vec<Value> {
        serde_json::from_str(&ok(&mutt.run(&["dlq", "list", "moog", "--json"]))).unwrap()
    };
    until("two dead letters", async || entries().len() == 2).await;
    let first = entries()[0].clone();
    let id = first["id"].as_str().unwrap();
    assert_eq!(first["reason"], "refused");
    assert!(ok(&mutt.run(&["dlq", "show", "moog", id])).contains("no such team"));
    assert_eq!(
        mutt.run(&["dlq", "replay", "moog"]).status.code(),
        Some(2),
        "which ones must be said"
    );
    assert_eq!(
        mutt.run(&["dlq", "discard", "moog", id]).status.code(),
        Some(2),
        "why must be said"
    );

    mock.set_faults([]);
    ok(&mutt.run(&["dlq", "replay", "moog", id]));
    until("the replayed alert", async || {
        mock.stats(Duration::from_secs(1)).unique == 1
    })
    .await;
    ok(&mutt.run(&["dlq", "discard", "moog", "--all", "--why", "a test"]));
    until("an empty queue", async || entries().is_empty()).await;
}

#[tokio::test]
async fn keys_are_made_listed_and_revoked() {
    let mut mutt = Mutt::new(&[("WEBUI_API_KEY", "the-first-key")]);
    let away = mutt.run(&["keys", "list"]);
    assert_eq!(away.status.code(), Some(1));
    assert!(err(&away).contains("nothing answers"), "{}", err(&away));
    mutt.start().await;
    let made = mutt.run(&[
        "keys",
        "create",
        "noc",
        "--role",
        "operator",
        "--reason",
        "night shift",
    ]);
    let key = ok(&made).trim().to_owned();
    assert!(
        key.starts_with("mutt_") && !key.contains(char::is_whitespace),
        "{key}"
    );
    let again = mutt.run(&["keys", "create", "noc", "--role", "viewer"]);
    assert_eq!(again.status.code(), Some(2), "{}", err(&again));
    let wrong = mutt.run(&["keys", "create", "x", "--role", "root"]);
    assert_eq!(wrong.status.code(), Some(2));
    let listed: Value = serde_json::from_str(&ok(&mutt.run(&["keys", "list", "--json"]))).unwrap();
    assert_eq!(
        (&listed[0]["name"], &listed[0]["role"]),
        (&json!("noc"), &json!("operator"))
    );
    assert!(!listed.to_string().contains(&key));
    assert!(ok(&mutt.run(&["keys", "list"])).contains("operator"));

    // An operator makes no keys.
    let mut command = mutt.command(&["keys", "list"]);
    let denied = command.env("WEBUI_API_KEY", &key).output().unwrap();
    assert_eq!(denied.status.code(), Some(4), "{}", err(&denied));
    assert!(err(&denied).contains("operator"), "{}", err(&denied));

    ok(&mutt.run(&["keys", "revoke", "noc", "--reason", "left"]));
    assert_eq!(
        mutt.run(&["keys", "revoke", "nobody"]).status.code(),
        Some(2)
    );
    let listed: Value = serde_json::from_str(&ok(&mutt.run(&["keys", "list", "--json"]))).unwrap();
    assert!(listed[0]["revoked_at"].is_string(), "{listed}");
}

#[tokio::test]
async fn dead_letters_are_decided_anew_and_replayed_at_a_rate() {
    let mut mutt = Mutt::new(&[("WEBUI_API_KEY", "the-first-key")]);
    let event = json!({
        "hostname": "r1", "message": "LINK-DOWN", "_event_id": "01920000-0000-7000-8000-000000000001",
        "_received_at": "2026-01-02T03:04:05Z",
    });
    let alert = json!({
        "hostname": "r1", "team_assignment": "Net", "message_body": "LINK-DOWN",
        "raw_json": event.to_string(), "_event_id": event["_event_id"],
    });
    let engine = Embedded::open(mutt.data(), Mode::Tool).unwrap();
    let letter = |detail: &str, element: &Value| DeadLetter {
        reason: Reason::Refused,
        detail: detail.to_owned(),
        element: element.to_string().into_bytes(),
    };
    let letters = vec![letter("HTTP 404: no such team", &alert)];
    engine.bury(Dlq::Moog, letters).await.unwrap();
    let records = (0..3).map(|_| letter("no host", &json!({}))).collect();
    engine.bury(Dlq::Ingest, records).await.unwrap();
    engine.close().await;

    let anew = mutt.run(&[
        "dlq",
        "replay",
        "moog",
        "--status",
        "404",
        "--host",
        "R1",
        "--redecide",
    ]);
    ok(&anew);
    assert!(
        err(&anew).contains("1 entry sent back to be decided anew"),
        "{}",
        err(&anew)
    );
    assert!(!ok(&mutt.run(&["dlq", "list", "moog"])).contains("404"));

    mutt.start().await;
    let none = mutt.run(&["dlq", "replay", "ingest", "--all", "--rate", "0"]);
    assert_eq!(none.status.code(), Some(2));
    let replayed = mutt.run(&[
        "dlq", "replay", "ingest", "--all", "--rate", "100", "--why", "a test",
    ]);
    ok(&replayed);
    assert!(
        err(&replayed).contains("done: 3 replayed, 0 left"),
        "{}",
        err(&replayed)
    );
    let jobs: Value = serde_json::from_str(&ok(&mutt.run(&["dlq", "jobs", "--json"]))).unwrap();
    assert_eq!(
        (&jobs[0]["state"], &jobs[0]["reason"]),
        (&json!("done"), &json!("a test"))
    );
    assert!(ok(&mutt.run(&["dlq", "jobs"])).contains("replay ingest"));
    let id = jobs[0]["id"].as_str().unwrap();
    let ended = mutt.run(&["dlq", "jobs", "--abort", id]);
    assert_eq!(ended.status.code(), Some(2), "{}", err(&ended));
}

#[tokio::test]
async fn logs_can_be_one_json_object_per_line() {
    let mut mutt = Mutt::new(&[
        ("LOG_JSON_ENABLED", "true"),
        ("LOG_LEVEL", "info"),
        ("POD_NAME", "pod-7"),
    ]);
    mutt.start().await;
    assert_eq!(mutt.stop(), Some(0));
    let log = mutt.log();
    assert!(!log.trim().is_empty());
    for line in log.lines() {
        let entry: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(entry["pod"], "pod-7");
        assert!(
            entry["timestamp"].is_string() && entry["message"].is_string(),
            "{line}"
        );
    }
    assert!(!log.contains(support::KEY), "no key in the log");
}

#[tokio::test]
async fn mib_files_are_listed_checked_and_used_to_translate() {
    let directory = tempfile::tempdir().unwrap();
    let (mibs, list) = (
        directory.path().join("mibs"),
        directory.path().join("names"),
    );
    std::fs::create_dir(&mibs).unwrap();
    std::fs::write(
        mibs.join("ACME-MIB"),
        "ACME-MIB DEFINITIONS ::= BEGIN\nIMPORTS enterprises FROM SNMPv2-SMI\n\
         TRAP-TYPE FROM RFC-1215;\nacme OBJECT IDENTIFIER ::= { enterprises 99999 }\n\
         pumpFailed TRAP-TYPE ENTERPRISE acme DESCRIPTION \"d\" ::= 7\nEND\n",
    )
    .unwrap();
    std::fs::write(&list, "1.3.6.1.4.1.99999.3 valve\n").unwrap();
    let mutt = Mutt::new(&[
        ("SNMP_MIB_DIR", mibs.to_str().unwrap()),
        ("SNMP_NAMES_FILE", list.to_str().unwrap()),
    ]);

    let table = ok(&mutt.run(&["mibs"]));
    assert!(
        table.contains("ACME-MIB  1              0        "),
        "{table}"
    );
    assert!(ok(&mutt.run(&["mibs", "check"])).is_empty());

    let words = [
        "1.3.6.1.4.1.99999.7",
        "1.3.6.1.6.3.1.1.5.3",
        "ifDescr.3",
        "1.3.6.1.4.1.99999.3.1",
    ];
    let args = [&["mibs", "name", "--json"][..], &words].concat();
    let named: Value = serde_json::from_str(&ok(&mutt.run(&args))).unwrap();
    assert_eq!(
        named,
        json!([
            {"oid": "1.3.6.1.4.1.99999.7", "name": "pumpFailed", "kind": "notification", "from": "ACME-MIB"},
            {"oid": "1.3.6.1.6.3.1.1.5.3", "name": "linkDown", "kind": "notification", "from": "MUTT"},
            {"oid": "1.3.6.1.2.1.2.2.1.2.3", "name": "ifDescr.3", "kind": "object", "from": "MUTT"},
            {"oid": "1.3.6.1.4.1.99999.3.1", "name": "valve.1", "kind": "notification", "from": "names file"},
        ])
    );
    let unknown = mutt.run(&["mibs", "name", "2.16.1", "nobody"]);
    assert_eq!(unknown.status.code(), Some(3));
    assert_eq!(
        err(&unknown).trim(),
        "error: no name is known for: 2.16.1, nobody"
    );

    // What is wrong is told by file and line, and is a problem to scripts.
    std::fs::write(&list, "valve\n").unwrap();
    std::fs::write(
        mibs.join("LACKING-MIB"),
        "LACKING-MIB DEFINITIONS ::= BEGIN\nIMPORTS bolt FROM BOLT-MIB;\n\
         nut OBJECT IDENTIFIER ::= { bolt 1 }\nEND\n",
    )
    .unwrap();
    let checked = mutt.run(&["mibs", "check"]);
    assert_eq!(checked.status.code(), Some(3));
    let told = out(&checked);
    for line in [
        "/names:1: error: 'valve' is one word; expected an OID and a name",
        "/mibs/LACKING-MIB:2: error: LACKING-MIB: imports bolt from BOLT-MIB, which is in none of the files",
        "/mibs/LACKING-MIB:3: error: LACKING-MIB: nut has no number, nor has anything below it: its parent bolt is not known",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
    let elsewhere = mutt.run(&["mibs", "check", mibs.to_str().unwrap(), "--json"]);
    let checked: Value = serde_json::from_str(&out(&elsewhere)).unwrap();
    assert_eq!(
        (&checked["errors"], &checked["files"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(
        Mutt::new(&[]).run(&["mibs", "check"]).status.code(),
        Some(2)
    );
}
