//! Long work that somebody ordered: what is done, what is left, who ordered it, and a way to stop.
//!
//! A job lives in the process that took the order and ends with it; what it did until then is done
//! and audited, and the rest still lies where it lay. The last ones are remembered.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use mutt_engine::{Change, DeadLetterFilter, Dlq, Engine};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::{Interval, MissedTickBehavior};
use utoipa::ToSchema;

use crate::Api;
use crate::error::{ApiError, Result};
use crate::request::{InPath, Operator, Viewer};

/// Jobs that are remembered.
const REMEMBERED: usize = 200;
/// Jobs that run at once.
const RUNNING_MAX: usize = 8;
/// Entries that are moved in one step.
const STEP: usize = 500;

/// What a job does to each entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Sends it back.
    Replay,
    /// Throws it away.
    Discard,
}

/// How a job replays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Back to where it failed: the same payload, the same `external_id`.
    #[default]
    Delivery,
    /// The event is decided anew by today's rules.
    Redecide,
}

/// Entries that are meant.
#[derive(Clone, Debug)]
pub struct Selected {
    /// By ids, or by what they are and that they failed before the job was ordered.
    pub filter: DeadLetterFilter,
    /// As it is shown.
    pub shown: Value,
}

/// A job to be done.
#[derive(Debug)]
pub struct Order {
    pub action: Action,
    /// How it replays.
    pub mode: Option<Mode>,
    pub queue: Dlq,
    pub selected: Selected,
    /// Entries that are meant.
    pub total: u64,
    /// Entries per second.
    pub rate: Option<u32>,
    pub by: Change,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Phase {
    Running,
    Done,
    Aborted,
    Failed,
}

#[derive(Debug)]
struct Job {
    id: String,
    order: Order,
    began_at: Timestamp,
    seen: AtomicU64,
    moved: AtomicU64,
    stop: AtomicBool,
    end: Mutex<(Phase, Option<Timestamp>, Option<String>)>,
}

/// A job.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobView {
    pub id: String,
    action: Action,
    /// How it replays.
    mode: Option<Mode>,
    /// The dead letter queue.
    queue: &'static str,
    /// `running`, `done`, `aborted` or `failed`.
    state: Phase,
    /// Entries that were meant when it was ordered.
    total: u64,
    /// Entries it has come to.
    processed: u64,
    /// Entries it moved.
    moved: u64,
    /// Entries it came to and did not move: gone already, or without an event to decide anew.
    left: u64,
    /// Entries per second at most; null is as fast as it goes.
    rate: Option<u32>,
    /// `{"all": true}`, or `ids` (how many were named), or `filter`; both where only those of the ids
    /// are meant that the filter chooses.
    #[schema(value_type = Object)]
    selection: Value,
    /// Who ordered it.
    by: String,
    reason: Option<String>,
    correlation_id: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    began_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    /// Why it failed.
    error: Option<String>,
}

impl Job {
    fn view(&self) -> JobView {
        let (state, ended_at, error) = self.end.lock().clone();
        let order = &self.order;
        let moved = self.moved.load(Ordering::Relaxed);
        let processed = self.seen.load(Ordering::Relaxed);
        JobView {
            id: self.id.clone(),
            action: order.action,
            mode: order.mode,
            queue: order.queue.name(),
            state,
            total: order.total,
            processed,
            moved,
            left: processed.saturating_sub(moved),
            rate: order.rate,
            selection: order.selected.shown.clone(),
            by: order.by.by.clone(),
            reason: order.by.reason.clone(),
            correlation_id: order.by.correlation_id.clone(),
            began_at: self.began_at,
            ended_at,
            error,
        }
    }

    fn is_running(&self) -> bool {
        self.end.lock().0 == Phase::Running
    }

    /// Does the work and notes how it ended, whatever way that is.
    async fn run(&self, work: impl Future<Output = mutt_engine::Result<Phase>>) {
        let unnoted = Unnoted(self);
        let (phase, error) = match work.await {
            Ok(phase) => (phase, None),
            Err(error) => (Phase::Failed, Some(error.to_string())),
        };
        unnoted.0.ends(phase, error);
    }

    fn ends(&self, phase: Phase, error: Option<String>) {
        *self.end.lock() = (phase, Some(Timestamp::now()), error);
    }

