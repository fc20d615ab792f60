//! The limit is never passed in any window, and the circuit lets one probe through at a time.

use std::time::{Duration, Instant};

use super::{Fixture, PATIENCE, crash, eventually};
use crate::{CircuitPolicy, CircuitState, Engine, Limit, Permit};

const NAME: &str = "moogsoft";

/// A circuit that stays open for longer than any check takes.
const STAYS_OPEN: CircuitPolicy = CircuitPolicy {
    threshold: 3,
    timeout: Duration::from_hours(1),
};

/// So many requests were granted at some moment between `asked` and `answered`.
struct Grant {
    asked: Instant,
    answered: Instant,
    count: u32,
}

/// Takes permits until `total` were granted. Asks again every `pace`, whatever it was told: a limit
/// that holds only for callers who wait is none.
async fn take(
    engine: &dyn Engine,
    limit: Limit,
    (total, wanted): (u32, u32),
    pace: Duration,
) -> Vec<Grant> {
    let start = Instant::now();
    let (mut grants, mut granted) = (Vec::new(), 0);
    while granted < total {
        let asked = Instant::now();
        let permit = engine
            .take_permits(NAME, limit, wanted)
            .await
            .expect("answered");
        match permit {
            Permit::Granted(count) => {
                assert!(
                    (1..=wanted).contains(&count),
                    "{count} of {wanted} were granted"
                );
                granted += count;
                grants.push(Grant {
                    asked,
                    answered: Instant::now(),
                    count,
                });
            }
            Permit::Wait(time) => {
                assert!(
                    time <= limit.period,
                    "nothing is in the window for longer than itself"
                );
            }
        }
        assert!(
            start.elapsed() < PATIENCE,
            "the limit lets too little through"
        );
        tokio::time::sleep(pace).await;
    }
    grants
}

/// No grants that surely lie within one window add up to more than the limit. (A slow machine
/// makes fewer of them sure, never too many.)
fn assert_limit_held(grants: &[Grant], limit: Limit) {
    // Engines may count in milliseconds.
    let window = limit.period.saturating_sub(Duration::from_millis(5));
    for first in grants {
        let within: u32 = grants
            .iter()
            .filter(|grant| grant.asked >= first.asked && grant.answered < first.asked + window)
            .map(|grant| grant.count)
            .sum();
        assert!(
            within <= limit.count,
            "{within} requests within {:?}",
            limit.period
        );
    }
}

/// Many callers at once never get more than the limit in any window, and all get on.
pub async fn the_limit_holds_in_every_window(fixture: &dyn Fixture) {
    let limit = Limit {
        count: 20,
        period: Duration::from_millis(400),
    };
    let engine = fixture.open().await;
    let callers: Vec<_> = (1..=4_u32)
        .map(|wanted| {
            let engine = engine.clone();
            // Different paces spread the grants over the window.
            let pace = Duration::from_millis(u64::from(7 * wanted));
            tokio::spawn(async move { take(&*engine, limit, (24, wanted), pace).await })
        })
        .collect();
    let mut grants = Vec::new();
    for caller in callers {
        grants.extend(caller.await.expect("the caller ends well"));
    }
    assert!(grants.iter().map(|grant| grant.count).sum::<u32>() >= 96);
    assert_limit_held(&grants, limit);
}

/// Who waits as long as it is told gets on: the time is not made up.
pub async fn who_waits_as_told_gets_on(fixture: &dyn Fixture) {
    let limit = Limit {
        count: 3,
        period: Duration::from_millis(100),
    };
    let engine = fixture.open().await;
    let (mut granted, mut waits) = (0, 0);
    while granted < 12 {
        match engine.take_permits(NAME, limit, 2).await.expect("answered") {
            Permit::Granted(count) => granted += count,
            Permit::Wait(time) => {
                waits += 1;
                tokio::time::sleep(time).await;
            }
        }
    }
    // Each wait may end a moment too early by the engine's own clock, not again and again.
    assert!(waits <= 20, "{waits} waits for 12 requests");
}

/// A crash gives nobody a second helping of the same window.
pub async fn the_limit_holds_across_a_crash(fixture: &dyn Fixture) {
    let limit = Limit {
        count: 5,
        period: Duration::from_millis(1500),
    };
    let pace = Duration::from_millis(20);
    let engine = fixture.open().await;
    let mut grants = take(&*engine, limit, (5, 5), pace).await;
    let engine = crash(fixture, engine).await;
    grants.extend(take(&*engine, limit, (5, 5), pace).await);
    assert_limit_held(&grants, limit);
}

