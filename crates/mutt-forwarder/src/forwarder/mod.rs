//! Claims alerts, delivers them concurrently, settles how each attempt ended.
//!
//! One task owns everything: what is claimed and not sent yet, what is on its way, the circuit, the
//! limit. It decides and never waits for the sink; attempts run in tasks of their own, settlements
//! in the settler. So there is no lock, and an alert is always in exactly one place:
//!
//! claim → `ready` → (circuit, limit) → on its way → settled; or back to the queue, uncounted.

mod attempt;
mod circuit;
mod housekeeping;
mod verdict;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use mutt_engine::{Attempt, ClaimedAlert, Dynamic, Engine, Limit, Permit, Settlement, WorkerKind};
use tokio::sync::watch;
use tokio::task::{Id, JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::attempt::Finished;
use self::circuit::{Admission, Breaker};
use crate::backoff::Backoff;
use crate::health::Health;
use crate::metrics::{ForwarderMetrics, signed};
use crate::pace::{Window, shared_limit};
use crate::settle::Settler;
use crate::sink::{KeySlot, Sink};

/// The limit's name in the engine: `mutt:rate_limit:moog`.
pub const LIMIT: &str = "moog";
/// How long a claim waits for the first alert; an alert that comes ends it at once.
const CLAIM_WAIT: Duration = Duration::from_millis(500);
/// How long nothing is claimed after the store failed.
const STORE_PAUSE: Duration = Duration::from_millis(250);
/// Alerts are not held through pauses longer than this.
const LONG_PAUSE: Duration = Duration::from_secs(2);

/// How the forwarder works (static settings).
#[derive(Clone, Debug)]
pub struct ForwarderOptions {
    /// The worker's name (`POD_NAME`).
    pub pod: Arc<str>,
    /// The most requests on their way at the same time; at least 1.
    pub concurrency: usize,
    /// Delays between attempts (`MOOG_RETRY_*_DELAY`).
    pub backoff: Backoff,
    /// `CIRCUIT_BREAKER_ENABLED`.
    pub circuit_enabled: bool,
    /// `MOOG_HEARTBEAT_INTERVAL`; the pod is taken for dead after three.
    pub heartbeat_interval: Duration,
    /// How long requests in flight may take to finish at the end (`SHUTDOWN_GRACE_SECONDS`).
    pub grace: Duration,
}

impl ForwarderOptions {
    /// The defaults of spec 5 for this pod.
    pub fn new(pod: impl Into<Arc<str>>) -> Self {
        Self {
            pod: pod.into(),
            concurrency: 64,
            backoff: Backoff {
                base: Duration::from_secs(1),
                max: Duration::from_mins(1),
            },
            circuit_enabled: true,
            heartbeat_interval: Duration::from_secs(10),
            grace: Duration::from_secs(20),
        }
    }
}

/// Delivers alerts. See the module.
pub struct Forwarder {
    engine: Arc<dyn Engine>,
    sink: Arc<dyn Sink>,
    dynamic: watch::Receiver<Arc<Dynamic>>,
    options: ForwarderOptions,
    metrics: Arc<ForwarderMetrics>,
    health: Arc<Health>,
}

impl Forwarder {
    /// A forwarder; [`Self::run`] sets it to work. `dynamic` comes from
    /// [`mutt_engine::dynamic::follow`].
    pub fn new(
        engine: Arc<dyn Engine>,
        sink: Arc<dyn Sink>,
        dynamic: watch::Receiver<Arc<Dynamic>>,
        options: ForwarderOptions,
        metrics: ForwarderMetrics,
    ) -> Self {
        Self {
            engine,
            sink,
            dynamic,
            options,
            metrics: Arc::new(metrics),
            health: Arc::new(Health::default()),
        }
    }

    /// How it fares, now and later.
    pub fn health(&self) -> Arc<Health> {
        self.health.clone()
    }

    /// Works until `shutdown`; then claims nothing more, finishes what is on its way within the
    /// grace period, returns the rest and signs off.
    pub async fn run(self, shutdown: CancellationToken) {
        if !housekeeping::first_heartbeat(&self, &shutdown).await {
            return;
        }
        let settler = Settler::start(self.engine.clone(), self.metrics.clone());
        let mut desk = Desk {
            breaker: Breaker::new(&self),
            housekeeping: housekeeping::start(&self),
            sink_changes: self.sink.changes(),
            forwarder: self,
            settler,
            ready: VecDeque::new(),
            on_their_way: JoinSet::new(),
            sent: HashMap::new(),
            claim: None,
            window: Window::default(),
            pause: None,
            preferred: KeySlot::Current,
        };
        while !shutdown.is_cancelled() {
            desk.turn(&shutdown).await;
        }
        desk.close().await;
    }
}

/// A claimed alert that is to be sent.
#[derive(Clone, Debug)]
struct Ready {
    alert: ClaimedAlert,
    /// The key to show, where the other one was refused already.
    key: Option<KeySlot>,
}

/// A claim that runs on its own, so that nothing it took is lost.
struct Claiming {
    wanted: usize,
    task: JoinHandle<mutt_engine::Result<Vec<ClaimedAlert>>>,
}

/// The state of a running forwarder.
struct Desk {
    forwarder: Forwarder,
    settler: Settler,
    breaker: Breaker,
    housekeeping: JoinSet<()>,
    sink_changes: watch::Receiver<u64>,
    /// Claimed, not sent; oldest first.
    ready: VecDeque<Ready>,
    on_their_way: JoinSet<Finished>,
    /// What is on its way, so that a task that breaks loses nothing.
    sent: HashMap<Id, Ready>,
    claim: Option<Claiming>,
    window: Window,
    /// Nothing is claimed or sent before.
    pause: Option<Instant>,
    /// The key that was accepted last.
    preferred: KeySlot,
}

impl Desk {
    /// Does what can be done now, then waits for the next thing to happen.
    async fn turn(&mut self, shutdown: &CancellationToken) {
        let wake = match self.admit().await {
            Ok(admission) => {
                let wake = self.dispatch(&admission).await;
                self.start_claim(&admission);
                wake
            }
            Err(until) => Some(until),
        };
        self.note_held();
        let Self {
            claim,
            on_their_way,
            settler,
            sink_changes,
            forwarder,
            ..
        } = self;
        let claimed = async {
            match claim {
                Some(claim) => (&mut claim.task).await,
                None => std::future::pending().await,
            }
        };
        let wake = async {
            match wake {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(finished) = on_their_way.join_next_with_id() => self.finished(finished).await,
            claimed = claimed => {
                self.claim = None;
                self.claimed(claimed);
            }
            () = wake => {}
            () = settler.freed() => {}
            Ok(()) = sink_changes.changed() => {}
            Ok(()) = forwarder.dynamic.changed() => {}
            () = shutdown.cancelled() => {}
        }
    }

    /// Whether anything may be claimed or sent.
    ///
    /// # Errors
    /// When to ask again. Alerts that would have to wait long go back to the queue.
    async fn admit(&mut self) -> Result<Admission, Instant> {
        let now = Instant::now();
        let configured = self.forwarder.sink.configured().is_ok();
        self.forwarder
            .health
            .note(|report| report.configured = configured);
        if !configured {
            self.return_ready();
            // Changes of the sink wake us; this is only a net.
            return Err(now + Duration::from_secs(5));
        }
        if let Some(until) = self.pause.take_if(|until| *until > now) {
            self.pause = Some(until);
            if until > now + LONG_PAUSE {
                self.return_ready();
            }
            return Err(until);
        }
        self.pause = None;
        let admission = self.breaker.admit(&self.forwarder).await;
        match admission {
            Admission::Closed | Admission::Probe => Ok(admission),
            Admission::Open(again) => {
                self.return_ready();
                Err(again)
            }
            Admission::Unknown(again) => Err(again),
        }
    }

    /// Sends what circuit, limit and concurrency let through. Returns when more may be sent, where
    /// that is a matter of time.
    async fn dispatch(&mut self, admission: &Admission) -> Option<Instant> {
        let concurrency = match admission {
            Admission::Probe => 1,
            _ => self.forwarder.options.concurrency.max(1),
        };
        loop {
            let room = concurrency
                .saturating_sub(self.on_their_way.len())
                .min(self.ready.len());
            if room == 0 {
                return None;
            }
            let limit = self.limit();
            let now = Instant::now();
            let free = self.window.free(limit, now);
            if free == 0 {
                self.forwarder.metrics.rate_limit_hits.inc();
                return Some(self.window.next_free(limit, now));
            }
            let wanted = free.min(u32::try_from(room).unwrap_or(u32::MAX));
            let engine = &self.forwarder.engine;
            match engine
                .take_permits(LIMIT, shared_limit(limit), wanted)
                .await
            {
                Ok(Permit::Granted(granted)) => {
                    for _ in 0..granted.clamp(1, wanted) {
                        self.send_next();
                    }
                    if matches!(admission, Admission::Probe) {
                        self.breaker.probe_sent();
                        return None;
                    }
                }
                Ok(Permit::Wait(wait)) => {
                    self.forwarder.metrics.rate_limit_hits.inc();
                    return Some(Instant::now() + wait);
                }
                Err(error) => {
                    tracing::warn!(%error, "sending waits for the store");
                    return Some(now + STORE_PAUSE);
                }
            }
        }
    }

    fn send_next(&mut self) {
        let Some(ready) = self.ready.pop_front() else {
            return;
        };
        let key = ready.key.unwrap_or_else(|| {
            if self.forwarder.sink.has_key(self.preferred) {
                self.preferred
            } else {
                KeySlot::Current
            }
        });
        let wire = self.window.take();
        let handle = self.on_their_way.spawn(attempt::run(
            self.forwarder.sink.clone(),
            ready.alert.clone(),
            key,
            wire,
        ));
        self.sent.insert(handle.id(), ready);
    }

    /// Claims more where there is room for it.
    fn start_claim(&mut self, admission: &Admission) {
        if self.claim.is_some() {
            return;
        }
        let wanted = match admission {
            // One alert for the one probe.
            Admission::Probe => usize::from(self.held() == 0),
            _ => self.most_held().saturating_sub(self.held()),
        };
        if wanted == 0 {
            return;
        }
        let engine = self.forwarder.engine.clone();
        let worker = self.forwarder.options.pod.clone();
        let task =
            tokio::spawn(async move { engine.claim_alerts(&worker, wanted, CLAIM_WAIT).await });
        self.claim = Some(Claiming { wanted, task });
    }

    fn claimed(
        &mut self,
        claimed: Result<mutt_engine::Result<Vec<ClaimedAlert>>, tokio::task::JoinError>,
    ) {
        let error = match claimed {
            Ok(Ok(alerts)) => {
                self.ready
                    .extend(alerts.into_iter().map(|alert| Ready { alert, key: None }));
                self.forwarder.health.note(|report| report.store = None);
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(error, "claiming waits for the store");
        self.forwarder
            .health
            .note(|report| report.store = Some(error));
        self.pause = Some(Instant::now() + STORE_PAUSE);
    }

    /// What this pod holds: nobody else can deliver it.
    fn held(&self) -> usize {
        self.ready.len() + self.on_their_way.len() + self.settler.unsettled()
    }

    /// Enough that sending never waits for a claim, and no more than a second's worth beyond what
    /// is on its way, so that other pods get their share of what waits.
    fn most_held(&self) -> usize {
        let concurrency = self.forwarder.options.concurrency.max(1);
        let limit = self.limit();
        let per_second = f64::from(limit.count) / limit.period.as_secs_f64();
        let spare = Duration::from_secs_f64(per_second.min(1e9)).as_secs();
        concurrency
            + usize::try_from(spare)
                .unwrap_or(usize::MAX)
                .clamp(1, 3 * concurrency)
    }

    fn limit(&self) -> Limit {
        let dynamic = self.forwarder.dynamic.borrow();
        Limit {
            count: u32::try_from(dynamic.integer("moog_rate_limit"))
                .unwrap_or(u32::MAX)
                .max(1),
            period: dynamic.seconds("moog_rate_period"),
        }
    }

    fn note_held(&self) {
        let held = self.held() as u64;
        self.forwarder.metrics.held.set(signed(held));
        self.forwarder.health.note(|report| report.held = held);
    }

    fn return_ready(&mut self) {
        for ready in self.ready.drain(..) {
            self.settler.settle(returned(ready.alert));
        }
    }

    /// The end in order. Takes at most the grace period, whatever sink and store do.
    async fn close(mut self) {
        let end = Instant::now() + self.forwarder.options.grace;
        // Settling needs a little of it.
        let last_answer = end - self.forwarder.options.grace / 10;
        self.return_ready();
        if let Some(claim) = self.claim.take()
            && let Ok(Ok(Ok(alerts))) = tokio::time::timeout_at(last_answer, claim.task).await
        {
            debug_assert!(alerts.len() <= claim.wanted);
            for alert in alerts {
                self.settler.settle(returned(alert));
            }
        }
        while let Ok(Some(finished)) =
            tokio::time::timeout_at(last_answer, self.on_their_way.join_next_with_id()).await
        {
            self.finished(finished).await;
            // What wanted another key or another try at once goes back.
            self.return_ready();
        }
        self.on_their_way.abort_all();
        let unfinished = self.sent.len();
        if unfinished > 0 {
            tracing::warn!(
                unfinished,
                "the sink did not answer in time; these alerts go back to the queue"
            );
        }
        for (_, ready) in self.sent.drain() {
            self.settler.settle(returned(ready.alert));
        }
        let Self {
            forwarder,
            settler,
            mut housekeeping,
            ..
        } = self;
        let sign_off = async {
            settler.finish().await;
            // A sign of life after this would bring the worker back.
            housekeeping.shutdown().await;
            forwarder
                .engine
                .retire(WorkerKind::Moog, &forwarder.options.pod)
                .await
        };
        match tokio::time::timeout_at(end, sign_off).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the forwarder could not sign off"),
            Err(_) => tracing::warn!(
                "the store did not answer in time; another pod will take the claims over"
            ),
        }
    }
}

/// Back to the head of the queue; no attempt is counted.
fn returned(alert: ClaimedAlert) -> Attempt {
    Attempt {
        alert,
        settlement: Settlement::Return,
        log: None,
    }
}
