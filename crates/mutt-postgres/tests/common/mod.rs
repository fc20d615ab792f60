//! A database of its own for each test, with an owner and the application's role.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mutt_engine::{AuditRow, Change, EventClaim};
use mutt_event::{Batch, EventId};
use mutt_postgres::migrate::{self, Report};
use mutt_postgres::{Postgres, PostgresOptions};
use mutt_testbed::Postgres as Server;

pub const APP: &str = "mutt_app";
pub const OWNER: &str = "mutt_owner";
pub const PASSWORD: &str = "app-secret";
/// Longer than anything takes on a slow machine.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Makes the roles where they are missing.
pub fn make_roles(server: &Server) {
    for role in [APP, OWNER] {
        server.sql(&format!(
            "DO $$ BEGIN
                 CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}';
             EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
        ));
    }
}

/// A new, empty database whose owner is [`OWNER`].
pub fn empty_database(server: &Server) -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    make_roles(server);
    let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    server.sql(&format!("CREATE DATABASE {name} OWNER {OWNER}"));
    name
}

pub fn options(server: &Server, database: &str, user: &str) -> PostgresOptions {
    PostgresOptions {
        database: database.to_owned(),
        passwords: Arc::new(|| vec![PASSWORD.into()]),
        connect_timeout: Duration::from_secs(30),
        pod: "test-pod".to_owned(),
        ..PostgresOptions::new(server.host(), server.port(), user)
    }
}

pub async fn migrate(server: &Server, database: &str) -> Report {
    migrate::migrate(&options(server, database, OWNER), APP)
        .await
        .expect("migrated")
}

/// A database with the schema, and the application's way to it.
pub async fn database(server: &Server) -> (String, Postgres) {
    let name = empty_database(server);
    migrate(server, &name).await;
    let postgres = Postgres::open(options(server, &name, APP)).expect("the options are good");
    (name, postgres)
}

/// A claim of so many events, with the audit row of each, all at this time.
pub fn claim(count: usize, at: Timestamp) -> (EventClaim, Vec<AuditRow>) {
    let mut batch = Batch::new();
    let mut rows = Vec::with_capacity(count);
    for index in 0..count {
        let id = EventId::new();
        let event = format!(
            r#"{{"hostname":"host-{}","message":"message {index} of the {}","_event_id":"{}"}}"#,
            index % 10,
            "x".repeat(180),
            id.encode(&mut [0; 36])
        );
        batch.push(event.as_bytes());
        rows.push(AuditRow {
            index: u32::try_from(index).expect("few"),
            event_id: id,
            event_timestamp: at,
            received_at: at,
            hostname: format!("host-{}", index % 10).into(),
            source: Some("syslog".into()),
            syslog_severity: Some(3),
            trap_oid: None,
            environment: "production",
            matched_rule_id: Some(i64::try_from(index % 7).expect("few")),
            rule_version: Some(1),
            handling_decision: "Ticket_only",
            team_assignment: Some("NETO".into()),
            forwarded_to_moog: true,
            correlation_id: format!("corr-{index}").into(),
        });
    }
    (claim_of(batch), rows)
}

pub fn claim_of(batch: Batch) -> EventClaim {
    EventClaim {
        id: 1,
        worker: "test-pod".into(),
        events: vec![Arc::new(batch)],
    }
}

pub fn now() -> Timestamp {
    Timestamp::from_microsecond(Timestamp::now().as_microsecond()).expect("in range")
}

pub fn by(reason: &str) -> Change {
    Change {
        by: "test".to_owned(),
        reason: Some(reason.to_owned()),
        correlation_id: None,
    }
}

/// Calls `attempt` until it gives something.
pub async fn eventually<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "{what}: did not happen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
