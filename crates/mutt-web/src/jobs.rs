//! Long work that somebody ordered: what is done, what is left, who ordered it, and a way to stop.
//!
//! A job runs in the process that took the order and ends with it; what it did until then is done
//! and audited, and the rest still lies where it lay. It says every second how it stands, so that every
//! process shows it and can stop it; one that fell silent is shown as interrupted.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use mutt_engine::{Change, DeadLetterFilter, Dlq, Engine, SavedJob};
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
/// How often a job says how it stands.
const SAVED: Duration = Duration::from_secs(1);
/// A job that said nothing for so long went down with its process.
const SILENT: Duration = Duration::from_secs(15);
/// How often it is tried to say that a job has ended.
const END_TRIES: u32 = 60;

/// What a job does to each entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Phase {
    Running,
    Done,
    Aborted,
    Failed,
    /// Its process ended before it did.
    Interrupted,
}

#[derive(Debug)]
struct Job {
    id: String,
    pod: String,
    order: Order,
    began_at: Timestamp,
    seen: AtomicU64,
    moved: AtomicU64,
    stop: AtomicBool,
    end: Mutex<(Phase, Option<Timestamp>, Option<String>)>,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobView {
    pub id: String,
    action: Action,
    /// How it replays.
    mode: Option<Mode>,
    /// The dead letter queue.
    queue: String,
    /// `running`, `done`, `aborted`, `failed`, or `interrupted` where its process ended before it did.
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
    /// The pod that does it.
    pod: String,
}

impl JobView {
    /// What a saved job says; `None` where another version of MUTT saved it in a form of its own.
    fn read(saved: &SavedJob) -> Option<Self> {
        let mut view: Self = serde_json::from_str(&saved.says).ok()?;
        if view.state == Phase::Running && saved.age > SILENT {
            view.state = Phase::Interrupted;
            let text = "its process ended; what it did stays done, the rest lies where it lay";
            view.error = Some(text.to_owned());
        }
        Some(view)
    }
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
            queue: order.queue.name().to_owned(),
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
            pod: self.pod.clone(),
        }
    }

    /// Says how it stands; hears whether it is to stop.
    async fn save(&self, engine: &dyn Engine) -> mutt_engine::Result<()> {
        let view = self.view();
        let ended = view.state != Phase::Running;
        let says = serde_json::to_string(&view).unwrap_or_default();
        if engine.save_job(&self.id, &says, ended).await? {
            self.stop.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Says how it stands until its work is over, and then how it ended.
    async fn keep_saved(&self, engine: &dyn Engine, mut work: tokio::task::JoinHandle<()>) {
        let mut each = tokio::time::interval(SAVED);
        each.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = &mut work => break,
                _ = each.tick() => {
                    if let Err(error) = self.save(engine).await {
                        tracing::debug!(%error, job = self.id, "how a job stands could not be saved");
                    }
                }
            }
        }
        for _ in 0..END_TRIES {
            match self.save(engine).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(%error, job = self.id, "the end of a job is not saved yet");
                }
            }
            tokio::time::sleep(SAVED).await;
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

/// The jobs of this process, and the way to those of others.
#[derive(Clone, Debug)]
pub struct Jobs {
    pod: String,
    jobs: Arc<Mutex<VecDeque<Arc<Job>>>>,
}

impl Jobs {
    /// None yet, in this pod.
    pub fn new(pod: String) -> Self {
        Self {
            pod,
            jobs: Arc::default(),
        }
    }

    /// Begins a job.
    ///
    /// # Errors
    /// Too many run already, or the engine is away.
    pub async fn begin(&self, engine: Arc<dyn Engine>, mut order: Order) -> Result<JobView> {
        // It may hold many ids, which nobody needs when the job has ended.
        let filter = std::mem::take(&mut order.selected.filter);
        let job = self.remember(order)?;
        // From now on every process knows it.
        if let Err(error) = job.save(&*engine).await {
            job.ends(Phase::Failed, Some(error.to_string()));
            return Err(error.into());
        }
        let view = job.view();
        let (working, doing) = (job.clone(), engine.clone());
        let work = tokio::spawn(async move {
            working.run(working.steps(&*doing, filter)).await;
        });
        tokio::spawn(async move { job.keep_saved(&*engine, work).await });
        Ok(view)
    }

