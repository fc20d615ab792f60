//! How it went: counts by minute as the engine keeps them, and queue depths as this process sampled
//! them, in columns for a chart; with the changes that people made meanwhile.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use mutt_engine::catalog::ConfigAuditFilter;
use mutt_engine::{ConfigAuditRow, Engine, EngineError, FlowCounts, QueueStatus};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::Api;
use crate::error::{ApiError, Result};
use crate::request::{Params, Viewer};

/// How often depths are sampled.
pub const SAMPLED: Duration = Duration::from_secs(10);
/// Samples that are kept: a week.
const SAMPLES: usize = 7 * 8_640;
/// Changes that are shown at most.
const MARKS: usize = 200;

/// The depths of the queues at one moment: ingest, alert, retry, all dead letter queues together.
const DEPTHS: [&str; 4] = ["depth_ingest", "depth_alert", "depth_retry", "depth_dlq"];

/// What a chart may span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Span {
    /// 60 points of a minute.
    Hour,
    /// 1,440 points of a minute.
    #[default]
    Day,
    /// 1,008 points of ten minutes.
    Week,
}

impl Span {
    const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Week];

    fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
        }
    }

    /// Seconds of a point, and the number of points.
    fn steps(self) -> (i64, usize) {
        match self {
            Self::Hour => (60, 60),
            Self::Day => (60, 1_440),
            Self::Week => (600, 1_008),
        }
    }

    /// How long an answer is believed.
    fn fresh(self) -> Duration {
        match self {
            Self::Hour | Self::Day => Duration::from_secs(5),
            Self::Week => Duration::from_mins(1),
        }
    }
}

/// Which span.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    /// `hour`, `day` (the default) or `week`.
    span: Option<String>,
}

/// Columns for a chart.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = StatusHistory)]
pub struct History {
    /// `hour`, `day` or `week`.
    span: &'static str,
    /// The start of the first step.
    #[schema(value_type = String, format = DateTime)]
    start: Timestamp,
    step_seconds: i64,
    /// The number of steps; the last one is running.
    points: usize,
    series: Columns,
    /// Since when this process samples depths; null before the first sample.
    #[schema(value_type = Option<String>, format = DateTime)]
    depths_since: Option<Timestamp>,
    /// The first minute within the span that has any count.
    #[schema(value_type = Option<String>, format = DateTime)]
    counted_since: Option<Timestamp>,
    /// What people changed meanwhile, oldest first; at most the last 200.
    marks: Vec<Mark>,
}

/// One value for each step. Counts are of the whole step; depths are the highest within the step, null
/// where nobody looked.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Columns {
    received: Vec<u64>,
    received_http: Vec<u64>,
    received_syslog: Vec<u64>,
    received_snmp: Vec<u64>,
    handled: Vec<u64>,
    unhandled: Vec<u64>,
    undecided: Vec<u64>,
    delivered: Vec<u64>,
    failed: Vec<u64>,
    dropped: Vec<u64>,
    depth_ingest: Vec<Option<u64>>,
    depth_alert: Vec<Option<u64>>,
    depth_retry: Vec<Option<u64>>,
    depth_dlq: Vec<Option<u64>>,
}

/// A change of rules, hosts, teams or configuration.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Mark {
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// `rule`, `host`, `team` or `config`.
    what: &'static str,
    /// In one line.
    title: String,
    who: String,
    /// The number of the change in the config audit.
    id: i64,
    /// `CREATE`, `UPDATE` or `DELETE`.
    operation: String,
    /// The changed record: its number, else its key.
    record_id: Option<String>,
    /// The page of the web UI that shows it.
    page: String,
}

/// Depths that were sampled, and charts that were made a moment ago.
#[derive(Debug, Default)]
pub struct Past {
    depths: Mutex<VecDeque<(Timestamp, [u64; DEPTHS.len()])>>,
    charts: Mutex<BTreeMap<&'static str, (Instant, Arc<History>)>>,
    /// One chart is made at a time, for everybody who waits for it.
    making: tokio::sync::Mutex<()>,
}

impl Past {
    /// Notes how much waits.
    pub fn sample(&self, now: Timestamp, queues: &[QueueStatus]) {
        let of = |name: &str| -> u64 {
            let found = queues.iter().filter(|queue| queue.name == name);
            found.map(|queue| queue.depth).sum()
        };
        let dead = queues.iter().filter(|queue| queue.name.contains(":dlq:"));
        let dead = dead.map(|queue| queue.depth).sum();
        // The first two may have names of their own.
        let named = |place: usize| queues.get(place).map_or(0, |queue| queue.depth);
        let mut depths = self.depths.lock();
        if depths.len() >= SAMPLES {
            depths.pop_front();
        }
        depths.push_back((now, [named(0), named(1), of("mutt:alert_retry"), dead]));
    }

