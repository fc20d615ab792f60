//! Sessions are found by the hash of their token until they end, and survive the process.

use std::time::Duration;

use super::{Fixture, crash, eventually};
use crate::sessions::SESSIONS_PER_KEY;
use crate::{Engine, EngineError, NewSession};

fn session(number: usize, key_name: &str) -> NewSession {
    NewSession {
        token_hash: format!("{number:064x}"),
        key_name: key_name.to_owned(),
        key_hash: "a".repeat(64),
        lifetime: Duration::from_hours(12),
    }
}

async fn is_there(engine: &dyn Engine, new: &NewSession) -> bool {
    let found = engine.session(&new.token_hash).await.expect("asked");
    found.is_some()
}

/// It survives a crash, its use is noted, and its end is one for good.
pub async fn a_session_is_there_until_it_is_ended(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    // Whatever a name holds, it is a name.
    let new = session(1, "n\u{e4}me: with * and 'quotes'");
    assert!(!is_there(&*engine, &new).await);
    let started = engine.start_session(new.clone()).await.expect("started");
    assert_eq!(
        (&started.key_name, &started.key_hash),
        (&new.key_name, &new.key_hash)
    );
    assert!(started.expires_at > started.started_at);
    let engine = crash(fixture, engine).await;
    let found = engine.session(&new.token_hash).await.expect("asked");
    assert_eq!(found, Some(started.clone()));
    let seen = eventually("its use is noted", async || {
        let noted = engine.session_seen(&new.token_hash).await;
        noted.expect("noted");
        let found = engine.session(&new.token_hash).await.expect("asked");
        found.filter(|found| found.seen_at > started.seen_at)
    })
    .await;
    assert_eq!(seen.expires_at, started.expires_at, "its end stays");
    engine
        .end_session(&new.token_hash)
        .await
        .expect("it is ended");
    assert!(!is_there(&*engine, &new).await);
    engine
        .end_session(&new.token_hash)
        .await
        .expect("it has ended");
    engine
        .session_seen(&new.token_hash)
        .await
        .expect("it has ended");
    assert!(!is_there(&*engine, &new).await);

    for hash in ["", "A", &"G".repeat(64), "mutt:session:1"] {
        let wrong = NewSession {
            token_hash: hash.to_owned(),
            ..new.clone()
        };
        let error = engine.start_session(wrong).await.expect_err("no hash");
        assert!(matches!(error, EngineError::Invalid(_)), "{error:?}");
        let found = engine.session(hash).await.expect("asked");
        assert_eq!(found, None);
    }
}

/// Nobody has to do anything for it.
pub async fn a_session_ends_by_itself(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let (short, long) = (
        NewSession {
            lifetime: Duration::from_millis(100),
            ..session(1, "noc")
        },
        session(2, "noc"),
    );
    engine.start_session(short.clone()).await.expect("started");
    engine.start_session(long.clone()).await.expect("started");
    eventually("the short session ends", async || {
        (!is_there(&*engine, &short).await).then_some(())
    })
    .await;
    let noted = engine.session_seen(&short.token_hash).await;
    noted.expect("it has ended");
    assert!(!is_there(&*engine, &short).await);
    assert!(is_there(&*engine, &long).await);
}

/// The oldest go; another key's sessions do not.
pub async fn a_key_has_so_many_sessions_and_no_more(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    let other = session(0, "other");
    engine.start_session(other.clone()).await.expect("started");
    for number in 1..=SESSIONS_PER_KEY {
        let new = session(number, "noc");
        engine.start_session(new).await.expect("started");
    }
    let ended = session(2, "noc");
    let end = engine.end_session(&ended.token_hash).await;
    end.expect("it is ended");
    for (number, first) in [(SESSIONS_PER_KEY + 1, true), (SESSIONS_PER_KEY + 2, false)] {
        let new = session(number, "noc");
        engine.start_session(new.clone()).await.expect("started");
        assert!(is_there(&*engine, &new).await);
        let there = is_there(&*engine, &session(1, "noc")).await;
        assert_eq!(there, first, "with {number} of which one was ended");
    }
    assert!(is_there(&*engine, &session(3, "noc")).await);
    assert!(is_there(&*engine, &other).await);
}
