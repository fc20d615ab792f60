//! The handle that the rest of the program calls.
//!
//! Calls fail at once while there is no connection: whether to wait, to spool or to refuse is the
//! caller's decision ([`Redis::ready`] waits). A call is repeated here only where the server said
//! that it did nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::{Cmd, FromRedisValue, Pipeline, Value};
use tokio::sync::{broadcast, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::error::{Meaning, RedisError, Result};
use crate::keeper::{Keeper, Shared, State, server_name};
use crate::link::{Failure, Link, Request};
use crate::options::RedisOptions;
use crate::script::Script;
use crate::subscription::{self, Message};
use crate::tls;

/// A connection to Redis that survives. Clones share it; it closes with the last of them.
///
/// Calls are sent over more than one connection: two that are under way at the same time may take
/// effect in either order. What a command leaves in its connection (`SELECT`, `WATCH`, a `MULTI` of
/// its own, `WAIT`) holds for no other call; blocking commands hold up others.
#[derive(Clone)]
pub struct Redis {
    shared: Arc<Shared>,
    /// Ends the background tasks with the last handle.
    _guard: Arc<Guard>,
}

struct Guard(CancellationToken);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis")
            .field("server", &server_name(&self.shared.options))
            .field("state", &*self.shared.state.borrow())
            .finish_non_exhaustive()
    }
}

impl Redis {
    /// Starts connecting in the background; needs a tokio runtime. The server need not be there yet.
    ///
    /// # Errors
    /// `Invalid`: no host, a CA file that cannot be read, Sentinel addresses that are none,
    /// time-outs of zero.
    pub fn open(options: RedisOptions) -> Result<Self> {
        if options.sentinel.is_none() && (options.host.is_empty() || options.port == 0) {
            return Err(RedisError::Invalid(
                "Redis: a host and a port from 1 to 65535 are needed".to_owned(),
            ));
        }
        if options.db < 0 {
            return Err(RedisError::Invalid(
                "Redis: the number of the database begins at 0".to_owned(),
            ));
        }
        if options.connect_timeout.is_zero() || options.response_timeout.is_zero() {
            return Err(RedisError::Invalid(
                "Redis: time-outs have to be longer than zero".to_owned(),
            ));
        }
        if options.tls {
            tls::client_config(options.tls_ca_cert.as_deref()).map_err(RedisError::Invalid)?;
        }
        let shared = Arc::new(Shared::new(Arc::new(options)));
        let keeper = Keeper::new(Arc::clone(&shared))?;
        tokio::spawn(keeper.run());
        let guard = Arc::new(Guard(shared.closed.clone()));
        Ok(Self {
            shared,
            _guard: guard,
        })
    }

    /// Where the connection stands, now and from now on.
    pub fn state(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
    }

    /// How often the connection was lost since the start. A renewal is no loss.
    pub fn losses(&self) -> u64 {
        self.shared.losses.load(Ordering::Relaxed)
    }

    /// Waits until the connection is there.
    ///
    /// # Errors
    /// `Unavailable` with why the last try failed, when `wait` is over or the handle was closed.
    pub async fn ready(&self, wait: Duration) -> Result<()> {
        let mut state = self.state();
        let ended = |state: &State| matches!(state, State::Connected { .. } | State::Closed);
        match timeout(wait, state.wait_for(ended)).await {
            Ok(Ok(state)) if *state != State::Closed => Ok(()),
            _ => Err(self.unavailable()),
        }
    }

    /// Makes a call.
    ///
    /// # Errors
    /// `Unavailable`, `Refused`, `Unexpected`; within the response time-out.
    pub async fn call<T: FromRedisValue>(&self, command: &Cmd) -> Result<T> {
        self.ask(None, Request::Command(command)).await
    }

    /// Makes the calls of a pipeline in one round trip, over one connection and in their order.
    ///
    /// # Errors
    /// As [`Redis::call`], by the first command that failed. The others took effect, unless the
    /// pipeline is atomic.
    pub async fn pipe<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T> {
        self.ask(None, Request::Pipeline(pipeline)).await
    }

