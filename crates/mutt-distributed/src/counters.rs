//! The counters of the dashboard: accepted events and rule matches by minute, hour and day.
//!
//! Owns the names of the keys, which carry the start of their span in UTC, so that nothing has to be
//! moved or reset: a span that is over expires. The counts are added by the scripts that take events
//! in and that apply decisions, so that they are exact.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use jiff::Timestamp;
use mutt_engine::status::{FLOW_KEPT, OUTCOMES_KEPT};
use mutt_engine::unhandled::UnhandledSignature;
use mutt_engine::{Component, Counters, FlowCounts, Outcomes, Result, Span};
use mutt_redis::redis;

use crate::effects::Effects;
use crate::engine::{Distributed, Shared};
use crate::unhandled;

/// What the names of rule hits begin with.
const RULE_HITS: &str = "mutt:rule_hits";
/// Hashes of rule hits that are read in one round trip: with ten thousand rules each is some 100 kB.
const HASHES: usize = 16;

const SPANS: [Width; 3] = [
    Width {
        span: Span::Minute,
        word: "1m",
        format: "%Y-%m-%dT%H:%M",
        seconds: 60,
        kept: 7200,
        shown: 60,
    },
    Width {
        span: Span::Hour,
        word: "1h",
        format: "%Y-%m-%dT%H",
        seconds: 3600,
        kept: 172_800,
        shown: 24,
    },
    Width {
        span: Span::Day,
        word: "24h",
        format: "%Y-%m-%d",
        seconds: 86_400,
        kept: 2_592_000,
        shown: 30,
    },
];

/// One kind of span.
#[derive(Clone, Copy)]
struct Width {
    span: Span,
    /// In the key.
    word: &'static str,
    /// Of the start, in the key.
    format: &'static str,
    seconds: i64,
    /// How long a counter is kept, in seconds.
    kept: i64,
    /// Spans that rule hits are added up over.
    shown: i64,
}

impl Width {
    fn of(span: Span) -> Self {
        SPANS
            .into_iter()
            .find(|width| width.span == span)
            .expect("every span is listed")
    }

    /// The key of the span that holds `at`.
    fn key(self, prefix: &str, at: Timestamp) -> String {
        format!("{prefix}:{}:{}", self.word, at.strftime(self.format))
    }

    /// The starts of the last `count` spans with the running one, oldest first.
    fn starts(self, now: Timestamp, count: i64) -> impl Iterator<Item = Timestamp> {
        let now = now.as_second();
        let running = now - now.rem_euclid(self.seconds);
        (0..count)
            .rev()
            .filter_map(move |back| Timestamp::from_second(running - back * self.seconds).ok())
    }
}

/// The keys that count an event accepted now: minute, hour, day.
pub(crate) fn spans(now: Timestamp, prefix: &str) -> [String; 3] {
    SPANS.map(|width| width.key(prefix, now))
}

/// Appends what `apply.lua` reads: the number of spans, then for each its key, how long it is kept in
/// seconds, the number of rules, and each rule with its count.
pub(crate) fn push_rule_hits(effects: &mut Effects, hits: &[(i64, u64)], now: Timestamp) {
    if hits.is_empty() {
        effects.push_number(0);
        return;
    }
    effects.push_number(SPANS.len());
    for width in SPANS {
        effects.push(width.key(RULE_HITS, now));
        effects.push_number(width.kept);
        effects.push_number(hits.len());
        for (rule, count) in hits {
            effects.push_number(rule);
            effects.push_number(count);
        }
    }
}

/// How often each rule matched within the last 60 minutes, 24 hours and 30 days, each with the
/// running one.
///
/// # Errors
/// `Unavailable`.
pub(crate) async fn rule_hits(shared: &Shared) -> Result<HashMap<i64, [u64; 3]>> {
    let now = Timestamp::now();
    let mut hits: HashMap<i64, [u64; 3]> = HashMap::new();
    for (index, width) in SPANS.into_iter().enumerate() {
        let keys: Vec<String> = width
            .starts(now, width.shown)
            .map(|start| width.key(RULE_HITS, start))
            .collect();
        for keys in keys.chunks(HASHES) {
            let mut pipeline = redis::pipe();
            for key in keys {
                pipeline.cmd("HGETALL").arg(key);
            }
            let hashes: Vec<HashMap<String, String>> = shared.pipe(&pipeline).await?;
            for (rule, count) in hashes.into_iter().flatten() {
                // Somebody's hand may have been in it.
                if let (Ok(rule), Ok(count)) = (rule.parse(), count.parse::<u64>()) {
                    hits.entry(rule).or_default()[index] += count;
                }
            }
        }
    }
    Ok(hits)
}