/// Using up one limit leaves the others alone.
pub async fn names_are_limited_each_by_itself(fixture: &dyn Fixture) {
    let limit = Limit {
        count: 1,
        period: Duration::from_millis(500),
    };
    let engine = fixture.open().await;
    take(&*engine, limit, (1, 1), Duration::from_millis(20)).await;
    let alone = Limit { count: 3, ..limit };
    eventually("another name gets its own permits", async || {
        let permit = engine
            .take_permits("another", alone, 3)
            .await
            .expect("answered");
        (permit == Permit::Granted(3)).then_some(())
    })
    .await;
}

/// Who wants more than the limit gets at most the limit.
pub async fn no_more_is_granted_than_asked_or_allowed(fixture: &dyn Fixture) {
    let limit = Limit {
        count: 4,
        period: Duration::from_millis(300),
    };
    let engine = fixture.open().await;
    let grants = take(&*engine, limit, (8, 100), Duration::from_millis(10)).await;
    assert!(grants.iter().all(|grant| grant.count <= 4));
    assert_limit_held(&grants, limit);
}

async fn admit(engine: &dyn Engine, policy: CircuitPolicy) -> CircuitState {
    engine.circuit_admit(NAME, policy).await.expect("answered")
}

async fn fail(engine: &dyn Engine, policy: CircuitPolicy) -> CircuitState {
    engine.circuit_failure(NAME, policy).await.expect("counted")
}

/// Opens the circuit; waits until a probe may go out, and takes it.
async fn probe(engine: &dyn Engine, policy: CircuitPolicy) {
    engine.circuit_open(NAME).await.expect("opened");
    eventually("a probe may go out", async || {
        match admit(engine, policy).await {
            CircuitState::HalfOpen => Some(()),
            CircuitState::Open => None,
            CircuitState::Closed => panic!("an open circuit closes only after a success"),
        }
    })
    .await;
}

/// The circuit opens with the failure that reaches the threshold and then admits nobody.
pub async fn failures_in_a_row_open_the_circuit(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let circuit = engine.circuit(NAME).await.expect("read");
    assert_eq!((circuit.state, circuit.failures), (CircuitState::Closed, 0));
    assert_eq!(admit(&*engine, STAYS_OPEN).await, CircuitState::Closed);
    for failures in 1..3 {
        assert_eq!(fail(&*engine, STAYS_OPEN).await, CircuitState::Closed);
        assert_eq!(engine.circuit(NAME).await.expect("read").failures, failures);
        assert_eq!(admit(&*engine, STAYS_OPEN).await, CircuitState::Closed);
    }
    assert_eq!(fail(&*engine, STAYS_OPEN).await, CircuitState::Open);
    assert_eq!(admit(&*engine, STAYS_OPEN).await, CircuitState::Open);
    let circuit = engine.circuit(NAME).await.expect("read");
    assert_eq!((circuit.state, circuit.failures), (CircuitState::Open, 3));
    assert!(circuit.opened_at.is_some());
    assert_eq!(
        engine.circuit("another").await.expect("read").state,
        CircuitState::Closed
    );
}

/// Only failures in a row count.
pub async fn a_success_forgets_failures(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    for _ in 0..3 {
        fail(&*engine, STAYS_OPEN).await;
        assert_eq!(fail(&*engine, STAYS_OPEN).await, CircuitState::Closed);
        let before = engine.circuit_success(NAME).await.expect("counted");
        assert_eq!(before, CircuitState::Closed);
        assert_eq!(engine.circuit(NAME).await.expect("read").failures, 0);
    }
}

