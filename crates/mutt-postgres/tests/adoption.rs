//! A database of MUTT 2.5 (spec 7, section 5), with rows in it, is adopted in place.

mod common;

use common::{APP, OWNER, by, claim, empty_database, migrate, now, options};
use mutt_engine::catalog::ConfigAuditFilter;
use mutt_engine::{Audit, AuditFilter, Catalog};
use mutt_postgres::Postgres;
use mutt_rules::{MatchType, Mode, RuleChange};
use mutt_testbed::Postgres as Server;

/// As MUTT 2.5 made it, bugs included.
const SCHEMA: &str = r"
CREATE TABLE alert_rules (
    id SERIAL PRIMARY KEY,
    match_string VARCHAR(255), trap_oid VARCHAR(255),
    syslog_severity INT CONSTRAINT chk_syslog_severity CHECK (syslog_severity IS NULL OR syslog_severity BETWEEN 0 AND 7),
    match_type VARCHAR(20) NOT NULL DEFAULT 'contains' CHECK (match_type IN ('contains', 'regex', 'oid_prefix')),
    priority INT NOT NULL DEFAULT 100,
    prod_handling VARCHAR(100) NOT NULL, dev_handling VARCHAR(100) NOT NULL,
    team_assignment VARCHAR(100) NOT NULL, is_active BOOLEAN NOT NULL DEFAULT true,
    CONSTRAINT chk_match_criteria CHECK (match_string IS NOT NULL OR trap_oid IS NOT NULL)
);
CREATE INDEX idx_alert_rules_match_type ON alert_rules (match_type);
CREATE INDEX idx_alert_rules_is_active ON alert_rules (is_active);
CREATE TABLE development_hosts (hostname VARCHAR(255) PRIMARY KEY);
CREATE TABLE device_teams (hostname VARCHAR(255) PRIMARY KEY, team_assignment VARCHAR(100) NOT NULL);
CREATE TABLE event_audit_log (
    id BIGSERIAL NOT NULL, event_timestamp TIMESTAMPTZ NOT NULL, hostname VARCHAR(255) NOT NULL,
    matched_rule_id INT NOT NULL, handling_decision VARCHAR(100) NOT NULL,
    forwarded_to_moog BOOLEAN NOT NULL DEFAULT false, raw_message TEXT,
    PRIMARY KEY (id, event_timestamp),
    CONSTRAINT fk_event_audit_matched_rule FOREIGN KEY (matched_rule_id) REFERENCES alert_rules (id) ON DELETE RESTRICT
) PARTITION BY RANGE (event_timestamp);
CREATE INDEX idx_audit_log_timestamp ON event_audit_log (event_timestamp);
CREATE INDEX idx_audit_log_hostname ON event_audit_log (hostname);
CREATE INDEX idx_audit_log_rule_id ON event_audit_log (matched_rule_id);
CREATE TABLE config_audit_log (
    id BIGSERIAL PRIMARY KEY, changed_at TIMESTAMPTZ NOT NULL DEFAULT now(), changed_by VARCHAR(100) NOT NULL,
    operation VARCHAR(10) NOT NULL CHECK (operation IN ('CREATE', 'UPDATE', 'DELETE')),
    table_name VARCHAR(50) NOT NULL, record_id INTEGER NOT NULL, old_values JSONB, new_values JSONB,
    reason TEXT, correlation_id VARCHAR(36)
);
CREATE INDEX idx_config_audit_log_table_record ON config_audit_log (table_name, record_id);
CREATE INDEX idx_config_audit_log_changed_at ON config_audit_log (changed_at DESC);
CREATE INDEX idx_config_audit_log_changed_by ON config_audit_log (changed_by);
CREATE INDEX idx_config_audit_log_correlation_id ON config_audit_log (correlation_id) WHERE correlation_id IS NOT NULL;
CREATE INDEX idx_config_audit_log_old_values_gin ON config_audit_log USING gin (old_values);
CREATE INDEX idx_config_audit_log_new_values_gin ON config_audit_log USING gin (new_values);
CREATE TABLE event_audit_log_archive (
    id BIGSERIAL PRIMARY KEY, event_timestamp TIMESTAMPTZ, hostname VARCHAR(255), matched_rule_id INT,
    handling_decision VARCHAR(100), forwarded_to_moog BOOLEAN DEFAULT false, raw_message TEXT,
    archived_at TIMESTAMPTZ DEFAULT now(), archived_from_partition VARCHAR(50), original_id BIGINT,
    original_partition_timestamp TIMESTAMPTZ
);
CREATE FUNCTION create_monthly_partition(start_date date) RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE %I PARTITION OF event_audit_log FOR VALUES FROM (%L) TO (%L)',
        'event_audit_log_' || to_char(start_date, 'YYYY_MM'), start_date, start_date + interval '1 month');
    RETURN 1;
