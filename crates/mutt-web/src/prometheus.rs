//! The outcomes that a Prometheus scraped from all processes of MUTT.
//!
//! `increase()` extrapolates to the ends of its window and overlooks what a process counted before
//! its first scrape, so the highest value within every step is read, and subtracted here: exact for
//! everything that was scraped, also of a process that ended within a step, unless its successor
//! counted more within that same step. What a process counted after its last scrape nobody but MUTT
//! knows.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mutt_engine::{Component, Outcomes};
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::slo::Series;

/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long after a failed attempt it is tried once more.
const PAUSE: Duration = Duration::from_secs(2);
/// How long an answer, good or bad, is believed.
const FRESH: Duration = Duration::from_secs(5);
/// Steps of the last day.
const FINE: i64 = 60;
/// The last day in seconds.
const DAY: i64 = 86_400;
/// What is older is read in so many steps at most.
const COARSE_STEPS: i64 = 2_000;
/// A series that appears counts from zero if its process is not older than this beyond the step:
/// Prometheus itself takes a series for gone after five minutes.
const BORN: f64 = 300.0;

/// What ingestors count as failures of the service.
const OURS: &str = "queue_full|redis_error|store_error";

/// The outcomes of both components.
#[derive(Clone, Debug)]
pub struct Scraped {
    ingestor: Series,
    forwarder: Series,
}

impl Scraped {
    pub fn of(&self, component: Component) -> &Series {
        match component {
            Component::Ingestor => &self.ingestor,
            Component::Forwarder => &self.forwarder,
        }
    }
}

/// An answer with its window in minutes.
type Cached = (Instant, u32, Result<Scraped, String>);

/// A Prometheus to ask.
pub struct Prometheus {
    url: String,
    http: reqwest::Client,
    cache: Mutex<Option<Cached>>,
}

impl Prometheus {
    /// The one at this address; none where no client can be made.
    pub fn new(url: &str) -> Option<Self> {
        let http = reqwest::Client::builder()
            .timeout(PATIENCE)
            .build()
            .inspect_err(|error| tracing::error!(%error, "Prometheus cannot be asked"))
            .ok()?;
        Some(Self {
            url: format!("{}/api/v1/query_range", url.trim_end_matches('/')),
            http,
            cache: Mutex::new(None),
        })
    }

    /// The outcomes of the last `minutes`, at most five seconds old.
    ///
    /// # Errors
    /// Says in words why there are none.
    pub async fn series(&self, minutes: u32) -> Result<Scraped, String> {
        // Who comes meanwhile waits for the same answer.
        let mut cache = self.cache.lock().await;
        if let Some((read, window, answer)) = &*cache
            && read.elapsed() < FRESH
            && *window == minutes
        {
            return answer.clone();
        }
        let answer = self.read(minutes).await;
        *cache = Some((Instant::now(), minutes, answer.clone()));
        answer
    }

    async fn read(&self, minutes: u32) -> Result<Scraped, String> {
        let until = Timestamp::now().as_second();
        let range = Range {
            until,
            from: until - i64::from(minutes) * 60,
        };
        let births = |step: i64| {
            format!(
                "max_over_time(process_start_time_seconds[{step}s]) \
                 and on(job, instance) max_over_time(mutt_build_info[{step}s])"
            )
        };
        let ingest = |step: i64| {
            let highest = |labels: &str| {
                format!("max_over_time(mutt_ingest_requests_total{{{labels}}}[{step}s])")
            };
            let failed = format!("status=\"fail\",reason=~\"{OURS}\"");
            format!("{} or {}", highest("status=\"success\""), highest(&failed))
        };
        let moog = |step: i64| format!("max_over_time(mutt_moog_requests_total[{step}s])");
        let births = self.samples(births, range);
        let ingest = self.samples(ingest, range);
        let moog = self.samples(moog, range);
        let (births, ingest, moog) = tokio::try_join!(births, ingest, moog)?;
        if ingest.is_empty() && moog.is_empty() {
            return Err("Prometheus knows no requests of MUTT; does it scrape it?".to_owned());
        }
        let births = Births::of(&births);
        Ok(Scraped {
            ingestor: outcomes(&ingest, &births, range),
            forwarder: outcomes(&moog, &births, range),
        })
    }

