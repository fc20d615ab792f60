//! Dead letters that MUTT 2.5 left, long queues, and several who move entries at once.

mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use mutt_distributed::Distributed;
use mutt_engine::conformance::sample::{change, claim, claim_alerts, element, number, numbers};
use mutt_engine::conformance::{Fixture as _, eventually};
use mutt_engine::dead_letters::{Remediated, ReplayPolicy};
use mutt_engine::{
    AlertQueue as _, DeadLetter, DeadLetterFilter, DeadLetters as _, Dlq, Engine, EngineError,
    Reason,
};
use mutt_postgres::{PostgresOptions, SslMode};
use support::Store;

fn any() -> DeadLetterFilter {
    DeadLetterFilter::default()
}

fn with_text(text: &str) -> DeadLetterFilter {
    DeadLetterFilter {
        text: Some(text.to_owned()),
        ..any()
    }
}

fn with_ids(ids: &[&str]) -> DeadLetterFilter {
    DeadLetterFilter {
        ids: Some(ids.iter().map(|&id| id.to_owned()).collect()),
        ..any()
    }
}

fn letter(element: Vec<u8>) -> DeadLetter {
    DeadLetter {
        reason: Reason::RetriesExhausted,
        detail: "it failed".to_owned(),
        element,
    }
}

fn at_once(batch: usize) -> ReplayPolicy {
    ReplayPolicy {
        batch,
        max_replays: 3,
        backoff: Duration::ZERO,
    }
}

