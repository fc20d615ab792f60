//! Puts the status together, once a second for everybody who watches or asks, and looks now and then
//! where nobody does, so that rates and depths are known from the first answer on.
//!
//! A store that is away costs a look a few seconds and never an answer: what was last known is shown,
//! and says so.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use mutt_engine::reports::FloodReport;
use mutt_engine::{
    Circuit as EngineCircuit, CircuitState, Component, Dynamic, Engine, EngineError, QueueStatus,
    Reported, Status as EngineStatus, StoreStatus,
};
use parking_lot::Mutex as SyncMutex;
use tokio::sync::{Mutex, broadcast};

use crate::attention::{self, Known, OverThreshold, Severity};
use crate::fleet::{Fleet, Member, Speed};
use crate::past::{Past, SAMPLED};
use crate::prometheus::Prometheus;
use crate::rates::{self, Summary, rounded};
use crate::slo::{self, Targets};
use crate::status::{
    BusyHost, BusyRule, Circuit, Decided, Delivered, Dropped, Flood, Listener, Pod, PodProblem,
    Queue, RateLimit, Received, Road, Role, Shed, SloLine, Status, Store, Totals, Worker,
};

/// Between two messages of the stream.
const TICK: Duration = Duration::from_secs(1);
/// An answer is believed for a little less, so that each message of the stream is new.
const FRESH: Duration = Duration::from_millis(900);
/// What is expensive, and what changes slowly, is looked at this often.
const SLOW: Duration = Duration::from_secs(10);
/// How long one look may take.
const LOOK: Duration = Duration::from_secs(4);
/// The names of circuit and limit in the engine.
const SINK: (&str, &str) = ("moogsoft", "moog");
/// Unhandled signatures that are counted against the threshold.
const SIGNATURES: usize = 1_000;
/// Rules and hosts that are shown.
const BUSY: usize = 10;
/// Reasons for which messages are lost, or refused although their senders did nothing wrong.
const LOSING: [&str; 4] = ["kernel", "queue_full", "redis_error", "store_error"];
/// Every role.
const ROLES: [&str; 5] = ["ingestor", "alerter", "forwarder", "remediation", "webui"];

/// What is known of the whole.
pub struct Hub {
    engine: Arc<dyn Engine>,
    base: Dynamic,
    version: &'static str,
    prometheus: Option<Arc<Prometheus>>,
    past: Arc<Past>,
    known: Mutex<Memory>,
    messages: broadcast::Sender<Arc<str>>,
    /// The objectives as Prometheus last told them.
    scraped: SyncMutex<Option<Vec<SloLine>>>,
}

#[derive(Default)]
struct Memory {
    fleet: Fleet,
    stores: HashMap<&'static str, (bool, Timestamp)>,
    slow: Option<(Instant, Slow)>,
    engine: Option<EngineStatus>,
    circuit: Option<EngineCircuit>,
    answer: Option<(Instant, Arc<str>)>,
}

/// What changes slowly.
#[derive(Clone, Default)]
struct Slow {
    values: Dynamic,
    rates: Summary,
    busy_rules: Vec<BusyRule>,
    over: OverThreshold,
    slo: Vec<SloLine>,
}

impl Hub {
    /// Begins to look. Ends when nobody holds it any more.
    pub fn start(
        engine: Arc<dyn Engine>,
        base: Dynamic,
        version: &'static str,
        prometheus: Option<Arc<Prometheus>>,
        past: Arc<Past>,
    ) -> Arc<Self> {
        let hub = Arc::new(Self {
            engine,
            base,
            version,
            prometheus,
            past,
            known: Mutex::default(),
            // A slow reader loses messages; the next one says everything anew.
            messages: broadcast::channel(4).0,
            scraped: SyncMutex::new(None),
        });
        tokio::spawn(tick(Arc::downgrade(&hub)));
        if hub.prometheus.is_some() {
            tokio::spawn(ask_prometheus(Arc::downgrade(&hub)));
        }
        hub
    }

