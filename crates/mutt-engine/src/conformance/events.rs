//! How events wait: order, durability, limits, claims and what is returned.

use std::collections::HashMap;
use std::time::Duration;

use mutt_event::Batch;

use super::sample::{LONG, batch, claim, drain, element, number, numbers, worker};
use super::{Fixture, PATIENCE, crash};
use crate::{DeadLetter, DeadLetterFilter, Dlq, EngineError, Reason, Span, WorkerKind};

/// Single events and batches come out in the order in which they went in, and each enqueue tells
/// how many wait.
pub async fn events_come_in_the_order_of_arrival(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let mut next = 0;
    for size in [1, 1, 5, 1, 40, 3, 1] {
        let depth = engine
            .enqueue(batch(next..next + size))
            .await
            .expect("taken");
        next += size;
        assert_eq!(depth, next, "enqueue returns the number of waiting events");
    }
    assert_eq!(
        engine.enqueue(Batch::new()).await.expect("taken"),
        next,
        "nothing adds nothing"
    );
    assert_eq!(engine.event_depth().await.expect("depth"), next);
    assert_eq!(drain(&*engine, "a").await, (0..next).collect::<Vec<_>>());
    assert_eq!(
        engine.event_depth().await.expect("depth"),
        0,
        "claimed events do not wait"
    );
}