/// When each rule first and last matched, as exactly as the spans tell.
async fn rule_hit_times(shared: &Shared) -> Result<HashMap<i64, (Timestamp, Timestamp)>> {
    let now = Timestamp::now();
    let mut times: HashMap<i64, (Timestamp, Timestamp)> = HashMap::new();
    // Days first: they know the first time, minutes the last.
    for width in SPANS.into_iter().rev() {
        let starts: Vec<_> = width.starts(now, width.shown).collect();
        for starts in starts.chunks(HASHES) {
            let mut pipeline = redis::pipe();
            for &start in starts {
                pipeline.cmd("HKEYS").arg(width.key(RULE_HITS, start));
            }
            let rules: Vec<Vec<String>> = shared.pipe(&pipeline).await?;
            for (&start, rules) in starts.iter().zip(rules) {
                for rule in rules.iter().filter_map(|rule| rule.parse().ok()) {
                    let time = times.entry(rule).or_insert((start, start));
                    time.1 = time.1.max(start);
                }
            }
        }
    }
    Ok(times)
}

/// The hash of outcomes of the hour that holds `at`; its fields are the minute and the outcome.
fn outcomes_key(component: Component, at: Timestamp) -> String {
    let component = component.name();
    format!("mutt:outcomes:{component}:{}", at.strftime("%Y-%m-%dT%H"))
}

async fn add_outcomes(shared: &Shared, component: Component, outcomes: Outcomes) -> Result<()> {
    let now = Timestamp::now();
    let key = outcomes_key(component, now);
    let minute = now.strftime("%M");
    let mut pipeline = redis::pipe();
    pipeline.atomic();
    for (word, count) in [("good", outcomes.good), ("bad", outcomes.bad)] {
        pipeline
            .cmd("HINCRBY")
            .arg(&key)
            .arg(format!("{minute}:{word}"))
            .arg(count)
            .ignore();
    }
    pipeline
        .cmd("EXPIRE")
        .arg(&key)
        .arg(u64::from(OUTCOMES_KEPT) * 60 + 7200)
        .ignore();
    shared.pipe::<()>(&pipeline).await
}

/// Reads hashes by hour whose fields are `<minute>:<word>`, for the last `minutes` minutes with the
/// running one: calls `found` with each minute's start, its word and its count, hour by hour.
async fn by_minute(
    shared: &Shared,
    minutes: u32,
    key: impl Fn(Timestamp) -> String,
    mut found: impl FnMut(Timestamp, &str, u64),
) -> Result<()> {
    let minutes = i64::from(minutes);
    let now = Timestamp::now();
    let from = now.as_second().div_euclid(60) - minutes;
    let hours: Vec<_> = Width::of(Span::Hour)
        .starts(now, minutes / 60 + 2)
        .collect();
    for hours in hours.chunks(HASHES) {
        let mut pipeline = redis::pipe();
        for &hour in hours {
            pipeline.cmd("HGETALL").arg(key(hour));
        }
        let hashes: Vec<HashMap<String, String>> = shared.pipe(&pipeline).await?;
        for (hour, hash) in hours.iter().zip(hashes) {
            for (field, count) in hash {
                // Somebody's hand may have been in it.
                let (Some((minute, word)), Ok(count)) =
                    (field.split_once(':'), count.parse::<u64>())
                else {
                    continue;
                };
                let Ok(minute @ 0..60) = minute.parse::<i64>() else {
                    continue;
                };
                let minute = hour.as_second() / 60 + minute;
                if let (true, Ok(start)) = (minute > from, Timestamp::from_second(minute * 60)) {
                    found(start, word, count);
                }
            }
        }
    }
    Ok(())
}

async fn outcomes_by_minute(
    shared: &Shared,
    component: Component,
    minutes: u32,
) -> Result<BTreeMap<Timestamp, Outcomes>> {
    let mut all = BTreeMap::<_, Outcomes>::new();
    let key = |hour| outcomes_key(component, hour);
    by_minute(
        shared,
        minutes.min(OUTCOMES_KEPT),
        key,
        |start, word, count| {
            let outcomes = all.entry(start).or_default();
            match word {
                "good" => outcomes.good += count,
                "bad" => outcomes.bad += count,
                _ => {}
            }
        },
    )
    .await?;
    Ok(all)
}

/// The hash of the counts of the hour that holds `at`; its fields are the minute and the name.
fn flow_key(at: Timestamp) -> String {
    format!("mutt:flow:{}", at.strftime("%Y-%m-%dT%H"))
}

async fn add_flow(shared: &Shared, counts: &FlowCounts) -> Result<()> {
    let now = Timestamp::now();
    let key = flow_key(now);
    let minute = now.strftime("%M");
    let mut pipeline = redis::pipe();
    pipeline.atomic();
    for (name, count) in counts.named().filter(|&(_, count)| count > 0) {
        pipeline
            .cmd("HINCRBY")
            .arg(&key)
            .arg(format!("{minute}:{name}"))
            .arg(count)
            .ignore();
    }
    pipeline
        .cmd("EXPIRE")
        .arg(&key)
        .arg(u64::from(FLOW_KEPT) * 60 + 7200)
        .ignore();
    shared.pipe::<()>(&pipeline).await
}

