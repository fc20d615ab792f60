//! A decision takes effect once and as a whole, whoever crashes or comes late.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::sample::{
    LONG, SHORT, alert, alert_numbers, alerted, audit_row, audited, batch, claim, claim_alerts,
    drain, event_id, number, numbers, worker,
};
use super::{Fixture, crash, eventually};
use crate::{
    AuditFilter, DeadLetter, DeadLetterFilter, Decision, Dlq, Engine, EngineError, EventClaim,
    Outcome, Reason, Unhandled, UnhandledPolicy, WorkerKind,
};

/// The claim again, as a worker holds it that does not know that it ended.
fn copy(claim: &EventClaim) -> EventClaim {
    EventClaim {
        id: claim.id,
        worker: claim.worker.clone(),
        events: claim.events.clone(),
    }
}

/// Six events: 0, 2, 3 and 5 are audited, 2 and 5 become alerts, 1 is a dead letter, 4 unhandled.
fn mixed(claim: EventClaim) -> Arc<Decision> {
    let events: Vec<_> = claim.iter().collect();
    let outcome = Outcome {
        audit: [0, 2, 3, 5]
            .into_iter()
            .map(|index| audit_row(index, events[index]))
            .collect(),
        alerts: [2, 5]
            .into_iter()
            .map(|index| alert(events[index]))
            .collect(),
        dead: vec![DeadLetter {
            reason: Reason::Malformed,
            detail: "no hostname".to_owned(),
            element: events[1].to_vec(),
        }],
        unhandled: vec![Unhandled {
            hostname: "host-1".into(),
            signature: "00000000000000aa".into(),
            masked: "message #".into(),
            sample: "message 4".into(),
            count: 1,
            team: "NETO".into(),
            environment: "production",
        }],
        unhandled_policy: UnhandledPolicy::default(),
        rule_hits: vec![(7, 3), (8, 1)],
    };
    Arc::new(Decision { claim, outcome })
}

/// Everything that [`mixed`] says has taken effect exactly once.
async fn assert_mixed_took_effect(engine: &dyn Engine, decision: &Decision) {
    let rows = engine
        .audit_rows(AuditFilter {
            limit: 100,
            ..AuditFilter::default()
        })
        .await
        .expect("audit rows");
    let events: Vec<_> = decision.claim.iter().collect();
    let audited: Vec<_> = rows
        .iter()
        .rev()
        .map(|row| row.raw_message.as_bytes())
        .collect();
    assert_eq!(
        audited,
        [events[0], events[2], events[3], events[5]],
        "rows in order, by index"
    );
    for (row, index) in rows.iter().rev().zip([0, 2, 3, 5]) {
        assert_eq!(row.event_id, event_id(events[index]));
    }
    assert_eq!(engine.audit_count().await.expect("count"), 4);
    assert_eq!(engine.alert_depth().await.expect("depth"), 2);
    let letters = engine
        .dead_letters(Dlq::Alerter, &DeadLetterFilter::default(), 0, 10)
        .await
        .expect("listed");
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].message.as_bytes(), events[1]);
    assert_eq!(letters[0].reason, Reason::Malformed);
    assert_eq!(letters[0].detail, "no hostname");
    assert_eq!(letters[0].origin, Dlq::Alerter);
    assert_eq!(engine.dlq_depth(Dlq::Alerter).await.expect("depth"), 1);
    let signatures = engine.unhandled(10).await.expect("signatures");
    assert_eq!(signatures.len(), 1);
    assert_eq!(signatures[0].count, 1);
    let hits = engine.rule_hits().await.expect("hits");
    assert_eq!(hits.get(&7), Some(&[3; 3]));
    assert_eq!(hits.get(&8), Some(&[1; 3]));
    assert_eq!(engine.event_depth().await.expect("depth"), 0);
}

/// Nothing of a decision about events has taken effect.
async fn assert_untouched(engine: &dyn Engine) {
    assert_eq!(engine.audit_count().await.expect("count"), 0);
    assert_eq!(engine.alert_depth().await.expect("depth"), 0);
    assert_eq!(engine.dlq_depth(Dlq::Alerter).await.expect("depth"), 0);
    assert!(engine.unhandled(10).await.expect("signatures").is_empty());
    assert!(engine.rule_hits().await.expect("hits").is_empty());
}

/// A claim of six events out of three batches.
async fn six(engine: &dyn Engine) -> EventClaim {
    engine.enqueue(batch([0])).await.expect("taken");
    engine.enqueue(batch([1, 2, 3])).await.expect("taken");
    engine.enqueue(batch([4, 5])).await.expect("taken");
    let claim = claim(engine, "a", 6).await;
    assert_eq!(numbers(&claim), [0, 1, 2, 3, 4, 5]);
    claim
}

