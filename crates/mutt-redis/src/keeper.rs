//! The task that keeps a link to the primary.
//!
//! Connects with backoff, probes what is connected, follows the Sentinels and new passwords by
//! opening the new link before the old one is let go. It is the only one that replaces links.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::backoff::Backoff;
use crate::dial::Target;
use crate::error::{RedisError, Result};
use crate::link::Link;
use crate::options::RedisOptions;
use crate::sentinel::Sentinels;

/// A link that lived longer was a good one: the next reconnect begins with the shortest wait.
const STEADY: Duration = Duration::from_secs(2);
/// How often the Sentinels are asked.
const SENTINEL_INTERVAL: Duration = Duration::from_secs(1);

/// Where the connection stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Being made; why the last try failed, where one did.
    Connecting(Option<String>),
    /// Calls go through.
    Connected {
        /// `host:port` of the primary.
        address: String,
        /// Changes with each start of the server; empty where the ACL forbids `INFO`.
        run_id: String,
    },
    /// Closed for good.
    Closed,
}

/// What the keeper shares with the handles.
pub(crate) struct Shared {
    pub(crate) options: Arc<RedisOptions>,
    pub(crate) link: watch::Sender<Option<Arc<Link>>>,
    pub(crate) state: watch::Sender<State>,
    pub(crate) renew: Notify,
    /// How often a connection was lost.
    pub(crate) losses: AtomicU64,
    pub(crate) closed: CancellationToken,
}

impl Shared {
    pub(crate) fn new(options: Arc<RedisOptions>) -> Self {
        Self {
            options,
            link: watch::Sender::new(None),
            state: watch::Sender::new(State::Connecting(None)),
            renew: Notify::new(),
            losses: AtomicU64::new(0),
            closed: CancellationToken::new(),
        }
    }

    fn set_state(&self, new: State) {
        self.state.send_if_modified(|state| {
            let changed = *state != new;
            *state = new;
            changed
        });
    }

    /// The link comes before the state and goes before it: who sees `Connected` can call.
    fn install(&self, link: &Arc<Link>) {
        self.link.send_replace(Some(Arc::clone(link)));
        self.set_state(State::Connected {
            address: link.address.clone(),
            run_id: link.run_id.clone(),
        });
    }
}

pub(crate) struct Keeper {
    shared: Arc<Shared>,
    sentinels: Option<Sentinels>,
}

impl Keeper {
    /// # Errors
    /// `Invalid`: Sentinel addresses that cannot be used.
    pub(crate) fn new(shared: Arc<Shared>) -> Result<Self> {
        let sentinels = Sentinels::new(&shared.options).map_err(RedisError::Invalid)?;
        Ok(Self { shared, sentinels })
    }

    /// Runs until the handles are gone or closed.
    pub(crate) async fn run(self) {
        let closed = self.shared.closed.clone();
        closed.run_until_cancelled(self.keep()).await;
        self.shared.link.send_replace(None);
        self.shared.set_state(State::Closed);
    }

    async fn keep(&self) {
        let mut backoff = Backoff::new();
        let mut told = None;
        loop {
            match self.open().await {
                Ok(link) => {
                    told = None;
                    let since = Instant::now();
                    let why = self.hold(Arc::new(link)).await;
                    self.shared.losses.fetch_add(1, Ordering::Relaxed);
                    self.shared.link.send_replace(None);
                    self.shared.set_state(State::Connecting(Some(why.clone())));
                    warn!(server = %self.name(), reason = why, "Redis: connection lost");
                    if since.elapsed() >= STEADY {
                        backoff = Backoff::new();
                    }
                }
                Err(why) => {
                    if told.as_ref() == Some(&why) {
                        debug!(server = %self.name(), reason = why, "Redis: still not connected");
                    } else {
                        warn!(server = %self.name(), reason = why, "Redis: not connected");
                        told = Some(why.clone());
                    }
                    self.shared.set_state(State::Connecting(Some(why)));
                }
            }
            tokio::select! {
                () = sleep(backoff.next()) => {}
                // New passwords are worth a try at once.
                () = self.shared.renew.notified() => {}
            }
        }
    }