    /// The status now, as JSON.
    pub async fn text(&self) -> Arc<str> {
        // Who comes meanwhile waits for the same answer.
        let mut memory = self.known.lock().await;
        if let Some((made, text)) = &memory.answer
            && made.elapsed() < FRESH
        {
            return Arc::clone(text);
        }
        let status = self.look(&mut memory).await;
        let text: Arc<str> = serde_json::to_string(&status).unwrap_or_default().into();
        memory.answer = Some((Instant::now(), Arc::clone(&text)));
        text
    }

    /// The status now, and every later one.
    pub async fn watch(&self) -> (Arc<str>, broadcast::Receiver<Arc<str>>) {
        let later = self.messages.subscribe();
        (self.text().await, later)
    }

    /// Looks without an answer for anybody: rates and depths go on.
    async fn glance(&self) {
        let mut memory = self.known.lock().await;
        let (status, reports) =
            tokio::join!(within(self.engine.status()), within(self.engine.reports()));
        if let Ok(reports) = reports {
            memory.fleet.look(reports, Timestamp::now());
        }
        if let Ok(status) = status {
            self.past.sample(Timestamp::now(), &status.queues);
        }
    }

    async fn look(&self, memory: &mut Memory) -> Status {
        let (status, reports, circuit, stores) = tokio::join!(
            within(self.engine.status()),
            within(self.engine.reports()),
            within(self.engine.circuit(SINK.0)),
            self.engine.stores(),
        );
        if memory
            .slow
            .as_ref()
            .is_none_or(|(made, _)| made.elapsed() >= SLOW)
        {
            let last = memory.slow.take().map(|(_, slow)| slow);
            let slow = self.slow(last.unwrap_or_default()).await;
            memory.slow = Some((Instant::now(), slow));
        }
        let slow = memory
            .slow
            .as_ref()
            .map(|(_, slow)| slow.clone())
            .unwrap_or_default();
        let limit = rate_limit(&slow.values);
        let period = Duration::from_secs_f64(limit.period_seconds);
        let used = within(self.engine.permits_used(SINK.1, period)).await;

        let now = Timestamp::now();
        let error = status.as_ref().err().map(ToString::to_string);
        if let Ok(reports) = reports {
            memory.fleet.look(reports, now);
        }
        memory.circuit = circuit.ok().or(memory.circuit);
        memory.engine = status.ok().or_else(|| memory.engine.take());
        let seen = Seen {
            now,
            error,
            rate_limit: RateLimit {
                used: used.unwrap_or(0),
                ..limit
            },
            stores: note_stores(&mut memory.stores, stores, now),
            engine: memory.engine.as_ref(),
            circuit: memory.circuit,
            fleet: &memory.fleet,
            slow,
        };
        self.put_together(seen)
    }

    /// What changes slowly; where the store is away, as it was.
    async fn slow(&self, last: Slow) -> Slow {
        let values = within(self.engine.config_overrides()).await.map(|stored| {
            let stored = stored.iter();
            self.base
                .with(stored.map(|(key, value)| (&**key, &**value)))
        });
        let values = values.unwrap_or_else(|_| {
            if last.slo.is_empty() {
                self.base.clone()
            } else {
                last.values.clone()
            }
        });
        let (rates, busy_rules, over, slo) = tokio::join!(
            within(rates::summary(&*self.engine)),
            within(busy_rules(&*self.engine)),
            within(over_threshold(&*self.engine, &values)),
            within(self.objectives(&values)),
        );
        Slow {
            values,
            rates: rates.unwrap_or(last.rates),
            busy_rules: busy_rules.unwrap_or(last.busy_rules),
            over: over.unwrap_or(last.over),
            slo: slo.unwrap_or(last.slo),
        }
    }

    async fn objectives(&self, values: &Dynamic) -> Result<Vec<SloLine>, EngineError> {
        if let Some(lines) = self.scraped.lock().clone() {
            return Ok(lines);
        }
        let targets = Targets::of(values);
        let mut lines = Vec::new();
        for component in Component::ALL {
            let series = slo::own(&*self.engine, component, targets.longest_minutes()).await?;
            lines.push(slo::line(component, &series, &targets));
        }
        Ok(lines)
    }