END $$;
CREATE FUNCTION drop_old_partitions(retention_months int) RETURNS text LANGUAGE sql AS $$ SELECT 'none' $$;
CREATE FUNCTION archive_old_events(retention_days int DEFAULT 90, batch_size int DEFAULT 10000) RETURNS bigint
    LANGUAGE plpgsql AS $$ BEGIN COMMIT; RETURN 0; END $$;
CREATE VIEW partition_health_summary AS SELECT relname AS partition_name, 1 AS row_count_estimate FROM pg_class;
";

const ROWS: &str = r#"
INSERT INTO alert_rules (match_string, trap_oid, match_type, priority, prod_handling, dev_handling, team_assignment) VALUES
    ('CRITICAL', NULL, 'contains', 10, 'Page_and_ticket', 'Ticket_only', 'NETO'),
    ('ERROR', NULL, 'contains', 20, 'Ticket_only', 'Ignore', 'NETO'),
    ('LINK-DOWN', NULL, 'contains', 5, 'Page_and_ticket', 'Ticket_only', 'NetOps'),
    ('DOT1X-FIRMWARE-RUNNING', NULL, 'contains', 50, 'Ticket_only', 'Ignore', 'Security'),
    (NULL, '.1.3.6.1.4.1.9.9.41.2', 'oid_prefix', 15, 'Page_and_ticket', 'Ignore', 'NetOps');
INSERT INTO development_hosts VALUES ('dev-router1'), ('Test-Switch1'), ('test-switch1'), ('qa-firewall1');
INSERT INTO device_teams VALUES ('router1.prod.example.com', 'NetOps'), ('server1.prod.example.com', 'SysAdmin');
-- A whole month, two made in the middle of one (neighbours, and each over two months), one at the
-- midnight of another time zone, one open at its end, and a whole month under another name.
SELECT create_monthly_partition('2025-01-01');
SELECT create_monthly_partition('2025-03-14');
SELECT create_monthly_partition('2025-04-14');
CREATE TABLE audit_june PARTITION OF event_audit_log FOR VALUES FROM ('2025-06-01') TO ('2025-07-01');
CREATE TABLE event_audit_log_2025_08 PARTITION OF event_audit_log
    FOR VALUES FROM ('2025-08-01 00:00:00+02') TO ('2025-09-01 00:00:00+02');
CREATE TABLE event_audit_log_2040_01 PARTITION OF event_audit_log FOR VALUES FROM ('2040-01-01') TO (MAXVALUE);
INSERT INTO event_audit_log (event_timestamp, hostname, matched_rule_id, handling_decision, forwarded_to_moog, raw_message)
    SELECT time, 'Host-' || n % 5, 1 + n % 5, 'Ticket_only', true,
        CASE n % 3 WHEN 0 THEN NULL WHEN 1 THEN '{"message": "event ' || n || '", "_correlation_id": "corr-' || n || '"}'
            ELSE 'no JSON {{{' END
    FROM unnest(ARRAY['2025-01-01', '2025-01-31 23:59:59.999999', '2025-03-14', '2025-03-31', '2025-04-14', '2025-05-13 23:00',
        '2025-06-15', '2025-07-31 23:00', '2025-08-20', '2040-01-01', '2999-12-31']::timestamptz[]) AS time,
        generate_series(1, 30) AS n;
INSERT INTO config_audit_log (changed_by, operation, table_name, record_id, old_values, new_values, reason, correlation_id) VALUES
    ('admin', 'CREATE', 'alert_rules', 1, NULL, '{"priority": 10, "weight": 1e30, "share": 0.10}', 'sample', 'c1'),
    ('admin', 'UPDATE', 'alert_rules', 1, '{"priority": 10}', '{"priority": 20}', NULL, NULL);
