//! What calls go over at one time: several connections to one server that live and die together.
//!
//! A call takes the connection with the least under way, so that a big answer does not hold up
//! small ones. The first time-out or I/O error breaks the whole link: every call under way over it
//! fails at once, none waits for its own time-out.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::try_join_all;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, Pipeline, RedisResult, Value};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::dial::{Peer, Target, Wire};
use crate::error::{Meaning, RedisError, Result, meaning};
use crate::options::RedisOptions;

/// What is asked.
#[derive(Clone, Copy)]
pub(crate) enum Request<'a> {
    Command(&'a Cmd),
    Pipeline(&'a Pipeline),
    /// It keeps the server from answering others over its connection (`WAIT`).
    Waiting(&'a Pipeline),
}

impl Request<'_> {
    /// How much of a connection it takes up.
    fn weight(self) -> usize {
        match self {
            Self::Command(_) | Self::Pipeline(_) => 1,
            Self::Waiting(_) => 10_000,
        }
    }

    async fn send(self, mut connection: MultiplexedConnection) -> RedisResult<Value> {
        match self {
            Self::Command(command) => connection
                .send_packed_command(command)
                .await
                .and_then(Value::extract_error),
            Self::Pipeline(pipeline) | Self::Waiting(pipeline) => {
                pipeline.query_async(&mut connection).await
            }
        }
    }
}

struct Lane {
    wire: Wire,
    /// The weights of the calls under way.
    load: AtomicUsize,
}

pub(crate) struct Link {
    /// `host:port` for people.
    pub(crate) address: String,
    pub(crate) target: Target,
    pub(crate) peer: SocketAddr,
    /// Changes with each start of the server; empty where the ACL forbids `INFO`.
    pub(crate) run_id: String,
    lanes: Vec<Lane>,
    broken: CancellationToken,
    reason: OnceLock<String>,
    response_timeout: Duration,
}

/// What a call met when it failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) meaning: Meaning,
    pub(crate) error: RedisError,
}

impl Link {
    /// Connects and makes sure that this is a primary that has loaded its data.
    ///
    /// # Errors
    /// In words, without the address.
    pub(crate) async fn open(
        options: &RedisOptions,
        target: &Target,
    ) -> std::result::Result<Self, String> {
        let first = Wire::open(options, target, None, Peer::Server, None).await?;
        let peer = first.peer();
        let lanes = options.connections.clamp(1, RedisOptions::MOST_CONNECTIONS);
        let others =
            (1..lanes).map(|_| Wire::open(options, target, Some(peer), Peer::Server, None));
        let mut wires = vec![first];
        wires.extend(try_join_all(others).await?);
        let limit = Instant::now() + options.connect_timeout;
        let mut run_id: Option<String> = None;
        for wire in &wires {
            let found = timeout_at(limit, who_is_there(wire.connection()))
                .await
                .map_err(|_| "no answer to INFO".to_owned())??;
            if run_id.get_or_insert_with(|| found.clone()) != &found {
                return Err("two connections reached different servers".to_owned());
            }
        }
        Ok(Self {
            address: target.to_string(),
            target: target.clone(),
            peer,
            run_id: run_id.unwrap_or_default(),
            lanes: wires
                .into_iter()
                .map(|wire| Lane {
                    wire,
                    load: AtomicUsize::new(0),
                })
                .collect(),
            broken: CancellationToken::new(),
            reason: OnceLock::new(),
            response_timeout: options.response_timeout,
        })
    }

    /// Makes one request and converts its answer.
    pub(crate) async fn exchange<T: FromRedisValue>(
        &self,
        request: Request<'_>,
    ) -> std::result::Result<T, Failure> {
        let lane = if matches!(request, Request::Waiting(_)) {
            self.lanes.last()
        } else {
            self.lanes
                .iter()
                .min_by_key(|lane| lane.load.load(Ordering::Relaxed))
        };
        let lane = lane.expect("a link has lanes");
        let value = self.request(lane, request).await?;
        redis::from_redis_value(value).map_err(|error| Failure {
            meaning: Meaning::Refused,
            error: RedisError::Unexpected {
                address: self.address.clone(),
                reason: error.to_string(),
            },
        })
    }

