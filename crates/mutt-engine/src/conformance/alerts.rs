//! How alerts wait, come again when they are due, and end.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::sample::{
    LONG, SHORT, alert_number, alert_numbers, claim_alerts, now, queue_alerts, worker,
};
use super::{Fixture, PATIENCE, crash, eventually};
use crate::{
    Attempt, ClaimedAlert, DeadLetterFilter, DeliveryRow, Dlq, Engine, Reason, Settlement,
    WorkerKind,
};

/// Far enough in the future never to come during a check.
fn later() -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(1)
}

fn attempt(alert: &ClaimedAlert, settlement: Settlement) -> Attempt {
    Attempt {
        alert: alert.clone(),
        settlement,
        log: None,
    }
}

fn event_id(alert: &ClaimedAlert) -> mutt_event::EventId {
    let read: mutt_event::Alert<'_> = serde_json::from_slice(&alert.element).expect("an alert");
    read.event_id.expect("it has an id")
}

fn row(alert: &ClaimedAlert, attempt: u32, error: Option<&str>) -> DeliveryRow {
    DeliveryRow {
        event_id: event_id(alert),
        sink: "moog".to_owned(),
        attempt,
        at: now(),
        status: error.is_none().then_some(200).or(Some(503)),
        latency_ms: 12.5,
        error: error.map(str::to_owned),
    }
}

async fn settle(engine: &dyn Engine, attempts: Vec<Attempt>) -> u64 {
    engine.settle_alerts(attempts).await.expect("settled")
}

async fn depth(engine: &dyn Engine) -> u64 {
    engine.alert_depth().await.expect("depth")
}

/// Alerts come in the order of their events, at most as many as asked for, each to one worker.
pub async fn alerts_come_in_the_order_of_the_events(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    queue_alerts(&*engine, 0..4).await;
    queue_alerts(&*engine, 4..10).await;
    assert_eq!(depth(&*engine).await, 10);
    let first = claim_alerts(&*engine, "m", 3).await;
    assert_eq!(alert_numbers(&first), [0, 1, 2]);
    assert!(
        first
            .iter()
            .all(|alert| &*alert.worker == "m" && alert.attempts == 0)
    );
    assert_eq!(depth(&*engine).await, 7, "claimed alerts do not wait");
    let second = claim_alerts(&*engine, "n", 100).await;
    assert_eq!(alert_numbers(&second), [3, 4, 5, 6, 7, 8, 9]);
    assert!(claim_alerts(&*engine, "m", 1).await.is_empty());
}

/// A delivered alert does not come again, not even after a crash.
pub async fn a_delivered_alert_is_gone(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    queue_alerts(&*engine, 0..3).await;
    let alerts = claim_alerts(&*engine, "m", 3).await;
    let attempts = alerts
        .iter()
        .map(|alert| attempt(alert, Settlement::Delivered))
        .collect();
    assert_eq!(settle(&*engine, attempts).await, 3);
    assert_eq!(depth(&*engine).await, 0);
    let engine = crash(fixture, engine).await;
    engine.recover().await.expect("recovered");
    assert_eq!(depth(&*engine).await, 0);
    assert!(claim_alerts(&*engine, "m", 3).await.is_empty());
}

/// A retry is counted as waiting but not handed out before its time.
pub async fn a_retry_waits_until_it_is_due(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    queue_alerts(&*engine, 0..1).await;
    let alerts = claim_alerts(&*engine, "m", 1).await;
    let due = Timestamp::now() + SignedDuration::from_millis(400);
    settle(
        &*engine,
        vec![attempt(&alerts[0], Settlement::RetryAt(due))],
    )
    .await;
    assert_eq!(depth(&*engine).await, 1);
    let again = engine
        .claim_alerts(&worker("m"), 10, PATIENCE)
        .await
        .expect("read");
    let came = Timestamp::now();
    assert_eq!(alert_numbers(&again), [0]);
    assert!(
        came >= due - SignedDuration::from_millis(20),
        "it came at {came}, due at {due}"
    );
    assert_eq!(again[0].attempts, 1);
    assert_eq!(again[0].element, alerts[0].element);

    settle(
        &*engine,
        vec![attempt(&again[0], Settlement::RetryAt(later()))],
    )
    .await;
    assert!(
        claim_alerts(&*engine, "m", 10).await.is_empty(),
        "an hour too early"
    );
    assert_eq!(depth(&*engine).await, 1);
}

