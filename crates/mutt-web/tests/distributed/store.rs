//! An engine on a Redis and a PostgreSQL of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mutt_distributed::{Distributed, Names, Options};
use mutt_engine::{Engine, Workers as _};
use mutt_postgres::{PostgresOptions, SslMode, migrate};
use mutt_redis::RedisOptions;
use mutt_testbed::{Postgres, Redis};

use crate::support::PATIENCE;

/// The role that the engine uses.
const APP: &str = "mutt_app";
const DATABASE: &str = "api";

pub struct Store {
    pub redis: Redis,
    postgres: Postgres,
}

impl Store {
    /// The engine of one more process.
    pub async fn engine(&self, pod: &str) -> Arc<dyn Engine> {
        let engine = Distributed::open(Options {
            redis: RedisOptions::new(self.redis.host(), self.redis.port()),
            postgres: options(&self.postgres, APP),
            names: Names::default(),
            pod: pod.into(),
            wait_replicas: 0,
            allow_unsafe: false,
            spool: None,
        })
        .unwrap();
        let start = Instant::now();
        while let Err(error) = engine.ready().await {
            assert!(start.elapsed() < PATIENCE, "{error}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        engine
    }
}

fn options(server: &Postgres, user: &str) -> PostgresOptions {
    let password = server.password().to_owned();
    PostgresOptions {
        database: DATABASE.to_owned(),
        passwords: Arc::new(move || vec![password.as_str().into()]),
        ssl_mode: SslMode::Disable,
        pod: "api".to_owned(),
        ..PostgresOptions::new(server.host(), server.port(), user)
    }
}

pub async fn open() -> (Arc<dyn Engine>, Store) {
    let servers = tokio::task::spawn_blocking(|| {
        // Nothing here crashes the server: what is on its disk does not matter.
        let postgres = Postgres::builder().fsync(false).start();
        let password = postgres.password();
        postgres.sql(&format!("CREATE ROLE {APP} LOGIN PASSWORD '{password}'"));
        postgres.create_database(DATABASE);
        (Redis::start(), postgres)
    });
    let (redis, postgres) = servers.await.unwrap();
    migrate::migrate(&options(&postgres, postgres.superuser()), APP)
        .await
        .unwrap();
    let store = Store { redis, postgres };
    (store.engine("api").await, store)
}
