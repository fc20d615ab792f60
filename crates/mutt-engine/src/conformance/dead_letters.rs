//! What could not be handled is kept with its reason until a person replays or discards it.

use super::sample::{change, claim, claim_alerts, element, numbers, queue_alerts};
use super::{Fixture, crash};
use crate::catalog::ConfigAuditFilter;
use crate::dead_letters::DlqEntry;
use crate::{
    Attempt, Change, DeadLetter, DeadLetterFilter, Dlq, Engine, EngineError, Reason, Settlement,
};

pub(super) fn letter(number: u64, reason: Reason) -> DeadLetter {
    DeadLetter {
        reason,
        detail: format!("detail {number}"),
        element: element(number),
    }
}

pub(super) async fn list(engine: &dyn Engine, queue: Dlq) -> Vec<DlqEntry> {
    let filter = DeadLetterFilter::default();
    engine
        .dead_letters(queue, &filter, 0, 1000)
        .await
        .expect("listed")
}

pub(super) async fn depth(engine: &dyn Engine, queue: Dlq) -> u64 {
    engine.dlq_depth(queue).await.expect("depth")
}

pub(super) fn entry_numbers(entries: &[DlqEntry]) -> Vec<u64> {
    entries
        .iter()
        .map(|entry| super::sample::number(entry.message.as_bytes()))
        .collect()
}

/// Gives up every alert that waits.
pub(super) async fn give_up(engine: &dyn Engine, reason: Reason) {
    let alerts = claim_alerts(engine, "m", 1000).await;
    let attempts: Vec<_> = alerts
        .into_iter()
        .map(|alert| {
            let settlement = Settlement::Dead {
                reason,
                detail: "it failed".to_owned(),
            };
            Attempt {
                alert,
                settlement,
                log: None,
            }
        })
        .collect();
    let count = attempts.len() as u64;
    assert_eq!(
        engine.settle_alerts(attempts).await.expect("settled"),
        count
    );
}

/// Entries come oldest first, page by page, each queue by itself.
pub async fn dead_letters_are_listed_oldest_first(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let letters: Vec<_> = (0..5)
        .map(|number| letter(number, Reason::Malformed))
        .collect();
    engine
        .bury(Dlq::Ingest, letters.clone())
        .await
        .expect("buried");
    engine
        .bury(Dlq::Alerter, vec![letter(100, Reason::Poison)])
        .await
        .expect("buried");
    engine
        .bury(Dlq::Ingest, vec![letter(5, Reason::Malformed)])
        .await
        .expect("buried");
    let all = list(&*engine, Dlq::Ingest).await;
    assert_eq!(entry_numbers(&all), [0, 1, 2, 3, 4, 5]);
    for (entry, letter) in all.iter().zip(&letters) {
        assert_eq!(entry.message.as_bytes(), letter.element);
        assert_eq!((entry.queue, entry.origin), (Dlq::Ingest, Dlq::Ingest));
        assert_eq!(
            (entry.reason, &entry.detail),
            (letter.reason, &letter.detail)
        );
        assert_eq!(entry.replays, 0);
        assert_eq!(entry.first_failed_at, entry.last_failed_at);
    }
    let filter = DeadLetterFilter::default();
    let page = engine
        .dead_letters(Dlq::Ingest, &filter, 2, 2)
        .await
        .expect("listed");
    assert_eq!(page, all[2..4]);
    let page = engine
        .dead_letters(Dlq::Ingest, &filter, 5, 10)
        .await
        .expect("listed");
    assert_eq!(page, all[5..]);
    assert_eq!(depth(&*engine, Dlq::Ingest).await, 6);
    assert_eq!(depth(&*engine, Dlq::Alerter).await, 1);
    assert_eq!(depth(&*engine, Dlq::Moog).await, 0);
    assert_eq!(depth(&*engine, Dlq::Dead).await, 0);
}

