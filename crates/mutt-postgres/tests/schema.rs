//! Migrations, partitions and rights.

mod common;

use common::{APP, OWNER, claim, database, empty_database, migrate, now, options};
use jiff::{SignedDuration, Timestamp};
use mutt_engine::{Audit, AuditFilter, EngineError};
use mutt_postgres::migrate as migrations;
use mutt_postgres::{Postgres, PostgresOptions};
use mutt_testbed::Postgres as Server;

fn app_sql(server: &Server, database: &str, sql: &str) -> Result<String, String> {
    server
        .try_sql_in(database, &format!("SET ROLE {APP}; {sql}"))
        .map_err(|error| format!("{error:#}"))
}

#[tokio::test]
async fn a_second_migration_changes_nothing() {
    let server = Server::shared();
    let name = empty_database(server);
    let first = migrate(server, &name).await;
    assert_eq!(
        (first.from, first.to, first.adopted),
        (0, migrations::VERSION, false)
    );
    assert!(first.warnings.is_empty(), "{:?}", first.warnings);
    let shape =
        "SELECT string_agg(relname || relkind::text || coalesce(relacl::text, ''), ',' ORDER BY relname)
        FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    let before = server.sql_in(&name, shape);
    let second = migrate(server, &name).await;
    assert_eq!(
        (second.from, second.to, second.done.len()),
        (first.to, first.to, 0)
    );
    assert_eq!(server.sql_in(&name, shape), before);
    let status = migrations::status(&options(server, &name, APP))
        .await
        .unwrap();
    assert_eq!((status.version, status.needed), (first.to, first.to));
    // This month, three more, and the default one.
    assert_eq!(status.partitions.len(), 5, "{:?}", status.partitions);
    Postgres::open(options(server, &name, APP))
        .unwrap()
        .ready()
        .await
        .unwrap();
}

#[tokio::test]
async fn many_migrations_at_once_are_one() {
    let server = Server::shared();
    let name = empty_database(server);
    let owner = options(server, &name, OWNER);
    let all =
        futures_util::future::join_all((0..4).map(|_| migrations::migrate(&owner, APP))).await;
    let made = all
        .into_iter()
        .filter(|report| report.as_ref().unwrap().from == 0)
        .count();
    assert_eq!(made, 1);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_in_words() {
    let server = Server::shared();
    let name = empty_database(server);
    let postgres = Postgres::open(options(server, &name, APP)).unwrap();
    let error = postgres.ready().await.unwrap_err();
    assert!(
        matches!(&error, EngineError::Unusable(text) if text.contains("mutt db migrate")),
        "{error:?}"
    );
    let owner = options(server, &name, OWNER);
    let error = migrations::migrate(&owner, "nobody_here")
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("CREATE ROLE \"nobody_here\""),
        "{error}"
    );
    migrate(server, &name).await;
    postgres.ready().await.unwrap();
    server.sql_in(
        &name,
        "INSERT INTO schema_migrations (version, name) VALUES (99, 'later')",
    );
    for error in [
        postgres.ready().await.unwrap_err(),
        migrations::migrate(&owner, APP).await.unwrap_err(),
    ] {
        assert!(
            matches!(&error, EngineError::Unusable(text) if text.contains("version 99")),
            "{error:?}"
        );
    }
    server.sql("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    server.sql(&format!("ALTER DATABASE latin OWNER TO {OWNER}"));
    let error = migrations::migrate(&options(server, "latin", OWNER), APP)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("UTF8"), "{error}");
}

