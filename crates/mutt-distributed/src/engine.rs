//! The engine's parts and what they share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use mutt_engine::{EngineError, Result};
use mutt_postgres::{PoolStatus, Postgres, PostgresOptions};
use mutt_redis::{Cmd, FromRedisValue, Redis, RedisError, RedisOptions, Script};
use mutt_spool::Spool;
use parking_lot::{Mutex as SyncMutex, RwLock};
use tokio::sync::{Mutex, Notify, mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::claims::Claims;
use crate::enqueue::{self, Request};
use crate::live::Hub;
use crate::names::Names;
use crate::tally::{Counts, Tally};
use crate::upkeep;

/// Where the ingestor keeps events while Redis is away.
#[derive(Clone, Debug)]
pub struct SpoolOptions {
    /// Its directory; nobody else may use it.
    pub dir: PathBuf,
    /// The most bytes it may hold.
    pub max_bytes: u64,
}

/// What the engine runs on.
#[derive(Clone)]
pub struct Options {
    /// The Redis server.
    pub redis: RedisOptions,
    /// The PostgreSQL server.
    pub postgres: PostgresOptions,
    /// Names that a site may set.
    pub names: Names,
    /// This process's name.
    pub pod: Arc<str>,
    /// Replicas that must have an event before it is acknowledged.
    pub wait_replicas: u32,
    /// Whether a Redis that may lose what it acknowledged is good enough.
    pub allow_unsafe: bool,
    /// The local queue for the time Redis is away; for processes that take events in.
    pub spool: Option<SpoolOptions>,
}

/// Whether Redis may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Not connected yet, or not looked at.
    Unknown,
    /// Looked at and found safe enough, in this run.
    Open(String),
    /// It may lose what it acknowledged: these are the reasons.
    Refused(String),
}

/// What all parts share.
pub(crate) struct Shared {
    pub redis: Redis,
    pub postgres: Postgres,
    pub names: Names,
    pub pod: Arc<str>,
    /// Tells this run of this process from every other.
    pub instance: String,
    pub wait_replicas: u32,
    pub allow_unsafe: bool,
    pub gate: watch::Sender<Gate>,
    /// The value of `mutt:epoch` when it was last read.
    pub epoch: RwLock<Arc<str>>,
    pub claims: Claims,
    pub queue_limit: AtomicU64,
    /// Something may wait in the ingest queue.
    pub events_waiting: Notify,
    /// Something may wait in the alert queue.
    pub alerts_waiting: Notify,
    /// There may be delivery attempts to write down.
    pub deliveries_waiting: Notify,
    /// There may be claims that nobody has in hand.
    pub doubts: Notify,
    /// How long a heartbeat of this process lives, in ms; when Redis came back last.
    pub lifetime_ms: AtomicU64,
    pub back_since: SyncMutex<Option<Instant>>,
    /// One at a time moves delivery attempts.
    pub moving_deliveries: Mutex<()>,
    pub hub: Hub,
    pub tally: Tally,
    pub spool: Option<Arc<Spool>>,
    pub closed: CancellationToken,
}

/// The engine over Redis and PostgreSQL.
pub struct Distributed {
    pub(crate) shared: Arc<Shared>,
    pub(crate) enqueuer: mpsc::Sender<Request>,
    pub(crate) tasks: TaskTracker,
    _stop: DropGuard,
}

/// How long a caller's call waits for a connection that is being made.
const PATIENCE: Duration = Duration::from_secs(2);

impl Distributed {
    /// Opens the engine: begins to connect and returns at once. Servers that are not there yet are
    /// waited for by each call for a moment; [`mutt_engine::Workers::ready`] says what is missing.
    ///
    /// # Errors
    /// `Invalid` or `Unusable` where the options cannot be used.
    pub fn open(options: Options) -> Result<Arc<Self>> {
        let invalid = |error: RedisError| EngineError::Invalid(error.to_string());
        let redis = Redis::open(options.redis).map_err(invalid)?;
        let postgres = Postgres::open(options.postgres)?;
        let spool = options
            .spool
            .map(|spool| Spool::open(&spool.dir, spool.max_bytes))
            .transpose()?;
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            redis,
            postgres,
            names: options.names,
            pod: options.pod,
            instance: Uuid::new_v4().to_string(),
            wait_replicas: options.wait_replicas,
            allow_unsafe: options.allow_unsafe,
            gate: watch::Sender::new(Gate::Unknown),
            epoch: RwLock::new("".into()),
            claims: Claims::default(),
            queue_limit: AtomicU64::new(1_000_000),
            events_waiting: Notify::new(),
            alerts_waiting: Notify::new(),
            deliveries_waiting: Notify::new(),
            doubts: Notify::new(),
            lifetime_ms: AtomicU64::new(0),
            back_since: SyncMutex::new(None),
            moving_deliveries: Mutex::new(()),
            hub: Hub::default(),
            tally: Tally::default(),
            spool,
            closed: stop.clone(),
        });
        let tasks = TaskTracker::new();
        let enqueuer = enqueue::spawn(&shared, &tasks);
        upkeep::spawn(&shared, &tasks);
        tasks.close();
        Ok(Arc::new(Self {
            shared,
            enqueuer,
            tasks,
            _stop: stop.drop_guard(),
        }))
    }

    /// Passwords changed: both servers are connected to anew, without a failed call.
    pub fn renew(&self) {
        self.shared.redis.renew();
        self.shared.postgres.renew();
    }

    /// The local queue for the time Redis is away; zeros where there is none.
    pub fn spooled(&self) -> Spooled {
        let spool = self.shared.spool.as_ref();
        Spooled {
            events: spool.map_or(0, |spool| spool.depth()),
            bytes: spool.map_or(0, |spool| spool.bytes()),
            limit: spool.map_or(0, |spool| spool.max_bytes()),
            was_connected: !self.shared.epoch().is_empty(),
        }
    }

    /// Whether Redis is connected and safe.
    pub fn is_redis_up(&self) -> bool {
        self.shared.is_open()
    }

    /// What this process's engine did since its start.
    pub fn counts(&self) -> Counts {
        self.shared.tally.counts(self.shared.redis.losses())
    }

    /// Whether Redis can be written, in words where it cannot.
    ///
    /// # Errors
    /// `Unavailable`, `Unusable`.
    pub async fn redis_ready(&self) -> Result<()> {
        self.shared.redis_ready().await
    }

    /// The connections to PostgreSQL.
    pub fn postgres_pool(&self) -> PoolStatus {
        self.shared.postgres.pool_status()
    }
}