    async fn request(
        &self,
        lane: &Lane,
        request: Request<'_>,
    ) -> std::result::Result<Value, Failure> {
        let _load = Load::add(&lane.load, request.weight());
        let limit = Instant::now() + self.response_timeout;
        let outcome = tokio::select! {
            biased;
            outcome = timeout_at(limit, request.send(lane.wire.connection())) => outcome,
            () = self.broken.cancelled() => return Err(self.failure(Meaning::Broken, self.reason())),
        };
        match outcome {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                let (meaning, words) = meaning(error);
                if matches!(meaning, Meaning::Broken | Meaning::NotPrimary) {
                    self.fail(words);
                    return Err(self.failure(meaning, self.reason()));
                }
                Err(self.failure(meaning, words))
            }
            Err(_) => {
                self.fail(format!(
                    "no answer within {:?}: the server is frozen or the network is cut",
                    self.response_timeout
                ));
                Err(self.failure(Meaning::Broken, self.reason()))
            }
        }
    }

    fn failure(&self, meaning: Meaning, reason: String) -> Failure {
        let address = self.address.clone();
        let error = match meaning {
            Meaning::Refused | Meaning::NoScript => RedisError::Refused { address, reason },
            _ => RedisError::Unavailable { address, reason },
        };
        Failure { meaning, error }
    }

    /// Breaks the link; the first reason stays.
    pub(crate) fn fail(&self, reason: String) {
        let _ = self.reason.set(reason);
        self.broken.cancel();
        for lane in &self.lanes {
            lane.wire.abandon();
        }
    }

    /// Waits until no call is under way, but not longer than this.
    pub(crate) async fn drained(self: Arc<Self>, limit: Duration) {
        let idle = async {
            while self
                .lanes
                .iter()
                .any(|lane| lane.load.load(Ordering::Relaxed) > 0)
            {
                sleep(Duration::from_millis(2)).await;
            }
        };
        // Calls that take longer fail with the connection.
        let _ = timeout(limit, idle).await;
        self.fail("the connection was closed by this program".to_owned());
    }

    /// Why the link broke.
    pub(crate) fn reason(&self) -> String {
        self.reason
            .get()
            .cloned()
            .unwrap_or_else(|| "the connection was closed by the server".to_owned())
    }

    /// Waits until the link is broken and says why.
    pub(crate) async fn broken(&self) -> String {
        let ends = self.lanes.iter().map(|lane| Box::pin(lane.wire.ended()));
        tokio::select! {
            () = self.broken.cancelled() => {}
            _ = futures_util::future::select_all(ends) => {
                // Calls whose answer never comes must not wait for their time-out.
                self.fail("the connection was closed by the server".to_owned());
            }
        }
        self.reason()
    }

    /// Asks over each connection whether the server is alive and still a primary.
    ///
    /// # Errors
    /// As a call; the link is broken then.
    pub(crate) async fn probe(&self) -> Result<()> {
        let probes = self.lanes.iter().map(async |lane| {
            let answer = self
                .request(lane, Request::Command(&redis::cmd("ROLE")))
                .await;
            match answer {
                Ok(value) if is_replica(&value) => {
                    let reason = "it is a replica now".to_owned();
                    self.fail(reason.clone());
                    Err(self.failure(Meaning::NotPrimary, reason).error)
                }
                // A user whose ACL forbids ROLE got an answer all the same.
                Err(failure) if failure.meaning == Meaning::Broken => Err(failure.error),
                _ => Ok(()),
            }
        });
        try_join_all(probes).await.map(|_| ())
    }
}

/// Counts a call on a lane while it lives, also where its caller gives it up.
struct Load<'a> {
    of: &'a AtomicUsize,
    weight: usize,
}

impl<'a> Load<'a> {
    fn add(of: &'a AtomicUsize, weight: usize) -> Self {
        of.fetch_add(weight, Ordering::Relaxed);
        Self { of, weight }
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        self.of.fetch_sub(self.weight, Ordering::Relaxed);
    }
}

fn is_replica(role: &Value) -> bool {
    let Value::Array(parts) = role else {
        return false;
    };
    matches!(parts.first(), Some(Value::BulkString(name)) if name == b"slave")
}

/// The server's run id, where it is a primary and ready.
async fn who_is_there(
    mut connection: MultiplexedConnection,
) -> std::result::Result<String, String> {
    let answer = connection
        .send_packed_command(&redis::cmd("INFO"))
        .await
        .and_then(redis::Value::extract_error);
    let info = match answer {
        Ok(value) => redis::from_redis_value::<String>(value).unwrap_or_default(),
        Err(error) => {
            let (meaning, words) = meaning(error);
            return match meaning {
                // Not every user may see it.
                Meaning::Refused => Ok(String::new()),
                _ => Err(words),
            };
        }
    };
    let field = |name: &str| {
        info.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(str::trim)
    };
    if field("loading") == Some("1") {
        let left = field("loading_eta_seconds").unwrap_or("?");
        return Err(format!("it is loading its data, {left} s left"));
    }
    if field("role") == Some("slave") {
        let primary = field("master_host").unwrap_or("?");
        let port = field("master_port").unwrap_or("?");
        return Err(format!(
            "it is a replica of {primary}:{port}, not the primary"
        ));
    }
    Ok(field("run_id").unwrap_or_default().to_owned())
}