/// However many ask, no second probe goes out before the first one's time is over; after it one
/// does.
pub async fn one_probe_goes_out_at_a_time(fixture: &dyn Fixture) {
    let policy = CircuitPolicy {
        threshold: 3,
        timeout: Duration::from_millis(700),
    };
    let engine = fixture.open().await;
    engine.circuit_open(NAME).await.expect("opened");
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let engine = engine.clone();
            tokio::spawn(async move {
                let start = Instant::now();
                let mut probes = Vec::new();
                // Long enough for the place to become free a second time.
                while start.elapsed() < policy.timeout * 3 {
                    let asked = Instant::now();
                    match admit(&*engine, policy).await {
                        CircuitState::HalfOpen => probes.push((asked, Instant::now())),
                        CircuitState::Open => {}
                        CircuitState::Closed => panic!("nobody reported a success"),
                    }
                    tokio::time::sleep(Duration::from_millis(15)).await;
                }
                probes
            })
        })
        .collect();
    let mut probes = Vec::new();
    for caller in callers {
        probes.extend(caller.await.expect("the caller ends well"));
    }
    probes.sort_unstable();
    let least = policy.timeout.saturating_sub(Duration::from_millis(20));
    for pair in probes.windows(2) {
        let apart = pair[1].1 - pair[0].0;
        assert!(apart >= least, "two probes within {apart:?}");
    }
    let second = probes.len() >= 2;
    if !second {
        // A very slow machine: the place must become free all the same.
        eventually("a lost probe frees its place", async || {
            (admit(&*engine, policy).await == CircuitState::HalfOpen).then_some(())
        })
        .await;
    }
}

/// The probe's success closes the circuit, its failure opens it for another time-out.
pub async fn a_probe_closes_or_opens_the_circuit(fixture: &dyn Fixture) {
    let soon = CircuitPolicy {
        timeout: Duration::from_millis(100),
        ..STAYS_OPEN
    };
    let engine = fixture.open().await;
    probe(&*engine, soon).await;
    assert_eq!(
        fail(&*engine, STAYS_OPEN).await,
        CircuitState::Open,
        "one failed probe is enough"
    );
    assert_eq!(admit(&*engine, STAYS_OPEN).await, CircuitState::Open);

    probe(&*engine, soon).await;
    let before = engine.circuit_success(NAME).await.expect("counted");
    assert_eq!(before, CircuitState::HalfOpen);
    assert_eq!(admit(&*engine, STAYS_OPEN).await, CircuitState::Closed);
    let circuit = engine.circuit(NAME).await.expect("read");
    assert_eq!((circuit.state, circuit.failures), (CircuitState::Closed, 0));
    assert_eq!(
        fail(&*engine, STAYS_OPEN).await,
        CircuitState::Closed,
        "counting begins anew"
    );
}

/// No failure is needed where the caller knows.
pub async fn a_circuit_opens_at_once_when_told(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    engine.circuit_open(NAME).await.expect("opened");
    assert_eq!(admit(&*engine, STAYS_OPEN).await, CircuitState::Open);
    let circuit = engine.circuit(NAME).await.expect("read");
    assert_eq!(circuit.state, CircuitState::Open);
    assert!(circuit.opened_at.is_some());
}

/// An open circuit, and failures counted so far, are known after a crash.
pub async fn an_open_circuit_survives_a_crash(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    fail(&*engine, STAYS_OPEN).await;
    fail(&*engine, STAYS_OPEN).await;
    let engine = crash(fixture, engine).await;
    assert_eq!(engine.circuit(NAME).await.expect("read").failures, 2);
    assert_eq!(fail(&*engine, STAYS_OPEN).await, CircuitState::Open);
    let before = engine.circuit(NAME).await.expect("read");
    let engine = crash(fixture, engine).await;
    assert_eq!(engine.circuit(NAME).await.expect("read"), before);
    assert_eq!(admit(&*engine, STAYS_OPEN).await, CircuitState::Open);
}

/// Looking at what is used takes nothing, and what left the window is not used.
pub async fn what_was_granted_is_shown_as_used(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let long = Duration::from_hours(1);
    let used = async |period| engine.permits_used(NAME, period).await.expect("answered");
    assert_eq!(used(long).await, 0);
    // A short window, so that an engine that begins blind grants soon.
    let limit = Limit {
        count: 10,
        period: Duration::from_millis(100),
    };
    // What is granted may be forgotten some time after it left its window; on a slow machine that is
    // before the look.
    eventually("a grant shows", async || {
        take(&*engine, limit, (1, 1), Duration::from_millis(5)).await;
        (used(long).await > 0).then_some(())
    })
    .await;
    eventually("the grant leaves the window", async || {
        (used(limit.period).await == 0).then_some(())
    })
    .await;
    assert_eq!(
        engine.permits_used("other", long).await.expect("answered"),
        0
    );
}