    async fn steps(
        &self,
        engine: &dyn Engine,
        filter: DeadLetterFilter,
    ) -> mutt_engine::Result<Phase> {
        let Order {
            queue, rate, total, ..
        } = &self.order;
        let step = rate.map_or(STEP, |rate| (rate as usize).clamp(1, STEP));
        let mut pace = rate.map(|rate| pace(step, rate));
        // Entries that were come to and still lie there.
        let mut staying = 0;
        let mut given = filter.ids.as_ref().map(|ids| ids.chunks(step));
        loop {
            if let Some(pace) = &mut pace {
                pace.tick().await;
            }
            if self.stop.load(Ordering::Relaxed) {
                return Ok(Phase::Aborted);
            }
            let ids = match &mut given {
                Some(given) => given.next().map(<[String]>::to_vec).unwrap_or_default(),
                // The oldest first: what comes in meanwhile stands behind what is meant.
                None if self.seen.load(Ordering::Relaxed) < *total => {
                    engine
                        .dead_letter_ids(*queue, &filter, staying, step)
                        .await?
                }
                None => Vec::new(),
            };
            if ids.is_empty() {
                return Ok(Phase::Done);
            }
            let count = ids.len() as u64;
            let these = DeadLetterFilter {
                ids: Some(ids),
                ..filter.clone()
            };
            let moved = self.act(engine, &these).await?;
            if moved < count && given.is_none() {
                let left = engine.dead_letter_ids(*queue, &these, 0, step).await?;
                staying += left.len() as u64;
            }
            self.moved.fetch_add(moved, Ordering::Relaxed);
            self.seen.fetch_add(count, Ordering::Relaxed);
        }
    }

    async fn act(&self, engine: &dyn Engine, these: &DeadLetterFilter) -> mutt_engine::Result<u64> {
        let Order {
            action,
            mode,
            queue,
            by,
            ..
        } = &self.order;
        match (action, mode) {
            (Action::Replay, Some(Mode::Redecide)) => engine.redecide(*queue, these, by).await,
            (Action::Replay, _) => engine.replay(*queue, these, by).await,
            (Action::Discard, _) => engine.discard(*queue, these, by).await,
        }
    }
}

/// A job whose end is not noted yet: one that is dropped like this (the work panicked, the process
/// ends) has failed.
struct Unnoted<'a>(&'a Job);

impl Drop for Unnoted<'_> {
    fn drop(&mut self) {
        if self.0.is_running() {
            let error = "it broke off; what it did stays done, and the log says why";
            self.0.ends(Phase::Failed, Some(error.to_owned()));
        }
    }
}

/// A tick for each `step` entries at `rate` per second. One that comes late delays the next ones: a
/// sink that is to get so many a second gets no burst after a stall.
fn pace(step: usize, rate: u32) -> Interval {
    let each = Duration::from_secs_f64(step as f64 / f64::from(rate.max(1)));
    let mut pace = tokio::time::interval(each);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}

/// The jobs of this process.
#[derive(Clone, Debug, Default)]
pub struct Jobs {
    jobs: Arc<Mutex<VecDeque<Arc<Job>>>>,
}

impl Jobs {
    /// Begins a job.
    ///
    /// # Errors
    /// Too many run already.
    pub fn begin(&self, engine: Arc<dyn Engine>, mut order: Order) -> Result<JobView> {
        // It may hold many ids, which nobody needs when the job has ended.
        let filter = std::mem::take(&mut order.selected.filter);
        let job = self.remember(order)?;
        let view = job.view();
        tokio::spawn(async move { job.run(job.steps(&*engine, filter)).await });
        Ok(view)
    }

    /// A new job, in the place of the oldest that has ended.
    fn remember(&self, order: Order) -> Result<Arc<Job>> {
        let job = Arc::new(Job {
            id: uuid::Uuid::now_v7().to_string(),
            order,
            began_at: Timestamp::now(),
            seen: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            end: Mutex::new((Phase::Running, None, None)),
        });
        let mut jobs = self.jobs.lock();
        if jobs.iter().filter(|job| job.is_running()).count() >= RUNNING_MAX {
            return Err(ApiError::new(
                StatusCode::TOO_MANY_REQUESTS,
                format!("{RUNNING_MAX} jobs run already; wait for one or abort it"),
            )
            .retry_after(5));
        }
        if jobs.len() >= REMEMBERED
            && let Some(oldest) = jobs.iter().rposition(|job| !job.is_running())
        {
            jobs.remove(oldest);
        }
        jobs.push_front(job.clone());
        Ok(job)
    }

