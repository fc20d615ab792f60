//! A store for one check: a Redis of its own, and a database of its own on a PostgreSQL that the
//! checks of a process share.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use mutt_distributed::{Distributed, Names, Options};
use mutt_engine::conformance::{Fixture, PATIENCE};
use mutt_engine::{Engine, Workers as _};
use mutt_postgres::{PostgresOptions, SslMode, migrate};
use mutt_redis::RedisOptions;
use mutt_testbed::{Postgres, Redis};

/// The role that the engine uses.
const APP: &str = "mutt_app";

fn postgres() -> &'static Postgres {
    static SHARED: OnceLock<Postgres> = OnceLock::new();
    // Nothing here crashes the server: what is on its disk does not matter.
    SHARED.get_or_init(|| {
        let server = Postgres::builder()
            .fsync(false)
            .max_connections(400)
            .start();
        let password = server.password();
        server.sql(&format!("CREATE ROLE {APP} LOGIN PASSWORD '{password}'"));
        server
    })
}

/// One store.
pub struct Store {
    pub redis: Redis,
    pub database: String,
}

impl Store {
    /// Starts an empty one.
    pub async fn start() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let database = format!("check_{number}");
        let name = database.clone();
        let redis = tokio::task::spawn_blocking(move || {
            postgres().create_database(&name);
            Redis::start()
        });
        let redis = redis.await.expect("the servers start");
        let store = Self { redis, database };
        let admin = store.postgres_as(postgres().superuser());
        migrate::migrate(&admin, APP)
            .await
            .expect("the database is migrated");
        store
    }

    fn postgres_as(&self, user: &str) -> PostgresOptions {
        let server = postgres();
        PostgresOptions {
            database: self.database.clone(),
            passwords: Arc::new(|| vec![postgres().password().into()]),
            ssl_mode: SslMode::Disable,
            pod: "check".to_owned(),
            ..PostgresOptions::new(server.host(), server.port(), user)
        }
    }

    /// What an engine on this store runs on.
    pub fn options(&self) -> Options {
        Options {
            redis: RedisOptions::new(self.redis.host(), self.redis.port()),
            postgres: self.postgres_as(APP),
            names: Names::default(),
            pod: "check".into(),
            wait_replicas: 0,
            allow_unsafe: false,
            spool: None,
        }
    }
}

/// Opens an engine and waits until both servers are there.
pub async fn open_with(options: Options) -> Arc<Distributed> {
    let engine = Distributed::open(options).expect("the options can be used");
    let start = Instant::now();
    while let Err(error) = engine.ready().await {
        assert!(start.elapsed() < PATIENCE, "{error}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    engine
}

#[async_trait]
impl Fixture for Store {
    async fn open(&self) -> Arc<dyn Engine> {
        open_with(self.options()).await
    }
}
