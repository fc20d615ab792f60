//! The engine that the settings name, opened for a server or for a tool.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mutt_config::secrets::SecretString;
use mutt_config::settings::Settings;
use mutt_config::{RedisServers, Secret, Secrets, SslMode};
use mutt_distributed::{Distributed, Names, Options, SpoolOptions};
use mutt_engine::{Engine, Workers as _};
use mutt_postgres::PostgresOptions;
use mutt_redis::{RedisOptions, Sentinel};

use crate::exit::{Failure, Outcome};

/// Gives the secrets of the moment.
pub type Current = Arc<dyn Fn() -> Arc<Secrets> + Send + Sync>;
/// Is told that a server refused every known password.
pub type OnRefused = Arc<dyn Fn() + Send + Sync>;

/// How long a tool waits for the servers.
const TOOL_PATIENCE: Duration = Duration::from_secs(10);

fn passwords(
    current: &Current,
    secret: Secret,
) -> Arc<dyn Fn() -> Vec<SecretString> + Send + Sync> {
    let current = Arc::clone(current);
    Arc::new(move || current().get(secret).to_vec())
}

/// Redis as the settings name it.
pub fn redis(settings: &Settings, pod: &str, current: &Current) -> Outcome<RedisOptions> {
    let target = settings.redis_target().ok_or_else(|| {
        Failure::problem("REDIS_HOST is not set; the distributed engine needs it")
    })?;
    let (host, port, sentinel) = match target.servers {
        RedisServers::One(host, port) => (host, port, None),
        RedisServers::Sentinels { sentinels, master } => {
            let addresses = sentinels
                .iter()
                .map(|(host, port)| {
                    if host.contains(':') {
                        format!("[{host}]:{port}")
                    } else {
                        format!("{host}:{port}")
                    }
                })
                .collect();
            (String::new(), 0, Some(Sentinel { addresses, master }))
        }
    };
    Ok(RedisOptions {
        db: i64::try_from(target.db).unwrap_or(0),
        username: target.user,
        passwords: passwords(current, Secret::RedisPass),
        connections: usize::try_from(settings.redis_pool_min_conn).unwrap_or(usize::MAX),
        tls: target.tls,
        tls_ca_cert: settings.redis_tls_ca_cert.clone(),
        sentinel,
        client_name: mutt_postgres::application_name(pod),
        ..RedisOptions::new(host, port)
    })
}

/// PostgreSQL as the settings name it, for the application's role.
pub fn postgres(settings: &Settings, pod: &str, current: &Current) -> PostgresOptions {
    PostgresOptions {
        hosts: settings.db_servers(),
        database: settings.db_name.clone(),
        user: current()
            .db_user
            .clone()
            .unwrap_or_else(|| settings.db_user.clone()),
        passwords: passwords(current, Secret::DbPass),
        ssl_mode: match settings.db_ssl_mode {
            SslMode::Disable => mutt_postgres::SslMode::Disable,
            // TLS where the server offers it serves whoever would also do without.
            SslMode::Allow | SslMode::Prefer => mutt_postgres::SslMode::Prefer,
            SslMode::Require => mutt_postgres::SslMode::Require,
            SslMode::VerifyCa => mutt_postgres::SslMode::VerifyCa,
            SslMode::VerifyFull => mutt_postgres::SslMode::VerifyFull,
        },
        ssl_root_cert: settings.db_ssl_root_cert.clone(),
        pool_min: usize::try_from(settings.db_pool_min_conn).unwrap_or(usize::MAX),
        pool_max: usize::try_from(settings.db_pool_max_conn).unwrap_or(usize::MAX),
        pod: pod.to_owned(),
        ..PostgresOptions::new(String::new(), 0, String::new())
    }
}

/// PostgreSQL for the role that owns the tables: migrations, archives, erasure.
pub fn admin(settings: &Settings, secrets: Secrets) -> PostgresOptions {
    let secrets = Arc::new(secrets);
    let current: Current = Arc::new(move || Arc::clone(&secrets));
    PostgresOptions {
        user: settings.db_admin_user.clone(),
        passwords: passwords(&current, Secret::DbAdminPass),
        ..postgres(settings, "migrate", &current)
    }
}

/// The distributed engine as the settings name it; with a spool where one is given a directory.
pub fn distributed(
    settings: &Settings,
    pod: &str,
    current: &Current,
    on_refused: Option<OnRefused>,
    spool: Option<&Path>,
) -> Outcome<Arc<Distributed>> {
    let options = Options {
        redis: RedisOptions {
            on_refused: on_refused.clone(),
            ..redis(settings, pod, current)?
        },
        postgres: PostgresOptions {
            on_refused,
            ..postgres(settings, pod, current)
        },
        names: Names {
            ingest_queue: settings.ingest_queue_name.clone(),
            alert_queue: settings.alert_queue_name.clone(),
            metrics_prefix: settings.metrics_prefix.clone(),
        },
        pod: pod.into(),
        wait_replicas: u32::try_from(settings.redis_wait_replicas).unwrap_or(u32::MAX),
        allow_unsafe: settings.redis_allow_unsafe,
        spool: spool.map(|dir| SpoolOptions {
            dir: dir.join("spool"),
            max_bytes: settings.spool_max_bytes,
        }),
    };
    Ok(Distributed::open(options)?)
}

/// The distributed engine for a tool: the servers have to be there now.
pub async fn tool(settings: &Settings, secrets: Secrets) -> Outcome<Arc<dyn Engine>> {
    let secrets = Arc::new(secrets);
    let current: Current = Arc::new(move || Arc::clone(&secrets));
    let engine = distributed(settings, "tool", &current, None, None)?;
    let start = Instant::now();
    loop {
        match engine.ready().await {
            Ok(()) => return Ok(engine),
            Err(error) if error.is_temporary() && start.elapsed() < TOOL_PATIENCE => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => {
                engine.close().await;
                return Err(error.into());
            }
        }
    }
}