/// What is due for a retry goes before what has never been tried.
pub async fn a_due_retry_comes_first(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    queue_alerts(&*engine, 0..5).await;
    let alerts = claim_alerts(&*engine, "m", 2).await;
    let past = Timestamp::now() - SignedDuration::from_secs(60);
    let earlier = past - SignedDuration::from_secs(60);
    settle(
        &*engine,
        vec![
            attempt(&alerts[0], Settlement::RetryAt(past)),
            attempt(&alerts[1], Settlement::RetryAt(earlier)),
        ],
    )
    .await;
    let next = claim_alerts(&*engine, "m", 3).await;
    assert_eq!(
        alert_numbers(&next),
        [1, 0, 2],
        "retries by due time, then the oldest waiting"
    );
    assert_eq!(
        next.iter().map(|alert| alert.attempts).collect::<Vec<_>>(),
        [1, 1, 0]
    );
}

/// Alerts behind one that is claimed, or waits for its retry, go on.
pub async fn a_slow_alert_holds_up_no_other(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    queue_alerts(&*engine, 0..4).await;
    let slow = claim_alerts(&*engine, "m", 2).await;
    settle(
        &*engine,
        vec![attempt(&slow[0], Settlement::RetryAt(later()))],
    )
    .await;
    let others = claim_alerts(&*engine, "n", 10).await;
    assert_eq!(alert_numbers(&others), [2, 3]);
    let attempts = others
        .iter()
        .map(|alert| attempt(alert, Settlement::Delivered))
        .collect();
    assert_eq!(settle(&*engine, attempts).await, 2);
    assert_eq!(depth(&*engine).await, 1);
    assert_eq!(
        settle(&*engine, vec![attempt(&slow[1], Settlement::Delivered)]).await,
        1
    );
}

/// A claim on an empty alert queue waits for an alert and gets it when it comes.
pub async fn a_claim_waits_for_the_first_alert(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    for round in 0..3 {
        let waiting = tokio::spawn({
            let engine = engine.clone();
            async move { engine.claim_alerts(&worker("m"), 10, PATIENCE * 4).await }
        });
        tokio::task::yield_now().await;
        queue_alerts(&*engine, round..round + 1).await;
        let alerts = tokio::time::timeout(PATIENCE, waiting)
            .await
            .expect("the alert wakes the claim")
            .expect("no panic")
            .expect("read");
        assert_eq!(alert_numbers(&alerts), [round]);
        settle(&*engine, vec![attempt(&alerts[0], Settlement::Delivered)]).await;
    }
}

/// What is given up goes to `mutt:dlq:moog` with reason, words and the number of attempts, the last
/// one included.
pub async fn a_dead_alert_becomes_a_dead_letter(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    queue_alerts(&*engine, 0..2).await;
    let alerts = claim_alerts(&*engine, "m", 1).await;
    let past = Timestamp::now() - SignedDuration::from_secs(1);
    settle(
        &*engine,
        vec![attempt(&alerts[0], Settlement::RetryAt(past))],
    )
    .await;
    let alerts = claim_alerts(&*engine, "m", 1).await;
    assert_eq!(alert_numbers(&alerts), [0]);
    let dead = Settlement::Dead {
        reason: Reason::RetriesExhausted,
        detail: "503 busy".to_owned(),
    };
    assert_eq!(settle(&*engine, vec![attempt(&alerts[0], dead)]).await, 1);

    assert_eq!(engine.dlq_depth(Dlq::Moog).await.expect("depth"), 1);
    let letters = engine
        .dead_letters(Dlq::Moog, &DeadLetterFilter::default(), 0, 10)
        .await
        .expect("listed");
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    assert_eq!(letter.message.as_bytes(), &*alerts[0].element);
    assert_eq!(letter.queue, Dlq::Moog);
    assert_eq!(letter.origin, Dlq::Moog);
    assert_eq!(letter.reason, Reason::RetriesExhausted);
    assert_eq!(letter.detail, "503 busy");
    assert_eq!(letter.attempts, 2);
    assert_eq!(letter.replays, 0);
    assert_eq!(alert_numbers(&claim_alerts(&*engine, "m", 10).await), [1]);
}

