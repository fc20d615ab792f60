//! Rules, hosts, teams and configuration, each change with its row of the chained audit.
//!
//! What every engine must hold is checked by the conformance suite over the whole engine; this is
//! what PostgreSQL adds.

mod common;

use common::{APP, by, database, options};
use mutt_engine::catalog::ConfigAuditFilter;
use mutt_engine::{Catalog, ConfigAuditRow, DynamicConfig, EngineError};
use mutt_postgres::Postgres;
use mutt_rules::{Handling, MatchType, Mode, RuleChange, RuleDraft};
use mutt_testbed::Postgres as Server;
use serde_json::json;

fn draft(text: &str, priority: i32) -> RuleDraft {
    RuleDraft {
        match_string: Some(text.to_owned()),
        trap_oid: Some(".1.3.6.1".to_owned()),
        syslog_severity: Some(7),
        match_type: MatchType::Contains,
        priority,
        prod_handling: Handling::PageAndTicket,
        dev_handling: Handling::Ignore,
        team_assignment: "NETO".to_owned(),
        is_active: false,
        mode: Mode::Observe,
        description: Some("Zürich".to_owned()),
    }
}

async fn rows(postgres: &Postgres) -> Vec<ConfigAuditRow> {
    let filter = ConfigAuditFilter {
        limit: 100_000,
        ..ConfigAuditFilter::default()
    };
    postgres.config_audit(&filter).await.expect("rows")
}

#[tokio::test]
async fn many_rules_are_added_in_one_step_and_order() {
    let (_, postgres) = database(Server::shared()).await;
    let drafts: Vec<_> = (0..3000)
        .map(|number| draft(&format!("text {number}"), number % 7))
        .collect();
    let added = postgres
        .add_rules(drafts.clone(), &by("bulk"))
        .await
        .unwrap();
    assert_eq!(
        added
            .iter()
            .map(|rule| rule.draft.clone())
            .collect::<Vec<_>>(),
        drafts
    );
    let mut stored = postgres.rules().await.unwrap();
    assert!(stored.is_sorted_by_key(|rule| (rule.draft.priority, rule.id)));
    stored.sort_by_key(|rule| rule.id);
    assert_eq!(stored, added);
    assert_eq!(postgres.verify_config_audit().await.unwrap(), Ok(3000));
    let change = RuleChange {
        syslog_severity: Some(None),
        description: Some(None),
        priority: Some(i32::MIN),
        ..RuleChange::default()
    };
    let changed = postgres
        .change_rule(added[5].id, change, Some(1), &by("x"))
        .await
        .unwrap();
    assert_eq!(postgres.rule(added[5].id).await.unwrap(), changed);
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused_or_replaced() {
    let (_, postgres) = database(Server::shared()).await;
    let error = postgres
        .add_rules(vec![draft("nul\0", 1)], &by("x"))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, EngineError::Invalid(text) if text.contains("match_string")),
        "{error:?}"
    );
    let hostile = json!({"a\0": ["\0", 1e300, 0.1, 1e16, -0.0, u64::MAX, i64::MIN, 12_345_678_901_234_567_890_u64, null]});
    let mut change = by("nul\0 reason");
    change.by = "x".repeat(1000);
    change.correlation_id = Some("\0".to_owned());
    postgres
        .record(
            "DELETE",
            "mutt:dlq:alerter",
            Some("k\0"),
            Some(hostile.clone()),
            Some(hostile),
            &change,
        )
        .await
        .unwrap();
    let row = &rows(&postgres).await[0];
    assert_eq!(
        (row.changed_by.len(), row.record_key.as_deref()),
        (255, Some("k\u{FFFD}"))
    );
    assert_eq!(postgres.verify_config_audit().await.unwrap(), Ok(1));
    let error = postgres
        .record("ERASE", "t", None, None, None, &by("x"))
        .await
        .unwrap_err();
    assert!(matches!(error, EngineError::Invalid(_)), "{error:?}");
}

