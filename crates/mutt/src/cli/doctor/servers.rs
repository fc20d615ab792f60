//! Redis and PostgreSQL, as `mutt doctor` sees them.

use std::sync::Arc;
use std::time::Duration;

use mutt_postgres::Postgres;
use mutt_redis::Redis;

use super::{Check, bad, good, warning};
use crate::backend;
use crate::context::Context;

const PATIENCE: Duration = Duration::from_secs(5);
/// Rows in the default partition beyond which a clock is worth looking for.
const STRAY_ROWS: u64 = 1000;

/// Looks at both.
pub async fn check(context: &Context) -> Vec<Check> {
    let secrets = match context.secrets().await {
        Ok(secrets) => Arc::new(secrets),
        // What is wrong with them is said elsewhere.
        Err(_) => return Vec::new(),
    };
    let current: backend::Current = Arc::new(move || Arc::clone(&secrets));
    let mut checks = redis(context, &current).await;
    checks.extend(postgres(context, &current).await);
    checks
}

async fn redis(context: &Context, current: &backend::Current) -> Vec<Check> {
    let settings = &context.loaded.settings;
    let redis = match backend::redis(settings, "doctor", current) {
        Ok(options) => Redis::open(options),
        Err(failure) => return vec![bad(failure.to_string(), "set REDIS_HOST")],
    };
    let redis = match redis {
        Ok(redis) => redis,
        Err(error) => return vec![bad(error.to_string(), "see docs/configuration.md, Redis")],
    };
    let found = match redis.ready(PATIENCE).await {
        Ok(()) => redis.inspect().await,
        Err(error) => Err(error),
    };
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            return vec![bad(
                error.to_string(),
                "check that it runs, the address (REDIS_HOST, REDIS_PORT), REDIS_TLS_ENABLED, the \
                 password (REDIS_PASS_CURRENT) and the firewall; ingestors spool meanwhile",
            )];
        }
    };
    let mut checks = vec![good(format!(
        "Redis {} answers ({}, {} of memory)",
        found.version,
        found.role,
        bytes(found.used_memory)
    ))];
    for danger in found.dangers() {
        let check = if settings.redis_allow_unsafe {
            warning
        } else {
            bad
        };
        checks.push(check(
            format!("Redis may lose what it acknowledged: {danger}"),
            "mend it there; REDIS_ALLOW_UNSAFE=true uses it as it is",
        ));
    }
    match found.appendfsync.as_deref() {
        Some("always") => checks.push(good(
            "Redis writes every event to its disk before it is acknowledged (appendfsync always)",
        )),
        _ if settings.redis_wait_replicas > 0 => checks.push(good(format!(
            "an event is acknowledged when {} replicas have it (REDIS_WAIT_REPLICAS)",
            settings.redis_wait_replicas
        ))),
        Some("everysec") => checks.push(warning(
            "if Redis's machine loses power, up to a second of acknowledged events is lost (appendfsync everysec)",
            "CONFIG SET appendfsync always, or set REDIS_WAIT_REPLICAS",
        )),
        _ => {}
    }
    if !settings.redis_sentinels.is_empty() && settings.redis_wait_replicas == 0 {
        checks.push(warning(
            "a failover loses what the replica does not have yet (REDIS_SENTINELS without REDIS_WAIT_REPLICAS)",
            "set REDIS_WAIT_REPLICAS to the number of replicas that may be promoted",
        ));
    }
    redis.close().await;
    checks
}

async fn postgres(context: &Context, current: &backend::Current) -> Vec<Check> {
    let settings = &context.loaded.settings;
    let options = backend::postgres(settings, "doctor", current);
    let postgres = match Postgres::open(options) {
        Ok(postgres) => postgres,
        Err(error) => {
            return vec![bad(
                error.to_string(),
                "see docs/configuration.md, PostgreSQL",
            )];
        }
    };
    let mut checks = Vec::new();
    match tokio::time::timeout(PATIENCE, postgres.ready()).await {
        Ok(Ok(())) => checks.push(good(format!(
            "PostgreSQL answers, and its schema is this program's (database {}, role {})",
            settings.db_name, settings.db_user
        ))),
        Ok(Err(error)) => {
            checks.push(bad(
                error.to_string(),
                "check that it runs, DB_HOST, DB_PORT, DB_SSL_MODE, DB_USER and DB_PASS_CURRENT; \
                 `mutt db migrate` makes the schema; events wait in Redis meanwhile",
            ));
            return checks;
        }
        Err(_) => {
            checks.push(bad(
                format!("PostgreSQL does not answer within {} s", PATIENCE.as_secs()),
                "check route and firewall; events wait in Redis meanwhile",
            ));
            return checks;
        }
    }
    if let Ok(rows) = postgres.default_partition_rows().await
        && rows > STRAY_ROWS
    {
        checks.push(warning(
            format!("{rows} audit rows are in no month's partition: devices with wrong clocks"),
            "find them: SELECT hostname, min(event_timestamp), max(event_timestamp) FROM \
             event_audit_log_default GROUP BY 1",
        ));
    }
    postgres.close().await;
    checks
}

fn bytes(count: u64) -> String {
    match count {
        0..1_048_576 => format!("{} KiB", count / 1024),
        1_048_576..1_073_741_824 => format!("{} MiB", count / 1_048_576),
        _ => format!("{:.1} GiB", count as f64 / 1_073_741_824.0),
    }
}