/// With many senders at once, each sender's events keep their order, each batch stays together,
/// and nothing is lost or doubled.
pub async fn each_senders_order_holds_among_many(fixture: &dyn Fixture) {
    const SENDERS: u64 = 8;
    const BATCHES: u64 = 12;
    const SIZE: u64 = 3;

    let engine = fixture.open().await;
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let engine = engine.clone();
            tokio::spawn(async move {
                for part in 0..BATCHES {
                    let first = sender * 1000 + part * SIZE;
                    engine
                        .enqueue(batch(first..first + SIZE))
                        .await
                        .expect("taken");
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.expect("the sender ends well");
    }
    assert_eq!(
        engine.event_depth().await.expect("depth"),
        SENDERS * BATCHES * SIZE
    );

    let all = drain(&*engine, "a").await;
    assert_eq!(all.len() as u64, SENDERS * BATCHES * SIZE);
    let mut next: HashMap<u64, u64> = HashMap::new();
    for part in all.chunks(3) {
        assert!(
            part.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "a batch came apart: {part:?}"
        );
        let expected = next.entry(part[0] / 1000).or_insert(part[0] / 1000 * 1000);
        assert_eq!(part[0], *expected, "a sender's batches changed places");
        *expected += SIZE;
    }
}

/// The engine hands out exactly the bytes that it was given.
pub async fn elements_come_back_byte_for_byte(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let elements = [
        b"{}".to_vec(),
        br#" { "a" : 1.50, "a":2 } "#.to_vec(),
        "{\"message\":\"Zürich \\u0000 \u{1F525}\"}"
            .as_bytes()
            .to_vec(),
        format!(r#"{{"message":"{}"}}"#, "x".repeat(200_000)).into_bytes(),
    ];
    engine
        .enqueue(elements.iter().map(Vec::as_slice).collect())
        .await
        .expect("taken");
    let engine = crash(fixture, engine).await;
    let claim = claim(&*engine, "a", 10).await;
    assert!(claim.iter().eq(elements.iter().map(Vec::as_slice)));
}

/// What enqueue took is there after a crash, in order.
pub async fn an_enqueued_event_survives_a_crash(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    for number in 0..20 {
        engine.enqueue(batch([number])).await.expect("taken");
    }
    engine.enqueue(batch(20..50)).await.expect("taken");
    let engine = crash(fixture, engine).await;
    assert_eq!(engine.event_depth().await.expect("depth"), 50);
    engine.enqueue(batch(50..52)).await.expect("taken");
    let engine = crash(fixture, engine).await;
    assert_eq!(drain(&*engine, "a").await, (0..52).collect::<Vec<_>>());
}

/// A batch that would pass the limit is refused as a whole; what fits is taken; room is made by
/// claiming and by a higher limit.
pub async fn a_full_queue_takes_nothing(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    engine.set_queue_limit(10);
    assert_eq!(engine.enqueue(batch(0..8)).await.expect("taken"), 8);
    let error = engine
        .enqueue(batch(100..103))
        .await
        .expect_err("11 are more than 10");
    assert!(
        matches!(
            error,
            EngineError::Full {
                depth: 8,
                limit: 10
            }
        ),
        "{error:?}"
    );
    assert!(error.is_temporary());
    assert_eq!(engine.event_depth().await.expect("depth"), 8);
    assert_eq!(
        engine
            .enqueue(batch(8..10))
            .await
            .expect("exactly full is allowed"),
        10
    );
    let error = engine
        .enqueue(batch([100]))
        .await
        .expect_err("one more is too many");
    assert!(
        matches!(
            error,
            EngineError::Full {
                depth: 10,
                limit: 10
            }
        ),
        "{error:?}"
    );

    let first = claim(&*engine, "a", 4).await;
    assert_eq!(numbers(&first), [0, 1, 2, 3]);
    assert_eq!(
        engine
            .enqueue(batch(10..14))
            .await
            .expect("claimed events made room"),
        10
    );
    engine.set_queue_limit(12);
    assert_eq!(
        engine
            .enqueue(batch(14..16))
            .await
            .expect("the limit was raised"),
        12
    );
    assert_eq!(drain(&*engine, "a").await, (4..16).collect::<Vec<_>>());
}

/// Events and the rejects that came with them are both there after one call, and after a crash;
/// a full queue takes neither. Either part may be missing.
pub async fn events_and_rejects_are_taken_together_or_not_at_all(fixture: &dyn Fixture) {
    let rejects = |numbers: std::ops::Range<u64>| -> Vec<DeadLetter> {
        let letter = |number| DeadLetter {
            reason: Reason::Malformed,
            detail: format!("no event: {number}"),
            element: element(number),
        };
        numbers.map(letter).collect()
    };
    let engine = fixture.open().await;
    engine.set_queue_limit(5);
    let depth = engine
        .enqueue_with_rejects(batch(0..3), rejects(100..102))
        .await
        .expect("taken");
    assert_eq!(depth, 3, "it returns the number of waiting events");
    assert_eq!(engine.dlq_depth(Dlq::Ingest).await.expect("depth"), 2);

    let error = engine
        .enqueue_with_rejects(batch(200..203), rejects(200..202))
        .await
        .expect_err("6 are more than 5");
    assert!(
        matches!(error, EngineError::Full { depth: 3, limit: 5 }),
        "{error:?}"
    );
    assert_eq!(engine.event_depth().await.expect("depth"), 3);
    assert_eq!(engine.dlq_depth(Dlq::Ingest).await.expect("depth"), 2);

    let depth = engine
        .enqueue_with_rejects(batch(3..5), Vec::new())
        .await
        .expect("what was refused holds no room");
    assert_eq!(depth, 5);
    let depth = engine
        .enqueue_with_rejects(Batch::new(), rejects(102..104))
        .await
        .expect("rejects need no room in the queue");
    assert_eq!(depth, 5);

    let engine = crash(fixture, engine).await;
    let letters = engine
        .dead_letters(Dlq::Ingest, &DeadLetterFilter::default(), 0, 10)
        .await
        .expect("listed");
    assert_eq!(letters.len(), 4);
    for (letter, expected) in letters.iter().zip(rejects(100..104)) {
        assert_eq!(number(letter.message.as_bytes()), number(&expected.element));
        assert_eq!(letter.detail, expected.detail);
        assert_eq!(
            (letter.reason, letter.origin),
            (Reason::Malformed, Dlq::Ingest)
        );
    }
    let counts = engine.accepted(Span::Day, 2).await.expect("counts");
    let accepted: u64 = counts.iter().map(|&(_, count)| count).sum();
    assert_eq!(accepted, 5, "rejects are not accepted events");
    assert_eq!(drain(&*engine, "a").await, (0..5).collect::<Vec<_>>());
}

/// A claim takes at most as many events as asked for, also out of the middle of a batch, and
/// nobody else sees them.
pub async fn a_claim_respects_its_limit(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    engine.enqueue(batch(0..10)).await.expect("taken");
    engine.enqueue(batch(10..12)).await.expect("taken");
    let first = claim(&*engine, "a", 3).await;
    assert_eq!(numbers(&first), [0, 1, 2]);
    assert_eq!(&*first.worker, "a");
    let second = claim(&*engine, "b", 1).await;
    assert_eq!(numbers(&second), [3]);
    let third = claim(&*engine, "a", 7).await;
    assert_eq!(
        numbers(&third),
        (4..11).collect::<Vec<_>>(),
        "a claim spans batches"
    );
    assert_eq!(engine.event_depth().await.expect("depth"), 1);
    let fourth = claim(&*engine, "c", 100).await;
    assert_eq!(numbers(&fourth), [11]);
    let ids = [first.id, second.id, third.id, fourth.id];
    assert!(
        (1..4).all(|index| !ids[..index].contains(&ids[index])),
        "claims share an id: {ids:?}"
    );
    let none = engine
        .claim_events(&worker("d"), 10, Duration::from_millis(20))
        .await;
    assert!(
        none.expect("the queue can be read").is_none(),
        "claimed events are invisible"
    );
}

/// A claim on an empty queue waits for an event and gets it when it comes.
pub async fn a_claim_waits_for_the_first_event(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let none = engine
        .claim_events(&worker("a"), 10, Duration::ZERO)
        .await
        .expect("read");
    assert!(none.is_none());
    for round in 0..5 {
        let waiting = tokio::spawn({
            let engine = engine.clone();
            async move { engine.claim_events(&worker("a"), 10, PATIENCE * 4).await }
        });
        tokio::task::yield_now().await;
        engine.enqueue(batch([round])).await.expect("taken");
        let claim = tokio::time::timeout(PATIENCE, waiting)
            .await
            .expect("the event wakes the claim")
            .expect("no panic")
            .expect("the queue can be read")
            .expect("an event came");
        assert_eq!(numbers(&claim), [round]);
    }
}

/// As many waiting claims as events: each gets one, none is forgotten.
pub async fn every_waiter_gets_an_event(fixture: &dyn Fixture) {
    const WAITERS: u64 = 6;
    let engine = fixture.open().await;
    let waiters: Vec<_> = (0..WAITERS)
        .map(|number| {
            let engine = engine.clone();
            let name = worker(&format!("waiter-{number}"));
            tokio::spawn(async move { engine.claim_events(&name, 1, PATIENCE * 4).await })
        })
        .collect();
    engine.enqueue(batch(0..2)).await.expect("taken");
    for number in 2..WAITERS {
        engine.enqueue(batch([number])).await.expect("taken");
    }
    let mut all = Vec::new();
    for waiter in waiters {
        let claim = tokio::time::timeout(PATIENCE, waiter)
            .await
            .expect("every waiter wakes");
        all.extend(numbers(
            &claim
                .expect("no panic")
                .expect("read")
                .expect("an event came"),
        ));
    }
    all.sort_unstable();
    assert_eq!(all, (0..WAITERS).collect::<Vec<_>>());
}

/// Whoever drops a claim call half-way loses no event: it waits, or the worker holds it.
pub async fn a_cancelled_claim_loses_nothing(fixture: &dyn Fixture) {
    const ROUNDS: u64 = 20;
    let engine = fixture.open().await;
    engine
        .heartbeat(WorkerKind::Alerter, "a", LONG)
        .await
        .expect("taken");
    let mut claimed = Vec::new();
    for round in 0..ROUNDS {
        let call = tokio::spawn({
            let engine = engine.clone();
            async move { engine.claim_events(&worker("a"), 1, PATIENCE).await }
        });
        engine.enqueue(batch([round])).await.expect("taken");
        for _ in 0..round % 4 {
            tokio::task::yield_now().await;
        }
        call.abort();
        if let Ok(answer) = call.await {
            claimed.extend(numbers(&answer.expect("read").expect("an event is there")));
        }
    }
    engine
        .retire(WorkerKind::Alerter, "a")
        .await
        .expect("retired");
    let mut all = drain(&*engine, "b").await;
    all.sort_unstable();
    assert_eq!(
        all,
        (0..ROUNDS).collect::<Vec<_>>(),
        "of which {claimed:?} had been handed out"
    );
}

/// Returned events go to the head of the queue in their order, once.
pub async fn returned_events_go_to_the_head_in_order(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    engine.enqueue(batch(0..4)).await.expect("taken");
    engine.enqueue(batch(4..10)).await.expect("taken");
    let first = claim(&*engine, "a", 3).await;
    let second = claim(&*engine, "a", 4).await;
    let again = crate::EventClaim {
        id: first.id,
        worker: first.worker.clone(),
        events: first.events.clone(),
    };
    engine.return_events(second).await.expect("returned");
    engine.return_events(first).await.expect("returned");
    assert_eq!(engine.event_depth().await.expect("depth"), 10);
    let error = engine
        .return_events(again)
        .await
        .expect_err("the claim has ended");
    assert!(matches!(error, EngineError::Fenced), "{error:?}");
    let head = claim(&*engine, "b", 5).await;
    assert_eq!(numbers(&head), [0, 1, 2, 3, 4]);
    engine.return_events(head).await.expect("returned");
    assert_eq!(drain(&*engine, "b").await, (0..10).collect::<Vec<_>>());
}

/// Shedding moves the oldest events to `mutt:dlq:alerter`, unchanged and in order.
pub async fn shed_events_become_dead_letters(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let elements: Vec<_> = (0..5).map(element).collect();
    engine
        .enqueue(elements.iter().map(Vec::as_slice).collect())
        .await
        .expect("taken");
    assert_eq!(engine.shed_events(3).await.expect("shed"), 3);
    assert_eq!(engine.event_depth().await.expect("depth"), 2);
    assert_eq!(engine.dlq_depth(Dlq::Alerter).await.expect("depth"), 3);
    let letters = engine
        .dead_letters(Dlq::Alerter, &DeadLetterFilter::default(), 0, 10)
        .await
        .expect("listed");
    assert_eq!(letters.len(), 3);
    for (letter, element) in letters.iter().zip(&elements) {
        assert_eq!(letter.message.as_bytes(), element);
        assert_eq!(letter.reason, Reason::Shed);
        assert_eq!(letter.origin, Dlq::Alerter);
    }
    let rest = claim(&*engine, "a", 10).await;
    assert_eq!(rest.iter().map(number).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(
        engine.shed_events(3).await.expect("shed"),
        0,
        "claimed events are not shed"
    );
}