/// What was not attempted goes back to the head, and no attempt is counted.
pub async fn a_returned_alert_counts_no_attempt(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    queue_alerts(&*engine, 0..4).await;
    let alerts = claim_alerts(&*engine, "m", 3).await;
    let attempts = alerts
        .iter()
        .map(|alert| attempt(alert, Settlement::Return))
        .collect();
    assert_eq!(settle(&*engine, attempts).await, 3);
    assert_eq!(depth(&*engine).await, 4);
    let again = claim_alerts(&*engine, "m", 10).await;
    assert_eq!(alert_numbers(&again), [0, 1, 2, 3]);
    assert!(again.iter().all(|alert| alert.attempts == 0));
}

/// Handing the same ends in again changes nothing, whatever became of the alerts since.
pub async fn settling_twice_changes_nothing(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    queue_alerts(&*engine, 0..4).await;
    let alerts = claim_alerts(&*engine, "m", 4).await;
    let mut attempts = vec![
        attempt(&alerts[0], Settlement::Delivered),
        attempt(&alerts[1], Settlement::RetryAt(later())),
        attempt(
            &alerts[2],
            Settlement::Dead {
                reason: Reason::Refused,
                detail: "404".to_owned(),
            },
        ),
        attempt(&alerts[3], Settlement::Return),
    ];
    attempts[0].log = Some(row(&alerts[0], 1, None));
    assert_eq!(settle(&*engine, attempts.clone()).await, 4);
    let returned = claim_alerts(&*engine, "n", 10).await;
    assert_eq!(alert_numbers(&returned), [3]);
    for _ in 0..2 {
        assert_eq!(settle(&*engine, attempts.clone()).await, 0);
        assert_eq!(depth(&*engine).await, 1, "one waits for its retry");
        assert_eq!(engine.dlq_depth(Dlq::Moog).await.expect("depth"), 1);
        let rows = engine.deliveries(event_id(&alerts[0])).await.expect("rows");
        assert_eq!(rows.len(), 1);
    }
    assert_eq!(
        settle(&*engine, vec![attempt(&returned[0], Settlement::Delivered)]).await,
        1
    );
}

/// The end of an attempt does not count where the alert was taken over; the others of the same
/// call count.
pub async fn an_alert_that_was_taken_over_is_left_out(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    queue_alerts(&*engine, 0..2).await;
    engine
        .heartbeat(WorkerKind::Moog, "late", SHORT)
        .await
        .expect("taken");
    let late = engine
        .claim_alerts(&worker("late"), 2, Duration::ZERO)
        .await
        .expect("read");
    eventually("the dead worker's alerts return", async || {
        (engine.recover().await.expect("recovered") > 0).then_some(())
    })
    .await;
    let heir = claim_alerts(&*engine, "heir", 1).await;
    assert_eq!(alert_numbers(&heir), [0]);
    assert_eq!(heir[0].element, late[0].element);
    assert_eq!(heir[0].attempts, 0);
    let dead = Settlement::Dead {
        reason: Reason::Refused,
        detail: "404".to_owned(),
    };
    let mut both = vec![
        attempt(&late[0], Settlement::Delivered),
        attempt(&late[1], dead),
        attempt(&heir[0], Settlement::Delivered),
    ];
    both[2].log = Some(row(&heir[0], 1, None));
    assert_eq!(settle(&*engine, both).await, 1, "only the heir's counts");
    assert_eq!(engine.dlq_depth(Dlq::Moog).await.expect("depth"), 0);
    assert_eq!(
        engine
            .deliveries(event_id(&heir[0]))
            .await
            .expect("rows")
            .len(),
        1
    );
    assert_eq!(
        alert_numbers(&claim_alerts(&*engine, "heir", 10).await),
        [1]
    );
}

