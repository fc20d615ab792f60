//! What the sample shows of every rule: how often each matches and wins, which rules win what it
//! matches, and what it costs to try it. Minutes that are over are looked through once.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mutt_rules::{Mode, Rule, RuleSet, Scratch};
use serde::Serialize;
use utoipa::ToSchema;

use crate::estimate::{Figure, Hits, Stratum, figure};
use crate::findings::{Events, Taken};
use crate::judge::{Judge, alone, fingerprint};
use crate::sample::{Sampled, Span};

/// Rules that are named of those that win what a rule matches.
const LOST_TO: usize = 3;

/// Events that each rule is timed on, and how often; the best time counts.
const TIMED_EVENTS: usize = 300;
const TIMED_ROUNDS: usize = 3;

/// Below so many events nothing is timed.
const TIMED_MIN: usize = 20;

/// Timing stops after so long and goes on when it is asked again.
const TIMED_BUDGET: Duration = Duration::from_millis(500);

/// A time is believed for so long: traffic changes.
const TIMED_FRESH: Duration = Duration::from_mins(10);

/// A rule is slow beyond so many nanoseconds per event, one percent of a core at 10,000 events a
/// second …
const SLOW_NANOSECONDS: u64 = 1_000;

/// … where that is also so many times what the rule in the middle takes.
const SLOW_TIMES: f64 = 10.0;

/// What the sample shows of one rule.
#[derive(Debug)]
pub struct Seen {
    /// Events that it matches.
    pub matched: Figure,
    /// Events that it decides.
    pub won: Figure,
    /// Sampled events that it matches, and decides.
    pub sampled: [u64; 2],
    /// The earlier rules that decide what it matches, the most first, with how many were sampled.
    pub lost_to: Vec<(Taken, u64)>,
}

/// What it costs to try a rule, measured on sampled events in this process.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct Cost {
    /// Nanoseconds per event that reaches the rule.
    pub nanoseconds: u64,
    /// How many times as much as the rule in the middle of all takes.
    pub times_median: f64,
    /// More than a microsecond, and more than ten times the median.
    pub slow: bool,
}

/// One minute.
struct Minute {
    /// The span that was looked through, told by these.
    span: (jiff::Timestamp, u64, usize),
    stratum: Stratum,
    matched: HashMap<i64, Hits>,
    won: HashMap<i64, Hits>,
    /// By the rule that matches and the rule that decides.
    lost: HashMap<(i64, i64), Hits>,
}

struct Timed {
    fingerprint: u64,
    at: Instant,
    nanoseconds: u64,
}

/// What was found out so far.
#[derive(Default)]
pub struct Observer {
    fingerprint: Option<u64>,
    /// Every rule, made to watch only: so one pass tells all that match.
    everyone: Option<RuleSet>,
    minutes: Vec<Arc<Minute>>,
    timed: HashMap<i64, Timed>,
}

impl Observer {
    /// What `events` show of each of `rules`; `judge` knows who wins.
    pub fn seen(&mut self, rules: &[Rule], judge: &Judge, events: &Events) -> HashMap<i64, Seen> {
        let fingerprint = fingerprint(rules.iter());
        if self.fingerprint != Some(fingerprint) {
            self.fingerprint = Some(fingerprint);
            self.minutes.clear();
            self.everyone = None;
        }
        let everyone = self.everyone.get_or_insert_with(|| {
            RuleSet::compile(rules.iter().cloned().map(|mut rule| {
                rule.draft.mode = Mode::Observe;
                rule
            }))
        });
        let known: HashMap<_, _> = self.minutes.drain(..).map(|it| (it.span, it)).collect();
        let mut scratch = [Scratch::new(), Scratch::new()];
        self.minutes = events
            .spans
            .iter()
            .map(|span| {
                known
                    .get(&key(span))
                    .cloned()
                    .unwrap_or_else(|| Arc::new(Minute::of(span, everyone, judge, &mut scratch)))
            })
            .collect();
        self.summed(rules)
    }

    fn summed(&self, rules: &[Rule]) -> HashMap<i64, Seen> {
        let strata: Vec<_> = self.minutes.iter().map(|minute| minute.stratum).collect();
        let nothing = vec![Hits::default(); strata.len()];
        let never = figure(&strata, &nothing);
        let count = |of: &dyn Fn(&Minute) -> Option<Hits>| {
            let hits: Vec<_> = self
                .minutes
                .iter()
                .map(|minute| of(minute).unwrap_or_default())
                .collect();
            let sampled = hits.iter().map(|hits| hits.sampled).sum::<u64>();
            let number = if sampled == 0 {
                never
            } else {
                figure(&strata, &hits)
            };
            (number, sampled)
        };
        let mut losses = HashMap::<i64, HashMap<i64, f64>>::new();
        for minute in &self.minutes {
            for ((loser, winner), hits) in &minute.lost {
                let to = losses.entry(*loser).or_default();
                *to.entry(*winner).or_default() += hits.weight;
            }
        }
        rules
            .iter()
            .map(|rule| {
                let id = rule.id;
                let (matched, seen) = count(&|minute| minute.matched.get(&id).copied());
                let (won, won_seen) = count(&|minute| minute.won.get(&id).copied());
                let mut to: Vec<_> = losses.remove(&id).into_iter().flatten().collect();
                to.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
                let lost_to = to.into_iter().take(LOST_TO).map(|(winner, _)| {
                    let (events, sampled) =
                        count(&|minute| minute.lost.get(&(id, winner)).copied());
                    let rule_id = Some(winner);
                    (Taken { rule_id, events }, sampled)
                });
                let seen = Seen {
                    matched,
                    won,
                    sampled: [seen, won_seen],
                    lost_to: lost_to.collect(),
                };
                (id, seen)
            })
            .collect()
    }

