//! What needs a hand inside: work that fails beside work that does not, and a database that may
//! not grow.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mutt_event::Batch;
use rusqlite::Connection;
use tempfile::TempDir;

use super::{Embedded, Mode, set_fact};
use crate::catalog::{Catalog, ConfigAuditFilter};
use crate::conformance::sample;
use crate::dead_letters::{DeadLetter, DeadLetterFilter, DeadLetters, Dlq, Reason, ReplayPolicy};
use crate::error::{EngineError, Result};
use crate::events::{EventQueue, Settled};
use crate::status::Workers;

fn open(directory: &TempDir) -> Arc<Embedded> {
    Embedded::open(directory.path(), Mode::Server).unwrap()
}

fn fact(conn: &Connection, name: &str) -> Result<i64> {
    Ok(
        conn.query_row("SELECT value FROM facts WHERE name = ?1", [name], |row| {
            row.get(0)
        })?,
    )
}

/// Work that fails, or panics, in the middle of a commit leaves no trace; what was committed with
/// it is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failing_work_disturbs_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(&directory);
    // While the writer is held up, everything else gathers for one commit.
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (started, begun) = tokio::sync::oneshot::channel();
    let first = {
        let engine = Arc::clone(&engine);
        tokio::spawn(async move {
            engine
                .writer
                .run(move |_| {
                    started.send(()).unwrap();
                    wait.recv().unwrap();
                    Ok(())
                })
                .await
        })
    };
    begun.await.unwrap();
    let jobs: Vec<_> = (0..9_i64)
        .map(|number| {
            let engine = Arc::clone(&engine);
            tokio::spawn(async move {
                engine
                    .writer
                    .run(move |tx| {
                        set_fact(tx, &format!("job-{number}"), number)?;
                        match number % 3 {
                            0 => Err(EngineError::Invalid("no".to_owned())),
                            1 => panic!("a mistake"),
                            _ => Ok(number),
                        }
                    })
                    .await
            })
        })
        .collect();
    let enqueue = {
        let engine = Arc::clone(&engine);
        tokio::spawn(async move { engine.enqueue([&b"{}"[..]].into_iter().collect()).await })
    };
    while engine.writer.waiting() < 10 {
        tokio::task::yield_now().await;
    }
    go.send(()).unwrap();
    first.await.unwrap().unwrap();
    for (number, job) in (0..).zip(jobs) {
        let result = job.await.unwrap();
        match number % 3 {
            0 => assert!(matches!(result, Err(EngineError::Invalid(_))), "{result:?}"),
            1 => assert!(
                matches!(result, Err(EngineError::Unavailable(_))),
                "{result:?}"
            ),
            _ => assert_eq!(result.unwrap(), number),
        }
        let there = engine
            .readers
            .run(move |conn| fact(conn, &format!("job-{number}")))
            .await;
        assert_eq!(there.is_ok(), number % 3 == 2, "job {number}");
    }
    assert_eq!(enqueue.await.unwrap().unwrap(), 1);
}

/// Events whose decision is on its way to the disk are returned where it fails, and not at all where
/// it takes effect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_being_decided_is_not_returned_before_that_ends() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(&directory);
    let one: Batch = [&b"{}"[..]].into_iter().collect();
    engine.enqueue(one).await.unwrap();
    for takes_effect in [false, true] {
        let worker = Arc::from("w");
        let claim = engine.claim_events(&worker, 1, Duration::ZERO);
        let claim = claim.await.unwrap().unwrap();
        let id = claim.id;
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (started, begun) = tokio::sync::oneshot::channel();
        let deciding = tokio::spawn({
            let engine = Arc::clone(&engine);
            let (executing, shared) = (Arc::clone(&engine.shared), Arc::clone(&engine.shared));
            async move {
                let execute = move |_: &Connection| {
                    executing.events.lock().begin_deciding(id).unwrap();
                    started.send(()).unwrap();
                    wait.recv().unwrap();
                    Ok(())
                };
                let finish = move |_| {
                    shared.with_events(|events| {
                        if takes_effect {
                            events.applied(id, Settled::default());
                        } else {
                            events.stop_deciding(id);
                        }
                    });
                    Ok(())
                };
                engine.writer.run_then(execute, finish).await
            }
        });
        begun.await.unwrap();
        let returning = tokio::spawn({
            let engine = Arc::clone(&engine);
            async move { engine.return_events(claim).await }
        });
        while engine.writer.waiting() == 0 {
            assert!(!returning.is_finished(), "returned while it is decided");
            tokio::task::yield_now().await;
        }
        go.send(()).unwrap();
        deciding.await.unwrap().unwrap();
        let returned = returning.await.unwrap();
        if takes_effect {
            assert!(matches!(returned, Err(EngineError::Fenced)), "{returned:?}");
        } else {
            returned.unwrap();
        }
        let waiting = u64::from(!takes_effect);
        assert_eq!(engine.event_depth().await.unwrap(), waiting);
    }
}

