//! What the embedded engine promises about its files and its processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use mutt_engine::conformance::{PATIENCE, eventually, sample};
use mutt_engine::embedded::{Embedded, Mode};
use mutt_engine::{
    AlertQueue as _, Attempt, Change, DeadLetter, DeadLetterFilter, DeadLetters as _, Decision,
    Dlq, EngineError, EventClaim, EventQueue as _, Outcome, Reason, Settlement, WorkerKind,
    Workers as _,
};
use mutt_event::Batch;

fn server(directory: &Path) -> Arc<Embedded> {
    Embedded::open(directory, Mode::Server).expect("the engine opens")
}

fn refused(directory: &Path, mode: Mode) -> String {
    match Embedded::open(directory, mode) {
        Err(EngineError::Unusable(text)) => text,
        other => panic!("{other:?}"),
    }
}

fn change() -> Change {
    Change {
        by: "cli:test".to_owned(),
        reason: Some("test".to_owned()),
        correlation_id: None,
    }
}

/// A decision that only ends the claim.
fn nothing_of_it(claim: EventClaim) -> Arc<Decision> {
    Arc::new(Decision {
        claim,
        outcome: Outcome::default(),
    })
}

fn letter(number: u64, reason: Reason) -> DeadLetter {
    DeadLetter {
        reason,
        detail: String::new(),
        element: sample::element(number),
    }
}

#[tokio::test]
async fn one_server_uses_a_directory_and_tools_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    let first = server(&path);
    let text = refused(&path, Mode::Server);
    assert!(
        text.contains(&format!("in use by the process {}", std::process::id())),
        "{text}"
    );
    let tool = Embedded::open(&path, Mode::Tool).expect("a tool opens beside a server");
    drop(first);
    let second = server(&path);
    second.close().await;
    let third = server(&path);
    drop((second, third, tool));
}

#[cfg(unix)]
#[test]
fn nobody_else_may_look_into_the_files() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    let engine = server(&path);
    let mode = |path: PathBuf| fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path.clone()), 0o700);
    for file in ["mutt.db", "mutt.db-wal", "mutt.db-shm", "mutt.lock"] {
        assert_eq!(mode(path.join(file)), 0o600, "{file}");
    }
    drop(engine);
}

#[tokio::test]
async fn a_newer_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    server(directory.path()).close().await;
    let file = directory.path().join("mutt.db");
    let conn = rusqlite::Connection::open(&file).unwrap();
    conn.pragma_update(None, "user_version", 1000).unwrap();
    drop(conn);
    for mode in [Mode::Server, Mode::Tool] {
        let text = refused(directory.path(), mode);
        assert!(text.contains("written by a newer MUTT"), "{text}");
    }
}

#[tokio::test]
async fn a_damaged_database_is_refused_with_advice() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mutt.db");
    fs::write(
        &file,
        "this is no database, and long enough to show it".repeat(300),
    )
    .unwrap();
    let text = refused(directory.path(), Mode::Server);
    assert!(
        text.contains("damaged") && text.contains("restore a backup"),
        "{text}"
    );

    // A good header, and nonsense where the tables should be.
    fs::remove_file(&file).unwrap();
    let engine = server(directory.path());
    engine.enqueue(sample::batch(0..100)).await.unwrap();
    engine.close().await;
    drop(engine);
    let mut bytes = fs::read(&file).unwrap();
    bytes[100..].fill(0x5a);
    fs::write(&file, bytes).unwrap();
    let text = refused(directory.path(), Mode::Server);
    assert!(
        text.contains("damaged") && text.contains("restore a backup"),
        "{text}"
    );
}

#[test]
fn a_directory_that_cannot_be_written_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let text = refused(&file.join("data"), Mode::Server);
    assert!(text.contains("cannot be made"), "{text}");

    // Where it is another program's database.
    let other = directory.path().join("other");
    fs::create_dir(&other).unwrap();
    let conn = rusqlite::Connection::open(other.join("mutt.db")).unwrap();
    conn.execute_batch("CREATE TABLE notes (text)").unwrap();
    drop(conn);
    assert!(refused(&other, Mode::Server).contains("not one that MUTT made"));

    // Nothing is read-only to root.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let closed = directory.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
        if fs::write(closed.join("probe"), "").is_err() {
            let text = refused(&closed, Mode::Server);
            assert!(text.contains("cannot be written"), "{text}");
        }
    }
}

/// More waits than is kept in memory: it is read from the disk, in order, byte for byte.
#[tokio::test]
async fn a_backlog_larger_than_memory_comes_back_in_order() {
    const BATCHES: u64 = 40;
    let directory = tempfile::tempdir().unwrap();
    let engine = server(directory.path());
    let element =
        |number: u64| format!("{{\"number\":{number},\"text\":\"{}\"}}", "x".repeat(7000));
    for first in (0..BATCHES).map(|batch| batch * 100) {
        let texts: Vec<_> = (first..first + 100).map(element).collect();
        let batch: Batch = texts.iter().map(String::as_bytes).collect();
        engine.enqueue(batch).await.unwrap();
    }
    let worker = sample::worker("w");
    let mut next = 0;
    while let Some(claim) = engine
        .claim_events(&worker, 333, Duration::ZERO)
        .await
        .unwrap()
    {
        for event in claim.iter() {
            assert_eq!(event, element(next).as_bytes());
            next += 1;
        }
        engine.decide(nothing_of_it(claim)).await.unwrap();
    }
    assert_eq!(next, BATCHES * 100);
    drop(engine);
    let engine = server(directory.path());
    assert_eq!(engine.event_depth().await.unwrap(), 0);
}

