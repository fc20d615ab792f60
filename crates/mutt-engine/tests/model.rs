//! Random schedules against a simple model: whatever workers do and whenever the process crashes,
//! the queue behaves like a sorted list, and every event is decided exactly once.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mutt_engine::conformance::{eventually, sample};
use mutt_engine::embedded::{Embedded, Mode};
use mutt_engine::{
    AlertQueue as _, Attempt, Audit as _, AuditFilter, Decision, EngineError, EventClaim,
    EventQueue as _, Outcome, Settlement, WorkerKind, Workers as _,
};
use proptest::prelude::*;

const WORKERS: usize = 3;

/// What may happen next. Indices are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    Enqueue(u64),
    /// Several callers at once.
    EnqueueTogether(u64, u64),
    Claim {
        worker: usize,
        max: usize,
    },
    Decide(usize),
    /// The same decision again, long after.
    DecideAgain(usize),
    /// A decision that names an event that is not there.
    DecideBadly(usize),
    Return(usize),
    /// The worker ends in order.
    Retire(usize),
    /// The worker's heartbeat runs out, and somebody recovers what it held.
    Die(usize),
    Deliver(usize),
    /// The process dies and starts again.
    Crash,
    /// The process ends in order and starts again.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..9_u64).prop_map(Step::Enqueue),
        1 => (1..4_u64, 1..4_u64).prop_map(|(one, other)| Step::EnqueueTogether(one, other)),
        6 => (0..WORKERS, 1..8_usize).prop_map(|(worker, max)| Step::Claim { worker, max }),
        5 => any::<usize>().prop_map(Step::Decide),
        1 => any::<usize>().prop_map(Step::DecideAgain),
        1 => any::<usize>().prop_map(Step::DecideBadly),
        2 => any::<usize>().prop_map(Step::Return),
        1 => (0..WORKERS).prop_map(Step::Retire),
        1 => (0..WORKERS).prop_map(Step::Die),
        2 => (1..5_usize).prop_map(Step::Deliver),
        1 => Just(Step::Crash),
        1 => Just(Step::Restart),
    ]
}

/// What must be true of the engine.
#[derive(Default)]
struct Model {
    /// The next event's number.
    next: u64,
    /// Events that wait; the lowest number is the oldest.
    waiting: BTreeSet<u64>,
    /// Claims that are out, with their worker.
    held: Vec<(usize, EventClaim)>,
    /// Claims that ended otherwise than by a decision: they are fenced for ever.
    fenced: Vec<EventClaim>,
    /// Decisions that took effect in this process.
    decided: Vec<Arc<Decision>>,
    /// Decisions that took effect before the last start.
    decided_earlier: Vec<Arc<Decision>>,
    /// Events in the order in which they were audited.
    audited: Vec<u64>,
    /// Events whose alert waits, in order.
    alerts: Vec<u64>,
}

impl Model {
    /// Claims end without a decision: their events wait again.
    fn give_up(&mut self, ends: impl Fn(usize) -> bool) {
        for (worker, claim) in std::mem::take(&mut self.held) {
            if ends(worker) {
                self.waiting.extend(sample::numbers(&claim));
                self.fenced.push(claim);
            } else {
                self.held.push((worker, claim));
            }
        }
    }

    fn restart(&mut self) {
        self.give_up(|_| true);
        self.decided_earlier.append(&mut self.decided);
    }
}

fn name(worker: usize) -> Arc<str> {
    sample::worker(&format!("worker-{worker}"))
}

fn open(directory: &Path) -> Arc<Embedded> {
    Embedded::open(directory, Mode::Server).expect("the engine opens")
}

fn copy(claim: &EventClaim) -> EventClaim {
    EventClaim {
        id: claim.id,
        worker: claim.worker.clone(),
        events: claim.events.clone(),
    }
}

