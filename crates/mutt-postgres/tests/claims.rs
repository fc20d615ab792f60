//! Claims take effect once or never, with their rows, whatever the rows hold.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{APP, OWNER, claim, claim_of, database, eventually, now, options};
use jiff::Timestamp;
use mutt_engine::{Audit, AuditFilter, EngineError};
use mutt_event::{Batch, EventId};
use mutt_postgres::{Applied, Postgres, PostgresOptions, Standing};
use mutt_testbed::Postgres as Server;
use tokio_postgres::NoTls;

const POD: &str = "test-pod";

async fn count(postgres: &Postgres) -> u64 {
    postgres.audit_count().await.expect("answered")
}

fn all() -> AuditFilter {
    AuditFilter {
        limit: 10_000,
        ..AuditFilter::default()
    }
}

#[tokio::test]
async fn numbers_of_claims_are_never_given_twice() {
    let (name, postgres) = database(Server::shared()).await;
    let again = Postgres::open(options(Server::shared(), &name, APP)).unwrap();
    let mut blocks = Vec::new();
    for _ in 0..3 {
        blocks.push(postgres.claim_block().await.unwrap());
        blocks.push(again.claim_block().await.unwrap());
    }
    assert!(
        blocks
            .iter()
            .all(|block| block % (1 << 24) == 0 && *block > 0)
    );
    let mut different = blocks.clone();
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len(), blocks.len());
}