#[tokio::test]
async fn the_application_cannot_change_what_was_recorded() {
    let server = Server::shared();
    let (name, postgres) = database(server).await;
    let (events, rows) = claim(3, now());
    postgres.apply(1, "pod", &events, &rows, b"").await.unwrap();
    let month = format!("event_audit_log_{}", now().strftime("%Y_%m"));
    let tables = [
        "event_audit_log",
        &month,
        "event_audit_log_default",
        "delivery_log",
        "config_audit_log",
    ];
    for table in tables {
        for sql in [
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table}"),
            format!("UPDATE {table} SET id = id"),
            format!("DROP TABLE {table}"),
            format!("ALTER TABLE {table} ADD COLUMN x int"),
        ] {
            let error = app_sql(server, &name, &sql).expect_err(&sql);
            assert!(
                error.contains("permission denied") || error.contains("must be owner"),
                "{error}"
            );
        }
    }
    for sql in [
        "SELECT drop_old_partitions(1)",
        "CREATE TABLE mine (x int)",
        "DELETE FROM alert_rules",
        "DELETE FROM schema_migrations",
        "ALTER TABLE event_audit_log DETACH PARTITION event_audit_log_default",
        "SELECT setval('claim_block_seq', 1)",
    ] {
        app_sql(server, &name, sql).expect_err(sql);
    }
    // A month made later is as safe, whatever default privileges say.
    server.sql_in(&name, &format!(
        "ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} IN SCHEMA public GRANT ALL ON TABLES TO {APP}, PUBLIC"
    ));
    app_sql(
        server,
        &name,
        "SELECT create_monthly_partition('2030-01-17')",
    )
    .unwrap();
    app_sql(server, &name, "DELETE FROM event_audit_log_2030_01").expect_err("no right");
    // The owner is kept from changes of configuration by a trigger.
    server.sql_in(&name, "INSERT INTO config_audit_log (changed_by, operation, table_name) VALUES ('x', 'UPDATE', 'x')");
    for sql in [
        "DELETE FROM config_audit_log",
        "UPDATE config_audit_log SET id = 1",
        "TRUNCATE config_audit_log",
    ] {
        let error = format!("{:#}", server.try_sql_in(&name, sql).unwrap_err());
        assert!(error.contains("append-only"), "{error}");
    }
}

#[tokio::test]
async fn a_role_that_can_do_too_much_is_warned_of() {
    let server = Server::shared();
    let name = empty_database(server);
    let owner = options(server, &name, OWNER);
    let report = migrations::migrate(&owner, OWNER).await.unwrap();
    assert!(
        report
            .warnings
            .iter()
            .any(|text| text.contains("another role")),
        "{report:?}"
    );
    let postgres = Postgres::open(owner).unwrap();
    postgres.ready().await.unwrap();
    postgres.ensure_partitions(4).await.unwrap();
    let (events, rows) = claim(1, now());
    postgres.apply(1, "pod", &events, &rows, b"").await.unwrap();

    server.sql_in(
        &name,
        "CREATE ROLE mutt_user; GRANT ALL ON event_audit_log TO mutt_user",
    );
    let report = migrate(server, &name).await;
    assert!(
        report
            .warnings
            .iter()
            .any(|text| text.contains("mutt_user") && text.contains("REVOKE")),
        "{report:?}"
    );
}

