//! Remediation: what can be mended goes back when it is due, the rest is set aside.

use std::time::Duration;

use super::dead_letters::{depth, entry_numbers, give_up, letter, list};
use super::sample::{change, claim, claim_alerts, drain, element, queue_alerts};
use super::{Fixture, crash};
use crate::dead_letters::{Remediated, ReplayPolicy};
use crate::{Attempt, DeadLetterFilter, Dlq, Reason, Settlement};

/// Replays at once, as often as `max_replays`.
fn at_once(max_replays: u32) -> ReplayPolicy {
    ReplayPolicy {
        batch: 100,
        max_replays,
        backoff: Duration::ZERO,
    }
}

/// Nothing is replayed before its backoff has passed since it last failed.
pub async fn remediation_waits_for_the_backoff(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    queue_alerts(&*engine, 0..2).await;
    give_up(&*engine, Reason::RetriesExhausted).await;
    let patient = ReplayPolicy {
        backoff: Duration::from_hours(1),
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
        backoff: Duration::from_hours(1),
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
