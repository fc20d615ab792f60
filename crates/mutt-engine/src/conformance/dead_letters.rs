//! What could not be handled is kept with its reason until it is replayed or discarded.

use std::time::Duration;

use super::sample::{change, claim, claim_alerts, drain, element, numbers, queue_alerts};
use super::{Fixture, crash};
use crate::catalog::ConfigAuditFilter;
use crate::dead_letters::{DlqEntry, Remediated, ReplayPolicy};
use crate::{
    Attempt, Change, DeadLetter, DeadLetterFilter, Dlq, Engine, EngineError, Reason, Settlement,
};

/// Replays at once, as often as `max_replays`.
fn at_once(max_replays: u32) -> ReplayPolicy {
    ReplayPolicy {
        batch: 100,
        max_replays,
        backoff: Duration::ZERO,
    }
}

fn letter(number: u64, reason: Reason) -> DeadLetter {
    DeadLetter {
        reason,
        detail: format!("detail {number}"),
        element: element(number),
    }
}

async fn list(engine: &dyn Engine, queue: Dlq) -> Vec<DlqEntry> {
    let filter = DeadLetterFilter::default();
    engine
        .dead_letters(queue, &filter, 0, 1000)
        .await
        .expect("listed")
}

async fn depth(engine: &dyn Engine, queue: Dlq) -> u64 {
    engine.dlq_depth(queue).await.expect("depth")
}

fn entry_numbers(entries: &[DlqEntry]) -> Vec<u64> {
    entries
        .iter()
        .map(|entry| super::sample::number(entry.message.as_bytes()))
        .collect()
}

/// Gives up every alert that waits.
async fn give_up(engine: &dyn Engine, reason: Reason) {
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
                text: None,
            },
            vec![4],
        ),
        (
            DeadLetterFilter {
                ids: ids.clone(),
                reason,
                text,
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

/// Nothing is replayed before its backoff has passed since it last failed.
pub async fn remediation_waits_for_the_backoff(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    queue_alerts(&*engine, 0..2).await;
    give_up(&*engine, Reason::RetriesExhausted).await;
    let patient = ReplayPolicy {
        backoff: Duration::from_secs(3600),
        ..at_once(3)
    };
    let done = engine
        .remediate(Dlq::Moog, patient)
        .await
        .expect("remediated");
    assert_eq!(done, Remediated::default());
    assert_eq!(depth(&*engine, Dlq::Moog).await, 2);
    assert_eq!(engine.alert_depth().await.expect("depth"), 0);
}

/// What is due goes back to the alert queue, byte for byte, once.
pub async fn remediation_replays_what_is_due_unchanged(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    queue_alerts(&*engine, 0..3).await;
    let before = claim_alerts(&*engine, "m", 10).await;
    let attempts = before
        .iter()
        .map(|alert| Attempt {
            alert: alert.clone(),
            settlement: Settlement::Dead {
                reason: Reason::RetriesExhausted,
                detail: String::new(),
            },
            log: None,
        })
        .collect();
    engine.settle_alerts(attempts).await.expect("settled");
    let done = engine
        .remediate(Dlq::Moog, at_once(3))
        .await
        .expect("remediated");
    assert_eq!(
        done,
        Remediated {
            replayed: 3,
            poison: 0
        }
    );
    let done = engine
        .remediate(Dlq::Moog, at_once(3))
        .await
        .expect("remediated");
    assert_eq!(done, Remediated::default(), "nothing is left");
    assert_eq!(depth(&*engine, Dlq::Moog).await, 0);
    let engine = crash(fixture, engine).await;
    let after = claim_alerts(&*engine, "m", 10).await;
    assert_eq!(after.len(), 3);
    for (one, other) in before.iter().zip(&after) {
        assert_eq!(one.element, other.element);
        assert_eq!(other.replays, 1);
    }
}

/// One pass replays at most a batch, the oldest first.
pub async fn remediation_replays_a_batch_at_a_time(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    queue_alerts(&*engine, 0..5).await;
    give_up(&*engine, Reason::RetriesExhausted).await;
    let policy = ReplayPolicy {
        batch: 2,
        ..at_once(3)
    };
    for replayed in [2, 2, 1, 0] {
        let done = engine
            .remediate(Dlq::Moog, policy)
            .await
            .expect("remediated");
        assert_eq!(
            done,
            Remediated {
                replayed,
                poison: 0
            }
        );
    }
    let alerts = claim_alerts(&*engine, "m", 10).await;
    assert_eq!(super::sample::alert_numbers(&alerts), [0, 1, 2, 3, 4]);
}

/// Replays are counted over the rounds; after the most that are allowed the entry is poison, and
/// says where it came from and since when it fails.
pub async fn what_was_replayed_too_often_is_poison(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    queue_alerts(&*engine, 0..1).await;
    give_up(&*engine, Reason::RetriesExhausted).await;
    let first = list(&*engine, Dlq::Moog).await;
    for replays in 1..=2 {
        let done = engine
            .remediate(Dlq::Moog, at_once(2))
            .await
            .expect("remediated");
        assert_eq!(
            done,
            Remediated {
                replayed: 1,
                poison: 0
            }
        );
        give_up(&*engine, Reason::RetriesExhausted).await;
        let entries = list(&*engine, Dlq::Moog).await;
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].replays, replays);
        assert_eq!(entries[0].first_failed_at, first[0].first_failed_at);
        assert!(entries[0].last_failed_at >= first[0].last_failed_at);
    }
    let done = engine
        .remediate(Dlq::Moog, at_once(2))
        .await
        .expect("remediated");
    assert_eq!(
        done,
        Remediated {
            replayed: 0,
            poison: 1
        }
    );
    assert_eq!(depth(&*engine, Dlq::Moog).await, 0);
    let dead = list(&*engine, Dlq::Dead).await;
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].message, first[0].message);
    assert_eq!((dead[0].queue, dead[0].origin), (Dlq::Dead, Dlq::Moog));
    assert_eq!(dead[0].reason, Reason::RetriesExhausted);
    assert_eq!(dead[0].replays, 2);
    assert_eq!(dead[0].first_failed_at, first[0].first_failed_at);
}