async fn flow(shared: &Shared, minutes: u32) -> Result<Vec<(Timestamp, FlowCounts)>> {
    let mut all = BTreeMap::<_, FlowCounts>::new();
    by_minute(
        shared,
        minutes.min(FLOW_KEPT),
        flow_key,
        |start, name, count| {
            if let Some(kept) = all.entry(start).or_default().named_mut(name) {
                *kept += count;
            }
        },
    )
    .await?;
    Ok(all.into_iter().collect())
}

#[async_trait]
impl Counters for Distributed {
    async fn accepted(&self, span: Span, spans: u32) -> Result<Vec<(Timestamp, u64)>> {
        let width = Width::of(span);
        // What is older has expired.
        let spans = i64::from(spans).min(width.kept / width.seconds + 1);
        if spans == 0 {
            return Ok(Vec::new());
        }
        let starts: Vec<_> = width.starts(Timestamp::now(), spans).collect();
        let mut command = redis::cmd("MGET");
        for &start in &starts {
            command.arg(width.key(&self.shared.names.metrics_prefix, start));
        }
        let counts: Vec<Option<String>> = self.shared.call(&command).await?;
        let counts = counts
            .into_iter()
            .map(|count| count.and_then(|count| count.parse().ok()).unwrap_or(0));
        Ok(starts
            .into_iter()
            .zip(counts)
            .filter(|&(_, count)| count > 0)
            .collect())
    }

    async fn add_outcomes(&self, component: Component, outcomes: Outcomes) -> Result<()> {
        add_outcomes(&self.shared, component, outcomes).await
    }

    async fn outcomes(&self, component: Component, minutes: u32) -> Result<Outcomes> {
        let all = outcomes_by_minute(&self.shared, component, minutes).await?;
        let mut sum = Outcomes::default();
        for outcomes in all.values() {
            sum.good += outcomes.good;
            sum.bad += outcomes.bad;
        }
        Ok(sum)
    }

    async fn outcomes_by_minute(
        &self,
        component: Component,
        minutes: u32,
    ) -> Result<Vec<(Timestamp, Outcomes)>> {
        let all = outcomes_by_minute(&self.shared, component, minutes).await?;
        Ok(all.into_iter().collect())
    }

    async fn add_flow(&self, counts: &FlowCounts) -> Result<()> {
        add_flow(&self.shared, counts).await
    }

    async fn flow(&self, minutes: u32) -> Result<Vec<(Timestamp, FlowCounts)>> {
        flow(&self.shared, minutes).await
    }

    async fn rule_hit_times(&self) -> Result<HashMap<i64, (Timestamp, Timestamp)>> {
        rule_hit_times(&self.shared).await
    }

    async fn unhandled(&self, limit: usize) -> Result<Vec<UnhandledSignature>> {
        unhandled::most_frequent(&self.shared, limit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn keys_are_those_of_2_5() {
        assert_eq!(
            spans(at("2025-03-01T04:05:06.7Z"), "mutt:metrics"),
            [
                "mutt:metrics:1m:2025-03-01T04:05",
                "mutt:metrics:1h:2025-03-01T04",
                "mutt:metrics:24h:2025-03-01"
            ]
        );
    }

    #[test]
    fn spans_end_with_the_running_one() {
        let starts: Vec<_> = Width::of(Span::Hour)
            .starts(at("2025-03-01T01:59:59Z"), 3)
            .collect();
        let expected = [
            "2025-02-28T23:00:00Z",
            "2025-03-01T00:00:00Z",
            "2025-03-01T01:00:00Z",
        ];
        assert_eq!(starts, expected.map(at));
    }

    #[test]
    fn rule_hits_are_told_as_the_script_reads_them() {
        let mut effects = Effects::default();
        push_rule_hits(&mut effects, &[], at("2025-03-01T04:05:06Z"));
        let mut expected = Effects::default();
        expected.push("0");
        assert_eq!(effects, expected);

        let mut effects = Effects::default();
        push_rule_hits(&mut effects, &[(7, 3)], at("2025-03-01T04:05:06Z"));
        let mut expected = Effects::default();
        expected.push("3");
        for (key, ttl) in [
            ("mutt:rule_hits:1m:2025-03-01T04:05", "7200"),
            ("mutt:rule_hits:1h:2025-03-01T04", "172800"),
            ("mutt:rule_hits:24h:2025-03-01", "2592000"),
        ] {
            for argument in [key, ttl, "1", "7", "3"] {
                expected.push(argument);
            }
        }
        assert_eq!(effects, expected);
    }
}