/// Every event is audited; every second one becomes an alert.
fn decision(claim: EventClaim) -> Arc<Decision> {
    let audit = claim
        .iter()
        .enumerate()
        .map(|(index, event)| sample::audit_row(index, event))
        .collect();
    let alerting = claim
        .iter()
        .filter(|event| sample::number(event).is_multiple_of(2));
    let alerts = alerting.map(sample::alert).collect();
    Arc::new(Decision {
        claim,
        outcome: Outcome {
            audit,
            alerts,
            ..Outcome::default()
        },
    })
}

async fn decide(engine: &Embedded, model: &mut Model, claim: EventClaim) {
    let numbers = sample::numbers(&claim);
    let decision = decision(claim);
    engine.decide(decision.clone()).await.expect("decided");
    model
        .alerts
        .extend(numbers.iter().filter(|number| number.is_multiple_of(2)));
    model.audited.extend(numbers);
    model.decided.push(decision);
}

/// Does one step and compares.
async fn take(engine: &Embedded, model: &mut Model, step: Step) {
    match step {
        Step::Enqueue(count) => {
            let numbers = model.next..model.next + count;
            model.next = numbers.end;
            let depth = engine
                .enqueue(sample::batch(numbers.clone()))
                .await
                .expect("taken");
            model.waiting.extend(numbers);
            assert_eq!(depth, model.waiting.len() as u64);
        }
        Step::EnqueueTogether(one, other) => {
            let first = model.next..model.next + one;
            let second = first.end..first.end + other;
            model.next = second.end;
            let (first_taken, second_taken) = tokio::join!(
                engine.enqueue(sample::batch(first)),
                engine.enqueue(sample::batch(second)),
            );
            first_taken.expect("taken");
            second_taken.expect("taken");
            model.waiting.extend(model.next - one - other..model.next);
        }
        Step::Claim { worker, max } => {
            let lifetime = sample::LONG;
            engine
                .heartbeat(WorkerKind::Alerter, &name(worker), lifetime)
                .await
                .expect("alive");
            let claim = engine
                .claim_events(&name(worker), max, Duration::ZERO)
                .await
                .expect("read");
            let expected: Vec<u64> = model.waiting.iter().copied().take(max).collect();
            let numbers = claim.as_ref().map(sample::numbers).unwrap_or_default();
            assert_eq!(numbers, expected, "a claim takes the oldest events");
            for number in &numbers {
                assert!(model.waiting.remove(number), "{number} was not waiting");
            }
            model.held.extend(claim.map(|claim| (worker, claim)));
        }
        Step::Decide(index) if !model.held.is_empty() => {
            let (_, claim) = model.held.remove(index % model.held.len());
            decide(engine, model, claim).await;
        }
        Step::DecideAgain(index) => {
            if !model.decided.is_empty() {
                let again = model.decided[index % model.decided.len()].clone();
                engine.decide(again).await.expect("it took effect");
            }
            if !model.decided_earlier.is_empty() {
                let again = model.decided_earlier[index % model.decided_earlier.len()].clone();
                let answer = engine.decide(again).await;
                assert!(
                    matches!(answer, Ok(_) | Err(EngineError::Fenced)),
                    "{answer:?}"
                );
            }
            if !model.fenced.is_empty() {
                let claim = &model.fenced[index % model.fenced.len()];
                let answer = engine.decide(decision(copy(claim))).await;
                assert!(matches!(answer, Err(EngineError::Fenced)), "{answer:?}");
                let answer = engine.return_events(copy(claim)).await;
                assert!(matches!(answer, Err(EngineError::Fenced)), "{answer:?}");
            }
        }
        Step::DecideBadly(index) if !model.held.is_empty() => {
            let (_, claim) = &model.held[index % model.held.len()];
            let mut bad = Arc::into_inner(decision(copy(claim))).expect("just made");
            bad.outcome
                .audit
                .last_mut()
                .expect("claims hold events")
                .index = 1000;
            engine
                .decide(Arc::new(bad))
                .await
                .expect_err("there is no such event");
        }
        Step::Return(index) if !model.held.is_empty() => {
            let (_, claim) = model.held.remove(index % model.held.len());
            model.waiting.extend(sample::numbers(&claim));
            model.fenced.push(copy(&claim));
            engine.return_events(claim).await.expect("returned");
        }
        Step::Retire(worker) => {
            engine
                .retire(WorkerKind::Alerter, &name(worker))
                .await
                .expect("retired");
            model.give_up(|other| other == worker);
        }
        Step::Die(worker) => {
            let held: usize = model
                .held
                .iter()
                .filter(|(other, _)| *other == worker)
                .map(|(_, claim)| claim.len())
                .sum();
            let soon = Duration::from_millis(1);
            engine
                .heartbeat(WorkerKind::Alerter, &name(worker), soon)
                .await
                .expect("alive");
            if held > 0 {
                let returned = eventually("the worker is taken for dead", async || {
                    let returned = engine.recover().await.expect("recovered");
                    (returned > 0).then_some(returned)
                })
                .await;
                assert_eq!(returned, held as u64);
            }
            model.give_up(|other| other == worker);
        }
        Step::Deliver(max) => {
            let lifetime = sample::LONG;
            engine
                .heartbeat(WorkerKind::Moog, "moog", lifetime)
                .await
                .expect("alive");
            let moog = sample::worker("moog");
            let alerts = engine
                .claim_alerts(&moog, max, Duration::ZERO)
                .await
                .expect("read");
            let count = max.min(model.alerts.len());
            let expected: Vec<u64> = model.alerts.drain(..count).collect();
            assert_eq!(
                sample::alert_numbers(&alerts),
                expected,
                "alerts keep their order"
            );
            let attempts = alerts
                .into_iter()
                .map(|alert| Attempt {
                    alert,
                    settlement: Settlement::Delivered,
                    log: None,
                })
                .collect();
            assert_eq!(
                engine.settle_alerts(attempts).await.expect("settled"),
                count as u64
            );
        }
        Step::Crash | Step::Restart => unreachable!("the schedule's runner does these"),
        Step::Decide(_) | Step::DecideBadly(_) | Step::Return(_) => {}
    }
}