/// Ids, reason and text each restrict; together they restrict together.
pub async fn filters_choose_dead_letters(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let letters = (0..6)
        .map(|number| {
            let reason = if number % 2 == 0 {
                Reason::Shed
            } else {
                Reason::Malformed
            };
            letter(number, reason)
        })
        .collect();
    engine.bury(Dlq::Alerter, letters).await.expect("buried");
    let all = list(&*engine, Dlq::Alerter).await;
    let ids = Some(vec![
        all[1].id.clone(),
        all[4].id.clone(),
        "999999".to_owned(),
    ]);
    let reason = Some(Reason::Shed);
    let text = Some("message 4".to_owned());
    let cases = [
        (
            DeadLetterFilter {
                ids: ids.clone(),
                ..Default::default()
            },
            vec![1, 4],
        ),
        (
            DeadLetterFilter {
                reason,
                ..Default::default()
            },
            vec![0, 2, 4],
        ),
        (
            DeadLetterFilter {
                text: text.clone(),
                ..Default::default()
            },
            vec![4],
        ),
        (
            DeadLetterFilter {
                ids: ids.clone(),
                reason,
                ..Default::default()
            },
            vec![4],
        ),
        (
            DeadLetterFilter {
                ids: ids.clone(),
                reason,
                text,
                ..Default::default()
            },
            vec![4],
        ),
        (
            DeadLetterFilter {
                ids: Some(Vec::new()),
                ..Default::default()
            },
            vec![],
        ),
        (
            DeadLetterFilter {
                text: Some("%".to_owned()),
                ..Default::default()
            },
            vec![],
        ),
        (
            DeadLetterFilter {
                text: Some("message _".to_owned()),
                ..Default::default()
            },
            vec![],
        ),
    ];
    for (filter, expected) in cases {
        let found = engine
            .dead_letters(Dlq::Alerter, &filter, 0, 10)
            .await
            .expect("listed");
        assert_eq!(entry_numbers(&found), expected, "{filter:?}");
    }
    let filter = DeadLetterFilter {
        reason,
        ..Default::default()
    };
    let page = engine
        .dead_letters(Dlq::Alerter, &filter, 1, 1)
        .await
        .expect("listed");
    assert_eq!(
        entry_numbers(&page),
        [2],
        "offset and limit count chosen entries"
    );
}