SELECT nextval('config_audit_log_id_seq');
INSERT INTO config_audit_log (changed_by, operation, table_name, record_id) VALUES
    ('admin', 'DELETE', 'development_hosts', -77123), ('admin', 'UPDATE', 'dynamic_config', 4);
INSERT INTO event_audit_log_archive (hostname, original_id) VALUES ('old', 1);
"#;

async fn adopted(server: &Server) -> (String, Postgres) {
    let name = empty_database(server);
    // As it was granted then; and the application's role owned the tables.
    server.sql_in(&name, &format!("GRANT ALL ON SCHEMA public TO {APP}"));
    server.sql_in(&name, &format!("SET ROLE {APP};{SCHEMA}"));
    server.sql_in(&name, &format!("SET ROLE {APP};{ROWS}"));
    server.sql_in(
        &name,
        &format!("GRANT ALL ON ALL TABLES IN SCHEMA public TO {APP}, PUBLIC"),
    );
    // Taking tables over takes a superuser, or a member of both roles.
    server.sql(&format!("GRANT {APP} TO {OWNER}"));
    let before = server.sql_in(
        &name,
        "SELECT md5(string_agg(id || '|' || event_timestamp || '|' || hostname || '|' || matched_rule_id
             || '|' || handling_decision || forwarded_to_moog || coalesce(raw_message, '-'), ',' ORDER BY id))
         FROM event_audit_log",
    );
    let report = migrate(server, &name).await;
    assert!(
        report.adopted && report.done[0].contains("330 rows"),
        "{report:?}"
    );
    let after = server.sql_in(
        &name,
        "SELECT md5(string_agg(id || '|' || event_timestamp || '|' || hostname || '|' || matched_rule_id
             || '|' || handling_decision || forwarded_to_moog || coalesce(raw_message, '-'), ',' ORDER BY id))
         FROM event_audit_log",
    );
    assert_eq!(after, before, "every row is as it was");
    let postgres = Postgres::open(options(server, &name, APP)).expect("works");
    postgres.ready().await.expect("works");
    (name, postgres)
}

fn all() -> AuditFilter {
    AuditFilter {
        limit: 1000,
        ..AuditFilter::default()
    }
}

#[tokio::test]
async fn audit_rows_of_old_are_read_and_joined_by_new_ones() {
    let server = Server::shared();
    let (name, postgres) = adopted(server).await;
    assert_eq!(postgres.audit_count().await.unwrap(), 330);
    let stored = postgres.audit_rows(all()).await.unwrap();
    assert_eq!(stored.len(), 330);
    let mut ids: Vec<_> = stored.iter().map(|row| row.event_id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 330, "every row has an id of its own");
    let row = stored
        .iter()
        .find(|row| row.raw_message.contains("event 4\""))
        .unwrap();
    assert_eq!(
        (row.correlation_id.as_str(), row.environment.as_str()),
        ("corr-4", "production")
    );
    assert_eq!(row.received_at, row.event_timestamp);
    let by_id = AuditFilter {
        event_id: Some(row.event_id),
        ..all()
    };
    assert_eq!(
        postgres.audit_rows(by_id).await.unwrap(),
        std::slice::from_ref(row)
    );
    let by_host = AuditFilter {
        hostname: Some("HOST-3".to_owned()),
        ..all()
    };
    assert_eq!(postgres.audit_rows(by_host).await.unwrap().len(), 66);
    // Months are months; the far future is in the default partition.
    let odd = server.sql_in(
        &name,
        "SELECT partition_name, partition_range FROM partition_health_summary
         WHERE partition_name !~ '^event_audit_log_(\\d{4}_\\d\\d|default)$'
             OR partition_range !~ '(-01 00:00:00\\+00.*-01 00:00:00\\+00|DEFAULT)'",
    );
    assert_eq!(odd, "");
    assert_eq!(
        server.sql_in(&name, "SELECT count(*) FROM event_audit_log_2025_06"),
        "30"
    );
    assert_eq!(
        server.sql_in(&name, "SELECT count(*) FROM event_audit_log_2025_04"),
        "30"
    );
    assert_eq!(postgres.default_partition_rows().await.unwrap(), 60);

    let (events, mut rows) = claim(20, now());
    rows[0].event_timestamp = "2025-03-14T00:00:00Z".parse().unwrap();
    postgres.apply(1, "pod", &events, &rows, b"").await.unwrap();
    let stored = postgres.audit_rows(all()).await.unwrap();
    assert_eq!(stored.len(), 350);
    assert!(stored[19].id > stored[20].id);
    // MUTT 2.5 can still write beside it.
    server.sql_in(
        &name,
        "INSERT INTO event_audit_log (event_timestamp, hostname, matched_rule_id, handling_decision, raw_message)
         VALUES (now(), 'late', 1, 'Ignore', '{}')",
    );
    assert_eq!(
        postgres.audit_rows(all()).await.unwrap()[0].hostname,
        "late"
    );
}