    fn put_together(&self, seen: Seen<'_>) -> Status {
        let Seen { now, slow, .. } = seen;
        let members = seen.fleet.members();
        let status = seen.engine;
        let queues: Vec<_> = status.map_or_else(Vec::new, |status| {
            status
                .queues
                .iter()
                .map(|queue| queue_view(queue, now))
                .collect()
        });
        let workers: Vec<_> = status.map_or_else(Vec::new, |status| {
            status
                .workers
                .iter()
                .map(|worker| Worker {
                    kind: worker.kind,
                    pod: worker.pod.clone(),
                    seen_at: worker.seen_at,
                    held: worker.held,
                })
                .collect()
        });
        let pods: Vec<_> = members
            .iter()
            .map(|member| pod(member, &workers, now))
            .collect();
        let roles = ROLES.map(|role| Role {
            role,
            pods: members
                .iter()
                .filter(|member| member.reported.report.roles.iter().any(|one| one == role))
                .count(),
        });
        let circuit = circuit(seen.circuit, members, &slow.values);
        let shed = shed(&slow.values);
        let speed = seen.fleet.speed();
        let floods: Vec<_> = seen.fleet.floods(BUSY).into_iter().map(flood).collect();
        let attention = attention::attention(&Known {
            now,
            stores: &seen.stores,
            queues: &queues,
            circuit: &circuit,
            shed: &shed,
            roles: &roles,
            pods: &pods,
            slo: &slow.slo,
            unhandled: &slow.over,
            floods: &floods,
            losing: LOSING
                .into_iter()
                .filter_map(|reason| Some((reason, *speed.dropped.get(reason)?)))
                .filter(|(_, speed)| *speed > 0.0)
                .collect(),
        });
        let problems = attention
            .iter()
            .filter(|item| {
                item.severity == Severity::Critical
                    || matches!(
                        item.code,
                        "rule_skipped" | "pod_problem" | "no_sink" | "circuit_half_open"
                    )
            })
            .map(|item| match item.code {
                "no_sink" => item.detail.clone(),
                _ => item.title.clone(),
            })
            .collect();
        let totals = seen.fleet.totals();
        Status {
            version: self.version,
            engine: status.map_or_else(
                || "unknown: the store is away".to_owned(),
                |status| status.engine.clone(),
            ),
            at: now,
            complete: seen.error.is_none(),
            error: seen.error,
            attention,
            road: road(&speed),
            queues,
            workers,
            pods,
            roles: roles.to_vec(),
            stores: seen.stores,
            circuit,
            rate_limit: seen.rate_limit,
            shed,
            rates: slow.rates,
            totals: Totals {
                received: totals.received(),
                decided: totals.decided(),
                unhandled: totals.unhandled,
                delivered: totals.delivered,
                failed: totals.failed,
            },
            slo: slow.slo,
            busy_rules: slow.busy_rules,
            busy_hosts: seen
                .fleet
                .busy_hosts(BUSY)
                .into_iter()
                .map(|(hostname, events_1h)| BusyHost {
                    hostname,
                    events_1h,
                })
                .collect(),
            floods,
            problems,
        }
    }
}

/// What one look saw.
struct Seen<'a> {
    now: Timestamp,
    error: Option<String>,
    rate_limit: RateLimit,
    stores: Vec<Store>,
    engine: Option<&'a EngineStatus>,
    circuit: Option<EngineCircuit>,
    fleet: &'a Fleet,
    slow: Slow,
}

/// One message a second while anybody watches; else a glance every ten seconds.
async fn tick(hub: Weak<Hub>) {
    let mut every = tokio::time::interval(TICK);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut glanced: Option<Instant> = None;
    loop {
        every.tick().await;
        let Some(hub) = hub.upgrade() else { return };
        let is_due = glanced.is_none_or(|glanced| glanced.elapsed() >= SAMPLED);
        if is_due {
            glanced = Some(Instant::now());
            hub.glance().await;
        }
        if hub.messages.receiver_count() > 0 {
            // Nobody is left by now, perhaps.
            let _ = hub.messages.send(hub.text().await);
        }
    }
}

