//! Connections that are kept, and how each is used.
//!
//! A connection goes back into the pool only after a step that left it clean; where the caller went
//! away, the answer was late or the transaction is in an unknown state, it is closed, and the server
//! undoes what was not committed. Checking out costs no round trip.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use deadpool::Runtime;
use deadpool::managed::{
    self, Metrics, Object, Pool, PoolError, QueueMode, RecycleError, RecycleResult, TimeoutType,
};
use deadpool_postgres::ClientWrapper;
use mutt_engine::{EngineError, Result};
use parking_lot::Mutex;
use rand::RngExt as _;

use crate::connect::{Dial, Opened};
use crate::error::{Failure, Step, is_read_only, meaning};
use crate::options::PostgresOptions;

/// How much longer than PostgreSQL's own time-out an answer may take before the connection is taken
/// for dead.
const GRACE: Duration = Duration::from_secs(5);
/// How long a connection beyond the least stays open unused.
const IDLE: Duration = Duration::from_mins(5);
/// Waits after failed attempts to connect: the first and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A connection of the pool.
pub(crate) struct Session {
    client: ClientWrapper,
    server: Arc<str>,
    /// [`Manager::generation`] when it was opened.
    generation: u64,
}

/// Opens and checks connections for the pool.
pub(crate) struct Manager {
    dial: Dial,
    /// Counts renewals: connections of an earlier generation are not used again.
    generation: AtomicU64,
    outage: Mutex<Option<Outage>>,
    failed_connects: AtomicU64,
    failed_calls: AtomicU64,
}

/// No server was reached: others that ask at the same time get the same answer.
struct Outage {
    until: Instant,
    wait: Duration,
    reason: String,
}

impl Manager {
    pub(crate) fn new(dial: Dial) -> Self {
        Self {
            dial,
            generation: AtomicU64::new(0),
            outage: Mutex::new(None),
            failed_connects: AtomicU64::new(0),
            failed_calls: AtomicU64::new(0),
        }
    }

    fn is_retired(&self, session: &Session) -> bool {
        session.generation != self.generation.load(Ordering::Acquire)
    }

    fn held_off(&self) -> Option<EngineError> {
        let outage = self.outage.lock();
        let outage = outage
            .as_ref()
            .filter(|outage| outage.until > Instant::now())?;
        Some(EngineError::Unavailable(outage.reason.clone()))
    }

    /// Notes a failed attempt; the next is made after a wait that grows, with jitter.
    fn hold_off(&self, error: &EngineError) {
        self.failed_connects.fetch_add(1, Ordering::Relaxed);
        let mut outage = self.outage.lock();
        let wait = outage
            .as_ref()
            .map_or(BACKOFF.0, |outage| (outage.wait * 2).min(BACKOFF.1));
        let reason = match error {
            EngineError::Unavailable(reason) => reason.clone(),
            other => other.to_string(),
        };
        *outage = Some(Outage {
            until: Instant::now() + wait.mul_f64(rand::rng().random_range(0.5..1.0)),
            wait,
            reason,
        });
    }
}

impl managed::Manager for Manager {
    type Type = Session;
    type Error = EngineError;

    async fn create(&self) -> Result<Session> {
        if let Some(error) = self.held_off() {
            return Err(error);
        }
        let generation = self.generation.load(Ordering::Acquire);
        // In a box: opening takes a large future, which every call would carry.
        match Box::pin(self.dial.open()).await {
            Ok(Opened { client, server }) => {
                *self.outage.lock() = None;
                Ok(Session {
                    client,
                    server,
                    generation,
                })
            }
            Err(error) => {
                self.hold_off(&error);
                Err(error)
            }
        }
    }

    async fn recycle(&self, session: &mut Session, _: &Metrics) -> RecycleResult<EngineError> {
        if session.client.is_closed() {
            return Err(RecycleError::message("the connection was closed"));
        }
        if self.is_retired(session) {
            return Err(RecycleError::message("the connection is to be renewed"));
        }
        Ok(())
    }
}

/// The connections of a pool and how they fare, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStatus {
    /// Connections there are.
    pub size: usize,
    /// Of them, those nobody uses.
    pub idle: usize,
    /// Calls that wait for one.
    pub waiting: usize,
    /// The most connections there may be.
    pub max: usize,
    /// Whether there are connections and the last attempt to open one did not fail.
    pub up: bool,
    /// Attempts to open a connection that failed on every host, since the start.
    pub failed_connects: u64,
    /// Steps on a connection that did not work, since the start: refused, late, or cut off.
    pub failed_calls: u64,
}

/// The pool.
#[derive(Clone)]
pub(crate) struct Sessions {
    pool: Pool<Manager>,
    limit: Duration,
}

