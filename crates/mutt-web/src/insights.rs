//! What can be said of rules without asking anybody: how often and when they matched, which never
//! did, which cannot decide anything because earlier ones take every event they match, and which are
//! slow.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use mutt_rules::Rule;
use parking_lot::Mutex;
use serde::Serialize;
use utoipa::ToSchema;

use crate::Api;
use crate::error::{ApiError, Result};
use crate::estimate::Figure;
use crate::findings::{OBSERVED_MIN, Taken};
use crate::judge::{decides, fingerprint};
use crate::observed::{Cost, Observer, Seen};
use crate::request::Viewer;
use crate::shadows::{Shadow, shadows};

/// How long an answer is given again while the rules stay the same.
const FRESH: Duration = Duration::from_secs(2);

/// A rule is broad beyond this share of all events, where it has enough hits to tell.
const BROAD: f64 = 0.2;
const BROAD_MIN: u64 = 100;

/// What is known of one rule.
#[derive(Clone, Serialize, ToSchema)]
pub struct Insight {
    /// The rule.
    rule_id: i64,
    /// Its version when this was said.
    version: i64,
    /// Events that it decided (in mode `observe`: matched) within the last hour.
    hits_1h: u64,
    /// The same within the last 24 hours.
    hits_24h: u64,
    /// The same within the last 30 days.
    hits_30d: u64,
    /// The first of these hits within 30 days, to the day, hour or minute.
    #[schema(value_type = Option<String>, format = DateTime)]
    first_hit: Option<Timestamp>,
    /// The last of them, to the day, hour or minute.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_hit: Option<Timestamp>,
    /// Whether it takes part and had no hit within 30 days.
    never_hit: bool,
    /// The rule that takes every event from it: proved, or observed on at least 20 sampled events.
    shadowed: Option<Shadow>,
    /// Its hits' share of everything that was accepted within 24 hours, 0 to 1; null where nothing
    /// was.
    share: Option<f64>,
    /// That share where it is more than a fifth, from 100 hits on.
    too_broad: Option<f64>,
    /// Events that it matches, whoever decides them; from the sample of the last hour.
    matched_1h: Figure,
    /// Events that it decides by today's rules; from the sample of the last hour.
    won_1h: Figure,
    /// The earlier rules that decide what it matches, the most first, at most three; from the sample
    /// of the last hour.
    lost_to: Vec<Taken>,
    /// What it costs to try it; null until it was measured on sampled events.
    cost: Option<Cost>,
}

/// The sample behind `matched_1h`, `won_1h`, `lost_to` and `cost`.
#[derive(Clone, Serialize, ToSchema)]
pub struct SampleScope {
    /// Where it begins: an hour ago, or when this process began.
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    /// Where it ends.
    #[schema(value_type = String, format = DateTime)]
    to: Timestamp,
    /// Events that were decided in that time.
    events: Figure,
    /// Events that are in the sample.
    looked_at: u64,
}

/// What is known of the rules.
#[derive(Clone, Serialize, ToSchema)]
pub struct Insights {
    /// In the order in which rules win.
    rules: Vec<Insight>,
    /// What some of it was seen on.
    sample: SampleScope,
}

/// What was found out so far, and the last answer.
#[derive(Default)]
pub struct Known {
    observer: Mutex<Observer>,
    answer: Mutex<Option<Answer>>,
}

struct Answer {
    fingerprint: u64,
    at: Instant,
    insights: Arc<Insights>,
}

impl Known {
    fn fresh(&self, fingerprint: u64) -> Option<Arc<Insights>> {
        let answer = self.answer.lock();
        let answer = answer.as_ref()?;
        let is_fresh = answer.fingerprint == fingerprint && answer.at.elapsed() < FRESH;
        is_fresh.then(|| Arc::clone(&answer.insights))
    }
}

/// What the engine counts.
struct Counted {
    hits: HashMap<i64, [u64; 3]>,
    times: HashMap<i64, (Timestamp, Timestamp)>,
    accepted: u64,
}