/// Keeps the objectives of the overview as Prometheus tells them: it may take its time, and the status
/// must not.
async fn ask_prometheus(hub: Weak<Hub>) {
    let mut every = tokio::time::interval(SLOW * 3);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let Some(hub) = hub.upgrade() else { return };
        let Some(prometheus) = &hub.prometheus else {
            return;
        };
        let Ok(stored) = within(hub.engine.config_overrides()).await else {
            continue;
        };
        let stored = stored.iter();
        let values = hub.base.with(stored.map(|(key, value)| (&**key, &**value)));
        let targets = Targets::of(&values);
        let series = prometheus.series(targets.longest_minutes()).await.ok();
        *hub.scraped.lock() = series.map(|series| {
            Component::ALL
                .map(|component| slo::line(component, series.of(component), &targets))
                .to_vec()
        });
    }
}

/// No look takes longer than it may.
async fn within<T>(
    looking: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    match tokio::time::timeout(LOOK, looking).await {
        Ok(seen) => seen,
        Err(_) => Err(EngineError::Unavailable(format!(
            "no answer within {} s",
            LOOK.as_secs()
        ))),
    }
}

/// The rules with the most hits within the hour.
async fn busy_rules(engine: &dyn Engine) -> Result<Vec<BusyRule>, EngineError> {
    let hits = engine.rule_hits().await?;
    let mut rules: Vec<_> = engine
        .rules()
        .await?
        .into_iter()
        .filter_map(|rule| Some((hits.get(&rule.id)?[0], rule)))
        .filter(|(hits, _)| *hits > 0)
        .collect();
    rules.sort_by_key(|(hits, rule)| (std::cmp::Reverse(*hits), rule.id));
    rules.truncate(BUSY);
    Ok(rules
        .into_iter()
        .map(|(hits_1h, rule)| BusyRule {
            id: rule.id,
            looks_for: rule
                .draft
                .match_string
                .or(rule.draft.trap_oid)
                .unwrap_or_default(),
            hits_1h,
        })
        .collect())
}

async fn over_threshold(
    engine: &dyn Engine,
    values: &Dynamic,
) -> Result<OverThreshold, EngineError> {
    let threshold = values.integer("unhandled_event_threshold");
    let signatures = engine.unhandled(SIGNATURES).await?;
    let over = signatures
        .iter()
        .filter(|signature| signature.count >= threshold);
    Ok(OverThreshold {
        signatures: over.count(),
        threshold,
        top: signatures
            .first()
            .map(|signature| (signature.count, signature.masked.clone())),
    })
}

/// Since when each store is as it is.
fn note_stores(
    known: &mut HashMap<&'static str, (bool, Timestamp)>,
    stores: Vec<StoreStatus>,
    now: Timestamp,
) -> Vec<Store> {
    stores
        .into_iter()
        .map(|store| {
            let up = store.error.is_none();
            let state = known.entry(store.name).or_insert((up, now));
            if state.0 != up {
                *state = (up, now);
            }
            Store {
                name: store.name,
                up,
                since: state.1,
                latency_seconds: store.latency.as_secs_f64(),
                error: store.error,
            }
        })
        .collect()
}

fn age(at: Timestamp, now: Timestamp) -> f64 {
    now.duration_since(at).as_secs_f64().max(0.0)
}

fn queue_view(queue: &QueueStatus, now: Timestamp) -> Queue {
    Queue {
        name: queue.name.clone(),
        depth: queue.depth,
        claimed: queue.claimed,
        oldest: queue.oldest,
        oldest_age_seconds: queue.oldest.map(|oldest| age(oldest, now)),
    }
}

fn pod(member: &Member, workers: &[Worker], now: Timestamp) -> Pod {
    let Reported { report, age, .. } = &member.reported;
    let has = |role: &str| report.roles.iter().any(|one| one == role);
    let speed = &member.speed;
    let per_second = if has("ingestor") {
        received(speed)
    } else if has("alerter") {
        decided(speed)
    } else {
        speed.of("delivered")
    };
    let age_seconds = age.as_secs_f64();
    Pod {
        pod: report.pod.clone(),
        roles: report.roles.clone(),
        version: report.version.clone(),
        pid: report.pid,
        started_at: report.started_at,
        seen_at: SignedDuration::try_from(*age)
            .ok()
            .and_then(|age| now.checked_sub(age).ok())
            .unwrap_or(now),
        heartbeat_age_seconds: age_seconds,
        clock_offset_seconds: member.clock_offset,
        held: workers
            .iter()
            .filter(|worker| worker.pod == report.pod)
            .map(|worker| worker.held)
            .sum(),
        cpu_percent: rounded(speed.cpu * 100.0),
        memory_bytes: report.memory_bytes,
        per_second: rounded(per_second),
        spooled_events: report.spooled,
        problems: report
            .problems
            .iter()
            .map(|problem| PodProblem {
                code: problem.code.clone(),
                text: problem.text.clone(),
            })
            .collect(),
        listeners: report
            .listeners
            .iter()
            .map(|listener| Listener {
                listener: listener.listener.clone(),
                address: listener.address.clone(),
                received: listener.received,
                accepted: listener.accepted,
                deduplicated: listener.deduplicated,
                connections: listener.connections,
                last_received_at: listener.last_received,
                dropped: listener.dropped.clone(),
            })
            .collect(),
    }
}