/// Audit rows with the right messages, alerts in order, dead letters, unhandled counts and rule
/// hits are all there after the decision, and after a crash.
pub async fn a_decision_takes_effect_as_a_whole(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let decision = mixed(six(&*engine).await);
    let settled = engine.decide(decision.clone()).await.expect("decided");
    assert_eq!(settled.meta_alerts, 0);
    assert_mixed_took_effect(&*engine, &decision).await;
    let engine = crash(fixture, engine).await;
    assert_mixed_took_effect(&*engine, &decision).await;
    let alerts = claim_alerts(&*engine, "m", 10).await;
    let expected: Vec<_> = decision
        .outcome
        .alerts
        .iter()
        .map(|alert| alert.element.as_slice())
        .collect();
    assert_eq!(
        alerts
            .iter()
            .map(|alert| &*alert.element)
            .collect::<Vec<_>>(),
        expected
    );
    assert!(
        alerts
            .iter()
            .all(|alert| alert.attempts == 0 && alert.replays == 0)
    );
}

/// Handing a decision in again, also after a crash, changes nothing; neither does returning its
/// claim.
pub async fn the_same_decision_again_changes_nothing(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let decision = mixed(six(&*engine).await);
    engine.decide(decision.clone()).await.expect("decided");
    for _ in 0..2 {
        engine
            .decide(decision.clone())
            .await
            .expect("it took effect, so all is well");
        assert_mixed_took_effect(&*engine, &decision).await;
    }
    let _ = engine.return_events(copy(&decision.claim)).await;
    assert_mixed_took_effect(&*engine, &decision).await;
    let engine = crash(fixture, engine).await;
    let again = engine.decide(decision.clone()).await;
    assert!(
        matches!(again, Ok(_) | Err(EngineError::Fenced)),
        "{again:?}"
    );
    assert_mixed_took_effect(&*engine, &decision).await;
}

/// The same decision handed in several times at once takes effect once, also where an engine
/// commits several calls together because it is busy.
pub async fn the_same_decision_at_once_counts_once(fixture: &dyn Fixture) {
    const ROUNDS: u64 = 5;
    let engine = fixture.open().await;
    engine.enqueue(batch(0..ROUNDS * 3)).await.expect("taken");
    for round in 1..=ROUNDS {
        let decision = alerted(claim(&*engine, "a", 3).await);
        let again = || engine.decide(decision.clone());
        // Polled in this order: the enqueue keeps the engine busy while the decisions arrive.
        let (taken, one, two, three, four) = tokio::join!(
            engine.enqueue(batch([99])),
            again(),
            again(),
            again(),
            again()
        );
        taken.expect("taken");
        for answer in [one, two, three, four] {
            answer.expect("decided, by this call or another");
        }
        assert_eq!(engine.audit_count().await.expect("count"), round * 3);
        assert_eq!(engine.alert_depth().await.expect("depth"), round * 3);
    }
    let numbers: Vec<_> = (0..ROUNDS * 3).collect();
    assert_eq!(
        alert_numbers(&claim_alerts(&*engine, "m", 100).await),
        numbers
    );
}

/// A decision with one thing that cannot be is refused, and nothing of it takes effect; the claim
/// is still held and can be decided rightly.
pub async fn a_bad_decision_changes_nothing(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let good = mixed(six(&*engine).await);
    let mut bad = Arc::into_inner(mixed(copy(&good.claim))).expect("just made");
    bad.outcome.audit[3].index = 6;
    assert!(
        engine.decide(Arc::new(bad)).await.is_err(),
        "there is no event at index 6"
    );
    assert_untouched(&*engine).await;
    assert_eq!(
        engine.event_depth().await.expect("depth"),
        0,
        "the claim is still held"
    );
    engine
        .decide(good.clone())
        .await
        .expect("the claim can still be decided");
    assert_mixed_took_effect(&*engine, &good).await;
}

/// A worker that was taken for dead can neither decide nor return what another holds now.
pub async fn a_claim_that_was_taken_over_is_fenced(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    engine.enqueue(batch(0..6)).await.expect("taken");
    engine
        .heartbeat(WorkerKind::Alerter, "late", SHORT)
        .await
        .expect("taken");
    let late = engine
        .claim_events(&worker("late"), 6, Duration::ZERO)
        .await
        .expect("read")
        .expect("events are there");
    let late = mixed(late);
    eventually("the dead worker's claim returns", async || {
        (engine.recover().await.expect("recovered") > 0).then_some(())
    })
    .await;
    let error = engine
        .decide(late.clone())
        .await
        .expect_err("the claim was taken over");
    assert!(matches!(error, EngineError::Fenced), "{error:?}");
    assert_untouched(&*engine).await;

    let heir = claim(&*engine, "heir", 6).await;
    assert_eq!(numbers(&heir), [0, 1, 2, 3, 4, 5]);
    for _ in 0..2 {
        let error = engine
            .decide(late.clone())
            .await
            .expect_err("the claim was taken over");
        assert!(matches!(error, EngineError::Fenced), "{error:?}");
        let error = engine
            .return_events(copy(&late.claim))
            .await
            .expect_err("taken over");
        assert!(matches!(error, EngineError::Fenced), "{error:?}");
    }
    assert_untouched(&*engine).await;
    let decision = mixed(heir);
    engine
        .decide(decision.clone())
        .await
        .expect("the heir decides");
    assert_mixed_took_effect(&*engine, &decision).await;
}

