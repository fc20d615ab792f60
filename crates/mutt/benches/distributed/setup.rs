//! Redis and PostgreSQL of a case's own, with MUTT's schema, and engines and roles on them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use mutt_distributed::{Distributed, Names, Options};
use mutt_engine::{EventQueue as _, Workers as _};
use mutt_postgres::{PostgresOptions, SslMode, migrate};
use mutt_redis::RedisOptions;
use mutt_testbed::{Postgres, Redis};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

use crate::processes::Role;

/// The role that MUTT uses.
pub const APP: &str = "mutt_app";
/// Its password.
const PASSWORD: &str = "of-the-app";
/// MUTT's database.
pub const DATABASE: &str = "mutt";
/// The key that senders show.
pub const KEY: &str = "bench-key";
/// The queue of events.
pub const QUEUE: &str = "mutt:ingest_queue";

/// How long anything may take that is not measured.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// The servers.
pub struct Setup {
    pub redis: Redis,
    pub postgres: Postgres,
    pub dir: TempDir,
}

impl Setup {
    /// Starts both servers as they run in production, and makes MUTT's database.
    pub async fn start() -> Result<Self> {
        let servers = tokio::task::spawn_blocking(|| {
            let postgres = Postgres::builder()
                .setting("shared_buffers", "1GB")
                .setting("min_wal_size", "3GB")
                .setting("max_wal_size", "8GB")
                .setting("checkpoint_timeout", "30min")
                .try_start()?;
            postgres.sql(&format!("CREATE ROLE {APP} LOGIN PASSWORD '{PASSWORD}'"));
            let redis = Redis::builder().try_start()?;
            // Rewriting the AOF would fall into one turn and not into another.
            redis.command(&["CONFIG", "SET", "auto-aof-rewrite-percentage", "0"]);
            anyhow::Ok((postgres, redis))
        });
        let (postgres, redis) = servers.await??;
        let setup = Self {
            redis,
            postgres,
            dir: TempDir::new()?,
        };
        setup.add_database(DATABASE).await?;
        Ok(setup)
    }

    /// Brings PostgreSQL to where it is after a day: with files of its log that can be used again. A
    /// new server makes each one when it is needed, 16 MiB of zeros, and all commits wait for that.
    pub fn warm_up(&self) {
        self.postgres.sql(
            "CREATE TABLE warm_up AS SELECT repeat(md5(n::text), 60) FROM generate_series(1, 1000000) n",
        );
        self.postgres.sql("DROP TABLE warm_up");
        self.postgres.sql("CHECKPOINT");
    }

    /// A database with MUTT's schema.
    pub async fn add_database(&self, name: &str) -> Result<()> {
        self.postgres.create_database(name);
        let admin = self.postgres_as(self.postgres.superuser(), self.postgres.password(), name);
        migrate::migrate(&admin, APP).await?;
        Ok(())
    }

    /// How MUTT reaches its database.
    pub fn postgres_options(&self) -> PostgresOptions {
        self.postgres_as(APP, PASSWORD, DATABASE)
    }

    fn postgres_as(&self, user: &str, password: &'static str, database: &str) -> PostgresOptions {
        PostgresOptions {
            database: database.to_owned(),
            passwords: Arc::new(move || vec![password.into()]),
            ssl_mode: SslMode::Disable,
            pod: "bench".to_owned(),
            ..PostgresOptions::new(self.postgres.host(), self.postgres.port(), user)
        }
    }