fn flood((pod, flood): (&str, &FloodReport)) -> Flood {
    Flood {
        pod: pod.to_owned(),
        address: flood.address.clone(),
        hostname: flood.hostname.clone(),
        listener: flood.listener.clone(),
        since: flood.since,
        kept_per_second: rounded(flood.kept_per_second),
        dropped_per_second: rounded(flood.dropped_per_second),
        kept: flood.kept,
        dropped: flood.dropped,
    }
}

fn circuit(known: Option<EngineCircuit>, members: &[Member], values: &Dynamic) -> Circuit {
    let circuit = known.unwrap_or(EngineCircuit {
        state: CircuitState::Closed,
        failures: 0,
        opened_at: None,
    });
    let sinks: Vec<_> = members
        .iter()
        .filter_map(|member| member.reported.report.sink.as_ref())
        .collect();
    let last = sinks
        .iter()
        .filter(|sink| sink.last_failure_at.is_some())
        .max_by_key(|sink| sink.last_failure_at);
    let timeout = i64::try_from(values.integer("circuit_breaker_timeout")).unwrap_or(i64::MAX);
    let probe = |at: Timestamp| at.checked_add(SignedDuration::from_secs(timeout)).ok();
    Circuit {
        state: circuit.state,
        failures: circuit.failures,
        opened_at: circuit.opened_at,
        why: last.and_then(|sink| sink.last_failure.clone()),
        next_probe_at: match circuit.state {
            CircuitState::Open => circuit.opened_at.and_then(probe),
            CircuitState::Closed | CircuitState::HalfOpen => None,
        },
        sink_configured: (!sinks.is_empty()).then(|| sinks.iter().any(|sink| sink.configured)),
        last_delivery_at: sinks.iter().filter_map(|sink| sink.last_delivery).max(),
    }
}

fn rate_limit(values: &Dynamic) -> RateLimit {
    RateLimit {
        used: 0,
        limit: values.integer("moog_rate_limit"),
        period_seconds: values.number("moog_rate_period"),
    }
}

fn shed(values: &Dynamic) -> Shed {
    Shed {
        mode: values.text("alerter_shed_mode").to_owned(),
        threshold: values.integer("alerter_queue_shed_threshold"),
        warn_threshold: values.integer("alerter_queue_warn_threshold"),
        ingest_limit: values.integer("max_ingest_queue_size"),
    }
}

fn received(speed: &Speed) -> f64 {
    speed.of("received_http") + speed.of("received_syslog") + speed.of("received_snmp")
}

fn decided(speed: &Speed) -> f64 {
    speed.of("handled") + speed.of("unhandled") + speed.of("undecided")
}

fn road(speed: &Speed) -> Road {
    let of = |name| rounded(speed.of(name));
    Road {
        received: Received {
            per_second: rounded(received(speed)),
            by_source: [
                ("http", of("received_http")),
                ("snmp", of("received_snmp")),
                ("syslog", of("received_syslog")),
            ]
            .into(),
        },
        decided: Decided {
            per_second: rounded(decided(speed)),
            handled: of("handled"),
            unhandled: of("unhandled"),
            failed: of("undecided"),
        },
        delivered: Delivered {
            per_second: of("delivered"),
            failed: of("failed"),
        },
        dropped: Dropped {
            per_second: of("dropped"),
            by_reason: speed
                .dropped
                .iter()
                .map(|(reason, speed)| (reason.clone(), rounded(*speed)))
                .collect(),
        },
        window_seconds: rounded(speed.seconds),
    }
}