    /// Every series at every step: those of the last day in minutes, before in larger steps.
    async fn samples(
        &self,
        query: impl Fn(i64) -> String,
        range: Range,
    ) -> Result<Vec<Matrix>, String> {
        let fine = query(FINE);
        let mut all = self.range(&fine, range.fine(), range.until, FINE).await?;
        if let Some((from, until, step)) = range.coarse() {
            let older = self.range(&query(step), from, until, step).await?;
            let mut known: HashMap<_, _> = all
                .drain(..)
                .map(|matrix| (key(&matrix.metric), matrix))
                .collect();
            for mut matrix in older {
                if let Some(newer) = known.remove(&key(&matrix.metric)) {
                    matrix.values.extend(newer.values);
                }
                all.push(matrix);
            }
            all.extend(known.into_values());
        }
        Ok(all)
    }

    async fn range(
        &self,
        query: &str,
        from: i64,
        until: i64,
        step: i64,
    ) -> Result<Vec<Matrix>, String> {
        match self.attempt(query, from, until, step).await {
            Ok(found) => Ok(found),
            Err(error) => {
                tracing::debug!(error, "Prometheus is asked once more");
                tokio::time::sleep(PAUSE).await;
                self.attempt(query, from, until, step).await
            }
        }
    }

    async fn attempt(
        &self,
        query: &str,
        from: i64,
        until: i64,
        step: i64,
    ) -> Result<Vec<Matrix>, String> {
        let failed = |error: reqwest::Error| {
            let error = error.without_url();
            let why = if error.is_timeout() {
                format!("no answer within {} s", PATIENCE.as_secs())
            } else {
                let mut why = error.to_string();
                let mut source = std::error::Error::source(&error);
                while let Some(cause) = source {
                    why = cause.to_string();
                    source = cause.source();
                }
                why
            };
            format!("Prometheus cannot be asked: {why}")
        };
        let query = [
            ("query", query.to_owned()),
            ("start", from.to_string()),
            ("end", until.to_string()),
            ("step", step.to_string()),
        ];
        let url = reqwest::Url::parse_with_params(&self.url, &query)
            .map_err(|error| format!("PROMETHEUS_URL cannot be used: {error}"))?;
        let answer = self.http.get(url).send().await.map_err(failed)?;
        let status = answer.status();
        let answer: Answer = match answer.json().await {
            Ok(answer) => answer,
            Err(error) if error.is_timeout() => return Err(failed(error)),
            Err(_) => {
                return Err(format!(
                    "Prometheus answered {status}, and not what it should"
                ));
            }
        };
        match answer.data {
            Some(data) if answer.status == "success" => Ok(data.result),
            _ => Err(format!(
                "Prometheus refused the question: {}",
                answer.error.unwrap_or_else(|| status.to_string())
            )),
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    error: Option<String>,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Matrix>,
}

type Labels = std::collections::BTreeMap<String, String>;

/// One series: its labels, and (time, value as text) in the order of time.
#[derive(Clone, Debug, Deserialize)]
struct Matrix {
    metric: Labels,
    values: Vec<(f64, String)>,
}

impl Matrix {
    fn label(&self, name: &str) -> &str {
        self.metric.get(name).map_or("", String::as_str)
    }

    /// Which process it is of.
    fn process(&self) -> (&str, &str) {
        (self.label("job"), self.label("instance"))
    }

    fn samples(&self) -> impl Iterator<Item = (i64, f64)> {
        self.values.iter().filter_map(|(at, value)| {
            #[allow(clippy::cast_possible_truncation, reason = "steps are whole seconds")]
            let at = at.round() as i64;
            Some((
                at,
                value
                    .parse::<f64>()
                    .ok()
                    .filter(|value| value.is_finite())?,
            ))
        })
    }
}

fn key(labels: &Labels) -> Vec<(String, String)> {
    labels
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// From when to when, in seconds since 1970.
#[derive(Clone, Copy, Debug)]
struct Range {
    from: i64,
    until: i64,
}

impl Range {
    /// From when on steps are fine.
    fn fine(self) -> i64 {
        self.from.max(self.until - DAY)
    }

    /// The step before the one at `at`.
    fn step_before(self, at: i64) -> i64 {
        match self.coarse() {
            Some((_, _, step)) if at <= self.fine() => at - step,
            _ => at - FINE,
        }
    }

    /// What lies before: from, until and step.
    fn coarse(self) -> Option<(i64, i64, i64)> {
        let length = self.fine() - self.from;
        if length <= 0 {
            return None;
        }
        let steps = length.div_euclid(FINE).clamp(1, COARSE_STEPS);
        let step = (length.div_euclid(steps)).max(FINE).div_euclid(FINE) * FINE;
        // The last of these steps ends before the first fine one, which is read anyway.
        Some((self.from, self.fine() - 1, step))
    }
}

/// When the processes started, at each step.
struct Births<'a>(HashMap<(&'a str, &'a str), Vec<(i64, f64)>>);

impl<'a> Births<'a> {
    fn of(series: &'a [Matrix]) -> Self {
        let mut births = HashMap::<_, Vec<_>>::new();
        for matrix in series {
            births
                .entry(matrix.process())
                .or_default()
                .extend(matrix.samples());
        }
        for seen in births.values_mut() {
            seen.sort_unstable_by_key(|&(at, _)| at);
        }
        Self(births)
    }

    /// When the process that was there at `at` began, in seconds since 1970.
    fn at(&self, process: (&str, &str), at: i64) -> Option<f64> {
        let seen = self.0.get(&process)?;
        let place = seen.binary_search_by_key(&at, |&(at, _)| at).ok()?;
        Some(seen[place].1)
    }
}

/// What was counted at each step, over all series.
fn outcomes(series: &[Matrix], births: &Births<'_>, range: Range) -> Series {
    let mut points = std::collections::BTreeMap::<i64, Outcomes>::new();
    for matrix in series {
        let good = matrix.label("status") == "success";
        let mut before: Option<f64> = None;
        for (at, value) in matrix.samples() {
            let new = match before {
                // A counter that fell began anew.
                Some(before) if value < before => value,
                Some(before) => value - before,
                None if at <= range.from => 0.0,
                None => {
                    let began = births.at(matrix.process(), at);
                    let before = range.step_before(at) as f64 - BORN;
                    // New, as far as anybody knows; else it was only not scraped.
                    if began.is_none_or(|began| began > before) {
                        value
                    } else {
                        0.0
                    }
                }
            };
            before = Some(value);
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a difference of counters, never below 0"
            )]
            let new = new.round() as u64;
            if new > 0 {
                let outcomes = points.entry(at).or_default();
                if good {
                    outcomes.good += new;
                } else {
                    outcomes.bad += new;
                }
            }
        }
    }
    Series {
        until: range.until,
        points: points.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(labels: &[(&str, &str)], values: &[(i64, f64)]) -> Matrix {
        Matrix {
            metric: labels
                .iter()
                .map(|&(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            values: values
                .iter()
                .map(|&(at, value)| (at as f64, value.to_string()))
                .collect(),
        }
    }

    const RANGE: Range = Range {
        from: 100_000,
        until: 103_600,
    };

    fn counted(values: &[(i64, f64)], began: f64) -> u64 {
        let process = [("job", "mutt"), ("instance", "a")];
        let seen: Vec<_> = values.iter().map(|&(at, _)| (at, began)).collect();
        let births = [series(&process, &seen)];
        let mut labels = process.to_vec();
        labels.push(("status", "success"));
        let series = [series(&labels, values)];
        outcomes(&series, &Births::of(&births), RANGE)
            .within(60)
            .good
    }

    #[test]
    fn what_was_there_before_is_not_counted() {
        assert_eq!(
            counted(&[(100_000, 50.0), (100_060, 57.0), (103_600, 60.0)], 0.0),
            10
        );
    }

    #[test]
    fn a_new_process_counts_from_zero_and_one_that_was_not_scraped_does_not() {
        assert_eq!(counted(&[(102_000, 5.0), (102_060, 9.0)], 101_990.0), 9);
        assert_eq!(counted(&[(102_000, 5_000.0), (102_060, 5_009.0)], 3.0), 9);
    }

    #[test]
    fn a_counter_that_fell_began_anew() {
        assert_eq!(
            counted(&[(100_000, 50.0), (100_060, 7.0), (100_120, 8.0)], 0.0),
            8
        );
    }

    #[test]
    fn long_windows_are_read_in_bounded_steps() {
        for hours in [1, 24, 25, 72, 720] {
            let range = Range {
                until: 1_700_000_000,
                from: 1_700_000_000 - hours * 3600,
            };
            assert!((range.until - range.fine()) / FINE <= 1_440);
            match range.coarse() {
                None => assert!(hours <= 24),
                Some((from, until, step)) => {
                    assert!(hours > 24);
                    assert_eq!((from, until), (range.from, range.fine() - 1));
                    assert!(
                        step % FINE == 0 && (until - from) / step <= 2 * COARSE_STEPS,
                        "{hours}: {step}"
                    );
                }
            }
        }
    }
}