#[tokio::test]
async fn a_claim_takes_effect_once() {
    let (_, postgres) = database(Server::shared()).await;
    let (events, rows) = claim(25, now());
    let effects = vec![7; 100_000];
    let first = postgres.apply(1, POD, &events, &rows, &effects).await;
    assert_eq!(first.unwrap(), Applied::Now);
    for _ in 0..2 {
        let again = postgres.apply(1, POD, &events, &rows, b"others").await;
        assert_eq!(again.unwrap(), Applied::Before(effects.clone()));
    }
    assert_eq!(count(&postgres).await, 25);
    assert_eq!(
        postgres.standing(1).await.unwrap(),
        Some(Standing::Applied(effects.clone()))
    );
    assert_eq!(
        postgres.revoke(1, POD).await.unwrap(),
        Standing::Applied(effects)
    );
    let stored = postgres.audit_rows(all()).await.unwrap();
    let raw: Vec<_> = stored
        .iter()
        .rev()
        .map(|row| row.raw_message.as_bytes())
        .collect();
    assert_eq!(raw, events.iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_revoked_claim_never_takes_effect() {
    let (_, postgres) = database(Server::shared()).await;
    let (events, rows) = claim(3, now());
    for _ in 0..2 {
        assert_eq!(postgres.revoke(5, POD).await.unwrap(), Standing::Revoked);
        let error = postgres
            .apply(5, POD, &events, &rows, b"")
            .await
            .unwrap_err();
        assert!(matches!(error, EngineError::Fenced), "{error:?}");
        let error = postgres.apply(5, POD, &events, &[], b"").await.unwrap_err();
        assert!(matches!(error, EngineError::Fenced), "{error:?}");
    }
    postgres.forget(&[5]).await.unwrap();
    assert_eq!(postgres.standing(5).await.unwrap(), Some(Standing::Revoked));
    assert_eq!(count(&postgres).await, 0);
    // The same events in another claim are as good as new.
    postgres.apply(6, POD, &events, &rows, b"").await.unwrap();
    assert_eq!(count(&postgres).await, 3);
}

#[tokio::test]
async fn of_owner_and_janitor_at_once_one_decides() {
    let (_, postgres) = database(Server::shared()).await;
    for number in 0..40 {
        let (events, rows) = claim(10, now());
        let (applied, revoked) = tokio::join!(
            postgres.apply(number, POD, &events, &rows, b"e"),
            postgres.revoke(number, POD)
        );
        match (applied, revoked.unwrap()) {
            (Ok(Applied::Now), Standing::Applied(effects)) => assert_eq!(effects, b"e"),
            (Err(EngineError::Fenced), Standing::Revoked) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_claim_without_rows_takes_effect_too() {
    let (_, postgres) = database(Server::shared()).await;
    let (events, _) = claim(1, now());
    assert_eq!(
        postgres.apply(1, POD, &events, &[], b"e").await.unwrap(),
        Applied::Now
    );
    assert_eq!(
        postgres.apply(1, POD, &events, &[], b"x").await.unwrap(),
        Applied::Before(b"e".to_vec())
    );
}

/// A session of the owner that holds the claim in an open transaction, as a paused process does.
async fn paused(server: &Server, name: &str, pod: &str, claim: i64) -> tokio_postgres::Client {
    let config = format!(
        "host=127.0.0.1 port={} user={APP} password={} dbname={name} application_name='{}'",
        server.port(),
        common::PASSWORD,
        mutt_postgres::application_name(pod)
    );
    let (client, connection) = tokio_postgres::connect(&config, NoTls)
        .await
        .expect("works");
    tokio::spawn(connection);
    client
        .batch_execute(&format!(
            "BEGIN; INSERT INTO applied_claims (claim, pod, state) VALUES ({claim}, '{pod}', 'applied')"
        ))
        .await
        .expect("works");
    client
}

#[tokio::test]
async fn the_open_transaction_of_a_paused_owner_is_ended() {
    let server = Server::shared();
    let (name, postgres) = database(server).await;
    let owner = paused(server, &name, "pod-a", 9).await;
    let other = paused(server, &name, "pod-b", 10).await;
    assert_eq!(
        postgres.revoke(9, "pod-a").await.unwrap(),
        Standing::Revoked
    );
    // The owner wakes up, and its commit fails; nobody else was disturbed.
    owner.batch_execute("COMMIT").await.unwrap_err();
    other.batch_execute("COMMIT").await.unwrap();
    assert_eq!(postgres.standing(9).await.unwrap(), Some(Standing::Revoked));
    assert_eq!(
        postgres.standing(10).await.unwrap(),
        Some(Standing::Applied(Vec::new()))
    );
}

#[tokio::test]
async fn an_owner_that_commits_in_time_is_waited_for() {
    let server = Server::shared();
    let (name, postgres) = database(server).await;
    let owner = paused(server, &name, "pod-a", 9).await;
    let janitor = tokio::spawn({
        let postgres = postgres.clone();
        async move { postgres.revoke(9, "pod-a").await }
    });
    eventually("the janitor waits", async || {
        let waiting = server.sql_in(&name, "SELECT count(*) FROM pg_locks WHERE NOT granted");
        (waiting != "0" || janitor.is_finished()).then_some(())
    })
    .await;
    // Where this machine was so slow that the janitor gave up waiting, the owner is fenced.
    let committed = owner.batch_execute("COMMIT").await.is_ok();
    let standing = janitor.await.unwrap().unwrap();
    if committed {
        assert_eq!(standing, Standing::Applied(Vec::new()));
    } else {
        assert_eq!(standing, Standing::Revoked);
    }
}

#[tokio::test]
async fn an_event_that_was_written_before_is_left_out() {
    let (_, postgres) = database(Server::shared()).await;
    let (events, mut rows) = claim(10, now());
    postgres
        .apply(1, POD, &events, &rows[..4], b"")
        .await
        .unwrap();
    assert_eq!(count(&postgres).await, 4);
    // Of these, four are there, and one comes twice.
    let twice = rows[9].clone();
    rows.push(twice);
    assert_eq!(
        postgres
            .apply(2, POD, &events, &rows, b"two")
            .await
            .unwrap(),
        Applied::Now
    );
    assert_eq!(count(&postgres).await, 10);
    let stored = postgres.audit_rows(all()).await.unwrap();
    let raw: Vec<_> = stored
        .iter()
        .rev()
        .map(|row| row.raw_message.as_bytes())
        .collect();
    assert_eq!(raw, events.iter().collect::<Vec<_>>());
    assert_eq!(
        postgres.apply(2, POD, &events, &rows, b"").await.unwrap(),
        Applied::Before(b"two".to_vec())
    );
    // As exact after everything was forgotten.
    postgres.forget(&[1, 2, 3]).await.unwrap();
    assert_eq!(postgres.standing(2).await.unwrap(), None);
    assert_eq!(count(&postgres).await, 10);
}

#[tokio::test]
async fn a_row_about_no_event_writes_nothing() {
    let (_, postgres) = database(Server::shared()).await;
    let (events, mut rows) = claim(3, now());
    rows[2].index = 3;
    let error = postgres
        .apply(1, POD, &events, &rows, b"")
        .await
        .unwrap_err();
    assert!(matches!(error, EngineError::Invalid(_)), "{error:?}");
    assert_eq!(count(&postgres).await, 0);
    assert_eq!(postgres.standing(1).await.unwrap(), None);
}

#[tokio::test]
async fn hostile_text_stops_no_claim() {
    let (_, postgres) = database(Server::shared()).await;
    let (_, mut rows) = claim(4, now());
    let mut batch = Batch::new();
    batch.push(b"{\"message\":\"a\0b\"}");
    batch.push(b"{\"message\":\"\xff\xfe\"}");
    batch.push("{\"message\":\"\\u0000 Zürich \u{10FFFF}\"}".as_bytes());
    batch.push(&vec![b'x'; 3_000_000]);
    let long = "ü".repeat(5_000);
    rows[0].hostname = "nul\0host".into();
    rows[1].hostname = long.as_str().into();
    rows[1].correlation_id = long.as_str().into();
    rows[1].source = Some(long.as_str().into());
    rows[1].trap_oid = Some(long.as_str().into());
    rows[1].team_assignment = Some(long.as_str().into());
    let events = claim_of(batch);
    postgres.apply(1, POD, &events, &rows, b"").await.unwrap();
    // The slow way takes the same.
    postgres.apply(2, POD, &events, &rows, b"").await.unwrap();
    let mut stored = postgres.audit_rows(all()).await.unwrap();
    stored.reverse();
    assert_eq!(stored.len(), 4);
    assert_eq!(stored[0].raw_message, "{\"message\":\"a\u{FFFD}b\"}");
    assert_eq!(stored[0].hostname, "nul\u{FFFD}host");
    assert_eq!(stored[1].raw_message, "{\"message\":\"\u{FFFD}\u{FFFD}\"}");
    assert_eq!(stored[1].hostname.chars().count(), 255);
    assert_eq!(
        stored[2].raw_message,
        "{\"message\":\"\\u0000 Zürich \u{10FFFF}\"}"
    );
    assert_eq!(stored[3].raw_message.len(), 3_000_000);
    let found = |filter: AuditFilter| async {
        postgres
            .audit_rows(filter)
            .await
            .unwrap()
            .into_iter()
            .map(|row| row.id)
            .collect::<Vec<_>>()
    };
    let by_host = found(AuditFilter {
        hostname: Some(long.clone()),
        ..all()
    })
    .await;
    let by_id = found(AuditFilter {
        correlation_id: Some(long),
        ..all()
    })
    .await;
    assert_eq!((by_host, by_id), (vec![stored[1].id], vec![stored[1].id]));
    let by_nul = found(AuditFilter {
        hostname: Some("NUL\0host".to_owned()),
        ..all()
    })
    .await;
    assert_eq!(by_nul, [stored[0].id]);
}

#[tokio::test]
async fn every_clock_has_a_place() {
    let (_, postgres) = database(Server::shared()).await;
    let (events, mut rows) = claim(5, now());
    rows[0].event_timestamp = Timestamp::MIN;
    rows[1].event_timestamp = Timestamp::MAX;
    rows[2].event_timestamp = Timestamp::UNIX_EPOCH;
    rows[3].event_timestamp = "2099-12-31T23:59:59Z".parse().unwrap();
    postgres.apply(1, POD, &events, &rows, b"").await.unwrap();
    assert_eq!(postgres.default_partition_rows().await.unwrap(), 4);
    let mut stored = postgres.audit_rows(all()).await.unwrap();
    stored.reverse();
    let year = |index: usize| stored[index].event_timestamp.strftime("%Y").to_string();
    assert_eq!(year(0), "-4713");
    assert_eq!(
        stored[1].event_timestamp.as_microsecond(),
        Timestamp::MAX.as_microsecond()
    );
    assert_eq!(stored[3].event_timestamp, rows[3].event_timestamp);
    let filter = AuditFilter {
        since: Some(Timestamp::UNIX_EPOCH),
        until: Some(now() - jiff::SignedDuration::from_hours(24)),
        ..all()
    };
    assert_eq!(postgres.audit_rows(filter).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_count_is_exact_whoever_looks_when() {
    let server = Server::shared();
    let (name, postgres) = database(server).await;
    let workers: Vec<_> = (0..4_u64)
        .map(|worker| {
            let postgres = postgres.clone();
            tokio::spawn(async move {
                for step in 0..10 {
                    let number = worker * 100 + step;
                    let (events, rows) = claim(5, now());
                    postgres
                        .apply(number, POD, &events, &rows, b"")
                        .await
                        .unwrap();
                    if step % 2 == 0 {
                        postgres.forget(&[number, number - step]).await.unwrap();
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    assert_eq!(count(&postgres).await, 200);
    assert_eq!(
        server.sql_in(&name, "SELECT count(*) FROM event_audit_log"),
        "200"
    );
    server.sql_in(
        &name,
        "DELETE FROM event_audit_log WHERE hostname = 'host-0'",
    );
    assert_eq!(count(&postgres).await, 160);
    server.sql_in(
        &name,
        "UPDATE applied_claims SET at = now() - interval '25 hours'",
    );
    postgres.revoke(1_000_000, POD).await.unwrap();
    assert_eq!(postgres.prune().await.unwrap(), 20);
    assert_eq!(count(&postgres).await, 160);
    assert_eq!(
        postgres.standing(1_000_000).await.unwrap(),
        Some(Standing::Revoked)
    );
    server.sql_in(
        &name,
        "UPDATE applied_claims SET at = now() - interval '31 days'",
    );
    assert_eq!(postgres.prune().await.unwrap(), 1);
}

/// A caller that goes away in the middle leaves neither a half claim nor a used-up pool.
#[tokio::test]
async fn a_cancelled_apply_leaves_nothing_half() {
    let server = Server::shared();
    let (name, _) = database(server).await;
    let postgres = Postgres::open(PostgresOptions {
        pool_max: 2,
        ..options(server, &name, APP)
    })
    .unwrap();
    let postgres = Arc::new(postgres);
    for number in 0..60_u64 {
        let (events, rows) = claim(200, now());
        let apply = postgres.apply(number, POD, &events, &rows, b"e");
        let _ = tokio::time::timeout(Duration::from_micros(number * 200), apply).await;
    }
    let mut applied = 0;
    for number in 0..60 {
        match postgres.revoke(number, POD).await.unwrap() {
            Standing::Applied(_) => applied += 1,
            Standing::Revoked => {}
        }
    }
    assert_eq!(count(&postgres).await, applied * 200);
    let rows = server.sql_in(&name, "SELECT count(*) FROM event_audit_log");
    assert_eq!(rows, (applied * 200).to_string());
}

#[tokio::test]
async fn deliveries_are_logged_once() {
    let (_, postgres) = database(Server::shared()).await;
    let event = EventId::new();
    let rows: Vec<_> = (1..=3)
        .map(|attempt| {
            let row = mutt_engine::DeliveryRow {
                event_id: event,
                sink: "moog".to_owned(),
                attempt,
                at: now(),
                status: (attempt == 3).then_some(200),
                latency_ms: 1.5,
                error: (attempt < 3).then(|| "503 \0busy".to_owned()),
            };
            (uuid::Uuid::now_v7(), row)
        })
        .collect();
    postgres.log_deliveries(&rows[..2]).await.unwrap();
    postgres.log_deliveries(&rows).await.unwrap();
    postgres.log_deliveries(&[]).await.unwrap();
    let stored = postgres.deliveries(event).await.unwrap();
    assert_eq!(stored.len(), 3);
    assert_eq!(stored[2], rows[2].1);
    assert_eq!(stored[0].error.as_deref(), Some("503 \u{FFFD}busy"));
    assert!(
        postgres
            .deliveries(EventId::new())
            .await
            .unwrap()
            .is_empty()
    );
    let _ = OWNER;
}