fn partitions(server: &Server, name: &str) -> Vec<String> {
    server
        .sql_in(
            name,
            "SELECT partition_name || ' ' || partition_range FROM partition_health_summary",
        )
        .lines()
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn partitions_are_made_ahead_once() {
    let server = Server::shared();
    let (name, postgres) = database(server).await;
    assert_eq!(postgres.ensure_partitions(3).await.unwrap(), 0);
    assert_eq!(postgres.ensure_partitions(6).await.unwrap(), 3);
    assert_eq!(partitions(server, &name).len(), 8);
    let all = (0..6).map(|_| postgres.ensure_partitions(9));
    for made in futures_util::future::join_all(all).await {
        made.unwrap();
    }
    let owner = options(server, &name, OWNER);
    assert_eq!(migrations::ensure_partitions(&owner, 9).await.unwrap(), 0);
    assert_eq!(partitions(server, &name).len(), 11);
    // Whatever day of the month, and whatever the session's time zone.
    for day in ["2031-02-01", "2031-02-28", "2031-02-14"] {
        server.sql_in(
            &name,
            &format!("SET timezone = 'Pacific/Auckland'; SELECT create_monthly_partition('{day}')"),
        );
    }
    let made: Vec<_> = partitions(server, &name)
        .into_iter()
        .filter(|line| line.contains("2031"))
        .collect();
    assert_eq!(
        made,
        [
            "event_audit_log_2031_02 FOR VALUES FROM ('2031-02-01 00:00:00+00') TO ('2031-03-01 00:00:00+00')"
        ]
    );
    for day in ["NULL", "'1969-12-31'", "'2999-01-01'"] {
        server
            .try_sql_in(&name, &format!("SELECT create_monthly_partition({day})"))
            .unwrap_err();
    }
}

#[tokio::test]
async fn rows_of_the_default_partition_move_into_their_month() {
    let server = Server::shared();
    let (name, postgres) = database(server).await;
    let (events, mut rows) = claim(40, now());
    let in_month: Timestamp = "2029-05-01T00:00:00Z".parse().unwrap();
    for (index, row) in (0_i64..).zip(&mut rows) {
        row.event_timestamp = match index % 4 {
            0 => in_month,
            1 => in_month + SignedDuration::from_hours(24 * 31) - SignedDuration::from_micros(1),
            2 => in_month + SignedDuration::from_hours(24 * 31),
            _ => in_month - SignedDuration::from_micros(1),
        };
    }
    postgres.apply(1, "pod", &events, &rows, b"").await.unwrap();
    assert_eq!(postgres.default_partition_rows().await.unwrap(), 40);
    let filter = AuditFilter {
        limit: 100,
        ..AuditFilter::default()
    };
    let before = postgres.audit_rows(filter.clone()).await.unwrap();
    app_sql(
        server,
        &name,
        "SELECT create_monthly_partition('2029-05-20')",
    )
    .unwrap();
    assert_eq!(postgres.default_partition_rows().await.unwrap(), 20);
    assert_eq!(
        server.sql_in(&name, "SELECT count(*) FROM event_audit_log_2029_05"),
        "20"
    );
    assert_eq!(postgres.audit_rows(filter).await.unwrap(), before);
    assert_eq!(postgres.audit_count().await.unwrap(), 40);
    // What comes again is known in its new place.
    postgres.apply(2, "pod", &events, &rows, b"").await.unwrap();
    assert_eq!(postgres.audit_count().await.unwrap(), 40);
}

#[tokio::test]
async fn old_partitions_are_dropped_and_uncounted() {
    let server = Server::shared();
    let (name, postgres) = database(server).await;
    server.sql_in(
        &name,
        "SELECT create_monthly_partition('2020-01-01'), create_monthly_partition('2020-02-01')",
    );
    let (events, mut rows) = claim(10, now());
    for row in &mut rows[..4] {
        row.event_timestamp = "2020-01-31T12:00:00Z".parse().unwrap();
    }
    postgres.apply(1, "pod", &events, &rows, b"").await.unwrap();
    server
        .try_sql_in(&name, "SELECT drop_old_partitions(0)")
        .unwrap_err();
    server.sql_in(&name, "SELECT drop_old_partitions(12)");
    assert!(
        partitions(server, &name)
            .iter()
            .all(|line| !line.contains("2020"))
    );
    assert_eq!(postgres.audit_count().await.unwrap(), 6);
    assert_eq!(
        server.sql_in(&name, "SELECT count(*) FROM event_audit_log"),
        "6"
    );
}

#[tokio::test]
async fn a_missing_partition_stops_nothing() {
    let server = Server::shared();
    let (name, postgres) = database(server).await;
    let month = format!("event_audit_log_{}", now().strftime("%Y_%m"));
    server.sql_in(&name, &format!("DROP TABLE {month}"));
    let (events, rows) = claim(5, now());
    postgres.apply(1, "pod", &events, &rows, b"").await.unwrap();
    assert_eq!(postgres.default_partition_rows().await.unwrap(), 5);
    assert_eq!(postgres.ensure_partitions(0).await.unwrap(), 1);
    assert_eq!(postgres.default_partition_rows().await.unwrap(), 0);
    assert_eq!(postgres.audit_count().await.unwrap(), 5);
}

/// Nothing that writes waits for partitions that are made, nor do these wait for long.
#[tokio::test]
async fn partitions_are_made_under_load() {
    let server = Server::shared();
    let (name, postgres) = database(server).await;
    let writer = tokio::spawn({
        let postgres = postgres.clone();
        async move {
            for number in 0..60 {
                let (events, rows) = claim(50, now());
                postgres
                    .apply(number, "pod", &events, &rows, b"")
                    .await
                    .unwrap();
            }
        }
    });
    let maker = Postgres::open(PostgresOptions {
        pool_max: 1,
        ..options(server, &name, APP)
    })
    .unwrap();
    for months in 4..24 {
        maker.ensure_partitions(months).await.unwrap();
    }
    writer.await.unwrap();
    assert_eq!(postgres.audit_count().await.unwrap(), 3000);
}
