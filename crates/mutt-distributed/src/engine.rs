//! The engine's parts and what they share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mutt_engine::{EngineError, Result};
use mutt_postgres::{Postgres, PostgresOptions};
use mutt_redis::{Cmd, FromRedisValue, Redis, RedisError, RedisOptions, Script};
use mutt_spool::Spool;
use tokio::sync::{Mutex, Notify, mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::claims::Claims;
use crate::enqueue::{self, Request};
use crate::live::Hub;
use crate::names::Names;
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
    pub claims: Claims,
    pub queue_limit: AtomicU64,
    /// Something may wait in the ingest queue.
    pub events_waiting: Notify,
    /// Something may wait in the alert queue.
    pub alerts_waiting: Notify,
    /// There may be delivery attempts to write down.
    pub deliveries_waiting: Notify,
    /// One at a time moves delivery attempts.
    pub moving_deliveries: Mutex<()>,
    pub hub: Hub,
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
            claims: Claims::default(),
            queue_limit: AtomicU64::new(1_000_000),
            events_waiting: Notify::new(),
            alerts_waiting: Notify::new(),
            deliveries_waiting: Notify::new(),
            moving_deliveries: Mutex::new(()),
            hub: Hub::default(),
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

    /// Events in the local queue while Redis is away: how many, of how many bytes.
    pub fn spooled(&self) -> (u64, u64) {
        let spool = self.shared.spool.as_ref();
        spool.map_or((0, 0), |spool| (spool.depth(), spool.bytes()))
    }
}

impl Shared {
    pub fn limit(&self) -> u64 {
        self.queue_limit.load(Ordering::Relaxed)
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
        let open = gate.wait_for(|gate| *gate != Gate::Unknown);
        let found = tokio::time::timeout(PATIENCE, open).await;
        match found {
            Ok(Ok(gate)) => match &*gate {
                Gate::Refused(why) => Err(EngineError::Unusable(why.clone())),
                _ => Ok(()),
            },
            _ => match self.redis.ready(Duration::ZERO).await {
                Err(error) => Err(unavailable(error)),
                Ok(()) => Err(EngineError::Unavailable(
                    "Redis is being looked at".to_owned(),
                )),
            },
        }
    }

    /// Runs a script.
    pub async fn run<T: FromRedisValue>(&self, script: &Script, call: &Cmd) -> Result<T> {
        self.admitted().await?;
        self.redis.run(script, call).await.map_err(unavailable)
    }

    /// Calls a command.
    pub async fn call<T: FromRedisValue>(&self, command: &Cmd) -> Result<T> {
        self.admitted().await?;
        self.redis.call(command).await.map_err(unavailable)
    }

    /// Calls several commands in one round trip.
    pub async fn pipe<T: FromRedisValue>(
        &self,
        pipeline: &mutt_redis::redis::Pipeline,
    ) -> Result<T> {
        self.admitted().await?;
        self.redis.pipe(pipeline).await.map_err(unavailable)
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