/// The local queue for the time Redis is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spooled {
    /// Events that wait in it.
    pub events: u64,
    /// Bytes that it holds.
    pub bytes: u64,
    /// Bytes that it may hold.
    pub limit: u64,
    /// Whether Redis was there since the start of this process.
    pub was_connected: bool,
}

impl Shared {
    pub fn limit(&self) -> u64 {
        self.queue_limit.load(Ordering::Relaxed)
    }

    /// What Redis remembers since.
    pub fn epoch(&self) -> Arc<str> {
        Arc::clone(&self.epoch.read())
    }

    /// Notes how long this process's heartbeats live.
    pub fn lifetime(&self, lifetime: Duration) {
        let ms = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        self.lifetime_ms.store(ms, Ordering::Relaxed);
    }

    /// Whether Redis was away until a moment ago: heartbeats may have run out without anybody being
    /// dead.
    pub fn is_just_back(&self) -> bool {
        let lifetime = Duration::from_millis(self.lifetime_ms.load(Ordering::Relaxed));
        let since = *self.back_since.lock();
        since.is_some_and(|since| since.elapsed() < lifetime / 2)
    }

    /// Whether Redis is connected and safe.
    pub fn is_open(&self) -> bool {
        matches!(*self.gate.borrow(), Gate::Open(_))
    }

    /// Waits a moment for Redis to be connected and found safe.
    pub async fn admitted(&self) -> Result<()> {
        if matches!(*self.gate.borrow(), Gate::Open(_)) {
            return Ok(());
        }
        if self.closed.is_cancelled() {
            return Err(closed());
        }
        let mut gate = self.gate.subscribe();
        let looked_at = gate.wait_for(|gate| *gate != Gate::Unknown);
        // The look itself must not be kept: it locks the gate.
        let found = tokio::time::timeout(PATIENCE, looked_at)
            .await
            .map(|gate| gate.map(|gate| gate.clone()));
        match found {
            Ok(Ok(Gate::Refused(why))) => Err(EngineError::Unusable(why)),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(closed()),
            Err(_) => match self.redis.ready(Duration::ZERO).await {
                Err(error) => Err(unavailable(error)),
                Ok(()) => Err(EngineError::Unavailable(
                    "Redis is connected and does not answer".to_owned(),
                )),
            },
        }
    }

    /// Runs a script.
    pub fn run<'a, T: FromRedisValue + Send + 'a>(
        &'a self,
        script: &'a Script,
        call: &'a Cmd,
    ) -> BoxFuture<'a, Result<T>> {
        Box::pin(async move {
            self.admitted().await?;
            self.redis.run(script, call).await.map_err(unavailable)
        })
    }

    /// Calls a command.
    pub fn call<'a, T: FromRedisValue + Send + 'a>(
        &'a self,
        command: &'a Cmd,
    ) -> BoxFuture<'a, Result<T>> {
        Box::pin(async move {
            self.admitted().await?;
            self.redis.call(command).await.map_err(unavailable)
        })
    }

    /// Calls several commands in one round trip.
    pub fn pipe<'a, T: FromRedisValue + Send + 'a>(
        &'a self,
        pipeline: &'a mutt_redis::redis::Pipeline,
    ) -> BoxFuture<'a, Result<T>> {
        Box::pin(async move {
            self.admitted().await?;
            self.redis.pipe(pipeline).await.map_err(unavailable)
        })
    }
}

/// What the engine's callers are told of an error of Redis.
pub(crate) fn unavailable(error: RedisError) -> EngineError {
    match error {
        RedisError::Invalid(text) => EngineError::Invalid(text),
        error => EngineError::Unavailable(error.to_string()),
    }
}

pub(crate) fn closed() -> EngineError {
    EngineError::Unavailable("the engine is closed".to_owned())
}