/// Runs a schedule, then lets one worker finish everything, and looks at the result.
async fn run(steps: Vec<Step>) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut engine = open(directory.path());
    let mut model = Model::default();
    for step in steps {
        if matches!(step, Step::Crash | Step::Restart) {
            if matches!(step, Step::Restart) {
                engine.close().await;
            }
            drop(engine);
            engine = open(directory.path());
            model.restart();
        } else {
            take(&engine, &mut model, step).await;
        }
        assert_eq!(
            engine.event_depth().await.expect("depth"),
            model.waiting.len() as u64
        );
        assert_eq!(
            engine.alert_depth().await.expect("depth"),
            model.alerts.len() as u64
        );
    }

    drop(engine);
    engine = open(directory.path());
    model.restart();
    while !model.waiting.is_empty() {
        take(&engine, &mut model, Step::Claim { worker: 0, max: 10 }).await;
        take(&engine, &mut model, Step::Decide(0)).await;
    }
    take(&engine, &mut model, Step::Deliver(1000)).await;
    assert_eq!(engine.event_depth().await.expect("depth"), 0);
    assert_eq!(engine.alert_depth().await.expect("depth"), 0);
    let filter = AuditFilter {
        limit: 10_000,
        ..AuditFilter::default()
    };
    let rows = engine.audit_rows(filter).await.expect("rows");
    let audited: Vec<u64> = rows
        .iter()
        .rev()
        .map(|row| sample::number(row.raw_message.as_bytes()))
        .collect();
    assert_eq!(audited, model.audited, "rows in the order of the decisions");
    let once: BTreeSet<u64> = audited.iter().copied().collect();
    assert_eq!(once, (0..model.next).collect(), "every event, none twice");
    assert_eq!(audited.len(), once.len());
    engine.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_event_is_decided_exactly_once(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(run(steps));
    }
}