    /// Runs what [`Script::call`] began. Where the server does not know the script it is loaded and
    /// run once more.
    ///
    /// # Errors
    /// As [`Redis::call`].
    pub async fn run<T: FromRedisValue>(&self, script: &Script, call: &Cmd) -> Result<T> {
        self.ask(Some(script), Request::Command(call)).await
    }

    /// As [`Redis::run`], and waits until `replicas` have what it wrote, but not longer than `wait`
    /// (1 ms at least, and well below the response time-out). Returns the script's answer and how
    /// many replicas have it: fewer than asked for is no error here.
    ///
    /// `WAIT` by itself would ask about another connection's writes, so it has to go this way.
    ///
    /// # Errors
    /// As [`Redis::call`].
    pub async fn run_replicated<T: FromRedisValue>(
        &self,
        script: &Script,
        call: &Cmd,
        replicas: u32,
        wait: Duration,
    ) -> Result<(T, u32)> {
        let mut pipeline = redis::pipe();
        pipeline.add_command(call.clone());
        // Zero would wait for ever.
        let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
        pipeline.cmd("WAIT").arg(replicas).arg(wait);
        self.ask(Some(script), Request::Waiting(&pipeline)).await
    }

    /// Asks over the link; loads the script where the server does not know it.
    async fn ask<T: FromRedisValue>(
        &self,
        script: Option<&Script>,
        request: Request<'_>,
    ) -> Result<T> {
        let Some(link) = self.shared.link.borrow().clone() else {
            return Err(self.unavailable());
        };
        let failure = match ask_link(&link, script, request).await {
            Err(failure) if failure.meaning == Meaning::LoggedOut => failure,
            outcome => return outcome.map_err(|failure| failure.error),
        };
        match self.link_after(&link).await {
            Some(new) => ask_link(&new, script, request).await,
            None => Err(failure),
        }
        .map_err(|failure| failure.error)
    }

    /// Messages of these channels from now on, over a connection of its own that is made again for
    /// ever; ends with the last receiver or the last handle. A receiver that falls behind by more
    /// than 1024 messages is told how many it missed.
    pub fn subscribe(&self, channels: &[&str]) -> broadcast::Receiver<Message> {
        subscription::start(&self.shared, channels)
    }

    /// Passwords changed: opens a new connection with them and retires the old one without failing
    /// a call. Where the server does not take the new ones yet, the old connection is kept and it is
    /// tried again.
    pub fn renew(&self) {
        self.shared.renew.notify_one();
    }

    /// Ends the connection after the calls under way, at most after the response time-out. Later
    /// calls fail.
    pub async fn close(&self) {
        let link = self.shared.link.borrow().clone();
        self.shared.closed.cancel();
        let mut state = self.state();
        let _ = state.wait_for(|state| *state == State::Closed).await;
        if let Some(link) = link {
            link.drained(self.shared.options.response_timeout).await;
        }
    }

    /// The link that is there once the passwords were asked for again; `None` where none comes in time.
    async fn link_after(&self, link: &Arc<Link>) -> Option<Arc<Link>> {
        let mut links = self.shared.link.subscribe();
        let is_new =
            |new: &Option<Arc<Link>>| new.as_ref().is_some_and(|new| !Arc::ptr_eq(new, link));
        self.renew();
        let limit = self.shared.options.response_timeout;
        match timeout(limit, links.wait_for(is_new)).await {
            Ok(Ok(new)) => new.clone(),
            _ => None,
        }
    }

    fn unavailable(&self) -> RedisError {
        let reason = match &*self.shared.state.borrow() {
            State::Connecting(Some(why)) => why.clone(),
            State::Connecting(None) => "not connected yet".to_owned(),
            State::Connected { .. } => "the connection was lost just now".to_owned(),
            State::Closed => "the connection was closed by this program".to_owned(),
        };
        RedisError::unavailable(server_name(&self.shared.options), reason)
    }
}

async fn ask_link<T: FromRedisValue>(
    link: &Link,
    script: Option<&Script>,
    request: Request<'_>,
) -> std::result::Result<T, Failure> {
    match (link.exchange(request).await, script) {
        (Err(failure), Some(script)) if failure.meaning == Meaning::NoScript => {
            let load = script.load();
            link.exchange::<Value>(Request::Command(&load)).await?;
            link.exchange(request).await
        }
        (outcome, _) => outcome,
    }
}
