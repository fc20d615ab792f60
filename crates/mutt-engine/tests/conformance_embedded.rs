//! The embedded engine holds what every engine must hold, and what it alone promises.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use mutt_engine::catalog::ConfigAuditFilter;
use mutt_engine::conformance::{Fixture, PATIENCE, sample};
use mutt_engine::embedded::{Embedded, Mode};
use mutt_engine::{
    Catalog as _, Change, Changed, DynamicConfig as _, Engine, EngineError, EventQueue as _,
    Flow as _, Limit, Live as _, Permit, Workers as _,
};

/// A data directory of its own that goes when the check ends.
struct Directory(tempfile::TempDir);

impl Directory {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory can be made"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn open_as(&self, mode: Mode) -> Arc<Embedded> {
        Embedded::open(self.path(), mode).expect("the engine opens")
    }
}

#[async_trait]
impl Fixture for Directory {
    async fn open(&self) -> Arc<dyn Engine> {
        let start = Instant::now();
        loop {
            match Embedded::open(self.path(), Mode::Server) {
                Ok(engine) => return engine,
                Err(EngineError::Unusable(text)) if text.contains("in use") => {}
                Err(error) => panic!("{error}"),
            }
            assert!(
                start.elapsed() < PATIENCE,
                "the earlier engine does not let go"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn directory() -> std::future::Ready<Directory> {
    std::future::ready(Directory::new())
}

mutt_engine::conformance_tests!(directory);

const HOURLY: Limit = Limit {
    count: 5,
    period: Duration::from_hours(1),
};

/// What was granted before an orderly end counts after it.
#[tokio::test]
async fn an_orderly_restart_remembers_the_window() {
    let directory = Directory::new();
    let engine = directory.open_as(Mode::Server);
    let first = engine.take_permits("moogsoft", HOURLY, 3).await.unwrap();
    assert_eq!(first, Permit::Granted(3), "a new database has sent nothing");
    engine.close().await;
    drop(engine);
    let engine = directory.open_as(Mode::Server);
    assert_eq!(
        engine.take_permits("moogsoft", HOURLY, 5).await.unwrap(),
        Permit::Granted(2)
    );
    let none = engine.take_permits("moogsoft", HOURLY, 1).await.unwrap();
    assert!(matches!(none, Permit::Wait(_)), "{none:?}");
}

/// After a crash nobody knows what was granted: a full window counts as used.
#[tokio::test]
async fn a_crash_uses_the_window_up() {
    let directory = Directory::new();
    let engine = directory.open_as(Mode::Server);
    assert_eq!(
        engine.take_permits("moogsoft", HOURLY, 1).await.unwrap(),
        Permit::Granted(1)
    );
    drop(engine);
    let engine = directory.open_as(Mode::Server);
    let none = engine.take_permits("moogsoft", HOURLY, 1).await.unwrap();
    assert!(
        matches!(none, Permit::Wait(time) if time <= HOURLY.period),
        "{none:?}"
    );
}

/// A tool changes things beside a running server, which hears of it; the audit stays one chain.
#[tokio::test]
async fn a_server_hears_what_a_tool_changes() {
    let directory = Directory::new();
    let server = directory.open_as(Mode::Server);
    let tool = directory.open_as(Mode::Tool);
    let by = Change {
        by: "cli:somebody".to_owned(),
        ..Change::default()
    };
    let mut changes = server.changes();
    tool.add_development_host("lab1", &by).await.unwrap();
    let heard = tokio::time::timeout(Duration::from_secs(30), changes.recv()).await;
    assert_eq!(heard.unwrap().unwrap(), Changed::Catalog);
    tool.set_config("log_level", "debug", &by).await.unwrap();
    server.add_development_host("lab2", &by).await.unwrap();
    let wanted = Changed::Config("log_level".to_owned());
    while tokio::time::timeout(Duration::from_secs(30), changes.recv())
        .await
        .unwrap()
        .unwrap()
        != wanted
    {}
    tool.announce_reload().await.unwrap();
    while tokio::time::timeout(Duration::from_secs(30), changes.recv())
        .await
        .unwrap()
        .unwrap()
        != Changed::Catalog
    {}
    assert_eq!(server.development_hosts().await.unwrap(), ["lab1", "lab2"]);
    assert_eq!(server.verify_config_audit().await.unwrap(), Ok(3));
    let second = Embedded::open(directory.path(), Mode::Server).expect_err("one server only");
    assert!(
        matches!(&second, EngineError::Unusable(text) if text.contains("in use")),
        "{second}"
    );
}

/// Whoever edits the file shows in the chain, while the server runs and after it.
#[tokio::test]
async fn tampering_with_the_file_is_found() {
    let directory = Directory::new();
    let engine = directory.open_as(Mode::Server);
    for number in 0..5 {
        let by = sample::change(&number.to_string());
        engine
            .add_development_host(&format!("lab{number}"), &by)
            .await
            .unwrap();
    }
    assert_eq!(engine.verify_config_audit().await.unwrap(), Ok(5));

    let file = rusqlite::Connection::open(directory.path().join("mutt.db")).unwrap();
    let refused = file.execute(
        "UPDATE config_audit_log SET changed_by = 'x' WHERE id = 3",
        [],
    );
    assert!(refused.unwrap_err().to_string().contains("append-only"));
    file.execute_batch(
        "DROP TRIGGER config_audit_log_no_update; DROP TRIGGER config_audit_log_no_delete;
         UPDATE config_audit_log SET changed_by = 'x' WHERE id = 3",
    )
    .unwrap();
    assert_eq!(engine.verify_config_audit().await.unwrap(), Err(3));
    engine.close().await;
    drop(engine);

    file.execute_batch(
        "UPDATE config_audit_log SET changed_by = 'conformance' WHERE id = 3;
         DELETE FROM config_audit_log WHERE id = 5",
    )
    .unwrap();
    drop(file);
    let engine = directory.open_as(Mode::Server);
    assert_eq!(
        engine.verify_config_audit().await.unwrap(),
        Err(5),
        "the newest row is missing"
    );
    let filter = ConfigAuditFilter {
        limit: 9,
        ..Default::default()
    };
    assert_eq!(engine.config_audit(&filter).await.unwrap().len(), 4);
}

/// A tool queues nothing up for itself: events that it adds are the server's to claim.
#[tokio::test]
async fn a_tool_claims_nothing() {
    let directory = Directory::new();
    let server = directory.open_as(Mode::Server);
    let tool = directory.open_as(Mode::Tool);
    server.enqueue(sample::batch(0..3)).await.unwrap();
    let refused = tool
        .claim_events(&sample::worker("tool"), 10, Duration::ZERO)
        .await;
    assert!(
        matches!(refused, Err(EngineError::Invalid(_))),
        "{refused:?}"
    );
    assert_eq!(sample::drain(&*server, "server").await, [0, 1, 2]);
}