    /// What each rule costs. Those that were not timed yet are missing; asking again goes on.
    pub fn costs(&mut self, rules: &[Rule], events: &Events) -> HashMap<i64, Cost> {
        self.timed
            .retain(|id, _| rules.iter().any(|rule| rule.id == *id));
        let chosen = spread(events);
        if chosen.len() >= TIMED_MIN {
            let start = Instant::now();
            let idle = time(&RuleSet::compile([]), &chosen);
            let takes_part = |rule: &&Rule| rule.draft.is_active && rule.deleted_at.is_none();
            for rule in rules.iter().filter(takes_part) {
                let fingerprint = fingerprint(std::iter::once(rule));
                let is_known = self.timed.get(&rule.id).is_some_and(|timed| {
                    timed.fingerprint == fingerprint && timed.at.elapsed() < TIMED_FRESH
                });
                if is_known {
                    continue;
                }
                if start.elapsed() > TIMED_BUDGET {
                    break;
                }
                let took = time(&alone(rule), &chosen).saturating_sub(idle);
                let events = u32::try_from(chosen.len()).unwrap_or(u32::MAX);
                let timed = Timed {
                    fingerprint,
                    at: start,
                    nanoseconds: u64::try_from((took / events).as_nanos()).unwrap_or(u64::MAX),
                };
                self.timed.insert(rule.id, timed);
            }
        }
        let mut times: Vec<_> = self.timed.values().map(|it| it.nanoseconds).collect();
        times.sort_unstable();
        // Less than a nanosecond is not told apart.
        let median = times.get(times.len() / 2).copied().unwrap_or(1).max(1) as f64;
        let cost = |timed: &Timed| {
            let nanoseconds = timed.nanoseconds;
            let times_median = nanoseconds as f64 / median;
            Cost {
                nanoseconds,
                times_median: (times_median * 10.0).round() / 10.0,
                slow: nanoseconds > SLOW_NANOSECONDS && times_median > SLOW_TIMES,
            }
        };
        self.timed
            .iter()
            .map(|(id, timed)| (*id, cost(timed)))
            .collect()
    }
}

fn key(span: &Span) -> (jiff::Timestamp, u64, usize) {
    (span.start, span.total, span.events.len())
}

impl Minute {
    fn of(span: &Span, everyone: &RuleSet, judge: &Judge, scratch: &mut [Scratch; 2]) -> Self {
        let mut minute = Self {
            span: key(span),
            stratum: Stratum::new(span.total),
            matched: HashMap::new(),
            won: HashMap::new(),
            lost: HashMap::new(),
        };
        let [for_winner, for_all] = scratch;
        for event in &span.events {
            let weight = span.weight(event);
            minute.stratum.add(weight);
            everyone.find(&event.subject(), for_all);
            if for_all.observed().is_empty() {
                continue;
            }
            let winner = judge.winner(event, for_winner).map(|rule| rule.id);
            for &id in for_all.observed() {
                minute.matched.entry(id).or_default().add(weight);
                match winner {
                    Some(winner) if winner == id => {
                        minute.won.entry(id).or_default().add(weight);
                    }
                    Some(winner) => minute.lost.entry((id, winner)).or_default().add(weight),
                    None => {}
                }
            }
        }
        minute
    }
}

/// Some events of every span, chosen by chance once and for all.
fn spread(events: &Events) -> Vec<Arc<Sampled>> {
    let each = TIMED_EVENTS.div_ceil(events.spans.len().max(1));
    let mut chosen = Vec::with_capacity(TIMED_EVENTS);
    for span in &events.spans {
        let mut some: Vec<_> = span.events.iter().collect();
        some.sort_unstable_by(|one, other| one.place.total_cmp(&other.place));
        chosen.extend(some.into_iter().take(each).cloned());
    }
    chosen
}

/// The shortest time that `set` takes for all of `events`.
fn time(set: &RuleSet, events: &[Arc<Sampled>]) -> Duration {
    let mut scratch = Scratch::new();
    let round = |_| {
        let start = Instant::now();
        for event in events {
            black_box(set.find(&event.subject(), &mut scratch).is_some());
        }
        start.elapsed()
    };
    (0..TIMED_ROUNDS).map(round).min().unwrap_or_default()
}

#[cfg(test)]
#[path = "observed_tests.rs"]
mod tests;