impl Counted {
    fn insight(
        &self,
        rule: &Rule,
        proved: Option<Shadow>,
        seen: Option<Seen>,
        cost: Option<Cost>,
    ) -> Insight {
        let [hits_1h, hits_24h, hits_30d] = self.hits.get(&rule.id).copied().unwrap_or_default();
        let share = (self.accepted > 0).then(|| (hits_24h as f64 / self.accepted as f64).min(1.0));
        let times = self.times.get(&rule.id);
        let observed = seen
            .as_ref()
            .filter(|seen| decides(rule) && seen.sampled[1] == 0)
            .filter(|seen| seen.sampled[0] >= OBSERVED_MIN)
            .and_then(|seen| {
                let (to, lost) = seen.lost_to.first()?;
                Some(Shadow::observed(to.rule_id?, seen.sampled[0], *lost))
            });
        let never = || Figure::at_least(0);
        let (matched_1h, won_1h) = seen
            .as_ref()
            .map_or_else(|| (never(), never()), |seen| (seen.matched, seen.won));
        Insight {
            rule_id: rule.id,
            version: rule.version,
            hits_1h,
            hits_24h,
            hits_30d,
            first_hit: times.map(|times| times.0),
            last_hit: times.map(|times| times.1),
            never_hit: rule.draft.is_active && hits_30d == 0,
            shadowed: proved.or(observed),
            share,
            too_broad: share.filter(|share| *share > BROAD && hits_24h > BROAD_MIN),
            matched_1h,
            won_1h,
            // A rule that decides nothing competes with nobody.
            lost_to: seen
                .filter(|_| decides(rule))
                .map(|seen| seen.lost_to.into_iter().map(|(to, _)| to).collect())
                .unwrap_or_default(),
            cost,
        }
    }
}

/// What is known of the rules
///
/// Hits, rules that never matched, rules that are shadowed by earlier ones, broad and slow rules. At
/// most two seconds old while the rules stay the same.
#[utoipa::path(get, path = "/rules/insights", tag = "Rules",
    responses((status = 200, body = Insights)))]
pub async fn insights(State(api): State<Api>, _: Viewer) -> Result<Json<Arc<Insights>>> {
    let rules = api.engine.rules().await?;
    let fingerprint = fingerprint(rules.iter());
    if let Some(insights) = api.insights.fresh(fingerprint) {
        return Ok(Json(insights));
    }
    let counted = Counted {
        hits: api.engine.rule_hits().await?,
        times: api.engine.rule_hit_times().await?,
        accepted: api
            .engine
            .accepted(mutt_engine::Span::Hour, 24)
            .await?
            .iter()
            .map(|(_, count)| count)
            .sum(),
    };
    let work = move || {
        let mut observer = api.insights.observer.lock();
        // Somebody else may have found it out while this request waited.
        if let Some(insights) = api.insights.fresh(fingerprint) {
            return insights;
        }
        let events = api.sample.snapshot(Timestamp::now()).events();
        let judge = api.judges.by(&rules, None);
        let mut seen = observer.seen(&rules, &judge, &events);
        let costs = observer.costs(&rules, &events);
        let insight = |(rule, proved): (&Rule, _)| {
            let cost = costs.get(&rule.id).copied();
            counted.insight(rule, proved, seen.remove(&rule.id), cost)
        };
        let total = events.spans.iter().map(|span| span.total).sum();
        let insights = Arc::new(Insights {
            rules: rules.iter().zip(shadows(&rules)).map(insight).collect(),
            sample: SampleScope {
                from: events.from,
                to: events.to,
                events: if events.partial {
                    Figure::at_least(total)
                } else {
                    Figure::exact(total)
                },
                looked_at: events
                    .spans
                    .iter()
                    .map(|span| span.events.len() as u64)
                    .sum(),
            },
        });
        *api.insights.answer.lock() = Some(Answer {
            fingerprint,
            at: Instant::now(),
            insights: Arc::clone(&insights),
        });
        insights
    };
    let insights = tokio::task::spawn_blocking(work).await.map_err(|_| {
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "a mistake in MUTT: comparing rules panicked",
        )
    })?;
    Ok(Json(insights))
}