/// A tool replays and discards beside a running server, which notices by itself: what was replayed
/// is claimed by whoever waits for it, and the depths are right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_works_on_what_a_tool_replays() {
    let directory = tempfile::tempdir().unwrap();
    let engine = server(directory.path());
    sample::queue_alerts(&*engine, 0..1).await;
    let alerts = sample::claim_alerts(&*engine, "m", 1).await;
    let settlement = Settlement::Dead {
        reason: Reason::Refused,
        detail: "404".to_owned(),
    };
    let attempts = alerts.iter().map(|alert| Attempt {
        alert: alert.clone(),
        settlement: settlement.clone(),
        log: None,
    });
    engine.settle_alerts(attempts.collect()).await.unwrap();
    engine
        .bury(Dlq::Alerter, vec![letter(7, Reason::Poison)])
        .await
        .unwrap();
    engine
        .bury(Dlq::Ingest, vec![letter(8, Reason::Malformed)])
        .await
        .unwrap();

    let tool = Embedded::open(directory.path(), Mode::Tool).unwrap();
    let worker = sample::worker("w");
    assert!(matches!(
        tool.enqueue(sample::batch([1])).await,
        Err(EngineError::Invalid(_))
    ));
    let claimed = tool.claim_events(&worker, 1, Duration::ZERO).await;
    assert!(matches!(claimed, Err(EngineError::Invalid(_))));
    let depths = |queue| tool.dlq_depth(queue);
    assert_eq!(depths(Dlq::Moog).await.unwrap(), 1);
    assert_eq!(depths(Dlq::Alerter).await.unwrap(), 1);

    let waiting = tokio::spawn({
        let (engine, worker) = (Arc::clone(&engine), worker.clone());
        async move { engine.claim_events(&worker, 10, PATIENCE).await }
    });
    let waiting_alerts = tokio::spawn({
        let (engine, worker) = (Arc::clone(&engine), worker.clone());
        async move { engine.claim_alerts(&worker, 10, PATIENCE).await }
    });
    let all = DeadLetterFilter::default();
    assert_eq!(tool.replay(Dlq::Alerter, &all, &change()).await.unwrap(), 1);
    assert_eq!(tool.replay(Dlq::Moog, &all, &change()).await.unwrap(), 1);
    assert_eq!(tool.discard(Dlq::Ingest, &all, &change()).await.unwrap(), 1);
    let claim = waiting
        .await
        .unwrap()
        .unwrap()
        .expect("the replayed event comes");
    assert_eq!(sample::numbers(&claim), [7]);
    let alerts = waiting_alerts.await.unwrap().unwrap();
    assert_eq!(sample::alert_numbers(&alerts), [0]);
    eventually("the server knows the depths", async || {
        let mut sum = 0;
        for queue in Dlq::ALL {
            sum += engine.dlq_depth(queue).await.unwrap();
        }
        (sum == 0).then_some(())
    })
    .await;
    engine.decide(nothing_of_it(claim)).await.unwrap();

    engine
        .heartbeat(WorkerKind::Alerter, "w", sample::LONG)
        .await
        .unwrap();
    eventually("the tool sees the server's worker", async || {
        let status = tool.status().await.unwrap();
        status
            .workers
            .iter()
            .any(|worker| worker.pod == "w")
            .then_some(())
    })
    .await;
}

/// What a tool writes under a server that writes all the time is taken, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_gets_its_turn_beside_a_busy_server() {
    let directory = tempfile::tempdir().unwrap();
    let engine = server(directory.path());
    let tool = Embedded::open(directory.path(), Mode::Tool).unwrap();
    let busy = tokio::spawn({
        let engine = Arc::clone(&engine);
        async move {
            let mut number = 0;
            loop {
                engine
                    .enqueue(sample::batch(number..number + 50))
                    .await
                    .unwrap();
                number += 50;
            }
        }
    });
    for number in 0..20 {
        tool.bury(Dlq::Ingest, vec![letter(number, Reason::Malformed)])
            .await
            .unwrap();
    }
    busy.abort();
    eventually("the server sees all of it", async || {
        (engine.dlq_depth(Dlq::Ingest).await.unwrap() == 20).then_some(())
    })
    .await;
}

/// A mounted file system of 8 MiB; `None` where this user may not mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> Option<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"])
            .arg(directory.path())
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(Self(directory))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

/// On a disk that is really full nothing acknowledged is lost, and service goes on when there is
/// room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_nothing() {
    let Some(disk) = SmallDisk::new() else {
        eprintln!("not run: mounting needs root");
        return;
    };
    let path = disk.0.path().join("data");
    let ballast = disk.0.path().join("ballast");
    fs::write(&ballast, vec![0; 2 << 20]).unwrap();
    let engine = server(&path);
    let mut taken = 0;
    let error = loop {
        match engine.enqueue(sample::batch(taken..taken + 500)).await {
            Ok(depth) => {
                taken += 500;
                assert_eq!(depth, taken);
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(error, EngineError::Unavailable(_)), "{error:?}");
    assert!(taken > 0);
    assert_eq!(
        engine.event_depth().await.unwrap(),
        taken,
        "what failed was not taken"
    );
    let not_ready = engine.ready().await;
    let claim = sample::claim(&*engine, "w", 100).await;
    assert_eq!(sample::numbers(&claim), (0..100).collect::<Vec<_>>());
    engine.return_events(claim).await.unwrap();

    fs::remove_file(&ballast).unwrap();
    engine.ready().await.expect("there is room again");
    engine
        .enqueue(sample::batch(taken..taken + 500))
        .await
        .expect("service goes on");
    taken += 500;
    drop(engine);
    let engine = server(&path);
    assert_eq!(
        sample::drain(&*engine, "w").await,
        (0..taken).collect::<Vec<_>>()
    );
    drop(engine);
    eprintln!("while it was full: {error}; ready: {not_ready:?}");
}