fn old_alert(text: &str) -> String {
    format!(
        r#"{{"api_key":"x","hostname":"h","team_assignment":"N","severity":"Warning","message_body":"{text}","raw_json":{{}},"_correlation_id":"c","_moog_retry_count":6}}"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_2_5_are_listed_and_chosen() {
    let store = Store::start().await;
    let engine = store.open().await;
    let same = old_alert("same");
    for entry in [&same, &old_alert("other"), &same, &same] {
        store.redis.command(&["LPUSH", "mutt:dlq:moog", entry]);
    }
    engine
        .bury(Dlq::Moog, vec![letter(element(7))])
        .await
        .unwrap();
    let listed = engine.dead_letters(Dlq::Moog, &any(), 0, 10).await.unwrap();
    let ids: HashSet<_> = listed.iter().map(|entry| entry.id.clone()).collect();
    assert_eq!(ids.len(), 5, "each has an identity");
    assert_eq!(listed[0].message, same);
    assert_eq!(listed[0].reason, Reason::RetriesExhausted);
    assert_eq!((listed[0].attempts, listed[0].origin), (6, Dlq::Moog));
    let page = engine.dead_letters(Dlq::Moog, &any(), 2, 2).await.unwrap();
    assert_eq!(page, listed[2..4], "the same identities page by page");
    let page = engine.dead_letters(Dlq::Moog, &any(), 4, 9).await.unwrap();
    assert_eq!(page, listed[4..]);

    // The second and third of the equal ones.
    let chosen = with_ids(&[&listed[2].id, &listed[3].id]);
    let by = change("mended");
    assert_eq!(engine.replay(Dlq::Moog, &chosen, &by).await.unwrap(), 2);
    let left = engine.dead_letters(Dlq::Moog, &any(), 0, 10).await.unwrap();
    assert_eq!(
        left,
        [listed[0].clone(), listed[1].clone(), listed[4].clone()]
    );
    let alerts = claim_alerts(&*engine, "m", 10).await;
    assert!(
        alerts
            .iter()
            .all(|alert| *alert.element == *same.as_bytes())
    );
    assert_eq!(alerts.len(), 2);
    assert_eq!((alerts[0].attempts, alerts[0].replays), (0, 0));
    let filter = with_text("other");
    assert_eq!(engine.discard(Dlq::Moog, &filter, &by).await.unwrap(), 1);
    assert_eq!(engine.dlq_depth(Dlq::Moog).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_2_5_are_remediated() {
    let store = Store::start().await;
    let engine = store.open().await;
    let shed = r#"{"hostname":"h","message":"m","number":1,"shedding_reason":"queue_full"}"#;
    let broken = r#"{"hostname":"h","#;
    for entry in [shed, broken] {
        store.redis.command(&["LPUSH", "mutt:dlq:alerter", entry]);
    }
    store
        .redis
        .command(&["LPUSH", "mutt:dlq:moog", &old_alert("m")]);
    let refused = r#"{"hostname":"h","team_assignment":"N","message_body":"m"}"#;
    store.redis.command(&["LPUSH", "mutt:dlq:moog", refused]);
    for queue in [Dlq::Alerter, Dlq::Moog] {
        let done = engine.remediate(queue, at_once(10)).await.unwrap();
        assert_eq!(
            done,
            Remediated {
                replayed: 1,
                poison: 1
            },
            "{queue:?}"
        );
    }
    let claimed = claim(&*engine, "a", 10).await;
    assert_eq!(claimed.iter().collect::<Vec<_>>(), [shed.as_bytes()]);
    let alerts = claim_alerts(&*engine, "m", 10).await;
    assert_eq!((alerts.len(), alerts[0].replays), (1, 1));
    assert_eq!(*alerts[0].element, *old_alert("m").as_bytes());
    let dead = engine.dead_letters(Dlq::Dead, &any(), 0, 10).await.unwrap();
    let dead: Vec<_> = dead
        .iter()
        .map(|entry| (entry.message.as_str(), entry.reason, entry.origin))
        .collect();
    assert_eq!(
        dead,
        [
            (broken, Reason::Malformed, Dlq::Alerter),
            (refused, Reason::Refused, Dlq::Moog)
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_former_list_of_dead_alerts_is_adopted() {
    let store = Store::start().await;
    let entries: Vec<_> = (0..1500).map(|n| old_alert(&n.to_string())).collect();
    let mut push = vec!["LPUSH", "mutt:moog_dead_letter_queue"];
    push.extend(entries.iter().map(String::as_str));
    store.redis.command(&push);
    store
        .redis
        .command(&["LPUSH", "mutt:dlq:moog", &old_alert("newer")]);
    let engine = store.open().await;
    eventually("the list is adopted", async || {
        (engine.dlq_depth(Dlq::Moog).await.unwrap() == 1501).then_some(())
    })
    .await;
    assert_eq!(
        store
            .redis
            .command(&["EXISTS", "mutt:moog_dead_letter_queue"])
            .trim(),
        "0"
    );
    let listed = engine
        .dead_letters(Dlq::Moog, &any(), 0, 2000)
        .await
        .unwrap();
    assert!(
        listed
            .iter()
            .take(1500)
            .map(|entry| &entry.message)
            .eq(&entries)
    );
    assert_eq!(listed[1500].message, old_alert("newer"));
}

#[tokio::test(flavor = "multi_thread")]
async fn chosen_entries_of_a_long_queue_move_and_the_others_stay() {
    const ENTRIES: u64 = 6000;
    let store = Store::start().await;
    let engine = store.open().await;
    let letters = (0..ENTRIES).map(|number| {
        let word = if number % 3 == 0 { "third" } else { "other" };
        letter(format!(r#"{{"hostname":"h","message":"{word}","number":{number}}}"#).into_bytes())
    });
    engine.bury(Dlq::Alerter, letters.collect()).await.unwrap();
    let by = change("mended");
    let moved = engine
        .replay(Dlq::Alerter, &with_text("third"), &by)
        .await
        .unwrap();
    assert_eq!(moved, ENTRIES / 3);
    let mut replayed = Vec::new();
    while (replayed.len() as u64) < moved {
        replayed.extend(numbers(&claim(&*engine, "a", 1000).await));
    }
    assert!(
        replayed.into_iter().eq((0..ENTRIES).step_by(3)),
        "in order, once"
    );
    let mut left = Vec::new();
    loop {
        let offset = left.len() as u64;
        let page = engine
            .dead_letters(Dlq::Alerter, &any(), offset, 700)
            .await
            .unwrap();
        if page.is_empty() {
            break;
        }
        left.extend(page.iter().map(|entry| number(entry.message.as_bytes())));
    }
    assert!(
        left.into_iter()
            .eq((0..ENTRIES).filter(|number| number % 3 != 0))
    );
    let moved = engine.discard(Dlq::Alerter, &any(), &by).await.unwrap();
    assert_eq!(moved, ENTRIES * 2 / 3);
    assert_eq!(
        store.redis.command(&["EXISTS", "mutt:dlq:alerter"]).trim(),
        "0"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn several_who_move_entries_move_each_once() {
    const ENTRIES: u64 = 2000;
    let store = Store::start().await;
    let (one, other) = (store.open().await, store.open().await);
    let letters = (0..ENTRIES).map(|number| letter(element(number))).collect();
    one.bury(Dlq::Alerter, letters).await.unwrap();
    let replays = [one.clone(), other.clone(), one.clone()].map(|engine: Arc<dyn Engine>| {
        tokio::spawn(async move {
            let by = change("mended");
            engine
                .replay(Dlq::Alerter, &with_text("message"), &by)
                .await
                .unwrap()
        })
    });
    let remediating = tokio::spawn(async move {
        let mut replayed = 0;
        loop {
            let done = other.remediate(Dlq::Alerter, at_once(150)).await.unwrap();
            if done == Remediated::default() {
                return replayed;
            }
            replayed += done.replayed;
        }
    });
    // New ones come in meanwhile, and old equal ones.
    for number in ENTRIES..ENTRIES + 20 {
        one.bury(Dlq::Alerter, vec![letter(element(number))])
            .await
            .unwrap();
        tokio::task::yield_now().await;
    }
    let mut moved = remediating.await.unwrap();
    for replay in replays {
        moved += replay.await.unwrap();
    }
    let left = one
        .dead_letters(Dlq::Alerter, &any(), 0, 100)
        .await
        .unwrap();
    assert_eq!(moved + left.len() as u64, ENTRIES + 20);
    assert_eq!(one.event_depth().await.unwrap(), moved);
    let mut seen: Vec<u64> = left
        .iter()
        .map(|entry| number(entry.message.as_bytes()))
        .collect();
    while (seen.len() as u64) < ENTRIES + 20 {
        seen.extend(numbers(&claim(&*one, "a", 1000).await));
    }
    seen.sort_unstable();
    assert!(
        seen.into_iter().eq(0..ENTRIES + 20),
        "none twice, none lost"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_text_come_back_as_they_were() {
    let store = Store::start().await;
    let engine = store.open().await;
    let elements = [
        b"\xff\xfe{\"a\":1}\x00".to_vec(),
        b"plain text".to_vec(),
        b"".to_vec(),
        br#"{"a":1,"_dlq":{"attempts":3}}"#.to_vec(),
        br#"{"_dlq_gone":true}"#.to_vec(),
        vec![b'x'; 5 << 20],
    ];
    let letters = elements.iter().cloned().map(letter).collect();
    engine.bury(Dlq::Ingest, letters).await.unwrap();
    let listed = engine
        .dead_letters(Dlq::Ingest, &any(), 0, 10)
        .await
        .unwrap();
    assert_eq!(listed.len(), elements.len());
    assert_eq!(listed[0].message, "\u{fffd}\u{fffd}{\"a\":1}\0");
    let replayed = engine
        .replay(Dlq::Ingest, &any(), &change("look"))
        .await
        .unwrap();
    assert_eq!(replayed, elements.len() as u64);
    let mut back = Vec::new();
    while back.len() < elements.len() {
        let claimed = claim(&*engine, "a", 10).await;
        back.extend(claimed.iter().map(<[u8]>::to_vec));
    }
    assert!(back == elements, "byte for byte, in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_for_a_moved_entry_is_no_entry() {
    let store = Store::start().await;
    let engine = store.open().await;
    store.redis.command(&[
        "LPUSH",
        "mutt:dlq:moog",
        r#"{"_dlq_gone":true}"#,
        &old_alert("m"),
    ]);
    let listed = engine.dead_letters(Dlq::Moog, &any(), 0, 10).await.unwrap();
    assert_eq!(listed.len(), 1);
    let done = engine.remediate(Dlq::Moog, at_once(10)).await.unwrap();
    assert_eq!(done.replayed, 1);
    assert_eq!(claim_alerts(&*engine, "m", 10).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_moves_that_cannot_be_written_down() {
    let store = Store::start().await;
    let mut options = store.options();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    options.postgres = PostgresOptions {
        ssl_mode: SslMode::Disable,
        ..PostgresOptions::new("127.0.0.1", port, "mutt_app")
    };
    let engine = Distributed::open(options).unwrap();
    eventually("Redis is there", async || {
        engine.dlq_depth(Dlq::Moog).await.ok()
    })
    .await;
    engine
        .bury(Dlq::Moog, vec![letter(element(1))])
        .await
        .unwrap();
    let by = change("mended");
    let refused = engine.replay(Dlq::Moog, &any(), &by).await;
    assert!(
        matches!(refused, Err(EngineError::Unavailable(_))),
        "{refused:?}"
    );
    assert_eq!(engine.dlq_depth(Dlq::Moog).await.unwrap(), 1);
    assert_eq!(engine.alert_depth().await.unwrap(), 0);
}