#[tokio::test]
async fn writers_of_many_processes_make_one_chain() {
    let server = Server::shared();
    let (name, postgres) = database(server).await;
    let writers: Vec<_> = (0..6)
        .map(|writer| {
            // Each as a process of its own would.
            let postgres = Postgres::open(options(server, &name, APP)).unwrap();
            tokio::spawn(async move {
                for number in 0..15 {
                    let host = format!("host-{writer}-{number}");
                    postgres
                        .add_development_host(&host, &by("x"))
                        .await
                        .unwrap();
                    // The same host by two writers: one of them is told so.
                    let _ = postgres
                        .add_development_host(&format!("Shared-{number}"), &by("x"))
                        .await;
                    postgres
                        .set_config("log_level", "debug", &by("x"))
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let rows = rows(&postgres).await;
    assert_eq!(rows.len(), 6 * 15 * 2 + 15);
    assert!(rows.windows(2).all(|pair| pair[0].id == pair[1].id + 1));
    assert_eq!(
        postgres.verify_config_audit().await.unwrap(),
        Ok(rows.len() as u64)
    );
    assert_eq!(
        postgres.development_hosts().await.unwrap().len(),
        6 * 15 + 15
    );
}

#[tokio::test]
async fn tampering_is_found() {
    let server = Server::shared();
    let (name, postgres) = database(server).await;
    let tampering = [
        ("UPDATE config_audit_log SET changed_by = 'nobody' WHERE id = 3", 3),
        ("UPDATE config_audit_log SET new_values = '{\"value\": 9}' WHERE id = 3", 3),
        ("UPDATE config_audit_log SET changed_at = changed_at + interval '1 us' WHERE id = 1", 1),
        ("UPDATE config_audit_log SET row_hash = '' WHERE id = 2", 2),
        ("DELETE FROM config_audit_log WHERE id = 1", 1),
        ("DELETE FROM config_audit_log WHERE id = 3", 3),
        ("DELETE FROM config_audit_log WHERE id = 5", 5),
        ("DELETE FROM config_audit_log", 1),
        (
            "UPDATE config_audit_log SET id = 100 WHERE id = 3; UPDATE config_audit_log SET id = 3 WHERE id = 4;
             UPDATE config_audit_log SET id = 4 WHERE id = 100",
            3,
        ),
        (
            "INSERT INTO config_audit_log (id, changed_by, operation, table_name, row_hash)
             VALUES (6, 'x', 'UPDATE', 'alert_rules', 'abc')",
            6,
        ),
    ];
    assert_eq!(postgres.verify_config_audit().await.unwrap(), Ok(0));
    for number in 1..=5 {
        postgres
            .set_config("moog_rate_limit", &number.to_string(), &by("x"))
            .await
            .unwrap();
    }
    assert_eq!(postgres.verify_config_audit().await.unwrap(), Ok(5));
    server.sql_in(&name, "CREATE TABLE kept AS SELECT * FROM config_audit_log");
    server.sql_in(&name, "ALTER TABLE config_audit_log DISABLE TRIGGER ALL");
    for (sql, first) in tampering {
        server.sql_in(&name, sql);
        assert_eq!(
            postgres.verify_config_audit().await.unwrap(),
            Err(first),
            "{sql}"
        );
        server.sql_in(
            &name,
            "TRUNCATE config_audit_log; INSERT INTO config_audit_log SELECT * FROM kept",
        );
    }
    assert_eq!(postgres.verify_config_audit().await.unwrap(), Ok(5));
}

/// What was refused, and what was cancelled, leaves neither a row nor a gap.
#[tokio::test]
async fn what_did_not_happen_leaves_no_gap() {
    let (_, postgres) = database(Server::shared()).await;
    for number in 0..10_u64 {
        let host = format!("h{number}");
        let limit = std::time::Duration::from_micros(number * 300);
        let cause = by("x");
        let _ = tokio::time::timeout(limit, postgres.add_development_host(&host, &cause)).await;
        let error = postgres
            .remove_development_host("nobody", &by("x"))
            .await
            .unwrap_err();
        assert!(matches!(error, EngineError::NotFound(_)), "{error:?}");
    }
    let hosts = postgres.development_hosts().await.unwrap().len() as u64;
    assert_eq!(postgres.verify_config_audit().await.unwrap(), Ok(hosts));
    postgres
        .add_development_host("last", &by("x"))
        .await
        .unwrap();
    assert_eq!(postgres.verify_config_audit().await.unwrap(), Ok(hosts + 1));
}

#[tokio::test]
async fn configuration_is_stored_checked_and_audited() {
    let (_, postgres) = database(Server::shared()).await;
    let set = postgres
        .set_config("unhandled_threshold", "7", &by("x"))
        .await
        .unwrap();
    assert_eq!(
        (set.key.as_str(), set.old_value),
        ("unhandled_event_threshold", None)
    );
    let stored = postgres.config_overrides().await.unwrap();
    assert_eq!(stored["unhandled_event_threshold"], "7");
    let unset = postgres
        .unset_config("unhandled_event_threshold", &by("x"))
        .await
        .unwrap();
    assert_eq!(
        (unset.old_value.as_deref(), unset.new_value),
        (Some("7"), None)
    );
    for error in [
        postgres
            .unset_config("unhandled_threshold", &by("x"))
            .await
            .unwrap_err(),
        postgres
            .set_config("nonsense", "7", &by("x"))
            .await
            .unwrap_err(),
        postgres
            .set_config("moog_rate_limit", "0", &by("x"))
            .await
            .unwrap_err(),
    ] {
        assert!(
            matches!(error, EngineError::NotFound(_) | EngineError::Invalid(_)),
            "{error:?}"
        );
    }
    let what: Vec<_> = rows(&postgres)
        .await
        .iter()
        .map(|row| row.operation.clone())
        .collect();
    assert_eq!(what, ["DELETE", "CREATE"]);
}
