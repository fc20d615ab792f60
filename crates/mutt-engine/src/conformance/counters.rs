//! The dashboard's counters add up to what was accepted.

use jiff::Timestamp;

use super::sample::{batch, claim};
use super::{Fixture, crash};
use crate::{Component, Engine, FlowCounts, Outcomes, Span};

/// The spans with their length in seconds.
const SPANS: [(Span, i64); 3] = [(Span::Minute, 60), (Span::Hour, 3600), (Span::Day, 86_400)];

async fn assert_accepted(engine: &dyn Engine, expected: u64) {
    for (span, seconds) in SPANS {
        let counts = engine.accepted(span, 10).await.expect("counts");
        let sum: u64 = counts.iter().map(|&(_, count)| count).sum();
        assert_eq!(sum, expected, "{span:?}: {counts:?}");
        for &(start, _) in &counts {
            assert_eq!(start.as_second() % seconds, 0, "{span:?} begins at {start}");
            assert_eq!(start.subsec_nanosecond(), 0);
        }
        assert!(
            counts.windows(2).all(|pair| pair[0].0 < pair[1].0),
            "oldest first: {counts:?}"
        );
        assert!(
            counts.iter().all(|&(_, count)| count > 0),
            "spans without events are left out"
        );
    }
}

/// Minutes, hours and days each count every accepted event once; claims change nothing.
pub async fn accepted_events_are_counted_in_every_span(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    assert_accepted(&*engine, 0).await;
    engine.enqueue(batch(0..7)).await.expect("taken");
    engine.enqueue(batch([7])).await.expect("taken");
    assert_accepted(&*engine, 8).await;
    let held = claim(&*engine, "a", 4).await;
    engine.return_events(held).await.expect("returned");
    assert_accepted(&*engine, 8).await;
    let calls: Vec<_> = (0..5)
        .map(|_| {
            let engine = engine.clone();
            tokio::spawn(async move { engine.enqueue(batch(0..10)).await })
        })
        .collect();
    for call in calls {
        call.await.expect("no panic").expect("taken");
    }
    assert_accepted(&*engine, 58).await;
}

/// What a full queue refuses is not counted.
pub async fn refused_events_are_not_counted(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    engine.set_queue_limit(3);
    engine.enqueue(batch(0..2)).await.expect("taken");
    engine.enqueue(batch(2..4)).await.expect_err("too many");
    assert_accepted(&*engine, 2).await;
}

/// Counts are as durable as the events.
pub async fn counters_survive_a_crash(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    engine.enqueue(batch(0..7)).await.expect("taken");
    let engine = crash(fixture, engine).await;
    assert_accepted(&*engine, 7).await;
    engine.enqueue(batch(0..3)).await.expect("taken");
    assert_accepted(&*engine, 10).await;
}

/// Outcomes add up for each component by itself, whoever adds them, and are durable.
pub async fn outcomes_are_added_up(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    for component in Component::ALL {
        let none = engine.outcomes(component, 60).await.expect("outcomes");
        assert_eq!(none, Outcomes::default());
    }
    let calls: Vec<_> = (0..5)
        .map(|_| {
            let engine = engine.clone();
            let outcomes = Outcomes { good: 10, bad: 1 };
            tokio::spawn(async move { engine.add_outcomes(Component::Ingestor, outcomes).await })
        })
        .collect();
    for call in calls {
        call.await.expect("no panic").expect("added");
    }
    let bad = Outcomes { good: 0, bad: 3 };
    engine
        .add_outcomes(Component::Forwarder, bad)
        .await
        .expect("added");
    let engine = crash(fixture, engine).await;
    for minutes in [60, 60 * 24, 60 * 24 * 30, u32::MAX] {
        let all = engine.outcomes(Component::Ingestor, minutes).await;
        assert_eq!(all.expect("outcomes"), Outcomes { good: 50, bad: 5 });
    }
    let all = engine.outcomes(Component::Forwarder, 60).await;
    assert_eq!(all.expect("outcomes"), bad);
}

/// Outcomes and counts are kept minute by minute, whoever adds them, and are durable.
pub async fn outcomes_and_counts_are_known_by_minute(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let component = Component::Forwarder;
    assert_eq!(engine.flow(60).await.expect("counts"), []);
    let none = engine.outcomes_by_minute(component, 60).await;
    assert_eq!(none.expect("outcomes"), []);
    let before = Timestamp::now();
    let counts = FlowCounts {
        received_syslog: 7,
        handled: 5,
        unhandled: 2,
        failed: 1,
        ..FlowCounts::default()
    };
    for _ in 0..3 {
        engine.add_flow(&counts).await.expect("added");
        let outcomes = Outcomes { good: 4, bad: 1 };
        engine
            .add_outcomes(component, outcomes)
            .await
            .expect("added");
    }
    let engine = crash(fixture, engine).await;
    for minutes in [60, 60 * 24, u32::MAX] {
        let flow = engine.flow(minutes).await.expect("counts");
        let outcomes = engine.outcomes_by_minute(component, minutes).await;
        let outcomes = outcomes.expect("outcomes");
        let starts = flow.iter().map(|(at, _)| *at);
        for at in starts.chain(outcomes.iter().map(|(at, _)| *at)) {
            assert_eq!(at.as_second() % 60, 0, "{at} is the start of a minute");
            assert!(before.duration_since(at).as_secs() < 60 && at <= Timestamp::now());
        }
        assert!(flow.is_sorted_by_key(|(at, _)| *at));
        let mut sum = FlowCounts::default();
        for (_, counts) in &flow {
            sum.add(counts);
        }
        assert_eq!((sum.received(), sum.decided()), (21, 21));
        assert_eq!((sum.handled, sum.failed, sum.delivered), (15, 3, 0));
        let good: u64 = outcomes.iter().map(|(_, outcomes)| outcomes.good).sum();
        let bad: u64 = outcomes.iter().map(|(_, outcomes)| outcomes.bad).sum();
        assert_eq!((good, bad), (12, 3));
    }
}