/// A full disk: the call says so and took no effect; when there is room again everything goes on.
#[tokio::test]
async fn a_full_database_refuses_and_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(&directory);
    engine
        .enqueue([&b"{\"number\":1}"[..]].into_iter().collect())
        .await
        .unwrap();
    // The limit belongs to the connection, which is opened anew after the failure: that is when
    // "there is room again".
    let full = |tx: &Connection| {
        let pages: i64 = tx.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        tx.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
        Ok(())
    };
    let large: Batch = [vec![b'x'; 300_000].as_slice()].into_iter().collect();
    engine.writer.run(full).await.unwrap();
    let error = engine.enqueue(large.clone()).await.unwrap_err();
    assert!(
        matches!(&error, EngineError::Unavailable(text) if text.contains("full")),
        "{error}"
    );
    assert!(error.is_temporary());
    assert_eq!(engine.event_depth().await.unwrap(), 1, "nothing was taken");
    assert_eq!(engine.enqueue(large.clone()).await.unwrap(), 2);

    engine.writer.run(full).await.unwrap();
    let letter = |bytes: usize| DeadLetter {
        reason: Reason::Malformed,
        detail: String::new(),
        element: vec![b'x'; bytes],
    };
    let letters = vec![letter(10), letter(300_000)];
    assert!(engine.bury(Dlq::Ingest, letters.clone()).await.is_err());
    assert_eq!(
        engine.dlq_depth(Dlq::Ingest).await.unwrap(),
        0,
        "all or nothing"
    );
    engine.bury(Dlq::Ingest, letters.clone()).await.unwrap();

    // Room for the rejects, and none for the events.
    engine.writer.run(full).await.unwrap();
    let both = engine.enqueue_with_rejects(large.clone(), vec![letter(10)]);
    assert!(both.await.is_err());
    engine.writer.run(full).await.unwrap();
    // The other way round.
    let small: Batch = [&b"{}"[..]].into_iter().collect();
    assert!(engine.enqueue_with_rejects(small, letters).await.is_err());
    assert_eq!(engine.event_depth().await.unwrap(), 2, "all or nothing");
    assert_eq!(engine.dlq_depth(Dlq::Ingest).await.unwrap(), 2);
    assert_eq!(
        engine.shared.enqueuing.load(Ordering::Acquire),
        0,
        "the room is free again"
    );
    engine.ready().await.unwrap();
    drop(engine);
    let engine = open(&directory);
    assert_eq!(engine.event_depth().await.unwrap(), 2);
    assert_eq!(engine.dlq_depth(Dlq::Ingest).await.unwrap(), 2);
}

/// However many entries there are, one commit moves some MiB: a person's replay goes on with the
/// next commit, remediation with the next pass.
#[tokio::test]
async fn large_dead_letters_are_replayed_a_few_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(&directory);
    let letters = vec![
        DeadLetter {
            reason: Reason::Shed,
            detail: String::new(),
            element: vec![b'x'; 5 << 20],
        };
        3
    ];
    engine.bury(Dlq::Alerter, letters).await.unwrap();
    let policy = ReplayPolicy {
        batch: 100,
        max_replays: 9,
        backoff: Duration::ZERO,
    };
    let done = engine.remediate(Dlq::Alerter, policy).await.unwrap();
    assert_eq!((done.replayed, done.poison), (1, 0));

    let by = sample::change("the alerter is well again");
    let all = DeadLetterFilter::default();
    assert_eq!(engine.replay(Dlq::Alerter, &all, &by).await.unwrap(), 2);
    assert_eq!(engine.event_depth().await.unwrap(), 3);
    let filter = ConfigAuditFilter {
        limit: 10,
        ..ConfigAuditFilter::default()
    };
    let commits = engine.config_audit(&filter).await.unwrap();
    assert_eq!(commits.len(), 2, "each is audited");
}

/// Rows are indexed by the server itself, sooner or later.
#[tokio::test]
async fn audit_rows_are_indexed_when_there_is_time() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(&directory);
    engine
        .writer
        .run(|tx| {
            let mut statement = tx.prepare(
                "INSERT INTO event_audit_log (event_id, event_timestamp, received_at, hostname,
                     environment, matched_rule_id, handling_decision, forwarded_to_moog,
                     correlation_id, raw_message)
                 VALUES (randomblob(16), 1, 1, ?1, 'production', ?2, 'Ignore', 0, '', '{}')",
            )?;
            for number in 0..5000_i64 {
                statement.execute((format!("host-{}", number % 700), number % 3))?;
            }
            Ok(())
        })
        .await
        .unwrap();
    crate::conformance::eventually("every row is indexed", async || {
        let indexed = engine
            .readers
            .run(|conn| fact(conn, "audit_indexed"))
            .await
            .unwrap();
        (indexed == 5000).then_some(())
    })
    .await;
    let entries: i64 = engine
        .readers
        .run(|conn| {
            Ok(
                conn.query_row("SELECT count(*) FROM event_audit_index", [], |row| {
                    row.get(0)
                })?,
            )
        })
        .await
        .unwrap();
    assert_eq!(
        entries, 10_000,
        "a host and a rule each, and no correlation id"
    );
}