#[tokio::test]
async fn rules_hosts_and_teams_of_old_can_be_changed() {
    let (_, postgres) = adopted(Server::shared()).await;
    let rules = postgres.rules().await.unwrap();
    assert_eq!(rules.len(), 5);
    assert_eq!(rules[0].draft.match_string.as_deref(), Some("LINK-DOWN"));
    assert_eq!(
        (rules[2].draft.match_type, rules[2].draft.mode),
        (MatchType::OidPrefix, Mode::Enforce)
    );
    let change = RuleChange {
        priority: Some(1),
        ..RuleChange::default()
    };
    let changed = postgres
        .change_rule(rules[4].id, change, Some(1), &by("x"))
        .await
        .unwrap();
    assert_eq!((changed.version, changed.draft.priority), (2, 1));
    // A rule that matched could not be deleted then.
    postgres
        .delete_rule(rules[0].id, None, &by("x"))
        .await
        .unwrap();
    assert_eq!(postgres.rules().await.unwrap().len(), 4);
    let added = postgres
        .add_rules(vec![rules[0].draft.clone()], &by("x"))
        .await
        .unwrap();
    assert!(added[0].id > 5);
    assert_eq!(postgres.development_hosts().await.unwrap().len(), 4);
    postgres
        .remove_development_host("TEST-SWITCH1", &by("x"))
        .await
        .unwrap();
    assert_eq!(
        postgres.development_hosts().await.unwrap(),
        ["dev-router1", "qa-firewall1"]
    );
    postgres
        .set_device_team("Router1.prod.example.com", "NETO", &by("x"))
        .await
        .unwrap();
    assert_eq!(postgres.device_teams().await.unwrap()[0].1, "NETO");
    assert_eq!(postgres.verify_config_audit().await.unwrap(), Ok(4 + 6));
}

#[tokio::test]
async fn the_chain_begins_with_the_adoption() {
    let server = Server::shared();
    let (name, postgres) = adopted(server).await;
    // The gap that MUTT 2.5 left is no gap of the chain.
    assert_eq!(postgres.verify_config_audit().await.unwrap(), Ok(4));
    postgres
        .add_development_host("new", &by("x"))
        .await
        .unwrap();
    let rows = postgres
        .config_audit(&ConfigAuditFilter {
            limit: 9,
            ..ConfigAuditFilter::default()
        })
        .await
        .unwrap();
    let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    assert_eq!(ids, [6, 5, 4, 2, 1]);
    assert_eq!((rows[2].record_id, rows[0].record_id), (Some(-77123), None));
    server.sql_in(&name, "ALTER TABLE config_audit_log DISABLE TRIGGER ALL");
    server.sql_in(
        &name,
        "UPDATE config_audit_log SET changed_by = 'nobody' WHERE id = 2",
    );
    assert_eq!(postgres.verify_config_audit().await.unwrap(), Err(2));
}

#[tokio::test]
async fn what_is_not_of_mutt_is_left_alone_and_a_failure_leaves_nothing() {
    let server = Server::shared();
    let name = empty_database(server);
    server.sql_in(
        &name,
        &format!(
            "SET ROLE {OWNER}; CREATE TABLE event_audit_log (id int); CREATE TABLE mine (x int)"
        ),
    );
    let error = mutt_postgres::migrate::migrate(&options(server, &name, OWNER), APP)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("not partitioned"), "{error}");
    let tables = "SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    assert_eq!(server.sql_in(&name, tables), "event_audit_log,mine");
}