    /// Keeps a link, replacing it by a better one when there is reason to; returns why it was lost.
    async fn hold(&self, link: Arc<Link>) -> String {
        info!(
            address = link.address,
            run_id = link.run_id,
            "Redis: connected"
        );
        self.shared.install(&link);
        let mut link = link;
        loop {
            let (next, moved) = tokio::select! {
                why = link.broken() => return why,
                next = self.successor(&link) => next,
                why = self.probe_for_ever(&link) => return why,
            };
            let next = Arc::new(next);
            info!(
                address = next.address,
                run_id = next.run_id,
                "Redis: connection renewed"
            );
            self.shared.install(&next);
            if moved {
                // What was the primary may be frozen: calls must not wait for it.
                link.fail(format!(
                    "the Sentinels name {} as the primary",
                    next.address
                ));
            }
            // Else calls under way hold the old link and end over it.
            link = next;
        }
    }

    async fn probe_for_ever(&self, link: &Link) -> String {
        let every = (self.shared.options.response_timeout / 2)
            .clamp(Duration::from_millis(100), Duration::from_secs(3));
        loop {
            sleep(every).await;
            if link.probe().await.is_err() {
                return link.reason();
            }
        }
    }

    /// Returns when a new link is open that has to take the place of this one, and whether it is
    /// one to another server.
    async fn successor(&self, link: &Link) -> (Link, bool) {
        loop {
            tokio::select! {
                () = self.shared.renew.notified() => return (self.renewed().await, false),
                target = self.moved(link) => {
                    match Link::open(&self.shared.options, &target).await {
                        Ok(next) => return (next, true),
                        Err(why) => debug!(address = %target, reason = why,
                            "Redis: the Sentinels name a primary that is not one yet"),
                    }
                }
            }
        }
    }

    /// Opens a link with the present passwords; the old one serves on until that succeeds.
    async fn renewed(&self) -> Link {
        let mut backoff = Backoff::new();
        loop {
            match self.open().await {
                Ok(link) => return link,
                Err(why) => {
                    warn!(server = %self.name(), reason = why,
                        "Redis: no new connection with the new passwords yet, the old one is kept");
                }
            }
            // Passwords that change again meanwhile are worth a try at once.
            tokio::select! {
                () = sleep(backoff.next()) => {}
                () = self.shared.renew.notified() => {}
            }
        }
    }

    /// Returns what the Sentinels name when that is another server than the link's.
    async fn moved(&self, link: &Link) -> Target {
        let Some(sentinels) = &self.sentinels else {
            return std::future::pending().await;
        };
        let mut next = Instant::now();
        loop {
            next += SENTINEL_INTERVAL.mul_f64(rand::random_range(0.8..=1.2));
            sleep_until(next).await;
            match sentinels.primary().await {
                Ok(targets) => {
                    if let Some(target) = targets.into_iter().next()
                        && target != link.target
                    {
                        return target;
                    }
                }
                Err(why) => debug!(reason = why, "Redis: Sentinels cannot be asked"),
            }
        }
    }

    /// Looks for the primary and connects to it.
    async fn open(&self) -> std::result::Result<Link, String> {
        let options = &self.shared.options;
        let Some(sentinels) = &self.sentinels else {
            return Link::open(options, &Target::new(&options.host, options.port)).await;
        };
        let mut failures = Vec::new();
        for target in sentinels.primary().await? {
            match Link::open(options, &target).await {
                Ok(link) => return Ok(link),
                Err(why) => failures.push(format!("{target}, which the Sentinels name: {why}")),
            }
        }
        Err(failures.join("; "))
    }

    fn name(&self) -> String {
        server_name(&self.shared.options)
    }
}

/// What the options name: a server, or a primary of Sentinels.
pub(crate) fn server_name(options: &RedisOptions) -> String {
    match &options.sentinel {
        Some(sentinel) => format!(
            "`{}` of Sentinels {}",
            sentinel.master,
            sentinel.addresses.join(", ")
        ),
        None => Target::new(&options.host, options.port).to_string(),
    }
}