    async fn chart(&self, engine: &dyn Engine, span: Span) -> Result<Arc<History>, EngineError> {
        let known = |charts: &BTreeMap<_, (Instant, Arc<History>)>| {
            let (made, chart) = charts.get(span.name())?;
            (made.elapsed() < span.fresh()).then(|| Arc::clone(chart))
        };
        if let Some(chart) = known(&self.charts.lock()) {
            return Ok(chart);
        }
        let _one = self.making.lock().await;
        if let Some(chart) = known(&self.charts.lock()) {
            return Ok(chart);
        }
        let chart = Arc::new(self.make(engine, span, Timestamp::now()).await?);
        let mut charts = self.charts.lock();
        charts.insert(span.name(), (Instant::now(), Arc::clone(&chart)));
        Ok(chart)
    }

    async fn make(
        &self,
        engine: &dyn Engine,
        span: Span,
        now: Timestamp,
    ) -> Result<History, EngineError> {
        let (step, points) = span.steps();
        let last = now.as_second().div_euclid(step) * step;
        let first = last - step * (i64::try_from(points).unwrap_or(0) - 1);
        let start = Timestamp::from_second(first).unwrap_or_default();
        let minutes = u32::try_from((now.as_second() - first) / 60 + 1).unwrap_or(u32::MAX);
        let counts = engine.flow(minutes).await?;
        let filter = ConfigAuditFilter {
            since: Some(start),
            limit: MARKS,
            ..ConfigAuditFilter::default()
        };
        let changes = engine.config_audit(&filter).await?;
        let place = |at: Timestamp| {
            let place = usize::try_from((at.as_second() - first).div_euclid(step)).ok()?;
            (place < points).then_some(place)
        };
        let mut steps = vec![FlowCounts::default(); points];
        let mut counted_since = None;
        for (at, counts) in &counts {
            if let Some(place) = place(*at) {
                counted_since.get_or_insert(*at);
                steps[place].add(counts);
            }
        }
        let mut depths = [const { Vec::<Option<u64>>::new() }; DEPTHS.len()];
        for column in &mut depths {
            column.resize(points, None);
        }
        let depths_since = {
            let samples = self.depths.lock();
            for (at, sample) in &*samples {
                let Some(place) = place(*at) else { continue };
                for (column, depth) in depths.iter_mut().zip(sample) {
                    column[place] = column[place].max(Some(*depth));
                }
            }
            samples.front().map(|(at, _)| *at)
        };
        let column = |of: fn(&FlowCounts) -> u64| steps.iter().map(of).collect();
        let [depth_ingest, depth_alert, depth_retry, depth_dlq] = depths;
        let mut marks: Vec<_> = changes.into_iter().filter_map(mark).collect();
        marks.reverse();
        Ok(History {
            span: span.name(),
            start,
            step_seconds: step,
            points,
            series: Columns {
                received: column(FlowCounts::received),
                received_http: column(|counts| counts.received_http),
                received_syslog: column(|counts| counts.received_syslog),
                received_snmp: column(|counts| counts.received_snmp),
                handled: column(|counts| counts.handled),
                unhandled: column(|counts| counts.unhandled),
                undecided: column(|counts| counts.undecided),
                delivered: column(|counts| counts.delivered),
                failed: column(|counts| counts.failed),
                dropped: column(|counts| counts.dropped),
                depth_ingest,
                depth_alert,
                depth_retry,
                depth_dlq,
            },
            depths_since,
            counted_since,
            marks,
        })
    }
}

/// A change that may explain a bend in a chart.
fn mark(row: ConfigAuditRow) -> Option<Mark> {
    let (what, noun) = match &*row.table_name {
        "alert_rules" => ("rule", "Rule "),
        "development_hosts" => ("host", "Development host "),
        "device_teams" => ("team", "Team of "),
        "dynamic_config" => ("config", ""),
        _ => return None,
    };
    let record_id = row.record_id.map(|id| id.to_string()).or(row.record_key);
    let done = match (&*row.operation, what) {
        (_, "config") => "changed",
        ("CREATE", _) => "added",
        ("DELETE", _) => "removed",
        _ => "changed",
    };
    let named = record_id.as_deref().unwrap_or("?");
    Some(Mark {
        at: row.changed_at,
        what,
        title: format!("{noun}{named} {done}"),
        who: row.changed_by,
        id: row.id,
        operation: row.operation,
        record_id,
        page: format!("/config-audit?id={}", row.id),
    })
}

/// Show how it went
///
/// Received, decided, delivered, failed and dropped by minute (by ten minutes over a week), queue
/// depths as the answering process sampled them every ten seconds, and what people changed meanwhile.
/// At most five seconds old, over a week one minute.
#[utoipa::path(get, path = "/status/history", tag = "Status", params(HistoryQuery),
    responses((status = 200, body = History)))]
pub async fn history(
    State(api): State<Api>,
    _: Viewer,
    Params(query): Params<HistoryQuery>,
) -> Result<Json<Arc<History>>> {
    let name = query.span.as_deref().filter(|name| !name.is_empty());
    let span = match name {
        None => Span::default(),
        Some(name) => Span::ALL
            .into_iter()
            .find(|span| span.name() == name)
            .ok_or_else(|| {
                let text = format!("'{name}' is not allowed; hour, day or week is");
                ApiError::field("span", text)
            })?,
    };
    let chart = api.past.chart(&*api.engine, span).await?;
    Ok(Json(chart))
}