/// Alerts that were claimed come again after a crash, with the same element.
pub async fn claimed_alerts_come_again_after_a_crash(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    queue_alerts(&*engine, 0..5).await;
    engine
        .heartbeat(WorkerKind::Moog, "m", SHORT)
        .await
        .expect("taken");
    let before = engine
        .claim_alerts(&worker("m"), 3, Duration::ZERO)
        .await
        .expect("read");
    assert_eq!(before.len(), 3);
    let engine = crash(fixture, engine).await;
    eventually("the crashed worker's alerts return", async || {
        engine.recover().await.expect("recovered");
        (depth(&*engine).await == 5).then_some(())
    })
    .await;
    let after = claim_alerts(&*engine, "n", 10).await;
    assert_eq!(alert_numbers(&after), [0, 1, 2, 3, 4]);
    assert!(
        before
            .iter()
            .zip(&after)
            .all(|(one, other)| one.element == other.element)
    );
    let attempts = before
        .iter()
        .map(|alert| attempt(alert, Settlement::Delivered))
        .collect();
    assert_eq!(
        settle(&*engine, attempts).await,
        0,
        "the old claims have ended"
    );
}

/// Retries keep their time and their count over a crash.
pub async fn retries_survive_a_crash(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    queue_alerts(&*engine, 0..2).await;
    let alerts = claim_alerts(&*engine, "m", 2).await;
    let past = Timestamp::now() - SignedDuration::from_secs(1);
    settle(
        &*engine,
        vec![
            attempt(&alerts[0], Settlement::RetryAt(later())),
            attempt(&alerts[1], Settlement::RetryAt(past)),
        ],
    )
    .await;
    let engine = crash(fixture, engine).await;
    assert_eq!(depth(&*engine).await, 2);
    let due = claim_alerts(&*engine, "m", 10).await;
    assert_eq!(
        due.iter()
            .map(|alert| alert_number(&alert.element))
            .collect::<Vec<_>>(),
        [1]
    );
    assert_eq!(due[0].attempts, 1);
}