    fn find(&self, id: &str) -> Result<Arc<Job>> {
        self.jobs
            .lock()
            .iter()
            .find(|job| job.id == id)
            .cloned()
            .ok_or_else(|| {
                ApiError::not_found(format!(
                    "there is no job '{id}' in this process; the last {REMEMBERED} are remembered \
                     until it ends"
                ))
            })
    }
}

/// The jobs.
#[derive(Serialize, ToSchema)]
pub struct JobList {
    /// The newest first.
    jobs: Vec<JobView>,
}

/// List the jobs
///
/// Those of the process that answers, since it started.
#[utoipa::path(get, path = "/jobs", tag = "Jobs",
    responses((status = 200, body = JobList)))]
pub async fn list(State(api): State<Api>, _: Viewer) -> Json<JobList> {
    let jobs = api.jobs.jobs.lock().iter().map(|job| job.view()).collect();
    Json(JobList { jobs })
}

/// Show a job
#[utoipa::path(get, path = "/jobs/{id}", tag = "Jobs",
    params(("id" = String, Path, description = "The job's id")),
    responses((status = 200, body = JobView), (status = 404, description = "There is none")))]
pub async fn show(
    State(api): State<Api>,
    _: Viewer,
    InPath(id): InPath<String>,
) -> Result<Json<JobView>> {
    Ok(Json(api.jobs.find(&id)?.view()))
}

/// Abort a job
///
/// It ends after the step it is at; what it did stays done.
#[utoipa::path(post, path = "/jobs/{id}/abort", tag = "Jobs",
    params(("id" = String, Path, description = "The job's id")),
    responses((status = 202, body = JobView), (status = 404, description = "There is none"),
        (status = 409, description = "It has ended")))]
pub async fn abort(
    State(api): State<Api>,
    _: Operator,
    InPath(id): InPath<String>,
) -> Result<(StatusCode, Json<JobView>)> {
    let job = api.jobs.find(&id)?;
    if !job.is_running() {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            format!("job '{id}' has ended"),
        ));
    }
    job.stop.store(true, Ordering::Relaxed);
    Ok((StatusCode::ACCEPTED, Json(job.view())))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn order() -> Order {
        Order {
            action: Action::Discard,
            mode: None,
            queue: Dlq::Moog,
            selected: Selected {
                filter: DeadLetterFilter::default(),
                shown: Value::Null,
            },
            total: 1,
            rate: None,
            by: Change {
                by: "ops".to_owned(),
                reason: Some("r".to_owned()),
                correlation_id: None,
            },
        }
    }

    #[test]
    fn a_job_is_remembered_at_least_until_it_ends() {
        let jobs = Jobs::default();
        let running = jobs.remember(order()).unwrap();
        let first_ended = jobs.remember(order()).unwrap();
        first_ended.ends(Phase::Done, None);
        for _ in 0..REMEMBERED {
            jobs.remember(order()).unwrap().ends(Phase::Done, None);
        }
        assert!(jobs.find(&running.id).is_ok());
        assert!(jobs.find(&first_ended.id).is_err());
        assert_eq!(jobs.jobs.lock().len(), REMEMBERED);
    }

    #[tokio::test]
    async fn a_job_that_panics_has_failed() {
        let job = Jobs::default().remember(order()).unwrap();
        let broken = job.clone();
        let run = tokio::spawn(async move { broken.run(async { panic!("a test's own") }).await });
        assert!(run.await.is_err());
        let view = job.view();
        assert_eq!(view.state, Phase::Failed);
        assert!(view.error.is_some() && view.ended_at.is_some());
    }

    #[tokio::test]
    async fn a_stall_is_not_made_up_for() {
        let mut pace = pace(1, 20);
        pace.tick().await;
        // Longer than several ticks.
        std::thread::sleep(Duration::from_millis(300));
        let stalled = Instant::now();
        for _ in 0..3 {
            pace.tick().await;
        }
        // The first is overdue; the others keep their distance.
        assert!(stalled.elapsed() >= Duration::from_millis(95));
    }
}