/// Status, host, rule and time restrict by what the entry says.
pub async fn what_an_entry_says_restricts(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let letter = |element: &str, detail: &str| DeadLetter {
        reason: Reason::Refused,
        detail: detail.to_owned(),
        element: element.as_bytes().to_vec(),
    };
    let start = super::sample::now();
    let letters = vec![
        letter(
            r#"{"hostname":"Core-1","rule_id":5}"#,
            "HTTP 404: not found",
        ),
        letter(r#"{"hostname":"core-2","rule_id":5}"#, "HTTP 400: bad"),
        letter(r#"{"hostname":"core-1"}"#, "HTTP 404: not found"),
        letter("core-1 rule_id 5", "no JSON"),
    ];
    engine.bury(Dlq::Moog, letters).await.expect("buried");
    let end = jiff::Timestamp::now();
    let any = DeadLetterFilter::default;
    let cases = [
        (
            DeadLetterFilter {
                status: Some(404),
                ..any()
            },
            vec![0, 2],
        ),
        (
            DeadLetterFilter {
                status: Some(500),
                ..any()
            },
            vec![],
        ),
        (
            DeadLetterFilter {
                hostname: Some("CORE-1".to_owned()),
                ..any()
            },
            vec![0, 2],
        ),
        (
            DeadLetterFilter {
                rule_id: Some(5),
                ..any()
            },
            vec![0, 1],
        ),
        (
            DeadLetterFilter {
                status: Some(404),
                hostname: Some("core-1".to_owned()),
                rule_id: Some(5),
                ..any()
            },
            vec![0],
        ),
        (
            DeadLetterFilter {
                since: Some(start),
                ..any()
            },
            vec![0, 1, 2, 3],
        ),
        (
            DeadLetterFilter {
                since: Some(end + std::time::Duration::from_secs(1)),
                ..any()
            },
            vec![],
        ),
        (
            DeadLetterFilter {
                until: Some(start),
                ..any()
            },
            vec![],
        ),
        (
            DeadLetterFilter {
                until: Some(end + std::time::Duration::from_secs(1)),
                ..any()
            },
            vec![0, 1, 2, 3],
        ),
    ];
    let all = list(&*engine, Dlq::Moog).await;
    for (filter, expected) in &cases {
        let expected: Vec<_> = expected.iter().map(|&at: &usize| all[at].clone()).collect();
        let found = engine.dead_letters(Dlq::Moog, filter, 0, 10).await;
        assert_eq!(found.expect("listed"), expected, "{filter:?}");
        let groups = engine.dead_letter_groups(Dlq::Moog, filter, u64::MAX).await;
        let counted: u64 = groups
            .expect("grouped")
            .iter()
            .map(|group| group.count)
            .sum();
        assert_eq!(counted, expected.len() as u64, "{filter:?}");
    }
    let by = change("one host");
    let host = &cases[2].0;
    let discarded = engine.discard(Dlq::Moog, host, &by).await;
    assert_eq!(discarded.expect("discarded"), 2);
    let left = list(&*engine, Dlq::Moog).await;
    assert_eq!(left, [all[1].clone(), all[3].clone()]);
}

/// Entries are added up by reason and status, with how old they are; a bound is kept.
pub async fn dead_letters_are_added_up_by_failure(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let buried = |reason, detail: &str| DeadLetter {
        reason,
        detail: detail.to_owned(),
        element: b"{}".to_vec(),
    };
    for letter in [
        buried(Reason::Refused, "HTTP 404: first"),
        buried(Reason::RetriesExhausted, "HTTP 503"),
        buried(Reason::Refused, "HTTP 404: second"),
        buried(Reason::RetriesExhausted, "connection refused"),
        buried(Reason::Refused, "HTTP 400"),
    ] {
        engine.bury(Dlq::Moog, vec![letter]).await.expect("buried");
    }
    let all = list(&*engine, Dlq::Moog).await;
    let any = DeadLetterFilter::default();
    let grouped = async |most| {
        let groups = engine.dead_letter_groups(Dlq::Moog, &any, most).await;
        groups.expect("grouped")
    };
    let groups = grouped(5).await;
    let seen: Vec<_> = groups
        .iter()
        .map(|group| (group.reason, group.status, group.count))
        .collect();
    assert_eq!(
        seen,
        [
            (Reason::Refused, Some(400), 1),
            (Reason::Refused, Some(404), 2),
            (Reason::RetriesExhausted, None, 1),
            (Reason::RetriesExhausted, Some(503), 1),
        ]
    );
    assert_eq!(
        (groups[1].oldest, groups[1].newest),
        (all[0].last_failed_at, all[2].last_failed_at)
    );
    assert_eq!(groups[1].detail, "HTTP 404: first");
    let bounded: u64 = grouped(2).await.iter().map(|group| group.count).sum();
    assert_eq!(bounded, 2, "the oldest two");
    assert!(grouped(0).await.is_empty());
    let none = engine.dead_letter_groups(Dlq::Ingest, &any, 10).await;
    assert!(none.expect("grouped").is_empty());
}

/// What was buried is there after a crash.
pub async fn dead_letters_survive_a_crash(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    for queue in Dlq::ALL {
        engine
            .bury(queue, vec![letter(1, Reason::Malformed)])
            .await
            .expect("buried");
    }
    let before = list(&*engine, Dlq::Ingest).await;
    let engine = crash(fixture, engine).await;
    assert_eq!(list(&*engine, Dlq::Ingest).await, before);
    for queue in Dlq::ALL {
        assert_eq!(depth(&*engine, queue).await, 1);
    }
}

/// A person replays by filter or id; the others stay; the replay is audited.
pub async fn a_person_replays_chosen_entries(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    queue_alerts(&*engine, 0..4).await;
    give_up(&*engine, Reason::Refused).await;
    let entries = list(&*engine, Dlq::Moog).await;
    let ids = Some(vec![entries[2].id.clone(), entries[0].id.clone()]);
    let filter = DeadLetterFilter {
        ids,
        ..Default::default()
    };
    let by = change("the sink is mended");
    assert_eq!(
        engine
            .replay(Dlq::Moog, &filter, &by)
            .await
            .expect("replayed"),
        2
    );
    assert_eq!(
        engine
            .replay(Dlq::Moog, &filter, &by)
            .await
            .expect("replayed"),
        0,
        "they are gone"
    );
    let alerts = claim_alerts(&*engine, "m", 10).await;
    assert_eq!(super::sample::alert_numbers(&alerts), [0, 2]);
    assert_eq!(alerts[0].element.as_ref(), entries[0].message.as_bytes());
    let rest: Vec<_> = list(&*engine, Dlq::Moog)
        .await
        .into_iter()
        .map(|entry| entry.id)
        .collect();
    assert_eq!(rest, [entries[1].id.clone(), entries[3].id.clone()]);
    assert_audited(&*engine, &by).await;
    let all = DeadLetterFilter::default();
    assert_eq!(
        engine.replay(Dlq::Moog, &all, &by).await.expect("replayed"),
        2
    );
    assert_eq!(depth(&*engine, Dlq::Moog).await, 0);
}

/// `config_audit_log` says who did it and why, and the chain holds.
async fn assert_audited(engine: &dyn Engine, by: &Change) {
    let filter = ConfigAuditFilter {
        limit: 100,
        ..Default::default()
    };
    let rows = engine.config_audit(&filter).await.expect("rows");
    assert!(
        rows.iter().any(|row| row.changed_by == by.by
            && row.reason == by.reason
            && row.correlation_id == by.correlation_id),
        "{rows:?}"
    );
    let verified = engine.verify_config_audit().await.expect("read");
    assert_eq!(verified, Ok(rows.len() as u64));
}

/// Rejected records, and events that could not be decided, go to the ingest queue.
pub async fn rejected_records_replay_to_the_ingest_queue(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let rejected = letter(1, Reason::Malformed);
    engine
        .bury(Dlq::Ingest, vec![rejected.clone()])
        .await
        .expect("buried");
    engine
        .bury(Dlq::Alerter, vec![letter(2, Reason::Poison)])
        .await
        .expect("buried");
    let (all, by) = (DeadLetterFilter::default(), change("mended"));
    assert_eq!(
        engine
            .replay(Dlq::Ingest, &all, &by)
            .await
            .expect("replayed"),
        1
    );
    assert_eq!(
        engine
            .replay(Dlq::Alerter, &all, &by)
            .await
            .expect("replayed"),
        1
    );
    assert_eq!(
        depth(&*engine, Dlq::Ingest).await + depth(&*engine, Dlq::Alerter).await,
        0
    );
    let claim = claim(&*engine, "a", 10).await;
    assert_eq!(numbers(&claim), [1, 2]);
    assert_eq!(claim.iter().next(), Some(rejected.element.as_slice()));
}

/// Nobody throws anything away without saying why.
pub async fn discarding_needs_a_reason(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    engine
        .bury(Dlq::Ingest, vec![letter(1, Reason::Malformed)])
        .await
        .expect("buried");
    let all = DeadLetterFilter::default();
    for reason in [None, Some(String::new()), Some("  ".to_owned())] {
        let by = Change {
            reason,
            ..change("")
        };
        let error = engine
            .discard(Dlq::Ingest, &all, &by)
            .await
            .expect_err("no reason");
        assert!(matches!(error, EngineError::Invalid(_)), "{error:?}");
    }
    assert_eq!(depth(&*engine, Dlq::Ingest).await, 1);
    let filter = ConfigAuditFilter {
        limit: 10,
        ..Default::default()
    };
    assert!(engine.config_audit(&filter).await.expect("rows").is_empty());
}

/// What is discarded is gone, the rest stays, and it is audited.
pub async fn discarding_removes_chosen_entries(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let letters = vec![
        letter(0, Reason::Malformed),
        letter(1, Reason::Shed),
        letter(2, Reason::Malformed),
    ];
    engine.bury(Dlq::Alerter, letters).await.expect("buried");
    let by = change("noise");
    let filter = DeadLetterFilter {
        reason: Some(Reason::Malformed),
        ..Default::default()
    };
    assert_eq!(
        engine
            .discard(Dlq::Alerter, &filter, &by)
            .await
            .expect("discarded"),
        2
    );
    assert_eq!(
        engine
            .discard(Dlq::Alerter, &filter, &by)
            .await
            .expect("discarded"),
        0
    );
    assert_eq!(depth(&*engine, Dlq::Alerter).await, 1);
    assert_audited(&*engine, &by).await;
    let engine = crash(fixture, engine).await;
    assert_eq!(entry_numbers(&list(&*engine, Dlq::Alerter).await), [1]);
}