    /// The engine in this process.
    pub async fn engine(&self) -> Result<Arc<Distributed>> {
        let engine = Distributed::open(Options {
            redis: RedisOptions::new(self.redis.host(), self.redis.port()),
            postgres: self.postgres_options(),
            names: Names::default(),
            pod: "bench".into(),
            wait_replicas: 0,
            allow_unsafe: false,
            spool: None,
        })?;
        let start = Instant::now();
        while let Err(error) = engine.ready().await {
            if start.elapsed() > PATIENCE || !error.is_temporary() {
                return Err(error).context("the engine is not ready");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        engine.set_queue_limit(1_000_000_000);
        Ok(engine)
    }

    /// A session of the superuser.
    pub async fn session(&self, database: &str) -> Result<Client> {
        let conninfo = self.postgres.conninfo(self.postgres.superuser(), database);
        let (client, connection) = tokio_postgres::connect(&conninfo, NoTls)
            .await
            .context("a session for the measurement")?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// So many rules, one in five a regex, of which only the last matches what `mutt_traffic::load`
    /// sends, and only messages with `rule-hit`.
    pub fn add_rules(&self, count: u32) {
        self.postgres.sql_in(
            DATABASE,
            &format!(
                "INSERT INTO alert_rules (match_string, match_type, priority, prod_handling,
                     dev_handling, team_assignment)
                 SELECT CASE WHEN n % 5 = 0 THEN 'NEVER-' || n || '-[A-Z]+: peer (up|down)'
                             ELSE '%NEVER-' || n || '-SEEN' END,
                     CASE WHEN n % 5 = 0 THEN 'regex' ELSE 'contains' END,
                     10, 'Log_only', 'Ignore', 'NetOps'
                 FROM generate_series(1, {count} - 1) AS n
                 UNION ALL
                 SELECT 'rule-hit', 'contains', 100, 'Log_only', 'Ignore', 'NetOps'"
            ),
        );
    }

    /// Starts a role as a process of its own, with these settings beside the usual ones, and waits
    /// until it answers.
    pub async fn role(
        &self,
        role: &'static str,
        name: &str,
        more: &[(&'static str, &'static str)],
    ) -> Result<Role> {
        let mut settings = vec![
            ("MUTT_BACKEND", "distributed".to_owned()),
            ("REDIS_HOST", self.redis.host().to_owned()),
            ("REDIS_PORT", self.redis.port().to_string()),
            ("REDIS_TLS_ENABLED", "false".to_owned()),
            ("DB_HOST", self.postgres.host().to_owned()),
            ("DB_PORT", self.postgres.port().to_string()),
            ("DB_NAME", DATABASE.to_owned()),
            ("DB_USER", APP.to_owned()),
            ("DB_PASS_CURRENT", PASSWORD.to_owned()),
            ("DB_SSL_MODE", "disable".to_owned()),
            ("INGEST_API_KEY", KEY.to_owned()),
            ("WEBUI_API_KEY", KEY.to_owned()),
            ("LOG_LEVEL", "warn".to_owned()),
            ("AUDIT_SCOPE", "all".to_owned()),
            ("UNHANDLED_EVENT_THRESHOLD", "100000000".to_owned()),
            // A short queue, so that what is accepted is soon decided: the rate is that of the slowest.
            ("MAX_INGEST_QUEUE_SIZE", "50000".to_owned()),
        ];
        settings.extend(more.iter().map(|&(name, value)| (name, value.to_owned())));
        Role::start(role, name, &settings, self.dir.path()).await
    }

    /// Removes keys, and brings the AOF back to what is left.
    pub async fn clear_redis(&self, keys: &[&str]) -> Result<()> {
        for key in keys {
            self.redis.command(&["UNLINK", key]);
        }
        let start = Instant::now();
        // The engine asks for a rewrite as well, when it has connected.
        while self.redis.try_command(&["BGREWRITEAOF"]).is_err() {
            if start.elapsed() > PATIENCE {
                bail!("the AOF is not rewritten");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let info = self.redis.command(&["INFO", "persistence"]);
            let busy = ["aof_rewrite_in_progress:1", "aof_rewrite_scheduled:1"]
                .iter()
                .any(|busy| info.contains(busy));
            if !busy {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                bail!("the AOF is not rewritten");
            }
        }
    }

    /// How many events wait.
    pub fn depth(&self) -> Result<u64> {
        Ok(self.redis.command(&["LLEN", QUEUE]).trim().parse()?)
    }

    /// Empties the audit trail of a database and brings PostgreSQL's files up to date, so that no turn
    /// pays for the one before it.
    pub fn clear_audit(&self, database: &str) {
        self.postgres
            .sql_in(database, "TRUNCATE event_audit_log, applied_claims");
        self.postgres
            .sql_in(database, "UPDATE audit_total SET rows = 0");
        self.postgres.sql("CHECKPOINT");
    }
}