/// Events that were claimed and not decided come again after a crash, oldest first.
pub async fn undecided_events_come_again_after_a_crash(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    engine.enqueue(batch(0..10)).await.expect("taken");
    engine
        .heartbeat(WorkerKind::Alerter, "a", SHORT)
        .await
        .expect("taken");
    for _ in 0..2 {
        engine
            .claim_events(&worker("a"), 3, Duration::ZERO)
            .await
            .expect("read")
            .expect("events are there");
    }
    let engine = crash(fixture, engine).await;
    eventually("the crashed worker's events return", async || {
        engine.recover().await.expect("recovered");
        (engine.event_depth().await.expect("depth") == 10).then_some(())
    })
    .await;
    assert_eq!(drain(&*engine, "b").await, (0..10).collect::<Vec<_>>());
}

/// Events that were decided before the crash stay decided; those beside them come again.
pub async fn decided_events_do_not_come_again_after_a_crash(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    engine.enqueue(batch(0..9)).await.expect("taken");
    engine
        .heartbeat(WorkerKind::Alerter, "a", SHORT)
        .await
        .expect("taken");
    let mut claims = Vec::new();
    for _ in 0..3 {
        let claim = engine
            .claim_events(&worker("a"), 3, Duration::ZERO)
            .await
            .expect("read");
        claims.push(claim.expect("events are there"));
    }
    engine
        .decide(alerted(claims.remove(1)))
        .await
        .expect("decided");
    let engine = crash(fixture, engine).await;
    eventually("the crashed worker's events return", async || {
        engine.recover().await.expect("recovered");
        (engine.event_depth().await.expect("depth") == 6).then_some(())
    })
    .await;
    assert_eq!(drain(&*engine, "b").await, [0, 1, 2, 6, 7, 8]);
    assert_eq!(engine.audit_count().await.expect("count"), 3);
    assert_eq!(engine.alert_depth().await.expect("depth"), 3);
}

/// A claim from before a crash is never mistaken for a claim from after it.
pub async fn an_old_claim_cannot_touch_a_new_one(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    engine.enqueue(batch(0..3)).await.expect("taken");
    engine
        .heartbeat(WorkerKind::Alerter, "a", SHORT)
        .await
        .expect("taken");
    let old = engine
        .claim_events(&worker("a"), 3, Duration::ZERO)
        .await
        .expect("read")
        .expect("events are there");
    let engine = crash(fixture, engine).await;
    eventually("the crashed worker's events return", async || {
        engine.recover().await.expect("recovered");
        (engine.event_depth().await.expect("depth") == 3).then_some(())
    })
    .await;
    let new = claim(&*engine, "a", 3).await;
    assert_ne!(new.id, old.id, "an id is never given twice");
    let error = engine
        .decide(audited(old))
        .await
        .expect_err("the claim was taken over");
    assert!(matches!(error, EngineError::Fenced), "{error:?}");
    assert_eq!(engine.audit_count().await.expect("count"), 0);
    engine.decide(audited(new)).await.expect("decided");
    assert_eq!(engine.audit_count().await.expect("count"), 3);
}

/// Several workers that claim and decide at once, some returning what they claimed, decide every
/// event exactly once.
pub async fn workers_decide_every_event_once(fixture: &dyn Fixture) {
    const EVENTS: u64 = 300;
    let engine = fixture.open().await;
    for first in (0..EVENTS).step_by(25) {
        engine
            .enqueue(batch(first..first + 25))
            .await
            .expect("taken");
    }
    let workers: Vec<_> = (0..4)
        .map(|index: usize| {
            let engine = engine.clone();
            tokio::spawn(async move {
                let name = worker(&format!("worker-{index}"));
                engine
                    .heartbeat(WorkerKind::Alerter, &name, LONG)
                    .await
                    .expect("taken");
                let mut round = index;
                while engine.audit_count().await.expect("count") < EVENTS {
                    round += 1;
                    let wait = Duration::from_millis(10);
                    let Some(claim) = engine
                        .claim_events(&name, 7 + index, wait)
                        .await
                        .expect("read")
                    else {
                        continue;
                    };
                    if round.is_multiple_of(5) {
                        engine.return_events(claim).await.expect("returned");
                    } else {
                        engine.decide(alerted(claim)).await.expect("decided");
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.expect("the worker ends well");
    }
    let rows = engine
        .audit_rows(AuditFilter {
            limit: 1000,
            ..AuditFilter::default()
        })
        .await
        .expect("audit rows");
    assert_eq!(rows.len() as u64, EVENTS);
    let audited: HashSet<_> = rows
        .iter()
        .map(|row| number(row.raw_message.as_bytes()))
        .collect();
    assert_eq!(audited.len() as u64, EVENTS, "an event was decided twice");
    assert_eq!(engine.alert_depth().await.expect("depth"), EVENTS);
    assert_eq!(engine.event_depth().await.expect("depth"), 0);
}