    /// The jobs of every process, the newest first: those of this one as they stand now.
    async fn all(&self, engine: &dyn Engine) -> Result<Vec<JobView>> {
        let saved = engine.saved_jobs().await?;
        let own: HashMap<String, JobView> = {
            let jobs = self.jobs.lock();
            jobs.iter()
                .map(|job| (job.id.clone(), job.view()))
                .collect()
        };
        let mut all: Vec<JobView> = saved
            .iter()
            .filter(|saved| !own.contains_key(&saved.id))
            .filter_map(JobView::read)
            .chain(own.values().cloned())
            .collect();
        all.sort_unstable_by(|one, other| other.id.cmp(&one.id));
        all.truncate(REMEMBERED);
        Ok(all)
    }

    /// The job with this id, of whatever process.
    async fn find(&self, engine: &dyn Engine, id: &str) -> Result<JobView> {
        if let Some(job) = self.own(id) {
            return Ok(job.view());
        }
        let all = self.all(engine).await?;
        all.into_iter().find(|job| job.id == id).ok_or_else(|| {
            ApiError::not_found(format!(
                "there is no job '{id}'; the last {REMEMBERED} that ended are remembered"
            ))
        })
    }

    fn own(&self, id: &str) -> Option<Arc<Job>> {
        self.jobs.lock().iter().find(|job| job.id == id).cloned()
    }

    /// A new job, in the place of the oldest that has ended.
    fn remember(&self, order: Order) -> Result<Arc<Job>> {
        let job = Arc::new(Job {
            id: uuid::Uuid::now_v7().to_string(),
            pod: self.pod.clone(),
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
}

/// The jobs.
#[derive(Serialize, ToSchema)]
pub struct JobList {
    /// The newest first.
    jobs: Vec<JobView>,
}

/// List the jobs
///
/// Those of every process; the last 200 that ended are remembered.
#[utoipa::path(get, path = "/jobs", tag = "Jobs",
    responses((status = 200, body = JobList)))]
pub async fn list(State(api): State<Api>, _: Viewer) -> Result<Json<JobList>> {
    let jobs = api.jobs.all(&*api.engine).await?;
    Ok(Json(JobList { jobs }))
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
    Ok(Json(api.jobs.find(&*api.engine, &id).await?))
}

/// Abort a job
///
/// It ends after the step it is at, in whatever process it runs; what it did stays done.
#[utoipa::path(post, path = "/jobs/{id}/abort", tag = "Jobs",
    params(("id" = String, Path, description = "The job's id")),
    responses((status = 202, body = JobView), (status = 404, description = "There is none"),
        (status = 409, description = "It has ended")))]
pub async fn abort(
    State(api): State<Api>,
    _: Operator,
    InPath(id): InPath<String>,
) -> Result<(StatusCode, Json<JobView>)> {
    let job = api.jobs.find(&*api.engine, &id).await?;
    if job.state != Phase::Running {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            format!("job '{id}' has ended"),
        ));
    }
    if let Some(own) = api.jobs.own(&id) {
        own.stop.store(true, Ordering::Relaxed);
    }
    api.engine.stop_job(&id).await?;
    Ok((StatusCode::ACCEPTED, Json(job)))
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
        let jobs = Jobs::new("east-1".to_owned());
        let running = jobs.remember(order()).unwrap();
        let first_ended = jobs.remember(order()).unwrap();
        first_ended.ends(Phase::Done, None);
        for _ in 0..REMEMBERED {
            jobs.remember(order()).unwrap().ends(Phase::Done, None);
        }
        assert!(jobs.own(&running.id).is_some());
        assert!(jobs.own(&first_ended.id).is_none());
        assert_eq!(jobs.jobs.lock().len(), REMEMBERED);
    }

    #[test]
    fn a_job_that_fell_silent_is_interrupted() {
        let job = Jobs::new("east-1".to_owned()).remember(order()).unwrap();
        let saved = |says: String, age| SavedJob {
            id: job.id.clone(),
            says,
            age,
            stopping: false,
        };
        let says = || serde_json::to_string(&job.view()).unwrap();
        let read = |age| JobView::read(&saved(says(), age)).unwrap();
        assert_eq!(read(SILENT), job.view());
        let silent = read(SILENT + Duration::from_secs(1));
        assert_eq!(
            (silent.state, silent.pod.as_str()),
            (Phase::Interrupted, "east-1")
        );
        assert!(silent.error.is_some());
        job.ends(Phase::Done, None);
        assert_eq!(read(Duration::from_hours(1)), job.view());
        assert_eq!(JobView::read(&saved("{}".to_owned(), SILENT)), None);
    }

    #[tokio::test]
    async fn a_job_that_panics_has_failed() {
        let job = Jobs::new("east-1".to_owned()).remember(order()).unwrap();
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
