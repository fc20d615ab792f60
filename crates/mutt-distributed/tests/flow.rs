//! Limits and circuits that pods share, on a Redis that forgets, and beside what MUTT 2.5 left.

mod support;

use std::time::{Duration, Instant};

use mutt_engine::conformance::{Fixture as _, eventually};
use mutt_engine::{CircuitPolicy, CircuitState, Engine, Limit, Permit};
use support::Store;

const NAME: &str = "moog";

const LIMIT: Limit = Limit {
    count: 10,
    period: Duration::from_millis(400),
};

const STAYS_OPEN: CircuitPolicy = CircuitPolicy {
    threshold: 3,
    timeout: Duration::from_hours(1),
};

async fn ask(engine: &dyn Engine, name: &str, wanted: u32) -> Permit {
    engine
        .take_permits(name, LIMIT, wanted)
        .await
        .expect("answered")
}

/// Waits until something is granted.
async fn granted(engine: &dyn Engine, name: &str, wanted: u32) -> u32 {
    eventually("a grant", async || match ask(engine, name, wanted).await {
        Permit::Granted(count) => Some(count),
        Permit::Wait(_) => None,
    })
    .await
}

/// Redis is back, and the engine uses it again. Says what it answered first.
async fn first_answer(engine: &dyn Engine, name: &str) -> Permit {
    eventually("Redis is back", async || {
        engine.take_permits(name, LIMIT, 1).await.ok()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_share_a_limit() {
    let store = Store::start().await;
    let (one, other) = (store.open().await, store.open().await);
    let callers: Vec<_> = [one.clone(), other]
        .into_iter()
        .flat_map(|engine| [engine.clone(), engine])
        .map(|engine| {
            tokio::spawn(async move {
                let mut grants = Vec::new();
                let mut total = 0;
                while total < 30 {
                    let asked = Instant::now();
                    match ask(&*engine, NAME, 3).await {
                        Permit::Granted(count) => {
                            total += count;
                            grants.push((asked, Instant::now(), count));
                        }
                        Permit::Wait(time) => {
                            assert!(time <= LIMIT.period);
                            tokio::time::sleep(time.min(Duration::from_millis(9))).await;
                        }
                    }
                }
                grants
            })
        })
        .collect();
    let mut grants = Vec::new();
    for caller in callers {
        grants.extend(caller.await.unwrap());
    }
    for &(first, ..) in &grants {
        let within: u32 = grants
            .iter()
            .filter(|&&(asked, answered, _)| asked >= first && answered < first + LIMIT.period)
            .map(|&(.., count)| count)
            .sum();
        assert!(within <= LIMIT.count, "{within} within {:?}", LIMIT.period);
    }
    eventually(
        "a window of ten takes little room and expires",
        async || {
            granted(&*one, NAME, 1).await;
            let ask = |command: &str| store.redis.command(&[command, "mutt:rate_limit:moog"]);
            let left: i64 = ask("PTTL").trim().parse().unwrap();
            let fields: i64 = ask("HLEN").trim().parse().unwrap();
            assert!(
                fields <= 3 + 10,
                "grants that are over are dropped: {fields}"
            );
            // On a very slow machine it has expired by now.
            (1..=1400).contains(&left).then_some(())
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_may_have_forgotten_lets_a_window_pass() {
    let store = Store::start().await;
    let engine = store.open().await;
    granted(&*engine, NAME, 10).await;
    store.redis.command(&["FLUSHALL"]);
    let answer = ask(&*engine, NAME, 1).await;
    assert!(
        matches!(answer, Permit::Wait(_)),
        "everything is forgotten: {answer:?}"
    );
    granted(&*engine, NAME, 1).await;
    assert!(matches!(
        ask(&*engine, "another", 1).await,
        Permit::Granted(1)
    ));

    store.redis.restart();
    let answer = first_answer(&*engine, "third").await;
    assert!(
        matches!(answer, Permit::Wait(_)),
        "the disk may lag behind: {answer:?}"
    );
    assert_eq!(granted(&*engine, "third", 10).await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_window_of_ours_counts_as_a_full_one() {
    let store = Store::start().await;
    let engine = store.open().await;
    granted(&*engine, "first", 1).await;
    // MUTT 2.5's form.
    store.redis.command(&[
        "ZADD",
        "mutt:rate_limit:moog",
        "1700000000.5",
        "1700000000.5-17",
    ]);
    assert!(matches!(ask(&*engine, NAME, 1).await, Permit::Wait(_)));
    assert_eq!(granted(&*engine, NAME, 10).await, 10);
    for broken in [
        ["used", "x", "first", "1", "next", "2"],
        ["used", "1", "first", "1", "next", "2"],
        ["used", "1", "first", "7", "next", "9"],
    ] {
        store.redis.command(&["DEL", "mutt:rate_limit:broken"]);
        let mut command = vec!["HSET", "mutt:rate_limit:broken"];
        command.extend(broken);
        store.redis.command(&command);
        assert!(
            matches!(ask(&*engine, "broken", 1).await, Permit::Wait(_)),
            "{broken:?}"
        );
        granted(&*engine, "broken", 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_holds_up_for_a_window_at_most() {
    let store = Store::start().await;
    let engine = store.open().await;
    granted(&*engine, "first", 1).await;
    // As the window stands when it was filled while the clock was a day ahead.
    let ahead = jiff::Timestamp::now().as_microsecond() + 86_400_000_000;
    let entry = format!("{ahead} {ahead} 10");
    let fields = ["used", "10", "first", "1", "next", "2", "1", &entry];
    let mut command = vec!["HSET", "mutt:rate_limit:moog"];
    command.extend(fields);
    store.redis.command(&command);
    let answer = ask(&*engine, NAME, 1).await;
    assert!(
        matches!(answer, Permit::Wait(time) if time <= LIMIT.period),
        "{answer:?}"
    );
    assert_eq!(granted(&*engine, NAME, 10).await, 10);

    let later = format!("{ahead}");
    store
        .redis
        .command(&["HSET", "mutt:rate_limit_run", "since", &later]);
    granted(&*engine, "second", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_many_is_kept_small() {
    let store = Store::start().await;
    let engine = store.open().await;
    let limit = Limit {
        count: 1_000_000,
        period: Duration::from_millis(100),
    };
    // Grains of about 0.1 ms, over several windows.
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        engine.take_permits(NAME, limit, 5).await.unwrap();
    }
    let fields: usize = store
        .redis
        .command(&["HLEN", "mutt:rate_limit:moog"])
        .trim()
        .parse()
        .unwrap();
    assert!(fields <= 1024 + 5, "{fields}");
}

#[tokio::test(flavor = "multi_thread")]
async fn circuits_of_2_5_are_understood() {
    let store = Store::start().await;
    let engine = store.open().await;
    let now = jiff::Timestamp::now().as_second() - 1;
    let key = |what: &str| format!("mutt:circuit_breaker:moogsoft:{what}");
    store.redis.command(&["SET", &key("state"), "OPEN"]);
    store.redis.command(&["SET", &key("failures"), "10"]);
    store
        .redis
        .command(&["SET", &key("open_time"), &format!("{now}.25")]);
    let circuit = engine.circuit("moogsoft").await.unwrap();
    assert_eq!((circuit.state, circuit.failures), (CircuitState::Open, 10));
    assert_eq!(
        circuit.opened_at.unwrap().as_millisecond(),
        now * 1000 + 250
    );
    let admitted = engine.circuit_admit("moogsoft", STAYS_OPEN).await.unwrap();
    assert_eq!(admitted, CircuitState::Open);

    store
        .redis
        .command(&["SET", &key("open_time"), &format!("{}.5", now - 4000)]);
    let admitted = engine.circuit_admit("moogsoft", STAYS_OPEN).await.unwrap();
    assert_eq!(admitted, CircuitState::HalfOpen, "its hour is over");
    let admitted = engine.circuit_admit("moogsoft", STAYS_OPEN).await.unwrap();
    assert_eq!(admitted, CircuitState::Open, "one probe is out");

    store.redis.command(&["SET", &key("state"), "HALF_OPEN"]);
    let before = engine.circuit_success("moogsoft").await.unwrap();
    assert_eq!(before, CircuitState::HalfOpen);
    assert_eq!(engine.circuit("moogsoft").await.unwrap().failures, 0);

    // A time that nobody knows is over: nothing stays open for ever.
    store.redis.command(&["SET", &key("state"), "OPEN"]);
    let admitted = engine.circuit_admit("moogsoft", STAYS_OPEN).await.unwrap();
    assert_eq!(admitted, CircuitState::HalfOpen);
    store.redis.command(&["DEL", &key("failures")]);
    store.redis.command(&["LPUSH", &key("failures"), "what"]);
    let now = engine
        .circuit_failure("moogsoft", STAYS_OPEN)
        .await
        .unwrap();
    assert_eq!(
        now,
        CircuitState::Open,
        "what is no number does not hold it up"
    );
}
