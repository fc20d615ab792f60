//! The demo and the sender, as a newcomer runs them.

mod support;

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use support::{Mutt, Port, until};

#[tokio::test]
async fn the_demo_is_alive_says_where_to_look_and_ends_in_order() {
    let mutt = Mutt::new(&[]);
    let base = Port::take();
    let mut demo = mutt
        .command(&[
            "demo",
            "--rate",
            "100",
            "--for",
            "20",
            "--port-base",
            &base.number.to_string(),
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = Vec::new();
    for line in BufReader::new(demo.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.starts_with("  UI ") {
            signs_in_once(between(&line, "UI", "valid")).await;
        }
        lines.push(line);
    }
    let status = demo.wait().unwrap();
    let text = lines.join("\n");
    let said = std::io::read_to_string(demo.stderr.take().unwrap()).unwrap();
    assert!(status.success(), "{text}\n{said}");
    for what in [
        "mutt top",
        "mutt tail",
        "logger -n 127.0.0.1",
        "/ingest",
        "valid 30 min, once",
        "20 s  ",
    ] {
        assert!(text.contains(what), "{what} is missing in:\n{text}");
    }
    // "  15 s  1,400 received, 1,400 decided (59 % by a rule), 410 alerts delivered, …"
    let summary = lines
        .iter()
        .rfind(|line| line.contains("by a rule"))
        .unwrap();
    let share: f64 = between(summary, "(", " %").parse().unwrap();
    assert!(
        (45.0..75.0).contains(&share),
        "rules handle about 60 %: {summary}"
    );
    let delivered: u64 = between(summary, "), ", " alerts")
        .replace(',', "")
        .parse()
        .unwrap();
    assert!(delivered > 0, "{summary}");
}

/// The login link that was printed.
async fn signs_in_once(link: &str) {
    let (base, token) = link.split_once("/#/login/").expect("a login link");
    let sign_in = async || {
        let request = reqwest::Client::new().post(format!("{base}/api/v2/session"));
        let body = serde_json::json!({ "link": token });
        request.json(&body).send().await.expect("an answer")
    };
    let session: serde_json::Value = sign_in().await.json().await.expect("JSON");
    assert_eq!(session["role"], "admin", "{session}");
    assert_eq!(sign_in().await.status(), 401);
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    text.split_once(before)
        .and_then(|(_, rest)| rest.split_once(after))
        .unwrap_or_else(|| panic!("{before}…{after} in {text}"))
        .0
        .trim()
}

#[tokio::test]
async fn lines_of_a_file_and_storms_are_sent() {
    let mut mutt = Mutt::new(&[
        ("AUDIT_SCOPE", "all"),
        ("UNHANDLED_EVENT_THRESHOLD", "1000000"),
    ]);
    mutt.start().await;
    let file = mutt.data().join("lines");
    std::fs::write(
        &file,
        "<13>Nov 21 12:00:00 r1 one\n<13>Nov 21 12:00:00 r1 two\n",
    )
    .unwrap();
    let path = file.to_str().unwrap();
    let engine = mutt.engine();
    let rows = async || engine.audit_count().await.unwrap();

    let output = mutt.run(&["send", "syslog", path, "--transport", "tcp", "--json"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"sent\":2"));
    until("two lines over TCP", async || rows().await == 2).await;

    let output = mutt.run(&["send", "syslog", path, "--count", "6", "--rate", "1000"]);
    assert!(output.status.success());
    until("six datagrams", async || rows().await == 8).await;

    std::fs::write(&file, r#"{"hostname":"r1","message":"posted"}"#).unwrap();
    assert!(mutt.run(&["send", "http", path]).status.success());
    until("a posted event", async || rows().await == 9).await;

    let dry = mutt.run(&["send", "syslog", "--storm", "link-flap", "--dry-run"]);
    assert!(String::from_utf8_lossy(&dry.stdout).contains("%LINK-3-UPDOWN"));
    assert_eq!(rows().await, 9, "a dry run sends nothing");
    assert_eq!(
        mutt.run(&["send", "syslog", "--storm", "nonsense"])
            .status
            .code(),
        Some(2)
    );
    engine.close().await;
}

#[tokio::test]
async fn events_are_sent_over_https_and_a_certificate_that_nobody_trusts_is_named() {
    let names = vec!["127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let mut mutt = Mutt::new(&[("AUDIT_SCOPE", "all")]);
    let (certificate, key) = (mutt.data().join("cert.pem"), mutt.data().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    mutt.set("TLS_CERT_FILE", certificate.to_str().unwrap());
    mutt.set("TLS_KEY_FILE", key.to_str().unwrap());
    mutt.spawn();
    let file = mutt.data().join("event");
    std::fs::write(&file, r#"{"hostname":"r1","message":"over TLS"}"#).unwrap();
    let send =
        |trusted: &[&str]| mutt.run(&[&["send", "http", file.to_str().unwrap()], trusted].concat());
    let trusted = ["--ca", certificate.to_str().unwrap()];
    until("an event over HTTPS", async || {
        send(&trusted).status.success()
    })
    .await;
    let output = send(&[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("certificate"), "{said}");
    let engine = mutt.engine();
    until("its audit row", async || {
        engine.audit_count().await.unwrap() == 1
    })
    .await;
    engine.close().await;
}
