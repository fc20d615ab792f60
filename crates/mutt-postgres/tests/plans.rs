//! Every search of the audit trail reads a page from its place in an index.

mod common;

use common::{APP, empty_database, eventually, migrate, options};
use jiff::{SignedDuration, Timestamp};
use mutt_engine::{Audit, AuditFilter};
use mutt_postgres::Postgres;
use mutt_testbed::Postgres as Server;
use std::time::{Duration, Instant};

/// Rows of the last 100 days: 1,000 hosts of which one has a third, 200 rules, a correlation id for
/// every ten rows; every 50th row is of a device whose clock is 5 hours late.
fn fill(server: &Server, name: &str, rows: u64) {
    server.sql_in(
        name,
        "SELECT create_monthly_partition(day::date) FROM generate_series(now() - interval '5 months', now(), interval '1 month') AS day",
    );
    let step = 100_000;
    for first in (0..rows).step_by(step) {
        let past = (first + step as u64).min(rows);
        server.sql_in(
            name,
            &format!(
                "INSERT INTO event_audit_log (event_timestamp, received_at, hostname, source, syslog_severity, matched_rule_id,
                     handling_decision, correlation_id, raw_message)
                 SELECT at - CASE n % 50 WHEN 0 THEN interval '5 hours' ELSE interval '0' END, at,
                     CASE n % 3 WHEN 0 THEN 'core-router' ELSE 'host-' || (n * 7919) % 1000 END, 'syslog', 3,
                     nullif((n * 104729) % 200, 0), 'Ticket_only', 'corr-' || n / 10,
                     '{{\"hostname\": \"host\", \"message\": \"' || repeat('x', 200) || n || '\"}}'
                 FROM generate_series({first}::bigint, {past} - 1) AS n,
                     LATERAL (SELECT now() - interval '100 days' * (1 - n::float8 / {rows}) AS at) AS t"
            ),
        );
    }
    server.sql_in(name, "VACUUM ANALYZE event_audit_log");
}

fn filters() -> Vec<(&'static str, AuditFilter)> {
    let ago = |hours| Some(Timestamp::now() - SignedDuration::from_hours(hours));
    let page = AuditFilter {
        limit: 100,
        ..AuditFilter::default()
    };
    let host = |name: &str| Some(name.to_owned());
    vec![
        ("newest", page.clone()),
        (
            "busy host",
            AuditFilter {
                hostname: host("CORE-router"),
                ..page.clone()
            },
        ),
        (
            "host",
            AuditFilter {
                hostname: host("host-5"),
                ..page.clone()
            },
        ),
        (
            "no host",
            AuditFilter {
                hostname: host("nobody"),
                ..page.clone()
            },
        ),
        (
            "rule",
            AuditFilter {
                rule_id: Some(17),
                ..page.clone()
            },
        ),
        (
            "no rule",
            AuditFilter {
                rule_id: Some(4711),
                ..page.clone()
            },
        ),
        (
            "correlation",
            AuditFilter {
                correlation_id: host("corr-77"),
                ..page.clone()
            },
        ),
        (
            "event",
            AuditFilter {
                event_id: Some(mutt_event::EventId::new()),
                ..page.clone()
            },
        ),
        (
            "last day",
            AuditFilter {
                since: ago(24),
                ..page.clone()
            },
        ),
        (
            "host, an hour long ago",
            AuditFilter {
                hostname: host("host-5"),
                since: ago(1501),
                until: ago(1500),
                ..page.clone()
            },
        ),
        (
            "busy host, long ago",
            AuditFilter {
                hostname: host("core-router"),
                until: ago(1500),
                ..page.clone()
            },
        ),
        (
            "rule, long ago",
            AuditFilter {
                rule_id: Some(17),
                until: ago(1500),
                ..page.clone()
            },
        ),
        (
            "host and rule",
            AuditFilter {
                hostname: host("core-router"),
                rule_id: Some(17),
                ..page.clone()
            },
        ),
        (
            "an hour long ago",
            AuditFilter {
                since: ago(1501),
                until: ago(1500),
                ..page.clone()
            },
        ),
        (
            "a week long ago",
            AuditFilter {
                since: ago(1668),
                until: ago(1500),
                ..page.clone()
            },
        ),
        (
            "until long ago",
            AuditFilter {
                until: ago(1500),
                ..page.clone()
            },
        ),
        (
            "an hour long ago, decision",
            AuditFilter {
                since: ago(1501),
                until: ago(1500),
                handling: host("Ignore"),
                ..page
            },
        ),
    ]
}

/// First and second page of every filter: how long each takes at most, in several attempts the
/// least.
async fn walk(postgres: &Postgres, show: bool) -> Vec<(&'static str, Duration)> {
    let mut slowest = Vec::new();
    for (name, mut filter) in filters() {
        let mut worst = Duration::ZERO;
        for page in 1..=2 {
            let (mut best, mut rows) = (Duration::MAX, Vec::new());
            for _ in 0..3 {
                let start = Instant::now();
                rows = postgres.audit_rows(filter.clone()).await.expect("answered");
                best = best.min(start.elapsed());
            }
            assert!(rows.is_sorted_by(|one, next| one.id > next.id), "{name}");
            if show {
                println!("{name}, page {page}: {} rows in {best:?}", rows.len());
            }
            worst = worst.max(best);
            let Some(last) = rows.last() else { break };
            filter.before_id = Some(last.id);
        }
        slowest.push((name, worst));
    }
    slowest
}

#[tokio::test]
async fn no_search_reads_a_table_from_end_to_end() {
    let server = Server::builder().fsync(false).start();
    let name = empty_database(&server);
    migrate(&server, &name).await;
    fill(&server, &name, 30_000);
    let in_sequence = "SELECT sum(seq_tup_read) FROM pg_stat_user_tables
        WHERE relname LIKE 'event_audit_log%'";
    let before = server.sql_in(&name, in_sequence);
    let postgres = Postgres::open(options(&server, &name, APP)).expect("good options");
    walk(&postgres, false).await;
    // A session that ends has counted what it read.
    postgres.close().await;
    let sessions = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{APP}'");
    eventually("the session is over", async || {
        (server.sql_in(&name, &sessions) == "0").then_some(())
    })
    .await;
    assert_eq!(server.sql_in(&name, in_sequence), before);
}

/// Run by hand: `cargo test -p mutt-postgres --release --test plans -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "takes minutes: 10 M rows, or as many as MUTT_ROWS says"]
async fn pages_come_in_time_from_ten_million_rows() {
    let server = Server::builder()
        .fsync(false)
        .setting("shared_buffers", "512MB")
        .setting("max_wal_size", "4GB")
        .start();
    let name = empty_database(&server);
    migrate(&server, &name).await;
    let rows =
        std::env::var("MUTT_ROWS").map_or(10_000_000, |rows| rows.parse().expect("a number"));
    let start = Instant::now();
    fill(&server, &name, rows);
    println!("{rows} rows in {:?}", start.elapsed());
    let postgres = Postgres::open(options(&server, &name, APP)).expect("good options");
    walk(&postgres, true).await;
    let start = Instant::now();
    postgres.audit_count().await.expect("answered");
    println!("count: {:?}", start.elapsed());
}