/// What waiting cannot mend goes to `mutt:dlq:dead` without a replay, also before any backoff.
pub async fn what_waiting_cannot_mend_is_poison_at_once(fixture: &dyn Fixture) {
    let patient = ReplayPolicy {
        backoff: Duration::from_secs(3600),
        ..at_once(3)
    };
    let engine = fixture.open().await;
    queue_alerts(&*engine, 0..2).await;
    give_up(&*engine, Reason::Refused).await;
    let done = engine
        .remediate(Dlq::Moog, patient)
        .await
        .expect("remediated");
    assert_eq!(
        done,
        Remediated {
            replayed: 0,
            poison: 2
        }
    );
    let letters = vec![letter(7, Reason::Malformed), letter(8, Reason::Shed)];
    engine.bury(Dlq::Alerter, letters).await.expect("buried");
    let done = engine
        .remediate(Dlq::Alerter, patient)
        .await
        .expect("remediated");
    assert_eq!(
        done,
        Remediated {
            replayed: 0,
            poison: 1
        }
    );
    assert_eq!(
        entry_numbers(&list(&*engine, Dlq::Alerter).await),
        [8],
        "that one can be mended"
    );
    let dead = list(&*engine, Dlq::Dead).await;
    let origins: Vec<_> = dead
        .iter()
        .map(|entry| (entry.origin, entry.reason))
        .collect();
    assert_eq!(
        origins,
        [
            (Dlq::Moog, Reason::Refused),
            (Dlq::Moog, Reason::Refused),
            (Dlq::Alerter, Reason::Malformed)
        ]
    );
    assert_eq!(engine.alert_depth().await.expect("depth"), 0);
    assert_eq!(engine.event_depth().await.expect("depth"), 0);
}

/// Shed events go back to the ingest queue, byte for byte.
pub async fn remediation_of_events_fills_the_ingest_queue(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let elements: Vec<_> = (0..4).map(element).collect();
    engine
        .enqueue(elements.iter().map(Vec::as_slice).collect())
        .await
        .expect("taken");
    assert_eq!(engine.shed_events(4).await.expect("shed"), 4);
    let done = engine
        .remediate(Dlq::Alerter, at_once(3))
        .await
        .expect("remediated");
    assert_eq!(
        done,
        Remediated {
            replayed: 4,
            poison: 0
        }
    );
    assert_eq!(depth(&*engine, Dlq::Alerter).await, 0);
    assert_eq!(engine.event_depth().await.expect("depth"), 4);
    let claim = claim(&*engine, "a", 10).await;
    assert!(claim.iter().eq(elements.iter().map(Vec::as_slice)));
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

/// A person's replay of poison sends events to the ingest queue and alerts to the alert queue.
pub async fn poison_replays_to_where_it_came_from(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    queue_alerts(&*engine, 0..1).await;
    give_up(&*engine, Reason::Refused).await;
    engine
        .bury(Dlq::Alerter, vec![letter(7, Reason::Poison)])
        .await
        .expect("buried");
    for queue in [Dlq::Moog, Dlq::Alerter] {
        let done = engine
            .remediate(queue, at_once(3))
            .await
            .expect("remediated");
        assert_eq!(
            done,
            Remediated {
                replayed: 0,
                poison: 1
            }
        );
    }
    let by = change("looked at");
    let all = DeadLetterFilter::default();
    assert_eq!(
        engine.replay(Dlq::Dead, &all, &by).await.expect("replayed"),
        2
    );
    assert_eq!(depth(&*engine, Dlq::Dead).await, 0);
    let alerts = claim_alerts(&*engine, "m", 10).await;
    assert_eq!(super::sample::alert_numbers(&alerts), [0]);
    assert_eq!(drain(&*engine, "a").await, [7]);
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
