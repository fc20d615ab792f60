//! What happens at the door, from the command line: limits that change while MUTT runs, what `mutt
//! tail`, `mutt status`, `mutt top` and `mutt doctor` say about senders and listeners.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod support;

use std::process::{Output, Stdio};

use serde_json::{Value, json};
use support::{Mutt, until};

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn ok(output: &Output) -> String {
    assert!(output.status.success(), "{}", err(output));
    out(output)
}

#[tokio::test]
async fn limits_of_senders_take_effect_at_once_and_who_passes_them_is_shown() {
    let mut mutt = Mutt::new(&[]);
    let senders = mutt.data().join("senders.toml");
    std::fs::write(
        &senders,
        "[[sender]]\nnetwork = \"127.0.0.0/8\"\ntags = [\"lab\"]\n",
    )
    .unwrap();
    mutt.set("SENDERS_FILE", senders.to_str().unwrap());
    mutt.start().await;
    let socket = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let storm = |count: usize| {
        for number in 0..count {
            let line = format!("<13>Oct 11 22:14:15 mad-sw fan: failed {number}");
            socket.send_to(line.as_bytes(), mutt.syslog.addr()).unwrap();
        }
    };
    let tail = mutt
        .command(&["tail", "--source", "syslog", "--json", "--limit", "1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut tail = Some(tail);
    until("tail to see a datagram", async || {
        mutt.post(r#"{"hostname":"r1","message":"posted"}"#)
            .await
            .unwrap();
        storm(1);
        tail.as_mut().unwrap().try_wait().unwrap().is_some()
    })
    .await;
    let seen = out(&tail.take().unwrap().wait_with_output().unwrap());
    let event: Value = serde_json::from_str(seen.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&event["source"], &event["hostname"]),
        (&json!("syslog"), &json!("mad-sw"))
    );

    ok(&mutt.run(&["config", "set", "sender_burst", "1"]));
    ok(&mutt.run(&["config", "set", "sender_max_rate", "1"]));
    until("the flood to be shown", async || {
        storm(20);
        ok_or_problem(&mutt.run(&["status"])).contains("FLOODS")
    })
    .await;
    let status = ok_or_problem(&mutt.run(&["status"]));
    assert!(
        status.contains("mad-sw") && status.contains("syslog_udp"),
        "{status}"
    );
    let top = ok(&mutt.run(&["top", "--once"]));
    assert!(top.contains("FLOODS"), "{top}");
    let doctor = out(&mutt.run(&["doctor"]));
    assert!(
        doctor.contains("syslog_udp is open at 127.0.0.1:"),
        "{doctor}"
    );
    assert!(doctor.contains(" flood\n"), "{doctor}");
    assert!(doctor.contains("senders.toml is good: 1 entry"), "{doctor}");
    let refused = mutt.run(&["config", "set", "sender_flood_action", "shout"]);
    assert!(
        err(&refused).contains("drop or sample or mark"),
        "{}",
        err(&refused)
    );

    std::fs::write(&senders, "[[sender]]\nnetwork = \"127.0.0.1/8\"\n").unwrap();
    let doctor = mutt.run(&["doctor"]);
    assert!(
        out(&doctor).contains("line 2: network: '127.0.0.1/8' is an address within a network"),
        "{}",
        out(&doctor)
    );
    assert_eq!(doctor.status.code(), Some(3));
}

/// What a command says that may end with 3 because something needs a person.
fn ok_or_problem(output: &Output) -> String {
    assert!(
        matches!(output.status.code(), Some(0 | 3)),
        "{}",
        err(output)
    );
    out(output)
}