/// Every attempt leaves its row, in order, also beside others in one call.
pub async fn every_attempt_is_logged_in_order(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    queue_alerts(&*engine, 0..2).await;
    let past = Timestamp::now() - SignedDuration::from_secs(1);
    let mut expected = Vec::new();
    let mut other = None;
    for number in 1..=3 {
        let alerts = engine
            .claim_alerts(&worker("m"), 2, Duration::ZERO)
            .await
            .expect("read");
        let mut attempts = Vec::new();
        for alert in &alerts {
            let error = (number < 3).then_some("503 busy");
            let log = row(alert, number, error);
            if alert_number(&alert.element) == 0 {
                expected.push(log.clone());
            } else {
                other = Some(log.event_id);
            }
            let settlement = error.map_or(Settlement::Delivered, |_| Settlement::RetryAt(past));
            attempts.push(Attempt {
                alert: alert.clone(),
                settlement,
                log: Some(log),
            });
        }
        assert_eq!(settle(&*engine, attempts).await, 2);
    }
    let rows = engine.deliveries(expected[0].event_id).await.expect("rows");
    assert_eq!(rows, expected);
    let rows = engine
        .deliveries(other.expect("the other alert"))
        .await
        .expect("rows");
    assert_eq!(
        rows.iter().map(|row| row.attempt).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    let engine = crash(fixture, engine).await;
    assert_eq!(
        engine.deliveries(expected[0].event_id).await.expect("rows"),
        expected
    );
    engine
        .heartbeat(WorkerKind::Moog, "m", LONG)
        .await
        .expect("taken");
    let unknown = mutt_event::EventId::new();
    assert!(engine.deliveries(unknown).await.expect("rows").is_empty());
}

/// An alert that nobody decided waits, is claimed and settled as the others are.
pub async fn an_alert_about_no_event_is_delivered_as_any(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    queue_alerts(&*engine, 0..1).await;
    let test = super::sample::alert(&super::sample::element(7));
    let id = test.event_id;
    engine.queue_alert(test).await.expect("queued");
    assert_eq!(engine.alert_depth().await.expect("depth"), 2);
    let engine = crash(fixture, engine).await;
    let alerts = claim_alerts(&*engine, "m", 10).await;
    assert_eq!(alert_numbers(&alerts), [0, 7], "behind those that waited");
    let attempts = alerts
        .iter()
        .map(|alert| Attempt {
            alert: alert.clone(),
            settlement: Settlement::Delivered,
            log: Some(row(alert, 1, None)),
        })
        .collect();
    assert_eq!(settle(&*engine, attempts).await, 2);
    assert_eq!(engine.alert_depth().await.expect("depth"), 0);
    assert_eq!(engine.deliveries(id).await.expect("rows").len(), 1);

    // And it wakes who waits.
    let name = worker("m");
    let waiting = engine.claim_alerts(&name, 1, super::PATIENCE);
    let queued = async {
        tokio::task::yield_now().await;
        let test = super::sample::alert(&super::sample::element(8));
        engine.queue_alert(test).await.expect("queued");
    };
    let (claimed, ()) = tokio::join!(waiting, queued);
    assert_eq!(alert_numbers(&claimed.expect("read")), [8]);
}

/// Retries are listed in the order in which they are due, with how often they were tried; recent
/// attempts are read newest first.
pub async fn retries_are_shown_by_when_they_are_due(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    assert_eq!(engine.retries(5).await.expect("read"), (0, Vec::new()));
    let start = Timestamp::now() - SignedDuration::from_mins(1);
    queue_alerts(&*engine, 0..4).await;
    let alerts = claim_alerts(&*engine, "m", 3).await;
    let now = super::sample::now();
    let due: Vec<_> = [300, 100, 200]
        .map(|seconds| now + SignedDuration::from_secs(seconds))
        .into();
    let attempts = alerts
        .iter()
        .zip(&due)
        .map(|(alert, due)| Attempt {
            alert: alert.clone(),
            settlement: Settlement::RetryAt(*due),
            log: Some(row(alert, 1, Some("503 busy"))),
        })
        .collect();
    assert_eq!(settle(&*engine, attempts).await, 3);
    let (count, next) = engine.retries(2).await.expect("read");
    assert_eq!(count, 3);
    let numbers: Vec<_> = next
        .iter()
        .map(|alert| super::sample::alert_number(&alert.element))
        .collect();
    assert_eq!(numbers, [1, 2]);
    assert_eq!(next[0].attempts, 1);
    for (alert, due) in next.iter().zip([due[1], due[2]]) {
        // The store has a clock of its own.
        let apart = alert.due.duration_since(due).abs();
        assert!(apart < SignedDuration::from_secs(60), "{alert:?}");
    }
    let id = |number: usize| {
        let element = &alerts[number].element;
        let alert: mutt_event::Alert<'_> = serde_json::from_slice(element).expect("an alert");
        alert.event_id.expect("an id")
    };
    // Where the log is written behind, asking for one event's attempts catches up.
    assert_eq!(engine.deliveries(id(0)).await.expect("rows").len(), 1);
    let recent = engine.recent_deliveries(start, 10).await.expect("rows");
    let mut seen: Vec<_> = recent.iter().map(|row| row.event_id).collect();
    seen.sort_unstable();
    let mut expected = [id(0), id(1), id(2)];
    expected.sort_unstable();
    assert_eq!(seen, expected);
    assert!(recent.is_sorted_by(|one, next| one.at >= next.at));
    assert_eq!(
        engine
            .recent_deliveries(start, 2)
            .await
            .expect("rows")
            .len(),
        2
    );
    let later = Timestamp::now() + SignedDuration::from_mins(1);
    assert!(
        engine
            .recent_deliveries(later, 10)
            .await
            .expect("rows")
            .is_empty()
    );
}
