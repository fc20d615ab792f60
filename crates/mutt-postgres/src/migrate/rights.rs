//! What the application's role may do, table by table.

use deadpool_postgres::ClientWrapper;
use mutt_engine::EngineError;
use tokio_postgres::types::Type;

use super::Report;
use crate::error::Step;

/// Tables with the rights that the application has on them.
const TABLES: &[(&str, &str)] = &[
    ("schema_migrations", "SELECT"),
    ("alert_rules", "SELECT, INSERT, UPDATE"),
    ("development_hosts", "SELECT, INSERT, UPDATE, DELETE"),
    ("device_teams", "SELECT, INSERT, UPDATE, DELETE"),
    ("dynamic_config", "SELECT, INSERT, UPDATE, DELETE"),
    ("event_audit_log", "SELECT, INSERT"),
    ("event_audit_log_default", "SELECT"),
    ("delivery_log", "SELECT, INSERT"),
    ("config_audit_log", "SELECT, INSERT"),
    ("config_audit_head", "SELECT, UPDATE"),
    ("api_keys", "SELECT, INSERT, UPDATE"),
    ("archive_manifest", "SELECT"),
    ("applied_claims", "SELECT, INSERT, UPDATE, DELETE"),
    ("audit_total", "SELECT, UPDATE"),
    ("partition_health_summary", "SELECT"),
];

/// Tables whose rows PostgreSQL numbers for the application.
const NUMBERED: &[&str] = &["alert_rules", "event_audit_log", "delivery_log"];

/// Tables whose rows nobody but the owner may change.
const APPEND_ONLY: &[&str] = &["event_audit_log", "delivery_log", "config_audit_log"];

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Whether the role is there.
pub(super) async fn check_role(client: &ClientWrapper, role: &str) -> Step<()> {
    let there = client
        .query_typed_opt(
            "SELECT FROM pg_roles WHERE rolname = $1",
            &[(&role, Type::TEXT)],
        )
        .await?;
    if there.is_some() {
        return Ok(());
    }
    Err(EngineError::Unusable(format!(
        "there is no role {role} for the application (DB_USER): make it with \
         CREATE ROLE {} LOGIN PASSWORD '...'",
        quoted(role)
    ))
    .into())
}

/// Takes what was given before, by MUTT 2 for example, and gives what is needed.
pub(super) async fn grant(client: &ClientWrapper, role: &str) -> Step<()> {
    if owner(client).await? == role {
        // Taking rights from an owner would stop its own functions, and it could take them back.
        return Ok(());
    }
    let role = quoted(role);
    let mut statements = vec!["BEGIN".to_owned()];
    let partitions = client
        .query_typed(
            "SELECT inhrelid::regclass::text FROM pg_inherits
             WHERE inhparent = 'public.event_audit_log'::regclass
                 AND inhrelid <> 'public.event_audit_log_default'::regclass",
            &[],
        )
        .await?;
    for row in partitions {
        let table: String = row.try_get(0)?;
        statements.push(format!("REVOKE ALL ON {table} FROM PUBLIC, {role}"));
        statements.push(format!("GRANT SELECT ON {table} TO {role}"));
    }
    for (table, rights) in TABLES {
        statements.push(format!("REVOKE ALL ON public.{table} FROM PUBLIC, {role}"));
        statements.push(format!("GRANT {rights} ON public.{table} TO {role}"));
    }
    let sequences = client
        .query_typed(
            "SELECT sequence FROM unnest($1) AS name,
                 pg_get_serial_sequence('public.' || name, 'id') AS sequence
             WHERE sequence IS NOT NULL",
            &[(&NUMBERED, Type::TEXT_ARRAY)],
        )
        .await?;
    for row in sequences {
        let sequence: String = row.try_get(0)?;
        statements.push(format!("GRANT USAGE ON SEQUENCE {sequence} TO {role}"));
    }
    statements.push(format!(
        "GRANT USAGE ON SEQUENCE public.claim_block_seq TO {role};
         GRANT USAGE ON SCHEMA public TO {role};
         REVOKE ALL ON FUNCTION public.drop_old_partitions(integer) FROM PUBLIC, {role};
         GRANT EXECUTE ON FUNCTION public.create_monthly_partition(date) TO {role};
         COMMIT"
    ));
    let sql = statements.join(";\n");
    client.batch_execute(&sql).await?;
    Ok(())
}

/// Who owns the tables.
async fn owner(client: &ClientWrapper) -> Step<String> {
    let row = client
        .query_typed_one(
            "SELECT pg_get_userbyid(relowner)::text FROM pg_class
             WHERE oid = 'public.event_audit_log'::regclass",
            &[],
        )
        .await?;
    Ok(row.try_get(0)?)
}

/// Where the rights do not hold what they promise.
pub(super) async fn warn(client: &ClientWrapper, role: &str, report: &mut Report) -> Step<()> {
    let row = client
        .query_typed_one(
            "SELECT rolsuper, tableowner::text, pg_has_role(rolname, tableowner, 'MEMBER'),
                 current_setting('fsync') = 'off'
             FROM pg_roles, pg_tables
             WHERE rolname = $1 AND schemaname = 'public' AND tablename = 'event_audit_log'",
            &[(&role, Type::TEXT)],
        )
        .await?;
    let (superuser, owner, member, no_fsync): (bool, String, bool, bool) = (
        row.try_get(0)?,
        row.try_get(1)?,
        row.try_get(2)?,
        row.try_get(3)?,
    );
    let tables = APPEND_ONLY.join(", ");
    if superuser {
        report.warnings.push(format!(
            "role {role} is a superuser and can change {tables}: give MUTT a role without that"
        ));
    } else if member {
        report.warnings.push(format!(
            "role {role} is, or may become, {owner}, who owns {tables}, and can change them: \
             migrate as another role than the application's"
        ));
    }
    if no_fsync {
        report.warnings.push(
            "fsync is off: a crash of the server's machine can lose or damage everything"
                .to_owned(),
        );
    }
    let others = client
        .query_typed(
            "SELECT DISTINCT relname::text, coalesce(pg_get_userbyid(nullif(grantee, 0)), 'PUBLIC')::text
             FROM pg_class, aclexplode(relacl)
             WHERE relnamespace = 'public'::regnamespace AND grantee <> relowner
                 AND privilege_type IN ('UPDATE', 'DELETE', 'TRUNCATE')
                 AND (relname = ANY($1) OR pg_class.oid IN (SELECT inhrelid FROM pg_inherits
                     WHERE inhparent = 'public.event_audit_log'::regclass))
             ORDER BY 1, 2",
            &[(&APPEND_ONLY, Type::TEXT_ARRAY)],
        )
        .await?;
    for other in others {
        let (table, who): (String, String) = (other.try_get(0)?, other.try_get(1)?);
        report.warnings.push(format!(
            "{who} may change rows of {table}: REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM {}",
            if who == "PUBLIC" {
                who.clone()
            } else {
                quoted(&who)
            }
        ));
    }
    Ok(())
}