impl Sessions {
    /// # Errors
    /// `Unusable` where the options cannot work.
    pub(crate) fn new(dial: Dial) -> Result<Self> {
        let PostgresOptions {
            pool_max,
            connect_timeout,
            statement_timeout,
            ..
        } = *dial.options();
        let pool = Pool::builder(Manager::new(dial))
            .max_size(pool_max.max(1))
            // Those that are not needed are not used, and can go.
            .queue_mode(QueueMode::Lifo)
            .wait_timeout(Some(connect_timeout))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| EngineError::Unusable(format!("no pool of connections: {error}")))?;
        Ok(Self {
            pool,
            limit: statement_timeout + GRACE,
        })
    }

    /// A connection for one step.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(crate) async fn checkout(&self) -> Result<Checkout> {
        match self.pool.get().await {
            Ok(session) => Ok(Checkout {
                session: Some(session),
                limit: self.limit,
            }),
            Err(PoolError::Backend(error)) => Err(error),
            Err(PoolError::Timeout(TimeoutType::Wait)) => {
                let options = self.pool.manager().dial.options();
                Err(EngineError::Unavailable(format!(
                    "all {} connections to PostgreSQL at {} have been in use for {:?}; raise \
                     DB_POOL_MAX_CONN, or see what holds them (pg_stat_activity)",
                    options.pool_max,
                    options.addresses(),
                    options.connect_timeout
                )))
            }
            Err(PoolError::Closed) => Err(EngineError::Unavailable(
                "the connections to PostgreSQL were closed: MUTT is stopping".to_owned(),
            )),
            Err(error) => Err(EngineError::Unavailable(format!(
                "no connection to PostgreSQL: {error}"
            ))),
        }
    }

    /// Retires idle connections; those in use follow when they come back.
    pub(crate) fn renew(&self) {
        self.pool
            .manager()
            .generation
            .fetch_add(1, Ordering::AcqRel);
        // New passwords may be what an outage waited for.
        *self.pool.manager().outage.lock() = None;
        self.pool.retain(|_, _| false);
    }

    /// # Errors
    /// `Unavailable` where none can be opened.
    pub(crate) async fn tend(&self) -> Result<()> {
        let manager = self.pool.manager();
        let options = manager.dial.options();
        let least = options.pool_min.min(options.pool_max);
        let mut spare = self.pool.status().size.saturating_sub(least);
        self.pool.retain(|session, metrics| {
            let is_spare = spare > 0 && metrics.last_used() > IDLE;
            if session.client.is_closed() || manager.is_retired(session) || is_spare {
                spare = spare.saturating_sub(1);
                return false;
            }
            true
        });
        // Idle ones come first, and only a new one brings the number nearer to the least.
        let mut ahead = Vec::with_capacity(least);
        while self.pool.status().size < least && ahead.len() < least {
            match self.pool.get().await {
                Ok(session) => ahead.push(session),
                Err(PoolError::Backend(error)) => return Err(error),
                // All are in use, or it is closing.
                Err(_) => break,
            }
        }
        Ok(())
    }

    pub(crate) async fn close(&self) {
        self.pool.close();
        let start = Instant::now();
        while self.pool.status().size > 0 && start.elapsed() < GRACE {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn status(&self) -> PoolStatus {
        let status = self.pool.status();
        let manager = self.pool.manager();
        PoolStatus {
            size: status.size,
            idle: status.available,
            waiting: status.waiting,
            max: status.max_size,
            up: status.size > 0 && manager.outage.lock().is_none(),
            failed_connects: manager.failed_connects.load(Ordering::Relaxed),
            failed_calls: manager.failed_calls.load(Ordering::Relaxed),
        }
    }
}

/// A connection in use: closed when dropped, kept by [`Checkout::settle`].
pub(crate) struct Checkout {
    session: Option<Object<Manager>>,
    limit: Duration,
}

impl Deref for Checkout {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        let session = self.session.as_ref();
        &session.expect("it is there until the end").client
    }
}

impl Checkout {
    /// Waits for a step, at most as long as a statement may take and a little more.
    ///
    /// # Errors
    /// Those of the step; `Late`.
    pub(crate) async fn limited<T>(&self, step: impl Future<Output = Step<T>>) -> Step<T> {
        tokio::time::timeout(self.limit, step)
            .await
            .unwrap_or(Err(Failure::Late))
    }

    /// Gives the connection back after a step, clean: what is left of a transaction is undone.
    ///
    /// # Errors
    /// That of the step, in words.
    pub(crate) async fn settle<T>(mut self, result: Step<T>) -> Result<T> {
        let failure = match result {
            Ok(value) => {
                self.keep();
                return Ok(value);
            }
            Err(failure) => failure,
        };
        let server = self.session.as_ref().map_or_else(
            || "PostgreSQL".into(),
            |session| Arc::clone(&session.server),
        );
        if !matches!(failure, Failure::Engine(_)) {
            self.count_failure();
        }
        let usable = match &failure {
            Failure::Engine(_) => true,
            Failure::Late | Failure::Broken(_) => false,
            Failure::Postgres(error) => {
                if is_read_only(error) {
                    // The primary became a standby: no connection to it is of use.
                    self.renew();
                }
                error.code().is_some() && !is_read_only(error) && !self.is_closed()
            }
        };
        if usable {
            let undo = async { Ok(self.batch_execute("ROLLBACK").await?) };
            if self.limited(undo).await.is_ok() {
                self.keep();
            }
        }
        Err(meaning(failure, &server))
    }

    fn renew(&self) {
        if let Some(pool) = self.session.as_ref().and_then(Object::pool) {
            pool.manager().generation.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn count_failure(&self) {
        if let Some(pool) = self.session.as_ref().and_then(Object::pool) {
            pool.manager().failed_calls.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn keep(&mut self) {
        // Dropping an object is what gives it back.
        drop(self.session.take());
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            drop(Object::take(session));
        }
    }
}
